"""The group `speed`: how fast training went."""

import chex
import jax.numpy as jnp
from flax import struct

from bounds.network import Measure, Network


@struct.dataclass
class Speed:
    """How fast training went, judged at the ends of epochs.

    Attributes:
      losses_sum: `[]`, the sum over epochs of the mean training loss, nats.
      losses_sum_last: `[]`, over the last 10 epochs (over all, if there are fewer).
      steps_to_01: `[]`, SGD steps until that loss is <= 0.1; infinite if it never was.
      steps_01_to_001: `[]`, from there until it is <= 0.01; likewise.
    """

    losses_sum: chex.Array
    losses_sum_last: chex.Array
    steps_to_01: chex.Array
    steps_01_to_001: chex.Array


LAST = 10  # epochs


def speed(network: Network) -> Speed:
    """From the mean training loss at the end of every epoch: `Speed`."""
    history = network.history
    epoch = jnp.arange(history.losses.shape[0])
    losses = history.losses.astype(float)

    def sum_from(first):
        is_one = (epoch >= first) & (epoch < history.epochs)
        return jnp.sum(jnp.where(is_one, losses, 0.0))

    def steps_to(target):
        # As float32 has both: 0.1 is 0.1.
        reached = (history.losses <= target) & (epoch < history.epochs)
        steps = (jnp.argmax(reached) + 1.0) * history.steps_per_epoch
        return jnp.where(jnp.any(reached), steps, jnp.inf)

    to_01, to_001 = steps_to(0.1), steps_to(0.01)
    return Speed(
        losses_sum=sum_from(0),
        losses_sum_last=sum_from(history.epochs - LAST),
        steps_to_01=to_01,
        steps_01_to_001=jnp.where(to_001 < jnp.inf, to_001 - to_01, jnp.inf),
    )


MEASURES = (Measure.one("speed", Speed, speed, ("history",)),)
