"""What a study trains, and what its runs have learned, in a run folder.

A finished run is one file, `checkpoints/trained/<run>.safetensors`: the learned weights,
the check of every epoch, and how it ended.
"""

import dataclasses
import functools
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

import bounds
from experiments.lab import formats
from experiments.lab.refusals import Refusal
from experiments.lab.run_folder import RunFolder
from experiments.problems import Examples, Problem
from nets import kernels, training
from nets.sample import Sample

# How a run went: arrays kept beside its weights, and then beside its measurements.
HISTORY = ("outcome", "epochs", "seconds", "checks")
NOTES = "notes/"  # before the names of a job's notes, among the arrays of its weights


@dataclasses.dataclass(frozen=True)
class Run:
    """One training.

    Attributes:
      name: of its files, and in every table.
      size: m.
      seed: decides the initial weights; runs of two seeds are independent.
      draw: which of several training sets of a seed and size.
      variant: what `--vary` makes of it, e.g. "width=100"; '' if nothing varies.
    """

    name: str
    size: int
    seed: int
    draw: int = 0
    variant: str = ""


@dataclasses.dataclass(frozen=True)
class Job:
    """What a run is trained on, and how; arrays are made when they are called for.

    Attributes:
      plan: a `training.Plan`.
      features: what `training.init_params` must know of an input; hashable.
      init: the parameters it starts from.
      key: typed key, decides the order of its examples and what is random in a step.
      examples: its training set.
      sample: the same, padded to one shape for all runs of one plan and features.
      watches: whether the sample has watched ones; runs of one plan and features may differ.
      notes: more arrays that are kept with what it has learned; called when it has.
      origin: the initial weights that are kept with it, where it goes on from another run's and
        `init` are those.
      rows: to which its sample is padded, where that is more than its examples.
      pool: the problem of whose pool its examples are places (`pools.of`), or None.
    """

    plan: training.Plan
    features: Hashable
    init: Callable[[], Any]
    key: Callable[[], jax.Array]
    examples: Callable[[], Examples]
    sample: Callable[[], Sample]
    watches: bool = False
    notes: Callable[[], Mapping[str, np.ndarray]] = dict
    origin: Callable[[], Any] | None = None
    rows: int = 0
    pool: Problem | None = None


@dataclasses.dataclass(frozen=True)
class Stage:
    """Runs that are trained together, after those of the stages before.

    Attributes:
      runs: in the order of tables.
      job: (run, what earlier stages have trained) -> its `Job`.
      is_kept: whether `--save_weights` keeps its weights; what is not is trained again
        where it is needed again.
      leads_to: run -> the later run that alone needs its weights: where that one is trained, it
        is not trained again.
    """

    runs: Sequence[Run]
    job: Callable[[Run, "Trained"], Job]
    is_kept: bool = True
    leads_to: Callable[[Run], Run] | None = None


@functools.cache
def initial(plan: training.Plan, features: Hashable) -> Callable[[jax.Array], Any]:
    """key -> initial parameters of a plan, compiled."""
    return jax.jit(lambda key: training.init_params(plan, key, features))


@functools.cache
def state_shapes(plan: training.Plan, features: Hashable) -> dict[str, Any]:
    """The shapes of a packed state of a plan."""

    def fresh(key):
        params = training.init_params(plan, key, features)
        return training.pack(training.init_state(plan, params, key))

    return jax.eval_shape(fresh, jax.random.key(0))


