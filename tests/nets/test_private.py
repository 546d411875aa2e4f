"""Private learning: the sum by hand, what one example can do to it, the noise, whole runs."""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from nets import losses, private, runs, training
from nets.mlp import MLP
from nets.sample import pad_sample
from nets.training import Outcome

FEATURES, HIDDEN, CLASSES = 5, 7, 3
MODEL = MLP(HIDDEN, 1, CLASSES, True)
LAYERS = [("Dense_0", "kernel"), ("Dense_0", "bias"), ("Dense_1", "kernel")]
LAYERS += [("Dense_1", "bias")]


def params_of(seed=0):
    params = MODEL.init(jax.random.key(seed), jnp.zeros((1, FEATURES)))["params"]
    return jax.tree.map(lambda leaf: 2 * leaf, params)


def data(count, seed=0):
    rng = np.random.default_rng(seed)
    inputs = rng.standard_normal((count, FEATURES)).astype(np.float32)
    inputs *= np.exp(rng.standard_normal((count, 1))).astype(np.float32)
    return inputs, rng.integers(CLASSES, size=count).astype(np.int32)


@jax.jit
def summed(clip, params, inputs, labels):
    return private.clipped_sum("softmax", clip, MODEL, params, inputs, labels)


def leaves_of(tree):
    return [np.asarray(tree[layer][name], np.float64) for layer, name in LAYERS]


def flat(tree):
    return np.concatenate([leaf.ravel() for leaf in leaves_of(tree)])


def by_hand(params, inputs, labels, clip):
    """The sum, and the norms before clipping: one example after another, in float64."""
    first, shift, second, last = leaves_of(params)
    total, norms = 0.0, []
    for x, label in zip(np.asarray(inputs, np.float64), labels, strict=True):
        before = x @ first + shift
        hidden = np.maximum(before, 0)
        logits = hidden @ second + last
        chance = np.exp(logits - logits.max())
        wrong = chance / chance.sum() - np.eye(CLASSES)[label]
        back = (second @ wrong) * (before > 0)
        parts = [np.outer(x, back), back, np.outer(hidden, wrong), wrong]
        gradient = np.concatenate([part.ravel() for part in parts])
        norms.append(np.linalg.norm(gradient))
        total = total + gradient * min(1, clip / norms[-1])
    return total, np.array(norms)


@pytest.mark.parametrize("count", [1, 64, 150])
@pytest.mark.parametrize("clip", [0.5, 1e3])
def test_the_sum_by_hand(count, clip):
    params, (inputs, labels) = params_of(), data(count)
    expected, norms = by_hand(params, inputs, labels, clip)
    assert count == 1 or ((norms < 0.5).any() and (norms > 0.5).any())
    found = flat(summed(clip, params, inputs, labels))
    np.testing.assert_allclose(
        found, expected, rtol=0, atol=1e-3 * min(clip, 5) * count
    )
    np.testing.assert_allclose(
        found, expected, rtol=0, atol=2e-3 * np.abs(expected).max()
    )
    # Shortened by what `rounding` says, and no more.
    shorter, _ = by_hand(params, inputs, labels, clip * (1 - private.rounding(count)))
    np.testing.assert_allclose(
        found, shorter, rtol=0, atol=3e-6 * np.abs(shorter).max()
    )


class Linear(nn.Module):
    """Two logits without biases."""

    @nn.compact
    def __call__(self, x):
        return nn.Dense(2, use_bias=False)(x)


def test_the_sum_over_chunks_loses_nothing():
    """Large gradients, then 280 chunks of small ones that float32 alone would round away."""
    count = 64 * 300
    sizes = np.where(np.arange(count) < 64 * 20, 1024, 5e-4).astype(np.float32)
    params = {"Dense_0": {"kernel": jnp.zeros((1, 2))}}
    found = private.clipped_sum(
        "linear", 1e6, Linear(), params, sizes[:, None], np.zeros(count, np.int32)
    )
    exact = np.sum(sizes, dtype=np.float64)
    kernel = np.asarray(found["Dense_0"]["kernel"], np.float64)
    np.testing.assert_allclose(kernel, [[-exact, exact]], rtol=2**-24)
    plain = np.float32(0)
    for chunk in sizes.reshape(-1, 64):
        plain += chunk.sum(dtype=np.float32)
    assert exact - plain > 8


def spoilt(kind):
    """150 examples of which two have no gradient, and which they are."""
    inputs, labels = data(150, 1)
    places = [3, 140]
    inputs[places] = {"huge": 1e30, "infinite": np.inf, "nan": np.nan}[kind]
    return inputs, labels, places


@pytest.mark.parametrize("kind", ["huge", "infinite", "nan"])
def test_an_example_without_a_gradient_counts_as_nothing(kind):
    inputs, labels, places = spoilt(kind)
    params = params_of()
    one = jax.jit(
        jax.grad(
            lambda p, x: losses.LOSSES["softmax"](MODEL.apply({"params": p}, x), 0)
        )
    )
    squares = jax.tree.map(lambda g: jnp.sum(g * g), one(params, inputs[3]))
    assert not np.isfinite(sum(jax.tree.leaves(squares)))
    expected, _ = by_hand(
        params, np.delete(inputs, places, 0), np.delete(labels, places),
        0.5 * (1 - private.rounding(150)),
    )  # fmt: skip
    found = flat(summed(0.5, params, inputs, labels))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


