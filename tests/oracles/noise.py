"""Error of networks with Gaussian noise in their weights, by drawing the networks.

A network is a list of matrices [in, out] and a list of biases; x is [m, D], y is [m].
A margin of 0 counts as an error. Noise is in the kernels unless told otherwise.
"""

import math

import numpy as np

from tests.oracles import forward, margin

EPSILON = 1e-3
LOWEST, HIGHEST = -20, 1


def error(weights, biases, x, y):
    wrong = 0
    for one, label in zip(x, y, strict=True):
        wrong += margin(forward(weights, biases, one), int(label)) <= 0
    return wrong / len(y)


def mean_and_standard_error(values):
    mean = sum(values) / len(values)
    spread = sum((v - mean) ** 2 for v in values) / (len(values) - 1)
    return mean, math.sqrt(spread / len(values))


def standard_noise(weights, biases, rng):
    """Unit Gaussian noise of the shape of the kernels and of the biases."""
    kernels = [rng.standard_normal(np.shape(w)) for w in weights]
    return kernels, [rng.standard_normal(np.shape(b)) for b in biases]


def gibbs_error(weights, biases, x, y, sigmas, rng, draws, noisy_biases=True):
    """Mean and standard error of the error over noisy networks, a sigma per layer."""
    errors = []
    for _ in range(draws):
        kernel_noise, bias_noise = standard_noise(weights, biases, rng)
        noisy, noisy_b = [], []
        for layer, sigma in enumerate(sigmas):
            noisy.append(
                np.asarray(weights[layer], float) + sigma * kernel_noise[layer]
            )
            shift = sigma * bias_noise[layer] if noisy_biases else 0.0
            noisy_b.append(np.asarray(biases[layer], float) + shift)
        errors.append(error(noisy, noisy_b, x, y))
    return mean_and_standard_error(errors)


def magnitude_gibbs_error(weights, biases, x, y, level, rng, draws):
    """The same with noise of variance level^2 w^2 + 1e-6 in each kernel weight w."""
    errors = []
    for _ in range(draws):
        kernel_noise, _ = standard_noise(weights, biases, rng)
        noisy = []
        for w, u in zip(weights, kernel_noise, strict=True):
            w = np.asarray(w, float)
            noisy.append(w + np.sqrt(level**2 * w**2 + EPSILON**2) * u)
        errors.append(error(noisy, biases, x, y))
    return mean_and_standard_error(errors)


def which_of_drawn(kernels, biases, x, y):
    """[draws, m], on which examples each of many networks [draws, in, out] errs."""
    y = np.asarray(y, int)
    a = np.broadcast_to(x, (len(kernels[0]), *np.shape(x))).astype(float)
    for layer, w in enumerate(kernels):
        a = np.maximum(a, 0.0) if layer else a
        a = np.matmul(a, w) + np.asarray(biases[layer], float)
    rows = np.arange(len(y))
    own = a[:, rows, y]
    a[:, rows, y] = -np.inf
    return own <= a.max(axis=2)


def wrong_of_drawn(kernels, biases, x, y):
    """Number of errors of each of many networks [draws, in, out], all at once."""
    return which_of_drawn(kernels, biases, x, y).sum(axis=1)


def drawn_noise(weights, rng, draws):
    return [rng.standard_normal((draws, *np.shape(w))) for w in weights]


def which_at_level(weights, biases, x, y, noise, level, magnitude=False):
    """[draws, m], on which examples each network of given unit noise errs at one noise level."""
    kernels = []
    for w, u in zip(weights, noise, strict=True):
        w = np.asarray(w, float)
        scale = np.sqrt(level**2 * w**2 + EPSILON**2) if magnitude else level
        kernels.append(w + scale * u)
    return which_of_drawn(kernels, biases, x, y)


def wrong_at_level(weights, biases, x, y, noise, level, magnitude=False):
    """Number of errors of each network of given unit noise at one noise level."""
    found = which_at_level(weights, biases, x, y, noise, level, magnitude)
    return found.sum(axis=1)


def noise_levels(per_octave):
    """A geometric grid of [2^-20, 2], downwards."""
    return [
        2.0 ** (HIGHEST - k / per_octave)
        for k in range((HIGHEST - LOWEST) * per_octave + 1)
    ]


def noise_level(weights, biases, x, y, rng, draws, per_octave=64, magnitude=False):
    """The largest level of the grid at which the mean error is up by at most 0.1.

    All levels share one set of draws. 0 where no level will do.
    """
    clean = round(error(weights, biases, x, y) * len(y))
    noise = drawn_noise(weights, rng, draws)
    for level in noise_levels(per_octave):
        wrong = wrong_at_level(weights, biases, x, y, noise, level, magnitude)
        # In whole numbers, so that a rise of exactly a tenth is one.
        if 10 * (int(wrong.sum()) - clean * draws) <= len(y) * draws:
            return level
    return 0.0


def magnitude_noise_level(weights, biases, x, y, rng, draws, per_octave=64):
    """The same with noise of variance level^2 w^2 + 1e-6."""
    return noise_level(weights, biases, x, y, rng, draws, per_octave, magnitude=True)
