"""A given network by its own compressed form: quantised and coded; nothing is trained."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments.certify.routes.route import Course, Route
from experiments.lab.later import later

if TYPE_CHECKING:
    from experiments.certify.given import GivenNetwork
    from experiments.lab.measuring import Arrays
    from experiments.lab.training import Run, Trained

bounds = later("bounds")
code = later("bounds.measures.code")
disagreement = later("bounds.measures.disagreement")
families = later("bounds.families.surrogate")
given = later("experiments.certify.given")
inputs = later("bounds.measures.inputs")
jax = later("jax")
report = later("experiments.lab.report")
training = later("experiments.lab.training")


class Compression(Route):
    """Zhou et al. 2019, with Bazinet, Zantedeschi & Germain 2026."""

    name = "compression"
    about = (
        "of a given network (--network or --weights): it is quantised and coded, its coded form "
        "certified by the labelled examples, and unlabelled points show how often the two disagree"
    )
    groups = ("coded_disagreement", "coded_disagreement_from_origin")
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

        return Course((), (training.Run(problem.name, problem.size, 0),), network)

    def columns(
        self, config: Any, arrays: "Arrays", rows: Sequence[Mapping[str, Any]]
    ) -> dict[str, Any]:
        """Of the candidate that the first certificate rests on: its bits and its two parts."""
        known = [r["bound"] for r in rows if r.get("value") is not None]
        mine = [n for n in known if self.speaks(n)]
        if not mine:
            return {}
        _, named, other = bounds.BOUNDS[mine[0]].groups

        def group(kind: type, name: str) -> Any:
            return kind(**{
                f: arrays[f"{name}/{f}"] for f in kind.__dataclass_fields__
            })  # fmt: skip

        coded = group(code.Code, named)
        disagreeing = group(disagreement.CodedDisagreement, other)
        with jax.enable_x64(True):
            certificates, limits = map(
                np.asarray,
                families.parts_of_codes(
                    group(inputs.Task, "task"),
                    coded,
                    disagreeing,
                    config.delta / config.tried,
                ),
            )
        best = int(np.argmin(certificates + limits))
        unlabelled = int(disagreeing.unlabelled)
        return {
            "bits": int(coded.bits[best]),
            "code_from": "the origin"
            if named.endswith("origin")
            else "the initial weights",
            "code_at_most": float(certificates[best]),
            "compressed_train_error": float(coded.errors[best]),
            "compressed_test_error": _number(coded.holdout_errors[best]),
            "unlabelled": unlabelled,
            "disagreement": int(disagreeing.disagreements[best]) / unlabelled,
            "disagreement_at_most": float(limits[best]),
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


def _number(value):
    return None if np.isnan(value) else float(value)
