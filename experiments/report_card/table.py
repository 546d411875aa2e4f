"""The frozen table of networks: settings, errors and everything measured, in one file of arrays.

`<suite>.npz` holds columns, an entry a network; `<suite>.json` beside it says what made them
and the sha256 of the columns. To read it with numpy alone:

    table = numpy.load("standard.npz")
    mnist = (table["problem"] == "mnist") & table["converged"]
    m, error = table["m"][mnist], table["test_error"][mnist]
    frobenius = table["layers/frobenius"][mnist]  # [networks, layers]
    used = table["length:layers/frobenius"][mnist]  # how many of the layers there are

A column whose entries are of different lengths is padded at its end and has its lengths beside
it, -1 where a network has none. Where they differ in more than their first axis, the lengths are
`[networks, axes]`.
"""

import dataclasses
import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments.lab import checksums
from experiments.lab.checksums import whole
from experiments.lab.measuring import MADE_BY, MISSING, Arrays
from experiments.lab.refusals import Refusal
from experiments.report_card.networks import COLUMNS

VERSION = 1
LENGTH = "length:"
QUANTILES = np.linspace(0, 1, 101)
SHIPPED = Path(__file__).parent / "tables"
# Where the margins on held-out examples are kept: as a count of errors, and quantiles.
_HELD_OUT = ("test", "test_noisy")
# What stands where a network has no number; elsewhere 0.
_FILLERS = {"f": np.nan, "c": np.nan, "U": ""}
# What is read of the description.
_KEYS = {
    "suite": str, "sha256": str, "networks": int, "columns_of_networks": list,
    "definitions": dict, "made_with": dict,
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Table:
    """Networks, and what was measured of each.

    Attributes:
      about: `version`, `suite`, `networks`, `columns_of_networks`, `definitions`, `made_with`,
        `sha256`.
      networks: settings and errors, a dict each.
      measured: flat arrays `<group>/<field>`, a dict each.
    """

    about: Mapping[str, Any]
    networks: Sequence[Mapping[str, Any]]
    measured: Sequence[Arrays]


def frozen(arrays: Arrays) -> Arrays:
    """What the table keeps of one network's measurements: groups, and why some are missing.

    Margins on held-out examples become `wrong`, `size` and `quantiles`.
    """
    found = {}
    for name, value in arrays.items():
        group = name.split("/")[0]
        if group in _HELD_OUT:
            continue
        if "/" in name and not name.startswith(MADE_BY):
            found[name] = np.asarray(value)
    for group in _HELD_OUT:
        margins = arrays.get(f"{group}/sorted")
        if margins is not None:
            found[f"{group}/wrong"] = np.asarray(int((margins <= 0).sum()))
            found[f"{group}/size"] = np.asarray(len(margins))
            with np.errstate(invalid="ignore"):  # lost examples have margins of -inf
                found[f"{group}/quantiles"] = np.quantile(margins, QUANTILES)
    return found


def definitions(arrays: Arrays) -> dict[str, str]:
    """Group -> digest of the code that measured it."""
    return {
        name.removeprefix(MADE_BY): str(value)
        for name, value in arrays.items()
        if name.startswith(MADE_BY)
    }


def columns(
    networks: Sequence[Mapping[str, Any]], measured: Sequence[Arrays]
) -> dict[str, np.ndarray]:
    """Columns of all networks, each an array with a leading axis of networks.

    Args:
      networks: settings and errors, of the same names.
      measured: flat arrays; of one name always of one rank.
    """
    found = {name: np.array([n[name] for n in networks]) for name in networks[0]}
    for name in sorted({name for arrays in measured for name in arrays}):
        found |= _column(name, [arrays.get(name) for arrays in measured])
    return found


def _column(name, entries):
    if name.startswith(MISSING):
        return {name: np.array(["" if e is None else str(e) for e in entries])}
    known = [np.asarray(e) for e in entries if e is not None]
    shapes = {e.shape for e in known}
    if len(known) == len(entries) and len(shapes) == 1:
        return {name: np.stack(known)}
    kind = np.result_type(*known)
    longest = tuple(max(sizes) for sizes in zip(*shapes, strict=True))
    padded = np.full((len(entries), *longest), _FILLERS.get(kind.kind, 0), kind)
    # How much of each axis is used: one number where only the first differs.
    axes = max(1, len(longest)) if len({shape[1:] for shape in shapes}) > 1 else 1
    lengths = np.full((len(entries), axes), -1, np.int32)
    for place, entry in enumerate(entries):
        if entry is not None:
            shape = np.shape(entry)
            padded[(place, *map(slice, shape))] = entry
            lengths[place] = shape[:axes] or 1
    return {name: padded, LENGTH + name: lengths[:, 0] if axes == 1 else lengths}


def _rows(found, names):
    """The inverse of `columns`."""
    count = len(found[names[0]])
    networks = [{n: found[n][i].item() for n in names} for i in range(count)]
    measured: list[Arrays] = [{} for _ in range(count)]
    for name, column in found.items():
        if name in names or name.startswith(LENGTH):
            continue
        if name.startswith(MISSING):
            for arrays, why in zip(measured, column, strict=True):
                if why:
                    arrays[name] = np.array(why)
            continue
        lengths = found.get(LENGTH + name)
        for place, arrays in enumerate(measured):
            if lengths is None or column.ndim == 1:
                used = ()
            else:
                used = tuple(slice(int(n)) for n in np.atleast_1d(lengths[place]))
            if lengths is None or np.all(lengths[place] >= 0):
                arrays[name] = column[(place, *used, ...)]
    return networks, measured


def write(
    path: Path,
    networks: Sequence[Mapping[str, Any]],
    measured: Sequence[Arrays],
    about: Mapping[str, Any],
) -> None:
    """Writes `<path>.npz` and `<path>.json`; the same bytes from the same networks.

    Args:
      path: without its ending.
      networks: settings and errors.
      measured: `frozen` each.
      about: what made them.
    """
    memory = io.BytesIO()
    np.savez_compressed(memory, **columns(networks, measured))
    data = memory.getvalue()
    described = {
        "version": VERSION,
        "networks": len(networks),
        "columns_of_networks": list(networks[0]),
        "sha256": hashlib.sha256(data).hexdigest(),
        **about,
    }
    with whole(path.with_suffix(".npz")) as aside:
        aside.write_bytes(data)
    with whole(path.with_suffix(".json")) as aside:
        aside.write_text(json.dumps(described, indent=1, sort_keys=True) + "\n")


def path_of(suite: str, folder: str | None = None) -> Path:
    """Where a table is, without its ending.

    Args:
      suite: whose frozen table is meant.
      folder: the run folder of another table, or None.

    Raises:
      Refusal: there is none.
    """
    path = SHIPPED / suite if folder is None else Path(folder) / "table"
    lacking = [p for p in map(path.with_suffix, (".json", ".npz")) if not p.is_file()]
    if not lacking:
        return path
    if folder is None:
        raise Refusal(
            f"--suite={suite}: its frozen table is not here ({lacking[0]}); name another by "
            "--table, or --retrain makes it"
        )
    raise Refusal(
        f"--table={folder}: has no {lacking[0].name}; name a finished run folder of "
        "experiments.report_card.make_table"
    )


def read(path: Path) -> Table:
    """A table that `write` has written.

    Args:
      path: without its ending.

    Raises:
      Refusal: it is not there, of another version, or not as it was written.
    """
    beside, columns_path = path.with_suffix(".json"), path.with_suffix(".npz")
    about = _about(beside)
    try:
        data = checksums.intact(columns_path)
    except OSError as error:
        raise _unread(columns_path, error) from error
    if hashlib.sha256(data).hexdigest() != about["sha256"]:
        raise Refusal(
            f"{columns_path}: is not as it was written (its sha256 is another than in "
            f"{beside.name}); fetch it or make it again"
        )
    names = about["columns_of_networks"]
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as stored:
            found = {name: stored[name] for name in stored.files}
    except Exception as error:  # readers of broken zips raise what they like
        raise _unread(columns_path, error) from error
    lacking = [n for n in (*COLUMNS, *names) if n not in names or n not in found]
    if lacking:
        raise Refusal(
            f"{columns_path}: has no column {lacking[0]}; make the table again"
        )
    if {len(column) if column.ndim else 0 for column in found.values()} != {
        about["networks"]
    }:
        raise Refusal(
            f"{columns_path}: not all its columns are of {about['networks']} networks; make the "
            "table again"
        )
    return Table(about, *_rows(found, names))


def _about(path):
    """The description beside the columns, with all that is read of it."""
    try:
        about = json.loads(checksums.intact(path))
    except (OSError, ValueError, RecursionError) as error:
        raise _unread(path, error) from error
    version = about.get("version") if isinstance(about, dict) else None
    if version != VERSION:
        raise Refusal(
            f"{path}: a table of version {version}, and this reads version {VERSION}; make it "
            "again by `python -m experiments.report_card.make_table`"
        )
    for key, kind in _KEYS.items():
        names = about[key] if kind is list and isinstance(about.get(key), list) else ()
        is_wrong = not all(isinstance(name, str) for name in names)
        if is_wrong or not isinstance(about.get(key), kind) or not about[key]:
            raise Refusal(
                f"{path}: does not say its {key}, or not as it was written; fetch it or make "
                "the table again"
            )
    return about


def _unread(path, error):
    if isinstance(error, FileNotFoundError):
        what = "there is no such table; make one"
    else:
        reason = getattr(error, "strerror", None) or type(error).__name__
        what = f"cannot be read ({reason}); make the table again"
    return Refusal(f"{path}: {what} by `python -m experiments.report_card.make_table`")


__all__ = ["Table", "frozen", "path_of", "read", "write"]
