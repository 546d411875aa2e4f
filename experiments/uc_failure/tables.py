"""The tables of `uc_failure`, from what was measured."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from experiments.lab import network_rows, vary
from experiments.lab.compact_rows import CompactRows
from experiments.lab.jobs import Run
from experiments.lab.measuring import Arrays
from experiments.lab.program import Rows
from experiments.uc_failure import same_distribution
from experiments.uc_failure.study import SETS, FailureStudy

COLUMNS = {
    "results": (
        "run", "m", "seed", "variant", "epochs", "seconds", "converged", "diverged",
        "train_error", "train_margin_error", *network_rows.ERRORS[1:], "risk",
        "sprime_error", *(f"{name}_margin_median" for name in SETS),
    ),
    "epochs": (*network_rows.EPOCHS, "test_error", "sprime_error"),
    "theory": ("run", "m", "seed", "variant", "quantity", "observed", "predicted"),
    "same_distribution": (
        "variant", "m", "labels", "energy", "coordinates", "errors", "all", "is_suspicious",
    ),
}  # fmt: skip


def _wrong(measured, name):
    return int(np.sum(measured[f"{name}/margins"] <= 0))


def _identity(run: Run) -> dict[str, Any]:
    return {"run": run.name, "m": run.size, "seed": run.seed, "variant": run.variant}


def _result(config, problem, run, a):
    found = network_rows.counted(_wrong(a, "test"), len(a["test/margins"]))
    if problem.test_is_everything:
        found = dict.fromkeys(found, found["test_error"])
    margins = a["train/margins"]
    return (
        network_rows.went(a)
        | {
            "train_error": _wrong(a, "train") / run.size,
            "train_margin_error": float(np.mean(margins < config.margin)),
            "risk": float(a["risk"]) if "risk" in a else None,
            "sprime_error": _wrong(a, "sprime") / run.size,
        }
        | found
        | {f"{n}_margin_median": float(np.median(a[f"{n}/margins"])) for n in SETS}
        | {"problem": config.problem}
        | vary.cells(config)
    )


def make(of: FailureStudy, measured: Sequence[Arrays]) -> dict[str, Rows]:
    """name -> rows: results, one a run; epochs; theory, one a run and quantity that theory
    predicts; same_distribution, one a point; and what the problem adds.

    The error on S' by epoch is that on its first `--watch` examples, the test error that on
    as many fresh ones.
    """
    # The order of the names watched.
    watched = ("test_error", "sprime_error") if of.config.watch else ()
    tables = {name: CompactRows() for name in ("results", "epochs", "theory")}
    for run, a in zip(of.runs, measured, strict=True):
        config, problem = of.configs[run.variant], of.problems[run.variant]
        identity = _identity(run)
        tables["results"].append(identity | _result(config, problem, run, a))
        tables["epochs"].extend(network_rows.epochs(run.name, a, watched))
        tables["theory"].extend(
            identity
            | {
                "quantity": name,
                "observed": float(a[f"observed/{name}"]),
                "predicted": float(predicted),
            }
            for name, predicted in problem.expected(run.size).items()
        )
        for name, rows in problem.tables(a, run.size, config.delta).items():
            own = tables.setdefault(name, CompactRows())
            own.extend(identity | row for row in rows)
    return tables | {"same_distribution": same_distribution.rows(of, measured)}
