import jax
import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from bounds.numerics import convolution as module
from bounds.numerics import lanczos
from bounds.numerics.convolution import circular_norm, folded_norm, zero_padded_norm
from nets.operators import Convolution
from tests import oracles
from tests.oracles.convolution import circular, matrix_of, zero_padded

pytestmark = pytest.mark.rounding


@pytest.fixture(autouse=True, scope="module")
def one_thread_each():
    """Numpy's SVD: its threads wait for each other where workers share cores."""
    with threadpool_limits(1):
        yield


def kernel_of(height, width, channels, out, seed=0):
    shape = (height, width, channels, out)
    return np.random.default_rng(seed).standard_normal(shape)


def norm_of(convolve, kernel, image, *options):
    """The largest singular value of the map."""
    matrix = matrix_of(convolve, kernel, image, *options)
    return float(np.linalg.svd(matrix, compute_uv=False)[0])


compiled = {
    function: jax.jit(function, static_argnums=(1, 2))
    for function in (circular_norm, zero_padded_norm)
}


def how(function, image, strides=(1, 1)):
    """What a norm is told of the image."""
    return image if function is circular_norm else Convolution(image, strides)


def ends(function, kernel, image, *strides):
    with jax.enable_x64(True):
        found = compiled[function](kernel, how(function, image, *strides))
        return float(found.lower), float(found.upper)


KERNELS = {
    "1x1": kernel_of(1, 1, 3, 4),
    "3x3": kernel_of(3, 3, 3, 2),
    "5x5": kernel_of(5, 5, 2, 3),
    "2x3": kernel_of(2, 3, 2, 2),
    "one channel": kernel_of(3, 3, 1, 1),
    "average": np.ones((3, 3, 1, 1)) / 9,
    "difference": np.array([[-1.0, 1.0]]).reshape(1, 2, 1, 1),
}


@pytest.mark.parametrize(
    ("name", "image"),
    [
        *((name, (6, 6)) for name in ("3x3", "one channel", "average")),
        ("2x3", (6, 5)),
        # Each is a program of its own of the same steps.
        *(
            pytest.param(name, (6, 6), marks=pytest.mark.slow)
            for name in ("1x1", "5x5", "2x3", "difference")
        ),
        pytest.param("3x3", (5, 7), marks=pytest.mark.slow),
    ],
)
def test_circular_norms_are_the_operator_s(name, image):
    kernel = KERNELS[name]
    norm = norm_of(circular, kernel, image)
    lower, upper = ends(circular_norm, kernel, image)
    assert lower <= norm * (1 + 1e-13) and norm * (1 - 1e-13) <= upper
    assert upper <= lower * (1 + 1e-4)


@pytest.mark.parametrize(
    "image",
    [
        (2, 3),
        *(pytest.param(image, marks=pytest.mark.slow) for image in ((1, 1), (3, 2))),
    ],
)
def test_kernels_wider_than_the_image_wrap(image):
    kernel = kernel_of(5, 4, 2, 3)
    norm = norm_of(circular, kernel, image)
    lower, upper = ends(circular_norm, kernel, image)
    assert lower <= norm * (1 + 1e-13) and norm * (1 - 1e-13) <= upper
    assert upper <= lower * (1 + 1e-4)


PADDED = [
    ("3x3", (8, 7), (4, 3)),
    ("2x3", (6, 5), (1, 1)),
]
# Of each the norm is a program of its own, which says little that the above do not.
MORE = [
    ("1x1", (5, 6), (2, 2)),
    ("3x3", (6, 6), (1, 1)),
    ("3x3", (6, 6), (2, 2)),
    ("5x5", (5, 6), (2, 2)),
]
EVERY = [*PADDED, *(pytest.param(*one, marks=pytest.mark.slow) for one in MORE)]


