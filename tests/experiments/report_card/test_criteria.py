import itertools
import math

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
from scipy import stats

from experiments.report_card.criteria import (
    cmi_noise_oracle,
    conditional_mutual_information,
    granulated_tau,
    holm,
    kendall_tau,
    robust_sign_error,
)
from tests.oracles import ranking


def grid(seeds=4, **axes):
    """All settings, each with each seed: settings and seeds."""
    rows = list(itertools.product(*axes.values(), range(seeds)))
    columns = np.array(rows, dtype=object).T
    return {
        a: columns[k].astype(type(v[0])) for k, (a, v) in enumerate(axes.items())
    }, (columns[-1].astype(int))


def chance(*shape, seed=0):
    return np.random.default_rng(seed).random(shape)


WIDE = dict(width=[64, 128, 256], depth=[1, 2, 3, 4], loss=["hinge", "log"])


@st.composite
def tables(draw):
    """Few networks, with ties, infinities, gaps in the grid and repeated settings."""
    n = draw(st.integers(0, 14))

    def column(values):
        return draw(st.lists(st.sampled_from(values), min_size=n, max_size=n))

    return (
        np.array(column([-math.inf, 0.0, 1.0, 2.0, 3.5, math.inf])),
        np.array(column([0.0, 0.01, 0.05, 0.1, 0.2, 0.4])),
        {"width": column([8, 16]), "depth": column([1, 2, 3]), "loss": column("ab")},
        column([0, 1]),
    )


def same(found, expected):
    if expected is None:
        return math.isnan(found)
    return found == pytest.approx(expected, abs=1e-12)


for_any_table = hypothesis.settings(deadline=None, max_examples=100)


# kendall_tau


@for_any_table
@hypothesis.given(tables())
def test_kendall_is_the_mean_over_pairs(table):
    measure, gap, *_ = table
    expected = ranking.kendall(measure, gap) if len(gap) > 1 else None
    assert same(kendall_tau(measure, gap), expected)


def test_kendall_without_ties_is_that_of_scipy():
    measure, gap = chance(2, 60)
    assert kendall_tau(measure, gap) == pytest.approx(
        stats.kendalltau(measure, gap).statistic, abs=1e-12
    )


def test_kendall_by_hand():
    gap = [0.1, 0.2, 0.3, 0.4]
    assert kendall_tau([1, 2, 3, 4], gap) == 1
    assert kendall_tau([4, 3, 2, 1], gap) == -1
    assert kendall_tau([7, 7, 7, 7], gap) == 0
    assert kendall_tau([1, 1, 2, 3], gap) == pytest.approx(5 / 6)  # one pair tied
    assert kendall_tau([1, 2, 3, 4], [0.1] * 4) == 0
    assert kendall_tau([1, 2, 3, math.inf], gap) == 1
    assert kendall_tau([1, 2, math.inf, math.inf], gap) == pytest.approx(5 / 6)


def test_kendall_of_fewer_than_two_networks():
    for measure, gap in ([], []), ([1.0], [0.1]), ([1.0, math.nan], [0.1, 0.2]):
        assert math.isnan(kendall_tau(measure, gap))


@hypothesis.given(tables())
@for_any_table
def test_only_the_order_counts(table):
    measure, gap, settings, seeds = table
    moved = np.arctan(measure)
    assert same(kendall_tau(moved, gap), none_if_nan(kendall_tau(measure, gap)))
    one = conditional_mutual_information(measure, gap, settings)
    other = conditional_mutual_information(moved, gap, settings)
    assert same(one, none_if_nan(other))
    np.testing.assert_equal(
        robust_sign_error(measure, gap, settings, seeds, 1000, 1),
        robust_sign_error(moved, gap, settings, seeds, 1000, 1),
    )


def none_if_nan(value):
    return None if math.isnan(value) else value


# what is left out


def scores(measure, gap, settings, seeds):
    return (
        kendall_tau(measure, gap),
        granulated_tau(measure, gap, settings, seeds),
        conditional_mutual_information(measure, gap, settings),
        robust_sign_error(measure, gap, settings, seeds, 10_000, 1),
        robust_sign_error(measure, gap, settings, seeds, 10_000, 1, pool=False),
    )


