"""Published image sets: read as they are written byte by byte, or refused by name in one line."""

import gzip
import hashlib
import os
import pickle
import struct
import sys
import zlib

import numpy as np
import pytest
import scipy.io

from experiments.evaluate.settings import Settings
from experiments.lab import settings
from experiments.lab.reading import data_files, idx, image_sets, mat_files, memory
from experiments.lab.refusals import Refusal
from experiments.problems import Examples
from experiments.problems.images import Cifar10, Cifar100, CifarSettings
from tests.experiments import published

RNG = np.random.default_rng(3)


def flat(images):
    """As inputs: bytes over 255, in the order height, width, channels."""
    return images.reshape(len(images), -1).astype(np.float32) / np.float32(255)


def read(path):
    return data_files.Arrays.read(str(path))


def is_read(path, train, labels, test=None, test_labels=None):
    found = read(path)
    np.testing.assert_array_equal(found.train.inputs, flat(train))
    np.testing.assert_array_equal(found.train.labels, labels)
    assert found.train.labels.dtype == np.int32
    assert found.image == train.shape[1:]
    if test is None:
        assert found.test is None
    else:
        np.testing.assert_array_equal(found.test.inputs, flat(test))
        np.testing.assert_array_equal(found.test.labels, test_labels)


def refused(path, *says):
    with pytest.raises(Refusal) as caught:
        read(path)
    message = str(caught.value)
    assert str(path) in message and "\n" not in message
    for part in says:
        assert part in message, message


# CIFAR.


def test_cifar10_is_read(tmp_path, capsys):
    published.cifar10(tmp_path, batches=11, each=2)  # batch 10 comes behind batch 9
    (tmp_path / "batches.meta.txt").write_text("airplane\n")
    whole = published.images(25)
    is_read(
        tmp_path, whole[:22], np.arange(22) % 10, whole[22:], np.arange(22, 25) % 10
    )
    printed = capsys.readouterr().out
    assert printed.count("\n") == 1
    assert (
        "taken to be CIFAR-10 in its binary version: 22 training and 3 held-out"
        in printed
    )
    assert "32 x 32 x 3" in printed and "10 classes, 0 to 9" in printed


def test_cifar100_is_read_by_its_fine_classes(tmp_path, capsys):
    published.cifar100(tmp_path)
    whole = published.images(8)
    is_read(tmp_path, whole[:5], 99 - np.arange(5), whole[5:], 99 - np.arange(5, 8))
    assert "CIFAR-100" in capsys.readouterr().out


def test_a_file_alone_is_a_training_set(tmp_path, capsys):
    published.cifar10(tmp_path, batches=1)
    is_read(tmp_path / "data_batch_1.bin", published.images(3), np.arange(3))
    assert "no held-out ones" in capsys.readouterr().out
    (tmp_path / "mine.bin").write_bytes((tmp_path / "data_batch_1.bin").read_bytes())
    is_read(tmp_path / "mine.bin", published.images(3), np.arange(3))


