"""Passes over examples: such that measures make together, and the terms in which they say what they cost.

A pass of a cost is over one block of `nets.sample.BLOCK` examples, in no machine's seconds. Where a search
decides, a measure says a number that 9 of 10 networks of the report card's table stay below.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import chex
import jax

from nets.sample import BLOCK, Block, Sample, fold_blocks

# Forward; the gradient of the mean loss in all kernels; a product with its Hessian; the gradients of
# single examples; forward with other weights, drawn.
FORWARD, GRADIENT, PRODUCT, SINGLE, NOISY = (
    "forward", "gradient", "product", "single", "noisy",
)  # fmt: skip
Counts = dict[str, float]


class Sizes(NamedTuple):
    """Of a network's examples.

    Attributes:
      train, held_out: how many there are.
      classes: outputs.
    """

    train: int
    held_out: int
    classes: int

    def blocks(self, limit: int | None = None) -> int:
        """Of the training set, or of its first `limit` examples."""
        return _blocks(self.train if limit is None else min(self.train, limit))

    @property
    def held_out_blocks(self) -> int:
        """Of the held-out examples."""
        return _blocks(self.held_out)


def _blocks(examples):
    return -(-examples // BLOCK)


@dataclasses.dataclass(frozen=True)
class Pass:
    """What is found in one pass over the training examples, block by block.

    A measure that returns one shares the reading of the examples with all others that do.

    Attributes:
      start: what is known before the first block.
      visit: (what is known, a `nets.sample.Block`) -> what is known after it.
      end: what is known after the last one -> name -> group, as of `bounds.network.Measure`.
    """

    start: chex.ArrayTree
    visit: Callable[[Any, Block], Any]
    end: Callable[[Any], Mapping[str, Any]]


def together(sample: Sample, passes: Sequence[Pass]) -> list[Mapping[str, Any]]:
    """What each of several passes over a sample finds; the sample is read once."""

    def visit(known, block):
        return [one.visit(own, block) for one, own in zip(passes, known, strict=True)]

    if not passes:
        return []
    with jax.default_matmul_precision("highest"):
        known = fold_blocks(sample, visit, [one.start for one in passes])
    return [one.end(own) for one, own in zip(passes, known, strict=True)]
