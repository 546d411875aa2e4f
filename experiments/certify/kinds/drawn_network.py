"""A drawn network: weights that `evaluate` takes, and all that its certificate needs.

Beside the network is the posterior that it was drawn from, with its prior
(`experiments.certify.kinds.gaussian`).
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import chex
import jax
import numpy as np

from bounds.measures import single_draw
from experiments.certify import certificate_file
from experiments.certify.kinds import gaussian, recounting
from experiments.certify.kinds.kind import KindOfNetwork, miscounted, misvalued
from experiments.lab import chains
from experiments.lab.chains import FINAL
from experiments.problems import Examples
from nets import kernels
from nets.stochastic import ARRAYS


@dataclasses.dataclass(frozen=True)
class Certificate(gaussian.Certificate):
    """What is claimed of a drawn network.

    Attributes:
      log_ratio: ln (dQ/dP)(h), nats.
    """

    log_ratio: float


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


def tensors(params: chex.ArrayTree) -> dict[str, np.ndarray]:
    """Draws the network: its tensors and its posterior's, by name.

    Args:
      params: of the `GaussianNetwork` that it is drawn from.
    """
    with jax.enable_x64(True):
        network = kernels.to_arrays(single_draw.drawn(params))
    final = {f"{FINAL}{name}": np.asarray(array) for name, array in network.items()}
    return final | gaussian.tensors(params)


def _rivasplata_2020(ratio, price, wrong, size, delta):
    """sup {p : kl(k/m || p) <= (ratio + price + ln(2 sqrt(m)/delta))/m}."""
    nats = ratio + price + math.log(2 * math.sqrt(size) / delta)
    return recounting.kl_inverse(wrong / size, max(nats, 0.0) / size)


def _blanchard_2007(ratio, price, wrong, size, delta):
    """sup {p : Pr[Bin(m, p) <= k] >= delta e^-r/(2 (1 + r)^2)}."""
    ratio = max(ratio, 0.0)
    log_level = math.log(delta / 2) - price - ratio - 2 * math.log1p(ratio)
    return recounting.tail_limit(wrong, size, log_level)


class DrawnNetwork(KindOfNetwork):
    """One network, drawn from a posterior."""

    Certificate = Certificate
    called = "a drawn network"
    tensors = (FINAL, gaussian.POSTERIOR)
    formulas = {
        "rivasplata_2020_single_draw": _rivasplata_2020,
        "blanchard_2007_single_draw": _blanchard_2007,
    }

    def stored(
        self, path: Any, tensors: Mapping[str, np.ndarray], certificate: Certificate
    ) -> Stored:
        """The network and its posterior."""
        network = certificate.network
        try:
            posterior = gaussian.posterior_of(network, tensors)
            final = chains.network_of(network, tensors, FINAL)
            for n, (layer, own) in enumerate(zip(final, posterior, strict=True)):
                for part, array in layer.items():
                    if part not in ARRAYS:
                        raise ValueError(
                            f"{FINAL}{n}/{part}: is nothing that a layer has"
                        )
                    if array.shape != own[part].shape:
                        raise ValueError(
                            f"{FINAL}{n}/{part}: must be as its posterior is, "
                            f"{list(own[part].shape)}"
                        )
        except ValueError as error:
            what = "a drawn network and its posterior"
            raise certificate_file.not_those(path, what, error) from error
        return Stored(final, posterior, certificate)

    def data(self, typed: Mapping[str, Any], certificate: Certificate) -> Examples:
        """Those that the prior has not seen."""
        return gaussian.examples(typed, certificate)

    def unseen(self, stored: Stored) -> list[dict[str, np.ndarray]] | None:
        """The prior's mean, if it was trained."""
        return gaussian.prior_means(stored.certificate, stored.posterior)

    def differs(self, stored: Stored, data: Examples) -> list[str]:
        """The draw, the density ratio, the prior, the errors and the bound."""
        one, found = stored.certificate, []
        log_prior, price = gaussian.prior(one, stored.posterior)
        layer = _misdrawn(stored)
        if layer is not None:
            found.append(
                f"layer {layer} is not what the fixed key draws from its posterior"
            )
        ratio = _log_ratio(stored, log_prior)
        if not abs(ratio - one.log_ratio) <= 1e-6 + 1e-9 * abs(one.log_ratio):
            found.append(f"ln ratio is {ratio:.9g}, not {one.log_ratio:.9g}")
        found += gaussian.differs(one, stored.posterior)
        size = len(data.labels)
        counts = recounting.errors(one.network, stored.network, data)
        wrong, also = miscounted(one, size, *counts)
        formula = self.formulas[one.bound]
        value = formula(ratio, price, wrong, size, one.delta / one.tried)
        return found + also + misvalued(one, value)

    def counted(self, certificate: Certificate) -> str:
        """Errors and density ratio."""
        one = certificate
        return f"{one.wrong} errors among {one.certified_size}, ln ratio {one.log_ratio:.6g}"

    def taken(self, certificate: Certificate) -> list[str]:
        """That the prior has seen no certified example."""
        return certificate.taken()


def _misdrawn(stored: Stored) -> int | None:
    """The first layer that is not what the fixed key draws, but for rounding; or None."""
    like = {f"Layer_{n}": layer for n, layer in enumerate(stored.posterior)}
    noise = single_draw.normals(like)
    for number, name, w, log_sd, _ in gaussian.arrays(stored.posterior):
        h = stored.network[number][name].astype(np.float64)
        moved = np.exp(log_sd) * np.asarray(noise[number][name], np.float64)
        allowed = np.spacing(np.abs(h).astype(np.float32)) + 1e-6 * np.abs(moved)
        if not np.all(np.abs(h - (w + moved)) <= allowed):
            return number
    return None


@np.errstate(all="ignore")  # a forged one may be no number, and is refuted then
def _log_ratio(stored: Stored, log_prior: float) -> float:
    """sum_i (h_i - z_i)^2/(2 l^2) - (h_i - w_i)^2/(2 s_i^2) + ln(l/s_i)."""
    total = 0.0
    for number, name, w, log_sd, z in gaussian.arrays(stored.posterior):
        h = stored.network[number][name].astype(np.float64)
        of_prior = (h - z) ** 2 / (2 * np.exp(2 * np.float64(log_prior)))
        of_own = (h - w) ** 2 / (2 * np.exp(2 * log_sd))
        total += float(np.sum(of_prior - of_own + log_prior - log_sd))
    return total
