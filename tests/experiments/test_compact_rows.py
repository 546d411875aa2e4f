"""Rows as columns are the rows; tables take memory for rows, not for what was measured."""

import dataclasses
import gc
import math
import tracemalloc
from collections.abc import Sequence

import numpy as np
import pytest

from experiments.bounds_vs_samples import study, summary, tables
from experiments.lab import bound_rows, formats
from experiments.lab.compact_rows import CompactRows, grouped, names_of, where
from tests.experiments.tiny import TINY, run, undrawn

FEW = dataclasses.replace(TINY, bounds=("bartlett_2017", "neyshabur_2018"))
CELLS = (
    lambda rng: float(rng.standard_normal()),
    lambda rng: int(rng.integers(-5, 5)),
    lambda rng: bool(rng.integers(2)),
    lambda rng: f"m{rng.integers(3)}",
    lambda rng: None,
    lambda rng: [math.inf, -math.inf, -0.0][rng.integers(3)],
    lambda rng: 2**53 + int(rng.integers(3)),
)


def drawn_rows(count, seed=0):
    """Rows of cells of all types under any name; some lack columns."""
    rng = np.random.default_rng(seed)
    return [
        {
            name: CELLS[rng.integers(len(CELLS))](rng)
            for name in "abcdef"
            if rng.random() < 0.7
        }
        for _ in range(count)
    ]


def exactly(rows):
    """Rows with what == does not tell apart: types, and the sign of 0."""
    return [
        {n: (type(v), math.copysign(1, v) if v == 0 else v) for n, v in row.items()}
        for row in rows
    ]


@pytest.mark.parametrize("seed", range(3))
def test_they_are_the_rows(seed, tmp_path):
    rows = drawn_rows(200, seed)
    kept = CompactRows(rows)
    assert len(kept) == 200 and exactly(kept) == exactly(rows)
    assert exactly(kept[-7:100:-3]) == exactly(rows[-7:100:-3])
    assert exactly([kept[-1]]) == exactly([rows[-1]])
    with pytest.raises(IndexError):
        kept[200]
    assert names_of(kept) == names_of(rows)
    for name, some in (("kept", kept), ("rows", rows)):
        formats.write_table(tmp_path / name, names_of(rows), some)
        formats.write_json(tmp_path / f"{name}.json", {"rows": some})
    assert (tmp_path / "kept").read_bytes() == (tmp_path / "rows").read_bytes()
    one, other = (formats.read_json(tmp_path / f"{n}.json") for n in ("kept", "rows"))
    assert exactly(one["rows"]) == exactly(other["rows"])


def test_some_of_them_are_chosen_without_a_copy():
    rows = drawn_rows(100)
    kept = CompactRows(rows)
    some = where(where(kept, lambda row: "a" in row), lambda row: "b" not in row)
    assert list(some) == [r for r in rows if "a" in r and "b" not in r]
    by = grouped(kept, len)
    assert {n: list(own) for n, own in by.items()} == {
        n: [r for r in rows if len(r) == n] for n in {len(r) for r in rows}
    }
    place = rows.index(some[3])
    kept.replace(place, "a", "another")
    assert some[3] == rows[place] | {"a": "another"}
    kept.append({"g": 1})  # a column that came late
    assert kept[-1] == {"g": 1} and "g" not in kept[0]


def test_numbers_that_are_not_python_s_keep_their_values():
    row = {"a": np.float64(0.1), "b": np.int32(7), "c": np.bool_(True), "d": math.nan}
    (kept,) = CompactRows([row])
    assert kept["a"] == 0.1 and kept["b"] == 7 and kept["c"] and math.isnan(kept["d"])


class Repeated(Sequence):
    """The measurements of a few runs as those of many, made anew whenever one is asked for."""

    def __init__(self, few, count):
        self.few, self.count = few, count

    def __len__(self):
        return self.count

    def __getitem__(self, place):
        if not 0 <= place < self.count:
            raise IndexError(place)
        one = self.few[place * len(self.few) // self.count]
        return {name: np.array(array) for name, array in one.items()}


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """Of the runs of a study of two sizes, in the order of its tables."""
    out = tmp_path_factory.mktemp("runs") / "tiny"
    of = study.make(FEW, {"": FEW})
    with undrawn():
        folder = run(FEW, out)
    return [formats.read_arrays(folder.measured_path(r.name)) for r in of.runs]


def made(measured, seeds):
    """Tables and summary of as many seeds."""
    config = dataclasses.replace(FEW, seeds=seeds, draws=2)
    of = study.make(config, {"": config})
    found = tables.make(of, Repeated(measured, len(of.runs)))
    summary.make(of, found)
    return found


def weighed(measured, seeds):
    """The same, and the most bytes while they are made."""
    gc.collect()
    tracemalloc.start()
    try:
        return made(measured, seeds), tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_tables_take_memory_for_rows_and_not_for_measurements(measured):
    made(measured, 17)  # compiles
    (few, least), (many, most) = weighed(measured, 32), weighed(measured, 64)
    further = len(many["results"]) - len(few["results"])
    each = (most - least) / further
    arrays = sum(a.nbytes for one in measured for a in one.values()) / len(measured)
    cells = sum(len(row) for rows in many.values() for row in rows)
    cells /= len(many["results"])
    assert further == 4 * 32 and cells > 100 and arrays > 4000
    # 12 bytes a cell, as much again while columns grow, and what names a run.
    assert each < 24 * cells + 2000


def test_bounds_are_the_same_however_many_are_evaluated_at_once(measured, monkeypatch):
    of = study.make(FEW, {"": FEW})
    whole = tables.make(of, measured)
    for at_once in (3, 1):
        monkeypatch.setattr(bound_rows, "AT_ONCE", at_once)
        parts = tables.make(of, measured)
        for name, rows in whole.items():
            assert len(rows) == len(parts[name]) > 0
            for one, other in zip(rows, parts[name], strict=True):
                assert one.keys() == other.keys()
                for column, value in one.items():
                    if isinstance(value, float):
                        assert other[column] == pytest.approx(value, rel=1e-12)
                    else:
                        assert other[column] == value
