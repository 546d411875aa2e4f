"""The largest Ritz pair against numpy's eigenvalues."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bounds.numerics import lanczos

pytestmark = pytest.mark.rounding


def symmetric(values, seed=0):
    rng = np.random.default_rng(seed)
    q = np.linalg.qr(rng.standard_normal((len(values),) * 2))[0]
    return (q * np.asarray(values, float)) @ q.T


def found_of(a, steps, scale=1.0, **options):
    start = np.random.default_rng(1).standard_normal(len(a)) * scale
    with jax.enable_x64(True):
        ritz = jax.jit(
            lambda a, start: lanczos.largest(lambda v: a @ v, start, steps, **options)
        )(jnp.asarray(a), jnp.asarray(start))
        return [np.asarray(part) for part in ritz]


@pytest.mark.parametrize(
    "values",
    [
        np.linspace(-1, 1, 40),
        [3.0, 2.9] + [0.1] * 30,
        [-5.0] * 10 + [0.0] * 10,  # indefinite: the largest, not the largest in size
        [2.0],
    ],
)
def test_it_is_the_largest_eigenvalue(values):
    a = symmetric(values)
    value, vector, residual = found_of(a, min(len(values), 40))
    top = np.linalg.eigvalsh(a)[-1]
    assert value == pytest.approx(top, abs=1e-9)
    np.testing.assert_allclose(a @ vector, top * vector, atol=1e-6)
    assert np.linalg.norm(vector) == pytest.approx(1) and residual < 1e-6


# Each number of steps is a program of its own.
@pytest.mark.parametrize("steps", [3, pytest.param(8, marks=pytest.mark.slow), 20])
def test_stopped_early_it_lies_below_and_its_residual_reaches_an_eigenvalue(steps):
    values = np.linspace(0, 1, 200) ** 2
    a = symmetric(values)
    value, vector, residual = found_of(a, steps)
    assert value <= values[-1] + 1e-12
    assert np.min(np.abs(values - value)) <= residual + 1e-12
    norm = np.linalg.norm(a @ vector - value * vector)
    assert norm == pytest.approx(residual, rel=1e-6)


@pytest.mark.parametrize("steps", [2, pytest.param(10, marks=pytest.mark.slow), 25])
def test_an_exhausted_space_brings_no_direction_of_rounding(steps):
    """Two different eigenvalues: after two steps nothing is left, and nothing is made up."""
    a = symmetric([4.0] * 3 + [1.0] * 30)
    value, _, residual = found_of(a, steps)
    assert value == pytest.approx(4.0, rel=1e-12) and residual < 1e-10


def test_a_norm_of_ones_own_where_squares_underflow():
    a = 1e-200 * symmetric([3.0, 1.0, 0.5, 0.2])

    def norm(v):
        largest = jnp.max(jnp.abs(v))
        scale = jnp.where(largest > 0, largest, 1.0)
        return scale * jnp.linalg.norm(v / scale)

    value, _, _ = found_of(a, 4, norm=norm)
    assert value == pytest.approx(3e-200, rel=1e-9)
