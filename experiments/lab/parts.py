"""Measuring a network part by part, each timed, within a budget of seconds.

A part is what one measure makes, by a program of its own. How long it will take is not guessed from
the machine: a pass of each kind over one block is timed after compilation, and `bounds.cost` says
how many of them a part makes.
"""

import dataclasses
import functools
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import jax
import numpy as np

import bounds
from bounds import cost, registry
from bounds.passes import Sizes
from experiments.lab.measure_network import holdout_of
from experiments.lab.progress import clock
from experiments.lab.refusals import say
from experiments.problems import Examples
from nets.sample import BLOCK, Sample

SECONDS = "seconds/"  # part -> what it took, among the arrays
EXAMPLES_OF = (
    "examples_of/"  # group -> how many examples it looked at, where not at all
)
LONG = 60.0  # seconds: what takes longer is said beforehand
# Operations of all passes together below which nothing is planned: seconds on any machine.
LIGHT = 1e12
_TESTS = "held-out margins"


@dataclasses.dataclass(frozen=True)
class Wanted:
    """Groups that share their passes.

    Attributes:
      groups: their names.
      seconds: examples -> what they would take on so many.
      is_reducible: whether they may look at fewer.
    """

    groups: tuple[str, ...]
    seconds: Callable[[int], float]
    is_reducible: bool


@dataclasses.dataclass(frozen=True)
class Planned:
    """What is made of them.

    Attributes:
      wanted: the groups.
      examples: how many they look at; 0 where they are left out.
      seconds: what that takes, about; of what is left out what the least would take.
      whole: what all examples would take.
    """

    wanted: Wanted
    examples: int
    seconds: float
    whole: float


def plan(wanted: Sequence[Wanted], size: int, budget: float) -> list[Planned]:
    """What fits into a budget, the cheapest first.

    Groups that cannot be reduced are taken as long as they fit, and then left out. What is left is
    shared evenly among those that can: who needs less than a share leaves more to the others, who
    look at as many whole blocks of examples as fit, and are left out where not even one does.

    Args:
      wanted: groups.
      size: training examples.
      budget: seconds for all of them.
    """
    ordered = sorted(wanted, key=lambda one: (one.is_reducible, one.seconds(size)))
    found, left = [], budget
    waiting = sum(one.is_reducible for one in wanted)
    for one in ordered:
        whole, examples, share = one.seconds(size), size, left
        if one.is_reducible:
            share = left / waiting
            waiting -= 1
        if whole > share:
            examples = _most(one, size, share) if one.is_reducible else 0
        least = min(BLOCK, size) if one.is_reducible else size
        takes = one.seconds(examples or least)
        left -= takes if examples else 0.0
        found.append(Planned(one, examples, takes, whole))
    return found


