"""Which bounds there are and which are meant: names typed, and bounds from a user's file."""

import dataclasses
import difflib
import functools
import importlib.util
import inspect
import re
import sys
import traceback
from pathlib import Path

import jax
import numpy as np

import bounds
from bounds import measuring
from bounds.evaluate import asks_for
from bounds.measuring.network import History
from bounds.types import (
    CERTIFIED,
    SPEAKS_OF,
    STATUSES,
    BoundSpec,
    BoundValue,
    Convention,
)
from experiments.refusals import Refusal
from experiments.settings import one_of, open_fraction, setting

OPTIONS = ("margin", "delta", "convention")


@dataclasses.dataclass(frozen=True)
class BoundSettings:
    """The settings of a program that evaluates bounds; a base of its own settings."""

    bounds: tuple[str, ...] = setting(
        "'all', 'certified', or names separated by commas; `python -m "
        "experiments.evaluate --list` shows them",
        (
            lambda names: bool(names) and len(set(names)) == len(names),
            "names of bounds, each once",
        ),
        measuring=True,
    )
    plugin: str | None = setting(
        "a Python file with bounds of your own: a dict BOUNDS of name -> bounds.BoundSpec "
        "and, if they need something new measured, dicts GROUPS and MEASURES",
        measuring=True,
        compared=False,
    )
    delta: float = setting(
        "failure probability of certified bounds", open_fraction, measuring=True
    )
    depth_factor: str = setting(
        "the factor d of neyshabur_2018: weight 'matrices' (theorem) or 'hidden' layers "
        "(the authors' MNIST code)",
        one_of(*Convention.CHOICES["depth_factor"]),
        measuring=True,
    )
    input_norm: str = setting(
        "whether the factor B = max ||x|| is 'included' in the plotted spectral bounds or "
        "'left_out' (as in the companion notebook)",
        one_of(*Convention.CHOICES["input_norm"]),
        measuring=True,
    )
    norm_21: str = setting(
        "the (2,1) norm of 'bartlett' (over output units), or 'transposed' (the authors' code)",
        one_of(*Convention.CHOICES["norm_21"]),
        measuring=True,
    )

    @property
    def convention(self):
        return Convention(self.depth_factor, self.input_norm, self.norm_21)

    def with_bounds(self):
        """These settings with the plugin loaded and `bounds` resolved to names."""
        added = load(self.plugin)
        names = resolve(self.bounds)
        if not set(added) & set(names):  # a plugin is there to be evaluated
            names += added
        return dataclasses.replace(self, bounds=names)


def resolve(names):
    """The names of bounds that are meant by what was typed, each once.

    Args:
      names: names of the registry, other names they are known by, 'all', 'certified'.

    Raises:
      Refusal: a name that no bound has.
    """
    found = []
    for name in names:
        if name == "all":
            found += bounds.BOUNDS
        elif name == "certified":
            found += [
                n for n, spec in bounds.BOUNDS.items() if spec.status == CERTIFIED
            ]
        elif name in bounds.BOUNDS:
            found.append(name)
        else:
            also = [n for n, spec in bounds.BOUNDS.items() if name in spec.also]
            if not also:
                near = difflib.get_close_matches(name.lower(), [*bounds.BOUNDS], 3)
                hint = f" (do you mean {' or '.join(near)}?)" if near else ""
                raise Refusal(
                    f"--bounds={name}: there is no such bound{hint}; `python -m "
                    "experiments.evaluate --list` shows them all"
                )
            found += also
    return tuple(dict.fromkeys(found))


def listing(names):
    """Bounds as text, family by family: what each is, promises and needs."""
    width = max(len(name) for name in names)
    lines, family = [], None
    for name in names:
        spec = bounds.BOUNDS[name]
        module = inspect.getmodule(spec.fn)
        if module is not family:
            family, about = module, (module.__doc__ or "").split("\n\nArguments")[0]
            lines += [
                "",
                *(f"# {line}".rstrip() for line in about.strip().splitlines()),
                "",
            ]
        groups, options = asks_for(spec)
        needs = ", ".join(groups + [o for o in options if o != "convention"])
        lines += [
            f"{name:{width}}  {spec.status}, of the {spec.speaks_of} network",
            f"    {spec.fn.__doc__.strip().splitlines()[0]}",
            f"    {spec.paper}",
            f"    needs: {needs}",
        ]
        if spec.assumption:
            lines.append(f"    assumes: {spec.assumption}")
        if "circular" in spec.bind.values():
            lines.append("    of convolutions: the circular one's spectral norm")
        if spec.also:
            lines.append(f"    also known as: {', '.join(spec.also)}")
    return "\n".join(lines).strip()


