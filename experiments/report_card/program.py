"""The program: it reads a table, asks every bound, and writes the card."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments.lab import calls, plugins, report, run_folder, running
from experiments.lab.bound_settings import with_bounds
from experiments.lab.checksums import whole
from experiments.lab.figures import Drawing
from experiments.lab.formats import read_json
from experiments.lab.later import at_once, later
from experiments.lab.program import Program, Results, Rows, Study
from experiments.lab.refusals import Refusal, say
from experiments.lab.run_folder import RunFolder
from experiments.report_card.settings import Settings

bounds, network_rows = later("bounds"), later("experiments.lab.network_rows")
beyond = later(f"{__package__}.beyond")
card, claims = later(f"{__package__}.card"), later(f"{__package__}.claims")
folders, make_table = (
    later(f"{__package__}.folders"),
    later(f"{__package__}.make_table"),
)
markdown, page = later(f"{__package__}.markdown"), later(f"{__package__}.page")
picture, tables = later(f"{__package__}.picture"), later(f"{__package__}.table")
trials, trial = later(f"{__package__}.trials"), later(f"{__package__}.trials.trial")

# How long `--retrain` takes.
MINUTES = {"quick": "4 minutes on two cores", "standard": "two hours on two cores",
           "full": "hours on an accelerator"}  # fmt: skip
# Where `--retrain` trains, in the run folder.
NETWORKS = "networks"


@dataclasses.dataclass(frozen=True)
class CardStudy(Study):
    """A `Study` of networks that were trained and measured before.

    Attributes:
      added: networks of run folders.
      tools: what tools beyond uniform convergence claim, and of which networks; or None.
      before: the card to compare with, or None.
      table: what is known of the networks, those of run folders among them; None until
        `--retrain` has made it.
    """

    added: Sequence[folders.Added]
    tools: tuple[Mapping[str, claims.Claims], claims.Networks] | None
    before: Mapping[str, Any] | None
    table: tables.Table | None

    @functools.cached_property
    def card(self) -> dict[str, Any]:
        """The content of card.json: every bound is asked here, and only here."""
        assert self.table is not None
        config, about = self.config, self.table.about
        networks = claims.Networks.of(self.table.networks)
        said = claims.of_table(self.table, config.bounds, config)
        said |= claims.references(networks, config.seed)
        made = {
            "suite": about["suite"],
            "networks": int(networks.usable.sum()),
            "left_out": int((~networks["converged"]).sum()),
            "table_sha256": about["sha256"],
            "commit": _measured_by(about["made_with"]),
            "note": folders.note(self.table, config.bounds),
        }
        return card.make(said, networks, made, self.tools)


def _measured_by(made_with):
    """The commit by which a table's last networks were measured; it may have begun at another."""
    last = [made_with, *made_with.get("later", [])][-1]
    return last.get("commit") or ""


