"""The probability of labels before learning: kernels, orthants and the bound on them."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import bounds
from bounds.measures import function_prior
from bounds.measures.function_prior import Evidence
from bounds.network import Unavailable
from experiments.lab.reading import idx
from nets.cnn import CNN
from nets.mlp import MLP
from nets.sample import pad_sample
from tests.oracles import function_prior as oracle

ROWS = 32  # one program serves all sizes
# Compiling takes longer than measuring.
FAST = {"xla_backend_optimization_level": 0}
_half_line = jax.jit(function_prior._half_line)
_log_orthant = jax.jit(function_prior.log_orthant, compiler_options=FAST)
_evidence = jax.jit(function_prior.evidence, compiler_options=FAST)


def log_orthant(correlation, signs, known=None):
    behind = ROWS - len(signs)
    known = np.ones(len(signs), bool) if known is None else known
    arrays = (
        np.pad(correlation, [(0, behind)] * 2, constant_values=0.7),
        np.pad(np.asarray(signs, float), (0, behind), constant_values=1.0),
        np.pad(known, (0, behind)),
    )
    with jax.enable_x64(True):
        found, converged = _log_orthant(*(jnp.asarray(a) for a in arrays))
    return float(found), bool(converged)


def random_correlation(rng, n):
    a = rng.standard_normal((n, n + 2))
    return oracle.correlation(a @ a.T)


def network(classes, biases, m=20, depth=2, seed=0):
    rng = np.random.default_rng(seed)
    model = MLP(11, depth, classes, biases)
    x = rng.standard_normal((m, 6)).astype(np.float32)
    params = model.init(jax.random.key(seed), x[:1])["params"]
    return bounds.Network(
        model, params, pad_sample(x, rng.integers(classes, size=m), 0)
    )


def evidence(net):
    with jax.enable_x64(True):
        return jax.device_get(_evidence(net))


@pytest.mark.parametrize("biases", [False, True])
def test_the_covariance_is_that_of_wide_networks_at_initialisation(rng, biases):
    widths, draws = (30, 400, 200, 3), 250
    x = rng.standard_normal((4, widths[0])) * np.array([[0.5], [1], [1], [2]])
    x[2] = -x[1]

    def drawn(fan_in, fan_out):
        limit = math.sqrt(6 / (fan_in + fan_out))
        return rng.uniform(-limit, limit, (fan_in, fan_out))

    found = []
    for _ in range(draws):
        a = x
        for fan_in, fan_out in itertools.pairwise(widths[:-1]):
            z = a @ drawn(fan_in, fan_out)
            if biases:
                z += drawn(1, fan_out)  # the fans of a bias are 1 and out
            a = np.maximum(z, 0)
        # The last layer's mean needs no draws: variance 2/(in + out) of each weight.
        last = 2 / (widths[-2] + widths[-1]) * a @ a.T
        found.append(last + (2 / (1 + widths[-1]) if biases else 0))
    mean, error = np.mean(found, axis=0), np.std(found, axis=0) / math.sqrt(draws)
    assert np.all(error < 0.03 * np.abs(mean))
    with jax.enable_x64(True):
        ours = function_prior.prior_covariance(
            jnp.asarray(x), list(itertools.pairwise(widths)), [biases] * 3
        )
    ours = np.asarray(ours)
    assert np.all(np.abs(ours - mean) < 4 * error)
    np.testing.assert_allclose(ours, oracle.covariance(x, widths, biases), rtol=1e-12)


@pytest.mark.parametrize("z", [-40.0, -8.0, -4.01, -3.99, -1.0, 0.0, 3.0])
def test_moments_of_a_half_line_are_those_of_quadrature(z):
    # The density at t > 0 is exp(-(t - z)^2 / 2), its factor exp(-z^2 / 2) apart.
    t = np.linspace(0, 45 / max(1, -z), 400_001)
    density = np.exp(z * t - t**2 / 2)
    weights = np.full(len(t), 2.0)
    weights[1::2], weights[[0, -1]] = 4.0, 1.0  # Simpson's
    weights *= density * (t[1] / 3)
    mass = weights.sum()
    mean = weights @ t / mass
    variance = weights @ (t - mean) ** 2 / mass
    with jax.enable_x64(True):
        found = _half_line(jnp.asarray(z))
    log_mass, ratio, shrunk = map(float, found)
    expected = math.log(mass) - z * z / 2 - math.log(2 * math.pi) / 2
    assert log_mass == pytest.approx(expected, rel=1e-11)
    assert z + ratio == pytest.approx(mean, rel=1e-9)
    assert shrunk == pytest.approx(variance, rel=1e-9)


def test_moments_far_below_zero_do_not_cancel():
    with jax.enable_x64(True):
        found = _half_line(jnp.asarray(-1e6))
    _, ratio, shrunk = map(float, found)
    assert shrunk == pytest.approx(1e-12, rel=1e-10)
    assert ratio == pytest.approx(1e6, rel=1e-10)


def test_one_sign_and_independent_signs_are_fair_coins():
    for n in (1, 2, 17):
        found, converged = log_orthant(np.eye(n), (-1.0) ** np.arange(n))
        assert converged and found == pytest.approx(-n * math.log(2), rel=1e-12)


def test_two_signs_against_the_closed_form():
    for rho in [*np.linspace(-0.99, 0.99, 23), 0.9999, 1 - 1e-9]:
        found, converged = log_orthant(np.array([[1, rho], [rho, 1]]), [-1, -1])
        excess = found - math.log(0.25 + math.asin(rho) / (2 * math.pi))
        # What the module claims of a pair.
        assert converged and -0.13 < excess < 0.005, rho
        assert abs(rho) > 0.75 or abs(excess) < 0.012, rho


@pytest.mark.parametrize("n", [2, 3, 5, 10, 30])
def test_equally_correlated_signs_against_the_closed_form(n):
    """Correlation 1/2: z_0 is the least of n + 1 independent z, with z_i - z_0 > 0."""
    found, converged = log_orthant((np.eye(n) + 1) / 2, np.ones(n))
    assert converged and found == pytest.approx(-math.log(n + 1), abs=0.025)


def all_alike(n, rho):
    return np.full((n, n), rho) + (1 - rho) * np.eye(n)


@pytest.mark.parametrize("rho", [0.9, 0.98, 0.999, 1 - 1e-6])
@pytest.mark.parametrize("n", [4, 10, 30])
def test_inputs_that_are_all_alike_come_to_rest(n, rho):
    """Given the common part c, signs are independent: the mean of Phi(c sqrt(rho/(1 - rho)))^n."""
    c = np.linspace(-12, 12, 400_001)
    common = stats.norm.logcdf(c * math.sqrt(rho / (1 - rho)))
    density = np.exp(n * common + stats.norm.logpdf(c))
    exact = math.log(np.sum(density) * (c[1] - c[0]))
    found, converged = log_orthant(all_alike(n, rho), np.ones(n))
    # What the module claims: too low, and by how much at most.
    assert converged and -0.55 < found - exact < 0


@pytest.mark.parametrize("rho", [0.9, 0.99, 0.9999])
@pytest.mark.parametrize("against", [1, 5])
def test_alike_inputs_of_two_labels_against_genz(rho, against):
    signs = np.where(np.arange(10) < against, -1.0, 1.0)
    signed = all_alike(10, rho) * np.outer(signs, signs)
    law = stats.multivariate_normal(np.zeros(10), signed, seed=0, maxpts=4_000_000)
    found, converged = log_orthant(all_alike(10, rho), signs)
    assert converged
    assert found == pytest.approx(math.log(law.cdf(np.zeros(10))), abs=0.02)


@pytest.mark.parametrize("biases", [False, True])
@pytest.mark.parametrize("is_one", [0, 1, 4, 10])  # of ten, in the class
def test_digits_against_genz(mnist_sample, biases, is_one):
    """Kernels of images: of a deep network with biases they are next to 1."""
    x = idx.read(mnist_sample / "train-images-idx3-ubyte.gz")[:10].reshape(10, -1) / 255
    k = oracle.correlation(oracle.covariance(x, (784, 30, 30, 30, 30, 10), biases))
    signs = np.where(np.arange(10) < is_one, 1.0, -1.0)
    signed = k * np.outer(signs, signs)
    law = stats.multivariate_normal(np.zeros(10), signed, seed=0, maxpts=1_000_000)
    found, converged = log_orthant(k, signs)
    excess = found - math.log(law.cdf(np.zeros(10)))
    # Of one sign: constraints that say nearly the same.
    least = -0.3 if is_one in (0, 10) else -0.03
    assert converged and least < excess < 0.02


@pytest.mark.parametrize("n", [2, 3, 4, 5, 6])
def test_orthants_against_monte_carlo(rng, n):
    draws = 400_000
    for _ in range(2):
        correlation = random_correlation(rng, n)
        signs = rng.choice([-1, 1], n)
        f = rng.standard_normal((draws, n)) @ np.linalg.cholesky(correlation).T
        p = np.mean(np.all(f * signs[None] > 0, axis=1))
        error = math.sqrt((1 - p) / (p * draws))
        found, converged = log_orthant(correlation, signs)
        # 0.02 nats are the approximation's own, as on the closed forms above.
        assert converged and abs(found - math.log(p)) < 0.02 + 4 * error


@pytest.mark.parametrize("n", [3, 25])
def test_all_sites_at_once_end_where_site_by_site_does(rng, n):
    correlation, signs = random_correlation(rng, n), rng.choice([-1, 1], n)
    found, converged = log_orthant(correlation, signs)
    expected = oracle.log_orthant(correlation, signs)
    assert converged and found == pytest.approx(expected, abs=1e-5)


def test_the_same_constraint_twice_is_one(rng):
    correlation, signs = random_correlation(rng, 5), np.array([1, -1, 1, 1, -1])
    once = log_orthant(correlation, signs)
    twice = [0, 1, 2, 3, 4, 2, 0, 2]
    many = correlation[np.ix_(twice, twice)]
    assert log_orthant(many, signs[twice]) == pytest.approx(once, abs=1e-9)
    # The same said of the negative of a variable.
    turn = np.array([1, 1, 1, 1, 1, 1, 1, -1])
    many = many * np.outer(turn, turn)
    assert log_orthant(many, signs[twice] * turn) == pytest.approx(once, abs=1e-9)


def test_what_cannot_be_has_no_probability(rng):
    correlation = random_correlation(rng, 4)
    twice = correlation[np.ix_([0, 1, 2, 0], [0, 1, 2, 0])]
    assert log_orthant(twice, [1, 1, 1, -1]) == (-math.inf, True)
    constant = correlation.copy()
    constant[3] = constant[:, 3] = 0
    assert log_orthant(constant, [1, 1, 1, 1]) == (-math.inf, True)
    # Three points of a plane whose origin is between them.
    third = np.full((3, 3), -0.5) + 1.5 * np.eye(3)
    found, _ = log_orthant(third, [1, 1, 1])
    assert found < -10
    # Unless it does not count.
    known = np.array([True, True, True, False])
    kept = log_orthant(correlation[:3, :3], [1, 1, 1])
    for other in (twice, constant):
        assert log_orthant(other, [1, 1, 1, -1], known) == pytest.approx(kept)


def expected_evidence(net, classes, biases):
    x, labels = (np.asarray(a)[:20] for a in (net.sample.inputs, net.sample.labels))
    return oracle.log_evidence(x.astype(float), labels, (6, 11, 11, classes), biases)


def slow(*case):
    return pytest.param(*case, marks=pytest.mark.slow)


@pytest.mark.parametrize(
    ("classes", "biases"),
    [(2, False), slow(2, True), slow(3, False), slow(3, True)],
)
def test_evidence_of_a_network(classes, biases):
    net = network(classes, biases)
    expected = expected_evidence(net, classes, biases)
    spoiled = net.sample.replace(inputs=net.sample.inputs.at[20:].set(1e6))
    for each in (net, net.replace(sample=spoiled)):
        found = evidence(each)
        assert found.converged and found.examples == 20
        assert found.log_evidence == pytest.approx(expected, abs=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("classes", [2, 3])
def test_evidence_in_float32(classes):
    net = network(classes, True)
    narrow = function_prior.evidence(net)
    assert narrow.log_evidence.dtype == jnp.float32
    expected = expected_evidence(net, classes, True)
    assert narrow.log_evidence == pytest.approx(expected, rel=1e-3)


def test_only_the_first_examples_are_looked_at(monkeypatch):
    few, many = network(3, True, m=20), network(3, True, m=150, depth=1)
    monkeypatch.setattr(function_prior, "EXAMPLES", 30)
    found = evidence(many)
    short = pad_sample(many.sample.inputs[:30], many.sample.labels[:30], 0)
    again = evidence(many.replace(sample=short))
    assert found.examples == again.examples == 30
    assert found.log_evidence == pytest.approx(again.log_evidence)
    assert evidence(few).examples == 20


def test_for_three_classes_it_is_below_the_probability(rng):
    """By draws of the prior: how often the label's output is the largest on all examples."""
    draws, widths = 200_000, (6, 11, 11, 3)
    for seed in range(3):
        net = network(3, True, m=4, seed=seed)
        x, labels = np.asarray(net.sample.inputs, float)[:4], net.sample.labels[:4]
        labels = np.asarray(labels)
        k = oracle.covariance(x, widths, True)
        f = rng.standard_normal((draws, 3, 4)) @ np.linalg.cholesky(k).T
        p = np.mean(np.all(np.argmax(f, axis=1) == labels, axis=1))
        error = math.sqrt((1 - p) / (p * draws))
        found = float(evidence(net).log_evidence)
        assert found < math.log(p) - 4 * error
        # The product of how often each output has the signs of its class, 0.02 nats a class off.
        is_of = labels == np.arange(3)[:, None]
        each = np.mean(np.all((f > 0) == is_of, axis=2), axis=0)
        error = math.sqrt(np.sum((1 - each) / (each * draws)))
        assert abs(found - np.sum(np.log(each))) < 3 * 0.02 + 4 * error


