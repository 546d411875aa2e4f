"""The command: `python -m experiments.status FOLDER ...`."""

import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments.lab import checksums, run_folder, shards
from experiments.lab.endings import refuse
from experiments.lab.progress import clock
from experiments.lab.refusals import Refusal, say
from experiments.lab.run_folder import RunFolder

SHOWN = 8  # runs under way
UNKNOWN = "whether a process works on it cannot be told here (no right to read .lock, or no locks)"
USAGE = (
    "python -m experiments.status FOLDER [FOLDER ...]: how far is it, and how long yet?"
)


def lines(out: str) -> list[str]:
    """What there is to say of a run folder, one thing a line.

    Raises:
      Refusal: it is no run folder.
    """
    try:
        stored = run_folder.stored(out)
    except checksums.Damaged:
        raise
    except Refusal as error:
        if own := shards.folders_of(Path(out)):
            found = [line for path in own for line in lines(str(path))]
            lacking = shards.missing(Path(out))
            if lacking:
                found.append(f"{out}: not begun: shard {', '.join(lacking)}")
            return found
        raise Refusal(f"{out}: no run folder; name one") from error
    folder, head = RunFolder(out), f"{out}: {stored['program']}"
    if folder.is_finished:
        return [f"{head}, finished; the report is {folder.path / 'report.html'}"]
    if shard := shards.shard_of(folder.path):
        return [f"{head}, shard {shard} is done"]
    is_worked_on = folder.is_worked_on
    state = _state(folder)
    if state is None:
        if folder.is_finished:  # since it was looked at
            return lines(out)
        doing = {
            True: "begun", False: "stopped before it began; --resume goes on",
            None: f"begun; {UNKNOWN}",
        }[is_worked_on]  # fmt: skip
        # A program that another one runs has a folder in its folder.
        inner = sorted(path.parent for path in folder.path.glob("*/config.json"))
        return [
            f"{head}, {doing}",
            *(line for own in inner for line in lines(str(own))),
        ]
    return _under_way(head, state, is_worked_on)


def _state(folder: RunFolder) -> Mapping[str, Any] | None:
    """What the process at work on it said last; None: nothing, yet or any more."""
    try:
        return json.loads(folder.progress.read_text())
    except FileNotFoundError:
        return None


def _under_way(
    head: str, state: Mapping[str, Any], is_worked_on: bool | None
) -> list[str]:
    running = [] if is_worked_on is False else state["running"]
    waiting = state["all"] - state["done"] - len(running)
    text = f"{head}, {state['doing']}: {state['done']} of {state['all']} done"
    text += f", {len(running)} under way" if running else ""
    text += f", {waiting} wait"
    ago = max(time.time() - state["at"], 0.0)  # clocks of two machines differ
    if is_worked_on is None:
        return [f"{text}, {clock(ago)} ago; {UNKNOWN}"]
    if not is_worked_on:
        return [f"{text}; stopped {clock(ago)} ago; --resume goes on"]
    left = state["left"]
    text += (
        "; time left not known yet" if left is None else f"; about {clock(left)} left"
    )
    found = [f"{text} (as of {clock(ago)} ago)"]
    for run in running[:SHOWN]:
        error = run.get("margin_error")
        shown = "" if error is None else f", margin error {error:.3f}"
        found.append(f"  {run['run']}: epoch {run['epoch']}{shown}")
    if len(running) > SHOWN:
        found.append(f"  and {len(running) - SHOWN} more")
    return found


def main(argv: Sequence[str] | None = None) -> None:
    """Prints the status of each folder named; exit code 2 after one line on what is wrong."""
    folders = sys.argv[1:] if argv is None else list(argv)
    if {"--help", "-h", "-help"} & set(folders):
        print(USAGE)
        return
    flags = [word for word in folders if word.startswith("-")]
    if not folders or flags:
        what = f"{flags[0]}: not a flag" if flags else "no folder"
        refuse(f"{what}; write {USAGE.partition(':')[0]}")
    refused = []
    try:
        for out in folders:
            try:
                print("\n".join(lines(out)))
            except Refusal as refusal:
                refused.append(str(refusal))
        sys.stdout.flush()
        for line in refused[:-1]:
            say(line)
        if refused:
            refuse(refused[-1])
    except BrokenPipeError:  # `| head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    main()
