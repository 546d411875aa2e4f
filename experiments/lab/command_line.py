"""From flags to settings, and to a program that runs with them."""

import contextlib
import dataclasses
import functools
import gc
import logging as standard_logging
import os
import re
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from absl import app, flags, logging

from experiments.lab import (
    calls,
    devices,
    hosts,
    interrupts,
    plugins,
    program_cache,
    program_flags,
    run_folder,
    running,
    settings,
    shards,
)
from experiments.lab.endings import in_a_line, name_of_command, refuse
from experiments.lab.figures import FORMATS
from experiments.lab.later import later
from experiments.lab.program import Program
from experiments.lab.refusals import Refusal, say
from experiments.lab.settings import parsed
from experiments.lab.shards import Shard
from experiments.problems import PROBLEMS

runs = later("nets.runs")


def settings_from_flags(asked: Program, given: dict[str, Any]) -> Any:
    """The settings of this call: from preset and flags, or from the folder to resume.

    What is not typed is taken from the folder; whether what is typed agrees with it, the
    folder checks (`RunFolder.resume`).
    """
    values = flags.FLAGS
    preset = values.preset
    if not (values.resume or values.redraw):
        return calls.settings_of(asked, given.get("problem"), preset, given)
    out = _folder()
    stored = run_folder.stored_settings(out, asked.name)
    if stored.get("plugin") and not given.get("plugin"):
        # What a folder says is never run: code is what this call names.
        where = f"--out={out}"
        raise plugins.needed(where, run_folder.stored(out))
    problem = given.get("problem") or stored.get("problem")
    if stored.get("problem") not in (None, problem):
        raise Refusal(
            f"--problem={problem}: --out={out} is of {settings.shown(stored['problem'])}; leave it "
            "out, or use another --out"
        )
    if problem is not None and problem not in list(PROBLEMS):
        raise Refusal(
            f"--out={out}: there is no problem {settings.shown(problem)}; is it a "
            "plugin's? give its --plugin"
        )
    kind = calls.kind_of(asked, problem)
    asks_again = {}
    if preset:
        wanted = calls.settings_of(asked, problem, preset)
        asks_again = {
            n: getattr(wanted, n) for n in settings.names(kind, compared=True)
        }
    known = {n: v for n, v in stored.items() if n in settings.names(kind)}
    try:
        config = settings.from_json(kind, known)
    except (TypeError, KeyError) as error:
        raise Refusal(
            f"--out={out}: its config.json is no run's ({error}); use another --out"
        ) from error
    mine = {"plugin": None} if "plugin" in settings.names(kind) else {}
    return dataclasses.replace(config, **mine | asks_again | given)


def _folder():
    """The run folder that was typed: a shard's is beside --out.

    Of several processes any share's knows the settings.
    """
    values = flags.FLAGS
    if values.shard is not None:
        return Shard.parse(values.shard).folder(values.out)
    out = Path(values.out)
    if values.multihost and not out.is_dir():
        return next(iter(shards.folders_of(out)), out)
    return out


def _parse(argv):
    try:
        return flags.FLAGS(argv)
    except flags.Error as error:
        # absl shows what a value is not with the value, as a pair.
        said = re.sub(r"\('([^']*)', '[^']*'\)$", r"\1", str(error))
        refuse(said.replace("\n", " "))


def _early(flag):
    """The value of a flag that is needed before there are flags, as typed, or None."""
    argv = sys.argv[1:]
    for place, word in enumerate(argv):
        name, is_joined, value = word.lstrip("-").partition("=")
        if word.startswith("-") and name == flag:
            return value if is_joined else (argv[place + 1 :] or [""])[0]
    return None


def main(
    asked: Program, instead: Callable[[dict[str, Any]], bool] | None = None
) -> None:
    """Runs a program with settings from the flags; does not return.

    Exit codes: 0; 2 after one line on what is wrong; 130 and 143 where SIGINT and SIGTERM
    ended it.

    Args:
      asked: the program.
      instead: a function of what was typed that returns whether it has done what was asked
        for, so that there is nothing to run.
    """
    for stream in (sys.stdout, sys.stderr):  # an ASCII locale must not end a program
        stream.reconfigure(errors="replace")
    interrupts.end_at_once(name_of_command())
    try:
        _main(asked, instead)
    except BrokenPipeError:  # `| head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)


def tool(work: Callable[[], int | None]) -> None:
    """Runs a command that is no `Program`; does not return.

    What is wrong is one line, and exit code 2.

    Args:
      work: called once the command's own flags (absl's) are parsed; returns its exit code, or None.
    """

    def call(argv):
        with in_a_line(lambda: ""):
            _refuse_words(argv)
            return work()

    app.run(call, flags_parser=_parse)


def _refuse_words(argv):
    if argv[1:]:
        raise Refusal(f"{argv[1]}: not a flag; flags are written --name=value")


