"""Convolutional networks with batch normalisation: plain, residual, and with max-pooling.

The running mean and variance of a normalisation are parameters that no gradient moves: a step of
training puts new ones in their place (`moved`). They are a function of the training set like all
that is learned, and are stored, resumed and measured with it. For measuring, normalisation is
folded into the convolution in front of it (`bounds.folded`).
"""

from collections.abc import Mapping
from typing import Any

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp

from nets.mlp import GLOROT_UNIFORM, glorot_uniform_bias
from nets.operators import Convolution

MOVED = "moved"  # the collection of running statistics after a step
KEPT = 0.9  # of a running statistic that a step keeps
FLOOR = 1e-5  # added to a variance


class NormalisedConvolution(nn.Module):
    """A convolution without bias, then batch normalisation: s (y - mean) / sqrt(variance) + t.

    Parameters: `kernel` `[size, size, in, channels]`; `scale` s and `shift` t; the running `mean`
    and `variance`, all `[channels]` (Ioffe & Szegedy 2015).

    Attributes:
      channels: outputs.
      size: of the kernel, height and width.
      stride: of the output; zeros around the image (SAME).
    """

    channels: int
    size: int = 3
    stride: int = 1

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        """`[N, H', W', channels]` of images `[N, H, W, in]`.

        Args:
          x: the images.
          train: normalise by the batch, and move the running statistics.
        """
        op = Convolution(x.shape[1:3], (self.stride, self.stride))
        kernel = self.param(
            "kernel",
            GLOROT_UNIFORM,
            (self.size, self.size, x.shape[-1], self.channels),
        )
        y = (op.in_training if train else op.of_batch)(kernel, x)
        ones, zeros = nn.initializers.ones, nn.initializers.zeros
        of_channel = (self.channels,)
        scale = self.param("scale", ones, of_channel)
        shift = self.param("shift", zeros, of_channel)
        running = {
            "mean": self.param("mean", zeros, of_channel),
            "variance": self.param("variance", ones, of_channel),
        }
        found = jax.lax.stop_gradient(running)
        if train:
            found = {"mean": jnp.mean(y, (0, 1, 2)), "variance": jnp.var(y, (0, 1, 2))}
            for name, old in running.items():
                new = KEPT * old + (1 - KEPT) * found[name]
                self.sow(
                    MOVED, name, jax.lax.stop_gradient(new),
                    reduce_fn=lambda _, last: last, init_fn=lambda: None,
                )  # fmt: skip
        factor = scale * jax.lax.rsqrt(found["variance"] + FLOOR)
        along = (1, 1, 1, -1)
        y = (y - found["mean"].reshape(along)) * factor.reshape(along)
        return y + shift.reshape(along)


class _Normalised(nn.Module):
    """What they share: images arrive flat; in the end an average over positions, a linear layer.

    Attributes:
      image: height, width and channels of an input.
      width: channels of the first stage; each further stage has twice as many.
      depth: of a stage, in blocks.
      classes: outputs, C.
      biases: whether the last layer has one.
    """

    image: tuple[int, int, int]
    width: int
    depth: int
    classes: int
    biases: bool = True

    is_normalised = has_training_mode = True

    def _last(self, x, number):
        x = jnp.mean(x, axis=(1, 2))
        return nn.Dense(
            self.classes,
            use_bias=self.biases,
            kernel_init=GLOROT_UNIFORM,
            bias_init=glorot_uniform_bias,
            name=f"Layer_{number}",
        )(x)


STAGES = 3


class NormalisedCNN(_Normalised):
    """`nets.cnn.CNN` with normalisation: `depth` blocks of two convolutions, all of `width`."""

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        """Logits `[N, C]` of inputs `[N, H * W * channels]`."""
        x, number = x.reshape(-1, *self.image), 0
        for size, stride in ((3, 2), (1, 1)) * self.depth:
            layer = NormalisedConvolution(
                self.width, size, stride, name=f"Layer_{number}"
            )
            x, number = nn.relu(layer(x, train)), number + 1
        return self._last(x, number)


class ResNet(_Normalised):
    """The residual network of 6 `depth` + 2 layers (He, Zhang, Ren, Sun 2016, section 4.2).

    A layer, then three stages of `depth` blocks; the second and the third halve the image. A block
    is two convolutions, their sum with the block's input, a ReLU; where shapes differ the input
    goes through a 1 x 1 convolution (their option B).
    """

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        """Logits `[N, C]` of inputs `[N, H * W * channels]`."""
        x, number = x.reshape(-1, *self.image), 0

        def next_layer(x, channels, size=3, stride=1):
            nonlocal number
            layer = NormalisedConvolution(
                channels, size, stride, name=f"Layer_{number}"
            )
            number += 1
            return layer(x, train)

        x = nn.relu(next_layer(x, self.width))
        for stage in range(STAGES):
            channels = self.width * 2**stage
            for block in range(self.depth):
                stride = 2 if stage and not block else 1
                y = nn.relu(next_layer(x, channels, stride=stride))
                y = next_layer(y, channels)
                if stride > 1:
                    x = next_layer(x, channels, size=1, stride=stride)
                x = nn.relu(x + y)
        return self._last(x, number)


class VGG(_Normalised):
    """Three stages of `depth` 3 x 3 convolutions, a 2 x 2 max-pooling behind each (after
    Simonyan & Zisserman 2015, with normalisation and one linear layer in place of three)."""

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        """Logits `[N, C]` of inputs `[N, H * W * channels]`."""
        x, number = x.reshape(-1, *self.image), 0
        for stage in range(STAGES):
            for _ in range(self.depth):
                layer = NormalisedConvolution(
                    self.width * 2**stage, name=f"Layer_{number}"
                )
                x, number = nn.relu(layer(x, train)), number + 1
            pooled = tuple(min(2, side) for side in x.shape[1:3])
            x = nn.max_pool(x, pooled, pooled)
        return self._last(x, number)


def in_training(
    model: nn.Module, params: chex.ArrayTree, inputs: jax.Array
) -> tuple[jax.Array, Mapping[str, Any]]:
    """Logits `[N, C]` as a step of training has them, and the running statistics it moved."""
    logits, found = model.apply({"params": params}, inputs, train=True, mutable=[MOVED])
    return logits, found.get(MOVED, {})


def moved(params: chex.ArrayTree, statistics: Mapping[str, Any]) -> chex.ArrayTree:
    """`params` with running statistics in place of theirs."""
    return {name: layer | statistics.get(name, {}) for name, layer in params.items()}
