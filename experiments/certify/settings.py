"""The settings of `certify`; presets are with the problems."""

import dataclasses

from bounds.objectives import OBJECTIVES, SURROGATES
from experiments.lab.bound_settings import BoundSettings
from experiments.lab.settings import (
    BOUNDS,
    FOLDER,
    MACHINE,
    NETWORK,
    TRAINING,
    at_least_1,
    below_1,
    not_negative,
    one_of,
    positive,
    redefault,
    repetitions,
    seed_number,
    setting,
    whole_number,
)

POSTERIOR = (
    "maurer_2004_kl_posterior",
    "mcallester_1999_posterior",
    "rivasplata_2019_quadratic_posterior",
    "thiemann_2017_lambda_posterior",
    "tolstikhin_2013_posterior",
    "catoni_2007_posterior",
    "dziugaite_roy_2017",
    "holdout_cp",
)


@dataclasses.dataclass(frozen=True)
class Settings(BoundSettings):
    """What is certified, and how: a learned posterior, or a network of few bits.

    Defaults are those of the preset `perez_ortiz`: MNIST, half of it for the prior.
    """

    problem: str | None = setting(None, "what is learned")
    quote: tuple[str, ...] | None = setting(
        None, "whose certificate the answer quotes, fixed beforehand: the first of these "
        "that can be had; the first of --bounds that speaks of what is trained, if not given",
        group=BOUNDS, measuring=True
    )  # fmt: skip
    method: str = setting(
        "posterior", "'posterior': Gaussian weights, trained on a PAC-Bayes bound; "
        "'subspace': a network trained in a random subspace, quantised and coded",
        one_of("posterior", "subspace")
    )  # fmt: skip
    size: int = setting(60000, "training images in all", at_least_1)
    seeds: int = setting(
        1, "repetitions, each with its own initial weights and order of the images", repetitions
    )  # fmt: skip
    width: int = setting(600, "units of a hidden layer", at_least_1, group=NETWORK)
    depth: int = setting(2, "hidden layers", at_least_1, group=NETWORK)
    prior_share: float = setting(
        0.5, "share of the images that the prior is trained on, and that nothing is "
        "certified on; 0: the prior is the initial weights", below_1, group=TRAINING
    )  # fmt: skip
    prior_epochs: int = setting(
        20, "epochs of SGD that find the prior on its share or, at --prior_share=0, the "
        "weights that the posterior begins with", whole_number, group=TRAINING
    )  # fmt: skip
    prior_noise: float = setting(
        0.03, "standard deviation of the noise in the weights while the prior is trained; 0: "
        "none", not_negative, group=TRAINING
    )  # fmt: skip
    epochs: int = setting(
        10, "epochs of the posterior, or of the network in the subspace",
        at_least_1, group=TRAINING
    )  # fmt: skip
    batch_size: int = setting(100, "examples a step", at_least_1, group=TRAINING)
    learning_rate: float = setting(
        0.05, "of SGD at the start; it falls to 0 along a cosine, as the posterior's does",
        positive, group=TRAINING
    )  # fmt: skip
    momentum: float = setting(0.9, "of SGD", below_1, group=TRAINING)
    posterior_learning_rate: float = setting(
        1e-5, "of the posterior's Adam at the start", positive, group=TRAINING
    )  # fmt: skip
    deviation: float = setting(
        0.003, "standard deviation of prior and posterior at the start",
        positive, group=TRAINING
    )  # fmt: skip
    learned_deviation: bool = setting(
        False, "the prior's deviation moves too, on the grid of Dziugaite & Roy, for its price",
        group=TRAINING
    )  # fmt: skip
    objective: str = setting(
        "quadratic", "the bound that the posterior descends",
        one_of(*OBJECTIVES), group=TRAINING
    )  # fmt: skip
    surrogate: str = setting(
        "bounded", "its loss: cross-entropy in bits ('logistic'), or cut at probability 1e-5 "
        "and divided by its largest value ('bounded')", one_of(*SURROGATES), group=TRAINING
    )  # fmt: skip
    rank: int = setting(
        16, "'subspace': each weight matrix moves within rank x rank dimensions",
        at_least_1, group=TRAINING
    )  # fmt: skip
    tried: int = setting(
        16, "how many settings of prior or subspace (shares, deviation, shape, their "
        "training) were tried on these images: they should have been chosen before; delta is "
        "divided by it", at_least_1, group=BOUNDS
    )  # fmt: skip
    save_weights: bool = setting(
        True, "keep weights/*.safetensors, so that it can be measured again", group=FOLDER
    )  # fmt: skip
    seed: int = setting(0, "decides every random number", seed_number, group=MACHINE)
    bounds: tuple[str, ...] = redefault(BoundSettings, "bounds", POSTERIOR)
    delta: float = redefault(BoundSettings, "delta", 0.035)