def _main(asked, instead):
    asks_for_help = {"--help", "-help", "-h", "--helpfull", "--helpshort"}
    is_help = bool(asks_for_help & set(sys.argv[1:]))
    with in_a_line(_how_to_go_on):
        if _early("plugin") is not None:  # it decides what flags there are
            if not is_help:  # loading it computes
                _start_devices()
            plugins.load(_early("plugin"))
        fields = program_flags.fields_of(asked)
    if is_help:
        print(program_flags.help_of(asked, fields))
        sys.stdout.flush()
        sys.exit(0)
    flags.disclaim_key_flags()
    program_flags.define(fields)

    def call(argv):
        logging.set_verbosity(logging.WARNING)
        # That its cache is a temporary folder where there is no home need not be said.
        standard_logging.getLogger("matplotlib").setLevel(standard_logging.ERROR)
        warnings.showwarning = _warn
        with in_a_line(_how_to_go_on):
            _refuse_words(argv)
            _run(asked, fields, instead)
            sys.stdout.flush()

    app.run(call, flags_parser=_parse)


def _is_multihost():
    typed = _early("multihost")
    return typed is not None and typed.lower() not in ("false", "f", "0")


@functools.cache  # they are there once, before anything is computed
def _start_devices():
    """Returns what tells of compiled programs (`program_cache.keep`)."""
    cores = _early("devices")
    devices.use_cores(None if cores is None else parsed("devices", cores, int))
    if _is_multihost():
        hosts.take_own_gpus()
    return program_cache.keep()


def _run(asked, fields, instead):
    values = flags.FLAGS
    given = program_flags.typed_settings(fields)
    if instead and instead(given):
        return
    if not values.out:
        raise Refusal("--out is missing; name a folder for the results")
    wrong = []
    if values.resume and values.redraw:
        wrong.append("--resume and --redraw: give one of them")
    formats = (values.figures or "png").split(",")
    if set(formats) - set(FORMATS):
        wrong.append(f"--figures={values.figures}: some of {', '.join(FORMATS)}")
    seconds = values.checkpoint_seconds
    seconds = running.CHECKPOINT_SECONDS if seconds is None else seconds
    if not seconds >= 0:  # nor what is no number
        wrong.append(f"--checkpoint_seconds={seconds}: must be a number >= 0")
    if values.lanes is not None and values.lanes < 1:
        wrong.append(f"--lanes={values.lanes}: must be a whole number >= 1")
    shard = None if values.shard is None else Shard.parse(values.shard)
    if shard and values.redraw:
        wrong.append("--shard and --redraw: shards make no tables; leave one out")
    wrong += _clashes_of_hosts(values)
    config = settings_from_flags(asked, given)
    try:
        asked.check(config)
    except Refusal as refusal:
        wrong.append(str(refusal))
    if wrong:
        raise Refusal("; ".join(wrong))
    programs = _start_devices()
    if values.dry_run:
        how = {"resume": values.resume, "redraw": values.redraw, "shard": shard}
        running.foresee(asked, config, values.out, **how)
        return
    _carry_out(asked, config, values, seconds, formats, shard)
    if values.verbose:
        print(programs())


def _carry_out(asked, config, values, seconds, formats, shard):
    running.import_all()
    gc.freeze()  # what is imported stays: garbage is not looked for among it
    how = {
        "layout": runs.make_layout(lanes_per_device=values.lanes, fills_memory=True),
        "checkpoint_seconds": seconds,
        "formats": formats,
        "resume": values.resume,
    }
    if values.multihost:  # once it has its devices: others wait for its signs of life
        own = hosts.find_this_process(values.coordinator, values.process)
        running.run_together(asked, config, values.out, own, **how)
        return
    running.run(asked, config, values.out, redraw=values.redraw, shard=shard, **how)


def _clashes_of_hosts(values):
    """Lines on flags that do not go with --multihost, or not without."""
    for name in ("coordinator", "process"):
        if getattr(values, name) is not None and not values.multihost:
            yield f"--{name}: is for --multihost; give that, too, or leave it out"
    for name in ("shard", "redraw", "dry_run"):
        if values.multihost and getattr(values, name):
            yield f"--multihost and --{name}: leave one of them out"


def _warn(message, *_, **__):
    """A library's warning in one line, without its source."""
    say(f"warning: {' '.join(str(message).split())}")


def _how_to_go_on():
    """What to type next, where there is something to go on with."""
    if not flags.FLAGS.is_parsed() or not flags.FLAGS.out:
        return ""
    shard, out = flags.FLAGS.shard, flags.FLAGS.out
    with contextlib.suppress(Refusal):
        if _folder().is_dir():
            typed = "" if shard is None else f"--shard={shard} "
            typed = "--multihost " if flags.FLAGS.multihost else typed
            return f"; {typed}--out={out} --resume goes on"
    return ""
