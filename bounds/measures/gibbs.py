"""The groups `gibbs` and `gibbs_layers`: Gaussian posteriors around a trained network, under noise.

Around a trained network: N(w, sigma_l^2 I) in layer l, biases included, with the prior of the
same deviations around the initial weights. What a deviation may be is fixed before the data:
one of 40 for all layers, or for each layer one of all 2^(k/2), whose shares of the failure
probability sum to 1. A first look, under noise of its own, says which few of them are worth
being measured; the errors reported are counted under fresh noise.
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
from bounds.passes import NOISY, Counts, Sizes
from nets.kernels import layers


@struct.dataclass
class Gibbs:
    """Gaussian posteriors Q_1..Q_J whose weights are drawn afresh for every prediction.

    With probability >= 1 - d over the noise, the training error of every Q_j is at most
    kl^-1(fill * errors[j], ln(J/d)/draws) / fill.

    Attributes:
      kl: `[J]`, KL(Q_j || P_j), nats.
      prices: `[J]`, ln of 1 over the share of the failure probability that P_j has.
      errors: `[J]`, training error, a mean over draws of the noise.
      draws: `[]`, how many independent variables in [0, 1] it is a mean of.
      fill: `[]`, in (0, 1]: their mean over the error.
      holdout_errors: `[J]`, held-out error, a mean as well; not numbers without such examples.
    """

    kl: chex.Array
    prices: chex.Array
    errors: chex.Array
    draws: chex.Array
    fill: chex.Array
    holdout_errors: chex.Array


LEVELS = 40  # of the noise: 2, 2^(1/2), 1, ... 2^-18.5
KEPT = 4  # of them, that are measured
FIRST_LOOK = 512  # examples
EXAMPLES = 8192  # at least, of each that is measured
_STEPS = 20  # of power iterations: they choose, they prove nothing


def _distances(network):
    """||W_l - Z_l||^2, biases included: `[L]`, in the widest float there is."""

    def squared(layer, other):
        moved = [layer[n].astype(float) - other[n].astype(float) for n in layer]
        return sum(jnp.sum(jnp.square(one)) for one in moved)

    pairs = zip(layers(network.params), layers(network.init), strict=True)
    return jnp.stack([squared(*pair) for pair in pairs])


def _profile(network, distances):
    """How the deviations of layers should relate to one another, `[L]`.

    Noise of deviation sigma_l moves outputs by about sigma_l nu_l / s_l of their size, nu_l =
    sqrt(in) + sqrt(out), s_l the spectral norm, and costs D_l^2 / (2 sigma_l^2): for a given sum
    of squared movements the cost is least at sigma_l^2 proportional to D_l s_l / nu_l.
    """

    def log_of(layer, distance):
        matrix = layer["kernel"].reshape(-1, layer["kernel"].shape[-1]).astype(float)

        def iterate(_, v):
            v = (v @ matrix) @ matrix.T
            return v / jnp.maximum(jnp.linalg.norm(v), 1e-30)

        v = jnp.full(matrix.shape[0], matrix.shape[0] ** -0.5)
        v = jax.lax.fori_loop(
            0, _STEPS, iterate, v + 0.01 * jnp.sin(jnp.arange(v.size))
        )
        spread = math.sqrt(matrix.shape[0]) + math.sqrt(matrix.shape[1])
        size = jnp.linalg.norm(v @ matrix) / spread
        return (arithmetic.log(size) + arithmetic.log(distance) / 2) / 2

    pairs = zip(layers(network.params), distances, strict=True)
    logs = jnp.clip(jnp.stack([log_of(*pair) for pair in pairs]), -20.0, 20.0)
    return jnp.exp(logs - jnp.mean(logs))


def _candidates(network, distances):
    """Deviations `[2, LEVELS, L]` and prices `[2, LEVELS]`: of one for all layers, of each."""
    base = 2.0 ** (1 - jnp.arange(LEVELS) / 2)
    depth = distances.shape[0]
    same = jnp.tile(base[:, None], (1, depth))
    wanted = base[:, None] * _profile(network, distances)[None]
    k = jnp.round(2 * jnp.log2(wanted))
    own = -jnp.sum(arithmetic.log_grid_weight(k), axis=1)
    prices = jnp.stack([jnp.full(LEVELS, math.log(LEVELS)), own])
    return jnp.stack([same, 2.0 ** (k / 2)]), prices


def _best(errors, complexity):
    """The `KEPT` of several candidates whose bounds look least, in the order of candidates."""
    values = jax.vmap(arithmetic.kl_inverse)(errors, complexity)
    # Those that say nothing are told apart by a form that does not saturate.
    values = jnp.where(values < 1, values, 1 + errors + jnp.sqrt(complexity / 2))
    return jnp.sort(jnp.argsort(values)[:KEPT])


def gibbs(network: Network) -> dict[str, Any]:
    """The groups `gibbs` and `gibbs_layers`, which share the passes."""
    distances = _distances(network)
    levels, prices = _candidates(network, distances)
    kl = jnp.sum(distances[None, None] / (2 * jnp.square(levels)), axis=2)
    found = noisy.isotropic(network, with_biases=True)
    m = network.sample.size.astype(float)
    complexity = (kl + prices + jnp.log(40 * jnp.sqrt(m))) / m
    every = levels.reshape(2 * LEVELS, -1)
    kinds = jnp.asarray([[0], [LEVELS]])

    # At all levels, then at those that are kept: both looks share one body, which takes long to compile.
    def look(places, one):
        number, examples, count = one
        its_errors, draws, fill = noisy.errors(
            found,
            every[places],
            network.sample,
            jax.random.key(number),
            examples,
            count,
        )
        kept = jax.vmap(_best)(its_errors.reshape(2, LEVELS), complexity) + kinds
        places = places.at[: 2 * KEPT].set(kept.ravel())
        return places, (its_errors[: 2 * KEPT], draws, fill, kept)

    looks = [(1, FIRST_LOOK, 2 * LEVELS), (2, EXAMPLES, 2 * KEPT)]
    _, (counted, draws, fill, kept) = jax.lax.scan(
        look, jnp.arange(2 * LEVELS), tuple(jnp.asarray(looks, jnp.int32).T)
    )
    counted, draws, fill, kept = counted[1], draws[1], fill[1], kept[0]
    held_out = jnp.full(2 * KEPT, jnp.nan)
    if network.holdout is not None:
        held_out, _, _ = noisy.errors(
            found, every[kept.ravel()], network.holdout, jax.random.key(3), EXAMPLES
        )
    kl, prices = kl.ravel()[kept], prices.ravel()[kept]

    def group(index):
        return Gibbs(
            kl=kl[index],
            prices=prices[index],
            errors=counted.reshape(2, KEPT)[index],
            draws=draws,
            fill=fill,
            holdout_errors=held_out.reshape(2, KEPT)[index],
        )

    return {"gibbs": group(0), "gibbs_layers": group(1)}


def _passes(of: Sizes) -> Counts:
    """Of two kinds of posteriors: a first look at all levels, then at those that are kept."""
    train, held_out = max(of.train, 1), max(of.held_out, 1)
    first = 2 * LEVELS * math.ceil(FIRST_LOOK / train) * of.blocks()
    then = 2 * KEPT * math.ceil(EXAMPLES / train) * of.blocks()
    held = 2 * KEPT * math.ceil(EXAMPLES / held_out) * of.held_out_blocks
    return {NOISY: first + then + held}


MEASURES = (
    Measure.several({"gibbs": Gibbs, "gibbs_layers": Gibbs}, gibbs, ("init",), _passes),
)
