"""Networks of run folders of `bounds_vs_samples`, beside those of a table."""

import dataclasses
import functools
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import bounds
from experiments.bounds_vs_samples import PROGRAM
from experiments.bounds_vs_samples.study import runs_of
from experiments.lab import (
    calls,
    definitions,
    formats,
    plugins,
    run_folder,
    settings,
    vary,
    versions,
)
from experiments.lab.measuring import MADE_FROM, Arrays
from experiments.lab.refusals import Refusal
from experiments.problems import PROBLEMS
from experiments.report_card import suite
from experiments.report_card import table as tables
from experiments.report_card.networks import errors_of
from experiments.report_card.table import Table, frozen


@dataclasses.dataclass(frozen=True)
class Added:
    """The networks of one run folder.

    Attributes:
      name: what they are called after.
      networks: settings and errors, a dict each.
      measured: flat arrays `<group>/<field>`, a dict each.
      contents: digest of what each was trained from.
      definitions: group -> digest of the code that measured it; one that is not today's, if one
        of the networks has such, '' where it does not say.
      folder: where they are, as it was named.
      made_with: `versions` of each start of its training; none where it does not say.
    """

    name: str
    networks: Sequence[Mapping[str, Any]]
    measured: Sequence[Arrays]
    contents: Sequence[str]
    definitions: Mapping[str, str]
    folder: str = ""
    made_with: Sequence[Mapping[str, Any]] = ()

    @property
    def digest(self) -> str:
        """Of all that is known of them."""
        found = hashlib.sha256(repr(self.networks).encode())
        for arrays in self.measured:
            for name in sorted(arrays):
                array = arrays[name]
                found.update(f"{name} {array.dtype} {array.shape}".encode())
                found.update(array.tobytes())
        return found.hexdigest()


def read(folders: Sequence[str]) -> list[Added]:
    """The networks of run folders: the first draw of each.

    Args:
      folders: of finished runs of `bounds_vs_samples`.

    Raises:
      Refusal: a folder is of another program, not finished, damaged, or there twice; or its
        networks are not fully connected, or none has converged.
    """
    last = [Path(folder).name for folder in folders]
    found: list[Added] = []
    for folder, short in zip(folders, last, strict=True):
        if not folder:
            raise Refusal("--networks: names no folder; name one of bounds_vs_samples")
        # Two of one name are told apart by where they are.
        name = short if short and last.count(short) == 1 else folder
        one = _read(Path(folder), name)
        for other, where in zip(found, folders, strict=False):
            if set(other.contents) & set(one.contents):
                raise Refusal(
                    f"--networks={folder}: has networks of {where}, and each counts once; leave "
                    "one of the two out"
                )
        found.append(one)
    return found


def joined(table: Table, added: Sequence[Added]) -> Table:
    """A table and the networks of run folders, each with its `source`; '' is the table."""
    networks = [{**network, "source": ""} for network in table.networks]
    measured, about = list(table.measured), dict(table.about)
    for one in added:
        networks += one.networks
        measured += one.measured
    about["added"] = {one.name: one.definitions for one in added}
    about["trained_elsewhere"] = trained_elsewhere(table, added)
    return Table(about, networks, measured)


