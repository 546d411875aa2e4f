"""What the code must agree with: numpy float64 and plain loops, nothing of ours.

Formulas are written from the papers, element by element where that is bearable.
"""

import math

import numpy as np


def forward(weights, biases, x):
    """Logits of one input: a ReLU network written out, unit by unit."""
    a = [float(v) for v in x]
    for index, (w, b) in enumerate(zip(weights, biases, strict=True)):
        if index:
            a = [max(v, 0.0) for v in a]
        rows, columns = w.shape
        a = [
            sum(a[i] * float(w[i, j]) for i in range(rows)) + float(b[j])
            for j in range(columns)
        ]
    return np.array(a)


def margin(logits, label):
    others = [float(v) for k, v in enumerate(logits) if k != label]
    return float(logits[label]) - max(others)


def sigmoid_loss(logits, label):
    """C logistic losses, averaged over the classes."""
    total = 0.0
    for k, z in enumerate(logits):
        p = 1 / (1 + math.exp(-float(z)))
        total -= math.log(p) if k == label else math.log(1 - p)
    return total / len(logits)


def softmax_loss(logits, label):
    exps = [math.exp(float(z)) for z in logits]
    return -math.log(exps[label] / sum(exps))


def squared_loss(logits, label):
    return sum((float(z) - (k == label)) ** 2 for k, z in enumerate(logits)) / len(
        logits
    )


def linear_loss(logits, label):
    """Mean of the other classes' logits minus the label's."""
    others = [z for k, z in enumerate(logits) if k != label]
    return sum(others) / len(others) - logits[label]


def spectral(a):
    return float(np.linalg.svd(np.asarray(a, float), compute_uv=False)[0])


def frobenius(a):
    return math.sqrt(sum(float(v) ** 2 for v in np.ravel(a)))


def norm_21(a):
    """Sum over output units (columns) of the l2 norm of their weights."""
    return sum(
        math.sqrt(sum(float(a[i, j]) ** 2 for i in range(a.shape[0])))
        for j in range(a.shape[1])
    )


def excess_neyshabur_2018(weights, distances, b, gamma, m, d, h):
    product, ratios = 1.0, 0.0
    for w, delta in zip(weights, distances, strict=True):
        product *= spectral(w)
        ratios += frobenius(delta) ** 2 / spectral(w) ** 2
    return b * d * math.sqrt(h) * product * math.sqrt(ratios) / (gamma * math.sqrt(m))


def excess_bartlett_2017(weights, distances, b, gamma, m, transposed=False):
    product, total = 1.0, 0.0
    for w, delta in zip(weights, distances, strict=True):
        product *= spectral(w)
        total += (norm_21(delta.T if transposed else delta) / spectral(w)) ** (2 / 3)
    return b * product * total**1.5 / (gamma * math.sqrt(m))


def excess_neyshabur_2019(weights, initial, b, gamma, m):
    first = spectral(initial[0]) + frobenius(weights[0] - initial[0])
    return b * frobenius(weights[1]) * first / (gamma * math.sqrt(m))


def folded(weights, biases):
    """Biases as weights of a constant 1: [[W, 0], [b, 1]], the last layer [[W], [b]]."""
    found = []
    for index, (w, b) in enumerate(zip(weights, biases, strict=True)):
        rows = [[*map(float, row)] for row in w] + [[*map(float, b)]]
        if index + 1 < len(weights):
            rows = [row + [0.0] for row in rows[:-1]] + [rows[-1] + [1.0]]
        found.append(np.array(rows))
    return found


def peeling_constants(weights, x, kind):
    """(C, A) of the bounds by peeling, from matrices with biases folded in and X."""
    *hidden, last = [np.asarray(w, float) for w in weights]
    k, d, depth = last.shape[1], x.shape[1], len(weights)
    if k == 2:
        last = last[:, 1:] - last[:, :1]
    columns = range(last.shape[1])
    feature = math.sqrt(max(sum(float(v) ** 2 for v in x[:, j]) for j in range(d)))
    log_k, factor = (0.0, 2) if k == 2 else (math.log(k), 4)
    if kind == "frobenius":
        c = sum(frobenius(last[:, j]) for j in columns)
        for w in hidden:
            c *= frobenius(w)
        inner = 2 * ((depth - 1) * math.log(2) + log_k)
        return c, factor * frobenius(x) * (1 + math.sqrt(inner))
    if kind == "l1":
        c = sum(abs(float(v)) for v in last.ravel())
        for w in hidden:
            c *= max(sum(abs(float(v)) for v in w[:, j]) for j in range(w.shape[1]))
    else:
        c = 0.0
        for path in np.ndindex(*(w.shape[0] for w in weights), last.shape[1]):
            product = 1.0
            for w, i, j in zip([*hidden, last], path, path[1:], strict=False):
                product *= abs(float(w[i, j]))
            c += product
    inner = 2 * (depth * math.log(2) + log_k + math.log(d))
    return c, factor * feature * math.sqrt(inner)


