"""MNIST-1D against its authors' package: the same signals of the same random numbers, one law."""

import jax
import numpy as np
import pytest
from scipy import stats
from scipy.ndimage import gaussian_filter

from experiments.problems import mnist1d as ours
from experiments.problems.mnist1d import Deformation, Mnist1d, Settings

theirs = pytest.importorskip("mnist1d", reason="pip install mnist1d: the oracle")
PACKAGE = theirs.get_dataset_args()
TEMPLATES = theirs.get_templates()["x"]
TIMES = theirs.get_templates()["t"]
NO_OFFSET = 1e-300  # marks the template: 1e-8 in the package, which moves what it marks
EACH = 500  # of their examples of a class


def transformed(label, seed, eps=NO_OFFSET):
    np.random.seed(seed)
    return theirs.transform(TEMPLATES[label], TIMES, PACKAGE, eps)[0]


def their_numbers(seed):
    """The random numbers of a seed, in the order in which the package draws them."""
    generator = np.random.RandomState(seed)
    low, high = PACKAGE.padding
    return Deformation(
        zeros=int(generator.rand() * (high - low + 1)),
        scale=generator.rand(),
        shift=generator.choice(PACKAGE.max_translation),
        smooth=generator.randn(72),
        white=generator.randn(72),
        shear=generator.rand(),
    )


def test_the_parts_are_the_packages():
    np.testing.assert_array_equal(ours.templates(), TEMPLATES)
    for given, wanted in ((12, 7), (48, 72), (72, 72), (72, 40), (5, 72)):
        matrix = ours.interpolation(given, wanted)
        expected = theirs.transform.__globals__["interpolate"](np.eye(given), wanted)
        np.testing.assert_allclose(matrix, expected, rtol=0, atol=1e-15)
    smooth = gaussian_filter(np.eye(72), [2, 0])
    np.testing.assert_allclose(ours.smoothing(72, 2.0), smooth, rtol=0, atol=1e-16)
    package = (
        list(ours.PADDING), ours.SCALE, ours.SHIFTS, ours.SMOOTH_NOISE, ours.WHITE_NOISE,
        ours.SHEAR, ours.LENGTH, ours.POINTS,
    )  # fmt: skip
    assert package == (
        PACKAGE.padding, PACKAGE.scale_coeff, PACKAGE.max_translation,
        PACKAGE.corr_noise_scale, PACKAGE.iid_noise_scale, PACKAGE.shear_scale,
        PACKAGE.final_seq_length, PACKAGE.template_len,
    )  # fmt: skip


def test_the_same_random_numbers_make_the_same_signal():
    """In float64 to the last digits; in float32 to its rounding."""
    seeds = range(400)
    numbers = [their_numbers(seed) for seed in seeds]
    assert {n.zeros for n in numbers} == set(range(25))
    assert {int(n.shift) for n in numbers} == set(range(48))
    expected = np.stack([transformed(seed % 10, seed) for seed in seeds])
    stacked = Deformation(*map(np.stack, zip(*numbers, strict=True)))
    labels = np.arange(400) % 10
    with jax.enable_x64(True):
        exact = np.asarray(jax.jit(jax.vmap(ours.signal))(labels, stacked))
    assert exact.dtype == np.float64
    np.testing.assert_allclose(exact, expected, rtol=0, atol=1e-15)
    single = Deformation(
        *(a.astype(np.float32 if a.dtype.kind == "f" else np.int32) for a in stacked)
    )
    rounded = jax.jit(jax.vmap(ours.signal))(labels.astype(np.int32), single)
    np.testing.assert_allclose(rounded, expected, rtol=0, atol=5e-7)


def exact_moments():
    """Means `[10, 40]` and second moments `[10, 40, 40]` of the law, by summing over it.

    Given a class, zeros and a shift, a signal is linear in what is left, which is independent:
    a factor, a slope and Gaussian noise.
    """
    short = theirs.transform.__globals__["interpolate"](np.eye(72), 40)
    smooth = 0.25 * gaussian_filter(np.eye(72), [2, 0])
    ramp = short @ np.linspace(-0.5, 0.5, 72)
    always = 0.02**2 * short @ short.T + 0.75**2 / 12 * np.outer(ramp, ramp)
    means, seconds = np.zeros((10, 40)), np.zeros((10, 40, 40))
    for label in range(10):
        for zeros in range(36, 61):
            padded = np.concatenate([TEMPLATES[label] + NO_OFFSET, np.zeros(zeros)])
            digit = np.interp(
                np.linspace(0, 1, 72), np.linspace(0, 1, 12 + zeros), padded
            )
            for shift in range(48):
                shifted = np.roll(digit, shift)
                mean = short @ shifted
                noise = short[:, shifted == 0] @ smooth[shifted == 0]
                square = (1 + 0.4**2 / 12) * np.outer(mean, mean) + noise @ noise.T
                means[label] += mean / (25 * 48)
                seconds[label] += square / (25 * 48)
    return means, seconds + always


@pytest.fixture(scope="module")
def moments():
    return exact_moments()


@pytest.fixture(scope="module")
def many():
    return ours.points(jax.random.key(0), 50_000)


def test_the_constants_are_the_laws_mean_and_deviation(moments):
    means, seconds = moments
    mean = means.mean()
    deviation = np.sqrt(np.mean([np.diag(s) for s in seconds]) - mean**2)
    assert pytest.approx(mean, rel=1e-10) == ours.MEAN
    assert pytest.approx(deviation, rel=1e-10) == ours.DEVIATION
    # What the package divides its 5000 examples by is an estimate of that.
    x = np.concatenate([transformed(s % 10, s) for s in range(2000)])
    assert abs(x.std() / deviation - 1) < 0.03


