"""A network under Gaussian noise in its weights, on one block of examples at a time.

In a dense network every example has its own draw of all weights: given the activations a that
enter a layer, its pre-activations are independent Gaussians, and no weight is drawn. Where there
are convolutions a block shares a draw; of a learned posterior (`posterior`) each example has its
own. Levels of noise that are compared are under the same
standard normals, which differ from block to block and from pass to pass; networks are under the
same ones, too.
"""

import dataclasses
from collections.abc import Callable

import chex
import jax
import jax.numpy as jnp

from bounds.network import Network
from bounds.numerics.alike import places_of
from nets.graph import is_dense
from nets.kernels import layers
from nets.margins import margin
from nets.sample import BLOCK, Sample, block_of, blocks_of
from nets.stochastic import GaussianNetwork, pre_activations
from nets.training import logits_of

MAGNITUDE_FLOOR = 1e-3  # standard deviation of the noise that a weight of 0 has


@dataclasses.dataclass(frozen=True)
class Noisy:
    """A network whose noise has a level.

    Attributes:
      draw: key -> the standard normals of a block.
      prepared: inputs `[block, D]` -> what all levels share.
      logits: (level `[L]`, a scale for each layer; what `prepared` returned; the normals) ->
        logits `[block, C]`.
      is_each: whether every example has its own draw.
    """

    draw: Callable
    prepared: Callable
    logits: Callable
    is_each: bool


def _dense(every, spread):
    """`Noisy` of dense layers.

    Args:
      every: the layers, dicts of arrays.
      spread: (layer, activations `[block, in]`) -> (p, q) `[block, out]` or `[block, 1]`: its
        pre-activations have variances level^2 p + q.
    """
    units = [layer["kernel"].shape[1] for layer in every]

    def affine(layer, a):
        mean = a @ layer["kernel"]
        if "bias" in layer:
            mean += layer["bias"][None]
        return mean, *spread(layer, a)

    def draw(key):
        found = {}  # layers of as many units compile once
        for count, places in places_of(units, int).items():

            def of_layer(n, count=count):
                own = jax.random.fold_in(key, n)
                return jax.random.normal(own, (BLOCK, count), jnp.float32)

            normals = jax.vmap(of_layer)(jnp.asarray(places))
            found |= dict(zip(places, normals, strict=True))
        return [found[n] for n in range(len(units))]

    def logits(level, prepared, noise):
        (mean, p, q), z = prepared, None
        for index, normals in enumerate(noise):
            if index:
                mean, p, q = affine(every[index], jax.nn.relu(z))
            z = pre_activations(mean, jnp.square(level[index]) * p + q, normals)
        return z

    return Noisy(draw, lambda x: affine(every[0], x), logits, True)


def _shared(network, deviation):
    """`Noisy` of any network: a draw of all weights for a block.

    Args:
      network: a `Network`.
      deviation: (level `[]`, name of an array, the array) -> its standard deviations.
    """
    every = layers(network.params)
    places = {
        id(leaf): (n, name)
        for n, layer in enumerate(every)
        for name, leaf in layer.items()
    }
    leaves, structure = jax.tree.flatten(network.params)

    def draw(key):
        return [
            jax.random.normal(jax.random.fold_in(key, n), leaf.shape, jnp.float32)
            for n, leaf in enumerate(leaves)
        ]

    def logits(level, x, noise):
        moved = []
        for leaf, normals in zip(leaves, noise, strict=True):
            n, name = places[id(leaf)]
            moved.append(leaf + deviation(level[n], name, leaf) * normals)
        return logits_of(network.model, jax.tree.unflatten(structure, moved), x)

    return Noisy(draw, lambda x: x, logits, False)


def isotropic(network: Network, with_biases: bool) -> Noisy:
    """Noise of standard deviation level_l in every weight of layer l.

    Args:
      network: a `Network`.
      with_biases: whether biases are noisy, too.
    """
    if not is_dense(network.model, network.params):
        return _shared(
            network,
            lambda level, name, _: jnp.where(name == "bias", with_biases, 1.0) * level,
        )

    def spread(layer, a):
        constant = 1.0 if with_biases and "bias" in layer else 0.0
        return jnp.sum(jnp.square(a), axis=1, keepdims=True) + constant, 0.0

    return _dense(layers(network.params), spread)


