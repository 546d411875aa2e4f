"""What `certify` says: summary.json, the figure, the report, the lines on the terminal."""

from bounds import BOUNDS, needs
from bounds.types import CERTIFIED
from experiments import figures, report
from experiments.certificate.measuring import OWN_GROUPS
from experiments.certificate.published import published
from experiments.run_folder import read_table, write_json

TITLE = "Certificates of trained networks"


def _headlines(rows):
    """run -> the first certificate of its own network in the order of `--bounds`.

    Each holds by itself: the least of them, chosen afterwards, would not.
    """
    found = {}
    for row in rows:
        is_own = set(OWN_GROUPS) & set(needs([row["bound"]]))
        if row["value"] and BOUNDS[row["bound"]].status == CERTIFIED and is_own:
            found.setdefault(row["run"], row)
    return found


def summarise(config, results, rows):
    """The content of summary.json."""
    paper = published(config)
    chance = 0.5 if config.dataset == "binary_mnist" else 0.9
    return {
        "certificates": {
            run: {
                "bound": row["bound"],
                "value": float(row["value"]),
                "empirical": float(row["empirical"]),
                "own_test_error": float(row["risk"]) if row["risk"] else None,
                "is_non_vacuous": float(row["value"]) < chance,
            }
            for run, row in _headlines(rows).items()
        },
        "delta": config.delta,
        "published": paper
        and {"what": paper[0], "certificate": paper[1], "own_test_error": paper[2]},
        "seconds": sum(float(row["seconds"]) for row in results),
    }


def _number(text):
    return report.number(float(text)) if text else "n/a"


def _own_error(row, results):
    """The held-out error of the network that a bound speaks of, as text."""
    if BOUNDS[row["bound"]].speaks_of == "trained":
        return next(r["test_error"] for r in results if r["run"] == row["run"])
    return row["risk"]


def certificates_table(results, rows):
    """Every bound on every network, beside that network's own error."""
    body = [
        [
            row["run"],
            row["bound"],
            row["status"],
            BOUNDS[row["bound"]].speaks_of,
            _number(row["empirical"]),
            _number(row["value"]),
            _number(_own_error(row, results)),
        ]
        for row in rows
        if row["value"]
    ]
    return report.Table(
        (
            "run",
            "bound",
            "status",
            "speaks of",
            "counted",
            "certificate",
            "own test error",
        ),
        body,
    )


def results_table(results):
    """The networks themselves."""
    columns = (
        "run", "m", "prior_m", "parameters", "epochs", "outcome", "train_error", "test_error",
        "kl_over_m", "bits",
    )  # fmt: skip
    texts = {"run", "m", "prior_m", "parameters", "epochs", "outcome", "bits"}
    body = [
        [row[c] if c in texts else _number(row[c]) for c in columns] for row in results
    ]
    return report.Table(tuple(c.replace("_", " ") for c in columns), body, "Networks")


def sentence(summary):
    """What was certified, in one or two sentences."""
    lines = []
    for run, found in summary["certificates"].items():
        says = "non-vacuous" if found["is_non_vacuous"] else "no better than guessing"
        own = found["own_test_error"]
        beside = "" if own is None else f"; its own test error is {report.number(own)}"
        lines.append(
            f"{run}: error at most {report.number(found['value'])} with probability "
            f"{1 - summary['delta']:g} ({found['bound']}; {says}){beside}."
        )
    paper = summary["published"]
    if paper:
        own = paper["own_test_error"]
        beside = "" if own is None else f", own test error {own}"
        lines.append(f"Published: {paper['certificate']}{beside} ({paper['what']}).")
    return lines or ["No certificate of the networks' own was evaluated."]


def _draw(rows, folder):
    names, points = [], []
    shown = [row for row in rows if row["value"]]
    for name in dict.fromkeys(row["bound"] for row in shown):
        names.append((name, BOUNDS[name].status))
        points.append([float(row["value"]) for row in shown if row["bound"] == name])
    if not names:
        return []
    errors = [float(row["risk"]) for row in shown if row["risk"]]
    path = folder.figures / "certificates.png"
    figures.draw_rows(path, names, points, errors[:1], "value")
    caption = (
        "Every bound, a mark a seed. Dashed: the test error of the first network that a "
        "certificate speaks of."
    )
    return [report.Figure(path, caption)]


def write(config, folder):
    """Writes summary.json, the figure and the report of a folder that has its tables."""
    results = read_table(folder.path / "results.csv")
    rows = read_table(folder.path / "bounds.csv")
    summary = summarise(config, results, rows)
    write_json(folder.path / "summary.json", summary)
    missing = sorted({r["status"] for r in rows if not r["value"]})
    blocks = [
        *(report.Text(line) for line in sentence(summary)),
        report.Text(
            "A certificate holds with probability 1 - delta over the images it was computed on "
            "and over the draws of the noise, each for itself, for the network that it speaks "
            "of, if the prior (its share of the images, its deviation, its training) or the "
            f"subspace was chosen before the images were seen, or among {config.tried} tries "
            "(--tried), which are paid for: a stochastic one draws its weights afresh for every prediction, a compressed "
            "one is the decoded network. Images that the prior was trained on do not count."
        ),
        *_draw(rows, folder),
        report.Heading("Certificates"),
        certificates_table(results, rows),
        results_table(results),
        *(report.Text(line) for line in missing),
        *report.provenance(folder.path),
    ]
    report.write(folder.path, TITLE, blocks)


def show(config, folder):
    """Prints what a finished folder found."""
    results = read_table(folder.path / "results.csv")
    rows = read_table(folder.path / "bounds.csv")
    report.show(results_table(results))
    report.show(certificates_table(results, rows))
    for line in sentence(summarise(config, results, rows)):
        print(line)
    print(f"Report: {folder.path / 'report.html'}")
