"""The trainings of `certify`: first what the prior or the posterior begins with, then the rest."""

import dataclasses

import jax

import bounds
from experiments.data import Draw
from experiments.refusals import Refusal
from experiments.seeding import Purpose, key_for
from experiments.sweep import Sweep
from nets import stochastic, training
from nets.mlp import MLP
from nets.subspace import SubspaceMLP, materialized

NEVER = -1.0  # a mean loss that is not reached: a run lasts its epochs


@dataclasses.dataclass(frozen=True)
class Run:
    """One training: `stage` is 'prior' or 'certified'; a seed has one of each."""

    stage: str
    seed: int
    size: int

    @property
    def name(self):
        return f"{self.stage}_seed{self.seed}"


def fields(plan):
    """The fields of a plan, for one of another kind."""
    return {f.name: getattr(plan, f.name) for f in dataclasses.fields(plan)}


def prior_size(config):
    """How many images the prior is trained on, and nothing is certified on."""
    return round(config.prior_share * config.size)


def check_together(config):
    """Raises a `Refusal` where settings do not go together."""
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
    own = {"posterior": "gibbs_posterior", "subspace": "code_subspace"}[config.method]
    if own not in bounds.needs(config.bounds):
        fitting = [n for n in bounds.BOUNDS if own in bounds.needs([n])]
        raise Refusal(
            f"--bounds: none speaks of what --method={config.method} trains; add one of "
            f"{', '.join(fitting)}"
        )
    if config.prior_share > 0 and not config.prior_epochs:
        raise Refusal(
            f"--prior_epochs=0: nothing is learned from the share {config.prior_share} of the "
            "images; use --prior_epochs=20 or --prior_share=0"
        )


class _Stage(Sweep):
    """What both stages share: the images of a seed and their two parts."""

    stage = None

    def __init__(self, config, source, folder, size, epochs):
        super().__init__(
            folder, [Run(self.stage, seed, size) for seed in range(config.seeds)]
        )
        self.config, self.source = config, source
        shape = config.width, config.depth, source.classes
        # In a subspace each bias would cost as many bits as a weight of a core.
        has_biases = config.method == "posterior"
        self.model = MLP(*shape, biases=has_biases)
        epochs = max(epochs, 1)
        self.sgd = training.Plan(
            model=self.model,
            loss="softmax",
            learning_rate=config.learning_rate,
            batch_size=config.batch_size,
            shuffle=True,
            margin=1.0,
            threshold=0.0,
            loss_target=NEVER,
            max_epochs=epochs,
            momentum=config.momentum,
            decay_steps=epochs * (size // config.batch_size),
        )
        self._init = jax.jit(
            lambda key: training.init_params(self.sgd, key, source.features)
        )

    def features(self, run):
        return self.source.features

    def initial_network(self, run):
        """The initial weights of a seed: independent of the data."""
        return self._init(key_for(self.config.seed, Purpose.INIT, run.seed))

    def order_key(self, run):
        stage = ("prior", "certified").index(run.stage)
        return key_for(self.config.seed, Purpose.ORDER, run.seed, stage)

    def part(self, run):
        """Where this stage's images lie among the seed's, a slice."""
        raise NotImplementedError

    def draw(self, run):
        whole = self.source.draw(run.seed, self.config.size, 0)
        part = self.part(run)
        record = {name: values[part] for name, values in whole.record.items()}
        return Draw(whole.inputs[part], whole.labels[part], record)

    def sample(self, run):
        draw = self.draw(run)
        return training.pad_sample(draw.inputs, draw.labels, 0)


class PriorSweep(_Stage):
    """SGD on the prior's share of the images or, without one, on all of them."""

    stage = "prior"

    def __init__(self, config, source, folder):
        size = prior_size(config) or config.size
        super().__init__(config, source, folder, size, config.prior_epochs)
        if not config.prior_epochs:
            self.runs = []
        self.one_plan, self.is_noisy = self.sgd, config.prior_noise > 0
        if self.is_noisy:
            model = stochastic.GaussianMLP(config.width, config.depth, source.classes)
            self.one_plan = stochastic.NoisyPlan(**fields(self.sgd) | {"model": model})

    def plan(self, run):
        return self.one_plan

    def initial(self, run):
        params, deviation = self.initial_network(run), self.config.prior_noise
        if self.is_noisy:
            return stochastic.around(params, params, deviation, deviation)
        return params

    def part(self, run):
        return slice(0, run.size)

    def learned(self, run):
        """The learned weights, without the noise."""
        params = self.load_params(run)
        return stochastic.mean_network(params) if self.is_noisy else params


class CertifiedSweep(_Stage):
    """The posterior, or the network in a subspace, on the images that it is certified on."""

    stage = "certified"

    def __init__(self, config, source, folder, before):
        size = config.size - prior_size(config)
        super().__init__(config, source, folder, size, config.epochs)
        self.before = before
        shape = config.width, config.depth, source.classes
        if config.method == "subspace":
            model = SubspaceMLP(*shape, biases=False, rank=config.rank)
            self.one_plan = dataclasses.replace(self.sgd, model=model)
            return
        changes = {
            "model": stochastic.GaussianMLP(*shape, config.learned_deviation),
            "learning_rate": config.posterior_learning_rate,
        }
        self.one_plan = stochastic.PosteriorPlan(
            **fields(self.sgd) | changes,
            objective=config.objective,
            surrogate=config.surrogate,
            delta=config.delta,
        )

    def plan(self, run):
        return self.one_plan

    def part(self, run):
        return slice(prior_size(self.config), None)

    def _start(self, run):
        """The network that a seed's first stage ended with."""
        if not self.before.runs:
            return self.initial_network(run)
        return self.before.learned(self.before.runs[run.seed])

    def prior(self, run):
        """The prior's mean: learned on its share, or the initial weights."""
        if self.config.method == "subspace":
            return materialized(self.initial(run))
        is_learned = self.config.prior_share > 0
        return self._start(run) if is_learned else self.initial_network(run)

    def initial(self, run):
        config = self.config
        if config.method == "subspace":
            key = key_for(config.seed, Purpose.INIT, run.seed)
            return training.init_params(self.one_plan, key, self.source.features)
        start, deviation = self._start(run), config.deviation
        return stochastic.around(start, self.prior(run), deviation, deviation)
