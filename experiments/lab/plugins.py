"""A user's own file: bounds, what they measure, problems and networks, entered beside ours.

BOUNDS     name -> bounds.BoundSpec
MEASURES   bounds.Measure, several, where bounds need something new measured
PROBLEMS   name -> experiments.problems.Problem (a class)
NETWORKS   name -> a function that makes a Linen module, as in nets/registry.py
"""

import dataclasses
import functools
import importlib.util
import sys
import traceback
from pathlib import Path
from typing import Any

from bounds import registry
from experiments.lab.refusals import Refusal
from experiments.problems import PROBLEMS, Problem
from nets.registry import NETWORKS


@dataclasses.dataclass(frozen=True)
class Plugin:
    """What a file brought: names of each kind."""

    bounds: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()


@functools.cache
def load(path: str | None) -> Plugin:
    """Enters what a user's file brings; once, however often it is called.

    Args:
      path: a Python file; None brings nothing.

    Raises:
      Refusal: it cannot be read, brings nothing, takes a name that is taken, asks for what is
        not measured, or does not return a `BoundValue` of scalars. Nothing is entered then.
    """
    if path is None:
        return Plugin()
    where = f"--plugin={path}"
    if not Path(path).is_file():
        raise Refusal(f"{where}: there is no such file")
    module = _imported(path, where)
    found = {n: getattr(module, n, {}) for n in ("BOUNDS", "PROBLEMS", "NETWORKS")}
    for name, entries in found.items():
        if not isinstance(entries, dict):
            raise Refusal(f"{where}: {name} is no dict of names")
    if not any(found.values()):
        raise Refusal(
            f"{where}: has no dict BOUNDS of name -> bounds.BoundSpec (nor PROBLEMS or "
            "NETWORKS)"
        )
    for ours, name in ((PROBLEMS, "PROBLEMS"), (NETWORKS, "NETWORKS")):
        taken = sorted(set(ours) & set(found[name]))
        if taken:
            raise Refusal(f"{where}: the name {taken[0]} is taken; give it another")
    for name, problem in found["PROBLEMS"].items():
        _check_problem(where, name, problem)
    try:
        registry.add(found["BOUNDS"], tuple(getattr(module, "MEASURES", ())))
    except Exception as error:
        cause = error.__cause__
        line = f"{error}" if cause is None else f"{error} ({_in_one_line(cause, path)})"
        raise Refusal(f"{where}: {line}") from error
    PROBLEMS.update(found["PROBLEMS"])
    NETWORKS.update(found["NETWORKS"])
    return Plugin(*(tuple(entries) for entries in found.values()))


def _check_problem(where, name, problem):
    if not (isinstance(problem, type) and issubclass(problem, Problem)):
        raise Refusal(f"{where}: {name} is no class of experiments.problems.Problem")
    if not problem.about:
        raise Refusal(f"{where}: {name}: its `about` must say what is learned")
    for method in sorted(problem.__abstractmethods__):
        raise Refusal(f"{where}: {name}: needs a method {method}; see Problem")
    for field in dataclasses.fields(problem.Settings):
        if "help" not in field.metadata:
            raise Refusal(
                f"{where}: {name}: its setting {field.name} must be made by "
                "experiments.lab.settings.setting"
            )
        for other, kind in PROBLEMS.items():
            theirs = {f.name: f.type for f in dataclasses.fields(kind.Settings)}
            if theirs.get(field.name, field.type) != field.type:
                raise Refusal(
                    f"{where}: {name}: its setting {field.name} has another type than "
                    f"{other}'s; rename it"
                )


def _imported(path, where) -> Any:
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
