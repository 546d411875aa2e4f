"""Names that anyone may give: a report stays one table, one line a row, and shows them."""

import re

import pytest

from experiments.lab import report

NAMES = [
    "a|b", "a\\|b", "\\", "|", "a\nb", "a\r\nb\x0bc", "a\u2028b", "[a](b)", "<b>x</b>", "*x*",
    "**x", "_x_", "a_b", "__x__y", "`x`", "~~x~~", "&lt;", "$x$", "[a][b]",
    "[bold]x", "[/nothing]", ":smile:", "ä中", "",
    "a\udc80",
]  # fmt: skip


def unmarked(text):
    """A text of Markdown as it is shown, if all that would be markup in it has a backslash."""
    pieces = re.findall(r"\\[!-/:-@\[-`{-~]|.", text)
    bare = "".join("." if len(piece) == 2 else piece for piece in pieces)
    # A `_` opens or closes emphasis at the edge of a word only.
    assert not re.search(r"[`*<~$]|\][(\[]|\b_|_\b|&#?\w+;", bare), text
    return "".join(piece[-1] for piece in pieces)


def cells_of(line):
    """The cells of a row of GitHub's Markdown: a bar with a backslash before it is text."""
    return [
        unmarked(cell.strip()) for cell in re.findall(r"((?:\\.|[^|\\])*)\|", line)[1:]
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


@pytest.mark.parametrize("name", [*NAMES, "neyshabur_2018", "a\n\n# b"])
def test_a_name_in_prose_is_no_markup(tmp_path, name):
    said = f"The best is {name}."
    blocks = [
        report.Heading(said), report.Answer([said]), report.Text(said),
        report.Table(("a",), [("b",)], title=said), report.Figure(tmp_path / "f.png", said),
    ]  # fmt: skip
    heading, answer, text, title, _, image, caption = report.markdown(
        blocks, tmp_path
    ).split("\n\n")
    found = [
        heading.removeprefix("## "), answer[2:-2], text, title,
        image.removeprefix("![").removesuffix("](f.png)"), caption.strip("\n")[1:-1],
    ]  # fmt: skip
    assert {unmarked(one) for one in found} == {" ".join(said.splitlines())}


def test_names_of_ours_are_written_as_they_are():
    text = "neyshabur_2018 at m = 128: [0.1, 0.2], R_S(gamma) <= 1 of net_a"
    assert report.markdown([report.Text(text)]) == text.replace("<", "\\<") + "\n"


def test_later_starts_with_other_versions_are_shown():
    """Numbers of a resumed folder may come from several of them."""
    first = {
        "commit": "a" * 40, "device": "1 x cpu (cpu)", "machine": "x86_64, 2 cores",
        "python": "3.11", "packages": {"jax": "0.10"},
    }  # fmt: skip
    second = first | {"packages": {"jax": "0.11"}}
    third = second | {"commit": "b" * 40, "device": "1 x H100 (gpu)"}

    def rows(made):
        return [r for r in report.provenance({}, made)[-1].rows if r[0] == "later with"]

    assert rows(first) == []
    assert [text for _, text in rows(first | {"later": [second, third]})] == [
        "jax 0.11 (before: 0.10)",
        f"device H100 (gpu) (before: cpu (cpu)), commit {'b' * 10} (before: {'a' * 10})",
    ]
