"""Presets, flags and refusals of `uc_failure`."""

import subprocess
import sys

import numpy as np
import pytest

from experiments.lab import calls
from experiments.lab.calls import settings_of
from experiments.lab.refusals import Refusal
from experiments.lab.settings import check
from experiments.lab.vary import variants
from experiments.problems import PROBLEMS
from experiments.uc_failure import PROGRAM, same_distribution, study
from tests.experiments.tiny import ROOT
from tests.experiments.tiny_failure import run, tiny

PRESETS = {n: p.presets[PROGRAM.name] for n, p in calls.problems_of(PROGRAM).items()}


@pytest.mark.parametrize(
    ("problem", "preset"), [(n, p) for n in PRESETS for p in PRESETS[n]]
)
def test_presets_are_sound(problem, preset):
    config = settings_of(PROGRAM, problem, preset)
    check(config)
    assert config.problem == problem and variants(config)
    if config.expected:
        assert config.vary or len(config.sizes) > 1
    assert {"demo", "notebook", "paper"} <= set(PRESETS[problem])


def test_a_typed_setting_takes_the_place_of_the_presets_sweep():
    def typed(**values):
        return settings_of(PROGRAM, "exponential", "demo", values)

    preset = typed()
    assert preset.vary.startswith("dim=")
    one = typed(dim=100)
    assert (one.dim, one.vary) == (100, None)
    assert typed(seeds=3).vary == preset.vary
    assert typed(vary="dim=5,6").vary == "dim=5,6"
    with pytest.raises(Refusal, match="--dim=100: --vary=dim=5,6 sweeps it"):
        typed(dim=100, vary="dim=5,6")


def test_the_presets_of_the_paper_and_its_notebook():
    paper, notebook = (
        settings_of(PROGRAM, "hypersphere", name) for name in ("paper", "notebook")
    )
    assert (paper.dim, paper.radii, paper.width) == (1000, (1.0, 1.1), 100000)
    assert (paper.learning_rate, paper.batch_size, paper.margin) == (0.1, 64, 10.0)
    assert paper.sizes == (2048, 4096, 8192, 16384, 32768, 65536)
    assert (notebook.dim, notebook.radii, notebook.width) == (500, (1.0, 1.2), 10000)
    assert (notebook.learning_rate, notebook.batch_size) == (0.5, 64)
    assert (notebook.margin, notebook.threshold) == (8.0, 0.01)
    assert (notebook.sizes, notebook.n_test) == ((1024, 2048, 4096, 8192), 4096)


BAD = [
    ("hypersphere", {"radii": (1.0, 1.0)}, "--radii=1.0,1.0", "different"),
    ("hypersphere", {"batch_size": 65}, "--batch_size=65", "--sizes"),
    ("linear", {"delta": 0.5}, "--delta=0.5", "1/2)"),
    ("linear", {"delta": 1e-17}, "--delta=1e-17", "1e-6"),
    ("linear", {"confidence": 1.0}, "--confidence=1.0", "1 - 1e-6"),
    ("linear", {"confidence": 1e-300}, "--confidence=1e-300", "[1e-6"),
    ("hypersphere", {"dim": 1}, "--dim=1", "at least 2"),
    ("linear", {"vary": "threshold=0.1,0.10"}, "0.10 twice", "once"),
    # S' and fresh labels have no noise, so that nothing would follow.
    ("hypersphere", {"vary": "label_noise=0,0.3"}, "--vary=label_noise", "width"),
    ("linear", {"vary": "seeds=1,2"}, "--vary=seeds=1,2", "dim"),
    ("linear", {"vary": "width=1,2"}, "--vary=width=1,2", "dim"),
    ("linear", {"vary": "dim=1,x"}, "'x'", "--dim"),
    ("linear", {"vary": "dim=10,10"}, "10 twice", "once"),
    ("linear", {"vary": "dim=0,10"}, "--dim=0", ">= 1"),
    ("linear", {"posterior_noise": (0.0,)}, "--posterior_noise=0.0", "1e-6"),
    ("exponential", {"noise": "pink"}, "--noise=pink", "gaussian, cube"),
    ("exponential", {"scale": -1.0}, "--scale=-1.0", "> 0"),
    ("linear", {"problem": "torus"}, "--problem=torus", "digits"),
    ("hypersphere", {"watch": -1}, "--watch=-1", ">= 0"),
    ("digits", {"data_dir": "/nowhere"}, "/nowhere", "no such folder"),
]


