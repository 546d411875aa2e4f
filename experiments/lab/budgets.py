"""What measuring a network will take, and what of it fits into a budget of seconds.

It is not guessed from the machine: a pass of each kind over one block is timed after compilation, and
`bounds.cost` says how many of them a part makes.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import jax

import bounds
from bounds import cost, registry
from bounds.passes import FORWARD, GRADIENT, NOISY, PRODUCT, SINGLE, Sizes
from experiments.lab import norm_parts
from experiments.problems import Examples
from nets.sample import BLOCK

# Operations of all passes and norms together below which nothing is planned: seconds on any machine.
LIGHT = 1e12
# Operations of all networks together below which a CPU's program is not optimised: that would take longer than
# it saves (measured: 6 s to compile, of one core, against 0.03 s for each 1e9 operations).
LITTLE = 5e10
# Below which it is optimised less: 3 s less to compile, of 18 (measured), against a tenth more to run.
MODERATE = 5e11
# Forward passes that one of each kind takes at least: back to activations and to weights is one each, and
# a derivative along a vector doubles all three. The cheapest first.
_FORWARDS = {FORWARD: 1, NOISY: 1, GRADIENT: 3, SINGLE: 3, PRODUCT: 6}


@dataclasses.dataclass(frozen=True)
class Wanted:
    """Groups that share their passes.

    Attributes:
      groups: their names.
      seconds: examples -> what they would take on so many.
      is_reducible: whether they may look at fewer.
      is_least: whether `seconds` is the least that it may be, already too much.
    """

    groups: tuple[str, ...]
    seconds: Callable[[int], float]
    is_reducible: bool
    is_least: bool = False


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


def operations(
    network: bounds.Network, groups: Sequence[str], test: Examples | None
) -> float:
    """About how many operations it takes to measure groups, of those that can be had."""
    of = sizes(network)._replace(held_out=0 if test is None else len(test.labels))
    has = network.replace(holdout=test)
    had = [g for g in groups if not lacks(has, g)]
    every = [cost.counts(one[0], of) for one in sharing(had)]
    total = sum(count for counts in every for count in counts.values())
    passes = total * BLOCK * cost.operations(network)
    return passes + norm_parts.operations(network, had)


def optimisation(operations: float) -> int | None:
    """LLVM's level that a CPU's program is compiled at if all networks together take so many operations.

    None: XLA's own. All of a study decide, so that shards and resumed runs use the program of one run.
    """
    if operations <= LITTLE:
        return 0
    return 1 if operations <= MODERATE else None


def sharing(groups: Sequence[str]) -> list[tuple[str, ...]]:
    """Groups by the measure that makes them."""
    found: dict[int, list[str]] = {}
    for name in dict.fromkeys(groups):
        found.setdefault(id(registry.MEASURES[name]), []).append(name)
    return [tuple(names) for names in found.values()]


class Timer(Protocol):
    """Who times passes over the examples of a network, and knows what it has spent."""

    network: bounds.Network

    @property
    def run_seconds(self) -> float:
        """What all took so far, compilation aside."""

    def timed(self, function: Callable[..., Any]) -> float:
        """Seconds of a function of the network, compiled; they count."""


class Passes:
    """What passes over the examples take.

    A pass of each kind is timed, the cheapest first, if a part that makes such passes may fit.

    Args:
      timer: of the network whose examples they are.
      parts: groups that share their passes.
      budget: seconds for all that is measured.
    """

    def __init__(self, timer: Timer, parts: Sequence[tuple[str, ...]], budget: float):
        self._of = sizes(timer.network)
        self._timed: dict[str, float] = {}  # kind -> seconds of one
        for kind in _FORWARDS if parts else ():
            making = [p for p in parts if kind in cost.counts(p[0], self._of)]
            left = budget - timer.run_seconds
            if kind == FORWARD or any(self._fewest(p) <= left for p in making):
                self._timed[kind] = timer.timed(functools.partial(cost.one, kind))

    def seconds(self, groups: tuple[str, ...], examples: int) -> float:
        """Those of a part that looks at so many examples, about, or (`is_least`) at least."""
        counts = cost.counts(groups[0], self._of._replace(train=examples))
        forward = self._timed[FORWARD]
        return sum(
            count * self._timed.get(kind, _FORWARDS[kind] * forward)
            for kind, count in counts.items()
        )

    def is_least(self, groups: tuple[str, ...]) -> bool:
        """Whether not all of its passes were timed: it cannot fit."""
        return not set(cost.counts(groups[0], self._of)) <= set(self._timed)

    def _fewest(self, groups):
        """Seconds of a part on as few examples as it may look at."""
        train = self._of.train
        fewest = min(BLOCK, train) if cost.may_be_of_fewer(groups) else train
        return self.seconds(groups, fewest)


def lacks(network: bounds.Network, group: str) -> bool:
    """Whether a network does not have what a group requires."""
    fields = registry.MEASURES[group].required(group)
    return any(getattr(network, field) is None for field in fields)


def sizes(network: bounds.Network) -> Sizes:
    """The examples and classes that decide how many passes a part makes."""
    held_out = 0 if network.holdout is None else int(network.holdout.size)
    example = jax.tree.map(lambda leaf: leaf[:1], network.sample.inputs)
    logits = jax.eval_shape(
        lambda x: network.model.apply({"params": network.params}, x), example
    )
    return Sizes(int(network.sample.size), held_out, logits.shape[-1])
