"""What was measured is known by its content, not by a name: nothing is handed to another."""

import dataclasses
import functools
import shutil
import subprocess
import sys

import jax
import numpy as np
import pytest

import bounds
from experiments import evaluate
from experiments.lab import checksums, definitions, formats, plugins
from experiments.lab.calls import settings_of
from experiments.lab.refusals import Refusal
from experiments.lab.run_folder import RunFolder
from experiments.uc_failure import PROGRAM as UC_FAILURE
from tests.bounds.cases import random_case
from tests.experiments import tiny_failure
from tests.experiments.tiny import ROOT, TINY, read, run, undrawn

CHEAP = ("train_error", "neyshabur_2018")


def evaluated(out, weights, data, redraw=False, **typed):
    typed |= {
        "activation": "relu",
        "weights": weights,
        "data": str(data),
        "bounds": typed.get("bounds", CHEAP),
    }
    config = settings_of(evaluate.PROGRAM, None, typed=typed)
    return run(config, out, evaluate.PROGRAM, redraw=redraw).path


def test_names_that_look_alike_are_not_one_network(tmp_path):
    """`a/net` and `a_net` once shared a file."""
    cases = [random_case(seed, [6, 8, 3], m=60) for seed in (1, 2, 3)]
    data, expected, files = cases[0], {}, ("a/net.npz", "b/net.npz", "a_net.npz")
    for file, case in zip(files, cases, strict=True):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        weights = [np.float32(w) for w in case.weights]
        np.savez(tmp_path / file, **{f"w{i}": w for i, w in enumerate(weights)})
        hidden = np.maximum(np.float32(data.x) @ weights[0], 0)
        said = np.argmax(hidden @ weights[1], axis=1)
        expected[file.removesuffix(".npz")] = np.mean(said != data.y)
    assert len(set(expected.values())) == 3
    np.savez(tmp_path / "data.npz", x=np.float32(data.x), y=data.y)
    given = ",".join(str(tmp_path / file) for file in files)
    rows = read(evaluated(tmp_path / "out", given, tmp_path / "data.npz"), "results")
    assert {r["network"]: float(r["train_error"]) for r in rows} == pytest.approx(
        expected
    )


