"""Does it stay when training changes in a way that hardly moves the error?

Zhang & Louis (2025, arXiv 2510.18934). Recipes differ in one change of training: twice the
learning rate, momentum or Adam in place of SGD, another batch size or margin target. A recipe is
compared with the base if the 95% intervals of their test errors over seeds overlap at every m
that both have. Of the logarithm of a measure, b is the slope in ln m, X the length of the axis,
and its range over m is |b| X for the base.

  shift = the largest of |b' - b| X and |mean over m of ln measure' - ln measure|, b' the other
  recipe's slope: how far the recipe moves the measure.
  score = max(0, 1 - shift / range) for the worst recipe; 0 if it turns the slope's sign.

  verdict: it passes if for every recipe the slope keeps its sign and shift < range, and fails if
  for one of them not, by t-tests over seeds (intersection-union, Bonferroni).
"""

import dataclasses
import math

import numpy as np

from experiments.lab.report import number
from experiments.lab.statistics import slope, t_interval
from experiments.report_card import suite
from experiments.report_card.claims import Claims, Networks
from experiments.report_card.trials.trial import (
    LEAST_SEEDS,
    Finding,
    Trial,
    figure,
    not_available,
    points,
    t_test,
    undecided,
)

# A recipe of training is told apart by these.
TRAINING = ("batch_size", "learning_rate", "optimizer", "momentum", "margin")


@dataclasses.dataclass(frozen=True)
class Pair:
    """A recipe beside the base, at the sizes that both have.

    Attributes:
      name: what it changes.
      sizes: m, sorted.
      base, other: seed -> rows of the networks, in the order of `sizes`.
    """

    name: str
    sizes: np.ndarray
    base: dict[int, np.ndarray]
    other: dict[int, np.ndarray]


def pairs(networks: Networks) -> list[Pair]:
    """Recipes whose test errors agree with the base's within their intervals."""
    return networks.once("fragility", _pairs)


def _pairs(networks):
    others = [n for n in suite.AXES if n not in TRAINING]
    groups: dict[tuple, dict[tuple, dict[int, dict[int, int]]]] = {}
    for row in np.flatnonzero(networks.usable):
        place = tuple(networks[n][row] for n in others)
        recipe = tuple(networks[n][row] for n in TRAINING)
        of_seed = groups.setdefault(place, {}).setdefault(recipe, {})
        of_seed.setdefault(int(networks["seed"][row]), {})[int(networks["m"][row])] = (
            row
        )
    found = []
    for recipes in groups.values():
        base = tuple(suite.BASE[n] for n in TRAINING)
        if base not in recipes:
            continue
        for recipe, other in recipes.items():
            pair = _pair(base, recipes[base], recipe, other)
            if recipe != base and pair and _agrees(pair, networks):
                found.append(pair)
    return found


def _pair(base, of_base, recipe, of_other):
    def sizes_of(of_seed):
        return set.union(*(set(rows) for rows in of_seed.values()))

    sizes = sorted(sizes_of(of_base) & sizes_of(of_other))
    if len(sizes) < 2:
        return None

    def whole(of_seed):
        return {
            seed: np.array([rows[m] for m in sizes])
            for seed, rows in of_seed.items()
            if set(sizes) <= set(rows)
        }

    base_rows, other_rows = whole(of_base), whole(of_other)
    seeds = set(base_rows) & set(other_rows)
    if len(seeds) < LEAST_SEEDS:
        return None
    changes = [
        f"{name}={value:g}" if isinstance(value, float) else f"{name}={value}"
        for name, value, old in zip(TRAINING, recipe, base, strict=True)
        if value != old
    ]
    return Pair(
        ", ".join(changes), np.array(sizes),
        {s: base_rows[s] for s in sorted(seeds)}, {s: other_rows[s] for s in sorted(seeds)},
    )  # fmt: skip


def _agrees(pair, networks):
    """Whether the intervals of the errors overlap at every size."""
    for place in range(len(pair.sizes)):
        ends = []
        for side in (pair.base, pair.other):
            errors = [
                networks["noisy_test_error"][rows[place]] for rows in side.values()
            ]
            ends.append(t_interval(errors))
        (low, high), (other_low, other_high) = ends
        if low > other_high or other_low > high:
            return False
    return True


