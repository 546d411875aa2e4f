"""Exact limits of error probabilities from counts (Clopper & Pearson 1934)."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import betainc

from bounds import arithmetic

_HALVINGS = 64  # of [0, 1]: below the resolution of float64


def binomial_upper(wrong: Any, size: Any, failure: Any) -> jax.Array:
    """The exact upper limit `[]` of a probability: BetaInv(1 - failure; k + 1, n - k).

    To be traced; as wide as the default float.

    Args:
      wrong: `[]`, k.
      size: `[]`, n trials; the limit is 1 if all of them are wrong.
      failure: `[]`, the probability that the limit is too low, at most.
    """

    def halve(_, ends):
        low, high = ends
        middle = (low + high) / 2
        a, b = wrong + 1.0, jnp.maximum(size - wrong, 1) * 1.0
        inside = betainc(a, b, middle) <= 1 - failure
        return jnp.where(inside, middle, low), jnp.where(inside, high, middle)

    ends = jnp.zeros(()), jnp.ones(())
    found = jax.lax.fori_loop(0, _HALVINGS, halve, ends)[1]
    return jnp.where(wrong >= size, 1.0, found)


def upper(wrong: Any, size: int, failure: float) -> np.ndarray:
    """`binomial_upper` of counts `[R]` among `size` each, in float64, on the host: `[R]`."""
    from scipy import special  # slow to import

    wrong = np.asarray(wrong, float)
    a, b = wrong + 1, np.maximum(size - wrong, 1)
    low, high = np.zeros_like(wrong), np.ones_like(wrong)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        inside = special.betaincc(a, b, middle) >= failure
        low, high = np.where(inside, middle, low), np.where(inside, high, middle)
    return np.where(wrong >= size, 1.0, high)


def at_least(wrong: int, size: int, probability: float) -> float:
    """Pr[Bin(n, p) >= k], k = `wrong`, n = `size`, p = `probability`; in float64, on the host."""
    if wrong <= 0:
        return 1.0
    if wrong > size:
        return 0.0
    from scipy import special  # slow to import

    return float(special.betainc(wrong, size - wrong + 1, probability))


def at_most(wrong: int, size: int, probability: float) -> float:
    """Pr[Bin(n, p) <= k], k = `wrong`, n = `size`, p = `probability`; in float64, on the host."""
    if wrong < 0:
        return 0.0
    if wrong >= size:
        return 1.0
    from scipy import special  # slow to import

    return float(special.betainc(size - wrong, wrong + 1, 1.0 - probability))


def interval(wrong: int, size: int, confidence: float = 0.95) -> tuple[float, float]:
    """The exact two-sided interval of an error probability.

    Args:
      wrong: k of `size` = n.
      size: independent test points.
      confidence: of both sides together.
    """
    right, high = upper([size - wrong, wrong], size, (1 - confidence) / 2)
    return float(1 - right), float(high)


def chernoff_interval(
    mean: float, size: int, confidence: float = 0.95
) -> tuple[float, float]:
    """The two-sided interval of an expectation, from the mean of independent numbers in [0, 1].

    {p : kl(mean || p) <= ln(2 / (1 - confidence)) / size} (Hoeffding 1963): they need not be
    0 or 1, nor alike.
    """
    c = math.log(2 / (1 - confidence)) / size
    with jax.enable_x64(True):
        low = 1 - arithmetic.kl_inverse(1 - mean, c)
        return float(low), float(arithmetic.kl_inverse(mean, c))
