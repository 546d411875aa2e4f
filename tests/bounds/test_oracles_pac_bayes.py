"""The oracles of noise and of PAC-Bayes are themselves held against laws."""

import decimal
import itertools
import math

import numpy as np
import pytest

from tests import oracles
from tests.oracles import noise, pac_bayes

TINY = 2.2250738585072014e-308


def exact_kl(q, p, rest=None):
    """kl(q || p) of floats or Decimals in 80 digits; rest: 1 - p if known better."""
    q, p, found = decimal.Decimal(q), decimal.Decimal(p), decimal.Decimal(0)
    with decimal.localcontext(prec=80):
        for a, b in ((q, p), (1 - q, 1 - p if rest is None else rest)):
            if a > 0 and b <= 0:
                return decimal.Decimal("inf")
            if a > 0:
                found += a * (a / b).ln()
    return found


def network(rng, widths=(3, 4, 3), examples=10):
    weights = [rng.normal(size=shape) for shape in itertools.pairwise(widths)]
    biases = [rng.normal(size=width) / 2 for width in widths[1:]]
    x = rng.normal(size=(examples, widths[0]))
    y = np.array([int(np.argmax(oracles.forward(weights, biases, v))) for v in x])
    return weights, biases, x, y


QS = [0.0, TINY, 1e-12, 1e-5, 0.03, 0.3, 0.5, 0.9, 1 - 1e-9, 1 - 2.0**-53, 1.0]
CS = [0.0, TINY, 1e-18, 1e-12, 1e-7, 1e-3, 0.1, 0.7, 3.0, 30.0, 1000.0]


@pytest.mark.parametrize("q", QS)
def test_the_inverse_of_kl_is_right_to_1e_13(q):
    for c in CS:
        p = pac_bayes.kl_inverse(q, c)
        assert q <= p <= 1
        shift = decimal.Decimal("1e-13")
        below = max(decimal.Decimal(q), decimal.Decimal(p) - shift)
        assert exact_kl(q, below) <= decimal.Decimal(c), c
        above = min(decimal.Decimal(1), decimal.Decimal(p) + shift)
        assert above == 1 or exact_kl(q, above) >= decimal.Decimal(c), c


@pytest.mark.parametrize("q", QS[:-1])
def test_near_one_the_distance_from_one_is_right_to_a_relative_1e_9(q):
    found, tiny = 0, decimal.Decimal("1e-9")
    for c in (2e-16, 1e-7, 1.0, 30.0, 300.0):
        d, r = pac_bayes.kl_inverse_distances(q, c)
        if 0 < r < d:
            wider = decimal.Decimal(r) * (1 + tiny)
            narrower = decimal.Decimal(r) * (1 - tiny)
            assert exact_kl(q, 1 - wider, wider) <= decimal.Decimal(c), c
            assert exact_kl(q, 1 - narrower, narrower) >= decimal.Decimal(c), c
            found += 1
    assert found


def test_the_inverse_of_kl_at_its_ends():
    for c in CS:
        found = pac_bayes.kl_inverse(0.0, c)
        assert found == pytest.approx(-math.expm1(-c), rel=1e-14, abs=0)
        assert pac_bayes.kl_inverse(1.0, c) == 1
    for q in QS:
        assert pac_bayes.kl_inverse(q, 0.0) == q
        assert pac_bayes.kl_inverse(q, math.inf) == 1


def test_the_inverse_of_kl_is_the_last_point_of_a_scan(rng):
    points = np.arange(20001) / 20000
    for q, c in zip(rng.uniform(size=20), 10 ** rng.uniform(-5, 1, 20), strict=True):
        inside = [p for p in points if p >= q and pac_bayes.kl(q, float(p)) <= c]
        last = max([q, *inside])
        assert last <= pac_bayes.kl_inverse(q, c) <= last + 1 / 20000


def test_kl_agrees_with_eighty_digits(rng):
    pairs = [*rng.uniform(size=(30, 2)), (0.3, 0.3 + 1e-9), (1e-6, 1e-12), (0.2, 0.999)]
    for q, p in pairs:
        exact = float(exact_kl(float(q), float(p)))
        assert pac_bayes.kl(float(q), float(p)) == pytest.approx(exact, rel=1e-12)
    assert pac_bayes.kl(0.0, 0.0) == pac_bayes.kl(1.0, 1.0) == 0
    assert pac_bayes.kl(0.1, 0.0) == pac_bayes.kl(0.1, 1.0) == math.inf
    assert pac_bayes.kl(1.0, 0.25) == pytest.approx(math.log(4))


def random_cases(rng):
    for _ in range(500):
        q = float(rng.choice([0.0, 1.0, rng.uniform(), 10 ** rng.uniform(-6, 0)]))
        m = int(10 ** rng.uniform(math.log10(8), 6))
        yield 10 ** rng.uniform(-2, 5), q, m, 10 ** rng.uniform(-4, -0.5)


