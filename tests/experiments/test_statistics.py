import math

import numpy as np
import pytest

from bounds.numerics.intervals import interval
from experiments.lab.statistics import (
    curvature_over_size,
    paired_difference,
    slope,
    slope_over_size,
    t_interval,
)
from tests import oracles


@pytest.mark.parametrize(("k", "n"), [(0, 20), (3, 20), (20, 20), (7, 400)])
def test_binomial_limits_leave_their_tails(k, n):
    low, high = interval(k, n)
    if k > 0:
        assert oracles.binomial_tail_at_least(k, n, low) == pytest.approx(
            0.025, rel=1e-6
        )
    else:
        assert low == 0
    if k < n:
        at_most_k = 1 - oracles.binomial_tail_at_least(k + 1, n, high)
        assert at_most_k == pytest.approx(0.025, rel=1e-6)
    else:
        assert high == 1


def test_t_interval_of_a_textbook_sample():
    # n = 4, mean 5, s = 2.5820; t(0.975, 3) = 3.1824
    low, high = t_interval([2.0, 4.0, 6.0, 8.0])
    assert (low + high) / 2 == pytest.approx(5)
    assert (high - low) / 2 == pytest.approx(3.1824 * 2.581989 / 2, rel=1e-4)
    assert t_interval([1.0]) == (None, None)


def test_slope_by_the_normal_equations(rng):
    x, y = rng.standard_normal(9), rng.standard_normal(9)
    assert slope(x, y) == pytest.approx(oracles.slope(list(x), list(y)))
    assert slope([1.0, 1.0], [1.0, 2.0]) is None


def test_exact_power_laws_are_found():
    exponents = {0: -0.5, 1: 0.3, 2: 1.0}
    points = [(m, s, 3 * m**a) for m in (10, 100, 1000) for s, a in exponents.items()]
    found = slope_over_size(points)
    np.testing.assert_allclose(found.per_seed, list(exponents.values()), atol=1e-12)
    assert found.mean == pytest.approx(np.mean(list(exponents.values())))
    assert found.pooled == pytest.approx(found.mean)
    assert (found.low, found.high) == pytest.approx(t_interval(found.per_seed))
    assert found.seeds == 3 and found.zeros_replaced == 0


def test_draws_of_a_size_are_averaged_before_the_logarithm():
    points = [(10, 0, 1.0), (10, 0, 3.0), (100, 0, 2.0)]
    assert slope_over_size(points).per_seed == [pytest.approx(0)]


def test_a_zero_is_replaced_by_half_of_what_could_have_been_seen():
    # One run a cell, n = 500: half an error is 0.001.
    points = [(10, 0, 0.1), (100, 0, 0.01), (1000, 0, 0.0)]
    found = slope_over_size(points, resolution=1 / 500)
    assert found.zeros_replaced == 1 and found.left_out == 0
    assert found.per_seed == [pytest.approx(-1)]
    # Two draws a cell: their mean can be as small as 1 / (2 n).
    pairs = [(m, 0, v) for m, _, v in points for _ in range(2)]
    found = slope_over_size(pairs, resolution=1 / 250)
    assert found.zeros_replaced == 1 and found.per_seed == [pytest.approx(-1)]


def test_what_has_no_logarithm_is_left_out_and_counted():
    points = [(10, 0, 0.1), (100, 0, 0.01), (1000, 0, 0.0), (10_000, 0, -3.0)]
    found = slope_over_size(points)
    assert found.per_seed == [pytest.approx(-1)]
    assert found.left_out == 2 and found.zeros_replaced == 0


def test_with_runs_left_out_the_interval_is_around_the_mean():
    points = [(m, s, float(m) ** (s + 1)) for m in (10, 100, 1000) for s in (0, 1)]
    found = slope_over_size(points[:-1])
    assert found.mean == pytest.approx(1.5) != found.pooled
    assert (found.low + found.high) / 2 == pytest.approx(found.mean)


def test_one_size_has_no_slope():
    found = slope_over_size([(10, 0, 1.0), (10, 1, 2.0)])
    assert found.per_seed == [None, None] and found.pooled is None and found.low is None


@pytest.mark.slow
def test_the_t_interval_over_seeds_covers(rng):
    """95% intervals over 4 seeds hold the true exponent 95% of the time."""
    sizes, truth, held, trials = [128, 512, 2048], 0.4, 0, 2000
    for _ in range(trials):
        points = [
            (m, s, m ** (truth + 0.05 * u) * math.exp(0.1 * rng.standard_normal()))
            for s, u in enumerate(rng.standard_normal(4))
            for m in sizes
        ]
        found = slope_over_size(points)
        held += found.low <= truth <= found.high
    assert abs(held / trials - 0.95) < 4 * math.sqrt(0.95 * 0.05 / trials)


def test_the_paired_difference_is_taken_seed_by_seed():
    def of(exponents):
        return slope_over_size(
            [(m, s, m**a) for m in (10, 100) for s, a in exponents.items()]
        )

    # What seeds have in common is no noise in their difference.
    found = paired_difference(
        of({0: 0.5, 1: 1.5, 2: 2.5}), of({0: -0.5, 1: 0.5, 2: 1.6})
    )
    assert found["mean"] == pytest.approx(np.mean([1.0, 1.0, 0.9]))
    assert (found["low"], found["high"]) == pytest.approx(t_interval([1.0, 1.0, 0.9]))
    # Seeds that one of them lacks are left out; one seed has no interval.
    alone = paired_difference(of({0: 1.0, 1: 3.0}), of({1: 2.0, 2: 2.0}))
    assert alone["mean"] == pytest.approx(1.0) and alone["low"] is None


def test_curvature_is_0_of_a_power_and_c_of_a_parabola():
    sizes = (10, 100, 1000, 10_000)
    power = [(m, s, 3 * m**0.7) for m in sizes for s in (0, 1)]
    assert curvature_over_size(power)["mean"] == pytest.approx(0, abs=1e-12)
    bent = [
        (m, s, math.exp(c * math.log(m) ** 2 - math.log(m)))
        for m in sizes
        for s, c in enumerate((0.2, 0.4))
    ]
    found = curvature_over_size(bent)
    assert found["mean"] == pytest.approx(0.3)
    assert (found["low"], found["high"]) == pytest.approx(t_interval([0.2, 0.4]))
    assert curvature_over_size(power[:4])["mean"] is None  # two sizes
