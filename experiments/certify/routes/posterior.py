"""A Gaussian posterior, trained on a PAC-Bayes bound around a prior that may be learned."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from experiments.certify.routes.route import Course, Quoted, Route, too_small
from experiments.lab.later import later
from experiments.lab.settings import (
    BOUNDS,
    TRAINING,
    below_1,
    not_negative,
    one_of,
    one_of_those,
    positive,
    setting,
    whole_number,
)
from experiments.problems import Problem

if TYPE_CHECKING:
    import numpy as np

    from experiments.lab.jobs import Job, Run, Trained
    from experiments.lab.measuring import Arrays

bounds = later("bounds")
certificate_file = later("experiments.certify.certificate_file")
gaussian = later("experiments.certify.kinds.gaussian")
kind = later("experiments.certify.kinds.posterior")
measure = later("bounds.measures.gibbs_posterior")
objectives = later("bounds.objectives")
samples = later("nets.sample")
prior_file = later("experiments.certify.prior_file")
sgd = later("experiments.certify.routes.sgd")
stochastic = later("nets.stochastic")
jobs = later("experiments.lab.jobs")


TRAINED_ON = ("certified", "all")


@dataclasses.dataclass(frozen=True)
class Settings:
    """Of `posterior`; defaults are those of the preset `perez_ortiz`."""

    prior_share: float = setting(
        0.5, "posterior: share of the images that the prior is trained on, and that nothing is "
        "certified on; 0: the prior is the initial weights", below_1, group=TRAINING
    )  # fmt: skip
    prior: str | None = setting(
        None, "posterior: a file with the network that the prior's mean is to be, such as "
        "weights/prior_seed0.safetensors of another run, learned on the first --prior_share of these "
        "images and no others; it is trained here if not given", group=TRAINING, compared=False
    )  # fmt: skip
    prior_epochs: int = setting(
        20, "posterior: epochs of SGD that find the prior on its share or, at --prior_share=0, "
        "the weights that the posterior begins with", whole_number, group=TRAINING
    )  # fmt: skip
    prior_noise: float = setting(
        0.03, "posterior: standard deviation of the noise in the weights while the prior is "
        "trained; 0: none", not_negative, group=TRAINING
    )  # fmt: skip
    posterior_on: str = setting(
        "certified", "posterior: the images that it is trained on: those that it is certified on, or "
        "'all': those of the prior, too (the certificate is of the others all the same)",
        one_of(*TRAINED_ON), group=TRAINING
    )  # fmt: skip
    posterior_learning_rate: float = setting(
        1e-5, "posterior: of its Adam at the start", positive, group=TRAINING
    )  # fmt: skip
    deviation: float = setting(
        0.003, "posterior: standard deviation of prior and posterior at the start",
        positive, group=TRAINING
    )  # fmt: skip
    learned_deviation: bool = setting(
        False, "posterior: the prior's deviation moves too, on the grid of Dziugaite & Roy, for "
        "its price", group=TRAINING
    )  # fmt: skip
    objective: str = setting(
        "quadratic", "posterior: the bound that it descends",
        one_of_those(lambda: objectives.OBJECTIVES), group=TRAINING
    )  # fmt: skip
    draws: int = setting(
        150_000, "posterior: predictions under noise, at least, that its errors are counted on, each "
        "example equally often under its own draws; to be fixed before any is made",
        (lambda v: 1 <= v <= 10**8, "a whole number from 1 to 100000000"), group=BOUNDS
    )  # fmt: skip
    surrogate_loss: str = setting(
        "bounded", "posterior: its loss: cross-entropy in bits ('logistic'), or cut at "
        "probability 1e-5 and divided by its largest value ('bounded')",
        one_of_those(lambda: objectives.SURROGATES), group=TRAINING
    )  # fmt: skip


def prior_size(config: Any) -> int:
    """How many examples the prior is trained on, and nothing is certified on."""
    return round(config.prior_share * config.size)


def certified_part(config: Any) -> slice:
    """Which of the training images are certified on: those that the prior has not seen."""
    return slice(prior_size(config), None)


class Posterior(Route):
    """Langford & Seeger 2001; Dziugaite & Roy 2017; Perez-Ortiz et al. 2021."""

    name = "posterior"
    about = (
        "Gaussian weights, trained on a PAC-Bayes bound; the certificate is of the network "
        "whose weights are drawn afresh for every prediction, and in its file, "
        "weights/<run>_posterior.safetensors"
    )
    Settings = Settings
    groups = ("gibbs_posterior",)
    kept = "posterior"
    bounds = (
        "maurer_2004_kl_posterior", "mcallester_1999_posterior",
        "rivasplata_2019_quadratic_posterior", "thiemann_2017_lambda_posterior",
        "tolstikhin_2013_posterior", "catoni_2007_posterior", "dziugaite_roy_2017",
        "holdout_cp",
    )  # fmt: skip

    def certified_size(self, config: Any) -> int:
        """What the prior leaves."""
        return config.size - prior_size(config)

    def clashes(self, config: Any) -> Iterator[str]:
        """Parts too small, or a prior that learns nothing."""
        parts = {"--size": self.certified_size(config)}
        if config.prior_share > 0:
            parts["--prior_share"] = prior_size(config)
        yield from too_small(parts, config.batch_size)
        if config.posterior_on == "all" and not config.prior_share:
            yield (
                "--posterior_on=all: at --prior_share=0 all images are certified on; leave it out"
            )
        if config.prior and not config.prior_share:
            yield (
                f"--prior={config.prior}: goes with --prior_share, of the images that it has seen; at "
                "--prior_share=0 the prior is the initial weights"
            )
        if config.prior and config.seeds > 1:
            yield (
                f"--prior={config.prior}: has seen the images of one seed, and other seeds certify on "
                "others; use --seeds=1"
            )
        if config.prior_share > 0 and not (config.prior or config.prior_epochs):
            yield (
                f"--prior_epochs=0: nothing is learned from the share {config.prior_share} of "
                "the images; use --prior_epochs=20 or --prior_share=0"
            )

    def course(self, config: Any, problem: Problem) -> Course:
        """First the prior, or what the posterior begins with; then the posterior."""
        model = sgd.network(config, problem)
        is_noisy, first = config.prior_noise > 0, prior_size(config) or config.size
        plain = sgd.plan(config, model, first, config.prior_epochs)
        noisy = sgd.on_moved(stochastic.NoisyLoss(), config, problem)
        prior_plan = dataclasses.replace(
            plain,
            model=stochastic.GaussianNetwork(model) if is_noisy else model,
            objective=noisy if is_noisy else sgd.moving(config, problem),
        )
        size = self.certified_size(config)
        # A bound with a fixed prior holds of every posterior, whatever has been learned for it.
        on_all = config.posterior_on == "all"
        counted = measure.Counted(model, config.learned_deviation, config.draws)
        bound = objectives.PacBayes(
            config.objective, config.surrogate_loss, config.delta
        )
        trained_on = slice(0, None) if on_all else certified_part(config)
        plan = sgd.plan(
            config,
            stochastic.GaussianNetwork(model, config.learned_deviation),
            config.size if on_all else size,
            config.epochs,
            learning_rate=config.posterior_learning_rate,
            optimizer="adam",
            objective=sgd.OfSize(bound, size) if on_all else bound,
        )
        given = prior_file.read(config, model, problem) if config.prior else None
        trains_prior = config.prior_epochs > 0 and given is None
        priors = sgd.runs_of("prior", first, config) if trains_prior else ()
        certified = sgd.runs_of("certified", size, config)

        def initial(run: "Run") -> Any:
            return sgd.initial_network(config, plain, problem.features, run)

        def start(run: "Run", trained: "Trained") -> Any:
            """The network that a seed's first stage ended with, or that is given."""
            if given is not None:
                return given
            if not priors:
                return initial(run)
            params = trained.params(priors[run.seed])
            return stochastic.mean_network(params) if is_noisy else params

        def prior(run: "Run", trained: "Trained") -> Any:
            """The prior's mean: learned on its share, or the initial weights."""
            return start(run, trained) if config.prior_share > 0 else initial(run)

        def prior_job(run: "Run", _: "Trained") -> "Job":
            def init():
                params, deviation = initial(run), config.prior_noise
                if is_noisy:
                    return stochastic.around(params, params, deviation, deviation)
                return params

            return sgd.job(
                config, problem, run, own=prior_plan, part=slice(0, run.size), order=0,
                init=init,
            )  # fmt: skip

        def certified_job(run: "Run", trained: "Trained") -> "Job":
            def init():
                around = start(run, trained), prior(run, trained)
                return stochastic.around(*around, config.deviation, config.deviation)

            return sgd.job(
                config, problem, run, own=plan, part=trained_on, order=1, init=init,
            )  # fmt: skip

        def sample(run: "Run", trained: "Trained") -> Any:
            """What is certified on."""
            if not on_all:
                return trained.job(run).sample()
            found = sgd.examples_of(config, problem, run.seed, certified_part(config))
            return samples.pad_sample(found.inputs, found.labels, 0)

        def network(run: "Run", trained: "Trained") -> "bounds.Network":
            params = trained.params(run)
            return bounds.Network(
                model=model,
                params=stochastic.mean_network(params),
                sample=sample(run, trained),
                init=prior(run, trained),
                learned=bounds.Learned(counted, params),
            )

        def baseline(run: "Run", trained: "Trained") -> "bounds.Network | None":
            """The prior's mean, where it has learned something, on what is certified."""
            if config.prior_share == 0:
                return None
            return bounds.Network(model, prior(run, trained), sample(run, trained))

        return Course(
            stages=(
                jobs.Stage(priors, prior_job),
                jobs.Stage(certified, certified_job),
            ),
            runs=certified,
            network=network,
            earlier=lambda run: (priors[run.seed],) if priors else (),
            baseline=baseline,
        )

    def certified(self, of: Quoted) -> "tuple[Mapping[str, np.ndarray], Any]":
        """The posterior with its prior."""
        learned, arrays = of.network.learned, of.arrays
        draws = int(arrays["gibbs_posterior/draws"])
        certificate = kind.Certificate(
            **of.claims(),
            **certificate_file.provenance(of, certified_part(of.config)),
            **gaussian.claims(of.config, learned.model, learned.params),
            wrong=round(float(arrays["gibbs_posterior/errors"][0]) * draws),
            draws=draws,
            kl=float(arrays["gibbs_posterior/kl"][0]),
            price=float(arrays["gibbs_posterior/prices"][0]),
        )
        return gaussian.tensors(learned.params), certificate

    def taken(self, config: Any) -> list[str]:
        """What a prior that was learned before has seen, and how many predictions were to be made."""
        fixed = []
        if config.draws != Settings.draws:
            fixed = [
                f"That errors are counted on at least {config.draws} predictions, all examples equally often, "
                "was fixed before any was made."
            ]
        if not config.prior:
            return fixed
        line = f"The prior was given ({config.prior}); its training is not among the seconds."
        return [line, *filter(None, [prior_file.taken(config)]), *fixed]

    def columns(
        self, config: Any, arrays: "Arrays", rows: Sequence[Mapping[str, Any]]
    ) -> dict[str, Any]:
        """KL, and the errors under noise."""
        if "gibbs_posterior/kl" not in arrays:
            return {}
        kl = float(arrays["gibbs_posterior/kl"][0])
        return {
            "kl": kl,
            "kl_over_m": kl / self.certified_size(config),
            "stochastic_train_error": float(arrays["gibbs_posterior/errors"][0]),
            "stochastic_test_error": float(arrays["gibbs_posterior/holdout_errors"][0]),
        }
