"""What a tool computed, as curves: a panel a training-set size."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from experiments.lab.figures import Canvas

Rows = Sequence[Mapping[str, Any]]
Points = tuple[Sequence[float], Sequence[float]]  # x and y


def mean(rows: Rows, quantity: str, size: int) -> float | None:
    """Of a quantity at m = `size` over training sets; None where one has none.

    Args:
      rows: of quantities.csv, of one tool.
      quantity: its name.
      size: m.
    """
    values = [r["value"] for r in rows if (r["quantity"], r["m"]) == (quantity, size)]
    return float(np.mean(values)) if values and None not in values else None


def along(rows: Rows, quantities: Mapping[float, str], size: int) -> Points:
    """x and y of a curve: the means of the quantities that there are.

    Args:
      rows: as of `mean`.
      quantities: x -> name of the quantity.
      size: m.
    """
    found = {x: mean(rows, name, size) for x, name in quantities.items()}
    known = {x: y for x, y in sorted(found.items()) if y is not None}
    return list(known), list(known.values())


def paint_along(
    canvas: Canvas,
    rows: Rows,
    curves: Mapping[str, tuple[str, str]],
    quantities: Mapping[float, str],
    xlabel: str,
    classes: int,
    *,
    log: bool,
) -> None:
    """A panel a training-set size, with a curve of several quantities along x.

    Args:
      canvas: a `Canvas`.
      rows: as of `mean`.
      curves: end of a quantity's name -> name of its style, its label.
      quantities: x -> what the names begin with.
      xlabel, classes, log: as of `paint`.
    """
    panels = {
        f"m = {size}": {
            look: along(
                rows, {x: begin + name for x, begin in quantities.items()}, size
            )
            for name, look in curves.items()
        }
        for size in sorted({row["m"] for row in rows})
    }
    paint(canvas, panels, xlabel, classes, log=log)


def paint(
    canvas: Canvas,
    panels: Mapping[str, Mapping[tuple[str, str], Points]],
    xlabel: str,
    classes: int,
    *,
    log: bool,
) -> None:
    """Curves of errors and of what limits them; what is above 1 is drawn at 1.

    Args:
      canvas: a `Canvas`.
      panels: title -> (name of its style, its label) -> points.
      xlabel: of the horizontal axis.
      classes: C: a dotted line at 1 - 1/C, from where on nothing is said.
      log: whether x is.
    """
    with canvas.panels(len(panels), 3.4, 3.0) as grid:
        for axes, (title, curves) in zip(grid, panels.items(), strict=True):
            for (name, label), (x, y) in curves.items():
                look = canvas.style(name) | {"label": label, "ls": "-"}
                axes.plot(x, np.minimum(y, 1.0), **look)
            axes.axhline(1 - 1 / classes, color="#777777", lw=0.8, ls=":")
            ticks = sorted({x for xs, _ in curves.values() for x in xs})
            if ticks:
                canvas.ticks(axes, ticks, log=log)
            axes.set(title=title, xlabel=xlabel, ylim=(-0.03, 1.06))
        grid[0].set_ylabel("error, or what limits it")
