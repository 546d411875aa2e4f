"""Named arrays in files and checkpoints that may be anyone's. Nothing is ever unpickled."""

import io
import json
import re
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import safetensors
from flax import traverse_util

from experiments.lab import checkpoints
from experiments.lab.refusals import Refusal
from nets import kernels

_PARAMETER = re.compile(r"(?:\['state'\])?\['params'\](.+)")
_PICKLES = {".pt", ".pth", ".pkl", ".pickle", ".bin", ".ckpt"}
# What safetensors calls types; all others are floats of eight bits or fewer.
_SAFETENSORS = {
    "F16": "f2", "BF16": jnp.bfloat16, "F32": "f4", "F64": "f8", "C64": "c8",
    "I8": "i1", "I16": "i2", "I32": "i4", "I64": "i8", "BOOL": "?",
    "U8": "u1", "U16": "u2", "U32": "u4", "U64": "u8",
}  # fmt: skip


def natural(text: str) -> list[Any]:
    """A key that sorts by the numbers in a text as numbers: fc2 comes before fc10."""
    parts = re.split(r"(\d+)", str(text))
    return [int(part) if index % 2 else part for index, part in enumerate(parts)]


def contents(path: str | Path) -> dict[str, dict[str, np.ndarray]]:
    """The networks at a path: name -> {name of a tensor: array}."""
    return _checkpoint(path) if path.is_dir() else {path.stem: _tensors(path)}


def _checkpoint(folder):
    """The runs of one of our checkpoints, named as `experiments.sweep` names them."""
    try:
        stored = checkpoints.read_all(folder)
        runs = {run: _final(stored[run]) for run in sorted(stored, key=natural)}
    except Exception as error:  # Orbax passes on whatever its readers raise
        raise Refusal(
            f"{folder}: its checkpoint cannot be read ({type(error).__name__}); give a "
            "folder that `experiments.checkpoints` wrote, or files"
        ) from error
    if not runs:
        raise Refusal(
            f"{folder}: a folder without a checkpoint in it; give files, e.g. "
            f"{folder}/*.safetensors, or a run folder's checkpoints/unfinished"
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
        raw = path.read_bytes()
    except OSError as error:
        raise Refusal(
            f"{path}: cannot be read ({error.strerror}); give a file that you may read"
        ) from error
    try:
        return _from_npz(raw) if raw.startswith(b"PK") else _from_safetensors(path, raw)
    except Exception as error:  # a file may be broken in any way
        pickled = path.suffix in _PICKLES or raw.startswith(b"\x80")
        if pickled or "allow_pickle" in str(error):
            reason = "a pickle, which is never opened"
        else:
            reason = "corrupt, truncated or something else"
        raise Refusal(
            f"{path}: not a safetensors or npz file of plain arrays ({reason}); write "
            "one by safetensors.torch.save_file(model.state_dict(), 'net.safetensors')"
        ) from error


def _from_npz(raw):
    with np.load(io.BytesIO(raw), allow_pickle=False) as file:
        arrays = dict(file)
    if not all(isinstance(array, np.ndarray) for array in arrays.values()):
        raise ValueError("a zip file of something else")
    return arrays


def _from_safetensors(path, raw):
    """Arrays that stay in the file until they are looked at: there may be many files."""
    arrays, start = {}, 8 + int.from_bytes(raw[:8], "little")
    safetensors.deserialize(raw)  # raises if anything is wrong with it
    for name, stored in json.loads(raw[8:start]).items():
        if name == "__metadata__":
            continue
        kind = np.dtype(_SAFETENSORS.get(stored["dtype"], "V1"))
        shape, offset = tuple(stored["shape"]), start + stored["data_offsets"][0]
        if 0 in shape:
            arrays[name] = np.zeros(shape, kind)
        else:
            arrays[name] = np.memmap(path, kind, "r", offset, shape)
    return arrays
