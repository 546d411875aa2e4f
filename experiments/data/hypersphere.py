"""Points uniform on two concentric spheres (Gilmer et al. 2018; Nagarajan & Kolter 2019)."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from experiments.data.source import Draw, TestSet, randomise
from experiments.seeding import Purpose, host_generator, key_for

BLOCK = 1024
LABEL_NOISE = 2**31  # no block has this number


@functools.partial(jax.jit, static_argnames="dim")
def _block(key, dim, radii):
    direction_key, label_key = jax.random.split(key)
    labels = jax.random.bernoulli(label_key, shape=(BLOCK,)).astype(jnp.int32)
    directions = jax.random.normal(direction_key, (BLOCK, dim))
    directions /= jnp.linalg.norm(directions, axis=1, keepdims=True)
    return directions * radii[labels][:, None], labels


def points(key, count, dim, radii):
    """Examples of the two spheres.

    They are made in blocks of one size by one compiled program, so that example i depends
    on `key` and i only, to the last bit, whatever `count` is.

    Args:
      key: typed key.
      count: N.
      dim: D.
      radii: `[2]`, the radius of class 0 and of class 1.

    Returns:
      `(inputs, labels)` on the host: `[N, D]` with uniform directions, `[N]` fair coins.
    """
    blocks = [
        _block(jax.random.fold_in(key, index), dim, radii)
        for index in range(-(-count // BLOCK))
    ]
    inputs, labels = zip(*jax.device_get(blocks), strict=True)
    return np.concatenate(inputs)[:count], np.concatenate(labels)[:count]


def radial_flip(inputs, labels, radii):
    """S': every point to the other sphere, with that sphere's label.

    It preserves the law of (x, y) whatever the law of the directions, as long as labels
    are fair coins independent of them.

    Args:
      inputs: `[N, D]`, each on the sphere of its label.
      labels: `[N]`.
      radii: `[2]`.

    Returns:
      `(inputs, labels)`.
    """
    radii = np.asarray(radii, np.float32)
    flipped = 1 - labels
    return inputs * (radii[flipped] / radii[labels])[:, None], flipped


class Hypersphere:
    """A `Source`; every draw is fresh."""

    classes = 2
    sha256 = None
    image = None

    def __init__(self, dim, radii, n_test, label_noise, seed):
        self.features = dim
        self._radii = jnp.asarray(radii, jnp.float32)
        self._label_noise = label_noise
        self._seed = seed
        inputs, labels, noisy = self._examples(key_for(seed, Purpose.TEST), n_test)
        self.test = TestSet(inputs, labels, noisy if label_noise else None)

    def _examples(self, key, count):
        inputs, labels = points(key, count, self.features, self._radii)
        generator = host_generator(jax.random.fold_in(key, LABEL_NOISE))
        redrawn = generator.random(count), generator.integers(2, size=count)
        return inputs, labels, randomise(labels, 2, self._label_noise, *redrawn)

    def draw(self, seed, size, draw):
        key = key_for(self._seed, Purpose.TRAIN, seed, size, draw)
        inputs, _, noisy = self._examples(key, size)
        return Draw(inputs, noisy, {"key": np.asarray(jax.random.key_data(key))})


def load(config):
    """The source of a config with `dim`, `radii`, `n_test`, `label_noise` and `seed`."""
    return Hypersphere(
        config.dim, config.radii, config.n_test, config.label_noise, config.seed
    )
