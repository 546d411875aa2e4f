"""High-dimensional linear classification (Nagarajan & Kolter 2019, Section 3.1).

From w = 0, one gradient step of rate 1 on sum_i y_i h(x_i) gives w = sum_i y_i x_i, that
is w1 = 2 m u and w2 = sum_i y_i x2_i. It is taken example by example: the loss is linear,
so that an epoch at batch 1 is the same step.
"""

import types

import numpy as np
from scipy import special

from bounds import gibbs
from experiments.data import linear
from experiments.examples.example import Example
from experiments.seeding import Purpose, key_for
from nets.linear import Linear


class LinearExample(Example):
    """An `Example`; its risk is exact in closed form given the weights."""

    loss = "linear"
    fresh_depends_on_size = True
    # What an epoch at batch 1 needs to be the paper's gradient step.
    fixed = types.MappingProxyType(
        {"batch_size": 1, "learning_rate": 1.0, "max_epochs": 1}
    )

    def __init__(self, config):
        self._dim, self._seed, self._n_test = config.dim, config.seed, config.n_test
        self.expand = linear.Expand(config.dim)
        self.model = Linear((linear.SIGNAL, config.dim), self.expand)
        self.features = linear.KEPT

    def draw(self, seed, size):
        return linear.points(key_for(self._seed, Purpose.TRAIN, seed, size), size, size)

    def sprime(self, inputs, labels):
        return linear.negate_noise(inputs, labels)

    def fresh(self, size):
        key = key_for(self._seed, Purpose.TEST, size)
        return linear.points(key, self._n_test, size)

    def _parts(self, params, size):
        """2 u.w1, the signal in y h(x); ||w2||; ||w||^2."""
        w1, w2 = (
            np.asarray(params[name], np.float64)[:, 0] for name in ("part_0", "part_1")
        )
        signal = 2 * linear.direction(size) @ w1
        return float(signal), float(np.linalg.norm(w2)), float(w1 @ w1 + w2 @ w2)

    def risk(self, params, size):
        """y h(x) ~ N(2 u.w1, ||w2||^2 32 / D) on a fresh example."""
        signal, noise, _ = self._parts(params, size)
        spread = noise * np.sqrt(linear.NOISE / self._dim)
        return float(special.ndtr(-signal / spread))

    def gibbs_risk(self, signal, norm_w2, size, sigma):
        """The exact risk of N(w, sigma^2 I), from what `observed` says of w."""
        variance = linear.NOISE / self._dim
        return gibbs.gaussian_risk(
            signal, norm_w2, 4 / size, variance, self._dim, sigma
        )

    def expected(self, size):
        """The mean of every quantity, or its limit as D grows."""
        noise = linear.NOISE
        return {
            "signal": 4.0,
            "squared_norm": (4 + noise) * size,
            "train_margin": 4 + noise,
            "sprime_margin": 4 - noise,
            "margin_deviation": noise * float(np.sqrt((size - 1) / self._dim)),
            "risk": float(special.ndtr(-np.sqrt(self._dim / size) / 8)),
        }

    def observed(self, params, margins, size):
        signal, norm, squared_norm = self._parts(params, size)
        return {
            "signal": signal,
            "squared_norm": squared_norm,
            "norm_w2": norm,
            "train_margin": float(np.mean(margins["train"])),
            "sprime_margin": float(np.mean(margins["sprime"])),
            "margin_deviation": float(np.std(margins["train"])),
            "risk": self.risk(params, size),
        }
