"""Networks of run folders of `bounds_vs_samples`, beside those of a table."""

import dataclasses
import functools
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from experiments.bounds_vs_samples import PROGRAM
from experiments.bounds_vs_samples.study import runs_of
from experiments.lab import definitions, program, run_folder, settings
from experiments.lab.refusals import Refusal
from experiments.lab.vary import variants
from experiments.problems import PROBLEMS
from experiments.report_card import suite
from experiments.report_card.networks import errors_of
from experiments.report_card.table import Table, frozen


def joined(table: Table, folders: Sequence[str]) -> Table:
    """A table and the networks of run folders.

    Args:
      table: networks of a suite.
      folders: of finished runs of `bounds_vs_samples`. The first draw of each network counts.

    Raises:
      Refusal: a folder is of another program, not finished or damaged.
    """
    networks = [{**network, "source": ""} for network in table.networks]
    measured, digests = list(table.measured), [table.about["sha256"]]
    for folder in folders:
        for network, arrays in _of_folder(Path(folder)):
            networks.append(network)
            measured.append(arrays)
            digests.append(str(arrays["made_from"]))
    if not folders:
        return dataclasses.replace(table, networks=networks)
    digest = hashlib.sha256("".join(digests).encode()).hexdigest()
    return Table({**table.about, "sha256": digest}, networks, measured)


def _of_folder(folder: Path) -> list[tuple[dict[str, Any], Any]]:
    """(settings and errors, what was measured) of each network of a run folder."""
    if not (folder / "config.json").is_file():
        raise Refusal(
            f"--networks={folder}: there is no run folder; name one of bounds_vs_samples"
        )
    stored = run_folder.stored(folder)
    if stored["program"] != PROGRAM.name:
        raise Refusal(
            f"--networks={folder}: is of {stored['program']}; name one of {PROGRAM.name}"
        )
    try:
        kind = program.kind_of(PROGRAM, stored["settings"]["problem"])
        config = settings.from_json(kind, stored["settings"])
    except (KeyError, TypeError) as error:
        raise Refusal(
            f"--networks={folder}: its config.json is no run's ({error}); use another"
        ) from error
    if config.network != "mlp":
        raise Refusal(
            f"--networks={folder}: has networks of the kind {config.network}, and trials compare "
            "fully connected ones; use others"
        )
    opened = run_folder.RunFolder(folder)
    if not opened.is_finished:
        raise Refusal(f"--networks={folder}: is not finished; --resume it first")
    configs = variants(config, functools.partial(program.of_problem, PROGRAM))
    found = []
    for variant, own in configs.items():
        for run in runs_of(own, variant):
            if run.draw:
                continue
            arrays = run_folder.read_arrays(opened.measured_path(run.name))
            network = {
                "network": f"{folder.name}/{run.name}",
                "m": run.size,
                "seed": run.seed,
                **{name: getattr(own, name, suite.BASE[name]) for name in suite.AXES},
                "is_factorial": False,
                "twin": "",
                "twin_of": "",
                "classes": PROBLEMS[own.problem].classes,
                "source": folder.name,
                **errors_of(arrays),
            }
            kept = frozen(arrays) | {"made_from": arrays["made_from"]}
            found.append((network, kept))
    return found


def note(table: Table, names: Sequence[str]) -> str:
    """What was measured by another version of the code, in a sentence, or ''."""
    import bounds

    stored = table.about["definitions"]
    now = definitions.of_groups(g for g in bounds.needs(names) if g in stored)
    older = [group for group, digest in now.items() if stored[group] != digest]
    if not older:
        return ""
    return (
        f"{len(older)} groups were measured by another version of the code "
        f"({', '.join(older[:4])}{', ...' if len(older) > 4 else ''})."
    )
