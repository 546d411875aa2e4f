"""The high-dimensional linear problem (Nagarajan & Kolter 2019, Section 3.1).

x = (x1, x2): the signal x1 = 2 y u, ||u||^2 = 1/m, and the noise x2 ~ N(0, (32/D) I), which
says nothing of y. At D = 400000 a training set would take gigabytes, so a draw keeps of
each example its key, label and signs, and `Expand` makes the input of these.
"""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.data.source import Draw

SIGNAL = 10  # dimensions of x1
NOISE = 32.0  # E ||x2||^2


class Kept(NamedTuple):
    """What a draw keeps of an example, or of N, with a leading axis.

    Attributes:
      key: `[2]` uint32, data of the key of its noise.
      signal: `[]`, y ||u||.
      noise_sign: `[]`, +1, or -1 in S'.
    """

    key: Any
    signal: Any
    noise_sign: Any


KEPT = Kept(
    jax.ShapeDtypeStruct((2,), jnp.uint32),
    jax.ShapeDtypeStruct((), jnp.float32),
    jax.ShapeDtypeStruct((), jnp.float32),
)


@dataclasses.dataclass(frozen=True)
class Expand:
    """Makes the two parts of x, `[SIGNAL]` and `[dim]`, of its `Kept`.

    Attributes:
      dim: D, dimensions of the noise.
    """

    dim: int

    def __call__(self, kept):
        key = jax.random.wrap_key_data(kept.key)
        noise = jax.random.normal(key, (self.dim,), jnp.float32)
        # JAX draws -5.42 with probability 2^-23 and nothing above 5.22: without that value
        # the law is symmetric to the last bit.
        noise = jnp.where(noise < -5.3, 0.0, noise)
        scale = np.float32(np.sqrt(NOISE / self.dim))
        signal = 2 * kept.signal / np.float32(np.sqrt(SIGNAL))
        return jnp.full((SIGNAL,), signal), kept.noise_sign * scale * noise


def direction(size):
    """u `[SIGNAL]` of the distribution for training sets of m = `size`: ||u||^2 = 1/m."""
    return np.full(SIGNAL, 1 / np.sqrt(SIGNAL * size))


def points(key, count, size):
    """N = `count` examples of the distribution for training sets of `size`: a `Draw`.

    Its `inputs` are a `Kept` of arrays `[N, ...]`.
    """
    label_key, noise_key = jax.random.split(key)
    labels = jax.random.bernoulli(label_key, shape=(count,)).astype(np.int32)
    keys = jax.vmap(jax.random.fold_in, (None, 0))(noise_key, np.arange(count))
    labels = np.asarray(labels)
    inputs = Kept(
        key=np.asarray(jax.random.key_data(keys)),
        signal=((2 * labels - 1) / np.sqrt(size)).astype(np.float32),
        noise_sign=np.ones(count, np.float32),
    )
    return Draw(inputs, labels, {"key": np.asarray(jax.random.key_data(key))})


def negate_noise(inputs, labels):
    """S': ((x1, x2), y) -> ((x1, -x2), y), as the noise is symmetric."""
    return inputs._replace(noise_sign=-inputs.noise_sign), labels
