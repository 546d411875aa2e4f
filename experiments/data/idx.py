"""Image sets in IDX format: MNIST, Fashion-MNIST and whatever is stored as they are."""

import gzip
import hashlib
import zlib
from pathlib import Path

import numpy as np
import pooch

from experiments.data.source import Draw, TestSet, randomise
from experiments.refusals import Refusal
from experiments.seeding import Purpose, host_generator, key_for

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
CLASSES = 10

# The authors drew from the training split that TensorFlow's old MNIST reader left over.
AUTHORS_FIRST = 5000
# Sic: their code compares with 32678, where 32768 was meant.
AUTHORS_NOISE_FROM = 32678
AUTHORS_NOISE = 0.01

DRAW_RULES = ("authors", "without_replacement", "disjoint")


def read(path):
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


def find(data_dir):
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


def fetch(dataset, url=None, cache=None):
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
                f"--dataset={dataset}: {url}{file}.gz has not the published SHA-256; "
                "give a folder with the right files by --data_dir"
            ) from error
        except Exception as error:  # pooch passes on whatever its transport raises
            raise Refusal(
                f"--dataset={dataset}: {url}{file}.gz cannot be fetched "
                f"({type(error).__name__}); give a folder with the four files by --data_dir"
            ) from error
    return found


class ImagePool:
    """A `Source`: training sets are drawn from a fixed pool of images.

    With label noise, the label of each image of the pool is randomised ONCE: an image drawn
    twice has one label.
    """

    classes = CLASSES

    def __init__(self, paths, draw_rule, label_noise, draws, largest, seed):
        images, labels = self._pair(paths["train_images"], paths["train_labels"])
        self.image = (*images.shape[1:], 1)
        self._images = images.reshape(len(images), -1)
        test_images, test_labels = self._pair(
            paths["test_images"], paths["test_labels"]
        )
        test_images = test_images.reshape(len(test_images), -1)
        if self._images.shape[1] != test_images.shape[1]:
            raise Refusal(
                f"{paths['test_images']}: other image size than the training set's"
            )
        self.features = self._images.shape[1]
        digest = hashlib.sha256()
        for array in (self._images, labels, test_images, test_labels):
            digest.update(np.ascontiguousarray(array))
        self.sha256 = digest.hexdigest()

        generator = host_generator(key_for(seed, Purpose.LABEL_NOISE))

        def noisy(clean):
            n = len(clean)
            drawn = generator.random(n), generator.integers(CLASSES, size=n)
            return randomise(clean, CLASSES, label_noise, *drawn)

        self._labels = noisy(labels)
        self.test = TestSet(
            self._scaled(test_images),
            test_labels.astype(np.int32),
            noisy(test_labels) if label_noise else None,
        )
        self._rule, self._seed = draw_rule, seed
        self._check(paths, draws, largest)

    @staticmethod
    def _pair(images_path, labels_path):
        images, labels = read(images_path), read(labels_path)
        if images.ndim != 3 or labels.ndim != 1 or len(images) != len(labels):
            raise Refusal(
                f"{images_path}: {images.shape} does not go with the labels {labels.shape} "
                f"of {labels_path}; one image a label is needed"
            )
        if labels.max(initial=0) >= CLASSES:
            raise Refusal(
                f"{labels_path}: label {labels.max()} is not one of 0..{CLASSES - 1}"
            )
        return images, labels

    @staticmethod
    def _scaled(images):
        return images.astype(np.float32) / 255

    def _check(self, paths, draws, largest):
        n = len(self._images)
        if self._rule == "authors" and n <= AUTHORS_FIRST:
            raise Refusal(
                f"--draw_rule=authors: draws from image {AUTHORS_FIRST} on, and "
                f"{paths['train_images']} has {n}; use --draw_rule=without_replacement"
            )
        needed = {
            "authors": 0,
            "without_replacement": largest,
            "disjoint": largest * draws,
        }
        if needed[self._rule] > n:
            raise Refusal(
                f"--sizes: {largest} with --draw_rule={self._rule} and --draws={draws} needs "
                f"{needed[self._rule]} images, there are {n}; use smaller sizes"
            )

    def _indices(self, seed, size, draw):
        n = len(self._images)
        if self._rule == "disjoint":
            generator = host_generator(key_for(self._seed, Purpose.TRAIN, seed, size))
            return generator.permutation(n)[draw * size : (draw + 1) * size]
        generator = host_generator(key_for(self._seed, Purpose.TRAIN, seed, size, draw))
        if self._rule == "authors":
            return generator.integers(AUTHORS_FIRST, n, size=size)
        return generator.permutation(n)[:size]

    def chosen(self, indices):
        """The images at places `[m]` of the pool: (inputs, labels)."""
        return self._scaled(self._images[indices]), self._labels[indices]

    @property
    def size(self):
        """Images in the pool."""
        return len(self._images)

    def draw(self, seed, size, draw):
        indices = self._indices(seed, size, draw)
        inputs = self._scaled(self._images[indices])
        if self._rule == "authors" and size > AUTHORS_NOISE_FROM:
            key = key_for(self._seed, Purpose.TRAIN, seed, size, draw, 1)
            shape = inputs[AUTHORS_NOISE_FROM:].shape
            noise = host_generator(key).uniform(-AUTHORS_NOISE, AUTHORS_NOISE, shape)
            inputs[AUTHORS_NOISE_FROM:] += noise.astype(np.float32)
        return Draw(
            inputs, self._labels[indices], {"indices": indices.astype(np.int32)}
        )


def load(config):
    """The source of a config with `dataset`, `data_dir`, `draw_rule`, `label_noise`,
    `draws`, `sizes` and `seed`."""
    paths = find(config.data_dir) if config.data_dir else fetch(config.dataset)
    return ImagePool(
        paths,
        config.draw_rule,
        config.label_noise,
        config.draws,
        max(config.sizes),
        config.seed,
    )
