"""Nodes in the making become a graph: scales and shifts are folded where that is exact.

A scale and shift behind a linear map is folded into it; one before a dense layer, or before a
convolution that pads nothing (or that only scales), likewise. A shift before zero padding is not
that of the padded zeros: there, and where a value goes elsewhere too, it becomes a diagonal map, a
layer of its own. The mean over all positions before a dense layer is part of that layer.
"""

import collections
import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from nets.graph import Graph, Node
from nets.importing.rules import Raw
from nets.operations import MEAN, SUM, Affine, Layout
from nets.operators import Convolution, Dense


class Folding:
    """Passes over raw nodes, each a change that leaves the function what it is."""

    def __init__(self, nodes: Sequence[Raw], output: int):
        self.nodes = list(nodes)
        self.output = output
        self._count()

    def _count(self):
        """Which nodes are needed, and by how many."""
        self.readers = collections.defaultdict(list)
        needed, waiting = set(), [self.output]
        while waiting:
            place = waiting.pop()
            if place not in needed:
                needed.add(place)
                waiting += self.nodes[place].inputs
        for place in sorted(needed):
            for own in self.nodes[place].inputs:
                self.readers[own].append(place)
        self.needed = sorted(needed)
        self.uses = collections.defaultdict(list)
        for place in self.needed:
            if self.nodes[place].kind == "linear":
                self.uses[self.nodes[place].key].append(place)

    def of_kind(self, kind: str) -> list[int]:
        """Places of the needed nodes of a kind."""
        return [place for place in self.needed if self.nodes[place].kind == kind]

    def replace(self, place: int, by: int) -> None:
        """Whoever read one node reads another."""
        for one in self.nodes:
            one.inputs = tuple(by if own == place else own for own in one.inputs)
        if self.output == place:
            self.output = by
        self._count()

    def is_alone(self, place: int) -> bool:
        """Whether one node only reads it."""
        return len(self.readers[place]) == 1 and place != self.output

    def pulled_back(self, place: int) -> tuple[int, np.ndarray, np.ndarray] | None:
        """`(node, scale, shift)` of a 'scale', before the layouts that precede it."""
        raw = self.nodes[place]
        arrays, own = [raw.kernel, raw.bias], raw.inputs[0]
        while self.nodes[own].kind == "layout" and self.is_alone(own):
            layout = self.nodes[own]
            given = self.nodes[layout.inputs[0]].shape
            index = index_of(layout.op, given).ravel()
            if not np.array_equal(np.sort(index), np.arange(np.prod(given, dtype=int))):
                return None
            moved = []
            for array in arrays:
                before = np.empty(array.size)
                before[index] = array.ravel()
                moved.append(before.reshape(given))
            arrays, own = moved, layout.inputs[0]
        return own, *arrays

    def fold_scales(self) -> bool:
        """Two that follow one another are one."""
        for place in self.of_kind("scale"):
            raw = self.nodes[place]
            found = self.pulled_back(place)
            if found is None or not self.is_alone(found[0]):
                continue
            own, scale, shift = found
            before = self.nodes[own]
            if before.kind == "scale":
                before.kernel = before.kernel * scale
                before.bias = before.bias * scale + shift
                before.is_constant &= raw.is_constant
                before.shifts |= raw.shifts
                before.key = (before.key, raw.key)
                self.replace(place, raw.inputs[0])
                return True
        return False

    def fold_back(self) -> bool:
        """Into the linear maps before; all uses of a layer or none."""
        for key, places in self.uses.items():
            found = [self._behind(place) for place in places]
            if None in found:
                continue
            _, scale, shift = found[0]
            if not all(
                np.array_equal(scale, s) and np.array_equal(shift, t)
                for _, s, t in found
            ):
                continue
            for place, (reader, scale, shift) in zip(places, found, strict=True):
                raw = self.nodes[place]
                raw.kernel = raw.kernel * scale
                if self.nodes[reader].shifts or raw.bias is not None:
                    raw.bias = shift + (0 if raw.bias is None else raw.bias * scale)
                raw.key = (*key, scale.tobytes(), shift.tobytes())
                self.replace(reader, self.nodes[reader].inputs[0])
            return True
        return False

    def _behind(self, place):
        """The one 'scale' behind a linear map, by its output channels."""
        own = place
        while self.is_alone(own) and self.nodes[self.readers[own][0]].kind == "layout":
            own = self.readers[own][0]
        if not self.is_alone(own) or self.nodes[self.readers[own][0]].kind != "scale":
            return None
        reader = self.readers[own][0]
        found = self.pulled_back(reader)
        if found is None or found[0] != place:
            return None
        channels = [per_channel(array) for array in found[1:]]
        return None if None in map(type_of, channels) else (reader, *channels)

    def fold_means(self) -> bool:
        """A sum over windows that is divided by their sizes is a mean."""
        for place in self.of_kind("scale"):
            raw = self.nodes[place]
            found = self.pulled_back(place)
            if found is None or not raw.is_constant or raw.shifts:
                continue
            own, scale, _ = found
            window = self.nodes[own]
            if (
                window.kind != "window"
                or window.op.kind != SUM
                or not self.is_alone(own)
            ):
                continue
            ones = jnp.ones((1, *self.nodes[window.inputs[0]].shape))
            for counts_padding in (False, True):
                op = dataclasses.replace(
                    window.op, kind=MEAN, counts_padding=counts_padding
                )
                counts = np.broadcast_to(np.asarray(op.counts(ones)[0]), scale.shape)
                if np.allclose(scale * counts, 1, rtol=1e-6, atol=0):
                    window.op = op
                    self.replace(place, raw.inputs[0])
                    return True
        return False

    def fold_forward(self) -> bool:
        """Into the linear map behind, where zeros around an image are not shifted."""
        for place in self.of_kind("scale"):
            arrays = [self.nodes[place].kernel, self.nodes[place].bias]
            own = place
            while (
                self.is_alone(own) and self.nodes[self.readers[own][0]].kind == "layout"
            ):
                own = self.readers[own][0]
                layout = self.nodes[own].op
                given = self.nodes[self.nodes[own].inputs[0]].shape
                index = index_of(layout, given)
                arrays = [np.where(index >= 0, a.ravel()[index], 0.0) for a in arrays]
            if not self.is_alone(own):
                continue
            reader = self.readers[own][0]
            raw = self.nodes[reader]
            if raw.kind != "linear" or len(self.uses[raw.key]) > 1:
                continue
            if self._folded_forward(raw, *arrays, self.nodes[place].shifts):
                raw.key = (*raw.key, *(array.tobytes() for array in arrays))
                self.replace(place, self.nodes[place].inputs[0])
                return True
        return False

    @staticmethod
    def _folded_forward(raw, scale, shift, shifts):
        kernel, op = np.asarray(raw.kernel, float), raw.op
        if isinstance(op, Dense):
            if op.positions > 1:
                return False
            moved, constant = kernel * scale.reshape(-1, 1), shift.ravel() @ kernel
        else:
            scale, shift = per_channel(scale), per_channel(shift)
            if scale is None or shift is None:
                return False
            if shifts and np.any(op.around(kernel.shape)):
                return False
            # Of group g the channels g n, ..., g n + n - 1 meet its own outputs.
            *_, count, out = kernel.shape
            own = np.arange(out) // (out // op.groups) * count
            channel = np.arange(count)[:, None] + own[None]
            moved = kernel * scale[channel]
            constant = np.sum(kernel * shift[channel], axis=(0, 1, 2))
        raw.kernel = moved
        if shifts or raw.bias is not None:
            raw.bias = constant + (0 if raw.bias is None else raw.bias)
        return True

    def fold_averages(self) -> bool:
        """The mean over all positions is part of the dense layer that reads it."""
        for place in self.of_kind("window"):
            op, own = self.nodes[place].op, self.nodes[place].inputs[0]
            image = self.nodes[own].shape
            is_whole = (
                op.kind == MEAN and op.size == image[:2] and not np.any(op.padding)
            )
            if not is_whole or not self.is_alone(place):
                continue
            reader = self.readers[place][0]
            while self.nodes[reader].kind == "layout" and self.is_alone(reader):
                layout = self.nodes[reader].op
                index = index_of(layout, self.nodes[self.nodes[reader].inputs[0]].shape)
                if not np.array_equal(index.ravel(), np.arange(index.size)):
                    break
                reader = self.readers[reader][0]
            raw = self.nodes[reader]
            if (
                raw.kind == "linear"
                and raw.op == Dense()
                and len(self.uses[raw.key]) == 1
            ):
                raw.op = Dense(image[0] * image[1])
                raw.inputs = (own,)
                self._count()
                return True
        return False

    def place_scales(self) -> None:
        """What is left of scales: one number for all entries, or a diagonal map."""
        for place in self.of_kind("scale"):
            raw = self.nodes[place]
            scale, shift = np.asarray(raw.kernel), np.asarray(raw.bias)
            channels = per_channel(scale), per_channel(shift)
            is_alike = None not in map(type_of, channels)
            if raw.is_constant and is_alike:
                raw.kind, raw.kernel, raw.bias = "affine", None, None
                raw.op = Affine(*map(_numbers, channels))
                continue
            own, shape = raw.inputs[0], raw.shape
            if len(shape) == 1 or not is_alike:
                image, channels = (1, 1), (scale.ravel(), shift.ravel())
            else:
                image = shape[:2]
            op = Convolution(image, (1, 1), ((0, 0), (0, 0)), groups=len(channels[0]))
            key = "diagonal", raw.key, scale.tobytes(), shift.tobytes()
            made = dataclasses.replace(
                raw, kind="linear", op=op, inputs=(own,), key=key,
                shape=(*image, len(channels[0])), kernel=channels[0][None, None, None],
                bias=channels[1] if raw.shifts else None,
            )  # fmt: skip
            if made.shape == shape:
                self.nodes[place] = made
                continue
            self.nodes.append(made)
            index = np.arange(np.prod(shape, dtype=int)).reshape(shape)
            raw.kind, raw.op = "layout", Layout.of(index, made.shape)
            raw.inputs, raw.kernel, raw.bias = (len(self.nodes) - 1,), None, None
        self._count()

    def ordered(self) -> list[int]:
        """The needed nodes, each behind what it reads."""
        found, seen = [], set()

        def visit(place):
            stack = [(place, iter(self.nodes[place].inputs))]
            seen.add(place)
            while stack:
                own, rest = stack[-1]
                following = next((n for n in rest if n not in seen), None)
                if following is None:
                    found.append(own)
                    stack.pop()
                else:
                    seen.add(following)
                    stack.append((following, iter(self.nodes[following].inputs)))

        start = self.of_kind("input")[0]
        visit(start)
        if self.output not in seen:
            visit(self.output)
        return found


