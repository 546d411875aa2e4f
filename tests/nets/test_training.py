import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nets import kernels, training
from nets.mlp import MLP
from nets.sample import pad_sample
from nets.training import Outcome
from tests import oracles

FEATURES = 6


def plan(**changes):
    settings = {
        "model": MLP(8, 1, 3, True),
        "loss": "sigmoid",
        "learning_rate": 0.5,
        "batch_size": 1,
        "shuffle": False,
        "margin": 1.0,
        "threshold": 0.1,
        "loss_target": None,
        "max_epochs": 50,
    }
    return training.Plan(**settings | changes)


def data(m, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(3, size=m)
    inputs = rng.standard_normal((m, FEATURES)) + 1.5 * np.eye(3, FEATURES)[labels]
    return inputs.astype(np.float32), labels.astype(np.int32)


def begin(p, seed=0):
    params = training.init_params(p, jax.random.key(seed), FEATURES)
    return training.init_state(p, params, jax.random.key(seed + 100))


def whole(p, sample, state=None, budget=10**6):
    program = jax.jit(training.advance, static_argnums=0)
    return program(p, begin(p) if state is None else state, sample, budget)


def in_calls_of(p, sample, steps):
    program, state, checks = jax.jit(training.advance, static_argnums=0), begin(p), []
    while state.outcome == Outcome.RUNNING:
        state, records = program(p, state, sample, steps)
        checks += [np.stack(jax.tree.leaves(records.checks))[:, : records.count]]
    return state, np.concatenate(checks, axis=1)


def unflattened(params):
    layers = kernels.layers(params)
    return [[np.asarray(layer[n]) for layer in layers] for n in ("kernel", "bias")]


@pytest.mark.parametrize("batch", [1, 4])
def test_sgd_is_sgd_by_hand(batch):
    inputs, labels = data(18)  # 18 = 4 * 4 + 2: the last two are dropped with batch 4
    p = plan(batch_size=batch, max_epochs=3, margin=1e9)
    state, records = whole(p, pad_sample(inputs, labels, 0))
    assert (
        state.outcome == Outcome.EXHAUSTED and state.epoch == 3 and records.count == 3
    )
    history = oracles.sgd(*unflattened(begin(p).params), inputs, labels, 0.5, batch, 3)
    for found, expected in zip(unflattened(state.params), history[-1], strict=True):
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_allclose(a, b, atol=2e-5)
    for epoch, (weights, biases) in enumerate(history):
        logits = [oracles.forward(weights, biases, x) for x in inputs]
        pairs = list(zip(logits, labels, strict=True))
        loss = np.mean([oracles.sigmoid_loss(z, y) for z, y in pairs])
        error = np.mean([oracles.margin(z, y) <= 0 for z, y in pairs])
        assert records.checks.loss[epoch] == pytest.approx(loss, rel=1e-4)
        assert records.checks.error[epoch] == pytest.approx(error)


def test_stops_at_the_first_epoch_that_meets_the_rule():
    inputs, labels = data(40)
    p = plan(threshold=0.1, margin=1.0)
    state, records = whole(p, pad_sample(inputs, labels, 0))
    assert state.outcome == Outcome.CONVERGED
    ended = int(state.epoch)
    history = oracles.sgd(*unflattened(begin(p).params), inputs, labels, 0.5, 1, ended)
    pairs = list(zip(inputs, labels, strict=True))
    below = [
        sum(oracles.margin(oracles.forward(w, b, x), y) < 1.0 for x, y in pairs)
        for w, b in history
    ]
    assert [count <= 4 for count in below] == [False] * (ended - 1) + [True]
    np.testing.assert_allclose(
        records.checks.margin_error[:ended], np.array(below) / 40
    )


@pytest.mark.parametrize(("below", "stops"), [(3, True), (4, False)])
def test_the_threshold_is_inclusive(below, stops):
    done = training.Check(jnp.float32(below / 100), jnp.float32(0), jnp.float32(0))
    outcome = training.judge(plan(threshold=0.03), done, 1)
    assert (outcome == Outcome.CONVERGED) == stops


def test_a_loss_target_replaces_the_margin_rule():
    inputs, labels = data(40)
    p = plan(loss="squared", loss_target=0.15, learning_rate=0.1, margin=1e9)
    state, records = whole(p, pad_sample(inputs, labels, 0))
    losses = records.checks.loss[: records.count]
    assert state.outcome == Outcome.CONVERGED
    assert losses[-1] <= 0.15 < losses[:-1].min()


def test_a_network_that_is_no_longer_finite_diverged():
    inputs, labels = data(40)
    state, _ = whole(
        plan(loss="squared", learning_rate=1e6), pad_sample(inputs, labels, 0)
    )
    assert state.outcome == Outcome.DIVERGED


def test_not_a_number_never_counts_as_a_margin_reached():
    p = plan()
    params = jax.tree.map(lambda w: w * jnp.nan, begin(p).params)
    done = training.check(p, params, pad_sample(*data(40), 0), 1)
    assert done.margin_error == 1 and done.error == 1


@pytest.mark.parametrize("shuffle", [pytest.param(False, marks=pytest.mark.slow), True])
def test_rows_of_padding_change_nothing(shuffle):
    inputs, labels = data(40)
    p = plan(shuffle=shuffle, max_epochs=3, margin=1e9)
    ends = [whole(p, pad_sample(inputs, labels, r))[0] for r in (0, 1000)]
    jax.tree.map(np.testing.assert_array_equal, *(e.params for e in ends))


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("steps", [1, 7, 64])
def test_in_chunks_as_in_one(steps, shuffle):
    sample = pad_sample(*data(30), 0)
    p = plan(shuffle=shuffle, batch_size=4, max_epochs=5, margin=1e9)
    state, records = whole(p, sample)
    chunked, checks = in_calls_of(p, sample, steps)
    jax.tree.map(
        np.testing.assert_array_equal, training.pack(chunked), training.pack(state)
    )
    kept = np.stack(jax.tree.leaves(records.checks))[:, : records.count]
    np.testing.assert_array_equal(checks, kept)


def test_a_long_run_is_reported_in_several_calls():
    sample = pad_sample(*data(5), 0)
    p = plan(max_epochs=150, margin=1e9, threshold=0.0, learning_rate=1e-3)
    state, records = whole(p, sample)
    assert records.count == training.RECORDS and state.outcome == Outcome.RUNNING
    state, checks = in_calls_of(p, sample, 10**6)
    assert checks.shape == (3, 150) and state.outcome == Outcome.EXHAUSTED


def test_shuffling_visits_every_example_once_and_anew():
    """With one weight a class and tiny steps, an epoch's update sums over the examples."""
    m = 12
    inputs, labels = np.eye(m, m, dtype=np.float32), np.zeros(m, np.int32)
    ends = []
    for shuffle in (False, True):
        p = plan(model=MLP(4, 0, 3, False), shuffle=shuffle, max_epochs=1, margin=1e9)
        params = training.init_params(p, jax.random.key(0), m)
        state = training.init_state(p, params, jax.random.key(7))
        ends.append(whole(p, pad_sample(inputs, labels, 0), state)[0])
    # Orthogonal inputs: the order cannot matter, a visit left out or doubled would.
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-7),
        *(end.params for end in ends),
    )
    inputs, labels = data(m)
    orders = []
    for seed in (0, 1):
        p = plan(shuffle=True, max_epochs=1, margin=1e9)
        state = begin(p).replace(key=jax.random.key(seed))
        orders.append(whole(p, pad_sample(inputs, labels, 0), state)[0].params)
    assert not np.array_equal(*(o["Dense_0"]["kernel"] for o in orders))


