"""What an evaluation says: summary.json, a figure, the report, the table on the terminal."""

import math

from bounds import BOUNDS
from bounds.types import CERTIFIED, HEURISTIC
from experiments import figures, report
from experiments.run_folder import read_table, write_json

TITLE = "Generalization bounds of given networks"
_MOST_COLUMNS = 8  # networks that a table shows; more are summarised


def _values(rows):
    """bound -> network -> its row."""
    found = {}
    for row in rows:
        found.setdefault(row["bound"], {})[row["network"]] = row
    return found


def _cell(row):
    """A value, or that there is none."""
    return report.number(float(row["value"])) if row["value"] else "n/a"


def bounds_table(rows, networks):
    """Every bound, a column a network; of many networks the median and the range."""
    body = []
    for name, by_network in _values(rows).items():
        spec, some = BOUNDS[name], list(by_network.values())
        head = [name, spec.status, spec.speaks_of]
        if len(networks) <= _MOST_COLUMNS:
            cells = [_cell(by_network[n]) for n in networks]
        else:
            known = sorted(float(r["value"]) for r in some if r["value"])
            cells = [report.number(v) for v in _spread(known)] if known else ["n/a"] * 3
        body.append([*head, *cells])
    many = ("least", "median", "largest")
    columns = networks if len(networks) <= _MOST_COLUMNS else many
    return report.Table(("bound", "status", "speaks of", *columns), body)


def _spread(known):
    return known[0], known[len(known) // 2], known[-1]


def results_table(rows):
    """The networks themselves."""
    columns = (
        "network",
        "m",
        "layers",
        "parameters",
        "train error",
        "test error",
        "median margin",
    )
    body = [
        [
            row["network"],
            row["m"],
            row["layers"],
            row["parameters"],
            report.number(float(row["train_error"])),
            report.number(float(row["test_error"])) if row["test_error"] else "unknown",
            report.number(float(row["margin_median"])),
        ]
        for row in rows
    ]
    return report.Table(columns, body, "Networks")


def _missing(rows):
    """Reasons -> the bounds that are not available for them, on one network or more."""
    found = {}
    for name, by_network in _values(rows).items():
        reasons = {r["status"].removeprefix("not available: ") for r in by_network.values()
                   if not r["value"]}  # fmt: skip
        if reasons:
            found.setdefault("; ".join(sorted(reasons)), []).append(name)
    return found


def own_errors_table(rows):
    """Certificates of stochastic and compressed networks beside these networks' own error."""
    body = [
        [
            name,
            row["network"],
            report.number(float(row["empirical"])),
            report.number(float(row["value"])),
            report.number(float(row["risk"])) if row["risk"] else "unknown",
        ]
        for name, by_network in _values(rows).items()
        if BOUNDS[name].status == CERTIFIED
        and BOUNDS[name].speaks_of in ("stochastic", "compressed")
        for row in list(by_network.values())[:_MOST_COLUMNS]
        if row["value"]
    ]
    columns = ("bound", "network", "counted", "certificate", "own test error")
    return report.Table(columns, body)


def missing_table(rows):
    """What is not available, and why."""
    body = [[why, ", ".join(names)] for why, names in _missing(rows).items()]
    return report.Table(("not available because", "bounds"), body, is_text=True)


def summarise(results, rows):
    """The content of summary.json: what is below 1, and by network."""
    by_bound = {}
    for name, by_network in _values(rows).items():
        values = {n: float(r["value"]) for n, r in by_network.items() if r["value"]}
        if BOUNDS[name].status == HEURISTIC or not values:
            continue
        by_bound[name] = {
            "status": BOUNDS[name].status,
            "speaks_of": BOUNDS[name].speaks_of,
            "networks": len(values),
            "below_1": sorted(n for n, v in values.items() if v < 1),
            "least": min(values.values())
            if math.isfinite(min(values.values()))
            else None,
        }
    return {"networks": [r["network"] for r in results], "bounds": by_bound}


def _draw(results, rows, folder):
    """log10 of every bound (not of measures), a mark a network; the error beside them."""
    names, points = [], []
    for name, by_network in _values(rows).items():
        if BOUNDS[name].status == HEURISTIC:
            continue
        values = [float(r["value"]) for r in by_network.values() if r["value"]]
        if values:
            names.append((name, BOUNDS[name].status))
            points.append(values)
    if not names:
        return []
    errors = [float(r["test_error"]) for r in results if r["test_error"]]
    path = folder.figures / "bounds.png"
    figures.draw_rows(path, names, points, errors, "value")
    caption = (
        "The bounds, a mark a network, from the least to the largest. Left of the line at 1 a "
        "bound says something; values beyond 10^40 are drawn there. A certified bound that says "
        "nothing stops a little above 1: it chooses its margin, and may choose one that no "
        "example reaches."
    )
    if errors:
        caption += " Dashed: the test errors of the trained networks."
    return [report.Figure(path, caption)]


def write(folder):
    """Writes summary.json, the figure and the report of a folder that has its tables."""
    results = read_table(folder.path / "results.csv")
    rows = read_table(folder.path / "bounds.csv")
    networks = [row["network"] for row in results]
    write_json(folder.path / "summary.json", summarise(results, rows))
    blocks = [
        report.Text(
            "Each bound is evaluated on each network as it is, taken as a ReLU network. "
            "Certified: the value is at least the error on the distribution that the training set was drawn from, with "
            "probability 1 - delta over the training set, whatever was chosen after seeing it "
            "but the initial weights; each bound for itself (for n at once take delta / n). "
            "Up to constants: the form that papers plot. Heuristic: a measure that is meant to go along with the error. Logarithms, margins and "
            "what was counted on the training set are in bounds.csv."
        ),
        results_table(results),
        *_draw(results, rows, folder),
        report.Heading("Bounds"),
        bounds_table(rows, networks),
        report.Heading("Stochastic and compressed networks"),
        report.Text(
            "What these certificates bound is not the error of the trained network but that of "
            "one made from it: its weights drawn afresh for every prediction, or rounded and "
            "coded. Its own test error stands beside; of many networks the first are shown, "
            "the others are in bounds.csv."
        ),
        own_errors_table(rows),
        report.Heading("Not available"),
        missing_table(rows),
        *report.provenance(folder.path),
    ]
    report.write(folder.path, TITLE, blocks)


def show(folder):
    """Prints what a finished folder found."""
    results = read_table(folder.path / "results.csv")
    rows = read_table(folder.path / "bounds.csv")
    report.show(results_table(results))
    print()
    report.show(bounds_table(rows, [row["network"] for row in results]))
    for why, names in _missing(rows).items():
        print(f"n/a, {why}: {', '.join(names)}")
    print(f"Report: {folder.path / 'report.html'}")
