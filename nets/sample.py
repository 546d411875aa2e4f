"""A set of examples, padded, and the one loop over its blocks."""

from collections.abc import Callable
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

BLOCK = 128  # examples that a pass over a sample takes at once


@struct.dataclass
class Sample:
    """A training set, padded: rows from `size` on are never looked at.

    Attributes:
      inputs: `[M, D]`, M a multiple of `BLOCK` (see `pad_sample`), or any tree of
        arrays `[M, ...]` that the model reads.
      labels: `[M]` int32.
      size: `[]` int32, m.
      watched: name -> another `Sample`, not trained on, whose error is recorded at the end
        of every epoch.
    """

    inputs: chex.ArrayTree
    labels: chex.Array
    size: chex.Array
    watched: dict[str, "Sample"] = struct.field(default_factory=dict)


class Block(NamedTuple):
    """Some rows of a sample.

    Attributes:
      start: `[]`, the first of them.
      inputs: `[BLOCK, D]`, or a tree of arrays.
      labels: `[BLOCK]`.
      known: `[BLOCK]`, which rows are examples and no padding.
    """

    start: jax.Array
    inputs: chex.ArrayTree
    labels: jax.Array
    known: jax.Array


def pad_sample(inputs: chex.ArrayTree, labels: np.ndarray, rows: int) -> Sample:
    """A `Sample` of `len(labels)` examples in at least `rows` rows, zeros behind them."""
    size = len(labels)
    behind = -(-max(rows, size) // BLOCK) * BLOCK - size

    def pad(leaf):
        leaf = np.asarray(leaf)
        if np.issubdtype(leaf.dtype, np.floating):
            leaf = leaf.astype(np.float32)
        leaf = np.pad(leaf, [(0, behind)] + [(0, 0)] * (leaf.ndim - 1))
        return jax.device_put(leaf)  # no program is compiled for it

    return Sample(
        inputs=jax.tree.map(pad, inputs),
        labels=pad(np.asarray(labels, np.int32)),
        size=jax.device_put(np.int32(size)),
    )


def rows_of(
    sample: Sample, start: jax.Array, count: int
) -> tuple[chex.ArrayTree, jax.Array]:
    """Inputs and labels of `count` rows of a sample from row `start` on."""
    return jax.tree.map(
        lambda leaf: jax.lax.dynamic_slice_in_dim(leaf, start, count),
        (sample.inputs, sample.labels),
    )


def block_of(sample: Sample, index: jax.Array, size: jax.Array | None = None) -> Block:
    """Block number `index` of a sample, or of its first `size` examples."""
    start = index * BLOCK
    size = sample.size if size is None else size
    known = start + jnp.arange(BLOCK) < size
    return Block(start, *rows_of(sample, start, BLOCK), known)


def blocks_of(sample: Sample, size: jax.Array | None = None) -> jax.Array:
    """How many blocks hold a sample, or its first `size` examples: `[]`."""
    return -(-(sample.size if size is None else size) // BLOCK)


def fold_blocks(
    sample: Sample,
    visit: Callable[[Any, Block], Any],
    start: Any,
    blocks: jax.Array | None = None,
    size: jax.Array | None = None,
) -> Any:
    """Folds `visit(carry, block)` over the blocks of a sample.

    Args:
      sample: a `Sample`.
      visit: pure.
      start: the first carry.
      blocks: `[]`, how many; all that hold examples if not given.
      size: `[]`, look at the first examples only.
    """
    count = blocks_of(sample, size) if blocks is None else blocks
    return jax.lax.fori_loop(
        0,
        count,
        lambda index, carry: visit(carry, block_of(sample, index, size)),
        start,
    )
