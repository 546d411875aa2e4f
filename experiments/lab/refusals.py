"""What a program says, in one line, when it cannot do what it was asked, or does it otherwise."""

import errno
import os
import sys


class Refusal(Exception):
    """A request that cannot be met: names the flag or file, the value and the remedy.

    One line, also where a name in it has several.
    """

    def __init__(self, message: str):
        super().__init__(" ".join(message.splitlines()))


def in_one_line(text: str) -> str:
    """A text as one line that a terminal shows: names in it may come from anybody's files."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def say(line: str) -> None:
    """One line, on the side, on what is not as one would expect; the program goes on."""
    print(in_one_line(line), file=sys.stderr, flush=True)


# With these a system says that it will not take what is written.
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
_NOT_WRITTEN = (*_NO_ROOM, errno.EACCES, errno.EPERM, errno.EIO, errno.ESTALE)


def why_not_written(error: BaseException | None) -> str | None:
    """The system's reason why something could not be written, or None: it is another error.

    Libraries raise errors of their own over it. The system's number is looked for first, in the
    error and in those that it came from; words are all there is of an error that passed through
    code without such numbers (TensorStore's). What was raised while another error was handled need
    not have come from it: then only numbers are taken that nothing but writing brings.
    """
    chain = list(_came_from(error))
    for one, is_cause in chain:
        known = _NOT_WRITTEN if is_cause else _NO_ROOM
        if isinstance(one, OSError) and one.errno in known:
            return os.strerror(one.errno)
    for one, _ in chain:
        for number in _NO_ROOM:
            if os.strerror(number) in str(one):
                return os.strerror(number)
    return None


def _came_from(error, is_cause=True, seen=()):
    """An error and those that it came from, each once, and whether it says so itself."""
    if error is None or any(error is one for one in seen):
        return
    seen = [*seen, error]
    yield error, is_cause
    for one in getattr(error, "exceptions", ()):  # of a group
        yield from _came_from(one, is_cause, seen)
    if error.__cause__ is not None:
        yield from _came_from(error.__cause__, is_cause, seen)
    else:
        yield from _came_from(error.__context__, False, seen)
