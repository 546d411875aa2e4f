"""Sharpness, flatness and gradients: noise, ascent, Hessians, and losses in training.

The numbers in brackets are equations of "Fantastic generalization measures" (Jiang et
al. 2020). w, w0: flat kernels now and at initialisation; m: size of the sample; sigma:
level of the noise search; alpha: radius of the search by ascent. A network is a list of
matrices [in, out] and a list of biases; x is [m, D], y is [m].
"""

import math

import numpy as np

from tests.oracles import forward
from tests.oracles.fantastic import log_softmax

EPSILON = 1e-3


def squared_norm(w):
    return sum(float(v) ** 2 for v in w)


def difference(w, w0):
    return [float(a) - float(b) for a, b in zip(w, w0, strict=True)]


def reported(v, m):
    """sqrt(v / m), which a negative v does not have."""
    return math.sqrt(v / m)


def tail(m, sigma):
    return math.log(m / sigma) + 10


def pacbayes(squares, m, sigma):
    """||.||^2 / (4 sigma^2) + ln(m / sigma) + 10."""
    return squares / (4 * sigma**2) + tail(m, sigma)


def pacbayes_init(w, w0, m, sigma):
    """(48)"""
    return reported(pacbayes(squared_norm(difference(w, w0)), m, sigma), m)


def pacbayes_orig(w, m, sigma):
    """(49)"""
    return reported(pacbayes(squared_norm(w), m, sigma), m)


def pacbayes_flatness(m, sigma):
    """(53): 1 / sigma^2."""
    return reported(1 / sigma**2, m)


def magnitude_sum(squares, moved, level, extra):
    """(1/4) sum ln[(eps^2 + (level^2 + extra) squares/P) / (eps^2 + level^2 moved^2)]."""
    top = EPSILON**2 + (level**2 + extra) * squares / len(moved)
    total = 0.0
    for d in moved:
        total += math.log(top / (EPSILON**2 + level**2 * d**2))
    return total / 4


def pacbayes_mag_init(w, w0, m, sigma):
    """(56), sigma the level of the magnitude noise."""
    moved = difference(w, w0)
    v = magnitude_sum(squared_norm(moved), moved, sigma, 1) + tail(m, sigma)
    return reported(v, m)


def pacbayes_mag_orig(w, w0, m, sigma):
    """(57): ||w||^2 above, as printed w - w0 below."""
    v = magnitude_sum(squared_norm(w), difference(w, w0), sigma, 1) + tail(m, sigma)
    return reported(v, m)


def pacbayes_mag_flatness(m, sigma):
    """(61): 1 / sigma^2."""
    return reported(1 / sigma**2, m)


def sharpness(squares, count, m, alpha, sigma):
    """||.||^2 ln(2 P) / (4 alpha^2) + ln(m / sigma) + 10."""
    return squares * math.log(2 * count) / (4 * alpha**2) + tail(m, sigma)


def sharpness_init(w, w0, m, alpha, sigma):
    """(51)"""
    squares = squared_norm(difference(w, w0))
    return reported(sharpness(squares, len(w), m, alpha, sigma), m)


def sharpness_orig(w, m, alpha, sigma):
    """(52)"""
    return reported(sharpness(squared_norm(w), len(w), m, alpha, sigma), m)


def sharpness_flatness(m, alpha):
    """(54): 1 / alpha^2."""
    return reported(1 / alpha**2, m)


def sharpness_mag_init(w, w0, m, alpha, sigma, delta):
    """(59): 4 ln(2 P / delta) for the 1 of (56), and sigma in the tail."""
    moved = difference(w, w0)
    extra = 4 * math.log(2 * len(w) / delta)
    v = magnitude_sum(squared_norm(moved), moved, alpha, extra) + tail(m, sigma)
    return reported(v, m)


def sharpness_mag_orig(w, w0, m, alpha, sigma, delta):
    """(60): ||w||^2 above, as printed w - w0 below."""
    extra = 4 * math.log(2 * len(w) / delta)
    total = magnitude_sum(squared_norm(w), difference(w, w0), alpha, extra)
    return reported(total + tail(m, sigma), m)


def sharpness_mag_flatness(m, alpha):
    """(62): 1 / alpha^2."""
    return reported(1 / alpha**2, m)


def cross_entropy(weights, biases, x, y):
    """Mean over examples of -ln p(label), p the softmax."""
    total = 0.0
    for one, label in zip(x, y, strict=True):
        total -= log_softmax(forward(weights, biases, one))[int(label)]
    return total / len(y)


def backward(weights, biases, one, back):
    """Gradients of back . logits at one input, kernels and biases, output to input."""
    activations, sums = [np.asarray(one, float)], []
    for layer, (w, b) in enumerate(zip(weights, biases, strict=True)):
        if layer:
            activations.append(np.where(sums[-1] > 0, sums[-1], 0.0))
        sums.append(activations[-1] @ np.asarray(w, float) + np.asarray(b, float))
    kernels, shifts = [], []
    for layer in reversed(range(len(weights))):
        rows, columns = np.shape(weights[layer])
        kernel = np.zeros((rows, columns))
        for i in range(rows):
            for j in range(columns):
                kernel[i, j] = activations[layer][i] * back[j]
        kernels.insert(0, kernel)
        shifts.insert(0, back)
        if layer:
            back = np.asarray(weights[layer], float) @ back
            back = np.where(sums[layer - 1] > 0, back, 0.0)
    return kernels, shifts


