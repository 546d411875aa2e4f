"""What a check finds: rows that are printed and written as soon as they are known."""

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

from experiments.lab.checksums import whole
from experiments.lab.report import number


@dataclasses.dataclass(frozen=True)
class Row:
    """One thing that was checked or timed.

    Attributes:
      part: of the check that found it.
      what: was looked at.
      value: what was found.
      unit: of the value.
      share: of what the device can do, or None.
      holds: whether what was promised holds; None where nothing was.
      note: what it was compared with, what failed.
    """

    part: str
    what: str
    value: float
    unit: str
    share: float | None = None
    holds: bool | None = None
    note: str = ""


class Table:
    """The rows so far: each is on the terminal, and in the file, once it is added."""

    def __init__(self, path: Path | None, facts: dict[str, Any]):
        self.rows: list[Row] = []
        self._path, self._facts = path, facts
        self._write()

    def add(self, row: Row) -> None:
        """Prints a row and writes the file again, whole."""
        self.rows.append(row)
        share = "" if row.share is None else f"{row.share:5.0%}"
        verdict = {None: "", True: "holds", False: "FAILS"}[row.holds]
        cells = f"{row.part:<10} {row.what:<58} {number(row.value):>11} {row.unit:<20}"
        print(f"{cells} {share:>5} {verdict:<5} {row.note}".rstrip(), flush=True)
        self._write()

    @property
    def failed(self) -> list[Row]:
        """What was promised and does not hold."""
        return [row for row in self.rows if row.holds is False]

    def _write(self):
        if self._path is None:
            return
        rows = [dataclasses.asdict(row) for row in self.rows]
        for row in rows:  # JSON has no other numbers
            row["value"] = row["value"] if math.isfinite(row["value"]) else None
        with whole(self._path) as path:
            text = json.dumps(self._facts | {"rows": rows}, indent=1, allow_nan=False)
            path.write_text(text)
