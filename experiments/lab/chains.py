"""What a chain of linear layers with ReLUs between them is, in words that a file can hold.

`{"input": [28, 28, 1], "layers": [{"kind": "convolution", "image": [28, 28], "strides": [2, 2],
"zeros": [[1, 2], [1, 2]]}, ..., {"kind": "dense", "positions": 1}]}`: of a convolution height and
width of its input and the zeros (before, behind) around it; a dense layer takes the mean over so
many positions first. Whoever knows this and the kernels, `[kh, kw, in, out]` or `[in, out]`, can
run the network.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import chex
import numpy as np

from nets.graph import Graph, chain_of, graph_of
from nets.kernels import layers
from nets.operators import Convolution, Dense

NETWORK = "network"  # the key of it in the metadata of a file
CERTIFICATE = "certificate"  # that of what is certified
FINAL = "final/"  # begins the names of the tensors of what was learned
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
        if not isinstance(kind, str) or set(layer) != _KEYS.get(kind):
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
    if every[-1]["kind"] != "dense":
        raise ValueError("its last layer must be dense")


def layers_of(
    network: Mapping[str, Any], tensors: Mapping[str, np.ndarray], prefix: str
) -> list[dict[str, np.ndarray]]:
    """The layers `{"kernel", "bias", ...}` among tensors `<prefix><layer>/<part>`.

    Args:
      network: what was `described`, and has been `check`ed.
      tensors: by name; others than those of the prefix are left alone.
      prefix: of the names.

    Raises:
      ValueError: there are layers that the network has not, or the other way round.
    """
    count = len(network["layers"])
    found: list[dict[str, np.ndarray]] = [{} for _ in range(count)]
    numbers = {str(n): n for n in range(count)}
    for name, array in tensors.items():
        if not name.startswith(prefix):
            continue
        number, _, part = name.removeprefix(prefix).partition("/")
        if number not in numbers:
            raise ValueError(f"{name}: is of none of its {count} layers")
        found[numbers[number]][part] = array
    if not all(found):
        raise ValueError(f"{prefix}{found.index({})}: is missing")
    return found


def network_of(
    network: Mapping[str, Any], tensors: Mapping[str, np.ndarray], prefix: str
) -> list[dict[str, np.ndarray]]:
    """The kernels and biases of a network among tensors: `layers_of`, looked at by `check_layers`."""
    found = layers_of(network, tensors, prefix)
    check_layers(network, found)
    return found


def check_layers(
    network: Mapping[str, Any], found: Sequence[Mapping[str, np.ndarray]]
) -> None:
    """Raises a `ValueError` unless kernels and biases are those of a network.

    Args:
      network: what was `described`, and has been `check`ed.
      found: its layers.
    """
    size = math.prod(network["input"])
    for n, (op, layer) in enumerate(zip(network["layers"], found, strict=True)):
        is_dense = op["kind"] == "dense"
        for part, rank in (("kernel", 2 if is_dense else 4), ("bias", 1)):
            array = layer.get(part)
            if array is None or array.ndim != rank or array.dtype.kind != "f":
                raise ValueError(
                    f"{n}/{part}: must be an array of {rank} axes of floats"
                )
            if not np.isfinite(array).all():
                raise ValueError(f"{n}/{part}: holds numbers that are not finite")
        kernel = layer["kernel"].shape
        positions = op["positions"] if is_dense else math.prod(op["image"])
        if positions * kernel[-2] != size:
            raise ValueError(f"{n}/kernel: takes other inputs than there are, {size}")
        if layer["bias"].shape != kernel[-1:] or 0 in kernel:
            raise ValueError(f"{n}/bias: must be one for each of {kernel[-1]} outputs")
        size = kernel[-1] * (1 if is_dense else math.prod(outputs(op, kernel)))
        if not size:
            raise ValueError(f"{n}/kernel: is larger than its image")


def outputs(op: Mapping[str, Any], kernel: tuple[int, ...]) -> tuple[int, ...]:
    """Height and width of what a convolution makes, of a kernel of this shape."""
    every = zip(op["image"], op["zeros"], op["strides"], kernel[:2], strict=True)
    return tuple(
        max((size + sum(zeros) - window) // stride + 1, 0)
        for size, zeros, stride, window in every
    )


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
