"""A network as a small graph: linear maps, ReLUs, pools, sums, and whatever else it does.

Nodes speak of ONE example; the batch axis is in front of what they are given and give. A value is
a vector `[D]` or an image `[H, W, channels]`, and nothing else. Parameters are those that
measuring reads everywhere, `{"Layer_0": {"kernel", "bias"}, ...}`, and a node names its layer by
the place that this has in `nets.kernels.layers`. A graph holds no arrays: equal graphs are equal,
and share a compiled program.
"""

import dataclasses
import functools
import itertools
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from nets.kernels import layers
from nets.operators import Convolution, Dense, operators

MAX, MEAN, SUM = "max", "mean", "sum"


@dataclasses.dataclass(frozen=True)
class Layout:
    """Entries moved, repeated or left out, or zeros put between; none is changed.

    Attributes:
      shape: of what it gives.
      axes: the axes of what it is given, in their new order, or None.
      entries: where there are no `axes`: for each entry that it gives, its place in what it is
        given, as the bytes of an int32 array; -1 for a zero.
    """

    shape: tuple[int, ...]
    axes: tuple[int, ...] | None = None
    entries: bytes = b""

    @classmethod
    def of(cls, index: np.ndarray, given: tuple[int, ...]) -> "Layout":
        """From places `index`, in the shape of what it gives, in what has the shape `given`."""
        places = np.arange(np.prod(given, dtype=int)).reshape(given)
        for axes in itertools.permutations(range(len(given))):
            if np.array_equal(places.transpose(axes).ravel(), index.ravel()):
                return cls(index.shape, axes)
        return cls(index.shape, None, index.astype(np.int32).tobytes())

    def of_batch(self, x: jax.Array) -> jax.Array:
        """`[N, *shape]` of `x` `[N, ...]`."""
        if self.axes is not None:
            x = x.transpose(0, *(axis + 1 for axis in self.axes))
            return x.reshape(x.shape[0], *self.shape)
        index = np.frombuffer(self.entries, np.int32)
        x = x.reshape(x.shape[0], -1)
        found = jnp.where((index >= 0)[None], x[:, np.maximum(index, 0)], 0)
        return found.reshape(x.shape[0], *self.shape)

    def __str__(self):
        return f"moved to {list(self.shape)}"


@dataclasses.dataclass(frozen=True)
class Window:
    """The largest, the mean or the sum over windows of an image, channel by channel.

    Attributes:
      kind: 'max', 'mean' or 'sum'.
      size, strides: of the windows, along height and width.
      padding: (before, behind) along height and width: places that count for nothing, but where
        `counts_padding`.
      counts_padding: whether means divide by the size of the window at the border, too.
    """

    kind: str
    size: tuple[int, int]
    strides: tuple[int, int]
    padding: tuple[tuple[int, int], tuple[int, int]] = ((0, 0), (0, 0))
    counts_padding: bool = False

    def of_batch(self, x: jax.Array) -> jax.Array:
        """`[N, H', W', channels]` of `x` `[N, H, W, channels]`."""
        if self.kind == MAX:
            return self._reduced(x, -np.inf, jax.lax.max)
        total = self.sums(x)
        return total if self.kind == SUM else total / self.counts(x)

    def sums(self, x: jax.Array) -> jax.Array:
        """The sums over the windows, whatever the kind."""
        return self._reduced(x, 0.0, jax.lax.add)

    def counts(self, x: jax.Array) -> jax.Array:
        """What means divide by, in a shape that goes with the sums'."""
        if self.counts_padding:
            return jnp.full((1, 1, 1, 1), self.size[0] * self.size[1], x.dtype)
        return self.sums(jnp.ones((1, *x.shape[1:3], 1), x.dtype))

    def _reduced(self, x, start, combine):
        """The start is a number of numpy's: with another there is no gradient."""
        return jax.lax.reduce_window(
            x,
            np.asarray(start, x.dtype)[()],
            combine,
            (1, *self.size, 1),
            (1, *self.strides, 1),
            ((0, 0), *self.padding, (0, 0)),
        )

    def __str__(self):
        height, width = self.size
        return f"{self.kind} over {height} x {width}, strides {list(self.strides)}"


