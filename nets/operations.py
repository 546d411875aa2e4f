"""What a node of a graph does besides a linear map or a ReLU; arrays stay outside.

Each is hashable: equal ones are equal, and share a compiled program. `of_batch` runs it on a batch.
"""

import dataclasses
import itertools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

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
