"""A linear classifier of two classes, learned from 0."""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp


class Linear(nn.Module):
    """h(x) = w.x with logits (-h/2, h/2): the margin of class 1 is h, that of class 0 -h.

    Attributes:
      features: D.
      expand: makes an input `[D]` from what the sample keeps of it, which may be far less:
        inputs are then made one at a time and never held together. Hashable. None where
        the sample holds the inputs themselves.
    """

    features: int
    expand: Callable | None = None

    @nn.compact
    def __call__(self, x):
        """Logits `[N, 2]` of N examples."""
        kernel = self.param("kernel", nn.initializers.zeros, (self.features, 1))

        def logits(one):
            h = (one if self.expand is None else self.expand(one)) @ kernel[:, 0]
            return jnp.stack([-h / 2, h / 2])

        return jax.lax.map(logits, x) if self.expand else jax.vmap(logits)(x)
