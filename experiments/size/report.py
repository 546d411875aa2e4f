"""The report of an experiment on training-set size."""

import json

from experiments import report
from experiments.run_folder import write_json
from experiments.size.drawing import draw, shown_name
from experiments.size.summary import Points, summarise

TITLE = "Test error and generalization bounds against training-set size"


def _slopes_table(summary):
    rows = []
    for name, s in summary["slopes"].items():
        label, _, rule = name.partition("/")
        rows.append(
            [
                shown_name(name) if not rule else label,
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
        rows.append([shown_name(name) if not rule else f"{label} ({rule})", *text])
    title = "Means over seeds; of a bound, what is added to the training margin error"
    return report.Table(("quantity", *(f"m={m}" for m in sizes)), rows, title)


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
            for name, caption in draw(config, points, summary, folder)
        ]
    blocks = [
        report.Text(
            "Networks of every size, seed and draw were trained to one margin on m examples. "
            "A bound that explains their generalization would fall with m as the test error "
            "does. What is plotted of a bound is its excess over the training margin error, "
            "numerator / (gamma sqrt m), with constants and logarithms dropped; of a certified "
            "bound its complexity at the median training margin; of a measure that is a logarithm "
            "its exponential. Values are in bounds.csv. A "
            "certified bound speaks of the distribution that the training sets were drawn from: "
            "with --draw_rule=authors the pool of training images, not the test set's."
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
