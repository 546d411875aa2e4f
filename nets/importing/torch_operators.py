"""PyTorch's operators (aten, as `torch.export` decomposes to) in JAX, one function each: RULES.

As in `onnx_operators`, a value is a number or a NumPy array where it is known when the module is
read, and a JAX array where it depends on parameters or the input. Keys are names without overload
(`aten.mean`) where all overloads are alike, and with it (`aten.pow.Scalar`) where they are not.
"""

import math
import operator
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from nets.importing import layers

RULES: dict[str, Callable[..., Any]] = {}

# Kept whole: what they decompose to has no derivative where an exponential overflows, is no
# function of one example alone, or is harder to tell for what it is.
KEPT_WHOLE = (
    "celu", "hardsigmoid", "hardswish", "instance_norm", "log_sigmoid_forward", "logsumexp",
    "mish", "pad", "selu", "silu", "softplus",
)  # fmt: skip


def _rule(*names):
    def enter(function):
        for name in names:
            RULES[name] = function
        return function

    return enter


def _module(*values):
    """NumPy while all is known, else JAX."""
    return jnp if any(isinstance(v, jax.Array) for v in values) else np


def _dtype(dtype):
    return jax.dtypes.canonicalize_dtype(np.float32 if dtype == np.float64 else dtype)


def _cast(x, dtype):
    if dtype is None:
        return x
    return np.asarray(x, dtype) if _module(x) is np else x.astype(_dtype(dtype))


def _every(values, count):
    """A setting for each spatial axis: one number stands for all."""
    values = (values,) if isinstance(values, int) else tuple(values)
    return values * count if len(values) == 1 else values


# Entry by entry.


def _elementwise(name):
    def rule(*values):
        return getattr(_module(*values), name)(*layers.aligned(*values))

    return rule


for _key, _name in {
    "abs": "abs", "bitwise_and": "bitwise_and", "bitwise_not": "bitwise_not",
    "bitwise_or": "bitwise_or", "ceil": "ceil", "cos": "cos", "eq": "equal", "exp": "exp",
    "expm1": "expm1", "floor": "floor", "ge": "greater_equal", "gt": "greater",
    "le": "less_equal", "log": "log", "log1p": "log1p", "logical_and": "logical_and",
    "logical_not": "logical_not", "logical_or": "logical_or", "lt": "less",
    "maximum": "maximum", "minimum": "minimum", "mul": "multiply", "ne": "not_equal",
    "neg": "negative", "reciprocal": "reciprocal", "round": "round", "sign": "sign",
    "sin": "sin", "sqrt": "sqrt", "tanh": "tanh", "where": "where",
}.items():  # fmt: skip
    RULES[f"aten.{_key}"] = _elementwise(_name)

for _key, _function in {
    "add": operator.add, "eq": operator.eq, "floordiv": operator.floordiv, "ge": operator.ge,
    "getitem": operator.getitem, "gt": operator.gt, "le": operator.le, "lt": operator.lt,
    "mod": operator.mod, "mul": operator.mul, "ne": operator.ne, "neg": operator.neg,
    "pow": operator.pow, "sub": operator.sub, "truediv": operator.truediv,
    "sym_float": float, "sym_int": int, "sym_max": max, "sym_min": min,
}.items():  # fmt: skip
    RULES[_key] = _function


@_rule("aten.add")
def _sum(a, b, alpha=1):
    return _elementwise("add")(a, b if alpha == 1 else alpha * b)


@_rule("aten.sub")
def _difference(a, b, alpha=1):
    return _elementwise("subtract")(a, b if alpha == 1 else alpha * b)


@_rule("aten.rsub")
def _difference_from(a, b, alpha=1):
    return _difference(b, a, alpha)


@_rule("aten.div")
def _quotient(a, b, rounding_mode=None):
    quotient = _elementwise("true_divide")(a, b)
    if rounding_mode is None:
        return quotient
    return getattr(_module(quotient), rounding_mode)(quotient)


