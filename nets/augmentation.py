"""Training on images that are moved a little, anew in every step."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import chex
import jax
import jax.numpy as jnp
from jax.scipy.ndimage import map_coordinates

from nets import losses
from nets.training import logits_of


@dataclasses.dataclass(frozen=True)
class Moves:
    """How far images are moved at most, drawn anew for each; zeros come in.

    Attributes:
      shift: pixels along height and along width, either way: whole ones, where nothing else moves.
      rotation: degrees about the centre, either way.
      zoom: share by which the height is made larger or smaller, and by its own draw the width.
    """

    shift: int = 0
    rotation: float = 0.0
    zoom: float = 0.0

    def __bool__(self) -> bool:
        """Whether anything moves."""
        return bool(self.shift or self.rotation or self.zoom)


def moved(
    key: chex.PRNGKey, images: jax.Array, image: tuple[int, int, int], moves: Moves
) -> jax.Array:
    """Flat images `[N, H * W * channels]`, each moved by a draw of its own.

    Args:
      key: typed key.
      images: `[N, H * W * channels]`.
      image: height, width, channels.
      moves: how far at most; each is uniform, both ways.
    """
    chex.assert_shape(images, (None, math.prod(image)))
    whole = moves.rotation == moves.zoom == 0
    move = _moved_by_pixels if whole else _moved_between_pixels
    return move(key, images.reshape(-1, *image), moves).reshape(images.shape)


def _moved_by_pixels(key, images, moves):
    most, image = moves.shift, images.shape[1:]
    places = jax.random.randint(key, (images.shape[0], 2), 0, 2 * most + 1)
    padded = jnp.pad(images, [(0, 0), (most, most), (most, most), (0, 0)])

    def cut(one, place):
        return jax.lax.dynamic_slice(one, (place[0], place[1], 0), image)

    return jax.vmap(cut)(padded, places)


def _moved_between_pixels(key, images, moves):
    """What is at a pixel is read where that pixel came from, linearly between four."""
    n, height, width, _ = images.shape
    keys = jax.random.split(key, 3)
    angles = _uniform(keys[0], (n,), jnp.deg2rad(moves.rotation))
    factors = 1 + _uniform(keys[1], (n, 2), moves.zoom)
    shifts = _uniform(keys[2], (n, 2), moves.shift)
    centre = (height - 1) / 2, (width - 1) / 2
    y, x = jnp.meshgrid(
        jnp.arange(height) - centre[0], jnp.arange(width) - centre[1], indexing="ij"
    )

    def read(one, angle, factor, shift):
        cosine, sine = jnp.cos(angle), jnp.sin(angle)
        down, right = y - shift[0], x - shift[1]
        rows = (cosine * down - sine * right) / factor[0] + centre[0]
        columns = (sine * down + cosine * right) / factor[1] + centre[1]

        def channel(pixels):
            return map_coordinates(pixels, [rows, columns], order=1)

        return jax.vmap(channel, in_axes=-1, out_axes=-1)(one)

    return jax.vmap(read)(images, angles, factors, shifts)


def _uniform(key, shape, most):
    return jax.random.uniform(key, shape, minval=-most, maxval=most)


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
class Moved:
    """The `objective` of a `training.Plan`: another one, of images that are `moved`.

    Attributes:
      objective: the other one.
      image: height, width, channels; None where inputs are none and nothing moves.
      moves: how far at most.
    """

    objective: Callable[..., jax.Array]
    image: tuple[int, int, int] | None
    moves: Moves

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
        if self.moves:
            own, key = jax.random.split(key)
            inputs = moved(own, inputs, self.image, self.moves)
        return self.objective(model, params, inputs, labels, size, key)
