"""What grows how with the training set, and along a sweep: the content of summary.json.

Variants are told apart throughout; where nothing varies there is one, ''.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

import bounds
from experiments.bounds_vs_samples.study import SizeStudy
from experiments.lab import certificates, vary
from experiments.lab.bound_rows import OWN, takes_margin
from experiments.lab.compact_rows import grouped, where
from experiments.lab.statistics import (
    curvature_over_size,
    paired_difference,
    slope_over_size,
    t_interval,
)

LABELS = {
    "test_error": "test error",
    "test_error_noisy": "test error on noisy labels",
    "distance_from_init": "distance from initialisation",
    "distance_between_draws": "distance between draws",
    "spectral_product": "product of spectral norms",
    "frobenius_norm": "Frobenius norm",
    "margin_median": "median training margin",
    "epochs": "epochs",
}
ERRORS = ("test_error", "test_error_noisy")
Point = tuple[int, int, float]


def shown_name(quantity: str) -> str:
    """A quantity as reports call it; of a bound without its margin rule."""
    return LABELS.get(quantity) or quantity.split("/")[0]


def at(bound: str, rule: str) -> str:
    """The quantity that a bound is at a margin rule; it may have a rule of its own."""
    return f"{bound}/{rule if takes_margin(bound) else OWN}"


def quantities(
    rows: Mapping[str, Sequence[Mapping[str, Any]]],
) -> dict[str, list[Point]]:
    """Quantity -> `(m, seed, value)` of each run, from rows of results and bounds.

    Of a bound, `<bound>/<rule>`, the complexity is taken: its excess, before that can
    saturate. One of 0, or beyond the floats, has no place on a logarithmic axis.
    """
    found: dict[str, list[Point]] = {}
    for row in rows["results"]:
        for name in LABELS:
            if row.get(name) is not None:
                point = row["m"], row["seed"], float(row[name])
                found.setdefault(name, []).append(point)
    for row in rows["bounds"]:
        log = row.get("log_complexity")
        if log is not None and abs(log) < 600:
            point = row["m"], row["seed"], math.exp(log)
            found.setdefault(f"{row['bound']}/{row['margin_rule']}", []).append(point)
    return found


def means_by_size(points: Sequence[Point]) -> dict[str, dict[str, Any]]:
    """m -> mean over seeds of the mean over draws, its t-interval, and the number of seeds."""
    draws: dict[int, dict[int, list[float]]] = {}
    for size, seed, value in points:
        draws.setdefault(size, {}).setdefault(seed, []).append(value)
    found = {}
    for size in sorted(draws):
        means = [np.mean(draws[size][seed]) for seed in sorted(draws[size])]
        low, high = t_interval(means)
        found[str(size)] = {
            "mean": float(np.mean(means)), "low": low, "high": high, "seeds": len(means)
        }  # fmt: skip
    return found


UNDECIDED = "not decided (needs two seeds and two sizes)"


def _direction(slope):
    if slope["low"] is None:
        return UNDECIDED
    if slope["high"] < 0:
        return "falls with m"
    return "rises with m" if slope["low"] > 0 else "not decided (the interval holds 0)"


def verdict(slope: Mapping[str, Any], difference: Mapping[str, Any]) -> str:
    """What a bound does beside the error: from its growth, and the difference of both.

    The difference is taken seed by seed: what seeds have in common is no noise in it.
    """
    if difference["low"] is None:
        return UNDECIDED
    if difference["low"] > 0:
        own = _direction(slope)
        return (
            own if own.startswith("rises") else "falls less than the error, if at all"
        )
    if difference["high"] < 0:
        return "falls faster than the error"
    return "goes as the error does, as far as seen"


def _of_variant(of: SizeStudy, variant: str, rows) -> dict[str, Any]:
    """What one variant's runs say."""
    n_test = len(of.problems[variant].test().labels)
    known = quantities(rows)
    names = [n for n in LABELS if n in known]
    for rule in ("target", "median", OWN):
        names += [q for b in of.config.bounds if (q := f"{b}/{rule}") in known]
    slopes, sizes, growth = {}, {}, {}
    for name in names:
        resolution = 1 / n_test if name in ERRORS else None
        slopes[name] = slope_over_size(known[name], resolution)
        sizes[name] = means_by_size(known[name])
    # A bound speaks of examples drawn as the training set's were, wrong labels included.
    spoken_of = next((e for e in reversed(ERRORS) if e in slopes), None)
    error = slopes.get(spoken_of)
    for name in names:
        if "/" in name and error:
            difference = paired_difference(slopes[name], error)
            growth[name] = {
                "difference": difference,
                "curvature": curvature_over_size(known[name]),
            }
    shown = {name: dataclasses.asdict(slope) for name, slope in slopes.items()}
    verdicts = {n: _direction(shown[n]) for n in names if n in ERRORS}
    for name, found in growth.items():
        verdicts[name] = verdict(shown[name], found["difference"])
    return {
        "by_size": sizes, "slopes": shown, "growth": growth, "verdicts": verdicts,
        "spoken_of": spoken_of,
    }  # fmt: skip


