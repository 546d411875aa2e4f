"""Names that anyone may give: a report stays one table, one line a row, and shows them."""

import re

import pytest

from experiments.lab import report

NAMES = [
    "a|b", "a\\|b", "\\", "|", "a\nb", "a\r\nb\x0bc", "a\u2028b", "[a](b)", "<b>x</b>", "*x*",
    "[bold]x", "[/nothing]", ":smile:", "ä中", "",
    "a\udc80",
]  # fmt: skip


def cells_of(line):
    """The cells of a row of GitHub's Markdown: a bar with a backslash before it is text."""
    return [
        re.sub(r"\\([\\|<\]])", r"\1", cell.strip())
        for cell in re.findall(r"((?:\\.|[^|\\])*)\|", line)[1:]
    ]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_one_cell(tmp_path, name):
    rows = [(f"net {name}", "1"), ("other", f"2{name}")]
    table = report.Table(("network", "value"), rows, title="t")
    blocks = [table, report.Answer([f"The best is {name}.", "It is."])]
    report.write(tmp_path, "title", blocks)
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    lines = text.split("\n")
    start = lines.index("t") + 2
    whole = ["network", "value"], None, *map(list, rows)
    for line, row in zip(lines[start : start + 4], whole, strict=True):
        if row:
            row = [c.replace("\udc80", "\\udc80") for c in row]
            assert cells_of(line) == [" ".join(c.splitlines()).strip() for c in row]
    assert lines[start + 4] == "" and lines[start + 5].startswith("**The best is ")
    assert lines[start + 5].endswith(".**") and lines[start + 7] == "**It is.**"
    shown = "\n".join(lines[start : start + 4])
    assert not re.search(r"(?<!\\)(<|\]\()", shown)  # no tag and no link


@pytest.mark.parametrize("name", [n for n in NAMES if n.isprintable()])
def test_the_terminal_shows_a_name_as_it_is(capsys, name):
    report.show([report.Table(("network", "value"), [(f"net {name} end", "1")])])
    assert f"net {name} end" in capsys.readouterr().out
