"""How fast a bound moves along a setting, beside how fast the error moves.

A line is networks that differ in one setting, the axis, and in their seeds. Along it a bound's
logarithm has a slope b, the logarithm of the error a slope e, each a least-squares fit a seed.
Over the whole axis, of length X, the bound drifts from the error by the factor
exp(|b - e| X).

  score = exp(-|b - e| X) of the line where this is least: 1 if the bound moves exactly as the
  error does, 1/10 if its ratio to the error changes tenfold along the axis.

  verdict: where the error moves, by a quarter or more along the axis, a line is passed if b / e is
  between 1/2 and 2, and failed if not; where it does not move, passed if exp(|b - e| X) is below
  2, and failed if above; where the 95% interval of the error's change leaves both possible, both
  must hold. Each is a t-test over seeds. The bound passes if it passes every line
  (intersection-union; a line on which it is not available or not finite cannot be passed), and
  fails if it fails one (Bonferroni's correction for the number of lines).
"""

import dataclasses
import math
from collections.abc import Callable, Sequence

import numpy as np

from experiments.lab.report import number
from experiments.lab.statistics import slope, t_interval
from experiments.report_card import suite
from experiments.report_card.claims import Claims, Networks
from experiments.report_card.trials import trial

FORMULA = (__doc__ or "").partition("\n\n")[2].strip()
LEAST_VALUES = 2  # of an axis
MOVES = math.log(1.25)  # an error that changes less stands still
SHARE = 0.5  # of the error's growth that a bound must show, and 1 / SHARE at most
DRIFT = math.log(2.0)  # that a bound may show where the error stands still


@dataclasses.dataclass(frozen=True)
class Axis:
    """A setting that networks differ in.

    Attributes:
      name: of its column.
      title: in words.
      place: value -> number on the axis.
      is_log: whether this is a logarithm.
    """

    name: str
    title: str
    place: Callable[[np.ndarray], np.ndarray] = np.log
    is_log: bool = True


@dataclasses.dataclass(frozen=True)
class Line:
    """Networks that differ in one setting, and in their seeds.

    Attributes:
      name: what they have in common that is not as in the base.
      rows: places of the networks, `[n]`.
    """

    name: str
    rows: np.ndarray


def lines(networks: Networks, axis: str) -> list[Line]:
    """The lines along an axis with the most values; of each source of networks its own.

    Of one group of networks that agree in all else, those that reached their margin.
    """
    return networks.once(("lines", axis), lambda of: _lines(of, axis))


def _lines(networks, axis):
    others = [n for n in ("m", *suite.AXES) if n != axis]
    groups: dict[tuple, list[int]] = {}
    for row in np.flatnonzero(networks.usable):
        key = (networks["source"][row], *(networks[name][row] for name in others))
        groups.setdefault(key, []).append(int(row))
    lengths = {k: len(set(networks[axis][rows])) for k, rows in groups.items()}
    found = []
    for key, rows in groups.items():
        longest = max(n for k, n in lengths.items() if k[0] == key[0])
        # A value at which no network reached its margin does not cost the line.
        if lengths[key] >= max(LEAST_VALUES, longest - (longest > 4)):
            recipe = dict(zip(others, key[1:], strict=True))
            found.append(Line(_named(key[0], recipe), np.array(rows)))
    return found


def trial_of(module: str, question: str | None, title: str, *axes: Axis) -> trial.Trial:
    """The trial of how bounds move along some axes; arguments as of `Trial.of_module`."""

    def on_lines(networks: Networks) -> np.ndarray:
        found = np.zeros(len(networks), bool)
        for axis in axes:
            for line in lines(networks, axis.name):
                found[line.rows] = True
        return found

    def judged(claims: Claims, networks: Networks) -> trial.Finding:
        return judge(claims, networks, axes, title)

    about = f"{question}\n\n{FORMULA}"
    return trial.Trial.of_module(module, about, title, on_lines, judged)


