"""A report as a list of blocks, written as Markdown and as one HTML file that needs nothing.

Blocks: `Answer`, first; `Heading`, `Text`, `Table`, `Figure`.
"""

import base64
import dataclasses
import decimal
import html
import itertools
import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments.lab.checksums import whole
from experiments.lab.versions import changes_between

_ERRORS = "backslashreplace"  # of names of files that are no text
STYLE = """
:root{color-scheme:light dark;--ink:#1c1c1c;--paper:#fff;--soft:#555;--line:#ddd;--tint:#f3f5f7}
@media(prefers-color-scheme:dark){:root{--ink:#e6e6e6;--paper:#16181b;--soft:#a9adb3;--line:#3a3e44;--tint:#22262b}
img{background:#fff;border-radius:4px}}
body{font:16px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper);max-width:82rem;margin:1.5rem auto;padding:0 1rem}
h1{font-size:1.6rem;line-height:1.2}h2{font-size:1.2rem;margin-top:2.2rem}p{max-width:48rem;overflow-wrap:anywhere}
.answer{font-size:1.1rem;max-width:none;background:var(--tint);border-left:4px solid #0072B2;padding:.8rem 1rem}
.answer p{margin:.3rem 0}
img{max-width:100%;height:auto}figure{margin:1.5rem 0}figcaption{color:var(--soft);font-size:.9rem;max-width:48rem}
.wide{overflow:auto;max-height:80vh;border-bottom:1px solid var(--line)}
table{border-collapse:separate;border-spacing:0;font-size:.85rem;font-variant-numeric:tabular-nums}
th,td{padding:.25rem .7rem;text-align:right;border-bottom:1px solid var(--line);white-space:nowrap}
th{position:sticky;top:0;background:var(--paper);border-bottom:2px solid var(--soft);vertical-align:bottom}
th:first-child,td:first-child,td.word,th.word{text-align:left}
td.word{white-space:normal;min-width:9rem}tr.marked td{background:var(--tint);font-weight:600}
code{background:var(--tint);padding:.1rem .3rem;border-radius:3px;overflow-wrap:anywhere}
@media(max-width:40rem){body{margin:.5rem auto;padding:0 .7rem}h1{font-size:1.3rem}td.word{min-width:6rem}th,td{padding:.25rem .35rem}
td:first-child{white-space:normal;overflow-wrap:anywhere;min-width:7.5rem}}
"""


@dataclasses.dataclass(frozen=True)
class Answer:
    """What was asked, answered in one to three sentences with their numbers."""

    sentences: Sequence[str]


@dataclasses.dataclass(frozen=True)
class Heading:
    """A heading."""

    text: str
    level: int = 2


@dataclasses.dataclass(frozen=True)
class Text:
    """A paragraph; `code` is set apart as code."""

    text: str
    code: bool = False


