"""Settings: declared once in a frozen dataclass, and from there the flags, their checks,
what a run folder remembers and what `--resume` compares.

The settings of a call are those of its program and of its problem together: `combined`.
"""

import dataclasses
import functools
import math
import types
import typing
from collections.abc import Callable, Iterable
from typing import Any

from experiments.lab.refusals import Refusal

# (predicate, wish); a wish that is a function takes an import to say, and so does the predicate.
Check = tuple[Callable[[Any], bool], str | Callable[[], str]]
# The groups of `--help`, in its order.
PROBLEM, NETWORK, TRAINING, BOUNDS = "problem", "network", "training", "bounds"
FOLDER, MACHINE = "run folder", "machine"
GROUPS = (PROBLEM, NETWORK, TRAINING, BOUNDS, FOLDER, MACHINE)


def setting(
    default: Any,
    help: str,
    check: Check | None = None,
    *,
    group: str = PROBLEM,
    varies: bool = False,
    measuring: bool = False,
    compared: bool = True,
    axis: tuple[str, Callable[[Any], float]] | None = None,
) -> Any:
    """A field of a settings dataclass.

    Args:
      default: its value where neither a preset nor the command line gives one.
      help: what `--help` says.
      check: `(predicate, wish)`: the wish says what the predicate asks for.
      group: of `GROUPS`.
      varies: whether `--vary` may sweep it.
      measuring: it decides how runs are measured, not what they are: `--redraw` may
        change it.
      compared: whether `--resume` insists on it.
      axis: `(name, value -> number)` of it in figures, where it is no number itself.
    """
    return dataclasses.field(
        default=default,
        metadata={
            "help": help, "check": check, "group": group, "varies": varies,
            "measuring": measuring, "compared": compared, "axis": axis,
        },
    )  # fmt: skip


def one_of(*choices: str) -> Check:
    """A check that a value is one of several."""
    return lambda value: value in choices, f"one of {', '.join(choices)}"


def one_of_those(choices: Callable[[], Iterable[str]]) -> Check:
    """The same of choices that are known to a module that takes long to import.

    A default is one of them, and all else is checked before they are asked for.
    """
    return (
        lambda value: value in choices(),
        lambda: f"one of {', '.join(choices())}",
    )


at_least_1 = (
    lambda value: 1 <= value < 2**31,
    "a whole number >= 1, and below 2^31",
)
repetitions = (
    lambda value: 1 <= value <= 10**5,
    "a whole number >= 1, and at most 100000",
)
seed_number = (
    lambda value: 0 <= value < 2**32,
    "a whole number >= 0, and below 2^32",
)
# The least and the largest that float32 holds in full precision: networks are trained in it,
# and what is less is 0 there, what is more infinite.
_LEAST, _LARGEST = 2.0**-126, (2 - 2.0**-23) * 2.0**127
positive = (
    lambda value: _LEAST <= value <= _LARGEST,
    "a finite number > 0, as float32 has them",
)
not_negative = (
    lambda value: value == 0 or _LEAST <= value <= _LARGEST,
    "a finite number >= 0, as float32 has them",
)
fraction = (lambda value: 0 <= value <= 1, "a number in [0, 1]")
below_1 = (lambda value: 0 <= value < 1, "a number in [0, 1)")
# Its inverse is taken in float32, too.
open_fraction = (lambda value: 1e-30 <= value < 1, "a number in (0, 1), at least 1e-30")
whole_number = (lambda value: 0 <= value < 2**31, "a whole number >= 0, and below 2^31")
two_radii = (
    # Squared in float32, over many coordinates.
    lambda r: len(r) == 2 and all(1e-15 <= v <= 1e15 for v in r) and r[0] != r[1],
    "two different finite numbers > 0, from 1e-15 to 1e15",
)
distinct_sizes = (
    lambda values: (
        values
        and min(values) >= 1
        and max(values) < 2**31
        and len(set(values)) == len(values)
    ),
    "whole numbers >= 1 and below 2^31, each once, separated by commas",
)


def are_told_apart(values: Iterable[float]) -> bool:
    """Whether numbers still differ as names show them."""
    values = [f"{value:g}" for value in values]
    return len(set(values)) == len(values)


distinct_epochs = (
    lambda values: all(v >= 1 for v in values) and list(values) == sorted(set(values)),
    "whole numbers >= 1, rising, separated by commas",
)


@functools.cache
def redefault(kind: type, name: str, default: Any) -> Any:
    """A setting of a base class with another default."""
    field = kind.__dataclass_fields__[name]
    return dataclasses.field(default=default, metadata=field.metadata)


def combined(program: type, problem: type | None) -> type:
    """The settings of a program and a problem as one dataclass.

    Raises:
      ValueError: both have a setting of one name.
    """
    own = () if problem is None else dataclasses.fields(problem)
    taken = {field.name for field in dataclasses.fields(program)}
    for field in own:
        if field.name in taken:
            raise ValueError(f"{field.name} is a setting of the program; rename it")

    def clashes(self):
        yield from _clashes(program, self)
        if problem is not None:
            yield from _clashes(problem, part(self, problem))

    new = [
        (f.name, f.type, dataclasses.field(default=f.default, metadata=f.metadata))
        for f in own
    ]
    return dataclasses.make_dataclass(
        program.__name__,
        new,
        bases=(program,),
        frozen=True,
        namespace={"__module__": program.__module__, "clashes": clashes},
    )


