"""RATT: a risk bound from errors on randomly labelled points (Garg et al. 2021, 2105.00303).

Train on n clean points S and m~ points S~ with labels uniform over all K classes, the true one
included. Let m1 of S~ be mislabelled (S_M, error E_M) and m2 = m~ - m1 labelled as they
should be (S_C, error E_C). Neither is known: of S~ one sees only E~ = (m1 E_M + m2 E_C) / m~.
Three facts give the bound; each deviation is re-derived here.

1. On a fresh mislabelled point (the label uniform over the K - 1 wrong ones) the error is
   E_D' = 1 - E_D / (K - 1). If `ASSUMPTION` holds, E_D <= (K - 1) (1 - E_M + d1) with
   d1 = sqrt(ln(1/p) / (2 m1)). It holds with probability 1 - p for an exact minimiser h of the
   0-1 error over a class: let f minimise (n + m2) E_{S u S_C} + m1 E_D', which does not
   look at S_M. Add the two inequalities that say that h and f are minimisers:
   E_M(h) - E_D'(h) <= E_M(f) - E_D'(f), and f is independent of S_M (Hoeffding).
2. S and S_C have the same law, and a learner that does not see the order of its examples
   treats them alike: given m2 and the errors on both together, those on S are
   hypergeometric. This is inverted exactly. By Hoeffding without replacement
   E_C - E_S = (1 + m2/n) (E_C - E_{S u S_C}) <= (1 + m2/n) sqrt(ln(1/p) / (2 m2)).
3. m1 ~ Bin(m~, (K-1)/K), independent of the points. The bound is maximised over an exact
   interval of m1. To first order, with a = m1 / m~,
   K E~ - (K-1) E_M - E_C = K (a - (K-1)/K) (E_M - E_C), at most K sqrt(ln(1/p) / (2 m~)).

With m1 and m2 at their means these sum to the published multiclass term,
2K + sqrt K + m~/(n sqrt K) times sqrt(ln(4/delta) / (2 m~)): confirmed to first order. The
published binary term has sqrt2 E~ for the third fact, where the above gives
sqrt2 |E_M - E_C|, which is 2 sqrt2 E~ when E_C = 0: NOT confirmed. `ratt` uses neither.
"""

import dataclasses

import numpy as np

from bounds.numerics import intervals

ASSUMPTION = (
    "the error on mislabelled training points exceeds the error on fresh mislabelled"
    " points by no more than sqrt(ln(1/p) / (2 m1)), with probability 1 - p; the learner"
    " does not see the order of its examples"
)


@dataclasses.dataclass(frozen=True)
class Ratt:
    """A RATT bound on the risk, certified under `ASSUMPTION`.

    Attributes:
      value: the bound, at most 1.
      main: the main term alone, E_S + (K-1) (1 - K/(K-1) E~): no bound.
      published: main plus the published deviation, not cut at 1. Binary: not confirmed.
      train_error: E_S, of the clean points.
      memorised: (K-1) - K E~, what the random labels add: 0 in the mean if the learner
        ignores them, K - 1 if it fits them all.
      delta: the failure probability of `value`.
      mislabelled: `(low, high)`, the interval of m1 that was searched.
    """

    value: float
    main: float
    published: float
    train_error: float
    memorised: float
    delta: float
    mislabelled: tuple[int, int]

    @property
    def status(self) -> str:
        """What the value may be called."""
        return f"certified under assumption: {ASSUMPTION}"

    @property
    def reading(self) -> str:
        """In words: what the bound owes its size to."""
        if self.value < 1:
            return "says something"
        if self.main < 1:
            return "vacuous: too few points"
        if self.memorised > self.train_error:
            return "vacuous: the random labels are memorised"
        return "vacuous: the clean points are not fitted"


@dataclasses.dataclass(frozen=True)
class AssumptionTest:
    """Whether fresh mislabelled points refute `ASSUMPTION`.

    Attributes:
      excess: error on mislabelled training points minus that on fresh mislabelled ones. The
        assumption allows `slack`; memorising makes it negative.
      slack: sqrt(ln(1/p) / (2 m1)).
      p_value: of the assumption as it is used, slack included; exact.
      p_value_sharp: of the same with slack 0. Small values do not refute the bound.
      level: of the test.
    """

    excess: float
    slack: float
    p_value: float
    p_value_sharp: float
    level: float

    @property
    def is_refuted(self) -> bool:
        """Whether the bound is withdrawn. Not refuted is not proved."""
        return self.p_value < self.level


def _stats():
    from scipy import stats  # slow to import

    return stats


def _check(wrong, size, name):
    if size < 1 or not 0 <= wrong <= size:
        raise ValueError(f"{name}: {wrong} errors among {size}")


def _check_failure(delta):
    if not 0 < delta < 1:
        raise ValueError(f"delta={delta}: must lie in (0, 1)")


