"""From what was measured to the rows of bounds.csv: every bound of every run, or why not."""

import array
import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

import bounds
from bounds.evaluate import AT_ONCE
from bounds.measures import independence
from experiments.lab import parts, whole_programs
from experiments.lab.bound_settings import BoundSettings
from experiments.lab.compact_rows import Chosen, CompactRows
from experiments.lab.measuring import Arrays, Subject, missing_of
from experiments.lab.refusals import Refusal
from experiments.lab.refuting import Refuting

COLUMNS = (
    "bound",
    "margin_rule",
    "margin",
    "empirical",
    "excess",
    "value",
    "log_complexity",
    "risk",
    "examples",
    "draws",
    "standard_error",
    "steps",
    "is_at_least",
    "status",
)
NOT_AVAILABLE = "not available: "
# Before what speaks against it.
DECLARED = ", if the initial weights are independent of the data, as declared; but "
OWN = "own"  # the rule of a bound that takes no margin: it optimises it, or has none


def takes_margin(name: str) -> bool:
    """Whether a bound is evaluated at a margin that it is given."""
    return "margin" in bounds.BOUNDS[name].keywords


def groups_of(
    measured: Sequence[Arrays], longest: Mapping[str, int] | None = None
) -> dict[str, Any]:
    """The groups of runs that were measured, stacked along a run axis.

    Args:
      measured: a list of flat dicts of arrays `<group>/<field>`, R of them.
      longest: name -> the length to which arrays of one axis are padded; that of the longest here
        if not given.

    Returns:
      name -> group of arrays with a leading axis R; margins padded with +inf. A group that
      some run lacks is left out.
    """
    found, longest = {}, longest or {}
    for name, kind in bounds.GROUPS.items():
        names = [f"{name}/{field}" for field in kind.__dataclass_fields__]
        if all(n in arrays for arrays in measured for n in names):
            columns = [
                _stack_padded([arrays[n] for arrays in measured], longest.get(n, 0))
                for n in names
            ]
            found[name] = kind(*columns)
    return found


def _stack_padded(arrays, least):
    if arrays[0].ndim != 1:
        return np.stack(arrays)
    longest = max(least, *(len(a) for a in arrays))
    return np.stack(
        [
            np.pad(a, (0, longest - len(a)), constant_values=np.inf)
            if len(a) < longest
            else a
            for a in arrays
        ]
    )


def _is_finite(arrays):
    return all(
        np.isfinite(value).all()
        for n, value in arrays.items()
        if n.endswith("/frobenius")
    )


@dataclasses.dataclass
class _Alike:
    """Subjects that one program evaluates.

    Attributes:
      places: theirs.
      longest: name of an array of one axis -> its length in the subject where it is longest.
    """

    places: list[int] = dataclasses.field(default_factory=list)
    longest: dict[str, int] = dataclasses.field(default_factory=dict)


class Survey:
    """Which subjects can be evaluated together: what one pass over measurements tells of that.

    Attributes:
      alike: what subjects have in common -> the `_Alike` of them.
    """

    def __init__(self) -> None:
        self.alike: dict[Any, _Alike] = {}
        self._count = 0

    def add(self, arrays: Arrays) -> None:
        """Takes in the next subject."""
        same = self.alike.setdefault(_likeness(arrays), _Alike())
        same.places.append(self._count)
        self._count += 1
        for name, value in arrays.items():
            if value.ndim == 1:
                same.longest[name] = max(same.longest.get(name, 0), len(value))


def rows(
    config: BoundSettings,
    identities: Sequence[Mapping[str, Any]],
    measured: Sequence[Arrays],
    surveyed: Survey,
    rules: Mapping[str, np.ndarray],
    broken: Sequence[str | None],
    delta: float | None = None,
) -> Sequence[Mapping[str, Any]]:
    """What each bound says of each subject, subject by subject.

    Subjects that have measured the same groups are evaluated together, `AT_ONCE` of them by one
    program: the measurements of no more are held.

    Args:
      config: its bounds resolved.
      identities: cells that name a subject, R of them: each of its rows begins with these.
      measured: flat dicts of arrays, R of them.
      surveyed: a `Survey` of them.
      rules: margin rule -> margins `[R]`.
      broken: per subject, why no bound speaks of it, or None.
      delta: failure probability; that of `config` if not given.

    Returns:
      The rows (`compact_rows`).

    Raises:
      Refusal: a certified bound says what no bound can.
    """
    delta = config.delta if delta is None else delta
    found, subjects, refuting = CompactRows(), array.array("q"), Refuting()
    for same in surveyed.alike.values():
        for first in range(0, len(same.places), AT_ONCE):
            places = same.places[first : first + AT_ONCE]
            some = [measured[place] for place in places]
            said = _rows_of_alike(
                config,
                some,
                {rule: np.asarray(margins)[places] for rule, margins in rules.items()},
                [broken[place] for place in places],
                delta,
                same.longest,
                AT_ONCE if len(same.places) > AT_ONCE else len(same.places),
            )
            for place, arrays, own in zip(places, some, said, strict=True):
                _doubt(own, arrays, getattr(config, "init_is_independent", False))
                refuting.compare(len(found), own, arrays)
                found.extend({**identities[place], **row} for row in own)
                subjects.extend([place] * len(own))
    for place, status in refuting.statuses(delta):
        found.replace(place, "status", status)
    return Chosen(found, np.argsort(np.asarray(subjects), kind="stable"))


