"""MNIST as two classes, the digits 0 to 4 against 5 to 9 (Dziugaite & Roy 2017)."""

import dataclasses

import numpy as np

from experiments.data import idx
from experiments.data.source import Draw, TestSet


class Halves:
    """A `Source` of ten classes with 0 to 4 taken as class 0, 5 to 9 as class 1.

    Label noise is the ten classes', and at 1 a fair coin all the same.
    """

    classes = 2

    def __init__(self, source):
        self._source = source
        self.features, self.image = source.features, source.image
        self.sha256 = source.sha256
        test = source.test
        noisy = test.noisy_labels
        self.test = TestSet(
            test.inputs, _half(test.labels), None if noisy is None else _half(noisy)
        )

    def draw(self, seed, size, draw):
        found = self._source.draw(seed, size, draw)
        return Draw(found.inputs, _half(found.labels), found.record)


def _half(labels):
    return (labels >= 5).astype(np.int32)


def load(config):
    """The source of a config as `idx.load` takes it."""
    return Halves(idx.load(dataclasses.replace(config, dataset="mnist")))
