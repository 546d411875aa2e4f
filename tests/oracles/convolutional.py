"""Bounds that count a shared weight once: Long & Sedghi 2020, Graf et al. 2022, Ledent et al. 2021.

A layer is its kernel `[kh, kw, in, out]` and bias `[out]` or None, the initial ones, and the image
and strides with which the kernel is unrolled into a matrix by plain loops.
"""

import math

import numpy as np

from tests.oracles import frobenius, median_margin, norm_21, spectral
from tests.oracles.convolution import matrix_of, zero_padded
from tests.oracles.counting import grid_weight, kl_inverse
from tests.oracles.spectral_bounds import largest_input, ramp, rounded_up


class Layer:
    """A convolution with zeros around its image, or a dense layer: an image of one position."""

    def __init__(
        self,
        kernel,
        initial,
        bias=None,
        initial_bias=None,
        image=(1, 1),
        strides=(1, 1),
    ):
        self.kernel, self.initial = kernel, initial
        self.bias, self.initial_bias = bias, initial_bias
        self.image, self.strides = image, strides

    def replaced(self, **changes):
        return Layer(**(vars(self) | changes))

    def unrolled(self, kernel):
        return matrix_of(zero_padded, kernel, self.image, self.strides)

    @property
    def positions(self):
        return math.prod(
            -(-size // step)
            for size, step in zip(self.image, self.strides, strict=True)
        )

    @property
    def parameters(self):
        return self.kernel.size + (0 if self.bias is None else self.bias.size)

    def folded(self, kernel, bias, constant, is_last):
        """[[A, 0], [b at every position, constant]], the last layer without the column."""
        matrix = self.unrolled(kernel)
        if bias is None:
            return matrix
        matrix = np.vstack([matrix, np.tile(bias, self.positions)])
        if is_last:
            return matrix
        column = np.zeros((len(matrix), 1))
        column[-1] = constant
        return np.hstack([matrix, column])


def of_dense(weights, initial, biases=None, initial_biases=None):
    """Fully connected layers."""
    none = [None] * len(weights)
    shapes = (w[None, None] for w in weights), (z[None, None] for z in initial)
    every = zip(*shapes, biases or none, initial_biases or none, strict=True)
    return [Layer(*one) for one in every]


def matrices(layers):
    """(W, Z, W - Z) of every layer, its bias left out."""
    return [
        tuple(map(one.unrolled, (one.kernel, one.initial, one.kernel - one.initial)))
        for one in layers
    ]


def folded(layers):
    """(W, Z, W - Z) of every layer, with its bias."""
    found = []
    for place, one in enumerate(layers):
        is_last, has_bias = place + 1 == len(layers), one.bias is not None
        moved = one.bias - one.initial_bias if has_bias else None
        found.append(
            (
                one.folded(one.kernel, one.bias, 1.0, is_last),
                one.folded(one.initial, one.initial_bias, 1.0, is_last),
                one.folded(one.kernel - one.initial, moved, 0.0, is_last),
            )
        )
    return found


def filters(kernel):
    """sum over output channels of the l2 norm of all that makes one."""
    total = 0.0
    for o in range(kernel.shape[-1]):
        total += math.sqrt(sum(float(v) ** 2 for v in kernel[..., o].ravel()))
    return total


def group_norm(kernel):
    """Graf et al.'s: sum over output channels and taps of the l2 norm over input channels."""
    total = 0.0
    for row in kernel:
        for tap in row:
            for o in range(kernel.shape[-1]):
                total += math.sqrt(sum(float(v) ** 2 for v in tap[:, o]))
    return total


def long_2020(layers, b, gamma, m):
    beta, largest, weights = 0.0, 1.0, 0
    for one, (_, z, d) in zip(layers, matrices(layers), strict=True):
        beta += spectral(d)
        largest = max(largest, spectral(z))
        weights += one.kernel.size
    a = b * beta / gamma * (largest + beta / len(layers)) ** len(layers)
    return min(a, math.sqrt(math.log(max(a, 5.0)))) * math.sqrt(weights / m)


def shared_distances(layers):
    """sqrt(min(P, taps * in)) sum_o ||K_o||, or the matrix's (2,1) norm."""
    found = []
    for one, (_, _, d) in zip(layers, matrices(layers), strict=True):
        kh, kw, channels, _ = one.kernel.shape
        patches = min(one.positions, kh * kw * channels)
        moved = filters(one.kernel - one.initial)
        found.append(min(math.sqrt(patches) * moved, norm_21(d)))
    return found


def _spread(layers, distances):
    product, total = 1.0, 0.0
    for (w, _, _), distance in zip(matrices(layers), distances, strict=True):
        product *= spectral(w)
        total += (distance / spectral(w)) ** (2 / 3)
    return product * total**1.5


def graf_2022(layers, b, gamma, m):
    return b * _spread(layers, shared_distances(layers)) / (gamma * math.sqrt(m))


def graf_2022_parameters(layers, b, gamma, m):
    product = math.prod(spectral(w) for w, _, _ in matrices(layers))
    nats = 0.0
    every = zip(layers, matrices(layers), shared_distances(layers), strict=True)
    for one, (w, _, _), distance in every:
        c = 4 * b / gamma * product * distance / spectral(w)
        nats += one.kernel.size * math.log(1 + (len(layers) * c) ** 2)
    return math.sqrt(nats / m)


def ledent_2021(layers, b, gamma, m):
    distances = [
        filters(one.kernel - one.initial) * math.sqrt(one.positions) for one in layers
    ]
    last = matrices(layers)[-1][2]
    distances[-1] = frobenius(last) * math.sqrt(layers[-1].positions)
    return b * _spread(layers, distances) / (gamma * math.sqrt(m))


def log_centres(parameters, s, r, b, gamma):
    """sum_l p_l ln(1 + 2 min(r_l, s_l)/eps_l)."""
    nats = 0.0
    for p, norm, distance in zip(parameters, s, r, strict=True):
        share = p / sum(parameters)
        eps = share * gamma * norm / (2 * math.sqrt(2) * b * math.prod(s))
        nats += p * math.log(1 + 2 * min(distance, norm) / eps)
    return nats


def long_2020_certified(layers, x, margins, delta):
    """kl^-1(R_S(gamma), (ln N + ln(1/delta')) / m) + ln(2 / delta) / m; x with its constant."""
    m, depth = len(margins), len(layers)
    j, b = rounded_up(largest_input(x), 1.0, 1 / 8)
    cost, s, r = -math.log(grid_weight(j)), [], []
    for w, z, d in folded(layers):
        base = spectral(z)
        k_s, norm = rounded_up(spectral(w), base, 1 / (16 * depth))
        k_r, distance = rounded_up(
            max(spectral(d), 1e-9 * base), base, 1 / (16 * depth)
        )
        cost -= math.log(grid_weight(k_s)) + math.log(grid_weight(k_r))
        s.append(norm)
        r.append(distance)
    parameters = [one.parameters for one in layers]
    best = math.inf
    for k in range(-8 * 60, 8 * 60):
        gamma = 2.0 ** (k / 8)
        error = sum(v <= gamma for v in margins) / m
        if error == 1:
            break
        nats = log_centres(parameters, s, r, b, gamma) + cost
        nats += math.log(2 / delta) - math.log(grid_weight(k))
        best = min(best, kl_inverse(error, nats / m) + math.log(2 / delta) / m)
    return min(best, 1 + math.log(2 / delta) / m)


def long_2020_growth(layers, x, margins, parameters=None):
    """sqrt(ln(N) / (2 m)) at the median margin, norms as they are."""
    every = folded(layers)
    s, r = ([spectral(one[place]) for one in every] for place in (0, 2))
    parameters = parameters or [one.parameters for one in layers]
    nats = log_centres(parameters, s, r, largest_input(x), median_margin(margins))
    return math.sqrt(nats / (2 * len(margins)))


def folded_distances(layers):
    """`shared_distances` and those of the biases, or the (2,1) norm of the whole matrix."""
    found = []
    every = zip(layers, folded(layers), shared_distances(layers), strict=True)
    for one, (_, _, d), distance in every:
        if one.bias is not None:
            distance = min(distance + norm_21(d) / math.sqrt(one.positions), norm_21(d))
        found.append(distance)
    return found


def graf_2022_certified(layers, x, margins, delta):
    """ramp + 2 rho + 3 sqrt(ln(2/delta')/(2 m)), rho of kernels and their biases."""
    m, depth = len(margins), len(layers)
    cost, product, total = 0.0, 1.0, 0.0
    every = zip(layers, folded(layers), folded_distances(layers), strict=True)
    for one, (w, z, _), distance in every:
        k_s, s = rounded_up(spectral(w), spectral(z), 1 / depth)
        base = spectral(z) * math.sqrt(one.kernel.shape[-1])
        k_b, b = rounded_up(max(distance, 1e-9 * base), base, 1 / depth)
        cost -= math.log(grid_weight(k_s)) + math.log(grid_weight(k_b))
        product *= s
        total += (b / s) ** (2 / 3)
    complexity = product * total**1.5
    entries = max(one.parameters for one in layers)
    best = math.inf
    for k in range(-60, 61):
        gamma = 2.0**k
        c = 2 * frobenius(x) * complexity * math.sqrt(math.log(2 * entries)) / gamma
        rho = 12 * c / m
        if 3 * c < m:
            rho *= 1 + math.log(m / (3 * c))
        log_term = math.log(2 / delta) + cost - math.log(grid_weight(k))
        deviation = 3 * math.sqrt(log_term / (2 * m))
        best = min(best, ramp(margins, gamma) + 2 * rho + deviation)
    return best


def graf_2022_growth(layers, x, margins):
    """24 C / m at the median margin, norms as they are: 2 rho but for its logarithm."""
    product, total = 1.0, 0.0
    every = zip(folded(layers), folded_distances(layers), strict=True)
    for (w, _, _), distance in every:
        product *= spectral(w)
        total += (distance / spectral(w)) ** (2 / 3)
    entries = max(one.parameters for one in layers)
    c = 2 * frobenius(x) * product * total**1.5 * math.sqrt(math.log(2 * entries))
    return 24 * c / (len(margins) * median_margin(margins))
