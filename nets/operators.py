"""What a layer is as a linear map, biases aside: a matrix, or a convolution of an image.

A network here is x -> A_1 x -> ReLU -> A_2 ... -> A_L: linear maps (with or without biases)
and ReLUs between them. A model that is not made of dense layers alone says what its maps
are by a method `operators()`, one entry a layer, the input's first.
"""

import dataclasses
from typing import Any

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp

from nets.kernels import layers


@dataclasses.dataclass(frozen=True)
class Dense:
    """x -> x W; inputs `[positions, in]` are averaged over their positions first.

    Attributes:
      positions: of the image that it averages; 1 for a vector.
    """

    positions: int = 1

    def matrix(self, kernel: jax.Array) -> jax.Array:
        """The matrix `[positions * in, out]` of the map."""
        return jnp.tile(kernel / self.positions, (self.positions, 1))


@dataclasses.dataclass(frozen=True)
class Convolution:
    """Cross-correlation of an image with a kernel `[kh, kw, in, out]`, zeros around it.

    Attributes:
      image: height and width of its own input.
      strides: of the output.
    """

    image: tuple[int, int]
    strides: tuple[int, int]

    def apply(self, kernel: jax.Array, x: jax.Array) -> jax.Array:
        """`[H', W', out]` of `x`: `[H * W * in]` in any shape."""
        x = x.reshape(1, *self.image, kernel.shape[2])
        return jax.lax.conv_general_dilated(
            x,
            kernel,
            self.strides,
            "SAME",
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            precision=jax.lax.Precision.HIGHEST,
        )[0]


def is_dense(model: nn.Module, params: chex.ArrayTree) -> bool:
    """Whether all layers of a network are `Dense` layers of vectors."""
    return all(op == Dense() for op in operators(model, params))


def operators(model: nn.Module, params: chex.ArrayTree) -> list[Any]:
    """The linear maps of a network's layers: a list of `Dense` and `Convolution`."""
    if hasattr(model, "operators"):
        return model.operators()
    return [Dense()] * len(layers(params))