def _named(source, recipe):
    parts = [source] if source else []
    if "m" in recipe:
        parts.append(f"m={recipe['m']}")
    for name, value in recipe.items():
        if name != "m" and value != suite.BASE[name]:
            parts.append(f"{name}={value:g}" if isinstance(value, float) else f"{name}={value}")  # fmt: skip
    return ", ".join(parts) or "base"


def log_error(risk: np.ndarray, size: np.ndarray) -> np.ndarray:
    """ln of error rates on `size` examples; half the smallest error stands for none."""
    return np.log(np.maximum(risk, 0.5 / size))


@dataclasses.dataclass(frozen=True)
class Along:
    """How a bound and the error move along one line.

    Attributes:
      line: the line.
      bound: slopes b, one a seed.
      error: slopes e, one a seed.
      length: X.
      x: the axis values, `[k]`.
      log_bound: mean over seeds at these, `[k]`.
      log_risk: likewise.
    """

    line: Line
    bound: np.ndarray
    error: np.ndarray
    length: float
    x: np.ndarray
    log_bound: np.ndarray
    log_risk: np.ndarray

    @property
    def drift(self) -> np.ndarray:
        """(b - e) X, one a seed."""
        return (self.bound - self.error) * self.length

    @property
    def score(self) -> float:
        """exp(-|b - e| X)."""
        return math.exp(-abs(float(np.mean(self.drift))))

    @property
    def interval(self) -> tuple[float | None, float | None]:
        """Of the score."""
        low, high = t_interval(self.drift)
        if low is None or high is None:
            return None, None
        nearest = 0.0 if low <= 0 <= high else min(abs(low), abs(high))
        return math.exp(-max(abs(low), abs(high))), math.exp(-nearest)

    @property
    def error_change(self) -> tuple[float, float]:
        """The 95% interval of how much the error's logarithm changes along the axis."""
        low, high = t_interval(self.error)
        if low is None or high is None:
            return 0.0, math.inf
        nearest = 0.0 if low <= 0 <= high else min(abs(low), abs(high))
        return nearest * self.length, max(abs(low), abs(high)) * self.length

    def tests(self) -> tuple[float, float]:
        """p-values of the hypotheses that it does not pass, and that it does not fail."""
        low, high = self.error_change
        found = []
        if high >= MOVES:
            found.append(self._tests_of_pace())
        if low < MOVES:
            found.append(self._tests_of_rest())
        return max(p for p, _ in found), max(p for _, p in found)

    def _tests_of_pace(self):
        """Where the error moves: is b / e between 1/2 and 2?"""
        sign = math.copysign(1.0, float(np.mean(self.error)))
        slow = sign * (self.bound - SHARE * self.error)
        fast = sign * (self.error / SHARE - self.bound)
        passing = max(trial.t_test(slow), trial.t_test(fast))
        return passing, min(1.0, 2 * min(trial.t_test(-slow), trial.t_test(-fast)))

    def _tests_of_rest(self):
        """Where it stands still: does the bound, too?"""
        within = max(trial.t_test(DRIFT - self.drift), trial.t_test(DRIFT + self.drift))
        beyond = min(
            trial.t_test(self.drift - DRIFT), trial.t_test(-self.drift - DRIFT)
        )
        return within, min(1.0, 2 * beyond)


