"""PAC-Bayes bounds of a noisy network, and their relatives for codes and samplers.

q: error of the noisy network on the sample; kl: nats from prior to posterior; m: size
of the sample; delta: probability of failure. Every form returns the bound.
"""

import math


def remainder(x):
    """x - ln(1 + x), which is never negative, without cancellation at small x."""
    if abs(x) > 0.1:
        return x - math.log1p(x)
    total, power = 0.0, x
    for k in range(2, 40):
        power *= -x
        total -= power / k
    return total


def kl_at_distance(q, d):
    """kl(q || q + d) for -q/2 < d <= (1 - q)/2, accurate however small d is."""
    # -q ln(1 + d/q) = q remainder(d/q) - d, and +d for the misses: the d cancel.
    if q == 0:
        hits = d
    elif abs(d) <= 0.1 * q:
        hits = q * remainder(d / q)
    else:
        hits = d - q * (math.log(q + d) - math.log(q))
    misses = -d if q == 1 else (1 - q) * remainder(-d / (1 - q))
    return hits + misses


def kl_at_complement(q, r):
    """kl(q || 1 - r) for 0 < r <= (1 - q)/2, accurate however small r is."""
    hits = 0.0 if q == 0 else q * (math.log(q) - math.log1p(-r))
    return hits + (1 - q) * (math.log1p(-q) - math.log(r))


def kl(q, p):
    """q ln(q / p) + (1 - q) ln((1 - q) / (1 - p)), with 0 ln 0 = 0."""
    if q / 2 < p < (1 + q) / 2:
        return kl_at_distance(q, p - q)
    if (q > 0 and p == 0) or (q < 1 and p == 1):
        return math.inf
    hits = 0.0 if q == 0 else q * (math.log(q) - math.log(p))
    misses = 0.0 if q == 1 else (1 - q) * (math.log1p(-q) - math.log1p(-p))
    return hits + misses


def last_before(end, holds):
    """The largest float in [0, end) where a property that holds at 0 still holds."""
    left, right = 0.0, end
    while left < (middle := (left + right) / 2) < right:
        left, right = (middle, right) if holds(middle) else (left, middle)
    return left


def kl_inverse_distances(q, c):
    """(p - q, 1 - p) for p = kl_inverse(q, c): each accurate where it is the small one.

    Halving stops only where no float is left between its two ends.
    """
    if q == 1 or c == math.inf:
        return 1 - q, 0.0
    if c <= 0:
        return 0.0, 1 - q
    half = (1 - q) / 2
    if kl_at_distance(q, half) > c:
        d = last_before(half, lambda d: kl_at_distance(q, d) <= c)
        return d, (1 - q) - d
    r = last_before(half, lambda r: kl_at_complement(q, r) > c)
    return (1 - q) - r, r


def kl_inverse(q, c):
    """sup{p in [q, 1] : kl(q || p) <= c}."""
    d, r = kl_inverse_distances(q, c)
    return q + d if d < r else 1 - r


def complexity(kl, m, delta):
    """KL + ln(2 sqrt m / delta)."""
    return kl + math.log(2) + math.log(m) / 2 - math.log(delta)


def pac_bayes_kl(kl, q, m, delta):
    return kl_inverse(q, complexity(kl, m, delta) / m)


def mcallester(kl, q, m, delta):
    return q + math.sqrt(complexity(kl, m, delta) / (2 * m))


def quadratic(kl, q, m, delta):
    """(sqrt(q + r) + sqrt r)^2, r = complexity / (2 m)."""
    r = complexity(kl, m, delta) / (2 * m)
    return (math.sqrt(q + r) + math.sqrt(r)) ** 2


def lambda_form_at(kl, q, m, delta, lam):
    """q / (1 - lam/2) + complexity / (m lam (1 - lam/2)), all lam in (0, 2) at once."""
    return (q + complexity(kl, m, delta) / (m * lam)) / (1 - lam / 2)


def lambda_form(kl, q, m, delta):
    """The form above at its best lam = 2 / (sqrt(2 m q / complexity + 1) + 1)."""
    lam = 2 / (math.sqrt(2 * m * q / complexity(kl, m, delta) + 1) + 1)
    return lambda_form_at(kl, q, m, delta, lam)