@pytest.mark.parametrize(("name", "image", "strides"), EVERY)
def test_zero_padded_norms_are_enclosed(name, image, strides):
    kernel = KERNELS[name]
    norm = norm_of(zero_padded, kernel, image, strides)
    lower, upper = ends(zero_padded_norm, kernel, image, strides)
    assert lower <= norm * (1 + 1e-13) and norm * (1 - 1e-13) <= upper
    # Lanczos ends at the norm of so small an operator; the circle's may be above it.
    assert lower >= 0.99 * norm and upper <= 1.3 * norm
    if name == "1x1":
        assert upper <= lower * (1 + 2e-4)
    circle = (image[0] + kernel.shape[0] - 1, image[1] + kernel.shape[1] - 1)
    every_position = norm_of(circular, kernel, circle)
    if strides == (1, 1):
        assert upper == pytest.approx(every_position, rel=1e-4)
    elif name == "3x3":
        assert upper < 0.95 * every_position


@pytest.mark.parametrize(("name", "image", "strides"), EVERY)
def test_estimates_of_zero_padded_norms_are_the_operator_s(name, image, strides):
    with jax.enable_x64(True):
        found = compiled[zero_padded_norm](KERNELS[name], Convolution(image, strides))
    norm = norm_of(zero_padded, KERNELS[name], image, strides)
    assert float(found.estimate) == pytest.approx(norm, rel=1e-6)


FOLDED = Convolution((6, 5), (2, 2))
fold = jax.jit(lambda kernel, bias, c: folded_norm(kernel, bias, c, FOLDED))


