"""The group `gradients`: how the gradients of single training examples differ."""

import chex
import jax
import jax.numpy as jnp
from flax import struct

from bounds.measures.loss import (
    finite_or_inf,
    kernels_of,
    losses_at,
    visit_blocks,
)
from bounds.network import Measure, Network
from nets.kernels import layers
from nets.losses import softmax_cross_entropy
from nets.operators import is_dense


@struct.dataclass
class Gradients:
    """Gradients g_i of each training example's softmax cross-entropy, g their mean.

    In all weights but the biases.

    Attributes:
      noise: `[]`, the mean of ||g_i - g||_2^2.
      squared_norm: `[]`, ||g||_2^2.
    """

    noise: chex.Array
    squared_norm: chex.Array


_AT_ONCE = 16  # gradients of single examples held at once where they cannot be factored


def _of_dense_layers(network, inputs, labels, known):
    """Sum of ||g_i||^2 and sum of g_i over a block, of dense layers.

    In such a layer g_i is a_i' delta_i, the outer product of what arrives and of what comes
    back: its squared norm is ||a_i||^2 ||delta_i||^2, and no g_i is built.
    """
    every = layers(network.params)

    def loss(shifts):
        x, arriving = inputs, []
        for index, (layer, shift) in enumerate(zip(every, shifts, strict=True)):
            arriving.append(jax.nn.relu(x) if index else x)
            x = arriving[-1] @ layer["kernel"] + shift
            if "bias" in layer:
                x = x + layer["bias"][None]
        losses = jax.vmap(softmax_cross_entropy)(x, labels)
        return jnp.sum(jnp.where(known, losses, 0.0)), arriving

    shifts = [
        jnp.zeros((len(labels), w["kernel"].shape[1]), jnp.float32) for w in every
    ]
    coming_back, arriving = jax.grad(loss, has_aux=True)(shifts)
    pairs = list(zip(arriving, coming_back, strict=True))
    squares = [
        jnp.sum(jnp.sum(jnp.square(a), axis=1) * jnp.sum(jnp.square(delta), axis=1))
        for a, delta in pairs
    ]
    sums = {f"{n}/kernel": a.T @ delta for n, (a, delta) in enumerate(pairs)}
    return sum(squares), sums


def _of_any_layers(network, inputs, labels, known):
    """The same by the gradient of every example, a few at once."""
    kernels = kernels_of(network.params)

    def loss(kernels, one, label):
        one = jax.tree.map(lambda leaf: leaf[None], one)
        return losses_at(network, kernels, one, label[None])[0]

    def square(example):
        found = jax.tree.leaves(jax.grad(loss)(kernels, *example))
        return sum(jnp.sum(jnp.square(leaf)) for leaf in found)

    def total(kernels):
        losses = losses_at(network, kernels, inputs, labels)
        return jnp.sum(jnp.where(known, losses, 0.0))

    squares = jax.lax.map(square, (inputs, labels), batch_size=_AT_ONCE)
    squares = jnp.sum(jnp.where(known, squares, 0.0))
    return squares, jax.grad(total)(kernels)


def gradients(network: Network) -> Gradients:
    """Of the softmax cross-entropy in all kernels, over the whole training set: `Gradients`."""
    is_plain = is_dense(network.model, network.params)
    is_plain &= all("kernel" in layer for layer in layers(network.params))
    of_block = _of_dense_layers if is_plain else _of_any_layers

    def visit(sums, *block):
        return jax.tree.map(jnp.add, sums, of_block(network, *block))

    start = (
        jnp.zeros((), jnp.float32),
        jax.tree.map(jnp.zeros_like, kernels_of(network.params)),
    )
    rows, size = network.sample.labels.shape[0], network.sample.size
    squares, sums = visit_blocks(network, visit, start, limit=rows)
    mean_square = squares.astype(float) / size
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


MEASURES = (
    Measure.one("gradients", Gradients, gradients),
    Measure.one(
        "gradients_first_epoch", Gradients, gradients_first_epoch, ("first_epoch",)
    ),
)
