"""The infinitely wide network with exponential activations (Nagarajan & Kolter 2019)."""

import dataclasses
import functools

import numpy as np

from experiments.lab.later import later
from experiments.lab.seeding import Purpose, key_for
from experiments.lab.settings import at_least_1, one_of, positive, setting
from experiments.problems.problem import Examples, Problem

jax, jnp = later("jax"), later("jax.numpy")
exponential = later("nets.exponential")

NOISES = ("gaussian", "cube")


def points(key: "jax.Array", count: int, dim: int, noise: str) -> Examples:
    """Examples x `[2 D]`: x1 = y u, u = (1/2, ..., 1/2), and x2 noise of unit variance.

    Args:
      key: typed key.
      count: N.
      dim: D.
      noise: "gaussian", N(0, I), or "cube", uniform on {-1, 1}^D.
    """
    label_key, noise_key = jax.random.split(key)
    labels = jax.random.bernoulli(label_key, shape=(count,)).astype(jnp.int32)
    kind = {"gaussian": jax.random.normal, "cube": jax.random.rademacher}[noise]
    second = kind(noise_key, (count, dim), dtype=jnp.float32)
    first = jnp.broadcast_to((labels - 0.5)[:, None], (count, dim))
    inputs = jnp.concatenate([first, second], axis=1)
    record = {"key": np.asarray(jax.random.key_data(key))}
    return Examples(np.asarray(inputs), np.asarray(labels), record)


@dataclasses.dataclass(frozen=True)
class Settings:
    """Of `exponential`."""

    dim: int = setting(50, "dimensions of the noise", at_least_1, varies=True)
    noise: str = setting("gaussian", "law of the noise", one_of(*NOISES), varies=True)
    scale: float = setting(
        1.0, "s^2, the variance of the hidden weights", positive, varies=True
    )  # fmt: skip
    n_test: int = setting(2000, "fresh test points", at_least_1)


class ExponentialProblem(Problem):
    """A `Problem` in closed form: what is learned is the training set."""

    about = (
        "The infinitely wide network with exponential activations, in closed form. S' flips "
        "the signal and the label of every training example: as likely a training set as S."
    )
    Settings = Settings
    fixed = dict.fromkeys(("width", "batch_size", "learning_rate", "max_epochs")) | {
        "watch": 0
    }
    _DEMO = {
        "vary": "dim=4,8,16,32,64,128,256,512", "sizes": (64, 256, 1024), "seeds": 16,
        "margin": 1e-6, "threshold": 0.0,
    }  # fmt: skip
    presets = {
        "uc_failure": {
            "demo": _DEMO,
            "notebook": _DEMO | {"noise": "cube"},
            "paper": _DEMO
            | {
                "sizes": (64, 256, 1024, 4096),
                "vary": "dim=4,8,16,32,64,128,256,512,1024",
                "seeds": 60,
            },
        }
    }
    is_trained = False
    float64 = True
    margin_unit = "log margin y (log h+ - log h-)"

    def __init__(self, settings: Settings, seed: int):
        self._settings, self._seed = settings, seed
        self.features = 2 * settings.dim
        self.model = exponential.Exponential(settings.scale)

    def _points(self, key, count):
        return points(key, count, self._settings.dim, self._settings.noise)

    def draw(self, seed: int, size: int, draw: int | None = None) -> Examples:
        """Fresh points."""
        numbers = (seed, size) if draw is None else (seed, size, draw)
        return self._points(key_for(self._seed, Purpose.TRAIN, *numbers), size)

    @functools.cache  # noqa: B019  (a problem lives as long as its program)
    def test(self, size: int | None = None) -> Examples:
        """Fresh points, the same for all sizes."""
        key = key_for(self._seed, Purpose.TEST)
        return self._points(key, self._settings.n_test)

    def sprime(
        self, inputs: np.ndarray, labels: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """((x1, x2), y) -> ((-x1, x2), -y), as the noise does not know the label."""
        dim = inputs.shape[1] // 2
        return np.concatenate([-inputs[:, :dim], inputs[:, dim:]], axis=1), 1 - labels
