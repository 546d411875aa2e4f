"""Arrays in `.npz`, `.npy`, `.safetensors` and text files that may be anyone's.

Nothing is unpickled, and what a header says is held against the file and the memory there is
before any memory is taken. Formats: numpy.lib.format; https://github.com/huggingface/safetensors.
"""

import ast
import json
import math
import re
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import jax.numpy as jnp
import numpy as np

from experiments.lab import checksums
from experiments.lab.reading import memory
from experiments.lab.reading.flaws import Flaw, shown, told

PICKLED = "a pickle, which is never opened"
_PICKLES = {".pt", ".pth", ".pkl", ".pickle", ".bin", ".ckpt"}
_CHUNK = 2**20
_MOST_DIMENSIONS = 32
_LARGEST = 2**62  # bytes of an array, beyond which NumPy's sizes overflow

_NPY = b"\x93NUMPY"
# version -> (how the length of the header is stored, how the header is)
_VERSIONS = {1: ("<H", "latin1"), 2: ("<I", "latin1"), 3: ("<I", "utf8")}
_LONGEST_HEADER = 10_000
_PLAIN = re.compile(r"[<>|=]?(b1|[iu][1248]|f[248]|c(8|16)|[SU][1-9]\d{0,6})")
_COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
DEFLATED = 1032  # times what it is stored in, and no more, can deflated data be

# What safetensors calls types. Eight-bit floats are read to be called by their names.
_SAFETENSORS = {
    "F16": "<f2", "BF16": jnp.bfloat16, "F32": "<f4", "F64": "<f8", "C64": "<c8",
    "F8_E4M3": jnp.float8_e4m3fn, "F8_E5M2": jnp.float8_e5m2,
    "I8": "i1", "I16": "<i2", "I32": "<i4", "I64": "<i8", "BOOL": "?",
    "U8": "u1", "U16": "<u2", "U32": "<u4", "U64": "<u8",
}  # fmt: skip
_LONGEST_JSON = 100_000_000  # the format's own limit
_ENTRY = {"dtype", "shape", "data_offsets"}
_TENSOR = re.compile(r"(.+[./])?(weight|kernel|bias|w|b)(_?\d+)?", re.IGNORECASE)

_COMMENT = re.compile(r"#.*")
_WHOLE = re.compile(r"[+-]?\d{1,18}")


def read(path: str | Path, only: str = "") -> dict[str, np.ndarray]:
    """The arrays in a file, whose format is told by how it begins.

    Args:
      path: of an `.npz` (begins with PK), an `.npy`, or else a safetensors file.
      only: what the array of an `.npy`, which has no name, is called; '' allows none.

    Returns:
      name -> array. Those of a safetensors file stay in it until they are looked at: there may
      be many files.

    Raises:
      Flaw: it cannot be read, or is not what it says.
      Damaged: it lies in a run folder, and is not as it was written there.
    """
    path = Path(path)
    with told():
        _check_file(path)
        with path.open("rb") as file:
            begins = file.read(9)
        if begins.startswith(b"PK"):
            return _of_zip(path)
        if begins.startswith(_NPY) and only:
            size = path.stat().st_size
            memory.check("its array", 2 * size)
            with path.open("rb") as file:
                return {only: _of_npy(file, size)}
        if (
            begins[8:] == b"{"
        ):  # behind the length of the header, whatever byte it begins with
            return _of_safetensors(path)
        if begins.startswith(b"\x80") or path.suffix in _PICKLES:
            raise Flaw(PICKLED)
        raise Flaw("it begins as no file of arrays does")


def read_numbers(path: str | Path) -> np.ndarray:
    """The whole numbers in a text file, in one line or one a line, as int64 `[n]`.

    In a `.csv` commas are between them.

    Raises:
      Flaw: it cannot be read, or holds something else.
      Damaged: as for `read`.
    """
    path = Path(path)
    with told():
        _check_file(path)
        memory.check("its numbers", 100 * path.stat().st_size)
        text = path.read_bytes().decode("ascii")
        if path.suffix == ".csv":
            text = text.replace(",", " ")
        rows = [_COMMENT.sub("", line).split() for line in text.splitlines()]
        rows = [row for row in rows if row]
        words = [word for row in rows for word in row]
        for word in words:
            if not _WHOLE.fullmatch(word):
                raise Flaw(f"{shown(word)} is no whole number of up to 18 digits")
        if len(rows) != 1 and len(words) != len(rows):
            raise Flaw("must be whole numbers in one row, or one a line")
        return np.array([int(word) for word in words], np.int64)


def _check_file(path):
    """A pipe or a folder is never opened; one of a run folder's is as it was written."""
    if path.exists() and not path.is_file():
        raise Flaw("no regular file")
    checksums.check(path)


