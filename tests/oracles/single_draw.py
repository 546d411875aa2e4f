"""One network drawn from a Gaussian posterior: its density ratio, and limits of its error.

k errors on m examples; r the logarithm of the density ratio; delta: probability of failure.
"""

import math

from tests.oracles.pac_bayes import kl_inverse, last_before, log_normal_density


def log_ratio(h, w, v, z, lam):
    """ln of N(w, diag v) over N(z, lam I) at h, v and lam being variances."""
    total = 0.0
    for u, mean, variance, centre in zip(h, w, v, z, strict=True):
        total += log_normal_density(u, mean, variance)
        total -= log_normal_density(u, centre, lam)
    return total


def log_binomial_tail(k, m, p):
    """ln Pr[Bin(m, p) <= k]: the terms' logarithms, summed relative to the largest."""
    terms = [
        math.lgamma(m + 1) - math.lgamma(i + 1) - math.lgamma(m - i + 1)
        + i * math.log(p) + (m - i) * math.log1p(-p)
        for i in range(k + 1)
    ]  # fmt: skip
    largest = max(terms)
    return largest + math.log(sum(math.exp(t - largest) for t in terms))


def binomial_upper(k, m, log_level):
    """sup {p : Pr[Bin(m, p) <= k] >= e^log_level}."""
    if k >= m:
        return 1.0
    return last_before(1.0, lambda p: p == 0 or log_binomial_tail(k, m, p) >= log_level)


def log_level(r, delta):
    """Of Occam's hammer: delta beta(e^-r), beta(x) = x / (2 (1 - ln x)^2) up to x = 1."""
    r = max(r, 0.0)
    return math.log(delta) - r - math.log(2) - 2 * math.log(1 + r)


def occams_hammer(r, k, m, delta):
    return binomial_upper(k, m, log_level(r, delta))


def disintegrated_kl(r, k, m, delta):
    complexity = r + math.log(2) + math.log(m) / 2 - math.log(delta)
    return kl_inverse(k / m, max(complexity, 0.0) / m)
