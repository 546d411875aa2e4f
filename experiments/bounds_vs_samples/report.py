"""What `bounds_vs_samples` says: the answer, its tables, its figures."""

from collections.abc import Mapping
from typing import Any

import bounds
from experiments.bounds_vs_samples import figures
from experiments.bounds_vs_samples.summary import at, plain_bounds, shown_name
from experiments.lab import report
from experiments.lab.figures import Drawing
from experiments.lab.program import Results

_MOST_ROWS = 40  # of bounds that the terminal shows


def overview(summary: Mapping[str, Any]) -> list[Any]:
    """The answer, and the tables of growth and of values."""
    blocks = [report.Answer(_answer(summary))]
    if summary["along"] and summary["along"]["rows"]:
        blocks.append(_along_table(summary["along"]))
    for variant, found in summary["variants"].items():
        blocks += [_growth_table(variant, found), _sizes_table(variant, found)]
    return blocks


def _answer(summary):
    sentences = []
    for variant, found in summary["variants"].items():
        where = f"{variant}: " if variant else ""
        error = found["slopes"].get(found["spoken_of"])
        if not error or error["mean"] is None:
            sentences.append(f"{where}No growth can be told: {_lacking(found)}.")
            continue
        names = [at(n, "target") for n in plain_bounds(summary["bounds"])]
        names = [n for n in names if n in found["slopes"]]
        line = f"{where}The {shown_name(found['spoken_of'])} goes as m^{report.signed(error)}; "
        if not names:
            sentences.append(f"{line}no bound was evaluated.")
            continue
        sentences.append(f"{line}{_of_bounds(found['verdicts'], names)}.")
        gaps = {
            n: found["growth"][n]["difference"]
            for n in names
            if found["growth"][n]["difference"]["low"] is not None
        }
        if gaps and not variant:
            least = min(gaps, key=lambda n: abs(gaps[n]["mean"]))
            gap = gaps[least]
            sentences.append(
                "Seed by seed, the bound whose growth is closest to the error's "
                f"({shown_name(least)}) grows by {report.signed(gap)} more in the exponent "
                "of m (95% t-interval over seeds, of this bound alone)."
            )
    sentences += _along_answer(summary)
    runs = summary["runs"]
    line = f"{runs['used']} of {runs['total']} runs reached the margin and enter the averages."
    for name, what in (
        ("not_converged", "ran into --max_epochs"), ("diverged", "diverged"),
    ):  # fmt: skip
        some = runs[name]
        if some:
            more = f" and {len(some) - 8} more" if len(some) > 8 else ""
            line += (
                f" {len(some)} {what} and are left out: {', '.join(some[:8])}{more}."
            )
    return [*sentences, *summary["refuted"], line, *_missing(summary)]


def _missing(summary):
    """A sentence on the bounds that were asked for and have no number, if there are any."""
    found = summary.get("missing")  # an older folder does not say
    if not found:
        return []
    parts = [f"{name} ({reason})" for name, reason in list(found.items())[:3]]
    more = f" and {len(found) - 3} more (bounds.csv)" if len(found) > 3 else ""
    line = f"{len(found)} of {len(summary['bounds'])} bounds are not available: {', '.join(parts)}{more}."
    if any(reason.endswith("was not measured") for reason in found.values()):
        line += (
            " What was not measured needs weights, and they were not kept: a new --out with these --bounds "
            "has it."
        )
    return [line]


def _lacking(found):
    """Why no growth of a variant can be told."""
    sizes = {size for cells in found["by_size"].values() for size in cells}
    if not sizes:
        return (
            "no run has reached the margin; give them more epochs (--max_epochs), or a smaller "
            "--margin"
        )
    more = "" if len(sizes) < 2 else " with an error that is not 0"
    return f"it needs two sizes{more}"


def _of_bounds(verdicts, names):
    """How many bounds grow in which way."""

    def having(*words):
        return [n for n in names if verdicts[n].startswith(words)]

    fitting = having("goes as", "falls faster")
    others = {
        "fall less than the error, if at all": having("falls less"),
        "are not decided": having("not decided"),
    }
    parts = [
        f"of {len(names)} bounds, at the margin that was trained to, each by its own 95% interval, "
        f"{len(having('rises'))} rise with m"
    ]
    parts += [f"{len(some)} {what}" for what, some in others.items() if some]
    if fitting:
        more = " and others" if len(fitting) > 4 else ""
        parts.append(
            f"{len(fitting)} cannot be told from the error's fall or fall faster: "
            f"{', '.join(map(shown_name, fitting[:4]))}{more}"
        )
    elif not others["are not decided"]:
        parts.append("none falls as the error does")
    return "; ".join(parts)


def _along_answer(summary):
    """How the error and the bounds change along the sweep, at the largest m."""
    found = summary["along"]
    if not found:
        return []
    if not found["rows"]:
        return [
            f"Nothing can be told along {found['axis']}: fewer than two of {', '.join(found['places'])} "
            "have runs that reached the margin."
        ]
    size = max(row["m"] for row in found["rows"])
    own = found["spoken_of"]
    names = [own, *(at(n, "target") for n in plain_bounds(summary["bounds"]))]
    rows = {r["quantity"]: r for r in found["rows"] if r["m"] == size}
    rows = {n: rows[n] for n in names if n in rows and rows[n]["change"] is not None}
    if own not in rows:
        return []
    first, last = _ends(found, rows[own])
    same = {n: r for n, r in rows.items() if _ends(found, r) == (first, last)}
    parts = [
        f"{shown_name(n)} {report.number(r['first'])} to {report.number(r['last'])}"
        + (f" (exponent {_change(r, 2)})" if found["is_power"] else "")
        for n, r in list(same.items())[:4]
    ]
    there = {
        v: own["by_size"].get("epochs", {}) for v, own in summary["variants"].items()
    }
    lost = [v for v in found["places"] if str(size) not in there[v]]
    less = f" (of {', '.join(lost)} no run reached the margin)" if lost else ""
    return [f"From {first} to {last}, at m={size}{less}: {'; '.join(parts)}."]