def cut(raw):
    return raw[:-1]


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (cut, "9218 bytes are no whole number of records of 3073: truncated"),
        (lambda raw: raw + b"\0", "9220 bytes are no whole number of records"),
        (lambda raw: b"".join(raw[k : k + 3073] + b"\0" for k in (0, 3073, 6146)),
         "9222 bytes are no whole number"),
        (lambda raw: b"\x0a" + raw[1:], "label: 10 is not one of 0..9"),
        (lambda raw: raw[:3073] + b"\xff" + raw[3074:], "label: 255 is not one of"),
        (lambda raw: b"", "it is empty"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("file", ["data_batch_2.bin", "test_batch.bin"])
def test_spoilt_files_of_cifar10(tmp_path, file, spoil, says):
    published.cifar10(tmp_path)
    path = tmp_path / file
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(Refusal, match=says) as caught:
        read(tmp_path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)
    with pytest.raises(Refusal, match=says):
        Cifar10(CifarSettings(str(tmp_path)), 0)


def test_spoilt_files_of_cifar100(tmp_path):
    published.cifar100(tmp_path)
    path = tmp_path / "train.bin"
    whole = path.read_bytes()
    for raw, says in (
        (b"\x14" + whole[1:], "label: 20 is not one of 0..19"),
        (whole[:1] + b"\x64" + whole[2:], "label: 100 is not one of 0..99"),
        (cut(whole), "no whole number of records of 3074"),
    ):
        path.write_bytes(raw)
        with pytest.raises(Refusal, match=says):
            read(tmp_path)
        refused(path)


def test_folders_that_are_not_all_of_cifar(tmp_path):
    published.cifar10(tmp_path)
    (tmp_path / "test_batch.bin").unlink()
    refused(tmp_path, "test_batch.bin is missing")
    published.cifar100(tmp_path)
    refused(tmp_path, "holds CIFAR-10, CIFAR-100; give a folder of one of them")
    python = tmp_path / "python"
    python.mkdir()
    (python / "data_batch_1").write_bytes(pickle.dumps({b"data": 1}))
    refused(
        python, "data_batch_1 is of CIFAR's Python version, a pickle, which is never"
    )
    with pytest.raises(Refusal, match=r"--data_dir=.*python: data_batch_1 .* a pickle"):
        Cifar10(CifarSettings(str(python)), 0)


def test_a_bin_file_of_something_else(tmp_path):
    path = tmp_path / "net.bin"
    path.write_bytes(b"\0" * 3000)
    refused(path, "whole records of 3073 or 3074 bytes")
    path.write_bytes(pickle.dumps({"x": 1}))
    refused(path, "a pickle, which is never opened")


# SVHN.

X = published.images(7)
Y = np.array([1, 2, 10, 9, 10, 3, 1], np.uint8)[:, None]
DIGITS = np.array([1, 2, 0, 9, 0, 3, 1])


def columns(images):
    """As SVHN stores them, `[H, W, C, N]`."""
    return images.transpose(1, 2, 3, 0)


@pytest.mark.parametrize("deflated", [False, True])
def test_svhn_is_read(tmp_path, capsys, deflated):
    """Files that SciPy writes."""
    for name, part in (("train", slice(4)), ("test", slice(4, 7))):
        stored = {"X": columns(X[part]), "y": Y[part]}
        path = tmp_path / f"{name}_32x32.mat"
        scipy.io.savemat(path, stored, do_compression=deflated)
    (tmp_path / "extra_32x32.mat").write_bytes(b"")
    is_read(tmp_path, X[:4], DIGITS[:4], X[4:], DIGITS[4:])
    printed = capsys.readouterr().out
    assert "SVHN, cropped digits: 4 training and 3 held-out" in printed
    assert "extra_32x32.mat is left out; label 10 is the digit 0" in printed
    is_read(tmp_path / "train_32x32.mat", X[:4], DIGITS[:4])


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("deflated", [False, True])
def test_a_matlab_file_written_byte_by_byte(tmp_path, order, deflated):
    path = tmp_path / "any.mat"
    path.write_bytes(published.mat({"y": Y, "X": columns(X)}, order, deflated))
    theirs = scipy.io.loadmat(path)  # SciPy agrees that it is such a file
    np.testing.assert_array_equal(theirs["X"], columns(X))
    is_read(path, X, DIGITS)


def test_arrays_of_every_kind_are_what_scipy_writes(tmp_path):
    stored = {
        f"a{i}": RNG.integers(0, 100, size=shape).astype(kind)
        for i, (kind, shape) in enumerate(
            [("f8", (3, 4)), ("f4", (2, 3, 2)), ("i1", (1, 5)), ("u2", (4, 1)), ("i2", (2, 2)),
             ("i4", (2, 3)), ("u4", (0, 3)), ("i8", (3, 1)), ("u8", (2, 1))]
        )
    }  # fmt: skip
    beside = {"text": "words", "cells": np.array([{}, 1], object), "z": np.array([1j])}
    scipy.io.savemat(tmp_path / "a.mat", stored | beside)
    found = mat_files.read(tmp_path / "a.mat")
    assert set(found) == set(stored)
    for name, array in stored.items():
        np.testing.assert_array_equal(found[name], array, strict=True)


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({"X": columns(X)}, "the arrays X and y are needed; there are: X"),
        ({"X": columns(X), "y": Y[:6]}, "y [6, 1] does not go with X [32, 32, 3, 7]"),
        ({"X": columns(X), "y": Y + 1}, "y: 11 is not one of 0..10"),
        ({"X": X, "y": Y}, "X is [7, 32, 32, 3] of type uint8, not [H, W, 3, N] bytes"),
        ({"X": columns(X) / 255, "y": Y}, "of type float64, not [H, W, 3, N] bytes"),
        ({"X": columns(X), "y": Y / 2}, "y: of type float64, not whole numbers"),
    ],
)
def test_matlab_files_that_are_no_svhn(tmp_path, arrays, says):
    scipy.io.savemat(tmp_path / "a.mat", arrays)
    refused(tmp_path / "a.mat", says)


