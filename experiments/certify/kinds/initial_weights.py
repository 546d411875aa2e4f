"""The network that a certificate says was trained, made again: nothing in it has seen the data."""

import functools
import math
import types
from typing import Any

import jax
import numpy as np

from experiments.certify.certificate_file import OfProblem
from experiments.certify.kinds import recounting
from experiments.certify.routes import sgd
from experiments.lab import chains
from experiments.lab.networks import network_of
from experiments.lab.refusals import Refusal
from nets.kernels import layers
from nets.registry import NETWORKS


def plain_network(one: OfProblem, like: recounting.Layers, biases: bool) -> Any:
    """The Linen module of `architecture`, `width` and `depth`.

    Args:
      one: a certificate that says them.
      like: the layers that it is to have: `kernel` and `bias` of each.
      biases: whether it has biases.

    Raises:
      Refusal: there is no such architecture here, or its layers are others.
    """
    shape = one.network["input"]
    if one.architecture not in NETWORKS:
        raise Refusal(
            f"--verify: of the architecture {one.architecture}, which is not here; give its --plugin"
        )
    source = types.SimpleNamespace(
        features=math.prod(shape),
        image=tuple(shape) if len(shape) == 3 else None,
        classes=len(like[-1]["bias"]),
    )
    found = []
    if one.width > 0 and 0 <= one.depth <= len(like) and one.width < 2**20:
        plain = network_of("architecture", one, source, biases=biases)
        known = shapes(plain, one)
        # Not with other strides, or other zeros around an image.
        if chains.described(plain, known) == one.network:
            found = [layer["kernel"].shape for layer in layers(known)]
    if found != [layer["kernel"].shape for layer in like]:
        raise Refusal(
            f"--verify: a network {one.architecture} of width {one.width} and depth {one.depth} "
            "has other layers than the file; get the file again"
        )
    return plain


def shapes(model: Any, one: OfProblem) -> Any:
    """The shapes of the parameters of a model that takes what a certificate's network does."""
    return jax.eval_shape(model.init, jax.random.key(0), _example(one))["params"]


def initial(model: Any, one: OfProblem) -> Any:
    """The initial parameters of a model for the seed of a certificate."""
    key = sgd.initial_key(one, types.SimpleNamespace(seed=one.run_seed))
    return _init(model)(key, _example(one))["params"]


@functools.lru_cache(maxsize=16)
def _init(model):
    """A bound method is another function each time, for which `jit` compiles anew."""
    return jax.jit(model.init)


def _example(one):
    return np.zeros((1, math.prod(one.network["input"])), np.float32)
