"""A table is read as it was written, written the same, and refused if it is damaged."""

import dataclasses
import hashlib
import json
import re
import shutil
import time

import numpy as np
import pytest

import bounds
from experiments.bounds_vs_samples import study as bounds_vs_samples
from experiments.lab import definitions
from experiments.lab.measure_network import MeasureNetwork
from experiments.lab.refusals import Refusal
from experiments.report_card import networks, table

ARRAYS = (
    {
        "a/scalar": np.float64(1.5), "a/count": np.int64(3), "a/is": np.True_,
        "a/layers": np.array([1.0, np.nan, np.inf]), "a/ints": np.array([1, 2], np.int32),
        "a/flags": np.array([True, False]), "b/layers": np.arange(6.0).reshape(3, 2),
        "b/ragged": np.arange(6.0).reshape(3, 2), "b/half": np.float32([1, 2]),
        "b/words": np.array(["one", "seven"]), "c/only": np.array(-np.inf),
        "c/vector": np.array([7.0]), "c/empty": np.zeros(0),
        "missing/d": np.array("no such thing"),
    },
    {
        "a/scalar": np.float64(-0.0), "a/count": np.int64(-4), "a/is": np.False_,
        "a/layers": np.array([2.0]), "a/ints": np.zeros(0, np.int32),
        "a/flags": np.array([True]), "b/layers": np.ones((1, 2)),
        "b/ragged": np.ones((1, 4)), "b/half": np.float32([np.nan]),
        "b/words": np.array(["eleven"]), "d/there": np.array([1, 2, 3]),
        "missing/c": np.array("none of it, of another length"),
    },
)  # fmt: skip


def network(place):
    words = ("network", "problem", "optimizer", "loss", "twin", "twin_of")
    truths = ("is_factorial", "converged", "diverged", "biases")
    found = {name: 0.5 + place for name in networks.COLUMNS}
    found |= dict.fromkeys(words, "") | dict.fromkeys(truths, bool(place % 2))
    return found | {"network": f"n{place}", "m": 8 + place, "seed": place}


ABOUT = {
    "suite": "made up",
    "made_with": {"commit": "0"},
    "definitions": {"a": "0"},
}


def write(path, measured=ARRAYS):
    rows = [network(place) for place in range(len(measured))]
    table.write(path, rows, measured, ABOUT)
    return rows


def assert_same(found, arrays):
    assert set(found) == set(arrays)
    for name, value in arrays.items():
        value = np.asarray(value)
        assert isinstance(found[name], np.ndarray), name
        assert found[name].shape == value.shape, name
        assert found[name].dtype.kind == value.dtype.kind, name
        if value.dtype.kind != "U":
            assert found[name].dtype == value.dtype, name
        np.testing.assert_array_equal(found[name], value, err_msg=name)


@pytest.mark.parametrize("measured", [ARRAYS, ARRAYS[:1], ARRAYS[1:], ARRAYS * 3])
def test_what_is_read_is_what_was_written(measured, tmp_path):
    rows = write(tmp_path / "made", measured)
    found = table.read(tmp_path / "made")
    assert found.networks == rows
    assert [type(v) for v in found.networks[0].values()] == [
        type(v) for v in rows[0].values()
    ]
    for own, arrays in zip(found.measured, measured, strict=True):
        assert_same(own, arrays)
    assert found.about["suite"] == "made up" and found.about["networks"] == len(rows)


def test_arrays_of_any_shape_come_back(tmp_path):
    random = np.random.default_rng(0)
    for trial in range(40):
        ranks = {f"g/{n}": int(random.integers(0, 4)) for n in range(6)}
        kinds = [np.float64, np.float32, np.int32, np.int64, bool]
        measured = [
            {
                name: random.integers(0, 5, random.integers(0, 4, rank)).astype(
                    kinds[int(name[-1]) % len(kinds)]
                )
                for name, rank in ranks.items()
                if random.random() < 0.7
            }
            for _ in range(int(random.integers(1, 6)))
        ]
        write(tmp_path / f"made{trial}", measured)
        found = table.read(tmp_path / f"made{trial}").measured
        for own, arrays in zip(found, measured, strict=True):
            assert_same(own, arrays)


