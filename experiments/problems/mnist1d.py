"""MNIST-1D (Greydanus & Kobak 2020, arXiv 2011.14439): ten digits as signals of 40 numbers.

A digit is a template of 12 points. It is followed by a random number of zeros, stretched to 72
points, scaled, shifted in a circle; where it is 0 there is smooth noise, and white noise
everywhere; a ramp is added, and 40 points are taken. Unlike a stored set it can be drawn from
for ever, so that the error of any network is known as well as fresh examples are many.

Every number is the default of the authors' package `mnist1d`. It divides a whole set by its own
standard deviation, and has as many examples of each class; here examples are independent, their
labels uniform, and the law's own mean and deviation are used.
"""

import dataclasses
import functools
from typing import NamedTuple

import numpy as np

from experiments.lab.later import later
from experiments.lab.settings import at_least_1, fraction, setting
from experiments.problems.fresh import Fresh

jax, jnp = later("jax"), later("jax.numpy")

CLASSES = 10
LENGTH = 40  # of an example
BLOCK = 1024

_DRAWN = np.array(
    [
        [5, 6, 6.5, 6.75, 7, 7, 7, 7, 6.75, 6.5, 6, 5],
        [5, 3, 3, 3.4, 3.8, 4.2, 4.6, 5, 5.4, 5.8, 5, 5],
        [5, 6, 6.5, 6.5, 6, 5.25, 4.75, 4, 3.5, 3.5, 4, 5],
        [5, 6, 6.5, 6.5, 6, 5, 5, 6, 6.5, 6.5, 6, 5],
        [5, 4.4, 3.8, 3.2, 2.6, 2.6, 5, 5, 5, 5, 5, 5],
        [5, 3, 3, 3, 3, 5, 6, 6.5, 6.5, 6, 4.5, 5],
        [5, 4, 3.5, 3.25, 3, 3, 3, 3, 3.25, 3.5, 4, 5],
        [5, 7, 7, 6.6, 6.2, 5.8, 5.4, 5, 4.6, 4.2, 5, 5],
        [5, 4, 3.5, 3.5, 4, 5, 5, 4, 3.5, 3.5, 4, 5],
        [5, 4, 3.5, 3.5, 4, 5, 5, 5, 5, 4.7, 4.3, 5],
    ]
)
POINTS = _DRAWN.shape[1]
PADDING = (36, 60)  # zeros behind a template, at least and at most
LONG = POINTS + PADDING[1]  # points that all are stretched to
SCALE = 0.4  # the width of the factor's interval around 1
SHIFTS = 48  # places that a signal may be shifted by: 0..47
SMOOTH_NOISE, SMOOTHING = (
    0.25,
    2.0,
)  # standard deviation before smoothing; of the kernel
WHITE_NOISE = 0.02
SHEAR = 0.75  # the width of the interval of the ramp's slope
# Of the law, over all places of an example; `tests/experiments/test_mnist1d.py` derives them.
MEAN, DEVIATION = -0.006050608247404, 0.154694133392279


def templates() -> np.ndarray:
    """The digits as signals: float64 `[10, 12]`, each beginning and ending at 0."""
    centred = _DRAWN - _DRAWN.mean(1, keepdims=True)
    standard = centred / centred.std(1, keepdims=True)
    return (standard - standard[:, :1]) / 6


def _stretched():
    """Each template behind which there are zeros, as `LONG` points: `[10, paddings, LONG]`."""
    found = np.zeros((CLASSES, PADDING[1] - PADDING[0] + 1, LONG))
    for i, zeros in enumerate(range(PADDING[0], PADDING[1] + 1)):
        matrix = interpolation(POINTS + zeros, LONG)
        found[:, i] = templates() @ matrix[:, :POINTS].T
    return found


def interpolation(given: int, wanted: int) -> np.ndarray:
    """Linear interpolation between evenly spaced points of one interval: `[wanted, given]`."""
    places = np.linspace(0, 1, given)
    new = np.linspace(0, 1, wanted)
    return np.stack([np.interp(new, places, one) for one in np.eye(given)], axis=1)


def smoothing(length: int, deviation: float) -> np.ndarray:
    """A Gaussian kernel of up to four deviations, signals mirrored at their ends: `[n, n]`."""
    reach = int(4 * deviation + 0.5)
    steps = np.arange(-reach, reach + 1)
    kernel = np.exp(-0.5 * (steps / deviation) ** 2)
    kernel /= kernel.sum()
    matrix = np.zeros((length, length))
    for row in range(length):
        for step, weight in zip(steps, kernel, strict=True):
            place = (row + step) % (2 * length)
            matrix[row, min(place, 2 * length - 1 - place)] += weight
    return matrix


_STRETCHED = _stretched()
# Where a template is, the points up to the first zero behind it, in whole numbers.
_IS_TEMPLATE = np.arange(LONG) * np.arange(
    POINTS + PADDING[0] - 1, LONG
)[:, None] < POINTS * (LONG - 1)  # fmt: skip
_SMOOTH = SMOOTH_NOISE * smoothing(LONG, SMOOTHING)
_RAMP = np.linspace(-0.5, 0.5, LONG)
_SHORTENED = interpolation(LONG, LENGTH)


