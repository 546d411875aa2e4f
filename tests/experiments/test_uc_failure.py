"""The program `uc_failure`: its numbers against theory and loops, its folder, its refusals."""

import contextlib
import dataclasses
import json
import shutil

import jax
import numpy as np
import pytest

from bounds.uniform_convergence.estimator import uniform_convergence_lower_bound
from experiments.lab.calls import problems_of
from experiments.lab.formats import read_arrays
from experiments.lab.refusals import Refusal
from experiments.problems import Examples, linear, slices
from experiments.uc_failure import PROGRAM, study, tables
from experiments.uc_failure import summary as summary_of
from nets.runs import make_layout
from tests import oracles
from tests.experiments.tiny import ROOT, read, undrawn
from tests.experiments.tiny_failure import CHANGES, run, tiny

PROBLEMS = tuple(problems_of(PROGRAM))


def summary(folder):
    return json.loads((folder / "summary.json").read_text())


@pytest.fixture(scope="module")
def folders(tmp_path_factory, request):
    """problem -> its finished run folder."""
    mnist = request.path.parents[1] / "data" / "mnist"
    found = {}
    for problem in PROBLEMS:
        found[problem] = tmp_path_factory.mktemp("uc") / problem
        extra = {"data_dir": str(mnist)} if problem == "digits" else {}
        # Rendered of one: it has slices. What the linear example adds is rendered in a slow test.
        with contextlib.nullcontext() if problem == "hypersphere" else undrawn():
            run(tiny(problem, **extra), found[problem])
    return found


@pytest.mark.parametrize("problem", PROBLEMS)
def test_every_problem_leaves_a_whole_folder(folders, problem):
    config, rows = tiny(problem), read(folders[problem], "results")
    assert len(rows) == len(config.sizes) * config.seeds
    for row in rows:
        assert row["problem"] == problem and row["epochs"] >= "1"
        for name in ("train_error", "test_error", "sprime_error"):
            assert 0 <= float(row[name]) <= 1
        assert float(row["test_error_low"]) <= float(row["test_error"])
    found = summary(folders[problem])["points"]
    assert [p["m"] for p in found] == list(config.sizes)
    for point in found:
        assert point["delta"] == 0.05 and point["confidence"] == 0.95
        assert point["eps_unif_alg_lower_bound"] is not None  # two runs are enough
        assert (
            point["eps_gen_upper_bound"] is None and "needs" in point["eps_gen_reason"]
        )
        assert point["sprime_p_values"]["all"] > 0.001
    names = {path.name for path in (folders[problem] / "figures").iterdir()}
    assert {"errors.png", "margins.png"} <= names
    assert ("slices_0.png" in names) == (problem in ("hypersphere", "digits"))
    assert ("pac_bayes.png" in names) == (problem == "linear")
    report = (folders[problem] / "report.html").read_text()
    assert "eps_unif-alg" in report and str(folders[problem].parent) not in report
    assert not (folders[problem] / "checkpoints").exists()


@pytest.mark.parametrize("problem", PROBLEMS)
def test_errors_are_counts_of_margins(folders, problem):
    for row in read(folders[problem], "results"):
        a = read_arrays(folders[problem] / "measured" / f"{row['run']}.npz")
        for name, column in (
            ("train", "train_error"), ("sprime", "sprime_error"), ("test", "test_error"),
        ):  # fmt: skip
            margins = a[f"{name}/margins"]
            wrong = sum(1 for v in margins if not v > 0)
            assert float(row[column]) == pytest.approx(wrong / len(margins))
        assert len(a["train/margins"]) == len(a["sprime/margins"]) == int(row["m"])


