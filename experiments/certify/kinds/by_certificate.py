"""A given network, by a surrogate that has a certificate of its own.

The file holds the surrogate's file: its tensors, `surrogate/final/0/kernel`, ..., and what is claimed of
it. That certificate is recounted as its kind does it, and then on how many unlabelled points the given
network says otherwise: where the surrogate is a posterior each point has its own draw of the weights,
under the draws that all posteriors have there.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from experiments.certify import certificate_file, given
from experiments.certify.kinds import of_given, recounting, surrogate_file
from experiments.certify.kinds.by_surrogate import SURROGATE
from experiments.certify.kinds.kind import Kind, misvalued
from experiments.lab.refusals import Refusal
from experiments.problems import Examples


@dataclasses.dataclass(frozen=True)
class Certificate(of_given.Certificate):
    """What is claimed of a given network; what was counted of labelled examples is the surrogate's.

    Attributes:
      of_surrogate: what is claimed of the surrogate, as its own file says it.
    """

    of_surrogate: dict

    def surrogate(self) -> surrogate_file.Claimed:
        """What is claimed of the surrogate."""
        return surrogate_file.of_claims("--verify", self.of_surrogate)

    def among(self) -> int:
        """Of how many the surrogate's errors are a part."""
        return self.surrogate().certificate.among()

    def check(self) -> None:
        """Raises a `ValueError` where a number cannot be, or the surrogate's certificate."""
        try:
            self.surrogate()
        except Refusal as error:
            raise ValueError(f"of_surrogate: {error}") from error
        super().check()


def of_surrogate(surrogate: surrogate_file.Surrogate) -> dict[str, Any]:
    """The attributes of a `Certificate` that a surrogate says."""
    same = ("wrong", "certified_size", "data_sha256")
    found = {name: getattr(surrogate.certificate, name) for name in same}
    return found | {"of_surrogate": surrogate.claims()}


def tensors(surrogate: surrogate_file.Surrogate) -> dict[str, np.ndarray]:
    """Those of a surrogate's own file, by their names here."""
    return {f"{SURROGATE}{name}": a for name, a in surrogate.tensors.items()}


@dataclasses.dataclass(frozen=True)
class Stored:
    """A surrogate from the file of a given network's certificate.

    Attributes:
      surrogate: with its own certificate.
      certificate: what is claimed of the given network.
    """

    surrogate: surrogate_file.Surrogate
    certificate: Certificate


@dataclasses.dataclass(frozen=True)
class Data:
    """What a certificate rests on.

    Attributes:
      network: the given one, with its points.
      examples: labelled ones that certify the surrogate.
    """

    network: given.GivenNetwork
    examples: Examples


def _bazinet_2026(certificate, failure, differ, points, delta):
    """B(s; delta_1) + BetaInv(1 - (delta - delta_1); k + 1, u - k)."""
    if not delta > failure:
        return certificate + 1.0
    return certificate + recounting.binomial_limit(differ, points, delta - failure)


class ByCertificate(Kind):
    """A given network, of which a certified surrogate and points without labels tell."""

    Certificate = Certificate
    tensors = (SURROGATE,)
    speaks_of = "the given network"
    flags = of_given.FLAGS
    formulas = {"bazinet_2026_certified_surrogate": _bazinet_2026}

    def stored(
        self, path: Any, tensors: Mapping[str, np.ndarray], certificate: Certificate
    ) -> Stored:
        """The surrogate, as its own kind has it."""
        own = {name.removeprefix(SURROGATE): a for name, a in tensors.items()}
        found = surrogate_file.with_tensors(path, certificate.surrogate(), own)
        return Stored(found, certificate)

    def data(self, typed: Mapping[str, Any], certificate: Certificate) -> Data:
        """The given network, the examples that certify the surrogate, and the points."""
        its = certificate.surrogate()
        where = ("verify", "problem", "data", "data_dir", "plugin")
        own = {n: v for n, v in typed.items() if n in where}
        examples = its.kind.data(own, its.certificate)
        digest = certificate_file.digest_of_examples(examples)
        found = of_given.data(
            typed, certificate, "surrogate", lambda _: digest, its.normalise
        )
        name = typed.get("unlabelled") or certificate.reading.get("unlabelled")
        surrogate_file.shared(own, its, name, found.points_of_surrogate())
        return Data(found, examples)

    def differs(self, stored: Stored, data: Data) -> list[str]:
        """The surrogate's certificate, the disagreements and the bound."""
        one, its, found = stored.certificate, stored.surrogate, data.network
        inner, points = its.certificate, int(found.points.size)
        differs = [
            f"of its surrogate: {line}"
            for line in its.kind.differs(its.stored, data.examples)
        ]
        if (one.wrong, one.certified_size) != (inner.wrong, inner.certified_size):
            differs.append(
                f"its surrogate errs on {inner.wrong} and has {inner.certified_size} examples, not "
                f"{one.wrong} and {one.certified_size}"
            )
        if others := its.other_settings(one.reading):
            differs.append(f"its surrogate was certified with {', '.join(others)}")
        if one.problem != inner.problem:
            differs.append(
                f"its surrogate is of {inner.problem or 'a file'}, not of {one.problem or 'a file'}"
            )
        if differs:
            return differs
        network = found.network
        own = of_given.logits_as_read(network.model, network.params, found.points)
        other = its.kind.logits(its.stored, found.points_of_surrogate())
        if other.shape != own.shape:
            return [f"the surrogate has {other.shape[1]} outputs, not {own.shape[1]}"]
        differ, also = of_given.misread(
            one, *of_given.disagreements(own, other), points
        )
        formula, delta = self.formulas[one.bound], one.delta / one.tried
        value = formula(inner.value, inner.delta, differ, points, delta)
        return also + misvalued(one, value)

    def counted(self, certificate: Certificate) -> str:
        """The surrogate's certificate, and the disagreements."""
        one = certificate
        return (
            f"its surrogate is {one.surrogate().sentence()}, and disagrees on {one.disagreements} of "
            f"{one.points} points"
        )

    def taken(self, certificate: Certificate) -> list[str]:
        """What the surrogate's recount takes as said, and that nothing has seen the points."""
        its = certificate.surrogate()
        lines = its.kind.taken(its.certificate)
        return [f"of the surrogate, {line}" for line in lines] + [
            "neither network has seen the points",
            of_given.ONE_LAW,
        ]