def test_every_relaxation_is_above_the_kl_form(rng):
    grid = [2.0 ** (k / 2) for k in range(-16, 9)]
    for kl, q, m, delta in random_cases(rng):
        least = pac_bayes.pac_bayes_kl(kl, q, m, delta) - 1e-13
        assert pac_bayes.mcallester(kl, q, m, delta) >= least
        assert pac_bayes.quadratic(kl, q, m, delta) >= least
        assert pac_bayes.lambda_form(kl, q, m, delta) >= least
        assert pac_bayes.tolstikhin_seldin(kl, q, m, delta) >= least
        # Catoni's form has no ln(2 sqrt m): its floor is the inverse at its own rate.
        rate = (kl + math.log(len(grid) / delta)) / m
        found = pac_bayes.catoni(kl, q, m, delta, grid)
        assert found >= pac_bayes.kl_inverse(q, rate) * (1 - 1e-12)


def test_catoni_at_its_best_parameter_is_the_inverse_of_kl():
    kl, q, m, delta = 50.0, 0.05, 1000, 0.05
    p = pac_bayes.kl_inverse(q, (kl + math.log(1 / delta)) / m)
    best = math.log(p * (1 - q) / (q * (1 - p)))
    assert pac_bayes.catoni(kl, q, m, delta, [best]) == pytest.approx(p, abs=1e-12)


def test_no_grid_beats_the_closed_form_of_lambda(rng):
    for case in list(random_cases(rng))[:25]:
        least = pac_bayes.lambda_form_on_grid(*case, points=2000)
        closed = pac_bayes.lambda_form(*case)
        assert closed <= least * (1 + 1e-12)
        assert least <= closed * 1.1


def test_published_comparison_of_the_forms():
    """.0722, above the .0694 of a public code that halves c."""
    found = pac_bayes.pac_bayes_kl(1000, 0.03, 60000, 0.05)
    assert found == pytest.approx(0.0722, abs=5e-5)
    c = (1000 + math.log(2 * 60000 / 0.05)) / (2 * 60000)
    halved = 0.03 + math.sqrt(2 * 0.03 * c) + 2 * c
    assert halved == pytest.approx(0.0694, abs=5e-5)
    assert pac_bayes.tolstikhin_seldin(1000, 0.03, 60000, 0.05) > found > halved


def test_the_forms_of_the_gaussian_kl_agree(rng):
    w, z = rng.normal(size=6), rng.normal(size=6)
    isotropic = pac_bayes.gaussian_kl_isotropic(w, z, 0.3)
    same = pac_bayes.gaussian_kl(w, [0.09] * 6, z, 0.09)
    assert isotropic == pytest.approx(same, rel=1e-12)
    layers = pac_bayes.gaussian_kl_layers(
        [w[:4].reshape(2, 2), w[4:].reshape(2, 1)],
        [z[:4].reshape(2, 2), z[4:].reshape(2, 1)],
        [0.3, 0.6],
    )
    first = pac_bayes.gaussian_kl_isotropic(w[:4], z[:4], 0.3)
    assert layers == pytest.approx(
        first + pac_bayes.gaussian_kl_isotropic(w[4:], z[4:], 0.6), rel=1e-12
    )


def test_the_gaussian_kl_is_the_mean_log_ratio_of_densities(rng):
    w, z, v = rng.normal(size=5), rng.normal(size=5), rng.uniform(0.1, 2, size=5)
    exact = pac_bayes.gaussian_kl(w, v, z, 0.5)
    mean, error = pac_bayes.monte_carlo_kl(w, v, z, 0.5, rng, 4000)
    assert error < 0.1 * exact
    assert abs(mean - exact) < 4 * error
    assert pac_bayes.gaussian_kl(z, [0.5] * 5, z, 0.5) == pytest.approx(0, abs=1e-15)


def test_the_gibbs_limit_of_no_errors_is_exact():
    # p with (1 - p)^draws = delta.
    found = pac_bayes.gibbs_upper(0.0, 50, 0.05)
    assert (1 - found) ** 50 == pytest.approx(0.05, rel=1e-12)


def test_the_gibbs_limit_holds_as_often_as_it_says():
    """Exact coverage: binomial probabilities, not draws."""
    draws, delta = 30, 0.1
    for p in (0.02, 0.2, 0.5, 0.9):
        failing = sum(
            math.comb(draws, k) * p**k * (1 - p) ** (draws - k)
            for k in range(draws + 1)
            if pac_bayes.gibbs_upper(k / draws, draws, delta) < p
        )
        assert failing <= delta


def test_dziugaite_roy_pays_for_the_place_in_the_list_of_priors():
    m, kl, j, delta = 55000, 5000.0, 300, 0.025
    lam = pac_bayes.prior_variance(j)
    found = pac_bayes.dziugaite_roy_2017(kl, 0.028, 150000, m, lam)
    # ln(1 / delta_j), delta_j = 6 delta / (pi^2 j^2), which sum to delta over j >= 1.
    share = 6 * delta / (math.pi**2 * j**2)
    q = pac_bayes.kl_inverse(0.028, math.log(2 / 0.01) / 150000)
    rate = (kl + math.log(m / share)) / (m - 1)
    assert found == pytest.approx(pac_bayes.kl_inverse(q, rate), rel=1e-10)
    assert 0.028 < q < found < 1
    assert sum(6 / (math.pi**2 * i**2) for i in range(1, 5000)) == pytest.approx(
        1, abs=2e-4
    )