def test_networks_without_a_number_count_as_not_trained():
    settings, seeds = grid(**WIDE)
    measure, gap = chance(2, len(seeds))
    with_holes, holed_gap = measure.copy(), gap.copy()
    with_holes[[3, 17, 40]] = math.nan
    holed_gap[[8, 17]], holed_gap[9] = math.nan, math.inf
    left = np.setdiff1d(np.arange(len(seeds)), [3, 17, 40, 8, 9])
    np.testing.assert_equal(
        scores(with_holes, holed_gap, settings, seeds),
        scores(
            measure[left],
            gap[left],
            {axis: values[left] for axis, values in settings.items()},
            seeds[left],
        ),
    )


@pytest.mark.parametrize("n", [0, 1, 6])
def test_nothing_to_compare(n):
    settings, seeds = {"width": np.arange(n), "depth": np.ones(n)}, np.zeros(n, int)
    tau, (psi, mean), information, pooled, apart = scores(
        np.full(n, math.nan), np.zeros(n), settings, seeds
    )
    assert all(math.isnan(v) for v in (tau, *psi.values(), mean, information))
    for found in (pooled, apart):
        assert math.isnan(found["worst"]) and math.isnan(found["mean"])
        assert found["kept"] == found["candidates"] == 0
        assert found["worst_environments"] == [] and found["errors"].shape == (0,)


def test_columns_must_fit():
    with pytest.raises(ValueError, match="one value a network: 2"):
        granulated_tau([1, 2], [1, 2], {"width": [1, 2, 3]})
    with pytest.raises(ValueError, match="should be"):
        kendall_tau([1, 2], [1, 2, 3])


def test_settings_may_be_missing():
    settings = {"decay": np.array([None, "0.1", None, "0.1"], dtype=object)}
    psi, _ = granulated_tau([1, 2, 3, 4], [1, 2, 3, 4], settings, [0, 0, 1, 1])
    assert psi == {"decay": 1}


# granulated_tau


@for_any_table
@hypothesis.given(tables(), st.booleans())
def test_granulated_is_the_mean_over_groups(table, by_seed):
    measure, gap, settings, seeds = table
    own = seeds if by_seed else [0] * len(gap)
    expected = ranking.granulated(measure, gap, settings, own)
    psi, mean = granulated_tau(measure, gap, settings, seeds if by_seed else None)
    assert list(psi) == list(settings)
    assert all(same(psi[axis], expected[0][axis]) for axis in settings)
    assert same(mean, expected[1])


def test_a_measure_that_knows_one_axis_only():
    settings, seeds = grid(**WIDE)
    gap = settings["width"] / 1e3 + settings["depth"] / 1e2 + chance(len(seeds)) / 1e4
    psi, mean = granulated_tau(settings["width"], gap, settings, seeds)
    assert psi == {"width": 1, "depth": 0, "loss": 0}
    assert mean == pytest.approx(1 / 3)
    psi, mean = granulated_tau(-gap, gap, settings, seeds)
    assert mean == -1 and set(psi.values()) == {-1}
    assert granulated_tau(np.ones(len(gap)), gap, settings, seeds)[1] == 0


def test_seeds_of_one_setting_are_no_evidence():
    """The seed moves the gap more than the width does: within a seed, all is in order."""
    settings, seeds = grid(width=[1, 2])
    gap = settings["width"] + 10.0 * seeds
    measure = settings["width"] - 10.0 * seeds
    assert granulated_tau(measure, gap, settings, seeds) == ({"width": 1}, 1)
    across = granulated_tau(measure, gap, settings)[1]
    assert across == pytest.approx((4 - 12) / 16)  # 4 pairs of a seed, 12 of two


def test_an_axis_that_was_not_varied_has_no_say():
    settings, seeds = grid(width=[1, 2, 3], depth=[5])
    psi, mean = granulated_tau(settings["width"], settings["width"], settings, seeds)
    assert psi["width"] == mean == 1
    assert math.isnan(psi["depth"])
    assert math.isnan(granulated_tau([1, 2], [1, 2], {"width": [1, 1]})[1])


# conditional_mutual_information


@for_any_table
@hypothesis.given(tables(), st.integers(0, 3))
def test_information_is_that_of_the_frequencies(table, max_axes):
    measure, gap, settings, _ = table
    found = conditional_mutual_information(measure, gap, settings, max_axes)
    expected = ranking.conditional_information(measure, gap, settings, max_axes)
    if expected is None:
        assert math.isnan(found)
    else:
        assert found == pytest.approx(expected, abs=1e-9)
        assert 0 <= found <= 1


