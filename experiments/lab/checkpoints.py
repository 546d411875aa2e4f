"""Half-way states on disk: four functions, with Orbax behind them."""

import contextlib
import logging
import shutil
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

_EMPTY = "shape of "


def _orbax():
    import orbax.checkpoint  # slow to import, and only runs that last need it

    logging.getLogger("absl").setLevel(logging.ERROR)
    return orbax.checkpoint.PyTreeCheckpointer()


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """SIGINT and SIGTERM wait until the block is over: Orbax's threads do not stop half-way."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    stops = signal.SIGINT, signal.SIGTERM
    before = [signal.signal(s, lambda number, _: came.append(number)) for s in stops]
    try:
        yield
    finally:
        for number, handler in zip(stops, before, strict=True):
            signal.signal(number, handler)
        for number in came[:1]:
            signal.raise_signal(number)


def _complete(folder):
    """The finished checkpoints of a folder, newest last."""
    found = [path for path in Path(folder).glob("*") if path.name.isdigit()]
    return sorted(found, key=lambda path: int(path.name))


def _remove(checkpoint):
    shutil.rmtree(checkpoint.rename(checkpoint.with_name(f"old-{checkpoint.name}")))


def _storable(name, array):
    """Orbax stores no empty arrays: of such a float32 array the shape is stored."""
    return (name, array) if array.size else (f"{_EMPTY}{name}", np.asarray(array.shape))


def _stored(arrays, name):
    if name in arrays:
        return np.asarray(arrays[name])
    return np.zeros(np.asarray(arrays[f"{_EMPTY}{name}"]), np.float32)


def save(folder: Path, trees: Mapping[str, Any]) -> None:
    """Replaces the checkpoint in a folder; a kill at any moment leaves the old or the new.

    Args:
      folder: its own; made if missing.
      trees: name -> tree of arrays.
    """
    flat = {
        name: dict(
            _storable(jax.tree_util.keystr(path), np.asarray(leaf))
            for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
        )
        for name, tree in trees.items()
    }
    before = _complete(folder)
    number = int(before[-1].name) + 1 if before else 0
    with _undisturbed():
        _orbax().save(Path(folder).absolute() / str(number), flat)
        for path in before:
            _remove(path)


def restore(folder: Path, like: Callable[[str], Any]) -> dict[str, Any]:
    """The newest complete checkpoint: name -> tree.

    Args:
      folder: where `save` put it.
      like: a function of a name, a tree of its structure (leaves may be shapes).

    Returns:
      name -> tree of numpy arrays; empty if there is no checkpoint.
    """
    trees = {}
    for name, arrays in read_all(folder).items():
        paths, structure = jax.tree_util.tree_flatten_with_path(like(name))
        leaves = [arrays[jax.tree_util.keystr(path)] for path, _ in paths]
        trees[name] = jax.tree.unflatten(structure, leaves)
    return trees


def read_all(folder: Path) -> dict[str, dict[str, np.ndarray]]:
    """The newest complete checkpoint as it was saved, for who has no templates.

    Args:
      folder: where `save` put it.

    Returns:
      name -> {a leaf's `jax.tree_util.keystr`: numpy array}; empty if there is no
      checkpoint.
    """
    complete = _complete(folder)
    if not complete:
        return {}
    stored = _orbax().restore(complete[-1].absolute())
    trees = {}
    for name, arrays in stored.items():
        keys = [key.removeprefix(_EMPTY) for key in arrays]
        trees[name] = {key: _stored(arrays, key) for key in keys}
    return trees


def clear(folder: Path) -> None:
    """Removes a folder of checkpoints; a kill on the way leaves none that looks whole."""
    for path in _complete(folder):
        _remove(path)
    shutil.rmtree(folder, ignore_errors=True)