def test_what_is_measured_of_the_linear_example(folders):
    config, out = tiny("linear"), folders["linear"]
    found = study.make(config)
    problem = found.problems[""]
    for run_ in found.runs:
        a = read_arrays(out / "measured" / f"{run_.name}.npz")
        expand = linear.Expand(config.dim)
        draw, fresh = problem.draw(run_.seed, run_.size), problem.test(run_.size)
        prime = study.sprime_of(problem, draw)
        x, w = {}, 0
        for name, d in (("train", draw), ("sprime", prime), ("test", fresh)):
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
        sigma = float(row["sigma"])
        for name, column in (("train", "train_error"), ("sprime", "sprime_error")):
            expected = oracles.gibbs_error(
                a[f"{name}/margins"], a[f"{name}/norms"], sigma
            )
            assert float(row[column]) == pytest.approx(expected)
        sampled = oracles.gibbs_error(a["test/margins"], a["test/norms"], sigma)
        assert abs(float(row["risk"]) - sampled) < 0.1  # on 300 points


@pytest.mark.slow
@pytest.mark.drawn
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
        assert fresh["inside"] and fresh["n"] == 2000, fresh
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
    found = study.make(config)
    problem = found.problems[""]
    for run_ in found.runs[::4]:
        a = read_arrays(folders["exponential"] / "measured" / f"{run_.name}.npz")
        draw, fresh = problem.draw(run_.seed, run_.size), problem.test()
        for name, d in (
            ("train", draw), ("sprime", study.sprime_of(problem, draw)), ("test", fresh),
        ):  # fmt: skip
            for i in range(0, len(d.labels), 7):
                expected = oracles.exponential_log_margin(
                    draw.inputs, draw.labels, 1.0, d.inputs[i], d.labels[i]
                )
                assert a[f"{name}/margins"][i] == pytest.approx(
                    expected, rel=1e-6, abs=1e-6
                )


def test_the_risk_on_digits_is_over_every_image_at_both_radii(folders):
    rows = read(folders["digits"], "results")
    a = read_arrays(folders["digits"] / "measured" / f"{rows[0]['run']}.npz")
    assert len(a["test/margins"]) == 2 * 2400
    np.testing.assert_allclose(np.unique(a["test/norms"].round(5)), [1.0, 1.2])
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


def test_a_slice_is_the_network_on_the_plane(folders):
    """Along the axis through the first training point of class 0, by loops."""
    config, out = tiny("hypersphere", save_weights=True), folders["hypersphere"]
    found = study.make(config)
    run_ = found.runs[0]
    a = read_arrays(out / "measured" / f"{run_.name}.npz")
    values, points = a["slices/train/values"], a["slices/train/points"]
    assert values.shape == (4, slices.GRID, slices.GRID) and points.shape == (4, 2, 2)
    norms = np.linalg.norm(points, axis=2)
    np.testing.assert_allclose(norms, np.tile([1.0, 1.2], (4, 1)), rtol=1e-5)
    assert abs(points[:, 0, 1]).max() < 1e-6  # the first point lies on the first axis
    # The network says at the grid point next to a training point what it says of it.
    axis = np.linspace(-slices.REACH * 1.2, slices.REACH * 1.2, slices.GRID)
    draw = found.problems[""].draw(0, run_.size)
    first = np.flatnonzero(draw.labels == 0)[:4]
    for pair, index in enumerate(first):
        column, row = (np.abs(axis - c).argmin() for c in points[pair, 0])
        lead = -a["train/margins"][index]  # f_1 - f_0 of a point of class 0
        slope = np.abs(np.gradient(values[pair])).max()
        assert abs(values[pair, row, column] - lead) <= 1.5 * slope


def test_a_second_call_shows_and_redraw_may_change_delta(folders, tmp_path, capsys):
    config, out = tiny("linear"), tmp_path / "a"
    shutil.copytree(folders["linear"], out)
    before = (out / "results.csv").read_text()
    run(config, out, resume=True)
    looser = dataclasses.replace(config, delta=0.25, posterior_noise=(1.0,))
    run(looser, out, redraw=True)
    assert (out / "results.csv").read_text() == before
    point = summary(out)["points"][0]
    assert point["delta"] == 0.25 and point["eps_unif_alg_lower_bound"] is None
    assert "needs 5 runs, there are 3" in point["eps_unif_alg_reason"]
    # For both sizes at once it takes one more than for each by itself.
    assert "needs 6 runs" in capsys.readouterr().out
    with pytest.raises(Refusal, match="--dim"):
        run(dataclasses.replace(looser, dim=500), out, redraw=True)


