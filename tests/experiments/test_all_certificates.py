"""`experiments.tools.certificates`: every preset of `certify`, side by side."""

import subprocess
import sys

import pytest

from experiments.lab import formats
from experiments.problems.images import Mnist
from experiments.tools import certificates
from tests.conftest import MNIST_SAMPLE
from tests.experiments.tiny import ROOT, finish, program

_TINY = {"size": 400, "architecture": "strided_cnn", "width": 2, "depth": 2, "batch_size": 50,
         "epochs": 1, "tried": 1}  # fmt: skip
PRESETS = {
    "given": _TINY | {"route": "surrogate", "unlabelled": "40"},
    certificates.GIVEN: _TINY | {"route": "single_draw", "prior_epochs": 2},
}


def row(**changes):
    return dict.fromkeys(certificates.COLUMNS) | {
        "problem": "mnist", "preset": "a", "route": "posterior", "speaks_of": "stochastic",
        "bound": "maurer_2004_kl_posterior", "certificate": 0.02, "counted": 0.01,
        "own_test_error": 0.011, "holdout_of_same_data": 0.015, "delta": 0.035, "tried": 1,
        "seconds": 3.0, "machine": "a machine",
        "is_rounded": False,
    } | changes  # fmt: skip


@pytest.mark.slow
def test_all_presets_are_run_and_shown(tmp_path, monkeypatch):
    """The given network is the one that was drawn; a second call trains nothing again."""
    monkeypatch.setitem(Mnist.presets, "certify", {
        name: {n: v for n, v in values.items() if n != "size" or name != "given"}
        for name, values in PRESETS.items()
    })  # fmt: skip
    folders = {"data_dir": str(MNIST_SAMPLE), "fashion_dir": None}
    every = list(certificates.presets(tmp_path, ["mnist"], folders))
    assert [one.name for one in every] == [certificates.GIVEN, "given"]
    for one in every:
        one.run()
    stamps = [(one.folder / "summary.json").stat().st_mtime_ns for one in every]
    for one in every:
        one.run()
    assert stamps == [(e.folder / "summary.json").stat().st_mtime_ns for e in every]
    rows = [found for one in every for found in certificates.rows_of(one)]
    assert [r["speaks_of"] for r in rows] == ["drawn", "trained"]
    own = formats.read_table(every[0].folder / "bounds.csv")
    quoted = next(r for r in own if r["bound"] == rows[0]["bound"])
    assert rows[0]["certificate"] == float(quoted["value"])
    certificates.write(tmp_path, rows)
    stored = formats.read_table(tmp_path / "certificates.csv")
    assert [r["preset"] for r in stored] == [one.name for one in every]
    assert "data:image/png" in (tmp_path / "report.html").read_text()
    assert (tmp_path / "figures" / "certificates.png").exists()


def test_what_a_hold_out_set_would_have_given_is_said():
    first, *_, last = certificates.answer([row()])
    assert "hold-out set the images promise 0.01500, of a network" in first
    assert "(that of preset a); below it: none." in first
    assert "0.02" in first and "is none" in last
    others = (
        row(preset="b", holdout_of_same_data=None),
        row(preset="c", certificate=0.01),
        # Below that of its own network, which had few images, and not below another's.
        row(preset="d", certificate=0.018, holdout_of_same_data=0.03),
    )
    first, _ = certificates.answer([row(), *others])
    assert "promise 0.01500" in first and "below it: c." in first
    first, second, _ = certificates.answer([row(), row(problem="other")])
    assert first.startswith("mnist: ") and second.startswith("other: ")
    first, _ = certificates.answer([others[0]])
    assert "hold-out" not in first


def test_the_note_says_what_is_paid_for():
    rows = [row(tried=16), row(tried=16), row(tried=4, preset="picks")]
    note = certificates.lines(rows)[-1]
    assert (
        "Each pays for a list of 16 settings, `picks` for 4. Times are of training."
        in note
    )


def test_certificates_are_rounded_up_in_the_table():
    (line,) = certificates.table([row(certificate=0.020001)]).rows
    assert float(line[3]) >= 0.020001


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        ([], "--out is missing"),
        pytest.param(
            ["--out=a", "--problems=mnist,x"],
            "--problems=x: must be some of mnist",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            ["--out=/nowhere/a", "--norun"],
            "no preset has been run there",
            marks=pytest.mark.slow,
        ),
        pytest.param(["b"], "b: not a flag", marks=pytest.mark.slow),
    ],
)
def test_what_cannot_be_is_one_line(typed, says):
    code, _, error = finish(program(*typed, name="tools.certificates"))
    assert code == 2 and says in error
    assert len(error.splitlines()) == 1


def test_rows_of_earlier_calls_stand_where_there_are_no_new_ones(tmp_path):
    """In the order of the presets; those of presets that there are no more are left out."""
    order = [
        certificates.Preset("mnist", name, tmp_path, {}) for name in ("c", "b", "a")
    ]
    earlier = [row(preset=name, seconds=1.0) for name in ("a", "b", "gone")]
    found = certificates.together([row(preset="b"), row(preset="c")], earlier, order)
    assert [(r["preset"], r["seconds"]) for r in found] == [
        ("c", 3.0),
        ("b", 3.0),
        ("a", 1.0),
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("typed", "says"),
    [
        (["--presets=none_such"], "--presets=none_such: must be some of"),
        (["--rows={rows}"], "not the rows of certificates"),
        (["--fashion_dir=none"], "--fashion_dir=none: no such folder"),
    ],
)
def test_what_names_no_rows_is_refused_in_one_line(tmp_path, typed, says):
    rows = tmp_path / "rows.json"
    rows.write_text('[{"problem": "mnist"}]')
    command = [sys.executable, "-m", "experiments.tools.certificates", "--norun"]
    asked = [one.format(rows=rows) for one in typed]
    done = subprocess.run(
        [*command, f"--out={tmp_path}", *asked],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2 and says in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_the_rows_that_are_kept_are_those_of_the_table():
    kept = formats.read_json(ROOT / "experiments" / "gallery" / "certificates.json")
    text = (ROOT / "experiments" / "README.md").read_text()
    assert all(line in text for line in certificates.lines(kept))