def test_one_example_moves_the_sum_by_two_clips_at_most():
    """At random, and where it is hardest: opposite gradients, longer than any clip."""
    params, (inputs, labels) = params_of(), data(130)
    rng, clip, moved = np.random.default_rng(2), 0.3, []
    before = flat(summed(clip, params, inputs, labels))
    for trial in range(120):
        other, renamed = inputs.copy(), labels.copy()
        i = int(rng.integers(130))
        scale = np.float32(10.0 ** rng.uniform(-3, 25))
        other[i] = scale * rng.standard_normal(FEATURES).astype(np.float32)
        if trial % 10 == 0:
            other[i] = [np.nan, np.inf, -np.inf, 1e38, 0][trial // 10 % 5]
        renamed[i] = rng.integers(CLASSES)
        moved.append(
            np.linalg.norm(flat(summed(clip, params, other, renamed)) - before)
        )
    assert 0.5 * clip < max(moved) <= 2 * clip
    # A class as good as certain and wrong, then another: gradients in opposite directions.
    opposite = jax.tree.map(jnp.zeros_like, params)
    opposite["Dense_0"]["bias"] = jnp.full(HIDDEN, 50.0)
    other, renamed = inputs.copy(), labels.copy()
    other[64] = 0
    ends = []
    for label in (0, 1):
        renamed[64] = label
        ends.append(flat(summed(clip, opposite, other, renamed)))
    apart = np.linalg.norm(ends[1] - ends[0])
    # Gradients of label 0 and 1 stand at cos = -1/2: sqrt(3) clips.
    assert apart == pytest.approx(np.sqrt(3) * clip, rel=1e-3) and apart <= 2 * clip

    start = {"Dense_0": {"kernel": jnp.zeros((FEATURES, 2))}}
    both = [
        private.clipped_sum(
            "softmax", clip, Linear(), start, 10 * inputs, np.where(swap, 1 - labels % 2, labels % 2)
        )["Dense_0"]["kernel"]
        for swap in (np.zeros(130, bool), np.arange(130) == 64)
    ]  # fmt: skip
    apart = np.linalg.norm(np.subtract(*(np.asarray(b, np.float64) for b in both)))
    assert 1.99 * clip < apart <= 2 * clip


def test_the_gradient_is_the_sum_and_noise_over_the_batch():
    """400 steps from one point. Each check fails a sound engine with probability 1e-4."""
    params, (inputs, labels) = params_of(), data(20)
    clip, sigma, draws, level = 0.5, 1.7, 400, 1e-4
    plan = private.plan(MODEL, "softmax", 1.0, 20, 1, sigma, clip)

    def step(key):
        gradient = jax.grad(plan.batch_objective)(
            params, inputs, labels, jnp.int32(20), key
        )
        return [gradient[layer][name].ravel() for layer, name in LAYERS]

    keys = jax.random.split(jax.random.key(3), draws)
    leaves = [np.asarray(leaf, np.float64) for leaf in jax.jit(jax.vmap(step))(keys)]
    total = flat(summed(clip, params, inputs, labels))
    noise = (np.concatenate(leaves, 1) * 20 - total) / (sigma * clip)
    count = noise.size
    # float32's rounding of the sum is common to all draws: far below the mean's deviation.
    assert abs(noise.mean()) * np.sqrt(count) < stats.norm.isf(level / 2)
    square = stats.chi2(count)
    assert square.ppf(level / 2) < (noise**2).sum() < square.isf(level / 2)
    assert stats.kstest(noise.ravel(), "norm").pvalue > level
    worst = np.abs(noise.mean(0)).max() * np.sqrt(draws)
    assert worst < stats.norm.isf(level / 2 / noise.shape[1])
    # All pairs of coordinates, within leaves and between them.
    seen = np.corrcoef(noise.T)[np.triu_indices(noise.shape[1], 1)]
    assert np.abs(np.arctanh(seen)).max() * np.sqrt(draws - 3) < stats.norm.isf(
        level / 2 / seen.size
    )
    sigma *= 0.97  # a wrong deviation would be seen
    assert (noise**2).sum() * (1.7 / sigma) ** 2 > square.isf(level / 2)


def test_noise_reaches_beyond_what_one_float32_normal_can():
    one = jax.random.normal(jax.random.key(0), (4, 10**6))
    four = private._normal(jax.random.key(0), (10**6,))
    assert len(np.unique(four)) > len(np.unique(one[0]))
    assert stats.kstest(np.asarray(four), "norm").pvalue > 1e-4


def run_of(plan, inputs, labels, seed=0):
    """The last state of a run, and its checks."""
    params = training.init_params(plan, jax.random.key(seed), inputs.shape[1])
    state = training.init_state(plan, params, jax.random.key(seed + 1))
    layout = runs.make_layout(jax.devices()[:1])
    sample, checks = pad_sample(inputs, labels, 0), []
    for tick in runs.train_many(plan, ["job"], lambda _: (state, sample), layout):
        checks.append(tick.checks["job"])
    return tick.finished["job"].state, np.concatenate(checks)


@pytest.fixture(scope="module")
def plan():
    return private.plan(MODEL, "softmax", 0.5, 32, 12, 0.1, momentum=0.9)


def easy(count=96):
    rng = np.random.default_rng(4)
    labels = rng.integers(CLASSES, size=count).astype(np.int32)
    noise = 0.01 * rng.standard_normal((count, FEATURES))
    return (3 * np.eye(CLASSES, FEATURES)[labels] + noise).astype(np.float32), labels


@pytest.mark.slow
def test_a_run_ends_when_it_is_over_whatever_the_data(plan):
    inputs, labels = easy()
    random = np.random.default_rng(5).permutation(labels)
    ruined, huge = inputs.copy(), inputs.copy()
    ruined[7], huge[7] = np.nan, 1e30
    errors = {}
    for name, x, y in (
        ("easy", inputs, labels), ("random", inputs, random),
        ("ruined", ruined, labels), ("huge", huge, labels),
    ):  # fmt: skip
        state, checks = run_of(plan, x, y)
        assert state["outcome"] == Outcome.EXHAUSTED and state["epoch"] == 12
        assert len(checks) == 12 and np.isfinite(checks).all()
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state["params"]))
        errors[name] = checks[-1, 1]
    assert errors["easy"] == 0 and errors["random"] > 0.3
    assert errors["ruined"] == pytest.approx(1 / 96)
    # What would have told of the example: the same weights, judged without `Bounded`.
    plain = dataclasses.replace(plan, model=MODEL)
    params, one = state["params"], jnp.int32(1)
    for x, y, told in ((inputs, labels, False), (ruined, labels, True)):
        for judged, ends in ((plan, False), (plain, told)):
            done = training.check(judged, params, pad_sample(x, y, 0), one)
            outcome = training.judge(judged, done, one)
            assert outcome == (Outcome.DIVERGED if ends else Outcome.RUNNING)


