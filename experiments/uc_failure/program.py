"""The program: its runs, its tables and what it says of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from experiments.lab.figures import Drawing
from experiments.lab.measuring import Arrays
from experiments.lab.program import Program, Results, Rows
from experiments.problems import Problem
from experiments.uc_failure import report, study, summary, tables
from experiments.uc_failure.settings import Settings


class UcFailure(Program):
    """Errors on S', on fresh examples and on S, and what they say of eps_unif-alg."""

    name = "uc_failure"
    about = "How vacuous must every two-sided uniform convergence bound be?"
    title = "Where uniform convergence fails: {problem}"
    Settings = Settings
    without = ("label_noise", "draw_rule")
    columns = tables.COLUMNS
    first = ("problem", "sizes", "seeds", "vary")

    def takes(self, problem: type[Problem]) -> bool:
        """Problems with a map S -> S'."""
        return problem.sprime is not None

    def study(self, config: Settings) -> study.FailureStudy:
        """Every variant, size and seed."""
        return study.make(config)

    def tables(
        self, of: study.FailureStudy, measured: Sequence[Arrays]
    ) -> dict[str, Rows]:
        """results, epochs, theory, same_distribution, and those of the problem."""
        return tables.make(of, measured)

    def summary(
        self, of: study.FailureStudy, rows: Mapping[str, Rows]
    ) -> dict[str, Any]:
        """What the runs support."""
        return summary.make(of, rows)

    def overview(self, found: Mapping[str, Any]) -> list[Any]:
        """The claim, and its points."""
        return report.overview(found)

    def report(self, results: Results, draw: Drawing) -> list[Any]:
        """Figures, theory, the problem's own sections, the tests of S'."""
        return report.details(results, draw)


PROGRAM = UcFailure()
