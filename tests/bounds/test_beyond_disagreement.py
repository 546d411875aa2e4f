"""Disagreement and calibration on ensembles of known law."""

import numpy as np
import pytest

from bounds.beyond_uc import disagreement
from tests.oracles import disagreement as oracle


def independent_errors(models, points, rate, rng):
    """Two classes; every model errs at every point by itself."""
    labels = rng.integers(2, size=points)
    wrong = rng.random((models, points)) < rate
    return np.where(wrong, 1 - labels, labels), labels


def calibrated(models, points, classes, rng):
    """Votes and labels of a point are drawn from one law: h~ in the limit is calibrated."""
    law = rng.dirichlet(np.full(classes, 0.4), size=points)
    u = rng.random((models + 1, points, 1))
    drawn = (u > law.cumsum(axis=1)[None, :, :-1]).sum(axis=2)
    return drawn[:-1], drawn[-1]


@pytest.mark.parametrize(("models", "classes"), [(2, 2), (5, 3), (7, 4)])
def test_all_rates_are_those_of_loops(models, classes):
    rng = np.random.default_rng(models)
    predictions = rng.integers(classes, size=(models, 40))
    labels = rng.integers(classes, size=40)
    found = disagreement.calibration(predictions, labels)
    assert (
        found.disagreement.distinct.value,
        found.disagreement.with_itself,
        found.error.value,
    ) == pytest.approx(oracle.rates(predictions, labels), abs=1e-12)
    assert (
        found.signed,
        found.weighted_cace,
        found.cace,
        found.class_wise,
    ) == pytest.approx(oracle.calibration(predictions, labels, classes), abs=1e-12)
    assert found.mass.sum() == pytest.approx(classes)


@pytest.mark.parametrize("seed", range(20))
def test_identity_and_inequalities_hold_for_any_models(seed):
    rng = np.random.default_rng(seed)
    models, classes = rng.integers(2, 12), rng.integers(2, 6)
    labels = rng.integers(classes, size=30)
    predictions = np.where(
        rng.random((models, 30)) < rng.random(30),
        labels,
        rng.integers(classes, size=(models, 30)),
    )
    found = disagreement.calibration(predictions, labels)
    both = found.disagreement
    assert both.with_itself == pytest.approx(
        (models - 1) / models * both.distinct.value, abs=1e-12
    )
    shares = disagreement.votes(predictions, np.arange(classes)) / models
    assert both.with_itself == pytest.approx(1 - (shares**2).sum(axis=1).mean())
    assert found.signed == pytest.approx(
        found.error.value - both.with_itself, abs=1e-12
    )
    assert abs(found.signed) <= found.weighted_cace + 1e-15
    assert found.weighted_cace <= found.cace <= found.class_wise


def test_two_models_for_which_distinct_pairs_break_the_inequality():
    predictions, labels = independent_errors(
        2, 200_000, 0.0385, np.random.default_rng(0)
    )
    found = disagreement.calibration(predictions, labels)
    assert found.disagreement.distinct.value == pytest.approx(
        2 * 0.0385 * 0.9615, abs=2e-3
    )
    assert found.error.value == pytest.approx(0.0385, abs=1e-3)
    # At q = 1/2 two classes are calibrated; at q = 0 and 1 the p^2 both wrong are not.
    assert found.cace == pytest.approx(2 * 0.0385**2, abs=4e-4)
    gap = abs(found.error.value - found.disagreement.distinct.value)
    assert gap > 10 * found.cace
    assert abs(found.signed) <= found.weighted_cace <= found.cace
    low, high = found.disagreement.distinct.low, found.disagreement.distinct.high
    assert (low, high) == (0, 1)  # two models: nothing is known of others


def test_independent_errors_disagree_twice_as_often_as_they_err():
    predictions, labels = independent_errors(
        30, 20_000, 0.0385, np.random.default_rng(1)
    )
    found = disagreement.calibration(predictions, labels)
    assert found.disagreement.distinct.value == pytest.approx(
        2 * 0.0385 * 0.9615, abs=1e-3
    )
    assert found.excess.high < -0.03
    assert not found.holds


def test_a_calibrated_law_has_error_equal_to_disagreement():
    predictions, labels = calibrated(20, 50_000, 4, np.random.default_rng(2))
    found = disagreement.calibration(predictions, labels)
    assert found.excess.value == pytest.approx(0, abs=0.005)
    assert found.error.value > 0.2
    # The finite set of models is off by Dis_U / N, and CACE is at least that.
    assert found.signed == pytest.approx(found.floor, abs=0.005)
    assert found.cace > found.floor - 0.005


def test_models_calibrated_at_their_atoms_have_error_equal_to_all_pairs():
    """Each set of votes is met by each label as often as it is voted for."""
    columns = []
    for ones in range(5):
        for label in [1] * ones + [0] * (4 - ones):
            columns.append([1] * ones + [0] * (4 - ones) + [label])
    columns = np.array(columns).T
    found = disagreement.calibration(columns[:-1], columns[-1])
    assert found.cace == found.weighted_cace == found.signed == found.class_wise == 0
    assert found.error.value == pytest.approx(found.disagreement.with_itself)
    assert found.accuracy == pytest.approx(found.atoms)


