"""What tools beyond uniform convergence claim: rows of the card, from run folders of `beyond_uc`.

Each claim is made of the networks of its own folder, and held against the error of the network
that it speaks of. `beyond.json` beside the tables holds what the folders of the README said
(`experiments.report_card.keep_claims`).
"""

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments.beyond_uc import PROGRAM
from experiments.beyond_uc.cell import BASE
from experiments.beyond_uc.report import costs
from experiments.beyond_uc.tools.tool import ON_S
from experiments.lab import formats, run_folder
from experiments.lab.checksums import whole
from experiments.lab.refusals import Refusal
from experiments.report_card import suite
from experiments.report_card.claims import BEYOND, Claims, Networks
from experiments.report_card.table import SHIPPED

KEPT = "kept"  # of --beyond: what comes with the package
FILE = SHIPPED / "beyond.json"
VERSION = 1
_ALL_SEEDS = "one number for all training sets together, of which no seed has its own"
_SILENT = "no tool claims it there"
_VACUOUS = "it says 1, and no more, there"


@dataclasses.dataclass(frozen=True)
class Record:
    """What was claimed in one run folder.

    Attributes:
      source: what its networks are called after.
      delta: the failure probability of what is certified.
      networks: the networks on S, a dict each: `COLUMNS` of the card and `source`.
      claims: a dict each: `claim`, `status`, `speaks_of`, `in_expectation`, `about`, `paper`,
        `costs` (in words), `values` and `errors`, one a network, None where there is none; and
        `two_sided`, which older ones lack: they are not.
    """

    source: str
    delta: float
    networks: Sequence[Mapping[str, Any]]
    claims: Sequence[Mapping[str, Any]]


def read(folders: Sequence[str]) -> list[Record]:
    """What run folders, and the file that comes with the package (`KEPT`), say.

    Raises:
      Refusal: a folder is of another program, not finished, damaged, or an older version's.
    """
    names = [Path(folder).name for folder in folders]
    found: list[Record] = []
    for folder, name in zip(folders, names, strict=True):
        if folder == KEPT:
            found += kept()
            continue
        if not folder:
            raise Refusal(
                f"--beyond: names no folder; name one of beyond_uc, or '{KEPT}'"
            )
        found.append(_read(Path(folder), name if names.count(name) == 1 else folder))
    sources = [record.source for record in found]
    for source in sources:
        if sources.count(source) > 1:
            raise Refusal(
                f"--beyond={','.join(folders)}: two are called {source}; rename one"
            )
    return found


