"""The groups `noise`, `magnitude_noise` and `magnitude_ratios`: how much noise a network bears.

Sought is the level at which the mean training accuracy, over draws of the noise, falls by 0.1.
All levels are under the same draws. The bracket is quartered, and of the three levels between as
many blocks of examples are seen as it takes to tell each drop from 0.1, four standard errors
apart, or to a standard error of 0.01. The two ends of the last bracket, a third of an octave wide,
are seen until the standard errors of their drops are below 0.005, half of the tolerance of 0.01 (or
for 512 blocks at most), and the level is put between them, or a little beside, as a power of the
drop.
"""

import math
from typing import Any

import chex
import jax
import jax.numpy as jnp
from flax import struct

from bounds import arithmetic
from bounds.measures import noisy
from bounds.network import Measure, Network
from bounds.passes import FORWARD, NOISY, Counts, Sizes
from nets.kernels import layers, weight_matrices
from nets.sample import BLOCK, block_of, blocks_of
from nets.training import logits_of


@struct.dataclass
class NoiseLevel:
    """The noise that a network bears: training accuracy falls by 0.1, as a mean over draws.

    Attributes:
      level: `[]`; the largest that is looked at where `is_capped`, for whatever reason.
      drop: `[]`, in accuracy, as counted near that level.
      standard_error: `[]`, of the drop.
      log_standard_error: `[]`, of ln(level): that of the drop over the drop's slope there, which
        the ends of the last bracket tell to about a third; not a number where `is_capped`, or
        where the drops at these ends are within two standard errors of each other.
      draws: `[]`, blocks of examples, each under noise of its own, that the drop is a mean over.
      is_capped: `[]`, whether there is no such level among those that are looked at: the network bears
        the largest, does not bear the least, or errs on more than 0.9 of the examples as it is.
    """

    level: chex.Array
    drop: chex.Array
    standard_error: chex.Array
    log_standard_error: chex.Array
    draws: chex.Array
    is_capped: chex.Array


@struct.dataclass
class MagnitudeRatios:
    """How far single weights went beside what they bear in magnitude-aware noise.

    Sums over all weights, biases left out, of ln of (e^2 + (s^2 + 1) n^2 / P) over
    (e^2 + s^2 (w_i - w_0i)^2), s the level of the noise, P how many weights there are,
    e = 1e-3.

    Attributes:
      from_init: `[]`, with n = ||w - w_0||_2.
      from_origin: `[]`, with n = ||w||_2.
      slope_from_init: `[]`, the derivative of `from_init` in ln(s).
      slope_from_origin: `[]`, that of `from_origin`.
    """

    from_init: chex.Array
    from_origin: chex.Array
    slope_from_init: chex.Array
    slope_from_origin: chex.Array


DROP = 0.1
TOLERANCE = 0.01  # of the drop: two standard errors
LEAST, LARGEST = -20.0, 1.0  # log2 of the levels looked at
_APART = 4.0  # standard errors between a drop and 0.1 that tell them apart
_FIRST_BLOCKS = 4  # before a standard error is believed
_MOST_BLOCKS = 512
_WIDTH = 0.4  # octaves: the last bracket's, at most
# Each is a quarter of the one before.
_BRACKETINGS = math.ceil(math.log((LARGEST - LEAST) / _WIDTH, 4))


