"""Programs that are kept whole: the same numbers, found by all that they are made of."""

import os
import subprocess
import sys
import threading
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import experiments
from experiments.lab import definitions, formats, whole_programs
from nets import runs
from nets.mlp import MLP
from tests.experiments.tiny import ROOT


def norm(x, power):
    """Of a matrix, by a Cholesky factor: XLA must know LAPACK, of a program that was read as well."""
    factor = jnp.linalg.cholesky(x @ x.T + jnp.eye(len(x)))
    return {"norm": jnp.sum(factor**power)}


NORM = jax.jit(norm, static_argnames="power")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(whole_programs, "_KEPT", whole_programs._Kept())
    monkeypatch.setattr(whole_programs, "_KNOWN", {*whole_programs._KNOWN, "tests"})
    monkeypatch.setattr(experiments, "BEGAN", float("inf"))
    whole_programs.keep(tmp_path)
    yield tmp_path
    definitions._remembered.cache_clear()


def ask(x, power=2, **more):
    return whole_programs.call(NORM, (x,), {"power": power, **more}, None)


def forget():
    """As another process begins."""
    whole_programs._KEPT.programs.clear()


def test_a_program_that_is_there_is_not_traced_and_says_the_same(folder, monkeypatch):
    x = jax.random.normal(jax.random.key(0), (5, 5))
    first = ask(x)
    assert len(list(folder.iterdir())) == 1 and whole_programs.found() == 0
    np.testing.assert_allclose(
        first["norm"],
        np.sum(np.linalg.cholesky(np.asarray(x) @ np.asarray(x).T + np.eye(5)) ** 2),
        rtol=1e-5,
    )
    forget()
    monkeypatch.setattr(whole_programs, "_export", None)  # it would trace
    again = ask(x)
    assert again == first and whole_programs.found() == 1


def test_a_program_that_was_compiled_for_a_call_is_there(folder, monkeypatch):
    x = jnp.ones((4, 4))
    like = whole_programs.compile_for_call(NORM, (x,), {"power": 2}, None)
    assert like["norm"].shape == () and np.isnan(like["norm"])
    monkeypatch.setattr(whole_programs, "_made", None)  # it would trace, or read
    whole = np.asarray(x) @ np.asarray(x).T + np.eye(4)
    np.testing.assert_allclose(
        ask(x)["norm"], np.sum(np.linalg.cholesky(whole) ** 2), rtol=1e-5
    )


def test_who_asks_for_a_program_that_is_being_compiled_waits_for_it(
    folder, monkeypatch
):
    begun, made, own = threading.Event(), [], whole_programs._made

    def slowly(*args):
        begun.set()
        time.sleep(0.5)
        made.append(own(*args))
        return made[-1]

    monkeypatch.setattr(whole_programs, "_made", slowly)
    x = jnp.ones((4, 4))
    args = NORM, (x,), {"power": 2}, None
    both = [
        threading.Thread(
            target=function, args=args
        )  # settings of tests are this thread's
        for function in (whole_programs.compile_for_call, whole_programs.call)
    ]
    for one in both:
        one.start()
        assert begun.wait(30)
    for one in both:
        one.join()
    assert len(made) == 1


@pytest.mark.parametrize("is_kept", [True, False])
def test_what_a_program_returns_is_told_before_it_is_compiled(
    is_kept, folder, monkeypatch
):
    if not is_kept:
        whole_programs._KEPT.folder = None
    x, events, compiled = jnp.ones((4, 4)), [], jax.stages.Lowered.compile

    def noted(*args):
        events.append("compiled")
        return compiled(*args)

    def told(shapes):
        events.append((shapes["norm"].shape, shapes["norm"].dtype))

    monkeypatch.setattr(jax.stages.Lowered, "compile", noted)
    for _ in range(2):  # the second one is read, if it was kept
        forget()
        whole_programs.compiled(NORM, norm, (x,), {"power": 2}, traced=told)
    assert events == [((), x.dtype), "compiled"] * 2


def test_the_name_tells_all_that_it_is_made_of(folder):
    x = jnp.ones((4, 4))
    ask(x)
    ask(x, power=3)
    ask(jnp.ones((5, 5)))
    with jax.enable_x64(True):
        ask(jnp.ones((4, 4), jnp.float32))
    with jax.default_matmul_precision("float32"):
        ask(x)
    whole_programs.call(NORM, (x,), {"power": 2}, {"xla_backend_optimization_level": 0})
    whole_programs._KEPT.code += "another version"
    ask(x)
    assert len(list(folder.iterdir())) == 7 and whole_programs.found() == 0
    ask(x)
    assert len(list(folder.iterdir())) == 7


