"""What every bound of the registry promises by being in it; newcomers are tested unasked."""

import functools
import inspect

import jax
import numpy as np
import pytest

import bounds
from bounds import types
from bounds.measuring import MEASURES
from tests.bounds.test_measuring import measured, network

STATUS = {"certified", "certified under assumption", "up to constants", "heuristic"}
SPEAKS_OF = {"trained", "stochastic", "compressed", "algorithm"}
OPTIONS = {"margin": np.float64(0.7), "delta": 0.05, "convention": types.Convention()}


@functools.cache
def groups(seed=0):
    return measured(network(depth=1, seed=seed))[0]


def call(name):
    """The bound as a function of its groups alone."""
    spec = bounds.BOUNDS[name]
    parameters = inspect.signature(spec.fn).parameters.values()
    keywords = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]
    return lambda *args: spec.fn(*args, **{k: OPTIONS[k] for k in keywords})


def arguments(name, seed=0):
    return [groups(seed)[group] for group in bounds.needs([name])]


@pytest.mark.parametrize("name", bounds.BOUNDS)
class TestEveryBound:
    def test_says_what_it_is(self, name):
        spec = bounds.BOUNDS[name]
        assert spec.status in STATUS and spec.speaks_of in SPEAKS_OF
        assert any(year in spec.paper for year in map(str, range(1985, 2040)))
        assert "Args:" in spec.fn.__doc__ and "Returns:" in spec.fn.__doc__

    def test_asks_for_groups_that_exist(self, name):
        assert set(bounds.needs([name])) <= set(MEASURES)
        parameters = inspect.signature(bounds.BOUNDS[name].fn).parameters.values()
        assert all(p.name in OPTIONS for p in parameters if p.kind is p.KEYWORD_ONLY)

    def test_returns_finite_scalars(self, name):
        with jax.enable_x64(True):
            value = call(name)(*arguments(name))
        assert isinstance(value, types.BoundValue)
        assert all(np.shape(leaf) == () for leaf in jax.tree.leaves(value))
        assert np.isfinite(value.log_complexity)

    def test_jit_changes_nothing_and_traces_once(self, name):
        traces = []

        def counted(*args):
            traces.append(1)
            return call(name)(*args)

        with jax.enable_x64(True):
            jitted = jax.jit(counted)
            for seed in (0, 1):
                jax.tree.map(
                    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12),
                    jitted(*arguments(name, seed)),
                    call(name)(*arguments(name, seed)),
                )
        assert len(traces) == 1

    def test_mapped_as_one_by_one(self, name):
        both = [arguments(name, seed) for seed in (0, 1)]
        with jax.enable_x64(True):
            stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *both)
            together = jax.vmap(call(name))(*stacked)
            for index, own in enumerate(both):
                jax.tree.map(
                    lambda a, b, i=index: np.testing.assert_allclose(
                        a[i], b, rtol=1e-12
                    ),
                    together,
                    call(name)(*own),
                )

    def test_a_forgotten_vmap_is_refused(self, name):
        stacked = jax.tree.map(lambda leaf: np.stack([leaf, leaf]), arguments(name))
        with pytest.raises(AssertionError):
            call(name)(*stacked)


def test_one_measuring_serves_all_bounds():
    needs = bounds.needs(list(bounds.BOUNDS))
    assert len(needs) == len(set(needs))
    assert bounds.needs(["neyshabur_2018"]) == [
        "task",
        "margins",
        "layers",
        "from_init",
    ]
    assert bounds.needs(["neyshabur_2018_from_origin"])[-1] == "from_origin"
