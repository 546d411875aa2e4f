import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bounds import objectives
from bounds.objectives import PacBayes
from nets import kernels, stochastic, training
from nets.cnn import CNN
from nets.mlp import MLP
from nets.sample import pad_sample
from nets.strided import StridedCNN
from tests import oracles
from tests.oracles import fantastic, pac_bayes

FEATURES, M = 6, 60
MODEL = stochastic.GaussianNetwork(MLP(8, 1, 3, True))


@functools.cache
def networks():
    """Parameters of two plain networks: where a posterior is, and its prior's mean."""
    init, x = jax.jit(MLP(8, 1, 3, True).init), np.zeros((1, FEATURES), np.float32)
    return [init(jax.random.key(seed), x)["params"] for seed in (0, 1)]


def data():
    rng = np.random.default_rng(0)
    labels = rng.integers(3, size=M)
    inputs = rng.standard_normal((M, FEATURES)) + 2 * np.eye(3, FEATURES)[labels]
    return inputs.astype(np.float32), labels.astype(np.int32)


def plan(objective=PacBayes(), **changes):
    settings = {
        "model": MODEL, "loss": "softmax", "learning_rate": 0.01, "batch_size": 20,
        "shuffle": True, "margin": 1.0, "threshold": 0.0, "loss_target": 0.0, "max_epochs": 20,
        "optimizer": "adam",
    }  # fmt: skip
    return training.Plan(**settings | {"objective": objective} | changes)


def flat(params, part):
    return np.concatenate([
        np.asarray(layer[part + name], float).ravel()
        for layer in params.values() for name in ("kernel", "bias")
    ])  # fmt: skip


@functools.partial(jax.jit, static_argnums=(0, 2))
def objective(p, params, seed=0):
    inputs, labels = data()
    size = jnp.asarray(M, jnp.int32)
    return p.objective(p.model, params, inputs, labels, size, jax.random.key(seed))


def test_the_networks_in_one():
    mean, prior = networks()
    params = stochastic.around(mean, prior, 0.1, 0.2)
    jax.tree.map(np.testing.assert_array_equal, stochastic.mean_network(params), mean)
    np.testing.assert_array_equal(flat(params, "prior_"), flat(prior, ""))
    like = jax.eval_shape(MODEL.init, jax.random.key(0), data()[0])["params"]
    again = kernels.from_arrays(kernels.to_arrays(params), like)
    jax.tree.map(np.testing.assert_array_equal, again, params)
    x = data()[0]
    np.testing.assert_array_equal(
        MODEL.apply({"params": params}, x),
        MLP(8, 1, 3, True).apply({"params": mean}, x),
    )


def test_pre_activations_have_the_law_of_drawn_weights():
    """Means, variances and covariances of a layer's units, against drawn matrices."""
    rng, draws = np.random.default_rng(0), 20000
    x = rng.standard_normal(FEATURES)
    model = stochastic.GaussianNetwork(MLP(1, 0, 3, True))  # a layer of 3 units
    params = model.init(jax.random.key(0), x[None].astype(np.float32))["params"][
        "Dense_0"
    ]
    params = params | {
        name: jnp.asarray(rng.uniform(-2, 0, params[name].shape), jnp.float32)
        for name in ("log_sd_kernel", "log_sd_bias", "bias")
    }
    noise = rng.standard_normal((draws, 3)).astype(np.float32)
    found = model.noisy_logits(
        {"Dense_0": params}, np.tile(x, (draws, 1)), [{"units": noise}]
    )
    deviations = [np.exp(np.asarray(params[f"log_sd_{n}"])) for n in ("kernel", "bias")]
    drawn = [
        np.asarray(params[n]) + sd * rng.standard_normal((draws, *sd.shape))
        for n, sd in zip(("kernel", "bias"), deviations, strict=True)
    ]
    expected = np.einsum("i,nij->nj", x, drawn[0]) + drawn[1]
    spread = expected.std(axis=0)
    apart = np.abs(np.mean(found, axis=0) - expected.mean(axis=0))
    assert np.all(apart < 5 * spread * math.sqrt(2 / draws))
    scaled = np.cov(np.asarray(found).T) / np.outer(spread, spread)
    np.testing.assert_allclose(
        scaled, np.cov(expected.T) / np.outer(spread, spread), atol=5 * math.sqrt(2 / draws)
    )  # fmt: skip


@functools.cache
def initial(plain):
    """Initial parameters of a network of images: of two seeds."""
    init, one = jax.jit(plain.init), np.zeros((1, 8 * 8), np.float32)
    return [init(jax.random.key(n), one)["params"] for n in (0, 1)]


def convolutional(plain):
    """A posterior of random means and deviations of a convolutional network, and images."""
    x = np.random.default_rng(5).standard_normal((6, 8 * 8)).astype(np.float32)
    params = stochastic.around(*initial(plain), 0.3, 0.2)
    rng = np.random.default_rng(6)
    for layer in params.values():
        for name in ("log_sd_kernel", "log_sd_bias"):
            layer[name] = jnp.asarray(
                rng.uniform(-3, -1, layer[name].shape), jnp.float32
            )
    return stochastic.GaussianNetwork(plain), params, x


