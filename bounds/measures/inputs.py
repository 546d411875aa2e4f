"""The groups `task`, `inputs` and `first_layer`: what was learned from.

Inputs are (x, 1) where there are biases, but for `task`.
"""

import chex
import jax
import jax.numpy as jnp
from flax import struct

from bounds.network import Measure, Network, Unavailable
from bounds.numerics.linear_maps import Matrix, as_folded, has_biases
from bounds.passes import Pass
from nets.sample import Block


@struct.dataclass
class Task:
    """What was learned from.

    Attributes:
      size: `[]`, m, training examples.
      classes: `[]`, C.
      input_norm_max: `[]`, B = max_i ||x_i||_2 over the training set.
    """

    size: chex.Array
    classes: chex.Array
    input_norm_max: chex.Array


@struct.dataclass
class Inputs:
    """Norms of the training inputs X `[m, D]`, with a constant 1 where there are biases.

    Attributes:
      frobenius: `[]`, ||X||_F.
      largest_feature: `[]`, sqrt(max_j sum_i x_ij^2).
      norm_max: `[]`, max_i ||x_i||_2.
      largest_entry: `[]`, max_ij |x_ij|.
      features: `[]`, D, the constant included.
      plain_largest_feature: `[]`, of X without the constant.
      plain_features: `[]`, D without it.
    """

    frobenius: chex.Array
    largest_feature: chex.Array
    norm_max: chex.Array
    largest_entry: chex.Array
    features: chex.Array
    plain_largest_feature: chex.Array
    plain_features: chex.Array


@struct.dataclass
class FirstLayer:
    """The first layer at initialisation, on the training inputs.

    Attributes:
      frobenius: `[]`, ||X Z_1||_F, biases folded in, before the ReLU.
    """

    frobenius: chex.Array


def known_inputs(block: Block) -> jax.Array:
    """The inputs of a block, `[BLOCK, D]`, as wide as the default float; of padding, zeros."""
    return jnp.where(block.known[:, None], block.inputs, 0).astype(float)


def task_and_inputs(network: Network) -> Pass:
    """The groups `task` and `inputs`."""
    sample, constant = network.sample, int(has_biases(network.params))
    features = sample.inputs.shape[1]

    def visit(totals, block):
        by_feature, norm, entry = totals
        x = known_inputs(block)
        # Sums as products: a row's numbers one after the other are not added several at once.
        squares = jnp.square(x)
        return (
            by_feature + jnp.ones(len(x)) @ squares,
            jnp.maximum(norm, jnp.max(squares @ jnp.ones(features))),
            jnp.maximum(entry, jnp.max(jnp.abs(x))),
        )

    def end(totals):
        return _task_and_inputs(network, constant, *totals)

    zero = jnp.zeros(())
    return Pass((jnp.zeros(features), zero, zero), visit, end)


def _task_and_inputs(network, constant, by_feature, norm, entry):
    sample, features = network.sample, by_feature.size
    constants = constant * sample.size
    logits = jax.eval_shape(
        lambda x: network.model.apply({"params": network.params}, x), sample.inputs[:1]
    )
    return {
        "task": Task(
            size=sample.size,
            classes=jnp.asarray(logits.shape[-1], jnp.int32),
            input_norm_max=jnp.sqrt(norm),
        ),
        "inputs": Inputs(
            frobenius=jnp.sqrt(jnp.sum(by_feature) + constants),
            largest_feature=jnp.sqrt(jnp.maximum(jnp.max(by_feature), constants)),
            norm_max=jnp.sqrt(norm + constant),
            largest_entry=jnp.maximum(entry, constant),
            features=jnp.asarray(features + constant),
            plain_largest_feature=jnp.sqrt(jnp.max(by_feature)),
            plain_features=jnp.asarray(features),
        ),
    }


def first_layer(network: Network) -> Pass:
    """The initial first layer on the training inputs: the group `first_layer`."""
    first = as_folded(network.model, network.init)[0]
    if not isinstance(first, Matrix):
        raise Unavailable("no derivation for convolutions")
    features = network.sample.inputs.shape[1]
    weights, constants = first.entries[:features], first.entries[features:]

    def visit(total, block):
        products = known_inputs(block) @ weights + jnp.sum(constants, axis=0)[None]
        squares = jnp.square(jnp.where(block.known[:, None], products, 0.0))
        return total + jnp.sum(squares)

    def end(squared):
        return {"first_layer": FirstLayer(frobenius=jnp.sqrt(squared))}

    return Pass(jnp.zeros(()), visit, end)


MEASURES = (
    Measure.several({"task": Task, "inputs": Inputs}, task_and_inputs),
    Measure.several({"first_layer": FirstLayer}, first_layer, ("init",)),
)
