"""The settings of `report_card`."""

import dataclasses
from collections.abc import Iterator

from experiments.lab.bound_settings import BoundSettings
from experiments.lab.settings import MACHINE, one_of, seed_number, setting
from experiments.report_card.suite import SUITES


@dataclasses.dataclass(frozen=True)
class Settings(BoundSettings):
    """Of the program."""

    suite: str = setting(
        "standard",
        "whose frozen table is read; of 'full' there is none: --table or --retrain",
        one_of(*SUITES),
    )
    table: str | None = setting(
        None, "another table: the run folder of make_table that has it"
    )  # fmt: skip
    networks: tuple[str, ...] = setting(
        (), "run folders of bounds_vs_samples, whose networks are looked at, too"
    )  # fmt: skip
    beyond: tuple[str, ...] | None = setting(
        None, "run folders of beyond_uc, whose claims are rows, too; 'kept' stands for what comes "
        "with the package, '' for none; by default 'kept' with the standard and full suites"
    )  # fmt: skip
    compare: str | None = setting(
        None, "run folder of another card: what has changed since is shown in the terminal and in changes.csv", measuring=True
    )  # fmt: skip
    retrain: bool = setting(
        False, "train the suite again, into the folder `networks` of --out, and measure what the "
        "bounds ask for"
    )  # fmt: skip
    data_dir: str | None = setting(
        None, "with --retrain: folder with the four files of MNIST", compared=False
    )  # fmt: skip
    fashion_dir: str | None = setting(
        None, "with --retrain: folder with the four files of Fashion-MNIST", compared=False
    )  # fmt: skip
    seed: int = setting(
        0, "of the reference rows, and with --retrain of all", seed_number, group=MACHINE
    )  # fmt: skip

    def clashes(self) -> Iterator[str]:
        """Lines on settings that do not go together."""
        if self.retrain and self.table:
            yield (
                f"--table={self.table}: --retrain makes another table; give one of them"
            )
        for name in ("data_dir", "fashion_dir"):
            value = getattr(self, name)
            if value is not None and not self.retrain:
                yield (
                    f"--{name}={value}: nothing is trained, so no data are read; leave it out, "
                    "or --retrain"
                )
