"""Figures: a name has one colour in all figures of a report; files are .png and, on demand, more.

A figure is painted by a function whose first argument is a `Canvas`:

  def paint(canvas, values):
      with canvas(1, 1) as grid:
          grid[0, 0].plot(values, **canvas.style("test"))
"""

import contextlib
import dataclasses
import io
import math
import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments.lab import report
from experiments.lab.checksums import whole
from experiments.lab.later import at_once, later

spec = later("bounds.spec")

# Okabe & Ito's palette, told apart by all readers; markers tell them apart in grey.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
LINES = ("-", "--", ":")
# What errors look like in every report; all else takes what is left, in turn.
FIXED = {
    "test": ("test error", COLOURS[0], MARKERS[0]),
    "sprime": ("error on S'", COLOURS[1], MARKERS[1]),
    "train": ("training error", COLOURS[2], MARKERS[2]),
}
_REST = COLOURS[3:]

STYLE = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "savefig.dpi": 160,
    "svg.hashsalt": "",
}
FORMATS = ("png", "pdf", "svg")


def _choose_backend():
    """Files alone are written: a backend that is not installed here must not end a run."""
    if "matplotlib" not in sys.modules:
        os.environ["MPLBACKEND"] = "agg"


def prepare() -> None:
    """Imports what draws, beside what is under way: while programs are compiled or read it costs nothing."""
    _choose_backend()
    names = "matplotlib.figure", "matplotlib.backends.backend_agg"
    modules = [later(name) for name in names]
    threading.Thread(target=at_once, args=modules).start()


class Drawing:
    """The figures of a report.

    `draw(name, caption, paint, *args)` calls `paint(canvas, *args)`, writes what it painted as
    `figures/<name>.png` (and in the other formats), and returns the `report.Figure`.
    """

    def __init__(self, folder: Path, formats: Sequence[str] = ("png",)):
        _choose_backend()
        self._folder = folder
        self._formats = dict.fromkeys(["png", *formats])
        self._styles: dict[str, tuple[str, str, str]] = {}

    def __call__(
        self, name: str, caption: str, paint: Callable[..., None], *args: Any
    ) -> report.Figure:
        """Paints one figure."""
        painted = {}
        paint(Canvas(self, painted), *args)
        path = self._folder / f"{name}.png"
        for kind, content in painted.items():
            with whole(path.with_suffix(f".{kind}")) as aside:
                aside.write_bytes(content)
        return report.Figure(path, caption)

    def also(self, kind: str) -> "Drawing":
        """The same, that writes another format too."""
        found = Drawing(self._folder, (*self._formats, kind))
        found._styles = self._styles
        return found

    def style(self, name: str) -> tuple[str, str, str]:
        """Colour, marker and line of a name, the same whenever it is asked for."""
        if name in FIXED:
            return *FIXED[name][1:], LINES[0]
        if name not in self._styles:
            number = len(self._styles)
            turn, place = divmod(number, len(_REST))
            marker = MARKERS[(number + turn + 3) % len(MARKERS)]  # no two alike
            self._styles[name] = (_REST[place], marker, LINES[turn % len(LINES)])
        return self._styles[name]

    def save(self, figure: Any, painted: dict[str, bytes]) -> None:
        """Renders a figure in all formats."""
        for kind in self._formats:
            buffer = io.BytesIO()
            undated = {"png": {}, "pdf": {"CreationDate": None}, "svg": {"Date": None}}
            figure.savefig(
                buffer, format=kind, bbox_inches="tight", metadata=undated[kind]
            )
            painted[kind] = buffer.getvalue()


