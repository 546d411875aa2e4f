"""What a program says, in one line, when it cannot do what it was asked, or does it otherwise."""

import sys


class Refusal(Exception):
    """A request that cannot be met: names the flag or file, the value and the remedy."""


def say(line: str) -> None:
    """One line, on the side, on what is not as one would expect; the program goes on."""
    print(line, file=sys.stderr, flush=True)
