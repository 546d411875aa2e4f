"""The contract of a trial: it looks at what one bound says of networks, and judges one thing."""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from experiments.report_card.claims import Claims, Networks

PASSES, FAILS = "passes", "fails"
UNDECIDED, NO_CLAIM = "undecided", "makes no claim"
VERDICTS = (PASSES, FAILS, UNDECIDED, NO_CLAIM)
# A slope or a share is not judged on fewer seeds.
LEAST_SEEDS = 3


@dataclasses.dataclass(frozen=True)
class Finding:
    """What a trial found of one bound.

    Attributes:
      score: in [0, 1], or None.
      low, high: its 95% interval, None where there is none.
      sentence: what was found, with its numbers.
      passing: p-value of the hypothesis that it does not pass; None where nothing is tested.
      failing: p-value of the hypothesis that it does not fail.
      verdict: where nothing is tested: of `VERDICTS`.
      numbers: label -> text.
      figure: series of points, see `figure`; or None.
    """

    score: float | None
    sentence: str
    low: float | None = None
    high: float | None = None
    passing: float | None = None
    failing: float | None = None
    verdict: str | None = None
    numbers: Mapping[str, str] = dataclasses.field(default_factory=dict)
    figure: Mapping[str, Any] | None = None


@dataclasses.dataclass(frozen=True)
class Trial:
    """One question that every bound is asked.

    Attributes:
      name: of its column in card.json.
      title: of its column on the page.
      question: what is asked.
      formula: how the score and the verdict come about.
      networks: `networks -> [N]`, which it looks at.
      judge: (claims, networks) -> `Finding`.
    """

    name: str
    title: str
    question: str
    formula: str
    networks: Callable[[Networks], np.ndarray]
    judge: Callable[[Claims, Networks], Finding]

    @classmethod
    def of_module(
        cls,
        module: str,
        about: str | None,
        title: str,
        networks: Callable[[Networks], np.ndarray],
        judge: Callable[[Claims, Networks], Finding],
    ) -> "Trial":
        """A trial that a file of its own describes.

        Args:
          module: `__name__`, whose last part is the trial's name.
          about: `__doc__`: the question, and after a blank line the formula.
          title, networks, judge: as above.
        """
        question, _, formula = (about or "").partition("\n\n")
        name = module.rpartition(".")[2]
        return cls(name, title, question, formula.strip(), networks, judge)


def no_claim(why: str) -> Finding:
    """The bound does not say what the trial asks for."""
    return Finding(None, why, verdict=NO_CLAIM)


def undecided(why: str) -> Finding:
    """There is too little to judge by."""
    return Finding(None, why, verdict=UNDECIDED)


# Of a measure without a zero: neither its growth nor a factor means anything.
ONLY_AN_ORDER = no_claim(
    "Its order alone says something: it has no zero, and no exponent of growth."
)


def not_available(claims: Claims) -> Finding:
    """The bound cannot be had of any of the networks that the trial looks at."""
    return undecided(f"Not available: {claims.reason or 'of none of these networks'}.")


def t_test(values: Sequence[float], least_spread: float = 0.0) -> float:
    """p-value of the hypothesis that the mean of independent values is <= 0.

    Student's, one-sided. Values that do not differ have no error: 0 or 1, 1/2 at 0. One value says
    nothing: 1.

    Args:
      values: one a seed.
      least_spread: a standard deviation that they have at least, `share_spread` where they are
        shares of few networks, which may agree by chance.
    """
    from scipy import special  # slow to import

    values = np.asarray(values, float)
    if len(values) < 2:
        return 1.0
    n, mean = len(values), float(np.mean(values))
    spread = max(float(np.std(values, ddof=1)), least_spread)
    # What rounding alone makes of equal values is no spread.
    if spread <= 1e-12 * max(1.0, float(np.abs(values).max())):
        return 0.5 if abs(mean) <= 1e-12 else float(mean < 0)
    return float(special.stdtr(n - 1, -mean / (spread / math.sqrt(n))))


def share_spread(share: float, count: float) -> float:
    """The standard deviation of a share of `count` things, Laplace's rule for the probability."""
    probability = (share * count + 1) / (count + 2)
    return math.sqrt(probability * (1 - probability) / count)


def figure(
    x: str,
    y: str,
    series: Sequence[Mapping[str, Any]],
    log_x: bool = False,
    log_y: bool = False,
) -> dict[str, Any]:
    """What a cell shows; series are made by `points`."""
    return {"x": x, "y": y, "log_x": log_x, "log_y": log_y, "series": list(series)}


def points(
    name: str,
    x: Sequence[float],
    y: Sequence[float],
    low: Sequence[float] | None = None,
    high: Sequence[float] | None = None,
    kind: str = "line",
) -> dict[str, Any]:
    """A series of a `figure`: numbers of five digits, None where there is none."""

    def rounded(values):
        if values is None:
            return None
        return [float(f"{v:.5g}") if math.isfinite(v) else None for v in values]

    return {
        "name": name, "x": rounded(x), "y": rounded(y), "low": rounded(low),
        "high": rounded(high), "kind": kind,
    }  # fmt: skip
