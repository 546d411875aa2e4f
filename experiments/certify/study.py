"""The trainings of `certify`: first the prior, or what the posterior begins with; then the rest."""

import dataclasses
from typing import Any

import numpy as np

import bounds
from bounds.objectives import PacBayes
from experiments.certify.settings import Settings
from experiments.lab import certificates
from experiments.lab.calls import problem_of
from experiments.lab.measure_network import MeasureNetwork, test_samples
from experiments.lab.measuring import Arrays, Subject
from experiments.lab.program import Study
from experiments.lab.refusals import Refusal
from experiments.lab.seeding import Purpose, key_for
from experiments.lab.training import Job, Run, Stage, Trained, initial
from experiments.problems import Examples, Problem
from nets import stochastic, training
from nets.mlp import MLP
from nets.sample import pad_sample
from nets.subspace import SubspaceMLP, materialized

NEVER = -1.0  # a mean loss that is not reached: a run lasts its epochs
TABLE_GROUPS = ("architecture", "task", "margins")
# What is trained by each method: for made-up networks and for a network's plain form.
_PLAIN = {"posterior": stochastic.mean_network, "subspace": materialized}


@dataclasses.dataclass(frozen=True)
class CertifyStudy(Study):
    """A `Study` of certificates.

    Attributes:
      runs: those that are certified, a seed each.
    """

    runs: tuple[Run, ...]


def prior_size(config: Settings) -> int:
    """How many examples the prior is trained on, and nothing is certified on."""
    return round(config.prior_share * config.size)


def speaks_of_learned(name: str) -> bool:
    """Whether a bound speaks of a learned posterior, or of a network in a subspace."""
    return "learned" in bounds.requires([name])


def check_size(config: Settings, problem: Problem) -> None:
    """Raises a `Refusal` where there are fewer images than are asked for."""
    largest = problem.largest_size(1)
    if largest is not None and config.size > largest:
        raise Refusal(
            f"--size={config.size}: more images than there are, {largest}; use fewer"
        )


def check_flags(config: Settings) -> None:
    """Raises a `Refusal` where settings do not go together, before any data are read."""
    parts = {"--size": config.size - prior_size(config)}
    if config.prior_share > 0:
        parts["--prior_share"] = prior_size(config)
    for flag, size in parts.items():
        if size < config.batch_size:
            raise Refusal(
                f"{flag}: leaves {size} images for one of the two parts, fewer than "
                f"--batch_size={config.batch_size}; use more images or smaller batches"
            )
    if config.method == "subspace" and config.prior_share > 0:
        raise Refusal(
            f"--prior_share={config.prior_share}: goes with --method=posterior; a network "
            "in a subspace is coded from its initial weights; use --prior_share=0"
        )
    if config.method == "subspace" and (config.prior_epochs or config.prior_noise):
        raise Refusal(
            f"--prior_epochs={config.prior_epochs}, --prior_noise={config.prior_noise}: go with "
            "--method=posterior; a network in a subspace has no prior to learn; use 0"
        )
    if config.prior_share > 0 and not config.prior_epochs:
        raise Refusal(
            f"--prior_epochs=0: nothing is learned from the share {config.prior_share} of the "
            "images; use --prior_epochs=20 or --prior_share=0"
        )
    _check_bounds(config)


def _check_bounds(config):
    """Some bound must speak of what the method trains."""
    group = {"posterior": "gibbs_posterior", "subspace": "code_subspace"}[config.method]
    if group not in bounds.needs(config.bounds):
        fitting = [n for n, spec in bounds.BOUNDS.items() if group in spec.groups]
        raise Refusal(
            f"--bounds: none speaks of what --method={config.method} trains; add one of "
            f"{', '.join(fitting)}"
        )
    certificates.check_quote(config.quote or (), config.bounds)


