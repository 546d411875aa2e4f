"""The settings of programs that take networks which somebody else has trained."""

import dataclasses
import math
from collections.abc import Iterator

from experiments.lab.later import later
from experiments.lab.settings import NETWORK, one_of, one_of_those, setting

data_files = later("experiments.lab.reading.data_files")
layer_files = later("experiments.lab.reading.layers")
losses = later("nets.losses")


@dataclasses.dataclass(frozen=True)
class GivenData:
    """Labelled examples of one's own."""

    data: str | None = setting(
        None, "an .npz or .safetensors with the training set `x` [m, D] (or [m, H, W]) and `y` "
        "[m] and, if there are any, held-out `x_test` and `y_test`; or an image set, a file or a "
        "folder, recognised by what is there: CIFAR's binary version, SVHN, IDX files, parquet, "
        "a folder of pictures for each class; bytes are divided by 255", compared=False
    )  # fmt: skip
    normalise: tuple[float, ...] = setting(
        (), "--data, --problem: constants that inputs were normalised by, after the division by "
        "255: one mean and one deviation, or first a mean and then a deviation for each channel; "
        "they must not come from the training sample",
        (
            lambda v: len(v) % 2 == 0 and all(math.isfinite(x) for x in v)
            and all(1e-6 <= x <= 1e6 for x in v[len(v) // 2:]),
            "means and then as many deviations, from 1e-6 to 1e6",
        ),
    )  # fmt: skip


@dataclasses.dataclass(frozen=True)
class GivenNetworks(GivenData):
    """Which networks, and what they were trained on: a base of a program's own settings, which
    has `problem`."""

    image_order: str | None = setting(
        None, "--data, --problem: images: the order in which the network takes their numbers, "
        "'hwc' (height, width, channels) if not given; 'chw' as PyTorch flattens them; or 'whc'",
        one_of_those(lambda: data_files.IMAGE_ORDERS)
    )  # fmt: skip
    train_indices: str | None = setting(
        None, "--problem: which of its training images (from 0), with repeats: an .npz with "
        "`indices` and, if they were noisy, `labels`, an .npy, a .txt or a .csv; or a folder with an "
        ".npz for each network; all images if not given"
    )  # fmt: skip
    weights: str | None = setting(
        None, "networks: .safetensors or .npz files, globs, or folders of our checkpoints, "
        "separated by commas", group=NETWORK
    )  # fmt: skip
    network: str | None = setting(
        None, "networks as their framework runs them, in place of --weights: .onnx files, those "
        "that `certify` has drawn, coded or picked, or globs, separated by commas; give --outputs to prove "
        "that the right one is read", group=NETWORK
    )  # fmt: skip
    init: str | None = setting(
        None, "their initial weights: one file for all, or one for each; ours are in the "
        "same file; without them what needs them is not available; they must have been chosen "
        "without looking at the data, which is checked as far as it can be", group=NETWORK
    )  # fmt: skip
    init_is_independent: bool = setting(
        False, "the initial weights were chosen without looking at the data, even if it does "
        "not look so", group=NETWORK, measuring=True
    )  # fmt: skip
    layout: str | None = setting(
        None, "how matrices are stored where names do not tell: 'in_out' (Flax) or 'out_in' "
        "(PyTorch)", one_of_those(lambda: layer_files.LAYOUTS), group=NETWORK
    )  # fmt: skip
    layers: tuple[str, ...] | None = setting(
        None, "the layers' names, the input's first, where their order is not clear",
        group=NETWORK
    )  # fmt: skip
    ignore: tuple[str, ...] = setting(
        (), "names of tensors in the files, or patterns of names, that are no part of the "
        "network", group=NETWORK
    )  # fmt: skip
    activation: str | None = setting(
        None, "between the layers of a network that is not ours: tensors do not tell it; "
        "'relu' is what can be evaluated", one_of("relu"), group=NETWORK
    )  # fmt: skip
    outputs: str | None = setting(
        None, "its own logits on the first examples of its training set, an .npy [n, classes], "
        "one for each network: what rounding does not explain is refused (half precision: as float16)", group=NETWORK
    )  # fmt: skip
    loss: str | None = setting(
        None, "that they were trained on, the mean of it over examples; without it gradient noise "
        "is not available; networks of a run folder know theirs", one_of_those(lambda: losses.LOSSES),
        group=NETWORK, measuring=True
    )  # fmt: skip

    def clashes(self) -> Iterator[str]:
        """Lines on settings that do not go together."""
        if self.weights and self.network:
            yield "--weights and --network: give one of them"
        if self.problem and self.data:
            yield "--problem and --data: give one of them"
        if self.data and self.train_indices:
            yield "--train_indices: goes with --problem, not with --data"
        if self.network and not self.weights:
            for name in ("layout", "layers", "ignore", "activation"):
                if getattr(self, name):
                    yield f"--{name}: goes with --weights; a network of its framework says it itself"
        if self.problem or self.data:
            return
        if self.network:
            yield "--network: goes with --problem or --data; say what it was trained on"
        if self.loss:
            yield (
                f"--loss={self.loss}: goes with --problem or --data; a network of a run folder "
                "was trained on the loss that is in its config.json"
            )
        for name in ("normalise", "image_order"):
            if getattr(self, name):
                yield (
                    f"--{name}: goes with --problem or --data; a network of a run folder was "
                    "trained on what its config.json says"
                )
