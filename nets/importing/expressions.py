"""Functions of one number, by how they are computed: ReLUs and scales told from all others.

An expression is `("x",)`, `("constant", number)`, or `(primitive, static parameters, argument, ...)`;
see `nets.operations.Activation`. What it is follows from its form, never from its values.
"""

from typing import Any

import numpy as np

Expression = tuple[Any, ...]
X: Expression = ("x",)
_SAME = {"copy", "copy_p", "stop_gradient"}


def scalar(known: Any) -> float | bool | None:
    """The one number that all entries of a constant are, or None."""
    if known.leaves:
        return None
    value = np.asarray(known.value)
    if value.dtype.kind not in "fiub" or not value.size:
        return None
    first = value.ravel()[0]
    return first.item() if (value == first).all() else None


def static_of(params: dict[str, Any], name: str) -> tuple[tuple[str, Any], ...] | None:
    """The static parameters of a primitive that decide its values."""
    if name == "integer_pow":
        return (("y", int(params["y"])),)
    if name == "convert_element_type":
        return (("new_dtype", str(np.dtype(params["new_dtype"]))),)
    return ()


def _is(expression, number):
    return expression[0] == "constant" and expression[1] == number


def size(expression: Expression) -> int:
    """How many operations it has."""
    if expression[0] in ("x", "constant"):
        return 0
    return 1 + sum(size(one) for one in expression[2:])


def simple(expression: Expression) -> Expression:
    """The same without operations that do nothing."""
    kind, _, *arguments = expression
    if kind in _SAME:
        return arguments[0]
    if kind in ("add", "add_any"):
        for one, other in (arguments, arguments[::-1]):
            if _is(other, 0):
                return one
    for extreme, infinite in (("max", -np.inf), ("min", np.inf)):
        if kind == extreme and len(arguments) == 2:
            for one, other in (arguments, arguments[::-1]):
                if _is(other, infinite):
                    return one
    if kind == "sub" and _is(arguments[1], 0):
        return arguments[0]
    if kind == "mul":
        for one, other in (arguments, arguments[::-1]):
            if _is(other, 1):
                return one
    if kind == "div" and _is(arguments[1], 1):
        return arguments[0]
    if kind == "neg" and arguments[0][0] == "neg":
        return arguments[0][2]
    return expression


def affine(expression: Expression) -> tuple[Expression, float, float]:
    """`(inner, scale, shift)`: it is scale * inner + shift, and inner is of another kind."""
    kind = expression[0]
    if kind in ("x", "constant"):
        return expression, 1.0, 0.0
    arguments = expression[2:]
    if kind == "neg":
        inner, scale, shift = affine(arguments[0])
        return inner, -scale, -shift
    if kind in ("add", "add_any", "sub", "mul", "div") and len(arguments) == 2:
        one, other = arguments
        if other[0] == "constant":
            inner, scale, shift = affine(one)
            number = other[1]
            if kind == "mul":
                return inner, scale * number, shift * number
            if kind == "div" and number != 0:
                return inner, scale / number, shift / number
            if kind != "div":
                return inner, scale, shift + (-number if kind == "sub" else number)
        elif one[0] != "constant" and kind in ("add", "add_any", "sub"):
            (inner, scale, shift), (same, by, more) = affine(one), affine(other)
            if inner == same:
                sign = -1.0 if kind == "sub" else 1.0
                return inner, scale + sign * by, shift + sign * more
        elif one[0] == "constant" and kind != "div":
            inner, scale, shift = affine(other)
            number = one[1]
            if kind == "mul":
                return inner, scale * number, shift * number
            sign = -1.0 if kind == "sub" else 1.0
            return inner, sign * scale, sign * shift + number
    return expression, 1.0, 0.0


def _rectified(expression):
    """`(inner, slope below 0)` of a ReLU or a leaky one, or None."""
    kind, arguments = expression[0], expression[2:]
    if kind == "max" and len(arguments) == 2:
        for one, other in (arguments, arguments[::-1]):
            if _is(other, 0):
                return one, 0.0
            slope = _slope(other, one)
            if slope is not None and 0 <= slope <= 1:
                return one, slope
    if kind == "select_n" and len(arguments) == 3:
        condition, if_not, if_so = arguments
        comparison, *sides = condition[0], *condition[2:]
        if comparison not in ("gt", "ge", "lt", "le") or len(sides) != 2:
            return None
        if _is(sides[0], 0):
            comparison = {"gt": "lt", "ge": "le", "lt": "gt", "le": "ge"}[comparison]
            sides = sides[::-1]
        if not _is(sides[1], 0):
            return None
        if comparison in ("lt", "le"):
            if_not, if_so = if_so, if_not
        if if_so == sides[0]:
            slope = 0.0 if _is(if_not, 0) else _slope(if_not, sides[0])
            return None if slope is None else (sides[0], slope)
    return None


