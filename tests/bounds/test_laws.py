"""What papers promise of their bounds beyond the formula: symmetries and directions."""

import dataclasses
import math
import types

import hypothesis
import jax
import numpy as np
import pytest

import bounds
from bounds.families import counting, sample_compression
from bounds.measures.examples import Margins
from bounds.measures.picks import Picks
from bounds.spec import CERTIFIED, UNDER_ASSUMPTION, UP_TO_CONSTANTS
from tests.bounds.cases import (
    PADDED,
    by_hand,
    cases,
    evaluate,
    for_any_case,
    random_case,
)

BOUNDS = [n for n, s in bounds.BOUNDS.items() if s.status == UP_TO_CONSTANTS]
# A margin is in their logarithm.
LOGARITHMIC = ("long_2020", "graf_2022_parameters")
CERTIFICATES = [
    n for n, s in bounds.BOUNDS.items() if s.status in (CERTIFIED, UNDER_ASSUMPTION)
]


def available(found):
    return {n: v for n, v in found.items() if not isinstance(v, str)}


@for_any_case
@hypothesis.given(cases())
def test_monotone_in_margin_and_delta(case):
    groups = by_hand(case)
    found = available(evaluate(groups))
    wide, careful = evaluate(groups, margin=1.4), evaluate(groups, delta=1e-4)
    for name in found:
        if name in LOGARITHMIC:
            assert wide[name].excess <= found[name].excess * (1 + 1e-9), name
        elif name in BOUNDS:
            half = found[name].log_complexity - np.log(2)
            assert wide[name].log_complexity == pytest.approx(half, abs=1e-6), name
        if name in CERTIFICATES:
            assert careful[name].value >= found[name].value - 1e-12, name


def twice(groups):
    """The groups of the same network and the same examples, each there twice."""
    margins, m = groups["margins"], int(groups["margins"].size)
    both = np.full(PADDED, np.inf)
    both[: 2 * m] = np.sort(np.repeat(margins.sorted[:m], 2))
    inputs = groups["inputs"]
    root = np.sqrt(2)
    return groups | {
        "margins": margins.replace(sorted=both, size=np.int32(2 * m)),
        "task": groups["task"].replace(size=np.int32(2 * m)),
        "inputs": inputs.replace(
            frobenius=root * inputs.frobenius,
            largest_feature=root * inputs.largest_feature,
        ),
        "first_layer": groups["first_layer"].replace(
            frobenius=root * groups["first_layer"].frobenius
        ),
        "holdout": groups["holdout"].replace(
            wrong=2 * groups["holdout"].wrong, size=2 * groups["holdout"].size
        ),
    }


@pytest.mark.parametrize("seed", range(4))
def test_more_of_the_same_data_never_hurts(seed):
    """But for Bartlett's logarithms of m, which may outgrow the root at small m."""
    case = random_case(seed, [[4, 3], [5, 6, 3], [3, 4, 2], [3, 5, 4, 3]][seed], m=32)
    groups = by_hand(case)
    few, many = available(evaluate(groups)), evaluate(twice(groups))
    for name in few:
        if name in (*BOUNDS, *CERTIFICATES) and name not in (
            "bartlett_2017_with_logs", "bartlett_2017_lemma_a8"
        ):  # fmt: skip
            assert many[name].value <= few[name].value * (1 + 1e-9), name
            assert many[name].log_complexity <= few[name].log_complexity + 1e-9, name


def rescaled(case, factors, by_layer):
    """The same function: hidden units times factors, and divided by them in the next layer."""
    weights = [w.copy() for w in case.weights]
    for index, factor in enumerate(factors):
        c = np.full(weights[index].shape[1], factor) if by_layer else factor
        weights[index] = weights[index] * c[None]
        weights[index + 1] = weights[index + 1] / c[:, None]
    return dataclasses.replace(case, weights=weights)


# Names of what does not see how a function is spread over its layers, or over its units.
SCALE_FREE = (
    "golowich_2018_frobenius", "golowich_2018_l1", "neyshabur_2018_from_origin",
    "neyshabur_2015_frobenius", "l3_15_product", "schatten_15_product", "trace_product",
    "neyshabur_2018_certified", "log_prod_of_spec", "log_prod_of_fro", "log_sum_of_fro",
    "fro_over_spec", "log_spec_orig_main", "stable_rank", "alpha", "arora_2018",
)  # fmt: skip
UNIT_FREE = (
    "golowich_2018_l1_path", "golowich_2018_l1_path_certified", "gonon_2024", "path_norm",
    "gonon_2024_certified",
    "neyshabur_2015_path_l1", "neyshabur_2015_path_l15", "neyshabur_2015_path_l2",
    "bartlett_1998_vc", "bartlett_2019_vc", "occam_float32", "train_error", "params",
    "inverse_margin", "cross_entropy",
)  # fmt: skip


