"""The groups `ascent`, `ascent_sums` and `sharpness`: what the loss does around the weights.

Everything is over the first `loss.EXAMPLES` training examples and over the kernels; the loss is
the softmax cross-entropy, whatever was trained on.
"""

import functools
from collections.abc import Callable
from typing import Any

import chex
import jax
import jax.numpy as jnp
from flax import struct

from bounds.measures.loss import (
    Slope,
    finite_or_inf,
    kernels_of,
    loss_at,
    size_of,
    slope_at,
)
from bounds.network import Measure, Network


@struct.dataclass
class Ascent:
    """The largest radii at which ascent on the loss costs at most 0.1 of training accuracy.

    Attributes:
      alpha: `[]`, of the box |u_i| <= alpha around the weights, biases left out.
      alpha_is_capped: `[]`, whether the search ended at an end of its range.
      magnitude_alpha: `[]`, of the box |u_i| <= alpha' (|w_i| + 1e-3).
      magnitude_alpha_is_capped: `[]`, the same for it.
      examples: `[]`, training examples that accuracy is counted on.
    """

    alpha: chex.Array
    alpha_is_capped: chex.Array
    magnitude_alpha: chex.Array
    magnitude_alpha_is_capped: chex.Array
    examples: chex.Array


@struct.dataclass
class AscentSums:
    """How far single weights went beside the radius that each of them bears.

    Sums over all P weights, biases left out, of ln of (e^2 + (a^2 + 4 ln(2 P/d)) n^2 / P)
    over (e^2 + a^2 (w_i - w_0i)^2), a the magnitude-aware radius, e = 1e-3, d = 0.05.

    Attributes:
      log_init: `[]`, with n = ||w - w_0||_2.
      log_orig: `[]`, with n = ||w||_2.
    """

    log_init: chex.Array
    log_orig: chex.Array


@struct.dataclass
class Sharpness:
    """Increases of the mean softmax cross-entropy, nats, when weights (no biases) move.

    Means over draws are known to a standard error of 5 %, unless `MOST_DRAWS` came first; ascent
    was continued until twice as many steps found less than 2 % more, unless `MOST_STEPS` came
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
      worst_is_capped: `[]`, whether `MOST_STEPS` ended it.
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


STEPS = 20  # of an ascent
STEP = 0.2  # of the radius
DROP = 0.1  # of accuracy that an ascent may cause
SMALLEST, LARGEST = 2.0**-20, 2.0  # radii of the search
CELLS = 256  # of the range of ln(radius), a power of two
TOLERANCE = (LARGEST / SMALLEST) ** (1 / CELLS)  # 1.06: the radius is found up to it
EPSILON = 1e-3  # the size that a weight of 0 counts as
DELTA = 0.05
RHO = 0.05  # the radius, or standard deviation, of sharpness
DRAWS = 8  # at least
MOST_DRAWS = 128
PRECISE = 0.05  # a standard error at most, over the mean
MOST_STEPS = 1280  # 20 doubled six times
SETTLED = 0.02  # more than before, at most, in twice the steps

# A step of ascent: (offsets, direction) -> offsets, both as the kernels.


def _in_box(box, offsets, direction):
    """A step along the signs, projected to |u_i| <= box_i."""

    def move(u, g, b):
        return jnp.clip(u + STEP * b * jnp.sign(g), -b, b)

    return jax.tree.map(move, offsets, direction, box)


def _norm(tree):
    """The l2 norm `[]` of all entries, whose squares may over- and underflow."""
    largest = jnp.max(
        jnp.stack([jnp.max(jnp.abs(leaf)) for leaf in jax.tree.leaves(tree)])
    )
    scale = jnp.where(largest > 0, largest, 1.0)
    squares = [jnp.sum(jnp.square(leaf / scale)) for leaf in jax.tree.leaves(tree)]
    return scale * jnp.sqrt(sum(squares))


def _in_ball(radius, offsets, direction):
    """A step along the gradient, projected to ||u||_2 <= radius."""
    norm = _norm(direction)
    step = STEP * radius / jnp.where(norm > 0, norm, 1.0)
    offsets = jax.tree.map(lambda u, g: u + step * g, offsets, direction)
    norm = _norm(offsets)
    shrink = jnp.where(norm > radius, radius / norm, 1.0)
    return jax.tree.map(lambda u: shrink * u, offsets)


def _in_either(is_ball, radius, box, *there):
    """The one or the other, so that one program may serve both."""
    found = _in_ball(radius, *there), _in_box(box, *there)
    return jax.tree.map(lambda a, b: jnp.where(is_ball, a, b), *found)


def climb(
    network: Network,
    start: Slope,
    move: Callable[..., Any],
    enough: Callable[..., Any] = jnp.inf,
) -> Any:
    """Ascent on the mean loss from the weights on, full-batch and deterministic.

    Args:
      network: a `Network`.
      start: the `Slope` at the weights.
      move: a step of at most `STEPS`.
      enough: examples whose loss ends the ascent: it stops once more are wrong.

    Returns:
      `(loss, wrong)`, the most on the way, the start included.
    """
    kernels = kernels_of(network.params)

    def goes_on(carry):
        count, _, _, _, wrong = carry
        return (count < STEPS) & (wrong <= enough)

    def step(carry):
        count, offsets, direction, loss, wrong = carry
        offsets = move(offsets, direction)
        here = slope_at(network, jax.tree.map(jnp.add, kernels, offsets))
        return (
            count + 1,
            offsets,
            here.direction,
            jnp.maximum(loss, here.loss),
            jnp.maximum(wrong, here.wrong),
        )

    offsets = jax.tree.map(jnp.zeros_like, kernels)
    carry = (0, offsets, start.direction, start.loss, start.wrong)
    *_, loss, wrong = jax.lax.while_loop(goes_on, step, carry)
    return loss, wrong


def highest(
    network: Network, start: Slope, move: Callable[..., Any]
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The most that ascent finds, which goes on until it has settled.

    Args:
      network: a `Network`.
      start: the `Slope` at the weights.
      move: as of `climb`.

    Returns:
      `(loss, steps, capped)`: the largest loss on the way, the start included; the steps taken;
      whether `MOST_STEPS` ended it.
    """
    kernels = kernels_of(network.params)

    def goes_on(carry):
        count, _, _, _, _, _, settled = carry
        return (count < MOST_STEPS) & ~settled

    def step(carry):
        count, offsets, direction, loss, before, until, _ = carry
        offsets = move(offsets, direction)
        here = slope_at(network, jax.tree.map(jnp.add, kernels, offsets))
        loss, count = jnp.maximum(loss, here.loss), count + 1
        at_end = count == until
        gained = loss - before <= SETTLED * (before - start.loss)
        settled = at_end & (until > STEPS) & gained
        settled |= ~jnp.isfinite(loss)  # nothing is above it
        before = jnp.where(at_end, loss, before)
        until = jnp.where(at_end, 2 * until, until)
        return count, offsets, here.direction, loss, before, until, settled

    offsets = jax.tree.map(jnp.zeros_like, kernels)
    none, first = jnp.zeros((), jnp.int32), jnp.full((), STEPS, jnp.int32)
    carry = (
        none,
        offsets,
        start.direction,
        start.loss,
        start.loss,
        first,
        jnp.array(False),
    )
    count, _, _, loss, _, _, settled = jax.lax.while_loop(goes_on, step, carry)
    return loss, count, ~settled


