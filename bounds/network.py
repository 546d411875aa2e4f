"""What measuring is given, one network and what is known of it; and how a measure is declared."""

import dataclasses
import functools
from collections.abc import Callable, Collection, Mapping
from typing import Any

import chex
import flax.linen as nn
from flax import struct

from bounds.passes import Counts, Sizes
from nets.sample import Sample


class Unavailable(Exception):
    """A group cannot be measured on this network; the message says what is missing."""


@struct.dataclass
class History:
    """How a training went, as checked at the end of every epoch.

    Attributes:
      losses: `[E]`, mean training loss after each epoch, of the loss trained on; entries from `epochs` on
        mean nothing.
      epochs: `[]`, epochs completed.
      steps_per_epoch: `[]`, SGD steps of an epoch.
    """

    losses: chex.Array
    epochs: chex.Array
    steps_per_epoch: chex.Array


@struct.dataclass
class Learned:
    """What was trained, where the parameters of a network are made from it.

    Attributes:
      model: the Linen module: of a Gaussian posterior, of a network in a random subspace; or what
        says which other things stand beside a network (`bounds.measures.disagreement`), or by
        which scheme it was made (`bounds.measures.picks`).
      params: its learned parameters, or these things.
    """

    model: nn.Module = struct.field(pytree_node=False)
    params: chex.ArrayTree


@struct.dataclass
class Network:
    """One trained network.

    Attributes:
      model: the Linen module.
      params: its learned parameters.
      sample: the training set.
      init: the parameters it started from, or None.
      other: the parameters learned from another draw from the same init, or None.
      holdout: examples that no choice has seen, or None.
      history: how its training went, or None.
      first_epoch: its parameters after the first epoch, or None.
      learned: what was trained, if that is not `model` with `params` itself.
      loss: a name in `nets.losses.LOSSES`, of the loss whose mean it was trained on, or None: it is
        not known, or something else was descended. Static: networks of different losses are
        measured in programs of their own.
    """

    model: nn.Module = struct.field(pytree_node=False)
    params: chex.ArrayTree
    sample: Sample
    init: chex.ArrayTree | None = None
    other: chex.ArrayTree | None = None
    holdout: Sample | None = None
    history: History | None = None
    first_epoch: chex.ArrayTree | None = None
    learned: Learned | None = None
    loss: str | None = struct.field(pytree_node=False, default=None)


# Optional field of a `Network` -> why what requires it is not available without.
WITHOUT = {
    "init": "the initial weights are not given",
    "other": "there is no second draw",
    "holdout": "no held-out examples are given",
    "history": "how its training went is not given",
    "first_epoch": "the weights after the first epoch are not given",
    "learned": "it was not made from a learned posterior, in a random subspace or of picked "
    "examples, and no unlabelled points are given",
    "loss": "the loss of an example that it was trained on is not given (evaluate --loss, "
    "from_arrays(loss=)), or there is none",
}


@dataclasses.dataclass(frozen=True)
class Measure:
    """How groups are measured.

    Attributes:
      groups: name -> its type, a `flax.struct.dataclass` of arrays.
      fn: (network, names that are wanted) -> name -> group, at least of those wanted; an
        `Unavailable` for one that cannot be had, or raised for all of them. Or a
        `bounds.passes.Pass` that finds them, which is made together with others. Pure.
      requires: optional fields of `Network` without which none of the groups can be had; or
        name -> those of one group.
      passes: sizes of the examples -> how many passes over blocks of them it makes; None for none
        worth counting.

    Raises:
      ValueError: where it is made, for a field that no network has, or a group that it does
        not make.
    """

    groups: Mapping[str, type]
    fn: Callable[[Network, Collection[str]], Mapping[str, Any]]
    requires: tuple[str, ...] | Mapping[str, tuple[str, ...]] = ()
    passes: Callable[[Sizes], Counts] | None = None

    def __post_init__(self):
        by_group = self.requires if isinstance(self.requires, Mapping) else {}
        for name in by_group:
            if name not in self.groups:
                raise ValueError(f"requires: {name} is none of its groups")
        for fields in by_group.values() if by_group else (self.requires,):
            for field in (fields,) if isinstance(fields, str) else fields:
                if isinstance(fields, str) or field not in WITHOUT:
                    raise ValueError(
                        f"requires={fields!r}: must be several of {', '.join(WITHOUT)}"
                    )

    @classmethod
    def one(
        cls,
        name: str,
        kind: type,
        fn: Callable[[Network], Any],
        requires: tuple[str, ...] = (),
        passes: Callable[[Sizes], Counts] | None = None,
    ) -> "Measure":
        """Of one group, from a function of the network alone."""

        @functools.wraps(fn)
        def of_one(network, _):
            return {name: fn(network)}

        return cls({name: kind}, of_one, requires, passes)

    @classmethod
    def several(
        cls,
        groups: Mapping[str, type],
        fn: Callable[[Network], Mapping[str, Any]],
        requires: tuple[str, ...] | Mapping[str, tuple[str, ...]] = (),
        passes: Callable[[Sizes], Counts] | None = None,
    ) -> "Measure":
        """Of groups that one function of the network returns together."""

        @functools.wraps(fn)
        def of_several(network, _):
            return fn(network)

        return cls(groups, of_several, requires, passes)

    def required(self, group: str) -> tuple[str, ...]:
        """The fields of `Network` without which a group cannot be had."""
        if isinstance(self.requires, tuple):
            return self.requires
        return self.requires.get(group, ())