def _ends(found, row):
    """The variants whose values a row has; those of an older folder are the first and the last."""
    first, *_, last = found["places"]
    return row.get("from", first), row.get("to", last)


def _change(row, digits=3):
    if row is None or row["change"] is None:
        return ""
    return report.signed(row | {"mean": row["change"]}, digits)


def _status(name):
    bound = bounds.BOUNDS.get(name.split("/")[0])
    return bound.status if bound else ""


def _order(names):
    """Errors and norms first, then bounds by what they promise."""
    return sorted(names, key=lambda n: bounds.spec.STATUSES.index(_status(n))
                  if _status(n) else -1)  # fmt: skip


def _growth_table(variant, found):
    rows = []
    for name in _order(found["slopes"]):
        s, growth = found["slopes"][name], found["growth"].get(name)
        label, _, rule = name.partition("/")
        difference = curvature = ""
        if growth and growth["difference"]["mean"] is not None:
            d, c = growth["difference"], growth["curvature"]
            difference = report.signed(d, 3)
            curvature = "" if c["mean"] is None else report.signed(c, 3)
        rows.append(
            [
                shown_name(name) if not rule else label,
                found["verdicts"].get(name, ""),
                rule,
                "" if s["mean"] is None else f"{s['mean']:+.3f}",
                "" if s["mean"] is None else report.interval(s["low"], s["high"], 3),
                difference,
                curvature,
                str(s["zeros_replaced"] or ""),
                str(s["left_out"] or ""),
                _status(name),
            ]
        )
    columns = (
        "quantity", "verdict", "margin", "exponent of m", "95% interval",
        "more than the error's", "curvature in log m", "zeros", "left out", "status",
    )  # fmt: skip
    title = (
        "Growth with m: the exponent a of m^a, and how much more it is than the error's"
    )
    title += f" ({variant})" if variant else ""
    return report.Table(
        columns, rows, title, words=("verdict", "margin", "status"),
        on_terminal=len(rows) <= _MOST_ROWS,
    )  # fmt: skip


def _sizes_table(variant, found):
    sizes = sorted({m for by in found["by_size"].values() for m in by}, key=int)
    rows = []
    for name in _order(found["by_size"]):
        label, _, rule = name.partition("/")
        cells = [found["by_size"][name].get(m) for m in sizes]
        text = ["" if c is None else report.number(c["mean"]) for c in cells]
        rows.append([shown_name(name) if not rule else f"{label} ({rule})", *text])
    title = "Means over seeds; of a bound, what is added to the training margin error"
    title += f" ({variant})" if variant else ""
    return report.Table(
        ("quantity", *(f"m={m}" for m in sizes)), rows, title,
        on_terminal=len(rows) <= _MOST_ROWS,
    )  # fmt: skip


def _along_table(found):
    """The bound's change along the sweep and, beside it, the error's."""
    errors = {r["m"]: r for r in found["rows"] if r["quantity"] == found["spoken_of"]}
    name = found["axis"]

    first, *_, last = found["places"]

    def end(row, value, place):
        text, name = report.number(row[value]), _ends(found, row)[place]
        return text if name == (first, last)[place] else f"{text} ({name})"

    rows = [
        [
            f"m={r['m']}", shown_name(r["quantity"]), end(r, "first", 0),
            end(r, "last", 1), _change(r), _change(errors.get(r["m"])),
        ]
        for r in found["rows"]
    ]  # fmt: skip
    what = f"exponent of {name}" if found["is_power"] else "last less first (of log10)"
    beside = f"of the {shown_name(found['spoken_of'])}" + (
        "" if found["is_power"] else " itself"
    )
    columns = ("", "quantity", first, last, what, beside)
    return report.Table(columns, rows, f"Along {name}", words=("quantity",))


def details(results: Results, draw: Drawing) -> list[Any]:
    """What is plotted, and the figures."""
    text = report.Text(
        "Networks of every size, seed and draw were trained to one margin on m examples. "
        "A bound that explains their generalization would fall with m as the test error "
        "does. What is plotted of a bound is its excess over the training margin error, "
        "numerator / (gamma sqrt m), with constants and logarithms dropped; of a certified "
        "bound its complexity at the median training margin; of a measure that is a "
        "logarithm its exponential. Values are in bounds.csv. A verdict rests on the "
        "difference of the bound's exponent and the error's, seed by seed; a curvature whose "
        "interval does not hold 0 says that the growth is no power of m. A certified bound "
        "speaks of the distribution that the training sets were drawn from: with "
        "--draw_rule=authors the pool of training images, not the test set's."
    )
    if not any(row["converged"] for row in results.tables["results"]):
        return [text]
    return [*figures.make(results, draw), report.Heading("What is plotted"), text]
