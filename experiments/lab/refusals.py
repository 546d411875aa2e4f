"""What a program says, in one line, when it cannot do what it was asked."""


class Refusal(Exception):
    """A request that cannot be met: names the flag or file, the value and the remedy."""
