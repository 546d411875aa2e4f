"""The contract of a tool: which coupled runs it needs, what it computes of them, what it claims.

A tool is one file, entered by one line in `experiments.beyond_uc.tools`.
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from experiments.beyond_uc.cell import Cell, Look, Seen
from experiments.lab.figures import Drawing
from experiments.lab.later import later
from experiments.problems import Problem

spec = later("bounds.spec")

ESTIMATE = "estimate"  # what a few runs show: no promise
Quantities = dict[str, float]
ON_S = "on S"  # the network that the algorithm makes of S


def statuses() -> tuple[str, ...]:
    """What a claim can promise, the most first."""
    return (*spec.STATUSES, ESTIMATE)


@dataclasses.dataclass(frozen=True)
class NoSettings:
    """The settings of a tool that has none."""


@dataclasses.dataclass(frozen=True)
class Costs:
    """What a claim costs beyond the training of the network on S.

    Attributes:
      trainings: more trainings.
      labelled: fresh labelled points.
      unlabelled: fresh points without labels.
    """

    trainings: int = 0
    labelled: int = 0
    unlabelled: int = 0


@dataclasses.dataclass(frozen=True)
class Claim:
    """A number for the error of a network, as a bound gives one.

    Attributes:
      name: in every table: the tool's and the claim's, e.g. "ratt_multiclass".
      value: quantity that is the number, of a cell.
      error: quantity that is the error of the network that it speaks of, on fresh points.
      empirical: quantity that is its part seen in training, or ''.
      status: one of `statuses()`.
      speaks_of: one of `bounds.spec.SPEAKS_OF`.
      about: what it is, in a sentence.
      paper: authors, year, theorem.
      assumption: what it rests on besides independent examples, or ''.
      check: quantity that tests the assumption, or ''.
      check_about: what that quantity is.
      costs: a `Costs`.
      in_expectation: whether it holds for the mean over training sets, not with a probability.
      network: which network it speaks of.
      two_sided: whether its proof bounds the deviation both ways over all that may be learned
        (`BoundSpec.two_sided`): the failure of uniform convergence reaches it then.
    """

    name: str
    value: str
    error: str
    about: str
    status: str
    empirical: str = ""
    speaks_of: str = "trained"
    paper: str = ""
    assumption: str = ""
    check: str = ""
    check_about: str = ""
    costs: Costs = Costs()
    in_expectation: bool = False
    network: str = ON_S
    two_sided: bool = False

    def __post_init__(self):
        if self.status not in statuses():
            raise ValueError(f"status={self.status!r}; one of {', '.join(statuses())}")
        if self.speaks_of not in spec.SPEAKS_OF:
            raise ValueError(f"speaks_of={self.speaks_of!r}; one of {spec.SPEAKS_OF}")


class Tool(abc.ABC):
    """One way to speak of the error without uniform convergence.

    Class attributes:
      name: of the flag --tool.
      about: what it looks at, in a sentence or two.
      paper: authors, year.
      Settings: a dataclass of its own settings (`lab.settings.setting`): they become flags.
      two_sided: in words, whether it is a two-sided uniform convergence bound in disguise,
        and whether S' touches it.
    """

    name: ClassVar[str]
    about: ClassVar[str]
    paper: ClassVar[str]
    Settings: ClassVar[type] = NoSettings
    two_sided: ClassVar[str]

    def refuses(self, problem: Problem, config: Any) -> str:
        """Why it cannot speak of a problem with these settings, or ''."""
        return ""

    def draws(self, config: Any) -> int:
        """How many disjoint training sets of a cell it looks at (S and the ghost are two).

        Where all tools say 1, m may be all that is stored, and no look has a ghost.
        """
        return 2

    @abc.abstractmethod
    def looks(self, cell: Cell) -> Sequence[Look]:
        """What it needs to see in a cell, the run on S included where it needs it."""

    @abc.abstractmethod
    def quantities(self, cell: Cell, seen: Mapping[str, Seen]) -> Quantities:
        """What it computes of a cell: name -> number; None or NaN where it is not defined.

        Args:
          cell: a `Cell`.
          seen: `Look.name` -> what was seen, of what it asked for.
        """

    @abc.abstractmethod
    def claims(self, problem: Problem, config: Any, size: int) -> Sequence[Claim]:
        """What it claims at m = `size`."""

    def pooled(self, size: int, cells: Sequence[Quantities], config: Any) -> Quantities:
        """Quantities that need all cells of a size at once (means over training sets)."""
        return {}

    def report(
        self,
        cells: Sequence[Cell],
        rows: Sequence[Mapping[str, Any]],
        draw: Drawing,
    ) -> Sequence[Any]:
        """More blocks for its part of the report.

        Args:
          cells: all of them.
          rows: of quantities.csv, its own.
          draw: as of `lab.program.Program.report`.
        """
        return []
