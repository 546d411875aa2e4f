"""The infinitely wide network with exponential activations (Nagarajan & Kolter 2019)."""

import types

from experiments.data import exponential
from experiments.seeding import Purpose, key_for
from nets.exponential import Exponential


class ExponentialExample:
    """An `Example`, in closed form: what is learned is the training set."""

    sha256 = None
    is_trained = False
    loss = None
    expand = None
    fresh_depends_on_size = False
    fresh_is_everything = False
    float64 = True
    fixed = types.MappingProxyType({})

    def __init__(self, config):
        self._config = config
        self.features = 2 * config.dim
        self.model = Exponential(config.scale)

    def _points(self, key, count):
        return exponential.points(key, count, self._config.dim, self._config.noise)

    def draw(self, seed, size):
        return self._points(key_for(self._config.seed, Purpose.TRAIN, seed, size), size)

    def sprime(self, inputs, labels):
        return exponential.flip_signal(inputs, labels)

    def fresh(self, size):
        key = key_for(self._config.seed, Purpose.TEST)
        return self._points(key, self._config.n_test)

    def risk(self, params, size):
        return None

    def expected(self, size):
        return {}

    def observed(self, params, margins, size):
        return {}
