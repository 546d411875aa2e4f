"""Is data that is harder to learn given a larger value, at the same m?

Data sets (MNIST, Fashion-MNIST, MNIST with redrawn labels, spheres) are compared two by two, at
every m and for every seed, where networks were trained on both by the same recipe of optimizer,
width and depth. A pair counts where the 95% intervals of the two errors over seeds do not overlap: the
errors of the networks that the bound speaks of, be they trained, stochastic or compressed.

  score = the share of pairs in which the data set of larger error is given the larger value;
  values within 1e-9 of each other count half. The interval is the t-interval over seeds.

  verdict: it passes if the share is above 3/4, and fails if below, by t-tests over seeds, whose
  spread is a binomial's at least; it does not pass where some comparisons cannot be made. The data
  sets are few: what passes here may fail on others.
"""

import dataclasses
import itertools

import numpy as np

from experiments.lab.statistics import t_interval
from experiments.report_card.claims import Claims, Networks
from experiments.report_card.trials import trial

SHARE = 0.75
SAME = ("m", "width", "depth", "optimizer", "batch_size", "momentum", "learning_rate", "loss")  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Pair:
    """Two data sets at one m, the harder one second; seed -> row of its network."""

    m: int
    easier: tuple[str, dict[int, int]]
    harder: tuple[str, dict[int, int]]


def pairs(networks: Networks, errors: np.ndarray) -> list[Pair]:
    """The pairs of data sets whose errors `[N]` differ."""
    return networks.once_of("data_complexity", errors, _pairs)


def _pairs(networks, errors):
    groups: dict[tuple, dict[str, dict[int, int]]] = {}
    for row in np.flatnonzero(networks.usable):
        place = (*(networks[n][row] for n in SAME), networks["source"][row])
        noise, problem = networks["label_noise"][row], str(networks["problem"][row])
        data = f"{problem}, label noise {noise:g}" if noise else problem
        groups.setdefault(place, {}).setdefault(data, {})[
            int(networks["seed"][row])
        ] = int(row)
    # Along the axis of label noise there is a trial of its own: here sizes that several
    # problems have.
    found = []
    for place, of_data in groups.items():
        problems = {name.split(",")[0] for name in of_data}
        if len(problems) < 2:
            continue
        for one, other in itertools.combinations(of_data.items(), 2):
            pair = _pair(int(place[0]), one, other, errors)
            if pair:
                found.append(pair)
    sets = {name for pair in found for name in (pair.easier[0], pair.harder[0])}
    everywhere = {
        name
        for name in sets
        if len({p.m for p in found if name in (p.easier[0], p.harder[0])}) > 1
    }
    kept = everywhere if len(everywhere) > 1 else sets
    return [p for p in found if {p.easier[0], p.harder[0]} <= kept]


def _pair(m, one, other, errors):
    seeds = set(one[1]) & set(other[1])
    if len(seeds) < trial.LEAST_SEEDS:
        return None

    def ends(of_seed):
        return t_interval([errors[of_seed[s]] for s in seeds])

    low, high = ends(one[1])
    other_low, other_high = ends(other[1])
    if high < other_low:
        return Pair(m, one, other)
    if other_high < low:
        return Pair(m, other, one)
    return None


def networks_of(networks: Networks) -> np.ndarray:
    """Those of the pairs, `[N]`."""
    found = np.zeros(len(networks), bool)
    for pair in pairs(networks, networks["noisy_test_error"]):
        for side in (pair.easier, pair.harder):
            found[list(side[1].values())] = True
    return found


def judge(claims: Claims, networks: Networks) -> trial.Finding:
    """A `Finding`."""
    every = pairs(networks, claims.errors(networks))
    if not every:
        return trial.undecided(
            "There are no two data sets of one m and recipe to compare."
        )
    right: dict[int, list[float]] = {}
    wrong: dict[tuple[str, str], int] = {}
    for pair in every:
        for seed in set(pair.easier[1]) & set(pair.harder[1]):
            rows = pair.easier[1][seed], pair.harder[1][seed]
            if not all(claims.known[row] for row in rows):
                continue
            below, above = (claims.quantity[row] for row in rows)
            agrees = 0.5 if above == below or abs(above - below) <= 1e-9 else float(above > below)  # fmt: skip
            right.setdefault(seed, []).append(agrees)
            if agrees < 1:
                names = pair.easier[0], pair.harder[0]
                wrong[names] = wrong.get(names, 0) + 1
    if len(right) < trial.LEAST_SEEDS:
        return trial.not_available(claims)
    shares = np.array([np.mean(own) for own in right.values()])
    count = sum(map(len, right.values()))
    asked = sum(len(set(p.easier[1]) & set(p.harder[1])) for p in every)
    whole = count == asked  # what is left out may be what is hard
    spread = trial.share_spread(float(shares.mean()), count / len(shares))
    score = float(shares.mean())
    low, high = t_interval(shares)
    sentence = f"{score:.0%} of {count} comparisons of two data sets are in the order of their errors"
    if wrong:
        worst = max(wrong, key=lambda names: wrong[names])
        sentence += (
            f"; most often not {worst[1]} above {worst[0]} ({wrong[worst]} times)"
        )
    return trial.Finding(
        score, sentence + ".",
        None if low is None else max(0.0, low), None if high is None else min(1.0, high),
        trial.t_test(shares - SHARE, spread) if whole else 1.0, trial.t_test(SHARE - shares, spread),
        numbers={f"{b} above {a}": f"not in {n} cases" for (a, b), n in wrong.items()},
        figure=_figure(claims, networks, every),
    )  # fmt: skip


def _figure(claims, networks, every):
    series = []
    tens = np.log(10)
    sides = [(pair.m, side) for pair in every for side in (pair.easier, pair.harder)]
    for name in dict.fromkeys(side[0] for _, side in sides):
        at = {m: list(side[1].values()) for m, side in sides if side[0] == name}
        x = sorted(at)
        y = [
            float(np.mean(claims.quantity[[r for r in at[m] if claims.known[r]]])) / tens
            if any(claims.known[r] for r in at[m]) else np.nan
            for m in x
        ]  # fmt: skip
        series.append(trial.points(name, x, y))
    return trial.figure("m", "log10", series, log_x=True)


TRIAL = trial.Trial.of_module(__name__, __doc__, "data complexity", networks_of, judge)
