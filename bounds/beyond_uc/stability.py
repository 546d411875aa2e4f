"""Stability: what coupled runs on S and on S with one point replaced show, and what would follow.

S^(i) is S with z_i replaced by a fresh point. Differences are those of REPLACING unless said
otherwise: with differences by removal the pointwise form is false (a learner that memorises
even sets and is perfect on odd ones has difference 0, training error 0 and risk 1).

What runs show are estimates of average stability, each run one S: `of_one_run` gives means
of one S, `over_runs` averages them with S as the cluster. Uniform stability is a maximum over
all sets and points; runs show that it is at least something, never at most.

Bounds hold where their stability is proved. Sources: Bousquet & Elisseeff 2002 (JMLR 2),
Hardt, Recht & Singer 2016 (1509.01240), Feldman & Vondrak 2019 (1902.10710), Bousquet,
Klochkov & Zhivotovskiy 2020 (1910.07833).
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from bounds.beyond_uc.surrogates import Estimate, estimate

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


def _check(size, delta):
    if size < 2:
        raise ValueError(f"size={size}: at least 2")
    if not 0 < delta < 1:
        raise ValueError(f"delta={delta}: must lie in (0, 1)")


def _tail(size, delta):
    return np.sqrt(np.log(1 / delta) / (2 * size))


def uniform_bound(
    train_loss: float, gamma: float, size: int, delta: float, loss_bound: float = 1.0
) -> float:
    """R <= R_S + gamma + (2 m gamma + M) sqrt(ln(1/delta) / (2m)), uniformly stable learners.

    Proof: E(R - R_S) <= gamma; replacing one point moves R - R_S by 2 gamma + M/m at most
    (McDiarmid). With removal stability beta, gamma <= 2 beta: this is then Theorem 12 of
    Bousquet & Elisseeff 2002, R_S + 2 beta + (4 m beta + M) sqrt(...).

    Args:
      train_loss: R_S, of the loss that gamma is about, in [0, M].
      gamma: sup over S, i, z of |l(h_S, z) - l(h_S^(i), z)|; proved, not observed.
      size: m.
      delta: failure probability.
      loss_bound: M.

    Raises:
      ValueError: size or delta out of range.
    """
    _check(size, delta)
    deviation = (2 * size * gamma + loss_bound) * _tail(size, delta)
    return float(train_loss + gamma + deviation)


def leave_one_out_bound(
    left_out_loss: float, beta: float, size: int, delta: float, loss_bound: float = 1.0
) -> float:
    """R <= R_loo + beta + (4 m beta + M) sqrt(ln(1/delta) / (2m)) (Bousquet & Elisseeff, 12).

    Args:
      left_out_loss: R_loo, the mean of l(h_{S without i}, z_i) over ALL i.
      beta: uniform stability under removal, at m and at m - 1.
      size, delta, loss_bound: as above.

    Raises:
      ValueError: size or delta out of range.
    """
    _check(size, delta)
    deviation = (4 * size * beta + loss_bound) * _tail(size, delta)
    return float(left_out_loss + beta + deviation)


def pointwise_bound(
    train_loss: float,
    pointwise: float,
    size: int,
    delta: float,
    loss_bound: float = 1.0,
) -> float:
    """R <= R_S + sqrt((M^2 + 12 M m b) / (2 m delta)), b the REPLACE-one pointwise stability.

    For deterministic learners that ignore the order of S. Proof: with h_ab trained on a, b
    and m - 2 common points, and c, d fresh, let A = E h_ab(c) h_ab(d), B = E h_ab(a) h_ab(c),
    C = E h_ab(a) h_ab(b) (losses). A is within 2 M b of E h_cb(c) h_db(d), and B within M b.
    B is within M b of E h_cb(a) h_ab(c), and C within 2 M b (E h_cb(a) h_ac(b), renamed).
    So E(R - R_S)^2 = A - 2 B + C + E(l_1 - l_2)^2 / (2m) <= 6 M b + M^2 / (2m); Chebyshev. Theorem
    11 of Bousquet & Elisseeff 2002 has the same with b by removal, which is false.

    Args:
      train_loss: R_S.
      pointwise: b = E |l(h_S, z_i) - l(h_S^(i), z_i)|, known or bounded. With an estimate from
        runs the value is an estimate.
      size, delta, loss_bound: as above.

    Raises:
      ValueError: size or delta out of range.
    """
    _check(size, delta)
    second_moment = loss_bound**2 / (2 * size) + 6 * loss_bound * pointwise
    return float(train_loss + np.sqrt(second_moment / delta))


def hypothesis_bound(
    left_out_loss: float,
    hypothesis: float,
    size: int,
    delta: float,
    loss_bound: float = 1.0,
) -> float:
    """R <= R_loo + sqrt((M^2 + 12 M m b) / (2 m delta)), b the REMOVE-one hypothesis stability.

    Theorem 11 of Bousquet & Elisseeff 2002 has 6 for 12. The 12 is proved here: with
    A = E h_S(z) h_S(z'), B = E h_S(z) h_{S-1}(z_1), C = E h_{S-1}(z_1) h_{S-2}(z_2), A and B lie
    within 2 M b and M b of E h_{S-1}(z) h_{S-1}(z'); adding a fresh point to each set that has
    m - 1 brings B (1 M b) and C (2 M b) to one value. For learners that ignore the order.

    Args:
      left_out_loss: R_loo, over all i.
      hypothesis: b = E |l(h_S, z) - l(h_{S without i}, z)|, z fresh, known or bounded.
      size, delta, loss_bound: as above.

    Raises:
      ValueError: size or delta out of range.
    """
    return pointwise_bound(left_out_loss, hypothesis, size, delta, loss_bound)


def feldman_vondrak_order(
    gamma: float, size: int, delta: float, loss_bound: float = 1.0
) -> float:
    """gamma ln m ln(m/delta) + M sqrt(ln(1/delta) / m): the gap UP TO CONSTANTS (2019).

    Its constants are not stated here: no certificate.

    Raises:
      ValueError: size or delta out of range.
    """
    _check(size, delta)
    sampling = loss_bound * np.sqrt(np.log(1 / delta) / size)
    return float(gamma * np.log(size) * np.log(size / delta) + sampling)


def bousquet_klochkov_zhivotovskiy_order(
    gamma: float, size: int, delta: float, loss_bound: float = 1.0
) -> float:
    """gamma ln m ln(1/delta) + M sqrt(ln(1/delta) / m): the gap UP TO CONSTANTS (2020).

    Raises:
      ValueError: size or delta out of range.
    """
    _check(size, delta)
    sampling = loss_bound * np.sqrt(np.log(1 / delta) / size)
    return float(gamma * np.log(size) * np.log(1 / delta) + sampling)


def sgd_convex(lipschitz: float, rates: Sequence[float], size: int) -> float:
    """(2 L^2 / m) sum alpha_t: SGD on convex losses, steps at most 2 / smoothness.

    Bounds the expected gap of THAT loss (Hardt, Recht & Singer 2016, Theorem 3.8), for any number
    of epochs and constant steps too; one uniform index a step, or a fresh order each epoch.

    Args:
      lipschitz: L, of the loss in the weights.
      rates: `[T]`, alpha_t.
      size: m.
    """
    return float(2 * lipschitz**2 / size * np.sum(rates))


def sgd_strongly_convex(lipschitz: float, convexity: float, size: int) -> float:
    """2 L^2 / (g m): projected SGD, g-strongly convex, constant steps at most 1 / smoothness.

    Bounds the expected gap whatever the number of steps (Hardt, Recht & Singer, Theorem 3.9).

    Args:
      lipschitz: L, on the set projected to.
      convexity: g.
      size: m.
    """
    return float(2 * lipschitz**2 / (convexity * size))


def sgd_non_convex(
    lipschitz: float, smoothness: float, decay: float, steps: int, size: int
) -> float:
    """(1 + 1/(b c)) / (m - 1) (2 c L^2)^(1/(bc+1)) T^(bc/(bc+1)): SGD, alpha_t <= c/t.

    Bounds the expected gap of a loss in [0, 1] (Hardt, Recht & Singer, Theorem 3.12). Constant steps
    are not covered.

    Args:
      lipschitz: L.
      smoothness: b.
      decay: c.
      steps: T.
      size: m.

    Raises:
      ValueError: size below 2.
    """
    if size < 2:
        raise ValueError(f"size={size}: at least 2")
    bc = smoothness * decay
    spread = (2 * decay * lipschitz**2) ** (1 / (bc + 1)) * steps ** (bc / (bc + 1))
    return float((1 + 1 / bc) / (size - 1) * spread)


def regularised_kernel(
    kappa: float, admissible: float, strength: float, size: int
) -> float:
    """Replace-one uniform stability s^2 k^2 / (lambda m) of regularised kernel methods.

    Of the minimiser of (1/m) sum l(f, z_i) + lambda ||f||^2, l convex: strong convexity gives
    2 lambda ||f - f'||^2 <= (2 s k / m) ||f - f'||. By removal it is half of that (Bousquet &
    Elisseeff 2002, Theorem 22).

    Args:
      kappa: k, the largest sqrt K(x, x), or ||x|| if the kernel is linear.
      admissible: s, the Lipschitz constant of l in the prediction, over those that occur.
      strength: lambda.
      size: m.
    """
    return float(admissible**2 * kappa**2 / (strength * size))
