"""Gaussian posteriors around a linear classifier, against sampling and loops."""

import math

import numpy as np
import pytest

from bounds import gibbs
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


def test_the_table_of_the_linear_example():
    """m = 64, D = 200 m in the limit: margins 36, -28 and N(4, 32^2 m / D)."""
    rng, norm = np.random.default_rng(1), math.sqrt(32 + 4 / 64)
    fresh = 4 + 32 * math.sqrt(1 / 200) * rng.standard_normal(200000)
    sets = [
        (m, np.full(len(m), norm)) for m in (np.full(9, 36.0), np.full(9, -28.0), fresh)
    ]
    for sigma, sprime, risk, kl_over_m in (
        (0.5, 1, 0.135, 72), (1, 1, 0.256, 18), (2, 0.993, 0.365, 4.5), (4, 0.892, 0.43, 1.13),
    ):  # fmt: skip
        found = gibbs.two_sided(sets, 36 * 64, 64, sigma, 0.05)
        assert found.sprime_error == pytest.approx(sprime, abs=1e-3)
        assert found.risk == pytest.approx(risk, abs=5e-3)
        assert found.kl_over_m == pytest.approx(kl_over_m, rel=5e-3)
        assert found.least == pytest.approx(found.sprime_error - found.risk)
        assert found.guarantee >= found.least
