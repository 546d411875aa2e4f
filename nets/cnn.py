"""A small convolutional ReLU network, between Network-in-Network and VGG."""

import itertools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from nets.mlp import GLOROT_UNIFORM, glorot_uniform_bias
from nets.operators import Convolution, Dense


class ConvolutionLayer(nn.Module):
    """A `Convolution` with a kernel of its own, `[size, size, in, channels]`, and a bias or none.

    Attributes:
      op: the map.
      channels: outputs.
      size: height and width of the kernel.
      use_bias: whether there is a bias.
      bias_init: its initial values.
    """

    op: Convolution
    channels: int
    size: int
    use_bias: bool
    bias_init: Callable[..., jax.Array] = glorot_uniform_bias

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        """`[N, H', W', channels]` of images `[N, H, W, in]`."""
        shape = self.size, self.size, x.shape[-1], self.channels
        kernel = self.param("kernel", GLOROT_UNIFORM, shape)
        kernel, x = (a.astype(jnp.result_type(kernel, x)) for a in (kernel, x))
        y = (self.op.in_training if train else self.op.of_batch)(kernel, x)
        if self.use_bias:
            bias = self.param("bias", self.bias_init, (self.channels,))
            y += jnp.broadcast_to(bias, y.shape)
        return y


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

    has_training_mode = True

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
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        """Logits `[..., C]` of inputs `[..., H * W * channels]`.

        Args:
          x: the inputs.
          train: run it as its gradients are fast; the function is the same.
        """
        inputs = x.shape[:-1]
        x = x.reshape(-1, *self.image)
        *convolutions, _ = self.operators()
        for number, op in enumerate(convolutions):  # in the order in which x meets them
            size = 1 if number % 2 else 3
            layer = ConvolutionLayer(
                op, self.width, size, self.biases, name=f"Layer_{number}"
            )
            x = nn.relu(layer(x, train))
        last = nn.Dense(
            self.classes,
            use_bias=self.biases,
            kernel_init=GLOROT_UNIFORM,
            bias_init=glorot_uniform_bias,
            name=f"Layer_{len(convolutions)}",
        )
        return last(jnp.mean(x, axis=(-3, -2))).reshape(*inputs, self.classes)
