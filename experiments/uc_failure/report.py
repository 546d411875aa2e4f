"""What `uc_failure` says: the claim, its points, the figures, what they rest on."""

from collections.abc import Mapping
from typing import Any

from experiments.lab import report
from experiments.lab.figures import Drawing
from experiments.lab.program import Results
from experiments.problems.problem import Cell
from experiments.uc_failure import figures

CLAIM = (
    "eps_unif-alg(m, delta) is the tightest two-sided uniform convergence bound on the 0-1 error there "
    "can be; eps_gen(m, delta) the 1 - delta quantile of risk minus training error. A two-sided bound "
    "must hold on S' too, so that it is at least |error on S' - risk|; one in a margin loss, that loss on S "
    "included, at least half of the error on S'. The column eps_unif-alg "
    "has a lower bound at delta = {delta:g} that holds with confidence {confidence:g} over runs "
    "and test points, for each point by itself; a run is a training set with its initial "
    "weights, and S' leaves the weights alone. 'gap' is the largest risk minus training error "
    "among the runs, each at its upper 95% limit where the risk is not exact. The verdict on the "
    "lower bound: 'vacuous' says that it is at least 0.9, 'exceeds the gaps' (or eps_gen) that "
    "it is above that column (two limits, each with its own confidence). Brackets: 95% t-intervals over runs."
)


def overview(summary: Mapping[str, Any]) -> list[Any]:
    """The claim, and the tables of points, of fresh points against theory, of the sweep."""
    blocks = [report.Answer(answer(summary)), _points_table(summary)]
    if any(e["fresh_against_prediction"] for e in summary["points"]):
        blocks.append(_fresh_table(summary))
    if summary["trend"]:
        blocks.append(_trend_table(summary))
    return blocks


def _interval(cell, digits=3):
    """Mean and interval; the mean alone where the runs do not differ, or there is one."""
    text = f"{cell['mean']:.{digits}f}"
    if cell["low"] is None:
        return text
    return (
        f"{text} [{max(cell['low'], 0):.{digits}f}, {min(cell['high'], 1):.{digits}f}]"
    )


def where(entry: Mapping[str, Any]) -> str:
    """A point, as it is called in tables and sentences."""
    return f"m={entry['m']}" + (f", {entry['variant']}" if entry["variant"] else "")


def answer(summary: Mapping[str, Any]) -> list[str]:
    """What holds of the best point of all, chosen after seeing them; or why nothing does."""
    points = summary["points"]
    claimed = [e for e in points if e["joint_eps_unif_alg_lower_bound"] is not None]
    everywhere = "" if len(points) == 1 else f" for all {len(points)} points at once"
    if claimed:
        best = max(claimed, key=lambda e: e["joint_eps_unif_alg_lower_bound"])
        test, risk = best["test_error"]["mean"], best["risk"]
        lines = [
            f"With confidence {best['confidence']:g}{everywhere}: at {where(best)}, every "
            "two-sided uniform convergence bound on the 0-1 error is at least "
            f"{report.at_least(best['joint_eps_unif_alg_lower_bound'])} "
            f"(delta = {best['delta']:g}).",
            f"There the error is {best['sprime_error']['mean']:.3f} on S', "
            f"{risk['mean'] if risk else test:.4f} on new examples; the largest gap of a run "
            f"is {best['largest_gap']:.3f}, each run at its upper 95% limit where its risk is "
            "not exact.",
        ]
    else:
        lines = [
            f"No claim on eps_unif-alg{everywhere} at confidence "
            f"{points[0]['confidence']:g}: {points[0]['joint_eps_unif_alg_reason']}."
        ]
    if points[0]["eps_gen_reason"]:
        lines.append(f"An upper bound on eps_gen {points[0]['eps_gen_reason']}.")
    return lines


