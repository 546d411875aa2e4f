"""Is the same function given the same value, however it is written?

Twins of a network are the same function with other parameters (`report_card.twins`): hidden units
rescaled, a layer rescaled, hidden units permuted.

  moved = |ln measure(twin) - ln measure(network)|, the mean over the networks of a kind of twin;
  score = exp(-moved) of the kind that moves it most: 1/10 if it can be moved tenfold.

  verdict: it passes if 95% of the twins are within 1%, and, where the value is an estimate, three
  of its standard errors; else it fails. A twin that has no value where the network has one is
  moved. Nothing is tested: a measure is a function.
"""

import math

import numpy as np

from experiments.lab.report import number
from experiments.report_card.claims import Claims, Networks
from experiments.report_card.trials import trial

WITHIN = 0.01
SHARE = 0.95
FARTHEST = 700.0  # of ln measure, for what is infinite


def twins(networks: Networks) -> list[tuple[str, int, int]]:
    """(kind, row of the twin, row of the network) of networks that reached their margin."""
    return networks.once("invariance", _twins)


def _twins(networks):
    rows = {name: row for row, name in enumerate(networks["network"])}
    return [
        (str(networks["twin"][row]), int(row), rows[networks["twin_of"][row]])
        for row in np.flatnonzero(networks["twin"] != "")
        if networks["twin_of"][row] in rows and networks["converged"][row]
    ]


def networks_of(networks: Networks) -> np.ndarray:
    """Twins, and whose they are, `[N]`."""
    found = np.zeros(len(networks), bool)
    for _, row, original in twins(networks):
        found[[row, original]] = True
    return found


def judge(claims: Claims, networks: Networks) -> trial.Finding:
    """A `Finding` without p-values."""
    if claims.ordinal:
        return trial.ONLY_AN_ORDER
    every = twins(networks)
    if not every:
        return trial.undecided("There are no twins among these networks.")
    moves: dict[str, list[float]] = {}
    within = []
    for kind, row, original in every:
        values = claims.quantity[[row, original]]
        if not np.isfinite(values[1]):
            continue
        move = float(values[0] - values[1])
        move = move if math.isfinite(move) else math.copysign(FARTHEST, move)
        moves.setdefault(kind, []).append(move)
        allowed = WITHIN
        if claims.standard_error is not None and claims.value[original] > 0:
            errors = claims.standard_error[[row, original]]
            allowed += 3 * float(np.hypot(*errors)) / abs(claims.value[original])
        within.append(abs(move) <= allowed)
    if not within:
        return trial.not_available(claims)
    moved = {
        kind: min(FARTHEST, float(np.mean(np.abs(own)))) for kind, own in moves.items()
    }
    worst = max(moved, key=lambda kind: moved[kind])
    share = float(np.mean(within))
    low, high = (
        math.exp(max(-FARTHEST, min(FARTHEST, f(moves[worst])))) for f in (min, max)
    )
    if share >= SHARE:
        sentence = f"{share:.0%} of {len(within)} twins have the network's value."
    else:
        sentence = (
            f"{worst.replace('_', ' ')} moves it by a factor of {number(math.exp(moved[worst]))} "
            f"(between {number(low)} and {number(high)}), and the function is the same."
        )
    kinds = list(moves)
    return trial.Finding(
        math.exp(-moved[worst]), sentence, verdict=trial.PASSES if share >= SHARE else trial.FAILS,
        numbers={
            kind.replace("_", " "): f"by a factor of {number(math.exp(moved[kind]))}"
            for kind in kinds
        },
        figure=trial.figure("twins", "factor, log10", [
            trial.points(
                kind.replace("_", " "), range(len(moves[kind])),
                np.array(moves[kind]) / math.log(10), kind="points",
            ) for kind in kinds
        ]),
    )  # fmt: skip


TRIAL = trial.Trial.of_module(__name__, __doc__, "invariance", networks_of, judge)
