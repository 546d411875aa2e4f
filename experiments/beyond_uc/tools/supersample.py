"""Supersamples: what a network says of which member of each pair it was trained on."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from experiments.beyond_uc.cell import Cell, Look, Seen, masked
from experiments.beyond_uc.tools.tool import (
    ESTIMATE,
    Claim,
    Costs,
    Quantities,
    Tool,
)
from experiments.lab.settings import setting
from experiments.problems import Problem

_KEY = 5


@dataclasses.dataclass(frozen=True)
class Settings:
    """Of `supersample`."""

    masks: int = setting(
        8, "supersample: draws of which member of each pair is trained on",
        (lambda v: 2 <= v <= 10**4, "a whole number >= 2, and at most 10000")
    )  # fmt: skip


class Supersample(Tool):
    """Steinke & Zakynthinou 2020; Harutyunyan et al. 2021; Wang & Mao 2023."""

    name = "supersample"
    about = (
        "Networks are trained on one member, drawn by a fair coin, of each of m pairs. The "
        "information of their predictions, or losses, about the coins limits the expected gap."
    )
    paper = (
        "Steinke & Zakynthinou 2020; Harutyunyan et al. 2021; Hellstrom & Durisi 2022; "
        "Wang & Mao 2023"
    )
    Settings = Settings
    two_sided = (
        "Two-sided in expectation for the one algorithm, not uniformly over what it may "
        "return: S' does not touch it. An interpolating network whose gap is large has as "
        "much information, and the bound says so."
    )

    def _masks(self, cell: Cell) -> np.ndarray:
        """`[K2, m]` coins."""
        return cell.generator(_KEY).integers(2, size=(cell.config.masks, cell.size))

    def looks(self, cell: Cell) -> Sequence[Look]:
        """A run a draw of the coins."""
        return [
            Look(masked(cell, mask, f"masked{number}"))
            for number, mask in enumerate(self._masks(cell))
        ]

    def quantities(self, cell: Cell, seen: Mapping[str, Seen]) -> Quantities:
        """Of one supersample."""
        from bounds.beyond_uc import supersample  # imports SciPy

        masks = self._masks(cell)[None]
        runs = [seen[f"masked{number}"] for number in range(len(masks[0]))]

        def both(what, kind):
            pairs = [
                np.stack([r[f"train/{what}"], r[f"ghost/{what}"]], -1) for r in runs
            ]
            return np.array(pairs, kind)[None]

        losses, predictions = both("wrong", float), both("prediction", np.int64)
        whole = supersample.unconditional(losses, masks)
        of_losses = supersample.ld_cmi(losses, masks)
        of_predictions = supersample.f_cmi(predictions, masks)
        train = whole.training_error.mean
        return {
            "train_error": train,
            "test_error": float(np.mean([r.error("test") for r in runs])),
            "error_on_unseen_members": whole.test_error.mean,
            "gap": whole.gap.mean,
            "information_nats": whole.information,
            "square_root_value": train + whole.square_root,
            "fast_rate_value": supersample.fast_rate(train, whole.information),
            "interpolating_identity_difference": whole.interpolating - whole.gap.mean
            if whole.is_interpolating
            else float("nan"),
            "ld_cmi_value": train + of_losses.square_root.mean,
            "ld_cmi_corrected_value": train + of_losses.square_root_corrected.mean,
            "ld_cmi_of_nothing": of_losses.floor,
            "ld_cmi_p_value": of_losses.p_value,
            "f_cmi_value": train + of_predictions.square_root.mean,
            "f_cmi_corrected_value": train + of_predictions.square_root_corrected.mean,
            "f_cmi_of_nothing": of_predictions.floor,
            "f_cmi_p_value": of_predictions.p_value,
        }

    def claims(self, problem: Problem, config: Any, size: int) -> Sequence[Claim]:
        """Training error plus what the information allows, as estimated."""

        def claim(name, value, about, paper, check="", check_about=""):
            return Claim(
                name, value, "test_error", about, ESTIMATE, "train_error",
                speaks_of="algorithm", paper=paper, check=check, check_about=check_about,
                assumption="the information is what the few draws show",
                costs=Costs(trainings=config.masks, labelled=size), in_expectation=True,
            )  # fmt: skip

        return [
            claim(
                "ld_mi_fast_rate", "fast_rate_value",
                "The largest error that the information of the loss difference, without the "
                "supersample, allows. Of 0-1 losses that information is a function of the gap: "
                "where nothing trained on is wrong this is the error on the unseen members.",
                "Wang & Mao 2023; Hellstrom & Durisi 2022, derived in bounds/beyond_uc",
                "interpolating_identity_difference",
                "I / ln 2 minus the gap: 0 by algebra where nothing trained on is wrong",
            ),
            claim(
                "ld_cmi", "ld_cmi_value",
                "Training error plus the mean of sqrt(2 I) of the loss difference, given the "
                "supersample; the plug-in estimate, biased upwards.",
                "Wang & Mao 2023", "ld_cmi_of_nothing",
                "the same square root where there is nothing to find",
            ),
            claim(
                "f_cmi", "f_cmi_value",
                "The same of the two predictions.",
                "Harutyunyan et al. 2021", "f_cmi_of_nothing",
                "the same square root where there is nothing to find",
            ),
        ]  # fmt: skip
