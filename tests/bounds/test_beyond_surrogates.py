"""Bounds through surrogates: coverage, planted faults, and the linear example simulated."""

import numpy as np
import pytest
from scipy import stats

from bounds.beyond_uc import surrogates
from bounds.beyond_uc.estimate import estimate
from bounds.beyond_uc.surrogates import Shares
from tests import oracles

U = 60
DELTA = 0.1


def limit(k, size, failure):
    return 1.0 if k >= size else float(stats.beta.ppf(1 - failure, k + 1, size - k))


def hard_case(failure):
    """Pr[h != s] just above the limit from no disagreements: missed with chance `failure`."""
    return (1 - failure ** (1 / U)) * 1.0001


def missed(values, certificate_fails, disagreement, surrogate_risk):
    """Pr[bound < R_D(h)], by enumeration of k.

    The surrogate errs with `surrogate_risk` and h on all it errs on and all disagreements. Its
    certificate is its risk, but 0 with probability `certificate_fails`.
    """
    risk = surrogate_risk + disagreement
    k = np.arange(U + 1)
    weights = stats.binom.pmf(k, U, disagreement)
    total = 0.0
    for certificate, chance in (
        (surrogate_risk, 1 - certificate_fails),
        (0.0, certificate_fails),
    ):
        wrong = np.array([values(certificate, j) < risk for j in k])
        total += chance * weights[wrong].sum()
    return total


def test_it_covers_and_barely_so():
    split = surrogates.shares(DELTA)

    def values(certificate, k):
        return surrogates.through_surrogates([certificate], [k], U, split).value

    rate = missed(values, split.surrogate, hard_case(split.disagreement), 0.5)
    assert 0.9 * DELTA < rate <= DELTA


def test_a_delta_that_is_not_split_is_caught():
    unsplit = Shares(surrogate=DELTA, disagreement=DELTA)

    def values(certificate, k):
        return surrogates.through_surrogates([certificate], [k], U, unsplit).value

    rate = missed(values, unsplit.surrogate, hard_case(DELTA), 0.5)
    assert rate > 1.5 * DELTA
    # and the result says what it is good for
    assert surrogates.through_surrogates([0.1], [3], U, unsplit).delta == 2 * DELTA


def test_a_limit_without_the_one_is_caught():
    """BetaInv(1 - d; k, u - k + 1) is the limit's lower neighbour: 0 at k = 0."""
    split = surrogates.shares(DELTA)

    def values(certificate, k):
        return certificate + (limit(k - 1, U, split.disagreement) if k else 0.0)

    assert missed(values, 0, hard_case(split.disagreement) / 4, 0.2) > 4 * DELTA


