"""The figures of `uc_failure`."""

import contextlib

import numpy as np
from matplotlib.ticker import NullLocator

from experiments.figures import COLOURS, canvas

# One colour a set of examples, in every figure.
SETS = {
    "sprime": ("S'", COLOURS[1], "s"),
    "test": ("fresh examples", COLOURS[0], "o"),
    "train": ("S (training)", COLOURS[2], "^"),
}
INNER, OUTER = "#cfe3f2", "#f7d9c4"  # what a slice is coloured where f says class 0, 1


@contextlib.contextmanager
def _panels(path, count, width, height):
    """`count` axes of one PNG, with the legend of the first below them all."""
    columns = _columns(count)
    with canvas(path, -(-count // columns), columns, width, height) as grid:
        for axes in grid.flat[count:]:
            axes.remove()
        yield grid.flat[:count]
        handles, labels = grid[0, 0].get_legend_handles_labels()
        grid[0, 0].figure.legend(handles, labels, loc="outside lower center", ncols=3)


def _columns(panels):
    """At most four, and no row nearly empty."""
    return 3 if panels in (5, 6) else min(panels, 4)


def _ticks(axes, values, is_log):
    if is_log:
        axes.set_xscale("log")
    axes.set_xticks(values, [f"{v:g}" for v in values])
    axes.xaxis.set_minor_locator(NullLocator())
    if len(values) > 5:
        axes.tick_params(axis="x", rotation=45)


def _errors(axes, x, entries):
    for name, (label, colour, marker) in SETS.items():
        cells = [entry[f"{name}_error"] for entry in entries]
        mean = [c["mean"] for c in cells]
        axes.plot(x, mean, color=colour, marker=marker, ms=5, lw=1.5, label=label)
        if all(c["low"] is not None for c in cells):
            low = np.clip([c["low"] for c in cells], 0, 1)
            high = np.clip([c["high"] for c in cells], 0, 1)
            axes.fill_between(x, low, high, color=colour, alpha=0.18, lw=0)
    for name, label, colour in (
        ("eps_unif_alg_lower_bound", "least two-sided bound", "#333333"),
        ("eps_gen_upper_bound", "eps_gen, at most", "#999999"),
    ):
        known = [(a, e[name]) for a, e in zip(x, entries, strict=True) if e[name]]
        if known:
            axes.plot(*zip(*known, strict=True), "_", color=colour, ms=14, mew=2,
                      label=label, zorder=3)  # fmt: skip
    axes.set(ylim=(-0.03, 1.05), ylabel="error")


def errors(path, entries, axis, predicted=None):
    """Errors on S', on fresh examples and on S along the axes of the experiment.

    Args:
      path: the file.
      entries: the points of summary.json.
      axis: `(name, values, is_log)`: what runs along x in each panel, its value in each
        entry.
      predicted: the risk that theory predicts in each entry, or None.
    """
    name, values, is_log = axis
    other = "variant" if name == "training-set size m" else "m"
    groups = list(dict.fromkeys(e[other] for e in entries))
    with _panels(path, len(groups), 5.2, 3.8) as panels:
        for axes, group in zip(panels, groups, strict=True):
            chosen = [i for i, e in enumerate(entries) if e[other] == group]
            x = [values[i] for i in chosen]
            _ticks(axes, x, is_log)
            _errors(axes, x, [entries[i] for i in chosen])
            if predicted:
                axes.plot(x, [predicted[i] for i in chosen], "--", color="#555555", lw=1,
                          label="risk, predicted")  # fmt: skip
            axes.set_xlabel(name)
            if len(groups) > 1:
                axes.set_title(str(group) if other == "variant" else f"m = {group}")


def by_epoch(path, histories):
    """Errors against epoch.

    Args:
      path: the file.
      histories: title -> list of runs, each a dict of columns: `epoch`, and an error for
        each of `SETS`.
    """
    with _panels(path, len(histories), 3.6, 3.2) as panels:
        for axes, (title, runs) in zip(panels, histories.items(), strict=True):
            for number, run in enumerate(runs):
                for name, (label, colour, _) in SETS.items():
                    axes.plot(run["epoch"], run[name], color=colour, lw=1, alpha=0.8,
                              label=None if number else label)  # fmt: skip
            axes.set(title=title, xlabel="epoch", ylim=(-0.03, 1.05))
        panels[0].set_ylabel("error")


def margins(path, groups, gamma, unit):
    """Densities of the margins on S, on S' and on fresh examples.

    Args:
      path: the file.
      groups: title -> {name of `SETS`: margins}.
      gamma: the margin trained to, or None.
      unit: of the margins.
    """
    with _panels(path, len(groups), 3.8, 3.0) as panels:
        for axes, (title, sets) in zip(panels, groups.items(), strict=True):
            axes.set(title=title, xlabel=unit, yticks=[])
            pooled = np.concatenate([v[np.isfinite(v)] for v in sets.values()])
            if not len(pooled):
                axes.text(0.5, 0.5, "no finite margin", ha="center")
                continue
            low, high = np.quantile(pooled, [0.002, 0.998])
            edges = np.linspace(low, max(high, low + 1e-6 * (1 + abs(low))), 61)
            for name, (label, colour, _) in SETS.items():
                if not np.isfinite(sets[name]).any():
                    continue
                axes.hist(sets[name], edges, density=True, histtype="stepfilled",
                          color=colour, alpha=0.25)  # fmt: skip
                axes.hist(sets[name], edges, density=True, histtype="step",
                          color=colour, lw=1.2, label=label)  # fmt: skip
            axes.axvline(0, color="#333333", lw=0.8)
            if gamma is not None:
                axes.axvline(gamma, color="#333333", lw=0.8, ls=":")
        panels[0].set_ylabel("density")


def slices(path, rows, radii, reach):
    """Decision boundaries in planes through two points.

    Args:
      path: the file.
      rows: title -> dict of `values` `[P, G, G]` and `points` `[P, 2, 2]`: a row of panels.
      radii: of the two spheres.
      reach: half the side of the planes.
    """
    columns = max(len(row["values"]) for row in rows.values())
    turn = np.linspace(0, 2 * np.pi, 200)
    with canvas(path, len(rows), columns, 2.9, 3.1) as grid:
        for axes_row, (title, row) in zip(grid, rows.items(), strict=True):
            for axes in axes_row[len(row["values"]) :]:
                axes.remove()
            for axes, values, points in zip(
                axes_row, row["values"], row["points"], strict=False
            ):
                side = np.linspace(-reach, reach, values.shape[0])
                axes.contourf(side, side, values > 0, [-0.5, 0.5, 1.5],
                              colors=[INNER, OUTER])  # fmt: skip
                if values.min() < 0 < values.max():
                    axes.contour(side, side, values, [0], colors="k", linewidths=1.2)
                for radius in radii:
                    axes.plot(radius * np.cos(turn), radius * np.sin(turn),
                              color="#555555", lw=0.9, ls="--")  # fmt: skip
                for label, (point, marker) in enumerate(zip(points, "os", strict=True)):
                    colour, other = COLOURS[label], COLOURS[1 - label]
                    axes.plot(*point, marker, color=colour, mec="white", ms=8)
                    moved = point * radii[1 - label] / radii[label]
                    axes.plot(*moved, "so"[label], color=other, mfc="none", ms=7)
                axes.set(xticks=[], yticks=[], aspect="equal")
                axes.set(xlim=(-reach, reach), ylim=(-reach, reach))
                axes.grid(False)
                axes.spines[:].set_visible(False)
            axes_row[0].set_ylabel(title)


def pac_bayes(path, rows, m):
    """Gibbs errors and complexities over the noise of the posterior.

    Args:
      path: the file.
      rows: sigma -> dict of means over runs, as in pac_bayes.csv.
      m: training-set size.
    """
    sigmas = list(rows)
    with canvas(path, 1, 2, 4.8, 3.6) as grid:
        left, right = grid[0]
        for name, (label, colour, marker) in SETS.items():
            column = "risk" if name == "test" else f"{name}_error"
            left.plot(sigmas, [rows[s][column] for s in sigmas], color=colour,
                      marker=marker, ms=5, label=label)  # fmt: skip
        left.set(ylabel="error of the Gibbs classifier", ylim=(-0.03, 1.05))
        for name, label, colour, style in (
            ("kl_over_m", "KL / m", COLOURS[3], "-"),
            ("guarantee", "the guarantee (Pinsker)", "#333333", "-"),
            ("least", "what any two-sided one must be", COLOURS[1], "--"),
        ):
            right.plot(sigmas, [rows[s][name] for s in sigmas], style, color=colour,
                       marker="o", ms=4, label=label)  # fmt: skip
        right.axhline(1, color="#333333", lw=0.8, ls=":")
        right.set_yscale("log")
        for axes in (left, right):
            _ticks(axes, sigmas, True)
            axes.set(xlabel="noise level sigma", title=f"m = {m}")
            axes.legend()
