"""The tables of `uc_failure`, and what its runs support, from what was measured."""

import numpy as np

from bounds import gibbs
from bounds.uniform_convergence import (
    generalization_upper_bound,
    uniform_convergence_lower_bound,
)
from experiments import settings
from experiments.failure.measuring import SETS
from experiments.statistics import binomial_interval, t_interval
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
ERRORS = ("train_error", "sprime_error", "test_error")


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


def _mean(values):
    """Mean and t-interval over runs; no interval where the runs do not differ."""
    low, high = t_interval(values) if len(set(values)) > 1 else (None, None)
    return {"mean": float(np.mean(values)), "low": low, "high": high}


def _claim(claim):
    """A `Claim` as summary.json has it, with the reason where there is none."""
    reason = None
    if claim.bound is None:
        reason = f"needs {claim.runs_needed} runs, there are {claim.runs}"
    return claim.bound, reason


def point(sweep, size, variant, rows, two_sample):
    """What the runs of one size and variant say: an entry of summary.json.

    `eps_unif_alg_lower_bound` holds with the confidence by itself; the `joint` one holds
    together with those of all other points (Bonferroni).
    """
    points = len(sweep.configs) * len(sweep.config.sizes)
    config, example = sweep.configs[variant], sweep.examples[variant]
    exact = rows[0]["risk"] is not None
    n = None if exact else config.n_test
    tests = [r["risk"] if exact else round(r["test_error"] * n) for r in rows]
    sprime, train = (
        [r[name] for r in rows] for name in ("sprime_error", "train_error")
    )
    chosen = {"delta": config.delta, "confidence": config.confidence}
    below = uniform_convergence_lower_bound(sprime, tests, n, **chosen)
    above = generalization_upper_bound(train, tests, n, **chosen)
    bound, reason = _claim(below)
    gap, gap_reason = _claim(above)
    joint, joint_reason = _claim(
        uniform_convergence_lower_bound(
            sprime, tests, n, delta=config.delta,
            confidence=1 - (1 - config.confidence) / points,
        )
    )  # fmt: skip
    if two_sample.is_suspicious:
        bound = joint = None
        reason = joint_reason = "S' is not distributed as S (two-sample tests)"
    counted = (
        sum(round(r["test_error"] * config.n_test) for r in rows)
        if (config.n_test)
        else None
    )
    predicted = example.expected(size).get("risk")
    pooled = None
    if counted is not None and predicted is not None:
        total = config.n_test * len(rows)
        low, high = binomial_interval(counted, total)
        pooled = {
            "predicted": predicted, "found": counted / total, "low": low, "high": high,
            "n": total, "inside": low <= predicted <= high,
        }  # fmt: skip
    return {
        "m": size,
        "variant": variant,
        "dim": config.dim,
        "runs": len(rows),
        "not_converged": [r["run"] for r in rows if not r["converged"]],
        **{name: _mean([r[name] for r in rows]) for name in ERRORS},
        "risk": _mean(tests) if exact else None,
        "eps_unif_alg_lower_bound": bound,
        "eps_unif_alg_reason": reason,
        "joint_eps_unif_alg_lower_bound": joint,
        "joint_eps_unif_alg_reason": joint_reason,
        "eps_gen_upper_bound": gap,
        "eps_gen_reason": gap_reason,
        "largest_gap": _largest_gap(rows),
        **chosen,
        "sprime_p_values": vars(two_sample) | {"all": two_sample.p_value},
        "fresh_against_prediction": pooled,
    }


def _largest_gap(rows):
    """The largest risk minus training error seen: upper 95% limits where not exact."""
    return max(
        (r["risk"] if r["risk"] is not None else r["test_error_high"])
        - r["train_error"]
        for r in rows
    )


def verdict(entry):
    """What the lower bound on eps_unif-alg of a point exceeds.

    "vacuous" if it is at least 0.9; otherwise the upper bound on eps_gen where there is
    one, or else the largest gap of the runs, which is descriptive only.
    """
    bound, gap = entry["eps_unif_alg_lower_bound"], entry["largest_gap"]
    if bound is None:
        return "no claim"
    above = entry["eps_gen_upper_bound"]
    if bound <= max(0.0, gap if above is None else above):
        return "failure not shown"
    if bound >= 0.9:
        return "vacuous"
    return "exceeds the gaps seen" if above is None else "exceeds eps_gen"