def test_spoilt_matlab_files(tmp_path):
    path = tmp_path / "a.mat"
    for deflated in (False, True):
        whole = published.mat({"X": columns(X), "y": Y}, deflated=deflated)
        for length in (126, 130, 140, 200, len(whole) // 2, len(whole) - 9):
            path.write_bytes(whole[:length])
            refused(path)
    path.write_bytes(whole[:126] + b"XX" + whole[128:])
    refused(path, "its header is corrupt")
    path.write_bytes(b"MATLAB 7.3 MAT-file".ljust(128) + b"\x89HDF")
    refused(path, "it begins as no file of arrays does")
    twice = published.mat({"y": Y})
    path.write_bytes(twice + twice[128:])
    refused(path, "y is in it twice")
    for order, size in (("<", 2**31), ("<", 2**32 - 8)):
        path.write_bytes(whole[:128] + struct.pack(f"{order}2I", 14, size) + bytes(64))
        refused(path, f"an element of {size} bytes, of which 64 are there")


def test_what_a_small_matlab_file_unpacks_to_is_not_taken(tmp_path, monkeypatch):
    path = tmp_path / "a.mat"
    packed = zlib.compress(struct.pack("<2I", 14, 2**26) + bytes(2**26), 1)
    header = published.mat({})
    path.write_bytes(header + struct.pack("<2I", 15, len(packed)) + packed)
    monkeypatch.setattr(memory, "available", lambda: 2**26)
    refused(path, f"its numbers would take {2**27} bytes", "available")
    packed = zlib.compress(struct.pack("<2I", 14, 2**31) + b"x")
    path.write_bytes(header + struct.pack("<2I", 15, len(packed)) + packed)
    refused(path, f"{2**31} bytes are promised, which {len(packed)} cannot hold")
    packed = zlib.compress(published.mat_array("y", Y) + b"more")
    path.write_bytes(header + struct.pack("<2I", 15, len(packed)) + packed)
    refused(path, "it holds more or fewer: corrupt")


# IDX files.


def idx_set(folder, start="", test="t10k", packed=False, first=1):
    """Images of 3 x 5, so that a transposed one has another shape."""
    ending, write = (".gz", gzip.compress) if packed else ("", bytes)
    for name, images, at in (("train", published.images(6, 3, 5, 1), 0),
                             (test, published.images(4, 3, 5, 1, start=6), 6)):  # fmt: skip
        labels = (np.arange(at, at + len(images)) % 26) + first
        for kind, array in (("images-idx3", images[..., 0]), ("labels-idx1", labels)):
            path = folder / f"{start}{name}-{kind}-ubyte{ending}"
            path.write_bytes(write(published.idx(array)))


@pytest.mark.parametrize("packed", [False, True])
def test_idx_files_are_read(tmp_path, capsys, packed):
    idx_set(tmp_path, packed=packed)
    train = published.images(6, 3, 5, 1)
    test = published.images(4, 3, 5, 1, start=6)
    given = is_read, train, np.arange(1, 7), test, np.arange(7, 11)
    is_read(tmp_path, *given[1:])
    name = f"train-images-idx3-ubyte{'.gz' if packed else ''}"
    is_read(tmp_path / name, *given[1:])
    printed = capsys.readouterr().out
    assert (
        "taken to be IDX files: 6 training and 4 held-out images of 3 x 5 x 1"
        in printed
    )
    assert "6 classes, 1 to 6" in printed


def test_emnist_is_turned_upright(tmp_path, capsys):
    """A folder of several of its splits: the file of training images says which."""
    for split in ("letters", "digits"):
        idx_set(tmp_path, f"emnist-{split}-", "test", packed=True)
    refused(tmp_path, "IDX files (emnist-digits-...), IDX files (emnist-letters-...)",
            "give the file of training images")  # fmt: skip
    path = tmp_path / "emnist-letters-train-images-idx3-ubyte.gz"
    stored = published.images(10, 3, 5, 1)
    upright = np.array([[[[stored[n, r, c, 0]] for r in range(3)] for c in range(5)]
                        for n in range(10)])  # fmt: skip
    is_read(path, upright[:6], np.arange(1, 7), upright[6:], np.arange(7, 11))
    assert "here they are upright" in capsys.readouterr().out
    as_stored = data_files.Prepared(read(path), "whc").of("net", None)[0]
    np.testing.assert_array_equal(as_stored.inputs, flat(stored[:6]))


def test_known_digits_are_named(mnist_sample, capsys):
    found = read(mnist_sample)
    assert len(found.train.labels) == 2400 and found.image == (28, 28, 1)
    assert (
        "MNIST, known by its digests: 2400 training and 600" in capsys.readouterr().out
    )
    images = idx.read(mnist_sample / "train-images-idx3-ubyte.gz")
    np.testing.assert_array_equal(found.train.inputs, flat(images))


def test_files_as_they_are_served_are_named(tmp_path, capsys, monkeypatch):
    """Files of ours play KMNIST: by the MD5 of what is served, the packed file."""
    idx_set(tmp_path, packed=True)
    for path in tmp_path.iterdir():
        digest = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
        monkeypatch.setitem(image_sets._MD5, digest, "KMNIST")
    read(tmp_path)
    assert "KMNIST, known by its digests" in capsys.readouterr().out
    path = tmp_path / "train-images-idx3-ubyte.gz"
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()), 1))
    read(tmp_path)
    assert "taken to be IDX files" in capsys.readouterr().out


