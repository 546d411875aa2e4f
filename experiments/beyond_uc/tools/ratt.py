"""RATT: training on randomly labelled points beside the clean ones."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from experiments.beyond_uc import curves
from experiments.beyond_uc.cell import (
    Cell,
    Look,
    Seen,
    Training,
    joined,
    relabelled,
    taken,
)
from experiments.beyond_uc.tools.tool import Claim, Costs, Quantities, Tool
from experiments.lab.figures import Canvas, Drawing
from experiments.lab.later import later
from experiments.lab.settings import setting
from experiments.problems import Problem

spec = later("bounds.spec")

_KEY = 2
WATCHED = 1024  # fresh points, at most, whose error is recorded after every epoch
NAME = "with_random_labels"


@dataclasses.dataclass(frozen=True)
class Settings:
    """Of `ratt`."""

    random_share: float = setting(
        0.25, "ratt: unlabelled points given random labels, as a share of m",
        (lambda v: 0 < v <= 1, "a number in (0, 1]")
    )  # fmt: skip
    ratt_epochs: int = setting(
        4, "ratt: epochs it is trained for, before it has memorised the random labels",
        (lambda v: 1 <= v < 2**31, "a whole number >= 1"),
    )  # fmt: skip


class Ratt(Tool):
    """Garg et al. 2021."""

    name = "ratt"
    about = (
        "Unlabelled points are given random labels and trained on beside S. What of them is "
        "not fitted says how much of S was learned rather than memorised."
    )
    paper = "Garg, Balakrishnan, Kolter & Lipton 2021"
    Settings = Settings
    two_sided = (
        "No: it compares the error on two parts of one training set, after training. S' "
        "does not touch it; its assumption on the algorithm does the work."
    )

    def _count(self, cell: Cell) -> int:
        return max(1, round(cell.config.random_share * cell.size))

    def _labels(self, cell: Cell) -> tuple[np.ndarray, np.ndarray]:
        """Random labels of the first ghosts, and wrong ones of as many test points."""
        generator, classes = cell.generator(_KEY), cell.problem.classes
        random = generator.integers(classes, size=self._count(cell)).astype(np.int32)
        true = cell.test.labels
        away = generator.integers(1, classes, size=len(true))
        return random, ((true + away) % classes).astype(np.int32)

    def _random(self, cell: Cell):
        random = self._labels(cell)[0]
        return relabelled(taken(cell.ghost, np.arange(len(random))), random)

    def _training(self, cell: Cell) -> Training:
        def examples(c):
            both = joined(c.train, self._random(c))
            return taken(both, c.generator(_KEY, 1).permutation(len(both.labels)))

        def watched(c):
            fresh = c.generator(_KEY, 2).permutation(len(c.test.labels))[:WATCHED]
            return {
                "clean": c.train, "random": self._random(c), "test": taken(c.test, fresh),
            }  # fmt: skip

        epochs = cell.config.ratt_epochs
        # It ends after these epochs and not before: whoever looks at the bound to stop must
        # pay for looking.
        plan = dataclasses.replace(cell.plan, max_epochs=epochs, threshold=-1.0)
        count = cell.size + self._count(cell)
        return Training(NAME, examples, count, plan=plan, watched=watched)

    def looks(self, cell: Cell) -> Sequence[Look]:
        """One run on both."""
        return [Look(self._training(cell))]

    def quantities(self, cell: Cell, seen: Mapping[str, Seen]) -> Quantities:
        """The bound, its parts, the test of its assumption, the best epoch in hindsight."""
        from bounds.beyond_uc import ratt  # imports SciPy

        run, (random, wrong) = seen[NAME], self._labels(cell)
        m, count, classes = cell.size, len(random), cell.problem.classes
        predicted = run["ghost/prediction"][:count]
        random_wrong = int(np.sum(predicted != random))
        is_wrong = random != cell.ghost.labels[:count]
        # One classifier for all counts: whoever calls a tie wrong for every label would not
        # see on random labels what it sees on true ones.
        train_wrong = int(np.sum(run["train/prediction"] != cell.train.labels))
        delta = cell.config.delta
        found = ratt.ratt(
            train_wrong,
            m,
            random_wrong,
            count,
            classes=classes,
            delta=delta,
        )
        result = {
            "bound": found.value,
            "main_term": found.main,
            "published_form": found.published,
            "train_error": found.train_error,
            "test_error": float(np.mean(run["test/prediction"] != cell.test.labels)),
            "random_label_error": random_wrong / count,
            "assumption_p_value": None,
            "assumption_excess": None,
        }
        if is_wrong.any():
            test = ratt.check_assumption(
                int(np.sum((predicted != random)[is_wrong])), int(is_wrong.sum()),
                int(np.sum(run["test/prediction"] != wrong)), len(wrong),
                failure=delta / 4,
            )  # fmt: skip
            result |= {
                "assumption_p_value": test.p_value,
                "assumption_excess": test.excess,
            }
            if test.is_refuted:
                result["bound"] = None  # withdrawn
        # Columns: margin error, error, loss, then the watched ones by name.
        clean, noisy, fresh = np.asarray(run["checks"])[:, 3:6].T
        main = clean + (classes - 1) - classes * noisy
        for epoch, errors in enumerate(zip(clean, noisy, strict=True), 1):
            at = f"epoch{epoch}"
            result |= {
                f"{at}_main_term": float(main[epoch - 1]),
                f"{at}_test_error": float(fresh[epoch - 1]),
                f"{at}_bound": ratt.ratt(
                    round(errors[0] * m), m, round(errors[1] * count), count,
                    classes=classes, delta=delta / len(clean),
                ).value,
            }  # fmt: skip
        return result

    def report(
        self,
        cells: Sequence[Cell],
        rows: Sequence[Mapping[str, Any]],
        draw: Drawing,
    ) -> Sequence[Any]:
        """The bound along training."""
        config = cells[0].config
        if config.ratt_epochs < 2:
            return []
        caption = (
            "RATT along training. The bound holds for all epochs at once (each at delta / "
            f"{config.ratt_epochs}), so that whoever stops where it is least has paid; what the "
            "deviations add to its main term is the distance between the two. Test error: on "
            f"{WATCHED} fresh points at most. Means over training sets; dotted: vacuous."
        )
        return [
            draw(
                "ratt",
                caption,
                _paint,
                rows,
                config.ratt_epochs,
                cells[0].problem.classes,
            )
        ]

    def pooled(self, size: int, cells: Sequence[Quantities], config: Any) -> Quantities:
        """Twice the mean p-value is one, whatever the training sets have in common (Rueschendorf 1982)."""
        found = [cell["assumption_p_value"] for cell in cells]
        known = None if None in found else min(1.0, 2 * float(np.mean(found)))
        return {"assumption_p_value_of_all": known}

    def claims(self, problem: Problem, config: Any, size: int) -> Sequence[Claim]:
        """The bound on the network trained on both."""
        kind = "binary" if problem.classes == 2 else "multiclass"
        count = max(1, round(config.random_share * size))
        return [
            Claim(
                f"ratt_{kind}", "bound", "test_error",
                "The error of the network trained on S and the randomly labelled points, "
                "with exact counts and all constants; none where the assumption is refuted.",
                spec.UNDER_ASSUMPTION, "train_error",
                paper="Garg et al. 2021, Theorems 1 and 3; terms derived in bounds/beyond_uc",
                assumption="training fits fresh mislabelled points no better than "
                "mislabelled training points", check="assumption_p_value_of_all",
                check_about="p-value of the assumption on fresh mislabelled points, of all training sets",
                costs=Costs(trainings=1, unlabelled=count), network="on S and random labels",
            )
        ]  # fmt: skip


_CURVES = {  # quantity of an epoch -> name of its style, its label
    "test_error": ("test", "test error of the network on both"),
    "main_term": ("main term", "main term of the bound"),
    "bound": ("bound", "bound, for all epochs at once"),
}


def _paint(canvas: Canvas, rows, epochs, classes):
    names = {n: f"epoch{n}_" for n in range(1, epochs + 1)}
    curves.paint_along(canvas, rows, _CURVES, names, "epochs", classes, log=False)
