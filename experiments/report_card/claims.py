"""What bounds say of the networks of a table, beside the errors of the networks they speak of."""

import dataclasses
import functools
import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import numpy as np

import bounds
from bounds import registry
from bounds.network import WITHOUT
from bounds.spec import CERTIFIED, MADE, UNDER_ASSUMPTION
from experiments.lab import bound_rows, certificates, refuting
from experiments.lab.bound_settings import BoundSettings, family
from experiments.lab.measuring import MISSING
from experiments.lab.refusals import Refusal
from experiments.report_card.table import Table

REFERENCE = "reference"
BEYOND = "beyond_uc"  # the family of what the tools beyond uniform convergence claim
HOLDOUT = "held-out examples"
CERTIFICATES = (CERTIFIED, UNDER_ASSUMPTION)


@dataclasses.dataclass(frozen=True)
class Networks:
    """The networks of a table as columns of N entries each.

    Attributes:
      columns: settings and errors, name -> `[N]`.
    """

    columns: Mapping[str, np.ndarray]

    @classmethod
    def of(cls, rows: Sequence[Mapping[str, Any]]) -> "Networks":
        """From a dict a network."""
        return cls({name: np.array([row[name] for row in rows]) for name in rows[0]})

    def __getitem__(self, name: str) -> np.ndarray:
        """A column."""
        return self.columns[name]

    def __len__(self) -> int:
        """N."""
        return len(self.columns["m"])

    @functools.cached_property
    def _found(self) -> dict[Hashable, Any]:
        return {}

    def once(self, key: Hashable, find: Callable[["Networks"], Any]) -> Any:
        """`find(self)`, found once: what a trial looks at is the same for every bound."""
        if key not in self._found:
            self._found[key] = find(self)
        return self._found[key]

    def once_of(
        self,
        key: str,
        errors: np.ndarray,
        find: Callable[["Networks", np.ndarray], Any],
    ) -> Any:
        """`find(self, errors)`, found once for the same errors `[N]`."""
        return self.once((key, errors.tobytes()), lambda own: find(own, errors))

    @functools.cached_property
    def repetition(self) -> np.ndarray:
        """Which repetition each network belongs to: a seed of a source, `[N]`."""
        pairs = zip(self["source"], self["seed"], strict=True)
        return np.array([f"{source}/{seed}" for source, seed in pairs])

    @functools.cached_property
    def usable(self) -> np.ndarray:
        """Which reached their margin and are no twins, `[N]`."""
        return self["converged"] & (self["twin"] == "")


@dataclasses.dataclass(frozen=True)
class Claims:
    """What one bound says of each network; N entries where it is an array.

    Attributes:
      name: of the bound.
      status: what it promises; 'reference' for rows that are there to compare with.
      speaks_of: whose error it bounds.
      two_sided: whether its complexity bounds the deviation both ways (`BoundSpec.two_sided`); None: its
        file does not say.
      zero_one: whether its proof is of the 0-1 loss (`BoundSpec.zero_one`).
      weight_matrices: the only number of them that it speaks of, if there is one.
      family: the file it is in.
      paper: where it is from.
      about: the first line of its docstring.
      value: what is claimed to be >= the error; not a number where it is not available.
      quantity: natural logarithm of what grows: its complexity before it saturates
        (`log_complexity`; of the kl forms, whose complexity is c = KL/m, that of its root, as
        Pinsker's inequality has it), or of the value where it has none of any network.
      ordinal: whether its order alone says something.
      delta: the failure probability that it was evaluated at.
      risk: the held-out error of the network it speaks of, on labels drawn as the training
        labels.
      independent: of how many independent variables each error is a mean (`refuting.independent`); None:
        of the held-out examples.
      uses_holdout: whether it looks at held-out examples; such a bound explains nothing.
      standard_error: of the value, where it is an estimate; else 0.
      reasons: why it is not available, '' where it is.
      in_expectation: whether it holds for the mean over training sets, not with a probability.
      costs: what it takes beyond the training set and the network, in words, or ''.
    """

    name: str
    status: str
    value: np.ndarray
    quantity: np.ndarray
    risk: np.ndarray
    speaks_of: str = "trained"
    two_sided: bool | None = False
    zero_one: bool = False
    weight_matrices: int | None = None
    ordinal: bool = False
    family: str = ""
    paper: str = ""
    about: str = ""
    independent: np.ndarray | None = None
    uses_holdout: bool = False
    delta: float = 0.05
    standard_error: np.ndarray | None = None
    reasons: Sequence[str] = ()
    in_expectation: bool = False
    costs: str = ""

    @property
    def is_certificate(self) -> bool:
        """Whether it claims to hold, with all constants."""
        return self.status in CERTIFICATES

    @functools.cached_property
    def known(self) -> np.ndarray:
        """Where it says a number of a network whose error is known, `[N]`."""
        return ~np.isnan(self.quantity) & ~np.isnan(self.risk)

    @functools.cached_property
    def says(self) -> np.ndarray:
        """Where it claims a value, of 1 and more too, of a network whose error is known, `[N]`."""
        return ~np.isnan(self.value) & ~np.isnan(self.risk)

    def errors(self, networks: Networks) -> np.ndarray:
        """Of the network that it speaks of; of the trained one where that is not known: `[N]`."""
        return np.where(np.isnan(self.risk), networks["noisy_test_error"], self.risk)

    @property
    def reason(self) -> str:
        """Why it is not available, most often."""
        found = [reason for reason in self.reasons if reason]
        return max(found, key=found.count) if found else ""


