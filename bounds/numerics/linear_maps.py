"""The layers of a network as linear maps A `[in, out]` whose norms can be taken.

A `Matrix` is there in full; a convolution is `Unrolled`: the matrix `[H W in, H' W' out]` that
it is as a map of images, which is never built. What bounds ask of its entries are sums of
powers over its columns and rows, and those are the convolution of an image of ones with the
powers of the kernel.

FOLDED means that biases are weights of a constant input 1: A becomes [[A, 0], [b, 1]] (the last
layer without the extra column), x becomes (x, 1), and the network computes the same.
"""

import dataclasses
import functools
from typing import Any

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp

from bounds.network import Unavailable
from bounds.numerics.convolution import (
    circular_norm,
    folded_norm,
    zero_padded_norm,
)
from bounds.numerics.enclosure import Enclosure
from bounds.numerics.spectral_norm import spectral_norm
from nets.graph import graph_of
from nets.kernels import layers, weight_matrices
from nets.operators import Convolution, operators

# Weights are float32, and a device may read a subnormal one as zero: twice in W - Z.
SUBNORMAL = 2 * float(jnp.finfo(jnp.float32).tiny)


_ROWS = 64  # that are looked at together: those of a thousand columns stay in a cache


def _power_sums(entries):
    """Sums of |A_ij|^p of `[in, out]`: (over columns, p = 1, 2, 3; over rows, p = 1, 2).

    One pass over a large matrix; what nobody asks for is not computed.
    """

    def of(block):
        sizes = jnp.abs(block)
        squares = jnp.square(block)
        powers = {1: sizes, 2: squares, 3: sizes * squares}
        return (
            {p: jnp.sum(powers[p], axis=0) for p in (1, 2, 3)},
            {p: jnp.sum(powers[p], axis=1) for p in (1, 2)},
        )

    rows, columns = entries.shape
    whole = rows // _ROWS
    if whole < 4:
        return of(entries)

    def visit(i, carry):
        start = i * _ROWS
        new = of(jax.lax.dynamic_slice_in_dim(entries, start, _ROWS))
        by_column, by_row = carry
        return jax.tree.map(jnp.add, by_column, new[0]), jax.tree.map(
            lambda old, part: jax.lax.dynamic_update_slice_in_dim(old, part, start, 0),
            by_row, new[1],
        )  # fmt: skip

    begin = (
        dict.fromkeys((1, 2, 3), jnp.zeros(columns, entries.dtype)),
        dict.fromkeys((1, 2), jnp.zeros(whole * _ROWS, entries.dtype)),
    )
    by_column, by_row = jax.lax.fori_loop(0, whole, visit, begin)
    if rows > whole * _ROWS:
        rest = of(entries[whole * _ROWS :])
        by_column = jax.tree.map(jnp.add, by_column, rest[0])
        by_row = jax.tree.map(lambda *parts: jnp.concatenate(parts), by_row, rest[1])
    return by_column, by_row


@dataclasses.dataclass(frozen=True)
class Matrix:
    """Entries `[in, out]`; it lives within one trace.

    Attributes:
      entries: of the map.
    """

    entries: chex.Array

    @property
    def shape(self) -> tuple[int, int]:
        """(in, out)."""
        return self.entries.shape

    @functools.cached_property
    def _sums(self):
        return _power_sums(self.entries)

    def column_sums(self, p: int) -> jax.Array:
        """sum_i |A_ij|^p for every column j, p = 1, 2, 3: `[out]`."""
        return self._sums[0][p]

    def row_sums(self, p: int) -> jax.Array:
        """sum_j |A_ij|^p for every row i, p = 1, 2: `[in]`."""
        return self._sums[1][p]


@dataclasses.dataclass(frozen=True)
class Unrolled:
    """A convolution with a kernel `[kh, kw, in, out]`; folded if it has a bias `[out]`.

    Attributes:
      map: how the kernel meets an image.
      kernel, bias: their entries, or differences of two layers' entries.
      constant: the entry that passes the constant on: 1, or 0 in a difference.
    """

    map: Convolution
    kernel: chex.Array
    bias: chex.Array | None = None
    constant: float = 1.0

    @property
    def shape(self) -> tuple[int, int]:
        """(in, out)."""
        height, width = self.map.image
        ones = jax.ShapeDtypeStruct(
            (height, width, self.kernel.shape[2]), self.kernel.dtype
        )
        out = jax.eval_shape(self.map.apply, self.kernel, ones)
        folded = 0 if self.bias is None else 1
        return ones.size + folded, out.size + folded

    def _power(self, p):
        return lambda image: self.map.apply(jnp.abs(self.kernel) ** p, image)

    def _image(self):
        return jnp.ones((*self.map.image, self.kernel.shape[2]), self.kernel.dtype)

    def _folded_in(self, image, p):
        """An image of outputs with the bias's part and the constant's, as one vector."""
        if self.bias is None:
            return image.reshape(-1)
        image = image + jnp.broadcast_to(jnp.abs(self.bias) ** p, image.shape)
        return jnp.append(image.reshape(-1), self.constant)

    def column_sums(self, p: float) -> jax.Array:
        """sum_i |A_ij|^p for every column j: `[out]`."""
        return self._folded_in(self._power(p)(self._image()), p)

    def row_sums(self, p: float) -> jax.Array:
        """sum_j |A_ij|^p for every row i: `[in]`."""
        ones = jnp.ones_like(self._power(p)(self._image()))
        rows = jax.linear_transpose(self._power(p), self._image())(ones)[0].reshape(-1)
        if self.bias is None:
            return rows
        bias = jnp.broadcast_to(jnp.abs(self.bias) ** p, ones.shape)
        return jnp.append(rows, jnp.sum(bias) + self.constant)

    def spectral_norm(self) -> Enclosure:
        """Of A, its bias folded in if it has one."""
        if self.bias is None and self.kernel.shape[:2] == (1, 1):
            # Zeros around the image meet no weight, and a position that counts meets all.
            return spectral_norm(self.kernel[0, 0], entry_error=SUBNORMAL)
        if self.bias is None:
            return zero_padded_norm(self.kernel, self.map)
        return folded_norm(self.kernel, self.bias, self.constant, self.map)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Circular(Matrix):
    """A kernel `[kh * kw * in, out]` whose spectral norm is its circular convolution's."""

    kernel: chex.Array
    image: tuple[int, int]

    def spectral_norm(self) -> Enclosure:
        """Of the circular convolution."""
        return circular_norm(self.kernel, self.image)


