"""What the files of a Gaussian posterior and of a network drawn from it share.

`posterior/0/kernel`, ...: the posterior and its prior, named as the parameters of a
`nets.stochastic.GaussianNetwork`.
"""

import dataclasses
import math
from collections.abc import Iterator, Mapping
from typing import Any

import chex
import numpy as np

from experiments.certify import certificate_file
from experiments.certify.kinds import certified_data, initial_weights
from experiments.certify.kinds.kind import ROUNDING
from experiments.certify.kinds.recounting import Layers
from experiments.certify.routes.posterior import certified_part
from experiments.lab import chains
from experiments.problems import Examples
from nets import kernels
from nets.stochastic import ARRAYS

POSTERIOR = "posterior/"


@dataclasses.dataclass(frozen=True)
class Certificate(certificate_file.OfProblem):
    """What is claimed of a network around a posterior.

    Attributes:
      price: ln of 1 over the prior's share of delta.
      has_learned_prior: whether the prior's deviation was chosen on its grid.
      prior_share: of the training examples, that the prior was trained on.
      architecture, width, depth: of the network (`experiments.certify.settings`).
    """

    price: float
    has_learned_prior: bool
    prior_share: float
    architecture: str
    width: int
    depth: int

    def check(self) -> None:
        """Raises a `ValueError` where a number cannot be, or the layers of the network."""
        super().check()
        if not 0 <= self.prior_share < 1:
            raise ValueError("prior_share: must be in [0, 1)")

    def has_trained_prior(self) -> bool:
        """Whether there are training examples that are not certified on: the prior's."""
        return self.certified_size < self.size

    def taken(self) -> list[str]:
        """What a recount takes as it is said."""
        found = []
        if self.has_trained_prior():
            others = self.size - self.certified_size
            found.append(f"its prior was learned on the other {others} examples")
        if not self.has_learned_prior:
            found.append("the deviation of its prior was fixed beforehand")
        return found


def claims(config: Any, model: Any, params: chex.ArrayTree) -> dict[str, Any]:
    """The attributes of a `Certificate` that settings and a learned posterior say.

    Args:
      config: the settings of `certify`.
      model, params: of the `GaussianNetwork`.
    """
    same = ("prior_share", "architecture", "width", "depth")
    mean = {n: {p: layer[p] for p in ARRAYS} for n, layer in params.items()}
    return {name: getattr(config, name) for name in same} | {
        "has_learned_prior": model.learned_prior,
        "network": chains.described(model.plain, mean),
    }


def tensors(params: chex.ArrayTree) -> dict[str, np.ndarray]:
    """The tensors of the parameters of a `GaussianNetwork`, by name."""
    arrays = kernels.to_arrays(params).items()
    return {f"{POSTERIOR}{name}": np.asarray(array) for name, array in arrays}


def posterior_of(
    network: Mapping[str, Any], found: Mapping[str, np.ndarray]
) -> list[dict[str, np.ndarray]]:
    """The layers of a posterior, which has all that it needs.

    Args:
      network: what its layers are (`experiments.lab.chains`).
      found: tensors by name.

    Returns:
      `[{"kernel", "bias", "log_sd_...", "prior_..."}, ...]`, the input's layer first; this one has
      `log_prior_sd`.

    Raises:
      ValueError: something is missing, or of another shape.
    """
    layers = chains.layers_of(network, found, POSTERIOR)
    prior = layers[0].get("log_prior_sd")
    if prior is None or prior.shape != () or not np.isfinite(prior):
        raise ValueError(f"{POSTERIOR}0/log_prior_sd: must be one number")
    for n, layer in enumerate(layers):
        for part in ARRAYS:
            mean = layer.get(part)
            for name in (part, f"log_sd_{part}", f"prior_{part}"):
                its = layer.get(name)
                if (
                    its is None
                    or its.dtype.kind != "f"
                    or its.shape != mean.shape
                    or not np.isfinite(its).all()
                ):
                    raise ValueError(
                        f"{POSTERIOR}{n}/{name}: must be finite numbers, as many as means"
                    )
    chains.check_layers(network, means(layers))
    return layers


def means(posterior: Layers) -> list[dict[str, np.ndarray]]:
    """The layers of the plain network of the means."""
    return [{n: layer[n] for n in ARRAYS} for layer in posterior]


def prior_means(one: Certificate, posterior: Layers) -> list | None:
    """The layers of the network that a prior is around, or None: nobody has trained it."""
    if not one.has_trained_prior():
        return None
    return [{n: layer[f"prior_{n}"] for n in ARRAYS} for layer in posterior]


def examples(typed: Mapping[str, Any], one: Certificate) -> Examples:
    """As `certified_data.of_problem`: those that the prior has not seen."""
    return certified_data.of_problem(typed, one, certified_part)


def prior(one: Certificate, posterior: Layers) -> tuple[float, float]:
    """ln of the prior's deviation and its price: on the grid .1 e^(-j/100) if it was learned."""
    log_prior = float(posterior[0]["log_prior_sd"])
    if not one.has_learned_prior:
        return log_prior, 0.0
    j = max(round(100 * (math.log(0.1) - 2 * log_prior)), 1)
    return (math.log(0.1) - j / 100) / 2, 2 * math.log(j) + math.log(math.pi**2 / 6)


def arrays(posterior: Layers) -> Iterator[tuple[int, str, Any, Any, Any]]:
    """(layer, name, w, ln s, z), float64, of every array of a posterior."""
    for number, layer in enumerate(posterior):
        for name in ARRAYS:
            parts = layer[name], layer[f"log_sd_{name}"], layer[f"prior_{name}"]
            yield (number, name, *(np.asarray(a, np.float64) for a in parts))


def differs(one: Certificate, posterior: Layers) -> list[str]:
    """What of the prior is not as it must be: its price, and what nobody has trained."""
    found, (_, price) = [], prior(one, posterior)
    if not abs(price - one.price) <= ROUNDING:
        found.append(f"the price of the prior is {price:.9g}, not {one.price:.9g}")
    if one.has_trained_prior():
        return found
    plain = initial_weights.plain_network(one, means(posterior), biases=True)
    initial = kernels.to_arrays(initial_weights.initial(plain, one))
    for number, name, _, _, z in arrays(posterior):
        own = np.asarray(initial[f"{number}/{name}"], np.float64)
        if not np.max(np.abs(own - z)) <= 1e-6 * np.max(np.abs(own)):
            found.append(
                f"the prior of layer {number} is not the initial {name} of the seed"
            )
    return found
