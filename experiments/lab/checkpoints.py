"""Half-way states on disk: four functions, with Orbax behind them, and when it is time for one.

Each checkpoint holds the sha256 of its files, as `sha256sum` writes them. Orbax writes aside, the
digests come with it, and then it is renamed: what has a number for a name is whole, or damaged.
"""

import contextlib
import hashlib
import logging
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from experiments.lab.refusals import Refusal, say, why_not_written

_EMPTY = "shape of "
_DIGESTS = "checksums.sha256"
_ASIDE = "saving"
_APART = 10  # times as long as one took it is until the next begins


class Pace:
    """When it is time for a checkpoint: every so often, and no more than a tenth of the time.

    Args:
      interval: seconds from the end of one to the beginning of the next, at least; 0: it is always time.
    """

    def __init__(self, interval: float):
        self._interval, self._apart, self._ended = interval, interval, time.monotonic()

    def is_due(self) -> bool:
        """Whether it is time."""
        return time.monotonic() - self._ended > self._apart

    @contextlib.contextmanager
    def saving(self) -> Iterator[None]:
        """Around the making of one, whose end and duration decide when the next is due."""
        began = time.monotonic()
        yield
        self._ended = time.monotonic()
        if self._interval:
            self._apart = max(self._interval, _APART * (self._ended - began))


def _orbax():
    import orbax.checkpoint  # slow to import, and only runs that last need it

    # What goes wrong is raised, too, and said once.
    logging.getLogger("absl").setLevel(logging.CRITICAL)
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

    Raises:
      Refusal: the system will not have it written. The old one stays.
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
    aside = Path(folder).absolute() / _ASIDE
    with _undisturbed():
        try:
            shutil.rmtree(aside, ignore_errors=True)  # a killed process left it
            _orbax().save(aside, flat)
            (aside / _DIGESTS).write_text(_digests(aside))
            aside.rename(aside.with_name(str(number)))
        except Exception as error:  # Orbax passes on whatever its writers raise
            reason = why_not_written(error)
            if reason is None:
                raise
            raise Refusal(
                f"{folder}: no checkpoint can be written ({reason}); make room, or see to it "
                "that you may write there; then --resume goes on"
            ) from error
        finally:
            for path in Path(folder).glob(f"{_ASIDE}*"):  # Orbax's own aside, too
                shutil.rmtree(path, ignore_errors=True)
        for path in before:
            _remove(path)


def _digests(checkpoint):
    """A line for every file of a checkpoint."""
    lines = []
    for path in sorted(p for p in checkpoint.rglob("*") if p.is_file()):
        name = path.relative_to(checkpoint).as_posix()
        if name != _DIGESTS:
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            lines.append(f"{digest}  {name}\n")
    return "".join(lines)


def _read(checkpoint):
    """What a checkpoint holds, its files checked first.

    Raises:
      Refusal: one is damaged.
    """
    digests = checkpoint / _DIGESTS
    # An older checkpoint has none: Orbax sees some damage itself.
    if digests.exists() and digests.read_bytes() != _digests(checkpoint).encode():
        raise Refusal(f"{checkpoint}: damaged, its bytes are not those of {_DIGESTS}")
    try:
        return _orbax().restore(checkpoint.absolute())
    except Exception as error:  # Orbax passes on whatever its readers raise
        raise Refusal(
            f"{checkpoint}: this checkpoint cannot be read ({type(error).__name__})"
        ) from error


def restore(folder: Path, like: Callable[[str], Any]) -> dict[str, Any]:
    """The newest complete checkpoint that is not damaged: name -> tree.

    One that is damaged is removed, and a line says so: its runs begin again, or from the one
    before it.

    Args:
      folder: where `save` put it.
      like: a function of a name, a tree of its structure (leaves may be shapes).

    Returns:
      name -> tree of numpy arrays; empty if there is no checkpoint.
    """
    for checkpoint in reversed(_complete(folder)):
        try:
            stored = _unpacked(_read(checkpoint))
            trees = {name: _shaped(a, like(name)) for name, a in stored.items()}
        except Refusal as refusal:
            say(f"{refusal}; what it held is trained again")
            _remove(checkpoint)
            continue
        except KeyError as error:
            say(
                f"{checkpoint}: of another version, without {error}; what it held is trained "
                "again"
            )
            _remove(checkpoint)
            continue
        if not (checkpoint / _DIGESTS).exists():
            say(f"{checkpoint}: has no checksums; damage of it would not be seen")
        return trees
    return {}


def _shaped(arrays, like):
    """A tree of the structure of `like`, from the arrays by their places in it."""
    paths, structure = jax.tree_util.tree_flatten_with_path(like)
    leaves = [arrays[jax.tree_util.keystr(path)] for path, _ in paths]
    return jax.tree.unflatten(structure, leaves)


def read_all(folder: Path) -> dict[str, dict[str, np.ndarray]]:
    """The newest complete checkpoint as it was saved, for who has no templates.

    Args:
      folder: where `save` put it.

    Returns:
      name -> {a leaf's `jax.tree_util.keystr`: numpy array}; empty if there is no
      checkpoint.

    Raises:
      Refusal: it is damaged.
    """
    complete = _complete(folder)
    return _unpacked(_read(complete[-1])) if complete else {}


def names(folder: Path) -> tuple[str, ...]:
    """What the newest complete checkpoint holds; nothing where it is damaged."""
    try:
        return tuple(read_all(folder))
    except Refusal:
        return ()


def _unpacked(stored):
    """name -> {key of a leaf: array}, as `save` was given them."""
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
