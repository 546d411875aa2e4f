"""The limit of one private run: its inequality exactly, its coverage by simulation."""

import dataclasses
import math

import numpy as np
import pytest
from scipy import stats

from bounds.beyond_uc import privacy, private_run

LEVEL = 1e-4  # of every statistical test: how often it fails a sound bound


# --- the event of outputs ------------------------------------------------------------------


@pytest.mark.parametrize("mu", [0.2, 1.0, 3.0])
def test_an_event_of_outputs_exactly(mu):
    """One example z = +-1; z + sigma N is released, mu = 2 / sigma; its sign is predicted.

    B: the release is beyond t. There R_D = 1/2, and R_S = 1 where the sign is wrong. However
    rare B is, (*) holds within a factor 2; with half of mu it fails where B is rare.
    """
    sigma = 2 / mu
    far = np.linspace(0, 5, 21) * sigma
    wrong, right = (stats.norm.cdf(-(far + s) / sigma) for s in (1, -1))
    of_risk = (wrong + right) / 2
    allowed, halved = (
        [privacy.in_expectation(p, claimed) for p in wrong] for claimed in (mu, mu / 2)
    )
    assert (of_risk <= allowed).all() and (allowed <= 2 * of_risk).all()
    assert (of_risk > halved)[-1]


def test_the_supremum():
    for mu in (0.05, 1.0, 3.0):
        for factor in (0.5, 1.0, 1.3, 8.0):
            u = np.linspace(-60 / mu - 10, 60 / mu + 10, 400001)
            values = stats.norm.cdf(u + mu) - factor * stats.norm.cdf(u)
            found = private_run.excess(factor, mu)
            assert values.max() <= found
            assert found == pytest.approx(values.max(), rel=1e-5, abs=1e-11)
    # At factor 1 it is the total variation of two normals mu apart.
    assert private_run.excess(1.0, 0.4) == pytest.approx(2 * stats.norm.cdf(0.2) - 1)


def test_what_a_reserve_loses():
    rng = np.random.default_rng(0)
    z = rng.standard_normal(10**6)
    for x in (-1.0, 0.0, 2.0):
        lost = np.maximum(z - x, 0)
        apart = abs(lost.mean() - private_run._reserve_lost(x))
        assert apart < stats.norm.isf(LEVEL / 2) * lost.std() / 1000


# --- the limit -----------------------------------------------------------------------------


def test_the_form_is_the_best_line_at_its_training_error():
    """The limit is g(s r') / s there, and no other factor gives less."""
    for size, mu, expected in ((60000, 0.1, 0.05), (1000, 0.5, 0.2), (10000, 0.1, 0.0)):
        form = private_run.form_for(size, mu, 0.05, expected)
        found = private_run.limit(expected, size, mu, 0.05, form)
        joint = math.hypot(mu, 1 / (size * form.width))
        share = 0.05 * stats.norm.cdf(form.margin)
        lost = stats.norm.pdf(form.reserve) - form.reserve * stats.norm.sf(form.reserve)
        error = expected + form.width * (form.reserve + form.margin + lost / share)
        by_hand = privacy.in_expectation(share * error, joint) / share
        assert found == pytest.approx(by_hand, rel=1e-6)
        for other in (0.9, 0.99, 1.01, 1.1):
            moved = dataclasses.replace(form, factor=other * form.factor)
            assert private_run.limit(expected, size, mu, 0.05, moved) > found
        assert found > privacy.in_expectation(expected, mu)


def test_known_values():
    """The settings of MNIST, and where nothing is said."""

    def at(error, size, mu):
        form = private_run.form_for(size, mu, 0.05, error)
        return private_run.limit(error, size, mu, 0.05, form)

    assert at(0.04, 60000, 0.1) == pytest.approx(0.058, abs=1e-3)
    assert at(0.04, 60000, 0.2) == pytest.approx(0.078, abs=1e-3)
    assert at(0.05, 10**9, 1.2) > 0.9 and at(0.05, 10**9, 1.3) == 1
    # A network that knows nothing of the data: never below the exact binomial limit.
    for size in (100, 1000, 10000):
        assert at(0.0, size, 1e-3) > 1 - 0.05 ** (1 / size)


def signs(flip, mu, m, draws, rng):
    """Predicts x or -x, as the noised mean of x y says; labels are x, some flipped."""
    same = rng.binomial(m, 1 - flip, draws) / m
    release = 2 * same - 1 + 2 / (m * mu) * rng.standard_normal(draws)
    agrees = release > 0
    return np.where(agrees, 1 - same, same), np.where(agrees, flip, 1 - flip)


