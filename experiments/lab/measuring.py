"""Measuring the subjects of a study: one small file each, `measured/<subject>.npz`.

It holds all that is known of a subject but its weights. Tables, bounds and figures are made
from these files, so they can be made again without training.
"""

import dataclasses
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

import bounds
from experiments.lab import run_folder
from experiments.lab.progress import Progress
from experiments.lab.run_folder import RunFolder
from experiments.lab.training import Trained
from experiments.problems import Examples
from nets.runs import Layout, map_lanes, stack
from nets.sample import Sample, pad_sample

Arrays = dict[str, np.ndarray]
MISSING = "missing/"  # group -> why it could not be measured, among the arrays


def _as_they_are(arguments: Any, arrays: Arrays, trained: Trained) -> Arrays:
    return arrays


@dataclasses.dataclass(frozen=True)
class Subject:
    """What is measured once: a network, or a closed form.

    Attributes:
      name: of its file, and in every table.
      kind: subjects of one kind share a compiled program, and `shared`.
      measure: pure, `(shared, arguments)` -> (a tree of arrays by name, name -> why it cannot
        be had); the same function for a kind.
      shared: arrays that are common to a kind.
      arguments: what is measured, as trees of arrays; made when it is a lane's turn.
      finish: on the host, `(arguments, arrays, trained)` -> arrays.
      wide: whether it is measured in float64.
    """

    name: str
    kind: Hashable
    measure: Callable[[Any, Any], tuple[dict[str, Any], Mapping[str, str]]]
    shared: Callable[[], Any]
    arguments: Callable[[Trained], Any]
    finish: Callable[[Any, Arrays, Trained], Arrays] = _as_they_are
    wide: bool = True


def measure(
    subjects: Sequence[Subject],
    trained: Trained,
    folder: RunFolder,
    layout: Layout,
    progress: Progress,
    again: bool = False,
) -> None:
    """Measures the subjects that are not measured yet, as many at once as there are lanes.

    Args:
      subjects: of a study.
      trained: what they learned.
      folder: of the study.
      layout: a `nets.runs.Layout`.
      progress: told how it goes.
      again: measure all of them.
    """
    waiting = [
        s for s in subjects if again or not folder.measured_path(s.name).exists()
    ]
    if not waiting:
        return
    progress.begin_measuring(len(subjects), len(waiting))
    kinds: dict[Hashable, list[Subject]] = {}
    for subject in waiting:
        kinds.setdefault(subject.kind, []).append(subject)
    for same in kinds.values():
        _measure_kind(same, trained, folder, layout, progress)


def _measure_kind(subjects, trained, folder, layout, progress):
    one, reasons = subjects[0], {}

    def traced(shared, arguments):
        found, unavailable = one.measure(shared, arguments)
        reasons.update(unavailable)
        return found

    # Random draws and samples are made in float32.
    shared = one.shared()
    with jax.enable_x64(one.wide):
        shared = jax.device_put(shared, layout.replicated)  # once for all batches
        program = map_lanes(layout, traced, shared=1)
    for first in range(0, len(subjects), layout.lanes):
        batch = subjects[first : first + layout.lanes]
        arguments = [subject.arguments(trained) for subject in batch]
        lanes = stack(arguments, layout.lanes)
        with jax.enable_x64(one.wide):
            found = jax.device_get(program(shared, lanes))
        for lane, subject in enumerate(batch):
            arrays = flatten(jax.tree.map(lambda leaf, lane=lane: leaf[lane], found))
            arrays |= {f"{MISSING}{g}": np.array(why) for g, why in reasons.items()}
            arrays = subject.finish(arguments[lane], arrays, trained)
            run_folder.write_arrays(folder.measured_path(subject.name), arrays)
        progress.measured(len(batch))


def read(folder: RunFolder, subjects: Sequence[Subject]) -> list[Arrays]:
    """What was measured of each subject."""
    return [run_folder.read_arrays(folder.measured_path(s.name)) for s in subjects]


def missing_of(arrays: Arrays) -> dict[str, str]:
    """Group -> why it could not be measured."""
    return {
        name.removeprefix(MISSING): str(why)
        for name, why in arrays.items()
        if name.startswith(MISSING)
    }


def flatten(groups: Mapping[str, Any]) -> Arrays:
    """name -> group, or array, as arrays `<group>/<field>`; margins without their padding."""
    arrays = {}
    for name, group in groups.items():
        fields = getattr(group, "__dataclass_fields__", None)
        if fields is None:
            arrays[name] = np.asarray(group)
            continue
        for field in fields:
            arrays[f"{name}/{field}"] = np.asarray(getattr(group, field))
    return {
        name: value[: int(arrays[name.replace("sorted", "size")])]
        if name.endswith("/sorted")
        else value
        for name, value in arrays.items()
    }


def test_samples(examples: Examples | None) -> dict[str, Sample]:
    """name -> padded `Sample`: the test set and, with label noise, the noisy one."""
    if examples is None:
        return {}
    labels = {"test": examples.labels}
    if examples.noisy_labels is not None:
        labels["test_noisy"] = examples.noisy_labels
    return {n: pad_sample(examples.inputs, y, 0) for n, y in labels.items()}


@dataclasses.dataclass(frozen=True)
class MeasureNetwork:
    """The `measure` of a `Subject` that is a `bounds.Network`: groups, and held-out margins.

    The examples that certificates may be held against, and that no choice has seen, are those
    whose labels are as the training set's: with label noise, the noisy ones.

    Attributes:
      groups: names of groups.
    """

    groups: tuple[str, ...]

    @classmethod
    def for_bounds(cls, names: Sequence[str], also: Sequence[str]) -> "MeasureNetwork":
        """What bounds ask for, and more groups that tables are made from."""
        return cls(tuple(dict.fromkeys([*also, *bounds.needs(names)])))

    def __call__(
        self, tests: Mapping[str, Sample], network: bounds.Network
    ) -> tuple[dict[str, Any], Mapping[str, str]]:
        """The groups, and margins on each of the `test_samples`."""
        network = network.replace(holdout=tests.get("test_noisy", tests.get("test")))
        found, missing = bounds.measure(network, self.groups)
        for name, sample in tests.items():
            found[name] = bounds.margins_of(network.model, network.params, sample)
        return found, missing