def _of_tools(records, names):
    """The claims of tools, and their networks; None where there are none.

    Raises:
      Refusal: one has the name of a bound.
    """
    if not records:
        return None
    claimed, networks = beyond.rows(records)
    for name in claimed:
        if name in names or name.startswith(claims.REFERENCE):
            raise Refusal(
                f"--beyond: claims {name}, which is the name of another row, too; leave one of "
                "them out"
            )
    return claimed, networks


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
        """The table; with `--retrain` it is still to be made."""
        at_once(beyond, card, markdown, page, picture, trials)
        _check_names(config.bounds)
        before, added = _other_card(config.compare), folders.read(config.networks)
        folders.check(added, config.bounds)
        records = beyond.read(_named(config))
        tools = _of_tools(records, config.bounds)
        if config.retrain:
            table = None
            seen = make_table.study_of(
                _of_make_table(config, config.bounds)
            ).fingerprint
        else:
            path = tables.path_of(config.suite, config.table)
            table = self._joined(tables.read(path), config, added)
            seen = table.about["sha256"]
        digests = ",".join(
            [seen or "", *(one.digest for one in added), *map(repr, records)]
        )
        fingerprint = hashlib.sha256(digests.encode()).hexdigest()
        return CardStudy(config, fingerprint, (), (), added, tools, before, table)

    def _joined(self, table, config, added):
        """The table with the networks of run folders, which has what the bounds ask for."""
        table = folders.joined(table, added)
        for line in table.about["trained_elsewhere"]:
            say(line)
        claims.check_groups(
            table, config.bounds, MINUTES.get(table.about["suite"], "minutes")
        )
        return table

    def check_folder(self, study: CardStudy, out: Path) -> None:
        """Raises a `Refusal` of itself to compare with, and of other bounds while it retrains."""
        if study.config.retrain:
            _made_before(study.config, out / NETWORKS)
        compare = study.config.compare
        if compare and Path(compare).resolve() == out.resolve():
            raise Refusal(
                f"--compare={compare}: is this card itself; name another card's run folder"
            )

    def before(
        self, study: CardStudy, out: Path
    ) -> list[tuple[Program, Any, Path, Mapping[str, bool]]]:
        """With `--retrain`: the networks, trained and measured in the folder's `networks`."""
        if not study.config.retrain:
            return []
        place = out / NETWORKS
        names, how = _made_before(study.config, place)
        own = _of_make_table(study.config, names)
        return [(make_table.PROGRAM, own, place, how)]

    def prepared(
        self,
        study: CardStudy,
        folder: RunFolder,
        layout: Any,
        checkpoint_seconds: float,
    ) -> CardStudy:
        """With `--retrain`: the networks, trained and measured in the folder's `networks`."""
        config = study.config
        if not config.retrain:
            return study
        for asked, own, out, how in self.before(study, folder.path):
            running.run(
                asked, own, out, layout=layout, checkpoint_seconds=checkpoint_seconds,
                **how,
            )  # fmt: skip
        table = tables.read(tables.path_of(config.suite, str(folder.path / NETWORKS)))
        return dataclasses.replace(
            study, table=self._joined(table, config, study.added)
        )

    def tables(
        self, of: CardStudy, measured: Sequence[Mapping[str, Any]]
    ) -> dict[str, Rows]:
        """scores, a row a bound and a trial; changes since another card."""
        found = of.card
        rows = [
            {"bound": name, "status": bound["status"], "speaks_of": bound["speaks_of"],
             "trial": trial, **{k: v for k, v in cell.items() if k not in ("numbers", "figure")}}
            for name, bound in found["bounds"].items()
            for trial, cell in bound["trials"].items()
        ]  # fmt: skip
        changed = [] if of.before is None else card.changes(of.before, found)
        return {"scores": rows, "changes": changed}

    def summary(self, of: CardStudy, rows: Mapping[str, Rows]) -> dict[str, Any]:
        """The answer, verdicts by trial, and what has changed."""
        found, compared = of.card, of.config.compare
        if of.before is not None and of.before.get("suite") != found["suite"]:
            compared += f", of the suite {of.before.get('suite')}"
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
                        and b["family"] != claims.BEYOND
                    )
                    for verdict in trial.VERDICTS
                }
                for name in trials.TRIALS
            },
            "compared_with": compared,
            "changes": rows["changes"],
        }

    def overview(self, found: Mapping[str, Any]) -> list[Any]:
        """The answer, and how many bounds pass each trial."""
        blocks: list[Any] = [
            report.Answer(found["answer"]),
            report.Table(
                ("trial", *trial.VERDICTS),
                [(trials.TRIALS[name].title, *(str(own[v]) for v in trial.VERDICTS))
                 for name, own in found["verdicts"].items()],
                title="bounds and measures by trial",
            ),
        ]  # fmt: skip
        return [*blocks, *_changes(found)]

    def report(self, results: Results, draw: Drawing) -> list[Any]:
        """The matrix as a picture."""
        found = results.study.card
        return [draw("matrix", "Every bound in every trial.", picture.paint, found)]

    def publish(self, folder: Path, results: Results, blocks: Sequence[Any]) -> None:
        """card.json, the Markdown and, last, the page, which says that all is there."""
        found, changes = results.study.card, _changes(results.summary)
        if not results.tables["changes"]:  # of an earlier card
            (folder / "changes.csv").unlink(missing_ok=True)
        texts = {
            "card.json": json.dumps(found, allow_nan=False) + "\n",
            "report.md": markdown.markdown(found, changes),
            "report.html": page.page(found, self.title, changes),
        }
        for name, text in texts.items():
            with whole(folder / name) as aside:
                aside.write_text(text, encoding="utf-8", errors="backslashreplace")


def _changes(found):
    """What differs from another card, as a table; none where there is no other, or nothing differs."""
    rows, other = found["changes"], found["compared_with"]
    if not other:
        return []
    if not rows:
        return [report.Text(f"Nothing has changed since {other}.")]
    count = "1 change" if len(rows) == 1 else f"{len(rows)} changes"
    columns = "bound", "trial", "before", "now"
    return [
        report.Table(
            columns, [tuple(row[c] for c in columns) for row in rows],
            title=f"{count} since {other}", words=columns,
        )
    ]  # fmt: skip


def _named(config):
    """The folders of tools' claims that settings name."""
    if config.beyond is not None:
        return [name for name in config.beyond if name]
    return [] if config.suite == "quick" else [beyond.KEPT]


def _check_names(names):
    """Raises a `Refusal` of a bound, a plugin's, that has a name of ours."""
    for name in names:
        if name.startswith(claims.REFERENCE):
            raise Refusal(
                f"--bounds={name}: {claims.REFERENCE}_... are rows to compare with; give it "
                "another name"
            )


def _of_make_table(config, names):
    """The settings of `make_table` that train the suite again and measure what bounds ask for."""
    typed = {
        "suite": config.suite, "bounds": tuple(names), "plugin": config.plugin,
        "data_dir": config.data_dir, "fashion_dir": config.fashion_dir, "seed": config.seed,
    }  # fmt: skip
    return calls.settings_of(make_table.PROGRAM, None, typed=typed)


def _made_before(config, out):
    """(bounds to measure for, how to go on) with what there is of the networks.

    What is measured of finished ones is measured again if bounds ask for more.

    Raises:
      Refusal: they ask for more than what is being trained is to be measured for.
    """
    if not out.exists():
        return config.bounds, {}
    stored = run_folder.stored(out)
    names = stored["settings"].get("bounds", [])
    lacks = not all(n in bounds.BOUNDS for n in names) or (
        {*bounds.needs(config.bounds)} - {*network_rows.GROUPS, *bounds.needs(names)}
    )
    is_other = plugins.load(config.plugin).sha256 != stored["plugin_sha256"]
    if not lacks and not is_other:
        return names, {"resume": True}
    if RunFolder(out).is_finished:
        return config.bounds, {"redraw": True}
    if lacks:
        raise Refusal(
            f"--out={out.parent}: its networks are not finished, and these bounds ask for more "
            "than they are measured for; --resume it first"
        )
    return names, {"resume": True}


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
    try:
        card.changes(found, found | {"bounds": {**found["bounds"]}})
    except (KeyError, TypeError, AttributeError) as error:
        raise Refusal(
            f"--compare={folder}: its card.json is no card ({type(error).__name__}: {error}); "
            "make it again"
        ) from error
    return found


PROGRAM = ReportCard()
