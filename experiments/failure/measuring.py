"""Measuring the runs of a `FailureSweep`: one small file a run, `measured/<run>.npz`.

It holds, of the training set, of S' and of fresh examples, the margin and the input norm of
every example; the exact risk where there is one; what theory speaks of; slices of the
network; and how the run went.
"""

import jax
import jax.numpy as jnp
import numpy as np

from experiments import run_folder
from experiments.failure import slices
from nets.margins import margin
from nets.runs import map_lanes, stack
from nets.training import CHECK_BLOCK, Outcome, logits_of, pad_sample, rows_of

SETS = ("train", "sprime", "fresh")


def examine(example, params, sample):
    """Margins and input norms of a `Sample`: two arrays `[M]`, the padding's meaningless.

    A margin that is not a number becomes -inf: the example counts as an error.
    """
    expand, model = example.expand, example.model
    if expand:  # inputs are made one at a time, once for both
        model = model.clone(expand=None)

    def of_inputs(inputs, labels):
        found = jax.vmap(margin)(logits_of(model, params, inputs), labels)
        squares = [jax.vmap(jnp.dot)(part, part) for part in jax.tree.leaves(inputs)]
        return found, jnp.sqrt(sum(squares))

    def of_one(kept, label):
        one = jax.tree.map(lambda a: a[None], (expand(kept), label))
        return jax.tree.map(lambda a: a[0], of_inputs(*one))

    def visit(block, found):
        start = block * CHECK_BLOCK
        inputs, labels = rows_of(sample, start, CHECK_BLOCK)
        if expand:
            new = jax.lax.map(lambda one: of_one(*one), (inputs, labels))
        else:
            new = of_inputs(inputs, labels)
        return jax.tree.map(
            lambda all_of, some: jax.lax.dynamic_update_slice_in_dim(
                all_of, some.astype(all_of.dtype), start, 0
            ),
            found,
            new,
        )

    empty = jnp.zeros(sample.labels.shape, float)
    with jax.default_matmul_precision("highest"):
        blocks = -(-sample.size // CHECK_BLOCK)
        margins, norms = jax.lax.fori_loop(0, blocks, visit, (empty, empty))
    return jnp.where(jnp.isnan(margins), -jnp.inf, margins), norms


def _closed_form_history(config, margins):
    """How a run 'went' whose learner is a formula: one step, from 0."""
    reached = np.mean(margins < config.margin) <= config.threshold
    outcome = Outcome.CONVERGED if reached else Outcome.EXHAUSTED
    return {
        "outcome": np.asarray(outcome), "epochs": np.asarray(1),
        "seconds": np.asarray(0.0), "checks": np.zeros((0, 3), np.float32),
    }  # fmt: skip


def measure(sweep, layout, progress, again=False):
    """Measures the runs that are not measured yet.

    Args:
      sweep: a `FailureSweep`, trained.
      layout: a `nets.runs.Layout`.
      progress: an `experiments.progress.Progress`.
      again: measure all of them; needs the weights.
    """
    waiting = [r for r in sweep.runs if again or not sweep.measured_path(r).exists()]
    if not waiting:
        return
    progress.begin_measuring(len(sweep.runs), len(waiting))
    programs = {}
    for variant, size in dict.fromkeys(map(sweep.fresh_of, waiting)):
        example, fresh = sweep.examples[variant], sweep.fresh(variant, size)
        if variant not in programs:
            programs[variant] = _program(example, layout)
        program, fresh = programs[variant], pad_sample(fresh.inputs, fresh.labels, 0)
        runs = [run for run in waiting if sweep.fresh_of(run) == (variant, size)]
        for first in range(0, len(runs), layout.lanes):
            batch = runs[first : first + layout.lanes]
            _measure_batch(sweep, batch, program, fresh, layout)
            progress.measured(len(batch))


def _program(example, layout):
    """The compiled program that examines all lanes: `(fresh, params, S, S')`."""

    def examine_one(fresh, params, train, sprime):
        found = {}
        for name, sample in zip(SETS, (train, sprime, fresh), strict=True):
            found[name] = examine(example, params, sample)
        return found

    with jax.enable_x64(example.float64):
        return map_lanes(layout, examine_one, shared=1)


def _measure_batch(sweep, batch, program, fresh, layout):
    example = sweep.example(batch[0])
    draws = [sweep.draw(run) for run in batch]
    primes = [sweep.sprime(run, d) for run, d in zip(batch, draws, strict=True)]
    samples, twins = ([sweep.padded(draw) for draw in some] for some in (draws, primes))
    params = samples
    if example.is_trained:
        params = [sweep.load_params(run) for run in batch]
    lanes = [stack(some, layout.lanes) for some in (params, samples, twins)]
    with jax.enable_x64(example.float64):
        if example.float64:
            fresh, lanes = _widened((fresh, lanes))
        found = jax.device_get(program(fresh, *lanes))
    for lane, run in enumerate(batch):
        sizes = {"train": run.size, "sprime": run.size, "fresh": int(fresh.size)}
        arrays = {
            f"{name}/{what}": np.asarray(values[lane][: sizes[name]])
            for name in SETS
            for what, values in zip(("margins", "norms"), found[name], strict=True)
        }
        margins = {name: arrays[f"{name}/margins"] for name in SETS}
        extra = {
            f"observed/{name}": np.asarray(value)
            for name, value in example.observed(params[lane], margins, run.size).items()
        }
        risk = example.risk(params[lane], run.size)
        if example.fresh_is_everything:
            risk = float(np.mean(margins["fresh"] <= 0))
        if risk is not None:
            extra["risk"] = np.asarray(risk)
        if run.seed == 0 and sweep.configs[run.variant].radii:
            extra |= _slices(sweep, run, params[lane], draws[lane])
        history = (
            sweep.history(run)
            if example.is_trained
            else _closed_form_history(sweep.configs[run.variant], margins["train"])
        )
        path = sweep.measured_path(run)
        run_folder.write_arrays(path, arrays | extra | history)


def _widened(trees):
    """Floating leaves in float64."""
    return jax.tree.map(
        lambda a: a.astype(np.float64) if np.issubdtype(a.dtype, np.floating) else a,
        jax.tree.map(np.asarray, trees),
    )


def _slices(sweep, run, params, draw):
    """Slices through pairs of training and of fresh points, for the figures."""
    example, fresh = sweep.example(run), sweep.fresh(*sweep.fresh_of(run))
    outer = max(sweep.configs[run.variant].radii)
    return {
        f"slices/{name}/{what}": array
        for name, points in (("train", draw), ("fresh", fresh))
        for what, array in slices.through(
            example.model, params, points.inputs, points.labels, outer
        ).items()
    }


def read(sweep, run):
    """What was measured of a run: a flat dict of arrays."""
    return run_folder.read_arrays(sweep.measured_path(run))
