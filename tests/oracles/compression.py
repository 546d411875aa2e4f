"""Noise stability and compression: Arora, Ge, Neyshabur & Zhang 2018 (1802.05296)."""

import math

import numpy as np

from tests.oracles import frobenius


def ratio(numerator, denominator):
    """A cushion; 0 where nothing arrives at all."""
    return numerator / denominator if denominator > 0 else 0.0


def pre_activations(weights, x):
    """z_1 .. z_L of one input, and what each layer is fed: a_0 .. a_{L-1}."""
    z, fed, a = [], [], np.asarray(x, float)
    for w in weights:
        fed.append(a)
        z.append(a @ np.asarray(w, float))
        a = np.where(z[-1] > 0, z[-1], 0.0)
    return z, fed


def jacobian(weights, z, lower, upper):
    """Of z_upper with respect to z_lower at one input (layers from 0), rows lower."""
    found = np.eye(len(z[lower]))
    for layer in range(lower, upper):
        gates = np.diag((z[layer] > 0).astype(float))
        found = found @ gates @ np.asarray(weights[layer + 1], float)
    return found


def arora_2018(weights, x, gamma, m):
    """sqrt(c^2 L^2 max ||f||^2 sum_l 1 / (mu_l^2 mu_{l->}^2) / (gamma^2 m))."""
    depth = len(weights)
    contraction, largest_output = 1.0, 0.0
    cushions = [math.inf] * depth
    interlayer = [1 / math.sqrt(w.shape[1]) for w in weights]
    for one in x:
        z, fed = pre_activations(weights, one)
        largest_output = max(largest_output, frobenius(z[-1]))
        for layer in range(depth):
            w = weights[layer]
            size = frobenius(z[layer])
            fill = frobenius(w) * frobenius(fed[layer])
            cushions[layer] = min(cushions[layer], ratio(size, fill))
            for upper in range(layer + 1, depth):
                j = jacobian(weights, z, layer, upper)
                mu = ratio(frobenius(z[layer] @ j), frobenius(j) * size)
                interlayer[layer] = min(interlayer[layer], mu)
            if layer + 1 < depth:
                passed = frobenius(np.where(z[layer] > 0, z[layer], 0.0))
                if passed == 0:
                    return math.inf
                contraction = max(contraction, size / passed)
    if min(cushions) == 0 or min(interlayer) == 0:
        return math.inf
    total = 0.0
    for mu, onward in zip(cushions, interlayer, strict=True):
        total += 1 / (mu**2 * onward**2)
    square = contraction**2 * depth**2 * largest_output**2 * total
    return math.sqrt(square / (gamma**2 * m))
