"""Ctrl-C and SIGTERM: one line and an exit code, whenever they come.

Python raises an exception wherever the interpreter happens to be. Inside what is written in other
languages, JAX while it starts above all, that is fatal or lost. So a command ends at once until it
opens its run folder: nothing is lost by that. From then on the exception is raised, so that
everything is left whole, and raised again at the next tick where it was swallowed.
"""

import os
import signal
import sys
import time
from typing import Any, NoReturn

CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}
ENDED = 1  # by `end`
WORDS = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}

GRACE_SECONDS = 10.0  # that what computes has to come to a stop

_state: dict[str, Any] = {"name": None, "pending": None, "reason": ""}


class Terminated(BaseException):
    """SIGTERM came."""


_EXCEPTIONS = {signal.SIGINT: KeyboardInterrupt, signal.SIGTERM: Terminated}


def end_at_once(name: str) -> None:
    """From now on either signal ends the process, after one line.

    Args:
      name: of the command, with which the line begins.
    """
    _state.update(name=name, pending=None)
    for number in CODES:
        signal.signal(number, _end)


def raise_them() -> None:
    """From now on either signal raises its exception; of no effect without `end_at_once`."""
    if _state["name"] is not None:
        sys.unraisablehook = _say_nothing_of_ours
        for number in CODES:
            signal.signal(number, _raise)


def end(reason: str) -> None:
    """Ends the process from one of its threads, after one line that gives the reason.

    As SIGTERM does; at once where what computes does not come to a stop within `GRACE_SECONDS`.
    """
    _state["reason"] = reason
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE_SECONDS)
    os.write(2, f"{_state['name']}: {reason}\n".encode(errors="replace"))
    os._exit(ENDED)


def reason() -> str:
    """Why `end` ends this process, or ''."""
    return _state["reason"]


def check() -> None:
    """Raises the exception of a signal that has come and was swallowed."""
    if _state["pending"] is not None:
        raise _EXCEPTIONS[_state["pending"]]


def _say_nothing_of_ours(unraisable):
    """What a callback of JAX swallows is raised again (`check`): no traceback of it is shown."""
    if not isinstance(unraisable.exc_value, tuple(_EXCEPTIONS.values())):
        sys.__unraisablehook__(unraisable)


def _end(number, _) -> NoReturn:
    line = f"{_state['name']}: {_state['reason'] or WORDS[number]}\n"
    os.write(2, line.encode(errors="replace"))
    os._exit(ENDED if _state["reason"] else CODES[number])


def _raise(number, _) -> NoReturn:
    _state["pending"] = number
    raise _EXCEPTIONS[number]
