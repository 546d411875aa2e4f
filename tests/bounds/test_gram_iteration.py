import jax
import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from bounds.numerics import gram_iteration as module
from bounds.numerics.gram_iteration import gram_iteration
from tests import oracles

pytestmark = pytest.mark.rounding


@pytest.fixture(autouse=True, scope="module")
def one_thread_each():
    """Numpy's SVD: its threads wait for each other where workers share cores."""
    with threadpool_limits(1):
        yield


def gaussian(rows, columns, seed=0):
    return np.random.default_rng(seed).standard_normal((rows, columns))


def complex_gaussian(rows, columns):
    return gaussian(rows, columns) + 1j * gaussian(rows, columns, 1)


def orthogonal(n, seed=0):
    return np.linalg.qr(gaussian(n, n, seed))[0]


def with_spectrum(values):
    return orthogonal(len(values)) @ np.diag(values) @ orthogonal(len(values), 1)


def hadamard(n):
    return np.array([[1.0]]) if n == 1 else np.kron(hadamard(n // 2), [[1, 1], [1, -1]])


def svd(a):
    a = np.asarray(a)
    wide = np.complex128 if np.iscomplexobj(a) else np.float64
    return float(np.linalg.svd(a.astype(wide), compute_uv=False)[0])


MATRICES = {
    "random": gaussian(64, 64),
    "rank one": np.outer(gaussian(64, 1), gaussian(64, 1)),
    "orthogonal": orthogonal(64),
    "repeated": with_spectrum([3.0] * 20 + [1.0] * 44),
    "clustered": with_spectrum(1 + 1e-5 * np.linspace(0, 1, 64)),
    "slowly decaying": with_spectrum(1 / np.sqrt(1 + np.arange(64) / 32)),
    "badly scaled": gaussian(64, 64) * 10.0 ** np.linspace(-12, 12, 64),
    "diagonal": np.diag(np.arange(1.0, 65.0)),
    "few columns": gaussian(64, 64) * (np.arange(64) < 5),
    "not normal": np.diag(np.full(63, 2.0), 1) + np.eye(64),
    "tall": gaussian(300, 4),
    "wide": gaussian(4, 300),
    "one column": gaussian(50, 1),
    "one row": gaussian(1, 50),
    "one entry": np.array([[-2.5]]),
    "complex": complex_gaussian(40, 30),
    "imaginary": 1j * gaussian(40, 30),
    "complex, isometric": np.linalg.qr(complex_gaussian(40, 30))[0],
    "complex, rank one": np.outer(complex_gaussian(40, 1), complex_gaussian(30, 1)),
    "complex, wide": complex_gaussian(5, 60),
    "complex entry": np.array([[3.0 - 4.0j]]),
}
# Of one shape and type together: each is compiled once.
GROUPS = {}
for _name, _a in MATRICES.items():
    GROUPS.setdefault((_a.shape, _a.dtype.name), []).append(_name)

compiled = jax.jit(gram_iteration, static_argnums=(1, 2))


def enclosure(a, *options):
    """Of float32 as in the default precision: its programs are those of `compiled` alone."""
    with jax.enable_x64(np.asarray(a).dtype not in (np.float32, np.complex64)):
        found = compiled(a, *options)
        return float(found.lower), float(found.upper)


def narrowed(a):
    a = np.asarray(a)
    return a.astype(np.complex64 if np.iscomplexobj(a) else np.float32)


def quick(*shapes):
    """Parameters: the groups of these shapes are quick, the others are programs of the same steps."""
    return [
        pytest.param(names, marks=() if shape in shapes else pytest.mark.slow)
        for (shape, _), names in GROUPS.items()
    ]


@pytest.mark.parametrize(
    "names", quick((64, 64), (300, 4), (4, 300), (1, 1), (40, 30)), ids=str
)
def test_the_interval_holds_the_singular_value_and_is_narrow(names):
    for name in names:
        a = MATRICES[name]
        lower, upper = enclosure(a)
        # The SVD errs by a few units of the last place of the largest singular value.
        assert lower <= svd(a) * (1 + 1e-13) and svd(a) * (1 - 1e-13) <= upper, name
        assert upper <= lower * (1 + module.RELATIVE_WIDTH), name


@pytest.mark.parametrize("names", quick((64, 64), (40, 30)), ids=str)
def test_in_float32_the_interval_is_wider_but_holds(names):
    for name in names:
        a = narrowed(MATRICES[name])
        found = compiled(a)
        assert found.lower.dtype == found.upper.dtype == np.float32
        lower, upper = float(found.lower), float(found.upper)
        assert lower <= svd(a) <= upper <= lower * (1 + 1e-3), name


@pytest.mark.parametrize("name", ["random", "complex"])
def test_tiny_and_huge(name):
    for scale in (1e-300, 1e-150, 1e150, 1e300):
        lower, upper = enclosure(MATRICES[name] * scale)
        assert lower <= svd(MATRICES[name]) * scale <= upper <= lower * (1 + 1e-4)
    for scale in (1e-33, 1e-30, 1e30, 1e36):
        a = narrowed(MATRICES[name] * scale)
        found = compiled(a)
        lower, upper = float(found.lower), float(found.upper)
        assert lower <= svd(a) <= upper <= lower * (1 + 1e-3)


def test_a_norm_beyond_the_largest_number_is_not_claimed():
    found = compiled(np.full((64, 64), 3e38, np.float32))
    assert float(found.lower) <= 64 * 3e38 and float(found.upper) == np.inf


def test_subnormal_entries_may_be_read_as_zeros_and_are_covered():
    found = compiled(np.full((64, 64), 1e-40, np.float32))
    assert float(found.lower) <= 6.4e-39 <= float(found.upper) < 1e-35


@pytest.mark.parametrize("width", [1e-2, pytest.param(1e-6, marks=pytest.mark.slow)])
def test_a_wanted_width_is_reached_whatever_the_spectrum(width):
    for name in ("random", "orthogonal", "clustered", "complex", "complex, isometric"):
        a = MATRICES[name]
        lower, upper = enclosure(a, width)
        assert lower <= svd(a) * (1 + 1e-13) and svd(a) * (1 - 1e-13) <= upper
        assert upper <= lower * (1 + width), name


def test_the_width_is_the_theory_s_where_all_singular_values_are_equal():
    """||I_n|| from above is n^(2^-(T+1)): no squaring more or fewer than meant."""
    squarings = module.squarings(64, 1e-2)
    assert 64 ** (2.0**-squarings) <= 1.01 < 64 ** (2.0 ** (1 - squarings))
    lower, upper = enclosure(np.eye(64), 1e-2)
    assert lower == pytest.approx(1, abs=1e-12)
    assert upper == pytest.approx(64 ** (2.0 ** -(squarings + 1)), abs=1e-12)


EXACT = {
    # matrices whose norm is known to the last place
    "identity": (np.eye(64), 1.0),
    "hadamard": (hadamard(64), 8.0),
    "ones": (np.ones((64, 64)), 64.0),
    "diagonal": (np.diag([7.0] * 5 + [1.0] * 59), 7.0),
    "permuted": (3 * np.eye(64)[::-1], 3.0),
    "block": (np.kron(np.eye(32), [[3.0, 4.0], [4.0, -3.0]]), 5.0),
    "many ones": (np.ones((3000, 3)), np.sqrt(np.float64(9000))),
    "fourier": (
        np.pad(np.kron(np.eye(15), [[1, 1], [1j, -1j]]), ((0, 10), (0, 0))),
        np.sqrt(2.0),
    ),
}
# Multiples of 2^-20 keep every entry exact in float32, and need rounding in squares.
SCALES = [1.0, *(round(s * 2.0**20) / 2.0**20 for s in (0.3, 1 / 3, 0.9))]


@pytest.mark.parametrize("narrow", [False, True])
def test_exactly_known_norms_are_held(narrow):
    for name, (matrix, norm) in EXACT.items():
        for scale in SCALES:
            a = narrowed(matrix * scale) if narrow else matrix * scale
            lower, upper = enclosure(a)
            assert lower <= norm * scale <= upper and lower < upper, (name, scale)


def test_the_allowance_is_needed_in_float32():
    """Without it both ends can be on the wrong side of a norm that is known exactly."""
    wrong_above, wrong_below = 0, 0
    for scale in np.linspace(0.1, 0.9, 30).astype(np.float32):
        a = np.full((3000, 3), scale)
        norm = float(scale) * np.sqrt(np.float64(a.size))
        lower, upper = enclosure(a, module.RELATIVE_WIDTH, 0.0)
        wrong_above += upper < norm * (1 - 1e-7)
        wrong_below += lower > norm * (1 + 1e-7)
        lower, upper = enclosure(a)
        assert lower <= norm <= upper
    assert wrong_above >= 2 and wrong_below >= 2


def test_the_allowance_is_needed_in_float64():
    a = np.full((3000, 3), 0.9)
    norm = float(np.longdouble(a[0, 0]) * np.sqrt(np.longdouble(a.size)))
    assert enclosure(a, module.RELATIVE_WIDTH, 0.0)[1] < norm * (1 - 1e-15)
    assert enclosure(a)[1] >= norm * (1 + 1e-15)


@pytest.mark.parametrize(
    "name", ["random", pytest.param("complex", marks=pytest.mark.slow)]
)
def test_the_allowance_is_of_the_size_that_is_proved(name):
    """From above, at least the first squaring's share."""
    a = narrowed(MATRICES[name])
    frobenius = np.linalg.norm(a.astype(np.complex128))
    share = 2.0**-24 * max(a.shape) * frobenius**2 / (2 * svd(a) ** 2)
    plain, paid = (enclosure(a, 0.1, r)[1] / svd(a) for r in (0.0, 1.0))
    assert 0.9 * share <= paid - plain <= 10 * share


def test_long_inner_products_are_cut_where_that_is_needed(monkeypatch):
    a = gaussian(400, 300).astype(np.float32)
    assert module._block(400, 300, 1e-4, 2.0**-24) == 32
    assert module._block(400, 300, 1e-4, 2.0**-53) == 400
    cut = enclosure(a)
    monkeypatch.setattr(module, "_block", lambda inner, *_: inner)
    found = jax.jit(lambda a: gram_iteration(a))(a)
    whole = float(found.lower), float(found.upper)
    assert whole[0] < cut[0] <= svd(a) <= cut[1] < whole[1]
    assert cut[1] - cut[0] < (whole[1] - whole[0]) / 5


@pytest.mark.slow
def test_where_the_rounding_is_too_coarse_the_frobenius_norm_serves_or_nothing():
    a = gaussian(40, 40)
    # Each operation may be wrong by a seventeenth: no sum of forty is known at all.
    assert enclosure(a, 1e-4, 2.0**53 / 17) == (0.0, np.inf)
    # Blocks of 8 are known, hardly: squaring proves less than the norm of the entries.
    coarse = 2.0**53 / 90
    lower, upper = enclosure(a, 1e-4, coarse)
    assert lower <= svd(a) <= upper <= 6 * np.linalg.norm(a)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex128])
