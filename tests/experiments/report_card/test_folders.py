"""Networks of a user's run folders stand beside the suite's, or are refused in one line."""

import dataclasses
import json
import shutil

import numpy as np
import pytest

from experiments.lab import formats
from experiments.lab.calls import settings_of
from experiments.lab.refusals import Refusal
from experiments.report_card import claims, folders, program, table
from experiments.report_card.claims import Networks
from experiments.report_card.trials import growth
from tests.experiments.report_card import small
from tests.experiments.report_card.test_program import read, refused


def copied(spheres, there):
    return shutil.copytree(spheres, there)


def changed(folder, **settings):
    """A folder whose config.json says something else, and whose checksum is that of it."""
    path = folder / "config.json"
    stored = json.loads(path.read_text())
    stored["settings"] |= settings
    formats.write_json(path, stored)
    return str(folder)


def test_a_users_runs_are_a_line_of_their_own(made, carded, spheres, tmp_path):
    typed = {"networks": (str(spheres),)}
    out = small.card(tmp_path / "card", made, typed=typed)
    found, before = read(out), read(carded)
    assert found["made"]["networks"] == before["made"]["networks"] + 9
    assert found["made"]["table_sha256"] == before["made"]["table_sha256"]
    lines = found["bounds"]["params"]["trials"]["training_set_size"]["numbers"]
    mine = [name for name in lines if name.startswith("spheres")]
    alone = before["bounds"]["params"]["trials"]["training_set_size"]["numbers"]
    assert len(mine) == 1 and set(lines) == {*mine, *alone}
    assert {name: lines[name] for name in alone} == alone
    small.card(out, made, resume=True, typed=typed)
    with pytest.raises(Refusal, match="--networks="):
        small.card(out, made, redraw=True, typed={"networks": ()})


def test_what_a_folder_lacks_is_lacking_nowhere_else(made, spheres):
    """Networks of one shape are evaluated together, but only with what all of them have."""
    whole, added = table.read(made / "table"), folders.read([str(spheres)])
    bare = [
        {n: v for n, v in arrays.items() if not n.startswith("layers/")}
        for arrays in added[0].measured
    ]
    added[0] = dataclasses.replace(added[0], measured=bare)
    config = settings_of(program.PROGRAM, None, typed={"bounds": ("neyshabur_2018",)})
    alone = claims.of_table(folders.joined(whole, []), config.bounds, config)
    both = claims.of_table(folders.joined(whole, added), config.bounds, config)
    one, other = alone["neyshabur_2018"], both["neyshabur_2018"]
    count = len(whole.networks)
    np.testing.assert_array_equal(one.value, other.value[:count])
    assert not np.isnan(one.value).any()
    assert np.isnan(other.value[count:]).all()
    assert other.reasons[count] == "layers was not measured"


def test_a_folder_of_which_nothing_converged_is_no_part_of_a_card(spheres, monkeypatch):
    errors_of = folders.errors_of
    monkeypatch.setattr(
        folders, "errors_of", lambda arrays: errors_of(arrays) | {"converged": False}
    )
    with pytest.raises(
        Refusal, match=r"none of its .* networks has converged.*--max_ep"
    ):
        folders.read([str(spheres)])


def test_the_networks_are_those_of_results_csv(spheres):
    (one,) = folders.read([str(spheres)])
    rows = formats.read_table(spheres / "results.csv")
    assert len(rows) == len(one.networks) == 9
    by_place = {(int(r["m"]), int(r["seed"])): r for r in rows}
    for network, arrays in zip(one.networks, one.measured, strict=True):
        row = by_place[network["m"], network["seed"]]
        assert network["network"] == f"spheres/{row['run']}"
        assert network["test_error"] == float(row["test_error"])
        assert str(network["converged"]).lower() == row["converged"]
        assert network["width"] == 8 and network["problem"] == "hypersphere"
        assert arrays["test/wrong"] == network["test_wrong"]
        assert "test/sorted" not in arrays


@pytest.mark.slow
def test_two_folders_of_one_name_are_told_apart_and_first_draws_count(
    tmp_path, spheres, made
):
    other = small.spheres(tmp_path / "spheres", seed=5, draws=2, sizes=(16, 32))
    both = folders.read([str(spheres), str(other)])
    assert [len(one.networks) for one in both] == [9, 6]
    networks = Networks.of(folders.joined(table.read(made / "table"), both).networks)
    assert set(networks["source"]) == {"", str(spheres), str(other)}
    assert len(set(networks["network"])) == len(networks)
    assert len(growth.lines(networks, "m")) == 3
    (alone,) = folders.read([str(other)])
    assert alone.name == "spheres"


def test_a_folder_counts_once(spheres, tmp_path, made):
    out = tmp_path / "card"
    copy = copied(spheres, tmp_path / "copy")
    for again in (spheres, f"{spheres}/", f"{spheres}/../spheres", copy):
        both = (str(spheres), str(again))
        refused(out, "--networks=", "each counts once", table=made, networks=both)


