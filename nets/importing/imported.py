"""What every reader of another framework's networks gives: a JAX function and its parameters."""

import dataclasses
from collections.abc import Callable, Mapping

import jax
import numpy as np


@dataclasses.dataclass(frozen=True)
class Imported:
    """A network of another framework as a JAX function.

    Attributes:
      apply: (params, `[N, *input_shape]`) -> logits `[N, C]`, of any N, as its framework computes
        them in inference mode: the same layout, nothing folded, nothing taken off.
      params: every tensor of real numbers (weights, biases, running statistics) by its name
        there, in the model's order. Sizes, axes and single constants are none of them.
      input_shape: of one example, without the batch axis: channels first where theirs are.
      name: of the model.
      notes: what was taken for granted or left out, a sentence each.
    """

    apply: Callable[[Mapping[str, jax.Array], jax.Array], jax.Array]
    params: dict[str, np.ndarray]
    input_shape: tuple[int, ...]
    name: str
    notes: tuple[str, ...]
