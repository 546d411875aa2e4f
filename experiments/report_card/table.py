"""The frozen table of networks: settings, errors and everything measured, in one file of arrays.

`<suite>.npz` holds columns, an entry a network; `<suite>.json` beside it says what made them
and the sha256 of the columns. To read it with numpy alone:

    table = numpy.load("standard.npz")
    mnist = (table["problem"] == "mnist") & table["converged"]
    m, error = table["m"][mnist], table["test_error"][mnist]
    frobenius = table["layers/frobenius"][mnist]  # [networks, layers]
    used = table["length:layers/frobenius"][mnist]  # how many of the layers there are

A column whose entries are arrays of different lengths is padded at its end and has its lengths
beside it, -1 where a network has none.
"""

import dataclasses
import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments.lab.measuring import MADE_BY, MADE_FROM, MISSING, Arrays
from experiments.lab.refusals import Refusal
from experiments.lab.run_folder import whole

VERSION = 1
LENGTH = "length:"
QUANTILES = np.linspace(0, 1, 101)
SHIPPED = Path(__file__).parent / "tables"
# Where the margins on held-out examples are kept: as a count of errors, and quantiles.
_HELD_OUT = ("test", "test_noisy")


@dataclasses.dataclass(frozen=True)
class Table:
    """Networks, and what was measured of each.

    Attributes:
      about: `version`, `suite`, `settings`, `made_with`, `sha256`.
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
    """Columns of all networks, each an array with a leading axis of networks."""
    found = {name: np.array([n[name] for n in networks]) for name in networks[0]}
    for name in sorted({name for arrays in measured for name in arrays}):
        found |= _column(name, [arrays.get(name) for arrays in measured])
    return found


def _column(name, entries):
    known = [e for e in entries if e is not None]
    if name.startswith(MISSING):
        return {name: np.array(["" if e is None else str(e) for e in entries])}
    shape = known[0].shape
    if len(known) == len(entries) and all(e.shape == shape for e in known):
        return {name: np.stack(known)}
    if not shape:
        known = [e[None] for e in known]
        entries = [None if e is None else e[None] for e in entries]
    longest = max(len(e) for e in known)
    kind = known[0].dtype
    filler = np.nan if kind.kind == "f" else 0
    padded = np.full((len(entries), longest, *known[0].shape[1:]), filler, kind)
    lengths = np.full(len(entries), -1, np.int32)
    for place, entry in enumerate(entries):
        if entry is not None:
            padded[place, : len(entry)] = entry
            lengths[place] = len(entry)
    if not shape:
        padded = padded[:, 0]
    return {name: padded, LENGTH + name: lengths}


def _rows(found, names):
    """The inverse of `columns`."""
    count = len(found[names[0]])
    networks = [{n: found[n][i].item() for n in names} for i in range(count)]
    measured: list[Arrays] = [{} for _ in range(count)]
    for name, column in found.items():
        if name in names or name.startswith(LENGTH):
            continue
        lengths = found.get(LENGTH + name)
        for place, arrays in enumerate(measured):
            if name.startswith(MISSING):
                if column[place]:
                    arrays[name] = column[place]
            elif lengths is None or column.ndim == 1:
                if lengths is None or lengths[place] >= 0:
                    arrays[name] = column[place]
            elif lengths[place] >= 0:
                arrays[name] = column[place][: lengths[place]]
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


def read(path: Path) -> Table:
    """A table that `write` has written.

    Args:
      path: without its ending.

    Raises:
      Refusal: it is not there, of another version, or not as it was written.
    """
    beside, columns_path = path.with_suffix(".json"), path.with_suffix(".npz")
    try:
        about = json.loads(beside.read_text())
        data = columns_path.read_bytes()
    except FileNotFoundError as error:
        raise Refusal(
            f"{error.filename}: there is no such table; make one by "
            "`python -m experiments.report_card.make_table`"
        ) from error
    except ValueError as error:
        raise Refusal(
            f"{beside}: cannot be read ({error}); make the table again"
        ) from error
    version = about.get("version") if isinstance(about, dict) else None
    if version != VERSION:
        raise Refusal(
            f"{beside}: a table of version {version}, and this reads version {VERSION}; make it "
            "again by `python -m experiments.report_card.make_table`"
        )
    if hashlib.sha256(data).hexdigest() != about["sha256"]:
        raise Refusal(
            f"{columns_path}: is not as it was written (its sha256 is another than in "
            f"{beside.name}); fetch it or make it again"
        )
    with np.load(io.BytesIO(data)) as stored:
        found = {name: stored[name] for name in stored.files}
    networks, measured = _rows(found, about["columns_of_networks"])
    return Table(about, networks, measured)


__all__ = ["MADE_FROM", "Table", "frozen", "read", "write"]