def test_information_of_the_gap_itself_of_noise_and_of_a_constant():
    settings, seeds = grid(**WIDE)
    gap, noise = chance(2, len(seeds))
    assert conditional_mutual_information(gap, gap, settings) == pytest.approx(1)
    assert conditional_mutual_information(-gap, gap, settings) == pytest.approx(1)
    assert conditional_mutual_information(noise, gap, settings) < 0.02
    assert conditional_mutual_information(np.ones(len(gap)), gap, settings) == 0
    rounded = np.round(gap, 1)  # tied gaps ask for nothing
    assert conditional_mutual_information(rounded, rounded, settings) == pytest.approx(
        1
    )


def test_a_proxy_of_one_axis_tells_nothing_where_the_axis_is_known():
    settings, seeds = grid(**WIDE)
    gap = settings["width"] + chance(len(seeds))
    proxy = settings["width"] + chance(len(seeds), seed=1)
    assert conditional_mutual_information(proxy, gap, settings, 0) > 0.25
    assert conditional_mutual_information(proxy, gap, settings, 1) < 0.05


def test_refusing_to_choose_gains_nothing():
    """A measure right about one network and silent on the rest."""
    settings, _ = grid(width=[1, 2, 3, 4, 5])
    gap = np.arange(20.0)
    measure = np.where(gap == 19, 1.0, 0.0)
    assert conditional_mutual_information(measure, gap, settings) < 0.1


def test_sets_that_settle_the_gap_are_left_out():
    """One seed and two axes: of the three sets but the empty one, the full one has H = 0."""
    settings = {"width": [1, 1, 2, 2], "depth": [1, 2, 1, 2]}
    gap = [1.0, 2.0, 4.0, 3.0]
    assert conditional_mutual_information(gap, gap, settings, 2) == pytest.approx(1)
    assert math.isnan(conditional_mutual_information(gap, [1.0] * 4, settings))


def test_information_does_not_hang_on_the_order_of_networks():
    settings, seeds = grid(**WIDE)
    measure, gap = np.round(chance(2, len(seeds)), 1)
    order = np.random.default_rng(2).permutation(len(seeds))
    shuffled = {axis: values[order] for axis, values in settings.items()}
    assert conditional_mutual_information(measure, gap, settings) == pytest.approx(
        conditional_mutual_information(measure[order], gap[order], shuffled)
    )


def test_the_noise_oracle_sees_more_with_more_examples():
    settings, seeds = grid(**WIDE)
    gap = chance(len(seeds)) / 5
    few, some, many = (
        cmi_noise_oracle(gap, settings, n, np.random.default_rng(0))
        for n in (30, 1000, 10**8)
    )
    assert 0 <= few < some < many == pytest.approx(1, abs=0.02)


def test_the_noise_oracle_flips_the_coins_of_the_test_error():
    """With a train error, the noise is that of the test error, not of its difference."""
    settings, seeds = grid(**WIDE)
    gap = chance(len(seeds)) / 50
    own, high = (
        cmi_noise_oracle(gap, settings, 2000, np.random.default_rng(0), train)
        for train in (0.0, np.full(len(gap), 0.45))
    )
    assert high < own / 2
    uneven = chance(len(gap), seed=1) / 2
    found = cmi_noise_oracle(gap, settings, 10**9, np.random.default_rng(0), uneven)
    assert found == pytest.approx(1, abs=0.02)  # the train error is taken off again
    same_noise = [
        cmi_noise_oracle(gap, settings, 2000, np.random.default_rng(3), draws=1)
        for _ in range(2)
    ]
    assert same_noise[0] == same_noise[1]
    gap[5] = math.nan
    assert 0 < cmi_noise_oracle(gap, settings, 2000, np.random.default_rng(0)) < 1
    nothing = cmi_noise_oracle(gap * math.nan, settings, 9, np.random.default_rng(0))
    assert math.isnan(nothing)


# robust_sign_error


@for_any_table
@hypothesis.given(tables(), st.booleans(), st.sampled_from([0.5, 1, 2, 3]))
def test_sign_errors_are_those_of_the_pairs(table, pool, least):
    measure, gap, settings, seeds = table
    found = robust_sign_error(measure, gap, settings, seeds, 1000, least, pool)
    kept, candidates = ranking.environments(
        measure, gap, settings, seeds, 1000, least, pool
    )
    assert found["candidates"] == candidates
    assert found["kept"] == len(kept)
    np.testing.assert_allclose(found["errors"], sorted(kept.values()), atol=1e-12)
    if kept:
        assert found["worst"] == found["errors"][-1]
        assert found["mean"] == pytest.approx(sum(kept.values()) / len(kept))
        assert found["worst_environments"]