def magnitude_aware(network: Network) -> Noisy:
    """Noise of VARIANCE level^2 w^2 + 1e-6 in every weight w, none in the biases."""
    if not is_dense(network.model, network.params):

        def deviation(level, name, leaf):
            if name == "bias":
                return jnp.zeros_like(leaf)
            return jnp.sqrt(jnp.square(level * leaf) + MAGNITUDE_FLOOR**2)

        return _shared(network, deviation)

    def spread(layer, a):
        squares = jnp.square(a)
        floor = MAGNITUDE_FLOOR**2 * jnp.sum(squares, axis=1, keepdims=True)
        return squares @ jnp.square(layer["kernel"]), floor

    return _dense(layers(network.params), spread)


def posterior(model: GaussianNetwork, params: chex.ArrayTree) -> Noisy:
    """The noise that a `GaussianNetwork` has, whatever the level: each example its own draw."""

    def draw(key):
        return model.normals(params, key, BLOCK, is_each=True)

    def logits(_, x, normals):
        return model.noisy_logits(params, x, normals)

    return Noisy(draw, lambda x: x, logits, True)


def lost(logits: jax.Array, labels: jax.Array, known: jax.Array) -> jax.Array:
    """How many of the examples that are `known` are lost, `[]`.

    A margin that is not above 0 is lost, and so is one that is not finite (an overflow).
    """
    margins = jax.vmap(margin)(logits, labels)
    return jnp.sum(known & ~(jnp.isfinite(margins) & (margins > 0)))


def wrong(
    noisy: Noisy,
    levels: jax.Array,
    sample: Sample,
    block: jax.Array,
    key: jax.Array,
    count: jax.Array | None = None,
) -> jax.Array:
    """Errors of a block at several levels, `[S]`: how many margins are not above 0.

    Args:
      noisy: a `Noisy`.
      levels: `[S, L]`.
      sample: a `Sample`.
      block: `[]`, from 0.
      key: typed key of its normals.
      count: `[]`, how many of the levels are looked at, from the first; those after it are zeros. None: all.
    """
    rows = block_of(sample, block)
    prepared, normals = noisy.prepared(rows.inputs), noisy.draw(key)
    levels = levels.astype(jnp.float32)

    def at(level):
        return lost(noisy.logits(level, prepared, normals), rows.labels, rows.known)

    if count is None:
        return jax.lax.map(at, levels)
    none = jnp.zeros(levels.shape[0], jax.eval_shape(at, levels[0]).dtype)
    return jax.lax.fori_loop(
        0, count, lambda i, found: found.at[i].set(at(levels[i])), none
    )


def errors(
    noisy: Noisy,
    levels: jax.Array,
    sample: Sample,
    key: jax.Array,
    examples: int | jax.Array,
    count: jax.Array | None = None,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Mean errors `[S]` over so many passes that at least `examples` examples are seen.

    Args:
      noisy, levels, sample: as for `wrong`.
      key: typed key; each block of each pass has its own.
      examples: a number.
      count: as for `wrong`.

    Returns:
      `(errors, draws, fill)`: the mean of `draws` independent variables in [0, 1] is
      fill * error. An example's own draw is such a variable, and fill is 1; a block that
      shares a draw is one, and fill is how full the blocks are.
    """
    blocks, size = blocks_of(sample), sample.size
    passes = -(-examples // size)

    def visit(index, totals):
        own = jax.random.fold_in(key, index)
        found = wrong(noisy, levels, sample, index % blocks, own, count)
        return totals + found

    none = jnp.zeros(levels.shape[0], jnp.asarray(0).dtype)
    with jax.default_matmul_precision("highest"):
        totals = jax.lax.fori_loop(0, passes * blocks, visit, none)
    seen = (passes * size).astype(float)
    if noisy.is_each:
        return totals / seen, seen, jnp.ones(())
    draws = (passes * blocks).astype(float)
    return totals / seen, draws, seen / (draws * BLOCK)
