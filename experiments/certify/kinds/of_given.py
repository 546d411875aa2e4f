"""What certificates of a given network share: they rest on another one and on unlabelled points.

The given network is no part of the file: whoever recounts gives it (`--network` or `--weights`), and the
points (`--unlabelled`). It is run in float32 as it was read, for it may be of any layers; the other
network is recounted in float64 where its layers are ours.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import chex
import jax
import numpy as np

from experiments.certify import PROGRAM, certificate_file, given
from experiments.certify.kinds import certified_data, recounting
from experiments.certify.routes.route import Quoted
from experiments.certify.settings import OF_GIVEN
from experiments.lab import calls, settings
from experiments.lab.refusals import Refusal
from experiments.problems import PROBLEMS
from nets.sample import BLOCK, Sample
from nets.training import logits_of

# Limits of the other network's errors and of the disagreements are added: what that takes as said.
ONE_LAW = "points and labelled examples are draws of one distribution"
FLAGS = ("problem", "data_dir", "plugin", *OF_GIVEN)
# Of these, how files are read; the others say where they are, or are of no matter.
_READING = ("normalise", "image_order", "layout", "layers", "ignore", "activation")


@dataclasses.dataclass(frozen=True)
class Certificate(certificate_file.Certificate):
    """What is claimed of a given network; `wrong` are errors of the other one.

    Attributes:
      problem: whose examples these are, or None: of a file.
      reading: settings by which network and examples were read.
      seed: that decides the order of the labelled examples.
      given_sha256: digest of the given network.
      points: how many unlabelled ones there are.
      points_sha256: digest of these.
      disagreements: on how many of them the two networks differ.
    """

    problem: str | None
    reading: dict
    seed: int
    given_sha256: str
    points: int
    points_sha256: str
    disagreements: int

    def check(self) -> None:
        """Raises a `ValueError` where a number cannot be."""
        super().check()
        certificate_file.check_counts(self, "seed", "points", "disagreements")
        if not self.disagreements <= self.points:
            raise ValueError("disagreements: more than there are points")
        number = self.reading.get("unlabelled", "0")
        if not (isinstance(number, str) and number.isdecimal()):
            raise ValueError("reading: unlabelled is no number")


def claims(of: Quoted) -> dict[str, Any]:
    """The attributes of a `Certificate` that say what it rests on, but for what was counted.

    Args:
      of: what is certified; its `learned` has `unlabelled` points.
    """
    config, points = of.config, of.network.learned.params["unlabelled"]
    names = _READING
    if config.problem:
        names += tuple(settings.names(PROBLEMS[config.problem].Settings, compared=True))
    stored = settings.to_json(config)
    reading = {name: stored[name] for name in names}
    if of.problem.with_labels is not None:  # a number of held-out examples
        reading["unlabelled"] = config.unlabelled
    return {
        "problem": config.problem,
        "reading": reading,
        "seed": config.seed,
        "given_sha256": digest_of_params(of.network.params),
        "points": int(points.size),
        "points_sha256": certificate_file.digest_of_sample(points),
    }


def digest_of_params(params: chex.ArrayTree) -> str:
    """Of the parameters of a network: their arrays by name."""
    leaves = jax.tree_util.tree_leaves_with_path(params)
    return certificate_file.digest_of_tensors({
        jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in leaves
    })  # fmt: skip


def data(
    typed: Mapping[str, Any],
    one: Certificate,
    route: str,
    certified: Callable[[given.GivenNetwork], str],
    normalise: tuple[float, ...] | None = None,
) -> given.GivenNetwork:
    """The given network, its labelled examples and the points, whose digests are as they must be.

    Args:
      typed: the flags of a call.
      one: what is claimed.
      route: its name.
      certified: the digest of what of it is certified on.
      normalise: as of a `GivenNetwork`.

    Raises:
      Refusal: something is missing, cannot be read or is another.
    """
    config = _settings(typed, one, route)
    found = given.GivenNetwork(config, normalise)
    is_older = certificate_file.digest_of_sample(found.points) != one.points_sha256
    if is_older and found.with_labels is not None:
        found = given.GivenNetwork(config, normalise, draws_points=False)
    flag = next(n for n in ("network", "weights") if typed.get(n))
    if digest_of_params(found.network.params) != one.given_sha256:
        raise Refusal(
            f"--{flag}={typed[flag]}: not the network that the certificate in --verify is of, its "
            "digest is another; give that one"
        )
    if certified(found) != one.data_sha256:
        where = f"--data={typed['data']}" if typed.get("data") else ""
        raise certified_data.other(where or f"--problem={one.problem}", one)
    if certificate_file.digest_of_sample(found.points) != one.points_sha256:
        where = typed.get("unlabelled") or one.reading.get("unlabelled")
        raise Refusal(
            f"--unlabelled={where}: not the {one.points} points that the certificate in --verify "
            "was computed on, their digest is another; give those"
        )
    return found


def _settings(typed, one, route):
    """The settings of the call that made a certificate, as far as they decide what is read."""
    where, problem = f"--verify={typed['verify']}", one.problem
    if not (typed.get("network") or typed.get("weights")):
        raise Refusal(
            f"{where}: is of a given network, and --network or --weights is missing; name its file"
        )
    if not (typed.get("unlabelled") or one.reading.get("unlabelled")):
        raise Refusal(
            f"{where}: rests on points from a file, and --unlabelled is missing; name it"
        )
    if typed.get("problem") not in (None, problem):
        raise Refusal(
            f"--problem={typed['problem']}: the certificate in --verify is of "
            f"{problem or 'a file, by --data'}; leave it out"
        )
    if typed.get("data"):
        problem = None
    elif problem is None:
        raise Refusal(
            f"{where}: rests on examples from a file, and --data is missing; name it"
        )
    elif problem not in calls.problems_of(PROGRAM):
        raise Refusal(
            f"{where}: of the problem {problem}, which is not here; give its --plugin"
        )
    kind = calls.kind_of(PROGRAM, problem)
    of_problem = () if problem is None else settings.names(PROBLEMS[problem].Settings)
    known = {*_READING, "unlabelled", *of_problem} - {"data_dir"}
    reading = {n: v for n, v in one.reading.items() if problem or n in known}
    try:
        if not set(reading) <= known:
            raise KeyError(*sorted(set(reading) - known)[:1])
        config = settings.from_json(
            kind, reading | {"route": route, "seed": one.seed, "problem": problem}
        )
    except (TypeError, KeyError) as error:
        raise Refusal(
            f"{where}: it was read by settings that there are not ({error}); get the file again"
        ) from error
    own = {n: v for n, v in typed.items() if n not in ("verify", "problem", "plugin")}
    for name, value in own.items():
        if name not in settings.names(kind):
            raise Refusal(
                f"--{name}={settings.shown(value)}: problem {problem} has no such setting; leave "
                "it out"
            )
    config = dataclasses.replace(config, **own)
    settings.check(config)
    return config


def logits_as_read(model: Any, params: chex.ArrayTree, sample: Sample) -> np.ndarray:
    """The logits `[N, C]` of a network as it was read, of the examples that a sample holds."""
    run = jax.jit(lambda x: logits_of(model, params, x))
    found = []
    with jax.default_matmul_precision("highest"):
        for start in range(0, int(sample.size), BLOCK):
            found.append(np.asarray(run(sample.inputs[start : start + BLOCK])))
    return np.concatenate(found)[: int(sample.size)]


def disagreements(one: np.ndarray, other: np.ndarray) -> tuple[int, int]:
    """On how many points two networks differ, at least and at most.

    Args:
      one, other: logits `[N, C]`; where none leads a network differs from every other.
    """
    is_none, is_tie, is_close, classes = False, False, False, []
    for z in (one, other):
        best = np.argmax(z, axis=1)
        with np.errstate(invalid="ignore"):
            _, tie, close = recounting.of_margins(z, best)
        is_tie, is_close = is_tie | tie, is_close | close
        is_none |= ~np.isfinite(z).all(axis=1) | ~np.any(z, axis=1)
        classes.append(best)
    differ = classes[0] != classes[1]
    surely = is_none | (differ & ~is_close)
    counts = surely, surely | differ | is_tie, surely | differ | is_close
    return recounting.within_rounding(np.sum(counts, axis=1), len(one))


def misread(
    one: Certificate, least: int, most: int, points: int
) -> tuple[int, list[str]]:
    """Disagreements that are as many as may be, and a line where these are others than claimed."""
    found, count = [], min(max(one.disagreements, least), most)
    if points != one.points:
        found.append(f"there are {points} points, not {one.points}")
    if count != one.disagreements:
        between = f"{least}" if least == most else f"{least} to {most}"
        found.append(
            f"the two networks disagree on {between} points, not {one.disagreements}"
        )
    return count, found
