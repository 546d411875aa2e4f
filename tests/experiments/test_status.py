"""Another shell sees how far a run folder is: begun, under way, stopped, finished."""

import json
import subprocess
import sys
import tempfile
import time
import types
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from experiments.lab import locks
from experiments.lab.progress import Progress
from experiments.lab.run_folder import RunFolder
from experiments.lab.shards import Shard
from experiments.status.__main__ import UNKNOWN, lines, main
from tests.experiments.tiny import TINY

ROOT = Path(__file__).parents[2]


@pytest.fixture
def begun(tmp_path):
    """A folder that this process works on."""
    with RunFolder.create(tmp_path / "out", "bounds_vs_samples", TINY, None) as folder:
        yield folder


def test_begun_under_way_and_stopped(begun):
    out = str(begun.path)
    assert lines(out) == [f"{out}: bounds_vs_samples, begun"]
    state = {
        "doing": "training", "all": 12, "done": 5, "left": 125.0, "at": time.time(),
        "running": [{"run": "m16_seed0", "epoch": 7, "margin_error": 0.25}, {"run": "m32_seed0", "epoch": 1}],
    }  # fmt: skip
    begun.progress.parent.mkdir(parents=True, exist_ok=True)
    begun.progress.write_text(json.dumps(state))
    # Another process asks: the lock is this one's.
    command = [sys.executable, "-m", "experiments.status", out]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    head, first, second = said.stdout.splitlines()
    assert head.startswith(
        f"{out}: bounds_vs_samples, training: 5 of 12 done, 2 under way, 5 wait; about 2:05 left"
    )
    assert first == "  m16_seed0: epoch 7, margin error 0.250"
    assert second == "  m32_seed0: epoch 1"
    begun.close()
    (only,) = lines(out)
    assert "5 of 12 done, 7 wait; stopped" in only and "--resume goes on" in only


def test_of_a_folder_that_cannot_be_asked_it_says_so(begun, monkeypatch):
    """Of somebody else's, say: what is known is when its process last wrote, by that one's clock."""
    monkeypatch.setattr(locks, "is_held", lambda path: None)
    out = str(begun.path)
    assert lines(out) == [f"{out}: bounds_vs_samples, begun; {UNKNOWN}"]
    begun.progress.parent.mkdir(parents=True, exist_ok=True)
    state = {"doing": "training", "all": 3, "done": 1, "left": None, "running": []}
    state["at"] = time.time() + 115
    begun.progress.write_text(json.dumps(state))
    (line,) = lines(out)
    assert line.endswith(f"1 of 3 done, 2 wait, 0:00 ago; {UNKNOWN}")


def test_a_lock_is_seen_where_nothing_may_be_written():
    """By a process that may only read; root is stopped by no permission, so it becomes another."""
    script = (
        "import os, pathlib, sys; from experiments.lab import locks;"
        "os.setuid(65534) if os.getuid() == 0 else None;"
        "print(locks.is_held(pathlib.Path(sys.argv[1])))"
    )
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        path = Path(folder) / ".lock"
        assert locks.is_held(path) is False and not path.exists()
        with locks.lock_on(path, 0):
            path.chmod(0o444)
            command = [sys.executable, "-c", script, path]
            found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        assert found.stdout == "True\n", found.stderr
        assert locks.is_held(path) is False


def test_shards_are_named_where_the_whole_is_not_there_yet(tmp_path, capsys):
    out = tmp_path / "whole"
    with RunFolder.create(Shard(2, 3).folder(out), "bounds_vs_samples", TINY, None):
        line, lacking = lines(str(out))
    assert line == f"{out}.shard2of3: bounds_vs_samples, begun"
    assert lacking == f"{out}: not begun: shard 1/3, 3/3"
    with pytest.raises(SystemExit) as ended:
        main([str(tmp_path / "nowhere"), str(out), str(tmp_path / "elsewhere")])
    said = capsys.readouterr()
    assert ended.value.code == 2 and "whole.shard2of3: bounds_vs_samples" in said.out
    assert "nowhere: no run folder" in said.err and "elsewhere: no run" in said.err


def test_progress_counts_what_is_done(tmp_path):
    path = tmp_path / "progress.json"
    with Progress(path) as progress:
        progress.begin_measuring(10, 8)
        assert json.loads(path.read_text())["done"] == 2
        progress._written = -1e9  # as if some seconds had passed
        progress.measured(3)
        state = json.loads(path.read_text())
    assert (state["doing"], state["all"], state["done"]) == ("measuring", 10, 5)
    assert state["left"] >= 0


class Sized(NamedTuple):
    """What progress asks of a run."""

    name: str
    size: int


def test_epochs_of_before_count_after_a_resume(tmp_path):
    """Of two runs of 100 examples that were 200 epochs on, one ends after 10 more."""
    path = tmp_path / "progress.json"
    a, b, c = (Sized(name, 100) for name in "abc")
    checks = np.ones((10, 1))
    tick = types.SimpleNamespace(
        checks={a: checks, b: checks}, finished={a: 0}, running=[b]
    )
    with Progress(path) as progress:
        progress.begin_training([a, b, c], [a, b, c])
        for _ in range(2):  # the second time where a first pool did not fit
            progress.begins(a, 200)
            progress.begins(b, 200)
        progress._began, progress._written = time.monotonic() - 20, -1e9
        progress.trained(tick)
        state = json.loads(path.read_text())
    assert state["running"] == [{"run": "b", "epoch": 210, "margin_error": 1.0}]
    # 20 epochs took 20 s; 210 of c are left, and one at least of b.
    assert state["left"] == pytest.approx(211, rel=0.02)


def test_that_it_cannot_be_written_stops_nothing(tmp_path):
    (tmp_path / "file").touch()
    with Progress(tmp_path / "file" / "progress.json") as progress:
        progress.begin_measuring(2, 2)
        progress.measured(1)


@pytest.mark.parametrize(
    "argv, said",
    [
        ([], "no folder"),
        (["--out=x"], "--out=x: not a flag"),
        (["nowhere"], "nowhere: no run folder; name one"),
    ],
)
def test_what_is_no_folder_is_refused_in_a_line(argv, said, capsys):
    with pytest.raises(SystemExit) as ended:
        main(argv)
    error = capsys.readouterr().err
    assert ended.value.code == 2 and said in error and error.count("\n") == 1


def test_a_reader_that_has_seen_enough_ends_it_quietly(begun):
    """As `| head -1` does: the pipe is closed before all is written."""
    command = [sys.executable, "-m", "experiments.status", *[str(begun.path)] * 400]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        process.stdout.close()
        complaint = process.stderr.read()
    assert (process.returncode, complaint) == (0, b"")
