"""`nets.strided` and `nets.augmentation` against Flax's convolution and plain loops."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nets import graph, kernels, losses
from nets.augmentation import KnownLoss, Moved, Moves, moved
from nets.registry import NETWORKS
from nets.strided import LeNet5, StridedCNN

IMAGE = (9, 6, 2)
FLAT = 9 * 6 * 2


def made(depth=3):
    model = StridedCNN(IMAGE, 2, depth, 4, True)
    inputs = np.random.default_rng(0).standard_normal((5, FLAT)).astype(np.float32)
    params = jax.jit(model.init)(jax.random.key(0), inputs[:1])["params"]
    rng = np.random.default_rng(1)  # for the biases, too
    return (
        model,
        jax.tree.map(lambda w: np.asarray(w) + 0.1 * rng.random(w.shape, "f"), params),
        inputs,
    )


def test_it_is_flax_s_convolutions_and_its_graph():
    model, params, inputs = made()

    @jax.jit
    def flax(params):
        x = jnp.reshape(inputs, (-1, *IMAGE))
        for layer, size in enumerate((5, 5, 3)):
            convolution = nn.Conv(2 << layer, (size, size), (2, 2), padding="SAME")
            x = nn.relu(convolution.apply({"params": params[f"Layer_{layer}"]}, x))
        x = x.reshape(5, -1)
        assert x.shape[1] == 2 * 1 * 8
        x = nn.relu(nn.Dense(16).apply({"params": params["Layer_3"]}, x))
        return nn.Dense(4).apply({"params": params["Layer_4"]}, x)

    expected, apply = flax(params), jax.jit(model.apply)
    found = apply({"params": params}, inputs)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    one = apply({"params": params}, inputs[0])
    np.testing.assert_allclose(one, expected[0], rtol=1e-5, atol=1e-5)
    read = graph.graph_of(model, params)
    assert not read.no_chain and len(kernels.layers(params)) == 5
    np.testing.assert_allclose(
        jax.jit(read.apply)({"params": params}, inputs), expected, rtol=1e-5, atol=1e-5
    )


def test_lenet5_is_flax_s_layers():
    """The second convolution has no zeros around its image, as published."""
    image = (14, 13, 1)
    model = LeNet5(image, 2, 4, True)
    rng = np.random.default_rng(0)
    inputs = rng.standard_normal((5, 14 * 13)).astype(np.float32)
    params = jax.jit(model.init)(jax.random.key(0), inputs[:1])["params"]
    params = jax.tree.map(
        lambda w: np.asarray(w) + 0.1 * rng.random(w.shape, "f"), params
    )

    @jax.jit
    def flax(params):
        x = jnp.reshape(inputs, (-1, *image))
        for layer, (channels, padding) in enumerate(((2, "SAME"), (5, "VALID"))):
            convolution = nn.Conv(channels, (5, 5), (2, 2), padding=padding)
            x = nn.relu(convolution.apply({"params": params[f"Layer_{layer}"]}, x))
        x = x.reshape(5, -1)
        assert x.shape[1] == 2 * 2 * 5
        for layer, units in ((2, 40), (3, 28)):
            x = nn.relu(nn.Dense(units).apply({"params": params[f"Layer_{layer}"]}, x))
        return nn.Dense(4).apply({"params": params["Layer_4"]}, x)

    found = jax.jit(model.apply)({"params": params}, inputs)
    np.testing.assert_allclose(found, flax(params), rtol=1e-5, atol=1e-5)


def test_it_needs_images():
    options = {"classes": 4, "width": 2, "depth": 1, "biases": True}
    with pytest.raises(ValueError, match="images"):
        NETWORKS["strided_cnn"](features=FLAT, image=None, **options)
    found = NETWORKS["strided_cnn"](features=FLAT, image=IMAGE, **options)
    assert found == StridedCNN(IMAGE, 2, 1, 4, True)


def test_images_are_moved_and_zeros_come_in():
    images = np.random.default_rng(0).random((200, FLAT)).astype(np.float32)
    found = np.asarray(moved(jax.random.key(0), images, IMAGE, Moves(2)))
    found, wide = found.reshape(-1, *IMAGE), np.zeros((200, 13, 10, 2), np.float32)
    wide[:, 2:11, 2:8] = images.reshape(-1, *IMAGE)
    moves = set()
    for one, whole in zip(found, wide, strict=True):
        fits = [
            (i, j)
            for i in range(5)
            for j in range(5)
            if np.array_equal(one, whole[i : i + 9, j : j + 6])
        ]
        assert len(fits) == 1
        moves.add(fits[0])
    assert len(moves) == 25


def test_examples_without_a_label_do_not_count():
    model, params, inputs = made(1)
    labels, key = np.array([0, 3, -1, 2, -1]), jax.random.key(0)

    @functools.partial(jax.jit, static_argnums=2)
    def loss(params, labels, most=0):
        objective = Moved(KnownLoss(), IMAGE, Moves(most))
        return objective(model, params, inputs, labels, 5, key)

    logits = jax.jit(model.apply)({"params": params}, inputs)
    each = [float(losses.LOSSES["softmax"](logits[n], labels[n])) for n in (0, 1, 3)]
    assert float(loss(params, labels)) == pytest.approx(np.mean(each), rel=1e-6)
    assert float(loss(params, labels, 2)) != pytest.approx(np.mean(each), rel=1e-6)
    gradient = jax.jit(jax.grad(loss))(params, np.full(5, -1))
    assert all(not np.any(leaf) for leaf in jax.tree.leaves(gradient))
