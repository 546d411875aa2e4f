import functools

import jax
import numpy as np
import pytest

from bounds.measures.layers import norms
from bounds.numerics import lanczos
from bounds.numerics import spectral_norm as module
from bounds.numerics.linear_maps import Matrix
from bounds.numerics.spectral_norm import spectral_norm
from tests import oracles

pytestmark = pytest.mark.rounding


def gaussian(rows, columns, seed=0):
    return np.random.default_rng(seed).standard_normal((rows, columns))


def orthogonal(n):
    return np.linalg.qr(gaussian(n, n))[0]


def with_spectrum(values, seed=0):
    n = len(values)
    u, v = (
        np.linalg.qr(gaussian(n, n, seed))[0],
        np.linalg.qr(gaussian(n, n, seed + 1))[0],
    )
    return u @ np.diag(values) @ v


def hadamard(n):
    return np.array([[1.0]]) if n == 1 else np.kron(hadamard(n // 2), [[1, 1], [1, -1]])


def in_few_columns(rows, columns, moved):
    a = np.zeros((rows, columns))
    a[:, :moved] = gaussian(rows, moved)
    return a


# Of one shape, but where the shape is the point: each is compiled once.
MATRICES = {
    "random": gaussian(64, 64),
    "rank one": np.outer(gaussian(64, 1), gaussian(64, 1, 1)),
    "orthogonal": orthogonal(64),
    "repeated": with_spectrum([3.0] * 20 + [1.0] * 44),
    "clustered": with_spectrum(1 + 1e-5 * np.linspace(0, 1, 64)),
    # What float32 cannot tell apart, and what it can just tell.
    "as good as equal": with_spectrum(1 + 1e-8 * np.linspace(0, 1, 64)),
    "one barely larger": with_spectrum([1 + 4e-6] + [1.0] * 63),
    # More rows than four blocks of the least size have, and fewer.
    "in blocks": gaussian(530, 600),
    "in blocks, tall": gaussian(200, 150),
    "slowly decaying": with_spectrum(1 / np.sqrt(1 + np.arange(64) / 32)),
    "tall": gaussian(300, 4),
    "wide": gaussian(4, 300),
    "one column": gaussian(50, 1),
    "one entry": np.array([[-2.5]]),
    "badly scaled": gaussian(64, 64) * 10.0 ** np.linspace(-12, 12, 64),
    "tiny": gaussian(64, 64) * 1e-150,
    "huge": gaussian(64, 64) * 1e150,
    "one outlier": gaussian(64, 64) + 50 * np.outer(gaussian(64, 1), gaussian(64, 1)),
    "diagonal": np.diag(np.arange(1.0, 65.0)),
    # Few different singular values: the Krylov space is exhausted after as many steps.
    "two values": np.diag([2.0] + [1.0] * 63),
    "two values, rotated": hadamard(64)
    @ np.diag([3.0] + [1.0] * 63)
    @ hadamard(64)
    / 64,
    "identity and ones": np.eye(64) + 0.5 * np.ones((64, 64)) / 64,
    "repeated blocks": np.kron(np.eye(16), gaussian(4, 4)),
    "few columns moved": in_few_columns(64, 64, 5),
    "one column moved": in_few_columns(64, 64, 1),
}


@functools.cache
def program(**options):
    """One for all matrices of a shape."""
    return jax.jit(lambda a: spectral_norm(a, **options))


def enclosure(a, program=program, **options):
    with jax.enable_x64(True):
        found = program(**options)(a)
        return float(found.lower), float(found.upper)


# Shapes of which each is a program of the steps that another one has, too.
MORE = ("in blocks, tall", "wide", "one column")


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=pytest.mark.slow if n in MORE else ()) for n in MATRICES],
)
def test_the_interval_holds_the_singular_value_and_is_narrow(name):
    a = MATRICES[name]
    lower, upper = enclosure(a)
    # The SVD's own error is a few units of the last place of the largest singular value.
    svd = oracles.spectral(a)
    assert lower <= svd * (1 + 1e-13) and svd * (1 - 1e-13) <= upper
    assert upper <= lower * (1 + module.RELATIVE_WIDTH)


@pytest.mark.parametrize("method", ["cholesky", "gram"])
@pytest.mark.parametrize("name", ["random", "slowly decaying", "one outlier"])
def test_the_estimate_is_the_singular_value(name, method):
    """However wide the interval is."""
    with jax.enable_x64(True):
        found = program(relative_width=1e-4, method=method)(MATRICES[name])
    lower, upper, estimate = map(float, (found.lower, found.upper, found.estimate))
    assert estimate == pytest.approx(oracles.spectral(MATRICES[name]), rel=1e-6)
    assert lower <= estimate <= upper


