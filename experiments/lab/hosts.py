"""Several processes with a share of the runs each, which know of each other: `--multihost`.

Runs need nothing of each other, so that processes do not compute together: each trains and
measures a share (`lab.shards`) on its own devices, into a folder of its own on the file system that
all see, and the first makes the tables when all are there. What they need of each other is to
know who is who, once, which `jax.distributed` finds out (Slurm, Open MPI, Kubernetes, or the
addresses that are typed) in a process of its own: a process that stays in such a cluster is aborted
in the middle of its work, with a stack trace, when another one dies. Here it ends with a line.
"""

import contextlib
import dataclasses
import json
import math
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from experiments.lab import interrupts
from experiments.lab.refusals import Refusal, say
from experiments.lab.shards import Shard, folders_of, shard_of

FIND_SECONDS = 300  # that all have to start in
BEAT_SECONDS = 2.0  # between signs of life
SILENT_SECONDS = 40.0  # without a sign of life: dead
_DONE = "done"  # ends the last sign of life of a process that has done its share
_FIND = """
import json, sys, uuid
import jax
from jax._src import distributed
known = json.loads(sys.argv[1])
jax.distributed.initialize(**known)
board = distributed.global_state.client
if jax.process_index() == 0:
    board.key_value_set("call", uuid.uuid4().hex)
call = board.blocking_key_value_get("call", 1000 * known["initialization_timeout"])
print(json.dumps([jax.process_index() + 1, jax.process_count(), call]), flush=True)
jax.distributed.shutdown()
"""


@dataclasses.dataclass(frozen=True)
class Process:
    """One of several processes that were started together.

    Attributes:
      shard: its share; which of how many it is.
      call: what these processes have in common, and those of no earlier call.
    """

    shard: Shard
    call: str


def find_this_process(coordinator: str | None, process: str | None) -> Process:
    """Which of how many processes this one is; all of them have to be there.

    Args:
      coordinator: host:port, at which the first process listens; None where it is detected.
      process: i/n, from 1; None where it is detected.

    Raises:
      Refusal: nothing is detected, or some do not come.
    """
    if (coordinator is None) != (process is None):
        raise Refusal(
            "--coordinator and --process: give both, or neither where the cluster tells"
        )
    known: dict[str, object] = {"initialization_timeout": FIND_SECONDS}
    if coordinator is not None and process is not None:
        if not re.fullmatch(r".+:\d+", coordinator):
            raise Refusal(f"--coordinator={coordinator}: must be HOST:PORT")
        own = Shard.parse(process, "--process")
        known |= {
            "coordinator_address": coordinator,
            "num_processes": own.count,
            "process_id": own.index - 1,
        }
    # On the CPU: the accelerators are for the work.
    place = os.environ | {"JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-c", _FIND, json.dumps(known)]
    done = subprocess.run(
        command, capture_output=True, text=True, env=place, stdin=subprocess.DEVNULL
    )
    found = [line for line in done.stdout.splitlines() if line.startswith("[")]
    if not found:
        raise Refusal(f"--multihost: {_why(done.stderr)}")
    index, count, call = json.loads(found[0])
    return Process(Shard(index, count), call)


def _why(errors):
    if "should be defined" in errors or "must be defined" in errors:
        return (
            "nothing tells which of how many processes this is (Slurm, Open MPI and Kubernetes do); "
            "give --coordinator=HOST:PORT and --process=i/n"
        )
    if "DEADLINE_EXCEEDED" in errors:
        return f"not all processes came within {FIND_SECONDS} s; start all of them"
    lines = [line.strip() for line in errors.splitlines() if line.strip()]
    return f"the processes do not find each other ({lines[-1][:200] if lines else 'no reason given'})"


def own_gpus(said: Mapping[str, str], there: int) -> list[int] | None:
    """Which of the GPUs that it sees are a process's, where several processes of a machine see the same.

    They are dealt out in the order of the processes on the machine, as Slurm and Open MPI tell it. None: all
    that it sees, as where the launcher gave each process its own (`--gpus-per-task`, `--gpu-bind`) or there
    are fewer than processes.

    Args:
      said: the environment.
      there: GPUs of the machine, of which `CUDA_VISIBLE_DEVICES` may name fewer.
    """
    if _are_dealt_out(said):
        return None
    if "SLURM_LOCALID" in said and "SLURM_STEP_TASKS_PER_NODE" in said:
        tasks = []  # of each node: "4(x2),3"
        for part in said["SLURM_STEP_TASKS_PER_NODE"].split(","):
            count, _, times = part.rstrip(")").partition("(x")
            tasks += [int(count)] * int(times or 1)
        own, count = int(said["SLURM_LOCALID"]), tasks[int(said["SLURM_NODEID"])]
    elif "OMPI_COMM_WORLD_LOCAL_SIZE" in said:
        own = int(said["OMPI_COMM_WORLD_LOCAL_RANK"])
        count = int(said["OMPI_COMM_WORLD_LOCAL_SIZE"])
    else:
        return None
    if "CUDA_VISIBLE_DEVICES" in said:
        there = len([name for name in said["CUDA_VISIBLE_DEVICES"].split(",") if name])
    return list(range(own, there, count)) if 1 < count <= there else None