def _read(folder, name):
    where = f"--networks={folder}"
    stored = run_folder.stored_of("--networks", folder, PROGRAM.name)
    if plugins.decided_by(None, stored["settings"]):
        raise plugins.needed(where, stored)
    no_run = f"{where}: its config.json is no run's"
    try:
        kind = calls.kind_of(PROGRAM, stored["settings"]["problem"])
        config = settings.from_json(kind, stored["settings"])
    except (KeyError, TypeError) as error:
        raise Refusal(f"{no_run} ({error}); use another") from error
    opened = run_folder.RunFolder(folder)
    if not opened.is_finished:
        raise Refusal(f"{where}: is not finished; --resume it first")
    configs = vary.variants(config, functools.partial(calls.of_problem, PROGRAM))
    for own in configs.values():
        if own.network != "mlp":
            raise Refusal(
                f"{where}: has networks of the kind {own.network}, and trials compare fully "
                "connected ones; use others"
            )
    swept = vary.swept(config.vary)
    networks, measured, contents, made_by = [], [], [], {}
    now = definitions.of_groups(bounds.registry.MEASURES)
    for variant, own in configs.items():
        if vary.is_on_the_way(variant):
            continue
        # What no trial tells networks apart by makes a source of its own.
        source = name if swept in ("", *suite.AXES) else f"{name}, {variant}"
        for run in runs_of(own, variant):
            if run.draw:
                continue
            path = opened.measured_path(run.name)
            try:
                arrays = formats.read_arrays(path)
                errors, content = errors_of(arrays), str(arrays[MADE_FROM])
            except FileNotFoundError as error:
                raise Refusal(
                    f"{path}: is gone; --out={folder} --resume makes it again"
                ) from error
            except KeyError as error:
                raise Refusal(
                    f"{path}: does not hold {error} (an older version's); train it again"
                ) from error
            networks.append({
                "network": f"{name}/{run.name}", "m": run.size, "seed": run.seed,
                **{n: getattr(own, n, suite.BASE[n]) for n in suite.AXES},
                "is_factorial": False, "twin": "", "twin_of": "",
                "classes": PROBLEMS[own.problem].classes, "source": source, **errors,
            })  # fmt: skip
            measured.append(frozen(arrays))
            contents.append(content)
            by = tables.definitions(arrays)
            groups = {n.split("/")[0] for n in arrays} & now.keys()
            made_by |= {
                g: by.get(g, "")
                for g in {*groups, *by}
                if g not in made_by or by.get(g, "") != now.get(g)
            }
    if not any(network["converged"] for network in networks):
        raise Refusal(
            f"{where}: none of its {len(networks)} networks has converged, and trials compare those "
            "that have; train them longer (--max_epochs), or leave it out"
        )
    starts = folder / "versions.json"
    made = formats.read_json(starts) if starts.is_file() else None
    made_with = [] if made is None else [made, *made.get("later", [])]
    return Added(name, networks, measured, contents, made_by, str(folder), made_with)


def check(added: Sequence[Added], names: Sequence[str]) -> None:
    """Raises a `Refusal` where what bounds ask for was measured by another version of the code.

    Numbers of two definitions under one name would be compared with each other.

    Args:
      added: of run folders.
      names: of the bounds that are asked.
    """
    now = definitions.of_groups(bounds.needs(names))
    for one in added:
        older = [g for g in now if one.definitions.get(g, now[g]) != now[g]]
        if older:
            raise Refusal(
                f"--networks={one.folder}: {_groups(older)} measured by another version of the "
                f"code; where its weights were kept, `{PROGRAM.name} --out={one.folder} --redraw` "
                "measures again; else leave it out"
            )


def trained_elsewhere(table: Table, added: Sequence[Added]) -> list[str]:
    """A line a run folder whose networks were trained with other versions than the table's."""
    made = table.about["made_with"]
    of_table = [made, *made.get("later", [])][-1]
    lines = []
    for one in added:
        differ = [
            versions.changes_between(of_table, start, "the table's")
            for start in one.made_with
        ]
        found = "; then ".join(dict.fromkeys(d for d in differ if d))
        if found:
            lines.append(f"Networks of {one.name} were made with {found}.")
    return lines


def note(table: Table, names: Sequence[str]) -> str:
    """What was measured by another version of the code, or of some networks only, or ''.

    Args:
      table: `joined`.
      names: of the bounds that are asked.
    """
    needed = bounds.needs(names)
    now = definitions.of_groups(needed)
    stored = table.about["definitions"]
    older = [g for g in needed if stored.get(g, now[g]) != now[g]]
    sentences = (
        [f"{_groups(older)} measured by another version of the code."] if older else []
    )
    for source, its in table.about["added"].items():
        lacking = [g for g in needed if g not in its]
        if lacking:
            sentences.append(
                f"{_groups(lacking, source)} not measured: bounds that ask for them say nothing "
                "of its networks."
            )
    return " ".join([*sentences, *table.about["trained_elsewhere"]])


def _groups(names, source=""):
    count = "1 group" if len(names) == 1 else f"{len(names)} groups"
    shown = f"{count} ({', '.join(names[:4])}{', ...' if len(names) > 4 else ''})"
    of = f" of {source}" if source else ""
    return f"{shown}{of} {'was' if len(names) == 1 else 'were'}"
