"""A given network by a surrogate: trained on a part of the labels, certified by the others."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments.certify.routes.route import Course, Quoted, Route
from experiments.lab.later import later
from experiments.lab.refusals import Refusal
from experiments.lab.settings import setting

if TYPE_CHECKING:
    from experiments.certify.given import GivenNetwork
    from experiments.lab.measuring import Arrays
    from experiments.lab.training import Job, Run, Trained

bounds = later("bounds")
certificate_file = later("experiments.certify.certificate_file")
chains = later("experiments.lab.chains")
disagreement = later("bounds.measures.disagreement")
families = later("bounds.families.surrogate")
given = later("experiments.certify.given")
jax = later("jax")
kernels = later("nets.kernels")
kind = later("experiments.certify.kinds.by_surrogate")
of_given = later("experiments.certify.kinds.of_given")
report = later("experiments.lab.report")
samples = later("nets.sample")
sgd = later("experiments.certify.routes.sgd")
training = later("experiments.lab.training")


@dataclasses.dataclass(frozen=True)
class Settings:
    """Of `surrogate`."""

    certified_share: float = setting(
        0.5, "surrogate: share of the labelled examples that certify it; it is trained on the "
        "others", (lambda v: 0 < v < 1, "a number in (0, 1)")
    )  # fmt: skip


class Surrogate(Route):
    """Bazinet, Zantedeschi & Germain 2026."""

    name = "surrogate"
    about = (
        "of a given network (--network or --weights): a second network is trained on a part of the "
        "labelled examples and certified by the others, and unlabelled points show how often the "
        "given one disagrees with it; the certificate is in weights/<run>_surrogate.safetensors"
    )
    Settings = Settings
    groups = ("surrogate",)
    kept = "surrogate"
    bounds = ("bazinet_2026_surrogate", "holdout_cp")
    of_given = True
    without = ("size",)
    shown = (
        "surrogate_m", "certified", "surrogate_at_most", "unlabelled", "disagreement",
        "disagreement_at_most", "with_labels",
    )  # fmt: skip

    def course(self, config: Any, problem: "GivenNetwork") -> Course:
        """One stage, the surrogate's."""
        size = problem.size
        count = round(config.certified_share * size)
        own = size - count
        if own < config.batch_size or not count:
            raise Refusal(
                f"--certified_share={config.certified_share}: leaves {own} of {size} examples to "
                f"train the surrogate on, in batches of {config.batch_size}, and {count} to "
                "certify it"
            )
        model = sgd.network(config, problem)
        loss = sgd.moving(config, problem)
        plan = sgd.plan(config, model, own, config.epochs, objective=loss)
        surrogates = sgd.runs_of("surrogate", own, config)
        for run in surrogates:
            problem.check_parts(run.seed, count)

        def job(run: "Run", _: "Trained") -> "Job":
            return sgd.job(
                config, problem, run, own=plan, part=slice(count, None), order=0, size=size,
                init=lambda: sgd.initial_network(config, plan, problem.features, run),
            )  # fmt: skip

        def baseline(run: "Run", trained: "Trained") -> "bounds.Network":
            """The surrogate itself, on the labelled examples that it has not seen."""
            held, _ = problem.parts(run.seed, count)
            sample = samples.pad_sample(held.inputs, held.labels, 0)
            return bounds.Network(model, trained.params(surrogates[run.seed]), sample)

        def network(run: "Run", trained: "Trained") -> "bounds.Network":
            its = baseline(run, trained)
            return given.learned(
                problem, model, surrogate=its.params, certifying=its.sample
            )

        return Course(
            stages=(training.Stage(surrogates, job),),
            runs=tuple(
                training.Run(_named(problem.name, run, config), size, run.seed)
                for run in surrogates
            ),
            network=network,
            earlier=lambda run: (surrogates[run.seed],),
            baseline=baseline,
        )

    def certified(self, of: Quoted) -> "tuple[Mapping[str, np.ndarray], Any]":
        """The surrogate."""
        beside, arrays = of.network.learned, of.arrays
        params, sample = (beside.params[n] for n in ("surrogate", "certifying"))
        certificate = kind.Certificate(
            **of.claims(),
            **of_given.claims(of),
            wrong=int(arrays["surrogate/wrong"]),
            disagreements=int(arrays["surrogate/disagreements"]),
            certified_size=int(sample.size),
            data_sha256=certificate_file.digest_of_sample(sample),
            run_seed=of.run.seed,
            size=of.problem.size,
            layers=chains.described(beside.model.surrogate, params),
        )
        tensors = kernels.to_arrays(params).items()
        return {f"{kind.SURROGATE}{n}": np.asarray(a) for n, a in tensors}, certificate

    def columns(
        self, config: Any, arrays: "Arrays", rows: Sequence[Mapping[str, Any]]
    ) -> dict[str, Any]:
        """The counts, the two parts of the certificate, and what others would have given."""
        if "surrogate/wrong" not in arrays:
            return {}
        fields = [f.name for f in dataclasses.fields(disagreement.Surrogate)]
        counts = disagreement.Surrogate(
            **{n: int(arrays[f"surrogate/{n}"]) for n in fields}
        )
        paid = config.delta / config.tried
        with jax.enable_x64(True):
            parts = [float(part) for part in families.parts_of_surrogate(counts, paid)]
        return {
            "surrogate_m": int(arrays["task/size"]) - counts.labelled,
            "certified": counts.labelled,
            "surrogate_error": counts.wrong / counts.labelled,
            "surrogate_at_most": parts[0],
            "unlabelled": counts.unlabelled,
            "disagreement": counts.disagreements / counts.unlabelled,
            "disagreement_at_most": parts[1],
        } | given.with_labels(arrays, config.delta)

    def beside(self, row: Mapping[str, Any], delta: float) -> list[str]:
        """Its parts, and the hold-out bound of the points with labels."""
        if row.get("surrogate_at_most") is None:
            return []
        return [
            f"Its parts: the surrogate errs on at most {report.at_most(row['surrogate_at_most'])} "
            f"(on {row['surrogate_error']:.4f} of {row['certified']}), and disagrees on at most "
            f"{report.at_most(row['disagreement_at_most'])} (on {row['disagreement']:.4f} of "
            f"{row['unlabelled']}).",
            *given.beside(row, delta),
        ]


def _named(name, run, config):
    """What is certified is the given network, once for each surrogate."""
    return name if config.seeds == 1 else f"{name}_by_{run.name}"
