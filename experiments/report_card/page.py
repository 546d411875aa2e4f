"""A report card as one HTML file that needs nothing: no network, no library, no server.

Why no library: the page is kept beside a run and opened from a folder years later. What moves on
it (sort, filter, a dialog, a line chart) is plain DOM code in `page.js`, `figure.js` and
`panel.js`; the platform has the rest (`<dialog>`, links to fragments, sticky heads). Without
JavaScript the answer and a table of signs stand.

Names of plugins are anyone's text. Python escapes what it writes; the scripts only ever set text,
never markup; and a content security policy lets no other script run and nothing be fetched.
"""

import base64
import dataclasses
import hashlib
import html
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from typing import Any

from experiments.lab import report
from experiments.report_card import signs

_DIGITS = 5  # of numbers that are plotted


def _asset(name: str) -> str:
    return (resources.files(__package__) / name).read_text(encoding="utf-8")


def _escape(text: Any) -> str:
    """Text as HTML that can be encoded, whatever is in it."""
    return html.escape(_clean(str(text)))


def _clean(value: Any, digits: int | None = None) -> Any:
    """A value as JSON and UTF-8 know it: what is not finite is a gap; in figures, few digits."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode("utf-8")
    if isinstance(value, float):
        if not math.isfinite(value):
            return None
        return value if digits is None else float(f"{value:.{digits}g}")
    if isinstance(value, Mapping):
        return {
            _clean(name): _clean(v, _DIGITS if name == "figure" else digits)
            for name, v in value.items()
        }
    if isinstance(value, Sequence):
        return [_clean(v, digits) for v in value]
    return value


def _embedded(value: Any) -> str:
    """JSON inside a script element: no text in it can end the element."""
    text = json.dumps(_clean(value), allow_nan=False, separators=(",", ":"))
    for mark in "<>&":
        text = text.replace(mark, f"\\u{ord(mark):04x}")
    return text


def _with_texts(card: Mapping[str, Any]) -> dict[str, Any]:
    """The card, and beside the numbers of a cell what is written for them."""

    def cell(found):
        texts = {name: signs.score(found[name]) for name in ("score", "low", "high")}
        return {**found, "texts": texts}

    bounds = {
        name: {**bound, "trials": {t: cell(c) for t, c in bound["trials"].items()}}
        for name, bound in card["bounds"].items()
    }
    return {**card, "bounds": bounds}


def _colours() -> str:
    """The verdicts' colours, as properties of style sheets."""

    def properties(colours):
        return "".join(
            f"--{signs.CLASSES[verdict]}:{ground};--{signs.CLASSES[verdict]}-ink:{ink};"
            for verdict, (ground, ink) in colours.items()
        )

    dark = f"@media(prefers-color-scheme:dark){{:root{{{properties(signs.DARK)}}}}}"
    return f":root{{{properties(signs.LIGHT)}}}\n{dark}"


def _legend(card: Mapping[str, Any]) -> str:
    found = [
        cell["verdict"]
        for bound in card["bounds"].values()
        for cell in bound["trials"].values()
    ]
    lines = "".join(
        f'<li><span class="chip {signs.CLASSES[verdict]}"><span>{sign}</span></span> <b>{verdict}</b>: '
        f"{signs.MEANINGS[verdict]} ({found.count(verdict)} cells)</li>"
        for verdict, sign in signs.SIGNS.items()
    )
    return f'<ul class="legend">{lines}</ul>'


def _trials(card: Mapping[str, Any]) -> str:
    lines = "".join(
        f"<dt>{_escape(trial['title'])}</dt><dd>{_escape(trial['question'])} "
        f"<code>{_escape(trial['formula'])}</code> "
        f"<small>{_escape(trial['networks'])} networks</small></dd>"
        for trial in card["trials"].values()
    )
    count = len(card["trials"])
    return f"<details><summary>The {count} trials</summary><dl>{lines}</dl></details>"


