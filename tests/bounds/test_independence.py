"""Initial weights that have seen the data are noticed, others hardly ever."""

import itertools
import math
from fractions import Fraction

import jax
import numpy as np
import pytest

import bounds
from bounds.measures import independence
from tests.bounds.cases import random_case

# Of measures that take long to compile.
of_what_rests = pytest.mark.parametrize(
    "resting",
    [
        ("neyshabur_2018", "zhou_2019_code"),
        pytest.param(("maurer_2004_kl", "neyshabur_2018"), marks=pytest.mark.slow),
    ],
    ids="-".join,
)


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
    """Random labels, fitted by the last layer to moved random features: all right, by heart."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((120, 6)).astype(np.float32)
    y = rng.integers(3, size=120)
    first = rng.standard_normal((6, 80)).astype(np.float32)
    start = [first, rng.standard_normal((80, 3)).astype(np.float32)]
    moved = first + np.float32(0.1) * rng.standard_normal(first.shape, np.float32)
    features = np.maximum(x[:60] @ moved, 0)
    fitted, *_ = np.linalg.lstsq(features, 2.0 * np.eye(3)[y[:60]] - 1, rcond=None)
    trained = [moved, fitted.astype(np.float32)]
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
    answers = np.zeros((3, 3), int)
    for label, own in zip(y[:60], np.argmax(forward(start, x[:60]), 1), strict=True):
        answers[label, own] += 1
    np.testing.assert_array_equal(found.answers, answers)
    apart = [
        np.linalg.norm(w.astype(float) - z) / np.linalg.norm(w.astype(float))
        for w, z in zip(trained, start, strict=True)
    ]
    np.testing.assert_allclose(found.distances, apart, rtol=1e-5)


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
    changed = [np.zeros(80, np.float32), np.array([1000, 0, 0], np.float32)]
    biases = [np.zeros(80, np.float32), np.zeros(3, np.float32)]
    network = bounds.from_arrays(
        trained, x[:60], y[:60], biases=biases, init=trained, init_biases=changed
    )
    assert "are the trained ones" in independence.doubt(group(network))


def test_a_trained_layer_among_the_initial_weights_is_seen(memorised):
    """A backbone that has seen the data, and a fresh head that knows nothing, error of chance."""
    start, trained, x, y = memorised
    reason = independence.doubt(group(of(memorised, [trained[0], start[1]])))
    assert "layer 1 of 2 are the trained ones" in reason
    wrong = np.argmax(forward([trained[0], start[1]], x[:60]), 1) != y[:60]
    assert wrong.mean() > 0.5
    empty = [np.zeros_like(trained[0]), trained[1]]
    network = bounds.from_arrays(
        empty, x[:60], y[:60], init=[empty[0], start[1]], holdout=(x[60:], y[60:])
    )  # a layer of zeros says nothing, before and after
    assert not independence.doubt(group(network))


def at_least_as_right(answers):
    """The share of all permutations of the outputs, in plain loops."""
    classes = range(len(answers))
    found = [
        sum(answers[c][p[c]] for c in classes) for p in itertools.permutations(classes)
    ]
    return np.mean(np.array(found) >= np.trace(answers))


@pytest.mark.parametrize("seed", range(3))
def test_relabellings_against_all_permutations(seed):
    rng = np.random.default_rng(seed)
    answers = rng.integers(9, size=(6, 6)) + np.diag(rng.integers(5, size=6))
    share, tried = at_least_as_right(answers), independence.RELABELLINGS
    found = independence.as_right(answers)
    least = 100 if share > 1 / 40 else share * tried  # it stops after so many
    assert found == pytest.approx(share, rel=5 / np.sqrt(least), abs=5 / tried)


def test_a_network_that_is_slightly_better_than_chance_has_seen_ten_classes():
    """Err on .72 where guessing errs on .9; by relabelled outputs on as much as others."""
    classes, rows = 10, 100
    answers = np.full((classes, classes), 8) + 20 * np.eye(classes, dtype=int)
    assert answers.sum(axis=1).tolist() == [rows] * classes

    def of(answers):
        return independence.Independence(
            distances=np.ones(2), wrong=answers.sum() - np.trace(answers),
            answers=answers, size=answers.sum(), held_out_wrong=0, held_out=0,
            most_frequent=rows,
        )  # fmt: skip

    assert "err on 720 of 1000 training examples, guessing on 900 (p" in (
        independence.doubt(of(answers))
    )
    # As many right answers, but a network that answers for any class as it does for its own.
    assert not independence.doubt(of(np.roll(answers, 1, axis=1)))
    lucky = np.full((classes, classes), 10)
    lucky[:, 0], lucky[:, 1:] = 19, 9  # always the same answer
    assert not independence.doubt(of(lucky))


def test_random_networks_of_ten_classes_have_p_values_that_are_uniform():
    """Clusters, so that a random network is often far from chance; the law is the test's."""
    rng, found = np.random.default_rng(0), []
    centres = 3 * rng.standard_normal((10, 5))
    for _ in range(300):
        y = np.arange(200) % 10
        x = centres[y] + rng.standard_normal((200, 5))
        hidden = np.maximum(x @ rng.standard_normal((5, 20)), 0)
        own = np.argmax(hidden @ rng.standard_normal((20, 10)), axis=1)
        answers = np.zeros((10, 10), int)
        np.add.at(answers, (y, own), 1)
        found.append(independence.as_right(answers, most=500))
    for level in (0.05, 0.2, 0.5):
        share = np.mean(np.array(found) <= level)
        assert share <= level + 4 * np.sqrt(level * (1 - level) / 300)
    assert np.mean(found) < 0.7  # not all 1: the test has power to be wrong


def nudged(weights, by):
    rng = np.random.default_rng(1)
    return [
        w + by * np.std(w) * rng.standard_normal(w.shape).astype(np.float32)
        for w in weights
    ]


@of_what_rests
def test_trained_weights_given_as_initial_ones_certify_nothing(memorised, resting):
    start, trained, *_ = memorised
    # Whatever the reason is, the same bounds get it: without held-out examples, which is a program
    # of its own, of one bound only.
    one, near = ["neyshabur_2018"], nudged(trained, 0.01)
    for network, names, why in (
        (of(memorised, trained), resting, "are the trained ones"),
        (of(memorised, near), resting, "have seen the data"),
        (of(memorised, near, held_out=False), one, "may have seen the data"),
    ):
        found = bounds.values(network, names)
        assert all(why in found[name] for name in names), found
    honest = bounds.values(of(memorised, start), resting)
    assert not any(isinstance(value, str) for value in honest.values())


@of_what_rests
def test_declared_independence_is_taken_and_what_does_not_rest_on_it_stays(
    memorised, resting
):
    _, trained, *_ = memorised
    network = of(memorised, trained)
    declared = bounds.values(network, resting, init_is_independent=True)
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