def test_idx_files_that_do_not_go_together(tmp_path, mnist_sample):
    idx_set(tmp_path)
    labels = tmp_path / "train-labels-idx1-ubyte"
    whole = labels.read_bytes()
    labels.write_bytes(published.idx(np.arange(5)))
    with pytest.raises(Refusal, match=r"\[6, 3, 5\] does not go with the labels \[5\]"):
        read(tmp_path)
    labels.unlink()
    refused(tmp_path, "train-labels-idx1-ubyte[.gz] is missing")
    labels.write_bytes(whole[:-1])
    with pytest.raises(Refusal, match=f"{labels}.*truncated"):
        read(tmp_path)
    labels.write_bytes(whole)
    other = published.idx(np.zeros((4, 5, 3)))
    (tmp_path / "t10k-images-idx3-ubyte").write_bytes(other)
    with pytest.raises(
        Refusal, match=r"its images are \[5, 3, 1\], those of .*\[3, 5, 1\]"
    ):
        read(tmp_path)
    refused(labels.rename(tmp_path / "a"), "it begins as no file of arrays does")
    (tmp_path / "a").write_bytes(published.idx(np.zeros((4, 5, 3))))
    refused(tmp_path / "a", "...train-images-idx3-ubyte; give that file, or its folder")
    # The test images of MNIST in the place of its training images.
    for file in mnist_sample.iterdir():
        name = file.name.replace("t10k", "train")
        (tmp_path / "mnist").mkdir(exist_ok=True)
        if "t10k" in file.name:
            (tmp_path / "mnist" / name).write_bytes(file.read_bytes())
    with pytest.raises(Refusal, match="is test_images of mnist, not train_images"):
        read(tmp_path / "mnist")


