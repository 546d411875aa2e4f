"""Images of MNIST at two radii, told apart by a ReLU network.

Directions are the images, drawn with replacement, and the radius an independent fair coin.
The map to the other radius preserves D^m for any law of the directions, and the risk of a
network is known exactly: every image at both radii.
"""

import dataclasses
import functools
import hashlib
from typing import Any

import numpy as np

from experiments.lab.reading import idx
from experiments.lab.refusals import Refusal
from experiments.lab.seeding import Purpose, host_generator, key_for
from experiments.lab.settings import setting, two_radii
from experiments.problems import slices
from experiments.problems.hypersphere import HOMOGENEOUS, RADII, radial_flip
from experiments.problems.problem import Arrays, Cells, Draw, Examples, Problem, Summary


@dataclasses.dataclass(frozen=True)
class Settings(idx.Folder):
    """Of `digits`."""

    radii: tuple[float, ...] = setting(
        (1.0, 1.05), "radius of class 0 and of class 1", two_radii, **RADII
    )  # fmt: skip


class Digits(Problem):
    """A `Problem` whose risk is enumerated over the pool."""

    about = (
        "A ReLU network that tells the radii of MNIST images apart: image and radius are "
        "independent. S' moves every training image to the other radius, with its label: as "
        "likely a training set as S. The risk is exact: every image at both radii."
    )
    Settings = Settings
    files = "mnist"
    needs_biases = HOMOGENEOUS
    presets = {
        "uc_failure": {
            # Expected: failure shown where the radii are close, not shown at 1.2 and beyond.
            "demo": {
                "sizes": (512,), "vary": "radii=1:1.05,1:1.1,1:1.2,1:1.5",
                "expected": "falls", "max_epochs": 500,
            },
            # The transition in m.
            "notebook": {},
            # Wide, close and long; for a GPU.
            "paper": {
                "sizes": (1024, 2048, 4096, 8192, 16384, 32768), "width": 10000,
                "batch_size": 64, "max_epochs": 10000,
            },
        },
        "beyond_uc": {
            # Where the radii can hardly be read off 784 pixels; a run of m = 4096 takes half a
            # minute, and a cell has 45.
            "demo": {
                "sizes": (256, 512, 1024), "seeds": 2, "width": 300, "max_epochs": 300,
                "replaced": 8, "masks": 4,
            },
            "standard": {
                "sizes": (256, 512, 1024, 2048, 4096, 8192), "seeds": 8, "replaced": 64,
                "models": 10, "masks": 32,
            },
        },
    }  # fmt: skip
    test_is_everything = True

    def __init__(self, settings: Settings, seed: int):
        folder = settings.data_dir
        paths = idx.find(folder) if folder else idx.fetch("mnist")
        images = idx.read_known("mnist", paths, ["train_images"], 2)["train_images"]
        self.sha256 = hashlib.sha256(images).hexdigest()
        flat = images.reshape(len(images), -1).astype(np.float32)
        norms = np.linalg.norm(flat, axis=1)
        if not norms.all():
            raise Refusal(
                f"{paths['train_images']}: image {int(norms.argmin())} is black and has no "
                "direction; give the folder of MNIST by --data_dir"
            )
        self._directions = flat / norms[:, None]
        self.radii, self._seed = settings.radii, seed
        self.features = flat.shape[1]

    def _at(self, index, labels):
        radii = np.asarray(self.radii, np.float32)
        return self._directions[index] * radii[labels][:, None]

    def draw(self, seed: int, size: int, draw: int | None = None) -> Examples:
        """Images and radii, with replacement."""
        numbers = (seed, size) if draw is None else (seed, size, draw)
        generator = host_generator(key_for(self._seed, Purpose.TRAIN, *numbers))
        index = generator.integers(len(self._directions), size=size)
        labels = generator.integers(2, size=size).astype(np.int32)
        record = {"indices": index.astype(np.int32)}
        return Examples(self._at(index, labels), labels, record)

    @functools.cache  # noqa: B019  (a problem lives as long as its program)
    def test(self, size: int | None = None) -> Examples:
        """Every image at both radii: the whole distribution, each example equally likely."""
        index = np.tile(np.arange(len(self._directions)), 2)
        labels = np.repeat(np.arange(2, dtype=np.int32), len(self._directions))
        return Examples(self._at(index, labels), labels)

    def sprime(
        self, inputs: np.ndarray, labels: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """`radial_flip`."""
        return radial_flip(inputs, labels, self.radii)

    def more(self, model: Any, params: Any, train: Examples, size: int) -> Arrays:
        """Slices through pairs of training images and of others."""
        return slices.of_sets(model, params, train, self.test(), self.radii)

    def report(self, summary: Summary, cells: Cells, draw: Draw) -> list[Any]:
        """The slices as figures."""
        return slices.figures(cells, draw)
