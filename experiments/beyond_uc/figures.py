"""The figures of `beyond_uc`."""

from collections.abc import Mapping
from typing import Any

from bounds.spec import CERTIFIED, UNDER_ASSUMPTION
from experiments.lab.figures import Canvas, Drawing

COLUMNS = 4
UNIFORM = "uniform convergence"
ALIKE = 1.25  # errors within this factor of each other share a colour


def make(summary: Mapping[str, Any], draw: Drawing) -> list[Any]:
    """What uniform convergence must say, and what each tool says, over m."""
    first = (
        "Top left: the test error of the network on S, its error on S', and the least value "
        "that any two-sided uniform convergence bound on the 0-1 error can have (bars). "
        if any("sprime_error" in p for p in summary["points"])
        else ""
    )
    caption = (
        f"{first}A panel a tool: its claims, beside the error of the networks that they speak "
        "of (blue; dotted in its colour where a claim's is another). A claim that is vacuous at "
        "every m is left out where the tool has others. Means over training sets; bands: 95% t-intervals. What is above 1 is drawn "
        "at 1; dotted: vacuous, 1 - 1/C."
    )
    glance = (
        "Test error, what every two-sided uniform convergence bound on it must be at least (bars), "
        "and one claim a tool: its first that is not vacuous at the largest m. Filled marks: "
        "certified, also under an assumption; hollow: all else. The test error is that of the "
        "networks on S; privacy and ratt speak of others, whose errors are in the next figure."
    )
    return [
        draw("glance", glance, _paint_glance, summary),
        draw("beyond", caption, _paint, summary),
    ]


def headlines(summary: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """One claim a tool: the first that is not vacuous at the largest m, else the first."""
    vacuous, found = 1 - 1 / summary["classes"], []
    for name in summary["tools"]:
        own = [c for c in summary["claims"] if c["tool"] == name]
        values = [c["points"][-1]["value"] for c in own]
        said = [
            c for c, v in zip(own, values, strict=True) if v is not None and v < vacuous
        ]
        found += (said or own)[:1]
    return found


def _paint_glance(canvas: Canvas, summary: Mapping[str, Any]):
    points = summary["points"]
    sizes = [p["m"] for p in points]
    least = min(p["test_error"]["mean"] for p in points)
    with canvas(1, 1, 7.4, 4.2) as grid:
        axes = grid[0, 0]
        _bars(axes, points)
        _line(
            canvas, axes, "test", sizes, [p["test_error"] for p in points], 0.5 * least
        )
        if all("sprime_error" in p for p in points):
            cells = [p["sprime_error"] for p in points]
            _line(canvas, axes, "sprime", sizes, cells, 0.5 * least)
        for claim in headlines(summary):
            known = [p for p in claim["points"] if p["value"] is not None]
            look = canvas.style(claim["claim"]) | {"ls": "-", "lw": 1.2}
            look["label"] = f"{claim['claim']}: {claim['status']}"
            if claim["status"] not in (CERTIFIED, UNDER_ASSUMPTION):
                look |= {"mfc": "white", "ls": "--"}
            values = [min(1.0, p["value"]) for p in known]
            axes.plot([p["m"] for p in known], values, **look)
        _dress(canvas, axes, summary, least)
        axes.set(title=summary["problem"], ylabel="error, or what is claimed of it")
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8)


def _bars(axes, points):
    bars = [(p["m"], p["eps_unif_alg_lower_bound"]) for p in points]
    bars = [pair for pair in bars if pair[1] is not None]
    if bars:
        axes.plot(*zip(*bars, strict=True), "_", color="#000000", ms=16, mew=2.5,
                  label="any two-sided bound, at least", zorder=4)  # fmt: skip


def _dress(canvas, axes, summary, least):
    """Axes, and the line above which nothing is said."""
    axes.axhline(1 - 1 / summary["classes"], color="#777777", lw=0.8, ls=":")
    canvas.ticks(axes, [p["m"] for p in summary["points"]])
    axes.set_xlabel("training-set size m")
    if 0 < least < 0.1:
        axes.set(yscale="log", ylim=(0.4 * least, 1.3))
    else:
        axes.set_ylim(-0.03, 1.06)


def _paint(canvas: Canvas, summary: Mapping[str, Any]):
    panels = {name: [] for name in (UNIFORM, *summary["tools"])}
    for claim in summary["claims"]:
        panels[claim["tool"]].append(claim)
    points = summary["points"]
    sizes = [p["m"] for p in points]
    least = min(p["test_error"]["mean"] for p in points)
    columns, vacuous = min(COLUMNS, len(panels)), 1 - 1 / summary["classes"]
    with canvas(-(-len(panels) // columns), columns, 3.9, 3.7) as grid:
        for axes in grid.flat[len(panels) :]:
            axes.remove()
        for place, (title, claims) in enumerate(panels.items()):
            axes = grid.flat[place]
            _bars(axes, points)
            if title == UNIFORM:
                for name in ("test", "sprime"):
                    cells = [p.get(f"{name}_error") for p in points]
                    if None not in cells:
                        _line(canvas, axes, name, sizes, cells, 0.5 * least)
            _claims(canvas, axes, _drawn(claims, vacuous), 0.5 * least)
            _dress(canvas, axes, summary, least)
            axes.set_title(title)
            if not place % columns:
                axes.set_ylabel("error, or what is claimed of it")
            axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.28), fontsize=7)


def _drawn(claims, vacuous):
    """The claims that say something at some m; all where none does."""

    def says(claim):
        values = [p["value"] for p in claim["points"]]
        return any(v is not None and v < vacuous for v in values)

    return list(filter(says, claims)) or claims


def _claims(canvas, axes, claims, lowest):
    for claim in claims:
        known = [p for p in claim["points"] if p["value"] is not None]
        cells = [
            {"mean": p["value"], "low": p["low"], "high": p["high"]} for p in known
        ]
        sizes = [p["m"] for p in known]
        label = f"{claim['claim']}: {claim['status']}"
        _line(canvas, axes, claim["claim"], sizes, cells, lowest, label)
    _errors(canvas, axes, claims)


def _errors(canvas, axes, claims):
    """The errors of the networks spoken of: one line where they are alike, else one each."""
    curves = {}  # an error at each m -> whose it is
    for claim in claims:
        curve = tuple((p["m"], p["error"]) for p in claim["points"])
        if all(error is not None for _, error in curve):
            curves.setdefault(curve, claim["claim"])
    is_one = all(
        max(column) <= ALIKE * min(column)
        for column in zip(*([e for _, e in curve] for curve in curves), strict=True)
    )
    for number, (curve, name) in enumerate(curves.items()):
        look = canvas.style("test") | {"label": "error of the networks"}
        if is_one and number:
            look["label"] = None
        elif not is_one:  # whose it is its colour says
            look |= {"color": canvas.style(name)["color"], "marker": "", "ls": ":"}
            look["label"] = None if number else "error of a claim's own networks"
        axes.plot(*zip(*curve, strict=True), **look)


def _line(canvas, axes, name, sizes, cells, lowest, label=None):
    """A mean over training sets with its interval; above 1 is 1."""
    if not cells:
        return
    look = canvas.style(name) | ({"label": label} if label else {})
    axes.plot(sizes, [min(1.0, c["mean"]) for c in cells], **look)
    if all(c["low"] is not None and c["mean"] < 1 for c in cells):
        low = [min(1.0, max(lowest, c["low"])) for c in cells]
        high = [min(1.0, c["high"]) for c in cells]
        axes.fill_between(sizes, low, high, color=look["color"], alpha=0.13, lw=0)
