"""What `certify` says: summary.json, the answer, the tables, the figure."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bounds import BOUNDS
from experiments.certify import parts
from experiments.certify.published import published
from experiments.certify.study import CertifyStudy
from experiments.lab import certificates, report
from experiments.lab.bound_rows import NOT_AVAILABLE
from experiments.lab.figures import Drawing
from experiments.lab.program import Results

DIVERGED = f"{NOT_AVAILABLE}the run diverged"
Rows = Sequence[Mapping[str, Any]]
_OF_GIVEN = (
    "A certificate holds with probability 1 - delta over the labelled examples and the unlabelled "
    "points together, each for itself. The given network may have been trained in any way on any "
    "examples but the unlabelled points, which are independent draws of the distribution that the "
    "certificate speaks of and were seen by no network. A surrogate's settings were chosen before "
    "the labelled examples were seen, or among --tried (of its own file, where it has one), which are "
    "paid for."
)


def check_folder(of: CertifyStudy, out: Path) -> None:
    """As `certificates.check_order`."""
    certificates.check_order(of.route.asked(of.config), out)


def summary(of: CertifyStudy, tables: Mapping[str, Rows]) -> dict[str, Any]:
    """The content of summary.json."""
    config, classes, lines = of.config, of.classes, {}
    asked, parts_of = of.route.asked(config), tables["parts"]
    found = {}
    for result in tables["results"]:
        lines[result["run"]] = of.route.beside(result, config.delta)
        own = [r for r in tables["bounds"] if r["run"] == result["run"]]
        row = certificates.quotable(own, asked)
        if row:
            test_error = result.get("test_error")
            error = certificates.own_error(row, test_error)
            beside = certificates.own_interval(row, test_error, result["test_size"])
            found[result["run"]] = {
                "bound": row["bound"],
                "value": row["value"],
                "empirical": row["empirical"],
                "risk": row["risk"],
                "own_test_error": error,
                "own_test_error_interval": beside,
                "status": row["status"],
                "is_non_vacuous": certificates.is_non_vacuous(row, classes),
                "parts": {
                    p["part"]: p["share"] for p in parts_of if p["run"] == result["run"]
                },
            }
    paper = published(config)
    return {
        "classes": classes,
        "delta": config.delta,
        "tried": config.tried,
        "before": of.route.before,
        "taken": list(of.taken),
        "quoted_from": list(asked),
        "certificates": found,
        "beside": lines,
        "shown": list(of.route.shown),
        "published": paper
        and {"what": paper[0], "certificate": paper[1], "own_test_error": paper[2]},
        "seconds": sum(row.get("seconds", 0.0) for row in tables["results"]),
        "results": tables["results"],
        "bounds": tables["bounds"],
    }


def overview(found: Mapping[str, Any]) -> list[Any]:
    """The certificate that may be quoted, the networks, every bound."""
    return [
        report.Answer(answer(found)),
        _results_table(found["results"], found.get("shown", ())),
        _certificates_table(found),
    ]


def answer(found: Mapping[str, Any]) -> list[str]:
    """The certificate of each network, and what a paper reports of such ones."""
    lines = []
    for result in found["results"]:
        row = found["certificates"].get(result["run"])
        errors = result.get("test_error")
        because = f", {DIVERGED}" if result.get("outcome") == "diverged" else ""
        lines.append(
            certificates.sentence(
                result["run"], row, found["delta"], found["classes"], errors, because
            )
            + (
                _cost(result, row, found["tried"], found.get("before", "the prior"))
                if row
                else ""
            )
        )
        if row and row.get("parts"):
            lines.append(parts.sentence(result["run"], row["parts"]))
        lines += found.get("beside", {}).get(result["run"], [])
    lines += found.get("taken", [])
    lines += certificates.refuted(found["bounds"], "run")
    paper = found["published"]
    if paper:
        own = paper["own_test_error"]
        beside = "" if own is None else f", own test error {own}"
        lines.append(f"Published: {paper['certificate']}{beside} ({paper['what']}).")
    return lines


def _cost(result, certificate, tried, before):
    """What a certificate took, and what its data would have promised as a hold-out set."""
    parts, beside = [], certificate["own_test_error_interval"]
    if beside is not None:
        low, high = map(report.number, beside)
        parts.append(f"95% interval of its own error: {low} to {high}")
    if not result["test_size"]:
        parts.append("There are no held-out examples, so its own error is not known")
    prior, m, certified = result["prior_m"], result["m"], result.get("certified")
    parts.append(
        f"examples: {certified} certify the surrogate; its file says on which it was trained"
        if certified and result.get("surrogate")
        else f"examples: {result['surrogate_m']} for the surrogate, {certified} certified on" if certified
        else f"examples: {prior} for {before}, {m} certified on" if prior
        else f"examples: {m}, all of them certified on"
    )  # fmt: skip
    parts.append(f"settings tried, and paid for: {tried}")
    plain = result["holdout_of_same_data"]
    parts.append(
        "all networks there have seen them, so there is no hold-out bound of the same data"
        if plain is None
        else f"hold-out bound of the same data: {report.at_most(plain)}, of the network that has "
        "not seen them"
    )
    took = result.get("seconds")
    parts.append(
        "nothing was trained" if took is None else f"{took:.0f} seconds of training"
    )
    return f" {'; '.join(parts)}."


def _results_table(results, shown):
    """The networks themselves, with the columns that their route adds."""
    columns = (
        "run", "m", "prior_m", "parameters", "epochs", "outcome", "train_error", "test_error",
        "holdout_of_same_data", "kl_over_m", "bits", *(c for c in shown if c != "bits"),
    )  # fmt: skip
    body = []
    for row in results:
        lacking = {"kl_over_m": DIVERGED} if "kl" in row and row["kl"] is None else {}
        body.append(report.cells({**row, **lacking}, columns, ""))
    heads = tuple(c.replace("_", " ") for c in columns)
    return report.Table(heads, body, "Networks", words=("outcome",))


def _certificates_table(found):
    """Every bound on every network, beside that network's own error."""
    errors = {r["run"]: r.get("test_error") for r in found["results"]}
    rows = certificates.order(found["bounds"], found["classes"])
    rows = [row for row in rows if row.get("value") is not None]
    body = [
        [
            row["bound"], certificates.shown_value(row),
            report.number(certificates.own_error(row, errors[row["run"]])) or "unknown",
            row["run"], BOUNDS[row["bound"]].speaks_of, report.number(row["empirical"]),
            row["status"],
        ]
        for row in rows
    ]  # fmt: skip
    marked = [
        place
        for place, row in enumerate(rows)
        if certificates.is_non_vacuous(row, found["classes"])
    ]
    columns = (
        "bound", "certificate", "own test error", "run", "speaks of", "counted", "status",
    )  # fmt: skip
    return report.Table(
        columns, body, "Certificates; marked: below the error of guessing",
        words=("run", "status", "speaks of"), marked=marked,
    )  # fmt: skip


