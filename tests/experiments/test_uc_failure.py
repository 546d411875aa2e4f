"""The program `uc_failure`: its numbers against theory and loops, its folder, its refusals."""

import dataclasses
import json

import jax
import numpy as np
import pytest

from experiments import uc_failure
from experiments.data import exponential, linear
from experiments.examples import EXAMPLES
from experiments.failure import slices, sweep
from experiments.failure.presets import PRESETS, check_example, variants
from experiments.refusals import Refusal
from experiments.run_folder import read_arrays
from experiments.settings import check
from nets.runs import make_layout
from tests import oracles
from tests.experiments.tiny import read

CHANGES = {
    "linear": {"dim": 400, "sizes": (8, 16), "seeds": 3, "n_test": 300},
    "exponential": {"dim": 30, "sizes": (8, 16), "seeds": 3, "n_test": 200, "vary": None},
    "hypersphere": {
        "dim": 30, "sizes": (64, 128), "seeds": 2, "width": 40, "n_test": 300, "watch": 32,
        "margin": 1.0, "threshold": 0.05,
    },
    "digits": {
        "sizes": (64,), "seeds": 2, "width": 30, "watch": 32, "margin": 0.5,
        "threshold": 0.1, "max_epochs": 200,
    },
}  # fmt: skip


def tiny(example, /, **changes):
    preset = PRESETS[example]["demo"]
    return dataclasses.replace(preset, **{**CHANGES[example], **changes})


def run(config, out, **options):
    return uc_failure.run(config, out, layout=make_layout(jax.devices()[:2]), **options)


def summary(folder):
    return json.loads((folder / "summary.json").read_text())


@pytest.fixture(scope="module")
def folders(tmp_path_factory, request):
    """example -> its finished run folder."""
    mnist = request.path.parents[1] / "data" / "mnist"
    found = {}
    for example in EXAMPLES:
        found[example] = tmp_path_factory.mktemp("uc") / example
        extra = {"data_dir": str(mnist)} if example == "digits" else {}
        run(tiny(example, **extra), found[example])
    return found


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_example_leaves_a_whole_folder(folders, example):
    config, rows = tiny(example), read(folders[example], "results")
    assert len(rows) == len(config.sizes) * config.seeds
    for row in rows:
        assert row["example"] == example and row["epochs"] >= "1"
        for name in ("train_error", "test_error", "sprime_error"):
            assert 0 <= float(row[name]) <= 1
        assert float(row["test_error_low"]) <= float(row["test_error"])
    found = summary(folders[example])["points"]
    assert [p["m"] for p in found] == list(config.sizes)
    for point in found:
        assert point["delta"] == 0.05 and point["confidence"] == 0.95
        assert point["eps_unif_alg_lower_bound"] is not None  # two runs are enough
        assert (
            point["eps_gen_upper_bound"] is None and "needs" in point["eps_gen_reason"]
        )
        assert point["sprime_p_values"]["all"] > 0.001
    names = {path.name for path in (folders[example] / "figures").iterdir()}
    assert {"errors.png", "margins.png"} <= names
    assert ("slices_0.png" in names) == (example in ("hypersphere", "digits"))
    assert ("pac_bayes.png" in names) == (example == "linear")
    report = (folders[example] / "report.html").read_text()
    assert "eps_unif-alg" in report and str(folders[example].parent) not in report
    assert not (folders[example] / "checkpoints").exists()


@pytest.mark.parametrize("example", EXAMPLES)
def test_errors_are_counts_of_margins(folders, example):
    for row in read(folders[example], "results"):
        a = read_arrays(folders[example] / "measured" / f"{row['run']}.npz")
        for name, column in (
            ("train", "train_error"), ("sprime", "sprime_error"), ("fresh", "test_error"),
        ):  # fmt: skip
            margins = a[f"{name}/margins"]
            wrong = sum(1 for v in margins if not v > 0)
            assert float(row[column]) == pytest.approx(wrong / len(margins))
        assert len(a["train/margins"]) == len(a["sprime/margins"]) == int(row["m"])


