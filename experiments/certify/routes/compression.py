"""A given network by its own compressed form: quantised and coded; nothing is trained."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments.certify.routes.route import Course, Quoted, Route
from experiments.lab.later import later

if TYPE_CHECKING:
    from experiments.certify.given import GivenNetwork
    from experiments.lab.jobs import Run, Trained
    from experiments.lab.measuring import Arrays

bounds = later("bounds")
certificate_file = later("experiments.certify.certificate_file")
code = later("bounds.measures.code")
disagreement = later("bounds.measures.disagreement")
families = later("bounds.families.surrogate")
given = later("experiments.certify.given")
inputs = later("bounds.measures.inputs")
jax = later("jax")
kind = later("experiments.certify.kinds.by_code")
of_given = later("experiments.certify.kinds.of_given")
report = later("experiments.lab.report")
jobs = later("experiments.lab.jobs")


class Compression(Route):
    """Zhou et al. 2019, with Bazinet, Zantedeschi & Germain 2026."""

    name = "compression"
    about = (
        "of a given network (--network or --weights): it is quantised and coded, its coded form "
        "certified by the labelled examples, and unlabelled points show how often the two disagree; the certificate is in "
        "weights/<run>_compressed.safetensors"
    )
    groups = ("coded_disagreement", "coded_disagreement_from_origin")
    kept = "compressed"
    bounds = (
        "bazinet_2026_code", "bazinet_2026_code_from_origin", "zhou_2019_code",
        "zhou_2019_code_from_origin", "holdout_cp",
    )  # fmt: skip
    of_given = True
    without = (
        "size", "seeds", "architecture", "width", "depth", "shift", "rotation", "zoom",
        "epochs", "batch_size", "learning_rate", "momentum",
    )  # fmt: skip
    shown = (
        "bits", "code_from", "code_at_most", "compressed_train_error", "unlabelled",
        "disagreement", "disagreement_at_most", "with_labels",
    )  # fmt: skip

    def course(self, config: Any, problem: "GivenNetwork") -> Course:
        """Nothing to be trained."""

        def network(_: "Run", __: "Trained") -> "bounds.Network":
            return given.learned(problem)

        return Course((), (jobs.Run(problem.name, problem.size, 0),), network)

    def certified(self, of: Quoted) -> "tuple[Mapping[str, np.ndarray], Any]":
        """The bits of the candidate that the certificate rests on."""
        best, coded, disagreeing, _ = _best(of.row["bound"], of.arrays, of.config)
        network, size = of.network, int(of.network.sample.size)
        init = network.init if kind.is_of_initial(of.row["bound"]) else None
        certificate = kind.Certificate(
            **of.claims(),
            **of_given.claims(of),
            wrong=round(float(coded.errors[best]) * size),
            disagreements=int(disagreeing.disagreements[best]),
            bits=int(coded.bits[best]),
            certified_size=size,
            data_sha256=certificate_file.digest_of_sample(network.sample),
            init_sha256=None if init is None else of_given.digest_of_params(init),
        )
        return kind.tensors(network.params, init, code.CANDIDATES[best]), certificate

    def columns(
        self, config: Any, arrays: "Arrays", rows: Sequence[Mapping[str, Any]]
    ) -> dict[str, Any]:
        """Of the candidate that the first certificate rests on: its bits and its two parts."""
        known = [r["bound"] for r in rows if r.get("value") is not None]
        mine = [n for n in known if self.speaks(n)]
        if not mine:
            return {}
        best, coded, disagreeing, parts = _best(mine[0], arrays, config)
        unlabelled = int(disagreeing.unlabelled)
        return {
            "bits": int(coded.bits[best]),
            "code_from": "the initial weights"
            if kind.is_of_initial(mine[0])
            else "the origin",
            "code_at_most": parts[0],
            "compressed_train_error": float(coded.errors[best]),
            "compressed_test_error": _number(coded.holdout_errors[best]),
            "unlabelled": unlabelled,
            "disagreement": int(disagreeing.disagreements[best]) / unlabelled,
            "disagreement_at_most": parts[1],
        } | given.with_labels(arrays, config.delta)

    def beside(self, row: Mapping[str, Any], delta: float) -> list[str]:
        """What stops it, and the hold-out bound."""
        if row.get("code_at_most") is None:
            return []
        return [
            f"Its parts: the network that {row['bits']} bits describe (from {row['code_from']}) "
            f"errs on at most {report.at_most(row['code_at_most'])} (on "
            f"{row['compressed_train_error']:.4f} of {row['m']}), {row['bits'] / row['m']:.3g} bits "
            "an example, and disagrees with this one on at most "
            f"{report.at_most(row['disagreement_at_most'])} (on {row['disagreement']:.4f} of "
            f"{row['unlabelled']}).",
            *given.beside(row, delta),
        ]


def _best(bound, arrays, config):
    """Which candidate a certificate rests on: `(place, Code, CodedDisagreement, its two parts)`."""
    _, named, other = bounds.BOUNDS[bound].groups

    def group(kind: type, name: str) -> Any:
        return kind(**{f: arrays[f"{name}/{f}"] for f in kind.__dataclass_fields__})

    coded = group(code.Code, named)
    disagreeing = group(disagreement.CodedDisagreement, other)
    with jax.enable_x64(True):
        parts = families.parts_of_codes(
            group(inputs.Task, "task"),
            coded,
            disagreeing,
            config.delta / config.tried,
        )
    certificates, limits = map(np.asarray, parts)
    best = int(np.argmin(certificates + limits))
    return best, coded, disagreeing, (float(certificates[best]), float(limits[best]))


def _number(value):
    return None if np.isnan(value) else float(value)