# Pictures in folders.

SEEN = published.images(6, 4, 6)


def picture_folders(
    folder, images, classes=("cat", "dog", "eel"), packed=published.png
):
    for n, image in enumerate(images):
        place = folder / classes[n % len(classes)]
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{n:03}.png").write_bytes(packed(image))


def test_folders_of_pictures_are_read(tmp_path, capsys):
    picture_folders(tmp_path, SEEN)
    (tmp_path / ".DS_Store").write_bytes(b"")
    (tmp_path / "cat" / ".DS_Store").write_bytes(b"")
    is_read(tmp_path, SEEN[[0, 3, 1, 4, 2, 5]], [0, 0, 1, 1, 2, 2])
    printed = capsys.readouterr().out
    assert (
        "a folder of pictures for each class: 6 training images of 4 x 6 x 3" in printed
    )
    assert "classes: cat 0, dog 1, eel 2" in printed


def test_folders_of_training_and_of_held_out_pictures(tmp_path):
    """Held-out pictures lack a class, and keep the numbers of the others; grey ones."""
    grey = published.images(9, 5, 4, 1)
    picture_folders(tmp_path / "train", grey[:6])
    picture_folders(tmp_path / "val", grey[6:8], ("cat", "eel"))
    is_read(tmp_path, grey[[0, 3, 1, 4, 2, 5]], [0, 0, 1, 1, 2, 2], grey[6:8], [0, 2])
    picture_folders(tmp_path / "test", grey[8:], ("fox",))  # before val
    refused(tmp_path, "test/fox is a class that has no training pictures")


def test_a_palette_is_looked_up(tmp_path):
    from PIL import Image

    colours = np.array([[0, 0, 0], [255, 128, 0], [9, 8, 7]], np.uint8)
    indices = RNG.integers(3, size=(4, 6)).astype(np.uint8)
    picture = Image.frombytes("P", (6, 4), indices.tobytes())
    picture.putpalette(colours.ravel().tolist())
    (tmp_path / "a").mkdir()
    picture.save(tmp_path / "a" / "1.png")
    is_read(tmp_path, colours[indices][None], [0])


def spoilt_folder(tmp_path, change):
    picture_folders(tmp_path, SEEN)
    change(tmp_path)
    return tmp_path


def wide(folder):
    return (folder / "cat" / "003.png").write_bytes(published.png(SEEN[3][:, :5]))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda f: (f / "fox").mkdir(), "fox is empty; a class needs pictures"),
        (wide, "cat/003.png: is [4, 5, 3] (height, width, channels)"),
        (lambda f: (f / "dog" / "004.png").write_bytes(published.png(SEEN[4][..., :1])),
         "dog/004.png: is [4, 6, 1]"),
        (lambda f: (f / "cat" / "000.png").write_bytes(
            published.png(published.images(1, 4, 6, 4)[0])), "its pixels are RGBA"),
        (lambda f: (f / "cat" / "notes.txt").write_text("hello"), "no picture of PNG"),
        (lambda f: (f / "cat" / "000.png").write_bytes(published.png(SEEN[0])[:60]),
         "cat/000.png: cannot be read"),
        (lambda f: (f / "cat" / "000.png").write_bytes(b""), "no picture of PNG"),
        (lambda f: (f / "cat" / "more").mkdir(), "more is no picture"),
    ],
)  # fmt: skip
def test_spoilt_folders_of_pictures(tmp_path, change, says):
    with pytest.raises(Refusal) as caught:
        read(spoilt_folder(tmp_path, change))
    message = str(caught.value)
    assert says in message and str(tmp_path) in message and "\n" not in message, message


