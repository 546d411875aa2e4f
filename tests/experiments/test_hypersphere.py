import jax
import numpy as np

from experiments.problems.hypersphere import Hypersphere, Settings, points


def source(noise=0.0, n_test=2000):
    return Hypersphere(Settings(20, (1.0, 1.5), n_test, noise), seed=0)


def test_points_lie_on_their_spheres_in_all_directions():
    inputs, labels = points(jax.random.key(0), 20_000, 20, (1, 1.5))
    radii = np.linalg.norm(inputs, axis=1)
    np.testing.assert_allclose(radii, np.where(labels, 1.5, 1.0), rtol=1e-5)
    assert abs(np.mean(labels) - 0.5) < 4 * 0.5 / np.sqrt(20_000)
    directions = np.asarray(inputs) / radii[:, None]
    # Uniform directions: mean 0, covariance I / 20, each within five standard errors.
    assert np.abs(directions.mean(0)).max() < 5 / np.sqrt(20 * 20_000)
    covariance = directions.T @ directions / 20_000
    assert np.abs(covariance - np.eye(20) / 20).max() < 5 * np.sqrt(2) / 20 / np.sqrt(
        20_000
    )


def test_an_example_does_not_depend_on_how_many_are_drawn():
    few, many = (points(jax.random.key(3), n, 20, (1, 2)) for n in (100, 2500))
    np.testing.assert_array_equal(few[0], many[0][:100])
    np.testing.assert_array_equal(few[1], many[1][:100])


def test_a_draw_is_its_seed_size_and_number():
    first = source().draw(1, 200, 1)
    np.testing.assert_array_equal(first.inputs, source(n_test=1).draw(1, 200, 1).inputs)
    assert first.inputs.shape == (200, 20) and first.labels.shape == (200,)
    for other in ((2, 200, 1), (1, 200, 0), (1, 201, 1)):
        assert not np.array_equal(source().draw(*other).inputs[:200], first.inputs)
    key = jax.random.wrap_key_data(first.record["key"])
    inputs, _ = points(key, 200, 20, (1, 1.5))
    np.testing.assert_array_equal(inputs, first.inputs)


def test_label_noise_flips_half_of_what_it_redraws():
    clean, noisy = source(), source(noise=0.6)
    np.testing.assert_array_equal(noisy.test().labels, clean.test().labels)
    flipped = (noisy.test().noisy_labels != noisy.test().labels).mean()
    assert abs(flipped - 0.3) < 4 * np.sqrt(0.21 / 2000)
    a, b = clean.draw(0, 400, 0), noisy.draw(0, 400, 0)
    np.testing.assert_array_equal(a.inputs, b.inputs)
    assert 0.2 < (a.labels != b.labels).mean() < 0.4
