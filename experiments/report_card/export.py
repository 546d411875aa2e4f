"""A table of networks as one flat file, for other programs: a row a network.

  python -m experiments.report_card.export --suite=standard --to=networks.csv

A scalar is a column; an array is a column an entry, `layers/frobenius[0]`, or `name[0,1]` where
it has two axes. What a network does not have is an empty cell. `--to=networks.parquet` needs
pyarrow.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags

from experiments.lab.checksums import whole
from experiments.lab.command_line import tool
from experiments.lab.formats import write_table
from experiments.lab.refusals import Refusal
from experiments.report_card import table as tables
from experiments.report_card.suite import SUITES

flags.DEFINE_string("suite", "standard", "whose frozen table is meant")
flags.DEFINE_string("table", None, "another table: the run folder of make_table")
flags.DEFINE_string("to", None, "the file: .csv, or .parquet where pyarrow is there")


def rows(table: tables.Table) -> list[dict[str, Any]]:
    """A dict a network: its settings and errors, then every entry of what was measured."""
    return [
        {**network, **_flat(arrays)}
        for network, arrays in zip(table.networks, table.measured, strict=True)
    ]


def _flat(arrays):
    found = {}
    for name in sorted(arrays):
        array = np.asarray(arrays[name])
        for place, value in np.ndenumerate(array):
            index = f"[{','.join(map(str, place))}]" if place else ""
            found[f"{name}{index}"] = value.item()
    return found


def columns(found: Sequence[dict[str, Any]]) -> list[str]:
    """The columns of rows: an array's entries together, in the order of its axes."""
    every = dict.fromkeys(name for row in found for name in row)
    settings = [name for name in every if "/" not in name]
    return settings + sorted((n for n in every if "/" in n), key=_place)


def _place(name):
    stem, _, index = name.removesuffix("]").partition("[")
    return stem, [int(number) for number in index.split(",") if number]


def write(table: tables.Table, to: Path) -> None:
    """Writes a table to a new file.

    Args:
      table: of networks.
      to: its ending says how.

    Raises:
      Refusal: it is there, of an ending that there is not, or cannot be written.
    """
    if to.exists():
        raise Refusal(f"--to={to}: exists; use another")
    if to.suffix not in (".csv", ".parquet"):
        raise Refusal(f"--to={to}: must end in .csv or .parquet")
    parquet = _parquet(to) if to.suffix == ".parquet" else None
    found = rows(table)
    names = columns(found)
    if parquet is None:
        write_table(to, names, found)
        return
    arrow, writer = parquet
    made = arrow.table({name: [row.get(name) for row in found] for name in names})
    with whole(to) as aside:
        writer.write_table(made, aside)


def _parquet(to):
    """pyarrow, and what it writes Parquet with.

    Raises:
      Refusal: it is not there.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise Refusal(
            f"--to={to}: Parquet needs pyarrow, which is not here; pip install pyarrow, or end "
            "it in .csv"
        ) from error
    return pyarrow, parquet


def main() -> None:
    """Writes the file and says what is in it.

    Raises:
      Refusal: a flag names nothing, or the file cannot be written.
    """
    asked = flags.FLAGS
    if not asked.to:
        raise Refusal("--to is missing; name the file, e.g. --to=networks.csv")
    if asked.suite not in SUITES:
        raise Refusal(f"--suite={asked.suite}: must be one of {', '.join(SUITES)}")
    table = tables.read(tables.path_of(asked.suite, asked.table))
    write(table, Path(asked.to))
    print(f"{asked.to}: {len(table.networks)} networks")


if __name__ == "__main__":
    tool(main)
