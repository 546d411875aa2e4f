"""The one place that knows how parameters are laid out."""

import re
from collections.abc import Callable, Mapping
from typing import Any

import chex
import jax
import jax.numpy as jnp
from flax import traverse_util


def layers(params: chex.ArrayTree) -> list[dict[str, jax.Array]]:
    """The layers of a network in the order in which its input meets them.

    Args:
      params: the `params` collection of a Linen module, whose layers are named
        `<Kind>_<number>`.

    Returns:
      A list of dicts, each with `kernel` `[in, out]` (or `part_<k>`, see
      `nets.linear`) and, if the layer has one, `bias` `[out]`; entry 0 is the layer next to the input.
    """
    found = {}
    for path, leaf in traverse_util.flatten_dict(params).items():
        found.setdefault(path[:-1], {})[path[-1]] = leaf

    def position(path):
        return [int(re.search(r"(\d+)$", name).group(1)) for name in path]

    return [found[path] for path in sorted(found, key=position)]


def weight_matrices(params: chex.ArrayTree) -> list[jax.Array]:
    """The weight matrices W_1..W_L `[in, out]` of `params`, the input's first."""
    return [
        layer["kernel"] if "kernel" in layer else _joined(layer)
        for layer in layers(params)
    ]


def map_last(
    params: chex.ArrayTree, function: Callable[[jax.Array], jax.Array]
) -> chex.ArrayTree:
    """`params` with a function applied to each array of the last layer."""
    last = {id(leaf) for leaf in layers(params)[-1].values()}
    return jax.tree.map(
        lambda leaf: function(leaf) if id(leaf) in last else leaf, params
    )


def _joined(layer):
    """The matrix of a layer whose input has parts (`nets.linear`): theirs, stacked."""
    parts = sorted(layer, key=lambda name: int(name.removeprefix("part_")))
    return jnp.concatenate([layer[name] for name in parts])


def to_arrays(params: chex.ArrayTree) -> dict[str, jax.Array]:
    """`params` as a flat dict `{"0/kernel": ..., "0/bias": ...}`, layer 0 the input's."""
    return {
        f"{index}/{name}": leaf
        for index, layer in enumerate(layers(params))
        for name, leaf in layer.items()
    }


def from_arrays(arrays: Mapping[str, Any], like: chex.ArrayTree) -> chex.ArrayTree:
    """The inverse of `to_arrays`.

    Args:
      arrays: what `to_arrays` returned.
      like: a tree of the wanted structure; its leaves need only a `.shape`.

    Returns:
      A tree structured as `like` that holds `arrays`.

    Raises:
      KeyError: a layer of `like` is missing in `arrays`.
      ValueError: an array has another shape than its place in `like`.
    """
    ordered = layers(like)
    names = {id(layer[n]): f"{i}/{n}" for i, layer in enumerate(ordered) for n in layer}

    def place(leaf):
        name = names[id(leaf)]
        if arrays[name].shape != leaf.shape:
            raise ValueError(f"{name} is {arrays[name].shape}, wanted {leaf.shape}")
        return arrays[name]

    return jax.tree.map(place, like)
