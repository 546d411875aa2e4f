"""Fixed features of pictures, and the private learning that is done on them."""

import csv
import dataclasses
import functools
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import norm

from experiments import certify
from experiments.beyond_uc import PROGRAM, study
from experiments.beyond_uc.cell import Look, base
from experiments.certify import verification
from experiments.lab import calls, running
from experiments.lab import settings as lab_settings
from experiments.lab.reading import idx
from experiments.lab.refusals import Refusal
from experiments.problems import scattering
from experiments.problems.images import Mnist, Settings
from tests.experiments.test_idx import idx_bytes, in_folder
from tests.experiments.tiny import run, undrawn


@pytest.fixture(autouse=True, scope="module")
def few_strokes():
    """Enough for a covariance of full rank with its ridge."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scattering, "STROKES", 256)
        patch.setattr(scattering.strokes, "__defaults__", (256, 28))
        scattering.whitening.cache_clear()
        yield
    scattering.whitening.cache_clear()


@functools.cache
def digits(folder):
    return idx.read(idx.find(folder)["train_images"])[:80]


def wavelet(side, scale, index):
    """A Morlet wavelet by its definition in space, its copies beyond the edge added."""
    theta, deviation = np.pi * index / 8, 0.8 * 2**scale
    frequency = 3 * np.pi / 4 / 2**scale
    window, wave = np.zeros((2, side, side), complex)
    for row in range(-2 * side, 2 * side):
        for column in range(-2 * side, 2 * side):
            a = row * np.cos(theta) + column * np.sin(theta)
            b = column * np.cos(theta) - row * np.sin(theta)
            g = np.exp(-((a / deviation) ** 2 + (b / (2 * deviation)) ** 2) / 2)
            g /= 2 * np.pi * deviation * (2 * deviation)
            window[row % side, column % side] += g
            wave[row % side, column % side] += g * np.exp(1j * frequency * a)
    return wave - wave.sum() / window.sum() * window


def convolved(picture, kernel):
    """Circular convolution, shift by shift."""
    total = np.zeros(picture.shape, complex)
    for row, column in np.ndindex(*kernel.shape):
        total += kernel[row, column] * np.roll(picture, (row, column), (0, 1))
    return total


def averaged(surface):
    """Means in Gaussian windows 6 pixels apart, of deviation 3.2, about the middle."""
    n = len(surface)
    place = (np.arange(n) - (n - 1) / 2) * 32 / n
    found = np.zeros((4, 4))
    for i, up in enumerate((-9, -3, 3, 9)):
        for j, right in enumerate((-9, -3, 3, 9)):
            squares = (place[:, None] - up) ** 2 + (place[None, :] - right) ** 2
            weights = np.exp(-squares / (2 * 3.2**2))
            found[i, j] = (weights * surface).sum() / weights.sum()
    return found


@pytest.mark.parametrize("scale", [0, 1])
def test_filters_are_those_of_the_definition_in_space(scale):
    found = scattering.filters(side=16)
    for index in (0, 3, 6):
        expected = np.fft.fft2(wavelet(16, scale, index))
        np.testing.assert_allclose(found[scale, index], expected, atol=1e-9)


def test_wavelets_add_no_energy_and_lose_none_where_they_look():
    """Littlewood and Paley's sum, over a frequency and its opposite: real pictures have both."""
    squares = np.square(scattering.filters()).sum((0, 1))
    opposite = np.roll(squares[::-1, ::-1], 1, (0, 1))
    energy = (squares + opposite) / 2
    assert energy.max() <= 1
    waves = 2 * np.pi * np.fft.fftfreq(32)
    radius = np.hypot(waves[:, None], waves)
    assert energy[(radius > 0.9) & (radius < 2.5)].min() > 0.3
    assert energy[0, 0] == 0


