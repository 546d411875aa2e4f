"""A linear classifier of two classes, learned from 0."""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp


class Linear(nn.Module):
    """h(x) = w.x with logits (-h/2, h/2): the margin of class 1 is h, that of class 0 -h.

    An input is a vector or a tuple of vectors, its parts; `part_<k>` `[D_k, 1]` are the
    weights of part k. (Parts that are written separately are never copied together, which
    at D = 400000 is a third of the time.)

    Attributes:
      features: D_k of every part.
      expand: makes an input of what the sample keeps of it, which may be far less: inputs
        are then made one at a time and never held together. Hashable. None where the
        sample holds the inputs themselves.
    """

    features: tuple[int, ...]
    expand: Callable | None = None

    @nn.compact
    def __call__(self, x):
        """Logits `[N, 2]` of N examples."""
        weights = [
            self.param(f"part_{k}", nn.initializers.zeros, (features, 1))
            for k, features in enumerate(self.features)
        ]

        def logits(one):
            parts = jax.tree.leaves(one if self.expand is None else self.expand(one))
            h = sum(part @ w[:, 0] for part, w in zip(parts, weights, strict=True))
            return jnp.stack([-h / 2, h / 2])

        return jax.lax.map(logits, x) if self.expand else jax.vmap(logits)(x)
