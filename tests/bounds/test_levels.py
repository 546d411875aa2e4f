"""Peeling graphs: the lemmas by all signs, the factors by hand, the bound by loops."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import bounds
from bounds.measures.levels import factors, levels, log_path
from nets.graph import Graph, Node
from nets.operations import MAX, MEAN, Affine, Window
from nets.operators import Convolution, Dense
from nets.sample import pad_sample
from tests import oracles
from tests.oracles.graphs import mean_of_largest
from tests.oracles.path_norms import gonon_2024


def relu(x):
    return np.maximum(x, 0)


def leaky(x):
    return np.where(x > 0, x, 0.3 * x)


def graph(*nodes):
    return Graph((Node("input", op=(4, 4, 1)), *nodes))


RELU, LEAKY = Node("relu", (0,)), Node("leaky", (0,), 0.3)
FUNCTIONS = {
    "relu": ([relu], False, graph(RELU)),
    "relu past which signs go": ([relu], True, graph(RELU, Node("add", (0, 1)))),
    "leaky": ([leaky], False, graph(LEAKY)),
    "two kinds": ([relu, leaky], False, graph(RELU, LEAKY, Node("concat", (1, 2)))),
    "two kinds past which signs go": (
        [relu, leaky], True, graph(RELU, LEAKY, Node("concat", (0, 1, 2))),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FUNCTIONS)
def test_what_a_level_costs_by_all_signs(name, rng):
    """E exp(rate sup |sum eps f(h)|) <= F E exp(rate sup |sum eps h|), by enumeration."""
    functions, bypassed, of_them = FUNCTIONS[name]
    ((factor, _),) = factors(of_them)
    closest = 0.0
    for trial in range(60):
        n = 2 + trial % 4
        h = rng.normal(size=(1 + trial % 5, n)) * 10 ** rng.uniform(-1, 1)
        h = np.concatenate([h, -h])  # hulls are closed under signs
        behind = [f(h) for f in functions] + ([h] if bypassed else [])
        for rate in (0.1, 1.0, 5.0 / np.abs(h).sum(1).max()):
            left = mean_of_largest(np.concatenate(behind), rate)
            right = factor * mean_of_largest(h, rate)
            assert left <= right * (1 + 1e-12)
            closest = max(closest, left / right)
    assert closest > 0.2  # the lemma is not idle


@pytest.mark.parametrize("with_zero", [False, True])
def test_what_the_largest_of_several_values_costs_by_all_signs(rng, with_zero):
    """Of max_v mu_v h_v, divided by sum_v mu_v, h_v any of H; a ReLU before it is free."""
    for trial in range(40):
        n, size = 2 + trial % 2, 2 + trial % 2
        pool, relus = Window(MAX, (1, size), (1, 1)), [RELU] * with_zero
        ((factor, largest),) = factors(
            graph(*relus, Node("window", (len(relus),), pool))
        )
        assert largest == size
        h = rng.normal(size=(2, n))
        h = np.concatenate([h, -h])
        weights = rng.uniform(0.1, 2, size=(3, size))
        behind = []
        for mu in weights:
            for chosen in itertools.product(range(len(h)), repeat=size):
                values = mu[:, None] * h[list(chosen)]
                values = relu(values) if with_zero else values
                behind.append(values.max(axis=0) / mu.sum())
        for rate in (0.3, 3.0):
            left = mean_of_largest(np.array(behind), rate)
            independent = 2 * mean_of_largest(h, rate, copies=size)
            assert left <= independent * (1 + 1e-12)
            assert independent <= factor * mean_of_largest(h, rate) * (1 + 1e-12)


CONVOLUTION = Convolution((4, 4), (1, 1), ((1, 1), (1, 1)))
POOL = Window(MAX, (2, 2), (2, 2))


def layer(place, number, op=CONVOLUTION):
    return Node("linear", (place,), op, number)


GRAPHS = {
    "chain": (
        graph(layer(0, 0), Node("relu", (1,)), layer(2, 1), Node("relu", (3,)), layer(4, 2)),
        [(2, 1), (2, 1)],
    ),
    "a pool behind a ReLU": (
        graph(layer(0, 0), Node("relu", (1,)), Node("window", (2,), POOL), layer(3, 1, Dense())),
        [(8, 4)],
    ),
    "a pool of what goes elsewhere, too": (
        graph(
            layer(0, 0), Node("relu", (1,)), Node("window", (2,), Window(MAX, (1, 2), (1, 1))),
            Node("window", (3,), Window(MEAN, (4, 3), (1, 1))),
            Node("window", (2,), Window(MEAN, (4, 4), (1, 1))),
            Node("add", (4, 5)), layer(6, 1, Dense()),
        ),
        [(2, 1), (4, 2)],
    ),
    "a pool of what a layer gives": (
        graph(layer(0, 0), Node("window", (1,), POOL), layer(2, 1, Dense())),
        [(8, 4)],
    ),
    "a pool of a ReLU beside a pool of what it is of": (
        graph(
            Node("window", (0,), POOL), Node("relu", (0,)), Node("window", (2,), POOL),
            Node("concat", (1, 3)), layer(4, 0, Dense()),
        ),
        [(16, 4)],
    ),
    "a skip of what is >= 0": (
        graph(
            layer(0, 0), Node("relu", (1,)), layer(2, 1), Node("relu", (3,)), layer(4, 2),
            Node("add", (2, 5)), Node("relu", (6,)), layer(7, 3, Dense()),
        ),
        [(2, 1), (2, 1), (2, 1)],
    ),
    "a skip of what has signs": (
        graph(
            layer(0, 0), Node("relu", (1,)), layer(2, 1), Node("relu", (3,)), layer(4, 2),
            Node("add", (1, 5)), Node("relu", (6,)), layer(7, 3, Dense()),
        ),
        [(3, 1), (3, 1), (2, 1)],
    ),
    "leaky": (graph(layer(0, 0), Node("leaky", (1,), 0.1), layer(2, 1, Dense())), [(2, 1)]),
    "leaky past another level": (
        graph(
            layer(0, 0), Node("leaky", (1,), 0.1), layer(2, 1), Node("relu", (3,)),
            Node("add", (2, 4)), layer(5, 2, Dense()),
        ),
        [(2, 1), (3, 1)],
    ),
    "two kinds side by side": (
        graph(
            layer(0, 0), Node("relu", (1,)), Node("leaky", (1,), 0.1),
            Node("concat", (2, 3)), layer(4, 1, Dense()),
        ),
        [(4, 1)],
    ),
    "the larger of two values": (
        graph(layer(0, 0), layer(0, 1), Node("max", (1, 2)), layer(3, 2, Dense())),
        [(4, 2)],
    ),
    "linear": (graph(layer(0, 0, Dense())), []),
}  # fmt: skip


@pytest.mark.parametrize("name", GRAPHS)
def test_factors_by_hand(name):
    found, expected = GRAPHS[name]
    assert factors(found) == [(float(f), k) for f, k in expected]


def residual(rng, classes):
    """A network with a padded convolution, a pool, a skip connection, and its weights."""
    graph = Graph((
        Node("input", op=(4, 4, 1)),
        Node("linear", (0,), CONVOLUTION, 0),
        Node("relu", (1,)),
        Node("window", (2,), POOL),
        Node("linear", (3,), Convolution((2, 2), (1, 1), ((0, 0), (0, 0))), 1),
        Node("add", (3, 4)),
        Node("relu", (5,)),
        Node("linear", (6,), Dense(4), 2),
    ))  # fmt: skip
    shapes = ((3, 3, 1, 2), (1, 1, 2, 2), (2, classes))
    return graph, {
        f"Layer_{n}": {
            "kernel": jnp.asarray(0.3 * rng.normal(size=shape), jnp.float32),
            "bias": jnp.asarray(0.1 * rng.normal(size=shape[-1]), jnp.float32),
        }
        for n, shape in enumerate(shapes)
    }


@pytest.mark.parametrize("classes", [2, 3])
def test_the_certificate_of_a_residual_network_by_loops(rng, classes):
    graph, params = residual(rng, classes)
    m = 60
    x = rng.normal(size=(m, 16)).astype(np.float32)
    logits = np.asarray(graph.apply({"params": params}, x), float)
    y = logits.argmax(1)
    y[:5] = (y[:5] + 1) % classes
    net = bounds.Network(graph, params, pad_sample(x, y, 0))
    names = ["gonon_2024_certified", "golowich_2018_l1_path_certified", "gonon_2024"]
    found = bounds.values(net, names, margin=0.7)
    assert "chains" in found["golowich_2018_l1_path_certified"]
    # The path norm by values of ones through |weights|, pools as sums.
    size = {n: np.abs(np.asarray(a["kernel"], float)) for n, a in params.items()}
    bias = {n: np.abs(np.asarray(a["bias"], float)) for n, a in params.items()}
    all_outputs = size["Layer_2"], bias["Layer_2"]
    if classes == 2:
        last = params["Layer_2"]
        size["Layer_2"] = np.abs(np.diff(np.asarray(last["kernel"], float), axis=1))
        bias["Layer_2"] = np.abs(np.diff(np.asarray(last["bias"], float)))
    image = np.zeros((6, 6))
    image[1:5, 1:5] = 1
    first = np.zeros((4, 4, 2))
    for i, j in itertools.product(range(4), repeat=2):
        window = image[i : i + 3, j : j + 3]
        first[i, j] = (
            np.tensordot(window, size["Layer_0"][:, :, 0], 2) + bias["Layer_0"]
        )
    pooled = first.reshape(2, 2, 2, 2, 2).sum((1, 3))
    summed = pooled + pooled @ size["Layer_1"][0, 0] + bias["Layer_1"]
    masses = summed.mean((0, 1)) @ size["Layer_2"] + bias["Layer_2"]
    f = 8 * 2  # a pool of 4 with its ReLU, and a ReLU past which only values >= 0 go
    largest = math.sqrt(max(m, np.max(np.sum(np.square(x, dtype=float), axis=0))))
    outputs = 1 if classes == 2 else classes
    a = (2 if classes == 2 else 4) * largest
    a *= math.sqrt(2 * (math.log(2) + math.log(17) + math.log(outputs) + math.log(f)))
    margins = sorted(
        oracles.margin(z, label) for z, label in zip(logits, y, strict=True)
    )
    expected = oracles.peeling_bound(masses.sum(), a, margins, 0.05)
    assert found["gonon_2024_certified"].value == pytest.approx(expected, rel=1e-6)
    # Its own form: three layers, a pool of four, the constant 1 of the biases an input, too.
    phi = np.sum(summed.mean((0, 1)) @ all_outputs[0] + all_outputs[1])
    x_inf = max(1.0, np.abs(x).max())
    expected = gonon_2024(phi, 3, x_inf, 0.7, m, 16, classes, pools=1, pool_size=4)
    expected += oracles.margin_error(margins, 0.7)
    assert found["gonon_2024"].value == pytest.approx(expected, rel=1e-6)


def test_channels_of_two_positions_are_no_two_classes():
    """A convolution at the end: four outputs, whose channels' difference says nothing."""
    nodes = (
        Node("input", op=(1, 2, 3)),
        Node("linear", (0,), Convolution((1, 2), (1, 1), ((0, 0), (0, 0))), 0),
    )
    with jax.enable_x64(True):
        params = {
            "Layer_0": {"kernel": jnp.broadcast_to(jnp.array([5.0, 5.1]), (1, 1, 3, 2))}
        }
        found, outputs = log_path(Graph(nodes), params)
    assert outputs == 4
    assert math.exp(found) == pytest.approx(2 * 3 * (5 + 5.1))


