"""The program that evaluates bounds on given networks, end to end."""

import dataclasses
import json

import jax
import numpy as np
import pytest
import safetensors.numpy

import bounds
from bounds import arrays as arrays_of_bounds
from bounds.evaluate import sooner
from experiments import bounds_vs_samples, evaluate
from experiments.lab import (
    budgets,
    checkpoints,
    formats,
    measuring,
    measuring_programs,
    shards,
)
from experiments.lab.calls import problem_of, settings_of
from experiments.lab.reading import weights as reading
from experiments.lab.refusals import Refusal
from tests.bounds.cases import random_case
from tests.experiments import published
from tests.experiments.tiny import TINY, programs_of_bounds
from tests.experiments.tiny import run as run_tiny
from tests.oracles import sharpness as oracle

CHEAP = (
    "train_error",
    "neyshabur_2018",
    "golowich_2018_frobenius_certified",
    "path_norm",
)


def run(out, redraw=False, **typed):
    typed = {"activation": "relu"} | typed
    config = settings_of(evaluate.PROGRAM, typed.get("problem"), typed=typed)
    return run_tiny(config, out, evaluate.PROGRAM, redraw=redraw)


def values(folder):
    """(network, bound) -> row of bounds.csv."""
    rows = formats.read_table(folder.path / "bounds.csv")
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
    held_out = x[:20] + np.float32(0.25)  # close by, and none of the training set
    np.savez(place / "data.npz", x=x, y=y, x_test=held_out, y_test=y[:20])
    return place, case


