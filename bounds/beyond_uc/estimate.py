"""A mean over independent runs, with its interval."""

import dataclasses
from collections.abc import Sequence

import numpy as np


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A mean over R independent runs.

    Attributes:
      mean: over runs.
      low, high: a t-interval; infinite for one run.
      runs: R.
    """

    mean: float
    low: float
    high: float
    runs: int


def estimate(values: Sequence[float], confidence: float = 0.95) -> Estimate:
    """The mean of R independent values `[R]` with its t-interval.

    Raises:
      ValueError: no values, or not `[R]`.
    """
    values = np.asarray(values, np.float64)
    if values.ndim != 1 or not values.size:
        raise ValueError(f"values must be [R], not {values.shape}")
    mean, runs = float(values.mean()), len(values)
    if runs == 1:
        return Estimate(mean, -np.inf, np.inf, 1)
    from scipy import stats  # slow to import

    quantile = stats.t.ppf((1 + confidence) / 2, runs - 1)
    half = float(quantile * values.std(ddof=1) / np.sqrt(runs))
    return Estimate(mean, mean - half, mean + half, runs)
