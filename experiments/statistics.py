"""Intervals and slopes."""

import dataclasses
import math

import numpy as np
from scipy import special


def binomial_interval(errors, n, confidence=0.95):
    """The exact (Clopper-Pearson) two-sided interval of an error probability.

    Args:
      errors: k of n.
      n: independent test points.
      confidence: of both sides together.

    Returns:
      `(low, high)`.
    """
    tail = (1 - confidence) / 2
    low = special.betaincinv(errors, n - errors + 1, tail) if errors > 0 else 0.0
    high = special.betaincinv(errors + 1, n - errors, 1 - tail) if errors < n else 1.0
    return float(low), float(high)


def t_interval(values, confidence=0.95):
    """The t-interval of the mean of independent values; (None, None) for fewer than two."""
    n = len(values)
    if n < 2:
        return None, None
    quantile = special.stdtrit(n - 1, (1 + confidence) / 2)
    half = quantile * np.std(values, ddof=1) / math.sqrt(n)
    mean = float(np.mean(values))
    return mean - float(half), mean + float(half)


def slope(x, y):
    """The least-squares slope of y over x; None with fewer than two different x."""
    if len(set(x)) < 2:
        return None
    x, y = np.asarray(x, float), np.asarray(y, float)
    return float((x - x.mean()) @ (y - y.mean()) / ((x - x.mean()) @ (x - x.mean())))


@dataclasses.dataclass(frozen=True)
class Slope:
    """How a quantity grows with m: the exponent a of m^a.

    Attributes:
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

    per_seed: list
    mean: float | None
    low: float | None
    high: float | None
    seeds: int
    pooled: float | None
    zeros_replaced: int
    left_out: int


def slope_over_size(points, resolution=None):
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
    per_seed = []
    for seed in sorted({seed for _, seed in cells}):
        own = [(math.log(size), y) for (size, s), y in logs.items() if s == seed]
        per_seed.append(slope(*zip(*own, strict=True)) if own else None)
    found = [s for s in per_seed if s is not None]
    low, high = t_interval(found)
    pooled = [(math.log(size), y) for (size, _), y in logs.items()]
    return Slope(
        per_seed=per_seed,
        mean=float(np.mean(found)) if found else None,
        low=low,
        high=high,
        seeds=len(found),
        pooled=slope(*zip(*pooled, strict=True)) if pooled else None,
        zeros_replaced=zeros,
        left_out=left_out,
    )
