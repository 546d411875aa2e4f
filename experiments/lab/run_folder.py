"""What a run leaves behind: a folder that refuses to be overwritten, and can be resumed."""

import errno
import hashlib
import json
import os
import shutil
import tempfile
import urllib.parse
from pathlib import Path
from typing import Any

import filelock

from experiments.lab import locks, settings, versions
from experiments.lab.checksums import (
    ASIDE,
    LINE,
    LOG,
    Damaged,
    damage,
    intact,
    is_intact,
    log_of,
    name_in,
    replacing,
    sha256,
)
from experiments.lab.formats import read_json, write_json
from experiments.lab.refusals import Refusal, say

_LONGEST_NAME = 150  # of a subject, in the name of its file
_ASKED_SECONDS = 1.0  # to wait for a lock that is asked for


def stored_settings(out: str | Path, program: str) -> dict[str, Any]:
    """The settings a folder was made with, as JSON has them.

    Raises:
      Refusal: there is no folder, or it is not one of this program's.
    """
    out = Path(out)
    if not out.is_dir():
        raise Refusal(
            f"--out={out}: there is no such folder; it is made without --resume and --redraw"
        )
    found = stored(out)
    if found["program"] != program:
        raise Refusal(f"--out={out}: made by another program; use another --out")
    return found["settings"]


def stored(out: str | Path) -> dict[str, Any]:
    """What config.json says: program, settings, data_sha256, plugin_sha256 (may be None).

    Raises:
      Refusal: it is damaged, or no run's.
    """
    no_run = Refusal(f"--out={out}: its config.json is no run's; use another --out")
    try:
        found = json.loads(intact(Path(out) / "config.json"))
        found = {n: found[n] for n in ("program", "settings", "data_sha256")} | {
            "plugin_sha256": found.get("plugin_sha256")
        }
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise no_run from error
    words = (found["program"], found["data_sha256"] or "", found["plugin_sha256"] or "")
    if not isinstance(found["settings"], dict) or not all(
        isinstance(word, str) for word in words
    ):
        raise no_run
    return found


def stored_of(flag: str, folder: Path, program: str) -> dict[str, Any]:
    """What `stored` says of a folder that a flag names and that is to be read.

    Raises:
      Refusal: there is none, or it is another program's.
    """
    where = f"{flag}={folder}"
    if not (folder / "config.json").is_file():
        raise Refusal(f"{where}: there is no run folder; name one of {program}")
    found = stored(folder)
    if found["program"] != program:
        raise Refusal(f"{where}: is of {found['program']}; name one of {program}")
    return found