@pytest.mark.slow
@pytest.mark.parametrize("divided", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_choosing_among_surrogates_costs_its_share(divided):
    """J surrogates that disagree with h independently; the best looking one is taken."""
    rng, count, runs = np.random.default_rng(0), 8, 2000
    split = surrogates.shares(DELTA, count) if divided else surrogates.shares(DELTA)
    rate = hard_case(split.disagreement)
    k = rng.binomial(U, rate, (runs, count))
    fails = 0
    for counts in k:
        shown = surrogates.through_surrogates([0.2] * count, counts, U, split)
        fails += shown.value < 0.2 + rate
    if divided:
        assert shown.delta == pytest.approx(DELTA)
        assert stats.binomtest(fails, runs, DELTA / 2, "greater").pvalue > 0.001
    else:
        assert stats.binomtest(fails, runs, DELTA, "greater").pvalue < 1e-6
        assert shown.delta > 2 * DELTA


def test_it_covers_real_predictors_with_a_held_out_certificate():
    """The surrogate certified on its own labelled points; all multiclass, simulated."""
    rng, runs, labelled = np.random.default_rng(1), 1500, 80
    split = surrogates.shares(DELTA)
    truth, h, s = np.arange(30) % 3, np.arange(30) % 3, np.arange(30) % 3
    s[:3] = (s[:3] + 1) % 3
    h[2:5] = (h[2:5] + 2) % 3
    risk = np.mean(h != truth)
    assert abs(risk - np.mean(s != truth)) <= np.mean(h != s)
    fails = plain = 0
    for _ in range(runs):
        own, free = rng.integers(30, size=labelled), rng.integers(30, size=U)
        certificate = surrogates.hold_out(
            int((s != truth)[own].sum()), labelled, split.surrogate
        )
        k = int((h != s)[free].sum())
        shown = surrogates.through_surrogates([certificate], [k], U, split)
        by_hand = certificate + limit(k, U, split.disagreement)
        assert shown.value == pytest.approx(min(1, by_hand), abs=1e-12)
        fails += shown.value < risk
        plain += (
            surrogates.hold_out(int((h != truth)[free].sum()), U, DELTA) < shown.value
        )
    assert fails <= DELTA * runs
    assert plain > 0.9 * runs  # labels are worth more


@pytest.mark.parametrize("k", [0, 5, 59, 60])
def test_the_hold_out_baseline_is_exact(k):
    found = surrogates.hold_out(k, U, 0.05)
    assert found == pytest.approx(limit(k, U, 0.05), abs=1e-9)
    if k < U:
        assert 1 - oracles.binomial_tail_at_least(k + 1, U, found) == pytest.approx(
            0.05, rel=1e-6
        )


def test_shares_add_up():
    for count in (1, 7):
        split = surrogates.shares(0.05, count, 0.3)
        total = count * (split.surrogate + split.disagreement)
        assert total == pytest.approx(0.05)
        assert count * split.disagreement == pytest.approx(0.015)


@pytest.mark.slow
def test_labels_of_disagreements_help_and_cover():
    rng, runs, size, risk_s = np.random.default_rng(2), 2000, 200, 0.05
    worse, better, split = 0.02, 0.06, surrogates.shares(DELTA)
    fails, gain = 0, []
    for counts in rng.multinomial(size, [worse, better, 1 - worse - better], runs):
        shown = surrogates.with_labelled_disagreements(
            risk_s, int(counts[0]), int(counts[1]), size, split.disagreement
        )
        fails += shown < risk_s + worse - better
        blind = surrogates.through_surrogates(
            [risk_s], [counts[0] + counts[1]], size, split
        )
        gain.append(blind.value - shown)
    assert fails <= DELTA * runs and np.mean(gain) > 0.03


@pytest.mark.parametrize(("only_h", "only_s"), [(2, 4), (30, 3)])
def test_labels_of_disagreements_by_hand(only_h, only_s):
    shown = surrogates.with_labelled_disagreements(0.1, only_h, only_s, 200, 0.1)
    low = 1 - limit(200 - only_s, 200, 0.05)
    assert shown == pytest.approx(0.1 + limit(only_h, 200, 0.05) - low)


def test_the_best_of_three_surrogates_by_hand():
    """Neither the best certificate's nor that of the fewest disagreements."""
    certificates, counts = [0.05, 0.1, 0.3], [30, 8, 2]
    split = surrogates.shares(DELTA, 3)
    shown = surrogates.through_surrogates(certificates, counts, U, split)
    sums = [
        c + limit(k, U, DELTA / 6) for c, k in zip(certificates, counts, strict=True)
    ]
    assert shown.chosen == 1 and min(sums) == sums[1]
    assert shown.value == pytest.approx(sums[1]) and shown.surrogate == 0.1
    assert shown.disagreement == pytest.approx(limit(8, U, DELTA / 6))


def linear_run(rng, m, noise, draws, fresh):
    """Errors of w2 = sum y x2 and of fresh draws of it, on S and on fresh points."""
    x = rng.standard_normal((m, noise)) * np.sqrt(32 / noise)  # y x2
    own = x.sum(0)
    others = rng.standard_normal((draws, noise)) * np.sqrt(32 * m / noise)
    new = rng.standard_normal((fresh, noise)) * np.sqrt(32 / noise)
    weights = np.concatenate([own[None], others])
    return [((4 + w @ weights.T) <= 0).mean(0) for w in (new, x)]


def test_the_linear_example_in_closed_form_and_simulated():
    m, noise = 32, 2000
    exact = surrogates.linear_example(m, noise)
    assert exact.risk == pytest.approx(stats.norm.cdf(-np.sqrt(noise / m) / 8))
    rng = np.random.default_rng(3)
    runs = [linear_run(rng, m, noise, 6, 150) for _ in range(60)]
    risks, train = (np.array([r[side] for r in runs]) for side in (0, 1))
    found = surrogates.derandomised(
        risks[:, 1:], train[:, 1:], risks[:, 0], train[:, 0], 0.999
    )
    assert train[:, 0].max() == 0  # it interpolates
    for term, value in (
        (found.estimation, exact.estimation),
        (found.fitting, exact.fitting),
        (found.rest, 0.0),
        (found.gap, exact.risk),
    ):
        assert term.low < value < term.high and term.runs == 60
        assert term.high - term.low < 0.06
    # an exact sum
    parts = found.estimation.mean + found.fitting.mean + found.rest.mean
    assert found.gap.mean == pytest.approx(parts, abs=1e-12)
    # R_S(Q) stays within Hoeffding of R_D(Q)
    deviations = exact.risk - train[:, 1:].mean(1)
    assert np.mean(deviations > exact.deviation) <= 0.05
    assert exact.deviation == pytest.approx(np.sqrt(np.log(20) / 64))


def test_published_values_of_the_linear_example():
    for ratio, value in ((64, 0.159), (200, 0.0386), (400, 0.0062)):
        found = surrogates.linear_example(256, 256 * ratio).risk
        assert found == pytest.approx(value, abs=6e-5 if value < 0.1 else 6e-4)


def test_surrogates_of_another_law_are_refuted():
    rng = np.random.default_rng(4)
    own, other = rng.normal(0.1, 0.01, 20), rng.normal(0.2, 0.01, (20, 3))
    found = surrogates.derandomised(other, other, own, 0 * own)
    assert found.rest.high < 0


def test_an_estimate_is_a_t_interval():
    values = [0.1, 0.3, 0.2, 0.5]
    found = estimate(values, 0.9)
    low, high = stats.ttest_1samp(values, 0).confidence_interval(0.9)
    assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))
    assert estimate([0.2]).high == np.inf


def test_impossible_arguments_are_refused():
    split = surrogates.shares(0.05)
    for call in (
        lambda: surrogates.shares(0, 1),
        lambda: surrogates.shares(0.05, 0),
        lambda: surrogates.through_surrogates([0.1], [1, 2], 10, split),
        lambda: surrogates.through_surrogates([0.1], [11], 10, split),
        lambda: surrogates.through_surrogates([], [], 10, split),
        lambda: surrogates.through_surrogates([0.1] * 30, [0] * 30, 9, split),
        lambda: surrogates.hold_out(3, 2),
        lambda: surrogates.with_labelled_disagreements(0.1, 6, 6, 10, 0.1),
        lambda: surrogates.derandomised(
            np.zeros((2, 3)), np.zeros((2, 3)), [0.0], [0.0]
        ),
        lambda: surrogates.derandomised(
            np.zeros((2, 3)), np.zeros((2, 2)), [0.0] * 2, [0.0] * 2
        ),
        lambda: surrogates.linear_example(0, 5),
        lambda: estimate([]),
    ):
        with pytest.raises(ValueError):
            call()
