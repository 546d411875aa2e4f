"""The program: its runs, its tables and what it says of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from experiments.beyond_uc import report, study, summary, tables
from experiments.beyond_uc.settings import Settings
from experiments.lab.figures import Drawing
from experiments.lab.measuring import Arrays
from experiments.lab.program import Program, Results, Rows
from experiments.problems import Problem


class BeyondUc(Program):
    """Tools beyond uniform convergence beside the error and what uniform convergence must say."""

    name = "beyond_uc"
    about = (
        "Which tools follow the error where uniform convergence cannot, at what cost?"
    )
    title = "Beyond uniform convergence: {problem}"
    Settings = Settings
    without = ("label_noise", "draw_rule", "posterior_noise")
    columns = tables.COLUMNS
    first = ("problem", "tool", "sizes", "seeds")

    def takes(self, problem: type[Problem]) -> bool:
        """Problems learned by SGD."""
        return problem.is_trained

    def resolved(self, config: Any) -> Any:
        """Training sets of a cell are disjoint, or what is said of fresh examples is false."""
        if not hasattr(config, "draw_rule"):
            return config
        return dataclasses.replace(config, draw_rule="disjoint")

    def study(self, config: Any) -> study.BeyondStudy:
        """The coupled runs that the tools ask for."""
        return study.make(config)

    def tables(
        self, of: study.BeyondStudy, measured: Sequence[Arrays]
    ) -> dict[str, Rows]:
        """claims, per_seed, quantities, errors, runs."""
        return tables.make(of, measured)

    def summary(
        self, of: study.BeyondStudy, rows: Mapping[str, Rows]
    ) -> dict[str, Any]:
        """What the runs support."""
        return summary.make(of, rows)

    def overview(self, found: Mapping[str, Any]) -> list[Any]:
        """The answer, and the claims."""
        return report.overview(found)

    def report(self, results: Results, draw: Drawing) -> list[Any]:
        """The figure, each tool, what was found of its assumption."""
        return report.details(results, draw)


PROGRAM = BeyondUc()
