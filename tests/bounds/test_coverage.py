"""Certified bounds against known risk: violations are no more frequent than delta allows.

Linear classifiers of a Gaussian mixture, where the risk has a closed form and every bound
tested here is below 1. V violations in R independent runs refute a bound at level a if
Pr[Bin(R, delta) >= V] <= a. The same bound with one constant wrong must be refuted.
"""

import math

import jax
import numpy as np
import pytest
from scipy import special, stats

import bounds
from bounds.measures.architecture import Architecture
from bounds.measures.examples import Holdout, Margins
from bounds.measures.inputs import Inputs, Task
from bounds.measures.levels import Levels
from bounds.measures.paths import Peeling
from bounds.spec import CERTIFIED
from tests import oracles
from tests.bounds.cases import layer_norms
from tests.oracles import convolutional as loops
from tests.oracles import counting, norm_products, spectral_bounds

RUNS, SIZE, DIM, DELTA, LEVEL = 100, 20000, 3, 0.2, 1e-3

# The others are above 1 even here, and have their oracle for a guard.
BELOW_1 = (
    "holdout_cp",
    "bartlett_1998_vc",
    "bartlett_2019_vc",
    "occam_float32",
    "golowich_2018_l1_certified",
    "golowich_2018_l1_path_certified",
    "gonon_2024_certified",
    "golowich_2018_frobenius_certified",
    "neyshabur_2015_frobenius_certified",
    "neyshabur_2018_kl_certified",
    "long_2020_certified",
)


def run(seed):
    """One classifier, w = mean of y x as two logits (-h/2, h/2): its groups, its risk, and arrays."""
    rng = np.random.default_rng(seed)
    mean = np.full(DIM, 1.4 / math.sqrt(DIM))

    def draw(count):
        signs = 2 * rng.integers(2, size=count) - 1
        x = signs[:, None] * mean + 0.7 * rng.standard_normal((count, DIM))
        return x, signs

    x, signs = draw(SIZE)
    w = np.mean(signs[:, None] * x, axis=0)
    fresh, fresh_signs = draw(500)
    matrix = np.stack([-w / 2, w / 2], axis=1)
    initial = 0.1 * np.random.default_rng(0).standard_normal((DIM, 2))
    log_l1, log_l2 = np.log(np.abs(w).sum()), np.log(np.linalg.norm(w))
    largest = np.max(np.linalg.norm(x, axis=1))
    found = {
        "architecture": Architecture(
            np.array([2 * DIM]), np.array([2 * DIM]), np.array([2]), np.int32(0), np.int32(0),
            np.int32(1), np.int32(0),
        ),
        "task": Task(np.float64(SIZE), np.int32(2), largest),
        "margins": Margins(np.sort(signs * (x @ w)), np.int32(SIZE)),
        "peeling": Peeling(log_l2, log_l1, log_l1, np.int32(1), np.int32(1)),
        "levels": Levels(
            np.float64(0), log_l1, np.int32(1), np.int32(1), np.int32(0), np.int32(1),
            np.int32(0),
        ),
        "inputs": Inputs(
            np.linalg.norm(x), np.sqrt(np.max(np.sum(x**2, 0))), largest,
            np.max(np.abs(x)), np.int32(DIM), np.sqrt(np.max(np.sum(x**2, 0))),
            np.int32(DIM),
        ),
        "folded": layer_norms([matrix]),
        "folded_init": layer_norms([initial]),
        "folded_from_init": layer_norms([matrix - initial]),
        "from_init": layer_norms([matrix - initial]),
        "kernels_from_init": layer_norms([matrix - initial]),
        "holdout": Holdout(
            np.int32(np.sum(fresh_signs * (fresh @ w) <= 0)), np.int32(500)
        ),
    }  # fmt: skip
    return (
        found,
        special.ndtr(-(w @ mean) / (0.7 * np.linalg.norm(w))),
        (matrix, initial, x),
    )


@pytest.fixture(scope="module")
def many():
    """(groups stacked over the runs, risks)."""
    found, risks, _ = zip(*(run(seed) for seed in range(RUNS)), strict=True)
    return jax.tree.map(lambda *leaves: np.stack(leaves), *found), np.array(risks)


def refuted(values, risks):
    violations = int(np.sum(risks > values))
    return stats.binom.sf(violations - 1, RUNS, DELTA) <= LEVEL


def test_they_hold_and_say_something(many):
    measured, risks = many
    found = bounds.evaluate(measured, BELOW_1, delta=DELTA)
    for name in BELOW_1:
        assert np.all(found[name].value < 0.95), name
        assert not refuted(found[name].value, risks), name