def test_the_same_networks_make_the_same_bytes(tmp_path, monkeypatch):
    write(tmp_path / "one")
    monkeypatch.setattr(time, "time", lambda: 2e9)
    shuffled = [dict(reversed(arrays.items())) for arrays in ARRAYS]
    write(tmp_path / "other", shuffled)
    for ending in (".npz", ".json"):
        one, other = (tmp_path / f"{n}{ending}" for n in ("one", "other"))
        assert one.read_bytes() == other.read_bytes()


def test_numpy_alone_reads_it_as_the_docstring_says(tmp_path, monkeypatch):
    measured = [
        {"layers/frobenius": np.ones(n), "margins/sorted": np.arange(3.0)}
        for n in (2, 3)
    ]
    rows = [network(place) | {"problem": "mnist", "converged": True} for place in (0, 1)]  # fmt: skip
    table.write(tmp_path / "standard", rows, measured, ABOUT)
    code = re.findall(r"^    (\S.*)$", table.__doc__, re.M)
    assert len(code) == 5 and "allow_pickle" not in "".join(code)
    monkeypatch.chdir(tmp_path)
    found = {"numpy": np}
    exec("\n".join(code), found)
    assert found["m"].tolist() == [8, 9]
    np.testing.assert_array_equal(found["frobenius"], [[1, 1, np.nan], [1, 1, 1]])
    assert found["used"].tolist() == [2, 3]