class Trained:
    """What the runs of a study have learned, in its folder."""

    def __init__(self, folder: RunFolder, stages: Sequence[Stage]):
        self._folder = folder
        self._stage = {run: stage for stage in stages for run in stage.runs}

    def job(self, run: Run) -> Job:
        """Of a run of any stage."""
        return self._stage[run].job(run, self)

    def trains(self, run: Run) -> bool:
        """Whether a run is one of the stages'."""
        return run in self._stage

    def fresh_path(self, run: Run) -> Any:
        """Where a run's weights are until everything is measured."""
        return self._folder.trained / f"{run.name}.safetensors"

    def kept_path(self, run: Run) -> Any:
        """Where `--save_weights` puts them."""
        return self._folder.weights / f"{run.name}.safetensors"

    def has(self, run: Run) -> bool:
        """Whether the learned weights of a run are on disk."""
        return self.fresh_path(run).exists() or self.keeps(run)

    def keeps(self, run: Run) -> bool:
        """Whether its weights are where `--save_weights` puts them."""
        return self.kept_path(run).exists()

    def is_due(self, run: Run, has: Callable[[Run], bool] | None = None) -> bool:
        """Whether a run is still to be trained.

        Args:
          run: of any stage.
          has: whether the weights of a run are there; `Trained.has` if not given.
        """
        has, leads_to = has or self.has, self._stage[run].leads_to
        return not has(run) and not (leads_to and has(leads_to(run)))

    def _stored(self, run):
        path = self.fresh_path(run)
        return formats.read_tensors(path if path.exists() else self.kept_path(run))

    def notes(self, run: Run) -> dict[str, np.ndarray]:
        """The `notes` of the job of a finished run, as they were when it ended."""
        arrays = self._stored(run).items()
        return {n.removeprefix(NOTES): a for n, a in arrays if n.startswith(NOTES)}

    def params(self, run: Run) -> Any:
        """The learned parameters of a finished run."""
        arrays = self._stored(run)
        final = {
            n.removeprefix("final/"): a for n, a in arrays.items() if "final/" in n
        }
        job = self.job(run)
        try:
            return kernels.from_arrays(
                final, state_shapes(job.plan, job.features)["params"]
            )
        except (ValueError, KeyError) as error:
            fresh = self.fresh_path(run)
            path = fresh if fresh.exists() else self.kept_path(run)
            raise Refusal(
                f"{path}: is of another network than config.json says ({error}); put the folder's "
                "own files in their places, or use a new --out"
            ) from error

    def history(self, run: Run) -> dict[str, np.ndarray]:
        """The arrays `HISTORY` of a finished run: of its training, and where its fresh weights
        are gone those with what was measured of it, or with the weights that were kept.

        Raises:
          Refusal: there are only older weights, which do not say.
        """
        kept = self.kept_path(run)
        readers = {
            self.fresh_path(run): formats.read_tensors,
            self._folder.measured_path(run.name): functools.partial(
                formats.read_arrays, wanted=HISTORY.__contains__
            ),
            kept: formats.read_tensors,
        }
        for path, read in readers.items():
            if path.exists():
                arrays = read(path)
                if set(HISTORY) <= set(arrays):
                    return {name: arrays[name] for name in HISTORY}
        raise Refusal(
            f"{kept}: does not say how the training went, as weights do since they can be "
            "measured again; delete it, and --resume trains this run again"
        )

    def is_measured(self, run: Run) -> bool:
        """Whether its history is that of its measurement, not of its training."""
        fresh, measured = self.fresh_path(run), self._folder.measured_path(run.name)
        return measured.exists() and not fresh.exists()

    def store(
        self, run: Run, state: Mapping[str, Any], checks: np.ndarray, seconds: float
    ) -> None:
        """Writes what a run has learned, from its packed last state."""
        history = state["outcome"], state["epoch"], seconds, checks
        final = kernels.to_arrays(state["params"])
        formats.write_tensors(
            self.fresh_path(run),
            {f"final/{name}": np.asarray(array) for name, array in final.items()}
            | {n: np.asarray(a) for n, a in zip(HISTORY, history, strict=True)}
            | {f"{NOTES}{n}": a for n, a in self.job(run).notes().items()},
        )

    def size_of(self, run: Run) -> int:
        """Bytes that `keep_weights` writes."""
        job = self.job(run)
        shapes = state_shapes(job.plan, job.features)["params"]
        leaves = jax.tree.leaves(shapes)
        return 2 * sum(leaf.size * leaf.dtype.itemsize for leaf in leaves)

    def keep_weights(self, run: Run) -> None:
        """Writes `weights/<run>.safetensors`: `init/0/kernel`, ..., `final/0/kernel`, ...,
        `HISTORY` and notes, so that it can be measured again."""
        job = self.job(run)
        trees = {"init": (job.origin or job.init)(), "final": self.params(run)}
        formats.write_tensors(
            self.kept_path(run),
            {
                f"{when}/{name}": np.asarray(array)
                for when, tree in trees.items()
                for name, array in kernels.to_arrays(tree).items()
            }
            | self.history(run)
            | {f"{NOTES}{name}": array for name, array in self.notes(run).items()},
        )

    def keep_examples(self, run: Run) -> None:
        """Writes what reproduces its draw exactly: indices into the pool, or keys."""
        path = self._folder.samples / f"{run.name}.npz"
        if not path.exists():
            drawn = self.job(run).examples()
            formats.write_arrays(path, {**drawn.record, "labels": drawn.labels})


def history_of(
    arrays: Mapping[str, np.ndarray], steps_per_epoch: int, rows: int | None = None
) -> bounds.History:
    """How a training went, for the measures that ask.

    Args:
      arrays: `HISTORY` of a run.
      steps_per_epoch: SGD steps of an epoch.
      rows: epochs to pad to, so that runs can be stacked; else the next hundred.
    """
    losses = np.asarray(arrays["checks"])[:, 2].astype(np.float32)
    rows = rows or -(-len(losses) // 100) * 100
    padded = np.pad(losses, (0, rows - len(losses)))
    return bounds.History(padded, np.int32(len(losses)), np.int32(steps_per_epoch))
