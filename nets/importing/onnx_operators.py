"""ONNX's operators in JAX, one function each: RULES.

A value is a NumPy array where it is known when the file is read (sizes, axes, constants and what is
computed from these), and a JAX array where it depends on parameters or the input. Operators that
compute sizes do so in NumPy while their inputs are known: a traced network holds none of it.

Meaning and versions: the operator schemas of the ONNX specification (onnx.defs).
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from nets.importing import layers

NEWEST_OPSET = 28  # of the schemas that these rules were written from
OLDEST_OPSET = 7  # before, broadcasting was another

_MOST_MADE = 2**27  # numbers of a constant, half a gibibyte
_FLOAT32_LIMIT = float(np.finfo(np.float32).max)


@dataclasses.dataclass(frozen=True)
class Operation:
    """A node of a file, functions expanded.

    Attributes:
      operator: its type.
      domain: "" for the standard's operators.
      name: as the file has it.
      inputs, outputs: names of values; "" for what is left out.
      attributes: numbers, strings, tuples of them, and arrays.
      opset: version of its operator set.
    """

    operator: str
    domain: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]
    opset: int

    def get(self, attribute: str, default: Any = None) -> Any:
        """An attribute."""
        return self.attributes.get(attribute, default)


Value = Any  # np.ndarray if known, jax.Array if not, a tuple of these for a sequence
Rule = Callable[..., Value | tuple[Value, ...]]
RULES: dict[str, Rule] = {}


def _rule(*operators):
    def enter(function):
        for operator in operators:
            RULES[operator] = function
        return function

    return enter


def _is_known(*values):
    return all(isinstance(v, np.ndarray) for v in values)


def _module(*values):
    return np if _is_known(*values) else jnp


def _known(value, what):
    """A value that has to be known when the file is read, as NumPy."""
    if not isinstance(value, np.ndarray):
        raise ValueError(
            f"its {what} depends on the values of the input or of a parameter"
        )
    return value


def _integers(value, what):
    return [int(n) for n in np.atleast_1d(_known(value, what)).ravel()]


def _made(shape):
    """A shape that a file asks for in a few bytes: what would not fit is refused, and not made."""
    if math.prod(shape) > _MOST_MADE:
        raise ValueError(
            f"it asks for {list(shape)} numbers, more than {_MOST_MADE} are not made"
        )
    return shape


# Entry by entry.


def _elementwise(name):
    def rule(node, *values):
        return getattr(_module(*values), name)(*layers.aligned(*values))

    return rule


for _operator, _name in {
    "Abs": "abs", "Add": "add", "And": "logical_and", "Ceil": "ceil", "Cos": "cos",
    "Equal": "equal", "Exp": "exp", "Floor": "floor", "Greater": "greater",
    "GreaterOrEqual": "greater_equal", "Less": "less", "LessOrEqual": "less_equal",
    "Log": "log", "Mul": "multiply", "Neg": "negative", "Not": "logical_not",
    "Or": "logical_or", "Reciprocal": "reciprocal", "Round": "round", "Sign": "sign",
    "Sin": "sin", "Sqrt": "sqrt", "Sub": "subtract", "Tanh": "tanh", "Where": "where",
    "Xor": "logical_xor",
}.items():  # fmt: skip
    RULES[_operator] = _elementwise(_name)


def _repeated(name):
    pairwise = _elementwise(name)
    return lambda node, *values: functools.reduce(
        lambda a, b: pairwise(node, a, b), values
    )


RULES["Sum"], RULES["Max"], RULES["Min"] = map(_repeated, ("add", "maximum", "minimum"))


@_rule("Mean")
def _mean_of_several(node, *values):
    return RULES["Sum"](node, *values) / len(values)


@_rule("Div")
def _divided(node, a, b):
    a, b = layers.aligned(a, b)
    if _is_known(a, b) and np.issubdtype(a.dtype, np.integer):
        return (np.sign(a) * np.sign(b) * (abs(a) // abs(b))).astype(a.dtype)
    if np.issubdtype(a.dtype, np.integer):
        return lax.div(*jnp.broadcast_arrays(a, b))
    return a / b


@_rule("Mod")
def _modulo(node, a, b):
    return _elementwise("fmod" if node.get("fmod", 0) else "mod")(node, a, b)


@_rule("Pow")
def _power(node, base, exponent):
    if _is_known(base, exponent):
        return np.power(base, exponent).astype(base.dtype)
    if _is_known(exponent) and exponent.size == 1:
        power = float(exponent.item())
        base = jnp.broadcast_to(base, np.broadcast_shapes(base.shape, exponent.shape))
        if power == int(power):
            return base ** int(power)
        return jnp.sqrt(base) if power == 0.5 else base**power
    base, exponent = layers.aligned(base, exponent)
    return jnp.power(base, exponent).astype(base.dtype)


@_rule("Identity")
def _identity(node, x):
    return x


def _cast(x, dtype):
    """Rounding is kept, but float64 is float32 here."""
    dtype = np.dtype(np.float32 if dtype == np.float64 else dtype)
    if _is_known(x):
        return x.astype(dtype)
    return x.astype(jax.dtypes.canonicalize_dtype(dtype))


@_rule("Cast")
def _cast_to(node, x):
    import onnx

    return _cast(x, onnx.helper.tensor_dtype_to_np_dtype(node.get("to")))


@_rule("CastLike")
def _cast_like(node, x, target):
    return _cast(x, target.dtype)


# Activations.


def _activation(function):
    return lambda node, x: function(jnp.asarray(x))


for _operator, _function in {
    "Erf": lax.erf, "HardSwish": lambda x: x * jnp.clip(x / 6 + 0.5, 0, 1),
    "Mish": lambda x: x * jnp.tanh(jax.nn.softplus(x)), "Relu": jax.nn.relu,
    "Sigmoid": jax.nn.sigmoid, "Softplus": jax.nn.softplus, "Softsign": jax.nn.soft_sign,
}.items():  # fmt: skip
    RULES[_operator] = _activation(_function)


@_rule("LeakyRelu")
def _leaky_relu(node, x):
    return jax.nn.leaky_relu(x, node.get("alpha", 0.01))


@_rule("PRelu")
def _parametric_relu(node, x, slope):
    _, slope = layers.aligned(x, slope)
    return jnp.where(x >= 0, x, slope * x)


@_rule("Elu")
def _elu(node, x):
    return jax.nn.elu(x, node.get("alpha", 1.0))


@_rule("Selu")
def _selu(node, x):
    alpha = node.get("alpha", 1.67326319217681884765625)
    return node.get("gamma", 1.05070102214813232421875) * jax.nn.elu(x, alpha)


@_rule("Celu")
def _celu(node, x):
    return jax.nn.celu(x, node.get("alpha", 1.0))


@_rule("Gelu")
def _gelu(node, x):
    return jax.nn.gelu(x, approximate=node.get("approximate", "none") == "tanh")


@_rule("HardSigmoid")
def _hard_sigmoid(node, x):
    return jnp.clip(node.get("alpha", 0.2) * x + node.get("beta", 0.5), 0, 1)


@_rule("Clip")
def _clip(node, x, low=None, high=None):
    if node.opset < 11:
        low, high = (
            None if v is None else np.asarray(v, x.dtype)
            for v in (node.get("min"), node.get("max"))
        )
    low, high = (None if v is None else v.reshape(()) for v in (low, high))
    if low is not None and _is_known(low) and low <= -_FLOAT32_LIMIT:
        low = None
    if high is not None and _is_known(high) and high >= _FLOAT32_LIMIT:
        high = None
    if low is None and high is None:
        return x
    # The upper limit is applied last: it wins where they cross.
    x = x if low is None else _module(x, low).maximum(x, low)
    return x if high is None else _module(x, high).minimum(x, high)


@_rule("Softmax", "LogSoftmax")
def _softmax(node, x):
    function = jax.nn.softmax if node.operator == "Softmax" else jax.nn.log_softmax
    if node.opset >= 13:
        return function(x, axis=node.get("axis", -1))
    axis = node.get("axis", 1) % x.ndim
    return function(x, axis=tuple(range(axis, x.ndim)))


@_rule("Dropout")
def _dropout(node, x, ratio=None, training=None):
    if training is not None and np.any(_known(training, "mode")):
        raise ValueError(
            "it is in training mode: export the network in inference mode (model.eval())"
        )
    return x, np.ones(x.shape, bool)


# Linear maps.


@_rule("MatMul")
def _product(node, a, b):
    return _module(a, b).matmul(a, b)


@_rule("Gemm")
def _matrix_product(node, a, b, c=None):
    a = a.T if node.get("transA", 0) else a
    b = b.T if node.get("transB", 0) else b
    product = jnp.matmul(a, b)
    alpha, beta = node.get("alpha", 1.0), node.get("beta", 1.0)
    product = product if alpha == 1 else alpha * product
    if c is None or beta == 0:
        return product
    _, c = layers.aligned(product, c)
    return product + (c if beta == 1 else beta * c)


@_rule("Einsum")
def _einstein_sum(node, *values):
    return jnp.einsum(node.get("equation"), *values)


def _geometry(node, x, window):
    """strides, padding, dilation of a window."""
    axes = len(window)
    strides = node.get("strides", (1,) * axes)
    dilation = node.get("dilations", (1,) * axes)
    kind = node.get("auto_pad", "NOTSET")
    if kind in ("SAME_UPPER", "SAME_LOWER"):
        behind = kind == "SAME_UPPER"
        padding = layers.same_padding(x.shape[2:], window, strides, dilation, behind)
    elif kind == "VALID":
        padding = [(0, 0)] * axes
    else:
        pads = node.get("pads", (0,) * 2 * axes)
        padding = list(zip(pads[:axes], pads[axes:], strict=True))
    return strides, padding, dilation


def _with_bias(x, bias):
    if bias is None or (_is_known(bias) and not bias.any()):
        return x
    return x + layers.along_channels(bias, x.ndim)


@_rule("Conv")
def _convolution(node, x, kernel, bias=None):
    geometry = _geometry(node, x, kernel.shape[2:])
    x = layers.convolution(x, kernel, *geometry, node.get("group", 1))
    return _with_bias(x, bias)


@_rule("ConvTranspose")
def _transposed_convolution(node, x, kernel, bias=None):
    window, axes = kernel.shape[2:], len(kernel.shape) - 2
    strides = node.get("strides", (1,) * axes)
    dilation = node.get("dilations", (1,) * axes)
    more = node.get("output_padding", (0,) * axes)
    kind = node.get("auto_pad", "NOTSET")
    wanted = node.get("output_shape")
    pads = node.get("pads", (0,) * 2 * axes)
    padding = list(zip(pads[:axes], pads[axes:], strict=True))
    sizes = x.shape[2:]
    if wanted is None and kind in ("SAME_UPPER", "SAME_LOWER"):
        wanted = [n * s for n, s in zip(sizes, strides, strict=True)]
    elif wanted is None and kind == "VALID":
        padding = [(0, 0)] * axes
    if wanted is not None:
        padding = []
        every = zip(sizes, window, strides, dilation, more, wanted[-axes:], strict=True)
        for size, k, s, d, extra, length in every:
            total = s * (size - 1) + extra + d * (k - 1) + 1 - length
            half = total // 2
            upper = kind == "SAME_UPPER"
            padding.append((half, total - half) if upper else (total - half, half))
    x = layers.transposed_convolution(
        x, kernel, strides, padding, more, dilation, node.get("group", 1)
    )
    return _with_bias(x, bias)


# Normalisation.


@_rule("BatchNormalization")
def _batch_normalisation(node, x, scale, shift, mean, variance):
    used = [name for name in node.outputs if name]
    if node.get("training_mode", 0) or (node.opset < 14 and len(used) > 1):
        raise ValueError(
            "it is in training mode and normalises by the batch: export the network in "
            "inference mode (model.eval())"
        )
    if not node.get("spatial", 1):
        raise ValueError("it normalises each pixel (spatial = 0)")
    epsilon = node.get("epsilon", 1e-5)
    return layers.batch_normalised(x, scale, shift, mean, variance, epsilon)


@_rule("InstanceNormalization")
def _instance_normalisation(node, x, scale, shift):
    epsilon = node.get("epsilon", 1e-5)
    x = layers.standardised(x, range(2, x.ndim), epsilon)[0]
    scale, shift = (layers.along_channels(v, x.ndim) for v in (scale, shift))
    return x * scale + shift


@_rule("LayerNormalization")
def _layer_normalisation(node, x, scale, shift=None):
    axes = range(node.get("axis", -1) % x.ndim, x.ndim)
    y, mean, inverse = layers.standardised(x, axes, node.get("epsilon", 1e-5))
    y = y * layers.aligned(x, scale)[1]
    y = y if shift is None else y + layers.aligned(x, shift)[1]
    return y, mean, inverse


@_rule("GroupNormalization")
def _group_normalisation(node, x, scale, shift):
    groups = node.get("num_groups")
    if node.opset < 21:  # one scale a group
        each = x.shape[1] // groups
        scale, shift = (jnp.repeat(jnp.asarray(v), each) for v in (scale, shift))
    x = layers.group_normalised(x, groups, node.get("epsilon", 1e-5))
    scale, shift = (layers.along_channels(v, x.ndim) for v in (scale, shift))
    return x * scale + shift


# Windows and reductions.


def _is_ceil(node):
    # With automatic padding both roundings give as many windows.
    return bool(node.get("ceil_mode", 0)) and node.get("auto_pad", "NOTSET") == "NOTSET"


@_rule("MaxPool")
def _max_pool(node, x):
    window = node.get("kernel_shape")
    geometry = _geometry(node, x, window)
    return layers.max_pool(x, window, *geometry, _is_ceil(node))


@_rule("AveragePool")
def _average_pool(node, x):
    window = node.get("kernel_shape")
    geometry = _geometry(node, x, window)
    counted = bool(node.get("count_include_pad", 0))
    return layers.average_pool(x, window, *geometry, _is_ceil(node), counted)


@_rule("GlobalAveragePool")
def _global_average_pool(node, x):
    return jnp.mean(x, tuple(range(2, x.ndim)), keepdims=True)


@_rule("GlobalMaxPool")
def _global_max_pool(node, x):
    return jnp.max(x, tuple(range(2, x.ndim)), keepdims=True)


def _reduction(function):
    def rule(node, x, axes=None):
        axes = node.get("axes", ()) if axes is None else _integers(axes, "axes")
        if not len(axes):
            axes = () if node.get("noop_with_empty_axes", 0) else range(x.ndim)
        axes = tuple(n % x.ndim for n in axes)
        return function(_module(x), x, axes, bool(node.get("keepdims", 1)))

    return rule


for _operator, _function in {
    "ReduceL1": lambda m, x, axes, keep: m.sum(m.abs(x), axes, keepdims=keep),
    "ReduceL2": lambda m, x, axes, keep: m.sqrt(m.sum(x * x, axes, keepdims=keep)),
    "ReduceLogSumExp": lambda m, x, axes, keep: jax.nn.logsumexp(
        x, axes, keepdims=keep
    ),
    "ReduceMax": lambda m, x, axes, keep: m.max(x, axes, keepdims=keep),
    "ReduceMean": lambda m, x, axes, keep: m.mean(x, axes, keepdims=keep),
    "ReduceMin": lambda m, x, axes, keep: m.min(x, axes, keepdims=keep),
    "ReduceProd": lambda m, x, axes, keep: m.prod(x, axes, keepdims=keep),
    "ReduceSum": lambda m, x, axes, keep: m.sum(x, axes, keepdims=keep),
    "ReduceSumSquare": lambda m, x, axes, keep: m.sum(x * x, axes, keepdims=keep),
}.items():
    RULES[_operator] = _reduction(_function)


# Where entries are.


@_rule("Shape")
def _shape(node, x):
    return np.asarray(x.shape[slice(node.get("start", 0), node.get("end"))], np.int64)


@_rule("Size")
def _size(node, x):
    return np.asarray(np.prod(x.shape, dtype=np.int64))


@_rule("ConstantOfShape")
def _constant_of_shape(node, shape):
    value = node.get("value", np.zeros(1, np.float32))
    return np.full(_made(_integers(shape, "shape")), value.item(), value.dtype)


@_rule("Range")
def _range(node, start, limit, delta):
    start, limit, delta = (
        _known(v, "range").reshape(()) for v in (start, limit, delta)
    )
    count = max(int(np.ceil((limit - start) / delta)), 0)
    _made([count])
    return (start + np.arange(count) * delta).astype(start.dtype)


@_rule("Reshape")
def _reshape(node, x, shape):
    sizes = _integers(shape, "shape")
    if not node.get("allowzero", 0):
        sizes = [x.shape[n] if size == 0 else size for n, size in enumerate(sizes)]
    return x.reshape(tuple(sizes))


@_rule("Flatten")
def _flatten(node, x):
    axis = node.get("axis", 1)
    axis = axis + x.ndim if axis < 0 else axis
    return x.reshape(int(np.prod(x.shape[:axis], dtype=int)), -1)


def _axes_of(node, axes):
    return node.get("axes") if axes is None else tuple(_integers(axes, "axes"))


@_rule("Squeeze")
def _squeeze(node, x, axes=None):
    axes = _axes_of(node, axes)
    return _module(x).squeeze(x, None if axes is None else tuple(axes))


@_rule("Unsqueeze")
def _unsqueeze(node, x, axes=None):
    return _module(x).expand_dims(x, tuple(_axes_of(node, axes)))


@_rule("Transpose")
def _transpose(node, x):
    return _module(x).transpose(x, node.get("perm"))


@_rule("Concat")
def _concatenate(node, *values):
    return _module(*values).concatenate(values, node.get("axis"))


@_rule("Expand")
def _expand(node, x, shape):
    shape = np.broadcast_shapes(x.shape, tuple(_integers(shape, "shape")))
    return _module(x).broadcast_to(x, _made(shape))


@_rule("Tile")
def _tile(node, x, repeats):
    repeats = _integers(repeats, "repeats")
    _made([*x.shape, *repeats])
    return _module(x).tile(x, tuple(repeats))


def _parts(x, sizes, axis):
    ends = np.cumsum(sizes)
    if ends[-1] != x.shape[axis]:
        raise ValueError(f"parts of {sizes} are no split of {x.shape[axis]}")
    return tuple(_module(x).split(x, [int(n) for n in ends[:-1]], axis))


@_rule("Split")
def _split(node, x, sizes=None):
    axis = node.get("axis", 0)
    sizes = node.get("split") if sizes is None else _integers(sizes, "sizes")
    if sizes is None:
        size, count = x.shape[axis], node.get("num_outputs", len(node.outputs))
        each = -(-size // count)
        sizes = [each] * (count - 1) + [size - each * (count - 1)]
    return _parts(x, sizes, axis)


@_rule("SplitToSequence")
def _split_to_sequence(node, x, sizes=None):
    axis, size = node.get("axis", 0), x.shape[node.get("axis", 0)]
    if sizes is not None and sizes.ndim:
        return (_parts(x, _integers(sizes, "sizes"), axis),)
    each = 1 if sizes is None else int(_known(sizes, "sizes"))
    sizes = [min(each, size - n) for n in range(0, size, each)]
    parts = _parts(x, sizes, axis)
    if each == 1 and not node.get("keepdims", 1):
        parts = tuple(_module(p).squeeze(p, axis) for p in parts)
    return (parts,)


@_rule("SequenceConstruct")
def _sequence(node, *values):
    return (values,)


@_rule("SequenceAt")
def _at_of_sequence(node, values, position):
    return values[int(_known(position, "position"))]


@_rule("ConcatFromSequence")
def _concatenate_sequence(node, values):
    module, axis = _module(*values), node.get("axis")
    return (module.stack if node.get("new_axis", 0) else module.concatenate)(
        values, axis
    )


@_rule("Slice")
def _slice(node, x, starts=None, ends=None, axes=None, steps=None):
    if node.opset < 10:
        starts, ends, axes = node.get("starts"), node.get("ends"), node.get("axes")
    else:
        starts, ends = _integers(starts, "starts"), _integers(ends, "ends")
        axes = None if axes is None else _integers(axes, "axes")
    steps = [1] * len(starts) if steps is None else _integers(steps, "steps")
    axes = range(len(starts)) if axes is None else axes
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        indices = range(x.shape[axis])[start:end:step]
        x = layers.selected(x, axis % x.ndim, indices)
    return x


@_rule("Gather")
def _gather(node, x, indices):
    axis = node.get("axis", 0) % x.ndim
    if _is_known(x, indices):
        return np.take(x, indices, axis)
    if not _is_known(indices):
        return jnp.take(x, indices, axis)
    if indices.size and not (
        -x.shape[axis] <= indices.min() and indices.max() < x.shape[axis]
    ):
        raise ValueError(f"it takes entries that are not among {x.shape[axis]}")
    indices = np.where(indices < 0, indices + x.shape[axis], indices)
    steps = layers.progression(indices.ravel())
    if steps is not None:
        x = layers.selected(x, axis, steps)
        return x.reshape(*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :])
    return jnp.take(x, indices, axis, mode="clip")


@_rule("Pad")
def _pad(node, x, pads=None, constant=None, axes=None):
    if node.opset < 11:
        pads, constant = node.get("pads"), np.asarray(node.get("value", 0.0))
    else:
        pads = _integers(pads, "pads")
    given = range(x.ndim) if axes is None else _integers(axes, "axes")
    every = [(0, 0)] * x.ndim
    before, after = pads[: len(given)], pads[len(given) :]
    for axis, *pair in zip(given, before, after, strict=True):
        every[axis] = tuple(pair)
    _made([max(n + sum(pair), 0) for n, pair in zip(x.shape, every, strict=True)])
    mode = node.get("mode", "constant")
    if mode != "constant":
        if min(map(min, every)) < 0:
            raise ValueError(f"it crops in mode {mode}")
        return _module(x).pad(x, every, mode=mode)
    value = np.zeros((), x.dtype) if constant is None else constant.reshape(())
    if _is_known(x, value) and min(map(min, every)) >= 0:
        return np.pad(x, every, constant_values=value.astype(x.dtype))
    return lax.pad(jnp.asarray(x), value.astype(x.dtype), [(*p, 0) for p in every])