def _are_dealt_out(said):
    """Whether Slurm has given each process GPUs of its own."""
    bind = said.get("SLURM_GPU_BIND", "").removeprefix("verbose").lstrip(",")
    if bind:  # what is typed goes before what --gpus-per-task implies
        return bind != "none"
    # It names what a task was given of anything: CPUs alone, too.
    return "SLURM_GPUS_PER_TASK" in said or "gpu" in said.get("SLURM_TRES_PER_TASK", "")


def take_own_gpus() -> None:
    """Leaves the GPUs of other processes of this machine to them (`own_gpus`), and says so.

    To be called before JAX has any device: from then on it keeps those that it has.
    """
    there = len(list(Path("/dev").glob("nvidia[0-9]*")))
    own = own_gpus(os.environ, there)
    if own is not None:
        import jax  # takes long

        jax.config.update("jax_cuda_visible_devices", ",".join(map(str, own)))
        say(
            f"--multihost: processes of this machine share its GPUs out; this one takes {own} of those "
            "that it sees (srun --gpus-per-task gives each its own)"
        )


def _beats(out: Path) -> Path:
    return out.with_name(f".{out.name}.hosts")


@contextlib.contextmanager
def watched(out: str | Path, own: Process) -> Iterator[None]:
    """Shows the others that this process lives, and ends it where one of them does not.

    Args:
      out: the folder of the whole.
      own: which process this is.
    """
    stop = threading.Event()
    place = _beats(Path(out))
    place.mkdir(parents=True, exist_ok=True)
    watcher = threading.Thread(target=_watch, args=(own, place, stop), daemon=True)
    watcher.start()
    try:
        yield
    finally:
        stop.set()
        if not interrupts.reason():  # it is the watcher that ends this
            watcher.join()
    _beat(place, own, _DONE)


def _others(own):
    count = own.shard.count
    return [Shard(i + 1, count) for i in range(count) if i + 1 != own.shard.index]


def _watch(own, place, stop):
    seen = {other: ("", time.monotonic()) for other in _others(own)}
    count = 0
    while not stop.wait(BEAT_SECONDS if count else 0):
        count += 1
        _beat(place, own, str(count))
        for other, (last, when) in seen.items():
            beat, now = _beat_of(place, own, other), time.monotonic()
            if beat not in ("", last):
                seen[other] = beat, math.inf if beat == _DONE else now
            elif now - when > SILENT_SECONDS:
                interrupts.end(
                    f"process {other} has given no sign of life for {SILENT_SECONDS:.0f} s: this one "
                    "ends, too"
                )
                return


def _beat(place, own, what):
    path = place / str(own.shard.index)
    aside = path.with_name(f"{path.name}.part")
    with contextlib.suppress(OSError):
        aside.write_text(f"{own.call} {what}")
        aside.replace(path)


def _beat_of(place, own, other):
    """The last sign of life that another process of this call has given, or ''."""
    try:
        said = (place / str(other.index)).read_text()
    except OSError:
        return ""
    call, _, what = said.partition(" ")
    return what if call == own.call else ""


def is_done(out: Path, shard: Shard) -> bool:
    """Whether a share is trained and measured."""
    try:
        return bool(shard_of(shard.folder(out)))
    except (Refusal, OSError):  # it is just being written, or gone meanwhile
        return False


def wait_for_all(out: str | Path, own: Process) -> None:
    """Returns when all processes of this call have done their shares and let go of them.

    That a share is there does not tell: an earlier call may have done it, and the process that has it now may
    be looking it through. Who dies before ends this one (`watched`).
    """
    place = _beats(Path(out))

    def is_let_go(other):
        is_through = _beat_of(place, own, other) == _DONE
        return is_through and is_done(Path(out), other)

    while not all(map(is_let_go, _others(own))):
        interrupts.check()
        time.sleep(0.2)


def forget(out: str | Path) -> None:
    """Removes the signs of life, and the folders of shares: all of it is in the whole."""
    for path in (_beats(Path(out)), *folders_of(Path(out))):
        shutil.rmtree(path, ignore_errors=True)
