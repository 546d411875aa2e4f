"""The tables of `evaluate`, from what was measured."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from experiments.evaluate.study import EvaluateStudy
from experiments.lab import bound_rows, network_rows, parts
from experiments.lab.measuring import Arrays

COLUMNS = {
    "results": (
        "network", "m", "classes", "layers", "parameters", *network_rows.ERRORS,
        *network_rows.NORMS, "taken_to_be",
    ),
    "layers": ("network", "layer", *network_rows.LAYERS),
    "bounds": ("network", *bound_rows.COLUMNS),
    "profile": ("network", "groups", "examples", "compile_seconds", "run_seconds"),
}  # fmt: skip


def make(
    of: EvaluateStudy, measured: Sequence[Arrays]
) -> dict[str, list[dict[str, Any]]]:
    """name -> rows: results, one a network; layers; bounds, one a network and bound; profile."""
    config = of.config
    identities = [{"network": subject.name} for subject in of.subjects]
    medians = network_rows.medians(measured)
    rules = {"median": medians}
    if config.margin is not None:
        rules = {"given": np.full(len(medians), config.margin)}
    said = bound_rows.rows(config, measured, rules, [None] * len(measured))
    return {
        "results": [
            identity
            | {
                "m": int(a["task/size"]),
                "classes": int(a["task/classes"]),
                "layers": len(a["layers/frobenius"]),
                "parameters": int(a["architecture/parameters"].sum()),
            }
            | network_rows.errors(a)
            | network_rows.norms(a)
            | {"taken_to_be": of.taken[identity["network"]]}
            for identity, a in zip(identities, measured, strict=True)
        ],
        "layers": network_rows.layers(identities, measured),
        "bounds": [
            identity | row
            for identity, rows in zip(identities, said, strict=True)
            for row in rows
        ],
        "profile": [
            identity | row
            for identity, arrays in zip(identities, measured, strict=True)
            for row in parts.seconds_of(arrays)
        ],
    }
