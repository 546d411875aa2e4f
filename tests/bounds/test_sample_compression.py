"""Bounds on networks that are made of picked examples: oracles, coverage, planted faults."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats

import bounds
from bounds.measures.picks import Picks, PickToLearn, picks
from bounds.numerics import tails
from nets.mlp import MLP
from nets.sample import pad_sample
from tests.oracles import sample_compression as oracle

COMPRESSION = "littlestone_1986_sample_compression"
PICKING = "paccagnan_2023_pick_to_learn"
LEVEL, FEW, ROWS = 1e-3, 8, 301


def values(name, picked, wrong, size, delta=0.05, budget=10**6):
    """Of as many networks as there are numbers, in one of two programs for all calls."""
    columns = np.broadcast_arrays(picked, wrong, size, budget)
    count = columns[0].size
    rows = FEW if count <= FEW else ROWS
    group = Picks(*(np.resize(c, rows).astype(np.int32) for c in columns))
    return bounds.evaluate({"picks": group}, [name], delta=delta)[name].value[:count]


def test_the_published_values():
    """REFERENCE, and the formula's limit: nothing kept at all."""
    kept = [500, 1000, 3000]
    np.testing.assert_allclose(
        values(PICKING, kept, 0, 60000), [0.0096, 0.0185, 0.0532], atol=6e-5
    )
    np.testing.assert_allclose(
        values(COMPRESSION, kept, 0, 60000), [0.048, 0.083, 0.189], atol=6e-4
    )
    np.testing.assert_allclose(values(PICKING, [50], 0, 1000), [0.073], atol=6e-4)
    np.testing.assert_allclose(values(COMPRESSION, [50], 0, 1000), [0.195], atol=6e-4)


