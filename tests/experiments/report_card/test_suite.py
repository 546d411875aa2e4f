"""Suites hold what the trials ask for; twins are the same function."""

import itertools

import jax
import numpy as np
import pytest

from experiments.report_card import suite, twins
from experiments.report_card.trials import TRIALS, growth
from nets.mlp import MLP
from tests.experiments.report_card import planted


@pytest.mark.parametrize("biases", [False, True])
@pytest.mark.parametrize("depth", [1, 3])
@pytest.mark.parametrize("kind", twins.KINDS)
def test_a_twin_is_the_same_function(kind, depth, biases):
    model = MLP(width=8, depth=depth, classes=3, biases=biases)
    random = np.random.default_rng(0)
    inputs = random.normal(size=(20, 5)).astype(np.float32)
    params = model.init(jax.random.key(0), inputs)["params"]
    params = jax.tree.map(lambda w: w + 0.1 * random.normal(size=w.shape), params)
    params = jax.tree.map(lambda w: w.astype(np.float32), params)
    twin = twins.of(params, kind, 1)
    logits = model.apply({"params": params}, inputs)
    np.testing.assert_allclose(
        model.apply({"params": twin}, inputs), logits, rtol=2e-5, atol=2e-6
    )
    leaves = zip(jax.tree.leaves(params), jax.tree.leaves(twin), strict=True)
    assert any(not np.allclose(a, b) for a, b in leaves)


@pytest.mark.parametrize("name", suite.SUITES)
def test_networks_are_trained_once(name):
    found = suite.members(name)
    keys = [(*m.recipe.values(), m.size) for m in found]
    assert len(set(keys)) == len(keys)
    configs = suite.configs(found, {}, 0)
    trained = [
        (*(getattr(c, n) for n in suite.AXES), m)
        for c in configs.values()
        for m in c.sizes
    ]
    assert sorted(map(str, trained)) == sorted(map(str, keys))


def test_a_network_of_two_blocks_belongs_to_both(monkeypatch):
    blocks = (
        suite.Block("one", (64,), 2, is_factorial=True),
        suite.Block("other", (64, 128), 3, twins=("permuted",)),
    )
    monkeypatch.setitem(suite.SUITES, "mine", blocks)
    both, one = suite.members("mine")
    assert (both.size, both.seeds, both.is_factorial, both.twins) == (
        64, 3, True, ("permuted",),
    )  # fmt: skip
    assert (one.size, one.is_factorial) == (128, False)


def test_the_standard_suite_is_what_was_asked_for():
    of = planted.networks()
    lines = {axis: growth.lines(of, axis) for axis in ("m", *suite.AXES)}
    assert [len(set(of["m"][line.rows])) for line in lines["m"]] == [7] * 4
    for axis, values in {
        "width": 5, "depth": 5, "label_noise": 6, "batch_size": 3, "learning_rate": 3, "margin": 3,
    }.items():  # fmt: skip
        for line in lines[axis]:
            assert len(set(of[axis][line.rows])) == values
            assert len(set(of["seed"][line.rows])) >= 4
    assert max(of["label_noise"]) == 1
    block = of["is_factorial"]
    cells = itertools.product(*(set(of[n][block]) for n in ("m", "width", "depth", "batch_size")))  # fmt: skip
    assert len(list(cells)) == 3 * 3 * 3 * 2
    assert block.sum() >= 3 * 3 * 3 * 2 * 3
    assert {"sgd", "adam"} == set(of["optimizer"]) and max(of["momentum"]) > 0
    assert set(of["twin"]) == {"", *twins.KINDS}


@pytest.mark.parametrize("name", suite.SUITES)
@pytest.mark.parametrize("trial", TRIALS)
def test_every_trial_finds_networks_in_every_suite(trial, name):
    of = planted.networks(name)
    count = TRIALS[trial].networks(of).sum()
    assert (count > 0) == (trial != "uniform_convergence")
