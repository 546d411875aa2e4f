"""How networks are trained to a margin: the settings of a program that does so."""

import dataclasses
from collections.abc import Iterator

from experiments.lab.later import later
from experiments.lab.settings import (
    FOLDER,
    MACHINE,
    TRAINING,
    at_least_1,
    fraction,
    positive,
    seed_number,
    setting,
)

losses = later("nets.losses")


def trainable() -> tuple[str, ...]:
    """The losses that a network can be trained on to a margin."""
    return tuple(name for name in losses.LOSSES if name != "linear")


@dataclasses.dataclass(frozen=True)
class SgdSettings:
    """A base of a program's own settings, which has `sizes`; None where a problem has no such
    thing."""

    batch_size: int | None = setting(
        1, "examples a step", at_least_1, group=TRAINING, varies=True
    )  # fmt: skip
    learning_rate: float | None = setting(
        0.1, "of the optimizer", positive, group=TRAINING, varies=True
    )  # fmt: skip
    margin: float = setting(
        10.0, "gamma*, the margin to train to", positive, group=TRAINING, varies=True
    )  # fmt: skip
    threshold: float = setting(
        0.01, "fraction of the training set that may stay below it", fraction,
        group=TRAINING, varies=True
    )  # fmt: skip
    max_epochs: int | None = setting(
        300, "guard: a run that needs more is marked as not converged", at_least_1,
        group=TRAINING, varies=True
    )  # fmt: skip
    save_weights: bool = setting(
        True, "keep weights/*.safetensors, initial and learned, so that networks can be "
        "measured again", group=FOLDER
    )  # fmt: skip
    seed: int = setting(0, "decides every random number", seed_number, group=MACHINE)

    def clashes(self) -> Iterator[str]:
        """Lines on settings that do not go together."""
        if self.batch_size is not None and self.batch_size > min(self.sizes):
            yield (
                f"--batch_size={self.batch_size}: larger than the smallest of --sizes, "
                f"{min(self.sizes)}; no batch would be complete"
            )
