"""Image sets in files and folders as they are published, recognised by what is there.

CIFAR-10 and CIFAR-100 (binary version), SVHN (cropped digits, MATLAB), IDX files (MNIST and its
like, KMNIST, EMNIST), parquet files of pictures, and folders of pictures, one a class. Whatever
is read is said: what it was taken to be, how many images of which shape, which classes.
"""

import dataclasses
import gzip
import hashlib
import os
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bounds import checks
from experiments.lab.reading import cifar, idx, mat_files, parquet, pictures
from experiments.lab.reading.flaws import Flaw, shown, told
from experiments.lab.reading.notes import say
from experiments.lab.refusals import Refusal

# MD5 of the files as they are served -> (data set, name), as torchvision 0.29 carries them.
# MNIST and Fashion-MNIST are known by SHA-256: `idx.KNOWN`. CIFAR's binary version is in no
# package that we know of: it is known by its form.
_MD5 = {
    "bdb82020997e1d708af4cf47b453dcf7": "KMNIST",
    "e144d726b3acfaa3e44228e80efcd344": "KMNIST",
    "5c965bf0a639b31b8f53240b1b52f4d7": "KMNIST",
    "7320c461ea6c1c855c0b718fb2a4b134": "KMNIST",
    "e26dedcc434d2e4c54c9b2d4a06d8373": "SVHN",
    "eb5a983be6a315427106f1b164d9cef3": "SVHN",
}
_TITLES = {"mnist": "MNIST", "fashion_mnist": "Fashion-MNIST"}
_IDX = re.compile(r"(.*?)(train|test|t10k)-images-idx3-ubyte(\.gz)?")
_IDX_LABELS = "-labels-idx1-ubyte"
_IDX_TEST = ("t10k", "test")
_SVHN = ("train_32x32.mat", "test_32x32.mat")
_SVHN_ZERO = 10  # what the digit 0 is called
_TEST_FOLDERS = ("test", "val", "valid", "validation")
_CLASSES_SHOWN = 10


@dataclasses.dataclass(frozen=True)
class Images:
    """Images uint8 `[N, H, W, C]` and their classes int32 `[N]`."""

    pixels: np.ndarray
    labels: np.ndarray


@dataclasses.dataclass(frozen=True)
class ImageSet:
    """What was found at a path.

    Attributes:
      title: what it was taken to be.
      train, test: images; None where none are held out.
      notes: what else is to be said.
      known: of each file it was read from the data set that its digest is known to be of, or
        None; a set that all of them are of is named.
    """

    title: str
    train: Images
    test: Images | None
    notes: Sequence[str] = ()
    known: Sequence[str | None] = (None,)


def read(path: str) -> ImageSet | None:
    """The image set at a path; None where a file is none, but may hold named arrays.

    A line says what it was taken to be.

    Raises:
      Refusal: a folder is none, or what is there is damaged.
    """
    where = f"--data={path}"
    if os.path.isdir(path):
        found = _of_folder(where, Path(path))
    else:
        found = _of_file(where, Path(path))
    if found is not None:
        say(_line(where, found))
    return found


def _line(where, found):
    known = set(found.known)
    if len(known) == 1 and None not in known:
        title = f"{known.pop()}, known by its digests"
    else:
        title = f"taken to be {found.title}"
    counts = f"{len(found.train.labels)} training"
    if found.test is not None:
        counts += f" and {len(found.test.labels)} held-out"
    shape = " x ".join(map(str, found.train.pixels.shape[1:]))
    classes = np.unique(found.train.labels)
    line = (
        f"{where}: {title}: {counts} images of {shape} (height, width, channels), "
        f"{len(classes)} classes, {classes[0]} to {classes[-1]}"
    )
    if found.test is None:
        line += "; no held-out ones"
    return "; ".join([line, *found.notes])


def _served(path):
    """The data set that a file is of as it is served, or None."""
    with open(path, "rb") as file:  # MD5 is what is published; it is no defence
        digest = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False))
    return _MD5.get(digest.hexdigest())


# Folders.


def _of_folder(where, folder):
    try:
        with told():
            names = [n for n in sorted(os.listdir(folder)) if not n.startswith(".")]
    except Flaw as flaw:
        raise Refusal(f"{where}: cannot be read ({flaw})") from None
    found = {}
    for form in cifar.FORMS.values():
        if any(form.train.fullmatch(name) for name in names):
            found[form.title] = lambda form=form: _cifar_folder(where, folder, form)
    if _SVHN[0] in names:
        found["SVHN"] = lambda: _svhn_folder(folder)
    starts = sorted(
        {m[1] for n in names if (m := _IDX.fullmatch(n)) and m[2] == "train"}
    )
    for start in starts:
        title = f"IDX files ({start}...)" if len(starts) > 1 else "IDX files"
        found[title] = lambda start=start: _idx_folder(where, folder, start)
    for place in (folder, folder / "data"):
        if place.is_dir() and any(n.endswith(".parquet") for n in os.listdir(place)):
            found["parquet files"] = lambda place=place: _parquet_folder(where, place)
            break
    if not found:
        cifar.refuse_pickles(where, names)
        if any((folder / name).is_dir() for name in names):
            return _class_folders(where, folder, names)
    if len(found) == 1:
        (only,) = found.values()
        return only()
    if found:
        way = "give the file of training images, e.g. " + str(
            folder / f"{starts[0]}train-images-idx3-ubyte"
        ) if len(starts) > 1 else "give a folder of one of them"  # fmt: skip
        raise Refusal(f"{where}: holds {', '.join(found)}; {way}")
    forms = "; ".join(form.files for form in cifar.FORMS.values())
    raise Refusal(
        f"{where}: holds no data set that is known: {forms}; {_SVHN[0]}; "
        "train-images-idx3-ubyte; train-*.parquet; or a folder of pictures for each class"
    )


