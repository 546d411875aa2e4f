"""`bounds_vs_samples` with a normalised network: trained, and measured as the graph it is."""

import dataclasses

import pytest

from experiments import evaluate
from experiments.bounds_vs_samples import PROGRAM
from experiments.lab import calls
from experiments.lab.refusals import Refusal
from tests.conftest import MNIST_SAMPLE
from tests.experiments.tiny import read, run

BOUNDS = ("holdout_cp", "gonon_2024_certified", "path_norm", "bartlett_2017_certified")
CONFIG = dataclasses.replace(
    calls.settings_of(PROGRAM, "mnist", None, {"data_dir": str(MNIST_SAMPLE)}),
    network="vgg", width=4, depth=1, sizes=(64,), seeds=2, draws=1, batch_size=16,
    learning_rate=0.1, margin=0.01, threshold=0.3, max_epochs=100, bounds=BOUNDS,
    draw_rule="without_replacement", biases=True, save_weights=True,
)  # fmt: skip


pytestmark = pytest.mark.slow  # a minute, of which most is compiling


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return run(CONFIG, tmp_path_factory.mktemp("runs") / "vgg").path


def test_it_learns_and_is_measured_as_a_graph(folder):
    for row in read(folder, "results"):
        assert row["converged"] == "true" and float(row["train_error"]) <= 0.3
    rows = read(folder, "bounds")
    for row in rows:
        of_chains = row["bound"] == "bartlett_2017_certified"
        assert bool(row["value"]) != of_chains, row
        assert of_chains == ("chains" in row["status"])


def test_evaluate_sends_it_back_to_its_folder(folder):
    path = folder / "weights" / "m64_seed0_draw0.safetensors"
    asked = calls.settings_of(
        evaluate.PROGRAM, None, None, {"weights": str(path), "bounds": ("all",)}
    )
    with pytest.raises(Refusal, match="batch normalisation is bounded in its own"):
        evaluate.PROGRAM.study(evaluate.PROGRAM.resolved(asked))
