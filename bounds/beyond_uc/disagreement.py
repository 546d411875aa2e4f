"""Disagreement of models on unlabelled points, and what it says of their error.

Jiang, Nagarajan, Baek & Kolter 2022 (2106.13799). N models with one-hot votes on n points;
h~_k(x) = j / N is the fraction that votes for class k. Pairs of distinct models disagree at
the rate Dis_U; a uniformly drawn pair, which may be twice the same model, at Dis_V =
(N - 1) / N Dis_U = 1 - mean over x of sum_k h~_k(x)^2.

As err = 1 - mean of h~_y(x), exactly

    err - Dis_V = mean over x of sum_k h~_k (h~_k - 1[y = k])
                = sum over q of q (q - acc_q) p_q,

p_q = the number of (x, k) with h~_k(x) = q, over n, and acc_q the part of them with y = k.
So |err - Dis_V| <= sum q |q - acc_q| p_q <= sum |q - acc_q| p_q = CACE, which is at most the
class-wise error sum over q and k of |P(y = k, h~_k = q) - q P(h~_k = q)|. The atoms q = j / N
are all there is: no binning.

Dis_U estimates the disagreement of two fresh models without bias and is what to compare err
with; the inequality is about Dis_V and fails for Dis_U. If err = Dis_U then err - Dis_V =
Dis_U / N > 0: N models of a perfectly calibrated law are not themselves calibrated, and CACE
cannot be read below that (`Calibration.floor`).

That disagreement is the error is a theorem only under calibration, which takes labels to
check: without labels Dis_U is an estimate of the error, not a bound on it.
"""

import dataclasses

import numpy as np

LEVEL = 0.95  # of intervals

REGIMES = {
    "AllDiff": "models differ in training data, initialisation and order",
    "DiffData": "models differ in training data only",
    "DiffInit": "models differ in initialisation only",
    "DiffOrder": "models differ in the order of examples only",
}


@dataclasses.dataclass(frozen=True)
class Interval:
    """An estimate with its interval over models, the points held fixed.

    Attributes:
      value: the estimate.
      low, high: the interval; all that is possible where there are too few models.
    """

    value: float
    low: float
    high: float


@dataclasses.dataclass(frozen=True)
class Disagreement:
    """Of models, without labels.

    Attributes:
      distinct: Dis_U, of two different models.
      with_itself: Dis_V, of two models of which one may be the other.
      pairs: `[N, N]`, of each pair.
      models: N.
      points: n.
    """

    distinct: Interval
    with_itself: float
    pairs: np.ndarray
    models: int
    points: int

    @property
    def is_silent(self) -> bool:
        """Whether no two models differ anywhere: constants, or points learned by heart.

        Then disagreement says nothing of the error.
        """
        return self.distinct.value == 0


@dataclasses.dataclass(frozen=True)
class Calibration:
    """Of models, with labels: error against disagreement.

    Attributes:
      disagreement: without labels.
      error: mean error, with its interval over models.
      errors: `[N]`, of each model.
      excess: err - Dis_U, with its interval over models: 0 under calibration.
      signed: err - Dis_V, as the q-weighted signed calibration sum.
      weighted_cace: sum of q |q - acc_q| p_q.
      cace: sum of |q - acc_q| p_q (class-aggregated calibration error).
      class_wise: the same for every class by itself, added up.
      atoms: `[N + 1]`, q = j / N.
      mass: `[N + 1]`, p_q; adds up to the number of classes.
      accuracy: `[N + 1]`, acc_q; nan where p_q = 0.
      floor: Dis_U / N, what err - Dis_V, and so CACE, reaches under perfect calibration of
        the law the models are drawn from.
    """

    disagreement: Disagreement
    error: Interval
    errors: np.ndarray
    excess: Interval
    signed: float
    weighted_cace: float
    cace: float
    class_wise: float
    atoms: np.ndarray
    mass: np.ndarray
    accuracy: np.ndarray
    floor: float

    @property
    def holds(self) -> bool:
        """Whether err = Dis_U is within the interval over models; never where silent.

        Silent models without an error pass no test either: on points they were trained on
        both sides are 0.
        """
        silent = self.disagreement.is_silent
        return not silent and self.excess.low <= 0 <= self.excess.high


def _checked(predictions):
    predictions = np.asarray(predictions)
    if predictions.ndim != 2 or min(predictions.shape) < 1 or len(predictions) < 2:
        raise ValueError(
            f"predictions {predictions.shape}: [N, n] of two models are needed"
        )
    if not np.issubdtype(predictions.dtype, np.integer):
        raise ValueError(f"predictions are {predictions.dtype}, not classes")
    return predictions


