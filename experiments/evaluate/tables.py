"""The tables of `evaluate`, from what was measured."""

from collections.abc import Sequence

import numpy as np

from experiments.evaluate.study import EvaluateStudy
from experiments.lab import bound_rows, network_rows, parts
from experiments.lab.compact_rows import CompactRows
from experiments.lab.measuring import Arrays
from experiments.lab.program import Rows

COLUMNS = {
    "results": (
        "network", "m", "classes", "layers", "parameters", *network_rows.ERRORS,
        *network_rows.NORMS, "taken_to_be",
    ),
    "layers": ("network", "layer", *network_rows.LAYERS),
    "bounds": ("network", *bound_rows.COLUMNS),
    "profile": ("network", "groups", "examples", "compile_seconds", "run_seconds"),
}  # fmt: skip


def make(of: EvaluateStudy, measured: Sequence[Arrays]) -> dict[str, Rows]:
    """name -> rows: results, one a network; layers; bounds, one a network and bound; profile."""
    config, identities = of.config, [{"network": s.name} for s in of.subjects]
    results, layers, profile = (CompactRows() for _ in range(3))
    surveyed, medians = bound_rows.Survey(), []
    for identity, a in zip(identities, measured, strict=True):
        results.append(
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
        )
        layers.extend(network_rows.layers(identity, a))
        profile.extend(identity | row for row in parts.seconds_of(a))
        medians.append(network_rows.median(a))
        surveyed.add(a)
    rules = {"median": np.array(medians)}
    if config.margin is not None:
        rules = {"given": np.full(len(medians), config.margin)}
    said = bound_rows.rows(
        config, identities, measured, surveyed, rules, [None] * len(medians)
    )
    return {"results": results, "layers": layers, "bounds": said, "profile": profile}