# NumPy's formats.


def _of_zip(path):
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        _check_members(members)
        arrays = {}
        for member in members:
            name = member.filename.removesuffix(".npy")
            try:
                with archive.open(member) as file:
                    arrays[name] = _of_npy(file, member.file_size)
            except Flaw as flaw:
                raise Flaw(f"{shown(name)}: {flaw}") from flaw
    return arrays


def _check_members(members):
    names, seen = [member.filename for member in members], set()
    if any(name.endswith(".pkl") for name in names):
        raise Flaw(PICKLED)
    for member in members:
        name = shown(member.filename)
        _check_name(member.filename)
        if not member.filename.endswith(".npy"):
            raise Flaw(f"a zip file of something else, such as {name}")
        if member.filename in seen:
            raise Flaw(f"{name} is in it twice")
        seen.add(member.filename)
        if member.flag_bits & 1:
            raise Flaw(f"{name} is encrypted")
        if member.compress_type not in _COMPRESSIONS:
            raise Flaw(f"{name} is compressed in a way that NumPy does not write")
        if member.file_size > member.compress_size * DEFLATED:
            raise Flaw(
                f"{name} is said to have {member.file_size} bytes, which {member.compress_size} "
                "cannot hold"
            )
    memory.check("its arrays", 2 * sum(member.file_size for member in members))


def _of_npy(file: BinaryIO, size: int) -> np.ndarray:
    """The array in a stream of `size` bytes, all of which it must take."""
    kind, shape, in_fortran, start = _npy_header(file)
    count = math.prod(shape)
    if math.prod(max(n, 1) for n in shape) * kind.itemsize > _LARGEST:
        raise Flaw(f"its header says {list(shape)}, which is more than can be")
    if start + count * kind.itemsize != size:
        raise Flaw(
            f"its header says {list(shape)} of {kind.itemsize} bytes each, it holds {size - start}"
        )
    raw, done = np.empty(count * kind.itemsize, np.uint8), 0
    while chunk := file.read(_CHUNK):
        raw[done : done + len(chunk)] = np.frombuffer(chunk, np.uint8)
        done += len(chunk)
    if done < len(raw):
        raise Flaw("it ends early")
    return raw.view(kind).reshape(shape, order="F" if in_fortran else "C")


def _npy_header(file):
    """(type, shape, whether the first index runs fastest, bytes up to the numbers)."""
    begins = file.read(8)
    if len(begins) < 8 or not begins.startswith(_NPY) or begins[6] not in _VERSIONS:
        raise Flaw("no array of NumPy's format")
    code, encoding = _VERSIONS[begins[6]]
    width = struct.calcsize(code)
    (length,) = struct.unpack(code, file.read(width))
    if length > _LONGEST_HEADER:
        raise Flaw(f"a header of {length} bytes")
    raw = file.read(length)
    if len(raw) < length:
        raise Flaw("it ends early")
    try:
        header = ast.literal_eval(raw.decode(encoding).strip())
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError) as error:
        raise Flaw("its header is corrupt") from error
    if not isinstance(header, dict) or set(header) != {
        "descr",
        "shape",
        "fortran_order",
    }:
        raise Flaw("its header is corrupt")
    kind, shape, in_fortran = (header[k] for k in ("descr", "shape", "fortran_order"))
    if isinstance(kind, str) and kind[-1:] == "O":
        raise Flaw(f"Python objects: {PICKLED}")
    if not isinstance(kind, str) or not _PLAIN.fullmatch(kind):
        raise Flaw(f"of type {shown(kind)}; save numbers, as float32 or whole numbers")
    if not _is_shape(shape, tuple) or not isinstance(in_fortran, bool):
        raise Flaw("its header is corrupt")
    return np.dtype(kind), shape, in_fortran, 8 + width + length


def _is_shape(shape, kind):
    return (
        isinstance(shape, kind)
        and len(shape) <= _MOST_DIMENSIONS
        and all(type(n) is int and n >= 0 for n in shape)
    )


def _check_name(name):
    """Names are printed, and stand in tables."""
    if not name.isprintable():
        raise Flaw(f"{shown(name)} is no name: it cannot be printed")


# Safetensors.


def notes(path: str | Path) -> dict[str, str]:
    """The metadata of a safetensors file.

    Raises:
      Flaw: it cannot be read, or is no such file.
      Damaged: as for `read`.
    """
    path = Path(path)
    with told():
        _check_file(path)
        return _header_of_safetensors(path)[1]


