"""Stability: what the network on S says once one of its examples is another one."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from experiments.beyond_uc.cell import (
    BASE,
    Cell,
    Look,
    Seen,
    base,
    replaced,
    without,
)
from experiments.beyond_uc.curves import mean
from experiments.beyond_uc.tools.tool import (
    ESTIMATE,
    Claim,
    Costs,
    Quantities,
    Tool,
)
from experiments.lab import report
from experiments.lab.figures import Drawing
from experiments.lab.later import later
from experiments.lab.settings import at_least_1, setting
from experiments.problems import Problem

theorems = later("experiments.beyond_uc.tools.theorems")

_KEY = 1


@dataclasses.dataclass(frozen=True)
class Settings:
    """Of `stability`."""

    replaced: int = setting(
        16, "stability: examples of S replaced, and left out, one at a time", at_least_1
    )


class Stability(Tool):
    """Replace one, and leave one out, for a random choice of places."""

    name = "stability"
    about = (
        "How much the network on S changes once one example is replaced by a fresh one, or "
        "left out. The expected gap IS the expected rise of the loss at the replaced example."
    )
    paper = "Bousquet & Elisseeff 2002; Shalev-Shwartz et al. 2010"
    Settings = Settings
    two_sided = (
        "No: it speaks of the one network that the algorithm returns, at one example at a "
        "time. S' differs from S in every example and does not touch it."
    )

    def refuses(self, problem: Problem, config: Any) -> str:
        """A training set that has no complete batch once an example is left out."""
        m = min(config.sizes)
        if m - 1 < config.batch_size:
            return (
                f"--sizes={m}: m - 1 = {m - 1} examples, once one is left out, fill no batch "
                f"of {config.batch_size}"
            )
        return ""

    def _places(self, cell: Cell) -> np.ndarray:
        count = min(cell.config.replaced, cell.size)
        return np.sort(cell.generator(_KEY).permutation(cell.size)[:count])

    def looks(self, cell: Cell) -> Sequence[Look]:
        """S, S with each place replaced, S without it."""
        runs = [base(cell)]
        for place in self._places(cell):
            runs += [replaced(cell, int(place)), without(cell, int(place))]
        return [Look(run) for run in runs]

    def quantities(self, cell: Cell, seen: Mapping[str, Seen]) -> Quantities:
        """Means of one S over the places, in 0-1 loss where no other is named."""
        from bounds.beyond_uc import stability, stability_bounds  # import SciPy

        places, before = self._places(cell), seen[BASE]
        after = [seen[f"replaced{place}"] for place in places]
        left_out = [seen[f"without{place}"] for place in places]
        # No ghost that was put into one of the sets is fresh for all of them.
        fresh = np.delete(np.arange(cell.size), places)

        def own(what, runs):
            pairs = zip(runs, places, strict=True)
            return np.array([r[f"train/{what}"][i] for r, i in pairs], float)

        def on_fresh(what, runs):
            return np.array([r[f"ghost/{what}"][fresh] for r in runs], float)

        def run_of(what):
            points = (
                before[f"train/{what}"][places].astype(float),
                own(what, after),
            )
            if not len(fresh):
                return stability.of_one_run(*points)
            return stability.of_one_run(
                *points,
                before[f"ghost/{what}"][fresh].astype(float),
                on_fresh(what, after),
            )

        zero_one, loss = run_of("wrong"), run_of("loss")
        train, test = before.error("train"), before.error("test")
        removed = own("wrong", left_out)
        left_out_error = float(np.mean([r.error("test") for r in left_out]))
        found = {
            "train_error": train,
            "test_error": test,
            "gap": test - train,
            "replace_one": train + zero_one.on_average,
            "leave_one_out": float(removed.mean()),
            "left_out_test_error": left_out_error,
            "left_out_excess": left_out_error - test,
            "on_average_stability": zero_one.on_average,
            "identity_difference": zero_one.own_after - zero_one.own_before - (test - train),
            "pointwise_hypothesis_stability": zero_one.pointwise,
            "hypothesis_stability": zero_one.hypothesis,
            "error_stability": zero_one.error,
            "error_stability_of_no_change": zero_one.error_noise,
            "uniform_stability_at_least": zero_one.uniform_at_least,
            "loss_change_at_the_example": loss.on_average,
            "loss_change_on_fresh_points": loss.hypothesis,
            "loss_change_at_least": loss.uniform_at_least,
            "loss_change_at_the_example_q99": loss.own_quantiles[-1],
            "loss_change_on_fresh_points_q99": loss.fresh_quantiles[-1],
            "weight_change": float(np.mean([r["distance"] for r in after])),
        }  # fmt: skip
        if len(fresh):
            predictions = [r["ghost/prediction"][fresh] for r in after]
            margins = stability.changes(
                before["ghost/margin"][fresh], on_fresh("margin", after)
            )
            found |= {
                "flips_on_fresh_points": stability.flip_rate(
                    before["ghost/prediction"][fresh], np.array(predictions)
                ),
                "margin_change_on_fresh_points": margins.mean_absolute,
            }
        before_ramp = theorems.ramp(before["train/margin"], cell.config.margin)
        own_ramp = theorems.ramp(own("margin", after), cell.config.margin)
        ramps = [np.abs(before_ramp[places] - own_ramp)]
        if len(fresh):
            moved = [theorems.ramp(v, cell.config.margin) for v in (
                before["ghost/margin"][fresh], on_fresh("margin", after)
            )]  # fmt: skip
            ramps.append(np.abs(moved[1] - moved[0]))
        found |= {
            "ramp_train_loss": float(before_ramp.mean()),
            "ramp_change_at_least": float(max(r.max() for r in ramps)),
        }
        if not theorems.why_not_hardt_recht_singer(cell.plan):
            found |= {
                "hardt_recht_singer": stability_bounds.sgd_convex(
                    theorems.longest_input(cell), theorems.rates(cell.plan, cell.size),
                    cell.size,
                ),
                "training_loss_gap": float(
                    before["ghost/loss"].mean() - before["train/loss"].mean()
                ),
            }  # fmt: skip
        return found

    def pooled(self, size: int, cells: Sequence[Quantities], config: Any) -> Quantities:
        """What theorems say at the mean pointwise change, an expectation, and at the largest that was seen."""
        from bounds.beyond_uc import stability_bounds  # imports SciPy

        def mean_of(quantity):
            values = [cell[quantity] for cell in cells]
            return None if None in values else float(np.mean(values))

        b, train_error = map(mean_of, ("pointwise_hypothesis_stability", "train_error"))
        found = {"pointwise_form": None}
        if None not in (b, train_error):
            # Concave in b: the mean of the forms of single training sets would be too small.
            found["pointwise_form"] = stability_bounds.pointwise_bound(
                train_error, b, size, config.delta
            )
        if size < 2 or any(cell["ramp_change_at_least"] is None for cell in cells):
            return found
        least = max(cell["ramp_change_at_least"] for cell in cells)
        train = float(np.mean([cell["ramp_train_loss"] for cell in cells]))
        gap = stability_bounds.feldman_vondrak_order(least, size, config.delta)
        return found | {
            "bousquet_elisseeff_at_least": stability_bounds.uniform_bound(
                train, least, size, config.delta
            ),
            "feldman_vondrak_order_at_least": train + gap,
        }

    def report(
        self,
        cells: Sequence[Cell],
        rows: Sequence[Mapping[str, Any]],
        draw: Drawing,
    ) -> Sequence[Any]:
        """The theorems that ask for a stability that is proved."""
        sizes = sorted({row["m"] for row in rows})

        def said(quantity, prefix=""):
            values = [mean(rows, quantity, m) for m in sizes]
            return ["" if v is None else prefix + report.number(v) for v in values]

        found = mean(rows, "training_loss_gap", sizes[-1])
        why = theorems.why_not_hardt_recht_singer(cells[-1].plan)
        holds = (
            f"no: {why}"
            if why
            else "if no input is longer than the longest of S and its ghosts: Gaussian noise has "
            "no longest. It is about the loss trained on, in the mean; the gap found is "
            f"{report.number(found)} at m = {sizes[-1]}"
        )
        body = [
            ["Bousquet & Elisseeff 2002, Theorem 12: the error", theorems.NOT_PROVED,
             *said("bousquet_elisseeff_at_least", ">= ")],
            ["Feldman & Vondrak 2019: the error, up to constants",
             "not proved: the same",
             *said("feldman_vondrak_order_at_least", ">= ")],
            ["Hardt, Recht & Singer 2016, Theorems 3.8 and 3.12: the expected gap of the loss "
             "trained on", holds, *said("hardt_recht_singer")],
        ]  # fmt: skip
        columns = (
            "theorem: what it limits",
            "does it hold?",
            *(f"m = {m}" for m in sizes),
        )
        return [
            report.Text(
                "What would follow from a stability that is proved? '>=': a theorem's value at the "
                "largest change that was seen, of the ramp loss (1 at margin 0, 0 at gamma*). It "
                "grows with the stability, so that whoever proves one of these networks, their "
                "initial weights and the order of their examples held fixed, gets no less. (A "
                "stability in the mean over these may be smaller.)"
            ),
            report.Table(
                columns, body,
                "Theorems that ask for a stability that is proved",
                words=("theorem: what it limits", "does it hold?"), on_terminal=False,
            ),
        ]  # fmt: skip

    def claims(self, problem: Problem, config: Any, size: int) -> Sequence[Claim]:
        """Estimates: what is certified asks for a stability that is proved."""
        count = min(config.replaced, size)
        return [
            Claim(
                "replace_one", "replace_one", "test_error",
                "Training error plus the mean rise of the 0-1 loss at a replaced example: "
                "equal to the test error in expectation, exactly.",
                ESTIMATE, "train_error", speaks_of="algorithm",
                paper="Bousquet & Elisseeff 2002, Lemma 7",
                check="identity_difference",
                check_about="the rise minus the gap on fresh points; 0 in the mean",
                costs=Costs(trainings=count, labelled=count), in_expectation=True,
            ),
            Claim(
                "leave_one_out", "leave_one_out", "left_out_test_error",
                "The error at an example that was left out: that of the networks on m - 1 "
                "examples in expectation, exactly. They do without an incomplete last batch.",
                ESTIMATE, speaks_of="algorithm", paper="Luntz & Brailovsky 1969",
                check="left_out_excess",
                check_about="their test error minus that of the network on all of S",
                costs=Costs(trainings=count), in_expectation=True,
            ),
            Claim(
                "pointwise_hypothesis_stability", "pointwise_form", "test_error",
                "Training error plus sqrt((1 + 12 m b) / (2 m delta)), b the pointwise "
                "hypothesis stability as it was ESTIMATED over all training sets: no certificate, which would need b "
                "for the distribution, and uniform stability cannot be certified from samples.",
                ESTIMATE, "train_error", paper="Bousquet & Elisseeff 2002, Theorem 11",
                assumption="b is what was seen, and the order of S does not matter, as to SGD it does", check="pointwise_hypothesis_stability",
                check_about="b, of replacing one example",
                costs=Costs(trainings=count, labelled=count),
            ),
        ]  # fmt: skip
