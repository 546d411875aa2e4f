"""One bit of a run folder flips, or a file is lost: refused by name, or made again; never used."""

import dataclasses
import hashlib
import io
import json
import os
import shutil
import subprocess
import tracemalloc
import zipfile

import jax
import numpy as np
import pytest

from experiments import evaluate
from experiments.lab import (
    checkpoints,
    checksums,
    formats,
    measuring,
    run_folder,
    training,
)
from experiments.lab import running as lab
from experiments.lab.calls import settings_of
from experiments.lab.reading import array_files
from experiments.lab.refusals import Refusal
from tests.experiments.tiny import TINY, content, run, undrawn

CONFIG = dataclasses.replace(
    TINY, sizes=(32,), seeds=1, draws=1, bounds=("bartlett_2017",)
)
RUN = "m32_seed0_draw0"
KINDS = {
    "config.json": "config.json",
    "versions.json": "versions.json",
    "summary.json": "summary.json",
    "results.csv": "results.csv",
    "bounds.csv": "bounds.csv",
    "report.html": "report.html",
    "report.md": "report.md",
    "figure": "figures/*.png",
    "measured": f"measured/{RUN}.npz",
    "samples": f"samples/{RUN}.npz",
    "weights": f"weights/{RUN}.safetensors",
}
DERIVED = (
    "summary.json",
    "results.csv",
    "bounds.csv",
    "report.html",
    "report.md",
    "figure",
)


def flip(path, place):
    """One bit of a file, at a share of its length."""
    raw = bytearray(path.read_bytes())
    raw[min(int(place * len(raw)), len(raw) - 1)] ^= 4
    path.write_bytes(raw)


def files(folder):
    return {
        p.relative_to(folder).as_posix(): p.read_bytes()
        for p in folder.rglob("*")
        if p.is_file()
    }


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    out = tmp_path_factory.mktemp("damage") / "finished"
    with undrawn():
        run(CONFIG, out)
    return out


@pytest.fixture
def folder(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / "a")


@pytest.fixture(scope="module")
def trained_only(tmp_path_factory):
    """Killed when all is trained and nothing measured."""
    out = tmp_path_factory.mktemp("damage") / "trained"
    with pytest.MonkeyPatch.context() as patch, pytest.raises(TypeError):
        patch.setattr(measuring, "measure", None)
        run(CONFIG, out)
    return out


def no_training(monkeypatch):
    monkeypatch.setattr(training, "train_many", None)  # would raise


def the_file(folder, kind):
    return min(folder.glob(KINDS[kind]))