@pytest.mark.parametrize(
    "dtype", [pytest.param(np.float32, marks=pytest.mark.slow), np.float64]
)
def test_folded_norms_are_enclosed_and_estimated(dtype):
    """Of [[C, 0], [b at every position, c]], biases small and large beside the kernel."""
    kernel = KERNELS["3x3"].astype(dtype)
    plain = matrix_of(zero_padded, kernel, FOLDED.image, FOLDED.strides)
    direction = np.array([1.0, -0.5])
    for scale in (0.0, 1e-30, 0.3, 1e6, 1e30):
        bias = (scale * direction).astype(dtype)
        for constant in (0.0, 1.0):
            row = np.tile(bias.astype(float), plain.shape[1] // 2)
            column = np.append(np.zeros(len(plain)), constant)[:, None]
            norm = oracles.spectral(np.hstack([np.vstack([plain, row]), column]))
            with jax.enable_x64(dtype == np.float64):
                found = jax.tree.map(float, fold(kernel, bias, constant))
            assert found.lower <= norm * (1 + 1e-13), (scale, constant)
            assert found.upper >= norm * (1 - 1e-13), (scale, constant)
            room = 1e-6 if dtype == np.float64 else 1e-5
            assert found.estimate == pytest.approx(norm, rel=room)
            assert found.lower >= norm * (1 - (1e-6 if room == 1e-6 else 1e-3))


def test_a_folded_map_that_is_not_finite_is_not_certified():
    for bad in (np.nan, np.inf):
        with jax.enable_x64(True):
            found = fold(KERNELS["3x3"], np.array([1.0, bad]), 1.0)
        assert (float(found.lower), float(found.upper)) == (0.0, np.inf)


@pytest.mark.slow
def test_the_circle_of_the_image_s_own_size_would_not_do():
    """A kernel whose response peaks between its frequencies."""
    kernel = np.array([1.0, -1.0, 1.0]).reshape(3, 1, 1, 1)
    found = norm_of(zero_padded, kernel, (3, 1), (1, 1))
    assert ends(circular_norm, kernel, (3, 1))[1] < found
    assert ends(zero_padded_norm, kernel, (3, 1))[1] >= found


@pytest.mark.parametrize(("name", "image", "strides"), EVERY)
def test_both_ways_of_convolving_agree_with_plain_loops(name, image, strides):
    kernel = KERNELS[name]
    x = np.random.default_rng(1).standard_normal((*image, kernel.shape[2]))
    expected = zero_padded(kernel, x, strides)
    with jax.enable_x64(True):
        op = Convolution(image, strides)
        for convolve in (Convolution.apply, module._tap_by_tap):
            found = jax.jit(convolve, static_argnums=0)(op, kernel, x)
            np.testing.assert_allclose(found, expected, atol=1e-12)


@pytest.mark.slow
def test_in_float32_the_intervals_hold():
    for scale in (1.0, 1e-30, 1e30):
        kernel = (kernel_of(3, 3, 3, 2) * scale).astype(np.float32)
        found = compiled[circular_norm](kernel, (5, 6))
        assert found.lower.dtype == found.upper.dtype == np.float32
        norm = norm_of(circular, kernel, (5, 6))
        lower, upper = float(found.lower), float(found.upper)
        assert lower <= norm <= upper <= 1.001 * lower
        lower, upper = ends(zero_padded_norm, kernel, (5, 6), (2, 2))
        norm = norm_of(zero_padded, kernel, (5, 6), (2, 2))
        assert 0.99 * norm <= lower <= norm <= upper <= 1.3 * norm


def test_tiny_and_huge_kernels():
    kernel = KERNELS["2x3"]
    for scale in (1e-150, 1e150):
        lower, upper = ends(circular_norm, kernel * scale, (6, 5))
        assert lower <= norm_of(circular, kernel, (6, 5)) * scale <= upper
        assert upper <= 1.0001 * lower
        lower, upper = ends(zero_padded_norm, kernel * scale, (6, 5), (1, 1))
        assert lower <= norm_of(zero_padded, kernel, (6, 5), (1, 1)) * scale <= upper
        assert upper <= 1.3 * lower


def test_the_rounding_of_the_small_matrices_is_covered():
    """All ones: the norm is kh kw sqrt(in out) exactly, at frequency zero."""
    for dtype in (np.float32, np.float64):
        for scale in (1.0, 0.3, 0.7):
            kernel = np.full((5, 5, 4, 9), scale, dtype)
            lower, upper = ends(circular_norm, kernel, (6, 7))
            assert lower < 25 * 6 * float(kernel[0, 0, 0, 0]) < upper


def test_frequencies_in_several_batches(monkeypatch):
    kernel = KERNELS["3x3"]
    together = ends(circular_norm, kernel, (6, 6))
    monkeypatch.setattr(module, "_ENTRIES_AT_ONCE", 5 * 2 * 6)
    with jax.enable_x64(True):
        apart = jax.jit(lambda kernel: circular_norm(kernel, (6, 6)))(kernel)
    assert (apart.lower, apart.upper) == pytest.approx(together, rel=1e-12)


def test_zero_kernels():
    for function in (circular_norm, zero_padded_norm):
        lower, upper = ends(function, np.zeros((2, 3, 2, 2)), (6, 5))
        assert lower == 0 and upper < 1e-290


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_kernels_that_are_not_finite_are_not_certified(bad):
    kernel = np.ones((2, 3, 2, 2))
    kernel[0, 1, 1, 0] = bad
    for function in (circular_norm, zero_padded_norm):
        assert ends(function, kernel, (6, 5)) == (0.0, np.inf)


def test_a_lower_end_is_a_ratio_whatever_vector_is_found(monkeypatch):
    """It rests on ||A v|| / ||v||, not on Lanczos: spoil Lanczos."""
    nothing_found = lanczos.Ritz(1.0, None, 0.0)
    monkeypatch.setattr(
        lanczos,
        "largest",
        lambda product, start, steps: nothing_found._replace(vector=start),
    )
    kernel = KERNELS["3x3"]
    norm = norm_of(zero_padded, kernel, (6, 6), (1, 1))
    with jax.enable_x64(True):
        found = jax.jit(
            lambda kernel: zero_padded_norm(kernel, Convolution((6, 6), (1, 1)))
        )(kernel)
    lower, upper = float(found.lower), float(found.upper)
    assert 0 < lower < 0.9 * norm and norm <= upper


@pytest.mark.slow
def test_mapped_over_a_stack_as_one_by_one():
    stack = np.stack([kernel_of(3, 3, 2, 2, seed) for seed in range(3)])
    with jax.enable_x64(True):
        mapped = jax.jit(
            jax.vmap(
                lambda kernel: zero_padded_norm(kernel, Convolution((5, 5), (1, 1)))
            )
        )
        found = jax.device_get(mapped(stack))
    for kernel, lower, upper in zip(stack, found.lower, found.upper, strict=True):
        assert lower <= norm_of(zero_padded, kernel, (5, 5), (1, 1)) <= upper


def test_other_ranks_are_refused():
    with pytest.raises(AssertionError):
        circular_norm(np.ones((3, 3)), (4, 4))
    with pytest.raises(AssertionError):
        zero_padded_norm(np.ones((3, 3)), Convolution((4, 4), (1, 1)))
