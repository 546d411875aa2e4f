"""The command: `python -m experiments.report_card`."""

from experiments.lab import command_line
from experiments.report_card.program import PROGRAM


def main() -> None:
    """Runs the program with the flags of the command line."""
    command_line.main(PROGRAM)


if __name__ == "__main__":
    main()
