"""How long do lanes that take each step together wait? `python -m experiments.tools.idleness`.

The runs of the paper's figure, as long as they were (`gallery/mnist_width1024.json`), in lanes of one
device by the policy of `nets.sharing`: the share of the lanes' time in which they have no run, or wait
for others. Nothing is trained: time is counted in what an H100 takes for a plain step (no update deferred)
and a check.
"""

import dataclasses
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from absl import flags

from experiments.lab import report
from experiments.lab.command_line import tool
from experiments.lab.refusals import Refusal
from nets import sharing
from nets.sample import BLOCK
from nets.training import RECORDS

flags.DEFINE_integer("mixes", 10, "how often the runs' epochs are drawn anew")

MEASURED = Path(__file__).parents[1] / "gallery" / "mnist_width1024.json"
# An H100, 784-1024x5-10 at batch 1 (BUILD_NOTES.md): seconds of a step of all lanes, and of the forward
# pass over a block of examples, in steps.
STEP = 7e-5, 2.01e-5  # of the step, and of each lane
BLOCK_STEPS = 1.24
DRAWS = 2  # whose mean a seed's number of epochs is


@dataclasses.dataclass(frozen=True)
class Idleness:
    """What lanes did, as shares of all their time; and how long it took.

    Attributes:
      without_run: had no run, and none waited.
      in_calls: had a run that had ended, and waited for the end of the call.
      in_checks: waited while the training sets of others were checked.
      seconds: all in all, with compiling for fewer lanes.
      lanes: at the beginning.
    """

    without_run: float
    in_calls: float
    in_checks: float
    seconds: float
    lanes: int

    @property
    def all(self) -> float:
        """Of all kinds."""
        return self.without_run + self.in_calls + self.in_checks


def mix(seed: int, path: Path = MEASURED) -> list[tuple[int, int]]:
    """(m, epochs) of each run of the figure, the longest first.

    Args:
      seed: epochs are drawn from a normal distribution of the mean and the spread that were seen.
      path: of a figure's numbers.
    """
    rng, found = np.random.default_rng(seed), []
    for size, its in json.loads(path.read_text())["by_size"]["epochs"].items():
        spread = (its["high"] - its["mean"]) * 2 / 3.18 * np.sqrt(DRAWS)  # of 4 seeds
        drawn = rng.normal(its["mean"], spread, its["seeds"] * DRAWS)
        found += [(int(size), max(2, round(epochs))) for epochs in drawn]
    return sorted(found, reverse=True)


def of_policy(
    runs: Sequence[tuple[int, int]],
    count: int | None = None,
    narrows: bool = True,
    step: Callable[[int], float] = lambda count: STEP[0] + count * STEP[1],
) -> Idleness:
    """What lanes of one device do while they train some runs at batch 1.

    Args:
      runs: (m, epochs), in the order in which they are begun.
      count: lanes; as many as are of use if not given.
      narrows: whether there become fewer.
      step: lanes -> seconds of a step.
    """
    waiting = list(runs)[::-1]
    first = count = count or sharing.useful([size for size, _ in runs])
    under_way: list[list[int]] = []  # m, epochs left, steps left of the epoch
    spent = dict.fromkeys(("all", "none", "calls", "checks"), 0.0)
    budget, idle, seconds = 64, 0.0, 0.0
    while waiting or under_way:
        while waiting and len(under_way) < count:
            size, epochs = waiting.pop()
            under_way.append([size, epochs, size])
        if narrows and not waiting:
            needed = sharing.fewer(
                count, 1, len(under_way), idle, sharing.LEAST_COMPILING
            )
            if needed < count:
                count, idle, seconds = needed, 0.0, seconds + sharing.LEAST_COMPILING
        began, left = seconds, budget
        in_call, records = list(under_way), {id(run): 0 for run in under_way}
        is_over = False
        while left and in_call and not is_over:
            steps = min(left, *(run[2] for run in in_call))
            left -= steps
            for run in in_call:
                run[2] -= steps
            at_end = [run for run in in_call if not run[2]]
            blocks = max((-(-size // BLOCK) for size, _, _ in at_end), default=0)
            own = sum(-(-size // BLOCK) for size, _, _ in at_end)
            took = step(count) * (steps + BLOCK_STEPS * blocks)
            seconds += took
            spent["all"] += count * took
            spent["none"] += (count - len(under_way)) * took
            spent["calls"] += (len(under_way) - len(in_call)) * took
            spent["checks"] += step(count) * BLOCK_STEPS * (len(in_call) * blocks - own)
            for run in at_end:
                run[1:] = run[1] - 1, run[0]
                records[id(run)] += 1
                is_over |= records[id(run)] == RECORDS or (bool(waiting) and not run[1])
            in_call = [run for run in in_call if run[1]]
        idle += (seconds - began) * (1 - len(under_way) / count)
        budget = sharing.next_budget(budget, budget - left, seconds - began)
        under_way = [run for run in under_way if run[1]]
    shares = (spent[name] / spent["all"] for name in ("none", "calls", "checks"))
    return Idleness(*shares, seconds, first)


def main() -> None:
    """Prints the table.

    Raises:
      Refusal: there is nothing to draw.
    """
    if flags.FLAGS.mixes < 1:
        raise Refusal(f"--mixes={flags.FLAGS.mixes}: must be a whole number >= 1")
    mixes = [mix(seed) for seed in range(flags.FLAGS.mixes)]
    body = []
    for name, options in (
        ("all at once", {"count": len(mixes[0]), "narrows": False}),
        ("as many as are of use", {"narrows": False}),
        ("the same, fewer when that pays", {}),
    ):
        found = [of_policy(runs, **options) for runs in mixes]
        shares = [
            np.mean([getattr(one, kind) for one in found])
            for kind in ("all", "without_run", "in_calls", "in_checks", "seconds")
        ]
        cells = [f"{100 * share:.1f} %" for share in shares[:-1]]
        body.append([name, str(found[0].lanes), *cells, f"{shares[-1]:.0f}"])
    heads = ("lanes", "at first", "idle", "no run", "in calls", "in checks", "seconds")
    report.show([report.Table(heads, body)])


if __name__ == "__main__":
    tool(main)
