"""The groups `ascent` and `ascent_sums`: how far the weights can be moved without much harm.

Over the first `loss.EXAMPLES` training examples and over the kernels; the loss is the softmax
cross-entropy, whatever was trained on.
"""

import functools
from typing import Any

import chex
import jax
import jax.numpy as jnp
from flax import struct

from bounds.measures.climb import STEPS, climb, in_box
from bounds.measures.loss import EXAMPLES, kernels_of, size_of, slope_at
from bounds.network import Measure, Network
from bounds.passes import GRADIENT, Counts, Sizes


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


DROP = 0.1  # of accuracy that an ascent may cause
SMALLEST, LARGEST = 2.0**-20, 2.0  # radii of the search
CELLS = 256  # of the range of ln(radius), a power of two
TOLERANCE = (LARGEST / SMALLEST) ** (1 / CELLS)  # 1.06: the radius is found up to it
EPSILON = 1e-3  # the size that a weight of 0 counts as
DELTA = 0.05


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
        move = functools.partial(in_box, box)
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

    Ascent on the mean softmax cross-entropy: up to `climb.STEPS` steps of `climb.STEP` of the radius along
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


def _passes(of: Sizes) -> Counts:
    searches = 2 * (CELLS.bit_length() - 1) * STEPS
    return {GRADIENT: (searches + 1) * of.blocks(EXAMPLES)}


MEASURES = (
    Measure.several(
        {"ascent": Ascent, "ascent_sums": AscentSums},
        ascent,
        {"ascent_sums": ("init",)},
        _passes,
    ),
)
