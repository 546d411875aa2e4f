import itertools
import math

import hypothesis
import hypothesis.strategies as st
import jax
import numpy as np
import pytest

from bounds.numerics import coding
from tests.bounds.cases import for_any_case


def noise(size, scale, seed=0):
    draws = np.random.default_rng(seed).standard_normal(size)
    return np.clip(np.round(scale * draws), -255, 255).astype(int)


# Lists of arrays, and the exponents of their steps.
LISTS = {
    "a network": ([noise((20, 30), 2), noise(30, 0.3), noise((30, 4), 40)], [-27, 3, 0]),
    "nothing": ([], []),
    "zeros": ([np.zeros((50, 7), int), np.zeros(3, int)], [-400, 400]),
    "empty": ([np.zeros(0, int), noise(9, 1), np.zeros((4, 0), int)], [0, 5, -5]),
    "one number": ([np.array([1]), np.array([-1]), np.array([[255]])], [1, -1, 2]),
    "one symbol": ([np.full(5000, 3), np.full(5000, -255)], [8, -8]),
    "one among zeros": ([np.eye(1, 6000, 777, dtype=int)[0]], [0]),
    "every symbol": ([np.arange(-255, 256)], [-27]),
    "its ends": ([np.array([-(10**6), 10**6, 0, 10**6])], [-27]),
    "two symbols": ([np.tile([-1, 1], 3000)], [-27]),
    "first one, then the other": ([np.repeat([-255, 0, 255], 2000)], [-27]),
    "sparse": ([noise((50, 80), 0.25)], [-31]),
    "dense": ([noise((50, 80), 30)], [-31]),
    "uniform": ([np.random.default_rng(0).integers(-255, 256, 4000)], [-31]),
}  # fmt: skip


_code_bits = jax.jit(coding.code_bits)


def shapes(arrays):
    return [a.shape for a in arrays]


def formula(arrays, exponents):
    """The length in closed form, in float64."""
    total = 0.0
    with jax.enable_x64(True):
        for a, k in zip(arrays, exponents, strict=True):
            largest = max(300, int(np.max(np.abs(a), initial=0)))
            counts = np.bincount(a.ravel() + largest, minlength=2 * largest + 1)
            total += float(_code_bits(counts, np.int32(k)))
    return total


@pytest.mark.parametrize("which", LISTS)
class TestAnyList:
    def test_comes_back(self, which):
        arrays, exponents = LISTS[which]
        bits = coding.encode(arrays, exponents)
        found, its_exponents, length = coding.decode(bits, shapes(arrays))
        assert its_exponents == exponents and length == len(bits)
        for a, b in zip(found, arrays, strict=True):
            np.testing.assert_array_equal(a, b)

    @pytest.mark.parametrize("behind", [0, 1, None])
    def test_ends_where_it_ends_whatever_follows(self, which, behind):
        arrays, exponents = LISTS[which]
        bits = coding.encode(arrays, exponents)
        rest = np.random.default_rng(1).integers(2, size=300)
        rest = rest if behind is None else np.full(300, behind)
        stream = np.concatenate([bits, rest])
        found, its_exponents, length = coding.decode(stream, shapes(arrays))
        assert length == len(bits) and its_exponents == exponents
        assert all((a == b).all() for a, b in zip(found, arrays, strict=True))

    def test_is_no_longer_than_the_formula(self, which):
        arrays, exponents = LISTS[which]
        written = len(coding.encode(arrays, exponents))
        assert written <= formula(arrays, exponents) <= 1.01 * written + 64

    def test_no_shorter_stream_is_a_code(self, which):
        arrays, exponents = LISTS[which]
        bits = coding.encode(arrays, exponents)
        for length in {*range(0, min(len(bits), 40), 3), len(bits) - 1} - {-1}:
            with pytest.raises(ValueError, match="the bits"):
                coding.decode(bits[:length], shapes(arrays))


