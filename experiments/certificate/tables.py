"""The tables of `certify`, from what was measured."""

import dataclasses

import numpy as np

from bounds import needs
from experiments import bound_values
from experiments.certificate.sweep import prior_size
from experiments.evaluation.measuring import missing_of
from experiments.statistics import binomial_interval
from nets.training import Outcome

RESULTS = (
    "run",
    "seed",
    "m",
    "prior_m",
    "parameters",
    "epochs",
    "seconds",
    "outcome",
    "train_error",
    "test_error",
    "test_error_low",
    "test_error_high",
    "kl",
    "kl_over_m",
    "stochastic_train_error",
    "stochastic_test_error",
    "bits",
    "compressed_train_error",
    "compressed_test_error",
)
BOUNDS = ("run", *bound_values.COLUMNS)
EPOCHS = ("run", "epoch", "train_error", "loss")


def results(config, runs, measured, bound_rows):
    """Rows of results.csv: one a certified network; errors of the plain or mean network.

    Bits and errors of the compressed network are those of the best code in `bound_rows`.
    """
    rows = []
    for run, a in zip(runs, measured, strict=True):
        margins, test = a["margins/sorted"], a["test/sorted"]
        wrong = int((test <= 0).sum())
        low, high = binomial_interval(wrong, len(test))
        row = dict.fromkeys(RESULTS) | {
            "run": run.name,
            "seed": run.seed,
            "m": int(a["task/size"]),
            "prior_m": prior_size(config),
            "parameters": int(a["architecture/parameters"].sum()),
            "epochs": int(a["epochs"]),
            "seconds": float(a["seconds"]),
            "outcome": "diverged"
            if int(a["outcome"]) == Outcome.DIVERGED
            else "trained",
            "train_error": float((margins <= 0).mean()),
            "test_error": wrong / len(test),
            "test_error_low": low,
            "test_error_high": high,
        }
        if "gibbs_posterior/kl" in a:
            kl = float(a["gibbs_posterior/kl"][0])
            row |= {
                "kl": kl,
                "kl_over_m": kl / row["m"],
                "stochastic_train_error": float(a["gibbs_posterior/errors"][0]),
                "stochastic_test_error": float(a["gibbs_posterior/holdout_errors"][0]),
            }
        if "code_subspace/bits" in a:
            found = next(
                r for r in bound_rows
                if r["run"] == run.name and "code_subspace" in needs([r["bound"]])
            )  # fmt: skip
            best = int(
                np.argmin(np.abs(a["code_subspace/errors"] - found["empirical"]))
            )
            row |= {
                "bits": int(a["code_subspace/bits"][best]),
                "compressed_train_error": found["empirical"],
                "compressed_test_error": found["risk"],
            }
        rows.append(row)
    return rows


def epochs(runs, measured):
    """Rows of epochs.csv: one an epoch of a certified network, or of the mean network."""
    return [
        {"run": run.name, "epoch": epoch + 1, "train_error": error, "loss": loss}
        for run, a in zip(runs, measured, strict=True)
        for epoch, (_, error, loss) in enumerate(a["checks"].tolist())
    ]


def bounds(config, runs, measured):
    """Rows of bounds.csv: one a certified network and bound."""
    median = np.array([np.median(a["margins/sorted"]) for a in measured])
    broken = [
        "the training loss became infinite"
        if int(a["outcome"]) == Outcome.DIVERGED
        else None
        for a in measured
    ]
    own = dataclasses.replace(config, delta=config.delta / config.tried)
    rows = bound_values.rows(
        own, measured, {"median": median}, broken, missing_of(measured[0])
    )
    return [
        {"run": run.name} | row
        for run, found in zip(runs, rows, strict=True)
        for row in found
    ]