def test_claims_are_withdrawn_where_s_prime_is_not_distributed_as_s(folders):
    config = tiny("hypersphere")
    found = study.make(config)
    measured = [
        read_arrays(folders["hypersphere"] / "measured" / f"{run_.name}.npz")
        for run_ in found.runs
    ]
    every = tables.make(found, measured)
    own = [row for row in every["results"] if row["m"] == 64]
    (tests,) = [row for row in every["same_distribution"] if row["m"] == 64]
    assert not tests["is_suspicious"]
    good = summary_of.point(found, 64, "", own, tests)
    bad = summary_of.point(found, 64, "", own, tests | {"is_suspicious": True})
    assert good["eps_unif_alg_lower_bound"] is not None
    assert bad["eps_unif_alg_lower_bound"] is None
    assert "not distributed" in bad["eps_unif_alg_reason"]
    assert summary_of.verdict(bad) == "no claim"


def test_a_map_that_tells_wrong_labels_is_seen_by_the_networks(monkeypatch, tmp_path):
    """Of points in a cube, y = 1[x_0 x_1 > 0], and S' = (x, 1 - y): in each class the inputs of S' look as
    those of S to tests of examples alone; a network that has learned the problem errs on all of them."""

    def wrong(self, inputs, labels):
        return inputs, 1 - labels

    def points(problem, count, *numbers):
        rng = np.random.default_rng(numbers)
        x = rng.uniform(-1, 1, (count, problem.features)).astype(np.float32)
        return Examples(x, (x[:, 0] * x[:, 1] > 0).astype(np.int32))

    kind = problems_of(PROGRAM)["hypersphere"]
    monkeypatch.setattr(kind, "sprime", wrong)
    monkeypatch.setattr(
        kind, "draw", lambda self, seed, size, draw=0: points(self, size, 1, seed)
    )
    monkeypatch.setattr(kind, "test", lambda self, size=None: points(self, 1000, 2))
    config = tiny("hypersphere", dim=14, sizes=(1024,), seeds=2, width=64, margin=1.0, max_epochs=40,
                  batch_size=8, learning_rate=0.1)  # fmt: skip
    run(config, tmp_path / "a")
    (point,) = summary(tmp_path / "a")["points"]
    p_values = point["sprime_p_values"]
    assert point["test_error"]["mean"] < 0.2 and point["sprime_error"]["mean"] > 0.8
    assert min(p_values[name] for name in ("labels", "energy", "coordinates")) > 0.001
    assert p_values["errors"] < 1e-10 and point["eps_unif_alg_lower_bound"] is None


def test_the_best_of_many_points_is_claimed_jointly(folders):
    """Its failure probability is shared among the points."""
    for problem in PROBLEMS:
        config, found = tiny(problem), summary(folders[problem])["points"]
        rows = read(folders[problem], "results")
        for point in found:
            own = [r for r in rows if int(r["m"]) == point["m"]]
            exact = own[0]["risk"] != ""
            tests = [
                float(r["risk"])
                if exact
                else round(float(r["test_error"]) * config.n_test)
                for r in own
            ]
            claim = uniform_convergence_lower_bound(
                [float(r["sprime_error"]) for r in own], tests,
                None if exact else config.n_test, confidence=1 - 0.05 / len(found),
            )  # fmt: skip
            assert point["joint_eps_unif_alg_lower_bound"] == claim.bound


def test_verdicts():
    entry = {
        "eps_unif_alg_lower_bound": 0.6,
        "largest_gap": 0.3,
        "eps_gen_upper_bound": None,
    }
    for changes, expected in (
        ({}, "exceeds the gaps"),
        ({"largest_gap": 0.7}, "failure not shown"),
        ({"eps_gen_upper_bound": 0.5}, "exceeds eps_gen"),
        ({"eps_gen_upper_bound": 0.7}, "failure not shown"),
        ({"eps_unif_alg_lower_bound": 0.95}, "vacuous"),
        ({"eps_unif_alg_lower_bound": -0.1, "largest_gap": -0.2}, "failure not shown"),
        ({"eps_unif_alg_lower_bound": None}, "no claim"),
    ):
        assert summary_of.verdict(entry | changes) == expected


