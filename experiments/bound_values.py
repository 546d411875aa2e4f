"""From what was measured to the rows of bounds.csv: every bound of every run, or why not."""

import math

import jax
import numpy as np

import bounds
import bounds.measuring
from bounds.evaluate import asks_for
from experiments.refusals import Refusal

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
OWN = "own"  # the rule of a bound that takes no margin: it optimises it, or has none


def takes_margin(name):
    """Whether a bound is evaluated at a margin that it is given."""
    return "margin" in asks_for(bounds.BOUNDS[name])[1]


def flatten_groups(groups):
    """name -> group as a flat dict of arrays `<group>/<field>`; margins without padding."""
    arrays = {
        f"{name}/{field}": np.asarray(getattr(group, field))
        for name, group in groups.items()
        for field in group.__dataclass_fields__
    }
    return {
        name: value[: int(arrays[name.replace("sorted", "size")])]
        if name.endswith("/sorted")
        else value
        for name, value in arrays.items()
    }


def groups_of(measured):
    """The groups of runs that were measured, stacked along a run axis.

    Args:
      measured: a list of flat dicts of arrays `<group>/<field>`, R of them.

    Returns:
      name -> group of arrays with a leading axis R; margins padded with +inf. A group that
      some run lacks is left out.
    """
    found = {}
    for name, kind in bounds.measuring.GROUPS.items():
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


def rows(config, measured, rules, broken, missing):
    """What each bound says of each run.

    Args:
      config: `experiments.catalogue.BoundSettings`, its bounds resolved.
      measured: as for `groups_of`; networks of one architecture.
      rules: margin rule -> margins `[R]`.
      broken: per run, why no bound speaks of it, or None.
      missing: group -> why it could not be measured.

    Returns:
      A list of R lists of rows.

    Raises:
      Refusal: a certified bound says what no bound can.
    """
    groups, options = groups_of(measured), {
        "delta": config.delta, "convention": config.convention, "missing": missing
    }  # fmt: skip
    runs = len(measured)
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
        usable = np.where(np.asarray(margin) > 0, margin, 1.0)
        found[rule] = evaluate(with_margin, usable)

    def row(run, name, rule):
        margin = None if rule == OWN else float(rules[rule][run])
        value, reason = found[rule][name], None
        if isinstance(value, str):
            reason = value
        elif broken[run]:
            reason = broken[run]
        elif margin is not None and not margin > 0:
            reason = "the margin is not positive"
        head = dict.fromkeys(COLUMNS) | {"bound": name, "margin_rule": rule}
        head["margin"] = margin
        if reason:
            return head | {"status": f"not available: {reason}"}
        one = jax.tree.map(lambda leaf: float(leaf[run]), value)
        if math.isnan(one.value):
            return head | {"status": "not available: its value is not a number"}
        return head | {
            "empirical": one.empirical,
            "excess": one.excess,
            "value": one.value,
            "log_complexity": one.log_complexity,
            "risk": one.risk,
            "status": bounds.BOUNDS[name].status,
        }

    return [
        [
            row(run, name, rule)
            for name in config.bounds
            for rule in (rules if name in with_margin else (OWN,))
        ]
        for run in range(runs)
    ]
