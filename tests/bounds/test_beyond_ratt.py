"""RATT: its three facts by plain means, its coverage for exact minimisers, its failures."""

import math

import numpy as np
import pytest
from scipy import stats

from bounds.beyond_uc import ratt

DELTA = 0.1
N, M = 150, 300  # clean points, random labels


def wrong_label(rng, labels, classes):
    return (labels + rng.integers(1, classes, np.shape(labels))) % classes


def minimisers(classes, runs, hypotheses, risk, seed=0):
    """0-1 minimisers over a finite class on S and S~: counts and true risks.

    Inputs are 0..19, equally likely, with true label x mod K. The class: fixed maps that err on a
    share `risk` of the inputs or more. Ties go to the first.
    """
    rng = np.random.default_rng(seed)
    truth = np.arange(20) % classes
    maps = np.repeat(truth[None], hypotheses, 0)
    for h in range(hypotheses):
        change = rng.permutation(20)[: int(20 * risk) + h]
        maps[h, change] = wrong_label(rng, truth[change], classes)
    rng.shuffle(maps)
    found = []
    for _ in range(runs):
        clean, extra = rng.integers(20, size=N), rng.integers(20, size=M)
        labels = rng.integers(classes, size=M)
        on_clean = (maps[:, clean] != truth[clean]).sum(1)
        on_random = (maps[:, extra] != labels).sum(1)
        h = int(np.argmin(on_clean + on_random))
        mislabelled = int((labels != truth[extra]).sum())
        risk_of_h = float(np.mean(maps[h] != truth))
        found.append((int(on_clean[h]), int(on_random[h]), mislabelled, risk_of_h))
    return found


def values(found, classes, known=False):
    return [
        ratt.ratt(
            k, N, extra, M, classes=classes, delta=DELTA,
            mislabelled=m1 if known else None,
        )
        for k, extra, m1, _ in found
    ]  # fmt: skip


@pytest.mark.parametrize("hypotheses", [1, 6])
@pytest.mark.parametrize("classes", [2, 4])
def test_it_covers_exact_minimisers_and_a_bound_without_deviations_does_not(
    classes, hypotheses
):
    runs = 200
    found = minimisers(classes, runs, hypotheses, 0.1)
    risks = np.array([f[3] for f in found])
    bounds = values(found, classes)
    assert np.mean([b.value < r for b, r in zip(bounds, risks, strict=True)]) <= DELTA
    known = values(found, classes, known=True)
    assert np.mean([b.value < r for b, r in zip(known, risks, strict=True)]) <= DELTA
    assert np.mean([b.value for b in known]) < np.mean([b.value for b in bounds])
    # planted: the main term alone, and a multiclass term without its factor K - 1
    missed = np.sum([b.main < r for b, r in zip(bounds, risks, strict=True)])
    assert stats.binomtest(int(missed), runs, DELTA, "greater").pvalue < 1e-6
    if classes == 2:
        assert np.mean([b.value for b in bounds]) < 0.6  # it says something
    else:
        short = [
            b.train_error + 1 - classes / (classes - 1) * (extra / M)
            for b, (_, extra, _, _) in zip(bounds, found, strict=True)
        ]
        missed = int(np.sum(np.array(short) < risks))
        assert stats.binomtest(missed, runs, DELTA, "greater").pvalue < 1e-6


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_fresh_mislabelled_points_tell_the_risk(classes):
    """E_D' = 1 - E_D / (K - 1): the first fact, enumerated, and what it makes of counts.

    Of a map that took no notice of labels, on every input and label, many times over.
    """
    truth = np.arange(20) % classes
    h = truth.copy()
    h[:7] = (truth[:7] + 1) % classes
    wrong = [
        h[x] != (truth[x] + s) % classes for x in range(20) for s in range(1, classes)
    ]
    risk = np.mean(h != truth)
    assert np.mean(wrong) == pytest.approx(1 - risk / (classes - 1))
    copies, m1 = 5000, len(wrong) * 5000
    found = ratt.ratt(
        7 * copies, 20 * copies, (sum(wrong) + 7) * copies, 20 * classes * copies,
        classes=classes, mislabelled=m1,
    )  # fmt: skip
    assert found.main == pytest.approx(risk) and abs(found.memorised) < 1e-9
    deviation = (classes - 1) * math.sqrt(math.log(2 / 0.05) / (2 * m1))
    assert risk + deviation < found.value < risk + 3 * deviation


@pytest.mark.parametrize(("k", "n", "others"), [(0, 30, 20), (3, 30, 20), (2, 8, 50)])
def test_errors_on_exchangeable_points_are_hypergeometric(k, n, others):
    (found,) = ratt.most_wrong_in_other(k, n, np.array([others]), 0.05)

    def chance(more):  # Pr[H <= k], by counting
        total, wrong = n + others, k + more
        ways = sum(
            math.comb(wrong, j) * math.comb(total - wrong, n - j)
            for j in range(k + 1)
            if j <= wrong and n - j <= total - wrong
        )
        return ways / math.comb(total, n)

    possible = [more for more in range(others + 1) if chance(more) > 0.05]
    assert found == max(possible)
    whole = ratt.most_wrong_in_other(n, n, np.array([others]), 0.05)
    assert whole[0] == others


def test_the_interval_of_the_mislabelled_is_exact():
    found = ratt.ratt(0, 100, 140, 200, classes=4, delta=0.1)
    low, high = found.mislabelled
    law = stats.binom(200, 0.75)
    assert law.cdf(low - 1) <= 0.025 < law.cdf(low)
    assert law.sf(high) <= 0.025 < law.sf(high - 1)