def test_scattering_is_convolution_modulus_convolution(mnist_sample):
    picture = digits(mnist_sample)[3].astype(np.float64) / 255
    found = scattering.channels(picture[None].astype(np.float32))[0]
    padded = np.pad(picture, 2)
    np.testing.assert_allclose(found[0], averaged(padded), atol=1e-6)
    for scale, index in ((0, 0), (0, 5), (1, 2), (1, 7)):
        surface = np.abs(convolved(padded, wavelet(32, scale, index)))
        surface = surface[:: 1 + scale, :: 1 + scale]
        np.testing.assert_allclose(
            found[1 + 8 * scale + index], averaged(surface), atol=1e-6
        )
    for first, second in ((0, 0), (5, 2)):
        once = np.abs(convolved(padded, wavelet(32, 0, first)))
        twice = np.abs(convolved(once, wavelet(32, 1, second)))[::2, ::2]
        np.testing.assert_allclose(
            found[17 + 8 * first + second], averaged(twice), atol=1e-6
        )


def test_groups_of_channels_are_brought_to_one_mean_and_variance(mnist_sample):
    pictures = digits(mnist_sample).astype(np.float32) / 255
    scattered = scattering.channels(pictures)
    rows = scattering.normalised(scattered)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)
    groups = rows.reshape(len(rows), 27, 48)
    assert np.abs(groups.mean(2)).max() < 1e-6
    # A group as faint as the least that is added to its variance stays fainter.
    spread = groups.std(2) * np.sqrt(rows.shape[1])
    assert np.median(spread) == pytest.approx(1, abs=0.01) and spread.max() < 1.1


def test_the_whitening_is_a_power_of_the_strokes_covariance():
    strokes = scattering.strokes(256)
    assert strokes.min() == 0 and strokes.max() == 1
    assert np.all(strokes.max((1, 2)) > 0.5)
    rows = scattering.normalised(scattering.channels(strokes)).astype(np.float64)
    centred, vector = rows - rows.mean(0), np.random.default_rng(0).normal(size=1296)
    ridge = 0.1 * np.square(centred).sum() / len(rows) / 1296
    product = centred.T @ (centred @ vector) / len(rows) + ridge * vector
    white = scattering.whitening()
    for _ in range(3):  # the power is -1/3
        product = white.matrix.astype(np.float64) @ product
    np.testing.assert_allclose(product, vector, atol=1e-4)
    np.testing.assert_allclose(white.mean, rows.mean(0), atol=1e-6)


def test_features_of_a_picture_are_its_own(mnist_sample):
    """Neither the other pictures nor its place among them matter; so none of them is learned."""
    pictures = digits(mnist_sample)
    found = scattering.features(pictures)
    assert found.shape == (80, 1297) and found.dtype == np.float32
    np.testing.assert_array_equal(found[:, -1], np.float32(0.1))
    np.testing.assert_allclose(np.square(found).sum(1), 1.01, atol=1e-5)
    # The same in the same place, bit for bit, whatever is around it.
    others = 255 - pictures
    others[7] = pictures[7]
    np.testing.assert_array_equal(scattering.features(others)[7], found[7])
    assert not np.allclose(scattering.features(others)[8], found[8], atol=0.01)
    # In another place, or alone, up to rounding.
    order = np.random.default_rng(0).permutation(80)
    np.testing.assert_allclose(
        scattering.features(pictures[order]), found[order], atol=1e-5
    )
    alone = scattering.features(pictures[70:71])
    np.testing.assert_allclose(alone, found[70:71], atol=1e-5)
    np.testing.assert_array_equal(scattering.features(pictures), found)


def test_a_blank_picture_has_features():
    found = scattering.features(np.zeros((1, 28, 28), np.uint8))
    assert np.isfinite(found).all()
    assert np.square(found).sum() == pytest.approx(1.01, abs=1e-5)


# The problem


def test_a_problem_has_the_features_of_its_images(mnist_sample):
    images, labels = (
        idx.read(idx.find(mnist_sample)[f"train_{n}"])[2300:]
        for n in ("images", "labels")
    )
    own = {"draw_rule": "disjoint", "inputs": "scattering", "first_image": 2300}
    problem = Mnist(Settings(str(mnist_sample), **own), 0)
    assert (problem.features, problem.image) == (1297, None)
    assert problem.largest_size(1) == 100 and problem.largest_size(2) == 50
    draw = problem.draw(0, 100, 0)
    places = draw.record["indices"]
    assert sorted(places) == list(range(100))
    np.testing.assert_array_equal(draw.labels, labels[places])
    np.testing.assert_array_equal(draw.inputs, scattering.features(images)[places])
    np.testing.assert_array_equal(problem.pool(places[:5]).inputs, draw.inputs[:5])
    assert problem.test().inputs.shape == (600, 1297)


