"""Private learning: clipped noisy SGD, whose stability is known and not estimated.

A step descends the mean of the batch's gradients, each clipped to a norm C, plus Gaussian noise
of standard deviation sigma C on their SUM (Abadi et al. 2016). With every example in one batch
an epoch, replacing one example moves one sum an epoch by at most 2 C; all else that happens to
the weights (momentum, other batches, learning rates) only processes what was released. So E
epochs are mu-Gaussian-differentially private, mu = 2 sqrt(E) / sigma (Dong, Roth & Su 2019), as
long as nothing else looks at the data: neither when to stop, nor the initial weights, nor the
order of the examples. `plan` sees to that, also where examples make the training loss infinite:
a run that ended as DIVERGED would have told of them (`Bounded`). Initial weights and hyper-
parameters are the caller's: they must not have been chosen on these examples.

Arithmetic: the 2 C holds for the float32 sums, rounding included. The noise is pseudo-random and
lies on float32's grid, as everywhere; it is the mean of four normals times 2, since one normal
of float32 takes few values and never exceeds 5.42 deviations.
"""

import dataclasses
import math
from typing import Any

import chex
import jax
import jax.numpy as jnp

from nets import losses, training

CHUNK = 64  # examples whose gradients are held at once
LOGITS = 1e6  # no logit is larger
CLIPS = (1e-6, 1e6)  # between them no square that matters over- or underflows
_UNIT = 2.0**-24  # float32's rounding


@dataclasses.dataclass(frozen=True)
class Bounded:
    """A model whose logits are finite whatever it is given, so that every loss is.

    `training.judge` ends a run whose training loss is not: an example with an input of 1e30
    would show in the number of epochs. NaN becomes 0, an error like every tie.

    Attributes:
      model: a Linen module; parameters are its own.
    """

    model: Any

    def init(self, *args: Any) -> Any:
        """As the model's."""
        return self.model.init(*args)

    def apply(self, variables: Any, inputs: chex.ArrayTree) -> jax.Array:
        """Logits `[..., C]`, within `LOGITS`."""
        found = self.model.apply(variables, inputs)
        return jnp.clip(jnp.nan_to_num(found), -LOGITS, LOGITS)


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
            (leaf + self.noise * self.clip * _normal(k, leaf.shape)) / labels.shape[0]
            for leaf, k in zip(leaves, keys, strict=True)
        ]
        fixed = jax.lax.stop_gradient(tree.unflatten(released))
        products = jax.tree.map(lambda p, g: jnp.sum(p * g), params, fixed)
        return sum(jax.tree.leaves(products))


def _normal(key, shape):
    """Unit normals of a finer grid and longer tails than float32's own."""
    return jnp.sum(jax.random.normal(key, (4, *shape)), axis=0) / 2


def rounding(count: int) -> float:
    """By how much `clipped_sum` of N examples shortens the clip, as a fraction of it.

    What rounding can move a sum by is made room for: a squared norm that is some parts in 10^6
    too small, the products and sums of one chunk (those without the example are the same bit
    for bit), the compensated sum over chunks, its last rounding.
    """
    chunks = -(-count // CHUNK)
    last = count + chunks**2 * _UNIT * count
    return 1e-5 + _UNIT * (CHUNK * (CHUNK + 1) + last)


def clipped_sum(
    loss: str,
    clip: float,
    model: Any,
    params: chex.ArrayTree,
    inputs: chex.ArrayTree,
    labels: jax.Array,
) -> chex.ArrayTree:
    """The sum of the gradients of N examples, each scaled down to norm `clip` if it is longer.

    A gradient whose norm is not finite counts as 0. Replacing one example moves the sum by at
    most 2 C, in float32's arithmetic too: see `rounding`.

    Args:
      loss: a name in `losses.LOSSES`.
      clip: C > 0.
      model: a Linen module.
      params: its parameters.
      inputs, labels: `[N, ...]` and `[N]`.

    Returns:
      A tree as `params`.

    Raises:
      ValueError: so many examples that rounding would leave less than half of the clip.
    """
    count = labels.shape[0]
    if not rounding(count) < 0.5:
        raise ValueError(f"{count} examples in one float32 sum; use smaller batches")
    chunks = -(-count // CHUNK)
    longest = clip * (1 - rounding(count))

    def in_chunks(leaf):
        behind = [(0, chunks * CHUNK - count)] + [(0, 0)] * (leaf.ndim - 1)
        return jnp.pad(leaf, behind).reshape(chunks, CHUNK, *leaf.shape[1:])

    def of_one(params, one, label):
        logits = training.logits_of(model, params, jax.tree.map(lambda a: a[None], one))
        return losses.LOSSES[loss](logits[0], label)

    def visit(totals, chunk):
        one, label, known = chunk
        found = jax.vmap(jax.grad(of_one), (None, 0, 0))(params, one, label)
        squares = jax.tree.map(lambda g: jnp.sum(g * g, range(1, g.ndim)), found)
        norm = jnp.sqrt(sum(jax.tree.leaves(squares)))
        counts = known & jnp.isfinite(norm)
        scale = jnp.minimum(1.0, longest / jnp.maximum(norm, 1e-30))

        def of_chunk(gradient):
            own = (slice(None),) + (None,) * (gradient.ndim - 1)
            safe = jnp.where(counts[own], gradient, 0.0)
            weights = jnp.where(counts, scale, 0.0)
            return jnp.tensordot(weights, safe, axes=1, precision="highest")

        return _add_exactly(*totals, jax.tree.map(of_chunk, found)), None

    known = jnp.arange(count) >= 0
    xs = (jax.tree.map(in_chunks, inputs), in_chunks(labels), in_chunks(known))
    zeros = jax.tree.map(jnp.zeros_like, params)
    (total, lost), _ = jax.lax.scan(visit, (zeros, zeros), xs)
    return jax.tree.map(jnp.add, total, lost)


def _add_exactly(total, lost, new):
    """`(total, lost)` with `new` added: `lost` gathers what `total` rounds off (Knuth)."""

    def rest(a, b):
        added = a + b
        moved = added - a
        return (a - (added - moved)) + (b - moved)

    kept = jax.tree.map(lambda a, b, lo: lo + rest(a, b), total, new, lost)
    return jax.tree.map(jnp.add, total, new), kept


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
      model: a Linen module; the plan's is `Bounded`.
      loss: a name in `losses.LOSSES`.
      learning_rate, momentum: of SGD.
      batch_size: it must divide m, or some examples are left out of an epoch (which
        is private all the same).
      epochs: E.
      noise, clip: of `ClippedNoisy`.

    Raises:
      ValueError: no noise, no epochs, or a clip outside `CLIPS`.
    """
    if not (0 < noise < math.inf and CLIPS[0] <= clip <= CLIPS[1] and epochs >= 1):
        raise ValueError(
            f"noise={noise} > 0, clip={clip} in {list(CLIPS)}, epochs={epochs} >= 1"
        )
    return training.Plan(
        model=Bounded(model),
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
