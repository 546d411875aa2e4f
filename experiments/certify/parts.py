"""What a certificate is made of: how much of it would be left without each of its costs.

The same bound is evaluated again with one more cost left out each time, in a fixed order. What
it then falls by is that cost's part; the parts add up to the certificate. In another order they would be
others, as the costs of a bound that is not a sum always are.
"""

import dataclasses
import itertools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

import bounds
from bounds.measures.certified_surrogate import CertifiedSurrogate
from bounds.measures.code import Code
from bounds.measures.disagreement import CodedDisagreement, Surrogate
from bounds.measures.gibbs import Gibbs
from bounds.measures.picks import Picks
from bounds.measures.single_draw import SingleDraw
from experiments.lab import bound_rows, report, whole_programs
from experiments.lab.figures import Canvas
from experiments.lab.measuring import Arrays

COUNTED, CONFIDENCE = "errors counted", "confidence"
TRIED = "settings tried"
SURROGATE = "the surrogate's certificate"
_MANY = 1e12  # so many points or draws leave nothing open
_NOTHING = 1e-9  # what is left open all the same, and rounding


@dataclasses.dataclass(frozen=True)
class _Cost:
    """What may be left out of a group.

    Attributes:
      name: of the part.
      group: its type.
      fields: field -> what it is without.
    """

    name: str
    group: type
    fields: Mapping[str, float]


# In the order in which they are left out.
_COSTS = (
    _Cost("disagreement", Surrogate, {"disagreements": 0, "unlabelled": _MANY}),
    _Cost("disagreement", CodedDisagreement, {"disagreements": 0, "unlabelled": _MANY}),
    _Cost(
        "disagreement", CertifiedSurrogate, {"disagreements": 0, "unlabelled": _MANY}
    ),
    _Cost(SURROGATE, CertifiedSurrogate, {"certificate": 0}),
    _Cost("draws of the weights", Gibbs, {"draws": _MANY}),
    _Cost("KL divergence", Gibbs, {"kl": 0}),
    _Cost("density ratio", SingleDraw, {"log_ratio": 0}),
    _Cost("bits", Code, {"bits": 0}),
    _Cost("picked examples", Picks, {"picked": 0}),
    _Cost("choice of the prior", Gibbs, {"prices": 0}),
    _Cost("choice of the prior", SingleDraw, {"price": 0}),
)
NAMES = tuple(
    dict.fromkeys([COUNTED, CONFIDENCE, TRIED, *(c.name for c in _COSTS[::-1])])
)
# Group -> the share of errors that was counted, where nothing is left out.
_COUNTED: dict[type, Callable[[Any], np.ndarray]] = {
    Gibbs: lambda one: one.errors,
    SingleDraw: lambda one: one.wrong / one.size,
    Code: lambda one: one.errors,
    Picks: lambda one: one.wrong / one.size,
    Surrogate: lambda one: one.wrong / one.labelled,
    CertifiedSurrogate: lambda one: np.zeros_like(one.certificate),
}


def parts(arrays: Arrays, bound: str, delta: float, tried: int = 1) -> dict[str, float]:
    """The parts of a certificate that add up to it, those that are 0 left out.

    Args:
      arrays: what was measured of one network.
      bound: the name of a bound of `certify`'s.
      delta: the failure probability, of all settings that were tried together.
      tried: how many settings share it.

    Returns:
      Name -> part: errors counted, and what each cost adds; {} where the bound is none of these, or
        promises nothing: of several that are all 1 none is the network that it speaks of.
    """
    groups = {
        name: group
        for name, group in bound_rows.groups_of([arrays]).items()
        if name in ("architecture", *bounds.BOUNDS[bound].groups)
    }
    if len(_counted(groups)) != 1:
        return {}
    steps, names = [_only_the_best(groups, bound, delta / tried)], []
    for cost in _COSTS:
        if any(type(group) is cost.group for group in groups.values()):
            names.append(cost.name)
            steps.append({n: _without(group, cost) for n, group in steps[-1].items()})
    shared = _values(steps, bound, delta / tried)
    if shared[0] >= 1:
        return {}
    # All steps once more, by the same program: only the last is wanted.
    alone, errors = _values(steps, bound, delta)[-1], _counted(steps[-1])[0]
    falls = [a - b for a, b in itertools.pairwise([*shared, alone, errors])]
    found = dict(zip([*names, TRIED, CONFIDENCE], falls, strict=True))
    found[COUNTED] = errors
    return {name: found[name] for name in NAMES if abs(found.get(name, 0.0)) > _NOTHING}


