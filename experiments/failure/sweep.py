"""The runs of `uc_failure`: every variant, size and seed of an example."""

import dataclasses
import functools

import jax

from experiments.examples import EXAMPLES
from experiments.failure.presets import variants
from experiments.refusals import Refusal
from experiments.seeding import Purpose, host_generator, key_for
from experiments.sweep import Sweep
from nets import training


@dataclasses.dataclass(frozen=True)
class Run:
    """One training set and what is learned from it.

    Attributes:
      size: m.
      seed: decides training set and initial weights; runs of two seeds are independent.
      variant: what `--vary` makes of the run, e.g. "width=100"; '' if nothing varies.
    """

    size: int
    seed: int
    variant: str

    @property
    def name(self):
        parts = [f"m{self.size}", self.variant.replace(":", "-"), f"seed{self.seed}"]
        return "_".join(part for part in parts if part)


class FailureSweep(Sweep):
    """A `Sweep` over one example.

    Attributes:
      config: a `UcFailure`.
      configs: variant -> the settings of its runs.
      examples: variant -> its `Example`.
    """

    def __init__(self, config, folder=None):
        name = (config.vary or "").partition("=")[0]
        self.configs = {
            f"{name}={label}" if label else "": variant
            for label, variant in variants(config)
        }
        runs = [
            Run(size, seed, variant)
            for variant in self.configs
            for size in sorted(config.sizes)
            for seed in range(config.seeds)
        ]
        super().__init__(folder, runs)
        self.config = config
        make = EXAMPLES[config.example]
        self.examples = {v: make(c) for v, c in self.configs.items()}
        self._plans = {v: self._plan(v) for v in self.configs}
        self.rows = max(config.sizes)

    @property
    def sha256(self):
        """Fingerprint of the data that the example rests on, or None."""
        return next(iter(self.examples.values())).sha256

    def _plan(self, variant):
        config, example = self.configs[variant], self.examples[variant]
        if not example.is_trained:
            return None

        def value(name):
            return example.fixed.get(name, getattr(config, name))

        if value("batch_size") > min(config.sizes):
            raise Refusal(
                f"--batch_size={value('batch_size')}: larger than the smallest of --sizes, "
                f"{min(config.sizes)}; no batch would be complete"
            )
        return training.Plan(
            model=example.model,
            loss=example.loss,
            learning_rate=value("learning_rate"),
            batch_size=value("batch_size"),
            shuffle=False,
            margin=config.margin,
            threshold=config.threshold,
            loss_target=None,
            max_epochs=value("max_epochs"),
        )

    @property
    def is_trained(self):
        """Whether the example is learned by SGD."""
        return all(example.is_trained for example in self.examples.values())

    def train(self, *args):
        if self.is_trained:
            super().train(*args)

    def example(self, run):
        return self.examples[run.variant]

    def plan(self, run):
        return self._plans[run.variant]

    def features(self, run):
        return self.example(run).features

    def draw(self, run):
        return self.example(run).draw(run.seed, run.size)

    def order_key(self, run):
        return key_for(self.config.seed, Purpose.ORDER, run.seed, run.size)

    @functools.cache  # noqa: B019  (a sweep lives as long as its program)
    def _init(self, variant):
        plan, features = self._plans[variant], self.examples[variant].features
        return jax.jit(lambda key: training.init_params(plan, key, features))

    def initial(self, run):
        """The initial weights of a seed, the same for all its sizes."""
        return self._init(run.variant)(
            key_for(self.config.seed, Purpose.INIT, run.seed)
        )

    def padded(self, draw):
        """A training set, or its S', in as many rows as the largest has."""
        return training.pad_sample(draw.inputs, draw.labels, self.rows)

    def sprime(self, run, draw):
        """S' of a training set `draw`, as a `Draw`."""
        inputs, labels = self.example(run).sprime(draw.inputs, draw.labels)
        return dataclasses.replace(draw, inputs=inputs, labels=labels)

    @functools.cache  # noqa: B019
    def fresh(self, variant, size):
        """Test examples of a variant; `size` is 0 where they serve all sizes."""
        return self.examples[variant].fresh(size)

    def fresh_of(self, run):
        """The arguments of `fresh` for a run."""
        depends = self.example(run).fresh_depends_on_size
        return run.variant, run.size if depends else 0

    def _first(self, draw, count):
        """The first `count` examples of a draw, as a `Sample` of as many rows."""
        inputs, labels = jax.tree.map(lambda a: a[:count], (draw.inputs, draw.labels))
        return training.pad_sample(inputs, labels, count)

    @functools.cache  # noqa: B019
    def _watched_fresh(self, variant, size):
        draw, count = self.fresh(variant, size), self.config.watch
        chosen = host_generator(key_for(self.config.seed, Purpose.WATCH)).permutation(
            len(draw.labels)
        )[:count]
        inputs, labels = jax.tree.map(lambda a: a[chosen], (draw.inputs, draw.labels))
        return training.pad_sample(inputs, labels, count)

    def sample(self, run):
        """The training `Sample`; on S' and fresh examples the error is watched."""
        draw, watch = self.draw(run), self.config.watch
        sample = self.padded(draw)
        if not watch:
            return sample
        watched = {
            "fresh": self._watched_fresh(*self.fresh_of(run)),
            "sprime": self._first(self.sprime(run, draw), watch),
        }
        return sample.replace(watched=watched)
