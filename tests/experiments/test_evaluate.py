"""The program that evaluates bounds on given networks, end to end."""

import dataclasses
import json

import numpy as np
import pytest
import safetensors.numpy

import bounds
from bounds import registry as bound_registry
from experiments import bounds_vs_samples, evaluate
from experiments.lab import bound_settings, checkpoints, plugins, run_folder
from experiments.lab.program import settings_of
from experiments.lab.refusals import Refusal
from tests.bounds.cases import random_case
from tests.experiments import tiny
from tests.experiments.tiny import TINY
from tests.experiments.tiny import run as run_tiny

CHEAP = (
    "train_error",
    "neyshabur_2018",
    "golowich_2018_frobenius_certified",
    "path_norm",
)


def run(out, redraw=False, **typed):
    config = settings_of(evaluate.PROGRAM, typed.get("problem"), typed=typed)
    return run_tiny(config, out, evaluate.PROGRAM, redraw=redraw)


def values(folder):
    """(network, bound) -> row of bounds.csv."""
    rows = run_folder.read_table(folder.path / "bounds.csv")
    return {(row["network"], row["bound"]): row for row in rows}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """One network in several formats, and its data."""
    place = tmp_path_factory.mktemp("files")
    case = random_case(3, [6, 8, 5, 3], m=60, biases=True)

    def single(arrays):
        return [np.ascontiguousarray(a, np.float32) for a in arrays]

    w, b, z, c = map(
        single, (case.weights, case.biases, case.initial, case.initial_biases)
    )
    ours = {
        f"{when}/{i}/{part}": a
        for when, kernels, shifts in (("final", w, b), ("init", z, c))
        for part, arrays in (("kernel", kernels), ("bias", shifts))
        for i, a in enumerate(arrays)
    }
    safetensors.numpy.save_file(ours, place / "ours.safetensors")
    for name, kernels, shifts in (("torch", w, b), ("torch_init", z, c)):
        state = {f"fc{i + 1}.weight": a.T.copy() for i, a in enumerate(kernels)}
        state |= {f"fc{i + 1}.bias": a for i, a in enumerate(shifts)}
        safetensors.numpy.save_file(state, place / f"{name}.safetensors")
    np.savez(place / "arrays.npz", **{f"w{i}": a for i, a in enumerate(w)},
             **{f"b{i}": a for i, a in enumerate(b)})  # fmt: skip
    x, y = case.x.astype(np.float32), case.y
    np.savez(place / "data.npz", x=x, y=y, x_test=x[:20], y_test=y[:20])
    return place, case


# What weights, margins and input norms decide: seconds to compile, the rest takes a minute.
LIGHT = tuple(
    name
    for name in bounds.BOUNDS
    if set(bounds.needs([name]))
    <= {"architecture", "task", "margins", "inputs", "paths", "outputs", "holdout", "layers",
        "from_init", "kernels"}
)  # fmt: skip


@pytest.mark.parametrize(
    "names", [LIGHT, pytest.param(tuple(bounds.BOUNDS), marks=pytest.mark.slow)]
)
def test_a_pytorch_network_gives_the_numbers_of_the_same_weights_in_our_layout(
    files, tmp_path, names
):
    place, case = files
    data = {"data": str(place / "data.npz"), "bounds": names}
    init = f"{place}/torch_init.safetensors"
    both = f"{place}/ours.safetensors,{place}/torch.safetensors"
    ours = values(run(tmp_path / "out", weights=both, init=init, **data))
    assert len(ours) == 2 * len(names)
    for name in names:
        row, same = ours["ours", name], ours["torch", name]
        assert {k: v for k, v in row.items() if k != "network"} == {
            k: v for k, v in same.items() if k != "network"
        }
    # and both what Python gives
    some = ("train_error", "neyshabur_2018", "path_norm")
    direct = bounds.values(case.network().replace(holdout=None), some)
    for name in some:
        row = ours["ours", name]
        assert float(row["value"]) == pytest.approx(direct[name].value, rel=1e-6)