class Deformation(NamedTuple):
    """What makes a signal of a digit, all of it independent.

    Attributes:
      zeros: uniform on 0..24, how many zeros beyond 36 are behind the template.
      scale: uniform on [0, 1).
      shift: uniform on 0..47.
      smooth: `[72]` standard normal numbers, which are smoothed.
      white: `[72]` standard normal numbers.
      shear: uniform on [0, 1).
    """

    zeros: "jax.Array"
    scale: "jax.Array"
    shift: "jax.Array"
    smooth: "jax.Array"
    white: "jax.Array"
    shear: "jax.Array"


def drawn(key: "jax.Array") -> Deformation:
    """A deformation of a key."""
    keys = jax.random.split(key, len(Deformation._fields))
    return Deformation(
        zeros=jax.random.randint(keys[0], (), 0, len(_IS_TEMPLATE)),
        scale=jax.random.uniform(keys[1]),
        shift=jax.random.randint(keys[2], (), 0, SHIFTS),
        smooth=jax.random.normal(keys[3], (LONG,)),
        white=jax.random.normal(keys[4], (LONG,)),
        shear=jax.random.uniform(keys[5]),
    )


def signal(label: "jax.Array", of: Deformation) -> "jax.Array":
    """The signal `[40]` of a digit, a whole number `[]`, before it is standardised."""
    stretched = jnp.asarray(_STRETCHED)[label, of.zeros]
    is_template = jnp.asarray(_IS_TEMPLATE)[of.zeros]
    dot = functools.partial(jnp.dot, precision=jax.lax.Precision.HIGHEST)
    digit = stretched * (1 + SCALE * (of.scale - 0.5))
    noise = dot(jnp.asarray(_SMOOTH), of.smooth)
    whole = jnp.where(jnp.roll(is_template, of.shift), jnp.roll(digit, of.shift), noise)
    whole += WHITE_NOISE * of.white
    whole -= SHEAR * (of.shear - 0.5) * jnp.asarray(_RAMP)
    return dot(jnp.asarray(_SHORTENED), whole)


@functools.cache
def _block():
    """One compiled program."""
    return jax.jit(_points)


def _points(key):
    label_key, signal_key = jax.random.split(key)
    labels = jax.random.randint(label_key, (BLOCK,), 0, CLASSES)
    deformations = jax.vmap(drawn)(jax.random.split(signal_key, BLOCK))
    signals = jax.vmap(signal)(labels, deformations)
    return (signals - MEAN) / DEVIATION, labels


def points(key: "jax.Array", count: int) -> tuple[np.ndarray, np.ndarray]:
    """Independent examples.

    They are made in blocks of one size by one compiled program, so that example i depends
    on `key` and i only, to the last bit, whatever `count` is.

    Args:
      key: typed key.
      count: N.

    Returns:
      `(inputs, labels)` on the host: float32 `[N, 40]` and int32 `[N]`, uniform on 0..9.
    """
    blocks = [
        _block()(jax.random.fold_in(key, index)) for index in range(-(-count // BLOCK))
    ]
    inputs, labels = zip(*jax.device_get(blocks), strict=True)
    return np.concatenate(inputs)[:count], np.concatenate(labels)[:count]


@dataclasses.dataclass(frozen=True)
class Settings:
    """Of `mnist1d`."""

    n_test: int = setting(
        10000, "fresh test points: the risk is known to within 1 / sqrt(n_test), with 95% confidence", at_least_1
    )  # fmt: skip
    label_noise: float = setting(
        0.0, "probability that a label is redrawn uniformly", fraction, varies=True
    )  # fmt: skip


# To a margin of 1 in softmax loss, batches of 16. Of 5 runs each at m = 128, 512, 1024, 4096 (width
# 256, two hidden layers, at most 200 epochs) all reach it at learning rates 0.01, 0.03 and 0.1;
# at 0.3 none at m = 4096, at 1 none at any m.
_MARGIN = {
    "depth": 2, "loss": "softmax", "batch_size": 16, "shuffle": True, "learning_rate": 0.1,
    "margin": 1.0, "max_epochs": 200,
}  # fmt: skip
_BEYOND = _MARGIN | {"width": 128, "n_test": 4000}


class Mnist1d(Fresh):
    """A `Problem` of ten classes; every draw is fresh."""

    about = (
        "Ten digits as noisy, shifted and stretched signals of 40 numbers (MNIST-1D); every "
        "example is fresh, so that the risk is known to any precision."
    )
    Settings = Settings
    presets = {
        "bounds_vs_samples": {
            # Expected: test error .76 at m = 128, .32 at m = 4096.
            "standard": _MARGIN | {
                "width": 256, "sizes": (128, 256, 512, 1024, 2048, 4096), "seeds": 4,
            },
        },
        "beyond_uc": {
            "demo": _BEYOND | {"sizes": (128, 512), "seeds": 2, "replaced": 8, "masks": 4},
            "standard": _BEYOND | {"sizes": (128, 512, 2048, 4096), "seeds": 3},
        },
    }  # fmt: skip
    features = LENGTH
    image = (1, LENGTH, 1)
    classes = CLASSES

    def clean(self, key: "jax.Array", count: int) -> tuple[np.ndarray, np.ndarray]:
        """Signals, and the digits that they are of."""
        return points(key, count)
