"""A network made up for tracing: with all that is optional, and of no meaning."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from bounds import arrays, registry
from bounds.evaluate import measure
from bounds.network import History, Network


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


def groups_for(one: Network, names: Sequence[str]) -> list[Any]:
    """Groups of a made-up network: of one that it cannot have, another of the same type.

    Raises:
      ValueError: one cannot be measured, or is not what its measure declares.
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
            raise ValueError(f"{name}: {missing[name]}")
    for name in names:
        kind = registry.GROUPS[name]
        if not isinstance(found[name], kind):
            raise ValueError(
                f"the measure of {name} returned {type(found[name]).__name__}, not "
                f"{kind.__name__}"
            )
    return [found[name] for name in names]
