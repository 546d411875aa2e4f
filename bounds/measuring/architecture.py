"""The group `architecture`."""

import jax.numpy as jnp

from bounds.groups import Architecture
from nets.kernels import layers, weight_matrices
from nets.operators import Convolution, operators


def architecture(network):
    """Counts of parameters, units, convolutions and biases: an `Architecture`."""
    kernels = weight_matrices(network.params)
    maps = operators(network.model, network.params)
    biases = ["bias" in layer for layer in layers(network.params)]
    counts = [
        (kernel.size + has_bias * kernel.shape[-1], kernel.size, kernel.shape[-1])
        for kernel, has_bias in zip(kernels, biases, strict=True)
    ]
    parameters, weights, units = (
        jnp.asarray(column) for column in zip(*counts, strict=True)
    )
    return Architecture(
        parameters=parameters,
        weights=weights,
        units=units,
        convolutions=jnp.asarray(sum(isinstance(op, Convolution) for op in maps)),
        biases=jnp.asarray(sum(biases)),
    )
