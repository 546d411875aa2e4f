"""Two-sample tests: right when nothing is wrong, and when something is."""

import math

import numpy as np
import pytest
from scipy import stats

from bounds.uniform_convergence import two_sample
from experiments.problems.hypersphere import radial_flip
from tests import oracles

RADII = (1.0, 1.2)


def spheres(rng, n, dim=30):
    x, labels = rng.standard_normal((n, dim)), rng.integers(2, size=n)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    return (x * np.array(RADII)[labels][:, None]).astype(np.float32), labels


def test_the_statistic_is_the_energy_distance(rng):
    """With all splits of a small pool, the p-value counts those at least as far apart."""
    x, y = rng.standard_normal((4, 3)), rng.standard_normal((3, 3)) + 1
    observed = oracles.energy_distance(x.tolist(), y.tolist())
    pool = np.concatenate([x, y])

    class Fixed:
        """Stands for a generator; its permutations are known."""

        orders = [np.random.default_rng(i).permutation(7) for i in range(40)]

        def __init__(self):
            self.next = iter(self.orders)

        def permutation(self, signs):
            return signs[next(self.next)]

    extreme = 1
    for order in Fixed.orders:
        first = np.concatenate([np.full(4, True), np.full(3, False)])[order]
        a, b = pool[first].tolist(), pool[~first].tolist()
        extreme += oracles.energy_distance(a, b) >= observed - 1e-12
    found = two_sample.energy_test([(x, y)], Fixed(), permutations=40)
    assert found == pytest.approx(extreme / 41)


def test_p_values_are_as_rare_as_they_say(rng):
    found = [
        two_sample.energy_test(
            [
                (rng.standard_normal((15, 4)), rng.standard_normal((20, 4))),
                (rng.standard_normal((9, 4)) + 1, rng.standard_normal((12, 4)) + 1),
            ],
            rng,
            99,
        )
        for _ in range(400)
    ]
    for level in (0.05, 0.2):
        expected, error = level, 4 * np.sqrt(level * (1 - level) / 400)
        assert np.mean(np.array(found) <= level) <= expected + error
    assert np.mean(np.array(found) <= 0.2) >= 0.1  # and not useless


@pytest.mark.slow
def test_the_radial_flip_passes(rng):
    found = [
        two_sample.compare(*spheres(rng, 300), *radial_flip(*spheres(rng, 300), RADII))
        for _ in range(20)
    ]
    assert min(f.p_value for f in found) > 0.001
    assert np.median([f.p_value for f in found]) > 0.1


WRONG = {
    "relabelled, not moved": lambda x, y: (x, 1 - y),
    "moved, not relabelled": lambda x, y: (radial_flip(x, y, RADII)[0], y),
    "moved too far": lambda x, y: (radial_flip(x, y, (1.0, 1.25))[0], 1 - y),
    "one class only": lambda x, y: (
        np.where((y == 1)[:, None], x / 1.2, x).astype(np.float32), 0 * y,
    ),
    "one coordinate shifted": lambda x, y: (
        radial_flip(x, y, RADII)[0] + 0.2 * (np.arange(x.shape[1]) == 3), 1 - y,
    ),
    "folded into an orthant": lambda x, y: (np.abs(radial_flip(x, y, RADII)[0]), 1 - y),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_map_fails(rng, name):
    found = two_sample.compare(*spheres(rng, 400), *WRONG[name](*spheres(rng, 400)))
    assert found.p_value < 0.001, found


def test_a_difference_that_no_single_coordinate_shows(rng):
    """Equal marginals and norms, other correlations: only the energy test can tell."""
    n = 600
    x = rng.choice([-1.0, 1.0], size=(n, 2))
    y = rng.choice([-1.0, 1.0], size=n)[:, None] * np.ones((1, 2))
    labels = np.zeros(n, int)
    found = two_sample.compare(x, labels, y, labels)
    assert found.coordinates > 0.01 and found.labels == 1
    assert found.is_suspicious  # by the energy test alone


def test_kolmogorov_smirnov_is_scipys(rng):
    """Column by column, exact, with ties; the norm is a column too."""
    x, y = rng.integers(8, size=(60, 5)), rng.integers(8, size=(45, 5)) + 1
    expected = min(
        stats.ks_2samp(p, q, method="exact").pvalue
        for p, q in zip(
            [*x.T, np.linalg.norm(x, axis=1)], [*y.T, np.linalg.norm(y, axis=1)],
            strict=True,
        )
    )  # fmt: skip
    assert two_sample.coordinate_test(x, y) == pytest.approx(6 * expected)


@pytest.mark.parametrize("classes", [pytest.param(2, marks=pytest.mark.slow), 10])
def test_small_and_many_classes_are_no_difference(rng, classes):
    """As rare as they say also with few examples a class and many coordinates."""
    found = []
    for _ in range(60):
        x, y = (rng.standard_normal((80, 100)) for _ in range(2))
        a, b = (np.where(rng.random(80) < 0.1, 0, rng.integers(classes, size=80))
                for _ in range(2))  # fmt: skip
        found.append(two_sample.compare(x, a, y, b))
    for name in ("labels", "energy", "coordinates", "p_value"):
        p = np.array([getattr(f, name) for f in found])
        assert np.mean(p <= 0.05) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 60), name
    assert not any(f.is_suspicious for f in found)


