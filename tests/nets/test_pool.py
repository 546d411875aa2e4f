"""Training sets as places in a pool train as those that hold their inputs do."""

import jax
import numpy as np
import pytest

from nets import runs, training
from nets.pool import HostPool, rows_at
from nets.sample import pad_sample
from tests.nets.test_runs import assert_same, layout
from tests.nets.test_training import FEATURES, plan

ROWS, N = 64, 90
JOBS = [(m, seed) for m in (20, 37, 64) for seed in range(2)]


@pytest.fixture(scope="module")
def stored():
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(N, FEATURES)).astype(np.float32)
    return inputs, (inputs[:, 0] > 0).astype(np.int32)


def train(p, stored, where, pool=None, jobs=JOBS):
    """job -> (last state, checks): of samples that hold places iff there is a pool."""
    inputs, labels = stored
    ends, checks = {}, {}

    def start(job):
        m, seed = job
        places = np.random.default_rng(seed).permutation(N)[:m].astype(np.int32)
        params = training.init_params(p, jax.random.key(seed), FEATURES)
        state = training.init_state(p, params, jax.random.key(1000 * m + seed))
        held = inputs[places] if pool is None else places
        return state, pad_sample(held, labels[places], ROWS)

    for tick in runs.train_many(p, jobs, start, where, lambda job: job[0], pool):
        for job, new in tick.checks.items():
            checks.setdefault(job, []).append(new)
        ends |= {job: finished.state for job, finished in tick.finished.items()}
    return {job: (ends[job], np.concatenate(checks[job])) for job in ends}


# Batches of 1: updates are deferred.
IN_LOOPS, IN_VECTORS = (layout(2, 3), 1), (layout(2, 2, True), 2)


@pytest.mark.parametrize(
    ("lanes", "batch_size", "pooled"),
    [
        (*IN_LOOPS, HostPool),
        (*IN_VECTORS, np.asarray),
        pytest.param(*IN_LOOPS, np.asarray, marks=pytest.mark.slow),
        pytest.param(*IN_VECTORS, HostPool, marks=pytest.mark.slow),
    ],
)
def test_weights_are_the_same_bit_for_bit(stored, lanes, batch_size, pooled):
    p = plan(shuffle=batch_size == 2, batch_size=batch_size, margin=0.3, max_epochs=6)
    expected = train(p, stored, lanes)
    assert_same(train(p, stored, lanes, pooled(stored[0])), expected)


def test_a_device_holds_a_pool_once_and_a_host_pool_not_at_all(stored):
    p, where = plan(shuffle=True, batch_size=2), layout(1, 8, vectorized=True)
    inputs, labels = stored
    large = np.tile(inputs, (40, 1))
    places, rows = np.arange(20, dtype=np.int32), 1024

    def arguments(sample, pool):
        params = training.init_params(p, jax.random.key(0), FEATURES)
        state = training.init_state(p, params, jax.random.key(0))
        program = runs._compiled(p, where, state, sample, pool)
        return program.memory_analysis().argument_size_in_bytes

    own = arguments(pad_sample(inputs[places], labels[places], rows), None)
    placed = pad_sample(places, labels[places], rows)
    held, streamed = (arguments(placed, p) for p in (large, HostPool(large)))
    assert held - streamed == large.nbytes
    assert own - streamed == 8 * rows * (FEATURES - 1) * 4  # a place for a row


def test_rows_of_a_tree_are_those_of_its_leaves(stored):
    pool = {"a": stored[0], "b": np.arange(N, dtype=np.int32)}
    places = np.array([[3, 0], [7, 7]])
    for its in (jax.device_put(pool), HostPool(pool)):
        found = jax.jit(jax.vmap(lambda at, its=its: rows_at(its, at)))(places)
        np.testing.assert_array_equal(found["a"], stored[0][places])
        np.testing.assert_array_equal(found["b"], places)
    assert rows_at(None, pool) is pool


def test_a_program_of_a_plan_is_compiled_for_each_host_pool(stored):
    """What it fetches from is compiled in."""
    p = plan(batch_size=2, margin=0.3, max_epochs=2)
    other = HostPool(-stored[0])
    found = [
        train(p, stored, layout(1), its, JOBS[:1])
        for its in (HostPool(stored[0]), other)
    ]
    first, second = (jax.tree.leaves(f[JOBS[0]][0]["params"]) for f in found)
    assert any((a != b).any() for a, b in zip(first, second, strict=True))