def test_what_does_not_see_the_scale_of_layers_or_units():
    case = random_case(0, [5, 6, 4, 3])
    before = evaluate(by_hand(case))
    by_layer = evaluate(by_hand(rescaled(case, [4.0, 0.5], True)))
    by_unit = rescaled(case, [2.0 ** np.arange(-3, 3), 2.0 ** np.arange(4)], False)
    by_unit = evaluate(by_hand(by_unit))
    for name in (*SCALE_FREE, *UNIT_FREE):
        close = pytest.approx(before[name].log_complexity, abs=1e-6)
        assert by_layer[name].log_complexity == close, name
    for name in UNIT_FREE:
        close = pytest.approx(before[name].log_complexity, abs=1e-6)
        assert by_unit[name].log_complexity == close, name
    assert by_unit["golowich_2018_l1"].value > before["golowich_2018_l1"].value


def test_the_order_of_hidden_units_means_nothing():
    case = random_case(1, [5, 6, 4, 3], biases=True)
    rng = np.random.default_rng(0)
    orders = [rng.permutation(6), rng.permutation(4), np.arange(3)]

    def permuted(weights, biases):
        before, found, shifts = np.arange(5), [], []
        for w, b, order in zip(weights, biases, orders, strict=True):
            found.append(w[before][:, order])
            shifts.append(b[order])
            before = order
        return found, shifts

    w, b = permuted(case.weights, case.biases)
    z, c = permuted(case.initial, case.initial_biases)
    other = dataclasses.replace(case, weights=w, initial=z, biases=b, initial_biases=c)
    before, after = evaluate(by_hand(case)), evaluate(by_hand(other))
    for name, value in before.items():
        if not isinstance(value, str):
            # What an estimate does not rest on is not a number, before and after.
            expected = jax.tree.map(
                lambda v: pytest.approx(v, rel=1e-6, nan_ok=True), value
            )
            assert after[name] == expected, name


def test_the_path_norm_is_below_the_product_and_certificates_keep_that_order():
    for seed in range(3):
        found = evaluate(by_hand(random_case(seed, [4, 5, 3])))
        path, product = (
            found[f"golowich_2018_{n}_certified"].log_complexity
            for n in ("l1_path", "l1")
        )
        assert path <= product + 1e-9


def test_what_kl_forms_of_the_trained_network_grow_by_is_what_pinsker_adds():
    """kl^-1(r, c) <= r + sqrt(c/2), and as near as that where r is 1/2 and c is small."""
    one_weight = types.SimpleNamespace(parameters=np.array([1]))
    for errors, m in ((1, 9), (500, 1000), (50_000, 100_000), (0, 10**6)):
        signs = np.where(np.arange(m) < errors, -1.0, 1.0)
        with jax.enable_x64(True):
            task = types.SimpleNamespace(size=np.float64(m))
            margins = Margins(sorted=signs, size=np.int32(m))
            found = counting.occam_float32(task, margins, one_weight, delta=0.05)
            numbers = [np.float64(n) for n in (0, errors, m, 0)]
            delta = np.float64(0.05)
            picked = sample_compression.littlestone_1986(Picks(*numbers), delta=delta)
        found, picked = jax.device_get((found, picked))
        for one in (found, picked):
            excess = math.exp(one.log_complexity)
            assert one.value <= one.empirical + excess + 1e-12
            if (
                2 * errors == m and m > 10**4
            ):  # the exact limit of a binomial is below Chernoff's
                nearness = 0.01 if one is not picked else 0.3
                assert one.excess == pytest.approx(excess, rel=nearness)


def test_bounds_of_the_0_1_loss_are_those_that_no_margin_moves():
    """Margins three times as large, at the same weights: nothing is known of them but their signs."""
    groups = by_hand(random_case(0, (4, 8, 3)))
    found = available(evaluate(groups))
    margins = groups["margins"].replace(sorted=3 * groups["margins"].sorted)
    moved = available(evaluate({**groups, "margins": margins}))
    seen = set()
    for name, one in found.items():
        spec = bounds.BOUNDS[name]
        if (
            spec.two_sided
            and spec.speaks_of == "trained"
            and "margin" not in spec.keywords
        ):
            same = one.log_complexity == moved[name].log_complexity
            assert bool(np.all(same)) == spec.zero_one, name
            seen.add(spec.zero_one)
        if spec.zero_one:
            assert "margin" not in spec.keywords and np.all(
                one.value == moved[name].value
            )
    assert seen == {True, False}
