"""Training every (size, seed, draw) of an experiment into a run folder, resumably.

A finished run is one file, `checkpoints/trained/<run>.safetensors`: the learned weights,
the check of every epoch, and how it ended. Those under way are in one checkpoint.
"""

import dataclasses
import time

import jax
import jax.numpy as jnp
import numpy as np

from experiments import checkpoints, run_folder
from experiments.refusals import Refusal
from experiments.seeding import Purpose, key_for
from nets import kernels, training
from nets.mlp import MLP
from nets.runs import train_many

CHECKPOINT_SECONDS = 20.0


@dataclasses.dataclass(frozen=True)
class Run:
    """One training: a size, a seed (which decides the initial weights) and a draw."""

    size: int
    seed: int
    draw: int

    @property
    def name(self):
        return f"m{self.size}_seed{self.seed}_draw{self.draw}"


# How a run went: arrays kept beside its weights, and then beside its measurements.
HISTORY = ("outcome", "epochs", "seconds", "checks")


def runs_of(config):
    """Every run of an experiment, in the order of its tables."""
    return [
        Run(size, seed, draw)
        for size in sorted(config.sizes)
        for seed in range(config.seeds)
        for draw in range(config.draws)
    ]


def plan_of(config, source):
    """The training `Plan` of an experiment."""
    if config.batch_size > min(config.sizes):
        raise Refusal(
            f"--batch_size={config.batch_size}: larger than the smallest of --sizes, "
            f"{min(config.sizes)}; no batch would be complete"
        )
    return training.Plan(
        model=MLP(config.width, config.depth, source.classes, config.biases),
        loss=config.loss,
        learning_rate=config.learning_rate,
        batch_size=config.batch_size,
        shuffle=config.shuffle,
        margin=config.margin,
        threshold=config.threshold,
        loss_target=config.loss_target if config.loss == "squared" else None,
        max_epochs=config.max_epochs,
    )


class Sweep:
    """The runs of an experiment: their plan, their data, their place on disk."""

    def __init__(self, config, source, folder):
        self.config, self.source, self.folder = config, source, folder
        self.plan = plan_of(config, source)
        self.runs = runs_of(config)
        self._init = jax.jit(
            lambda key: training.init_params(self.plan, key, source.features)
        )
        # Every run of an experiment has room for the largest set: one program serves all.
        self.rows = max(config.sizes)

    def init_params(self, seed):
        """The initial weights of a seed, the same for all its sizes and draws."""
        return self._init(key_for(self.config.seed, Purpose.INIT, seed))

    def sample(self, run):
        """The training `Sample` of a run, padded to the rows of the largest."""
        draw = self.source.draw(run.seed, run.size, run.draw)
        return training.pad_sample(draw.inputs, draw.labels, self.rows)

    def _template(self):
        def fresh(key):
            params = training.init_params(self.plan, key, self.source.features)
            return training.pack(training.init_state(self.plan, params, key))

        return jax.eval_shape(fresh, jax.random.key(0))

    def _new_state(self, run):
        order = key_for(self.config.seed, Purpose.ORDER, run.seed, run.size, run.draw)
        return training.init_state(self.plan, self.init_params(run.seed), order)

    def trained_path(self, run):
        return self.folder.trained / f"{run.name}.safetensors"

    def partner(self, run):
        """The run of the next draw: the same size and initial weights, other data."""
        return dataclasses.replace(run, draw=(run.draw + 1) % self.config.draws)

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
        return kernels.from_arrays(final, self._template()["params"])

    def load_history(self, run):
        """How a run that has just been trained went: the arrays `HISTORY`."""
        arrays = run_folder.read_tensors(self.trained_path(run))
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
                draw = self.source.draw(run.seed, run.size, run.draw)
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
        template = self._template()
        like = {"state": template, "checks": 0, "seconds": 0}
        half_way = checkpoints.restore(self.folder.checkpoints, lambda name: like)
        half_way = {
            n: v for n, v in half_way.items() if n in {run.name for run in waiting}
        }
        checks = {name: [stored["checks"]] for name, stored in half_way.items()}
        before = {name: float(stored["seconds"]) for name, stored in half_way.items()}
        progress.begin_training(self.runs, waiting)

        def start(run):
            if run.name in half_way:
                stored = half_way.pop(run.name)["state"]
                state = training.unpack(jax.tree.map(jnp.asarray, stored))
            else:
                state = self._new_state(run)
            return state, self.sample(run)

        # Begun ones first, then the longest: short runs fill the lanes at the end.
        order = sorted(waiting, key=lambda run: (run.name not in half_way, -run.size))
        saved = time.monotonic()
        for tick in train_many(self.plan, order, start, layout):
            for run, new in tick.checks.items():
                checks.setdefault(run.name, []).append(new)
            for run, finished in tick.finished.items():
                seconds = before.get(run.name, 0.0) + finished.seconds
                self._store(
                    run, finished.state, np.concatenate(checks[run.name]), seconds
                )
            progress.trained(tick)
            if tick.running and time.monotonic() - saved > checkpoint_seconds:
                states = tick.states()
                under_way = {
                    run.name: {
                        "state": states[run],
                        "checks": np.concatenate(checks[run.name]),
                        "seconds": before.get(run.name, 0.0) + tick.seconds[run],
                    }
                    for run in tick.running
                }
                # With fewer lanes than before, some still wait for theirs, half-way.
                checkpoints.save(self.folder.checkpoints, half_way | under_way)
                saved = time.monotonic()
        checkpoints.clear(self.folder.checkpoints)

    def save_weights(self):
        """Writes `weights/<run>.safetensors`: `init/0/kernel`, ..., `final/0/kernel`, ..."""
        for run in self.runs:
            init = kernels.to_arrays(self.init_params(run.seed))
            final = kernels.to_arrays(self.load_params(run))
            run_folder.write_tensors(
                self.weights_path(run),
                {f"init/{n}": np.asarray(a) for n, a in init.items()}
                | {f"final/{n}": np.asarray(a) for n, a in final.items()},
            )

    def forget_checkpoints(self):
        """Removes what only `--resume` needed: the runs are all measured."""
        checkpoints.clear(self.folder.trained.parent)
