"""Does it hold: is the error of the network it speaks of ever above it?

A violation is proven if so many held-out errors would be seen with a probability below a / R
were the bound true (exact binomial; of an error that is a mean over draws of the weights, the
Chernoff bound): R networks are compared, a = 1e-4. It fails if Bin(R, delta) reaches the number
V of violations too rarely, Pr[Bin(R, delta) >= V] + a. It passes if violations are rarer than
delta, Pr[Bin(R, delta) <= V'], with V' the networks whose observed error is above the bound,
proven or not: 59 networks at delta = 5 % without any. A bound that is made from the held-out
examples by which the error is told is not judged by them.
A bound on the error's mean over training sets may lie below the error of many a network. Of it
the mean of B - R over the networks of a seed is taken: it passes if the mean over seeds is above
0, and fails if it is below, each by a t-test over seeds.

  score = 1 - V / R, with the exact binomial interval; of a bound on a mean, the share of seeds
  whose B is at least R on average.

Networks of one seed share initial weights, and their training sets overlap: R counts them all,
so the intervals are those of independent networks. Values of 1 and more hold, and say nothing.
"""

import numpy as np

from bounds.numerics import intervals
from bounds.spec import COUNTED
from experiments.lab import bound_rows
from experiments.lab.report import number
from experiments.lab.statistics import t_interval
from experiments.report_card.claims import Claims, Networks
from experiments.report_card.trials import trial

PROVEN_AT = 1e-4


def violations(claims: Claims, networks: Networks, rows: np.ndarray) -> np.ndarray:
    """Places of networks whose error is proven to be above their bound.

    Args:
      claims: of one bound.
      networks: of a table.
      rows: places of the networks that are compared, `[R]`.
    """
    is_counted = claims.speaks_of in COUNTED
    found = [
        row
        for row in rows
        if bound_rows.chance(
            float(claims.risk[row]), int(networks["test_size"][row]),
            float(claims.value[row]), is_counted,
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
    runs, count = len(rows), len(broken)
    seen = int((claims.risk[rows] > claims.value[rows]).sum())
    low, high = intervals.interval(count, runs)
    small = int((claims.value[rows] < 1).sum())
    sentence = (
        f"{count} of {runs} networks have an error proven to be above it; delta = {claims.delta:g} allows "
        f"{claims.delta * runs:.3g}. It is below 1 for {small} of them."
    )
    return trial.Finding(
        1 - count / runs, sentence, 1 - high, 1 - low,
        passing=intervals.at_most(seen, runs, claims.delta),
        failing=min(1.0, intervals.at_least(count, runs, claims.delta) + PROVEN_AT),
        numbers={
            "networks": str(runs), "proven violations": str(count),
            "observed errors above it": str(seen), "below 1": str(small),
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
    sentence = (
        f"It holds in expectation over training sets, and is {number(float(room.mean()))} above "
        f"the error in the mean over {len(room)} seeds [{number(low)}, {number(high)}]."
    )
    return trial.Finding(
        float(np.mean(room >= 0)), sentence,
        passing=trial.t_test(room), failing=trial.t_test(-room),
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
