"""Ascent and noise in the weights, against ascent by hand and explicit draws."""

import dataclasses
import math

import jax
import numpy as np
import pytest

import bounds
from bounds.families import sharpness
from bounds.measures.ascent import LARGEST, SMALLEST, TOLERANCE
from bounds.measures.climb import STEP, STEPS
from bounds.measures.inputs import Task
from bounds.measures.loss import kernels_of, slope_at
from bounds.measures.noise_level import NoiseLevel
from bounds.measures.sharpness import MOST_DRAWS, Sharpness
from nets.cnn import CNN
from nets.sample import pad_sample
from tests import oracles
from tests.bounds.cases import layer_norms, measured, random_case
from tests.oracles import sharpness as oracle

RHO = 0.05  # the radius, or standard deviation, that the measures are defined with
GROUPS = ("ascent", "ascent_sums", "sharpness")
CASES = {
    "biases": random_case(0, [4, 7, 3], biases=True),
    "deep": random_case(1, [5, 6, 6, 2], m=30),
}


def biases_of(case):
    return case.biases or [np.zeros(w.shape[1]) for w in case.weights]


def slope(weights, biases, x, y):
    """(mean loss, mistakes, gradient in the kernels) of all examples at once."""
    inputs, a = [], x
    for place, (w, b) in enumerate(zip(weights, biases, strict=True)):
        inputs.append(np.maximum(a, 0) if place else a)
        a = inputs[-1] @ w + b
    is_own = np.arange(a.shape[1]) == y[:, None]
    margins = a[is_own] - np.max(np.where(is_own, -np.inf, a), axis=1)
    log_shares = a - np.max(a, axis=1, keepdims=True)
    log_shares -= np.log(np.sum(np.exp(log_shares), axis=1, keepdims=True))
    gradient, back = [], (np.exp(log_shares) - is_own) / len(y)
    for w, given in zip(reversed(weights), reversed(inputs), strict=True):
        gradient.insert(0, given.T @ back)
        back = (back @ w.T) * (given > 0)
    return -np.mean(log_shares[is_own]), np.sum(~(margins > 0)), gradient


def ascend(case, move, steps=STEPS):
    """The largest loss and the most mistakes on the way of so many steps by hand."""
    biases, w = biases_of(case), oracle.flat(case.weights)
    u, losses, wrong = np.zeros(len(w)), [], []
    for _ in range(steps + 1):
        weights = oracle.shaped(w + u, case.weights)
        loss, mistakes, gradient = slope(weights, biases, case.x, case.y)
        losses.append(loss)
        wrong.append(mistakes)
        u = move(u, oracle.flat(gradient))
    return max(losses) - losses[0], max(wrong) - wrong[0]


def in_box(box):
    return lambda u, g: np.clip(u + STEP * box * np.sign(g), -box, box)


def in_ball(u, g):
    u = u + STEP * RHO * g / np.linalg.norm(g)
    return u * min(1, RHO / np.linalg.norm(u))


@pytest.fixture(
    scope="module", params=["biases", pytest.param("deep", marks=pytest.mark.slow)]
)
def measured_case(request):
    case = CASES[request.param]
    found, missing = measured(case.network(), GROUPS)
    assert not missing
    return case, found


@pytest.mark.parametrize("name", CASES)
def test_the_slope_by_hand_is_that_of_plain_loops(name):
    case = CASES[name]
    given = case.weights, biases_of(case), case.x, case.y
    loss, wrong, gradient = slope(*given)
    assert loss == pytest.approx(oracle.cross_entropy(*given), rel=1e-12)
    assert wrong == sum(1 for v in case.margins if not v > 0) > 0
    np.testing.assert_allclose(
        oracle.flat(gradient), oracle.flat(oracle.gradient(*given)[0]), atol=1e-13
    )


