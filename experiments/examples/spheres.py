"""Two concentric spheres told apart by a ReLU network: S' is its training set, each point
moved to the other sphere.

`hypersphere`: directions uniform (Nagarajan & Kolter 2019, Section 3.2). `digits`: the
directions are the images of MNIST, drawn with replacement, and the sphere an independent
fair coin. The map preserves D^m for any law of the directions, and the risk of a network
is known exactly: every image at both radii.
"""

import hashlib

import jax
import jax.numpy as jnp
import numpy as np

from experiments.data import hypersphere, idx
from experiments.data.source import Draw
from experiments.examples.example import Example
from experiments.refusals import Refusal
from experiments.seeding import Purpose, host_generator, key_for
from nets.mlp import MLP


class _Spheres(Example):
    """What both have in common: a one-hidden-layer network with biases."""

    loss = "sigmoid"

    def __init__(self, config, features):
        self._config, self.features = config, features
        self.model = MLP(config.width, depth=1, classes=2, biases=True)

    def sprime(self, inputs, labels):
        return hypersphere.radial_flip(inputs, labels, self._config.radii)


class HypersphereExample(_Spheres):
    """An `Example`."""

    def __init__(self, config):
        super().__init__(config, config.dim)

    def _points(self, key, count):
        radii = jnp.asarray(self._config.radii, jnp.float32)
        inputs, labels = hypersphere.points(key, count, self._config.dim, radii)
        return Draw(inputs, labels, {"key": np.asarray(jax.random.key_data(key))})

    def draw(self, seed, size):
        return self._points(key_for(self._config.seed, Purpose.TRAIN, seed, size), size)

    def fresh(self, size):
        key = key_for(self._config.seed, Purpose.TEST)
        return self._points(key, self._config.n_test)


class DigitsExample(_Spheres):
    """An `Example` whose risk is enumerated over the pool."""

    fresh_is_everything = True

    def __init__(self, config):
        folder = config.data_dir
        paths = idx.find(folder) if folder else idx.fetch("mnist")
        images = idx.read(paths["train_images"])
        if images.ndim != 3:
            raise Refusal(
                f"{paths['train_images']}: {images.shape} is no list of images; "
                "give the folder of MNIST by --data_dir"
            )
        self.sha256 = hashlib.sha256(images).hexdigest()
        flat = images.reshape(len(images), -1).astype(np.float32)
        norms = np.linalg.norm(flat, axis=1)
        if not norms.all():
            raise Refusal(
                f"{paths['train_images']}: image {int(norms.argmin())} is black and has no "
                "direction; give the folder of MNIST by --data_dir"
            )
        self._directions = flat / norms[:, None]
        super().__init__(config, flat.shape[1])

    def _at(self, index, labels):
        radii = np.asarray(self._config.radii, np.float32)
        return self._directions[index] * radii[labels][:, None]

    def draw(self, seed, size):
        key = key_for(self._config.seed, Purpose.TRAIN, seed, size)
        generator = host_generator(key)
        index = generator.integers(len(self._directions), size=size)
        labels = generator.integers(2, size=size).astype(np.int32)
        record = {"indices": index.astype(np.int32)}
        return Draw(self._at(index, labels), labels, record)

    def fresh(self, size):
        """Every image at both radii: the whole distribution, each example equally likely."""
        index = np.tile(np.arange(len(self._directions)), 2)
        labels = np.repeat(np.arange(2, dtype=np.int32), len(self._directions))
        return Draw(
            self._at(index, labels), labels, {"indices": index.astype(np.int32)}
        )
