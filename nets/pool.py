"""Inputs that many training sets are drawn from: a device holds them once, or the machine does.

A training set drawn from stored examples is its places in them. Lanes then need no copies: they
read the rows of a batch, or of a block, where these are. `Pool` is a tree of arrays `[N, ...]` on
the device; `HostPool`; or None, where a sample holds its own inputs.
"""

import dataclasses
from typing import Any

import chex
import jax
import numpy as np


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True, eq=False)
class HostPool:
    """A pool in the machine's memory: rows go to a device when a step asks for them.

    A program that is given one calls back to the host for every batch, and is compiled for this
    one alone.

    Attributes:
      inputs: a tree of numpy arrays `[N, ...]`.
    """

    inputs: chex.ArrayTree


Pool = chex.ArrayTree | HostPool | None


def rows_at(pool: Pool, inputs: Any) -> chex.ArrayTree:
    """The inputs that a sample says by its places.

    Args:
      pool: of the sample.
      inputs: rows of the inputs of a sample: int32 places `[...]` in the pool; anything if that is None.

    Returns:
      A tree of arrays `[..., D]`; `inputs` as they are if there is no pool.
    """
    if pool is None:
        return inputs
    if not isinstance(pool, HostPool):
        return jax.tree.map(lambda leaf: leaf[inputs], pool)

    def fetched(places):
        return jax.tree.map(lambda leaf: leaf[np.asarray(places)], pool.inputs)

    shapes = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(inputs.shape + leaf.shape[1:], leaf.dtype),
        pool.inputs,
    )
    return jax.pure_callback(fetched, shapes, inputs, vmap_method="broadcast_all")
