"""The program: its networks, its tables and what it says of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from experiments.evaluate.settings import Settings
from experiments.lab.bound_settings import with_bounds
from experiments.lab.program import InModules, Rows, Study
from experiments.problems import Problem


class Evaluate(InModules):
    """All bounds on networks that are already trained."""

    name = "evaluate"
    about = "All bounds on networks that are already trained: what do they say?"
    title = "Generalization bounds of given networks"
    Settings = Settings
    needs_problem = False
    without = ("label_noise", "draw_rule", "inputs", "first_image")
    first = ("weights", "data", "problem", "bounds")

    def takes(self, problem: type[Problem]) -> bool:
        """Problems whose training sets are drawn from stored examples."""
        return problem.pool is not None

    def check_folder(self, study: Study, out: Path) -> None:
        """Raises a `Refusal` for another order of quoting than the folder's."""
        self.part("report").check_folder(study, out)

    def summary(self, study: Study, tables: Mapping[str, Rows]) -> dict[str, Any]:
        """The content of summary.json."""
        return self.part("report").summary(study, tables)

    resolved = staticmethod(with_bounds)


PROGRAM = Evaluate()
