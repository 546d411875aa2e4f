"""What describes takes the best estimate of a spectral norm, what certifies the upper end.

Products over six or more layers against numpy's SVD in float64: an enclosure's upper end enters
once a layer, and a convolution's is per cents too large.
"""

import math

import jax
import numpy as np
import pytest

import bounds
from bounds.measures.layers import LayerNorms
from bounds.spec import CERTIFIED, HEURISTIC, UNDER_ASSUMPTION, UP_TO_CONSTANTS
from experiments.lab import network_rows
from nets import kernels
from nets.cnn import CNN
from nets.sample import pad_sample
from tests import oracles
from tests.bounds.cases import Case, by_hand, evaluate, measured, random_case
from tests.oracles import fantastic, spectral_bounds, weight_watcher
from tests.oracles.convolution import matrix_of, zero_padded

GAMMA, DELTA = 0.7, 0.05
CERTIFYING = (
    "bartlett_2017_certified", "bartlett_2017_lemma_a8", "neyshabur_2018_certified",
    "neyshabur_2018_kl_certified",
)  # fmt: skip
DESCRIBING = (
    "task", "margins", "spectra", "layers", "from_init", "kernels", "kernels_from_init",
    "folded",
)  # fmt: skip


def values(found, names):
    stacked = jax.tree.map(lambda leaf: np.asarray(leaf)[None], found)
    value = bounds.evaluate(stacked, names, margin=GAMMA, delta=DELTA)
    return {n: jax.tree.map(lambda leaf: float(leaf[0]), v) for n, v in value.items()}


def spectral_product(found):
    """Of the tables."""
    arrays = {
        f"{name}/{field}": getattr(found[name], field)
        for name, field in (
            ("margins", "sorted"), ("task", "input_norm_max"), ("layers", "spectral"),
            ("layers", "frobenius"),
        )
    }  # fmt: skip
    return network_rows.norms(arrays)["spectral_product"]


def dense(biases, groups):
    """A network of six matrices, trained by nobody, and what is measured of it."""
    case = random_case(7, [24, 24, 24, 24, 24, 24, 3], biases=biases)
    found, missing = measured(case.network(), groups)
    assert not missing
    return case, found


