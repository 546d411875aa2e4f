"""The settings of `beyond_uc`: its own, and those of its tools; presets are with the problems."""

import dataclasses
import functools
from collections.abc import Iterator

from experiments.beyond_uc.tools import TOOLS
from experiments.lab.later import later
from experiments.lab.settings import (
    BOUNDS,
    FOLDER,
    NETWORK,
    TRAINING,
    at_least_1,
    combined,
    distinct_sizes,
    one_of_those,
    redefault,
    repetitions,
    setting,
    whole_number,
)
from experiments.lab.sgd_settings import SgdSettings, trainable
from experiments.problems import PROBLEMS

networks = later("nets.registry")


@dataclasses.dataclass(frozen=True)
class Own(SgdSettings):
    """Of the program without its tools."""

    problem: str | None = setting(None, "what is learned")
    tool: tuple[str, ...] = setting(
        ("all",), f"'all', or some of {', '.join(TOOLS)}; or a plugin's"
    )
    sizes: tuple[int, ...] = setting(
        (128, 512, 2048), "training-set sizes m", distinct_sizes
    )
    seeds: int = setting(
        4, "independent training sets of a size, each with its coupled runs", repetitions
    )  # fmt: skip
    network: str | None = setting(
        "mlp", "fully connected; or another one without batch normalisation (nets/README.md), of "
        "images or a plugin's", one_of_those(lambda: networks.NETWORKS), group=NETWORK
    )  # fmt: skip
    width: int | None = setting(
        500, "hidden units of a layer, channels of a convolution", at_least_1, group=NETWORK
    )  # fmt: skip
    depth: int | None = setting(
        1, "hidden layers, or blocks of convolutions; 0: a linear classifier", whole_number,
        group=NETWORK
    )  # fmt: skip
    biases: bool = setting(True, "layers have biases", group=NETWORK)
    loss: str = setting(
        "sigmoid", "'sigmoid': one logistic loss a class, averaged (the authors')",
        one_of_those(trainable), group=TRAINING
    )  # fmt: skip
    shuffle: bool = setting(
        False, "a new order every epoch; else the same order every epoch", group=TRAINING
    )  # fmt: skip
    batch_size: int | None = redefault(SgdSettings, "batch_size", 8)
    learning_rate: float | None = redefault(SgdSettings, "learning_rate", 0.5)
    margin: float = redefault(SgdSettings, "margin", 8.0)
    max_epochs: int | None = redefault(SgdSettings, "max_epochs", 1000)
    save_weights: bool = setting(
        False, "keep the weights of all coupled runs, initial and learned", group=FOLDER
    )  # fmt: skip
    delta: float = setting(
        0.05, "failure probability of every claim that has one",
        (lambda v: 1e-6 <= v < 0.5, "a number in [1e-6, 1/2)"), group=BOUNDS, measuring=True
    )  # fmt: skip
    plugin: str | None = setting(
        None, "a Python file with tools or problems of your own: TOOLS, PROBLEMS",
        group=BOUNDS, compared=False
    )  # fmt: skip

    def clashes(self) -> Iterator[str]:
        """Lines on settings that do not go together."""
        yield from super().clashes()
        for name in () if self.tool == ("all",) else self.tool:
            if name not in TOOLS:
                yield f"--tool={name}: must be all, or some of {', '.join(TOOLS)}"
        problem = PROBLEMS.get(self.problem)
        if self.depth == 0 and self.network != "mlp":
            yield (
                f"--depth=0: is a linear classifier, which goes with --network=mlp; give "
                f"--network={self.network} 1 or more"
            )
        if (
            problem
            and problem.model is None
            and problem.needs_biases
            and not self.biases
        ):
            yield f"--biases=false: {problem.needs_biases}"


Settings = functools.reduce(combined, (tool.Settings for tool in TOOLS.values()), Own)