def details(results: Results, draw: Drawing) -> list[Any]:
    """What a certificate promises, the figure, and what there is not."""
    found, config = results.summary, results.study.config
    rows = [row | {"network": row["run"]} for row in found["bounds"]]
    errors = {r["run"]: r.get("test_error") for r in found["results"]}
    missing = sorted(
        {r["status"] for r in rows if r["status"].startswith(NOT_AVAILABLE)}
    )
    drawn = certificates.figure_rows(certificates.order(rows, found["classes"]), errors)
    caption = (
        "Every bound, a mark a seed; a bar: the error of the network that it speaks of, on "
        "held-out examples."
    )
    painted = certificates.paint, drawn, found["classes"]
    made_of = {
        run: one["parts"] for run, one in found["certificates"].items() if one["parts"]
    }
    return [
        *([draw("certificates", caption, *painted)] if drawn else []),
        *([draw("parts", parts.CAPTION, parts.paint, made_of)] if made_of else []),
        report.Text(
            _OF_GIVEN
            if results.study.route.of_given
            else "A certificate holds with probability 1 - delta over the examples it was computed on "
            "and over the draws of the noise, each for itself, for the network that it speaks "
            "of, if the prior (its share of the examples, its deviation, its training), the subspace "
            f"or the budget of picks was chosen before the examples were seen, or among {config.tried} settings, seeds "
            "included, that were listed before any of them was run on these examples (--tried), which are paid "
            "for: a stochastic one draws its weights afresh for "
            "every prediction, a drawn one drew them once, a compressed one is the decoded network. "
            "Examples that the prior was trained on do not count."
        ),
        *(report.Text(line) for line in missing),
    ]
