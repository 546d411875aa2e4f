"""The settings of `bounds_vs_samples`; presets are with the problems."""

import dataclasses
from collections.abc import Iterator

from experiments.lab.bound_settings import BoundSettings
from experiments.lab.later import later
from experiments.lab.settings import (
    NETWORK,
    TRAINING,
    at_least_1,
    below_1,
    distinct_epochs,
    distinct_sizes,
    one_of_those,
    positive,
    redefault,
    repetitions,
    setting,
)
from experiments.lab.sgd_settings import SgdSettings, trainable
from experiments.problems import PROBLEMS

networks, training = later("nets.registry"), later("nets.training")

# The bounds that the paper plots, and their variants: what is evaluated if nothing is said.
PLOTTED = (
    "neyshabur_2018",
    "neyshabur_2018_from_origin",
    "neyshabur_2018_between_draws",
    "bartlett_2017",
    "bartlett_2017_between_draws",
    "neyshabur_2019",
)


@dataclasses.dataclass(frozen=True)
class Settings(SgdSettings, BoundSettings):
    """Defaults are the paper's protocol (Nagarajan & Kolter 2019, Section 2)."""

    problem: str | None = setting(None, "what is learned", varies=True)
    sizes: tuple[int, ...] = setting(
        (128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768),
        "training-set sizes m", distinct_sizes
    )  # fmt: skip
    seeds: int = setting(4, "initialisations, each with its own draws", repetitions)
    draws: int = setting(
        2, "independent training sets an initialisation is trained on", repetitions
    )  # fmt: skip
    vary: str | None = setting(
        None, "a setting to sweep at every size, e.g. width=100,1000 or loss=sigmoid,squared"
    )  # fmt: skip
    measure_at: tuple[int, ...] = setting(
        (), "epochs at which networks are measured and bounded, besides at the end: each is a run of "
        "its own, the same up to there", distinct_epochs
    )  # fmt: skip
    network: str = setting(
        "mlp", "fully connected; or, of images, 'cnn', 'strided_cnn' and 'lenet5', and with batch "
        "normalisation 'cnn_bn', 'resnet' and 'vgg', of `width` channels at first (nets/README.md "
        "says what `depth` is)", one_of_those(lambda: networks.NETWORKS), group=NETWORK, varies=True
    )  # fmt: skip
    width: int = setting(
        1024, "units of a hidden layer, channels of a convolution",
        at_least_1, group=NETWORK, varies=True
    )  # fmt: skip
    depth: int = setting(
        5, "hidden layers, or blocks of convolutions", at_least_1, group=NETWORK, varies=True
    )  # fmt: skip
    biases: bool = setting(
        False, "layers have biases (which the plotted bounds leave out)",
        group=NETWORK, varies=True
    )  # fmt: skip
    shuffle: bool = setting(
        False, "a new order every epoch; else the same order every epoch",
        group=TRAINING, varies=True
    )  # fmt: skip
    optimizer: str = setting(
        "sgd", "of the training", one_of_those(lambda: training.OPTIMIZERS), group=TRAINING, varies=True
    )  # fmt: skip
    momentum: float = setting(0.0, "of SGD", below_1, group=TRAINING, varies=True)
    loss: str = setting(
        "sigmoid", "'sigmoid': one logistic loss a class, averaged (the authors')",
        one_of_those(trainable), group=TRAINING, varies=True
    )  # fmt: skip
    loss_target: float = setting(
        0.05, "squared loss: training stops at this mean loss instead",
        positive, group=TRAINING, varies=True
    )  # fmt: skip
    bounds: tuple[str, ...] = redefault(BoundSettings, "bounds", PLOTTED)
    depth_factor: str = redefault(BoundSettings, "depth_factor", "hidden")

    def clashes(self) -> Iterator[str]:
        """Lines on settings that do not go together."""
        yield from super().clashes()
        if self.measure_at and max(self.measure_at) >= self.max_epochs:
            yield (
                f"--measure_at={max(self.measure_at)}: training ends after {self.max_epochs} "
                "epochs at the latest; give earlier ones, or more --max_epochs"
            )
        if self.optimizer != "sgd" and self.momentum:
            yield f"--momentum={self.momentum}: goes with --optimizer=sgd; use 0"
        needs = PROBLEMS[self.problem].needs_biases if self.problem in PROBLEMS else ""
        if needs and not self.biases:
            yield f"--biases=false: {needs}; use --biases"
