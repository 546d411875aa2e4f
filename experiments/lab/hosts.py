"""Several processes with a share of the runs each, which know of each other: `--multihost`.

Runs need nothing of each other, so that processes do not compute together: each trains and
measures a share (`lab.shards`) on its own devices, into a folder of its own on the file system that
all see, and the first makes the tables when all are there. What they need of each other is to
know who is who, once, which `jax.distributed` finds out (Slurm, Open MPI, Kubernetes, or the
addresses that are typed) in a process of its own: a process that stays in such a cluster is aborted
in the middle of its work, with a stack trace, when another one dies. Here it ends with a line.
"""

import contextlib
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
from experiments.lab.run_folder import RunFolder
from experiments.lab.shards import Shard, folders_of, shard_of

FIND_SECONDS = 300  # that all have to start in
BEAT_SECONDS = 2.0  # between signs of life
SILENT_SECONDS = 40.0  # without a sign of life: dead
# With these Slurm has given each process GPUs of its own.
_GPUS_ARE_DEALT_OUT = ("SLURM_GPUS_PER_TASK", "SLURM_GPU_BIND", "SLURM_TRES_PER_TASK")
_DONE = "done"  # ends the last sign of life of a process that has done its share
_FIND = """
import json, os, sys
import jax
jax.distributed.initialize(**json.loads(sys.argv[1]))
print(json.dumps([jax.process_index() + 1, jax.process_count()]), flush=True)
jax.distributed.shutdown()
"""


def share_of_this_process(coordinator: str | None, process: str | None) -> Shard:
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
    return Shard(*json.loads(found[0]))


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
    if any(name in said for name in _GPUS_ARE_DEALT_OUT):
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


def take_own_gpus() -> None:
    """Leaves the GPUs of other processes of this machine to them (`own_gpus`), and says so.

    To be called before JAX has any device.
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
def watched(out: str | Path, own: Shard) -> Iterator[None]:
    """Shows the others that this process lives, and ends it where one of them does not.

    Args:
      out: the folder of the whole.
      own: which process this is.
    """
    stop = threading.Event()
    place = _beats(Path(out))
    place.mkdir(parents=True, exist_ok=True)
    watcher = threading.Thread(
        target=_watch, args=(Path(out), own, place, stop), daemon=True
    )
    watcher.start()
    try:
        yield
    finally:
        stop.set()
        if not interrupts.reason():  # it is the watcher that ends this
            watcher.join()
    _beat(place, own, _DONE)


def _watch(out, own, place, stop):
    others = [Shard(i + 1, own.count) for i in range(own.count) if i + 1 != own.index]
    seen = {other: (None, time.monotonic()) for other in others}
    count = 0
    while not stop.wait(BEAT_SECONDS if count else 0):
        count += 1
        _beat(place, own, str(count))
        for other in others:
            (last, when), now = seen[other], time.monotonic()
            beat = _read(place / str(other.index))
            if beat is not None and beat != last:
                # The first that is read may be an earlier call's; `is_done` asks a file system that may
                # remember for a minute that there was nothing.
                ended = last is not None and beat.endswith(_DONE)
                seen[other] = beat, math.inf if ended else now
            elif now - when > SILENT_SECONDS and not is_done(out, other):
                interrupts.end(
                    f"process {other} has given no sign of life for {SILENT_SECONDS:.0f} s: this one "
                    "ends, too"
                )
                return


def _beat(place, own, what):
    path = place / str(own.index)
    aside = path.with_name(f"{path.name}.part")
    with contextlib.suppress(OSError):
        aside.write_text(f"{os.getpid()} {what}")
        aside.replace(path)


def _read(path):
    with contextlib.suppress(OSError):
        return path.read_text()
    return None


def is_done(out: Path, shard: Shard) -> bool:
    """Whether a share is trained and measured."""
    try:
        return bool(shard_of(shard.folder(out)))
    except (Refusal, OSError):  # it is just being written, or gone meanwhile
        return False


def wait_for_all(out: str | Path, count: int) -> None:
    """Returns when all shares are done and let go; who dies before ends this one (`watched`)."""
    shards = [Shard(index + 1, count) for index in range(count)]

    def is_let_go(shard):
        is_there = is_done(Path(out), shard)
        return is_there and not RunFolder(shard.folder(out)).is_worked_on

    while not all(map(is_let_go, shards)):
        interrupts.check()
        time.sleep(0.2)


def forget(out: str | Path) -> None:
    """Removes the signs of life, and the folders of shares: all of it is in the whole."""
    for path in (_beats(Path(out)), *folders_of(Path(out))):
        shutil.rmtree(path, ignore_errors=True)
