"""The flags of a program: which there are, what --help says of them, and what was typed."""

import dataclasses
import shutil
import sys
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from absl import flags

from experiments.lab import calls, running, settings
from experiments.lab.figures import FORMATS
from experiments.lab.program import Program
from experiments.lab.refusals import Refusal, say
from experiments.lab.settings import FOLDER, GROUPS, MACHINE, setting
from experiments.problems import PROBLEMS

# The fields of settings that share a flag, each with the problem whose it is ('': the program's).
Fields = Sequence[tuple[str, dataclasses.Field]]

# Names that a flag had, and may still be called by.
_ALSO = {"dataset": "problem", "example": "problem"}
_TEXT_AT = 23  # the column of --help where what a flag does begins


@dataclasses.dataclass(frozen=True)
class Call:
    """What a call asks for besides its settings."""

    preset: str | None = setting(None, "named settings; other flags override it")
    out: str | None = setting(
        None, "the run folder; it must not exist, but for --resume", group=FOLDER
    )  # fmt: skip
    resume: bool = setting(
        False, "go on with the run folder --out, or show it if finished", group=FOLDER
    )  # fmt: skip
    redraw: bool = setting(
        False, "measure, bound and plot the finished --out again", group=FOLDER
    )  # fmt: skip
    dry_run: bool = setting(
        False, "say what would be trained and measured, and how large the weights are; the run "
        "folder is not touched", group=FOLDER
    )  # fmt: skip
    shard: str | None = setting(
        None, "i/n: train and measure the share i of n alone, in a folder of its own beside --out; "
        "when all are done, the same command without it makes the tables", group=MACHINE
    )  # fmt: skip
    multihost: bool = setting(
        False, "this is one of several processes that share the runs out among them, each on its "
        "own devices, with --out on a file system that all see; the first makes the tables",
        group=MACHINE
    )  # fmt: skip
    coordinator: str | None = setting(
        None, "with --multihost: HOST:PORT, at which the first process listens; Slurm, Open MPI and "
        "Kubernetes tell it", group=MACHINE
    )  # fmt: skip
    process: str | None = setting(
        None, "with --multihost: i/n, which of how many processes this is; likewise", group=MACHINE
    )  # fmt: skip
    figures: str = setting(
        "png", f"formats of the figures: some of {', '.join(FORMATS)}", group=FOLDER
    )
    devices: int | None = setting(
        None, "CPU devices to spread runs over; default: all cores", group=MACHINE
    )  # fmt: skip
    lanes: int | None = setting(
        None, "runs at once on a device; default: 1 on a CPU, elsewhere as many as are of use and its "
        "memory holds, 256 at most", group=MACHINE,
    )  # fmt: skip
    verbose: bool = setting(
        False, "say at the end how many programs were compiled and how many were kept from before",
        group=MACHINE
    )  # fmt: skip
    checkpoint_seconds: float = setting(
        running.CHECKPOINT_SECONDS, "how often runs under way are saved, which takes a tenth of the time at "
        "most (0: as often as can be)", group=MACHINE
    )  # fmt: skip


def fields_of(program: Program) -> dict[str, Fields]:
    """What has a flag, by the flag's name: fields of the call, the program and its problems."""
    found = {}
    kinds = [("", Call), ("", program.Settings)]
    kinds += [(n, p.Settings) for n, p in calls.problems_of(program).items()]
    for whose, kind in kinds:
        for field in dataclasses.fields(kind):
            if not whose or field.name not in program.without:
                found.setdefault(field.name, []).append((whose, field))
    return found


def define(fields: Mapping[str, Fields]) -> None:
    """Makes flags of fields; those of several problems share one."""
    for name, whose in fields.items():
        kind = settings.scalar_type(whose[0][1].type)
        default = whose[0][1].default if whose[0][1].type is bool else None
        define = {
            int: flags.DEFINE_integer, float: flags.DEFINE_float, bool: flags.DEFINE_bool,
        }.get(kind, flags.DEFINE_string)  # fmt: skip
        define(name, default, whose[0][1].metadata["help"])
    for old, name in _ALSO.items():
        if name in fields and old not in fields:
            flags.DEFINE_alias(old, name)


def help_of(program: Program, fields: Mapping[str, Fields]) -> str:
    """What --help prints: the flags that most people need first, then all, by groups."""
    problems = list(calls.problems_of(program))
    lines = [
        f"python -m experiments.{program.name} --out=FOLDER [--FLAG=VALUE ...]", "",
        program.about, "", "needed first",
    ]  # fmt: skip
    choices = {"problem": ", ".join(problems)}

    def line(name):
        return _help_line(name, fields[name], choices.get(name, ""))

    presets = {
        problem: list(calls.presets_of(program, problem))
        for problem in problems
        if program.name in PROBLEMS[problem].presets
    }
    first = (*(["preset"] if presets else []), *program.first, "out")
    lines += [line(n) for n in first]
    for group in GROUPS:
        names = [n for n, f in fields.items() if f[0][1].metadata["group"] == group]
        if names:
            lines += ["", group, *map(line, names)]
    if presets:
        lines += ["", "presets (a problem's first is its default)"]
    lines += [f"  {problem}: {', '.join(its)}" for problem, its in presets.items()]
    return _fitted("\n".join(lines))


def _fitted(text):
    """Lines folded under their own column in a terminal; elsewhere a flag is one line."""
    if not sys.stdout.isatty():
        return text
    width = max(40, shutil.get_terminal_size().columns)

    def folded(line):
        under = " " * (_TEXT_AT if line.startswith("  --") else 2)
        return textwrap.fill(
            line,
            width,
            subsequent_indent=under,
            break_long_words=False,
            break_on_hyphens=False,
        )

    return "\n".join(
        line if len(line) <= width else folded(line) for line in text.splitlines()
    )


def _help_line(name, whose, choices):
    """One line on a flag: name, what it is, choices, default."""
    texts = {}
    for problem, field in whose:
        texts.setdefault(field.metadata["help"], []).append(problem)
    text = "; ".join(
        f"{', '.join(p)}: {what}" if p[0] else what for what, p in texts.items()
    )
    field = whose[0][1]
    rule = field.metadata["check"]
    wish = rule[1] if rule else ""
    wish = wish if isinstance(wish, str) else wish()
    if wish.startswith("one of "):
        choices = wish.removeprefix("one of ")
    text += f" ({choices})" if choices and choices not in text else ""
    if field.default is not None and (not whose[0][0] or len(whose) == 1):
        default = settings.shown(field.default)
        text += f" [{default if len(default) < 40 else default[:37] + '...'}]"
    return f"  --{name} ".ljust(_TEXT_AT) + text


def typed_settings(fields: Mapping[str, Fields]) -> dict[str, Any]:
    """The settings typed on the command line.

    Raises:
      Refusal: one has no value of its kind, or a sweep was given twice.
    """
    given = {}
    for name, whose in fields.items():
        flag = flags.FLAGS[name]
        if flag.present > 1:
            _said_again(name, flag.value)
        if flag.present and name not in settings.names(Call):
            kind, value = whose[0][1].type, flag.value
            is_several = settings.element_type(kind)
            given[name] = settings.parsed(name, value, kind) if is_several else value
    return given


def _said_again(name, value):
    """The last of several values counts, as a wrapper's users expect; but of sweeps both are meant."""
    if name == "vary":
        raise Refusal(
            "--vary: is given more than once, and one setting is swept at a time; give it once, and "
            "the other sweep its own --out"
        )
    say(f"--{name}: is given more than once; the last counts, {settings.shown(value)}")