def is_used(row: Mapping[str, Any]) -> bool:
    """Whether averages rest on a run: it reached the margin, or is looked at on the way there."""
    on_the_way = vary.is_on_the_way(row.get("variant") or "")
    return row["converged"] or (on_the_way and not row["diverged"])


def _used(rows):
    """Variant -> results and bounds of its runs that averages rest on."""
    used, found = {row["run"] for row in rows["results"] if is_used(row)}, {}
    for name in ("results", "bounds"):
        own = where(rows[name], lambda row: row["run"] in used)
        for variant, some in grouped(own, lambda row: row.get("variant", "")).items():
            found.setdefault(variant, {})[name] = some
    return found


def make(
    of: SizeStudy, rows: Mapping[str, Sequence[Mapping[str, Any]]]
) -> dict[str, Any]:
    """The content of summary.json."""
    used, results = _used(rows), rows["results"]
    whole = where(results, lambda r: not vary.is_on_the_way(r.get("variant") or ""))
    stopped = [r for r in whole if not r["converged"]]
    nothing = {"results": (), "bounds": ()}
    by_variant = {v: nothing | used.get(v, {}) for v in of.configs}
    problem = next(iter(of.problems.values()))
    return {
        "problem": of.config.problem,
        "classes": problem.classes,
        "margin": of.config.margin,
        "seeds": of.config.seeds,
        "bounds": list(of.config.bounds),
        "runs": {
            "total": len(whole),
            "used": len(whole) - len(stopped),
            "not_converged": [r["run"] for r in stopped if not r["diverged"]],
            "diverged": [r["run"] for r in stopped if r["diverged"]],
        },
        "variants": {v: _of_variant(of, v, own) for v, own in by_variant.items()},
        "along": along(of, by_variant) if len(of.configs) > 1 else None,
        "refuted": certificates.refuted(rows["bounds"], "run"),
    }


def along(of: SizeStudy, by_variant: Mapping[str, Any]) -> dict[str, Any]:
    """How quantities change along the sweep at each size: the bound's change and the error's.

    Where the swept setting is positive at both ends: the exponent a of (setting)^a, one a
    seed, with its t-interval. Otherwise: the last value less the first, seed by seed; of
    everything but errors of log10.
    """
    name = vary.swept(of.config.vary) or "max_epochs"
    places = {v: vary.place(c, name) for v, c in of.configs.items()}
    if of.config.measure_at:  # it ends where the margin is reached, on average
        ended = [p[2] for p in quantities(by_variant[vary.END]).get("epochs", ())]
        places[vary.END] = float(round(np.mean(ended))) if ended else None
    is_power = None not in places.values() and min(places.values()) > 0
    known = {v: quantities(rows) for v, rows in by_variant.items()}
    is_noisy = any("test_error_noisy" in own for own in known.values())
    for own in known.values():  # without noise both errors are one
        if is_noisy and "test_error" in own:
            own.setdefault("test_error_noisy", own["test_error"])
    wanted = ["test_error", *(["test_error_noisy"] if is_noisy else [])]
    wanted += ["distance_from_init", "spectral_product", "margin_median"]
    wanted += [at(b, "target") for b in of.config.bounds]
    rows = []
    for size in sorted(of.config.sizes):
        for quantity in wanted:
            points = [
                (v, seed, value)
                for v in of.configs
                for m, seed, value in known[v].get(quantity, ())
                if m == size
            ]
            change = _change(points, places, is_power, quantity in ERRORS)
            if change:
                rows.append({"m": size, "quantity": quantity} | change)
    return {
        "setting": name,
        "axis": "epoch" if of.config.measure_at else vary.axis_name(of.config, name),
        "places": places,
        "is_power": is_power,
        "spoken_of": "test_error_noisy" if is_noisy else "test_error",
        "rows": rows,
    }


def _change(points, places, is_power, is_error):
    """First and last mean, and the change, of `(variant, seed, value)`."""
    variants = [v for v in places if any(p[0] == v for p in points)]
    if len(variants) < 2:
        return None
    draws = {v: {} for v in variants}
    for v, seed, value in points:
        draws[v].setdefault(seed, []).append(value)
    means = {
        v: {seed: float(np.mean(values)) for seed, values in own.items()}
        for v, own in draws.items()
    }
    ends = [means[variants[0]], means[variants[-1]]]
    found = {
        "first": float(np.mean([*ends[0].values()])),
        "last": float(np.mean([*ends[1].values()])),
    }
    if is_power:
        slope = slope_over_size([(places[v], s, x) for v, s, x in points])
        return found | {"change": slope.mean, "low": slope.low, "high": slope.high}
    both = sorted(set(ends[0]) & set(ends[1]))
    scale = (
        (lambda x: x) if is_error else (lambda x: math.log10(x) if x > 0 else math.nan)
    )
    changes = [scale(ends[1][s]) - scale(ends[0][s]) for s in both]
    changes = [c for c in changes if c == c]
    if not changes:
        return found | {"change": None, "low": None, "high": None}
    low, high = t_interval(changes)
    return found | {"change": float(np.mean(changes)), "low": low, "high": high}


def plain_bounds(names: Sequence[str]) -> list[str]:
    """The bounds that say something of the trained network: no heuristic measures."""
    return [n for n in names if bounds.BOUNDS[n].status != bounds.spec.HEURISTIC]
