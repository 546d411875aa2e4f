"""Spectral bounds: Bartlett, Foster & Telgarsky 2017; Neyshabur et al. 2018.

The second paper is Neyshabur, Bhojanapalli & Srebro. Certified forms choose
gamma = 2^k after seeing the data and return the least value, never clipped at 1. What
grows in each is a function of its own: at the median margin, the norms as they are.
"""

import math

import numpy as np

from tests.oracles import (
    excess_bartlett_2017,
    frobenius,
    margin_error,
    median_margin,
    norm_21,
    spectral,
)
from tests.oracles.counting import grid_weight, kl_inverse

EXPONENTS = range(-60, 61)
ETA = 0.05  # of the noise's probability, given away by the kl bound


def differences(weights, initial):
    return [
        np.asarray(w, float) - np.asarray(z, float)
        for w, z in zip(weights, initial, strict=True)
    ]


def ramp(margins, gamma):
    return sum(min(1.0, max(0.0, 1 - v / gamma)) for v in margins) / len(margins)


def largest_input(x):
    return max(frobenius(row) for row in x)


def rounded_up(value, base, ratio_log2):
    """(k, base 2^(k ratio_log2)): the least point of the grid not below the value."""
    k = math.ceil(math.log2(value / base) / ratio_log2)
    return k, base * 2 ** (k * ratio_log2)


def bartlett_2017_with_logs(weights, initial, b, gamma, m):
    """The plotted excess times max(ln m, 1) ln(largest dimension)."""
    plotted = excess_bartlett_2017(
        weights, differences(weights, initial), b, gamma, m, transposed=False
    )
    widest = max(max(w.shape) for w in weights)
    return plotted * max(math.log(m), 1) * math.log(widest)


def neyshabur_2018_layer_widths(weights, initial, b, gamma, m):
    """L Pi_s sqrt(sum_l out_l ||D_l||_F^2 / s_l^2) B / (gamma sqrt m)."""
    product, total = 1.0, 0.0
    for w, d in zip(weights, differences(weights, initial), strict=True):
        product *= spectral(w)
        total += w.shape[1] * frobenius(d) ** 2 / spectral(w) ** 2
    return len(weights) * product * math.sqrt(total) * b / (gamma * math.sqrt(m))


def bartlett_2017_certified(weights, initial, x, margins, delta):
    """ramp + 2 rho + 3 sqrt(ln(2 / delta') / (2 m)), norms and gamma from grids."""
    m, depth = len(margins), len(weights)
    cost, product, total = 0.0, 1.0, 0.0
    for w, z, d in zip(weights, initial, differences(weights, initial), strict=True):
        k_s, s = rounded_up(spectral(w), spectral(z), 1 / depth)
        base = spectral(z) * math.sqrt(w.shape[1])
        k_b, b = rounded_up(max(norm_21(d), 1e-9 * base), base, 1 / depth)
        cost -= math.log(grid_weight(k_s)) + math.log(grid_weight(k_b))
        product *= s
        total += (b / s) ** (2 / 3)
    complexity = product * total**1.5
    widest = max(max(w.shape) for w in weights)
    best = math.inf
    for k in EXPONENTS:
        gamma = 2.0**k
        c = 2 * frobenius(x) * complexity * math.sqrt(math.log(2 * widest**2)) / gamma
        rho = 12 * c / m
        if 3 * c < m:
            rho *= 1 + math.log(m / (3 * c))
        log_term = math.log(2 / delta) + cost - math.log(grid_weight(k))
        deviation = 3 * math.sqrt(log_term / (2 * m))
        best = min(best, ramp(margins, gamma) + 2 * rho + deviation)
    return best


def bartlett_2017_growth(weights, initial, x, margins):
    """24 C / m: 2 rho but for its logarithm."""
    widest = max(max(w.shape) for w in weights)
    c = 2 * frobenius(x) * math.sqrt(math.log(2 * widest**2)) / median_margin(margins)
    c *= excess_bartlett_2017(weights, differences(weights, initial), 1, 1, 1)
    return 24 * c / len(margins)


def lemma_a8_term(weights, initial, x, gamma, m):
    """(144 ln m ln(2 W) / (gamma m)) (1 + ||X||) (sum (1/L + b)^(2/3) ...)^(3/2)."""
    depth = len(weights)
    distances = [norm_21(d) for d in differences(weights, initial)]
    norms = [spectral(w) for w in weights]
    total = 0.0
    for one in range(depth):
        term = 1 / depth + distances[one]
        for other in range(depth):
            if other != one:
                term *= 1 / depth + norms[other]
        total += term ** (2 / 3)
    widest = max(max(w.shape) for w in weights)
    factor = 144 * math.log(m) * math.log(2 * widest) / (gamma * m)
    return factor * (1 + frobenius(x)) * total**1.5


