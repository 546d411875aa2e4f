"""The group `margins`."""

import jax
import jax.numpy as jnp

from bounds.types import Margins
from nets.margins import margin
from nets.training import CHECK_BLOCK, logits_of, rows_of


def margins_of(model, params, sample):
    """The margins of any `Sample` under a network, sorted; not-a-number as -inf.

    Args:
      model: a Linen module.
      params: its parameters.
      sample: a `Sample`, m of M rows.

    Returns:
      `Margins`, `[M]`.
    """

    def visit(block, found):
        start = block * CHECK_BLOCK
        inputs, labels = rows_of(sample, start, CHECK_BLOCK)
        values = jax.vmap(margin)(logits_of(model, params, inputs), labels)
        return jax.lax.dynamic_update_slice_in_dim(found, values, start, 0)

    rows = sample.labels.shape[0]
    with jax.default_matmul_precision("highest"):
        blocks = -(-sample.size // CHECK_BLOCK)
        found = jnp.full((rows,), jnp.inf, sample.inputs.dtype)
        found = jax.lax.fori_loop(0, blocks, visit, found)
    found = jnp.where(jnp.isnan(found), -jnp.inf, found)
    found = jnp.where(jnp.arange(rows) < sample.size, found, jnp.inf)
    return Margins(sorted=jnp.sort(found), size=sample.size)


def margins(network):
    """The training margins: `Margins`."""
    return margins_of(network.model, network.params, network.sample)
