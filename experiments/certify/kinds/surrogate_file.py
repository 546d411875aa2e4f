"""A surrogate from the file of its own certificate, which another run of `certify` has written."""

import contextlib
import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from experiments.certify import certificate_file
from experiments.certify.kinds import certified_data
from experiments.certify.kinds.coded_network import CodedNetwork
from experiments.certify.kinds.drawn_network import DrawnNetwork
from experiments.certify.kinds.kind import KindOfNetwork
from experiments.certify.kinds.picked import PickedNetwork
from experiments.certify.kinds.posterior import PosteriorNetwork
from experiments.lab import report, settings
from experiments.lab.refusals import Refusal
from experiments.problems import Examples, own_data

# Those that may stand for a given network.
KINDS: tuple[KindOfNetwork, ...] = (
    PosteriorNetwork(),
    DrawnNetwork(),
    CodedNetwork(),
    PickedNetwork(),
)
# How its inputs were read: the given network may take them otherwise.
_ITS_OWN = ("normalise", "classes")
_FILES = "weights/<run>_posterior|drawn|coded|picked.safetensors"


@dataclasses.dataclass(frozen=True)
class Claimed:
    """What is claimed of a surrogate.

    Attributes:
      kind: of its certificate.
      certificate: what is claimed.
      tensors_sha256: digest of its tensors.
    """

    kind: KindOfNetwork
    certificate: certificate_file.OfProblem
    tensors_sha256: str

    @property
    def normalise(self) -> tuple[float, ...]:
        """The constants by which its inputs were normalised; () if they were not."""
        return tuple(self.certificate.problem_settings.get("normalise") or ())

    def other_settings(self, stated: Mapping[str, Any]) -> list[str]:
        """Flags of its problem that say of what its labels are, where others were stated.

        Args:
          stated: settings of the same problem by name, as JSON has them.
        """
        own = self.certificate.problem_settings.items()
        return [
            f"--{name}={settings.shown(value)}"
            for name, value in own
            if name not in _ITS_OWN and stated.get(name, value) != value
        ]

    def sentence(self) -> str:
        """What it promises, and what that rests on."""
        one = self.certificate
        return (
            f"{self.kind.called} that errs on at most {report.at_most(min(one.value, 1.0))} with "
            f"confidence {report.confidence(one.delta)} ({one.bound}; {self.kind.counted(one)})"
        )


@dataclasses.dataclass(frozen=True)
class Surrogate(Claimed):
    """A surrogate with its tensors.

    Attributes:
      tensors: by name, as in its own file.
      stored: what its kind makes of them.
    """

    tensors: Mapping[str, np.ndarray]
    stored: Any

    def claims(self) -> dict[str, Any]:
        """What its own file says."""
        return certificate_file.to_claims(self.certificate, self.tensors)


def of_claims(flag: str, claims: Any) -> Claimed:
    """What is claimed of a surrogate.

    Args:
      flag: with which a refusal begins.
      claims: what its own file said.

    Raises:
      Refusal: it is no certificate of one of `KINDS`.
    """
    kinds = {kind.Certificate: kind for kind in KINDS}
    found, digest = certificate_file.from_claims(flag, claims, tuple(kinds))
    return Claimed(kinds[type(found)], found, digest)


def with_tensors(
    path: Any, one: Claimed, tensors: Mapping[str, np.ndarray]
) -> Surrogate:
    """A surrogate with its tensors.

    Args:
      path: of the file that they are in.
      one: what is claimed.
      tensors: by name, as in its own file.

    Raises:
      Refusal: they are not its own, or not those of its kind.
    """
    if certificate_file.digest_of_tensors(tensors) != one.tensors_sha256:
        raise Refusal(
            f"--verify={path}: the tensors of its surrogate were changed, their digest is another; "
            "get the file again"
        )
    one.kind.check(path, tensors, one.certificate)
    stored = one.kind.stored(path, tensors, one.certificate)
    return Surrogate(one.kind, one.certificate, one.tensors_sha256, tensors, stored)


@contextlib.contextmanager
def _said_of_this_flag() -> Iterator[None]:
    """What is refused of the file of --verify is refused of this one in the same words."""
    try:
        yield
    except Refusal as error:
        raise Refusal(str(error).replace("--verify", "--surrogate_file")) from error


