"""Which figures a run folder of `uc_failure` gets, and what their captions say."""

import numpy as np

from experiments.failure import figures, slices

UNITS = {"exponential": "log margin y (log h+ - log h-)"}


def _seeds_note(config):
    return f"Mean over {config.seeds} runs" + (
        ", band: 95% t-interval over runs, the test points held fixed."
        if config.seeds > 1
        else "."
    )


def _axis(config, entries):
    """What runs along x: sizes, unless something else varies."""
    name = (config.vary or "").partition("=")[0]
    if not name:
        return "training-set size m", [e["m"] for e in entries], True
    texts = [e["variant"].partition("=")[2] for e in entries]
    if name == "radii":
        inner_outer = [[float(v) for v in text.split(":")] for text in texts]
        return "ratio of the radii", [max(p) / min(p) for p in inner_outer], True
    return name, [float(text) for text in texts], True


def _title(run):
    return f"m = {run.size}" + (f", {run.variant}" if run.variant else "")


def _few(items, count):
    """At most `count` of them, the ends included."""
    if len(items) <= count:
        return items
    index = np.unique(np.linspace(0, len(items) - 1, count).round().astype(int))
    return [items[i] for i in index]


def draw(sweep, summary, measured, epochs, folder):
    """The figures: (file name, caption), as written."""
    config, entries = sweep.config, summary["points"]
    runs = dict(zip(sweep.runs, measured, strict=True))
    cells = list(dict.fromkeys((run.variant, run.size) for run in runs))

    predicted = [
        sweep.examples[e["variant"]].expected(e["m"]).get("risk") for e in entries
    ]
    predicted = None if None in predicted else predicted
    axis = _axis(config, entries)
    figures.errors(folder.figures / "errors.png", entries, axis, predicted)
    yield (
        "errors.png",
        f"Errors on S', on fresh examples and on S. {_seeds_note(config)} Bars: the least "
        "value that any two-sided uniform convergence bound can have, where the runs "
        "support a claim.",
    )

    if epochs and config.watch:
        histories = {}
        for variant, size in _few(cells, 8):
            own = [r for r in runs if (r.variant, r.size) == (variant, size)][:8]
            histories[_title(own[0])] = [
                {
                    "epoch": [row["epoch"] for row in epochs if row["run"] == run.name],
                    **{
                        name: [
                            row[f"{name}_error"]
                            for row in epochs
                            if row["run"] == run.name
                        ]
                        for name in figures.SETS
                    },
                }
                for run in own
            ]
        figures.by_epoch(folder.figures / "epochs.png", histories)
        yield (
            "epochs.png",
            f"The same errors while training; S' and fresh: {config.watch} examples. A line "
            "a run.",
        )

    groups = {}
    for variant, size in _few(cells, 8):
        own = [r for r in runs if (r.variant, r.size) == (variant, size)]
        groups[_title(own[0])] = {
            shown: np.concatenate([runs[r][f"{name}/margins"] for r in own])
            for shown, name in (
                ("train", "train"),
                ("sprime", "sprime"),
                ("test", "fresh"),
            )
        }
    gamma = config.margin if config.example in ("hypersphere", "digits") else None
    unit = UNITS.get(config.example, "margin")
    figures.margins(folder.figures / "margins.png", groups, gamma, unit)
    yield (
        "margins.png",
        "Margins of the examples of all runs; left of 0 is misclassified."
        + (" Dotted: the margin trained to." if gamma else ""),
    )

    if config.radii:
        chosen = [cells[0]] if len(cells) == 1 else [cells[0], cells[-1]]
        for index, (variant, size) in enumerate(chosen):
            run = next(
                r for r in runs if (r.variant, r.size, r.seed) == (variant, size, 0)
            )
            radii = sweep.configs[variant].radii
            rows = {
                title: {
                    part: runs[run][f"slices/{name}/{part}"]
                    for part in ("values", "points")
                }
                for title, name in (
                    ("training points", "train"),
                    ("fresh points", "fresh"),
                )
                if len(runs[run].get(f"slices/{name}/values", ()))
            }
            if not rows:
                continue
            file = f"slices_{index}.png"
            figures.slices(
                folder.figures / file, rows, radii, slices.REACH * max(radii)
            )
            yield (
                file,
                f"{_title(run)}, seed 0: planes through two training points (top) and two "
                "fresh ones (bottom), a circle of class 0 and a square of class 1; hollow: "
                "the same points in S'. Dashed: the spheres. Blue region: called class 0.",
            )

    by_m = {}
    for row in summary["pac_bayes"]:
        by_m.setdefault((row["variant"], row["m"]), {})[row["sigma"]] = row
    if by_m:
        variant, m = list(by_m)[-1]
        figures.pac_bayes(folder.figures / "pac_bayes.png", by_m[variant, m], m)
        yield (
            "pac_bayes.png",
            f"m = {m}{', ' if variant else ''}{variant}: Gaussian posteriors N(w, sigma^2 I), "
            "prior N(0, sigma^2 I): what noise does to the classifier, and to KL/m.",
        )
