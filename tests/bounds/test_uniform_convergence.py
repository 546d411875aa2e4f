"""Lower bounds on eps_unif-alg: the published table, exact limits, and their coverage."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from scipy import stats

from bounds.numerics import intervals
from bounds.uniform_convergence import estimator
from bounds.uniform_convergence.estimator import (
    generalization_upper_bound,
    risk_limits,
    uniform_convergence_lower_bound,
)
from tests import oracles
from tests.oracles import counting


@pytest.mark.parametrize(
    ("delta", "runs"), [(0.25, 5), (0.1, 2), (0.05, 2), (0.025, 1), (0.01, 1)]
)
def test_the_least_number_of_draws_that_supports_a_claim(delta, runs):
    """All R draws must show it, and (2 delta)^R <= 0.05."""
    assert (2 * delta) ** runs <= 0.05 + 1e-12 < 1.0001 * (2 * delta) ** (runs - 1)
    for r, possible in ((runs, True), (runs - 1, False)):
        if r:
            claim = uniform_convergence_lower_bound(
                [1.0] * r, [0.01] * r, None, delta=delta
            )
            assert (claim.bound is not None) == possible
            assert (claim.runs_needed, claim.runs) == (runs, r)
            assert claim.bound is None or claim.bound == pytest.approx(0.99)


@pytest.mark.parametrize(
    ("delta", "runs"), [(0.25, 11), (0.1, 29), (0.05, 59), (0.01, 299)]
)
def test_the_least_number_of_draws_for_the_generalization_gap(delta, runs):
    for r, possible in ((runs, True), (runs - 1, False)):
        claim = generalization_upper_bound([0.01] * r, [0.03] * r, None, delta=delta)
        assert (claim.bound is not None) == possible and claim.runs_needed == runs
        assert claim.bound is None or claim.bound == pytest.approx(0.02)


def test_the_order_statistic_of_the_generalization_gap():
    """The k-th smallest gap, k the least that so many draws of probability 1 - delta may reach."""
    runs, delta = 40, 0.3
    k = next(
        k for k in range(1, runs + 1)
        if oracles.binomial_tail_at_least(k, runs, 1 - delta) <= 0.05
    )  # fmt: skip
    assert 1 < k < runs
    train, gaps = np.linspace(0, 0.3, runs), np.linspace(0.1, 0.5, runs)[::-1]
    claim = generalization_upper_bound(train, train + gaps, None, delta=delta)
    assert claim.bound == pytest.approx(np.sort(gaps)[k - 1])


@pytest.mark.parametrize(("k", "n"), [(0, 30), (4, 30), (29, 30), (30, 30)])
def test_upper_limits_are_exact(k, n):
    (limit,) = intervals.upper([k], n, 0.05)
    if k == n:
        assert limit == 1
    else:
        at_most_k = 1 - oracles.binomial_tail_at_least(k + 1, n, limit)
        assert at_most_k == pytest.approx(0.05, rel=1e-6)


@pytest.mark.parametrize("failure", [1e-300, 1e-12, 0.05, 0.9])
def test_upper_limits_of_any_failure_probability_are_exact(failure):
    """In whole numbers: 1 less a small one is not what is looked for."""
    counts, size = [0, 1, 77], 300
    for k, limit in zip(counts, intervals.upper(counts, size, failure), strict=True):
        more = oracles.binomial_tail_at_least(k + 1, size, Fraction(limit))
        assert float((1 - more) / Fraction(failure)) == pytest.approx(1, rel=1e-12)


@pytest.mark.parametrize(
    ("k", "n", "confidence"), [(0, 30, 0.95), (4, 30, 0.9), (200, 201, 0.99)]
)
def test_two_sided_limits_are_exact(k, n, confidence):
    """Of counts by sums of whole numbers; of a mean by the roots of kl(mean || p) = c."""
    half, mean = (1 - confidence) / 2, k / n
    low, high = intervals.interval(k, n, confidence)
    as_many = oracles.binomial_tail_at_least(k, n, Fraction(low))
    more = oracles.binomial_tail_at_least(k + 1, n, Fraction(high))
    assert low == 0 if k == 0 else float(as_many) == pytest.approx(half, rel=1e-9)
    assert float(1 - more) == pytest.approx(half, rel=1e-9)
    low, high = intervals.chernoff_interval(mean, n, confidence)
    c = math.log(2 / (1 - confidence)) / n
    assert 1 - low == pytest.approx(counting.kl_inverse(1 - mean, c), rel=1e-9)
    assert high == pytest.approx(counting.kl_inverse(mean, c), rel=1e-9)


def test_the_order_statistic_is_the_one_of_the_binomial_tail():
    runs, delta = 40, 0.1
    j = next(
        j for j in range(1, runs + 1)
        if oracles.binomial_tail_at_least(j, runs, 2 * delta) <= 0.05
    )  # fmt: skip
    gaps = np.linspace(0, 1, runs)
    claim = uniform_convergence_lower_bound(gaps, np.zeros(runs), None, delta=delta)
    assert claim.bound == pytest.approx(np.sort(gaps)[::-1][j - 1])


def test_confidence_and_sampling_cost_something():
    exact = uniform_convergence_lower_bound([1.0] * 20, [0.01] * 20, None)
    sampled = uniform_convergence_lower_bound([1.0] * 20, [10] * 20, 1000)
    surer = uniform_convergence_lower_bound(
        [1.0] * 20, [10] * 20, 1000, confidence=0.999
    )
    assert 0.9 < surer.bound < sampled.bound < exact.bound


def test_a_fixed_classifier_gets_nothing():
    """It errs on S' as on fresh data: uniform convergence holds for one hypothesis."""
    rng = np.random.default_rng(0)
    risk, m, n, runs = 0.2, 500, 4000, 40
    claim = uniform_convergence_lower_bound(
        rng.binomial(m, risk, runs) / m, rng.binomial(n, risk, runs), n
    )
    assert claim.bound < 0.06


