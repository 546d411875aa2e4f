"""Does it hold: is the error of the network it speaks of ever above it?

A violation is proven if so many held-out errors would be seen with a probability below a / N
were the bound true (exact binomial; of an error that is a mean over draws of the weights, the
Chernoff bound): N networks are compared, a = 1e-4. A bound that holds fails on each of them with
probability delta at most, but not on one by one: those of one seed have their training examples in
common, more or fewer, and their initial weights. So one network is taken of each data set and seed, by
lot: R of them, whose training sets were drawn independently. It fails if Bin(R, delta) reaches the
number V of violations among them too rarely, Pr[Bin(R, delta) >= V] + a. It passes if violations are
rarer than delta, Pr[Bin(R, delta) <= V'], with V' those whose observed error is above the bound,
proven or not: R = 59 at delta = 5 % without any, at least. A bound that is made from the held-out
examples by which the error is told is not judged by them.
A bound on the error's mean over training sets may lie below the error of many a network. Of it
the mean of B - R_D over the networks of a seed is taken, at every m: it passes if at each the mean over
seeds is above 0, and fails if at one it is below, by t-tests over seeds (intersection-union, Bonferroni).

  score = the share of all N networks without a proven violation; its interval is the exact binomial one
  of the R. Of a bound on a mean, the share of seeds whose B is at least R_D on average.

Values of 1 and more hold, and say nothing.
"""

import math

import numpy as np

from bounds.numerics import intervals
from bounds.spec import COUNTED
from experiments.lab import refuting
from experiments.lab.report import number
from experiments.lab.statistics import t_interval
from experiments.report_card.claims import Claims, Networks
from experiments.report_card.trials import trial

PROVEN_AT = 1e-4
LEVEL = 0.05  # at which what is not violated would be shown to hold, were it tested by itself


def by_lot(networks: Networks, rows: np.ndarray) -> np.ndarray:
    """One of some networks of each source, data set and seed: their training sets are independent draws.

    Args:
      networks: of a table.
      rows: places of networks, `[N]`.

    Returns:
      Places `[R]`, whatever bounds say of them.
    """
    lot = np.random.default_rng(0).permutation(len(networks))
    drawn: dict[tuple, int] = {}
    for row in sorted(rows, key=lambda row: lot[row]):
        draw = tuple(networks[n][row] for n in ("source", "problem", "seed"))
        drawn.setdefault(draw, int(row))
    return np.array(sorted(drawn.values()), int)


def needed(delta: float) -> int:
    """The least R at which no violation at all shows that violations are rarer than delta."""
    return math.ceil(math.log(LEVEL) / math.log1p(-delta))


def violations(claims: Claims, networks: Networks, rows: np.ndarray) -> np.ndarray:
    """Places of networks whose error is proven to be above their bound.

    Args:
      claims: of one bound.
      networks: of a table.
      rows: places of the networks that are compared, `[R]`.
    """
    is_counted = claims.speaks_of in COUNTED
    sizes = networks["test_size"] if claims.independent is None else claims.independent
    found = [
        row
        for row in rows
        if refuting.chance(
            float(claims.risk[row]), float(sizes[row]), float(claims.value[row]), is_counted,
        ) < PROVEN_AT / len(rows)
    ]  # fmt: skip
    return np.array(found, int)


def judge(claims: Claims, networks: Networks) -> trial.Finding:
    """A `Finding`; p-values are those of the binomial tests."""
    if not claims.is_certificate:
        return trial.no_claim(
            f"It is {claims.status}: it does not claim to be above the error."
        )
    if claims.uses_holdout:
        return trial.no_claim(
            "It is made from the held-out examples by which the error is told."
        )
    rows = np.flatnonzero(networks.usable & claims.says)
    if not len(rows):
        return trial.not_available(claims)
    if claims.in_expectation:
        return _of_mean(claims, networks, rows)
    broken = violations(claims, networks, rows)
    above = rows[claims.risk[rows] > claims.value[rows]]
    lot = by_lot(networks, rows)
    runs, count, seen = (
        len(lot),
        *(int(np.isin(lot, own).sum()) for own in (broken, above)),
    )
    low, high = intervals.interval(count, runs)
    small = int((claims.value[rows] < 1).sum())
    enough = needed(claims.delta)
    sentence = (
        f"{len(broken)} of {len(rows)} networks have an error proven to be above it, and {count} of "
        f"{runs} of them whose training sets were drawn independently; delta = {claims.delta:g} allows "
        f"{claims.delta * runs:.3g} of these. It is below 1 for {small} of all."
    )
    if runs < enough:
        sentence += f" To show that it holds, {enough} are needed."
    return trial.Finding(
        1 - len(broken) / len(rows), sentence, 1 - high, 1 - low,
        passing=intervals.at_most(seen, runs, claims.delta),
        failing=min(1.0, intervals.at_least(count, runs, claims.delta) + PROVEN_AT),
        numbers={
            "networks": str(len(rows)), "proven violations": str(len(broken)),
            "observed errors above it": str(len(above)), "below 1": str(small),
            "independent training sets": str(runs),
            "proven violations among these": str(count),
            "at most this share is violated (95%)": number(high),
        },
        figure=trial.figure("networks, by the bound", "error", _points(claims, rows)),
    )  # fmt: skip


def _of_mean(claims, networks, rows):
    """Of a bound on the error's mean over training sets."""
    seeds = networks.repetition[rows]
    above = claims.value[rows] - claims.risk[rows]
    room = np.array([above[seeds == seed].mean() for seed in np.unique(seeds)])
    if len(room) < trial.LEAST_SEEDS:
        return trial.undecided(
            f"There are {len(room)} seeds; {trial.LEAST_SEEDS} are needed."
        )
    low, high = t_interval(list(room))
    # It is a claim for every m: what it has to spare at one is no help at another.
    points = sorted(
        set(zip(networks["source"][rows], networks["m"][rows], strict=True))
    )
    tests = []
    for source, m in points:
        own = (networks["source"][rows] == source) & (networks["m"][rows] == m)
        of_seeds = [
            above[own & (seeds == seed)].mean() for seed in np.unique(seeds[own])
        ]
        tests.append([trial.t_test(sign * np.array(of_seeds)) for sign in (1, -1)])
    passing, failing = np.array(tests).T
    sentence = (
        f"It holds in expectation over training sets, and is {number(float(room.mean()))} above "
        f"the error in the mean over {len(room)} seeds [{number(low)}, {number(high)}]."
    )
    return trial.Finding(
        float(np.mean(room >= 0)), sentence,
        passing=float(passing.max()), failing=min(1.0, len(points) * float(failing.min())),
        numbers={
            "seeds": str(len(room)), "above the error, mean": number(float(room.mean())),
            "least over seeds": number(float(room.min())),
        },
        figure=trial.figure("networks, by the bound", "error", _points(claims, rows)),
    )  # fmt: skip


def _points(claims, rows):
    order = rows[np.argsort(claims.value[rows], kind="stable")]
    return [
        trial.points("bound", range(len(rows)), claims.value[order], kind="points"),
        trial.points("error", range(len(rows)), claims.risk[order], kind="points"),
    ]


TRIAL = trial.Trial.of_module(
    __name__, __doc__, "validity", lambda networks: networks.usable, judge
)
