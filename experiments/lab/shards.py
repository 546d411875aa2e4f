"""A share of a study's runs, for a process of its own: `--shard=i/n`.

Runs need nothing of each other, but for those of one group (the draws of a seed and size, a prior
and its posterior). So every process of a job array trains and measures the groups that fall to
it, into a folder of its own beside --out. The same command without --shard then takes all of them
together, and makes the tables: those of one process that did it all.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import shutil
from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.lab import versions
from experiments.lab.checksums import SHARD, going_on, whole
from experiments.lab.formats import read_json, write_json
from experiments.lab.refusals import Refusal, say
from experiments.lab.run_folder import RunFolder, stored

if TYPE_CHECKING:
    from experiments.lab.jobs import Run
    from experiments.lab.program import Program, Study

_DONE = "shard.json"  # written last


def of_a_point(run: Run) -> Hashable:
    """The group of a run whose results rest on runs of its size, seed and variant alone."""
    return run.size, run.seed, run.variant


def of_a_seed(run: Run) -> Hashable:
    """The group of a run whose results rest on runs of its seed, of any size."""
    return run.seed


@dataclasses.dataclass(frozen=True)
class Shard:
    """One of several shares.

    Attributes:
      index: which, from 1.
      count: how many there are.
    """

    index: int
    count: int

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"

    @classmethod
    def parse(cls, text: str, flag: str = "--shard") -> Shard:
        """Of `i/n`, as a flag has it.

        Raises:
          Refusal: it is none.
        """
        found = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text)
        index, count = map(int, found.groups()) if found else (0, 0)
        if not 1 <= index <= count:
            raise Refusal(
                f"{flag}={text}: must be i/n, the share i of n (1/4, 2/4, 3/4, 4/4)"
            )
        return cls(index, count)

    def folder(self, out: str | Path) -> Path:
        """Where it is made: beside the folder of the whole."""
        path = Path(out)
        return path.with_name(f"{path.name}.shard{self.index}of{self.count}")

    def part_of(self, study: Study, together: bool = False) -> Any:
        """The study, with the runs and subjects of this share alone.

        Groups go to the share that has least to do, the largest first; work is counted in
        examples. The same study is always shared out alike.

        Args:
          study: the whole.
          together: whether the others are being made at once, by processes (`--multihost`).

        Raises:
          Refusal: there are fewer groups than shares.
        """
        work: dict[Hashable, int] = {}
        for stage in study.stages:
            for run in stage.runs:
                group = study.group_of(run)
                work[group] = work.get(group, 0) + run.size
        for subject in study.subjects:
            work.setdefault(_group(study, subject), 1)
        if len(work) < self.count:
            flag = f"--multihost, process {self}" if together else f"--shard={self}"
            raise Refusal(
                f"{flag}: there are {len(work)} groups of runs to share out; use at most "
                f"{len(work)} {'processes' if together else 'shards'}"
                if work
                else f"{flag}: nothing is trained or measured here; leave it out"
            )
        loads, own = [0] * self.count, set()
        for group in sorted(work, key=lambda g: -work[g]):  # stable: in order of runs
            least = loads.index(min(loads))
            loads[least] += work[group]
            if least == self.index - 1:
                own.add(group)
        stages = tuple(
            dataclasses.replace(
                stage, runs=tuple(r for r in stage.runs if study.group_of(r) in own)
            )
            for stage in study.stages
        )
        subjects = tuple(
            dataclasses.replace(s, compile_beforehand=None)  # a share makes no tables
            for s in study.subjects
            if _group(study, s) in own
        )
        return dataclasses.replace(study, stages=stages, subjects=subjects)

    def finish(self, folder: RunFolder, part: Study, together: bool) -> str:
        """Marks its folder as done; returns a line that says so.

        Args:
          folder: its folder.
          part: `part_of` the whole.
          together: whether the others are being made at once, so that tables come by themselves.
        """
        write_json(
            folder.path / _DONE,
            {"shard": str(self), "subjects": [s.name for s in part.subjects]},
        )
        runs = sum(len(stage.runs) for stage in part.stages)
        then = (
            "process 1 makes the tables"
            if together
            else "the same command without --shard makes the tables"
        )
        return (
            f"{folder.path}: shard {self} is done: {runs} runs, {len(part.subjects)} measurements. "
            f"When all {self.count} are, {then}."
        )


def begin_again(folder: RunFolder) -> None:
    """Takes the mark off the folder of a share that was done and lacks something now."""
    (folder.path / _DONE).unlink(missing_ok=True)


def _group(study, subject):
    return subject.name if subject.run is None else study.group_of(subject.run)


def shard_of(folder: Path) -> str:
    """The share that a folder holds and has finished, as `i/n`; '' otherwise."""
    path = folder / _DONE
    return read_json(path)["shard"] if path.exists() else ""


def _shards_at(out: Path) -> dict[int, dict[int, Path]]:
    """How many there are of a whole -> which -> its folder."""
    found: dict[int, dict[int, Path]] = {}
    for path in sorted(out.parent.iterdir()) if out.parent.is_dir() else ():
        name = SHARD.fullmatch(path.name)
        if name and name[1] == out.name and path.is_dir():
            index, count = int(name[2]), int(name[3])
            found.setdefault(count, {})[index] = path
    return found


def refuse_one(out: Path) -> None:
    """Refuses the folder of a share as that of a whole.

    Raises:
      Refusal: it is one; all runs would be trained in it.
    """
    if SHARD.fullmatch(out.name) and out.is_dir():
        raise Refusal(
            f"--out={out}: is the folder of a shard; {going_on(out)} goes on with it"
        )


def missing(out: Path) -> list[str]:
    """The shares of a whole that have no folder yet, as `i/n`, where others of as many have."""
    return [
        str(Shard(index, count))
        for count, own in _shards_at(out).items()
        for index in range(1, count + 1)
        if index not in own
    ]


def folders_of(out: Path) -> list[Path]:
    """The folders of all shares of a whole, of whatever number."""
    return [path for own in _shards_at(out).values() for path in own.values()]


def of_other_counts(
    program: Program,
    study: Study,
    plugin_sha256: str | None,
    out: str | Path,
    count: int,
) -> list[Path]:
    """The folders of shares that an earlier call made with another number of processes.

    Raises:
      Refusal: one was made with other settings, data or another plugin.
    """
    found = _shards_at(Path(out))
    paths = [p for n, own in found.items() if n != count for p in own.values()]
    for path in paths:
        RunFolder(path).check(program.name, study.config, study.fingerprint)
        _check_plugin(path, plugin_sha256)
    return paths


def _check_plugin(path, plugin_sha256):
    if stored(path)["plugin_sha256"] != plugin_sha256:
        raise Refusal(
            f"--out={path}: made with another --plugin; use the same, or make it again"
        )


def beside(
    program: Program,
    study: Study,
    plugin_sha256: str | None,
    out: str | Path,
    count: int | None = None,
) -> list[Path]:
    """The folders of all shares of the whole that is to be made at `out`; none if there are none.

    Args:
      program: which.
      study: the whole.
      plugin_sha256: of the plugin, or None.
      out: the folder of the whole.
      count: how many there are; others are left alone. None where nobody knows.

    Raises:
      Refusal: one is missing, not done, being worked on, damaged, or made with other settings, data
        or another plugin.
    """
    out = Path(out)
    found = _shards_at(out)
    if count is not None:
        found = {count: found.get(count, {})}
    if not found:
        return []
    if len(found) > 1:
        counts = " and of ".join(map(str, sorted(found)))
        raise Refusal(
            f"--out={out}: beside it are shards of {counts}; remove those that are not meant"
        )
    (count,) = found
    shards = found[count]
    for index in range(1, count + 1):
        shard = Shard(index, count)
        if index not in shards:
            raise Refusal(
                f"--out={out}: {shard.folder(out).name} is not there; make it with --shard={shard}, "
                "or remove the other shards to do without"
            )
        with RunFolder.resume(
            shards[index], program.name, study.config, study.fingerprint
        ) as folder:
            _check_plugin(folder.path, plugin_sha256)
            if not shard_of(folder.path):
                raise Refusal(
                    f"{folder.path}: not done yet; --shard={shard} --resume goes on with it"
                )
            folder.refuse_damaged(derived=False)
    return [shards[index] for index in range(1, count + 1)]


def join(folder: RunFolder, parts: Sequence[Path]) -> None:
    """Takes over what shares have trained and measured; their folders stay as they are.

    What is damaged is made again.
    """
    if not parts:
        return
    count = 0
    for part in map(RunFolder, parts):
        damaged = set(part.damaged(derived=False))
        for name in ("measured", "weights", "samples", "trained"):
            place, own = getattr(part, name), getattr(folder, name)
            for path in sorted(place.iterdir()) if place.is_dir() else ():
                target = own / path.name
                if path.name.startswith(".") or path in damaged or not path.is_file():
                    continue
                count += name == "measured"
                if not target.exists():
                    with whole(target) as aside:
                        _link(path, aside)
        made = read_json(part.path / "versions.json")
        differ = versions.changes_between(made, versions.versions())
        if differ:
            say(
                f"{part.path}: made with other versions than are here now: {differ}; numbers may "
                "differ in their last digits (recorded in versions.json)"
            )
            path = folder.path / "versions.json"
            known = read_json(path)
            write_json(path, known | {"shards": [*known.get("shards", []), made]})
    say(f"--out={folder.path}: takes over {count} measurements of {len(parts)} shards")


def _link(path, target):
    """The same bytes at another place, without a copy where the file system can."""
    with contextlib.suppress(OSError):
        os.link(path, target)
        return
    shutil.copyfile(path, target)
