"""The groups `code` and `code_from_origin`: networks near the trained one, in few bits.

What is coded is the list of all trained arrays, biases too, rounded to multiples of a
step (`bounds.numerics.coding`). The receiver knows the architecture and what `rebuild` brings
along, such as the initial weights: all of that must have been fixed before the data was
seen. All else is in the code, steps and ranges included, so that it is a description of
the decoded NETWORK. By which of the candidates, or by what other search, the sender
came to that network, the receiver need not know: the choice is free.
"""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from bounds import arithmetic
from bounds.measures.examples import margins_of
from bounds.network import Measure, Network, Unavailable
from bounds.numerics import coding
from bounds.passes import FORWARD, Counts, Sizes
from nets import subspace
from nets.graph import is_dense
from nets.kernels import layers
from nets.sample import Sample


@struct.dataclass
class Code:
    """Networks C_1..C_J near the trained one, rounded coarsely or finely, and their codes.

    Attributes:
      bits: `[J]`, c_j: the length of all that a receiver needs beyond what was fixed before
        the data was seen.
      errors: `[J]`, the training error of the decoded network. Coarse weights give outputs
        that are equal as real numbers on an example or two: rounding decides there.
      holdout_errors: `[J]`, its error on held-out examples; not numbers without them.
    """

    bits: chex.Array
    errors: chex.Array
    holdout_errors: chex.Array


LARGEST = 255  # of a symbol: larger ones are cut off
_EXPONENTS = 400  # of the steps, either way: what `coding.step` knows
# (step, least size that is kept), both in units of the root mean square of an array; from
# few bits to many. Rounding alone keeps what is larger than half of a step.
CANDIDATES = (
    (8, 0), (4, 4), (3, 3), (4, 0), (3, 0), (2, 0), (3 / 2, 0), (1, 0), (1 / 2, 0),
    (1 / 4, 0), (1 / 8, 0), (1 / 16, 0),
)  # fmt: skip


def quantised(
    arrays: Sequence[Any], candidate: tuple[Any, Any]
) -> tuple[list[Any], list[Any]]:
    """What `coding.encode` writes of float arrays: lists of symbols and of exponents.

    What is not a number becomes 0. What is told of an array as a whole is told of all at once: it is long
    to compile.

    Args:
      arrays: of any shapes.
      candidate: (step, least size that is kept), `[]` each, as in `CANDIDATES`.
    """
    step, least = candidate
    wide = [array.astype(float) for array in arrays]
    zero = jnp.zeros(())
    squares = [jnp.mean(jnp.square(a)) if a.size else zero for a in wide]
    scales = jnp.sqrt(jnp.stack(squares))
    exponents = jnp.round(4 * arithmetic.log(step * scales) / jnp.log(2.0))
    exponents = jnp.nan_to_num(jnp.clip(exponents, -_EXPONENTS, _EXPONENTS))
    exponents = exponents.astype(jnp.int32)
    found = []
    for array, unit, scale in zip(wide, coding.step(exponents), scales, strict=True):
        symbols = jnp.round(array / unit.astype(float))
        symbols = jnp.where(jnp.abs(array) >= least * scale, symbols, 0.0)
        symbols = jnp.clip(jnp.nan_to_num(symbols), -LARGEST, LARGEST)
        found.append(symbols.astype(jnp.int32))
    is_any = jnp.stack([jnp.any(symbols != 0) for symbols in found])
    return found, list(jnp.where(is_any, exponents, 0))


def decoded(symbols: Sequence[Any], exponents: Sequence[Any]) -> list[np.ndarray]:
    """The float32 arrays that a receiver makes of what `coding.decode` reads. Exact."""
    units = coding.step(jnp.stack(exponents))
    return [
        jnp.asarray(s).astype(jnp.float32) * unit
        for s, unit in zip(symbols, units, strict=True)
    ]


def _counts(symbols):
    """How often each symbol from -LARGEST to LARGEST is there: `[arrays, 2 LARGEST + 1]`."""
    width = 2 * LARGEST + 1
    places = [s.ravel() + LARGEST + n * width for n, s in enumerate(symbols)]
    none = jnp.zeros(len(symbols) * width, jnp.int32)
    return none.at[jnp.concatenate(places)].add(1).reshape(-1, width)


def coded(
    arrays: Sequence[Any],
    rebuild: Callable[[list[Any]], chex.ArrayTree],
    model: nn.Module,
    sample: Sample,
    holdout: Sample | None = None,
    candidates: Any = CANDIDATES,
) -> Code:
    """Networks whose trained arrays have short codes: `Code`.

    Args:
      arrays: the trained arrays, less what the receiver expects of them: any floats.
      rebuild: float32 arrays of the same shapes, in the same order, to parameters of `model`.
      model: a Linen module.
      sample: the training set, a `Sample`.
      holdout: examples that no choice has seen, a `Sample`, or None.
      candidates: pairs as in `CANDIDATES`.
    """

    def of_candidate(candidate):
        lengths, received = _sent(arrays, candidate)
        errors = _errors(model, rebuild(received), sample, holdout)
        return jnp.sum(lengths), *errors

    candidates = jnp.asarray(candidates, float)
    bits, errors, holdout_errors = jax.lax.map(of_candidate, candidates)
    return Code(bits=bits, errors=errors, holdout_errors=holdout_errors)


def _sent(arrays, candidate):
    """The lengths in bits of what is sent, `[arrays]`, and the arrays that a receiver makes of it."""
    symbols, exponents = quantised(arrays, candidate)
    lengths = jax.vmap(coding.code_bits)(_counts(symbols), jnp.stack(exponents))
    return lengths, decoded(symbols, exponents)


