"""The groups `code` and `code_from_origin`: networks near the trained one, in few bits.

What is coded is the list of all trained arrays, biases too, rounded to multiples of a
step (`bounds.numerics.coding`). The receiver knows the architecture and what `rebuild` brings
along, such as the initial weights: all of that must have been fixed before the data was
seen. All else is in the code, steps and ranges included, so that it is a description of
the decoded NETWORK. By which of the candidates, or by what other search, the sender
came to that network, the receiver need not know: the choice is free.
"""

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


def _quantised(array, candidate):
    """`(symbols, exponent)` of one array; what is not a number becomes 0."""
    step, least = candidate
    array = array.astype(float)
    scale = jnp.sqrt(jnp.mean(jnp.square(array))) if array.size else jnp.zeros(())
    exponent = jnp.round(4 * arithmetic.log(step * scale) / jnp.log(2.0))
    exponent = jnp.nan_to_num(jnp.clip(exponent, -_EXPONENTS, _EXPONENTS))
    exponent = exponent.astype(jnp.int32)
    symbols = jnp.round(array / coding.step(exponent).astype(float))
    symbols = jnp.where(jnp.abs(array) >= least * scale, symbols, 0.0)
    symbols = jnp.clip(jnp.nan_to_num(symbols), -LARGEST, LARGEST).astype(jnp.int32)
    return symbols, jnp.where(jnp.any(symbols != 0), exponent, 0)


def quantised(
    arrays: Sequence[Any], candidate: tuple[Any, Any]
) -> tuple[list[Any], list[Any]]:
    """What `coding.encode` writes of float arrays: lists of symbols and of exponents.

    Args:
      arrays: of any shapes.
      candidate: (step, least size that is kept), `[]` each, as in `CANDIDATES`.
    """
    pairs = [_quantised(array, candidate) for array in arrays]
    return [symbols for symbols, _ in pairs], [exponent for _, exponent in pairs]


def decoded(symbols: Sequence[Any], exponents: Sequence[Any]) -> list[np.ndarray]:
    """The float32 arrays that a receiver makes of what `coding.decode` reads. Exact."""
    return [
        jnp.asarray(s).astype(jnp.float32) * coding.step(k)
        for s, k in zip(symbols, exponents, strict=True)
    ]


def _counts(symbols):
    """How often each symbol from -LARGEST to LARGEST is there: `[2 LARGEST + 1]`."""
    none = jnp.zeros(2 * LARGEST + 1, jnp.int32)
    return none.at[symbols.ravel() + LARGEST].add(1)


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
        symbols, exponents = quantised(arrays, candidate)
        # Of all arrays at once: what tells a length is long to compile.
        counts = jnp.stack([_counts(s) for s in symbols])
        lengths = jax.vmap(coding.code_bits)(counts, jnp.stack(exponents))
        params = rebuild(decoded(symbols, exponents))
        error, its_holdout_error = (
            jnp.full((), jnp.nan)
            if examples is None
            else margins_of(model, params, examples).error(0.0)
            for examples in (sample, holdout)
        )
        return jnp.sum(lengths), error, its_holdout_error

    candidates = jnp.asarray(candidates, float)
    bits, errors, holdout_errors = jax.lax.map(of_candidate, candidates)
    return Code(bits=bits, errors=errors, holdout_errors=holdout_errors)


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


def _signs(index, layer, shape):
    """The random matrix M of number `index` of a layer: entries 1 and -1, float32."""
    with jax.enable_x64(False):
        key = jax.random.fold_in(jax.random.fold_in(jax.random.key(4), layer), index)
        return jax.random.rademacher(key, shape, jnp.float32)


def _projected(matrix, layer, count):
    """<M_j, W> for j < count: `[count]`."""
    products = jax.lax.map(
        lambda j: jnp.sum(_signs(j, layer, matrix.shape) * matrix), jnp.arange(count)
    )
    return products.astype(float)


def _unprojected(coefficients, layer, shape):
    """(1/k) sum_j c_j M_j."""

    def add(j, total):
        return total + coefficients[j] * _signs(j, layer, shape)

    count = coefficients.shape[0]
    return jax.lax.fori_loop(0, count, add, jnp.zeros(shape, jnp.float32)) / count


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

    def rebuild(arrays):
        pairs = enumerate(zip(initial, arrays, strict=True))
        return tree.unflatten([z + _unprojected(a, n, z.shape) for n, (z, a) in pairs])

    found, which = [], math.ceil(math.log2(len(PROJECTIONS)))
    for most in PROJECTIONS:
        arrays = [_projected(d, n, min(most, d.size)) for n, d in enumerate(moved)]
        found.append(
            coded(
                arrays,
                rebuild,
                network.model,
                network.sample,
                network.holdout,
                _PROJECTED,
            )
        )
    found = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *found)
    # The receiver must be told how many numbers there are.
    return found.replace(bits=found.bits + which)


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
