"""Two-layer ReLU nets, explicit constants: Neyshabur et al. 2019 (1805.12076)."""

import math

import numpy as np

from tests.oracles import frobenius, margin_error
from tests.oracles.counting import grid_weight


def neyshabur_2019_constants(weights, initial, x, margins, delta, classes):
    """R_S(gamma) + (R + 3 sqrt(5 h + ln(max(1, gamma sqrt m) / delta'))) / sqrt m.

    The norm of the initial hidden units is taken before the ReLU; gamma = 2^k is
    paid by delta' = delta p(k); the least value over k.
    """
    first, second = [np.asarray(w, float) for w in weights]
    start = np.asarray(initial[0], float)
    m, hidden = len(margins), first.shape[1]
    initial_units = frobenius(np.asarray(x, float) @ start) / math.sqrt(m)
    moved = frobenius(first - start) * frobenius(x) / math.sqrt(m)
    scale = 3 * math.sqrt(2) * (math.sqrt(2 * classes) + 1)
    scale *= (frobenius(second) + 1) * (initial_units + moved + 1)
    best = math.inf
    for k in range(-60, 61):
        gamma = 2.0**k
        failure = delta * grid_weight(k)
        logarithm = math.log(max(1.0, gamma * math.sqrt(m)) / failure)
        excess = scale / gamma + 3 * math.sqrt(5 * hidden + logarithm)
        best = min(best, margin_error(margins, gamma) + excess / math.sqrt(m))
    return best
