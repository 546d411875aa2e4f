"""What an experiment on training-set size found: the content of summary.json."""

import dataclasses
import math

import numpy as np

from experiments.bound_values import OWN
from experiments.run_folder import read_table
from experiments.statistics import slope_over_size, t_interval

LABELS = {
    "test_error": "test error",
    "test_error_noisy": "test error on noisy labels",
    "distance_from_init": "distance from initialisation",
    "distance_between_draws": "distance between draws",
    "spectral_product": "product of spectral norms",
    "frobenius_norm": "Frobenius norm",
    "margin_median": "median training margin",
    "epochs": "epochs",
}
ERRORS = ("test_error", "test_error_noisy")


class Points:
    """What the averages rest on: the runs that reached the margin, and who was left out."""

    def __init__(self, folder):
        results = read_table(folder.path / "results.csv")
        self.total = len(results)
        self.used = [row for row in results if row["converged"] == "true"]
        self.diverged = [row["run"] for row in results if row["diverged"] == "true"]
        stopped = [row for row in results if row["converged"] != "true"]
        self.exhausted = [r["run"] for r in stopped if r["diverged"] != "true"]
        used = {row["run"] for row in self.used}
        self.bounds = [
            r for r in read_table(folder.path / "bounds.csv") if r["run"] in used
        ]
        self.layers = [
            r for r in read_table(folder.path / "layers.csv") if r["run"] in used
        ]

    @staticmethod
    def _of(rows, column):
        return [
            (int(row["m"]), int(row["seed"]), float(row[column]))
            for row in rows
            if row[column]
        ]

    def quantity(self, name):
        """`(m, seed, value)` of a column of results.csv, or of `<bound>/<rule>`.

        Of a bound the complexity is taken: its excess, before that can saturate.
        """
        if "/" not in name:
            return self._of(self.used, name)
        bound, rule = name.split("/")
        rows = [
            r for r in self.bounds if (r["bound"], r["margin_rule"]) == (bound, rule)
        ]
        logs = self._of(rows, "log_complexity")
        # A complexity of 0, or beyond the floats, has no place on a logarithmic axis.
        return [(m, s, math.exp(value)) for m, s, value in logs if abs(value) < 600]

    def layer(self, layer, column):
        return self._of([r for r in self.layers if int(r["layer"]) == layer], column)


def means_by_size(points):
    """m -> mean over seeds of the mean over draws, its t-interval, and the number of seeds."""
    found = {}
    for size in sorted({m for m, _, _ in points}):
        seeds = sorted({s for m, s, _ in points if m == size})
        means = [
            np.mean([v for m, s, v in points if (m, s) == (size, seed)])
            for seed in seeds
        ]
        low, high = t_interval(means)
        found[size] = {
            "mean": float(np.mean(means)), "low": low, "high": high, "seeds": len(seeds)
        }  # fmt: skip
    return found


def _direction(slope, falls, rises):
    if slope["low"] is None:
        return "not decided (needs two seeds and two sizes)"
    if slope["high"] < 0:
        return falls
    return rises if slope["low"] > 0 else "not decided (the interval holds 0)"


def summarise(config, points, n_test):
    """The content of summary.json; `n_test` test points were counted."""
    names = [n for n in LABELS if points.quantity(n)]
    for rule in ("target", "median", OWN):
        names += [
            f"{b}/{rule}" for b in config.bounds if points.quantity(f"{b}/{rule}")
        ]
    slopes, sizes = {}, {}
    for name in names:
        own = points.quantity(name)
        resolution = 1 / n_test if name in ERRORS else None
        slopes[name] = dataclasses.asdict(slope_over_size(own, resolution))
        sizes[name] = means_by_size(own)
    verdicts = {
        name: _direction(slopes[name], "falls with m", "rises with m")
        for name in names
        if name in ERRORS or "/" in name
    }
    return {
        "runs": {
            "total": points.total,
            "used": len(points.used),
            "not_converged": points.exhausted,
            "diverged": points.diverged,
        },
        "by_size": sizes,
        "slopes": slopes,
        "verdicts": verdicts,
    }
