"""The matrix as a picture, for a README: what the page shows, for those who do not open it."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

from experiments.lab.figures import MARKERS, Canvas
from experiments.report_card import signs

_TALL = 40  # rows; more stand in two blocks side by side
_GREY = "#555555"
_LONG = 40  # characters of a name
_STATUSES = (
    "certified", "certified under assumption", "up to constants", "heuristic", "estimate",
    "reference",
)  # fmt: skip
_MARKS = dict(zip(_STATUSES, MARKERS, strict=False))  # in grey: colours are verdicts


def _drawable(text: str) -> str:
    """A name on one line, not endless; what stands between dollars would be a formula."""
    text = " ".join(text.encode("utf-8", "backslashreplace").decode("utf-8").split())
    text = text if len(text) <= _LONG else f"{text[: _LONG - 1]}…"
    return text.replace("$", r"\$")


def _inches(names: Iterable[str]) -> float:
    """The room that names take."""
    return 0.06 * max((len(_drawable(name)) for name in names), default=0)


def paint(canvas: Canvas, card: Mapping[str, Any]) -> None:
    """Rows are bounds, those that pass the most trials first; columns are trials.

    Args:
      canvas: a `figures.Canvas`.
      card: what `card.json` holds.
    """
    names = signs.best_first(card)
    columns = 2 if len(names) > _TALL else 1
    rows = max(1, math.ceil(len(names) / columns))
    titles = [trial["title"] for trial in card["trials"].values()]
    width = 0.5 + _inches(names) + 0.19 * len(titles)
    height = 0.8 + _inches(titles) + 0.155 * rows
    with canvas(1, columns, width, height) as grid:
        for block, axes in enumerate(grid[0]):
            _paint_block(axes, card, names[block * rows : (block + 1) * rows], rows)
        statuses = {bound["status"] for bound in card["bounds"].values()}
        _paint_legend(grid[0, 0].figure, [s for s in _STATUSES if s in statuses])


def _paint_block(axes, card, names, rows):
    from matplotlib.patches import Rectangle  # slow to import

    trials = list(card["trials"])
    small = {"fontsize": 6.5, "va": "center_baseline"}
    for row, name in enumerate(names):
        bound = card["bounds"][name]
        axes.plot(-1, row, _MARKS[bound["status"]], color=_GREY, ms=3.5)
        for column, trial in enumerate(trials):
            verdict = bound["trials"][trial]["verdict"]
            ground, ink = signs.LIGHT[verdict]
            corner = column - 0.5, row - 0.5
            axes.add_patch(Rectangle(corner, 1, 1, fc=ground, ec="white", lw=0.8))
            axes.text(
                column, row, signs.SIGNS[verdict], color=ink, ha="center", **small
            )
        passed = str(signs.passes(bound))
        axes.text(len(trials) + 0.4, row, passed, ha="right", **small)
    titles = [_drawable(trial["title"]) for trial in card["trials"].values()]
    axes.set_xticks(
        range(len(trials) + 1), [*titles, "passes"], rotation=90, fontsize=7
    )
    axes.set_yticks(range(len(names)), map(_drawable, names), fontsize=7)
    axes.set(xlim=(-1.4, len(trials) + 0.5), ylim=(rows - 0.5, -0.5))
    axes.tick_params(length=0, pad=2, labeltop=True, labelbottom=False)
    axes.grid(False)
    axes.spines[:].set_visible(False)


def _paint_legend(figure, statuses):
    from matplotlib.lines import Line2D

    handles = [
        Line2D(
            [], [], ls="", marker="s", ms=9, mfc=signs.LIGHT[verdict][0], mec="#777777", mew=0.5,
            label=f"{sign} {verdict}",
        )
        for verdict, sign in signs.SIGNS.items()
    ]  # fmt: skip
    for status in statuses:
        look = {"marker": _MARKS[status], "color": _GREY, "ms": 5}
        handles.append(Line2D([], [], ls="", label=status, **look))
    figure.legend(handles=handles, loc="outside lower center", ncols=4)
