"""Deferred updates: the weights of plain steps, whatever the calls; and where they are taken."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nets import deferred, runs, sharing, training
from nets.mlp import MLP, Layers
from nets.sample import pad_sample
from nets.training import Outcome
from tests.nets.test_training import plan, unflattened

FEATURES, UNITS = 200, (180, 200, 3)
EVERY = 8  # steps that share one writing of weights of these sizes
M = 43  # five blocks and three steps


def others(*values):
    """Cases that go the way of one that is always run."""
    return [pytest.param(value, marks=pytest.mark.slow) for value in values]


def wide(**changes):
    return plan(**{"model": Layers(UNITS, True), "learning_rate": 0.1} | changes)


def data(m=M, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(3, size=m)
    inputs = rng.standard_normal((m, FEATURES)) / 8 + np.eye(3, FEATURES)[labels]
    return inputs.astype(np.float32), labels.astype(np.int32)


def begin(p, dtype=jnp.float32, seed=0):
    params = training.init_params(p, jax.random.key(seed), FEATURES)
    params = jax.tree.map(lambda leaf: leaf.astype(dtype), params)
    return training.init_state(p, params, jax.random.key(seed + 100))


def trained(p, sample, state, budget=10**6, vectorized=False):
    def advance(state, sample):
        return training.advance(p, state, sample, budget, vectorized)[0]

    if not vectorized:
        return jax.jit(advance)(state, sample)
    one = jax.tree.map(lambda leaf: leaf[None], (state, sample))
    found = jax.jit(jax.vmap(advance, axis_name=sharing.AXIS))(*one)
    return jax.tree.map(lambda leaf: leaf[0], found)


@pytest.fixture
def plainly(monkeypatch):
    """Trains by plain steps."""

    def run(p, sample, state, budget=10**6):
        def advance(
            state, sample, budget
        ):  # a program of its own, not one that was traced before
            return training.advance(p, state, sample, budget)[0]

        with monkeypatch.context() as patch:
            patch.setattr(deferred, "steps_deferred", lambda *_: 1)
            return jax.jit(advance)(state, sample, budget)

    return run


def is_deferred(p):
    shapes = jax.eval_shape(
        lambda: training.init_params(p, jax.random.key(0), FEATURES)
    )
    return deferred.steps_deferred(p, shapes, False) == EVERY


def in_float64(p, inputs, labels, epochs):
    """Initial and final parameters: whole epochs of deferred updates."""
    params = begin(p, jnp.float64).params
    inputs, labels = jnp.asarray(inputs, jnp.float64), jnp.asarray(labels)

    @jax.jit
    def epoch(params):
        def example_at(step):
            return inputs[step][None], labels[step][None]

        return deferred.descend(p, params, example_at, 0, len(labels), EVERY)

    first = params
    for _ in range(epochs):
        params = epoch(params)
    return jax.tree.map(np.asarray, (first, params))


@pytest.mark.parametrize("biases", [True, False])
def test_weights_are_those_of_sgd_by_hand(biases):
    inputs, labels = data()
    p = wide(model=Layers(UNITS, biases))
    with jax.enable_x64(True):
        first, found = in_float64(p, inputs, labels, 6)
    names = [f"Dense_{place}" for place in range(len(UNITS))]
    history = sgd_in_float64(
        [first[n]["kernel"] for n in names],
        [first[n]["bias"] for n in names] if biases else None,
        inputs, labels, 0.1, 6,
    )  # fmt: skip
    for name, kernel, bias in zip(names, *history, strict=True):
        np.testing.assert_allclose(found[name]["kernel"], kernel, rtol=0, atol=2e-14)
        assert np.abs(first[name]["kernel"] - kernel).max() > 1e-3
        if biases:
            np.testing.assert_allclose(found[name]["bias"], bias, rtol=0, atol=2e-14)


def sgd_in_float64(weights, biases, inputs, labels, rate, epochs):
    """Plain loops, the loss averaged over independent logistic ones."""
    weights = [np.array(w, np.float64) for w in weights]
    has_biases = biases is not None
    biases = [np.array(b, np.float64) for b in biases or map(np.zeros, UNITS)]
    for _ in range(epochs):
        for x, y in zip(inputs.astype(np.float64), labels, strict=True):
            seen = [x]
            for place, (w, b) in enumerate(zip(weights, biases, strict=True)):
                z = seen[-1] @ w + b
                seen.append(z if place == len(weights) - 1 else np.maximum(z, 0))
            delta = (1 / (1 + np.exp(-seen[-1])) - np.eye(3)[y]) / 3
            for place in reversed(range(len(weights))):
                back = weights[place] @ delta
                weights[place] -= rate * np.outer(seen[place], delta)
                if has_biases:
                    biases[place] -= rate * delta
                delta = back * (seen[place] > 0)
    return weights, biases


@pytest.mark.parametrize("loss", ["softmax", *others("sigmoid", "squared", "linear")])
def test_weights_are_those_of_plain_steps(loss):
    inputs, labels = data()
    p = wide(loss=loss, learning_rate=0.02)
    with jax.enable_x64(True):
        first, found = in_float64(p, inputs, labels, 2)
        step = jax.jit(training.take_step, static_argnums=0)
        plain, state = first, p.transformation.init(first)
        for x, y in [*zip(inputs.astype(np.float64), labels, strict=True)] * 2:
            batch = x[None], np.array([y])
            plain, state = step(p, plain, state, batch, M, jax.random.key(0))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=1e-13), found, plain
    )


@pytest.mark.parametrize("shuffle", [True, *others(False)])
def test_a_float32_network_ends_where_plain_steps_end(shuffle, plainly):
    sample = pad_sample(*data(), 0)
    p = wide(margin=1.0, threshold=0.1, shuffle=shuffle)
    found, expected = trained(p, sample, begin(p)), plainly(p, sample, begin(p))
    assert found.outcome == expected.outcome == Outcome.CONVERGED
    assert found.epoch == expected.epoch > 1
    for a, b in zip(*map(unflattened, (found.params, expected.params)), strict=True):
        for one, other in zip(a, b, strict=True):
            np.testing.assert_allclose(one, other, atol=2e-6)


@pytest.mark.parametrize("steps", [1, 30, 100, *others(16, 43)])
def test_calls_change_nothing(steps):
    inputs, labels = data()
    p = wide(margin=1e9, max_epochs=4, shuffle=True)
    once = trained(p, pad_sample(inputs, labels, 0), begin(p))
    sample = pad_sample(inputs, labels, 64)  # nor does padding
    program, state, calls = jax.jit(training.advance, static_argnums=0), begin(p), 0
    while state.outcome == Outcome.RUNNING:
        state, _ = program(p, state, sample, steps)
        calls += 1
        assert state.batch % EVERY == 0
    assert calls > 1
    jax.tree.map(np.testing.assert_array_equal, state.params, once.params)


@pytest.mark.parametrize("begun", [5, 16, *others(37)])
def test_calls_change_nothing_in_a_run_that_plain_steps_began(begun, plainly):
    sample = pad_sample(*data(), 0)
    p = wide(margin=1e9, max_epochs=2, shuffle=True)
    state = plainly(p, sample, begin(p), begun)
    assert state.batch == begun
    once = trained(p, sample, state)
    program = jax.jit(training.advance, static_argnums=0)
    while state.outcome == Outcome.RUNNING:
        state, _ = program(p, state, sample, 7)
    assert state.epoch == 2
    jax.tree.map(np.testing.assert_array_equal, state.params, once.params)


@pytest.mark.slow
def test_lanes_that_take_each_step_together_end_where_one_alone_does():
    samples = [pad_sample(*data(m, m), 64) for m in (43, 64, 17)]
    p = wide(model=Layers((1200, 1200, 3)), margin=1e9, max_epochs=2)
    layout = runs.make_layout(jax.devices()[:1], 3, vectorized=True)
    shapes = jax.eval_shape(lambda: begin(p).params)
    assert deferred.steps_deferred(p, shapes, True) == EVERY
    ends = {}
    for tick in runs.train_many(
        p, range(3), lambda i: (begin(p, seed=i), samples[i]), layout
    ):
        ends |= {job: done.state["params"] for job, done in tick.finished.items()}
    for job, sample in enumerate(samples):
        alone = trained(p, sample, begin(p, seed=job), vectorized=True).params
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, atol=2e-6), ends[job], alone
        )


def test_a_network_that_is_no_longer_finite_diverged():
    p = wide(loss="squared", learning_rate=1e6)
    state = trained(p, pad_sample(*data(), 0), begin(p))
    assert state.outcome == Outcome.DIVERGED


@pytest.mark.parametrize(
    ("changes", "is_so"),
    [
        ({}, True),
        ({"batch_size": 2}, False),
        ({"momentum": 0.9}, False),
        ({"optimizer": "adam"}, False),
        ({"decay_steps": 10}, False),
        ({"objective": lambda *_: 0.0}, False),
        ({"model": MLP(8, 1, 3)}, False),  # vectors as large as the weights
        ({"model": MLP(256, 2, 3)}, True),
    ],
)
def test_which_steps_defer_their_updates(changes, is_so):
    assert is_deferred(wide(**changes)) == is_so


def test_wide_networks_of_the_paper_defer_on_every_device():
    def steps(width, vectorized):
        p = wide(model=MLP(width, 5, 10))
        shapes = jax.eval_shape(lambda: training.init_params(p, jax.random.key(0), 784))
        return deferred.steps_deferred(p, shapes, vectorized)

    assert [steps(w, False) for w in (32, 128, 512, 1024)] == [1, 8, 16, 16]
    assert [steps(w, True) for w in (32, 128, 512, 1024)] == [1, 1, 8, 16]
