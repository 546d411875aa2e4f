"""What a call asks for: the settings of a program and a problem, and the problems they name."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

from experiments.lab import settings, vary
from experiments.lab.program import Program
from experiments.lab.refusals import Refusal
from experiments.problems import PROBLEMS, Problem
from experiments.problems.own_data import OwnData


def problems_of(program: Program) -> dict[str, type[Problem]]:
    """The problems that a program takes, by name."""
    return {name: p for name, p in PROBLEMS.items() if program.takes(p)}


def presets_of(program: Program, problem: str | None) -> dict[str, Mapping[str, Any]]:
    """The presets of a program on a problem: name -> values that are not the defaults'."""
    presets = {} if problem is None else PROBLEMS[problem].presets.get(program.name, {})
    return dict(presets) or {"default": {}}


def settings_of(
    program: Program,
    problem: str | None,
    preset: str | None = None,
    typed: Mapping[str, Any] | None = None,
) -> Any:
    """The settings of a call.

    Args:
      program: whose.
      problem: its name, or None: the first that has the preset.
      preset: its name, or None: the problem's first, or none where that is not meant.
      typed: values that override the preset's. One that it sweeps is swept no more.

    Raises:
      Refusal: there is no such problem or preset, the problem has no such setting or fixes
        it, or a setting and a sweep over it were both typed.
    """
    typed, there = dict(typed or {}), problems_of(program)
    if problem is not None and problem not in there:
        raise Refusal(f"--problem={problem}: must be one of {', '.join(there)}")
    if problem is None and program.lacks_problem(typed):
        having = [n for n in there if preset in (None, *presets_of(program, n))]
        problem = having[0] if having else next(iter(there))
    presets = presets_of(program, problem)
    if preset is None:
        first = next(iter(presets.values()))
        values = {} if program.not_meant(first, typed) else first
    elif preset in presets:
        values = presets[preset]
        if reason := program.not_meant(values, typed):
            raise Refusal(f"--preset={preset}: {reason}")
    else:
        if typed.get("data"):
            raise Refusal(
                f"--preset={preset}: presets are of problems, and --data is none of these; leave "
                "it out"
            )
        where = "" if problem is None else f" of {problem}"
        raise Refusal(
            f"--preset={preset}: not here; the presets{where} are {', '.join(presets)}"
        )
    kind = kind_of(program, problem)
    known = settings.names(kind)
    own = {} if problem is None else dict(PROBLEMS[problem].fixed)
    fixed = {name: value for name, value in own.items() if name in known}
    for name, value in typed.items():
        if name not in known:
            having = [n for n in there if name in settings.names(kind_of(program, n))]
            remedy = f"; --problem={'|'.join(having)} has" if having else ""
            its = f"problem {problem}" if problem else "a call without --problem"
            raise Refusal(
                f"--{name}={settings.shown(value)}: {its} has no such setting{remedy}"
            )
        if name in fixed:
            raise Refusal(
                f"--{name}={settings.shown(value)}: problem {problem} decides it; leave it out"
            )
    preset_values = {n: v for n, v in values.items() if n in known}
    swept = vary.swept(typed.get("vary") or preset_values.get("vary"))
    if swept and swept in typed:
        if typed.get("vary"):
            raise Refusal(
                f"--{swept}={settings.shown(typed[swept])}: --vary={typed['vary']} sweeps it; "
                "give one of them"
            )
        preset_values |= {"vary": None, "expected": None}
    whose = {"problem": problem} if "problem" in known else {}
    left_open = program.left_open(typed)
    return kind(**left_open | preset_values | fixed | whose | typed)


def problem_kind(config: Any) -> type[Problem]:
    """The class of the problem that settings name: by `problem`, or else by `data`.

    Raises:
      Refusal: there is no such problem.
    """
    if config.problem is None and getattr(config, "data", None):
        return OwnData
    if config.problem not in PROBLEMS:
        raise Refusal(
            f"--problem={config.problem}: must be one of {', '.join(PROBLEMS)}"
        )
    return PROBLEMS[config.problem]


def kind_of(program: Program, problem: str | None) -> type:
    """The settings dataclass of a program on a problem."""
    own = None if problem is None else PROBLEMS[problem].Settings
    return settings.combined(program.Settings, own)


def of_problem(program: Program, config: Any, problem: str) -> Any:
    """The same settings for another problem; what only the other has is as by default.

    A folder of data goes along only where both problems are of the same files.
    """
    there = problems_of(program)
    if problem not in there:
        raise Refusal(f"--problem={problem}: must be one of {', '.join(there)}")
    known = {
        *settings.names(program.Settings),
        *settings.names(there[problem].Settings),
    }
    known -= {"problem", *there[problem].fixed}
    if there[problem].files != there[config.problem].files:
        known -= {"data_dir"}
    kept = {n: getattr(config, n) for n in known if hasattr(config, n)}
    return settings_of(program, problem, typed=kept)


def problems_made(configs: Mapping[str, Any]) -> dict[str, Problem]:
    """name -> the problem that its settings name; those of the same settings share one.

    Raises:
      Refusal: as `problem_of`.
    """
    made: dict[Any, Problem] = {}
    for config in configs.values():
        key = _key_of(config)
        if key not in made:
            made[key] = problem_of(config)
    return {name: made[_key_of(config)] for name, config in configs.items()}


def fingerprint_of(problems: Iterable[Problem]) -> str | None:
    """Of the data of all of them; None where they rest on none."""
    found = sorted({p.sha256 for p in problems if p.sha256})
    if len(found) < 2:
        return found[0] if found else None
    return hashlib.sha256("".join(found).encode()).hexdigest()


def _key_of(config):
    """What decides a problem.

    Raises:
      Refusal: there is no such problem, or its settings cannot be used.
    """
    kind = problem_kind(config)
    own = settings.part(config, kind.Settings)
    settings.check(own)
    return kind, own, config.seed


_MADE: dict[tuple[type, Any, int], Problem] = {}


def problem_of(config: Any) -> Problem:
    """The problem that settings name, made once.

    Raises:
      Refusal: there is no such problem, or its settings or data cannot be used.
    """
    key = _key_of(config)
    if key not in _MADE:
        kind, own, seed = key
        _MADE.clear()  # images are large, and a call rarely needs two sets of them
        _MADE[key] = kind(own, seed)
    return _MADE[key]
