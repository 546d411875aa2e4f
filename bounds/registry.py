"""Everything there is to evaluate and to measure: what the families and measures declare.

To add a bound: a function and an entry in the `BOUNDS` of its family, and an oracle test.
"""

import importlib
import pkgutil
import re
from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp

from bounds import families, measures
from bounds.network import Measure
from bounds.spec import SPEAKS_OF, STATUSES, BoundSpec, BoundValue, Convention

BOUNDS: dict[str, BoundSpec] = {}
# Group -> how it is measured.
MEASURES: dict[str, Measure] = {}
# Group -> its type.
GROUPS: dict[str, type] = {}
# What `--bounds` understands besides names.
_TAKEN = ("all", *SPEAKS_OF, *(status.replace(" ", "_") for status in STATUSES))


def _refuse_names(bounds, groups):
    """Raises a ValueError for a name that is no name, or means two things."""
    also = [a for spec in (*BOUNDS.values(), *bounds.values()) for a in spec.also]
    for name in (*bounds, *groups):
        if not re.fullmatch(r"\w+", str(name)):
            raise ValueError(f"{name!r}: a name is letters, digits and _ only")
    for name in bounds:
        if name in (*BOUNDS, *also, *_TAKEN):
            raise ValueError(f"the name {name} is taken; give it another")
    for other in dict.fromkeys(also):
        if also.count(other) > 1 or other in (*BOUNDS, *bounds, *_TAKEN):
            raise ValueError(f"the name {other} is another bound's, too; leave one out")
    for name in groups:
        if name in GROUPS or list(groups).count(name) > 1:
            raise ValueError(f"the group {name} is taken; give it another name")


def _enter(bounds, new):
    groups = {name: kind for measure in new for name, kind in measure.groups.items()}
    _refuse_names(bounds, [n for measure in new for n in measure.groups])
    for name, spec in bounds.items():
        unknown = [g for g in spec.groups if g not in GROUPS and g not in groups]
        if unknown:
            raise ValueError(
                f"{name} asks for {unknown[0]}, which is not measured; there are "
                f"{', '.join(GROUPS)}"
            )
    BOUNDS.update(bounds)
    GROUPS.update(groups)
    MEASURES.update({name: measure for measure in new for name in measure.groups})


def add(bounds: Mapping[str, BoundSpec], new: Sequence[Measure] = ()) -> None:
    """Enters bounds, and what they measure, beside those that there are: all or none.

    Each bound is traced on a network made up for it, so that what is wrong with it shows
    before anything is trained.

    Args:
      bounds: name -> `BoundSpec`.
      new: how groups that they ask for are measured.

    Raises:
      ValueError: in one line, for an entry of another type, a name that is taken, a group that
        is not measured, an error of its own (the cause), or no `BoundValue` of scalars.
    """
    for name, spec in bounds.items():
        if not isinstance(spec, BoundSpec):
            raise ValueError(f"{name} is no bounds.BoundSpec")
    if not all(isinstance(measure, Measure) for measure in new):
        raise ValueError("MEASURES must be several of bounds.Measure")
    _enter(bounds, new)
    try:
        for name, spec in bounds.items():
            _trace(name, spec)
    except ValueError:
        remove(bounds, new)
        raise


def remove(bounds: Mapping[str, BoundSpec], old: Sequence[Measure] = ()) -> None:
    """The inverse of `add`."""
    for name in bounds:
        del BOUNDS[name]
    for name in [n for measure in old for n in measure.groups]:
        del GROUPS[name], MEASURES[name]


def _trace(name, spec):
    from bounds.made_up import NotHad, groups_for, network

    options = {"margin": 1.0, "delta": 0.05, "convention": Convention()}

    def trial(one, margin, delta):
        given = options | {"margin": margin, "delta": delta}
        found = spec.fn(
            *groups_for(one, spec.groups), **{k: given[k] for k in spec.keywords}
        )
        if not isinstance(found, BoundValue):
            raise TypeError(f"returned {type(found).__name__}, not a bounds.BoundValue")
        return found

    try:
        found = jax.eval_shape(trial, network(spec.weight_matrices or 2), 1.0, 0.05)
    except NotHad:  # of that network; of another it may be
        return
    except jax.errors.ConcretizationTypeError as error:
        raise ValueError(
            f"{name}: decides by a number that is traced (if, and, bool, float); use jnp.where"
        ) from error
    except Exception as error:
        line = str(error).strip().splitlines() or [type(error).__name__]
        raise ValueError(f"{name}: {line[0]}") from error
    for field in ("value", "empirical", "excess", "log_complexity"):
        shape = jnp.shape(getattr(found, field))
        if shape:
            raise ValueError(
                f"{name}: its {field} has shape {list(shape)}; a number is needed"
            )


def _modules(package):
    for found in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        yield importlib.import_module(found.name)


for _module in (*_modules(measures), *_modules(families)):
    _enter(getattr(_module, "BOUNDS", {}), getattr(_module, "MEASURES", ()))