@for_any_case
@hypothesis.given(
    st.lists(
        st.tuples(
            st.lists(st.one_of(st.integers(-2, 2), st.integers(-300, 300)), max_size=40),
            st.integers(-400, 400),
        ),
        max_size=4,
    )
)  # fmt: skip
def test_any_numbers_come_back(drawn):
    arrays = [np.array(numbers, int) for numbers, _ in drawn]
    exponents = [k for _, k in drawn]
    bits = coding.encode(arrays, exponents)
    found, its_exponents, length = coding.decode([*bits, 1, 0, 1], shapes(arrays))
    assert its_exponents == exponents and length == len(bits)
    assert all((a == b).all() for a, b in zip(found, arrays, strict=True))
    # Each array ends in whole bits of its own.
    assert length <= formula(arrays, exponents) <= length + 3 * len(arrays)


def test_no_code_begins_another_and_kraft_holds():
    """All arrays of 4 symbols up to 3, with two exponents."""
    codes = {
        "".join(map(str, coding.encode([np.array(symbols)], [k])))
        for symbols in itertools.product(range(-3, 4), repeat=4)
        for k in (0, -2)
    }
    assert len(codes) == 2 * 7**4
    ordered = sorted(codes)  # what a code begins comes right behind it
    assert not any(b.startswith(a) for a, b in itertools.pairwise(ordered))
    assert sum(2.0 ** -len(code) for code in codes) <= 1


def test_the_length_is_that_of_the_probabilities():
    symbols = noise(3000, 3)
    largest = np.max(np.abs(symbols))
    counts, ideal = dict.fromkeys(range(-largest, largest + 1), 0), 0.0
    for place, s in enumerate(symbols):
        ideal -= math.log2((counts[s] + 0.5) / (place + largest + 0.5))
        counts[s] += 1
    # k = -27 is the 54th whole number; K = largest is the one behind it.
    side = sum(2 * math.floor(math.log2(v)) + 1 for v in (54, largest + 1))
    assert formula([symbols], [-27]) == side + math.ceil(ideal) + 1


def test_float32_only_makes_it_longer():
    counts = np.bincount(noise(200000, 20) + 255, minlength=511)
    assert float(_code_bits(counts, -27)) >= formula([noise(200000, 20)], [-27])


def test_jit_and_vmap_change_nothing():
    arrays = np.stack([noise(400, 2), noise(400, 60, seed=1), np.zeros(400, int)])
    counts = np.stack([np.bincount(a + 255, minlength=511) for a in arrays])
    exponents = np.array([-27, 4, 0])
    with jax.enable_x64(True):
        mapped = jax.jit(jax.vmap(coding.code_bits))(counts, exponents)
    for found, a, k in zip(mapped, arrays, exponents, strict=True):
        assert float(found) == formula([a], [k])


def test_steps_are_quarters_of_octaves():
    exponents = np.arange(-400, 401)
    for wide in (False, True):
        with jax.enable_x64(wide):
            steps = np.asarray(coding.step(exponents))
        assert steps.dtype == np.float32
        np.testing.assert_allclose(
            steps.astype(float), 2 ** (exponents / 4), rtol=2**-16
        )
        assert (steps[4:] == 2 * steps[:-4]).all()
    # What float32 makes of the product with a symbol is the product itself.
    symbols = np.arange(-255, 256)
    for s in steps[[0, 1, 2, 3, 399]]:
        product = symbols.astype(np.float32) * s
        assert product.dtype == np.float32
        assert (product.astype(float) == symbols * float(s)).all()


def test_what_the_length_is_not_proved_for_is_refused():
    with pytest.raises(ValueError, match="2\\^40"):
        coding.encode([np.array([1 << 40])], [0])


def test_any_stream_is_no_code_or_that_of_what_it_is_read_as():
    read = 0
    for seed in range(300):
        stream = np.random.default_rng(seed).integers(2, size=200)
        stream[:2] = 1, seed % 2  # k = 0; small K are frequent
        try:
            arrays, exponents, length = coding.decode(stream, [(6,), (4,)])
        except ValueError:
            continue
        read += 1
        np.testing.assert_array_equal(coding.encode(arrays, exponents), stream[:length])
    assert read > 30
