"""Networks under noise against networks whose every weight is drawn, by the oracle."""

import dataclasses
import functools
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import bounds
from bounds.measures import noise_level, noisy
from bounds.measures.gibbs import LEVELS
from nets import stochastic
from nets.cnn import CNN
from nets.mlp import MLP
from nets.sample import BLOCK, pad_sample
from nets.strided import StridedCNN
from tests import oracles
from tests.bounds.cases import layer_norms, measured, random_case, trained_case
from tests.oracles import noise, pac_bayes, sharpness
from tests.oracles.counting import grid_weight

_compiled = functools.partial(
    jax.jit, compiler_options={"xla_backend_optimization_level": 0}
)


def with_biases(case):
    return case.biases or [np.zeros(w.shape[1]) for w in case.weights]


def errors(kind, net, levels, examples=20000):
    """(errors, draws, fill) of a kind of noise, in float64's company."""

    def program(net):
        return noisy.errors(
            kind(net), jnp.asarray(levels), net.sample, jax.random.key(7), examples
        )

    with jax.enable_x64(True):
        return jax.device_get(_compiled(program)(net))


def drawn_error(
    case, levels, rng, draws, noisy_biases=True, magnitude=False, data=None
):
    """Mean and standard error of the error over drawn networks, all of them at once."""
    x, y = data or (case.x, case.y)
    kernels, shifts = [], []
    for w, b, level in zip(case.weights, with_biases(case), levels, strict=True):
        scale = np.sqrt(level**2 * w**2 + noise.EPSILON**2) if magnitude else level
        kernels.append(w + scale * rng.standard_normal((draws, *w.shape)))
        moved = 0.0 if magnitude or not noisy_biases else level
        shifts.append(b + moved * rng.standard_normal((draws, 1, len(b))))
    wrong = noise.wrong_of_drawn(kernels, shifts, x, y)
    return noise.mean_and_standard_error(wrong / len(y))


@pytest.mark.parametrize("magnitude", [False, True])
def test_networks_drawn_at_once_err_as_networks_drawn_one_by_one(magnitude):
    case = random_case(3, [4, 8, 5, 3], m=30, biases=True)
    args = case.weights, case.biases, case.x, case.y
    rng = np.random.default_rng(1)
    if magnitude:
        by_loops = noise.magnitude_gibbs_error(*args, 0.7, rng, 200)
        ours = drawn_error(case, [0.7] * 3, rng, 4000, magnitude=True)
    else:
        by_loops = noise.gibbs_error(*args, [0.1, 0.4, 0.8], rng, 200)
        ours = drawn_error(case, [0.1, 0.4, 0.8], rng, 4000)
    assert_same_mean(ours[0], np.inf, by_loops[0], math.hypot(ours[1], by_loops[1]))
    assert ours[1] * math.sqrt(4000 / 200) == pytest.approx(by_loops[1], rel=0.2)


def assert_same_mean(found, count, mean, error, spread=0.25):
    """`found`, a mean of `count` draws, against a mean with a standard error."""
    assert abs(found - mean) < 4 * math.sqrt(error**2 + spread / count)


@pytest.mark.parametrize("biases", [pytest.param(False, marks=pytest.mark.slow), True])
def test_an_example_has_the_error_of_drawn_networks(biases):
    case = random_case(3, [4, 8, 5, 3], m=30, biases=biases)
    levels = [[0.0] * 3, [0.3] * 3, [0.1, 0.4, 0.8]]
    kind = functools.partial(noisy.isotropic, with_biases=True)
    found, draws, fill = errors(kind, case.network(), levels)
    clean = noise.error(case.weights, with_biases(case), case.x, case.y)
    assert draws >= 20000 and draws % case.m == 0 and fill == 1
    assert found[0] == pytest.approx(clean)
    for index in (1, 2):
        rng = np.random.default_rng(index)
        drawn = drawn_error(case, levels[index], rng, 4000, noisy_biases=biases)
        assert_same_mean(found[index], draws, *drawn)


