"""What networks were trained on: a known data set, anyone's arrays or image sets."""

import dataclasses
import functools
import os
from pathlib import Path

import numpy as np

from bounds import checks
from experiments.lab.once import OncePerObject
from experiments.lab.reading import array_files, image_sets, memory
from experiments.lab.reading.flaws import Flaw, shown
from experiments.lab.reading.notes import say
from experiments.lab.refusals import Refusal
from experiments.problems import Examples, Problem

# Names that the arrays of a data file may have: training inputs and labels, held-out ones.
NAMES = (
    ("x", "y", "x_test", "y_test"),
    ("x_train", "y_train", "x_test", "y_test"),
    ("inputs", "labels", "test_inputs", "test_labels"),
)


# In which order the numbers of an image are laid out: height, width, channels.
IMAGE_ORDERS = ("hwc", "chw", "whc")


@dataclasses.dataclass(frozen=True)
class Arrays:
    """A training set and, perhaps, held-out examples.

    Attributes:
      train, test: the examples; None where none are held out.
      image: height, width and channels of an input whose numbers are laid out in that order;
        None where that is not known.
      shape: of an input as it was stored.
      dtype: of its numbers there.
    """

    train: Examples
    test: Examples | None
    image: tuple[int, int, int] | None = None
    shape: tuple[int, ...] = ()
    dtype: str = "uint8"

    def of(
        self, name: str, train_indices: str | None
    ) -> tuple[Examples, Examples | None]:
        """(training set, held-out examples) of a network: the same for all."""
        del name, train_indices
        return self.train, self.test

    @classmethod
    def read(cls, path: str) -> "Arrays":
        """What is in a file or folder, recognised by what is there.

        Named arrays in an `.npz` or safetensors file, or an image set (`image_sets`); bytes
        (uint8) are divided by 255, others are not.

        Raises:
          Refusal: it cannot be read, or is no examples and labels; more than
            `checks.SHARED_AT_MOST` of the held-out inputs are training inputs.
        """
        found = image_sets.read(path)
        if found is None:
            return cls(*_pairs(path))
        flag = f"--data={path}"
        pairs = [
            part and Examples(_inputs(flag, part.pixels), part.labels)
            for part in (found.train, found.test)
        ]
        if pairs[1] is not None:
            _held_out(f"{flag}: held-out images", *pairs)
        image = found.train.pixels.shape[1:]
        return cls(*pairs, image, image)


@dataclasses.dataclass(frozen=True)
class Pool:
    """Examples to have been chosen from: those of a problem that has a pool."""

    problem: Problem

    @property
    def image(self) -> tuple[int, int, int] | None:
        """Of the problem's inputs."""
        return self.problem.image

    @property
    def shape(self) -> tuple[int, ...]:
        """Of an input as it is stored."""
        return self.problem.image or ()

    @functools.cached_property
    def _whole(self):
        whole, test = self.problem.pool(), self.problem.test()
        if all(isinstance(examples.inputs, np.ndarray) for examples in (whole, test)):
            _held_out("--problem", whole, test)
        return whole, test

    def of(self, name: str, train_indices: str | None) -> tuple[Examples, Examples]:
        """(training set, held-out examples) of a network, by the examples it was given."""
        whole, test = self._whole
        if train_indices is None:
            return whole, test
        path = Path(train_indices)
        if os.path.isdir(path):  # Path.is_dir raises if it is long
            path = path / f"{name}.npz"
        indices, labels = _indices(path, train_indices, len(whole.labels))
        chosen = self.problem.pool(indices)
        if labels is not None:
            chosen = dataclasses.replace(chosen, labels=labels)
        return chosen, test


