"""A network that was trained on a few picked examples, certified by all others.

Beside the network are `picks`, the places of its examples. What is recounted: the errors on the
others, and the bound of so many picks and errors. That the network is what training makes of these
picks, as the theorem takes it to be, only training again would tell.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from experiments.certify import certificate_file
from experiments.certify.kinds import certified_data, recounting
from experiments.certify.kinds.kind import KindOfNetwork, miscounted, misvalued
from experiments.certify.routes.pick_to_learn import certified_part
from experiments.lab import chains
from experiments.lab.chains import FINAL
from experiments.problems import Examples

PICKS = "picks"


@dataclasses.dataclass(frozen=True)
class Certificate(certificate_file.OfProblem):
    """What is claimed of a network of picked examples; `wrong` are errors on the others.

    Attributes:
      picked: how many there are.
      budget: how many might have been picked.
      start_share: of the examples of the problem that it was trained on before, and that are not
        among those.
    """

    picked: int
    budget: int
    start_share: float = 0.0

    def among(self) -> int:
        """What is not picked."""
        return self.certified_size - self.picked

    def check(self) -> None:
        """Raises a `ValueError` where a number cannot be, or the layers of the network."""
        super().check()
        certificate_file.check_counts(self, "picked", "budget")
        if not 0 <= self.start_share < 1:
            raise ValueError("start_share: must be in [0, 1)")


@dataclasses.dataclass(frozen=True)
class Stored:
    """A network from its file.

    Attributes:
      network: `[{"kernel", "bias"}, ...]`, the input's layer first.
      picks: `[k]`, places from 0 in the training set, each once, in their order.
      certificate: what is claimed.
    """

    network: list[dict[str, np.ndarray]]
    picks: np.ndarray
    certificate: Certificate


def _littlestone_1986(picked, budget, wrong, size, delta):
    """sup {p : Pr[Bin(m - k, p) <= e] >= delta / (C(m, k) (k + 1) (k + 2))}."""
    del budget
    nats = recounting.log_choices(size, picked) + math.log((picked + 1) * (picked + 2))
    return recounting.tail_limit(wrong, size - picked, math.log(delta) - nats)


def _paccagnan_2023(picked, budget, wrong, size, delta):
    """The t at which delta Pr[Bin(m, t) > n] = m t Pr[Bin(m, t) = n], n picks and errors."""
    kept = picked + wrong
    if kept >= size or picked > budget:
        return 1.0

    def is_below(t):
        if t >= 1:
            return False
        more = math.log(delta) + recounting.log_more(kept, size, t)
        return more < math.log(size * t) + recounting.log_binomial(kept, size, t)

    return recounting.largest(is_below, kept / size)


class PickedNetwork(KindOfNetwork):
    """A network of few examples, by pick-to-learn or by sample compression."""

    Certificate = Certificate
    called = "a network of picked examples"
    tensors = (FINAL, PICKS)
    formulas = {
        "paccagnan_2023_pick_to_learn": _paccagnan_2023,
        "littlestone_1986_sample_compression": _littlestone_1986,
    }

    def stored(
        self, path: Any, tensors: Mapping[str, np.ndarray], certificate: Certificate
    ) -> Stored:
        """The network and the places of its picks."""
        try:
            network = chains.network_of(certificate.network, tensors, FINAL)
            picks = tensors.get(PICKS)
            if picks is None or picks.ndim != 1 or picks.dtype != np.int32:
                raise ValueError(f"{PICKS}: must be places, int32")
            size = certificate.certified_size
            if np.any(np.diff(picks) <= 0) or np.any((picks < 0) | (picks >= size)):
                raise ValueError(
                    f"{PICKS}: must be places below {size}, each once, in their order"
                )
        except ValueError as error:
            what = "a network and its picks"
            raise certificate_file.not_those(path, what, error) from error
        return Stored(network, picks, certificate)

    def data(self, typed: Mapping[str, Any], certificate: Certificate) -> Examples:
        """All training examples that it did not start from, the picks among them."""
        return certified_data.of_problem(typed, certificate, certified_part)

    def differs(self, stored: Stored, data: Examples) -> list[str]:
        """The picks, the errors on what was not picked, and the bound."""
        one, found, picked = stored.certificate, [], len(stored.picks)
        size = len(data.labels)
        if size != one.certified_size:
            return [f"there are {size} examples, not {one.certified_size}"]
        if picked != one.picked:
            found.append(f"its picks are {picked}, not {one.picked}")
        if picked > one.budget:
            found.append(f"its picks are {picked}, more than its budget, {one.budget}")
        others = np.ones(size, bool)
        others[stored.picks] = False
        left = Examples(data.inputs[others], data.labels[others])
        counts = recounting.errors(one.network, stored.network, left)
        wrong, also = miscounted(one, size, *counts)
        formula, delta = self.formulas[one.bound], one.delta / one.tried
        value = formula(picked, one.budget, wrong, size, delta)
        return found + also + misvalued(one, value)

    def counted(self, certificate: Certificate) -> str:
        """Picks, and errors left."""
        one = certificate
        return f"{one.picked} picks of at most {one.budget}, {one.wrong} errors among the {one.among()} others"

    def taken(self, certificate: Certificate) -> list[str]:
        """That it learned from its picks alone, and from what it started from."""
        of = f"its {certificate.picked} picks"
        if certificate.start_share:
            before = certificate.size - certificate.certified_size
            of += f" and the {before} examples that it started from"
        return [
            f"it is what training makes of {of} alone, which was not done again",
            f"its budget, {certificate.budget} picks, was fixed before the examples were seen",
        ]
