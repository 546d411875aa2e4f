"""The command: `python -m experiments.beyond_uc`."""

from experiments.beyond_uc import PROGRAM
from experiments.lab import command_line


def main() -> None:
    """Runs the program with the flags of the command line."""
    command_line.main(PROGRAM)


if __name__ == "__main__":
    main()
