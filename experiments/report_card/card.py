"""The card: every bound in every trial, with verdicts corrected for how many there are."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from experiments.lab.report import number
from experiments.report_card.claims import (
    BEYOND,
    CERTIFICATES,
    REFERENCE,
    Claims,
    Networks,
)
from experiments.report_card.criteria import holm
from experiments.report_card.trials import TRIALS, Finding
from experiments.report_card.trials.trial import (
    FAILS,
    PASSES,
    UNDECIDED,
    no_claim,
)

VERSION = 1
LEVEL = 0.05


def verdicts(found: Mapping[str, Finding]) -> dict[str, str]:
    """The verdicts of one bound: trial -> passes, fails, undecided or makes no claim.

    Every trial that tests has two hypotheses, that the bound does not pass and that it does
    not fail; where both are rejected, nothing is decided. Holm's step-down test of all of them together:
    with probability `LEVEL` at most is any of its tested verdicts wrong by chance (given which lines move: a
    95% interval of the error says so; over seeds alone, the stored examples and the test set held fixed);
    of a hundred bounds some will be.
    """
    tested = {}
    for name, one in found.items():
        if one.verdict is None:
            tested[f"{name}/{PASSES}"] = _p(one.passing)
            tested[f"{name}/{FAILS}"] = _p(one.failing)
    rejected = holm(tested, LEVEL)

    def tested_verdict(name):
        known = [v for v in (PASSES, FAILS) if rejected.get(f"{name}/{v}")]
        return known[0] if len(known) == 1 else UNDECIDED

    return {name: one.verdict or tested_verdict(name) for name, one in found.items()}


def _p(value):
    return math.nan if value is None else value


def of_bound(claims: Claims, networks: Networks) -> dict[str, Any]:
    """What card.json says of one bound."""
    found = {name: _found(trial, claims, networks) for name, trial in TRIALS.items()}
    judged = verdicts(found)
    return {
        "status": claims.status,
        "speaks_of": claims.speaks_of,
        "two_sided": claims.two_sided,
        "uses_holdout": claims.uses_holdout,
        "costs": claims.costs,
        "family": claims.family,
        "paper": claims.paper,
        "about": claims.about,
        "trials": {
            name: {
                "score": _number(one.score),
                "low": _number(one.low),
                "high": _number(one.high),
                "verdict": judged[name],
                "sentence": one.sentence,
                "numbers": dict(one.numbers),
                "figure": one.figure,
            }
            for name, one in found.items()
        },
    }


def _found(trial, claims, networks):
    """What a trial finds; of a tool's claims it may have no networks to look at."""
    found = trial.judge(claims, networks)
    is_idle = found.verdict == UNDECIDED and not trial.networks(networks).any()
    if claims.family == BEYOND and is_idle:
        return no_claim(
            "There are no networks for this trial in the tool's run folders."
        )
    return found


def _number(value):
    """Four digits, or None for what is no number."""
    if value is None or not math.isfinite(value):
        return None
    return float(f"{value:.4g}")


def make(
    claims: Mapping[str, Claims],
    networks: Networks,
    made: Mapping[str, Any],
    beyond: tuple[Mapping[str, Claims], Networks] | None = None,
) -> dict[str, Any]:
    """The content of card.json.

    Args:
      claims: what every bound says, and the rows to compare with.
      networks: of whom.
      made: `suite`, and what the page says of how it was made.
      beyond: what tools beyond uniform convergence claim of networks of their own.
    """
    found = {name: of_bound(own, networks) for name, own in claims.items()}
    if beyond is not None:
        found |= {name: of_bound(own, beyond[1]) for name, own in beyond[0].items()}
    return {
        "version": VERSION,
        "suite": made["suite"],
        "answer": answer(found, networks),
        "made": {n: v for n, v in made.items() if n != "suite"},
        "trials": {
            name: {
                "title": trial.title,
                "question": trial.question,
                "formula": trial.formula,
                "networks": int(trial.networks(networks).sum()),
            }
            for name, trial in TRIALS.items()
        },
        "bounds": found,
    }


def count(of: Mapping[str, Any], verdict: str) -> int:
    """How many of a bound's trials end in a verdict."""
    return sum(cell["verdict"] == verdict for cell in of["trials"].values())


def answer(found: Mapping[str, Any], networks: Networks) -> list[str]:
    """The three sentences that a card begins with; one more where it has claims of tools."""
    bounds = {
        n: b
        for n, b in found.items()
        if b["status"] != REFERENCE and b["family"] != BEYOND
    }
    beyond = {n: b for n, b in found.items() if b["family"] == BEYOND}
    sentences = [_explains(bounds), *_certificates(bounds), _sizes(bounds, networks)]
    return sentences + ([_beyond(beyond)] if beyond else [])


