"""A network certified through one that has a certificate: measured, bounded, covered."""

import functools

import jax
import numpy as np
import pytest
from scipy import stats

import bounds
from bounds.measures import certified_surrogate
from bounds.measures.certified_surrogate import Certified, CertifiedSurrogate
from bounds.network import WITHOUT
from nets import stochastic
from nets.mlp import MLP
from nets.sample import BLOCK, pad_sample

NAME = "bazinet_2026_certified_surrogate"
DIM, CLASSES, U = 7, 3, 300
PLAIN = MLP(5, 1, CLASSES, True)


# What is measured, against plain numpy.


def forward(layers, x):
    """In float64."""
    for n, layer in enumerate(layers):
        x = (np.maximum(x, 0) if n else x) @ np.asarray(layer["kernel"], float)
        x = x + np.asarray(layer["bias"], float)
    return x


def under_draws(layers, x):
    """Of points `[u, D]`, each under its own weights: a block's normals are of the fixed key."""
    found = []
    for block in range(-(-len(x) // BLOCK)):
        key = jax.random.fold_in(jax.random.key(certified_surrogate.KEY), block)
        a = x[block * BLOCK : (block + 1) * BLOCK]
        for n, layer in enumerate(layers):
            w = {name: np.asarray(array, float) for name, array in layer.items()}
            shape = BLOCK, w["kernel"].shape[1]
            own = jax.random.fold_in(key, n)
            noise = np.asarray(jax.random.normal(own, shape, "float32"), float)
            a = np.maximum(a, 0) if n else a
            variance = a**2 @ np.exp(2 * w["log_sd_kernel"]) + np.exp(
                2 * w["log_sd_bias"]
            )
            a = a @ w["kernel"] + w["bias"] + np.sqrt(variance) * noise[: len(a)]
        found.append(a)
    return np.concatenate(found)


def said(logits):
    """The class of each point; -1 where two logits are equal and above the others."""
    ordered = np.sort(logits, axis=1)
    is_clear = ordered[:, -1] - ordered[:, -2] > 1e-6
    return np.where(is_clear, logits.argmax(axis=1), -1)


def differing(one, other):
    a, b = said(one), said(other)
    return int(np.sum((a != b) | (a < 0) | (b < 0)))


@functools.cache
def params_of(seed):
    start = np.zeros((1, DIM), np.float32)
    return jax.jit(PLAIN.init)(jax.random.key(seed), start)["params"]


def layers_of(params):
    return [params[name] for name in sorted(params)]


def network(model, its, x, **more):
    """h with a surrogate beside it, whose points it takes as `x`."""
    points = pad_sample(x, np.zeros(len(x), int), 3 * BLOCK)
    things = {"surrogate": its, "certificate": 0.1, "failure": 0.02}
    learned = bounds.Learned(Certified(model), things | {"unlabelled": points} | more)
    return bounds.Network(PLAIN, params_of(0), points, learned=learned)


@jax.jit
def measured(net):
    return bounds.measure(net, ["certified_surrogate"])[0]["certified_surrogate"]


@pytest.fixture(scope="module")
def points():
    return np.random.default_rng(0).standard_normal((U, DIM)).astype(np.float32)


def test_disagreements_with_fixed_weights(points):
    """Ties are disagreements; the surrogate may take its points in another order."""
    own = forward(layers_of(params_of(0)), points)
    its = params_of(1)
    found = measured(network(PLAIN, its, points))
    assert int(found.disagreements) == differing(own, forward(layers_of(its), points))
    assert int(found.unlabelled) == U and 0 < int(found.disagreements) < U
    assert 0.1 <= found.certificate <= 0.1 + 1e-7
    assert 0.02 <= found.failure <= 0.02 + 1e-8
    zeros = jax.tree.map(np.zeros_like, its)
    assert int(measured(network(PLAIN, zeros, points)).disagreements) == U
    turned = pad_sample(points[:, ::-1], np.zeros(U, int), 3 * BLOCK)
    found = measured(network(PLAIN, its, points, of_surrogate=turned))
    other = forward(layers_of(its), points[:, ::-1])
    assert int(found.disagreements) == differing(own, other)


def test_disagreements_with_a_posterior_are_of_a_draw_a_point(points):
    its = stochastic.around(params_of(1), params_of(1), 0.3, 0.3)
    net = network(stochastic.GaussianNetwork(PLAIN), its, points)
    own = forward(layers_of(params_of(0)), points)
    expected = differing(own, under_draws(layers_of(its), points))
    assert int(measured(net).disagreements) == expected
    mean = differing(own, forward(layers_of(params_of(1)), points))
    assert abs(expected - mean) > 3  # or it would be the network of the means
    # No two points share a draw: of one point, given again and again, predictions differ.
    same = np.tile(points[:1], (U, 1))
    one = stochastic.around(params_of(1), params_of(1), 1.0, 1.0)
    predicted = jax.jit(certified_surrogate.drawn_predictions, static_argnums=0)(
        stochastic.GaussianNetwork(PLAIN), one, pad_sample(same, np.zeros(U, int), 0)
    )
    assert set(predicted[:U].tolist()) == {0, 1, 2}


def test_without_a_certificate_there_is_a_reason(points):
    def why(net):
        missing = {}
        group = ["certified_surrogate"]
        jax.eval_shape(lambda n: missing.update(bounds.measure(n, group)[1]), net)
        return missing["certified_surrogate"]

    net = network(PLAIN, params_of(1), points)
    assert why(net.replace(learned=None)) == WITHOUT["learned"]
    plain = bounds.Learned(PLAIN, params_of(1))
    assert "no surrogate is given" in why(net.replace(learned=plain))


# What is claimed, against scipy.


def value(rows, delta):
    *limits, k, u = np.asarray(rows, float).T
    group = CertifiedSurrogate(*limits, k.astype(np.int32), u.astype(np.int32))
    return bounds.evaluate({"certified_surrogate": group}, [NAME], delta=delta)[NAME]


def test_the_bound_is_its_formula():
    rows = [[0.07, 0.02, 0, 400], [0.2, 0.01, 37, 5000], [0.0, 0.03, 99, 100]]
    found = value(rows, 0.05)
    for place, (certificate, failure, k, u) in enumerate(rows):
        limit = float(stats.beta.ppf(1 - (0.05 - failure), k + 1, u - k))
        assert found.value[place] == pytest.approx(certificate + limit, rel=1e-9)
        assert float(found.empirical[place]) == pytest.approx(k / u, rel=1e-12)


def test_it_says_nothing_where_nothing_is_left_of_delta():
    """The certificate alone takes all of delta, or more; or all points differ."""
    rows = [[0.07, f, k, 400] for f in (0.05, 0.06, 0.9, 1.0) for k in (0, 30)]
    assert np.all(value(rows, 0.05).value >= 1.07 - 1e-12)
    nearly = value([[0.07, 0.05 - 1e-9, 0, 400]], 0.05).value[0]
    assert nearly == pytest.approx(0.07 + 1 - 1e-9 ** (1 / 400), rel=1e-5)
    assert value([[0.0, 0.01, 400, 400]], 0.05).value[0] == pytest.approx(1.0)


# Whether it holds: a finite problem of known risks, drawn again and again.

RUNS, SIZE, DELTA, FIRST = 2000, 80, 0.1, 0.04


@pytest.mark.parametrize("added", ["its limit", "what was counted", "nothing"])
def test_it_holds_and_where_disagreement_is_left_out_it_does_not(added):
    """h errs where s does, and in so many places more as now and then show no disagreement."""
    rng, size, risk = np.random.default_rng(1), 300, 0.02
    apart = float(stats.beta.ppf(1 - (DELTA - FIRST), 1, SIZE)) + 1e-4
    wrong, differ = rng.binomial(size, risk, RUNS), rng.binomial(SIZE, apart, RUNS)
    certificates = stats.beta.ppf(1 - FIRST, wrong + 1, size - wrong)
    found = certificates + (differ / SIZE if added == "what was counted" else 0.0)
    if added == "its limit":
        ones = np.ones(RUNS)
        rows = np.stack([certificates, FIRST * ones, differ, SIZE * ones], axis=1)
        found = value(rows, DELTA).value
        one_fails = np.sum((certificates < risk) | (found - certificates < apart))
        assert one_fails > 0.5 * DELTA * RUNS  # and no more can be had
        assert stats.binom.sf(one_fails - 1, RUNS, DELTA) > 1e-3
    violations = int(np.sum(found < risk + apart))
    is_refuted = stats.binom.sf(violations - 1, RUNS, DELTA) <= 1e-9
    assert is_refuted == (added != "its limit")