def loss_slope(logits, label, loss="softmax"):
    """The gradient of one example's loss in its logits, class by class."""
    count, slopes = len(logits), []
    for k, z in enumerate(logits):
        target = 1.0 if k == int(label) else 0.0
        slopes.append({
            "softmax": math.exp(log_softmax(logits)[k]) - target,
            "sigmoid": (1 / (1 + math.exp(-z)) - target) / count,
            "squared": 2 * (z - target) / count,
            "linear": (1 - target) / (count - 1) - target,
        }[loss])  # fmt: skip
    return np.array(slopes)


def example_gradient(weights, biases, one, label, loss="softmax"):
    """Gradients of one example's loss, kernels and biases, output to input."""
    back = loss_slope(forward(weights, biases, one), label, loss)
    return backward(weights, biases, one, back)


def gradient(weights, biases, x, y, loss="softmax"):
    """Gradients of the mean loss: a list of kernels, a list of biases."""
    kernels = [np.zeros(np.shape(w)) for w in weights]
    shifts = [np.zeros(np.shape(b)) for b in biases]
    for one, label in zip(x, y, strict=True):
        found, found_shifts = example_gradient(weights, biases, one, label, loss)
        for layer in range(len(weights)):
            kernels[layer] += found[layer] / len(y)
            shifts[layer] += found_shifts[layer] / len(y)
    return kernels, shifts


def flat(kernels):
    return np.concatenate([np.ravel(np.asarray(w, float)) for w in kernels])


def shaped(vector, like):
    """A flat vector cut into the shapes of given kernels."""
    kernels, start = [], 0
    for w in like:
        kernels.append(np.reshape(vector[start : start + np.size(w)], np.shape(w)))
        start += np.size(w)
    return kernels


def hessian(weights, biases, x, y, step=1e-5):
    """[P, P] second derivatives of the mean cross-entropy in the kernels.

    Central differences of the gradient; no kink of a ReLU may lie within a step.
    """
    w = flat(weights)
    columns = []
    for index in range(len(w)):
        moved = np.zeros(len(w))
        moved[index] = step
        above, _ = gradient(shaped(w + moved, weights), biases, x, y)
        below, _ = gradient(shaped(w - moved, weights), biases, x, y)
        columns.append((flat(above) - flat(below)) / (2 * step))
    found = np.array(columns)
    return (found + found.T) / 2


def hessian_top_eigenvalue(weights, biases, x, y):
    """The largest one with its sign."""
    return float(np.linalg.eigvalsh(hessian(weights, biases, x, y))[-1])


def hessian_trace(weights, biases, x, y):
    return float(np.trace(hessian(weights, biases, x, y)))


def gradient_noise(weights, biases, x, y, loss="softmax"):
    """Mean over examples of ||g_i - g||^2, g_i the example's gradient in the kernels."""
    mean = flat(gradient(weights, biases, x, y, loss)[0])
    total = 0.0
    for one, label in zip(x, y, strict=True):
        g = flat(example_gradient(weights, biases, one, label, loss)[0])
        total += squared_norm(g - mean)
    return total / len(y)


def average_sharpness(weights, biases, x, y, rho, rng, draws, adaptive=False):
    """Mean and standard error of the rise of the loss under noise in the kernels.

    The noise of a weight w has standard deviation rho, or rho |w| if adaptive.
    """
    w = flat(weights)
    scale = np.abs(w) if adaptive else np.ones(len(w))
    clean = cross_entropy(weights, biases, x, y)
    rises = []
    for _ in range(draws):
        noisy = w + rho * scale * rng.standard_normal(len(w))
        rises.append(cross_entropy(shaped(noisy, weights), biases, x, y) - clean)
    mean = sum(rises) / draws
    spread = sum((r - mean) ** 2 for r in rises) / (draws - 1)
    return mean, math.sqrt(spread / draws)


def edge_of_ball(direction, rho, norm):
    """The point of the l2 or linf ball of radius rho furthest along a direction."""
    if norm == "linf":
        return rho * np.sign(direction)
    length = math.sqrt(squared_norm(direction))
    return rho * direction / length if length > 0 else np.zeros(len(direction))


def worst_sharpness(
    weights, biases, x, y, rho, rng, draws, steps=20, norm="l2", adaptive=False
):
    """A lower estimate of the largest rise of the loss on a ball of kernels.

    A perturbation is u, or |w| u if adaptive, with u in the ball. Tried: u = 0, random
    u on the sphere (corners for linf), and from u = 0 and every tenth of the others on
    a number of steps, each to the edge of the ball along the gradient at the last u.
    """
    w = flat(weights)
    scale = np.abs(w) if adaptive else np.ones(len(w))
    clean = cross_entropy(weights, biases, x, y)

    def rise(u):
        moved = shaped(w + scale * u, weights)
        return cross_entropy(moved, biases, x, y) - clean

    best = 0.0
    for draw in range(draws + 1):
        u = np.zeros(len(w))
        if draw:
            u = edge_of_ball(rng.standard_normal(len(w)), rho, norm)
        best = max(best, rise(u))
        for _ in range(steps if draw % 10 == 0 else 0):
            moved = shaped(w + scale * u, weights)
            g = scale * flat(gradient(moved, biases, x, y)[0])
            u = edge_of_ball(g, rho, norm)
            best = max(best, rise(u))
    return best


def steps_to_loss(losses_per_epoch, steps_per_epoch, target):
    """Steps done after the first epoch whose loss is at most the target, else inf."""
    for epoch, loss in enumerate(losses_per_epoch, 1):
        if loss <= target:
            return epoch * steps_per_epoch
    return math.inf


def sotl(losses):
    """Sum of the training losses."""
    return sum(float(v) for v in losses)


def sotl_last(losses, k):
    """Sum of the last k of them, of all if there are fewer."""
    return sotl(losses[max(0, len(losses) - k) :])
