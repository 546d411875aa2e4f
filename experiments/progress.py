"""One live line on a sweep: runs finished, epochs, margin error, time left."""

import sys
import time

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar


def _clock(seconds):
    if seconds is None:
        return "?"
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


class Progress:
    """Shows how training goes on a terminal; says nothing where there is none."""

    def __init__(self):
        console = Console(file=sys.stderr)
        self._bar = Bar(
            TextColumn("training"),
            BarColumn(bar_width=24),
            TextColumn("{task.completed}/{task.total} runs"),
            TextColumn("{task.fields[now]}"),
            TimeElapsedColumn(),
            TextColumn("ETA {task.fields[eta]}"),
            console=console,
            disable=not console.is_terminal,
        )

    def begin(self, runs, waiting):
        """`runs` are all there are, `waiting` those not trained yet."""
        self._epochs, self._needed = {}, {}
        self._waiting, self._began = {run: None for run in waiting}, time.monotonic()
        self._task = self._bar.add_task(
            "training",
            total=len(runs),
            completed=len(runs) - len(waiting),
            now="",
            eta="?",
        )
        self._bar.start()

    def update(self, tick):
        """Takes in a `nets.runs.Tick`."""
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
        self._bar.update(
            self._task,
            advance=len(tick.finished),
            now=now + more,
            eta=_clock(self._left()),
        )

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

    def end(self):
        self._bar.stop()
