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


def gonon_2024(weights, x_inf, gamma, m, d_out):
    """(4 / sqrt m) C max|x| ||Phi||_1 / gamma, a perceptron without pooling.

    d_in is the number of rows of the first matrix.
    """
    d_in = weights[0].shape[0]
    c = math.sqrt(len(weights) * math.log(3) + math.log((d_in + 1) * d_out))
    return 4 / math.sqrt(m) * c * x_inf * path_norm(weights, 1) / gamma
