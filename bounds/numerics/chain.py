"""A network as the chain of its layers, each a function of what arrives at it.

A convolution is the product of its kernel with patches of the image: so are its gradients
then, for which the compiled loops that measuring consists of have no fast convolution on a CPU.
"""

from collections.abc import Callable, Sequence

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp

from bounds.network import Unavailable
from nets.kernels import layers
from nets.operators import Convolution, operators


def _patches(op, kernel, x):
    """What each output position sees: `[N, H', W', kh * kw * in]` of `x` `[N, ...]`."""
    x = x.reshape(x.shape[0], *op.image, kernel.shape[2])
    sizes, around = [], [(0, 0)]
    for size, window, stride in zip(op.image, kernel.shape, op.strides, strict=False):
        sizes.append(-(-size // stride))
        zeros = max((sizes[-1] - 1) * stride + window - size, 0)
        around.append((zeros // 2, zeros - zeros // 2))
    x = jnp.pad(x, [*around, (0, 0)])
    rows, columns = ((n - 1) * s + 1 for n, s in zip(sizes, op.strides, strict=True))
    down, right = op.strides
    return jnp.concatenate(
        [
            x[:, i : i + rows : down, j : j + columns : right]
            for i in range(kernel.shape[0])
            for j in range(kernel.shape[1])
        ],
        axis=-1,
    )


def _function(op):
    """(layer, x `[N, ...]`) -> what leaves it, `[N, units]` or `[N, H', W', channels]`."""

    def apply(layer, x):
        kernel = layer["kernel"]
        if isinstance(op, Convolution):
            x = _patches(op, kernel, x) @ kernel.reshape(-1, kernel.shape[-1])
        else:
            x = x.reshape(x.shape[0], op.positions, -1)
            x = jnp.mean(x, axis=1) @ kernel
        return x + jnp.broadcast_to(layer["bias"], x.shape) if "bias" in layer else x

    return apply


def has_convolutions(model: nn.Module, params: chex.ArrayTree) -> bool:
    """Whether some layer is a convolution."""
    return any(isinstance(op, Convolution) for op in operators(model, params))


def functions(
    model: nn.Module, params: chex.ArrayTree
) -> list[Callable[..., jax.Array]]:
    """One function a layer: (its parameters, what arrives) -> what leaves it, no ReLU.

    Raises:
      Unavailable: a layer has its weights in parts (`nets.linear`).
    """
    if any("kernel" not in layer for layer in layers(params)):
        raise Unavailable("no derivation for weights in parts")
    return [_function(op) for op in operators(model, params)]


def logits(
    model: nn.Module,
    params: chex.ArrayTree,
    inputs: jax.Array,
    shifts: Sequence[jax.Array] | None = None,
) -> tuple[jax.Array, list[jax.Array]]:
    """Logits `[N, C]`, and what arrives at every layer.

    Args:
      model: the Linen module.
      params: its parameters.
      inputs: `[N, D]`.
      shifts: added to what arrives, an array or 0 a layer.
    """
    x, arriving = inputs, []
    every = zip(functions(model, params), layers(params), strict=True)
    for place, (apply, layer) in enumerate(every):
        x = jax.nn.relu(x) if place else x
        arriving.append(x if shifts is None else x + shifts[place])
        x = apply(layer, arriving[-1])
    return x, arriving
