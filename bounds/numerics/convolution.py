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

Zero padding with strides: y[i] = sum_a K[a]^T x_p[s i + a], 0 <= i < H', x_p being the image with
any number of zeros before and behind it (`Convolution.around`). With a = s q + r, 0 <= r < s, this is

  y[i] = sum_q sum_r K[s q + r]^T x_p[s (i + q) + r],

a convolution without stride, whose kernel K' has k' = ceil(kh / s) taps and s times as
many input channels, one for each phase r of the image. It reads positions 0 .. H' + k'
- 2 of the phases: on a circle of H' + k' - 1 positions nothing wraps. The zero-padded
convolution is therefore a sub-matrix (its inputs are the columns where x_p may differ
from zero, its outputs the first H' rows) of the circular convolution with K' on H' + k'
- 1 positions, whose norm bounds its own. Without strides K' is K on H + kh - 1
positions; with them, the bound is better than that of the convolution of which every
s-th output is kept.

From below, ||A v|| / ||v|| for the v of a Lanczos iteration, which is restarted until its
residual is small: the spectra of zero-padded convolutions are crowded at the top. That ratio
is the best estimate of the norm, the circle's norm being as much larger as the boundary makes
it. Of a circular convolution it is the largest estimate of the small matrices.

Folded, with a bias b `[out]` as weights of a constant c: A (x, t) = (K * x + t b, c t), b at each
of the P outputs' positions. From below and for the estimate, the same iteration with this map;
from above, A being at most [[||K *||, 0], [sqrt(P) ||b||, c]] in norm,

  ||A||^2 <= ||K *||^2 + P ||b||^2 + c^2.

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
     dominated by M entry by entry. Folded, two more operations a term, and the norm of
     |A| is at most that of M and that of its last row, the root of P ||b||^2 + c^2, added.
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

# As many steps as vectors fit in so many entries, but no fewer and no more than those.
_LANCZOS_STEPS = (30, 100)
_LANCZOS_ENTRIES = 2**20
_LANCZOS_RESTARTS = 8  # at most
# Of A'A's eigenvalue: a singular value lies within half of it, relatively.
_LANCZOS_RESIDUAL = 1e-5
_ENTRIES_AT_ONCE = 2**20


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


def _restored(lower, upper, estimate, kernel, exponent, is_finite):
    """The norms at the kernel's own scale, subnormal entries perhaps read as zeros."""
    info = jnp.finfo(kernel.dtype)
    taps, entries = math.prod(kernel.shape[:2]), math.prod(kernel.shape[2:])
    subnormal = 2 * taps * entries**0.5 * float(info.tiny)
    lower = scale(lower * (1 - 4 * float(info.eps)), exponent) - subnormal
    upper = scale(upper * (1 + 4 * float(info.eps)), exponent) + subnormal
    estimate = scale(estimate, exponent)
    lower = jnp.minimum(lower, float(info.max))
    return Enclosure(
        lower=jnp.where(is_finite & (lower > 0), lower, 0.0),
        upper=jnp.where(is_finite & ~jnp.isnan(upper), upper, jnp.inf),
        estimate=jnp.where(is_finite & ~jnp.isnan(estimate), estimate, jnp.inf),
    )


def _circular(kernel, total, image, relative_width):
    """Ends of a prepared kernel's norm on a circle, and its estimate."""
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
    lower, upper, estimate = map(jnp.max, (found.lower, found.upper, found.estimate))
    return lower - error, upper + error, estimate


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
        norms = _circular(kernel, total, image, relative_width)
        return _restored(*norms, kernel, exponent, is_finite)


def _phases(kernel, strides):
    """K': the kernel of the same convolution without strides, of an image's phases."""
    kh, kw, channels, out = kernel.shape
    sh, sw = strides
    kernel = jnp.pad(kernel, ((0, -kh % sh), (0, -kw % sw), (0, 0), (0, 0)))
    rows, columns = -(-kh // sh), -(-kw // sw)
    kernel = kernel.reshape(rows, sh, columns, sw, channels, out)
    return kernel.transpose(0, 2, 1, 3, 4, 5).reshape(rows, columns, -1, out)


def _tap_by_tap(op, kernel, x):
    """`op.apply`, as products of matrices: `in + taps` roundings a term."""
    strides, (height, width) = op.strides, op.outputs(kernel.shape)
    x = jnp.pad(x, (*op.around(kernel.shape), (0, 0)))
    y = jnp.zeros((height, width, kernel.shape[3]), x.dtype)
    for a, b in np.ndindex(kernel.shape[:2]):
        rows = slice(a, a + (height - 1) * strides[0] + 1, strides[0])
        columns = slice(b, b + (width - 1) * strides[1] + 1, strides[1])
        y += x[rows, columns] @ kernel[a, b]
    return y


def _ritz_vector(product, start):
    """Lanczos, restarted from its vector until the residual is small."""
    fewest, most = _LANCZOS_STEPS
    steps = min(max(_LANCZOS_ENTRIES // start.size, fewest), most, start.size)

    def is_unconverged(carry):
        count, _, residual = carry
        return (residual > _LANCZOS_RESIDUAL) & (count < _LANCZOS_RESTARTS)

    def restart(carry):
        count, v, _ = carry
        found = lanczos.largest(product, v, steps)
        tiny = float(jnp.finfo(start.dtype).tiny)
        return count + 1, found.vector, found.residual / jnp.maximum(found.value, tiny)

    carry = (0, start, jnp.asarray(jnp.inf, float))
    return jax.lax.while_loop(is_unconverged, restart, carry)[1]


def _from_below(kernel, total, op, bias=None, constant=0.0):
    """||A v|| / ||v|| for a Ritz vector: rounded down, and as it is. Folded with a bias."""
    shape = (*op.image, kernel.shape[2])
    size = math.prod(shape)
    info = jnp.finfo(kernel.dtype)
    u, tiny = float(info.eps) / 2, float(info.tiny)
    folded = 0 if bias is None else 1
    start = jax.random.normal(jax.random.key(0), (size + folded,), kernel.dtype)

    def forward(x, convolve=Convolution.apply):
        y = convolve(op, kernel, x[:size].reshape(shape))
        if not folded:
            return y, jnp.zeros((), y.dtype)
        return y + jnp.broadcast_to(x[-1] * bias, y.shape), constant * x[-1]

    backward = jax.linear_transpose(forward, start)
    v = _ritz_vector(lambda x: backward(forward(x))[0], start)
    v = jnp.where(jnp.abs(v) < tiny, 0.0, v)
    y, passed_on = forward(v, _tap_by_tap)
    norm_of_v = jnp.hypot(_norm(v[:size].reshape(shape)), folded * v[-1])
    ratio = jnp.hypot(_norm(y), passed_on) / jnp.maximum(norm_of_v, tiny)
    lower = ratio * (1 - gamma(sum(y.shape) + sum(shape) + 32, u))
    taps = math.prod(kernel.shape[:2])
    return lower - gamma(shape[2] + taps + 4 + 2 * folded, u) * total, ratio


def _from_above(kernel, total, op, relative_width):
    """The norm of the prepared kernel's phases on a circle that holds the image."""
    phases = _phases(kernel, op.strides)
    sizes = zip(op.outputs(kernel.shape), phases.shape[:2], strict=True)
    circle = tuple(outputs + taps - 1 for outputs, taps in sizes)
    # Its M sums a part of the kernel's taps for each phase: no larger a norm.
    return _circular(phases, total, circle, relative_width)[1]


def zero_padded_norm(
    kernel: jax.Array, op: Convolution, relative_width: float = RELATIVE_WIDTH
) -> Enclosure:
    """An interval that holds the norm of a zero-padded convolution (`op.apply`).

    It is as narrow as zero padding is near to a circle and Lanczos to its limit: about
    one per cent for kernels that are small beside the image. The estimate is Lanczos'.

    Args:
      kernel: `[kh, kw, in, out]`, real. Work is done in its own precision.
      op: how it meets an image, without groups and dilation (`Convolution.plain`).
      relative_width: as of `gram_iteration`, for the norm on a circle.

    Returns:
      An `Enclosure` of scalars. A kernel that is not finite has the enclosure [0, inf].
    """
    chex.assert_rank(kernel, 4)
    chex.assert_type(kernel, float)
    with jax.default_matmul_precision("highest"):
        kernel, exponent, is_finite, total = _prepared(kernel)
        upper = _from_above(kernel, total, op, relative_width)
        lower, estimate = _from_below(kernel, total, op)
        return _restored(lower, upper, estimate, kernel, exponent, is_finite)


def folded_norm(
    kernel: jax.Array,
    bias: jax.Array,
    constant: float,
    op: Convolution,
    relative_width: float = RELATIVE_WIDTH,
) -> Enclosure:
    """An interval that holds the norm of a zero-padded convolution with its bias folded in.

    Of (x, t) -> (K * x + t b, c t), as a map of one vector. The upper end, the root of the sum
    of squares of the two parts' norms, may be well above it; the estimate is Lanczos' for
    the whole map.

    Args:
      kernel: `[kh, kw, in, out]`, real. Work is done in its own precision.
      bias: `[out]`, real.
      constant: c >= 0, the entry that passes the constant on.
      op, relative_width: as of `zero_padded_norm`.

    Returns:
      An `Enclosure` of scalars. A map that is not finite has the enclosure [0, inf].
    """
    chex.assert_rank([kernel, bias], [4, 1])
    chex.assert_type([kernel, bias], float)
    kernel = kernel.astype(jnp.promote_types(kernel.dtype, jnp.float32))
    bias = bias.astype(kernel.dtype)
    info = jnp.finfo(kernel.dtype)
    bias_is_finite = jnp.all(jnp.isfinite(bias))
    bias = jnp.where(bias_is_finite, bias, 0.0)
    outputs = op.outputs(kernel.shape)
    with jax.default_matmul_precision("highest"):
        prepared, exponent, is_finite, total = _prepared(kernel)
        is_finite &= bias_is_finite
        upper = _from_above(prepared, total, op, relative_width)
        own = _restored(upper, upper, upper, kernel, exponent, is_finite)
        # One scale for all entries from here on. What is subnormal beside 1 becomes zero, which
        # the roundings of 1 pay for.
        entries = jnp.concatenate([kernel.reshape(-1), bias, jnp.full(1, constant)])
        entries = jnp.where(jnp.isfinite(entries), entries, 0.0)
        unit, joint = to_unit_scale(entries.astype(kernel.dtype))
        unit_kernel = unit[: kernel.size].reshape(kernel.shape)
        unit_bias, unit_constant = unit[kernel.size : -1], unit[-1]
        size = math.prod(outputs) ** 0.5
        room = 1 + gamma(bias.size + 16, float(info.eps) / 2)
        last_row = jnp.hypot(size * jnp.linalg.norm(unit_bias), unit_constant) * room
        # `scale` takes no larger step down; a larger M is covered, too.
        step = jnp.maximum(exponent - joint, -2 * (info.maxexp - 2))
        total = scale(total, step) + float(info.tiny) + last_row
        lower, estimate = _from_below(unit_kernel, total, op, unit_bias, unit_constant)
        found = _restored(lower, last_row, estimate, kernel, joint, is_finite)
        subnormal = 2 * size * bias.size**0.5 * float(info.tiny)
        return found.replace(
            lower=jnp.maximum(found.lower - subnormal, 0.0),
            upper=jnp.hypot(own.upper, found.upper + subnormal) * room,
        )
