"""The runs of `bounds_vs_samples`: every size, seed and draw."""

import dataclasses

import jax

from experiments.refusals import Refusal
from experiments.seeding import Purpose, key_for
from experiments.sweep import Sweep
from nets import training
from nets.cnn import CNN
from nets.mlp import MLP


@dataclasses.dataclass(frozen=True)
class Run:
    """One training: a size, a seed (which decides the initial weights) and a draw."""

    size: int
    seed: int
    draw: int

    @property
    def name(self):
        return f"m{self.size}_seed{self.seed}_draw{self.draw}"


def runs_of(config):
    """Every run of an experiment, in the order of its tables."""
    return [
        Run(size, seed, draw)
        for size in sorted(config.sizes)
        for seed in range(config.seeds)
        for draw in range(config.draws)
    ]


def model_of(config, source):
    """The network that is trained."""
    if config.network == "mlp":
        return MLP(config.width, config.depth, source.classes, config.biases)
    if source.image is None:
        raise Refusal(
            f"--network=cnn: --dataset={config.dataset} has no images; use --network=mlp"
        )
    return CNN(source.image, config.width, config.depth, source.classes, config.biases)


def plan_of(config, source):
    """The training `Plan` of an experiment."""
    if config.batch_size > min(config.sizes):
        raise Refusal(
            f"--batch_size={config.batch_size}: larger than the smallest of --sizes, "
            f"{min(config.sizes)}; no batch would be complete"
        )
    return training.Plan(
        model=model_of(config, source),
        loss=config.loss,
        learning_rate=config.learning_rate,
        batch_size=config.batch_size,
        shuffle=config.shuffle,
        margin=config.margin,
        threshold=config.threshold,
        loss_target=config.loss_target if config.loss == "squared" else None,
        max_epochs=config.max_epochs,
    )


class SizeSweep(Sweep):
    """A `Sweep` over sizes, seeds and draws with one plan."""

    def __init__(self, config, source, folder):
        super().__init__(folder, runs_of(config))
        self.config, self.source = config, source
        self.one_plan = plan_of(config, source)
        self._init = jax.jit(
            lambda key: training.init_params(self.one_plan, key, source.features)
        )
        # Every run of an experiment has room for the largest set: one program serves all.
        self.rows = max(config.sizes)

    def plan(self, run):
        return self.one_plan

    def features(self, run):
        return self.source.features

    def initial(self, run):
        """The initial weights of a seed, the same for all its sizes and draws."""
        return self._init(key_for(self.config.seed, Purpose.INIT, run.seed))

    def order_key(self, run):
        return key_for(self.config.seed, Purpose.ORDER, run.seed, run.size, run.draw)

    def draw(self, run):
        return self.source.draw(run.seed, run.size, run.draw)

    def sample(self, run):
        """The training `Sample` of a run, padded to the rows of the largest."""
        draw = self.draw(run)
        return training.pad_sample(draw.inputs, draw.labels, self.rows)

    def partner(self, run):
        """The run of the next draw: the same size and initial weights, other data."""
        return dataclasses.replace(run, draw=(run.draw + 1) % self.config.draws)
