"""Measuring the finished runs of a sweep: one small file a run, `measured/<run>.npz`.

It holds all that is known of a run but its weights: the groups that bounds need, the
margins on the training and the test set, and the check of every epoch. Tables, bounds and
figures are made from these files, so they can be made again without training.
"""

import jax

import bounds
from bounds.measuring.examples import margins_of
from experiments import run_folder
from experiments.bound_values import flatten_groups
from experiments.sweep import training_of
from nets import training
from nets.runs import map_lanes, stack

# What the tables print, whatever the bounds ask for.
TABLE_GROUPS = ("task", "margins", "layers", "init", "from_init")


def _test_samples(source):
    """name -> padded `Sample`: the clean test set and, with label noise, the noisy one."""
    test = source.test
    labels = {"test": test.labels}
    if test.noisy_labels is not None:
        labels["test_noisy"] = test.noisy_labels
    return {n: training.pad_sample(test.inputs, y, 0) for n, y in labels.items()}


def measure(sweep, layout, progress, again=False):
    """Measures the trained runs of a sweep that are not measured yet.

    Args:
      sweep: an `experiments.size.sweep.SizeSweep`, trained.
      layout: a `nets.runs.Layout`.
      progress: told how it goes (`experiments.progress.Progress`).
      again: measure all of them.
    """
    config = sweep.config
    waiting = [r for r in sweep.runs if again or not sweep.measured_path(r).exists()]
    if not waiting:
        return
    progress.begin_measuring(len(sweep.runs), len(waiting))
    groups = list(dict.fromkeys([*TABLE_GROUPS, *bounds.needs(config.bounds)]))
    if config.draws > 1 and "from_other" not in groups:
        groups.append("from_other")
    tests = _test_samples(sweep.source)
    histories = {run: sweep.history(run) for run in waiting}
    epochs = max(len(history["checks"]) for history in histories.values())

    first_epochs = None
    if "gradients_first_epoch" in groups:
        first_epochs = sweep.after_first_epoch(waiting, layout)

    def measure_one(tests, params, init, other, sample, training_went, first_epoch):
        network = bounds.Network(
            sweep.one_plan.model,
            params,
            sample,
            init,
            other,
            tests.get("test_noisy", tests["test"]),
            training_went,
            first_epoch,
        )
        found, _ = bounds.measure(network, groups)
        return found | {
            name: margins_of(sweep.one_plan.model, params, test)
            for name, test in tests.items()
        }

    with jax.enable_x64(True):
        program = map_lanes(layout, measure_one, shared=1)
        for first in range(0, len(waiting), layout.lanes):
            batch = waiting[first : first + layout.lanes]
            params = [sweep.load_params(run) for run in batch]
            other = None
            if config.draws > 1:
                other = [sweep.load_params(sweep.partner(run)) for run in batch]
                other = stack(other, layout.lanes)
            with jax.enable_x64(False):  # random draws are made in float32
                init = [sweep.initial(run) for run in batch]
                samples = [sweep.sample(run) for run in batch]
            went = [
                training_of(histories[run], run.size // config.batch_size, epochs)
                for run in batch
            ]
            found = program(
                tests,
                stack(params, layout.lanes),
                stack(init, layout.lanes),
                other,
                stack(samples, layout.lanes),
                stack(went, layout.lanes),
                first_epochs and stack([first_epochs[r] for r in batch], layout.lanes),
            )
            found = jax.device_get(found)
            for lane, run in enumerate(batch):
                mine = jax.tree.map(lambda leaf, lane=lane: leaf[lane], found)
                path = sweep.measured_path(run)
                run_folder.write_arrays(path, flatten_groups(mine) | histories[run])
            progress.measured(len(batch))


def read(sweep, run):
    """What was measured of a run: a flat dict of arrays."""
    return run_folder.read_arrays(sweep.measured_path(run))
