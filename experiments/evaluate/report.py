"""What `evaluate` says: summary.json, the answer, the tables, the figure."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bounds import BOUNDS
from bounds.spec import CERTIFIED, HEURISTIC, MADE
from experiments.evaluate import graphs
from experiments.lab import certificates, report
from experiments.lab.bound_rows import NOT_AVAILABLE
from experiments.lab.figures import Drawing
from experiments.lab.program import Results, Study

_MOST_COLUMNS = 8  # networks that a table shows; more are summarised
_MOST_SENTENCES = 3
_MOST_TIMED = 40  # parts of a profile that are shown
_NEAR_CHANCE = 0.9  # of the error of guessing: a training error above it is doubtful
Rows = Sequence[Mapping[str, Any]]


def summary(of: Study, tables: Mapping[str, Rows]) -> dict[str, Any]:
    """The content of summary.json."""
    networks = {r["network"]: r for r in tables["results"]}
    quotes = {}
    for name in networks:
        own = [r for r in tables["bounds"] if r["network"] == name]
        quotes[name] = certificates.quotable(own, of.config.quote)
    return {
        "classes": max(r["classes"] for r in tables["results"]),
        "delta": of.config.delta,
        "networks": tables["results"],
        "quoted_from": list(of.config.quote),
        "quotes": quotes,
        "bounds": tables["bounds"],
    }


def check_folder(of: Study, out: Path) -> None:
    """As `certificates.check_order` and `certificates.check_quoted`."""
    certificates.check_order(of.config.quote, out)
    certificates.check_quoted(of.config.quote, of.config.bounds, out)


def overview(found: Mapping[str, Any]) -> list[Any]:
    """The certificate that may be quoted, the networks, every bound."""
    return [
        report.Answer(answer(found)),
        _results_table(found["networks"]),
        _bounds_table(found),
        _missing_table(found),
    ]


def answer(found: Mapping[str, Any]) -> list[str]:
    """The certificate of each network; of many the first, and how many say something."""
    lines = [
        certificates.sentence(
            r["network"], found["quotes"][r["network"]], found["delta"], r["classes"],
            r.get("test_error"),
        )
        for r in found["networks"][:_MOST_SENTENCES]
    ]  # fmt: skip
    more = len(found["networks"]) - len(lines)
    if more:
        lines.append(f"{more} more networks: the tables have theirs, each by itself.")
    doubtful = [
        f"{r['network']} errs on {report.number(r['train_error'])} of its own training set, "
        f"guessing on {1 - 1 / r['classes']:.3g}: PROBABLY NOT YOUR NETWORK (the order or layout "
        "of its layers, its activation, or how its inputs are scaled?)."
        for r in found["networks"]
        if r["train_error"] > _NEAR_CHANCE * (1 - 1 / r["classes"])
    ]
    return [
        *doubtful[:_MOST_SENTENCES],
        *lines,
        *certificates.refuted(found["bounds"], "network"),
    ]


def _by_bound(found):
    """bound -> network -> its row; by status, then value, those that say something first."""
    rows = certificates.order(found["bounds"], found["classes"])
    by: dict[str, dict[str, Any]] = {}
    for row in rows:
        by.setdefault(row["bound"], {})[row["network"]] = row
    return by


def _bounds_table(found):
    """Every bound, a column a network; of many networks the least, median and largest."""
    networks, body, marked = [r["network"] for r in found["networks"]], [], []
    errors = {r["network"]: r.get("test_error") for r in found["networks"]}
    for name, rows in _by_bound(found).items():
        spec, some = BOUNDS[name], list(rows.values())
        if all(r.get("value") is None for r in some):
            continue
        if len(networks) <= _MOST_COLUMNS:
            cells = [certificates.shown_value(rows[n]) for n in networks]
        else:
            known = [r["value"] for r in some if r.get("value") is not None]
            known.sort(
                key=lambda v: (v != v, v)
            )  # what is not a number last, and shown
            middle = known[len(known) // 2]
            shown = report.at_most if certificates.promises(name) else report.number
            cells = [shown(v) for v in (known[0], middle, known[-1])]
        own = [
            certificates.own_error(rows[n], errors[n]) for n in networks if n in rows
        ]
        own = [e for e in own if e is not None and e == e]
        promises = spec.status != HEURISTIC
        beside = report.number(sum(own) / len(own)) if own and promises else ""
        if all(certificates.is_non_vacuous(r, found["classes"]) for r in some):
            marked.append(len(body))
        fewest = min((r["examples"] for r in some if r.get("examples")), default=None)
        on = "" if fewest is None else f", on {fewest:.0f} examples"
        status = certificates.shown_status(some) + on
        body.append([name, *cells, beside, spec.speaks_of, status])
    many = ("least", "median", "largest")
    columns = networks if len(networks) <= _MOST_COLUMNS else many
    heads = ("bound", *columns, "that network's own error", "speaks of", "status")
    title = (
        "Bounds, by what they promise and by value; marked: certificates below the error of "
        "guessing"
    )
    words = ("status", "speaks of")
    return report.Table(heads, body, title, words=words, marked=marked)


def _results_table(rows):
    """The networks themselves."""
    columns = (
        "network", "m", "layers", "parameters", "train_error", "test_error",
        "margin_median", "taken_to_be",
    )  # fmt: skip
    body = [report.cells(row, columns, "unknown") for row in rows]
    heads = [c.replace("_", " ") for c in columns]
    return report.Table(heads, body, "Networks", words=("taken to be",))


def _missing_table(found):
    """What is not available on some network, and why."""
    reasons: dict[str, list[str]] = {}
    for name, rows in _by_bound(found).items():
        why = {
            r["status"].removeprefix(NOT_AVAILABLE)
            for r in rows.values()
            if r["status"].startswith(NOT_AVAILABLE)
        }
        if why:
            reasons.setdefault("; ".join(sorted(why)), []).append(name)
    body = [[why, ", ".join(names)] for why, names in reasons.items()]
    return report.Table(
        ("not available because", "bounds"), body, words=("bounds",),
    )  # fmt: skip


def _own_errors(found):
    """Certificates of networks made from the trained one beside these networks' own error."""
    body = [
        [
            name,
            row["network"],
            report.number(row["empirical"]),
            certificates.shown_value(row),
            "unknown" if row["risk"] is None else report.number(row["risk"]),
        ]
        for name, rows in _by_bound(found).items()
        if BOUNDS[name].status == CERTIFIED and BOUNDS[name].speaks_of in MADE
        for row in list(rows.values())[:_MOST_COLUMNS]
        if row.get("value") is not None
    ]
    if not body:
        return []
    columns = ("bound", "network", "counted", "certificate", "own test error")
    return [
        report.Heading("Networks made from the trained one"),
        report.Text(
            "What these certificates bound is not the error of the trained network but that of "
            "one made from it: its weights drawn afresh for every prediction, or once, or rounded "
            "and coded. Its own test error stands beside; of many networks the first are shown, "
            "the others are in bounds.csv."
        ),
        report.Table(columns, body, words=("network",)),
    ]


