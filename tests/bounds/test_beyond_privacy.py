"""Privacy: mu by likelihood ratios, the bound by simulation of mechanisms of known mu."""

import math

import numpy as np
import pytest
from scipy import stats

from bounds.beyond_uc import privacy

LEVEL = 1e-4  # of every statistical test: how often it fails a sound bound


# --- mu ------------------------------------------------------------------------------------


def type_two(sigma, epochs, moved, alphas, draws, seed):
    """Type II errors of the best test between two neighbouring training sets.

    Every epoch releases a vector (norms are in units of the clip): what the example adds,
    which differs by `moved` between the sets and turns with what was released before, plus
    noise of deviation `sigma`. The log likelihood ratio decides, at type I errors `alphas`.
    """
    rng = np.random.default_rng(seed)
    ratios = []
    for second in (False, True):
        total, last = np.zeros(draws), np.zeros((draws, 2))
        for _ in range(epochs):
            angle = last[:, 0] + 2 * last[:, 1]  # adaptive: any function of the past
            direction = np.stack([np.cos(angle), np.sin(angle)], 1)
            own = moved * direction * second
            last = own + sigma * rng.standard_normal((draws, 2))
            gap = (last - moved * direction) ** 2 - last**2
            total -= gap.sum(1) / (2 * sigma**2)
        ratios.append(total)
    thresholds = np.quantile(ratios[0], 1 - alphas)
    return (ratios[1][:, None] <= thresholds).mean(0)


@pytest.mark.parametrize("neighbours", ["replace", "remove"])
@pytest.mark.parametrize("epochs, sigma", [(1, 2.0), (4, 3.0), (9, 12.0)])
def test_mu_is_that_of_the_best_test(epochs, sigma, neighbours):
    """T(alpha) = Phi(Phi^-1(1 - alpha) - mu), simulated; half the mu is refuted."""
    alphas, draws = np.array([0.02, 0.1, 0.3, 0.6]), 60000
    moved = {"replace": 2.0, "remove": 1.0}[neighbours]
    found = type_two(sigma, epochs, moved, alphas, draws, epochs)

    def off(mu):  # in standard deviations
        expected = stats.norm.cdf(stats.norm.isf(alphas) - mu)
        density = stats.norm.pdf(stats.norm.isf(alphas) - mu)
        slope = density / stats.norm.pdf(stats.norm.isf(alphas))
        spread = expected * (1 - expected) + slope**2 * alphas * (1 - alphas)
        return np.abs(found - expected).max() / np.sqrt(spread.max() / draws)

    mu = privacy.gdp_of_noisy_sgd(epochs, sigma, neighbours)
    limit = stats.norm.isf(LEVEL / 2 / len(alphas))
    assert mu == pytest.approx(moved * math.sqrt(epochs) / sigma)
    assert off(mu) < limit < off(mu / 2)


def test_the_noise_for_a_mu():
    for epochs in (1, 30):
        for mu in (0.1, 1.0, 7.0):
            for neighbours in privacy.NEIGHBOURS:
                sigma = privacy.noise_for(epochs, mu, neighbours)
                again = privacy.gdp_of_noisy_sgd(epochs, sigma, neighbours)
                assert again == pytest.approx(mu)
    assert privacy.noise_for(30, 0.3) == pytest.approx(2 * math.sqrt(30) / 0.3)


# --- the bound -----------------------------------------------------------------------------


def signs(mu, m, draws, rng):
    """(a) Predicts x or -x, as the noised mean of x y says; labels are x, 3 of 10 flipped.

    Replacing an example moves the mean by 2/m. Training errors, and risks given the release.
    """
    flip = 0.3
    x = rng.choice([-1.0, 1.0], (draws, m))
    y = x * rng.choice([-1.0, 1.0], (draws, m), p=[flip, 1 - flip])
    release = (x * y).mean(1) + 2 / (m * mu) * rng.standard_normal(draws)
    same = release > 0
    errs = x * np.where(same, 1, -1)[:, None] != y
    return errs.mean(1), np.where(same, flip, 1 - flip)


def memoriser(moved):
    """(b) Has a noised number for every x: y where x is in the set, else 0. Answers its sign.

    Inputs are all different and labels are fair: the risk is 1/2. Replacing an example changes
    two numbers by 1, `moved` = sqrt(2); removing it changes one. The risk at m - 1 is 1/2 too.
    """

    def mechanism(mu, m, draws, rng):
        label = rng.choice([-1.0, 1.0], (draws, m))
        release = label + moved / mu * rng.standard_normal((draws, m))
        return (release * label <= 0).mean(1), np.full(draws, 0.5)

    return mechanism


REPLACED, REMOVED = memoriser(math.sqrt(2)), memoriser(1.0)


def bound_and_risk(mechanism, mu, claimed, m, seed):
    """The bound at the upper end of what R_S may be, the risk at its lower; the converse."""
    errors, risks = mechanism(mu, m, 40000, np.random.default_rng(seed))
    wide, spread = (
        stats.norm.isf(LEVEL / 2) * v.std() / math.sqrt(len(v)) for v in (errors, risks)
    )
    high, low = (
        privacy.in_expectation(float(np.clip(errors.mean() + w, 0, 1)), claimed)
        for w in (wide, -wide)
    )
    return (high, risks.mean() - spread), (low, risks.mean() + spread)


