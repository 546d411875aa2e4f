"""What the runs of `uc_failure` support: summary.json."""

import numpy as np

from bounds.uniform_convergence import (
    generalization_upper_bound,
    uniform_convergence_lower_bound,
)
from experiments import settings
from experiments.failure import tables
from experiments.statistics import binomial_interval, t_interval

ERRORS = ("train_error", "sprime_error", "test_error")


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
    one, or else the largest gap of the runs (their upper limits), which is descriptive.
    """
    bound, gap = entry["eps_unif_alg_lower_bound"], entry["largest_gap"]
    if bound is None:
        return "no claim"
    above = entry["eps_gen_upper_bound"]
    if bound <= max(0.0, gap if above is None else above):
        return "failure not shown"
    if bound >= 0.9:
        return "vacuous"
    return "exceeds the gaps" if above is None else "exceeds eps_gen"


def trend(sweep, rows):
    """How the error on S' goes along the sweep: one entry a line of points.

    The line is over variants at one size, or over sizes where nothing varies; its ends are
    compared run by run (the seeds are the same).
    """
    config = sweep.config
    if not config.vary and len(config.sizes) < 2:
        return []
    by = {(r["variant"], r["m"], r["seed"]): r["sprime_error"] for r in rows}
    variants, sizes = list(sweep.configs), sorted(config.sizes)
    if not config.vary:
        lines = [("", [("", m) for m in sizes])]
    else:
        lines = [(f"m={m}", [(v, m) for v in variants]) for m in sizes]
    found = []
    for label, cells in lines:
        ends = [
            np.array([by[(*cell, seed)] for seed in range(config.seeds)])
            for cell in (cells[0], cells[-1])
        ]
        difference = ends[1] - ends[0]
        low, high = t_interval(list(difference))
        decided = low is not None and (high < 0 or low > 0)
        if len(set(difference)) == 1:  # the interval is no interval; a sign test
            decided = difference[0] != 0 and 2.0 ** (1 - config.seeds) <= 0.05
        direction = "not decided" if difference.any() else "constant"
        if decided:
            direction = "falls" if difference.mean() < 0 else "rises"
        found.append(
            {
                "line": label,
                "along": config.vary or f"m={settings.shown(tuple(sizes))}",
                "first": float(ends[0].mean()),
                "last": float(ends[1].mean()),
                "difference_low": low,
                "difference_high": high,
                "direction": direction,
                "expected": config.expected,
                "as_expected": direction == config.expected
                if config.expected and decided
                else None,
            }
        )
    return found


def _gibbs_means(rows):
    """Means over the runs of every point and noise level."""
    names = tables.GIBBS[tables.GIBBS.index("sigma") + 1 :]
    found = []
    for key in dict.fromkeys((r["variant"], r["m"], r["sigma"]) for r in rows):
        own = [r for r in rows if (r["variant"], r["m"], r["sigma"]) == key]
        found.append(
            dict(zip(("variant", "m", "sigma"), key, strict=True))
            | {name: float(np.mean([r[name] for r in own])) for name in names}
        )
    return found


def summarise(sweep, results, theory, gibbs, two_samples):
    """The content of summary.json.

    Args:
      sweep: a `FailureSweep`.
      results, theory, gibbs: rows of the tables.
      two_samples: variant -> size -> `bounds.two_sample.TwoSample`.
    """
    points = []
    for variant in sweep.configs:
        for size in sorted(sweep.config.sizes):
            own = [r for r in results if (r["variant"], r["m"]) == (variant, size)]
            found = two_samples[variant][size]
            entry = point(sweep, size, variant, own, found)
            points.append(entry | {"verdict": verdict(entry)})
    quantities = []
    for key in dict.fromkeys((r["variant"], r["m"], r["quantity"]) for r in theory):
        own = [r for r in theory if (r["variant"], r["m"], r["quantity"]) == key]
        values = [r["observed"] for r in own]
        low, high = t_interval(values)
        quantities.append(
            dict(zip(("variant", "m", "quantity"), key, strict=True))
            | {"predicted": own[0]["predicted"], "observed": float(np.mean(values)),
               "low": low, "high": high}
        )  # fmt: skip
    return {
        "example": sweep.config.example,
        "points": points,
        "trend": trend(sweep, results),
        "theory": quantities,
        "pac_bayes": _gibbs_means(gibbs),
    }
