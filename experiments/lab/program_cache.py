"""Compiled programs are kept for the next command: half of a short job is compilation.

They lie in the user's cache folder, apart for each kind of processor (a home may be shared by
machines that differ) and version of JAX, with a limit on what they take; several processes may use
them at once. JAX finds a program by what it says, so nothing that is run can be out of date. What cannot
be read is compiled again; what a killed process has left half-written is removed when the next
command begins, and until then those under way keep nothing.
"""

import hashlib
import os
import platform
import warnings
from collections.abc import Callable
from pathlib import Path

import filelock

from experiments.lab import locks
from experiments.lab.later import later

whole_programs = later("experiments.lab.whole_programs")

LIMIT = 2 * 2**30  # bytes of one folder; what was not used for longest goes first
LEAST_SECONDS = 0.1  # what compiles faster is not worth a file
_KEPT, _USED = "-cache", "-atime"  # JAX's: a program, and when it was last used
_HITS = "/jax/compilation_cache/cache_hits"
_MISSES = "/jax/compilation_cache/cache_misses"
_READING = "/jax/compilation_cache/cache_retrieval_time_sec"
_COMPILING = "/jax/core/compile/backend_compile_duration"


def folder() -> Path:
    """Where programs of this machine and version are kept."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "generalization-testbed" / _kind_of_machine()


def _kind_of_machine():
    """Of the processor's features, and JAX's version: a program may use what another lacks."""
    import jaxlib  # takes long

    found = [platform.machine(), platform.processor(), jaxlib.__version__]
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        found += sorted(
            {x for x in lines if x.startswith(("flags", "Features", "model name"))}
        )
    except OSError:
        pass
    return hashlib.sha256("\n".join(found).encode()).hexdigest()[:16]


def keep() -> Callable[[], str]:
    """From now on compiled programs are kept, unless a folder was said already.

    `JAX_COMPILATION_CACHE_DIR` says another one, `JAX_ENABLE_COMPILATION_CACHE=false` that there
    be none. A folder that cannot be written is no fault: then nothing is kept.

    Returns:
      A function that tells how many programs were compiled, and how many were there.
    """
    import jax  # takes long

    told = _Counts()
    jax.monitoring.register_event_listener(told.event)
    jax.monitoring.register_event_duration_secs_listener(told.duration)
    where = None
    if jax.config.jax_enable_compilation_cache:
        where = jax.config.jax_compilation_cache_dir
        if where is None and (where := _prepared()) is not None:
            whole_programs.keep(where / "whole")
            jax.config.update("jax_compilation_cache_dir", str(where))
            jax.config.update("jax_compilation_cache_max_size", LIMIT)
            jax.config.update(
                "jax_persistent_cache_min_compile_time_secs", LEAST_SECONDS
            )
    # A program that cannot be read or written is compiled, and nobody need know.
    warnings.filterwarnings("ignore", "Error (reading|writing) persistent compilation")
    return lambda: told.line(where)


def _prepared():
    """The folder, without what a process that was killed has left half-written; None: there is none."""
    where = folder()
    try:
        where.mkdir(parents=True, exist_ok=True)
        with locks.lock_on(where / ".lockfile", timeout=5):
            names = {path.name for path in where.iterdir()}
            for name in names:
                whole, ending = name[:-6], name[-6:]
                if (
                    ending in (_KEPT, _USED)
                    and not {whole + _KEPT, whole + _USED} <= names
                ):
                    (where / name).unlink(missing_ok=True)
    except (OSError, RuntimeError, filelock.Timeout):  # RuntimeError: there is no home
        return None
    return where


class _Counts:
    """What JAX says of its programs."""

    def __init__(self):
        self.events = {_HITS: 0, _MISSES: 0}
        self.seconds = {_READING: 0.0, _COMPILING: 0.0}

    def event(self, name: str, **_: str) -> None:
        if name in self.events:
            self.events[name] += 1

    def duration(self, name: str, seconds: float, **_: str) -> None:
        if name in self.seconds:
            self.seconds[name] += seconds

    def line(self, where: str | Path | None) -> str:
        read = self.seconds[_READING]
        if where is None:
            return f"Compiling took {self.seconds[_COMPILING]:.1f} s; no folder keeps programs."
        return (
            f"Programs: {self.events[_HITS]} were kept ({read:.1f} s to read; "
            f"{whole_programs.found()} not even traced), "
            f"{self.events[_MISSES]} were compiled to be kept ({self.seconds[_COMPILING] - read:.1f} s of "
            f"compiling in all), in {where}."
        )
