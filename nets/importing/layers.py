"""Layers as other frameworks define them, in JAX: channels first, `[N, C, *spatial]`.

Padding is a pair (before, after) for each spatial axis everywhere.
"""

import itertools
import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

Padding = Sequence[tuple[int, int]]


def aligned(*values: jax.Array | np.ndarray) -> list[jax.Array | np.ndarray]:
    """The same arrays with as many axes each, new ones in front, as broadcasting has it.

    Scalars stay: they go with any array.
    """
    rank = max(np.ndim(v) for v in values)
    return [
        v.reshape((1,) * (rank - v.ndim) + v.shape) if 0 < np.ndim(v) < rank else v
        for v in values
    ]


def along_channels(vector: jax.Array, rank: int) -> jax.Array:
    """`[C]` as `[1, C, 1, ...]`, of `rank` axes."""
    return vector.reshape(1, -1, *[1] * (rank - 2))


def _dimension_numbers(rank):
    spatial = "DHW"[-(rank - 2) :] if rank > 2 else ""
    return "NC" + spatial, "OI" + spatial, "NC" + spatial


def convolution(
    x: jax.Array,
    kernel: jax.Array,
    strides: Sequence[int],
    padding: Padding,
    dilation: Sequence[int],
    groups: int,
) -> jax.Array:
    """Cross-correlation of `[N, C, *spatial]` with `[out, C / groups, *window]`."""
    return lax.conv_general_dilated(
        x,
        kernel,
        tuple(strides),
        [tuple(p) for p in padding],
        rhs_dilation=tuple(dilation),
        feature_group_count=groups,
        dimension_numbers=_dimension_numbers(x.ndim),
    )