@pytest.mark.parametrize("width", [pytest.param(1e-2, marks=pytest.mark.slow), 1e-4])
def test_a_wanted_width_is_reached(width):
    lower, upper = enclosure(
        MATRICES["random"], relative_width=width, method="cholesky"
    )
    assert lower <= oracles.spectral(MATRICES["random"]) <= upper <= lower * (1 + width)


EXACT = {
    # matrices whose norm is known to the last place
    "identity": (np.eye(64), 1.0),
    "hadamard": (hadamard(64), 8.0),
    "ones": (np.pad(np.ones((30, 40)), ((0, 34), (0, 24))), np.sqrt(np.float64(1200))),
    "diagonal": (np.diag([7.0] * 5 + [1.0] * 59), 7.0),
    "permuted": (3 * np.eye(64)[::-1], 3.0),
    "block": (np.kron(np.eye(32), [[3.0, 4.0], [4.0, -3.0]]), 5.0),
}


@pytest.mark.parametrize("name", EXACT)
@pytest.mark.parametrize("scale", [1.0, 0.3, 1e100])
def test_at_no_width_at_all_the_rounding_allowance_alone_must_hold(name, scale):
    """With a certificate at the lower end itself nothing but the allowance is between."""
    matrix, norm = EXACT[name]
    lower, upper = enclosure(matrix * scale, relative_width=1e-15)
    # The scaled entries are rounded: the norm is known to half a unit of the last place
    # an entry.
    slack = 0.0 if scale == 1.0 else 1.2e-16 * np.linalg.norm(matrix) * scale
    assert lower <= norm * scale + slack and norm * scale - slack <= upper
    assert lower < upper <= lower * (1 + 1e-11)


def test_the_allowance_is_needed_and_is_there():
    """A plain Cholesky test at the computed norm proves less than it seems."""
    for seed in range(20):
        a = gaussian(64, 64, seed)
        lower, upper = enclosure(a, relative_width=1e-15)
        assert upper - lower >= 2 * 64 * np.finfo(float).eps / 2 * lower
        assert lower <= oracles.spectral(a) * (1 + 1e-15)
        assert oracles.spectral(a) * (1 - 1e-15) <= upper


@pytest.mark.slow
def test_subnormal_entries_may_be_read_as_zeros_and_are_covered():
    a = np.full((30, 30), 1e-40, np.float32)
    lower, upper = enclosure(a)
    assert lower <= 3e-39 <= upper < 1e-35
    with jax.enable_x64(True):
        found = jax.jit(lambda a: norms({"w": [Matrix(a.astype(float))]})["w"])(a)
    lower, upper = float(found.spectral_lower[0]), float(found.spectral_upper[0])
    assert lower <= 3e-39 <= upper


def test_where_no_bound_covers_the_rounding_nothing_is_claimed():
    a = np.ones((2**22 + 1, 4), np.float32)
    found = jax.jit(spectral_norm)(a)
    assert float(found.lower) <= np.sqrt(4 * (2.0**22 + 1)) <= float(found.upper)


def test_zero():
    lower, upper = enclosure(np.zeros((64, 64)))
    assert lower == 0 and upper < 1e-290


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_matrix_that_is_not_finite_is_not_certified(bad):
    a = np.ones((64, 64))
    a[1, 2] = bad
    assert enclosure(a) == (0.0, np.inf)


def test_in_float32_the_interval_is_wider_but_holds():
    for name in ("random", "repeated", "orthogonal", "one outlier"):
        a = MATRICES[name].astype(np.float32)
        found = program()(a)
        assert found.upper.dtype == np.float32
        assert float(found.lower) <= oracles.spectral(a) <= float(found.upper)
        assert float(found.upper) <= 1.01 * float(found.lower)


@pytest.mark.parametrize("name", ["random", "clustered", "tiny"])
def test_without_factorisations_the_interval_is_as_narrow(name):
    a = MATRICES[name]
    lower, upper = enclosure(a, method="gram")
    svd = oracles.spectral(a)
    assert lower <= svd * (1 + 1e-13) and svd * (1 - 1e-13) <= upper
    assert upper <= lower * (1 + 1.01 * module.GRAM_WIDTH)


def test_the_method_is_chosen_by_precision():
    a = MATRICES["random"]
    assert (
        enclosure(a) == enclosure(a, method="cholesky") != enclosure(a, method="gram")
    )
    narrow, gram, wide = (
        program(**options)(a.astype(np.float32))
        for options in ({}, {"method": "gram"}, {"method": "cholesky"})
    )
    assert float(narrow.upper) == float(gram.upper) < float(wide.upper)