@pytest.mark.parametrize(
    ("kind", "is_each"),
    [
        (CNN, False),
        (StridedCNN, True),
        pytest.param(CNN, True, marks=pytest.mark.slow),
        pytest.param(StridedCNN, False, marks=pytest.mark.slow),
    ],
)
def test_convolutions_under_noise_are_those_of_drawn_weights(kind, is_each):
    """Image by image, with the weights put together by hand; dense layers are still here."""
    plain = kind((8, 8, 1), 3, 2, 4, True)
    model, params, x = convolutional(plain)
    convolved = [n for n, layer in params.items() if layer["kernel"].ndim == 4]
    assert 0 < len(convolved) < len(params)
    for name in set(params) - set(convolved):
        for part in ("log_sd_kernel", "log_sd_bias"):
            params[name][part] = jnp.full_like(params[name][part], -jnp.inf)
    normals = model.normals(params, jax.random.key(3), len(x), is_each)
    found = jax.jit(model.noisy_logits)(params, x, normals)
    run = jax.jit(plain.apply)
    by_name = dict(
        zip(stochastic.in_order(params), jax.device_get(normals), strict=True)
    )
    for n, image in enumerate(x):
        drawn = {
            name: {
                part: np.asarray(layer[part]) + (
                    np.exp(np.asarray(layer[f"log_sd_{part}"]))
                    * (by_name[name][part][n] if is_each else by_name[name][part])
                    if name in convolved else 0
                )
                for part in ("kernel", "bias")
            }
            for name, layer in params.items()
        }  # fmt: skip
        wanted = run({"params": drawn}, image[None])
        np.testing.assert_allclose(found[n], wanted[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "kind", [pytest.param(CNN, marks=pytest.mark.slow), StridedCNN]
)
def test_a_convolutional_posterior_has_the_moments_of_drawn_networks(kind):
    """Means and covariances of the logits of one image, against draws of all weights."""
    plain, draws = kind((8, 8, 1), 3, 1, 3, True), 4096
    model, params, x = convolutional(plain)

    @jax.jit
    def both(key):
        def drawn(key):
            leaves, tree = jax.tree.flatten(stochastic.mean_network(params))
            deviations = jax.tree.leaves({
                name: {p: jnp.exp(layer[f"log_sd_{p}"]) for p in ("kernel", "bias")}
                for name, layer in params.items()
            })  # fmt: skip
            keys = jax.random.split(key, len(leaves))
            moved = [
                leaf + sd * jax.random.normal(k, leaf.shape)
                for leaf, sd, k in zip(leaves, deviations, keys, strict=True)
            ]
            return plain.apply({"params": jax.tree.unflatten(tree, moved)}, x[:1])[0]

        keys = jax.random.split(key, draws)
        normals = model.normals(params, jax.random.fold_in(key, 1), draws, is_each=True)
        own = model.noisy_logits(params, jnp.tile(x[:1], (draws, 1)), normals)
        return own, jax.lax.map(drawn, keys)

    found, wanted = (np.asarray(part, float) for part in both(jax.random.key(7)))
    spread = wanted.std(axis=0)
    apart = np.abs(found.mean(axis=0) - wanted.mean(axis=0)) / spread
    assert np.all(apart < 5 * math.sqrt(2 / draws))
    scaled = [np.cov(part.T) / np.outer(spread, spread) for part in (found, wanted)]
    # The logits have heavier tails than normal ones: twice their error.
    np.testing.assert_allclose(*scaled, atol=10 * math.sqrt(2 / draws))


@pytest.mark.parametrize(
    ("name", "learned_prior"),
    [
        *((name, False) for name in objectives.OBJECTIVES),
        ("quadratic", True),
        pytest.param("lambda", True, marks=pytest.mark.slow),
        pytest.param("classic", True, marks=pytest.mark.slow),
    ],
)
def test_the_objective_is_the_bound_of_the_surrogate(name, learned_prior):
    mean, prior = networks()
    params = stochastic.around(
        mean, prior, 1e-5, 0.2
    )  # so little noise that it is none
    model = dataclasses.replace(MODEL, learned_prior=learned_prior)
    found = objective(plan(PacBayes(name, delta=0.03), model=model), params)
    layers = list(jax.device_get(mean).values())
    x, y = data()
    logits = [
        oracles.forward([layer["kernel"] for layer in layers], [b["bias"] for b in layers], one)
        for one in x.astype(float)
    ]  # fmt: skip
    bits = fantastic.cross_entropy(logits, y) / math.log(2)
    variance = np.exp(2 * flat(params, "log_sd_"))
    kl = pac_bayes.gaussian_kl(flat(params, ""), variance, flat(params, "prior_"), 0.04)
    if learned_prior:
        kl += 2 * math.log(100 * math.log(0.1 / 0.04)) + math.log(math.pi**2 / 6)
    form = {
        "quadratic": pac_bayes.quadratic,
        "lambda": pac_bayes.lambda_form,
        "classic": pac_bayes.mcallester,
    }[name]
    assert float(found) == pytest.approx(form(kl, bits, M, 0.03), rel=1e-3)


def test_the_bounded_surrogate_is_bounded():
    log_p = jnp.asarray([0.0, -1.0, -11.0, -100.0, -jnp.inf])
    found = objectives.SURROGATES["bounded"](log_p)
    assert found[0] == 0 and np.all(np.diff(found) >= 0) and np.all(found[3:] == 1)


def test_the_prior_s_grid():
    mean, prior = networks()
    with jax.enable_x64(True):
        for j in (1, 17, 400):
            variance = pac_bayes.prior_variance(j)
            params = stochastic.around(mean, prior, 0.1, math.sqrt(variance))
            on_grid = objectives.on_the_grid(params)["Dense_0"]["log_prior_sd"]
            assert float(on_grid) == pytest.approx(math.log(variance) / 2, rel=1e-12)
            assert float(objectives.prior_cell(on_grid)) == pytest.approx(j)
        above = stochastic.around(mean, prior, 0.1, 10.0)  # beyond the largest cell
        found = float(objectives.on_the_grid(above)["Dense_0"]["log_prior_sd"])
    assert found == pytest.approx(math.log(pac_bayes.prior_variance(1)) / 2)


def train(p, params):
    state = training.init_state(p, params, jax.random.key(3))
    sample = pad_sample(*data(), 0)
    program = jax.jit(training.advance, static_argnums=0)
    return program(p, state, sample, 10**6)[0].params


@pytest.mark.parametrize(
    "learned_prior", [pytest.param(False, marks=pytest.mark.slow), True]
)
def test_training_a_posterior_lowers_its_bound_and_leaves_the_prior(learned_prior):
    mean, prior = networks()
    before = stochastic.around(mean, prior, 0.3, 0.3)
    p = plan(model=dataclasses.replace(MODEL, learned_prior=learned_prior))
    after = train(p, before)
    assert float(objective(p, after)) < float(objective(p, before)) - 0.1
    np.testing.assert_array_equal(flat(after, "prior_"), flat(before, "prior_"))
    assert np.any(flat(after, "log_sd_") != flat(before, "log_sd_"))
    moved = after["Dense_0"]["log_prior_sd"] != before["Dense_0"]["log_prior_sd"]
    assert bool(moved) == learned_prior
    # The noise is the key's: the same key, the same posterior; another draw a step.
    np.testing.assert_array_equal(flat(train(p, before), ""), flat(after, ""))
    assert objective(p, before, 0) != objective(p, before, 1)


def test_training_under_noise_moves_the_means_alone():
    mean, _ = networks()
    before = stochastic.around(mean, mean, 0.3, 0.3)
    p = plan(stochastic.NoisyLoss(), learning_rate=0.1, momentum=0.9, optimizer="sgd")
    after = train(p, before)
    for part in ("log_sd_", "prior_"):
        np.testing.assert_array_equal(flat(after, part), flat(before, part))
    assert float(objective(p, after)) < float(objective(p, before))


def test_the_learning_rate_falls_along_a_cosine():
    """Three steps by hand, and a fourth that no longer moves."""
    mean, _ = networks()
    p = plan(None, optimizer="sgd", model=MLP(8, 1, 3, True), shuffle=False, batch_size=M,
             decay_steps=3, max_epochs=4)  # fmt: skip
    inputs, labels = data()

    @jax.jit
    @jax.grad
    def slope(params):
        log_p = jax.nn.log_softmax(p.model.apply({"params": params}, inputs))
        return -jnp.mean(log_p[jnp.arange(M), labels])

    expected = mean
    for step in range(3):
        rate = 0.01 * (1 + math.cos(math.pi * step / 3)) / 2
        expected = jax.tree.map(
            lambda w, g, rate=rate: w - rate * g, expected, slope(expected)
        )
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6),
        train(p, mean),
        expected,
    )


def test_momentum_is_sgd_with_momentum_by_hand():
    mean, _ = networks()
    p = plan(None, optimizer="sgd", model=MLP(8, 1, 3, True), shuffle=False, momentum=0.9,
             max_epochs=2, batch_size=M)  # fmt: skip
    after = train(p, mean)
    inputs, labels = data()

    @jax.jit
    @jax.grad
    def slope(params):
        log_p = jax.nn.log_softmax(p.model.apply({"params": params}, inputs))
        return -jnp.mean(log_p[jnp.arange(M), labels])

    first = slope(mean)
    half = jax.tree.map(lambda w, g: w - 0.01 * g, mean, first)
    second = slope(half)
    expected = jax.tree.map(
        lambda w, g, h: w - 0.01 * (0.9 * g + h), half, first, second
    )
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), after, expected
    )
