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
    if not panel.curves:
        return
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


_FARTHEST = 1e40  # of a row of marks; what is beyond is drawn there


def draw_rows(path, names, points, lines, label, log=True, spans=None):
    """Marks in rows, one a bound.

    Args:
      path: of the PNG.
      names: (bound, kind) of each row, from the top; a colour a kind.
      points: values of each row.
      lines: values to draw as dashed lines, perhaps none.
      label: of the axis.
      log: a logarithmic axis with a line at 1, else a linear one with a line at 0.
      spans: an interval (low, high) of each row, its ends perhaps None.
    """
    kinds = list(dict.fromkeys(kind for _, kind in names))
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(7.5, 1.2 + 0.2 * len(names)))
        for row, ((_, kind), values) in enumerate(zip(names, points, strict=True)):
            place = kinds.index(kind)
            first = row == next(i for i, (_, k) in enumerate(names) if k == kind)
            axes.plot(
                [min(value, _FARTHEST) for value in values], [row] * len(values),
                MARKERS[place], color=COLOURS[place], markersize=4, alpha=0.7,
                label=kind if first else None,
            )  # fmt: skip
            if spans and None not in spans[row]:
                axes.plot(spans[row], [row, row], color=COLOURS[place], lw=1, alpha=0.7)
        for value in lines:
            axes.axvline(
                max(value, 1e-6) if log else value, color="grey", lw=0.8, ls="--"
            )
        axes.axvline(1.0 if log else 0.0, color="black", lw=1)
        axes.set_xscale("log" if log else "linear")
        if not log:  # an interval over two seeds may be of any length
            middle = [value for values in points for value in values]
            axes.set_xlim(min(middle) - 0.5, max(middle) + 0.5)
        axes.set_yticks(range(len(names)), [name for name, _ in names], fontsize=7)
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.set_xlabel(label)
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=len(kinds))
        with whole(path) as aside:
            figure.savefig(aside, format="png", bbox_inches="tight")
        plt.close(figure)