def test_networks_that_differ_have_programs_that_differ():
    def key(width, seed=0):
        model = MLP(width=width, depth=1, classes=2)
        model.init(jax.random.key(seed), jnp.ones((1, 3)))  # instances are numbered
        return whole_programs._key(model, (jnp.ones(3),))

    assert key(4) == key(4, seed=1) != key(5)


def test_what_is_not_known_by_its_name_is_not_kept(folder):
    x = jnp.ones((3, 3))
    captured = [2.0]

    def closure(x, power):
        return x * captured[0]

    def of_a_user(x, power):
        return x + power

    of_a_user.__module__ = "plugin_mine"
    for function in (closure, of_a_user):
        jitted = jax.jit(function, static_argnames="power")
        found = whole_programs.call(jitted, (x,), {"power": 1}, None)
        np.testing.assert_array_equal(found, 2.0)
        program = whole_programs.compiled(jitted, function, (x,), {"power": 1})
        np.testing.assert_array_equal(program(x), 2.0)
    whole_programs.compiled(NORM, None, (x,), {"power": 2})
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("fault", ["cut", "other", "empty", "pickle"])
def test_a_file_that_cannot_be_used_is_made_again(fault, folder):
    x = jnp.eye(3)
    first = ask(x)
    (path,) = folder.iterdir()
    whole = path.read_bytes()
    path.write_bytes(
        {"cut": whole[:-9], "other": b"no program", "empty": b"", "pickle": whole[32:]}[
            fault
        ]
    )
    forget()
    assert ask(x) == first and whole_programs.found() == 0
    forget()
    assert ask(x) == first and whole_programs.found() == 1