def votes(predictions: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """How many models vote for each class: `[n, K]` whole numbers, N h~_k(x).

    Args:
      predictions: `[N, n]` classes.
      classes: `[K]`, which ones to count.
    """
    return np.stack([(predictions == k).sum(axis=0) for k in classes], axis=1)


def _pairs(predictions):
    """`[N, N]` disagreement of each pair."""
    agree = np.zeros((len(predictions),) * 2)
    for k in np.unique(predictions):
        chosen = (predictions == k).astype(np.float64)
        agree += chosen @ chosen.T
    return 1 - agree / predictions.shape[1]


def jackknife(without: np.ndarray, value: float, level: float = LEVEL) -> Interval:
    """An interval from the estimates that leave out one model at a time.

    Student's t with N - 1 degrees of freedom times the jackknife standard error, whose
    square is not too low on average for a U-statistic of pairs (Efron & Stein 1981).
    Simulated at 95%, N = 4, 10, 30: 92 to 95% for models whose skills differ moderately;
    82 to 86% at N = 10 and 30 where they differ so much (error rates from 0 to .8) that the
    disagreement of a pair is no sum of two models' parts, and its law is skewed. Pairs
    taken as independent: 28 to 61% for the former.

    Args:
      without: `[N]`, the estimate without each of the models.
      value: the estimate from all of them.
      level: of the interval.
    """
    from scipy import stats  # slow to import

    n = len(without)
    error = np.sqrt((n - 1) * np.var(without))
    half = float(stats.t.ppf((1 + level) / 2, n - 1) * error)
    return Interval(value, value - half, value + half)


def _without(pairs):
    """Dis_U without each of the models, of three or more."""
    n = len(pairs)
    return (pairs.sum() - 2 * pairs.sum(axis=1)) / ((n - 1) * (n - 2))


def disagreement(predictions: np.ndarray, level: float = LEVEL) -> Disagreement:
    """How often models disagree.

    Args:
      predictions: `[N, n]` classes of N >= 2 models drawn independently from one law (one
        of `REGIMES`), on n points that none of them was trained on.
      level: of the interval over models. It leaves the models out one by one, not the
        pairs, which are dependent; two models have none.
    """
    predictions = _checked(predictions)
    pairs = _pairs(predictions)
    n = len(pairs)
    value = float(pairs.sum() / (n * (n - 1)))
    interval = Interval(value, 0.0, 1.0)
    if n > 2:
        found = jackknife(_without(pairs), value, level)
        interval = Interval(value, max(found.low, 0.0), min(found.high, 1.0))
    return Disagreement(
        distinct=interval,
        with_itself=float(pairs.mean()),
        pairs=pairs,
        models=n,
        points=predictions.shape[1],
    )


def calibration(
    predictions: np.ndarray, labels: np.ndarray, level: float = LEVEL
) -> Calibration:
    """Error, disagreement and calibration at the atoms q = j / N.

    Args:
      predictions: as in `disagreement`.
      labels: `[n]` classes.
      level: of the intervals over models.
    """
    predictions, labels = _checked(predictions), np.asarray(labels)
    if labels.shape != predictions.shape[1:]:
        raise ValueError(f"predictions {predictions.shape}, labels {labels.shape}")
    if not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f"labels are {labels.dtype}, not classes")
    found = disagreement(predictions, level)
    n, points = predictions.shape
    classes = np.union1d(predictions, labels)
    counts = votes(predictions, classes)
    right = labels[:, None] == classes
    # `[N + 1, K]`: of every (x, k), how many have j votes, and with y = k.
    cells = counts * len(classes) + np.arange(len(classes))
    shape = (n + 1, len(classes))
    size = shape[0] * shape[1]
    number = np.bincount(cells.ravel(), minlength=size).reshape(shape)
    correct = np.bincount(cells[right], minlength=size).reshape(shape)
    j = np.arange(n + 1)
    # Whole numbers: N (q - acc_q) p_q n.
    by_class = j[:, None] * number - n * correct
    off = by_class.sum(axis=1)
    errors = (predictions != labels).mean(axis=1)
    error = float(errors.mean())
    excess = Interval(error - found.distinct.value, -1.0, 1.0)
    without = (errors.sum() - errors) / (n - 1)
    of_error = jackknife(without, error, level)
    interval = Interval(error, max(of_error.low, 0.0), min(of_error.high, 1.0))
    if n > 2:
        excess = jackknife(without - _without(found.pairs), excess.value, level)
    mass = number.sum(axis=1)
    return Calibration(
        disagreement=found,
        error=interval,
        errors=errors,
        excess=excess,
        signed=float((j * off).sum() / (n * n * points)),
        weighted_cace=float((j * np.abs(off)).sum() / (n * n * points)),
        cace=float(np.abs(off).sum() / (n * points)),
        class_wise=float(np.abs(by_class).sum() / (n * points)),
        atoms=j / n,
        mass=mass / points,
        accuracy=np.where(mass > 0, correct.sum(axis=1) / np.maximum(mass, 1), np.nan),
        floor=found.distinct.value / n,
    )
