"""How a sweep goes: one live line on a terminal, and a small file that other shells read.

The file says what is done, under way and left, and how long that takes; `experiments.status`
shows it. It is written at most every `EVERY` seconds, and gone when the sweep is done.
"""

import contextlib
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from experiments.lab import interrupts
from experiments.lab.checksums import replacing
from experiments.lab.refusals import Refusal

EVERY = 2.0  # seconds between two writings


def clock(seconds: float | None) -> str:
    """Seconds as m:ss or h:mm:ss; ? for what is not known."""
    if seconds is None:
        return "?"
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


class Progress:
    """Shows how a sweep goes on a terminal, and writes it to a file.

    Args:
      path: of the file, or None.
    """

    def __init__(self, path: Path | None = None):
        self._path, self._written = path, -EVERY
        console = Console(file=sys.stderr)
        self._bar = Bar(
            TextColumn("{task.description:>9}"),
            BarColumn(bar_width=24),
            TextColumn("{task.completed}/{task.total} runs"),
            TextColumn("{task.fields[now]}"),
            TimeElapsedColumn(),
            TextColumn("ETA {task.fields[eta]}"),
            console=console,
            disable=not console.is_terminal,
        )

    def __enter__(self):
        self._bar.start()
        return self

    def __exit__(self, *_):
        self._bar.stop()

    def _begin(self, name, total, waiting):
        self._began = time.monotonic()
        done = total - waiting
        self._state = {
            "doing": name,
            "all": total,
            "done": done,
            "running": [],
            "left": None,
        }
        self._write(at_once=True)
        self._task = self._bar.add_task(
            name, total=total, completed=done, now="compiling", eta="?"
        )

    def _write(self, at_once=False, **news):
        """Tells other shells; that this cannot be written stops nothing."""
        self._state |= news
        now = time.monotonic()
        if self._path is None or (now - self._written < EVERY and not at_once):
            return
        self._written = now
        with contextlib.suppress(Refusal), replacing(self._path) as aside:
            aside.write_text(json.dumps(self._state | {"at": time.time()}))

    def begin_training(self, runs: Sequence[Any], waiting: Any) -> None:
        """`runs` are all there are, `waiting` those not trained yet."""
        # Run -> its epochs and last margin error.
        self._under_way: dict[Any, tuple[int, float | None]] = {}
        self._not_begun = sum(run.size for run in waiting)  # examples of an epoch
        self._ended = self._epochs_needed = self._examples_seen = 0
        self._begin("training", len(runs), len(waiting))

    def begins(self, run: Any, epochs: int) -> None:
        """A run begins, or goes on after so many epochs."""
        if run not in self._under_way:
            self._not_begun -= run.size
        self._under_way[run] = epochs, None

    def trained(self, tick: Any) -> None:
        """Takes in a `nets.runs.Tick`."""
        interrupts.check()
        for run, checks in tick.checks.items():
            epochs, error = self._under_way[run]
            error = checks[-1, 0] if len(checks) else error
            self._under_way[run] = epochs + len(checks), error
            self._examples_seen += run.size * len(checks)
        for run in tick.finished:
            self._epochs_needed += self._under_way.pop(run)[0]
            self._ended += 1
        running = [(run, *self._under_way[run]) for run in tick.running]
        now = ", ".join(
            f"m={run.size} epoch {epochs}"
            + ("" if error is None else f" margin error {error:.3f}")
            for run, epochs, error in running[:2]
        )
        more = f" and {len(tick.running) - 2} more" if len(tick.running) > 2 else ""
        left = self._left()
        self._bar.update(
            self._task,
            advance=len(tick.finished),
            now=now + more,
            eta=clock(left),
        )
        running = [
            {"run": run.name, "epoch": int(epochs)}
            | ({} if error is None else {"margin_error": float(error)})
            for run, epochs, error in running
        ]
        done = self._state["done"] + len(tick.finished)
        self._write(running=running, left=left, done=done)

    def _left(self):
        """Seconds left if the other runs need as many epochs as those that ended so far."""
        if not self._ended:
            return None
        epochs = self._epochs_needed / self._ended
        left = self._not_begun * max(epochs, 1) + sum(
            run.size * max(epochs - done, 1)
            for run, (done, _) in self._under_way.items()
        )
        return left * (time.monotonic() - self._began) / self._examples_seen

    def begin_measuring(self, total: int, waiting: Any) -> None:
        """`waiting` of `total` runs are not measured yet."""
        self._begin("measuring", total, waiting)
        self._left_to_measure = self._to_measure = waiting

    def measured(self, count: int) -> None:
        """`count` more runs were measured."""
        interrupts.check()
        self._left_to_measure -= count
        done = self._to_measure - self._left_to_measure
        eta = self._left_to_measure * (time.monotonic() - self._began) / done
        self._bar.update(self._task, advance=count, now="", eta=clock(eta))
        self._write(left=eta, done=self._state["done"] + count)
