"""The least time that work can take: its operations and bytes, at rates seen on the same devices.

Operations count a multiplication and an addition as two. The rate is that of one large square product;
narrow products and factorisations never reach it, and how long they take by themselves is told by
`alone`: what calls the same routines cannot be faster.
"""

import dataclasses
import functools
import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from experiments.tools.baselines import CLASSES, FEATURES
from experiments.tools.ours import best
from nets import runs
from nets.sample import BLOCK

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

    def many(array):
        return jax.lax.fori_loop(0, _IN_A_ROW, lambda _, x: x + 1, array)

    array = jnp.zeros((count, copied), jnp.float32)
    copy = _one_of_many(runs.map_lanes(each, many), [array], each, seconds)
    narrow, wide = (Product(size, size, size, is_wide) for is_wide in (False, True))
    return Rates(
        copy=2 * 4 * count * copied / copy,
        float32=count * narrow.operations / _took(narrow, layout, seconds),
        float64=count * wide.operations / _took(wide, layout, seconds),
    )


def _one_of_many(program, arrays, layout, seconds):
    """Seconds of one of many in a row, so that starting a program does not count."""
    lanes = [jax.device_put(array, layout.sharding) for array in arrays]
    jax.block_until_ready(program(*lanes))
    found = best(lambda: jax.block_until_ready(program(*lanes)), seconds)
    return found / _IN_A_ROW


class Product(NamedTuple):
    """A product of matrices `[rows, inner]` and `[inner, columns]`.

    Attributes:
      rows, inner, columns: its shape.
      wide: whether in float64.
      share: of its operations that are needed: half of a symmetric one.
    """

    rows: int
    inner: int
    columns: int
    wide: bool = False
    share: float = 1.0

    @property
    def operations(self) -> float:
        """How many it takes."""
        return 2 * self.share * self.rows * self.inner * self.columns


class Factorisation(NamedTuple):
    """Cholesky's, of a float64 matrix `[size, size]`."""

    size: int
    wide: bool = True
    share: float = 1.0

    @property
    def operations(self) -> float:
        """How many it takes, but for lower powers of the size."""
        return self.size**3 / 3


Work = Mapping[Product | Factorisation, float]  # what is done -> how often


def at_rates(work: Work, found: Rates) -> float:
    """The least seconds of work on all devices together, at the rates of a large product."""
    return sum(
        often * one.operations / (found.float64 if one.wide else found.float32)
        for one, often in work.items()
    )


def alone(work: Work, layout: runs.Layout, seconds: float) -> float:
    """Seconds of the same products and factorisations by themselves, on all devices together.

    Args:
      work: of one network.
      layout: its devices, each of which does the work of a network of its own.
      seconds: for each kind of product.
    """
    return sum(
        often * one.share * _took(one._replace(share=1.0), layout, seconds)
        for one, often in work.items()
    ) / layout.mesh.size  # fmt: skip


@functools.cache
def _took(one, layout, seconds):
    """Of one of many in a row, on every device at once."""
    dtype = jnp.float64 if one.wide else jnp.float32
    is_product = isinstance(one, Product)

    def many(left, right):
        def visit(_, carry):
            left, seen = carry
            if is_product:
                found = jnp.matmul(left, right, precision="highest")
            else:
                found = jax.lax.linalg.cholesky(left, symmetrize_input=False)
            # Each is of what the one before has found, or one would do for all.
            left = left.at[0, 0].set(left[0, 0] + 1e-30 * found[0, 0])
            return left, seen + found[-1, -1]

        return jax.lax.fori_loop(0, _IN_A_ROW, visit, (left, jnp.zeros((), dtype)))

    with jax.enable_x64(one.wide):
        if is_product:
            left = jnp.full((one.rows, one.inner), 1 / one.inner, dtype)
            right = jnp.full((one.inner, one.columns), 1 / one.inner, dtype)
        else:
            left, right = (jnp.eye(one.size, dtype=dtype) + 1 / one.size for _ in "ab")
        # As in the engine: a lane after another on every device.
        each = runs.make_layout(list(layout.mesh.devices.flat), 1)
        program = runs.map_lanes(each, many)
        arrays = [jnp.stack([a] * each.mesh.size) for a in (left, right)]
        return _one_of_many(program, arrays, each, seconds)


def weights_of(width: int, depth: int) -> int:
    """Weights of 784-width^depth-10."""
    return FEATURES * width + (depth - 1) * width**2 + width * CLASSES


def step(width: int, depth: int, batch: int) -> Work:
    """The products of a step of one run of 784-width^depth-10: 3 a layer, 2 in the first."""
    widths = (FEATURES, *[width] * depth, CLASSES)
    found = Counter()
    for layer, (a, b) in enumerate(itertools.pairwise(widths)):
        found[Product(batch, a, b)] += 1  # forward
        found[Product(a, batch, b)] += 1  # the gradient of the weights
        if layer:
            found[Product(batch, b, a)] += 1  # the gradient of what it reads
    return found


def enclosures(shapes: Sequence[tuple[int, int]]) -> Work:
    """Of certified spectral norms of matrices, in float64.

    Half of the Gram matrix, which is symmetric, and one Cholesky factorisation.
    """
    found = Counter()
    for shape in shapes:
        large, small = max(shape), min(shape)
        half = (small + 1) / (2 * small)
        found[Product(small, large, small, True, half)] += 1
        found[Factorisation(small)] += 1
    return found


def measures(widths: Sequence[int], m: int) -> Work:
    """What the 28 measures of Jiang et al. (2020) rest on, of one network.

    Margins of m examples, in blocks as they are taken, and certified spectral norms of the weights and
    of their differences from the initial ones.

    Args:
      widths: of all layers, inputs and outputs included.
      m: examples.
    """
    shapes = list(itertools.pairwise(widths))
    found = Counter(enclosures(2 * shapes))
    for a, b in shapes:
        found[Product(BLOCK, a, b)] += m / BLOCK
    return found


def of_step(
    width: int, depth: int, batch: int, every: int, found: Rates
) -> tuple[float, str]:
    """The least seconds of a step of one run of 784-width^depth-10, and what limits it.

    Bytes: a weight is read by the forward product, read again by the
    backward one, which may update it in the same pass, and written: 3 passes. Where updates are
    deferred (`nets.deferred`) it is read twice, in the first layer once, whose inputs have no
    gradient, and every few steps read and written once more.
    Operations: 6 a weight and example, 4 in the first layer (`step`).

    Args:
      width, depth, batch: of the network and the step.
      every: steps that share one writing of the weights.
      found: the rates of the devices.
    """
    weights, first = weights_of(width, depth), FEATURES * width
    passes = 3 * weights if every == 1 else (2 + 2 / every) * weights - first
    moved = 4 * passes / found.copy
    operations = at_rates(step(width, depth, batch), found)
    return max((moved, "bytes"), (operations, "operations"))
