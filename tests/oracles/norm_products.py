"""Products of norms: Golowich, Rakhlin & Shamir 2018; Neyshabur, Tomioka & Srebro 2015.

Plotted excesses, up to constants, and (C, A) for the peeling bound of 2015. The
L_{3,1.5}, Schatten-1.5 and trace products are those of Neyshabur's published code.
"""

import math

import numpy as np

from tests.oracles import frobenius


def norm_1_inf(w):
    """Largest l1 norm of the weights into one unit."""
    rows, columns = w.shape
    return max(sum(abs(float(w[i, j])) for i in range(rows)) for j in range(columns))


def norm_3_15(w):
    rows, columns = w.shape
    total = 0.0
    for j in range(columns):
        incoming = sum(abs(float(w[i, j])) ** 3 for i in range(rows)) ** (1 / 3)
        total += incoming**1.5
    return total ** (1 / 1.5)


def schatten(w, p):
    values = np.linalg.svd(np.asarray(w, float), compute_uv=False)
    return sum(float(v) ** p for v in values) ** (1 / p)


def largest_feature(x):
    """X_inf: the largest l2 norm of one feature over the training points."""
    m, d = x.shape
    return math.sqrt(max(sum(float(x[i, j]) ** 2 for i in range(m)) for j in range(d)))


def l1_path_norms(weights):
    """For every output the sum over paths of the product of |weights|, unit by unit."""
    reached = [1.0] * weights[0].shape[0]
    for w in weights:
        rows, columns = w.shape
        reached = [
            sum(reached[i] * abs(float(w[i, j])) for i in range(rows))
            for j in range(columns)
        ]
    return reached


def golowich_2018_frobenius(weights, b, gamma, m):
    product = 1.0
    for w in weights:
        product *= frobenius(w)
    return b * math.sqrt(len(weights)) * product / (gamma * math.sqrt(m))


def golowich_2018_l1(weights, x, gamma, m):
    product = 1.0
    for w in weights:
        product *= norm_1_inf(w)
    root = math.sqrt(len(weights) + math.log(x.shape[1]))
    return largest_feature(x) * root * product / (gamma * m)


def golowich_2018_l1_path(weights, x, gamma, m):
    root = math.sqrt(len(weights) + math.log(x.shape[1]))
    return largest_feature(x) * root * max(l1_path_norms(weights)) / (gamma * m)


def neyshabur_2015_frobenius(weights, b, gamma, m):
    product = 1.0
    for w in weights:
        product *= frobenius(w)
    return 2 ** (len(weights) - 0.5) * b * product / (gamma * math.sqrt(m))


def neyshabur_2015_frobenius_constants(weights, x):
    """(C, A): C by columns of the last layer, A with 2^(L-1) outside any root."""
    *hidden, last = [np.asarray(w, float) for w in weights]
    classes, peeled = last.shape[1], 2 ** (len(weights) - 1)
    if classes == 2:
        c = frobenius(last[:, 1] - last[:, 0])
        a = 2 * peeled * frobenius(x)
    else:
        c = sum(frobenius(last[:, j]) for j in range(classes))
        a = 4 * classes * peeled * frobenius(x)
    for w in hidden:
        c *= frobenius(w)
    return c, a


def l3_15_product(weights, gamma, d, m):
    product = 1.0
    for w in weights:
        product *= norm_3_15(w)
    return math.sqrt(len(weights) + math.log(d)) * product / (gamma * m ** (1 / 3))


def schatten_15_product(weights, gamma, d, m):
    product = 1.0
    for w in weights:
        product *= schatten(w, 1.5)
    return math.sqrt(len(weights) + math.log(d)) * product / (gamma * math.sqrt(m))


def trace_product(weights, gamma, d, m):
    product = 1.0
    for w in weights:
        product *= schatten(w, 1)
    return math.sqrt(len(weights) + math.log(d)) * product / (gamma * math.sqrt(m))