def test_simple_labels_are_more_probable_than_random_ones():
    net = network(2, False, m=100, depth=1)
    simple = (net.sample.inputs[:, 0] > 0).astype(jnp.int32)
    found = evidence(net.replace(sample=net.sample.replace(labels=simple)))
    assert found.log_evidence > evidence(net).log_evidence + 20


def test_equal_inputs_of_different_labels_have_no_evidence():
    net = network(2, True)
    inputs = net.sample.inputs.at[1].set(net.sample.inputs[0])
    for labels, possible in (([0, 0], True), ([0, 1], False)):
        labels = net.sample.labels.at[:2].set(jnp.asarray(labels))
        sample = net.sample.replace(inputs=inputs, labels=labels)
        assert (
            np.isfinite(evidence(net.replace(sample=sample)).log_evidence) == possible
        )


@pytest.mark.slow
def test_mapped_as_one_by_one():
    nets = [network(3, True, m=m, seed=m) for m in (20, 33)]
    both = jax.tree.map(lambda *leaves: jnp.stack(leaves), *nets)
    with jax.enable_x64(True):
        for how in (
            jax.vmap(function_prior.evidence),
            lambda many: jax.lax.map(function_prior.evidence, many),
        ):
            found = jax.device_get(jax.jit(how, compiler_options=FAST)(both))
            for index, net in enumerate(nets):
                alone = evidence(net)
                assert found.examples[index] == alone.examples
                assert found.log_evidence[index] == pytest.approx(alone.log_evidence)


