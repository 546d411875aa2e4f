"""Does it stay when training changes in a way that hardly moves the error?

Zhang & Louis (2025, arXiv 2510.18934). Recipes differ in one change of training: twice the
learning rate, momentum or Adam in place of SGD, another batch size or margin target. A recipe is
compared with the base, seed by seed, if at every m that both have their mean test errors are
within a quarter of each other and the 95% intervals over seeds overlap: the errors of the networks
that the bound speaks of. Of the logarithm of a measure, b is the slope in ln m and X the length of the
axis. Its range over m is |b| X for the base, or the range of the error's logarithm where that is
larger: a measure may move as far as the error does.

  shift = the largest of |b' - b| X and |mean over m of ln measure' - ln measure|, b' the other
  recipe's slope: how far the recipe moves the measure.
  score = max(0, 1 - shift / range) for the worst recipe.

  verdict: it passes if shift < range for every recipe, and fails if for one shift > range or the
  slope's sign turns, by t-tests over seeds (intersection-union, Bonferroni). What is not finite for
  some recipe, or turns with one, cannot pass.
"""

import dataclasses
import math

import numpy as np

from experiments.lab.report import number
from experiments.lab.statistics import slope, t_interval
from experiments.report_card import suite
from experiments.report_card.claims import Claims, Networks
from experiments.report_card.trials import trial
from experiments.report_card.trials.growth import log_error

# A recipe of training is told apart by these.
TURNS = 0.01  # p-value at which a turn is worth a sentence
NEAR = 1.25  # the ratio of two errors that are hardly different
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


def pairs(networks: Networks, errors: np.ndarray) -> list[Pair]:
    """Recipes whose errors `[N]` agree with the base's within their intervals."""
    return networks.once_of("fragility", errors, _pairs)


def _pairs(networks, errors):
    others = [n for n in suite.AXES if n not in TRAINING]
    groups: dict[tuple, dict[tuple, dict[int, dict[int, int]]]] = {}
    for row in np.flatnonzero(networks.usable):
        place = (networks["source"][row], *(networks[n][row] for n in others))
        recipe = tuple(networks[n][row] for n in TRAINING)
        of_seed = groups.setdefault(place, {}).setdefault(recipe, {})
        of_seed.setdefault(int(networks["seed"][row]), {})[int(networks["m"][row])] = (
            row
        )
    found = []
    base = tuple(suite.BASE[n] for n in TRAINING)
    groups = {place: recipes for place, recipes in groups.items() if base in recipes}

    def sizes(place):
        return len(set().union(*groups[place][base].values()))

    for place, recipes in groups.items():
        # Of each source the places with the most sizes, as in `growth.lines`.
        same = [p for p in groups if p[0] == place[0] and len(groups[p]) > 1]
        if not same or sizes(place) < max(map(sizes, same)):
            continue
        for recipe, other in recipes.items():
            pair = _pair(base, recipes[base], recipe, other)
            if recipe != base and pair and _agrees(pair, errors):
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
    if len(seeds) < trial.LEAST_SEEDS:
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


def _agrees(pair, errors):
    """Whether the intervals of the errors overlap at every size."""
    for place in range(len(pair.sizes)):
        ends = []
        for side in (pair.base, pair.other):
            ends.append(t_interval([errors[rows[place]] for rows in side.values()]))
        (low, high), (other_low, other_high) = ends
        middle, other = (low + high) / 2, (other_low + other_high) / 2
        if low > other_high or other_low > high:
            return False
        if max(middle, other) > NEAR * min(middle, other):
            return False
    return True


@dataclasses.dataclass(frozen=True)
class Moved:
    """What a recipe does to a measure; arrays have an entry a seed."""

    pair: Pair
    base: np.ndarray
    other: np.ndarray
    shift: np.ndarray
    error: np.ndarray
    length: float
    curves: tuple[np.ndarray, np.ndarray]

    @property
    def reach(self) -> float:
        """The range over m."""
        own, error = (abs(float(np.mean(b))) for b in (self.base, self.error))
        return max(own, error) * self.length

    @property
    def share(self) -> float:
        """shift / range."""
        reach = self.reach
        shift = max(
            abs(float(np.mean(self.other - self.base))) * self.length,
            abs(float(np.mean(self.shift))),
        )
        if shift <= 1e-9:
            return 0.0
        return shift / reach if reach > 0 else math.inf

    @property
    def turning(self) -> float:
        """p-value of the hypothesis that the slope's sign does not turn."""
        ways = (1.0, -1.0)
        return min(1.0, 2 * min(
            max(trial.t_test(way * self.base), trial.t_test(-way * self.other)) for way in ways
        ))  # fmt: skip

    def tests(self) -> tuple[float, float]:
        """p-values of the hypotheses that it does not pass, and that it does not fail."""
        own, error = float(np.mean(self.base)), float(np.mean(self.error))
        which = self.base if abs(own) >= abs(error) else self.error
        reach = math.copysign(1.0, float(np.mean(which))) * which * self.length
        steeper = (self.other - self.base) * self.length
        within = [trial.t_test(reach - way * d) for d in (self.shift, steeper) for way in (1, -1)]  # fmt: skip
        beyond = [trial.t_test(way * d - reach) for d in (self.shift, steeper) for way in (1, -1)]  # fmt: skip
        return max(within), min(1.0, 5 * min(*beyond, self.turning))