def test_class_wise_errors_that_cancel_leave_cace_alone():
    """Jiang et al.: class-aggregated calibration is the weaker condition, and suffices."""
    predictions = np.array([[0, 0, 0, 0], [1, 1, 1, 1]])
    labels = np.array([0, 0, 0, 0])
    found = disagreement.calibration(predictions, labels)
    assert found.cace == 0 and found.class_wise == pytest.approx(1)
    assert found.error.value == found.disagreement.with_itself == 0.5


def test_constants_and_points_learned_by_heart_are_said_to_be_silent():
    labels = np.random.default_rng(3).integers(2, size=1000)
    constant = disagreement.calibration(np.zeros((6, 1000), int), labels)
    assert constant.disagreement.is_silent and not constant.holds
    assert constant.error.value == pytest.approx(0.5, abs=0.06)
    assert constant.cace == pytest.approx(2 * constant.error.value)
    learned = disagreement.calibration(np.tile(labels, (6, 1)), labels)
    assert learned.disagreement.is_silent and not learned.holds
    assert learned.error.value == learned.cace == 0


def test_memorisers_of_random_labels_disagree_but_as_often_as_they_err():
    """Two classes, guesses at random: error 1/2 and disagreement 1/2."""
    rng = np.random.default_rng(4)
    predictions, labels = (
        rng.integers(2, size=(10, 50_000)),
        rng.integers(2, size=50_000),
    )
    found = disagreement.calibration(predictions, labels)
    assert found.excess.value == pytest.approx(0, abs=0.01)
    assert found.floor == pytest.approx(0.05, abs=0.001)


@pytest.mark.parametrize("models", [4, 10])
def test_intervals_over_models_cover(models):
    """Points fixed; each model has a skill of its own, of mean a."""
    rng = np.random.default_rng(models)
    points, times, hits = 400, 800, np.zeros(3)
    labels = rng.integers(2, size=points)
    hard = rng.uniform(0, 1, size=points)
    # A model with skill s errs at x with probability s hard(x), s uniform on [.1, .7].
    mean_error = 0.4 * hard.mean()
    fresh = np.mean(2 * 0.4 * hard * (1 - 0.4 * hard))
    truth = np.array([fresh, mean_error, mean_error - fresh])
    for _ in range(times):
        skill = rng.uniform(0.1, 0.7, size=(models, 1))
        wrong = rng.random((models, points)) < skill * hard
        found = disagreement.calibration(np.where(wrong, 1 - labels, labels), labels)
        for i, one in enumerate(
            (found.disagreement.distinct, found.error, found.excess)
        ):
            hits[i] += one.low <= truth[i] <= one.high
    assert (hits / times > 0.92).all()


def test_intervals_over_pairs_would_not_cover():
    """The planted fault: pairs taken as independent."""
    rng = np.random.default_rng(5)
    models, points, times, ours, pairs = 10, 400, 300, 0, 0
    labels = np.zeros(points, int)
    truth = 2 * 0.3 * 0.7
    for _ in range(times):
        skill = rng.uniform(0.1, 0.5, size=(models, 1))
        wrong = rng.random((models, points)) < skill
        found = disagreement.disagreement(np.where(wrong, 1, labels))
        ours += found.distinct.low <= truth <= found.distinct.high
        each = found.pairs[np.triu_indices(models, 1)]
        half = 1.96 * each.std(ddof=1) / np.sqrt(len(each))
        pairs += abs(each.mean() - truth) <= half
    assert ours / times > 0.9
    assert pairs / times < 0.6


def test_intervals_cover_less_where_pairs_are_no_sum_of_models():
    """Skills from 0 to .8: the docstring's warning, kept true."""
    rng = np.random.default_rng(6)
    hits = 0
    for _ in range(400):
        skill = rng.uniform(0.0, 0.8, size=(10, 1))
        found = disagreement.disagreement((rng.random((10, 400)) < skill).astype(int))
        hits += found.distinct.low <= 0.48 <= found.distinct.high
    assert 0.75 < hits / 400 < 0.93


def test_regimes_are_named():
    assert list(disagreement.REGIMES) == [
        "AllDiff",
        "DiffData",
        "DiffInit",
        "DiffOrder",
    ]


@pytest.mark.parametrize(
    ("predictions", "labels", "what"),
    [
        (np.zeros((1, 5), int), np.zeros(5, int), "two models"),
        (np.zeros(5, int), np.zeros(5, int), "two models"),
        (np.zeros((2, 0), int), np.zeros(0, int), "two models"),
        (np.zeros((2, 5)), np.zeros(5, int), "not classes"),
        (np.zeros((2, 5), int), np.zeros(5), "not classes"),
        (np.zeros((2, 5), int), np.zeros(4, int), "labels"),
    ],
)
def test_what_cannot_be_is_refused(predictions, labels, what):
    with pytest.raises(ValueError, match=what):
        disagreement.calibration(predictions, labels)
