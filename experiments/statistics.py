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
        with runs of fewer than two sizes; several draws of a size are averaged first.
      pooled: the slope through all points.
      low, high: 95% t-interval over the seeds' slopes, None with fewer than two seeds.
      seeds: how many slopes the interval rests on.
      zeros_replaced: points where the quantity was 0 and `floor` was taken instead.
      floor: half of the smallest value that the quantity could have shown, or None.
    """

    per_seed: list
    pooled: float | None
    low: float | None
    high: float | None
    seeds: int
    zeros_replaced: int
    floor: float | None


def slope_over_size(points, floor=None):
    """The log-log slope of a quantity over training-set size.

    Args:
      points: `(size, seed, value)` a run, value >= 0 and finite. A value of 0 has no
        logarithm: `floor` stands for it, and the count is reported.
      floor: half of the smallest positive value possible, for error rates 1 / (2 n). None
        leaves such points out, reported all the same.

    Returns:
      A `Slope`.
    """
    cells, zeros = {}, 0
    for size, seed, value in points:
        cells.setdefault((size, seed), []).append(value)
    means = {}
    for cell, values in cells.items():
        mean = float(np.mean(values))
        if mean == 0:
            zeros += 1
            if floor is None:
                continue
            mean = floor
        means[cell] = math.log(mean)
    seeds = sorted({seed for _, seed in cells})
    per_seed = []
    for seed in seeds:
        own = [(math.log(size), y) for (size, s), y in means.items() if s == seed]
        per_seed.append(slope(*zip(*own, strict=True)) if own else None)
    found = [s for s in per_seed if s is not None]
    low, high = t_interval(found)
    pooled = [(math.log(size), y) for (size, _), y in means.items()]
    return Slope(
        per_seed=per_seed,
        pooled=slope(*zip(*pooled, strict=True)) if pooled else None,
        low=low,
        high=high,
        seeds=len(found),
        zeros_replaced=zeros,
        floor=floor,
    )
