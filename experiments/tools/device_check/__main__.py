"""Is an accelerator right, and how fast? `python -m experiments.tools.device_check`.

Rows are printed as they are found, so that a run that is cut short still says something, and
written to --out. Nothing is downloaded; without an accelerator the CPU is held against itself.

- right: SGD step by step and whole trainings over seeds, against the CPU of the same machine;
  certified enclosures against numpy's SVD;
- fast: a step of SGD, as a share of the bytes it must move or the operations it must do, at
  rates measured in the same run; beside it PyTorch, where it is there;
- measuring: every bound of the registry, its value against the CPU's, seconds a network.

The exit code is 1 where something is wrong; slow is not wrong.
"""

import pathlib
import time

import jax
from absl import flags, logging

from experiments.lab import devices
from experiments.lab.command_line import tool
from experiments.lab.refusals import Refusal
from experiments.tools import floors
from experiments.tools.device_check import agreement, measured, speed
from experiments.tools.device_check.rows import Table
from experiments.tools.device_check.sizes import SMALL, Sizes
from nets import runs

PARTS = ("right", "fast", "measuring")

flags.DEFINE_list("parts", list(PARTS), f"some of {', '.join(PARTS)}")
flags.DEFINE_bool("small", False, "a slice that a CPU does in a minute")
flags.DEFINE_float("seconds", 2.0, "how long a step is timed")
flags.DEFINE_string("out", None, "a JSON file for the rows")


def main() -> int:
    """Prints the rows; 1 if something is wrong.

    Raises:
      Refusal: a flag names nothing, or there is no CPU to hold a device against.
    """
    asked = flags.FLAGS
    for part in asked.parts:
        if part not in PARTS:
            raise Refusal(f"--parts={part}: must be some of {', '.join(PARTS)}")
    logging.set_verbosity(logging.WARNING)
    devices.use_cores(None)
    sizes = SMALL if asked.small else Sizes()
    named = jax.config.jax_platforms
    if named and "cpu" not in named.split(","):
        raise Refusal(
            f"JAX_PLATFORMS={named}: a device is held against the CPU; use {named},cpu"
        )
    cpu, device = runs.make_layout(jax.devices("cpu")), runs.make_layout()
    kind = jax.devices()[0].device_kind
    print(f"{len(jax.devices())} x {kind}, jax {jax.__version__}", flush=True)
    path = None if asked.out is None else pathlib.Path(asked.out)
    table = Table(path, {"device": kind, "jax": jax.__version__})
    began = time.perf_counter()
    for row in _rows(asked.parts, sizes, cpu, device, asked.seconds):
        table.add(row)
    failed = len(table.failed)
    print(f"{time.perf_counter() - began:.0f} s; {failed} of what was promised FAILS")
    return 1 if failed else 0


def _rows(parts, sizes, cpu, device, seconds):
    if "fast" in parts:
        on_cpu = device.mesh.devices.flat[0].platform == "cpu"
        copied, size = (2**24, 1024) if on_cpu else (2**28, 8192)
        found = floors.rates(device, seconds, copied, size)
        yield from speed.rate_rows(found)
    if "right" in parts:
        yield from agreement.first_steps(sizes, cpu, device)
        yield from agreement.statistics(sizes, cpu, device)
        yield from agreement.enclosures(sizes, device)
    if "fast" in parts:
        yield from speed.steps(sizes, found, seconds)
    if "measuring" in parts:
        yield from measured.rows(sizes, cpu)


if __name__ == "__main__":
    tool(main)