@pytest.mark.parametrize("law", ["continuous", "two atoms"])
@pytest.mark.parametrize(
    ("runs", "delta"), [(5, 0.25), (12, 0.25), (40, 0.1), (60, 0.05)]
)
def test_the_claim_holds_as_often_as_stated(law, runs, delta):
    """With exact risk 0, G = e' has a known quantile q = sup{v : Pr[G >= v] > 2 delta}."""
    rng = np.random.default_rng(runs)
    trials, wrong = 4000, 0
    if law == "continuous":
        q = 1 - 2 * delta  # G uniform on [0, 1]
        draws = rng.random((trials, runs))
    else:
        q = 0.1  # Pr[G = 0.9] = 2 delta exactly: just not enough for 0.9
        draws = np.where(rng.random((trials, runs)) < 2 * delta, 0.9, 0.1)
    for gaps in draws:
        claim = uniform_convergence_lower_bound(gaps, np.zeros(runs), None, delta=delta)
        wrong += claim.bound > q + 1e-12
    # Not more often than 5%, but for four standard errors of the simulation.
    assert wrong / trials <= 0.05 + 4 * np.sqrt(0.05 * 0.95 / trials)


@pytest.mark.slow
def test_the_claim_holds_as_often_as_stated_with_a_shared_test_set():
    rng = np.random.default_rng(1)
    runs, n, delta, trials, wrong = 12, 300, 0.25, 2000, 0
    risks = np.linspace(0.05, 0.3, runs)
    for _ in range(trials):
        # e' = risk + U, so that G = U is uniform; one set of test points for all runs.
        gaps, points = rng.random(runs), rng.random(n)
        errors = (points[None] < risks[:, None]).sum(axis=1)
        claim = uniform_convergence_lower_bound(risks + gaps, errors, n, delta=delta)
        wrong += claim.bound > 1 - 2 * delta
    assert wrong / trials <= 0.05 + 4 * np.sqrt(0.05 * 0.95 / trials)


