"""The tables of `certify`, from what was measured."""

from collections.abc import Sequence
from typing import Any

from bounds.numerics import intervals
from experiments.certify.routes.route import SAME_DATA
from experiments.certify.study import CertifyStudy
from experiments.lab import bound_rows, network_rows
from experiments.lab.measuring import Arrays
from nets.training import Outcome

COLUMNS = {
    "results": (
        "run", "seed", "m", "prior_m", "parameters", "epochs", "seconds", "outcome",
        *network_rows.ERRORS, "test_size", "holdout_of_same_data", "kl", "kl_over_m", "stochastic_train_error",
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
            _result(of, run, a, own)
            for run, a, own in zip(of.runs, measured, said, strict=True)
        ],
        "epochs": network_rows.epochs(names, measured),
        "bounds": rows,
    }


def _result(of, run, a, rows):
    noisy, size = a.get("test_noisy/sorted", a.get("test/sorted")), int(a["task/size"])
    row = {
        "run": run.name,
        "seed": run.seed,
        "m": size,
        "prior_m": of.config.size - of.route.certified_size(of.config),
        "parameters": int(a["architecture/parameters"].sum()),
        "test_size": 0 if noisy is None else len(noisy),
        "holdout_of_same_data": _holdout_of_same_data(a, of.config),
    } | network_rows.errors(a | {"test/sorted": noisy})
    own, is_diverged = of.route.columns(of.config, a, rows), False
    if "outcome" in a:  # something was trained
        is_diverged = int(a["outcome"]) == Outcome.DIVERGED
        row |= {
            "epochs": int(a["epochs"]),
            "seconds": float(a["seconds"]),
            "outcome": "diverged" if is_diverged else "trained",
        }
    if is_diverged and "kl" in own:
        own |= {"kl": None, "kl_over_m": None}
    return row | own


def _holdout_of_same_data(a, config):
    """The exact binomial bound of the course's baseline, at the same delta; or None."""
    if f"{SAME_DATA}/wrong" not in a:
        return None
    wrong, size = (int(a[f"{SAME_DATA}/{n}"]) for n in ("wrong", "size"))
    return float(intervals.upper([wrong], size, config.delta / config.tried)[0])