def make(config: Settings) -> CertifyStudy:
    """The study that settings ask for."""
    check_flags(config)
    problem = problem_of(config)
    check_size(config, problem)
    features, shape = problem.features, (config.width, config.depth, problem.classes)
    is_posterior = config.method == "posterior"
    # In a subspace each bias would cost as many bits as a weight of a core.
    model = MLP(*shape, biases=is_posterior)
    sizes = {"prior": prior_size(config) or config.size}
    sizes["certified"] = config.size - prior_size(config)

    def sgd(stage, epochs, **changes):
        epochs = max(epochs, 1)
        options = {
            "model": model, "loss": "softmax", "learning_rate": config.learning_rate,
            "batch_size": config.batch_size, "shuffle": True, "margin": 1.0,
            "threshold": 0.0, "loss_target": NEVER, "max_epochs": epochs,
            "momentum": config.momentum,
            "decay_steps": epochs * (sizes[stage] // config.batch_size),
        }  # fmt: skip
        return training.Plan(**options | changes)

    prior_plan = sgd("prior", config.prior_epochs)
    is_noisy = config.prior_noise > 0
    if is_noisy:
        prior_plan = dataclasses.replace(
            prior_plan,
            model=stochastic.GaussianMLP(*shape),
            objective=stochastic.NoisyLoss(),
        )
    if is_posterior:
        plan = sgd(
            "certified",
            config.epochs,
            model=stochastic.GaussianMLP(*shape, config.learned_deviation),
            learning_rate=config.posterior_learning_rate,
            optimizer="adam",
            objective=PacBayes(config.objective, config.surrogate, config.delta),
        )
    else:
        in_subspace = SubspaceMLP(*shape, biases=False, rank=config.rank)
        plan = sgd("certified", config.epochs, model=in_subspace)

    def runs(stage):
        return tuple(
            Run(f"{stage}_seed{seed}", sizes[stage], seed)
            for seed in range(config.seeds)
        )

    priors, certified = runs("prior") if config.prior_epochs else (), runs("certified")

    def key_of(run):
        return key_for(config.seed, Purpose.INIT, run.seed)

    def initial_network(run):
        """The initial weights of a seed: independent of the data."""
        return initial(sgd("prior", 1), features)(key_of(run))

    def start(run, trained):
        """The network that a seed's first stage ended with."""
        if not priors:
            return initial_network(run)
        params = trained.params(priors[run.seed])
        return stochastic.mean_network(params) if is_noisy else params

    def prior(run, trained):
        """The prior's mean: learned on its share, or the initial weights."""
        if not is_posterior:
            return materialized(training.init_params(plan, key_of(run), features))
        return start(run, trained) if config.prior_share > 0 else initial_network(run)

    def job(run, which, own, part, init):
        def examples():
            whole = problem.draw(run.seed, config.size, 0)
            record = {
                name: values[part] if len(values) == config.size else values
                for name, values in whole.record.items()
            }
            return Examples(whole.inputs[part], whole.labels[part], record)

        def sample():
            drawn = examples()
            return pad_sample(drawn.inputs, drawn.labels, 0)

        return Job(
            plan=own,
            features=features,
            init=init,
            key=lambda: key_for(config.seed, Purpose.ORDER, run.seed, which),
            examples=examples,
            sample=sample,
        )

    def prior_job(run: Run, _: Trained) -> Job:
        def init():
            params, deviation = initial_network(run), config.prior_noise
            if is_noisy:
                return stochastic.around(params, params, deviation, deviation)
            return params

        return job(run, 0, prior_plan, slice(0, run.size), init)

    def certified_job(run: Run, trained: Trained) -> Job:
        def init():
            if not is_posterior:
                return training.init_params(plan, key_of(run), features)
            around = start(run, trained), prior(run, trained)
            return stochastic.around(*around, config.deviation, config.deviation)

        return job(run, 1, plan, slice(prior_size(config), None), init)

    measure = MeasureNetwork.for_bounds(config.bounds, TABLE_GROUPS)

    def network(run: Run, trained: Trained) -> bounds.Network:
        params = trained.params(run)
        return bounds.Network(
            model=model,
            params=_PLAIN[config.method](params),
            sample=trained.job(run).sample(),
            init=prior(run, trained),
            learned=bounds.Learned(plan.model, params),
            loss=plan.loss if plan.objective is None else None,
        )

    def subject(run: Run) -> Subject:
        def finish(_: Any, arrays: Arrays, trained: Trained) -> Arrays:
            """Its seconds are with those of its first stage."""
            history = trained.history(run)
            if priors and not trained.is_measured(run):
                first = trained.history(priors[run.seed])
                history["seconds"] = np.asarray(history["seconds"] + first["seconds"])
            return arrays | history

        return Subject(
            name=run.name,
            kind="certified",
            measure=measure,
            shared=lambda: test_samples(problem.test()),
            arguments=lambda trained: network(run, trained),
            finish=finish,
        )

    return CertifyStudy(
        config=config,
        fingerprint=problem.sha256,
        stages=(Stage(priors, prior_job), Stage(certified, certified_job)),
        subjects=tuple(subject(run) for run in certified),
        runs=certified,
    )
