"""Bounds by counting: Bartlett, Maiorov & Meir 1998; Bartlett et al. 2019; Occam.

Also the tools the other certified forms share: the inverse of the binary kl
(Maurer 2004), the weights of a grid, the exact binomial limit (Clopper & Pearson 1934).
"""

import math


def grid_weight(k):
    """Weights of the whole numbers that sum to 1."""
    return 2 / (3 * (abs(k) + 1) * (abs(k) + 2))


def binary_kl(q, p):
    """kl(q || p) in nats; infinite if p is 0 or 1 and q is not."""
    if p == q:
        return 0.0
    total = 0.0
    if q > 0:
        if p <= 0:
            return math.inf
        total += q * (math.log(q) - math.log(p))
    if q < 1:
        if p >= 1:
            return math.inf
        total += (1 - q) * (math.log1p(-q) - math.log1p(-p))
    return total


def kl_inverse(q, c):
    """sup {p : kl(q || p) <= c}, by bisection down to neighbouring floats."""
    if q >= 1 or c <= 0:
        return min(1.0, float(q))
    low, high = float(q), 1.0
    while True:
        middle = (low + high) / 2
        if not low < middle < high:
            return high
        if binary_kl(q, middle) <= c:
            low = middle
        else:
            high = middle


def vc_dimension_1998(parameters, layers):
    """6 P L ln(P L), networks of piecewise linear units; from P L = 120 on.

    The shatter bound (6 n)^(2 P L) < 2^n behind it: below, the logarithm stays at ln 120.
    """
    product = parameters * layers
    return 6 * product * math.log(max(product, 120))


def vc_dimension_2019(parameters_by_layer, units_by_layer):
    """L + (sum_l P_{<=l}) log2(8 e A log2(4 e A)), A = sum_l l U_l, layers from 1."""
    up_to_here, total, a = 0, 0, 0
    layers = zip(parameters_by_layer, units_by_layer, strict=True)
    for layer, (parameters, units) in enumerate(layers, 1):
        up_to_here += parameters
        total += up_to_here
        a += layer * units
    e = math.e
    logarithm = math.log2(8 * e * a * math.log2(4 * e * a))
    return len(parameters_by_layer) + total * logarithm


def vc_complexity(m, v, classes):
    """sqrt(2 V' ln(e m / V) / m).

    V' counts the pairs of classes; below m = V the logarithm stays at 1.
    """
    pairs = 1 if classes == 2 else classes * (classes - 1) / 2
    logarithm = math.log(math.e * max(m / v, 1.0))
    return math.sqrt(2 * v * pairs * logarithm / m)


def vc_bound(error, m, v, classes, delta):
    """R_S + sqrt(2 V' ln(e m / V) / m) + sqrt(ln(1 / delta) / (2 m))."""
    deviation = math.sqrt(math.log(1 / delta) / (2 * m))
    return error + vc_complexity(m, v, classes) + deviation


def occam_float32(error, m, parameters, delta):
    """A net of P float32 numbers is one of 2^(32 P)."""
    return kl_inverse(error, occam_nats(parameters, delta) / m)


def occam_nats(parameters, delta):
    return 32 * parameters * math.log(2) + math.log(1 / delta)


def clopper_pearson_upper(errors, n, delta):
    """The p with Pr[Bin(n, p) <= errors] = delta, by bisection; 1 if all are errors."""
    if errors >= n:
        return 1.0
    choose = [math.log(math.comb(n, j)) for j in range(errors + 1)]

    def tail(p):
        return sum(
            math.exp(c + j * math.log(p) + (n - j) * math.log1p(-p))
            for j, c in enumerate(choose)
        )

    low, high = errors / n, 1.0
    while True:
        middle = (low + high) / 2
        if not low < middle < high:
            return high
        if tail(middle) > delta:
            low = middle
        else:
            high = middle
