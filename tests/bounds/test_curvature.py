"""The Hessian and the gradients of single examples, against finite differences and loops."""

import dataclasses
import math

import jax
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import bounds
from bounds.families.curvature import hessian_trace
from bounds.measures.curvature import hessian_product
from bounds.measures.loss import kernels_of
from nets.cnn import CNN
from nets.graph import graph_of
from nets.losses import LOSSES
from nets.sample import pad_sample
from tests import oracles
from tests.bounds.cases import measured, network, random_case
from tests.oracles import convolution
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
    assert_is_of(oracle.hessian(*arrays(case)), found["curvature"])


def assert_is_of(hessian, ours):
    values = np.linalg.eigvalsh(hessian)
    assert ours.top_eigenvalue == pytest.approx(values[-1], rel=1e-4)
    nearest = np.min(np.abs(values - ours.top_eigenvalue))
    assert nearest <= ours.top_eigenvalue_residual + 1e-5 * values[-1]
    assert ours.trace == pytest.approx(np.trace(hessian), rel=1e-5)


def test_all_examples_are_curved_but_the_padding():
    """More than the 1024 that sharpness looks at, whose margins are so large that they tell nothing.

    Few differ, so that the Hessian by hand is quick.
    """
    case = random_case(14, [3, 4, 2], m=12)
    is_first = np.arange(12) < 8
    logits = np.array(case.logits)
    scales = np.where(is_first, 600 / np.abs(logits).max(axis=1), 1.0)
    x = (case.x * scales[:, None]).astype(np.float32)
    y = np.where(is_first, np.argmax(logits, axis=1), case.y)
    case = dataclasses.replace(case, x=x.astype(float), y=y)
    assert np.sum(np.array(case.margins) > 100) == 8
    copies = np.where(is_first, 128, 25)
    many = dataclasses.replace(case, x=x.repeat(copies, 0), y=y.repeat(copies))
    net = many.network()
    assert many.m == 1124 < len(net.sample.labels)
    spoiled = net.sample.replace(inputs=net.sample.inputs.at[many.m :].set(1e6))
    weights, biases, _, _ = arrays(case)
    hessian = sum(
        n * oracle.hessian(weights, biases, case.x[i : i + 1], y[i : i + 1])
        for i, n in enumerate(copies)
    )
    found, _ = measured(net.replace(sample=spoiled), ("curvature",))
    assert_is_of(hessian / many.m, found["curvature"])


@pytest.mark.parametrize("scale", [30.0, 200.0])
def test_curvature_where_every_margin_is_large(scale):
    """Probabilities of e^-1000, which float32 has not: the logarithm of the least is kept."""
    case = random_case(5, [3, 5, 3], m=20, biases=True)
    logits = np.array(case.logits)
    y = np.argmax(logits, axis=1)
    ordered = np.sort(logits, axis=1)
    kept = ordered[:, -1] - ordered[:, -2] > 0.5
    case = dataclasses.replace(case, x=case.x[kept], y=y[kept])
    weights = [*case.weights[:-1], scale * case.weights[-1]]
    biases = [*case.biases[:-1], scale * case.biases[-1]]
    large = dataclasses.replace(case, weights=weights, biases=biases)
    assert min(large.margins) > 90 or scale < 100
    found, _ = measured(large.network(), ("curvature",))
    ours = found["curvature"]
    fisher, hessian = large_margin_hessian(*arrays(large))
    assert 0 < np.trace(fisher) < 1e-3
    assert ours.trace == pytest.approx(np.trace(fisher), rel=1e-3)
    top = np.linalg.eigvalsh(hessian)[-1]
    assert ours.top_eigenvalue == pytest.approx(top, rel=1e-3)
    assert ours.top_eigenvalue_residual < 1e-3 * top


def large_margin_hessian(weights, biases, x, y):
    """J'(diag p - p p')J averaged, and the whole Hessian: p by its logarithms, J by hand.

    J is the Jacobian of the logits in the kernels; the second derivatives of a logit are central
    differences of it.
    """
    w, count = oracle.flat(weights), len(y)
    fisher = np.zeros((len(w), len(w)))
    rest = np.zeros_like(fisher)
    step = 1e-5
    for one, label in zip(x, y, strict=True):
        z = oracles.forward(weights, biases, one)
        p = np.exp(oracle.log_softmax(z))
        slack = p.copy()
        slack[label] = -np.sum(np.delete(p, label))  # p - 1, which would cancel
        jacobian = logit_gradients(weights, biases, one)
        middle = np.diag(p) - np.outer(p, p)
        middle[label, label] = p[label] * -slack[label]
        fisher += jacobian.T @ middle @ jacobian / count
        for index in range(len(w)):
            moved = np.zeros(len(w))
            moved[index] = step
            sides = [
                logit_gradients(oracle.shaped(w + s * moved, weights), biases, one)
                for s in (1, -1)
            ]
            rest[index] += slack @ (sides[0] - sides[1]) / (2 * step) / count
    return fisher, fisher + (rest + rest.T) / 2


