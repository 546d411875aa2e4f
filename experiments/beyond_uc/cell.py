"""One training set and what is drawn beside it: what coupled runs are made of.

Runs are coupled where they share what they do not differ in: a training set but for one
example, the initial weights, the order of the examples. A `Training` says what a run has for
itself; two of one name in a cell are one run, whichever tools ask for it.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from experiments.lab.later import later
from experiments.lab.seeding import Purpose, host_generator, key_for
from experiments.problems import Examples, Problem

jax, training = later("jax"), later("nets.training")

BASE = "base"  # the name of the run on S itself


def taken(examples: Examples, index: np.ndarray) -> Examples:
    """The examples at some places."""
    index = np.asarray(index, np.int32)
    inputs, labels = jax.tree.map(
        lambda a: a[index], (examples.inputs, examples.labels)
    )
    record = dict(examples.record)
    record["places"] = record["places"][index] if "places" in record else index
    return Examples(inputs, labels, record)


def joined(first: Examples, second: Examples) -> Examples:
    """One set after another."""
    return _of_both(first, second, lambda a, b: np.concatenate([a, b]))


def chosen(mask: np.ndarray, first: Examples, second: Examples) -> Examples:
    """Example by example the one of `second` where `mask`, else that of `first`."""
    mask = np.asarray(mask, bool)

    def pick(a, b):
        return np.where(mask.reshape(-1, *[1] * (a.ndim - 1)), b, a)

    return _of_both(first, second, pick, mask=mask)


def _of_both(first, second, combine, **record):
    """Two sets made one, with the records of both."""
    inputs, labels = jax.tree.map(
        combine, (first.inputs, first.labels), (second.inputs, second.labels)
    )
    for name, one in (("first", first), ("second", second)):
        record |= {f"{name}/{key}": value for key, value in one.record.items()}
    return Examples(inputs, labels, record)


def relabelled(examples: Examples, labels: np.ndarray) -> Examples:
    """The same inputs with other labels."""
    return dataclasses.replace(examples, labels=np.asarray(labels, np.int32))


@dataclasses.dataclass(frozen=True)
class Cell:
    """A training set S of m examples, and independent ones of the same distribution.

    Attributes:
      problem: whose.
      config: the settings of the call.
      plan: how the algorithm trains.
      size: m.
      seed: cells of two seeds are independent.
    """

    problem: Problem
    config: Any
    plan: training.Plan
    size: int
    seed: int

    @property
    def name(self) -> str:
        """Of its files."""
        return f"m{self.size}_seed{self.seed}"

    def draw(self, number: int) -> Examples:
        """Training set number `number` of m examples; 0 is S, all are disjoint."""
        return _draw(self.problem, self.seed, self.size, number)

    @property
    def train(self) -> Examples:
        """S."""
        return self.draw(0)

    @property
    def ghost(self) -> Examples:
        """As many fresh examples: they replace those of S, or stay unseen."""
        return self.draw(1)

    @property
    def test(self) -> Examples:
        """Fresh examples that are never trained on."""
        depends = self.problem.test_depends_on_size
        return self.problem.test(self.size if depends else None)

    @property
    def sprime(self) -> Examples | None:
        """S' of S, where the problem has it."""
        return self._sprime_of(self.train)

    @property
    def turned(self) -> Examples | None:
        """S' of the test points, where the problem has it: errors as on these, if S' is as S."""
        return self._sprime_of(self.test)

    def _sprime_of(self, examples):
        if self.problem.sprime is None:
            return None
        return Examples(*self.problem.sprime(examples.inputs, examples.labels))

    def points(self, name: str) -> Examples:
        """A set of points by its name: train, ghost, test, sprime or turned."""
        return getattr(self, name)

    def generator(self, *numbers: int) -> np.random.Generator:
        """For what a tool draws; numbers of two tools must differ in the first."""
        return host_generator(
            key_for(self.config.seed, Purpose.COUPLED, self.seed, self.size, *numbers)
        )

    def key(self, *numbers: int) -> jax.Array:
        """As `generator`, a typed key."""
        return key_for(
            self.config.seed, Purpose.COUPLED, self.seed, self.size, *numbers
        )