def test_a_class_without_examples(mnist_sample):
    """Its output is negative on all inputs, which biases make alike."""
    x = idx.read(mnist_sample / "train-images-idx3-ubyte.gz")[:40].reshape(40, -1) / 255
    x = np.float32(x)
    labels = np.minimum(idx.read(mnist_sample / "train-labels-idx1-ubyte.gz")[:40], 7)
    model = MLP(30, 4, 10, True)
    params = model.init(jax.random.key(0), x[:1])["params"]
    found = evidence(bounds.Network(model, params, pad_sample(x, labels, 0)))
    assert found.converged and -200 < found.log_evidence < -40 * math.log(2)


def test_convolutions_have_none():
    model = CNN((4, 4, 1), 3, 1, 2)
    params = model.init(jax.random.key(0), np.zeros((1, 16)))["params"]
    sample = pad_sample(np.zeros((3, 16)), np.zeros(3, int), 0)
    with pytest.raises(Unavailable, match="chains of dense layers"):
        function_prior.evidence(bounds.Network(model, params, sample))


def bound(log_evidence, examples, delta):
    found = bounds.evaluate(
        {
            "evidence": Evidence(
                *(np.array([v]) for v in (log_evidence, examples, True))
            )
        },
        ["valle_perez_2020"],
        delta=delta,
    )["valle_perez_2020"]
    return jax.tree.map(lambda leaf: float(leaf[0]), found)