@pytest.mark.parametrize(
    ("one", "other"),
    [("a/b", "a_b"), ("a%2Fb", "a/b"), ("x" * 300, "x" * 299 + "y"), ("a\nb", "a b")],
)
def test_every_name_has_a_file_of_its_own(tmp_path, one, other):
    folder = RunFolder(tmp_path)
    paths = [folder.measured_path(name) for name in (one, other)]
    assert paths[0] != paths[1]
    for path in paths:
        assert path.parent == folder.measured and len(path.name) < 256
        formats.write_arrays(path, {"a": np.zeros(1)})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A finished folder without weights."""
    config = dataclasses.replace(TINY, bounds=CHEAP, save_weights=False, sizes=(32,))
    out = tmp_path_factory.mktemp("identity") / "out"
    with undrawn():
        return run(config, out).path, config


def test_a_measurement_of_another_run_is_refused_by_name(folder, tmp_path):
    path, config = folder
    out = shutil.copytree(path, tmp_path / "out")
    one, other, *_ = sorted((out / "measured").iterdir())
    aside = one.rename(out / "aside")
    other.rename(one)
    aside.rename(other)
    (out / checksums.LOG).unlink()  # which would have told, too
    with pytest.raises(Refusal, match=f"{one.name}.* was measured from something else"):
        run(config, out, redraw=True)


def test_a_measurement_by_other_code_is_refused_where_no_weights_are(
    folder, tmp_path, monkeypatch
):
    path, config = folder
    out = shutil.copytree(path, tmp_path / "out")
    run(config, out, redraw=True)  # nothing has changed
    of_groups = definitions.of_groups

    def changed(groups):
        return of_groups(groups) | {"layers": "of another day"}

    monkeypatch.setattr(definitions, "of_groups", changed)
    with pytest.raises(Refusal, match=r"layers was measured by another version"):
        run(config, out, redraw=True)


PLUGIN = '''
import jax.numpy as jnp
from bounds import BoundSpec, BoundValue, Measure, arithmetic
from flax import struct


@struct.dataclass
class Mine:
    number: object


def _mine(network):
    return Mine(jnp.asarray({number}))


def mine(mine_group):
    """A number."""
    n = mine_group.number
    return BoundValue(value=n, empirical=n * 0.0, excess=n, log_complexity=jnp.log(n))


MEASURES = [Measure.one("mine_group", Mine, _mine)]
BOUNDS = {{"mine": BoundSpec(mine, "mine", "heuristic")}}
'''


@pytest.mark.slow
def test_a_plugin_that_has_changed_measures_again_where_weights_are_kept(
    tmp_path, entered
):
    """Interrupted, edited, resumed: no measurement of the old definition stays."""
    file = tmp_path / "mine.py"
    file.write_text(PLUGIN.format(number="2.0"))
    config = dataclasses.replace(
        TINY, bounds=("mine",), plugin=str(file), sizes=(32,), seeds=1
    )
    out = run(config, tmp_path / "out").path
    assert {row["value"] for row in read(out, "bounds")} == {"2.0"}
    first = definitions.of_groups(["mine_group"])
    file.write_text(PLUGIN.format(number="3.0"))
    # Edited while something runs: what was loaded is what measures, and what is said.
    assert definitions.of_groups(["mine_group"]) == first
    bounds.registry.remove({"mine": None}, [bounds.registry.MEASURES["mine_group"]])
    plugins.load.cache_clear()
    plugins.load(str(file))
    assert definitions.of_groups(["mine_group"]) != first
    (out / "report.html").unlink()  # as if it had been stopped before
    jax.clear_caches()
    run(config, out, redraw=True)
    assert {row["value"] for row in read(out, "bounds")} == {"3.0"}


def test_only_what_has_changed_is_measured_again(folder, tmp_path):
    _, config = folder
    config = dataclasses.replace(config, save_weights=True)
    out = run(dataclasses.replace(config, sizes=(32,)), tmp_path / "out").path
    files = sorted((out / "measured").glob("*.npz"))
    true = {file: formats.read_arrays(file) for file in files}
    # As if layers had been measured by older code, and all else were what it is not.
    for file in files:
        arrays = dict(true[file])
        arrays["layers/frobenius"] = np.full_like(arrays["layers/frobenius"], 7.0)
        arrays["made_by/layers"] = np.array("of another day")
        arrays["task/input_norm_max"] = np.array(5.0)
        formats.write_arrays(file, arrays)
    (out / "report.html").unlink()  # as if it had been stopped before
    run(dataclasses.replace(config, sizes=(32,)), out, resume=True)
    for file in files:
        arrays = formats.read_arrays(file)
        assert set(arrays) == set(true[file])
        for name, array in arrays.items():
            if name == "task/input_norm_max":
                assert array == 5
            elif array.dtype.kind == "f":
                np.testing.assert_allclose(array, true[file][name], rtol=1e-6)
            else:
                np.testing.assert_array_equal(array, true[file][name])


ADDS = "import math\nLIMIT = 1\n\ndef f(x):\n    return g(x) + LIMIT\n\ndef g(x):\n    return x\n\ndef other(x):\n    return math.pi\n"


def test_a_definition_is_what_code_says_not_how_it_is_explained():
    def digest(source):
        return definitions._digest("made.up", "f", source, ())

    first = digest(ADDS)
    explained = '"""A module."""\n' + ADDS.replace(
        "    return g(x)", '    """Adds."""  # one\n    return g(\n  x)'
    )
    assert digest(explained) == first
    unused = ADDS.replace("math.pi", "math.e").replace(
        "import math", "import math as m"
    )
    assert digest(unused) == first
    for old, new in (
        ("+ LIMIT", "- LIMIT"),
        ("LIMIT = 1", "LIMIT = 2"),
        ("return x\n", "return -x\n"),
        ("def other", "@registered\ndef other"),
        ("def other", "class Other: pass\n\ndef other"),
    ):
        assert old in ADDS
        assert digest(ADDS.replace(old, new)) != first, new


@pytest.mark.parametrize(
    ("module", "old", "new", "changes"),
    [
        # What measures use of it: the logits, and the classes that stand beside them.
        ("nets.training", "model.apply({", "model.apply(2 * {", True),
        ("nets.training", "CONVERGED = 2", "CONVERGED = 5", True),
        # What trains is not what measures.
        (
            "nets.training",
            "batches = sample.size //",
            "batches = 1 + sample.size //",
            False,
        ),
        ("bounds.passes", "FORWARD", "BACKWARD", False),
        ("nets.margins", "jnp.max(", "jnp.min(", True),
    ],
)
def test_a_definition_reaches_through_what_is_used(
    module, old, new, changes, monkeypatch
):
    def digest():
        source = definitions._source("bounds.measures.examples")
        whole = definitions._digest.__wrapped__
        return whole("bounds.measures.examples", "training_set", source, ())

    first, read = digest(), definitions._source
    assert old in read(module)
    edited = {module: read(module).replace(old, new)}
    monkeypatch.setattr(definitions, "_source", lambda m: edited.get(m) or read(m))
    assert (digest() != first) == changes


@pytest.mark.parametrize(
    "source",
    [
        "from nets.margins import *\n\ndef f(x):\n    return margin(x)\n",
        "from nets import margins as its\n\ndef f(x):\n    return its.margin(x)\n",
        "import nets.margins\n\ndef f(x):\n    return nets.margins.margin(x)\n",
        "def f(x):\n    from nets.margins import margin as its\n    return its(x)\n",
        # A name that another module only hands on.
        "from bounds.measures.examples import margin as its\n\ndef f(x):\n    return its(x)\n",
    ],
)
def test_whatever_way_a_function_is_imported_it_is_reached(source):
    found = definitions._reached([("made.up", "f")], {"made.up": source})
    assert found["nets.margins"] & {"margin", definitions._ALL}


def test_a_partial_function_is_what_it_was_made_of():
    first, second = (functools.partial(f, 1) for f in (definitions.of, checksums.whole))
    assert definitions.of(first) == definitions.of(definitions.of)
    assert definitions.of(first) != definitions.of(second)


def test_what_the_host_adds_to_a_measurement_is_part_of_what_measured_it(monkeypatch):
    """Closures of a study, which the measure does not name: the risk, and what S' is."""
    (subject, *_) = UC_FAILURE.study(tiny_failure.tiny("linear", sizes=(8,))).subjects
    first, read = subject.definitions(), definitions._source
    monkeypatch.setattr(definitions, "_digest", definitions._digest.__wrapped__)
    module = "experiments.uc_failure.study"
    for old, new in (
        ("<= 0", "< 0"),
        ("(drawn, sprime_of(problem, drawn))", "(drawn, drawn)"),
    ):
        assert old in read(module)
        edited = read(module).replace(old, new)
        monkeypatch.setattr(
            definitions,
            "_source",
            lambda m, edited=edited: edited if m == module else read(m),
        )
        assert subject.definitions() != first


