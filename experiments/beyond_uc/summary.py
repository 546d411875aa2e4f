"""What the runs of `beyond_uc` support: summary.json."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bounds.uniform_convergence import uniform_convergence_lower_bound
from experiments.beyond_uc.study import BeyondStudy
from experiments.lab.statistics import paired_difference, slope_over_size, t_interval

Rows = Sequence[Mapping[str, Any]]
# Of the lower bounds on every two-sided uniform convergence bound, of all sizes together: the
# largest of them is what is quoted.
CONFIDENCE = 0.95


def _mean(values):
    low, high = t_interval(values) if len(set(values)) > 1 else (None, None)
    return {"mean": float(np.mean(values)), "low": low, "high": high}


def _point(of, size, rows, tests):
    """Errors at one size, and what uniform convergence must say there."""
    found = {
        "m": size,
        **{n: _mean([r[n] for r in rows]) for n in ("train_error", "test_error")},
    }
    bounded = [r for r in rows if "least_bound" in r]
    if bounded:
        least = min(bounded, key=lambda r: r["least_bound"])
        found |= {k: least[k] for k in ("least_bound", "least_bound_name")}
    if "sprime_error" not in rows[0]:
        return found | {"eps_unif_alg_lower_bound": None}
    n = rows[0]["n_test"]
    sprime = [r["sprime_error"] for r in rows]
    if of.problem.test_is_everything:
        errors, n = [r["test_error"] for r in rows], None
    else:
        errors = [round(r["test_error"] * n) for r in rows]
    claim = uniform_convergence_lower_bound(
        sprime, errors, n, delta=of.config.delta,
        confidence=1 - (1 - CONFIDENCE) / len(of.config.sizes),
    )  # fmt: skip
    return found | {
        "sprime_error": _mean(sprime),
        "sprime_p_value": tests["all"],
        "sprime_is_refuted": tests["is_suspicious"],
        "eps_unif_alg_lower_bound": None if tests["is_suspicious"] else claim.bound,
        "confidence": CONFIDENCE,
        "delta": of.config.delta,
    }


def _slope(found):
    names = ("mean", "low", "high", "seeds")
    return {name: getattr(found, name) for name in names}


def _growth(of, rows):
    """How a claim grows with m beside the error that it speaks of: exponents.

    An error of 0 is one below 1 / n, n the test points. What the value could have been
    instead of 0 is not known: then it has no exponent.
    """
    points = {
        name: [(r["m"], r["seed"], r[name]) for r in rows if r[name] is not None]
        for name in ("value", "error")
    }
    resolution = 1 / max(1, len(of.cells[0].test.labels))
    if any(value <= 0 for _, _, value in points["value"]):
        points["value"] = []
    value = slope_over_size(points["value"])
    error = slope_over_size(points["error"], resolution)
    return {
        "growth": _slope(value),
        "error_growth": _slope(error),
        "difference": paired_difference(value, error),
    }


def make(of: BeyondStudy, tables: Mapping[str, Rows]) -> dict[str, Any]:
    """The content of summary.json."""
    sizes = sorted(of.config.sizes)
    tests = {r["m"]: r for r in tables["same_distribution"]}
    claims, described = (
        [],
        {
            (tool, claim.name): {
                "about": claim.about,
                "paper": claim.paper,
                "two_sided": claim.two_sided,
            }
            for tool, own in of.tools.items()
            for claim in own.claims(of.problem, of.config, sizes[-1])
        },
    )
    for name in dict.fromkeys((r["tool"], r["claim"]) for r in tables["claims"]):
        rows = [r for r in tables["claims"] if (r["tool"], r["claim"]) == name]
        own = [r for r in tables["per_seed"] if (r["tool"], r["claim"]) == name]
        first = rows[0]
        claims.append(
            {k: first[k] for k in ("tool", "claim", "status", "speaks_of", "network", "in_expectation",
                                   "assumption", "check_about")}
            | described[name]
            | {"points": [
                {k: r[k] for k in ("m", "value", "low", "high", "empirical", "error",
                                   "below_error", "seeds", "check", "more_trainings",
                                   "labelled", "unlabelled")}
                for r in rows
            ]}
            | (_growth(of, own) if len(sizes) > 1 and own else {})
        )  # fmt: skip
    return {
        "problem": of.config.problem,
        "about": of.problem.about,
        "classes": of.problem.classes,
        "two_sided_bounds": len(of.bounds),
        "total_runs": len(of.stages[0].runs),
        "late_runs": sum(not r["converged"] for r in tables["runs"]),
        "diverged_runs": sum(r["diverged"] for r in tables["runs"]),
        "points": [
            _point(of, m, [r for r in tables["errors"] if r["m"] == m], tests.get(m))
            for m in sizes
        ],
        "tools": {
            name: {"about": t.about, "paper": t.paper, "two_sided": t.two_sided}
            for name, t in of.tools.items()
        },
        "silent": dict(of.silent),
        "claims": claims,
    }