def check_groups(table: Table, names: Sequence[str], minutes: str) -> None:
    """Raises a `Refusal` for a bound that asks for a group that no network of the table has.

    Args:
      table: of networks.
      names: of bounds.
      minutes: how long training the suite again takes, in words.
    """
    fields = {name for arrays in table.measured for name in arrays}
    there = {name.removeprefix(MISSING).split("/")[0] for name in fields}
    for name in names:
        for group in bounds.needs([name]):
            if group not in there and not _is_learned(group):
                raise Refusal(
                    f"--bounds={name}: asks for the group {group}, which the table of the suite "
                    f"{table.about['suite']} lacks; --retrain trains its networks again and "
                    f"measures it ({minutes})"
                )
            wanted = [f"{group}/{f}" for f in bounds.GROUPS[group].__dataclass_fields__]
            lacking = [f for f in wanted if f not in fields]
            if lacking and len(lacking) < len(wanted):
                raise Refusal(
                    f"--bounds={name}: asks for {lacking[0]}, and the table of the suite "
                    f"{table.about['suite']} is of an older version of the code, without it; "
                    f"--retrain makes it again ({minutes})"
                )


def _is_learned(group):
    """Whether a group asks for more than networks as SGD left them, which those of a suite are."""
    return "learned" in registry.MEASURES[group].required(group)


def _measured(table, names):
    """What was measured of each network, and why what only learned things have was not."""
    reasons = {
        f"{MISSING}{group}": np.array(WITHOUT["learned"])
        for group in bounds.needs(names)
        if _is_learned(group)
    }
    return [reasons | arrays for arrays in table.measured]


def of_table(
    table: Table, names: Sequence[str], config: BoundSettings
) -> dict[str, Claims]:
    """What each bound says of each network of a table.

    Bounds that take a margin are evaluated at the margin that the network was trained to.

    Args:
      table: of networks.
      names: of bounds.
      config: delta and conventions.
    """
    config = dataclasses.replace(config, bounds=tuple(names))
    broken = ["the run diverged" if n["diverged"] else None for n in table.networks]
    rules = {"target": np.array([n["margin"] for n in table.networks], float)}
    measured, surveyed = _measured(table, names), bound_rows.Survey()
    for arrays in measured:
        surveyed.add(arrays)
    nameless = [{}] * len(measured)
    every = bound_rows.rows(config, nameless, measured, surveyed, rules, broken)
    trained_risk = np.array([n["noisy_test_error"] for n in table.networks])
    by_name: dict[str, list[Mapping[str, Any]]] = {name: [] for name in names}
    for row in every:
        by_name[row["bound"]].append(row)
    return {
        name: _claims(
            name, rows, trained_risk, _independent(name, table, measured), config.delta
        )
        for name, rows in by_name.items()
    }


def _independent(name, table, measured):
    pairs = zip(table.networks, measured, strict=True)
    spec = bounds.BOUNDS[name]
    return np.array([refuting.independent(spec, a, n["test_size"]) for n, a in pairs])


def _claims(name, rows, trained_risk, independent, delta):
    spec = bounds.BOUNDS[name]

    def column(key, otherwise=math.nan):
        found = [row.get(key) for row in rows]
        return np.array([otherwise if v is None else v for v in found], float)

    value, quantity = column("value"), column("log_complexity")
    if np.isnan(quantity).all():
        with np.errstate(divide="ignore", invalid="ignore"):
            quantity = np.log(value)
    elif spec.status in CERTIFICATES and spec.speaks_of in MADE:
        quantity = quantity / 2
    is_there = [row.get("value") is not None for row in rows]
    uses_holdout = certificates.uses_holdout(name)
    return Claims(
        name=name,
        status=spec.status,
        value=value,
        quantity=np.where(is_there, quantity, np.nan),
        risk=trained_risk if spec.speaks_of == "trained" else column("risk"),
        speaks_of=spec.speaks_of,
        two_sided=spec.two_sided,
        zero_one=spec.zero_one,
        weight_matrices=spec.weight_matrices,
        ordinal=spec.ordinal,
        independent=independent,
        family=family(name),
        paper=spec.paper,
        about=spec.fn.__doc__.strip().splitlines()[0],
        uses_holdout=uses_holdout,
        costs=HOLDOUT if uses_holdout else "",
        delta=delta,
        standard_error=column("standard_error", 0.0),
        reasons=[
            "" if there else row["status"].removeprefix(bound_rows.NOT_AVAILABLE)
            for there, row in zip(is_there, rows, strict=True)
        ],
    )


_ABOUT = {
    "reference_random": "A random number, whatever the network: what chance scores.",
    "reference_constant": "The number 1, whatever the network.",
    "reference_train_error": "The training error.",
    "reference_inverse_m": "1 / m: it knows how many examples there were, and nothing else.",
    "reference_oracle": "The test error itself, as another test set of the same size shows it.",
}


def references(networks: Networks, seed: int) -> dict[str, Claims]:
    """Rows to compare with, which are no bounds.

    Args:
      networks: of the table.
      seed: of what is random.
    """
    random, n = np.random.default_rng(seed), len(networks)
    risk, size = networks["noisy_test_error"], networks["test_size"]
    # Twins are one function, and shown one test set.
    rows = {name: row for row, name in enumerate(networks["network"])}
    originals = [
        rows.get(of, row) if of else row for row, of in enumerate(networks["twin_of"])
    ]
    oracle = (random.binomial(size, risk) / size)[originals]
    values = {
        "reference_random": random.uniform(0.01, 1, n),
        "reference_constant": np.ones(n),
        "reference_train_error": np.maximum(networks["train_error"], 1e-5),
        "reference_inverse_m": 1 / networks["m"],
        "reference_oracle": np.maximum(oracle, 0.5 / size),
    }
    return {
        name: Claims(
            name=name, status=REFERENCE, value=value, quantity=np.log(value), risk=risk,
            about=_ABOUT[name], family=REFERENCE,
        )
        for name, value in values.items()
    }  # fmt: skip
