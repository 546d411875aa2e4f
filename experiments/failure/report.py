"""What `uc_failure` says: summary.json, figures, report."""

import json

from experiments import report
from experiments.failure.drawing import draw
from experiments.failure.summary import summarise
from experiments.run_folder import write_json

TITLE = "Where uniform convergence fails: {}"
ABOUT = {
    "linear": (
        "A linear classifier learned by one gradient step in D noise dimensions. S' negates "
        "the noise of every training example: as likely a training set as S."
    ),
    "hypersphere": (
        "A ReLU network that tells two concentric spheres apart. S' moves every training "
        "point to the other sphere, with that sphere's label: as likely a training set as S."
    ),
    "exponential": (
        "The infinitely wide network with exponential activations, in closed form. S' flips "
        "the signal and the label of every training example: as likely a training set as S."
    ),
    "digits": (
        "A ReLU network that tells the radii of MNIST images apart: image and radius are "
        "independent. S' moves every training image to the other radius, with its label: as "
        "likely a training set as S. The risk is exact: every image at both radii."
    ),
}
CLAIM = (
    "eps_unif-alg(m, delta) is the tightest two-sided uniform convergence bound there can be; "
    "eps_gen(m, delta) the 1 - delta quantile of risk minus training error. A two-sided bound "
    "must hold on S' too, so that it is at least |error on S' - risk|. The column eps_unif-alg "
    "has a lower bound at delta = {delta:g} that holds with confidence {confidence:g} over runs "
    "and test points, for each point by itself; a run is a training set with its initial "
    "weights, and S' leaves the weights alone. 'gap' is the largest risk minus training error "
    "among the runs, each at its upper 95% limit where the risk is not exact. In the last "
    "column, 'vacuous' says that the lower bound is at least 0.9, 'exceeds the gaps' (or "
    "eps_gen) that it is above that column. Brackets: 95% t-intervals over runs."
)


def _interval(cell, digits=3):
    """Mean and interval; the mean alone where the runs do not differ, or there is one."""
    text = f"{cell['mean']:.{digits}f}"
    if cell["low"] is None:
        return text
    return (
        f"{text} [{max(cell['low'], 0):.{digits}f}, {min(cell['high'], 1):.{digits}f}]"
    )


def points_table(summary):
    rows, has_risk = [], summary["points"][0]["risk"] is not None
    for e in summary["points"]:
        label = f"m={e['m']}" + (f" {e['variant']}" if e["variant"] else "")
        bound, gap = e["eps_unif_alg_lower_bound"], e["eps_gen_upper_bound"]
        rows.append([
            label, str(e["runs"]), _interval(e["train_error"]), _interval(e["test_error"]),
            *([_interval(e["risk"], 4)] if has_risk else []), _interval(e["sprime_error"]),
            "no claim" if bound is None else f">= {bound:.3f}",
            "no claim" if gap is None else f"<= {gap:.3f}",
            f"{e['largest_gap']:.3f}", e["verdict"],
        ])  # fmt: skip
    columns = (
        "", "runs", "error on S", "test error", *(["risk, exact"] if has_risk else []),
        "error on S'", "eps_unif-alg", "eps_gen",
        "gap", "the lower bound",
    )  # fmt: skip
    return report.Table(columns, rows)


def _where(entry):
    return f"m={entry['m']}" + (f", {entry['variant']}" if entry["variant"] else "")


def claim_line(summary):
    """What holds of the best point of all, chosen after seeing them; or why nothing does."""
    points = summary["points"]
    claimed = [e for e in points if e["joint_eps_unif_alg_lower_bound"] is not None]
    everywhere = "" if len(points) == 1 else f" for all {len(points)} points at once"
    if claimed:
        best = max(claimed, key=lambda e: e["joint_eps_unif_alg_lower_bound"])
        line = (
            f"With confidence {best['confidence']:g}{everywhere}: at {_where(best)}, every "
            "two-sided uniform convergence bound is at least "
            f"{best['joint_eps_unif_alg_lower_bound']:.3f} (delta = {best['delta']:g}); the "
            f"largest gap of a run there is {best['largest_gap']:.3f}, each run at its upper "
            "95% limit where its risk is not exact."
        )
    else:
        line = (
            f"No claim on eps_unif-alg{everywhere} at confidence "
            f"{points[0]['confidence']:g}: {points[0]['joint_eps_unif_alg_reason']}."
        )
    if points[0]["eps_gen_reason"]:
        line += f" An upper bound on eps_gen {points[0]['eps_gen_reason']}."
    return line


def _theory_table(summary):
    rows = [
        [
            f"m={q['m']}" + (f" {q['variant']}" if q["variant"] else ""),
            q["quantity"].replace("_", " "),
            report.number(q["predicted"]),
            report.number(q["observed"]),
            "" if q["low"] is None
            else f"[{report.number(q['low'])}, {report.number(q['high'])}]",
        ]
        for q in summary["theory"]
    ]  # fmt: skip
    return report.Table(("", "quantity", "predicted", "observed", "95% interval"), rows)


