"""Networks with batch normalisation: Flax and Optax as oracles; folded, they are what they were."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import bounds
from nets import training
from nets.registry import NETWORKS
from nets.sample import pad_sample

IMAGE, CLASSES = (8, 8, 1), 3
NAMES = ("cnn_bn", "resnet", "vgg")


def network(name, **changes):
    options = {
        "features": 64, "image": IMAGE, "classes": CLASSES, "width": 4, "depth": 1,
        "biases": True,
    }  # fmt: skip
    return NETWORKS[name](**options | changes)


def plan(model):
    return training.Plan(
        model=model, loss="softmax", learning_rate=0.1, batch_size=8, shuffle=False,
        margin=1.0, threshold=0.0, loss_target=None, max_epochs=4, momentum=0.9,
    )  # fmt: skip


initial = jax.jit(training.init_params, static_argnums=(0, 2))


def examples(size=24):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(size, 64)).astype(np.float32)
    return x, rng.integers(0, CLASSES, size=size).astype(np.int32)


class Theirs(nn.Module):
    """The residual network of `depth` 1 in Flax's own layers, to be trained by Optax."""

    @nn.compact
    def __call__(self, x, train):
        def normalised_conv(x, channels, size=3, stride=1):
            x = nn.Conv(channels, (size, size), (stride, stride), use_bias=False)(x)
            options = {"momentum": 0.9, "epsilon": 1e-5, "use_fast_variance": False}
            return nn.BatchNorm(use_running_average=not train, **options)(x)

        x = nn.relu(normalised_conv(x.reshape(-1, *IMAGE), 4))
        for channels, stride in ((4, 1), (8, 2), (16, 2)):
            y = nn.relu(normalised_conv(x, channels, stride=stride))
            y = normalised_conv(y, channels)
            if stride > 1:
                x = normalised_conv(x, channels, 1, stride)
            x = nn.relu(x + y)
        return nn.Dense(CLASSES)(x.mean((1, 2)))


def as_theirs(params):
    """Our parameters in Flax's two collections."""
    learned, statistics = {}, {}
    for n in range(len(params) - 1):
        layer = params[f"Layer_{n}"]
        learned[f"Conv_{n}"] = {"kernel": layer["kernel"]}
        learned[f"BatchNorm_{n}"] = {"scale": layer["scale"], "bias": layer["shift"]}
        statistics[f"BatchNorm_{n}"] = {"mean": layer["mean"], "var": layer["variance"]}
    learned["Dense_0"] = params[f"Layer_{len(params) - 1}"]
    return {"params": learned, "batch_stats": statistics}


def test_a_training_is_that_of_flax_and_optax():
    own, (x, y) = plan(network("resnet")), examples()
    params = initial(own, jax.random.key(0), 64)
    theirs, module = as_theirs(params), Theirs()
    transformation = optax.sgd(0.1, 0.9)
    optimizer_state = jax.jit(transformation.init)(theirs["params"])

    def loss(learned, statistics, x, y):
        variables = {"params": learned, "batch_stats": statistics}
        logits, moved = module.apply(variables, x, True, mutable=["batch_stats"])
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, y)
        return losses.mean(), moved["batch_stats"]

    @jax.jit
    def step(learned, statistics, optimizer_state, x, y):
        of = jax.grad(loss, has_aux=True)
        gradient, statistics = of(learned, statistics, x, y)
        updates, optimizer_state = transformation.update(gradient, optimizer_state)
        return optax.apply_updates(learned, updates), statistics, optimizer_state

    with jax.default_matmul_precision("highest"):
        for _ in range(2):
            for start in range(0, 24, 8):
                part = slice(start, start + 8)
                learned, statistics, optimizer_state = step(
                    *theirs.values(), optimizer_state, x[part], y[part]
                )
                theirs = {"params": learned, "batch_stats": statistics}
    state = training.init_state(own, params, jax.random.key(1))
    state, _ = jax.jit(training.advance, static_argnums=0)(
        own, state, pad_sample(x, y, 0), jnp.int32(6)
    )
    assert int(state.epoch) == 2
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-5),
        as_theirs(state.params), theirs,
    )  # fmt: skip
    logits = jax.jit(training.logits_of, static_argnums=0)(own.model, state.params, x)
    expected = jax.jit(module.apply, static_argnums=2)(theirs, x, False)
    np.testing.assert_allclose(logits, expected, rtol=1e-3, atol=1e-4)


def test_stopped_and_gone_on_with_it_is_the_same():
    """Statistics are in the state that a checkpoint packs; a cut falls within an epoch."""
    own, (x, y) = plan(network("cnn_bn")), examples()
    params = initial(own, jax.random.key(0), 64)
    start = training.init_state(own, params, jax.random.key(1))
    sample, advance = pad_sample(x, y, 0), jax.jit(training.advance, static_argnums=0)
    whole, _ = advance(own, start, sample, jnp.int32(5))
    half, _ = advance(own, start, sample, jnp.int32(2))
    stored = jax.tree.map(np.asarray, training.pack(half))
    rest, _ = advance(own, training.unpack(stored), sample, jnp.int32(3))
    jax.tree.map(np.testing.assert_array_equal, rest.params, whole.params)
    assert np.any(np.asarray(rest.params["Layer_0"]["mean"]) != 0)


