"""The least time that work can take: its operations and bytes, at rates seen on the same devices.

Operations count a multiplication and an addition as two.
"""

import dataclasses
import functools
import itertools
from collections.abc import Sequence

import jax
import jax.numpy as jnp

from experiments.tools.baselines import CLASSES, FEATURES
from experiments.tools.ours import best
from nets import runs

_IN_A_ROW = 16


@dataclasses.dataclass(frozen=True)
class Rates:
    """What devices do together.

    Attributes:
      copy: bytes read and written a second.
      float32: operations a second of matrix products.
      float64: the same.
    """

    copy: float
    float32: float
    float64: float


def rates(layout: runs.Layout, seconds: float, copied: int, size: int) -> Rates:
    """The rates of a layout's devices, all at work at once.

    Args:
      layout: its devices.
      seconds: for each rate.
      copied: numbers that a device copies: what fits into its caches is moved faster.
      size: rows and columns of the matrices that a device multiplies.
    """
    count = layout.mesh.size
    # Vectorised: a loop over lanes would copy each lane out and in.
    each = runs.make_layout(list(layout.mesh.devices.flat), 1, vectorized=True)

    def took(function, wide, shape):
        """Seconds of one of many in a row, so that starting a program does not count."""

        def many(array):
            return jax.lax.fori_loop(0, _IN_A_ROW, lambda _, x: function(x), array)

        with jax.enable_x64(wide):
            program = runs.map_lanes(each, many)
            dtype = jnp.float64 if wide else jnp.float32
            array = jnp.full((count, *shape), 1 / size, dtype)
            array = jax.device_put(array, each.sharding)
            call = functools.partial(program, array)
            jax.block_until_ready(call())
            found = best(lambda: jax.block_until_ready(call()), seconds)
        return found / _IN_A_ROW

    def product(matrix):  # of ones divided by their number, which it leaves as it is
        return jnp.matmul(matrix, matrix, precision="highest")

    copy = took(lambda x: x + 1, False, (copied,))
    operations = 2 * count * size**3
    return Rates(
        copy=2 * 4 * count * copied / copy,
        float32=operations / took(product, False, (size, size)),
        float64=operations / took(product, True, (size, size)),
    )


def weights_of(width: int, depth: int) -> int:
    """Weights of 784-width^depth-10."""
    return FEATURES * width + (depth - 1) * width**2 + width * CLASSES


def of_step(
    width: int, depth: int, batch: int, every: int, found: Rates
) -> tuple[float, str]:
    """The least seconds of a step of one run of 784-width^depth-10, and what limits it.

    Bytes: a weight is read by the forward product, read again by the
    backward one, which may update it in the same pass, and written: 3 passes. Where updates are
    deferred (`nets.deferred`) it is read twice, in the first layer once, whose inputs have no
    gradient, and every few steps read and written once more.
    Operations: 6 a weight and example, 4 in the first layer.

    Args:
      width, depth, batch: of the network and the step.
      every: steps that share one writing of the weights.
      found: the rates of the devices.
    """
    weights, first = weights_of(width, depth), FEATURES * width
    passes = 3 * weights if every == 1 else (2 + 2 / every) * weights - first
    moved = 4 * passes / found.copy
    operations = batch * (6 * weights - 2 * first) / found.float32
    return max((moved, "bytes"), (operations, "operations"))


def of_enclosures(shapes: Sequence[tuple[int, int]], found: Rates) -> float:
    """The least seconds of certified enclosures of matrices' spectral norms, in float64.

    Half of the Gram matrix, which is symmetric, and one Cholesky factorisation.
    """
    total = 0.0
    for shape in shapes:
        large, small = max(shape), min(shape)
        total += large * small * (small + 1) + small**3 / 3
    return total / found.float64


def of_measures(widths: Sequence[int], m: int, found: Rates) -> float:
    """The least seconds of what the 28 measures of Jiang et al. (2020) rest on, of one network.

    Margins of m examples, and certified spectral norms of the weights and of their differences from the
    initial ones.

    Args:
      widths: of all layers, inputs and outputs included.
      m: examples.
      found: the rates of the devices.
    """
    shapes = list(itertools.pairwise(widths))
    forward = 2 * m * sum(a * b for a, b in shapes)
    return forward / found.float32 + of_enclosures(2 * shapes, found)
