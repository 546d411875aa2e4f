"""Networks and training sets that formulas meet rarely: each was once wrong, or ended in a traceback."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import bounds
from bounds.measures import levels, paths
from nets.graph import graph_of
from nets.normalised import NormalisedCNN
from nets.sample import pad_sample

CHAIN_ENDS = (
    "golowich_2018_l1_certified", "golowich_2018_l1_path_certified",
    "golowich_2018_frobenius_certified", "neyshabur_2015_frobenius_certified",
)  # fmt: skip


def convolved(kernel, bias, image, padding):
    found = jax.lax.conv_general_dilated(
        image, kernel, (1, 1), padding, dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    return found + bias


def ending_in_a_convolution(outputs):
    """conv 3x3 SAME, ReLU, conv 4x4 VALID: as a network, and each layer as a matrix, bias last."""
    rng = np.random.default_rng(outputs)
    shapes = {"a": (3, 3, 2, 3), "b": (4, 4, 3, outputs)}
    params = {n: rng.normal(size=s).astype(np.float32) / 3 for n, s in shapes.items()}
    biases = {n: rng.normal(size=s[-1]).astype(np.float32) for n, s in shapes.items()}

    def apply(variables, x):
        kernels, shifts = variables
        hidden = jax.nn.relu(convolved(kernels["a"], shifts["a"], x, "SAME"))
        return convolved(kernels["b"], shifts["b"], hidden, "VALID").reshape(len(x), -1)

    x = rng.normal(size=(12, 4, 4, 2)).astype(np.float32)
    y = np.arange(12) % outputs
    start = jax.tree.map(lambda a: a + np.float32(0.1), (params, biases))
    with jax.numpy_rank_promotion("allow"):
        network = bounds.from_apply(apply, (params, biases), x, y, init=start)
    matrices = []
    for name, channels, padding in (("a", 2, "SAME"), ("b", 3, "VALID")):
        units = np.eye(16 * channels, dtype=np.float32).reshape(-1, 4, 4, channels)
        own = convolved(params[name], 0.0, units, padding).reshape(len(units), -1)
        positions = own.shape[1] // params[name].shape[-1]
        bias = np.tile(biases[name], positions)
        matrices.append(np.append(np.asarray(own, float), bias[None], axis=0))
    return network, matrices


@pytest.mark.parametrize("outputs", [2, 3])
def test_a_chain_that_ends_in_a_convolution_is_the_matrices_it_is(outputs):
    network, (first, last) = ending_in_a_convolution(outputs)
    with jax.enable_x64(True):
        found = jax.jit(paths.peeling)(network)
    hidden = np.append(np.abs(first).sum(axis=0), 1.0)  # and the constant's column
    assert float(found.log_l1) == pytest.approx(
        math.log(hidden.max() * np.abs(last).sum()), rel=1e-5
    )
    frobenius = math.sqrt(np.sum(first**2) + 1) * np.linalg.norm(last, axis=0).sum()
    assert float(found.log_frobenius) == pytest.approx(math.log(frobenius), rel=1e-5)
    assert int(found.outputs) == (1 if outputs == 2 else 3)
    said = bounds.values(network, CHAIN_ENDS)
    assert all(float(value.value) >= 1 for value in said.values())


def test_what_is_normalised_has_to_be_folded_first():
    """Its scales and shifts are learned, and in no layer: a count of parameters leaves them out."""
    model = NormalisedCNN((8, 8, 1), 4, 1, 3, True)
    x = np.zeros((6, 64), np.float32)
    params = jax.eval_shape(model.init, jax.random.key(0), x)["params"]
    params = jax.tree.map(lambda a: jnp.ones(a.shape, a.dtype), params)
    network = bounds.Network(
        model=model, params=params, sample=pad_sample(x, np.arange(6) % 3, 0),
        init=None, other=None, history=None, first_epoch=None,
    )  # fmt: skip
    with pytest.raises(ValueError, match=r"fold them into these first: bounds\.folded"):
        bounds.measure(network, ("architecture",))


@pytest.mark.parametrize("is_right", [True, False])
def test_a_complexity_at_the_median_margin_is_infinite_where_that_is_negative(is_right):
    """`long_2020_certified` took a second logarithm, and said 5.41 whatever the network."""
    rng = np.random.default_rng(0)
    w = rng.normal(size=(3, 2)).astype(np.float32)
    x = rng.normal(size=(40, 3)).astype(np.float32)
    labels = np.argmax(x @ w, axis=1)
    network = bounds.from_arrays(
        [w],
        x,
        labels if is_right else 1 - labels,
        init=[rng.normal(size=(3, 2)).astype(np.float32)],
    )
    names = (
        "long_2020_certified",
        "golowich_2018_l1_certified",
        "neyshabur_2018_certified",
    )
    for name, value in bounds.values(network, names).items():
        is_finite = float(value.log_complexity) < 600  # 1e6 stands for infinity
        assert is_finite == is_right, name
        assert float(value.value) > 0


@pytest.mark.parametrize(("slope", "factor"), [(0.5, 2), (3.0, 3)])
def test_a_slope_above_1_costs_what_bypasses_it(slope, factor):
    """Values >= 0, and the constant, are their own ReLUs; divided by the slope they are not their own."""
    rng = np.random.default_rng(0)
    params = {n: rng.normal(size=(4, 4)).astype(np.float32) for n in "abc"}

    def apply(p, x):
        hidden = jax.nn.relu(x @ p["a"])
        return (hidden + jax.nn.leaky_relu(hidden @ p["b"], slope)) @ p["c"]

    x = rng.normal(size=(6, 4)).astype(np.float32)
    network = bounds.from_apply(apply, params, x, np.arange(6) % 4)
    found = levels.factors(graph_of(network.model, network.params))
    assert [cost for cost, _ in found] == [2, factor]


def test_one_layer_without_hidden_ones_is_not_free():
    """d counts hidden layers by convention; of 0 of them the bound was R_S."""
    x = np.eye(4, 3, dtype=np.float32)
    network = bounds.from_arrays(
        [np.ones((3, 2), np.float32)],
        x,
        np.zeros(4, int),
        init=[np.zeros((3, 2), np.float32)],
    )
    one = bounds.values(
        network, ["neyshabur_2018"], convention=bounds.Convention(depth_factor="hidden")
    )
    other = bounds.values(
        network,
        ["neyshabur_2018"],
        convention=bounds.Convention(depth_factor="matrices"),
    )
    assert one["neyshabur_2018"].excess == other["neyshabur_2018"].excess > 0


def test_logarithms_of_one_example_are_not_0():
    network = bounds.from_arrays(
        [np.ones((3, 2), np.float32)],
        np.ones((1, 3), np.float32),
        np.zeros(1, int),
        init=[np.zeros((3, 2), np.float32)],
    )
    name = "bartlett_2017_with_logs"
    assert float(bounds.values(network, [name])[name].excess) > 0