def test_zero(dtype):
    shape = (40, 30) if dtype == np.complex128 else (64, 64)
    lower, upper = enclosure(np.zeros(shape, dtype))
    assert lower == 0 and upper < 1e-35


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, complex(0, np.nan)])
def test_a_matrix_that_is_not_finite_is_not_certified(bad):
    a = np.ones((40, 30), complex) if isinstance(bad, complex) else np.ones((64, 64))
    a[1, 2] = bad
    assert enclosure(a) == (0.0, np.inf)


def test_narrower_floats_are_widened():
    a = gaussian(30, 4).astype(np.float16)
    found = compiled(a)
    assert found.upper.dtype == np.float32
    assert float(found.lower) <= svd(a) <= float(found.upper)


def test_mapped_over_a_stack_as_one_by_one():
    stack = np.stack([gaussian(30, 20, seed) * 10.0**seed for seed in range(5)])
    with jax.enable_x64(True):
        together = jax.device_get(jax.jit(jax.vmap(gram_iteration))(stack))
    for a, lower, upper in zip(stack, together.lower, together.upper, strict=True):
        assert lower <= oracles.spectral(a) <= upper <= lower * (1 + 1e-4)


def test_a_power_of_two_is_exact():
    """Where the library's own might be a logarithm's."""
    for dtype in (np.float32, np.float64):
        info = np.finfo(dtype)
        exponents = np.arange(2 * info.minexp + 2, 2 * info.maxexp - 2)
        exponents = exponents[abs(exponents) < 2 * info.maxexp - 4].astype(np.int32)
        with jax.enable_x64(True):
            start = np.ldexp(np.ones(len(exponents), dtype), -exponents // 2)
            found = np.asarray(module.scale(start, exponents))
        assert np.array_equal(found, np.ldexp(start, exponents))


def test_a_stack_is_refused():
    with pytest.raises(AssertionError):
        gram_iteration(np.ones((2, 3, 3)))
