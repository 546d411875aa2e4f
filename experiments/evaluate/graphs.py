"""The graphs that networks were read as: a list of their operations, and a picture."""

from collections.abc import Mapping
from typing import Any

from experiments.lab import report
from experiments.lab.figures import Drawing
from nets.graph import Graph
from nets.importing.jaxpr import Read

_MOST_DRAWN = 150  # operations of a picture; a longer list is a list only
_COLOURS = {
    "linear": 0,
    "relu": 2,
    "leaky": 2,
    "activation": 1,
    "opaque": 1,
    "window": 5,
}


def blocks(networks: Mapping[str, Read], draw: Drawing) -> list[Any]:
    """What each network was read as; equal graphs once."""
    found: list[Any] = []
    seen: dict[Graph, list[str]] = {}
    for name, read in networks.items():
        seen.setdefault(read.graph, []).append(name)
    for number, (graph, names) in enumerate(seen.items()):
        found.append(report.Heading(f"What {', '.join(names)} was read as"))
        found.append(
            report.Text(
                "The operations in their order, each with the numbers of those that it reads. "
                "Normalisation by running statistics is part of the layers."
            )
        )
        if len(graph.nodes) <= _MOST_DRAWN:
            caption = "The operations from the input, above, to the logits."
            found.append(draw.also("svg")(f"graph_{number}", caption, paint, graph))
        body = [
            [
                str(place),
                str(node),
                ", ".join(map(str, node.inputs)),
                *_layer(networks[names[0]], node),
            ]
            for place, node in enumerate(graph.nodes)
        ]
        heads = ("number", "operation", "reads", "layer", "weights")
        found.append(
            report.Table(heads, body, words=("operation", "layer"), on_terminal=False)
        )
    return found


def _layer(read, node):
    """Its layer's number and name, and the shapes of what it learned."""
    if node.layer < 0:
        return "", ""
    named = read.graph.names[node.layer] if read.graph.names else ""
    arrays = read.params[f"Layer_{node.layer}"].values()
    shapes = " + ".join(str(list(a.shape)) for a in arrays)
    return f"{node.layer}: {named}" if named else str(node.layer), shapes


def places(graph: Graph) -> list[tuple[int, int]]:
    """(column, row) of each node: below what it reads, a column for each branch."""
    rows, columns, taken = [], [], set()
    for node in graph.nodes:
        row = max((rows[i] + 1 for i in node.inputs), default=0)
        column = min((columns[i] for i in node.inputs), default=0)
        while (column, row) in taken:
            column += 1
        taken.add((column, row))
        rows.append(row)
        columns.append(column)
    return list(zip(columns, rows, strict=True))


def paint(canvas: Any, graph: Graph) -> None:
    """Boxes with what each node does, and arrows from what it reads."""
    at = places(graph)
    width, height = (1 + max(place[n] for place in at) for n in (0, 1))
    with canvas(1, 1, 3.4 * width, 0.42 * height + 0.4) as grid:
        axes = grid[0, 0]
        axes.axis("off")
        axes.set_xlim(-0.5, width - 0.5)
        axes.set_ylim(height - 0.4, -0.6)
        for node, (column, row) in zip(graph.nodes, at, strict=True):
            for i in node.inputs:
                before = at[i]
                # What skips others goes around them.
                bent = before[0] == column and row - before[1] > 1
                start, end = (0.3, 0.0) if bent else (0.0, 0.27)
                axes.annotate(
                    "", (column + 0.12 * bent, row - 0.27 * (not bent)),
                    (before[0] + start, before[1] + end),
                    arrowprops={
                        "arrowstyle": "->", "color": "0.4", "lw": 0.8,
                        "connectionstyle": f"arc3,rad={-0.6 if bent else 0}",
                    },
                )  # fmt: skip
        for node, (column, row) in zip(graph.nodes, at, strict=True):
            shade = canvas.colours[_COLOURS.get(node.kind, 6)]
            text = str(node)
            axes.text(
                column, row, text if len(text) < 58 else f"{text[:55]}...", ha="center",
                va="center", size=6.5,
                bbox={"boxstyle": "round,pad=0.25", "fc": "white", "ec": shade, "lw": 1.2},
            )  # fmt: skip