@_rule("aten.pow")
def _power(base, exponent):
    if isinstance(exponent, int | float) and not isinstance(base, int | float):
        if exponent == int(exponent):
            return base ** int(exponent)
        if exponent == 0.5:
            return _module(base).sqrt(base)
    return _elementwise("power")(base, exponent)


@_rule("aten.rsqrt")
def _inverse_root(x):
    return 1 / _module(x).sqrt(x)


@_rule("aten.clamp")
def _clamp(x, low=None, high=None):
    x = x if low is None else _elementwise("maximum")(x, low)
    return x if high is None else _elementwise("minimum")(x, high)


@_rule(
    "aten.clone", "aten.alias", "aten.detach", "aten.contiguous", "aten.lift_fresh_copy"
)
def _identity(x, memory_format=None):
    return x


@_rule("aten._to_copy")
def _copy_to(
    x, dtype=None, layout=None, device=None, pin_memory=None, non_blocking=False,
    memory_format=None,
):  # fmt: skip
    return _cast(x, dtype)


# Activations.

for _key, _function in {
    "erf": lax.erf, "hardsigmoid": lambda x: jnp.clip(x / 6 + 0.5, 0, 1),
    "hardswish": lambda x: x * jnp.clip(x / 6 + 0.5, 0, 1),
    "mish": lambda x: x * jnp.tanh(jax.nn.softplus(x)), "relu": jax.nn.relu,
    "selu": jax.nn.selu, "sigmoid": jax.nn.sigmoid, "silu": jax.nn.silu,
}.items():  # fmt: skip
    RULES[f"aten.{_key}"] = lambda x, function=_function: function(jnp.asarray(x))


@_rule("aten.hardtanh")
def _hard_tanh(x, low=-1.0, high=1.0):
    return _clamp(x, low, high)


@_rule("aten.leaky_relu")
def _leaky_relu(x, slope=0.01):
    return jax.nn.leaky_relu(x, slope)


@_rule("aten.elu")
def _elu(x, alpha=1.0, scale=1.0, input_scale=1.0):
    if scale == input_scale == 1:
        return jax.nn.elu(x, alpha)
    below = alpha * scale * jnp.expm1(jnp.minimum(x, 0) * input_scale)
    return jnp.where(x > 0, scale * x, below)


@_rule("aten.celu")
def _celu(x, alpha=1.0):
    return jax.nn.celu(x, alpha)


@_rule("aten.gelu")
def _gelu(x, approximate="none"):
    return jax.nn.gelu(x, approximate=approximate == "tanh")


@_rule("aten.softplus")
def _softplus(x, beta=1.0, threshold=20.0):
    smooth = jax.nn.softplus(x) if beta == 1 else jax.nn.softplus(beta * x) / beta
    # Beyond the usual threshold the two are the same to float32.
    return smooth if threshold >= 20 else jnp.where(beta * x > threshold, x, smooth)


@_rule("aten.log_sigmoid_forward")
def _log_sigmoid(x):
    return jax.nn.log_sigmoid(x), None


@_rule("aten._softmax")
def _softmax(x, axis, half_to_float=False):
    return jax.nn.softmax(_cast(x, np.float32) if half_to_float else x, axis)


@_rule("aten._log_softmax")
def _log_softmax(x, axis, half_to_float=False):
    return jax.nn.log_softmax(_cast(x, np.float32) if half_to_float else x, axis)


# Linear maps.


@_rule("aten.mm", "aten.bmm", "aten.matmul", "aten.mv", "aten.dot")
def _product(a, b):
    return jnp.matmul(a, b)


@_rule("aten.linear")
def _linear(x, kernel, bias=None):
    product = jnp.matmul(x, kernel.T)
    return product if bias is None else product + layers.aligned(product, bias)[1]


@_rule("aten.addmm", "aten.baddbmm")
def _sum_with_product(c, a, b, beta=1, alpha=1):
    product = jnp.matmul(a, b)
    product = product if alpha == 1 else alpha * product
    return product + layers.aligned(product, c if beta == 1 else beta * c)[1]