def most_wrong_in_other(
    wrong: int, size: int, others: np.ndarray, failure: float
) -> np.ndarray:
    """An upper limit of the errors among other points, exchangeable with these: `[J]`.

    The largest k' with Pr[H <= k] > failure, H hypergeometric: errors among n of the n + m'
    points, if k + k' of all are wrong.

    Args:
      wrong: k, errors on these.
      size: n.
      others: `[J]`, sizes m'.
      failure: the probability that the limit is too low, at most; for each m'.
    """
    others = np.asarray(others, np.int64)
    low, high = np.zeros_like(others), others + 1  # low is possible, high is not
    while np.any(high - low > 1):
        middle = (low + high) // 2
        chance = _stats().hypergeom.cdf(wrong, size + others, wrong + middle, size)
        possible = (chance > failure) & (high - low > 1)
        high = np.where((chance <= failure) & (high - low > 1), middle, high)
        low = np.where(possible, middle, low)
    return low


def deviation(
    random_error: float, size: int, random_size: int, classes: int, delta: float
) -> float:
    """The deviation term as published (Theorem 1 for K = 2, Theorem 3 for more), for the record.

    The multiclass one agrees with the derivation above at the mean of m1; the binary one
    could not be confirmed.

    Args:
      random_error: E~.
      size, random_size: n and m~.
      classes: K.
      delta: failure probability.
    """
    n, m, k = size, random_size, classes
    log = np.log(4 / delta)
    if k == 2:
        factor = np.sqrt(2) * random_error + 2 + m / (2 * n)
        return float(factor * np.sqrt(log / m))
    factor = 2 * k + np.sqrt(k) + m / (n * np.sqrt(k))
    return float(factor * np.sqrt(log / (2 * m)))


def ratt(
    wrong: int,
    size: int,
    random_wrong: int,
    random_size: int,
    *,
    classes: int,
    delta: float = 0.05,
    mislabelled: int | None = None,
) -> Ratt:
    """The bound from counts, by the three facts of the module.

    Failure: delta/4 each to the assumption, the hypergeometric limit and either side of m1; if m1
    is known, delta/2 to each of the first two.

    Args:
      wrong: k, errors on the clean training points.
      size: n.
      random_wrong: k~, errors on the randomly labelled points with respect to those labels.
      random_size: m~.
      classes: K, labels uniform over all of them.
      delta: failure probability.
      mislabelled: m1, where the true labels of S~ are known after all.

    Raises:
      ValueError: counts or delta out of range.
    """
    _check(wrong, size, "clean points")
    _check(random_wrong, random_size, "random labels")
    _check_failure(delta)
    if classes < 2:
        raise ValueError(f"classes={classes}: at least 2")
    k, share = classes, delta / 4
    if mislabelled is None:
        law = _stats().binom(random_size, (k - 1) / k)
        # Pr[m1 < low] <= share and Pr[m1 > high] <= share
        low, high = int(law.ppf(share)), int(law.isf(share))
    else:
        _check(mislabelled, random_size, "mislabelled points")
        low = high = int(mislabelled)
        share = delta / 2
    error, random_error = wrong / size, random_wrong / random_size
    main = error + (k - 1) - k * random_error
    value = 1.0
    if low > 0:
        m1 = np.arange(low, high + 1)
        clean = most_wrong_in_other(wrong, size, random_size - m1, share)
        clean = np.minimum(clean, random_wrong)
        fitted = np.maximum(m1 - random_wrong + clean, 0) / m1  # 1 - E_M, at most
        all_values = (k - 1) * (fitted + np.sqrt(np.log(1 / share) / (2 * m1)))
        value = float(min(1.0, all_values.max()))
    return Ratt(
        value=value,
        main=main,
        published=main + deviation(random_error, size, random_size, k, delta),
        train_error=error,
        memorised=(k - 1) - k * random_error,
        delta=delta,
        mislabelled=(low, high),
    )


def check_assumption(
    train_wrong: int,
    train_size: int,
    fresh_wrong: int,
    fresh_size: int,
    *,
    failure: float = 0.0125,
    level: float = 0.05,
) -> AssumptionTest:
    """An exact one-sided test of `ASSUMPTION`. Needs true labels: a check, no part of the bound.

    E_M is known, not estimated. The assumption says that the error E_D' on fresh mislabelled
    points is at least E_M - slack; it is refuted if so few of them are wrong that
    Pr[Bin(n', E_M - slack) <= k'] < level. (This speaks of one training set. The assumption
    itself may fail with probability `failure`: add it to the level of a refutation.)

    Args:
      train_wrong: errors on mislabelled training points, with respect to the wrong labels.
      train_size: m1.
      fresh_wrong: k', errors on fresh points mislabelled in the same way.
      fresh_size: n'.
      failure: p of the slack; `ratt` uses delta/4.
      level: of the test.

    Raises:
      ValueError: counts out of range.
    """
    _check(train_wrong, train_size, "mislabelled training points")
    _check(fresh_wrong, fresh_size, "fresh mislabelled points")
    _check_failure(failure)
    error = train_wrong / train_size
    slack = float(np.sqrt(np.log(1 / failure) / (2 * train_size)))
    p_value, sharp = (
        intervals.at_most(fresh_wrong, fresh_size, max(0.0, error - allowed))
        for allowed in (slack, 0.0)
    )
    return AssumptionTest(
        excess=error - fresh_wrong / fresh_size,
        slack=slack,
        p_value=p_value,
        p_value_sharp=sharp,
        level=level,
    )
