"""What a jaxpr says, as nodes in the making: a rule for each primitive.

See `nets.importing.jaxpr`, which traces functions and proves what was read.
"""

import dataclasses
import hashlib
from collections.abc import Sequence
from typing import Any

import jax
import jax.extend.core
import jax.numpy as jnp
import numpy as np

from nets import operations
from nets.importing import expressions
from nets.operations import MAX, SUM, Activation, Layout, Opaque, Window
from nets.operators import Convolution, Dense

_X = ("x",)
_MOST_STEPS = 40  # of one expression; of a longer one a part becomes a node
_INLINED = {
    "pjit": "jaxpr", "jit": "jaxpr", "closed_call": "call_jaxpr", "core_call": "call_jaxpr",
    "custom_jvp_call": "call_jaxpr", "custom_vjp_call": "call_jaxpr",
    "custom_vjp_call_jaxpr": "fun_jaxpr", "remat2": "jaxpr", "checkpoint": "jaxpr",
    "remat": "jaxpr", "custom_lin": "jaxpr",
}  # fmt: skip
_RANDOM = {
    "random_bits", "random_seed", "random_wrap", "random_split", "random_fold_in",
    "threefry2x32", "rng_uniform", "rng_bit_generator",
}  # fmt: skip
_MOVED = {
    "reshape", "transpose", "squeeze", "expand_dims", "broadcast_in_dim", "slice", "rev",
    "pad", "dynamic_slice", "copy", "copy_p",
}  # fmt: skip


class NotReadable(ValueError):
    """The function cannot be read; the message says why."""


@dataclasses.dataclass(frozen=True)
class Known:
    """What depends on parameters and constants alone.

    Attributes:
      value: its array.
      leaves: numbers of the parameters that it was made from; none: a constant.
    """

    value: Any
    leaves: frozenset[int] = frozenset()


@dataclasses.dataclass(frozen=True)
class Data:
    """What depends on the input.

    Attributes:
      node: the place of a node.
      index: in the shape that JAX's array has: where each entry is in what the node gives, flat;
        -1 for a zero.
      expression: of such an entry.
      dtype: of JAX's array.
    """

    node: int
    index: np.ndarray
    expression: tuple[Any, ...] = _X
    dtype: Any = np.float32


@dataclasses.dataclass
class Raw:
    """A node in the making.

    Attributes:
      kind, inputs, op: as of a `Node`; 'scale' for a scale and shift that are not yet placed.
      shape: of what it gives: a vector or an image.
      kernel, bias: of a linear map; scale and shift `shape` of a 'scale'.
      key: what makes two uses one layer.
      name: of its layer.
      is_constant: of a 'scale', whether no parameter is in it.
      shifts: of a 'scale', whether its shift may be other than 0: learned ones may, whatever they
        are now, so that a network is read alike before and after its training.
    """

    kind: str
    inputs: tuple[int, ...]
    op: Any
    shape: tuple[int, ...]
    kernel: np.ndarray | None = None
    bias: np.ndarray | None = None
    key: Any = None
    name: str = ""
    is_constant: bool = False
    shifts: bool = False


def _digest(data):
    return hashlib.sha256(data).hexdigest()


def _constants_in(params):
    """The constants of the functions that are parameters of an operation."""
    for value in params.values():
        for one in value if isinstance(value, tuple) else (value,):
            yield from getattr(one, "consts", ())


