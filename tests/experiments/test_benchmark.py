"""The benchmark prints what its rows yield; speed itself is not tested."""

import ast
import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest

from experiments.tools import commands
from experiments.tools.baselines import torch_command
from experiments.tools.ours import untrained
from tests.experiments.tiny import finish, program

ROOT = Path(__file__).parents[2]
# In a process of its own: its flags have names that other tools use, too.
CODE = """
from absl import flags

from experiments.tools import benchmark
from experiments.tools.ours import our_coupled
from nets import runs

flags.FLAGS(["benchmark", "--rows=made_up"])
benchmark.ROWS["made_up"] = lambda _: iter(
    [benchmark.Row("a step", 0.002, 0.003, "step", 0.0015, "bytes"), benchmark.Row("a job", 1, 2, "job"),
     benchmark.Row("alone", 2, None, "all", 1, "imports")]
)
benchmark.main()
ended, train_many = [], runs.train_many


def counted(*arguments):
    for tick in train_many(*arguments):
        ended.extend(tick.finished)
        yield tick


runs.train_many = counted
our_coupled((8,), 16, 64, runs.make_layout())(5)
print("ended", sorted(ended))
"""


@pytest.mark.parametrize(
    ("tool", "flag", "why"),
    [
        ("benchmark", "--rows=step", "must be some of steps, job"),
        ("benchmark", "--devices=0", "must be a whole number"),
        ("scaling", "--counts=64,64", "must be whole numbers >= 1 that ascend"),
        ("scaling", "--counts=16,x", "must be whole numbers >= 1 that ascend"),
        ("idleness", "--mixes=0", "must be a whole number"),
    ],
)
def test_what_a_tool_cannot_use_is_one_line(tool, flag, why):
    code, out, errors = finish(program(flag, name=f"tools.{tool}"))
    assert code == 2 and not out and errors.count("\n") == 1
    assert flag in errors and why in errors


@pytest.mark.slow
def test_it_prints_times_and_their_ratio_and_trains_coupled_runs():
    done = subprocess.run(
        [sys.executable, "-c", CODE],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert "ended [0, 1, 2, 3, 4]" in lines
    line = next(line for line in lines if line.startswith("a step")).split()
    assert line == ["a", "step", "2", "3", "step", "1.5", "75%", "bytes"]
    line = next(line for line in lines if line.startswith("a job")).split()
    assert line == ["a", "job", "1000", "2000", "job", "2.0"]
    line = next(line for line in lines if line.startswith("alone")).split()
    assert line == ["alone", "2000", "all", "50%", "imports"]  # and no ratio


@pytest.mark.slow
def test_both_commands_read_the_same_networks(tmp_path, capsys):
    """Spectral norms as `evaluate` encloses them, and as PyTorch's script prints them."""
    pytest.importorskip("torch")
    commands.write(tmp_path, untrained((8,), 2, 64))
    assert commands.evaluate(tmp_path, ["params"], tmp_path / "cache") > 0
    with open(tmp_path / "evaluated0" / "layers.csv", newline="") as file:
        ours = list(csv.DictReader(file))
    torch_command(str(tmp_path))
    measured = [line for line in capsys.readouterr().out.splitlines() if "{" in line]
    assert [line.split()[0] for line in measured] == ["0.safetensors", "1.safetensors"]
    theirs = [
        norm for line in measured
        for norm in ast.literal_eval(line.partition(" ")[2])["weights"]
    ]  # fmt: skip
    assert len(ours) == len(theirs) == 4
    for row, norm in zip(ours, theirs, strict=True):
        assert norm == pytest.approx(float(row["spectral_norm"]), rel=1e-5)
        assert float(row["init_spectral_norm"]) != pytest.approx(norm, rel=1e-3)