def test_the_log_is_one_that_sha256sum_checks(finished):
    done = subprocess.run(
        ["sha256sum", "--strict", "-c", checksums.LOG], cwd=finished, capture_output=True
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    named = {
        line.split("  ")[1]
        for line in (finished / checksums.LOG).read_text().splitlines()
    }
    assert named == set(files(finished)) - {checksums.LOG, ".lock"}


@pytest.mark.parametrize("place", [0, 0.37, 1])
@pytest.mark.parametrize("kind", KINDS)
def test_a_finished_file_with_a_flipped_bit_is_refused_by_name(folder, kind, place):
    path = the_file(folder, kind)
    flip(path, place)
    before = files(folder)
    with pytest.raises(Refusal) as caught:
        run(CONFIG, folder, resume=True)
    line = str(caught.value)
    assert str(path) in line and "damaged" in line and "\n" not in line
    assert ("delete it" in line) == (kind != "config.json")
    assert files(folder) == before


LOST = {
    "all but the weights": [k for k in KINDS if k not in ("config.json", "weights")],
    "the weights": ["weights"],
    "a table": ["bounds.csv"],
}


@pytest.mark.parametrize("which", LOST)
def test_what_is_deleted_is_made_again(folder, finished, which, monkeypatch, capsys):
    if which != "the weights":
        no_training(monkeypatch)
    stored = formats.read_tensors(the_file(finished, "weights"))
    paths = [the_file(folder, kind) for kind in LOST[which]]
    for path in paths:
        path.unlink()
    run(CONFIG, folder, resume=True)
    if (
        folder / "report.html" not in paths
    ):  # it is written last: without it, unfinished
        assert "is gone" in capsys.readouterr().err
    assert all(path.exists() for path in paths)
    assert content(folder) == content(finished)
    again = formats.read_tensors(the_file(folder, "weights"))
    stored.pop("seconds"), again.pop("seconds")
    jax.tree.map(np.testing.assert_array_equal, stored, again)
    monkeypatch.setattr(lab, "_write", None)  # would raise: it is finished again
    run(CONFIG, folder, resume=True)


def test_redraw_writes_tables_anew(folder, finished):
    for kind in DERIVED:
        flip(the_file(folder, kind), 0.6)
    run(CONFIG, folder, redraw=True)
    assert content(folder) == content(finished)
    assert the_file(folder, "summary.json").read_bytes() == (
        the_file(finished, "summary.json").read_bytes()
    )


@pytest.mark.parametrize("kind", [k for k in KINDS if k not in DERIVED])
def test_redraw_refuses_what_it_reads(folder, kind):
    flip(the_file(folder, kind), 0.6)
    with pytest.raises(Refusal, match=f"{the_file(folder, kind)}: damaged"):
        run(CONFIG, folder, redraw=True)
    assert (folder / "report.html").exists()  # as it was


@pytest.mark.parametrize("kind", ["config.json", "measured", "samples", "weights"])
def test_evaluate_refuses_what_it_reads_from_a_folder(folder, kind, tmp_path):
    path = the_file(folder, kind)
    # Of the weights a bit of the last number: it is still a network.
    flip(path, 1 if kind == "weights" else 0.6)
    config = settings_of(
        evaluate.PROGRAM, None,
        typed={"weights": f"{folder}/weights/*", "bounds": ("bartlett_2017",)},
    )  # fmt: skip
    with pytest.raises(Refusal, match=f"{path}: damaged"):
        run(config, tmp_path / "out", evaluate.PROGRAM)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", ["samples", "weights"])
def test_what_is_given_by_its_path_is_checked_where_it_lies_in_a_run_folder(
    folder, kind, tmp_path
):
    """`--weights` beside `--data`, `--train_indices`: they need not know the folder."""
    path = the_file(folder, kind)
    whole = array_files.read(path)
    stranger = shutil.copy(
        path, path.with_stem("mine")
    )  # of which the log knows nothing
    flip(path, 1 if kind == "weights" else 0.6)
    with pytest.raises(checksums.Damaged, match=f"{path}: damaged"):
        array_files.read(path)
    for other in (stranger, shutil.copy(stranger, tmp_path / path.name)):
        assert array_files.read(other).keys() == whole.keys()


def test_a_text_file_of_a_run_folder_is_checked(folder):
    path = folder / "indices.txt"
    path.write_text("1 2 3")
    assert array_files.read_numbers(path).tolist() == [1, 2, 3]
    checksums.append(folder / checksums.LOG, f"{'0' * 64}  indices.txt\n")
    with pytest.raises(checksums.Damaged):
        array_files.read_numbers(path)


def test_a_damaged_log_is_never_believed(folder, finished, monkeypatch):
    """Any bit of it: some file is refused by name, and its remedy works.

    Where the bit is in the name of a table or figure, it is made again.
    """
    log = (folder / checksums.LOG).read_bytes()
    rng = np.random.default_rng(0)
    for place in rng.integers(0, len(log) * 8, 40):
        raw = bytearray(log)
        raw[place // 8] ^= 1 << (place % 8)
        (folder / checksums.LOG).write_bytes(raw)
        with monkeypatch.context() as patch, pytest.raises((Refusal, TypeError)):
            patch.setattr(lab, "_train_and_measure", None)
            run(CONFIG, folder, resume=True)
        shutil.copytree(finished, folder, dirs_exist_ok=True)
    lines = log.decode().splitlines(keepends=True)
    at = next(n for n, line in enumerate(lines) if "measured/" in line)
    lines[at] = "0" + lines[at][1:] if lines[at][0] != "0" else "1" + lines[at][1:]
    (folder / checksums.LOG).write_text("".join(lines))
    path = the_file(folder, "measured")
    with pytest.raises(checksums.Damaged, match=str(path)):
        run(CONFIG, folder, resume=True)
    path.unlink()
    run(CONFIG, folder, resume=True)
    assert content(folder) == content(finished)


def test_an_unfinished_piece_is_done_again_and_a_line_says_so(
    trained_only, finished, tmp_path, capsys
):
    folder = shutil.copytree(trained_only, tmp_path / "a")
    paths = [
        folder / f"checkpoints/trained/{RUN}.safetensors", the_file(folder, "samples"),
        folder / "versions.json",
    ]  # fmt: skip
    for path in paths:
        flip(path, 0.9)
    run(CONFIG, folder, resume=True)
    lines = capsys.readouterr().err.splitlines()
    for path in paths:
        (line,) = [one for one in lines if str(path) in one]
        assert "damaged" in line and "made again" in line
    assert content(folder) == content(finished)


def test_killed_between_the_log_and_the_file(tmp_path):
    """The old file stands with its own line; a line that was cut short costs nothing."""
    (tmp_path / checksums.LOG).touch()
    path = tmp_path / "summary.json"
    formats.write_json(path, {"a": 1})
    log = tmp_path / checksums.LOG
    with open(log, "a") as file:
        file.write(f"{hashlib.sha256(b'new').hexdigest()}  summary.json\n")
    assert formats.read_json(path) == {"a": 1}
    with open(log, "a") as file:
        file.write("0123456789  summ")
    assert formats.read_json(path) == {"a": 1}
    formats.write_json(path, {"a": 2})
    assert formats.read_json(path) == {"a": 2}
    path.write_text(path.read_text().replace("2", "3"))
    with pytest.raises(checksums.Damaged):
        formats.read_json(path)


def test_a_tidied_log_keeps_the_line_of_the_file_that_is_there(tmp_path):
    """The last line may be of a file that a kill kept from taking its place."""
    log, path = tmp_path / checksums.LOG, tmp_path / "config.json"
    log.touch()
    formats.write_json(path, {"a": 1})
    its = log.read_text()
    with open(log, "a") as file:
        file.write(f"{hashlib.sha256(b'new').hexdigest()}  config.json\n")
    run_folder.RunFolder(tmp_path).tidy_log()
    assert formats.read_json(path) == {"a": 1} and log.read_text() == its


def test_a_folder_from_before_there_were_checksums(folder, finished, capsys):
    (folder / checksums.LOG).unlink()
    run(CONFIG, folder, redraw=True)
    assert "before run folders had checksums" in capsys.readouterr().err
    assert content(folder) == content(finished)
    path = the_file(folder, "measured")
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(Refusal, match=rf"{path}: cannot be read \(BadZipFile\)"):
        run(dataclasses.replace(CONFIG, save_weights=True), folder, redraw=True)


TREES = {"a": {"checks": np.zeros((0, 3), np.float32), "x": np.arange(300.0)}}


def test_a_damaged_checkpoint_never_wedges_a_folder(tmp_path, capsys):
    """Whichever of its files, wherever: its runs begin again, or from the one before it."""
    source = tmp_path / "source"
    checkpoints.save(source, TREES)
    names = [p.relative_to(source) for p in source.rglob("*") if p.is_file()]
    assert len(names) > 3

    def like(_):
        return {"checks": 0, "x": 0}

    for number, name in enumerate(names):
        for place in (0, 0.5, 1):
            folder = shutil.copytree(source, tmp_path / f"{number}_{place}")
            flip(folder / name, place)
            with pytest.raises(Refusal, match="damaged"):
                checkpoints.read_all(folder)  # who only reads is told
            assert checkpoints.restore(folder, like) == {}
            err = capsys.readouterr().err
            assert "damaged" in err and err.count("\n") == 1
            assert (
                checkpoints.restore(folder, like) == {} and not capsys.readouterr().err
            )
    older = {"a": TREES["a"] | {"x": np.arange(300.0) + 1}}
    shutil.rmtree(source / "0")
    checkpoints.save(source, older)
    shutil.copytree(source / "0", tmp_path / "0")
    checkpoints.save(source, TREES)
    (tmp_path / "0").rename(source / "0")  # killed before it was removed
    flip(
        max(
            (source / "1").rglob("*.zarray"),
            default=source / "1" / checkpoints._DIGESTS,
        ),
        0,
    )
    found = checkpoints.restore(source, like)
    np.testing.assert_array_equal(found["a"]["x"], older["a"]["x"])
    checkpoints.save(source, TREES)
    assert [p.name for p in source.iterdir()] == ["1"]


def test_a_checkpoint_of_another_structure_begins_again(tmp_path, capsys):
    checkpoints.save(tmp_path / "c", TREES)
    assert checkpoints.restore(tmp_path / "c", lambda name: {"y": 0}) == {}
    assert "another version" in capsys.readouterr().err


def test_nothing_outside_of_the_folder_is_removed(trained_only, tmp_path):
    """Neither what a log names nor what a link leads to."""
    folder = shutil.copytree(trained_only, tmp_path / "a")
    mine = tmp_path / "mine.txt"
    mine.write_text("precious")
    with open(folder / checksums.LOG, "a") as file:
        file.write(f"{'0' * 64}  ../mine.txt\n")
    with pytest.raises(Refusal, match="leads out of the run folder"):
        run(CONFIG, folder, resume=True)
    folder = shutil.copytree(trained_only, tmp_path / "b")
    other = tmp_path / "other"
    other.mkdir()
    (other / "mine.npz").write_text("precious")
    os.symlink(other, folder / "weights")
    with pytest.raises(Refusal, match="leads out of the run folder"):
        run(CONFIG, folder, resume=True)
    assert mine.exists() and (other / "mine.npz").exists()


@pytest.mark.parametrize("place", ["figures", "measured"])
def test_nothing_is_written_where_a_link_leads(folder, tmp_path, place):
    other = tmp_path / "other"
    shutil.move(folder / place, other)
    os.symlink(other, folder / place)
    before = files(other)
    with pytest.raises(Refusal, match=f"{place}: leads out of the run folder"):
        run(CONFIG, folder, redraw=True)
    assert files(other) == before


def test_a_lock_that_is_a_link_is_refused(folder, tmp_path):
    (folder / ".lock").unlink(missing_ok=True)
    os.symlink(tmp_path / "nowhere", folder / ".lock")
    with pytest.raises(Refusal, match=r"\.lock: is a link"):
        run(CONFIG, folder, redraw=True)
    assert not (tmp_path / "nowhere").exists()


def test_an_archive_made_to_fill_the_memory_is_not_unpacked(tmp_path):
    path = tmp_path / "a.npz"
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("x.npy", "w", force_zip64=True) as file,
    ):
        for _ in range(300):
            file.write(bytes(2**20))
    assert path.stat().st_size < 2**20
    tracemalloc.start()
    with pytest.raises(
        Refusal, match=f"{path.name}: unpacks from .* as no file of ours"
    ):
        formats.read_arrays(path)
    assert tracemalloc.get_traced_memory()[1] < 2**22
    tracemalloc.stop()


def test_arrays_are_read_as_they_were_written(tmp_path):
    written = {
        "none": np.zeros((0, 3)), "word": np.array("äh"), "no words": np.array([], "U5"),
        "empty": np.array(""), "truth": np.array(True), "half": np.array([[1.5]], np.float16),
        "columns": np.asfortranarray(np.arange(6.0).reshape(2, 3)), "big": np.arange(3, dtype=">i4"),
        "a/b": np.array([np.nan, -0.0, np.inf]), "alike": np.array([1.0, 2.0, 3.0]),
    }  # fmt: skip
    formats.write_arrays(tmp_path / "a.npz", written)
    found = formats.read_arrays(tmp_path / "a.npz")
    assert list(found) == list(written)
    with np.load(tmp_path / "a.npz") as by_numpy:
        for name, array in found.items():
            assert (array.dtype, array.shape) == (
                written[name].dtype,
                written[name].shape,
            )
            assert (
                array.tobytes() == by_numpy[name].tobytes() == written[name].tobytes()
            )
            array.fill(0)  # it is the caller's
    (one,) = formats.read_arrays(tmp_path / "a.npz", lambda name: name == "big").items()
    assert one[0] == "big" and one[1].tolist() == [0, 1, 2]


@pytest.mark.parametrize("fault", ["objects", "records", "short", "no header"])
def test_arrays_that_are_not_ours_are_refused(tmp_path, fault):
    content = io.BytesIO()
    if fault == "objects":
        np.save(content, np.array([{}], object), allow_pickle=True)
    elif fault == "records":
        with pytest.warns(UserWarning, match="2.0"):
            np.save(content, np.zeros(1, [("x" * 70000, "f8")]))
    elif fault != "no header":
        np.save(content, np.zeros(5))
    raw = content.getvalue()
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("x.npy", raw[:-8] if fault == "short" else raw)
    with pytest.raises(
        Refusal, match=r"a\.npz: .*; delete it and --resume makes it again"
    ):
        formats.read_arrays(tmp_path / "a.npz")


def test_weights_of_another_network_than_the_settings_say(folder):
    path = folder / "config.json"
    changed = json.loads(path.read_bytes())
    changed["settings"]["width"] += 1
    formats.write_json(path, changed)
    config = dataclasses.replace(CONFIG, width=CONFIG.width + 1)
    with pytest.raises(Refusal, match="is of another network"):
        run(config, folder, redraw=True)


def test_a_name_that_is_too_long_is_one_line(tmp_path):
    with pytest.raises(Refusal, match="cannot be made"):
        run(CONFIG, tmp_path / ("a" * 300))
