"""The command: cards of a table, what is refused, and what is gone on with."""

import dataclasses
import json
import shutil

import pytest

from experiments.lab import formats, measuring, run_folder, training, versions
from experiments.lab.calls import settings_of
from experiments.lab.refusals import Refusal
from experiments.report_card import claims, make_table, markdown, program, table
from experiments.report_card.trials import TRIALS
from tests.experiments import tiny
from tests.experiments.report_card import small

REFERENCES = {
    "reference_random", "reference_constant", "reference_train_error", "reference_inverse_m",
    "reference_oracle",
}  # fmt: skip
VERDICTS = {"passes", "fails", "undecided", "makes no claim"}


def read(folder):
    """card.json, as a strict parser reads it."""

    def refuse(word):
        raise AssertionError(f"{word} is no JSON")

    return json.loads((folder / "card.json").read_text(), parse_constant=refuse)


def refused(out, *words, table=None, **typed):
    """One line that has the words, and no folder."""
    with pytest.raises(Refusal) as refusal:
        small.card(out, table, typed=typed)
    line = str(refusal.value)
    assert "\n" not in line
    for word in words:
        assert word in line, line
    assert not out.exists() and not list(out.parent.glob(f".{out.name}*"))


def copied(made, there):
    """A table alone, without the checksums of a run folder."""
    there.mkdir()
    for name in ("table.npz", "table.json"):
        shutil.copy(made / name, there / name)
    return there


def test_card_json_has_the_keys_that_are_documented(carded):
    card = read(carded)
    assert card["version"] == 1 and card["suite"] == "quick"
    assert set(card["bounds"]) == {*small.BOUNDS, *REFERENCES}
    assert list(card["trials"]) == list(TRIALS) and len(TRIALS) == 13
    for bound in card["bounds"].values():
        assert {"status", "speaks_of", "two_sided", "trials"} <= set(bound)
        assert bound["two_sided"] in (True, False, None)
        assert list(bound["trials"]) == list(TRIALS)
        for cell in bound["trials"].values():
            assert cell["verdict"] in VERDICTS
            for key in ("score", "low", "high"):
                assert cell[key] is None or isinstance(cell[key], float)
    made = card["made"]
    assert made["networks"] == 6 and made["left_out"] == 0 and made["note"] == ""
    assert made["commit"] == versions.versions()["commit"]


def test_an_infinite_and_an_undefined_number_are_no_json(made, tmp_path, monkeypatch):
    of_table = claims.of_table

    def broken(*args):
        found = of_table(*args)
        for place, value in enumerate((float("inf"), float("nan"), -float("inf"))):
            name = small.BOUNDS[place]
            one = found[name]
            found[name] = dataclasses.replace(
                one, value=one.value * 0 + value, quantity=one.quantity * 0 + value
            )
        return found

    monkeypatch.setattr(claims, "of_table", broken)
    assert set(read(small.card(tmp_path / "card", made))["bounds"]) > REFERENCES


def test_every_bound_is_asked_once_and_the_summary_is_there_when_it_is_shown(
    made, tmp_path, monkeypatch, capsys
):
    out, asked, shown = tmp_path / "card", [], []
    of_table, overview = claims.of_table, program.ReportCard.overview

    def of_table_counted(*args):
        asked.append(args[1])
        return of_table(*args)

    def overview_seen(self, found):
        shown.append((out / "summary.json").is_file())
        return overview(self, found)

    monkeypatch.setattr(claims, "of_table", of_table_counted)
    monkeypatch.setattr(program.ReportCard, "overview", overview_seen)
    small.card(out, made)
    assert asked == [small.BOUNDS] and all(shown)
    capsys.readouterr()
    small.card(out, made, resume=True)
    assert len(asked) == 1 and "bounds and measures by trial" in capsys.readouterr().out
    small.card(out, made, redraw=True, typed={"bounds": ("params",)})
    assert asked[1:] == [("params",)]
    assert set(read(out)["bounds"]) == {"params", *REFERENCES}
    with pytest.raises(Refusal, match="--bounds=train_error here, params there"):
        small.card(out, made, resume=True, typed={"bounds": ("train_error",)})
    # The program keeps nothing of a card.
    assert vars(program.PROGRAM) == {}


def test_a_card_that_was_cut_short_is_not_finished(made, tmp_path, monkeypatch):
    out = tmp_path / "card"
    with monkeypatch.context() as patch:
        patch.setattr(markdown, "markdown", None)
        with pytest.raises(TypeError):
            small.card(out, made)
    assert not run_folder.RunFolder(out).is_finished
    small.card(out, made, resume=True)
    assert {"card.json", "report.html", "report.md", "scores.csv", "summary.json"} <= {
        path.name for path in out.iterdir()
    }