def test_without_initial_weights_what_needs_them_is_not_available(files, tmp_path):
    place, _ = files
    cheap = {"architecture", "task", "margins", "inputs", "paths", "outputs", "holdout"}
    cheap |= {"layers", "kernels", "kernels_from_init"}
    names = [
        name
        for name in bounds.BOUNDS
        if set(bounds.needs([name]))
        <= cheap | {"from_init", "from_other", "first_layer"}
    ]
    folder = run(
        tmp_path / "out", weights=f"{place}/arrays.npz", data=f"{place}/data.npz",
        bounds=tuple(names),
    )  # fmt: skip
    found = values(folder)
    for name in names:
        status = found["arrays", name]["status"]
        if {"init", "from_init", "first_layer"} & set(bounds.needs([name])):
            assert "initial weights are not given" in status or "2 weight" in status
        elif name == "neyshabur_2018_between_draws":
            assert "second draw" in status
    report = (folder.path / "report.html").read_text()
    assert "the initial weights are not given" in report
    assert (folder.path / "figures" / "bounds.png").stat().st_size > 1000
    summary = json.loads((folder.path / "summary.json").read_text())
    assert [row["network"] for row in summary["networks"]] == ["arrays"]


@pytest.mark.slow
def test_several_networks_of_different_shapes_and_a_second_look(files, tmp_path):
    place, case = files
    narrow = {f"w{i}": w[:, :2] if i == 2 else w for i, w in enumerate(case.weights)}
    narrow["w2"] = case.weights[2]
    narrow["w0"], narrow["w1"] = case.weights[0][:, :4], case.weights[1][:4]
    np.savez(tmp_path / "narrow.npz", **narrow)
    weights = f"{place}/ours.safetensors,{tmp_path}/narrow.npz"
    settings = {"weights": weights, "data": f"{place}/data.npz", "bounds": CHEAP}
    folder = run(tmp_path / "out", **settings)
    found = values(folder)
    assert {network for network, _ in found} == {"ours", "narrow"}
    assert all(row["value"] or row["status"] for row in found.values())
    changed = settings | {"margin": 0.5, "delta": 0.01}
    with pytest.raises(Refusal, match="exists"):
        run(tmp_path / "out", **changed)
    run(tmp_path / "out", redraw=True, **changed)
    again = values(folder)
    assert again["ours", "neyshabur_2018"]["margin"] == "0.5"
    certified = "ours", "golowich_2018_frobenius_certified"
    assert float(again[certified]["value"]) > float(found[certified]["value"])


def test_networks_of_a_run_folder_need_no_more_than_their_names(tmp_path):
    source = run_tiny(dataclasses.replace(TINY, draws=2), tmp_path / "runs")
    folder = run(
        tmp_path / "out", weights=f"{source.path}/weights/*", bounds=CHEAP, margin=1.0
    )
    found = values(folder)
    assert len({network for network, _ in found}) == 8
    theirs = run_folder.read_table(source.path / "bounds.csv")
    compared = 0
    for row in theirs:  # theirs has d = L too: preset notebook's convention
        if row["bound"] == "neyshabur_2018" and row["margin_rule"] == "target":
            mine = found[row["run"], "neyshabur_2018"]
            factor = np.exp(
                float(mine["log_complexity"]) - float(row["log_complexity"])
            )
            # theirs leaves B = 2 out
            assert factor == pytest.approx(2.0, rel=1e-5)
            compared += 1
    assert compared == 8
    results = {r["run"]: r for r in run_folder.read_table(source.path / "results.csv")}
    for row in run_folder.read_table(folder.path / "results.csv"):
        assert row["test_error"] == results[row["network"]]["test_error"]
    assert "second draw" not in found[theirs[0]["run"], "neyshabur_2018"]["status"]


