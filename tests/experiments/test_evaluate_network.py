"""`evaluate --network`: a network in the file of its framework, end to end."""

import subprocess
import sys

import numpy as np
import pytest

import bounds
from experiments import evaluate
from experiments.evaluate.graphs import places
from experiments.lab import budgets, formats, parts
from experiments.lab.calls import settings_of
from experiments.lab.refusals import Refusal
from nets.graph import Graph, Node
from nets.operators import Dense
from tests.experiments.tiny import ROOT
from tests.experiments.tiny import run as run_tiny
from tests.nets.torch_networks import residual

onnx = pytest.importorskip("onnx")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

BOUNDS = (
    "train_error", "occam_float32", "holdout_cp", "gonon_2024_certified", "bartlett_1998_vc",
)  # fmt: skip
SHAPE = (2, 4, 4)  # channels first


def weights(seed, scale=1.0):
    """Of a convolution and a skip connection over another; they are the example's own."""
    rng = np.random.default_rng(seed)
    shapes = {"a": (3, 2, 3, 3), "b": (3, 3, 3, 3), "c": (3, 48), "d": (3,)}
    return {
        name: (scale * rng.normal(size=shape) / 2).astype(np.float32)
        for name, shape in shapes.items()
    }


def saved(path, arrays, final=None, outputs=3):
    """The file of a network of these weights."""
    nodes = [
        helper.make_node("Conv", ["x", "a"], ["1"], pads=[1] * 4),
        helper.make_node("Relu", ["1"], ["2"]),
        helper.make_node("Conv", ["2", "b"], ["3"], pads=[1] * 4),
        helper.make_node("Add", ["2", "3"], ["4"]),
        helper.make_node("Relu", ["4"], ["5"]),
        helper.make_node("Flatten", ["5"], ["6"]),
        helper.make_node("Gemm", ["6", "c", "d"], ["7"], transB=1),
    ]
    if final:
        nodes.append(helper.make_node(final, ["7"], ["8"], axis=1))
    graph = helper.make_graph(
        nodes, "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", *SHAPE])],
        [helper.make_tensor_value_info("8" if final else "7", TensorProto.FLOAT, ["n", outputs])],
        [numpy_helper.from_array(a, name) for name, a in arrays.items()],
    )  # fmt: skip
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), path
    )
    return str(path)


