"""A table as one flat file: every number is in its column."""

import csv
import math
import sys

import numpy as np
import pytest

from experiments.lab.refusals import Refusal
from experiments.report_card import export, table
from tests.experiments import tiny
from tests.experiments.report_card import test_table


def exported(tmp_path, ending=".csv"):
    test_table.write(tmp_path / "made")
    to = tmp_path / f"networks{ending}"
    found = table.read(tmp_path / "made")
    export.write(found, to)
    return found, to


def parsed(text):
    return text == "true" if text in ("true", "false") else float(text or math.nan)


def test_every_number_is_in_its_column(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)  # which CSV does without
    found, to = exported(tmp_path)
    with open(to, newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["network"] for row in rows] == ["n0", "n1"]
    for row, network, arrays in zip(rows, found.networks, found.measured, strict=True):
        for name, value in network.items():
            if not isinstance(value, str):
                assert parsed(row[name]) == value
        filled = {name for name, text in row.items() if text and "/" in name}
        for name, array in arrays.items():
            for place, value in np.ndenumerate(array):
                index = f"[{','.join(map(str, place))}]" if place else ""
                text = row[f"{name}{index}"]
                filled.discard(f"{name}{index}")
                if array.dtype.kind == "U":
                    assert text == value
                else:
                    np.testing.assert_equal(parsed(text), value.item())
        assert not filled  # what it does not have is empty


def test_columns_stand_in_the_order_of_their_entries():
    rows = [
        {"m": 1} | {f"a/v[{n}]": n for n in range(12)},
        {"m": 1, "a/v[12]": 1, "a/b": 1},
    ]
    assert export.columns(rows) == ["m", "a/b", *(f"a/v[{n}]" for n in range(13))]


def test_a_file_is_not_overwritten_and_of_an_ending_that_there_is(tmp_path):
    found, to = exported(tmp_path)
    with pytest.raises(Refusal, match="exists"):
        export.write(found, to)
    with pytest.raises(Refusal, match=r"must end in \.csv or \.parquet"):
        export.write(found, tmp_path / "networks.xlsx")
    with pytest.raises(Refusal, match="cannot be written"):
        export.write(found, tmp_path / "made.npz" / "networks.csv")


def test_parquet_says_what_it_needs(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(Refusal) as caught:
        exported(tmp_path, ".parquet")
    to = tmp_path / "networks.parquet"
    assert str(caught.value) == (
        f"--to={to}: Parquet needs pyarrow, which is not here; pip install pyarrow, or end it in "
        ".csv"
    )
    assert not to.exists()


def test_parquet_holds_the_same(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    found, to = exported(tmp_path, ".parquet")
    rows = parquet.read_table(to).to_pylist()
    for row, expected in zip(rows, export.rows(found), strict=True):
        for name, value in row.items():
            np.testing.assert_equal(value, expected.get(name))


def test_the_command(made, tmp_path):
    to = tmp_path / "networks.csv"
    given = f"--table={made}", f"--to={to}"
    code, said, err = tiny.finish(tiny.program(*given, name="report_card.export"))
    assert (code, said, err) == (0, f"{to}: 9 networks\n", "")
    assert to.read_text().startswith("network,m,seed,problem,width,")


@pytest.mark.slow
def test_the_command_refuses_in_one_line(made, tmp_path):
    to = tmp_path / "networks.csv"
    to.write_text("")
    calls = {"exists": (f"--table={made}", f"--to={to}"), "flag 'x'": ("--x=1",)}
    began = {w: tiny.program(*f, name="report_card.export") for w, f in calls.items()}
    for words, process in began.items():
        code, said, err = tiny.finish(process)
        assert (code, said, err.count("\n")) == (2, "", 1), err
        assert words in err
