"""The two learners with closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nets import kernels, training
from nets.exponential import Exponential
from nets.linear import Linear
from nets.sample import pad_sample
from nets.training import Outcome
from tests import oracles


def linear_plan(model):
    return training.Plan(
        model=model, loss="linear", learning_rate=1.0, batch_size=1, shuffle=False,
        margin=1.0, threshold=0.0, loss_target=None, max_epochs=1,
    )  # fmt: skip


class Doubled:
    """Keeps one number of an input; its other coordinates are multiples of it."""

    def __call__(self, kept):
        return kept * jnp.arange(1.0, 4.0)


@pytest.mark.parametrize("expand", [None, Doubled()])
def test_one_epoch_is_one_gradient_step_on_the_sum(rng, expand):
    """w = sum_i y_i x_i, from 0."""
    kept = rng.standard_normal(50).astype(np.float32)
    inputs = kept[:, None] * np.arange(1.0, 4.0, dtype=np.float32)
    labels = rng.integers(2, size=50)
    plan = linear_plan(Linear((3,), expand))
    features = jax.ShapeDtypeStruct((), jnp.float32) if expand else 3
    params = training.init_params(plan, jax.random.key(0), features)
    sample = pad_sample(kept if expand else inputs, labels, 0)
    state = training.init_state(plan, params, jax.random.key(0))
    state, _ = jax.jit(training.advance, static_argnums=0)(plan, state, sample, 99)
    expected = np.zeros(3)
    for x, y in zip(inputs.astype(float), labels, strict=True):
        expected += (2 * y - 1) * x
    (kernel,) = kernels.weight_matrices(state.params)
    np.testing.assert_allclose(kernel[:, 0], expected, rtol=1e-5)
    assert state.outcome != Outcome.RUNNING and state.epoch == 1


def test_margins_of_a_linear_classifier_are_y_h(rng):
    kernel, x = rng.standard_normal((4, 1)), rng.standard_normal((6, 4))
    logits = Linear((4,)).apply(
        {"params": {"part_0": jnp.asarray(kernel)}}, jnp.asarray(x)
    )
    for one, (no, yes) in zip(x, logits, strict=True):
        h = sum(one * kernel[:, 0])
        np.testing.assert_allclose([yes - no, no - yes], [h, -h], rtol=1e-5)


@pytest.mark.parametrize(("dim", "m"), [(3, 1), (5, 40), (60, 30)])
def test_the_exponential_network_is_its_sum(rng, dim, m):
    inputs = rng.standard_normal((m, dim)).astype(np.float32)
    labels = rng.integers(2, size=m)
    fresh = rng.standard_normal((8, dim)).astype(np.float32)
    learned = pad_sample(inputs, labels, 0)
    logits = Exponential(0.5).apply({"params": learned}, jnp.asarray(fresh))
    for x, (no, yes) in zip(fresh, np.asarray(logits, float), strict=True):
        for label, found in ((1, yes - no), (0, no - yes)):
            expected = oracles.exponential_log_margin(inputs, labels, 0.5, x, label)
            np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_the_exponential_network_is_the_average_over_its_hidden_weights(rng):
    """h(x) = E_w[a(w) exp(w.x)], a(w) = sum_i y_i exp(w.x_i), by sampling w."""
    inputs, labels = 0.3 * rng.standard_normal((5, 2)), np.array([0, 1, 1, 0, 1])
    x, scale = np.array([0.2, -0.4]), 0.7
    w = np.sqrt(scale) * rng.standard_normal((10**6, 2))
    a = sum(
        (2 * y - 1) * np.exp(w @ one) for one, y in zip(inputs, labels, strict=True)
    )
    values = a * np.exp(w @ x)
    learned = pad_sample(inputs, labels, 0)
    no, yes = np.asarray(
        Exponential(scale).apply({"params": learned}, jnp.asarray(x[None], jnp.float32))
    )[0]
    error = values.std() / 1000
    assert abs(np.exp(yes) - np.exp(no) - values.mean()) < 4 * error


@pytest.mark.parametrize("dim", [1000, 20000])
def test_nothing_overflows_in_high_dimension(rng, dim):
    inputs = rng.standard_normal((20, dim)).astype(np.float32)
    learned = pad_sample(inputs, np.arange(20) % 2, 0)
    logits = Exponential(1.0).apply({"params": learned}, jnp.asarray(inputs))
    assert np.isfinite(logits).all()
    # The twin's term exp(||2 x||^2 / 2) dominates: every example is classified as it is.
    assert ((logits[:, 1] > logits[:, 0]) == (np.arange(20) % 2 == 1)).all()


def test_a_class_without_examples_never_wins(rng):
    inputs = rng.standard_normal((9, 3)).astype(np.float32)
    learned = pad_sample(inputs, np.ones(9, int), 0)
    no, yes = Exponential(1.0).apply({"params": learned}, jnp.asarray(inputs)).T
    assert (no == -np.inf).all() and np.isfinite(yes).all()


def test_parts_of_an_input_are_one_input(rng):
    x, y = rng.standard_normal((30, 5)).astype(np.float32), rng.integers(2, size=30)
    ends = []
    for features, inputs, like in (
        ((5,), x, 5),
        ((2, 3), (x[:, :2], x[:, 2:]), tuple(
            jax.ShapeDtypeStruct((k,), jnp.float32) for k in (2, 3)
        )),
    ):  # fmt: skip
        plan = linear_plan(Linear(features))
        params = training.init_params(plan, jax.random.key(0), like)
        state = training.init_state(plan, params, jax.random.key(0))
        sample = pad_sample(inputs, y, 0)
        state, _ = jax.jit(training.advance, static_argnums=0)(plan, state, sample, 99)
        ends.append(kernels.weight_matrices(state.params))
    np.testing.assert_allclose(ends[0][0], ends[1][0], rtol=1e-6)
    assert len(ends[0]) == len(ends[1]) == 1
