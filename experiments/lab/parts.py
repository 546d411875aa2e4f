"""Measuring a network part by part, each timed, within a budget of seconds.

A part is what one measure makes, by a program of its own; norms of layers are a part for each set of
matrices (`experiments.lab.norm_parts`), of which the dearest layer tells how long they take. What
others take and what is made of them is planned (`experiments.lab.budgets`).
"""

import dataclasses
import functools
import time
from collections.abc import Callable, Collection, Mapping
from typing import Any

import jax
import numpy as np

import bounds
from bounds import cost
from bounds.measures.examples import Holdout
from bounds.measures.layers import NORMS
from experiments.lab import norm_parts
from experiments.lab.budgets import Passes, Wanted, lacks, plan, sharing, sizes
from experiments.lab.measure_network import holdout_of
from experiments.lab.progress import clock
from experiments.lab.refusals import say
from nets.sample import BLOCK, Sample

SECONDS = "seconds/"  # part -> what it took, among the arrays
EXAMPLES_OF = "examples_of/"  # group -> how many it looked at, where not at all
LONG = 60.0  # seconds: what takes longer is said beforehand
_QUICK = 5.0  # seconds of a pass
_TESTS = "held-out margins"
_TIMING = "a pass of each kind, to be timed"
_TIMES = ("compile", "run")


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
        made = _Made(network.replace(holdout=holdout_of(tests)))
        if tests:
            network_alone = network.replace(holdout=None)
            made.run(_TESTS, _held_out, (network_alone, dict(tests)))
            made.found |= _from_margins(made.found, self.groups)
        left = [g for g in self.groups if g not in made.found]
        parts = _parts(made.network, left)
        whole = [p for p in parts if not self._is_planned(p, made.network)]
        for groups in whole:
            if (seconds := made.seconds(groups)) > LONG:
                say(f"{self._named(groups)}: about {clock(seconds)}")
            made.measure(groups)
        rest = [p for p in parts if p not in whole]
        for one in self._plans(rest, made) if rest else ():
            if one.examples:
                made.measure(one.wanted.groups, one.examples)
            else:
                made.leave_out(one.wanted.groups, self._too_long(one))
        return made.found, made.missing

    def _is_planned(self, groups, network):
        """Whether a part may be reduced or left out: it takes long, and can be had."""
        if self.budget is None or set(groups) & set(self.kept):
            return False
        if lacks(network, groups[0]):
            return False
        return groups[0] in NORMS or bool(cost.counts(groups[0], sizes(network)))

    def _plans(self, parts, made):
        """What is made of the parts in what is left of the budget, said beforehand where it takes long."""
        size, every = int(made.network.sample.size), []
        for groups in parts:
            if groups[0] in NORMS:
                its = made.seconds(groups)
                every.append(Wanted(groups, lambda _, its=its: its, False))
        of_passes = [p for p in parts if p[0] not in NORMS]
        passes = Passes(made, of_passes, self.budget)
        for groups in of_passes:
            seconds = functools.partial(passes.seconds, groups)
            is_reducible = cost.may_be_of_fewer(groups)
            every.append(Wanted(groups, seconds, is_reducible, passes.is_least(groups)))
        found = plan(every, size, max(self.budget - made.run_seconds, 0.0))
        for one in found:
            self._tell(one, size)
        return found

    def _named(self, groups):
        return f"{self.name}: {', '.join(groups)}"

    def _tell(self, one, size):
        what = self._named(one.wanted.groups)
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
        on = f"on {BLOCK} examples" if one.wanted.is_reducible else "on all examples"
        if one.wanted.groups[0] in NORMS:
            on = "for all layers"
        about = "at least" if one.wanted.is_least else "about"
        return (
            f"it would take {about} {clock(one.seconds)} {on}, more than is left of "
            f"--budget={self.budget:g} seconds"
        )


