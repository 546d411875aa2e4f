"""Files that carry a certificate: tensors, what their layers are, and all that a recount needs.

What the tensors are, the kind of the certificate says (`experiments.certify.kinds`). `final/0/kernel`,
`final/0/bias`, ... are a network that is spoken of; whoever only wants that one leaves other tensors
alone. What its layers are (`experiments.lab.chains`) is JSON in the metadata, under `network`. So is the
certificate, under `certificate`, with a digest of it beside; it holds the same, and digests of the
tensors and of the examples.
"""

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments.certify.routes import sgd
from experiments.certify.routes.route import Quoted
from experiments.lab import calls, chains, formats, settings
from experiments.lab.chains import CERTIFICATE, NETWORK
from experiments.lab.reading import array_files
from experiments.lab.reading.flaws import Flaw, shown
from experiments.lab.refusals import Refusal
from experiments.problems import Examples
from nets.sample import Sample

_DIGEST = "certificate_sha256"
_OF_CERTIFY = "weights/<run>_<kind>.safetensors"


@dataclasses.dataclass(frozen=True)
class Certificate:
    """What is claimed of a network.

    Attributes:
      bound: its name.
      value: the error is at most this.
      delta: failure probability, that of `tried` settings included.
      tried: settings that share it.
      wrong: errors that were counted.
      certified_size: how many labelled examples it was computed on.
      data_sha256: digest of these.
      definition_sha256: digest of the code of the bound.
    """

    bound: str
    value: float
    delta: float
    tried: int
    wrong: int
    certified_size: int
    data_sha256: str
    definition_sha256: str

    def among(self) -> int:
        """Of how many `wrong` is a part."""
        return self.certified_size

    def check(self) -> None:
        """Raises a `ValueError` where a number cannot be."""
        if not 0 < self.delta < 1:
            raise ValueError("delta: must be between 0 and 1")
        if self.tried < 1:
            raise ValueError("tried: must be at least 1")
        check_counts(self, "tried", "wrong", "certified_size")
        if not self.wrong <= self.among() < 2**32:
            raise ValueError("wrong: more than there are")


@dataclasses.dataclass(frozen=True)
class OfProblem(Certificate):
    """What is claimed of what was learned here, and where it came from.

    Attributes:
      problem, problem_settings: what the examples were drawn from; None: one's own data.
      problem_sha256: digest of its data, or None.
      size: training examples in all.
      seed, run_seed: that decide which these are.
      network: what its layers are (`experiments.lab.chains`).
    """

    problem: str | None
    problem_settings: dict
    problem_sha256: str | None
    size: int
    seed: int
    run_seed: int
    network: dict

    def check(self) -> None:
        """Raises a `ValueError` where a number cannot be, or the layers of the network."""
        super().check()
        check_counts(self, "size", "seed", "run_seed")
        chains.check(self.network)


def check_counts(of: Any, *names: str) -> None:
    """Raises a `ValueError` where one of the attributes of these names is no count of 32 bits."""
    for name in names:
        if not 0 <= getattr(of, name) < 2**32:
            raise ValueError(f"{name}: must be a whole number below 2^32")


def provenance(of: Quoted, part: slice) -> dict[str, Any]:
    """The attributes of an `OfProblem` that say on which examples it rests: those of the network.

    Args:
      of: what is certified.
      part: which of the training examples of its run these are.
    """
    config, size = of.config, int(of.network.sample.size)
    examples = sgd.examples_of(config, of.problem, of.run.seed, part)
    as_measured = digest_of_sample(of.network.sample)
    assert as_measured == digest_of_examples(dataclasses.replace(examples, origin=None))
    # Where the data lie is no part of what they are.
    decide = settings.names(calls.problem_kind(config).Settings, compared=True)
    same = ("problem", "size", "seed")
    return {name: getattr(config, name) for name in same} | {
        "problem_settings": {name: getattr(config, name) for name in decide},
        "problem_sha256": of.problem.sha256,
        "run_seed": of.run.seed,
        "certified_size": size,
        "data_sha256": digest_of_examples(examples),
    }


def digest_of_examples(examples: Examples) -> str:
    """Of inputs, as float32, or of what they were computed from, and of labels, in their order."""
    found, what = hashlib.sha256(), examples.origin
    if what is None:
        what = examples.inputs.astype(np.float32)
    for array in (what, examples.labels.astype(np.int32)):
        found.update(f"{array.shape}".encode())
        found.update(np.ascontiguousarray(array))
    return found.hexdigest()


