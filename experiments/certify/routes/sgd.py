"""What routes share that train by SGD: runs, plans, jobs on a part of the training images."""

import dataclasses
from collections.abc import Callable
from typing import Any

import chex
import jax
import jax.numpy as jnp

from experiments.lab import pools
from experiments.lab.jobs import Job, Run, initial
from experiments.lab.networks import network_of, source_of
from experiments.lab.refusals import Refusal
from experiments.lab.seeding import Purpose, key_for
from experiments.problems import Examples, Problem
from nets import augmentation, training
from nets.sample import Sample, pad_sample

NEVER = -1.0  # a mean loss that is not reached: a run lasts its epochs


def runs_of(stage: str, size: int, config: Any) -> tuple[Run, ...]:
    """A run of a stage for each seed."""
    return tuple(Run(f"{stage}_seed{n}", size, n) for n in range(config.seeds))


def plan(
    config: Any, model: Any, size: int, epochs: int, **changes: Any
) -> training.Plan:
    """SGD on the softmax loss for `epochs` epochs of `size` examples, its rate down a cosine."""
    epochs = max(epochs, 1)
    options = {
        "model": model, "loss": "softmax", "learning_rate": config.learning_rate,
        "batch_size": config.batch_size, "shuffle": True, "margin": 1.0, "threshold": 0.0,
        "loss_target": NEVER, "max_epochs": epochs, "momentum": config.momentum,
        "decay_steps": epochs * (size // config.batch_size),
    }  # fmt: skip
    return training.Plan(**options | changes)


MOVES = tuple(field.name for field in dataclasses.fields(augmentation.Moves))


def on_moved(objective: Any, config: Any, problem: Problem) -> augmentation.Moved:
    """An objective, of images that are moved as --shift, --rotation and --zoom say."""
    moves = augmentation.Moves(*(getattr(config, name) for name in MOVES))
    return augmentation.Moved(objective, problem.image, moves)


def moving(config: Any, problem: Problem) -> Any:
    """The objective of training on moved images, or None: the loss itself, where none moves."""
    found = on_moved(augmentation.KnownLoss(), config, problem)
    return found if found.moves else None


@dataclasses.dataclass(frozen=True)
class OfSize:
    """The `objective` of a `training.Plan`: another one, of a bound on fewer examples.

    Attributes:
      objective: the other one.
      size: m of the bound: of the examples that are trained on, those that are certified on.
    """

    objective: Callable[..., jax.Array]
    size: int

    def __call__(
        self,
        model: Any,
        params: chex.ArrayTree,
        inputs: jax.Array,
        labels: jax.Array,
        size: jax.Array,
        key: chex.PRNGKey,
    ) -> jax.Array:
        """As `training.Plan.objective` has it: `[]`."""
        size = jnp.full_like(size, self.size)
        return self.objective(model, params, inputs, labels, size, key)


def network(config: Any, problem: Problem, biases: bool = True) -> Any:
    """The network of fixed weights that `--architecture` names.

    Raises:
      Refusal: it cannot learn the problem, or there are no images to move; or it is a plugin's
        whose training has a mode of its own.
    """
    for name in MOVES if problem.image is None else ():
        if value := getattr(config, name):
            raise Refusal(
                f"--{name}={value}: {source_of(config)} has no images to move; use --{name}=0"
            )
    found = network_of("architecture", config, problem, biases)
    if getattr(found, "is_normalised", False):
        raise Refusal(
            f"--architecture={config.architecture}: batch normalisation is not trained here; take "
            "a network without"
        )
    return found


def initial_key(config: Any, run: Run) -> jax.Array:
    """The key of a seed's initial weights."""
    return key_for(config.seed, Purpose.INIT, run.seed)


def initial_network(config: Any, own: training.Plan, features: int, run: Run) -> Any:
    """The initial weights of a seed: independent of the data."""
    return initial(own, features)(initial_key(config, run))


def examples_of(
    config: Any, problem: Problem, seed: int, part: slice, size: int | None = None
) -> Examples:
    """A part of the training images of a seed.

    Args:
      config: the settings.
      problem: what is learned.
      seed: of the run.
      part: which of the images.
      size: how many there are in all; `--size` if not given.
    """
    size = size or config.size
    return problem.draw(seed, size, 0).part(part)


def job(
    config: Any,
    problem: Problem,
    run: Run,
    *,
    own: training.Plan,
    part: slice,
    order: int,
    init: Callable[[], Any],
    size: int | None = None,
) -> Job:
    """The `Job` of a run on a part of the training images of its seed.

    Args:
      config: the settings.
      problem: what is learned.
      run: which.
      own: its plan.
      part: which of the images.
      order: a number of its own: decides in which order they are seen.
      init: the parameters it starts from.
      size: as of `examples_of`.
    """

    def examples() -> Examples:
        return examples_of(config, problem, run.seed, part, size)

    def sample() -> Sample:
        drawn = examples()
        return pad_sample(drawn.inputs, drawn.labels, 0)

    return Job(
        plan=own,
        features=problem.features,
        init=init,
        key=lambda: key_for(config.seed, Purpose.ORDER, run.seed, order),
        examples=examples,
        sample=sample,
        pool=pools.of(problem, size or config.size),
    )