@pytest.mark.parametrize("large_first", [False, True])
def test_the_slope_over_blocks_of_unequal_margins(large_first):
    """Its sums are rescaled whenever a block comes that weighs more."""
    case = random_case(7, [3, 6, 3], m=300, biases=True)
    scales = np.where(np.arange(300) < 128, 10.0, 1.0)
    scales = scales if large_first else scales[::-1]
    case = dataclasses.replace(case, x=case.x * scales[:, None])
    y = np.array([int(np.argmax(z)) for z in case.logits])
    margins = np.array(
        [oracles.margin(*pair) for pair in zip(case.logits, y, strict=True)]
    )
    kept = margins > 0.3 * scales  # no block has an example that weighs as much as any
    case = dataclasses.replace(case, x=case.x[kept], y=y[kept])
    net = case.network()
    found = jax.jit(slope_at)(net, kernels_of(net.params))
    given = case.weights, case.biases, case.x, case.y
    assert found.loss == pytest.approx(oracle.cross_entropy(*given), rel=1e-4)
    assert found.wrong == 0
    gradient = oracle.flat(oracle.gradient(*given)[0])
    ours = oracle.flat([found.direction[f"{n}/kernel"] for n in range(2)])
    np.testing.assert_allclose(
        ours / np.linalg.norm(ours),
        gradient / np.linalg.norm(gradient),
        atol=1e-5,
    )


@pytest.mark.parametrize("kind", ["alpha", "magnitude_alpha"])
def test_ascent_does_harm_just_above_the_radius_found(measured_case, kind):
    case, found = measured_case
    radius = float(getattr(found["ascent"], kind))
    assert not getattr(found["ascent"], f"{kind}_is_capped")
    w = oracle.flat(case.weights)
    shape = np.ones(len(w)) if kind == "alpha" else np.abs(w) + 1e-3
    assert ascend(case, in_box(radius * shape))[1] <= 0.1 * case.m
    assert ascend(case, in_box(radius * TOLERANCE * shape))[1] > 0.1 * case.m