def test_a_picture_that_says_it_is_huge_is_not_unpacked(tmp_path):
    raw = published.png(SEEN[0])
    size = struct.pack(">2I", 2**16, 2**15)
    header = b"IHDR" + size + raw[24:29]
    raw = raw[:12] + header + struct.pack(">I", zlib.crc32(header)) + raw[33:]
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.png").write_bytes(raw)
    with pytest.raises(Refusal, match=r"a/1\.png: cannot be read"):
        read(tmp_path)


def test_without_pillow_or_pyarrow_one_line_says_so(tmp_path, monkeypatch):
    picture_folders(tmp_path / "pictures", SEEN)
    monkeypatch.setitem(sys.modules, "PIL", None)
    refused(
        tmp_path / "pictures", "Pillow decodes, and it is not installed; pip install"
    )
    (tmp_path / "train.parquet").write_bytes(b"PAR1" + bytes(20) + b"PAR1")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(
        Refusal, match="pyarrow, which is not installed; pip install py"
    ):
        read(tmp_path / "train.parquet")


def test_a_folder_of_nothing_known(tmp_path):
    refused(
        tmp_path, "holds no data set that is known", "data_batch_1.bin", "train-*.parq"
    )
    (tmp_path / "readme.md").write_text("hello")
    refused(tmp_path, "holds no data set that is known")
    os.mkfifo(tmp_path / "train_32x32.mat")
    with pytest.raises(Refusal, match="no regular file"):
        read(tmp_path)


# Parquet.


def parquet(path, images, labels, column="image", label="label", **more):
    arrow = pytest.importorskip(
        "pyarrow", reason="pip install pyarrow: the format's library"
    )
    import pyarrow.parquet as library

    pictures = [
        {"bytes": published.png(i), "path": f"{n}.png"} for n, i in enumerate(images)
    ]
    library.write_table(arrow.table({column: pictures, label: labels} | more), path)


def test_parquet_files_are_read(tmp_path, capsys):
    whole = published.images(8, 4, 6)
    (tmp_path / "data").mkdir()
    for name, part in (("train-00000-of-00002", slice(3)), ("train-00001-of-00002", slice(3, 6)),
                       ("test-00000-of-00001", slice(6, 8))):  # fmt: skip
        path = tmp_path / "data" / f"{name}.parquet"
        parquet(path, whole[part], np.arange(8)[part] % 3)
    is_read(tmp_path, whole[:6], np.arange(6) % 3, whole[6:], [0, 1])
    is_read(path, whole[6:], [0, 1])
    assert (
        "parquet files of pictures: 6 training and 2 held-out"
        in capsys.readouterr().out
    )


def test_the_columns_of_cifar100_as_hugging_face_stores_it(tmp_path):
    whole = published.images(3)
    path = tmp_path / "train-00000-of-00001.parquet"
    parquet(path, whole, [7, 99, 3], "img", "fine_label", coarse_label=[0, 1, 2])
    is_read(tmp_path, whole, [7, 99, 3])


def test_spoilt_parquet_files(tmp_path):
    whole = published.images(3, 4, 6)
    path = tmp_path / "train.parquet"
    parquet(path, whole, [0, 1, 2], label="a", b=[1, 2, 3])
    refused(path, "one column of classes is needed; there are: a, b")
    parquet(path, whole, [0.0, 1.0, 2.0])
    refused(path, "one column of classes is needed; there are: none")
    parquet(path, whole, [0, -1, 2])
    refused(path, "label: -1 is not one of 0..")
    parquet(path, whole, [0, None, 2])
    refused(path, "a picture or a class is missing")
    parquet(
        path, whole[:0], np.array([], np.int64), image=whole[:0].tolist() or [None][:0]
    )
    refused(path)
    parquet(path, [whole[0], whole[1], published.images(1, 4, 5)[0]], [0, 1, 2])
    refused(path, "picture 2: is [4, 5, 3]")
    parquet(path, whole, [0, 1, 2])
    raw = path.read_bytes()
    for spoilt in (raw[:-1], raw[:200], raw[:4], raw[:-8] + bytes(8), b"PAR1" * 9):
        path.write_bytes(spoilt)
        refused(path, "cannot be read")
    path.rename(tmp_path / "part.parquet")
    refused(
        tmp_path, "no parquet file whose name begins with train; there are part.parquet"
    )


