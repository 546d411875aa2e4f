"""What a device's memory does not hold is refused in one line, and nothing of it is left."""

import dataclasses
import gc

import jax
import pytest

from experiments.lab import measuring, measuring_programs, training
from experiments.lab.refusals import Refusal
from nets import runs
from nets.runs import make_layout
from tests.experiments.tiny import TINY, AtOnce, content, run

SMALL = dataclasses.replace(TINY, seeds=1, draws=1, bounds=("params",))


def with_memory(memory):
    """Vectorised lanes, as many as fit: what an accelerator has."""
    its = make_layout(jax.devices()[:1], 64, vectorized=True)
    return dataclasses.replace(its, memory=memory)


def out_of_memory(*_, **__):
    raise jax.errors.JaxRuntimeError(
        "RESOURCE_EXHAUSTED: Out of memory allocating 1 byte"
    )


@pytest.mark.slow
def test_a_run_that_no_device_holds_is_refused_by_its_sizes(tmp_path):
    with pytest.raises(Refusal) as refused:
        run(SMALL, tmp_path / "a", layout=with_memory(9000))
    said = str(refused.value)
    # 128 rows of 10 inputs and a label.
    assert (
        "m64_seed0_draw0: JAX may take 10 kB of a device's memory (of a GPU XLA_PYTHON_CLIENT_MEM_FRACTION "
        "says how much), and one run alone takes" in said
    )
    assert "its training set, padded to that of the largest, 5.63 kB" in said
    assert "JAX_PLATFORMS=cpu" in said and "\n" not in said
    # Where there is memory enough, --resume goes on.
    run(SMALL, tmp_path / "a", layout=with_memory(10**9), resume=True)
    assert len(content(tmp_path / "a")["results"]) == 2


@pytest.mark.parametrize(
    ("lanes", "memory", "names"),
    [
        (8, None, "--lanes=8: "),
        (64, 10**9, "m64_seed0_draw0: a device ran out of memory"),
    ],
)
def test_a_device_that_runs_out_while_training_is_named(
    lanes, memory, names, tmp_path, monkeypatch
):
    monkeypatch.setattr(training, "train_many", out_of_memory)
    where = make_layout(jax.devices()[:1], lanes, vectorized=True)
    with pytest.raises(Refusal) as refused:
        run(SMALL, tmp_path / "a", layout=dataclasses.replace(where, memory=memory))
    assert str(refused.value).startswith(names) and "5.63 kB" in str(refused.value)


def test_a_device_that_runs_out_while_measuring_can_be_left(tmp_path, monkeypatch):
    with monkeypatch.context() as patch, pytest.raises(Refusal) as refused:
        patch.setattr(measuring, "stack", out_of_memory)
        run(SMALL, tmp_path / "a")
    assert "--resume goes on with JAX_PLATFORMS=cpu" in str(refused.value)
    run(SMALL, tmp_path / "a", resume=True)
    assert len(content(tmp_path / "a")["results"]) == 2


@pytest.mark.slow
def test_where_lanes_that_should_fit_do_not_fewer_measure(tmp_path, monkeypatch):
    """Others may use a device's memory, too: half as many are tried, down to one."""
    whole, tried = tmp_path / "whole", []
    run(SMALL, whole)
    compiled = measuring_programs.program

    def program(measure, layout, *rest):
        tried.append(layout.lanes_per_device)
        its = compiled(measure, layout, *rest)
        if layout.lanes_per_device == 1:
            return its
        return measuring_programs.Program(lambda traced: _Full(its.compiled(traced)))

    monkeypatch.setattr(measuring_programs, "program", program)
    run(SMALL, tmp_path / "a", layout=with_memory(10**9))
    assert tried == [2, 1]  # networks are two
    found, expected = (content(p)["results"] for p in (tmp_path / "a", whole))
    assert [row["run"] for row in found] == [row["run"] for row in expected] != []


@dataclasses.dataclass
class _Full:
    """A program that a device compiles, and cannot run."""

    program: object

    def memory_analysis(self):
        return self.program.memory_analysis()

    def __call__(self, *_):
        out_of_memory()


def test_while_measuring_a_device_holds_each_argument_once(tmp_path, monkeypatch):
    """By what is alive as the program is called: its arguments, no second copy of them, and nothing of
    training that would wait for the collector."""
    compiled, seen, there = measuring_programs.Program.compiled, [], jax.live_arrays()

    def program(*args):
        its = compiled(*args)

        def called(*arguments):
            own = {id(leaf) for leaf in [*there, *jax.tree.leaves(arguments)]}
            large = [a for a in jax.live_arrays() if a.ndim > 1 and a.nbytes > 4000]
            seen.append([a.shape for a in large if id(a) not in own])
            return its(*arguments)

        return called

    monkeypatch.setattr(measuring_programs.Program, "compiled", program)
    # What is compiled beside it is over, and what that was compiled for is gone.
    monkeypatch.setattr(measuring.threading, "Thread", AtOnce)
    where = make_layout(jax.devices()[:1])
    gc.disable()
    try:
        run(SMALL, tmp_path / "a", layout=where)
    finally:
        gc.enable()
    assert seen == [[], []]


def test_other_errors_of_jax_are_told_as_they_are(tmp_path, monkeypatch):
    def broken(*_, **__):
        raise jax.errors.JaxRuntimeError("INTERNAL: something else")

    monkeypatch.setattr(training, "train_many", broken)
    with pytest.raises(jax.errors.JaxRuntimeError, match="something else"):
        run(SMALL, tmp_path / "a")
    assert not runs.is_out_of_memory(ValueError("RESOURCE_EXHAUSTED"))
