"""Named settings of the experiments; each says its command and what to expect of it."""

import dataclasses

from experiments.catalogue import BoundSettings
from experiments.data import DATASETS
from experiments.data.idx import DRAW_RULES
from experiments.settings import (
    at_least_1,
    distinct_sizes,
    fraction,
    one_of,
    positive,
    seed_number,
    setting,
    two_radii,
)


@dataclasses.dataclass(frozen=True)
class BoundsVsSamples(BoundSettings):
    """The settings of `experiments.bounds_vs_samples`."""

    dataset: str = setting("what is learned", one_of(*DATASETS))
    data_dir: str | None = setting(
        "folder of the four IDX files, plain or .gz; without it they are fetched",
        compared=False,
    )
    dim: int = setting("hypersphere: dimensions of the input", at_least_1)
    radii: tuple[float, ...] = setting(
        "hypersphere: radius of class 0 and of class 1",
        two_radii,
    )
    n_test: int = setting(
        "hypersphere: fresh test points (image sets are tested on their test set)",
        at_least_1,
    )
    sizes: tuple[int, ...] = setting("training-set sizes m", distinct_sizes)
    seeds: int = setting("initialisations, each with its own draws", at_least_1)
    draws: int = setting(
        "independent training sets an initialisation is trained on", at_least_1
    )
    draw_rule: str = setting(
        "image sets: how training images are drawn: with replacement from images 5000..59999 "
        "as the authors do; each draw without replacement; or a seed's draws disjoint",
        one_of(*DRAW_RULES),
    )
    network: str = setting(
        "'mlp': fully connected; 'cnn' (image sets): `depth` blocks of two convolutions of "
        "`width` channels, each block halving the image",
        one_of("mlp", "cnn"),
    )
    width: int = setting(
        "units of a hidden layer, channels of a convolution", at_least_1
    )
    depth: int = setting("hidden layers, or blocks of convolutions", at_least_1)
    biases: bool = setting("layers have biases (which the bounds leave out)")
    batch_size: int = setting("examples a step of SGD", at_least_1)
    shuffle: bool = setting("a new order every epoch; else the same order every epoch")
    learning_rate: float = setting("of SGD", positive)
    loss: str = setting(
        "'sigmoid' (one logistic loss a class, averaged: the authors'), 'softmax', 'squared'",
        one_of("sigmoid", "softmax", "squared"),
    )
    margin: float = setting("gamma*, the margin to train to", positive)
    threshold: float = setting(
        "fraction of the training set that may stay below it", fraction
    )
    loss_target: float = setting(
        "squared loss: training stops at this mean loss instead", positive
    )
    label_noise: float = setting(
        "probability that a label is redrawn uniformly", fraction
    )
    max_epochs: int = setting(
        "guard: a run that needs more is marked and left out", at_least_1
    )
    save_weights: bool = setting("keep weights/*.safetensors, initial and learned")
    seed: int = setting("decides every random number", seed_number)


# The bounds that the paper plots, and their variants: what the presets evaluate.
PLOTTED = (
    "neyshabur_2018",
    "neyshabur_2018_from_origin",
    "neyshabur_2018_between_draws",
    "bartlett_2017",
    "bartlett_2017_between_draws",
    "neyshabur_2019",
)

# Nagarajan & Kolter (2019), Section 2 and Figure 1.
#   python -m experiments.bounds_vs_samples --preset=paper --data_dir=<folder of MNIST> \
#     --out=runs/paper
# or, a slice of it on two cores:
#   python -m experiments.bounds_vs_samples --preset=paper --data_dir=<folder of MNIST> \
#     --sizes=128,256,512,1024,2048 --width=256 --out=runs/mnist              2 minutes
# Expected (the paper's poster): test error .25 at m=128, .018 at m=32768, slope -0.5; both
# bounds from 10^3.65 to 10^5.4, slope +0.8. Whole: hours on two cores, for a GPU.
_PAPER = BoundsVsSamples(
    dataset="mnist",
    data_dir=None,
    dim=100,
    radii=(1.0, 1.2),
    n_test=8192,
    sizes=(128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768),
    seeds=4,
    draws=2,
    draw_rule="authors",
    network="mlp",
    width=1024,
    depth=5,
    biases=False,
    batch_size=1,
    shuffle=False,
    learning_rate=0.1,
    loss="sigmoid",
    margin=10.0,
    threshold=0.01,
    loss_target=0.05,
    label_noise=0.0,
    max_epochs=300,
    bounds=PLOTTED,
    plugin=None,
    delta=0.05,
    depth_factor="hidden",
    input_norm="included",
    norm_21="bartlett",
    save_weights=False,
    seed=0,
)

# The companion notebook, part 1: a bound on two spheres.
#   python -m experiments.bounds_vs_samples --preset=notebook --out=runs/notebook   1 minute
# Expected: test error falls with m, the bounds (without B, over the two weight matrices,
# d = 2) rise.
_NOTEBOOK = dataclasses.replace(
    _PAPER,
    dataset="hypersphere",
    sizes=(256, 512, 1024, 2048, 4096, 8192, 16384),
    seeds=8,
    draws=1,
    width=1000,
    depth=1,
    biases=True,
    learning_rate=0.2,
    margin=4.0,
    depth_factor="matrices",
    input_norm="left_out",
)

# The notebook's set-up with two draws, for `make demo`.
#   python -m experiments.bounds_vs_samples --preset=demo --out=runs/demo           1 minute
# Expected: as for the notebook; the distance between draws rises too.
_DEMO = dataclasses.replace(_NOTEBOOK, seeds=4, draws=2)

BOUNDS_VS_SAMPLES = {"demo": _DEMO, "notebook": _NOTEBOOK, "paper": _PAPER}
