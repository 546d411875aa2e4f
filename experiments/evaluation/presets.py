"""The settings of `experiments.evaluate`."""

import dataclasses

from experiments.catalogue import BoundSettings
from experiments.evaluation.weights import LAYOUTS
from experiments.settings import one_of, positive, setting


@dataclasses.dataclass(frozen=True)
class Evaluation(BoundSettings):
    """Which networks, what they were trained on, and which bounds."""

    weights: str | None = setting(
        "networks: .safetensors or .npz files, globs, or folders of our checkpoints, "
        "separated by commas"
    )
    init: str | None = setting(
        "their initial weights: one file for all, or one for each; ours are in the same "
        "file; without them what needs them is not available; certified bounds trust them "
        "to have been drawn without looking at the data"
    )
    layout: str | None = setting(
        "how matrices are stored where names do not tell: 'in_out' (Flax) or 'out_in' "
        "(PyTorch)",
        one_of(*LAYOUTS),
    )
    layers: tuple[str, ...] | None = setting(
        "the layers' names, the input's first, where their order is not clear"
    )
    dataset: str | None = setting(
        "what they were trained on: 'mnist' or 'fashion_mnist'; networks in a run folder "
        "of bounds_vs_samples need neither this nor --data",
        one_of("mnist", "fashion_mnist"),
    )
    data_dir: str | None = setting(
        "folder of the four IDX files, plain or .gz; without it they are fetched",
        compared=False,
    )
    train_indices: str | None = setting(
        "--dataset: which of its training images (from 0), with repeats: an .npz with "
        "`indices` and, if they were noisy, `labels`, an .npy or a .txt; or a folder with "
        "an .npz for each network; all images if not given"
    )
    data: str | None = setting(
        "an .npz with the training set `x` [m, D] (or [m, H, W]) and `y` [m] and, if "
        "there are any, held-out `x_test` and `y_test`; bytes are divided by 255"
    )
    margin: float | None = setting(
        "gamma of the bounds that take one; each network's median training margin if not "
        "given",
        positive,
        measuring=True,
    )


EVALUATION = {
    "default": Evaluation(
        bounds=("all",),
        plugin=None,
        delta=0.05,
        depth_factor="matrices",
        input_norm="included",
        norm_21="bartlett",
        weights=None,
        init=None,
        layout=None,
        layers=None,
        dataset=None,
        data_dir=None,
        train_indices=None,
        data=None,
        margin=None,
    )
}
