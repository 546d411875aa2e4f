"""Bounds of one drawn network against their oracle, their limits, and the worst of posteriors."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats

import bounds
from bounds import objectives
from bounds.measures import single_draw
from bounds.measures.single_draw import SingleDraw
from bounds.numerics import tails
from nets import stochastic
from nets.mlp import MLP
from nets.sample import pad_sample
from tests.bounds.cases import measured
from tests.oracles import single_draw as oracle

KL, HAMMER = "rivasplata_2020_single_draw", "blanchard_2007_single_draw"
DELTA = 0.05
_upper = jax.jit(tails.upper)


def evaluate(ratio, wrong, size, delta=DELTA, price=0.0):
    """name -> values `[R]` of drawn networks."""
    columns = np.broadcast_arrays(np.atleast_1d(ratio), price, wrong, size, np.nan)
    found = bounds.evaluate(
        {"single_draw": SingleDraw(*columns)}, [KL, HAMMER], delta=delta
    )
    return {name: np.asarray(value.value) for name, value in found.items()}


@pytest.fixture(scope="module")
def posterior():
    """A `GaussianNetwork` of random means and deviations, its parameters, and examples."""
    rng, model = (
        np.random.default_rng(0),
        stochastic.GaussianNetwork(MLP(4, 1, 3, True)),
    )
    params = model.init(jax.random.key(0), np.zeros((1, 5), np.float32))["params"]
    params = jax.tree.map(
        lambda leaf: jnp.asarray(0.7 * rng.standard_normal(leaf.shape), jnp.float32),
        params,
    )
    examples = rng.standard_normal((2, 90, 5)), rng.integers(3, size=(2, 90))
    return model, params, [pad_sample(x, y, 0) for x, y in zip(*examples, strict=True)]


def network(posterior, learned_prior=False):
    model, params, (sample, held_out) = posterior
    model = stochastic.GaussianNetwork(MLP(4, 1, 3, True), learned_prior)
    mean = stochastic.mean_network(params)
    return bounds.Network(
        MLP(4, 1, 3, True), mean, sample, holdout=held_out,
        learned=bounds.Learned(model, params),
    )  # fmt: skip


def flat(params, of):
    """Numbers of all arrays, float64, in one order."""
    every = [params[f"Dense_{n}"][of(name)] for n in (0, 1) for name in ("kernel", "bias")]  # fmt: skip
    return np.concatenate([np.asarray(a, float).ravel() for a in every])


def test_what_is_measured_is_of_the_one_draw(posterior):
    found = measured(network(posterior), ("single_draw",))[0]["single_draw"]
    _, params, samples = posterior
    with jax.enable_x64(True):
        own = single_draw.drawn(params)
    h, w, z = flat(own, str), flat(params, str), flat(params, "prior_{}".format)
    log_sd = flat(params, "log_sd_{}".format)
    noise = (h - w) / np.exp(log_sd)
    assert len(set(noise)) == len(noise) and stats.kstest(noise, "norm").pvalue > 1e-3
    lam = math.exp(2 * float(params["Dense_0"]["log_prior_sd"]))
    expected = oracle.log_ratio(h, w, np.exp(2 * log_sd), z, lam)
    assert float(found.log_ratio) == pytest.approx(expected, rel=1e-12)
    assert float(found.price) == 0 and int(found.size) == 90
    counted = []
    for sample in samples:
        x, y = np.asarray(sample.inputs, float)[:90], np.asarray(sample.labels)[:90]
        layers = [{k: np.asarray(a, float) for k, a in own[f"Dense_{n}"].items()} for n in (0, 1)]  # fmt: skip
        hidden = np.maximum(x @ layers[0]["kernel"] + layers[0]["bias"], 0)
        logits = hidden @ layers[1]["kernel"] + layers[1]["bias"]
        counted.append(int(np.sum(np.argmax(logits, axis=1) != y)))
    assert int(found.wrong) == counted[0]
    assert float(found.holdout_error) == pytest.approx(counted[1] / 90)


def test_the_draw_knows_no_data(posterior):
    net = network(posterior)
    other = net.replace(sample=net.holdout)
    first, second = (measured(n, ("single_draw",))[0]["single_draw"] for n in (net, other))  # fmt: skip
    assert first.log_ratio == second.log_ratio and first.wrong != second.wrong


def test_a_learned_prior_is_on_its_grid_and_paid_for(posterior):
    found = measured(network(posterior, True), ("single_draw",))[0]["single_draw"]
    _, params, _ = posterior
    log_prior = float(params["Dense_0"]["log_prior_sd"])
    j = max(round(100 * (math.log(0.1) - 2 * log_prior)), 1)
    assert float(found.price) == pytest.approx(math.log(math.pi**2 * j**2 / 6))
    with jax.enable_x64(True):
        own = single_draw.drawn(objectives.on_the_grid(params))
    expected = oracle.log_ratio(
        flat(own, str), flat(params, str), np.exp(2 * flat(params, "log_sd_{}".format)),
        flat(params, "prior_{}".format), 0.1 * math.exp(-j / 100),
    )  # fmt: skip
    assert float(found.log_ratio) == pytest.approx(expected, rel=1e-9)
    paid, free = (evaluate(2.0, 20, 400, price=p)[HAMMER] for p in (5.0, 0.0))
    assert paid == evaluate(2.0, 20, 400, DELTA * math.exp(-5.0))[HAMMER] > free


def test_every_form_is_its_oracles():
    rng, runs = np.random.default_rng(1), 30
    m = np.exp(rng.uniform(np.log(8), np.log(3e4), runs)).astype(int)
    wrong = (m * rng.choice([0.0, 0.003, 0.05, 0.4], runs) * rng.random(runs)).astype(
        int
    )
    ratio = np.exp(rng.uniform(-3, 6, runs)) * rng.choice([1, 1, 1, -1, 0], runs)
    found = evaluate(ratio, wrong, m)
    for name, form in ((KL, oracle.disintegrated_kl), (HAMMER, oracle.occams_hammer)):
        cases = zip(ratio, wrong, m, strict=True)
        expected = [form(float(r), int(k), int(n), DELTA) for r, k, n in cases]
        np.testing.assert_allclose(found[name], expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("log_level", [-590.0, -610.0, -3000.0, -20000.0])
def test_levels_that_no_number_holds_are_levels(log_level):
    """scipy's tail is 0 below e^-745, and any p would be above its limit."""
    for k, m in ((0, 30000), (100, 30000), (2000, 30000), (299, 300)):
        with jax.enable_x64(True):
            found = float(_upper(k, float(m), log_level))
        expected = oracle.binomial_upper(k, m, log_level)
        assert expected - 1e-12 <= found <= expected + 2e-5, (k, m)
        if log_level >= -600:
            assert found == pytest.approx(expected, rel=1e-9)