def _slope(expression, inner):
    """c where an expression is c times another, or None."""
    if expression == inner:
        return 1.0
    if expression[0] == "mul":
        for one, other in (expression[2:], expression[:1:-1]):
            if one == inner and other[0] == "constant":
                return float(other[1])
    return None


def recognised(expression: Expression) -> list[tuple[Any, ...]] | None:
    """The steps that it is, or None: `("relu",)`, `("leaky", slope)`, `("scale", s, t)`."""
    inner, scale, shift = affine(expression)
    behind = [] if (scale, shift) == (1, 0) else [("scale", scale, shift)]
    if inner == X:
        return behind
    if inner[0] == "constant":
        return None
    found = _rectified(inner)
    if found is None:
        return None
    argument, slope = found
    before = recognised(argument)
    if before is None:
        return None
    return [*before, ("leaky", slope) if slope else ("relu",), *behind]


def split(expression: Expression) -> tuple[list[tuple[Any, ...]], Expression]:
    """`(steps, rest)`: one scale and shift that all x stand in, if there is one, and what is behind."""
    inner = _around_x(expression)
    if len(inner) != 1:
        return [], expression
    (scaled,) = inner
    _, scale, shift = affine(scaled)
    if (scale, shift) == (1, 0):
        return [], expression
    return [("scale", scale, shift)], _with_x(expression, scaled)


def _around_x(expression):
    """The largest expressions that are affine in x, x itself among them."""
    if affine(expression)[0] == X:
        return {expression}
    if expression[0] == "constant":
        return set()
    return set().union(*(_around_x(one) for one in expression[2:]))


def _with_x(expression, scaled, instead=X):
    """The expression with x, or something else, in the place of another."""
    if expression == scaled:
        return instead
    if expression[0] in ("x", "old", "constant"):
        return expression
    arguments = (_with_x(one, scaled, instead) for one in expression[2:])
    return (*expression[:2], *arguments)


def composed(expression: Expression) -> tuple[Expression, Expression] | None:
    """`(g, f)`: it is f(g(x)), g the largest part of it that every x is in; None if there is none."""
    parts = sorted(_parts(expression) - {expression}, key=size, reverse=True)
    for inner in parts:
        outer = _with_x(_with_x(expression, X, ("old",)), _with_x(inner, X, ("old",)))
        if ("old",) not in _leaves(outer):
            return inner, outer
    return None


def _parts(expression):
    """All expressions in it that are computed."""
    if expression[0] in ("x", "constant"):
        return set()
    return {expression}.union(*(_parts(one) for one in expression[2:]))


def _leaves(expression):
    if expression[0] in ("x", "old", "constant"):
        return {expression}
    return set().union(*(_leaves(one) for one in expression[2:]))


_NAMED = {
    "tanh": "tanh", "logistic": "sigmoid", "erf": "erf", "exp": "exp", "log": "log",
    "rsqrt": "1/sqrt", "sqrt": "sqrt", "abs": "abs", "square": "square",
}  # fmt: skip


def name_of(expression: Expression) -> str:
    """What to call it: a name, or how it is written."""
    kind = expression[0]
    if kind in _NAMED and expression[2:] == (X,):
        return _NAMED[kind]
    if kind == "mul" and X in expression[2:]:
        other = expression[3] if expression[2] == X else expression[2]
        if other[0] == "logistic" and other[2:] == (X,):
            return "silu"
    if kind == "min" and _rectified(expression[2]) == (X, 0.0):
        return f"relu{expression[3][1]:g}" if expression[3][0] == "constant" else "min"
    written = _written(expression)
    for part, name in (
        ("erf", "gelu"),
        ("tanh", "tanh formula"),
        ("log1p", "softplus"),
    ):
        if part in written:
            return f"{name}: {written}" if len(written) < 40 else name
    return written if len(written) < 60 else f"{written[:57]}..."


def _written(expression):
    kind, *rest = expression
    if kind == "x":
        return "x"
    if kind == "constant":
        return f"{rest[0]:g}" if not isinstance(rest[0], bool) else str(rest[0])
    arguments = ", ".join(_written(one) for one in rest[1:])
    return f"{kind}({arguments})"
