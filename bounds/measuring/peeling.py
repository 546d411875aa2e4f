"""The groups `peeling` and `inputs`: what bounds by peeling layers ask for.

Biases are folded in: W_l becomes [[W_l, 0], [b_l, 1]] (the last layer without the extra
column) and x becomes (x, 1), which computes the same function.
"""

import jax.numpy as jnp

from bounds import arithmetic
from bounds.types import Inputs, Peeling
from nets.kernels import layers, weight_matrices


def augmented(params):
    """The matrices `[in + 1, out + 1]` of a network with biases; `[in, out]` without.

    A layer without a bias in a network that has some gets a bias of 0.
    """
    found = layers(params)
    kernels = [kernel.astype(float) for kernel in weight_matrices(params)]
    if not any("bias" in layer for layer in found):
        return kernels
    matrices = []
    for index, (layer, kernel) in enumerate(zip(found, kernels, strict=True)):
        bias = layer.get("bias", jnp.zeros(kernel.shape[1])).astype(float)
        matrix = jnp.concatenate([kernel, bias[None]])
        if index + 1 < len(found):
            unit = jnp.zeros((matrix.shape[0], 1)).at[-1].set(1.0)
            matrix = jnp.concatenate([matrix, unit], axis=1)
        matrices.append(matrix)
    return matrices


def _log_path(matrices):
    """ln of the sum over all paths of the product of |weights|, scaled as it goes."""
    reached, log_scale = jnp.ones(matrices[0].shape[0]), 0.0
    for matrix in matrices:
        reached = reached @ jnp.abs(matrix)
        largest = jnp.maximum(jnp.max(reached), jnp.finfo(reached.dtype).tiny)
        reached, log_scale = reached / largest, log_scale + jnp.log(largest)
    return arithmetic.log(jnp.sum(reached)) + log_scale


def peeling(network):
    """Products of layer norms and the path norm, of W with its biases: a `Peeling`.

    With two classes the last layer is the difference of its two columns.
    """
    *hidden, last = augmented(network.params)
    is_binary = last.shape[1] == 2
    if is_binary:
        last = last[:, 1:] - last[:, :1]
    log = arithmetic.log
    frobenius = [log(jnp.sum(jnp.square(a))) / 2 for a in hidden]
    incoming = [log(jnp.max(jnp.sum(jnp.abs(a), axis=0))) for a in hidden]
    columns = jnp.sqrt(jnp.sum(jnp.square(last), axis=0))
    return Peeling(
        log_frobenius=sum(frobenius, log(jnp.sum(columns))),
        log_l1=sum(incoming, log(jnp.sum(jnp.abs(last)))),
        log_path=_log_path([*hidden, last]),
        outputs=jnp.asarray(last.shape[1]),
        matrices=jnp.asarray(len(hidden) + 1),
    )


def inputs(network):
    """Norms of the training inputs, with the constant 1 where there are biases: `Inputs`."""
    sample = network.sample
    known = jnp.arange(sample.labels.shape[0]) < sample.size
    squares = jnp.where(known[:, None], jnp.square(sample.inputs.astype(float)), 0.0)
    by_feature = jnp.sum(squares, axis=0)
    features, total = squares.shape[1], jnp.sum(by_feature)
    if any("bias" in layer for layer in layers(network.params)):
        features, total = features + 1, total + sample.size
        by_feature = jnp.append(by_feature, sample.size)
    return Inputs(
        frobenius=jnp.sqrt(total),
        largest_feature=jnp.sqrt(jnp.max(by_feature)),
        features=jnp.asarray(features),
    )