def test_watched_samples_are_checked_every_epoch_and_change_nothing():
    p, (inputs, labels) = plan(max_epochs=6, margin=1e9), data(40)
    sample = pad_sample(inputs, labels, 0)
    others = {
        name: pad_sample(*data(m, seed), 0)
        for name, m, seed in (("b", 200, 1), ("a", 30, 2))
    }
    alone, _ = whole(p, sample)
    state, records = whole(p, sample.replace(watched=others))
    for a, b in zip(*map(jax.tree.leaves, (alone.params, state.params)), strict=True):
        np.testing.assert_array_equal(a, b)
    watched = records.checks.watched
    assert sorted(watched) == ["a", "b"] and records.count == 6
    for name, (m, seed) in {"a": (30, 2), "b": (200, 1)}.items():
        x, y = data(m, seed)
        for epochs in (1, 6):
            end, _ = whole(plan(max_epochs=epochs, margin=1e9), sample)
            margins = [
                oracles.margin(oracles.forward(*unflattened(end.params), one), label)
                for one, label in zip(x, y, strict=True)
            ]
            expected = np.mean([v <= 0 for v in margins])
            assert watched[name][epochs - 1] == pytest.approx(expected, abs=1e-6)


def test_inputs_may_be_a_tree():
    """A model that reads a dict of arrays trains as one that reads their concatenation."""

    class Joined(MLP):
        def __call__(self, x):
            return super().__call__(jnp.concatenate([x["head"], x["tail"]], axis=-1))

    inputs, labels = data(40)
    tree = {"head": inputs[:, :2], "tail": inputs[:, 2:]}
    shapes = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape[1:], a.dtype), tree)
    ends = []
    for model, x, features in (
        (MLP(8, 1, 3, True), inputs, FEATURES), (Joined(8, 1, 3, True), tree, shapes),
    ):  # fmt: skip
        p = plan(model=model, shuffle=True, batch_size=4)
        params = training.init_params(p, jax.random.key(0), features)
        state = training.init_state(p, params, jax.random.key(1))
        ends.append(whole(p, pad_sample(x, labels, 0), state)[0].params)
    for a, b in zip(*map(jax.tree.leaves, ends), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5)
