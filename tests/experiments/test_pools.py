"""Where training sets lie changes no number; which of the places is taken is what fits."""

import dataclasses

import jax
import numpy as np
import pytest

from experiments.bounds_vs_samples import PROGRAM
from experiments.bounds_vs_samples.study import make
from experiments.lab import calls, formats, pools, training
from experiments.lab.progress import Progress
from experiments.lab.refusals import Refusal
from experiments.problems import PROBLEMS, images
from nets import runs
from nets.pool import HostPool
from nets.runs import make_layout
from tests.conftest import MNIST_SAMPLE
from tests.experiments.tiny import content, run, undrawn


@pytest.fixture(scope="module")
def mnist():
    """Four runs on 100 and 200 of 2400 digits."""
    return dataclasses.replace(
        calls.settings_of(PROGRAM, "mnist", "paper"), draw_rule="without_replacement",
        data_dir=str(MNIST_SAMPLE), width=8, depth=1, sizes=(100, 200), seeds=2, draws=1,
        batch_size=4, margin=1.0, max_epochs=8, bounds=("bartlett_2017",), save_weights=True,
    )  # fmt: skip


def lanes(count, memory=None):
    """Vectorised ones of one device, that many at most."""
    its = make_layout(jax.devices()[:1], count, vectorized=True)
    return dataclasses.replace(its, memory=memory)


def trained(config, out, kind):
    """Tables and weights of runs that are trained with one kind of pool."""

    def only(given, *_):
        inputs = given[0].pool().inputs
        yield {"own": None, "device": inputs, "host": HostPool(inputs)}[kind]

    with pytest.MonkeyPatch.context() as patch, undrawn():
        patch.setattr(pools, "choices", only)
        run(config, out, layout=lanes(4))
    files = sorted((out / "weights").glob("*.safetensors"))
    return content(out), {path.name: formats.read_tensors(path) for path in files}


@pytest.fixture(scope="module")
def expected(mnist, tmp_path_factory):
    """Of runs each of which holds its own training set."""
    return trained(mnist, tmp_path_factory.mktemp("pools") / "own", "own")


@pytest.mark.parametrize("kind", ["device", "host"])
def test_where_examples_lie_changes_no_bit(kind, mnist, expected, tmp_path):
    found = trained(mnist, tmp_path / kind, kind)
    assert found[0] == expected[0]
    assert found[1].keys() == expected[1].keys() and len(found[1]) == 4
    for name, arrays in found[1].items():
        for key in arrays.keys() - {"seconds"}:
            np.testing.assert_array_equal(arrays[key], expected[1][name][key])


def kinds(config, layout, rows=256):
    """What would be tried, of the runs of a call."""
    study = make(config, {"": config})
    jobs = [study.stages[0].job(run, None) for run in study.runs]
    tried = pools.choices(
        [job.pool for job in jobs], rows, [run.size for run in study.runs], layout
    )
    return ["own" if p is None else "host" if isinstance(p, HostPool) else "device"
            for p in tried]  # fmt: skip


def test_a_pool_is_held_where_it_is_smaller_than_all_copies(mnist):
    many = dataclasses.replace(mnist, seeds=8)  # 16 runs: 12 lanes are of use
    assert kinds(many, lanes(1)) == ["own", "host"]
    assert kinds(many, lanes(8), 256) == ["own", "host"]  # 2048 rows for 2400
    assert kinds(many, lanes(64), 256) == ["device", "own", "host"]  # 3072
    assert kinds(many, lanes(8), 384) == ["device", "own", "host"]


@pytest.mark.parametrize("rule", ["authors", "without_replacement", "disjoint"])
@pytest.mark.parametrize("size", [100, 200])
def test_a_draw_is_the_places_of_its_record_or_says_that_it_is_not(
    rule, size, mnist, monkeypatch
):
    monkeypatch.setattr(images, "AUTHORS_FIRST", 50)
    monkeypatch.setattr(images, "AUTHORS_NOISE_FROM", 150)
    problem = PROBLEMS["mnist"](dataclasses.replace(mnist, draw_rule=rule), 0)
    drawn = problem.draw(3, size, 1)
    there = np.array_equal(problem.pool().inputs[drawn.record["indices"]], drawn.inputs)
    assert there == problem.is_pooled(size) == (rule != "authors" or size < 150)
    assert (pools.of(problem, size) is problem) == there


def test_fresh_draws_have_no_pool(mnist):
    config = calls.settings_of(PROGRAM, "hypersphere", "demo")
    assert pools.of(PROBLEMS["hypersphere"](config, 0), 100) is None


