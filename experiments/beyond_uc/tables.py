"""The tables of `beyond_uc`, from what was looked at."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

import bounds
from bounds.evaluate import AT_ONCE
from experiments.beyond_uc.cell import BASE, Cell, Seen
from experiments.beyond_uc.study import BeyondStudy
from experiments.lab import bound_rows, network_rows, whole_programs
from experiments.lab.measuring import Arrays, missing_of
from experiments.lab.program import Rows
from experiments.lab.seeding import Purpose, host_generator, key_for
from experiments.lab.statistics import t_interval
from experiments.problems import sprime

COLUMNS = {
    "claims": (
        "tool", "claim", "m", "seeds", "value", "low", "high", "empirical", "excess", "error",
        "error_low", "error_high", "below_error", "status", "speaks_of", "network", "in_expectation",
        "assumption", "check", "check_about", "more_trainings", "labelled", "unlabelled",
    ),
    "per_seed": ("tool", "claim", "m", "seed", "value", "error"),
    "quantities": ("tool", "m", "seed", "quantity", "value"),
    "errors": (
        "m", "seed", "train_error", "test_error", "sprime_error", "n_test", "least_bound",
        "least_bound_name",
    ),
    "same_distribution": ("m", "labels", "energy", "coordinates", "errors", "all",
                          "is_suspicious"),
    "runs": (
        "run", "m", "seed", "epochs", "seconds", "converged", "diverged", "test_error",
        "distance",
    ),
}  # fmt: skip


def _seen(
    of: BeyondStudy, measured: Sequence[Arrays]
) -> Iterator[tuple[Cell, dict[str, Seen]]]:
    """Each cell, and look's name -> what was seen."""
    arrays = iter(measured)
    for cell in of.cells:
        yield cell, {look.name: Seen(next(arrays)) for look in of.looks[cell.name]}


def _least_bounds(of, measured):
    """Of every cell the least certified two-sided bound on its network, and its name.

    The least of several is no certificate; it is what uniform convergence could say at best.
    """
    measured = measured[len(measured) - len(of.cells) :] if of.bounds else ()
    for first in range(0, len(measured), AT_ONCE):
        some = list(measured[first : first + AT_ONCE])
        said = bounds.evaluate(
            bound_rows.groups_of(some), of.bounds, delta=of.config.delta,
            missing=missing_of(some[0]), call=whole_programs.call,
        )  # fmt: skip
        known = {
            n: np.asarray(v.value) for n, v in said.items() if not isinstance(v, str)
        }
        if not known:
            yield from ({} for _ in some)
            continue
        names, values = list(known), np.array(list(known.values()))
        values = np.where(np.isnan(values), np.inf, values)
        for column in values.T:
            yield {
                "least_bound": float(column.min()),
                "least_bound_name": names[column.argmin()],
            }


def _runs(of, cell, seen):
    """One row a run: the first look at it that is not noised."""
    named = set()
    for look in of.looks[cell.name]:
        if look.training.name in named or look.noise or "test" not in look.sets:
            continue
        named.add(look.training.name)
        a = seen[look.name].arrays
        row = {
            "run": f"{cell.name}_{look.training.name}",
            "m": cell.size,
            "seed": cell.seed,
            **network_rows.went(a),
            "test_error": float(np.mean(a["test/wrong"])),
        }
        if np.isfinite(a.get("distance", np.nan)):
            row["distance"] = float(a["distance"])
        yield row


def _errors(cell, seen):
    """Of the network trained on S."""
    base = seen[BASE]
    row = {
        "m": cell.size,
        "seed": cell.seed,
        "train_error": base.error("train"),
        "test_error": base.error("test"),
        "n_test": len(base["test/wrong"]),
    }
    sprime = seen.get(f"{BASE}_on_sprime")
    if sprime is not None:
        row["sprime_error"] = sprime.error("sprime")
    return row


def _same_distribution(of, measured):
    """Two-sample tests of S' against S: a row a size.

    Of examples of training sets that no run sees, and of what the networks on S say of test points
    and of S' of these.
    """
    pairs = {}
    for cell, seen in _seen(of, measured) if of.problem.sprime is not None else ():
        before = seen[BASE]["test/wrong"].astype(bool)
        after = seen[f"{BASE}_on_sprime"]["turned/wrong"].astype(bool)
        counts = sprime.lost_and_won(before, after)
        pairs.setdefault(cell.size, []).append(counts)
    rows, key = [], key_for(of.config.seed, Purpose.TWO_SAMPLE)
    for size in sorted(of.config.sizes) if of.problem.sprime is not None else ():
        model = of.cells[0].plan.model
        rng = host_generator(key)
        tests = sprime.compared(of.problem, model, size, rng, pairs[size])
        rows.append(
            {"m": size, "all": tests.p_value, "is_suspicious": tests.is_suspicious}
            | vars(tests)
        )
    return rows


