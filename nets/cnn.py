"""A small convolutional ReLU network, between Network-in-Network and VGG."""

import itertools
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from nets.mlp import GLOROT_UNIFORM, glorot_uniform_bias
from nets.operators import Convolution, Dense


class CNN(nn.Module):
    """`depth` blocks of two convolutions, an average over positions, a linear layer.

    A block halves the image by a 3 x 3 convolution of stride 2 and mixes its channels by a
    1 x 1 convolution, ReLU after each, zeros around the image. There is no pooling but the
    last average and no normalisation: every layer is a linear map, so that bounds for ReLU
    networks speak of it.

    Attributes:
      image: height, width and channels of the input, which arrives flat.
      width: channels of every convolution.
      depth: blocks.
      classes: outputs, C.
      biases: whether layers have biases.
    """

    image: tuple[int, int, int]
    width: int
    depth: int
    classes: int
    biases: bool = False

    def _images(self):
        """Height and width of the input and of every block's output."""
        found = [self.image[:2]]
        for _ in range(self.depth):
            height, width = found[-1]
            found.append((-(-height // 2), -(-width // 2)))
        return found

    def operators(self) -> list[Any]:
        """The linear maps of the layers; see `nets.operators`."""
        images, found = self._images(), []
        for before, after in itertools.pairwise(images):
            found += [Convolution(before, (2, 2)), Convolution(after, (1, 1))]
        height, width = images[-1]
        return [*found, Dense(height * width)]

    @nn.compact
    def __call__(self, x):
        """Logits `[..., C]` of inputs `[..., H * W * channels]`."""
        options = {
            "use_bias": self.biases,
            "kernel_init": GLOROT_UNIFORM,
            "bias_init": glorot_uniform_bias,
        }
        x = x.reshape(*x.shape[:-1], *self.image)
        number = 0  # layers are numbered in the order in which the input meets them
        for size, stride in ((3, 2), (1, 1)) * self.depth:
            layer = nn.Conv(
                self.width,
                (size, size),
                (stride, stride),
                padding="SAME",
                name=f"Layer_{number}",
                **options,
            )
            x, number = nn.relu(layer(x)), number + 1
        x = jnp.mean(x, axis=(-3, -2))
        return nn.Dense(self.classes, name=f"Layer_{number}", **options)(x)
