import functools

import jax
import numpy as np
import pytest

from nets import kernels
from nets.mlp import MLP
from tests import oracles


@functools.cache
def initialised(width, depth, classes, biases, features, seed=0):
    model = MLP(width, depth, classes, biases)
    return model, jax.jit(model.init)(jax.random.key(seed), np.zeros((1, features)))[
        "params"
    ]


def parts(params):
    layers = kernels.layers(params)
    weights = [np.asarray(layer["kernel"]) for layer in layers]
    biases = [
        np.asarray(layer.get("bias", np.zeros(layer["kernel"].shape[1])))
        for layer in layers
    ]
    return weights, biases


@pytest.mark.parametrize("biases", [False, True])
@pytest.mark.parametrize("depth", [1, 3])
def test_logits_are_those_of_the_network_written_out(rng, depth, biases):
    model, params = initialised(7, depth, 3, biases, features=5)
    x = rng.standard_normal((4, 5)).astype(np.float32)
    logits = jax.jit(model.apply)({"params": params}, x)
    for row, logit in zip(x, logits, strict=True):
        np.testing.assert_allclose(
            logit, oracles.forward(*parts(params), row), atol=2e-6
        )


def test_shapes_and_glorot_limits():
    _, params = initialised(40, 2, 3, True, features=60)
    weights, biases = parts(params)
    assert [w.shape for w in weights] == [(60, 40), (40, 40), (40, 3)]
    for w in weights:
        limit = np.sqrt(6 / sum(w.shape))
        assert 0.9 * limit < np.abs(w).max() <= limit
        assert abs(w.std() - limit / np.sqrt(3)) < 0.1 * limit
    for b in biases[:2]:  # fans 1 and out
        limit = np.sqrt(6 / (1 + len(b)))
        assert 0.8 * limit < np.abs(b).max() <= limit


def test_without_biases_the_network_is_homogeneous(rng):
    model, params = initialised(7, 3, 3, False, features=5)
    x = rng.standard_normal((5, 5)).astype(np.float32)
    apply = jax.jit(model.apply)
    logits, scaled = (
        np.asarray(apply({"params": params}, np.float32(c) * x)) for c in (1.0, 2.5)
    )
    np.testing.assert_allclose(scaled, 2.5 * logits, rtol=1e-5, atol=1e-6)


def test_layers_come_in_order_also_past_the_tenth():
    init, x = MLP(3, 12, 2, False).init, np.zeros((1, 5))
    params = jax.eval_shape(init, jax.random.key(0), x)["params"]
    shapes = [w.shape for w in kernels.weight_matrices(params)]
    assert shapes == [(5, 3)] + [(3, 3)] * 11 + [(3, 2)]
    assert params["Dense_10"]["kernel"] is kernels.weight_matrices(params)[10]


def test_flat_arrays_and_back():
    _, params = initialised(7, 3, 3, True, features=5)
    arrays = kernels.to_arrays(params)
    assert set(arrays) == {f"{i}/{n}" for i in range(4) for n in ("kernel", "bias")}
    jax.tree.map(
        np.testing.assert_array_equal, kernels.from_arrays(arrays, params), params
    )


def test_an_array_of_another_shape_is_refused():
    _, params = initialised(7, 1, 3, False, features=5)
    arrays = kernels.to_arrays(params) | {"0/kernel": np.zeros((5, 9))}
    with pytest.raises(ValueError, match="0/kernel"):
        kernels.from_arrays(arrays, params)
