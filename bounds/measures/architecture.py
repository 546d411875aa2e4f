"""The group `architecture`."""

import chex
import jax.numpy as jnp
from flax import struct

from bounds.network import Measure, Network
from nets.graph import graph_of
from nets.kernels import layers, weight_matrices
from nets.operators import Convolution, operators


@struct.dataclass
class Architecture:
    """What the network is, whatever its weights are.

    Attributes:
      parameters: `[L]`, weights and biases of each layer.
      weights: `[L]`, without the biases.
      units: `[L]`, outputs of each layer.
      convolutions: `[]`, how many layers are convolutions.
      biases: `[]`, how many layers have biases.
      is_chain: `[]`, 1 for a chain of layers with ReLUs between them, 0 for another graph.
      unread: `[]`, operations that hold learned numbers which are in no layer.
    """

    parameters: chex.Array
    weights: chex.Array
    units: chex.Array
    convolutions: chex.Array
    biases: chex.Array
    is_chain: chex.Array
    unread: chex.Array


def architecture(network: Network) -> Architecture:
    """Counts of parameters, units, convolutions and biases: an `Architecture`."""
    kernels = weight_matrices(network.params)
    maps = operators(network.model, network.params)
    biases = ["bias" in layer for layer in layers(network.params)]
    counts = [
        (kernel.size + has_bias * kernel.shape[-1], kernel.size, kernel.shape[-1])
        for kernel, has_bias in zip(kernels, biases, strict=True)
    ]
    graph = graph_of(network.model, network.params)
    parameters, weights, units = (
        jnp.asarray(column) for column in zip(*counts, strict=True)
    )
    return Architecture(
        parameters=parameters,
        weights=weights,
        units=units,
        convolutions=jnp.asarray(sum(isinstance(op, Convolution) for op in maps)),
        biases=jnp.asarray(sum(biases)),
        is_chain=jnp.asarray(int(not graph.no_chain)),
        unread=jnp.asarray(graph.unread),
    )


MEASURES = (Measure.one("architecture", Architecture, architecture),)