def test_both_are_the_oracle_s():
    rng = np.random.default_rng(0)
    size = np.array([1, 2, 3, 10, 100, 1000, 2000, 5000])
    picked = np.array([0, 1, 2, 4, *rng.integers(0, size[4:] // 2)])
    wrong = np.array([0, 1, 0, 3, *rng.integers(0, size[4:] // 3)])
    for delta in (0.3, 0.05, 1e-6):
        each = list(zip(picked.tolist(), wrong.tolist(), size.tolist(), strict=True))
        expected = [oracle.littlestone_1986(*one, delta) for one in each]
        found = values(COMPRESSION, picked, wrong, size, delta)
        np.testing.assert_allclose(found, expected, rtol=1e-9)
        expected = [oracle.paccagnan_2023(k + e, m, delta) for k, e, m in each]
        found = values(PICKING, picked, wrong, size, delta)
        np.testing.assert_allclose(found, expected, rtol=1e-9)
        # What picks and what errors are is all the same to it.
        np.testing.assert_array_equal(
            found, values(PICKING, picked + wrong, 0, size, delta)
        )


def test_it_says_nothing_where_nothing_is_left_or_the_budget_is_broken():
    np.testing.assert_array_equal(values(PICKING, [40, 39], [0, 1], 40), 1.0)
    np.testing.assert_array_equal(values(COMPRESSION, [40, 39], [0, 1], 40), 1.0)
    assert values(PICKING, [10], 0, 40, budget=10)[0] < 1
    assert values(PICKING, [10], 0, 40, budget=9)[0] == 1
    # All but one are kept: 1 - delta/m^2 by the formula.
    found = values(PICKING, [39], 0, 40)
    np.testing.assert_allclose(1 - found, 0.05 / 40**2, rtol=1e-6)


def test_a_tail_that_no_number_holds():
    """Where scipy's logarithm of it is infinite, its limit would be far too low."""
    wrong, size, log_failure = 300, 59000, -4000.0
    with jax.enable_x64(True):
        found = float(jax.jit(tails.upper)(wrong, size, log_failure))
    assert oracle.log_at_most(wrong, size, found) == pytest.approx(
        log_failure, rel=1e-9
    )
    assert stats.binom.logcdf(wrong, size, found) == -np.inf


def test_an_ordinary_tail_is_clopper_s_and_pearson_s():
    wrong = np.array([0, 1, 7, 300, 30000])
    with jax.enable_x64(True):
        limits = jax.jit(jax.vmap(tails.upper, (0, None, None)))
        found = np.asarray(limits(wrong, 60000, np.log(0.05)))
    np.testing.assert_allclose(
        found, special.betaincinv(wrong + 1, 60000 - wrong, 0.95), rtol=1e-9
    )


def test_errors_are_counted_among_what_was_not_picked():
    rng = np.random.default_rng(0)
    inputs = rng.standard_normal((150, 4)).astype(np.float32)
    inputs[7] = np.nan  # is no right answer
    labels, picked = rng.integers(3, size=150), rng.random(256) < 0.2
    picked[[7, 8]] = False
    model = MLP(5, 1, 3)
    params = model.init(jax.random.key(0), inputs[:1])["params"]
    network = bounds.Network(
        model,
        params,
        pad_sample(inputs, labels, 0),
        learned=bounds.Learned(PickToLearn(60), {"picked": jnp.asarray(picked)}),
    )
    found = jax.jit(picks)(network)
    first, second = (
        np.asarray(params[f"Dense_{n}"]["kernel"], float) for n in range(2)
    )
    right = np.argmax(np.maximum(inputs @ first, 0) @ second, axis=1) == labels
    right[7] = False
    assert int(found.picked) == picked[:150].sum()
    assert int(found.wrong) == np.sum(~right & ~picked[:150])
    assert (int(found.size), int(found.budget)) == (150, 60)
    _, missing = bounds.measure(network.replace(learned=None), ["picks"])
    assert "picks" in missing
    other = network.learned.replace(model=model)
    _, missing = bounds.measure(network.replace(learned=other), ["picks"])
    assert missing["picks"] == "the network was not trained on picked examples"


def refuted(risks, limits, delta):
    """Whether violations are more frequent than delta allows."""
    violations = int(np.sum(risks > limits))
    return stats.binom.sf(violations - 1, len(risks), delta) <= LEVEL


def table(name, size, delta, picked=None):
    """The bound of k = 0 .. m kept ones; of `picked`, and k - picked wrong ones."""
    kept = np.arange(size + 1)
    of = kept if picked is None else np.full_like(kept, picked)
    return values(name, of, np.maximum(kept - of, 0), size, delta)


@pytest.mark.slow
@pytest.mark.parametrize("delta", [0.05, 0.3])
def test_coverage_near_its_edge(delta):
    """A scheme made to err as much as it may: the first crossing of order statistics.

    It keeps the k largest of m uniform numbers, for the first k at which the share above the
    least of them exceeds the bound, and errs on that share. Preferent: no other number matters.
    """
    size, most = 300, 299
    u = np.sort(np.random.default_rng(0).random((4000, size)), axis=1)

    def violated(limits):
        return np.any(u[:, :most] > limits[1 : most + 1], axis=1)

    found = violated(table(PICKING, size, delta))
    assert 0.2 * delta < np.mean(found)  # it is near
    assert not refuted(found, np.zeros(len(u)) + 0.5, delta)
    kept = np.arange(size + 1)
    plain = special.betaincinv(kept + 1, np.maximum(size - kept, 1), 1 - delta)
    assert refuted(violated(plain), np.zeros(len(u)) + 0.5, delta)
    assert np.mean(violated(plain)) > 0.3


@pytest.mark.slow
def test_coverage_of_the_smallest_interval():
    """Of positive points, [a, b] within (0.3, 0.8): k <= 2, no errors, and its risk is known."""
    rng, size, delta = np.random.default_rng(1), 20, 0.05
    x = rng.random((20000, size))
    inside = (x > 0.3) & (x < 0.8)
    low = np.min(np.where(inside, x, 2.0), axis=1)
    high = np.max(np.where(inside, x, -1.0), axis=1)
    kept = np.minimum(inside.sum(axis=1), 2)
    risks = np.where(kept > 0, 0.5 - np.maximum(high - low, 0), 0.5)
    for name in (COMPRESSION, PICKING):
        assert not refuted(risks, table(name, size, delta)[kept], delta), name
    plain = 1 - delta ** (1 / (size - kept))  # as if it had been chosen beforehand
    assert refuted(risks, plain, delta)


@pytest.mark.slow
def test_the_best_of_many_rounds_or_budgets_is_not_paid_for():
    """Coins learned by rote: each round's network is new, and each has the risk 1/2."""
    rng, size, rounds, delta = np.random.default_rng(2), 100, 400, 0.3
    wrong = rng.binomial(size - 1, 0.5, (2000, rounds))
    limits, half = table(PICKING, size, delta, 1), np.full(2000, 0.5)
    assert not refuted(half, limits[1 + wrong[:, -1]], delta)
    assert refuted(half, limits[1 + wrong.min(axis=1)], delta)
    paid = table(PICKING, size, delta / rounds, 1)
    assert not refuted(half, paid[1 + wrong.min(axis=1)], delta)