@_rule("aten.convolution")
def _convolution(
    x, kernel, bias, strides, padding, dilation, transposed, output_padding, groups
):
    axes = x.ndim - 2
    strides, dilation = _every(strides, axes), _every(dilation, axes)
    padding = [(p, p) for p in _every(padding, axes)]
    if transposed:
        more = _every(output_padding, axes)
        x = layers.transposed_convolution(
            x, kernel, strides, padding, more, dilation, groups
        )
    else:
        x = layers.convolution(x, kernel, strides, padding, dilation, groups)
    return x if bias is None else x + layers.along_channels(bias, x.ndim)


# Normalisation.


@_rule("aten._native_batch_norm_legit_no_training")
def _batch_normalisation(x, scale, shift, mean, variance, momentum, epsilon):
    return layers.batch_normalised(x, scale, shift, mean, variance, epsilon), None, None


@_rule("aten.instance_norm")
def _instance_normalisation(
    x, scale, shift, mean, variance, use_input, momentum, epsilon, cudnn
):
    if not use_input:
        return layers.batch_normalised(x, scale, shift, mean, variance, epsilon)
    x = layers.standardised(x, range(2, x.ndim), epsilon)[0]
    x = x if scale is None else x * layers.along_channels(scale, x.ndim)
    return x if shift is None else x + layers.along_channels(shift, x.ndim)


@_rule("aten.native_layer_norm")
def _layer_normalisation(x, shape, scale, shift, epsilon):
    axes = range(x.ndim - len(shape), x.ndim)
    y, mean, inverse = layers.standardised(x, axes, epsilon)
    y = y if scale is None else y * layers.aligned(x, scale)[1]
    y = y if shift is None else y + layers.aligned(x, shift)[1]
    return y, mean, inverse


@_rule("aten.native_group_norm")
def _group_normalisation(x, scale, shift, count, channels, size, groups, epsilon):
    x = layers.group_normalised(x, groups, epsilon)
    x = x if scale is None else x * layers.along_channels(scale, x.ndim)
    x = x if shift is None else x + layers.along_channels(shift, x.ndim)
    return x, None, None


# Windows and reductions.


@_rule("aten.max_pool2d_with_indices", "aten.max_pool3d_with_indices")
def _max_pool(x, window, strides=(), padding=0, dilation=1, ceil=False):
    axes = x.ndim - 2
    window = _every(window, axes)
    padding = [(p, p) for p in _every(padding, axes)]
    strides = _every(strides or window, axes)
    dilation = _every(dilation, axes)
    return layers.max_pool(x, window, strides, padding, dilation, ceil), None


@_rule("aten.avg_pool1d", "aten.avg_pool2d", "aten.avg_pool3d")
def _average_pool(
    x, window, strides=(), padding=0, ceil=False, count_padding=True, divisor=None
):
    axes = x.ndim - 2
    window = _every(window, axes)
    padding = [(p, p) for p in _every(padding, axes)]
    strides = _every(strides or window, axes)
    return layers.average_pool(
        x, window, strides, padding, (1,) * axes, ceil, count_padding, divisor
    )


@_rule(
    "aten._adaptive_avg_pool2d", "aten._adaptive_avg_pool3d", "aten.adaptive_avg_pool1d"
)
def _adaptive_average_pool(x, outputs):
    return layers.adaptive_average_pool(x, _every(outputs, x.ndim - 2))