@pytest.mark.parametrize("log_evidence", [-0.7, -98.3, -3000.0])
@pytest.mark.parametrize("examples", [1, 256])
def test_valle_perez_2020(log_evidence, examples):
    found = bound(log_evidence, examples, 0.03)
    expected = oracle.valle_perez_2020(log_evidence, examples, 0.03)
    assert found.value == pytest.approx(expected, rel=1e-12)
    assert found.excess == found.value and found.empirical == 0
    assert found.log_complexity == pytest.approx(
        math.log(
            (-log_evidence + 2 * math.log(examples) + 1 - math.log(0.03)) / examples
        ),
        rel=1e-12,
    )


def test_the_hand_checkable_example():
    assert bound(-10 * math.log(2), 100, 1 / math.e).value == pytest.approx(
        0.166, abs=5e-4
    )


def test_no_evidence_is_a_bound_of_one():
    found = bound(-math.inf, 256, 0.05)
    assert found.value == 1 and math.isfinite(found.log_complexity)


def test_the_bound_holds_for_the_sampler_that_it_speaks_of(rng):
    """Threshold functions on a line, the prior uniform: P(U) and the sampler's risk are exact."""
    n, at, runs = 30, 0.4, 200
    x = rng.uniform(size=(runs, n))
    low = np.max(np.where(x <= at, x, 0.0), axis=1)
    high = np.min(np.where(x > at, x, 1.0), axis=1)
    risk = ((at - low) ** 2 + (high - at) ** 2) / (2 * (high - low))
    found = bounds.evaluate(
        {
            "evidence": Evidence(
                np.log(high - low), np.full(runs, n), np.full(runs, True)
            )
        },
        ["valle_perez_2020"],
        delta=0.2,
    )["valle_perez_2020"]
    assert np.mean(found.value < risk) <= 0.2
    assert np.max(risk) > 0.05 and np.max(found.value) < 0.6