def _numbers(array):
    """A tuple; of one number where all are the same."""
    return tuple(map(float, array[:1] if np.ptp(array) == 0 else array))


def type_of(value: Any) -> Any:
    """None of None: arrays do not compare with it."""
    return None if value is None else type(value)


def per_channel(array: np.ndarray) -> np.ndarray | None:
    """`[channels]` of what is the same at all positions, or None."""
    flat = array.reshape(-1, array.shape[-1])
    return flat[0] if (flat == flat[:1]).all() else None


def index_of(layout: Layout, given: tuple[int, ...]) -> np.ndarray:
    """For each entry that a layout gives, its place in what it is given; -1 for a zero."""
    if layout.axes is not None:
        places = np.arange(np.prod(given, dtype=int)).reshape(given)
        return places.transpose(layout.axes).reshape(layout.shape)
    return np.frombuffer(layout.entries, np.int32).reshape(layout.shape)


# Functions that change no order of outputs, and what they are called.
FINAL = {"softmax": jax.nn.softmax, "log_softmax": jax.nn.log_softmax}
_OF_FINAL = {"layout", "window", "add", "times", "affine", "activation"}


def without_final(graph: Graph, shapes: Sequence[tuple[int, ...]]) -> tuple[Graph, str]:
    """The graph up to its logits, and which of `FINAL` was behind them, or ''.

    Looked for behind a node that all goes through, among what has neither weights nor ReLUs;
    `shapes` are those of what the nodes give.
    """
    farthest = 0  # the last reader of any node so far
    for place in range(len(graph.nodes) - 1):
        reaches = farthest <= place
        readers = [n for n, one in enumerate(graph.nodes) if place in one.inputs]
        farthest = max([farthest, *readers])
        rest = graph.nodes[place + 1 :]
        kinds = {n.kind for n in rest}
        if not reaches or "activation" not in kinds or not kinds <= _OF_FINAL:
            continue
        moved = [
            dataclasses.replace(n, inputs=tuple(i - place for i in n.inputs))
            for n in rest
        ]
        tried = 3 * np.random.default_rng(0).normal(size=(4, *shapes[place]))
        tail = Graph((Node("input", op=shapes[place]), *moved))
        found = np.asarray(tail.apply({"params": {}}, jnp.asarray(tried, jnp.float32)))
        for name, function in FINAL.items():
            expected = function(tried.reshape(len(tried), -1), axis=-1)
            if found.shape == expected.shape and np.allclose(
                found, expected, rtol=1e-5, atol=1e-6
            ):
                return Graph(graph.nodes[: place + 1], graph.names), name
    return graph, ""


