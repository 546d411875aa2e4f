"""Labelled examples of one's own, from a file or a folder (`--data`)."""

import dataclasses
import hashlib
from typing import Any

import numpy as np

from experiments.lab import checksums
from experiments.lab.later import later
from experiments.lab.reading.given_settings import GivenData
from experiments.lab.reading.notes import say
from experiments.lab.refusals import Refusal
from experiments.lab.seeding import Purpose, host_generator, key_for
from experiments.lab.settings import setting
from experiments.problems.problem import Examples, Problem

checks = later("bounds.checks")
data_files = later("experiments.lab.reading.data_files")


@dataclasses.dataclass(frozen=True)
class Settings(GivenData):
    """Of one's own data."""

    classes: int | None = setting(
        None, "--data: how many classes there are, with labels from 0; the largest label and 1 if "
        "not given", (lambda v: 2 <= v <= 10**6, "a whole number from 2 to 1000000")
    )  # fmt: skip


_TAKEN = (
    "That these are independent draws of the distribution that the certificate speaks of, and that the "
    "number of classes and how inputs are normalised were known before they were seen, is taken as said."
)


class Labelled(Problem):
    """A `Problem` of labelled examples that are there: training sets are drawn of them without
    replacement, so that their order does not matter.

    Args:
      labelled: the examples.
      test: held-out ones, or None.
      seed: decides every draw.
    """

    def __init__(self, labelled: Examples, test: Examples | None, seed: int):
        self._labelled, self._test, self._seed = labelled, test, seed

    def largest_size(self, draws: int) -> int:
        """All of them."""
        return len(self._labelled.labels)

    def pool(self, indices: np.ndarray | None = None) -> Examples:
        """The examples at places `[m]`, or all of them, in the order of the file."""
        if indices is None:
            return self._labelled
        return Examples(self._labelled.inputs[indices], self._labelled.labels[indices])

    def is_pooled(self, size: int) -> bool:
        """Always."""
        return True

    def draw(self, seed: int, size: int, draw: int | None = None) -> Examples:
        """The first `size` of a random order, each once."""
        numbers = (seed, size) if draw is None else (seed, size, draw)
        key = key_for(self._seed, Purpose.TRAIN, *numbers)
        order = host_generator(key).permutation(self.largest_size(1))[:size]
        record = {"indices": order.astype(np.int32)}
        return dataclasses.replace(self.pool(order), record=record)

    def test(self, size: int | None = None) -> Examples | None:
        """The held-out examples, if there are any."""
        return self._test


def not_seen(what: str, train: np.ndarray, held_out: np.ndarray) -> str | None:
    """A line, which is printed, on inputs that are on both sides, or None: there are none.

    Args:
      what: those that should not have been trained on, as the line begins.
      train: inputs `[m, ...]`.
      held_out: inputs `[n, ...]`.

    Raises:
      Refusal: they are too many (`bounds.checks.SHARED_AT_MOST`).
    """
    try:
        line = checks.shared(what, train, np.asarray(held_out))
    except ValueError as error:
        raise Refusal(str(error)) from error
    if line:
        say(line)
    return line


def read(settings: Settings) -> tuple[Any, Examples, Examples | None]:
    """What `--data` names.

    Returns:
      `(stored, examples, held-out ones or None)`: a `data_files.Arrays` as it was read, and its
      examples, their inputs normalised.

    Raises:
      Refusal: it cannot be read, or its inputs not be normalised.
    """
    source = stored = data_files.Arrays.read(settings.data)
    if settings.normalise:
        source = data_files.Prepared(stored, None, settings.normalise)
    return stored, *source.of("", None)


class OwnData(Labelled):
    """A `Problem` of what `--data` names."""

    about = "Labelled examples of one's own."
    Settings = Settings

    def __init__(self, settings: Settings, seed: int):
        """Reads them.

        Raises:
          Refusal: they cannot be read, or are nothing to be learned.
        """
        flag = f"--data={settings.data}"
        stored, train, test = read(settings)
        super().__init__(train, test, seed)
        self.features = train.inputs.shape[1]
        self.image = data_files.image_of(stored)
        self.classes = _classes(flag, settings.classes, train, test)
        digest = hashlib.sha256()
        for examples in (train, *(() if test is None else (test,))):
            for array in (examples.inputs, examples.labels):
                digest.update(f"{array.shape}".encode())
                digest.update(np.ascontiguousarray(array))
        self.sha256 = digest.hexdigest()
        what = self._said(stored.shape, settings.classes is not None)
        say(f"{flag}: {what}")
        digest = f"of its arrays {self.sha256}"
        if not stored.image:  # an image set is seldom one file
            digest = f"of the file {checksums.sha256(settings.data)}"
        self.taken = (f"The data: {settings.data}: {what}; sha256 {digest}.", _TAKEN)

    def _said(self, stored_shape: tuple[int, ...], knows_classes: bool) -> str:
        """What the examples were taken to be."""
        labels = self._labelled.labels
        each = f"{' x '.join(map(str, stored_shape))} numbers each"
        if self.image:
            shape = " x ".join(map(str, self.image))
            each = f"images of {shape} (height, width, channels)"
        elif len(stored_shape) > 1:
            each += ", not taken to be images, whose channels would come last"
        occur = len(np.unique(labels))
        classes = f"{self.classes} classes"
        if not knows_classes:
            classes += " (the largest label and 1; --classes if there are more)"
        if occur < self.classes:
            classes += f", of which {occur} occur, {labels.min()} to {labels.max()}"
        test = "no" if self._test is None else len(self._test.labels)
        return f"{len(labels)} labelled examples, {each}; {classes}; {test} held-out examples"


def _classes(flag, known, train, test):
    """C: as it is said, or as labels tell."""
    own = [int(train.labels.max())]
    own += [] if test is None else [int(test.labels.max())]
    largest, count = max(own), len(train.labels)
    if known is not None:
        if largest >= known:
            raise Refusal(
                f"--classes={known}: {flag} has a label {largest}; labels are 0 to {known - 1}, give "
                f"{largest + 1} or more, or leave it out"
            )
        return known
    if largest == 0:
        raise Refusal(
            f"{flag}: all labels are 0; two classes are needed, or --classes says how many there are"
        )
    if largest >= count:
        raise Refusal(
            f"{flag}: has a label {largest}, and {count} labelled examples; labels of C classes are "
            "0, 1, ..., C - 1: number them so, or say by --classes how many there are"
        )
    return largest + 1
