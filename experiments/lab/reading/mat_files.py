"""Arrays of numbers in MATLAB files of version 5 (level 5 MAT-file format, as SVHN has them).

What a header says is held against the bytes there are before any memory is taken.
"""

import math
import struct
import zlib
from pathlib import Path

import numpy as np

from experiments.lab.reading import memory
from experiments.lab.reading.array_files import DEFLATED
from experiments.lab.reading.flaws import Flaw, shown, told

BEGINS = b"MATLAB 5.0 MAT-file"
_HEADER = 128
_MATRIX, _COMPRESSED = 14, 15
# How numbers are stored, and the classes of arrays of them.
_STORED = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8",
           13: "u8"}  # fmt: skip
_CLASSES = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4",
            14: "i8", 15: "u8"}  # fmt: skip
_COMPLEX = 0x0800
_MOST_DIMENSIONS = 32


def read(path: str | Path) -> dict[str, np.ndarray]:
    """The arrays of real numbers in a file: name -> array; what else is in it is left out.

    Raises:
      Flaw: it cannot be read, or is not what it says.
    """
    path, found = Path(path), {}
    with told():
        if path.exists() and not path.is_file():
            raise Flaw("no regular file")
        memory.check("its bytes", 2 * path.stat().st_size)
        raw = memoryview(path.read_bytes())
        if len(raw) < _HEADER or not bytes(raw).startswith(BEGINS):
            raise Flaw("no MATLAB file of version 5")
        order = {b"IM": "<", b"MI": ">"}.get(bytes(raw[126:128]))
        if order is None or struct.unpack(f"{order}H", raw[124:126]) != (0x0100,):
            raise Flaw("its header is corrupt")
        at = _HEADER
        while at < len(raw):
            kind, body, at = _element(raw, at, order)
            if kind == _COMPRESSED:
                kind, body = _inflated(body, order)
            if kind != _MATRIX:
                raise Flaw(f"an element of type {kind}, which is no array")
            name, array = _matrix(body, order)
            if name in found:
                raise Flaw(f"{shown(name)} is in it twice")
            found[name] = array
    return {name: array for name, array in found.items() if array is not None}


def _tag(raw, at, order):
    """(type, bytes, place of the data, place behind it and its padding)."""
    if at + 8 > len(raw):
        raise Flaw("it ends early")
    kind, size = struct.unpack(f"{order}2I", raw[at : at + 8])
    if kind >> 16:  # both in four bytes, the data in the other four
        kind, size = kind & 0xFFFF, kind >> 16
        if size > 4:
            raise Flaw("a small element of more than 4 bytes")
        return kind, size, at + 4, at + 8
    padding = 0 if kind == _COMPRESSED else -size % 8
    return kind, size, at + 8, at + 8 + size + padding


def _element(raw, at, order):
    """(type, its bytes, place of the next one)."""
    kind, size, start, end = _tag(raw, at, order)
    if start + size > len(raw):
        raise Flaw(f"an element of {size} bytes, of which {len(raw) - start} are there")
    return kind, raw[start : start + size], min(end, len(raw))


def _inflated(body, order):
    """The one element in deflated data, whose size is looked at before it is unpacked."""
    stream = zlib.decompressobj()
    tag = stream.decompress(body, 8)
    if len(tag) < 8:
        raise Flaw("it ends early")
    kind, size = struct.unpack(f"{order}2I", tag)
    if size > len(body) * DEFLATED:
        raise Flaw(f"{size} bytes are promised, which {len(body)} cannot hold")
    memory.check("its numbers", 2 * size)
    inside = stream.decompress(stream.unconsumed_tail, size + 1) if size else b""
    if len(inside) != size or not stream.eof or stream.unused_data:
        raise Flaw(f"{size} bytes are promised, it holds more or fewer: corrupt")
    return kind, memoryview(inside)


def _matrix(body, order):
    """(name, array) of a matrix; None for what holds no real numbers."""
    kind, flags, at = _element(body, 0, order)
    if kind != 6 or len(flags) != 8:
        raise Flaw("an array's flags are corrupt")
    (flags,) = struct.unpack(f"{order}I", flags[:4])
    kind, dimensions, at = _element(body, at, order)
    if kind != 5 or len(dimensions) % 4 or not len(dimensions) >= 8:
        raise Flaw("an array's shape is corrupt")
    shape = struct.unpack(f"{order}{len(dimensions) // 4}i", dimensions)
    if len(shape) > _MOST_DIMENSIONS or min(shape) < 0:
        raise Flaw("an array's shape is corrupt")
    kind, name, at = _element(body, at, order)
    name = bytes(name).decode("ascii")
    if kind != 1 or not name.isprintable():
        raise Flaw(f"{shown(name)} is no name of an array")
    if flags & 0xFF not in _CLASSES or flags & _COMPLEX:
        return name, None
    kind, numbers, at = _element(body, at, order)
    if kind not in _STORED or at != len(body):
        raise Flaw(f"{shown(name)} is corrupt")
    stored = np.dtype(_STORED[kind]).newbyteorder(order)
    if math.prod(shape) * stored.itemsize != len(numbers):
        raise Flaw(
            f"{shown(name)}: its header says {list(shape)} of {stored.itemsize} bytes each, it "
            f"holds {len(numbers)}"
        )
    wanted = np.dtype(_CLASSES[flags & 0xFF])
    memory.check(shown(name), math.prod(shape) * wanted.itemsize)
    array = np.frombuffer(numbers, stored).reshape(shape, order="F")
    return name, array.astype(wanted)