@dataclasses.dataclass(frozen=True)
class Activation:
    """A function of one number, applied to every entry, by how it is computed.

    Attributes:
      name: what to call it.
      expression: `("x",)`, `("constant", number)`, or `(primitive, static parameters, argument,
        ...)` of a name in `PRIMITIVES`.
    """

    name: str
    expression: tuple[Any, ...]

    def of_batch(self, x: jax.Array) -> jax.Array:
        """Of every entry."""
        return _value_of(self.expression, x)

    def __str__(self):
        return self.name


@dataclasses.dataclass(frozen=True)
class Affine:
    """x * scale + shift with numbers that are no parameters: one for all entries, or one a channel.

    Attributes:
      scales, shifts: one number each, or as many as the last axis has entries.
    """

    scales: tuple[float, ...]
    shifts: tuple[float, ...]

    def of_batch(self, x: jax.Array) -> jax.Array:
        """Of every entry."""
        scales, shifts = (
            jnp.broadcast_to(jnp.asarray(numbers, x.dtype), x.shape)
            for numbers in (self.scales, self.shifts)
        )
        return x * scales + shifts

    def parts(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """x times the sizes of the scales, and the sizes of the shifts, for sums over paths."""
        scales, shifts = (
            jnp.broadcast_to(jnp.abs(jnp.asarray(numbers, x.dtype)), x.shape)
            for numbers in (self.scales, self.shifts)
        )
        return x * scales, shifts

    def __str__(self):
        def shown(numbers):
            some = ", ".join(f"{n:.4g}" for n in numbers[:3])
            return f"[{some}{', ...' if len(numbers) > 3 else ''}]"

        return f"x * {shown(self.scales)} + {shown(self.shifts)}"


def _clamp(low, x, high):
    return jnp.clip(x, low, high)


def _select(which, *cases):
    if len(cases) == 2:
        return jnp.where(which, cases[1], cases[0])
    return jnp.select([which == n for n in range(len(cases))], cases)


# Primitive of JAX -> what computes it, of arrays and then static parameters by their names.
PRIMITIVES: dict[str, Callable[..., Any]] = {
    "add": jnp.add, "add_any": jnp.add, "sub": jnp.subtract, "mul": jnp.multiply,
    "div": jnp.divide, "neg": jnp.negative, "max": jnp.maximum, "min": jnp.minimum,
    "abs": jnp.abs, "sign": jnp.sign, "exp": jnp.exp, "exp2": jnp.exp2, "log": jnp.log,
    "log1p": jnp.log1p, "expm1": jnp.expm1, "tanh": jnp.tanh, "sin": jnp.sin, "cos": jnp.cos,
    "tan": jnp.tan, "atan": jnp.arctan, "sinh": jnp.sinh, "cosh": jnp.cosh,
    "logistic": jax.nn.sigmoid, "erf": jax.lax.erf, "erfc": jax.lax.erfc,
    "sqrt": jnp.sqrt, "rsqrt": jax.lax.rsqrt, "cbrt": jnp.cbrt, "square": jnp.square,
    "pow": jnp.power, "integer_pow": lambda x, *, y: x**y,
    "floor": jnp.floor, "ceil": jnp.ceil, "clamp": _clamp, "select_n": _select,
    "lt": jnp.less, "le": jnp.less_equal, "gt": jnp.greater, "ge": jnp.greater_equal,
    "eq": jnp.equal, "ne": jnp.not_equal, "and": jnp.logical_and, "or": jnp.logical_or,
    "not": jnp.logical_not, "is_finite": jnp.isfinite, "copy": lambda x: x, "copy_p": lambda x: x,
    "stop_gradient": jax.lax.stop_gradient,
    "convert_element_type": lambda x, *, new_dtype: x.astype(new_dtype),
}  # fmt: skip


def _value_of(expression, x):
    kind, *rest = expression
    if kind == "x":
        return x
    if kind == "constant":
        return jnp.asarray(rest[0], x.dtype)
    static, *arguments = rest
    values = [_value_of(one, x) for one in arguments]
    return PRIMITIVES[kind](*values, **dict(static))


@dataclasses.dataclass(frozen=True)
class Opaque:
    """Something that is run and not understood.

    Attributes:
      name: of the operation.
      text: how it is written, its constants included: what makes two of them equal.
      function: the example's arrays, as JAX has them -> an array.
      shapes: in which these arrays arrive.
      shape: of what it gives: a vector or an image.
      has_parameters: whether it holds numbers that were learned.
    """

    name: str
    text: str
    function: Callable[..., jax.Array] = dataclasses.field(compare=False, repr=False)
    shapes: tuple[tuple[int, ...], ...]
    shape: tuple[int, ...]
    has_parameters: bool

    def of_batch(self, *arrays: jax.Array) -> jax.Array:
        """`[N, *shape]` of N examples."""

        def of_example(*arrays):
            shaped = [a.reshape(s) for a, s in zip(arrays, self.shapes, strict=True)]
            return self.function(*shaped).reshape(self.shape)

        return jax.vmap(of_example)(*arrays)

    def __str__(self):
        return self.name


@dataclasses.dataclass(frozen=True)
class Node:
    """One operation.

    Attributes:
      kind: 'input'; 'linear' (a `Dense` or a `Convolution`, with the bias if its layer has one);
        'layout'; 'window'; 'relu'; 'leaky' (`op` is the slope below 0); 'affine'; 'add', 'times' and
        'max', of several values entry by entry; 'concat', of several along the last axis;
        'activation'; 'opaque'.
      inputs: places of the nodes that it reads.
      op: what it does, where the kind does not tell; of an input its shape.
      layer: place of its layer in `nets.kernels.layers`, -1 for none.
    """

    kind: str
    inputs: tuple[int, ...] = ()
    op: Hashable = None
    layer: int = -1

    def __str__(self):
        if self.kind == "input":
            return f"input {list(self.op)}"
        if self.op is None:
            return self.kind
        if self.kind in ("linear", "activation", "layout"):
            return str(self.op)
        return f"{self.kind} {self.op}"


@dataclasses.dataclass(frozen=True)
class Graph:
    """A network that is run and measured as a graph: it stands where a Linen module does.

    Attributes:
      nodes: in an order in which they can be computed; the first is the input.
      names: of the layers, as their framework has them; they make no difference.
    """

    nodes: tuple[Node, ...]
    names: tuple[str, ...] = dataclasses.field(default=(), compare=False)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of an input."""
        return self.nodes[0].op

    def apply(self, variables: Mapping[str, chex.ArrayTree], x: jax.Array) -> jax.Array:
        """Logits `[N, C]`.

        Args:
          variables: `{"params": ...}`.
          x: `[N, ...]`, N inputs in any shape.
        """
        found = self.values(variables["params"], x)[-1]
        return found.reshape(x.shape[0], -1)

    def values(
        self,
        params: chex.ArrayTree,
        x: jax.Array,
        shifts: Mapping[int, jax.Array] | None = None,
        by_patches: bool = False,
    ) -> list[jax.Array]:
        """What every node gives, `[N, ...]` each.

        Args:
          params: the network's.
          x: `[N, ...]`, N inputs in any shape.
          shifts: place of a node -> what is added to what it gives.
          by_patches: whether convolutions are products with patches, whose gradients are fast in
            compiled loops.
        """
        every, found = layers(params), []
        for place, node in enumerate(self.nodes):
            given = [found[i] for i in node.inputs]
            if node.kind == "input":
                value = x.reshape(x.shape[0], *node.op)
            elif node.kind == "linear":
                value = _linear(node.op, every[node.layer], *given, by_patches)
            else:
                if node.kind in ("add", "times", "max"):
                    chex.assert_equal_shape(given)
                value = _OF_KIND[node.kind](node.op, *given)
            if shifts and place in shifts:
                value = value + shifts[place].reshape(value.shape)
            found.append(value)
        return found

    def linear_nodes(self) -> dict[int, Node]:
        """Place -> node, of the linear maps in their order."""
        every = enumerate(self.nodes)
        return {place: node for place, node in every if node.kind == "linear"}

    def operators(self) -> list[Dense | Convolution]:
        """The linear map of each layer; of one that is used more than once, where it is first."""
        found = {}
        for node in self.linear_nodes().values():
            found.setdefault(node.layer, node.op)
        return [found[layer] for layer in sorted(found)]

    @functools.cached_property
    def no_chain(self) -> str:
        """Why it is no chain of linear maps with a ReLU between any two, or ''."""
        linear = list(self.linear_nodes().values())
        if len({node.layer for node in linear}) < len(linear):
            return "a layer is used more than once"
        expected = (
            None  # the kind of what comes next, layouts aside; None for the input's
        )
        for place, node in enumerate(self.nodes):
            if node.kind not in ("input", "linear", "relu", "layout"):
                return f"speaks of chains of linear layers and ReLUs, not of {_shown(node)}"
            if node.kind != "input" and node.inputs != (place - 1,):
                return "speaks of chains of layers, not of connections that skip some"
            if node.kind == "layout" and not _is_permutation(node.op):
                return f"speaks of chains of linear layers, not of entries {node.op}"
            if node.kind in ("linear", "relu"):
                if node.kind == "relu" and expected != "relu":
                    return "speaks of chains that begin with a layer"
                if node.kind == "linear" and expected == "relu":
                    return "speaks of chains with a ReLU after every layer but the last"
                expected = "relu" if node.kind == "linear" else "linear"
        if expected != "relu":
            return "speaks of chains that end with a layer"
        return ""

    @functools.cached_property
    def no_paths(self) -> str:
        """Why sums over its paths say nothing of what it computes, or ''."""
        for node in self.nodes:
            if node.kind in ("times", "activation", "opaque"):
                return f"paths through {_shown(node)} are not defined"
        return ""

    @functools.cached_property
    def unread(self) -> int:
        """Operations that hold learned numbers which are in no layer."""
        return sum(n.kind == "opaque" and n.op.has_parameters for n in self.nodes)

    def mass(self, params: chex.ArrayTree, p: float) -> tuple[jax.Array, jax.Array]:
        """Sums over the paths from inputs and biases to each output of prod |weight|^p.

        The walk of the network itself on ones, with |weight|^p. The largest entry of a window is
        taken as the sum over it; a mean's 1 / n is no weight and is not raised to the power p; a
        leaky ReLU counts as its larger slope.

        Args:
          params: the network's, in the precision of the result.
          p: > 0.

        Returns:
          `(sums, log_scale)`: sums `[C]`, at most 1, and the logarithm `[]` of what they are
          measured in.

        Raises:
          ValueError: there is a reason (`no_paths`).
        """
        if self.no_paths:
            raise ValueError(self.no_paths)
        every = [
            {name: jnp.abs(leaf) ** p for name, leaf in layer.items()}
            for layer in layers(params)
        ]
        kind = jnp.result_type(*jax.tree.leaves(params))
        found = []
        for node in self.nodes:
            given = [found[i] for i in node.inputs]
            if node.kind == "input":
                new = jnp.ones((1, *node.op), kind), jnp.zeros((), kind)
            elif node.kind == "linear":
                layer, (x, log_scale) = every[node.layer], given[0]
                new = _linear_mass(node.op, layer["kernel"], x), log_scale
                if "bias" in layer:
                    bias = jnp.broadcast_to(layer["bias"], new[0].shape)
                    new = _sum_of([_scaled(*new), _scaled(bias, jnp.zeros((), kind))])
            elif node.kind in ("add", "max"):
                new = _sum_of(given)
            elif node.kind == "concat":
                arrays, log_scale = _on_one_scale(given)
                new = _OF_KIND["concat"](node.op, *arrays), log_scale
            else:
                (x, log_scale), op = given[0], node.op
                if node.kind == "window":
                    x = op.sums(x) if op.kind != MEAN else op.of_batch(x)
                elif node.kind == "layout":
                    x = op.of_batch(x)
                elif node.kind == "leaky":
                    x = x * max(1.0, abs(op)) ** p
                elif node.kind == "affine":
                    scaled, shift = op.parts(x)
                    shift = _scaled(shift, jnp.zeros((), kind))
                    x, log_scale = _sum_of([_scaled(scaled, log_scale), shift])
                new = x, log_scale
            found.append(_scaled(*new))
        sums, log_scale = found[-1]
        return sums[0].reshape(-1), log_scale

    def __str__(self):
        lines = []
        for place, node in enumerate(self.nodes):
            reads = ", ".join(map(str, node.inputs))
            name = (
                f" ({self.names[node.layer]})" if node.layer >= 0 and self.names else ""
            )
            lines.append(f"{place}: {node}{name}{' of ' if reads else ''}{reads}")
        return "\n".join(lines)


def chain_of(operators: Sequence[Dense | Convolution], shape: Sequence[int]) -> Graph:
    """The graph of layers with a ReLU between any two.

    Args:
      operators: of the layers, the input's first.
      shape: of an input.
    """
    nodes = [Node("input", op=tuple(shape))]
    for layer, op in enumerate(operators):
        if layer:
            nodes.append(Node("relu", (len(nodes) - 1,)))
        nodes.append(Node("linear", (len(nodes) - 1,), op, layer))
    return Graph(tuple(nodes))


def graph_of(model: nn.Module | Graph, params: chex.ArrayTree) -> Graph:
    """The graph of a model: its own, or the chain of its layers.

    Args:
      model: a `Graph`, or a Linen module of layers with ReLUs between them.
      params: its parameters.
    """
    if isinstance(model, Graph):
        return model
    maps, first = operators(model, params), layers(params)[0]
    if isinstance(maps[0], Convolution):
        shape = (*maps[0].image, first["kernel"].shape[2] * maps[0].groups)
    else:
        rows = sum(leaf.shape[0] for name, leaf in first.items() if name != "bias")
        shape = (maps[0].positions * rows,)
    return chain_of(maps, shape)


def is_dense(model: nn.Module | Graph, params: chex.ArrayTree) -> bool:
    """Whether a network is a chain of `Dense` layers of vectors with ReLUs between them."""
    if not all(op == Dense() for op in operators(model, params)):
        return False
    if not isinstance(model, Graph):
        return True
    kinds = {node.kind for node in model.nodes}
    return not model.no_chain and kinds <= {"input", "linear", "relu"}


def _shown(node):
    name = {
        "window": "pooling",
        "leaky": "leaky ReLUs",
        "affine": "constants that scale or shift (give inputs that are normalised)",
        "add": "sums of several values",
        "max": "the larger of several values",
        "times": "products of several values",
        "concat": "values put side by side",
    }.get(node.kind)
    return name or f"{node.op}"


def _is_permutation(layout):
    if layout.axes is not None:
        return True
    index = np.frombuffer(layout.entries, np.int32)
    return np.array_equal(np.sort(index), np.arange(len(index)))


def _linear(op, layer, x, by_patches):
    kernel = layer["kernel"]
    if by_patches and isinstance(op, Convolution):
        x = op.of_patches(kernel, x)
    else:
        x = op.of_batch(kernel, x)
    return x + jnp.broadcast_to(layer["bias"], x.shape) if "bias" in layer else x


def _linear_mass(op, kernel, x):
    if isinstance(op, Convolution):
        return op.of_batch(kernel, x, jax.lax.Precision.HIGHEST)
    return op.of_batch(kernel, x)


_OF_KIND: dict[str, Callable[..., jax.Array]] = {
    "layout": lambda op, x: op.of_batch(x),
    "window": lambda op, x: op.of_batch(x),
    "activation": lambda op, x: op.of_batch(x),
    "opaque": lambda op, *xs: op.of_batch(*xs),
    "relu": lambda op, x: jax.nn.relu(x),
    "leaky": lambda op, x: jnp.where(x >= 0, x, op * x),
    "affine": lambda op, x: op.of_batch(x),
    "add": lambda op, *xs: functools.reduce(jnp.add, xs),
    "times": lambda op, *xs: functools.reduce(jnp.multiply, xs),
    "max": lambda op, *xs: functools.reduce(jnp.maximum, xs),
    "concat": lambda op, *xs: jnp.concatenate(xs, axis=-1),
}


def _scaled(x, log_scale):
    """The same with a largest entry of 1, unless all are 0."""
    largest = jnp.max(x)
    divisor = jnp.where(largest > 0, largest, 1.0)
    return x / divisor, log_scale + jnp.log(divisor)


def _on_one_scale(given):
    """Arrays measured in the largest of their units, and its logarithm."""
    top = functools.reduce(jnp.maximum, [log_scale for _, log_scale in given])
    return [x * jnp.exp(log_scale - top) for x, log_scale in given], top


def _sum_of(given):
    arrays, log_scale = _on_one_scale(given)
    return functools.reduce(jnp.add, arrays), log_scale
