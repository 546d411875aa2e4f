"""The program: its stages, its tables and what it says of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from experiments.certify.settings import Settings
from experiments.lab.program import InModules, Rows, Study
from experiments.problems import Problem


class Certify(InModules):
    """Networks that are trained so that a certificate says something of them."""

    name = "certify"
    about = "A network whose error on new examples is certified: at most how much?"
    title = "Certificates of trained networks"
    Settings = Settings
    first = ("problem", "route", "size", "seeds")

    def takes(self, problem: type[Problem]) -> bool:
        """Problems that leave it to the program what learns."""
        return problem.model is None and problem.is_trained and not problem.fixed

    def resolved(self, config: Settings) -> Settings:
        """With the names of the bounds that are meant: those of the route if none are given."""
        return self.part("study").resolved(config)

    def summary(self, study: Study, tables: Mapping[str, Rows]) -> dict[str, Any]:
        """The content of summary.json."""
        return self.part("report").summary(study, tables)


PROGRAM = Certify()
