"""The command: `python -m experiments.evaluate`."""

from typing import Any

from experiments.evaluate import PROGRAM
from experiments.lab import bound_settings, command_line
from experiments.lab.calls import settings_of


def show_list(given: dict[str, Any]) -> bool:
    """Prints the catalogue, if that is what is asked for."""
    given = dict(given)
    if not given.pop("list", False):
        return False
    config = bound_settings.with_bounds(
        settings_of(PROGRAM, given.get("problem"), None, given)
    )
    print(bound_settings.listing(config.bounds))
    return True


def main() -> None:
    """Runs the program with the flags of the command line."""
    command_line.main(PROGRAM, instead=show_list)


if __name__ == "__main__":
    main()
