"""Training on images that are moved a little, anew in every step."""

import dataclasses
from collections.abc import Callable
from typing import Any

import chex
import jax
import jax.numpy as jnp

from nets import losses
from nets.training import logits_of


def shifted(
    key: chex.PRNGKey, images: jax.Array, image: tuple[int, int, int], most: int
) -> jax.Array:
    """Flat images `[N, H * W * channels]`, each moved by up to `most` pixels; zeros come in.

    Args:
      key: typed key.
      images: `[N, H * W * channels]`.
      image: height, width, channels.
      most: pixels along height and along width, either way.
    """
    moves = jax.random.randint(key, (images.shape[0], 2), 0, 2 * most + 1)
    wide = [(0, 0), (most, most), (most, most), (0, 0)]
    padded = jnp.pad(images.reshape(-1, *image), wide)

    def moved(one, by):
        return jax.lax.dynamic_slice(one, (by[0], by[1], 0), image)

    return jax.vmap(moved)(padded, moves).reshape(images.shape)


@dataclasses.dataclass(frozen=True)
class KnownLoss:
    """The `objective` of a `training.Plan`: the mean softmax loss where there is a label.

    That is where it is not negative: where there are none it is 0, and so is its gradient.
    """

    def __call__(
        self,
        model: Any,
        params: chex.ArrayTree,
        inputs: jax.Array,
        labels: jax.Array,
        size: jax.Array,
        key: chex.PRNGKey,
    ) -> jax.Array:
        """As `training.Plan.objective` has it: `[]`."""
        del size, key
        logits, counts = logits_of(model, params, inputs), labels >= 0
        values = jax.vmap(losses.LOSSES["softmax"])(logits, jnp.maximum(labels, 0))
        return jnp.sum(jnp.where(counts, values, 0.0)) / jnp.maximum(jnp.sum(counts), 1)


@dataclasses.dataclass(frozen=True)
class Shifted:
    """The `objective` of a `training.Plan`: another one, of `shifted` images.

    Attributes:
      objective: the other one.
      image: height, width, channels.
      most: pixels; 0: inputs of any kind, as they are.
    """

    objective: Callable[..., jax.Array]
    image: tuple[int, int, int] | None
    most: int

    def __call__(
        self,
        model: Any,
        params: chex.ArrayTree,
        inputs: jax.Array,
        labels: jax.Array,
        size: jax.Array,
        key: chex.PRNGKey,
    ) -> jax.Array:
        """As `training.Plan.objective` has it: `[]`."""
        if self.most:
            own, key = jax.random.split(key)
            inputs = shifted(own, inputs, self.image, self.most)
        return self.objective(model, params, inputs, labels, size, key)
