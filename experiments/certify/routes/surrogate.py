"""A given network by a surrogate: trained on a part of the labels, certified by the others; or one
that comes with a certificate of its own."""

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments.certify.routes.route import Course, Quoted, Route
from experiments.lab.later import later
from experiments.lab.refusals import Refusal
from experiments.lab.settings import setting, shown

if TYPE_CHECKING:
    from experiments.certify.given import GivenNetwork
    from experiments.lab.jobs import Job, Run, Trained
    from experiments.lab.measuring import Arrays

bounds = later("bounds")
by_certificate = later("experiments.certify.kinds.by_certificate")
certificate_file = later("experiments.certify.certificate_file")
certified_surrogate = later("bounds.measures.certified_surrogate")
chains = later("experiments.lab.chains")
disagreement = later("bounds.measures.disagreement")
families = later("bounds.families.surrogate")
given = later("experiments.certify.given")
jax = later("jax")
kernels = later("nets.kernels")
kind = later("experiments.certify.kinds.by_surrogate")
kinds = later("experiments.certify.kinds")
surrogate_file = later("experiments.certify.kinds.surrogate_file")
of_given = later("experiments.certify.kinds.of_given")
report = later("experiments.lab.report")
samples = later("nets.sample")
sgd = later("experiments.certify.routes.sgd")
jobs = later("experiments.lab.jobs")


@dataclasses.dataclass(frozen=True)
class Settings:
    """Of `surrogate`."""

    certified_share: float = setting(
        0.5, "surrogate: share of the labelled examples that certify it; it is trained on the "
        "others", (lambda v: 0 < v < 1, "a number in (0, 1)")
    )  # fmt: skip
    surrogate_file: str | None = setting(
        None, "surrogate: a certificate of another run of certify, "
        "weights/<run>_posterior|drawn|coded|picked.safetensors: its network is the surrogate, and "
        "nothing is trained; it is recounted first, and what it may fail with is a part of --delta",
        compared=False
    )  # fmt: skip


# What concerns the training of a surrogate alone.
OF_TRAINING = (
    "certified_share", "seeds", "architecture", "width", "depth", "shift", "rotation", "zoom",
    "epochs", "batch_size", "learning_rate", "momentum",
)  # fmt: skip


class Surrogate(Route):
    """Bazinet, Zantedeschi & Germain 2026."""

    name = "surrogate"
    about = (
        "of a given network (--network or --weights): a second network is trained on a part of the "
        "labelled examples and certified by the others, or has a certificate already "
        "(--surrogate_file), and unlabelled points show how often the given one disagrees with it; "
        "the certificate is in weights/<run>_surrogate.safetensors"
    )
    Settings = Settings
    groups = ("surrogate", "certified_surrogate")
    kept = "surrogate"
    bounds = (
        "bazinet_2026_surrogate", "bazinet_2026_certified_surrogate", "holdout_cp",
    )  # fmt: skip
    of_given = True
    without = ("size",)
    shown = (
        "surrogate_m", "certified", "surrogate_at_most", "unlabelled", "disagreement",
        "disagreement_at_most", "with_labels",
    )  # fmt: skip

    def clashes(self, config: Any) -> Iterator[str]:
        """What concerns the training of a surrogate, where none is trained."""
        if config.surrogate_file is None:
            return
        fields = type(config).__dataclass_fields__
        for name in OF_TRAINING:
            if (value := getattr(config, name)) != fields[name].default:
                yield (
                    f"--{name}={shown(value)}: goes with a surrogate that is trained here; leave it "
                    "out, or the preset that says it, with --surrogate_file"
                )

    def evaluated(self, config: Any) -> tuple[str, ...]:
        """Of the two bounds that of the surrogate that is used."""
        other = self.bounds[0 if config.surrogate_file else 1]
        return tuple(name for name in self.bounds if name != other)

    def given(self, config: Any) -> "GivenNetwork":
        """With its points as a surrogate takes them, which may be normalised otherwise."""
        if config.surrogate_file is None:
            return super().given(config)
        found = _surrogate(config)
        surrogate_file.check_goes_with(config, found)
        return given.GivenNetwork(config, found.normalise)

    def taken(self, config: Any) -> list[str]:
        """What the certificate of a surrogate takes as said."""
        if config.surrogate_file is None:
            return []
        found = _surrogate(config)
        name = f"The surrogate was given ({config.surrogate_file}); its training is not among the seconds."
        lines = found.kind.taken(found.certificate)
        return [name, *(f"Taken as said of the surrogate: {line}." for line in lines)]

    def course(self, config: Any, problem: "GivenNetwork") -> Course:
        """One stage, the surrogate's; none, where it has a certificate."""
        if config.surrogate_file is not None:
            return _course_of_file(config, problem)
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
            stages=(jobs.Stage(surrogates, job),),
            runs=tuple(
                jobs.Run(_named(problem.name, run, config), size, run.seed)
                for run in surrogates
            ),
            network=network,
            earlier=lambda run: (surrogates[run.seed],),
            baseline=baseline,
        )

    def certified(self, of: Quoted) -> "tuple[Mapping[str, np.ndarray], Any]":
        """The surrogate."""
        beside, arrays = of.network.learned, of.arrays
        if of.config.surrogate_file is not None:
            found = _surrogate(of.config)
            return by_certificate.tensors(found), by_certificate.Certificate(
                **of.claims(),
                **of_given.claims(of),
                **by_certificate.of_surrogate(found),
                disagreements=int(arrays["certified_surrogate/disagreements"]),
            )
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
        if "certified_surrogate/disagreements" in arrays:
            return _columns_of_file(config, arrays)
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
        if row.get("surrogate"):
            return [
                f"Its parts: the surrogate is {row['surrogate']}, and this network disagrees with it on "
                f"at most {report.at_most(row['disagreement_at_most'])} (on {row['disagreement']:.4f} of "
                f"{row['unlabelled']}), with confidence "
                f"{report.confidence(1 - row['disagreement_confidence'])}.",
                *given.beside(row, delta),
            ]
        return [
            f"Its parts: the surrogate errs on at most {report.at_most(row['surrogate_at_most'])} "
            f"(on {row['surrogate_error']:.4f} of {row['certified']}), and disagrees on at most "
            f"{report.at_most(row['disagreement_at_most'])} (on {row['disagreement']:.4f} of "
            f"{row['unlabelled']}).",
            *given.beside(row, delta),
        ]


