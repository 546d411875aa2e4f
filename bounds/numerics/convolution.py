"""Spectral norms of 2-D convolutions, as the linear maps of images that they are.

Kernels are `[kh, kw, in, out]`, images `[H, W, channels]`, and a convolution
correlates, as `jax.lax.conv_general_dilated` does: y[i] = sum_a K[a]^T x[i + a], in
each dimension alike.

Circular (Sedghi, Gupta, Long 2019): the discrete Fourier transform makes it block
diagonal. On x[i] = w^(u i) z, with w = exp(2 pi sqrt(-1) / H) and in each dimension
alike, it acts as the matrix sum_a K[a] w^(u a), so its norm is the largest norm of
these H W small matrices. Nothing is asked of the kernel's size: where kh > H, indices
wrap and the formula stands. A real kernel's matrices come in conjugate pairs: half of
them will do.

Zero padding with strides: SAME pads p = P // 2 before and P - p behind, with P =
max((H' - 1) s + kh - H, 0) and H' = ceil(H / s), and y[i] = sum_a K[a]^T x_p[s i + a],
x_p being the padded image. With a = s q + r, 0 <= r < s, this is

  y[i] = sum_q sum_r K[s q + r]^T x_p[s (i + q) + r],

a convolution without stride, whose kernel K' has k' = ceil(kh / s) taps and s times as
many input channels, one for each phase r of the image. It reads positions 0 .. H' + k'
- 2 of the phases: on a circle of H' + k' - 1 positions nothing wraps. The zero-padded
convolution is therefore a sub-matrix (its inputs are the columns where x_p may differ
from zero, its outputs the first H' rows) of the circular convolution with K' on H' + k'
- 1 positions, whose norm bounds its own. Without strides K' is K on H + kh - 1
positions; with them, the bound is better than that of the convolution of which every
s-th output is kept.

From below, ||A v|| / ||v|| for the v of a Lanczos iteration.

Rounding. Let M = sum_a |K[a]| `[in, out]`, u the unit roundoff, g(j) = j u / (1 - j u).
  1. Angles are computed from integers reduced to (-1/2, 1/2] turns, in float64: they
     err by <= 3 pi u, their cosines and sines (to four units in the last place, rounded
     once more in float32) by <= 20 u, the pair of them by <= 32 u. Cosines times kernel
     is one real sum of `taps` terms, sines times kernel another; together they err by
     <= g(taps) sqrt((sum |cos| |K|)^2 + (sum |sin| |K|)^2) <= g(taps) M (Minkowski). So
     a small matrix errs by <= g(taps + 34) ||M||_F in norm.
  2. A v is computed as one product of matrices a tap, which are added: no fast
     algorithm (Winograd, Fourier) can enter. It errs by <= g(in + taps) |A| |v|, and
     the norm of |A| is at most that of M, by the above: the matrices of |K| are
     dominated by M entry by entry.
  3. Kernels are scaled by a power of two first, and entries that would fall below the
     smallest normal number are set to zero: two more u (see `gram_iteration`), and a
     subnormal number for each entry at the end.
"""

import math

import chex
import jax
import jax.numpy as jnp
import numpy as np

from bounds.numerics import lanczos
from bounds.numerics.enclosure import Enclosure
from bounds.numerics.gram_iteration import (
    RELATIVE_WIDTH,
    gamma,
    gram_iteration,
    scale,
    to_unit_scale,
)
from nets.operators import Convolution

_LANCZOS_STEPS = 30
_ENTRIES_AT_ONCE = 2**20


def apply(
    kernel: jax.Array, x: jax.Array, strides: tuple[int, int] = (1, 1)
) -> jax.Array:
    """The SAME zero-padded convolution of one image `[H, W, in]`: `[H', W', out]`."""
    chex.assert_rank([kernel, x], [4, 3])
    return Convolution(x.shape[:2], strides).apply(kernel, x)