def test_all_upper_limits_hold_at_once():
    """Each run has test points of its own: without a union bound 64% of trials fail."""
    rng = np.random.default_rng(2)
    runs, n, risk, trials = 20, 60, 0.3, 3000
    # The limit of a run is a function of its own errors and of the number of runs.
    each = np.minimum(np.arange(4 * runs), n).reshape(4, runs)
    limits = np.concatenate([risk_limits(some, n, 0.05) for some in each])
    errors = rng.binomial(n, risk, (trials, runs))
    of_first = risk_limits(errors[0], n, 0.05)
    np.testing.assert_allclose(of_first, limits[errors[0]], rtol=1e-12)
    wrong = np.mean(limits[errors].min(axis=1) < risk)
    assert 0.005 < wrong <= 0.05 + 4 * np.sqrt(0.05 * 0.95 / trials)


# With test points each number of runs is a program of its own.
@pytest.mark.parametrize(
    ("n_test", "delta", "confidence"),
    [
        pytest.param(
            *one, marks=() if one[0] is None or one[2] == 0.95 else pytest.mark.slow
        )
        for one in itertools.product(
            [None, 100], [0.01, 0.025, 0.05, 0.1, 0.25, 0.4], [0.8, 0.9, 0.95, 0.99]
        )
    ],
)
def test_the_runs_that_are_needed_are_enough_and_no_more(confidence, delta, n_test):
    chosen = {"delta": delta, "confidence": confidence}
    for bound in (uniform_convergence_lower_bound, generalization_upper_bound):
        needed = bound([1.0], [0.0], n_test, **chosen).runs_needed
        for runs in {needed, needed - 1} - {0}:
            claim = bound([1.0] * runs, [0.0] * runs, n_test, **chosen)
            assert (claim.bound is not None) == (runs == needed)
            assert claim.runs_needed == needed


def test_the_order_is_that_of_a_plain_search():
    rng = np.random.default_rng(3)
    for _ in range(300):
        runs, p, failure = (
            rng.integers(1, 60),
            rng.uniform(0.01, 0.99),
            rng.uniform(0.001, 0.3),
        )
        tails = [stats.binom.sf(j - 1, runs, p) for j in range(1, runs + 1)]
        first = next((j for j, t in enumerate(tails, 1) if t <= failure), None)
        assert estimator._rank(int(runs), p, failure) == first


def test_extreme_levels_are_answered_at_once():
    """A search run by run would take millions of steps."""
    claim = uniform_convergence_lower_bound([1.0], [0.0], None, delta=0.49999999)
    assert claim.bound is None
    assert claim.runs_needed == pytest.approx(
        math.log(0.05) / math.log(0.99999998), rel=1e-6
    )
    claim = generalization_upper_bound([1.0], [0.0], None, delta=1e-6)
    assert claim.bound is None and claim.runs_needed > 1e6


@pytest.mark.parametrize(
    "options",
    [{"delta": 0.5}, {"delta": 0.0}, {"confidence": 1.0}, {"confidence": 0.0}],
)
def test_what_cannot_be_asked_is_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        uniform_convergence_lower_bound([1.0], [0.0], None, **options)


def test_lengths_must_agree():
    with pytest.raises(ValueError, match="R the same"):
        uniform_convergence_lower_bound([1.0, 1.0], [0.0], None)


@pytest.mark.parametrize(
    "claim", [uniform_convergence_lower_bound, generalization_upper_bound]
)
@pytest.mark.parametrize(
    ("errors", "changes", "says"),
    [
        ([0.1, 0.2], {"delta": 1.5}, "delta=1.5"),
        ([0.1, 0.2], {"delta": 0.0}, "delta=0.0"),
        ([0.1, 0.2], {"confidence": 1.0}, "confidence=1.0"),
        ([0.1], {}, "R the same"),
        ([[0.1, 0.2]], {}, "R the same"),
    ],
)
def test_what_cannot_be_claimed_from_is_refused(claim, errors, changes, says):
    with pytest.raises(ValueError, match=says):
        claim(errors, [1, 2], 100, **changes)
