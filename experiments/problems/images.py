"""MNIST, Fashion-MNIST, CIFAR-10 and CIFAR-100: training sets are drawn from stored images."""

import dataclasses
import functools
import hashlib
import os
from collections.abc import Iterator
from typing import ClassVar

import numpy as np

from experiments.lab.later import later
from experiments.lab.reading import idx
from experiments.lab.reading.notes import say
from experiments.lab.refusals import Refusal
from experiments.lab.seeding import Purpose, host_generator, key_for
from experiments.lab.settings import fraction, one_of, setting, whole_number
from experiments.problems import scattering
from experiments.problems.problem import Examples, Problem, randomise

checks, cifar = later("bounds.checks"), later("experiments.lab.reading.cifar")

CLASSES = 10
# The authors drew from the training split that TensorFlow's old MNIST reader left over.
AUTHORS_FIRST = 5000
# Sic: their code compares with 32678, where 32768 was meant.
AUTHORS_NOISE_FROM = 32678
AUTHORS_NOISE = 0.01
DRAW_RULES = ("authors", "without_replacement", "disjoint")
INPUTS = ("pixels", "scattering")


@dataclasses.dataclass(frozen=True)
class Drawing:
    """How training sets are drawn: a base of the settings of image sets."""

    draw_rule: str = setting(
        "without_replacement", "how training images are drawn: with replacement from images "
        "5000..59999 as the authors do; each draw without replacement; or a seed's draws "
        "disjoint", one_of(*DRAW_RULES), varies=True
    )  # fmt: skip
    label_noise: float = setting(
        0.0, "probability that a label is redrawn uniformly", fraction, varies=True
    )  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Settings(Drawing, idx.Folder):
    """Of the image sets in IDX files."""

    inputs: str = setting(
        "pixels", "what is learned from: pixels, or fixed features of each image by itself, "
        "scattering (Bruna & Mallat 2013)", one_of(*INPUTS)
    )  # fmt: skip
    first_image: int = setting(
        0, "training images before this one are left out: those that settings were tried on",
        whole_number
    )  # fmt: skip

    def clashes(self) -> Iterator[str]:
        """Lines on settings that do not go together."""
        for name, default in (("inputs", INPUTS[0]), ("first_image", 0)):
            value = getattr(self, name)
            if self.draw_rule == "authors" and value != default:
                yield (
                    f"--{name}={value}: --draw_rule=authors draws pixels from image "
                    f"{AUTHORS_FIRST} on; use another --draw_rule"
                )


@dataclasses.dataclass(frozen=True)
class _CifarFolder:
    """Where the files of CIFAR are."""

    data_dir: str | None = setting(
        None, "folder of the binary version: data_batch_*.bin and test_batch.bin (CIFAR-10), "
        "train.bin and test.bin (CIFAR-100)", compared=False
    )  # fmt: skip


@dataclasses.dataclass(frozen=True)
class CifarSettings(Drawing, _CifarFolder):
    """Of CIFAR-10 and CIFAR-100."""


@dataclasses.dataclass(frozen=True)
class Stored:
    """Images uint8 `[N, H, W, C]` and labels `[N]` as they are stored, and held-out ones.

    Attributes:
      train_path, test_path: of the images, as refusals name them.
    """

    images: np.ndarray
    labels: np.ndarray
    test: np.ndarray
    test_labels: np.ndarray
    train_path: str
    test_path: str