def test_the_linear_learner_is_its_closed_form():
    """Margins on S, S' and fresh examples, from w = sum_i y_i x_i, in float64 loops."""
    config = tiny("linear", sizes=(16,), seeds=1)
    found = sweep.FailureSweep(config)
    (run_,) = found.runs
    expand = linear.Expand(config.dim)
    draw = found.draw(run_)
    prime = found.sprime(run_, draw)

    def points(d):
        inputs = [
            np.concatenate(expand(jax.tree.map(lambda a, i=i: a[i], d.inputs))).astype(
                float
            )
            for i in range(len(d.labels))
        ]
        return inputs, [2 * int(y) - 1 for y in d.labels]

    x, y = points(draw)
    w = sum(label * one for one, label in zip(x, y, strict=True))
    u = linear.direction(16)
    assert np.sum(u**2) == pytest.approx(1 / 16)
    np.testing.assert_allclose(w[: linear.SIGNAL], 2 * 16 * u, rtol=1e-6)
    for one, label in zip(x, y, strict=True):
        np.testing.assert_allclose(one[: linear.SIGNAL], 2 * label * u, rtol=1e-6)
    x2, y2 = points(prime)
    for a, b in zip(x, x2, strict=True):
        np.testing.assert_allclose(a[: linear.SIGNAL], b[: linear.SIGNAL])
        np.testing.assert_allclose(a[linear.SIGNAL :], -b[linear.SIGNAL :])
    assert y == y2


def test_what_is_measured_of_the_linear_example(folders):
    config, out = tiny("linear"), folders["linear"]
    found = sweep.FailureSweep(config)
    for run_ in found.runs:
        a = read_arrays(out / "measured" / f"{run_.name}.npz")
        expand = linear.Expand(config.dim)
        draw, fresh = found.draw(run_), found.fresh(*found.fresh_of(run_))
        prime = found.sprime(run_, draw)
        x, w = {}, 0
        for name, d in (("train", draw), ("sprime", prime), ("fresh", fresh)):
            signs = 2 * d.labels.astype(float) - 1
            parts = jax.vmap(expand)(d.inputs)
            x[name] = np.concatenate(parts, axis=1).astype(float), signs
        for one, sign in zip(*x["train"], strict=True):
            w = w + sign * one
        for name, (inputs, signs) in x.items():
            expected = [s * sum(one * w) for one, s in zip(inputs, signs, strict=True)]
            np.testing.assert_allclose(a[f"{name}/margins"], expected, atol=2e-4)
            norms = [np.sqrt(sum(one**2)) for one in inputs]
            np.testing.assert_allclose(a[f"{name}/norms"], norms, rtol=1e-5)
        noise = np.sqrt(sum(w[linear.SIGNAL :] ** 2) * 32 / config.dim)
        risk = oracles.normal_cdf(
            -2 * w[: linear.SIGNAL] @ linear.direction(run_.size) / noise
        )
        assert float(a["risk"]) == pytest.approx(risk, rel=1e-5)
    rows = read(out, "pac_bayes")
    for row in rows[:6]:
        a = read_arrays(out / "measured" / f"{row['run']}.npz")
        expected = oracles.gibbs_error(
            a["sprime/margins"], a["sprime/norms"], float(row["sigma"])
        )
        assert float(row["sprime_error"]) == pytest.approx(expected)