@dataclasses.dataclass(frozen=True)
class Moved:
    """What a recipe does to a measure; arrays have an entry a seed."""

    pair: Pair
    base: np.ndarray
    other: np.ndarray
    shift: np.ndarray
    length: float
    curves: tuple[np.ndarray, np.ndarray]

    @property
    def share(self) -> float:
        """shift / range."""
        reach = abs(float(np.mean(self.base))) * self.length
        shift = max(
            abs(float(np.mean(self.other - self.base))) * self.length,
            abs(float(np.mean(self.shift))),
        )
        if shift <= 1e-9:
            return 0.0
        return shift / reach if reach > 0 else math.inf

    @property
    def turns(self) -> bool:
        """Whether the slope's sign differs."""
        return float(np.mean(self.base)) * float(np.mean(self.other)) < 0

    def tests(self) -> tuple[float, float]:
        """p-values of the hypotheses that it does not pass, and that it does not fail."""
        sign = math.copysign(1.0, float(np.mean(self.base)))
        reach = sign * self.base * self.length
        steeper = (self.other - self.base) * self.length
        if not np.any(np.abs(self.shift) > 1e-9) and not np.any(np.abs(steeper) > 1e-9):
            return 0.0, 1.0
        within = [t_test(reach - way * d) for d in (self.shift, steeper) for way in (1, -1)]  # fmt: skip
        beyond = [t_test(way * d - reach) for d in (self.shift, steeper) for way in (1, -1)]  # fmt: skip
        keeps, turned = t_test(sign * self.other), t_test(-sign * self.other)
        return max(*within, keeps), min(1.0, 5 * min(*beyond, turned))


def _moved(claims, pair):
    x = list(np.log(pair.sizes))
    base, other, shift, curves = [], [], [], ([], [])
    for seed, rows in pair.base.items():
        theirs = pair.other[seed]
        both = claims.quantity[rows], claims.quantity[theirs]
        if not all(np.isfinite(v).all() for v in both):
            continue
        base.append(slope(x, list(both[0])))
        other.append(slope(x, list(both[1])))
        shift.append(float(np.mean(both[1] - both[0])))
        for curve, values in zip(curves, both, strict=True):
            curve.append(values)
    if len(base) < LEAST_SEEDS:
        return None
    return Moved(
        pair, np.array(base), np.array(other), np.array(shift), x[-1] - x[0],
        (np.mean(curves[0], axis=0), np.mean(curves[1], axis=0)),
    )  # fmt: skip


def networks_of(networks: Networks) -> np.ndarray:
    """Those of the pairs, `[N]`."""
    found = np.zeros(len(networks), bool)
    for pair in pairs(networks):
        for rows in (*pair.base.values(), *pair.other.values()):
            found[rows] = True
    return found


def judge(claims: Claims, networks: Networks) -> Finding:
    """A `Finding`."""
    every = pairs(networks)
    if not every:
        return undecided(
            "There are no two recipes of training whose errors agree, with as many sizes."
        )
    found = [m for m in (_moved(claims, pair) for pair in every) if m is not None]
    if not found:
        return not_available(claims)
    worst = max(found, key=lambda m: math.inf if m.turns else m.share)
    tests = [m.tests() for m in found]
    score = 0.0 if worst.turns else max(0.0, 1 - worst.share)
    turned = [m.pair.name for m in found if m.turns]
    low, high = t_interval(np.maximum(
        np.abs(worst.shift), np.abs(worst.other - worst.base) * worst.length))  # fmt: skip
    sentence = (
        f"Of {len(found)} changes of training {worst.pair.name} moves it most, by "
        f"{number(worst.share)} of its range over m (slope {np.mean(worst.base):+.2f}, there "
        f"{np.mean(worst.other):+.2f})."
    )
    if turned:
        sentence += f" The slope's sign turns with {', '.join(turned)}."
    reach = abs(float(np.mean(worst.base))) * worst.length
    ends = (None, None)
    if not worst.turns and reach > 0 and low is not None and high is not None:
        ends = max(0.0, 1 - high / reach), min(1.0, max(0.0, 1 - low / reach))
    tens = math.log(10)
    return Finding(
        score, sentence, *ends,
        max(p for p, _ in tests), min(1.0, len(found) * min(p for _, p in tests)),
        numbers={
            m.pair.name: f"slope {np.mean(m.base):+.2f} to {np.mean(m.other):+.2f}, moved by "
            f"{number(m.share)} of the range" for m in found
        },
        figure=figure("m", "log10", [
            points("base", worst.pair.sizes, worst.curves[0] / tens),
            points(worst.pair.name, worst.pair.sizes, worst.curves[1] / tens),
        ], log_x=True),
    )  # fmt: skip


TRIAL = Trial(
    name="fragility",
    title="fragility",
    question="Does it stay when training changes in a way that hardly moves the error?",
    formula=(__doc__ or "").partition("\n\n")[2].strip(),
    networks=networks_of,
    judge=judge,
)
