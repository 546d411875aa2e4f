"""The table of bounds/README.md: every bound, what it promises, and its value on an MNIST network.

  python -m experiments.tools.bounds_table --folders=runs/library,runs/posterior,runs/subspace

reads the values from run folders, for each bound from the first that
has one, and writes the table between its two marks. `make library DATA=DIR` makes
the folders, too.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from absl import flags

import bounds
from experiments.lab import report
from experiments.lab.command_line import tool
from experiments.lab.formats import read_table
from experiments.lab.refusals import Refusal
from experiments.tools import marked

MARK = "library"

flags.DEFINE_list("folders", None, "run folders of evaluate or certify")
flags.DEFINE_string("readme", "bounds/README.md", "the file with the table")


def values(folders: Sequence[str]) -> dict[str, Any]:
    """bound -> its row of the first folder, and of its first network, that has a value."""
    found = {}
    for folder in folders:
        path = Path(folder) / "bounds.csv"
        if not path.is_file():
            raise Refusal(
                f"--folders={folder}: has no bounds.csv; give folders of evaluate, certify or "
                "bounds_vs_samples"
            )
        for row in read_table(path):
            if row["bound"] in bounds.BOUNDS and row["value"]:
                found.setdefault(row["bound"], row)
    return found


def table(found: Mapping[str, Any]) -> list[str]:
    """The Markdown lines: a row a bound; `found` as `values` returns it."""
    lines = [
        "| bound or measure | status | speaks of | needs | value |",
        "|---|---|---|---|---:|",
    ]
    for name, spec in bounds.BOUNDS.items():
        needs = ", ".join(spec.groups)
        row = found.get(name)
        value = report.number(float(row["value"])) if row else "n/a"
        lines.append(
            f"| `{name}` | {spec.status} | {spec.speaks_of} | {needs} | {value} |"
        )
    return lines


def main() -> None:
    """Writes the table into the file.

    Raises:
      Refusal: no folder is named, or one is no run's.
    """
    asked = flags.FLAGS
    if not asked.folders:
        raise Refusal("--folders is missing; name run folders of evaluate or certify")
    marked.write(asked.readme, MARK, table(values(asked.folders)))


if __name__ == "__main__":
    tool(main)
