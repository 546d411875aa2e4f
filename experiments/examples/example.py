"""The contract of an example: a distribution, its map from S to S', and its learner."""

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from experiments.data.source import Draw


class Example(Protocol):
    """A learning problem with two classes and a map S -> S' that preserves D^m.

    Attributes:
      sha256: fingerprint of the data it rests on, or None.
      features: what `training.init_params` must know of an input; hashable.
      model: what learns; its `apply` gives logits `[N, 2]`.
      is_trained: by SGD through the engine; else its parameters are the training `Sample`.
      loss: of SGD, a name in `nets.losses.LOSSES`.
      fixed: settings of SGD that are part of the example and no flags.
      expand: makes an input of what a draw holds of it, or None: it holds inputs.
      fresh_depends_on_size: whether the distribution depends on m.
      fresh_is_everything: whether `fresh` enumerates the whole distribution, so that the
        error on it is the risk.
      float64: whether margins are to be computed in float64.
    """

    sha256: str | None
    features: Any
    model: Any
    is_trained: bool
    loss: str | None
    fixed: dict[str, Any]
    expand: Callable | None
    fresh_depends_on_size: bool
    fresh_is_everything: bool
    float64: bool

    def draw(self, seed: int, size: int) -> Draw:
        """The training set S of a seed: the same at every call."""

    def sprime(self, inputs, labels):
        """S' = T(S), example by example: `(inputs, labels)`."""

    def fresh(self, size: int) -> Draw:
        """Test examples for training sets of this size."""

    def risk(self, params, size: int) -> float | None:
        """The exact risk of learned parameters, where it has a closed form."""

    def expected(self, size: int) -> dict[str, float]:
        """What theory predicts: quantity -> value; empty where it says nothing."""

    def observed(self, params, margins: dict[str, np.ndarray], size: int):
        """The same quantities as they were found."""
