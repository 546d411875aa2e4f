"""Hidden margins, clusters and mixtures, against numpy and loops."""

import jax
import numpy as np
import pytest

import bounds
from bounds.families import representation
from bounds.measures.representation import clusters, hidden_margins, mixup
from bounds.network import Unavailable
from nets.linear import Linear
from nets.sample import pad_sample
from tests import oracles
from tests.bounds.cases import measured, random_case
from tests.bounds.test_measuring import convolutional_case

GROUPS = ("hidden_margins", "clusters", "mixup")
CASES = {
    "biases": random_case(0, [4, 7, 3], m=60, biases=True),
    "deep": random_case(1, [5, 6, 5, 2], m=41),
    "more than are looked at": random_case(2, [3, 5, 4], m=1300),
}


@pytest.fixture(scope="module", params=CASES)
def measured_case(request):
    case = CASES[request.param]
    return case, measured(case.network(), GROUPS)[0]


def biases_of(case):
    return case.biases or [np.zeros(w.shape[1]) for w in case.weights]


def layers_of(case, x):
    """What arrives at every layer, and the logits."""
    arriving, a = [], np.asarray(x, float)
    for index, (w, b) in enumerate(zip(case.weights, biases_of(case), strict=True)):
        a = np.maximum(a, 0) if index else a
        arriving.append(a)
        a = a @ w + b
    return arriving, a


def normalised_margins(case):
    """`[L, n]`: leads over the norms of their gradients, each by one product of matrices.

    Of the n examples that are classified correctly; variances are of all that are looked at.
    """
    x, y = case.x[:1024], case.y[:1024]
    depth = len(case.weights)
    found, is_right = np.zeros((depth, len(x))), np.zeros(len(x), bool)
    every = []
    for row, (one, label) in enumerate(zip(x, y, strict=True)):
        arriving, logits = layers_of(case, one)
        every.append(arriving)
        others = [k for k in range(len(logits)) if k != label]
        rival = max(others, key=lambda k: logits[k])
        is_right[row] = logits[label] > logits[rival]
        back = np.zeros(len(logits))
        back[label], back[rival] = 1.0, -1.0
        for layer in reversed(range(depth)):
            back = case.weights[layer] @ back
            lead, steepness = logits[label] - logits[rival], np.linalg.norm(back)
            found[layer, row] = lead / steepness if steepness else np.sign(lead) * 1e30
            if layer:
                back = np.where(arriving[layer] > 0, back, 0.0)
    for layer in range(depth):
        points = np.stack([arriving[layer] for arriving in every])
        found[layer] /= np.sqrt(np.sum(np.var(points, axis=0)))
    return found[:, is_right]


def test_hidden_margins(measured_case):
    case, found = measured_case
    ours = found["hidden_margins"].five_numbers
    assert ours.shape == (len(case.weights), 5)
    for five, values in zip(ours, normalised_margins(case), strict=True):
        low, median, high = np.percentile(values, [25, 50, 75])
        reach = 1.5 * (high - low)
        lowest = min(v for v in values if v >= low - reach)
        highest = max(v for v in values if v <= high + reach)
        expected = [lowest, low, median, high, highest]
        np.testing.assert_allclose(five, expected, rtol=2e-4, atol=1e-5)
    value = representation.hidden_margin(found["hidden_margins"]).value
    assert value == pytest.approx(-np.mean(ours[:, 2]), rel=1e-6)


def test_the_runner_up_is_one_of_several_that_are_equal():
    """At a = 0 logits are 2, 0, 0, and either of the others is sqrt(2) away; the mean of both is 2 away."""
    weights, bias = (
        np.array([[0.0, -1.0, -1.0], [0.0, 1.0, -1.0]]),
        np.array([2.0, 0, 0]),
    )
    x = np.array([[0.0, 0.0], [0.0, 0.0], [0.0, 0.0], [0.0, 1.0]], np.float32)
    net = bounds.from_arrays([weights], x, np.zeros(4, int), biases=[bias])
    found, _ = measured(net, ("hidden_margins",))
    ((_, _, median, _, _),) = found["hidden_margins"].five_numbers
    spread = np.sqrt(np.var([0, 0, 0, 1]))
    assert median == pytest.approx(np.sqrt(2) / spread, rel=1e-6)


def test_no_example_that_is_right_has_no_margin():
    net = bounds.from_arrays([np.eye(2)], np.eye(2, dtype=np.float32), np.array([1, 0]))
    found, _ = measured(net, ("hidden_margins",))
    assert np.all(np.isnan(found["hidden_margins"].five_numbers))


def davies_bouldin(points, labels):
    present = sorted(set(labels))
    centre, spread = {}, {}
    for c in present:
        own = [p for p, label in zip(points, labels, strict=True) if label == c]
        centre[c] = sum(own) / len(own)
        spread[c] = sum(np.linalg.norm(p - centre[c]) for p in own) / len(own)
    total = 0.0
    for c in present:
        total += max(
            (spread[c] + spread[d]) / np.linalg.norm(centre[c] - centre[d])
            for d in present
            if d != c
        )
    return total / len(present)


