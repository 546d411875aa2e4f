"""The contract of an example: a distribution, its map from S to S', and its learner."""

import types
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from experiments.data.source import Draw


class Example:
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

    sha256: str | None = None
    features: Any
    model: Any
    is_trained: bool = True
    loss: str | None = None
    fixed: Mapping[str, Any] = types.MappingProxyType({})
    expand: Callable | None = None
    fresh_depends_on_size: bool = False
    fresh_is_everything: bool = False
    float64: bool = False

    def draw(self, seed: int, size: int) -> Draw:
        """The training set S of a seed: the same at every call."""
        raise NotImplementedError

    def sprime(self, inputs, labels):
        """S' = T(S), on each example by itself: `(inputs, labels)`."""
        raise NotImplementedError

    def fresh(self, size: int) -> Draw:
        """Test examples for training sets of this size."""
        raise NotImplementedError

    def risk(self, params, size: int) -> float | None:
        """The exact risk of learned parameters, where it has a closed form."""
        return None

    def expected(self, size: int) -> dict[str, float]:
        """What theory predicts: quantity -> value; empty where it says nothing."""
        return {}

    def observed(self, params, margins: dict[str, np.ndarray], size: int):
        """The same quantities as they were found."""
        return {}
