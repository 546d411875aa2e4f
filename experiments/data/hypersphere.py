"""Points uniform on two concentric spheres (Gilmer et al. 2018; Nagarajan & Kolter 2019)."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from experiments.data.source import Draw, TestSet, randomise
from experiments.seeding import Purpose, host_generator, key_for


@functools.partial(jax.jit, static_argnames=("rows", "dim"))
def points(key, rows, dim, radii):
    """Examples of the two spheres.

    Args:
      key: typed key. Example i depends on `key` and i only, not on `rows`.
      rows: N.
      dim: D.
      radii: `[2]`, the radius of class 0 and of class 1.

    Returns:
      `(inputs, labels)`: `[N, D]` with uniform directions, `[N]` fair coins.
    """
    direction_key, label_key = jax.random.split(key)
    labels = jax.random.bernoulli(label_key, shape=(rows,)).astype(jnp.int32)
    directions = jax.random.normal(direction_key, (rows, dim))
    directions /= jnp.linalg.norm(directions, axis=1, keepdims=True)
    return directions * radii[labels][:, None], labels


class Hypersphere:
    """A `Source`; every draw is fresh."""

    classes = 2
    sha256 = None

    def __init__(self, dim, radii, n_test, label_noise, largest, seed):
        self.features = dim
        self._radii = jnp.asarray(radii, jnp.float32)
        self._rows = largest
        self._label_noise = label_noise
        self._seed = seed
        inputs, labels, noisy = self._examples(
            key_for(seed, Purpose.TEST), n_test, n_test
        )
        self.test = TestSet(inputs, labels, noisy if label_noise else None)

    def _examples(self, key, size, rows):
        inputs, labels = jax.device_get(points(key, rows, self.features, self._radii))
        inputs, labels = inputs[:size], labels[:size]
        generator = host_generator(jax.random.fold_in(key, Purpose.LABEL_NOISE))
        noisy = randomise(
            labels,
            2,
            self._label_noise,
            generator.random(size),
            generator.integers(2, size=size),
        )
        return inputs, labels, noisy

    def draw(self, seed, size, draw):
        key = key_for(self._seed, Purpose.TRAIN, seed, size, draw)
        inputs, _, noisy = self._examples(key, size, max(size, self._rows))
        return Draw(inputs, noisy, {"key": np.asarray(jax.random.key_data(key))})


def load(config):
    """The source of a config with `dim`, `radii`, `n_test`, `label_noise`, `sizes`, `seed`."""
    return Hypersphere(
        config.dim,
        config.radii,
        config.n_test,
        config.label_noise,
        max(config.sizes),
        config.seed,
    )
