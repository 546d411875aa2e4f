"""The group `picks`: what a network that was trained on a few picked examples does on the others.

A scheme picks some of the m examples and trains on these alone. How many it picked is read off
its record; the errors on the others are counted here, on the network and its sample.
"""

import dataclasses

import chex
import jax
import jax.numpy as jnp
from flax import struct

from bounds.network import Measure, Network, Unavailable
from nets.margins import margin
from nets.sample import fold_blocks
from nets.training import logits_of


@dataclasses.dataclass(frozen=True)
class PickToLearn:
    """The `model` of a `bounds.Learned` of pick-to-learn.

    Its `params` are {"picked": `[M]` of the sample's rows, whether an example was picked}.

    The scheme must be preferent (`bounds.families.sample_compression`).

    Attributes:
      budget: picks at most, fixed before the data was seen.
    """

    budget: int


@struct.dataclass
class Picks:
    """A network that is a function of k of the m examples.

    Attributes:
      picked: `[]`, k.
      wrong: `[]`, how many of the other m - k it misclassifies.
      size: `[]`, m.
      budget: `[]`, how many might have been picked: fixed before the data was seen.
    """

    picked: chex.Array
    wrong: chex.Array
    size: chex.Array
    budget: chex.Array


def picks(network: Network) -> Picks:
    """Of what pick-to-learn has trained: `Picks`.

    Raises:
      Unavailable: something else was trained, or more was picked than the budget allows.
    """
    learned, sample = network.learned, network.sample
    if not isinstance(learned.model, PickToLearn):
        raise Unavailable("the network was not trained on picked examples")
    picked = learned.params["picked"].astype(bool)
    chex.assert_shape(picked, sample.labels.shape)

    def visit(wrong, block):
        logits = logits_of(network.model, network.params, block.inputs)
        right = jax.vmap(margin)(logits, block.labels) > 0  # not a number: wrong
        count = block.labels.shape[0]
        others = ~jax.lax.dynamic_slice_in_dim(picked, block.start, count)
        return wrong + jnp.sum(block.known & others & ~right, dtype=jnp.int32)

    with jax.default_matmul_precision("highest"):
        wrong = fold_blocks(sample, visit, jnp.zeros((), jnp.int32))
    known = jnp.arange(picked.shape[0]) < sample.size
    return Picks(
        picked=jnp.sum(picked & known, dtype=jnp.int32),
        wrong=wrong,
        size=sample.size,
        budget=jnp.asarray(learned.model.budget, jnp.int32),
    )


MEASURES = (Measure.one("picks", Picks, picks, ("learned",)),)
