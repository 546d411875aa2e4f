"""A network made up for tracing: with all that is optional, and of no meaning."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bounds import arrays, registry
from bounds.evaluate import measure
from bounds.measures.certified_surrogate import Certified
from bounds.measures.disagreement import Unlabelled
from bounds.measures.picks import PickToLearn
from bounds.network import History, Learned, Network
from nets.kernels import weight_matrices
from nets.mlp import MLP
from nets.stochastic import GaussianNetwork


def network(matrices: int = 2) -> Network:
    """A network of `matrices` weight matrices on 5 examples, with everything optional."""
    widths = [4] * matrices
    weights = [np.ones((4, n), np.float32) for n in [*widths[1:], 3]]
    data = np.ones((5, 4), np.float32), np.zeros(5, np.int32)
    held_out = np.full((5, 4), 0.5, np.float32), data[1]
    found = arrays.from_arrays(
        weights, *data, init=weights, holdout=held_out, loss="softmax"
    )
    history = History(np.ones(3, np.float32), np.int32(3), np.int32(1))
    return found.replace(other=found.init, history=history, first_epoch=found.params)


def _of_gaussian(one):
    """What a `GaussianNetwork` of one hidden layer has learned on the examples of a network."""
    inputs = jnp.asarray(one.sample.inputs)
    classes = weight_matrices(one.params)[-1].shape[-1]
    model = GaussianNetwork(MLP(4, 1, classes, biases=True))
    return Learned(model, model.init(jax.random.key(0), inputs[:1])["params"])


def _with_surrogate(one):
    """Unlabelled points beside a network, and itself for a surrogate."""
    things = {"surrogate": one.params, "certifying": one.holdout}
    return Learned(Unlabelled(one.model), things | {"unlabelled": one.holdout})


def _with_certified(one):
    """The same points, and itself for a surrogate that has a certificate."""
    things = {"surrogate": one.params, "certificate": 0.25, "failure": 0.01}
    return Learned(Certified(one.model), things | {"unlabelled": one.holdout})


def _picked(one):
    """Every second example of a network was picked."""
    rows = one.sample.labels.shape[0]
    return Learned(PickToLearn(rows), {"picked": np.arange(rows) % 2 == 0})


# Network -> what it may have been made from, a line a kind: tried in this order for a group that
# neither the network nor another group of its type stands for.
LEARNED: tuple[Callable[[Network], Learned], ...] = (
    _of_gaussian,
    _with_surrogate,
    _with_certified,
    _picked,
)


class NotHad(ValueError):
    """A group is not to be had of a made-up network, as its measure says by `bounds.Unavailable`."""


def _of_learned(one, name):
    """A group of the first kind of network that has it, or None."""
    for learned in LEARNED:
        found, _ = measure(one.replace(learned=learned(one)), [name])
        if name in found:
            return found[name]
    return None


def groups_for(one: Network, names: Sequence[str]) -> list[Any]:
    """Groups of a made-up network: of one that it cannot have, another of the same type, or that
    of a network made from something learned (`LEARNED`).

    Raises:
      NotHad: one cannot be measured.
      ValueError: one is not what its measure declares.
    """
    found, missing = measure(one, names)
    for name in [n for n in names if n in missing]:
        for other, kind in registry.GROUPS.items():
            if kind is registry.GROUPS[name] and other != name:
                stands_for, _ = measure(one, [other])
                if other in stands_for:
                    found[name] = stands_for[other]
                    break
        else:
            found[name] = _of_learned(one, name)
            if found[name] is None:
                raise NotHad(f"{name}: {missing[name]}")
    for name in names:
        kind = registry.GROUPS[name]
        if not isinstance(found[name], kind):
            raise ValueError(
                f"the measure of {name} returned {type(found[name]).__name__}, not "
                f"{kind.__name__}"
            )
    return [found[name] for name in names]
