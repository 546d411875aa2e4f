"""Ascent on the loss from the learned weights, as far as a move allows.

A move is a function (offsets, direction) -> offsets, both as the kernels.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from bounds.measures.loss import Slope, kernels_of, slope_at
from bounds.network import Network

STEPS = 20  # of an ascent
STEP = 0.2  # of the radius
MOST_STEPS = 1280  # 20 doubled six times
SETTLED = 0.02  # more than before, at most, in twice the steps


def in_box(box: Any, offsets: Any, direction: Any) -> Any:
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


def in_ball(radius: float, offsets: Any, direction: Any) -> Any:
    """A step along the gradient, projected to ||u||_2 <= radius."""
    norm = _norm(direction)
    step = STEP * radius / jnp.where(norm > 0, norm, 1.0)
    offsets = jax.tree.map(lambda u, g: u + step * g, offsets, direction)
    norm = _norm(offsets)
    shrink = jnp.where(norm > radius, radius / norm, 1.0)
    return jax.tree.map(lambda u: shrink * u, offsets)


def in_either(is_ball: jax.Array, radius: float, box: Any, *there: Any) -> Any:
    """The one or the other, so that one program may serve both."""
    found = in_ball(radius, *there), in_box(box, *there)
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
