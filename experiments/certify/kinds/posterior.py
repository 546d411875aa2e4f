"""A posterior: the network whose weights are drawn afresh for every prediction.

The file holds the posterior and its prior (`experiments.certify.kinds.gaussian`). Errors under noise
are recounted under the draws that they were measured under (`bounds.measures.gibbs_posterior`): these have one
key for every network, so that nobody has chosen them.
"""

import dataclasses
import functools
import math
from collections.abc import Mapping
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np

from bounds.families.pac_bayes import CATONI
from bounds.measures import gibbs_posterior
from experiments.certify import certificate_file
from experiments.certify.kinds import gaussian, recounting
from experiments.certify.kinds.kind import (
    KindOfNetwork,
    miscounted,
    misvalued,
    params_of,
)
from experiments.lab import chains
from experiments.lab.reading.notes import say
from experiments.problems import Examples
from nets.sample import BLOCK
from nets.stochastic import ARRAYS, GaussianNetwork

# Of the draws, for every network: of examples that certify, and of points of a given network.
_KEY, _KEY_OF_POINTS = 2, 11


@dataclasses.dataclass(frozen=True)
class Certificate(gaussian.Certificate):
    """What is claimed of a posterior; `wrong` are predictions under noise.

    Attributes:
      kl: KL(Q || P), nats.
      draws: predictions, each under its own draw of the weights: all examples as many times.
    """

    kl: float
    draws: int

    def among(self) -> int:
        """The predictions."""
        return self.draws

    def check(self) -> None:
        """Raises a `ValueError` where a number cannot be, or a recount would not end."""
        super().check()
        if not 0 < self.draws <= 2 * 10**8:
            raise ValueError("draws: must be 1 to 200000000")


@dataclasses.dataclass(frozen=True)
class Stored:
    """A posterior from its file.

    Attributes:
      layers: as `gaussian.posterior_of` returns them.
      certificate: what is claimed.
    """

    layers: list[dict[str, np.ndarray]]
    certificate: Certificate


def _complexity(form, log_term):
    """A bound by its form (q, c) and its log_term (m, delta), with a fifth of delta for the draws."""

    def value(kl, price, wrong, draws, size, delta):
        q = recounting.kl_inverse(wrong / draws, math.log(5 / delta) / draws)
        return form(q, (kl + price + log_term(size, 0.8 * delta)) / size)

    return value


def _of_kl(size, delta):
    return math.log(2 * math.sqrt(size) / delta)


def _quadratic(q, c):
    return (math.sqrt(q + c / 2) + math.sqrt(c / 2)) ** 2


def _catoni(q, c):
    return min((1 - math.exp(-a * q - c)) / (1 - math.exp(-a)) for a in CATONI)


def _dziugaite_roy_2017(kl, price, wrong, draws, size, delta):
    """kl^-1(q, (KL + price + ln(7 m/(5 delta)))/(m - 1)), q = kl^-1(mean, ln(7/delta)/draws)."""
    q = recounting.kl_inverse(wrong / draws, math.log(7 / delta) / draws)
    if size < 2:
        return 1.0
    nats = kl + price + math.log(7 * size / (5 * delta))
    return recounting.kl_inverse(q, nats / (size - 1))


