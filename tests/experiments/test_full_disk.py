"""What the system will not have written: one line, nothing half-written, and it goes on later."""

import contextlib
import dataclasses
import errno
import os
import resource
import shlex
import subprocess
import sys

import jax
import numpy as np
import pytest

from experiments.lab import (
    checkpoints,
    checksums,
    formats,
    refusals,
    report,
    run_folder,
    versions,
)
from experiments.lab import running as lab
from experiments.lab.refusals import Refusal
from experiments.lab.shards import Shard
from tests.experiments.tiny import ROOT, TINY, TINY_FLAGS, finish, program, run

CONFIG = dataclasses.replace(
    TINY, sizes=(32,), seeds=1, draws=1, bounds=("bartlett_2017",)
)


@contextlib.contextmanager
def no_file_larger_than(size):
    """As `ulimit -f` does; the system itself says EFBIG."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


NOISE = np.random.default_rng(0).standard_normal(1000)
WRITERS = {
    "a.json": lambda path: formats.write_json(path, {"a": "x" * 4000}),
    "a.npz": lambda path: formats.write_arrays(path, {"a": NOISE}),
    "a.safetensors": lambda path: formats.write_tensors(path, {"a": NOISE}),
    "a.csv": lambda path: formats.write_table(path, ["a"], [{"a": "x" * 4000}]),
    "report.html": lambda path: report.write(path.parent, "x" * 4000, []),
}


def names(folder):
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*"))


@pytest.mark.parametrize("name", WRITERS)
def test_a_file_that_is_too_large_leaves_the_old_one(name, tmp_path):
    (tmp_path / checksums.LOG).touch()
    path = tmp_path / name
    path.write_text("old")
    before = names(tmp_path)
    with no_file_larger_than(2000), pytest.raises(Refusal) as caught:
        WRITERS[name](path)
    line = str(caught.value)
    assert "cannot be written (File too large)" in line and "\n" not in line
    assert str(path.parent) in line
    assert names(tmp_path) == before and path.read_text() == "old"


def test_a_log_that_cannot_grow_leaves_the_old_file(tmp_path):
    """It is the log that is full: the file is not renamed, so the two agree."""
    log = tmp_path / checksums.LOG
    log.touch()
    path = tmp_path / "a.json"
    formats.write_json(path, {"a": 1})
    with open(log, "a") as file:
        file.write("".join(f"{'0' * 64}  b{n}\n" for n in range(40)))
    with no_file_larger_than(log.stat().st_size + 20), pytest.raises(Refusal):
        formats.write_json(path, {"a": 2})
    assert formats.read_json(path) == {"a": 1}
    formats.write_json(path, {"a": 2})  # after the line that was cut short
    assert formats.read_json(path) == {"a": 2}
    assert names(tmp_path) == ["a.json", checksums.LOG]


def test_a_checkpoint_that_is_too_large_leaves_the_old_one(tmp_path, capfd):
    """Orbax logs and raises it in threads of its own; it is said once."""
    small = {"a": {"x": np.arange(3.0)}}
    checkpoints.save(tmp_path, small)
    before = names(tmp_path)
    with no_file_larger_than(1000), pytest.raises(Refusal) as caught:
        checkpoints.save(tmp_path, {"a": {"x": NOISE}})
    assert "no checkpoint can be written (File too large)" in str(caught.value)
    assert "\n" not in str(caught.value) and not capfd.readouterr().err
    assert names(tmp_path) == before
    found = checkpoints.restore(tmp_path, lambda name: {"x": 0})
    jax.tree.map(np.testing.assert_array_equal, found, small)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO])
def test_whatever_the_system_says_is_passed_on(tmp_path, monkeypatch, number):
    def fails(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(checksums.os, "replace", fails)
    with pytest.raises(
        Refusal, match=rf"a\.json: cannot be written \({os.strerror(number)}\)"
    ):
        formats.write_json(tmp_path / "a.json", {})
    assert not names(tmp_path)


def test_an_error_of_ours_is_not_taken_for_the_system_s():
    for error in (
        KeyError("a"),
        FileNotFoundError(errno.ENOENT, "a"),
        ValueError("full"),
    ):
        assert refusals.why_not_written(error) is None
    deep = ValueError("No space left on device [os_error_code='28']")
    try:
        try:
            raise deep
        except ValueError as error:
            raise RuntimeError("a thread failed") from error
    except RuntimeError as error:
        assert refusals.why_not_written(error) == "No space left on device"


def raised(*errors, explicit=True):
    """The last of errors, each raised over the one before."""
    before = None
    for error in errors:
        try:
            try:
                if before is not None:
                    raise before
            except type(before) as cause:
                if explicit:
                    raise error from cause
                raise error  # noqa: B904
            raise error
        except type(error) as caught:
            before = caught
    return before


@pytest.mark.parametrize("explicit", [True, False])
def test_the_system_s_number_is_found_under_whatever_was_raised_over_it(explicit):
    """The words are another language's, or none: only the number tells."""
    full = OSError(errno.ENOSPC, "kein Speicherplatz")
    over = raised(
        full, ValueError("a writer failed"), RuntimeError("x"), explicit=explicit
    )
    assert refusals.why_not_written(over) == "No space left on device"
    group = ExceptionGroup("writers", [ValueError("one"), over])
    assert refusals.why_not_written(group) == "No space left on device"
    # The number goes before words of something else.
    both = raised(OSError(errno.EDQUOT, "x"), RuntimeError("No space left on device"))
    assert refusals.why_not_written(both) == os.strerror(errno.EDQUOT)
    denied = raised(
        PermissionError(errno.EACCES, "x"), RuntimeError("y"), explicit=explicit
    )
    # One who was not let in while something else was looked for may have gone on.
    expected = "Permission denied" if explicit else None
    assert refusals.why_not_written(denied) == expected
    lost = raised(FileNotFoundError(errno.ENOENT, "x"), RuntimeError("y"))
    assert refusals.why_not_written(lost) is None