def memoriser(mu, m, draws, rng):
    """Has a noised number for every x: y where x is in the set, else 0. Answers its sign.

    Inputs are all different, labels are fair: R_D = 1/2. Replacing moves two numbers by 1.
    """
    right = stats.norm.cdf(mu / math.sqrt(2))
    return 1 - rng.binomial(m, right, draws) / m, np.full(draws, 0.5)


MECHANISMS = {
    "signs": lambda *args: signs(0.3, *args),
    "hard signs": lambda *args: signs(0.48, *args),
    "memoriser": memoriser,
}


def missed(name, mu, claimed, m, delta, expected=0.3, draws=20000):
    """In how many runs of a mechanism the risk is above its limit."""
    errors, risks = MECHANISMS[name](mu, m, draws, np.random.default_rng(0))
    form = private_run.form_for(m, claimed, delta, expected)
    seen, back = np.unique(errors, return_inverse=True)
    limits = np.array([private_run.limit(e, m, claimed, delta, form) for e in seen])
    return int(np.sum(risks > limits[back])), draws


@pytest.mark.parametrize("name", MECHANISMS)
@pytest.mark.parametrize("mu", [0.1, 0.5, 1.0])
def test_the_limit_covers(name, mu):
    for m in (1, 30, 2000):
        for delta in (0.05, 0.3):
            wrong, draws = missed(name, mu, mu, m, delta)
            assert stats.binomtest(wrong, draws, delta, "greater").pvalue > LEVEL


@pytest.mark.parametrize("mu, part, delta", [(1.0, 5, 0.1), (3.0, 2, 0.5)])
def test_a_wrong_mu_is_refuted(mu, part, delta):
    """A fifth of mu; half of it where mu and delta are large. The true one is not."""
    expected = stats.norm.cdf(-mu / math.sqrt(2))
    wrong, draws = missed("memoriser", mu, mu / part, 20000, delta, expected)
    assert stats.binomtest(wrong, draws, delta, "greater").pvalue < LEVEL
    wrong, draws = missed("memoriser", mu, mu, 20000, delta, expected)
    assert wrong == 0


def test_the_bound_in_expectation_does_not_speak_of_one_run():
    """A coin lets few runs learn by heart, the others are perfect: as x shows y, if they look."""
    mu, m, delta = 0.5, 20000, 0.2
    rng = np.random.default_rng(1)
    by_heart = rng.random(4000) < 0.9 * delta
    errors, risks = memoriser(mu, m, 4000, rng)
    errors, risks = errors * by_heart, risks * by_heart
    form = private_run.form_for(m, mu, delta, 0.0)
    limits = np.array([private_run.limit(e, m, mu, delta, form) for e in errors])
    assert (risks > limits).mean() <= delta
    # The bound in expectation holds, and it is far below the risk of these runs.
    bound = privacy.in_expectation(float(errors.mean()), mu)
    assert risks.mean() < bound < 0.5 == risks[by_heart].min()


def test_the_largest_training_error_is_the_inverse():
    form = private_run.form_for(60000, 0.1, 0.05, 0.05)
    found = private_run.largest_train_error(0.08, 60000, 0.1, 0.05, form)
    assert private_run.limit(found, 60000, 0.1, 0.05, form) == pytest.approx(0.08)
    assert private_run.largest_train_error(1e-6, 60000, 0.1, 0.05, form) is None


def test_over_mu_both_grow():
    rows = private_run.frontier(60000, np.array([0.02, 0.1, 0.5, 2.0]), 0.05, 0.05)
    assert (np.diff(rows, axis=0) > 0).all() and (rows[:, 1] > rows[:, 0]).all()


@pytest.mark.parametrize("mu", [40.0, 50.0, 100.0])
@pytest.mark.parametrize("size", [8, 8192])
def test_a_large_mu_says_nothing(mu, size):
    form = private_run.form_for(size, mu, 0.05, 0.2)
    assert private_run.limit(0.0, size, mu, 0.05, form) == 1


def test_impossible_arguments_are_refused():
    form = private_run.form_for(100, 0.1, 0.05, 0.1)
    nan = float("nan")
    for call in (
        lambda: private_run.form_for(0, 0.1, 0.05, 0.1),
        lambda: private_run.form_for(100, 0.0, 0.05, 0.1),
        lambda: private_run.form_for(100, 0.1, 1.0, 0.1),
        lambda: private_run.form_for(100, 0.1, 0.05, 1.1),
        lambda: private_run.limit(nan, 100, 0.1, 0.05, form),
        lambda: private_run.limit(0.1, 100, nan, 0.05, form),
        lambda: private_run.limit(0.1, 100, 0.1, 0.0, form),
        lambda: private_run.excess(0.0, 0.1),
        lambda: private_run.largest_train_error(1.0, 100, 0.1, 0.05, form),
    ):
        with pytest.raises(ValueError):
            call()