class Reader:
    """Nodes in the making, and a rule for each primitive."""

    def __init__(self, paths: Sequence[str]):
        self.paths = paths
        self.nodes: list[Raw] = []
        self.made: dict[Any, int] = {}

    def add(
        self,
        kind: str,
        inputs: Sequence[int],
        op: Any,
        shape: Sequence[int],
        **rest: Any,
    ) -> int:
        """A new node's place."""
        self.nodes.append(Raw(kind, tuple(inputs), op, tuple(shape), **rest))
        return len(self.nodes) - 1

    # What a jaxpr says.

    def walk(
        self, jaxpr: Any, consts: Sequence[Known], arguments: Sequence[Known | Data]
    ) -> list[Known | Data]:
        """The values of a jaxpr's outputs.

        Raises:
          NotReadable: it draws random numbers.
        """
        values: dict[Any, Any] = {}
        values.update(zip(jaxpr.constvars, consts, strict=True))
        values.update(zip(jaxpr.invars, arguments, strict=True))

        def of(atom):
            if isinstance(atom, jax.extend.core.Literal):
                return Known(atom.val)
            return values[atom]

        for equation in jaxpr.eqns:
            given = [of(atom) for atom in equation.invars]
            found = self._equation(equation, given)
            values.update(zip(equation.outvars, found, strict=True))
        return [of(atom) for atom in jaxpr.outvars]

    def _equation(self, equation, given):
        """What one equation gives, a list."""
        name, parameters = equation.primitive.name, equation.params
        if name in _RANDOM:
            raise NotReadable(
                f"it draws random numbers ({name}): give it in inference mode (dropout off)"
            )
        if name in _INLINED and _INLINED[name] in parameters:
            inner = parameters[_INLINED[name]]
            if not hasattr(inner, "jaxpr"):
                inner = jax.extend.core.ClosedJaxpr(inner, ())
            consts = [Known(c) for c in inner.consts]
            return self.walk(inner.jaxpr, consts, given)
        if all(isinstance(v, Known) for v in given):
            return self._computed(equation, given)
        if name == "split":
            return self._split(equation, *given)
        if len(equation.outvars) == 1:
            rule = getattr(self, f"_{name}", None)
            found = rule(equation, *given) if rule else None
            if found is None and name in _MOVED:
                found = self._moved(equation, given)
            if found is None and name in operations.PRIMITIVES:
                found = self._entrywise(equation, given)
            if found is not None:
                return [found]
        return self._opaque(equation, given)

    @staticmethod
    def _computed(equation, given):
        """Of known values: by the primitive itself."""
        found = equation.primitive.bind(*(v.value for v in given), **equation.params)
        found = found if equation.primitive.multiple_results else [found]
        leaves = frozenset().union(*(v.leaves for v in given))
        return [Known(value, leaves) for value in found]

    def _opaque(self, equation, given):
        """Run, and not understood: a node for each output."""
        arrays = [v for v in given if isinstance(v, Data)]
        shapes = tuple(v.index.shape for v in arrays)
        inputs = tuple(self.arranged(v, (-1,)) for v in arrays)
        known = [v for v in given if isinstance(v, Known)]
        found = []
        for place, variable in enumerate(equation.outvars):
            aval = variable.aval
            if not hasattr(aval, "shape") or (aval.ndim > 0 and aval.shape[0] == 0):
                raise NotReadable(
                    f"{equation.primitive.name}: an array without entries"
                )

            def function(*data, place=place):
                rest = iter(data)
                values = [
                    v.value if isinstance(v, Known) else next(rest) for v in given
                ]
                out = equation.primitive.bind(*values, **equation.params)
                return out[place] if equation.primitive.multiple_results else out

            size = int(np.prod(aval.shape, dtype=int))
            constants = b"".join(
                np.asarray(a).tobytes()
                for a in (*(v.value for v in known), *_constants_in(equation.params))
            )
            op = Opaque(
                equation.primitive.name,
                f"{place} {equation.primitive.name} {equation.params} {_digest(constants)}",
                function,
                shapes,
                (size,),
                any(v.leaves for v in known),
            )
            node = self.add("opaque", inputs, op, (size,))
            index = np.arange(size).reshape(aval.shape)
            found.append(Data(node, index, dtype=aval.dtype))
        return found

    # Data as nodes.

    def _entries(self, data) -> int:
        """The node whose entries are the expression of those of `data.node`."""
        if data.expression == _X:
            return data.node
        key = data.node, data.expression
        if key not in self.made:
            shape = self.nodes[data.node].shape
            steps = expressions.recognised(data.expression)
            if steps is None:
                before, rest = expressions.split(data.expression)
                op = Activation(expressions.name_of(rest), rest)
                steps = [*before, ("activation", op)]
            self.made[key] = self._recognised(data.node, steps, shape)
        return self.made[key]

    def _recognised(self, node, found, shape):
        """A node for each step of a recognised expression."""
        for kind, *op in found:
            if kind == "scale":
                scale, shift = op
                node = self.add(
                    "scale", (node,), None, shape, is_constant=True,
                    kernel=np.full(shape, scale), bias=np.full(shape, shift), shifts=shift != 0,
                )  # fmt: skip
            else:
                node = self.add(kind, (node,), op[0] if op else None, shape)
        return node

    def arranged(self, data: Data, shape: tuple[int, ...]) -> int:
        """The node that gives exactly `data`, flat or as an image of some shape.

        Args:
          data: a `Data`, whose index has the order that is wanted.
          shape: `(-1,)`, or of an image.
        """
        node = self._entries(data)
        given = self.nodes[node].shape
        index = data.index.reshape(shape)
        is_same = index.size == np.prod(given, dtype=int) and np.array_equal(
            index.ravel(), np.arange(index.size)
        )
        if is_same and (index.shape == given or len(shape) == 1):
            return node
        key = node, index.tobytes(), index.shape
        if key not in self.made:
            layout = Layout.of(index, given)
            self.made[key] = self.add("layout", (node,), layout, index.shape)
        return self.made[key]

    def _whole(self, data, dtype=None):
        """`data` as a node without expression, in the node's own order if that has all entries."""
        node = self._entries(data)
        size = int(np.prod(self.nodes[node].shape, dtype=int))
        index = data.index
        is_permutation = index.size == size and np.array_equal(
            np.sort(index, axis=None), np.arange(size)
        )
        if not is_permutation:
            node = self.arranged(data, (-1,))
            index = np.arange(index.size).reshape(index.shape)
        return Data(node, index, dtype=dtype or data.dtype)

    def _as_node(self, value):
        """A value whose expression has become a node."""
        if isinstance(value, Known):
            return value
        return dataclasses.replace(value, node=self._entries(value), expression=_X)

    def _output(self, node, index, dtype=np.float32):
        return Data(node, np.asarray(index), dtype=dtype)

    # Entries moved.

    def _moved(self, equation, given):
        data, *others = given
        if not isinstance(data, Data) or not all(isinstance(v, Known) for v in others):
            return None
        index = data.index
        if any(v.leaves for v in others):
            return None  # where entries go was learned
        if equation.primitive.name == "pad":
            if np.asarray(others[0].value) != 0:
                return None
            data = self._whole(data) if data.expression != _X else data
            index, others = data.index, [Known(np.int32(-1))]
        places = jnp.asarray(index, jnp.int32)
        values = [places, *(jnp.asarray(v.value) for v in others)]
        found = equation.primitive.bind(*values, **equation.params)
        found = np.asarray(found)
        if (found < 0).any() and data.expression != _X:
            return None
        return dataclasses.replace(data, index=found)

    @staticmethod
    def _split(equation, data):
        ends = np.cumsum(equation.params["sizes"])[:-1]
        parts = np.split(data.index, ends, axis=equation.params["axis"])
        return [dataclasses.replace(data, index=part) for part in parts]

    def _concatenate(self, equation, *given):
        if not all(isinstance(v, Data) for v in given):
            return None
        axis = equation.params["dimension"]
        every = [self._whole(v) for v in given]
        shapes = [self.nodes[v.node].shape for v in every]
        images = len({s[:-1] for s in shapes}) == 1
        if images:
            last = np.cumsum([0, *(s[-1] for s in shapes)])
            places, width = [], last[-1]
            for shape, start in zip(shapes, last, strict=False):
                own = np.arange(np.prod(shape[:-1], dtype=int))[:, None] * width
                places.append((own + start + np.arange(shape[-1])).ravel())
            shape = (*shapes[0][:-1], int(width))
            nodes = [v.node for v in every]
        else:
            nodes = [
                self.arranged(Data(v.node, np.arange(v.index.size)), (-1,))
                for v in every
            ]
            nodes = [self._flat(node) for node in nodes]
            sizes = [v.index.size for v in every]
            places = [
                np.arange(size) + start
                for size, start in zip(sizes, np.cumsum([0, *sizes]), strict=False)
            ]
            shape = (sum(sizes),)
        index = np.concatenate(
            [own[v.index] for own, v in zip(places, every, strict=True)], axis=axis
        )
        return self._output(self.add("concat", nodes, None, shape), index)

    def _flat(self, node):
        """A node that gives a vector."""
        raw = self.nodes[node]
        if len(raw.shape) == 1:
            return node
        index = np.arange(np.prod(raw.shape, dtype=int))
        return self.add("layout", (node,), Layout.of(index, raw.shape), index.shape)

    # Operations on single entries.

    def _entrywise(self, equation, given):
        """One number at a time: an expression, a scale and shift, or a node of two values."""
        name = equation.primitive.name
        dtype, shape = equation.outvars[0].aval.dtype, equation.outvars[0].aval.shape
        # A zero that was put between is an entry like others from here on.
        given = [
            self._whole(v) if isinstance(v, Data) and (v.index < 0).any() else v
            for v in given
        ]
        given = [
            dataclasses.replace(v, index=np.broadcast_to(v.index, shape))
            if isinstance(v, Data)
            else v
            for v in given
        ]
        data = [v for v in given if isinstance(v, Data)]
        scalars = [expressions.scalar(v) if isinstance(v, Known) else v for v in given]
        is_alike = all(
            v.node == data[0].node and np.array_equal(v.index, data[0].index)
            for v in data[1:]
        )
        if name == "convert_element_type":
            wanted = equation.params["new_dtype"]
            if jnp.issubdtype(wanted, jnp.floating) and wanted != np.float32:
                return None  # rounding is kept, as it is
            if data[0].dtype == wanted:
                return data[0]
        if not all(v.dtype in (np.float32, np.bool_) for v in data):
            return None  # whole numbers and half precision round by rules of their own
        if None not in scalars and is_alike:
            static = expressions.static_of(equation.params, name)
            if static is not None:
                arguments = [
                    v.expression if isinstance(v, Data) else ("constant", v)
                    for v in scalars
                ]
                found = expressions.simple((name, static, *arguments))
                if expressions.size(found) > _MOST_STEPS:
                    inner_and_outer = expressions.composed(found)
                    if inner_and_outer is None:
                        nodes = [self._as_node(v) for v in given]
                        return self._entrywise(equation, nodes)
                    inner, outer = inner_and_outer
                    node = self._entries(dataclasses.replace(data[0], expression=inner))
                    return dataclasses.replace(
                        data[0], node=node, expression=outer, dtype=dtype
                    )
                return dataclasses.replace(data[0], expression=found, dtype=dtype)
        if len(data) == 1 and len(given) == 2:
            return self._with_known(name, given, dtype)
        if len(data) == 2 and len(given) == 2:
            return self._of_two(name, *given, dtype)
        return None

    def _with_known(self, name, given, dtype):
        """x + b, x - b, b - x, x * s, x / s with arrays."""
        is_first = isinstance(given[0], Data)
        data, known = given if is_first else given[::-1]
        value = np.asarray(known.value, float)
        scale, shift = 1.0, 0.0
        if name in ("add", "add_any"):
            shift = value
        elif name == "sub":
            scale, shift = (1.0, -value) if is_first else (-1.0, value)
        elif name == "mul":
            scale = value
        elif name == "div" and is_first:
            scale = 1 / value
        else:
            return None
        data = self._whole(data)
        raw = self.nodes[data.node]
        size = np.prod(raw.shape, dtype=int)
        arrays = []
        for array in (scale, shift):
            own = np.empty(size)
            own[data.index.ravel()] = np.broadcast_to(array, data.index.shape).ravel()
            arrays.append(own.reshape(raw.shape))
        node = self.add(
            "scale", (data.node,), None, raw.shape, kernel=arrays[0], bias=arrays[1],
            is_constant=not known.leaves, key=known.leaves, name=self._layer_name(known),
            shifts=bool(np.any(shift)) or (bool(known.leaves) and name not in ("mul", "div")),
        )  # fmt: skip
        return self._output(node, data.index, dtype)

    def _of_two(self, name, a, b, dtype):
        """Sums, products and the larger of two values, entry by entry."""
        kind = {
            "add": "add", "add_any": "add", "sub": "add", "mul": "times", "div": "times",
            "max": "max", "min": "max",
        }.get(name)  # fmt: skip
        if kind is None or not np.issubdtype(dtype, np.floating):
            return None
        if name == "div":
            b = dataclasses.replace(
                b, expression=("div", (), ("constant", 1.0), b.expression)
            )
        if name == "min":
            a = self._negated(a)
        if name in ("sub", "min"):
            b = self._negated(b)
        if np.unique(a.index).size < np.unique(b.index).size:
            a, b = b, a
        a = self._whole(a)
        shape = self.nodes[a.node].shape
        order = np.empty(a.index.size, int)
        order[a.index.ravel()] = b.index.ravel()
        b = self.arranged(dataclasses.replace(b, index=order), shape)
        if len(shape) == 1:
            b = self._flat(b)
        found = self._output(self.add(kind, (a.node, b), None, shape), a.index, dtype)
        return self._negated(found) if name == "min" else found

    @staticmethod
    def _negated(data):
        found = expressions.simple(("neg", (), data.expression))
        return dataclasses.replace(data, expression=found)

    # Linear maps.

    @staticmethod
    def _layer_key(known, kind, kernel):
        """What makes two uses one layer: what it is made from, and the same kernel."""
        return kind, known.leaves, kernel.shape, _digest(kernel.tobytes())

    def _layer_name(self, known):
        names = [self.paths[leaf] for leaf in sorted(known.leaves)]
        return ", ".join(names[:2]) if names else "constants"

    def _dot_general(self, equation, a, b):
        (contract_a, contract_b), (batch_a, batch_b) = equation.params[
            "dimension_numbers"
        ]
        if isinstance(a, Data) == isinstance(b, Data):
            return None
        is_first = isinstance(a, Data)
        data, known = (a, b) if is_first else (b, a)
        own, its = (contract_a, contract_b) if is_first else (contract_b, contract_a)
        if batch_a or batch_b:
            return None
        free = [n for n in range(data.index.ndim) if n not in own]
        positions = [data.index.shape[n] for n in free]
        kernel = np.asarray(known.value, np.float32)
        outer = [n for n in range(kernel.ndim) if n not in its]
        outputs = [kernel.shape[n] for n in outer]
        kernel = kernel.transpose(*its, *outer)
        kernel = kernel.reshape(int(np.prod(kernel.shape[: len(its)], dtype=int)), -1)
        index = data.index.transpose(*free, *own).reshape(-1, kernel.shape[0])
        count, out = index.shape[0], kernel.shape[1]
        rest = {"name": self._layer_name(known)}
        if count == 1:
            node, kernel = self._into_vector(data, index[0], kernel)
            rest["key"] = self._layer_key(known, "dense", kernel)
            made = self.add("linear", (node,), Dense(), (out,), kernel=kernel, **rest)
        else:
            large = [n for n in positions if n > 1]
            image = (large[0], count // large[0])
            node = self.arranged(
                dataclasses.replace(data, index=index), (*image, kernel.shape[0])
            )
            op = Convolution(image, (1, 1), ((0, 0), (0, 0)))
            rest["key"] = self._layer_key(known, "convolution", kernel)
            made = self.add(
                "linear", (node,), op, (*image, out), kernel=kernel[None, None], **rest
            )
        found = np.arange(count * out).reshape(*positions, *outputs)
        if not is_first:
            found = np.moveaxis(found, range(len(positions)), range(-len(positions), 0))
        return self._output(made, found, equation.outvars[0].aval.dtype)

    def _into_vector(self, data, index, kernel):
        """A dense layer reads a node's entries in the order in which that has them."""
        node = self._entries(data)
        size = int(np.prod(self.nodes[node].shape, dtype=int))
        if len(np.unique(index)) == len(index) and (index >= 0).all():
            moved = np.zeros((size, kernel.shape[1]), kernel.dtype)
            if size == len(index):
                moved[index] = kernel
                return node, moved
        return self.arranged(dataclasses.replace(data, index=index), (-1,)), kernel

    def _conv_general_dilated(self, equation, data, known):
        p = equation.params
        if not isinstance(data, Data) or not isinstance(known, Known):
            return None
        numbers, spatial = p["dimension_numbers"], len(p["window_strides"])
        lhs, rhs, out = numbers.lhs_spec, numbers.rhs_spec, numbers.out_spec
        if (
            spatial not in (1, 2)
            or p["batch_group_count"] != 1
            or any(d != 1 for d in p["lhs_dilation"])
            or any(n < 0 for pair in p["padding"] for n in pair)
        ):
            return None
        index = data.index.transpose(lhs[0], *lhs[2:], lhs[1])
        kernel = np.asarray(known.value, np.float32).transpose(*rhs[2:], rhs[1], rhs[0])
        one = [1] * (2 - spatial)
        if index.shape[0] != 1:
            return None
        index = index.reshape(*index.shape[1 : 1 + spatial], *one, index.shape[-1])
        kernel = kernel.reshape(*kernel.shape[:spatial], *one, *kernel.shape[spatial:])
        op = Convolution(
            index.shape[:2],
            (*p["window_strides"], *one),
            tuple(map(tuple, (*p["padding"], *([(0, 0)] * len(one))))),
            (*p["rhs_dilation"], *one),
            p["feature_group_count"],
        )
        node = self.arranged(dataclasses.replace(data, index=index), index.shape)
        shape = (*op.outputs(kernel.shape), kernel.shape[-1])
        made = self.add(
            "linear", (node,), op, shape, kernel=kernel,
            key=self._layer_key(known, "convolution", kernel),
            name=self._layer_name(known),
        )  # fmt: skip
        found = np.arange(np.prod(shape)).reshape(1, *shape[:spatial], shape[-1])
        back = np.argsort([out[0], *out[2:], out[1]])
        return self._output(made, found.transpose(back), equation.outvars[0].aval.dtype)

    # Windows.

    def _reduce_window_max(self, equation, data):
        return self._window(MAX, equation.params, data)

    def _reduce_window_sum(self, equation, data):
        return self._window(SUM, equation.params, data)

    def _reduce_window(self, equation, data, start):
        """The largest where it begins at -inf: JAX does not tell that of a start that it traces."""
        if not isinstance(start, Known) or not isinstance(data, Data):
            return None
        steps = equation.params["jaxpr"].eqns
        is_largest = [step.primitive.name for step in steps] == ["max"]
        if not is_largest or np.asarray(start.value) != -np.inf:
            return None
        return self._window(MAX, equation.params, data)

    def _window(self, kind, p, data):
        if any(n != 1 for n in (*p["base_dilation"], *p["window_dilation"])):
            return None
        sizes, strides, padding = (
            p["window_dimensions"], p["window_strides"], p["padding"],
        )  # fmt: skip
        every = zip(sizes, strides, padding, strict=True)
        axes = [n for n, (k, s, z) in enumerate(every) if (k, s, *z) != (1, 1, 0, 0)]
        if any(n < 0 for pair in padding for n in pair) or len(axes) > 2:
            return None
        if not axes:
            return data

        def of_axes(values, missing):
            return (*(values[n] for n in axes), *[missing] * (2 - len(axes)))

        op = Window(
            kind, of_axes(sizes, 1), of_axes(strides, 1),
            tuple(map(tuple, of_axes(padding, (0, 0)))),
        )  # fmt: skip
        return self._pooled(op, axes, data)

    def _pooled(self, op, axes, data):
        """A window over one or two axes; all others are channels."""
        others = [n for n in range(data.index.ndim) if n not in axes]
        index = data.index.transpose(*axes, *others)
        sizes, rest = index.shape[: len(axes)], index.shape[len(axes) :]
        image = (*sizes, *[1] * (2 - len(axes)), int(np.prod(rest, dtype=int)))
        node = self.arranged(dataclasses.replace(data, index=index), image)
        every = zip(image, op.size, op.strides, op.padding, strict=False)
        outputs = [(n + sum(z) - k) // s + 1 for n, k, s, z in every]
        shape = (*outputs, image[-1])
        made = self.add("window", (node,), op, shape)
        found = np.arange(np.prod(shape)).reshape(*outputs[: len(axes)], *rest)
        return self._output(made, found.transpose(np.argsort([*axes, *others])))

    def _reduce_max(self, equation, data):
        return self._reduced(MAX, equation.params["axes"], data)

    def _reduce_min(self, equation, data):
        return self._negated(
            self._reduced(MAX, equation.params["axes"], self._negated(data))
        )

    def _reduce_sum(self, equation, data):
        return self._reduced(SUM, equation.params["axes"], data)

    def _reduced(self, kind, axes, data):
        """Over whole axes."""
        large = sorted(n for n in axes if data.index.shape[n] > 1)
        if large:
            others = [n for n in range(data.index.ndim) if n not in large]
            index = data.index.transpose(*large, *others)
            rest = index.shape[len(large) :]
            index = index.reshape(index.shape[0], -1, *rest)
            flat = dataclasses.replace(data, index=index)
            op = Window(kind, index.shape[:2], (1, 1))
            pooled = self._pooled(op, [0, 1], flat)
            shape = [1 if n in large else s for n, s in enumerate(data.index.shape)]
            data = dataclasses.replace(pooled, index=pooled.index.reshape(shape))
        shape = [s for n, s in enumerate(data.index.shape) if n not in axes]
        return dataclasses.replace(data, index=data.index.reshape(shape))
