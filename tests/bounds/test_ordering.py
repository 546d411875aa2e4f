"""Sorting against numpy's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bounds.numerics.ordering import ascending

INFO = np.finfo(np.float32)
SPECIAL = [
    np.inf,
    -np.inf,
    0.0,
    -0.0,
    INFO.tiny,
    -INFO.tiny,
    1e-45,
    -1e-45,
    INFO.max,
    INFO.min,
]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_floats_of_all_sizes_and_signs_are_in_numpys_order(dtype):
    rng = np.random.default_rng(0)
    sizes = rng.standard_normal(3000) * 10.0 ** rng.integers(-44, 38, 3000)
    values = np.concatenate([SPECIAL, sizes, sizes[:500]]).astype(dtype)
    values = rng.permutation(values)
    with jax.enable_x64(dtype == np.float64):
        found = np.asarray(jax.jit(ascending)(jnp.asarray(values)))
        lanes = np.asarray(jax.vmap(ascending)(jnp.stack([values, -values])))
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, np.sort(values))
    np.testing.assert_array_equal(lanes, np.sort([values, -values]))