def digest_of_sample(sample: Sample) -> str:
    """`digest_of_examples` of those that a sample holds."""
    size = int(sample.size)
    inputs, labels = (np.asarray(a)[:size] for a in (sample.inputs, sample.labels))
    return digest_of_examples(Examples(inputs, labels))


def digest_of_tensors(tensors: Mapping[str, np.ndarray]) -> str:
    """Of arrays by name, in the order of names."""
    found = hashlib.sha256()
    for name, array in sorted(tensors.items()):
        found.update(f"{name} {array.dtype} {array.shape}\n".encode())
        found.update(np.ascontiguousarray(array))
    return found.hexdigest()


def _canonical(claims):
    return json.dumps(claims, sort_keys=True)


def _network_of(claims, tensors):
    """The note on the layers of the network among tensors, if there is one."""
    is_there = any(name.startswith(chains.FINAL) for name in tensors)
    if not is_there or NETWORK not in claims:
        return {}
    return {NETWORK: _canonical(claims[NETWORK])}


def write(
    path: Path, tensors: Mapping[str, np.ndarray], certificate: Certificate
) -> None:
    """Writes a file.

    Args:
      path: of it.
      tensors: by name.
      certificate: of the network among them.
    """
    claims = to_claims(certificate, tensors)
    text = _canonical(claims)
    digest = hashlib.sha256(text.encode()).hexdigest()
    notes = {CERTIFICATE: text, _DIGEST: digest} | _network_of(claims, tensors)
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
    if CERTIFICATE not in notes:
        raise Refusal(
            f"{flag}: holds no certificate; give a file that certify has written, {_OF_CERTIFY}"
        )
    text = notes[CERTIFICATE]
    if notes.get(_DIGEST) != hashlib.sha256(text.encode()).hexdigest():
        raise Refusal(
            f"{flag}: its certificate was altered, its digest is another; get the file again"
        )
    certificate, tensors_sha256 = _certificate(flag, text, kinds)
    if tensors_sha256 != digest_of_tensors(tensors):
        raise Refusal(
            f"{flag}: its tensors were changed, their digest is another; get the file again"
        )
    described = {n: text for n, text in notes.items() if n == NETWORK}
    if described != _network_of(dataclasses.asdict(certificate), tensors):
        raise Refusal(
            f"{flag}: what it says of its layers is not what its certificate says; get the file "
            "again"
        )
    return certificate, tensors


def not_those(path: str | Path, what: str, error: ValueError) -> Refusal:
    """Of tensors that are not what a file of this kind has."""
    return Refusal(
        f"--verify={path}: its tensors are not those of {what} ({shown(error)}); get the file again"
    )


def _certificate(flag, text, kinds):
    """As `from_claims`, of what is written of them."""
    try:
        claims = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Refusal(f"{_broken(flag)}; get the file again") from error
    return from_claims(flag, claims, kinds)


def _broken(flag):
    return f"{flag}: its certificate is not one of this version's"


def to_claims(
    certificate: Certificate, tensors: Mapping[str, np.ndarray]
) -> dict[str, Any]:
    """What a file says: what is claimed, and the digest of its tensors."""
    digest = digest_of_tensors(tensors)
    return dataclasses.asdict(certificate) | {"tensors_sha256": digest}


def from_claims(
    flag: str, claims: Any, kinds: Sequence[type[Certificate]]
) -> tuple[Certificate, str]:
    """The certificate, each value of its type and possible, and the digest of its tensors.

    Args:
      flag: with which a refusal begins.
      claims: what was read of a file; by name, if it is as it must be.
      kinds: of certificates that it may be.

    Raises:
      Refusal: it is none of these.
    """
    broken = _broken(flag)
    for kind in kinds:
        types = {f.name: f.type for f in dataclasses.fields(kind)}
        types["tensors_sha256"] = str
        if isinstance(claims, dict) and set(claims) == set(types):
            break
    else:
        raise Refusal(f"{broken}; get the file again")
    for name, its in types.items():
        value = claims[name]
        is_right = isinstance(value, its) and isinstance(value, bool) == (its is bool)
        if not is_right or (its is float and not math.isfinite(value)):
            raise Refusal(f"{broken} ({name} is none that can be); get the file again")
    tensors_sha256 = claims["tensors_sha256"]
    certificate = kind(**{n: v for n, v in claims.items() if n != "tensors_sha256"})
    try:
        certificate.check()
    except ValueError as error:
        raise Refusal(f"{broken} ({shown(error)}); get the file again") from error
    return certificate, tensors_sha256
