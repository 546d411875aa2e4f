"""From networks to bounds: what is needed is read off the signatures, and measured once."""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bounds import registry
from bounds.network import WITHOUT, Network, Unavailable
from bounds.passes import Pass, together
from bounds.spec import CERTIFIED, MADE, BoundValue, Convention


def needs(names: Sequence[str]) -> list[str]:
    """The groups that the bounds `names` ask for, each once.

    The first is `architecture`: it says whether they speak of the network at all.
    """
    groups = [g for name in names for g in registry.BOUNDS[name].groups]
    return list(dict.fromkeys(["architecture", *groups]))


def requires(names: Sequence[str]) -> tuple[str, ...]:
    """The optional fields of `Network` that the bounds `names` cannot do without."""
    fields = [f for g in needs(names) for f in registry.MEASURES[g].required(g)]
    return tuple(dict.fromkeys(fields))


def measure(
    network: Network, groups: Sequence[str]
) -> tuple[dict[str, Any], dict[str, str]]:
    """Measures groups on ONE network; pure, to be jitted and mapped over runs.

    Norms are as wide as the default float: call it under `jax.enable_x64(True)` for
    float64, which the certified enclosures deserve.

    Args:
      network: a `Network`.
      groups: names in `registry.GROUPS`.

    Returns:
      `(measured, missing)`: name -> group, and name -> why it cannot be had.

    Raises:
      ValueError: the network is normalised; what is learned in its normalisations is in no layer.
    """
    if getattr(network.model, "is_normalised", False):
        raise ValueError(
            "network: has normalisations beside its layers; fold them into these first: bounds.folded(network)"
        )
    measured, missing, wanted = {}, {}, {}
    for name in dict.fromkeys(groups):
        one = registry.MEASURES[name]
        lacks = [f for f in one.required(name) if getattr(network, f) is None]
        if lacks:
            missing[name] = WITHOUT[lacks[0]]
        else:
            wanted.setdefault(id(one), (one, []))[1].append(name)
    found, passes = [], []
    for one, names in wanted.values():
        try:
            own = one.fn(network, names)
        except Unavailable as reason:
            own = dict.fromkeys(names, reason)
        (passes if isinstance(own, Pass) else found).append((own, names))
    made = together(network.sample, [one for one, _ in passes])
    found += zip(made, [names for _, names in passes], strict=True)
    for own, names in found:
        for name in names:
            if isinstance(own[name], Unavailable):
                missing[name] = str(own[name])
            else:
                measured[name] = own[name]
    return measured, missing


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class Reasons:
    """Why groups could not be measured: a program that measures knows it when it is traced."""

    of_groups: tuple[tuple[str, str], ...]


# Runs whose bounds one program evaluates: of a thousand at once each takes more than twice as long.
AT_ONCE = 64


@functools.cache
def sooner(optimisation: int = 0) -> dict[str, Any] | None:
    """Options by which a CPU's programs compile sooner and run slower; elsewhere None.

    Args:
      optimisation: LLVM's level. At 0 compiling takes half as long or less, at 1 a tenth to a quarter less.
        A program of bounds is arithmetic on scalars: to optimise it takes longer than to run it.
    """
    if jax.default_backend() != "cpu":
        return None
    options = {"xla_backend_optimization_level": optimisation}
    quickest = options | {"xla_cpu_use_fusion_emitters": False}
    try:
        jax.jit(jnp.negative, compiler_options=quickest).lower(0.0).compile()
    except jax.errors.JaxRuntimeError:  # a compiler that has no such option
        return options
    return quickest


@functools.cache
def _program():
    return jax.jit(_map_over_runs, static_argnames="calls", compiler_options=sooner())


def _call(function, args, static, options):
    return function(*args, **static)


def _map_over_runs(groups, margin, delta, calls):
    """name -> `BoundValue` of all `calls` (name, fn, groups, keywords), in one program."""

    def of_one_run(groups, margin):
        found, given = {}, {"margin": margin, "delta": delta}
        for name, fn, needed, keywords in calls:
            options = dict(keywords)
            options |= {k: v for k, v in given.items() if k in options}
            found[name] = fn(*(groups[g] for g in needed), **options)
        return found

    return jax.vmap(of_one_run)(groups, margin)


def _blocks(of_runs, runs):
    """Trees of arrays `[R, ...]` in blocks of `AT_ONCE` runs, the last run repeated to fill the last."""
    if runs <= AT_ONCE:
        yield of_runs
        return
    of_runs = jax.device_get(of_runs)
    for first in range(0, runs, AT_ONCE):
        rows = np.minimum(np.arange(first, first + AT_ONCE), runs - 1)
        yield jax.tree.map(lambda leaf, rows=rows: leaf[rows], of_runs)


