"""How runs share lanes that take each step together: how many lanes, when fewer, how long a call.

Where lanes are vectorised a lane without a run costs as much as one with a run. Runs that differ in
length leave many of them empty: of 72 runs on 128 to 32768 examples, all at once, lanes have none for 81 %
of the time. As many lanes as are of use (`useful`), and fewer when that pays (`fewer`), leave 3 %
(`experiments.tools.idleness`).
"""

import math
from collections.abc import Sequence

AXIS = "lane"  # of vectorised lanes of a device
CALL_SECONDS = 0.25  # a call aims at this: short beside a run, long beside its overhead
# Seconds that a program is taken to compile at least, where that was not seen: one that was kept tells
# nothing of the next one. An H100 took 6 for the step of 784-1024x5-10.
LEAST_COMPILING = 6.0
_FEWEST, _MOST = 16, 2**28  # steps of a call


def useful(lengths: Sequence[float]) -> int:
    """How many lanes are of use to runs: with more no run would end before the longest does.

    Args:
      lengths: of the runs beside each other, in any unit; positive.
    """
    return max(1, math.ceil(sum(lengths) / max(lengths) * (1 - 1e-9)))


def fewer(
    per_device: int, devices: int, running: int, idle: float, compiling: float
) -> int:
    """Lanes that a device goes on with when no run waits for one.

    Lanes that are left are compiled for again once those without a run have cost what that takes:
    whatever comes, that is at most twice what could have been spent.

    Args:
      per_device: lanes of a device.
      devices: how many.
      running: runs under way, on all devices.
      idle: seconds that lanes without a run have cost, as a share of all lanes, since there are
        so many.
      compiling: seconds that a program takes to compile.
    """
    needed = -(-running // devices)
    return needed if 0 < needed < per_device and idle >= compiling else per_device


def next_budget(budget: int, steps: int, seconds: float) -> int:
    """Steps of the next call, so that it takes `CALL_SECONDS`.

    Args:
      budget: steps of the last call.
      steps: those that were taken: fewer where it was cut short.
      seconds: that it took.
    """
    aim = steps * CALL_SECONDS / seconds
    return int(min(max(aim, budget / 4, _FEWEST), budget * 4, _MOST))
