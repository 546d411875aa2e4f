"""What a run leaves behind: a folder that refuses to be overwritten, and can be resumed.

Files appear whole: they are written aside and renamed.
"""

import contextlib
import csv
import hashlib
import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
import tempfile
import urllib.parse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import safetensors.numpy

from experiments.lab import settings
from experiments.lab.refusals import Refusal

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


@contextlib.contextmanager
def whole(path: str | Path) -> Iterator[Path]:
    """A path beside `path` to write to; it takes `path`'s place when the block succeeds."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield aside
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)


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

    return revived(json.loads(path.read_text()))


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """A flat dict of arrays as a compressed `.npz`."""
    with whole(path) as aside, open(aside, "wb") as file:
        np.savez_compressed(file, **arrays)


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """The inverse of `write_arrays`."""
    with np.load(path) as file:
        return dict(file)


def write_tensors(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """A flat dict of arrays as `.safetensors`."""
    with whole(path) as aside:
        contiguous = {name: np.asarray(a, order="C") for name, a in arrays.items()}
        aside.write_bytes(safetensors.numpy.save(contiguous))


def read_tensors(path: Path) -> dict[str, np.ndarray]:
    """The inverse of `write_tensors`."""
    return safetensors.numpy.load_file(path)


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
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def versions() -> dict[str, Any]:
    """What produced the numbers: commit, packages, device."""

    def git(*args):
        """What git prints, or None: no git, or no checkout."""
        command = ["git", "-C", Path(__file__).parent, *args]
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
        "python": platform.python_version(),
        "packages": {name: importlib.metadata.version(name) for name in PACKAGES},
        "device": f"{jax.device_count()} x {device.device_kind} ({device.platform})",
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
    }


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
    stored = _stored(out)
    if stored["program"] != program:
        raise Refusal(f"--out={out}: made by another program; use another --out")
    return stored["settings"]


def _stored(out):
    """What config.json says."""
    try:
        stored = json.loads((out / "config.json").read_text())
        return {n: stored[n] for n in ("program", "settings", "data_sha256")}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Refusal(
            f"--out={out}: its config.json is no run's; use another --out"
        ) from error


class RunFolder:
    """A run folder; its attributes are the places in it."""

    def __init__(self, out: str | Path):
        self.path = Path(out)
        self.checkpoints = self.path / "checkpoints" / "unfinished"
        self.trained = self.path / "checkpoints" / "trained"
        self.measured = self.path / "measured"
        self.samples = self.path / "samples"
        self.weights = self.path / "weights"
        self.figures = self.path / "figures"

    @classmethod
    def create(
        cls, out: str | Path, program: str, config: Any, fingerprint: str | None
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
        aside = None
        try:
            out.parent.mkdir(parents=True, exist_ok=True)
            aside = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
            aside.chmod(0o755)
            cls(aside).record_settings(program, config, fingerprint)
            write_json(aside / "versions.json", versions())
            os.rename(aside, out)
        except OSError as error:
            raise Refusal(
                f"--out={out}: cannot be made ({error.strerror}); "
                "name a place you may write to"
            ) from error
        finally:
            if aside:
                shutil.rmtree(aside, ignore_errors=True)
        return cls(out)

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
            how runs are measured) or from other data, or cannot be written to.
        """
        folder, kind = cls(out), type(config)
        names = settings.names(kind, compared=True, measuring=False if redraw else None)
        stored = stored_settings(out, program)
        try:
            differ = settings.differences(
                config, settings.from_json(kind, stored), names
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
        if _stored(folder.path)["data_sha256"] != fingerprint:
            raise Refusal(
                f"--out={out}: was made from other data than is given now; give the same "
                "(--data_dir?), or use another --out"
            )
        if not os.access(folder.path, os.W_OK):
            raise Refusal(
                f"--out={out}: no permission to write there; use another --out"
            )
        return folder

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
    ) -> "RunFolder":
        """A new folder, or with `resume` or `redraw` an existing one, as above."""
        if resume or redraw:
            return cls.resume(out, program, config, fingerprint, redraw)
        return cls.create(out, program, config, fingerprint)

    def reopen(self, program: str, config: Any, fingerprint: str | None) -> None:
        """Marks the folder as not finished, and records settings that may have changed."""
        self._last.unlink(missing_ok=True)
        self.record_settings(program, config, fingerprint)

    def record_settings(
        self, program: str, config: Any, fingerprint: str | None
    ) -> None:
        """Replaces the settings: `--redraw` may change how runs are measured."""
        write_json(
            self.path / "config.json",
            {
                "program": program,
                "settings": settings.to_json(config),
                "data_sha256": fingerprint,
            },
        )

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