def test_the_test_error_of_the_linear_example_is_the_predicted_one(tmp_path):
    """At three D/m; and there train error 0 and error on S' 1, as D >> m ln m."""
    config = tiny(
        "linear", dim=None, sizes=(32,), seeds=6, n_test=2000, vary="dim=992,2048,6400"
    )
    config = dataclasses.replace(config, dim=992)
    run(config, tmp_path / "a")
    found = summary(tmp_path / "a")
    for point, expected in zip(found["points"], (0.243, 0.159, 0.0385), strict=True):
        fresh = point["fresh_against_prediction"]
        assert fresh["predicted"] == pytest.approx(expected, abs=1.5e-3)
        assert fresh["inside"] and fresh["n"] == 12000, fresh
        assert point["risk"]["mean"] == pytest.approx(expected, abs=0.01)
        assert (
            point["train_error"]["mean"] == 0 and point["sprime_error"]["mean"] > 0.99
        )
        assert (
            point["eps_unif_alg_lower_bound"]
            <= 1 - min(point["risk"]["mean"], 0.9) + 0.02
        )
    quantities = {
        q["quantity"]: q for q in found["theory"] if q["variant"] == "dim=6400"
    }
    for name, tolerance in (
        ("signal", 1e-5), ("squared_norm", 0.05), ("train_margin", 0.02),
        ("sprime_margin", 0.02), ("margin_deviation", 0.15),
    ):  # fmt: skip
        q = quantities[name]
        assert q["observed"] == pytest.approx(q["predicted"], rel=tolerance), name


def test_what_is_measured_of_the_exponential_example(folders):
    config = tiny("exponential")
    found = sweep.FailureSweep(config)
    for run_ in found.runs[::4]:
        a = read_arrays(folders["exponential"] / "measured" / f"{run_.name}.npz")
        draw, fresh = found.draw(run_), found.fresh(*found.fresh_of(run_))
        for name, d in (
            ("train", draw), ("sprime", found.sprime(run_, draw)), ("fresh", fresh),
        ):  # fmt: skip
            for i in range(0, len(d.labels), 7):
                expected = oracles.exponential_log_margin(
                    draw.inputs, draw.labels, 1.0, d.inputs[i], d.labels[i]
                )
                assert a[f"{name}/margins"][i] == pytest.approx(
                    expected, rel=1e-6, abs=1e-6
                )


@pytest.mark.parametrize("noise", exponential.NOISES)
def test_points_of_the_exponential_example(noise):
    d = exponential.points(jax.random.key(0), 4000, 12, noise)
    first, second = d.inputs[:, :12], d.inputs[:, 12:]
    np.testing.assert_array_equal(first, (d.labels - 0.5)[:, None] * np.ones((1, 12)))
    assert np.sum(first[0] ** 2) == pytest.approx(12 / 4)  # ||u|| = sqrt(D) / 2
    assert abs(second.mean()) < 0.02 and second.var() == pytest.approx(1, abs=0.02)
    assert (np.abs(second) == 1).all() == (noise == "cube")
    turned, labels = exponential.flip_signal(d.inputs, d.labels)
    np.testing.assert_array_equal(turned[:, :12], -first)
    np.testing.assert_array_equal(turned[:, 12:], second)
    np.testing.assert_array_equal(labels, 1 - d.labels)


def test_the_risk_on_digits_is_over_every_image_at_both_radii(folders):
    rows = read(folders["digits"], "results")
    a = read_arrays(folders["digits"] / "measured" / f"{rows[0]['run']}.npz")
    assert len(a["fresh/margins"]) == 2 * 2400
    np.testing.assert_allclose(np.unique(a["fresh/norms"].round(5)), [1.0, 1.2])
    for row in rows:
        assert row["risk"] == row["test_error"] == row["test_error_low"]


def test_errors_by_epoch_are_those_of_the_subsample(folders):
    """At the last epoch: of the first 32 examples of S', counted again."""
    config, out = tiny("hypersphere"), folders["hypersphere"]
    rows = read(out, "epochs")
    for result in read(out, "results"):
        own = [r for r in rows if r["run"] == result["run"]]
        assert [int(r["epoch"]) for r in own] == list(
            range(1, int(result["epochs"]) + 1)
        )
        a = read_arrays(out / "measured" / f"{result['run']}.npz")
        expected = np.mean(a["sprime/margins"][: config.watch] <= 0)
        assert float(own[-1]["sprime_error"]) == pytest.approx(expected, abs=1e-6)
        assert float(own[-1]["train_error"]) == pytest.approx(
            float(result["train_error"]), abs=1e-6
        )
        assert abs(float(own[-1]["test_error"]) - float(result["test_error"])) < 0.4