MAPS = {
    "turned around": (lambda x, y: (-x, 1 - y), True),
    "from row 5 on": (lambda x, y: (x, np.where(np.arange(len(y)) < 5, y, 1 - y)), False),
    "first half twice": (
        lambda x, y: (np.concatenate([x[:20]] * 2), np.concatenate([y[:20]] * 2)), False,
    ),
    "neighbours' labels": (lambda x, y: (x, np.roll(y, 1)), False),
    "centred": (lambda x, y: (x - x.mean(axis=0), y), False),
}  # fmt: skip


@pytest.mark.parametrize("name", MAPS)
def test_whether_a_map_acts_on_each_example(rng, name):
    sprime, expected = MAPS[name]
    x, y = rng.standard_normal((40, 3)), rng.integers(2, size=40)
    assert two_sample.acts_on_each(sprime, x, y) == expected


def test_rounding_is_no_difference(rng):
    x, labels = spheres(rng, 300)
    again, _ = spheres(rng, 300)
    turned = (again.astype(np.float64) * (1 + 1e-7)).astype(np.float32)
    norms = np.linalg.norm(x[labels == 0], axis=1)
    assert norms.std() < 1e-6
    same = two_sample.coordinate_test(x[labels == 0], turned[_ == 0])
    assert same > 0.001


def test_too_few_examples_are_refused(rng):
    with pytest.raises(ValueError, match="two of each"):
        two_sample.compare(np.ones((1, 2)), np.ones(1), np.ones((5, 2)), np.ones(5))


def test_errors_in_pairs_are_mcnemars(rng):
    """Against the binomial sum written out; a fair hypothesis is rarely told unfair."""
    lost, won = np.array([12, 3, 0]), np.array([4, 9, 0])
    expected = []
    for a, b in zip(lost, won, strict=True):
        n, k = int(a + b), int(max(a, b))
        tail = sum(math.comb(n, i) for i in range(k, n + 1)) / 2**n
        expected.append(min(1.0, 2 * tail))
    found = two_sample.equal_errors_in_pairs(lost, won)
    assert found == pytest.approx(min(1.0, 3 * min(expected)))
    assert two_sample.equal_errors_in_pairs([0, 0], [0, 0]) == 1
    fair = []
    for _ in range(400):
        before, after = rng.random((2, 2, 200)) < 0.2  # of two hypotheses
        counts = np.sum(~before & after, axis=1), np.sum(before & ~after, axis=1)
        fair.append(two_sample.equal_errors_in_pairs(*counts))
    assert np.mean(np.array(fair) <= 0.05) <= 0.05 + 4 * np.sqrt(0.05 * 0.95 / 400)
