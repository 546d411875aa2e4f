"""Small convolutional ReLU networks whose strides stand for pooling: quick to train on a CPU."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from nets.cnn import ConvolutionLayer
from nets.mlp import GLOROT_UNIFORM
from nets.operators import Convolution, Dense

_LARGE = 2  # of the first convolutions have 5 x 5 kernels, the others 3 x 3


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
        before, zeros = x.shape[:-1], nn.initializers.zeros
        x = x.reshape(-1, *self.image)
        for layer, op in enumerate(self._convolutions()):
            size, channels = 5 if layer < _LARGE else 3, self.width << layer
            convolution = ConvolutionLayer(
                op, channels, size, self.biases, zeros, name=f"Layer_{layer}"
            )
            # Always as gradients are fast: objectives run it as they like.
            x = nn.relu(convolution(x, train=True))
        x = x.reshape(x.shape[0], -1)
        for layer, units in enumerate((8 * self.width, self.classes)):
            dense = nn.Dense(
                units, use_bias=self.biases, kernel_init=GLOROT_UNIFORM,
                name=f"Layer_{self.depth + layer}",
            )  # fmt: skip
            x = dense(nn.relu(x) if layer else x)
        return jnp.reshape(x, (*before, self.classes))


class LeNet5(nn.Module):
    """LeNet-5 (LeCun, Bottou, Bengio & Haffner 1998) with ReLUs, and strides for its pooling.

    Of images of 28 x 28: two 5 x 5 convolutions, of 6 channels (14 x 14) and 16 (5 x 5), hidden
    layers of 120 and 84 units, a linear layer. Of another width so many times more of each.

    Attributes:
      image: height, width and channels of the input, which arrives flat.
      width: channels of the first convolution, 6 as published.
      classes: outputs, C.
      biases: whether layers have biases.
    """

    image: tuple[int, int, int]
    width: int
    classes: int
    biases: bool = False

    def _convolutions(self):
        first = Convolution(self.image[:2], (2, 2))
        halved = tuple(-(-side // 2) for side in self.image[:2])
        return [first, Convolution(halved, (2, 2), ((0, 0), (0, 0)))]

    def operators(self) -> list[Any]:
        """The linear maps of the layers; see `nets.operators`."""
        return [*self._convolutions(), Dense(), Dense(), Dense()]

    @nn.compact
    def __call__(self, x):
        """Logits `[..., C]` of inputs `[..., H * W * channels]`."""
        before, zeros = x.shape[:-1], nn.initializers.zeros
        channels, *hidden = (self.width * n // 6 for n in (16, 120, 84))
        x = x.reshape(-1, *self.image)
        each = zip(self._convolutions(), (self.width, channels), strict=True)
        for layer, (op, own) in enumerate(each):
            convolution = ConvolutionLayer(
                op, own, 5, self.biases, zeros, name=f"Layer_{layer}"
            )
            # Always as gradients are fast: objectives run it as they like.
            x = nn.relu(convolution(x, train=True))
        x = x.reshape(x.shape[0], -1)
        for layer, units in enumerate((*hidden, self.classes)):
            dense = nn.Dense(
                units, use_bias=self.biases, kernel_init=GLOROT_UNIFORM,
                name=f"Layer_{2 + layer}",
            )  # fmt: skip
            x = dense(nn.relu(x) if layer else x)
        return jnp.reshape(x, (*before, self.classes))