def test_what_stands_beside_a_picture_is_not_looked_at(tmp_path):
    """A path in no encoding, which a changed byte makes of any; a column of text is no picture."""
    arrow = pytest.importorskip("pyarrow", reason="pip install pyarrow")
    import pyarrow.parquet

    whole, path = published.images(5, 4, 6), tmp_path / "train.parquet"
    png = [published.png(image) for image in whole]
    names = arrow.array([b"a", b"\xff", b"\xe1", b"d", b"e"]).cast(
        arrow.string(), safe=False
    )
    pictures = arrow.StructArray.from_arrays(
        [arrow.array(png), names], ["bytes", "path"]
    )
    table = arrow.table({"image": pictures, "label": [0, 1, 2, 0, 1]})
    pyarrow.parquet.write_table(table.slice(1), path)
    is_read(path, whole[1:], [1, 2, 0, 1])
    text = arrow.array([{"bytes": "a"}] * 5)
    pyarrow.parquet.write_table(arrow.table({"image": text, "label": [0] * 5}), path)
    refused(path, "one column of pictures is needed; there are: none")


# What an input is made of: order and normalisation.


def prepared(images, order=None, constants=()):
    examples = Examples(flat(images), np.zeros(len(images), np.int32))
    source = data_files.Arrays(examples, None, images.shape[1:], images.shape[1:])
    train, test = data_files.Prepared(source, order, constants).of("net", None)
    assert test is None
    return train.inputs


@pytest.mark.parametrize("order", [None, *data_files.IMAGE_ORDERS])
def test_orders_and_constants_of_every_channel(order):
    """Against loops over places."""
    images = published.images(2, 4, 6)
    mean, deviation = (0.1, 0.2, 0.3), (0.5, 0.25, 2.0)
    found = prepared(images, order, mean + deviation)
    sides = {"h": range(4), "w": range(6), "c": range(3)}
    for n in range(2):
        expected = []
        for one in sides[(order or "hwc")[0]]:
            for two in sides[(order or "hwc")[1]]:
                for three in sides[(order or "hwc")[2]]:
                    at = dict(zip(order or "hwc", (one, two, three), strict=True))
                    value = published.pixel(n, at["h"], at["w"], at["c"]) / 255
                    expected.append((value - mean[at["c"]]) / deviation[at["c"]])
        np.testing.assert_allclose(found[n], expected, rtol=1e-5, atol=1e-6)


def test_what_networks_share_is_prepared_once():
    """Ten thousands of images are; what is chosen for one network is not kept for others."""
    images = published.images(9, 4, 6)

    class Source:
        image = shape = (4, 6, 3)
        test = Examples(flat(images[6:]), np.zeros(3, np.int32))

        def of(self, name, _):
            chosen = {"a": [0, 1], "b": [2, 3]}[name]
            return Examples(flat(images[chosen]), np.zeros(2, np.int32)), self.test

    source = data_files.Prepared(Source(), "chw", (0.5, 0.25))
    seen = [source.of(name, None) for name in "abab"]
    assert len({id(test) for _, test in seen}) == 1
    for name, (train, test) in zip("abab", seen, strict=True):
        chosen = images[[0, 1] if name == "a" else [2, 3]]
        for found, stored in ((train, chosen), (test, images[6:])):
            expected = (
                stored.transpose(0, 3, 1, 2).reshape(len(stored), -1) / 255 - 0.5
            ) / 0.25
            np.testing.assert_allclose(found.inputs, expected, rtol=1e-5, atol=1e-6)
    assert len(source._prepared._kept) == 1  # the held-out ones, which live on