def _surrogate(config):
    """The surrogate in the file that settings name."""
    every = tuple(one.Certificate for one in kinds.KINDS)
    return surrogate_file.read(config.surrogate_file, every)


def _course_of_file(config, problem):
    """Nothing to be trained: the certificate of the surrogate is recounted."""
    found = _surrogate(config)
    one = found.certificate
    points = problem.points_of_surrogate()
    its = found.kind.classes(found.stored), math.prod(one.network["input"])
    if its != (problem.classes, points.shape[1]):
        raise Refusal(
            f"--surrogate_file={config.surrogate_file}: takes {its[1]} numbers and has {its[0]} outputs, "
            f"{problem.name} {points.shape[1]} and {problem.classes}; give a surrogate of the same "
            "inputs and classes"
        )
    line = surrogate_file.seen_points(config, found, points)
    problem.taken += (f"{line}.",) if line else ()
    examples = surrogate_file.recounted(found, config)
    model, params = found.kind.learned(found.stored)

    def network(_: "Run", __: "Trained") -> "bounds.Network":
        return given.certified(
            problem, model, surrogate=params, certificate=np.float64(one.value),
            failure=np.float64(one.delta),
        )  # fmt: skip

    def baseline(_: "Run", __: "Trained") -> "bounds.Network | None":
        """What the surrogate's prior is around, on the examples that certify the surrogate."""
        layers = found.kind.unseen(found.stored)
        if layers is None:
            return None
        sample = samples.pad_sample(examples.inputs, examples.labels, 0)
        return bounds.Network(
            chains.graph_from(one.network), kinds.kind.params_of(layers), sample
        )

    run = jobs.Run(problem.name, problem.size, 0)
    return Course((), (run,), network, baseline=baseline)


def _columns_of_file(config, arrays):
    """The surrogate and its certificate in words, the two parts, what others would have given."""
    found = _surrogate(config)
    fields = certified_surrogate.CertifiedSurrogate.__dataclass_fields__
    group = {n: np.asarray(arrays[f"certified_surrogate/{n}"]) for n in fields}
    paid, one = config.delta / config.tried, found.certificate
    with jax.enable_x64(True):
        parts = families.parts_of_certified(
            certified_surrogate.CertifiedSurrogate(**group), paid
        )
    unlabelled = int(group["unlabelled"])
    return {
        "surrogate_m": one.size - one.certified_size,
        "certified": one.certified_size,
        "surrogate": found.sentence(),
        "surrogate_at_most": float(parts[0]),
        "surrogate_confidence": 1 - one.delta,
        "unlabelled": unlabelled,
        "disagreement": int(group["disagreements"]) / unlabelled,
        "disagreement_at_most": float(parts[1]),
        "disagreement_confidence": 1 - (paid - one.delta),
    } | given.with_labels(arrays, config.delta)


def _named(name, run, config):
    """What is certified is the given network, once for each surrogate."""
    return name if config.seeds == 1 else f"{name}_by_{run.name}"