@pytest.mark.slow
def test_networks_half_way_in_a_checkpoint(tmp_path):
    source = run_tiny(dataclasses.replace(TINY, sizes=(32,)), tmp_path / "runs")
    weights = source.path / "weights"
    trees = {}
    for path in sorted(weights.glob("*.safetensors")):
        arrays = run_folder.read_tensors(path)
        layers = {
            f"Dense_{i}": {n: arrays[f"final/{i}/{n}"] for n in ("kernel", "bias")}
            for i in (0, 1)
        }
        trees[path.stem] = {"state": {"params": layers}, "seconds": np.zeros(())}
    folder = source.path / "checkpoints" / "unfinished"
    checkpoints.save(folder, trees)
    common = {"bounds": ("neyshabur_2018_from_origin", "neyshabur_2018"), "margin": 1.0}
    there = values(run(tmp_path / "a", weights=str(folder), **common))
    here = values(run(tmp_path / "b", weights=f"{weights}/*", **common))
    for (network, name), row in there.items():
        if name == "neyshabur_2018":
            assert "initial weights are not given" in row["status"]
        else:
            assert row == here[network, name]
    assert len(there) == len(here) == 2 * 4


@pytest.mark.slow
def test_a_convolutional_network_is_trained_and_evaluated(tmp_path, mnist_sample):
    config = dataclasses.replace(
        settings_of(bounds_vs_samples.PROGRAM, "mnist", "paper"), network="cnn", data_dir=str(mnist_sample),
        draw_rule="without_replacement", sizes=(32,), seeds=1, draws=1, width=4, depth=2,
        batch_size=4, learning_rate=0.5, margin=1.0, threshold=0.2, max_epochs=60,
        save_weights=True, bounds=("bartlett_2017", "log_prod_of_spec_fft", "unilayer"),
    )  # fmt: skip
    source = run_tiny(config, tmp_path / "runs")
    rows = run_folder.read_table(source.path / "bounds.csv")
    status = {r["bound"]: r["status"] for r in rows if r["margin_rule"] != "median"}
    assert status["bartlett_2017"] == "up to constants"
    assert status["log_prod_of_spec_fft"] == "heuristic"
    assert "2 weight matrices, not of 5" in status["neyshabur_2019"]
    folder = run(
        tmp_path / "out", weights=f"{source.path}/weights/*.safetensors",
        bounds=("bartlett_2017", "gonon_2024"), margin=1.0,
    )  # fmt: skip
    found = {name: row for (_, name), row in values(folder).items()}
    assert "no derivation for convolutions" in found["gonon_2024"]["status"]
    theirs = next(
        r for r in rows if (r["bound"], r["margin_rule"]) == ("bartlett_2017", "target")
    )
    assert found["bartlett_2017"]["value"] == theirs["value"]


PLUGIN = '''
import chex
import jax.numpy as jnp
from bounds import BoundSpec, arithmetic


def product_of_widths(task, margins, layers, *, margin):
    """R_S(gamma) + prod_l (units of layer l) / (gamma sqrt(m))."""
    chex.assert_rank([margins.sorted, layers.fan_out, margin], [1, 1, 0])
    log_numerator = jnp.sum(jnp.log(layers.fan_out))
    return arithmetic.margin_bound(log_numerator, task, margins, margin)


BOUNDS = {"mine_2026": BoundSpec(product_of_widths, "mine 2026", "up to constants")}
'''


@pytest.fixture
def registry():
    """What a test adds is gone after it."""
    ours = bounds.BOUNDS, bound_registry.MEASURES, bound_registry.GROUPS
    before = [dict(entries) for entries in ours]
    plugins.load.cache_clear()
    yield
    for entries, kept in zip(ours, before, strict=True):
        entries.clear()
        entries.update(kept)
    plugins.load.cache_clear()


@pytest.mark.slow
def test_a_bound_in_a_file_of_its_own(files, tmp_path, registry):
    place, case = files
    (tmp_path / "mine.py").write_text(PLUGIN)
    folder = run(
        tmp_path / "out", weights=f"{place}/ours.safetensors", data=f"{place}/data.npz",
        plugin=str(tmp_path / "mine.py"), bounds=("mine_2026",), margin=0.5,
    )  # fmt: skip
    row = values(folder)["ours", "mine_2026"]
    expected = 8 * 5 * 3 / (0.5 * np.sqrt(case.m))
    assert float(row["excess"]) == pytest.approx(expected)
    run_tiny(
        dataclasses.replace(
            TINY, plugin=str(tmp_path / "mine.py"), bounds=("mine_2026",)
        ),
        tmp_path / "runs",
    )
    rows = run_folder.read_table(tmp_path / "runs" / "bounds.csv")
    assert {row["bound"] for row in rows} == {"mine_2026"}