def kept(path: Path = FILE) -> list[Record]:
    """The records in a file of `keep`.

    Raises:
      Refusal: it is of another version, or none.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if found["version"] != VERSION:
            raise Refusal(
                f"{path}: is of version {found['version']}, and this reads version {VERSION}"
            )
        return [Record(**record) for record in found["records"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Refusal(
            f"{path}: holds no claims ({type(error).__name__}: {error}); make it again"
        ) from error


def keep(records: Sequence[Record], path: Path) -> None:
    """Writes a file that `kept` reads."""
    found = {
        "version": VERSION,
        "records": [dataclasses.asdict(record) for record in records],
    }
    with whole(path) as aside:
        text = json.dumps(found, allow_nan=False, separators=(",", ":"))
        aside.write_text(text + "\n", encoding="utf-8")


def _read(folder, name):
    where = f"--beyond={folder}"
    stored = run_folder.stored_of("--beyond", folder, PROGRAM.name)
    if not run_folder.RunFolder(folder).is_finished:
        raise Refusal(f"{where}: is not finished; --resume it first")
    tables = {
        table: formats.read_table(folder / f"{table}.csv")
        for table in ("errors", "runs", "per_seed")
    }
    try:
        summary = formats.read_json(folder / "summary.json")
        networks = _networks(name, stored["settings"], summary["classes"], tables)
        return Record(
            source=name,
            delta=float(stored["settings"]["delta"]),
            networks=networks,
            claims=[_claim(own, tables["per_seed"], networks) for own in summary["claims"]],
        )  # fmt: skip
    except (KeyError, TypeError, ValueError) as error:
        raise Refusal(
            f"{where}: does not say {error} (an older version's); --redraw it first"
        ) from error


def _networks(name, config, classes, tables):
    """The networks on S, in the order of errors.csv."""
    runs = {row["run"]: row for row in tables["runs"]}
    found = []
    for row in tables["errors"]:
        run = runs[f"m{row['m']}_seed{row['seed']}_{BASE}"]
        size, error = int(row["n_test"]), float(row["test_error"])
        wrong = round(error * size)
        found.append({
            "network": f"{name}/m{row['m']}_seed{row['seed']}", "m": int(row["m"]),
            "seed": int(row["seed"]), **{n: config.get(n, suite.BASE[n]) for n in suite.AXES},
            "is_factorial": False, "twin": "", "twin_of": "", "classes": classes,
            "converged": run["converged"] == "true", "diverged": run["diverged"] == "true",
            "train_error": float(row["train_error"]), "test_size": size, "test_error": error,
            "test_wrong": wrong, "noisy_test_error": error, "noisy_test_wrong": wrong,
            "source": name,
        })  # fmt: skip
    return found


def _claim(claim, per_seed, networks):
    own = {
        (int(r["m"]), int(r["seed"])): r
        for r in per_seed
        if (r["tool"], r["claim"]) == (claim["tool"], claim["claim"])
    }

    def column(name):
        rows = [own.get((n["m"], n["seed"]), {}) for n in networks]
        return [float(r[name]) if r.get(name) else None for r in rows]

    last = claim["points"][-1]
    which = "" if claim["network"] == ON_S else f"; of the network {claim['network']}"
    return {
        **{n: claim[n] for n in ("claim", "status", "speaks_of", "in_expectation", "paper")},
        "two_sided": claim.get("two_sided", False),
        "about": claim["about"] + which,
        "costs": costs(last) + f" (m = {last['m']})" * (costs(last) != costs({})),
        "values": column("value"),
        "errors": column("error"),
        "reason": "" if own else _ALL_SEEDS,
    }  # fmt: skip


def rows(records: Sequence[Record]) -> tuple[dict[str, Claims], Networks]:
    """What every tool claims of each network of some records.

    A claim that promises one thing here and another there is a row of each, `NAME (SOURCE)`.
    """
    networks = Networks.of([network for one in records for network in one.networks])
    found = {}
    for name in dict.fromkeys(own["claim"] for one in records for own in one.claims):
        own = {one.source: _claim_of(one, name) for one in records}
        promises = {tuple(c[n] for n in _PROMISE) for c in own.values() if c}
        if len(promises) == 1:
            found[name] = _row(name, records, own)
            continue
        for source in (source for source, claim in own.items() if claim):
            title = f"{name} ({source})"
            found[title] = _row(title, records, {source: own[source]})
    return found, networks


_PROMISE = ("status", "speaks_of", "in_expectation")


def _claim_of(record, name):
    return next((c for c in record.claims if c["claim"] == name), None)


def _row(name, records, claims):
    """One row: a claim in those records that have it."""
    value, risk, reasons, paid = [], [], [], {}
    for record in records:
        own = claims.get(record.source)
        if own is None:
            count = len(record.networks)
            value += [math.nan] * count
            risk += [math.nan] * count
            reasons += [_SILENT] * count
            continue
        paid[record.source] = own["costs"]
        value += [math.nan if v is None else v for v in own["values"]]
        risk += [math.nan if v is None else v for v in own["errors"]]
        why = own["reason"] or "a run that it needs diverged, or it has no number there"
        reasons += ["" if v is not None else why for v in own["values"]]
    first = next(own for own in claims.values() if own)
    value = np.array(value)
    # A number that is cut off at 1 has no growth, where nothing is known of it before it was.
    reasons = [
        why or (_VACUOUS if one >= 1 else "")
        for why, one in zip(reasons, value, strict=True)
    ]
    with np.errstate(divide="ignore", invalid="ignore"):
        quantity = np.where(value < 1, np.log(value), np.nan)
    return Claims(
        name=name, status=first["status"], value=value, quantity=quantity, risk=np.array(risk),
        speaks_of=first["speaks_of"], family=BEYOND, paper=first["paper"], about=first["about"],
        delta=max(record.delta for record in records), reasons=reasons,
        in_expectation=first["in_expectation"], two_sided=first.get("two_sided", False),
        costs="; ".join(f"{source}: {cost}" for source, cost in paid.items())
        if len(set(paid.values())) > 1 else next(iter(paid.values())),
    )  # fmt: skip