@dataclasses.dataclass(frozen=True)
class Prepared:
    """Data whose inputs are what a network was given: in another order, normalised.

    Attributes:
      source: `Arrays` or a `Pool`.
      image_order: of `IMAGE_ORDERS`, or None: as they are.
      normalise: means and then deviations, one of each or one a channel; () leaves inputs as
        they are. Constants: those of the training sample would make a bound on fresh inputs
        rest on inputs that depend on the sample.
    """

    source: Arrays | Pool
    image_order: str | None = None
    normalise: tuple[float, ...] = ()

    def __post_init__(self):
        """Raises a `Refusal` where the channels or the order of inputs are not known."""
        if self.image_order is not None and self.source.image is None:
            raise Refusal(
                f"--image_order={self.image_order}: goes with images whose order is known; the "
                "arrays of a file are taken as they are, store them in the order that you need"
            )
        if len(self.normalise) > 2:
            self._channels(len(self.normalise) // 2)
        if self.normalise:
            shown_as = ",".join(f"{number:g}" for number in self.normalise)
            say(f"--normalise={shown_as}: inputs are (x - mean) / deviation")

    def of(
        self, name: str, train_indices: str | None
    ) -> tuple[Examples, Examples | None]:
        """(training set, held-out examples) of a network."""
        train, test = self.source.of(name, train_indices)
        return self._prepared(train), test and self._prepared(test)

    @functools.cached_property
    def _prepared(self):
        """Examples -> the same with other inputs; many networks share them."""
        return OncePerObject(
            lambda examples: dataclasses.replace(
                examples, inputs=self.inputs(examples.inputs)
            )
        )

    def _channels(self, count):
        """The channel of each of the D numbers of an input."""
        shape = self.source.shape
        axes = (
            [2]
            if self.source.image
            else [a for a in (0, 2) if len(shape) == 3 and shape[a] == count]
        )
        if len(axes) != 1 or shape[axes[0]] != count:
            raise Refusal(
                f"--normalise: {count} means and {count} deviations for inputs "
                f"{list(shape) or 'without channels'}; give one of each, or one a channel"
            )
        return np.broadcast_to(
            np.expand_dims(np.arange(count), [a for a in range(3) if a not in axes]),
            shape,
        ).ravel()

    def inputs(self, inputs: np.ndarray) -> np.ndarray:
        """Inputs `[N, D]` of the same kind, prepared alike."""
        if not isinstance(inputs, np.ndarray):
            raise Refusal(
                "--normalise, --image_order: go with inputs that are arrays; this problem's are "
                "made anew, leave them out"
            )
        if self.normalise:
            numbers = np.array(self.normalise, np.float32)
            mean, deviation = np.split(numbers, 2)
            if len(mean) > 1:
                channels = self._channels(len(mean))
                mean, deviation = mean[channels], deviation[channels]
            inputs = (inputs - mean) / deviation
        if self.image_order not in (None, "hwc"):
            axes = ["hwc".index(letter) for letter in self.image_order]
            places = np.arange(inputs.shape[1]).reshape(self.source.image)
            inputs = inputs[:, places.transpose(axes).ravel()]
        return inputs


def image_of(source: Arrays | Pool) -> tuple[int, int, int] | None:
    """Height, width and channels of an input, or None: it is not taken to be an image.

    Arrays of a file are taken to be images where an input has two axes, or three and the last, its
    channels, is none longer than the others.
    """
    if source.image or len(source.shape) not in (2, 3):
        return source.image
    height, width, channels = (*source.shape, 1)[:3]
    return (height, width, channels) if channels <= min(height, width) else None


def _read(path, flag, only="indices"):
    try:
        if Path(path).suffix in (".txt", ".csv"):
            return {only: array_files.read_numbers(path)}
        return array_files.read(path, only=only)
    except Flaw as flaw:
        raise Refusal(
            f"{flag}: {path} cannot be read ({flaw}); give an .npz of plain arrays"
        ) from None


def _whole(where, numbers, below, count=None):
    """Whole numbers 0..below - 1 in one row as int32, `count` of them if that is known."""
    if numbers.ndim == 2 and numbers.shape[1] == 1 and count is not None:
        numbers = numbers[:, 0]
    if numbers.ndim != 1 or not numbers.size or len(numbers) != (count or len(numbers)):
        raise Refusal(
            f"{where} {list(numbers.shape)}: must be {count or 'some'} whole numbers in one row"
        )
    try:
        return checks.whole_numbers(where, numbers, below)
    except ValueError as error:
        raise Refusal(f"{error}; whole numbers from 0 are needed") from error


def _indices(path, given, images):
    """Places in the pool and, where they are stored, labels."""
    flag = f"--train_indices={given}"
    arrays = _read(path, flag)
    if "indices" not in arrays:
        raise Refusal(
            f"{flag}: {path} has no `indices`; there are {_listed(arrays)}; give them"
        )
    where = f"{flag}: {path}:"
    indices, labels = arrays["indices"], arrays.get("labels")
    indices = _whole(f"{where} `indices`", indices, images)
    if labels is not None:
        labels = _whole(f"{where} `labels`", labels, checks.MOST_CLASSES, len(indices))
    return indices, labels


def _inputs(where, inputs):
    """float32 `[m, D]`."""
    if inputs.dtype.kind not in "fiub" or inputs.ndim < 2 or not inputs.size:
        raise Refusal(
            f"{where} {list(inputs.shape)} of type {inputs.dtype}: must be numbers [m, D]"
        )
    try:
        memory.check("as float32 and a copy it", 2 * 4 * inputs.size)
    except Flaw as flaw:
        raise Refusal(f"{where}: {flaw}; give fewer examples") from None
    numbers = checks.as_inputs(inputs).reshape(len(inputs), -1)
    if not np.isfinite(numbers).all():
        raise Refusal(f"{where}: is not finite (as float32); leave such examples out")
    return numbers


def _listed(arrays):
    names = [shown(name) for name in arrays]
    more = f" and {len(names) - 12} more" if len(names) > 12 else ""
    return f"{', '.join(names[:12]) or 'no arrays'}{more}"


def _pairs(path):
    """The training set, the held-out examples and the shapes of a file's arrays."""
    flag = f"--data={path}"
    if Path(path).suffix in (".txt", ".csv"):
        raise Refusal(
            f"{flag}: examples are not read from text; give an .npz with `x` [m, D] and `y` [m]"
        )
    arrays = _read(path, flag, "x")
    names = next((n for n in NAMES if n[0] in arrays and n[1] in arrays), None)
    if names is None:
        lacking = " and ".join(f"`{n}`" for n in ("x", "y") if n not in arrays)
        raise Refusal(
            f"{flag}: has no {lacking}; there are {_listed(arrays)}; give an .npz with `x` [m, D] "
            "and `y` [m]"
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
        labels = _whole(f"{flag}: `{y}`", arrays[y], checks.MOST_CLASSES, len(inputs))
        pairs.append(Examples(inputs, labels))
    train, test = pairs
    if test is not None:
        _go_together(flag, names, arrays, train, test)
    kind = arrays[names[0]].dtype
    how = "bytes, divided by 255" if kind == np.uint8 else f"{kind}, taken as they are"
    low, high = train.inputs.min(), train.inputs.max()
    say(f"{flag}: inputs are {how}: {low:.4g} to {high:.4g}")
    return train, test, None, arrays[names[0]].shape[1:], str(kind)


def unlabelled(path: str, source: Arrays | Pool) -> np.ndarray:
    """Points without labels, as the inputs of a data set are before they are prepared.

    Args:
      path: a file with an array `x` `[u, D]` (or `[u, H, W]`); others are not looked at.
      source: the data set.

    Returns:
      float32 `[u, D]`; bytes are divided by 255.

    Raises:
      Refusal: it cannot be read, or its points are of another kind.
    """
    flag = f"--unlabelled={path}"
    arrays = _read(path, flag, "x")
    if "x" not in arrays:
        raise Refusal(f"{flag}: has no `x`; there are {_listed(arrays)}")
    shapes = arrays["x"].shape[1:], getattr(source, "shape", ())
    if not _is_one_layout(*shapes):
        raise Refusal(
            f"{flag}: `x` has points of shape {shapes[0]}, the data examples of {shapes[1]}; give both in "
            "one layout"
        )
    dtype, own = arrays["x"].dtype, getattr(source, "dtype", "")
    if own and (own == "uint8") != (dtype == np.uint8):
        raise Refusal(
            f"{flag}: `x` is of type {dtype} and the data of type {own}; bytes are divided by 255, "
            "others are not: give both in one type"
        )
    points = _inputs(f"{flag}: `x`", arrays["x"])
    say(f"{flag}: {len(points)} points, {points.min():.4g} to {points.max():.4g}")
    return points


def _go_together(flag, names, arrays, train, test):
    """Refuses held-out examples that are of another kind, or are training examples."""
    x, x_test = names[0], names[2]
    if test.inputs.shape[1] != train.inputs.shape[1]:
        raise Refusal(
            f"{flag}: `{x_test}` has {test.inputs.shape[1]} features, `{x}` "
            f"{train.inputs.shape[1]}; give examples of one kind"
        )
    if not _is_one_layout(arrays[x].shape[1:], arrays[x_test].shape[1:]):
        raise Refusal(
            f"{flag}: `{x_test}` has examples of shape {arrays[x_test].shape[1:]}, `{x}` of "
            f"{arrays[x].shape[1:]}; give both in one layout"
        )
    if (arrays[x].dtype == np.uint8) != (arrays[x_test].dtype == np.uint8):
        raise Refusal(
            f"{flag}: `{x}` is of type {arrays[x].dtype} and `{x_test}` {arrays[x_test].dtype}; "
            "bytes are divided by 255, others are not: give both in one type"
        )
    _held_out(f"{flag}: `{x_test}`", train, test)


def _is_one_layout(one, other):
    """Whether examples of two shapes are laid out alike; a vector may be anything's."""
    one, other = (shape[:-1] if shape[-1:] == (1,) else shape for shape in (one, other))
    return min(len(one), len(other)) < 2 or one == other


def _held_out(where, train, test):
    """Says how many held-out inputs are training inputs, too; refuses many."""
    try:
        line = checks.shared(where, train.inputs, test.inputs)
    except ValueError as error:
        raise Refusal(str(error)) from error
    if line:
        say(line)
