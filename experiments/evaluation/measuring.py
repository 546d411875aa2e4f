"""Measuring the networks of an evaluation: one file each, `measured/<name>.npz`."""

import itertools

import jax
import numpy as np

import bounds
from bounds.measuring.examples import margins_of
from experiments import run_folder
from experiments.bound_values import flatten_groups
from nets.runs import map_lanes, stack

TABLE_GROUPS = ("task", "margins", "layers", "from_init")


def path_of(folder, subject):
    return folder.measured / f"{subject.name.replace('/', '_')}.npz"


def measure(config, subjects, folder, layout, progress, again=False):
    """Measures the networks that are not measured yet, as many at once as there are lanes.

    Args:
      config: an `Evaluation`, its bounds resolved.
      subjects: a list of `experiments.evaluation.subjects.Subject`.
      folder: the `RunFolder`.
      layout: a `nets.runs.Layout`.
      progress: told how it goes.
      again: measure all of them.
    """
    waiting = [s for s in subjects if again or not path_of(folder, s).exists()]
    if not waiting:
        return
    progress.begin_measuring(len(subjects), len(waiting))
    groups = tuple(dict.fromkeys([*TABLE_GROUPS, *bounds.needs(config.bounds)]))
    # Networks of one kind share a program, whatever the order of their names.
    kinds = [s.kind for s in waiting]
    waiting.sort(key=lambda s: kinds.index(s.kind))
    for _, same in itertools.groupby(waiting, key=lambda s: s.kind):
        _measure_kind(list(same), groups, folder, layout, progress)


def _measure_kind(subjects, groups, folder, layout, progress):
    missing = {}

    def measure_one(network):
        found, reasons = bounds.measure(network, groups)
        missing.update(reasons)
        if network.holdout is not None:
            held_out = margins_of(network.model, network.params, network.holdout)
            found["test"] = held_out
        return found

    with jax.enable_x64(True):
        program = map_lanes(layout, measure_one)
        for first in range(0, len(subjects), layout.lanes):
            batch = subjects[first : first + layout.lanes]
            with jax.enable_x64(False):  # random draws are made in float32
                networks = [s.network() for s in batch]
            found = program(stack(networks, layout.lanes))
            found = jax.device_get(found)
            for lane, subject in enumerate(batch):
                mine = jax.tree.map(lambda leaf, lane=lane: leaf[lane], found)
                reasons = {f"missing/{g}": np.array(why) for g, why in missing.items()}
                arrays = flatten_groups(mine) | reasons
                run_folder.write_arrays(path_of(folder, subject), arrays)
            progress.measured(len(batch))


def missing_of(measured):
    """Group -> why it could not be measured."""
    return {
        name.removeprefix("missing/"): str(why)
        for name, why in measured.items()
        if name.startswith("missing/")
    }
