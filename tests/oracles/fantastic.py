"""Measures without noise of "Fantastic generalization measures" (Jiang et al. 2020)."""

import math

import numpy as np

from tests.oracles import frobenius


def logarithm(value):
    return math.log(value) if value > 0 else -math.inf


def margin_percentile(margins):
    """The k-th smallest margin, k = max(1, m // 10), signed."""
    ordered = sorted(float(v) for v in margins)
    return ordered[max(1, len(ordered) // 10) - 1]


def squared_path_norm(weights, biases=None):
    """Ones fed to the net of squared weights and biases, its outputs summed."""
    reached = [1.0] * weights[0].shape[0]
    for layer, w in enumerate(weights):
        rows, columns = w.shape
        nxt = []
        for j in range(columns):
            total = 0.0 if biases is None else float(biases[layer][j]) ** 2
            for i in range(rows):
                total += reached[i] * float(w[i, j]) ** 2
            nxt.append(total)
        reached = nxt
    return sum(reached)


def measures(
    weights, initial, spectral_norms, distance_spectral_norms, margins, m, biases=None
):
    """Reported values: sqrt(v / m), for log_* (v - ln m) / 2, for l2* sqrt(norm / m).

    The path norms are left out where a weight is not a matrix.
    """
    depth = len(weights)
    g = margin_percentile(margins)
    s2 = [float(s) ** 2 for s in spectral_norms]
    e2 = [float(e) ** 2 for e in distance_spectral_norms]
    f2 = [frobenius(w) ** 2 for w in weights]
    d2 = [
        frobenius(np.asarray(w, float) - np.asarray(z, float)) ** 2
        for w, z in zip(weights, initial, strict=True)
    ]
    sum_log_s = sum(logarithm(v) for v in s2)
    sum_log_f = sum(logarithm(v) for v in f2)
    moved = sum(d / s for d, s in zip(d2, s2, strict=True))
    ranks = sum(f / s for f, s in zip(f2, s2, strict=True))

    v = {
        "params": sum(np.asarray(w).size for w in weights),
        "log_prod_of_spec": sum_log_s,
        "fro_over_spec": ranks,
        "log_sum_of_spec": math.log(depth) + sum_log_s / depth,
        "log_prod_of_fro": sum_log_f,
        "log_sum_of_fro": math.log(depth) + sum_log_f / depth,
        "fro_dist": sum(d2),
        "dist_spec_init": sum(e2),
        "param_norm": sum(f2),
        "l2": math.sqrt(sum(f2)),
        "l2_dist": math.sqrt(sum(d2)),
    }
    matrices = all(np.asarray(w).ndim == 2 for w in weights)
    if matrices:
        v["path_norm"] = squared_path_norm(weights, biases)
    needing_margin = [
        "inverse_margin",
        "log_prod_of_spec_over_margin",
        "log_spec_init_main",
        "log_spec_orig_main",
        "log_sum_of_spec_over_margin",
        "log_prod_of_fro_over_margin",
        "log_sum_of_fro_over_margin",
    ] + (["path_norm_over_margin"] if matrices else [])
    if g <= 0:
        for name in needing_margin:
            v[name] = math.inf
    else:
        two_log_g = 2 * math.log(g)
        v["inverse_margin"] = 1 / g**2
        v["log_prod_of_spec_over_margin"] = sum_log_s - two_log_g
        v["log_spec_init_main"] = sum_log_s - two_log_g + logarithm(moved)
        v["log_spec_orig_main"] = sum_log_s - two_log_g + logarithm(ranks)
        spread = math.log(depth)
        v["log_sum_of_spec_over_margin"] = spread + (sum_log_s - two_log_g) / depth
        v["log_prod_of_fro_over_margin"] = sum_log_f - two_log_g
        v["log_sum_of_fro_over_margin"] = spread + (sum_log_f - two_log_g) / depth
        if matrices:
            v["path_norm_over_margin"] = v["path_norm"] / g**2

    reported = {}
    for name, value in v.items():
        if name.startswith("log_"):
            reported[name] = (value - math.log(m)) / 2
        else:
            reported[name] = math.sqrt(value / m)
    return reported


def log_softmax(logits):
    top = max(float(z) for z in logits)
    log_sum = top + math.log(sum(math.exp(float(z) - top) for z in logits))
    return [float(z) - log_sum for z in logits]


def cross_entropy(logits, labels):
    """Mean over examples of -ln p(label), p the softmax."""
    total = 0.0
    for one, label in zip(logits, labels, strict=True):
        total -= log_softmax(one)[int(label)]
    return total / len(labels)


def neg_output_entropy(logits):
    """Mean over examples of sum_k p_k ln p_k, p the softmax."""
    total = 0.0
    for one in logits:
        for log_p in log_softmax(one):
            total += math.exp(log_p) * log_p
    return total / len(logits)
