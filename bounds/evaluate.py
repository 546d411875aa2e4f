"""From networks to bounds: what is needed is read off the signatures, and measured once."""

import functools
import inspect

import jax
import jax.numpy as jnp

from bounds import registry
from bounds.measuring import MEASURES
from bounds.measuring.network import Unavailable
from bounds.types import Convention


def _parameters(spec):
    """(groups, keywords) that a bound asks for; groups by the names they are measured as."""
    parameters = inspect.signature(spec.fn).parameters.values()
    groups = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    keywords = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]
    return [spec.reference if g == "reference" else g for g in groups], keywords


def needs(names, bounds=registry.BOUNDS):
    """The groups that the bounds `names` ask for, each once."""
    return list(
        dict.fromkeys(g for name in names for g in _parameters(bounds[name])[0])
    )


def measure(network, groups):
    """Measures groups on ONE network; pure, to be jitted and mapped over runs.

    Norms are as wide as the default float: call it under `jax.enable_x64(True)` for
    float64, which the certified enclosures deserve.

    Args:
      network: a `Network`.
      groups: names in `MEASURES`.

    Returns:
      `(measured, missing)`: name -> group, and name -> why it cannot be had.
    """
    measured, missing = {}, {}
    once = functools.cache(lambda function: function(network))
    for name in groups:
        try:
            measured[name] = once(MEASURES[name])
        except Unavailable as reason:
            missing[name] = str(reason)
    return measured, missing


@functools.partial(jax.jit, static_argnames=("fn", "keywords"))
def _map_over_runs(fn, groups, own, keywords):
    """`own` are keywords that each run has its own value of: the margin, or none."""
    return jax.vmap(lambda groups, own: fn(*groups, **own, **dict(keywords)))(
        groups, own
    )


def evaluate(
    measured,
    names,
    *,
    margin,
    delta=0.05,
    convention=Convention(),
    missing=None,
    bounds=registry.BOUNDS,
):
    """Evaluates bounds over a run axis, in float64.

    Args:
      measured: name -> group with a leading run axis R.
      names: of bounds.
      margin: `[R]` or a number, gamma > 0.
      delta: the failure probability of bounds that have one.
      convention: a `Convention`.
      missing: name -> why a group could not be measured.
      bounds: the registry.

    Returns:
      name -> `BoundValue` of `[R]` arrays, or the reason, a string, why it is not
      available.
    """
    missing = missing or {}
    options = {"delta": delta, "convention": convention}
    results = {}
    with jax.enable_x64(True):
        for name in names:
            spec = bounds[name]
            groups, keywords = _parameters(spec)
            reasons = [
                missing.get(g, f"{g} was not measured")
                for g in groups
                if g not in measured
            ]
            if reasons:
                results[name] = reasons[0]
                continue
            runs = jax.tree.leaves(measured[groups[0]])[0].shape[0]
            if spec.weight_matrices and "layers" in measured:
                matrices = measured["layers"].frobenius.shape[1]
                if matrices != spec.weight_matrices:
                    results[name] = (
                        f"speaks of {spec.weight_matrices} weight matrices, not of {matrices}"
                    )
                    continue
            own = {"margin": jnp.broadcast_to(jnp.asarray(margin, float), (runs,))}
            chosen = tuple((k, options[k]) for k in keywords if k in options)
            results[name] = jax.device_get(
                _map_over_runs(
                    spec.fn,
                    jax.tree.map(jnp.asarray, [measured[g] for g in groups]),
                    own if "margin" in keywords else {},
                    chosen,
                )
            )
    return results