def lambda_form_on_grid(kl, q, m, delta, points):
    """The least of the form above over lam = 2 k / points, 0 < k < points."""
    return min(
        lambda_form_at(kl, q, m, delta, 2 * k / points) for k in range(1, points)
    )


def catoni(kl, q, m, delta, grid):
    """min over a of (1 - exp(-a q - (KL + ln(|grid| / delta)) / m)) / (1 - e^-a)."""
    best = math.inf
    for a in grid:
        exponent = a * q + (kl + math.log(len(grid) / delta)) / m
        best = min(best, math.expm1(-exponent) / math.expm1(-a))
    return best


def tolstikhin_seldin(kl, q, m, delta):
    """q + sqrt(2 q c) + 2 c, c = complexity / m."""
    c = complexity(kl, m, delta) / m
    return q + math.sqrt(2 * q * c) + 2 * c


def gaussian_kl_isotropic(w, z, sigma):
    """KL(N(w, sigma^2 I) || N(z, sigma^2 I))."""
    return sum(
        (float(a) - float(b)) ** 2 / (2 * sigma**2) for a, b in zip(w, z, strict=True)
    )


def gaussian_kl_layers(weights, initial, sigmas):
    """The same with a sigma for each layer's kernel."""
    total = 0.0
    for w, z, sigma in zip(weights, initial, sigmas, strict=True):
        for index, value in enumerate(w.flat):
            total += (float(value) - float(z.flat[index])) ** 2 / (2 * sigma**2)
    return total


def gaussian_kl(w, v, z, lam):
    """KL(N(w, diag v) || N(z, lam I)), v and lam being variances."""
    total = 0.0
    for a, variance, b in zip(w, v, z, strict=True):
        a, variance, b = float(a), float(variance), float(b)
        total += variance / lam + (a - b) ** 2 / lam - 1 + math.log(lam / variance)
    return total / 2


def log_normal_density(u, mean, variance):
    return -((u - mean) ** 2) / (2 * variance) - math.log(2 * math.pi * variance) / 2


def monte_carlo_kl(w, v, z, lam, rng, draws):
    """Mean and standard error of ln(posterior / prior) at draws of the posterior."""
    ratios = []
    for _ in range(draws):
        ratio = 0.0
        for a, variance, b in zip(w, v, z, strict=True):
            a, variance, b = float(a), float(variance), float(b)
            u = a + math.sqrt(variance) * rng.standard_normal()
            ratio += log_normal_density(u, a, variance) - log_normal_density(u, b, lam)
        ratios.append(ratio)
    mean = sum(ratios) / draws
    spread = sum((r - mean) ** 2 for r in ratios) / (draws - 1)
    return mean, math.sqrt(spread / draws)


def gibbs_upper(mean, draws, delta_mc):
    """Upper limit of a mean of [0, 1] values from the mean of independent draws."""
    return kl_inverse(mean, math.log(1 / delta_mc) / draws)


def prior_variance(j, b=100, c=0.1):
    """lam = c e^(-j / b), j = 1, 2, ..."""
    return c * math.exp(-j / b)


def dziugaite_roy_2017(
    kl, error_mean, draws, m, lam, b=100, c=0.1, delta=0.025, delta_mc=0.01
):
    """kl_inverse(kl_inverse(mean, ln(2 / delta_mc) / draws), B), B as below.

    B = (KL + 2 ln(b ln(c / lam)) + ln(pi^2 m / (6 delta))) / (m - 1).
    """
    pay = 2 * math.log(b * math.log(c / lam))
    rate = (kl + pay + math.log(math.pi**2 * m / (6 * delta))) / (m - 1)
    q = kl_inverse(error_mean, math.log(2 / delta_mc) / draws)
    return kl_inverse(q, rate)


def occam_code(error, bits, m, delta):
    """Prior 2^-c / (c (c + 1)) of one network with a code of c >= 1 bits."""
    nats = bits * math.log(2) + math.log(bits * (bits + 1)) + math.log(1 / delta)
    return kl_inverse(error, nats / m)


def gp_marginal_likelihood(log_evidence, m, delta):
    """1 - exp(-(-ln P(U) + 2 ln m + 1 - ln delta) / m), P(U) of the training labels."""
    return -math.expm1((log_evidence - 2 * math.log(m) - 1 + math.log(delta)) / m)
