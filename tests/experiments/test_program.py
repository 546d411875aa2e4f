"""A program of one's own on the skeleton: only what is its own is said."""

import dataclasses
import json

import jax.numpy as jnp
import numpy as np
import pytest

from experiments.lab import report
from experiments.lab.calls import settings_of
from experiments.lab.measuring import Subject
from experiments.lab.program import Program, Study
from experiments.lab.refusals import Refusal
from experiments.lab.settings import at_least_1, setting
from tests.experiments.tiny import read, run


@dataclasses.dataclass(frozen=True)
class Settings:
    problem: str | None = setting(None, "none")
    count: int = setting(3, "how many numbers", at_least_1)
    factor: float = setting(2.0, "what they are multiplied by", measuring=True)


class Squares(Program):
    """Squares of the first whole numbers."""

    name = "squares"
    about = "How large are squares?"
    title = "Squares"
    Settings = Settings
    needs_problem = False
    columns = {"results": ("number", "square")}

    def takes(self, problem):
        return False

    def study(self, config):
        def subject(number):
            return Subject(
                name=f"number{number}",
                kind="number",
                measure=lambda _, n: ({"square": jnp.square(n)}, {}),
                shared=lambda: np.zeros(()),
                arguments=lambda _: np.float64(number),
            )

        subjects = tuple(subject(n) for n in range(config.count))
        return Study(config, None, (), subjects)

    def tables(self, study, measured):
        factor = study.config.factor
        return {
            "results": [
                {"number": n, "square": factor * float(a["square"])}
                for n, a in enumerate(measured)
            ]
        }

    def summary(self, study, tables):
        return {"largest": tables["results"][-1]["square"]}

    def overview(self, summary):
        return [report.Answer([f"The largest is {summary['largest']:g}."])]


def config(**typed):
    return settings_of(Squares(), None, typed=typed)


def test_what_it_says_is_what_it_measured(tmp_path, capsys):
    folder = run(config(count=5), tmp_path / "a", Squares())
    squares = [float(row["square"]) for row in read(folder.path, "results")]
    assert squares == [0, 2, 8, 18, 32]
    assert json.loads((folder.path / "summary.json").read_text()) == {"largest": 32.0}
    text = (folder.path / "report.html").read_text()
    assert text.index("The largest is 32.") < text.index("Settings")
    assert "The largest is 32." in capsys.readouterr().out


def test_it_is_resumed_redrawn_and_refused_as_all_are(tmp_path, capsys):
    out = tmp_path / "a"
    run(config(), out, Squares())
    with pytest.raises(Refusal, match="exists"):
        run(config(), out, Squares())
    run(config(), out, Squares(), resume=True)
    assert "The largest is 8." in capsys.readouterr().out
    with pytest.raises(Refusal, match="--count=4 here, 3 there"):
        run(config(count=4), out, Squares(), resume=True)
    run(config(factor=10.0), out, Squares(), redraw=True)
    assert "The largest is 40." in (out / "report.md").read_text()
    with pytest.raises(Refusal, match="--count=0: must be"):
        run(config(count=0), tmp_path / "b", Squares())
    assert not (tmp_path / "b").exists()
    with pytest.raises(Refusal, match=r"--problem=mnist: must be one of"):
        settings_of(Squares(), "mnist")


def test_what_is_measured_is_not_measured_again(tmp_path, monkeypatch):
    out = tmp_path / "a"
    with monkeypatch.context() as patch:
        patch.setattr(Squares, "tables", None)
        with pytest.raises(TypeError):
            run(config(), out, Squares())
    before = {p: p.stat().st_mtime_ns for p in (out / "measured").iterdir()}
    assert len(before) == 3
    run(config(), out, Squares(), resume=True)
    assert {p: p.stat().st_mtime_ns for p in (out / "measured").iterdir()} == before
