"""The infinitely wide network with exponential activations, in closed form."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import chex
import jax
import jax.numpy as jnp

from nets.sample import Sample


@dataclasses.dataclass(frozen=True)
class Exponential:
    """One gradient step of the output weights from 0, at infinite width.

    With hidden weights w ~ N(0, s^2 I) and activation exp, the network that has learned S
    is h_S(x) = E_w[a(w) exp(w.x)], a(w) = sum_i y_i exp(w.x_i), that is

      h_S(x) = sum_i y_i exp(s^2 ||x + x_i||^2 / 2)

    (Nagarajan & Kolter 2019, the example with exponential activations). What it has
    learned is its training set. Both classes' sums are returned in logarithms, so nothing
    overflows at any D: as logits, log sum_{i: y_i = c} exp(s^2 ||x + x_i||^2 / 2), whose
    margin is positive iff h_S has the label's sign.

    Attributes:
      scale: s^2.
    """

    scale: float

    def apply(self, variables: Mapping[str, Any], x: jax.Array) -> jax.Array:
        """Logits `[N, 2]` of inputs `[N, D]`; that of a class without examples is -inf.

        Args:
          variables: `{"params": Sample}`, the training set, inputs `[M, D]`.
          x: `[N, D]`.
        """
        learned: Sample = variables["params"]
        chex.assert_rank([learned.inputs, x], [2, 2])
        squares = jnp.sum(jnp.square(learned.inputs), axis=1)
        products = jnp.matmul(x, learned.inputs.T, precision="highest")
        own = jnp.sum(jnp.square(x), axis=1)
        distances = own[:, None] + 2 * products + squares[None]
        exponents = self.scale / 2 * distances
        is_row = jnp.arange(learned.labels.shape[0]) < learned.size

        def of_class(label):
            chosen = is_row & (learned.labels == label)
            kept = jnp.where(chosen[None], exponents, -jnp.inf)
            return jax.nn.logsumexp(kept, axis=1)

        return jnp.stack([of_class(0), of_class(1)], axis=1)
