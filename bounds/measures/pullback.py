"""Gradients of single examples in the kernels, from what comes back to the logits.

Of a dense layer the gradient of example i is a_i' delta_i, the outer product of what arrives and
of what comes back: its squared norm is ||a_i||^2 ||delta_i||^2, and it is never built. Of other
layers the gradients of a few examples are held at once.
"""

from collections.abc import Callable
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from bounds.measures.loss import kernels_of, logits_at
from bounds.network import Network
from nets.graph import is_dense
from nets.kernels import layers

_AT_ONCE = 16  # gradients of single examples held at once where they cannot be factored


class Pullback(NamedTuple):
    """Logits of some examples, and what their gradients amount to.

    A cotangent `[N, C]` has a row an example: the gradient in its logits of what is differentiated.

    Attributes:
      logits: `[N, C]`.
      squares: cotangent -> the squared l2 norm of each example's gradient in all kernels `[N]`, a
        wide float.
      total: cotangent -> the sum of these gradients, as the kernels.
    """

    logits: jax.Array
    squares: Callable[[jax.Array], jax.Array]
    total: Callable[[jax.Array], dict[str, jax.Array]]


def pullback(network: Network, inputs: chex.ArrayTree) -> Pullback:
    """The `Pullback` of N examples."""
    is_plain = is_dense(network.model, network.params)
    is_plain &= all("kernel" in layer for layer in layers(network.params))
    found = (_of_dense_layers if is_plain else _of_any_layers)(network, inputs)

    def squares(cotangent):
        """Of cotangents of length about 1, since squares of small numbers underflow."""
        largest = jnp.max(jnp.abs(cotangent), axis=1)
        scale = jnp.where(largest > 0, largest, 1.0)
        return found.squares(cotangent / scale[:, None]) * jnp.square(
            scale.astype(float)
        )

    return found._replace(squares=squares)


def _of_dense_layers(network, inputs):
    every = layers(network.params)

    def forward(shifts):
        x, arriving = inputs, []
        for index, (layer, shift) in enumerate(zip(every, shifts, strict=True)):
            arriving.append(jax.nn.relu(x) if index else x)
            x = arriving[-1] @ layer["kernel"] + shift
            if "bias" in layer:
                x = x + layer["bias"][None]
        return x, arriving

    units = [w["kernel"].shape[1] for w in every]
    shifts = [jnp.zeros((inputs.shape[0], n), jnp.float32) for n in units]
    logits, coming_back, arriving = jax.vjp(forward, shifts, has_aux=True)
    sizes = [jnp.sum(jnp.square(a), axis=1).astype(float) for a in arriving]

    def squares(cotangent):
        (deltas,) = coming_back(cotangent)
        return sum(
            size * jnp.sum(jnp.square(delta), axis=1).astype(float)
            for size, delta in zip(sizes, deltas, strict=True)
        )

    def total(cotangent):
        (deltas,) = coming_back(cotangent)
        pairs = zip(arriving, deltas, strict=True)
        return {f"{n}/kernel": a.T @ delta for n, (a, delta) in enumerate(pairs)}

    return Pullback(logits, squares, total)


def _of_any_layers(network, inputs):
    kernels = kernels_of(network.params)

    def forward(kernels):
        return logits_at(network, kernels, inputs)

    def square(example):
        one, cotangent = jax.tree.map(lambda leaf: leaf[None], example)
        _, coming_back = jax.vjp(lambda k: logits_at(network, k, one), kernels)
        leaves = jax.tree.leaves(coming_back(cotangent))
        return sum(jnp.sum(jnp.square(leaf)).astype(float) for leaf in leaves)

    def squares(cotangent):
        return jax.lax.map(square, (inputs, cotangent), batch_size=_AT_ONCE)

    logits, coming_back = jax.vjp(forward, kernels)
    return Pullback(logits, squares, lambda cotangent: coming_back(cotangent)[0])
