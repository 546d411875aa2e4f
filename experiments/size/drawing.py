"""The figures of an experiment on training-set size."""

from bounds import BOUNDS
from bounds.types import HEURISTIC
from experiments import figures
from experiments.bound_values import OWN, takes_margin
from experiments.size.presets import PLOTTED
from experiments.size.published import poster
from experiments.size.summary import ERRORS, LABELS, means_by_size

_MOST_CURVES = 6  # in a panel


def _curve(label, by_size, slope=None):
    sizes = list(by_size)
    if slope and slope["mean"] is not None:
        label += rf"  ($m^{{{slope['mean']:+.2f}}}$)"
    lows = [by_size[m]["low"] for m in sizes]
    has_interval = None not in lows
    # On a log axis an interval that reaches 0 is cut at a tenth of the mean.
    low = (
        [max(v["low"], v["mean"] / 10) for v in by_size.values()]
        if has_interval
        else None
    )
    return figures.Curve(
        label,
        sizes,
        [v["mean"] for v in by_size.values()],
        low,
        [v["high"] for v in by_size.values()] if has_interval else None,
    )


def _panel(title, summary, names, published=False):
    curves = [
        _curve(shown_name(n), summary["by_size"][n], summary["slopes"][n])
        for n in names
        if n in summary["by_size"]
    ]
    for name in names if published else ():
        found = poster(name.removesuffix("/target"))
        if found:
            curves.append(
                figures.Curve(f"paper: {shown_name(name)}", *found, published=True)
            )
    return figures.Panel(title, curves)


def _relative(summary, names):
    """Each quantity over its value at the smallest size: who falls, who rises."""
    curves = []
    for name in names:
        by_size = summary["by_size"].get(name)
        first = next(iter(by_size.values()))["mean"] if by_size else 0
        if first > 0:
            relative = {
                m: {k: c[k] and c[k] / first for k in ("mean", "low", "high")}
                for m, c in by_size.items()
            }
            curves.append(_curve(shown_name(name), relative, summary["slopes"][name]))
    return figures.Panel("relative to the smallest training set", curves, level=1.0)


def _plain(names):
    """The bounds that the main figures show, up to six: those that the presets evaluate if
    they are there, measured from the initial weights, as the paper plots them."""
    found = [
        name
        for name in names
        if BOUNDS[name].status != HEURISTIC
        and BOUNDS[name].bind.get("reference", "from_init") == "from_init"
    ]
    usual = [name for name in found if name in PLOTTED]
    return (usual or found)[:_MOST_CURVES]


def _at(name, rule):
    """The quantity that a bound is at a margin rule; it may have a rule of its own."""
    return f"{name}/{rule if takes_margin(name) else OWN}"


def _draw_exponents(config, summary, path):
    """The exponent of every bound, in rows; dashed: the test error's."""
    rows = []
    for name in config.bounds:
        for rule in ("target", "median") if takes_margin(name) else (OWN,):
            slope = summary["slopes"].get(f"{name}/{rule}")
            if slope and slope["mean"] is not None:
                shown = name if rule == OWN else f"{name} ({rule})"
                rows.append(((shown, BOUNDS[name].status), slope))
    rows.sort(key=lambda row: row[0][1])
    names, slopes = zip(*rows, strict=True) if rows else ((), ())
    error = summary["slopes"].get("test_error", {}).get("mean")
    figures.draw_rows(
        path,
        names,
        [[slope["mean"]] for slope in slopes],
        [] if error is None else [error],
        "exponent of m",
        log=False,
        spans=[(slope["low"], slope["high"]) for slope in slopes],
    )


def shown_name(name):
    return LABELS.get(name) or name.split("/")[0].replace("_", " ")


def draw(config, points, summary, folder):
    """The figures: (file name, caption), as written."""
    is_paper = config.dataset == "mnist" and config.depth == 5
    plain = _plain(config.bounds)
    target = [_at(bound, "target") for bound in plain]
    median = [_at(bound, "median") for bound in plain]
    seeds = config.seeds
    note = (
        f"Mean over {seeds} seeds, band: 95% t-interval." if seeds > 1 else "One seed."
    )
    if is_paper:
        note += " Dashed: the paper's poster, 5 hidden layers of 1024."
    relative = _relative(summary, ["test_error", *target])
    figures.draw(folder.figures / "relative.png", [relative], columns=1)
    yield (
        "relative.png",
        "Test error and bounds, each divided by its value at the smallest training set: a "
        f"bound that explains the error would fall with it. {note}",
    )

    panels = [
        _panel("distances", summary, ["distance_from_init", "distance_between_draws"]),
        _panel("product of spectral norms", summary, ["spectral_product"]),
        _panel("test error", summary, list(ERRORS), is_paper),
        _panel(f"bounds at margin {config.margin:g}", summary, target, is_paper),
    ]
    figures.draw(folder.figures / "bounds_vs_samples.png", panels)
    yield (
        "bounds_vs_samples.png",
        "The paper's four panels: how far the weights travel, the product of spectral norms, "
        f"the test error, and the bounds. {note}",
    )

    layers = sorted({int(row["layer"]) for row in points.layers})
    panels = [
        figures.Panel(
            title,
            [
                _curve(f"layer {n}", means_by_size(points.layer(n, column)))
                for n in layers
            ],
        )
        for title, column in (
            ("distance from initialisation", "distance_frobenius"),
            ("spectral norm", "spectral_upper"),
        )
    ]
    figures.draw(folder.figures / "layers.png", panels)
    yield "layers.png", f"Layer by layer, layer 0 next to the input. {note}"

    panels = [
        _panel("median training margin", summary, ["margin_median"]),
        _panel("bounds at the median margin", summary, median),
    ]
    figures.draw(folder.figures / "median_margin.png", panels)
    yield (
        "median_margin.png",
        f"The same bounds when gamma is the median training margin. {note}",
    )

    if len(config.bounds) > 2 * _MOST_CURVES:
        _draw_exponents(config, summary, folder.figures / "all_bounds.png")
        yield (
            "all_bounds.png",
            "How every bound grows: the exponent a of m^a, with its 95% t-interval over seeds. "
            "Dashed: the test error's exponent, where a bound that explains it would be.",
        )
        return
    panels = [
        _panel(f"at {name}", summary, [_at(b, rule) for b in config.bounds])
        for rule, name in (
            ("target", f"margin {config.margin:g}"),
            ("median", "the median"),
        )
    ]
    figures.draw(folder.figures / "all_bounds.png", panels, columns=1, width=7.5)
    yield "all_bounds.png", f"All bounds that were evaluated. {note}"