@pytest.mark.slow
@pytest.mark.parametrize("biases", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_products_of_six_matrices_are_the_svd_s(biases):
    case, found = dense(biases, DESCRIBING)
    w, z, m = case.weights, case.initial, case.m
    moved = spectral_bounds.differences(w, z)
    norms, distances = ([oracles.spectral(a) for a in of] for of in (w, moved))
    np.testing.assert_allclose(found["layers"].spectral, norms, rtol=1e-9)
    np.testing.assert_allclose(found["from_init"].spectral, distances, rtol=1e-9)
    folded = [oracles.spectral(a) for a in case.folded[0]]
    np.testing.assert_allclose(found["folded"].spectral, folded, rtol=1e-9)
    assert spectral_product(found) == pytest.approx(math.prod(norms), rel=1e-8)

    b = spectral_bounds.largest_input(case.x)
    error = oracles.margin_error(case.margins, GAMMA)
    h = max(a.shape[1] for a in w[:-1])
    expected = {
        "neyshabur_2018": error
        + oracles.excess_neyshabur_2018(w, moved, b, GAMMA, m, len(w), h),
        "neyshabur_2018_layer_widths": error
        + spectral_bounds.neyshabur_2018_layer_widths(w, z, b, GAMMA, m),
        "bartlett_2017": error + oracles.excess_bartlett_2017(w, moved, b, GAMMA, m),
    }
    jiang = fantastic.measures(w, z, norms, distances, case.margins, m, case.biases)
    expected |= {
        name: jiang[name]
        for name in (
            "log_prod_of_spec", "log_prod_of_spec_over_margin", "log_spec_init_main",
            "log_spec_orig_main", "fro_over_spec", "log_sum_of_spec", "dist_spec_init",
        )
    }  # fmt: skip
    shapes = [weight_watcher.summary(a) for a in w]
    expected |= {
        name: np.mean([one[name] for one in shapes])
        for name in ("stable_rank", "log_spectral_norm")
    }
    given = values(found, tuple(expected))
    for name, value in expected.items():
        assert given[name].value == pytest.approx(value, rel=1e-6), name


@pytest.mark.parametrize("biases", [pytest.param(False, marks=pytest.mark.slow), True])
def test_certified_bounds_of_six_matrices_are_at_least_those_of_the_svd(biases):
    case, found = dense(biases, tuple(bounds.needs(CERTIFYING)))
    w, z, x = case.folded
    data = x, case.margins, DELTA
    expected = {
        "bartlett_2017_certified": spectral_bounds.bartlett_2017_certified(w, z, *data),
        "bartlett_2017_lemma_a8": spectral_bounds.bartlett_2017_lemma_a8(
            w, z, *data, gamma_at_most=case.m
        ),
        "neyshabur_2018_certified": spectral_bounds.neyshabur_2018_certified(w, *data),
        "neyshabur_2018_kl_certified": spectral_bounds.neyshabur_2018_kl_certified(
            w, z, *data
        ),
    }
    given = values(found, CERTIFYING)
    for name, value in expected.items():
        assert value * (1 - 1e-12) <= given[name].value <= value * (1 + 1e-3), name


def convolutional(blocks, biases):
    """Two convolutions a block and a linear layer, and the same network as matrices."""
    model = CNN((12, 10, 3), 4, blocks, 3, biases)
    rng = np.random.default_rng(0)
    params = model.init(jax.random.key(0), np.zeros((1, 360)))["params"]
    # Biases begin as zeros.
    params = jax.tree.map(
        lambda a: (a + 0.2 * rng.standard_normal(a.shape)).astype(np.float32), params
    )
    x, y = rng.standard_normal((30, 360)).astype(np.float32), rng.integers(3, size=30)
    *convolutions, last = kernels.layers(params)
    maps = model.operators()
    weights = [
        matrix_of(zero_padded, layer["kernel"], op.image, op.strides)
        for layer, op in zip(convolutions, maps[:-1], strict=True)
    ]
    positions = maps[-1].positions
    weights.append(
        np.tile(np.asarray(last["kernel"], float) / positions, (positions, 1))
    )
    shifts = None
    if biases:
        shifts = [
            np.tile(np.asarray(layer["bias"], float), w.shape[1] // 4)
            for layer, w in zip(convolutions, weights[:-1], strict=True)
        ] + [np.asarray(last["bias"], float)]
    case = Case(weights, weights, x.astype(float), y, shifts, shifts)
    return bounds.Network(model, params, pad_sample(x, y, 0), params), case


# Of each convolution the enclosures are programs of their own; with biases there are twice as many.
@pytest.mark.parametrize(
    ("blocks", "biases"),
    [
        (1, False),
        pytest.param(3, False, marks=pytest.mark.slow),
        pytest.param(3, True, marks=pytest.mark.slow),
    ],
)
def test_products_of_convolutions_are_the_svd_s(blocks, biases):
    network, case = convolutional(blocks, biases)
    names = ("task", "margins", "inputs", "layers", "folded")
    found, missing = measured(network, names)
    assert not missing
    norms = [oracles.spectral(a) for a in case.weights]
    folded, _, x = case.folded
    np.testing.assert_allclose(found["layers"].spectral, norms, rtol=1e-6)
    expected = [oracles.spectral(a) for a in folded]
    np.testing.assert_allclose(found["folded"].spectral, expected, rtol=1e-6)
    assert spectral_product(found) == pytest.approx(math.prod(norms), rel=1e-5)
    for name in ("layers", "folded"):
        group = found[name]
        true = norms if name == "layers" else expected
        assert np.all(group.spectral_lower <= np.multiply(true, 1 + 1e-12))
        assert np.all(group.spectral_upper >= np.multiply(true, 1 - 1e-12))
        # The upper ends' product, which descriptive numbers must not take.
        assert np.prod(group.spectral_upper) > 1.01 * np.prod(true)
    # The network, not a matrix of it, has these margins.
    margins = [float(v) for v in found["margins"].sorted[: case.m]]
    certified = spectral_bounds.neyshabur_2018_certified(folded, x, margins, DELTA)
    given = values(found, ("neyshabur_2018_certified",))["neyshabur_2018_certified"]
    assert given.value >= certified * (1 - 1e-9)


def larger(found, *fields):
    """The groups with some fields of their `LayerNorms` half as large again."""

    def of(group):
        return group.replace(**{f: 1.5 * getattr(group, f) for f in fields})

    return {n: of(g) if isinstance(g, LayerNorms) else g for n, g in found.items()}


def test_no_certified_value_looks_at_an_estimate_and_nothing_else_at_an_end():
    found = by_hand(random_case(2, [5, 6, 4], biases=True))
    whole = evaluate(found)
    other_estimates = evaluate(larger(found, "spectral"))
    other_ends = evaluate(larger(found, "spectral_lower", "spectral_upper"))
    looked_at = {"spectral": set(), "ends": set()}
    for name, value in whole.items():
        if isinstance(value, str):
            continue
        status = bounds.BOUNDS[name].status
        a, b = other_estimates[name], other_ends[name]
        if status in (CERTIFIED, UNDER_ASSUMPTION):
            np.testing.assert_equal(a.value, value.value, name)
            np.testing.assert_equal(a.excess, value.excess, name)
            if b.value != value.value:
                looked_at["ends"].add(name)
        else:
            assert status in (HEURISTIC, UP_TO_CONSTANTS)
            np.testing.assert_equal(b.value, value.value, name)
            if not np.array_equal(a.value, value.value, equal_nan=True):
                looked_at["spectral"].add(name)
        # Slopes describe, whatever they are of.
        np.testing.assert_equal(b.log_complexity, value.log_complexity, name)
    # Over margins that are not positive measures are infinite, whatever the norms are; the
    # kl bound has stopped growing here.
    assert {
        "bartlett_2017_certified", "bartlett_2017_lemma_a8", "neyshabur_2018_certified",
    } <= looked_at["ends"]  # fmt: skip
    assert {
        "neyshabur_2018", "neyshabur_2018_layer_widths", "bartlett_2017", "neyshabur_2019",
        "log_prod_of_spec", "log_prod_of_spec_fft", "fro_over_spec", "dist_spec_init",
        "stable_rank", "log_spectral_norm", "alpha_weighted",
    } <= looked_at["spectral"]  # fmt: skip


@pytest.mark.slow
def test_what_looked_at_the_first_examples_says_how_many():
    groups = ("task", "margins", "from_init", "jacobians", "hidden_margins", "clusters",
              "mixup", "evidence", "gibbs", "ascent")  # fmt: skip
    found, _ = measured(random_case(2, [4, 6, 3], m=90).network(), groups)
    stacked = jax.tree.map(lambda leaf: np.asarray(leaf)[None], found)
    examples = dict.fromkeys(
        ("hidden_margin", "davies_bouldin", "mixup_error", "valle_perez_2020",
         "sharpness_flatness", "sharpness_mag_flatness"), 90,
    ) | {"arora_2018": 64, "nagarajan_kolter_2019": 64}  # fmt: skip
    said = bounds.evaluate(
        stacked, [*examples, "maurer_2004_kl"], margin=GAMMA, delta=DELTA
    )
    for name, count in examples.items():
        basis = said[name].estimate
        assert basis.examples[0] == count and np.isnan(basis.draws[0]), name
    # The upper limit is paid for: no standard error is left.
    basis = said["maurer_2004_kl"].estimate
    assert basis.draws[0] == found["gibbs"].draws >= 8192
    assert np.isnan(basis.standard_error[0]) and np.isnan(basis.examples[0])
