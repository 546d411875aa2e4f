"""The figures of `beyond_uc`."""

from collections.abc import Mapping, Sequence
from typing import Any

from bounds.spec import CERTIFIED, UNDER_ASSUMPTION
from experiments.beyond_uc.tools.tool import ESTIMATE
from experiments.lab.figures import Canvas, Drawing

PANELS = {
    "certified": (CERTIFIED,),
    "certified under assumption": (UNDER_ASSUMPTION,),
    "estimates": (ESTIMATE,),
}


def make(summary: Mapping[str, Any], draw: Drawing) -> list[Any]:
    """Errors, what uniform convergence must say, and every claim, over m."""
    caption = (
        "Over the training-set size: the test error of the network on S, the error on S' and "
        "the least value that any two-sided uniform convergence bound can have (bars), and "
        "what each tool says, by what it promises. Means over training sets, bands: 95% "
        "t-intervals. A value above 1 is drawn at 1."
    )
    return [draw("beyond", caption, _paint, summary)]


def _paint(canvas: Canvas, summary: Mapping[str, Any]):
    panels = {
        title: [c for c in summary["claims"] if c["status"] in statuses]
        for title, statuses in PANELS.items()
    }
    panels = {title: claims for title, claims in panels.items() if claims}
    points = summary["points"]
    sizes = [p["m"] for p in points]
    errors = [p["test_error"]["mean"] for p in points]
    is_log = 0 < min(errors) < 0.1
    with canvas(1, len(panels), 4.6, 4.2) as grid:
        for axes, (title, claims) in zip(grid[0], panels.items(), strict=True):
            _errors(canvas, axes, points, sizes)
            for claim in claims:
                _curve(canvas, axes, claim)
            vacuous = 1 - 1 / summary["classes"]
            axes.axhline(vacuous, color="#777777", lw=0.8, ls=":", label="vacuous")
            canvas.ticks(axes, sizes)
            axes.set(
                title=title, xlabel="training-set size m", ylabel="error, or claim"
            )
            if is_log:
                axes.set(yscale="log", ylim=(0.5 * min(errors), 1.3))
            else:
                axes.set_ylim(-0.03, 1.06)
            axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=1)


def _errors(canvas, axes, points: Sequence[Mapping[str, Any]], sizes):
    for name in ("test", "sprime"):
        cells = [p.get(f"{name}_error") for p in points]
        if None in cells:
            continue
        look = canvas.style(name)
        axes.plot(sizes, [c["mean"] for c in cells], **look)
        if all(c["low"] is not None for c in cells):
            low, high = ([c[k] for c in cells] for k in ("low", "high"))
            axes.fill_between(sizes, low, high, color=look["color"], alpha=0.15, lw=0)
    least = [(p["m"], p["eps_unif_alg_lower_bound"]) for p in points]
    least = [pair for pair in least if pair[1] is not None]
    if least:
        axes.plot(*zip(*least, strict=True), "_", color="#000000", ms=16, mew=2.5,
                  label="least two-sided uniform convergence bound", zorder=4)  # fmt: skip


def _curve(canvas, axes, claim):
    known = [p for p in claim["points"] if p["value"] is not None]
    if not known:
        return
    sizes, look = [p["m"] for p in known], canvas.style(claim["claim"])
    axes.plot(sizes, [min(1.0, p["value"]) for p in known], **look)
    if all(p["low"] is not None for p in known):
        low, high = ([min(1.0, p[k]) for p in known] for k in ("low", "high"))
        axes.fill_between(sizes, low, high, color=look["color"], alpha=0.15, lw=0)
