"""The networks that programs train, by name."""

from collections.abc import Callable

import flax.linen as nn

from nets.cnn import CNN
from nets.mlp import MLP
from nets.normalised import VGG, NormalisedCNN, ResNet
from nets.strided import LeNet5, StridedCNN


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


def _lenet5(image, width, depth, classes, biases):
    if depth != 2:
        raise ValueError(f"has 2 convolutions, not {depth}; use --depth=2")
    if min(image[:2]) < 9:  # halved, they are as large as the second kernel
        raise ValueError("needs images of at least 9 x 9; use another architecture")
    return LeNet5(image, width, classes, biases)


def _of_images(kind: Callable[..., nn.Module], about: str) -> Callable[..., nn.Module]:
    """What makes a network that takes images."""

    def make(
        *,
        features: int,
        image: tuple[int, int, int] | None,
        classes: int,
        width: int,
        depth: int,
        biases: bool,
    ) -> nn.Module:
        del features
        if image is None:
            raise ValueError("it needs images")
        return kind(image, width, depth, classes, biases)

    make.__doc__ = f"""{about}

    Raises:
      ValueError: the inputs are no images.
    """
    return make


# Those with batch normalisation, which are trained in a mode of their own.
NORMALISED = ("cnn_bn", "resnet", "vgg")
# name -> what makes the Linen module: inputs `[N, features]` to logits `[N, classes]`.
NETWORKS: dict[str, Callable[..., nn.Module]] = {
    "mlp": mlp,
    "cnn": _of_images(CNN, "`depth` blocks of two convolutions of `width` channels."),
    "strided_cnn": _of_images(
        StridedCNN,
        "`depth` convolutions that halve the image, of `width`, 2 `width`, ... channels.",
    ),
    "lenet5": _of_images(
        _lenet5,
        "LeNet-5 with strides for its pooling, its first convolution of `width` channels.",
    ),
    "cnn_bn": _of_images(NormalisedCNN, "The network `cnn` with batch normalisation."),
    "resnet": _of_images(
        ResNet, "A residual network of 6 `depth` + 2 layers, `width` channels at first."
    ),
    "vgg": _of_images(
        VGG, "Three stages of `depth` convolutions, each with a max-pooling behind it."
    ),
}
