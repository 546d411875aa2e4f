"""What every reader of another framework's networks gives: a JAX function and its parameters."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
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


def shapes_of(
    params: Mapping[str, np.ndarray], shape: Sequence[int], count: int
) -> tuple[dict[str, jax.ShapeDtypeStruct], jax.ShapeDtypeStruct]:
    """Of parameters, and of `count` examples of `shape`: what tracing needs."""
    return (
        {name: jax.ShapeDtypeStruct(p.shape, p.dtype) for name, p in params.items()},
        jax.ShapeDtypeStruct((count, *shape), np.float32),
    )


def starting_values(
    known: Mapping[str, Any],
    names: Mapping[str, str],
    params: Mapping[str, jax.Array],
    x: jax.Array,
    shape: tuple[int, ...],
) -> dict[str, Any]:
    """Values by their name before the first operation: what is known, and parameters.

    Args:
      known: name -> what is no parameter.
      names: name of a value -> the parameter that it is.
      params: all parameters.
      x: the inputs, whose shape is checked.
      shape: of one input.

    Raises:
      ValueError: inputs of another shape.
    """
    if x.shape[1:] != shape:
        raise ValueError(
            f"examples of {list(x.shape[1:])} for a network of {list(shape)}"
        )
    given = {own: jnp.asarray(params[own]) for own in dict.fromkeys(names.values())}
    return {**known, **{name: given[own] for name, own in names.items()}}