# Nagarajan & Kolter (2019), Section 2 and Figure 1; the defaults of the program are theirs.
# Expected (the paper's poster): test error .25 at m=128, .018 at m=32768, slope -0.5; both
# bounds from 10^3.65 to 10^5.4, slope +0.8. Whole: hours on two cores, for a GPU. A slice:
#   --preset=paper --sizes=128,256,512,1024,2048 --width=256                   2 minutes
_PAPER = {"draw_rule": "authors"}
# Two hidden layers of 128 units to a margin of 1 in softmax loss, S and all that is drawn beside
# it disjoint. `standard` takes 8192 examples six times out of 60000.
_BEYOND = {
    "width": 128, "depth": 2, "loss": "softmax", "batch_size": 16, "learning_rate": 0.1,
    "margin": 1.0, "max_epochs": 100, "private_epochs": 30, "private_learning_rate": 3.0,
    "mu": (0.3, 0.1, 0.03, 1.0),
}  # fmt: skip
BEYOND = {
    "demo": _BEYOND | {"sizes": (128, 512), "seeds": 2, "replaced": 8, "masks": 4},
    "standard": _BEYOND | {"sizes": (128, 512, 2048, 8192), "seeds": 3},
}
# Clipped noisy gradient descent of a linear classifier on features that look at no data. All of
# it was chosen by some 40 tries on the first 15000 images, which are left out. Expected: .040
# in expectation, .048 of a single run. Both seeds have the one training set there is.
_PRIVATE = {
    "tool": ("privacy",), "inputs": "scattering", "first_image": 15000, "sizes": (45000,),
    "seeds": 2, "depth": 0, "biases": False, "loss": "softmax", "mu": (0.1, 0.2),
    "private_epochs": 30, "private_learning_rate": 400.0, "clip": 0.3, "expected_error": 0.03,
    "batch_size": 64, "learning_rate": 1.0, "margin": 1.0, "max_epochs": 5,
}  # fmt: skip

# A small convolutional network, its prior trained on images that are moved by up to 2 pixels.
_CNN = {
    "architecture": "strided_cnn", "width": 32, "depth": 2, "shift": 2, "prior_epochs": 40,
    "prior_noise": 0.003, "epochs": 1,
}  # fmt: skip
# Digits are turned and zoomed, too.
_MOVED = {"shift": 2, "rotation": 12.0, "zoom": 0.12}
_TURNED = _MOVED | {"prior_epochs": 60}
# Bounds of one drawn network alone: those of the stochastic one draw for minutes.
_OF_ONE = {
    "route": "single_draw",
    "bounds": ("blanchard_2007_single_draw", "rivasplata_2020_single_draw", "holdout_cp"),
}  # fmt: skip
_LOTFI = {
    "route": "subspace", "width": 300, "epochs": 20, "learning_rate": 1.0, "rank": 24,
}  # fmt: skip
# Quantised while they are trained, each bit at a price. Some 30 settings were tried on MNIST, most of
# them for a few epochs.
_QUANTISED = {
    "route": "subspace", "learning_rate": 0.03, "bits_price": 5.0, "tried": 64,
}  # fmt: skip
_LENET5 = _QUANTISED | {
    "architecture": "lenet5", "width": 6, "depth": 2, "rank": 32, "quantisation_step": 0.7, "epochs": 60,
    "bits_price": 4.0,
}  # fmt: skip
# All weights of a linear classifier of fixed features; what these are was chosen by 40 tries more.
_SCATTERING = _QUANTISED | {
    "inputs": "scattering", "depth": 0, "rank": 0, "quantisation_step": 64.0, "epochs": 20, "tried": 128,
}  # fmt: skip
_MLP = _QUANTISED | {
    "width": 40, "depth": 1, "rank": 0, "bits_price": 8.0, "epochs": 20,
}  # fmt: skip
# The code tells the way from what was trained on half of the images.
_LENET5_PRIOR = _LENET5 | _MOVED | {
    "rank": 16, "learning_rate": 0.003, "epochs": 2, "bits_price": 5.0, "code_prior_share": 0.5,
    "code_prior_epochs": 40,
}  # fmt: skip


