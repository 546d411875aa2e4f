"""Image sets as they are published, written byte by byte: nothing of ours, NumPy where it is plain."""

import struct
import zlib

import numpy as np


def pixel(n, row, column, channel):
    """A byte for every place of every image, none of which is another's by symmetry."""
    return (n * 101 + row * 7 + column * 29 + channel * 53 + row * column) % 256


def images(count, height=32, width=32, channels=3, start=0):
    """uint8 `[N, H, W, C]` of `pixel`, image by image."""
    found = np.empty((count, height, width, channels), np.uint8)
    for place in np.ndindex(found.shape):
        found[place] = pixel(place[0] + start, *place[1:])
    return found


def cifar_record(labels, n):
    """A record of image n: labels, then all red pixels row by row, all green, all blue."""
    planes = [pixel(n, r, c, channel)
              for channel in range(3) for r in range(32) for c in range(32)]  # fmt: skip
    return bytes(labels) + bytes(planes)


def cifar10(folder, batches=2, each=3, test=3, first=0):
    """Files of CIFAR-10's binary version; image n has the class n % 10."""
    n = first
    for batch in range(1, batches + 1):
        raw = b"".join(cifar_record([k % 10], k) for k in range(n, n + each))
        (folder / f"data_batch_{batch}.bin").write_bytes(raw)
        n += each
    raw = b"".join(cifar_record([k % 10], k) for k in range(n, n + test))
    (folder / "test_batch.bin").write_bytes(raw)


def cifar100(folder, train=5, test=3):
    """Of CIFAR-100's; image n has the coarse class n % 20 and the fine one 99 - n."""
    for name, numbers in (
        ("train", range(train)),
        ("test", range(train, train + test)),
    ):
        raw = b"".join(cifar_record([n % 20, 99 - n], n) for n in numbers)
        (folder / f"{name}.bin").write_bytes(raw)


def idx(array):
    """An IDX file of bytes."""
    header = b"\0\0\x08" + struct.pack(f">B{array.ndim}I", array.ndim, *array.shape)
    return header + array.astype(np.uint8).tobytes()


def png(pixels):
    """A PNG of uint8 `[H, W, C]`, C = 1, 3 or 4, without filters."""
    height, width, channels = pixels.shape

    def chunk(kind, data):
        check = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + check

    colour = {1: 0, 3: 2, 4: 6}[channels]
    header = struct.pack(">2I5B", width, height, 8, colour, 0, 0, 0)
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )  # fmt: skip


def mat_element(order, kind, data):
    """An element of a MATLAB file, padded to eight bytes; small ones in one tag."""
    if 0 < len(data) <= 4:
        tag = struct.pack(f"{order}I", len(data) << 16 | kind)
        return tag + data + bytes(4 - len(data))
    return struct.pack(f"{order}2I", kind, len(data)) + data + bytes(-len(data) % 8)


def mat_array(name, array, order="<"):
    """An array of bytes as a MATLAB file holds it, its first index running fastest."""
    parts = [
        mat_element(order, 6, struct.pack(f"{order}2I", 9, 0)),  # bytes, real
        mat_element(order, 5, struct.pack(f"{order}{array.ndim}i", *array.shape)),
        mat_element(order, 1, name.encode()),
        mat_element(order, 2, array.astype(np.uint8).tobytes("F")),
    ]
    return mat_element(order, 14, b"".join(parts))


def mat(arrays, order="<", deflated=False):
    """A MATLAB file of version 5 that holds arrays of bytes."""
    header = b"MATLAB 5.0 MAT-file, written for a test".ljust(124)
    header += struct.pack(f"{order}H", 0x0100) + (b"IM" if order == "<" else b"MI")
    body = b""
    for name, array in arrays.items():
        element = mat_array(name, array, order)
        if deflated:
            packed = zlib.compress(element)
            element = struct.pack(f"{order}2I", 15, len(packed)) + packed
        body += element
    return header + body