def test_without_biases_there_is_no_noise_in_them():
    """One layer and two classes in closed form: margins move by N(0, 2 level^2 ||x||^2)."""
    case = random_case(3, [4, 2], m=30)
    case = dataclasses.replace(case, x=case.x / 8, weights=[8 * case.weights[0]])
    kind = functools.partial(noisy.isotropic, with_biases=True)
    found, draws, _ = errors(kind, case.network(), [[5.0], [20.0]])
    pairs = zip(case.logits, case.y, strict=True)
    margins = [oracles.margin(logits, label) for logits, label in pairs]
    norms = math.sqrt(2) * np.linalg.norm(case.x, axis=1)
    for level, value in zip((5.0, 20.0), found, strict=True):
        assert_same_mean(value, draws, oracles.gibbs_error(margins, norms, level), 0.0)


def test_noise_in_proportion_to_weights():
    case = random_case(4, [4, 8, 3], m=30, biases=True)
    found, draws, _ = errors(
        noisy.magnitude_aware, case.network(), [[0.0] * 2, [1.0] * 2]
    )
    for level, value in zip((0.0, 1.0), found, strict=True):
        rng = np.random.default_rng(1)
        drawn = drawn_error(case, [level] * 2, rng, 4000, magnitude=True)
        assert_same_mean(value, draws, *drawn)


def test_biases_are_quiet_where_only_weights_are_meant():
    case = random_case(5, [4, 6, 3], m=30, biases=True)
    quiet = [np.zeros_like(w) for w in case.weights]
    shifted = dataclasses.replace(case, weights=quiet)
    for noisy_biases in (False, True):
        kind = functools.partial(noisy.isotropic, with_biases=noisy_biases)
        found, draws, _ = errors(kind, shifted.network(), [[0.5] * 2])
        rng = np.random.default_rng(2)
        drawn = drawn_error(shifted, [0.5] * 2, rng, 4000, noisy_biases)
        assert_same_mean(found[0], draws, *drawn)


def test_a_shared_draw_has_the_same_mean_and_counts_blocks(monkeypatch):
    case = random_case(6, [4, 8, 3], m=200, biases=True)
    monkeypatch.setattr(noisy, "is_dense", lambda *_: False)
    for kind, level in ((noisy.isotropic, 0.3), (noisy.magnitude_aware, 0.7)):
        own = (
            functools.partial(kind, with_biases=True)
            if kind is noisy.isotropic
            else kind
        )
        found, draws, fill = errors(own, case.network(), [[level] * 2], 60000)
        assert draws == 300 * 2 and fill == pytest.approx(200 / 256)
        rng, magnitude = np.random.default_rng(3), kind is noisy.magnitude_aware
        drawn = drawn_error(case, [level] * 2, rng, 1000, magnitude=magnitude)
        # Blocks of examples are as spread as networks are.
        assert_same_mean(found[0], draws, *drawn, spread=(drawn[1] ** 2) * 1000)


def test_a_convolutional_network_under_no_noise_is_itself():
    model = CNN((8, 8, 1), 3, 1, 3, True)
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((50, 64)).astype(np.float32), rng.integers(3, size=50)
    params = jax.jit(model.init)(jax.random.key(0), x[:1])["params"]
    net = bounds.Network(model, params, pad_sample(x, y, 0))
    levels = [[0.0] * 3, [10.0] * 3]
    kind = functools.partial(noisy.isotropic, with_biases=False)
    found, _, _ = errors(kind, net, levels, 1000)
    logits = np.asarray(jax.jit(model.apply)({"params": params}, x))
    clean = np.mean(np.argmax(logits, axis=1) != y)
    assert found[0] == pytest.approx(clean)
    assert 0.5 < found[1] < 0.8  # a guess among three


LEVELS_OF_NOISE = "task", "noise", "magnitude_noise", "magnitude_ratios"


@functools.cache
def case_of_levels(biases=True):
    """A network that bears some noise, and its groups, measured once."""
    case = random_case(8, [5, 12, 3], m=80, biases=biases)
    return case, measured(case.network(), LEVELS_OF_NOISE)[0]


