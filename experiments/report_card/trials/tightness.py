"""Does it say anything: is it below the error of guessing, and how near to the error is it?

  score = mean over networks of max(0, (g - B) / (g - R)) with B the bound, R the error of the
  network it speaks of and g = 1 - 1/C the error of guessing among C classes: 1 if it is the
  error, 0 if it says no more than that one can guess. Networks whose error is that of guessing
  (random labels) are left out, and so are settings that not all seeds have. Where it is not
  available it says nothing. The interval is the t-interval over seeds.

  verdict: it passes if it is below g for more than half of the networks, and fails if for fewer,
  each by a t-test of the share over seeds, whose spread is a binomial's at least.

Beside it stands what anybody has for free: the hold-out bound, on as many held-out examples.
"""

import numpy as np

from bounds.numerics import intervals
from experiments.lab.report import number
from experiments.lab.statistics import t_interval
from experiments.report_card import suite
from experiments.report_card.claims import Claims, Networks
from experiments.report_card.trials import trial

LEAST_ROOM = 0.05  # between the error and that of guessing


def networks_of(networks: Networks) -> np.ndarray:
    """Those whose error is not that of guessing, `[N]`."""
    guessing = 1 - 1 / networks["classes"]
    return networks.usable & (guessing - networks["noisy_test_error"] > LEAST_ROOM)


def _balanced(networks):
    """Of `networks_of` those whose setting all seeds of their source have: places."""
    rows = np.flatnonzero(networks_of(networks))
    names = ("source", "m", *suite.AXES)
    settings: dict[tuple, list[int]] = {}
    for row in rows:
        settings.setdefault(tuple(networks[n][row] for n in names), []).append(row)
    seeds: dict[str, set] = {}
    for key, own in settings.items():
        seeds.setdefault(str(key[0]), set()).update(networks["seed"][own])
    whole = [
        own for key, own in settings.items() if len(own) == len(seeds[str(key[0])])
    ]
    return np.array(sorted(row for own in whole for row in own), int)


def _holdout(wrong, size, delta):
    """The exact binomial bound on an error, from held-out examples."""
    found = np.empty(len(wrong))
    for n in np.unique(size):
        found[size == n] = intervals.upper(wrong[size == n], int(n), delta)
    return found


def judge(claims: Claims, networks: Networks) -> trial.Finding:
    """A `Finding`."""
    if not claims.is_certificate:
        return trial.no_claim(
            f"It is {claims.status}: its size is not that of an error."
        )
    known = claims.says
    rows = networks.once("tightness", _balanced)
    if not known[rows].any():
        return trial.not_available(claims)
    guessing = 1 - 1 / networks["classes"][rows]
    value = np.where(known[rows], claims.value[rows], np.inf)
    risk = np.where(known[rows], claims.risk[rows], networks["noisy_test_error"][rows])
    room = np.maximum(guessing - risk, LEAST_ROOM)
    used = np.clip((guessing - value) / room, 0, 1)
    says = value < guessing
    seeds = networks.repetition[rows]
    of_seeds = [seeds == seed for seed in np.unique(seeds)]
    if len(of_seeds) < trial.LEAST_SEEDS:
        return trial.undecided(
            f"There are {len(of_seeds)} seeds; {trial.LEAST_SEEDS} are needed."
        )
    shares = np.array([says[own].mean() for own in of_seeds])
    spread = trial.share_spread(float(says.mean()), len(rows) / len(of_seeds))
    low, high = t_interval([float(used[own].mean()) for own in of_seeds])
    size = networks["test_size"][rows]
    free = _holdout(networks["noisy_test_wrong"][rows], size, claims.delta)
    score = float(used.mean())
    sentence = (
        f"It is below the error of guessing for {says.sum()} of {len(rows)} networks; its median "
        f"is {number(float(np.median(value)))} where the median error is "
        f"{number(float(np.median(risk)))} and {number(float(np.median(size)))} held-out examples "
        f"give {number(float(np.median(free)))}."
    )
    order = np.argsort(value, kind="stable")
    return trial.Finding(
        score, sentence,
        None if low is None else max(0.0, low), None if high is None else min(1.0, high),
        trial.t_test(shares - 0.5, spread), trial.t_test(0.5 - shares, spread),
        numbers={
            "least": number(float(value.min())), "median": number(float(np.median(value))),
            "median error": number(float(np.median(risk))),
            "hold-out bound, median": number(float(np.median(free))),
            "non-vacuous": f"{says.sum()} of {len(rows)}",
        },
        figure=trial.figure("networks, by the bound", "error", [
            trial.points("bound", range(len(rows)), np.minimum(value[order], 2.0), kind="points"),
            trial.points("error", range(len(rows)), risk[order], kind="points"),
            trial.points("hold-out bound", range(len(rows)), free[order], kind="points"),
        ]),
    )  # fmt: skip


TRIAL = trial.Trial.of_module(__name__, __doc__, "tightness", networks_of, judge)
