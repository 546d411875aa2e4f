"""The program: its networks, its tables and what it says of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from experiments.evaluate import report, study, tables
from experiments.evaluate.settings import Settings
from experiments.lab.bound_settings import with_bounds
from experiments.lab.figures import Drawing
from experiments.lab.measuring import Arrays
from experiments.lab.program import Program, Results, Rows
from experiments.problems import Problem


class Evaluate(Program):
    """All bounds on networks that are already trained."""

    name = "evaluate"
    about = "All bounds on networks that are already trained: what do they say?"
    title = "Generalization bounds of given networks"
    Settings = Settings
    needs_problem = False
    without = ("label_noise", "draw_rule")
    columns = tables.COLUMNS
    first = ("weights", "data", "problem", "bounds")

    def takes(self, problem: type[Problem]) -> bool:
        """Problems whose training sets are drawn from stored examples."""
        return problem.pool is not None

    def resolved(self, config: Settings) -> Settings:
        """With the names of the bounds that are meant."""
        return with_bounds(config)

    def study(self, config: Settings) -> study.EvaluateStudy:
        """A subject a network; nothing is trained."""
        return study.make(config)

    def tables(
        self, of: study.EvaluateStudy, measured: Sequence[Arrays]
    ) -> dict[str, Rows]:
        """results, layers and bounds."""
        return tables.make(of, measured)

    def summary(
        self, of: study.EvaluateStudy, rows: Mapping[str, Rows]
    ) -> dict[str, Any]:
        """What each bound says of each network."""
        return report.summary(of, rows)

    def overview(self, found: Mapping[str, Any]) -> list[Any]:
        """The certificate that may be quoted, the networks, every bound."""
        return report.overview(found)

    def report(self, results: Results, draw: Drawing) -> list[Any]:
        """The figure, and what is not available."""
        return report.details(results, draw)


PROGRAM = Evaluate()
