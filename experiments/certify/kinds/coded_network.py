"""A coded network: its bits, and the network that they describe.

Beside the network is `code`, its bits packed into bytes. What a receiver knows beforehand, he makes
from the certificate: the initial weights and the random subspace of each layer are a function of the
seed and of the layers' shapes.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import chex
import jax
import numpy as np

from bounds.measures import code
from bounds.numerics import coding
from experiments.certify import certificate_file
from experiments.certify.kinds import certified_data, initial_weights, recounting
from experiments.certify.kinds.kind import Kind, miscounted, misvalued
from experiments.lab import chains
from experiments.lab.chains import FINAL
from experiments.problems import Examples
from nets import kernels, subspace
from nets.kernels import layers

CODE = "code"


@dataclasses.dataclass(frozen=True)
class Certificate(certificate_file.OfProblem):
    """What is claimed of a coded network.

    Attributes:
      bits: its length, at least that of the code in the file.
      rank: of the subspaces.
      architecture, width, depth: of the network (`experiments.certify.settings`).
    """

    bits: int
    rank: int
    architecture: str
    width: int
    depth: int

    def check(self) -> None:
        """Raises a `ValueError` where a number cannot be, or the layers of the network."""
        super().check()
        certificate_file.check_counts(self, "bits")
        if self.rank < 1:
            raise ValueError("rank: must be at least 1")


@dataclasses.dataclass(frozen=True)
class Stored:
    """A coded network from its file.

    Attributes:
      network: `[{"kernel", "bias"}, ...]`, the input's layer first; biases are 0.
      code: `[c]` uint8, its bits, and what fills the last byte.
      certificate: what is claimed.
    """

    network: list[dict[str, np.ndarray]]
    code: np.ndarray
    certificate: Certificate


def coded(cores: list[Any], candidate: tuple[float, float]) -> tuple[np.ndarray, Any]:
    """The bits of what was learned in a subspace, and what they say.

    Args:
      cores: `nets.subspace.cores`.
      candidate: one of `bounds.measures.code.CANDIDATES`.

    Returns:
      `[c]` uint8, and the decoded cores, float32.
    """
    with jax.enable_x64(True):
        symbols, exponents = code.quantised(cores, candidate)
        bits = coding.encode(symbols, exponents)
        return bits, [np.asarray(a) for a in code.decoded(symbols, exponents)]


def decoded(bits: np.ndarray, fixed: chex.ArrayTree) -> tuple[list[np.ndarray], int]:
    """The network that a receiver makes of bits.

    Args:
      bits: `[>= c]`, 0 or 1.
      fixed: the initial parameters of a `nets.subspace.SubspaceNetwork`.

    Returns:
      `(kernels, c)`: `[kernel, ...]` float64, the input's layer first; how many bits the code has.

    Raises:
      ValueError: the bits are no code.
    """
    shapes = [np.shape(core) for core in subspace.cores(fixed)]
    symbols, exponents, length = coding.decode(bits, shapes)
    found = []
    for layer, own, exponent in zip(layers(fixed), symbols, exponents, strict=True):
        parts = {n: np.asarray(a, np.float64) for n, a in layer.items()}
        core = own * float(coding.step(exponent))
        move = parts["left"] @ core @ parts["right"]
        found.append(parts["fixed_kernel"] + move.reshape(parts["fixed_kernel"].shape))
    return found, length


def tensors(
    model: subspace.SubspaceNetwork,
    params: chex.ArrayTree,
    candidate: tuple[float, float],
) -> dict[str, np.ndarray]:
    """Codes what was learned: the bits and the tensors of the network that they describe.

    Args:
      model, params: the network in its subspace.
      candidate: how it is quantised.
    """
    bits, arrays = coded(subspace.cores(params), candidate)
    network = subspace.materialized(model, subspace.with_cores(params, arrays))
    found = {
        f"{FINAL}{n}": np.asarray(a) for n, a in kernels.to_arrays(network).items()
    }
    for n, layer in enumerate(layers(network)):
        # `evaluate` takes networks with biases.
        found[f"{FINAL}{n}/bias"] = np.zeros(layer["kernel"].shape[-1], np.float32)
    return found | {CODE: np.packbits(bits)}


def bits_of(found: Mapping[str, np.ndarray]) -> np.ndarray:
    """The bits of a code among tensors: `[c]` uint8, and what fills the last byte.

    Raises:
      ValueError: there are none.
    """
    code_ = found.get(CODE)
    if code_ is None or code_.ndim != 1 or code_.dtype != np.uint8:
        raise ValueError(f"{CODE}: must be bytes")
    return np.unpackbits(code_)


class CodedNetwork(Kind):
    """The network that few bits describe, learned in a random subspace."""

    Certificate = Certificate
    tensors = (FINAL, CODE)
    formulas = {"lotfi_2022_subspace": recounting.coded_limit}

    def stored(
        self, path: Any, tensors: Mapping[str, np.ndarray], certificate: Certificate
    ) -> Stored:
        """The network and its bits."""
        try:
            network = chains.network_of(certificate.network, tensors, FINAL)
            return Stored(network, bits_of(tensors), certificate)
        except ValueError as error:
            raise certificate_file.not_those(path, "a coded network", error) from error

    def data(self, typed: Mapping[str, Any], certificate: Certificate) -> Examples:
        """All training examples."""
        return certified_data.of_problem(typed, certificate)

    def differs(self, stored: Stored, data: Examples) -> list[str]:
        """The bits and what they say, the errors and the bound."""
        one, found = stored.certificate, []
        try:
            own, length = decoded(stored.code, _known(stored))
        except ValueError as error:
            return [f"its code is none ({error})"]
        if length > one.bits:
            found.append(f"its code has {length} bits, not {one.bits}")
        for n, (layer, kernel) in enumerate(zip(stored.network, own, strict=True)):
            allowed = 1e-5 * np.max(np.abs(kernel))
            if layer["kernel"].shape != kernel.shape or np.any(layer["bias"]):
                found.append(f"layer {n} is of another shape than the decoded one")
            elif not np.max(np.abs(layer["kernel"] - kernel)) <= allowed:
                found.append(f"layer {n} is not what its code says")
        if found:
            return found
        size = len(data.labels)
        # Of what the bits say: the rounding of the stored one is not paid for.
        said = [
            layer | {"kernel": kernel}
            for layer, kernel in zip(stored.network, own, strict=True)
        ]
        counts = recounting.errors(one.network, said, data)
        wrong, found = miscounted(one, size, *counts)
        value = self.formulas[one.bound](one.bits, wrong, size, one.delta / one.tried)
        return found + misvalued(one, value)

    def counted(self, certificate: Certificate) -> str:
        """Errors and bits."""
        one = certificate
        return f"{one.wrong} errors among {one.certified_size}, {one.bits} bits"


def _known(stored):
    """What a receiver knows beforehand: the initial parameters of the network in its subspace."""
    one = stored.certificate
    plain = initial_weights.plain_network(one, stored.network, biases=False)
    return initial_weights.initial(subspace.SubspaceNetwork(plain, one.rank), one)
