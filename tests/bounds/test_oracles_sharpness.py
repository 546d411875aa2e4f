"""The oracles of sharpness and of training speed are themselves held against laws."""

import math

import numpy as np
import pytest

from tests import oracles
from tests.bounds.test_oracles_pac_bayes import network
from tests.oracles import sharpness


def test_backpropagation_is_the_derivative_of_the_loss(rng):
    weights, biases, x, y = network(rng, (3, 4, 4, 3))
    kernels, shifts = sharpness.gradient(weights, biases, x, y)
    for parameters, found in ((weights, kernels), (biases, shifts)):
        for layer, values in enumerate(parameters):
            for index in np.ndindex(values.shape):
                kept, sides = values[index], []
                for step in (1e-6, -1e-6):
                    values[index] = kept + step
                    sides.append(sharpness.cross_entropy(weights, biases, x, y))
                values[index] = kept
                slope = (sides[0] - sides[1]) / 2e-6
                assert found[layer][index] == pytest.approx(slope, abs=1e-8)
    assert sharpness.squared_norm(sharpness.flat(kernels)) > 1e-4


def test_the_hessian_of_softmax_regression_has_a_closed_form(rng):
    """Mean over examples of xx' times (diag p - pp')."""
    weights, biases, x, y = network(rng, (3, 3), examples=5)
    exact = np.zeros((9, 9))
    for one in x:
        logits = oracles.forward(weights, biases, one)
        p = np.exp(logits) / np.exp(logits).sum()
        exact += np.kron(np.outer(one, one), np.diag(p) - np.outer(p, p)) / len(x)
    found = sharpness.hessian(weights, biases, x, y)
    np.testing.assert_allclose(found, exact, atol=1e-9)
    assert sharpness.hessian_trace(weights, biases, x, y) == pytest.approx(
        np.trace(exact), rel=1e-7
    )
    assert sharpness.hessian_top_eigenvalue(weights, biases, x, y) == pytest.approx(
        np.linalg.eigvalsh(exact)[-1], rel=1e-7
    )


def test_gradient_noise_is_the_mean_square_less_the_square_of_the_mean(rng):
    weights, biases, x, y = network(rng)
    gradients = [
        sharpness.flat(sharpness.example_gradient(weights, biases, one, label)[0])
        for one, label in zip(x, y, strict=True)
    ]
    mean_square = np.mean([g @ g for g in gradients])
    mean = np.mean(gradients, axis=0)
    found = sharpness.gradient_noise(weights, biases, x, y)
    assert found == pytest.approx(mean_square - mean @ mean, rel=1e-10)
    assert sharpness.gradient_noise(weights, biases, x[:1], y[:1]) == 0


def test_small_noise_raises_the_loss_by_half_the_trace(rng):
    weights, biases, x, y = network(rng, (3, 3), examples=4)
    rho = 0.1
    mean, error = sharpness.average_sharpness(weights, biases, x, y, rho, rng, 1500)
    half_trace = rho**2 / 2 * sharpness.hessian_trace(weights, biases, x, y)
    assert abs(mean - half_trace) < 4 * error + 0.1 * half_trace
    adaptive, error = sharpness.average_sharpness(
        weights, biases, x, y, rho, rng, 1500, adaptive=True
    )
    curvature = np.diag(sharpness.hessian(weights, biases, x, y))
    expected = rho**2 / 2 * float(curvature @ sharpness.flat(weights) ** 2)
    assert abs(adaptive - expected) < 4 * error + 0.1 * expected


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_small_worst_sharpness_is_the_dual_norm_of_the_gradient(rng, norm):
    weights, biases, x, y = network(rng)
    g = sharpness.flat(sharpness.gradient(weights, biases, x, y)[0])
    rho = 1e-6
    for adaptive in (False, True):
        scaled = g * np.abs(sharpness.flat(weights)) if adaptive else g
        dual = np.linalg.norm(scaled) if norm == "l2" else np.abs(scaled).sum()
        found = sharpness.worst_sharpness(
            weights, biases, x, y, rho, rng, 10, 2, norm, adaptive
        )
        assert found == pytest.approx(rho * dual, rel=1e-3)


def test_worst_sharpness_is_above_the_average_on_the_sphere(rng):
    weights, biases, x, y = network(rng, (3, 3, 3), examples=5)
    w = sharpness.flat(weights)
    clean = sharpness.cross_entropy(weights, biases, x, y)
    worst = sharpness.worst_sharpness(weights, biases, x, y, 1.0, rng, 20)
    for _ in range(50):
        u = sharpness.edge_of_ball(rng.normal(size=len(w)), 1.0, "l2")
        assert np.linalg.norm(u) == pytest.approx(1)
        moved = sharpness.shaped(w + u, weights)
        assert sharpness.cross_entropy(moved, biases, x, y) - clean <= worst


def test_the_measures_by_hand():
    w, w0, m = [3.0, 4.0], [3.0, 2.0], 100
    tail = math.log(100 / 0.5) + 10
    values = {
        sharpness.pacbayes_init(w, w0, m, 0.5): 4 + tail,
        sharpness.pacbayes_orig(w, m, 0.5): 25 + tail,
        sharpness.pacbayes_flatness(m, 0.5): 4,
        sharpness.sharpness_init(w, w0, m, 0.5, 0.5): 4 * math.log(4) + tail,
        sharpness.sharpness_orig(w, m, 0.5, 0.5): 25 * math.log(4) + tail,
        sharpness.sharpness_flatness(m, 0.5): 4,
        sharpness.pacbayes_mag_flatness(m, 0.5): 4,
        sharpness.sharpness_mag_flatness(m, 0.25): 16,
    }
    for found, v in values.items():
        assert 100 * found**2 == pytest.approx(v, rel=1e-12)

    # P = 2: sum ln = ln(top / 1e-6) + ln(top / (1e-6 + level^2 * 4)).
    def by_hand(squares, extra):
        top = 1e-6 + (0.25 + extra) * squares / 2
        return math.log(top**2 / (1e-6 * (1e-6 + 1.0))) / 4 + tail

    extra = 4 * math.log(4 / 0.1)
    for found, v in (
        (sharpness.pacbayes_mag_init(w, w0, m, 0.5), by_hand(4, 1)),
        (sharpness.pacbayes_mag_orig(w, w0, m, 0.5), by_hand(25, 1)),
        (sharpness.sharpness_mag_init(w, w0, m, 0.5, 0.5, 0.1), by_hand(4, extra)),
        (sharpness.sharpness_mag_orig(w, w0, m, 0.5, 0.5, 0.1), by_hand(25, extra)),
    ):
        assert 100 * found**2 == pytest.approx(v, rel=1e-12)


def test_counts_and_sums_of_training():
    losses = [2.0, 0.5, 0.1, 0.05]
    assert sharpness.steps_to_loss(losses, 7, 0.1) == 21
    assert sharpness.steps_to_loss(losses, 7, 3.0) == 7
    assert sharpness.steps_to_loss(losses, 7, 0.01) == math.inf
    assert sharpness.sotl(losses) == pytest.approx(2.65)
    assert sharpness.sotl_last(losses, 2) == pytest.approx(0.15)
    assert sharpness.sotl_last(losses, 9) == sharpness.sotl(losses)
