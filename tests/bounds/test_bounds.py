"""Every bound of this catalogue against a float64 oracle, and the laws it must obey."""

import dataclasses

import jax
import numpy as np
import pytest

import bounds
from bounds.evaluate import AT_ONCE
from bounds.measures.examples import Margins
from bounds.measures.inputs import Task
from bounds.measures.layers import LayerNorms
from bounds.spec import Convention
from experiments.bounds_vs_samples.settings import (
    PLOTTED,  # all of the form numerator / (gamma sqrt m)
)
from tests import oracles
from tests.bounds.cases import matrices, measured, network

RTOL = 1e-5
GROUPS = tuple(bounds.needs(PLOTTED))


def evaluate(net, name, margin=0.7, convention=Convention(), measured_groups=GROUPS):
    groups, missing = measured(net, measured_groups)
    stacked = jax.tree.map(lambda leaf: np.asarray(leaf)[None], groups)
    value = bounds.evaluate(
        stacked, [name], margin=margin, convention=convention, missing=missing
    )[name]
    return jax.tree.map(lambda leaf: float(leaf[0]), value)


def quantities(net):
    m = int(net.sample.size)
    w, z, o = (matrices(p) for p in (net.params, net.init, net.other))
    b = max(np.linalg.norm(x.astype(float)) for x in np.asarray(net.sample.inputs)[:m])
    distances = {
        "from_init": [a - c for a, c in zip(w, z, strict=True)],
        "from_other": [a - c for a, c in zip(w, o, strict=True)],
        "from_origin": w,
    }
    return w, z, distances, b, m


