"""Arithmetic that several families of bounds share: logarithms that stay finite."""

import jax.numpy as jnp

from bounds.types import BoundValue


def log(x):
    """ln x, and a large negative number instead of -inf at x = 0."""
    return jnp.log(jnp.maximum(x, jnp.finfo(jnp.result_type(x, float)).tiny))


def log_product_without_each(logs):
    """ln prod_{j != l} x_j for each l, from `[L]` logarithms."""
    return jnp.sum(logs) - logs


def log_grid_weight(k):
    """ln p(k), p(k) = 2 / (3 (|k| + 1) (|k| + 2)): sums to 1 over all whole numbers.

    The share of the failure probability that cell k of a grid gets, so that a quantity may
    be rounded up to its cell after seeing the data.
    """
    return jnp.log(2 / 3) - jnp.log(jnp.abs(k) + 1) - jnp.log(jnp.abs(k) + 2)


def margin_bound(log_numerator, task, margins, margin):
    """R_S(gamma) + numerator / (gamma sqrt(m)): the form in which margin bounds are plotted.

    Args:
      log_numerator: `[]`, natural logarithm of the numerator.
      task: a `Task`.
      margins: the training `Margins`.
      margin: `[]`, gamma > 0.

    Returns:
      A `BoundValue`.
    """
    log_excess = log_numerator - jnp.log(margin) - jnp.log(task.size) / 2
    empirical, excess = margins.error(margin), jnp.exp(log_excess)
    return BoundValue(empirical + excess, empirical, excess, log_excess)
