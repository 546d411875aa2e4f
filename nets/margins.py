"""Margins of logits: the stopping rule and the bounds both read them."""

import chex
import jax
import jax.numpy as jnp


def margin(logits: jax.Array, label: jax.Array) -> jax.Array:
    """How far the true class leads: M = f(x)[y] - max_{k != y} f(x)[k].

    Args:
      logits: `[C]`, C >= 2, of one example.
      label: `[]`, integer.

    Returns:
      The margin, `[]`; the example is classified correctly iff it is > 0.
    """
    chex.assert_rank([logits, label], [1, 0])
    is_label = jnp.arange(logits.shape[0]) == label
    return logits[label] - jnp.max(jnp.where(is_label, -jnp.inf, logits))
