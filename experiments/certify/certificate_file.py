"""Files that carry a certificate: tensors, what their layers are, and all that a recount needs.

`final/0/kernel`, `final/0/bias`, ... are the network that is spoken of; whoever only wants that one
leaves other tensors alone. What its layers are (`experiments.lab.chains`) is JSON in the metadata,
under `network`. So is the certificate, under `certificate`, with a digest of it beside; it holds the
same, and digests of the tensors and of the examples.
"""

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments.lab import chains, formats, settings
from experiments.lab.chains import NETWORK
from experiments.lab.reading import array_files
from experiments.lab.reading.flaws import Flaw, shown
from experiments.lab.refusals import Refusal
from experiments.problems import PROBLEMS, Examples, Problem

_NOTE, _DIGEST = "certificate", "certificate_sha256"
_OF_CERTIFY = "weights/<run>_drawn.safetensors or weights/<run>_coded.safetensors"


@dataclasses.dataclass(frozen=True)
class Certificate:
    """What is claimed of a network, and where it came from.

    Attributes:
      bound: its name.
      value: the error is at most this.
      delta: failure probability, that of `tried` settings included.
      tried: settings that share it.
      wrong: errors among the certified examples.
      certified_size: how many these are.
      problem, problem_settings: what they were drawn from.
      problem_sha256: digest of its data, or None.
      size: training examples in all.
      seed, run_seed: that decide which these are.
      data_sha256: digest of the certified examples.
      definition_sha256: digest of the code of the bound.
      network: what its layers are (`experiments.lab.chains`).
    """

    bound: str
    value: float
    delta: float
    tried: int
    wrong: int
    certified_size: int
    problem: str
    problem_settings: dict
    problem_sha256: str | None
    size: int
    seed: int
    run_seed: int
    data_sha256: str
    definition_sha256: str
    network: dict


def provenance(
    config: Any, run_seed: int, problem: Problem, examples: Examples
) -> dict[str, Any]:
    """The attributes of a `Certificate` that say where it came from, and what was paid for.

    Args:
      config: the settings of `certify`.
      run_seed: of the run.
      problem: what was learned.
      examples: the certified ones.
    """
    # Where the data lie is no part of what they are.
    decide = settings.names(PROBLEMS[config.problem].Settings, compared=True)
    same = ("delta", "tried", "problem", "size", "seed")
    return {name: getattr(config, name) for name in same} | {
        "problem_settings": {name: getattr(config, name) for name in decide},
        "problem_sha256": problem.sha256,
        "run_seed": run_seed,
        "data_sha256": digest_of_examples(examples),
    }


def digest_of_examples(examples: Examples) -> str:
    """Of inputs, as float32, and labels, in their order."""
    found = hashlib.sha256()
    for array in (examples.inputs.astype(np.float32), examples.labels.astype(np.int32)):
        found.update(f"{array.shape}".encode())
        found.update(np.ascontiguousarray(array))
    return found.hexdigest()


def digest_of_tensors(tensors: Mapping[str, np.ndarray]) -> str:
    """Of arrays by name, in the order of names."""
    found = hashlib.sha256()
    for name, array in sorted(tensors.items()):
        found.update(f"{name} {array.dtype} {array.shape}\n".encode())
        found.update(np.ascontiguousarray(array))
    return found.hexdigest()


def _canonical(claims):
    return json.dumps(claims, sort_keys=True)


def write(
    path: Path, tensors: Mapping[str, np.ndarray], certificate: Certificate
) -> None:
    """Writes a file.

    Args:
      path: of it.
      tensors: by name.
      certificate: of the network among them.
    """
    claims = dataclasses.asdict(certificate)
    text = _canonical(claims | {"tensors_sha256": digest_of_tensors(tensors)})
    digest = hashlib.sha256(text.encode()).hexdigest()
    notes = {_NOTE: text, _DIGEST: digest, NETWORK: _canonical(certificate.network)}
    formats.write_tensors(path, dict(tensors), notes)


def read(
    path: str | Path, kinds: Sequence[type[Certificate]]
) -> tuple[Certificate, dict[str, np.ndarray]]:
    """A certificate and the tensors of its file, whose digests fit what is in it.

    Args:
      path: of the file.
      kinds: of certificates that it may hold.

    Raises:
      Refusal: it cannot be read, is a file of another kind, or was changed.
    """
    flag = f"--verify={path}"
    try:
        notes = array_files.notes(path)
        tensors = {n: np.asarray(a) for n, a in array_files.read(path).items()}
    except Flaw as flaw:
        raise Refusal(
            f"{flag}: cannot be read ({flaw}); give a file that certify has written, {_OF_CERTIFY}"
        ) from None
    if _NOTE not in notes:
        raise Refusal(
            f"{flag}: holds no certificate; give a file that certify has written, {_OF_CERTIFY}"
        )
    text = notes[_NOTE]
    if notes.get(_DIGEST) != hashlib.sha256(text.encode()).hexdigest():
        raise Refusal(
            f"{flag}: its certificate was altered, its digest is another; get the file again"
        )
    kind, claims = _claims(flag, text, kinds)
    if claims.pop("tensors_sha256") != digest_of_tensors(tensors):
        raise Refusal(
            f"{flag}: its tensors were changed, their digest is another; get the file again"
        )
    if notes.get(NETWORK) != _canonical(claims["network"]):
        raise Refusal(
            f"{flag}: what it says of its layers is not what its certificate says; get the file "
            "again"
        )
    return kind(**claims), tensors


def not_those(path: str | Path, what: str, error: ValueError) -> Refusal:
    """Of tensors that are not what a file of this kind has."""
    return Refusal(
        f"--verify={path}: its tensors are not those of {what} ({shown(error)}); get the file again"
    )


def _claims(flag, text, kinds):
    """The kind of a certificate, and its content, each value of its type."""
    broken = Refusal(
        f"{flag}: its certificate is not one of this version's; get the file again"
    )
    try:
        claims = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise broken from error
    for kind in kinds:
        types = {f.name: f.type for f in dataclasses.fields(kind)}
        types["tensors_sha256"] = str
        if isinstance(claims, dict) and set(claims) == set(types):
            break
    else:
        raise broken
    for name, its in types.items():
        value = claims[name]
        is_right = isinstance(value, its) and isinstance(value, bool) == (its is bool)
        if not is_right or (its is float and not math.isfinite(value)):
            raise broken
    is_right = 0 < claims["delta"] < 1 and 1 <= claims["tried"] < 2**31
    is_right &= 0 <= claims["wrong"] <= claims["certified_size"] < 2**31
    if not is_right:
        raise broken
    try:
        chains.check(claims["network"])
    except ValueError as error:
        raise broken from error
    return kind, claims
