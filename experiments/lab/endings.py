"""How a command ends: whatever happened, with one line and an exit code."""

import contextlib
import errno
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

from experiments.lab import interrupts
from experiments.lab.refusals import Refusal, in_one_line, why_not_written


def name_of_command() -> str:
    """The command that was typed, with which its lines begin."""
    path = Path(sys.argv[0])
    return path.parent.name if path.name == "__main__.py" else path.stem


def refuse(line: str, code: int = 2) -> NoReturn:
    """Ends the command with one line on what is wrong, and an exit code."""
    print(in_one_line(f"{name_of_command()}: {line}"), file=sys.stderr)
    sys.stderr.flush()
    sys.exit(code)


@contextlib.contextmanager
def in_a_line(how_to_go_on: Callable[[], str]) -> Iterator[None]:
    """What ends the block ends the command, in one line: a refusal, a signal, a full disk.

    Args:
      how_to_go_on: what to type next, as the end of a line, or ''.
    """
    try:
        yield
    except Refusal as refusal:
        refuse(str(refusal))
    except KeyboardInterrupt:
        _stop(signal.SIGINT, how_to_go_on())
    except interrupts.Terminated:
        _stop(signal.SIGTERM, how_to_go_on())
    except Exception as error:
        reason = why_not_written(error)
        if reason is None:
            raise
        if reason == os.strerror(errno.ENOSPC):
            refuse(f"the disk is full; free some space{how_to_go_on()}")
        name = getattr(error, "filename", None)
        what = f"{name}: {reason}" if name else f"something cannot be written: {reason}"
        refuse(f"{what}; see to it that you may write there{how_to_go_on()}")


def _stop(number, how_to_go_on):
    """Ends the process after a signal.

    The interpreter is not taken down first: threads of JAX that still compile or compute would crash
    as it goes. What was written is whole, and locks end with the process.
    """
    reason = interrupts.reason()
    line = f"{name_of_command()}: {reason or interrupts.WORDS[number]}{how_to_go_on}"
    print(in_one_line(line), file=sys.stderr)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):
            stream.flush()
    os._exit(interrupts.ENDED if reason else interrupts.CODES[number])