def foreseen(
    config: BoundSettings, subjects: Sequence[Subject], longest: int = 0
) -> tuple[Subject, ...]:
    """Subjects whose `rows` are compiled for beside what measures them, if they are of one kind.

    Args:
      config: its bounds resolved.
      subjects: all that there will be rows of.
      longest: the most examples that one of them was trained on.
    """
    if len({subject.kind for subject in subjects}) != 1 or not subjects[0].is_program:
        return tuple(subjects)
    compile_beforehand = functools.partial(
        _compile_beforehand, config, count=len(subjects), longest=longest
    )
    return tuple(
        dataclasses.replace(subject, compile_beforehand=compile_beforehand)
        for subject in subjects
    )


def _compile_beforehand(config, arrays, count, longest):
    """Compiles what `rows` will run.

    Args:
      config: its bounds resolved.
      arrays: as subjects will have them, made up but for the architecture.
      count: of subjects.
      longest: as of `foreseen`.
    """
    count = min(count, AT_ONCE)
    groups = groups_of([arrays] * count, {"margins/sorted": longest})
    _evaluated(
        config, groups, {"any": np.ones(count)}, config.delta, missing_of(arrays),
        whole_programs.compile_for_call,
    )  # fmt: skip


def _doubt(own, arrays, declared):
    """Withdraws, or marks, what rests on initial weights that seem to have seen the data."""
    one = independence.of_arrays(arrays)
    reason = "" if one is None else independence.doubt(one)
    if not reason:
        return
    for row in own:
        name = row["bound"]
        rests = independence.rests_on_init(bounds.BOUNDS[name], bounds.requires([name]))
        if not rests or row.get("value") is None:
            continue
        if declared:
            row["status"] += f"{DECLARED}{reason}"
            continue
        for column in ("empirical", "excess", "value", "log_complexity", "risk"):
            row.pop(column, None)
        row["status"] = (
            f"{NOT_AVAILABLE}{reason}; if they were chosen without the data, say "
            "--init_is_independent"
        )


def _likeness(arrays):
    """What networks have in common that are evaluated in one program."""
    layers = arrays["architecture/parameters"].shape[0]
    kinds = [int(arrays[f"architecture/{n}"]) for n in ("convolutions", "biases")]
    # What one of them lacks none of them would have.
    there = frozenset(n for n in arrays if n.partition("/")[0] in bounds.GROUPS)
    shapes = tuple(sorted((n, arrays[n].shape) for n in there if arrays[n].ndim > 1))
    return layers, *kinds, there, shapes, tuple(sorted(missing_of(arrays).items()))


def _evaluated(config, groups, rules, delta, missing, call):
    """margin rule -> name -> what a bound says of runs, of those that take no margin by the rule `OWN`."""

    def evaluate(names, margin):
        try:
            return bounds.evaluate(
                groups, names, margin=margin, delta=delta,
                convention=config.convention, missing=missing, call=call,
            )  # fmt: skip
        except bounds.ImpossibleCertificate as error:
            raise Refusal(
                f"--bounds: {error}; leave it out (--redraw --bounds=...)"
            ) from error

    with_margin = [name for name in config.bounds if takes_margin(name)]
    without = [name for name in config.bounds if not takes_margin(name)]
    found = {OWN: evaluate(without, 1.0)}
    for rule, margin in rules.items():
        found[rule] = evaluate(with_margin, np.where(margin > 0, margin, 1.0))
    return found


def _rows_of_alike(config, measured, rules, broken, delta, longest, at_once):
    """Rows of each of `measured`; the last is repeated to `at_once`, for one program's sake."""
    padding = at_once - len(measured)
    groups = groups_of([*measured, *[measured[-1]] * padding], longest)
    rules = {rule: np.pad(m, (0, padding), "edge") for rule, m in rules.items()}
    broken = [
        why or (None if _is_finite(arrays) else "the weights are not finite")
        for why, arrays in zip(broken, measured, strict=True)
    ]

    found = _evaluated(
        config, groups, rules, delta, missing_of(measured[0]), whole_programs.call
    )

    def row(run, name, rule):
        margin = None if rule == OWN else float(rules[rule][run])
        value, reason = found[rule][name], broken[run]
        if isinstance(value, str):
            reason = value
        elif margin is not None and not margin > 0:
            reason = reason or "the margin is not positive"
        head = {"bound": name, "margin_rule": rule, "margin": margin}
        if reason:
            return head | {"status": f"{NOT_AVAILABLE}{reason}"}
        one = jax.tree.map(lambda leaf: float(leaf[run]), value)
        undefined = bounds.BOUNDS[name].undefined
        if undefined and math.isnan(one.value):
            return head | {"status": f"{NOT_AVAILABLE}{undefined}"}
        risk = None if one.risk is None or math.isnan(one.risk) else one.risk
        basis = {} if one.estimate is None else dataclasses.asdict(one.estimate)
        fewer = parts.fewest(measured[run], bounds.BOUNDS[name].groups)
        if fewer is not None:
            basis["examples"] = min(fewer, basis.get("examples", math.inf))
        return head | {
            "empirical": one.empirical,
            "excess": one.excess,
            "value": one.value,
            "log_complexity": one.log_complexity,
            "risk": risk,
            **{n: v for n, v in basis.items() if not math.isnan(v)},
            "status": bounds.BOUNDS[name].status,
        }

    return [
        [
            row(run, name, rule)
            for name in config.bounds
            for rule in (rules if takes_margin(name) else (OWN,))
        ]
        for run in range(len(measured))
    ]