def _reason(spec, measured, missing):
    """Why a bound cannot be had of measured groups, or ''."""
    if "architecture" in measured:
        one = measured["architecture"]
        matrices = one.parameters.shape[1]
        reason = spec.unsuited(
            matrices,
            one.convolutions.any(),
            one.biases.any(),
            one.is_chain.all(),
            one.unread.any(),
        )
        if reason:
            return reason
    absent = [g for g in spec.groups if g not in measured]
    return missing.get(absent[0], f"{absent[0]} was not measured") if absent else ""


class ImpossibleCertificate(AssertionError):
    """A certified bound says what no bound can: there is a mistake in it."""


_ROUNDING = 1e-9


def _assert_possible(name, spec, value, delta):
    """Refuses certificates below what was counted, and below what their complexity allows.

    Of a certified bound on a network of `MADE` exp(`log_complexity`) is c, the complexity over m.

    Such a bound is never below kl^-1(0, c) = 1 - e^{-c}, even without a training error.

    Raises:
      ImpossibleCertificate: one of the runs has such a value.
    """
    if spec.status != CERTIFIED:
        return
    # An upper limit that fails more often than not may lie below what was counted.
    least = {"what was counted": value.empirical} if delta <= 0.5 else {}
    if spec.speaks_of in MADE:
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
    measured: Mapping[str, Any],
    names: Sequence[str],
    *,
    margin: Any = None,
    delta: float = 0.05,
    convention: Convention = Convention(),
    missing: Mapping[str, str] | None = None,
    call: Callable[..., Any] = _call,
) -> dict[str, BoundValue | str]:
    """Evaluates bounds over a run axis, in float64.

    Args:
      measured: name -> group with a leading run axis R.
      names: of bounds.
      margin: `[R]` or a number, gamma > 0; None: each run's median training margin.
      delta: the failure probability of bounds that have one.
      convention: a `Convention`.
      missing: name -> why a group could not be measured.
      call: `(jitted function, args, static, options)` -> what it returns of its arguments and of its
        static ones, by name; `options` are those that it is compiled with. Who has its program need not
        compile it again.

    Returns:
      name -> `BoundValue` of `[R]` arrays, or the reason, a string, why it is not
      available.

    Raises:
      ImpossibleCertificate: a certified bound says what no bound can.
      ValueError: a name, `delta` or `margin` that cannot be, or groups without a run axis.
    """
    check(names, delta, margin)
    _check_axes(measured, margin)
    options = {"margin": None, "delta": None, "convention": convention}
    reasons, calls = {}, []
    for name in names:
        spec = registry.BOUNDS[name]
        reason = _reason(spec, measured, missing or {})
        if reason:
            reasons[name] = reason
        else:
            chosen = tuple((k, options[k]) for k in spec.keywords)
            calls.append((name, spec.fn, spec.groups, chosen))
    if not calls:
        return reasons
    needed = {g: measured[g] for _, _, groups, _ in calls for g in groups}
    runs = jax.tree.leaves(needed)[0].shape[0]
    if margin is None:
        margin = median_margins(measured["margins"]) if "margins" in measured else 1.0
    of_runs = needed, np.broadcast_to(np.asarray(margin, float), (runs,))
    blocks = []
    with jax.enable_x64(True):
        for block in _blocks(of_runs, runs):
            # By numpy, as far as it is there: `jnp.asarray` compiles a program for every shape.
            args = jax.device_put((*block, np.asarray(delta, float)))
            its = call(_program(), args, {"calls": tuple(calls)}, sooner())
            blocks.append(jax.device_get(its))
    values = jax.tree.map(lambda *its: np.concatenate(its)[:runs], *blocks)
    for name, value in values.items():
        _assert_possible(name, registry.BOUNDS[name], value, delta)
    found = reasons | values
    return {name: found[name] for name in names}


def check(names: Sequence[str], delta: float, margin: Any) -> None:
    """Raises a `ValueError` for a name, a failure probability or a margin that cannot be."""
    unknown = [name for name in names if name not in registry.BOUNDS]
    if unknown:
        raise ValueError(
            f"no bound is called {unknown[0]!r}; bounds.BOUNDS has their names"
        )
    if not 0 < delta < 1:
        raise ValueError(f"delta={delta}: must be in (0, 1)")
    if margin is not None and not np.all(np.asarray(margin) > 0):
        raise ValueError(f"margin={margin}: must be > 0")


def _check_axes(measured, margin):
    """That all have one run axis."""
    runs = {np.shape(leaf)[:1] for leaf in jax.tree.leaves(measured)}
    if len(runs) > 1 or () in runs:
        raise ValueError(
            "measured: every array needs the same leading axis, that of the runs; there are "
            f"{sorted(runs)}"
        )
    if margin is not None and np.shape(margin) not in ((), *runs):
        raise ValueError(
            f"margin: of shape {np.shape(margin)}, and the runs of {next(iter(runs), ())}; give one "
            "number, or one a run"
        )


def median_margins(margins: Any) -> np.ndarray:
    """The median training margin of each run: `[R]`."""
    known = zip(np.asarray(margins.sorted), np.asarray(margins.size), strict=True)
    return np.stack([np.median(values[: int(size)]) for values, size in known])
