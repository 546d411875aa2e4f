"""What is wrong with a file, for those who know its name to say."""

import contextlib
import struct
import zipfile
import zlib
from collections.abc import Iterator

# What readers of files raise where a file is not what it says: nothing else is taken for a flaw.
_RAISED = (
    OSError, EOFError, ValueError, OverflowError, NotImplementedError, RecursionError,
    struct.error, zlib.error, zipfile.BadZipFile, zipfile.LargeZipFile,
)  # fmt: skip
_LONGEST = 160


class Flaw(Exception):
    """Why a file cannot be read, in a few words on one line."""


def shown(text: object) -> str:
    """A text of a file, as a refusal quotes it: one line of a bounded length."""
    quoted = ascii(text) if not str(text).isprintable() else str(text)
    return quoted if len(quoted) <= _LONGEST else f"{quoted[:_LONGEST]}..."


def printable(name: str) -> str:
    """A name with what cannot be printed, as line breaks, written as Python writes it."""
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode() for c in name
    )


@contextlib.contextmanager
def told() -> Iterator[None]:
    """Turns what readers raise into a `Flaw`."""
    try:
        yield
    except MemoryError as error:
        raise Flaw("it needs more memory than there is") from error
    except _RAISED as error:
        cause = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise Flaw(shown(cause.splitlines()[0])) from error