@pytest.mark.parametrize("biases", [pytest.param(False, marks=pytest.mark.slow), True])
def test_the_level_borne_is_the_one_that_brute_force_finds(biases):
    case, found = case_of_levels(biases)
    args = case.weights, with_biases(case), case.x, case.y
    clean = noise.error(*args)
    for name, magnitude in (("noise", False), ("magnitude_noise", True)):
        rng = np.random.default_rng(1)
        drawn = noise.drawn_noise(case.weights, rng, 4000)
        level = float(found[name].level)
        which = noise.which_at_level(*args, drawn, level, magnitude)
        wrong = which.mean(axis=1)
        drop, error = wrong.mean() - clean, wrong.std() / math.sqrt(4000)
        assert abs(drop - noise_level.DROP) <= noise_level.TOLERANCE + 3 * error, name
        assert not found[name].is_capped
        assert found[name].drop == pytest.approx(noise_level.DROP)
        # The level's error is the drop's over its slope, which draws in common show; ours is that
        # of a chord between two drops of standard error 0.005 that differ by 0.02 to 0.03.
        near = [noise.wrong_at_level(*args, drawn, level * r, magnitude).mean() / case.m
                for r in (1 / 1.1, 1.1)]  # fmt: skip
        slope = (near[1] - near[0]) / (2 * math.log(1.1))
        own = found[name].standard_error / found[name].log_standard_error
        assert slope / 2 < own < 2 * slope, name
        assert found[name].draws >= 4
        # Every example of every block of all 80 has a draw of its own.
        p = which.mean(axis=0)
        draws = int(found[name].draws)
        exact = math.sqrt(np.sum(p * (1 - p)) / draws) / case.m
        of_estimate = 1 / math.sqrt(2 * (draws - 1))
        assert found[name].standard_error == pytest.approx(exact, rel=2 * of_estimate)
        brute = noise.noise_level(*args, rng, 1000, 16, magnitude)
        assert abs(math.log2(level / brute)) < 0.25, name


def test_what_overflows_is_lost():
    """An infinite margin is no right answer: the certificate of such a network was .008."""
    x = np.tile([[100.0, -100.0], [-100.0, 100.0]], (50, 1)).astype(np.float32)
    w = np.full((2, 2), 3e37) * [[1, -1], [-1, 1]]
    net = bounds.from_arrays([w], x, np.tile([0, 1], 50), init=[w])
    names = ["maurer_2004_kl", "maurer_2004_kl_layers", "pacbayes_flatness"]
    found = bounds.values(net, names, init_is_independent=True)
    assert found["maurer_2004_kl"].value > 0.99
    assert found["maurer_2004_kl_layers"].value > 0.99
    assert found["pacbayes_flatness"] == "its value is not a number"


def test_what_bears_all_noise_is_capped():
    """All labels alike and a bias beyond any noise: nothing is ever lost."""
    case = random_case(9, [5, 12, 3], m=80, biases=True)
    case = dataclasses.replace(
        case, y=np.zeros(80, int), biases=[case.biases[0], np.array([1e6, 0.0, 0.0])]
    )
    found, _ = measured(case.network(), LEVELS_OF_NOISE)
    assert found["noise"].is_capped and found["noise"].level == 2
    assert found["noise"].drop == 0


def cells_of(kl, price, weights, initial):
    """The one pair (k_1, k_2) of this price, -sum ln p(k_l), and this KL at sigma_l = 2^(k_l/2)."""
    found = []
    for pair in itertools.product(range(-60, 21), repeat=2):
        if price == pytest.approx(-sum(math.log(grid_weight(k)) for k in pair)):
            sigmas = [2 ** (k / 2) for k in pair]
            its_kl = pac_bayes.gaussian_kl_layers(weights, initial, sigmas)
            if kl == pytest.approx(its_kl, rel=1e-9):
                found.append(pair)
    assert len(found) == 1, (kl, price, found)
    return found[0]


