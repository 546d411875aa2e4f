"""The groups `task`, `inputs` and `first_layer`: what was learned from.

Inputs are (x, 1) where there are biases, but for `task`.
"""

from collections.abc import Callable
from typing import Any

import chex
import jax
import jax.numpy as jnp
from flax import struct

from bounds.network import Measure, Network, Unavailable
from bounds.numerics.linear_maps import Matrix, as_folded, has_biases
from nets.sample import Sample, fold_blocks


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


def over_blocks(sample: Sample, visit: Callable[..., Any], totals: Any) -> Any:
    """`visit(x, known, totals)` over the inputs of a sample, block by block.

    x is `[block, D]`, as wide as the default float; rows that are not `known` are zeros.
    """

    def of_block(totals, block):
        x = jnp.where(block.known[:, None], block.inputs, 0).astype(float)
        return visit(x, block.known, totals)

    with jax.default_matmul_precision("highest"):
        return fold_blocks(sample, of_block, totals)


def task_and_inputs(network: Network) -> dict[str, Any]:
    """The groups `task` and `inputs`, which share the pass over the training inputs."""
    sample, constant = network.sample, int(has_biases(network.params))

    def visit(x, _, totals):
        by_feature, norm, entry = totals
        squares = jnp.square(x)
        return (
            by_feature + jnp.sum(squares, axis=0),
            jnp.maximum(norm, jnp.max(jnp.sum(squares, axis=1))),
            jnp.maximum(entry, jnp.max(jnp.abs(x))),
        )

    features = sample.inputs.shape[1]
    zero = jnp.zeros(())
    totals = jnp.zeros(features), zero, zero
    by_feature, norm, entry = over_blocks(sample, visit, totals)
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


def first_layer(network: Network) -> FirstLayer:
    """The initial first layer on the training inputs: `FirstLayer`."""
    first = as_folded(network.model, network.init)[0]
    if not isinstance(first, Matrix):
        raise Unavailable("no derivation for convolutions")
    features = network.sample.inputs.shape[1]
    weights, constants = first.entries[:features], first.entries[features:]

    def visit(x, known, total):
        products = x @ weights + jnp.sum(constants, axis=0)[None]
        return total + jnp.sum(jnp.where(known[:, None], jnp.square(products), 0.0))

    squared = over_blocks(network.sample, visit, jnp.zeros(()))
    return FirstLayer(frobenius=jnp.sqrt(squared))


MEASURES = (
    Measure.several({"task": Task, "inputs": Inputs}, task_and_inputs),
    Measure.one("first_layer", FirstLayer, first_layer, ("init",)),
)