# What weights, margins and input norms decide: seconds to compile, the rest takes a minute. Of those
# that rest on the same measures, the first.
LIGHT = tuple(
    {
        tuple(bounds.needs([name])): name
        for name in reversed(bounds.BOUNDS)
        if set(bounds.needs([name]))
        <= {"architecture", "task", "margins", "inputs", "paths", "outputs", "holdout", "layers",
            "from_init", "kernels"}
    }.values()
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


@pytest.mark.parametrize(
    ("operations", "level"),
    [(0, 0), (5e10, 0), (5.1e10, 1), (5e11, 1), (5.1e11, None), (1e18, None)],
)
def test_the_more_work_the_further_its_program_is_optimised(operations, level):
    assert budgets.optimisation(operations) == level
    if level is not None:
        assert sooner(level)["xla_backend_optimization_level"] == level


@pytest.mark.slow
def test_values_do_not_hang_on_how_far_a_program_is_optimised(
    files, tmp_path, monkeypatch
):
    place, _ = files
    asked = {
        "weights": f"{place}/ours.safetensors", "init": f"{place}/torch_init.safetensors",
        "data": str(place / "data.npz"), "bounds": LIGHT,
    }  # fmt: skip
    found, used = [], []
    program = measuring_programs.program

    def seen(*arguments):
        used.append(arguments[-1])
        return program(*arguments)

    monkeypatch.setattr(measuring_programs, "program", seen)
    for level in (0, 1, None):
        monkeypatch.setattr(budgets, "LITTLE", 1e30 if level == 0 else 0)
        monkeypatch.setattr(budgets, "MODERATE", 1e30 if level == 1 else 0)
        rows = values(run(tmp_path / str(level), **asked))
        found.append({name: float(row["value"]) for name, row in rows.items()})
    assert used == [0, 1, None]
    for more in found[1:]:
        assert set(more) == set(found[0])
        for name, value in more.items():
            rel = 5e-7 if name[1] == "cross_entropy" else 1e-9  # that one is in float32
            assert value == pytest.approx(found[0][name], rel=rel, abs=0), name


def test_a_network_of_normalised_images_in_pytorchs_order(tmp_path, capsys):
    """CIFAR's folder as it is published, and a network that fits it in this order only."""
    place = tmp_path / "cifar"
    place.mkdir()
    published.cifar10(place, batches=5, each=8, test=10)
    mean, deviation = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
    x = np.array([
        [(published.pixel(n, r, c, k) / 255 - mean[k]) / deviation[k]
         for k in range(3) for r in range(32) for c in range(32)]
        for n in range(50)
    ])  # fmt: skip
    y = np.arange(50) % 10
    w = np.linalg.lstsq(x[:40], np.eye(10)[y[:40]])[0].T.copy()  # they fit
    assert ((x[:40] @ w.T).argmax(1) == y[:40]).all()
    safetensors.numpy.save_file(
        {"fc.weight": w.astype(np.float32)}, tmp_path / "net.safetensors"
    )
    options = {
        "weights": str(tmp_path / "net.safetensors"), "bounds": ("train_error",),
        "normalise": mean + deviation, "image_order": "chw",
    }  # fmt: skip

    def row_of(folder):
        (row,) = formats.read_table(folder.path / "results.csv")
        return row

    by_data = run(tmp_path / "data", data=str(place), **options)
    printed = capsys.readouterr().out
    assert "taken to be CIFAR-10 in its binary version: 40 training and 10" in printed
    assert "--normalise=0.4,0.5,0.6,0.2,0.25,0.3: inputs are" in printed
    row, test_error = row_of(by_data), np.mean((x[40:] @ w.T).argmax(1) != y[40:])
    assert float(row["train_error"]) == 0
    assert float(row["test_error"]) == pytest.approx(test_error)
    norm = np.linalg.norm(x[:40], axis=1).max()
    assert float(row["input_norm_max"]) == pytest.approx(norm, rel=1e-5)
    stored = json.loads((by_data.path / "config.json").read_text())
    assert stored["settings"]["normalise"] == list(mean + deviation)
    assert stored["settings"]["image_order"] == "chw"
    np.save(tmp_path / "chosen.npy", np.arange(40))
    problem = {"problem": "cifar10", "data_dir": str(place)}
    problem["train_indices"] = str(tmp_path / "chosen.npy")
    assert row_of(run(tmp_path / "problem", **problem, **options)) == row
    other = run(tmp_path / "other", data=str(place), **options | {"image_order": "hwc"})
    assert float(row_of(other)["train_error"]) > 0.5


@pytest.mark.drawn
def test_without_initial_weights_what_needs_them_is_not_available(files, tmp_path):
    place, _ = files
    lacking = {"from_init", "from_other", "first_layer", "kernels_from_init"}
    there = {"architecture", "task", "margins", "inputs", "layers"}
    names = [
        name for name in bounds.BOUNDS if set(bounds.needs([name])) <= there | lacking
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
    config = dataclasses.replace(TINY, seeds=1, draws=2, bounds=("neyshabur_2018",))
    source = run_tiny(config, tmp_path / "runs")
    folder = run(
        tmp_path / "out", weights=f"{source.path}/weights/*", bounds=config.bounds, margin=1.0
    )  # fmt: skip
    found = values(folder)
    assert len({network for network, _ in found}) == 4
    theirs = formats.read_table(source.path / "bounds.csv")
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
    assert compared == 4
    results = {r["run"]: r for r in formats.read_table(source.path / "results.csv")}
    for row in formats.read_table(folder.path / "results.csv"):
        assert row["test_error"] == results[row["network"]]["test_error"]
    assert "second draw" not in found[theirs[0]["run"], "neyshabur_2018"]["status"]


@pytest.mark.slow
def test_what_was_trained_on_noisy_labels_is_held_against_noisy_labels(
    tmp_path, capsys
):
    """The distribution that its training set came from, as the program that trained it has it."""
    config = dataclasses.replace(
        TINY, sizes=(64,), seeds=1, draws=1, label_noise=0.3, max_epochs=30,
        bounds=("holdout_cp",),
    )  # fmt: skip
    source = run_tiny(config, tmp_path / "runs")
    folder = run(
        tmp_path / "out", weights=f"{source.path}/weights/*", bounds=("holdout_cp",)
    )
    assert capsys.readouterr().out.count("labels are noisy") == 1
    (mine,), (theirs,) = (
        formats.read_table(one.path / "bounds.csv") for one in (folder, source)
    )
    assert mine["value"] == theirs["value"]
    (trained,) = formats.read_table(source.path / "results.csv")
    (result,) = formats.read_table(folder.path / "results.csv")
    assert result["test_error"] == trained["test_error_noisy"] > trained["test_error"]


def test_what_is_not_defined_of_a_network_says_why(files, tmp_path):
    place, _ = files
    with np.load(f"{place}/data.npz") as data:
        features, classes = data["x"].shape[1], int(data["y"].max()) + 1
    shapes = {"w0": (features, 8), "w1": (8, classes)}
    np.savez(
        tmp_path / "zero.npz", **{n: np.zeros(s, np.float32) for n, s in shapes.items()}
    )
    folder = run(
        tmp_path / "out", weights=str(tmp_path / "zero.npz"), data=f"{place}/data.npz",
        activation="relu", bounds=("alpha", "stable_rank", "log_norm"),
    )  # fmt: skip
    found = values(folder)
    for name, why in (("alpha", "a power law"), ("stable_rank", "weights are all 0")):
        row = found["zero", name]
        assert row["value"] == "" and row["status"].startswith("not available: ")
        assert why in row["status"]
    assert found["zero", "log_norm"]["value"] == "-inf"


@pytest.mark.slow
def test_a_profile_needs_no_budget(files, tmp_path):
    place, _ = files
    where = {"weights": f"{place}/ours.safetensors", "data": f"{place}/data.npz"}
    out = run(tmp_path / "out", bounds=("path_norm",), profile=True, **where)
    took = {r["groups"] for r in formats.read_table(out.path / "profile.csv")}
    assert any("paths" in groups for groups in took)


NOISE = ("gradient_noise_final",)


@pytest.mark.slow
def test_gradient_noise_is_of_the_loss_that_is_named(files, tmp_path):
    place, case = files
    files = {"weights": f"{place}/ours.safetensors", "data": f"{place}/data.npz"}

    def row(**changes):
        folder = run(tmp_path / "out", bounds=NOISE, **files, **changes)
        return values(folder)["ours", "gradient_noise_final"]

    unsaid = row()
    assert unsaid["value"] == "" and "--loss" in unsaid["status"]
    found = float(row(loss="squared", redraw=True)["value"])
    given = case.weights, case.biases, case.x, case.y, "squared"
    assert found == pytest.approx(oracle.gradient_noise(*given), rel=1e-4)


@pytest.mark.slow
def test_a_sweep_of_losses_is_measured_each_by_its_own(tmp_path):
    """And read again from its run folder, which says which."""
    config = dataclasses.replace(
        TINY, vary="loss=sigmoid,squared", sizes=(32,), seeds=1, draws=1,
        bounds=("gradient_noise_epoch1", *NOISE), max_epochs=3,
    )  # fmt: skip
    source = run_tiny(config, tmp_path / "runs")
    theirs = {
        (r["run"], r["bound"]): r["value"]
        for r in formats.read_table(source.path / "bounds.csv")
    }
    again = values(
        run(tmp_path / "out", weights=f"{source.path}/weights/*", bounds=NOISE)
    )
    problem = problem_of(config)
    for path in source.path.glob("weights/*.safetensors"):
        loss = path.stem.partition("loss=")[2].partition("_")[0]
        layers = reading.read(str(path))[0].final
        weights, shifts = zip(*((la.kernel, la.bias) for la in layers), strict=True)
        drawn = problem.draw(0, 32, 0)
        expected = oracle.gradient_noise(
            weights, shifts, drawn.inputs, drawn.labels, loss
        )
        own = theirs[path.stem, "gradient_noise_final"]
        assert float(own) == pytest.approx(expected, rel=1e-4)
        # By another program: of few networks it is not optimised.
        other = float(again[path.stem, "gradient_noise_final"]["value"])
        assert other == pytest.approx(float(own), rel=1e-6)
        assert float(theirs[path.stem, "gradient_noise_epoch1"]) > 0
    assert len(again) == 2


@pytest.mark.slow
def test_networks_half_way_in_a_checkpoint(tmp_path):
    source = run_tiny(dataclasses.replace(TINY, sizes=(32,)), tmp_path / "runs")
    weights = source.path / "weights"
    trees = {}
    for path in sorted(weights.glob("*.safetensors")):
        arrays = formats.read_tensors(path)
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
    rows = formats.read_table(source.path / "bounds.csv")
    status = {r["bound"]: r["status"] for r in rows if r["margin_rule"] != "median"}
    assert status["bartlett_2017"] == "up to constants"
    assert status["log_prod_of_spec_fft"] == "heuristic"
    assert "2 weight matrices, not of 5" in status["neyshabur_2019"]
    folder = run(
        tmp_path / "out", weights=f"{source.path}/weights/*.safetensors",
        bounds=("bartlett_2017", "gonon_2024", "bartlett_1998_vc"), margin=1.0,
    )  # fmt: skip
    found = {name: row for (_, name), row in values(folder).items()}
    assert "no derivation for convolutions" in found["bartlett_1998_vc"]["status"]
    assert found["gonon_2024"]["status"] == "up to constants"
    theirs = next(
        r for r in rows if (r["bound"], r["margin_rule"]) == ("bartlett_2017", "target")
    )
    # Measured by another program, optimised to another degree.
    value = float(found["bartlett_2017"]["value"])
    assert value == pytest.approx(float(theirs["value"]), rel=1e-12, abs=0)


BAD = {
    "--weights is missing": {},
    "what was it trained on": {"weights": "{ours}"},
    "give one of them": {"weights": "{ours}", "data": "{data}", "problem": "mnist"},
    "--normalise: goes with --problem or --data": {"weights": "{ours}", "normalise": (0.1, 0.3)},
    "--image_order: goes with --problem or": {"weights": "{ours}", "image_order": "chw"},
    "--image_order=chw: goes with images whose order is known": {
        "weights": "{ours}", "data": "{data}", "image_order": "chw",
    },
    "2 means and 2 deviations for inputs": {
        "weights": "{ours}", "data": "{data}", "normalise": (0.1, 0.3, 1.0, 1.0),
    },
    "--train_indices: goes with --problem": {
        "weights": "{ours}", "data": "{data}", "train_indices": "x"
    },
    "--loss=squared: goes with --problem or --data": {
        "weights": "{ours}", "loss": "squared"
    },
    "--loss=hinge": {"weights": "{ours}", "data": "{data}", "loss": "hinge"},
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
    "weights: not finite (as float32)": {"weights": "{huge}", "data": "{data}"},
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
    data["huge"] = {f"w{i}": w * 1e300 for i, w in enumerate(case.weights)}
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
        (row,) = formats.read_table(folder.path / "results.csv")
        assert int(row["m"]) == m and row["test_error"]
        assert values(folder)["net", "holdout_cp"]["value"]
    (tmp_path / "far.txt").write_text("2400\n")
    with pytest.raises(Refusal, match=r"`indices`: 2400 is not one of 0\.\.2399"):
        run(tmp_path / "far", train_indices=f"{tmp_path}/far.txt", **common)


# What is said of a training set; norms are of weights alone.
OF_EXAMPLES = tuple(
    name
    for name in LIGHT
    if not {"layers", "from_init", "kernels"} & set(bounds.needs([name]))
)


def several(files, tmp_path, count):
    """Files of as many networks of one shape, each its own weights."""
    place, _ = files
    tensors = safetensors.numpy.load_file(place / "ours.safetensors")
    for number in range(count):
        scaled = {n: a * np.float32(1 + number / 8) for n, a in tensors.items()}
        safetensors.numpy.save_file(scaled, tmp_path / f"net{number}.safetensors")
    return str(place / "data.npz")


def assert_alike(alone, together, name):
    """The same rows; numbers to float32's rounding, since few networks are compiled otherwise."""
    assert alone.keys() == {key for key in together if key[0] == name}
    for key, row in alone.items():
        its = together[key]
        numbers = "value", "empirical", "excess", "log_complexity", "margin"
        for column in row:
            if column in numbers and row[column]:
                assert float(row[column]) == pytest.approx(float(its[column]), rel=2e-6)
            else:
                assert row[column] == its[column], (key, column)


def test_networks_of_one_training_set_hold_it_once(files, tmp_path, monkeypatch):
    """On each device, and not a copy a network; what is said of each is what is said of it alone."""
    data = several(files, tmp_path, 5)
    stacked, prepared = [], []
    stack, pad = measuring.stack, arrays_of_bounds.pad_sample

    def seen(trees, lanes):
        stacked.append([leaf.size for leaf in jax.tree.leaves(trees)])
        return stack(trees, lanes)

    def counted(*args):
        prepared.append(args[0].shape)
        return pad(*args)

    with monkeypatch.context() as patch:
        patch.setattr(measuring, "stack", seen)
        patch.setattr(arrays_of_bounds, "pad_sample", counted)
        every = run(
            tmp_path / "out", weights=str(tmp_path / "*.safetensors"), data=data, bounds=OF_EXAMPLES
        )  # fmt: skip
    assert prepared == [(60, 6)]
    assert stacked and max(map(max, stacked)) < 60 * 6
    found = values(every)
    for number in range(5):
        name = f"net{number}"
        alone = run(
            tmp_path / name, weights=str(tmp_path / f"{name}.safetensors"), data=data,
            bounds=OF_EXAMPLES,
        )  # fmt: skip
        assert_alike(values(alone), found, name)


@pytest.mark.parametrize("given", [None, 0.5])
def test_programs_of_bounds_that_are_compiled_beforehand_are_those_that_are_run(
    given, files, tmp_path, monkeypatch
):
    """Of the same bounds and the same shapes: else compiling was for nothing."""
    data, asked = several(files, tmp_path, 3), programs_of_bounds(monkeypatch)
    typed = {"margin": given} if given else {}
    run(
        tmp_path / "out", weights=str(tmp_path / "*.safetensors"), data=data,
        bounds=("zhou_2019_code_from_origin", "neyshabur_2018", "path_norm"), **typed,
    )  # fmt: skip
    # Of bounds that take a margin, and of those that take none.
    assert len(asked["call"]) == 2
    assert asked["call"] == asked["compile_for_call"]


def test_a_share_that_makes_no_tables_compiles_nothing_for_them(files, tmp_path):
    data = several(files, tmp_path, 3)
    config = settings_of(
        evaluate.PROGRAM, None, typed={
            "activation": "relu", "weights": str(tmp_path / "*.safetensors"), "data": data,
        },
    )  # fmt: skip
    study = evaluate.PROGRAM.study(evaluate.PROGRAM.resolved(config))
    assert all(subject.compile_beforehand for subject in study.subjects)
    part = shards.Shard.parse("1/2").part_of(study)
    assert part.subjects and not any(s.compile_beforehand for s in part.subjects)


@pytest.mark.slow
def test_networks_of_parts_of_a_data_set_have_their_own(tmp_path, mnist_sample):
    rng = np.random.default_rng(0)
    (tmp_path / "chosen").mkdir()
    for name, chosen in (("a", np.arange(40)), ("b", np.arange(30, 70))):
        np.savez(tmp_path / f"{name}.npz", w0=rng.standard_normal((784, 10)))
        np.savez(tmp_path / "chosen" / f"{name}.npz", indices=chosen)
    common = {
        "layout": "in_out", "problem": "mnist", "data_dir": str(mnist_sample),
        "train_indices": str(tmp_path / "chosen"), "bounds": ("train_error", "cross_entropy"),
    }  # fmt: skip
    both = run(tmp_path / "both", weights=str(tmp_path / "*.npz"), **common)
    found = values(both)
    for name in ("a", "b"):
        alone = run(tmp_path / name, weights=str(tmp_path / f"{name}.npz"), **common)
        assert_alike(values(alone), found, name)
    a, b = (found[name, "cross_entropy"]["value"] for name in ("a", "b"))
    assert a != b


@pytest.mark.parametrize("is_sorted", [True, False])
def test_a_file_that_is_sorted_by_class_is_said(tmp_path, capsys, is_sorted):
    """Some measures look at its first examples alone."""
    rng = np.random.default_rng(0)
    y = np.repeat(np.arange(3), 100)
    y = y if is_sorted else rng.permutation(y)
    np.savez(tmp_path / "set.npz", x=rng.standard_normal((300, 4)), y=y)
    np.savez(tmp_path / "net.npz", w0=rng.standard_normal((4, 3)))
    typed = {
        "weights": str(tmp_path / "net.npz"), "data": str(tmp_path / "set.npz"),
        "layout": "in_out", "bounds": ("params",),
    }  # fmt: skip
    evaluate.PROGRAM.study(settings_of(evaluate.PROGRAM, None, typed=typed))
    assert ("are sorted by class" in capsys.readouterr().out) == is_sorted


@pytest.mark.slow
def test_networks_of_other_outputs_are_evaluated_beside_each_other(tmp_path):
    """With initial weights, of which a group has an array of as many rows as there are outputs."""
    rng = np.random.default_rng(1)
    np.savez(tmp_path / "set.npz", x=rng.standard_normal((80, 4)), y=np.arange(80) % 3)
    for name in ("net", "init"):
        for outputs in (3, 5):
            arrays = {
                "w0": rng.standard_normal((4, 6)),
                "w1": rng.standard_normal((6, outputs)),
            }
            np.savez(tmp_path / f"{name}{outputs}.npz", **arrays)
    folder = run(
        tmp_path / "out", data=str(tmp_path / "set.npz"), bounds=("fro_dist", "params"),
        weights=f"{tmp_path}/net3.npz,{tmp_path}/net5.npz",
        init=f"{tmp_path}/init3.npz,{tmp_path}/init5.npz",
    )  # fmt: skip
    found = values(folder)
    for outputs in (3, 5):
        assert float(found[f"net{outputs}", "fro_dist"]["value"]) > 0
        parameters = 4 * 6 + 6 * outputs
        assert float(found[f"net{outputs}", "params"]["value"]) == pytest.approx(
            np.sqrt(parameters / 80)
        )
