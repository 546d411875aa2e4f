"""The group `sharpness`: how the loss rises around the weights.

Over the first `loss.EXAMPLES` training examples and over the kernels; the loss is the softmax
cross-entropy, whatever was trained on.
"""

import functools

import chex
import jax
import jax.numpy as jnp
from flax import struct

from bounds.measures.climb import highest, in_either
from bounds.measures.loss import (
    EXAMPLES,
    finite_or_inf,
    kernels_of,
    loss_at,
    size_of,
    slope_at,
)
from bounds.network import Measure, Network
from bounds.passes import FORWARD, GRADIENT, Counts, Sizes


@struct.dataclass
class Sharpness:
    """Increases of the mean softmax cross-entropy, nats, when weights (no biases) move.

    Means over draws are known to a standard error of 5 %, unless `MOST_DRAWS` came first; ascent
    was continued until twice as many steps found less than 2 % more, unless `climb.MOST_STEPS` came
    first: then the number is one that the true one is at least.

    Attributes:
      average: `[]`, the mean under Gaussian noise of standard deviation 0.05.
      average_standard_error: `[]`, of that mean over draws.
      adaptive_average: `[]`, of standard deviation 0.05 |w_i|.
      adaptive_average_standard_error: `[]`, of that mean.
      worst: `[]`, the most that ascent finds in the ball ||u||_2 <= 0.05.
      adaptive_worst: `[]`, in the box |u_i| <= 0.05 |w_i|.
      examples: `[]`, training examples that the loss is the mean over.
      draws: `[]`, of the noise, the same for both means.
      worst_steps: `[]`, of the ascent in the ball.
      adaptive_worst_steps: `[]`, in the box.
      worst_is_capped: `[]`, whether `climb.MOST_STEPS` ended it.
      adaptive_worst_is_capped: `[]`, the same in the box.
    """

    average: chex.Array
    average_standard_error: chex.Array
    adaptive_average: chex.Array
    adaptive_average_standard_error: chex.Array
    worst: chex.Array
    adaptive_worst: chex.Array
    examples: chex.Array
    draws: chex.Array
    worst_steps: chex.Array
    adaptive_worst_steps: chex.Array
    worst_is_capped: chex.Array
    adaptive_worst_is_capped: chex.Array


RHO = 0.05  # the radius, or standard deviation, of sharpness
DRAWS = 8  # at least
MOST_DRAWS = 128
PRECISE = 0.05  # a standard error at most, over the mean


def _noise(key, kernels):
    """A standard normal draw for every weight, the same whatever the default float."""
    with jax.enable_x64(False):
        return {
            name: jax.random.normal(jax.random.fold_in(key, index), w.shape)
            for index, (name, w) in enumerate(kernels.items())
        }


def sharpness(network: Network) -> Sharpness:
    """Increases of the mean softmax cross-entropy: `Sharpness`.

    On average: over draws u of independent Gaussians of standard deviation `RHO`, or `RHO` |w_i|,
    the same draws in both and for every network, `DRAWS` at a time until both means have a
    standard error of at most `PRECISE` of them. At worst: the most that an ascent finds
    (`climb.highest`), in steps of `RHO` * `STEP` along the gradient in the ball ||u||_2 <= `RHO`, or of
    `RHO` * `STEP` |w_i| along its signs in the box |u_i| <= `RHO` |w_i|.
    """
    kernels = kernels_of(network.params)
    start = slope_at(network, kernels)
    sizes = jax.tree.map(
        lambda w: RHO * jnp.stack([jnp.ones_like(w), jnp.abs(w)]), kernels
    )

    def increases(key):
        noise = _noise(key, kernels)

        def loss(scale):
            moved = jax.tree.map(lambda w, s, u: w + s * u, kernels, scale, noise)
            return loss_at(network, moved)

        return jax.lax.map(loss, sizes) - start.loss

    with jax.enable_x64(False):
        keys = jax.random.key_data(jax.random.split(jax.random.key(0), MOST_DRAWS))

    def is_vague(carry):
        count, mean, squares = carry
        error = jnp.sqrt(squares / jnp.maximum(count - 1, 1) / jnp.maximum(count, 1))
        vague = jnp.any(~(error <= PRECISE * jnp.abs(mean))) & jnp.all(
            jnp.isfinite(mean)
        )
        return (count == 0) | (vague & (count < MOST_DRAWS))

    def draw(carry):
        """`DRAWS` more: means and sums of squares of deviations (Chan, Golub & LeVeque 1983)."""
        count, mean, squares = carry
        some = jax.lax.dynamic_slice_in_dim(keys, count, DRAWS)
        some = jax.random.wrap_key_data(some)
        drawn = jax.lax.map(increases, some).astype(float)
        own = jnp.mean(drawn, axis=0)
        apart, total = own - mean, count + DRAWS
        squares += jnp.sum(jnp.square(drawn - own[None]), axis=0)
        squares += jnp.square(apart) * count * DRAWS / total
        return total, mean + apart * DRAWS / total, squares

    none = jnp.zeros((), jnp.int32), jnp.zeros((2,), float), jnp.zeros((2,), float)
    draws, mean, squares = jax.lax.while_loop(is_vague, draw, none)
    error = finite_or_inf(jnp.sqrt(squares / (draws - 1) / draws))
    mean = finite_or_inf(mean)

    def worst_of(is_ball):
        box = jax.tree.map(lambda s: s[1], sizes)
        move = functools.partial(in_either, is_ball, RHO, box)
        return highest(network, start, move)

    worst, steps, capped = jax.lax.map(worst_of, jnp.array([True, False]))
    worst = finite_or_inf(worst - start.loss)
    return Sharpness(
        average=mean[0],
        average_standard_error=error[0],
        adaptive_average=mean[1],
        adaptive_average_standard_error=error[1],
        worst=worst[0],
        adaptive_worst=worst[1],
        examples=size_of(network),
        draws=draws,
        worst_steps=steps[0],
        adaptive_worst_steps=steps[1],
        worst_is_capped=capped[0],
        adaptive_worst_is_capped=capped[1],
    )


_BALL, _BOX = 80, 160  # steps of a search that 9 of 10 networks stay below


def _passes(of: Sizes) -> Counts:
    some = of.blocks(EXAMPLES)
    return {FORWARD: 2 * MOST_DRAWS * some, GRADIENT: (1 + _BALL + _BOX) * some}


MEASURES = (Measure.one("sharpness", Sharpness, sharpness, passes=_passes),)
