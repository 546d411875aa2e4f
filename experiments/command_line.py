"""From flags to settings, and from a refusal to one line and exit code 2."""

import dataclasses
import errno
import sys

from absl import app, flags, logging

from experiments import devices, run_folder, settings
from experiments.refusals import Refusal
from experiments.sweep import CHECKPOINT_SECONDS

flags.disclaim_key_flags()


def _define(kind, presets, chooses, checkpoints):
    sets = presets.values() if chooses else [presets]
    names = list(dict.fromkeys(name for chosen in sets for name in chosen))
    if len(names) > 1:
        flags.DEFINE_enum(
            "preset", names[0], names, "named settings; other flags override it"
        )
    flags.DEFINE_string(
        "out", None, "the run folder; it must not exist, but for --resume"
    )
    flags.DEFINE_bool(
        "resume", False, "go on with the run folder --out, or show it if finished"
    )
    flags.DEFINE_bool(
        "redraw", False, "measure, bound and plot the finished --out again"
    )
    flags.DEFINE_integer(
        "devices", None, "CPU devices to spread runs over; default: all cores"
    )
    if checkpoints:
        flags.DEFINE_float(
            "checkpoint_seconds",
            CHECKPOINT_SECONDS,
            "how often runs under way are saved",
        )
    for field in dataclasses.fields(kind):
        kind_of = settings.scalar_type(field.type)
        define = {
            int: flags.DEFINE_integer,
            float: flags.DEFINE_float,
            bool: flags.DEFINE_bool,
        }
        define.get(kind_of, flags.DEFINE_string)(
            field.name, None, field.metadata["help"]
        )


def _given(kind):
    """The settings typed on the command line."""
    given = {}
    for field in dataclasses.fields(kind):
        flag = flags.FLAGS[field.name]
        if flag.present:
            element = settings.element_type(field.type)
            value = flag.value
            given[field.name] = (
                settings.parse_list(field.name, value, element) if element else value
            )
    return given


def _presets(presets, chooses):
    """The presets to choose from: those of the value of the flag `chooses`, if any."""
    if not chooses:
        return presets
    flag = flags.FLAGS[chooses]
    value = flag.value if flag.present else next(iter(presets))
    if value not in presets:
        raise Refusal(f"--{chooses}={value}: must be one of {', '.join(presets)}")
    return presets[value]


def _preset(presets):
    """The settings that `--preset` names."""
    name = flags.FLAGS.preset if "preset" in flags.FLAGS else next(iter(presets))
    if name not in presets:
        raise Refusal(f"--preset={name}: not here; there are {', '.join(presets)}")
    return presets[name]


def _settings(kind, presets, combine):
    """The settings of this call: from preset and flags, or from the folder to resume.

    What is not typed is taken from the folder; whether what is typed agrees with it, the
    program checks (`RunFolder.resume`).
    """
    values, given = flags.FLAGS, _given(kind)
    if not (values.resume or values.redraw):
        return combine(_preset(presets), given)
    asked = {}
    if "preset" in values and values["preset"].present:
        names = settings.names(kind, compared=True)
        asked = {name: getattr(_preset(presets), name) for name in names}
    stored = run_folder.stored_settings(values.out, kind)
    return dataclasses.replace(stored, **asked | given)


def _parse(argv):
    try:
        return flags.FLAGS(argv)
    except flags.Error as error:
        say(str(error).replace("\n", " "))


def say(line):
    """Ends the program with one line on what is wrong, and exit code 2."""
    print(f"{sys.argv[0].rsplit('/', 1)[-1]}: {line}", file=sys.stderr)
    sys.exit(2)


def _replace(settings, given):
    return dataclasses.replace(settings, **given)


def main(
    kind, presets, run, chooses=None, combine=_replace, instead=None, checkpoints=True
):
    """Runs a program: `run(config, out, resume=, redraw=)` with settings from the flags.

    Args:
      kind: a settings dataclass.
      presets: name -> an instance of it; or a dict of such dicts, by the setting `chooses`.
      run: the program; with `checkpoints` it takes `checkpoint_seconds` as well.
      chooses: the setting that decides which presets there are; the first is the default.
      combine: the settings of a preset and those typed, as a dict, made into one.
      instead: a function of the settings that returns whether it has done what was asked
        for, so that there is nothing to run.
      checkpoints: whether runs last long enough to be saved on the way.
    """

    def program(argv):
        logging.set_verbosity(logging.WARNING)
        try:
            if argv[1:]:
                raise Refusal(f"{argv[1]}: not a flag; flags are written --name=value")
            values = flags.FLAGS
            if instead and instead(combine(_preset(presets), _given(kind))):
                return
            if not values.out:
                raise Refusal("--out is missing; name a folder for the results")
            if values.resume and values.redraw:
                raise Refusal("--resume and --redraw: give one of them")
            devices.use_cores(values.devices)
            config = _settings(kind, _presets(presets, chooses), combine)
            options = {"resume": values.resume, "redraw": values.redraw}
            if checkpoints:
                options["checkpoint_seconds"] = values.checkpoint_seconds
            run(config, values.out, **options)
        except Refusal as refusal:
            say(str(refusal))
        except KeyboardInterrupt:
            say(f"interrupted; --out={flags.FLAGS.out} --resume goes on")
        except Exception as error:
            if not _is_disk_full(error):
                raise
            say(
                f"--out={flags.FLAGS.out}: the disk is full; free some space, then go on with "
                "--resume"
            )

    _define(kind, presets, chooses, checkpoints)
    app.run(program, flags_parser=_parse)


def _is_disk_full(error):
    return getattr(error, "errno", None) == errno.ENOSPC or "No space left" in str(
        error
    )
