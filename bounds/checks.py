"""What examples must be before anything is said of them: one rule for arrays and for files."""

import hashlib
from collections.abc import Iterator

import numpy as np

# Above every set of labelled examples that is published (ImageNet-21k has 21841 classes, language
# models up to 262144 tokens); labels beyond it are no labels, but hashes, times or codes.
MOST_CLASSES = 1_000_000
# Of held-out examples, how many may be training examples, too, number by number. Collections have
# some by accident (Barz & Denzler 2020, near copies counted: 3.3 % of CIFAR-10's test images; MNIST
# and Fashion-MNIST have none); a set that was split wrongly has far more. At 1 % what a network has
# learned by heart moves its held-out error by at most .01.
SHARED_AT_MOST = 0.01
_BYTE = 255
_ROWS = 4096  # that are hashed at once


def whole_numbers(what: str, numbers: np.ndarray, below: int) -> np.ndarray:
    """Whole numbers 0, 1, ..., `below` - 1, compared before they are cast.

    A cast wraps: 2^32 + 3 becomes 3 in int32, and a certificate would speak of other labels.

    Args:
      what: they are, as a refusal begins.
      numbers: of any shape and integer type.
      below: the first number that is too large, at most 2^31.

    Returns:
      int32 array of the same shape.

    Raises:
      ValueError: they are not of an integer type, or one is out of range.
    """
    numbers = np.asarray(numbers)
    if numbers.dtype.kind not in "iu":
        raise ValueError(f"{what}: of type {numbers.dtype}, not whole numbers")
    if numbers.size:
        low, high = int(numbers.min()), int(numbers.max())
        if low < 0 or high >= below:
            worst = low if low < 0 else high
            raise ValueError(f"{what}: {worst} is not one of 0..{below - 1}")
    return numbers.astype(np.int32)


def labels_of(
    name: str, inputs: np.ndarray, labels: np.ndarray, classes: int
) -> np.ndarray:
    """Labels that go with inputs and are outputs of a network: int32 `[m]`.

    Args:
      name: of the examples, as a refusal begins.
      inputs: `[m, ...]`.
      labels: `[m]`, integers from 0.
      classes: outputs of the network.

    Raises:
      ValueError: they are no whole numbers, one an example, below `classes`.
    """
    labels = np.asarray(labels)
    if (
        labels.shape != inputs.shape[:1]
        or not labels.size
        or labels.dtype.kind not in "iu"
    ):
        raise ValueError(
            f"{name} {inputs.shape} with labels {labels.dtype} of shape {labels.shape}: a "
            "whole number for each example is needed"
        )
    classes = min(classes, MOST_CLASSES)
    return whole_numbers(f"{name}: labels, one an output, from 0", labels, classes)


def as_inputs(inputs: np.ndarray) -> np.ndarray:
    """Inputs as float32; bytes (uint8) are divided by 255, as pixels are, others are left.

    Numbers that float32 cannot hold become infinite; finiteness is for the caller to check.
    """
    inputs = np.asarray(inputs)
    with np.errstate(over="ignore"):
        numbers = inputs.astype(np.float32)
    return numbers / np.float32(_BYTE) if inputs.dtype == np.uint8 else numbers


def finite(name: str, numbers: np.ndarray) -> np.ndarray:
    """Numbers as float32, none of them divided.

    Raises:
      ValueError: one is not finite, or too large for float32.
    """
    with np.errstate(over="ignore"):
        numbers = np.asarray(numbers).astype(np.float32)
    if not np.isfinite(numbers).all():
        raise ValueError(f"{name}: not finite (as float32)")
    return numbers


def _in_parts(inputs: np.ndarray) -> Iterator[np.ndarray]:
    """Some inputs at a time, each a row of bytes; what is the same number has the same bytes."""
    for start in range(0, len(inputs), _ROWS):
        rows = np.ascontiguousarray(inputs[start : start + _ROWS])
        if rows.dtype.kind == "f":
            rows = rows + 0  # -0 is the same number as 0
        yield rows.reshape(len(rows), -1).view(np.uint8)


def _digests(inputs):
    for rows in _in_parts(inputs):
        for row in rows:
            yield hashlib.blake2b(row, digest_size=16).digest()


def _factors(count):
    return np.random.default_rng(0).integers(2**64, size=count, dtype=np.uint64)


def _sums(inputs):
    """`[n]` uint64: the same for equal inputs, and rarely for others."""
    found = [np.zeros(0, np.uint64)]
    for rows in _in_parts(inputs):
        words = np.pad(rows, ((0, 0), (0, -rows.shape[1] % 8))).view(np.uint64)
        found.append(words @ _factors(words.shape[1]))  # modulo 2^64
    return np.concatenate(found)


def shared_rows(train: np.ndarray, held_out: np.ndarray) -> int:
    """How many held-out inputs are also training inputs, number by number.

    Args:
      train: `[m, ...]`.
      held_out: `[n, ...]` of the same type.

    Returns:
      A count 0..n, in time m + n.
    """
    if train.dtype != held_out.dtype or train.shape[1:] != held_out.shape[1:]:
        return 0
    # Few have a sum in common; those are looked at.
    of_train, of_held_out = _sums(train), _sums(held_out)
    known = set(_digests(train[np.isin(of_train, of_held_out)]))
    return sum(
        one in known for one in _digests(held_out[np.isin(of_held_out, of_train)])
    )


def shared(what: str, train: np.ndarray, held_out: np.ndarray) -> str | None:
    """A line about held-out examples that are training examples, or None: there are none.

    Args:
      what: they are, as the line begins.
      train: `[m, ...]` training inputs.
      held_out: `[n, ...]` held-out inputs, of the same type.

    Raises:
      ValueError: they are more than `SHARED_AT_MOST` of the held-out ones: an error on them is no
        estimate of the risk, and no certificate may rest on it.
    """
    count = shared_rows(train, held_out)
    if not count:
        return None
    line = (
        f"{what}: {count} of {len(held_out)} held-out inputs are training inputs, too"
    )
    if count > SHARED_AT_MOST * len(held_out):
        raise ValueError(
            f"{line}, more than {SHARED_AT_MOST:.0%}: no bound may rest on them; give examples "
            "that training has not seen"
        )
    return f"{line} (up to {SHARED_AT_MOST:.0%} are accepted)"
