"""The contract of a data set."""

import dataclasses
from typing import Protocol

import numpy as np


@dataclasses.dataclass(frozen=True)
class Draw:
    """One training set.

    Attributes:
      inputs: float32 `[m, D]`.
      labels: int32 `[m]`, noisy where the source has label noise.
      record: what reproduces the draw exactly: `indices` into the pool, or a `key`.
    """

    inputs: np.ndarray
    labels: np.ndarray
    record: dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class TestSet:
    """Examples never trained on.

    Attributes:
      inputs: float32 `[n, D]`.
      labels: int32 `[n]`, clean.
      noisy_labels: int32 `[n]`, drawn as the training labels are; None without noise.
    """

    __test__ = False  # not a pytest class

    inputs: np.ndarray
    labels: np.ndarray
    noisy_labels: np.ndarray | None


class Source(Protocol):
    """A distribution to learn from.

    Attributes:
      features: D.
      image: height, width and channels of an input, or None where it is no image.
      classes: C.
      sha256: fingerprint of the pool, or None where there is none.
      test: the `TestSet`.
    """

    features: int
    image: tuple[int, int, int] | None
    classes: int
    sha256: str | None
    test: TestSet

    def draw(self, seed: int, size: int, draw: int) -> Draw:
        """The training set of `size` examples of a seed's draw: the same at every call."""


def randomise(labels, classes, fraction, uniform, redrawn):
    """Each label independently replaced with probability `fraction`.

    The new label is uniform over ALL classes (the old one included), as in the authors'
    code, so that at fraction 1 labels carry nothing.

    Args:
      labels: integers `[N]`.
      classes: C.
      fraction: probability.
      uniform: `[N]` uniform on [0, 1), decides which.
      redrawn: integers `[N]` uniform on 0..C-1, decides what.

    Returns:
      int32 `[N]`.
    """
    return np.where(uniform < fraction, redrawn, labels).astype(np.int32)