def test_without_a_ratio_it_is_a_hold_out_bound_of_half_the_level():
    wrong, size = np.array([0, 3, 480, 30000]), 30000
    found = evaluate(np.array([0.0, -0.5, -40.0, 1.0]), wrong, size)
    upper = stats.beta.ppf(1 - DELTA / 2, wrong + 1, size - wrong)
    np.testing.assert_allclose(found[HAMMER][:3], upper[:3], rtol=1e-9)
    # What kl cannot say any more is what was counted; of errors only, everything is 1.
    assert found[KL][2] == pytest.approx(480 / size) and found[HAMMER][3] == 1
    nothing = evaluate(np.array([np.nan, np.inf]), 5, 100)
    assert np.isnan([v[0] for v in nothing.values()]).all()
    assert nothing[HAMMER][1] == pytest.approx(1)


RISK, SIZE, HYPOTHESES, SHARE = 0.3, 80, 400, 0.1


def worst_ratio(log_tail, shortfall):
    """The largest r at which a limit is still too low: ln tail <= ln delta - r - shortfall(r)."""
    low, high = 0.0, 200.0
    if log_tail > math.log(SHARE) - shortfall(0.0):
        return -math.inf
    for _ in range(80):
        r = (low + high) / 2
        holds = log_tail <= math.log(SHARE) - r - shortfall(r)
        low, high = (r, high) if holds else (low, r)
    return low


def violated(ratios, rng, runs=2000):
    """How often, exactly, given each sample, the worst posterior's draw is violated: `[runs]`.

    P is uniform over hypotheses of risk `RISK` whose errors are independent. One that errs k times
    is violated up to the ratio e^ratios[k]: the posterior that puts so much on each of them, as
    far as its mass of 1 goes, does most.
    """
    wrong = rng.binomial(SIZE, RISK, (runs, HYPOTHESES))
    return np.minimum(np.exp(ratios)[wrong].mean(axis=1), 1.0)


@pytest.mark.slow
def test_the_worst_of_posteriors_violates_them_as_often_as_delta_and_no_more():
    k = np.arange(SIZE + 1)
    tails = stats.binom.logcdf(k, SIZE, RISK)
    q = k / SIZE
    kl = special.rel_entr(q, RISK) + special.rel_entr(1 - q, 1 - RISK)
    log_term = math.log(2 * math.sqrt(SIZE) / SHARE)

    def hammer_price(r):
        return math.log(2) + 2 * math.log1p(r)

    # (name, ratios up to which it is violated, a price that takes its constant away)
    ratios = {
        HAMMER: np.array([worst_ratio(t, hammer_price) for t in tails]),
        KL: np.where(q < RISK, SIZE * kl - log_term, -np.inf),
    }
    planted = {
        HAMMER: np.array([worst_ratio(t, lambda _: 0.0) for t in tails]),
        KL: np.where(q < RISK, SIZE * kl - log_term + math.log(2 * math.sqrt(SIZE)), -np.inf),
    }  # fmt: skip
    constants = {
        HAMMER: lambda r: -np.log(2) - 2 * np.log1p(r),
        KL: lambda r: np.full(r.shape, -math.log(2 * math.sqrt(SIZE))),
    }
    for name in (HAMMER, KL):
        rng = np.random.default_rng(3)
        for table, price in ((ratios, 0.0), (planted, constants[name])):
            there = table[name] > 0
            r = np.where(there, table[name], 1.0)  # of one shape: compiled once
            # The table is the bound's own: violated just below it, and not just above.
            for shift, is_violated in ((-1e-6, True), (1e-6, False)):
                prices = price(r + shift) if callable(price) else price
                values = evaluate(r + shift, k, SIZE, SHARE, prices)[name]
                assert np.all((values < RISK)[there] == is_violated), name
        often, planted_often = (violated(t[name], rng) for t in (ratios, planted))
        error = 3 * often.std() / math.sqrt(len(often))
        assert SHARE / 10 < often.mean() <= SHARE + error, name
        assert planted_often.mean() > 1.5 * SHARE, name
