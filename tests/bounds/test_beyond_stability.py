"""Stability: estimates by plain loops, exact identities by enumeration, bounds by simulation."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from bounds.beyond_uc import stability, stability_bounds


def one_run(seed, points=7, fresh=11):
    rng = np.random.default_rng(seed)
    return (
        rng.random(points),
        rng.random(points),
        rng.random(fresh),
        rng.random((points, fresh)),
    )


def test_one_run_by_plain_loops():
    before, after, fresh, moved = one_run(0)
    found = stability.of_one_run(before, after, fresh, moved, (0.0, 1.0))
    own = [abs(a - b) for a, b in zip(before, after, strict=True)]
    by_point = [[moved[i][j] - fresh[j] for j in range(11)] for i in range(7)]
    every = [abs(v) for row in by_point for v in row]
    assert found.pointwise == pytest.approx(sum(own) / 7)
    assert found.on_average == pytest.approx(sum(after) / 7 - sum(before) / 7)
    assert found.on_average == pytest.approx(found.own_after - found.own_before)
    assert found.hypothesis == pytest.approx(sum(every) / 77)
    assert found.error == pytest.approx(sum(abs(sum(row) / 11) for row in by_point) / 7)
    assert found.uniform_at_least == max(own + every)
    assert found.own_quantiles == (min(own), max(own))
    assert found.fresh_quantiles == (min(every), max(every))
    assert (found.points, found.fresh) == (7, 11)
    assert found.error <= found.hypothesis
    again = stability.of_one_run(before, after, np.tile(fresh, (7, 1)), moved, (0.0, 1))
    assert again == found
    alone = stability.of_one_run(before, after)
    assert math.isnan(alone.hypothesis) and alone.uniform_at_least == max(own)


def test_the_set_is_the_cluster():
    """Points of one S move together: an interval over points would be far too narrow."""
    rng = np.random.default_rng(1)
    points, truth, inside, pooled_inside, trials = 40, 0.3, 0, 0, 300
    for _ in range(trials):
        level = truth + 0.1 * rng.standard_normal(8)  # of each S
        after = level[:, None] + 0.01 * rng.standard_normal((8, points))
        runs = [stability.of_one_run(np.zeros(points), a) for a in after]
        found = stability.over_runs(runs).on_average
        inside += found.low < truth < found.high
        pooled = stats.ttest_1samp(after.ravel(), 0).confidence_interval()
        pooled_inside += pooled.low < truth < pooled.high
    assert stats.binomtest(inside, trials, 0.95).pvalue > 0.001
    assert pooled_inside < 0.6 * trials


def test_over_runs_averages_each_field():
    runs = [stability.of_one_run(*one_run(seed)) for seed in range(5)]
    found = stability.over_runs(runs, 0.9)
    for name in ("pointwise", "hypothesis", "error", "error_noise", "own_after"):
        values = [getattr(run, name) for run in runs]
        low, high = stats.ttest_1samp(values, 0).confidence_interval(0.9)
        mean = getattr(found, name)
        assert mean.mean == pytest.approx(np.mean(values))
        assert (mean.low, mean.high) == (pytest.approx(low), pytest.approx(high))
    assert found.uniform_at_least == max(run.uniform_at_least for run in runs)
    tails = [run.fresh_quantiles[1] for run in runs]
    assert found.fresh_quantiles[1].mean == pytest.approx(np.mean(tails))


def test_the_error_stability_of_equal_risks_is_noise():
    rng = np.random.default_rng(2)
    first, second = rng.random(400), rng.random((60, 400))
    found = stability.of_one_run(np.zeros(60), np.zeros(60), first, second)
    shared = abs(first.mean() - 0.5)  # h_S's own fresh points are shared by all i
    assert abs(found.error - found.error_noise) < 0.5 * found.error_noise + shared


def test_flips_changes_and_distances():
    before, after = np.array([0, 1, 2]), np.array([[0, 1, 2], [1, 1, 0]])
    assert stability.flip_rate(before, after) == pytest.approx(2 / 6)
    assert stability.flip_rate(before, np.array([0, 0, 0])) == pytest.approx(2 / 3)
    found = stability.changes([1.0, 2.0], [[0.0, 2.0], [1.0, 5.0]], (0.5, 1.0))
    assert (found.mean, found.mean_absolute, found.largest) == (0.5, 1.0, 3.0)
    assert found.quantiles == (0.5, 3.0)
    unsigned = stability.changes(np.array([200], np.uint8), np.array([[100]], np.uint8))
    assert unsigned.mean == -100
    a, b = [np.zeros((2, 2)), np.zeros(3)], [np.ones((2, 2)), np.full(3, 2.0)]
    assert stability.weight_distance(a, b) == pytest.approx(4)


# --- exact laws of small learners, by enumeration -----------------------------------------


def tuples(domain, size):
    return list(itertools.product(range(domain), repeat=size))


def random_learner(rng, domain, size, symmetric=True):
    """Losses in {0, 1} of the hypothesis of each set at each point: a dict."""
    table = {}
    for s in tuples(domain, size):
        key = tuple(sorted(s)) if symmetric else s
        if key not in table:
            table[key] = rng.integers(0, 2, domain).astype(float)
        table[s] = table[key]
    return table


def law(weights, chosen):
    return math.prod(weights[z] for z in chosen)


@pytest.mark.parametrize("symmetric", [True, False])
def test_the_expected_gap_is_the_on_average_stability(symmetric):
    """E gap = E[l(h_S^(i), z_i) - l(h_S, z_i)], exactly, any learner (mean over i)."""
    rng = np.random.default_rng(3)
    for domain, size in ((2, 3), (3, 3), (4, 2)):
        learner = random_learner(rng, domain, size, symmetric)
        p = rng.dirichlet(np.ones(domain))
        gap = average = 0.0
        for s in tuples(domain, size):
            own = np.mean([learner[s][z] for z in s])
            gap += law(p, s) * (learner[s] @ p - own)
            for fresh in range(domain):
                after = [
                    learner[s[:i] + (fresh,) + s[i + 1 :]][s[i]] for i in range(size)
                ]
                found = stability.of_one_run([learner[s][z] for z in s], after)
                average += law(p, s) * p[fresh] * found.on_average
        assert gap == pytest.approx(average, abs=1e-12)


def test_second_moments_of_the_gap_stay_below_the_proved_constants():
    """E(R - R_S)^2 <= M^2/(2m) + 6 M b by replacing; the same of R_loo by removal."""
    rng = np.random.default_rng(4)
    for _ in range(150):
        domain, size = int(rng.integers(2, 5)), int(rng.integers(2, 4))
        learner = random_learner(rng, domain, size)
        smaller = random_learner(rng, domain, size - 1)
        p = rng.dirichlet(np.ones(domain))
        moment = left_moment = pointwise = hypothesis = 0.0
        for s in tuples(domain, size):
            rest, chance = s[1:], law(p, s)
            risk = learner[s] @ p
            own = np.mean([learner[s][z] for z in s])
            left = [smaller[s[:i] + s[i + 1 :]][s[i]] for i in range(size)]
            moment += chance * (risk - own) ** 2
            left_moment += chance * (risk - np.mean(left)) ** 2
            hypothesis += chance * (np.abs(learner[s] - smaller[rest]) @ p)
            for z in range(domain):
                moved = abs(learner[s][s[0]] - learner[(z, *rest)][s[0]])
                pointwise += chance * p[z] * moved
        # delta = 1/2: bound = sqrt(2 second moment)
        for seen, b, bound in (
            (moment, pointwise, stability_bounds.pointwise_bound),
            (left_moment, hypothesis, stability_bounds.hypothesis_bound),
        ):
            limit = bound(0.0, b, size, 0.5) ** 2 / 2
            assert limit == pytest.approx(1 / (2 * size) + 6 * b)
            assert seen <= limit + 1e-12


def test_removal_makes_the_pointwise_form_false_and_replacing_does_not():
    """Memorises sets of even size, is perfect on odd ones; m = 400, all points distinct."""
    size, delta = 400, 0.05

    def loss(trained_on, z):
        memorises = len(trained_on) % 2 == 0
        return float(memorises and z not in trained_on)

    s = frozenset(range(size))
    own = [loss(s, z) for z in range(size)]
    removed = [loss(s - {z}, z) for z in range(size)]
    replaced = [loss(s - {z} | {-1}, z) for z in range(size)]
    risk = np.mean([loss(s, z) for z in range(size, 2 * size)])
    by_removal = stability.of_one_run(own, removed)
    by_replacing = stability.of_one_run(own, replaced)
    assert (risk, by_removal.own_before, by_removal.pointwise) == (1, 0, 0)
    false = stability_bounds.pointwise_bound(0.0, by_removal.pointwise, size, delta)
    assert false < 0.2 < risk
    assert by_replacing.pointwise == 1
    assert (
        stability_bounds.pointwise_bound(0.0, by_replacing.pointwise, size, delta)
        >= risk
    )
    # the uniform form is safe: removal moves other points by 1
    assert (
        stability.of_one_run(own, removed, [1.0], np.zeros((size, 1))).hypothesis == 1
    )


# --- ridge regression: all in closed form --------------------------------------------------

DOMAIN, WIDTH, SIZE = 24, 3, 30


def ridge_problem(seed):
    """A uniform law on a few points, ||x|| <= 1, |y| <= 1; the learner; its constants."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((DOMAIN, WIDTH))
    x /= np.maximum(1, np.linalg.norm(x, axis=1, keepdims=True))
    y = np.clip(x @ [0.7, -0.5, 0.2] + 0.3 * rng.standard_normal(DOMAIN), -1, 1)
    return x, y


