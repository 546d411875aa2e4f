"""Several processes at once: their tables are one's, and none outlives the death of another."""

import csv
import dataclasses
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import jax
import pytest

from experiments.lab import hosts
from experiments.lab.refusals import Refusal
from experiments.lab.shards import Shard
from tests.experiments.test_command_line import ENDLESS
from tests.experiments.tiny import CACHE, ROOT, TINY, TINY_FLAGS, finish, program, run

# The others are given up after so many seconds, not forty.
SILENT = 8
CODE = (
    "import sys\n"
    "from experiments.lab import hosts\n"
    f"hosts.SILENT_SECONDS, hosts.BEAT_SECONDS = {SILENT}, 0.5\n"
    "sys.argv[0] = 'bounds_vs_samples'\n"
    "from experiments.bounds_vs_samples.__main__ import main\n"
    "main()\n"
)


def flags(out, count):
    """Of each of `count` processes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    return [
        (f"--out={out}", "--multihost", f"--coordinator={address}", f"--process={i + 1}/{count}")
        for i in range(count)
    ]  # fmt: skip


def started(out, count, *given):
    """`count` processes of one cluster, which give others up soon."""
    return [
        subprocess.Popen(
            [sys.executable, "-c", CODE, *given, *own], cwd=ROOT, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ | CACHE,
        )
        for own in flags(out, count)
    ]  # fmt: skip


def ended(process):
    """Exit code, stdout and stderr of one of them."""
    printed, errors = process.communicate(timeout=300)
    return process.returncode, printed, errors


def table(path):
    with path.open() as file:
        return [
            {k: v for k, v in row.items() if "seconds" not in k}
            for row in csv.DictReader(file)
        ]


def left_beside(out):
    return sorted(path.name for path in out.parent.iterdir() if path != out)


def test_two_processes_have_one_s_tables(tmp_path):
    out, whole = tmp_path / "together" / "a", tmp_path / "whole"
    out.parent.mkdir()
    # The whole first: what it compiles is there for the others.
    run(dataclasses.replace(TINY, bounds=("neyshabur_2018",)), whole)
    given = (*TINY_FLAGS, "--bounds=neyshabur_2018", "--devices=2")
    first, second = (program(*given, *own) for own in flags(out, 2))
    code, printed, errors = finish(second)
    assert code == 0 and "shard 2/2 is done" in printed, errors
    code, printed, errors = finish(first)
    assert code == 0 and f"Report: {out / 'report.html'}" in printed, errors
    for name in ("results", "bounds"):
        assert table(out / f"{name}.csv") == table(whole / f"{name}.csv") != []
    assert left_beside(out) == []


@pytest.mark.slow
def test_who_dies_ends_the_others_and_any_number_goes_on(tmp_path):
    out, whole = tmp_path / "together" / "a", tmp_path / "whole"
    out.parent.mkdir()
    given = (*(flag for flag in TINY_FLAGS if "seeds" not in flag), "--seeds=4")
    first, second = started(out, 2, *given, "--checkpoint_seconds=0")
    folder = Shard(2, 2).folder(out)
    while not folder.exists():
        time.sleep(0.01)
    second.send_signal(signal.SIGKILL)
    died = time.monotonic()
    code, printed, errors = ended(first)
    assert code == 1 and time.monotonic() - died < 60
    assert errors.count("\n") == 1 and "process 2/2 has given no sign of life" in errors
    assert "--multihost" in errors and "--resume goes on" in errors
    assert not out.exists() and "Report" not in printed
    ended(second)
    every = started(out, 4, *given, "--resume")
    assert [ended(process)[0] for process in every] == [0] * 4
    assert finish(program(*given, f"--out={whole}"))[0] == 0
    for name in ("results", "bounds"):
        assert table(out / f"{name}.csv") == table(whole / f"{name}.csv") != []
    assert left_beside(out) == []


@pytest.mark.slow
@pytest.mark.parametrize("dies", [0, 1])
def test_whoever_dies_the_other_ends_in_the_middle_of_its_work(tmp_path, dies):
    out = tmp_path / "a"
    processes = started(out, 2, *ENDLESS)
    other = Shard(2 - dies, 2).folder(out)
    while not list((other / "checkpoints").glob("unfinished/[0-9]*")):
        time.sleep(0.1)
    processes[dies].send_signal(signal.SIGKILL)
    died = time.monotonic()
    code, _, errors = ended(processes[1 - dies])
    assert code == 1 and time.monotonic() - died < 60
    (line,) = errors.splitlines()
    assert f"process {dies + 1}/2 has given no sign of life" in line
    ended(processes[dies])


@pytest.mark.slow
def test_who_does_not_come_is_missed_in_one_line(monkeypatch):
    monkeypatch.setattr(hosts, "FIND_SECONDS", 3)
    with pytest.raises(Refusal, match="not all processes came within 3 s") as refusal:
        hosts.find_this_process("127.0.0.1:1", "2/2")
    assert "\n" not in str(refusal.value)


def first_of_two(call="now"):
    return hosts.Process(Shard(1, 2), call)


def soon(monkeypatch, silent):
    """Others are given up after so many seconds; the list of the reasons why this process was ended."""
    ended = []
    monkeypatch.setattr(hosts, "SILENT_SECONDS", silent)
    monkeypatch.setattr(hosts, "BEAT_SECONDS", 0.02)
    monkeypatch.setattr(hosts.interrupts, "end", ended.append)
    return ended


@pytest.mark.parametrize("last", ["now 41", "now done", "before done"])
def test_who_has_done_its_share_need_give_no_more_signs_of_life(
    last, tmp_path, monkeypatch
):
    """Of this call: what an earlier one has left tells nothing."""
    ended = soon(monkeypatch, 0.3)
    place = tmp_path / ".a.hosts"
    place.mkdir()
    (place / "2").write_text("before done")
    stop = threading.Event()
    watch = threading.Thread(target=hosts._watch, args=(first_of_two(), place, stop))
    watch.start()
    for sign in ("now 40", last):
        time.sleep(0.1)
        (place / "2").write_text(sign)
    watch.join(1.5)
    stop.set()
    watch.join()
    assert (place / "1").read_text().startswith("now ")
    if last == "now done":
        assert not ended
    else:
        assert "process 2/2 has given no sign of life" in ended[0]


def test_a_share_that_an_earlier_call_has_done_is_waited_for(tmp_path, monkeypatch):
    """Its process may be looking it through: to take it over then refused one of the two."""
    monkeypatch.setattr(hosts, "is_done", lambda *_: True)
    place = tmp_path / ".a.hosts"
    place.mkdir()
    (place / "2").write_text("before done")
    waiting = threading.Thread(
        target=hosts.wait_for_all, args=(tmp_path / "a", first_of_two()), daemon=True
    )
    waiting.start()
    for sign in ("now 1", "now 2"):
        (place / "2").write_text(sign)
        waiting.join(0.5)
        assert waiting.is_alive()
    (place / "2").write_text("now done")
    waiting.join(10)
    assert not waiting.is_alive()


def test_a_share_that_cannot_be_looked_at_is_not_done(tmp_path, monkeypatch):
    def stale(path):
        raise OSError(116, "Stale file handle")

    monkeypatch.setattr(hosts, "shard_of", stale)
    assert not hosts.is_done(tmp_path / "a", Shard(2, 2))


TASK_1_OF_4 = {
    "SLURM_LOCALID": "1",
    "SLURM_NODEID": "0",
    "SLURM_STEP_TASKS_PER_NODE": "4",
}


@pytest.mark.parametrize(
    ("said", "there", "own"),
    [
        ({}, 4, None),
        ({"SLURM_LOCALID": "1", "SLURM_NODEID": "0", "SLURM_STEP_TASKS_PER_NODE": "4"}, 4, [1]),
        ({"SLURM_LOCALID": "1", "SLURM_NODEID": "2", "SLURM_STEP_TASKS_PER_NODE": "4(x2),2"}, 4, [1, 3]),
        ({"SLURM_LOCALID": "0", "SLURM_NODEID": "0", "SLURM_STEP_TASKS_PER_NODE": "1(x8)"}, 4, None),
        ({"SLURM_LOCALID": "0", "SLURM_NODEID": "0", "SLURM_STEP_TASKS_PER_NODE": "4",
          "SLURM_GPUS_PER_TASK": "1"}, 4, None),
        # Of CPUs alone, and where GPUs are not to be dealt out; and dealt out in other ways.
        (TASK_1_OF_4 | {"SLURM_TRES_PER_TASK": "cpu=16"}, 4, [1]),
        (TASK_1_OF_4 | {"SLURM_GPU_BIND": "none", "SLURM_GPUS_PER_TASK": "1"}, 4, [1]),
        (TASK_1_OF_4 | {"SLURM_GPU_BIND": "verbose,none"}, 4, [1]),
        (TASK_1_OF_4 | {"SLURM_TRES_PER_TASK": "cpu=16,gres/gpu=1"}, 4, None),
        (TASK_1_OF_4 | {"SLURM_GPU_BIND": "closest"}, 4, None),
        ({"SLURM_LOCALID": "1", "SLURM_NODEID": "0", "SLURM_STEP_TASKS_PER_NODE": "2",
          "CUDA_VISIBLE_DEVICES": "4,5,6,7"}, 8, [1, 3]),
        ({"OMPI_COMM_WORLD_LOCAL_RANK": "2", "OMPI_COMM_WORLD_LOCAL_SIZE": "3"}, 8, [2, 5]),
        ({"OMPI_COMM_WORLD_LOCAL_RANK": "2", "OMPI_COMM_WORLD_LOCAL_SIZE": "3"}, 2, None),
        ({"OMPI_COMM_WORLD_LOCAL_RANK": "0", "OMPI_COMM_WORLD_LOCAL_SIZE": "2"}, 0, None),
    ],
)  # fmt: skip
def test_processes_of_a_machine_share_its_gpus_out(said, there, own):
    assert hosts.own_gpus(said, there) == own


def test_only_its_own_gpus_are_a_process_s(monkeypatch, capsys):
    told = []
    monkeypatch.setattr(jax.config, "update", lambda *what: told.append(what))
    monkeypatch.setattr(hosts, "own_gpus", lambda said, there: None)
    hosts.take_own_gpus()
    assert not told and not capsys.readouterr().err
    monkeypatch.setattr(hosts, "own_gpus", lambda said, there: [1, 3])
    hosts.take_own_gpus()
    assert told == [("jax_cuda_visible_devices", "1,3")]
    assert "this one takes [1, 3]" in capsys.readouterr().err


def test_gpus_are_shared_out_before_there_are_devices(tmp_path):
    """With programs kept, as users have them: what keeps them asks JAX for its device."""
    code = (
        "import sys\n"
        "from jax._src import xla_bridge\n"
        "from experiments.lab import hosts\n"
        "def taken(): print('devices:', xla_bridge.backends_are_initialized()); sys.exit(3)\n"
        "hosts.take_own_gpus = taken\n"
        "sys.argv[0] = 'bounds_vs_samples'\n"
        "from experiments.bounds_vs_samples.__main__ import main\n"
        "main()\n"
    )
    place = {k: v for k, v in os.environ.items() if k != "JAX_COMPILATION_CACHE_DIR"}
    (own, _) = flags(tmp_path / "a", 2)
    done = subprocess.run(
        [sys.executable, "-c", code, *TINY_FLAGS, *own], cwd=ROOT, text=True,
        capture_output=True, env=place | {"XDG_CACHE_HOME": str(tmp_path)}, timeout=300,
    )  # fmt: skip
    assert done.returncode == 3, done.stderr
    assert done.stdout.strip() == "devices: False"


def test_what_does_not_say_who_is_who_is_refused(monkeypatch):
    for name in list(os.environ):
        if name.startswith(("SLURM", "OMPI", "KUBERNETES", "TPU", "JAX_COORD")):
            monkeypatch.delenv(name)
    for given, word in (
        ((None, None), "nothing tells which of how many processes"),
        (("host:1", None), "give both"),
        (("host", "1/2"), "must be HOST:PORT"),
        (("host:1", "3/2"), "--process=3/2: must be i/n"),
    ):
        with pytest.raises(Refusal, match=word) as refusal:
            hosts.find_this_process(*given)
        assert "\n" not in str(refusal.value)


def test_flags_that_do_not_go_together(tmp_path):
    for given, word in (
        (("--coordinator=a:1",), "is for --multihost"),
        (("--multihost", "--shard=1/2"), "--multihost and --shard"),
        (("--multihost", "--dry_run"), "--multihost and --dry_run"),
    ):
        code, _, errors = finish(
            program(*TINY_FLAGS, *given, f"--out={tmp_path / 'a'}")
        )
        assert code == 2 and errors.count("\n") == 1 and word in errors
    assert not (tmp_path / "a").exists()


def test_signs_of_life_are_seen(tmp_path, monkeypatch):
    """In one process: whose file changes lives."""
    ended = soon(monkeypatch, 0.5)
    place = tmp_path / ".a.hosts"
    with hosts.watched(tmp_path / "a", first_of_two()):
        for beat in range(30):
            (place / "2").write_text(f"now {beat}")
            time.sleep(0.03)
        assert not ended and (place / "1").read_text()
        time.sleep(0.8)
    assert ended and "process 2/2" in ended[0]
    assert (place / "1").read_text() == "now done"
