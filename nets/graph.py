"""A network as a small graph: linear maps, ReLUs, pools, sums, and whatever else it does.

Nodes speak of ONE example; the batch axis is in front of what they are given and give. A value is
a vector `[D]` or an image `[H, W, channels]`, and nothing else. Parameters are those that
measuring reads everywhere, `{"Layer_0": {"kernel", "bias"}, ...}`, and a node names its layer by
the place that this has in `nets.kernels.layers`. A graph holds no arrays: equal graphs are equal,
and share a compiled program.
"""

import dataclasses
import functools
from collections.abc import Callable, Hashable, Mapping, Sequence

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from nets.kernels import layers
from nets.operations import MEAN
from nets.operators import Convolution, Dense, operators


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
    def ends_with_layer(self) -> bool:
        """Whether its logits are what a layer gives that is used once, and nothing else."""
        last = self.nodes[-1].layer
        return last >= 0 and sum(node.layer == last for node in self.nodes) == 1

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
            {name: _power(jnp.abs(leaf), p) for name, leaf in layer.items()}
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


def _power(x, p):
    """x^p of x >= 0; half of a power is a root, in a tenth of the time."""
    whole, half = divmod(p, 1)
    if half != 0.5:
        return x**p
    is_0 = x == 0  # where the root has no slope
    return jnp.where(is_0, 0.0, x ** int(whole) * jnp.sqrt(jnp.where(is_0, 1.0, x)))


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
