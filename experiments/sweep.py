"""Training the runs of an experiment into a run folder, resumably.

A finished run is one file, `checkpoints/trained/<run>.safetensors`: the learned weights,
the check of every epoch, and how it ended. Those under way are in one checkpoint.
"""

import dataclasses
import functools
import time

import jax
import jax.numpy as jnp
import numpy as np

from bounds.measuring.network import History
from experiments import checkpoints, run_folder
from nets import kernels, training
from nets.runs import train_many

CHECKPOINT_SECONDS = 20.0

# How a run went: arrays kept beside its weights, and then beside its measurements.
HISTORY = ("outcome", "epochs", "seconds", "checks")


def training_of(history, steps_per_epoch, rows):
    """How a training went, for the measures that ask: a `bounds` `History`.

    Args:
      history: the arrays `HISTORY` of a run.
      steps_per_epoch: SGD steps of an epoch.
      rows: epochs to pad to, so that runs can be stacked.
    """
    losses = np.asarray(history["checks"])[:, 2].astype(np.float32)
    padded = np.pad(losses, (0, rows - len(losses)))
    return History(padded, np.int32(len(losses)), np.int32(steps_per_epoch))


class Sweep:
    """The runs of an experiment: how they are trained, and their place on disk.

    A subclass says what the runs are, by the first six methods.

    Attributes:
      folder: the `RunFolder`.
      runs: the runs, hashable, each with a `name` and a `size` m, in the order of tables.
    """

    def __init__(self, folder, runs):
        self.folder, self.runs = folder, runs

    def plan(self, run):
        """The training `Plan` of a run."""
        raise NotImplementedError

    def features(self, run):
        """What `training.init_params` must know of an input of a run; hashable."""
        raise NotImplementedError

    def initial(self, run):
        """The parameters that a run starts from."""
        raise NotImplementedError

    def order_key(self, run):
        """The key that decides the order of a run's examples."""
        raise NotImplementedError

    def sample(self, run):
        """The training `Sample` of a run; of one shape for all runs of one plan and features."""
        raise NotImplementedError

    def draw(self, run):
        """The training set of a run: an `experiments.data.Draw`."""
        raise NotImplementedError

    @functools.cache  # noqa: B019  (a sweep lives as long as its program)
    def _template_of(self, plan, features):
        def fresh(key):
            params = training.init_params(plan, key, features)
            return training.pack(training.init_state(plan, params, key))

        return jax.eval_shape(fresh, jax.random.key(0))

    def _template(self, run):
        return self._template_of(self.plan(run), self.features(run))

    def _new_state(self, run):
        key = self.order_key(run)
        return training.init_state(self.plan(run), self.initial(run), key)

    def trained_path(self, run):
        return self.folder.trained / f"{run.name}.safetensors"

    def measured_path(self, run):
        return self.folder.measured / f"{run.name}.npz"

    @property
    def is_measured(self):
        """Whether every run is: tables and report need no more."""
        return all(self.measured_path(run).exists() for run in self.runs)

    def weights_path(self, run):
        return self.folder.weights / f"{run.name}.safetensors"

    @property
    def has_weights(self):
        """Whether the learned weights of every run are still on disk."""
        paths = (self.trained_path, self.weights_path)
        return all(any(path(run).exists() for path in paths) for run in self.runs)

    def load_params(self, run):
        """The learned parameters of a finished run."""
        path = self.trained_path(run)
        arrays = run_folder.read_tensors(
            path if path.exists() else self.weights_path(run)
        )
        final = {
            n.removeprefix("final/"): a for n, a in arrays.items() if "final/" in n
        }
        return kernels.from_arrays(final, self._template(run)["params"])

    def history(self, run):
        """The arrays `HISTORY` of a finished run: kept with its fresh weights, later with
        what was measured of it."""
        if self.trained_path(run).exists():
            arrays = run_folder.read_tensors(self.trained_path(run))
        else:
            arrays = run_folder.read_arrays(self.measured_path(run))
        return {name: arrays[name] for name in HISTORY}

    def _store(self, run, state, checks, seconds):
        history = state["outcome"], state["epoch"], seconds, checks
        final = kernels.to_arrays(state["params"])
        run_folder.write_tensors(
            self.trained_path(run),
            {f"final/{name}": np.asarray(array) for name, array in final.items()}
            | {n: np.asarray(a) for n, a in zip(HISTORY, history, strict=True)},
        )

    def keep_samples(self):
        """Writes what reproduces every draw exactly: indices into the pool, or keys."""
        for run in self.runs:
            path = self.folder.samples / f"{run.name}.npz"
            if not path.exists():
                draw = self.draw(run)
                run_folder.write_arrays(path, {**draw.record, "labels": draw.labels})

    def train(self, layout, progress, checkpoint_seconds=CHECKPOINT_SECONDS):
        """Trains what is not trained yet, from the last checkpoint where there is one.

        Args:
          layout: a `nets.runs.Layout`.
          progress: told of every tick (`experiments.progress.Progress`).
          checkpoint_seconds: how long between checkpoints of the runs under way.
        """
        done = (self.trained_path, self.measured_path)
        waiting = [r for r in self.runs if not any(path(r).exists() for path in done)]
        if not waiting:
            return
        by_name = {run.name: run for run in waiting}

        def like(name):
            state = self._template(by_name[name]) if name in by_name else {}
            return {"state": state, "checks": 0, "seconds": 0}

        half_way = checkpoints.restore(self.folder.checkpoints, like)
        half_way = {n: v for n, v in half_way.items() if n in by_name}
        progress.begin_training(self.runs, waiting)
        # Runs of one kind share a compiled program. Begun ones first, then the longest:
        # short runs fill the lanes at the end.
        order = sorted(waiting, key=lambda run: (run.name not in half_way, -run.size))
        kinds = {run: (self.plan(run), self.features(run)) for run in order}
        for kind in dict.fromkeys(kinds.values()):
            group = [run for run in order if kinds[run] == kind]
            self._train_group(
                kind[0], group, half_way, layout, progress, checkpoint_seconds
            )
        checkpoints.clear(self.folder.checkpoints)

    def _train_group(self, plan, group, half_way, layout, progress, interval):
        """Trains runs of one plan; takes what it starts from out of `half_way`."""
        checks, before = {}, {}

        def start(run):
            if run.name not in half_way:
                checks[run.name], before[run.name] = [], 0.0
                return self._new_state(run), self.sample(run)
            stored = half_way.pop(run.name)
            checks[run.name] = [stored["checks"]]
            before[run.name] = float(stored["seconds"])
            state = jax.tree.map(jnp.asarray, stored["state"])
            return training.unpack(state), self.sample(run)

        saved = time.monotonic()
        for tick in train_many(plan, group, start, layout):
            for run, new in tick.checks.items():
                checks[run.name].append(new)
            for run, finished in tick.finished.items():
                seconds = before[run.name] + finished.seconds
                self._store(
                    run, finished.state, np.concatenate(checks[run.name]), seconds
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
                checkpoints.save(self.folder.checkpoints, half_way | under_way)
                saved = time.monotonic()

    def after_first_epoch(self, runs, layout):
        """run -> its parameters after one epoch, trained again: no run keeps them."""
        found, kinds = {}, {}
        for run in runs:
            kinds.setdefault((self.plan(run), self.features(run)), []).append(run)
        for (plan, _), group in kinds.items():
            plan = dataclasses.replace(plan, max_epochs=1)
            for tick in train_many(
                plan, group, lambda r: (self._new_state(r), self.sample(r)), layout
            ):
                ended = {
                    run: done.state["params"] for run, done in tick.finished.items()
                }
                found |= ended
        return found

    def save_weights(self):
        """Writes `weights/<run>.safetensors`: `init/0/kernel`, ..., `final/0/kernel`, ..."""
        for run in self.runs:
            init = kernels.to_arrays(self.initial(run))
            final = kernels.to_arrays(self.load_params(run))
            run_folder.write_tensors(
                self.weights_path(run),
                {f"init/{n}": np.asarray(a) for n, a in init.items()}
                | {f"final/{n}": np.asarray(a) for n, a in final.items()},
            )

    def forget_checkpoints(self):
        """Removes what only `--resume` needed: the runs are all measured."""
        checkpoints.clear(self.folder.trained.parent)
