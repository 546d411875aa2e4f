"""What a program says of itself: the contract of `Program`, its `Study` and its `Results`.

A program is a package named as its command. What it does not say is done by `lab.running`.
"""

from __future__ import annotations

import abc
import dataclasses
import importlib.util
from collections.abc import Callable, Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from experiments.lab import report, settings, shards
from experiments.lab.figures import Drawing
from experiments.lab.later import at_once, later
from experiments.lab.run_folder import RunFolder
from experiments.problems import Problem

measuring = later("experiments.lab.measuring")
jobs = later("experiments.lab.jobs")
runs = later("nets.runs")

Rows = Sequence[Mapping[str, Any]]


@dataclasses.dataclass(frozen=True)
class Study:
    """What a program trains and measures, decided by its settings; a program adds its own.

    Attributes:
      config: the settings of the call.
      fingerprint: of the data, or None.
      stages: what is trained, in order.
      subjects: what is measured.
      group_of: run -> its group, for `--shard`: what is trained and measured of a run rests on
        runs of its group alone.
    """

    config: Any
    fingerprint: str | None
    stages: Sequence[jobs.Stage]
    subjects: Sequence[measuring.Subject]
    group_of: Callable[[jobs.Run], Hashable] = dataclasses.field(
        default=shards.of_a_point, kw_only=True
    )


@dataclasses.dataclass(frozen=True)
class Results:
    """What a study found.

    Attributes:
      study: as the program made it.
      measured: flat arrays of each subject, in their order; each is read when it is asked for.
      tables: name -> rows.
      summary: the content of summary.json.
    """

    study: Any
    measured: Sequence[measuring.Arrays]
    tables: Mapping[str, Rows]
    summary: Mapping[str, Any]


class Program(abc.ABC):
    """A command; a subclass says what is its own.

    Class attributes:
      name: of its package and command.
      about: its question, in a line.
      title: of its reports; {problem} stands for the problem.
      Settings: a dataclass of `lab.settings.setting`.
      needs_problem: whether it cannot do without one.
      without: settings of problems that mean nothing here, and are no flags.
      columns: table -> its columns; what a row lacks is an empty cell. A table without rows is
        not written.
      first: settings that most people need first.
    """

    name: ClassVar[str]
    about: ClassVar[str]
    title: ClassVar[str]
    Settings: ClassVar[type]
    needs_problem: ClassVar[bool] = True
    without: ClassVar[tuple[str, ...]] = ()
    columns: ClassVar[Mapping[str, Sequence[str]]]
    first: ClassVar[tuple[str, ...]] = ("problem",)

    def takes(self, problem: type[Problem]) -> bool:
        """Whether it can ask its question of a problem."""
        return True

    def lacks_problem(self, typed: Mapping[str, Any]) -> bool:
        """Whether a call that typed this, and no problem, means the first that fits."""
        return self.needs_problem

    def not_meant(self, preset: Mapping[str, Any], typed: Mapping[str, Any]) -> str:
        """Why the values of a preset do not go with what was typed at all, or ''.

        A call that names no preset then means none.
        """
        return ""

    def left_open(self, typed: Mapping[str, Any]) -> Mapping[str, Any]:
        """Values, in place of defaults, of settings that a call which typed this leaves open.

        `resolved` fills them in.
        """
        return {}

    def resolved(self, config: Any) -> Any:
        """The settings with what they leave open filled in (names of bounds, say)."""
        return config

    def hints(self, config: Any) -> list[str]:
        """Lines, before anything is trained, on settings that will do, and hardly as meant."""
        return []

    def variants(self, config: Any) -> Mapping[str, Any]:
        """variant -> its settings, where a call sweeps over some; '' for the call's own.

        Raises:
          Refusal: as `vary.variants`.
        """
        return {"": config}

    def check(self, config: Any) -> None:
        """Raises a `Refusal` that names all settings that cannot be used, as far as they tell.

        No data are read and nothing slow is imported: `settings.check`, of every variant.
        """
        settings.check(config)
        self.variants(config)

    @abc.abstractmethod
    def study(self, config: Any) -> Study:
        """What is trained and measured.

        Raises:
          Refusal: the settings or the data cannot be used. No folder is touched.
        """

    def check_folder(self, study: Any, out: Path) -> None:  # noqa: B027
        """Raises a `Refusal` where a study will not do for a folder, which is not touched yet."""

    def before(
        self, study: Any, out: Path
    ) -> Sequence[tuple[Program, Any, Path, Mapping[str, bool]]]:
        """What `prepared` runs in a folder, for `--dry_run`: programs, their settings, folders
        and options of `run`."""
        return ()

    def prepared(
        self,
        study: Any,
        folder: RunFolder,
        layout: runs.Layout,
        checkpoint_seconds: float,
    ) -> Any:
        """The study, once what else it needs was made in its folder.

        Called before anything is trained, and again by `--resume` and `--redraw`: it goes on
        with what it finds.
        """
        return study

    @abc.abstractmethod
    def tables(
        self, study: Any, measured: Sequence[measuring.Arrays]
    ) -> dict[str, Rows]:
        """name -> rows of `<name>.csv`, from what was measured.

        Each of `measured` is read when it is asked for: go over them seldom and keep no arrays, and
        keep rows of a sweep in `compact_rows`, so that memory hardly grows with runs.
        """

    @abc.abstractmethod
    def summary(self, study: Any, tables: Mapping[str, Rows]) -> dict[str, Any]:
        """The content of summary.json."""

    @abc.abstractmethod
    def overview(self, summary: Mapping[str, Any]) -> list[Any]:
        """The `report.Answer` and the tables that the terminal shows, from summary.json."""

    def report(self, results: Results, draw: Drawing) -> list[Any]:
        """The blocks that follow the overview."""
        return []

    def publish(self, folder: Path, results: Results, blocks: Sequence[Any]) -> None:
        """Writes report.md, report.html and what else there is to read."""
        title = self.title.format(
            problem=getattr(results.study.config, "problem", None)
        )
        report.write(folder, title, blocks)


class InModules(Program):
    """A `Program` whose work is done by modules of its package, imported at their first use.

    They are `study.make`, `tables.make` and `tables.COLUMNS`, `summary.make`, `report.overview` and
    `report.details`. So its settings are made and checked without JAX.
    """

    def part(self, name: str) -> Any:
        """A module of its package; with the first all are imported."""
        package = type(self).__module__.rpartition(".")[0]
        names = ("study", "tables", "summary", "report")
        places = [f"{package}.{one}" for one in names]
        at_once(*(later(p) for p in places if importlib.util.find_spec(p)))
        return importlib.import_module(f"{package}.{name}")

    @property
    def columns(self) -> Mapping[str, Sequence[str]]:
        """`tables.COLUMNS`."""
        return self.part("tables").COLUMNS

    def study(self, config: Any) -> Study:
        """`study.make`, of the settings."""
        return self.part("study").make(config)

    def tables(
        self, study: Any, measured: Sequence[measuring.Arrays]
    ) -> dict[str, Rows]:
        """`tables.make`."""
        return self.part("tables").make(study, measured)

    def summary(self, study: Any, tables: Mapping[str, Rows]) -> dict[str, Any]:
        """`summary.make`."""
        return self.part("summary").make(study, tables)

    def overview(self, summary: Mapping[str, Any]) -> list[Any]:
        """`report.overview`."""
        return self.part("report").overview(summary)

    def report(self, results: Results, draw: Drawing) -> list[Any]:
        """`report.details`."""
        return self.part("report").details(results, draw)