def _fresh_table(summary):
    rows = []
    for e in summary["points"]:
        found = e["fresh_against_prediction"]
        if found:
            rows.append([
                f"m={e['m']}" + (f" {e['variant']}" if e["variant"] else ""),
                f"{found['predicted']:.5f}", f"{found['found']:.5f}",
                f"[{found['low']:.5f}, {found['high']:.5f}]", str(found["n"]),
                "yes" if found["inside"] else "no",
            ])  # fmt: skip
    columns = ("", "test error predicted", "on fresh points", "95% interval", "points",
               "inside")  # fmt: skip
    return report.Table(columns, rows, "Test error by fresh points against theory")


def _gibbs_table(summary):
    columns = ("", "sigma", "error on S", "error on S'", "risk", "KL/m", "the guarantee",
               "at least")  # fmt: skip
    rows = [
        [_where(r), f"{r['sigma']:g}"]
        + [
            report.number(r[n])
            for n in (
                "train_error",
                "sprime_error",
                "risk",
                "kl_over_m",
                "guarantee",
                "least",
            )
        ]
        for r in summary["pac_bayes"]
    ]
    return report.Table(columns, rows)


def _trend_table(summary):
    rows = [
        [
            t["line"] or "all", t["along"], f"{t['first']:.3f}", f"{t['last']:.3f}",
            report.interval(t["difference_low"], t["difference_high"], 3),
            t["direction"], t["expected"] or "",
            "" if t["as_expected"] is None else "yes" if t["as_expected"] else "no",
        ]
        for t in summary["trend"]
    ]  # fmt: skip
    columns = ("", "along", "error on S', first", "last", "difference [95%]", "direction",
               "expected", "as expected")  # fmt: skip
    return report.Table(columns, rows, is_text=True)


def _twin_table(summary):
    rows = [
        [
            f"m={e['m']}" + (f" {e['variant']}" if e["variant"] else ""),
            *(report.number(e["sprime_p_values"][n])
              for n in ("labels", "energy", "coordinates", "all")),
        ]
        for e in summary["points"]
    ]  # fmt: skip
    return report.Table(("p-values", "labels", "energy", "coordinates", "all"), rows)


def _pac_bayes_text(summary):
    """What the table of Gibbs posteriors says, in words that depend on it."""
    last = summary["pac_bayes"][-1]
    rows = [
        r
        for r in summary["pac_bayes"]
        if (r["variant"], r["m"]) == (last["variant"], last["m"])
    ]
    cheap = [r for r in rows if r["kl_over_m"] < 1]
    text = (
        "Posteriors N(w, sigma^2 I) around the learned weights, prior N(0, sigma^2 I). A "
        "guarantee |R_D(Q) - R_S(Q)| <= b(Q) for all Q at once holds on S' as well: b is at "
        "least the difference between risk and error on S', with probability 1 - delta, "
        "whatever the prior."
    )
    if cheap:
        r = min(cheap, key=lambda r: r["risk"])
        text += (
            f" Means over the runs; the statement holds for each. At {_where(last)} the smallest "
            f"risk among noise levels with KL/m < 1 is "
            f"{r['risk']:.3f} (sigma = {r['sigma']:g}), against "
            f"{min(r['risk'] for r in rows):.3f} at sigma = {rows[0]['sigma']:g}."
        )
    return text


def write(sweep, measured, results, epochs, theory, gibbs, two_samples):
    """Writes summary.json, the figures and the report."""
    folder, config = sweep.folder, sweep.config
    summary = summarise(sweep, results, theory, gibbs, two_samples)
    write_json(folder.path / "summary.json", summary)
    drawn = [
        report.Figure(folder.figures / name, caption)
        for name, caption in draw(sweep, summary, measured, epochs, folder)
    ]
    late = {r["run"] for r in results if not r["converged"]}
    blocks = [
        report.Text(ABOUT[config.example]),
        report.Text(claim_line(summary)),
        points_table(summary),
        report.Text(CLAIM.format(delta=config.delta, confidence=config.confidence)),
        report.Text(
            f"{len(results) - len(late)} of {len(results)} runs reached the margin; claims "
            "and averages rest on all runs, as they were."
        ),
        *drawn,
    ]
    if summary["trend"]:
        blocks += [report.Heading("Along the sweep"), _trend_table(summary)]
    if summary["theory"]:
        blocks += [
            report.Heading("Theory and observation"),
            _theory_table(summary),
            _fresh_table(summary),
        ]
    if summary["pac_bayes"]:
        blocks += [
            report.Heading("Two-sided PAC-Bayes"),
            report.Text(_pac_bayes_text(summary)),
            _gibbs_table(summary),
        ]
    blocks += [
        report.Heading("Is S' distributed as S?"),
        report.Text(
            "By construction, yes (on the spheres up to the rounding of float32). These "
            "two-sample tests on independent training sets can refute it, not prove it; "
            "p < 0.001 for all together withdraws the claim on eps_unif-alg."
        ),
        _twin_table(summary),
        *report.provenance(folder.path),
    ]
    report.write(folder.path, TITLE.format(config.example), blocks)


def show(folder):
    """Prints what a finished folder found."""
    summary = json.loads((folder.path / "summary.json").read_text())
    report.show(points_table(summary))
    print()
    for build, key in ((_fresh_table, "theory"), (_trend_table, "trend")):
        if summary[key]:
            report.show(build(summary))
            print()
    print(claim_line(summary))
    print(f"Figures and report: {folder.path / 'report.html'}")
