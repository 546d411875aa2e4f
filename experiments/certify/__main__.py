"""The command: `python -m experiments.certify`."""

from experiments.certify import PROGRAM
from experiments.lab import command_line


def main() -> None:
    """Runs the program with the flags of the command line."""
    command_line.main(PROGRAM)


if __name__ == "__main__":
    main()
