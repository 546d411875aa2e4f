"""The tables of `bounds_vs_samples`, from what was measured."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from experiments.bounds_vs_samples.study import SizeStudy
from experiments.lab import bound_rows, network_rows, vary
from experiments.lab.compact_rows import CompactRows
from experiments.lab.jobs import Run
from experiments.lab.measuring import Arrays
from experiments.lab.program import Rows

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


def make(of: SizeStudy, measured: Sequence[Arrays]) -> dict[str, Rows]:
    """name -> rows: results, one a run; epochs; layers; bounds, one a margin rule.

    The rule `target` evaluates a bound at gamma*, `median` at the median training margin; a
    bound that takes no margin has the rule `own`. A bound that is not available has its
    reason in `status` and no numbers.
    """
    results, epochs, layers = (CompactRows() for _ in range(3))
    identities, surveyed = [_identity(run) for run in of.runs], bound_rows.Survey()
    medians, broken = [], []
    for run, identity, a in zip(of.runs, identities, measured, strict=True):
        results.append(identity | _result(of.configs[run.variant], run, a))
        epochs.extend(network_rows.epochs(run.name, a))
        layers.extend(network_rows.layers(identity, a))
        medians.append(network_rows.median(a))
        broken.append(network_rows.broken(a))
        surveyed.add(a)
    rules = {
        "target": np.array([of.configs[run.variant].margin for run in of.runs]),
        "median": np.array(medians),
    }
    return {
        "results": results,
        "epochs": epochs,
        "layers": layers,
        "bounds": bound_rows.rows(
            of.config, identities, measured, surveyed, rules, broken
        ),
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
