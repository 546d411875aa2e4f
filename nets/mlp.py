"""Fully connected ReLU networks."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

GLOROT_UNIFORM = nn.initializers.glorot_uniform()


def glorot_uniform_bias(
    key: jax.Array, shape: tuple[int, ...], dtype: Any = jnp.float32
) -> jax.Array:
    """A bias drawn as the companion notebook of Nagarajan & Kolter (2019) draws it.

    TensorFlow's default for a `[1, out]` variable is Glorot uniform with fans 1 and out:
    uniform on (-a, a), a = sqrt(6 / (1 + out)).

    Args:
      key: a typed JAX key.
      shape: `(out,)`.
      dtype: of the result.

    Returns:
      The bias, `(out,)`.
    """
    limit = jnp.sqrt(6.0 / (1 + shape[-1])).astype(dtype)
    return jax.random.uniform(key, shape, dtype, -limit, limit)


class MLP(nn.Module):
    """`depth` hidden ReLU layers of `width` units and a linear output layer.

    The network has L = depth + 1 weight matrices, kernels `[in, out]`, initialised Glorot
    uniform: U(-a, a), a = sqrt(6 / (in + out)).

    Attributes:
      width: hidden units a layer, h.
      depth: HIDDEN layers, as the authors' code counts them.
      classes: outputs, C.
      biases: whether layers have biases. Without them the network is positively
        homogeneous in its input: f(c x) = c f(x) for c > 0.
    """

    width: int
    depth: int
    classes: int
    biases: bool = False

    @nn.compact
    def __call__(self, x):
        """Logits `[..., C]` of inputs `[..., D]`."""
        return _dense_layers(x, [self.width] * self.depth + [self.classes], self.biases)


class Layers(nn.Module):
    """Linear layers of any widths with ReLUs between them: networks made elsewhere.

    Attributes:
      units: outputs of each layer, the last C.
      biases: whether layers have biases.
    """

    units: tuple[int, ...]
    biases: bool = False

    @nn.compact
    def __call__(self, x):
        """Logits `[..., C]` of inputs `[..., D]`."""
        return _dense_layers(x, self.units, self.biases)


def _dense_layers(x, units, biases):
    """Inside a module's `__call__`: layers `Dense_0`, `Dense_1`, ... with ReLUs between."""
    for layer, count in enumerate(units):
        if layer:
            x = nn.relu(x)
        x = nn.Dense(
            count,
            use_bias=biases,
            kernel_init=GLOROT_UNIFORM,
            bias_init=glorot_uniform_bias,
        )(x)
    return x
