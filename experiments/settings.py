"""Settings: declared once in a frozen dataclass, and from there the flags, their checks,
what a run folder remembers and what `--resume` compares."""

import dataclasses
import math
import types
import typing

from experiments.refusals import Refusal


def setting(help, check=None, measuring=False, compared=True):
    """A field of a settings dataclass.

    Args:
      help: what `--help` says.
      check: `(predicate, wish)`: the wish says what the predicate asks for.
      measuring: it decides how runs are measured, not what they are: `--redraw` may
        change it.
      compared: whether `--resume` insists on it.
    """
    return dataclasses.field(
        metadata={
            "help": help,
            "check": check,
            "measuring": measuring,
            "compared": compared,
        }
    )


def one_of(*choices):
    return lambda value: value in choices, f"one of {', '.join(choices)}"


at_least_1 = (
    lambda value: 1 <= value < 2**31,
    "a whole number >= 1, and below 2^31",
)
seed_number = (
    lambda value: 0 <= value < 2**32,
    "a whole number >= 0, and below 2^32",
)
positive = (lambda value: math.isfinite(value) and value > 0, "a finite number > 0")
fraction = (lambda value: 0 <= value <= 1, "a number in [0, 1]")
open_fraction = (lambda value: 0 < value < 1, "a number in (0, 1)")
whole_number = (lambda value: 0 <= value < 2**31, "a whole number >= 0, and below 2^31")
two_radii = (
    lambda r: len(r) == 2 and all(0 < v < float("inf") for v in r) and r[0] != r[1],
    "two different finite numbers > 0",
)
distinct_sizes = (
    lambda values: values and min(values) >= 1 and len(set(values)) == len(values),
    "whole numbers >= 1, each once, separated by commas",
)


def element_type(annotation):
    """`int` for `tuple[int, ...]` (or None), None for a scalar annotation."""
    annotation = scalar_type(annotation)
    if typing.get_origin(annotation) is tuple:
        return typing.get_args(annotation)[0]
    return None


def scalar_type(annotation):
    """`str` for `str | None`; other annotations as they are."""
    if isinstance(annotation, types.UnionType):
        return next(a for a in typing.get_args(annotation) if a is not type(None))
    return annotation


def parse_list(name, text, kind):
    """The flag `--name=text` as a tuple of `kind`."""
    try:
        return tuple(kind(part) for part in text.removesuffix(",").split(","))
    except ValueError:
        raise Refusal(
            f"--{name}={text}: not {kind.__name__}s separated by commas; write e.g. --{name}=1,2"
        ) from None


def shown(value):
    """A setting as it would be typed."""
    if isinstance(value, (tuple, list)):
        return ",".join(shown(v) for v in value)
    return str(value)


def check(config):
    """Raises a `Refusal` that names the first setting with a value it must not have."""
    for field in dataclasses.fields(config):
        rule, value = field.metadata["check"], getattr(config, field.name)
        if rule and value is not None and not rule[0](value):
            raise Refusal(f"--{field.name}={shown(value)}: must be {rule[1]}")


def to_json(config):
    """A settings dataclass as what JSON can hold."""
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in dataclasses.asdict(config).items()
    }


def from_json(kind, stored):
    """The inverse of `to_json`."""
    return kind(
        **{
            field.name: tuple(stored[field.name])
            if element_type(field.type) and stored[field.name] is not None
            else stored[field.name]
            for field in dataclasses.fields(kind)
        }
    )


def differences(wanted, stored, names):
    """One line on the settings among `names` in which two configs differ, or ''."""
    return "; ".join(
        f"--{name}={shown(getattr(wanted, name))} here, {shown(getattr(stored, name))} there"
        for name in names
        if getattr(wanted, name) != getattr(stored, name)
    )


def names(kind, *, measuring=None, compared=None):
    """The names of the settings of a dataclass, those with the given metadata."""
    wanted = {"measuring": measuring, "compared": compared}
    return [
        field.name
        for field in dataclasses.fields(kind)
        if all(v is None or field.metadata[k] == v for k, v in wanted.items())
    ]
