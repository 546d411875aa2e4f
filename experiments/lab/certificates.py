"""Certificates as reports show them: which may be quoted, beside whose error, in which order."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from bounds import BOUNDS, requires
from bounds.numerics import intervals
from bounds.spec import CERTIFIED, COUNTED, STATUSES, UNDER_ASSUMPTION
from experiments.lab import report
from experiments.lab.bound_rows import DECLARED
from experiments.lab.figures import Row, paint_rows
from experiments.lab.formats import read_json, read_table
from experiments.lab.refusals import Refusal
from experiments.lab.refuting import REFUTED

_MOST_REFUTED = 5  # sentences

NETWORKS = {
    "trained": "the trained network",
    "stochastic": "not the trained network but a stochastic one, its weights drawn afresh for "
    "every prediction,",
    "compressed": "not the trained network but one made from it, rounded and coded,",
    "drawn": "not the trained network but one drawn from it, its weights drawn once,",
    "algorithm": "what the algorithm returns, on average,",
}


def order(rows: Sequence[Mapping[str, Any]], classes: int) -> list[Mapping[str, Any]]:
    """Rows by status, then value, those that say something (< 1 - 1/C) first; others last."""

    def place(row):
        status = STATUSES.index(BOUNDS[row["bound"]].status)
        value = row.get("value")
        if value is None:
            return 2, status, 0.0
        known = value if value == value else float("inf")
        return int(not is_non_vacuous(row, classes)), status, known

    return sorted(rows, key=place)


def is_refuted(row: Mapping[str, Any]) -> bool:
    """Whether held-out examples contradict a certificate."""
    return str(row.get("status", "")).startswith(REFUTED)


def refuted(rows: Sequence[Mapping[str, Any]], key: str) -> list[str]:
    """A sentence on the certificates that are refuted, if there are any; of many the first.

    Args:
      rows: of bounds.csv.
      key: column with the name of the network.
    """
    found = [row for row in rows if is_refuted(row)]
    if not found:
        return []
    parts = []
    for row in found[:_MOST_REFUTED]:
        what = row["status"].removeprefix(f"{REFUTED}: ").partition("; ")[0]
        parts.append(
            f"{row['bound']} of {row[key]} (at most {report.at_most(row['value'])}; {what})"
        )
    if len(found) > len(parts):
        parts.append(f"and {len(found) - len(parts)} more")
    compared = found[0]["status"].partition("; ")[2]
    return [f"{REFUTED} by held-out examples: {', '.join(parts)}. {compared}."]


def shown_status(rows: Sequence[Mapping[str, Any]]) -> str:
    """What a bound promises of some networks; first what is to be said against that."""
    if any(is_refuted(row) for row in rows):
        return REFUTED
    status = BOUNDS[rows[0]["bound"]].status
    declared = any(DECLARED in str(row.get("status", "")) for row in rows)
    return f"{status}, if the initial weights are as declared" if declared else status


def promises(name: str) -> bool:
    """Whether a bound is a certificate, be it under an assumption."""
    return BOUNDS[name].status in (CERTIFIED, UNDER_ASSUMPTION)


def check_quote(names: Sequence[str], there: Collection[str]) -> None:
    """Raises a `Refusal` for a name in `--quote` whose certificate cannot be quoted.

    Args:
      names: what was typed.
      there: the bounds that may be quoted from.
    """
    for name in names:
        if name not in there:
            some = ", ".join([n for n in there if promises(n)][:8])
            raise Refusal(f"--quote={name}: no such bound among {some}, ...")
        if not promises(name):
            raise Refusal(
                f"--quote={name}: {BOUNDS[name].status}, no certificate; name one that is"
            )


def check_order(asked: Sequence[str], out: Path) -> None:
    """Raises a `Refusal` for an order of quoting that is not the one a folder was made with.

    Its tables were seen: what is quoted now would be chosen afterwards. Names behind those that
    there were may come in.

    Args:
      asked: names of bounds, in their order.
      out: a run folder; nothing is said of one whose tables were not made yet.
    """
    path = Path(out) / "summary.json"
    if not path.exists():
        return
    before = tuple(read_json(path).get("quoted_from", asked))
    if asked and not before and _has_certificates(Path(out)):
        raise Refusal(
            f"--out={out}: quotes no certificate, and its tables have some; who has seen them cannot choose "
            "one afterwards: use a new --out"
        )
    if tuple(asked[: len(before)]) != before:
        raise Refusal(
            f"--out={out}: is to quote the first that can be had of {', '.join(before[:8])}; who "
            "has seen its tables cannot choose another one afterwards: leave --quote and the order of "
            f"--bounds as they were (--quote={','.join(before)}), or use a new --out"
        )


def _has_certificates(out):
    path = out / "bounds.csv"
    rows = read_table(path) if path.exists() else []
    return any(
        r["bound"] in BOUNDS and promises(r["bound"]) and r["value"] for r in rows
    )


def check_quoted(asked: Sequence[str], evaluated: Sequence[str], out: Path) -> None:
    """Raises a `Refusal` where another certificate would be quoted than a folder quotes.

    Its tables were seen. So what it quotes stays among the bounds, and none that goes before it in the
    order of quoting comes in.

    Args:
      asked: names of bounds, in the order of quoting.
      evaluated: the bounds that are to be evaluated.
      out: a run folder; nothing is said of one whose tables were not made yet.
    """
    path = Path(out) / "summary.json"
    if not path.exists():
        return
    before = read_json(path)
    there = {row["bound"] for row in before.get("bounds", ())}
    for network, row in before.get("quotes", {}).items():
        if row is None:
            continue
        name = row["bound"]
        head = f"--bounds: --out={out} quotes {name} of {network}, and its tables were seen"
        if name not in evaluated:
            raise Refusal(f"{head}: it may not be left out; add it, or use a new --out")
        before_it = asked[: asked.index(name)]
        new = [n for n in before_it if n in evaluated and n not in there]
        if new:
            raise Refusal(
                f"{head}: no bound may come in before it ({new[0]}); use a new --out"
            )


def uses_holdout(name: str) -> bool:
    """Whether a bound looks at held-out examples, of which it then speaks."""
    return "holdout" in requires([name])


def is_non_vacuous(row: Mapping[str, Any], classes: int) -> bool:
    """Whether a certificate is below the error of guessing one of C classes uniformly, 1 - 1/C."""
    value = row.get("value")
    holds = promises(row["bound"]) and not is_refuted(row)
    return holds and value is not None and value < 1 - 1 / classes


def shown_value(row: Mapping[str, Any]) -> str:
    """The value of a row: of a certificate rounded up, of all else to the nearest."""
    value = row.get("value")
    if value is None:
        return "n/a"
    if row.get("is_at_least"):
        return f"at least {report.number(value)}"
    return (report.at_most if promises(row["bound"]) else report.number)(value)


def own_error(row: Mapping[str, Any], test_error: float | None) -> float | None:
    """The held-out error of the network that a bound speaks of."""
    if BOUNDS[row["bound"]].speaks_of == "trained":
        return test_error
    return row.get("risk")


def own_interval(
    row: Mapping[str, Any], test_error: float | None, size: int
) -> tuple[float, float] | None:
    """The 95% interval of `own_error` on `size` held-out examples.

    Exact binomial of one network; Chernoff's bound of an error that is a mean over draws.
    """
    error = own_error(row, test_error)
    if error is None or not size:
        return None
    if BOUNDS[row["bound"]].speaks_of in COUNTED:
        return intervals.interval(round(error * size), size)
    return intervals.chernoff_interval(error, size)


def quotable(
    rows: Sequence[Mapping[str, Any]], asked: Sequence[str]
) -> Mapping[str, Any] | None:
    """The row whose certificate may be quoted: of the first bound asked for that can be had.

    Which it is depends on what could be measured, never on how small a value is: the least of several,
    chosen afterwards, would not hold with probability 1 - delta. What held-out examples refute is passed
    over (a valid one with probability `refuting.REFUTED_AT` at most, which no delta pays for), and so is
    what rests on the same initial weights or the same learned things: that may be what is wrong with it.

    Args:
      rows: of one network.
      asked: names of bounds in an order that was fixed beforehand.
    """
    known = {
        row["bound"]: row
        for row in rows
        if row.get("value") is not None and row["value"] == row["value"]
    }
    doubted: set[str] = set()
    for name in asked:
        if name in known and promises(name):
            rests_on = {"init", "learned"} & set(requires([name]))
            if is_refuted(known[name]):
                doubted |= rests_on
            elif not doubted & rests_on:
                return known[name]
    return None


def sentence(
    name: str,
    row: Mapping[str, Any] | None,
    delta: float,
    classes: int,
    test_error: float | None,
    because: str = "",
) -> str:
    """The certificate that can be quoted of one network.

    Args:
      name: of the network.
      row: `quotable`.
      delta: failure probability of the quoted bound, all that is paid for included.
      classes: C.
      test_error: of the trained network, on held-out examples, or None.
      because: why there is none, if there is none.
    """
    if row is None:
        return f"{name}: there is no certificate to quote{because}."
    spec = BOUNDS[row["bound"]]
    value = report.at_most(min(row["value"], 1.0))  # no error is above 1
    is_held_out = uses_holdout(row["bound"])
    these = "the held-out ones" if is_held_out else "these"
    line = (
        f"{name}: {NETWORKS[spec.speaks_of]} errs on at most {value} of new examples drawn "
        f"like {these}, with confidence {report.confidence(delta)} ({row['bound']}, fixed beforehand"
    )
    line += f"; assumes that {spec.assumption})" if spec.assumption else ")"
    if is_held_out:
        line += ", if no choice of the network has seen the held-out examples"
    if not is_non_vacuous(row, classes):
        line += f": vacuous, guessing uniformly errs on {1 - 1 / classes:.3g}"
    if DECLARED in str(row.get("status", "")):
        line += f". It holds{row['status'].partition(spec.status)[2]}"
    own = own_error(row, test_error)
    if own is not None:
        line += (
            f". That network's own error on held-out examples is {report.number(own)}"
        )
    return line + "."


def figure_rows(
    rows: Sequence[Mapping[str, Any]], errors: Mapping[str, float | None]
) -> list[Row]:
    """Rows of a figure: every bound, a mark a network, and the errors of whom it speaks.

    Args:
      rows: with `network`, of bounds that are no heuristics.
      errors: network -> test error of the trained one.
    """
    found = []
    for name in dict.fromkeys(row["bound"] for row in rows):
        own = [r for r in rows if r["bound"] == name]
        values = [r["value"] for r in own if r.get("value") is not None]
        beside = [own_error(r, errors.get(r["network"])) for r in own]
        beside = [e for e in beside if e is not None and e > 0]
        if values:
            found.append(Row(name, BOUNDS[name].status, values, beside))
    return found


def paint(canvas: Any, rows: Sequence[Row], classes: int) -> None:
    """`figure_rows`, with the line from which a certificate says nothing."""
    levels = {"vacuous: 1 - 1/C": 1 - 1 / classes}
    label = "value: bounds on the fraction of new examples that are errors"
    paint_rows(canvas, rows, label, levels=levels)
