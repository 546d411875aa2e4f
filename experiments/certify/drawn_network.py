"""The file of a drawn network: weights that `evaluate` takes, and all that its certificate needs.

Beside the network (`experiments.certify.certificate_file`) are `posterior/0/kernel`, ...: the posterior
that it was drawn from and its prior, named as the parameters of a `nets.stochastic.GaussianNetwork`.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import chex
import jax
import numpy as np

from bounds.measures import single_draw
from experiments.certify import certificate_file
from experiments.lab import chains
from experiments.lab.chains import FINAL
from nets import kernels
from nets.stochastic import ARRAYS

_POSTERIOR = "posterior/"


@dataclasses.dataclass(frozen=True)
class Certificate(certificate_file.Certificate):
    """What is claimed of a drawn network.

    Attributes:
      log_ratio: ln (dQ/dP)(h), nats.
      price: ln of 1 over the prior's share of delta.
      has_learned_prior: whether the prior's deviation was chosen on its grid.
      prior_share: of the training examples, that the prior was trained on.
    """

    log_ratio: float
    price: float
    has_learned_prior: bool
    prior_share: float


@dataclasses.dataclass(frozen=True)
class Stored:
    """A drawn network from its file.

    Attributes:
      network: `[{"kernel": [in, out] or [kh, kw, in, out], "bias": [out]}, ...]`, the input's layer
        first.
      posterior: the same layers as `kernel`, `bias`, `log_sd_...`, `prior_...`; the first one
        has `log_prior_sd`.
      certificate: what is claimed.
    """

    network: list[dict[str, np.ndarray]]
    posterior: list[dict[str, np.ndarray]]
    certificate: Certificate


def write(path: Path, params: chex.ArrayTree, certificate: Certificate) -> None:
    """Draws the network and writes its file.

    Args:
      path: of the file.
      params: of the `GaussianNetwork` that it is drawn from.
      certificate: of it.
    """
    with jax.enable_x64(True):
        network = single_draw.drawn(params)
    trees = {FINAL: network, _POSTERIOR: params}
    tensors = {
        f"{prefix}{name}": np.asarray(array)
        for prefix, tree in trees.items()
        for name, array in kernels.to_arrays(tree).items()
    }
    certificate_file.write(path, tensors, certificate)


def read(path: str | Path) -> Stored:
    """A drawn network from a file, whose digests fit what is in it.

    Raises:
      Refusal: it cannot be read, is a file of another kind, or was changed.
    """
    certificate, tensors = certificate_file.read(path, (Certificate,))
    return stored(path, tensors, certificate)


def stored(
    path: str | Path, tensors: Mapping[str, np.ndarray], certificate: Certificate
) -> Stored:
    """A drawn network from what is in its file.

    Raises:
      Refusal: it is none.
    """
    try:
        return Stored(*_stored(tensors, certificate.network), certificate)
    except ValueError as error:
        what = "a drawn network and its posterior"
        raise certificate_file.not_those(path, what, error) from error


def _stored(tensors, network):
    """The layers of the network and of its posterior, which has all that it needs."""
    final, posterior = (
        chains.layers_of(network, tensors, prefix) for prefix in (FINAL, _POSTERIOR)
    )
    chains.check_layers(network, final)
    prior = posterior[0].get("log_prior_sd")
    if prior is None or prior.shape != () or not np.isfinite(prior):
        raise ValueError(f"{_POSTERIOR}0/log_prior_sd: must be one number")
    for n, (layer, own) in enumerate(zip(final, posterior, strict=True)):
        for part, array in layer.items():
            if part not in ARRAYS:
                raise ValueError(f"{FINAL}{n}/{part}: is nothing that a layer has")
            for name in (part, f"log_sd_{part}", f"prior_{part}"):
                its = own.get(name)
                if (
                    its is None
                    or its.shape != array.shape
                    or not np.isfinite(its).all()
                ):
                    raise ValueError(
                        f"{_POSTERIOR}{n}/{name}: must be finite numbers, {list(array.shape)}"
                    )
    return final, posterior