def test_errors_that_came_from_each_other_end():
    one, other = ValueError("one"), ValueError("other")
    one.__cause__, other.__cause__ = other, one
    assert refusals.why_not_written(one) is None


def test_a_folder_that_may_not_be_written_is_refused(tmp_path, monkeypatch):
    """Tests may run as root, whom no permission stops: the lock is what is refused."""

    def fails(*_, **__):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    run_folder.RunFolder.create(tmp_path / "a", "x", CONFIG, None).close()
    before = names(tmp_path)
    monkeypatch.setattr(run_folder.filelock.FileLock, "acquire", fails)
    with pytest.raises(Refusal, match="no permission to write there"):
        run_folder.RunFolder.resume(tmp_path / "a", "x", CONFIG, None)
    with pytest.raises(Refusal):
        run_folder.RunFolder.create(tmp_path / "b", "x", CONFIG, None)
    assert names(tmp_path) == before


def test_weights_for_which_there_is_no_room_are_refused_beforehand(
    tmp_path, monkeypatch
):
    usage = type(lab.shutil.disk_usage("/"))(10**9, 10**9 - 3000, 3000)
    monkeypatch.setattr(lab.shutil, "disk_usage", lambda _: usage)
    config = dataclasses.replace(CONFIG, save_weights=True)
    # 10 x 30 + 30 x 2 weights and 30 + 2 biases, initial and learned, 4 bytes each
    with pytest.raises(Refusal, match=r"1 runs take 3\.14 kB.*--save_weights=false"):
        run(config, tmp_path / "a")
    assert not names(tmp_path)


def test_weights_of_shards_that_are_there_need_no_room_again(tmp_path, monkeypatch):
    config = dataclasses.replace(CONFIG, save_weights=True, seeds=2)
    for index in (1, 2):
        run(config, tmp_path / "a", shard=Shard(index, 2))
    usage = type(lab.shutil.disk_usage("/"))(10**9, 10**9 - 3000, 3000)
    monkeypatch.setattr(lab.shutil, "disk_usage", lambda _: usage)
    assert run(config, tmp_path / "a").is_finished


@pytest.mark.slow
def test_a_full_disk_is_one_line_and_the_run_goes_on_later(tmp_path):
    """The first file that is too large is a checkpoint, or what was measured."""
    out = tmp_path / "a"
    # One bound: XLA says on stderr if it compiles for minutes, as it may for all beside other work.
    flags = [*TINY_FLAGS, "--bounds=neyshabur_2018", f"--out={out}", "--devices=2"]
    command = shlex.join(
        [sys.executable, "-m", "experiments.bounds_vs_samples", *flags]
    )
    done = subprocess.run(
        ["bash", "-c", f"ulimit -f 6; exec {command}"],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert "File too large" in done.stderr and done.stderr.count("\n") == 1, done.stderr
    assert not [p for p in out.rglob("*") if p.name.startswith((".a", ".m", "saving"))]
    code, printed, errors = finish(program(f"--out={out}", "--resume", "--devices=2"))
    assert code == 0 and "8 of 8 runs" in printed, errors


def test_asking_git_never_locks_the_repository(monkeypatch):
    """`git status` refreshes the index: cut short, it left index.lock in the way of commits."""
    asked, original = [], subprocess.run

    def noted(command, **options):
        asked.append(command)
        return original(command, **options)

    monkeypatch.setattr(versions.subprocess, "run", noted)
    versions.versions.__wrapped__()  # asked anew
    assert len(asked) == 2 and all("--no-optional-locks" in c for c in asked)


def test_no_view_of_a_buffer_outlives_a_write_that_failed(tmp_path, monkeypatch):
    """In a traceback it would be garbage that Python 3.12.1 crashes on."""
    written = []

    def full(self, data):
        written.append(data)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(type(tmp_path), "write_bytes", full)
    with pytest.raises((OSError, Refusal)):
        formats.write_arrays(tmp_path / "a.npz", {"x": np.ones(3)})
    assert [type(data) for data in written] == [bytes]
