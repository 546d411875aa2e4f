"""The program: its runs, its tables and what it says of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from experiments.bounds_vs_samples import report, study, summary, tables
from experiments.bounds_vs_samples.settings import Settings
from experiments.lab.bound_settings import with_bounds
from experiments.lab.figures import Drawing
from experiments.lab.measuring import Arrays
from experiments.lab.program import Program, Results, Rows, of_problem
from experiments.problems import Problem


class BoundsVsSamples(Program):
    """Networks of every size, seed and draw, trained to one margin, and their bounds."""

    name = "bounds_vs_samples"
    about = "Test error falls with the training set; do the bounds?"
    title = "Test error and generalization bounds against training-set size"
    Settings = Settings
    first = ("problem", "sizes", "seeds", "bounds")
    columns = tables.COLUMNS

    def takes(self, problem: type[Problem]) -> bool:
        """Problems that leave it to the program what learns."""
        return problem.model is None and problem.is_trained and not problem.fixed

    def resolved(self, config: Settings) -> Settings:
        """With the names of the bounds that are meant."""
        return with_bounds(config)

    def study(self, config: Settings) -> study.SizeStudy:
        """Every size, seed and draw of every variant."""
        return study.make(config, lambda c, problem: of_problem(self, c, problem))

    def tables(
        self, of: study.SizeStudy, measured: Sequence[Arrays]
    ) -> dict[str, Rows]:
        """results, epochs, layers and bounds."""
        return tables.make(of, measured)

    def summary(self, of: study.SizeStudy, rows: Mapping[str, Rows]) -> dict[str, Any]:
        """What grows how."""
        return summary.make(of, rows)

    def overview(self, found: Mapping[str, Any]) -> list[Any]:
        """Who falls, who rises."""
        return report.overview(found)

    def report(self, results: Results, draw: Drawing) -> list[Any]:
        """The paper's figures."""
        return report.details(results, draw)


PROGRAM = BoundsVsSamples()