def _profile(rows):
    """What measuring took, where it was timed: the longest parts first."""
    if not rows:
        return []
    body = [
        [
            row["network"],
            row["groups"],
            "all" if row["examples"] is None else str(row["examples"]),
            *(f"{row[n]:.1f}" for n in ("compile_seconds", "run_seconds")),
        ]
        for row in rows
    ]
    heads = ("network", "groups", "of the examples", "compile, s", "run, s")
    return [
        report.Heading("What measuring took"),
        report.Text(
            "Groups that share their passes over the examples are measured by one program. All are "
            "in profile.csv."
        ),
        report.Table(heads, body[:_MOST_TIMED], words=("network", "groups")),
    ]


def details(results: Results, draw: Drawing) -> list[Any]:
    """The figure, what the words mean, certificates of other networks."""
    found = results.summary
    errors = {r["network"]: r.get("test_error") for r in found["networks"]}
    rows = [r for r in found["bounds"] if BOUNDS[r["bound"]].status != HEURISTIC]
    drawn = certificates.figure_rows(certificates.order(rows, found["classes"]), errors)
    caption = (
        "The bounds, a mark a network. Left of the dashed line a certificate says something; "
        "values beyond 10^40 are drawn there. A certified bound that says nothing stops a "
        "little above 1: it chooses its margin, and may choose one that no example reaches. "
        "Bars: the held-out error of the network that a bound speaks of, where it is known."
    )
    figure = []
    if drawn:  # a figure without a row has no size
        figure = [draw("bounds", caption, certificates.paint, drawn, found["classes"])]
    return [
        *figure,
        report.Text(
            "Each bound is evaluated on each network as it is: a chain of layers with ReLUs between "
            "them, or the graph that is shown below. "
            "Certified: the value is at least the error on the distribution that the training "
            "set was drawn from, with probability 1 - delta over the training set, whatever "
            "was chosen after seeing it but the initial weights; each bound for itself (for n "
            "at once take delta / n): which one is quoted must be fixed beforehand (--quote). "
            "(holdout_cp: on the distribution of the held-out examples, over their draw, if "
            "neither training nor the choice of the network has seen them.) "
            "Up to constants: the form that papers plot. Heuristic: a measure that is meant to "
            "go along with the error. Logarithms, margins and what was counted on the training "
            "set are in bounds.csv."
        ),
        *_own_errors(found),
        *_profile(results.tables["profile"]),
        *graphs.blocks(results.study.read, draw),
    ]