@_rule("aten.adaptive_max_pool2d", "aten.adaptive_max_pool3d")
def _adaptive_max_pool(x, outputs):
    outputs = _every(outputs, x.ndim - 2)
    if any(s % n for s, n in zip(x.shape[2:], outputs, strict=True)):
        raise ValueError(f"windows of uneven size: {x.shape[2:]} to {outputs}")
    window = [s // n for s, n in zip(x.shape[2:], outputs, strict=True)]
    none = [(0, 0)] * len(window)
    return layers.max_pool(x, window, window, none, [1] * len(window), False), None


def _axes(x, axes):
    if axes is None or axes == ():
        return tuple(range(x.ndim))
    axes = (axes,) if isinstance(axes, int) else axes
    return tuple(n % x.ndim for n in axes)


@_rule("aten.mean")
def _mean(x, axes=None, keep=False, dtype=None):
    x = _cast(x, dtype)
    return _module(x).mean(x, _axes(x, axes), keepdims=keep)


@_rule("aten.sum")
def _total(x, axes=None, keep=False, dtype=None):
    x = _cast(x, dtype)
    return _module(x).sum(x, _axes(x, axes), keepdims=keep)


@_rule("aten.amax")
def _largest(x, axes=(), keep=False):
    return _module(x).max(x, _axes(x, axes), keepdims=keep)


@_rule("aten.amin")
def _smallest(x, axes=(), keep=False):
    return _module(x).min(x, _axes(x, axes), keepdims=keep)


@_rule("aten.max.default", "aten.min.default")
def _refuse_over_all(x):
    raise ValueError("a largest or smallest value over all examples")


@_rule("aten.max.dim")
def _largest_along(x, axis, keep=False):
    return _largest(x, axis, keep), None


@_rule("aten.min.dim")
def _smallest_along(x, axis, keep=False):
    return _smallest(x, axis, keep), None


@_rule("aten.var")
def _variance(x, axes=None, correction=1, keepdim=False):
    axes = _axes(x, axes)
    count = math.prod(x.shape[n] for n in axes)
    centred = x - _module(x).mean(x, axes, keepdims=True)
    total = _module(x).sum(centred * centred, axes, keepdims=keepdim)
    return total / max(count - (1 if correction is None else correction), 0)


@_rule("aten.logsumexp")
def _log_sum_exp(x, axes, keep=False):
    return jax.nn.logsumexp(x, _axes(x, axes), keepdims=keep)


@_rule("aten.linalg_vector_norm")
def _vector_norm(x, order=2, axes=None, keep=False, dtype=None):
    x, axes = _cast(x, dtype), _axes(x, axes)
    if order == 2:
        return jnp.sqrt(jnp.sum(x * x, axes, keepdims=keep))
    if order == 1:
        return jnp.sum(jnp.abs(x), axes, keepdims=keep)
    if order == math.inf:
        return jnp.max(jnp.abs(x), axes, keepdims=keep)
    return jnp.sum(jnp.abs(x) ** order, axes, keepdims=keep) ** (1 / order)


# Where entries are.


@_rule("aten.sym_size")
def _size(x, axis):
    return x.shape[axis]


@_rule("aten.sym_numel")
def _count(x):
    return math.prod(x.shape)


@_rule("aten.view", "aten._unsafe_view", "aten.reshape")
def _reshape(x, shape):
    return x.reshape(tuple(int(n) for n in shape))


@_rule("aten.permute")
def _permute(x, axes):
    return _module(x).transpose(x, axes)


@_rule("aten.transpose")
def _transpose(x, first, second):
    return _module(x).swapaxes(x, first, second)


@_rule("aten.t")
def _transpose_matrix(x):
    return x.T


@_rule("aten.unsqueeze")
def _unsqueeze(x, axis):
    return _module(x).expand_dims(x, axis)


@_rule("aten.squeeze")
def _squeeze(x, axes=None):
    axes = range(x.ndim) if axes is None else _axes(x, axes)
    return _module(x).squeeze(x, tuple(n for n in axes if x.shape[n] == 1))


@_rule("aten.expand")
def _expand(x, shape, implicit=False):
    new = len(shape) - x.ndim
    shape = tuple(x.shape[n - new] if s == -1 else s for n, s in enumerate(shape))
    return _module(x).broadcast_to(x, shape)


@_rule("aten.repeat")
def _repeat(x, counts):
    return _module(x).tile(x, counts)


@_rule("aten.flip")
def _flip(x, axes):
    return _module(x).flip(x, axes)


@_rule("aten.cat")
def _concatenate(values, axis=0):
    # PyTorch lets empty vectors be joined with anything.
    values = [v for v in values if v.shape != (0,)] or values
    return _module(*values).concatenate(values, axis)


@_rule("aten.stack")
def _stack(values, axis=0):
    return _module(*values).stack(values, axis)


@_rule("aten.split_with_sizes")
def _split(x, sizes, axis=0):
    ends = np.cumsum(sizes)[:-1]
    return tuple(_module(x).split(x, [int(n) for n in ends], axis))


@_rule("aten.split")
def _split_evenly(x, size, axis=0):
    length = x.shape[axis]
    return _split(x, [min(size, length - n) for n in range(0, length, size)], axis)


@_rule("aten.chunk")
def _chunk(x, count, axis=0):
    return _split_evenly(x, -(-x.shape[axis] // count), axis)


@_rule("aten.unbind")
def _unbind(x, axis=0):
    return tuple(_select(x, axis, n) for n in range(x.shape[axis]))


@_rule("aten.slice")
def _slice(x, axis=0, start=None, end=None, step=1):
    return layers.selected(x, axis % x.ndim, range(x.shape[axis])[start:end:step])


@_rule("aten.select")
def _select(x, axis, index):
    axis = axis % x.ndim
    index = index % x.shape[axis] if index < 0 else index
    return layers.selected(x, axis, range(index, index + 1)).squeeze(axis)


@_rule("aten.index_select")
def _index_select(x, axis, indices):
    return _taken(x, axis, indices)


@_rule("aten.index")
def _index(x, indices):
    given = [(axis, i) for axis, i in enumerate(indices) if i is not None]
    if len(given) != 1 or given[0][1].dtype == bool:
        raise ValueError("entries are chosen by several indices or a mask")
    return _taken(x, *given[0])


def _taken(x, axis, indices):
    axis = axis % x.ndim
    if not isinstance(indices, np.ndarray):
        raise ValueError("which entries are taken depends on the values of the input")
    indices = np.where(indices < 0, indices + x.shape[axis], indices)
    steps = layers.progression(indices.ravel())
    if steps is None:
        return jnp.take(x, indices, axis, mode="clip")
    x = layers.selected(x, axis, steps)
    return x.reshape(*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :])


def _pairs(x, padding):
    """Padding from the last axis on, as PyTorch has it, as a pair for each axis."""
    pairs = list(zip(padding[::2], padding[1::2], strict=True))[::-1]
    return [(0, 0)] * (x.ndim - len(pairs)) + pairs


@_rule("aten.constant_pad_nd")
def _pad_by_constant(x, padding, value=0):
    value = np.asarray(0 if value is None else value, x.dtype)
    return lax.pad(jnp.asarray(x), value, [(*pair, 0) for pair in _pairs(x, padding)])


@_rule("aten.pad")
def _pad(x, padding, mode="constant", value=None):
    if mode == "constant":
        return _pad_by_constant(x, padding, value)
    modes = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}
    return jnp.pad(x, _pairs(x, padding), mode=modes[mode])


# What is made of nothing.


@_rule("aten.full")
def _full(shape, value, dtype=None, **rest):
    return np.full(shape, value, np.float32 if dtype is None else dtype)


@_rule("aten.full_like")
def _full_like(x, value, dtype=None, **rest):
    return np.full(x.shape, value, x.dtype if dtype is None else dtype)


@_rule("aten.zeros")
def _zeros(shape, dtype=None, **rest):
    return _full(shape, 0, dtype)


@_rule("aten.ones")
def _ones(shape, dtype=None, **rest):
    return _full(shape, 1, dtype)


@_rule("aten.zeros_like")
def _zeros_like(x, dtype=None, **rest):
    return _full_like(x, 0, dtype)


@_rule("aten.ones_like")
def _ones_like(x, dtype=None, **rest):
    return _full_like(x, 1, dtype)


@_rule("aten.scalar_tensor")
def _scalar(value, dtype=None, **rest):
    return np.asarray(value, np.float32 if dtype is None else dtype)


@_rule("aten.arange.start_step")
def _arange(start, end, step=1, dtype=None, **rest):
    made = np.arange(start, end, step)
    if dtype is not None:
        return made.astype(dtype)
    return made.astype(np.int64 if made.dtype.kind == "i" else np.float32)
