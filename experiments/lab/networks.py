"""The network that settings name, made for a problem."""

from typing import Any

import flax.linen as nn

from experiments.lab.refusals import Refusal
from experiments.problems import Problem
from nets.registry import NETWORKS


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
        lacks = "" if problem.image else f", and {source_of(config)} has none"
        raise Refusal(f"--{flag}={name}: {error}{lacks}; use --{flag}=mlp") from error