def _cifar_folder(where, folder, form):
    train, test = cifar.find(folder, form)
    if test is None:
        raise Refusal(f"{where}: {form.test} is missing; {form.files} are needed")
    return _cifar(train, test, form)


def _cifar(train, test, form):
    parts = [Images(*cifar.read(p, form)) for p in (train, [test]) if p != [None]]
    notes = ("classes are the fine ones",) if len(form.classes) > 1 else ()
    title = f"{form.title} in its binary version"
    return ImageSet(title, parts[0], parts[1] if test else None, notes)


def _svhn_folder(folder):
    train, test = (folder / name for name in _SVHN)
    test = test if test.is_file() else None
    notes = []
    if (folder / "extra_32x32.mat").is_file():
        notes = ["extra_32x32.mat is left out"]
    return _svhn(train, test, notes)


def _svhn(train, test, notes=()):
    parts = [_svhn_file(path) for path in (train, test) if path]
    _alike(parts, (train, test))
    notes = [*notes, f"label {_SVHN_ZERO} is the digit 0"]
    known = [_served(path) for path in (train, test) if path]
    title = "SVHN, cropped digits"
    return ImageSet(title, parts[0], parts[1] if test else None, notes, known)


def _svhn_file(path):
    try:
        arrays = mat_files.read(path)
        if "X" not in arrays or "y" not in arrays:
            there = ", ".join(map(shown, arrays)) or "none"
            raise Flaw(f"the arrays X and y are needed; there are: {there}")
        x, y = arrays["X"], arrays["y"]
        if x.ndim != 4 or x.dtype != np.uint8 or x.shape[2] not in (1, 3) or not x.size:
            raise Flaw(
                f"X is {list(x.shape)} of type {x.dtype}, not [H, W, 3, N] bytes"
            )
        if y.size != x.shape[-1]:
            raise Flaw(f"y {list(y.shape)} does not go with X {list(x.shape)}")
        with told():
            labels = checks.whole_numbers("y", y.ravel(), _SVHN_ZERO + 1)
    except Flaw as flaw:
        raise Refusal(f"{path}: is no file of SVHN ({flaw}); fetch it again") from None
    pixels = np.ascontiguousarray(x.transpose(3, 0, 1, 2))
    return Images(pixels, labels % _SVHN_ZERO)


def _idx_folder(where, folder, start):
    train = _idx_file(folder, f"{start}train-images-idx3-ubyte")
    if train is None:
        raise Refusal(f"{where}: {start}train-images-idx3-ubyte is no file")
    return _idx(where, train)


def _idx_file(folder, name):
    """The file of a name, plain or packed, or None."""
    for candidate in (folder / name, folder / f"{name}.gz"):
        if candidate.is_file():
            return candidate
    return None


def _idx(where, path):
    """A set of IDX files, by the one of its training images."""
    match = _IDX.fullmatch(path.name)
    if match is None or match[2] != "train":
        raise Refusal(
            f"{where}: IDX files of images are recognised by the name of the training images, "
            "...train-images-idx3-ubyte; give that file, or its folder"
        )
    start, folder = match[1], path.parent
    is_turned = start.startswith("emnist")
    parts, files, known = [], [], []
    for name in ("train", *_IDX_TEST):
        images = _idx_file(folder, f"{start}{name}-images-idx3-ubyte")
        if name == "train":
            images = path
        elif images is None or len(parts) == 2:
            continue
        labels = _idx_file(folder, f"{start}{name}{_IDX_LABELS}")
        if labels is None:
            raise Refusal(f"{where}: {start}{name}{_IDX_LABELS}[.gz] is missing")
        part = "train" if name == "train" else "test"
        pixels, is_of = _idx_array(images, 3, f"{part}_images")
        classes, labels_are_of = _idx_array(labels, 1, f"{part}_labels")
        if len(pixels) != len(classes):
            raise Refusal(
                f"{images}: {list(pixels.shape)} does not go with the labels "
                f"{list(classes.shape)} of {labels}; one image a label is needed"
            )
        pixels = pixels.transpose(0, 2, 1) if is_turned else pixels
        parts.append(Images(pixels[..., None], classes.astype(np.int32)))
        files.append(images)
        known += [is_of, labels_are_of]
    _alike(parts, files)
    notes = []
    if is_turned:
        notes = ["EMNIST stores its images transposed, here they are upright "
                 "(--image_order=whc: as they are stored)"]  # fmt: skip
    title = f"IDX files {start}..." if start else "IDX files"
    return ImageSet(title, parts[0], parts[1] if len(parts) > 1 else None, notes, known)


