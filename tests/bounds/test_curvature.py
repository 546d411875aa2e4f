"""The Hessian and the gradients of single examples, against finite differences and loops."""

import math

import jax
import numpy as np
import pytest

import bounds
from bounds.families.curvature import hessian_trace
from bounds.measures.curvature import Curvature, hessian_product
from bounds.measures.loss import kernels_of
from bounds.numerics import chain
from nets.cnn import CNN
from nets.sample import pad_sample
from tests.bounds.cases import measured, random_case
from tests.oracles import sharpness as oracle

GROUPS = ("curvature", "gradients")
CASES = {
    "biases": random_case(0, [3, 6, 4, 3], m=30, biases=True),
    "two layers": random_case(1, [4, 6, 2], m=30),
}


def arrays(case):
    biases = case.biases or [np.zeros(w.shape[1]) for w in case.weights]
    return case.weights, biases, case.x, case.y


@pytest.fixture(scope="module", params=CASES)
def measured_case(request):
    case = CASES[request.param]
    return case, measured(case.network(), GROUPS)[0]


def test_curvature_is_that_of_the_explicit_hessian(measured_case):
    case, found = measured_case
    hessian = oracle.hessian(*arrays(case))
    values = np.linalg.eigvalsh(hessian)
    ours = found["curvature"]
    assert ours.top_eigenvalue == pytest.approx(values[-1], rel=1e-4)
    nearest = np.min(np.abs(values - ours.top_eigenvalue))
    assert nearest <= ours.top_eigenvalue_residual + 1e-5 * values[-1]
    # The variance of v'Hv for signs v is twice the sum of the squares off the diagonal.
    off = hessian - np.diag(np.diag(hessian))
    error = math.sqrt(2 * np.sum(off**2) / 16)
    assert abs(ours.trace - np.trace(hessian)) < 4 * error
    assert 0.4 < ours.trace_standard_error / error < 2.5


def test_the_trace_is_not_negative(measured_case):
    """Of a ReLU network it is that of sum_i J_i' (diag p_i - p_i p_i') J_i / m."""
    case, _ = measured_case
    assert np.all(np.diag(oracle.hessian(*arrays(case))) > -1e-6)
    estimate = Curvature(*(np.float64(v) for v in (1, 0, -0.1, 1, 40, 16, 20)))
    with jax.enable_x64(True):
        below = jax.device_get(hessian_trace(estimate))
    assert below.value == 0 and below.log_complexity == -np.inf


def test_gradient_noise(measured_case):
    case, found = measured_case
    given = arrays(case)
    expected = oracle.gradient_noise(*given)
    assert found["gradients"].noise == pytest.approx(expected, rel=1e-4)
    g = oracle.flat(oracle.gradient(*given)[0])
    assert found["gradients"].squared_norm == pytest.approx(g @ g, rel=1e-4)


def test_all_examples_have_gradients_but_the_padding():
    case = random_case(2, [3, 5, 2], m=300)
    net = case.network()
    spoiled = net.sample.replace(inputs=net.sample.inputs.at[case.m :].set(1e6))
    for one in (net, net.replace(sample=spoiled)):
        found, _ = measured(one, ("gradients",))
        expected = oracle.gradient_noise(*arrays(case))
        assert found["gradients"].noise == pytest.approx(expected, rel=1e-4)


def convolutional(image=(5, 4, 2)):
    model = CNN(image, 3, 1, 3, biases=True)
    features = math.prod(image)
    params = model.init(jax.random.key(3), np.zeros((1, features)))["params"]
    rng = np.random.default_rng(0)
    x = rng.standard_normal((30, features)).astype(np.float32)
    sample = pad_sample(x, rng.integers(3, size=30), 0)
    return bounds.Network(model, params, sample)


def loss_by_lax(net, params):
    """The mean cross-entropy by the module itself, whose convolutions are XLA's."""
    size = int(net.sample.size)
    logits = net.model.apply({"params": params}, net.sample.inputs[:size])
    log_p = jax.nn.log_softmax(logits)[np.arange(size), net.sample.labels[:size]]
    return -jax.numpy.mean(log_p)


@pytest.mark.parametrize("image", [(5, 4, 2), (6, 7, 1)])
def test_the_chain_of_a_convolutional_network_is_the_network(image):
    net = convolutional(image=image)
    logits, arriving = chain.logits(net.model, net.params, net.sample.inputs)
    expected = net.model.apply({"params": net.params}, net.sample.inputs)
    np.testing.assert_allclose(logits, expected, rtol=1e-5, atol=1e-6)
    height, width = -(-image[0] // 2), -(-image[1] // 2)
    assert arriving[-1].shape[1:] == (height, width, 3)


@pytest.mark.slow
def test_curvature_of_a_convolutional_network():
    """H v against a difference of gradients by another way, in float64."""
    net = convolutional()
    rng = np.random.default_rng(1)
    direction = jax.tree.map(
        lambda w: rng.standard_normal(w.shape).astype(np.float32),
        kernels_of(net.params),
    )
    ours = jax.jit(hessian_product)(net, direction)
    step = 1e-5
    with jax.enable_x64(True):
        wide = jax.tree.map(lambda w: np.asarray(w, float), net.params)
        slope = jax.grad(lambda params: loss_by_lax(net, params))

        def at(t):
            moved = {
                name: layer
                | {"kernel": layer["kernel"] + t * direction[f"{number}/kernel"]}
                for number, (name, layer) in enumerate(sorted(wide.items()))
            }
            return slope(moved)

        above, below = jax.device_get((at(step), at(-step)))
    for number, name in enumerate(sorted(net.params)):
        expected = (above[name]["kernel"] - below[name]["kernel"]) / (2 * step)
        np.testing.assert_allclose(
            ours[f"{number}/kernel"], expected, rtol=1e-3, atol=1e-5
        )


@pytest.mark.slow
def test_gradient_noise_of_a_convolutional_network():
    net = convolutional()
    rows = range(int(net.sample.size))

    def gradient(row):
        one = pad_sample(net.sample.inputs[row][None], net.sample.labels[row][None], 0)
        found = slope(net.params, net.replace(sample=one))
        return np.concatenate([np.ravel(found[name]["kernel"]) for name in found])

    slope = jax.grad(lambda params, net: loss_by_lax(net, params))
    each = np.stack([gradient(row) for row in rows]).astype(float)
    expected = np.mean(np.sum((each - each.mean(axis=0)) ** 2, axis=1))
    found, _ = measured(net, ("gradients",))
    assert found["gradients"].noise == pytest.approx(expected, rel=1e-4)


def test_networks_side_by_side():
    nets = [random_case(seed, [4, 6, 2], m=30).network() for seed in (1, 5)]
    alone = [measured(net, GROUPS)[0] for net in nets]
    program = jax.jit(
        jax.vmap(lambda net: bounds.measure(net, GROUPS)[0]),
        compiler_options={"xla_backend_optimization_level": 0},
    )
    # In float32 throughout: draws are the same.
    lanes = program(jax.tree.map(lambda *leaves: np.stack(leaves), *nets))
    for lane, expected in enumerate(alone):
        own = jax.tree.map(lambda leaf, lane=lane: leaf[lane], lanes)
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4),
            own,
            expected,
        )
