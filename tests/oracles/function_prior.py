"""The probability of labels before learning: Cho & Saul (2009); Rasmussen & Williams (2006)."""

import itertools
import math

import numpy as np


def covariance(x, widths, biases):
    """Of an output of the wide network: E of relu(u) relu(u') of every pair, layer by layer."""
    n = len(x)
    k = np.array([[2 / (widths[0] + widths[1]) * float(a @ b) for b in x] for a in x])
    k += 2 / (1 + widths[1]) if biases else 0
    for fan_in, fan_out in itertools.pairwise(widths[1:]):
        above = np.zeros((n, n))
        for i, j in itertools.product(range(n), range(n)):
            size = math.sqrt(k[i, i] * k[j, j])
            angle = math.acos(max(-1.0, min(1.0, k[i, j] / size)))
            both = math.sin(angle) + (math.pi - angle) * math.cos(angle)
            above[i, j] = fan_in * 2 / (fan_in + fan_out) * size * both / (2 * math.pi)
        k = above + (2 / (1 + fan_out) if biases else 0)
    return k


def correlation(k):
    scale = np.sqrt(np.diag(k))
    return k / np.outer(scale, scale)


def _normal_cdf(z):
    return math.erfc(-z / math.sqrt(2)) / 2


def log_orthant(k, signs, sweeps=30):
    """ln Pr[f_i has sign s_i for all i], f ~ N(0, k), by expectation propagation.

    One site after the other (algorithm 3.5, with the step for the probit), the logarithm by
    equation 3.65.
    """
    n = len(k)
    tau, nu = np.zeros(n), np.zeros(n)
    for _ in range(sweeps):
        sigma = np.linalg.solve(np.eye(n) + k @ np.diag(tau), k)
        for i in range(n):
            mean, variance = sigma @ nu, sigma[i, i]
            cavity = 1 / (1 / variance - tau[i])
            centre = cavity * (mean[i] / variance - nu[i])
            z = signs[i] * centre / math.sqrt(cavity)
            ratio = math.exp(-z * z / 2) / math.sqrt(2 * math.pi) / _normal_cdf(z)
            moved = centre + signs[i] * math.sqrt(cavity) * ratio
            shrunk = cavity * (1 - ratio * (z + ratio))
            change = 1 / shrunk - 1 / cavity - tau[i]
            tau[i] += change
            nu[i] = moved / shrunk - centre / cavity
            column = sigma[:, i]
            sigma = sigma - np.outer(column, column) * change / (1 + change * variance)
    sigma = np.linalg.solve(np.eye(n) + k @ np.diag(tau), k)
    variance, mean = np.diag(sigma), sigma @ nu
    cavity = 1 / (1 / variance - tau)
    centre = cavity * (mean / variance - nu)
    of_site, at = 1 / tau, nu / tau
    total = sum(
        math.log(_normal_cdf(s * c / math.sqrt(v)))
        for s, c, v in zip(signs, centre, cavity, strict=True)
    )
    total += np.sum(np.log(cavity + of_site)) / 2
    total += np.sum((centre - at) ** 2 / (cavity + of_site)) / 2
    noisy = k + np.diag(of_site)
    return total - np.linalg.slogdet(noisy)[1] / 2 - at @ np.linalg.solve(noisy, at) / 2


def log_evidence(x, labels, widths, biases):
    """ln P(U), for more than two classes from below: the signs of all one-hot codes."""
    k = correlation(covariance(x, widths, biases))
    classes = range(widths[-1]) if widths[-1] > 2 else [1]
    return sum(log_orthant(k, np.where(labels == c, 1, -1)) for c in classes)


def valle_perez_2020(log_evidence, n, delta):
    return 1 - math.exp(
        -(-log_evidence + 2 * math.log(n) + 1 + math.log(1 / delta)) / n
    )
