"""`certify` of a network that was given: by a surrogate, and by its compressed form."""

import json

import numpy as np
import pytest
from scipy import stats

from experiments.certify import PROGRAM, study
from experiments.certify.given import GivenNetwork
from experiments.lab import formats
from experiments.lab.calls import settings_of
from experiments.lab.reading import idx
from experiments.lab.refusals import Refusal
from tests.conftest import MNIST_SAMPLE
from tests.experiments import published, tiny
from tests.experiments.tiny import read
from tests.oracles.counting import kl_inverse

HIDDEN, U, DELTA = 40, 250, 0.035


def digits():
    """Images `[n, 784]` and labels of the sample: training set and held-out ones."""
    found = idx.read_known("mnist", idx.find(str(MNIST_SAMPLE)), idx.FILES, 10)
    arrays = [np.asarray(found[name]) for name in idx.FILES]
    return [a.reshape(len(a), -1).squeeze() for a in arrays]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A network of random features that fits all training digits: its file, twice."""
    onnx = pytest.importorskip("onnx")
    found, rng = tmp_path_factory.mktemp("given"), np.random.default_rng(0)
    x, y, test, _ = digits()
    first = rng.normal(size=(784, HIDDEN)).astype(np.float32) / 14
    features = np.maximum(x / np.float32(255) @ first, 0)
    square = features.T @ features + np.eye(HIDDEN)
    last = np.linalg.solve(square, features.T @ np.eye(10)[y]).astype(np.float32)
    np.savez(found / "net.npz", w0=first, w1=last)
    np.savez(found / "net11.npz", w0=first, w1=np.pad(last, [(0, 0), (0, 1)]))
    np.savez(found / "first9.npz", w0=first, w1=last[:, :9])
    helper, numbers = onnx.helper, onnx.numpy_helper.from_array
    graph = helper.make_graph(
        [
            helper.make_node("Flatten", ["x"], ["0"]),
            helper.make_node("MatMul", ["0", "a"], ["1"]),
            helper.make_node("Relu", ["1"], ["2"]),
            helper.make_node("MatMul", ["2", "b"], ["3"]),
        ],
        "net",
        [helper.make_tensor_value_info("x", 1, ["n", 1, 28, 28])],
        [helper.make_tensor_value_info("3", 1, ["n", 10])],
        [numbers(first, "a"), numbers(last, "b")],
    )
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset), found / "net.onnx")
    np.savez(found / "points.npz", x=test[:U].reshape(-1, 28, 28))
    np.savez(found / "data.npz", x=x, y=y)
    return found


def config(place, **typed):
    """Of the surrogate's route by default, the network from its arrays."""
    typed = {
        "route": "surrogate", "weights": str(place / "net.npz"), "activation": "relu",
        "problem": "mnist", "data_dir": str(MNIST_SAMPLE), "unlabelled": str(U), "width": 16,
        "depth": 1, "epochs": 3, "batch_size": 50, "learning_rate": 0.2, "delta": DELTA,
        "tried": 2,
    } | typed  # fmt: skip
    typed = {name: value for name, value in typed.items() if value is not None}
    return settings_of(PROGRAM, typed.get("problem"), typed=typed)