def ridge(x, y, chosen, strength):
    """Losses `[..., DOMAIN]` of the minimisers for sets `chosen` `[..., m]`."""
    a, b = x[chosen], y[chosen]
    m = chosen.shape[-1]
    gram = np.einsum("...ij,...ik->...jk", a, a) / m + strength * np.eye(WIDTH)
    moment = np.einsum("...ij,...i->...j", a, b) / m
    w = np.linalg.solve(gram, moment[..., None])[..., 0]
    return (w @ x.T - y) ** 2


def ridge_constants(strength, size):
    largest = 1 + 1 / math.sqrt(strength)  # |y| + |f|, as strength ||w||^2 <= mean y^2
    return (
        stability_bounds.regularised_kernel(1.0, 2 * largest, strength, size),
        largest**2,
    )


@pytest.mark.parametrize("strength", [0.1, 1.0])
def test_ridge_regression_is_as_stable_as_known(strength):
    """Every replacement of every point, on every point: never above the constant."""
    x, y = ridge_problem(0)
    chosen = np.random.default_rng(5).integers(DOMAIN, size=SIZE)
    gamma, loss_bound = ridge_constants(strength, SIZE)
    before = ridge(x, y, chosen, strength)
    replaced = np.tile(chosen, (SIZE, DOMAIN, 1))
    for i in range(SIZE):
        replaced[i, :, i] = np.arange(DOMAIN)
    after = ridge(x, y, replaced, strength)  # [i, new point, z]
    assert before.max() <= loss_bound and after.max() <= loss_bound
    found = [
        stability.of_one_run(
            before[chosen], after[np.arange(SIZE), v, chosen], before, after[:, v]
        )
        for v in range(DOMAIN)
    ]
    shown = stability.over_runs(found)
    assert 0 < shown.uniform_at_least <= gamma
    assert shown.uniform_at_least == pytest.approx(np.abs(after - before).max())
    assert shown.error.mean <= shown.hypothesis.mean <= shown.uniform_at_least
    # a constant that forgets the slope of the loss, as if it were 1, is refuted
    forgotten = stability_bounds.regularised_kernel(1.0, 1.0, strength, SIZE) / 2
    if strength == 1.0:
        assert shown.uniform_at_least > forgotten


