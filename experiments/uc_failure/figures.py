"""The figures of `uc_failure` that every problem has."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from experiments.lab import vary
from experiments.lab.figures import FIXED, Canvas, Drawing
from experiments.lab.jobs import Run
from experiments.lab.program import Results

ORDER = ("sprime", "test", "train")


def title(run: Run) -> str:
    """A point, above its panel."""
    return f"m = {run.size}" + (f", {run.variant}" if run.variant else "")


def _few(items, count):
    """At most `count` of them, the ends included."""
    if len(items) <= count:
        return items
    index = np.unique(np.linspace(0, len(items) - 1, count).round().astype(int))
    return [items[i] for i in index]


def _axis(of, entries):
    """What runs along x: sizes, unless something else varies."""
    name = vary.swept(of.config.vary)
    if not name:
        return "training-set size m", [e["m"] for e in entries]
    places = [vary.place(of.configs[e["variant"]], name) for e in entries]
    if None in places:
        places = [list(of.configs).index(e["variant"]) for e in entries]
    return vary.axis_name(of.config, name), places


def make(results: Results, draw: Drawing) -> list[Any]:
    """Errors, errors by epoch, margins."""
    of, entries = results.study, results.summary["points"]
    config = of.config
    note = f"Mean over {config.seeds} runs" + (
        ", band: 95% t-interval over runs, the test points held fixed."
        if config.seeds > 1
        else "."
    )
    found = [
        draw(
            "errors",
            f"Errors on S', on fresh examples and on S. {note} Bars: the least value that any "
            "two-sided uniform convergence bound on the 0-1 error can have, where the runs support a claim, each "
            "with its confidence by itself.",
            _paint_errors, entries, *_axis(of, entries),
        )
    ]  # fmt: skip
    cells = list(dict.fromkeys((run.variant, run.size) for run in of.runs))
    runs = {cell: [] for cell in _few(cells, 8)}  # each with its place
    for place, run in enumerate(of.runs):
        if (run.variant, run.size) in runs:
            runs[run.variant, run.size].append((run, place))

    def read(places, *names):
        """Some arrays of each of some runs."""
        for _, place in places:
            arrays = results.measured[place]
            yield [arrays[name] for name in names]

    if results.tables["epochs"] and config.watch:
        histories = {
            title(own[0][0]): [checks for (checks,) in read(own[:8], "checks")]
            for own in runs.values()
        }
        caption = (
            f"The same errors while training; S' and fresh: {config.watch} examples. A line "
            "a run."
        )
        found.append(draw("epochs", caption, _paint_epochs, histories))
    sets = [f"{name}/margins" for name in ORDER]
    groups = {
        title(own[0][0]): dict(
            zip(
                ORDER,
                map(np.concatenate, zip(*read(own, *sets), strict=True)),
                strict=True,
            )
        )
        for own in runs.values()
    }
    problem = next(iter(of.problems.values()))
    gamma = config.margin if problem.model is None else None
    caption = "Margins of the examples of all runs; left of 0 is misclassified." + (
        " Dotted: the margin trained to." if gamma else ""
    )
    unit = problem.margin_unit
    return [*found, draw("margins", caption, _paint_margins, groups, gamma, unit)]


def _paint_errors(canvas: Canvas, entries: Sequence[Any], name: str, values):
    """Errors along the axis, a panel a variant or a size."""
    other = "variant" if name == "training-set size m" else "m"
    groups = list(dict.fromkeys(e[other] for e in entries))
    with canvas.panels(len(groups), 5.2, 3.8) as panels:
        for axes, group in zip(panels, groups, strict=True):
            chosen = [i for i, e in enumerate(entries) if e[other] == group]
            x, own = [values[i] for i in chosen], [entries[i] for i in chosen]
            canvas.ticks(axes, x)
            _errors(canvas, axes, x, own)
            predicted = [e["risk_predicted"] for e in own]
            if None not in predicted:
                axes.plot(x, predicted, "--", color="#555555", lw=1,
                          label="risk, predicted")  # fmt: skip
            axes.set(xlabel=name, ylim=(-0.03, 1.05), ylabel="fraction of examples")
            if len(groups) > 1:
                axes.set_title(str(group) if other == "variant" else f"m = {group}")


def _errors(canvas, axes, x, entries):
    for name in ORDER:
        look = canvas.style(name)
        cells = [entry[f"{name}_error"] for entry in entries]
        axes.plot(x, [c["mean"] for c in cells], **look)
        if all(c["low"] is not None for c in cells):
            low = np.clip([c["low"] for c in cells], 0, 1)
            high = np.clip([c["high"] for c in cells], 0, 1)
            axes.fill_between(x, low, high, color=look["color"], alpha=0.18, lw=0)
    for name, label, colour in (
        ("eps_unif_alg_lower_bound", "least two-sided bound", "#333333"),
        ("eps_gen_upper_bound", "eps_gen, at most", "#999999"),
    ):
        known = [(a, e[name]) for a, e in zip(x, entries, strict=True) if e[name]]
        if known:
            axes.plot(*zip(*known, strict=True), "_", color=colour, ms=14, mew=2,
                      label=label, zorder=3)  # fmt: skip


def _paint_epochs(canvas: Canvas, histories):
    """Errors against epoch: title -> the checks of runs."""
    # Columns of the checks: see `nets.runs.Tick`.
    columns = {"sprime": 4, "test": 3, "train": 1}
    with canvas.panels(len(histories), 3.6, 3.2) as panels:
        for axes, (name, runs) in zip(panels, histories.items(), strict=True):
            for number, checks in enumerate(runs):
                epochs = np.arange(1, len(checks) + 1)
                for one, column in columns.items():
                    label = None if number else FIXED[one][0]
                    colour = canvas.style(one)["color"]
                    axes.plot(epochs, checks[:, column], color=colour, lw=1, alpha=0.8,
                              label=label)  # fmt: skip
            axes.set(title=name, xlabel="epoch", ylim=(-0.03, 1.05))
        panels[0].set_ylabel("fraction of examples")


def _paint_margins(canvas: Canvas, groups, gamma, unit):
    """Densities of the margins: title -> name of a set -> margins."""
    with canvas.panels(len(groups), 3.8, 3.0) as panels:
        for axes, (name, sets) in zip(panels, groups.items(), strict=True):
            axes.set(title=name, xlabel=unit, yticks=[])
            pooled = np.concatenate([v[np.isfinite(v)] for v in sets.values()])
            if not len(pooled):
                axes.text(0.5, 0.5, "no finite margin", ha="center")
                continue
            low, high = np.quantile(pooled, [0.002, 0.998])
            edges = np.linspace(low, max(high, low + 1e-6 * (1 + abs(low))), 61)
            for one, values in sets.items():
                if not np.isfinite(values).any():
                    continue
                look = {"color": canvas.style(one)["color"], "density": True}
                axes.hist(values, edges, histtype="stepfilled", alpha=0.25, **look)
                label = {"sprime": "S'", "test": "fresh examples", "train": "S"}[one]
                axes.hist(values, edges, histtype="step", lw=1.2, label=label, **look)
            axes.axvline(0, color="#333333", lw=0.8)
            if gamma is not None:
                axes.axvline(gamma, color="#333333", lw=0.8, ls=":")
        panels[0].set_ylabel("density")
