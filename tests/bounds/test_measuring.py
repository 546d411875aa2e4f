import dataclasses

import jax
import numpy as np
import pytest

import bounds
from bounds.measures.layers import NORMS
from bounds.numerics import linear_maps
from bounds.registry import GROUPS
from nets import kernels
from nets.cnn import CNN
from nets.sample import pad_sample
from tests import oracles
from tests.bounds.cases import (
    Case,
    by_hand,
    matrices,
    measured,
    network,
    random_case,
)
from tests.oracles.convolution import circular, matrix_of, zero_padded
from tests.oracles.path_norms import path_norm

NORMS_OF_GROUPS = ("layers", "init", "from_origin", "from_init", "from_other")
# Measured together: one program serves every test of a depth.
WITH_MARGINS = (*NORMS_OF_GROUPS, "margins", "task")


@pytest.mark.parametrize("depth", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_norms_of_every_group(depth):
    net = network(depth)
    found, missing = measured(net, WITH_MARGINS)
    assert not missing
    w, z, o = (matrices(p) for p in (net.params, net.init, net.other))
    groups = {
        "layers": w,
        "init": z,
        "from_origin": w,
        "from_init": [a - b for a, b in zip(w, z, strict=True)],
        "from_other": [a - b for a, b in zip(w, o, strict=True)],
    }
    for name, expected in groups.items():
        norms = found[name]
        assert norms.frobenius.dtype == np.float64
        for index, a in enumerate(expected):
            assert norms.spectral_lower[index] <= oracles.spectral(a)
            assert oracles.spectral(a) <= norms.spectral_upper[index]
            assert norms.frobenius[index] == pytest.approx(
                oracles.frobenius(a), rel=1e-12
            )
            assert norms.norm_21[index] == pytest.approx(oracles.norm_21(a), rel=1e-12)
            transposed = oracles.norm_21(a.T)
            assert norms.norm_21_transposed[index] == pytest.approx(
                transposed, rel=1e-12
            )
            assert (norms.fan_in[index], norms.fan_out[index]) == a.shape


@pytest.mark.parametrize("biases", [False, True])
def test_margins_and_task(biases):
    net = network(biases=biases)
    found, _ = measured(net, ["task", "margins"])
    m = int(net.sample.size)
    inputs, labels = (
        np.asarray(net.sample.inputs)[:m],
        np.asarray(net.sample.labels)[:m],
    )
    layers = kernels.layers(net.params)
    weights = [np.asarray(layer["kernel"]) for layer in layers]
    shifts = [
        np.asarray(layer.get("bias", np.zeros(w.shape[1])))
        for layer, w in zip(layers, weights, strict=True)
    ]
    expected = sorted(
        oracles.margin(oracles.forward(weights, shifts, x), y)
        for x, y in zip(inputs, labels, strict=True)
    )
    margins = found["margins"]
    np.testing.assert_allclose(margins.sorted[:m], expected, atol=3e-6)
    assert np.isinf(margins.sorted[m:]).all() and margins.size == m
    for gamma in (-0.3, 0.0, 0.4):
        assert margins.error(gamma) == pytest.approx(
            oracles.margin_error(expected, gamma)
        )
    norms = [np.linalg.norm(x.astype(float)) for x in inputs]
    assert found["task"].input_norm_max == pytest.approx(max(norms), rel=1e-12)
    assert (found["task"].size, found["task"].classes) == (m, 3)


def test_padding_is_not_looked_at():
    net = network()
    spoiled = net.replace(
        sample=net.sample.replace(
            inputs=net.sample.inputs.at[int(net.sample.size) :].set(1e6)
        )
    )
    clean, _ = measured(net, ["task", "margins"])
    found, _ = measured(spoiled, ["task", "margins"])
    jax.tree.map(np.testing.assert_array_equal, found, clean)


def test_not_a_number_is_no_margin():
    net = network()
    params = jax.tree.map(lambda w: w * np.nan, net.params)
    found, _ = measured(net.replace(params=params), ["margins"])
    assert found["margins"].error(-1e9) == 1


def test_what_is_not_given_is_named():
    net, missing = network(init=False, other=False), {}
    net = net.replace(holdout=None, history=None, first_epoch=None, loss=None)

    def traced(net):
        found, reasons = bounds.measure(net, tuple(GROUPS))
        missing.update(reasons)
        return found

    found = jax.eval_shape(traced, net)
    from_init = {name for name, (_, *of) in NORMS.items() if "init" in of}
    from_init |= {"first_layer", "gibbs", "gibbs_layers", "magnitude_ratios", "code"}
    from_init |= {"code_projected", "ascent_sums", "independence"}
    of_its_kind = {
        "gibbs_posterior",
        "code_subspace",
        "code_quantised",
        "single_draw",
        "picks",
        "surrogate",
        "certified_surrogate",
    }
    of_its_kind |= {"coded_disagreement", "coded_disagreement_from_origin"}
    not_given = {"from_other", "holdout", "speed", "gradients_first_epoch", "gradients"}
    assert set(missing) == from_init | of_its_kind | not_given
    assert all("initial" in missing[name] for name in from_init)
    assert "second draw" in missing["from_other"] and "held-out" in missing["holdout"]
    assert "--loss" in missing["gradients"]
    assert set(found) == set(GROUPS) - set(missing)


def assert_as_by_hand(found, expected):
    """Every group; spectral norms within their enclosures."""
    for name, group in found.items():
        for field in group.__dataclass_fields__:
            ours, theirs = getattr(group, field), getattr(expected[name], field)
            if field == "spectral_lower":
                assert np.all(ours <= theirs * (1 + 1e-12)), name
            elif field == "spectral_upper":
                assert np.all(ours >= theirs * (1 - 1e-12)), name
            else:
                theirs = theirs[: len(ours)] if np.ndim(ours) else theirs
                ours = ours[: len(theirs)] if np.ndim(ours) else ours
                np.testing.assert_allclose(
                    ours, theirs, rtol=2e-5, atol=1e-5, err_msg=f"{name}/{field}"
                )


NETWORKS = {
    "biases": random_case(2, [5, 5, 5, 3], biases=True),
    "two classes, large weights": random_case(3, [4, 4, 2], biases=True, scale=1e10),
    "deep and narrow": random_case(4, [2, 2, 2, 2, 4]),
}


@pytest.mark.parametrize(
    "which",
    [
        pytest.param(n, marks=() if n == "biases" else pytest.mark.slow)
        for n in NETWORKS
    ],
)
def test_every_group_is_as_by_hand(which):
    case = NETWORKS[which]
    expected = by_hand(case)
    found, missing = measured(case.network(), tuple(expected))
    assert set(missing) == {"from_other", "holdout"}
    assert_as_by_hand(found, expected)


@pytest.mark.parametrize("margin", [1.0, 15.0, 18.0, 40.0])
@pytest.mark.parametrize("classes", [2, 10])
def test_entropies_of_probabilities_near_1_and_0_keep_their_digits(margin, classes):
    """Of one that is right and one that is wrong; in float32 ln p was 0 from a margin of 17 on."""
    logits = np.zeros((2, classes))
    logits[:, 1] = margin
    net = bounds.from_arrays(
        [logits], np.eye(2, dtype=np.float32), np.array([1, 1]), biases=[None]
    )
    wrong = net.replace(
        sample=pad_sample(np.eye(2, dtype=np.float32), np.array([1, 0]), 0)
    )
    rest = np.log1p((classes - 1) * np.exp(-np.float64(margin)))  # -ln p of the largest
    p = np.exp(-np.float64(margin) - rest)
    negative_entropy = -np.exp(-rest) * rest - (classes - 1) * p * (margin + rest)
    for one, expected in ((net, rest), (wrong, rest + margin / 2)):
        found = measured(one, ["outputs"])[0]["outputs"]
        assert found.cross_entropy == pytest.approx(expected, rel=2e-6, abs=0)
        assert found.negative_entropy == pytest.approx(
            negative_entropy, rel=2e-6, abs=0
        )


def test_an_example_that_nothing_arrives_of_has_no_cushion():
    """A blank picture: mu ||W|| ||a|| <= ||W a|| holds of any mu where a = 0."""
    case = random_case(5, [4, 6, 3], m=10)
    blank = dataclasses.replace(
        case,
        x=np.concatenate([0 * case.x[:1], case.x]),
        y=np.append(case.y[:1], case.y),
    )
    ours, other = (
        measured(one.network(), ["jacobians"])[0]["jacobians"] for one in (case, blank)
    )
    assert np.all(ours.layer_cushion > 0) and np.all(ours.interlayer_cushion > 0)
    np.testing.assert_allclose(other.layer_cushion, ours.layer_cushion, rtol=1e-6)
    np.testing.assert_allclose(
        other.interlayer_cushion, ours.interlayer_cushion, rtol=1e-6
    )


def test_jacobians_of_wide_layers_are_estimates():
    case = random_case(5, [2, 80, 3])
    ours = measured(case.network(), ["jacobians"])[0]["jacobians"]
    exact = by_hand(case)["jacobians"]
    np.testing.assert_allclose(ours.layer_cushion, exact.layer_cushion, rtol=1e-5)
    np.testing.assert_allclose(
        ours.interlayer_cushion, exact.interlayer_cushion, rtol=0.4
    )


def convolutional_case(biases):
    """A small CNN, and the same network as a `Case` of explicit matrices."""
    model = CNN((5, 4, 2), 3, 1, 3, biases)
    params = [
        model.init(jax.random.key(i), np.zeros((1, 40)))["params"] for i in (0, 1)
    ]
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((30, 40)).astype(np.float32), rng.integers(3, size=30)
    network = bounds.Network(
        model, params[0], pad_sample(x, y, 0), params[1],
        holdout=pad_sample(x, y, 0),
    )  # fmt: skip
    strides, images = [(2, 2), (1, 1)], [(5, 4), (3, 2)]

    def explicit(params):
        *convolutions, last = kernels.layers(params)
        matrices = [
            matrix_of(zero_padded, layer["kernel"], image, stride)
            for layer, image, stride in zip(convolutions, images, strides, strict=True)
        ]
        matrices.append(np.tile(np.asarray(last["kernel"], float) / 6, (6, 1)))
        if not biases:
            return matrices, None
        shifts = [np.tile(np.asarray(la["bias"], float), 6) for la in convolutions]
        return matrices, [*shifts, np.asarray(last["bias"], float)]

    (w, b), (z, c) = explicit(params[0]), explicit(params[1])
    return network, Case(w, z, x.astype(float), y, b, c)


def assert_paths(found, case):
    """Path by path; the average's 1/6 is in none of the powers."""
    folded = case.weights
    if case.biases:
        folded = [
            np.block([[w, np.zeros((len(w), 1))], [b[None], np.ones((1, 1))]])
            for w, b in zip(case.weights, case.biases, strict=True)
        ]
        folded[-1] = folded[-1][:, :-1]
    for name, p in (("log_1", 1), ("log_15", 1.5), ("log_2", 2)):
        powers = [np.abs(w) ** p for w in folded]
        powers[-1][: len(case.weights[-1])] *= 6.0 ** (p - 1)
        total = path_norm(powers, 1)
        assert float(getattr(found, name)) == pytest.approx(np.log(total), rel=1e-6)


# Norms of several networks and of their differences are one function of several trees.
FEW = ("task", "margins", "inputs", "peeling", "paths", "outputs", "folded")


@pytest.mark.parametrize(
    ("biases", "others"),
    [
        (True, ()),
        *(
            pytest.param(
                b,
                ("layers", "init", "from_init", "folded_init", "folded_from_init"),
                marks=pytest.mark.slow,
            )
            for b in (False, True)
        ),
    ],
)
def test_a_convolutional_network_is_measured_as_the_matrices_it_is(biases, others):
    network, case = convolutional_case(biases)
    names = (*FEW, *others)
    found, missing = measured(network, names)
    assert not missing
    expected = by_hand(case, jacobians=False)
    pool = found.pop("paths")
    assert_as_by_hand(found, expected)
    assert_paths(pool, case)
    # Wider than a matrix's, but not much.
    for name in {"layers", "from_init", "folded"} & found.keys():
        ratio = found[name].spectral_upper / expected[name].spectral_upper
        assert np.all(ratio < 1.6), (name, ratio)


def test_the_two_readings_of_a_convolution_behind_others():
    """A 3 x 3 kernel at the size that its own input has: the norm of a 1 x 1 knows no size."""
    model = CNN((6, 5, 1), 2, 2, 3, False)
    begin = jax.jit(model.init)
    params = [begin(jax.random.key(i), np.zeros((1, 30)))["params"] for i in (0, 1)]
    w, z = (np.asarray(kernels.layers(p)[2]["kernel"], float) for p in params)
    assert w.shape == (3, 3, 2, 2)

    @jax.jit
    def circular_norm():
        return linear_maps.as_circular(model, *params)[2].spectral_norm()

    with jax.enable_x64(True):
        found = jax.device_get(circular_norm())
        as_kernel = linear_maps.as_kernels(model, *params)[2].entries
    exact = oracles.spectral(matrix_of(circular, w - z, (3, 3)))
    assert found.lower <= exact * (1 + 1e-12) and exact <= found.upper
    assert found.upper == pytest.approx(exact, rel=2e-4)
    by_output = [(w - z)[..., o].ravel() for o in range(2)]
    np.testing.assert_allclose(as_kernel, np.stack(by_output, axis=1), rtol=1e-12)


@pytest.mark.slow
def test_the_two_readings_of_a_convolution():
    network, _ = convolutional_case(biases=True)
    found, _ = measured(network, ("kernels", "circular", "circular_from_init"))
    layers = kernels.layers(network.params)
    for index, layer in enumerate(layers):
        kernel = np.asarray(layer["kernel"], float)
        plain = found["kernels"].spectral_upper[index]
        reshaped = kernel.reshape(-1, kernel.shape[-1])
        assert plain == pytest.approx(oracles.spectral(reshaped), rel=2e-4)
        assert found["circular"].frobenius[index] == pytest.approx(
            np.linalg.norm(kernel)
        )
        if kernel.ndim == 4:
            image = ((5, 4), (3, 2))[index]
            exact = oracles.spectral(matrix_of(circular, kernel, image))
            assert found["circular"].spectral_upper[index] == pytest.approx(exact, 2e-4)


def test_what_has_no_derivation_for_convolutions_is_not_available():
    network, _ = convolutional_case(biases=False)
    names = [n for n, spec in bounds.BOUNDS.items() if spec.fully_connected]
    found, _ = measured(network, ("architecture", "paths", "task"))
    stacked = jax.tree.map(lambda leaf: np.asarray(leaf)[None], found)
    values = bounds.evaluate(stacked, [*names, "path_norm"], margin=0.1)
    assert not isinstance(values["path_norm"], str)
    refused = {
        n for n, v in values.items() if isinstance(v, str) and "convolutions" in v
    }
    assert refused == {
        "bartlett_1998_vc", "bartlett_2019_vc", "neyshabur_2019",
        "neyshabur_2019_constants", "arora_2018", "nagarajan_kolter_2019", "valle_perez_2020",
            "arora_2018_code",
    } - {n for n, v in values.items() if isinstance(v, str) and "2 weight" in v}  # fmt: skip


def test_permuting_hidden_units_changes_no_norm_and_no_margin(rng):
    net = network(depth=1)
    order = rng.permutation(12)

    def permuted(params):
        return {
            "Dense_0": {"kernel": params["Dense_0"]["kernel"][:, order]},
            "Dense_1": {"kernel": params["Dense_1"]["kernel"][order]},
        }

    same = net.replace(
        params=permuted(net.params), init=permuted(net.init), other=permuted(net.other)
    )
    a, b = measured(net, WITH_MARGINS)[0], measured(same, WITH_MARGINS)[0]
    jax.tree.map(
        lambda x, y: np.testing.assert_allclose(x, y, rtol=2e-4, atol=1e-5), a, b
    )
    np.testing.assert_allclose(a["layers"].frobenius, b["layers"].frobenius, rtol=1e-12)
    np.testing.assert_allclose(
        a["from_init"].norm_21, b["from_init"].norm_21, rtol=1e-12
    )


def test_scaling_the_input_scales_margins_and_input_norms():
    net = network()
    scaled = net.replace(sample=net.sample.replace(inputs=2 * net.sample.inputs))
    a, b = (
        measured(net, ["task", "margins"])[0],
        measured(scaled, ["task", "margins"])[0],
    )
    m = int(net.sample.size)
    np.testing.assert_allclose(
        b["margins"].sorted[:m], 2 * a["margins"].sorted[:m], rtol=1e-5, atol=1e-6
    )
    assert b["task"].input_norm_max == pytest.approx(2 * a["task"].input_norm_max)


@pytest.mark.parametrize("rows", [1, 63, 255, 256, 300])
def test_sums_of_powers_of_a_matrix_of_any_height(rows):
    """Tall matrices are taken block by block, and what is left over at the end."""
    rng = np.random.default_rng(rows)
    a = rng.standard_normal((rows, 5)) * 10.0 ** rng.integers(-3, 4, (rows, 5))
    of = jax.jit(lambda a: _all_sums(linear_maps.Matrix(a)))
    with jax.enable_x64(True):
        its, lanes = jax.device_get((of(a), jax.vmap(of)(np.stack([a, -2 * a]))))
    for p, found in its["columns"].items():
        np.testing.assert_allclose(found, (np.abs(a) ** p).sum(0), rtol=1e-13)
        np.testing.assert_allclose(lanes["columns"][p][1], 2**p * found, rtol=1e-13)
    for p, found in its["rows"].items():
        np.testing.assert_allclose(found, (np.abs(a) ** p).sum(1), rtol=1e-13)


def _all_sums(matrix):
    return {
        "columns": {p: matrix.column_sums(p) for p in (1, 2, 3)},
        "rows": {p: matrix.row_sums(p) for p in (1, 2)},
    }
