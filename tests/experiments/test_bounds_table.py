"""The table of all bounds in bounds/README.md, and the command that makes it."""

import re
import subprocess
import sys

import pytest

import bounds
from experiments.lab.formats import write_table
from experiments.lab.refusals import Refusal
from experiments.tools import bounds_table, marked
from tests.experiments.tiny import ROOT

BEGIN, END = "<!-- library: begin -->", "<!-- library: end -->"


def folder(path, rows):
    path.mkdir()
    columns = ("network", "bound", "value")
    write_table(
        path / "bounds.csv",
        columns,
        [dict(zip(columns, row, strict=True)) for row in rows],
    )
    return str(path)


def test_the_readme_speaks_of_every_bound_as_the_registry_does():
    text = (ROOT / "bounds" / "README.md").read_text()
    inside = text.split(BEGIN)[1].split(END)[0]
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in inside.strip().splitlines()[2:]
    ]
    assert [row[0].strip("`") for row in rows] == list(bounds.BOUNDS)
    for row in rows:
        spec = bounds.BOUNDS[row[0].strip("`")]
        assert row[1:4] == [spec.status, spec.speaks_of, ", ".join(spec.groups)]
        assert re.fullmatch(r"n/a|-?inf|-?[\d.e+-]+", row[4]), row
    # Of one network nearly all can be had.
    assert sum(row[4] == "n/a" for row in rows) <= 4


def test_each_bound_has_the_value_of_the_first_folder_that_has_one(tmp_path):
    first = folder(
        tmp_path / "a",
        [("x", "train_error", 0.25), ("x", "params", None), ("y", "train_error", 0.5)],
    )
    second = folder(tmp_path / "b", [("z", "train_error", 0.75), ("z", "params", 3.0)])
    found = bounds_table.values([first, second])
    assert {name: row["value"] for name, row in found.items()} == {
        "train_error": "0.25",
        "params": "3.0",
    }
    lines = bounds_table.table(found)
    assert len(lines) == 2 + len(bounds.BOUNDS)
    needs = ", ".join(bounds.BOUNDS["train_error"].groups)
    assert f"| `train_error` | heuristic | trained | {needs} | 0.25 |" in lines
    text = f"before\n{BEGIN}\nstale\n{END}\nafter\n"
    again = marked.replaced(text, "library", lines, "README.md")
    assert (
        "stale" not in again
        and again.startswith("before\n")
        and again.endswith("after\n")
    )
    assert marked.replaced(again, "library", lines, "README.md") == again


def test_what_cannot_be_read_or_written_is_refused(tmp_path):
    with pytest.raises(Refusal, match=r"no bounds\.csv"):
        bounds_table.values([str(tmp_path)])
    with pytest.raises(Refusal, match="each once"):
        marked.replaced("no marks", "library", [], "README.md")
    command = [
        sys.executable,
        "-m",
        "experiments.tools.bounds_table",
        "--folders=/nowhere",
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2 and "/nowhere" in done.stderr
    assert done.stderr.strip().count("\n") == 0
