"""What a program says, in one line, when it cannot do what it was asked."""


class Refusal(Exception):
    """A request that cannot be met: names the flag or file, the value and the remedy.

    One line, also where a name in it has several.
    """

    def __init__(self, message: str):
        super().__init__(" ".join(message.splitlines()))