def test_planes_are_orthonormal_and_hold_their_points(rng):
    a, b = 1.2 * rng.standard_normal(50), rng.standard_normal(50)
    axes = slices.basis(a, a + 1e-3 * b)
    np.testing.assert_allclose(axes @ axes.T, np.eye(2), atol=1e-10)
    for point in (a, a + 1e-3 * b):
        np.testing.assert_allclose((point @ axes.T) @ axes, point, atol=1e-9)
    assert axes[0] @ a == pytest.approx(np.linalg.norm(a)) and axes[1] @ b > 0
    line = slices.basis(a, -2 * a)  # on one line: still a plane
    np.testing.assert_allclose(line @ line.T, np.eye(2), atol=1e-10)


def test_a_slice_is_the_network_on_the_plane(folders):
    """Along the axis through the first training point of class 0, by loops."""
    config, out = tiny("hypersphere", save_weights=True), folders["hypersphere"]
    found = sweep.FailureSweep(config)
    run_ = found.runs[0]
    a = read_arrays(out / "measured" / f"{run_.name}.npz")
    values, points = a["slices/train/values"], a["slices/train/points"]
    assert values.shape == (4, slices.GRID, slices.GRID) and points.shape == (4, 2, 2)
    norms = np.linalg.norm(points, axis=2)
    np.testing.assert_allclose(norms, np.tile([1.0, 1.2], (4, 1)), rtol=1e-5)
    assert abs(points[:, 0, 1]).max() < 1e-6  # the first point lies on the first axis
    # The network says at the grid point next to a training point what it says of it.
    axis = np.linspace(-slices.REACH * 1.2, slices.REACH * 1.2, slices.GRID)
    draw = found.draw(run_)
    first = np.flatnonzero(draw.labels == 0)[:4]
    for pair, index in enumerate(first):
        column, row = (np.abs(axis - c).argmin() for c in points[pair, 0])
        lead = -a["train/margins"][index]  # f_1 - f_0 of a point of class 0
        slope = np.abs(np.gradient(values[pair])).max()
        assert abs(values[pair, row, column] - lead) <= 1.5 * slope


def test_a_second_call_shows_and_redraw_may_change_delta(folders, tmp_path, capsys):
    config, out = tiny("linear"), tmp_path / "a"
    run(config, out)
    before = (out / "results.csv").read_text()
    run(config, out, resume=True)
    looser = dataclasses.replace(config, delta=0.25, posterior_noise=(1.0,))
    run(looser, out, redraw=True)
    assert (out / "results.csv").read_text() == before
    point = summary(out)["points"][0]
    assert point["delta"] == 0.25 and point["eps_unif_alg_lower_bound"] is None
    assert "needs 5 runs, there are 3" in point["eps_unif_alg_reason"]
    assert "needs 5 runs" in capsys.readouterr().out
    with pytest.raises(Refusal, match="--dim"):
        run(dataclasses.replace(looser, dim=500), out, redraw=True)


def test_a_run_is_the_same_in_any_company(folders, tmp_path):
    """Alone, on one device, or beside others."""
    for example in ("linear", "hypersphere"):
        config = tiny(example, sizes=CHANGES[example]["sizes"][:1], seeds=1)
        out = tmp_path / example
        uc_failure.run(config, out, layout=make_layout(jax.devices()[:1]))
        (alone,) = read(out, "results")
        beside = read(folders[example], "results")[0]
        assert {k: v for k, v in alone.items() if k != "seconds"} == {
            k: v for k, v in beside.items() if k != "seconds"
        }


