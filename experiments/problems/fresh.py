"""Problems whose examples are drawn anew from a known law: every set from a key of its own."""

from __future__ import annotations

import abc
import functools

import numpy as np

from experiments.lab.later import later
from experiments.lab.seeding import Purpose, host_generator, key_for
from experiments.problems.problem import Examples, Problem, randomise

jax = later("jax")

LABEL_NOISE = 2**31  # of a set's key, where its blocks have the numbers below


class Fresh(Problem):
    """Its settings have `label_noise` and `n_test`."""

    def __init__(self, settings: object, seed: int):
        self._settings, self._seed = settings, seed

    @abc.abstractmethod
    def clean(self, key: jax.Array, count: int) -> tuple[np.ndarray, np.ndarray]:
        """`count` examples of the law: inputs `[count, D]` and labels `[count]`."""

    def _examples(self, key, count):
        """Examples, their labels, and these with label noise."""
        inputs, labels = self.clean(key, count)
        generator = host_generator(jax.random.fold_in(key, LABEL_NOISE))
        redrawn = generator.random(count), generator.integers(self.classes, size=count)
        noisy = randomise(labels, self.classes, self._settings.label_noise, *redrawn)
        return inputs, labels, noisy

    def draw(self, seed: int, size: int, draw: int | None = None) -> Examples:
        """Fresh examples."""
        numbers = (seed, size) if draw is None else (seed, size, draw)
        key = key_for(self._seed, Purpose.TRAIN, *numbers)
        inputs, _, noisy = self._examples(key, size)
        return Examples(inputs, noisy, {"key": np.asarray(jax.random.key_data(key))})

    @functools.cache  # noqa: B019  (a problem lives as long as its program)
    def test(self, size: int | None = None) -> Examples:
        """Fresh examples, the same for all sizes.

        The error on them is the risk with a standard error of at most 1 / (2 sqrt(n_test)).
        """
        key = key_for(self._seed, Purpose.TEST)
        inputs, labels, noisy = self._examples(key, self._settings.n_test)
        noisy = noisy if self._settings.label_noise else None
        return Examples(inputs, labels, noisy_labels=noisy)