def test_where_in_experiments_a_name_stands_is_no_matter():
    """Nothing of what it is there is gone into, so a file that is renamed makes no folder stale."""

    def digest(first, second):
        source = f"{first}\n{second}\nimport math\n\ndef f(run: Run):\n    return Run, shown, math.pi\n"
        return definitions._digest("made.up", "f", source, ())

    run = "from experiments.lab.training import Run"
    shown = "from experiments.lab.report import shown"
    assert digest(shown, "from experiments.lab.jobs import Run") == digest(shown, run)
    assert digest(run, shown) == digest(shown, run)
    assert digest(shown, run.replace("Run", "Job as Run")) != digest(shown, run)
    assert digest(shown, "from nets.training import Run") != digest(shown, run)


def test_groups_of_several_measures_have_definitions_of_their_own():
    digests = definitions.of_groups(bounds.GROUPS)
    assert digests["layers"] != digests["paths"]


def test_what_a_study_reaches_need_not_be_imported_yet():
    """A program imports what computes when it is needed; in a process of its own."""
    script = """
import sys
from experiments.beyond_uc import PROGRAM
from experiments.lab.calls import settings_of
study = PROGRAM.study(PROGRAM.resolved(settings_of(PROGRAM, "hypersphere", "demo")))
assert "bounds.beyond_uc.stability" not in sys.modules
print(len(study.subjects[0].definitions()[""]))
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout) >= 64


def test_f_strings_say_the_same_whichever_python_reads_them():
    """Their quotes: from Python 3.12 on some releases use those outside again inside."""
    source = """def f(x, n):
    return f"{', '.join(x)}: {x['a']!r:>{n}}" + f'{n}'
"""
    ((_, text, used),) = definitions._read(source).says
    assert text == source.strip()
    assert {"x", "n"} <= {name for name, _ in used}