BAD_PLUGINS = {
    "there is no such file": None,
    "SyntaxError": "def (",
    "line 2: NameError": "x = 1\ny = z\n",
    "no dict BOUNDS": "x = 1\n",
    "is no bounds.BoundSpec": "BOUNDS = {'a': 1}\n",
    "the name train_error is taken": PLUGIN.replace("mine_2026", "train_error"),
    "asks for lairs, which is not measured": PLUGIN.replace("layers", "lairs"),
    "the name path_l1 is taken": PLUGIN.replace("mine_2026", "path_l1"),
    "a name is letters": PLUGIN.replace("mine_2026", "mine, 2026"),
    "status='proved'; one of certified": PLUGIN.replace("up to constants", "proved"),
    "needs a docstring": PLUGIN.replace('"""R_S', 'x = """R_S'),
    "margin is an option": PLUGIN.replace("*, margin", "margin"),
    "several of bounds.Measure": PLUGIN + "MEASURES = (1,)\n",
    "its value has shape [2]": PLUGIN.replace(
        "jnp.sum(jnp.log(layers.fan_out))", "jnp.log(layers.fan_out)"
    ),
    "has the keyword gamma": PLUGIN.replace("margin):", "gamma):"),
    "line 10: AttributeError": PLUGIN.replace("layers.fan_out)", "layers.widths)"),
    "TracerBoolConversionError": PLUGIN.replace(
        "    chex.assert_rank",
        "    margin = margin if margin > 1 else 1.0\n    chex.assert_rank",
    ),
    "returned float, not a bounds.BoundValue": PLUGIN.replace(
        "return arithmetic.margin_bound(log_numerator, task, margins, margin)",
        "return 1.0",
    ),
}


@pytest.mark.parametrize("message", BAD_PLUGINS)
def test_a_plugin_that_will_not_do_is_refused_in_one_line(message, tmp_path, registry):
    path = tmp_path / "mine.py"
    if BAD_PLUGINS[message] is not None:
        path.write_text(BAD_PLUGINS[message])
    before = dict(bounds.BOUNDS)
    with pytest.raises(Refusal) as refusal:
        plugins.load(str(path))
    line = str(refusal.value)
    assert message in line and "\n" not in line and line.startswith(f"--plugin={path}")
    assert before == bounds.BOUNDS


def test_names_typed_are_resolved():
    assert bound_settings.resolve(("all",)) == tuple(bounds.BOUNDS)
    assert set(bound_settings.resolve(("certified",))) == {
        n for n, s in bounds.BOUNDS.items() if s.status == "certified"
    }
    both = bound_settings.resolve(("pac_spectral_init", "neyshabur_2018", "path_l1"))
    assert both == ("neyshabur_2018", "golowich_2018_l1_path_certified")
    stochastic = bound_settings.resolve(("certified+stochastic",))
    assert stochastic and set(stochastic) == {
        n for n, s in bounds.BOUNDS.items()
        if (s.status, s.speaks_of) == ("certified", "stochastic")
    }  # fmt: skip
    family = bound_settings.resolve(("two_layer",))
    assert "neyshabur_2019" in family and len(family) < 10
    with pytest.raises(Refusal, match="no bound is all of that"):
        bound_settings.resolve(("up_to_constants+stochastic",))
    with pytest.raises(Refusal, match=r"--bounds=bartlet_2017.*bartlett_2017"):
        bound_settings.resolve(("bartlet_2017",))


def program(*flags):
    return tiny.finish(tiny.program(*flags, name="evaluate"))


