"""The device check: on a CPU, which is held against itself; and that it can fail."""

import dataclasses
import json
import types

import numpy as np
import pytest

from bounds.numerics.enclosure import Enclosure
from experiments.tools import floors
from experiments.tools.device_check import __main__ as command
from experiments.tools.device_check import agreement, measured
from experiments.tools.device_check.__main__ import PARTS
from experiments.tools.device_check.rows import Row, Table
from experiments.tools.device_check.sizes import SMALL
from nets import runs
from tests.experiments.tiny import finish, program


def test_steps_are_timed_and_written_row_by_row(tmp_path, capsys, monkeypatch):
    """Of one width and batch, as shares of rates that are made up."""
    path, few = tmp_path / "found.json", dataclasses.replace(SMALL, batches=(64,))
    typed = {"parts": ["fast"], "small": True, "seconds": 0.05, "out": str(path)}
    monkeypatch.setattr(command.flags, "FLAGS", types.SimpleNamespace(**typed))
    monkeypatch.setattr(command.devices, "use_cores", lambda _: None)
    monkeypatch.setattr(command, "SMALL", few)
    rates = floors.Rates(copy=1e10, float32=1e11, float64=5e10)
    monkeypatch.setattr(floors, "rates", lambda *_: rates)
    assert command.main() == 0
    rows, out = json.loads(path.read_text())["rows"], capsys.readouterr().out
    assert all(row["part"] == "fast" and row["what"] in out for row in rows)
    assert [row["value"] for row in rows[:3]] == [10, 0.1, 0.05]
    steps = [row for row in rows if row["share"] is not None]
    ways = ("2 lanes", "2 lanes, held once", "2 lanes, streamed")
    assert [row["what"] for row in steps] == [
        f"step, width 16, batch 64, {way}" for way in ways
    ]
    assert all(row["holds"] is not False and row["share"] > 0 for row in steps)


@pytest.mark.slow
@pytest.mark.parametrize("parts", [("fast",), PARTS])
def test_a_slice_of_it_on_a_cpu_holds_and_is_written_row_by_row(tmp_path, parts):
    path = tmp_path / "found.json"
    flags = f"--parts={','.join(parts)}", "--small", "--seconds=0.05", f"--out={path}"
    code, out, err = finish(program(*flags, name="tools.device_check"))
    assert code == 0, err
    written = json.loads(path.read_text())
    assert {row["part"] for row in written["rows"]} == set(parts)
    assert all(row["holds"] is not False for row in written["rows"])
    for row in written["rows"]:
        assert row["what"] in out
    shares = [row["share"] for row in written["rows"] if row["share"] is not None]
    assert shares and all(share > 0 for share in shares)


def test_an_unknown_part_is_refused_in_one_line():
    code, _, err = finish(program("--parts=right,wrong", name="tools.device_check"))
    assert code != 0
    assert "--parts=wrong" in err and "Traceback" not in err


def test_an_enclosure_that_holds_no_norm_fails(monkeypatch):
    monkeypatch.setattr(
        agreement, "spectral_norm", lambda m: Enclosure(m[0, 0], m[0, 0], m[0, 0])
    )
    rows = list(agreement.enclosures(SMALL, runs.make_layout()))
    assert [row.holds for row in rows].count(False) >= 10
    assert "has not numpy's" in next(r for r in rows if r.holds is False).note


def test_bounds_that_differ_are_named():
    def of(value):
        return measured.BoundValue(np.array([value]), None, None, None)

    (row,) = measured._agreement(
        "a net",
        {"a": of(1.0), "b": of(1.05), "c": "no"},
        dict.fromkeys("abc", of(1.0)),
        1,
    )
    assert row.holds is False and row.value == 1
    assert "b 4.8e-02" in row.note and "c inf" in row.note and "a " not in row.note


@pytest.mark.parametrize(
    ("gap", "holds"), [(0.9e-4, True), (1e-3, False), (3e-2, False)]
)
@pytest.mark.parametrize("name", ["spectral_product", "pacbayes_flatness"])
def test_only_what_is_searched_for_may_be_further_away(name, gap, holds):
    one, other = (
        measured.BoundValue(np.array([value]), None, None, None)
        for value in (1.0, 1.0 - gap)
    )
    (row,) = measured._agreement("a net", {name: one}, {name: other}, 1)
    is_searched = name == "pacbayes_flatness"
    assert row.holds is (holds or (is_searched and gap < 2e-2))


def test_what_is_no_number_is_none_in_the_file(tmp_path):
    path = tmp_path / "found.json"
    Table(path, {}).add(Row("fast", "a step too large", float("nan"), "ms"))
    assert json.loads(path.read_text())["rows"][0]["value"] is None


@pytest.mark.parametrize(("width", "depth"), [(3, 2), (5, 1)])
def test_the_floor_of_a_step_counts_weights(width, depth):
    shapes = [(784, width)] + [(width, width)] * (depth - 1) + [(width, 10)]
    weights = sum(a * b for a, b in shapes)
    assert floors.weights_of(width, depth) == weights
    rates = floors.Rates(copy=1.0, float32=np.inf, float64=np.inf)
    assert floors.of_step(width, depth, 1, 1, rates) == (12 * weights, "bytes")
    # Four steps: each reads forward and, but for the first layer, backward; one reads and writes.
    read = 4 * sum(a * b * (1 if k == 0 else 2) for k, (a, b) in enumerate(shapes))
    floor, _ = floors.of_step(width, depth, 1, 4, rates)
    assert floor == 4 * (read + 2 * weights) / 4
    # Forward, the weights' gradient, and the inputs' gradient, but for the first layer's.
    operations = sum(
        2 * a * b * (2 if k == 0 else 3) for k, (a, b) in enumerate(shapes)
    )
    rates = floors.Rates(copy=np.inf, float32=1.0, float64=np.inf)
    assert floors.of_step(width, depth, 7, 1, rates) == (
        7 * operations,
        "operations",
    )


def test_a_table_without_a_file_writes_none(tmp_path, capsys):
    table = Table(None, {})
    table.add(Row("right", "a thing", 1.0, "s", holds=False, note="why"))
    assert "a thing" in capsys.readouterr().out
    assert [row.what for row in table.failed] == ["a thing"]
    assert not list(tmp_path.iterdir())