def _idx_array(path, rank, name):
    """(the array in a file, the data set that it is known to be of or None)."""
    array, digest = idx.read_digested(path, rank)
    if digest not in idx.KNOWN:
        return array, _served(path)
    dataset, its_name = idx.KNOWN[digest]
    if its_name != name:
        raise Refusal(f"{path}: is {its_name} of {dataset}, not {name}; fetch it again")
    return array, _TITLES[dataset]


def _parquet_folder(where, folder):
    names = [n for n in os.listdir(folder) if n.endswith(".parquet")]
    train, test = parquet.split(names)
    if not train:
        raise Refusal(
            f"{where}: no parquet file whose name begins with train; there are "
            f"{', '.join(map(shown, sorted(names)[:6]))}"
        )
    return _parquet([folder / n for n in train], [folder / n for n in test])


def _parquet(train, test):
    parts = [Images(*parquet.read(paths)) for paths in (train, test) if paths]
    _alike(parts, (train[0], *test[:1]))
    return ImageSet(
        "parquet files of pictures", parts[0], parts[1] if test else None, ()
    )


def _class_folders(where, folder, names):
    """Pictures in a folder for each class; perhaps in train/ and test/."""
    train, test = folder, None
    inside = folder / "train"
    if inside.is_dir() and any(child.is_dir() for child in inside.iterdir()):
        train = inside
        test = next((folder / n for n in _TEST_FOLDERS if (folder / n).is_dir()), None)
    classes = _folders_in(train)
    parts = [_pictures(where, train, classes)]
    if test is not None:
        strange = sorted(set(_folders_in(test)) - set(classes))
        if strange:
            raise Refusal(
                f"{where}: {test / strange[0]} is a class that has no training pictures"
            )
        parts.append(_pictures(where, test, classes, may_lack=True))
        _alike(parts, (train, test))
    named = ", ".join(f"{shown(n)} {i}" for i, n in enumerate(classes[:_CLASSES_SHOWN]))
    if len(classes) > _CLASSES_SHOWN:
        named += ", ... in the order of their names"
    notes = [f"classes: {named}"]
    return ImageSet(
        "a folder of pictures for each class", parts[0],
        parts[1] if test is not None else None, notes,
    )  # fmt: skip


def _folders_in(folder):
    """Names of the folders in one, as they are sorted by those who read such folders."""
    return sorted(p.name for p in folder.iterdir() if p.is_dir() and p.name[0] != ".")


def _pictures(where, folder, classes, may_lack=False):
    files, labels = [], []
    for label, name in enumerate(classes):
        if may_lack and not (folder / name).is_dir():
            continue
        inside = [p for p in (folder / name).iterdir() if not p.name.startswith(".")]
        if not inside:
            raise Refusal(
                f"{where}: {folder / name} is empty; a class needs pictures, leave it out"
            )
        inside.sort(key=lambda p: p.name)
        for path in inside:
            if not path.is_file():
                raise Refusal(
                    f"{where}: {path} is no picture; a class folder holds pictures only"
                )
        files += inside
        labels += [label] * len(inside)
    if not files:
        raise Refusal(f"{where}: {folder} holds no pictures")
    pixels = pictures.stacked(((path, path) for path in files), len(files), where)
    return Images(pixels, np.array(labels, np.int32))


def _alike(parts, files):
    """Refuses held-out images of another shape than the training images."""
    first, *others = parts
    for other, path in zip(others, files[1:], strict=False):
        if other.pixels.shape[1:] != first.pixels.shape[1:]:
            raise Refusal(
                f"{path}: its images are {list(other.pixels.shape[1:])}, those of {files[0]} "
                f"{list(first.pixels.shape[1:])}; give images of one kind"
            )


# Files.


def _of_file(where, path):
    try:
        with told():
            if not path.is_file():
                return None  # whoever reads arrays says what is wrong with it
            with path.open("rb") as file:
                begins = file.read(len(mat_files.BEGINS))
            if begins.startswith(b"\x1f\x8b"):
                with gzip.open(path) as file:
                    begins = file.read(4)
    except Flaw as flaw:
        raise Refusal(f"{where}: cannot be read ({flaw})") from None
    if begins.startswith(mat_files.BEGINS):
        return _svhn(path, None)
    if begins.startswith(parquet.BEGINS):
        return _parquet([path], [])
    if begins.startswith(b"\0\0\x08\x03"):
        return _idx(where, path)
    if path.suffix == ".bin" and not begins.startswith((b"PK", b"\x80")):
        fits = [f for f in cifar.FORMS.values() if cifar.is_one(path, f)]
        named = [f for f in fits if path.name == f.test or f.train.fullmatch(path.name)]
        if len(named or fits) == 1:
            return _cifar([path], None, (named or fits)[0])
        records = " or ".join(str(f.record) for f in cifar.FORMS.values())
        raise Refusal(
            f"{where}: is no file of CIFAR's binary version, which is whole records of {records} "
            "bytes that begin with their labels"
        )
    return None
