"""What a run leaves behind: a folder that refuses to be overwritten, and can be resumed.

Files appear whole: they are written aside and renamed. The sha256 of each is a line of
`checksums.sha256` (as `sha256sum` writes and checks it), and is checked before a byte of a file
is parsed. The line is appended before the file is renamed, and a file is intact if any line of
its name fits: so a process killed between the two leaves the old file with its own, older line,
and never a file that looks damaged. Lines of files that are gone or were replaced are dropped
when all is done. A folder without the log is an older one: it is read, and one line says that
damage would not be seen.
"""

import contextlib
import csv
import errno
import functools
import hashlib
import importlib.metadata
import io
import json
import os
import platform
import re
import shutil
import subprocess
import tempfile
import urllib.parse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import filelock
import jax
import numpy as np
import safetensors.numpy

from experiments.lab import settings
from experiments.lab.refusals import Refusal, say

PACKAGES = (
    "jax",
    "jaxlib",
    "flax",
    "optax",
    "orbax-checkpoint",
    "chex",
    "numpy",
    "scipy",
)

_LONGEST_NAME = 150  # of a subject, in the name of its file


LOG = "checksums.sha256"
_DEPTH = 3  # a file of a run folder is at most so many folders deep in it
_ASIDE = re.compile(r"\..+\.\d+")  # what `whole` calls a file that is being written
_LINE = re.compile("[0-9a-f]{64}  .+")
# What made an array file, in the file itself: it goes with it wherever it is copied.
_MADE_WITH = "made_with"


class Damaged(Refusal):
    """A file is not as it was written."""


@contextlib.contextmanager
def whole(path: str | Path) -> Iterator[Path]:
    """A path beside `path` to write to; it takes `path`'s place when the block succeeds.

    Raises:
      Refusal: the system will not have it written. Nothing is left of it.
    """
    path = Path(path)
    with _aside(path) as aside:
        yield aside
        root = _root_of(path)
        if root:
            _append(root / LOG, f"{_sha256(aside)}  {_name_in(root, path)}\n")