def test_an_example_is_in_one_step_an_epoch(plan):
    """A changed example of the last batch leaves the steps before it as they were."""
    inputs, labels = easy()
    other = inputs.copy()
    other[70] = -5
    samples = [pad_sample(x, labels, 0) for x in (inputs, other)]
    params = training.init_params(plan, jax.random.key(0), FEATURES)
    program = jax.jit(training.train_segment, static_argnums=0)
    states = [training.init_state(plan, params, jax.random.key(1)) for _ in samples]
    for same in (True, False):  # 2 steps of 3, then the third
        states = [
            program(plan, state, sample, jnp.int32(2))[0]
            for state, sample in zip(states, samples, strict=True)
        ]
        first, second = (flat(state.params) for state in states)
        assert np.array_equal(first, second) == same


def test_steps_have_their_own_noise():
    """Without gradients to speak of, moves of the weights are the noise of the steps."""
    quiet = private.plan(MODEL, "softmax", 1.0, 32, 3, 1.0, clip=1.0)
    inputs, labels = easy()
    objective = private.ClippedNoisy("softmax", 1e-6, 1e6)
    quiet = dataclasses.replace(quiet, objective=objective)
    program = jax.jit(training.train_segment, static_argnums=0)
    params = training.init_params(quiet, jax.random.key(0), FEATURES)
    state = training.init_state(quiet, params, jax.random.key(1))
    sample, moves = pad_sample(inputs, labels, 0), []
    for _ in range(9):
        before = flat(state.params)
        state, _, _ = program(quiet, state, sample, jnp.int32(1))
        moves.append(32 * (flat(state.params) - before))
    seen = np.corrcoef(moves)[np.triu_indices(9, 1)]
    count = len(moves[0])
    limit = stats.norm.isf(1e-4 / 2 / len(seen)) / np.sqrt(count - 3)
    assert np.abs(np.arctanh(seen)).max() < limit
    square = stats.chi2(9 * count)
    assert square.ppf(5e-5) < np.sum(np.square(moves)) < square.isf(5e-5)


def test_impossible_plans_are_refused():
    for wrong in (
        {"noise": 0.0}, {"noise": -1.0}, {"noise": float("nan")}, {"noise": float("inf")},
        {"clip": 0.0}, {"clip": -1.0}, {"clip": 1e-9}, {"clip": float("nan")}, {"epochs": 0},
    ):  # fmt: skip
        settings = {"epochs": 1, "noise": 1.0} | wrong
        with pytest.raises(ValueError):
            private.plan(MODEL, "softmax", 0.1, 8, **settings)


def test_more_examples_than_a_float32_sum_can_hold_are_refused():
    """`rounding` would take the clip away; what is left must be most of it."""
    assert private.rounding(60000) < 0.01
    count = 10**6
    assert private.rounding(count) > 0.5
    with pytest.raises(ValueError, match="1000000 examples in one float32 sum"):
        private.clipped_sum(
            "softmax", 1.0, None, {}, np.zeros((count, 1)), np.zeros(count, int)
        )
