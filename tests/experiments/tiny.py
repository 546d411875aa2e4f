"""A run small enough for tests, and how to run it: by `run` and by `python -m`."""

import atexit
import base64
import contextlib
import dataclasses
import functools
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import types
from pathlib import Path

import jax
import pytest

from experiments.bounds_vs_samples import PROGRAM
from experiments.lab import (
    calls,
    figures,
    formats,
    measuring,
    measuring_programs,
    program_flags,
    whole_programs,
)
from experiments.lab import running as lab
from nets.runs import make_layout

ROOT = Path(__file__).parents[2]
TINY = dataclasses.replace(
    calls.settings_of(PROGRAM, "hypersphere", "demo"),
    dim=10,
    radii=(1.0, 2.0),
    width=30,
    n_test=500,
    sizes=(32, 64),
    seeds=2,
    margin=1.0,
    threshold=0.1,
    save_weights=True,
)
TINY_FLAGS = [
    "--dim=10", "--radii=1,2", "--width=30", "--n_test=500", "--sizes=32,64", "--seeds=2",
    "--margin=1", "--threshold=0.1", "--save_weights",
]  # fmt: skip
CACHE = {
    "JAX_COMPILATION_CACHE_DIR": str(ROOT / ".jax_cache"),
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.2",
}
# A picture of one point.
EMPTY = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNkYAAAAAYAAjCB0C8AAAAASUVORK5CYII="
)
TABLES = ("results", "epochs", "layers", "bounds")


def run(config, out, program=PROGRAM, **options):
    """A program, as its command runs it, on two devices."""
    layout = make_layout(jax.devices()[:2])
    return lab.run(program, config, out, **{"layout": layout} | options)


@contextlib.contextmanager
def undrawn():
    """Figures are painted but not rendered: that was half of the time of a small run."""

    def save(self, figure, painted):
        painted |= dict.fromkeys(self._formats, EMPTY)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(figures.Drawing, "save", save)
        yield


class AtOnce:
    """A thread that is over when it has been started."""

    def __init__(self, target, args=(), daemon=None):
        self.start = functools.partial(target, *args)


def programs_of_bounds(patch):
    """What programs of bounds are made for, by the function that asks for them, as they are asked for."""
    own, asked = {}, {}

    def noted(name):
        own[name], asked[name] = getattr(whole_programs, name), []

        def ask(function, args, static, options):
            what = [(a.shape, a.dtype, a.sharding) for a in jax.tree.leaves(args)]
            asked[name].append((static, jax.tree.structure(args), what))
            return own[name](function, args, static, options)

        return ask

    measuring_programs.program.cache_clear()  # else nothing is compiled
    patch.setattr(measuring.threading, "Thread", AtOnce)
    for name in ("call", "compile_for_call"):
        patch.setattr(whole_programs, name, noted(name))
    return asked


def read(folder, table):
    return formats.read_table(Path(folder) / f"{table}.csv")


def content(folder):
    """All tables, but for the seconds."""
    return {
        name: [
            {k: v for k, v in row.items() if k != "seconds"}
            for row in read(folder, name)
        ]
        for name in TABLES
    }


class Started:
    """A program as if started from the shell, by a process that has imported JAX already."""

    def __init__(self, module, flags, drawn):
        self._place = tempfile.TemporaryDirectory()
        self._said = [str(Path(self._place.name) / name) for name in ("out", "err")]
        self.returncode = None
        picture = None if drawn else base64.b64encode(EMPTY).decode()
        self.pid = _ask({"run": [module, flags, *self._said, picture]})

    def poll(self):
        if self.returncode is None:
            self.returncode = _ask({"poll": self.pid})
        return self.returncode

    def send_signal(self, number):
        if self.poll() is None:
            os.kill(self.pid, number)

    def wait(self, timeout):
        end = time.monotonic() + timeout
        while self.poll() is None:
            if time.monotonic() > end:
                self.send_signal(signal.SIGKILL)
                raise TimeoutError(f"{timeout} s are over")
            time.sleep(0.02)

    def said(self):
        found = [Path(path).read_text() for path in self._said]
        self._place.cleanup()
        return found


@functools.cache
def _warm():
    warm = subprocess.Popen(
        [sys.executable, "-m", "tests.experiments.warm"], cwd=ROOT, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=os.environ | CACHE,
    )  # fmt: skip
    atexit.register(warm.communicate)  # it ends when nobody asks any more
    return warm


def _ask(what):
    warm = _warm()
    print(json.dumps(what), file=warm.stdin, flush=True)
    return json.loads(warm.stdout.readline())


def program(*flags, name="bounds_vs_samples", drawn=False):
    """A program, started with the flags of a command line; its figures are rendered if `drawn`."""
    return Started(f"experiments.{name}", list(flags), drawn)


def finish(process):
    """Exit code, stdout and stderr of a program, when it has ended."""
    process.wait(300)
    return process.returncode, *process.said()


def flags_of_call(**typed):
    """The flags of a call as if they had been parsed: its defaults, and what was typed."""
    values = {f.name: f.default for f in dataclasses.fields(program_flags.Call)}
    return types.SimpleNamespace(**values | typed)
