"""`--vary=NAME=VALUE,VALUE,...`: one setting swept, all else as it is; `--measure_at`: epochs."""

import dataclasses
from collections.abc import Callable, Collection
from typing import Any

from experiments.lab.refusals import Refusal
from experiments.lab.settings import check, element_type, parsed, shown


def variable(kind: type) -> list[str]:
    """The settings of a dataclass that may be swept."""
    return [f.name for f in dataclasses.fields(kind) if f.metadata["varies"]]


def cells(config: Any) -> dict[str, Any]:
    """The settings that may be swept, as cells of a table."""
    values = {name: getattr(config, name) for name in variable(type(config))}
    return {n: shown(v) if isinstance(v, tuple) else v for n, v in values.items()}


_EPOCH, END = "epoch=", "end"  # the variants of `--measure_at`


def is_on_the_way(variant: str) -> bool:
    """Whether a variant's networks are those of other runs before their training ended."""
    return variant.startswith(_EPOCH)


def along_training(config: Any) -> dict[str, Any]:
    """The settings that `--measure_at` spans: variant -> settings, the whole training last."""
    whole = dataclasses.replace(config, measure_at=())
    return {
        f"{_EPOCH}{epoch}": dataclasses.replace(whole, max_epochs=epoch)
        for epoch in config.measure_at
    } | {END: whole}


def swept(vary: str | None) -> str:
    """The name of the setting that is swept, or ''."""
    return (vary or "").partition("=")[0]


def variants(
    config: Any,
    of_problem: Callable[[Any, str], Any] | None = None,
    without: Collection[str] = (),
) -> dict[str, Any]:
    """The settings that `--vary` or `--measure_at` span: variant, e.g. "width=100", -> settings.

    '' is the variant where nothing is swept.

    Values of a setting that is several numbers are joined by colons: radii=1:1.1,1:2.

    Args:
      config: the settings of a call.
      of_problem: (settings, name) -> the same settings for another problem, where problems
        may be swept.
      without: settings of problems that mean nothing to the program.

    Raises:
      Refusal: `--vary` is not understood, names what the problem has not, or spans a value
        that the setting must not have.
    """
    if getattr(config, "measure_at", ()):
        if config.vary:
            raise Refusal(
                "--measure_at and --vary: epochs are swept, too; leave one of them out"
            )
        return along_training(config)
    if not config.vary:
        return {"": config}
    name, _, text = config.vary.partition("=")
    fields = {f.name: f for f in dataclasses.fields(config)}
    usable = [
        n
        for n in variable(type(config))
        if getattr(config, n) is not None and n not in without
    ]
    if name not in usable or not text:
        several = [n for n in usable if element_type(fields[n].type)]
        raise Refusal(
            f"--vary={config.vary}: {config.problem} has these to vary: "
            f"{', '.join(usable)}; write e.g. --vary={usable[0]}=VALUE,VALUE"
            + "".join(f" or --vary={n}=A:B,A:C" for n in several[:1])
        )
    found, kind = {}, fields[name].type
    for word in text.split(","):
        try:
            value = parsed(name, word, kind, ":" if element_type(kind) else ",")
        except Refusal:
            raise Refusal(
                f"--vary={config.vary}: {word!r} is no value of --{name}; write e.g. "
                "--vary=width=100,1000 or --vary=radii=1:1.1,1:2"
            ) from None
        if value in [getattr(c, name) for c in found.values()]:
            raise Refusal(f"--vary={config.vary}: {word} twice; give every value once")
        if name == "problem":
            one = dataclasses.replace(of_problem(config, value), vary=None)
        else:
            one = dataclasses.replace(config, vary=None, **{name: value})
        check(one)
        found[f"{name}={word}"] = one
    return found


def place(config: Any, name: str) -> float | None:
    """Where a variant stands on a numeric axis: the value of the swept setting, or None."""
    field = next(f for f in dataclasses.fields(config) if f.name == name)
    value = getattr(config, name)
    if field.metadata["axis"]:
        return float(field.metadata["axis"][1](value))
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if is_number else None


def axis_name(config: Any, name: str) -> str:
    """What the axis of a swept setting is called."""
    field = next(f for f in dataclasses.fields(config) if f.name == name)
    axis = field.metadata["axis"]
    return axis[0] if axis else name.replace("_", " ")