def test_nothing_is_pickled(tmp_path):
    path = tmp_path / "made"
    write(path)
    rows = np.array([{}, {}], dtype=object)
    with np.load(path.with_suffix(".npz"), allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    assert all(a.dtype.kind != "O" for a in arrays.values())
    np.savez(path.with_suffix(".npz"), **arrays | {"m": rows})
    described(path, sha256=digest(path))
    with pytest.raises(Refusal, match="cannot be read"):
        table.read(path)


def digest(path):
    return hashlib.sha256(path.with_suffix(".npz").read_bytes()).hexdigest()


def described(path, **changes):
    beside = path.with_suffix(".json")
    about = json.loads(beside.read_text()) | changes
    beside.write_text(json.dumps({n: v for n, v in about.items() if v is not Ellipsis}))


def refused(path, *words):
    with pytest.raises(Refusal) as refusal:
        table.read(path)
    line = str(refusal.value)
    assert "\n" not in line and str(path.parent) in line
    for word in words:
        assert word in line, line


def test_every_kind_of_damage_of_the_columns_is_refused(tmp_path):
    path = tmp_path / "made"
    write(path)
    columns = path.with_suffix(".npz")
    whole = columns.read_bytes()
    for place in {0, 1, len(whole) // 3, len(whole) // 2, len(whole) - 1}:
        bad = bytearray(whole)
        bad[place] ^= 1
        columns.write_bytes(bad)
        refused(path, "not as it was written")
    for size in (0, 1, len(whole) // 2, len(whole) - 1):
        columns.write_bytes(whole[:size])
        refused(path, "not as it was written")
        described(path, sha256=digest(path))  # whoever wrote that meant it
        refused(path, "made.npz", "make")
        columns.write_bytes(whole)
        described(path, sha256=digest(path))
    table.read(path)
    columns.unlink()
    refused(path, "there is no such table")


BAD_KEYS = {
    "version": [2, 0, None, "1", ...], "sha256": ["", 1, None, ...],
    "definitions": [None, [], "a", ...], "columns_of_networks": [[], None, "m", [1], ["m"], ...],
    "networks": ["2", None, 0, 3, ...], "made_with": [None, "x", ...], "suite": [None, 1, ...],
}  # fmt: skip


@pytest.mark.parametrize("key", BAD_KEYS)
def test_a_description_that_lacks_something_is_refused(key, tmp_path):
    path = tmp_path / "made"
    for wrong in BAD_KEYS[key]:
        write(path)
        described(path, **{key: wrong})
        refused(path, "made.")


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "[1, 2]", "1", "null", '"a"', "[" * 100000, "\xff\xfe", "{}"],
)
def test_a_description_that_is_none_is_refused(text, tmp_path):
    path = tmp_path / "made"
    write(path)
    path.with_suffix(".json").write_bytes(text.encode("latin-1"))
    refused(path, "made.json", "make")


@pytest.mark.parametrize("column", networks.COLUMNS)
def test_a_table_without_a_column_that_trials_read_is_refused(column, tmp_path):
    path = tmp_path / "made"
    rows = [
        {n: v for n, v in network(place).items() if n != column} for place in (0, 1)
    ]
    table.write(path, rows, ARRAYS, ABOUT)
    refused(path, f"has no column {column}")


def test_columns_of_another_number_of_networks_are_refused(tmp_path):
    path = tmp_path / "made"
    write(path)
    with np.load(path.with_suffix(".npz")) as file:
        arrays = {name: file[name] for name in file.files}
    np.savez(path.with_suffix(".npz"), **arrays | {"a/scalar": np.zeros(1)})
    described(path, sha256=digest(path))
    refused(path, "not all its columns are of 2 networks")


def test_a_folder_and_an_unreadable_file_are_refused(tmp_path):
    path = tmp_path / "made"
    path.with_suffix(".json").mkdir()
    refused(path, "made.json", "Is a directory")
    with pytest.raises(Refusal, match=r"has no table\.json"):
        table.path_of("quick", str(tmp_path))
    write(tmp_path / "table")
    assert table.path_of("quick", str(tmp_path)) == tmp_path / "table"
    (tmp_path / "table.npz").unlink()
    with pytest.raises(Refusal, match=r"has no table\.npz"):
        table.path_of("quick", str(tmp_path))


def test_a_suite_without_a_frozen_table_says_how_to_make_it(tmp_path, monkeypatch):
    monkeypatch.setattr(table, "SHIPPED", tmp_path)
    with pytest.raises(Refusal, match=r"--suite=full.*--table, or --retrain"):
        table.path_of("full")


def test_frozen_keeps_groups_and_why_some_are_missing():
    arrays = {
        "seconds": np.array(1.0), "checks": np.zeros(3), "made_from": np.array("x"),
        "made_by/layers": np.array("digest"), "missing/code": np.array("why"),
        "layers/frobenius": np.ones(2), "test/sorted": np.array([-np.inf, -np.inf, 1.0]),
        "test/size": np.array(3), "test_noisy/sorted": np.array([0.0, 1.0]),
    }  # fmt: skip
    found = table.frozen(arrays)
    assert set(found) == {
        "missing/code", "layers/frobenius",
        *(f"{g}/{n}" for g in ("test", "test_noisy") for n in ("wrong", "size", "quantiles")),
    }  # fmt: skip
    assert found["test/wrong"] == 2 and found["test_noisy/wrong"] == 1
    assert found["test/quantiles"][-1] == 1.0
    assert table.definitions(arrays) == {"layers": "digest"}


def test_of_many_networks_a_file_has_as_many_arrays_as_of_ten(tmp_path):
    """A column each, so that what reading takes does not grow with arrays."""
    random = np.random.default_rng(0)
    measured = [
        {f"g{n}/values": random.normal(size=2 + place % 4) for n in range(60)}
        | {"margins/sorted": random.normal(size=64 * 2 ** (place % 7))}
        for place in range(200)
    ]
    found = {}
    for count in (10, 200):
        write(tmp_path / f"{count}", measured[:count])
        with np.load(tmp_path / f"{count}.npz") as stored:
            found[count] = stored.files
    assert found[200] == found[10]
    assert_same(table.read(tmp_path / "200").measured[199], measured[199])


def test_a_copy_in_another_folder_is_the_table(tmp_path):
    write(tmp_path / "made")
    there = tmp_path / "there"
    there.mkdir()
    for ending in (".npz", ".json"):
        shutil.copy(tmp_path / f"made{ending}", there / f"table{ending}")
    found = table.read(there / "table")
    assert (
        dataclasses.astuple(found)[1]
        == dataclasses.astuple(table.read(tmp_path / "made"))[1]
    )


@pytest.mark.parametrize("suite", [p.stem for p in table.SHIPPED.glob("*.npz")])
def test_the_shipped_tables_were_measured_by_the_code_that_is_here(suite):
    """Fails when a measure changes, or what it imports: then the tables are to be made again.

    `python -m experiments.report_card.make_table --suite=...` makes one.
    """
    stored = table.read(table.path_of(suite)).about["definitions"]
    groups = [group for group in stored if group]
    # What the study of its networks gives to a measure, and adds to what it found, counts as well.
    host = sorted(
        {definitions.of(f) for f in (MeasureNetwork, bounds_vs_samples.of_configs)}
    )
    now = {"": " ".join(host), **definitions.of_groups(groups)}
    # The card's networks are as SGD left them.
    needed = [n for n in bounds.BOUNDS if "learned" not in bounds.requires([n])]
    assert set(bounds.needs(needed)) <= set(groups)
    assert [group for group in stored if stored[group] != now[group]] == []
