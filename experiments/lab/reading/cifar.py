"""CIFAR-10 and CIFAR-100 in their binary version (https://www.cs.toronto.edu/~kriz/cifar.html).

A record is a byte a label (CIFAR-100: coarse, then fine) and 3072 bytes of pixels: 32 x 32 red
ones, then green, then blue. The Python version is a pickle, which is never opened.
"""

import dataclasses
import os
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bounds import checks
from experiments.lab.reading import memory
from experiments.lab.reading.flaws import Flaw, shown, told
from experiments.lab.reading.tensors import natural
from experiments.lab.refusals import Refusal

IMAGE = (32, 32, 3)  # height, width, channels
_STORED = (3, 32, 32)
_PIXELS = 3072


@dataclasses.dataclass(frozen=True)
class Form:
    """One of the two.

    Attributes:
      title: what it is called.
      classes: how many there are of each label of a record; the last is the class.
      train: pattern of the names of its training files.
      test: name of the file of held-out images.
      files: what they are called, in words.
    """

    title: str
    classes: tuple[int, ...]
    train: re.Pattern
    test: str
    files: str

    @property
    def record(self) -> int:
        """Bytes of a record."""
        return len(self.classes) + _PIXELS


FORMS = {
    "cifar10": Form(
        "CIFAR-10", (10,), re.compile(r"data_batch_\d+\.bin"), "test_batch.bin",
        "data_batch_1.bin to data_batch_5.bin and test_batch.bin",
    ),
    "cifar100": Form(
        "CIFAR-100", (20, 100), re.compile(r"train\.bin"), "test.bin",
        "train.bin and test.bin",
    ),
}  # fmt: skip


def find(folder: str | Path, form: Form) -> tuple[list[Path], Path | None]:
    """(training files in their order, file of held-out images or None) in a folder."""
    names = [name for name in os.listdir(folder) if form.train.fullmatch(name)]
    test = Path(folder) / form.test
    found = [Path(folder) / name for name in sorted(names, key=natural)]
    return found, test if os.path.isfile(test) else None


def is_one(path: str | Path, form: Form) -> bool:
    """Whether a file is whole records with labels of this form: it has no other mark."""
    size = os.path.getsize(path)
    if not size or size % form.record:
        return False
    with open(path, "rb") as file:
        begins = file.read(len(form.classes))
    return all(n < c for n, c in zip(begins, form.classes, strict=True))


def read(paths: Sequence[Path], form: Form) -> tuple[np.ndarray, np.ndarray]:
    """The images in files, one file behind the other.

    Args:
      paths: of the files.
      form: of all of them.

    Returns:
      uint8 `[N, 32, 32, 3]` and the classes, int32 `[N]` (CIFAR-100: the fine ones).

    Raises:
      Refusal: a file cannot be read, is no whole number of records, or holds another label.
    """
    parts = [_records(Path(path), form) for path in paths]
    images, labels = zip(*parts, strict=True)
    return np.concatenate(images), np.concatenate(labels)


def _records(path, form):
    try:
        with told():
            return _decoded(path, form)
    except Flaw as flaw:
        raise Refusal(
            f"{path}: is no file of {form.title} in its binary version ({flaw}); fetch it again"
        ) from None


def _decoded(path, form):
    if path.exists() and not path.is_file():
        raise Flaw("no regular file")
    size = path.stat().st_size
    if not size:
        raise Flaw("it is empty")
    if size % form.record:
        raise Flaw(
            f"{size} bytes are no whole number of records of {form.record}: truncated or "
            "something else"
        )
    memory.check("its images and as many floats", (2 + 4) * size)
    raw = np.fromfile(path, np.uint8)
    if len(raw) != size:
        raise Flaw("it ends early")
    records = raw.reshape(-1, form.record)
    labels = records[:, : len(form.classes)]
    for column, classes in zip(labels.T, form.classes, strict=True):
        last = checks.whole_numbers("label", column, classes)
    images = records[:, len(form.classes) :].reshape(-1, *_STORED)
    return np.ascontiguousarray(images.transpose(0, 2, 3, 1)), last


def refuse_pickles(where: str, names: Sequence[str]) -> None:
    """Raises a `Refusal` where a folder holds the Python version."""
    pickles = [n for n in names if re.fullmatch(r"data_batch_\d+|test_batch", n)]
    if pickles:
        raise Refusal(
            f"{where}: {shown(pickles[0])} is of CIFAR's Python version, a pickle, which is never "
            "opened; give the binary version (data_batch_1.bin, ...)"
        )
