"""What an experiment on training-set size says: summary.json, figures, report."""

import dataclasses
import json
import math

import numpy as np

from bounds import BOUNDS
from experiments import figures, report
from experiments.run_folder import read_table, write_json
from experiments.size.published import poster
from experiments.statistics import slope_over_size, t_interval

TITLE = "Test error and generalization bounds against training-set size"
LABELS = {
    "test_error": "test error",
    "test_error_noisy": "test error on noisy labels",
    "distance_from_init": "distance from initialisation",
    "distance_between_draws": "distance between draws",
    "spectral_product": "product of spectral norms",
    "frobenius_norm": "Frobenius norm",
    "margin_median": "median training margin",
    "epochs": "epochs",
}
ERRORS = ("test_error", "test_error_noisy")


class Points:
    """What the averages rest on: the runs that reached the margin, and who was left out."""

    def __init__(self, folder):
        results = read_table(folder.path / "results.csv")
        self.total = len(results)
        self.used = [row for row in results if row["converged"] == "true"]
        self.diverged = [row["run"] for row in results if row["diverged"] == "true"]
        stopped = [row for row in results if row["converged"] != "true"]
        self.exhausted = [r["run"] for r in stopped if r["diverged"] != "true"]
        used = {row["run"] for row in self.used}
        self.bounds = [
            r for r in read_table(folder.path / "bounds.csv") if r["run"] in used
        ]
        self.layers = [
            r for r in read_table(folder.path / "layers.csv") if r["run"] in used
        ]

    @staticmethod
    def _of(rows, column):
        return [
            (int(row["m"]), int(row["seed"]), float(row[column]))
            for row in rows
            if row[column]
        ]

    def quantity(self, name):
        """`(m, seed, value)` of a column of results.csv, or of `<bound>/<rule>`.

        Of a bound the complexity is taken: its excess, before that can saturate.
        """
        if "/" not in name:
            return self._of(self.used, name)
        bound, rule = name.split("/")
        rows = [
            r for r in self.bounds if (r["bound"], r["margin_rule"]) == (bound, rule)
        ]
        logs = self._of(rows, "log_complexity")
        return [(m, seed, math.exp(value)) for m, seed, value in logs if value < 700]

    def layer(self, layer, column):
        return self._of([r for r in self.layers if int(r["layer"]) == layer], column)


def _by_size(points):
    """m -> mean over seeds of the mean over draws, its t-interval, and the number of seeds."""
    found = {}
    for size in sorted({m for m, _, _ in points}):
        seeds = sorted({s for m, s, _ in points if m == size})
        means = [
            np.mean([v for m, s, v in points if (m, s) == (size, seed)])
            for seed in seeds
        ]
        low, high = t_interval(means)
        found[size] = {
            "mean": float(np.mean(means)), "low": low, "high": high, "seeds": len(seeds)
        }  # fmt: skip
    return found


def _direction(slope, falls, rises):
    if slope["low"] is None:
        return "not decided (needs two seeds and two sizes)"
    if slope["high"] < 0:
        return falls
    return rises if slope["low"] > 0 else "not decided (the interval holds 0)"


def summarise(config, points, n_test):
    """The content of summary.json; `n_test` test points were counted."""
    names = [n for n in LABELS if points.quantity(n)]
    for rule in ("target", "median"):
        names += [
            f"{b}/{rule}" for b in config.bounds if points.quantity(f"{b}/{rule}")
        ]
    slopes, sizes = {}, {}
    for name in names:
        own = points.quantity(name)
        resolution = 1 / n_test if name in ERRORS else None
        slopes[name] = dataclasses.asdict(slope_over_size(own, resolution))
        sizes[name] = _by_size(own)
    verdicts = {
        name: _direction(slopes[name], "falls with m", "rises with m")
        for name in names
        if name in ERRORS or "/" in name
    }
    return {
        "runs": {
            "total": points.total,
            "used": len(points.used),
            "not_converged": points.exhausted,
            "diverged": points.diverged,
        },
        "by_size": sizes,
        "slopes": slopes,
        "verdicts": verdicts,
    }