@pytest.mark.parametrize("mechanism", [signs, REPLACED, REMOVED])
@pytest.mark.parametrize("mu", [0.1, 0.5, 1.0, 2.0])
def test_the_bound_lies_above_the_risk(mechanism, mu):
    for m in (1, 3, 20):
        (bound, risk), _ = bound_and_risk(mechanism, mu, mu, m, m)
        assert risk <= bound


@pytest.mark.parametrize("mechanism", [REPLACED, REMOVED])
@pytest.mark.parametrize("mu", [0.5, 1.0, 2.0])
def test_half_of_mu_is_refuted(mechanism, mu):
    (false, risk), _ = bound_and_risk(mechanism, mu, mu / 2, 20, 0)
    assert false < risk


def test_the_bound_is_attained():
    """By removal: R_S = Phi(-mu) beside a risk of 1/2, which is the bound."""
    for mu in (0.1, 1.0, 2.0):
        (high, risk), (low, _) = bound_and_risk(REMOVED, mu, mu, 20, 5)
        assert low < 0.5 < high < risk + 0.01
        exact = stats.norm.cdf(-mu)
        assert privacy.in_expectation(exact, mu) == pytest.approx(0.5)
        assert privacy.least_train_error(0.5, mu) == pytest.approx(exact)
    assert privacy.in_expectation(0.160, 1.0) == pytest.approx(0.502, abs=1e-3)


def test_by_hand():
    for mu in (0.0, 0.5, 5.0):
        assert privacy.in_expectation(0.0, mu) == 0
        assert privacy.in_expectation(1.0, mu) == 1
    for error in (0.01, 0.3, 0.9):
        assert privacy.in_expectation(error, 0.0) == pytest.approx(error)
        again = privacy.least_train_error(privacy.in_expectation(error, 0.7), 0.7)
        assert again == pytest.approx(error)
    assert privacy.in_expectation(0.05, 0.5) == pytest.approx(0.126, abs=1e-3)
    assert privacy.in_expectation(0.05, 1.0) == pytest.approx(0.260, abs=1e-3)
    # Concave in the training error, as the proof has it.
    grid = np.linspace(0, 1, 201)
    values = np.array([privacy.in_expectation(p, 0.8) for p in grid])
    assert (np.diff(values, 2) < 1e-12).all() and (values[1:-1] > grid[1:-1]).all()


# --- with confidence -----------------------------------------------------------------------


@pytest.mark.parametrize("truth", [0.02, 0.3, 0.5])
def test_the_limit_covers(truth):
    """Runs in which all examples err or none: the worst spread that [0, 1] allows."""
    rng, trials, failure, mu = np.random.default_rng(4), 4000, 0.1, 0.5
    known = privacy.in_expectation(truth, mu)
    missed = {}
    for runs in (5, 40):
        errors = (rng.random((trials, runs)) < truth).astype(float)
        found = [privacy.with_confidence(e, mu, failure) for e in errors]
        missed[runs] = np.sum(np.array(found) < known)
        assert stats.binomtest(missed[runs], trials, failure, "greater").pvalue > LEVEL
    # Half of the deviation would be too little.
    slack = math.sqrt(math.log(1 / failure) / 80) / 2
    falsely = np.sum(errors.mean(1) + slack < truth)
    if truth == 0.5:
        assert stats.binomtest(falsely, trials, failure, "greater").pvalue < LEVEL


def test_the_limit_by_hand():
    errors = [0.1, 0.2, 0.3]
    limit = 0.2 + math.sqrt(math.log(20) / 6)
    expected = privacy.in_expectation(limit, 0.4)
    assert privacy.with_confidence(errors, 0.4, 0.05) == pytest.approx(expected)
    assert privacy.with_confidence([0.9], 0.4, 0.05) == 1
    assert privacy.with_confidence(np.full(10**6, 0.1), 0.4, 0.05) == pytest.approx(
        privacy.in_expectation(0.1, 0.4), abs=3e-3
    )


def test_impossible_arguments_are_refused():
    nan = float("nan")
    for call in (
        lambda: privacy.gdp_of_noisy_sgd(0, 1.0),
        lambda: privacy.gdp_of_noisy_sgd(1, 0.0),
        lambda: privacy.gdp_of_noisy_sgd(1, nan),
        lambda: privacy.gdp_of_noisy_sgd(1, 1.0, "swap"),
        lambda: privacy.noise_for(1, 0.0),
        lambda: privacy.noise_for(0, 1.0),
        lambda: privacy.in_expectation(-0.1, 1.0),
        lambda: privacy.in_expectation(1.1, 1.0),
        lambda: privacy.in_expectation(nan, 1.0),
        lambda: privacy.in_expectation(0.1, -1.0),
        lambda: privacy.in_expectation(0.0, float("inf")),
        lambda: privacy.least_train_error(1.1, 1.0),
        lambda: privacy.least_train_error(0.1, nan),
        lambda: privacy.with_confidence([], 1.0, 0.05),
        lambda: privacy.with_confidence([0.1, nan], 1.0, 0.05),
        lambda: privacy.with_confidence([0.1, 1.2], 1.0, 0.05),
        lambda: privacy.with_confidence([0.1], 1.0, 0.0),
        lambda: privacy.with_confidence([0.1], 1.0, 1.0),
    ):
        with pytest.raises(ValueError):
            call()
