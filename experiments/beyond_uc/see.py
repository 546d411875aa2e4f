"""Looking at one network: what it predicts, and how it does, on sets of points."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from nets import losses, training
from nets.margins import margin
from nets.sample import fold_blocks


@dataclasses.dataclass(frozen=True)
class See:
    """The `measure` of a look: predictions, margins and losses on its sets.

    Attributes:
      model: a Linen module.
      loss: a name in `losses.LOSSES`.
      sets: names; the test set is shared, the others are arguments.
      noise: of `Look`.
    """

    model: Any
    loss: str
    sets: tuple[str, ...]
    noise: float

    def __call__(self, shared, arguments):
        params, key, own = arguments
        if self.noise:
            params = _noised(params, jax.random.wrap_key_data(key), self.noise)
        found = {}
        for name in self.sets:
            sample = shared if name == "test" else own[name]
            for what, values in self._on(params, sample).items():
                if what in ("prediction", "wrong") or name != "test":
                    found[f"{name}/{what}"] = values
        return found, {}

    def _on(self, params, sample):
        def visit(found, block):
            logits = training.logits_of(self.model, params, block.inputs)
            margins = jax.vmap(margin)(logits, block.labels)
            new = {
                "prediction": jnp.argmax(logits, axis=-1).astype(jnp.int16),
                "wrong": ~(margins > 0),
                "margin": jnp.where(jnp.isnan(margins), -jnp.inf, margins),
                "loss": jax.vmap(losses.LOSSES[self.loss])(logits, block.labels),
            }
            return {
                name: jax.lax.dynamic_update_slice_in_dim(
                    found[name], new[name].astype(found[name].dtype), block.start, 0
                )
                for name in found
            }

        rows = sample.labels.shape
        empty = {
            "prediction": jnp.zeros(rows, jnp.int16),
            "wrong": jnp.zeros(rows, bool),
            "margin": jnp.zeros(rows, jnp.float32),
            "loss": jnp.zeros(rows, jnp.float32),
        }
        with jax.default_matmul_precision("highest"):
            return fold_blocks(sample, visit, empty)


def _noised(params, key, noise):
    """Gaussian noise on every array, in units of its root mean square."""
    leaves, tree = jax.tree.flatten(params)
    keys = jax.random.split(key, len(leaves))
    return tree.unflatten(
        [
            leaf
            + noise
            * jnp.sqrt(jnp.mean(jnp.square(leaf)))
            * jax.random.normal(k, leaf.shape, leaf.dtype)
            for leaf, k in zip(leaves, keys, strict=True)
        ]
    )
