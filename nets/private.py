"""Private learning: clipped noisy SGD, whose stability is known and not estimated.

A step descends the mean of the batch's gradients, each clipped to a norm C, plus Gaussian noise
of standard deviation sigma C on their SUM (Abadi et al. 2016). With every example in one batch
an epoch, replacing one example moves one sum an epoch by at most 2 C; all else that happens to
the weights (momentum, other batches, learning rates) only processes what was released. So E
epochs are mu-Gaussian-differentially private, mu = 2 sqrt(E) / sigma (Dong, Roth & Su 2019), as
long as nothing else looks at the data: neither when to stop, nor the initial weights, nor the
order of the examples. `plan` sees to that.
"""

import dataclasses
from typing import Any

import chex
import jax
import jax.numpy as jnp

from nets import losses, training

CHUNK = 64  # examples whose gradients are held at once
# Float32 sums of squares may be too small by a few parts in 10^6.
_ROUNDING = 1e-5


@dataclasses.dataclass(frozen=True)
class ClippedNoisy:
    """An objective of `training.Plan` whose gradient is the clipped noisy one.

    Attributes:
      loss: a name in `losses.LOSSES`.
      clip: C, l2, over all parameters.
      noise: sigma, deviation of the noise on the sum in units of C.
    """

    loss: str
    clip: float
    noise: float

    def __call__(
        self,
        model: Any,
        params: chex.ArrayTree,
        inputs: chex.ArrayTree,
        labels: jax.Array,
        size: jax.Array,
        key: chex.PRNGKey,
    ) -> jax.Array:
        """`[]`; its value means nothing. Arguments as of `Plan.batch_objective`."""
        del size
        total = clipped_sum(self.loss, self.clip, model, params, inputs, labels)
        leaves, tree = jax.tree.flatten(total)
        keys = jax.random.split(key, len(leaves))
        released = [
            (leaf + self.noise * self.clip * jax.random.normal(k, leaf.shape))
            / labels.shape[0]
            for leaf, k in zip(leaves, keys, strict=True)
        ]
        fixed = jax.lax.stop_gradient(tree.unflatten(released))
        products = jax.tree.map(lambda p, g: jnp.sum(p * g), params, fixed)
        return sum(jax.tree.leaves(products))


def clipped_sum(
    loss: str,
    clip: float,
    model: Any,
    params: chex.ArrayTree,
    inputs: chex.ArrayTree,
    labels: jax.Array,
) -> chex.ArrayTree:
    """The sum of the gradients of N examples, each scaled down to norm `clip` if it is longer.

    A gradient that is not finite counts as 0: the sum stays within reach of every example.

    Args:
      loss: a name in `losses.LOSSES`.
      clip: C > 0.
      model: a Linen module.
      params: its parameters.
      inputs, labels: `[N, ...]` and `[N]`.

    Returns:
      A tree as `params`.
    """
    count = labels.shape[0]
    chunks = -(-count // CHUNK)

    def in_chunks(leaf):
        behind = [(0, chunks * CHUNK - count)] + [(0, 0)] * (leaf.ndim - 1)
        return jnp.pad(leaf, behind).reshape(chunks, CHUNK, *leaf.shape[1:])

    def of_one(params, one, label):
        logits = training.logits_of(model, params, jax.tree.map(lambda a: a[None], one))
        return losses.LOSSES[loss](logits[0], label)

    def visit(total, chunk):
        one, label, known = chunk
        found = jax.vmap(jax.grad(of_one), (None, 0, 0))(params, one, label)
        squares = jax.tree.map(lambda g: jnp.sum(g * g, range(1, g.ndim)), found)
        norm = jnp.sqrt(sum(jax.tree.leaves(squares)))
        counts = known & jnp.isfinite(norm)
        scale = jnp.minimum(1.0, clip * (1 - _ROUNDING) / jnp.maximum(norm, 1e-30))

        def add(kept, gradient):
            own = (slice(None),) + (None,) * (gradient.ndim - 1)
            safe = jnp.where(counts[own], gradient, 0.0)
            return kept + jnp.tensordot(jnp.where(counts, scale, 0.0), safe, axes=1)

        return jax.tree.map(add, total, found), None

    known = jnp.arange(count) >= 0
    xs = (jax.tree.map(in_chunks, inputs), in_chunks(labels), in_chunks(known))
    return jax.lax.scan(visit, jax.tree.map(jnp.zeros_like, params), xs)[0]


def plan(
    model: Any,
    loss: str,
    learning_rate: float,
    batch_size: int,
    epochs: int,
    noise: float,
    clip: float = 1.0,
    momentum: float = 0.0,
) -> training.Plan:
    """A `training.Plan` whose runs end after `epochs` epochs, whatever the data.

    Args:
      model: a Linen module.
      loss: a name in `losses.LOSSES`.
      learning_rate, momentum: of SGD.
      batch_size: it must divide m, or some examples are left out of an epoch (which
        is private all the same).
      epochs: E.
      noise, clip: of `ClippedNoisy`.

    Raises:
      ValueError: no noise, or no clipping.
    """
    if not (noise > 0 and clip > 0):
        raise ValueError(f"noise={noise}, clip={clip}: both must be > 0")
    return training.Plan(
        model=model,
        loss=loss,
        learning_rate=learning_rate,
        batch_size=batch_size,
        shuffle=False,
        margin=0.0,
        threshold=-1.0,  # never reached
        loss_target=None,
        max_epochs=epochs,
        momentum=momentum,
        objective=ClippedNoisy(loss, clip, noise),
    )
