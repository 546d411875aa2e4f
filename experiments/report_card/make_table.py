"""The networks of a suite, trained and measured: the frozen table that cards are made from.

  python -m experiments.report_card.make_table --suite=standard --out=runs/standard \
      --data_dir=MNIST --fashion_dir=FASHION_MNIST

leaves `table.npz` and `table.json` in the run folder (`experiments.report_card.table`).
"""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments.lab import command_line, report
from experiments.lab.bound_settings import BoundSettings, with_bounds
from experiments.lab.formats import read_json
from experiments.lab.later import at_once, later
from experiments.lab.program import Program, Results, Rows, Study
from experiments.lab.settings import (
    FOLDER,
    MACHINE,
    one_of,
    seed_number,
    setting,
)
from experiments.report_card import suite

bounds_vs_samples = later("experiments.bounds_vs_samples.study")
idx = later("experiments.lab.reading.idx")
measuring = later("experiments.lab.measuring")
network_columns, table = later(f"{__package__}.networks"), later(f"{__package__}.table")
twins = later(f"{__package__}.twins")


@dataclasses.dataclass(frozen=True)
class Settings(BoundSettings):
    """Of the program."""

    suite: str = setting("quick", "which networks", one_of(*suite.SUITES))
    data_dir: str | None = setting(
        None, "folder with the four files of MNIST; of the quick suite a sample of it",
        compared=False
    )  # fmt: skip
    fashion_dir: str | None = setting(
        None, "folder with the four files of Fashion-MNIST; fetched if not given",
        compared=False
    )  # fmt: skip
    save_weights: bool = setting(
        True, "keep the weights, so that other measures can be had later", group=FOLDER
    )  # fmt: skip
    seed: int = setting(0, "decides every random number", seed_number, group=MACHINE)


@dataclasses.dataclass(frozen=True)
class SuiteStudy(Study):
    """A `Study` of the networks of a suite.

    Attributes:
      networks: settings of each subject, in their order.
    """

    networks: Sequence[Mapping[str, Any]]


def study_of(config: Settings) -> SuiteStudy:
    """What is trained and measured: the first draw of every network, and twins."""
    at_once(network_columns, table, twins)
    members = suite.members(config.suite)
    if config.fashion_dir is not None:
        # The problem that reads it knows it by the name of its own flag.
        idx.find(config.fashion_dir, "fashion_dir")
    folders = {"mnist": config.data_dir, "fashion_mnist": config.fashion_dir}
    configs = suite.configs(members, folders, config.seed)
    whole = bounds_vs_samples.of_configs(config, configs, config.bounds)
    by_name = {subject.name: subject for subject in whole.subjects}
    of_runs = {
        (suite.named(_recipe(configs[run.variant])), run.size, run.seed): run
        for run in whole.runs
        if not run.draw
    }
    subjects, networks = [], []
    for member in members:
        for seed in range(member.seeds):
            run = of_runs[suite.named(member.recipe), member.size, seed]
            subject = by_name[run.name]
            for kind in ("", *member.twins):
                subjects.append(_twin(subject, kind, seed) if kind else subject)
                networks.append(
                    {
                        "network": subjects[-1].name,
                        "m": member.size,
                        "seed": seed,
                        **member.recipe,
                        "is_factorial": member.is_factorial and not kind,
                        "twin": kind,
                        "twin_of": run.name if kind else "",
                        "classes": whole.problems[run.variant].classes,
                    }
                )
    return SuiteStudy(
        config, whole.fingerprint, whole.stages, tuple(subjects), tuple(networks)
    )


def _recipe(config):
    return {name: getattr(config, name) for name in suite.AXES}


def _twin(subject: "measuring.Subject", kind: str, seed: int) -> "measuring.Subject":
    """The subject with other parameters of the same function."""

    def arguments(trained):
        network = subject.arguments(trained)
        return network.replace(params=twins.of(network.params, kind, seed))

    return dataclasses.replace(
        subject, name=f"{subject.name}_{kind}", arguments=arguments
    )


class MakeTable(Program):
    """Networks of a suite, and everything measured of them."""

    name = "report_card.make_table"
    about = "The networks of a suite, trained, and everything measured: one table."
    title = "The networks of a suite"
    Settings = Settings
    needs_problem = False
    first = ("suite", "data_dir", "fashion_dir")
    columns = {"networks": ()}

    def takes(self, problem: type[Any]) -> bool:
        """A suite has its own problems."""
        return False

    def resolved(self, config: Settings) -> Settings:
        """With the names of the bounds whose groups are measured."""
        return with_bounds(config)

    def study(self, config: Settings) -> SuiteStudy:
        """Every network of the suite."""
        return study_of(config)

    def tables(
        self, of: SuiteStudy, measured: Sequence["measuring.Arrays"]
    ) -> dict[str, Rows]:
        """networks: settings and errors."""
        return {
            "networks": [
                {**network, **network_columns.errors_of(arrays)}
                for network, arrays in zip(of.networks, measured, strict=True)
            ]
        }

    def summary(self, of: SuiteStudy, rows: Mapping[str, Rows]) -> dict[str, Any]:
        """How many there are, and which did not converge."""
        networks = rows["networks"]
        return {
            "suite": of.config.suite,
            "networks": len(networks),
            "converged": sum(row["converged"] for row in networks),
            "not_converged": [r["network"] for r in networks if not r["converged"]],
        }

    def overview(self, found: Mapping[str, Any]) -> list[Any]:
        """How many converged."""
        lost = found["not_converged"]
        sentence = (
            f"{found['converged']} of {found['networks']} networks of the suite "
            f"{found['suite']} reached their margin"
        )
        some = f"; not {', '.join(lost[:5])}{' and others' * (len(lost) > 5)}"
        return [report.Answer([sentence + (some if lost else "") + "."])]

    def publish(self, folder: Path, results: Results, blocks: Sequence[Any]) -> None:
        """The table, then the report, which says that all is there."""
        config = results.study.config
        table.write(
            folder / "table",
            results.tables["networks"],
            [table.frozen(arrays) for arrays in results.measured],
            {
                "suite": config.suite,
                "seed": config.seed,
                "data_sha256": results.study.fingerprint,
                "made_with": read_json(folder / "versions.json"),
                "definitions": table.definitions(results.measured[0]),
                "fixed": {n: dict(v) for n, v in suite.FIXED.items()},
                "draws": suite.DRAWS,
                "max_epochs": suite.MAX_EPOCHS,
            },
        )
        super().publish(folder, results, blocks)


PROGRAM = MakeTable()


def main() -> None:
    """Runs the program with the flags of the command line."""
    command_line.main(PROGRAM)


if __name__ == "__main__":
    main()