class RunFolder:
    """A run folder; its attributes are the places in it.

    Opened by `open` it is locked until it is closed: it is a context manager.
    """

    def __init__(self, out: str | Path):
        self.path = Path(out)
        self.checkpoints = self.path / "checkpoints" / "unfinished"
        self.trained = self.path / "checkpoints" / "trained"
        self.progress = self.path / "checkpoints" / "progress.json"
        self.measured = self.path / "measured"
        self.samples = self.path / "samples"
        self.weights = self.path / "weights"
        self.figures = self.path / "figures"
        self._lock: filelock.BaseFileLock | None = None

    def __enter__(self) -> "RunFolder":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    @property
    def is_worked_on(self) -> bool | None:
        """Whether a process has it now; None where that cannot be told: no locks, no right to read."""
        return locks.is_held(self.path / ".lock")

    def close(self) -> None:
        """Lets others work on it."""
        if self._lock:
            self._lock.release()
        self._lock = None

    def _take(self):
        """Takes the folder for this process.

        The lock is the system's (`flock`), so that it ends with the process, however that ends.
        On NFS Linux turns it into a lock at the server, which other machines respect unless it
        is mounted with `local_lock`. A file system without locks cannot keep two apart.

        Raises:
          Refusal: another process has it, or nothing may be written there.
        """
        # Who asks whether it is worked on (`is_worked_on`) has it for a moment.
        lock = locks.lock_on(self.path / ".lock", timeout=_ASKED_SECONDS)
        try:
            lock.acquire()
        except filelock.Timeout:
            raise Refusal(
                f"--out={self.path}: another process is at work on it; wait until it ends, or "
                "use another --out"
            ) from None
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
                raise Refusal(
                    f"--out={self.path}: no permission to write there; use another --out"
                ) from error
            if error.errno == errno.ELOOP:
                raise Refusal(
                    f"{self.path / '.lock'}: is a link; remove it, the lock is a file"
                ) from error
            if error.errno not in (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS):
                raise
            say(
                f"--out={self.path}: this file system has no locks ({error.strerror}); see to "
                "it that no other process works on this folder"
            )
        else:
            self._lock = lock

    @classmethod
    def create(
        cls,
        out: str | Path,
        program: str,
        config: Any,
        fingerprint: str | None,
        plugin_sha256: str | None = None,
    ) -> "RunFolder":
        """A new folder with its settings in it.

        Raises:
          Refusal: it exists, or cannot be made there.
        """
        out = Path(out)
        aside, folder = None, cls(out)
        folder.refuse_existing()
        try:
            out.parent.mkdir(parents=True, exist_ok=True)
            aside = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
            aside.chmod(0o755)
            (aside / LOG).touch()
            new = cls(aside)
            new.record_settings(program, config, fingerprint, plugin_sha256)
            write_json(aside / "versions.json", versions.versions())
            new._take()  # a lock is on a file, and goes along when it is renamed
            folder._lock, new._lock = new._lock, None
            os.rename(aside, out)
        except (OSError, Refusal) as error:
            folder.close()
            cause = error.__cause__ or error
            reason = cause.strerror if isinstance(cause, OSError) else error
            raise Refusal(
                f"--out={out}: cannot be made ({reason}); name a place you may write to"
            ) from error
        finally:
            if aside:
                shutil.rmtree(aside, ignore_errors=True)
        return folder

    def refuse_existing(self) -> None:
        """Raises a `Refusal` where it exists."""
        try:
            self.path.stat()
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            raise Refusal(
                f"--out={self.path}: cannot be made ({error.strerror}); name another place"
            ) from error
        raise Refusal(
            f"--out={self.path}: exists; use another, or --resume to go on with it"
        )

    @classmethod
    def resume(
        cls,
        out: str | Path,
        program: str,
        config: Any,
        fingerprint: str | None,
        redraw: bool = False,
    ) -> "RunFolder":
        """An existing folder.

        Raises:
          Refusal: it was made with other settings (`redraw` may change those that decide
            how runs are measured) or from other data, cannot be written to, or another process
            is at work on it.
        """
        folder = cls(out)
        stored_settings(out, program)
        folder._take()
        try:
            folder.check(program, config, fingerprint, redraw)
        except BaseException:
            folder.close()
            raise
        return folder

    def check(
        self, program: str, config: Any, fingerprint: str | None, redraw: bool = False
    ) -> None:
        """Raises a `Refusal` if it is not what settings and data make; as of `resume`."""
        out, kind = self.path, type(config)
        names = settings.names(kind, compared=True, measuring=False if redraw else None)
        there = stored_settings(out, program)
        trained = settings.names(kind, compared=True, measuring=False)
        try:
            made = settings.from_json(kind, there)
            differ = settings.differences(config, made, names)
            is_trained_so = not settings.differences(config, made, trained)
        except (KeyError, TypeError) as error:
            raise Refusal(
                f"--out={out}: made with settings that there are not here ({error}); use "
                "another --out"
            ) from error
        if differ:
            later = "give these once it is finished, with --redraw, or "
            raise Refusal(
                f"--out={out}: made with other settings ({differ}); {later if is_trained_so else ''}"
                "use another --out"
            )
        if stored(out)["data_sha256"] != fingerprint:
            raise Refusal(
                f"--out={out}: was made from other data than is given now; give the same "
                "(--data_dir, --data?), or use another --out"
            )
        here = out.resolve()
        for place in (
            self.measured,
            self.samples,
            self.weights,
            self.figures,
            self.trained,
        ):
            if not place.resolve().is_relative_to(here):
                raise Refusal(
                    f"{place}: leads out of the run folder; put the folder itself there"
                )
        if not os.access(out, os.W_OK):
            raise Refusal(
                f"--out={out}: no permission to write there; use another --out"
            )

    @classmethod
    def open(
        cls,
        out: str | Path,
        program: str,
        config: Any,
        fingerprint: str | None,
        *,
        resume: bool,
        redraw: bool,
        plugin_sha256: str | None = None,
    ) -> "RunFolder":
        """A new folder, or with `resume` or `redraw` an existing one, as above; locked."""
        if resume or redraw:
            return cls.resume(out, program, config, fingerprint, redraw)
        return cls.create(out, program, config, fingerprint, plugin_sha256)

    def reopen(self, *made: Any) -> None:
        """Marks the folder as not finished; `made` goes to `record_settings`."""
        self._last.unlink(missing_ok=True)
        self.record_settings(*made)

    def record_settings(
        self,
        program: str,
        config: Any,
        fingerprint: str | None,
        plugin_sha256: str | None = None,
    ) -> None:
        """Replaces the settings: `--redraw` may change how runs are measured."""
        write_json(
            self.path / "config.json",
            {
                "program": program,
                "settings": settings.to_json(config),
                "data_sha256": fingerprint,
                "plugin_sha256": plugin_sha256,
            },
        )

    def record_versions(self) -> None:
        """Says and records in versions.json, under `later`, if it goes on with other versions.

        Which run was trained and measured with which is in the files of the runs (`made_with`).
        """
        path, now = self.path / "versions.json", versions.versions()
        if not path.exists():  # it was lost
            write_json(path, now | {"first": "not known"})
            return
        known = read_json(path)
        differ = versions.changes_between([known, *known.get("later", [])][-1], now)
        if differ:
            say(
                f"--out={self.path}: goes on with other versions than before: {differ}; numbers "
                "may differ in their last digits (recorded in versions.json and with each run)"
            )
            write_json(path, known | {"later": [*known.get("later", []), now]})

    def remove_leftovers(self) -> None:
        """Removes files that a killed process had begun to write; only under the lock."""
        for path in [p for p in self.path.rglob(".*") if ASIDE.fullmatch(p.name)]:
            if self.checkpoints not in path.parents:
                path.unlink(missing_ok=True)

    def damaged(self, *, derived: bool = True) -> list[Path]:
        """The files in it that are not as they were written; older folders have no checksums.

        Args:
          derived: tables, figures and reports too, which `--redraw` writes anew.
        """
        if not (self.path / LOG).is_file():
            say(
                f"--out={self.path}: made before run folders had checksums; damage of its files "
                "would not be seen"
            )
            return []
        log = log_of(self.path)
        places = [self.trained, self.measured, self.samples, self.weights]
        paths = {p for place in places for p in place.glob("*") if p.is_file()}
        paths |= {self.path / "config.json", self.path / "versions.json"}
        if derived:
            paths |= {self.path / name for name in log}
        found, here = [], self.path.resolve()
        for path in sorted(paths):
            if not path.is_file() or ASIDE.fullmatch(path.name):
                continue
            if not path.resolve().is_relative_to(here):
                # What is damaged may be removed: never what is not this folder's.
                raise Refusal(
                    f"{path}: leads out of the run folder; put the file itself there"
                )
            if not is_intact(sha256(path), name_in(self.path, path), log):
                found.append(path)
        return found

    def refuse_damaged(self, *, derived: bool) -> None:
        """Raises `Damaged`, by name, if a file of a finished folder is not as it was written."""
        log = self.path / LOG
        if log.is_file():
            lines = log.read_text(errors="replace").removesuffix("\n").split("\n")
            wrong = [n for n, line in enumerate(lines, 1) if not LINE.fullmatch(line)]
            if wrong:
                raise Damaged(
                    f"{log}: damaged, its line {wrong[0]} is none of `sha256sum`; delete it to go "
                    "on without checksums"
                )
        found = self.damaged(derived=derived)
        if found:
            error = damage(found[0], self.path)
            more = f" ({len(found) - 1} more are)" if found[1:] else ""
            raise Damaged(f"{error}{more}")

    def remove_damaged(self) -> None:
        """Removes what is damaged and will be made again, and says so; for unfinished folders.

        Raises:
          Damaged: the settings are, which nothing can make again.
        """
        for path in self.damaged():
            if path.name == "config.json":
                raise damage(path, self.path)
            path.unlink()
            say(f"{path}: damaged, its bytes are not those of {LOG}; it is made again")

    def lost(self) -> list[str]:
        """The names of files that were written and are not there any more."""
        if not (self.path / LOG).is_file():
            return []
        log = log_of(self.path)
        return [
            name
            for name in log
            if not name.startswith("checkpoints/") and not (self.path / name).exists()
        ]

    def tidy_log(self) -> None:
        """Leaves one line for every file that there is, and none that was cut short.

        Called when nothing but the report is missing, so that in a finished folder every line is
        whole, and when all is done.
        """
        log, lines = self.path / LOG, []
        if not log.is_file():
            return
        for name, digests in sorted(log_of(self.path).items()):
            path = self.path / name
            if path.is_file():
                # The last one may be of a file that never took its place.
                its = sha256(path) if len(set(digests)) > 1 else digests[-1]
                lines.append(f"{its if its in digests else digests[-1]}  {name}\n")
        if log.read_text(errors="replace") == "".join(lines):
            return
        with replacing(log) as aside:
            aside.write_text("".join(lines))

    def forget_checkpoints(self) -> None:
        """Removes what only `--resume` needed: everything is measured."""
        shutil.rmtree(self.trained.parent, ignore_errors=True)

    def measured_path(self, name: str) -> Path:
        """Where what was measured of a subject is: another file for every other name."""
        quoted = urllib.parse.quote(name, safe=" =,+()[]:;~")
        if len(quoted) > _LONGEST_NAME:
            digest = hashlib.sha256(name.encode()).hexdigest()
            quoted = f"{quoted[:_LONGEST_NAME]}%{digest}"  # no other name has a % there
        return self.measured / f"{quoted}.npz"

    @property
    def _last(self):
        """What is written last: once it is there, the folder is whole."""
        return self.path / "report.html"

    @property
    def is_finished(self) -> bool:
        """Whether all is there, the report included."""
        try:
            return self._last.exists()
        except OSError:  # a name that no file system takes
            return False
