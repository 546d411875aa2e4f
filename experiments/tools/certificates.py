"""What is the best certificate that can be had? Every preset of `certify`, side by side.

  python -m experiments.tools.certificates --data_dir=MNIST --fashion_dir=FASHION_MNIST --out=OUT

Each preset of each problem is run into a folder of its own, `OUT/<problem>/<preset>`; a second call
goes on with what is there. --presets runs some of them alone: with --rows, a file of the rows of
earlier calls, the rows of all others are those of the file. A route that certifies a given network is given the one that the preset
`GIVEN` of the same problem has drawn: what that one was trained on and certified by is forgotten.
Then the table and the figure are written: certificates.csv, report.md, report.html.
"""

import dataclasses
import types
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from absl import flags

from bounds import BOUNDS
from experiments.certify import PROGRAM, parts
from experiments.certify.published import published
from experiments.certify.routes import ROUTES
from experiments.lab import formats, report, running
from experiments.lab.calls import presets_of, settings_of
from experiments.lab.checksums import whole
from experiments.lab.command_line import tool
from experiments.lab.figures import Canvas, Drawing, plain_numbers
from experiments.lab.progress import clock
from experiments.lab.reading import idx
from experiments.lab.refusals import Refusal
from experiments.tools import marked

# Problem -> the flag that names the folder of its files.
PROBLEMS = {
    "mnist": "data_dir",
    "fashion_mnist": "fashion_dir",
    "binary_mnist": "data_dir",
}
GIVEN = "cnn_single_draw"
MARK = "certificates"
DEFAULT = PROGRAM.Settings.__dataclass_fields__["route"].default
COLUMNS = (
    "problem", "preset", "route", "speaks_of", "bound", "certificate", "counted", "own_test_error",
    "own_test_error_low", "own_test_error_high", "holdout_of_same_data", "published", "delta",
    "tried", "seconds", "machine", "is_rounded",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Preset:
    """A preset of a problem, and where it is run.

    Attributes:
      problem, name: of it.
      folder: of its run.
      typed: settings beside the preset's.
    """

    problem: str
    name: str
    folder: Path
    typed: Mapping[str, Any]

    def run(self) -> None:
        """Runs it, or goes on with it; a finished one is left as it is."""
        config = settings_of(PROGRAM, self.problem, self.name, self.typed)
        PROGRAM.check(config)
        is_there = (self.folder / "config.json").exists()
        print(f"{self.problem} {self.name}", flush=True)
        running.run(PROGRAM, config, self.folder, resume=is_there)

    @property
    def is_finished(self) -> bool:
        """Whether it has been run."""
        return (self.folder / "summary.json").exists()


def presets(
    out: Path, problems: Sequence[str], folders: Mapping[str, Any]
) -> Iterator[Preset]:
    """The presets of problems, those that are given a network last.

    Args:
      out: the folder of all runs.
      problems: names in `PROBLEMS`.
      folders: flag -> the folder with a problem's files, or None.
    """
    for problem in problems:
        given, there = [], presets_of(PROGRAM, problem)
        for name, values in there.items():
            typed = {"data_dir": folders[PROBLEMS[problem]]}
            place = out / problem
            if not ROUTES[values.get("route", DEFAULT)].of_given:
                yield Preset(problem, name, place / name, typed)
            else:
                drawn = place / GIVEN / "weights" / "certified_seed0_drawn.safetensors"
                typed["network"] = str(drawn)
                given.append(Preset(problem, name, place / name, typed))
        yield from given


def rows_of(preset: Preset) -> list[dict[str, Any]]:
    """A row for each network that a finished run has certified."""
    found = formats.read_json(preset.folder / "summary.json")
    settings = formats.read_json(preset.folder / "config.json")["settings"]
    machine = formats.read_json(preset.folder / "versions.json")["machine"]
    paper = published(types.SimpleNamespace(**settings))
    rows = []
    for result in found["results"]:
        one = found["certificates"].get(result["run"])
        if one is None:
            continue
        low, high = one["own_test_error_interval"] or (None, None)
        rows.append({
            "problem": preset.problem,
            "preset": preset.name,
            "route": settings["route"],
            "speaks_of": BOUNDS[one["bound"]].speaks_of,
            "bound": one["bound"],
            "certificate": one["value"],
            "counted": one["empirical"],
            "own_test_error": one["own_test_error"],
            "own_test_error_low": low,
            "own_test_error_high": high,
            "holdout_of_same_data": result["holdout_of_same_data"],
            "published": paper and paper[1],
            "delta": found["delta"],
            "tried": found["tried"],
            "seconds": found["seconds"],
            "machine": machine,
            "is_rounded": False,
            "parts": one.get("parts", {}),  # of older runs they are not known
        })  # fmt: skip
    return rows


def answer(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """For each problem the tightest certificate, and whether a hold-out set had done as well.

    The hold-out bound that a certificate has to beat is the least of any preset's: each is of the network that
    has not seen the images, which for some was trained on few.
    """
    lines = []
    for problem in dict.fromkeys(row["problem"] for row in rows):
        own = [row for row in rows if row["problem"] == problem]
        best = min(own, key=lambda row: row["certificate"])
        line = (
            f"{problem}: the tightest certificate is {_limit(best, 'certificate')} "
            f"(preset {best['preset']}, of the {best['speaks_of']} network; its own test error is "
            f"{report.number(best['own_test_error'])})"
        )
        plain = [row for row in own if row["holdout_of_same_data"] is not None]
        if plain:
            least = min(plain, key=lambda row: row["holdout_of_same_data"])
            below = [
                r["preset"]
                for r in own
                if r["certificate"] < least["holdout_of_same_data"]
            ]
            line += (
                ". As a plain hold-out set the images promise "
                f"{_limit(least, 'holdout_of_same_data')}, of a network that was trained on others of them (that "
                f"of preset {least['preset']}); below it: {', '.join(below) or 'none'}"
            )
        lines.append(f"{line}.")
    lines.append(
        "Each certificate holds for itself with probability 1 - delta, for settings that were fixed "
        "beforehand; the least of several, chosen afterwards, is none."
    )
    return lines


def _limit(row, name):
    """A limit in words, rounded up; of a row of which only that is left as it stands there."""
    if row[name] is None:
        return ""
    say = report.number if row["is_rounded"] else report.at_most
    return say(row[name])


def table(rows: Sequence[Mapping[str, Any]]) -> report.Table:
    """A row a certificate."""
    columns = (
        "problem", "preset", "speaks of", "certificate", "counted", "own test error",
        "hold-out bound of the same data", "published", "settings tried", "seconds",
    )  # fmt: skip
    body = []
    for row in rows:
        own = report.number(row["own_test_error"]) or "unknown"
        if row["own_test_error_low"] is not None:
            own += (
                f" ({report.number(row['own_test_error_low'])} to "
                f"{report.number(row['own_test_error_high'])})"
            )
        body.append([
            row["problem"], row["preset"], row["speaks_of"], _limit(row, "certificate"),
            report.number(row["counted"]), own, _limit(row, "holdout_of_same_data") or "none",
            report.number(row["published"]), str(row["tried"]), f"{row['seconds']:.0f}",
        ])  # fmt: skip
    return report.Table(columns, body, "Certificates", words=("preset", "speaks of"))


def together(
    rows: Sequence[Mapping[str, Any]],
    earlier: Sequence[Mapping[str, Any]],
    every: Sequence[Preset],
) -> list[Mapping[str, Any]]:
    """Rows of the presets that there are, in their order: new ones, or else earlier ones."""
    found = []
    for preset in every:
        for some in (rows, earlier):
            of = (preset.problem, preset.name)
            own = [row for row in some if (row["problem"], row["preset"]) == of]
            if own:
                found += own
                break
    return found


def lines(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The table as Markdown, and where it was made."""
    machine = "; ".join(dict.fromkeys(row["machine"] for row in rows))
    found = ["| problem | preset | network | certificate | its own test error | hold-out | "
             "published | time |", "|---|---|---|---:|---:|---:|---:|---:|"]  # fmt: skip
    for row in rows:
        cells = (
            row["problem"], f"`{row['preset']}`", row["speaks_of"],
            _limit(row, "certificate"), report.number(row["own_test_error"]),
            _limit(row, "holdout_of_same_data"), report.number(row["published"]),
            clock(row["seconds"]),
        )  # fmt: skip
        found.append(f"| {' | '.join(cells)} |")
    deltas = ", ".join(f"{delta:g}" for delta in sorted({row["delta"] for row in rows}))
    by_tried: dict[int, list[str]] = {}
    for row in rows:
        by_tried.setdefault(row["tried"], []).append(f"`{row['preset']}`")
    usual = max(by_tried, key=lambda tried: len(by_tried[tried]))
    paid = f"Each pays for a list of {usual} settings" + "".join(
        f", {' and '.join(dict.fromkeys(names))} for {tried}"
        for tried, names in by_tried.items()
        if tried != usual
    )
    note = f"*One seed, delta = {deltas}. {paid}. Times are of training. Made on: {machine}.*"
    return [*found, "", note]


def paint(canvas: Canvas, rows: Sequence[Mapping[str, Any]]) -> None:
    """A panel a problem: bars from a network's own test error up to its certificate."""
    problems = list(dict.fromkeys(row["problem"] for row in rows))
    heights = [
        1.0 + 0.28 * sum(row["problem"] == problem for row in rows)
        for problem in problems
    ]
    routes = list(dict.fromkeys(row["route"] for row in rows))
    with canvas(len(problems), 1, 7.0, heights) as grid:
        for axes, problem in zip(grid[:, 0], problems, strict=True):
            own = [row for row in rows if row["problem"] == problem]
            for place, row in enumerate(own):
                colour = canvas.colours[
                    routes.index(row["route"]) % len(canvas.colours)
                ]
                begin, end = row["own_test_error"], row["certificate"]
                begin = row["counted"] if begin is None else begin
                axes.plot(
                    [begin, end],
                    [place, place],
                    color=colour,
                    lw=7,
                    solid_capstyle="butt",
                )
                axes.annotate(
                    _limit(row, "certificate"), (end, place), (0, 5), textcoords="offset points",
                    ha="right", va="bottom", fontsize=7,
                )  # fmt: skip
                for name, marker in (("holdout_of_same_data", "|"), ("published", "*")):
                    if row[name] is not None:
                        axes.plot(
                            [row[name]], [place], marker, color="black", ms=9 if marker == "|" else 6,
                            mew=1.5 if marker == "|" else 0.5,
                        )  # fmt: skip
            axes.set_xscale("log")
            values = [
                v for r in own for v in (r["own_test_error"], r["certificate"]) if v
            ]
            plain_numbers(axes.xaxis, values)
            axes.set_xlim(min(values) / 1.4, max(values) * 1.4)
            axes.set_yticks(
                range(len(own)),
                [f"{r['preset']} ({r['speaks_of']})" for r in own],
                fontsize=7,
            )
            axes.set_ylim(len(own) - 0.4, -0.6)
            axes.set_title(problem)
        grid[-1, 0].set_xlabel("fraction of new examples that are errors")
        marks = [
            grid[0, 0].plot([], [], "|", color="black", ms=9, mew=1.5, ls="none")[0],
            grid[0, 0].plot([], [], "*", color="black", ms=6, ls="none")[0],
        ]
        grid[0, 0].figure.legend(
            marks, ["hold-out bound of the same images", "published"],
            loc="outside upper center", ncols=2,
        )  # fmt: skip


CAPTION = (
    "A bar: from the error of the network on held-out examples up to what is certified; its colour "
    "is the route. A line across: what the same images promise as a plain hold-out set, of the "
    "network that has not seen them. A star: what a paper reports of such networks."
)


def write(out: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """The table, the figure and the report of all rows."""
    formats.write_table(
        out / "certificates.csv",
        COLUMNS,
        [{n: row[n] for n in COLUMNS} for row in rows],
    )
    draw = Drawing(out / "figures")
    made_of = {
        f"{row['problem']} {row['preset']}": row["parts"]
        for row in rows
        if row["parts"]
    }
    report.write(
        out,
        "Certificates of all presets",
        [
            report.Answer(answer(rows)),
            table(rows),
            draw("certificates", CAPTION, paint, rows),
            *([draw("parts", parts.CAPTION, parts.paint, made_of)] if made_of else []),
        ],
    )


def _read(path):
    """Rows of a file that an earlier call has written; none where there is no file."""
    if not Path(path).is_file():
        return []
    found = formats.read_json(Path(path))
    is_row = isinstance(found, list) and all(
        isinstance(row, dict) and {*COLUMNS, "parts"} <= set(row) for row in found
    )
    if not is_row:
        raise Refusal(
            f"--rows={path}: not the rows of certificates; leave it out, or name another file"
        )
    return found


def main() -> None:
    """Runs what is not there yet, and writes what all of them certify.

    Raises:
      Refusal: a flag names nothing, or a preset cannot be run.
    """
    asked = flags.FLAGS
    if not asked.out:
        raise Refusal("--out is missing; name a folder for the runs")
    unknown = [name for name in asked.problems if name not in PROBLEMS]
    if unknown:
        raise Refusal(
            f"--problems={','.join(unknown)}: must be some of {', '.join(PROBLEMS)}"
        )
    out = Path(asked.out)
    folders = {"data_dir": asked.data_dir, "fashion_dir": asked.fashion_dir}
    for flag, folder in folders.items():
        if folder is not None:
            # Else the program that reads it speaks of its own flag.
            idx.find(folder, flag)
    there = list(presets(out, list(PROBLEMS), folders))
    every = [one for one in there if one.problem in asked.problems]
    names = {one.name for one in every}
    if strange := [name for name in asked.presets if name not in names]:
        raise Refusal(
            f"--presets={','.join(strange)}: must be some of {', '.join(sorted(names))}"
        )
    earlier = _read(asked.rows) if asked.rows else []
    every = [one for one in every if one.name in (asked.presets or names)]
    for one in every if asked.run else ():
        one.run()
    rows = [row for one in every if one.is_finished for row in rows_of(one)]
    rows = together(rows, earlier, there)
    if not rows:
        raise Refusal(f"--out={out}: no preset has been run there; leave out --norun")
    write(out, rows)
    report.show([report.Answer(answer(rows)), table(rows)])
    print(f"Report: {out / 'report.html'}")
    if asked.readme:
        marked.write(asked.readme, MARK, lines(rows))
    if asked.rows:
        formats.write_json(Path(asked.rows), rows)
    if asked.figure:
        wanted = Path(asked.figure)
        for name, place in (
            ("certificates", wanted),
            ("parts", wanted.with_stem(f"{wanted.stem}_parts")),
        ):
            painted = out / "figures" / f"{name}.png"
            if painted.exists():  # of no row may the parts be known
                with whole(place) as aside:
                    aside.write_bytes(painted.read_bytes())


if __name__ == "__main__":
    flags.DEFINE_string("data_dir", None, "folder with the four files of MNIST")
    flags.DEFINE_string(
        "fashion_dir", None, "folder with the four files of Fashion-MNIST"
    )
    flags.DEFINE_string("out", None, "folder for the runs, the table and the figure")
    flags.DEFINE_list("problems", list(PROBLEMS), f"some of {', '.join(PROBLEMS)}")
    flags.DEFINE_string(
        "readme", None, "a file into which the table is written, between its marks"
    )
    flags.DEFINE_string(
        "figure",
        None,
        "a PNG file into which the figure is copied; what certificates are made of goes "
        "into <its name>_parts.png",
    )
    flags.DEFINE_list("presets", [], "run these alone; all, if not given")
    flags.DEFINE_string(
        "rows",
        None,
        "a JSON file with the rows of earlier calls: read, and written with the new ones",
    )
    flags.DEFINE_bool("run", True, "run what is not there yet; else show what is")
    tool(main)
