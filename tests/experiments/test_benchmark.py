"""The benchmark prints what its rows yield; speed itself is not tested."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

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
    [benchmark.Row("a step", 0.002, 0.003, "step", 0.0015, "bytes"), benchmark.Row("a job", 1, 2, "job")]
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
    assert line == ["a", "job", "1e+03", "2e+03", "job", "2.0"]
