"""Fixed features of pictures: scattering, whitened by pictures of random strokes.

Scattering of order 2 (Bruna & Mallat 2013, arXiv 1203.1513; as features for a linear classifier
Oyallon & Mallat 2015, arXiv 1412.8659): a picture is convolved with Morlet wavelets, the modulus
taken, that convolved with coarser wavelets, the modulus taken again, and each map averaged in
Gaussian windows. Private learning on it: Tramer & Boneh 2021, arXiv 2011.11660, whose normalisation of
groups of channels this has, too.

Nothing here is learned from data: the features of a picture are a function of that picture alone,
fixed beforehand. What the whitening rests on are pictures of random curves from a fixed seed,
none of them an example of any problem. So a training set of features is as independent as one
of pictures, and privacy of what is learned from features is privacy of the pictures.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator

import numpy as np

SIDE = 32  # pixels that a picture is padded to, in both directions
ANGLES, SCALES = 8, 2
PLACES, APART = 4, 6.0  # windows along a side, pixels between two
WIDTH = 0.8 * 2**SCALES  # of a window: pixels, a standard deviation
CHANNELS = 1 + SCALES * ANGLES + ANGLES**2
GROUP = 3  # channels that are normalised together
CONSTANT = 0.1  # the last feature of every picture
FEATURES = CHANNELS * PLACES**2 + 1
STROKES, STROKES_SEED = 4000, 2013
RIDGE = 0.1  # added to the strokes' covariance, in units of its mean eigenvalue
POWER = -1 / 3  # that it is raised to
BLOCK = 64  # pictures at once
_LEAST = 1e-8  # added to a variance: a blank picture has none


def filters(side: int = SIDE, angles: int = ANGLES, scales: int = SCALES) -> np.ndarray:
    """Morlet wavelets, as what they multiply the discrete Fourier transform with.

    Wavelet j of angle theta has its centre at the frequency 3 pi / 4 / 2^j in the direction theta,
    and a Gaussian envelope of deviation .8 * 2^j pixels along theta, angles / 4 times that
    across it. Its mean is 0.

    Returns:
      float64 `[scales, angles, side, side]`, real, in the order of `numpy.fft.fft2`.
    """
    found = np.zeros((scales, angles, side, side))
    for j in range(scales):
        for index in range(angles):
            theta, deviation = np.pi * index / angles, 0.8 * 2**j
            across = deviation * angles / 4
            wavelet, envelope = (
                _gaussian(side, theta, centre, deviation, across)
                for centre in (3 * np.pi / 4 / 2**j, 0.0)
            )
            found[j, index] = wavelet - wavelet[0, 0] / envelope[0, 0] * envelope
    return found


def _gaussian(side, theta, centre, along, across):
    """The transform of a Gaussian window times a wave: deviations along `theta` and across it."""
    waves = 2 * np.pi * np.fft.fftfreq(side)
    turns = 2 * np.pi * np.arange(-3, 4)  # frequencies that are one on the grid
    every = waves[:, None] + turns
    rows, columns = every[:, None, :, None], every[None, :, None, :]
    a = rows * np.cos(theta) + columns * np.sin(theta) - centre
    b = columns * np.cos(theta) - rows * np.sin(theta)
    return np.exp(-((along * a) ** 2 + (across * b) ** 2) / 2).sum((2, 3))


@functools.cache
def _filters() -> np.ndarray:
    return filters().astype(np.float32)


def _halved(spectra: np.ndarray, multiplier: np.ndarray) -> np.ndarray:
    """Spectra of maps `[..., n, n]`, multiplied, as those of every other point of the maps.

    Returns:
      complex64 `[..., n / 2, n / 2]`: the four frequencies that are one on the coarser grid
      added, over 4.
    """
    n = spectra.shape[-1] // 2
    low, high = slice(None, n), slice(n, None)
    total = spectra[..., low, low] * multiplier[..., low, low]
    for part in ((high, low), (low, high), (high, high)):
        total += spectra[..., *part] * multiplier[..., *part]
    return total / np.float32(4)


def _means(maps: np.ndarray) -> np.ndarray:
    """Maps `[..., n, n]` -> their means `[..., PLACES, PLACES]` in Gaussian windows.

    Windows have a deviation of `WIDTH` pixels and are `APART` pixels apart, about the middle.
    """
    n = maps.shape[-1]
    pixels = (np.arange(n) + 0.5) * SIDE / n - SIDE / 2
    centres = APART * (np.arange(PLACES) - (PLACES - 1) / 2)
    windows = np.exp(-(((pixels[:, None] - centres) / WIDTH) ** 2) / 2)
    windows = (windows / windows.sum(0)).astype(np.float32)
    return windows.T @ (maps @ windows)


def channels(pictures: np.ndarray) -> np.ndarray:
    """Scattering of order 2: means of the picture, of |x * psi_1| and of ||x * psi_1| * psi_2|.

    Convolutions are circular, on the picture with zeros around it (`SIDE`). Maps of wavelets of
    the coarser scale are taken at every other point. Of order 2 are the pairs whose second
    wavelet is the coarser one.

    Args:
      pictures: float32 `[N, H, W]`, H and W at most `SIDE`.

    Returns:
      float32 `[N, CHANNELS, PLACES, PLACES]`: order 0; order 1 by scale and angle; order 2
      by the first angle and the second.
    """
    from scipy import fft  # slow to import

    count, height, width = pictures.shape
    fine, coarse = _filters()
    padded = np.zeros((count, 1, SIDE, SIDE), np.float32)
    top, left = (SIDE - height) // 2, (SIDE - width) // 2
    padded[:, 0, top : top + height, left : left + width] = pictures

    def coarser(maps):
        return _means(np.abs(fft.ifft2(_halved(fft.fft2(maps), coarse))))

    first = np.abs(fft.ifft2(fft.fft2(padded) * fine))
    found = [_means(padded), _means(first), coarser(padded)]
    found += [coarser(first[:, angle : angle + 1]) for angle in range(ANGLES)]
    return np.concatenate(found, axis=1)


def _to_norm_1(rows: np.ndarray) -> np.ndarray:
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.maximum(norms, 1e-12)


def normalised(scattered: np.ndarray) -> np.ndarray:
    """Every `GROUP` channels of a picture brought to mean 0 and variance 1, the whole to norm 1.

    Args:
      scattered: float32 `[N, CHANNELS, PLACES, PLACES]`.

    Returns:
      float32 `[N, CHANNELS * PLACES^2]`; zeros for a picture of one colour.
    """
    count = len(scattered)
    groups = scattered.reshape(count, CHANNELS // GROUP, -1)
    centred = groups - groups.mean(2, keepdims=True)
    deviation = np.sqrt(np.square(centred).mean(2, keepdims=True) + _LEAST)
    return _to_norm_1((centred / deviation).reshape(count, -1))


def strokes(count: int = STROKES, side: int = 28) -> np.ndarray:
    """Pictures of one to three quadratic curves each, from a fixed seed.

    Control points are uniform on the picture without a border of a seventh; pens are .8 to 1.6
    pixels in radius with an edge of a pixel.

    Returns:
      float32 `[count, side, side]` in [0, 1].
    """
    generator = np.random.Generator(np.random.PCG64(STROKES_SEED))
    times = np.linspace(0, 1, 24)[:, None]
    weights = np.concatenate(
        [(1 - times) ** 2, 2 * times * (1 - times), times**2], axis=1
    )
    rows, columns = np.mgrid[:side, :side].astype(np.float32)
    found = np.zeros((count, side, side), np.float32)
    for picture in found:
        for _ in range(generator.integers(1, 4)):
            ends = generator.uniform(side / 7, side * 6 / 7, (3, 2))
            radius = generator.uniform(0.8, 1.6)
            path = (weights @ ends).astype(np.float32)
            squares = (rows[..., None] - path[:, 0]) ** 2
            squares += (columns[..., None] - path[:, 1]) ** 2
            distance = np.sqrt(squares.min(2))
            np.maximum(picture, np.clip(radius + 0.5 - distance, 0, 1), out=picture)
    return found


@dataclasses.dataclass(frozen=True)
class Whitening:
    """An affine map of normalised features, made of random strokes and of nothing else.

    Attributes:
      mean: float32 `[D]`, of the strokes' features.
      matrix: float32 `[D, D]`, symmetric: their covariance, with a ridge, to the power `POWER`.
    """

    mean: np.ndarray
    matrix: np.ndarray


@functools.cache
def whitening() -> Whitening:
    """That of `strokes()`, made once."""
    rows = np.concatenate([normalised(channels(b)) for b in _blocks(strokes())])
    rows = rows[:STROKES].astype(np.float64)
    mean = rows.mean(0)
    covariance = np.cov(rows, rowvar=False, bias=True)
    covariance += RIDGE * np.trace(covariance) / len(mean) * np.eye(len(mean))
    values, vectors = np.linalg.eigh(covariance)
    matrix = (vectors * values**POWER) @ vectors.T
    return Whitening(mean.astype(np.float32), matrix.astype(np.float32))


def _blocks(pictures: np.ndarray) -> Iterator[np.ndarray]:
    """Blocks of `BLOCK` pictures, the last filled up with blank ones."""
    for start in range(0, len(pictures), BLOCK):
        block = pictures[start : start + BLOCK]
        yield np.pad(block, [(0, BLOCK - len(block)), (0, 0), (0, 0)])


def features(pictures: np.ndarray) -> np.ndarray:
    """The features that a linear classifier learns from.

    Normalised scattering, less the mean of random strokes, whitened by their covariance,
    brought to norm 1, and a constant. Row i depends on picture i alone. In blocks, so that
    what is held beside the result is some 100 MB.

    Args:
      pictures: uint8 `[N, H, W]`, H and W at most `SIDE`.

    Returns:
      float32 `[N, FEATURES]`, each row of norm sqrt(1 + CONSTANT^2).
    """
    white = whitening()
    found = np.full((len(pictures), FEATURES), CONSTANT, np.float32)
    for index, block in enumerate(_blocks(pictures)):
        scattered = channels(block.astype(np.float32) / np.float32(255))
        rows = _to_norm_1((normalised(scattered) - white.mean) @ white.matrix)
        part = found[index * BLOCK : (index + 1) * BLOCK]
        part[:, :-1] = rows[: len(part)]
    return found