def test_the_list_shows_every_bound_and_needs_no_network():
    code, printed, errors = program("--list")
    assert code == 0 and not errors
    for name, spec in bounds.BOUNDS.items():
        assert f"\n{name} " in "\n" + printed and spec.paper in printed
        assert all(other in printed for other in spec.also)
    # and what a bound may ask for, each field with its shape
    for name, kind in bound_registry.GROUPS.items():
        _, _, about = printed.partition(f"\n{name}: ")
        fields = [f.name for f in dataclasses.fields(kind)]
        assert about and all(f"{f}" in about for f in fields), name


BAD = {
    "--weights is missing": {},
    "what was it trained on": {"weights": "{ours}"},
    "give one of them": {"weights": "{ours}", "data": "{data}", "problem": "mnist"},
    "--train_indices: goes with --problem": {
        "weights": "{ours}", "data": "{data}", "train_indices": "x"
    },
    "--weights=/nowhere": {"weights": "/nowhere", "data": "{data}"},
    "--data=/nowhere": {"weights": "{ours}", "data": "/nowhere"},
    "has no `x` and `y`": {"weights": "{ours}", "data": "{arrays}"},
    "--margin=-1": {"weights": "{ours}", "data": "{data}", "margin": -1.0},
    "--quote=holdout": {"weights": "{ours}", "data": "{data}", "quote": ("holdout",)},
    "--delta=0": {"weights": "{ours}", "data": "{data}", "delta": 0.0},
    "--layout=sideways": {"weights": "{ours}", "data": "{data}", "layout": "sideways"},
    "takes 6 inputs, the data has 5": {"weights": "{ours}", "data": "{narrow}"},
    "a label is 7": {"weights": "{ours}", "data": "{labels}"},
    "`y_test` is missing": {"weights": "{ours}", "data": "{half}"},
    "is not finite": {"weights": "{ours}", "data": "{nan}"},
}  # fmt: skip


@pytest.mark.parametrize("message", BAD)
def test_what_cannot_be_used_is_refused_in_one_line(message, files, tmp_path):
    place, case = files
    x, y = case.x.astype(np.float32), case.y
    data = {
        "narrow": {"x": x[:, :5], "y": y},
        "labels": {"x": x, "y": np.full_like(y, 7)},
        "half": {"x": x, "y": y, "x_test": x},
        "nan": {"x": x * np.nan, "y": y},
    }
    for name, arrays in data.items():
        np.savez(tmp_path / f"{name}.npz", **arrays)
    paths = {n: tmp_path / f"{n}.npz" for n in data}
    paths |= {"ours": place / "ours.safetensors", "data": place / "data.npz",
              "arrays": place / "arrays.npz"}  # fmt: skip
    settings = {
        k: v.format(**paths) if isinstance(v, str) else v
        for k, v in BAD[message].items()
    }
    with pytest.raises(Refusal) as refusal:
        run(tmp_path / "out", **settings)
    assert message in str(refusal.value) and "\n" not in str(refusal.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_chosen_training_images_of_a_data_set(files, tmp_path, mnist_sample):
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "net.npz", w0=rng.standard_normal((784, 10)))
    np.savez(
        tmp_path / "chosen.npz", indices=np.array([5, 5, 9]), labels=np.array([1, 2, 3])
    )
    (tmp_path / "chosen.txt").write_text("5\n5\n9\n")
    common = {
        "weights": str(tmp_path / "net.npz"), "layout": "in_out", "problem": "mnist",
        "data_dir": str(mnist_sample), "bounds": ("params", "holdout_cp"),
    }  # fmt: skip
    for index, (chosen, m) in enumerate(
        ((None, 2400), (f"{tmp_path}/chosen.npz", 3), (f"{tmp_path}/chosen.txt", 3))
    ):
        folder = run(tmp_path / f"out{index}", train_indices=chosen, **common)
        (row,) = run_folder.read_table(folder.path / "results.csv")
        assert int(row["m"]) == m and row["test_error"]
        assert values(folder)["net", "holdout_cp"]["value"]
    (tmp_path / "far.txt").write_text("2400\n")
    with pytest.raises(Refusal, match=r"index 2400 is not one of 0\.\.2399"):
        run(tmp_path / "far", train_indices=f"{tmp_path}/far.txt", **common)
