"""Stability: what coupled runs on S and on S with one point replaced show.

S^(i) is S with z_i replaced by a fresh point. Differences are those of REPLACING unless said
otherwise: with differences by removal the pointwise form is false (a learner that memorises
even sets and is perfect on odd ones has difference 0, training error 0 and risk 1).

What runs show are estimates of average stability, each run one S: `of_one_run` gives means
of one S, `over_runs` averages them with S as the cluster. Uniform stability is a maximum over
all sets and points; runs show that it is at least something, never at most.
What follows from a stability that is known: `stability_bounds`.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from bounds.beyond_uc.estimate import Estimate, estimate

QUANTILES = (0.5, 0.9, 0.99)


@dataclasses.dataclass(frozen=True)
class Run:
    """Means of one S over P replaced points (of the units of the loss).

    Attributes:
      own_before: mean l(h_S, z_i): the training loss at the replaced points.
      own_after: mean l(h_S^(i), z_i): its expectation is the risk at m (replaced) or, if
        points were removed, at m - 1 (leave-one-out).
      on_average: own_after - own_before; its expectation over S is the expected gap, exactly.
      pointwise: mean |l(h_S, z_i) - l(h_S^(i), z_i)|.
      hypothesis: mean |l(h_S, z) - l(h_S^(i), z)| over fresh points z.
      error: mean over i of |mean over z of l(h_S, z) - l(h_S^(i), z)|, biased up.
      error_noise: what `error` would be, about, if no risk differed: sampling of n points
        alone. Not numbers for n = 1.
      uniform_at_least: the largest difference of all: uniform stability is no smaller.
      own_quantiles, fresh_quantiles: `[Q]`, of the absolute differences.
      quantiles: `[Q]`, which.
      points: P.
      fresh: n, 0 where there were none and the three fields are not numbers.
    """

    own_before: float
    own_after: float
    on_average: float
    pointwise: float
    hypothesis: float
    error: float
    error_noise: float
    uniform_at_least: float
    own_quantiles: tuple[float, ...]
    fresh_quantiles: tuple[float, ...]
    quantiles: tuple[float, ...]
    points: int
    fresh: int


@dataclasses.dataclass(frozen=True)
class Stability:
    """Estimates over R runs, S the cluster; fields as of `Run`.

    Attributes:
      uniform_at_least: the largest of all runs: observed, without an upper limit.
    """

    own_before: Estimate
    own_after: Estimate
    on_average: Estimate
    pointwise: Estimate
    hypothesis: Estimate
    error: Estimate
    error_noise: Estimate
    uniform_at_least: float
    own_quantiles: tuple[Estimate, ...]
    fresh_quantiles: tuple[Estimate, ...]
    quantiles: tuple[float, ...]


@dataclasses.dataclass(frozen=True)
class Changes:
    """Signed changes of a quantity, such as a margin.

    Attributes:
      mean: after - before.
      mean_absolute: of |after - before|.
      quantiles: `[Q]`, of |after - before|, at those asked for.
      largest: |after - before|.
    """

    mean: float
    mean_absolute: float
    quantiles: tuple[float, ...]
    largest: float


def _pair(before, after, name):
    before, after = np.asarray(before), np.asarray(after)
    if before.ndim == after.ndim - 1:
        before = before[None]
    fits = before.ndim == after.ndim and before.shape[1:] == after.shape[1:]
    if not fits or before.shape[:1] not in ((1,), after.shape[:1]) or not after.size:
        raise ValueError(f"{name}: {before.shape} before and {after.shape} after")
    return before, after


def _quantiles(values, at):
    return tuple(float(v) for v in np.quantile(values, at))


def of_one_run(
    losses_before: np.ndarray,
    losses_after: np.ndarray,
    fresh_before: np.ndarray | None = None,
    fresh_after: np.ndarray | None = None,
    quantiles: Sequence[float] = QUANTILES,
) -> Run:
    """Means of one S.

    Args:
      losses_before: `[P]`, l(h_S, z_i) at the replaced points.
      losses_after: `[P]`, l(h_S^(i), z_i).
      fresh_before: `[n]` or `[P, n]`, l(h_S, z) on points in none of the sets.
      fresh_after: `[P, n]`, l(h_S^(i), z).
      quantiles: of the absolute differences.

    Raises:
      ValueError: shapes that do not fit.
    """
    before = np.asarray(losses_before, np.float64)
    after = np.asarray(losses_after, np.float64)
    if before.ndim != 1 or before.shape != after.shape or not before.size:
        raise ValueError(f"losses must be [P]: {before.shape} and {after.shape}")
    if (fresh_before is None) != (fresh_after is None):
        raise ValueError("fresh points need losses before and after")
    own = np.abs(after - before)
    hypothesis = error = noise = np.nan
    largest, fresh, of_fresh = own.max(), 0, (np.nan,) * len(quantiles)
    if fresh_after is not None:
        first, second = _pair(fresh_before, fresh_after, "fresh losses")
        if second.ndim != 2 or len(second) != len(before):
            raise ValueError(f"fresh losses must be [P, n], not {second.shape}")
        moved = second.astype(np.float64) - first
        fresh = moved.shape[1]
        hypothesis = np.abs(moved).mean()
        error = np.abs(moved.mean(1)).mean()
        if fresh > 1:
            noise = np.sqrt(2 / np.pi) * (moved.std(1, ddof=1) / np.sqrt(fresh)).mean()
        largest = max(largest, np.abs(moved).max())
        of_fresh = _quantiles(np.abs(moved), quantiles)
    return Run(
        own_before=float(before.mean()),
        own_after=float(after.mean()),
        on_average=float((after - before).mean()),
        pointwise=float(own.mean()),
        hypothesis=float(hypothesis),
        error=float(error),
        error_noise=float(noise),
        uniform_at_least=float(largest),
        own_quantiles=_quantiles(own, quantiles),
        fresh_quantiles=of_fresh,
        quantiles=tuple(quantiles),
        points=len(before),
        fresh=fresh,
    )


def over_runs(runs: Sequence[Run], confidence: float = 0.95) -> Stability:
    """Averages over independent sets S with t-intervals; the points of one S are no sample.

    Args:
      runs: R, of independent S, with the same quantiles.
      confidence: of each interval by itself.

    Raises:
      ValueError: no runs, or quantiles that differ.
    """
    if not runs or len({run.quantiles for run in runs}) != 1:
        raise ValueError("runs with the same quantiles are needed")
    means = {
        name: estimate([getattr(run, name) for run in runs], confidence)
        for name in (
            "own_before",
            "own_after",
            "on_average",
            "pointwise",
            "hypothesis",
            "error",
            "error_noise",
        )
    }
    tails = {
        name: tuple(
            estimate(column, confidence)
            for column in np.array([getattr(run, name) for run in runs]).T
        )
        for name in ("own_quantiles", "fresh_quantiles")
    }
    largest = max(run.uniform_at_least for run in runs)
    return Stability(
        uniform_at_least=largest, quantiles=runs[0].quantiles, **means, **tails
    )


def flip_rate(before: np.ndarray, after: np.ndarray) -> float:
    """The share of predictions that differ, of one S.

    Args:
      before: `[n]` or `[P, n]` classes that h_S predicts; or `[P]` with `after` `[P]`.
      after: `[P, n]`, of h_S^(i).

    Raises:
      ValueError: shapes that do not fit.
    """
    first, second = _pair(before, after, "predictions")
    return float(np.mean(first != second))


def changes(
    before: np.ndarray, after: np.ndarray, quantiles: Sequence[float] = QUANTILES
) -> Changes:
    """Changes of margins (or outputs) of one S.

    Args:
      before: `[n]` or `[P, n]`; or `[P]` with `after` `[P]`.
      after: `[P, n]`.
      quantiles: of the absolute changes.

    Raises:
      ValueError: shapes that do not fit.
    """
    first, second = _pair(before, after, "values")
    moved = second.astype(np.float64) - first
    return Changes(
        mean=float(moved.mean()),
        mean_absolute=float(np.abs(moved).mean()),
        quantiles=_quantiles(np.abs(moved), quantiles),
        largest=float(np.abs(moved).max()),
    )


def weight_distance(before: Sequence[np.ndarray], after: Sequence[np.ndarray]) -> float:
    """||W_S - W_S^(i)|| in l2 over all arrays of two networks.

    Raises:
      ValueError: arrays that do not fit.
    """
    if [np.shape(a) for a in before] != [np.shape(a) for a in after]:
        raise ValueError("the networks must have arrays of the same shapes")
    pairs = zip(before, after, strict=True)
    squares = [
        np.sum(np.square(np.asarray(b, np.float64) - np.asarray(a, np.float64)))
        for a, b in pairs
    ]
    return float(np.sqrt(np.sum(squares)))
