"""Image sets in IDX format: MNIST, Fashion-MNIST and whatever is stored as they are."""

import dataclasses
import gzip
import zlib
from pathlib import Path

import numpy as np

from experiments.lab.refusals import Refusal
from experiments.lab.settings import setting

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


@dataclasses.dataclass(frozen=True)
class Folder:
    """Where the files are: a base of the settings of problems that read them."""

    data_dir: str | None = setting(
        None, "folder of the four IDX files, plain or .gz; without it they are fetched",
        compared=False
    )  # fmt: skip


def read(path: str | Path) -> np.ndarray:
    """The array in an IDX file of unsigned bytes, plain or gzipped.

    Args:
      path: of the file.

    Returns:
      uint8 array of the shape that the file's header states.

    Raises:
      Refusal: the file cannot be read, is no IDX file, or ends early.
    """
    try:
        raw = Path(path).read_bytes()
        if raw[:2] == b"\x1f\x8b":
            raw = gzip.decompress(raw)
    except (OSError, EOFError, zlib.error) as error:
        raise Refusal(f"{path}: cannot be read ({error}); fetch it again") from error
    if len(raw) < 4 or raw[:3] != b"\0\0\x08" or len(raw) < 4 + 4 * raw[3]:
        raise Refusal(f"{path}: not an IDX file of unsigned bytes; fetch it again")
    shape = tuple(np.frombuffer(raw, ">u4", raw[3], 4).astype(int))
    body = len(raw) - 4 - 4 * raw[3]
    if body != int(np.prod(shape)):
        raise Refusal(
            f"{path}: its header promises {int(np.prod(shape))} bytes, it holds {body}: "
            "truncated or corrupt; fetch it again"
        )
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * raw[3]).reshape(shape)


def find(data_dir: str) -> dict[str, Path]:
    """The four files of a data set in a folder, plain or `.gz`: name -> path."""
    folder, found = Path(data_dir), {}
    if not folder.is_dir():
        raise Refusal(
            f"--data_dir={data_dir}: no such folder; give the one with the IDX files"
        )
    for name, file in FILES.items():
        candidates = [folder / file, folder / f"{file}.gz"]
        present = [path for path in candidates if path.is_file()]
        if not present:
            raise Refusal(
                f"--data_dir={data_dir}: {file}[.gz] is missing; the four IDX files must be there"
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
        except Exception as error:  # pooch passes on whatever its transport raises
            raise Refusal(
                f"--problem={dataset}: {url}{file}.gz cannot be fetched "
                f"({type(error).__name__}); give a folder with the four files by --data_dir"
            ) from error
    return found


def pair(images_path: Path, labels_path: Path, classes: int) -> tuple[np.ndarray, ...]:
    """Images uint8 `[N, H, W]` and their labels uint8 `[N]`.

    Raises:
      Refusal: they do not go together, or a label is not one of 0..classes - 1.
    """
    images, labels = read(images_path), read(labels_path)
    if images.ndim != 3 or labels.ndim != 1 or len(images) != len(labels):
        raise Refusal(
            f"{images_path}: {images.shape} does not go with the labels {labels.shape} "
            f"of {labels_path}; one image a label is needed"
        )
    if labels.max(initial=0) >= classes:
        raise Refusal(
            f"{labels_path}: label {labels.max()} is not one of 0..{classes - 1}"
        )
    return images, labels
