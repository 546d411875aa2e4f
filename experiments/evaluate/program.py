"""The program: its networks, its tables and what it says of them."""

from __future__ import annotations

from experiments.evaluate import report, study, tables
from experiments.evaluate.settings import Settings
from experiments.lab.bound_settings import with_bounds
from experiments.lab.program import Program
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

    resolved, study = staticmethod(with_bounds), staticmethod(study.make)
    tables, summary = staticmethod(tables.make), staticmethod(report.summary)
    overview, report = staticmethod(report.overview), staticmethod(report.details)


PROGRAM = Evaluate()
