"""Which bounds are meant: the settings of a program that evaluates some, and their names."""

import dataclasses
import difflib
import inspect
from collections.abc import Sequence
from typing import Any

from experiments.lab.later import later
from experiments.lab.refusals import Refusal
from experiments.lab.settings import BOUNDS, Check, one_of_those, open_fraction, setting

bounds = later("bounds")


def _is_once(names):
    return bool(names) and len(set(names)) == len(names)


def _choice(name: str) -> Check:
    return one_of_those(lambda: bounds.Convention.CHOICES[name])


@dataclasses.dataclass(frozen=True)
class BoundSettings:
    """The settings of a program that evaluates bounds; a base of its own settings."""

    bounds: tuple[str, ...] = setting(
        ("all",), "names, families, statuses, networks spoken of, or 'all'; commas join, + "
        "intersects (certified+trained); `evaluate --list` shows them",
        (_is_once, "names of bounds, each once"), group=BOUNDS, measuring=True
    )  # fmt: skip
    plugin: str | None = setting(
        None, "a Python file of your own: BOUNDS, MEASURES, PROBLEMS, NETWORKS",
        group=BOUNDS, measuring=True, compared=False
    )  # fmt: skip
    delta: float = setting(
        0.05, "failure probability of certified bounds",
        open_fraction, group=BOUNDS, measuring=True
    )  # fmt: skip
    depth_factor: str = setting(
        "matrices", "the factor d of neyshabur_2018: weight 'matrices' (theorem) or 'hidden' "
        "layers (the authors' MNIST code)",
        _choice("depth_factor"), group=BOUNDS, measuring=True
    )  # fmt: skip
    input_norm: str = setting(
        "included", "the factor B = max ||x|| of the plotted spectral bounds: 'included', or "
        "'left_out' (the companion notebook)",
        _choice("input_norm"), group=BOUNDS, measuring=True
    )  # fmt: skip
    norm_21: str = setting(
        "bartlett", "the (2,1) norm of 'bartlett' (over output units), or 'transposed' (the "
        "authors' code)", _choice("norm_21"), group=BOUNDS, measuring=True
    )  # fmt: skip

    @property
    def convention(self) -> "bounds.Convention":
        """Of the bounds that have one."""
        return bounds.Convention(self.depth_factor, self.input_norm, self.norm_21)


CONVENTIONS = ("depth_factor", "input_norm", "norm_21")


def with_bounds(config: Any) -> Any:
    """Settings with `bounds` resolved to names; a plugin's bounds are always among them.

    Raises:
      Refusal: a name that no bound has.
    """
    from experiments.lab import plugins

    added = plugins.load(config.plugin).bounds  # before names are looked up
    names = resolve(config.bounds)
    if not set(added) & set(names):  # a plugin is there to be evaluated
        names += added
    return dataclasses.replace(config, bounds=names)


def family(name: str) -> str:
    """The file that a bound is in."""
    return bounds.BOUNDS[name].fn.__module__.rpartition(".")[2]


def _meant(word):
    """The bounds that one word names, or None."""
    every = bounds.BOUNDS
    if word == "all":
        return list(every)
    if word in every:
        return [word]
    as_status = word.replace("_", " ")
    if as_status in bounds.spec.STATUSES:
        return [n for n, spec in every.items() if spec.status == as_status]
    if word in bounds.spec.SPEAKS_OF:
        return [n for n, spec in every.items() if spec.speaks_of == word]
    return (
        [n for n, spec in every.items() if word in spec.also]
        or [n for n in every if family(n) == word]
        or None
    )


def resolve(words: Sequence[str]) -> tuple[str, ...]:
    """The names of bounds that are meant by what was typed, each once.

    Args:
      words: names, other names they are known by, families, statuses, networks spoken of,
        'all'; several joined by + mean what all of them name.

    Raises:
      Refusal: a word that names nothing, or words that name nothing together.
    """
    found = []
    for typed in words:
        sets = []
        for word in typed.split("+"):
            meant = _meant(word)
            if meant is None:
                near = difflib.get_close_matches(word.lower(), [*bounds.BOUNDS], 3)
                hint = f" (do you mean {' or '.join(near)}?)" if near else ""
                raise Refusal(
                    f"--bounds={word}: there is no such bound{hint}; `python -m "
                    "experiments.evaluate --list` shows them all"
                )
            sets.append(meant)
        both = [n for n in sets[0] if all(n in other for other in sets[1:])]
        if not both:
            raise Refusal(f"--bounds={typed}: no bound is all of that; use fewer words")
        found += both
    return tuple(dict.fromkeys(found))


_DEFINED_ON = {
    "chain": "chains of linear layers with a ReLU between any two",
    "graph": "any network whose learned numbers are all in its layers",
    "function": "any network that can be run",
}


def listing(names: Sequence[str]) -> str:
    """Bounds as text, family by family: what each is, promises and needs; then the groups."""
    width = max(len(name) for name in names)
    lines, module = [], None
    for name in names:
        spec = bounds.BOUNDS[name]
        if inspect.getmodule(spec.fn) is not module:
            module = inspect.getmodule(spec.fn)
            about = (module.__doc__ or "").split("\n\nArguments")[0].strip()
            lines += ["", *(f"# {line}".rstrip() for line in about.splitlines()), ""]
        options = [o for o in spec.keywords if o != "convention"]
        lines += [
            f"{name:{width}}  {spec.status}, of the {spec.speaks_of} network",
            f"    {spec.fn.__doc__.strip().splitlines()[0]}",
            f"    {spec.paper}",
            f"    defined on: {_DEFINED_ON[spec.defined_on]}",
            f"    needs: {', '.join([*spec.groups, *options])}",
        ]
        if spec.assumption:
            lines.append(f"    assumes: {spec.assumption}")
        if "circular" in spec.bind.values():
            lines.append("    of convolutions: the circular one's spectral norm")
        if spec.also:
            lines.append(f"    also known as: {', '.join(spec.also)}")
    lines += [
        "",
        "# What a bound can ask for, as parameters: groups, and their fields",
        "",
    ]
    for name, kind in bounds.GROUPS.items():
        about = inspect.getdoc(kind) or ""
        lines.append(f"{name}: {about.splitlines()[0] if about else ''}")
        fields = about.partition("Attributes:")[2].rstrip().splitlines()
        lines += [f"  {line}" for line in fields if line.strip()]
    return "\n".join(lines).strip()
