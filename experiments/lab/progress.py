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

import numpy as np
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
        self._epochs, self._needed = {}, {}
        self._waiting = dict.fromkeys(waiting)
        self._begin("training", len(runs), len(waiting))

    def trained(self, tick: Any) -> None:
        """Takes in a `nets.runs.Tick`."""
        interrupts.check()
        for run, checks in tick.checks.items():
            self._epochs[run] = self._epochs.get(run, 0) + len(checks)
            if len(checks):
                self._waiting[run] = checks[-1, 0]
        for run in tick.finished:
            self._needed[run] = self._epochs[run]
            del self._waiting[run]
        now = ", ".join(
            f"m={run.size} epoch {self._epochs[run]}"
            + (
                ""
                if self._waiting[run] is None
                else f" margin error {self._waiting[run]:.3f}"
            )
            for run in tick.running[:2]
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
            {"run": run.name, "epoch": int(self._epochs[run])}
            | ({} if error is None else {"margin_error": float(error)})
            for run, error in ((run, self._waiting[run]) for run in tick.running)
        ]
        done = self._state["done"] + len(tick.finished)
        self._write(running=running, left=left, done=done)

    def _left(self):
        """Seconds left if the other runs need as many epochs as those that ended so far."""
        if not self._needed:
            return None
        epochs = np.mean(list(self._needed.values()))
        done = sum(run.size * count for run, count in self._epochs.items())
        left = sum(
            run.size * max(epochs - self._epochs.get(run, 0), 1)
            for run in self._waiting
        )
        return left * (time.monotonic() - self._began) / done

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
