"""What a chain of linear layers with ReLUs between them is, in words that a file can hold.

`{"input": [28, 28, 1], "layers": [{"kind": "convolution", "image": [28, 28], "strides": [2, 2],
"zeros": [[1, 2], [1, 2]]}, ..., {"kind": "dense", "positions": 1}]}`: of a convolution height and
width of its input and the zeros (before, behind) around it; a dense layer takes the mean over so
many positions first. Whoever knows this and the kernels, `[kh, kw, in, out]` or `[in, out]`, can
run the network.
"""

from collections.abc import Sequence
from typing import Any

import chex

from nets.graph import Graph, chain_of, graph_of
from nets.kernels import layers
from nets.operators import Convolution, Dense

NETWORK = "network"  # the key of it in the metadata of a file
_KEYS = {
    "convolution": {"kind", "image", "strides", "zeros"},
    "dense": {"kind", "positions"},
}


def described(model: Any, params: chex.ArrayTree) -> dict[str, Any]:
    """What a network of plain convolutions and dense layers is.

    Args:
      model: a Linen module of such layers, or the `Graph` of a chain.
      params: its parameters.
    """
    graph = graph_of(model, params)
    pairs = zip(graph.operators(), layers(params), strict=True)
    return {
        "input": list(graph.shape),
        "layers": [_of_operator(op, layer["kernel"].shape) for op, layer in pairs],
    }


def _of_operator(op, kernel):
    if isinstance(op, Dense):
        return {"kind": "dense", "positions": op.positions}
    return {
        "kind": "convolution",
        "image": list(op.image),
        "strides": list(op.strides),
        "zeros": [list(sides) for sides in op.around(kernel)],
    }


def check(network: Any) -> None:
    """Raises a `ValueError` unless it says what a network is."""
    if not isinstance(network, dict) or set(network) != {"input", "layers"}:
        raise ValueError("must have input and layers")
    shape, every = network["input"], network["layers"]
    if not (_are_counts(shape, (1, 3), 1) and isinstance(every, list) and every):
        raise ValueError("its input must be a shape, its layers a list")
    for layer in every:
        kind = layer.get("kind") if isinstance(layer, dict) else None
        if kind not in _KEYS or set(layer) != _KEYS[kind]:
            raise ValueError(
                f"a layer must be one of {', '.join(_KEYS)}, with its parts"
            )
        if kind == "dense":
            is_right = _are_counts([layer["positions"]], (1,), 1)
        else:
            pair, zeros = (2,), layer["zeros"]
            is_right = (
                all(_are_counts(layer[name], pair, 1) for name in ("image", "strides"))
                and isinstance(zeros, list)
                and len(zeros) == 2
                and all(_are_counts(sides, pair, 0) for sides in zeros)
            )
        if not is_right:
            raise ValueError(f"a {kind} layer has sizes that cannot be")


def _are_counts(value, lengths: Sequence[int], least: int) -> bool:
    return (
        isinstance(value, list)
        and len(value) in lengths
        and all(type(one) is int and least <= one < 2**31 for one in value)
    )


def graph_from(network: dict[str, Any]) -> Graph:
    """The graph of what was `described`; its layers are `Layer_0`, `Layer_1`, ..."""
    found = [
        Dense(layer["positions"])
        if layer["kind"] == "dense"
        else Convolution(
            tuple(layer["image"]),
            tuple(layer["strides"]),
            tuple(tuple(sides) for sides in layer["zeros"]),
        )
        for layer in network["layers"]
    ]
    return chain_of(found, network["input"])