def _of_safetensors(path):
    header, notes, start = _header_of_safetensors(path)
    size = path.stat().st_size
    entries = {name: _entry(name, stored) for name, stored in header.items()}
    _check_places(entries, size - start)
    memory.check("its tensors", size)  # once they are looked at
    arrays = {}
    for name, (kind, shape, begin, _) in entries.items():
        if 0 in shape:
            arrays[name] = np.zeros(shape, kind)
        else:
            arrays[name] = np.memmap(path, kind, "r", start + begin, shape)
    return arrays | _aliases(arrays, notes)


def _header_of_safetensors(path):
    """(what it says of its tensors, metadata, bytes up to the numbers)."""
    size = path.stat().st_size
    with path.open("rb") as file:
        begins = file.read(9)
        if begins[8:] not in (b"", b"{"):
            raise Flaw("it begins as no safetensors file does")
        length = int.from_bytes(begins[:8], "little")
        if size < 8 or length > size - 8:
            raise Flaw("it is shorter than its header says")
        if length > _LONGEST_JSON:
            raise Flaw(f"a header of {length} bytes")
        memory.check("its header", 20 * length)
        file.seek(8)
        raw = file.read(length)
    try:
        header = json.loads(raw.decode("utf-8"), object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise Flaw("its header is corrupt") from error
    notes = header.pop("__metadata__", {})
    if not isinstance(notes, dict) or not all(
        isinstance(v, str) for v in notes.values()
    ):
        raise Flaw("its __metadata__ is corrupt")
    return header, notes, 8 + length


def _once(pairs):
    """A JSON object in which no name is twice."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise Flaw("a name is in its header twice")
    return found


def _entry(name, stored):
    """(type, shape, first byte, byte behind the last) of a tensor, all in accord."""
    _check_name(name)
    if not isinstance(stored, dict) or set(stored) != _ENTRY:
        raise Flaw(f"{shown(name)}: its header is corrupt")
    shape, places = stored["shape"], stored["data_offsets"]
    if not _is_shape(shape, list) or not _is_shape(places, list) or len(places) != 2:
        raise Flaw(f"{shown(name)}: its header is corrupt")
    if not isinstance(stored["dtype"], str) or stored["dtype"] not in _SAFETENSORS:
        raise Flaw(
            f"{shown(name)} is of type {shown(stored['dtype'])}; save it as float32"
        )
    kind = np.dtype(_SAFETENSORS[stored["dtype"]])
    begin, end = places
    if math.prod(max(n, 1) for n in shape) * kind.itemsize > _LARGEST:
        raise Flaw(f"{shown(name)}: {shape} is more than can be")
    if math.prod(shape) * kind.itemsize != end - begin:
        raise Flaw(f"{shown(name)}: {shape} does not take {end - begin} bytes")
    return kind, tuple(shape), begin, end


def _check_places(entries, size):
    """Raises `Flaw` unless tensors lie one behind the other, up to the end of the file."""
    at = 0
    for name, (_, _, begin, end) in sorted(entries.items(), key=lambda e: e[1][2:]):
        if begin != at:
            raise Flaw(f"{shown(name)} begins at byte {begin} of the data, not {at}")
        at = end
    if at != size:
        raise Flaw(f"its header says {at} bytes of data, it holds {size}")


def _aliases(
    arrays: Mapping[str, Any], notes: Mapping[str, str]
) -> dict[str, np.ndarray]:
    """Tensors that share the memory of another, which alone is stored.

    `safetensors.torch.save_model` leaves all but one of them out and notes, among the metadata,
    name left out -> name kept. Other metadata are anything: a note counts as one of these if it
    leads to a tensor, and must lead to one if its name is that of a matrix or bias.
    """
    found, ends = {}, {}
    for name in notes:
        passed, to = (
            {name: None},
            notes[name],
        )  # a dict: in order, and quick to look up in
        while to not in arrays and to in notes and to not in passed and to not in ends:
            passed[to] = None
            to = notes[to]
        to = ends.get(to, to)
        ends |= dict.fromkeys(passed, to)
        if name in arrays:
            if to in arrays and not _same(arrays[name], arrays[to]):
                raise Flaw(
                    f"{shown(name)} is in it, and its __metadata__ says that it is {shown(to)}, "
                    "which is another; save it again"
                )
        elif to in arrays:
            _check_name(name)
            found[name] = arrays[to]
        elif _names_a_tensor(name, notes[name]):
            way = " -> ".join(shown(one) for one in [*list(passed)[:5], to])
            raise Flaw(
                f"its __metadata__ says that {shown(name)} shares a tensor ({way}), which is not "
                "in it; save it again"
            )
    return found


def _same(one, other):
    return (
        one.dtype == other.dtype
        and one.shape == other.shape
        and one.tobytes() == other.tobytes()
    )


def _names_a_tensor(name, to):
    match = _TENSOR.fullmatch(name)
    return bool(match and (match[1] or _TENSOR.fullmatch(to)))
