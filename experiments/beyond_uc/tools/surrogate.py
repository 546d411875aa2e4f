"""A certified surrogate and unlabelled points: a certificate of the trained network itself."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from experiments.beyond_uc.cell import BASE, Cell, Look, Seen, Training, base, taken
from experiments.beyond_uc.tools.tool import Claim, Costs, Quantities, Tool
from experiments.lab.later import later
from experiments.lab.settings import setting
from experiments.problems import Problem

spec = later("bounds.spec")

_KEY = 3
NAME = "on_part_of_S"


@dataclasses.dataclass(frozen=True)
class Settings:
    """Of `surrogate`."""

    certified_share: float = setting(
        0.5, "surrogate: share of S that certifies the surrogate, trained on the rest",
        (lambda v: 0.01 <= v <= 0.99, "a number in [0.01, 0.99]")
    )  # fmt: skip


class Surrogate(Tool):
    """Bazinet, Zantedeschi & Germain 2026, by the triangle inequality."""

    name = "surrogate"
    about = (
        "A second network is trained on a part of S and certified by the rest; unlabelled "
        "points show how often the network on all of S disagrees with it."
    )
    paper = "Bazinet, Zantedeschi & Germain 2026"
    Settings = Settings
    two_sided = (
        "No: no class of functions enters. The surrogate's certificate holds for one "
        "function fixed before its points are seen, and S' does not touch it."
    )

    def refuses(self, problem: Problem, config: Any) -> str:
        """A training set that has no complete batch, or nothing to certify with."""
        m = min(config.sizes)
        own = m - round(config.certified_share * m)
        if own < config.batch_size or own == m:
            return (
                f"--certified_share={config.certified_share}: leaves {own} of m = {m} "
                f"examples to train on, in batches of {config.batch_size}"
            )
        return ""

    def _parts(self, cell: Cell) -> tuple[np.ndarray, np.ndarray]:
        """Places of S that it is trained on, and those that certify it."""
        order = cell.generator(_KEY).permutation(cell.size)
        count = round(cell.config.certified_share * cell.size)
        return np.sort(order[count:]), np.sort(order[:count])

    def looks(self, cell: Cell) -> Sequence[Look]:
        """The run on S and that on a part of it."""

        def examples(c):
            return taken(c.train, self._parts(c)[0])

        own = Training(NAME, examples, len(self._parts(cell)[0]))
        return [Look(base(cell)), Look(own)]

    def quantities(self, cell: Cell, seen: Mapping[str, Seen]) -> Quantities:
        """The certificate, its two parts, and what the same points give with labels."""
        from bounds.beyond_uc import surrogates  # imports SciPy

        h, s, held = seen[BASE], seen[NAME], self._parts(cell)[1]
        split = surrogates.shares(cell.config.delta)
        certificate = surrogates.hold_out(
            int(s["train/wrong"][held].sum()), len(held), split.surrogate
        )
        differ = h["ghost/prediction"] != s["ghost/prediction"]
        # A tie is an error of both and no prediction: count it as a disagreement.
        differ |= h["ghost/wrong"] != s["ghost/wrong"]
        found = surrogates.through_surrogates(
            [certificate], [int(differ.sum())], cell.size, split
        )
        delta, ghost = cell.config.delta, h["ghost/wrong"]
        return {
            "bound": found.value,
            "of_the_surrogate": found.surrogate,
            "disagreement_at_most": found.disagreement,
            "disagreement": float(differ.mean()),
            "test_error": h.error("test"),
            "surrogate_test_error": s.error("test"),
            "with_labels": surrogates.hold_out(int(ghost.sum()), cell.size, delta),
        }

    def claims(self, problem: Problem, config: Any, size: int) -> Sequence[Claim]:
        """The certificate, and its honest baseline."""
        return [
            Claim(
                "surrogate", "bound", "test_error",
                "The surrogate's hold-out certificate plus the upper limit on how often the "
                "network on S disagrees with it.",
                spec.CERTIFIED, paper="Bazinet et al. 2026; triangle inequality",
                check="disagreement", check_about="share of unlabelled points they differ on",
                costs=Costs(trainings=1, unlabelled=size),
            ),
            Claim(
                "holdout", "with_labels", "test_error",
                "The baseline: the same points with their labels, as a hold-out set.",
                spec.CERTIFIED, paper="Clopper & Pearson 1934", costs=Costs(labelled=size),
            ),
        ]  # fmt: skip
