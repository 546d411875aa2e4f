"""A user's own file: bounds, what they measure, problems and networks, entered beside ours.

BOUNDS     name -> bounds.BoundSpec
MEASURES   bounds.Measure, several, where bounds need something new measured
PROBLEMS   name -> experiments.problems.Problem (a class)
NETWORKS   name -> a function that makes a Linen module, as in nets/registry.py
           and what a program adds to these (`MORE`): TOOLS of beyond_uc

It may import modules that lie beside it, or in packages there (`lab.beside`). Its code is run only
if it is named in this very call: what a run folder remembers of it is its name and a sha256, which
say which one to give: of its bytes and, where it imports modules of its own folder, of theirs.
"""

import dataclasses
import functools
import importlib.util
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from experiments.lab.beside import Beside
from experiments.lab.later import at_once, later
from experiments.lab.refusals import Refusal, say
from experiments.problems import PROBLEMS, Problem

registry, networks = later("bounds.registry"), later("nets.registry")


@dataclasses.dataclass(frozen=True)
class Kind:
    """What only one program knows of, and a file may bring.

    Attributes:
      registry: name -> entry; what a file brings is put here.
      setting: the one that names some of them; they decide what is trained.
      fault: entry -> what is wrong with it, or ''.
    """

    registry: dict[str, Any]
    setting: str
    fault: Callable[[Any], str]


# Name of a file's dict -> its kind, entered by the program whose it is.
MORE: dict[str, Kind] = {}


@dataclasses.dataclass(frozen=True)
class Plugin:
    """What a file brought: names of each kind.

    Attributes:
      more: of all kinds in `MORE`.
      measures: how many it brought.
      sha256: of the bytes that were run; where it imports modules of its own folder, a digest of
        these, too, by their names. None where there is no plugin.
    """

    bounds: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
    more: tuple[str, ...] = ()
    measures: int = 0
    sha256: str | None = None


@functools.cache
def load(path: str | None) -> Plugin:
    """Enters what a user's file brings; once, however often it is called.

    Args:
      path: a Python file; None brings nothing.

    Raises:
      Refusal: it, or a module of its own, cannot be read; it brings nothing, takes a name that is
        taken, asks for what is not measured, or does not return a `BoundValue` of scalars.
        Nothing is entered then.
    """
    if path is None:
        return Plugin()
    where = f"--plugin={path}"
    if not Path(path).is_file():
        raise Refusal(f"{where}: there is no such file")
    try:
        source = Path(path).read_bytes()
    except OSError as error:
        raise Refusal(f"{where}: cannot be read ({error.strerror})") from error
    at_once(registry, networks)  # names beside it must not stand for what these import
    own = _beside(path, where, source)
    try:
        found = _entered(path, where, source, own)
    except BaseException:
        own.leave()
        raise
    own.close()
    return found


def _beside(path, where, source):
    name = f"plugin_{Path(path).stem}"
    try:
        own = Beside(path, name, source)
        own.enter()
    except SyntaxError:  # compiling it says where
        own = Beside(path, name, b"")
        own.enter()
    except Refusal as refusal:
        raise Refusal(f"{where}: {refusal}") from refusal
    return own


def _entered(path, where, source, own):
    module = _imported(path, where, source, own)
    kinds = ("BOUNDS", "PROBLEMS", "NETWORKS", *MORE)
    found = {n: getattr(module, n, {}) for n in kinds}
    for name, entries in found.items():
        if not isinstance(entries, dict):
            raise Refusal(f"{where}: {name} is no dict of names")
    if not any(found.values()):
        raise Refusal(
            f"{where}: has no dict BOUNDS of name -> bounds.BoundSpec (nor "
            f"{' or '.join(kinds[1:])}"
            + (
                "; MEASURES alone are asked for by no bound)"
                if hasattr(module, "MEASURES")
                else ")"
            )
        )
    registries = {"PROBLEMS": PROBLEMS, "NETWORKS": networks.NETWORKS}
    registries |= {name: kind.registry for name, kind in MORE.items()}
    for name, ours in registries.items():
        taken = sorted(set(ours) & set(found[name]))
        if taken:
            raise Refusal(f"{where}: the name {taken[0]} is taken; give it another")
    for name, problem in found["PROBLEMS"].items():
        _check_problem(where, name, problem)
    for kind in MORE:
        for name, entry in found[kind].items():
            fault = MORE[kind].fault(entry)
            if fault:
                raise Refusal(f"{where}: {name}: {fault}")
    measures = tuple(getattr(module, "MEASURES", ()))
    try:
        registry.add(found["BOUNDS"], measures)
    except Exception as error:
        cause = error.__cause__
        line = (
            f"{error}"
            if cause is None
            else f"{error} ({_in_one_line(cause, path, own)})"
        )
        raise Refusal(f"{where}: {line}") from error
    for name, ours in registries.items():
        ours.update(found[name])
    names = [tuple(entries) for entries in found.values()]
    more = sum(names[3:], ())
    sha256 = own.sha256(source)
    return Plugin(*names[:3], more, measures=len(measures), sha256=sha256)