def peeling_bound(c, a, margins, delta):
    """The least of ramp(gamma) + A 2^k / m + 3 sqrt(ln(2 / (delta p(k))) / (2 m))."""
    m, best = len(margins), math.inf
    margins = np.asarray(margins, float)
    for k in range(-150, 150):
        gamma = c / 2.0**k
        ramp = np.mean(np.clip(1 - margins / gamma, 0.0, 1.0))
        p = 2 / (3 * (abs(k) + 1) * (abs(k) + 2))
        deviation = 3 * math.sqrt(math.log(2 / (delta * p)) / (2 * m))
        best = min(best, ramp + a * 2.0**k / m + deviation)
    return best


def margin_error(margins, gamma):
    return sum(1 for v in margins if v <= gamma) / len(margins)


def median_margin(margins):
    """The lower one of the two in the middle."""
    return sorted(margins)[(len(margins) - 1) // 2]


def sgd(weights, biases, inputs, labels, rate, batch, epochs):
    """Plain SGD on the averaged sigmoid loss in fixed order, gradients by hand.

    Returns the weights and biases after each epoch; an incomplete batch is dropped.
    """
    weights = [np.array(w, float) for w in weights]
    biases = [np.array(b, float) for b in biases]
    history = []
    for _ in range(epochs):
        for start in range(0, len(labels) - batch + 1, batch):
            weight_steps = [np.zeros_like(w) for w in weights]
            bias_steps = [np.zeros_like(b) for b in biases]
            for x, y in zip(
                inputs[start : start + batch],
                labels[start : start + batch],
                strict=True,
            ):
                activations, a = [], np.array(x, float)
                for index, (w, b) in enumerate(zip(weights, biases, strict=True)):
                    if index:
                        a = np.where(a > 0, a, 0.0)
                    activations.append(a)
                    a = a @ w + b
                classes = len(a)
                one_hot = np.eye(classes)[y]
                back = (1 / (1 + np.exp(-a)) - one_hot) / classes / batch
                for index in reversed(range(len(weights))):
                    weight_steps[index] += np.outer(activations[index], back)
                    bias_steps[index] += back
                    back = (back @ weights[index].T) * (activations[index] > 0)
            weights = [w - rate * g for w, g in zip(weights, weight_steps, strict=True)]
            biases = [b - rate * g for b, g in zip(biases, bias_steps, strict=True)]
        history.append(([w.copy() for w in weights], [b.copy() for b in biases]))
    return history


def slope(x, y):
    """Least squares by the normal equations."""
    n, sx, sy = len(x), sum(x), sum(y)
    sxy = sum(a * b for a, b in zip(x, y, strict=True))
    sxx = sum(a * a for a in x)
    return (n * sxy - sx * sy) / (n * sxx - sx * sx)


def binomial_tail_at_least(k, n, p):
    return sum(math.comb(n, j) * p**j * (1 - p) ** (n - j) for j in range(k, n + 1))


def exponential_log_margin(inputs, labels, scale, x, label):
    """y (log h_+ - log h_-), h_c(x) = sum_{i: y_i = c} exp(scale ||x + x_i||^2 / 2)."""
    terms = {0: [], 1: []}
    for one, y in zip(inputs, labels, strict=True):
        distance = sum((float(a) + float(b)) ** 2 for a, b in zip(x, one, strict=True))
        terms[int(y)].append(scale * distance / 2)

    def log_sum(exponents):
        if not exponents:
            return -math.inf
        top = max(exponents)
        return top + math.log(sum(math.exp(e - top) for e in exponents))

    lead = log_sum(terms[1]) - log_sum(terms[0])
    return lead if label == 1 else -lead


def energy_distance(x, y):
    """2 E||X - Y|| - E||X - X'|| - E||Y - Y'|| of two empirical laws, by loops."""

    def mean_distance(a, b):
        return sum(math.dist(p, q) for p in a for q in b) / (len(a) * len(b))

    return 2 * mean_distance(x, y) - mean_distance(x, x) - mean_distance(y, y)


def normal_cdf(z):
    return (1 + math.erf(z / math.sqrt(2))) / 2


def gibbs_error(margins, norms, sigma):
    """Mean over examples of Pr[N(margin, (sigma norm)^2) < 0]."""
    pairs = list(zip(margins, norms, strict=True))
    return sum(normal_cdf(-m / (sigma * n)) for m, n in pairs) / len(pairs)