def _wrong_without_noise(network):
    """Errors of each block of the training set, `[blocks]`."""
    sample = network.sample

    def of_block(index):
        block = block_of(sample, index)
        logits = logits_of(network.model, network.params, block.inputs)
        return noisy.lost(logits, block.labels, block.known)

    with jax.default_matmul_precision("highest"):
        return jax.lax.map(of_block, jnp.arange(sample.labels.shape[0] // BLOCK))


def _drops(found, levels, count, network, clean, is_enough):
    """Blocks seen `[]`; drops in accuracy and their standard errors, `[S]` each.

    Args:
      found: a `noisy.Noisy`.
      levels: `[S]`, log2.
      count: `[]`, how many of them are looked at, from the first.
      network: a `Network`.
      clean: `[blocks]`, errors without noise.
      is_enough: (drops, standard errors) -> whether to see no more blocks.
    """
    sample, depth = network.sample, len(layers(network.params))
    blocks = blocks_of(sample)
    scales = jnp.tile(jnp.exp2(levels)[:, None], (1, depth))

    def see(carry):
        seen, sums, _, _ = carry
        block = seen % blocks
        key = jax.random.fold_in(jax.random.key(0), seen)
        lost = noisy.wrong(found, scales, sample, block, key, count) - clean[block]
        lost = lost.astype(float)
        rows = jnp.clip(sample.size - block * BLOCK, 0, BLOCK).astype(float)
        ones = jnp.ones_like(lost)
        terms = lost, lost**2, lost * rows, rows * ones, rows**2 * ones
        seen = seen + 1
        sums = tuple(total + term for total, term in zip(sums, terms, strict=True))
        total, squares, products, examples, sizes = sums
        drops = total / examples
        # Of a ratio of sums over blocks, which may differ in size.
        spread = squares - 2 * drops * products + drops**2 * sizes
        spread = jnp.maximum(spread, 0.0) * seen / jnp.maximum(seen - 1, 1)
        return seen, sums, drops, jnp.sqrt(spread) / examples

    def goes_on(carry):
        seen, _, drops, errors = carry
        enough = (seen >= _FIRST_BLOCKS) & is_enough(drops, errors)
        return (seen < _MOST_BLOCKS) & ~enough

    zeros = jnp.zeros(levels.shape)
    begin = jnp.zeros((), jnp.int32), (zeros,) * 5, zeros, zeros
    with jax.default_matmul_precision("highest"):
        seen, _, drops, errors = jax.lax.while_loop(goes_on, see, begin)
    return seen, drops, errors


def _level(found, network):
    """The level at which the accuracy falls by `DROP`: `NoiseLevel`."""

    clean = _wrong_without_noise(network)

    # Brackets and the last look share one body, which takes long to compile.
    def look(place, carry):
        low, high, *_ = carry
        is_last = place == _BRACKETINGS
        between = low + (high - low) * jnp.asarray([0.25, 0.5, 0.75])
        levels = jnp.where(is_last, jnp.stack([low, high, high]), between)
        count = jnp.where(is_last, 2, 3)

        def is_enough(drops, errors):
            is_apart = jnp.abs(drops - DROP) > _APART * errors
            is_precise = errors < jnp.where(is_last, TOLERANCE / 2, TOLERANCE)
            is_asked = jnp.arange(3) < count
            return jnp.all((is_apart & ~is_last) | is_precise | ~is_asked)

        seen, drops, errors = _drops(found, levels, count, network, clean, is_enough)
        is_borne = drops <= DROP
        narrow = jnp.max(jnp.where(is_borne, between, low))
        is_above = ~is_borne & (between > narrow)
        ends = narrow, jnp.min(jnp.where(is_above, between, high))
        low, high = (
            jnp.where(is_last, old, new)
            for old, new in zip((low, high), ends, strict=True)
        )
        return low, high, seen, drops, errors

    begin = (
        jnp.asarray(LEAST), jnp.asarray(LARGEST), jnp.zeros((), jnp.int32),
        jnp.zeros(3), jnp.zeros(3),
    )  # fmt: skip
    low, high, seen, drops, errors = jax.lax.fori_loop(0, _BRACKETINGS + 1, look, begin)
    drops, errors = drops[:2], errors[:2]
    logs = jnp.log(jnp.maximum(drops, DROP / 100))
    slope = jnp.maximum(logs[1] - logs[0], 1e-3) / (high - low)
    # The bracket may have been a little off: half its width beyond either end.
    step = (math.log(DROP) - logs[0]) / slope
    width = high - low
    level = low + jnp.clip(step, -width / 2, 1.5 * width)
    # A network that is no better than noise as it is has nothing to lose.
    is_hopeless = jnp.sum(clean) > (1 - DROP) * network.sample.size
    is_sensitive = (low == LEAST) & (drops[0] > DROP)
    is_capped = (level >= LARGEST) | is_sensitive | is_hopeless
    known = drops[1] - drops[0] > 2 * jnp.sqrt(jnp.sum(jnp.square(errors)))
    log_error = math.log(2) * jnp.max(errors) / (DROP * slope)
    return NoiseLevel(
        level=jnp.where(is_capped, 2.0**LARGEST, jnp.exp2(level)),
        drop=jnp.where(is_capped, drops[1], jnp.exp(logs[0] + slope * (level - low))),
        standard_error=jnp.max(errors),
        log_standard_error=jnp.where(known & ~is_capped, log_error, jnp.nan),
        draws=seen,
        is_capped=is_capped,
    )


def noise(network: Network) -> NoiseLevel:
    """Noise of one standard deviation in every weight: `NoiseLevel`."""
    return _level(noisy.isotropic(network, with_biases=False), network)


def _ratios(network, level):
    pairs = zip(
        weight_matrices(network.params), weight_matrices(network.init), strict=True
    )
    pairs = [(w.astype(float), z.astype(float)) for w, z in pairs]
    count = sum(w.size for w, _ in pairs)
    floor, square = noisy.MAGNITUDE_FLOOR**2, jnp.square(level)
    moved = [square * jnp.square(w - z) for w, z in pairs]
    below = sum(jnp.sum(arithmetic.log(floor + one)) for one in moved)
    slope_below = sum(jnp.sum(2 * one / (floor + one)) for one in moved)

    def ratios(squared_norm):
        """The sum, and its derivative in ln(level)."""
        mean = squared_norm / count
        above = floor + (square + 1) * mean
        slope = count * 2 * square * mean / above
        return count * arithmetic.log(above) - below, slope - slope_below

    from_init, slope_init = ratios(sum(jnp.sum(jnp.square(w - z)) for w, z in pairs))
    from_origin, slope_origin = ratios(sum(jnp.sum(jnp.square(w)) for w, _ in pairs))
    return MagnitudeRatios(from_init, from_origin, slope_init, slope_origin)


def magnitude_noise(network: Network) -> dict[str, Any]:
    """Noise in proportion to weights, and what it says of them: two groups."""
    found = _level(noisy.magnitude_aware(network), network)
    groups = {"magnitude_noise": found}
    if network.init is not None:
        groups["magnitude_ratios"] = _ratios(network, found.level)
    return groups


# What 9 of 10 networks stay below: blocks that brackets take, and then the last look.
_BRACKETS, _LAST = 180, 62


def _passes(of: Sizes) -> Counts:
    return {FORWARD: of.blocks(), NOISY: _BRACKETS + 2 * _LAST}


MEASURES = (
    Measure.one("noise", NoiseLevel, noise, passes=_passes),
    Measure.several(
        {"magnitude_noise": NoiseLevel, "magnitude_ratios": MagnitudeRatios},
        magnitude_noise,
        {"magnitude_ratios": ("init",)},
        _passes,
    ),
)
