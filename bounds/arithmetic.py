"""Arithmetic that several families of bounds share."""

from collections.abc import Callable
from typing import Any

import chex
import jax
import jax.numpy as jnp
from jax.scipy.special import xlogy

from bounds.spec import BoundValue

_LOG_OF_0 = (
    -1e6
)  # far below all that products, roots and means make of numbers that are not 0
_IS_0 = -1e4  # a logarithm below this is one of 0, or has such a term


def log(x: jax.Array) -> jax.Array:
    """ln x, finite: at x = 0 and below -1e6, so that 0 comes out again; large at infinity."""
    x = jnp.asarray(x, float)  # the logarithm of an int32 would be float32's
    info = jnp.finfo(x.dtype)
    found = jnp.log(jnp.clip(x, info.tiny, info.max))
    return jnp.where(x <= 0, _LOG_OF_0, found)


def said(log_value: jax.Array) -> jax.Array:
    """A logarithm as it is reported: -inf where it is one of 0."""
    return jnp.where(log_value < _IS_0, -jnp.inf, log_value)


def log_product_without_each(logs: jax.Array) -> jax.Array:
    """ln prod_{j != l} x_j for each l, from `[L]` logarithms."""
    return jnp.sum(logs) - logs


def log_grid_weight(k: jax.Array) -> jax.Array:
    """ln p(k), p(k) = 2 / (3 (|k| + 1) (|k| + 2)): sums to 1 over all whole numbers.

    The share of the failure probability that cell k of a grid gets, so that a quantity may
    be rounded up to its cell after seeing the data.
    """
    return jnp.log(2 / 3) - jnp.log(jnp.abs(k) + 1) - jnp.log(jnp.abs(k) + 2)


def cell(log_value: jax.Array, log_base: jax.Array, log_ratio: jax.Array) -> jax.Array:
    """The cell k of a grid base * ratio^k that a quantity is rounded up to: ceil.

    A hair above the computed quotient, so that rounding cannot put a quantity below itself.
    """
    return jnp.ceil((log_value - log_base) / log_ratio + 1e-6)


def margin_cells(margins: Any) -> tuple[jax.Array, jax.Array]:
    """Margins gamma = 2^k to try, around the largest of the margins' sizes, `[128]`: (gamma, k).

    Above it every example counts as lost, and only bounds above 1 are at their least there.
    """
    sizes = jnp.abs(margins.sorted.astype(float))
    largest = jnp.max(jnp.where(jnp.isfinite(sizes), sizes, 0.0))
    top = jnp.where(largest > 0, jnp.ceil(log(largest) / jnp.log(2.0)), 0.0)
    k = jnp.clip(top, -900.0, 900.0) + 64.0 - jnp.arange(128)
    return jnp.exp2(k), k


