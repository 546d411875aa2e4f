"""The contract of a kind of certificate: what its file holds, and how it is recounted."""

import abc
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import chex
import numpy as np

from experiments.certify import certificate_file
from experiments.certify.kinds import recounting
from experiments.lab import chains
from experiments.lab.reading.flaws import shown
from experiments.lab.refusals import Refusal

ROUNDING = 1e-9  # by which a value may be below the recounted one


class Kind(abc.ABC):
    """One kind of certificate.

    Class attributes:
      Certificate: its dataclass; no two kinds have the same attributes.
      formulas: name of a bound -> its value, from what the kind counts: a number of bits must not
        be taken for a density ratio.
      tensors: with which the names of those in its file begin.
      speaks_of: the network that it is of, in words.
      flags: that go with `--verify`, besides the file.
    """

    Certificate: ClassVar[type[certificate_file.Certificate]]
    formulas: ClassVar[Mapping[str, Callable[..., float]]]
    tensors: ClassVar[tuple[str, ...]]
    speaks_of: ClassVar[str] = "the network"
    flags: ClassVar[tuple[str, ...]] = ("data", "problem", "data_dir", "plugin")

    def check(
        self, path: Any, tensors: Mapping[str, np.ndarray], certificate: Any
    ) -> None:
        """Raises a `Refusal` for a bound, or a tensor, that a file of this kind has not.

        Args:
          path: of the file.
          tensors: by name.
          certificate: what is claimed.
        """
        if certificate.bound not in self.formulas:
            raise Refusal(
                f"--verify={path}: its certificate is by {certificate.bound}; recounted of such a "
                f"file are {', '.join(self.formulas)}"
            )
        strange = [name for name in tensors if not name.startswith(self.tensors)]
        if strange:  # who takes a network from the file might take that one
            raise Refusal(
                f"--verify={path}: its tensor {shown(strange[0])} is nothing that its certificate "
                "speaks of; get the file again"
            )

    @abc.abstractmethod
    def stored(
        self, path: Any, tensors: Mapping[str, np.ndarray], certificate: Any
    ) -> Any:
        """What is in a file, each tensor as it must be.

        Args:
          path: of the file.
          tensors: by name.
          certificate: what is claimed.

        Raises:
          Refusal: something is missing, or is none that can be.
        """

    @abc.abstractmethod
    def data(self, typed: Mapping[str, Any], certificate: Any) -> Any:
        """What it was computed on, from the flags of a call.

        Raises:
          Refusal: it cannot be read, or is not what the certificate was computed on.
        """

    @abc.abstractmethod
    def differs(self, stored: Any, data: Any) -> list[str]:
        """What of a certificate is not what its file and the data say.

        Args:
          stored: what `stored` returned.
          data: what `data` returned.
        """

    @abc.abstractmethod
    def counted(self, certificate: Any) -> str:
        """What it rests on, in words: `3 errors among 200, ln ratio 1.5`."""

    def taken(self, certificate: Any) -> list[str]:
        """What a recount takes as it is said, for only training again would tell."""
        return []


class KindOfNetwork(Kind):
    """A kind whose file holds the network that it speaks of: it may stand for a given one.

    Class attributes:
      called: the network, in words.
    """

    called: ClassVar[str]

    def layers(self, stored: Any) -> list[dict[str, np.ndarray]]:
        """The `kernel` and `bias` of each layer, the input's first."""
        return stored.network

    def classes(self, stored: Any) -> int:
        """How many outputs it has."""
        return len(self.layers(stored)[-1]["bias"])

    def unseen(self, stored: Any) -> list[dict[str, np.ndarray]] | None:
        """The layers of a network in the file that has not seen what certifies, if there is one."""
        return None

    def learned(self, stored: Any) -> tuple[Any, chex.ArrayTree]:
        """What can be run of it: a `Graph`, or a `GaussianNetwork` of one, and its parameters."""
        network = chains.graph_from(stored.certificate.network)
        return network, params_of(self.layers(stored))

    def logits(self, stored: Any, inputs: np.ndarray) -> np.ndarray:
        """Logits `[N, C]` of inputs `[N, D]`, float64: what `learned` has, counted another way."""
        every = recounting.wide(self.layers(stored))
        return recounting.all_logits(stored.certificate.network, every, inputs)


def params_of(layers: recounting.Layers) -> chex.ArrayTree:
    """Layers as the parameters of a `Graph` of a chain."""
    return {f"Layer_{n}": dict(layer) for n, layer in enumerate(layers)}


def misvalued(certificate: certificate_file.Certificate, value: float) -> list[str]:
    """A line where a bound is above the value that is claimed, and none elsewhere."""
    if not value <= certificate.value + ROUNDING:  # what is no number is no bound
        return [f"the bound is {value:.9g}, not {certificate.value:.9g}"]
    return []


def miscounted(
    certificate: certificate_file.Certificate, size: int, least: int, most: int
) -> tuple[int, list[str]]:
    """Errors that are as many as may be, and a line on each count that is not as is claimed.

    Args:
      certificate: what is claimed.
      size: how many examples there are.
      least, most: errors, either way of what rounding decides.
    """
    found = []
    if size != certificate.certified_size:
        found.append(f"there are {size} examples, not {certificate.certified_size}")
    wrong = min(max(certificate.wrong, least), most)
    if wrong != certificate.wrong:
        found.append(f"it errs on {_between(least, most)}, not {certificate.wrong}")
    return wrong, found


def _between(least, most):
    return f"{least}" if least == most else f"{least} to {most}"