def _most(one, size, share):
    """The most examples, in whole blocks, that take at most a share of seconds; 0 if none."""
    blocks = range(1, -(-size // BLOCK))
    fitting = [n * BLOCK for n in blocks if one.seconds(n * BLOCK) <= share]
    return max(fitting, default=0)


def is_large(
    network: bounds.Network, groups: Sequence[str], test: Examples | None
) -> bool:
    """Whether measuring takes so many operations that it is worth planning."""
    of = _sizes(network)._replace(held_out=0 if test is None else len(test.labels))
    every = [cost.counts(one[0], of) for one in sharing(groups)]
    total = sum(count for counts in every for count in counts.values())
    return total * BLOCK * cost.operations(network) > LIGHT


def sharing(groups: Sequence[str]) -> list[tuple[str, ...]]:
    """Groups by the measure that makes them."""
    found: dict[int, list[str]] = {}
    for name in dict.fromkeys(groups):
        found.setdefault(id(registry.MEASURES[name]), []).append(name)
    return [tuple(names) for names in found.values()]


@dataclasses.dataclass(frozen=True)
class MeasureParts:
    """The `measure` of a `Subject` that is no program: it compiles, times and plans its parts.

    Attributes:
      groups: names of groups.
      name: of the network, in what is said.
      kept: groups that are never reduced nor left out: tables are made from them.
      budget: seconds for what may be reduced or left out, or None.
    """

    groups: tuple[str, ...]
    name: str = ""
    kept: tuple[str, ...] = ()
    budget: float | None = None

    def __call__(
        self, tests: Mapping[str, Sample], network: bounds.Network
    ) -> tuple[dict[str, Any], dict[str, str]]:
        """The groups, margins on held-out examples, and what each part took."""
        network = network.replace(holdout=holdout_of(tests))
        found, missing = {}, {}
        if tests:
            network_alone = network.replace(holdout=None)
            self._run(_TESTS, _held_out, (network_alone, dict(tests)), found)
        parts = sharing(self.groups)
        whole = [p for p in parts if not self._is_planned(p, network)]
        for groups in whole:
            self._measure(groups, network, found, missing)
        rest = [p for p in parts if p not in whole]
        for one in self._plans(rest, network) if rest else ():
            if one.examples:
                self._measure(one.wanted.groups, network, found, missing, one.examples)
            else:
                missing |= dict.fromkeys(one.wanted.groups, self._too_long(one))
        return found, missing

    def _is_planned(self, groups, network):
        """Whether a part may be reduced or left out: it takes passes, and can be had."""
        lacks = any(
            getattr(network, field) is None
            for name in groups
            for field in registry.MEASURES[name].required(name)
        )
        if self.budget is None or lacks or set(groups) & set(self.kept):
            return False
        return bool(cost.counts(groups[0], _sizes(network)))

    def _plans(self, parts, network):
        """What is made of the parts, said beforehand where it takes long."""
        of, unit = _sizes(network), {}
        for groups in parts:
            for kind in cost.counts(groups[0], of):
                if kind not in unit:
                    unit[kind] = _timed(functools.partial(cost.one, kind), (network,))

        def wanted(groups):
            def seconds(examples):
                counts = cost.counts(groups[0], of._replace(train=examples))
                return sum(n * unit[kind] for kind, n in counts.items())

            return Wanted(groups, seconds, cost.may_be_of_fewer(groups))

        found = plan([wanted(groups) for groups in parts], of.train, self.budget)
        for one in found:
            self._tell(one, of.train)
        return found

    def _tell(self, one, size):
        what = f"{self.name}: {', '.join(one.wanted.groups)}"
        if not one.examples:
            say(f"{what}: left out: {self._too_long(one)}")
        elif one.examples < size:
            say(
                f"{what}: about {clock(one.seconds)} on the first {one.examples} of {size} examples "
                f"(all: {clock(one.whole)}); --budget={self.budget:g} allows no more"
            )
        elif one.seconds > LONG:
            say(f"{what}: about {clock(one.seconds)} on {size} examples")

    def _too_long(self, one):
        on = f"{BLOCK} examples" if one.wanted.is_reducible else "all examples"
        return (
            f"it would take about {clock(one.seconds)} on {on}, more than is left of "
            f"--budget={self.budget:g} seconds"
        )

    def _measure(self, groups, network, found, missing, examples=None):
        size = int(network.sample.size)
        if examples is not None and examples < size:
            network = network.replace(sample=cost.first(network.sample, examples))
            for group in groups:
                found[f"{EXAMPLES_OF}{group}"] = np.asarray(examples)
        reasons = {}

        def measured(network):
            its, lacking = bounds.measure(network, groups)
            reasons.update(lacking)
            return its

        self._run(", ".join(groups), measured, (network,), found)
        missing |= reasons

    @staticmethod
    def _run(name, function, arguments, found):
        """Adds what a function gives, compiled, and what both took."""
        began = time.perf_counter()
        program = jax.jit(function).lower(*arguments).compile()
        compiled = time.perf_counter()
        its = jax.device_get(program(*arguments))
        ended = time.perf_counter()
        found[f"{SECONDS}{name}/compile"] = np.asarray(compiled - began)
        found[f"{SECONDS}{name}/run"] = np.asarray(ended - compiled)
        found |= its


def _held_out(network, tests):
    return {
        name: bounds.margins_of(network.model, network.params, sample)
        for name, sample in tests.items()
    }


def _sizes(network: bounds.Network) -> Sizes:
    held_out = 0 if network.holdout is None else int(network.holdout.size)
    example = jax.tree.map(lambda leaf: leaf[:1], network.sample.inputs)
    logits = jax.eval_shape(
        lambda x: network.model.apply({"params": network.params}, x), example
    )
    return Sizes(int(network.sample.size), held_out, logits.shape[-1])


def _timed(function, arguments):
    """Seconds of a call, compilation left out."""
    program = jax.jit(function).lower(*arguments).compile()
    began = time.perf_counter()
    jax.block_until_ready(program(*arguments))
    return time.perf_counter() - began


def seconds_of(arrays: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Rows of profile.csv: a part each, the longest first."""
    names = [
        n.removeprefix(SECONDS).removesuffix("/run")
        for n in arrays
        if n.startswith(SECONDS) and n.endswith("/run")
    ]
    rows = []
    for name in names:
        compiled, ran = (
            float(arrays[f"{SECONDS}{name}/{what}"]) for what in ("compile", "run")
        )
        fewer = arrays.get(f"{EXAMPLES_OF}{name.split(', ')[0]}")
        rows.append(
            {
                "groups": name,
                "examples": None if fewer is None else int(fewer),
                "compile_seconds": round(compiled, 3),
                "run_seconds": round(ran, 3),
            }
        )
    return sorted(rows, key=lambda r: -r["compile_seconds"] - r["run_seconds"])


def fewest(arrays: Mapping[str, Any], groups: Collection[str]) -> int | None:
    """The fewest examples that one of some groups looked at, or None: at all there are."""
    some = [int(arrays[n]) for g in groups if (n := f"{EXAMPLES_OF}{g}") in arrays]
    return min(some, default=None)