class PlainCNN(nn.Module):
    """`nets.cnn.CNN` of depth 1 and width 4 in Flax's own layers."""

    @nn.compact
    def __call__(self, x):
        x = x.reshape(-1, *IMAGE)
        x = nn.relu(nn.Conv(4, (3, 3), (2, 2), name="Layer_0")(x))
        x = nn.relu(nn.Conv(4, (1, 1), name="Layer_1")(x))
        return nn.Dense(CLASSES, name="Layer_2")(x.mean((1, 2)))


def test_gradients_of_convolutions_are_those_of_flax():
    """Steps of training take them by patches on a CPU."""
    model, (x, y) = network("cnn"), examples(8)
    own = plan(model)
    params = initial(own, jax.random.key(0), 64)

    def loss(params):
        logits = PlainCNN().apply({"params": params}, x)
        return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()

    def ours(params):
        return own.step_objective(params, x, y, 8, jax.random.key(0))[0]

    with jax.default_matmul_precision("highest"):
        found = jax.jit(jax.value_and_grad(ours))(params)
        wanted = jax.jit(jax.value_and_grad(loss))(params)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6),
        found, wanted,
    )  # fmt: skip


def with_statistics(params, rng):
    """Parameters whose statistics are far from 0 and 1."""
    learned = dict(params)
    for layer, arrays in params.items():
        if "mean" in arrays:
            shape = arrays["mean"].shape
            drawn = {n: rng.uniform(0.5, 2, shape) for n in ("scale", "variance")}
            drawn |= {n: rng.normal(size=shape) for n in ("shift", "mean")}
            drawn = {n: np.asarray(a, np.float32) for n, a in drawn.items()}
            learned[layer] = {**arrays, **drawn}
    return learned


def of_flax(name, params, x):
    """Logits of the networks of depth 1 by Flax's convolutions, normalisation written out."""

    def layer(x, number, stride=1):
        own = params[f"Layer_{number}"]
        *size, _, channels = own["kernel"].shape
        conv = nn.Conv(channels, size, (stride, stride), use_bias=False)
        y = conv.apply({"params": {"kernel": own["kernel"]}}, x)
        pair = own["mean"], own["variance"], own["scale"], own["shift"]
        mean, variance, scale, shift = (a.reshape(1, 1, 1, -1) for a in pair)
        return nn.relu((y - mean) / jnp.sqrt(variance + 1e-5) * scale + shift)

    def pooled(x):
        """The largest of each 2 x 2 pixels."""
        n, height, width, channels = x.shape
        return x.reshape(n, height // 2, 2, width // 2, 2, channels).max((2, 4))

    x = x.reshape(-1, *IMAGE)
    if name == "cnn_bn":
        x = layer(layer(x, 0, stride=2), 1)
    else:
        x = pooled(layer(pooled(layer(pooled(layer(x, 0)), 1)), 2))
    return nn.Dense(CLASSES).apply(
        {"params": params[f"Layer_{len(params) - 1}"]}, x.mean((1, 2))
    )


@pytest.mark.parametrize("name", ["cnn_bn", "vgg"])
def test_its_logits_are_those_of_flax(name):
    model, (x, _) = network(name), examples(5)
    params = initial(plan(model), jax.random.key(0), 64)
    params = with_statistics(params, np.random.default_rng(1))
    with jax.default_matmul_precision("highest"):
        found = jax.jit(model.apply)({"params": params}, x)
        expected = jax.jit(of_flax, static_argnums=0)(name, params, x)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "name", ["cnn_bn", "resnet", pytest.param("vgg", marks=pytest.mark.slow)]
)
def test_folded_it_is_the_same_network(name):
    """Statistics far from 0 and 1; `read` compares, here on other inputs."""
    model, (x, y) = network(name), examples()
    params = initial(plan(model), jax.random.key(0), 64)
    rng = np.random.default_rng(1)
    learned = with_statistics(params, rng)
    given = bounds.Network(
        model=model, params=learned, sample=pad_sample(x, y, 0), init=params
    )
    found = bounds.folded(given)
    other = rng.normal(size=(5, 64)).astype(np.float32)
    for tree in ("params", "init"):
        np.testing.assert_allclose(
            jax.jit(found.model.apply)({"params": getattr(found, tree)}, other),
            jax.jit(model.apply)({"params": getattr(given, tree)}, other),
            rtol=1e-4, atol=1e-5,
        )  # fmt: skip
    names = {leaf for layer in found.params.values() for leaf in layer}
    assert names == {"kernel", "bias"}
    assert bounds.folded(found) is found  # there is nothing left to fold


def test_statistics_move_by_a_tenth_and_get_no_gradient():
    model, (x, y) = network("vgg"), examples(8)
    own = plan(model)
    params = initial(own, jax.random.key(0), 64)
    after, _ = jax.jit(training.take_step, static_argnums=0)(
        own, params, own.transformation.init(params), (x, y), 8, jax.random.key(0)
    )
    kernel = np.asarray(params["Layer_0"]["kernel"], float)
    padded = np.pad(x.reshape(-1, 8, 8).astype(float), ((0, 0), (1, 1), (1, 1)))
    y0 = sum(
        padded[:, i : i + 8, j : j + 8, None] * kernel[i, j, 0]
        for i in range(3)
        for j in range(3)
    )
    first = after["Layer_0"]
    np.testing.assert_allclose(
        first["mean"], 0.1 * y0.mean((0, 1, 2)), rtol=1e-4, atol=1e-7
    )
    np.testing.assert_allclose(
        first["variance"], 0.9 + 0.1 * y0.var((0, 1, 2)), rtol=1e-4
    )


def test_no_images_no_convolutions():
    for name in NAMES:
        with pytest.raises(ValueError, match="needs images"):
            network(name, image=None)
