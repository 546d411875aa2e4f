"""The problems where uniform convergence fails: what their examples and maps obey."""

import jax
import numpy as np
import pytest

from experiments.problems import exponential, linear, slices
from experiments.uc_failure import study
from tests.experiments.tiny_failure import tiny


def test_the_linear_learner_is_its_closed_form():
    """Margins on S, S' and fresh examples, from w = sum_i y_i x_i, in float64 loops."""
    config = tiny("linear", sizes=(16,), seeds=1)
    problem = study.make(config).problems[""]
    expand = linear.Expand(config.dim)
    draw = problem.draw(0, 16)
    prime = study.sprime_of(problem, draw)

    def points(d):
        inputs = [
            np.concatenate(expand(jax.tree.map(lambda a, i=i: a[i], d.inputs))).astype(
                float
            )
            for i in range(len(d.labels))
        ]
        return inputs, [2 * int(y) - 1 for y in d.labels]

    x, y = points(draw)
    w = sum(label * one for one, label in zip(x, y, strict=True))
    u = linear.direction(16)
    assert np.sum(u**2) == pytest.approx(1 / 16)
    np.testing.assert_allclose(w[: linear.SIGNAL], 2 * 16 * u, rtol=1e-6)
    for one, label in zip(x, y, strict=True):
        np.testing.assert_allclose(one[: linear.SIGNAL], 2 * label * u, rtol=1e-6)
    x2, y2 = points(prime)
    for a, b in zip(x, x2, strict=True):
        np.testing.assert_allclose(a[: linear.SIGNAL], b[: linear.SIGNAL])
        np.testing.assert_allclose(a[linear.SIGNAL :], -b[linear.SIGNAL :])
    assert y == y2


@pytest.mark.parametrize("noise", exponential.NOISES)
def test_points_of_the_exponential_example(noise):
    d = exponential.points(jax.random.key(0), 4000, 12, noise)
    first, second = d.inputs[:, :12], d.inputs[:, 12:]
    np.testing.assert_array_equal(first, (d.labels - 0.5)[:, None] * np.ones((1, 12)))
    assert np.sum(first[0] ** 2) == pytest.approx(12 / 4)  # ||u|| = sqrt(D) / 2
    assert abs(second.mean()) < 0.02 and second.var() == pytest.approx(1, abs=0.02)
    assert (np.abs(second) == 1).all() == (noise == "cube")
    settings = exponential.Settings(dim=12, noise=noise)
    turned, labels = exponential.ExponentialProblem(settings, 0).sprime(
        d.inputs, d.labels
    )
    np.testing.assert_array_equal(turned[:, :12], -first)
    np.testing.assert_array_equal(turned[:, 12:], second)
    np.testing.assert_array_equal(labels, 1 - d.labels)


def test_planes_are_orthonormal_and_hold_their_points(rng):
    a, b = 1.2 * rng.standard_normal(50), rng.standard_normal(50)
    axes = slices.basis(a, a + 1e-3 * b)
    np.testing.assert_allclose(axes @ axes.T, np.eye(2), atol=1e-10)
    for point in (a, a + 1e-3 * b):
        np.testing.assert_allclose((point @ axes.T) @ axes, point, atol=1e-9)
    assert axes[0] @ a == pytest.approx(np.linalg.norm(a)) and axes[1] @ b > 0
    line = slices.basis(a, -2 * a)  # on one line: still a plane
    np.testing.assert_allclose(line @ line.T, np.eye(2), atol=1e-10)


def test_the_noise_of_the_linear_example_has_a_symmetric_law():
    """What JAX draws at -5.42 has no mirror; all other values come with theirs."""
    expand = linear.Expand(10**6)
    seen = []
    for sign in (1.0, -1.0):
        key = jax.random.key_data(jax.random.key(5))
        kept = linear.Kept(key, np.float32(1), np.float32(sign))
        seen.append(np.asarray(expand(kept)[1]))
    np.testing.assert_array_equal(seen[0], -seen[1])
    grid = np.float32(2) * (np.arange(1, 2**12) * 2**-12).astype(np.float32) - 1
    values = jax.scipy.special.erfinv(grid)
    np.testing.assert_array_equal(values, -values[::-1])