class Canvas:
    """What a figure is painted on; call it for its axes."""

    colours = COLOURS

    def __init__(self, drawing: Drawing, painted: dict[str, bytes]):
        self._drawing, self._painted = drawing, painted

    @contextlib.contextmanager
    def __call__(
        self,
        rows: int,
        columns: int,
        width: float = 4.4,
        height: float | Sequence[float] = 3.3,
    ) -> Iterator[np.ndarray]:
        """Axes `[rows, columns]`, each `width` x `height` inches; done when the block ends.

        Rows that are not of one height have one each.
        """
        from matplotlib import rc_context  # slow to import
        from matplotlib.figure import Figure

        heights = [height] * rows if isinstance(height, float | int) else list(height)
        with rc_context(STYLE):
            figure = Figure(
                figsize=(width * columns, sum(heights)), layout="constrained"
            )
            yield figure.subplots(rows, columns, squeeze=False, height_ratios=heights)
            self._drawing.save(figure, self._painted)

    @contextlib.contextmanager
    def panels(self, count: int, width: float, height: float) -> Iterator[np.ndarray]:
        """`count` axes, with the legend of the first below them all."""
        columns = 3 if count in (5, 6) else min(count, 4)  # no row nearly empty
        with self(-(-count // columns), columns, width, height) as grid:
            for axes in grid.flat[count:]:
                axes.remove()
            yield grid.flat[:count]
            handles, labels = grid[0, 0].get_legend_handles_labels()
            grid[0, 0].figure.legend(
                handles, labels, loc="outside lower center", ncols=3
            )

    def style(self, name: str) -> dict[str, Any]:
        """How a curve of that name looks: keywords of matplotlib's `plot`."""
        colour, marker, line = self._drawing.style(name)
        label = FIXED[name][0] if name in FIXED else name
        return {
            "color": colour, "marker": marker, "ls": line, "ms": 4, "lw": 1.5, "label": label,
        }  # fmt: skip

    def ticks(self, axes: Any, values: Sequence[float], log: bool = True) -> None:
        """Ticks at the values that there are."""
        from matplotlib.ticker import NullLocator

        if log and min(values) > 0:
            axes.set_xscale("log")
        axes.set_xticks(values, [f"{v:g}" for v in values])
        axes.xaxis.set_minor_locator(NullLocator())
        if len(values) > 5:
            axes.tick_params(axis="x", rotation=45)


@dataclasses.dataclass(frozen=True)
class Curve:
    """One line of a panel.

    Attributes:
      name: decides its colour.
      label: for the legend.
      x, y: points.
      low, high: an interval a point, or None.
      published: drawn hollow and dashed: a number of the paper's, not ours.
    """

    name: str
    label: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] | None = None
    high: Sequence[float] | None = None
    published: bool = False


@dataclasses.dataclass(frozen=True)
class Panel:
    """One pair of axes, the vertical one logarithmic.

    Attributes:
      title: above it.
      curves: in the order of the legend.
      ylabel: what is plotted, with its unit.
      xlabel: of the horizontal axis; x is logarithmic where it is positive.
      levels: what a horizontal line says -> where it is, drawn where it is in range.
    """

    title: str
    curves: Sequence[Curve]
    ylabel: str
    xlabel: str = "training-set size m"
    levels: Mapping[str, float] = dataclasses.field(default_factory=dict)


def paint_panels(
    canvas: Canvas, panels: Sequence[Panel], columns: int = 2, width: float = 4.4
) -> None:
    """Panels, `width` inches each."""
    with canvas(-(-len(panels) // columns), columns, width) as grid:
        for axes, panel in zip(grid.flat, panels, strict=False):
            _paint_panel(canvas, axes, panel)
        for axes in grid.flat[len(panels) :]:
            axes.remove()


def plain_numbers(axis: Any, values: Iterable[float]) -> None:
    """Ticks of a logarithmic axis as plain numbers, where they span few powers of 10."""
    from matplotlib.ticker import (
        AutoLocator,
        LogLocator,
        NullFormatter,
        StrMethodFormatter,
    )

    axis.set_minor_formatter(NullFormatter())
    values = [v for v in values if 0 < v < math.inf]
    if values and max(values) < 100 * min(values):
        narrow = max(values) < 4 * min(values)
        axis.set_major_locator(AutoLocator() if narrow else LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter(StrMethodFormatter("{x:g}"))


def _paint_panel(canvas, axes, panel):
    for curve in panel.curves:
        look = canvas.style(curve.name) | {"label": curve.label}
        if curve.published:
            look |= {
                "color": "#777777",
                "mfc": "white",
                "ls": "--",
                "lw": 1,
                "zorder": 1,
            }
        axes.plot(curve.x, curve.y, **look)
        if curve.low is not None:
            axes.fill_between(
                curve.x, curve.low, curve.high, color=look["color"], alpha=0.18, lw=0
            )
    axes.set(yscale="log", title=panel.title, xlabel=panel.xlabel, ylabel=panel.ylabel)
    if not panel.curves:
        return
    canvas.ticks(axes, sorted({x for curve in panel.curves for x in curve.x}))
    plain_numbers(axes.yaxis, [y for curve in panel.curves for y in curve.y])
    low, high = axes.get_ylim()
    for what, level in panel.levels.items():
        if low <= level <= high:
            axes.axhline(level, color="#333333", lw=0.8, label=what)
    if len(panel.curves) > 4:  # too many to stand among the lines
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    else:
        axes.legend()


FARTHEST = 1e40  # of a row of marks; what is beyond is drawn there


@dataclasses.dataclass(frozen=True)
class Row:
    """Marks in a row of `paint_rows`.

    Attributes:
      name: of the row.
      kind: decides the colour.
      values: a mark each.
      errors: hollow marks: the error that the row is to be held against.
      span: an interval, or None.
    """

    name: str
    kind: str
    values: Sequence[float]
    errors: Sequence[float] = ()
    span: tuple[float, float] | None = None


def paint_rows(
    canvas: Canvas,
    rows: Sequence[Row],
    label: str,
    *,
    log: bool = True,
    levels: Mapping[str, float] | None = None,
) -> None:
    """Rows of marks, one a bound, from the top.

    Args:
      canvas: a `Canvas`.
      rows: of the figure.
      label: of the axis, with its unit.
      log: a logarithmic axis, else a linear one with a line at 0.
      levels: what a vertical line says -> where it is.
    """
    # A status has one colour and mark in all figures.
    kinds = list(dict.fromkeys([*spec.STATUSES, *(row.kind for row in rows)]))
    seen = set()
    with canvas(1, 1, 7.5, 1.2 + 0.2 * len(rows)) as grid:
        axes = grid[0, 0]
        for place, row in enumerate(rows):
            kind = kinds.index(row.kind)
            colour = COLOURS[kind]
            marks = {
                row.kind: (row.values, {"color": colour, "alpha": 0.7}),
                "the error of the network it speaks of": (
                    row.errors, {"color": "#333333", "mfc": "none"},
                ),
            }  # fmt: skip
            for what, (values, look) in marks.items():
                found = [min(value, FARTHEST) for value in values]
                if not found:
                    continue
                look["label"] = None if what in seen else what
                seen.add(what)
                marker = MARKERS[kind] if what == row.kind else "|"
                axes.plot(found, [place] * len(found), marker, ms=5, **look)
            if row.span and None not in row.span:
                axes.plot(row.span, [place, place], color=colour, lw=1, alpha=0.7)
        axes.set_xscale("log" if log else "linear")
        for what, level in (levels or {}).items():
            axes.axvline(level, color="black", lw=0.9, ls="--", label=what)
        if log:
            marks = [v for row in rows for v in (*row.values, *row.errors)]
            plain_numbers(axes.xaxis, [*marks, *(levels or {}).values()])
        else:  # an interval over two seeds may be of any length
            axes.axvline(0.0, color="black", lw=0.6)
            middle = [v for row in rows for v in row.values if math.isfinite(v)]
            middle += [*(levels or {}).values(), 0.0]
            axes.set_xlim(min(middle) - 0.5, max(middle) + 0.5)
        axes.set_yticks(range(len(rows)), [row.name for row in rows], fontsize=7)
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_xlabel(label)
        axes.legend(loc="lower center", bbox_to_anchor=(0.4, 1), ncols=2)