def test_bousquet_elisseeff_lies_above_the_risk_of_ridge_regression():
    x, y = ridge_problem(1)
    strength, size, delta, runs = 1.0, 2000, 0.05, 300
    gamma, loss_bound = ridge_constants(strength, size)
    chosen = np.random.default_rng(6).integers(DOMAIN, size=(runs, size))
    losses = ridge(x, y, chosen, strength)
    risk = losses.mean(1)
    train = np.take_along_axis(losses, chosen, 1).mean(1)
    bounds = np.array(
        [
            stability_bounds.uniform_bound(t, gamma, size, delta, loss_bound)
            for t in train
        ]
    )
    assert np.mean(bounds < risk) <= delta
    assert bounds.mean() < loss_bound / 2  # it says something of this loss
    gap = (risk - train).mean()
    assert gap + 3 * (risk - train).std() / math.sqrt(runs) > 0 and gap < gamma


def test_the_identity_by_simulation_on_ridge_regression():
    x, y = ridge_problem(2)
    rng, size, runs = np.random.default_rng(7), 8, 20000
    chosen = rng.integers(DOMAIN, size=(runs, size))
    other = chosen.copy()
    other[:, 0] = rng.integers(DOMAIN, size=runs)
    before, after = ridge(x, y, chosen, 0.1), ridge(x, y, other, 0.1)
    gap = before.mean(1) - np.take_along_axis(before, chosen, 1).mean(1)
    every, first = np.arange(runs), chosen[:, 0]
    moved = after[every, first] - before[every, first]
    difference = moved - gap
    error = difference.std() / math.sqrt(runs)
    assert abs(difference.mean()) < 4 * error < 0.3 * gap.mean()