def bartlett_2017_lemma_a8(weights, initial, x, margins, delta, gamma_at_most=math.inf):
    """The paper's own uniform form; nothing is paid for the choice of gamma = 2^k.

    The argument of the last root is cut at 0 (ln(2 m / gamma) can be negative). The
    lemma's grid of 1/gamma has the least cell 2/m: gamma_at_most = m keeps within it.
    """
    m, depth, size = len(margins), len(weights), frobenius(x)
    distances = [norm_21(d) for d in differences(weights, initial)]
    norms = [spectral(w) for w in weights]
    at_1 = lemma_a8_term(weights, initial, x, 1.0, m)
    logs = math.log(1 / delta) + 2 * math.log(2 + size)
    for b, s in zip(distances, norms, strict=True):
        logs += 2 * math.log(2 + depth * b) + 2 * math.log(2 + depth * s)
    best = math.inf
    for k in EXPONENTS:
        gamma = 2.0**k
        if gamma > gamma_at_most:
            continue
        inner = max(0.0, logs + math.log(2 * m / gamma))
        third = math.sqrt(9 / (2 * m)) * math.sqrt(inner)
        best = min(best, margin_error(margins, gamma) + 8 / m + at_1 / gamma + third)
    return best


def lemma_a8_growth(weights, initial, x, margins):
    return lemma_a8_term(weights, initial, x, median_margin(margins), len(margins))


def kl_from_origin(weights, b, gamma):
    """(42^2 e^2 / 2) L^2 B^2 h ln(4 h L) prod s^2 sum ||W||_F^2 / s^2 / gamma^2."""
    depth, product, ratios = len(weights), 1.0, 0.0
    # The tail bound of a Gaussian matrix needs the larger of both sides.
    h = max(max(w.shape) for w in weights)
    for w in weights:
        product *= spectral(w)
        ratios += frobenius(w) ** 2 / spectral(w) ** 2
    kl = 42**2 * math.e**2 / 2 * depth**2 * b**2 * h * math.log(4 * h * depth)
    return kl * product**2 * ratios / gamma**2


def neyshabur_2018_certified(weights, x, margins, delta):
    """R_S(gamma) + 4 sqrt((KL + ln(6 m / delta')) / (m - 1)) + ln(2 / delta) / m."""
    m, depth = len(margins), len(weights)
    j, b = rounded_up(largest_input(x), 1.0, 1 / 8)
    at_1 = kl_from_origin(weights, b, 1.0)
    best = math.inf
    for k in EXPONENTS:
        gamma = 2.0**k
        kl = at_1 / gamma**2
        cells = grid_weight(k) * grid_weight(j)
        failure = delta / 2 * cells / (depth * m ** (1 / (2 * depth)))
        root = 4 * math.sqrt((kl + math.log(6 * m / failure)) / (m - 1))
        best = min(best, margin_error(margins, gamma) + root + math.log(2 / delta) / m)
    return best


def neyshabur_2018_growth(weights, x, margins):
    """4 sqrt(KL / (m - 1))."""
    kl = kl_from_origin(weights, largest_input(x), median_margin(margins))
    return 4 * math.sqrt(kl / (len(margins) - 1))


def kl_from_initial(moved, norms, b, gamma):
    """sum_l ||D_l||_F^2 / (2 sigma_l^2) of noise that moves no margin by gamma / 2."""
    depth, kl = len(moved), 0.0
    room = gamma / (2 * math.sqrt(2) * b * math.prod(norms))
    kappa = math.expm1(math.log1p(room) / depth)
    for d, s in zip(moved, norms, strict=True):
        rows, columns = d.shape
        nu = math.sqrt(rows) + math.sqrt(columns)
        nu += math.sqrt(2 * math.log(depth / ETA))
        kl += frobenius(d) ** 2 / (2 * (kappa * s / nu) ** 2)
    return kl


def neyshabur_2018_kl_certified(weights, initial, x, margins, delta):
    """kl^{-1}(R_S(gamma), (KL' + ln(2 sqrt m / delta')) / m) + ln(2 / delta) / m."""
    m, depth = len(margins), len(weights)
    moved = differences(weights, initial)
    j, b = rounded_up(largest_input(x), 1.0, 1 / 8)
    rounded, cost = [], -math.log(grid_weight(j))
    for w, z in zip(weights, initial, strict=True):
        k_s, s = rounded_up(spectral(w), spectral(z), 1 / depth)
        rounded.append(s)
        cost -= math.log(grid_weight(k_s))
    best = math.inf
    for k in EXPONENTS:
        gamma = 2.0**k
        # The event is symmetric in the noise, which leaves its mean where it was.
        conditioned = kl_from_initial(moved, rounded, b, gamma)
        conditioned += math.log(1 / (1 - ETA))
        logs = math.log(2 * math.sqrt(m) / (delta / 2)) + cost
        logs -= math.log(grid_weight(k))
        value = kl_inverse(margin_error(margins, gamma), (conditioned + logs) / m)
        best = min(best, value + math.log(2 / delta) / m)
    return best


def neyshabur_2018_kl_growth(weights, initial, x, margins):
    """sqrt(KL / (2 m)), which Pinsker's inequality makes of KL / m."""
    moved, norms = differences(weights, initial), [spectral(w) for w in weights]
    kl = kl_from_initial(moved, norms, largest_input(x), median_margin(margins))
    return math.sqrt(kl / (2 * len(margins)))
