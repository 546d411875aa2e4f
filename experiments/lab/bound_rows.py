"""From what was measured to the rows of bounds.csv: every bound of every run, or why not."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

import bounds
from experiments.lab.bound_settings import BoundSettings
from experiments.lab.measuring import Arrays, missing_of
from experiments.lab.refusals import Refusal

COLUMNS = (
    "bound",
    "margin_rule",
    "margin",
    "empirical",
    "excess",
    "value",
    "log_complexity",
    "risk",
    "status",
)
NOT_AVAILABLE = "not available: "
OWN = "own"  # the rule of a bound that takes no margin: it optimises it, or has none


def takes_margin(name: str) -> bool:
    """Whether a bound is evaluated at a margin that it is given."""
    return "margin" in bounds.BOUNDS[name].keywords


def groups_of(measured: Sequence[Arrays]) -> dict[str, Any]:
    """The groups of runs that were measured, stacked along a run axis.

    Args:
      measured: a list of flat dicts of arrays `<group>/<field>`, R of them.

    Returns:
      name -> group of arrays with a leading axis R; margins padded with +inf. A group that
      some run lacks is left out.
    """
    found = {}
    for name, kind in bounds.GROUPS.items():
        names = [f"{name}/{field}" for field in kind.__dataclass_fields__]
        if all(n in arrays for arrays in measured for n in names):
            columns = [[arrays[n] for arrays in measured] for n in names]
            found[name] = kind(*(_stack_padded(column) for column in columns))
    return found


def _stack_padded(arrays):
    if arrays[0].ndim == 0 or len({a.shape for a in arrays}) == 1:
        return np.stack(arrays)
    longest = max(len(a) for a in arrays)
    return np.stack(
        [np.pad(a, (0, longest - len(a)), constant_values=np.inf) for a in arrays]
    )


def _is_finite(arrays):
    return all(
        np.isfinite(value).all()
        for n, value in arrays.items()
        if n.endswith("/frobenius")
    )


def rows(
    config: BoundSettings,
    measured: Sequence[Arrays],
    rules: Mapping[str, np.ndarray],
    broken: Sequence[str | None],
    delta: float | None = None,
) -> list[list[dict[str, Any]]]:
    """What each bound says of each subject.

    Subjects that have measured the same groups of the same shapes are evaluated together.

    Args:
      config: its bounds resolved.
      measured: flat dicts of arrays, R of them.
      rules: margin rule -> margins `[R]`.
      broken: per subject, why no bound speaks of it, or None.
      delta: failure probability; that of `config` if not given.

    Returns:
      A list of R lists of rows.

    Raises:
      Refusal: a certified bound says what no bound can.
    """
    alike: dict[Any, list[int]] = {}
    for place, arrays in enumerate(measured):
        alike.setdefault(_likeness(arrays), []).append(place)
    found: dict[int, list[dict[str, Any]]] = {}
    for places in alike.values():
        some = _rows_of_alike(
            config,
            [measured[p] for p in places],
            {rule: np.asarray(margins)[places] for rule, margins in rules.items()},
            [broken[p] for p in places],
            config.delta if delta is None else delta,
        )
        found |= dict(zip(places, some, strict=True))
    return [found[place] for place in range(len(measured))]


def _likeness(arrays):
    """What networks have in common that are evaluated in one program."""
    layers = arrays["architecture/parameters"].shape[0]
    kinds = [int(arrays[f"architecture/{n}"]) for n in ("convolutions", "biases")]
    return layers, *kinds, tuple(sorted(missing_of(arrays).items()))


def _rows_of_alike(config, measured, rules, broken, delta):
    groups = groups_of(measured)
    options = {
        "delta": delta, "convention": config.convention, "missing": missing_of(measured[0]),
    }  # fmt: skip
    broken = [
        why or (None if _is_finite(arrays) else "the weights are not finite")
        for why, arrays in zip(broken, measured, strict=True)
    ]

    def evaluate(names, margin):
        try:
            return bounds.evaluate(groups, names, margin=margin, **options)
        except bounds.ImpossibleCertificate as error:
            raise Refusal(
                f"--bounds: {error}; leave it out (--redraw --bounds=...)"
            ) from error

    with_margin = [name for name in config.bounds if takes_margin(name)]
    without = [name for name in config.bounds if name not in with_margin]
    found = {OWN: evaluate(without, 1.0)}
    for rule, margin in rules.items():
        found[rule] = evaluate(with_margin, np.where(margin > 0, margin, 1.0))

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
        risk = None if one.risk is None or math.isnan(one.risk) else one.risk
        return head | {
            "empirical": one.empirical,
            "excess": one.excess,
            "value": one.value,
            "log_complexity": one.log_complexity,
            "risk": risk,
            "status": bounds.BOUNDS[name].status,
        }

    return [
        [
            row(run, name, rule)
            for name in config.bounds
            for rule in (rules if name in with_margin else (OWN,))
        ]
        for run in range(len(measured))
    ]