def test_a_sweep_says_how_the_error_on_s_prime_goes(tmp_path):
    config = tiny(
        "exponential", vary="dim=4,60", seeds=4, sizes=(64,), expected="rises"
    )
    run(config, tmp_path / "a")
    (found,) = summary(tmp_path / "a")["trend"]
    assert found["direction"] == "rises" and found["as_expected"] is True
    assert found["last"] > found["first"] + 0.2
    for vary, direction in (("dim=60,4", "falls"), ("dim=60,61", "not decided")):
        out = tmp_path / direction
        run(dataclasses.replace(config, vary=vary), out)
        (found,) = summary(out)["trend"]
        assert found["direction"] == direction and found["as_expected"] is False


@pytest.mark.parametrize(
    ("example", "preset"), [(e, p) for e in PRESETS for p in PRESETS[e]]
)
def test_presets_are_sound(example, preset):
    config = PRESETS[example][preset]
    check(config)
    check_example(config)
    assert config.example == example and variants(config)
    if config.expected:
        assert config.vary or len(config.sizes) > 1
    assert {"demo", "notebook", "paper"} <= set(PRESETS[example])


def test_the_presets_of_the_paper_and_its_notebook():
    paper, notebook = (
        PRESETS["hypersphere"]["paper"],
        PRESETS["hypersphere"]["notebook"],
    )
    assert (paper.dim, paper.radii, paper.width) == (1000, (1.0, 1.1), 100000)
    assert (paper.learning_rate, paper.batch_size, paper.margin) == (0.1, 64, 10.0)
    assert paper.sizes == (2048, 4096, 8192, 16384, 32768, 65536)
    assert (notebook.dim, notebook.radii, notebook.width) == (500, (1.0, 1.2), 10000)
    assert (notebook.learning_rate, notebook.batch_size) == (0.5, 64)
    assert (notebook.margin, notebook.threshold) == (8.0, 0.01)
    assert (notebook.sizes, notebook.n_test) == ((1024, 2048, 4096, 8192), 4096)


BAD = [
    ("linear", {"width": 10}, "--width=10", "dim, n_test"),
    ("exponential", {"radii": (1.0, 2.0)}, "--radii=1.0,2.0", "scale"),
    ("hypersphere", {"n_test": None}, "--n_test is missing", "demo"),
    ("hypersphere", {"radii": (1.0, 1.0)}, "--radii=1.0,1.0", "different"),
    ("hypersphere", {"batch_size": 65}, "--batch_size=65", "--sizes"),
    ("linear", {"delta": 0.5}, "--delta=0.5", "(0, 1/2)"),
    ("linear", {"confidence": 1.0}, "--confidence=1.0", "(0, 1)"),
    ("linear", {"vary": "seeds=1,2"}, "--vary=seeds=1,2", "dim"),
    ("linear", {"vary": "width=1,2"}, "--vary=width=1,2", "dim"),
    ("linear", {"vary": "dim=1,x"}, "'x'", "--dim"),
    ("linear", {"vary": "dim=10,10"}, "10 twice", "once"),
    ("linear", {"vary": "dim=0,10"}, "--dim=0", ">= 1"),
    ("linear", {"posterior_noise": (0.0,)}, "--posterior_noise=0.0", "> 0"),
    ("exponential", {"noise": "pink"}, "--noise=pink", "gaussian, cube"),
    ("exponential", {"scale": -1.0}, "--scale=-1.0", "> 0"),
    ("linear", {"example": "torus"}, "--example=torus", "digits"),
    ("hypersphere", {"watch": -1}, "--watch=-1", ">= 0"),
    ("digits", {"data_dir": "/nowhere"}, "/nowhere", "no such folder"),
]


@pytest.mark.parametrize(("example", "changes", "names", "remedy"), BAD)
def test_bad_settings_are_refused_before_anything_is_made(
    tmp_path, example, changes, names, remedy
):
    with pytest.raises(Refusal) as caught:
        run(tiny(example, **changes), tmp_path / "a")
    message = str(caught.value)
    assert names in message and remedy in message and "\n" not in message, message
    assert not list(tmp_path.iterdir())