@pytest.mark.parametrize("pool", [True, False])
def test_sign_error_of_perfect_constant_and_reversed_measures(pool):
    settings, seeds = grid(**WIDE)
    gap = chance(len(seeds))
    for measure, error in ((gap, 0), (np.ones(len(gap)), 0.5), (-gap, 1)):
        found = robust_sign_error(measure, gap, settings, seeds, 10**6, 5, pool)
        assert found["kept"] == found["candidates"] > 0
        assert found["worst"] == found["mean"] == error
        assert set(found["errors"]) == {error}
        assert len(found["worst_environments"]) == found["kept"]


def test_the_worst_environment_is_named():
    """Right about everything but the step from depth 2 to 3, in one of 12 settings each."""
    settings, seeds = grid(width=[8, 16, 32], depth=[1, 2, 3])
    gap = settings["depth"] / 10 + settings["width"] / 100
    measure = gap.copy()
    swap = (settings["width"] == 32) & (settings["depth"] > 1)
    measure[swap] = (0.5 - settings["depth"] / 10 + settings["width"] / 100)[swap]
    found = robust_sign_error(measure, gap, settings, seeds, 10_000)
    assert found["candidates"] == found["kept"] == 6
    assert found["worst"] == pytest.approx(1 / 3, rel=1e-6)  # width 32, of three
    assert found["worst_environments"] == ["depth: 2 to 3"]
    apart = robust_sign_error(measure, gap, settings, seeds, 10_000, pool=False)
    assert apart["worst"] == 1
    assert apart["worst_environments"] == ["depth: 2 to 3 at width 32"]


def test_one_environment():
    settings, seeds = grid(seeds=12, width=[8, 16])
    gap = settings["width"] / 16 + seeds / 100
    measure = np.where(seeds < 3, -1, 1) * settings["width"]
    found = robust_sign_error(measure, gap, settings, seeds, 10_000)
    assert found["kept"] == 1 and found["worst"] == found["mean"] == 0.25
    assert found["worst_environments"] == ["width: 8 to 16"]
    fewer = seeds < 11
    found = robust_sign_error(
        measure[fewer],
        gap[fewer],
        {"width": settings["width"][fewer]},
        seeds[fewer],
        10_000,
    )
    assert found["kept"] == 0 and found["candidates"] == 1
    assert math.isnan(found["worst"])


def test_four_seeds_make_sixteen_pairs_of_two_settings():
    settings, seeds = grid(width=[8, 16])
    gap = settings["width"] / 16
    for pool, kept in ((True, 0), (False, 1)):
        found = robust_sign_error(gap, gap, settings, seeds, 10_000, pool=pool)
        assert found["kept"] == kept and found["candidates"] == 1


def test_gaps_within_the_noise_of_a_test_set_do_not_count():
    """|dG| = 0.02 is certain of 10^6 examples and nothing of 100."""
    settings, seeds = grid(seeds=12, width=[8, 16])
    gap = settings["width"] / 400
    sure = robust_sign_error(-gap, gap, settings, seeds, 10**6)
    unsure = robust_sign_error(-gap, gap, settings, seeds, 100)
    assert sure["worst"] == 1 and sure["kept"] == 1
    assert math.isnan(unsure["worst"]) and unsure["candidates"] == 1


# holm


@hypothesis.given(
    st.lists(
        st.sampled_from([0.0, 0.004, 0.01, 0.0125, 0.02, 0.03, 0.05, 0.5, math.nan]),
        max_size=8,
    )
)
def test_holm_is_the_adjusted_p_value_below_the_level(values):
    p = {f"bound {k}": value for k, value in enumerate(values)}
    found = holm(p, 0.05)
    assert found == ranking.holm(p, 0.05)
    assert list(found) == list(p)


def test_holm_by_hand():
    p = {"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005}
    assert holm(p, 0.05) == {"a": True, "b": False, "c": False, "d": True}
    assert holm({"a": 0.05, "b": math.nan}, 0.05) == {"a": True, "b": False}
    assert holm({}, 0.05) == {}
