"""What the runs of `uc_failure` support: summary.json."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bounds.numerics import intervals
from bounds.uniform_convergence import (
    generalization_upper_bound,
    uniform_convergence_lower_bound,
)
from experiments.lab import settings
from experiments.lab.statistics import t_interval
from experiments.uc_failure.study import FailureStudy

ERRORS = ("train_error", "sprime_error", "test_error")
Rows = Sequence[Mapping[str, Any]]


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


def point(
    of: FailureStudy, size: int, variant: str, rows: Rows, tests: Mapping[str, Any]
) -> dict[str, Any]:
    """What the runs of one size and variant say: an entry of summary.json.

    `eps_unif_alg_lower_bound` holds with the confidence by itself; the `joint` one holds
    together with those of all other points (Bonferroni).
    """
    points = len(of.configs) * len(of.config.sizes)
    config, problem = of.configs[variant], of.problems[variant]
    exact = rows[0]["risk"] is not None
    n = None if exact else _test_size(problem, size)
    errors = [r["risk"] if exact else round(r["test_error"] * n) for r in rows]
    sprime, train = (
        [r[name] for r in rows] for name in ("sprime_error", "train_error")
    )
    chosen = {"delta": config.delta, "confidence": config.confidence}
    below = uniform_convergence_lower_bound(sprime, errors, n, **chosen)
    above = generalization_upper_bound(train, errors, n, **chosen)
    bound, reason = _claim(below)
    gap, gap_reason = _claim(above)
    joint, joint_reason = _claim(
        uniform_convergence_lower_bound(
            sprime, errors, n, delta=config.delta,
            confidence=1 - (1 - config.confidence) / points,
        )
    )  # fmt: skip
    if tests["is_suspicious"]:
        bound = joint = None
        reason = joint_reason = "S' is not distributed as S (two-sample tests)"
    entry = {
        "m": size,
        "variant": variant,
        "runs": len(rows),
        "not_converged": [r["run"] for r in rows if not r["converged"]],
        **{name: _mean([r[name] for r in rows]) for name in ERRORS},
        "risk": _mean(errors) if exact else None,
        "risk_predicted": problem.expected(size).get("risk"),
        "eps_unif_alg_lower_bound": bound,
        "eps_unif_alg_reason": reason,
        "joint_eps_unif_alg_lower_bound": joint,
        "joint_eps_unif_alg_reason": joint_reason,
        "eps_gen_upper_bound": gap,
        "eps_gen_reason": gap_reason,
        "largest_gap": _largest_gap(rows),
        **chosen,
        "sprime_p_values": {
            name: tests[name]
            for name in ("labels", "energy", "coordinates", "errors", "all")
        },
        "fresh_against_prediction": _against_prediction(problem, size, rows),
    }
    return entry | {"verdict": verdict(entry)}


def _test_size(problem, size):
    """How many fresh examples the errors were counted on."""
    return len(problem.test(size if problem.test_depends_on_size else None).labels)


def _against_prediction(problem, size, rows):
    """The mean test error on fresh points beside the risk that theory predicts.

    Runs differ, and the points, which all share, are a draw: each has half of the failure.
    """
    predicted, n = problem.expected(size).get("risk"), _test_size(problem, size)
    if predicted is None or problem.test_is_everything:
        return None
    errors = [r["test_error"] for r in rows]
    mean, half = float(np.mean(errors)), 0.0
    if len(set(errors)) > 1:
        half = t_interval(errors, 0.975)[1] - mean
    # Of a point the share of runs that err on it is a number in [0, 1]; points are independent.
    low = intervals.chernoff_interval(max(0.0, mean - half), n, 0.975)[0]
    high = intervals.chernoff_interval(min(1.0, mean + half), n, 0.975)[1]
    return {
        "predicted": predicted, "found": mean, "low": low, "high": high,
        "n": n, "inside": low <= predicted <= high,
    }  # fmt: skip


def _largest_gap(rows):
    """The largest risk minus training error seen: upper 95% limits where not exact."""
    return max(
        (r["risk"] if r["risk"] is not None else r["test_error_high"])
        - r["train_error"]
        for r in rows
    )


def verdict(entry: Mapping[str, Any]) -> str:
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


def trend(of: FailureStudy, rows: Rows) -> list[dict[str, Any]]:
    """How the error on S' goes along the sweep: one entry a line of points.

    The line is over variants at one size, or over sizes where nothing varies; its ends are
    compared run by run (the seeds are the same).
    """
    config = of.config
    if not config.vary and len(config.sizes) < 2:
        return []
    by = {(r["variant"], r["m"], r["seed"]): r["sprime_error"] for r in rows}
    variants, sizes = list(of.configs), sorted(config.sizes)
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
            low = high = None
            decided = difference[0] != 0 and 2.0 ** (1 - config.seeds) <= 0.05
        direction = "not decided" if difference.any() else "constant"
        if decided:
            direction = "falls" if difference.mean() < 0 else "rises"
        known = config.expected and decided
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
                "as_expected": direction == config.expected if known else None,
            }
        )
    return found


def make(of: FailureStudy, tables: Mapping[str, Rows]) -> dict[str, Any]:
    """The content of summary.json."""
    results = tables["results"]
    tests = {(r["variant"], r["m"]): r for r in tables["same_distribution"]}
    points = [
        point(
            of, size, variant,
            [r for r in results if (r["variant"], r["m"]) == (variant, size)],
            tests[variant, size],
        )
        for variant in of.configs
        for size in sorted(of.config.sizes)
    ]  # fmt: skip
    groups: dict[tuple, list] = {}
    for r in tables["theory"]:
        groups.setdefault((r["variant"], r["m"], r["quantity"]), []).append(r)
    theory = []
    for key, rows in groups.items():
        values = [r["observed"] for r in rows]
        low, high = t_interval(values)
        theory.append(
            dict(zip(("variant", "m", "quantity"), key, strict=True))
            | {"predicted": rows[0]["predicted"], "observed": float(np.mean(values)),
               "low": low, "high": high}
        )  # fmt: skip
    problem = next(iter(of.problems.values()))
    return {
        "problem": of.config.problem,
        "about": problem.about,
        "total_runs": len(results),
        "points": points,
        "trend": trend(of, results),
        "theory": theory,
    } | problem.summary(tables)
