"""Measuring what was trained: one file a seed, `measured/<run>.npz`."""

import jax
import numpy as np

import bounds
from bounds.measuring.examples import margins_of
from experiments import run_folder
from experiments.bound_values import flatten_groups
from nets import stochastic, subspace, training
from nets.runs import map_lanes, stack

TABLE_GROUPS = ("architecture", "task", "margins")
# What speaks of the trained weights as they are; all else of their plain network.
OWN_GROUPS = ("gibbs_posterior", "code_subspace")


def _networks(config, sweep, params, prior, sample, test):
    """(the network as it was trained, its plain network) of a run."""
    own = bounds.Network(sweep.one_plan.model, params, sample, holdout=test)
    of_plain = {
        "posterior": stochastic.mean_network,
        "subspace": subspace.materialized,
    }[config.method]
    plain = bounds.Network(sweep.model, of_plain(params), sample, prior, holdout=test)
    return own, plain


def measure(sweep, layout, progress, again=False):
    """Measures the runs of a sweep that are not measured yet.

    Args:
      sweep: a trained `experiments.certificate.sweep.CertifiedSweep`.
      layout: a `nets.runs.Layout`.
      progress: told how it goes.
      again: measure all of them.
    """
    config = sweep.config
    waiting = [r for r in sweep.runs if again or not sweep.measured_path(r).exists()]
    if not waiting:
        return
    progress.begin_measuring(len(sweep.runs), len(waiting))
    wanted = list(dict.fromkeys([*TABLE_GROUPS, *bounds.needs(config.bounds)]))
    test = sweep.source.test
    # Labels as those that were trained on: the distribution that is certified.
    noisy = test.labels if test.noisy_labels is None else test.noisy_labels
    test = training.pad_sample(test.inputs, noisy, 0)
    missing = {}

    def measure_one(test, params, prior, sample):
        own, plain = _networks(config, sweep, params, prior, sample, test)
        found = {}
        for network, groups in (
            (own, [g for g in wanted if g in OWN_GROUPS]),
            (plain, [g for g in wanted if g not in OWN_GROUPS]),
        ):
            some, reasons = bounds.measure(network, groups)
            found |= some
            missing.update(reasons)
        return found | {"test": margins_of(plain.model, plain.params, test)}

    with jax.enable_x64(True):
        program = map_lanes(layout, measure_one, shared=1)
        for first in range(0, len(waiting), layout.lanes):
            batch = waiting[first : first + layout.lanes]
            with jax.enable_x64(False):  # random draws are made in float32
                parts = [
                    [sweep.load_params(run) for run in batch],
                    [sweep.prior(run) for run in batch],
                    [sweep.sample(run) for run in batch],
                ]
            lanes = [stack(part, layout.lanes) for part in parts]
            found = jax.device_get(program(test, *lanes))
            for lane, run in enumerate(batch):
                mine = jax.tree.map(lambda leaf, lane=lane: leaf[lane], found)
                path = sweep.measured_path(run)
                history = _history(sweep, run)
                reasons = {f"missing/{g}": np.array(why) for g, why in missing.items()}
                run_folder.write_arrays(path, flatten_groups(mine) | history | reasons)
            progress.measured(len(batch))


def _history(sweep, run):
    """How a run went; its seconds, before they are stored, with those of its first stage."""
    history = sweep.history(run)
    if sweep.trained_path(run).exists() and sweep.before.runs:
        first = sweep.before.history(sweep.before.runs[run.seed])
        history["seconds"] = history["seconds"] + first["seconds"]
    return history


def read(sweep, run):
    """What was measured of a run: a flat dict of arrays."""
    return run_folder.read_arrays(sweep.measured_path(run))
