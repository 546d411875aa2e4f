"""Keys: folded by one program as JAX folds them one by one."""

import jax
import numpy as np
import pytest

from experiments.lab.seeding import Purpose, key_for


@pytest.mark.parametrize("seed", [0, 2**31, 2**40 + 3, -1])
@pytest.mark.parametrize(
    "numbers",
    [
        (),
        (0,),
        (1, 0),
        (0, 1),
        (3, 2**32 - 1, 2**30 + 5),
        tuple(range(7)),
        tuple(range(20)),
    ],
)
def test_numbers_are_folded_in_one_after_the_other(seed, numbers):
    key = jax.random.key(seed)
    for number in (Purpose.LABEL_NOISE.value, *numbers):
        key = jax.random.fold_in(key, number)
    found = key_for(seed, Purpose.LABEL_NOISE, *numbers)
    assert found.dtype == key.dtype and found.shape == ()
    np.testing.assert_array_equal(jax.random.key_data(found), jax.random.key_data(key))


@pytest.mark.parametrize("number", [-1, 2**32])
def test_a_number_that_is_none_of_32_bits_is_refused(number):
    with pytest.raises(OverflowError):
        key_for(0, Purpose.INIT, number)
