"""Spectra of one weight matrix: Martin, Peng & Mahoney 2021 (WeightWatcher).

The power law is fitted as by Clauset, Shalizi & Newman 2009, continuous data.
"""

import math

import numpy as np


def eigenvalues(matrix):
    """Of W^T W: the squared singular values, ascending."""
    values = np.linalg.svd(np.asarray(matrix, float), compute_uv=False)
    return sorted(float(v) ** 2 for v in values)


def power_law(values):
    """(alpha, xmin, KS distance) of the xmin with the least KS distance.

    The empirical law at the i-th of n ascending tail values, i from 0, is i / n. A tail has at
    least 5 values, whose logarithms are above the least one's by 1e-6 on the mean.
    """
    positive = sorted(float(v) for v in values if v > 0)
    best = (math.nan, math.nan, math.inf)
    for xmin in sorted(set(positive))[:-1]:
        tail = [v for v in positive if v >= xmin]
        n = len(tail)
        spread = sum(math.log(v / xmin) for v in tail)
        if n < 5 or spread <= 1e-6 * n:
            continue
        alpha = 1 + n / spread
        distance = 0.0
        for i, v in enumerate(tail):
            fitted = 1 - (v / xmin) ** (1 - alpha)
            distance = max(distance, abs(i / n - fitted))
        if distance < best[2]:
            best = (alpha, xmin, distance)
    return best


def summary(matrix):
    values = eigenvalues(matrix)
    square, top = sum(values), values[-1]
    alpha = power_law(values)[0]
    if math.isnan(alpha):
        fitted = dict.fromkeys(("alpha", "alpha_weighted", "log_alpha_norm"), math.nan)
        return {
            "stable_rank": square / top,
            "log_norm": math.log10(square),
            "log_spectral_norm": math.log10(top),
        } | fitted
    exponents = [alpha * math.log10(v) for v in values if v > 0]
    largest = max(exponents)
    powers = sum(10 ** (e - largest) for e in exponents)
    return {
        "stable_rank": square / top,
        "log_norm": math.log10(square),
        "log_spectral_norm": math.log10(top),
        "alpha": alpha,
        "alpha_weighted": alpha * math.log10(top),
        "log_alpha_norm": largest + math.log10(powers),
    }
