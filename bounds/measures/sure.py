"""Predictions that rounding does not decide: what is recounted elsewhere is counted on no fewer errors.

Whole-number weights on inputs of few levels have equal outputs on many examples, and then the order of a
sum decides which is above. An example on which no logit leads by more than rounding may move is an
error, and a disagreement with every other network.
"""

from typing import Any

import chex
import jax
import jax.numpy as jnp

from nets.margins import margin
from nets.sample import Sample, fold_blocks
from nets.training import logits_of

LEAD = 5e-6  # times the largest logit: half of what a recount leaves to rounding


def predictions(model: Any, params: chex.ArrayTree, points: Sample) -> jax.Array:
    """The class of each point: int32 `[M]`; -1 where no logit leads by `LEAD`."""

    def of_one(logits):
        best = jnp.argmax(logits)
        lead, least = margin(logits, best), LEAD * jnp.max(jnp.abs(logits))
        # What is not a number leads by nothing.
        is_sure = jnp.isfinite(lead) & (lead > least)
        return jnp.where(is_sure, best, -1).astype(jnp.int32)

    def visit(found, block):
        own = jax.vmap(of_one)(logits_of(model, params, block.inputs))
        return jax.lax.dynamic_update_slice_in_dim(found, own, block.start, 0)

    with jax.default_matmul_precision("highest"):
        return fold_blocks(points, visit, jnp.full(points.labels.shape, -1, jnp.int32))


def error(model: Any, params: chex.ArrayTree, sample: Sample) -> jax.Array:
    """The share `[]` of the examples of a sample whose `predictions` are not their labels."""
    wrong = predictions(model, params, sample) != sample.labels
    wrong &= jnp.arange(len(wrong)) < sample.size
    return jnp.sum(wrong) / sample.size.astype(float)
