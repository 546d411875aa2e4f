"""What a table says of each network besides its settings: how training ended, and errors."""

from typing import Any

from experiments.lab import network_rows
from experiments.lab.measuring import Arrays


def errors_of(arrays: Arrays) -> dict[str, Any]:
    """How training ended and what the network errs on, with the counts."""
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
