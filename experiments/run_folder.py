"""What a run leaves behind: a folder that refuses to be overwritten, and can be resumed.

Files appear whole: they are written aside and renamed.
"""

import contextlib
import csv
import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path

import jax
import numpy as np
import safetensors.numpy

from experiments import settings
from experiments.refusals import Refusal

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


@contextlib.contextmanager
def whole(path):
    """A path beside `path` to write to; it takes `path`'s place when the block succeeds."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield aside
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)


def write_json(path, value):
    with whole(path) as aside:
        aside.write_text(json.dumps(value, indent=2, allow_nan=False) + "\n")


def write_arrays(path, arrays):
    """A flat dict of arrays as a compressed `.npz`."""
    with whole(path) as aside, open(aside, "wb") as file:
        np.savez_compressed(file, **arrays)


def read_arrays(path):
    with np.load(path) as file:
        return dict(file)


def write_tensors(path, arrays):
    """A flat dict of arrays as `.safetensors`."""
    with whole(path) as aside:
        contiguous = {name: np.asarray(a, order="C") for name, a in arrays.items()}
        aside.write_bytes(safetensors.numpy.save(contiguous))


def read_tensors(path):
    return safetensors.numpy.load_file(path)


def write_table(path, columns, rows):
    """Rows (dicts) as CSV; what is None or not a number is an empty cell."""

    def cell(value):
        if value is None or value != value:
            return ""
        if isinstance(value, (bool, np.bool_)):
            return str(bool(value)).lower()
        if isinstance(value, (float, np.floating)):
            return repr(float(value))
        return str(value)

    with whole(path) as aside, open(aside, "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([cell(row[c]) for c in columns] for row in rows)


def read_table(path):
    """A CSV table as a list of dicts of strings."""
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def versions():
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


def stored_settings(out, kind):
    """The settings a folder was made with.

    Raises:
      Refusal: there is no folder, or it is not one of this program's.
    """
    out = Path(out)
    if not out.is_dir():
        raise Refusal(
            f"--out={out}: there is no such folder; it is made without --resume and --redraw"
        )
    try:
        stored = json.loads((out / "config.json").read_text())
        if stored["program"] != kind.__name__:
            raise Refusal(f"--out={out}: made by another program; use another --out")
        return settings.from_json(kind, stored["settings"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Refusal(
            f"--out={out}: its config.json is no run's; use another --out"
        ) from error


class RunFolder:
    """A run folder; its attributes are the places in it."""

    def __init__(self, out):
        self.path = Path(out)
        self.checkpoints = self.path / "checkpoints" / "unfinished"
        self.trained = self.path / "checkpoints" / "trained"
        self.measured = self.path / "measured"
        self.samples = self.path / "samples"
        self.weights = self.path / "weights"
        self.figures = self.path / "figures"

    @classmethod
    def create(cls, out, config, fingerprint):
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
            cls(aside).record_settings(config, fingerprint)
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
    def resume(cls, out, config, fingerprint, redraw=False):
        """An existing folder.

        Raises:
          Refusal: it was made with other settings (`redraw` may change those that decide
            how runs are measured) or from other data, or cannot be written to.
        """
        folder, kind = cls(out), type(config)
        names = settings.names(kind, compared=True, measuring=False if redraw else None)
        differ = settings.differences(config, stored_settings(out, kind), names)
        if differ:
            raise Refusal(
                f"--out={out}: made with other settings ({differ}); use another --out"
            )
        stored = json.loads((folder.path / "config.json").read_text())
        if stored["data_sha256"] != fingerprint:
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
    def open(cls, out, config, fingerprint, *, resume, redraw):
        """A new folder, or with `resume` or `redraw` an existing one, as above."""
        if resume or redraw:
            return cls.resume(out, config, fingerprint, redraw)
        return cls.create(out, config, fingerprint)

    def reopen(self, config, fingerprint):
        """Marks the folder as not finished, and records settings that may have changed."""
        self._last.unlink(missing_ok=True)
        self.record_settings(config, fingerprint)

    def record_settings(self, config, fingerprint):
        """Replaces the settings: `--redraw` may change how runs are measured."""
        write_json(
            self.path / "config.json",
            {
                "program": type(config).__name__,
                "settings": settings.to_json(config),
                "data_sha256": fingerprint,
            },
        )

    @property
    def _last(self):
        """What is written last: once it is there, the folder is whole."""
        return self.path / "report.html"

    @property
    def is_finished(self):
        return self._last.exists()
