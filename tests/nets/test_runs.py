import dataclasses
import functools
import types

import jax
import numpy as np
import pytest
from flax import struct

from nets import runs, training
from nets.mlp import MLP
from nets.sample import pad_sample
from nets.training import Outcome
from tests.nets.test_training import FEATURES, data, plan

JOBS = [(m, seed) for m in (20, 37, 64) for seed in range(4)]


def start(p, job):
    m, seed = job
    params = training.init_params(p, jax.random.key(seed), FEATURES)
    state = training.init_state(p, params, jax.random.key(1000 * m + seed))
    return state, pad_sample(*data(m, seed), 64)


def train(p, jobs, layout, begin=start):
    """job -> (last state, checks)."""
    ends, checks = {}, {}
    for tick in runs.train_many(p, jobs, lambda job: begin(p, job), layout):
        for job, new in tick.checks.items():
            checks.setdefault(job, []).append(new)
        ends |= {job: finished.state for job, finished in tick.finished.items()}
    return {job: (ends[job], np.concatenate(checks[job])) for job in ends}


def layout(devices, lanes=1, vectorized=False):
    return runs.make_layout(jax.devices()[:devices], lanes, vectorized)


def assert_same(found, expected, exactly=True):
    assert found.keys() == expected.keys()
    for job in found:
        compare = (
            np.testing.assert_array_equal
            if exactly
            else lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-4, atol=1e-5)
        )
        jax.tree.map(compare, found[job], expected[job])


@pytest.fixture(scope="module")
def p():
    return plan(shuffle=True, batch_size=2, margin=0.5, threshold=0.15, max_epochs=300)


@pytest.fixture(scope="module")
def together(p):
    return train(p, JOBS, layout(8))


def test_every_job_ends_and_says_how(p, together):
    assert set(together) == set(JOBS)
    for state, checks in together.values():
        assert state["outcome"] == Outcome.CONVERGED
        assert len(checks) == state["epoch"]
        assert checks[-1, 0] <= p.threshold < checks[:-1, 0].min(initial=1)


def test_a_seed_alone_is_the_seed_in_a_batch(p, together):
    for job in (JOBS[0], JOBS[-1]):
        assert_same(train(p, [job], layout(1)), {job: together[job]})


def test_eight_devices_give_what_one_gives(p, together):
    assert_same(train(p, JOBS, layout(1)), together)


def test_several_lanes_a_device_and_another_order_give_the_same(p, together):
    assert_same(train(p, JOBS[::-1], layout(2, lanes=3)), together)


