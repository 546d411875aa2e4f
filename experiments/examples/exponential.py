"""The infinitely wide network with exponential activations (Nagarajan & Kolter 2019)."""

from experiments.data import exponential
from experiments.examples.example import Example
from experiments.seeding import Purpose, key_for
from nets.exponential import Exponential


class ExponentialExample(Example):
    """An `Example`, in closed form: what is learned is the training set."""

    is_trained = False
    float64 = True

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
