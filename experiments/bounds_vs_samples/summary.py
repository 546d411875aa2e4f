"""What grows how with the training set, and along a sweep: the content of summary.json.

Variants are told apart throughout; where nothing varies there is one, ''.
"""

import collections
import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

import bounds
from experiments.bounds_vs_samples.study import SizeStudy
from experiments.lab import certificates, vary
from experiments.lab.bound_rows import NOT_AVAILABLE, OWN, takes_margin
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
        if _is_plotted(log):
            point = row["m"], row["seed"], math.exp(log)
            found.setdefault(f"{row['bound']}/{row['margin_rule']}", []).append(point)
    return found


def _is_plotted(log):
    return log is not None and abs(log) < 600


def _without_a_place(rows: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Bound at a rule -> its rows that `quantities` leaves out."""
    names = (
        f"{row['bound']}/{row['margin_rule']}"
        for row in rows
        if not _is_plotted(row.get("log_complexity"))
    )
    return collections.Counter(names)


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
_NO_ERRORS = "not decided (errors of 0)"
_ALIKE = "not decided (seeds do not differ)"


def _direction(slope):
    if slope["low"] is None:
        return UNDECIDED
    if slope["high"] < 0:
        return "falls with m"
    return "rises with m" if slope["low"] > 0 else "not decided (the interval holds 0)"


def verdict(
    slope: Mapping[str, Any],
    difference: Mapping[str, Any],
    error: Mapping[str, Any],
) -> str:
    """What a bound does beside the error: from its growth, and the difference of both.

    The difference is taken seed by seed: what seeds have in common is no noise in it.

    Args:
      slope: the bound's `low` and `high`.
      difference: those of how much more it grows than the error.
      error: the error's `low` and `high`, and `zeros_replaced`: what stands for errors of 0 on a logarithmic
        axis is above them, so that the error falls faster than it seems, nobody knows by how much.
    """
    if difference["low"] is None:
        return UNDECIDED
    rises = _direction(slope).startswith("rises")
    if error["zeros_replaced"]:
        return "rises with m" if rises else _NO_ERRORS
    if difference["low"] == difference["high"]:
        return _ALIKE
    if difference["low"] > 0:
        return "rises with m" if rises else "falls less than the error, if at all"
    if difference["high"] < 0:
        return "falls faster than the error"
    if rises:
        return "rises with m (the error's growth is not decided)"
    if not _direction(error).startswith("falls"):
        return "not decided (nor is the error's growth)"
    return "goes as the error does, as far as seen"


def _of_variant(of: SizeStudy, variant: str, rows) -> dict[str, Any]:
    """What one variant's runs say."""
    n_test = len(of.problems[variant].test().labels)
    known, lost = quantities(rows), _without_a_place(rows["bounds"])
    names = [n for n in LABELS if n in known]
    for rule in ("target", "median", OWN):
        names += [q for b in of.config.bounds if (q := f"{b}/{rule}") in known]
    slopes, sizes, growth = {}, {}, {}
    for name in names:
        resolution = 1 / n_test if name in ERRORS else None
        slope = slope_over_size(known[name], resolution)
        left_out = slope.left_out + lost.get(name, 0)
        slopes[name] = dataclasses.replace(slope, left_out=left_out)
        sizes[name] = means_by_size(known[name])
    # A bound speaks of examples drawn as the training set's were, wrong labels included.
    spoken_of = next((e for e in reversed(ERRORS) if e in slopes), None)

    @functools.cache
    def error_of(cells):
        """Beside a bound that some networks lack stands the error of those that have it."""
        beside = [point for point in known[spoken_of] if point[:2] in cells]
        return slope_over_size(beside, 1 / n_test)

    shown = {name: dataclasses.asdict(slope) for name, slope in slopes.items()}
    verdicts = {n: _direction(shown[n]) for n in names if n in ERRORS}
    for name in names:
        if "/" in name and spoken_of:
            error = error_of(frozenset(point[:2] for point in known[name]))
            difference = paired_difference(slopes[name], error)
            growth[name] = {
                "difference": difference,
                "curvature": curvature_over_size(known[name]),
            }
            verdicts[name] = verdict(shown[name], difference, dataclasses.asdict(error))
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
        "missing": _missing(rows["bounds"]),
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


def _missing(rows):
    """Bound -> why it has no number of any network."""
    reasons: dict[str, str | None] = {}
    for row in rows:
        status, name = str(row.get("status") or ""), row["bound"]
        reason = status.removeprefix(NOT_AVAILABLE) if NOT_AVAILABLE in status else None
        reasons[name] = reason if reasons.get(name, reason) is not None else None
    return {name: reason for name, reason in reasons.items() if reason}


def along(of: SizeStudy, by_variant: Mapping[str, Any]) -> dict[str, Any]:
    """How quantities change along the sweep at each size: the bound's change and the error's.

    Where the swept setting is positive at both ends: the exponent a of (setting)^a, one a
    seed, with its t-interval. Otherwise: the last value less the first, seed by seed; of
    everything but errors of log10. Of `--measure_at` the setting is how many epochs a network had,
    up to where its training ended; what is said of it afterwards is that same network.
    """
    name = vary.swept(of.config.vary) or "max_epochs"
    places = {v: vary.place(c, name) for v, c in of.configs.items()}
    if of.config.measure_at:  # it ends where the margin is reached, on average
        ended = [p[2] for p in quantities(by_variant[vary.END]).get("epochs", ())]
        places[vary.END] = float(round(np.mean(ended))) if ended else None
        by_variant = {v: _under_way(v, own) for v, own in by_variant.items()}
    is_power = None not in places.values() and min(places.values()) > 0
    known = {v: quantities(rows) for v, rows in by_variant.items()}
    n_test = len(next(iter(of.problems.values())).test().labels)
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
            x = {(v, seed): places[v] for v in of.configs for _, seed, _ in points} | (
                _epochs(known, size) if of.config.measure_at else {}
            )
            resolution = 1 / n_test if quantity in ERRORS else None
            change = _change(points, places, x if is_power else None, resolution)
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


def _under_way(variant, own):
    """The rows of a variant, but for those of a training that had ended before its epoch."""
    if not vary.is_on_the_way(variant):
        return own
    going = {row["run"] for row in own["results"] if not row["converged"]}
    return {n: where(rows, lambda r: r["run"] in going) for n, rows in own.items()}


def _epochs(known, size):
    """(variant, seed) -> how many epochs its networks had, on average over draws."""
    found = {}
    for variant, own in known.items():
        for m, seed, epochs in own.get("epochs", ()):
            if m == size:
                found.setdefault((variant, seed), []).append(epochs)
    return {cell: float(np.mean(epochs)) for cell, epochs in found.items()}


def _change(points, places, x, resolution):
    """First and last mean, and the change, of `(variant, seed, value)`.

    Args:
      points: of one quantity.
      places: variants, in their order.
      x: (variant, seed) -> its place on the axis; None: there is none, and the ends' difference is taken.
      resolution: of an error, as `slope_over_size` has it; None: it is none.
    """
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
        "from": variants[0], "to": variants[-1],
        "first": float(np.mean([*ends[0].values()])),
        "last": float(np.mean([*ends[1].values()])),
    }  # fmt: skip
    unknown = found | {"change": None, "low": None, "high": None}
    both = sorted(set(ends[0]) & set(ends[1]))  # a seed without an end says less
    if x is not None:
        placed = [(x[v, s], s, p) for v, s, p in points if s in both]
        slope = slope_over_size(placed, resolution)
        if slope.zeros_replaced or slope.left_out:  # of 0 there is no exponent
            return unknown
        return found | {"change": slope.mean, "low": slope.low, "high": slope.high}

    def scale(value):
        if resolution is not None:
            return value
        return math.log10(value) if value > 0 else math.nan

    changes = [scale(ends[1][s]) - scale(ends[0][s]) for s in both]
    changes = [c for c in changes if c == c]
    if not changes:
        return unknown
    low, high = t_interval(changes)
    return found | {"change": float(np.mean(changes)), "low": low, "high": high}


def plain_bounds(names: Sequence[str]) -> list[str]:
    """The bounds that say something of the trained network: no heuristic measures."""
    return [n for n in names if bounds.BOUNDS[n].status != bounds.spec.HEURISTIC]
