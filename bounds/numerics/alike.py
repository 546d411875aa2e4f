"""One loop for arrays that are alike: its body compiles once."""

from collections.abc import Callable, Hashable, Sequence
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np


def by_kind(
    trees: Sequence[chex.ArrayTree],
    kind: Callable[[Any], Hashable],
    function: Callable[[Any], chex.ArrayTree],
) -> chex.ArrayTree:
    """A function of each of several trees, stacked in their order; those of a kind share a loop.

    Args:
      trees: one at least; those of one kind have the same shapes.
      kind: of a tree.
      function: of one of them; what it returns has the same shapes for all.
    """
    places = places_of(trees, kind)
    parts = [mapped(function, [trees[i] for i in own]) for own in places.values()]
    return in_order(parts, [place for own in places.values() for place in own])


def in_order(parts: Sequence[chex.ArrayTree], places: Sequence[int]) -> chex.ArrayTree:
    """Stacked trees as one, whose rows, taken one after the other, belong to `places`."""
    order = np.argsort(places)
    return jax.tree.map(lambda *leaves: jnp.concatenate(leaves)[order], *parts)


def places_of(
    trees: Sequence[Any], kind: Callable[[Any], Hashable]
) -> dict[Hashable, list[int]]:
    """Kind -> where in a sequence those of it stand."""
    found: dict[Hashable, list[int]] = {}
    for place, tree in enumerate(trees):
        found.setdefault(kind(tree), []).append(place)
    return found


def mapped(
    function: Callable[[Any], chex.ArrayTree], trees: Sequence[chex.ArrayTree]
) -> chex.ArrayTree:
    """A function of each of several trees of the same shapes, one after the other, stacked."""
    if len(trees) == 1:
        return jax.tree.map(lambda leaf: leaf[None], function(trees[0]))
    return jax.lax.map(function, stacked(trees))


def stacked(trees: Sequence[chex.ArrayTree]) -> chex.ArrayTree:
    """Trees of the same shapes as one, along a new first axis."""
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)