def _points_table(summary):
    rows, has_risk = [], summary["points"][0]["risk"] is not None
    for e in summary["points"]:
        bound, gap = e["eps_unif_alg_lower_bound"], e["eps_gen_upper_bound"]
        rows.append([
            where(e), e["verdict"], str(e["runs"]), _interval(e["train_error"]), _interval(e["test_error"]),
            *([_interval(e["risk"], 4)] if has_risk else []), _interval(e["sprime_error"]),
            "no claim" if bound is None else f">= {report.at_least(bound)}",
            "no claim" if gap is None else f"<= {-float(report.at_least(-gap)):.3f}",
            f"{e['largest_gap']:.3f}",
        ])  # fmt: skip
    columns = (
        "", "verdict", "runs", "error on S", "test error", *(["risk, exact"] if has_risk else []),
        "error on S'", "eps_unif-alg", "eps_gen", "gap",
    )  # fmt: skip
    return report.Table(columns, rows, words=("verdict",))


def _theory_table(summary):
    rows = [
        [
            where(q),
            q["quantity"].replace("_", " "),
            report.number(q["predicted"]),
            report.number(q["observed"]),
            "" if q["low"] is None
            else f"[{report.number(q['low'])}, {report.number(q['high'])}]",
        ]
        for q in summary["theory"]
    ]  # fmt: skip
    return report.Table(
        ("", "quantity", "predicted", "observed", "95% interval"), rows,
        words=("quantity",),
    )  # fmt: skip


def _fresh_table(summary):
    rows = []
    for e in summary["points"]:
        found = e["fresh_against_prediction"]
        if found:
            rows.append([
                where(e), f"{found['predicted']:.5f}", f"{found['found']:.5f}",
                f"[{found['low']:.5f}, {found['high']:.5f}]", str(found["n"]),
                "yes" if found["inside"] else "no",
            ])  # fmt: skip
    columns = ("", "test error predicted", "on fresh points", "95% interval", "points",
               "inside")  # fmt: skip
    return report.Table(columns, rows, "Test error by fresh points against theory")


def _trend_table(summary):
    rows = [
        [
            t["line"] or "all", t["direction"], t["expected"] or "",
            "" if t["as_expected"] is None else "yes" if t["as_expected"] else "no",
            t["along"], f"{t['first']:.3f}", f"{t['last']:.3f}",
            report.interval(t["difference_low"], t["difference_high"], 3),
        ]
        for t in summary["trend"]
    ]  # fmt: skip
    columns = ("", "direction", "expected", "as expected", "along", "error on S', first",
               "last", "difference [95%]")  # fmt: skip
    return report.Table(
        columns, rows, "Along the sweep", words=("along", "direction", "expected")
    )


def _same_distribution_table(summary):
    names = ("labels", "energy", "coordinates", "errors", "all")
    rows = [
        [where(e), *(report.number(e["sprime_p_values"][n]) for n in names)]
        for e in summary["points"]
    ]
    return report.Table(("p-values", *names), rows)


def details(results: Results, draw: Drawing) -> list[Any]:
    """What the claim is, the figures, theory, the problem's sections, the tests of S'."""
    summary, of = results.summary, results.study
    config, problem = of.config, next(iter(of.problems.values()))
    late = sum(not row["converged"] for row in results.tables["results"])
    total = summary["total_runs"]
    cells = [
        Cell(
            figures.title(run),
            of.problems[run.variant],
            run.size,
            results.measured[place],
        )
        for place, run in enumerate(of.runs)
        if run.seed == 0
    ]
    blocks = [
        report.Text(summary["about"]),
        report.Text(CLAIM.format(delta=config.delta, confidence=config.confidence)),
        report.Text(
            f"{total - late} of {total} runs reached the margin; claims and averages rest on "
            "all runs, as they were."
        ),
        *figures.make(results, draw),
    ]
    if summary["theory"]:
        blocks += [report.Heading("Theory and observation"), _theory_table(summary)]
    blocks += problem.report(summary, cells, draw)
    return [
        *blocks,
        report.Heading("Is S' distributed as S?"),
        report.Text(
            "Of the problems that come with the package, yes, by construction (on the spheres up to the rounding of "
            "float32). These two-sample tests can refute it, not prove it: of labels and of inputs in each class, on "
            "training sets that no run sees; and of the errors of these networks on fresh examples and on S' of "
            "them, which a map that tells wrong labels does not pass. p < 0.001 for all together withdraws the claim on eps_unif-alg."
        ),
        _same_distribution_table(summary),
    ]