@pytest.mark.slow
@pytest.mark.parametrize(
    ("problem", "changes"),
    [
        ("hypersphere", {"learning_rate": 1e20, "sizes": (64,)}),  # diverges
        pytest.param(
            "hypersphere",
            {"sizes": (1,), "batch_size": 1, "n_test": 1, "dim": 2},
            marks=pytest.mark.slow,
        ),
        pytest.param("exponential", {"sizes": (1,)}, marks=pytest.mark.slow),
    ],
)
@pytest.mark.drawn
def test_odd_runs_still_end_in_a_report(tmp_path, problem, changes):
    run(tiny(problem, **changes), tmp_path / "a")
    assert (tmp_path / "a" / "report.html").exists()


def test_whether_a_varied_margin_was_reached(tmp_path):
    config = tiny("exponential", sizes=(16,), seeds=1, vary="margin=1e-6,1e9")
    run(config, tmp_path / "a")
    rows = read(tmp_path / "a", "results")
    assert [r["train_margin_error"] for r in rows] == ["0.0", "1.0"]
    assert [r["converged"] for r in rows] == ["true", "false"]


@pytest.mark.slow
@pytest.mark.parametrize("problem", ["linear", "hypersphere"])
def test_a_run_is_the_same_in_any_company(folders, tmp_path, problem):
    """Alone, on one device, or beside others."""
    config = tiny(problem, sizes=CHANGES[problem]["sizes"][:1], seeds=1)
    out = tmp_path / problem
    run(config, out, layout=make_layout(jax.devices()[:1]))
    (alone,) = read(out, "results")
    beside = read(folders[problem], "results")[0]
    assert {k: v for k, v in alone.items() if k != "seconds"} == {
        k: v for k, v in beside.items() if k != "seconds"
    }


@pytest.mark.slow
def test_a_sweep_says_how_the_error_on_s_prime_goes(tmp_path):
    """Of one sweep, in its order and in others: they are of the same runs."""
    config = tiny(
        "exponential", vary="dim=4,61,60", seeds=4, sizes=(64,), expected="rises"
    )
    run(config, tmp_path / "a")
    (found,) = summary(tmp_path / "a")["trend"]
    assert found["direction"] == "rises" and found["as_expected"] is True
    assert found["last"] > found["first"] + 0.2
    kinds = {"m": int, "seed": int, "sprime_error": float}
    rows = [
        {"variant": r["variant"]}
        | {name: kind(r[name]) for name, kind in kinds.items()}
        for r in read(tmp_path / "a", "results")
    ]
    for vary, direction in (("dim=60,4", "falls"), ("dim=60,61", "not decided")):
        again = study.make(dataclasses.replace(config, vary=vary))
        (found,) = summary_of.trend(again, rows)
        assert found["direction"] == direction
        assert found["as_expected"] is (False if direction == "falls" else None)


@pytest.mark.slow
def test_a_users_own_problem_in_the_readme():
    """The block of the README runs as it stands, and its claim is strong."""
    text = (ROOT / "bounds" / "README.md").read_text()
    (block,) = [b for b in text.split("```python\n")[1:] if "uniform_convergence" in b]
    names = {}
    exec(block.split("```")[0], names)
    answer = names["answer"]
    assert answer.eps_unif_alg.bound > 0.9 and answer.errors.test.max() < 0.05
    assert answer.same_distribution.p_value > 0.001


@pytest.mark.slow
def test_sets_smaller_than_what_is_watched_are_trained_beside_larger_ones(tmp_path):
    """One lane after the other: all of its samples are of one shape."""
    config = tiny("hypersphere", sizes=(100, 200), watch=512, seeds=1, max_epochs=3)
    run(config, tmp_path / "out", layout=make_layout(jax.devices()[:1]))
    epochs = read(tmp_path / "out", "epochs")
    assert {row["run"] for row in epochs} == {"m100_seed0", "m200_seed0"}
    for row in read(tmp_path / "out", "results"):
        last = [e for e in epochs if e["run"] == row["run"]][-1]
        assert float(last["sprime_error"]) == pytest.approx(float(row["sprime_error"]))