def test_a_certificate_that_lanczos_would_get_wrong_is_refused(monkeypatch):
    """The upper end rests on the factorisation, not on Lanczos: spoil Lanczos."""
    a = with_spectrum([10.0] + [1.0] * 40)

    def blind(product, start, steps):
        """A unit vector orthogonal to the top one of the rows: a lower end of 1, not 10."""
        vector = np.linalg.eigh(np.asarray(a @ a.T))[1][:, -5]
        return lanczos.Ritz(1.0, vector, 0.0)

    monkeypatch.setattr(lanczos, "largest", blind)
    # No other test may be given the program of the spoiled one, nor this one another's.
    lower, upper = enclosure(a, program=program.__wrapped__)
    assert lower == pytest.approx(1.0) and upper >= 10


@pytest.mark.parametrize(
    "n", [1, 2, 128, 129, 300, pytest.param(1024, marks=pytest.mark.slow)]
)
def test_the_quadratic_form_of_blocks_is_that_of_the_whole(n):
    """Blocks below the diagonal are zeros, and those on it are whole."""
    rows, v = gaussian(n, 20), gaussian(n, 1, 1)[:, 0]
    with jax.enable_x64(True):
        gram, coarse = module._gram(rows)
        found = module._quadratic(gram, v)
    np.testing.assert_allclose(coarse, rows @ rows.T, rtol=1e-4, atol=1e-4)
    assert float(found) == pytest.approx(np.sum((v @ rows) ** 2), rel=1e-12)


def test_mapped_over_a_stack_as_one_by_one():
    stack = np.stack([gaussian(30, 20, seed) for seed in range(5)])
    with jax.enable_x64(True):
        together = jax.device_get(jax.jit(jax.vmap(spectral_norm))(stack))
    for a, lower, upper in zip(stack, together.lower, together.upper, strict=True):
        assert lower <= oracles.spectral(a) <= upper


ALIKE = {
    # names of matrices that share a loop somewhere: a shape, or only a shorter side of 64, or nothing
    "of a shape": [gaussian(64, 64), gaussian(64, 64, 1), gaussian(64, 64, 2)],
    "of a shorter side": [gaussian(64, 64), gaussian(90, 64), gaussian(64, 200)],
    "of many shapes": [gaussian(64, 64), gaussian(50, 1), gaussian(90, 64, 1), gaussian(3, 7)],
    "one that is not finite": [gaussian(20, 30), np.full((20, 20), np.nan), gaussian(40, 20)],
    "of many sizes": [gaussian(64, 64) * 1e-150, np.zeros((64, 70)), gaussian(70, 64) * 1e150],
    "one that is large": [gaussian(400, 390), gaussian(400, 390, 1), gaussian(390, 20)],
}  # fmt: skip


@pytest.mark.parametrize("name", ALIKE)
def test_several_at_once_as_one_by_one(name):
    several = ALIKE[name]
    with jax.enable_x64(True):
        found = jax.device_get(jax.jit(module.spectral_norms)(several))
    assert found.lower.shape == found.upper.shape == (len(several),)
    for i, a in enumerate(several):
        its = jax.tree.map(lambda end, i=i: end[i], found)
        if not np.isfinite(a).all():
            assert (its.lower, its.upper) == (0.0, np.inf)
            continue
        svd = oracles.spectral(a)
        assert its.lower <= svd * (1 + 1e-13) and svd * (1 - 1e-13) <= its.upper
        assert its.upper <= its.lower * (1 + module.RELATIVE_WIDTH) + 1e-300
        assert its.estimate == pytest.approx(svd, rel=1e-6, abs=0)


def test_what_shares_its_loop_pays_for_the_rounding_of_its_own_length():
    """So what the matrix alone has, to the last digit: no certificate hangs on what is measured beside it."""
    a, longer = gaussian(64, 64), gaussian(64, 128)
    with jax.enable_x64(True):
        beside = jax.device_get(jax.jit(module.spectral_norms)([longer, a]))
        alone = jax.device_get(jax.jit(spectral_norm)(a))
    for end in ("lower", "upper", "estimate"):
        own, its = getattr(alone, end), getattr(beside, end)[1]
        assert its == pytest.approx(own, rel=1e-15, abs=0)


def test_a_stack_is_refused():
    with pytest.raises(AssertionError):
        spectral_norm(np.ones((2, 3, 3)))
