"""A network of few bits: trained in a random subspace or under quantisation, and coded."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments.certify.routes.route import Course, Quoted, Route, too_small
from experiments.lab.later import later
from experiments.lab.settings import (
    TRAINING,
    at_least_1,
    below_1,
    not_negative,
    positive,
    setting,
    whole_number,
)
from experiments.problems import Problem

if TYPE_CHECKING:
    from experiments.lab.jobs import Job, Run, Trained
    from experiments.lab.measuring import Arrays

augmentation = later("nets.augmentation")
bounds = later("bounds")
certificate_file = later("experiments.certify.certificate_file")
chains = later("experiments.lab.chains")
coded_network = later("experiments.certify.kinds.coded_network")
plans = later("nets.training")
quantised = later("nets.quantised")
sgd = later("experiments.certify.routes.sgd")
subspace = later("nets.subspace")
jobs = later("experiments.lab.jobs")


@dataclasses.dataclass(frozen=True)
class Settings:
    """Of `subspace`."""

    rank: int = setting(
        16, "subspace: each weight matrix moves within rank x rank dimensions; 0 (with "
        "--bits_price): there is no subspace, all weights are learned", whole_number, group=TRAINING
    )  # fmt: skip
    bits_price: float = setting(
        0.0, "subspace: what is learned is quantised in every step of training, by Adam, and each bit "
        "adds so many times ln 2 / m to the loss; 0: it is quantised after training, by SGD", not_negative,
        group=TRAINING
    )  # fmt: skip
    code_prior_share: float = setting(
        0.0, "subspace: share of the images that a prior is trained on: the code tells the way from "
        "its weights, not from the initial ones, and nothing is certified on these; 0: there is none",
        below_1, group=TRAINING
    )  # fmt: skip
    code_prior_epochs: int = setting(
        20, "subspace: epochs of SGD on the images of --code_prior_share", at_least_1, group=TRAINING
    )  # fmt: skip
    code_prior_learning_rate: float = setting(
        0.05, "subspace: of SGD on the images of --code_prior_share", positive, group=TRAINING
    )  # fmt: skip
    quantisation_step: float = setting(
        1.0, "subspace: with --bits_price the step of the quantised numbers at the start, in units "
        "of the initial weights' root mean square; it is learned",
        (lambda v: 1e-6 <= v <= 1e6, "a number from 1e-6 to 1e6"), group=TRAINING
    )  # fmt: skip


def prior_size(config: Any) -> int:
    """How many examples a code's prior is trained on, and nothing is certified on."""
    return round(config.code_prior_share * config.size)


def certified_part(config: Any) -> slice:
    """Which of the training images are certified on: those that a prior has not seen."""
    return slice(prior_size(config), None)