def test_runs_of_several_pools_are_copied(mnist):
    problems = [PROBLEMS["mnist"](mnist, seed) for seed in (0, 1)]
    tried = pools.choices(problems, 2400, [200, 200], lanes(64))
    assert len(jax.tree.leaves(next(tried))[0]) == 2400  # others, of the same images
    other = PROBLEMS["mnist"](mnist, 0)
    other._images = other._images[::-1]
    tried = pools.choices([problems[0], other], 2400, [200, 200], lanes(64))
    assert list(tried) == [None]
    assert list(pools.choices([problems[0], None], 2400, [200] * 2, lanes(64))) == [
        None
    ]


@pytest.mark.slow
def test_what_a_device_does_not_hold_is_read_from_the_machine(
    mnist, tmp_path, capsys, monkeypatch
):
    """1.3 MB hold neither 2400 digits (7.5 MB) nor a padded copy and what its program takes."""
    mnist = dataclasses.replace(mnist, sizes=(300, 600), seeds=1)
    tried, original = [], training.train_many
    monkeypatch.setattr(
        training, "train_many", lambda *a: tried.append(a[-1]) or original(*a)
    )
    with pytest.raises(Refusal, match="what measuring it takes; --resume goes on with"):
        run(mnist, tmp_path / "a", layout=lanes(4, 1_300_000))
    assert tried[0] is None and isinstance(tried[1], HostPool)
    said = capsys.readouterr().err
    assert "m600_seed0_draw0: a device's memory does not hold the training set" in said
    assert "a batch at a time" in said
    run(mnist, tmp_path / "a", layout=lanes(1), resume=True)
    assert len(tried) == 2
    run(mnist, tmp_path / "b", layout=lanes(1))
    found, expected = (content(tmp_path / name) for name in "ab")
    assert [r["epochs"] for r in found["results"]] == [
        r["epochs"] for r in expected["results"]
    ]


class Interruption(Exception):
    """Stands for a kill between two ticks."""


@pytest.mark.slow
def test_runs_that_were_half_way_go_on_from_there_with_another_pool(
    mnist, tmp_path, monkeypatch
):
    mnist = dataclasses.replace(
        mnist, sizes=(600,), margin=1e9, max_epochs=20, seeds=1, batch_size=1
    )
    run(mnist, tmp_path / "whole", layout=lanes(1))

    def interrupt(self, tick):
        if tick.running and int(tick.states()[tick.running[0]]["epoch"]) >= 2:
            raise Interruption

    with monkeypatch.context() as patch, pytest.raises(Interruption):
        patch.setattr(Progress, "trained", interrupt)
        patch.setattr(runs.sharing, "next_budget", lambda *_: 600)
        run(mnist, tmp_path / "a", layout=lanes(1), checkpoint_seconds=0)
    begun, original = [], training.train_many

    def too_large_at_first(plan, jobs, start, layout, length, pool):
        if pool is None:
            start(next(iter(jobs)))
            raise runs.TooLarge(2, 1)

        def watched(job):
            state, sample = start(job)
            begun.append(int(state.epoch))
            return state, sample

        return original(plan, jobs, watched, layout, length, pool)

    monkeypatch.setattr(training, "train_many", too_large_at_first)
    run(mnist, tmp_path / "a", layout=lanes(1), resume=True)
    assert begun and begun[0] >= 1
    assert content(tmp_path / "a") == content(tmp_path / "whole")


def test_as_many_lanes_as_were_asked_for_do_not_stream(mnist, tmp_path, monkeypatch):
    """Fewer would fit, and are faster."""
    tried = []

    def out_of_memory(*given):
        tried.append(given[-1])
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory")

    monkeypatch.setattr(training, "train_many", out_of_memory)
    with pytest.raises(Refusal, match="--lanes=8: a device's memory does not hold"):
        run(mnist, tmp_path / "a", layout=lanes(8))
    assert len(tried) == 1
    with pytest.raises(Refusal, match="a device ran out of memory"):
        run(mnist, tmp_path / "b", layout=lanes(1))
    assert len(tried) == 3 and isinstance(tried[-1], HostPool)


@pytest.mark.slow
def test_copies_in_fewer_lanes_are_tried_before_the_machine_s_memory(
    mnist, tmp_path, capsys
):
    """A device that holds a small set or two, and not the pool."""
    many = dataclasses.replace(mnist, sizes=(100,), seeds=24, max_epochs=2)
    assert kinds(many, lanes(64, 3_000_000), 128) == ["device", "own", "host"]
    run(many, tmp_path / "a", layout=lanes(64, 3_000_000))
    assert "does not hold the training set" not in capsys.readouterr().err
