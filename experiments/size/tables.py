"""The tables of an experiment on training-set size, from what was measured."""

import numpy as np

from experiments import bound_values
from experiments.statistics import binomial_interval
from nets.training import Outcome

RUN = ("run", "m", "seed", "draw")
RESULTS = (
    *RUN,
    "epochs",
    "steps",
    "seconds",
    "converged",
    "diverged",
    "train_error",
    "train_margin_error",
    "test_error",
    "test_error_low",
    "test_error_high",
    "test_error_noisy",
    "margin_median",
    "margin_q10",
    "input_norm_max",
    "distance_from_init",
    "distance_between_draws",
    "spectral_product",
    "frobenius_norm",
)
# The settings that a sweep over several folders may vary: they end every row of results.
SETTINGS = (
    "dataset",
    "dim",
    "network",
    "width",
    "depth",
    "biases",
    "batch_size",
    "shuffle",
    "learning_rate",
    "loss",
    "margin",
    "threshold",
    "label_noise",
    "draw_rule",
    "max_epochs",
)
EPOCHS = ("run", "epoch", "train_margin_error", "train_error", "loss")
LAYERS = (
    *RUN,
    "layer",
    "spectral_lower",
    "spectral_upper",
    "init_spectral_upper",
    "frobenius",
    "norm_21",
    "norm_21_transposed",
    "distance_frobenius",
    "distance_21",
    "distance_21_transposed",
    "distance_spectral_upper",
    "between_draws_frobenius",
    "between_draws_21",
)
BOUNDS = (*RUN, *bound_values.COLUMNS)


def _identity(run):
    return {"run": run.name, "m": run.size, "seed": run.seed, "draw": run.draw}


def _norm(layer_norms):
    """The Euclidean norm of all layers together, from their Frobenius norms."""
    return float(np.linalg.norm(layer_norms))


def results(config, runs, measured):
    """Rows of results.csv: one a run."""
    rows = []
    for run, a in zip(runs, measured, strict=True):
        margins, test = a["margins/sorted"], a["test/sorted"]
        wrong = int((test <= 0).sum())
        low, high = binomial_interval(wrong, len(test))
        noisy, other = a.get("test_noisy/sorted"), a.get("from_other/frobenius")
        outcome, epochs = Outcome(int(a["outcome"])), int(a["epochs"])
        rows.append(
            _identity(run)
            | {
                "epochs": epochs,
                "steps": epochs * (run.size // config.batch_size),
                "seconds": round(float(a["seconds"]), 3),
                "converged": outcome == Outcome.CONVERGED,
                "diverged": outcome == Outcome.DIVERGED,
                "train_error": float((margins <= 0).mean()),
                "train_margin_error": float((margins < config.margin).mean()),
                "test_error": wrong / len(test),
                "test_error_low": low,
                "test_error_high": high,
                "test_error_noisy": None
                if noisy is None
                else float((noisy <= 0).mean()),
                "margin_median": float(np.median(margins)),
                "margin_q10": float(margins[max(1, len(margins) // 10) - 1]),
                "input_norm_max": float(a["task/input_norm_max"]),
                "distance_from_init": _norm(a["from_init/frobenius"]),
                "distance_between_draws": None if other is None else _norm(other),
                "spectral_product": float(
                    np.exp(np.log(a["layers/spectral_upper"]).sum())
                ),
                "frobenius_norm": _norm(a["layers/frobenius"]),
            }
            | {name: getattr(config, name) for name in SETTINGS}
        )
    return rows


def epochs(runs, measured):
    """Rows of epochs.csv: one an epoch of a run, the first being 1."""
    return [
        {
            "run": run.name,
            "epoch": epoch,
            "train_margin_error": float(margin_error),
            "train_error": float(error),
            "loss": float(loss),
        }
        for run, a in zip(runs, measured, strict=True)
        for epoch, (margin_error, error, loss) in enumerate(a["checks"], 1)
    ]


def layers(runs, measured):
    """Rows of layers.csv: one a layer of a run, layer 0 next to the input."""
    columns = {
        "spectral_lower": "layers/spectral_lower",
        "spectral_upper": "layers/spectral_upper",
        "init_spectral_upper": "init/spectral_upper",
        "frobenius": "layers/frobenius",
        "norm_21": "layers/norm_21",
        "norm_21_transposed": "layers/norm_21_transposed",
        "distance_frobenius": "from_init/frobenius",
        "distance_21": "from_init/norm_21",
        "distance_21_transposed": "from_init/norm_21_transposed",
        "distance_spectral_upper": "from_init/spectral_upper",
        "between_draws_frobenius": "from_other/frobenius",
        "between_draws_21": "from_other/norm_21",
    }
    return [
        _identity(run)
        | {"layer": layer}
        | {c: float(a[n][layer]) if n in a else None for c, n in columns.items()}
        for run, a in zip(runs, measured, strict=True)
        for layer in range(len(a["layers/frobenius"]))
    ]


def bounds(config, runs, measured):
    """Rows of bounds.csv: one a run, bound and margin rule.

    The rule `target` evaluates a bound at gamma*, `median` at the median training margin; a
    bound that takes no margin has the rule `own`. A bound that is not available has its
    reason in `status` and no numbers.
    """
    missing = {"from_other": "there is no second draw"} if config.draws == 1 else {}
    rules = {
        "target": np.full(len(runs), config.margin),
        "median": np.asarray([np.median(a["margins/sorted"]) for a in measured]),
    }
    diverged = [int(a["outcome"]) == Outcome.DIVERGED for a in measured]
    broken = ["the run diverged" if is_so else None for is_so in diverged]
    found = bound_values.rows(config, measured, rules, broken, missing)
    return [
        _identity(run) | row
        for run, of_run in zip(runs, found, strict=True)
        for row in of_run
    ]