@pytest.mark.slow
def test_what_no_trial_knows_makes_a_line_of_its_own(tmp_path, made):
    folder = small.spheres(tmp_path / "swept", vary="radii=1:2,1:3", sizes=(16, 32))
    (one,) = folders.read([str(folder)])
    assert {n["source"] for n in one.networks} == {
        "swept, radii=1:2",
        "swept, radii=1:3",
    }
    joined = folders.joined(table.read(made / "table"), [one])
    assert len(growth.lines(Networks.of(joined.networks), "m")) == 3


def test_what_is_no_finished_run_is_refused_and_nothing_is_left(
    made, carded, spheres, tmp_path
):
    out = tmp_path / "card"

    def nothing(folder, *words):
        refused(out, *words, table=made, networks=(str(folder),))

    nothing("", "--networks", "names no folder")
    nothing(tmp_path, f"--networks={tmp_path}", "no run folder")
    nothing(tmp_path / "none", "no run folder")
    nothing(carded, "is of report_card;")
    nothing(made, "is of report_card.make_table;")
    copy = copied(spheres, tmp_path / "unfinished")
    (copy / "report.html").unlink()
    nothing(copy, "is not finished", "--resume")
    copy = copied(spheres, tmp_path / "lost")
    next((copy / "measured").iterdir()).unlink()
    nothing(copy, "is gone", f"--out={copy} --resume")
    copy = copied(spheres, tmp_path / "damaged")
    path = sorted((copy / "measured").iterdir())[0]
    bad = bytearray(path.read_bytes())
    bad[len(bad) // 2] ^= 1
    path.write_bytes(bad)
    nothing(copy, path.name, "damaged")
    copy = copied(spheres, tmp_path / "config")
    (copy / "config.json").write_text("{}")
    nothing(copy, "config.json")
    (copy / "checksums.sha256").unlink()
    nothing(copy, "config.json is no run's")


def test_settings_that_no_trial_takes_are_refused(spheres, tmp_path, made):
    out = tmp_path / "card"
    for place, (settings, words) in enumerate(
        (
            ({"network": "cnn"}, "of the kind cnn"),
            ({"vary": "network=mlp,cnn"}, "of the kind cnn"),
            ({"network": "mine", "plugin": "mine.py"}, "--plugin=FILE"),
            ({"problem": "mine", "plugin": "mine.py"}, "--plugin=FILE"),
            ({"width": "wide"}, "its config.json is no run's"),
            ({"no_such": 1}, "its config.json is no run's"),
            ({"problem": 3}, "its config.json is no run's"),
        )
    ):
        folder = copied(spheres, tmp_path / f"copy{place}")
        given = (changed(folder, **settings),)
        refused(out, "--networks=", words, table=made, networks=given)


def test_an_older_version_of_a_measure_is_noted(made, spheres):
    whole, added = table.read(made / "table"), folders.read([str(spheres)])
    names = ("params", "neyshabur_2018")
    assert folders.note(folders.joined(whole, []), names) == ""
    older = whole.about["definitions"] | {"task": "x"}
    aged = table.Table({**whole.about, "definitions": older}, whole.networks, whole.measured)  # fmt: skip
    text = folders.note(folders.joined(aged, []), names)
    assert text == "1 group (task) was measured by another version of the code."
    its = dict(added[0].definitions)
    del its["layers"]
    one = dataclasses.replace(added[0], definitions=its)
    text = folders.note(folders.joined(whole, [one]), names)
    assert text.startswith("1 group (layers) of spheres was not measured")


def altered(folder, place, change):
    """A folder of which one run's measurements say something else, with fitting checksums."""
    path = sorted((folder / "measured").iterdir())[place]
    arrays = formats.read_arrays(path)
    change(arrays)
    formats.write_arrays(path, arrays)
    return str(folder)


@pytest.mark.parametrize("place", [0, 4, 8])
@pytest.mark.parametrize("kind", ["another", "unsaid"])
def test_an_older_measurement_is_not_compared_with_todays(
    made, spheres, tmp_path, place, kind
):
    """Of one run of nine, whichever it is: a folder may have been measured in two goes."""

    def change(arrays):
        name = "made_by/layers"
        arrays[name] = np.array("of another day")
        if kind == "unsaid":
            del arrays[name]

    folder = altered(copied(spheres, tmp_path / "older"), place, change)
    (one,) = folders.read([folder])
    folders.check([one], ("train_error", "occam_float32"))  # which ask for no layers
    refused(
        tmp_path / "card", f"--networks={folder}: 1 group (layers) was measured by another",
        f"--out={folder} --redraw", table=made, networks=(folder,),
        bounds=("neyshabur_2018",),
    )  # fmt: skip


def test_networks_trained_with_other_versions_are_said(made, spheres, tmp_path):
    whole = table.read(made / "table")
    folder = copied(spheres, tmp_path / "elsewhere")
    assert folders.trained_elsewhere(whole, folders.read([str(spheres)])) == []
    path = folder / "versions.json"
    stored = json.loads(path.read_text())
    later = {**stored, "packages": {**stored["packages"], "jax": "0.0.1"}}
    formats.write_json(path, stored | {"later": [later]})
    (one,) = folders.read([str(folder)])
    here = stored["packages"]["jax"]
    line = f"Networks of elsewhere were made with jax 0.0.1 (the table's: {here})."
    assert folders.trained_elsewhere(whole, [one]) == [line]
    assert folders.note(folders.joined(whole, [one]), ("params",)) == line
