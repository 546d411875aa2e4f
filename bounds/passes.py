"""The terms in which measures say what they cost: passes over examples, in no machine's seconds.

A pass is over one block of `nets.sample.BLOCK` examples. Where a search decides, a measure says a
number that 9 of 10 networks of the report card's table stay below.
"""

from typing import NamedTuple

from nets.sample import BLOCK

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
