"""Derandomisation by surrogates: networks that are drawn as the one on S, given less than S."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from experiments.beyond_uc import curves
from experiments.beyond_uc.cell import (
    BASE,
    Cell,
    Look,
    Seen,
    Training,
    base,
    joined,
    taken,
)
from experiments.beyond_uc.tools.tool import (
    ESTIMATE,
    Claim,
    Costs,
    Quantities,
    Tool,
)
from experiments.lab.figures import Canvas, Drawing
from experiments.lab.settings import are_told_apart, at_least_1, setting
from experiments.problems import Examples, Problem

_KEY = 4
# A draw of m examples may lack some labels of S; as many more draws are looked at.
DRAWS = 2


@dataclasses.dataclass(frozen=True)
class Settings:
    """Of `derandomization`."""

    surrogate_draws: int = setting(
        2, "derandomization: surrogates drawn of a kind", at_least_1
    )
    weight_noise: tuple[float, ...] = setting(
        (0.1, 0.3, 1.0), "derandomization: deviations of noise on the weights, in units of "
        "the root mean square of each array",
        (lambda v: v and all(1e-6 <= x <= 1e6 for x in v) and are_told_apart(v),
         "numbers in [1e-6, 1e6], each once")
    )  # fmt: skip


class Derandomization(Tool):
    """Negrea, Dziugaite & Roy 2020."""

    name = "derandomization"
    about = (
        "Surrogates of the network on S: trained on other inputs with the labels of S, or S's "
        "own network with noisy weights. The gap is that of the surrogates, whose class is "
        "small, plus what the network fits of S beyond them."
    )
    paper = "Negrea, Dziugaite & Roy 2020"
    Settings = Settings
    two_sided = (
        "Uniform convergence over the surrogates alone, where it does not fail: on the "
        "linear example they are one distribution. S' is a draw like any other for them."
    )

    def draws(self, config: Any) -> int:
        """S, the ghost, and what each surrogate is trained on."""
        return 2 + DRAWS * config.surrogate_draws

    def _pools(self, cell: Cell, number: int) -> list[Examples]:
        first = 2 + DRAWS * number
        return [cell.draw(first + k) for k in range(DRAWS)]

    def _places(self, cell: Cell, number: int) -> np.ndarray:
        """For each place of S one of its label in the draws; -1: they have none."""
        labels = np.concatenate([p.labels for p in self._pools(cell, number)])
        places = np.full(cell.size, -1)
        for label in range(cell.problem.classes):
            wanted = np.flatnonzero(cell.train.labels == label)
            there = np.flatnonzero(labels == label)
            if len(there):
                # Of few examples some are used twice.
                places[wanted] = np.resize(there, len(wanted))
        return places

    def _redrawn(self, number: int):
        """cell -> fresh inputs with the labels of S, place by place."""

        def examples(cell: Cell) -> Examples:
            pools = joined(*self._pools(cell, number))
            return taken(pools, self._places(cell, number))

        return examples

    def looks(self, cell: Cell) -> Sequence[Look]:
        """The run on S, surrogates with other inputs, noisy ones."""
        config = cell.config
        found = [Look(base(cell))]
        for number in range(config.surrogate_draws):
            own = Training(f"redrawn{number}", self._redrawn(number), cell.size)
            found.append(Look(own))
        for noise in config.weight_noise:
            found += [
                Look(base(cell), noise, draw) for draw in range(config.surrogate_draws)
            ]
        return found

    def quantities(self, cell: Cell, seen: Mapping[str, Seen]) -> Quantities:
        """The three terms, of each kind of surrogate."""
        from bounds.beyond_uc import surrogates  # imports SciPy

        config, h = cell.config, seen[BASE]
        numbers = range(config.surrogate_draws)
        kinds = {"redrawn": [f"redrawn{n}" for n in numbers]}
        for noise in config.weight_noise:
            kinds[f"noise{noise:g}"] = [
                Look(base(cell), noise, n).name for n in numbers
            ]
        found = {
            "train_error": h.error("train"),
            "test_error": h.error("test"),
            "gap": h.error("test") - h.error("train"),
        }
        for kind, names in kinds.items():
            risks = np.array([[seen[n].error("test") for n in names]])
            on_s = np.array([[seen[n].error("train") for n in names]])
            terms = surrogates.derandomised(
                risks, on_s, [h.error("test")], [h.error("train")]
            )
            found |= {
                f"{kind}_estimation": terms.estimation.mean,
                f"{kind}_fitting": terms.fitting.mean,
                f"{kind}_rest": terms.rest.mean,
                f"{kind}_error_on_S": float(on_s.mean()),
            }
            if kind == "redrawn" and any(
                np.any(self._places(cell, n) < 0) for n in numbers
            ):
                # No surrogates: a label of S is in none of their draws.
                found |= {name: None for name in found if name.startswith(kind)}
                found["redrawn_value"] = None
            elif kind == "redrawn":
                # They have not seen S, given its labels: m independent points.
                deviation = np.sqrt(np.log(1 / config.delta) / (2 * cell.size))
                found["redrawn_value"] = float(on_s.mean() + deviation)
        return found

    def claims(self, problem: Problem, config: Any, size: int) -> Sequence[Claim]:
        """The surrogates' error on S, with Hoeffding's deviation."""
        draws = config.surrogate_draws
        return [
            Claim(
                "redrawn_surrogates", "redrawn_value", "test_error",
                "The error on S of networks trained on fresh inputs with S's labels, plus "
                "sqrt(ln(1/delta) / 2m): given its labels S is a test set for them, and they are "
                "drawn as the network on S is.",
                ESTIMATE, "train_error", speaks_of="algorithm",
                paper="Negrea et al. 2020, Section 4",
                assumption="the network on S is a typical draw of its law given the labels, "
                "and the labels of S are divided as in the distribution",
                check="redrawn_rest",
                check_about="its test error minus the surrogates'; 0 in the mean",
                costs=Costs(trainings=draws, labelled=DRAWS * draws * size),
                in_expectation=True,
            )
        ]  # fmt: skip

    def report(
        self,
        cells: Sequence[Cell],
        rows: Sequence[Mapping[str, Any]],
        draw: Drawing,
    ) -> Sequence[Any]:
        """The three terms, of each kind of surrogate."""
        kinds = {"redrawn": "other inputs, the labels of S"} | {
            f"noise{noise:g}": f"S's network, noise {noise:g}"
            for noise in cells[0].config.weight_noise
        }
        caption = (
            "The gap of the network on S in three terms, a panel a kind of surrogate: the gap of the "
            "surrogates (where uniform convergence has its say), what the network fits of S beyond "
            "them, and its own error beyond theirs, which is 0 in the mean if it is drawn as they "
            "are. Noisy weights are not. Means over training sets."
        )
        return [draw("derandomization", caption, _paint, rows, kinds)]


_TERMS = {  # end of a quantity's name -> name of its style, its label
    "estimation": ("estimation", "gap of the surrogates"),
    "fitting": ("fitting", "fitted of S beyond them"),
    "rest": ("rest", "its test error beyond theirs"),
}


def _paint(canvas: Canvas, rows, kinds):
    sizes = sorted({row["m"] for row in rows})
    with canvas.panels(len(kinds), 3.4, 3.0) as grid:
        for axes, (kind, title) in zip(grid, kinds.items(), strict=True):
            names = {("gap", "gap of the network on S: the sum"): "gap"} | {
                look: f"{kind}_{term}" for term, look in _TERMS.items()
            }
            for (name, label), quantity in names.items():
                found = {m: curves.mean(rows, quantity, m) for m in sizes}
                known = {m: v for m, v in found.items() if v is not None}
                look = canvas.style(name) | {"label": label, "ls": "-"}
                axes.plot(list(known), list(known.values()), **look)
            axes.axhline(0.0, color="#777777", lw=0.8, ls=":")
            canvas.ticks(axes, sizes)
            axes.set(title=title, xlabel="training-set size m")
        grid[0].set_ylabel("difference of errors")
