"""Rows of a table, kept as columns: of a sweep of thousands of runs they are what stays in memory.

A row is a mapping of cells, as everywhere; it is made when it is asked for. As columns a cell takes 12
bytes, as a dict of its own 60 to 100.
"""

import array
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]
_FLOAT, _INT, _ABSENT = -1, -2, -3  # what a cell is; from 0 on its place in `others`
_EXACT = 2**53  # integers below are floats without rounding


class _Column:
    """The cells of a column: numbers, and each other value once."""

    def __init__(self, absent: int):
        self.kinds = array.array("i", [_ABSENT]) * absent
        self.numbers = array.array("d", [0.0]) * absent
        self.others: list[Any] = []
        self.places: dict[Any, int] = {}

    def _coded(self, value):
        """What a cell is, and its number."""
        if isinstance(value, float):
            return _FLOAT, float(value)
        if type(value) is int and abs(value) < _EXACT:
            return _INT, float(value)
        key = value if isinstance(value, str) else (type(value), value)
        place = self.places.setdefault(key, len(self.others))
        if place == len(self.others):
            self.others.append(value)
        return place, 0.0

    def append(self, value: Any) -> None:
        kind, number = self._coded(value)
        self.kinds.append(kind)
        self.numbers.append(number)

    def append_absent(self) -> None:
        self.kinds.append(_ABSENT)
        self.numbers.append(0.0)

    def replace(self, place: int, value: Any) -> None:
        self.kinds[place], self.numbers[place] = self._coded(value)

    def cell(self, place: int, kind: int) -> Any:
        if kind >= 0:
            return self.others[kind]
        number = self.numbers[place]
        return number if kind == _FLOAT else int(number)


class CompactRows(Sequence[Row]):
    """A sequence of rows that grows at its end, each a dict when it is asked for.

    Cells are floats, integers, strings, truth values, None, or of another hashable type; a row need
    not have all columns. Numpy's float64 come back as floats.

    Args:
      rows: the first ones.
    """

    def __init__(self, rows: Iterable[Row] = ()):
        self._columns: dict[str, _Column] = {}
        self._count = 0
        self.extend(rows)

    @property
    def columns(self) -> list[str]:
        """Names of columns, in the order in which they came up."""
        return list(self._columns)

    def append(self, row: Row) -> None:
        """A row more."""
        for name in row:
            if name not in self._columns:
                self._columns[name] = _Column(self._count)
        for name, column in self._columns.items():
            if name in row:
                column.append(row[name])
            else:
                column.append_absent()
        self._count += 1

    def extend(self, rows: Iterable[Row]) -> None:
        """Rows more."""
        for row in rows:
            self.append(row)

    def replace(self, place: int, name: str, value: Any) -> None:
        """Another value of one cell, of a column that is there."""
        self._columns[name].replace(place, value)

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, place: Any) -> Any:
        if isinstance(place, slice):
            return Chosen(self, range(self._count)[place])
        place = range(self._count)[place]
        return {
            name: column.cell(place, kind)
            for name, column in self._columns.items()
            if (kind := column.kinds[place]) != _ABSENT
        }


class Chosen(Sequence[Row]):
    """Some rows of a sequence, by their places."""

    def __init__(self, rows: Sequence[Row], places: Sequence[int]):
        self._rows, self._places = rows, places

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, place: Any) -> Any:
        if isinstance(place, slice):
            return Chosen(self._rows, self._places[place])
        return self._rows[self._places[place]]

    def __iter__(self) -> Iterator[Row]:
        return (self._rows[place] for place in self._places)


def where(rows: Sequence[Row], keep: Callable[[Row], bool]) -> Sequence[Row]:
    """The rows that a condition holds of, without a copy of them."""
    kept = (place for place, row in enumerate(rows) if keep(row))
    return Chosen(rows, array.array("q", kept))


def grouped(
    rows: Sequence[Row], key: Callable[[Row], Hashable]
) -> dict[Hashable, Sequence[Row]]:
    """What a key says of rows -> these rows, without a copy of them."""
    places: dict[Hashable, array.array] = {}
    for place, row in enumerate(rows):
        places.setdefault(key(row), array.array("q")).append(place)
    return {one: Chosen(rows, own) for one, own in places.items()}


def names_of(rows: Sequence[Row]) -> list[str]:
    """The columns of rows of any kind, in the order in which they come up."""
    if isinstance(rows, CompactRows):
        return rows.columns
    if isinstance(rows, Chosen):
        return names_of(rows._rows)
    return list(dict.fromkeys(name for row in rows for name in row))
