"""Networks that learn whole numbers times a step, and what it costs to write these down.

Quantisation-aware training (in bounds: Lotfi et al. 2022). What is rounded afterwards has to be
written finely; what is rounded in every step of training learns to do with few, small numbers.
Each learned array is u times a step 2^(k/4), u rounded to whole numbers and k to one of its own.
Gradients pass both roundings as if they were not there (Bengio, Leonard & Courville 2013; for
steps Esser et al. 2020).
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp

from nets.kernels import layers

LEARNED = ("core", "kernel", "bias")  # of a subspace the core; else the kernel itself
LARGEST = 255  # of the whole numbers: larger ones are cut off
PER_OCTAVE = 4  # steps
MOST = 400  # k, either way
_BINS = 8  # whole numbers whose frequencies `soft_bits` tells apart, either way


@dataclasses.dataclass(frozen=True)
class QuantisedNetwork:
    """A network whose learned arrays are rounded while they are learned.

    Parameters: those of `of`, its learned arrays in units of their steps; beside each of these
    `exponent_<name>` `[]`, k before it is rounded.

    Attributes:
      of: the Linen module of arrays that are not rounded: a `SubspaceNetwork`, or any chain of
        layers: then all weights are learned, from where it starts.
      step: at the start, in units of the root mean square of Glorot's weights (of a subspace those
        of the core are 1).
    """

    of: nn.Module
    step: float = 1.0

    def init(self, key: chex.PRNGKey, x: jax.Array) -> dict[str, Any]:
        """The arrays of `of` at its start, in units of the first steps."""
        found = {}
        for layer, own in self.of.init(key, x)["params"].items():
            size = _glorot(own["kernel"].shape) if "kernel" in own else 1.0
            exponent = round(PER_OCTAVE * math.log2(self.step * size))
            found[layer] = dict(own)
            for name in _learned(own):
                found[layer][name] = own[name] / _step(exponent)
                found[layer][_exponent(name)] = jnp.asarray(exponent, jnp.float32)
        return {"params": found}

    def apply(self, variables: dict[str, Any], x: jax.Array) -> jax.Array:
        """Logits `[N, C]` of the rounded network for inputs `[N, D]`."""
        return self.of.apply({"params": rounded(variables["params"])}, x)


def _glorot(shape):
    """The root mean square of Glorot's entries of a kernel `[in, out]`, `[kh, kw, in, out]`."""
    *taps, inputs, units = shape
    return (2 / (math.prod(taps) * (inputs + units))) ** 0.5


def _step(exponent):
    return 2.0 ** (exponent / PER_OCTAVE)


def _straight(function, x):
    """function(x), whose derivative is taken to be 1."""
    return x + jax.lax.stop_gradient(function(x) - x)


def _learned(layer):
    return [name for name in LEARNED if name in layer]


def _exponent(name):
    return f"exponent_{name}"


def _exponents(params):
    """k of each array, in the order of `arrays`."""
    every = layers(params)
    return [layer[_exponent(name)] for layer in every for name in _learned(layer)]


def arrays(params: chex.ArrayTree) -> list[jax.Array]:
    """What is learned: of each layer its core or kernel, then its bias; the input's first."""
    return [layer[name] for layer in layers(params) for name in _learned(layer)]


def with_arrays(params: chex.ArrayTree, own: Sequence[Any]) -> chex.ArrayTree:
    """Parameters of the network that is not rounded, of these learned arrays."""
    places = {id(leaf): place for place, leaf in enumerate(arrays(params))}
    return {
        name: {
            n: own[places[id(leaf)]] if id(leaf) in places else leaf
            for n, leaf in layer.items()
            if not n.startswith(_exponent(""))
        }
        for name, layer in params.items()
    }


def rounded(params: chex.ArrayTree) -> chex.ArrayTree:
    """Parameters of the network that is not rounded, with the rounded arrays; slopes pass."""
    found = [
        _straight(jnp.round, u) * _step(_straight(jnp.round, k))
        for u, k in zip(arrays(params), _exponents(params), strict=True)
    ]
    return with_arrays(params, found)


def symbols(params: chex.ArrayTree) -> tuple[list[jax.Array], list[jax.Array]]:
    """The whole numbers of each array and k of its step, int32, in the order of `arrays`.

    What is not a number becomes 0, and what is beyond `LARGEST` or `MOST` is cut off: it is what
    these say that is certified.
    """

    def whole(array, most):
        found = jnp.clip(jnp.nan_to_num(jnp.round(array)), -most, most)
        return found.astype(jnp.int32)

    return (
        [whole(u, LARGEST) for u in arrays(params)],
        [whole(k, MOST) for k in _exponents(params)],
    )


def soft_bits(params: chex.ArrayTree) -> jax.Array:
    """About how many bits the whole numbers take, `[]`: n times the entropy of their frequencies.

    A number between two whole ones counts as a share of each, so that there is a slope.
    """
    total, places = jnp.zeros(()), jnp.arange(-_BINS, _BINS + 1)[None]
    for u in arrays(params):
        u = jnp.clip(u.ravel(), -_BINS, _BINS)
        shares = jnp.maximum(1 - jnp.abs(u[:, None] - places), 0).mean(0)
        logs = jnp.log2(jnp.where(shares > 0, shares, 1.0))
        total -= u.size * jnp.sum(shares * logs)
    return total


@dataclasses.dataclass(frozen=True)
class Priced:
    """The `objective` of a `training.Plan`: another one, and the price of the bits.

    Attributes:
      objective: the other one.
      price: of a bit, in units of ln 2 / m: at 1 a bit costs what it adds to the complexity of
        the bound.
    """

    objective: Callable[..., jax.Array]
    price: float

    def __call__(
        self,
        model: QuantisedNetwork,
        params: chex.ArrayTree,
        inputs: jax.Array,
        labels: jax.Array,
        size: jax.Array,
        key: chex.PRNGKey,
    ) -> jax.Array:
        """As `training.Plan.objective` has it: `[]`."""
        loss = self.objective(model, params, inputs, labels, size, key)
        return loss + self.price * math.log(2) / size * soft_bits(params)