def logits_of(path, x):
    """By ONNX's own reference."""
    from onnx.reference import ReferenceEvaluator

    return ReferenceEvaluator(str(path)).run(None, {"x": x})[0]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A network, its start, data that it fits, and its logits."""
    found = tmp_path_factory.mktemp("networks")
    path = saved(found / "net.onnx", weights(1))
    saved(found / "start.onnx", weights(0))
    x = np.random.default_rng(2).normal(size=(60, *SHAPE)).astype(np.float32)
    logits = logits_of(path, x)
    y = logits.argmax(1)
    y[:4] = (y[:4] + 1) % 3
    np.savez(found / "data.npz", x=x[:40], y=y[:40], x_test=x[40:], y_test=y[40:])
    np.savez(found / "logits.npz", logits=logits[:8])
    return found


def run(out, place, **typed):
    typed = {
        "network": str(place / "net.onnx"), "data": str(place / "data.npz"), "bounds": BOUNDS,
    } | typed  # fmt: skip
    config = settings_of(evaluate.PROGRAM, None, typed=typed)
    return run_tiny(config, out, evaluate.PROGRAM)


@pytest.mark.drawn
def test_a_residual_network_from_its_file(tmp_path, capsys, place):
    folder = run(
        tmp_path / "out", place, outputs=str(place / "logits.npz"),
        init=str(place / "start.onnx"),
    )  # fmt: skip
    rows = {r["bound"]: r for r in formats.read_table(folder.path / "bounds.csv")}
    (network,) = formats.read_table(folder.path / "results.csv")
    assert float(network["train_error"]) == 0.1 and float(network["test_error"]) == 0
    parameters = sum(a.size for a in weights(1).values())
    assert int(network["parameters"]) == parameters and int(network["layers"]) == 3
    assert float(rows["gonon_2024_certified"]["value"]) > 0.1
    assert "chains" in rows["bartlett_1998_vc"]["status"]
    printed = capsys.readouterr().out
    assert (
        "inputs [2, 4, 4], a graph of 2 convolution, 2 relu, 1 add, 1 dense" in printed
    )
    report = (folder.path / "report.md").read_text()
    assert "What net was read as" in report and "graph_0.png" in report
    assert "convolution of 4 x 4, zeros" in report and "[3, 3, 3, 3]" in report
    assert (folder.path / "figures" / "graph_0.png").stat().st_size > 5000


@pytest.mark.slow
def test_a_softmax_is_taken_off_and_its_outputs_prove_it(tmp_path, capsys, place):
    path = saved(tmp_path / "soft.onnx", weights(1), "Softmax")
    x = np.load(place / "data.npz")["x"]
    np.save(tmp_path / "probabilities.npy", logits_of(path, x[:5]))
    run(
        tmp_path / "out", place, network=path, bounds=("train_error",),
        outputs=str(tmp_path / "probabilities.npy"),
    )  # fmt: skip
    assert "the softmax at its end was taken off" in capsys.readouterr().out


@pytest.fixture(scope="module")
def more(place):
    """More examples of the same network, in three blocks, and the first two of them."""
    x = np.random.default_rng(3).normal(size=(300, *SHAPE)).astype(np.float32)
    y = logits_of(place / "net.onnx", x).argmax(1)
    for size in (300, 256):
        np.savez(place / f"data{size}.npz", x=x[:size], y=y[:size])
    return place


def test_a_budget_reduces_measures_and_leaves_certificates_out(
    tmp_path, capsys, more, monkeypatch
):
    """A pass takes a second: those of mixup three, of gradients six, of the code's candidates 36.

    Three of the budget's go to one of each kind, the last not all to what is measured anyway.
    """
    monkeypatch.setattr(budgets, "LIGHT", 0)
    monkeypatch.setattr(parts, "_timed", lambda *_: (0.0, [1.0]))
    names = (
        "train_error",
        "mixup_error",
        "gradient_noise_final",
        "zhou_2019_code_from_origin",
    )
    data = {size: str(more / f"data{size}.npz") for size in (300, 256)}
    folder = run(
        tmp_path / "out", more, data=data[300], bounds=names, loss="softmax", budget=7.9
    )  # fmt: skip
    rows = {r["bound"]: r for r in formats.read_table(folder.path / "bounds.csv")}
    found = [float(rows[name]["examples"] or 0) for name in names]
    assert found == [0, 256, 128, 0]
    assert rows["zhou_2019_code_from_origin"]["status"] == (
        "not available: it would take about 0:36 on all examples, more than is left of "
        "--budget=7.9 seconds"
    )
    said = capsys.readouterr().err
    assert "net: mixup: about 0:02 on the first 256 of 300 examples (all: 0:03)" in said
    profile = formats.read_table(folder.path / "profile.csv")
    (mixup,) = (r for r in profile if r["groups"] == "mixup")
    assert mixup["examples"] == "256" and float(mixup["run_seconds"]) > 0
    assert "What measuring took" in (folder.path / "report.md").read_text()
    # The same number as where there are no more examples; and measured by one program.
    alone = run(tmp_path / "alone", more, data=data[256], bounds=names[:2], budget=1e9)
    (its,) = (
        r
        for r in formats.read_table(alone.path / "bounds.csv")
        if r["bound"] == "mixup_error"
    )
    assert float(its["value"]) == float(rows["mixup_error"]["value"])


@pytest.mark.slow
def test_no_budget_loses_no_bound(tmp_path, capsys, more, monkeypatch):
    """What does not fit says so; all else is there, and so is the table."""
    monkeypatch.setattr(budgets, "LIGHT", 0)
    monkeypatch.setattr(parts, "_timed", lambda *_: (0.0, [1.0]))
    folder = run(
        tmp_path / "out", more, data=str(more / "data256.npz"), bounds=("all",), budget=1e-9,
        init=str(more / "start.onnx"),
    )  # fmt: skip
    rows = formats.read_table(folder.path / "bounds.csv")
    assert {r["bound"] for r in rows} == set(bounds.BOUNDS)
    lacking = {r["bound"]: r["status"] for r in rows if not r["value"]}
    assert all(why.startswith("not available: ") for why in lacking.values())
    left_out = {n for n, why in lacking.items() if "--budget=1e-09 seconds" in why}
    # By their layers' norms, by passes; chains are another reason.
    assert {"param_norm", "zhou_2019_code", "worst_sharpness"} <= left_out
    assert "chains" in lacking["bartlett_1998_vc"]
    has = {r["bound"] for r in rows if r["value"]}
    assert {"train_error", "occam_float32", "gonon_2024_certified"} <= has
    said = capsys.readouterr().err
    assert "net: circular: left out: it would take about 0:00 for all layers" in said


def number(cell):
    try:
        return float(cell)
    except ValueError:
        return None


@pytest.mark.slow
def test_a_profile_changes_no_number(tmp_path, place):
    """But for what floats round: programs of parts are optimised, that of little work is not."""
    tables = []
    for name, profile in (("one", False), ("parts", True)):
        folder = run(tmp_path / name, place, profile=profile)
        tables.append(formats.read_table(folder.path / "bounds.csv"))
        assert (folder.path / "profile.csv").exists() == profile
    for one, other in zip(*tables, strict=True):
        cells = {k: number(v) for k, v in one.items()}
        numbers = {k: v for k, v in cells.items() if v is not None}
        assert {k: one[k] for k in one if k not in numbers} == {
            k: other[k] for k in other if k not in numbers
        }
        its = {k: float(other[k]) for k in numbers}
        assert its == pytest.approx(numbers, rel=1e-12, abs=0, nan_ok=True)


def refused(out, place, **typed):
    with pytest.raises(Refusal) as error:
        run(out, place, **typed)
    message = str(error.value)
    assert "\n" not in message and not out.exists()
    return message


def test_what_cannot_be_read_is_one_line(tmp_path, place):
    out = tmp_path / "out"
    x, y = (np.load(place / "data.npz")[n] for n in "xy")
    other = saved(tmp_path / "other.onnx", weights(5))
    np.save(tmp_path / "other.npy", logits_of(other, x[:4]))
    for typed, said in (
        ({"outputs": str(tmp_path / "other.npy")}, "not the network that was meant"),
        ({"network": other, "weights": "w.npz"}, "give one of them"),
        ({"layout": "in_out"}, "--layout: goes with --weights"),
        ({"data": None}, "--network: goes with --problem or --data"),
        ({"network": str(place / "data.npz")}, "is no .onnx file"),
        ({"network": str(tmp_path / "none.onnx")}, "no file matches"),
        ({"init": str(place / "data.npz")}, "data.npz"),
    ):
        assert said in refused(out, place, **typed), typed
    (tmp_path / "broken.onnx").write_bytes(b"\x08\x07nothing")
    assert "broken.onnx" in refused(out, place, network=str(tmp_path / "broken.onnx"))
    last = {"x": x.transpose(0, 2, 3, 1), "y": y}
    np.savez(tmp_path / "last.npz", **last)
    message = refused(out, place, data=str(tmp_path / "last.npz"))
    assert "takes [2, 4, 4], the data has inputs [4, 4, 2]" in message
    np.savez(tmp_path / "small.npz", x=x[:, :1], y=y)
    assert "takes inputs" in refused(out, place, data=str(tmp_path / "small.npz"))
    np.savez(tmp_path / "from1.npz", x=x, y=y + 1)
    assert "labels from 0" in refused(out, place, data=str(tmp_path / "from1.npz"))
    one = {"c": weights(1)["c"][:1], "d": weights(1)["d"][:1]}
    head = saved(tmp_path / "head.onnx", weights(1) | one, outputs=1)
    assert "one output" in refused(out, place, network=head)


def test_a_start_of_another_network_is_refused(tmp_path, place):
    arrays = weights(0)
    arrays["c"] = np.zeros((4, 48), np.float32)
    arrays["d"] = np.zeros(4, np.float32)
    other = saved(tmp_path / "other.onnx", arrays, outputs=4)
    message = refused(tmp_path / "out", place, init=other)
    assert "a tensor [4, 48] where the network has [3, 48]" in message


def test_pictures_of_graphs_have_a_place_for_every_node():
    nodes = [Node("input", op=(4,))]
    for layer in range(3):
        nodes.append(Node("linear", (len(nodes) - 1,), Dense(), layer))
        nodes.append(Node("relu", (len(nodes) - 1,)))
        nodes.append(Node("add", (len(nodes) - 1, len(nodes) - 3)))
    nodes.append(Node("linear", (0,), Dense(), 3))
    nodes.append(Node("concat", (len(nodes) - 2, len(nodes) - 1)))
    found = places(Graph(tuple(nodes)))
    assert len(set(found)) == len(nodes)
    for node, (_, row) in zip(nodes, found, strict=True):
        assert all(found[i][1] < row for i in node.inputs)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_residual_network_of_pytorch_from_the_shell(tmp_path):
    """With max-pooling and normalisation, exported by PyTorch; the whole command."""
    torch = pytest.importorskip("torch", reason="needs PyTorch")
    module, rng = residual(torch), np.random.default_rng(0)
    x = rng.random((48, 3, 8, 8)).astype(np.float32)
    with torch.no_grad():
        logits = module(torch.from_numpy(x)).numpy()
    y = np.argmax(logits, axis=1)
    torch.onnx.export(
        module, (torch.from_numpy(x[:2]),), str(tmp_path / "net.onnx"), dynamo=False,
        input_names=["x"], dynamic_axes={"x": {0: "n"}},
    )  # fmt: skip
    np.save(tmp_path / "logits.npy", logits[:9])
    np.savez(tmp_path / "set.npz", x=x, y=y)
    command = [
        sys.executable, "-m", "experiments.evaluate", f"--network={tmp_path / 'net.onnx'}",
        f"--data={tmp_path / 'set.npz'}", f"--outputs={tmp_path / 'logits.npy'}",
        f"--out={tmp_path / 'out'}",
    ]  # fmt: skip
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "proved by --outputs" in done.stdout and "1 window" in done.stdout
    rows = formats.read_table(tmp_path / "out" / "bounds.csv")
    assert {r["bound"] for r in rows} == set(bounds.BOUNDS)
    assert all(r["value"] or r["status"].startswith("not available: ") for r in rows)
    assert {"graph_0.png", "graph_0.svg"} <= {
        p.name for p in (tmp_path / "out" / "figures").iterdir()
    }
    np.save(tmp_path / "logits.npy", logits[:9] + 0.01)
    done = subprocess.run(
        [*command[:-1], f"--out={tmp_path / 'other'}"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2 and "not the network that was meant" in done.stderr
