"""A given network, by its own compressed form: the network that few bits describe.

The file holds `code`, the bits packed into bytes. They are decoded onto the given network's shapes, or
onto its initial weights, which whoever recounts gives (`--init`); the errors of the network that they
describe are recounted, and on how many unlabelled points it says otherwise than the given one. Both are
run in float32 as they were read.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import chex
import jax
import numpy as np

from bounds.measures import code
from bounds.numerics import coding
from experiments.certify import certificate_file, given
from experiments.certify.kinds import coded_network, of_given, recounting
from experiments.certify.kinds.kind import Kind, miscounted, misvalued
from experiments.lab.refusals import Refusal

_OF_INITIAL = "bazinet_2026_code"


@dataclasses.dataclass(frozen=True)
class Certificate(of_given.Certificate):
    """What is claimed of a given network.

    Attributes:
      bits: the length of the code, at least that of the code in the file.
      init_sha256: digest of the initial weights that a receiver knows, or None: none.
    """

    bits: int
    init_sha256: str | None

    def check(self) -> None:
        """Raises a `ValueError` where a number cannot be."""
        super().check()
        certificate_file.check_counts(self, "bits")
        if (self.init_sha256 is None) == (self.bound == _OF_INITIAL):
            raise ValueError("init_sha256: does not go with its bound")


@dataclasses.dataclass(frozen=True)
class Stored:
    """A code from its file.

    Attributes:
      code: `[c]` uint8, its bits, and what fills the last byte.
      certificate: what is claimed.
    """

    code: np.ndarray
    certificate: Certificate


def is_of_initial(bound: str) -> bool:
    """Whether a bound is of a code of the way from the initial weights."""
    return bound == _OF_INITIAL


def _moves(params, init):
    """The arrays that are coded: of a network, or of its way from the initial weights."""
    leaves = [np.asarray(leaf, np.float64) for leaf in jax.tree.leaves(params)]
    if init is None:
        return leaves
    starts = [np.asarray(leaf, np.float64) for leaf in jax.tree.leaves(init)]
    return [w - z for w, z in zip(leaves, starts, strict=True)]


def tensors(
    params: chex.ArrayTree, init: chex.ArrayTree | None, candidate: tuple[float, float]
) -> dict[str, np.ndarray]:
    """The code of a network, as `bounds.measures.code` measures it.

    Args:
      params: of the network.
      init: its initial weights, which a receiver knows, or None: he knows none.
      candidate: how it is quantised.
    """
    with jax.enable_x64(True):
        bits = coding.encode(*code.quantised(_moves(params, init), candidate))
    return {coded_network.CODE: np.packbits(bits)}


def _described(symbols, exponents, params, init):
    """The network that a receiver makes of a code: float32, of the shapes of `params`.

    Args:
      symbols, exponents: as `coding.decode` reads them.
      params: of the network whose shapes he knows.
      init: the initial weights that he knows, or None.
    """
    found = [
        own.astype(np.float32) * np.asarray(coding.step(exponent))
        for own, exponent in zip(symbols, exponents, strict=True)
    ]
    if init is not None:
        pairs = zip(found, jax.tree.leaves(init), strict=True)
        found = [np.asarray(z, np.float32) + move for move, z in pairs]
    return jax.tree.structure(params).unflatten(found)


def _bazinet_2026(bits, wrong, size, differ, points, delta):
    """The coded network's limit at delta/2, and that of its disagreements at delta/(2 J).

    J candidates were measured, and the one whose sum is least was taken.
    """
    share = delta / (2 * len(code.CANDIDATES))
    return recounting.coded_limit(
        bits, wrong, size, delta / 2
    ) + recounting.binomial_limit(differ, points, share)


def _is_candidate(symbols, exponents, params, init):
    """Whether a code is that of one of the quantisations that are paid for."""
    stated, moves = [*symbols, *exponents], _moves(params, init)
    with jax.enable_x64(True):
        every = [code.quantised(moves, candidate) for candidate in code.CANDIDATES]
    return any(
        all(np.array_equal(a, b) for a, b in zip([*own, *steps], stated, strict=True))
        for own, steps in every
    )


class ByCode(Kind):
    """A given network, of which its compressed form and points without labels tell."""

    Certificate = Certificate
    tensors = (coded_network.CODE,)
    speaks_of = "the given network"
    flags = of_given.FLAGS
    formulas = {
        _OF_INITIAL: _bazinet_2026,
        "bazinet_2026_code_from_origin": _bazinet_2026,
    }

    def stored(
        self, path: Any, tensors: Mapping[str, np.ndarray], certificate: Certificate
    ) -> Stored:
        """The bits."""
        try:
            return Stored(coded_network.bits_of(tensors), certificate)
        except ValueError as error:
            raise certificate_file.not_those(path, "a code", error) from error

    def data(
        self, typed: Mapping[str, Any], certificate: Certificate
    ) -> given.GivenNetwork:
        """The given network, perhaps with its initial weights, the labelled examples, the points."""
        one = certificate

        def certified(found: given.GivenNetwork) -> str:
            return certificate_file.digest_of_sample(found.network.sample)

        found = of_given.data(typed, one, "compression", certified)
        if one.init_sha256 is not None:
            flag = f"--init={typed['init']}" if typed.get("init") else "--init"
            if found.network.init is None:
                raise Refusal(
                    f"{flag}: the certificate in --verify is of a code from the initial weights; "
                    "give their file"
                )
            if of_given.digest_of_params(found.network.init) != one.init_sha256:
                raise Refusal(
                    f"{flag}: not the initial weights of the certificate in --verify, their digest "
                    "is another; give those"
                )
        return found

    def differs(self, stored: Stored, data: given.GivenNetwork) -> list[str]:
        """The bits, the errors of what they describe, the disagreements and the bound."""
        one, network = stored.certificate, data.network
        init = None if one.init_sha256 is None else network.init
        try:
            shapes = [leaf.shape for leaf in jax.tree.leaves(network.params)]
            symbols, exponents, length = coding.decode(stored.code, shapes)
        except ValueError as error:
            return [f"its code is none ({error})"]
        found = []
        if length > one.bits:
            found.append(f"its code has {length} bits, not {one.bits}")
        of = symbols, exponents, network.params, init
        params = _described(*of)
        if not _is_candidate(*of):
            found.append(
                f"its code is none of the {len(code.CANDIDATES)} candidates, which are fixed without "
                "the points"
            )

        def logits(params: chex.ArrayTree, sample: Any) -> np.ndarray:
            return of_given.logits_as_read(network.model, params, sample)

        size, points = int(network.sample.size), int(data.points.size)
        labels = np.asarray(network.sample.labels)[:size]
        of_each = recounting.of_margins(logits(params, network.sample), labels)
        counts = recounting.within_rounding(np.sum(of_each, axis=1), size)
        wrong, also = miscounted(one, size, *counts)
        both = (logits(one_, data.points) for one_ in (network.params, params))
        differ, more = of_given.misread(one, *of_given.disagreements(*both), points)
        formula, delta = self.formulas[one.bound], one.delta / one.tried
        value = formula(one.bits, wrong, size, differ, points, delta)
        return found + also + more + misvalued(one, value)

    def counted(self, certificate: Certificate) -> str:
        """Bits, errors and disagreements."""
        one = certificate
        return (
            f"the network of {one.bits} bits errs on {one.wrong} among {one.certified_size}, and "
            f"disagrees on {one.disagreements} of {one.points} points"
        )

    def taken(self, certificate: Certificate) -> list[str]:
        """That nothing has seen what it must not have seen."""
        found = ["the network has not seen the points", of_given.ONE_LAW]
        if certificate.init_sha256 is not None:
            found.append("its initial weights were chosen without the examples")
        return found
