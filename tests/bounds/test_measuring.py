import functools

import jax
import numpy as np
import pytest

import bounds
from bounds.measuring import MEASURES
from nets import kernels, training
from nets.mlp import MLP
from tests import oracles

ROWS = 300


def network(depth=2, biases=False, m=150, seed=0, other=True, init=True):
    """A made-up trained network: init, weights some way off, and a second draw's."""
    model = MLP(12, depth, 3, biases)
    params = [
        model.init(jax.random.key(seed + i), np.zeros((1, 5)))["params"]
        for i in range(3)
    ]
    rng = np.random.default_rng(seed)
    sample = training.pad_sample(
        rng.standard_normal((m, 5)).astype(np.float32), rng.integers(3, size=m), ROWS
    )
    return bounds.Network(
        model,
        params[1],
        sample,
        params[0] if init else None,
        params[2] if other else None,
    )


@functools.partial(jax.jit, static_argnames="groups")
def _measure(net, groups):
    return bounds.measure(net, groups)[0]


def measured(net, groups=tuple(MEASURES)):
    """`(groups, missing)` of one network, in float64."""
    with jax.enable_x64(True):
        found = jax.device_get(_measure(net, tuple(groups)))
        lacking = tuple(g for g in groups if g not in found)
        return found, bounds.measure(net, lacking)[1]


def matrices(params):
    return [np.asarray(w, float) for w in kernels.weight_matrices(params)]


@pytest.mark.parametrize("depth", [1, 3])
def test_norms_of_every_group(depth):
    net = network(depth)
    found, missing = measured(net)
    assert not missing
    w, z, o = (matrices(p) for p in (net.params, net.init, net.other))
    groups = {
        "layers": w,
        "init": z,
        "from_origin": w,
        "from_init": [a - b for a, b in zip(w, z, strict=True)],
        "from_other": [a - b for a, b in zip(w, o, strict=True)],
    }
    for name, expected in groups.items():
        norms = found[name]
        assert norms.frobenius.dtype == np.float64
        for index, a in enumerate(expected):
            assert norms.spectral_lower[index] <= oracles.spectral(a)
            assert oracles.spectral(a) <= norms.spectral_upper[index]
            assert norms.frobenius[index] == pytest.approx(
                oracles.frobenius(a), rel=1e-12
            )
            assert norms.norm_21[index] == pytest.approx(oracles.norm_21(a), rel=1e-12)
            transposed = oracles.norm_21(a.T)
            assert norms.norm_21_transposed[index] == pytest.approx(
                transposed, rel=1e-12
            )
            assert (norms.fan_in[index], norms.fan_out[index]) == a.shape


@pytest.mark.parametrize("biases", [False, True])
def test_margins_and_task(biases):
    net = network(biases=biases)
    found, _ = measured(net, ["task", "margins"])
    m = int(net.sample.size)
    inputs, labels = (
        np.asarray(net.sample.inputs)[:m],
        np.asarray(net.sample.labels)[:m],
    )
    layers = kernels.layers(net.params)
    weights = [np.asarray(layer["kernel"]) for layer in layers]
    shifts = [
        np.asarray(layer.get("bias", np.zeros(w.shape[1])))
        for layer, w in zip(layers, weights, strict=True)
    ]
    expected = sorted(
        oracles.margin(oracles.forward(weights, shifts, x), y)
        for x, y in zip(inputs, labels, strict=True)
    )
    margins = found["margins"]
    np.testing.assert_allclose(margins.sorted[:m], expected, atol=3e-6)
    assert np.isinf(margins.sorted[m:]).all() and margins.size == m
    for gamma in (-0.3, 0.0, 0.4):
        assert margins.error(gamma) == pytest.approx(
            oracles.margin_error(expected, gamma)
        )
    norms = [np.linalg.norm(x.astype(float)) for x in inputs]
    assert found["task"].input_norm_max == pytest.approx(max(norms), rel=1e-12)
    assert (found["task"].size, found["task"].classes) == (m, 3)


def test_padding_is_not_looked_at():
    net = network()
    spoiled = net.replace(
        sample=net.sample.replace(
            inputs=net.sample.inputs.at[int(net.sample.size) :].set(1e6)
        )
    )
    clean, _ = measured(net, ["task", "margins"])
    found, _ = measured(spoiled, ["task", "margins"])
    jax.tree.map(np.testing.assert_array_equal, found, clean)


def test_not_a_number_is_no_margin():
    net = network()
    params = jax.tree.map(lambda w: w * np.nan, net.params)
    found, _ = measured(net.replace(params=params), ["margins"])
    assert found["margins"].error(-1e9) == 1


def test_what_is_not_given_is_named():
    found, missing = measured(network(init=False, other=False))
    assert set(missing) == {"init", "from_init", "from_other"}
    assert "initial" in missing["from_init"] and "second draw" in missing["from_other"]
    assert set(found) == set(MEASURES) - set(missing)


def test_permuting_hidden_units_changes_no_norm_and_no_margin(rng):
    net = network(depth=1)
    order = rng.permutation(12)

    def permuted(params):
        return {
            "Dense_0": {"kernel": params["Dense_0"]["kernel"][:, order]},
            "Dense_1": {"kernel": params["Dense_1"]["kernel"][order]},
        }

    same = net.replace(
        params=permuted(net.params), init=permuted(net.init), other=permuted(net.other)
    )
    a, b = measured(net)[0], measured(same)[0]
    jax.tree.map(
        lambda x, y: np.testing.assert_allclose(x, y, rtol=2e-4, atol=1e-5), a, b
    )
    np.testing.assert_allclose(a["layers"].frobenius, b["layers"].frobenius, rtol=1e-12)
    np.testing.assert_allclose(
        a["from_init"].norm_21, b["from_init"].norm_21, rtol=1e-12
    )


def test_scaling_the_input_scales_margins_and_input_norms():
    net = network()
    scaled = net.replace(sample=net.sample.replace(inputs=2 * net.sample.inputs))
    a, b = (
        measured(net, ["task", "margins"])[0],
        measured(scaled, ["task", "margins"])[0],
    )
    m = int(net.sample.size)
    np.testing.assert_allclose(
        b["margins"].sorted[:m], 2 * a["margins"].sorted[:m], rtol=1e-5, atol=1e-6
    )
    assert b["task"].input_norm_max == pytest.approx(2 * a["task"].input_norm_max)