def finished(
    nodes: Sequence[Raw], output: int
) -> tuple[Graph, dict[str, dict[str, Any]], str]:
    """`(graph, params, final)` of what the output needs, up to its logits.

    Parameters are float32; `final` is which of `FINAL` was taken off behind the logits, or ''.
    """
    folding = Folding(nodes, output)
    while (
        folding.fold_scales()
        or folding.fold_means()
        or folding.fold_back()
        or folding.fold_forward()
        or folding.fold_averages()
    ):
        pass
    folding.place_scales()
    order = folding.ordered()
    places = {own: n for n, own in enumerate(order)}
    layers, params, names, made = {}, {}, [], []
    for own in order:
        raw = folding.nodes[own]
        layer = -1
        if raw.kind == "linear":
            layer = layers.setdefault(raw.key, len(layers))
            if layer == len(names):
                names.append(raw.name)
                params[f"Layer_{layer}"] = {
                    name: jnp.asarray(array, jnp.float32)
                    for name, array in (("kernel", raw.kernel), ("bias", raw.bias))
                    if array is not None
                }
        made.append(Node(raw.kind, tuple(places[n] for n in raw.inputs), raw.op, layer))
    shapes = [folding.nodes[own].shape for own in order]
    graph, final = without_final(Graph(tuple(made), tuple(names)), shapes)
    return graph, params, final
