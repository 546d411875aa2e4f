"""The network that settings name, made for a problem."""

from typing import Any

import flax.linen as nn

from experiments.lab.refusals import Refusal
from experiments.problems import Problem
from nets.registry import NETWORKS

# Layers: more are a slip, and take memory without end before anything is said.
_DEEPEST = 1000


def source_of(config: Any) -> str:
    """The flags that say what is learned from, as refusals name them."""
    if not config.problem:
        data = getattr(config, "data", None)
        return f"--data={data}" if data else "--data"
    inputs = getattr(config, "inputs", "pixels")
    features = "" if inputs == "pixels" else f" with --inputs={inputs}"
    return f"--problem={config.problem}{features}"


def network_of(flag: str, config: Any, problem: Problem, biases: bool) -> nn.Module:
    """The network that a flag names, of `width` and `depth`.

    Args:
      flag: the setting whose value is a name in `NETWORKS`.
      config: the settings.
      problem: what it is to learn.
      biases: whether its layers have biases.

    Raises:
      Refusal: it cannot learn the problem.
    """
    name = getattr(config, flag)
    if config.depth > _DEEPEST:
        raise Refusal(f"--depth={config.depth}: more than {_DEEPEST} layers; use fewer")
    try:
        return NETWORKS[name](
            features=problem.features,
            image=problem.image,
            classes=problem.classes,
            width=config.width,
            depth=config.depth,
            biases=biases,
        )
    except ValueError as error:
        if problem.image:
            raise Refusal(f"--{flag}={name}: {error}") from error
        raise Refusal(
            f"--{flag}={name}: {error}, and {source_of(config)} has none; use --{flag}=mlp"
        ) from error