@dataclasses.dataclass(frozen=True)
class Table:
    """Columns and rows of strings, the first column a label.

    Attributes:
      columns: their heads.
      rows: of strings.
      title: above it.
      words: columns whose cells are words: set left, and wrapped.
      marked: places of rows that stand out.
      on_terminal: whether the terminal shows it, too.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    title: str = ""
    words: Sequence[str] = ()
    marked: Sequence[int] = ()
    on_terminal: bool = True

    def __post_init__(self):
        """Leaves out columns in which nothing stands."""
        filled = [
            place
            for place in range(len(self.columns))
            if not place or any(str(row[place]) for row in self.rows)
        ]
        if self.rows:
            columns, *rows = (
                tuple(cells[place] for place in filled)
                for cells in (self.columns, *self.rows)
            )
            object.__setattr__(self, "columns", columns)
            object.__setattr__(self, "rows", tuple(rows))


@dataclasses.dataclass(frozen=True)
class Figure:
    """A PNG file and what it shows."""

    path: Path
    caption: str


def _line(text):
    """A text on one line: a blank one would end the paragraph."""
    return " ".join(str(text).splitlines())


# What Markdown would take for emphasis, code, a tag, a link, an entity or mathematics; a `_`
# inside a word is none of it.
_MARKS = re.compile(r"[\\`*<$~]|\](?=[(\[])|(?<![^\W_])_|_(?![^\W_])|&(?=#?\w+;)")


def _prose(text):
    """A text as Markdown that shows it, whatever is in it: a name is no link or tag."""
    return _MARKS.sub(r"\\\g<0>", _line(text))


def _cell(text):
    """A cell of a Markdown table: a name is no column either."""
    return _prose(text).replace("|", r"\|")


def _markdown(block, folder):
    if isinstance(block, Answer):
        return "\n\n".join(f"**{_prose(sentence)}**" for sentence in block.sentences)
    if isinstance(block, Heading):
        return f"{'#' * block.level} {_prose(block.text)}"
    if isinstance(block, Text):
        return f"    {_line(block.text)}" if block.code else _prose(block.text)
    if isinstance(block, Table):
        words = {*block.words, *block.columns[:1]}
        rules = ["---" if c in words else "---:" for c in block.columns]
        body = [[_cell(cell) for cell in row] for row in block.rows]
        for place in block.marked:
            body[place][0] = f"**{body[place][0]}**"
        lines = [map(_cell, block.columns), rules, *body]
        table = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
        return f"{_prose(block.title)}\n\n{table}" if block.title else table
    caption = _prose(block.caption)
    return f"![{caption}]({block.path.relative_to(folder)})\n\n*{caption}*"


def _html(block):
    if isinstance(block, Answer):
        lines = "".join(f"<p>{html.escape(s)}</p>" for s in block.sentences)
        return f'<div class="answer">{lines}</div>'
    if isinstance(block, Heading):
        return f"<h{block.level}>{html.escape(block.text)}</h{block.level}>"
    if isinstance(block, Text):
        text = html.escape(block.text)
        return f"<p><code>{text}</code></p>" if block.code else f"<p>{text}</p>"
    if isinstance(block, Table):
        return _html_table(block)
    data = base64.b64encode(block.path.read_bytes()).decode()
    caption = html.escape(block.caption)
    return (
        f'<figure><img alt="{caption}" src="data:image/png;base64,{data}">'
        f"<figcaption>{caption}</figcaption></figure>"
    )


def _html_table(block):
    kinds = [' class="word"' if c in block.words else "" for c in block.columns]

    def row(tag, cells):
        pairs = zip(kinds, cells, strict=True)
        return "".join(f"<{tag}{k}>{html.escape(str(c))}</{tag}>" for k, c in pairs)

    body = "".join(
        f"<tr{' class=marked' if place in block.marked else ''}>{row('td', cells)}</tr>"
        for place, cells in enumerate(block.rows)
    )
    title = f"<p>{html.escape(block.title)}</p>" if block.title else ""
    head = f"<thead><tr>{row('th', block.columns)}</tr></thead>"
    return f'{title}<div class="wide"><table>{head}<tbody>{body}</tbody></table></div>'


def markdown(blocks: Sequence[Any], folder: Path = Path()) -> str:
    """Blocks as Markdown; figures are named as they lie in `folder`."""
    return "\n\n".join(_markdown(block, folder) for block in blocks) + "\n"


def html_of(blocks: Sequence[Any]) -> str:
    """Blocks as HTML, to stand in the body of a page."""
    return "\n".join(map(_html, blocks))


def write(folder: Path, title: str, blocks: Sequence[Any]) -> None:
    """Writes `report.md` and, last of all, `report.html` into a folder."""
    blocks = [Heading(title, 1), *blocks]
    with whole(Path(folder) / "report.md") as aside:
        aside.write_text(markdown(blocks, folder), encoding="utf-8", errors=_ERRORS)
    body = html_of(blocks)
    with whole(Path(folder) / "report.html") as aside:
        aside.write_text(
            '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta '
            'name="viewport" content="width=device-width, initial-scale=1">'
            f"<title>{html.escape(title)}</title><style>{STYLE}</style></head><body>\n"
            f"{body}\n</body></html>\n",
            encoding="utf-8",
            errors=_ERRORS,
        )


def provenance(stored: Mapping[str, Any], made: Mapping[str, Any]) -> list[Any]:
    """The blocks that end a report: the settings of a run folder, and what made it."""
    settings = [
        [name, ", ".join(map(str, v)) if isinstance(v, list) else str(v)]
        for name, v in stored.items()
        if name != "data_dir" and v is not None
    ]
    origin = [
        ["commit", str(made["commit"])], ["device", made["device"]],
        ["machine", made["machine"]], ["python", made["python"]],
        *([name, version] for name, version in made["packages"].items()),
        *(["later with", changes] for changes in _changes(made)),
    ]  # fmt: skip
    return [
        Heading("Settings"),
        Table(("setting", "value"), settings, words=("value",)),
        Heading("Made with"),
        Table(("what", "which"), origin, words=("which",)),
    ]


def _changes(made):
    """What each later start went on with, where that was something else than before."""
    starts = [made, *made.get("later", [])]
    return [changes_between(*pair) for pair in itertools.pairwise(starts)]


def provenance_of(folder: Path) -> list[Any]:
    """`provenance` of a run folder."""
    stored = json.loads((folder / "config.json").read_text())["settings"]
    return provenance(stored, json.loads((folder / "versions.json").read_text()))


def show(blocks: Sequence[Any]) -> None:
    """Prints the tables of a report, and then its answer, on the terminal."""
    for block in blocks:
        if isinstance(block, Table) and block.on_terminal:
            _show_table(block)
            print()
    for block in blocks:
        if isinstance(block, Answer):
            print("\n".join(block.sentences))


def _show_table(table):
    from rich.console import Console  # slow to import
    from rich.table import Table as RichTable

    plain = {"markup": False, "emoji": False}  # a name in brackets is no colour
    console = Console(**plain)
    if not console.is_terminal:  # whole also where there is none
        console = Console(width=400, **plain)
    if table.title:
        print(table.title)
    shown = RichTable(box=None, pad_edge=False)
    words = {*table.words, *table.columns[:1]}
    for index, column in enumerate(table.columns):
        shown.add_column(
            column, justify="left" if column in words else "right", no_wrap=not index
        )
    for place, (first, *rest) in enumerate(table.rows):
        shown.add_row(f"{first} *" if place in table.marked else first, *rest)
    console.print(shown)


_UPWARDS = decimal.Context(prec=4, rounding=decimal.ROUND_CEILING)


def at_most(value: float) -> str:
    """An upper bound in four digits: rounded up, never down."""
    if not math.isfinite(value):
        return number(value)
    rounded = _UPWARDS.create_decimal_from_float(value)
    return f"{rounded:f}" if 1e-4 <= abs(value) < 1e5 else f"{rounded:e}"


def at_least(value: float) -> str:
    """A lower bound in three decimals: rounded down, never up."""
    return f"{math.floor(value * 1000) / 1000:.3f}"


def number(value: float | None) -> str:
    """A number in the few digits that a table needs; what is none says so."""
    if value is None:
        return ""
    if value != value:
        return "not a number"
    if value == 0:
        return "0"
    if abs(value) >= 1e5 or abs(value) < 1e-4:
        return f"{value:.2e}"
    return f"{value:.4g}"


def shown_bytes(count: float) -> str:
    """A number of bytes in three digits."""
    for unit in ("bytes", "kB", "MB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} GB"


def cells(row: Mapping[str, Any], columns: Sequence[str], lacking: str) -> list[str]:
    """Some columns of a row, as text; `lacking` for what is not known."""
    values = [row.get(column) for column in columns]
    return [
        lacking if v is None else number(v) if isinstance(v, float) else str(v)
        for v in values
    ]


def signed(found: Mapping[str, Any], digits: int = 2) -> str:
    """`mean`, and `[low, high]` where there is an interval, with their signs."""
    text = f"{found['mean']:+.{digits}f}"
    if found["low"] is None:
        return text
    return f"{text} [{found['low']:+.{digits}f}, {found['high']:+.{digits}f}]"


def confidence(delta: float) -> str:
    """1 - delta as text that is not above it: no confidence is 1."""
    text = f"{1 - delta:g}"
    return (
        text
        if float(text) <= 1 - delta + 1e-12 and float(text) < 1
        else f"1 - {delta:g}"
    )


def interval(low: float | None, high: float | None, digits: int = 2) -> str:
    """`[low, high]`, or what is missing."""
    return "one seed" if low is None else f"[{low:.{digits}f}, {high:.{digits}f}]"
