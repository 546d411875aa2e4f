"""The tables of `certify`, from what was measured."""

import itertools
from collections.abc import Sequence

import numpy as np

from bounds.numerics import intervals
from experiments.certify import parts
from experiments.certify.routes.route import SAME_DATA
from experiments.certify.study import CertifyStudy
from experiments.lab import bound_rows, network_rows
from experiments.lab.compact_rows import CompactRows
from experiments.lab.measuring import Arrays
from experiments.lab.program import Rows
from nets.training import Outcome

COLUMNS = {
    "results": (
        "run", "seed", "m", "prior_m", "parameters", "epochs", "seconds", "outcome",
        *network_rows.ERRORS, "test_size", "holdout_of_same_data", "kl", "kl_over_m", "stochastic_train_error",
        "stochastic_test_error", "bits", "compressed_train_error", "compressed_test_error",
    ),
    "epochs": network_rows.EPOCHS,
    "bounds": ("run", *bound_rows.COLUMNS),
    "parts": ("run", "bound", "part", "share"),
}  # fmt: skip


def make(of: CertifyStudy, measured: Sequence[Arrays]) -> dict[str, Rows]:
    """name -> rows: results, one a certified network; epochs; bounds; parts of what is quoted.

    Errors are of the plain network, or of the mean one; held-out labels are as those that
    were trained on. Certificates share delta with the `--tried` settings.
    """
    config, surveyed, epochs = of.config, bound_rows.Survey(), CompactRows()
    medians, broken = [], []
    for run, a in zip(of.runs, measured, strict=True):
        epochs.extend(network_rows.epochs(run.name, a))
        medians.append(network_rows.median(a))
        broken.append(network_rows.broken(a))
        surveyed.add(a)
    said = bound_rows.rows(
        config,
        [{"run": run.name} for run in of.runs],
        measured,
        surveyed,
        {"median": np.array(medians)},
        broken,
        delta=config.delta / config.tried,
    )
    own = {name: list(rows) for name, rows in itertools.groupby(said, _run_of)}
    results = CompactRows(
        _result(of, run, a, own.get(run.name, ()))
        for run, a in zip(of.runs, measured, strict=True)
    )
    made_of = CompactRows(
        row
        for run, a in zip(of.runs, measured, strict=True)
        for row in _parts(of, run, a, own.get(run.name, ()))
    )
    return {"results": results, "epochs": epochs, "bounds": said, "parts": made_of}


def _parts(of, run, a, rows):
    """Rows of the parts of the certificate that is quoted of a network."""
    quoted = of.route.quoted(of.config, rows)
    if quoted is None:
        return []
    found = parts.parts(a, quoted["bound"], of.config.delta, of.config.tried)
    return [
        {"run": run.name, "bound": quoted["bound"], "part": part, "share": share}
        for part, share in found.items()
    ]


def _run_of(row):
    return row["run"]


def _result(of, run, a, rows):
    noisy, size = a.get("test_noisy/sorted", a.get("test/sorted")), int(a["task/size"])
    row = {
        "run": run.name,
        "seed": run.seed,
        "m": size,
        "prior_m": of.config.size - of.route.certified_size(of.config),
        "parameters": int(a["architecture/parameters"].sum()),
        "test_size": 0 if noisy is None else len(noisy),
        "holdout_of_same_data": _holdout_of_same_data(a, of.config),
    } | network_rows.errors(a | {"test/sorted": noisy})
    own, is_diverged = of.route.columns(of.config, a, rows), False
    if "outcome" in a:  # something was trained
        is_diverged = int(a["outcome"]) == Outcome.DIVERGED
        row |= {
            "epochs": int(a["epochs"]),
            "seconds": float(a["seconds"]),
            "outcome": "diverged" if is_diverged else "trained",
        }
    # Held-out errors are no numbers where no examples are held out.
    own |= {n: None for n, v in own.items() if n.endswith("test_error") and v != v}
    if is_diverged and "kl" in own:
        own |= {"kl": None, "kl_over_m": None}
    return row | own


def _holdout_of_same_data(a, config):
    """The exact binomial bound of the course's baseline, at the same delta; or None."""
    if f"{SAME_DATA}/wrong" not in a:
        return None
    wrong, size = (int(a[f"{SAME_DATA}/{n}"]) for n in ("wrong", "size"))
    return float(intervals.upper([wrong], size, config.delta / config.tried)[0])
