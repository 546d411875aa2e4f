"""The network that was meant: asked for, printed, proved by its own logits, or doubted."""

import numpy as np
import pytest

from experiments import evaluate
from experiments.lab.calls import settings_of
from experiments.lab.refusals import Refusal
from tests.bounds.cases import random_case
from tests.experiments.tiny import read, run


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """A PyTorch network with biases, and data that it labels itself."""
    place = tmp_path_factory.mktemp("given")
    case = random_case(3, [6, 8, 8, 3], m=60, biases=True)
    names = [f"fc{i}" for i in range(3)]
    state = {
        f"{n}.weight": np.float32(w.T) for n, w in zip(names, case.weights, strict=True)
    }
    state |= {
        f"{n}.bias": np.float32(b) for n, b in zip(names, case.biases, strict=True)
    }
    np.savez(place / "net.npz", **state)
    x, logits = np.float32(case.x), np.float32(case.x)
    for i, name in enumerate(names):
        logits = (np.maximum(logits, 0) if i else logits) @ state[f"{name}.weight"].T
        logits = logits + state[f"{name}.bias"]
    np.savez(place / "data.npz", x=x, y=np.argmax(logits, 1))
    return place, logits


def evaluated(place, out, **typed):
    typed = {
        "weights": f"{place}/net.npz", "data": f"{place}/data.npz", "bounds": ("params",),
        "activation": "relu",
    } | typed  # fmt: skip
    config = settings_of(evaluate.PROGRAM, None, typed=typed)
    return run(config, out, evaluate.PROGRAM).path


def test_its_own_logits_prove_it(given, tmp_path, capsys):
    place, logits = given
    np.save(tmp_path / "logits.npy", logits[:20].astype(np.float16))
    out = evaluated(place, tmp_path / "out", outputs=f"{tmp_path}/logits.npy")
    said = capsys.readouterr().out
    taken = "fc0 [6, 8] + bias, ReLU, fc1 [8, 8] + bias, ReLU, fc2 [8, 3] + bias; proved by --outputs"
    assert f"net was taken to be: {taken}" in said and "PROBABLY" not in said
    assert read(out, "results")[0]["taken_to_be"] == taken


@pytest.mark.parametrize("wrong", ["ignore", "layers", "logits"])
def test_other_logits_are_refused_by_the_example(given, tmp_path, wrong):
    """Biases left out; layers that can change places; one number of another network."""
    place, logits = given
    np.save(
        tmp_path / "logits.npy", logits[:20] + (wrong == "logits") * (np.arange(3) == 1)
    )
    how = {
        "ignore": {"ignore": ("*.bias",)},
        "layers": {"layers": ("fc0", "fc1", "fc2"), "ignore": ("fc1.bias",)},
        "logits": {},
    }[wrong]
    with pytest.raises(
        Refusal, match=r"--outputs=.*example \d+ has logits .* not the network"
    ):
        evaluated(place, tmp_path / "out", outputs=f"{tmp_path}/logits.npy", **how)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("array", "why"),
    [
        (np.zeros((4, 2)), "2 columns, the network has 3 outputs"),
        (np.zeros((1, 3)), "1 rows; give those of 2 to 60"),
        (np.zeros((61, 3)), "61 rows; give those of 2 to 60"),
        (np.zeros(3), r"\[n, classes\]"),
        (np.array([["a"]]), r"\[n, classes\]"),
        (np.array([[None]]), "plain numbers"),
        (np.full((2, 3), np.nan), "example 0 has logits"),
    ],
)
def test_files_of_something_else(given, tmp_path, array, why):
    np.save(tmp_path / "logits.npy", array, allow_pickle=True)
    with pytest.raises(Refusal, match=why):
        evaluated(given[0], tmp_path / "out", outputs=f"{tmp_path}/logits.npy")


def test_a_head_of_one_logit_is_told_how_to_become_two(given, tmp_path):
    data = np.load(given[0] / "data.npz")
    np.savez(tmp_path / "data.npz", x=data["x"], y=data["y"] % 2)
    np.savez(tmp_path / "net.npz", w0=np.ones((6, 4), "f"), w1=np.ones((4, 1), "f"))
    with pytest.raises(
        Refusal, match=r"one output, whose sign is the class.*-w/2 and w/2"
    ):
        evaluated(
            tmp_path, tmp_path / "out", weights=f"{tmp_path}/net.npz",
            data=f"{tmp_path}/data.npz",
        )  # fmt: skip


def test_the_activation_is_asked_for(given, tmp_path):
    with pytest.raises(
        Refusal, match=r"--activation is missing: .*net.npz has 3 layers"
    ):
        evaluated(given[0], tmp_path / "out", activation=None)
    with pytest.raises(Refusal, match="--activation=tanh"):
        evaluated(given[0], tmp_path / "out", activation="tanh")


def test_an_error_near_guessing_is_loud(given, tmp_path, capsys):
    place, _ = given
    data = np.load(place / "data.npz")
    np.savez(tmp_path / "data.npz", x=data["x"], y=(data["y"] + 1) % 3)
    evaluated(place, tmp_path / "out", data=f"{tmp_path}/data.npz")
    assert "net errs on 1 of its own training set" in capsys.readouterr().out
    assert "PROBABLY NOT YOUR NETWORK" in (tmp_path / "out" / "report.md").read_text()
