"""What is worth saying of files that are read, though nothing is wrong with them."""

import functools


@functools.cache
def say(line: str) -> None:
    """Prints a line, once in a process: files are read again and again."""
    print(line, flush=True)