class Images(Problem):
    """A `Problem` of stored images; its inputs are flat, in the order H, W, C.

    With label noise, the label of each image of the pool is randomised ONCE: an image drawn
    twice has one label.
    """

    about = "Images of ten classes, drawn from the stored training images."
    Settings = Settings
    classes = CLASSES
    files = "mnist"
    _labelled: ClassVar[int] = CLASSES  # classes of the stored labels

    @classmethod
    def _stored(cls, folder: str | None) -> Stored:
        """The images in the four IDX files of a folder, or fetched."""
        paths = idx.find(folder) if folder else idx.fetch(cls.files)
        found = idx.read_known(cls.files, paths, idx.FILES, cls._labelled)
        images, labels, test, test_labels = (found[name] for name in idx.FILES)
        at = (str(paths[name]) for name in ("train_images", "test_images"))
        return Stored(images[..., None], labels, test[..., None], test_labels, *at)

    def __init__(self, settings: Settings, seed: int):
        stored = self._stored(settings.data_dir)
        images, labels, test_labels = stored.images, stored.labels, stored.test_labels
        self.image = images.shape[1:]
        self._images = images.reshape(len(images), -1)
        self._test_images = test = stored.test.reshape(len(stored.test), -1)
        if self._images.shape[1] != test.shape[1]:
            raise Refusal(
                f"{stored.test_path}: other image size than the training set's"
            )
        self.features = self._images.shape[1]
        try:
            line = checks.shared(stored.test_path, self._images, test)
        except ValueError as error:
            raise Refusal(str(error)) from error
        if line:
            say(line)
        digest = hashlib.sha256()
        for array in (self._images, labels, test, test_labels):
            digest.update(np.ascontiguousarray(array))
        self.sha256 = digest.hexdigest()

        generator = host_generator(key_for(seed, Purpose.LABEL_NOISE))
        noise, classes = settings.label_noise, self._labelled

        def noisy(clean):
            n = len(clean)
            drawn = generator.random(n), generator.integers(classes, size=n)
            return randomise(clean, classes, noise, *drawn)

        self._labels = noisy(labels)
        self._test_labels = test_labels.astype(np.int32)
        self._noisy_test_labels = noisy(test_labels) if noise else None
        self._scatters = getattr(settings, "inputs", INPUTS[0]) == "scattering"
        if self._scatters:
            self._become_features(stored.train_path)
        self._leave_out(getattr(settings, "first_image", 0), stored.train_path)
        self._rule, self._seed = settings.draw_rule, seed
        if self._rule == "authors" and len(images) <= AUTHORS_FIRST:
            raise Refusal(
                f"--draw_rule=authors: draws from image {AUTHORS_FIRST} on, and "
                f"{stored.train_path} has {len(images)}; use "
                "--draw_rule=without_replacement"
            )

    def _become_features(self, path):
        """The inputs are no images any more.

        Raises:
          Refusal: there are no features of such images.
        """
        height, width, depth = self.image
        if max(height, width) > scattering.SIDE or depth != 1:
            raise Refusal(
                f"--inputs=scattering: is of images of one channel, at most {scattering.SIDE} "
                f"pixels a side, and {path} has {height} x {width} x {depth}; use --inputs=pixels"
            )
        self._picture, self.image = (height, width), None
        self.features = scattering.FEATURES
        say(
            f"inputs are {scattering.FEATURES} fixed features of each image by itself: scattering "
            f"of order 2, whitened by {scattering.STROKES} pictures of random strokes; no example "
            "was looked at for them"
        )

    def _leave_out(self, first, path):
        """Training images before `first` are no part of the pool.

        Raises:
          Refusal: none would be left.
        """
        if first >= len(self._images):
            raise Refusal(
                f"--first_image={first}: {path} has {len(self._images)} images; give a smaller one"
            )
        self._images, self._labels = self._images[first:], self._labels[first:]

    def _inputs(self, images):
        """What is learned from, of images `[N, H * W]`."""
        if self._scatters:
            return scattering.features(images.reshape(-1, *self._picture))
        return checks.as_inputs(images)

    @functools.cached_property
    def _pool_inputs(self):
        """Of all images, where that is worth keeping."""
        return self._inputs(self._images)

    def _inputs_at(self, indices):
        if self._scatters:
            return self._pool_inputs[indices]
        return self._inputs(self._images[indices])

    def _origin_at(self, indices):
        """The last digits of features depend on BLAS, its threads and the processor."""
        return self._images[indices] if self._scatters else None

    def largest_size(self, draws: int) -> int | None:
        """With replacement: any m."""
        n = len(self._images)
        rules = {"authors": None, "without_replacement": n, "disjoint": n // draws}
        return rules[self._rule]

    def _indices(self, seed, size, draw):
        n = len(self._images)
        if self._rule == "disjoint":
            generator = host_generator(key_for(self._seed, Purpose.TRAIN, seed, size))
            return generator.permutation(n)[draw * size : (draw + 1) * size]
        generator = host_generator(key_for(self._seed, Purpose.TRAIN, seed, size, draw))
        if self._rule == "authors":
            return generator.integers(AUTHORS_FIRST, n, size=size)
        return generator.permutation(n)[:size]

    def pool(self, indices: np.ndarray | None = None) -> Examples:
        """The images at places `[m]` of the pool, or all of them."""
        indices = np.arange(len(self._images)) if indices is None else indices
        labels, origin = self._labels[indices], self._origin_at(indices)
        return Examples(self._inputs_at(indices), labels, origin=origin)

    def is_pooled(self, size: int) -> bool:
        """Not where the authors add noise."""
        return self._rule != "authors" or size <= AUTHORS_NOISE_FROM

    def draw(self, seed: int, size: int, draw: int | None = None) -> Examples:
        """Images of the pool, by `--draw_rule`."""
        draw = draw or 0
        indices = self._indices(seed, size, draw)
        inputs = self._inputs_at(indices)
        if not self.is_pooled(size):
            key = key_for(self._seed, Purpose.TRAIN, seed, size, draw, 1)
            shape = inputs[AUTHORS_NOISE_FROM:].shape
            noise = host_generator(key).uniform(-AUTHORS_NOISE, AUTHORS_NOISE, shape)
            inputs[AUTHORS_NOISE_FROM:] += noise.astype(np.float32)
        record, origin = (
            {"indices": indices.astype(np.int32)},
            self._origin_at(indices),
        )
        return Examples(inputs, self._labels[indices], record, origin=origin)

    def test(self, size: int | None = None) -> Examples:
        """The stored test set, the same for all sizes."""
        return self._test

    @functools.cached_property
    def _test(self):
        return Examples(
            self._inputs(self._test_images),
            self._test_labels,
            noisy_labels=self._noisy_test_labels,
        )


class Mnist(Images):
    """Handwritten digits."""

    presets = {
        "bounds_vs_samples": {
            "paper": _PAPER,
            # The paper has no such network. Its protocol (sigmoid loss, batch 1, margin 10) does
            # not train this one: the average over positions keeps logits small, and all of
            # them stay near the classes' frequencies.
            "cnn": {
                "network": "cnn", "width": 32, "depth": 3, "loss": "softmax", "batch_size": 8,
                "learning_rate": 0.1, "margin": 3.0, "draws": 1, "shuffle": True,
                "sizes": (128, 256, 512, 1024, 2048, 4096, 8192),
            },
        },
        "beyond_uc": BEYOND | {"private_features": _PRIVATE},
        "certify": {
            # MNIST, half of it for the prior: a certificate of about 0.026, published
            # 0.0279.                                                           2 minutes
            "perez_ortiz": {},
            # The same by the lambda objective.                                 2 minutes
            "perez_ortiz_lambda": {"objective": "lambda"},
            # One network drawn from the posterior of `perez_ortiz`, which hardly moves.
            #                                                                    1 minute
            "single_draw": {"route": "single_draw", "epochs": 2},
            # A network of few bits, one and not a stochastic one, rounded after it was trained:
            # about 0.235, where Lotfi et al. (2022) report 0.116.               1 minute
            "lotfi": _LOTFI,
            # The same, rounded while it is trained: LeNet-5 in a subspace, the same from a prior
            # (published 0.014), a small fully connected one, a linear one of fixed features.
            "quantised_lenet5": _LENET5,
            "quantised_lenet5_prior": _LENET5_PRIOR,
            "quantised_mlp": _MLP,
            "quantised_scattering": _SCATTERING,
            # As `perez_ortiz`, the prior trained on moved images.
            "shifted": {"shift": 2, "prior_epochs": 60, "epochs": 2},
            # The posterior of a convolutional network; one network drawn from it.
            "cnn": _CNN | _TURNED | {"draws": 1_200_000},
            "cnn_single_draw": _CNN | _TURNED | _OF_ONE,
            # Trained on 2000 images and 600 more, picked among those that it got wrong: about 0.0173.
            "pick_to_learn": {
                "route": "pick_to_learn", "architecture": "strided_cnn", "width": 32, "depth": 3,
                "start_share": 1 / 30, "start_epochs": 100, "budget": 600, "picks": 60,
                "order": "first", "epochs": 15, "learning_rate": 0.02, "batch_size": 50, "tried": 4,
                **_MOVED,
            },
            # Of the network in --network, by a surrogate and 5000 points without labels.
            "surrogate": {
                "route": "surrogate", "architecture": "strided_cnn", "width": 32, "depth": 2,
                "epochs": 40, "certified_share": 0.33, "unlabelled": "5000", **_MOVED,
            },
        },
    }  # fmt: skip


class FashionMnist(Images):
    """Pieces of clothing, in the format of MNIST."""

    files = "fashion_mnist"
    # At the paper's learning rate networks of m = 8192 diverge.
    presets = {
        "bounds_vs_samples": {"paper": _PAPER | {"learning_rate": 0.01}},
        "beyond_uc": BEYOND | {
            # Nothing was tried on these images, and nothing run.
            "private_features": _PRIVATE | {
                "first_image": 0, "sizes": (60000,), "expected_error": 0.15,
            },
        },
        # Found by trying a few here, none of them on MNIST.
        "certify": {
            "cnn_single_draw": _CNN | _OF_ONE | {"shift": 1, "prior_epochs": 25},
            "cnn": _CNN | {"shift": 1, "prior_epochs": 25},
            "quantised_lenet5": _LENET5 | {"bits_price": 5.0},
            "quantised_scattering": _SCATTERING,
        },
    }  # fmt: skip


class BinaryMnist(Images):
    """MNIST as two classes, the digits 0 to 4 against 5 to 9 (Dziugaite & Roy 2017).

    Label noise is the ten classes', and at 1 a fair coin all the same.
    """

    about = (
        "Digits 0 to 4 (class 0) against 5 to 9, drawn from the stored training images."
    )
    classes = 2
    presets = {
        "certify": {
            # Prior at the initial weights, T-600, by the quadratic objective (theirs is
            # q + sqrt(c/2)): about 0.165, published 0.161.                      4 minutes
            "dziugaite_roy": {
                "bounds": (
                    "dziugaite_roy_2017", "maurer_2004_kl_posterior",
                    "mcallester_1999_posterior", "rivasplata_2019_quadratic_posterior",
                    "thiemann_2017_lambda_posterior", "tolstikhin_2013_posterior",
                    "catoni_2007_posterior", "holdout_cp",
                ),
                "size": 55000, "depth": 1, "prior_share": 0.0, "prior_epochs": 5,
                "prior_noise": 0.0, "epochs": 60, "batch_size": 250,
                "posterior_learning_rate": 1e-3, "deviation": 0.03,
                "learned_deviation": True, "learning_rate": 0.01, "surrogate_loss": "logistic",
            },
            # Also without a learned prior, in few bits.
            "quantised_scattering": _SCATTERING,
        }
    }  # fmt: skip

    @staticmethod
    def _halves(found):
        noisy = found.noisy_labels
        return dataclasses.replace(
            found,
            labels=(found.labels >= 5).astype(np.int32),
            noisy_labels=None if noisy is None else (noisy >= 5).astype(np.int32),
        )

    def pool(self, indices: np.ndarray | None = None) -> Examples:
        """As of MNIST."""
        return self._halves(super().pool(indices))

    def draw(self, seed: int, size: int, draw: int | None = None) -> Examples:
        """As of MNIST."""
        return self._halves(super().draw(seed, size, draw))

    @functools.cache  # noqa: B019  (a problem lives as long as its program)
    def test(self, size: int | None = None) -> Examples:
        """As of MNIST."""
        return self._halves(super().test(size))


class Cifar10(Images):
    """CIFAR-10 in its binary version (Krizhevsky 2009)."""

    about = "Ten kinds of things in colour, drawn from the stored training images."
    Settings = CifarSettings
    files = "cifar10"

    @classmethod
    def _stored(cls, folder: str | None) -> Stored:
        """The images in the binary files of a folder.

        Raises:
          Refusal: there is no such folder, or not these files in it.
        """
        form = cifar.FORMS[cls.files]
        if folder is None:
            raise Refusal(
                f"--data_dir is missing: the folder of {form.title} in its binary version "
                f"({form.files}), which is not fetched"
            )
        if not os.path.isdir(folder):
            raise Refusal(
                f"--data_dir={folder}: no such folder; give the one with {form.files}"
            )
        train, test = cifar.find(folder, form)
        if not train or test is None:
            cifar.refuse_pickles(f"--data_dir={folder}", os.listdir(folder))
            raise Refusal(f"--data_dir={folder}: {form.files} must be there")
        images, labels = cifar.read(train, form)
        held_out, their_labels = cifar.read([test], form)
        return Stored(images, labels, held_out, their_labels, str(train[0]), str(test))


class Cifar100(Cifar10):
    """CIFAR-100 in its binary version (Krizhevsky 2009); classes are the fine ones."""

    about = (
        "A hundred kinds of things in colour, drawn from the stored training images."
    )
    files = "cifar100"
    classes = 100
    _labelled = 100