def test_occam_and_evidence_by_hand():
    bits, m, delta = 10, 200, 0.05
    share = 2.0**-10 / 110 * delta
    assert pac_bayes.occam_code(0.0, bits, m, delta) == pytest.approx(
        1 - share ** (1 / m), rel=1e-12
    )
    assert sum(1 / (c * (c + 1)) for c in range(1, 2000)) < 1
    assert pac_bayes.occam_code(0.1, 11, m, delta) > pac_bayes.occam_code(
        0.1, bits, m, delta
    )
    survival = 1 - pac_bayes.gp_marginal_likelihood(-40.0, m, delta)
    assert survival**m == pytest.approx(
        math.exp(-40.0) * delta / (m**2 * math.e), rel=1e-9
    )


def test_the_error_of_one_noisy_linear_network_has_a_closed_form(rng):
    """One input, two classes: the margin is Gaussian."""
    x, w = np.array([[0.6, -0.8]]), np.array([[2.0, 0.0], [0.0, 0.5]])
    margin = 1.2 + 0.4
    arguments = ([w], [np.zeros(2)], x, [0])
    for noisy_biases, extra in ((False, 0.0), (True, 1.0)):
        mean, error = noise.gibbs_error(*arguments, [0.9], rng, 4000, noisy_biases)
        spread = 0.9 * math.sqrt(2 * (1 + extra))
        assert abs(mean - oracles.normal_cdf(-margin / spread)) < 4 * error
    mean, error = noise.magnitude_gibbs_error(*arguments, 2.0, rng, 4000)
    variance = 4 * ((0.6 * 2.0) ** 2 + (0.8 * 0.5) ** 2) + 2e-6
    assert abs(mean - oracles.normal_cdf(-margin / math.sqrt(variance))) < 4 * error


def test_a_margin_of_zero_is_an_error():
    assert noise.error([np.zeros((2, 3))], [np.zeros(3)], [[1.0, 2.0]], [1]) == 1
    kernels = [np.zeros((4, 2, 3))]
    x = np.ones((1, 2))
    assert noise.wrong_of_drawn(kernels, [np.zeros(3)], x, [1]).tolist() == [1] * 4


def test_errors_of_many_networks_are_the_errors_of_each(rng):
    weights, biases, x, y = network(rng)
    drawn = noise.drawn_noise(weights, rng, 6)
    for magnitude in (False, True):
        wrong = noise.wrong_at_level(weights, biases, x, y, drawn, 0.8, magnitude)
        for index in range(6):
            scales = [
                np.sqrt(0.64 * w**2 + 1e-6) if magnitude else 0.8 for w in weights
            ]
            noisy = [
                w + s * u[index] for w, s, u in zip(weights, scales, drawn, strict=True)
            ]
            assert wrong[index] == round(10 * noise.error(noisy, biases, x, y))
        assert len(set(wrong.tolist())) > 1


def test_the_noise_level_of_one_linear_network_has_a_closed_form(rng):
    """Pr[N(margin, 2 sigma^2) < 0] = 0.1 at sigma = margin / (1.28155 sqrt 2)."""
    x, w = np.array([[1.0, 0.0]]), np.array([[1.0, 0.5], [0.0, 0.0]])
    quantile, draws, per_octave = 1.2815516, 20000, 64
    # Four standard errors of the mean error over its slope in ln sigma, and the grid.
    slope = quantile * math.exp(-(quantile**2) / 2) / math.sqrt(2 * math.pi)
    slack = 4 * math.sqrt(0.09 / draws) / slope + math.log(2) / per_octave
    arguments = ([w], [np.zeros(2)], x, [0], rng, draws, per_octave)
    for found, norm in (
        (noise.noise_level(*arguments), math.sqrt(2)),
        (noise.magnitude_noise_level(*arguments), math.sqrt(1.25)),
    ):
        assert abs(math.log(found * quantile * norm / 0.5)) < slack


def test_the_noise_level_is_capped_at_two_and_has_no_level_where_none_will_do(rng):
    bias = np.array([1e6, 0.0])
    still = ([np.eye(2)], [bias], np.ones((3, 2)), [0, 0, 0], rng, 50, 4)
    assert noise.noise_level(*still) == 2
    weak = np.array([[1e-12, 0.0], [0.0, 0.0]])
    moved = ([weak], [np.zeros(2)], np.ones((3, 2)), [0, 0, 0], rng, 50, 4)
    assert noise.noise_level(*moved) == 0
    assert noise.noise_levels(4)[0] == 2 and noise.noise_levels(4)[-1] == 2.0**-20