@pytest.mark.slow
def test_a_certificate_on_features_is_recounted_where_their_last_digits_are_others(
    tmp_path, mnist_sample, monkeypatch
):
    """BLAS with other threads, or on another processor: it is of the pictures, not of the digits."""
    few, paths = tmp_path / "few", idx.find(mnist_sample)
    few.mkdir()
    for name, count in zip(idx.FILES, (300, 300, 40, 40), strict=True):
        array = idx.read(paths[name])[:count]
        (few / paths[name].name.removesuffix(".gz")).write_bytes(idx_bytes(array))
    own = {
        "data_dir": str(few), "size": 300, "epochs": 10, "bits_price": 0.5, "batch_size": 50, "seeds": 1,
        "save_weights": True,
    }  # fmt: skip
    config = calls.settings_of(certify.PROGRAM, "mnist", "quantised_scattering", own)
    with undrawn():
        out = run(
            certify.PROGRAM.resolved(config), tmp_path / "out", certify.PROGRAM
        ).path
    (path,) = (out / "weights").glob("*_coded.safetensors")
    typed = {"verify": str(path), "data_dir": str(few)}
    with pytest.raises(Refusal, match=r"their digest is another; give --problem=mnist"):
        np.savez(tmp_path / "set.npz", x=np.zeros((300, 1297)), y=np.zeros(300, int))
        verification.verified({"verify": str(path), "data": str(tmp_path / "set.npz")})
    before = Mnist(Settings(str(few), inputs="scattering"), 0).draw(0, 300, 0)
    white = scattering.whitening()
    matrix = white.matrix * (
        1 + 3e-7 * np.random.default_rng(0).normal(size=(1296, 1296))
    )
    other = dataclasses.replace(white, matrix=matrix.astype(np.float32))
    monkeypatch.setattr(scattering, "whitening", lambda: other)
    calls._MADE.clear()
    after = Mnist(Settings(str(few), inputs="scattering"), 0).draw(0, 300, 0)
    assert np.any(after.inputs != before.inputs)
    np.testing.assert_array_equal(after.origin, before.origin)
    line, holds = verification.verified(typed)
    assert holds and "verified: the network errs on at most 0." in line
    # Another pixel of one picture is another certificate's.
    images = Mnist._stored(str(few))
    changed = np.array(images.images)
    changed[before.record["indices"][0], 3, 3] ^= 1
    stored = dataclasses.replace(images, images=changed)
    monkeypatch.setattr(Mnist, "_stored", classmethod(lambda cls, folder: stored))
    calls._MADE.clear()
    with pytest.raises(
        Refusal, match=r"not the 300 examples .* their digest is another"
    ):
        verification.verified(typed)
    calls._MADE.clear()


@pytest.mark.parametrize(
    ("own", "says"),
    [
        ({"first_image": 2400}, "--first_image=2400: .* has 2400 images; give a smal"),
        (
            {"network": "strided_cnn", "depth": 1},
            "--problem=mnist with --inputs=scattering has none; use --network=mlp",
        ),
        ({"sizes": (2401,)}, "the data are enough for m = 2400; use smaller ones"),
        (
            {"sizes": (2400,), "tool": ("privacy", "surrogate")},
            "2 disjoint training sets of m examples .* m = 1200",
        ),
    ],
)
def test_what_cannot_be_is_refused_in_a_line(mnist_sample, own, says):
    given = {"data_dir": str(mnist_sample), "first_image": 0} | own
    config = calls.settings_of(PROGRAM, "mnist", "private_features", given)
    with pytest.raises(Refusal, match=says):
        study.make(PROGRAM.resolved(config))


def test_settings_that_do_not_go_together(tmp_path):
    in_folder(tmp_path, 4, 2, size=33)
    with pytest.raises(Refusal, match="33 x 33 x 1; use --inputs=pixels"):
        Mnist(Settings(str(tmp_path), inputs="scattering"), 0)
    for own in ({"inputs": "scattering"}, {"first_image": 5}):
        config = Settings(str(tmp_path), draw_rule="authors", **own)
        with pytest.raises(Refusal, match="use another --draw_rule"):
            lab_settings.check(config)
    config = calls.settings_of(PROGRAM, "mnist", typed={"depth": 0, "network": "cnn"})
    with pytest.raises(Refusal, match="--depth=0: is a linear classifier"):
        lab_settings.check(config)
    lab_settings.check(dataclasses.replace(config, network="mlp"))


