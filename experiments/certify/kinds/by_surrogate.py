"""A given network, by a surrogate that was trained on a part of the labels.

The file holds the surrogate, `surrogate/0/kernel`, .... Its errors on the labelled examples that certify
it are recounted, and on how many unlabelled points the given network says otherwise.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from experiments.certify import certificate_file, given
from experiments.certify.kinds import of_given, recounting
from experiments.certify.kinds.kind import Kind, miscounted, misvalued
from experiments.lab import chains
from experiments.problems import Examples
from nets.sample import pad_sample

SURROGATE = "surrogate/"


@dataclasses.dataclass(frozen=True)
class Certificate(of_given.Certificate):
    """What is claimed of a given network.

    Attributes:
      run_seed: that decides, too, which of the labelled examples certify the surrogate.
      size: of labelled examples in all.
      layers: what those of the surrogate are (`experiments.lab.chains`).
    """

    run_seed: int
    size: int
    layers: dict

    def check(self) -> None:
        """Raises a `ValueError` where a number cannot be, or the layers of the surrogate."""
        super().check()
        certificate_file.check_counts(self, "run_seed", "size")
        chains.check(self.layers)


@dataclasses.dataclass(frozen=True)
class Stored:
    """A surrogate from its file.

    Attributes:
      surrogate: `[{"kernel", "bias"}, ...]`, the input's layer first.
      certificate: what is claimed.
    """

    surrogate: list[dict[str, np.ndarray]]
    certificate: Certificate


def _bazinet_2026(wrong, size, differ, points, delta):
    """BetaInv(1 - delta/2; e + 1, n - e) + BetaInv(1 - delta/2; k + 1, u - k)."""
    of_surrogate = recounting.binomial_limit(wrong, size, delta / 2)
    return of_surrogate + recounting.binomial_limit(differ, points, delta / 2)


class BySurrogate(Kind):
    """A given network, of which a surrogate and points without labels tell."""

    Certificate = Certificate
    tensors = (SURROGATE,)
    speaks_of = "the given network"
    flags = of_given.FLAGS
    formulas = {"bazinet_2026_surrogate": _bazinet_2026}

    def stored(
        self, path: Any, tensors: Mapping[str, np.ndarray], certificate: Certificate
    ) -> Stored:
        """The surrogate."""
        try:
            found = chains.network_of(certificate.layers, tensors, SURROGATE)
        except ValueError as error:
            raise certificate_file.not_those(path, "a surrogate", error) from error
        return Stored(found, certificate)

    def data(
        self, typed: Mapping[str, Any], certificate: Certificate
    ) -> given.GivenNetwork:
        """The given network, the examples that certify the surrogate, and the points."""
        one = certificate

        def certified(found: given.GivenNetwork) -> str:
            if not 0 < one.certified_size <= found.size:
                return "of none"
            found.check_parts(one.run_seed, one.certified_size)
            sample = pad_sample(*_certifying(found, one), 0)
            return certificate_file.digest_of_sample(sample)

        return of_given.data(typed, one, "surrogate", certified)

    def differs(self, stored: Stored, data: given.GivenNetwork) -> list[str]:
        """The errors of the surrogate, the disagreements and the bound."""
        one, layers = stored.certificate, recounting.wide(stored.surrogate)
        found = []
        if data.size != one.size:
            found.append(f"there are {data.size} labelled examples, not {one.size}")
        examples = Examples(*_certifying(data, one))
        size, points = len(examples.labels), int(data.points.size)
        counts = recounting.errors(one.layers, layers, examples)
        wrong, also = miscounted(one, size, *counts)
        own = of_given.logits_as_read(
            data.network.model, data.network.params, data.points
        )
        as_ours = data.points if data.own_points is None else data.own_points
        inputs = np.asarray(as_ours.inputs)[:points]
        its = recounting.all_logits(one.layers, layers, inputs)
        if its.shape != own.shape:
            return [f"the surrogate has {its.shape[1]} outputs, not {own.shape[1]}"]
        differ, more = of_given.misread(one, *of_given.disagreements(own, its), points)
        formula, delta = self.formulas[one.bound], one.delta / one.tried
        value = formula(wrong, size, differ, points, delta)
        return found + also + more + misvalued(one, value)

    def counted(self, certificate: Certificate) -> str:
        """The errors of the surrogate, and the disagreements."""
        one = certificate
        return (
            f"its surrogate errs on {one.wrong} among {one.certified_size}, and disagrees on "
            f"{one.disagreements} of {one.points} points"
        )

    def taken(self, certificate: Certificate) -> list[str]:
        """That nothing has seen what it must not have seen."""
        others = certificate.size - certificate.certified_size
        return [
            f"the surrogate was trained on the other {others} labelled examples alone",
            "neither network has seen the points",
            of_given.ONE_LAW,
        ]


def _certifying(found, one):
    """Inputs and labels of the examples that certify the surrogate."""
    first, _ = found.parts(one.run_seed, one.certified_size)
    return first.inputs, first.labels
