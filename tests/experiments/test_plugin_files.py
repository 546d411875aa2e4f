"""A user's file, entered beside ours or refused in one line that says what is wrong."""

import dataclasses

import numpy as np
import pytest

import bounds
from experiments import evaluate
from experiments.lab import plugins
from experiments.lab.calls import settings_of
from experiments.lab.refusals import Refusal
from experiments.problems import PROBLEMS
from tests.bounds.cases import random_case
from tests.experiments.tiny import TINY, read, run

PLUGIN = '''
import chex
import jax.numpy as jnp
from bounds import BoundSpec, arithmetic


def product_of_widths(task, margins, layers, *, margin):
    """R_S(gamma) + prod_l (units of layer l) / (gamma sqrt(m))."""
    chex.assert_rank([margins.sorted, layers.fan_out, margin], [1, 1, 0])
    log_numerator = jnp.sum(jnp.log(layers.fan_out))
    return arithmetic.margin_bound(log_numerator, task, margins, margin)


BOUNDS = {"mine_2026": BoundSpec(product_of_widths, "mine 2026", "up to constants")}
'''


@pytest.mark.slow
def test_a_bound_in_a_file_of_its_own(tmp_path, entered):
    case = random_case(3, [6, 8, 5, 3], m=60)
    arrays = {f"w{i}": w.astype(np.float32) for i, w in enumerate(case.weights)}
    np.savez(tmp_path / "ours.npz", **arrays)
    np.savez(tmp_path / "data.npz", x=case.x.astype(np.float32), y=case.y)
    (tmp_path / "mine.py").write_text(PLUGIN)
    typed = {
        "weights": f"{tmp_path}/ours.npz", "data": f"{tmp_path}/data.npz",
        "plugin": str(tmp_path / "mine.py"), "bounds": ("mine_2026",), "margin": 0.5,
        "activation": "relu",
    }  # fmt: skip
    config = settings_of(evaluate.PROGRAM, None, typed=typed)
    (row,) = read(run(config, tmp_path / "out", evaluate.PROGRAM).path, "bounds")
    expected = 8 * 5 * 3 / (0.5 * np.sqrt(case.m))
    assert float(row["excess"]) == pytest.approx(expected)
    run(
        dataclasses.replace(
            TINY, plugin=str(tmp_path / "mine.py"), bounds=("mine_2026",)
        ),
        tmp_path / "runs",
    )
    rows = read(tmp_path / "runs", "bounds")
    assert {row["bound"] for row in rows} == {"mine_2026"}


BAD_PLUGINS = {
    "there is no such file": None,
    "SyntaxError": "def (",
    "line 2: NameError": "x = 1\ny = z\n",
    "no dict BOUNDS": "x = 1\n",
    "is no bounds.BoundSpec": "BOUNDS = {'a': 1}\n",
    "the name train_error is taken": PLUGIN.replace("mine_2026", "train_error"),
    "asks for lairs, which is not measured": PLUGIN.replace("layers", "lairs"),
    "the name path_l1 is taken": PLUGIN.replace("mine_2026", "path_l1"),
    "a name is letters": PLUGIN.replace("mine_2026", "mine, 2026"),
    "status='proved'; one of certified": PLUGIN.replace("up to constants", "proved"),
    "needs a docstring": PLUGIN.replace('"""R_S', 'x = """R_S'),
    "margin is an option": PLUGIN.replace("*, margin", "margin"),
    "several of bounds.Measure": PLUGIN + "MEASURES = (1,)\n",
    "MEASURES alone are asked for by no bound": "MEASURES = (1,)\n",
    "ends the program (exit code 3)": "import sys\nsys.exit(3)\n",
    "its value has shape [2]": PLUGIN.replace(
        "jnp.sum(jnp.log(layers.fan_out))", "jnp.log(layers.fan_out)"
    ),
    "has the keyword gamma": PLUGIN.replace("margin):", "gamma):"),
    "line 10: AttributeError": PLUGIN.replace("layers.fan_out)", "layers.widths)"),
    "TracerBoolConversionError": PLUGIN.replace(
        "    chex.assert_rank",
        "    margin = margin if margin > 1 else 1.0\n    chex.assert_rank",
    ),
    "returned float, not a bounds.BoundValue": PLUGIN.replace(
        "return arithmetic.margin_bound(log_numerator, task, margins, margin)",
        "return 1.0",
    ),
}


@pytest.mark.parametrize("message", BAD_PLUGINS)
def test_a_plugin_that_will_not_do_is_refused_in_one_line(message, tmp_path, entered):
    path = tmp_path / "mine.py"
    if BAD_PLUGINS[message] is not None:
        path.write_text(BAD_PLUGINS[message])
    before = dict(bounds.BOUNDS)
    with pytest.raises(Refusal) as refusal:
        plugins.load(str(path))
    line = str(refusal.value)
    assert message in line and "\n" not in line and line.startswith(f"--plugin={path}")
    assert before == bounds.BOUNDS


PROBLEM = """
import dataclasses
from experiments.lab.settings import setting
from experiments.problems import Problem


@dataclasses.dataclass(frozen=True)
class Settings:
    dim: int = setting(3, "inputs")


class Mine(Problem):
    about = "what is learned"
    Settings = Settings
    features = 3

    def draw(self, seed, size, draw=None):
        pass

    def test(self, size=None):
        pass


PROBLEMS = {"mine": Mine}
"""
BAD_PROBLEMS = {
    "mine is no class of experiments.problems.Problem": PROBLEM.replace(
        '{"mine": Mine}', '{"mine": Settings}'
    ),
    "its `about` must say what is learned": PROBLEM.replace("what is learned", ""),
    "needs a method draw": PROBLEM.replace("def draw", "def drawn"),
    "needs a method test": PROBLEM.replace("def test", "def tested"),
    "its setting dim must be made by": PROBLEM.replace('setting(3, "inputs")', "3"),
    "its setting dim has another type": PROBLEM.replace("dim: int", "dim: float"),
    "the name mnist is taken": PROBLEM.replace('{"mine"', '{"mnist"'),
    "PROBLEMS is no dict": PROBLEM.replace('{"mine": Mine}', "[Mine]"),
    "the name mlp is taken": PROBLEM + 'NETWORKS = {"mlp": Mine}\n',
}


@pytest.mark.parametrize("message", BAD_PROBLEMS)
def test_a_problem_that_will_not_do_is_refused_in_one_line(message, tmp_path, entered):
    path = tmp_path / "mine.py"
    path.write_text(BAD_PROBLEMS[message])
    before = dict(PROBLEMS)
    with pytest.raises(Refusal) as refusal:
        plugins.load(str(path))
    assert message in str(refusal.value) and "\n" not in str(refusal.value)
    assert before == PROBLEMS


def test_a_problem_is_entered_and_gone_after_the_test(tmp_path, entered):
    path = tmp_path / "mine.py"
    path.write_text(PROBLEM)
    assert plugins.load(str(path)).problems == ("mine",)
    assert PROBLEMS["mine"].sprime is None and PROBLEMS["mine"].pool is None
