"""The contract of a problem: a distribution of labelled examples, and what is known of it.

A problem is one file, entered by one line in `experiments.problems` (or brought by a plugin).
Where it has a map S -> S' that preserves the distribution of training sets, uniform convergence
can be shown to fail on it.
"""

import abc
import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

Arrays = Mapping[str, np.ndarray]
Summary = Mapping[str, Any]  # what summary.json holds
Draw = Callable[..., Any]  # paints a figure: `lab.figures.Drawing`


@dataclasses.dataclass(frozen=True)
class Examples:
    """Labelled examples.

    Attributes:
      inputs: float32 `[N, D]`, or a tree of arrays `[N, ...]`.
      labels: int32 `[N]`; of a training set noisy where there is label noise.
      record: what reproduces the draw exactly: `indices` into the pool, or a `key`.
      noisy_labels: int32 `[N]`, of a test set with label noise: drawn as the training labels.
      origin: `[N, ...]`, what inputs were computed from where the last digits of what is computed
        depend on the machine, or None: inputs are what is stored or drawn.
    """

    inputs: Any
    labels: np.ndarray
    record: Arrays = dataclasses.field(default_factory=dict)
    noisy_labels: np.ndarray | None = None
    origin: np.ndarray | None = None

    def part(self, rows: slice) -> "Examples":
        """Some of the rows, and of the record what has a value for each."""
        size = len(self.labels)

        def of(values):
            has_rows = values is not None and len(values) == size
            return values[rows] if has_rows else values

        record = {name: of(values) for name, values in self.record.items()}
        others = (of(a) for a in (self.noisy_labels, self.origin))
        return Examples(self.inputs[rows], self.labels[rows], record, *others)


@dataclasses.dataclass(frozen=True)
class NoSettings:
    """The settings of a problem that has none."""


@dataclasses.dataclass(frozen=True)
class Cell:
    """Runs at one size of one variant: `title` for figures, `arrays` of the run of seed 0."""

    title: str
    problem: "Problem"
    size: int
    arrays: Arrays


Cells = Sequence[Cell]


class Problem(abc.ABC):
    """A learning problem; `Problem(settings, seed)` makes it.

    Class attributes:
      about: what is learned and, if there is one, what S' is: a sentence or two.
      Settings: a dataclass of its own settings (`lab.settings.setting`): they become flags. Its
        method `clashes`, if it has one, gives a line on each that does not go with the others.
      presets: program -> preset -> values of settings, of the program's and of its own.
      files: whose files they are, for problems of one `--data_dir`.
      model: what learns, where the problem brings its own; its `apply` gives logits `[N, 2]`.
      is_trained: whether by SGD through the engine; else the parameters are the training set.
      loss: of SGD where the problem decides it, a name in `nets.losses.LOSSES`.
      fixed: settings of a program that are part of the problem, and no flags.
      margin_unit: what its margins are called.
      needs_biases: why a network without biases cannot learn it, or ''.
      expand: makes an input of what a draw holds of it, or None: it holds inputs.
      test_depends_on_size: whether the distribution depends on m.
      test_is_everything: whether `test` enumerates the whole distribution, so that the error
        on it is the risk.
      float64: whether margins are to be computed in float64.

    Methods that only some have:
      sprime: (inputs, labels) -> the same of S' = T(S), on each example by itself; it preserves
        the distribution of S.
      pool: (indices `[m]` or None) -> the stored `Examples` at these places, or all of them,
        where training sets are drawn from stored examples.

    Attributes:
      features: what `training.init_params` must know of an input: D, or shapes.
      image: height, width and channels of an input, or None where it is no image.
      classes: C.
      sha256: fingerprint of the data it rests on, or None.
      taken: sentences on the data that belong beside what is certified by them: what is taken as
        said, for nobody can tell.
    """

    about: ClassVar[str] = ""
    Settings: ClassVar[type] = NoSettings
    presets: ClassVar[Mapping[str, Mapping[str, Mapping[str, Any]]]] = {}
    files: ClassVar[str] = ""
    model: Any = None
    is_trained: bool = True
    loss: str | None = None
    fixed: ClassVar[Mapping[str, Any]] = {}
    margin_unit: str = "margin"
    needs_biases: ClassVar[str] = ""
    expand: Callable[[Any], Any] | None = None
    test_depends_on_size: bool = False
    test_is_everything: bool = False
    float64: bool = False
    sprime: ClassVar[Callable[..., tuple[Any, np.ndarray]] | None] = None
    pool: ClassVar[Callable[..., Examples] | None] = None

    features: Any
    image: tuple[int, int, int] | None = None
    classes: int = 2
    sha256: str | None = None
    taken: Sequence[str] = ()

    @classmethod
    def is_open(cls) -> bool:
        """Whether it leaves it to the program what learns, and how."""
        return cls.model is None and cls.is_trained and not cls.fixed

    @abc.abstractmethod
    def draw(self, seed: int, size: int, draw: int | None = None) -> Examples:
        """The training set of m = `size` examples of a seed, the same at every call.

        Args:
          seed: of the run.
          size: m.
          draw: which of several of a seed and size; None where there is one.
        """

    @abc.abstractmethod
    def test(self, size: int | None = None) -> Examples:
        """Examples never trained on; for training sets of m = `size` where that matters."""

    def largest_size(self, draws: int) -> int | None:
        """The largest m of which `draws` training sets can be drawn; None: any."""
        return None

    def is_pooled(self, size: int) -> bool:
        """Whether the inputs of a draw of m = `size` are those of `pool` at the places that its
        record calls `indices`, to the last bit."""
        return False

    def risk(self, params: Any, size: int) -> float | None:
        """The exact risk of learned parameters, where it has a closed form."""
        return None

    def expected(self, size: int) -> dict[str, float]:
        """What theory predicts: quantity -> value; empty where it says nothing."""
        return {}

    def observed(self, params: Any, margins: Arrays, size: int) -> dict[str, float]:
        """The same quantities as they were found; `margins` on "train", "sprime", "test"."""
        return {}

    def more(self, model: Any, params: Any, train: Examples, size: int) -> Arrays:
        """More to be measured of the run of seed 0, for figures."""
        return {}

    def tables(
        self, arrays: Arrays, size: int, delta: float
    ) -> dict[str, list[dict[str, Any]]]:
        """More tables: name -> rows of one run, from what was measured of it."""
        return {}

    def summary(
        self, tables: Mapping[str, Iterable[dict[str, Any]]]
    ) -> dict[str, list[dict[str, Any]]]:
        """More for summary.json, from `tables` of all runs."""
        return {}

    def report(self, summary: Summary, cells: Cells, draw: Draw) -> list[Any]:
        """More blocks for the report; `draw` as in `lab.program.Program.report`."""
        return []


def randomise(
    labels: np.ndarray,
    classes: int,
    fraction: float,
    uniform: np.ndarray,
    redrawn: np.ndarray,
) -> np.ndarray:
    """Each label independently replaced with probability `fraction`.

    The new label is uniform over ALL classes (the old one included), as in the authors'
    code, so that at fraction 1 labels carry nothing.

    Args:
      labels: integers `[N]`.
      classes: C.
      fraction: probability.
      uniform: `[N]` uniform on [0, 1), decides which.
      redrawn: integers `[N]` uniform on 0..C-1, decides what.

    Returns:
      int32 `[N]`.
    """
    return np.where(uniform < fraction, redrawn, labels).astype(np.int32)
