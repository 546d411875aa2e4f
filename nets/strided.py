"""A small convolutional ReLU network that is quick to train on a CPU."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from nets.mlp import GLOROT_UNIFORM
from nets.operators import Convolution, Dense

_LARGE = 2  # of the first convolutions have 5 x 5 kernels, the others 3 x 3


class _Convolution(nn.Module):
    """A `Convolution` with its kernel and bias, computed as a product of patches."""

    op: Convolution
    size: int
    channels: int
    biases: bool

    @nn.compact
    def __call__(self, x):
        shape = self.size, self.size, x.shape[-1], self.channels
        x = self.op.of_patches(self.param("kernel", GLOROT_UNIFORM, shape), x)
        if self.biases:
            bias = self.param("bias", nn.initializers.zeros, (self.channels,))
            x = x + bias[None, None, None]
        return x


class StridedCNN(nn.Module):
    """`depth` convolutions that halve the image, a hidden layer, a linear layer; ReLU between.

    The first has `width` channels, each other twice as many as the one before, and the hidden
    layer `8 * width` units. Strides stand for pooling, so that every layer is a linear map.

    Attributes:
      image: height, width and channels of the input, which arrives flat.
      width: channels of the first convolution.
      depth: convolutions.
      classes: outputs, C.
      biases: whether layers have biases.
    """

    image: tuple[int, int, int]
    width: int
    depth: int
    classes: int
    biases: bool = False

    def _convolutions(self):
        found, image = [], self.image[:2]
        for _ in range(self.depth):
            found.append(Convolution(image, (2, 2)))
            image = tuple(-(-side // 2) for side in image)
        return found

    def operators(self) -> list[Any]:
        """The linear maps of the layers; see `nets.operators`."""
        return [*self._convolutions(), Dense(), Dense()]

    @nn.compact
    def __call__(self, x):
        """Logits `[..., C]` of inputs `[..., H * W * channels]`."""
        before = x.shape[:-1]
        x = x.reshape(-1, *self.image)
        for layer, op in enumerate(self._convolutions()):
            size, channels = 5 if layer < _LARGE else 3, self.width << layer
            convolution = _Convolution(
                op, size, channels, self.biases, name=f"Layer_{layer}"
            )
            x = nn.relu(convolution(x))
        x = x.reshape(x.shape[0], -1)
        for layer, units in enumerate((8 * self.width, self.classes)):
            dense = nn.Dense(
                units, use_bias=self.biases, kernel_init=GLOROT_UNIFORM,
                name=f"Layer_{self.depth + layer}",
            )  # fmt: skip
            x = dense(nn.relu(x) if layer else x)
        return jnp.reshape(x, (*before, self.classes))
