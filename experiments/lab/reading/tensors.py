"""Named arrays in files and checkpoints that may be anyone's. Nothing is ever unpickled."""

import re
from pathlib import Path
from typing import Any

import numpy as np
from flax import traverse_util

from experiments.lab import checkpoints
from experiments.lab.reading import array_files
from experiments.lab.reading.flaws import Flaw
from experiments.lab.refusals import Refusal
from nets import kernels

_PARAMETER = re.compile(r"(?:\['state'\])?\['params'\](.+)")

# What Orbax passed on when files of checkpoints were changed, cut off and removed at random, and
# what metadata of another shape than it expects would raise.
_CHECKPOINT_RAISES = (
    OSError, ValueError, KeyError, TypeError, AttributeError, NotImplementedError, MemoryError,
)  # fmt: skip


def natural(text: str) -> list[Any]:
    """A key that sorts by the numbers in a text as numbers: fc2 comes before fc10."""
    parts = re.split(r"(\d+)", str(text))
    return [int(part) if index % 2 else part for index, part in enumerate(parts)]


def contents(path: str | Path) -> dict[str, dict[str, np.ndarray]]:
    """The networks at a path: name -> {name of a tensor: array}."""
    return _checkpoint(path) if path.is_dir() else {path.stem: _tensors(path)}


def _checkpoint(folder):
    """The runs of one of our checkpoints, named as they are in a run folder."""
    try:
        stored = checkpoints.read_all(folder)
        runs = {run: _final(stored[run]) for run in sorted(stored, key=natural)}
    except Refusal as refusal:
        raise Refusal(
            f"{refusal}; give a folder that one of our programs wrote, or files"
        ) from refusal
    except _CHECKPOINT_RAISES as error:
        raise Refusal(
            f"{folder}: its checkpoint cannot be read ({type(error).__name__}); give a "
            "folder that one of our programs wrote, or files"
        ) from error
    if not runs:
        kept = folder / "weights"
        files = kept if next(kept.glob("*.safetensors"), None) else folder
        raise Refusal(
            f"{folder}: a folder without a checkpoint in it; give files, e.g. "
            f"{files}/*.safetensors, or a run folder's checkpoints/unfinished"
        )
    return runs


def _final(leaves):
    """The parameters among the leaves of a state: {"final/0/kernel": ..., ...}."""
    params = {
        tuple(re.findall(r"\['(.+?)'\]", match[1])): array
        for key, array in leaves.items()
        if (match := _PARAMETER.fullmatch(key))
    }
    arrays = kernels.to_arrays(traverse_util.unflatten_dict(params))
    return {f"final/{name}": array for name, array in arrays.items()}


def _tensors(path):
    """The arrays in a `.safetensors` or `.npz` file, told apart by how they begin."""
    try:
        return array_files.read(path)
    except Flaw as flaw:
        if array_files.PICKLED not in str(flaw):
            flaw = f"corrupt, truncated or something else: {flaw}"
        raise Refusal(
            f"{path}: not a safetensors or npz file of plain arrays ({flaw}); write "
            "one by safetensors.torch.save_file(model.state_dict(), 'net.safetensors')"
        ) from None
