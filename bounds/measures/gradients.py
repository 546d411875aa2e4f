"""The group `gradients`: how the gradients of single training examples differ."""

import chex
import jax
import jax.numpy as jnp
from flax import struct

from bounds.measures.loss import finite_or_inf, kernels_of, loss_of, visit_blocks
from bounds.measures.pullback import pullback
from bounds.network import Measure, Network
from bounds.passes import GRADIENT, SINGLE, Counts, Sizes


@struct.dataclass
class Gradients:
    """Gradients g_i of each training example's loss, of that trained on; g their mean.

    In all weights but the biases.

    Attributes:
      noise: `[]`, the mean of ||g_i - g||_2^2.
      squared_norm: `[]`, ||g||_2^2.
    """

    noise: chex.Array
    squared_norm: chex.Array


def gradients(network: Network) -> Gradients:
    """Of the loss trained on in all kernels, over the whole training set: `Gradients`."""
    of_example = loss_of(network.loss)

    def visit(carry, inputs, labels, known):
        def total_loss(logits):
            losses = jax.vmap(of_example)(logits, labels)
            return jnp.sum(jnp.where(known, losses, 0.0))

        back = pullback(network, inputs)
        in_logits = jax.grad(total_loss)(back.logits)
        found = jnp.sum(back.squares(in_logits)), back.total(in_logits)
        return jax.tree.map(jnp.add, carry, found)

    start = (
        jnp.zeros((), float),
        jax.tree.map(jnp.zeros_like, kernels_of(network.params)),
    )
    rows, size = network.sample.labels.shape[0], network.sample.size
    squares, sums = visit_blocks(network, visit, start, limit=rows)
    mean_square = squares / size
    of_mean = sum(
        jnp.sum(jnp.square(leaf.astype(float) / size)) for leaf in sums.values()
    )
    return Gradients(
        noise=finite_or_inf(jnp.maximum(mean_square - of_mean, 0.0)),
        squared_norm=finite_or_inf(of_mean),
    )


def gradients_first_epoch(network: Network) -> Gradients:
    """The same after the first epoch of training: `Gradients`."""
    return gradients(network.replace(params=network.first_epoch))


def _passes(of: Sizes) -> Counts:
    return {GRADIENT: of.blocks(), SINGLE: of.blocks()}


MEASURES = (
    Measure.one("gradients", Gradients, gradients, ("loss",), _passes),
    Measure.one(
        "gradients_first_epoch",
        Gradients,
        gradients_first_epoch,
        ("first_epoch", "loss"),
        _passes,
    ),
)