def test_the_value_by_hand_where_the_mislabelled_are_known():
    """K = 2, no errors on either part: E_M = k~ / m1."""
    found = ratt.ratt(0, 10**6, 45, 100, classes=2, delta=0.1, mislabelled=50)
    assert found.value == pytest.approx(5 / 50 + math.sqrt(math.log(20) / 100))
    assert found.main == pytest.approx(1 - 2 * 0.45)


def test_the_derived_deviation_is_the_published_one_to_first_order():
    """Multiclass; the binary one is short by a factor of 2 in its third term."""
    for k in (3, 10):
        n, m, log = 5000, 2000, math.log(4 / 0.05)
        m1, m2 = m * (k - 1) / k, m / k
        parts = [
            (k - 1) * math.sqrt(log / (2 * m1)),
            (1 + m2 / n) * math.sqrt(log / (2 * m2)),
            k * math.sqrt(log / (2 * m)),
        ]
        rounded = (k - math.sqrt(k * (k - 1))) * math.sqrt(log / (2 * m))  # up to K
        published = ratt.deviation(0.5, n, m, k, 0.05)
        assert published == pytest.approx(sum(parts) + rounded, rel=1e-12)
    # binary: K (a - 1/2) (E_M - E_C) at E_M = 1, E_C = 0, E~ = 1/2, against sqrt2 E~
    third = 2 * math.sqrt(math.log(4 / 0.05) / (2 * 2000))
    recalled = math.sqrt(2) * 0.5 * math.sqrt(math.log(4 / 0.05) / 2000)
    assert third == pytest.approx(2 * recalled)
    # and two sides of m1 at delta/4 each are then missed more often than delta/2
    law = stats.binom(2000, 0.5)
    out = law.cdf(1000 - 1000 * recalled) + law.sf(1000 + 1000 * recalled)
    assert out > 0.05 / 2


def test_published_settings():
    found = ratt.ratt(400, 40000, 8900, 10000, classes=10)
    assert found.published - found.main == pytest.approx(0.3442, abs=2e-4)
    assert found.main < found.value < found.published
    with_two = ratt.ratt(400, 40000, 4900, 10000, classes=2)
    assert with_two.main < with_two.value < 0.08


def test_a_memoriser_and_a_constant_are_told_apart():
    """1-NN: no training error at all. A constant: random labels are not fitted, nor clean ones."""
    rng = np.random.default_rng(0)
    n, m = 1000, 1000
    for classes in (2, 5):
        memoriser = ratt.ratt(0, n, 0, m, classes=classes)
        assert memoriser.value == 1 and memoriser.memorised == classes - 1
        assert memoriser.reading == "vacuous: the random labels are memorised"
        labels, random = rng.integers(classes, size=(2, n))
        constant = ratt.ratt((labels != 0).sum(), n, (random != 0).sum(), m, classes=classes)  # fmt: skip
        assert constant.value >= (classes - 1) / classes - 0.05
        assert abs(constant.memorised) < 0.2 * classes
    hopeless = ratt.ratt(n, n, m // 2, m, classes=2)
    assert hopeless.reading == "vacuous: the clean points are not fitted"
    few = ratt.ratt(0, 8, 3, 8, classes=2)
    assert few.main < 1 and few.reading == "vacuous: too few points"
    assert ratt.ratt(5, n, 480, m, classes=2).reading == "says something"
    assert "under assumption" in few.status


def test_a_memoriser_keeps_the_assumption_and_its_adversary_is_refuted():
    """An adversary says of a mislabelled training point what its label does not say.

    Binary, risk 1/2 elsewhere: E_M = 1 and E_D' = 1/2. RATT would then claim a small risk.
    """
    rng = np.random.default_rng(1)
    fresh = int((rng.random(400) < 0.5).sum())
    adversary = ratt.check_assumption(500, 500, fresh, 400)
    assert adversary.is_refuted and adversary.p_value < 1e-20
    claimed = ratt.ratt(0, 1000, 500, 1000, classes=2)
    assert claimed.value < 0.5  # false, and withdrawn by the check
    memoriser = ratt.check_assumption(0, 500, fresh, 400)
    assert memoriser.p_value == 1 and not memoriser.is_refuted
    assert memoriser.excess < 0
    # the same error on both: not refuted, and the sharp form is a fair coin
    same = ratt.check_assumption(490, 500, 392, 400)
    assert not same.is_refuted and 0.3 < same.p_value_sharp < 0.8


def test_the_check_keeps_its_level():
    """E_D' at its least, E_M - slack: refuted no more often than the level, nearly as often."""
    size, wrong, fresh_size = 400, 380, 300
    slack = ratt.check_assumption(wrong, size, 0, fresh_size).slack
    law = stats.binom(fresh_size, wrong / size - slack)
    refuted = [
        ratt.check_assumption(wrong, size, k, fresh_size).is_refuted
        for k in range(fresh_size + 1)
    ]
    rate = law.pmf(np.arange(fresh_size + 1))[refuted].sum()
    assert 0.02 < rate <= 0.05


@pytest.mark.parametrize(
    "counts", [(-1, 10, 0, 10), (11, 10, 0, 10), (0, 10, 11, 10), (0, 0, 0, 10)]
)
def test_impossible_counts_are_refused(counts):
    with pytest.raises(ValueError):
        ratt.ratt(*counts, classes=2)


def test_other_impossible_arguments_are_refused():
    with pytest.raises(ValueError):
        ratt.ratt(0, 10, 5, 10, classes=1)
    with pytest.raises(ValueError):
        ratt.ratt(0, 10, 5, 10, classes=2, delta=0)
    with pytest.raises(ValueError):
        ratt.check_assumption(5, 4, 0, 10)
