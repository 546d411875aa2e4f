"""The file of a coded network: its bits, the network that they describe, and its certificate.

Beside the network (`experiments.certify.certificate_file`) is `code`, its bits packed into bytes. What a
receiver knows beforehand, he makes from the certificate: the initial weights and the random
subspace of each layer are a function of the seed and of the layers' shapes.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import chex
import jax
import numpy as np

from bounds.measures import code
from bounds.numerics import coding
from experiments.certify import certificate_file
from experiments.lab import chains
from experiments.lab.chains import FINAL
from nets import kernels, subspace
from nets.kernels import layers

_CODE = "code"


@dataclasses.dataclass(frozen=True)
class Certificate(certificate_file.Certificate):
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


def write(
    path: Path,
    model: subspace.SubspaceNetwork,
    params: chex.ArrayTree,
    candidate: tuple[float, float],
    certificate: Certificate,
) -> None:
    """Codes what was learned and writes its file.

    Args:
      path: of the file.
      model, params: the network in its subspace.
      candidate: how it is quantised.
      certificate: of the coded network.
    """
    bits, arrays = coded(subspace.cores(params), candidate)
    network = subspace.materialized(model, subspace.with_cores(params, arrays))
    tensors = {
        f"{FINAL}{n}": np.asarray(a) for n, a in kernels.to_arrays(network).items()
    }
    for n, layer in enumerate(layers(network)):
        # `evaluate` takes networks with biases.
        tensors[f"{FINAL}{n}/bias"] = np.zeros(layer["kernel"].shape[-1], np.float32)
    certificate_file.write(path, tensors | {_CODE: np.packbits(bits)}, certificate)


def read(path: str | Path) -> Stored:
    """A coded network from a file, whose digests fit what is in it.

    Raises:
      Refusal: it cannot be read, is a file of another kind, or was changed.
    """
    certificate, tensors = certificate_file.read(path, (Certificate,))
    return stored(path, tensors, certificate)


def stored(
    path: str | Path, tensors: Mapping[str, np.ndarray], certificate: Certificate
) -> Stored:
    """A coded network from what is in its file.

    Raises:
      Refusal: it is none.
    """
    try:
        for name in ("bits", "seed", "run_seed"):
            if not 0 <= getattr(certificate, name) < 2**32:
                raise ValueError(f"{name}: must be a whole number below 2^32")
        network = chains.layers_of(certificate.network, tensors, FINAL)
        chains.check_layers(certificate.network, network)
        code_ = tensors.get(_CODE)
        if code_ is None or code_.ndim != 1 or code_.dtype != np.uint8:
            raise ValueError(f"{_CODE}: must be bytes")
    except ValueError as error:
        raise certificate_file.not_those(path, "a coded network", error) from error
    return Stored(network, np.unpackbits(code_), certificate)