def _errors(model, params, *every):
    """Of a network on each of several samples; not a number where there is none."""
    return tuple(
        jnp.full((), jnp.nan)
        if examples is None
        else margins_of(model, params, examples).error(0.0)
        for examples in every
    )


def code(network: Network) -> Code:
    """Of the way from the initial weights, which the receiver knows: `Code`."""
    learned, tree = jax.tree.flatten(network.params)
    initial = jax.tree.leaves(network.init)
    moved = [
        w.astype(float) - z.astype(float) for w, z in zip(learned, initial, strict=True)
    ]

    def rebuild(arrays):
        return tree.unflatten([z + d for z, d in zip(initial, arrays, strict=True)])

    return coded(moved, rebuild, network.model, network.sample, network.holdout)


def code_from_origin(network: Network) -> Code:
    """Of the weights themselves, for a receiver who knows the architecture: `Code`."""
    learned, tree = jax.tree.flatten(network.params)
    return coded(
        learned, tree.unflatten, network.model, network.sample, network.holdout
    )


PROJECTIONS = (64, 512)  # numbers a layer is projected to, at most
_PROJECTED = ((1, 0), (1 / 4, 0))  # of `CANDIDATES`


def _keys(layers, count):
    """Of the random matrices of all layers, as numbers, `[layers, count, ...]`: each is used more than once."""

    def of_one(layer, index):
        key = jax.random.fold_in(jax.random.key(4), layer)
        return jax.random.key_data(jax.random.fold_in(key, index))

    with jax.enable_x64(False):
        of_layer = jax.vmap(of_one, (None, 0))
        return jax.vmap(of_layer, (0, None))(jnp.arange(layers), jnp.arange(count))


def _signs(key, shape):
    """The random matrix M of a key: entries 1 and -1, float32."""
    with jax.enable_x64(False):
        own = jax.random.wrap_key_data(key)
        return jax.random.rademacher(own, shape, jnp.float32)


def _projected(matrix, keys):
    """<M_j, W> of the matrix M_j of each key: `[keys]`."""
    products = jax.lax.map(
        lambda key: jnp.sum(_signs(key, matrix.shape) * matrix), keys
    )
    return products.astype(float)


def _unprojected(every, keys, shape):
    """(1/k) sum_j c_j M_j of several lists c of k numbers: `[lists, *shape]`."""
    most = max(c.shape[0] for c in every)
    padded = jnp.stack([jnp.pad(c, (0, most - c.shape[0])) for c in every])

    def add(j, total):
        return total + padded[:, j, None, None] * _signs(keys[j], shape)[None]

    none = jnp.zeros((len(every), *shape), jnp.float32)
    total = jax.lax.fori_loop(0, most, add, none)
    return total / jnp.asarray([c.shape[0] for c in every], jnp.float32)[:, None, None]


def code_projected(network: Network) -> Code:
    """Of random projections of the way from the initial weights: `Code`.

    Algorithm 1 of Arora, Ge, Neyshabur & Zhang (2018): a matrix W becomes (1/k) sum_j <M_j, W>
    M_j, M_j of random signs that the receiver knows, k the least of its entries' number and
    each of `PROJECTIONS`. The <M_j, W> are coded. Dense layers without biases.
    """
    every = layers(network.params)
    if not is_dense(network.model, network.params):
        raise Unavailable("speaks of chains of dense layers")
    if any("bias" in layer for layer in every):
        raise Unavailable("speaks of networks without biases")
    initial, tree = jax.tree.flatten(network.init)
    moved = [
        w.astype(jnp.float32) - z
        for w, z in zip(jax.tree.leaves(network.params), initial, strict=True)
    ]
    keys = _keys(len(moved), max(PROJECTIONS))
    # To draw the signs takes longest: once for all projections, and once for all that is sent of them.
    numbers = [_projected(d, k[: d.size]) for d, k in zip(moved, keys, strict=True)]
    sent = [c[:most] for most in PROJECTIONS for c in numbers]
    lengths, received = jax.lax.map(
        functools.partial(_sent, sent), jnp.asarray(_PROJECTED, float)
    )
    of_layers = [received[n :: len(numbers)] for n in range(len(numbers))]
    matrices = [
        z[None] + _unprojected([c for several in own for c in several], k, z.shape)
        for z, own, k in zip(initial, of_layers, keys, strict=True)
    ]
    errors, holdout_errors = jax.lax.map(
        lambda own: _errors(
            network.model, tree.unflatten(own), network.sample, network.holdout
        ),
        matrices,
    )
    bits = jnp.sum(lengths.reshape(len(_PROJECTED), len(PROJECTIONS), -1), axis=2)
    # The receiver must be told how many numbers there are.
    which = math.ceil(math.log2(len(PROJECTIONS)))
    return Code(bits.T.ravel() + which, errors, holdout_errors)


def code_subspace(network: Network) -> Code:
    """Of what a network learned in a random subspace, which the receiver knows: `Code`.

    The fixed parts of its parameters are taken to be those that were drawn before the data
    was seen, as training in `nets.subspace` leaves them.
    """
    learned = network.learned
    if not isinstance(learned.model, subspace.SubspaceNetwork):
        raise Unavailable("the network was not trained in a random subspace")
    params = learned.params
    return coded(
        subspace.cores(params),
        lambda arrays: subspace.with_cores(params, arrays),
        learned.model,
        network.sample,
        network.holdout,
    )


def _passes(of: Sizes) -> Counts:
    return {FORWARD: len(CANDIDATES) * (of.blocks() + of.held_out_blocks)}


MEASURES = (
    Measure.one("code", Code, code, ("init",), _passes),
    Measure.one("code_from_origin", Code, code_from_origin, passes=_passes),
    Measure.one("code_projected", Code, code_projected, ("init",)),
    Measure.one("code_subspace", Code, code_subspace, ("learned",)),
)