def logit_gradients(weights, biases, one):
    """`[C, P]`: the gradient of each logit in the kernels."""
    rows = []
    for unit in np.eye(weights[-1].shape[1]):
        kernels, _ = oracle.backward(weights, biases, one, unit)
        rows.append(oracle.flat(kernels))
    return np.array(rows)


def test_the_trace_is_not_negative(measured_case):
    """Of a ReLU network it is that of sum_i J_i' (diag p_i - p_i p_i') J_i / m."""
    case, found = measured_case
    assert np.all(np.diag(oracle.hessian(*arrays(case))) > -1e-6)
    with jax.enable_x64(True):
        said = jax.device_get(hessian_trace(found["curvature"]))
        nothing = found["curvature"].replace(trace=np.float64(0.0))
        below = jax.device_get(hessian_trace(nothing))
    assert said.value == found["curvature"].trace and said.estimate is None
    assert below.value == 0 and below.log_complexity == -np.inf


@pytest.mark.parametrize(
    ("name", "loss"),
    [
        *(("biases", loss) for loss in LOSSES),
        *(pytest.param("two layers", loss, marks=pytest.mark.slow) for loss in LOSSES),
    ],
)
def test_gradient_noise_is_of_the_loss_trained_on(name, loss):
    case = CASES[name]
    given = arrays(case)
    found = measured(case.network(loss), ("gradients",))[0]["gradients"]
    expected = oracle.gradient_noise(*given, loss)
    assert found.noise == pytest.approx(expected, rel=1e-4)
    g = oracle.flat(oracle.gradient(*given, loss)[0])
    assert found.squared_norm == pytest.approx(g @ g, rel=1e-4)


def test_gradient_noise_is_of_no_other_loss():
    net = network(depth=1).replace(loss=None)
    _, missing = bounds.measure(net, ("gradients", "gradients_first_epoch"))
    said = (
        "the loss of an example that it was trained on is not given (evaluate --loss, "
    )
    said += "from_arrays(loss=)), or there is none"
    assert missing == {"gradients": said, "gradients_first_epoch": said}
    values = bounds.values(net, ["gradient_noise_final"])
    assert values == {"gradient_noise_final": said}
    # and the noise after the first epoch is of the weights after it, by the same loss
    net = net.replace(loss="squared")
    groups = ("gradients", "gradients_first_epoch")
    first = measured(net, groups)[0]["gradients_first_epoch"]
    then = measured(net.replace(params=net.first_epoch), groups)[0]["gradients"]
    assert first == then


def test_gradient_noise_where_every_margin_is_large():
    """Squares of e^-60, which float32 has not, and p - 1 where p is 1 in it."""
    case = random_case(5, [3, 5, 3], m=20, biases=True)
    logits = np.sort(np.array(case.logits), axis=1)
    kept = logits[:, -1] - logits[:, -2] > 0.5
    y = np.argmax(case.logits, axis=1)
    weights = [*case.weights[:-1], 120 * case.weights[-1]]
    biases = [*case.biases[:-1], 120 * case.biases[-1]]
    large = dataclasses.replace(
        case, weights=weights, biases=biases, x=case.x[kept], y=y[kept]
    )
    assert 55 < min(large.margins) < 80
    each = []
    for one, label in zip(large.x, large.y, strict=True):
        slope = np.exp(oracle.log_softmax(oracles.forward(weights, biases, one)))
        slope[label] = -np.sum(np.delete(slope, label))
        each.append(oracle.flat(oracle.backward(weights, biases, one, slope)[0]))
    each = np.array(each)
    expected = np.mean(np.sum((each - each.mean(axis=0)) ** 2, axis=1))
    assert 0 < expected < 1e-40
    found = measured(large.network(), ("gradients",))[0]["gradients"]
    assert found.noise == pytest.approx(expected, rel=1e-3)


def test_all_examples_have_gradients_but_the_padding():
    case = random_case(2, [3, 5, 2], m=300)
    net = case.network()
    spoiled = net.sample.replace(inputs=net.sample.inputs.at[case.m :].set(1e6))
    for one in (net, net.replace(sample=spoiled)):
        found, _ = measured(one, ("gradients",))
        expected = oracle.gradient_noise(*arrays(case))
        assert found["gradients"].noise == pytest.approx(expected, rel=1e-4)