def _twiddles(kernel_size, image):
    """Cosines and minus sines `[frequencies, 2, taps]`: half of all frequencies."""
    (kh, kw), (height, width) = kernel_size, image
    u, v = np.arange(height)[:, None], np.arange(width // 2 + 1)[:, None]
    rows = (u * np.arange(kh) * width)[:, None, :, None]
    columns = (v * np.arange(kw) * height)[None, :, None, :]
    whole = height * width
    turns = (rows + columns) % whole
    turns = np.where(2 * turns > whole, turns - whole, turns)
    angles = (2 * np.pi * turns / whole).reshape(-1, kh * kw)
    return np.stack([np.cos(angles), -np.sin(angles)], axis=1)


def _norm(x):
    """||x||_F: as many roundings a square as the lengths of x's axes add up to."""
    total = jnp.square(x)
    for _ in range(x.ndim):
        total = jax.lax.optimization_barrier(jnp.sum(total, axis=0))
    return jnp.sqrt(total)


def _prepared(kernel):
    """The kernel near 1, its exponent, whether it is finite, and ||M||_F from above."""
    kernel = kernel.astype(jnp.promote_types(kernel.dtype, jnp.float32))
    is_finite = jnp.all(jnp.isfinite(kernel))
    kernel, exponent = to_unit_scale(jnp.where(is_finite, kernel, 0.0))
    total = _norm(jnp.sum(jnp.abs(kernel), axis=(0, 1)))
    u = float(jnp.finfo(kernel.dtype).eps) / 2
    roundings = math.prod(kernel.shape[:2]) + sum(kernel.shape[2:]) + 8
    return kernel, exponent, is_finite, total * (1 + gamma(roundings, u))


def _restored(lower, upper, kernel, exponent, is_finite):
    """The ends at the kernel's own scale, subnormal entries perhaps read as zeros."""
    info = jnp.finfo(kernel.dtype)
    taps, entries = math.prod(kernel.shape[:2]), math.prod(kernel.shape[2:])
    subnormal = 2 * taps * entries**0.5 * float(info.tiny)
    lower = scale(lower * (1 - 4 * float(info.eps)), exponent) - subnormal
    upper = scale(upper * (1 + 4 * float(info.eps)), exponent) + subnormal
    lower = jnp.minimum(lower, float(info.max))
    return Enclosure(
        lower=jnp.where(is_finite & (lower > 0), lower, 0.0),
        upper=jnp.where(is_finite & ~jnp.isnan(upper), upper, jnp.inf),
    )


def _circular(kernel, total, image, relative_width):
    """Ends of a prepared kernel's norm on a circle."""
    kh, kw, channels, out = kernel.shape
    rows = _twiddles((kh, kw), image)
    batch = min(len(rows), max(1, _ENTRIES_AT_ONCE // (2 * channels * out)))
    batches = -(-len(rows) // batch)
    batch = -(-len(rows) // batches)  # as even as can be; some frequencies come twice
    rows = np.resize(rows, (batches, batch, 2, kh * kw)).astype(kernel.dtype)
    flat = kernel.reshape(kh * kw, channels * out)

    def enclose(row):
        real, imaginary = (row @ flat).reshape(2, channels, out)
        return gram_iteration(jax.lax.complex(real, imaginary), relative_width)

    found = jax.lax.map(jax.vmap(enclose), jnp.asarray(rows))
    u = float(jnp.finfo(kernel.dtype).eps) / 2
    error = gamma(kh * kw + 36, u) * total
    return jnp.max(found.lower) - error, jnp.max(found.upper) + error


def circular_norm(
    kernel: jax.Array, image: tuple[int, int], relative_width: float = RELATIVE_WIDTH
) -> Enclosure:
    """An interval that holds the norm of the circular convolution, without strides.

    Args:
      kernel: `[kh, kw, in, out]`, real. Work is done in its own precision.
      image: (H, W).
      relative_width: as of `gram_iteration`, for the largest of the small matrices.

    Returns:
      An `Enclosure` of scalars. A kernel that is not finite has the enclosure [0, inf].
    """
    chex.assert_rank(kernel, 4)
    chex.assert_type(kernel, float)
    with jax.default_matmul_precision("highest"):
        kernel, exponent, is_finite, total = _prepared(kernel)
        lower, upper = _circular(kernel, total, image, relative_width)
        return _restored(lower, upper, kernel, exponent, is_finite)


def _same(size, window, stride):
    """Outputs along one dimension, and zeros before and behind."""
    outputs = -(-size // stride)
    zeros = max((outputs - 1) * stride + window - size, 0)
    return outputs, (zeros // 2, zeros - zeros // 2)


def _phases(kernel, strides):
    """K': the kernel of the same convolution without strides, of an image's phases."""
    kh, kw, channels, out = kernel.shape
    sh, sw = strides
    kernel = jnp.pad(kernel, ((0, -kh % sh), (0, -kw % sw), (0, 0), (0, 0)))
    rows, columns = -(-kh // sh), -(-kw // sw)
    kernel = kernel.reshape(rows, sh, columns, sw, channels, out)
    return kernel.transpose(0, 2, 1, 3, 4, 5).reshape(rows, columns, -1, out)


def _tap_by_tap(kernel, x, strides):
    """`apply`, as products of matrices: `in + taps` roundings a term."""
    (height, down), (width, across) = (
        _same(*sizes)
        for sizes in zip(x.shape[:2], kernel.shape[:2], strides, strict=True)
    )
    x = jnp.pad(x, (down, across, (0, 0)))
    y = jnp.zeros((height, width, kernel.shape[3]), x.dtype)
    for a, b in np.ndindex(kernel.shape[:2]):
        rows = slice(a, a + (height - 1) * strides[0] + 1, strides[0])
        columns = slice(b, b + (width - 1) * strides[1] + 1, strides[1])
        y += x[rows, columns] @ kernel[a, b]
    return y


def _lower_end(kernel, total, image, strides, steps):
    """||A v|| / ||v|| for a Ritz vector, rounded down."""
    shape = (*image, kernel.shape[2])
    info = jnp.finfo(kernel.dtype)
    u, tiny = float(info.eps) / 2, float(info.tiny)
    start = jax.random.normal(jax.random.key(0), (math.prod(shape),), kernel.dtype)

    def forward(x):
        return apply(kernel, x.reshape(shape), strides)

    backward = jax.linear_transpose(forward, start)
    v = lanczos.largest(
        lambda x: backward(forward(x))[0], start, min(steps, start.size)
    ).vector
    v = jnp.where(jnp.abs(v) < tiny, 0.0, v).reshape(shape)
    y = _tap_by_tap(kernel, v, strides)
    ratio = _norm(y) / jnp.maximum(_norm(v), tiny)
    ratio *= 1 - gamma(sum(y.shape) + sum(v.shape) + 16, u)
    taps = math.prod(kernel.shape[:2])
    return ratio - gamma(shape[2] + taps + 4, u) * total


def zero_padded_norm(
    kernel: jax.Array,
    image: tuple[int, int],
    strides: tuple[int, int] = (1, 1),
    relative_width: float = RELATIVE_WIDTH,
    steps: int = _LANCZOS_STEPS,
) -> Enclosure:
    """An interval that holds the norm of the SAME zero-padded convolution (`apply`).

    It is as narrow as zero padding is near to a circle and Lanczos to its limit: about
    one per cent for kernels that are small beside the image.

    Args:
      kernel: `[kh, kw, in, out]`, real. Work is done in its own precision.
      image: (H, W).
      strides: of the rows and the columns.
      relative_width: as of `gram_iteration`, for the norm on a circle.
      steps: of Lanczos, for the lower end; as many images are held.

    Returns:
      An `Enclosure` of scalars. A kernel that is not finite has the enclosure [0, inf].
    """
    chex.assert_rank(kernel, 4)
    chex.assert_type(kernel, float)
    with jax.default_matmul_precision("highest"):
        kernel, exponent, is_finite, total = _prepared(kernel)
        phases = _phases(kernel, strides)
        circle = tuple(
            _same(size, window, stride)[0] + taps - 1
            for size, window, stride, taps in zip(
                image, kernel.shape[:2], strides, phases.shape[:2], strict=True
            )
        )
        # Its M sums a part of the kernel's taps for each phase: no larger a norm.
        _, upper = _circular(phases, total, circle, relative_width)
        lower = _lower_end(kernel, total, image, strides, steps)
        return _restored(lower, upper, kernel, exponent, is_finite)