@contextlib.contextmanager
def _aside(path):
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield aside
        os.replace(aside, path)
    except OSError as error:
        raise Refusal(
            f"{path}: cannot be written ({error.strerror}); make room, or see to it that you may "
            "write there; then --resume goes on"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            aside.unlink(missing_ok=True)


def _root_of(path):
    """The run folder that a file lies in, if it has checksums."""
    for folder in list(Path(path).parents)[:_DEPTH]:
        if (folder / LOG).is_file():
            return folder
    return None


def _name_in(root, path):
    return Path(path).relative_to(root).as_posix()


def _sha256(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _append(log, line):
    """A line more; one that a full disk cut short before it is ended first."""
    with open(log, "ab+") as file:
        size = file.tell()
        file.seek(max(size - 1, 0))
        is_cut = file.read(1) not in (b"", b"\n")
        file.write(b"\n" * is_cut + line.encode())


@functools.lru_cache(maxsize=2)
def _entries(text):
    """name -> its digests, the last one last."""
    found: dict[str, list[str]] = {}
    for line in text.split("\n"):
        digest, _, name = line.partition("  ")
        if name:
            found.setdefault(name, []).append(digest)
    return found


def _log_of(root):
    return _entries((root / LOG).read_text(errors="replace"))


def _damaged(path, root):
    """The `Damaged` of a file."""
    if _name_in(root, path) == "config.json":
        remedy = "put a copy in its place, or use another --out"
    else:
        remedy = f"delete it, and --out={root} --resume makes it again"
    return Damaged(f"{path}: damaged, its bytes are not those of {LOG}; {remedy}")


def _is_intact(digest, name, log):
    return digest in log.get(name, ())


def intact(path: str | Path) -> bytes:
    """The bytes of a file.

    Raises:
      Damaged: it lies in a run folder, and is not as it was written there.
    """
    path, root = Path(path), _root_of(path)
    raw = path.read_bytes()
    if root:
        digest = hashlib.sha256(raw).hexdigest()
        if not _is_intact(digest, _name_in(root, path), _log_of(root)):
            raise _damaged(path, root)
    return raw


@contextlib.contextmanager
def _parsing(path):
    """One line on bytes that are none of the kind: in older folders nothing else is seen."""
    try:
        yield
    except Exception as error:  # readers of broken zips and JSON raise what they like
        raise Refusal(
            f"{path}: cannot be read ({type(error).__name__}); delete it and --resume "
            "makes it again"
        ) from error


def write_json(path: Path, value: Any) -> None:
    """A file of JSON; what is no finite number is a string there ("inf", "nan")."""
    with whole(path) as aside:
        text = json.dumps(_jsonable(value), indent=2, allow_nan=False)
        aside.write_text(text + "\n")


def _jsonable(value):
    if isinstance(value, Mapping):
        return {name: _jsonable(v) for name, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_jsonable(v) for v in value]
    if isinstance(value, float) and not np.isfinite(value):
        return str(value)
    return value


def read_json(path: Path) -> Any:
    """The inverse of `write_json`."""
    unread = {"inf": float("inf"), "-inf": -float("inf"), "nan": float("nan")}

    def revived(value):
        if isinstance(value, dict):
            return {name: revived(v) for name, v in value.items()}
        if isinstance(value, list):
            return [revived(v) for v in value]
        return unread.get(value, value) if isinstance(value, str) else value

    raw = intact(path)
    with _parsing(path):
        return revived(json.loads(raw))


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """A flat dict of arrays as a compressed `.npz`; in a run folder with what made it."""
    made = {_MADE_WITH: np.array(_made_here())} if _root_of(path) else {}
    content = io.BytesIO()
    np.savez_compressed(content, **arrays, **made)
    with whole(path) as aside:
        aside.write_bytes(content.getbuffer())


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """The inverse of `write_arrays`.

    Raises:
      Damaged: it is not as it was written.
      Refusal: it is no `.npz`.
    """
    raw = intact(path)
    with _parsing(path), np.load(io.BytesIO(raw), allow_pickle=False) as file:
        return {name: file[name] for name in file.files if name != _MADE_WITH}


def write_tensors(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """A flat dict of arrays as `.safetensors`; in a run folder with what made it."""
    made = {_MADE_WITH: _made_here()} if _root_of(path) else None
    with whole(path) as aside:
        contiguous = {name: np.asarray(a, order="C") for name, a in arrays.items()}
        aside.write_bytes(safetensors.numpy.save(contiguous, made))


def read_tensors(path: Path) -> dict[str, np.ndarray]:
    """The inverse of `write_tensors`.

    Raises:
      Damaged: it is not as it was written.
      Refusal: it is no `.safetensors`.
    """
    raw = intact(path)
    with _parsing(path):
        return safetensors.numpy.load(raw)


def made_with(path: Path) -> dict[str, Any] | None:
    """The `versions` that made a file of arrays; None where it does not say."""
    raw = intact(path)
    with _parsing(path):
        if raw.startswith(b"PK"):
            with np.load(io.BytesIO(raw), allow_pickle=False) as file:
                text = str(file[_MADE_WITH]) if _MADE_WITH in file.files else None
        else:
            head = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])
            text = head.get("__metadata__", {}).get(_MADE_WITH)
        return None if text is None else json.loads(text)


@functools.cache
def _made_here():
    return json.dumps(versions())


def write_table(
    path: Path, columns: Sequence[str], rows: Sequence[Mapping[str, Any]]
) -> None:
    """Rows as CSV; what a row lacks, or is None, is an empty cell."""

    def cell(value):
        if value is None:
            return ""
        if isinstance(value, (bool, np.bool_)):
            return str(bool(value)).lower()
        if isinstance(value, (float, np.floating)):
            return repr(float(value))
        return str(value)

    with whole(path) as aside, open(aside, "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([cell(row.get(c)) for c in columns] for row in rows)


def read_table(path: Path) -> list[dict[str, str]]:
    """A CSV table as a list of dicts of strings."""
    text = intact(path).decode()
    return list(csv.DictReader(io.StringIO(text, newline="")))


def versions() -> dict[str, Any]:
    """What produced the numbers: commit, source code, packages, device."""

    def git(*args):
        """What git prints, or None: no git, or no checkout."""
        # To look must not take the lock of whoever commits meanwhile.
        where = ["-C", Path(__file__).parent]
        command = ["git", "--no-optional-locks", *where, *args]
        try:
            done = subprocess.run(command, capture_output=True, text=True)
        except OSError:
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    changes = git("status", "--porcelain", "--untracked-files=no")

    device = jax.devices()[0]
    return {
        "commit": git("rev-parse", "HEAD"),
        "uncommitted_changes": None if changes is None else bool(changes),
        "source_sha256": _source(),
        "python": platform.python_version(),
        "packages": {name: importlib.metadata.version(name) for name in PACKAGES},
        "device": f"{jax.device_count()} x {device.device_kind} ({device.platform})",
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
    }


def _source():
    """A digest of the code: it tells versions apart that no commit does."""
    rooms, digest = Path(__file__).parents[2], hashlib.sha256()
    for room in ("nets", "bounds", "experiments"):
        for path in sorted((rooms / room).rglob("*.py")):
            digest.update(path.relative_to(rooms).as_posix().encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()


def changes_between(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """One line on what of two `versions` can change numbers, or ''."""

    def named(made):
        # How many CPU devices there are changes no number.
        device = str(made.get("device")).partition(" x ")[2]
        code = made.get("source_sha256")
        commit = made.get("commit")
        return {
            "device": device, **made.get("packages", {}),
            "commit": commit and commit[:10], "code sha256": code and code[:10],
        }  # fmt: skip

    old, new = named(before), named(now)
    differ = [n for n in new if old.get(n) and old[n] != new[n]]
    return ", ".join(f"{n} {new[n]} (before: {old[n]})" for n in differ)


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
    def is_worked_on(self) -> bool:
        """Whether a process has it now; False where the file system has no locks."""
        lock = filelock.FileLock(self.path / ".lock", timeout=0)
        try:
            lock.acquire()
        except filelock.Timeout:
            return True
        except OSError:
            return False
        lock.release()
        return False

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
        lock = filelock.FileLock(self.path / ".lock", timeout=0)
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
        if out.exists():
            raise Refusal(
                f"--out={out}: exists; use another, or --resume to go on with it"
            )
        aside, folder = None, cls(out)
        try:
            out.parent.mkdir(parents=True, exist_ok=True)
            aside = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
            aside.chmod(0o755)
            (aside / LOG).touch()
            new = cls(aside)
            new.record_settings(program, config, fingerprint, plugin_sha256)
            write_json(aside / "versions.json", versions())
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
            folder._check(program, config, fingerprint, redraw)
        except BaseException:
            folder.close()
            raise
        return folder

    def _check(self, program, config, fingerprint, redraw):
        """Raises a `Refusal` if it is not what settings and data make."""
        out, kind = self.path, type(config)
        names = settings.names(kind, compared=True, measuring=False if redraw else None)
        there = stored_settings(out, program)
        try:
            differ = settings.differences(
                config, settings.from_json(kind, there), names
            )
        except (KeyError, TypeError) as error:
            raise Refusal(
                f"--out={out}: made with settings that there are not here ({error}); use "
                "another --out"
            ) from error
        if differ:
            raise Refusal(
                f"--out={out}: made with other settings ({differ}); use another --out"
            )
        if stored(out)["data_sha256"] != fingerprint:
            raise Refusal(
                f"--out={out}: was made from other data than is given now; give the same "
                "(--data_dir?), or use another --out"
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

    def reopen(
        self,
        program: str,
        config: Any,
        fingerprint: str | None,
        plugin_sha256: str | None = None,
    ) -> None:
        """Marks the folder as not finished, and records settings that may have changed."""
        self._last.unlink(missing_ok=True)
        self.record_settings(program, config, fingerprint, plugin_sha256)

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
        path, now = self.path / "versions.json", versions()
        if not path.exists():  # it was lost
            write_json(path, now | {"first": "not known"})
            return
        known = read_json(path)
        differ = changes_between([known, *known.get("later", [])][-1], now)
        if differ:
            say(
                f"--out={self.path}: goes on with other versions than before: {differ}; numbers "
                "may differ in their last digits (recorded in versions.json and with each run)"
            )
            write_json(path, known | {"later": [*known.get("later", []), now]})

    def remove_leftovers(self) -> None:
        """Removes files that a killed process had begun to write; only under the lock."""
        for path in [p for p in self.path.rglob(".*") if _ASIDE.fullmatch(p.name)]:
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
        log = _log_of(self.path)
        places = [self.trained, self.measured, self.samples, self.weights]
        paths = {p for place in places for p in place.glob("*") if p.is_file()}
        paths |= {self.path / "config.json", self.path / "versions.json"}
        if derived:
            paths |= {self.path / name for name in log}
        found, here = [], self.path.resolve()
        for path in sorted(paths):
            if not path.is_file() or _ASIDE.fullmatch(path.name):
                continue
            if not path.resolve().is_relative_to(here):
                # What is damaged may be removed: never what is not this folder's.
                raise Refusal(
                    f"{path}: leads out of the run folder; put the file itself there"
                )
            if not _is_intact(_sha256(path), _name_in(self.path, path), log):
                found.append(path)
        return found

    def refuse_damaged(self, *, derived: bool) -> None:
        """Raises `Damaged`, by name, if a file of a finished folder is not as it was written."""
        log = self.path / LOG
        if log.is_file():
            lines = log.read_text(errors="replace").removesuffix("\n").split("\n")
            wrong = [n for n, line in enumerate(lines, 1) if not _LINE.fullmatch(line)]
            if wrong:
                raise Damaged(
                    f"{log}: damaged, its line {wrong[0]} is none of `sha256sum`; delete it to go "
                    "on without checksums"
                )
        found = self.damaged(derived=derived)
        if found:
            error = _damaged(found[0], self.path)
            more = f" ({len(found) - 1} more are)" if found[1:] else ""
            raise Damaged(f"{error}{more}")

    def remove_damaged(self) -> None:
        """Removes what is damaged and will be made again, and says so; for unfinished folders.

        Raises:
          Damaged: the settings are, which nothing can make again.
        """
        for path in self.damaged():
            if path.name == "config.json":
                raise _damaged(path, self.path)
            path.unlink()
            say(f"{path}: damaged, its bytes are not those of {LOG}; it is made again")

    def lost(self) -> list[str]:
        """The names of files that were written and are not there any more."""
        if not (self.path / LOG).is_file():
            return []
        log = _log_of(self.path)
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
        for name, digests in sorted(_log_of(self.path).items()):
            if (self.path / name).is_file():
                lines.append(f"{digests[-1]}  {name}\n")
        if log.read_text(errors="replace") == "".join(lines):
            return
        with _aside(log) as aside:
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
        return self._last.exists()
