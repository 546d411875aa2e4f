"""The tables of `certify`, from what was measured."""

from collections.abc import Sequence
from typing import Any

import numpy as np

import bounds
from experiments.certify.study import CertifyStudy, prior_size
from experiments.lab import bound_rows, network_rows
from experiments.lab.measuring import Arrays
from nets.training import Outcome

COLUMNS = {
    "results": (
        "run", "seed", "m", "prior_m", "parameters", "epochs", "seconds", "outcome",
        *network_rows.ERRORS, "kl", "kl_over_m", "stochastic_train_error",
        "stochastic_test_error", "bits", "compressed_train_error", "compressed_test_error",
    ),
    "epochs": network_rows.EPOCHS,
    "bounds": ("run", *bound_rows.COLUMNS),
}  # fmt: skip


def make(
    of: CertifyStudy, measured: Sequence[Arrays]
) -> dict[str, list[dict[str, Any]]]:
    """name -> rows: results, one a certified network; epochs; bounds.

    Errors are of the plain network, or of the mean one; held-out labels are as those that
    were trained on. Certificates share delta with the `--tried` settings.
    """
    config, names = of.config, [run.name for run in of.runs]
    said = bound_rows.rows(
        config,
        measured,
        {"median": network_rows.medians(measured)},
        network_rows.diverged(measured),
        delta=config.delta / config.tried,
    )
    rows = [
        {"run": n} | row for n, some in zip(names, said, strict=True) for row in some
    ]
    return {
        "results": [
            _result(config, run, a, rows)
            for run, a in zip(of.runs, measured, strict=True)
        ],
        "epochs": network_rows.epochs(names, measured),
        "bounds": rows,
    }


def _result(config, run, a, bound_rows_of_all):
    noisy = a.get("test_noisy/sorted", a["test/sorted"])
    row = {
        "run": run.name,
        "seed": run.seed,
        "m": int(a["task/size"]),
        "prior_m": prior_size(config),
        "parameters": int(a["architecture/parameters"].sum()),
        "epochs": int(a["epochs"]),
        "seconds": float(a["seconds"]),
        "outcome": "diverged" if int(a["outcome"]) == Outcome.DIVERGED else "trained",
    } | network_rows.errors(a | {"test/sorted": noisy})
    if "gibbs_posterior/kl" in a:
        kl = float(a["gibbs_posterior/kl"][0])
        known = row["outcome"] != "diverged"
        row |= {
            "kl": kl if known else None,
            "kl_over_m": kl / row["m"] if known else None,
            "stochastic_train_error": float(a["gibbs_posterior/errors"][0]),
            "stochastic_test_error": float(a["gibbs_posterior/holdout_errors"][0]),
        }
    coded = [
        r for r in bound_rows_of_all
        if r["run"] == run.name and "value" in r
        and "code_subspace" in bounds.BOUNDS[r["bound"]].groups
    ]  # fmt: skip
    if coded:  # the best code's
        counted = coded[0]["empirical"]
        best = int(np.argmin(np.abs(a["code_subspace/errors"] - counted)))
        row |= {
            "bits": int(a["code_subspace/bits"][best]),
            "compressed_train_error": counted,
            "compressed_test_error": coded[0]["risk"],
        }
    return row