@pytest.mark.parametrize("depth", [1, pytest.param(4, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("name", "reference"),
    [
        ("neyshabur_2018", "from_init"),
        ("neyshabur_2018_from_origin", "from_origin"),
        ("neyshabur_2018_between_draws", "from_other"),
    ],
)
def test_neyshabur_2018(name, reference, depth):
    net = network(depth)
    w, _, distances, b, m = quantities(net)
    for factor, d in (("matrices", depth + 1), ("hidden", depth)):
        for norm, included in (("included", b), ("left_out", 1.0)):
            found = evaluate(net, name, convention=Convention(factor, norm))
            expected = oracles.excess_neyshabur_2018(
                w, distances[reference], included, 0.7, m, d, h=12
            )
            assert found.excess == pytest.approx(expected, rel=RTOL)
            assert found.log_complexity == pytest.approx(np.log(expected), abs=RTOL)


@pytest.mark.parametrize("depth", [1, pytest.param(4, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("name", "reference"),
    [("bartlett_2017", "from_init"), ("bartlett_2017_between_draws", "from_other")],
)
def test_bartlett_2017(name, reference, depth):
    net = network(depth)
    w, _, distances, b, m = quantities(net)
    for norm_21 in ("bartlett", "transposed"):
        found = evaluate(net, name, convention=Convention(norm_21=norm_21))
        expected = oracles.excess_bartlett_2017(
            w, distances[reference], b, 0.7, m, norm_21 == "transposed"
        )
        assert found.excess == pytest.approx(expected, rel=RTOL)


def test_the_margin_that_is_not_given_is_the_median_of_the_training_margins():
    """Of the examples there are, not of the rows behind them."""
    net = network(depth=1)
    w, _, distances, b, m = quantities(net)
    x = np.asarray(net.sample.inputs, float)[:m]
    logits = np.maximum(x @ w[0], 0) @ w[1]
    labels = net.sample.labels.at[:m].set(logits.argmax(axis=1))
    net = net.replace(sample=net.sample.replace(labels=labels))
    assert len(measured(net, GROUPS)[0]["margins"].sorted) > m
    first, second = np.sort(logits, axis=1)[:, :-3:-1].T
    gamma = np.median(first - second)
    found = evaluate(net, "bartlett_2017", margin=None)
    expected = oracles.excess_bartlett_2017(w, distances["from_init"], b, gamma, m)
    assert found.excess == pytest.approx(expected, rel=RTOL)
    assert found.empirical == 0.5


def test_neyshabur_2019():
    net = network(depth=1)
    w, z, _, b, m = quantities(net)
    expected = oracles.excess_neyshabur_2019(w, z, b, 0.7, m)
    assert evaluate(net, "neyshabur_2019").excess == pytest.approx(expected, rel=RTOL)


def test_empirical_is_the_margin_error_and_value_the_sum():
    net = network(depth=1)
    margins = measured(net, GROUPS)[0]["margins"].sorted[: int(net.sample.size)]
    for name in PLOTTED[:-1]:
        for gamma in (0.05, 0.7):
            found = evaluate(net, name, gamma)
            assert found.empirical == pytest.approx(
                oracles.margin_error(margins, gamma)
            )
            assert found.value == pytest.approx(found.empirical + found.excess)


def test_the_hand_checkable_examples_of_the_docstrings():
    task = Task(np.array(4.0), np.array(2), np.array(1.0))
    margins = Margins(np.array([2.0, 3, 4, 5]), np.array(4))

    def norms(*values):
        v = np.array(values, float)
        return LayerNorms(v, v, v, v, v, v, v, v, np.ones(2), np.ones(2))

    w = norms(2, 3)
    fn = bounds.BOUNDS["neyshabur_2018"].fn
    assert fn(task, margins, w, w, margin=np.float32(1)).excess == pytest.approx(
        8.485, abs=1e-3
    )
    fn = bounds.BOUNDS["bartlett_2017"].fn
    assert fn(task, margins, w, w, margin=np.float32(1)).excess == pytest.approx(
        8.485, abs=1e-3
    )
    fn = bounds.BOUNDS["neyshabur_2019"].fn
    found = fn(task, margins, w, norms(1, 1), norms(1, 2), margin=np.float32(1))
    assert found.excess == pytest.approx(3)


@pytest.mark.parametrize("name", PLOTTED)
def test_excess_falls_as_one_over_margin_and_root_m(name):
    net = network(depth=1)
    assert evaluate(net, name, 1.4).excess == pytest.approx(
        evaluate(net, name).excess / 2
    )
    groups, _ = measured(net, GROUPS)
    stacked = jax.tree.map(lambda leaf: np.asarray(leaf)[None], groups)
    more = stacked | {"task": stacked["task"].replace(size=4 * stacked["task"].size)}
    few, many = (
        bounds.evaluate(g, [name], margin=0.7)[name].excess[0] for g in (stacked, more)
    )
    assert many == pytest.approx(few / 2)


@pytest.mark.parametrize("name", PLOTTED)
def test_excess_scales_as_the_input_does(name):
    net = network(depth=1)
    scaled = net.replace(sample=net.sample.replace(inputs=3 * net.sample.inputs))
    assert evaluate(scaled, name).excess == pytest.approx(
        3 * evaluate(net, name).excess
    )


def test_values_far_beyond_one_neither_overflow_nor_clip():
    net = network(depth=2)
    far = net.replace(params=jax.tree.map(lambda w: 1e33 * w, net.params))
    w, _, distances, b, m = quantities(far)
    groups = tuple(bounds.needs(["neyshabur_2018"]))
    found = evaluate(far, "neyshabur_2018", measured_groups=groups)
    expected = oracles.excess_neyshabur_2018(
        w, distances["from_init"], b, 0.7, m, 3, 12
    )
    assert 1e90 < found.excess == pytest.approx(expected, rel=RTOL)


def test_weights_that_have_not_moved_add_nothing():
    net = network(depth=1)
    still = evaluate(net.replace(init=net.params), "bartlett_2017")
    assert still.excess == 0 and still.log_complexity == -np.inf
    dead = net.replace(params=jax.tree.map(lambda w: 0 * w, net.params))
    dead = evaluate(dead, "neyshabur_2018")  # a product of norms that are 0
    assert dead.excess == 0 and dead.log_complexity == -np.inf


def test_a_bound_of_two_matrices_is_not_available_for_three():
    groups, _ = measured(network(depth=2), ("architecture", "task", "margins"))
    stacked = jax.tree.map(lambda leaf: np.asarray(leaf)[None], groups)
    reason = bounds.evaluate(stacked, ["neyshabur_2019"], margin=1.0)["neyshabur_2019"]
    assert isinstance(reason, str) and "2 weight matrices" in reason and "3" in reason


def test_what_was_not_measured_is_the_reason():
    groups, missing = measured(
        network(depth=1, init=False), tuple(bounds.needs(["bartlett_2017"]))
    )
    stacked = jax.tree.map(lambda leaf: np.asarray(leaf)[None], groups)
    found = bounds.evaluate(stacked, ["bartlett_2017"], margin=1.0, missing=missing)
    assert "initial" in found["bartlett_2017"]


def test_an_unknown_convention_is_refused():
    for field in dataclasses.fields(Convention):
        with pytest.raises(ValueError, match=field.name):
            Convention(**{field.name: "nonsense"})


def test_of_many_runs_each_has_its_own_bound():
    """More of them than one program evaluates, and not a multiple: the formula, run by run."""
    runs = 150
    assert runs > AT_ONCE and runs % AT_ONCE
    groups, _ = measured(network(depth=1), GROUPS)
    stacked = jax.tree.map(lambda leaf: np.stack([leaf] * runs), groups)
    sizes = np.arange(100, 100 + runs).astype(stacked["task"].size.dtype)
    gammas = np.linspace(0.5, 2.0, runs)
    stacked["task"] = stacked["task"].replace(size=sizes)
    found = bounds.evaluate(stacked, PLOTTED, margin=gammas)
    for name in PLOTTED:
        excess = found[name].excess
        assert excess.shape == (runs,)
        one = excess[0] * gammas[0] * np.sqrt(sizes[0])  # falls as 1 / (margin sqrt(m))
        np.testing.assert_allclose(excess, one / (gammas * np.sqrt(sizes)), RTOL)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"names": ["nope"]}, "no bound is called 'nope'"),
        ({"delta": 2.0}, "delta=2.0: must be in"),
        ({"margin": -1.0}, "margin=-1.0: must be > 0"),
        ({"margin": np.ones(3)}, r"margin: of shape \(3,\), and the runs of \(1,\)"),
    ],
)
def test_what_cannot_be_evaluated_is_refused(changes, says):
    groups, _ = measured(network(depth=1), GROUPS)
    stacked = jax.tree.map(lambda leaf: np.asarray(leaf)[None], groups)
    given = {"names": ["bartlett_2017"], "margin": 1.0} | changes
    with pytest.raises(ValueError, match=says):
        bounds.evaluate(stacked, **given)
    with pytest.raises(ValueError, match="needs the same leading axis"):
        bounds.evaluate(groups, ["bartlett_2017"], margin=1.0)