class Subspace(Route):
    """Lotfi et al. 2022."""

    name = "subspace"
    about = (
        "a network of few bits: trained in a random subspace, under quantisation (--bits_price) or "
        "both, and coded; the certificate is of the decoded network, and in its file, "
        "weights/<run>_coded.safetensors"
    )
    Settings = Settings
    groups = ("code_quantised", "code_subspace")
    kept = "coded"
    bounds = ("lotfi_2022_quantised", "lotfi_2022_subspace", "holdout_cp")

    def clashes(self, config: Any) -> Iterator[str]:
        """Nothing that makes it short."""
        if not (config.rank or config.bits_price):
            yield "--rank=0: goes with --bits_price; give one, such as --bits_price=4"
        if config.code_prior_share and not config.rank:
            yield "--code_prior_share: goes with --rank, the subspace of a way from its weights; give one"
        if config.code_prior_share:
            parts = {
                "--size": self.certified_size(config),
                "--code_prior_share": prior_size(config),
            }
            yield from too_small(parts, config.batch_size)
        for name in ("code_prior_epochs", "code_prior_learning_rate"):
            value = getattr(config, name)
            if not config.code_prior_share and value != getattr(Settings, name):
                yield f"--{name}={value}: goes with --code_prior_share; give one, or leave it out"
        momentum = type(config).__dataclass_fields__["momentum"].default
        is_of_adam = config.bits_price and not config.code_prior_share
        if is_of_adam and config.momentum != momentum:
            yield (
                f"--momentum={config.momentum}: is of SGD, and with --bits_price only a prior is trained "
                "by it; leave it out, or give --code_prior_share"
            )
        if (
            not config.bits_price
            and config.quantisation_step != Settings.quantisation_step
        ):
            yield f"--quantisation_step={config.quantisation_step}: goes with --bits_price; give one, or leave it out"

    def evaluated(self, config: Any) -> tuple[str, ...]:
        """Of the two ways to quantise that which is used."""
        other = self.bounds[1 if config.bits_price else 0]
        return tuple(name for name in self.bounds if name != other)

    def certified_size(self, config: Any) -> int:
        """What a prior leaves."""
        return config.size - prior_size(config)

    def course(self, config: Any, problem: Problem) -> Course:
        """A prior, if there is one, on its share; then what is coded, on all others."""
        # Each bias would cost as many bits as a weight of a core.
        plain = sgd.network(config, problem, biases=False)
        model = subspace.SubspaceNetwork(plain, config.rank) if config.rank else plain
        moving, own = sgd.moving(config, problem), {}
        loss, first = moving, prior_size(config)
        if config.bits_price:
            model = quantised.QuantisedNetwork(model, config.quantisation_step)
            loss = sgd.on_moved(augmentation.KnownLoss(), config, problem)
            loss, own = quantised.Priced(loss, config.bits_price), {"optimizer": "adam"}
        size = self.certified_size(config)
        plan = sgd.plan(config, model, size, config.epochs, objective=loss, **own)
        prior_plan = sgd.plan(
            config, plain, max(first, config.batch_size), config.code_prior_epochs,
            objective=moving, learning_rate=config.code_prior_learning_rate,
        )  # fmt: skip
        priors = sgd.runs_of("prior", first, config) if first else ()
        certified = sgd.runs_of("certified", size, config)

        def initial(run: "Run", trained: "Trained") -> Any:
            key = sgd.initial_key(config, run)
            params = plans.init_params(plan, key, problem.features)
            if not priors:
                return params
            return subspace.around(trained.params(priors[run.seed]), params)

        def prior_job(run: "Run", _: "Trained") -> "Job":
            return sgd.job(
                config, problem, run, own=prior_plan, part=slice(0, run.size), order=0,
                init=lambda: sgd.initial_network(config, prior_plan, problem.features, run),
            )  # fmt: skip

        def job(run: "Run", trained: "Trained") -> "Job":
            return sgd.job(
                config, problem, run, own=plan, part=certified_part(config), order=1,
                init=lambda: initial(run, trained),
            )  # fmt: skip

        def network(run: "Run", trained: "Trained") -> "bounds.Network":
            params = trained.params(run)
            return bounds.Network(
                model=plain,
                params=coded_network.plain_params(model, params),
                sample=trained.job(run).sample(),
                init=coded_network.plain_params(model, initial(run, trained)),
                learned=bounds.Learned(plan.model, params),
                loss=None if config.bits_price else plan.loss,
            )

        def baseline(run: "Run", trained: "Trained") -> "bounds.Network | None":
            """The prior, on what is certified."""
            if not priors:
                return None
            sample = trained.job(run).sample()
            return bounds.Network(plain, trained.params(priors[run.seed]), sample)

        return Course(
            stages=(
                *([jobs.Stage(priors, prior_job)] if priors else []),
                jobs.Stage(certified, job),
            ),
            runs=certified,
            network=network,
            earlier=lambda run: (priors[run.seed],) if priors else (),
            baseline=baseline,
        )

    def certified(
        self, of: Quoted
    ) -> "tuple[Mapping[str, np.ndarray], coded_network.Certificate]":
        """The coded network and its bits."""
        network, (bits, errors) = of.network, _code(of.arrays, of.row["bound"])
        best, size = _best(errors, of.row["empirical"]), int(network.sample.size)
        same = ("rank", "architecture", "width", "depth", "code_prior_share")
        return coded_network.tensors(
            network.learned, best, has_prior=prior_size(of.config) > 0
        ), coded_network.Certificate(
            **of.claims(),
            **certificate_file.provenance(of, certified_part(of.config)),
            **{name: getattr(of.config, name) for name in same},
            wrong=round(float(errors[best]) * size),
            bits=int(bits[best]),
            network=chains.described(network.model, network.params),
        )

    def columns(
        self, config: Any, arrays: "Arrays", rows: Sequence[Mapping[str, Any]]
    ) -> dict[str, Any]:
        """Of the best code: bits, and the errors of the network that it describes."""
        coded = [r for r in rows if "value" in r and self.speaks(r["bound"])]
        if not coded:
            return {}
        counted = coded[0]["empirical"]
        bits, errors = _code(arrays, coded[0]["bound"])
        return {
            "bits": int(bits[_best(errors, counted)]),
            "compressed_train_error": counted,
            "compressed_test_error": coded[0]["risk"],
        }


def _code(arrays, bound):
    """Bits and errors of the candidates that a bound is of: `[J]` each."""
    _, group = bounds.BOUNDS[bound].groups
    return arrays[f"{group}/bits"], arrays[f"{group}/errors"]


def _best(errors, counted):
    """Which candidate has the error of a certificate; of equal ones that of fewest bits."""
    return int(np.argmin(np.abs(errors - counted)))
