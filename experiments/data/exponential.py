"""The problem of the exponential network (Nagarajan & Kolter 2019): x = (y u, x2)."""

import jax
import jax.numpy as jnp
import numpy as np

from experiments.data.source import Draw

NOISES = ("gaussian", "cube")


def points(key, count, dim, noise):
    """Examples x `[2 D]`: x1 = y u, u = (1/2, ..., 1/2), and x2 noise of unit variance.

    Args:
      key: typed key.
      count: N.
      dim: D.
      noise: "gaussian", N(0, I), or "cube", uniform on {-1, 1}^D.

    Returns:
      A `Draw`.
    """
    label_key, noise_key = jax.random.split(key)
    labels = jax.random.bernoulli(label_key, shape=(count,)).astype(jnp.int32)
    kind = {"gaussian": jax.random.normal, "cube": jax.random.rademacher}[noise]
    second = kind(noise_key, (count, dim), dtype=jnp.float32)
    first = jnp.broadcast_to((labels - 0.5)[:, None], (count, dim))
    inputs = jnp.concatenate([first, second], axis=1)
    record = {"key": np.asarray(jax.random.key_data(key))}
    return Draw(np.asarray(inputs), np.asarray(labels), record)


def flip_signal(inputs, labels):
    """S': ((x1, x2), y) -> ((-x1, x2), -y), as the noise does not know the label."""
    dim = inputs.shape[1] // 2
    return np.concatenate([-inputs[:, :dim], inputs[:, dim:]], axis=1), 1 - labels