def needed(out: str, stored: Mapping[str, Any]) -> Refusal:
    """The refusal of a folder whose plugin was not given.

    Args:
      out: the folder, as it was named.
      stored: what `run_folder.stored` says.
    """
    digest = stored["plugin_sha256"]
    which = f", sha256 {digest}" if digest else " (of which it has no checksum)"
    return Refusal(
        f"{out}: this folder was made with a plugin {stored['settings'].get('plugin')}{which}: "
        "give --plugin=FILE to load it, if you trust it"
    )


def check_version(
    out: str,
    plugin: Plugin,
    stored: Mapping[str, Any],
    *,
    redraw: bool,
    is_begun: bool,
    is_finished: bool,
) -> None:
    """Whether a folder that was made with one version of a plugin goes on with this one.

    Says so in a line where it may.

    Args:
      out: the folder, as it was named.
      plugin: that was given.
      stored: what `run_folder.stored` says.
      redraw: whether it is measured and bounded again, rather than gone on with.
      is_begun: whether something is measured.
      is_finished: whether all is.

    Raises:
      Refusal: numbers of both versions would stand side by side.
    """
    before = stored["plugin_sha256"]
    if plugin.sha256 == before or before is None:
        return
    here = "none" if plugin.sha256 is None else plugin.sha256
    differ = (
        f"{out}: made with another version of its plugin (sha256 {before}; now {here})"
    )
    decides = decided_by(plugin, stored["settings"])
    if decides:
        raise Refusal(
            f"{differ}, which decides what is trained ({', '.join(decides)}); give that "
            "version, or use another --out"
        )
    if not redraw and is_finished:
        raise Refusal(f"{differ}; --redraw bounds it with the new one")
    if not redraw and is_begun and plugin.measures:
        raise Refusal(
            f"{differ}, and some runs are measured with it; give that version, or delete "
            f"{out}/measured"
        )
    say(f"{differ}; its bounds are the new one's")


def decided_by(plugin: Plugin | None, stored: Mapping[str, Any]) -> list[str]:
    """What a plugin decides about the training of a folder.

    Args:
      plugin: that was given; None asks for what nothing that is loaded knows.
      stored: the settings in the folder.

    Returns:
      Names of problems, networks and what programs add.
    """
    name, _, swept = str(stored.get("vary")).partition("=")
    found = []
    for kind, known in (("problem", PROBLEMS), ("network", networks.NETWORKS)):
        used = [stored.get(kind), *(swept.split(",") if name == kind else [])]
        used = [n for n in used if isinstance(n, str)]
        if plugin is None:
            found += [n for n in used if n not in known]
        else:
            its = plugin.problems if kind == "problem" else plugin.networks
            found += [n for n in used if n in its]
    for kind in MORE.values():
        used = stored.get(kind.setting) or []
        its = kind.registry if plugin is None else plugin.more
        found += [n for n in used if (n in its) != (plugin is None) and n != "all"]
    return found


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
        if isinstance(field.type, str):
            raise Refusal(
                f"{where}: {name}: its setting {field.name} has a type that is a text; leave out "
                "`from __future__ import annotations`"
            )
        for other, kind in PROBLEMS.items():
            theirs = {f.name: f.type for f in dataclasses.fields(kind.Settings)}
            if theirs.get(field.name, field.type) != field.type:
                raise Refusal(
                    f"{where}: {name}: its setting {field.name} has another type than "
                    f"{other}'s; rename it"
                )


def _imported(path, where, source, own) -> Any:
    spec = importlib.util.spec_from_file_location(own.module, path)
    if spec is None:
        raise Refusal(f"{where}: not a Python file; its name must end in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        # Those bytes, not a compiled file beside it.
        exec(compile(source, path, "exec"), module.__dict__)
    except SystemExit as error:
        raise Refusal(
            f"{where}: ends the program (exit code {error.code}) where it is to be imported; leave that out"
        ) from error
    except Exception as error:
        raise Refusal(f"{where}: {_in_one_line(error, path, own)}") from error
    return module


def _in_one_line(error, path, own):
    """What went wrong, and in which line of the user's file, or of a module beside it."""
    files = {Path(path).resolve(): ""}
    files |= {file: f"{name}, " for file, name in own.files().items()}
    lines = [
        f"{files[Path(frame.filename).resolve()]}line {frame.lineno}: "
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename and Path(frame.filename).resolve() in files
    ]
    place = lines[-1] if lines else ""
    message = str(error).strip().splitlines()
    return f"{place}{type(error).__name__}: {message[0] if message else ''}"