def median_margin(margins: Any) -> jax.Array:
    """The (lower) median training margin `[]`."""
    return margins.sorted[(margins.size - 1) // 2]


def ramp(margins: Any, gamma: jax.Array) -> jax.Array:
    """The mean ramp loss `[]` at margin gamma: 1 below 0, 0 from gamma on, linear between."""
    gamma = jnp.maximum(gamma, jnp.finfo(jnp.result_type(gamma, float)).tiny)
    # Sorted and summed up once, a margin costs two searches.
    values = margins.sorted.astype(float)
    positive = jnp.where((values > 0) & (values < jnp.inf), values, 0.0)
    sums = jnp.append(0.0, jnp.cumsum(positive))
    below_0 = jnp.searchsorted(values, 0.0, side="right")
    below = jnp.maximum(jnp.searchsorted(values, gamma), below_0)
    below = jnp.minimum(below, margins.size)
    return (below - (sums[below] - sums[below_0]) / gamma) / margins.size


def least(
    bound_of: Callable[..., Any],
    cells: tuple[jax.Array, jax.Array],
    log_complexity: jax.Array,
) -> BoundValue:
    """The `BoundValue` of the cell with the least value.

    Args:
      bound_of: `(gamma, k)` of one cell to (empirical, excess).
      cells: (gammas, ks), `[cells]` each; the price of each is in its excess.
      log_complexity: `[]`, of the whole.
    """
    empirical, excess = jax.vmap(bound_of)(*cells)
    best = jnp.argmin(empirical + excess)
    return BoundValue(
        value=(empirical + excess)[best],
        empirical=empirical[best],
        excess=excess[best],
        log_complexity=log_complexity,
    )


_RATIO_CELLS = (
    64  # of the grid that are looked at; below them the ramp term is 1 anyway
)


def over_all_margins(
    log_c: jax.Array, log_a: jax.Array, task: Any, margins: Any, delta: jax.Array
) -> BoundValue:
    """The least of ramp_S(gamma) + A 2^k/m + 3 sqrt(ln(2/(delta p(k)))/(2m)), gamma = C/2^k.

    Over the cells k of a grid of C/gamma: it holds for every network and margin at once.

    Args:
      log_c, log_a: ln C and ln A, `[]`; C is positively homogeneous in the logits.
      task, margins: `Task` and training `Margins`.
      delta: `[]`.

    Returns:
      A `BoundValue`; `log_complexity` is that of A C / (gamma m) at gamma = the median training
      margin.
    """
    m = task.size.astype(float)
    # A r / m > 1 from there on
    largest = jnp.ceil((jnp.log(m) - log_a) / jnp.log(2.0)) + 2
    k = largest - jnp.arange(_RATIO_CELLS)
    # A hair above C / 2^k: rounding cannot put C / gamma beyond its cell.
    gamma = jnp.exp(jnp.minimum(log_c - k * jnp.log(2.0), 600.0)) * (1 + 1e-12)

    def bound_of(gamma, k):
        complexity = jnp.exp(log_a + k * jnp.log(2.0)) / m
        log_cell = log_grid_weight(k)
        deviation = 3 * jnp.sqrt((jnp.log(2 / delta) - log_cell) / (2 * m))
        return ramp(margins, gamma), complexity + deviation

    median = median_margin(margins)
    log_complexity = log_a + log_c - log(median) - jnp.log(m)
    return least(bound_of, (gamma, k), log_complexity)


_HALVINGS = 64  # of [0, 1]: below the resolution of float64


def kl(q: jax.Array, p: jax.Array) -> jax.Array:
    """kl(q || p) `[]` of two Bernoulli laws, nats; infinite where p cannot produce q."""
    return xlogy(q, q) - xlogy(q, p) + xlogy(1 - q, 1 - q) - xlogy(1 - q, 1 - p)


def _kl_above(q, lead):
    """kl(q || q + lead) `[]` for lead in [0, 1 - q], to rounding even where it is tiny."""
    own = jnp.where(q > 0, -q * jnp.log1p(lead / jnp.where(q > 0, q, 1.0)), 0.0)
    rest = jnp.maximum(1 - q, jnp.finfo(lead.dtype).tiny)
    return own - rest * jnp.log1p(-jnp.minimum(lead / rest, 1.0))


def kl_inverse(q: jax.Array, c: jax.Array) -> jax.Array:
    """sup {p : kl(q || p) <= c} `[]`, from above.

    What is halved is p - q: kl is tiny beside its terms where p is near q.

    Args:
      q: `[]`, in [0, 1].
      c: `[]`, >= 0.
    """

    def halve(_, ends):
        low, high = ends
        middle = (low + high) / 2
        inside = _kl_above(q, middle) <= c
        return jnp.where(inside, middle, low), jnp.where(inside, high, middle)

    q = jnp.asarray(q, float)
    ends = jax.lax.fori_loop(0, _HALVINGS, halve, (jnp.zeros_like(q), 1 - q))
    # What is not a number must not look like the least p.
    return jnp.where(jnp.isnan(q) | jnp.isnan(c), jnp.nan, q + ends[1])


def measure(log_value: jax.Array) -> BoundValue:
    """A heuristic measure as a `BoundValue`, from its natural logarithm `[]`."""
    value = jnp.exp(log_value)
    return BoundValue(value, jnp.zeros_like(value), value, said(log_value))


def root_of_mean(v: jax.Array, size: jax.Array) -> BoundValue:
    """sqrt(v / m) `[]` as a heuristic `BoundValue`; not a number where v is negative."""
    chex.assert_rank([v, size], 0)
    found = measure((log(v) - log(size)) / 2)
    value = jnp.where(v < 0, jnp.nan, found.value)
    return found.replace(value=value, excess=value)


def log_measure(value: jax.Array) -> BoundValue:
    """A heuristic measure that is a logarithm itself, `[]`, as a `BoundValue`."""
    value = said(value)
    return BoundValue(value, jnp.zeros_like(value), value, value)


def margin_bound(
    log_numerator: jax.Array, task: Any, margins: Any, margin: jax.Array
) -> BoundValue:
    """R_S(gamma) + numerator / (gamma sqrt(m)): the form in which margin bounds are plotted.

    Args:
      log_numerator: `[]`, natural logarithm of the numerator.
      task: a `Task`.
      margins: the training `Margins`.
      margin: `[]`, gamma > 0.

    Returns:
      A `BoundValue`.
    """
    log_excess = log_numerator - jnp.log(margin) - log(task.size) / 2
    empirical, excess = margins.error(margin), jnp.exp(log_excess)
    return BoundValue(empirical + excess, empirical, excess, said(log_excess))