def read(path: str, kinds: Sequence[type[certificate_file.Certificate]]) -> Surrogate:
    """The surrogate in a file, whose certificate is not recounted yet.

    Args:
      path: of the file.
      kinds: of certificates that there are.

    Raises:
      Refusal: it cannot be read, was changed, or holds no network that may be a surrogate.
    """
    with _said_of_this_flag():
        certificate, tensors = certificate_file.read(path, kinds)
        if type(certificate) not in [kind.Certificate for kind in KINDS]:
            raise Refusal(
                f"--verify={path}: its certificate is of a given network; name one of a network that "
                f"certify has trained, {_FILES}"
            )
        claims = certificate_file.to_claims(certificate, tensors)
        return with_tensors(path, of_claims("", claims), tensors)


def check_goes_with(config: Any, surrogate: Surrogate) -> None:
    """Raises a `Refusal` where a surrogate is of other data, or leaves nothing of delta.

    Args:
      config: the settings of the call that certifies a given network by it.
      surrogate: which.
    """
    flag, one = f"--surrogate_file={config.surrogate_file}", surrogate.certificate
    if one.problem != config.problem:
        its = f"--problem={one.problem}" if one.problem else "a file, by --data"
        own = f"--problem={config.problem}" if config.problem else "of --data"
        raise Refusal(
            f"{flag}: was certified on examples of {its}, and this call is {own}; give a surrogate of "
            "the same examples"
        )
    numbers = surrogate.normalise
    if not all(isinstance(x, int | float) and math.isfinite(x) for x in numbers):
        raise Refusal(
            f"{flag}: its inputs are said to be normalised by what are no numbers; get the file again"
        )
    if others := surrogate.other_settings(settings.to_json(config)):
        raise Refusal(
            f"{flag}: was certified with {', '.join(others)}, on examples that are drawn otherwise; "
            "give a surrogate of the same examples"
        )
    share = config.delta / config.tried
    if share <= one.delta:
        alone = (
            ""
            if config.tried == 1
            else ", or --tried=1 if nothing else was tried on these points"
        )
        raise Refusal(
            f"--delta={config.delta:g}, --tried={config.tried}: {share:.4g} is all that this "
            f"certificate may fail with, and that in {flag} takes {one.delta:g} already; make that "
            f"file with less (--delta={share / 2:.4g}), or give a larger --delta here{alone}"
        )


def recounted(surrogate: Surrogate, config: Any) -> Examples:
    """The examples that a surrogate was certified on, of which its certificate is as it says.

    Args:
      surrogate: which.
      config: the settings of the call that certifies a given network by it.

    Raises:
      Refusal: the examples are others, or the certificate is refuted.
    """
    with _said_of_this_flag():
        typed = _typed(config)
        found = surrogate.kind.data(typed, surrogate.certificate)
        differs = surrogate.kind.differs(surrogate.stored, found)
        if differs:
            raise Refusal(
                f"--verify={typed['verify']}: its certificate is refuted: {'; '.join(differs)}; get "
                "the file again"
            )
        return found


def seen_points(config: Any, surrogate: Claimed, points: np.ndarray) -> str | None:
    """`shared` of the settings of a call."""
    with _said_of_this_flag():
        return shared(_typed(config), surrogate, config.unlabelled, points)


def shared(
    typed: Mapping[str, Any], surrogate: Claimed, name: Any, points: np.ndarray
) -> str | None:
    """A line, which is printed, on points that a surrogate was trained or certified on, or None.

    Of one's own data the surrogate's examples are among the labelled ones, which a given network's points
    are compared with anyway.

    Args:
      typed: `verify`, the file, and where the data are.
      surrogate: which.
      name: of the points.
      points: `[u, D]`, as the surrogate takes them.

    Raises:
      Refusal: they are too many.
    """
    one = surrogate.certificate
    if typed.get("data") or one.problem is None:
        return None
    whole = certified_data.read(typed, one, lambda config: slice(0, None))
    what = f"--unlabelled={name}: points that the surrogate was not to have seen"
    return own_data.not_seen(what, whole.inputs, points)


def _typed(config):
    """What would be typed to recount the file alone."""
    names = ("problem", "data", "data_dir")
    found = {n: getattr(config, n, None) for n in names}
    return {n: v for n, v in found.items() if v} | {"verify": config.surrogate_file}
