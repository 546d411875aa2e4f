"""Intervals and slopes."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np


def t_interval(
    values: Sequence[float], confidence: float = 0.95
) -> tuple[float | None, float | None]:
    """The t-interval of the mean of independent values; (None, None) for fewer than two."""
    from scipy import special  # slow to import

    n = len(values)
    if n < 2:
        return None, None
    quantile = special.stdtrit(n - 1, (1 + confidence) / 2)
    half = quantile * np.std(values, ddof=1) / math.sqrt(n)
    mean = float(np.mean(values))
    return mean - float(half), mean + float(half)


def _interval(values):
    low, high = t_interval(values)
    return {
        "mean": float(np.mean(values)) if values else None, "low": low, "high": high,
    }  # fmt: skip


def slope(x: Sequence[float], y: Sequence[float]) -> float | None:
    """The least-squares slope of y over x; None with fewer than two different x."""
    if len(set(x)) < 2:
        return None
    x, y = np.asarray(x, float), np.asarray(y, float)
    return float((x - x.mean()) @ (y - y.mean()) / ((x - x.mean()) @ (x - x.mean())))


@dataclasses.dataclass(frozen=True)
class Slope:
    """How a quantity grows with m: the exponent a of m^a.

    Attributes:
      seed_names: whose the entries of `per_seed` are.
      per_seed: one least-squares slope of log quantity over log m a seed, None for a seed
        with points at fewer than two sizes; several draws of a size are averaged first.
      mean: of the seeds' slopes.
      low, high: its 95% t-interval, None with fewer than two seeds.
      seeds: how many slopes these rest on.
      pooled: the slope through all points.
      zeros_replaced: (size, seed) points where the quantity was 0 and half of the smallest
        value it could have shown was taken instead.
      left_out: points without a logarithm, and with nothing to stand for them.
    """

    seed_names: list
    per_seed: list
    mean: float | None
    low: float | None
    high: float | None
    seeds: int
    pooled: float | None
    zeros_replaced: int
    left_out: int


def slope_over_size(
    points: Sequence[tuple[float, int, float]], resolution: float | None = None
) -> Slope:
    """The log-log slope of a quantity over training-set size.

    Args:
      points: `(size, seed, value)` a run, value finite. Draws of a (size, seed) are
        averaged. A mean of 0 has no logarithm: with a `resolution`, half of the smallest
        mean above 0 stands for it; what is not positive otherwise is left out. Both are
        counted.
      resolution: the smallest value above 0 that ONE run can show: 1 / n for an error
        rate on n points.

    Returns:
      A `Slope`.
    """
    cells, zeros, left_out = {}, 0, 0
    for size, seed, value in points:
        cells.setdefault((size, seed), []).append(value)
    logs = {}
    for cell, values in cells.items():
        mean = float(np.mean(values))
        if mean == 0 and resolution is not None:
            zeros += 1
            mean = resolution / len(values) / 2
        if mean > 0:
            logs[cell] = math.log(mean)
        else:
            left_out += 1
    by_seed: dict[int, list] = {seed: [] for _, seed in cells}
    for (size, seed), y in logs.items():
        by_seed[seed].append((math.log(size), y))
    names = sorted(by_seed)
    per_seed = [
        slope(*zip(*by_seed[seed], strict=True)) if by_seed[seed] else None
        for seed in names
    ]
    found = [s for s in per_seed if s is not None]
    low, high = t_interval(found)
    pooled = [(math.log(size), y) for (size, _), y in logs.items()]
    return Slope(
        seed_names=names,
        per_seed=per_seed,
        mean=float(np.mean(found)) if found else None,
        low=low,
        high=high,
        seeds=len(found),
        pooled=slope(*zip(*pooled, strict=True)) if pooled else None,
        zeros_replaced=zeros,
        left_out=left_out,
    )


def paired_difference(one: Slope, other: Slope) -> dict[str, Any]:
    """The mean over seeds of how much more one quantity grows than another, seed by seed.

    Returns:
      A dict: `mean`, and `low`, `high` of its 95% t-interval (None with fewer than two seeds).
    """
    theirs = dict(zip(other.seed_names, other.per_seed, strict=True))
    pairs = [
        (mine, theirs.get(seed))
        for seed, mine in zip(one.seed_names, one.per_seed, strict=True)
    ]
    return _interval([a - b for a, b in pairs if None not in (a, b)])


def curvature_over_size(points: Sequence[tuple[float, int, float]]) -> dict[str, Any]:
    """c of log q = a + b log m + c (log m)^2, a least-squares fit a seed: 0 of a power.

    Args:
      points: as for `slope_over_size`; seeds with fewer than three sizes are left out.

    Returns:
      As `paired_difference`.
    """
    by_seed: dict[int, dict[float, list[float]]] = {}
    for size, seed, value in points:
        by_seed.setdefault(seed, {}).setdefault(size, []).append(value)
    found = []
    for seed in sorted(by_seed):
        cells = by_seed[seed]
        known = [(math.log(m), np.mean(v)) for m, v in cells.items() if np.mean(v) > 0]
        if len(known) >= 3:
            x, y = np.array(known).T
            found.append(float(np.polyfit(x - x.mean(), np.log(y), 2)[0]))
    return _interval(found)
