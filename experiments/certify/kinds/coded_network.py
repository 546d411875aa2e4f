"""A coded network: its bits, and the network that they describe.

Beside the network is `code`, its bits packed into bytes. What a receiver knows beforehand, he makes
from the certificate: the initial weights and the random subspace of each layer, if there is one, are
a function of the seed and of the layers' shapes.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import chex
import jax
import numpy as np

import bounds
from bounds.measures import code
from bounds.numerics import coding
from experiments.certify import certificate_file
from experiments.certify.kinds import certified_data, initial_weights, recounting
from experiments.certify.kinds.kind import KindOfNetwork, miscounted, misvalued
from experiments.certify.routes.subspace import certified_part
from experiments.lab import chains
from experiments.lab.chains import FINAL
from experiments.problems import Examples
from nets import kernels, quantised, subspace
from nets.kernels import layers

CODE, PRIOR = "code", "prior/"


@dataclasses.dataclass(frozen=True)
class Certificate(certificate_file.OfProblem):
    """What is claimed of a coded network.

    Attributes:
      bits: its length, at least that of the code in the file.
      rank: of the subspaces; 0: there are none.
      architecture, width, depth: of the network (`experiments.certify.settings`).
      code_prior_share: of the training examples, that a prior was trained on: the code tells the way
        from its weights; 0: from the initial ones.
    """

    bits: int
    rank: int
    architecture: str
    width: int
    depth: int
    code_prior_share: float

    def check(self) -> None:
        """Raises a `ValueError` where a number cannot be, or the layers of the network."""
        super().check()
        certificate_file.check_counts(self, "bits", "rank")
        if not 0 <= self.code_prior_share < 1:
            raise ValueError("code_prior_share: must be in [0, 1)")
        if self.code_prior_share and not self.rank:
            raise ValueError("code_prior_share: there is no subspace around a prior")
        left = self.size - round(self.code_prior_share * self.size)
        if self.certified_size != left or (self.code_prior_share > 0) != (
            left < self.size
        ):
            raise ValueError(
                f"certified_size: of {self.size} examples the prior leaves {left}"
            )


@dataclasses.dataclass(frozen=True)
class Stored:
    """A coded network from its file.

    Attributes:
      network: `[{"kernel", "bias"}, ...]`, the input's layer first; biases are 0.
      prior: the same of a prior, or None.
      code: `[c]` uint8, its bits, and what fills the last byte.
      certificate: what is claimed.
    """

    network: list[dict[str, np.ndarray]]
    prior: list[dict[str, np.ndarray]] | None
    code: np.ndarray
    certificate: Certificate


def written(
    learned: bounds.Learned, place: int
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """What `coding.encode` writes of a network: the symbols and the exponents of its arrays.

    Args:
      learned: in its subspace, or quantised in training.
      place: which of `bounds.measures.code.CANDIDATES`; nothing where it was quantised in training.
    """
    if isinstance(learned.model, quantised.QuantisedNetwork):
        found = quantised.symbols(learned.params)
    else:
        with jax.enable_x64(True):
            cores = subspace.cores(learned.params)
            found = code.quantised(cores, code.CANDIDATES[place])
    return jax.device_get(found)


def decoded(bits: np.ndarray, fixed: chex.ArrayTree) -> tuple[list[np.ndarray], int]:
    """The network that a receiver makes of bits.

    Args:
      bits: `[>= c]`, 0 or 1.
      fixed: the initial parameters of a `nets.subspace.SubspaceNetwork`, or of a plain chain of
        layers: of that only the shapes matter.

    Returns:
      `(kernels, c)`: `[kernel, ...]` float64, the input's layer first; how many bits the code has.

    Raises:
      ValueError: the bits are no code.
    """
    shapes = [np.shape(array) for array in quantised.arrays(fixed)]
    symbols, exponents, length = coding.decode(bits, shapes)
    found = []
    for layer, own, exponent in zip(layers(fixed), symbols, exponents, strict=True):
        array = own * float(coding.step(exponent))
        if "core" in layer:
            parts = {n: np.asarray(a, np.float64) for n, a in layer.items()}
            move = parts["left"] @ array @ parts["right"]
            array = parts["fixed_kernel"] + move.reshape(parts["fixed_kernel"].shape)
        found.append(array)
    return found, length


def plain_params(model: Any, params: chex.ArrayTree) -> chex.ArrayTree:
    """The parameters of the plain network that is the same as one of few bits.

    Args:
      model: a `QuantisedNetwork`, a `SubspaceNetwork`, or a plain network.
      params: its parameters.
    """
    if isinstance(model, quantised.QuantisedNetwork):
        model, params = model.of, quantised.rounded(params)
    is_within = isinstance(model, subspace.SubspaceNetwork)
    return subspace.materialized(model, params) if is_within else params


def tensors(
    learned: bounds.Learned, place: int, has_prior: bool = False
) -> dict[str, np.ndarray]:
    """Codes what was learned: the bits and the tensors of the network that they describe.

    Args:
      learned, place: as of `written`.
      has_prior: whether what is fixed of the kernels was trained: then it is among the tensors.
    """
    symbols, exponents = written(learned, place)
    arrays = list(map(np.asarray, code.decoded(symbols, exponents)))
    of, params = learned.model, quantised.with_arrays(learned.params, arrays)
    if isinstance(of, quantised.QuantisedNetwork):
        of = of.of
    fixed = [layer["fixed_kernel"] for layer in layers(params)] if has_prior else []
    parts = {
        FINAL: [layer["kernel"] for layer in layers(plain_params(of, params))],
        PRIOR: fixed,
    }
    found = {}
    for prefix, every in parts.items():
        for n, kernel in enumerate(every):
            found[f"{prefix}{n}/kernel"] = np.asarray(kernel)
            # `evaluate` takes networks with biases.
            found[f"{prefix}{n}/bias"] = np.zeros(kernel.shape[-1], np.float32)
    return found | {CODE: np.packbits(coding.encode(symbols, exponents))}


def bits_of(found: Mapping[str, np.ndarray]) -> np.ndarray:
    """The bits of a code among tensors: `[c]` uint8, and what fills the last byte.

    Raises:
      ValueError: there are none.
    """
    code_ = found.get(CODE)
    if code_ is None or code_.ndim != 1 or code_.dtype != np.uint8:
        raise ValueError(f"{CODE}: must be bytes")
    return np.unpackbits(code_)


class CodedNetwork(KindOfNetwork):
    """The network that few bits describe."""

    Certificate = Certificate
    called = "a coded network"
    tensors = (FINAL, CODE, PRIOR)
    formulas = dict.fromkeys(
        ("lotfi_2022_subspace", "lotfi_2022_quantised"), recounting.coded_limit
    )

    def stored(
        self, path: Any, tensors: Mapping[str, np.ndarray], certificate: Certificate
    ) -> Stored:
        """The network and its bits."""
        prefixes = (FINAL, PRIOR) if certificate.code_prior_share else (FINAL,)
        try:
            network, *prior = (
                chains.network_of(certificate.network, tensors, prefix)
                for prefix in prefixes
            )
            named = {
                f"{prefix}{n}/{part}"
                for prefix in prefixes
                for n in range(len(network))
                for part in ("kernel", "bias")
            }
            if strange := sorted(set(tensors) - named - {CODE}):
                raise ValueError(f"{strange[0]}: is nothing that it has")
            if prior and any(np.any(layer["bias"]) for layer in prior[0]):
                raise ValueError(f"{PRIOR}: its biases must be 0")
            return Stored(network, *(prior or [None]), bits_of(tensors), certificate)
        except ValueError as error:
            raise certificate_file.not_those(path, "a coded network", error) from error

    def data(self, typed: Mapping[str, Any], certificate: Certificate) -> Examples:
        """All training examples that a prior has not seen."""
        return certified_data.of_problem(typed, certificate, certified_part)

    def unseen(self, stored: Stored) -> list[dict[str, np.ndarray]] | None:
        """The prior, if there is one."""
        return stored.prior

    def logits(self, stored: Stored, inputs: np.ndarray) -> np.ndarray:
        """Of what the bits say."""
        said = _said(stored, decoded(stored.code, _known(stored))[0])
        every = recounting.wide(said)
        return recounting.all_logits(stored.certificate.network, every, inputs)

    def differs(self, stored: Stored, data: Examples) -> list[str]:
        """The bits and what they say, the errors and the bound."""
        one, found = stored.certificate, []
        # First of all: what is known beforehand may be large, and is of the size of the inputs.
        recounting.check_fits(one.network, len(stored.network[-1]["bias"]), data)
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
        counts = recounting.errors(one.network, _said(stored, own), data)
        wrong, found = miscounted(one, size, *counts)
        value = self.formulas[one.bound](one.bits, wrong, size, one.delta / one.tried)
        return found + misvalued(one, value)

    def counted(self, certificate: Certificate) -> str:
        """Errors and bits."""
        one = certificate
        return f"{one.wrong} errors among {one.certified_size}, {one.bits} bits"

    def taken(self, certificate: Certificate) -> list[str]:
        """That a prior has seen no certified example."""
        others = certificate.size - certificate.certified_size
        return (
            [f"its prior was learned on the other {others} examples"] if others else []
        )


def _said(stored, decoded_kernels):
    """The layers of what its bits say."""
    pairs = zip(stored.network, decoded_kernels, strict=True)
    return [layer | {"kernel": kernel} for layer, kernel in pairs]


def _known(stored):
    """What a receiver knows beforehand: the initial parameters, in a subspace if there is one."""
    one = stored.certificate
    plain = initial_weights.plain_network(one, stored.network, biases=False)
    within = subspace.SubspaceNetwork(plain, one.rank) if one.rank else plain
    params = initial_weights.initial(within, one)
    if stored.prior is None:
        return params
    return subspace.around(
        kernels.from_arrays(
            {f"{n}/kernel": layer["kernel"] for n, layer in enumerate(stored.prior)},
            initial_weights.shapes(plain, one),
        ),
        params,
    )