def scores(found, expected, errors):
    """Differences in standard errors."""
    return np.abs((found - expected) / errors)


def test_means_and_covariances_of_every_class_are_the_laws(many, moments):
    """Of 400 means and 8200 second moments none is off by five standard errors."""
    inputs, labels = many
    raw = inputs.astype(np.float64) * ours.DEVIATION + ours.MEAN
    for label in range(10):
        x = raw[labels == label]
        errors = x.std(0) / np.sqrt(len(x))
        assert scores(x.mean(0), moments[0][label], errors).max() < 5
        products, squares = x.T @ x / len(x), (x**2).T @ x**2 / len(x)
        errors = np.sqrt((squares - products**2) / len(x))
        assert scores(products, moments[1][label], errors).max() < 5


def test_random_numbers_have_the_packages_ranges():
    """Each of 25 and of 48 whole numbers equally often, the others uniform or normal."""
    keys = jax.random.split(jax.random.key(1), 20_000)
    found = jax.jit(jax.vmap(ours.drawn))(keys)
    for whole, count in ((found.zeros, 25), (found.shift, 48)):
        assert whole.min() >= 0 and whole.max() == count - 1
        assert stats.chisquare(np.bincount(whole, minlength=count)).pvalue > 1e-3
    for uniform in (found.scale, found.shear):
        assert stats.kstest(uniform, "uniform").pvalue > 1e-3
    for normal in (found.smooth[:, 0], found.white[:, 71]):
        assert stats.kstest(normal, "norm").pvalue > 1e-3
    scalars = [found.zeros, found.scale, found.shift, found.smooth[:, 5], found.white[:, 5],
               found.shear]  # fmt: skip
    correlations = np.corrcoef(scalars) - np.eye(6)
    assert np.abs(correlations).max() < 4 / np.sqrt(20_000)


def test_labels_are_uniform_and_independent_of_their_place(many):
    _, labels = many
    assert stats.chisquare(np.bincount(labels, minlength=10)).pvalue > 1e-3
    pairs = np.histogram2d(labels[:-1], labels[1:], 10)[0]
    assert stats.chi2_contingency(pairs).pvalue > 1e-3


@pytest.mark.slow
def test_quantiles_of_every_class_are_the_packages(many):
    """Their own examples, drawn by their own code: two-sample tests, one a class and place.

    The largest of 400 distances between distribution functions has a p-value of less than
    1e-3 / 400 with probability 1e-3.
    """
    inputs, labels = many
    for label in range(10):
        x = np.stack(
            [transformed(label, 10_000 + s, 1e-8) for s in range(EACH)]
        )  # as it is called
        mine = inputs[labels == label] * ours.DEVIATION + ours.MEAN
        for place in range(ours.LENGTH):
            test = stats.ks_2samp(x[:, place], mine[:, place], method="asymp")
            assert test.pvalue > 1e-3 / 400, (label, place)
        # What no coordinate shows: how a signal changes from point to point.
        for lag in (1, 8):
            one, other = (np.abs(a[:, lag:] - a[:, :-lag]).max(1) for a in (x, mine))
            assert stats.ks_2samp(one, other, method="asymp").pvalue > 1e-3 / 20


def source(noise=0.0, n_test=2000):
    return Mnist1d(Settings(n_test, noise), seed=0)


def test_an_example_does_not_depend_on_how_many_are_drawn():
    few, more = (ours.points(jax.random.key(3), n) for n in (100, 2500))
    np.testing.assert_array_equal(few[0], more[0][:100])
    np.testing.assert_array_equal(few[1], more[1][:100])


def test_a_draw_is_its_seed_size_and_number():
    first = source().draw(1, 200, 1)
    np.testing.assert_array_equal(first.inputs, source(n_test=1).draw(1, 200, 1).inputs)
    assert first.inputs.shape == (200, 40) and first.inputs.dtype == np.float32
    for other in ((2, 200, 1), (1, 200, 0), (1, 201, 1)):
        assert not np.array_equal(source().draw(*other).inputs[:200], first.inputs)
    key = jax.random.wrap_key_data(first.record["key"])
    np.testing.assert_array_equal(ours.points(key, 200)[0], first.inputs)


def test_label_noise_moves_nine_tenths_of_what_it_redraws():
    clean, noisy = source(), source(noise=0.5)
    np.testing.assert_array_equal(noisy.test().labels, clean.test().labels)
    assert clean.test().noisy_labels is None
    moved = (noisy.test().noisy_labels != noisy.test().labels).mean()
    assert abs(moved - 0.45) < 4 * np.sqrt(0.45 * 0.55 / 2000)
    a, b = clean.draw(0, 400, 0), noisy.draw(0, 400, 0)
    np.testing.assert_array_equal(a.inputs, b.inputs)
    assert 0.3 < (a.labels != b.labels).mean() < 0.6


def test_the_risk_is_known_as_well_as_there_are_fresh_examples(many):
    """Of the nearest mean of a class: two independent test sets agree to their errors."""
    inputs, labels = many
    means = np.stack([inputs[labels == c].mean(0) for c in range(10)])

    def error(x, y):
        distances = ((x[:, None] - means) ** 2).sum(-1)
        return (distances.argmin(1) != y).mean()

    one = source(n_test=10_000).test()
    other = Mnist1d(Settings(20_000), seed=1).test()
    found = [error(t.inputs, t.labels) for t in (one, other)]
    assert 0.3 < found[1] < 0.85  # well below guessing, and far from right
    assert abs(found[0] - found[1]) < 4 * np.sqrt(0.25 / 10_000 + 0.25 / 20_000)
