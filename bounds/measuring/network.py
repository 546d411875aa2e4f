"""What measuring is given: one network, and what is known of how it came to be."""

import chex
import flax.linen as nn
from flax import struct

from nets.training import Sample


class Unavailable(Exception):
    """A group cannot be measured on this network; the message says what is missing."""


@struct.dataclass
class History:
    """How a training went, as checked at the end of every epoch.

    Attributes:
      losses: `[E]`, mean training loss after each epoch, of the loss trained on; entries from `epochs` on
        mean nothing.
      epochs: `[]`, epochs completed.
      steps_per_epoch: `[]`, SGD steps of an epoch.
    """

    losses: chex.Array
    epochs: chex.Array
    steps_per_epoch: chex.Array


@struct.dataclass
class Network:
    """One trained network.

    Attributes:
      model: the Linen module.
      params: its learned parameters.
      sample: the training set.
      init: the parameters it started from, or None.
      other: the parameters learned from another draw from the same init, or None.
      holdout: examples that no choice has seen, or None.
      history: how its training went, or None.
      first_epoch: its parameters after the first epoch, or None.
    """

    model: nn.Module = struct.field(pytree_node=False)
    params: chex.ArrayTree
    sample: Sample
    init: chex.ArrayTree | None = None
    other: chex.ArrayTree | None = None
    holdout: Sample | None = None
    history: History | None = None
    first_epoch: chex.ArrayTree | None = None