def test_forms_by_hand():
    tail = math.sqrt(math.log(20) / 200)
    assert stability_bounds.uniform_bound(0.1, 0.02, 100, 0.05) == pytest.approx(
        0.1 + 0.02 + (2 * 100 * 0.02 + 1) * tail
    )
    # by removal, beta = 0.01: the published form
    assert stability_bounds.uniform_bound(0.1, 2 * 0.01, 100, 0.05) == pytest.approx(
        0.1 + 2 * 0.01 + (4 * 100 * 0.01 + 1) * tail
    )
    assert stability_bounds.leave_one_out_bound(
        0.1, 0.01, 100, 0.05, 2.0
    ) == pytest.approx(0.1 + 0.01 + (4 * 100 * 0.01 + 2) * tail)
    assert stability_bounds.pointwise_bound(0.0, 0.01, 100, 0.1, 2.0) == pytest.approx(
        math.sqrt((4 + 12 * 2 * 100 * 0.01) / (2 * 100 * 0.1))
    )
    assert stability_bounds.sgd_convex(2.0, [0.1] * 30, 100) == pytest.approx(0.24)
    assert stability_bounds.sgd_strongly_convex(2.0, 0.5, 100) == pytest.approx(0.16)
    assert stability_bounds.sgd_non_convex(1.0, 1.0, 1.0, 81, 101) == pytest.approx(
        2 / 100 * math.sqrt(2) * 9
    )
    later = stability_bounds.feldman_vondrak_order(1e-3, 1000, 0.01)
    sharper = stability_bounds.bousquet_klochkov_zhivotovskiy_order(1e-3, 1000, 0.01)
    sampling = math.sqrt(math.log(100) / 1000)
    assert later - sampling == pytest.approx(1e-3 * math.log(1000) * math.log(1e5))
    assert sharper - sampling == pytest.approx(1e-3 * math.log(1000) * math.log(100))


def test_convex_sgd_moves_as_little_as_proved():
    """Logistic loss, ||x|| <= 1 (L = 1, smoothness 1/4), three epochs, constant steps of 2."""
    rng, size, runs, rate = np.random.default_rng(8), 20, 300, 2.0
    moved = []
    for _ in range(runs):
        x = rng.standard_normal((size + 1, 4))
        x /= np.linalg.norm(x, axis=1, keepdims=True)
        x *= rng.choice([-1, 1], size + 1)[:, None]  # y x
        orders = np.concatenate([rng.permutation(size) for _ in range(3)])
        ends = []
        for last in (0, size):  # slot 0 holds point 0, or the fresh one
            w = np.zeros(4)
            for i in orders:
                z = x[last] if i == 0 else x[i]
                w = w + rate * z / (1 + math.exp(z @ w))
            ends.append(w)
        moved.append(stability.weight_distance([ends[0]], [ends[1]]))
    known = stability_bounds.sgd_convex(1.0, [rate] * 3 * size, size)
    assert known == pytest.approx(2 * 3 * rate)
    assert max(moved) <= known
    assert np.mean(moved) > known / 20


def test_impossible_arguments_are_refused():
    for call in (
        lambda: stability.of_one_run([], []),
        lambda: stability.of_one_run([0.0], [0.0, 1.0]),
        lambda: stability.of_one_run([0.0], [0.0], [0.0, 1.0]),
        lambda: stability.of_one_run([0.0], [0.0], [0.0, 1.0], [[0.0]]),
        lambda: stability.of_one_run([0.0], [0.0], [0.0], [[0.0], [1.0]]),
        lambda: stability.over_runs([]),
        lambda: stability.flip_rate([0, 1], [0, 1, 2]),
        lambda: stability.weight_distance([np.zeros(2)], [np.zeros(3)]),
        lambda: stability_bounds.uniform_bound(0.0, 0.1, 1, 0.05),
        lambda: stability_bounds.pointwise_bound(0.0, 0.1, 10, 1.0),
        lambda: stability_bounds.sgd_non_convex(1.0, 1.0, 1.0, 10, 1),
    ):
        with pytest.raises(ValueError):
            call()
