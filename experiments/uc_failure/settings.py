"""The settings of `uc_failure`; presets are with the problems."""

import dataclasses

from experiments.lab.settings import (
    BOUNDS,
    NETWORK,
    TRAINING,
    at_least_1,
    distinct_sizes,
    one_of,
    redefault,
    repetitions,
    setting,
    whole_number,
)
from experiments.lab.sgd_settings import SgdSettings


@dataclasses.dataclass(frozen=True)
class Settings(SgdSettings):
    """None where the problem has no such thing."""

    problem: str | None = setting(None, "where uniform convergence fails")
    sizes: tuple[int, ...] = setting(
        (512, 1024, 2048, 4096, 8192), "training-set sizes m", distinct_sizes
    )  # fmt: skip
    seeds: int = setting(
        3, "independent runs of a size: training set and initial weights", repetitions
    )  # fmt: skip
    vary: str | None = setting(
        None, "a setting to sweep, e.g. width=100,1000 or radii=1:1.1,1:2"
    )  # fmt: skip
    expected: str | None = setting(
        None, "what the error on S' should do along the sweep, for the verdict",
        one_of("falls", "rises"), measuring=True
    )  # fmt: skip
    width: int | None = setting(500, "hidden units", at_least_1, group=NETWORK, varies=True)  # fmt: skip
    batch_size: int | None = redefault(SgdSettings, "batch_size", 8)
    learning_rate: float | None = redefault(SgdSettings, "learning_rate", 0.5)
    margin: float = redefault(SgdSettings, "margin", 8.0)
    max_epochs: int | None = redefault(SgdSettings, "max_epochs", 1000)
    watch: int = setting(
        512, "points of S' and fresh ones whose error is recorded at every epoch",
        whole_number, group=TRAINING
    )  # fmt: skip
    delta: float = setting(
        0.05, "of eps_unif-alg(m, delta)",
        (lambda v: 1e-6 <= v < 0.5, "a number in [1e-6, 1/2)"), group=BOUNDS, measuring=True
    )  # fmt: skip
    confidence: float = setting(
        0.95, "at which the lower bound on it holds",
        # Of all points at once it is 1 - (1 - confidence) / points: 0 where 1 - 1e-300 is 1.
        (lambda v: 1e-6 <= v <= 1 - 1e-6, "a number in [1e-6, 1 - 1e-6]"), group=BOUNDS,
        measuring=True
    )  # fmt: skip
    plugin: str | None = setting(
        None, "a Python file with problems of your own: PROBLEMS", group=BOUNDS, compared=False
    )  # fmt: skip
