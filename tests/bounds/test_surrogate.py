"""A network certified through another one and unlabelled points: measured, bounded, covered."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import bounds
from bounds.families.surrogate import parts_of_surrogate
from bounds.measures.code import CANDIDATES, Code
from bounds.measures.disagreement import CodedDisagreement, Surrogate, Unlabelled
from bounds.measures.inputs import Task
from bounds.network import WITHOUT
from nets.mlp import MLP
from nets.sample import pad_sample
from tests.bounds.test_compression import (
    EVERY,
    ONE,
    from_init,
    from_origin,
    measured,
    through_bytes,
    trained,
)
from tests.oracles.counting import kl_inverse

DELTA = 0.1


def limit(k, size, failure):
    return 1.0 if k >= size else float(stats.beta.ppf(1 - failure, k + 1, size - k))


# What is measured, against plain numpy.


def logits_of(params, x):
    """Of a fully connected network, in float64."""
    for n, layer in enumerate(params[name] for name in sorted(params)):
        x = (np.maximum(x, 0) if n else x) @ np.asarray(layer["kernel"], float)
        x = x + np.asarray(layer.get("bias", 0.0), float)
    return x


def said(params, x):
    """The class of each point; -1 where two logits are equal and above the others."""
    logits = logits_of(params, np.asarray(x, float))
    ordered = np.sort(logits, axis=1)
    lead = ordered[:, -1] - ordered[:, -2]
    return np.where(lead > 1e-6, logits.argmax(axis=1), -1)


def differing(one, other, x):
    a, b = said(one, x), said(other, x)
    return int(np.sum((a != b) | (a < 0) | (b < 0)))


def beside(net, x, model=None, **things):
    points = pad_sample(np.asarray(x, np.float32), np.zeros(len(x), int), 200)
    given = {"unlabelled": points} | things
    return net.replace(learned=bounds.Learned(Unlabelled(model), given))


@functools.cache
def measuring(name):
    return lambda net: bounds.measure(net, [name])[0][name]


def measure(net, name):
    return measured(measuring(name), net)


def test_a_surrogate_is_counted_where_it_errs_and_where_it_disagrees():
    """Ties are errors, and disagreements whatever the other says; padding is not looked at."""
    rng, net, model = np.random.default_rng(0), trained(), MLP(10, 1, 3, True)
    held = net.holdout
    x = rng.standard_normal((150, np.shape(held.inputs)[1])).astype(np.float32)
    params = model.init(jax.random.key(7), jnp.zeros((1, x.shape[1])))["params"]
    last = params["Dense_1"]
    # The first class and the second are one: wherever they lead there is a tie.
    twins = {
        "kernel": last["kernel"].at[:, 1].set(last["kernel"][:, 0]),
        "bias": last["bias"].at[1].set(last["bias"][0]),
    }
    tied = params | {"Dense_1": twins}
    for its in (params, tied, jax.tree.map(lambda a: a * np.nan, params)):
        found = measure(
            beside(net, x, model, surrogate=its, certifying=held), "surrogate"
        )
        y = np.asarray(held.labels)[: int(held.size)]
        predicted = said(its, np.asarray(held.inputs)[: len(y)])
        assert (int(found.labelled), int(found.unlabelled)) == (len(y), 150)
        assert int(found.wrong) == int(np.sum(predicted != y))
        assert int(found.disagreements) == differing(net.params, its, x)
    assert int(found.disagreements) == 150 and int(found.wrong) == len(y)
    # The surrogate may take its points in another order.
    turned = {
        "Dense_0": params["Dense_0"] | {"kernel": params["Dense_0"]["kernel"][::-1]},
        "Dense_1": params["Dense_1"],
    }
    its_points = pad_sample(x[:, ::-1], np.zeros(150, int), 200)
    found = measure(
        beside(net, x, model, surrogate=turned, certifying=held, of_surrogate=its_points),
        "surrogate",
    )  # fmt: skip
    assert int(found.disagreements) == differing(net.params, params, x)


@pytest.mark.parametrize(
    ("name", "parts", "places"),
    [
        ("coded_disagreement", from_init, ONE),
        pytest.param("coded_disagreement", from_init, EVERY, marks=pytest.mark.slow),
        ("coded_disagreement_from_origin", from_origin, EVERY),
    ],
    ids=["one from init", "from init", "from the origin"],
)
def test_disagreements_are_those_of_the_network_that_the_bytes_give(
    name, parts, places
):
    net = trained()
    x = np.asarray(net.holdout.inputs)[: int(net.holdout.size)]
    found = measure(beside(net, x), name)
    arrays, rebuild = parts(net)
    for place in places:
        network = rebuild(through_bytes(arrays, CANDIDATES[place])[0])
        assert found.disagreements[place] == differing(net.params, network, x), place
    assert found.disagreements.shape == (len(CANDIDATES),)
    assert int(found.unlabelled) == len(x)
    # Coarse ones say something else, or nothing; fine ones the same.
    assert found.disagreements[0] > 20 and found.disagreements[-1] <= 5


def test_without_points_or_a_surrogate_there_is_a_reason():
    net = trained()
    names = ["bazinet_2026_surrogate", "bazinet_2026_code"]
    groups = ["surrogate", "coded_disagreement"]

    def why(net, groups=groups):
        missing = {}
        jax.eval_shape(lambda n: missing.update(bounds.measure(n, groups)[1]), net)
        return [missing.get(g) for g in groups]

    assert why(net) == [WITHOUT["learned"]] * 2
    x = np.zeros((9, np.shape(net.sample.inputs)[1]))
    assert why(beside(net, x)) == ["there is no surrogate", None]
    other = net.replace(learned=bounds.Learned(net.model, net.params))
    assert why(other) == ["no unlabelled points are given"] * 2
    assert set(bounds.requires(names)) == {"learned", "init"}


# What is claimed, against scipy.


def value(name, groups, delta=DELTA):
    """`BoundValue` of groups with a leading run axis."""
    return bounds.evaluate(groups, [name], delta=delta)[name]


def test_the_bounds_are_their_formulas():
    counts = [[0, 30, 0, 200], [7, 900, 11, 500], [900, 900, 3, 500]]
    counts = np.array(counts, np.int32)
    found = value("bazinet_2026_surrogate", {"surrogate": Surrogate(*counts.T)})
    for place, (e, n, k, u) in enumerate(counts):
        expected = limit(e, n, DELTA / 2) + limit(k, u, DELTA / 2)
        assert found.value[place] == pytest.approx(expected, rel=1e-7)
        assert found.empirical[place] == pytest.approx(e / n + k / u, rel=1e-12)
    bits, errors = np.array([50, 400, 8000]), np.array([0.3, 0.08, 0.01])
    m, u, k = 20000, np.int32(700), np.array([250, 31, 2], np.int32)
    groups = {
        "task": Task(np.array([m]), np.array([3]), np.array([1.0])),
        "code_from_origin": Code(bits[None], errors[None], errors[None]),
        "coded_disagreement_from_origin": CodedDisagreement(k[None], np.array([u])),
    }
    found = value("bazinet_2026_code_from_origin", groups)
    each = [
        kl_inverse(q, (c * np.log(2) + np.log(c * (c + 1)) - np.log(DELTA / 2)) / m)
        + limit(j, u, DELTA / 2 / 3)
        for q, c, j in zip(errors, bits, k, strict=True)
    ]
    assert found.value[0] == pytest.approx(min(each), rel=1e-7)
    assert np.argmin(each) == 1
    assert found.empirical[0] == pytest.approx(0.08 + 31 / 700, rel=1e-12)


# Whether it holds: a finite problem of known risks, drawn again and again.

POINTS, RUNS, SIZE = 2000, 2000, 60
TRUTH = np.arange(POINTS) % 3


def of_each(function, counts):
    """`function` of the counts of many runs, of which few are different: each is bounded once."""
    every, place = np.unique(
        np.stack(jax.tree.leaves(counts)), axis=1, return_inverse=True
    )
    rows = 128 * -(-every.shape[1] // 128)  # one program serves all numbers of them
    found = function(Surrogate(*np.resize(every.T, (rows, 4)).T))
    return jax.tree.map(lambda leaf: np.asarray(leaf)[place], found)


def values_of(counts):
    return value("bazinet_2026_surrogate", {"surrogate": counts}).value


@functools.partial(jax.jit, static_argnums=1)
def limits_of(counts, delta):
    return jax.vmap(lambda one: parts_of_surrogate(one, delta))(counts)


def other_than(predictions, places):
    """The same predictions, but for some places."""
    found = predictions.copy()
    found[places] = (found[places] + 1) % 3
    return found


def rate(failure):
    """Places of the problem of a rate just above the limit from no errors: missed as often as
    `failure` allows."""
    return int(np.ceil(limit(0, SIZE, failure) * POINTS))


def drawn(rng, wrong, size=SIZE):
    """`[RUNS]` counts among `size` points each."""
    return wrong[rng.integers(POINTS, size=(RUNS, size))].sum(axis=1)


def refuted(failures, delta=DELTA, runs=RUNS):
    """Whether so many failures of `runs` are more than delta allows (level .001)."""
    return stats.binom.sf(int(failures) - 1, runs, delta) <= 1e-3


@pytest.mark.parametrize("split", [True, False])
def test_both_limits_of_a_surrogate_hold_at_once(split):
    """And so does their sum; where delta is not split the two fail too often."""
    rng = np.random.default_rng(1)
    delta = DELTA if split else 2 * DELTA  # its halves are what each is given
    places = rate(delta / 2)
    s = other_than(TRUTH, slice(places))
    h = other_than(s, slice(places, 2 * places))
    risks = np.mean(s != TRUTH), np.mean(h != s)
    counts = Surrogate(
        drawn(rng, s != TRUTH), np.full(RUNS, SIZE), drawn(rng, h != s), np.full(RUNS, SIZE)
    )  # fmt: skip
    with jax.enable_x64(True):
        parts = of_each(lambda each: limits_of(each, delta), counts)
    failed = sum(np.asarray(p) < r for p, r in zip(parts, risks, strict=True)) > 0
    assert refuted(failed.sum()) != split
    if split:  # and no more can be had
        assert failed.mean() > 0.8 * DELTA
        found = of_each(values_of, counts)
        assert not refuted(np.sum(found < np.mean(h != TRUTH)))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("united", "runs"),
    # 12 limits of each take long; of twice delta 500 would see 7 deviations.
    [(True, 500), pytest.param(True, RUNS, marks=pytest.mark.slow), (False, RUNS)],
)
def test_the_best_of_many_codes_is_paid_for(united, runs):
    """12 coded networks that err where h does, each but in places of its own: the one that by
    chance disagrees nowhere is taken."""
    rng, count = np.random.default_rng(2), 12
    share = DELTA / 2 / count if united else DELTA / 2
    h = other_than(TRUTH, slice(800))
    places = rate(share) + 1
    coded = [h.copy() for _ in range(count)]
    for one in coded:
        right = rng.choice(800, places, replace=False)
        one[right] = TRUTH[right]
    draws = rng.integers(POINTS, size=(RUNS, SIZE))
    counts = np.stack([(h != one)[draws].sum(axis=1) for one in coded], axis=1)
    # Of a training set so large that the bound on a coded network is its risk.
    errors = np.tile([np.mean(one != TRUTH) for one in coded], (RUNS, 1))
    counts, errors = counts[:runs], errors[:runs]
    if united:
        groups = {
            "task": Task(np.full(runs, 2**31 - 1), np.full(runs, 3), np.ones(runs)),
            "code": Code(np.ones((runs, count)), errors, errors),
            "coded_disagreement": CodedDisagreement(counts, np.full(runs, SIZE)),
        }
        found = value("bazinet_2026_code", groups).value
    else:  # each limit at delta/2, as if one candidate had been fixed
        limits = np.array([limit(k, SIZE, share) for k in range(SIZE + 1)])
        found = np.min(errors + limits[counts], axis=1)
    failed = found < np.mean(h != TRUTH)
    assert refuted(failed.sum(), runs=runs) != united


@pytest.mark.parametrize("fresh", [True, False])
def test_points_that_the_surrogate_was_trained_on_are_no_points(fresh):
    """It says what h says where it has seen h, and the truth elsewhere."""
    rng = np.random.default_rng(3)
    h = other_than(TRUTH, slice(800))
    seen = rng.integers(POINTS, size=(RUNS, SIZE))
    points = rng.integers(POINTS, size=(RUNS, SIZE)) if fresh else seen
    wrong, differ = np.zeros(RUNS, int), np.zeros(RUNS, int)
    for run in range(RUNS):
        s = TRUTH.copy()
        s[seen[run]] = h[seen[run]]
        wrong[run] = np.sum((s != TRUTH)[rng.integers(POINTS, size=300)])
        differ[run] = np.sum((s != h)[points[run]])
    counts = Surrogate(wrong, np.full(RUNS, 300), differ, np.full(RUNS, SIZE))
    found = of_each(values_of, counts)
    assert refuted(np.sum(found < np.mean(h != TRUTH))) != fresh