def along(claims: Claims, networks: Networks, line: Line, axis: Axis) -> Along | None:
    """A bound along one line, or None where it says too little of it.

    Seeds that lack a value at some place of the axis where others have one are left out, and those with
    an error of 0: what stands for its logarithm tells no growth.
    """
    rows = line.rows[claims.known[line.rows] & np.isfinite(claims.quantity[line.rows])]
    if not len(rows):
        return None
    values = np.unique(networks[axis.name][rows])
    if len(values) < max(LEAST_VALUES, len(set(networks[axis.name][line.rows]))):
        return None
    log_risk = log_error(claims.risk, networks["test_size"])
    bound, error, at_bound, at_risk = [], [], [], []
    for seed in np.unique(networks["seed"][rows]):
        own = rows[networks["seed"][rows] == seed]
        if len(np.unique(networks[axis.name][own])) < len(values):
            continue
        if not (claims.risk[own] > 0).all():
            continue
        x = axis.place(networks[axis.name][own].astype(float))
        bound.append(slope(list(x), claims.quantity[own]))
        error.append(slope(list(x), log_risk[own]))
        order = np.argsort(networks[axis.name][own], kind="stable")
        at_bound.append(claims.quantity[own][order])
        at_risk.append(log_risk[own][order])
    if len(bound) < trial.LEAST_SEEDS:
        return None
    placed = axis.place(values.astype(float))
    return Along(
        line, np.array(bound), np.array(error), float(placed.max() - placed.min()),
        values.astype(float), np.mean(at_bound, axis=0), np.mean(at_risk, axis=0),
    )  # fmt: skip


def judge(
    claims: Claims, networks: Networks, axes: Sequence[Axis], looked_at: str
) -> trial.Finding:
    """A bound along every line of some axes.

    Args:
      claims: what the bound says.
      networks: of whom.
      axes: the settings that are varied.
      looked_at: what the lines are along, in words.
    """
    if claims.ordinal:
        return trial.ONLY_AN_ORDER
    every = [(axis, line) for axis in axes for line in lines(networks, axis.name)]
    if not every:
        return trial.undecided(f"No networks differ in {looked_at} alone.")
    found = [(axis, along(claims, networks, line, axis)) for axis, line in every]
    known = [(axis, one) for axis, one in found if one is not None]
    if not known:
        rows = np.concatenate([line.rows for _, line in every])
        if not claims.known[rows].any():
            return trial.not_available(claims)
        return trial.undecided(
            f"Fewer than {trial.LEAST_SEEDS} seeds with a finite value at every {looked_at}."
        )
    passing = max(one.tests()[0] for _, one in known)
    lost = [
        line.name for axis, line in every if not any(o.line is line for _, o in known)
    ]
    if lost:
        passing = 1.0
    failing = min(1.0, len(known) * min(one.tests()[1] for _, one in known))
    axis, worst = min(known, key=lambda pair: pair[1].score)
    low, high = worst.interval
    return trial.Finding(
        worst.score, _sentence(axis, worst, len(known)) + _without(lost), low, high, passing, failing,
        numbers={_label(axis, one, len(axes)): _text(one) for axis, one in known},
        figure=_figure(claims, axis, worst),
    )  # fmt: skip


def _without(lost):
    """On which lines nothing can be said."""
    if not lost:
        return ""
    return f" Not available, or not finite for enough seeds: {'; '.join(lost)}."


def _label(axis, one, axes):
    return f"{axis.title}: {one.line.name}" if axes > 1 else one.line.name


def _grows(axis, slopes):
    mean = float(np.mean(slopes))
    low, high = t_interval(slopes)
    if axis.is_log:
        return f"{axis.title}^{mean:+.2f} [{low:+.2f}, {high:+.2f}]"
    return f"exp({mean:+.2f} {axis.title}) [{low:+.2f}, {high:+.2f}]"


def _sentence(axis, one, count):
    where = f" (the worst of {count} lines: {one.line.name})" if count > 1 else ""
    return (
        f"It grows as {_grows(axis, one.bound)}, the error as {_grows(axis, one.error)}"
        f"{where}: their ratio changes by a factor of {number(1 / max(one.score, 1e-300))}."
    )


def _text(one):
    return (
        f"bound {np.mean(one.bound):+.3f}, error {np.mean(one.error):+.3f}, score "
        f"{one.score:.2f}"
    )


def _figure(claims, axis, one):
    tens = math.log(10)
    return trial.figure(
        axis.title, "log10", [
            trial.points(claims.name, one.x, one.log_bound / tens),
            trial.points("error", one.x, one.log_risk / tens),
        ], log_x=axis.is_log,
    )  # fmt: skip
