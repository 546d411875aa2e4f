"""Lower bounds on the tightest two-sided uniform convergence bound, from observed errors.

eps_unif-alg(m, delta) is the least v for which some set A of training sets, missed with
probability <= delta, has |R_D(h) - R_S(h)| <= v for all S in A and all h learned from sets
in A (Nagarajan & Kolter 2019, Definition 3.3). R is the 0-1 error: any two-sided uniform
convergence bound on it, any hypothesis class and any refinement of it included, is at least that
large. (In a margin loss l >= the 0-1 loss, l_S(h) and the bound are together at least
(l_S(h) + l_{S'}(h)) / 2, which is half of the error on S' or more.)

If S' = T(S) is distributed as S, and G(S) = |R_{S'}(h_S) - R_D(h_S)|, then
Pr[G >= v] > 2 delta implies eps_unif-alg(m, delta) >= v: S and S' both lie in A but for
probability 2 delta, so some S with G(S) >= v has h_S among the learned hypotheses and S'
among the sets. What follows turns R independent draws into such a v, with a confidence. (Where
learning has a key of its own, S is the pair of training set and key, and T leaves the key alone.)
"""

import bisect
import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from bounds.numerics import intervals

ROUNDING = 1e-9  # relative, of a failure probability: 1 - 0.95 is not 0.05


@dataclasses.dataclass(frozen=True)
class Claim:
    """What R draws support.

    Attributes:
      bound: the number claimed, or None where nothing can be claimed.
      confidence: the probability, over draws and test points, that the claim is right.
      delta: of eps(m, delta).
      runs: R, draws that were used.
      runs_needed: the least R at which a claim is possible.
    """

    bound: float | None
    confidence: float
    delta: float
    runs: int
    runs_needed: int


def _tail(successes, n, p):
    """Pr[Bin(n, p) >= successes]."""
    from scipy import special  # slow to import

    return 1.0 if successes <= 0 else float(special.bdtrc(successes - 1, n, p))


def _rank(runs, probability, failure):
    """The least j with Pr[Bin(runs, probability) >= j] <= failure, or None."""
    allowed = failure * (1 + ROUNDING)
    j = bisect.bisect_left(
        range(1, runs + 1), True, key=lambda j: _tail(j, runs, probability) <= allowed
    )
    return None if j == runs else j + 1


def _runs_needed(probability, failure):
    """The least R with probability^R <= failure: all draws must then show it."""
    allowed = np.log(failure) + np.log1p(ROUNDING)
    return max(1, math.ceil(allowed / np.log(probability)))


def risk_limits(
    test_errors: Sequence[float], n_test: int | None, failure: float
) -> np.ndarray:
    """Upper limits of all risks at once: `[R]`.

    Args:
      test_errors: `[R]` counts among the test points, which the runs may share.
      n_test: test points; None if `test_errors` are the exact risks themselves.
      failure: the probability that any of the limits is wrong.
    """
    if n_test is None:
        return np.asarray(test_errors, float)
    return intervals.upper(test_errors, n_test, failure / len(test_errors))


def uniform_convergence_lower_bound(
    sprime_errors: Sequence[float],
    test_errors: Sequence[float],
    n_test: int | None,
    *,
    delta: float = 0.05,
    confidence: float = 0.95,
) -> Claim:
    """A lower bound on eps_unif-alg(m, delta) from R independent training sets.

    Let U_r be an upper limit of R_D(h_r), all R of them right with probability 1 - a1, and
    g_r = e'_r - U_r, so that g_r <= G(S_r). Let j be the least number with
    Pr[Bin(R, 2 delta) >= j] <= a2. Then the j-th largest g is a lower bound with confidence
    1 - a1 - a2: were it above q = sup{v : Pr[G >= v] > 2 delta}, j of the R draws would
    have G > q, each with probability at most 2 delta.

    Args:
      sprime_errors: `[R]`, the error of h_r on S'_r, exact.
      test_errors: `[R]`, errors of h_r among `n_test` fresh points, or its exact risk.
      n_test: fresh points, or None for exact risks.
      delta: in (0, 1/2).
      confidence: of the claim.

    Returns:
      A `Claim`; a bound of 0 claims nothing.

    Raises:
      ValueError: delta or confidence out of range, or lengths that differ.
    """
    if not 0 < delta < 0.5:
        raise ValueError(f"delta={delta}: must lie in (0, 1/2)")
    claim = _claim(sprime_errors, test_errors, n_test, 2 * delta, delta, confidence)
    if claim.bound is None:
        return claim
    return dataclasses.replace(claim, bound=max(0.0, -claim.bound))


def _claim(errors, test_errors, n_test, probability, delta, confidence):
    """The j-th smallest U_r - e_r, Pr[Bin(R, probability) >= j] small, as a `Claim`."""
    errors = np.asarray(errors, float)
    if not 0 < confidence < 1:
        raise ValueError(f"confidence={confidence}: must lie in (0, 1)")
    if errors.shape != np.shape(test_errors) or errors.ndim != 1:
        raise ValueError("errors and test_errors must be [R], R the same")
    failure, runs = 1 - confidence, len(errors)
    for_order = failure if n_test is None else failure / 2
    j = _rank(runs, probability, for_order)
    bound = None
    if j is not None:
        limits = risk_limits(test_errors, n_test, failure - for_order)
        bound = float(np.sort(limits - errors)[j - 1])
    needed = _runs_needed(probability, for_order)
    return Claim(bound, confidence, delta, runs, needed)


def generalization_upper_bound(
    train_errors: Sequence[float],
    test_errors: Sequence[float],
    n_test: int | None,
    *,
    delta: float = 0.05,
    confidence: float = 0.95,
) -> Claim:
    """An upper bound on eps_gen(m, delta), the quantile of R_D(h_S) - R_S(h_S).

    The k-th smallest of c_r = U_r - R_S(h_r), k the least number with
    Pr[Bin(R, 1 - delta) >= k] small. Needs many draws: (1 - delta)^R must be small.

    Args:
      train_errors: `[R]`, exact.
      test_errors, n_test, delta, confidence: as above.

    Returns:
      A `Claim`.

    Raises:
      ValueError: delta or confidence out of range, or lengths that differ.
    """
    if not 0 < delta < 1:
        raise ValueError(f"delta={delta}: must lie in (0, 1)")
    return _claim(train_errors, test_errors, n_test, 1 - delta, delta, confidence)