def convolutional(image=(5, 4, 2), loss="softmax"):
    model = CNN(image, 3, 1, 3, biases=True)
    features = math.prod(image)
    params = model.init(jax.random.key(3), np.zeros((1, features)))["params"]
    rng = np.random.default_rng(0)
    x = rng.standard_normal((30, features)).astype(np.float32)
    sample = pad_sample(x, rng.integers(3, size=30), 0)
    return bounds.Network(model, params, sample, loss=loss)


def loss_by_lax(net, params):
    """The mean cross-entropy by the module itself, whose convolutions are XLA's."""
    size = int(net.sample.size)
    logits = net.model.apply({"params": params}, net.sample.inputs[:size])
    log_p = jax.nn.log_softmax(logits)[np.arange(size), net.sample.labels[:size]]
    return -jax.numpy.mean(log_p)


@pytest.mark.parametrize("image", [(5, 4, 2), (6, 7, 1)])
def test_the_chain_of_a_convolutional_network_is_the_network(image):
    net = convolutional(image=image)
    graph = graph_of(net.model, net.params)
    assert not graph.no_chain and not graph.no_paths
    expected = net.model.apply({"params": net.params}, net.sample.inputs)
    run = jax.jit(graph.values, static_argnames="by_patches")
    for by_patches in (False, True):
        values = run(net.params, net.sample.inputs, by_patches=by_patches)
        np.testing.assert_allclose(values[-1], expected, rtol=1e-5, atol=1e-6)
    height, width = -(-image[0] // 2), -(-image[1] // 2)
    assert values[graph.nodes[-1].inputs[0]].shape[1:] == (height, width, 3)


@pytest.mark.slow
@pytest.mark.parametrize("image", [(5, 4, 2), (4, 4, 1)])
def test_curvature_of_a_convolutional_network_is_that_of_its_hessian(image):
    """jax.hessian in float64, by the module itself."""
    net = convolutional(image=image)
    names = sorted(net.params)
    with jax.enable_x64(True):
        wide = jax.tree.map(lambda w: np.asarray(w, float), net.params)
        flat, unravel = ravel_pytree([wide[name]["kernel"] for name in names])

        def loss(flat):
            kernels = zip(names, unravel(flat), strict=True)
            moved = {name: wide[name] | {"kernel": w} for name, w in kernels}
            return loss_by_lax(net, moved)

        hessian = jax.device_get(jax.jit(jax.hessian(loss))(flat))
    assert_is_of(hessian, measured(net, ("curvature",))[0]["curvature"])


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


def convolved(layers, images):
    """Logits `[C, N]` of a network of one block, in loops; `images` `[H, W, channels, N]`."""
    first, second, last = ((w["kernel"], w["bias"]) for w in layers)
    x = images
    for (kernel, bias), stride in ((first, 2), (second, 1)):
        x = convolution.zero_padded(kernel, x, (stride, stride))
        x = np.maximum(x + bias[None, None, :, None], 0)
    return last[0].T @ x.mean(axis=(0, 1)) + last[1][:, None]


# Its loss is a fully connected network's, of which all are quick.
@pytest.mark.parametrize(
    "loss",
    [
        pytest.param(loss, marks=() if loss == "softmax" else pytest.mark.slow)
        for loss in LOSSES
    ],
)
def test_gradient_noise_of_a_convolutional_network(loss):
    """Logits are linear in one weight, so that a small difference is a slope; in float64."""
    net, step = convolutional(loss=loss), 1e-6
    size, (height, width, channels) = int(net.sample.size), net.model.image
    inputs = np.asarray(net.sample.inputs, float)[:size]
    images = inputs.reshape(size, height, width, channels).transpose(1, 2, 3, 0)
    wide = jax.tree.map(lambda w: np.array(w, float), net.params)
    layers = [wide[name] for name in sorted(wide)]
    slopes = []
    for layer in layers:
        kernel = layer["kernel"]
        for place in np.ndindex(kernel.shape):
            kept, sides = kernel[place], []
            for sign in (1, -1):
                kernel[place] = kept + sign * step
                sides.append(convolved(layers, images))
            kernel[place] = kept
            slopes.append((sides[0] - sides[1]) / (2 * step))
    jacobians, logits = np.array(slopes), convolved(layers, images)
    each = np.array([
        jacobians[:, :, i] @ oracle.loss_slope(logits[:, i], label, loss)
        for i, label in enumerate(np.asarray(net.sample.labels)[:size])
    ])  # fmt: skip
    mean = each.mean(axis=0)
    expected = np.mean(np.sum((each - mean) ** 2, axis=1))
    found = measured(net, ("gradients",))[0]["gradients"]
    assert found.noise == pytest.approx(expected, rel=1e-4)
    assert found.squared_norm == pytest.approx(mean @ mean, rel=1e-4)


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
