"""The layers of a network as linear maps A `[in, out]` whose norms can be taken.

A `Matrix` is there in full; a convolution is `Unrolled`: the matrix `[H W in, H' W' out]` that
it is as a map of images, which is never built. What bounds ask of its entries are sums of
powers over its columns and rows, and those are the convolution of an image of ones with the
powers of the kernel.

FOLDED means that biases are weights of a constant input 1: A becomes [[A, 0], [b, 1]] (the last
layer without the extra column), x becomes (x, 1), and the network computes the same.
"""

import dataclasses
from typing import Any

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp

from bounds.numerics.convolution import (
    circular_norm,
    folded_norm,
    zero_padded_norm,
)
from bounds.numerics.enclosure import Enclosure
from nets.kernels import layers, weight_matrices
from nets.operators import Convolution, operators


@dataclasses.dataclass(frozen=True)
class Matrix:
    """Entries `[in, out]`.

    Attributes:
      entries: of the map.
      positions: rows of inputs that are averaged before they meet the weights; 1 for none.
      averaged: the first so many rows are weights divided by `positions`: 1 / `positions` is part
        of the map, and no weight.
    """

    entries: chex.Array
    positions: int = 1
    averaged: int = 0

    @property
    def shape(self) -> tuple[int, int]:
        """(in, out)."""
        return self.entries.shape

    def column_sums(self, p: float) -> jax.Array:
        """sum_i |A_ij|^p for every column j: `[out]`."""
        return jnp.sum(jnp.abs(self.entries) ** p, axis=0)

    def row_sums(self, p: float) -> jax.Array:
        """sum_j |A_ij|^p for every row i: `[in]`."""
        return jnp.sum(jnp.abs(self.entries) ** p, axis=1)

    def through(self, v: jax.Array, p: float) -> jax.Array:
        """v |A|^p: `[out]` from `[in]`."""
        return v @ jnp.abs(self.entries) ** p

    def weights_through(self, v: jax.Array, p: float) -> jax.Array:
        """`through` with the p-th power of the weights alone, not of what averages: `[out]`."""
        if self.positions > 1:
            rows = jnp.arange(self.shape[0])
            v = jnp.where(rows < self.averaged, v * self.positions ** (p - 1), v)
        return self.through(v, p)


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

    def _folded_in(self, image, p, constant=1.0):
        """An image of outputs with the bias's part and the constant's, as one vector."""
        if self.bias is None:
            return image.reshape(-1)
        image = image + jnp.broadcast_to(
            constant * jnp.abs(self.bias) ** p, image.shape
        )
        return jnp.append(image.reshape(-1), constant * self.constant)

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

    def through(self, v: jax.Array, p: float) -> jax.Array:
        """v |A|^p: `[out]` from `[in]`."""
        if self.bias is None:
            return self._folded_in(self._power(p)(v), p)
        return self._folded_in(self._power(p)(v[:-1]), p, v[-1])

    def weights_through(self, v: jax.Array, p: float) -> jax.Array:
        """The same: a convolution averages nothing."""
        return self.through(v, p)

    def spectral_norm(self) -> Enclosure:
        """Of A, its bias folded in if it has one."""
        how = self.map.image, self.map.strides
        if self.bias is None:
            return zero_padded_norm(self.kernel, *how)
        return folded_norm(self.kernel, self.bias, self.constant, *how)


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
        Unrolled(op, kernel)
        if isinstance(op, Convolution)
        else _dense(op, op.matrix(kernel))
        for op, (kernel, _) in found
    ]


def _dense(op, entries):
    """A `Dense` layer: with the bias of a folded one, rows behind those of its weights."""
    bias = entries.shape[0] % op.positions if op.positions > 1 else 0
    return Matrix(entries, op.positions, entries.shape[0] - bias)


def as_folded(
    model: nn.Module, params: chex.ArrayTree, reference: chex.ArrayTree | None = None
) -> list[Any]:
    """The layers with their biases folded in; as they are if there are none."""
    if not has_biases(params):
        return as_operators(model, params, reference)
    constant = 1.0 if reference is None else 0.0
    maps, found = operators(model, params), []
    for index, (op, (kernel, bias)) in enumerate(
        zip(maps, _wide(params, reference), strict=True)
    ):
        if isinstance(op, Convolution):
            found.append(Unrolled(op, kernel, bias, constant))
            continue
        matrix = jnp.concatenate([op.matrix(kernel), bias[None]])
        if index + 1 < len(maps):
            unit = jnp.zeros((matrix.shape[0], 1)).at[-1].set(constant)
            matrix = jnp.concatenate([matrix, unit], axis=1)
        found.append(_dense(op, matrix))
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
        Circular(kernel.reshape(-1, kernel.shape[-1]), kernel=kernel, image=op.image)
        if isinstance(op, Convolution)
        else Matrix(kernel)
        for op, (kernel, _) in found
    ]
