"""The program: its runs, its tables and what it says of them."""

from __future__ import annotations

import dataclasses
from typing import Any

from experiments.beyond_uc.settings import Settings
from experiments.beyond_uc.tools import TOOLS
from experiments.lab.program import InModules
from experiments.problems import Problem


class BeyondUc(InModules):
    """Tools beyond uniform convergence beside the error and what uniform convergence must say."""

    name = "beyond_uc"
    about = (
        "Which tools follow the error where uniform convergence cannot, at what cost?"
    )
    title = "Beyond uniform convergence: {problem}"
    Settings = Settings
    without = ("label_noise", "draw_rule", "posterior_noise")
    first = ("problem", "tool", "sizes", "seeds")

    def takes(self, problem: type[Problem]) -> bool:
        """Problems learned by SGD."""
        return problem.is_trained

    def resolved(self, config: Any) -> Any:
        """The tools by name; disjoint training sets, or what is said of fresh ones is false."""
        own = {"draw_rule": "disjoint"} if hasattr(config, "draw_rule") else {}
        if config.tool == ("all",):
            own["tool"] = tuple(TOOLS)
        return dataclasses.replace(config, **own)


PROGRAM = BeyondUc()