def test_worst_cases(measured_case):
    case, found = measured_case
    box = RHO * np.abs(oracle.flat(case.weights))
    ours = found["sharpness"]
    for name, move in (("worst", in_ball), ("adaptive_worst", in_box(box))):
        steps, value = int(getattr(ours, f"{name}_steps")), getattr(ours, name)
        assert not getattr(ours, f"{name}_is_capped")
        assert steps in [STEPS * 2**k for k in range(1, 6)]
        assert value == pytest.approx(ascend(case, move, steps)[0], rel=1e-3)
        # It has settled, and had not before.
        assert ascend(case, move, steps // 2)[0] * 1.02 >= value * (1 - 1e-3)
        if steps > 2 * STEPS:
            assert ascend(case, move, steps // 4)[0] * 1.02 < ascend(
                case, move, steps // 2
            )[0] * (1 + 1e-3)
    given = case.weights, biases_of(case), case.x, case.y, RHO
    for value, norm, adaptive in (
        (ours.worst, "l2", False),
        (ours.adaptive_worst, "linf", True),
    ):
        rng = np.random.default_rng(0)
        tried = oracle.worst_sharpness(*given, rng, 30, norm=norm, adaptive=adaptive)
        assert value >= 0.99 * tried


def test_average_cases(measured_case):
    case, found = measured_case
    ours = found["sharpness"]
    given = case.weights, biases_of(case), case.x, case.y, RHO
    for name, adaptive in (("average", False), ("adaptive_average", True)):
        rng = np.random.default_rng(0)
        mean, error = oracle.average_sharpness(*given, rng, 200, adaptive=adaptive)
        own = float(getattr(ours, f"{name}_standard_error"))
        # The deviation of one draw, by ours and by 200.
        draws = int(ours.draws)
        spread = 4 * math.hypot(1 / math.sqrt(2 * draws), 1 / math.sqrt(400))
        assert abs(own * math.sqrt(draws) / (error * math.sqrt(200)) - 1) < spread
        assert own <= 0.05 * abs(getattr(ours, name)) or draws == MOST_DRAWS
        assert abs(getattr(ours, name) - mean) < 4 * math.hypot(own, error)


@pytest.mark.parametrize(
    "widths",
    [
        [5, 6, 6, 2],
        pytest.param([4, 20, 3], marks=pytest.mark.slow),
        pytest.param([8, 5, 5, 5, 4], marks=pytest.mark.slow),
    ],
)
def test_the_worst_is_hardly_above_what_the_search_settles_for(widths):
    """Where 20 steps found half of it; on networks that have learned their labels."""
    case = random_case(11, widths, m=24)
    y = np.array([int(np.argmax(z)) for z in case.logits])
    case = dataclasses.replace(case, y=y)
    found, _ = measured(case.network(), ("sharpness",))
    ours = found["sharpness"]
    box = RHO * np.abs(oracle.flat(case.weights))
    for name, move in (("worst", in_ball), ("adaptive_worst", in_box(box))):
        long = ascend(case, move, 400)[0]
        assert getattr(ours, name) >= 0.97 * long, (name, widths)


def test_measures_of_radii(measured_case):
    case, found = measured_case
    w, z = oracle.flat(case.weights), oracle.flat(case.initial)
    alpha, magnitude = (
        float(found["ascent"].alpha),
        float(found["ascent"].magnitude_alpha),
    )
    moved = [a - b for a, b in zip(case.weights, case.initial, strict=True)]
    sigma = 0.3
    noise = NoiseLevel(np.float64(sigma), *(np.float64(0.0),) * 4, np.bool_(False))
    given = {
        "task": Task(np.int32(case.m), np.int32(case.classes), np.float64(1.0)),
        "architecture": measured(case.network(), ("architecture",))[0]["architecture"],
        "kernels": layer_norms(case.weights),
        "kernels_from_init": layer_norms(moved),
        "noise": noise,
        **found,
    }
    m = case.m
    expected = {
        "sharpness_init": oracle.sharpness_init(w, z, m, alpha, sigma),
        "sharpness_orig": oracle.sharpness_orig(w, m, alpha, sigma),
        "sharpness_flatness": oracle.sharpness_flatness(m, alpha),
        "sharpness_mag_init": oracle.sharpness_mag_init(
            w, z, m, magnitude, magnitude, 0.05
        ),
        "sharpness_mag_orig": oracle.sharpness_mag_orig(
            w, z, m, magnitude, magnitude, 0.05
        ),
        "sharpness_mag_flatness": oracle.sharpness_mag_flatness(m, magnitude),
    }
    stacked = jax.tree.map(lambda leaf: np.asarray(leaf)[None], given)
    values = bounds.evaluate(stacked, list(expected), margin=1.0)
    for name, value in expected.items():
        assert values[name].value[0] == pytest.approx(value, rel=1e-9), name
        assert values[name].log_complexity[0] == pytest.approx(math.log(value))


def test_increases_keep_their_sign():
    fall = sharpness.average_sharpness(
        Sharpness(
            *(np.float64(v) for v in (-0.5, 0, 2, 0, 0, np.inf)),
            **dict.fromkeys(
                ("examples", "draws", "worst_steps", "adaptive_worst_steps"),
                np.int32(8),
            ),
            **dict.fromkeys(
                ("worst_is_capped", "adaptive_worst_is_capped"), np.bool_(False)
            ),
        )
    )
    assert fall.value == -0.5 and fall.log_complexity == -np.inf  # it has none


def scaled(case, factor):
    """The case with its last layer scaled, no unit dead, and every label right.

    Of the same shapes, so that one program serves.
    """
    biases = [np.abs(case.biases[0]) + 8, 0 * case.biases[1]]
    weights = [case.weights[0], factor * case.weights[1]]
    found = dataclasses.replace(case, weights=weights, biases=biases)
    y = np.array([int(np.argmax(z)) for z in found.logits])
    return dataclasses.replace(found, y=y)


def test_a_gradient_that_underflows_is_a_direction_still():
    case = scaled(CASES["biases"], 1e6)
    gradient = oracle.gradient(case.weights, case.biases, case.x, case.y)
    assert not oracle.flat(gradient[0]).any()  # in float64 even
    found, _ = measured(case.network(), GROUPS)
    assert not found["ascent"].magnitude_alpha_is_capped
    assert found["ascent"].magnitude_alpha < 1


def test_ends_of_the_search():
    """Weights that nothing moves bear every radius; what is no number bears none."""
    case = CASES["biases"]
    weights = [1e8 * w for w in case.weights]
    net = scaled(dataclasses.replace(case, weights=weights), 1.0).network()
    found, _ = measured(net, GROUPS)
    assert found["ascent"].alpha_is_capped
    assert found["ascent"].alpha * TOLERANCE == pytest.approx(LARGEST)
    no_number = net.replace(params=jax.tree.map(lambda w: w * np.nan, net.params))
    found, _ = measured(no_number, GROUPS)
    assert found["ascent"].alpha == SMALLEST and found["ascent"].alpha_is_capped
    assert found["sharpness"].worst == found["sharpness"].average == np.inf


def test_what_needs_the_initial_weights_says_so():
    missing = {}

    def measure(net):
        found, reasons = bounds.measure(net, ("ascent", "ascent_sums"))
        missing.update(reasons)
        return found

    net = CASES["biases"].network().replace(init=None)
    assert set(jax.eval_shape(measure, net)) == {"ascent"}
    assert "initial" in missing["ascent_sums"]


def test_padding_lanes_and_precision_change_nothing():
    cases = [CASES["biases"], random_case(5, [4, 7, 3], biases=True)]
    nets = [case.network() for case in cases]
    alone = [measured(net, GROUPS)[0] for net in nets]
    spoiled = nets[0].sample.replace(
        inputs=nets[0].sample.inputs.at[cases[0].m :].set(1e6)
    )
    found, _ = measured(nets[0].replace(sample=spoiled), GROUPS)
    jax.tree.map(np.testing.assert_array_equal, found, alone[0])
    # In float32 throughout, and several networks at once.
    program = jax.jit(
        jax.vmap(lambda net: bounds.measure(net, GROUPS)[0]),
        compiler_options={"xla_backend_optimization_level": 0},
    )
    lanes = program(jax.tree.map(lambda *leaves: np.stack(leaves), *nets))
    for lane, expected in enumerate(alone):
        own = jax.tree.map(lambda leaf, lane=lane: leaf[lane], lanes)
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-3), own, expected
        )


