"""The program: its runs, its tables and what it says of them."""

from __future__ import annotations

from experiments.lab.program import Program
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

    study = staticmethod(study.make)
    tables, summary = staticmethod(tables.make), staticmethod(summary.make)
    overview, report = staticmethod(report.overview), staticmethod(report.details)


PROGRAM = UcFailure()