def has_biases(params: chex.ArrayTree) -> bool:
    """Whether some layer has a bias."""
    return any("bias" in layer for layer in layers(params))


def plain_params(params: chex.ArrayTree) -> dict[str, dict[str, jax.Array]]:
    """`{"Layer_0": {"kernel", "bias"}, ...}` in the widest float there is, weights in one part."""
    found = {}
    for place, (w, layer) in enumerate(
        zip(weight_matrices(params), layers(params), strict=True)
    ):
        arrays = {"kernel": w} | {n: b for n, b in layer.items() if n == "bias"}
        found[f"Layer_{place}"] = {n: a.astype(float) for n, a in arrays.items()}
    return found


def _wide(params, reference):
    """(kernel, bias) of each layer, minus a reference's, in the widest float there is.

    Biases that are missing are zeros.
    """

    def entries(of):
        biases = [layer.get("bias") for layer in layers(of)]
        return [
            (
                w.astype(float),
                jnp.zeros(w.shape[-1]) if b is None else b.astype(float),
            )
            for w, b in zip(weight_matrices(of), biases, strict=True)
        ]

    if reference is None:
        return entries(params)
    pairs = zip(entries(params), entries(reference), strict=True)
    return [(w - z, b - c) for (w, b), (z, c) in pairs]


def as_operators(
    model: nn.Module, params: chex.ArrayTree, reference: chex.ArrayTree | None = None
) -> list[Any]:
    """The layers as the maps they are, biases left out: `Matrix` or `Unrolled` each."""
    found = zip(operators(model, params), _wide(params, reference), strict=True)
    return [
        Unrolled(*op.plain(kernel))
        if isinstance(op, Convolution)
        else Matrix(op.matrix(kernel))
        for op, (kernel, _) in found
    ]


def as_folded(
    model: nn.Module, params: chex.ArrayTree, reference: chex.ArrayTree | None = None
) -> list[Any]:
    """The layers with their biases folded in; as they are if there are none.

    Raises:
      Unavailable: the network is no chain of layers.
    """
    if reason := graph_of(model, params).no_chain:
        raise Unavailable(reason)
    if not has_biases(params):
        return as_operators(model, params, reference)
    constant = 1.0 if reference is None else 0.0
    maps, found = operators(model, params), []
    for index, (op, (kernel, bias)) in enumerate(
        zip(maps, _wide(params, reference), strict=True)
    ):
        if isinstance(op, Convolution):
            found.append(Unrolled(*op.plain(kernel), bias, constant))
            continue
        matrix = jnp.concatenate([op.matrix(kernel), bias[None]])
        if index + 1 < len(maps):
            unit = jnp.zeros((matrix.shape[0], 1)).at[-1].set(constant)
            matrix = jnp.concatenate([matrix, unit], axis=1)
        found.append(Matrix(matrix))
    return found


def as_kernels(
    model: nn.Module, params: chex.ArrayTree, reference: chex.ArrayTree | None = None
) -> list[Any]:
    """The kernels as matrices `[kh * kw * in, out]`, as measures of 'capacity' take them."""
    del model
    found = [kernel for kernel, _ in _wide(params, reference)]
    return [Matrix(kernel.reshape(-1, kernel.shape[-1])) for kernel in found]


def as_circular(
    model: nn.Module, params: chex.ArrayTree, reference: chex.ArrayTree | None = None
) -> list[Any]:
    """The same, but for the spectral norm: that of the circular convolution."""
    found = zip(operators(model, params), _wide(params, reference), strict=True)
    return [
        Circular(
            kernel.reshape(-1, kernel.shape[-1]),
            kernel=op.plain(kernel)[1],
            image=op.image,
        )
        if isinstance(op, Convolution)
        else Matrix(kernel)
        for op, (kernel, _) in found
    ]
