"""What does a run cost, alone and among many? `python -m experiments.tools.scaling`.

The same small study, with 16 to 1024 seeds, each as a command of its own: the seconds of a run,
what a further run costs, the most memory and open files at any time; and one CPU device against all.
Each command is run twice, and the second is timed: its compiled programs are there. All on the CPU.
"""

import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from absl import flags

from experiments.lab import report
from experiments.lab.command_line import tool
from experiments.lab.figures import Canvas, Drawing
from experiments.lab.refusals import Refusal

flags.DEFINE_list("counts", ["16", "64", "256", "1024"], "how many runs, ascending")
flags.DEFINE_integer("devices", None, "CPU devices; default: all cores")
flags.DEFINE_string("figure", None, "a .png to paint the table into")

STUDY = (
    "--problem=hypersphere", "--preset=demo", "--sizes=256", "--draws=1", "--save_weights=false",
    "--bounds=neyshabur_2018,bartlett_2017",
)  # fmt: skip
COLUMNS = (
    "runs", "devices", "seconds", "ms_a_run", "ms_of_a_further_run", "memory_mb", "open_files",
)  # fmt: skip
POLL = 0.05  # seconds between two looks at a command


def measured(count: int, cores: int) -> dict[str, Any]:
    """A row: a command of `count` runs on `cores` devices.

    Raises:
      RuntimeError: the command failed.
    """
    with tempfile.TemporaryDirectory() as place:
        command = [
            sys.executable, "-m", "experiments.bounds_vs_samples", *STUDY, f"--seeds={count}",
            f"--devices={cores}", f"--out={place}/runs",
        ]  # fmt: skip
        began, most = time.perf_counter(), 0
        with (Path(place) / "said").open("w") as said:
            on_cpu = os.environ | {"JAX_PLATFORMS": "cpu"}
            child = subprocess.Popen(command, stdout=said, stderr=said, env=on_cpu)
            while True:
                ended, status, used = os.wait4(child.pid, os.WNOHANG)
                if ended:
                    break
                most = max(most, _open_files(child.pid))
                time.sleep(POLL)
        seconds = time.perf_counter() - began
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            raise RuntimeError((Path(place) / "said").read_text()[-1000:])
    return {
        "runs": count, "devices": cores, "seconds": seconds, "ms_a_run": 1e3 * seconds / count,
        "memory_mb": used.ru_maxrss * 1024 / 1e6, "open_files": most,
    }  # fmt: skip


def _open_files(process):
    try:
        return len(os.listdir(f"/proc/{process}/fd"))
    except OSError:  # it has just ended, or there is no /proc
        return 0


def rows(counts: Sequence[int], cores: int) -> Iterator[dict[str, Any]]:
    """A row a count; then the second largest on one device, where there are more."""
    before = None
    for count in counts:
        measured(count, cores)
        row = measured(count, cores)
        if before:
            further = row["seconds"] - before["seconds"]
            row["ms_of_a_further_run"] = 1e3 * further / (count - before["runs"])
        before = row
        yield row
    if cores > 1:
        measured(counts[-2:][0], 1)
        yield measured(counts[-2:][0], 1)


def paint(canvas: Canvas, table: Sequence[dict[str, Any]]) -> None:
    """Seconds and memory against the number of runs, on all devices."""
    most = max(row["devices"] for row in table)
    own = [row for row in table if row["devices"] == most]
    counts = [row["runs"] for row in own]
    further = [row.get("ms_of_a_further_run", math.nan) for row in own]
    with canvas(1, 2, 4.0, 3.0) as grid:
        time_axes, memory_axes = grid.flat
        time_axes.plot(
            counts,
            [row["ms_a_run"] for row in own],
            "o-",
            label="a run, start included",
        )
        time_axes.plot(counts, further, "s--", label="a further run")
        time_axes.set_ylabel("milliseconds")
        time_axes.legend()
        memory_axes.plot(counts, [row["memory_mb"] for row in own], "o-")
        memory_axes.set_ylabel("most memory, MB")
        for axes in grid.flat:
            canvas.ticks(axes, counts)
            axes.set_ylim(0, 1.1 * axes.dataLim.y1)
            axes.set_xlabel("runs in one command")


def main() -> None:
    """Prints the table, and paints it if a file is named.

    Raises:
      Refusal: a flag is no number, or counts do not ascend.
    """
    typed, cores = flags.FLAGS.counts, flags.FLAGS.devices
    counts = [int(count) if count.isdecimal() else 0 for count in typed]
    if not counts or counts[0] < 1 or counts != sorted(set(counts)):
        raise Refusal(
            f"--counts={','.join(typed)}: must be whole numbers >= 1 that ascend"
        )
    if cores is not None and cores < 1:
        raise Refusal(f"--devices={cores}: must be a whole number >= 1")
    cores = cores or len(os.sched_getaffinity(0))
    table = []
    for row in rows(counts, cores):
        table.append(row)
        print(
            " ".join(f"{name}={row[name]:.4g}" for name in COLUMNS if name in row),
            flush=True,
        )
    cells = [[f"{row[c]:.4g}" if c in row else "" for c in COLUMNS] for row in table]
    report.show([report.Table(COLUMNS, cells)])
    if flags.FLAGS.figure:
        where = Path(flags.FLAGS.figure)
        Drawing(where.parent)(where.stem, "", paint, table)


if __name__ == "__main__":
    tool(main)
