"""The program: its runs, its tables and what it says of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from experiments.bounds_vs_samples.settings import Settings
from experiments.lab import vary
from experiments.lab.bound_settings import with_bounds
from experiments.lab.calls import of_problem
from experiments.lab.program import InModules
from experiments.problems import Problem


class BoundsVsSamples(InModules):
    """Networks of every size, seed and draw, trained to one margin, and their bounds."""

    name = "bounds_vs_samples"
    about = "Test error falls with the training set; do the bounds?"
    title = "Test error and generalization bounds against training-set size"
    Settings = Settings
    first = ("problem", "sizes", "seeds", "bounds")

    def takes(self, problem: type[Problem]) -> bool:
        """Problems that leave it to the program what learns."""
        return problem.is_open()

    def study(self, config: Settings) -> Any:
        """Every size, seed and draw of every variant."""
        return self.part("study").make(config, self.variants(config))

    def variants(self, config: Settings) -> Mapping[str, Settings]:
        """What `--vary` spans; problems may be swept."""
        return vary.variants(config, lambda c, problem: of_problem(self, c, problem))

    resolved = staticmethod(with_bounds)


PROGRAM = BoundsVsSamples()
