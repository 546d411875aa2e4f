"""Path norms (Neyshabur, Tomioka & Srebro 2015) and Gonon et al. 2024 (2310.01225)."""

import itertools
import math


def path_norm(weights, p):
    """(sum over paths from an input to an output of prod |w|^p)^(1/p), path by path."""
    sizes = [w.shape[0] for w in weights] + [weights[-1].shape[1]]
    total = 0.0
    for path in itertools.product(*(range(size) for size in sizes)):
        product = 1.0
        for w, i, j in zip(weights, path, path[1:], strict=False):
            product *= abs(float(w[i, j])) ** p
        total += product
    return total ** (1 / p)


def gonon_2024(phi, depth, x_inf, gamma, m, d_in, d_out, pools=0, pool_size=1):
    """(4 / sqrt m) C x_inf phi / gamma, C^2 = L ln 3 + P ln k + ln((d_in + 1) d_out).

    phi is the l1 path norm, all outputs together; L layers, P levels of pools over k values.
    """
    c = math.log(3) * depth + math.log((d_in + 1) * d_out)
    c = math.sqrt(c + pools * math.log(pool_size))
    return 4 / math.sqrt(m) * c * x_inf * phi / gamma