@pytest.mark.slow
def test_a_convolutional_network_is_climbed_as_well():
    model = CNN((6, 5, 1), 3, 1, 3, True)
    init, params = (
        model.init(jax.random.key(i), np.zeros((1, 30)))["params"] for i in (0, 1)
    )
    rng = np.random.default_rng(0)
    x = rng.standard_normal((40, 30)).astype(np.float32)
    y = np.argmax(model.apply({"params": params}, x), axis=1)
    net = bounds.Network(model, params, pad_sample(x, y, 0), init)
    found, _ = measured(net, GROUPS)
    assert not found["ascent"].alpha_is_capped
    assert 0 < found["ascent"].alpha < found["ascent"].magnitude_alpha
    assert found["sharpness"].worst > 0


def test_what_an_estimate_rests_on_goes_with_it(measured_case):
    case, found = measured_case
    stacked = jax.tree.map(lambda leaf: np.asarray(leaf)[None], found)
    names = ["average_sharpness", "worst_sharpness"]
    average, worst = bounds.evaluate(stacked, names, margin=1.0).values()
    assert average.estimate.examples[0] == worst.estimate.examples[0] == case.m
    assert average.estimate.draws[0] == found["sharpness"].draws
    error = found["sharpness"].average_standard_error
    assert average.estimate.standard_error[0] == error
    assert worst.estimate.steps[0] == found["sharpness"].worst_steps
    assert worst.estimate.is_at_least[0] == 0 and np.isnan(worst.estimate.draws[0])
