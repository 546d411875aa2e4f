"""The program: its stages, its tables and what it says of them."""

from __future__ import annotations

from experiments.certify import report, study, tables
from experiments.certify.settings import Settings
from experiments.lab.program import Program
from experiments.problems import Problem


class Certify(Program):
    """Networks that are trained so that a certificate says something of them."""

    name = "certify"
    about = "A network whose error on new examples is certified: at most how much?"
    title = "Certificates of trained networks"
    Settings = Settings
    columns = tables.COLUMNS
    first = ("problem", "route", "size", "seeds")

    def takes(self, problem: type[Problem]) -> bool:
        """Problems that leave it to the program what learns."""
        return problem.model is None and problem.is_trained and not problem.fixed

    resolved, study = staticmethod(study.resolved), staticmethod(study.make)
    tables, summary = staticmethod(tables.make), staticmethod(report.summary)
    overview, report = staticmethod(report.overview), staticmethod(report.details)


PROGRAM = Certify()
