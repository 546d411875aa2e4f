"""Gaussian posteriors around a linear classifier, against sampling and loops."""

import math

import numpy as np
import pytest

from bounds.uniform_convergence import pac_bayes as gibbs
from tests import oracles


@pytest.mark.parametrize("sigma", [0.05, 1.0, 20.0])
def test_the_gibbs_error_is_its_average(rng, sigma):
    margins, norms = rng.standard_normal(50), rng.uniform(0.5, 2, 50)
    expected = oracles.gibbs_error(margins, norms, sigma)
    assert gibbs.error(margins, norms, sigma) == pytest.approx(expected, rel=1e-12)


def test_the_gibbs_error_is_that_of_sampled_weights(rng):
    w, x, y = (
        rng.standard_normal(6),
        rng.standard_normal((40, 6)),
        rng.choice([-1, 1], 40),
    )
    weights = w + 0.7 * rng.standard_normal((20000, 6))
    sampled = np.mean(weights @ x.T * y <= 0)
    found = gibbs.error(y * (x @ w), np.linalg.norm(x, axis=1), 0.7)
    assert abs(found - sampled) < 0.01


def test_the_divergence_is_that_of_the_two_gaussians(rng):
    """KL = E_Q[log q - log p], by sampling."""
    w, sigma = np.array([0.5, -1.0, 2.0]), 1.5
    draws = w + sigma * rng.standard_normal((200000, 3))
    logs = (np.sum(draws**2, 1) - np.sum((draws - w) ** 2, 1)) / (2 * sigma**2)
    found = gibbs.kl_from_origin(float(w @ w), sigma)
    assert abs(found - logs.mean()) < 4 * logs.std() / math.sqrt(200000)


def test_the_guarantee_bounds_the_gap_that_pinsker_allows():
    """kl(a || b) <= c implies |a - b| <= the guarantee, for all a, b that fulfil it."""
    m, delta, kl = 100, 0.05, 3.0
    c = (kl + math.log(2 * math.sqrt(m) / delta)) / m
    grid = np.linspace(0.005, 0.995, 199)
    a, b = np.meshgrid(grid, grid)
    divergence = a * np.log(a / b) + (1 - a) * np.log((1 - a) / (1 - b))
    allowed = np.abs(a - b)[divergence <= c].max()
    found = gibbs.pinsker_gap(kl, m, delta)
    assert allowed <= found == pytest.approx(math.sqrt(c / 2))


def test_the_risk_under_gaussian_noise_is_that_of_sampled_points(rng):
    signal, w2, signal_square, variance, dim = 1.5, rng.standard_normal(7), 0.3, 0.4, 7
    x2 = np.sqrt(variance) * rng.standard_normal((400000, dim))
    margins, norms = signal + x2 @ w2, np.sqrt(signal_square + np.sum(x2**2, axis=1))
    for sigma in (0.05, 0.8, 5.0):
        found = gibbs.gaussian_risk(
            signal, np.linalg.norm(w2), signal_square, variance, dim, sigma
        )
        sampled = gibbs.error(margins, norms, sigma)
        assert abs(found - sampled) < 2.5e-3
    no_noise = oracles.normal_cdf(-signal / (np.linalg.norm(w2) * math.sqrt(variance)))
    small = gibbs.gaussian_risk(
        signal, np.linalg.norm(w2), signal_square, variance, dim, 1e-5
    )
    assert small == pytest.approx(no_noise, abs=1e-8)
    large = gibbs.gaussian_risk(
        signal, np.linalg.norm(w2), signal_square, variance, dim, 1e5
    )
    assert large == pytest.approx(0.5, abs=1e-4)


@pytest.mark.parametrize(("dim", "length"), [(1, 1.5), (2, 1.5), (1, 0.0), (3, 0.0)])
def test_the_risk_at_the_least_dimensions_and_without_noise_weights(rng, dim, length):
    """One dimension leaves nothing across w2, and ||w2|| = 0 no step: neither is a NaN."""
    w2 = np.eye(dim)[0] * length
    x2 = np.sqrt(0.4) * rng.standard_normal((400000, dim))
    margins, norms = 1.5 + x2 @ w2, np.sqrt(0.3 + np.sum(x2**2, axis=1))
    for sigma in (0.05, 0.8, 5.0):
        found = gibbs.gaussian_risk(1.5, length, 0.3, 0.4, dim, sigma)
        assert abs(found - gibbs.error(margins, norms, sigma)) < 2.5e-3


def test_the_table_of_the_linear_example():
    """m = 64, D = 200 m: margins 36 on S and -28 on S', risks as once simulated."""
    m, dim, norm = 64, 200 * 64, math.sqrt(32 + 4 / 64)
    train, sprime = ((np.full(9, v), np.full(9, norm)) for v in (36.0, -28.0))
    for sigma, on_sprime, risk, kl_over_m in (
        (0.1, 1, 0.044, 1800), (0.5, 1, 0.135, 72), (1, 1, 0.256, 18),
        (2, 0.993, 0.365, 4.5), (4, 0.892, 0.43, 1.13),
    ):  # fmt: skip
        exact = gibbs.gaussian_risk(4, math.sqrt(32 * m), 4 / m, 32 / dim, dim, sigma)
        found = gibbs.two_sided(train, sprime, exact, 36 * m, m, sigma, 0.05)
        assert found.sprime_error == pytest.approx(on_sprime, abs=1e-3)
        assert found.risk == pytest.approx(risk, abs=2e-3)
        assert found.kl_over_m == pytest.approx(kl_over_m, rel=5e-3)
        assert found.least == pytest.approx(found.sprime_error - found.risk)
        assert found.guarantee >= found.least