def test_what_bears_no_noise_that_is_looked_at_has_no_level():
    """Magnitude-aware noise is 1e-3 at the least, ten times these weights: 44 % are lost at any level."""
    weights = [np.array([[-1e-4, 1e-4]], np.float32)]
    net = bounds.from_arrays(
        weights, np.ones((300, 1), np.float32), np.ones(300, int), init=[0 * weights[0]]
    )
    found, _ = measured(net, ("noise", "magnitude_noise"))
    assert found["magnitude_noise"].is_capped and not found["noise"].is_capped
    value = bounds.values(net, ["pacbayes_mag_flatness"])["pacbayes_mag_flatness"]
    assert value == "its value is not a number"


def test_the_group_of_posteriors():
    case = trained_case(0, True)
    # The same function, of layers that should not be under the same noise.
    twice = {
        name: [2 * getattr(case, name)[0], getattr(case, name)[1] * half]
        for name, half in (
            ("weights", 0.5), ("initial", 0.5), ("biases", 1), ("initial_biases", 1),
        )
    }  # fmt: skip
    case = dataclasses.replace(case, **twice)
    held_out = case.x[:20].astype(np.float32), case.y[:20]
    net = case.network().replace(holdout=pad_sample(*held_out, 0))
    found, _ = measured(net, ("gibbs", "gibbs_layers"))
    pairs = [(w - z, b - c) for w, z, b, c in zip(
        case.weights, case.initial, case.biases, case.initial_biases, strict=True
    )]  # fmt: skip
    squared = [np.sum(dw**2) + np.sum(db**2) for dw, db in pairs]
    same = found["gibbs"]
    sigmas = np.sqrt(sum(squared) / (2 * same.kl))
    halves = 2 * np.log2(sigmas)
    np.testing.assert_allclose(halves, np.round(halves), atol=1e-6)
    np.testing.assert_allclose(same.prices, math.log(LEVELS))
    # A grid cell for each layer, and its price, one of those that sum to 1.
    own = found["gibbs_layers"]
    weights, initial = (
        [np.vstack([w, b]) for w, b in zip(*arrays, strict=True)]
        for arrays in (
            (case.weights, case.biases), (case.initial, case.initial_biases),
        )
    )  # fmt: skip
    cells = [
        cells_of(*pair, weights, initial)
        for pair in zip(own.kl, own.prices, strict=True)
    ]
    assert all(first != second for first, second in cells)
    for group, deviations in (
        (same, [[sigma] * 2 for sigma in sigmas]),
        (own, [[2 ** (k / 2) for k in pair] for pair in cells]),
    ):
        for each, error, other in zip(
            deviations, group.errors, group.holdout_errors, strict=True
        ):
            rng = np.random.default_rng(4)
            drawn = drawn_error(case, each, rng, 3000)
            assert_same_mean(error, group.draws, *drawn)
            drawn = drawn_error(case, each, rng, 3000, data=held_out)
            assert_same_mean(other, group.draws, *drawn)
    values = bounds.evaluate(
        jax.tree.map(lambda leaf: np.asarray(leaf)[None], found | measured(net, ("task",))[0]),
        ["maurer_2004_kl", "maurer_2004_kl_layers"],
    )  # fmt: skip
    assert 0 < values["maurer_2004_kl"].risk[0] < 1


