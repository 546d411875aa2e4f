"""The tables of `bounds_vs_samples`, from what was measured."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from experiments.bounds_vs_samples.study import SizeStudy
from experiments.lab import bound_rows, network_rows, vary
from experiments.lab.measuring import Arrays
from experiments.lab.training import Run

RUN = ("run", "m", "seed", "draw", "variant")
# The settings that may be swept end every row of results.
COLUMNS = {
    "results": (
        *RUN, "epochs", "steps", "seconds", "converged", "diverged", "train_error",
        "train_margin_error", *network_rows.ERRORS[1:], "test_error_noisy",
        *network_rows.NORMS,
    ),
    "epochs": network_rows.EPOCHS,
    "layers": (*RUN, "layer", *network_rows.LAYERS),
    "bounds": (*RUN, *bound_rows.COLUMNS),
}  # fmt: skip


def _identity(run: Run) -> dict[str, Any]:
    return {
        "run": run.name, "m": run.size, "seed": run.seed, "draw": run.draw,
        "variant": run.variant,
    }  # fmt: skip


def make(of: SizeStudy, measured: Sequence[Arrays]) -> dict[str, list[dict[str, Any]]]:
    """name -> rows: results, one a run; epochs; layers; bounds, one a margin rule.

    The rule `target` evaluates a bound at gamma*, `median` at the median training margin; a
    bound that takes no margin has the rule `own`. A bound that is not available has its
    reason in `status` and no numbers.
    """
    identities = [_identity(run) for run in of.runs]
    pairs = list(zip(of.runs, identities, measured, strict=True))
    rules = {
        "target": np.array([of.configs[run.variant].margin for run in of.runs]),
        "median": network_rows.medians(measured),
    }
    broken = network_rows.diverged(measured)
    said = bound_rows.rows(of.config, measured, rules, broken)
    return {
        "results": [
            identity | _result(of.configs[run.variant], run, a)
            for run, identity, a in pairs
        ],
        "epochs": network_rows.epochs([run.name for run in of.runs], measured),
        "layers": network_rows.layers(identities, measured),
        "bounds": [
            identity | row
            for identity, rows in zip(identities, said, strict=True)
            for row in rows
        ],
    }


def _result(config, run, a):
    noisy, went = a.get("test_noisy/sorted"), network_rows.went(a)
    margin_error = float((a["margins/sorted"] < config.margin).mean())
    return (
        went
        | {"steps": went["epochs"] * (run.size // config.batch_size)}
        | network_rows.errors(a)
        | {"train_margin_error": margin_error}
        | {"test_error_noisy": None if noisy is None else float((noisy <= 0).mean())}
        | network_rows.norms(a)
        | vary.cells(config)
    )