def _moved(claims, networks, pair):
    log_risk = log_error(claims.risk, networks["test_size"])
    x = list(np.log(pair.sizes))
    base, other, shift, error, curves = [], [], [], [], ([], [])
    for seed, rows in pair.base.items():
        theirs = pair.other[seed]
        both = claims.quantity[rows], claims.quantity[theirs]
        if not all(np.isfinite(v).all() for v in (*both, log_risk[rows])):
            continue
        error.append(slope(x, list(log_risk[rows])))
        base.append(slope(x, list(both[0])))
        other.append(slope(x, list(both[1])))
        shift.append(float(np.mean(both[1] - both[0])))
        for curve, values in zip(curves, both, strict=True):
            curve.append(values)
    if len(base) < trial.LEAST_SEEDS:
        return None
    return Moved(
        pair, np.array(base), np.array(other), np.array(shift), np.array(error), x[-1] - x[0],
        (np.mean(curves[0], axis=0), np.mean(curves[1], axis=0)),
    )  # fmt: skip


def networks_of(networks: Networks) -> np.ndarray:
    """Those of the pairs, `[N]`."""
    found = np.zeros(len(networks), bool)
    for pair in pairs(networks, networks["noisy_test_error"]):
        for rows in (*pair.base.values(), *pair.other.values()):
            found[rows] = True
    return found


def judge(claims: Claims, networks: Networks) -> trial.Finding:
    """A `Finding`."""
    if claims.ordinal:
        return trial.ONLY_AN_ORDER
    every = pairs(networks, claims.errors(networks))
    if not every:
        return trial.undecided(
            "There are no two recipes of training whose errors agree, with as many sizes."
        )
    moved = (_moved(claims, networks, pair) for pair in every)
    found = [m for m in moved if m is not None]
    if not found:
        return trial.not_available(claims)
    worst = max(found, key=lambda m: m.share)
    tests = [m.tests() for m in found]
    score = max(0.0, 1 - worst.share)
    turned = [m.pair.name for m in found if m.turning < TURNS]
    is_whole = len(found) == len(every)
    passing = max(p for p, _ in tests) if is_whole and not turned else 1.0
    low, high = t_interval(np.maximum(
        np.abs(worst.shift), np.abs(worst.other - worst.base) * worst.length))  # fmt: skip
    sentence = (
        f"Of {len(found)} changes of training {worst.pair.name} moves it most, by "
        f"{number(worst.share)} of its range over m (slope {np.mean(worst.base):+.2f}, there "
        f"{np.mean(worst.other):+.2f})."
    )
    if turned:
        sentence += f" The slope's sign turns with {', '.join(turned)}."
    reach, ends = worst.reach, (None, None)
    if reach > 0 and low is not None and high is not None:
        ends = max(0.0, 1 - high / reach), min(1.0, max(0.0, 1 - low / reach))
    tens = math.log(10)
    return trial.Finding(
        score, sentence, *ends,
        passing, min(1.0, len(found) * min(p for _, p in tests)),
        numbers={
            m.pair.name: f"slope {np.mean(m.base):+.2f} to {np.mean(m.other):+.2f}, moved by "
            f"{number(m.share)} of the range" for m in found
        },
        figure=trial.figure("m", "log10", [
            trial.points("base", worst.pair.sizes, worst.curves[0] / tens),
            trial.points(worst.pair.name, worst.pair.sizes, worst.curves[1] / tens),
        ], log_x=True),
    )  # fmt: skip


TRIAL = trial.Trial.of_module(__name__, __doc__, "fragility", networks_of, judge)
