"""What is worth saying of files that are read, though nothing is wrong with them."""

import functools

from experiments.lab.reading.flaws import printable


@functools.cache
def say(line: str) -> None:
    """Prints a line, once in a process: files are read again and again."""
    print(printable(line), flush=True)
