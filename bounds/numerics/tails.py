"""Binomial tails by their logarithms: for levels far below the least float, e^-4000 and beyond.

Pr[Bin(n, p) <= k] is Pr[Bin(n, p) = k] times the sum of the ratios of its terms to the last
one. Above p = k/n each term is a smaller part of the one after it than that is of the next, so
that what is left out of the sum is at most a geometric series: the tail is found from above,
whatever n and k are. Incomplete beta functions underflow there, and then certify falsely.
"""

from collections.abc import Callable

import chex
import jax
import jax.numpy as jnp
from jax.scipy.special import gammaln

_HALVINGS = 64  # of [0, 1]: below the resolution of float64
_TERMS = 4096  # that are summed up; the rest is bounded
_ROUNDINGS = 16  # of logarithms of factorials, in units of the last place


@chex.dataclass(frozen=True, mappable_dataclass=False)
class Binomial:
    """What does not depend on p, of Pr[Bin(n, p) <= k]: made by `binomial`.

    Attributes:
      wrong: `[]`, k.
      size: `[]`, n >= k.
      log_choices: `[]`, ln C(n, k).
      log_ratios: `[_TERMS]`, ln of term k - i over term k, but for i ln((1 - p)/p).
      rounding: `[]`, by which logarithms made of them may be off.
    """

    wrong: chex.Array
    size: chex.Array
    log_choices: chex.Array
    log_ratios: chex.Array
    rounding: chex.Array


def log_choices(size: jax.Array, chosen: jax.Array) -> jax.Array:
    """ln C(n, k) `[]`, 0 <= k <= n."""
    size, chosen = jnp.asarray(size, float), jnp.asarray(chosen, float)
    return gammaln(size + 1) - gammaln(chosen + 1) - gammaln(size - chosen + 1)


def binomial(wrong: jax.Array, size: jax.Array) -> Binomial:
    """What the tails of k = `wrong` among n = `size` share, `[]` each."""
    wrong, size = jnp.asarray(wrong, float), jnp.asarray(size, float)
    i = jnp.arange(_TERMS)
    ratios = jnp.maximum(wrong - i, 0) / (size - wrong + 1 + i)
    logs = jnp.where(ratios > 0, jnp.log(jnp.where(ratios > 0, ratios, 1.0)), -jnp.inf)
    return Binomial(
        wrong=wrong,
        size=size,
        log_choices=log_choices(size, wrong),
        log_ratios=jnp.cumsum(logs),
        rounding=_ROUNDINGS * jnp.finfo(size.dtype).eps * (1 + gammaln(size + 2)),
    )


def log_probability(of: Binomial, p: jax.Array) -> jax.Array:
    """ln Pr[Bin(n, p) = k] `[]`, to `of.rounding`; 0 < p < 1."""
    return of.log_choices + of.wrong * jnp.log(p) + (of.size - of.wrong) * jnp.log1p(-p)


def log_at_most(of: Binomial, p: jax.Array) -> jax.Array:
    """ln Pr[Bin(n, p) <= k] `[]`, from above; 0 (a probability of 1) where p <= k/n."""
    odds = jnp.log1p(-p) - jnp.log(p)
    terms = jnp.exp(of.log_ratios + jnp.arange(1, _TERMS + 1) * odds)
    i = float(_TERMS)
    next_ratio = (of.wrong - i) / (of.size - of.wrong + 1 + i) * jnp.exp(odds)
    next_ratio = jnp.clip(next_ratio, 0.0, 1 - 1e-12)
    rest = terms[-1] * next_ratio / (1 - next_ratio)
    found = log_probability(of, p) + jnp.log1p(jnp.sum(terms) + rest) + of.rounding
    is_above = p * of.size > of.wrong
    return jnp.where(is_above, jnp.minimum(found, 0.0), 0.0)


def least(
    is_reached: Callable[[jax.Array], jax.Array], shape_of: jax.Array
) -> jax.Array:
    """The least p in [0, 1] from which on `is_reached(p)` is true, from above: `[]`.

    Args:
      is_reached: p `[]` to true or false; once true, true for all larger p.
      shape_of: an array of the float type to search in.
    """

    def halve(_, ends):
        low, high = ends
        middle = (low + high) / 2
        reached = is_reached(middle)
        return jnp.where(reached, low, middle), jnp.where(reached, middle, high)

    zero = jnp.zeros((), shape_of.dtype)
    return jax.lax.fori_loop(0, _HALVINGS, halve, (zero, zero + 1))[1]


def upper(wrong: jax.Array, size: jax.Array, log_failure: jax.Array) -> jax.Array:
    """The exact upper limit `[]` of a probability, for a failure of any smallness.

    The least p from which on Pr[Bin(n, p) <= k] is below e^`log_failure` (Clopper & Pearson
    1934), from above. To be traced in float64.

    Args:
      wrong: `[]`, k.
      size: `[]`, n trials; the limit is 1 if all of them are wrong, or there are none.
      log_failure: `[]`, ln of the probability that the limit is too low, at most; not a number
        makes the limit none.
    """
    of = binomial(wrong, jnp.maximum(size, 1))
    found = least(lambda p: log_at_most(of, p) < log_failure, of.size)
    found = jnp.where(jnp.asarray(wrong) >= size, 1.0, found)
    return jnp.where(jnp.isnan(log_failure), jnp.nan, found)