def test_what_cannot_be_read_is_refused_and_nothing_is_left(made, tmp_path):
    out = tmp_path / "card"
    refused(out, "--suite=nope", table=made, suite="nope")
    refused(out, "--bounds=nope", table=made, bounds=("nope",))
    refused(out, "--table=", "has no table.json", table=tmp_path)
    refused(out, "--table=", "has no table.json", table=tmp_path / "none")
    for flag in ("data_dir", "fashion_dir"):
        refused(out, f"--{flag}=x", "--retrain", table=made, **{flag: "x"})
    refused(out, "--table=", "give one of them", table=made, retrain=True)
    there = copied(made, tmp_path / "there")
    small.card(tmp_path / "other", there)
    about = json.loads((there / "table.json").read_text())
    (there / "table.json").write_text(json.dumps(about | {"version": 2}))
    refused(out, "table.json", "version 2", table=there)
    (there / "table.json").write_text("[]")
    refused(out, "table.json", "version None", table=there)
    (there / "table.json").write_text(json.dumps(about))
    whole = (there / "table.npz").read_bytes()
    (there / "table.npz").write_bytes(whole[:-100])
    refused(out, "table.npz", "not as it was written", table=there)
    bad = bytearray(whole)
    bad[len(bad) // 2] ^= 4
    (there / "table.npz").write_bytes(bad)
    refused(out, "table.npz", "not as it was written", table=there)


def test_damage_in_the_run_folder_of_a_table_is_seen(made, tmp_path):
    there = tmp_path / "there"
    for name in ("table.npz", "table.json"):
        shutil.copytree(made, there, dirs_exist_ok=True)
        path = there / name
        path.write_bytes(path.read_bytes() + b" ")
        refused(tmp_path / "card", name, "damaged", table=there)


def test_a_bound_whose_name_is_a_references_is_refused(made, tmp_path, entered):
    plugin = tmp_path / "mine.py"
    plugin.write_text(small.PLUGIN.replace('"mine"', '"reference_random"'))
    refused(
        tmp_path / "card", "--bounds=reference_random", "another name", table=made,
        plugin=str(plugin), bounds=("reference_random",),
    )  # fmt: skip


def test_a_plugin_gets_its_card(made, tmp_path, entered):
    plugin = tmp_path / "mine.py"
    plugin.write_text(small.PLUGIN)
    typed = {"plugin": str(plugin), "bounds": ("mine",)}
    found = read(small.card(tmp_path / "card", made, typed=typed))
    assert set(found["bounds"]) == {"mine", *REFERENCES}
    mine = found["bounds"]["mine"]
    assert mine["paper"] == "Me 2026" and mine["status"] == "up to constants"
    assert mine["trials"]["training_set_size"]["score"] > 0
    assert mine["trials"]["validity"]["verdict"] == "makes no claim"


def test_two_cards_are_compared(made, carded, tmp_path, capsys):
    other = small.card(tmp_path / "other", made, typed={"bounds": small.BOUNDS[:3]})
    capsys.readouterr()
    out = small.card(tmp_path / "card", made, typed={"compare": str(other)})
    rows = tiny.read(out, "changes")
    assert [(r["bound"], r["before"], r["now"]) for r in rows] == [
        (small.BOUNDS[3], "", "there")
    ]
    assert f"1 change since {other}" in capsys.readouterr().out
    for name in ("report.html", "report.md"):
        text = (out / name).read_text()
        assert text.index("1 change since") < text.index("A cell")
        assert "there" in text.partition("1 change since")[2].partition("A cell")[0]
    bare = tmp_path / "bare"
    bare.mkdir()
    (bare / "card.json").write_text(json.dumps(read(other) | {"suite": "standard"}))
    small.card(out, made, redraw=True, typed={"compare": str(bare)})
    assert "bare, of the suite standard" in capsys.readouterr().out
    # Another seed: the random rows move, and nothing else.
    seeded = small.card(tmp_path / "s", made, typed={"seed": 1, "compare": str(carded)})
    moved = {row["bound"] for row in tiny.read(seeded, "changes")}
    assert "reference_random" in moved <= {"reference_random", "reference_oracle"}
    small.card(out, made, redraw=True, typed={"compare": str(carded)})
    assert not (out / "changes.csv").exists()
    assert "Nothing has changed since" in (out / "report.html").read_text()
    small.card(out, made, redraw=True)
    assert "since" not in (out / "report.md").read_text().partition("A cell")[0]
    small.card(out, made, resume=True)


def test_what_is_no_card_is_not_compared_with(made, carded, tmp_path):
    out, other = tmp_path / "card", tmp_path / "other"
    other.mkdir()
    given = {"table": made, "compare": str(other)}
    refused(out, "--compare=", "no card.json", **given)
    refused(out, "--compare=", "no card.json", table=made, compare=str(made))
    refused(out, "no card.json", table=made, compare=str(tmp_path / "none"))
    card = read(carded)
    for wrong, word in (
        (card | {"version": 2}, "version 2"), ([card], "version None"),
        ({"version": 1}, "no card"), (card | {"bounds": []}, "no card"),
        (card | {"bounds": {"a": {"trials": {"width": {}}}}}, "no card"),
        (card | {"bounds": {"a": 1}}, "no card"),
    ):  # fmt: skip
        (other / "card.json").write_text(json.dumps(wrong))
        refused(out, "--compare=", word, **given)
    (other / "card.json").write_text("{")
    refused(out, "card.json", "cannot be read", **given)
    same = shutil.copytree(carded, tmp_path / "same")
    with pytest.raises(Refusal, match="is this card itself"):
        small.card(same, made, redraw=True, typed={"compare": f"{same}/../same"})
    assert run_folder.RunFolder(same).is_finished and read(same) == card
    (same / "card.json").write_text("{}")
    refused(out, "card.json", "damaged", table=made, compare=str(same))


@pytest.mark.slow
def test_a_table_is_made_of_the_same_bytes_again(made, tmp_path, monkeypatch):
    other = small.make(tmp_path / "other", monkeypatch)
    assert (other / "table.npz").read_bytes() == (made / "table.npz").read_bytes()
    assert (other / "table.json").read_bytes() == (made / "table.json").read_bytes()
    found = table.read(other / "table")
    assert [n["twin"] for n in found.networks] == ["", "permuted"] * 3 + [""] * 3
    assert not any("seconds" in name for arrays in found.measured for name in arrays)


def test_a_table_that_was_cut_short_is_the_same_in_the_end(made, tmp_path, monkeypatch):
    out = tmp_path / "other"
    measure, seen = measuring._measure_sharing, []

    def cut(*args):
        if seen:
            raise KeyboardInterrupt
        seen.append(measure(args[0][:2], *args[1:]))
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(measuring, "_measure_sharing", cut)
        with pytest.raises(KeyboardInterrupt):
            small.make(out, monkeypatch)
    assert len(list((out / "measured").iterdir())) == 2
    whole = table.whole

    def no_json(path):
        if path.suffix == ".json":
            raise KeyboardInterrupt
        return whole(path)

    with monkeypatch.context() as patch:
        patch.setattr(table, "whole", no_json)
        with pytest.raises(KeyboardInterrupt):
            small.make(out, monkeypatch, resume=True)
    assert not run_folder.RunFolder(out).is_finished
    small.make(out, monkeypatch, resume=True)
    for name in ("table.npz", "table.json"):
        assert (out / name).read_bytes() == (made / name).read_bytes()


@pytest.mark.slow
def test_networks_of_several_depths_and_what_some_of_them_lack(tmp_path, monkeypatch):
    bounds = ("neyshabur_2018", "zhou_2019_code")
    folder = small.make(tmp_path / "table", monkeypatch, small.TWO, bounds)
    found = table.read(folder / "table")
    assert [len(a["layers/frobenius"]) for a in found.measured] == [2, 3]
    for own, network in zip(found.measured, found.networks, strict=True):
        path = run_folder.RunFolder(folder).measured_path(network["network"])
        kept = table.frozen(formats.read_arrays(path))
        assert set(own) == set(kept)
        assert all((own[n] == kept[n]).all() for n in kept if own[n].dtype.kind != "f")


@pytest.fixture
def retrained(tmp_path, entered, monkeypatch):
    """Typed settings of a card that asks for a group of a plugin, and where it goes."""
    plugin = tmp_path / "largest.py"
    plugin.write_text(small.MEASURING_PLUGIN)
    small.enter(monkeypatch, small.TWO)
    return {"plugin": str(plugin), "bounds": ("largest_2026",)}, tmp_path / "card"


@pytest.mark.slow
def test_what_the_table_lacks_is_measured_by_retraining(made, retrained, monkeypatch):
    typed, out = retrained
    minutes = program.MINUTES["quick"]
    refused(out, "the group largest,", "--retrain", minutes, table=made, **typed)
    given = typed | {"retrain": True}
    train, measure = training.train, measuring.measure

    def interrupted(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(measuring, "measure", interrupted)
        with pytest.raises(KeyboardInterrupt):
            small.card(out, typed=given)
    assert not run_folder.RunFolder(out).is_finished
    assert not run_folder.RunFolder(out / "networks").is_finished
    more = given | {"bounds": ("largest_2026", "zhou_2019_code")}
    before = (out / "config.json").read_bytes()
    with pytest.raises(Refusal, match=r"not finished.*--resume it first"):
        small.card(out, typed=more, redraw=True)
    assert (out / "config.json").read_bytes() == before
    small.card(out, typed=given, resume=True)
    found = read(out)
    assert set(found["bounds"]) == {"largest_2026", *REFERENCES}
    assert found["made"]["networks"] == 2
    kept = table.read(out / "networks" / "table")
    assert all("largest/weight" in arrays for arrays in kept.measured)
    assert found["made"]["table_sha256"] == kept.about["sha256"]
    # What is there is gone on with: nothing is trained, and measured only if it is asked for.
    calls = []

    def counted(name, function):
        def call(these, *more):
            calls.extend([name] * bool(these))
            return function(these, *more)

        return call

    monkeypatch.setattr(training, "train", counted("train", train))
    monkeypatch.setattr(measuring, "measure", counted("measure", measure))
    small.card(out, typed=given, resume=True)
    small.card(out, typed=given | {"bounds": ("largest_2026", "params")}, redraw=True)
    assert not calls
    assert kept.about == table.read(out / "networks" / "table").about
    small.card(out, typed=more, redraw=True)
    assert "measure" in calls and "zhou_2019_code" in read(out)["bounds"]
    assert set(table.read(out / "networks" / "table").measured[0]) > set(
        kept.measured[0]
    )
    # It serves other cards.
    own = small.card(out.parent / "own", out / "networks", typed=typed)
    assert set(read(own)["bounds"]) == {"largest_2026", *REFERENCES}


def test_retraining_is_refused_before_anything_is_trained(
    tmp_path, monkeypatch, carded
):
    small.enter(monkeypatch, small.TWO)
    out = tmp_path / "card"
    refused(out, "--networks=", retrain=True, networks=(str(tmp_path),))
    refused(out, "--compare=", retrain=True, compare=str(tmp_path))
    with pytest.raises(Refusal, match="--retrain=true here, false there"):
        same = shutil.copytree(carded, tmp_path / "same")
        small.card(same, redraw=True, typed={"retrain": True})
    out.mkdir()
    with pytest.raises(Refusal, match="exists"):
        small.card(out, typed={"retrain": True})
    assert not list(out.iterdir())


def test_what_is_trained_is_of_the_same_suite_seed_and_data():
    typed = {
        "suite": "full", "seed": 3, "retrain": True, "data_dir": "a", "fashion_dir": "b",
        "bounds": ("params",),
    }  # fmt: skip
    config = settings_of(program.PROGRAM, None, typed=typed)
    found = program._of_make_table(config, config.bounds)
    for name in ("suite", "seed", "data_dir", "fashion_dir", "bounds"):
        assert getattr(found, name) == typed[name]


def test_the_command_refuses_in_one_line_with_exit_code_2(made, tmp_path):
    plugin = tmp_path / "largest.py"
    plugin.write_text(small.MEASURING_PLUGIN)
    out, there = f"--out={tmp_path}/card", copied(made, tmp_path / "there")
    path = there / "table.npz"
    path.write_bytes(path.read_bytes()[:1000])
    calls = {
        "not as it was written": [f"--table={there}", "--bounds=params"],
        "the group largest,": [
            f"--table={made}", f"--plugin={plugin}", "--bounds=largest_2026",
        ],
    }  # fmt: skip
    began = {
        words: tiny.program(out, *flags, name="report_card")
        for words, flags in calls.items()
    }
    for words, process in began.items():
        code, said, line = tiny.finish(process)
        assert code == 2 and not said, words
        assert line.startswith("report_card: ") and line.count("\n") == 1
        assert words in line
    assert not (tmp_path / "card").exists()


def test_a_folder_that_is_not_there_is_named_by_its_own_flag(tmp_path):
    """The problem that reads it calls it --data_dir."""
    config = settings_of(
        make_table.PROGRAM, None, typed={"fashion_dir": str(tmp_path / "none")}
    )
    with pytest.raises(Refusal, match=r"^--fashion_dir=.*none: no such folder"):
        make_table.study_of(config)
