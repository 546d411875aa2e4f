"""Whole commands, from the shell to the last file, as `experiments.tools.benchmark` times them."""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np

import bounds
from experiments.lab import formats
from nets import kernels

ROOT = Path(__file__).parents[2]
# What `evaluate` cannot do without: packages, the devices, and all bounds.
_IMPORTS = """
import jax

jax.devices()
import matplotlib.figure

from experiments.evaluate import study
"""
_TORCH = "from experiments.tools.baselines import torch_command; torch_command({!r})"


def write(folder: Path, networks: Sequence[bounds.Network]) -> None:
    """Writes networks, with their initial weights, as `<i>.safetensors`, and their training set as `data.npz`."""
    sample = networks[0].sample
    np.savez(folder / "data.npz", x=sample.inputs, y=sample.labels)
    for place, network in enumerate(networks):
        trees = {"init": network.init, "final": network.params}
        arrays = {
            f"{when}/{name}": np.asarray(array)
            for when, params in trees.items()
            for name, array in kernels.to_arrays(params).items()
        }
        formats.write_tensors(folder / f"{place}.safetensors", arrays)


def evaluate(folder: Path, names: Sequence[str], cache: Path) -> float:
    """Seconds of `evaluate` on what `write` wrote, on as many devices as this process has.

    Args:
      folder: of `write`.
      names: of bounds.
      cache: where compiled programs are kept.
    """
    out = folder / f"evaluated{len(list(folder.glob('evaluated*')))}"
    return _seconds(
        ["-m", "experiments.evaluate", f"--weights={folder}/*.safetensors", f"--data={folder}/data.npz",
         f"--bounds={','.join(names)}", f"--out={out}", f"--devices={jax.device_count()}"],
        {"XDG_CACHE_HOME": str(cache)},
    )  # fmt: skip


def imports() -> float:
    """Seconds of a command that imports what `evaluate` needs, and does nothing."""
    return _seconds(["-c", _IMPORTS])


def torch(folder: Path) -> float:
    """Seconds of a script that computes the 34 measures in PyTorch, of what `write` wrote."""
    return _seconds(["-c", _TORCH.format(str(folder))])


def _seconds(arguments, also=None):
    # Where programs are kept, and whether, is decided here.
    elsewhere = {"JAX_COMPILATION_CACHE_DIR", "JAX_ENABLE_COMPILATION_CACHE"}
    own = {k: v for k, v in os.environ.items() if k not in elsewhere}
    began = time.perf_counter()
    subprocess.run(
        [sys.executable, *arguments], check=True, cwd=ROOT, env=own | (also or {}),
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    return time.perf_counter() - began
