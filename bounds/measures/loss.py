"""The loss as a function of the kernels: what sharpness and curvature speak of.

Softmax cross-entropy, nats, whatever loss was trained on, over the first training examples
(`EXAMPLES` if nothing else is said), as a function of all weights but the biases, which stay as
they are. Kernels are a dict `{"0/kernel": array, ...}`.
Passes over the examples are float32, in blocks.
"""

from collections.abc import Callable
from typing import Any

import chex
import jax
import jax.numpy as jnp
from flax import struct

from bounds.network import Network
from nets.graph import graph_of
from nets.kernels import from_arrays, to_arrays
from nets.losses import LOSSES
from nets.margins import margin
from nets.operators import Convolution, operators
from nets.sample import fold_blocks
from nets.training import logits_of

EXAMPLES = 1024  # the first training examples, a whole number of blocks


@struct.dataclass
class Slope:
    """The loss at a point, and where it rises.

    Attributes:
      loss: `[]`, the mean loss.
      wrong: `[]`, examples whose margin is not positive.
      direction: the gradient of the loss up to a positive factor, as the kernels.
    """

    loss: chex.Array
    wrong: chex.Array
    direction: dict[str, chex.Array]


def kernels_of(params: chex.ArrayTree) -> dict[str, jax.Array]:
    """The kernels of `params`, or their parts (see `nets.linear`): a flat dict."""
    return {
        name: leaf
        for name, leaf in to_arrays(params).items()
        if name.split("/")[1].startswith(("kernel", "part_"))
    }


def logits_at(
    network: Network, kernels: chex.ArrayTree, inputs: jax.Array
) -> jax.Array:
    """Logits `[N, C]` of the network with other kernels."""
    params = from_arrays(to_arrays(network.params) | kernels, network.params)
    if any(isinstance(op, Convolution) for op in operators(network.model, params)):
        graph = graph_of(network.model, params)
        return graph.values(params, inputs, by_patches=True)[-1].reshape(
            inputs.shape[0], -1
        )
    return logits_of(network.model, params, inputs)


def size_of(network: Network, limit: int = EXAMPLES) -> jax.Array:
    """How many examples are looked at, `[]`."""
    return jnp.minimum(network.sample.size, limit)


def visit_blocks(
    network: Network, visit: Callable[..., Any], start: Any, limit: int = EXAMPLES
) -> Any:
    """Folds `visit(carry, inputs, labels, known)` over blocks of the first examples.

    `known` `[BLOCK]` says which rows count.
    """

    def body(carry, block):
        return visit(carry, block.inputs, block.labels, block.known)

    with jax.default_matmul_precision("highest"):
        return fold_blocks(network.sample, body, start, size=size_of(network, limit))


def log_odds(logits: jax.Array, label: jax.Array) -> jax.Array:
    """ln((1 - p) / p) `[]` of the label's softmax probability p: the loss is softplus of it.

    Args:
      logits: `[C]`.
      label: `[]`.
    """
    is_label = jnp.arange(logits.shape[0]) == label
    others = jnp.where(is_label, -jnp.inf, logits)
    return jax.nn.logsumexp(others) - logits[label]


def loss_of(name: str) -> Callable[[jax.Array, jax.Array], jax.Array]:
    """(logits `[C]`, label `[]`) -> the loss `[]` of a name in `nets.losses.LOSSES`.

    Softmax cross-entropy in a form whose gradient keeps its relative precision where p is near 1.
    """
    if name == "softmax":
        return lambda logits, label: jax.nn.softplus(log_odds(logits, label))
    return LOSSES[name]


def losses_at(
    network: Network, kernels: chex.ArrayTree, inputs: jax.Array, labels: jax.Array
) -> jax.Array:
    """The loss of each example, `[N]`."""
    logits = logits_at(network, kernels, inputs)
    return jax.vmap(loss_of("softmax"))(logits, labels)


def loss_at(network: Network, kernels: chex.ArrayTree) -> jax.Array:
    """The mean loss `[]` of the network with other kernels."""

    def visit(total, inputs, labels, known):
        losses = losses_at(network, kernels, inputs, labels)
        return total + jnp.sum(jnp.where(known, losses, 0.0))

    start = jnp.zeros((), jnp.float32)
    return visit_blocks(network, visit, start) / size_of(network)


def slope_at(network: Network, kernels: chex.ArrayTree) -> Slope:
    """The loss and its `Slope` at other kernels.

    Where every margin is large the gradient underflows, and ascent would stand still. An
    example's weight in it, 1 - p, is therefore taken relative to the largest: the weights
    are kept as logarithms and the sums rescaled whenever a larger one comes.
    """

    def of_block(kernels, inputs, labels, known):
        logits = logits_at(network, kernels, inputs)
        odds = jax.vmap(log_odds)(logits, labels)
        log_weights = jnp.where(known, jax.nn.log_sigmoid(odds), -jnp.inf)
        top = jax.lax.stop_gradient(jnp.max(log_weights))
        weights = jax.lax.stop_gradient(jnp.exp(log_weights - top))
        rise = jnp.sum(jnp.where(known, weights * odds, 0.0))
        loss = jnp.sum(jnp.where(known, jax.nn.softplus(odds), 0.0))
        wrong = jnp.sum(known & ~(jax.vmap(margin)(logits, labels) > 0), dtype=int)
        return rise, (top, loss, wrong)

    def visit(carry, *block):
        top, slope = carry
        direction, (its_top, loss, wrong) = jax.grad(of_block, has_aux=True)(
            kernels, *block
        )
        new_top = jnp.maximum(top, its_top)
        old, new = jnp.exp(top - new_top), jnp.exp(its_top - new_top)
        both = jax.tree.map(lambda a, b: old * a + new * b, slope.direction, direction)
        return new_top, Slope(slope.loss + loss, slope.wrong + wrong, both)

    lowest = jnp.full((), jnp.finfo(jnp.float32).min)
    nothing = Slope(
        jnp.zeros((), jnp.float32),
        jnp.zeros((), int),
        jax.tree.map(jnp.zeros_like, kernels),
    )
    _, found = visit_blocks(network, visit, (lowest, nothing))
    return found.replace(loss=found.loss / size_of(network))


def finite_or_inf(value: jax.Array) -> jax.Array:
    """What is no number, because the network overflowed, as infinity; a wide float."""
    return jnp.where(jnp.isnan(value), jnp.inf, value.astype(float))
