"""What a call would train and measure, said beforehand: `--dry_run`."""

import dataclasses
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from experiments.lab import report
from experiments.lab.jobs import Run, Stage, Trained
from experiments.lab.measuring import Subject
from experiments.lab.run_folder import RunFolder


def pattern(run: Run) -> str:
    """A run's name with a * for every number in it, but for those of its variant."""
    parts = run.name.split(run.variant) if run.variant else [run.name]
    return run.variant.join(re.sub(r"\d+(\.\d+)?", "*", part) for part in parts)


@dataclasses.dataclass(frozen=True)
class Foreseen:
    """A study, and what there is of it.

    Attributes:
      stages, subjects: of the study.
      trained: what its runs have learned.
      folder: where; it need not exist.
      needs: whether a run is trained, if its weights are not there; None: nothing is trained or
        measured.
      again: whether every subject is measured again.
      is_whole: whether the folder is finished, and only shown.
      kept: the runs whose weights are kept.
      damaged: files that do not count.
      begun: names of the runs that go on half-way.
    """

    stages: Sequence[Stage]
    subjects: Sequence[Subject]
    trained: Trained
    folder: RunFolder
    needs: Callable[[Run], bool] | None
    again: bool
    is_whole: bool
    kept: frozenset[Run]
    damaged: frozenset[Path]
    begun: frozenset[str]

    @property
    def _runs(self):
        return [run for stage in self.stages for run in stage.runs]

    def _is_trained(self, run):
        places = self.trained.fresh_path(run), self.trained.kept_path(run)
        return any(p.exists() and p not in self.damaged for p in places)

    def _waiting(self):
        """The runs that would be trained."""
        due, has = self.trained.is_due, self._is_trained
        if self.needs is None:
            return []
        return [r for r in self._runs if self.needs(r) and due(r, has)]

    def _is_measured(self, subject):
        path = self.folder.measured_path(subject.name)
        if self.again or path in self.damaged:
            return False
        return path.exists() if self.is_whole else subject.is_measured(self.folder)

    def _table(self):
        """A row for runs that differ in numbers only; a column a training-set size."""
        sizes = sorted({run.size for run in self._runs})
        alike: dict[str, list[Run]] = {}
        for run in self._runs:
            alike.setdefault(pattern(run), []).append(run)
        waiting = set(self._waiting())
        rows = []
        for name, runs in alike.items():
            counts = [sum(run.size == size for run in runs) for size in sizes]
            begun = sum(run in waiting and run.name in self.begun for run in runs)
            kept = sum(self.trained.size_of(run) for run in runs if run in self.kept)
            rows.append([
                name, *(str(n or "") for n in counts), str(len(runs)),
                str(sum(run in waiting for run in runs)), str(begun or ""),
                report.shown_bytes(kept) if kept else "",
            ])  # fmt: skip
        columns = ("runs", *(f"m = {size}" for size in sizes), "all", "to train",
                   "half-way", "weights")  # fmt: skip
        return report.Table(columns, rows)

    def blocks(self) -> list[Any]:
        """The runs as a `report.Table`, and an `Answer`."""
        if self.is_whole:
            said = f"{self.folder.path}: finished; --resume shows it."
            return [report.Answer([said])]
        runs, waiting = self._runs, self._waiting()
        measured = sum(map(self._is_measured, self.subjects))
        left = 0 if self.needs is None else len(self.subjects) - measured
        if not runs and not left:
            sentences = [
                "Nothing would be trained or measured: tables, figures and report are made of "
                "what there is."
            ]
        else:
            sentences = [
                f"{len(waiting)} of {len(runs)} runs would be trained, "
                f"{left} of {len(self.subjects)} measurements made."
                if runs
                else f"Nothing would be trained; {left} of {len(self.subjects)} measurements "
                "would be made."
            ]
        if self.damaged:
            sentences.append(f"{len(self.damaged)} damaged files would be made again.")
        if runs:
            sentences.append(self._weights(runs))
        sentences.append("Nothing was written.")
        return [*([self._table()] if runs else []), report.Answer(sentences)]

    def _weights(self, runs):
        """How large the weights are, and whether they stay."""
        kept = sum(self.trained.size_of(run) for run in self.kept)
        if kept:
            return (
                f"The weights that are kept, initial and learned, take {report.shown_bytes(kept)}; "
                "--save_weights=false leaves them out."
            )
        learned = sum(self.trained.size_of(run) for run in runs) / 2
        return (
            f"No weights are kept (--save_weights): until all is measured the learned ones take "
            f"{report.shown_bytes(learned)}."
        )
