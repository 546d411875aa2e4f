"""Graphs against plain loops, PyTorch-like paddings, and sums over paths one by one."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nets.cnn import CNN
from nets.graph import Graph, Node, _power, graph_of
from nets.mlp import MLP
from nets.operations import MAX, MEAN, Affine, Layout, Window
from nets.operators import Convolution, Dense
from tests.oracles.graphs import convolution_edges, sum_over_paths, window_edges

CASES = {
    "torch's strides": Convolution((5, 6), (2, 2), ((1, 1), (1, 1))),
    "valid": Convolution((5, 4), (1, 2), ((0, 0), (0, 0))),
    "uneven": Convolution((4, 4), (2, 1), ((0, 2), (1, 0))),
    "dilated": Convolution((7, 6), (1, 1), ((1, 0), (2, 2)), (2, 2)),
    "groups": Convolution((4, 4), (1, 1), ((1, 1), (1, 1)), (1, 1), 2),
    "depthwise": Convolution((4, 4), (2, 2), ((1, 1), (0, 1)), (1, 1), 4),
    "same": Convolution((5, 6), (2, 2)),
}


def drawn(op, rng):
    return rng.normal(size=(3, 2, 4 // op.groups, 4)).astype(np.float32)


@pytest.mark.parametrize("name", CASES)
def test_convolutions_are_what_their_edges_say(name, rng):
    op = CASES[name]
    kernel = drawn(op, rng)
    padding = op.around(kernel.shape)
    edges, shape = convolution_edges(
        kernel, op.image, op.strides, padding, op.dilation, op.groups
    )
    x = rng.normal(size=(2, *op.image, 4)).astype(np.float32)
    expected = np.zeros((2, int(np.prod(shape))))
    for source, target, weight in edges:
        expected[:, target] += weight * x.reshape(2, -1)[:, source]
    assert op.outputs(kernel.shape) == shape[:2]
    plain, wide = op.plain(kernel)

    @jax.jit
    def ways(kernel, wide, x):
        own = op.of_batch(kernel, x), op.of_patches(kernel, x)
        return *own, plain.of_batch(wide, x)

    for found in ways(kernel, wide, x):
        np.testing.assert_allclose(
            np.reshape(found, (2, -1)), expected, rtol=1e-5, atol=1e-5
        )


def test_same_is_as_flax_has_it():
    for size, window, stride in itertools.product((5, 6), (1, 2, 3), (1, 2)):
        op = Convolution((size, size), (stride, stride))
        x, kernel = jnp.ones((1, size, size, 1)), jnp.ones((window, window, 1, 1))
        expected = jax.lax.conv_general_dilated(
            x,
            kernel,
            (stride, stride),
            "SAME",
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )
        np.testing.assert_array_equal(op.of_batch(kernel, x), expected)


def test_linen_networks_are_chains(rng):
    for model, size in (
        (MLP(5, 2, 3, True), 7),
        (CNN((5, 4, 2), 3, 2, 4, True), 40),
    ):
        params = jax.jit(model.init)(jax.random.key(0), jnp.zeros((1, size)))["params"]
        graph = graph_of(model, params)
        assert not graph.no_chain and not graph.no_paths and not graph.unread
        x = jnp.asarray(rng.normal(size=(3, size)), jnp.float32)
        np.testing.assert_allclose(
            jax.jit(graph.apply)({"params": params}, x),
            jax.jit(model.apply)({"params": params}, x),
            rtol=1e-5,
            atol=1e-6,
        )
        assert graph == graph_of(model, params) and hash(graph)


def residual(rng):
    """A padded convolution, ReLU and max-pool, a skip connection over another, a mean, a layer.

    With its units: values 0 input, 1 convolution, 2 pooled, 3 convolution, 4 sum, 5 output.
    """
    first = Convolution((3, 3), (1, 1), ((1, 0), (1, 0)))
    second = Convolution((2, 2), (1, 1), ((0, 1), (0, 1)))
    pool = Window(MAX, (2, 2), (2, 2), ((0, 1), (0, 1)))
    nodes = (
        Node("input", op=(9,)),
        Node("layout", (0,), Layout((3, 3, 1), (0,))),
        Node("linear", (1,), first, 0),
        Node("relu", (2,)),
        Node("window", (3,), pool),
        Node("linear", (4,), second, 1),
        Node("add", (4, 5)),
        Node("relu", (6,)),
        Node("window", (7,), Window(MEAN, (2, 2), (1, 1))),
        Node("linear", (8,), Dense(), 2),
    )
    kernels = [
        rng.normal(size=shape).astype(np.float32)
        for shape in ((2, 2, 1, 2), (2, 2, 2, 2), (2, 3))
    ]
    biases = [rng.normal(size=n).astype(np.float32) for n in (2, 2, 3)]
    params = {
        f"Layer_{n}": {"kernel": k, "bias": b}
        for n, (k, b) in enumerate(zip(kernels, biases, strict=True))
    }
    edges = {n: [] for n in range(1, 6)}
    own, shape = convolution_edges(kernels[0], (3, 3), (1, 1), first.padding)
    edges[1] = [(0, s, t, w, 1) for s, t, w in own]
    edges[1] += [(-1, 0, t, biases[0][t % 2], 1) for t in range(np.prod(shape))]
    own, shape = window_edges((3, 3, 2), pool.size, pool.strides, pool.padding)
    edges[2] = [(1, s, t, 1, 1) for s, t in own]
    own, shape = convolution_edges(kernels[1], (2, 2), (1, 1), second.padding)
    edges[3] = [(2, s, t, w, 1) for s, t, w in own]
    edges[3] += [(-1, 0, t, biases[1][t % 2], 1) for t in range(np.prod(shape))]
    edges[4] = [(value, t, t, 1, 1) for value in (2, 3) for t in range(8)]
    edges[5] = [
        (4, position * 2 + c, o, kernels[2][c, o], 4)
        for position in range(4)
        for c in range(2)
        for o in range(3)
    ]
    edges[5] += [(-1, 0, o, biases[2][o], 1) for o in range(3)]
    return Graph(nodes), params, edges


@pytest.mark.parametrize("p", [1, 1.5, 2])
def test_masses_are_sums_over_paths_one_by_one(rng, p):
    graph, params, edges = residual(rng)
    expected = sum_over_paths(edges, 9, (5, range(3)), p)
    with jax.enable_x64(True):
        wide = jax.tree.map(lambda a: jnp.asarray(a, float), params)
        sums, log_scale = graph.mass(wide, p)
        found = sums * jnp.exp(log_scale)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("p", [0.5, 1, 1.5, 2, 2.5])
def test_powers_and_their_slopes_where_a_weight_is_0(p):
    x = np.array([0.0, 1e-12, 0.3, 7.0, np.inf], np.float32)
    np.testing.assert_allclose(_power(x, p), x**p, rtol=3e-7)
    if p >= 1:
        slope = jax.grad(lambda w: _power(jnp.abs(w), p))
        assert float(slope(0.0)) == (p == 1) and float(slope(4.0)) == pytest.approx(
            p * 4 ** (p - 1)
        )


def test_masses_keep_their_scale(rng):
    """Of weights of 1e-80 and 1e60, in float64, where products of them are beyond it."""
    nodes = [Node("input", op=(3,))]
    for layer in range(6):
        nodes += [Node("linear", (len(nodes) - 1,), Dense(), layer)]
        nodes += [Node("relu", (len(nodes) - 1,))]
    weights = [rng.normal(size=(3, 3)) for _ in range(6)]
    with jax.enable_x64(True):
        for scale in (1e-80, 1e60):
            params = {
                f"Layer_{n}": {"kernel": jnp.asarray(scale * w)}
                for n, w in enumerate(weights)
            }
            sums, log_scale = Graph(tuple(nodes)).mass(params, 1)
            product = np.ones(3)
            for w in weights:
                product = product @ np.abs(w)
            expected = np.log(product.sum()) + 6 * np.log(scale)
            found = float(jnp.log(jnp.sum(sums)) + log_scale)
            assert found == pytest.approx(expected, rel=1e-12)


def test_constants_are_no_weights():
    """x * 3 + 2 counts as 3 and 2, whatever the power."""
    graph = Graph(
        (Node("input", op=(2,)), Node("affine", (0,), Affine((-3.0,), (2.0,))))
    )
    for p in (1, 2):
        sums, log_scale = graph.mass({"Layer_0": {"kernel": jnp.ones(1)}}, p)
        np.testing.assert_allclose(sums * jnp.exp(log_scale), [5.0, 5.0], rtol=1e-6)


def test_layouts_move_entries(rng):
    x = rng.normal(size=(2, 3, 4, 5)).astype(np.float32)
    places = np.arange(60).reshape(3, 4, 5)
    turned = Layout.of(places.transpose(2, 0, 1), (3, 4, 5))
    assert turned.axes == (2, 0, 1) and not turned.entries
    np.testing.assert_array_equal(turned.of_batch(x), x.transpose(0, 3, 1, 2))
    chosen = np.array([[7, -1], [0, 59]])
    layout = Layout.of(chosen, (3, 4, 5))
    found = np.asarray(layout.of_batch(x))
    flat = x.reshape(2, -1)
    np.testing.assert_array_equal(found[:, 0, 0], flat[:, 7])
    np.testing.assert_array_equal(found[:, 0, 1], 0)
    np.testing.assert_array_equal(found[:, 1], flat[:, [0, 59]])


def chain(*kinds):
    """A graph whose nodes follow one another; layers are numbered as they come."""
    nodes, layer = [Node("input", op=(4,))], 0
    for kind in kinds:
        op = Dense() if kind == "linear" else None
        if kind == "leaky":
            op = 0.1
        nodes.append(
            Node(kind, (len(nodes) - 1,), op, layer if kind == "linear" else -1)
        )
        layer += kind == "linear"
    return Graph(tuple(nodes))


@pytest.mark.parametrize(
    ("kinds", "reason"),
    [
        (("linear", "relu", "linear"), ""),
        (("linear",), ""),
        (("linear", "linear"), "a ReLU after every layer"),
        (("relu", "linear"), "begin with a layer"),
        (("linear", "relu"), "end with a layer"),
        (("linear", "relu", "relu", "linear"), "begin with a layer"),
        (("linear", "leaky", "linear"), "leaky"),
    ],
)
def test_what_is_a_chain(kinds, reason):
    found = chain(*kinds).no_chain
    assert reason in found and bool(reason) == bool(found)


def test_a_layer_used_twice_and_connections_that_skip_are_no_chains(rng):
    twice = Graph((
        Node("input", op=(4,)), Node("linear", (0,), Dense(), 0), Node("relu", (1,)),
        Node("linear", (2,), Dense(), 0),
    ))  # fmt: skip
    assert "more than once" in twice.no_chain
    assert len(twice.operators()) == 1
    assert "pooling" in residual(rng)[0].no_chain
    skips = Graph((
        Node("input", op=(4,)), Node("linear", (0,), Dense(), 0), Node("relu", (1,)),
        Node("linear", (0,), Dense(), 1),
    ))  # fmt: skip
    assert "skip" in skips.no_chain


def test_gradients_by_patches_are_those_of_convolutions(rng):
    graph, params, _ = residual(rng)
    x = jnp.asarray(rng.normal(size=(5, 9)), jnp.float32)

    def loss(params, by_patches):
        values = graph.values(params, x, by_patches=by_patches)
        return jnp.sum(jnp.sin(values[-1]))

    of = jax.jit(jax.grad(loss), static_argnums=1)
    plain, patches = (of(params, how) for how in (False, True))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5),
        plain,
        patches,
    )