def _table(card: Mapping[str, Any]) -> str:
    """Signs only: what is there without JavaScript."""
    heads = "".join(f"<th>{_escape(t['title'])}</th>" for t in card["trials"].values())
    is_priced = any(bound.get("costs") for bound in card["bounds"].values())
    heads += "<th>costs</th>" if is_priced else ""
    rows = "".join(
        f"<tr><td>{_escape(name)}<br><small>{_escape(bound['status'])}</small></td>"
        f"<td>{signs.passes(bound)}</td>"
        + "".join(
            f'<td class="{signs.CLASSES[cell["verdict"]]}">{signs.SIGNS[cell["verdict"]]}</td>'
            for cell in (bound["trials"][trial] for trial in card["trials"])
        )
        + (f"<td>{_escape(bound.get('costs', ''))}</td>" if is_priced else "")
        + "</tr>"
        for name in signs.best_first(card)
        for bound in (card["bounds"][name],)
    )
    head = f"<thead><tr><th>bound</th><th>passes</th>{heads}</tr></thead>"
    return f'<div class="wide plain"><table>{head}<tbody>{rows}</tbody></table></div>'


def _select(name: str, label: str, options: Iterable[tuple[str, str]]) -> str:
    inside = "".join(
        f'<option value="{_escape(value)}">{_escape(text)}</option>'
        for value, text in options
    )
    return f'<label>{label} <select name="{name}">{inside}</select></label>'


def _filters(card: Mapping[str, Any]) -> str:
    def values(field):
        found = {str(bound[field]) for bound in card["bounds"].values()}
        return [("", "all"), *((value, value) for value in sorted(found))]

    words = ("pass", "are undecided in", "fail", "make no claim in")
    verdicts = [("", "…"), *zip(signs.SIGNS, words, strict=True)]
    trials = [(name, trial["title"]) for name, trial in card["trials"].items()]
    return (
        '<form id="filters" hidden><label>search <input type="search" name="search" '
        'placeholder="name, paper, about"></label>'
        + _select("status", "status", values("status"))
        + _select("family", "family", values("family"))
        + _select("speaks_of", "network spoken of", values("speaks_of"))
        + _select("verdict", "only bounds that", verdicts)
        + _select("trial", "trial", [("", "any trial"), *trials])
        + '<button type="reset">clear</button><output id="count" aria-live="polite"></output></form>'
    )


def _change(block: Any) -> str:
    """A block on what has changed; a table, which may be long, is folded."""
    if not isinstance(block, report.Table):
        return _clean(report.html_of([block]))
    table = report.html_of([dataclasses.replace(block, title="")])
    summary = f"<summary>{_escape(block.title)}</summary>"
    return f"<details>{summary}{_clean(table)}</details>"


def _made(made: Mapping[str, Any]) -> str:
    known = {
        "networks": "networks", "table_sha256": "table (SHA-256)", "commit": "commit",
    }  # fmt: skip
    parts = [
        f"{label}: <code>{_escape(made[name])}</code>"
        for name, label in known.items()
        if made.get(name) is not None
    ]
    note = f"<p>{_escape(made['note'])}</p>" if made.get("note") else ""
    return f"<footer><p>Made from {'; '.join(parts)}.</p>{note}</footer>"


def page(card: Mapping[str, Any], title: str, changes: Sequence[Any] = ()) -> str:
    """The card as one self-contained HTML text.

    Args:
      card: what `card.json` holds (version 1). Numbers that are not finite are shown as gaps.
      title: of the page, plain text.
      changes: blocks of a report: what differs from another card.
    """
    script = "".join(map(_asset, ("page.js", "figure.js", "panel.js")))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; "
        "base-uri 'none'; form-action 'none'"
    )
    answer = "".join(f"<p>{_escape(sentence)}</p>" for sentence in card["answer"])
    data = {"card": _with_texts(card), "signs": signs.SIGNS, "classes": signs.CLASSES}
    return "\n".join(
        [
            '<!doctype html><html lang="en"><head><meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{_escape(title)}</title>",
            f"<style>{report.STYLE}{_colours()}\n{_asset('page.css')}</style></head><body>",
            f'<h1>{_escape(title)}</h1><div class="answer">{answer}</div>',
            *map(_change, changes),
            "<p>A cell is one bound in one trial: the sign is the verdict, the number the "
            "trial's score; open it to see what was found.</p>",
            _legend(card),
            _trials(card),
            _filters(card),
            f'<main id="matrix"></main><noscript>{_table(card)}</noscript>',
            '<dialog id="panel" aria-labelledby="what"></dialog>',
            _made(card["made"]),
            f'<script type="application/json" id="card">{_embedded(data)}</script>',
            f"<script>{script}</script></body></html>\n",
        ]
    )