def test_a_learned_posterior_is_measured_as_it_is():
    case = random_case(2, [4, 6, 3], m=40, biases=True)
    rng, params = np.random.default_rng(0), {}
    for index, (w, b) in enumerate(zip(case.weights, case.biases, strict=True)):
        layer = {"kernel": w, "bias": b}
        params[f"Dense_{index}"] = {
            **layer,
            **{f"log_sd_{n}": rng.uniform(-3, -0.5, a.shape) for n, a in layer.items()},
            **{f"prior_{n}": a + 0.1 for n, a in layer.items()},
        }
    j = 137
    params["Dense_0"]["log_prior_sd"] = math.log(pac_bayes.prior_variance(j + 0.3)) / 2
    params = jax.tree.map(lambda a: jnp.asarray(a, jnp.float32), params)
    sample = pad_sample(case.x.astype(np.float32), case.y, 0)
    model = stochastic.GaussianNetwork(MLP(6, 1, 3, True), learned_prior=True)
    mean = stochastic.mean_network(params)
    net = bounds.Network(
        MLP(6, 1, 3, True), mean, sample, learned=bounds.Learned(model, params)
    )
    found, _ = measured(net, ("gibbs_posterior",))
    found = found["gibbs_posterior"]

    flat = [
        np.concatenate([np.asarray(layer[f"{part}{n}"], float).ravel()
                        for layer in params.values() for n in ("kernel", "bias")])
        for part in ("", "log_sd_", "prior_")
    ]  # fmt: skip
    w, v, z = flat[0], np.exp(2 * flat[1]), flat[2]
    kl = pac_bayes.gaussian_kl(w, v, z, pac_bayes.prior_variance(j))
    assert found.kl[0] == pytest.approx(kl, rel=1e-9)
    assert found.prices[0] == pytest.approx(2 * math.log(j) + math.log(math.pi**2 / 6))

    def drawn(name, *axes):
        """Of 4000 networks, layer by layer; `axes` beside the drawn ones'."""
        every = []
        for layer in params.values():
            mean, log_sd = (
                np.asarray(layer[n], float) for n in (name, f"log_sd_{name}")
            )
            noise_of_all = rng.standard_normal((4000, *axes, *mean.shape))
            every.append(mean + np.exp(log_sd) * noise_of_all)
        return every

    wrong = noise.wrong_of_drawn(drawn("kernel"), drawn("bias", 1), case.x, case.y)
    by_draws = noise.mean_and_standard_error(wrong / case.m)
    assert_same_mean(found.errors[0], found.draws, *by_draws)


def test_a_convolution_is_drawn_for_each_example_of_a_block():
    """What the errors that are counted as independent need; their variance is a slow test."""
    plain = StridedCNN((4, 4, 1), 2, 1, 3, True)
    init = jax.jit(plain.init)(jax.random.key(0), np.zeros((1, 16), np.float32))
    params = stochastic.around(init["params"], init["params"], 1.0, 1.0)
    drawn = noisy.posterior(stochastic.GaussianNetwork(plain), params)
    convolution = next(iter(params.values()))
    first, *_ = drawn.draw(jax.random.key(1))
    assert drawn.is_each
    for name in ("kernel", "bias"):
        assert first[name].shape == (BLOCK, *convolution[name].shape)
        assert len(np.unique(first[name], axis=0)) == BLOCK


@pytest.mark.slow
def test_every_image_of_a_convolutional_posterior_has_a_draw_of_its_own():
    """The same image again and again: its errors are independent, as what is certified takes them
    to be. Were a draw shared by the 128 of a block, their mean would vary 128 times as much."""
    plain, copies = StridedCNN((4, 4, 1), 2, 1, 3, True), 256
    x = np.random.default_rng(1).standard_normal((1, 16)).astype(np.float32)
    mean = jax.jit(plain.init)(jax.random.key(2), x)["params"]
    model = stochastic.GaussianNetwork(plain)
    params = stochastic.around(mean, mean, 1.0, 1.0)
    for name in list(params)[1:]:  # the convolution alone is under noise
        for part in ("log_sd_kernel", "log_sd_bias"):
            params[name][part] = jnp.full_like(params[name][part], -jnp.inf)
    sample = pad_sample(np.repeat(x, copies, 0), np.zeros(copies, np.int32), 0)
    level = jnp.ones((1, len(params)))

    @_compiled
    def counted(keys):
        found = noisy.posterior(model, params)
        return jax.lax.map(
            lambda key: noisy.errors(found, level, sample, key, copies), keys
        )

    keys = jax.random.split(jax.random.key(2), 200)
    errors, draws, fill = (np.asarray(part) for part in counted(keys))
    assert np.all(draws == copies) and np.all(fill == 1)
    rate = errors.mean()
    assert 0.1 < rate < 0.9
    ratio = errors.var(ddof=1) / (rate * (1 - rate) / copies)
    low, high = stats.chi2.ppf([1e-4, 1 - 1e-4], len(keys) - 1) / (len(keys) - 1)
    assert low < ratio < high

    def drawn(key):
        """By hand: one draw of all kernels."""
        moved = {
            name: {
                part: layer[part] + jnp.exp(layer[f"log_sd_{part}"]) * jax.random.normal(
                    jax.random.fold_in(jax.random.fold_in(key, n), part == "bias"), layer[part].shape
                )
                for part in ("kernel", "bias")
            }
            for n, (name, layer) in enumerate(params.items())
        }  # fmt: skip
        logits = plain.apply({"params": moved}, x)[0]
        return logits[0] <= jnp.max(logits[1:])

    every = _compiled(lambda keys: jax.lax.map(drawn, keys))
    wrong = np.mean(every(jax.random.split(jax.random.key(3), 20_000)))
    spread = math.sqrt(rate * (1 - rate) * (1 / (copies * len(keys)) + 1 / 20_000))
    assert abs(wrong - rate) < 4.5 * spread


