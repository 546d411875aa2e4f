"""The networks that programs train, by name."""

from collections.abc import Callable

import flax.linen as nn

from nets.cnn import CNN
from nets.mlp import MLP
from nets.strided import StridedCNN


def mlp(
    *,
    features: int,
    image: tuple[int, int, int] | None,
    classes: int,
    width: int,
    depth: int,
    biases: bool,
) -> nn.Module:
    """Fully connected: `depth` hidden layers of `width` units; inputs of any kind."""
    del features, image
    return MLP(width, depth, classes, biases)


def cnn(
    *,
    features: int,
    image: tuple[int, int, int] | None,
    classes: int,
    width: int,
    depth: int,
    biases: bool,
) -> nn.Module:
    """`depth` blocks of two convolutions of `width` channels.

    Raises:
      ValueError: the inputs are no images.
    """
    del features
    return CNN(_image(image), width, depth, classes, biases)


def strided_cnn(
    *,
    features: int,
    image: tuple[int, int, int] | None,
    classes: int,
    width: int,
    depth: int,
    biases: bool,
) -> nn.Module:
    """`depth` convolutions that halve the image, of `width`, 2 `width`, ... channels.

    Raises:
      ValueError: the inputs are no images.
    """
    del features
    return StridedCNN(_image(image), width, depth, classes, biases)


def _image(image):
    if image is None:
        raise ValueError("it needs images")
    return image


# name -> what makes the Linen module: inputs `[N, features]` to logits `[N, classes]`.
NETWORKS: dict[str, Callable[..., nn.Module]] = {
    "mlp": mlp,
    "cnn": cnn,
    "strided_cnn": strided_cnn,
}