def test_few_jobs_have_a_device_each(p):
    """Also where each device has room for all of them."""
    lanes = runs._Lanes(layout(4, lanes=8), *start(p, JOBS[0]))
    assert sorted(lane // 8 for lane in lanes.free()[:4]) == [0, 1, 2, 3]
    for lane in lanes.free()[:6]:
        lanes.fill(lane, lane, *start(p, JOBS[0]))
    assert sorted(lane // 8 for lane in lanes.jobs) == [0, 0, 1, 1, 2, 3]
    fewer = lanes.moved(layout(4, lanes=2), *start(p, JOBS[0]))
    assert sorted(lane // 2 for lane in fewer.jobs) == [0, 0, 1, 1, 2, 3]


def test_vectorised_lanes_give_the_same_to_rounding(p, together):
    found = train(p, JOBS, layout(2, lanes=4, vectorized=True))
    assert {j: f[0]["epoch"] for j, f in found.items()} == {
        j: t[0]["epoch"] for j, t in together.items()
    }
    assert_same(found, together, exactly=False)


def test_half_way_states_go_on_as_if_nothing_had_happened():
    p, job = plan(shuffle=True, margin=1e9, max_epochs=9), JOBS[-1]
    uninterrupted = train(p, [job], layout(1))
    first = next(runs.train_many(p, [job], lambda job: start(p, job), layout(1)))
    states = first.states()
    assert first.running == [job] and not first.finished

    def resumed(p, job):
        return training.unpack(states[job]), start(p, job)[1]

    state, checks = train(p, [job], layout(1), resumed)[job]
    expected_state, expected_checks = uninterrupted[job]
    jax.tree.map(np.testing.assert_array_equal, state, expected_state)
    checks = np.concatenate([first.checks[job], checks])
    np.testing.assert_array_equal(checks, expected_checks)


def test_the_program_holds_no_collective(p):
    where = layout(8)
    text = runs._compiled(p, where, *start(p, JOBS[0])).as_text()
    assert "while" in text
    collectives = ("all-reduce", "all-gather", "all-to-all", "collective-permute")
    assert not [name for name in collectives if name in text]


def test_no_jobs_no_ticks(p):
    assert list(runs.train_many(p, [], None, layout(1))) == []


def test_one_program_serves_all_sizes(p):
    where = layout(1)
    begun = start(p, JOBS[0])
    lanes = runs._Lanes(where, *begun)
    program = runs._compiled(
        p, where, *begun
    )  # compiled: other shapes would be refused
    for job in (JOBS[0], JOBS[-1]):
        lanes.fill(0, job, *start(p, job))
        called = np.int32(1000), np.bool_(False)
        lanes.states, records = program(*called, None, lanes.states, lanes.samples)
        assert records.count[0] > 0


def test_stack_repeats_the_last_to_fill_the_lanes():
    stacked = runs.stack([{"a": np.ones(2)}, {"a": np.zeros(2)}], 4)
    np.testing.assert_array_equal(stacked["a"], [[1, 1], [0, 0], [0, 0], [0, 0]])


def test_a_plan_is_compiled_in():
    assert hash(plan()) == hash(plan(model=MLP(8, 1, 3, True)))


def test_a_sample_that_fills_no_batch_is_refused(p):
    """No epoch of it would ever end."""
    small = training.Plan(**vars(p) | {"batch_size": 21})
    with pytest.raises(ValueError, match="20 examples fill no batch of 21"):
        train(small, [(20, 0)], layout(1))


def with_memory(memory, most=48):
    return dataclasses.replace(layout(1, most, vectorized=True), memory=memory)


@functools.cache
def compiled(p, lanes):
    return runs._compiled(p, layout(1, lanes, vectorized=True), *start(p, JOBS[0]))


def needed(p, lanes):
    its = compiled(p, lanes).memory_analysis()
    return its.argument_size_in_bytes + its.temp_size_in_bytes


def test_lanes_are_as_many_as_fit_into_memory(p):
    def chosen(memory, count=1000):
        def program(its):
            return compiled(p, its.lanes_per_device)

        its, _ = runs.fitting(with_memory(memory), count, program)
        return its.lanes_per_device

    room = needed(p, 24)
    lanes = chosen(room)
    assert 12 <= lanes <= 30
    assert needed(p, 2 * lanes) > room
    assert chosen(10**12, count=24) == 24
    assert chosen(needed(p, 1), count=2) == 1
    with pytest.raises(runs.TooLarge) as refused:
        chosen(needed(p, 1) // 2, count=2)
    assert refused.value.needed > refused.value.memory > 0
    assert runs.fitting(with_memory(None), 1000, lambda its: its)[0].lanes == 48


def test_a_back_end_that_does_not_tell_what_a_program_takes_has_few_lanes():
    silent = types.SimpleNamespace(memory_analysis=lambda: None)
    its, program = runs.fitting(with_memory(10**12), 1000, lambda _: silent)
    assert program is silent and its.lanes_per_device == runs.FEW_LANES
    assert (
        runs.fitting(with_memory(10**12), 3, lambda _: silent)[0].lanes_per_device == 3
    )


def test_lanes_that_do_not_even_compile_are_too_many():
    asked = []

    def compiled(its):
        asked.append(its.lanes_per_device)
        if its.lanes_per_device > 10:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: out of memory")
        return jax.jit(lambda x: x).lower(np.zeros(3)).compile()

    its, _ = runs.fitting(with_memory(10**6), 1000, compiled)
    assert its.lanes_per_device <= 10 and asked[0] == 48
    assert asked == sorted(asked, reverse=True)

    def never(_):
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: out of memory")

    with pytest.raises(runs.TooLarge):
        runs.fitting(with_memory(10**6), 1000, never)

    def broken(_):
        raise jax.errors.JaxRuntimeError("INTERNAL: something else")

    with pytest.raises(jax.errors.JaxRuntimeError, match="something else"):
        runs.fitting(with_memory(10**6), 1000, broken)


def test_runs_end_alike_in_as_many_lanes_as_fit(p, together):
    found = train(p, JOBS, with_memory(needed(p, 3)))
    assert_same(found, together, exactly=False)


@struct.dataclass
class Pair:
    own: dict
    held: dict


def test_what_trees_have_in_common_is_taken_out_and_put_back():
    held = {"x": np.ones(3), "y": np.zeros(3)}
    trees = [Pair({"a": np.full(2, i), "b": i}, held) for i in range(3)]
    split = runs.Split.of(trees[0], ["held"])
    for tree in trees:
        common, own = split.parts(tree)
        assert [id(leaf) for leaf in common] == [id(held["x"]), id(held["y"])]
        assert own[0] is tree.own["a"]
        again = split.join(common, own)
        assert again.own == tree.own and again.held["x"] is held["x"]
    assert not any(runs.Split.of(trees[0], []).is_common)
    assert not any(runs.Split.of({"held": 1}, ["held"]).is_common)  # no dataclass