def test_one_mean_and_one_deviation_are_for_all_channels():
    images = published.images(2, 4, 6)
    found = prepared(images, constants=(0.5, 0.25))
    expected = (images.reshape(2, -1) / 255 - 0.5) / 0.25
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("shape", "axis"), [((4, 5, 3), 2), ((3, 4, 5), 0)])
def test_constants_of_arrays_whose_channels_can_be_told(tmp_path, shape, axis):
    x = RNG.standard_normal((6, *shape)).astype(np.float32)
    np.savez(tmp_path / "a.npz", x=x, y=np.arange(6) % 2)
    constants = (1.0, 2.0, 3.0, 0.5, 0.25, 2.0)
    source = read(tmp_path / "a.npz")
    found = data_files.Prepared(source, None, constants).of("net", None)[0].inputs
    wide = np.moveaxis(x.astype(float), axis + 1, -1)
    expected = (wide - constants[:3]) / np.array(constants[3:])
    expected = np.moveaxis(expected, -1, axis + 1).reshape(6, -1)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    with pytest.raises(
        Refusal, match="--image_order=chw: goes with images whose order is"
    ):
        data_files.Prepared(source, "chw")
    with pytest.raises(Refusal, match="2 means and 2 deviations for inputs"):
        data_files.Prepared(source, None, (1.0, 2.0, 0.5, 0.25))


@pytest.mark.parametrize("shape", [(3, 4, 3), (12,), (3, 4)])
def test_channels_that_cannot_be_told(tmp_path, shape):
    x = RNG.standard_normal((6, *shape))
    np.savez(tmp_path / "a.npz", x=x, y=np.arange(6) % 2)
    source = read(tmp_path / "a.npz")
    with pytest.raises(Refusal, match="3 means and 3 deviations"):
        data_files.Prepared(source, None, (1.0, 2.0, 3.0, 0.5, 0.25, 2.0))


@pytest.mark.parametrize("constants", [(0.5,), (0.5, 0.0), (0.5, -1.0), (np.nan, 1.0),
                                       (0.1, 0.2, 0.3, 0.5)[:3]])  # fmt: skip
def test_constants_that_cannot_be(constants):
    with pytest.raises(
        Refusal, match=r"--normalise=.*: must be means and then as many"
    ):
        settings.check(Settings(normalise=constants))


# As problems.


def test_cifar_as_a_problem(tmp_path):
    published.cifar10(tmp_path, batches=5, each=4)
    source = Cifar10(CifarSettings(str(tmp_path)), 0)
    assert source.features == 3072 and source.image == (32, 32, 3)
    draw = source.draw(1, 12, 0)
    assert len(set(draw.record["indices"])) == 12
    expected = published.images(20)[draw.record["indices"]]
    np.testing.assert_array_equal(draw.inputs, flat(expected))
    np.testing.assert_array_equal(draw.labels, draw.record["indices"] % 10)
    np.testing.assert_array_equal(source.test().inputs, flat(published.images(23)[20:]))
    again = Cifar10(CifarSettings(str(tmp_path), "disjoint"), 0)
    assert again.sha256 == source.sha256 and again.largest_size(2) == 10
    published.cifar100(tmp_path)
    fine = Cifar100(CifarSettings(str(tmp_path), label_noise=1.0), 0)
    assert fine.classes == 100 and len(fine.pool().labels) == 5
    assert fine.pool().labels.max() < 100


def test_cifar_problems_without_their_files(tmp_path):
    for kind, title in ((Cifar10, "CIFAR-10"), (Cifar100, "CIFAR-100")):
        with pytest.raises(
            Refusal, match=f"--data_dir is missing: the folder of {title}"
        ):
            kind(CifarSettings(), 0)
        with pytest.raises(Refusal, match="no such folder"):
            kind(CifarSettings(str(tmp_path / "nowhere")), 0)
        with pytest.raises(Refusal, match=r"--data_dir=.*\.bin must be there"):
            kind(CifarSettings(str(tmp_path)), 0)
