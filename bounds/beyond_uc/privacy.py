"""Privacy: the one stability that is known by construction, and what it says of the error.

An algorithm is mu-GDP if replacing any one example changes its law by no more than a shift of
mu changes a unit normal (Dong, Roth & Su 2019): whatever event has probability p under one set
has probability at most Phi(Phi^-1(p) + mu) under the other.
"""

from collections.abc import Sequence

import numpy as np

NEIGHBOURS = {"replace": 2.0, "remove": 1.0}  # by how many clips a sum moves


def _check(error, mu):
    if not (0 <= error <= 1 and 0 <= mu < np.inf):
        raise ValueError(f"error={error} in [0, 1], mu={mu} in [0, inf)")


def _special():
    from scipy import special  # slow to import

    return special


def gdp_of_noisy_sgd(epochs: int, noise: float, neighbours: str = "replace") -> float:
    """mu of E epochs of clipped noisy SGD in which every example is in one batch an epoch.

    One epoch releases one sum that depends on the example, moved by 2 C (replaced) or C
    (removed) in noise of deviation sigma C: mu_1 = 2 / sigma. E of them compose exactly to
    sqrt(E) mu_1. The other batches do not see the example but through what was released. No
    amplification by subsampling is claimed. 'remove' leaves the example's place in its batch
    empty and divides by the batch size as before: if the examples behind it moved up, every
    batch after it would change, and a divisor that counts them would tell.

    Args:
      epochs: E.
      noise: sigma, on the sum of a batch, in units of the clipping norm.
      neighbours: 'replace' or 'remove'.

    Raises:
      ValueError: out of range.
    """
    if not epochs >= 1 or not noise > 0 or neighbours not in NEIGHBOURS:
        raise ValueError(
            f"epochs={epochs} >= 1, noise={noise} > 0, neighbours={neighbours!r}: one of "
            f"{', '.join(NEIGHBOURS)}"
        )
    return float(NEIGHBOURS[neighbours] * np.sqrt(epochs) / noise)


def noise_for(epochs: int, mu: float, neighbours: str = "replace") -> float:
    """sigma that makes E epochs mu-GDP: the inverse of `gdp_of_noisy_sgd`.

    Raises:
      ValueError: out of range.
    """
    if not mu > 0:
        raise ValueError(f"mu={mu}: must be > 0")
    return gdp_of_noisy_sgd(epochs, mu, neighbours)


def in_expectation(train_error: float, mu: float) -> float:
    """E R_D <= Phi(Phi^-1(E R_S) + mu), for 0-1 loss and any network.

    Proof: let h be learned from S and h_i from S with z_i replaced by a fresh z. "h errs on
    z_i" under S and "h_i errs on z_i" are one event under neighbouring sets, the second of
    probability R_D in expectation, as z_i is fresh for h_i. So E R_D <= the mean over i and S
    of Phi(Phi^-1(p) + mu), p the probability of the first given S; this is concave in p,
    whose mean is E R_S (Jensen). By removal the left side is the risk at m - 1, of the
    algorithm that leaves a place empty. The m examples are independent, or at least
    exchangeable with the fresh one.

    Args:
      train_error: E R_S, over training sets and noise.
      mu: of the algorithm, for replacing one example.

    Raises:
      ValueError: out of range.
    """
    _check(train_error, mu)
    special = _special()
    return float(special.ndtr(special.ndtri(train_error) + mu))


def least_train_error(risk: float, mu: float) -> float:
    """The least E R_S that the bound allows beside a risk: Phi(Phi^-1(risk) - mu).

    Raises:
      ValueError: out of range.
    """
    _check(risk, mu)
    special = _special()
    return float(special.ndtr(special.ndtri(risk) - mu))


def with_confidence(train_errors: Sequence[float], mu: float, failure: float) -> float:
    """The bound with an upper limit for E R_S, from R independent runs (Hoeffding).

    Each run has its own training set and its own noise. The examples of one run are not
    independent given what it learned; the runs are, unless their training sets overlap (drawn
    from one stored pool, the limit is that of E R_S given the pool). E R_S <= mean + sqrt(ln(1/failure) / 2R).

    Args:
      train_errors: `[R]`, R_S of each run.
      mu: of the algorithm, for replacing one example.
      failure: probability that E R_S is above its limit.

    Raises:
      ValueError: no runs, or out of range.
    """
    errors = np.asarray(train_errors, float)
    if (
        not errors.size
        or not 0 < failure < 1
        or not np.all(np.abs(errors - 0.5) <= 0.5)
    ):
        raise ValueError("errors in [0, 1] and a failure probability in (0, 1), please")
    limit = np.mean(errors) + np.sqrt(np.log(1 / failure) / (2 * errors.size))
    return in_expectation(float(min(1.0, limit)), mu)
