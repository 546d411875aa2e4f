"""Losses of one example."""

import chex
import jax
import jax.numpy as jnp
import optax


def sigmoid_cross_entropy(logits: jax.Array, label: jax.Array) -> jax.Array:
    """C independent logistic losses against the one-hot label, AVERAGED over classes.

    The loss of Nagarajan & Kolter's code (2019): with C classes the step of each logit is
    1/C of the learning rate.

    Args:
      logits: `[C]`.
      label: `[]`, integer.

    Returns:
      The loss in nats, `[]`.
    """
    chex.assert_rank([logits, label], [1, 0])
    target = jax.nn.one_hot(label, logits.shape[0])
    return jnp.mean(optax.sigmoid_binary_cross_entropy(logits, target))


def softmax_cross_entropy(logits: jax.Array, label: jax.Array) -> jax.Array:
    """-log of the softmax probability of the label, in nats; arguments as above."""
    chex.assert_rank([logits, label], [1, 0])
    return optax.softmax_cross_entropy_with_integer_labels(logits, label)


def squared_error(logits: jax.Array, label: jax.Array) -> jax.Array:
    """Squared distance to the one-hot label, averaged over classes; arguments as above."""
    chex.assert_rank([logits, label], [1, 0])
    target = jax.nn.one_hot(label, logits.shape[0])
    return jnp.mean(jnp.square(logits - target))


def linear(logits: jax.Array, label: jax.Array) -> jax.Array:
    """Minus the lead of the true class over the mean of the others: linear in the logits.

    With two classes, minus the margin. Its gradient does not depend on the weights of a
    linear classifier, so that an epoch from 0 at batch 1 is one step on the summed loss.
    Arguments as above.
    """
    chex.assert_rank([logits, label], [1, 0])
    target = jax.nn.one_hot(label, logits.shape[0])
    others = (1 - target) / (logits.shape[0] - 1)
    return jnp.sum((others - target) * logits)


LOSSES = {
    "sigmoid": sigmoid_cross_entropy,
    "softmax": softmax_cross_entropy,
    "squared": squared_error,
    "linear": linear,
}
