"""Training the runs of a study into a run folder, resumably.

A finished run is one file, `checkpoints/trained/<run>.safetensors`: the learned weights,
the check of every epoch, and how it ended. Those under way are in one checkpoint.
"""

import dataclasses
import functools
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import bounds
from experiments.lab import checkpoints, formats, pools
from experiments.lab.progress import Progress
from experiments.lab.refusals import Refusal, say
from experiments.lab.report import shown_bytes
from experiments.lab.run_folder import RunFolder
from experiments.problems import Examples, Problem
from nets import kernels, training
from nets.pool import HostPool
from nets.runs import Layout, TooLarge, is_out_of_memory, train_many
from nets.sample import BLOCK, Sample

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
def _state_shapes(plan, features):
    """The shapes of a packed state."""

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
                final, _state_shapes(job.plan, job.features)["params"]
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
            self._folder.measured_path(run.name): formats.read_arrays,
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
        shapes = _state_shapes(job.plan, job.features)["params"]
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


def train(
    stages: Sequence[Stage],
    trained: Trained,
    folder: RunFolder,
    layout: Layout,
    progress: Progress,
    checkpoint_seconds: float,
) -> None:
    """Trains what is not trained yet, from the last checkpoint where there is one.

    Args:
      stages: in their order.
      trained: their results.
      folder: of the study.
      layout: a `nets.runs.Layout`.
      progress: told of every tick.
      checkpoint_seconds: how long between checkpoints of the runs under way.
    """
    for stage in stages:
        waiting = [run for run in stage.runs if trained.is_due(run)]
        if not waiting:
            continue
        jobs = {run: trained.job(run) for run in waiting}
        kinds = {r: (j.plan, j.features, j.watches) for r, j in jobs.items()}
        by_name = {run.name: run for run in waiting}

        def like(name, by_name=by_name, kinds=kinds):
            known = name in by_name
            state = _state_shapes(*kinds[by_name[name]][:2]) if known else {}
            return {"state": state, "checks": 0, "seconds": 0}

        half_way = checkpoints.restore(folder.checkpoints, like)
        half_way = {n: v for n, v in half_way.items() if n in by_name}
        progress.begin_training(stage.runs, waiting)
        # Runs of one kind share a compiled program. Begun ones first, then the longest:
        # short runs fill the lanes at the end.
        order = sorted(waiting, key=lambda r: (r.name not in half_way, -r.size))
        for kind in dict.fromkeys(kinds[run] for run in order):
            group = {run: jobs[run] for run in order if kinds[run] == kind}
            _train_where_it_fits(
                group, half_way, trained, folder, layout, progress, checkpoint_seconds
            )
        checkpoints.clear(folder.checkpoints)


def _train_where_it_fits(jobs, half_way, trained, folder, layout, progress, interval):
    """Trains runs of one plan with the first of their pools that a device holds."""
    tried = pools.choices(
        [None if job.watches else job.pool for job in jobs.values()],
        max(max(run.size, job.rows) for run, job in jobs.items()),
        [run.size for run in jobs],
        layout,
    )
    refusal, begun = None, dict(half_way)
    for pool in tried:
        if refusal is not None:
            jobs = {run: job for run, job in jobs.items() if not trained.has(run)}
            names = {run.name for run in jobs}
            half_way.update({n: its for n, its in begun.items() if n in names})
        if isinstance(pool, HostPool):
            say(
                f"{next(iter(jobs)).name}: a device's memory does not hold the training set; its "
                "examples are read from the machine's memory, a batch at a time"
            )
        try:
            return _train_group(
                jobs, pool, half_way, trained, folder, layout, progress, interval
            )
        except (TooLarge, jax.errors.JaxRuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            # The error is let go: its frames hold what lies on the device.
            refusal = _too_large(jobs, layout, error)
        if layout.memory is None and layout.lanes_per_device > 1:
            break  # so many were asked for: fewer are the remedy
    raise refusal


def _too_large(jobs, layout, error):
    """The `Refusal` of runs that a device's memory does not hold."""
    run, job = next(iter(jobs.items()))
    drawn = job.examples()
    size, leaves = len(drawn.labels), jax.tree.leaves((drawn.inputs, drawn.labels))
    rows = -(-max(size, job.rows) // BLOCK) * BLOCK
    held = sum(leaf.nbytes // size * rows for leaf in leaves)
    held = f"its training set, padded to that of the largest, {shown_bytes(held)}"
    if isinstance(error, TooLarge):
        needed = "more than that" if error.needed is None else shown_bytes(error.needed)
        return Refusal(
            f"{run.name}: a device has {shown_bytes(error.memory)} of memory, and one run alone takes "
            f"{needed}, {held}; train on fewer examples or a smaller network, or by "
            "JAX_PLATFORMS=cpu in the memory of the machine"
        )
    many = layout.lanes_per_device
    if layout.memory is None and many > 1:
        return Refusal(
            f"--lanes={many}: a device's memory does not hold so many runs ({run.name}: {held}); "
            "use fewer, or leave it out: then there are as many as fit"
        )
    return Refusal(
        f"{run.name}: a device ran out of memory, which others may use, too ({held}); use "
        "--lanes=1, train on fewer examples or a smaller network, or by JAX_PLATFORMS=cpu in the "
        "memory of the machine"
    )


def _train_group(jobs, pool, half_way, trained, folder, layout, progress, interval):
    """Trains runs of one plan; takes what it starts from out of `half_way`."""
    plan, checks, before = next(iter(jobs.values())).plan, {}, {}

    def sample_of(job):
        if pool is None:
            return job.sample()
        return pools.placed(job.examples(), job.rows)

    def start(run):
        job = jobs[run]
        if run.name not in half_way:
            checks[run.name], before[run.name] = [], 0.0
            return training.init_state(plan, job.init(), job.key()), sample_of(job)
        stored = half_way.pop(run.name)
        checks[run.name] = [stored["checks"]]
        before[run.name] = float(stored["seconds"])
        state = jax.tree.map(jnp.asarray, stored["state"])
        return training.unpack(state), sample_of(job)

    saved = time.monotonic()
    for tick in train_many(plan, jobs, start, layout, lambda run: run.size, pool):
        for run, new in tick.checks.items():
            checks[run.name].append(new)
        for run, finished in tick.finished.items():
            seconds = before.pop(run.name) + finished.seconds
            trained.store(
                run, finished.state, np.concatenate(checks.pop(run.name)), seconds
            )
        progress.trained(tick)
        if tick.running and time.monotonic() - saved > interval:
            states = tick.states()
            under_way = {
                run.name: {
                    "state": states[run],
                    "checks": np.concatenate(checks[run.name]),
                    "seconds": before[run.name] + tick.seconds[run],
                }
                for run in tick.running
            }
            # With fewer lanes than before, some still wait for theirs, half-way.
            checkpoints.save(folder.checkpoints, half_way | under_way)
            saved = time.monotonic()
