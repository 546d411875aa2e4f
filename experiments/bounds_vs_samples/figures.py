"""The figures of `bounds_vs_samples`."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from bounds import BOUNDS
from experiments.bounds_vs_samples.published import poster
from experiments.bounds_vs_samples.settings import PLOTTED
from experiments.bounds_vs_samples.summary import (
    ERRORS,
    at,
    is_used,
    means_by_size,
    plain_bounds,
    shown_name,
)
from experiments.lab import vary
from experiments.lab.bound_rows import OWN, takes_margin
from experiments.lab.compact_rows import where
from experiments.lab.figures import (
    Curve,
    Drawing,
    Panel,
    Row,
    paint_panels,
    paint_rows,
)
from experiments.lab.program import Results

_MOST_CURVES = 6  # in a panel


def _name(quantity):
    """What decides the colour of a quantity, in all figures."""
    return "test" if quantity == "test_error" else quantity.split("/")[0]


def _curve(name, label, by_size, slope=None):
    if slope and slope["mean"] is not None:
        label += rf"  ($m^{{{slope['mean']:+.2f}}}$)"
    cells = list(by_size.values())
    has_interval = None not in [c["low"] for c in cells]
    # On a log axis an interval that reaches 0 is cut at a tenth of the mean.
    return Curve(
        name,
        label,
        [int(m) for m in by_size],
        [c["mean"] for c in cells],
        [max(c["low"], c["mean"] / 10) for c in cells] if has_interval else None,
        [c["high"] for c in cells] if has_interval else None,
    )


def _panel(title, ylabel, found, names, published=False, levels=None):
    curves = [
        _curve(_name(n), shown_name(n), found["by_size"][n], found["slopes"][n])
        for n in names
        if n in found["by_size"]
    ]
    for name in names if published else ():
        numbers = poster(name.removesuffix("/target"))
        if numbers:
            label = f"paper: {shown_name(name)}"
            curves.append(Curve(_name(name), label, *numbers, published=True))
    return Panel(title, curves, ylabel, levels=levels or {})


def _relative(found, names):
    """Each quantity over its value at the smallest size: who falls, who rises."""
    curves = []
    for name in names:
        by_size = found["by_size"].get(name)
        first = next(iter(by_size.values()))["mean"] if by_size else 0
        if first > 0:
            relative = {
                m: {k: c[k] and c[k] / first for k in ("mean", "low", "high")}
                for m, c in by_size.items()
            }
            slope = found["slopes"][name]
            curves.append(_curve(_name(name), shown_name(name), relative, slope))
    return Panel(
        "relative to the smallest training set", curves,
        "value over that at the smallest m", levels={"no change": 1.0},
    )  # fmt: skip


def _plain(names: Sequence[str]) -> list[str]:
    """The bounds that the main figures show, up to six: those that the presets evaluate if
    they are there, measured from the initial weights, as the paper plots them."""
    found = [
        name
        for name in plain_bounds(names)
        if BOUNDS[name].bind.get("reference", "from_init") == "from_init"
    ]
    usual = [name for name in found if name in PLOTTED]
    return (usual or found)[:_MOST_CURVES]


def _exponents(names, found):
    """The exponent of every bound, a row each."""
    rows = []
    for name in names:
        for rule in ("target", "median") if takes_margin(name) else (OWN,):
            slope = found["slopes"].get(f"{name}/{rule}")
            if slope and slope["mean"] is not None:
                shown = name if rule == OWN else f"{name} ({rule})"
                span = slope["low"], slope["high"]
                rows.append(Row(shown, BOUNDS[name].status, [slope["mean"]], (), span))
    return sorted(rows, key=lambda row: row.kind)


def make(results: Results, draw: Drawing) -> list[Any]:
    """The figures of the report, of one variant; with `--vary` and `--measure_at` those along
    it, too."""
    summary, of = results.summary, results.study
    # Of a training that is looked at on the way, its end.
    first = next((v for v in summary["variants"] if not vary.is_on_the_way(v)), "")
    variant, found = first, summary["variants"][first]
    config, bounds = of.configs[variant], summary["bounds"]
    is_paper = config.problem == "mnist" and config.depth == 5
    plain = _plain(bounds)
    target, median = ([at(b, rule) for b in plain] for rule in ("target", "median"))
    seeds = summary["seeds"]
    note = (
        f"Mean over {seeds} seeds, band: 95% t-interval over them (one test set)."
        if seeds > 1
        else "One seed."
    )
    note = f"{variant}. {note}" if variant else note
    if is_paper:
        note += " Dashed: the paper's poster, 5 hidden layers of 1024."
    vacuous = {"vacuous: 1 - 1/C": 1 - 1 / summary["classes"]}
    figures = []
    if summary["along"] and summary["along"]["rows"]:
        figures.append(_along(summary, draw))
    figures.append(
        draw(
            "relative",
            "Test error and bounds, each divided by its value at the smallest training set: a "
            f"bound that explains the error would fall with it. {note}",
            paint_panels, [_relative(found, [found["spoken_of"] or "test_error", *target])], 1, 6.2,
        )
    )  # fmt: skip
    distances = ["distance_from_init", "distance_between_draws"]
    gamma = f"bounds at margin {summary['margin']:g}"
    figures.append(
        draw(
            "bounds_vs_samples",
            "The paper's four panels: how far the weights travel, the product of spectral "
            f"norms, the test error, and the bounds. {note}",
            paint_panels,
            [
                _panel("distances", "Euclidean norm", found, distances),
                _panel("product of spectral norms", "product", found, ["spectral_product"]),
                _panel("test error", "fraction of test examples", found, list(ERRORS),
                       is_paper, vacuous),
                _panel(gamma, "excess over the training error", found, target, is_paper,
                       {"1 - 1/C": 1 - 1 / summary["classes"]}),
            ],
        )
    )  # fmt: skip
    figures.append(_layers(results, variant, note, draw))
    figures.append(
        draw(
            "median_margin",
            f"The same bounds when gamma is the median training margin. {note}",
            paint_panels,
            [
                _panel("median training margin", "margin of the logits", found,
                       ["margin_median"]),
                _panel("bounds at the median margin", "excess over the training error",
                       found, median),
            ],
        )
    )  # fmt: skip
    return [*figures, _all(summary, found, note, draw)]


def _layers(results, variant, note, draw):
    used = {r["run"] for r in results.tables["results"] if is_used(r)}
    own = where(
        results.tables["layers"],
        lambda r: r["variant"] == variant and r["run"] in used,
    )
    panels = [
        Panel(
            title,
            [
                _curve(f"layer {n}", f"layer {n}", means_by_size(
                    [(r["m"], r["seed"], r[column]) for r in own if r["layer"] == n]
                ))
                for n in sorted({r["layer"] for r in own})
            ],
            ylabel,
        )
        for title, ylabel, column in (
            ("distance from initialisation", "Frobenius norm", "distance_frobenius"),
            ("spectral norm", "largest singular value", "spectral_norm"),
        )
    ]  # fmt: skip
    caption = f"Layer by layer, layer 0 next to the input. {note}"
    return draw("layers", caption, paint_panels, panels)


def _all(summary, found, note, draw):
    names = summary["bounds"]
    if len(names) > 2 * _MOST_CURVES:
        error = found["slopes"].get(found["spoken_of"], {}).get("mean")
        levels = {} if error is None else {"the test error's": error}
        caption = (
            "How every bound grows: the exponent a of m^a, with its 95% t-interval over "
            "seeds. Dashed: the test error's exponent, where a bound that explains it would "
            "be."
        )
        return draw(
            "all_bounds", caption,
            lambda canvas, rows: paint_rows(
                canvas, rows, "exponent of m", log=False, levels=levels
            ),
            _exponents(names, found),
        )  # fmt: skip
    panels = [
        _panel(f"at {name}", "excess over the training error", found,
               [at(b, rule) for b in names])
        for rule, name in (
            ("target", f"margin {summary['margin']:g}"), ("median", "the median"),
        )
    ]  # fmt: skip
    caption = f"All bounds that were evaluated. {note}"
    return draw("all_bounds", caption, paint_panels, panels, 1, 7.5)


def _of_size(by_size, quantity, size):
    """What a variant says of a quantity at a size; without noise both errors are one."""
    if quantity == "test_error_noisy" and quantity not in by_size:
        quantity = "test_error"
    return by_size.get(quantity, {}).get(str(size))


def _epochs(summary, places, size):
    """Variant -> how many epochs its networks of a size had; on the way well before the end alone."""
    found = {}
    for variant in places:
        its = summary["variants"][variant]["by_size"].get("epochs", {}).get(str(size))
        if its:
            found[variant] = its["mean"]
    last = found.get(vary.END, math.inf)  # an epoch so near to it is most runs' end
    return {
        v: at for v, at in found.items() if at < 0.8 * last or not vary.is_on_the_way(v)
    }


def _along(summary: Mapping[str, Any], draw: Drawing):
    """The error and the bounds along the sweep, a panel a size."""
    along = summary["along"]
    places = along["places"]
    order = {v: places[v] if along["is_power"] else n for n, v in enumerate(places, 1)}
    plain = [along["spoken_of"], *(at(b, "target") for b in _plain(summary["bounds"]))]
    sizes = sorted({r["m"] for r in along["rows"]})
    panels = []
    for size in sizes:
        curves = []
        for quantity in plain:
            cells = {
                v: _of_size(found["by_size"], quantity, size)
                for v, found in summary["variants"].items()
            }
            if vary.END in order:
                order = _epochs(summary, places, size)
            known = {order[v]: cells[v] for v in order}
            known = {x: c for x, c in known.items() if c and c["mean"] > 0}
            known = dict(sorted(known.items()))
            if known:
                first = next(iter(known.values()))["mean"]
                y = [c["mean"] / first for c in known.values()]
                name = _name(quantity)
                curves.append(Curve(name, shown_name(quantity), [*known], y))
        axis = along["axis"] if along["is_power"] else f"{along['axis']}, in order"
        title = f"m = {size}"
        panels.append(
            Panel(title, curves, "value over the first", axis, {"no change": 1.0})
        )
    caption = (
        f"Along {along['axis']}: the test error and bounds, each divided by its value at the "
        f"first of {', '.join(places)}. A bound that explains the error would go with it."
    )
    return draw("along", caption, paint_panels, panels)
