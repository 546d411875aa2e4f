"""What a folder lacks of what a study asks for, and which runs have to be trained for it."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Collection
from pathlib import Path

from experiments.lab.later import later
from experiments.lab.program import Study
from experiments.lab.run_folder import RunFolder

jobs = later("experiments.lab.jobs")
measuring = later("experiments.lab.measuring")


@dataclasses.dataclass(frozen=True)
class ToDo:
    """What a folder lacks.

    Attributes:
      again: whether all is measured again.
      subjects: those that are to be measured.
      runs: those whose weights are to be kept, and are not there.
      study: the study.
    """

    again: bool
    subjects: tuple[measuring.Subject, ...]
    runs: tuple[jobs.Run, ...]
    study: Study

    def __bool__(self) -> bool:
        return bool(self.subjects or self.runs)

    @functools.cached_property
    def _groups(self):
        lacking = {subject.run for subject in self.subjects} | set(self.runs)
        return {None if run is None else self.study.group_of(run) for run in lacking}

    def needs(self, run: jobs.Run) -> bool:
        """Whether a run is trained, if its weights are gone: what is lacking may rest on it.

        That is what is said of the runs of its group, and what is said of none.
        """
        return None in self._groups or self.study.group_of(run) in self._groups


def to_do(
    study: Study, folder: RunFolder, redraw: bool, damaged: Collection[Path] = ()
) -> ToDo:
    """What a folder lacks; files that are `damaged` it has not."""
    trained = jobs.Trained(folder, study.stages)
    if redraw and has_weights(study, folder):
        return ToDo(True, study.subjects, (), study)

    def is_there(subject):
        path = folder.measured_path(subject.name)
        if path in damaged:
            return False
        # What is only drawn again was looked at before: weights that are gone are not learned anew.
        return path.exists() if redraw else subject.is_measured(folder)

    subjects = tuple(s for s in study.subjects if not is_there(s))
    # Who removes all weights wants the room, not hours of training.
    runs = kept_runs(study) if folder.weights.is_dir() else []
    lost = tuple(r for r in runs if not (trained.keeps(r) or trained.has(r)))
    return ToDo(False, subjects, lost, study)


def gone(study: Study, folder: RunFolder) -> list[str]:
    """The files that a finished folder has lost, by their names in it."""
    lost = [
        name
        for name in folder.lost()
        if folder.weights.is_dir() or not name.startswith("weights/")
    ]
    return lost or ([] if is_measured(study, folder) else ["some of measured/"])


def is_measured(study: Study, folder: RunFolder) -> bool:
    """Whether all that a study says something of has been measured."""
    return all(folder.measured_path(s.name).exists() for s in study.subjects)


def has_weights(study: Study, folder: RunFolder) -> bool:
    """Whether all can be measured again without training."""
    trained = jobs.Trained(folder, study.stages)
    return all(trained.has(r) for s in study.stages if s.is_kept for r in s.runs)


def kept_runs(study: Study) -> list[jobs.Run]:
    """The runs whose weights are kept."""
    if not getattr(study.config, "save_weights", False):
        return []
    return [r for stage in study.stages if stage.is_kept for r in stage.runs]