@pytest.mark.parametrize(("problem", "changes", "names", "remedy"), BAD)
def test_bad_settings_are_refused_before_anything_is_made(
    tmp_path, problem, changes, names, remedy
):
    with pytest.raises(Refusal) as caught:
        run(tiny(problem, **changes), tmp_path / "a")
    message = str(caught.value)
    assert names in message and remedy in message and "\n" not in message, message
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("flags", "names", "remedy"),
    [
        (["--problem=linear", "--preset=far_apart"], "--preset=far_apart", "notebook"),
        (["--problem=torus"], "--problem=torus", "hypersphere"),
        (["--problem=linear", "--width=3"], "--width=3", "leave it out"),
        (
            ["--problem=exponential", "--radii=1,2"],
            "--radii=1.0,2.0",
            "no such setting",
        ),
        (["--vary=width"], "--vary=width", "--vary=radii=A:B,A:C"),
        (["--sizes=4,x"], "--sizes=4,x", "commas"),
        (["--preset=tiny"], "preset", "demo"),
    ],
)
def test_a_bad_command_is_one_line(tmp_path, flags, names, remedy):
    command = [sys.executable, "-m", "experiments.uc_failure", *flags]
    done = subprocess.run(
        [*command, f"--out={tmp_path / 'a'}"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1 and "Traceback" not in done.stderr
    assert names in done.stderr and remedy in done.stderr, done.stderr
    assert done.stdout == "" and not list(tmp_path.iterdir())


def mixed(inputs, labels):
    return inputs[::-1], labels[::-1]


NO_SPRIME = [
    (mixed, "each example by itself"),
    (lambda inputs, labels: (inputs * np.float32(np.nan), labels), "not a finite one"),
    (lambda inputs, labels: (inputs[:, 1:], labels), r"float\[8, 29\], those of S float\[8, 30\]"),
    (lambda inputs, labels: (inputs[1:], labels[1:]), r"float\[7, 30\], those of S"),
    (lambda inputs, labels: (inputs, labels[:, None]), r"its labels are int\[8, 1\]"),
    (lambda inputs, labels: (inputs, labels + 0.5), "its labels are float"),
    (lambda inputs, labels: ((inputs, inputs), labels), "its inputs are"),
    (lambda inputs, labels: (inputs, 2 * labels - 1), "-1 to 1; they must be 0 to 1"),
    (lambda inputs, labels: (inputs, labels + np.int32(1)), "1 to 2; they must be 0 to 1"),
    (lambda inputs, labels: inputs, r"returns a ndarray; return \(inputs, labels\)"),
]  # fmt: skip


@pytest.mark.parametrize(("sprime", "cause"), NO_SPRIME)
def test_what_is_no_s_prime_is_refused_before_anything_is_trained(
    monkeypatch, sprime, cause
):
    """A plugin's, say: it was a traceback after all had been trained."""
    hypersphere = PROBLEMS["hypersphere"]
    monkeypatch.setattr(hypersphere, "sprime", lambda _, *examples: sprime(*examples))
    config = tiny("hypersphere", sizes=(8, 16), batch_size=4)
    with pytest.raises(Refusal, match=rf"Hypersphere\.sprime: .*{cause}") as caught:
        study.make(config)
    assert "\n" not in str(caught.value)


def test_a_map_that_mixes_larger_sets_only_is_refused_where_it_does(monkeypatch):
    def sprime(_, inputs, labels):
        return mixed(inputs, labels) if len(labels) > 8 else (inputs, labels)

    monkeypatch.setattr(PROBLEMS["hypersphere"], "sprime", sprime)
    of = study.make(tiny("hypersphere", sizes=(8, 32), batch_size=4))
    margins = {f"{name}/margins": np.ones(4) for name in ("test", study.TURNED)}
    with pytest.raises(Refusal, match="each example by itself"):
        same_distribution.rows(of, [margins] * len(of.runs))


@pytest.mark.filterwarnings("error")
def test_the_risk_of_the_linear_problem_in_one_dimension():
    """Its one noise weight may be 0."""
    problem = PROBLEMS["linear"](PROBLEMS["linear"].Settings(dim=1), 0)
    signal = np.ones((10, 1), np.float32)
    for weight, risk in ((0.0, 0.0), (1e9, 0.5)):
        params = {"part_0": signal, "part_1": np.full((1, 1), weight, np.float32)}
        assert problem.risk(params, 4) == pytest.approx(risk, abs=1e-6)
