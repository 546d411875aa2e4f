"""The examples that a certificate was computed on, from the flags of a call of `--verify`."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from experiments.certify import PROGRAM, certificate_file
from experiments.certify.certificate_file import OfProblem
from experiments.certify.routes import sgd
from experiments.certify.study import check_size
from experiments.lab import calls, settings
from experiments.lab.reading import data_files
from experiments.lab.reading.notes import say
from experiments.lab.refusals import Refusal
from experiments.problems import PROBLEMS, Examples, own_data

_WHOLE = slice(0, None)


def of_problem(
    typed: Mapping[str, Any],
    one: OfProblem,
    part: Callable[[Any], slice] = lambda config: _WHOLE,
) -> Examples:
    """Those of `--data`, or of the problem that a certificate names.

    Of a certificate of one's own data `--data` names these data, of which the certified ones are drawn
    again, or the certified ones alone: digests tell which. Of a known problem it names the latter.

    Args:
      typed: `verify`, the file, and `data`, or perhaps `problem` and `data_dir`.
      one: what is claimed.
      part: settings to which of the training images are certified.

    Raises:
      Refusal: they cannot be read, or are not what the certificate was computed on.
    """
    if one.problem is None:
        return _of_own_data(typed, one, part)
    found = read(typed, one, part)
    if certificate_file.digest_of_examples(found) != one.data_sha256:
        where = f"--problem={one.problem}"
        # Their digest is that of images, which alone do not tell what was made of them.
        derived = one.problem_settings.get("inputs", "pixels") != "pixels"
        if typed.get("data"):
            at = f"{where} and the folder of its images by --data_dir"
            if not derived:
                at = f"those as they are drawn, or {at}"
            raise other(f"--data={typed['data']}", one, at)
        raise other(where, one)
    return found


def other(
    flag: str, one: certificate_file.Certificate, remedy: str = "those"
) -> Refusal:
    """Of examples whose digest is another than that of a certificate's."""
    return Refusal(
        f"{flag}: not the {one.certified_size} examples that the certificate in --verify was "
        f"computed on, their digest is another; give {remedy}"
    )


def read(
    typed: Mapping[str, Any], one: OfProblem, part: Callable[[Any], slice]
) -> Examples:
    """The examples, whatever their digest; arguments and errors as those of `of_problem`."""
    if typed.get("data"):
        for name in ("problem", "data_dir"):
            if typed.get(name):
                raise Refusal(f"--{name} and --data: give one of them")
        return data_files.Arrays.read(typed["data"]).train
    asked = typed.get("problem")
    if asked not in (None, one.problem):
        raise Refusal(
            f"--problem={asked}: the certificate in --verify is of {one.problem}; leave it out"
        )
    there = calls.problems_of(PROGRAM)
    if one.problem not in there:
        raise Refusal(
            f"--verify={typed['verify']}: of the problem {one.problem}, which is not here; give "
            "its --plugin, or the examples by --data"
        )
    config = _settings(typed, one)
    if typed.get("data_dir"):
        if not hasattr(config, "data_dir"):
            raise Refusal(
                f"--data_dir={typed['data_dir']}: problem {one.problem} has no such setting; leave "
                "it out"
            )
        config = dataclasses.replace(config, data_dir=typed["data_dir"])
    settings.check(settings.part(config, PROBLEMS[one.problem].Settings))
    problem = calls.problem_of(config)
    check_size(config, problem)
    return sgd.examples_of(config, problem, one.run_seed, part(config))


def _of_own_data(typed, one, part):
    """The certified ones of one's own data, or of a file that holds them alone."""
    if typed.get("problem") or typed.get("data_dir"):
        name = next(n for n in ("problem", "data_dir") if typed.get(n))
        raise Refusal(
            f"--{name}={typed[name]}: the certificate in --verify is of a file, by --data; leave it out"
        )
    if not typed.get("data"):
        raise Refusal(
            f"--verify={typed['verify']}: rests on examples from a file, and --data is missing; name it"
        )
    flag = f"--data={typed['data']}"
    config = dataclasses.replace(_settings(typed, one), data=typed["data"])
    settings.check(settings.part(config, own_data.Settings))
    stored, labelled, _ = own_data.read(config)
    there = len(labelled.labels)
    for alone in (
        labelled,
        stored.train,
    ):  # normalised here, or before they were stored
        if certificate_file.digest_of_examples(alone) == one.data_sha256:
            say(f"{flag}: these are the {there} examples that were certified on")
            return alone
    if one.size <= there:
        problem = own_data.Labelled(labelled, None, one.seed)
        found = sgd.examples_of(config, problem, one.run_seed, part(config))
        if certificate_file.digest_of_examples(found) == one.data_sha256:
            say(
                f"{flag}: of its {there} examples the {one.certified_size} that were certified on are "
                "drawn again"
            )
            return found
    raise other(
        flag,
        one,
        "the data that certify had, of which they are drawn again, or these alone",
    )


def _settings(typed, one):
    """The settings that decide which examples these were."""
    own = one.problem_settings | {
        n: getattr(one, n)
        for n in (
            "problem",
            "size",
            "prior_share",
            "start_share",
            "code_prior_share",
            "seed",
        )
        if hasattr(one, n)
    }
    try:
        return settings.from_json(calls.kind_of(PROGRAM, one.problem), own)
    except (TypeError, KeyError) as error:
        whose = (
            "data of one's own have" if one.problem is None else f"{one.problem} has"
        )
        raise Refusal(
            f"--verify={typed['verify']}: its problem has settings that {whose} not "
            f"({error}); give the examples by --data"
        ) from error