def _largest_radius(network, start, shape):
    """The largest radius whose box `radius * shape` ascent finds harmless: (radius, capped).

    Bisection of ln(radius), as if harm grew with it: the radius found was tried, and the
    one `TOLERANCE` times it too, but for the ends of the range.
    """
    allowed = start.wrong + DROP * size_of(network)

    def radius_of(cell):
        return (SMALLEST * TOLERANCE**cell).astype(jnp.float32)

    def halve(_, ends):
        low, high = ends
        middle = (low + high) // 2
        box = jax.tree.map(lambda s: radius_of(middle) * s, shape)
        move = functools.partial(_in_box, box)
        loss, wrong = climb(network, start, move, allowed)
        harmless = (wrong <= allowed) & ~jnp.isnan(loss)
        return jnp.where(harmless, middle, low), jnp.where(harmless, high, middle)

    ends = jnp.zeros((), int), jnp.full((), CELLS)
    low, high = jax.lax.fori_loop(0, CELLS.bit_length() - 1, halve, ends)
    return radius_of(low), (low == 0) | (high == CELLS)


def _sums(kernels, init, alpha):
    """The sums over the weights in (59) and (60): `AscentSums`."""
    w = jnp.concatenate([a.astype(float).reshape(-1) for a in kernels.values()])
    z = jnp.concatenate([init[n].astype(float).reshape(-1) for n in kernels])
    count = w.shape[0]
    spread = alpha**2 + 4 * jnp.log(2 * count / DELTA)
    below = jnp.sum(jnp.log(EPSILON**2 + jnp.square(alpha * (w - z))))

    def log_ratios(squared_norm):
        return count * jnp.log(EPSILON**2 + spread * squared_norm / count) - below

    return AscentSums(
        log_init=log_ratios(jnp.sum(jnp.square(w - z))),
        log_orig=log_ratios(jnp.sum(jnp.square(w))),
    )


def ascent(network: Network) -> dict[str, Any]:
    """The groups `ascent` and `ascent_sums`, which share the search.

    Ascent on the mean softmax cross-entropy: up to `STEPS` steps of `STEP` of the radius along
    the signs of the gradient, projected to the box. A radius is harmless if no iterate
    loses more than `DROP` of the accuracy.
    """
    kernels = kernels_of(network.params)
    start = slope_at(network, kernels)
    shapes = jax.tree.map(
        lambda w: jnp.stack([jnp.ones_like(w), jnp.abs(w) + EPSILON]), kernels
    )
    # Mapped, so that one program searches both.
    (alpha, magnitude_alpha), (is_capped, magnitude_is_capped) = jax.lax.map(
        functools.partial(_largest_radius, network, start), shapes
    )
    found = Ascent(
        alpha=alpha.astype(float),
        alpha_is_capped=is_capped,
        magnitude_alpha=magnitude_alpha.astype(float),
        magnitude_alpha_is_capped=magnitude_is_capped,
        examples=size_of(network),
    )
    groups = {"ascent": found}
    if network.init is not None:
        init = kernels_of(network.init)
        groups["ascent_sums"] = _sums(kernels, init, found.magnitude_alpha)
    return groups


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
    (`highest`), in steps of `RHO` * `STEP` along the gradient in the ball ||u||_2 <= `RHO`, or of
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
        move = functools.partial(_in_either, is_ball, RHO, box)
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


MEASURES = (
    Measure.several(
        {"ascent": Ascent, "ascent_sums": AscentSums},
        ascent,
        {"ascent_sums": ("init",)},
    ),
    Measure.one("sharpness", Sharpness, sharpness),
)