def test_nothing_is_kept_of_sources_that_changed_under_the_process(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(whole_programs, "_KEPT", whole_programs._Kept())
    newest = max(path.stat().st_mtime for path in whole_programs.sources())
    monkeypatch.setattr(experiments, "BEGAN", newest)
    whole_programs.keep(tmp_path)
    ask(jnp.eye(2))
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_read_or_kept_once_a_source_was_edited(folder, monkeypatch):
    """What is imported after that is not what the digest of the beginning says."""
    x = jnp.eye(2)
    first = ask(x)
    forget()
    monkeypatch.setattr(whole_programs, "source_digest", lambda: "another")
    assert ask(x) == first and ask(jnp.eye(3))["norm"] == pytest.approx(6.0)
    assert whole_programs.found() == 0 and len(list(folder.iterdir())) == 1


def test_what_follows_from_the_sources_is_found_by_those_of_the_same(
    folder, monkeypatch
):
    assert whole_programs.remembered("what") == {}
    whole_programs.remember("what", {"a": "1"})
    assert whole_programs.remembered("what") == {"a": "1"}
    assert whole_programs.remembered("else") == {}
    (path,) = folder.iterdir()
    path.write_bytes(path.read_bytes()[:-1])
    assert whole_programs.remembered("what") == {}
    whole_programs.remember("what", {"a": "2"})
    monkeypatch.setattr(whole_programs._KEPT, "code", "another")
    assert whole_programs.remembered("what") == {}
    monkeypatch.setattr(whole_programs, "source_digest", lambda: "edited")
    whole_programs.remember("more", {"a": "3"})
    assert whole_programs.remembered("more") == {}


def test_definitions_that_are_remembered_are_those_that_are_read(folder, monkeypatch):
    """The next command of the same sources reads none; what it asks for besides is added."""
    monkeypatch.setattr(definitions, "_FOUND", {})

    def asked(*groups):
        definitions._remembered.cache_clear()
        found = definitions.of_groups(groups)
        definitions.remember()
        return found

    read = asked("task", "layers")
    with monkeypatch.context() as patch:
        patch.setattr(definitions, "_digest", None)  # it would read
        assert asked("layers", "task") == read
    assert asked("task", "gibbs")["gibbs"] == definitions.of_groups(["gibbs"])["gibbs"]
    monkeypatch.setattr(definitions, "_digest", None)
    assert asked("task", "layers", "gibbs").items() >= read.items()


def test_what_cannot_be_exported_is_compiled_as_ever(folder):
    def talks(x, power):
        jax.debug.callback(lambda _: None, x)
        return x**power

    talks.__module__ = "nets.made_up"
    jitted = jax.jit(talks, static_argnames="power")
    x = jnp.full((2, 2), 3.0)
    np.testing.assert_array_equal(
        whole_programs.compiled(jitted, "talks", (x,), {"power": 2})(x), 9.0
    )
    assert list(folder.iterdir()) == []


def test_a_program_says_what_memory_it_takes(folder):
    """By which lanes are chosen on an accelerator."""
    x = jnp.eye(4)
    program = whole_programs.compiled(NORM, norm, (x,), {"power": 2})
    assert len(list(folder.iterdir())) == 1
    plain = NORM.lower(x, power=2).compile()
    own, its = (runs._bytes_of(p) for p in (program, plain))
    assert own == pytest.approx(its, rel=0.2) and own >= x.nbytes


def test_what_was_not_used_for_longest_goes_first(folder, monkeypatch):
    names = []
    for size in (2, 3, 4):
        before = set(folder.iterdir())
        ask(jnp.eye(size))
        names += set(folder.iterdir()) - before
        os.utime(names[-1], (size, size))
    forget()
    ask(jnp.eye(2))  # now used last
    two = sum(path.stat().st_size for path in (names[0], names[2]))
    monkeypatch.setattr(whole_programs, "LIMIT", two)
    whole_programs._make_room(folder)
    assert set(folder.iterdir()) == {names[0], names[2]}


def test_a_full_disk_keeps_nothing_and_harms_nothing(folder, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(whole_programs.os, "replace", full)
    assert ask(jnp.eye(2))["norm"] == pytest.approx(4.0)


PLUGIN = """
import jax.numpy as jnp
import numpy as np
from bounds import BoundSpec, BoundValue, Measure
from flax import struct
from nets.kernels import weight_matrices

@struct.dataclass
class Largest:
    weight: object

def largest(network):
    factor = float(np.load("factor.npy"))
    return Largest(factor * jnp.max(jnp.abs(weight_matrices(network.params)[0])))

def of_largest(task, largest):
    '''The largest weight over m.'''
    value = largest.weight / task.size
    return BoundValue(value, 0.0 * value, value, jnp.log(value))

MEASURES = (Measure.one("largest", Largest, largest),)
BOUNDS = {"largest_2026": BoundSpec(of_largest, "Me 2026", "heuristic")}
"""


@pytest.fixture
def evaluate(tmp_path, rng):
    """Makes a network and data; returns what runs `evaluate` on it into a folder."""
    weights = {
        f"w{i}": rng.standard_normal(shape).astype(np.float32)
        for i, shape in enumerate([(6, 5), (5, 3)])
    }
    np.savez(tmp_path / "net.npz", **weights)
    np.savez(tmp_path / "set.npz", x=rng.standard_normal((40, 6)), y=np.arange(40) % 3)
    own = {k: v for k, v in os.environ.items() if k != "JAX_COMPILATION_CACHE_DIR"}
    own |= {"XDG_CACHE_HOME": str(tmp_path / "home"), "PYTHONPATH": str(ROOT)}
    given = ["--weights=net.npz", "--activation=relu", "--data=set.npz", "--verbose"]

    def run(out, *more):
        command = [sys.executable, "-m", "experiments.evaluate", *given, f"--out={out}"]
        done = subprocess.run(
            [*command, *more], cwd=tmp_path, capture_output=True, text=True, check=True,
            env=own,
        )  # fmt: skip
        return done.stdout, formats.read_table(tmp_path / out / "bounds.csv")

    return run


def test_from_the_shell_the_second_command_traces_nothing(evaluate):
    said, tables = zip(
        *(evaluate(out, "--bounds=params") for out in ("one", "two")),
        strict=True,
    )
    assert "; 0 not even traced)" in said[0] and "; 2 not even traced)" in said[1]
    assert tables[0] == tables[1]


@pytest.mark.slow
def test_a_user_s_measure_may_look_at_anything(evaluate, tmp_path):
    """So its program is not kept, whether its file has changed or not."""
    (tmp_path / "mine.py").write_text(PLUGIN)
    values = []
    for factor in (1, 3):
        np.save(tmp_path / "factor.npy", factor)
        asked = "--plugin=mine.py", "--bounds=largest_2026"
        _, (row,) = evaluate(f"out{factor}", *asked)
        values.append(float(row["value"]))
    assert values[1] == pytest.approx(3 * values[0])
