"""Privacy: an algorithm whose stability is certified by its noise."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from experiments.beyond_uc import curves
from experiments.beyond_uc.cell import Cell, Look, Seen, Training
from experiments.beyond_uc.tools.tool import Claim, Costs, Quantities, Tool
from experiments.lab.figures import Canvas, Drawing
from experiments.lab.later import later
from experiments.lab.settings import (
    BOUNDS,
    TRAINING,
    are_told_apart,
    at_least_1,
    fraction,
    positive,
    setting,
)
from experiments.problems import Problem

spec, private = later("bounds.spec"), later("nets.private")


@dataclasses.dataclass(frozen=True)
class Settings:
    """Of `privacy`."""

    mu: tuple[float, ...] = setting(
        (0.3, 0.1, 1.0, 2.0), "privacy: mu of mu-GDP for replacing one example; each a training; "
        "the first that says something stands for the tool in the first figure",
        (lambda v: v and all(1e-3 <= x <= 100 for x in v) and are_told_apart(v),
         "numbers in [1e-3, 100], each once")
    )  # fmt: skip
    private_epochs: int = setting(
        50, "privacy: epochs, a step of all examples each", at_least_1, group=TRAINING
    )
    private_learning_rate: float = setting(
        1.0, "privacy: of clipped noisy SGD with momentum .9; times mu where mu < 1, so that "
        "no more noise reaches the weights", positive, group=TRAINING
    )  # fmt: skip
    clip: float = setting(
        1.0, "privacy: norm that each example's gradient is clipped to", positive,
        group=TRAINING
    )  # fmt: skip
    expected_error: float = setting(
        0.2, "privacy: training error guessed beforehand, for which the limit of one run is made",
        fraction, group=BOUNDS
    )  # fmt: skip


class Privacy(Tool):
    """Clipped noisy gradient descent, mu-GDP (Dong, Roth & Su 2019)."""

    name = "privacy"
    about = (
        "Gradients are clipped and noised, so that no example can change the law of the "
        "network by more than mu: the one stability that is known and not estimated. It "
        "speaks of that algorithm, not of the network on S."
    )
    paper = "Dong, Roth & Su 2019; Abadi et al. 2016"
    Settings = Settings
    two_sided = (
        "One-sided, and a statement about the law of the algorithm, for one example at a "
        "time. S' differs from S in every example: m steps of mu each, and no bound follows."
    )

    def _training(self, cell: Cell, mu: float) -> Training:
        from bounds.beyond_uc import privacy  # imports SciPy

        config = cell.config
        plan = private.plan(
            cell.plan.model, cell.plan.loss,
            config.private_learning_rate * min(1.0, mu), cell.size,
            config.private_epochs, privacy.noise_for(config.private_epochs, mu),
            config.clip, momentum=0.9,
        )  # fmt: skip
        return Training(f"private{mu:g}", lambda c: c.train, cell.size, plan=plan)

    def draws(self, config: Any) -> int:
        """S alone: no fresh example is put into it."""
        return 1

    def looks(self, cell: Cell) -> Sequence[Look]:
        """A run for every mu."""
        sets = ("train", "test")
        return [Look(self._training(cell, mu), sets=sets) for mu in cell.config.mu]

    def quantities(self, cell: Cell, seen: Mapping[str, Seen]) -> Quantities:
        """Errors of the private networks, and what one run by itself supports."""
        from bounds.beyond_uc import privacy, private_run  # import SciPy

        found, m, delta = {}, cell.size, cell.config.delta
        for mu in cell.config.mu:
            form = private_run.form_for(m, mu, delta, cell.config.expected_error)
            run = seen[f"private{mu:g}"]
            train = run.error("train")
            found |= {
                f"mu{mu:g}_train_error": train,
                f"mu{mu:g}_test_error": run.error("test"),
                f"mu{mu:g}_of_this_run": privacy.in_expectation(train, mu),
                f"mu{mu:g}_one_run": private_run.limit(train, m, mu, delta, form),
            }
        return found

    def pooled(self, size: int, cells: Sequence[Quantities], config: Any) -> Quantities:
        """The bound, at the mean training error and at its upper limit."""
        from bounds.beyond_uc import privacy  # imports SciPy

        found = {}
        for mu in config.mu:
            errors = [cell[f"mu{mu:g}_train_error"] for cell in cells]
            limit = privacy.with_confidence(errors, mu, config.delta)
            removing = _by_removal(mu, size)
            found |= {
                f"mu{mu:g}_at_the_mean": privacy.in_expectation(np.mean(errors), mu),
                f"mu{mu:g}_price": privacy.in_expectation(np.mean(errors), mu)
                - float(np.mean(errors)),
                f"mu{mu:g}_by_removal": privacy.in_expectation(
                    np.mean(errors), removing
                ),
                f"mu{mu:g}_with_confidence": limit,
                f"mu{mu:g}_standard_error": float(
                    np.std(errors, ddof=1) / np.sqrt(len(errors))
                )
                if len(errors) > 1
                else float("nan"),
            }
        return found

    def claims(self, problem: Problem, config: Any, size: int) -> Sequence[Claim]:
        """Four a mu."""
        stored = problem.pool is not None
        at_most = problem.largest_size(2)
        overlap = (
            ", whose training sets have most examples in common: their spread is that of noise "
            "and initial weights"
            if at_most is not None and size > at_most
            else ""
        )
        found = []
        for mu in config.mu:
            shared = {
                "error": f"mu{mu:g}_test_error", "empirical": f"mu{mu:g}_train_error",
                "costs": Costs(trainings=1), "network": "private",
            }  # fmt: skip
            in_the_mean = shared | {
                "speaks_of": "algorithm", "paper": self.paper, "in_expectation": True,
            }  # fmt: skip
            found += [
                Claim(
                    f"privacy_mu{mu:g}", f"mu{mu:g}_at_the_mean", status=spec.UNDER_ASSUMPTION,
                    about="Phi(Phi^-1(E R_S) + mu) at the mean training error of the runs.",
                    assumption="the expected training error is the mean over these runs"
                    + overlap,
                    check=f"mu{mu:g}_standard_error",
                    check_about="standard error of that mean", **in_the_mean,
                ),
                Claim(
                    f"privacy_mu{mu:g}_certified", f"mu{mu:g}_with_confidence",
                    status=spec.UNDER_ASSUMPTION if stored else spec.CERTIFIED,
                    about="The same at an upper limit of the expected training error, by "
                    "Hoeffding over the runs: it takes many.",
                    assumption="the expected training error is that given the stored examples, "
                    "which all training sets are drawn from" if stored else "", **in_the_mean,
                ),
                Claim(
                    f"privacy_mu{mu:g}_one_run", f"mu{mu:g}_one_run", status=spec.CERTIFIED,
                    about="The error of one private network as it is: about Phi(Phi^-1(delta R_S) "
                    "+ mu) / delta, all constants paid. Its form was made for the training error "
                    f"{config.expected_error:g}, a guess.",
                    paper="after Jung et al. 2020; proved in bounds/beyond_uc/private_run.py",
                    **shared,
                ),
                Claim(
                    f"privacy_mu{mu:g}_removal", f"mu{mu:g}_by_removal",
                    status=spec.UNDER_ASSUMPTION,
                    about="The same as the first for leaving an example out, which moves the law "
                    "by half of mu: of the algorithm that leaves one of its m places empty, and held "
                    "against the error of the run on all of them, the nearest that is trained.",
                    assumption="the expected training error is the mean over these runs"
                    + overlap,
                    check=f"mu{mu:g}_standard_error",
                    check_about="standard error of that mean",
                    **in_the_mean | {"network": "private, one example less"},
                ),
            ]  # fmt: skip
        return found

    def report(
        self,
        cells: Sequence[Cell],
        rows: Sequence[Mapping[str, Any]],
        draw: Drawing,
    ) -> Sequence[Any]:
        """The trade-off over mu."""
        mus = cells[0].config.mu
        if len(mus) < 2:
            return []
        caption = (
            "The trade-off over mu: less noise (to the right) lets the private network fit better, "
            "and privacy then promises less. The bound is the sum of its training error and of the "
            "price of mu, Phi(Phi^-1(R_S) + mu) - R_S. Means over training sets; dotted: vacuous."
        )
        return [draw("privacy", caption, _paint, rows, mus, cells[0].problem.classes)]


def _by_removal(mu: float, size: int) -> float:
    """mu for leaving an example out: its clip, not two of them, and float32's rounding.

    `nets.private.clipped_sum` makes room for the rounding of a replacement, 2 C in all; a sum
    without one example rounds as much and moves by C.
    """
    return mu / 2 * (1 + private.rounding(size))


_CURVES = {  # quantity of a mu -> name of its style, its label
    "test_error": ("test", "test error of the private network"),
    "train_error": ("train", "its training error"),
    "price": ("price", "price of mu"),
    "at_the_mean": ("bound", "bound in expectation: the sum of these two"),
    "one_run": ("one run", "limit of one run, certified"),
}


def _paint(canvas: Canvas, rows, mus, classes):
    names = {mu: f"mu{mu:g}_" for mu in mus}
    curves.paint_along(canvas, rows, _CURVES, names, "mu", classes, log=True)
