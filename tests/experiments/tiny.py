"""A run small enough for tests, and how to run it: by `run` and by `python -m`."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import jax

from experiments.bounds_vs_samples import PROGRAM
from experiments.lab import calls, formats
from experiments.lab import program as lab
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
TABLES = ("results", "epochs", "layers", "bounds")


def run(config, out, program=PROGRAM, **options):
    """A program, as its command runs it, on two devices."""
    layout = make_layout(jax.devices()[:2])
    return lab.run(program, config, out, **{"layout": layout} | options)


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


def program(*flags, name="bounds_vs_samples", **options):
    """A program, started from the shell."""
    command = [sys.executable, "-m", f"experiments.{name}", *flags]
    return subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=os.environ | CACHE, **options,
    )  # fmt: skip


def finish(process):
    with process:
        try:
            out, err = process.communicate(timeout=300)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    return process.returncode, out, err
