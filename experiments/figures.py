"""Figures: curves over training-set size with intervals over seeds."""

import contextlib
import dataclasses

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
from matplotlib.ticker import (
    AutoLocator,
    LogLocator,
    NullFormatter,
    NullLocator,
    StrMethodFormatter,
)

from experiments.run_folder import whole

# Okabe & Ito's palette, told apart by all readers; markers tell them apart in grey.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")

STYLE = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "savefig.dpi": 160,
}


@dataclasses.dataclass(frozen=True)
class Curve:
    """One line of a panel.

    Attributes:
      label: for the legend.
      x, y: points.
      low, high: an interval a point, or None.
      published: drawn hollow and dashed: a number of the paper's, not ours.
    """

    label: str
    x: list
    y: list
    low: list | None = None
    high: list | None = None
    published: bool = False


@dataclasses.dataclass(frozen=True)
class Panel:
    """One pair of axes, both logarithmic; `level` is a horizontal line."""

    title: str
    curves: list
    level: float | None = None


def _draw(axes, panel, xlabel):
    for index, curve in enumerate(panel.curves):
        colour = COLOURS[index % len(COLOURS)]
        marker = MARKERS[index % len(MARKERS)]
        if curve.published:
            axes.plot(
                curve.x, curve.y, "--", color="#777777", marker=marker, mfc="white",
                ms=4, lw=1, label=curve.label, zorder=1,
            )  # fmt: skip
            continue
        axes.plot(
            curve.x,
            curve.y,
            color=colour,
            marker=marker,
            ms=4,
            lw=1.5,
            label=curve.label,
        )
        if curve.low is not None:
            axes.fill_between(
                curve.x, curve.low, curve.high, color=colour, alpha=0.18, lw=0
            )
    axes.set(xscale="log", yscale="log", title=panel.title, xlabel=xlabel)
    sizes = sorted({x for curve in panel.curves for x in curve.x})
    axes.set_xticks(
        sizes, [f"{x:g}" for x in sizes], rotation=45 if len(sizes) > 5 else 0
    )
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_minor_formatter(NullFormatter())
    values = [y for curve in panel.curves for y in curve.y if y > 0]
    if values and max(values) < 100 * min(values):
        narrow = max(values) < 4 * min(values)
        locator = AutoLocator() if narrow else LogLocator(subs=(1, 2, 5))
        axes.yaxis.set_major_locator(locator)
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    if panel.level is not None:
        axes.axhline(panel.level, color="#333333", lw=0.8)
    if len(panel.curves) > 4:  # too many to stand among the lines
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    else:
        axes.legend()


@contextlib.contextmanager
def canvas(path, rows, columns, width=4.4, height=3.3, **options):
    """Axes `[rows, columns]` of one PNG, which is written when the block ends.

    Args:
      path: the file.
      rows, columns: of panels, each `width` x `height` inches.
      **options: for `plt.subplots`.
    """
    with plt.rc_context(STYLE):
        figure, grid = plt.subplots(
            rows,
            columns,
            figsize=(width * columns, height * rows),
            squeeze=False,
            layout="constrained",
            **options,
        )
        try:
            yield grid
            with whole(path) as aside:
                figure.savefig(aside, format="png")
        finally:
            plt.close(figure)


def draw(path, panels, xlabel="training-set size m", columns=2, width=4.4):
    """Writes panels as one PNG, `width` inches a panel."""
    with canvas(path, -(-len(panels) // columns), columns, width) as grid:
        for axes, panel in zip(grid.flat, panels, strict=False):
            _draw(axes, panel, xlabel)
        for axes in grid.flat[len(panels) :]:
            axes.remove()