COMPRESSION = {
    "route": "compression", "width": None, "depth": None, "epochs": None, "batch_size": None,
    "learning_rate": None, "tried": 1,
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(place, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "surrogate"
    with tiny.undrawn():
        return tiny.run(config(place), out, PROGRAM).path


def limit(k, size, failure):
    return float(stats.beta.ppf(1 - failure, k + 1, size - k))


def classes_of(first, last, x):
    """In float64, of bytes."""
    shifts = [0.0, 0.0] if isinstance(first, np.ndarray) else [first[1], last[1]]
    first, last = (a if isinstance(a, np.ndarray) else a[0] for a in (first, last))
    return (np.maximum(x / 255.0 @ first + shifts[0], 0) @ last + shifts[1]).argmax(1)


def test_the_certificate_is_what_counting_by_hand_gives(place, folder):
    (row,), rows = read(folder, "results"), read(folder, "bounds")
    x, y, test, test_labels = digits()
    with np.load(place / "net.npz") as net:
        given = classes_of(net["w0"], net["w1"], test)
    trained = formats.read_tensors(folder / "weights" / "surrogate_seed0.safetensors")
    layers = [
        [trained[f"final/{n}/{part}"] for part in ("kernel", "bias")] for n in (0, 1)
    ]
    seen = formats.read_arrays(folder / "samples" / "surrogate_seed0.npz")["indices"]
    held = np.setdiff1d(np.arange(2400), seen)
    assert len(seen) == len(set(seen)) == len(held) == 1200
    wrong = int(np.sum(classes_of(*layers, x[held]) != y[held]))
    differ = int(np.sum(classes_of(*layers, test[:U]) != given[:U]))
    assert 0 < wrong < 600 and 0 < differ < U
    share = DELTA / 2 / 2  # --tried, and the two halves
    expected = limit(wrong, 1200, share) + limit(differ, U, share)
    by_bound = {r["bound"]: r for r in rows}
    own = by_bound["bazinet_2026_surrogate"]
    assert float(own["value"]) == pytest.approx(expected, rel=1e-6)
    assert float(own["empirical"]) == pytest.approx(wrong / 1200 + differ / U)
    # The other held-out images tell its own error, and so does the bound that holds them out.
    errors = given != test_labels
    assert float(row["test_error"]) == pytest.approx(np.mean(errors[U:]))
    plain = limit(int(errors[U:].sum()), 600 - U, DELTA / 2)
    assert float(by_bound["holdout_cp"]["value"]) == pytest.approx(plain, rel=1e-6)
    # What the same data would have given with labels.
    same = limit(int(errors[:U].sum()), U, DELTA)
    assert float(row["with_labels"]) == pytest.approx(same, rel=1e-6)
    others = limit(wrong, 1200, DELTA / 2)
    assert float(row["holdout_of_same_data"]) == pytest.approx(others, rel=1e-6)
    assert (row["m"], row["surrogate_m"], row["epochs"]) == ("2400", "1200", "3")
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["certificates"]["net"]["bound"] == "bazinet_2026_surrogate"
    text = (folder / "report.md").read_text()
    assert "net: the trained network errs on at most" in text
    assert f"Beside it: the same {U} points with their labels" in text


@pytest.mark.slow
def test_a_network_from_onnx_has_the_same_certificate(place, folder, tmp_path):
    changes = {"weights": None, "activation": None, "network": str(place / "net.onnx")}
    other = tiny.run(config(place, **changes), tmp_path / "out", PROGRAM).path
    for table in ("bounds", "results"):
        mine, its = read(folder, table), read(other, table)
        keys = {"bound", "value", "empirical", "with_labels", "disagreement"}
        for a, b in zip(mine, its, strict=True):
            assert {k: a[k] for k in keys & set(a)} == {k: b[k] for k in keys & set(b)}


def test_its_compressed_form_from_the_shell(place, tmp_path):
    """Points from a file: all held-out images tell its own error, and nothing has labels."""
    flags = [
        "--route=compression", f"--weights={place / 'net.npz'}", "--activation=relu",
        "--problem=mnist", f"--data_dir={MNIST_SAMPLE}", f"--delta={DELTA}", "--tried=1",
        f"--unlabelled={place / 'points.npz'}", f"--out={tmp_path / 'out'}",
    ]  # fmt: skip
    code, printed, error = tiny.finish(tiny.program(*flags, name="certify"))
    assert code == 0, error
    assert f"{U} points, 0 to 1" in printed and "bits an example" in printed
    (row,), rows = read(tmp_path / "out", "results"), read(tmp_path / "out", "bounds")
    assert row["outcome"] == row.get("with_labels", "") == ""
    by_bound = {r["bound"]: r for r in rows}
    own = by_bound["bazinet_2026_code_from_origin"]
    parts = float(row["code_at_most"]), float(row["disagreement_at_most"])
    assert float(own["value"]) == pytest.approx(sum(parts), rel=1e-6)
    c, q = int(row["bits"]), float(row["compressed_train_error"])
    nats = c * np.log(2) + np.log(c) + np.log(c + 1) - np.log(DELTA / 2)
    assert parts[0] == pytest.approx(kl_inverse(q, nats / 2400), rel=1e-6)
    k = round(float(row["disagreement"]) * U)
    assert parts[1] == pytest.approx(limit(k, U, DELTA / 2 / 12), rel=1e-6)
    # It pays for what its copy does not: it speaks of the network itself.
    copy = by_bound["zhou_2019_code_from_origin"]
    assert float(copy["value"]) <= float(own["value"])
    assert float(row["test_error"]) == pytest.approx(
        float(by_bound["holdout_cp"]["empirical"])
    )
    assert "initial weights" in by_bound["bazinet_2026_code"]["status"]


def test_images_are_laid_out_as_each_network_takes_them(tmp_path):
    """Channels first for the given one, last for a surrogate of ours; constants for both."""
    (tmp_path / "cifar").mkdir()
    published.cifar10(tmp_path / "cifar", batches=5, each=8, test=10)
    np.savez(tmp_path / "net.npz", w0=np.eye(3072, 10, dtype=np.float32))
    typed = {
        "route": "surrogate", "weights": str(tmp_path / "net.npz"), "unlabelled": "4",
        "data": str(tmp_path / "cifar"), "image_order": "chw", "normalise": (0.5, 0.25),
        "layout": "in_out",
    }  # fmt: skip
    found = GivenNetwork(settings_of(PROGRAM, None, typed=typed))
    as_taken, own = (
        np.asarray(sample.inputs)[:4] for sample in (found.points, found.own_points)
    )
    turned = own.reshape(4, 32, 32, 3).transpose(0, 3, 1, 2).reshape(4, -1)
    np.testing.assert_array_equal(as_taken, turned)
    value = (published.pixel(40, 2, 5, 1) / 255 - 0.5) / 0.25
    assert own.reshape(4, 32, 32, 3)[0, 2, 5, 1] == pytest.approx(value, abs=1e-6)
    np.testing.assert_array_equal(found.draw(0, 40).labels.shape, 40)
    assert found.image == (32, 32, 3) and len(found.test().labels) == 6


def files(place, tmp_path):
    """Bad ones: name -> path."""
    x, y, test, labels = digits()
    made = {
        "seen": {"x": np.concatenate([test[:40], x[:10]])},
        "narrow": {"x": test[:40, :700]},
        "numbers": {"x": test[:40] / 255.0},
        "nameless": {"points": test[:40]},
        "copies": {"x": np.tile(x[:600], (2, 1)), "y": np.tile(y[:600], 2),
                   "x_test": test, "y_test": labels},
    }  # fmt: skip
    for name, arrays in made.items():
        np.savez(tmp_path / f"{name}.npz", **arrays)
    return {name: str(tmp_path / f"{name}.npz") for name in made}


def test_what_cannot_be_certified_is_one_line(place, tmp_path):
    made = files(place, tmp_path)
    data = {"problem": None, "data_dir": None, "data": str(place / "data.npz")}
    for changes, said in (
        ({"unlabelled": None}, "--unlabelled is missing"),
        ({"unlabelled": made["seen"]}, "10 of 50 held-out inputs are training inputs"),
        ({"unlabelled": made["narrow"]}, "`x` has 700 features, the data have 784"),
        ({"unlabelled": made["nameless"]}, "has no `x`; there are points"),
        ({"unlabelled": "/nowhere.npz"}, "--unlabelled=/nowhere.npz"),
        ({"unlabelled": "601"}, "--unlabelled=601: the data have 600 held-out examples"),
        ({"unlabelled": "0"}, "give 1 to 600"),
        (data | {"unlabelled": "5"}, "the data have no held-out examples"),
        (data | {"unlabelled": made["numbers"]}, "the data of type uint8"),
        (data | {"data": made["copies"]}, "examples that certify"),
        ({"weights": str(place / "first9.npz")}, "has 9 outputs, a label is 9"),
        ({"weights": f"{place / 'net.npz'},{place / 'net11.npz'}"}, "2 networks"),
        ({"weights": None}, "--network or --weights is missing"),
        ({"problem": None, "data_dir": None}, "goes with --problem or --data"),
        ({"problem": "hypersphere", "data_dir": None}, "drawn anew for every network"),
        ({"label_noise": 0.5}, "--label_noise=0.5"),
        ({"size": 500}, "--size=500: goes with --route=posterior or single_draw or subspace or pick_to_learn;"),
        ({"certified_share": 0.99}, "leaves 24 of 2400 examples to train"),
        ({"certified_share": 1.0}, "--certified_share=1.0: must be a number in (0, 1)"),
        (data | {"unlabelled": str(place / "points.npz"), "architecture": "cnn"},
         "--architecture=cnn: it needs images"),
        ({"route": "posterior"}, "goes with --route=surrogate or compression"),
        (COMPRESSION | {"width": 16}, "--width=16: goes with --route=posterior or"),
        (COMPRESSION | {"certified_share": 0.2}, "goes with --route=surrogate"),
    ):  # fmt: skip
        with pytest.raises(Refusal) as caught:
            study.make(PROGRAM.resolved(config(place, **changes)))
        message = str(caught.value)
        assert said in message and "\n" not in message, (changes, message)
