"""What a layer is as a linear map, biases aside: a matrix, or a convolution of an image.

A model that is not made of dense layers alone says what its maps are by a method
`operators()`, one entry a layer, the input's first.
"""

import dataclasses
from typing import Any

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp

from nets.kernels import layers

_DIMENSIONS = ("NHWC", "HWIO", "NHWC")


@dataclasses.dataclass(frozen=True)
class Dense:
    """x -> x W; inputs `[positions, in]` are averaged over their positions first.

    Attributes:
      positions: of the image that it averages; 1 for a vector.
    """

    positions: int = 1

    def __str__(self):
        return "dense" + (
            f", mean of {self.positions} first" if self.positions > 1 else ""
        )

    def matrix(self, kernel: jax.Array) -> jax.Array:
        """The matrix `[positions * in, out]` of the map."""
        return jnp.tile(kernel / self.positions, (self.positions, 1))

    def of_batch(self, kernel: jax.Array, x: jax.Array) -> jax.Array:
        """`[N, out]` of N inputs, in any shape."""
        x = x.reshape(x.shape[0], self.positions, -1)
        return jnp.mean(x, axis=1) @ kernel


@dataclasses.dataclass(frozen=True)
class Convolution:
    """Cross-correlation of an image with a kernel `[kh, kw, in / groups, out]`, zeros around it.

    Attributes:
      image: height and width of its own input.
      strides: of the output.
      padding: zeros (before, behind) along height and width; None for as many as make the output
        ceil(size / stride), the smaller half before (SAME).
      dilation: steps between the kernel's taps.
      groups: blocks of channels that do not see one another.
    """

    image: tuple[int, int]
    strides: tuple[int, int]
    padding: tuple[tuple[int, int], tuple[int, int]] | None = None
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1

    def __str__(self):
        said = [f"convolution of {self.image[0]} x {self.image[1]}"]
        if self.strides != (1, 1):
            said.append(f"strides {list(self.strides)}")
        if self.padding is None or any(map(any, self.padding)):
            zeros = "SAME" if self.padding is None else list(map(list, self.padding))
            said.append(f"zeros {zeros}")
        if self.dilation != (1, 1):
            said.append(f"dilation {list(self.dilation)}")
        if self.groups > 1:
            said.append(f"{self.groups} groups")
        return ", ".join(said)

    def around(self, kernel: tuple[int, ...]) -> tuple[tuple[int, int], ...]:
        """Zeros (before, behind) along height and width, for a kernel of this shape."""
        if self.padding is not None:
            return self.padding
        found = []
        every = zip(self.image, self._reach(kernel), self.strides, strict=True)
        for size, window, stride in every:
            zeros = max((-(-size // stride) - 1) * stride + window - size, 0)
            found.append((zeros // 2, zeros - zeros // 2))
        return tuple(found)

    def outputs(self, kernel: tuple[int, ...]) -> tuple[int, int]:
        """Height and width of its output, for a kernel of this shape."""
        every = zip(
            self.image,
            self._reach(kernel),
            self.strides,
            self.around(kernel),
            strict=True,
        )
        return tuple(
            (size + before + behind - window) // stride + 1
            for size, window, stride, (before, behind) in every
        )

    def _reach(self, kernel):
        """Positions that the kernel covers along height and width."""
        return tuple(
            (k - 1) * d + 1 for k, d in zip(kernel[:2], self.dilation, strict=True)
        )

    @property
    def is_plain(self) -> bool:
        """Whether it has neither groups nor dilation."""
        return self.groups == 1 and self.dilation == (1, 1)

    def plain(self, kernel: jax.Array) -> tuple["Convolution", jax.Array]:
        """The same map without groups and dilation: its kernel `[kh', kw', in, out]` has zeros.

        Groups are blocks on the diagonal of channels, and between the taps of a dilated kernel
        nothing is seen.
        """
        if self.is_plain:
            return self, kernel
        padding = self.around(kernel.shape)
        if self.groups > 1:
            *taps, channels, out = kernel.shape
            blocks = kernel.reshape(*taps, channels, self.groups, -1)
            eye = jnp.eye(self.groups, dtype=kernel.dtype)
            kernel = jnp.einsum("abcgo,hg->abhcgo", blocks, eye)
            kernel = kernel.reshape(*taps, self.groups * channels, out)
        if self.dilation != (1, 1):
            wide = jnp.zeros((*self._reach(kernel.shape), *kernel.shape[2:]))
            rows, columns = self.dilation
            kernel = wide.astype(kernel.dtype).at[::rows, ::columns].set(kernel)
        return Convolution(self.image, self.strides, padding), kernel

    def apply(self, kernel: jax.Array, x: jax.Array) -> jax.Array:
        """`[H', W', out]` of `x`: `[H * W * in]` in any shape."""
        return self.of_batch(kernel, x[None], jax.lax.Precision.HIGHEST)[0]

    def of_batch(
        self,
        kernel: jax.Array,
        x: jax.Array,
        precision: jax.lax.Precision | None = None,
    ) -> jax.Array:
        """`[N, H', W', out]` of N images, in any shape."""
        return jax.lax.conv_general_dilated(
            x.reshape(x.shape[0], *self.image, kernel.shape[2] * self.groups),
            kernel,
            self.strides,
            self.around(kernel.shape),
            rhs_dilation=self.dilation,
            dimension_numbers=_DIMENSIONS,
            feature_group_count=self.groups,
            precision=precision,
        )

    def of_patches(self, kernel: jax.Array, x: jax.Array) -> jax.Array:
        """`of_batch` as the product of the kernel with patches of the images.

        So are its gradients then, for which compiled loops have no fast convolution on a CPU.
        """
        plain, kernel = self.plain(kernel)
        return plain._patches(kernel, x) @ kernel.reshape(-1, kernel.shape[-1])

    def in_training(self, kernel: jax.Array, x: jax.Array) -> jax.Array:
        """`of_batch` as steps of training run it: on a CPU by patches, for their gradients."""
        run = self.of_patches if jax.default_backend() == "cpu" else self.of_batch
        return run(kernel, x)

    def _patches(self, kernel, x):
        """What each output position sees: `[N, H', W', kh * kw * in]` of `x` `[N, ...]`."""
        x = x.reshape(x.shape[0], *self.image, kernel.shape[2])
        x = jnp.pad(x, [(0, 0), *self.around(kernel.shape), (0, 0)])
        down, right = self.strides
        height, width = self.outputs(kernel.shape)
        rows, columns = (height - 1) * down + 1, (width - 1) * right + 1
        return jnp.concatenate(
            [
                x[:, i : i + rows : down, j : j + columns : right]
                for i in range(kernel.shape[0])
                for j in range(kernel.shape[1])
            ],
            axis=-1,
        )


def operators(model: nn.Module, params: chex.ArrayTree) -> list[Any]:
    """The linear maps of a network's layers: a list of `Dense` and `Convolution`."""
    if hasattr(model, "operators"):
        return model.operators()
    return [Dense()] * len(layers(params))
