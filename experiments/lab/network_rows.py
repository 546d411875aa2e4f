"""Rows that tables of networks share: errors, margins, norms, layers, epochs."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from bounds.numerics import intervals
from experiments.lab.measuring import Arrays
from nets.training import Outcome

# What these rows are made from; where it cannot be had their cells are empty.
GROUPS = (
    "architecture",
    "task",
    "margins",
    "layers",
    "init",
    "from_init",
    "from_other",
)
ERRORS = ("train_error", "test_error", "test_error_low", "test_error_high")
NORMS = (
    "margin_median", "margin_q10", "input_norm_max", "distance_from_init",
    "distance_between_draws", "spectral_product", "frobenius_norm",
)  # fmt: skip
EPOCHS = ("run", "epoch", "train_margin_error", "train_error", "loss")
LAYERS = {
    "spectral_norm": "layers/spectral",
    "spectral_lower": "layers/spectral_lower",
    "spectral_upper": "layers/spectral_upper",
    "init_spectral_norm": "init/spectral",
    "init_spectral_upper": "init/spectral_upper",
    "frobenius": "layers/frobenius",
    "norm_21": "layers/norm_21",
    "norm_21_transposed": "layers/norm_21_transposed",
    "distance_frobenius": "from_init/frobenius",
    "distance_21": "from_init/norm_21",
    "distance_21_transposed": "from_init/norm_21_transposed",
    "distance_spectral_norm": "from_init/spectral",
    "distance_spectral_upper": "from_init/spectral_upper",
    "between_draws_frobenius": "from_other/frobenius",
    "between_draws_21": "from_other/norm_21",
    "inputs": "layers/fan_in",
    "outputs": "layers/fan_out",
}


def counted(wrong: int, n: int) -> dict[str, float]:
    """A test error and its exact 95% limits."""
    low, high = intervals.interval(wrong, n)
    return {
        "test_error": wrong / n, "test_error_low": low, "test_error_high": high,
    }  # fmt: skip


def errors(a: Arrays) -> dict[str, Any]:
    """Training and test error; the latter only where there are test examples."""
    test, row = a.get("test/sorted"), {}
    if test is not None:
        row = counted(int((test <= 0).sum()), len(test))
    return {"train_error": float((a["margins/sorted"] <= 0).mean())} | row


def norms(a: Arrays) -> dict[str, Any]:
    """Margins, norms and distances of a whole network."""
    margins = a["margins/sorted"]

    def whole(group):
        layers = a.get(f"{group}/frobenius")
        return None if layers is None else float(np.linalg.norm(layers))

    return {
        "margin_median": float(np.median(margins)),
        "margin_q10": float(margins[max(1, len(margins) // 10) - 1]),
        "input_norm_max": float(a["task/input_norm_max"]),
        "distance_from_init": whole("from_init"),
        "distance_between_draws": whole("from_other"),
        "spectral_product": float(np.prod(a["layers/spectral"], dtype=float)),
        "frobenius_norm": whole("layers"),
    }


def went(a: Arrays) -> dict[str, Any]:
    """How a training ended."""
    outcome = Outcome(int(a["outcome"]))
    return {
        "epochs": int(a["epochs"]),
        "seconds": round(float(a["seconds"]), 3),
        "converged": outcome == Outcome.CONVERGED,
        "diverged": outcome == Outcome.DIVERGED,
    }


def broken(a: Arrays) -> str | None:
    """Why no bound speaks of a run, or None."""
    is_diverged = int(a.get("outcome", -1)) == Outcome.DIVERGED
    return "the run diverged" if is_diverged else None


def median(a: Arrays) -> float:
    """The median training margin of a network."""
    return np.median(a["margins/sorted"])


def layers(identity: Mapping[str, Any], a: Arrays) -> Iterator[dict[str, Any]]:
    """Rows of layers.csv: one a layer of a network, layer 0 next to the input."""
    for layer in range(len(a["layers/frobenius"])):
        cells = {c: a[n][layer].item() for c, n in LAYERS.items() if n in a}
        yield {**identity, "layer": layer} | cells


def epochs(
    name: str, a: Arrays, watched: Sequence[str] = ()
) -> Iterator[dict[str, Any]]:
    """Rows of epochs.csv: one an epoch of a run, the first being 1.

    Args:
      name: of the run.
      a: what was measured of it.
      watched: columns of the errors on watched samples, in the order of their names.
    """
    columns = (*EPOCHS[2:], *watched)
    for epoch, values in enumerate(a.get("checks", ()), 1):
        cells = {c: float(v) for c, v in zip(columns, values, strict=True)}
        yield {"run": name, "epoch": epoch} | cells
