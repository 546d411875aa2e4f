"""From networks to bounds: what is needed is read off the signatures, and measured once."""

import functools
import inspect

import jax
import jax.numpy as jnp
import numpy as np

from bounds import measuring, registry
from bounds.measuring import layers
from bounds.measuring.network import Unavailable
from bounds.types import CERTIFIED, Convention


def asks_for(spec):
    """(groups, keywords) that a bound asks for; groups by the names they are measured as."""
    parameters = inspect.signature(spec.fn).parameters.values()
    groups = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    keywords = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]
    return [spec.bind.get(g, g) for g in groups], keywords


def needs(names, bounds=registry.BOUNDS):
    """The groups that the bounds `names` ask for, each once.

    The first is `architecture`: it says whether they speak of the network at all.
    """
    groups = [g for name in names for g in asks_for(bounds[name])[0]]
    return list(dict.fromkeys(["architecture", *groups]))


def measure(network, groups):
    """Measures groups on ONE network; pure, to be jitted and mapped over runs.

    Norms are as wide as the default float: call it under `jax.enable_x64(True)` for
    float64, which the certified enclosures deserve.

    Args:
      network: a `Network`.
      groups: names in `measuring.GROUPS`.

    Returns:
      `(measured, missing)`: name -> group, and name -> why it cannot be had.
    """
    measured_as = {name: layers.measured_as(network, name) for name in groups}
    measured, missing, maps = {}, {}, {}
    once = functools.cache(lambda function: function(network))
    for name in dict.fromkeys(measured_as.values()):
        try:
            if name in layers.NORMS:
                maps[name] = layers.maps(network, name)
            else:
                found = once(measuring.MEASURES[name])
                found = found[name] if isinstance(found, dict) else found
                if isinstance(found, Unavailable):
                    raise found
                measured[name] = found
        except Unavailable as reason:
            missing[name] = str(reason)
    measured |= layers.norms(maps)
    return tuple(
        {name: found[one] for name, one in measured_as.items() if one in found}
        for found in (measured, missing)
    )


@functools.partial(jax.jit, static_argnames="calls")
def _map_over_runs(calls, groups, margin, delta):
    """name -> `BoundValue` of all `calls` (name, fn, groups, keywords), in one program."""

    def of_one_run(groups, margin):
        found, given = {}, {"margin": margin, "delta": delta}
        for name, fn, needed, keywords in calls:
            options = dict(keywords)
            options |= {k: v for k, v in given.items() if k in options}
            found[name] = fn(*(groups[g] for g in needed), **options)
        return found

    return jax.vmap(of_one_run)(groups, margin)


def _reason(spec, groups, measured, missing):
    """Why a bound cannot be had of measured groups, or ''."""
    if "architecture" in measured:
        one = measured["architecture"]
        matrices = one.parameters.shape[1]
        reason = spec.unsuited(matrices, one.convolutions.any(), one.biases.any())
        if reason:
            return reason
    absent = [g for g in groups if g not in measured]
    return missing.get(absent[0], f"{absent[0]} was not measured") if absent else ""


class ImpossibleCertificate(AssertionError):
    """A certified bound says what no bound can: there is a mistake in it."""


_ROUNDING = 1e-9


def _assert_possible(name, spec, value, delta):
    """Refuses certificates below what was counted, and below what their complexity allows.

    Of a certified bound on a stochastic or compressed network exp(`log_complexity`) is c, the
    complexity over m.

    Such a bound is never below kl^-1(0, c) = 1 - e^{-c}, even without a training error.

    Raises:
      ImpossibleCertificate: one of the runs has such a value.
    """
    if spec.status != CERTIFIED:
        return
    # An upper limit that fails more often than not may lie below what was counted.
    least = {"what was counted": value.empirical} if delta <= 0.5 else {}
    if spec.speaks_of in ("stochastic", "compressed"):
        complexity = np.exp(np.minimum(value.log_complexity, 700.0))
        least["what its complexity allows"] = -np.expm1(-complexity)
    for what, limit in least.items():
        below = np.asarray(value.value) < np.asarray(limit) - _ROUNDING
        if np.any(below):
            run = int(np.argmax(below))
            raise ImpossibleCertificate(
                f"{name} is {np.ravel(value.value)[run]:.6g}, below {what}, "
                f"{np.ravel(limit)[run]:.6g}: the bound or what it was given is wrong"
            )


def evaluate(
    measured,
    names,
    *,
    margin=None,
    delta=0.05,
    convention=Convention(),
    missing=None,
    bounds=registry.BOUNDS,
):
    """Evaluates bounds over a run axis, in float64.

    Args:
      measured: name -> group with a leading run axis R.
      names: of bounds.
      margin: `[R]` or a number, gamma > 0; None: each run's median training margin.
      delta: the failure probability of bounds that have one.
      convention: a `Convention`.
      missing: name -> why a group could not be measured.
      bounds: the registry.

    Returns:
      name -> `BoundValue` of `[R]` arrays, or the reason, a string, why it is not
      available.

    Raises:
      ImpossibleCertificate: a certified bound says what no bound can.
    """
    options = {"margin": None, "delta": None, "convention": convention}
    reasons, calls = {}, []
    for name in names:
        groups, keywords = asks_for(bounds[name])
        reason = _reason(bounds[name], groups, measured, missing or {})
        if reason:
            reasons[name] = reason
        else:
            chosen = tuple((k, options[k]) for k in keywords if k in options)
            calls.append((name, bounds[name].fn, tuple(groups), chosen))
    if not calls:
        return reasons
    needed = {g: measured[g] for _, _, groups, _ in calls for g in groups}
    runs = jax.tree.leaves(needed)[0].shape[0]
    if margin is None:
        margin = median_margins(measured["margins"]) if "margins" in measured else 1.0
    with jax.enable_x64(True):
        values = _map_over_runs(
            tuple(calls),
            jax.tree.map(jnp.asarray, needed),
            jnp.broadcast_to(jnp.asarray(margin, float), (runs,)),
            jnp.asarray(delta, float),
        )
    values = jax.device_get(values)
    for name, value in values.items():
        _assert_possible(name, bounds[name], value, delta)
    found = reasons | values
    return {name: found[name] for name in names}


def median_margins(margins):
    """The median training margin of each run: `[R]`."""
    known = zip(np.asarray(margins.sorted), np.asarray(margins.size), strict=True)
    return np.stack([np.median(values[: int(size)]) for values, size in known])
