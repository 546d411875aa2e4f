"""What produced the numbers: commit, code, packages, device."""

import functools
import hashlib
import importlib.metadata
import os
import platform
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from experiments.lab.later import later

jax = later("jax")

_ROOT = Path(__file__).parents[2]
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


@functools.cache
def versions() -> Mapping[str, Any]:
    """What produces the numbers: commit, source code, packages, device.

    As they were when first asked for: files that change under a long run change nothing of it.
    """

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

    device = jax.local_devices()[0]
    return {
        "commit": git("rev-parse", "HEAD"),
        "uncommitted_changes": None if changes is None else bool(changes),
        "source_sha256": source_digest(),
        "python": platform.python_version(),
        "packages": {name: importlib.metadata.version(name) for name in PACKAGES},
        "device": f"{jax.local_device_count()} x {device.device_kind} ({device.platform})",
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
    }


def source_digest() -> str:
    """A digest of the code: it tells versions apart that no commit does."""
    digest = hashlib.sha256()
    for path in sources():
        digest.update(path.relative_to(_ROOT).as_posix().encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def sources() -> list[Path]:
    """The files of our code, room by room."""
    rooms = ("nets", "bounds", "experiments")
    return [path for room in rooms for path in sorted((_ROOT / room).rglob("*.py"))]


def changes_between(
    before: Mapping[str, Any], now: Mapping[str, Any], than: str = "before"
) -> str:
    """One line on what of two `versions` can change numbers, or ''; `than` names the first."""

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
    return ", ".join(f"{n} {new[n]} ({than}: {old[n]})" for n in differ)
