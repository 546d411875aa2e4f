"""The program: its stages, its tables and what it says of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from experiments.certify import report, study, tables
from experiments.certify.settings import Settings
from experiments.lab.bound_settings import with_bounds
from experiments.lab.figures import Drawing
from experiments.lab.measuring import Arrays
from experiments.lab.program import Program, Results, Rows
from experiments.problems import Problem


class Certify(Program):
    """Networks that are trained so that a certificate says something of them."""

    name = "certify"
    about = "A network whose error on new examples is certified: at most how much?"
    title = "Certificates of trained networks"
    Settings = Settings
    columns = tables.COLUMNS
    first = ("problem", "method", "size", "seeds")

    def takes(self, problem: type[Problem]) -> bool:
        """Problems that leave it to the program what learns."""
        return problem.model is None and problem.is_trained and not problem.fixed

    def resolved(self, config: Settings) -> Settings:
        """With the names of the bounds that are meant."""
        return with_bounds(config)

    def study(self, config: Settings) -> study.CertifyStudy:
        """The prior's runs, and the certified ones."""
        return study.make(config)

    def tables(
        self, of: study.CertifyStudy, measured: Sequence[Arrays]
    ) -> dict[str, Rows]:
        """results, epochs and bounds."""
        return tables.make(of, measured)

    def summary(
        self, of: study.CertifyStudy, rows: Mapping[str, Rows]
    ) -> dict[str, Any]:
        """What is certified."""
        return report.summary(of, rows)

    def overview(self, found: Mapping[str, Any]) -> list[Any]:
        """The certificate that may be quoted, and all others."""
        return report.overview(found)

    def report(self, results: Results, draw: Drawing) -> list[Any]:
        """What a certificate promises, and the figure."""
        return report.details(results, draw)


PROGRAM = Certify()
