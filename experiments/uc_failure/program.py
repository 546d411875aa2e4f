"""The program: its runs, its tables and what it says of them."""

from __future__ import annotations

from collections.abc import Mapping

from experiments.lab import vary
from experiments.lab.program import InModules
from experiments.problems import Problem
from experiments.uc_failure.settings import Settings


class UcFailure(InModules):
    """Errors on S', on fresh examples and on S, and what they say of eps_unif-alg."""

    name = "uc_failure"
    about = "How vacuous must every two-sided uniform convergence bound be?"
    title = "Where uniform convergence fails: {problem}"
    Settings = Settings
    without = ("label_noise", "draw_rule")
    first = ("problem", "sizes", "seeds", "vary")

    def takes(self, problem: type[Problem]) -> bool:
        """Problems with a map S -> S'."""
        return problem.sprime is not None

    def variants(self, config: Settings) -> Mapping[str, Settings]:
        """What `--vary` spans."""
        return vary.variants(config, without=self.without)


PROGRAM = UcFailure()