def _is_number(value):
    return value is not None and math.isfinite(value)


def _known(quantities):
    """What is no number is none."""
    return {
        name: None if value is None or math.isnan(value) else float(value)
        for name, value in quantities.items()
    }


def _quantities(tool, cell, seen):
    """What a tool says of a cell, and whether one of the runs that it looks at diverged."""
    with np.errstate(invalid="ignore"):  # of diverged runs, which are left out below
        found = _known(tool.quantities(cell, seen))
    return found, any(seen[look.name].diverged for look in tool.looks(cell))


def _without_diverged(found, broken, pooled):
    """What is said of runs of which one diverged is nothing: it computes no function."""
    found = [
        dict.fromkeys(own) if is_broken else own
        for own, is_broken in zip(found, broken, strict=True)
    ]
    return found, dict.fromkeys(pooled) if any(broken) else pooled


def _mean(values):
    known = [v for v in values if _is_number(v)]
    return float(np.mean(known)) if known and len(known) == len(values) else None


def make(of: BeyondStudy, measured: Sequence[Arrays]) -> dict[str, Rows]:
    """name -> rows: same_distribution, p-values of S' a size; claims, one a claim and size; per_seed, the same a seed; quantities, all
    that the tools computed; errors of the networks trained on S; runs."""
    tables: dict[str, list[Mapping]] = {
        "same_distribution": _same_distribution(of, measured),
        "claims": [], "per_seed": [], "quantities": [], "errors": [], "runs": [],
    }  # fmt: skip
    least = _least_bounds(of, measured)
    said: dict[tuple[int, str], list] = {}  # size, tool -> what it says of each cell
    for cell, seen in _seen(of, measured):
        own = next(least, {})
        tables["errors"].append(
            _errors(cell, seen) | ({} if seen[BASE].diverged else own)
        )
        tables["runs"] += _runs(of, cell, seen)
        for name, tool in of.tools.items():
            one = cell, *_quantities(tool, cell, seen)
            said.setdefault((cell.size, name), []).append(one)
    for size in sorted(of.config.sizes):
        for name, tool in of.tools.items():
            _of_tool(of, name, tool, size, said[size, name], tables)
    return tables


def _of_tool(of, name, tool, size, said, tables):
    cells, found, broken = zip(*said, strict=True)
    pooled = _known(tool.pooled(size, found, of.config))
    found, pooled = _without_diverged(found, broken, pooled)
    for cell, own in zip(cells, found, strict=True):
        tables["quantities"] += [
            {"tool": name, "m": size, "seed": cell.seed, "quantity": q, "value": v}
            for q, v in own.items()
        ]
    tables["quantities"] += [
        {"tool": name, "m": size, "seed": "all", "quantity": q, "value": v}
        for q, v in pooled.items()
    ]
    for claim in tool.claims(of.problem, of.config, size):
        tables["claims"].append(_claim_row(name, claim, size, found, pooled))
        if claim.value in pooled:
            continue
        tables["per_seed"] += [
            {
                "tool": name, "claim": claim.name, "m": size, "seed": cell.seed,
                "value": own[claim.value], "error": own[claim.error],
            }
            for cell, own in zip(cells, found, strict=True)
        ]  # fmt: skip


def _claim_row(name, claim, size, found, pooled) -> dict[str, Any]:
    def of_all(quantity):
        """Its mean over training sets, and an interval where it is no pooled one."""
        if not quantity:
            return None, None, None
        if quantity in pooled:
            value = pooled[quantity]
            return value if _is_number(value) else None, None, None
        values = [own[quantity] for own in found]
        mean = _mean(values)
        if mean is None or len(set(values)) < 2:
            return mean, None, None
        return mean, *t_interval(values)

    value, low, high = of_all(claim.value)
    error, error_low, error_high = of_all(claim.error)
    empirical, check = of_all(claim.empirical)[0], of_all(claim.check)[0]
    excess = None if None in (value, empirical) else value - empirical
    pairs = [(own.get(claim.value), own.get(claim.error)) for own in found]
    below = None
    if all(map(_is_number, sum(pairs, ()))):
        below = sum(v < e for v, e in pairs)
    return {
        "tool": name, "claim": claim.name, "m": size, "seeds": len(found), "value": value,
        "low": low, "high": high, "empirical": empirical, "excess": excess, "error": error,
        "error_low": error_low, "error_high": error_high, "below_error": below,
        "status": claim.status, "speaks_of": claim.speaks_of, "network": claim.network,
        "in_expectation": claim.in_expectation, "assumption": claim.assumption,
        "check": check, "check_about": claim.check_about,
        "more_trainings": claim.costs.trainings, "labelled": claim.costs.labelled,
        "unlabelled": claim.costs.unlabelled,
    }  # fmt: skip
