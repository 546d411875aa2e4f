"""What every bound of the registry promises by being in it; newcomers are tested unasked."""

import collections
import functools
import inspect

import jax
import numpy as np
import pytest

import bounds
from bounds import spec as types
from bounds.registry import GROUPS
from tests.bounds.cases import by_hand, measured, network, random_case

OPTIONS = {"margin": np.float64(0.7), "delta": 0.05, "convention": types.Convention()}


@functools.cache
def groups(seed=0):
    """Every group of one network.

    What plain numpy knows is measured; the rest takes long to compile and is made of numbers of
    its shapes, of which no bound knows better.
    """
    net, rng = network(depth=1, seed=seed), np.random.default_rng(seed)
    quick = [g for g in by_hand(random_case(0, [2, 2, 2])) if g != "jacobians"]
    slow = [g for g in GROUPS if g not in quick]
    with jax.enable_x64(True):
        shapes = jax.eval_shape(lambda net: bounds.measure(net, slow)[0], net)

    def numbers(leaf):
        values = rng.uniform(0.1, 0.9, leaf.shape)
        return (values if leaf.dtype.kind == "f" else 100 * values).astype(leaf.dtype)

    found = measured(net, quick)[0] | jax.tree.map(numbers, shapes)
    # What only a learned network has: another group of its type.
    for name, kind in GROUPS.items():
        if name not in found:
            found[name] = next(g for g in found.values() if type(g) is kind)
    return found


def call(name):
    """The bound as a function of its groups alone."""
    spec = bounds.BOUNDS[name]
    parameters = inspect.signature(spec.fn).parameters.values()
    keywords = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]
    return lambda *args: spec.fn(*args, **{k: OPTIONS[k] for k in keywords})


def arguments(name, seed=0):
    return [groups(seed)[group] for group in bounds.BOUNDS[name].groups]


@functools.cache
def plain():
    """name -> `BoundValue`, one bound of each function called as it is."""
    first = {}
    for name, spec in bounds.BOUNDS.items():
        first.setdefault(spec.fn, name)
    with jax.enable_x64(True):
        return {name: call(name)(*arguments(name)) for name in first.values()}


@functools.cache
def compiled():
    """(name -> traces, values of both seeds by jit, and by vmap), in two programs."""
    traces = collections.Counter()

    def every(groups):
        found = {}
        for name, spec in bounds.BOUNDS.items():
            traces[name] += 1
            found[name] = call(name)(*(groups[g] for g in spec.groups))
        return found

    with jax.enable_x64(True):
        # Compiling takes longer than computing.
        options = {"xla_backend_optimization_level": 0}
        jitted = jax.jit(every, compiler_options=options)
        one_by_one = [jax.device_get(jitted(groups(seed))) for seed in (0, 1)]
        once = dict(traces)
        both = jax.tree.map(lambda *leaves: np.stack(leaves), groups(0), groups(1))
        mapped = jax.jit(jax.vmap(every), compiler_options=options)(both)
        mapped = jax.device_get(mapped)
    return once, one_by_one, mapped


def assert_close(a, b):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-10), a, b)


@pytest.mark.parametrize("name", bounds.BOUNDS)
class TestEveryBound:
    def test_says_what_it_is(self, name):
        spec = bounds.BOUNDS[name]
        assert spec.status in types.STATUSES and spec.speaks_of in types.SPEAKS_OF
        assert any(year in spec.paper for year in map(str, range(1930, 2040)))
        assert bool(spec.assumption) == (spec.status == types.UNDER_ASSUMPTION)
        # A family whose bounds take the same arguments may explain them once, at its head.
        explained = spec.fn.__doc__ + inspect.getmodule(spec.fn).__doc__
        assert "Args:" in explained or "Arguments, of every" in explained
        assert "Returns:" in explained

    def test_asks_for_groups_that_exist(self, name):
        assert set(bounds.needs([name])) <= set(GROUPS)
        parameters = inspect.signature(bounds.BOUNDS[name].fn).parameters.values()
        assert all(p.name in OPTIONS for p in parameters if p.kind is p.KEYWORD_ONLY)

    def test_returns_finite_scalars(self, name):
        value = compiled()[1][0][name]
        assert isinstance(value, types.BoundValue)
        assert all(np.shape(leaf) == () for leaf in jax.tree.leaves(value))
        assert np.isfinite(value.log_complexity)

    @pytest.mark.slow
    def test_jit_changes_nothing_and_traces_once(self, name):
        traces, one_by_one, _ = compiled()
        assert traces[name] == 1
        if name in plain():
            assert_close(one_by_one[0][name], plain()[name])

    def test_mapped_as_one_by_one(self, name):
        _, one_by_one, mapped = compiled()
        for seed in (0, 1):
            own = jax.tree.map(lambda leaf, seed=seed: leaf[seed], mapped[name])
            assert_close(own, one_by_one[seed][name])

    def test_a_forgotten_vmap_is_refused(self, name):
        stacked = jax.tree.map(lambda leaf: np.stack([leaf, leaf]), arguments(name))
        with pytest.raises(AssertionError):
            call(name)(*stacked)


def test_one_measuring_serves_all_bounds():
    needs = bounds.needs(list(bounds.BOUNDS))
    assert len(needs) == len(set(needs))
    assert bounds.needs(["neyshabur_2018"]) == [
        "architecture",
        "task",
        "margins",
        "layers",
        "from_init",
    ]
    assert bounds.needs(["neyshabur_2018_from_origin"])[-1] == "from_origin"
