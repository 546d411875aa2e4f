"""The file of a drawn network: weights that `evaluate` takes, and all that its certificate needs.

`final/0/kernel`, `final/0/bias`, ... are the network. `posterior/0/kernel`, ... are the posterior
that it was drawn from and its prior, named as the parameters of a
`nets.stochastic.GaussianNetwork`: whoever only wants the network leaves them alone. What its layers
are (`experiments.lab.chains`) is JSON in the metadata, under `network`. So is the certificate, under
`certificate`, with a digest of it beside; it holds the same, and digests of the tensors and of the
examples.
"""

import dataclasses
import hashlib
import json
import math
from pathlib import Path

import chex
import jax
import numpy as np

from bounds.measures import single_draw
from experiments.lab import chains, formats
from experiments.lab.chains import FINAL, NETWORK
from experiments.lab.reading import array_files
from experiments.lab.reading.flaws import Flaw, shown
from experiments.lab.refusals import Refusal
from experiments.problems import Examples
from nets import kernels
from nets.stochastic import ARRAYS

_NOTE, _DIGEST = "certificate", "certificate_sha256"
_POSTERIOR = "posterior/"


@dataclasses.dataclass(frozen=True)
class Certificate:
    """What is claimed of a drawn network, and where it came from.

    Attributes:
      bound: its name.
      value: the error is at most this.
      delta: failure probability, that of `tried` settings included.
      tried: settings that share it.
      log_ratio: ln (dQ/dP)(h), nats.
      price: ln of 1 over the prior's share of delta.
      has_learned_prior: whether the prior's deviation was chosen on its grid.
      wrong: errors among the certified examples.
      certified_size: how many these are.
      problem, problem_settings: what they were drawn from.
      problem_sha256: digest of its data, or None.
      size: training examples in all.
      prior_share: of them, that the prior was trained on.
      seed, run_seed: that decide which these are.
      data_sha256: digest of the certified examples.
      definition_sha256: digest of the code of the bound.
      network: what its layers are (`experiments.lab.chains`).
    """

    bound: str
    value: float
    delta: float
    tried: int
    log_ratio: float
    price: float
    has_learned_prior: bool
    wrong: int
    certified_size: int
    problem: str
    problem_settings: dict
    problem_sha256: str | None
    size: int
    prior_share: float
    seed: int
    run_seed: int
    data_sha256: str
    definition_sha256: str
    network: dict


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


def digest_of_examples(examples: Examples) -> str:
    """Of inputs, as float32, and labels, in their order."""
    found = hashlib.sha256()
    for array in (examples.inputs.astype(np.float32), examples.labels.astype(np.int32)):
        found.update(f"{array.shape}".encode())
        found.update(np.ascontiguousarray(array))
    return found.hexdigest()


def _digest_of(tensors):
    """Of arrays by name, in the order of names."""
    found = hashlib.sha256()
    for name, array in sorted(tensors.items()):
        found.update(f"{name} {array.dtype} {array.shape}\n".encode())
        found.update(np.ascontiguousarray(array))
    return found.hexdigest()


def _canonical(claims):
    return json.dumps(claims, sort_keys=True)


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
    claims = dataclasses.asdict(certificate) | {"tensors_sha256": _digest_of(tensors)}
    text = _canonical(claims)
    digest = hashlib.sha256(text.encode()).hexdigest()
    notes = {_NOTE: text, _DIGEST: digest, NETWORK: _canonical(certificate.network)}
    formats.write_tensors(path, tensors, notes)


def read(path: str | Path) -> Stored:
    """A drawn network from a file, whose digests fit what is in it.

    Raises:
      Refusal: it cannot be read, is a file of another kind, or was changed.
    """
    flag = f"--verify={path}"
    try:
        notes = array_files.notes(path)
        tensors = {n: np.asarray(a) for n, a in array_files.read(path).items()}
    except Flaw as flaw:
        raise Refusal(
            f"{flag}: cannot be read ({flaw}); give a file of a drawn network, "
            "weights/<run>_drawn.safetensors"
        ) from None
    if _NOTE not in notes:
        raise Refusal(
            f"{flag}: holds no certificate; give a file of a drawn network, "
            "weights/<run>_drawn.safetensors"
        )
    text = notes[_NOTE]
    if notes.get(_DIGEST) != hashlib.sha256(text.encode()).hexdigest():
        raise Refusal(
            f"{flag}: its certificate was altered, its digest is another; get the file again"
        )
    claims = _claims(flag, text)
    if claims.pop("tensors_sha256") != _digest_of(tensors):
        raise Refusal(
            f"{flag}: its tensors were changed, their digest is another; get the file again"
        )
    if notes.get(NETWORK) != _canonical(claims["network"]):
        raise Refusal(
            f"{flag}: what it says of its layers is not what its certificate says; get the file "
            "again"
        )
    try:
        stored = _stored(tensors, claims["network"])
    except ValueError as error:
        raise Refusal(
            f"{flag}: its tensors are not those of a drawn network and its posterior "
            f"({shown(error)}); get the file again"
        ) from error
    return Stored(*stored, Certificate(**claims))


def _claims(flag, text):
    """The content of a certificate, each value of its type."""
    kinds = {f.name: f.type for f in dataclasses.fields(Certificate)}
    kinds["tensors_sha256"] = str
    broken = Refusal(
        f"{flag}: its certificate is not one of this version's; get the file again"
    )
    try:
        claims = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise broken from error
    if not isinstance(claims, dict) or set(claims) != set(kinds):
        raise broken
    for name, kind in kinds.items():
        value = claims[name]
        is_right = isinstance(value, kind) and isinstance(value, bool) == (kind is bool)
        if not is_right or (kind is float and not math.isfinite(value)):
            raise broken
    is_right = 0 < claims["delta"] < 1 and 1 <= claims["tried"] < 2**31
    is_right &= 0 <= claims["wrong"] <= claims["certified_size"] < 2**31
    if not is_right:
        raise broken
    try:
        chains.check(claims["network"])
    except ValueError as error:
        raise broken from error
    return claims


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
