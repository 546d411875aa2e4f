"""A report as a list of blocks, written as Markdown and as one HTML file that needs nothing.

Blocks: `Heading`, `Text`, `Table`, `Figure`.
"""

import base64
import dataclasses
import html
import json
from pathlib import Path

from rich.console import Console
from rich.table import Table as RichTable

from experiments.run_folder import whole

_STYLE = """
body{font:16px/1.5 system-ui,sans-serif;color:#1c1c1c;max-width:62rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.7rem;line-height:1.2}h2{font-size:1.2rem;margin-top:2.2rem}
img{max-width:100%;height:auto}figure{margin:1.5rem 0}figcaption{color:#555;font-size:.9rem}
.wide{overflow-x:auto}table{border-collapse:collapse;font-size:.85rem;font-variant-numeric:tabular-nums}
th,td{padding:.25rem .7rem;text-align:right;border-bottom:1px solid #ddd;white-space:nowrap}
th{border-bottom:2px solid #888}th:first-child,td:first-child{text-align:left}
.text td,.text th{text-align:left;white-space:normal}
code{background:#f3f3f3;padding:.1rem .3rem;border-radius:3px}
"""


@dataclasses.dataclass(frozen=True)
class Heading:
    text: str
    level: int = 2


@dataclasses.dataclass(frozen=True)
class Text:
    """A paragraph; `code` is set apart as code."""

    text: str
    code: bool = False


@dataclasses.dataclass(frozen=True)
class Table:
    """Columns and rows of strings, the first column a label; `is_text` if none are numbers."""

    columns: tuple
    rows: list
    title: str = ""
    is_text: bool = False


@dataclasses.dataclass(frozen=True)
class Figure:
    """A PNG file and what it shows."""

    path: Path
    caption: str


def _markdown(block, folder):
    if isinstance(block, Heading):
        return f"{'#' * block.level} {block.text}"
    if isinstance(block, Text):
        return f"    {block.text}" if block.code else block.text
    if isinstance(block, Table):
        lines = [
            block.columns,
            ["---"] + ["---:"] * (len(block.columns) - 1),
            *block.rows,
        ]
        table = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
        return f"{block.title}\n\n{table}" if block.title else table
    return f"![{block.caption}]({block.path.relative_to(folder)})\n\n*{block.caption}*"


def _html(block):
    if isinstance(block, Heading):
        return f"<h{block.level}>{html.escape(block.text)}</h{block.level}>"
    if isinstance(block, Text):
        text = html.escape(block.text)
        return f"<p><code>{text}</code></p>" if block.code else f"<p>{text}</p>"
    if isinstance(block, Table):
        head = "".join(f"<th>{html.escape(c)}</th>" for c in block.columns)
        body = "".join(
            f"<tr>{''.join(f'<td>{html.escape(c)}</td>' for c in row)}</tr>"
            for row in block.rows
        )
        title = f"<p>{html.escape(block.title)}</p>" if block.title else ""
        kind = "text" if block.is_text else "numbers"
        return f'{title}<div class="wide"><table class="{kind}"><tr>{head}</tr>{body}</table></div>'
    data = base64.b64encode(block.path.read_bytes()).decode()
    caption = html.escape(block.caption)
    return (
        f'<figure><img alt="{caption}" src="data:image/png;base64,{data}">'
        f"<figcaption>{caption}</figcaption></figure>"
    )


def write(folder, title, blocks):
    """Writes `report.md` and, last of all, `report.html` into a folder."""
    blocks = [Heading(title, 1), *blocks]
    with whole(Path(folder) / "report.md") as aside:
        aside.write_text("\n\n".join(_markdown(b, folder) for b in blocks) + "\n")
    body = "\n".join(_html(b) for b in blocks)
    with whole(Path(folder) / "report.html") as aside:
        aside.write_text(
            f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{html.escape(title)}'
            f"</title><style>{_STYLE}</style><body>\n{body}\n</body></html>\n"
        )


def provenance(folder):
    """The blocks that end a report: the settings of a run folder, and what made it."""
    stored = json.loads((folder / "config.json").read_text())["settings"]
    made = json.loads((folder / "versions.json").read_text())
    settings = [
        [name, ", ".join(map(str, v)) if isinstance(v, list) else str(v)]
        for name, v in stored.items()
        if name != "data_dir" and v is not None
    ]
    origin = [
        ["commit", str(made["commit"])], ["device", made["device"]],
        ["machine", made["machine"]], ["python", made["python"]],
        *([name, version] for name, version in made["packages"].items()),
    ]  # fmt: skip
    return [
        Heading("Settings"),
        Table(("setting", "value"), settings, is_text=True),
        Heading("Made with"),
        Table(("what", "which"), origin, is_text=True),
    ]


def show(table):
    """Prints a `Table` on the terminal, whole also where there is none."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=400)
    shown = RichTable(title=table.title, title_justify="left", box=None, pad_edge=False)
    for index, column in enumerate(table.columns):
        shown.add_column(
            column, justify="right" if index else "left", no_wrap=not index
        )
    for row in table.rows:
        shown.add_row(*row)
    console.print(shown)


def number(value):
    """A number in the few digits that a table needs."""
    if value is None or value != value:
        return ""
    if value == 0:
        return "0"
    if abs(value) >= 1e5 or abs(value) < 1e-4:
        return f"{value:.2e}"
    return f"{value:.4g}"


def interval(low, high, digits=2):
    """`[low, high]`, or what is missing."""
    return "one seed" if low is None else f"[{low:.{digits}f}, {high:.{digits}f}]"