@functools.cache
def load(path):
    """Adds the bounds of a user's file to the registry; once, however often it is called.

    Args:
      path: a Python file with a dict `BOUNDS` (name -> `bounds.BoundSpec`) and, where they
        need something new measured, dicts `GROUPS` (name -> a flax.struct dataclass) and
        `MEASURES` (name -> function of a `bounds.Network`). None adds nothing.

    Returns:
      The names of its bounds.

    Raises:
      Refusal: it cannot be read, holds no bounds, takes a name that is taken, asks for what
        is not measured, or does not return a `BoundValue` of scalars.
    """
    if path is None:
        return ()
    where = f"--plugin={path}"
    if not Path(path).is_file():
        raise Refusal(f"{where}: there is no such file")
    plugin = _imported(path, where)
    added = getattr(plugin, "BOUNDS", None)
    if not isinstance(added, dict) or not added:
        raise Refusal(f"{where}: has no dict BOUNDS of name -> bounds.BoundSpec")
    tables = (
        (bounds.BOUNDS, added),
        (measuring.GROUPS, getattr(plugin, "GROUPS", {})),
        (measuring.MEASURES, getattr(plugin, "MEASURES", {})),
    )
    also = {other for spec in bounds.BOUNDS.values() for other in spec.also}
    for ours, theirs in tables:
        taken = sorted((set(ours) | also | {"all", "certified"}) & set(theirs))
        if taken:
            raise Refusal(f"{where}: the name {taken[0]} is taken; give it another")
    for name in added:
        if not re.fullmatch(r"\w+", str(name)):
            raise Refusal(f"{where}: {name!r}: a name is letters, digits and _ only")
    groups, measures = tables[1][1], tables[2][1]
    alone = sorted(set(groups) ^ set(measures))
    if alone:
        lacks = "MEASURES" if alone[0] in groups else "GROUPS"
        raise Refusal(f"{where}: {alone[0]} is missing in {lacks}; both need it")
    for ours, theirs in tables:
        ours.update(theirs)
    try:
        for name, spec in added.items():
            _check(name, spec, where)
    except Refusal:
        for ours, theirs in tables:
            for name in theirs:
                del ours[name]
        raise
    return tuple(added)


def _imported(path, where):
    spec = importlib.util.spec_from_file_location(f"plugin_{Path(path).stem}", path)
    if spec is None:
        raise Refusal(f"{where}: not a Python file; its name must end in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise Refusal(f"{where}: {_in_one_line(error, path)}") from error
    return module


def _in_one_line(error, path):
    """What went wrong, and in which line of the user's file."""
    lines = [
        frame.lineno
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename and Path(frame.filename).resolve() == Path(path).resolve()
    ]
    place = f"line {lines[-1]}: " if lines else ""
    message = str(error).strip().splitlines()
    return f"{place}{type(error).__name__}: {message[0] if message else ''}"


def _check(name, spec, where):
    """Traces a bound on a network made up for it: errors show before anything is trained."""
    if not isinstance(spec, BoundSpec):
        raise Refusal(f"{where}: {name} is no bounds.BoundSpec")
    for field, choices in (("status", STATUSES), ("speaks_of", SPEAKS_OF)):
        if getattr(spec, field) not in choices:
            raise Refusal(
                f"{where}: {name}: {field}={getattr(spec, field)!r}; one of "
                f"{', '.join(choices)}"
            )
    if not (spec.fn.__doc__ or "").strip():
        raise Refusal(
            f"{where}: {name}: its function needs a docstring that says what it is"
        )
    groups, options = asks_for(spec)
    unknown = [g for g in groups if g not in measuring.GROUPS]
    if unknown:
        if unknown[0] in OPTIONS:
            raise Refusal(
                f"{where}: {name}: {unknown[0]} is an option; put it behind a *, as in "
                f"`*, {unknown[0]}`"
            )
        raise Refusal(
            f"{where}: {name} asks for {unknown[0]}, which is not measured; there are "
            f"{', '.join(measuring.GROUPS)}"
        )
    unknown = [o for o in options if o not in OPTIONS]
    if unknown:
        raise Refusal(
            f"{where}: {name} has the keyword {unknown[0]}; there are {', '.join(OPTIONS)}"
        )

    def trial(network, margin, delta):
        given = {"margin": margin, "delta": delta, "convention": bounds.Convention()}
        given = {option: given[option] for option in options}
        found = spec.fn(*_measured(network, groups), **given)
        if not isinstance(found, BoundValue):
            raise TypeError(f"returned {type(found).__name__}, not a bounds.BoundValue")
        return found

    try:
        found = jax.eval_shape(trial, _made_up(spec.weight_matrices or 2), 1.0, 0.05)
    except Exception as error:
        path = where.removeprefix("--plugin=")
        raise Refusal(f"{where}: {name}: {_in_one_line(error, path)}") from error
    for field in ("value", "empirical", "excess", "log_complexity"):
        shape = np.shape(getattr(found, field))
        if shape:
            raise Refusal(
                f"{where}: {name}: its {field} has shape {list(shape)}; a number is needed"
            )


# Groups of other kinds of networks, and what stands for them on one made up.
_STANDS_FOR = {"gibbs_posterior": "gibbs", "code_subspace": "code"}


def _measured(network, groups):
    named = {group: _STANDS_FOR.get(group, group) for group in groups}
    found, missing = bounds.measure(network, list(named.values()))
    found = {group: found[name] for group, name in named.items() if name in found}
    if missing:
        raise ValueError(next(iter(missing.values())))
    for group in groups:
        kind = measuring.GROUPS[group]
        if not isinstance(found[group], kind):
            raise ValueError(
                f"the measure of {group} returned {type(found[group]).__name__}, not "
                f"{kind.__name__}"
            )
    return [found[group] for group in groups]


def _made_up(matrices):
    widths = [4] * matrices
    weights = [np.ones((4, n), np.float32) for n in [*widths[1:], 3]]
    data = np.ones((5, 4), np.float32), np.zeros(5, np.int32)
    network = bounds.from_arrays(weights, *data, init=weights, holdout=data)
    history = History(np.ones(3, np.float32), np.int32(3), np.int32(1))
    return network.replace(
        other=network.init, history=history, first_epoch=network.params
    )
