"""The program: it reads a table, asks every bound, and writes the card."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments.lab import report
from experiments.lab.bound_settings import with_bounds
from experiments.lab.figures import Drawing
from experiments.lab.measuring import Arrays
from experiments.lab.program import Program, Results, Rows, Study
from experiments.lab.refusals import Refusal
from experiments.lab.run_folder import read_json, whole
from experiments.report_card import card, claims, folders, markdown, page, picture
from experiments.report_card import table as tables
from experiments.report_card.settings import Settings
from experiments.report_card.trials import TRIALS

# How long `--retrain` takes on two cores.
MINUTES = {"quick": "4 minutes on two cores", "standard": "two hours on two cores",
           "full": "for an accelerator"}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class CardStudy(Study):
    """A `Study` of networks that were trained and measured before.

    Attributes:
      table: what is known of them.
    """

    table: tables.Table


class ReportCard(Program):
    """Every bound, every trial, one card."""

    name = "report_card"
    about = "Does a bound explain generalization? Every bound in every trial: one card."
    title = "Does it explain generalization? The report card of bounds"
    Settings = Settings
    needs_problem = False
    first = ("bounds", "plugin", "suite", "networks", "compare")
    columns = {
        "scores": ("bound", "status", "speaks_of", "trial", "verdict", "score", "low", "high",
                   "sentence"),
        "changes": ("bound", "trial", "before", "now"),
    }  # fmt: skip

    def takes(self, problem: type[Any]) -> bool:
        """A suite has its own problems."""
        return False

    def resolved(self, config: Settings) -> Settings:
        """With the names of the bounds that are meant."""
        return with_bounds(config)

    def study(self, config: Settings) -> CardStudy:
        """The table; nothing is trained."""
        path = tables.SHIPPED / config.suite
        if config.table:
            path = Path(config.table) / "table"
        table = folders.joined(tables.read(path), config.networks)
        claims.check_groups(table, config.bounds, MINUTES[config.suite])
        return CardStudy(config, table.about["sha256"], (), (), table)

    def tables(self, of: CardStudy, measured: Sequence[Arrays]) -> dict[str, Rows]:
        """card, as one row; scores, one of a bound and a trial; changes since another card."""
        config = of.config
        networks = claims.Networks.of(of.table.networks)
        said = claims.of_table(of.table, config.bounds, config)
        said |= claims.references(networks, config.seed)
        made = {
            "suite": config.suite,
            "networks": int(networks.usable.sum()),
            "left_out": int((~networks["converged"]).sum()),
            "table_sha256": of.table.about["sha256"],
            "commit": of.table.about["made_with"].get("git_commit", ""),
            "note": folders.note(of.table, config.bounds),
        }
        found = card.make(said, networks, made)
        rows = [
            {"bound": name, "status": bound["status"], "speaks_of": bound["speaks_of"],
             "trial": trial, **{k: v for k, v in cell.items() if k not in ("numbers", "figure")}}
            for name, bound in found["bounds"].items()
            for trial, cell in bound["trials"].items()
        ]  # fmt: skip
        before = _other_card(config.compare)
        changed = [] if before is None else card.changes(before, found)
        self._card = found
        return {"scores": rows, "changes": changed}

    def summary(self, of: CardStudy, rows: Mapping[str, Rows]) -> dict[str, Any]:
        """The answer, verdicts by trial, and what has changed."""
        found = self._card
        return {
            "suite": found["suite"],
            "made": found["made"],
            "answer": found["answer"],
            "verdicts": {
                name: {
                    verdict: sum(
                        b["trials"][name]["verdict"] == verdict
                        for b in found["bounds"].values()
                        if b["status"] != claims.REFERENCE
                    )
                    for verdict in ("passes", "fails", "undecided", "makes no claim")
                }
                for name in TRIALS
            },
            "compared_with": of.config.compare,
            "changes": rows["changes"],
        }

    def overview(self, found: Mapping[str, Any]) -> list[Any]:
        """The answer, and how many bounds pass each trial."""
        verdicts = ("passes", "fails", "undecided", "makes no claim")
        blocks: list[Any] = [
            report.Answer(found["answer"]),
            report.Table(
                ("trial", *verdicts),
                [(TRIALS[name].title, *(str(own[v]) for v in verdicts))
                 for name, own in found["verdicts"].items()],
                title="bounds and measures by trial",
            ),
        ]  # fmt: skip
        if found["compared_with"]:
            rows = found["changes"]
            blocks.append(
                report.Table(
                    ("bound", "trial", "before", "now"),
                    [tuple(row.values()) for row in rows],
                    title=f"{len(rows)} changes since {found['compared_with']}",
                )
            )
        return blocks

    def report(self, results: Results, draw: Drawing) -> list[Any]:
        """The matrix as a picture."""
        return [
            draw("matrix", "Every bound in every trial.", picture.paint, self._card)
        ]

    def publish(self, folder: Path, results: Results, blocks: Sequence[Any]) -> None:
        """card.json, the page and its Markdown."""
        found = self._card
        texts = {
            "card.json": json.dumps(found, allow_nan=False) + "\n",
            "report.html": page.page(found, self.title),
            "report.md": markdown.markdown(found),
        }
        for name, text in texts.items():
            with whole(folder / name) as aside:
                aside.write_text(text, errors="backslashreplace")


def _other_card(folder):
    """The card in another run folder, or None where none is asked for."""
    if not folder:
        return None
    path = Path(folder) / "card.json"
    if not path.is_file():
        raise Refusal(
            f"--compare={folder}: there is no card.json; name a run folder of report_card"
        )
    found = read_json(path)
    version = found.get("version") if isinstance(found, dict) else None
    if version != card.VERSION:
        raise Refusal(
            f"--compare={folder}: its card is of version {version}, and this reads version "
            f"{card.VERSION}; make it again"
        )
    return found


PROGRAM = ReportCard()