def test_one_run_is_the_oracle_s(many):
    """What a coverage cannot see: a constant that is wrong by less than the bounds are loose."""
    found = bounds.evaluate(many[0], BELOW_1, delta=DELTA)
    groups, _, (matrix, initial, x) = run(0)
    margins = groups["margins"].sorted.tolist()
    error, wrong = oracles.margin_error(margins, 0.0), int(groups["holdout"].wrong)
    dimensions = {
        "bartlett_1998_vc": counting.vc_dimension_1998(2 * DIM, 1),
        "bartlett_2019_vc": counting.vc_dimension_2019([2 * DIM], [2]),
    }
    layer = loops.Layer(matrix[None, None], initial[None, None])
    expected = {
        "holdout_cp": counting.clopper_pearson_upper(wrong, 500, DELTA),
        "occam_float32": counting.occam_float32(error, SIZE, 2 * DIM, DELTA),
        "neyshabur_2018_kl_certified": spectral_bounds.neyshabur_2018_kl_certified(
            [matrix], [initial], x, margins, DELTA
        ),
        "long_2020_certified": loops.long_2020_certified([layer], x, margins, DELTA),
    } | {
        name: counting.vc_bound(error, SIZE, v, 2, DELTA)
        for name, v in dimensions.items()
    }
    of_entries = oracles.peeling_constants([matrix], x, "l1")  # its paths, too
    of_norm = oracles.peeling_constants([matrix], x, "frobenius")
    of_2015 = norm_products.neyshabur_2015_frobenius_constants([matrix], x)
    for constants, names in (
        (of_entries, ("golowich_2018_l1", "golowich_2018_l1_path", "gonon_2024")),
        (of_norm, ("golowich_2018_frobenius",)),
        (of_2015, ("neyshabur_2015_frobenius",)),
    ):
        value = oracles.peeling_bound(*constants, margins, DELTA)
        expected |= {f"{name}_certified": value for name in names}
    assert set(expected) == set(BELOW_1)
    for name, value in expected.items():
        assert found[name].value[0] == pytest.approx(value, rel=1e-6), name


# m too large by so much in every rate: the least power of ten that these runs can see.
TOO_LARGE = {
    1e4: ("occam_float32", "long_2020_certified"),
    1e5: ("golowich_2018_frobenius_certified", "neyshabur_2015_frobenius_certified"),
    1e6: (
        "bartlett_2019_vc", "golowich_2018_l1_certified", "golowich_2018_l1_path_certified",
        "gonon_2024_certified",
    ),
    1e7: ("bartlett_1998_vc",),
    1e11: ("neyshabur_2018_kl_certified",),
}  # fmt: skip


def test_a_wrong_constant_is_caught(many):
    """For the hold-out, a delta twice as large."""
    measured, risks = many
    assert {"holdout_cp"}.union(*TOO_LARGE.values()) == set(BELOW_1)
    task = measured["task"]
    for factor, names in TOO_LARGE.items():
        wrong = measured | {"task": task.replace(size=task.size * factor)}
        found = bounds.evaluate(wrong, BELOW_1, delta=DELTA)
        for name in names:
            assert refuted(found[name].value, risks), name
    found = bounds.evaluate(measured, ["holdout_cp"], delta=2 * DELTA)
    assert refuted(found["holdout_cp"].value, risks)


def test_the_others_are_above_1_even_here(many):
    others = [
        name
        for name, spec in bounds.BOUNDS.items()
        if spec.status == CERTIFIED
        and spec.speaks_of == "trained"
        and name not in BELOW_1
        and "learned" not in bounds.requires([name])  # test_surrogate
    ]
    found = bounds.evaluate(many[0], others, delta=DELTA)
    for name in others:
        assert np.all(found[name].value > 1), name


def test_random_labels_are_not_explained():
    """Interpolated coins, risk exactly 1/2: no certified bound is below it."""
    from tests.bounds.cases import by_hand, evaluate, random_case

    for seed in range(3):
        case = random_case(seed, [30, 2], m=20)
        w = np.linalg.pinv(case.x) @ np.where(case.y == 1, 1.0, -1.0)
        weights = [np.stack([-w, w], axis=1)]
        fitted = type(case)(weights, case.initial, case.x, case.y)
        assert min(fitted.margins) > 0
        found = evaluate(by_hand(fitted, jacobians=False))
        for name, spec in bounds.BOUNDS.items():
            is_there = not isinstance(found[name], str)
            if spec.status == CERTIFIED and name != "holdout_cp" and is_there:
                assert found[name].value >= 0.5, name
