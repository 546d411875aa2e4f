"""What networks were trained on: a known data set, or anyone's arrays."""

import dataclasses
from pathlib import Path

import numpy as np

from experiments.lab.refusals import Refusal
from experiments.problems import Examples, Problem

# Names that the arrays of a data file may have: training inputs and labels, held-out ones.
NAMES = (
    ("x", "y", "x_test", "y_test"),
    ("x_train", "y_train", "x_test", "y_test"),
    ("inputs", "labels", "test_inputs", "test_labels"),
)


@dataclasses.dataclass(frozen=True)
class Arrays:
    """A training set and, perhaps, held-out examples."""

    train: Examples
    test: Examples | None

    def of(
        self, name: str, train_indices: str | None
    ) -> tuple[Examples, Examples | None]:
        """(training set, held-out examples) of a network: the same for all."""
        del name, train_indices
        return self.train, self.test

    @classmethod
    def read(cls, path: str) -> "Arrays":
        """The arrays of an `.npz` file.

        Raises:
          Refusal: it cannot be read, or its arrays are not examples and labels.
        """
        return cls(*_pairs(path))


@dataclasses.dataclass(frozen=True)
class Pool:
    """Examples to have been chosen from: those of a problem that has a pool."""

    problem: Problem

    def of(self, name: str, train_indices: str | None) -> tuple[Examples, Examples]:
        """(training set, held-out examples) of a network, by the examples it was given."""
        whole, test = self.problem.pool(), self.problem.test()
        if train_indices is None:
            return whole, test
        path = Path(train_indices)
        if path.is_dir():
            path = path / f"{name}.npz"
        indices, labels = _indices(path, train_indices, len(whole.labels))
        chosen = self.problem.pool(indices)
        if labels is not None:
            chosen = dataclasses.replace(chosen, labels=labels)
        return chosen, test


def _read(path, flag):
    try:
        if Path(path).suffix == ".txt":
            return {"indices": np.loadtxt(path, dtype=np.int64, ndmin=1)}
        found = np.load(path, allow_pickle=False)
        return dict(found) if hasattr(found, "files") else {"indices": found}
    except (OSError, ValueError, EOFError) as error:
        raise Refusal(
            f"{flag}: {path} cannot be read ({str(error).splitlines()[0]}); give an .npz "
            "of plain arrays"
        ) from error


def _indices(path, given, images):
    """Places in the pool and, where they are stored, labels."""
    flag = f"--train_indices={given}"
    arrays = _read(path, flag)
    if "indices" not in arrays:
        raise Refusal(f"{flag}: {path} has no `indices`; there are {', '.join(arrays)}")
    indices, labels = arrays["indices"], arrays.get("labels")
    if indices.ndim != 1 or indices.dtype.kind not in "iu" or not indices.size:
        raise Refusal(f"{flag}: {path}: `indices` must be whole numbers in one row")
    if indices.min() < 0 or indices.max() >= images:
        worst = indices.max() if indices.min() >= 0 else indices.min()
        raise Refusal(f"{flag}: {path}: index {worst} is not one of 0..{images - 1}")
    if labels is not None:
        labels = _labels(f"{flag}: {path}: `labels`", labels, len(indices))
    return indices, labels


def _labels(where, labels, count):
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1 or labels.dtype.kind not in "iu" or len(labels) != count:
        raise Refusal(
            f"{where} {list(labels.shape)} of type {labels.dtype}: must be {count} whole "
            "numbers from 0, a label an example"
        )
    if labels.min(initial=0) < 0:
        raise Refusal(f"{where}: label {labels.min()}; labels are counted from 0")
    return labels.astype(np.int32)


def _inputs(where, inputs):
    if inputs.dtype.kind not in "fiu" or inputs.ndim < 2 or not inputs.size:
        raise Refusal(
            f"{where} {list(inputs.shape)} of type {inputs.dtype}: must be numbers [m, D]"
        )
    scaled = inputs.astype(np.float32)
    if inputs.dtype == np.uint8:
        scaled /= 255
    if not np.isfinite(scaled).all():
        raise Refusal(f"{where}: is not finite; leave such examples out")
    return scaled.reshape(len(scaled), -1)


def _pairs(path):
    """The training set and the held-out examples of a file."""
    flag = f"--data={path}"
    arrays = _read(path, flag)
    names = next((n for n in NAMES if n[0] in arrays and n[1] in arrays), None)
    if names is None:
        raise Refusal(
            f"{flag}: has no `x` and `y`; there are {', '.join(arrays) or 'no arrays'}"
        )
    pairs = []
    for x, y in (names[:2], names[2:]):
        if x not in arrays and y not in arrays:
            pairs.append(None)
            continue
        missing = [n for n in (x, y) if n not in arrays]
        if missing:
            raise Refusal(f"{flag}: `{missing[0]}` is missing; give both or neither")
        inputs = _inputs(f"{flag}: `{x}`", arrays[x])
        labels = _labels(f"{flag}: `{y}`", arrays[y], len(inputs))
        pairs.append(Examples(inputs, labels))
    train, test = pairs
    if test is not None and test.inputs.shape[1] != train.inputs.shape[1]:
        raise Refusal(
            f"{flag}: `{names[2]}` has {test.inputs.shape[1]} features, `{names[0]}` "
            f"{train.inputs.shape[1]}"
        )
    return train, test