def sentence(name: str, found: Mapping[str, float]) -> str:
    """What the certificate of a network is made of, in words."""
    said = " + ".join(f"{report.number(share)} {part}" for part, share in found.items())
    return f"{name}: {report.at_most(sum(found.values()))} = {said}."


# What a colour stands for -> its parts, in their order.
_SHOWN = {
    COUNTED: (COUNTED,),
    CONFIDENCE: (CONFIDENCE,),
    "settings and priors tried": (TRIED, "choice of the prior"),
    "KL, density ratio, bits or picks": (
        "KL divergence", "density ratio", "bits", "picked examples",
    ),
    "draws of the weights": ("draws of the weights",),
    "disagreement": ("disagreement",),
    SURROGATE: (SURROGATE,),
}  # fmt: skip


def _colours(canvas):
    return "#8c8c8c", *canvas.colours[: len(_SHOWN) - 1]


CAPTION = (
    "What each certificate is made of: the errors that were counted, and from left to right what each cost "
    "adds to them (the bound evaluated again without it; in another order they would share otherwise)."
)


def paint(canvas: Canvas, made_of: Mapping[str, Mapping[str, float]]) -> None:
    """A bar a certificate, its parts side by side.

    Args:
      canvas: a `Canvas`.
      made_of: name of a bar -> its `parts`.
    """
    with canvas(1, 1, 7.5, 1.3 + 0.3 * len(made_of)) as grid:
        axes, left = grid[0, 0], np.zeros(len(made_of))
        for (label, names), colour in zip(
            _SHOWN.items(), _colours(canvas), strict=True
        ):
            widths = np.array(
                [sum(found.get(n, 0.0) for n in names) for found in made_of.values()]
            )
            if not widths.any():
                continue
            axes.barh(
                range(len(made_of)), widths, 0.7, left, color=colour, label=label,
                edgecolor="white", linewidth=0.5,
            )  # fmt: skip
            left = left + widths
        for place, total in enumerate(left):
            axes.annotate(
                report.at_most(total), (total, place), (3, 0), textcoords="offset points",
                va="center", fontsize=7,
            )  # fmt: skip
        axes.grid(visible=False, axis="y")
        axes.set_yticks(range(len(made_of)), list(made_of), fontsize=8)
        axes.set_ylim(len(made_of) - 0.4, -0.6)
        axes.set_xlim(0, 1.12 * max(left))
        axes.set_xlabel("fraction of new examples that are errors")
        axes.figure.legend(loc="outside upper center", ncols=3)


def _counted(groups):
    """The share of errors that was counted, the least of several networks'."""
    known = [(g, _COUNTED[type(g)]) for g in groups.values() if type(g) in _COUNTED]
    return [float(np.min(share(group))) for group, share in known]


def _without(group, cost):
    """A group of one run without a cost of it."""
    if type(group) is not cost.group:
        return group
    fields = {}
    for name, without in cost.fields.items():
        value = np.asarray(getattr(group, name), float)
        # What is less than nothing, the logarithm of a density ratio below 1, is no cost.
        is_less = without != _MANY
        fields[name] = (
            np.minimum(value, without) if is_less else np.full_like(value, _MANY)
        )
    return group.replace(**fields)


def _values(steps, bound, delta):
    """The bound on each of several measurements."""
    together = jax.tree.map(lambda *leaves: np.concatenate(leaves), *steps)
    found = bounds.evaluate(
        together, [bound], delta=delta, margin=1.0, call=whole_programs.call
    )
    return [float(value) for value in found[bound].value]


def _only_the_best(groups, bound, delta):
    """Measurements in which all networks but the one that the bound speaks of err on everything."""
    for name, group in groups.items():
        if isinstance(group, Code | Gibbs) and (count := group.errors.shape[1]) > 1:
            each = [
                groups
                | {name: group.replace(errors=np.where(is_own, group.errors, 1.0))}
                for is_own in np.eye(count, dtype=bool)
            ]
            return each[int(np.argmin(_values(each, bound, delta)))]
    return groups