def _curve(label, by_size, slope=None):
    sizes = list(by_size)
    if slope and slope["mean"] is not None:
        label += rf"  ($m^{{{slope['mean']:+.2f}}}$)"
    lows = [by_size[m]["low"] for m in sizes]
    has_interval = None not in lows
    # On a log axis an interval that reaches 0 is cut at a tenth of the mean.
    low = (
        [max(v["low"], v["mean"] / 10) for v in by_size.values()]
        if has_interval
        else None
    )
    return figures.Curve(
        label,
        sizes,
        [v["mean"] for v in by_size.values()],
        low,
        [v["high"] for v in by_size.values()] if has_interval else None,
    )


def _panel(title, summary, names, published=False):
    curves = [
        _curve(_label(n), summary["by_size"][n], summary["slopes"][n])
        for n in names
        if n in summary["by_size"]
    ]
    for name in names if published else ():
        found = poster(name.removesuffix("/target"))
        if found:
            curves.append(
                figures.Curve(f"paper: {_label(name)}", *found, published=True)
            )
    return figures.Panel(title, curves)


def _relative(summary, names):
    """Each quantity over its value at the smallest size: who falls, who rises."""
    curves = []
    for name in names:
        by_size = summary["by_size"].get(name)
        first = next(iter(by_size.values()))["mean"] if by_size else 0
        if first > 0:
            relative = {
                m: {k: c[k] and c[k] / first for k in ("mean", "low", "high")}
                for m, c in by_size.items()
            }
            curves.append(_curve(_label(name), relative, summary["slopes"][name]))
    return figures.Panel("relative to the smallest training set", curves, level=1.0)


def _is_plain(bound):
    """Whether a bound is measured from the initial weights, as the paper plots it."""
    return BOUNDS[bound].reference in (None, "from_init")


def _label(name):
    return LABELS.get(name) or name.split("/")[0].replace("_", " ")


def _draw(config, points, summary, folder):
    """The figures: (file name, caption), as written."""
    is_paper = config.dataset == "mnist" and config.depth == 5
    plain = [bound for bound in config.bounds if _is_plain(bound)]
    target = [f"{bound}/target" for bound in plain]
    median = [f"{bound}/median" for bound in plain]
    seeds = config.seeds
    note = (
        f"Mean over {seeds} seeds, band: 95% t-interval." if seeds > 1 else "One seed."
    )
    if is_paper:
        note += " Dashed: the paper's poster, 5 hidden layers of 1024."
    relative = _relative(summary, ["test_error", *target])
    figures.draw(folder.figures / "relative.png", [relative], columns=1)
    yield (
        "relative.png",
        "Test error and bounds, each divided by its value at the smallest training set: a "
        f"bound that explains the error would fall with it. {note}",
    )

    panels = [
        _panel("distances", summary, ["distance_from_init", "distance_between_draws"]),
        _panel("product of spectral norms", summary, ["spectral_product"]),
        _panel("test error", summary, list(ERRORS), is_paper),
        _panel(f"bounds at margin {config.margin:g}", summary, target, is_paper),
    ]
    figures.draw(folder.figures / "bounds_vs_samples.png", panels)
    yield (
        "bounds_vs_samples.png",
        "The paper's four panels: how far the weights travel, the product of spectral norms, "
        f"the test error, and the bounds. {note}",
    )

    layers = sorted({int(row["layer"]) for row in points.layers})
    panels = [
        figures.Panel(
            title,
            [_curve(f"layer {n}", _by_size(points.layer(n, column))) for n in layers],
        )
        for title, column in (
            ("distance from initialisation", "distance_frobenius"),
            ("spectral norm", "spectral_upper"),
        )
    ]
    figures.draw(folder.figures / "layers.png", panels)
    yield "layers.png", f"Layer by layer, layer 0 next to the input. {note}"

    panels = [
        _panel("median training margin", summary, ["margin_median"]),
        _panel("bounds at the median margin", summary, median),
    ]
    figures.draw(folder.figures / "median_margin.png", panels)
    yield (
        "median_margin.png",
        f"The same bounds when gamma is the median training margin. {note}",
    )

    panels = [
        _panel(f"at {name}", summary, [f"{b}/{rule}" for b in config.bounds])
        for rule, name in (
            ("target", f"margin {config.margin:g}"),
            ("median", "the median"),
        )
    ]
    figures.draw(folder.figures / "all_bounds.png", panels, columns=1, width=7.5)
    yield "all_bounds.png", f"All bounds that were evaluated. {note}"