@functools.lru_cache(maxsize=8)
def _draw(problem, seed, size, number):
    return problem.draw(seed, size, number)


@dataclasses.dataclass(frozen=True)
class Training:
    """One run of a cell; what is not said is as in the run on S.

    Attributes:
      name: of the run; runs of one name are one.
      examples: the cell's -> its training set.
      count: examples of its training set.
      init: which initial weights.
      order: which order of the examples.
      plan: how it is trained, where that is not the cell's way.
      watched: sets whose error is recorded at the end of every epoch, by name.
    """

    name: str
    examples: Callable[[Cell], Examples]
    count: int
    init: int = 0
    order: int = 0
    plan: training.Plan | None = None
    watched: Callable[[Cell], Mapping[str, Examples]] | None = None


def base(cell: Cell) -> Training:
    """The run on S."""
    return Training(BASE, lambda c: c.train, cell.size)


def replaced(cell: Cell, place: int) -> Training:
    """S with its example at `place` replaced by the fresh one of the same place."""

    def examples(c):
        return chosen(np.arange(c.size) == place, c.train, c.ghost)

    return Training(f"replaced{place}", examples, cell.size)


def without(cell: Cell, place: int) -> Training:
    """S without its example at `place`."""

    def examples(c):
        return taken(c.train, np.delete(np.arange(c.size), place))

    return Training(f"without{place}", examples, cell.size - 1)


def other(cell: Cell, data: int = 0, init: int = 0, order: int = 0) -> Training:
    """The same algorithm on another training set, from other weights, in another order."""
    if not (data or init or order):
        return base(cell)
    name = f"data{data}_init{init}_order{order}"
    return Training(name, lambda c: c.draw(data), cell.size, init, order)


def masked(cell: Cell, mask: np.ndarray, name: str) -> Training:
    """Of each pair (example of S, fresh one) the second where `mask`."""
    return Training(name, lambda c: chosen(mask, c.train, c.ghost), cell.size)


@dataclasses.dataclass(frozen=True)
class Look:
    """What is looked at: a run's network on some sets of points.

    Attributes:
      training: the run.
      noise: its weights are looked at with Gaussian noise added, of this standard deviation
        in units of the root mean square of each array; 0: as they are.
      draw: which draw of the noise.
      sets: names of `Cell.points`.
    """

    training: Training
    noise: float = 0.0
    draw: int = 0
    sets: tuple[str, ...] = ("train", "ghost", "test")

    @property
    def name(self) -> str:
        """Of its file, and in what a tool is given."""
        noise = f"_noise{self.noise:g}_draw{self.draw}" if self.noise else ""
        sets = "" if "train" in self.sets else f"_on_{self.sets[0]}"
        return f"{self.training.name}{noise}{sets}"


class Seen:
    """What was seen of one look.

    Args:
      arrays: `<set>/prediction` `[N]`, `<set>/wrong` `[N]`, and but for the test set
        `<set>/margin`, `<set>/loss` `[N]`; `outcome`, `epochs`, `checks` of the training;
        `distance`: l2, of its weights from those of the run on S.
    """

    def __init__(self, arrays: Mapping[str, np.ndarray]):
        self.arrays = arrays

    def __getitem__(self, name: str) -> np.ndarray:
        return self.arrays[name]

    def error(self, name: str, index: Any = slice(None)) -> float:
        """The error on a set, or on some of its points; what has no margin is wrong."""
        return float(np.mean(self.arrays[f"{name}/wrong"][index]))

    @property
    def diverged(self) -> bool:
        """Whether the training loss became infinite, or no number."""
        return int(self.arrays["outcome"]) == training.Outcome.DIVERGED