def part(config: Any, kind: type) -> Any:
    """The settings of `kind` among those of a call."""
    return kind(**{f.name: getattr(config, f.name) for f in dataclasses.fields(kind)})


def element_type(annotation: Any) -> type | None:
    """`int` for `tuple[int, ...]` (or None), None for a scalar annotation."""
    annotation = scalar_type(annotation)
    if typing.get_origin(annotation) is tuple:
        return typing.get_args(annotation)[0]
    return None


def scalar_type(annotation: Any) -> Any:
    """`str` for `str | None`; other annotations as they are."""
    if isinstance(annotation, types.UnionType):
        return next(a for a in typing.get_args(annotation) if a is not type(None))
    return annotation


# What a value of a type is called, and what stands between several.
_WORDS = {
    int: "a whole number",
    float: "a number",
    str: "a word",
    bool: "true or false",
}
_SEPARATORS = {",": "commas", ":": "colons"}


def parsed(name: str, text: str, annotation: Any, separator: str = ",") -> Any:
    """The value of a setting as it is typed: a number, a word, or several.

    Raises:
      Refusal: it is no value of that type.
    """
    element = element_type(annotation)
    try:
        if element:
            return tuple(
                element(p) for p in text.removesuffix(separator).split(separator)
            )
        kind = scalar_type(annotation)
        if kind is bool:
            return {"true": True, "false": False, "1": True, "0": False}[text.lower()]
        return kind(text)
    except (ValueError, KeyError):
        wish = _WORDS[element or scalar_type(annotation)]
        if element:
            wish = f"{wish.removeprefix('a ')}s separated by {_SEPARATORS[separator]}"
        raise Refusal(f"--{name}={text}: must be {wish}") from None


def shown(value: Any) -> str:
    """A setting as it would be typed."""
    if isinstance(value, (tuple, list)):
        return ",".join(shown(v) for v in value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def check(config: Any) -> None:
    """Raises a `Refusal` that names all settings with a value they must not have.

    If there are none, it names all that do not go together: what a dataclass of settings says of
    them in lines, by its method `clashes`. Of a sweep that is asked of each variant. Nothing is
    imported for it, but where the name of a registry's entry was typed.
    """
    rules = [
        (field, rule, getattr(config, field.name))
        for field in dataclasses.fields(config)
        if (rule := field.metadata["check"]) and getattr(config, field.name) is not None
    ]
    at_once = [
        f"--{field.name}={shown(value)}: must be {wish}"
        for field, (holds, wish), value in rules
        if isinstance(wish, str) and not holds(value)
    ]
    if not at_once and not getattr(config, "vary", None):
        at_once = list(_clashes(type(config), config))
    later = (
        f"--{field.name}={shown(value)}: must be {wish()}"
        for field, (holds, wish), value in rules
        if not isinstance(wish, str) and value != field.default and not holds(value)
    )
    wrong = at_once or list(later)
    if wrong:
        raise Refusal("; ".join(wrong))


def _clashes(kind, config):
    """The lines on what does not go together that a dataclass has of its settings."""
    return kind.clashes(config) if hasattr(kind, "clashes") else ()


def to_json(config: Any) -> dict[str, Any]:
    """A settings dataclass as what JSON can hold."""
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in dataclasses.asdict(config).items()
    }


def from_json(kind: type, stored: dict[str, Any]) -> Any:
    """The inverse of `to_json`; what the folder does not know of has its default.

    Raises:
      KeyError: it knows of a setting that there is not.
      TypeError: a value is not of the setting's type.
    """
    fields = {field.name: field for field in dataclasses.fields(kind)}
    return kind(
        **{name: _typed(name, v, fields[name].type) for name, v in stored.items()}
    )


# What is no number in JSON, as `formats.write_json` has it.
_NO_NUMBERS = {"inf": math.inf, "-inf": -math.inf, "nan": math.nan}


def _typed(name, value, annotation):
    """A value from JSON, which must be of a type."""
    element, kind = element_type(annotation), scalar_type(annotation)
    wrong = TypeError(
        f"{name} is {value!r}, which is not {_WORDS.get(kind, 'several')}"
    )
    if value is None:
        if kind is annotation:
            raise wrong
        return None
    if element:
        if not isinstance(value, list):
            raise wrong
        return tuple(_typed(name, v, element) for v in value)
    if kind is float and isinstance(value, str):
        value = _NO_NUMBERS.get(value, value)
    is_bool = isinstance(value, bool)
    if kind is float and isinstance(value, int) and not is_bool:
        value = float(value)
    if not isinstance(value, kind) or is_bool != (kind is bool):
        raise wrong
    return value


def differences(wanted: Any, stored: Any, names: Iterable[str]) -> str:
    """One line on the settings among `names` in which two configs differ, or ''."""
    return "; ".join(
        f"--{name}={shown(getattr(wanted, name))} here, {shown(getattr(stored, name))} there"
        for name in names
        if getattr(wanted, name) != getattr(stored, name)
    )


def names(
    kind: type, *, measuring: bool | None = None, compared: bool | None = None
) -> list[str]:
    """The names of the settings of a dataclass, those with the given metadata."""
    wanted = {"measuring": measuring, "compared": compared}
    return [
        field.name
        for field in dataclasses.fields(kind)
        if all(v is None or field.metadata[k] == v for k, v in wanted.items())
    ]
