"""What a table says of each network: its settings, how training ended, and errors."""

from typing import Any

from experiments.lab import network_rows
from experiments.lab.measuring import Arrays
from experiments.report_card import suite

# What trials look at, a column each.
COLUMNS = (
    "network", "m", "seed", *suite.AXES, "is_factorial", "twin", "twin_of", "classes",
    "converged", "diverged", "epochs", "train_wrong", "train_error", "test_wrong", "test_size",
    "test_error", "noisy_test_wrong", "noisy_test_error",
)  # fmt: skip


def errors_of(arrays: Arrays) -> dict[str, Any]:
    """How training ended and what the network errs on, with the counts.

    Raises:
      KeyError: that was not measured.
    """
    went = network_rows.went(arrays)
    margins, test = arrays["margins/sorted"], arrays["test/sorted"]
    noisy = arrays.get("test_noisy/sorted", test)
    return {
        "converged": went["converged"],
        "diverged": went["diverged"],
        "epochs": went["epochs"],
        "train_wrong": int((margins <= 0).sum()),
        "train_error": float((margins <= 0).mean()),
        "test_wrong": int((test <= 0).sum()),
        "test_size": len(test),
        "test_error": float((test <= 0).mean()),
        # Of labels drawn as the training labels: the error that bounds speak of.
        "noisy_test_wrong": int((noisy <= 0).sum()),
        "noisy_test_error": float((noisy <= 0).mean()),
    }
