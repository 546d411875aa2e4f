"""Networks that are rounded while they learn: what they compute, their slopes, and their bits."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from nets import augmentation, quantised, runs, training
from nets.kernels import layers
from nets.mlp import MLP
from nets.quantised import Priced, QuantisedNetwork
from nets.sample import pad_sample
from nets.strided import LeNet5, StridedCNN
from nets.subspace import SubspaceNetwork
from tests.nets.test_training import FEATURES, data, plan

MODELS = {
    "whole": MLP(12, 1, 3, True),
    "linear": MLP(12, 0, 3, False),
    "subspace": SubspaceNetwork(MLP(12, 1, 3, True), 4),
}


STEP = 0.25


@functools.cache
def start(name):
    model = QuantisedNetwork(MODELS[name], STEP)
    init = jax.jit(model.init)
    return model, init(jax.random.key(0), np.zeros((1, FEATURES)))["params"]


def drawn(params, seed=0):
    """The same with other numbers between the whole ones, as if learned."""
    rng = np.random.default_rng(seed)
    return {
        name: {
            n: np.float32(rng.normal(0, 2, np.shape(a)))
            if n in quantised.LEARNED
            else np.float32(a + rng.uniform(-3, 3))
            if n.startswith("exponent")
            else a
            for n, a in layer.items()
        }
        for name, layer in params.items()
    }


def by_hand(params):
    """Its layers with what is learned as whole numbers times a step: numpy, array by array."""
    found = {}
    for name, layer in params.items():
        found[name] = {}
        for n, a in layer.items():
            if n in quantised.LEARNED:
                step = 2.0 ** (np.round(np.asarray(layer[f"exponent_{n}"])) / 4)
                found[name][n] = np.float32(np.round(np.asarray(a)) * step)
            elif not n.startswith("exponent"):
                found[name][n] = a
    return found


@pytest.mark.parametrize("name", MODELS)
def test_it_is_the_network_of_whole_numbers_times_a_step(name, rng):
    model, params = start(name)
    params, x = drawn(params), rng.standard_normal((7, FEATURES)).astype(np.float32)
    expected = jax.jit(model.of.apply)({"params": by_hand(params)}, x)
    found = jax.jit(model.apply)({"params": params}, x)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    symbols, exponents = quantised.symbols(params)
    arrays = [s * 2.0 ** (k / 4) for s, k in zip(symbols, exponents, strict=True)]
    of_symbols = quantised.with_arrays(params, arrays)
    assert jax.tree.structure(of_symbols) == jax.tree.structure(by_hand(params))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6),
        of_symbols, by_hand(params),
    )  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
def test_it_starts_where_the_network_does_up_to_half_a_step(name):
    model, params = start(name)
    plain = jax.jit(model.of.init)(jax.random.key(0), np.zeros((1, FEATURES)))["params"]
    every = zip(layers(plain), layers(params), layers(by_hand(params)), strict=True)
    for own, layer, rounded in every:
        for n in quantised._learned(own):
            inputs, units = own["kernel"].shape if "kernel" in own else (1, 1)
            wanted = STEP * math.sqrt(2 / (inputs + units))
            step = 2.0 ** (float(layer[f"exponent_{n}"]) / 4)
            assert abs(math.log2(step / wanted)) <= 1 / 8 + 1e-6
            assert np.abs(rounded[n] - own[n]).max() <= step / 2 + 1e-6


@pytest.mark.parametrize("name", MODELS)
def test_slopes_pass_the_rounding(name, rng):
    """Those at the rounded numbers, times the step; of k by the derivative of the step."""
    model, params = start(name)
    params, x = drawn(params), rng.standard_normal((9, FEATURES)).astype(np.float32)

    def loss(run, p):
        return jnp.sum(jnp.sin(run({"params": p}, x)))

    found = jax.jit(jax.grad(lambda p: loss(model.apply, p)))(params)
    there = jax.jit(jax.grad(lambda p: loss(model.of.apply, p)))(by_hand(params))
    for layer, own, at in zip(*map(layers, (params, found, there)), strict=True):
        for n in quantised._learned(layer):
            step = 2.0 ** (np.round(layer[f"exponent_{n}"]) / 4)
            np.testing.assert_allclose(own[n], at[n] * step, rtol=1e-3, atol=1e-4)
            moved = np.sum(at[n] * np.round(layer[n])) * step * math.log(2) / 4
            scale = np.abs(at[n] * np.round(layer[n])).sum() * step
            np.testing.assert_allclose(
                own[f"exponent_{n}"], moved, rtol=1e-3, atol=1e-5 * scale + 1e-6
            )
        for n in ("left", "right", "fixed_kernel"):
            assert n not in own or not np.any(own[n])


soft_bits = jax.jit(quantised.soft_bits)


def test_soft_bits_are_the_entropy_where_numbers_are_whole(rng):
    _, params = start("whole")
    whole = jax.tree.map(lambda a: np.round(2 * rng.standard_normal(a.shape)), params)
    bits = 0.0
    for u in quantised.arrays(whole):
        _, counts = np.unique(np.clip(u, -8, 8), return_counts=True)
        bits += np.size(u) * stats.entropy(counts / counts.sum(), base=2)
    assert float(soft_bits(whole)) == pytest.approx(bits, rel=1e-5)


def test_the_slope_of_soft_bits_is_that_of_differences(rng):
    _, params = start("linear")
    params = drawn(params)
    with jax.enable_x64(True):
        params = jax.tree.map(lambda a: jnp.asarray(a, float), params)
        slope = jax.jit(jax.grad(quantised.soft_bits))(params)
        way = jax.tree.map(lambda a: rng.standard_normal(a.shape), params)

        def moved(by):
            there = jax.tree.map(lambda a, w: a + by * w, params, way)
            return soft_bits(there)

        difference = (moved(1e-7) - moved(-1e-7)) / 2e-7
        along = sum(
            jnp.sum(a * b)
            for a, b in zip(*map(jax.tree.leaves, (slope, way)), strict=True)
        )
    assert float(along) == pytest.approx(float(difference), rel=1e-3)
    # What is rare is dear: moving everything to 0 saves.
    none = jax.tree.map(np.zeros_like, params)
    assert float(soft_bits(none)) == 0


def test_the_objective_adds_the_price():
    model, params = start("whole")
    x, y = data(20)
    call = (model, drawn(params), x, y, jnp.asarray(50.0), jax.random.key(0))
    loss = augmentation.KnownLoss()
    bits = float(soft_bits(drawn(params)))
    priced, plain = (
        jax.jit(one, static_argnums=0)(*call) for one in (Priced(loss, 3.0), loss)
    )
    found = priced - plain
    assert float(found) == pytest.approx(3 * math.log(2) / 50 * bits, rel=1e-4)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30])
def test_numbers_of_any_size_have_symbols(value):
    _, params = start("whole")
    params = jax.tree.map(lambda a: np.full(np.shape(a), value, np.float32), params)
    symbols, exponents = quantised.symbols(params)
    assert all(np.abs(s).max() <= quantised.LARGEST for s in symbols)
    assert all(abs(int(k)) <= quantised.MOST for k in exponents)


@functools.cache
def trained(price):
    """(loss by epoch, parameters before and after) of a run in a subspace."""
    model = QuantisedNetwork(MODELS["subspace"], 0.5)
    p = plan(
        model=model, loss="softmax", batch_size=4, learning_rate=0.05, margin=99.0,
        max_epochs=30, optimizer="adam", objective=Priced(augmentation.KnownLoss(), price),
    )  # fmt: skip

    def begin(seed):
        params = training.init_params(p, jax.random.key(seed), FEATURES)
        state = training.init_state(p, params, jax.random.key(seed + 100))
        return state, pad_sample(*data(60, seed), 64)

    losses, after = [], None
    for tick in runs.train_many(
        p, range(1), begin, runs.make_layout(jax.devices()[:1])
    ):
        for checks in tick.checks.values():
            losses.extend(checks[:, 2])
        for done in tick.finished.values():
            after = done.state["params"]
    return losses, begin(0)[0].params, after


def test_training_lowers_the_loss_and_leaves_what_is_fixed():
    losses, before, after = trained(0.0)
    assert losses[-1] < 0.65 * losses[0]
    for was, is_now in zip(layers(before), layers(after), strict=True):
        for n in ("fixed_kernel", "left", "right"):
            np.testing.assert_array_equal(was[n], is_now[n])
        assert np.any(was["exponent_core"] != is_now["exponent_core"])


def test_bits_that_cost_are_saved():
    (_, _, free), (_, _, dear) = trained(0.0), trained(2.0)
    bits = [float(soft_bits(params)) for params in (free, dear)]
    assert bits[1] < 0.6 * bits[0]


def test_lenet5_has_the_published_shapes():
    model = LeNet5((28, 28, 1), 6, 10, True)
    one = jax.ShapeDtypeStruct((1, 784), np.float32)
    params = jax.eval_shape(model.init, jax.random.key(0), one)["params"]
    shapes = [layer["kernel"].shape for layer in layers(params)]
    assert shapes == [(5, 5, 1, 6), (5, 5, 6, 16), (400, 120), (120, 84), (84, 10)]
    assert sum(a.size for a in jax.tree.leaves(params)) == 61706
    # Strides that stand for pooling: the sizes between its layers are LeNet's.
    op, other = model.operators()[:2]
    assert op.outputs(shapes[0]) == (14, 14) and other.outputs(shapes[1]) == (5, 5)


@pytest.mark.parametrize(
    "plain", [StridedCNN((9, 10, 1), 2, 2, 4), LeNet5((9, 10, 1), 3, 4)]
)
def test_convolutions_are_quantised_too(plain, rng):
    model = QuantisedNetwork(SubspaceNetwork(plain, 3), 0.5)
    like = jax.eval_shape(model.init, jax.random.key(1), np.zeros((1, 90)))["params"]
    fixed = jax.tree.map(lambda a: rng.normal(0, 0.3, a.shape).astype(np.float32), like)
    params = drawn(fixed)
    x = rng.standard_normal((3, 90)).astype(np.float32)
    found = jax.jit(model.apply)({"params": params}, x)
    expected = jax.jit(model.of.apply)({"params": by_hand(params)}, x)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
