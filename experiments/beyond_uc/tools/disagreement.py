"""Disagreement: how often two runs of the algorithm differ, on points without labels."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from experiments.beyond_uc.cell import Cell, Look, Seen, other
from experiments.beyond_uc.tools.tool import (
    ESTIMATE,
    Claim,
    Costs,
    Quantities,
    Tool,
)
from experiments.lab.settings import setting
from experiments.problems import Problem

# Regime -> what two models do not share.
REGIMES = {
    "all_diff": ("data", "init", "order"),
    "diff_data": ("data",),
    "diff_init": ("init",),
    "diff_order": ("order",),
}


@dataclasses.dataclass(frozen=True)
class Settings:
    """Of `disagreement`."""

    models: int = setting(
        5, "disagreement: models of each regime, the one on S among them",
        (lambda v: 2 <= v <= 10**4, "a whole number >= 2, and at most 10000")
    )  # fmt: skip


class Disagreement(Tool):
    """Jiang, Nagarajan, Baek & Kolter 2022."""

    name = "disagreement"
    about = (
        "How often two networks of the same algorithm differ on unlabelled points: their "
        "mean error, if the ensemble of all of them is calibrated."
    )
    paper = "Jiang, Nagarajan, Baek & Kolter 2022"
    Settings = Settings
    two_sided = (
        "No: no bound at all, an identity under calibration. Where it fails it fails in "
        "either direction; S' plays no part."
    )

    def draws(self, config: Any) -> int:
        """Every model of two regimes has its own training set."""
        return max(2, config.models)

    def _models(self, cell: Cell, regime: str) -> list[Look]:
        return [
            Look(other(cell, **dict.fromkeys(REGIMES[regime], number)))
            for number in range(cell.config.models)
        ]

    def looks(self, cell: Cell) -> Sequence[Look]:
        """All models of all regimes."""
        return [look for regime in REGIMES for look in self._models(cell, regime)]

    def quantities(self, cell: Cell, seen: Mapping[str, Seen]) -> Quantities:
        """Disagreement, mean error and calibration of each regime."""
        from bounds.beyond_uc import disagreement  # imports SciPy

        found, labels = {}, np.asarray(cell.test.labels)
        for regime in REGIMES:
            models = [seen[look.name] for look in self._models(cell, regime)]
            predictions = np.array([m["test/prediction"] for m in models], np.int64)
            got = disagreement.calibration(predictions, labels)
            found |= {
                # Models that never differ say nothing: one function, right or wrong.
                f"{regime}_disagreement": float("nan")
                if got.disagreement.is_silent
                else got.disagreement.distinct.value,
                f"{regime}_error": float(np.mean([m.error("test") for m in models])),
                f"{regime}_cace": got.cace,
                f"{regime}_theorem_difference": got.error.value
                - got.disagreement.with_itself,
                f"{regime}_weighted_cace": got.weighted_cace,
                f"{regime}_excess_of_error": got.excess.value,
            }
        return found

    def claims(self, problem: Problem, config: Any, size: int) -> Sequence[Claim]:
        """One a regime."""
        more = config.models - 1
        depends = problem.test_depends_on_size
        points = len(problem.test(size if depends else None).labels)
        return [
            Claim(
                f"disagreement_{regime}", f"{regime}_disagreement", f"{regime}_error",
                f"How often two models differ whose {', '.join(parts)} differ"
                f"{'' if len(parts) > 1 else 's'}; their mean error under calibration.",
                ESTIMATE, speaks_of="algorithm", paper="Jiang et al. 2022, Theorem 4.1",
                assumption="the ensemble is class-aggregated calibrated",
                check=f"{regime}_cace",
                check_about="class-aggregated calibration error, of labelled points; of a few models it is "
                "above 0 even where the assumption holds",
                costs=Costs(
                    trainings=more, labelled=more * size if "data" in parts else 0,
                    unlabelled=points,
                ),
                in_expectation=True,
            )
            for regime, parts in REGIMES.items()
        ]  # fmt: skip
