"""Twins: the same function written with other parameters (Zhang & Louis 2025, arXiv 2510.18934).

A ReLU network is the same function after the incoming weights of a hidden unit were multiplied
by c > 0 and its outgoing ones divided by c, and after hidden units were permuted. What a measure
says of the twin and does not say of the network speaks of the parametrisation.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from experiments.lab.later import later

kernels = later("nets.kernels")

LARGEST = 4.0  # factors of units lie between 1 / 4 and 4, log-uniformly


def _scaled(layers, factors):
    """Layers whose hidden units are multiplied by factors, one array a hidden layer."""
    found = [dict(layer) for layer in layers]
    for index, factor in enumerate(factors):
        found[index]["kernel"] = found[index]["kernel"] * factor
        if "bias" in found[index]:
            found[index]["bias"] = found[index]["bias"] * factor
        found[index + 1]["kernel"] = found[index + 1]["kernel"] / factor[:, None]
    return found


def _hidden(layers):
    return [layer["kernel"].shape[1] for layer in layers[:-1]]


def rescaled_units(layers: list[dict[str, Any]], seed: int) -> list[dict[str, Any]]:
    """Every hidden unit by a factor of its own between 1/4 and 4."""
    random = np.random.default_rng(seed)
    powers = [random.uniform(-1, 1, n) for n in _hidden(layers)]
    return _scaled(layers, [(LARGEST**p).astype(np.float32) for p in powers])


def rescaled_layers(layers: list[dict[str, Any]], seed: int) -> list[dict[str, Any]]:
    """The first layer by 4, the last by 1/4; powers of two, so that nothing is rounded."""
    del seed
    # In between a layer is multiplied and divided.
    return _scaled(layers, [np.full(n, LARGEST, np.float32) for n in _hidden(layers)])


def permuted(layers: list[dict[str, Any]], seed: int) -> list[dict[str, Any]]:
    """The units of every hidden layer in another order, the initial weights in the old one."""
    random = np.random.default_rng(seed)
    found = [dict(layer) for layer in layers]
    for index, n in enumerate(_hidden(layers)):
        order = random.permutation(n)
        found[index]["kernel"] = found[index]["kernel"][:, order]
        if "bias" in found[index]:
            found[index]["bias"] = found[index]["bias"][order]
        found[index + 1]["kernel"] = found[index + 1]["kernel"][order]
    return found


# What is done to a network -> how.
KINDS: dict[str, Callable[[list[dict[str, Any]], int], list[dict[str, Any]]]] = {
    "rescaled_units": rescaled_units,
    "rescaled_layers": rescaled_layers,
    "permuted": permuted,
}


def of(params: Any, kind: str, seed: int) -> Any:
    """The parameters of a twin of a network of dense layers.

    Args:
      params: its learned parameters.
      kind: of `KINDS`.
      seed: decides the factors and orders.
    """
    layers = [
        {name: np.asarray(leaf) for name, leaf in layer.items()}
        for layer in kernels.layers(params)
    ]
    arrays = {
        f"{index}/{name}": leaf
        for index, layer in enumerate(KINDS[kind](layers, seed))
        for name, leaf in layer.items()
    }
    return kernels.from_arrays(arrays, params)
