"""Every family against its float64 oracle, on networks of any shape that hypothesis draws."""

import dataclasses
import inspect
import math
import types

import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import bounds
from bounds.measures.examples import Margins
from bounds.registry import GROUPS
from tests import oracles
from tests.bounds.cases import (
    FACTORS,
    PADDED,
    by_hand,
    cases,
    evaluate,
    for_any_case,
    random_case,
    spread_margins,
    told_apart,
)
from tests.oracles import (
    compression,
    counting,
    fantastic,
    norm_products,
    spectral_bounds,
    two_layer,
    weight_watcher,
)
from tests.oracles.path_norms import gonon_2024, path_norm

GAMMA, DELTA = 0.7, 0.05


def close(found, expected, rel=1e-6):
    """The value, or a number beyond the largest float, or what both call infinite."""
    if expected == math.inf or abs(expected) > 1e300:
        return found.value > 1e30
    return found.value == pytest.approx(expected, rel=rel, abs=1e-9)


def plotted(case, excess):
    return oracles.margin_error(case.margins, GAMMA) + excess


@for_any_case
@hypothesis.given(cases())
def test_counting(case):
    found = evaluate(by_hand(case, jacobians=False))
    error = oracles.margin_error(case.margins, 0.0)
    folded = 0 if case.biases is None else 1
    parameters = [w.size + folded * w.shape[1] for w in case.weights]
    units = [w.shape[1] for w in case.weights]
    for name, v in (
        ("bartlett_1998_vc", counting.vc_dimension_1998(sum(parameters), len(units))),
        ("bartlett_2019_vc", counting.vc_dimension_2019(parameters, units)),
    ):
        expected = counting.vc_bound(error, case.m, v, case.classes, DELTA)
        assert close(found[name], expected), name
        growth = counting.vc_complexity(case.m, v, case.classes)
        assert found[name].log_complexity == pytest.approx(math.log(growth)), name
    expected = counting.occam_float32(error, case.m, sum(parameters), DELTA)
    assert close(found["occam_float32"], expected, 1e-12)
    growth = math.sqrt(counting.occam_nats(sum(parameters), DELTA) / (2 * case.m))
    assert found["occam_float32"].log_complexity == pytest.approx(math.log(growth))
    expected = counting.clopper_pearson_upper(case.m // 7, case.m, DELTA)
    assert close(found["holdout_cp"], expected, 1e-9)
    assert close(found["train_error"], error)


@for_any_case
@hypothesis.given(cases(biases=True))
def test_norm_products_as_plotted_leave_biases_out(case):
    """Of all of it: norms, inputs and their number; paths take them in."""
    found = evaluate(by_hand(case, jacobians=False))
    w, m, (x, d) = case.weights, case.m, (case.x, case.x.shape[1])
    folded, _, folded_x = case.folded
    expected = {
        "golowich_2018_l1": norm_products.golowich_2018_l1(w, x, GAMMA, m),
        "golowich_2018_l1_path": norm_products.golowich_2018_l1_path(
            folded, folded_x, GAMMA, m
        ),
        "gonon_2024": gonon_2024(
            path_norm(folded, 1),
            len(w),
            np.max(np.abs(folded_x)),
            GAMMA,
            m,
            d,
            case.classes,
        ),
        "l3_15_product": norm_products.l3_15_product(w, GAMMA, d, m),
        "schatten_15_product": norm_products.schatten_15_product(w, GAMMA, d, m),
        "trace_product": norm_products.trace_product(w, GAMMA, d, m),
    }
    for name, excess in expected.items():
        assert close(found[name], plotted(case, excess)), name


@for_any_case
@hypothesis.given(cases(biases=False))
def test_norm_products_as_plotted(case):
    found = evaluate(told_apart(by_hand(case, jacobians=False)))
    w, m, d = case.weights, case.m, case.x.shape[1]
    b = spectral_bounds.largest_input(case.x)
    expected = {
        "golowich_2018_frobenius": norm_products.golowich_2018_frobenius(
            w, b, GAMMA, m
        ),
        "golowich_2018_l1": norm_products.golowich_2018_l1(w, case.x, GAMMA, m),
        "golowich_2018_l1_path": norm_products.golowich_2018_l1_path(
            w, case.x, GAMMA, m
        ),
        "neyshabur_2015_frobenius": norm_products.neyshabur_2015_frobenius(
            w, b, GAMMA, m
        ),
        "l3_15_product": norm_products.l3_15_product(w, GAMMA, d, m),
        "schatten_15_product": norm_products.schatten_15_product(w, GAMMA, d, m),
        "trace_product": norm_products.trace_product(w, GAMMA, d, m),
        "gonon_2024": gonon_2024(
            path_norm(w, 1), len(w), np.max(np.abs(case.x)), GAMMA, m, d, case.classes
        ),
    }
    for name, excess in expected.items():
        assert close(found[name], plotted(case, excess)), name
        assert found[name].log_complexity == pytest.approx(math.log(excess), abs=1e-6)
    for name, p in (("l1", 1), ("l15", 1.5), ("l2", 2)):
        expected = path_norm(w, p) / GAMMA
        assert close(found[f"neyshabur_2015_path_{name}"], expected)


@for_any_case
@hypothesis.given(cases())
def test_norm_products_certified(case):
    found = evaluate(by_hand(case, jacobians=False))
    w, _, x = case.folded
    for kind, name in (("l1", "l1"), ("path", "l1_path"), ("frobenius", "frobenius")):
        c, a = oracles.peeling_constants(w, x, kind)
        expected = oracles.peeling_bound(c, a, case.margins, DELTA)
        assert close(found[f"golowich_2018_{name}_certified"], expected)
        if kind == "path":  # of a chain the bound for graphs is the same
            assert close(found["gonon_2024_certified"], expected)
    c, a = norm_products.neyshabur_2015_frobenius_constants(w, x)
    expected = oracles.peeling_bound(c, a, case.margins, DELTA)
    assert close(found["neyshabur_2015_frobenius_certified"], expected)


@for_any_case
@hypothesis.given(cases())
def test_spectral_as_plotted(case):
    found = evaluate(told_apart(by_hand(case, jacobians=False)))
    w, z, m = case.weights, case.initial, case.m
    b = spectral_bounds.largest_input(case.x)
    for name in ("bartlett_2017_with_logs", "neyshabur_2018_layer_widths"):
        excess = getattr(spectral_bounds, name)(w, z, b, GAMMA, m)
        if excess > 0:  # all dimensions 1: ln 1 = 0
            assert close(found[name], plotted(case, excess)), name
            log_excess = pytest.approx(math.log(excess), abs=1e-6)
            assert found[name].log_complexity == log_excess, name


def certified_by_loops(case, margins):
    """name -> value."""
    w, z, x = case.folded
    data = x, margins, DELTA
    expected = {
        "bartlett_2017_certified": spectral_bounds.bartlett_2017_certified(w, z, *data),
        "bartlett_2017_lemma_a8": spectral_bounds.bartlett_2017_lemma_a8(
            w, z, *data, gamma_at_most=len(margins)
        ),
        "neyshabur_2018_certified": spectral_bounds.neyshabur_2018_certified(w, *data),
        "neyshabur_2018_kl_certified": spectral_bounds.neyshabur_2018_kl_certified(
            w, z, *data
        ),
    }
    if len(w) == 2:
        expected["neyshabur_2019_constants"] = two_layer.neyshabur_2019_constants(
            w, z, *data, case.classes
        )
    return expected


def growth_by_loops(case, margins):
    """name -> what its `log_complexity` is the logarithm of."""
    w, z, x = case.folded
    expected = {
        "bartlett_2017_certified": spectral_bounds.bartlett_2017_growth(
            w, z, x, margins
        ),
        "bartlett_2017_lemma_a8": spectral_bounds.lemma_a8_growth(w, z, x, margins),
        "neyshabur_2018_certified": spectral_bounds.neyshabur_2018_growth(
            w, x, margins
        ),
        "neyshabur_2018_kl_certified": spectral_bounds.neyshabur_2018_kl_growth(
            w, z, x, margins
        ),
    }
    if len(w) == 2:
        expected["neyshabur_2019_constants"] = two_layer.neyshabur_2019_growth(
            w, z, x, margins, case.classes
        )
    return expected


def assert_certified_as_by_loops(found, case, margins):
    for name, value in certified_by_loops(case, margins).items():
        assert close(found[name], value), name
    if oracles.median_margin(margins) > 0:
        for name, value in growth_by_loops(case, margins).items():
            close_to = pytest.approx(math.log(value), abs=1e-6)
            assert found[name].log_complexity == close_to, name


@for_any_case
@hypothesis.given(cases())
def test_certified(case):
    found = evaluate(by_hand(case, jacobians=False))
    assert_certified_as_by_loops(found, case, case.margins)


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_certified_below_1(depth):
    """Margins far beyond what the norms allow, each of them a hundred times: nothing saturates."""
    case = random_case(depth, [3, 4, 2, 3][-depth - 1 :], 40, biases=depth != 2)
    groups, margins = by_hand(case, jacobians=False), spread_margins(50)
    many = np.repeat(margins, 100).tolist()
    groups["task"] = groups["task"].replace(size=np.int32(len(many)))
    groups["margins"] = Margins(
        np.pad(margins, (0, PADDED - 50), constant_values=np.inf), np.int32(50)
    )
    found = evaluate(groups)
    assert_certified_as_by_loops(found, case, many)
    for name in certified_by_loops(case, many):
        assert 0 < found[name].empirical < found[name].value < 1, name


@pytest.mark.parametrize("widths", [(5, 3), (4, 6, 5, 3)])
def test_two_layers_are_not_one_or_three(widths):
    found = evaluate(by_hand(random_case(0, widths), jacobians=False))
    assert "2 weight matrices" in found["neyshabur_2019_constants"]


def assert_perturbation(case):
    groups = by_hand(case)
    found = evaluate(groups)
    moved = zip(case.weights, case.initial, strict=True)
    distance = math.sqrt(sum(oracles.frobenius(w - z) ** 2 for w, z in moved))
    noise = float(groups["jacobians"].noise_level)
    expected = distance / (noise * math.sqrt(2 * case.m)) if noise > 0 else math.inf
    assert close(found["nagarajan_kolter_2019"], expected)
    if case.biases is not None:
        assert "without biases" in found["arora_2018"]
        return
    excess = compression.arora_2018(case.weights, case.x, GAMMA, case.m)
    assert close(found["arora_2018"], plotted(case, excess))


def test_perturbation_of_one_network():
    case = random_case(3, (4, 6, 3))
    assert math.isfinite(compression.arora_2018(case.weights, case.x, GAMMA, case.m))
    assert_perturbation(dataclasses.replace(case, y=np.argmax(case.logits, axis=1)))


@pytest.mark.slow
@for_any_case
@hypothesis.given(cases())
def test_perturbation(case):
    assert_perturbation(case)


@for_any_case
@hypothesis.given(cases())
def test_fantastic_measures(case):
    found = evaluate(told_apart(by_hand(case, jacobians=False)))
    moved = [w - z for w, z in zip(case.weights, case.initial, strict=True)]

    def measures(of_weights=1.0, of_moved=1.0):
        w, d = [of_weights * a for a in case.weights], [of_moved * a for a in moved]
        initial = [a - b for a, b in zip(w, d, strict=True)]
        norms = [[oracles.spectral(a) for a in some] for some in (w, d)]
        return fantastic.measures(w, initial, *norms, case.margins, case.m, case.biases)

    # Paths are in a group of their own.
    paths = {name: v for name, v in measures().items() if name.startswith("path_norm")}
    kernels = FACTORS["kernels"], FACTORS["kernels_from_init"]
    circular = FACTORS["circular"], FACTORS["circular_from_init"]
    expected, circular = measures(*kernels) | paths, measures(*circular)
    assert (len(expected), len(paths)) == (20, 2)
    for name, value in expected.items():
        assert close(found[name], value), name
        if f"{name}_fft" in bounds.BOUNDS:
            assert close(found[f"{name}_fft"], circular[name]), f"{name}_fft"
    assert sum(f"{name}_fft" in bounds.BOUNDS for name in expected) == 8
    expected = fantastic.cross_entropy(case.logits, case.y)
    assert close(found["cross_entropy"], expected)
    assert close(found["neg_output_entropy"], fantastic.neg_output_entropy(case.logits))


def test_shapes_of_spectra():
    for seed, widths in enumerate([(9, 7, 5), (20, 12, 8, 4), (30, 6)]):
        case = random_case(seed, widths)
        found = evaluate(by_hand(case, jacobians=False))
        each = [weight_watcher.summary(w) for w in case.weights]
        for name in each[0]:
            known = [one[name] for one in each if not math.isnan(one[name])]
            assert known and close(found[name], sum(known) / len(known)), name


SPECTRAL = ("alpha", "alpha_weighted", "log_alpha_norm")
ODD = {
    "orthogonal": np.linalg.qr(np.random.default_rng(0).standard_normal((12, 12)))[0],
    "rank one": np.outer(np.arange(1.0, 13), np.ones(12)),
    "zero": np.zeros((12, 12)),
    "few eigenvalues": np.random.default_rng(0).standard_normal((12, 4)),
}


@pytest.mark.parametrize("kind", ODD)
def test_spectra_that_follow_no_law_have_no_exponent(kind):
    """Once 6.8e6 of an orthogonal matrix, 2.2e-308 of a zero one."""
    weights = [
        ODD[kind].astype(np.float32),
        np.ones((ODD[kind].shape[1], 2), np.float32),
    ]
    net = bounds.from_arrays(weights, np.ones((20, 12)), np.zeros(20, int))
    for name, value in bounds.values(net, SPECTRAL).items():
        assert "a power law" in value, name
    tiny = [weights[0] * np.float32(1e-30), weights[1]]
    net = bounds.from_arrays(tiny, np.ones((20, 12)), np.zeros(20, int))
    for name, value in bounds.values(net, SPECTRAL).items():
        assert "a power law" in value, name


def test_the_size_of_a_matrix_changes_no_exponent():
    w = np.random.default_rng(1).standard_normal((30, 20)).astype(np.float32)
    alphas = []
    for scale in (1.0, 1e-15, 1e15):
        net = bounds.from_arrays(
            [w * np.float32(scale), np.ones((20, 2), np.float32)], np.ones((20, 30)),
            np.zeros(20, int),
        )  # fmt: skip
        alphas.append(bounds.values(net, ["alpha"])["alpha"].value)
    assert alphas == pytest.approx([weight_watcher.power_law(
        weight_watcher.eigenvalues(w))[0]] * 3, rel=1e-4)  # fmt: skip


def test_nothing_is_shown_as_nothing():
    """0, and the logarithm of 0: once 2.2e-308."""
    zero = [np.zeros((6, 8), np.float32), np.zeros((8, 3), np.float32)]
    net = bounds.from_arrays(zero, np.ones((20, 6)), np.zeros(20, int), init=zero)
    names = ("path_norm", "param_norm", "fro_dist", "l2", "log_prod_of_fro", "log_norm")
    found = bounds.values(net, names, init_is_independent=True)
    for name in names[:4]:
        assert found[name].value == 0 and found[name].log_complexity == -math.inf, name
    for name in names[4:]:
        assert found[name].value == -math.inf, name


AS_THEY_ARE = {
    "hessian_top_eigenvalue": "top_eigenvalue", "hessian_trace": "trace",
    "cross_entropy": "cross_entropy", "mixup_error": "error",
    "davies_bouldin": "davies_bouldin", "gradient_noise_final": "noise",
    "gradient_noise_epoch1": "noise", "steps_to_01": "steps_to_01", "sotl": "losses_sum",
    "average_sharpness": "average", "worst_sharpness": "worst",
    "adaptive_average_sharpness": "adaptive_average",
    "adaptive_worst_sharpness": "adaptive_worst",
}  # fmt: skip


@pytest.mark.parametrize("name", AS_THEY_ARE)
def test_what_is_reported_as_it_is(name):
    """Infinity was the largest float, 1.8e308, and what is negative was 0, in some of them."""
    (group,) = bounds.BOUNDS[name].groups
    kind = GROUPS[group]
    fields = {f.name: np.float64(1.0) for f in dataclasses.fields(kind)}
    for number in (math.inf, 1e300, 0.25, 0.0, -0.5):
        with jax.enable_x64(True):
            one = kind(**fields | {AS_THEY_ARE[name]: np.float64(number)})
            found = jax.device_get(bounds.BOUNDS[name].fn(one))
        assert found.value == found.excess == number and found.empirical == 0
        assert math.isfinite(found.log_complexity) == (number > 0)


@pytest.mark.parametrize(
    ("medians", "value"),
    [
        ([0.5, 1.5], -1.0),
        ([2.06e5, 0.0], -1.03e5),
        ([0.5, 1e30], -math.inf),
        ([-1e30, 2.0], math.inf),
    ],
)
def test_an_infinite_hidden_margin_is_shown_as_infinite(medians, value):
    """It is measured as 1e30, so that fences between quartiles stay numbers."""
    five = np.zeros((2, 5))
    five[:, 2] = medians
    one = GROUPS["hidden_margins"](five, np.float64(20))
    found = jax.device_get(bounds.BOUNDS["hidden_margin"].fn(one))
    assert found.value == found.excess == value


def test_a_network_that_overflows_has_infinite_measures():
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((20, 4)).astype(np.float32), np.arange(20) % 2
    wide = [
        np.float32(1e25) * rng.standard_normal(s).astype("f") for s in ((4, 3), (3, 2))
    ]
    found = bounds.values(
        bounds.from_arrays(wide, x, y), ["cross_entropy", "hessian_trace"]
    )
    for name, value in found.items():
        assert value == "its value is not a number" or value.value == math.inf, name


@for_any_case
@hypothesis.given(cases())
def test_every_logarithm_is_finite_and_every_value_a_number(case):
    for name, value in evaluate(by_hand(case)).items():
        if isinstance(value, str):
            continue
        if name in SPECTRAL and math.isnan(value.value):
            continue  # no law to be fitted
        is_zero = value.value in (0, -math.inf)
        assert math.isfinite(value.log_complexity) or is_zero, name
        assert not math.isnan(value.value), name


def test_other_names_are_no_names():
    also = {name for spec in bounds.BOUNDS.values() for name in spec.also}
    assert {"pac_spectral_init", "path_l1", "l1_inf"} <= also
    assert not also & set(bounds.BOUNDS)


OF_MEANS = {
    "log_norm", "log_spectral_norm", "log_sum_of_fro", "log_sum_of_fro_over_margin",
    "log_sum_of_spec", "log_sum_of_spec_over_margin",
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(OF_MEANS))
@pytest.mark.parametrize("depth", [2, 86, 87, 100, 400, 10_000])
def test_a_mean_over_layers_of_which_one_is_0(name, depth):
    """Once, of more than 87 layers, a number of about minus 10000; of 10000 layers, of -87."""
    function = bounds.BOUNDS[name].fn
    asked = inspect.signature(function).parameters
    groups = {
        "task": types.SimpleNamespace(size=jnp.float32(50)),
        "margins": types.SimpleNamespace(sorted=jnp.ones(50), size=jnp.int32(50)),
    }

    def value(last):
        norms = jnp.append(jnp.full(depth - 1, 3.0), last)
        groups["kernels"] = types.SimpleNamespace(frobenius=norms, spectral=norms)
        return function(**{n: g for n, g in groups.items() if n in asked})

    for found in (value(0.0).value, value(0.0).log_complexity):
        assert found == -math.inf
    assert math.isfinite(value(3.0).value)
    assert value(1e-30).value > -100
