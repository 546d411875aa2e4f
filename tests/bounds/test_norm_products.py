"""Certified bounds by peeling, against loops from the paper and against a known risk."""

import functools
import math

import jax
import numpy as np
import pytest

import bounds
from bounds import arithmetic
from nets import kernels
from nets.mlp import MLP
from nets.sample import pad_sample
from tests import oracles
from tests.bounds.cases import measured, network

NAMES = {
    "golowich_2018_l1_certified": "l1",
    "golowich_2018_l1_path_certified": "path",
    "golowich_2018_frobenius_certified": "frobenius",
}


def evaluate(groups, name, delta=0.05):
    stacked = jax.tree.map(lambda leaf: np.asarray(leaf)[None], groups)
    value = bounds.evaluate(stacked, [name], margin=1.0, delta=delta)[name]
    return jax.tree.map(lambda leaf: float(leaf[0]), value)


def two_classes(m=400, width=4, depth=1):
    """A network of two classes with biases, its margins and inputs."""
    model = MLP(width, depth, 2, True)
    rng = np.random.default_rng(m)
    x, y = rng.standard_normal((m, 3)).astype(np.float32), rng.integers(2, size=m)
    params = model.init(jax.random.key(m), x[:1])["params"]
    return bounds.Network(model, params, pad_sample(x, y, m))


def fitted(net):
    """The network, its training examples labelled as it labels them."""
    a = np.asarray(net.sample.inputs, float)
    for index, layer in enumerate(kernels.layers(net.params)):
        a = np.maximum(a, 0) if index else a
        a = a @ np.asarray(layer["kernel"], float) + np.asarray(layer.get("bias", 0.0))
    known = np.arange(len(a)) < int(net.sample.size)
    labels = np.where(known, a.argmax(axis=1), np.asarray(net.sample.labels))
    return net.replace(sample=net.sample.replace(labels=labels.astype(np.int32)))


NETWORKS = {
    "no biases, 3 classes, depth 1": lambda: network(1),
    "no biases, 3 classes, depth 2": lambda: fitted(network(2)),
    "biases, 3 classes": lambda: fitted(network(1, biases=True)),
    "biases, 2 classes": two_classes,
    "biases, 2 classes, deep": lambda: fitted(two_classes(200, 3, 3)),
    "linear, 2 classes": lambda: two_classes(1000, 4, 0),
}
FITTED = (
    "no biases, 3 classes, depth 2", "biases, 3 classes", "biases, 2 classes, deep",
)  # fmt: skip


@functools.cache
def by_hand(which):
    """(weights, inputs, margins) in plain numpy, with the biases folded in."""
    net, _ = case(which)
    m = int(net.sample.size)
    x = np.asarray(net.sample.inputs)[:m].astype(float)
    labels = np.asarray(net.sample.labels)[:m]
    layers = kernels.layers(net.params)
    weights = [np.asarray(layer["kernel"], float) for layer in layers]
    biases = [
        np.asarray(layer.get("bias", np.zeros(layer["kernel"].shape[1])), float)
        for layer in layers
    ]
    margins = [
        oracles.margin(oracles.forward(weights, biases, one), label)
        for one, label in zip(x, labels, strict=True)
    ]
    if "bias" in layers[0]:
        weights = oracles.folded(weights, biases)
        x = np.concatenate([x, np.ones((m, 1))], axis=1)
    return weights, x, margins


def by_loops(which, kind, delta):
    weights, x, margins = by_hand(which)
    c, a = oracles.peeling_constants(weights, x, kind)
    return oracles.peeling_bound(c, a, margins, delta), c, a, margins


@functools.cache
def case(which):
    net = NETWORKS[which]()
    return net, measured(net, ("task", "margins", "peeling", "inputs"))[0]


@pytest.mark.parametrize("which", NETWORKS)
@pytest.mark.parametrize("name", NAMES)
def test_the_bound_is_its_formula(name, which):
    _, groups = case(which)
    for delta in (0.05, 1e-6):
        expected, *_ = by_loops(which, NAMES[name], delta)
        found = evaluate(groups, name, delta)
        assert found.value == pytest.approx(expected, rel=1e-5)
        assert found.value == pytest.approx(found.empirical + found.excess)


@pytest.mark.parametrize("which", FITTED)
@pytest.mark.parametrize("name", NAMES)
def test_its_logarithm_is_that_of_its_term_at_the_median_margin(name, which):
    _, c, a, margins = by_loops(which, NAMES[name], 0.05)
    median = sorted(margins)[(len(margins) - 1) // 2]
    assert median > 1e-3
    found = evaluate(case(which)[1], name)
    log_complexity = math.log(a * c / (median * len(margins)))
    assert found.log_complexity == pytest.approx(log_complexity, abs=1e-5)


def test_the_path_norm_is_below_the_product_of_l1_norms():
    for which in NETWORKS:
        groups = case(which)[1]
        assert groups["peeling"].log_path <= groups["peeling"].log_l1 + 1e-9


def test_folding_biases_in_changes_no_output():
    net = two_classes(20, 5, 2)
    layers = kernels.layers(net.params)
    weights, biases = ([np.asarray(la[n]) for la in layers] for n in ("kernel", "bias"))
    folded = oracles.folded(weights, biases)
    for x in np.asarray(net.sample.inputs)[:5]:
        expected = oracles.forward(weights, biases, x)
        zeros = [np.zeros(w.shape[1]) for w in folded]
        np.testing.assert_allclose(
            oracles.forward(folded, zeros, [*x, 1.0]), expected, rtol=1e-5
        )


def test_the_grid_shares_out_the_failure_probability():
    k = np.arange(-(10**6), 10**6 + 1)
    with jax.enable_x64(True):
        total = np.exp(arithmetic.log_grid_weight(jax.numpy.asarray(k, float))).sum()
    assert 1 - 2e-6 < total <= 1 + 1e-12


@pytest.mark.parametrize("name", NAMES)
def test_the_laws_of_a_bound(name):
    """Scaling the last layer changes nothing but the margin's unit; delta only adds."""
    net, groups = case("linear, 2 classes")
    value = evaluate(groups, name).value
    assert evaluate(groups, name, 1e-4).value > value
    scaled = jax.tree.map(lambda leaf: 1024 * leaf, net.params)
    again = measured(
        bounds.Network(net.model, scaled, net.sample),
        ("task", "margins", "peeling", "inputs"),
    )[0]
    assert evaluate(again, name).value == pytest.approx(value, rel=1e-5)


def test_enormous_norms_neither_overflow_nor_clip():
    net = network(3)
    huge = jax.tree.map(lambda leaf: 1e30 * leaf, net.params)
    groups = measured(
        bounds.Network(net.model, huge, net.sample), ("task", "peeling", "inputs")
    )[0]
    groups["margins"] = case("no biases, 3 classes, depth 1")[1]["margins"]
    for name in NAMES:
        found = evaluate(groups, name)
        assert found.value > 1 and np.isfinite(found.value)
        # Its median margin is not positive: its logarithm is that of 0, a million.
        assert 200 < found.log_complexity < 2e6
