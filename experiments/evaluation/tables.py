"""The tables of an evaluation, from what was measured."""

import numpy as np

from experiments import bound_values
from experiments.evaluation.measuring import missing_of
from experiments.statistics import binomial_interval

RESULTS = (
    "network",
    "m",
    "classes",
    "layers",
    "parameters",
    "train_error",
    "test_error",
    "test_error_low",
    "test_error_high",
    "margin_median",
    "margin_q10",
    "input_norm_max",
    "distance_from_init",
    "spectral_product",
    "frobenius_norm",
)
LAYERS = (
    "network",
    "layer",
    "inputs",
    "outputs",
    "spectral_lower",
    "spectral_upper",
    "frobenius",
    "norm_21",
    "distance_frobenius",
    "distance_21",
)
BOUNDS = ("network", *bound_values.COLUMNS)


def results(subjects, measured):
    """Rows of results.csv: one a network."""
    rows = []
    for subject, a in zip(subjects, measured, strict=True):
        margins, test = a["margins/sorted"], a.get("test/sorted")
        wrong = None if test is None else int((test <= 0).sum())
        low, high = (
            (None, None) if test is None else binomial_interval(wrong, len(test))
        )
        moved = a.get("from_init/frobenius")
        rows.append(
            {
                "network": subject.name,
                "m": int(a["task/size"]),
                "classes": int(a["task/classes"]),
                "layers": len(a["layers/frobenius"]),
                "parameters": int(a["architecture/parameters"].sum()),
                "train_error": float((margins <= 0).mean()),
                "test_error": None if test is None else wrong / len(test),
                "test_error_low": low,
                "test_error_high": high,
                "margin_median": float(np.median(margins)),
                "margin_q10": float(margins[max(1, len(margins) // 10) - 1]),
                "input_norm_max": float(a["task/input_norm_max"]),
                "distance_from_init": None
                if moved is None
                else float(np.linalg.norm(moved)),
                "spectral_product": float(
                    np.exp(np.log(a["layers/spectral_upper"]).sum())
                ),
                "frobenius_norm": float(np.linalg.norm(a["layers/frobenius"])),
            }
        )
    return rows


def layers(subjects, measured):
    """Rows of layers.csv: one a layer of a network, layer 0 next to the input."""
    columns = {
        "inputs": "layers/fan_in",
        "outputs": "layers/fan_out",
        "spectral_lower": "layers/spectral_lower",
        "spectral_upper": "layers/spectral_upper",
        "frobenius": "layers/frobenius",
        "norm_21": "layers/norm_21",
        "distance_frobenius": "from_init/frobenius",
        "distance_21": "from_init/norm_21",
    }
    return [
        {"network": subject.name, "layer": layer}
        | {c: a[n][layer].item() if n in a else None for c, n in columns.items()}
        for subject, a in zip(subjects, measured, strict=True)
        for layer in range(len(a["layers/frobenius"]))
    ]


def bounds(config, subjects, measured):
    """Rows of bounds.csv: one a network and bound.

    Networks of one number of layers, and with the same reasons for what is missing, are
    evaluated together.
    """
    alike = {}
    for index, a in enumerate(measured):
        key = (len(a["layers/frobenius"]), tuple(sorted(missing_of(a).items())))
        key += (int(a["architecture/convolutions"]), int(a["architecture/biases"]))
        alike.setdefault(key, []).append(index)
    found = {}
    for places in alike.values():
        some = [measured[place] for place in places]
        median = np.array([np.median(a["margins/sorted"]) for a in some])
        rule = "median" if config.margin is None else "given"
        margin = median if config.margin is None else np.full(len(some), config.margin)
        rows = bound_values.rows(
            config, some, {rule: margin}, [None] * len(some), missing_of(some[0])
        )
        found |= dict(zip(places, rows, strict=True))
    return [
        {"network": subject.name} | row
        for place, subject in enumerate(subjects)
        for row in found[place]
    ]