def test_clusters(measured_case):
    case, found = measured_case
    points = [layers_of(case, one)[0][1] for one in case.x[:1024]]
    expected = davies_bouldin(points, case.y[:1024])
    assert found["clusters"].davies_bouldin == pytest.approx(expected, rel=1e-4)


def test_mixup(measured_case):
    case, found = measured_case
    x, y = case.x[:1024], case.y[:1024]
    rows = {c: [i for i in range(len(y)) if y[i] == c] for c in set(y)}
    wrong = 0
    for c, own in rows.items():
        for first, second in zip(own, own[1:] + own[:1], strict=True):
            mixed = (x[first] + x[second]) / 2
            logits = oracles.forward(case.weights, biases_of(case), mixed)
            wrong += not oracles.margin(logits, c) > 0
    assert 0 < wrong < len(y)
    assert found["mixup"].error == pytest.approx(wrong / len(y))


def test_classes_that_are_missing_or_alone():
    case = random_case(4, [4, 7, 3], m=60)
    net = case.network()
    ones = net.replace(sample=pad_sample(case.x.astype(np.float32), 0 * case.y, 0))
    found, _ = measured(ones, GROUPS)
    assert found["clusters"].davies_bouldin == np.inf
    y = np.array([0] * 59 + [2])
    alone = net.replace(sample=pad_sample(case.x.astype(np.float32), y, 0))
    found, _ = measured(alone, GROUPS)
    points = [layers_of(case, one)[0][1] for one in case.x]
    expected = davies_bouldin(points, y)
    assert found["clusters"].davies_bouldin == pytest.approx(expected, rel=1e-4)


def test_padding_does_not_count_and_lanes_are_alike(measured_case):
    case, alone = measured_case
    net = case.network()
    spoiled = net.sample.replace(inputs=net.sample.inputs.at[case.m :].set(1e6))
    found, _ = measured(net.replace(sample=spoiled), GROUPS)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), found, alone)
    if case.m > 100:
        return
    program = jax.jit(
        jax.vmap(lambda net: bounds.measure(net, GROUPS)[0]),
        compiler_options={"xla_backend_optimization_level": 0},
    )
    lanes = program(jax.tree.map(lambda leaf: np.stack([leaf, leaf]), net))
    for lane in (0, 1):
        own = jax.tree.map(lambda leaf, lane=lane: leaf[lane], lanes)
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5),
            own,
            alone,
        )


@pytest.mark.slow
@pytest.mark.parametrize("biases", [False, True])
def test_a_convolutional_network_is_measured_as_the_matrices_it_is(biases):
    network, case = convolutional_case(biases)
    found, _ = measured(network, GROUPS)
    expected, _ = measured(case.network(), GROUPS)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5),
        found,
        expected,
    )


def test_a_network_that_is_no_number_has_no_margin():
    net = random_case(4, [4, 7, 3], m=60).network()
    net = net.replace(params=jax.tree.map(lambda w: w * np.nan, net.params))
    found, _ = measured(net, GROUPS)
    assert np.all(np.isnan(found["hidden_margins"].five_numbers))
    assert found["clusters"].davies_bouldin == np.inf
    assert found["mixup"].error == 1


def test_an_example_whose_outputs_overflow_has_no_margin():
    """The others are x away from 0, over the spread of all; an infinite lead is no distance."""
    x = np.array([1, 2, 3, 4, 1e10], np.float32)[:, None]
    net = bounds.from_arrays([np.array([[1e30, -1e30]])], x, np.zeros(5, int))
    found, _ = measured(net, ("hidden_margins",))
    spread = np.std(x.astype(float))
    np.testing.assert_allclose(
        found["hidden_margins"].five_numbers * spread,
        [[1, 1.75, 2.5, 3.25, 4]],
        rtol=1e-5,
    )


def test_a_layer_that_an_overflow_reaches_has_no_margins():
    """Its entries have no variance; the layer before it has, whose inputs are numbers."""
    x = np.array([1, 2, 3, 4, 1e10], np.float32)[:, None]
    weights = [np.array([[1e30]]), np.array([[1e-25, -1e-25]])]
    net = bounds.from_arrays(weights, x, np.zeros(5, int))
    found, _ = measured(net, ("hidden_margins",))
    first, second = found["hidden_margins"].five_numbers
    np.testing.assert_allclose(
        first * np.std(x.astype(float)), [1, 1.75, 2.5, 3.25, 4], rtol=1e-5
    )
    assert np.all(np.isnan(second))


def test_what_cannot_be_had_says_so():
    one_layer = random_case(0, [4, 3]).network()
    with pytest.raises(Unavailable, match="no hidden layer"):
        clusters(one_layer)
    model = Linear((3, 2))
    x = (np.ones((20, 3), np.float32), np.ones((20, 2), np.float32))
    sample = pad_sample(x, np.arange(20) % 2, 0)
    params = model.init(jax.random.key(0), jax.tree.map(lambda a: a[:1], sample.inputs))
    linear = bounds.Network(model, params["params"], sample)
    with pytest.raises(Unavailable, match="weights in parts"):
        hidden_margins(linear)
    assert jax.jit(mixup)(linear).error == 1  # weights of 0 lead nowhere
    with pytest.raises(Unavailable, match="inputs themselves"):
        mixup(linear.replace(model=Linear((3, 2), lambda one: one)))
