"""What a reader of `beyond_uc` is told, from summary.json."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from bounds.spec import CERTIFIED
from experiments.beyond_uc import figures
from experiments.beyond_uc.tools.tool import ON_S, statuses
from experiments.lab import report
from experiments.lab.figures import Drawing
from experiments.lab.program import Results

CLAIM = (
    "A claim is held against the test error of the network that it speaks of. 'certified': with "
    "probability at least 1 - delta over everything random; 'certified under assumption': if "
    "what is named holds, which the column beside it tests; 'estimate': what a few runs show, and "
    "no promise. Values are means over training sets, intervals are over these, the test points "
    "held fixed (stored examples come from one pool). 'below' counts training sets whose claim lies below the error found on the "
    "test points. Below the error itself a certified one lies with probability delta at most; the test points, which all training sets "
    "share, add their own deviation, so that of a tight claim twice as many may lie below what is found. What holds in expectation "
    "may lie below it for every other training set. Each claim holds by itself, not together "
    "with all others."
)


def _span(cell: Mapping[str, Any], digits: int = 3) -> str:
    text = f"{cell['mean']:.{digits}f}"
    if cell["low"] is None:
        return text
    return f"{text} [{max(0.0, cell['low']):.{digits}f}, {min(1.0, cell['high']):.{digits}f}]"


def direction(growth: Mapping[str, Any] | None) -> str:
    """How something goes with m: falls, rises, or not decided.

    Where all seeds say the same the interval is none, and a sign test decides.
    """
    if not growth or growth["low"] is None:
        return "not decided"
    same = growth["high"] - growth["low"] < 1e-9
    if same and 2.0 ** (1 - growth["seeds"]) > 0.05:
        return "not decided"
    if growth["high"] < 0:
        return "falls"
    return "rises" if growth["low"] > 0 else "not decided"


def is_said(claim: Mapping[str, Any], vacuous: float) -> bool:
    """Whether a claim says something at the largest m."""
    value = claim["points"][-1]["value"]
    return value is not None and value < vacuous


def answer(found: Mapping[str, Any]) -> report.Answer:
    """What follows the error, and what cannot."""
    first, last = found["points"][0], found["points"][-1]
    vacuous = 1 - 1 / found["classes"]
    begins = f"goes from {_span(first['test_error'])} at m = {first['m']} to"
    errors = (
        f"On {found['problem']} the test error {'is' if first is last else begins} "
        f"{_span(last['test_error'])} at m = {last['m']}"
    )
    least = [p for p in found["points"] if p["eps_unif_alg_lower_bound"] is not None]
    if least:
        p = max(least, key=lambda p: (p["eps_unif_alg_lower_bound"], p["m"]))
        errors += (
            ", where every two-sided uniform convergence bound on the 0-1 error is at least "
            f"{report.at_least(p['eps_unif_alg_lower_bound'])} at m = {p['m']} (confidence "
            f"{p['confidence']:g}, for all m together)"
        )
    sentences = [f"{errors}."]
    refuted = [str(p["m"]) for p in found["points"] if p.get("sprime_is_refuted")]
    if refuted:
        sentences.append(
            "What S' says of two-sided bounds is withdrawn at m = "
            f"{', '.join(refuted)}: S' is not distributed as S (two-sample tests)."
        )
    if "least_bound" in last:
        sentences.append(
            f"The least that {found['two_sided_bounds']} two-sided bounds, certified for these "
            f"networks, say of the error is {report.number(last['least_bound'])} at m = "
            f"{last['m']}."
        )
    said = [c for c in found["claims"] if is_said(c, vacuous)]
    falling = [c for c in said if direction(c.get("growth")) == "falls"]
    names = ", ".join(
        f"{c['claim']} ({report.number(c['points'][-1]['value'])})"
        for c in falling or said
    )
    of_all = f"{len(found['claims'])} claims beyond it"
    fall = f", and of these {len(falling)} fall as m grows" if falling else ""
    sentences.append(
        f"Of {of_all} {len(said)} are not vacuous at m = {last['m']}{fall}: {names}."
        if said
        else f"None of the {of_all} says something at m = {last['m']}."
    )
    below = [c["claim"] for c in said if _is_below(c["points"][-1])]
    if below:
        names = ", ".join(below)
        sentences[-1] = f"{sentences[-1][:-1]}; below the error found lie {names}."
    # The first in the order of the tools, not the least: that would be a choice to pay for.
    certified = [
        c
        for c in said
        if (c["status"], c["speaks_of"]) == (CERTIFIED, "trained")
        and _network(c) == ON_S
        and c["claim"] != "holdout"
    ]
    if certified:
        p = certified[0]["points"][-1]
        sentences.append(
            f"Certified of the network on S itself is {certified[0]['claim']}: "
            f"{report.at_most(p['value'])} in the mean over training sets, for an error of "
            f"{report.number(p['error'])}, at the cost of {costs(p)}."
        )
    return report.Answer(sentences)


def _is_below(point: Mapping[str, Any]) -> bool:
    """Whether the mean of a claim is below that of the error it speaks of."""
    return point["error"] is not None and point["value"] < point["error"]


def costs(point: Mapping[str, Any]) -> str:
    """What a claim costs at a point of the summary, in words."""
    parts = [
        f"{point[name]} {what}" + ("" if point[name] == 1 else "s")
        for name, what in (
            ("more_trainings", "more training"),
            ("labelled", "labelled point"),
            ("unlabelled", "unlabelled point"),
        )
        if point.get(name)
    ]
    return ", ".join(parts) or "nothing"


def _status(claim: Mapping[str, Any]) -> str:
    return claim["status"] + (", in expectation" if claim["in_expectation"] else "")


def _network(claim: Mapping[str, Any]) -> str:
    """Which network it speaks of; older folders do not say."""
    return claim.get("network", ON_S)


def _speaks_of(claim: Mapping[str, Any]) -> str:
    """Of what it speaks, and of which network, where that is not the one on S."""
    which = "" if _network(claim) == ON_S else f", {_network(claim)}"
    return f"{claim['speaks_of']}{which}"


def _last_table(found: Mapping[str, Any]) -> report.Table:
    """Every claim at the largest m, the certified ones first, the least value first."""
    order = {status: place for place, status in enumerate(statuses())}

    def rank(claim):
        value = claim["points"][-1]["value"]
        return order[claim["status"]], math.inf if value is None else value

    rows, marked, vacuous = [], [], 1 - 1 / found["classes"]
    for claim in sorted(found["claims"], key=rank):
        p = claim["points"][-1]
        if is_said(claim, vacuous):
            marked.append(len(rows))
        rows.append([
            claim["claim"], _value(p), report.number(p["error"]), _status(claim),
            _speaks_of(claim), direction(claim.get("growth")), costs(p),
        ])  # fmt: skip
    columns = (
        "claim", "value [95%]", "error", "status", "speaks of", "as m grows", "costs",
    )  # fmt: skip
    title = f"What is claimed at m = {found['points'][-1]['m']}; not vacuous: marked"
    words = ("status", "speaks of", "as m grows", "costs")
    return report.Table(columns, rows, title, words=words, marked=marked)


def _value(point: Mapping[str, Any]) -> str:
    value = report.number(point["value"]) or "not available"
    if point["low"] is not None:
        value += f" {report.interval(point['low'], point['high'], 3)}"
    return value


def _claims_table(found: Mapping[str, Any]) -> report.Table:
    rows = [
        [
            claim["claim"], str(p["m"]), _value(p), report.number(p["empirical"]),
            report.number(p["error"]),
            "" if p["below_error"] is None else f"{p['below_error']} of {p['seeds']}",
            report.number(p["check"]), claim["check_about"],
        ]
        for claim in found["claims"]
        for p in claim["points"]
    ]  # fmt: skip
    columns = (
        "claim", "m", "value [95%]", "seen in training", "error", "below", "check",
        "what is checked",
    )  # fmt: skip
    return report.Table(
        columns, rows, "Every size", words=("what is checked",), on_terminal=False
    )


def overview(found: Mapping[str, Any]) -> list[Any]:
    """The answer, the errors, the claims."""
    rows = []
    for p in found["points"]:
        least = p["eps_unif_alg_lower_bound"]
        sprime = p.get("sprime_error")
        rows.append([
            f"m = {p['m']}", _span(p["train_error"]), _span(p["test_error"]),
            _span(sprime) if sprime else "",
            f">= {report.at_least(least)}" if least is not None else "",
            report.number(p.get("least_bound")), p.get("least_bound_name", ""),
        ])  # fmt: skip
    columns = ("", "training error", "test error", "error on S'", "any two-sided bound",
               "least certified one", "which")  # fmt: skip
    return [
        answer(found), report.Table(columns, rows, words=("which",)), _last_table(found)
    ]  # fmt: skip


def _growth_table(found: Mapping[str, Any]) -> report.Table:
    rows = [
        [
            c["claim"], direction(c["growth"]),
            _exponent(c["growth"]), _exponent(c["error_growth"]), _exponent(c["difference"]),
        ]
        for c in found["claims"]
        if "growth" in c
    ]  # fmt: skip
    columns = (
        "claim", "as m grows", "m^a", "its error", "difference",
    )  # fmt: skip
    return report.Table(
        columns, rows, "Growth with m: exponents, with 95% t-intervals over seeds",
        words=("as m grows",), on_terminal=False,
    )  # fmt: skip


def _exponent(found: Mapping[str, Any]) -> str:
    return "" if found["mean"] is None else report.signed(found)


def _tool_blocks(name: str, results: Results, draw: Drawing) -> list[Any]:
    of, tool = results.study, results.study.tools[name]
    sizes = sorted(of.config.sizes)
    rows = [r for r in results.tables["quantities"] if r["tool"] == name]
    blocks: list[Any] = [
        report.Heading(name),
        report.Text(f"{tool.about} ({tool.paper}.)"),
        report.Text(f"A two-sided uniform convergence bound? {tool.two_sided}"),
    ]
    for claim in tool.claims(of.problem, of.config, sizes[-1]):
        assumption = f" Assumption: {claim.assumption}." if claim.assumption else ""
        blocks.append(report.Text(f"{claim.name}: {claim.about}{assumption}"))
    blocks += tool.report(of.cells, rows, draw)
    return [*blocks, _quantity_table(rows, sizes)]


def _quantity_table(rows: Sequence[Mapping[str, Any]], sizes) -> report.Table:
    names = list(dict.fromkeys(r["quantity"] for r in rows))
    body = []
    for name in names:
        cells = [name.replace("_", " ")]
        for size in sizes:
            values = [
                r["value"]
                for r in rows
                if r["quantity"] == name and r["m"] == size and r["value"] is not None
            ]
            mean = sum(values) / len(values) if values else None
            cells.append(report.number(mean))
        body.append(cells)
    return report.Table(
        ("mean over training sets", *(f"m = {m}" for m in sizes)),
        body,
        "All that it computed",
        on_terminal=False,
    )


def details(results: Results, draw: Drawing) -> list[Any]:
    """The figure, growth, every tool with what it computed, who is silent."""
    found = results.summary
    blocks = [
        *figures.make(found, draw),
        report.Text(CLAIM),
        _claims_table(found),
        report.Text(
            f"{found['about']} {found['late_runs']} of {found['total_runs']} runs did not "
            "meet the stopping rule (those of a fixed number of epochs have none); "
            f"all are counted as they were. {found['diverged_runs']} diverged: nothing is "
            "claimed where a tool needs one of them."
        ),
    ]
    tested = [p for p in found["points"] if "sprime_p_value" in p]
    if tested:
        p_values = ", ".join(
            f"{report.number(p['sprime_p_value'])} at m = {p['m']}" for p in tested
        )
        blocks.append(
            report.Text(
                "That S' is distributed as S is what the problem's author has shown. Two-sample tests on training "
                "sets that no run sees, and of the networks' errors on test points and S' of these, could refute it, not "
                f"prove it: p = {p_values} (below 0.001 what S' says is withdrawn)."
            )
        )
    if any("growth" in c for c in found["claims"]):
        blocks.append(_growth_table(found))
    for name in found["tools"]:
        blocks += _tool_blocks(name, results, draw)
    if found["silent"]:
        rows = [[name, why] for name, why in found["silent"].items()]
        blocks += [
            report.Heading("Tools that do not speak of this problem"),
            report.Table(("tool", "why"), rows, words=("why",), on_terminal=False),
        ]
    return blocks
