"""How runs share lanes that take each step together: policy, and that no lane waits for steps."""

import dataclasses
import heapq

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nets import losses, runs, sharing, training
from tests.nets.test_runs import JOBS, assert_same, layout, start, train
from tests.nets.test_training import plan


def ends(lengths, count):
    """When the last run ends, if each takes the lane that is free first."""
    free = [0] * count
    for length in lengths:
        heapq.heappush(free, heapq.heappop(free) + length)
    return max(free)


@pytest.mark.parametrize("seed", range(20))
def test_more_lanes_than_are_of_use_save_next_to_nothing(seed):
    rng = np.random.default_rng(seed)
    lengths = sorted(map(int, rng.integers(1, 100, rng.integers(1, 40))), reverse=True)
    count = sharing.useful(lengths)
    # No number of lanes ends before the longest run, nor in less than its share of all.
    least = max(max(lengths), sum(lengths) / count)
    assert ends(lengths, len(lengths)) == max(lengths)
    assert sum(lengths) / count <= max(lengths)
    if count > 1:
        assert sum(lengths) / (count - 1) >= max(lengths)  # fewer would take longer
    assert ends(lengths, count) <= 4 / 3 * least + max(lengths) / 3  # Graham's


def test_lanes_of_use_to_runs_that_are_alike_are_as_many():
    assert [sharing.useful([0.1] * n) for n in range(1, 300)] == list(range(1, 300))
    assert sharing.useful([2**k for k in range(7, 16) for _ in range(8)]) == 16


def test_lanes_become_fewer_once_idle_ones_have_cost_a_compilation():
    assert sharing.fewer(16, 1, 7, idle=6.1, compiling=6.0) == 7
    assert sharing.fewer(16, 1, 7, idle=5.9, compiling=6.0) == 16
    assert sharing.fewer(16, 2, 7, idle=9.0, compiling=6.0) == 4
    assert sharing.fewer(4, 2, 7, idle=9.0, compiling=6.0) == 4
    assert sharing.fewer(16, 1, 0, idle=9.0, compiling=6.0) == 16


def test_a_call_takes_as_long_as_it_aims_at_whatever_it_began_with():
    for rate in (1e-6, 3e-5, 2e-3):  # seconds a step
        for budget in (16, 64, 2**28):
            for _ in range(30):
                budget = sharing.next_budget(budget, budget, rate * budget)
            assert budget * rate == pytest.approx(sharing.CALL_SECONDS, rel=0.1)
    # A call that was cut short says what a step takes, not that calls are to be short.
    assert sharing.next_budget(1000, 100, 0.025) == 1000
    assert sharing.next_budget(16, 0, 1.0) == 16


COUNTED = []


@dataclasses.dataclass(frozen=True)
class Counting:
    """The mean loss of a batch, and a call for every step of a lane, taken or masked."""

    def __call__(self, model, params, inputs, labels, size, key):
        jax.debug.callback(lambda _: COUNTED.append(1), size)
        logits = training.logits_of(model, params, inputs)
        return jnp.mean(jax.vmap(losses.LOSSES["softmax"])(logits, labels))


def counted(jobs, count, epochs):
    """Steps that each vectorised lane went through, taken or not, until all jobs have ended."""
    p = plan(
        loss="softmax", shuffle=True, batch_size=2, margin=1e9, max_epochs=epochs,
        objective=Counting(),
    )  # fmt: skip
    COUNTED.clear()
    found = train(p, jobs, layout(1, count, vectorized=True))
    jax.effects_barrier()
    assert {job: int(state["epoch"]) for job, (state, _) in found.items()} == dict.fromkeys(
        jobs, epochs
    )  # fmt: skip
    steps, rest = divmod(len(COUNTED), count)
    assert not rest
    return steps


@pytest.mark.parametrize("count", [1, 3, pytest.param(5, marks=pytest.mark.slow)])
def test_lanes_wait_for_no_steps_of_others(count):
    """Epochs of 10, 18 and 32 steps end at different times: only the ends of runs are awaited."""
    jobs = sorted(JOBS, reverse=True)
    lengths = [3 * (m // 2) for m, _ in jobs]
    assert counted(jobs, count, epochs=3) == ends(lengths, count)


def test_a_lane_whose_records_are_full_is_not_awaited(monkeypatch):
    """One call could be of many more epochs of the short run than it can report."""
    monkeypatch.setattr(sharing, "next_budget", lambda *_: 10**6)
    epochs = 2 * training.RECORDS + 5
    assert counted([(64, 0), (20, 0)], 2, epochs) == 32 * epochs


@pytest.mark.slow
def test_lanes_become_fewer_and_runs_end_alike(monkeypatch):
    """As where they are as many as fit: idle ones cost more than compiling from the first call on."""
    p = plan(shuffle=True, batch_size=2, margin=0.5, threshold=0.15, max_epochs=300)
    used, compiled = [], runs._compiled

    def watched(plan, layout, *shapes):
        used.append(layout.lanes_per_device)
        return compiled(plan, layout, *shapes)

    monkeypatch.setattr(runs, "_compiled", watched)
    jobs = sorted(JOBS, reverse=True)
    expected = train(p, jobs, layout(1))
    for devices in (1, 2):
        used.clear()
        where = dataclasses.replace(layout(devices, 64, vectorized=True), memory=10**12)
        with monkeypatch.context() as patch:
            patch.setattr(sharing, "fewer", lambda n, d, r, *_: min(n, -(-r // d)) or n)
            assert_same(train(p, jobs, where), expected, exactly=False)
        assert used[0] == -(-len(jobs) // devices)
        assert len(used) > 1 and used == sorted(set(used), reverse=True)
    used.clear()
    found = train(p, jobs, layout(1, 4, vectorized=True))  # as many as were asked for
    assert_same(found, expected, exactly=False)
    assert used == [4]


def test_the_longest_run_says_how_many_lanes_are_of_use(monkeypatch):
    p = plan(batch_size=2, margin=1e9, max_epochs=2)
    used, compiled = [], runs._compiled

    def watched(plan, layout, *shapes):
        used.append(layout.lanes_per_device)
        return compiled(plan, layout, *shapes)

    monkeypatch.setattr(runs, "_compiled", watched)
    where = dataclasses.replace(layout(1, 64, vectorized=True), memory=10**12)
    jobs = [(64, 0), (20, 0), (20, 1), (20, 2)]
    ticks = runs.train_many(p, jobs, lambda j: start(p, j), where, lambda j: j[0])
    assert {job for tick in ticks for job in tick.finished} == set(jobs)
    assert used[0] == 2  # 124 / 64


def test_vectorised_lanes_need_nothing_of_other_devices():
    p = plan(batch_size=2)
    where = layout(8, 2, vectorized=True)
    text = runs._compiled(p, where, *start(p, JOBS[0])).as_text()
    collectives = ("all-reduce", "all-gather", "all-to-all", "collective-permute")
    assert "while" in text and not [name for name in collectives if name in text]