def _slopes_table(summary):
    rows = []
    for name, s in summary["slopes"].items():
        label, _, rule = name.partition("/")
        rows.append(
            [
                _label(name) if not rule else label,
                rule,
                "" if s["mean"] is None else f"{s['mean']:+.3f}",
                report.interval(s["low"], s["high"], 3),
                str(s["seeds"]),
                str(s["zeros_replaced"] or ""),
                str(s["left_out"] or ""),
                summary["verdicts"].get(name, ""),
            ]
        )
    columns = (
        "quantity",
        "margin",
        "exponent of m",
        "95% interval",
        "seeds",
        "zeros",
        "left out",
        "verdict",
    )
    return report.Table(columns, rows, "Growth with m: the exponent a of m^a")


def _sizes_table(summary):
    names = list(summary["by_size"])
    sizes = sorted(
        {m for by_size in summary["by_size"].values() for m in by_size}, key=int
    )
    rows = []
    for name in names:
        label, _, rule = name.partition("/")
        cells = [summary["by_size"][name].get(m) for m in sizes]
        text = ["" if c is None else report.number(c["mean"]) for c in cells]
        rows.append([_label(name) if not rule else f"{label} ({rule})", *text])
    return report.Table(("mean over seeds", *(f"m={m}" for m in sizes)), rows)


def _runs_line(summary):
    runs = summary["runs"]
    line = f"{runs['used']} of {runs['total']} runs reached the margin and enter the averages."
    for name, what in (
        ("not_converged", "ran into --max_epochs"),
        ("diverged", "diverged"),
    ):
        if runs[name]:
            line += (
                f" {len(runs[name])} {what} and are left out: {', '.join(runs[name])}."
            )
    return line


def write(config, folder, n_test):
    """Writes summary.json, the figures and the report of a folder that has its tables."""
    points = Points(folder)
    summary = summarise(config, points, n_test)
    write_json(folder.path / "summary.json", summary)
    drawn = []
    if points.used:
        drawn = [
            report.Figure(folder.figures / name, caption)
            for name, caption in _draw(config, points, summary, folder)
        ]
    blocks = [
        report.Text(
            "Networks of every size, seed and draw were trained to one margin on m examples. "
            "A bound that explains their generalization would fall with m as the test error "
            "does. What is plotted of a bound is its excess over the training margin error, "
            "numerator / (gamma sqrt m), with constants and logarithms dropped; of a certified "
            "bound its complexity at the median training margin. Values are in bounds.csv."
        ),
        report.Text(_runs_line(summary)),
        *drawn,
        report.Heading("Slopes"),
        _slopes_table(summary),
        report.Heading("Values"),
        _sizes_table(summary),
        *report.provenance(folder.path),
    ]
    report.write(folder.path, TITLE, blocks)


def show(folder):
    """Prints what a finished folder found."""
    summary = json.loads((folder.path / "summary.json").read_text())
    report.show(_sizes_table(summary))
    print()
    report.show(_slopes_table(summary))
    print()
    print(_runs_line(summary))
    print(f"Figures and report: {folder.path / 'report.html'}")
