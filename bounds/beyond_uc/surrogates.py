"""Bounds through another predictor: disagreement with a certified one, and derandomisation.

For any two predictors |R_D(h) - R_D(s)| <= Pr_D[h(X) != s(X)]: where they agree they err
together. So a certificate of s and unlabelled points certify h (Bazinet, Zantedeschi &
Germain 2026, 2602.23128; here by the triangle inequality). Speaks of h, however trained.

With Q the law of h given some statistic F of the sample (Negrea, Dziugaite & Roy 2020,
1912.04265), E R_D(h) = E R_D(Q), so that the expected gap is that of Q, on a smaller class, plus
what h fits beyond its law.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from bounds.beyond_uc.estimate import Estimate, estimate
from bounds.numerics import intervals

STATUS = "certified"


@dataclasses.dataclass(frozen=True)
class Shares:
    """Failure probabilities that J surrogates leave to each event; they sum to delta.

    Attributes:
      surrogate: at which EACH of the J certificates B(s_j) must be computed.
      disagreement: of each of the J limits on Pr[h != s_j].
    """

    surrogate: float
    disagreement: float


@dataclasses.dataclass(frozen=True)
class Surrogate:
    """A certified bound on the risk of h through its best surrogate.

    Attributes:
      value: min_j B(s_j) + limit_j, at most 1.
      chosen: j.
      surrogate: B(s_j).
      disagreement: the limit on Pr[h != s_j].
      delta: failure probability of `value`, the choice of j included.
    """

    value: float
    chosen: int
    surrogate: float
    disagreement: float
    delta: float
    status: str = STATUS


@dataclasses.dataclass(frozen=True)
class Derandomised:
    """The expected gap in three terms, run by run an exact sum.

    Attributes:
      estimation: E[R_D(Q) - R_S(Q)], for uniform convergence over the laws Q.
      fitting: E[R_S(Q) - R_S(h)], exact given draws: what h fits of S beyond its law.
      rest: E[R_D(h) - R_D(Q)]: 0 if the surrogates are drawn from the law of h given F. An
        interval without 0 refutes that.
      gap: E[R_D(h) - R_S(h)].
    """

    estimation: Estimate
    fitting: Estimate
    rest: Estimate
    gap: Estimate


@dataclasses.dataclass(frozen=True)
class LinearExample:
    """The terms of the linear example in closed form (error probabilities).

    Attributes:
      risk: R_D(Q) = E R_D(h).
      estimation: E[R_D(Q) - R_S(Q)] = 0: Q is one distribution, independent of S.
      deviation: by which R_D(Q) exceeds R_S(Q) with probability delta at most (Hoeffding).
      fitting: R_S(Q) - R_S(h), where h errs nowhere on S.
    """

    risk: float
    estimation: float
    deviation: float
    fitting: float


def _stats():
    from scipy import stats  # slow to import

    return stats


def _check_failure(delta):
    if not 0 < delta < 1:
        raise ValueError(f"delta={delta}: must lie in (0, 1)")


def shares(delta: float, surrogates: int = 1, to_disagreement: float = 0.5) -> Shares:
    """How delta is to be split among J surrogates, before anything is looked at.

    Args:
      delta: in all.
      surrogates: J, all that may be chosen among.
      to_disagreement: the part of delta for the disagreements.

    Raises:
      ValueError: out of range.
    """
    _check_failure(delta)
    if surrogates < 1 or not 0 < to_disagreement < 1:
        raise ValueError("surrogates at least 1, to_disagreement in (0, 1)")
    return Shares(
        surrogate=delta * (1 - to_disagreement) / surrogates,
        disagreement=delta * to_disagreement / surrogates,
    )


def through_surrogates(
    certificates: Sequence[float],
    disagreements: Sequence[int],
    size: int,
    split: Shares,
) -> Surrogate:
    """min_j B(s_j) + BetaInv(1 - d; k_j + 1, u - k_j).

    Certified with probability 1 - J (split.surrogate + split.disagreement) if the u points were
    used neither for h nor for any s_j, and all J surrogates were fixed without them. They may
    be the same u points for all j. For a Gibbs surrogate draw one predictor afresh for each
    point: the disagreements are then independent.

    Args:
      certificates: `[J]`, B(s_j), each computed to fail with probability `split.surrogate`.
      disagreements: `[J]`, k_j, points on which h and s_j differ.
      size: u.
      split: of `shares(delta, J)`.

    Raises:
      ValueError: shapes, counts or failure probabilities out of range.
    """
    certificates = np.asarray(certificates, np.float64)
    counts = np.asarray(disagreements)
    if certificates.ndim != 1 or certificates.shape != counts.shape or not counts.size:
        raise ValueError("certificates and disagreements must be [J], J the same")
    if size < 1 or np.any(counts < 0) or np.any(counts > size):
        raise ValueError(f"disagreements must lie in 0..{size}")
    delta = len(counts) * (split.surrogate + split.disagreement)
    _check_failure(delta)
    limits = intervals.upper(counts, size, split.disagreement)
    chosen = int(np.argmin(certificates + limits))
    return Surrogate(
        value=float(min(1.0, certificates[chosen] + limits[chosen])),
        chosen=chosen,
        surrogate=float(certificates[chosen]),
        disagreement=float(limits[chosen]),
        delta=delta,
    )


def hold_out(wrong: int, size: int, delta: float = 0.05) -> float:
    """The honest baseline: the same u points with labels, BetaInv(1 - delta; k + 1, u - k).

    Args:
      wrong: k, errors of h.
      size: u points that no choice of h has used.
      delta: failure probability.

    Raises:
      ValueError: counts or delta out of range.
    """
    _check_failure(delta)
    if size < 1 or not 0 <= wrong <= size:
        raise ValueError(f"{wrong} errors among {size}")
    return float(intervals.upper([wrong], size, delta)[0])


def with_labelled_disagreements(
    certificate: float, only_h: int, only_s: int, size: int, failure: float
) -> float:
    """R_D(h) where the points of disagreement alone are labelled: at most 1.

    R_D(h) = R_D(s) + Pr[h errs, s does not] - Pr[s errs, h does not]; each probability has an
    exact limit, `failure` / 2 each. Certified with the failure of the certificate added.

    Args:
      certificate: B(s).
      only_h: of the u points, those on which h errs and s is right.
      only_s: the reverse. (Where both err, differently, neither counts.)
      size: u.
      failure: of both limits together.

    Raises:
      ValueError: counts or failure out of range.
    """
    _check_failure(failure)
    if min(only_h, only_s) < 0 or only_h + only_s > size or size < 1:
        raise ValueError(f"{only_h} and {only_s} among {size}")
    worse, not_better = intervals.upper([only_h, size - only_s], size, failure / 2)
    return float(min(1.0, max(0.0, certificate + worse - (1 - not_better))))


def derandomised(
    surrogate_risks: np.ndarray,
    surrogate_train: np.ndarray,
    risks: Sequence[float],
    train: Sequence[float],
    confidence: float = 0.95,
) -> Derandomised:
    """The three terms from R runs with J draws of Q each, clustered on the run.

    Args:
      surrogate_risks: `[R, J]`, error of draw j on fresh points (or its exact risk).
      surrogate_train: `[R, J]`, its error on the S of run r, which it has not seen given F.
      risks: `[R]`, of h_S, on fresh points.
      train: `[R]`, of h_S on S.
      confidence: of each interval.

    Raises:
      ValueError: shapes that do not fit.
    """
    risks, train = np.asarray(risks, np.float64), np.asarray(train, np.float64)
    of_q, on_s = np.asarray(surrogate_risks), np.asarray(surrogate_train)
    if of_q.ndim != 2 or of_q.shape != on_s.shape or not of_q.size:
        raise ValueError("surrogate errors must be [R, J], both of them")
    if risks.shape != train.shape or risks.shape != of_q.shape[:1]:
        raise ValueError("risks and train must be [R]")
    of_q, on_s = of_q.mean(1), on_s.mean(1)
    return Derandomised(
        estimation=estimate(of_q - on_s, confidence),
        fitting=estimate(on_s - train, confidence),
        rest=estimate(risks - of_q, confidence),
        gap=estimate(risks - train, confidence),
    )


def linear_example(size: int, noise: int, delta: float = 0.05) -> LinearExample:
    """One gradient step on a signal and D >> m noise coordinates (Nagarajan & Kolter, 3.1).

    Given F = labels, w2 = sum_i y_i x2_i ~ N(0, (32 m / D) I) whatever the labels, so Q is one
    distribution: a draw has signal 4 against noise of variance (32 m / D) ||x2||^2, and
    ||x2||^2 = 32 (1 + O(D^-1/2)). Hence R_D(Q) = Phi(-sqrt(D/m) / 8), to relative order 1/D in
    the variance. Q does not depend on S, so R_S(Q) is a mean of m independent values in [0, 1].

    Args:
      size: m.
      noise: D, large enough for h to err nowhere on S (about 2.6 m ln m).
      delta: of `deviation`.

    Raises:
      ValueError: out of range.
    """
    _check_failure(delta)
    if size < 1 or noise < 1:
        raise ValueError("size and noise must be at least 1")
    risk = float(_stats().norm.cdf(-np.sqrt(noise / size) / 8))
    deviation = float(np.sqrt(np.log(1 / delta) / (2 * size)))
    return LinearExample(risk=risk, estimation=0.0, deviation=deviation, fitting=risk)