def test_measures_of_noise_are_their_formulas():
    case, found = case_of_levels()
    moved = [w - z for w, z in zip(case.weights, case.initial, strict=True)]
    norms = {
        "kernels": layer_norms(case.weights), "kernels_from_init": layer_norms(moved),
        "architecture": measured(case.network(), ("architecture",))[0]["architecture"],
    }  # fmt: skip
    stacked = jax.tree.map(lambda leaf: np.asarray(leaf)[None], found | norms)
    of_noise = [n for n in bounds.BOUNDS if n.startswith("pacbayes_")]
    assert len(of_noise) == 6
    values = bounds.evaluate(stacked, of_noise)
    w = np.concatenate([a.ravel() for a in case.weights])
    z = np.concatenate([a.ravel() for a in case.initial])
    m, sigma = case.m, float(found["noise"].level)
    magnitude = float(found["magnitude_noise"].level)

    def formulas(sigma, magnitude):
        return {
            "pacbayes_init": sharpness.pacbayes_init(w, z, m, sigma),
            "pacbayes_orig": sharpness.pacbayes_orig(w, m, sigma),
            "pacbayes_flatness": sharpness.pacbayes_flatness(m, sigma),
            "pacbayes_mag_init": sharpness.pacbayes_mag_init(w, z, m, magnitude),
            "pacbayes_mag_orig": sharpness.pacbayes_mag_orig(w, z, m, magnitude),
            "pacbayes_mag_flatness": sharpness.pacbayes_mag_flatness(m, magnitude),
        }

    for name, value in formulas(sigma, magnitude).items():
        assert values[name].value[0] == pytest.approx(value, rel=1e-6), name
    # A standard error of the level, carried over to the value.
    h = 1e-4
    low, high = (formulas(sigma * r, magnitude * r) for r in (1 - h, 1 + h))
    for name in of_noise:
        group = found["magnitude_noise" if "_mag_" in name else "noise"]
        error = abs(high[name] - low[name]) / (2 * h) * group.log_standard_error
        basis = values[name].estimate
        assert basis.standard_error[0] == pytest.approx(error, rel=1e-4), name
        assert basis.draws[0] == group.draws and np.isnan(basis.examples[0])


def test_without_the_initial_weights_the_rest_is_there():
    net = random_case(1, [4, 7, 3], m=50, biases=True).network().replace(init=None)
    names, missing = ("noise", "magnitude_noise", "magnitude_ratios", "gibbs"), {}

    def traced(net):
        found, reasons = bounds.measure(net, names)
        missing.update(reasons)
        return found

    found = jax.eval_shape(traced, net)
    assert set(found) == {"noise", "magnitude_noise"}
    assert set(missing) == {"magnitude_ratios", "gibbs"}