class _Made:
    """What is measured of a network, part by part.

    Args:
      network: a `Network`.
    """

    def __init__(self, network: bounds.Network):
        self.network = network
        self.found: dict[str, Any] = {}
        self.missing: dict[str, str] = {}
        self._ran = 0.0
        self._norms = norm_parts.Norms(network)

    @property
    def run_seconds(self) -> float:
        """What all took so far, compilation aside."""
        return self._ran + self._norms.run_seconds

    def seconds(self, groups: tuple[str, ...]) -> float:
        """About what the norms `groups` will take; 0 for other groups, and those that cannot be had."""
        if groups[0] not in NORMS or lacks(self.network, groups[0]):
            return 0.0
        try:
            return self._norms.seconds(groups[0])
        except bounds.Unavailable:
            return 0.0

    def measure(self, groups: tuple[str, ...], examples: int | None = None) -> None:
        """Groups that are made together, on the first examples or on all."""
        if groups[0] in NORMS and not lacks(self.network, groups[0]):
            self._measure_norms(groups)
            return
        network = self.network
        if examples is not None and examples < int(network.sample.size):
            network = network.replace(sample=cost.first(network.sample, examples))
            for group in groups:
                self.found[f"{EXAMPLES_OF}{group}"] = np.asarray(examples)
        reasons = {}

        def measured(network):
            its, lacking = bounds.measure(network, groups)
            reasons.update(lacking)
            return its

        self.run(", ".join(groups), measured, (network,))
        self.missing |= reasons

    def leave_out(self, groups: tuple[str, ...], reason: str) -> None:
        """Says why groups are not there."""
        self.missing |= dict.fromkeys(groups, reason)

    def run(self, name: str, function: Callable[..., Any], arguments: Any) -> None:
        """Adds what a function gives, compiled, and what both took."""
        began = time.perf_counter()
        program = jax.jit(function).lower(*arguments).compile()
        compiled = time.perf_counter()
        its = jax.device_get(program(*arguments))
        ended = time.perf_counter()
        self._ran += ended - compiled
        self._say_took(name, compiled - began, ended - compiled)
        self.found |= its

    def timed(self, function: Callable[..., Any]) -> float:
        """Seconds of a function of the network, compiled; they count."""
        compiling, times = _timed(function, (self.network,))
        self._ran += sum(times)
        before = [self.found.get(f"{SECONDS}{_TIMING}/{n}", 0.0) for n in _TIMES]
        self._say_took(_TIMING, before[0] + compiling, before[1] + sum(times))
        return times[-1]

    def _measure_norms(self, groups):
        try:
            its = self._norms.measured(groups[0])
        except bounds.Unavailable as reason:
            self.leave_out(groups, str(reason))
            return
        self.found |= dict.fromkeys(groups, its)
        self._say_took(", ".join(groups), *self._norms.took(groups[0]))

    def _say_took(self, name, compiling, running):
        for what, its in zip(_TIMES, (compiling, running), strict=True):
            self.found[f"{SECONDS}{name}/{what}"] = np.asarray(its)


def _parts(network, groups):
    """Groups that are measured together: by one measure, or norms that are one on this network.

    What cannot be had (`ascent_sums` without initial weights) stands alone: nothing is measured for it, and
    `ascent` beside it is planned.
    """
    found = []
    for names in sharing(groups):
        lacking = tuple(g for g in names if lacks(network, g))
        had = tuple(g for g in names if g not in lacking)
        found += [lacking] if lacking else []
        if had and had[0] in NORMS:
            found += norm_parts.coinciding(network, had)
        elif had:
            found.append(had)
    return found


def _held_out(network, tests):
    return {
        name: bounds.margins_of(network.model, network.params, sample)
        for name, sample in tests.items()
    }


def _from_margins(found, groups):
    """The group `holdout`, if it is wanted: no second pass over these examples."""
    if "holdout" not in groups:
        return {}
    its = holdout_of(found)
    below = np.asarray(its.sorted)[: int(its.size)] <= 0
    return {"holdout": Holdout(wrong=np.sum(below), size=its.size)}


def _timed(function, arguments):
    """Seconds of compiling, and of each call: of a quick one there is a second, whose memory is there."""
    began = time.perf_counter()
    program = jax.jit(function).lower(*arguments).compile()
    compiling, times = time.perf_counter() - began, []
    while not times or (len(times) < 2 and times[0] <= _QUICK):
        began = time.perf_counter()
        jax.block_until_ready(program(*arguments))
        times.append(time.perf_counter() - began)
    return compiling, times


def seconds_of(arrays: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Rows of profile.csv: a part each, the longest first."""
    names = [
        n.removeprefix(SECONDS).removesuffix("/run")
        for n in arrays
        if n.startswith(SECONDS) and n.endswith("/run")
    ]
    rows = []
    for name in names:
        compiled, ran = (float(arrays[f"{SECONDS}{name}/{what}"]) for what in _TIMES)
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