def _explains(bounds):
    """Which pass, of those that look at no held-out examples."""
    own = {n: b for n, b in bounds.items() if not b["uses_holdout"]}
    free = [n for n in bounds if n not in own]
    clean = [n for n in own if not count(own[n], FAILS) and count(own[n], PASSES) > len(TRIALS) // 2]  # fmt: skip
    if clean:
        text = (
            f"Of {len(own)} bounds and measures {_some(clean)} {'fails' if len(clean) == 1 else 'fail'} "
            "no trial and pass most"
        )
    else:
        best = sorted(own, key=lambda n: (-count(own[n], PASSES), count(own[n], FAILS)))
        counts = [_tally(n, own[n]) for n in best[:3]]
        text = (
            f"None of {len(own)} bounds and measures explains what these networks do: none passes "
            f"most of the trials and fails none; the most are passed by {_some(counts)}"
        )
    if free:
        counts = [_tally(n, bounds[n]) for n in free]
        text += f"; with held-out examples, which explain nothing, {_some(counts)}"
    return f"{text}."


def _tally(name, bound):
    return f"{name} (passes {count(bound, PASSES)}, fails {count(bound, FAILS)})"


def _some(names: Sequence[str], most: int = 4) -> str:
    shown = list(names[:most])
    if len(names) > most:
        return f"{', '.join(shown)} and {len(names) - most} more"
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)


def _certificates(bounds):
    certified = {n: b for n, b in bounds.items() if b["status"] in CERTIFICATES}
    if not certified:
        return []
    tight = [n for n, b in certified.items() if b["trials"]["tightness"]["verdict"] == PASSES]  # fmt: skip
    tight = [n for n in tight if not bounds[n]["uses_holdout"]]
    broken = [n for n, b in certified.items() if b["trials"]["validity"]["verdict"] == FAILS]  # fmt: skip
    text = (
        f"Of {len(certified)} certificates "
        f"{_some(broken) if broken else 'none'} is shown to be violated more often than it may be, and {len(tight)} "
        f"{'is' if len(tight) == 1 else 'are'} non-vacuous on most networks without held-out examples"
    )
    return [f"{text} ({_some(tight)})." if tight else f"{text}."]


def _sizes(bounds, networks):
    verdicts = [b["trials"]["training_set_size"]["verdict"] for b in bounds.values()]
    two_sided = {
        n: b for n, b in bounds.items()
        if b["two_sided"] and b["trials"]["training_set_size"]["verdict"] in (PASSES, FAILS)
    }  # fmt: skip
    wrong = [n for n, b in two_sided.items() if b["trials"]["training_set_size"]["verdict"] == FAILS]  # fmt: skip
    text = (
        f"With the training set {verdicts.count(PASSES)} fall at the error's pace (half to twice) and "
        f"{verdicts.count(FAILS)} do not"
    )
    if two_sided:
        text += f"; of the {len(two_sided)} with a two-sided proof {len(wrong)} do not"
    looked_at = TRIALS["training_set_size"].networks(networks)
    return f"{text}, on {int(looked_at.sum())} networks."


def _beyond(claims):
    """What tools beyond uniform convergence do, on networks of their own."""

    def passing(trial):
        return [n for n, b in claims.items() if b["trials"][trial]["verdict"] == PASSES]

    tight, paced = passing("tightness"), passing("training_set_size")
    certified = [
        n
        for n, b in claims.items()
        if b["status"] in CERTIFICATES and b["trials"]["tightness"]["score"] is not None
    ]

    def named(names):
        return f"{len(names)} ({_some(names)})" if names else "none"

    return (
        f"Of {len(claims)} claims beyond uniform convergence, made of networks of their own at the "
        f"cost that stands beside them, {named(paced)} fall at the error's pace"
        + (
            f"; of the {len(certified)} certified ones of which each seed has its own {named(tight)} "
            f"{'are' if len(tight) > 1 else 'is'} non-vacuous on most."
            if certified
            else "."
        )
    )


def changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[dict[str, str]]:
    """What differs between two cards: rows of bound, trial, before, now."""
    rows = []
    for name in dict.fromkeys([*before["bounds"], *now["bounds"]]):
        old, new = (c["bounds"].get(name) for c in (before, now))
        if old is None or new is None:
            rows.append({
                "bound": name, "trial": "", "before": "" if old is None else "there",
                "now": "" if new is None else "there",
            })  # fmt: skip
            continue
        for trial in dict.fromkeys([*old["trials"], *new["trials"]]):
            one, other = (c["trials"].get(trial) for c in (old, new))
            said = [
                "" if c is None else f"{c['verdict']}, {number(c['score'])}"
                for c in (one, other)
            ]
            if said[0] != said[1]:
                rows.append(
                    {"bound": name, "trial": trial, "before": said[0], "now": said[1]}
                )
    return rows
