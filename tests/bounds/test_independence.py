"""Initial weights that have seen the data are noticed, others hardly ever."""

import math
from fractions import Fraction

import jax
import numpy as np
import pytest

import bounds
from bounds.measures import independence
from tests.bounds.cases import random_case

RESTING = ("maurer_2004_kl", "zhou_2019_code", "neyshabur_2018")


def exact(wrong, size, others, held_out):
    """The hypergeometric tail, in fractions."""
    errors = wrong + others
    ways = sum(
        math.comb(size, k) * math.comb(held_out, errors - k)
        for k in range(wrong + 1)
        if 0 <= errors - k <= held_out
    )
    return Fraction(ways, math.comb(size + held_out, errors))


@pytest.mark.parametrize(
    "counts",
    [
        (0, 5, 3, 5),
        (3, 10, 2, 4),
        (7, 7, 0, 3),
        (0, 4, 0, 4),
        (40, 300, 90, 200),
        (1, 1, 1, 1),
    ],
)
def test_fisher_s_test_against_fractions(counts):
    assert independence.as_few(*counts) == pytest.approx(
        float(exact(*counts)), rel=1e-9
    )


def test_weights_that_know_nothing_are_suspected_no_oftener_than_said():
    """Exact: over all ways in which the errors can fall."""
    size, held_out, errors = 60, 40, 55
    suspected = sum(
        Fraction(math.comb(size, k) * math.comb(held_out, errors - k))
        for k in range(max(0, errors - held_out), min(size, errors) + 1)
        if independence.as_few(k, size, errors - k, held_out) < independence.LEVEL
    )
    assert suspected > 0
    assert suspected / math.comb(size + held_out, errors) <= independence.LEVEL


def forward(weights, x):
    for w in weights[:-1]:
        x = np.maximum(x @ w, 0)
    return x @ weights[-1]


@pytest.fixture(scope="module")
def memorised():
    """Random labels of wide random features, fitted by the last layer: all right, by heart."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((120, 6)).astype(np.float32)
    y = rng.integers(3, size=120)
    first = rng.standard_normal((6, 200)).astype(np.float32)
    start = [first, rng.standard_normal((200, 3)).astype(np.float32)]
    features = np.maximum(x[:60] @ first, 0)
    fitted, *_ = np.linalg.lstsq(features, 2.0 * np.eye(3)[y[:60]] - 1, rcond=None)
    trained = [first, fitted.astype(np.float32)]
    assert np.mean(np.argmax(forward(trained, x[:60]), 1) == y[:60]) == 1
    return start, trained, x, y


def of(memorised, init, held_out=True):
    _, trained, x, y = memorised
    return bounds.from_arrays(
        trained,
        x[:60],
        y[:60],
        init=init,
        holdout=(x[60:], y[60:]) if held_out else None,
    )


_compiled = jax.jit(independence.independence)


def group(network):
    return jax.device_get(_compiled(network))


def test_what_is_counted_against_numpy(memorised):
    start, trained, x, y = memorised
    found = group(of(memorised, start))
    wrong = np.argmax(forward(start, x), 1) != y
    assert (int(found.wrong), int(found.size)) == (wrong[:60].sum(), 60)
    assert (int(found.held_out_wrong), int(found.held_out)) == (wrong[60:].sum(), 60)
    assert int(found.most_frequent) == np.bincount(y[:60]).max()
    apart = np.linalg.norm(trained[1].astype(float) - start[1])
    norm = np.sqrt(sum(np.sum(w.astype(float) ** 2) for w in trained))
    assert float(found.distance) == pytest.approx(apart / norm, rel=1e-5)


def test_few_held_out_examples_do_not_hide_what_chance_shows(memorised):
    """With so few that no test could tell, guessing is what it is held against."""
    start, trained, x, y = memorised
    near = nudged(trained, 0.01)
    wrong = np.argmax(forward(near, x), 1) != y
    assert wrong[:60].sum() < 10 and wrong[60:].sum() > 20

    def found(init, count):
        few = bounds.from_arrays(
            trained, x[:60], y[:60], init=init, holdout=(x[60 : 60 + count], y[60 : 60 + count])
        )  # fmt: skip
        return independence.doubt(group(few))

    assert "may have seen the data" in found(near, 1)
    assert "may have seen the data" in found(near, 2)
    assert "have seen the data: they err" in found(near, 60)
    assert not found(start, 2) and not found(start, 60)


def test_a_changed_bias_does_not_make_the_trained_weights_initial_ones(memorised):
    _, trained, x, y = memorised
    changed = [np.zeros(200, np.float32), np.array([1000, 0, 0], np.float32)]
    biases = [np.zeros(200, np.float32), np.zeros(3, np.float32)]
    network = bounds.from_arrays(
        trained, x[:60], y[:60], biases=biases, init=trained, init_biases=changed
    )
    assert "are the trained ones" in independence.doubt(group(network))


def nudged(weights, by):
    rng = np.random.default_rng(1)
    return [
        w + by * np.std(w) * rng.standard_normal(w.shape).astype(np.float32)
        for w in weights
    ]


def test_trained_weights_given_as_initial_ones_certify_nothing(memorised):
    start, trained, *_ = memorised
    # Whatever the reason is, the same bounds get it: others than the first of one only.
    one, near = RESTING[-1:], nudged(trained, 0.01)
    for network, names, why in (
        (of(memorised, trained), RESTING, "are the trained ones"),
        (of(memorised, near), one, "have seen the data"),
        (of(memorised, near, held_out=False), one, "may have seen the data"),
    ):
        found = bounds.values(network, names)
        assert all(why in found[name] for name in names), found
    honest = bounds.values(of(memorised, start), RESTING)
    assert not any(isinstance(value, str) for value in honest.values())


def test_declared_independence_is_taken_and_what_does_not_rest_on_it_stays(memorised):
    _, trained, *_ = memorised
    network = of(memorised, trained)
    declared = bounds.values(network, RESTING, init_is_independent=True)
    assert not any(isinstance(value, str) for value in declared.values())
    others = bounds.values(
        network, ("golowich_2018_frobenius", "holdout_cp", "fro_dist")
    )
    assert not any(isinstance(value, str) for value in others.values())


def test_random_initial_weights_are_not_suspected():
    for seed in range(20):
        case = random_case(seed, [6, 8, 3], m=60)
        for held_out in (True, False):
            network = bounds.from_arrays(
                [np.float32(w) for w in case.weights], np.float32(case.x[:40]), case.y[:40],
                init=[np.float32(w) for w in case.initial],
                holdout=(np.float32(case.x[40:]), case.y[40:]) if held_out else None,
            )  # fmt: skip
            assert not independence.doubt(group(network)), (seed, held_out)


def test_what_rests_on_the_initial_weights_is_read_off_the_registry():
    resting = {
        name
        for name, spec in bounds.BOUNDS.items()
        if independence.rests_on_init(spec, bounds.requires([name]))
    }
    assert {"maurer_2004_kl", "zhou_2019_code", "bartlett_2017_certified"} <= resting
    assert not resting & {"fro_dist", "holdout_cp", "golowich_2018_l1_certified"}
