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

    Libraries raise errors of their own over it: those are known by their words.
    """
    if isinstance(error, OSError) and error.errno in _NOT_WRITTEN:
        return os.strerror(error.errno)
    while error is not None:
        for number in _NO_ROOM:
            if os.strerror(number) in str(error):
                return os.strerror(number)
        error = error.__cause__ or error.__context__
    return None
