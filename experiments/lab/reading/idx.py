"""Image sets in IDX format: MNIST, Fashion-MNIST and whatever is stored as they are."""

import dataclasses
import gzip
import hashlib
import itertools
import math
import os
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from experiments.lab.later import later
from experiments.lab.reading import memory
from experiments.lab.reading.flaws import Flaw, told
from experiments.lab.reading.notes import say
from experiments.lab.refusals import Refusal
from experiments.lab.settings import setting

checks = later("bounds.checks")
array_files = later("experiments.lab.reading.array_files")

FILES = {
    "train_images": "train-images-idx3-ubyte",
    "train_labels": "train-labels-idx1-ubyte",
    "test_images": "t10k-images-idx3-ubyte",
    "test_labels": "t10k-labels-idx1-ubyte",
}
URLS = {
    "mnist": "https://storage.googleapis.com/cvdf-datasets/mnist/",
    "fashion_mnist": "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
}
SHA256 = {
    "mnist": {
        "train_images": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        "train_labels": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        "test_images": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        "test_labels": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
    },
    "fashion_mnist": {
        "train_images": "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
        "train_labels": "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
        "test_images": "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
        "test_labels": "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
    },
}
# SHA-256 of the unpacked files, however they were packed -> (data set, name). The last four are
# the images of MNIST that come with the tests.
_UNPACKED = {
    "mnist": (
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        "5fba24052b28309459e0e27fb64bfc8773abe70932a2b09db907ae055c4ea860",
        "3e0a30bdf0fd04102c23d1d5a641084a177a7d26975fb614dc2b518a8968bbce",
        "bee59540ab2a2365dd717df877268f4172596e20a61a80db66eba1d669569cdd",
        "dcf4700d98b37e9a8699db5caeef9381342867b4e38361c68190b54006bd2e26",
    ),
    "fashion_mnist": (
        "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    ),
}
KNOWN = {
    digest: (dataset, name)
    for dataset, digests in _UNPACKED.items()
    for digest, name in zip(digests, itertools.cycle(FILES), strict=False)
}
_RANKS = (1, 2, 3, 4)
_CHUNK = 2**20


@dataclasses.dataclass(frozen=True)
class Folder:
    """Where the files are: a base of the settings of problems that read them."""

    data_dir: str | None = setting(
        None, "folder of the four IDX files, plain or .gz; without it they are fetched",
        compared=False
    )  # fmt: skip


class OfOtherNumbers(Flaw):
    """A sound file of numbers that are no images or labels."""


_OTHER_TYPES = {
    b"\x09": "signed bytes", b"\x0b": "int16", b"\x0c": "int32", b"\x0d": "float32",
    b"\x0e": "float64",
}  # fmt: skip


def read(path: str | Path, rank: int | None = None) -> np.ndarray:
    """The array in an IDX file of unsigned bytes, plain or gzipped.

    Args:
      path: of the file.
      rank: how many dimensions it must have, if that is known.

    Returns:
      uint8 array of the shape that the file's header states.

    Raises:
      Refusal: the file cannot be read, is no IDX file, or does not end where it should.
    """
    return read_digested(path, rank)[0]


def read_digested(path: str | Path, rank: int | None = None) -> tuple[np.ndarray, str]:
    """The array in a file as by `read`, and the SHA-256 of the file unpacked."""
    try:
        with told():
            return _unpacked(Path(path), rank)
    except OfOtherNumbers as flaw:
        raise Refusal(f"{path}: is {flaw}; write it so") from None
    except Flaw as flaw:
        raise Refusal(f"{path}: cannot be read ({flaw}); fetch it again") from None


def _unpacked(path, rank):
    if path.exists() and not path.is_file():
        raise Flaw("no regular file")
    stored = path.stat().st_size
    with path.open("rb") as plain:
        is_packed = plain.read(2) == b"\x1f\x8b"
        plain.seek(0)
        with gzip.GzipFile(fileobj=plain) if is_packed else plain as file:
            begins = file.read(4)
            if begins[:2] == b"\0\0" and begins[2:3] in _OTHER_TYPES:
                raise OfOtherNumbers(
                    f"an IDX file of {_OTHER_TYPES[begins[2:3]]}, and unsigned bytes are needed"
                )
            if len(begins) < 4 or begins[:3] != b"\0\0\x08":
                raise Flaw("not an IDX file of unsigned bytes")
            dimensions = begins[3]
            if dimensions not in ((rank,) if rank else _RANKS):
                raise Flaw(f"has {dimensions} dimensions, not {rank or 'one to four'}")
            begins += file.read(4 * dimensions)
            if len(begins) < 4 + 4 * dimensions:
                raise Flaw("not an IDX file: it ends in its header")
            shape = struct.unpack_from(f">{dimensions}I", begins, 4)
            size = math.prod(shape)  # of Python's: these do not overflow
            if not size:
                raise Flaw(f"its header says {list(shape)}: it is empty")
            if size > stored * (array_files.DEFLATED if is_packed else 1):
                raise Flaw(
                    f"its header promises {size} bytes, which {stored} cannot hold: truncated or "
                    "corrupt"
                )
            memory.check("its bytes and as many floats", (1 + 4) * size)
            array, digest = np.empty(size, np.uint8), hashlib.sha256(begins)
            done = 0
            while chunk := file.read(_CHUNK):
                if done + len(chunk) > size:
                    raise Flaw(
                        f"its header promises {size} bytes, it holds more: corrupt"
                    )
                array[done : done + len(chunk)] = np.frombuffer(chunk, np.uint8)
                digest.update(chunk)
                done += len(chunk)
    if done < size:
        raise Flaw(f"its header promises {size} bytes, it holds {done}: truncated")
    array.flags.writeable = False
    return array.reshape(shape), digest.hexdigest()


def read_known(
    dataset: str, paths: Mapping[str, Path], names: Iterable[str], classes: int
) -> dict[str, np.ndarray]:
    """Files of a data set, each known to be of it or at least not known to be another.

    Args:
      dataset: a key of `URLS`.
      paths: name -> path, of `FILES`.
      names: of those that are read: labels with their images.
      classes: C.

    Returns:
      name -> images uint8 `[N, H, W]` or labels uint8 `[N]`.

    Raises:
      Refusal: one cannot be read or is known to be something else, or they do not go together.
    """
    found, unknown = {}, []
    for name in names:
        rank = 3 if name.endswith("images") else 1
        found[name], digest = read_digested(paths[name], rank)
        known = KNOWN.get(digest)
        if known is None:
            unknown.append(f"{paths[name]} (SHA-256 {digest[:12]}...)")
        elif known != (dataset, name):
            raise Refusal(
                f"{paths[name]}: is {known[1]} of {known[0]}, not {name} of {dataset}; give the "
                f"folder of {dataset} by --data_dir"
            )
    for part in ("train", "test"):
        images, labels = (found.get(f"{part}_{n}") for n in ("images", "labels"))
        if labels is not None:
            _check_pair(
                paths[f"{part}_images"],
                images,
                paths[f"{part}_labels"],
                labels,
                classes,
            )
    if unknown:
        say(f"not the published files of {dataset}: {', '.join(unknown)}")
    return found


def find(data_dir: str, flag: str = "data_dir") -> dict[str, Path]:
    """The four files of a data set in a folder, plain or `.gz`: name -> path.

    Args:
      data_dir: the folder.
      flag: that named it.

    Raises:
      Refusal: there is no such folder, or one of the files is not in it.
    """
    folder, found = Path(data_dir), {}
    if not os.path.isdir(folder):
        raise Refusal(
            f"--{flag}={data_dir}: no such folder; give the one with the IDX files"
        )
    for name, file in FILES.items():
        candidates = [folder / file, folder / f"{file}.gz"]
        present = [path for path in candidates if os.path.isfile(path)]
        if not present:
            raise Refusal(
                f"--{flag}={data_dir}: {file}[.gz] is missing; the four IDX files must be there"
            )
        found[name] = present[0]
    return found


def fetch(
    dataset: str, url: str | None = None, cache: str | None = None
) -> dict[str, Path]:
    """The four files of a published data set, downloaded once into a cache.

    Args:
      dataset: a key of `SHA256`.
      url: folder to fetch from instead of the published one, ending in a slash.
      cache: folder to keep them in; the user's cache if not given.

    Returns:
      name -> path.

    Raises:
      Refusal: a file could not be fetched, or its SHA-256 is not the published one.
    """
    import pooch  # slow, and those who have the files need no network

    cache = Path(cache or pooch.os_cache("generalization-testbed")) / dataset
    url, found = url or URLS[dataset], {}
    pooch.get_logger().setLevel("WARNING")
    for name, file in FILES.items():
        try:
            found[name] = Path(
                pooch.retrieve(
                    f"{url}{file}.gz",
                    known_hash=f"sha256:{SHA256[dataset][name]}",
                    fname=f"{file}.gz",
                    path=cache,
                )
            )
        except ValueError as error:
            raise Refusal(
                f"--problem={dataset}: {url}{file}.gz has not the published SHA-256; "
                "give a folder with the right files by --data_dir"
            ) from error
        except (
            OSError
        ) as error:  # of the file, the network, or requests, whose all are these
            raise Refusal(
                f"--problem={dataset}: {url}{file}.gz cannot be fetched "
                f"({type(error).__name__}); give a folder with the four files by --data_dir"
            ) from error
    return found


def _check_pair(images_path, images, labels_path, labels, classes):
    if len(images) != len(labels):
        raise Refusal(
            f"{images_path}: {images.shape} does not go with the labels {labels.shape} "
            f"of {labels_path}; one image a label is needed"
        )
    try:
        checks.whole_numbers("label", labels, classes)
    except ValueError as error:
        raise Refusal(f"{labels_path}: {error}; fetch it again") from error
