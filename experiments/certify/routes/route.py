"""The contract of a route: what it trains, and which bounds then speak of what it trained."""

import abc
import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from experiments.lab.later import later
from experiments.problems import Problem

if TYPE_CHECKING:
    import numpy as np

    from experiments.lab.jobs import Run, Stage, Trained
    from experiments.lab.measuring import Arrays

bounds = later("bounds")
certificate_file = later("experiments.certify.certificate_file")
certificates = later("experiments.lab.certificates")
definitions = later("experiments.lab.definitions")
given = later("experiments.certify.given")

SAME_DATA = "same_data"  # errors of a `Course.baseline`, among the arrays of its run


@dataclasses.dataclass(frozen=True)
class NoSettings:
    """The settings of a route that has none of its own."""


@dataclasses.dataclass(frozen=True)
class Course:
    """What a route trains.

    Attributes:
      stages: in order.
      runs: what is certified, a seed each: mostly of the last stage.
      network: (run, what was trained) -> the network, and all that its bounds ask for.
      earlier: run -> the runs before it whose seconds count with its own, as do those that notes
        speak of; where it is none that is trained, the first of them says how training went.
      baseline: (run, what was trained) -> a network that has not seen its `sample`, the data that
        the certificate rests on: what they would promise as a plain hold-out set. None where the
        course has no such network.
    """

    stages: "Sequence[Stage]"
    runs: "tuple[Run, ...]"
    network: "Callable[[Run, Trained], bounds.Network]"
    earlier: "Callable[[Run], Sequence[Run]]" = lambda run: ()
    baseline: "Callable[[Run, Trained], bounds.Network | None]" = lambda run, trained: (
        None
    )

    def trained_for(self, run: "Run", trained: "Trained") -> "list[Run]":
        """Of a run that is certified and those before it what is trained."""
        return [r for r in (run, *self.earlier(run)) if trained.trains(r)]


@dataclasses.dataclass(frozen=True)
class Quoted:
    """A network with the certificate that is quoted of it.

    Attributes:
      config: the settings.
      problem: what was learned, or given.
      run: which.
      network: what the course of the route makes of it.
      arrays: what was measured of it.
      row: of the bound.
    """

    config: Any
    problem: Problem
    run: "Run"
    network: "bounds.Network"
    arrays: "Arrays"
    row: Mapping[str, Any]

    def claims(self) -> dict[str, Any]:
        """The attributes that certificates of all kinds have, but for what was counted."""
        return {
            "bound": self.row["bound"],
            "value": self.row["value"],
            "delta": self.config.delta,
            "tried": self.config.tried,
            "definition_sha256": definitions.of(bounds.BOUNDS[self.row["bound"]].fn),
        }


def too_small(parts: Mapping[str, int], batch_size: int) -> Iterator[str]:
    """Lines on parts of the examples that hold no batch.

    Args:
      parts: flag -> how many examples it leaves.
      batch_size: examples a step.
    """
    for flag, size in parts.items():
        if size < batch_size:
            yield (
                f"{flag}: leaves {size} examples for one of the two parts, fewer than "
                f"--batch_size={batch_size}; use more examples or smaller batches"
            )


class Route(abc.ABC):
    """One way to a network with a certificate.

    Class attributes:
      name: of the flag --route.
      about: what it trains and which network its certificate speaks of, in a sentence.
      Settings: a dataclass of its own settings (`lab.settings.setting`): they become flags.
      groups: measured groups that only what it trains has: a bound that asks for one of them
        speaks of what it trains.
      bounds: those that are evaluated if `--bounds` is not given (`evaluated` may leave some out);
        the first of them that can be had is quoted.
      of_given: whether it certifies a network that is given (`certify.given`), not one that it
        trains.
      without: settings of all routes that mean nothing to it.
      shown: its own columns that the report shows.
      kept: what the name of the file of its certificate ends with.
      before: what is trained on the images that nothing is certified on.
    """

    name: ClassVar[str]
    about: ClassVar[str]
    Settings: ClassVar[type] = NoSettings
    groups: ClassVar[tuple[str, ...]]
    bounds: ClassVar[tuple[str, ...]]
    of_given: ClassVar[bool] = False
    without: ClassVar[tuple[str, ...]] = ()
    shown: ClassVar[tuple[str, ...]] = ()
    kept: ClassVar[str]
    before: ClassVar[str] = "the prior"

    def clashes(self, config: Any) -> Iterator[str]:
        """Lines on settings that do not go together; nothing slow is imported, no data are read."""
        yield from ()

    def given(self, config: Any) -> "given.GivenNetwork":
        """The network that it certifies, where it does not train one."""
        return given.GivenNetwork(config)

    @abc.abstractmethod
    def course(self, config: Any, problem: Problem) -> Course:
        """What it trains for these settings."""

    def certified_size(self, config: Any) -> int:
        """How many training examples its certificate is computed on."""
        return config.size

    @abc.abstractmethod
    def certified(
        self, of: Quoted
    ) -> "tuple[Mapping[str, np.ndarray], certificate_file.Certificate]":
        """The tensors and the certificate of a file (`experiments.certify.kinds`).

        Args:
          of: what is certified, and by which bound.
        """

    def columns(
        self, config: Any, arrays: "Arrays", rows: Sequence[Mapping[str, Any]]
    ) -> dict[str, Any]:
        """More columns of a network's row in results.csv.

        Args:
          config: the settings.
          arrays: what was measured of it.
          rows: of its bounds.
        """
        return {}

    def beside(self, row: Mapping[str, Any], delta: float) -> list[str]:
        """Sentences that belong beside the certificate: what the same data give by other means.

        Args:
          row: of the network in results.csv.
          delta: failure probability of each of them.
        """
        return []

    def taken(self, config: Any) -> list[str]:
        """Sentences on what no file tells and the certificates rest on."""
        return []

    def evaluated(self, config: Any) -> tuple[str, ...]:
        """The bounds that are evaluated if `--bounds` is not given."""
        return self.bounds

    def asked(self, config: Any) -> tuple[str, ...]:
        """The bounds one of which is quoted, in their order."""
        return tuple(n for n in config.quote or config.bounds if self.speaks(n))

    def quoted(
        self, config: Any, rows: Sequence[Mapping[str, Any]]
    ) -> Mapping[str, Any] | None:
        """Of the rows of a network's bounds the certificate that is quoted of what it trains."""
        return certificates.quotable(rows, self.asked(config))

    def speaks(self, name: str) -> bool:
        """Whether a bound speaks of what it trains."""
        return any(group in self.groups for group in bounds.BOUNDS[name].groups)
