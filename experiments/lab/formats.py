"""The formats of files that are written and read back: JSON, arrays, tensors, tables."""

import contextlib
import csv
import functools
import io
import json
import math
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy

from experiments.lab import versions
from experiments.lab.checksums import intact, root_of, whole
from experiments.lab.reading import memory
from experiments.lab.reading.flaws import Flaw
from experiments.lab.refusals import Refusal

# What made an array file, in the file itself: it goes with it wherever it is copied.
_MADE_WITH = "made_with"
# What we write packs up to elevenfold; more than this, above that size, is made to fill the memory.
_MOST_PACKED, _SMALL = 200, 2**28


@contextlib.contextmanager
def _parsing(path):
    """One line on bytes that are none of the kind: in older folders nothing else is seen."""
    try:
        yield
    except Flaw as flaw:
        raise Refusal(
            f"{path}: {flaw}; delete it and --resume makes it again"
        ) from flaw
    except Exception as error:  # readers of broken zips and JSON raise what they like
        raise Refusal(
            f"{path}: cannot be read ({type(error).__name__}); delete it and --resume "
            "makes it again"
        ) from error


def write_json(path: Path, value: Any) -> None:
    """A file of JSON; what is no finite number is a string there ("inf", "nan")."""
    with whole(path) as aside:
        text = json.dumps(_jsonable(value), indent=2, allow_nan=False)
        aside.write_text(text + "\n")


def _jsonable(value):
    if isinstance(value, Mapping):
        return {name: _jsonable(v) for name, v in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_jsonable(v) for v in value]
    if isinstance(value, float) and not np.isfinite(value):
        return str(value)
    return value


def read_json(path: Path) -> Any:
    """The inverse of `write_json`."""
    unread = {"inf": float("inf"), "-inf": -float("inf"), "nan": float("nan")}

    def revived(value):
        if isinstance(value, dict):
            return {name: revived(v) for name, v in value.items()}
        if isinstance(value, list):
            return [revived(v) for v in value]
        return unread.get(value, value) if isinstance(value, str) else value

    raw = intact(path)
    with _parsing(path):
        return revived(json.loads(raw))


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """A flat dict of arrays as a compressed `.npz`; in a run folder with what made it."""
    made = {_MADE_WITH: np.array(_made_here())} if root_of(path) else {}
    content = io.BytesIO()
    np.savez_compressed(content, **arrays, **made)
    with whole(path) as aside:
        # No view of the buffer: where writing fails the traceback would keep it, and the garbage
        # collector of Python 3.12 then crashes.
        aside.write_bytes(content.getvalue())


def read_arrays(
    path: Path, wanted: Callable[[str], bool] = lambda name: True
) -> dict[str, np.ndarray]:
    """The inverse of `write_arrays`.

    Args:
      path: of the file.
      wanted: name of an array -> whether it is asked for; others are not unpacked.

    Raises:
      Damaged: it is not as it was written.
      Refusal: it is no `.npz`.
    """
    raw = intact(path)
    with _parsing(path), zipfile.ZipFile(io.BytesIO(raw)) as archive:
        _refuse_too_large(archive)
        members = {name.removesuffix(".npy"): name for name in archive.namelist()}
        members.pop(_MADE_WITH, None)
        names = filter(wanted, members)
        return {name: _array(archive.read(members[name])) for name in names}


def _array(raw):
    """The array of an `.npy`. Files have hundreds of a few numbers: alike headers are parsed once."""
    # Behind the magic string and two bytes of the version (2.0 is for headers above 64 kB, of records).
    begins = len(np.lib.format.magic(1, 0)) + 2
    ends = begins + int.from_bytes(raw[begins - 2 : begins], "little")
    shape, is_fortran, dtype = _header(raw[:ends])
    numbers = np.frombuffer(raw, dtype, math.prod(shape), ends)  # refuses objects
    return numbers.reshape(shape, order="F" if is_fortran else "C").copy()


@functools.lru_cache(maxsize=256)
def _header(raw):
    """What an `.npy` begins with: (shape, whether in Fortran's order, dtype)."""
    file = io.BytesIO(raw)
    if np.lib.format.read_magic(file) != (1, 0):
        raise Flaw("its arrays are not as ours are written")
    return np.lib.format.read_array_header_1_0(file)


def _refuse_too_large(archive):
    """Raises a `Flaw` if a received archive would unpack to more than its kind ever does."""
    size = sum(entry.file_size for entry in archive.infolist())
    if size <= _SMALL:
        return
    memory.check("its arrays", size)
    packed = sum(entry.compress_size for entry in archive.infolist())
    if size > _MOST_PACKED * packed:
        raise Flaw(f"unpacks from {packed} to {size} bytes, as no file of ours does")


def write_tensors(
    path: Path, arrays: Mapping[str, np.ndarray], notes: Mapping[str, str] | None = None
) -> None:
    """A flat dict of arrays as `.safetensors`; in a run folder with what made it.

    Args:
      path: of the file.
      arrays: by name.
      notes: more of its metadata.
    """
    made = {_MADE_WITH: _made_here()} if root_of(path) else {}
    made = made | dict(notes or {}) or None
    with whole(path) as aside:
        contiguous = {name: np.asarray(a, order="C") for name, a in arrays.items()}
        aside.write_bytes(safetensors.numpy.save(contiguous, made))


def read_tensors(path: Path) -> dict[str, np.ndarray]:
    """The inverse of `write_tensors`.

    Raises:
      Damaged: it is not as it was written.
      Refusal: it is no `.safetensors`.
    """
    raw = intact(path)
    with _parsing(path):
        return safetensors.numpy.load(raw)


def made_with(path: Path) -> dict[str, Any] | None:
    """The `versions` that made a file of arrays; None where it does not say."""
    raw = intact(path)
    with _parsing(path):
        if raw.startswith(b"PK"):
            with np.load(io.BytesIO(raw), allow_pickle=False) as file:
                text = str(file[_MADE_WITH]) if _MADE_WITH in file.files else None
        else:
            head = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])
            text = head.get("__metadata__", {}).get(_MADE_WITH)
        return None if text is None else json.loads(text)


@functools.cache
def _made_here():
    return json.dumps(versions.versions())


def write_table(
    path: Path, columns: Sequence[str], rows: Sequence[Mapping[str, Any]]
) -> None:
    """Rows as CSV; what a row lacks, or is None, is an empty cell."""

    def cell(value):
        if value is None:
            return ""
        if isinstance(value, (bool, np.bool_)):
            return str(bool(value)).lower()
        if isinstance(value, (float, np.floating)):
            return repr(float(value))
        return str(value)

    with whole(path) as aside, open(aside, "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([cell(row.get(c)) for c in columns] for row in rows)


def read_table(path: Path) -> list[dict[str, str]]:
    """A CSV table as a list of dicts of strings."""
    text = intact(path).decode()
    return list(csv.DictReader(io.StringIO(text, newline="")))
