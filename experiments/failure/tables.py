"""The tables of `uc_failure`, from what was measured."""

import numpy as np

from bounds import gibbs
from experiments import settings
from experiments.failure.measuring import SETS
from experiments.statistics import binomial_interval
from nets.training import Outcome

SETTINGS = (
    "dim", "radii", "noise", "scale", "width", "batch_size", "learning_rate", "margin",
    "threshold", "max_epochs", "n_test",
)  # fmt: skip
RESULTS = (
    "run", "example", "m", "seed", "variant", "epochs", "seconds", "converged", "diverged",
    "train_error", "train_margin_error", "test_error", "test_error_low",
    "test_error_high", "risk", "sprime_error", "train_margin_median",
    "sprime_margin_median", "fresh_margin_median", *SETTINGS,
)  # fmt: skip
EPOCHS = (
    "run", "epoch", "train_margin_error", "train_error", "loss", "test_error",
    "sprime_error",
)  # fmt: skip
THEORY = ("run", "m", "seed", "variant", "quantity", "observed", "predicted")
GIBBS = (
    "run", "m", "seed", "variant", "sigma", "train_error", "sprime_error", "risk",
    "kl_over_m", "guarantee", "least",
)  # fmt: skip


def _wrong(measured, name):
    return int(np.sum(measured[f"{name}/margins"] <= 0))


def _identity(run):
    return {"run": run.name, "m": run.size, "seed": run.seed, "variant": run.variant}


def results(sweep, measured):
    """Rows of results.csv: one a run."""
    rows = []
    for run, a in zip(sweep.runs, measured, strict=True):
        config, example = sweep.configs[run.variant], sweep.example(run)
        wrong, n = _wrong(a, "fresh"), len(a["fresh/margins"])
        low, high = binomial_interval(wrong, n)
        if example.fresh_is_everything:
            low = high = wrong / n
        outcome = Outcome(int(a["outcome"]))
        values = {
            name: example.fixed.get(name, getattr(config, name)) for name in SETTINGS
        }
        rows.append(
            _identity(run)
            | {
                "example": config.example,
                "epochs": int(a["epochs"]),
                "seconds": round(float(a["seconds"]), 3),
                "converged": outcome == Outcome.CONVERGED,
                "diverged": outcome == Outcome.DIVERGED,
                "train_error": _wrong(a, "train") / run.size,
                "train_margin_error": float(
                    np.mean(a["train/margins"] < config.margin)
                ),
                "test_error": wrong / n,
                "test_error_low": low,
                "test_error_high": high,
                "risk": float(a["risk"]) if "risk" in a else None,
                "sprime_error": _wrong(a, "sprime") / run.size,
            }
            | {
                f"{name}_margin_median": float(np.median(a[f"{name}/margins"]))
                for name in SETS
            }
            | values
            | {"radii": config.radii and settings.shown(config.radii)}
        )
    return rows


def epochs(sweep, measured):
    """Rows of epochs.csv: one an epoch of a run, the first being 1.

    The error on S' is that on its first `--watch` examples, the test error that on as many
    fresh ones.
    """
    columns = ["train_margin_error", "train_error", "loss"]
    if sweep.config.watch:
        columns += ["test_error", "sprime_error"]  # the order of the names watched
    return [
        dict.fromkeys(EPOCHS)
        | {"run": run.name, "epoch": epoch}
        | {name: float(value) for name, value in zip(columns, values, strict=True)}
        for run, a in zip(sweep.runs, measured, strict=True)
        for epoch, values in enumerate(a["checks"], 1)
    ]


def theory(sweep, measured):
    """Rows of theory.csv: one a run and quantity that theory predicts."""
    return [
        _identity(run)
        | {
            "quantity": name,
            "observed": float(a[f"observed/{name}"]),
            "predicted": float(predicted),
        }
        for run, a in zip(sweep.runs, measured, strict=True)
        for name, predicted in sweep.example(run).expected(run.size).items()
    ]


def gibbs_rows(sweep, measured):
    """Rows of pac_bayes.csv: one a run and noise level of the Gaussian posterior."""
    rows = []
    for run, a in zip(sweep.runs, measured, strict=True):
        config, example = sweep.configs[run.variant], sweep.example(run)
        train, sprime = (
            (a[f"{name}/margins"], a[f"{name}/norms"]) for name in ("train", "sprime")
        )
        for sigma in config.posterior_noise or ():
            signal, norm, square = (
                float(a[f"observed/{n}"]) for n in ("signal", "norm_w2", "squared_norm")
            )
            risk = example.gibbs_risk(signal, norm, run.size, sigma)
            found = gibbs.two_sided(
                train, sprime, risk, square, run.size, sigma, config.delta
            )
            rows.append(_identity(run) | vars(found))
    return rows
