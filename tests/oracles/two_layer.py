"""Two-layer ReLU nets, explicit constants: Neyshabur et al. 2019 (1805.12076)."""

import math

import numpy as np

from tests.oracles import frobenius, margin_error, median_margin
from tests.oracles.counting import grid_weight


def scale(weights, initial, x, m, classes):
    """gamma R = 3 sqrt 2 (sqrt(2 K) + 1) (||W_2|| + 1) (||X Z_1|| / sqrt m + ... + 1).

    The norm of the initial hidden units is taken before the ReLU.
    """
    first, second = [np.asarray(w, float) for w in weights]
    start = np.asarray(initial[0], float)
    initial_units = frobenius(np.asarray(x, float) @ start) / math.sqrt(m)
    moved = frobenius(first - start) * frobenius(x) / math.sqrt(m)
    found = 3 * math.sqrt(2) * (math.sqrt(2 * classes) + 1)
    return found * (frobenius(second) + 1) * (initial_units + moved + 1)


def neyshabur_2019_constants(weights, initial, x, margins, delta, classes):
    """R_S(gamma) + (R + 3 sqrt(5 h + ln(max(1, gamma sqrt m) / delta'))) / sqrt m.

    gamma = 2^k is paid by delta' = delta p(k); the least value over k.
    """
    m, hidden = len(margins), weights[0].shape[1]
    at_1 = scale(weights, initial, x, m, classes)
    best = math.inf
    for k in range(-60, 61):
        gamma = 2.0**k
        failure = delta * grid_weight(k)
        logarithm = math.log(max(1.0, gamma * math.sqrt(m)) / failure)
        excess = at_1 / gamma + 3 * math.sqrt(5 * hidden + logarithm)
        best = min(best, margin_error(margins, gamma) + excess / math.sqrt(m))
    return best


def neyshabur_2019_growth(weights, initial, x, margins, classes):
    """R / sqrt m at the median margin."""
    at_1 = scale(weights, initial, x, len(margins), classes)
    return at_1 / (median_margin(margins) * math.sqrt(len(margins)))