class PosteriorNetwork(KindOfNetwork):
    """A Gaussian posterior, of which a PAC-Bayes bound speaks."""

    Certificate = Certificate
    called = "a posterior"
    tensors = (gaussian.POSTERIOR,)
    speaks_of = "the network whose weights are drawn afresh for every prediction"
    formulas = {
        "maurer_2004_kl_posterior": _complexity(recounting.kl_inverse, _of_kl),
        "mcallester_1999_posterior": _complexity(
            lambda q, c: q + math.sqrt(c / 2), _of_kl
        ),
        "rivasplata_2019_quadratic_posterior": _complexity(_quadratic, _of_kl),
        # At the best of all lambda it is the quadratic form.
        "thiemann_2017_lambda_posterior": _complexity(_quadratic, _of_kl),
        "tolstikhin_2013_posterior": _complexity(
            lambda q, c: q + math.sqrt(2 * q * c) + 2 * c, _of_kl
        ),
        "catoni_2007_posterior": _complexity(
            _catoni, lambda _, delta: math.log(len(CATONI) / delta)
        ),
        "dziugaite_roy_2017": _dziugaite_roy_2017,
    }

    def stored(
        self, path: Any, tensors: Mapping[str, np.ndarray], certificate: Certificate
    ) -> Stored:
        """The posterior and its prior."""
        try:
            return Stored(
                gaussian.posterior_of(certificate.network, tensors), certificate
            )
        except ValueError as error:
            what = "a posterior and its prior"
            raise certificate_file.not_those(path, what, error) from error

    def data(self, typed: Mapping[str, Any], certificate: Certificate) -> Examples:
        """Those that the prior has not seen."""
        return gaussian.examples(typed, certificate)

    def layers(self, stored: Stored) -> list[dict[str, np.ndarray]]:
        """The means."""
        return gaussian.means(stored.layers)

    def unseen(self, stored: Stored) -> list[dict[str, np.ndarray]] | None:
        """The prior's mean, if it was trained."""
        return gaussian.prior_means(stored.certificate, stored.layers)

    def learned(self, stored: Stored) -> tuple[GaussianNetwork, chex.ArrayTree]:
        """All of it, prior included."""
        graph = chains.graph_from(stored.certificate.network)
        return GaussianNetwork(graph), params_of(stored.layers)

    def logits(self, stored: Stored, inputs: np.ndarray) -> np.ndarray:
        """Each input's under its own draw of the weights, which the measure of points has."""
        network, every = stored.certificate.network, _with_deviations(stored.layers)
        draw, found = _normals(network, stored.layers), []
        for block, start in enumerate(range(0, len(inputs), BLOCK)):
            x = inputs[start : start + BLOCK].astype(np.float64)
            first = _without_noise(network["layers"][0], every[0], x)
            noise = draw(_block_key(_KEY_OF_POINTS, block))
            found.append(_noisy_logits(network, every, first, noise, len(x)))
        return np.concatenate(found)

    def differs(self, stored: Stored, data: Examples) -> list[str]:
        """The KL, the prior, the errors under noise and the bound."""
        one, layers, size = stored.certificate, stored.layers, len(data.labels)
        found = gaussian.differs(one, layers)
        log_prior, price = gaussian.prior(one, layers)
        kl = _kl(layers, log_prior)
        if not abs(kl - one.kl) <= 1e-6 + 1e-9 * abs(one.kl):  # nor if it is no number
            found.append(f"KL is {kl:.9g}, not {one.kl:.9g}")
        passes = max(one.draws // size, 1)
        draws = passes * size
        if draws != one.draws:
            found.append(
                f"its errors are of {one.draws} predictions, not as many of each of {size} examples"
            )
        say(
            f"{draws} predictions are made again, each under its draw: that may take minutes"
        )
        wrong, also = miscounted(one, size, *_errors(one.network, layers, data, passes))
        formula, delta = self.formulas[one.bound], one.delta / one.tried
        value = formula(kl, price, wrong, draws, size, delta)
        return found + also + misvalued(one, value)

    def counted(self, certificate: Certificate) -> str:
        """Errors under noise and KL."""
        one = certificate
        return (
            f"{one.wrong} errors among {one.draws} predictions of {one.certified_size} "
            f"examples, KL {one.kl:.6g}"
        )

    def taken(self, certificate: Certificate) -> list[str]:
        """That the prior has seen no certified example, and how many draws there were to be."""
        found, size = certificate.taken(), certificate.certified_size
        if certificate.draws != math.ceil(gibbs_posterior.DRAWS / size) * size:
            found.append(
                "how many predictions are counted was fixed before any was made"
            )
        return found


@np.errstate(all="ignore")  # a forged one may be no number, and is refuted then
def _kl(layers, log_prior):
    """sum_i (s_i^2 + (w_i - z_i)^2)/(2 l^2) - 1/2 + ln(l/s_i)."""
    total = 0.0
    for _, _, w, log_sd, z in gaussian.arrays(layers):
        squares = np.exp(2 * log_sd) + (w - z) ** 2
        terms = (
            squares / (2 * np.exp(2 * np.float64(log_prior))) - 0.5 + log_prior - log_sd
        )
        total += float(np.sum(terms))
    return total


@functools.partial(jax.jit, static_argnums=0)
def _block_key(key, index):
    return jax.random.fold_in(jax.random.key(key), index)


def _normals(network, layers):
    """key -> the standard normals of a block: of a dense layer's units, of a convolution's arrays."""
    shapes = []
    for op, layer in zip(network["layers"], layers, strict=True):
        own = (layer["bias"],) if op["kind"] == "dense" else (layer[n] for n in ARRAYS)
        shapes.append(tuple((BLOCK, *array.shape) for array in own))
    return _normals_of(tuple(shapes))


@functools.lru_cache(maxsize=16)
def _normals_of(shapes):
    @jax.jit
    def draw(key):
        found = []
        for n, own in enumerate(shapes):
            key_of_layer = jax.random.fold_in(key, n)
            keys = [key_of_layer]
            if len(own) > 1:
                keys = [jax.random.fold_in(key_of_layer, i) for i in range(len(own))]
            pairs = zip(keys, own, strict=True)
            found.append([jax.random.normal(k, s, jnp.float32) for k, s in pairs])
        return found

    return draw


def _errors(network, layers, data, passes):
    """Errors of all passes, each prediction under its own draw: at least and at most."""
    every = _with_deviations(layers)
    recounting.check_fits(network, len(every[-1]["bias"]), data)
    draw, blocks = _normals(network, layers), math.ceil(len(data.labels) / BLOCK)
    counts = np.zeros(3, np.int64)
    for block in range(blocks):
        rows = slice(block * BLOCK, (block + 1) * BLOCK)
        inputs, labels = data.inputs[rows].astype(np.float64), data.labels[rows]
        first = _without_noise(network["layers"][0], every[0], inputs)
        for index in range(block, passes * blocks, blocks):
            noise = draw(_block_key(_KEY, index))
            z = _noisy_logits(network, every, first, noise, len(labels))
            counts += np.sum(recounting.of_margins(z, labels), axis=1)
    return recounting.within_rounding(counts, passes * len(data.labels))


def _with_deviations(layers):
    """Means and standard deviations of every layer, float64."""
    return [
        {n: layer[n] for n in ARRAYS}
        | {f"sd_{n}": np.exp(layer[f"log_sd_{n}"]) for n in ARRAYS}
        for layer in recounting.wide(layers)
    ]


def _noisy_logits(network, every, first, noise, count):
    """Of `count` inputs, each under its own draw; `first` is what `_without_noise` has of them."""
    x = None
    for n, (op, layer) in enumerate(zip(network["layers"], every, strict=True)):
        known = _without_noise(op, layer, np.maximum(x, 0)) if n else first
        own = [np.asarray(a, np.float64)[:count] for a in noise[n]]
        x = _under_noise(op, layer, known, own)
    return x


def _without_noise(op, layer, x):
    """What of a layer does not hang on its draws: means and deviations, or a convolution's input."""
    if op["kind"] == "convolution":
        return x
    x = recounting.averaged(op, x)
    variance = x**2 @ layer["sd_kernel"] ** 2 + layer["sd_bias"] ** 2
    return x @ layer["kernel"] + layer["bias"], np.sqrt(variance)


def _under_noise(op, layer, known, noise):
    """Pre-activations, each example's under its own draw."""
    if op["kind"] == "dense":
        mean, deviation = known
        return mean + deviation * noise[0]
    kernel, bias = (
        layer[n] + layer[f"sd_{n}"] * z for n, z in zip(ARRAYS, noise, strict=True)
    )
    return recounting.convolved(op, kernel, known) + bias[:, None, None]