def transposed_convolution(
    x: jax.Array,
    kernel: jax.Array,
    strides: Sequence[int],
    padding: Padding,
    output_padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
) -> jax.Array:
    """The transpose of a convolution: `[N, C, *spatial]` with `[C, out / groups, *window]`.

    Args:
      padding: what the convolution that it transposes pads with.
      output_padding: rows more behind the end.
    """
    inputs, outputs, *window = kernel.shape
    kernel = kernel.reshape(groups, inputs // groups, outputs, *window)
    kernel = jnp.swapaxes(kernel, 1, 2)
    kernel = kernel.reshape(groups * outputs, inputs // groups, *window)
    kernel = jnp.flip(kernel, tuple(range(2, kernel.ndim)))
    sides = zip(window, dilation, padding, output_padding, strict=True)
    return lax.conv_general_dilated(
        x,
        kernel,
        (1,) * len(window),
        [(d * (k - 1) - p[0], d * (k - 1) - p[1] + more) for k, d, p, more in sides],
        lhs_dilation=tuple(strides),
        rhs_dilation=tuple(dilation),
        feature_group_count=groups,
        dimension_numbers=_dimension_numbers(x.ndim),
    )


def same_padding(
    sizes: Sequence[int],
    window: Sequence[int],
    strides: Sequence[int],
    dilation: Sequence[int],
    more_behind: bool,
) -> list[tuple[int, int]]:
    """Padding after which a window of a stride s gives ceil(size / s) outputs.

    Args:
      more_behind: whether the odd one is added behind the end, not before the beginning.
    """
    padding = []
    for size, k, s, d in zip(sizes, window, strides, dilation, strict=True):
        total = max(0, (-(-size // s) - 1) * s + d * (k - 1) + 1 - size)
        half = total // 2
        padding.append((half, total - half) if more_behind else (total - half, half))
    return padding


def _windows(sizes, window, strides, padding, dilation, ceil):
    """Number of windows along each axis, and what is lacking behind the end for the last."""
    counts, lacking = [], []
    axes = zip(sizes, window, strides, padding, dilation, strict=True)
    for size, k, s, (before, after), d in axes:
        reach = d * (k - 1) + 1
        room = size + before + after - reach
        count = (-(-room // s) if ceil else room // s) + 1
        if ceil and (count - 1) * s >= size + before:
            count -= 1  # it would start in the padding behind the end
        counts.append(count)
        lacking.append(max(0, (count - 1) * s + reach - (size + before + after)))
    return counts, lacking


def _reduced(x, initial, reduction, window, strides, padding, dilation, lacking):
    sides = zip(padding, lacking, strict=True)
    return lax.reduce_window(
        x,
        # A NumPy value: with a traced one there is no derivative.
        np.asarray(initial, x.dtype),
        reduction,
        (1, 1, *window),
        (1, 1, *strides),
        [(0, 0), (0, 0), *((p[0], p[1] + more) for p, more in sides)],
        window_dilation=(1, 1, *dilation),
    )


def max_pool(
    x: jax.Array,
    window: Sequence[int],
    strides: Sequence[int],
    padding: Padding,
    dilation: Sequence[int],
    ceil: bool,
) -> jax.Array:
    """The largest value in each window; padding never is."""
    geometry = (window, strides, padding, dilation)
    _, lacking = _windows(x.shape[2:], *geometry, ceil)
    return _reduced(x, -np.inf, lax.max, *geometry, lacking)


def average_pool(
    x: jax.Array,
    window: Sequence[int],
    strides: Sequence[int],
    padding: Padding,
    dilation: Sequence[int],
    ceil: bool,
    count_padding: bool,
    divisor: int | None = None,
) -> jax.Array:
    """The mean in each window.

    Args:
      ceil: whether a last window may reach behind the padding; what is there is never counted.
      count_padding: whether zeros of the padding count in the mean.
      divisor: what sums are divided by instead.
    """
    geometry = (window, strides, padding, dilation)
    counts, lacking = _windows(x.shape[2:], *geometry, ceil)
    total = _reduced(x, 0, lax.add, *geometry, lacking)
    if divisor is not None:
        return total / divisor
    entries = np.ones(())
    for size, count, k, s, p, d in zip(x.shape[2:], counts, *geometry, strict=True):
        at = np.arange(count)[:, None] * s - p[0] + np.arange(k) * d
        first, last = (-p[0], size + p[1]) if count_padding else (0, size)
        entries = np.multiply.outer(entries, ((at >= first) & (at < last)).sum(1))
    if (entries == entries.flat[0]).all():
        return total / float(entries.flat[0])
    return total / entries[None, None].astype(x.dtype)


def adaptive_average_pool(x: jax.Array, outputs: Sequence[int]) -> jax.Array:
    """Means over `outputs` windows along each axis, as even as they can be.

    Window i of n along an axis of size s is from floor(i s / n) to ceil((i + 1) s / n).
    """
    sizes = x.shape[2:]
    if all(n == 1 for n in outputs):
        return jnp.mean(x, tuple(range(2, x.ndim)), keepdims=True)
    if all(s % n == 0 for s, n in zip(sizes, outputs, strict=True)):
        window = [s // n for s, n in zip(sizes, outputs, strict=True)]
        none = [(0, 0)] * len(window)
        return average_pool(x, window, window, none, [1] * len(window), False, False)
    for axis, (size, n) in enumerate(zip(sizes, outputs, strict=True), 2):
        mean = np.zeros((size, n), x.dtype)
        for i in range(n):
            first, last = i * size // n, -(-(i + 1) * size // n)
            mean[first:last, i] = 1 / (last - first)
        x = jnp.moveaxis(jnp.moveaxis(x, axis, -1) @ mean, -1, axis)
    return x


def standardised(
    x: jax.Array, axes: Sequence[int], epsilon: float
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """(x - mean) / sqrt(variance + epsilon) over some axes, its mean and 1 / that root.

    The variance is the population's. Computed in float32 at least.
    """
    wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    mean = jnp.mean(wide, tuple(axes), keepdims=True)
    centred = wide - mean
    variance = jnp.mean(centred * centred, tuple(axes), keepdims=True)
    inverse = 1 / jnp.sqrt(variance + epsilon)
    return (centred * inverse).astype(x.dtype), mean, inverse


def group_normalised(x: jax.Array, groups: int, epsilon: float) -> jax.Array:
    """Each example's groups of channels standardised."""
    split = x.reshape(x.shape[0], groups, -1)
    return standardised(split, (2,), epsilon)[0].reshape(x.shape)


def batch_normalised(
    x: jax.Array,
    scale: jax.Array | None,
    shift: jax.Array | None,
    mean: jax.Array,
    variance: jax.Array,
    epsilon: float,
) -> jax.Array:
    """(x - mean) scale / sqrt(variance + epsilon) + shift, channel by channel.

    What depends on parameters alone is one factor, so that it is computed once.
    """
    factor = 1 / jnp.sqrt(variance + epsilon)
    if scale is not None:
        factor = scale * factor
    x = (x - along_channels(mean, x.ndim)) * along_channels(factor, x.ndim)
    return x if shift is None else x + along_channels(shift, x.ndim)


def selected(
    x: jax.Array | np.ndarray, axis: int, indices: range
) -> jax.Array | np.ndarray:
    """Evenly spaced entries along an axis; NumPy's stay NumPy's."""
    if isinstance(x, np.ndarray):
        return np.take(x, indices, axis)
    if len(indices) == x.shape[axis] and indices.step == 1:
        return x
    if not indices:
        return lax.slice_in_dim(x, 0, 0, axis=axis)
    first, last = sorted((indices[0], indices[-1]))
    x = lax.slice_in_dim(x, first, last + 1, abs(indices.step), axis)
    return lax.rev(x, (axis,)) if indices.step < 0 else x


def progression(indices: Sequence[int]) -> range | None:
    """Evenly spaced indices as a range; None if they are not."""
    indices = [int(i) for i in indices]
    if len(indices) < 2:
        return range(indices[0], indices[0] + 1) if indices else range(0)
    step = indices[1] - indices[0]
    pairs = itertools.pairwise(indices)
    if step == 0 or any(b - a != step for a, b in pairs):
        return None
    return range(indices[0], indices[-1] + int(math.copysign(1, step)), step)