def test_a_shift_that_is_no_parameter_is_a_constant_coordinate():
    def constant_of(shift):
        graph = Graph((
            Node("input", op=(2,)), Node("affine", (0,), Affine((2.0,), (shift,))),
            Node("linear", (1,), Dense(), 0),
        ))  # fmt: skip
        params = {"Layer_0": {"kernel": jnp.ones((2, 3))}}
        return levels(
            bounds.Network(graph, params, pad_sample(np.ones((3, 2)), [0, 1, 2], 0))
        )

    without, with_shift = constant_of(0.0), constant_of(0.5)
    assert (int(without.constant), int(with_shift.constant)) == (0, 1)
    with jax.enable_x64(True):
        assert float(without.log_path) == pytest.approx(math.log(12), rel=1e-6)
        assert float(with_shift.log_path) == pytest.approx(math.log(15), rel=1e-6)


def test_what_has_no_paths_is_not_available(rng):
    graph, params = residual(rng, 3)
    nodes = list(graph.nodes)
    nodes[6] = Node("times", (3, 4))
    net = bounds.Network(
        Graph(tuple(nodes)),
        params,
        pad_sample(np.ones((4, 16), np.float32), [0, 1, 2, 0], 0),
    )
    found = bounds.values(net, ["gonon_2024_certified", "path_norm", "occam_float32"])
    assert "products of several values" in found["gonon_2024_certified"]
    assert "products of several values" in found["path_norm"]
    assert not isinstance(found["occam_float32"], str)
