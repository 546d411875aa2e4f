"""The program: its runs, its tables and what it says of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from experiments.bounds_vs_samples.settings import Settings
from experiments.lab import vary
from experiments.lab.bound_settings import with_bounds
from experiments.lab.calls import of_problem, presets_of
from experiments.lab.program import InModules
from experiments.lab.settings import shown
from experiments.problems import Problem

# What a preset of another network changes of the way in which it is trained.
_PROTOCOL = ("loss", "batch_size", "margin")


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

    def hints(self, config: Settings) -> list[str]:
        """Where a preset has a protocol of its own for a network, and that of another is used."""
        found = []
        for own in self.variants(config).values():
            for name, values in presets_of(self, own.problem).items():
                differ = [n for n in _PROTOCOL if getattr(own, n) != values.get(n)]
                if values.get("network") == own.network and differ == list(_PROTOCOL):
                    protocol = ", ".join(
                        f"{n.replace('_', ' ')} {shown(getattr(own, n))}"
                        for n in _PROTOCOL
                    )
                    found.append(
                        f"--network={own.network}: few of its networks, if any, reach the margin "
                        f"by this protocol ({protocol}); --preset={name} has one of its own"
                    )
        return list(dict.fromkeys(found))

    resolved = staticmethod(with_bounds)


PROGRAM = BoundsVsSamples()