# Private learning on all there is

OWN = {
    "first_image": 1800, "sizes": (256, 600), "private_epochs": 4, "max_epochs": 1,
    "mu": (2.0,),
}  # fmt: skip


def learn(config, out):
    with pytest.MonkeyPatch.context() as patch, undrawn():
        patch.setattr(study, "uniform_bounds", lambda problem: ())
        calls._MADE.clear()
        run(config, out, PROGRAM)


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    """All 600 images learned, and 256 of them: settings and folder."""
    own = OWN | {"data_dir": str(Path(__file__).parents[1] / "data/mnist")}
    config = calls.settings_of(PROGRAM, "mnist", "private_features", own)
    config = PROGRAM.resolved(config)
    out = tmp_path_factory.mktemp("private") / "first"
    learn(config, out)
    return config, out


def rows_of(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def test_the_claims_are_those_of_the_errors_found(learned):
    config, out = learned
    quantities = {
        (r["m"], r["seed"], r["quantity"]): float(r["value"] or "nan")
        for r in rows_of(out / "quantities.csv")
    }
    claims = {(r["claim"], r["m"]): r for r in rows_of(out / "claims.csv")}
    for m in ("256", "600"):
        for mu in config.mu:
            errors = [quantities[m, s, f"mu{mu:g}_train_error"] for s in ("0", "1")]
            point = norm.ppf(np.mean(errors))
            said = {
                n: float(claims[f"privacy_mu{mu:g}{n}", m]["value"])
                for n in ("", "_removal")
            }
            assert said[""] == pytest.approx(norm.cdf(point + mu), abs=1e-9)
            # Half of mu, and at most a thousandth more for rounding.
            assert norm.cdf(point + mu / 2) < said["_removal"]
            assert said["_removal"] < norm.cdf(point + mu / 2 * 1.001)
            for s, error in zip(("0", "1"), errors, strict=True):
                assert round(error * int(m), 6) % 1 == 0  # counted on all of S
                assert 0 < quantities[m, s, f"mu{mu:g}_test_error"] < 0.9
    # What is learned is more than guessing.
    assert quantities["600", "all", "mu2_at_the_mean"] > 0
    assert quantities["600", "0", "mu2_train_error"] < 0.5


def test_it_is_said_that_runs_share_their_training_set(learned):
    _, out = learned
    claims = {(r["claim"], r["m"]): r for r in rows_of(out / "claims.csv")}
    for name in ("privacy_mu2", "privacy_mu2_removal"):
        assert "examples in common" in claims[name, "600"]["assumption"]
        assert "examples in common" not in claims[name, "256"]["assumption"]
    one = claims["privacy_mu2_one_run", "600"]
    assert (one["status"], one["assumption"]) == ("certified", "")


@pytest.mark.slow
def test_two_runs_say_the_same_to_the_last_digit(learned, tmp_path):
    config, out = learned
    again = tmp_path / "again"
    learn(config, again)
    for name in ("claims.csv", "quantities.csv", "errors.csv"):
        assert (out / name).read_bytes() == (again / name).read_bytes()


def test_no_fresh_example_is_looked_at_where_there_is_none(learned):
    config, _ = learned
    made = study.make(config)
    for cell in made.cells:
        assert {look.sets for look in made.looks[cell.name]} == {("train", "test")}
    # With a tool that has ghosts the run on S is looked at on them, once.
    both = dataclasses.replace(config, tool=("privacy", "surrogate"), sizes=(256,))
    made = study.make(both)
    for cell in made.cells:
        looks = {look.name: look for look in made.looks[cell.name]}
        assert looks["base"].sets == Look(base(cell)).sets
        assert looks["private2"].sets == ("train", "test")


def test_a_folder_is_not_resumed_with_other_inputs(learned):
    config, out = learned
    other = dataclasses.replace(config, inputs="pixels")
    with pytest.raises(Refusal, match="--inputs=pixels here, scattering there"):
        running.run(PROGRAM, other, out, resume=True)
