"""The command: `python -m experiments.certify`."""

import sys
from typing import Any

from experiments.certify import PROGRAM
from experiments.lab import command_line


def verify(given: dict[str, Any]) -> bool:
    """Recounts a certificate, if that is what is asked for; exit code 1 where it is refuted."""
    if given.get("verify") is None:
        return False
    from experiments.certify import verification

    line, holds = verification.verified(given)
    print(line)
    if not holds:
        sys.stdout.flush()
        sys.exit(1)
    return True


def main() -> None:
    """Runs the program with the flags of the command line."""
    command_line.main(PROGRAM, instead=verify)


if __name__ == "__main__":
    main()
