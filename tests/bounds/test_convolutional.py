"""Bounds that count a shared weight once: oracles by loops, the two coverings, and known risks."""

import dataclasses
import functools
import itertools
import math

import hypothesis
import jax
import numpy as np
import pytest

import bounds
from bounds.families import convolutional
from bounds.measures.architecture import Architecture
from bounds.measures.examples import Margins
from bounds.measures.inputs import Inputs, Task
from nets.cnn import CNN
from nets.sample import pad_sample
from tests import oracles
from tests.bounds.cases import (
    by_hand,
    cases,
    for_any_case,
    layer_norms,
    measured,
    spread_margins,
)
from tests.oracles import convolutional as loops
from tests.oracles.convolution import zero_padded
from tests.oracles.counting import kl_inverse

GAMMA, DELTA = 0.7, 0.05
PLOTTED = ("long_2020", "graf_2022", "graf_2022_parameters", "ledent_2021")
CERTIFIED = {
    "long_2020_certified": loops.long_2020_growth,
    "graf_2022_certified": loops.graf_2022_growth,
}


def evaluate(groups, names=(*PLOTTED, *CERTIFIED), margin=GAMMA, delta=DELTA):
    stacked = jax.tree.map(lambda leaf: np.asarray(leaf)[None], groups)
    found = bounds.evaluate(stacked, list(names), margin=margin, delta=delta)
    return jax.tree.map(lambda leaf: float(leaf[0]), found)


def assert_as_by_loops(found, layers, x, folded_x, margins):
    m, b = len(margins), max(np.linalg.norm(x, axis=1))
    for name in PLOTTED:
        excess = getattr(loops, name)(layers, b, GAMMA, m)
        assert found[name].excess == pytest.approx(excess, rel=1e-6), name
        assert found[name].empirical == oracles.margin_error(margins, GAMMA), name
        assert found[name].log_complexity == pytest.approx(math.log(excess), abs=1e-6)
    assert_certified_as_by_loops(found, layers, folded_x, margins)


def assert_certified_as_by_loops(found, layers, folded_x, margins):
    for name, growth in CERTIFIED.items():
        expected = getattr(loops, name)(layers, folded_x, margins, DELTA)
        assert found[name].value == pytest.approx(expected, rel=1e-6), name
        if oracles.median_margin(margins) > 0:
            expected = math.log(growth(layers, folded_x, margins))
            assert found[name].log_complexity == pytest.approx(expected, abs=1e-6), name


@for_any_case
@hypothesis.given(cases())
def test_fully_connected_layers_against_loops(case):
    layers = loops.of_dense(
        case.weights, case.initial, case.biases, case.initial_biases
    )
    groups = by_hand(case, jacobians=False)
    assert_as_by_loops(evaluate(groups), layers, case.x, case.folded[2], case.margins)


@for_any_case
@hypothesis.given(cases())
def test_of_fully_connected_layers_graf_is_bartlett(case):
    groups = by_hand(case, jacobians=False)
    found = evaluate(groups, ("graf_2022", "bartlett_2017"))
    expected = found["bartlett_2017"].excess
    assert found["graf_2022"].excess == pytest.approx(expected, rel=1e-9)


@dataclasses.dataclass(frozen=True)
class Case:
    """A convolutional network, its training set and what it says there."""

    layers: list
    x: np.ndarray
    y: np.ndarray

    @functools.cached_property
    def margins(self):
        return sorted(
            oracles.margin(logits(self.layers, one), label)
            for one, label in zip(self.x, self.y, strict=True)
        )

    @property
    def folded_x(self):
        if self.layers[0].bias is None:
            return self.x
        return np.hstack([self.x, np.ones((len(self.x), 1))])


def logits(layers, x):
    """Of a flat image, by plain loops."""
    a = x
    for place, one in enumerate(layers):
        image = a.reshape(*one.image, -1)
        image = np.maximum(image, 0) if place else image
        a = zero_padded(one.kernel, image, one.strides)
        a = (a if one.bias is None else a + one.bias).reshape(-1)
    return a


def convolutional_case(seed, biases, m=50, moved=0.3):
    """3 x 3 with stride 2, 2 x 1, dense: images of 6 x 5 with two channels, three classes."""
    rng = np.random.default_rng(seed)
    channels = [int(c) for c in rng.integers(1, 4, 2)]
    shapes = [
        ((3, 3, 2, channels[0]), (6, 5), (2, 2)),
        ((2, 1, channels[0], channels[1]), (3, 3), (1, 1)),
        ((1, 1, 9 * channels[1], 3), (1, 1), (1, 1)),
    ]
    layers = []
    for shape, image, strides in shapes:
        z = rng.standard_normal(shape) / math.sqrt(math.prod(shape[:3]))
        shift = rng.standard_normal((2, shape[3])) / 2 if biases else (None, None)
        w = z + moved * rng.standard_normal(shape) / math.sqrt(math.prod(shape[:3]))
        layers.append(loops.Layer(w, z, *shift, image, strides))
    x = rng.standard_normal((m, 60))
    y = np.array([int(np.argmax(logits(layers, one))) for one in x])
    y[: m // 10] = rng.integers(3, size=m // 10)
    return Case(layers, x, y)


def groups_of(case):
    """What is measured of a `Case`, by hand."""
    columns = [list(c) for c in zip(*loops.matrices(case.layers), strict=True)]
    with_biases = [list(c) for c in zip(*loops.folded(case.layers), strict=True)]
    kernels = [one.kernel - one.initial for one in case.layers]
    m, x = len(case.x), case.folded_x
    largest = max(np.linalg.norm(x, axis=1))
    feature = np.sqrt(np.max(np.sum(x**2, axis=0)))
    return {
        "task": Task(np.int32(m), np.int32(3), max(np.linalg.norm(case.x, axis=1))),
        "margins": Margins(np.array(case.margins), np.int32(m)),
        "inputs": Inputs(
            oracles.frobenius(x), feature, largest, np.max(np.abs(x)),
            np.int32(x.shape[1]), feature, np.int32(60),
        ),
        "architecture": Architecture(
            np.array([one.parameters for one in case.layers]),
            np.array([one.kernel.size for one in case.layers]),
            np.array([one.kernel.shape[-1] for one in case.layers]), np.int32(2),
            np.int32(0 if case.layers[0].bias is None else 3), np.int32(1), np.int32(0),
        ),
        **dict(zip(("layers", "init", "from_init"), map(layer_norms, columns), strict=True)),
        **dict(zip(("folded", "folded_init", "folded_from_init"),
                   map(layer_norms, with_biases), strict=True)),
        "kernels_from_init": layer_norms([k.reshape(-1, k.shape[-1]) for k in kernels]),
    }  # fmt: skip


@pytest.mark.parametrize("biases", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_convolutions_against_loops(seed, biases):
    case = convolutional_case(seed, biases)
    found = evaluate(groups_of(case))
    assert_as_by_loops(found, case.layers, case.x, case.folded_x, case.margins)


@pytest.mark.parametrize("biases", [False, True])
def test_certificates_below_1_against_loops(biases):
    """Margins far beyond what the norms allow, each of them a hundred times: nothing saturates."""
    case = convolutional_case(0, biases)
    groups, margins = groups_of(case), spread_margins(len(case.x))
    many = np.repeat(margins, 100).tolist()
    found = evaluate(
        groups
        | {
            "task": groups["task"].replace(size=np.int32(len(many))),
            "margins": groups["margins"].replace(sorted=margins),
        }
    )
    assert_certified_as_by_loops(found, case.layers, case.folded_x, many)
    for name in CERTIFIED:
        assert 0 < found[name].empirical < found[name].value < 1, name


# With biases there are twice as many enclosures to compile.
@pytest.mark.parametrize("biases", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_measured_network_against_loops(biases):
    """Norms of a real network as they are measured: the certified ends are above the true ones."""
    model = CNN((8, 8, 2), 3, 1, 3, biases)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((40, 128)).astype(np.float32)
    begin = jax.jit(model.init)
    init, params = (begin(jax.random.key(seed), x[:1])["params"] for seed in (0, 1))
    y = np.array(np.argmax(jax.jit(model.apply)({"params": params}, x), axis=1))
    y[:5] = rng.integers(3, size=5)
    net = bounds.Network(model, params, pad_sample(x, y, 64), init)
    names = ("graf_2022", "ledent_2021", "long_2020_certified")
    groups, missing = measured(net, tuple(bounds.needs(names)))
    assert not missing
    found = evaluate(groups, names)
    places = [((8, 8), (2, 2)), ((4, 4), (1, 1))]
    layers = []
    for place, name in enumerate(sorted(params)):
        w, z = (np.asarray(p[name]["kernel"], float) for p in (params, init))
        shifts = [
            np.asarray(p[name]["bias"], float) if biases else None
            for p in (params, init)
        ]
        if place < 2:
            layers.append(loops.Layer(w, z, *shifts, *places[place]))
        else:  # the mean of 16 positions, then a matrix
            tiled = [np.tile(a / 16, (16, 1))[None, None] for a in (w, z)]
            layers.append(loops.Layer(*tiled, *shifts))
    case = Case(layers, x.astype(float), y)
    margins = np.asarray(groups["margins"].sorted)[:40]
    np.testing.assert_allclose(margins, case.margins, atol=1e-5)
    b = max(np.linalg.norm(case.x, axis=1))
    for name in ("graf_2022", "ledent_2021"):
        excess = getattr(loops, name)(layers, b, GAMMA, 40)
        assert found[name].excess == pytest.approx(excess, rel=1e-4), name
    # What is averaged has as many entries as the kernel, not as the matrix.
    counted = [int(n) for n in groups["architecture"].parameters]
    assert counted == [54 + 3 * biases, 9 + 3 * biases, 9 + 3 * biases]
    growth = loops.long_2020_growth(layers, case.folded_x, case.margins, counted)
    growth = pytest.approx(math.log(growth), abs=1e-3)
    assert found["long_2020_certified"].log_complexity == growth
    for name, pair in zip(
        ("folded", "folded_init", "folded_from_init"),
        zip(*loops.folded(layers), strict=True),
        strict=True,
    ):
        true = [oracles.spectral(a) for a in pair]
        assert np.all(groups[name].spectral_upper >= true), name


@pytest.mark.parametrize("biases", [False, True])
def test_shared_weights_count_once(biases):
    """Below the bounds of the matrices; on a larger image the number of centres is the same."""
    case = convolutional_case(1, biases)
    found = evaluate(
        groups_of(case),
        ("graf_2022", "graf_2022_certified", "bartlett_2017", "bartlett_2017_certified"),
    )  # fmt: skip
    for end in ("", "_certified"):
        shared, plain = found[f"graf_2022{end}"], found[f"bartlett_2017{end}"]
        assert shared.log_complexity < plain.log_complexity - 0.1, end
    groups = groups_of(case)
    wide = {
        name: groups[name].replace(fan_in=4 * groups[name].fan_in)
        for name in ("folded", "folded_init", "folded_from_init")
    }
    one, other = (
        evaluate(g, ["long_2020_certified"])["long_2020_certified"]
        for g in (groups, groups | wide)
    )
    assert one == other


def test_the_papers_group_norm_is_at_most_what_stands_for_it():
    rng = np.random.default_rng(0)
    for _ in range(50):
        kh, kw, channels, out = rng.integers(1, 5, 4)
        kernel = rng.standard_normal((kh, kw, channels, out)) ** 3
        paper, filters = loops.group_norm(kernel), loops.filters(kernel)
        assert filters <= paper + 1e-12
        assert paper <= math.sqrt(kh * kw) * filters * (1 + 1e-12)
        if kh * kw == 1:
            assert paper == pytest.approx(filters)


# The first covering: entries to a resolution.


def operator_norms(points, image=(4, 4)):
    """Of 1 x 2 kernels `[n, 2]` as maps of an image with zeros around it."""
    each = (loops.Layer(np.zeros((1, 2, 1, 1)), None, image=image),) * len(points)
    return np.array(
        [
            np.linalg.norm(one.unrolled(k.reshape(1, 2, 1, 1)), 2)
            for one, k in zip(each, points, strict=True)
        ]
    )


def test_as_many_centres_as_counted_cover_the_kernels():
    """Greedily, in the norm of the map: a largest set of points more than eps apart.

    It has no more points than the bound says, and more than the bound without its factor 2.
    """
    rng = np.random.default_rng(0)
    points = rng.uniform(-1, 1, (1500, 2))
    points = points[operator_norms(points) <= 1.0]
    unit_matrices = [
        loops.Layer(np.zeros((1, 2, 1, 1)), None, image=(4, 4)).unrolled(
            e.reshape(1, 2, 1, 1)
        )
        for e in np.eye(2)
    ]

    def distances(point):
        moved = np.tensordot(points - point, unit_matrices, axes=(1, 0))
        return np.linalg.norm(moved, 2, axis=(1, 2))

    without_2 = []
    for eps in (1.9, 1.0, 0.5, 0.25):
        far, centres = np.ones(len(points), bool), 0
        while far.any():
            centres += 1
            far &= distances(points[np.argmax(far)]) > eps
        log_count = convolutional.log_covering_number(
            np.array([2.0]), np.log([1.0]), np.log([eps])
        )
        assert math.log(centres) <= log_count + 1e-9, eps
        without_2.append(math.log(centres) > 2 * math.log(1 + 1 / eps))
    assert any(without_2)


def moved_within(layers, eps, rng):
    """Layers whose maps are eps_l apart from these, in a random direction."""
    found = []
    for one, far in zip(layers, eps, strict=True):
        d = rng.standard_normal(one.kernel.shape)
        bias = None if one.bias is None else rng.standard_normal(one.bias.shape)
        size = oracles.spectral(one.folded(d, bias, 0.0, False))
        shift = {} if bias is None else {"bias": one.bias + far * bias / size}
        found.append(one.replaced(kernel=one.kernel + far * d / size, **shift))
    return found


@pytest.mark.parametrize("biases", [False, True])
def test_a_centre_moves_no_margin_by_more_than_half_gamma(biases):
    rng = np.random.default_rng(0)
    for seed in range(4):
        case = convolutional_case(seed, biases, m=20)
        b = max(np.linalg.norm(case.folded_x, axis=1))
        # Norms of both: those of the layers, and a little more.
        s = np.array([oracles.spectral(w) for w, _, _ in loops.folded(case.layers)])
        s, p = 1.2 * s, np.array([float(one.parameters) for one in case.layers])
        gamma = 0.1 * b * np.prod(s)
        log_eps = convolutional.log_resolution(p, np.log(s), np.log(b), np.log(gamma))
        other = moved_within(case.layers, np.exp(log_eps), rng)
        for (w, _, _), most in zip(loops.folded(other), s, strict=True):
            assert oracles.spectral(w) <= most
        for one, label in zip(case.x, case.y, strict=True):
            before, after = (
                oracles.margin(logits(layers, one), label)
                for layers in (case.layers, other)
            )
            assert abs(before - after) <= gamma / 2


def test_a_coarser_resolution_would_move_margins_further():
    """A chain of numbers, then two logits: gamma/2 is reached but for what the norms leave."""
    s, b, gamma = np.array([2.0, 3.0, 0.5]), 1.5, 0.01
    p = np.array([1.0, 5.0, 2.0])
    eps = np.exp(
        convolutional.log_resolution(p, np.log(s), np.log(b), np.log(gamma))
    ).tolist()
    out = np.array([0.5, -0.5]) / math.sqrt(2)

    def margin(a, c, scale):
        values = scale * out * b * a * c
        return values[0] - values[1]

    full = margin(s[0], s[1], 1.0)
    moved = margin(s[0] - eps[0], s[1] - eps[1], 1.0 - eps[2] / s[2])
    assert 0.99 * gamma / 2 < full - moved <= gamma / 2 + 1e-12
    coarse = margin(s[0] - 1.1 * eps[0], s[1] - 1.1 * eps[1], 1 - 1.1 * eps[2] / s[2])
    assert full - coarse > gamma / 2


# The second covering: hulls of the entries' images.


@pytest.mark.parametrize("biases", [False, True])
def test_images_of_entries_have_the_mass_that_is_claimed(biases):
    """sum_j |theta_j| ||v_j|| <= b_l ||X||_F, v_j what entry j alone makes of all examples."""
    rng, shares = np.random.default_rng(0), []
    for seed, positive in itertools.product(range(3), (False, True)):
        case = convolutional_case(seed, biases)
        groups = groups_of(case)
        with jax.enable_x64(True):
            distances = convolutional._group_distances(
                groups["from_init"], groups["kernels_from_init"]
            )
        every = zip(case.layers, loops.folded(case.layers), distances, strict=True)
        for one, (_, _, d), b in every:
            kernel = one.kernel - one.initial
            pixels = one.image[0] * one.image[1] * kernel.shape[2]
            x = rng.standard_normal((30, pixels))
            x = np.ones_like(x) if positive else x
            mass = 0.0
            for place in itertools.product(*map(range, kernel.shape)):
                alone = np.zeros_like(kernel)
                alone[place] = kernel[place]
                mass += np.linalg.norm(x @ one.unrolled(alone))
            size = np.linalg.norm(x)
            if biases:
                moved = np.abs(one.bias - one.initial_bias)
                mass += np.sum(moved) * math.sqrt(one.positions * len(x))
                size = math.hypot(size, math.sqrt(len(x)))
            b = float(b)
            if biases:
                with_bias = b + oracles.norm_21(d) / math.sqrt(one.positions)
                b = min(with_bias, oracles.norm_21(d))
            assert mass <= b * size * (1 + 1e-12)
            shares.append(mass / (b * size))
    assert max(shares) > 0.5  # half of it would not be enough


# What is certified.


@pytest.mark.parametrize("name", CERTIFIED)
def test_a_certificate_is_above_what_any_one_network_costs(name):
    for seed, biases in itertools.product(range(3), (False, True)):
        groups = groups_of(convolutional_case(seed, biases))
        value = evaluate(groups, [name])[name]
        least = kl_inverse(value.empirical, math.log(1 / DELTA) / 50)
        assert value.value > least > value.empirical


@pytest.mark.parametrize("name", CERTIFIED)
def test_monotone_in_everything_that_is_rounded_up(name):
    groups = groups_of(convolutional_case(0, True))
    before = evaluate(groups, [name])[name].value

    def larger(group, **changes):
        return evaluate(groups | {group: groups[group].replace(**changes)}, [name])

    folded, moved, inputs = (
        groups[g] for g in ("folded", "folded_from_init", "inputs")
    )
    task, margins = groups["task"], groups["margins"]
    many = groups | {
        "task": task.replace(size=np.int32(100 * task.size)),
        "margins": Margins(np.repeat(margins.sorted, 100), np.int32(100 * task.size)),
    }
    for found in (
        larger("folded", spectral_upper=2 * folded.spectral_upper),
        larger(
            "folded_from_init",
            spectral_upper=2 * moved.spectral_upper,
            norm_21=4 * moved.norm_21,
        ),
        larger(
            "inputs", norm_max=4 * inputs.norm_max, frobenius=4 * inputs.frobenius
        ),
        larger("margins", sorted=np.where(margins.sorted > 0, margins.sorted / 4, margins.sorted)),
        evaluate(groups, [name], delta=1e-4),
    ):  # fmt: skip
        assert found[name].value >= before
    assert evaluate(many, [name])[name].value < before


def interpolated(m=300):
    """Labels by tossed coins and a linear classifier that has learned them: its risk is 1/2."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((m, m)), rng.integers(2, size=m)
    w = np.linalg.solve(x, np.where(y == 1, 1.0, -1.0))
    kernel = np.stack([-w, w], axis=1)[None, None]
    initial = rng.standard_normal(kernel.shape) / math.sqrt(m)
    return Case([loops.Layer(kernel, initial)], x, y)


def test_tossed_coins_are_not_explained_unless_entries_are_forgotten():
    """The certificate counts 600 entries; with 6 in their place it would be below the risk."""
    case = interpolated()
    assert min(case.margins) > 0
    groups = groups_of(case)
    name = "long_2020_certified"
    assert evaluate(groups, [name])[name].value > 0.99
    architecture = groups["architecture"]
    forgotten = architecture.replace(parameters=np.array([6]))
    wrong = evaluate(groups | {"architecture": forgotten}, [name])[name].value
    assert wrong < 0.5


def test_few_entries_and_many_examples_say_something():
    """A filter and two logits, 20 entries: below 1/4 at 20000 examples, and above the error."""
    rng = np.random.default_rng(0)
    image, m = (4, 4), 20000
    signs = 2 * rng.integers(2, size=m) - 1
    x = signs[:, None] * 0.5 + 0.3 * rng.standard_normal((m, 16))
    kernel = np.array([[0.6, 0.4]])[..., None, None]
    out = np.stack([-np.ones(16), np.ones(16)], axis=1)[None, None] / 8
    layers = [
        loops.Layer(kernel, kernel / 3, image=image),
        loops.Layer(out, out / 3),
    ]
    matrices = [w for w, _, _ in loops.matrices(layers)]
    hidden = np.maximum(x @ matrices[0], 0)
    # ReLU sees the positive class only; the other logit's bias is the threshold.
    values = hidden @ matrices[1] - 0.5 * np.array([-1.0, 1.0])
    margins = np.sort(signs * (values[:, 1] - values[:, 0]))
    biases = [np.zeros(1), 0.5 * np.array([1.0, -1.0])]
    layers = [
        one.replaced(bias=b, initial_bias=b + 0.1)  # norms between cells of their grids
        for one, b in zip(layers, biases, strict=True)
    ]
    folded_x = np.hstack([x, np.ones((m, 1))])
    base = groups_of(Case(layers, x[:4], np.array([0, 1, 0, 1])))
    largest = max(np.linalg.norm(folded_x, axis=1))
    groups = base | {
        "task": Task(np.int32(m), np.int32(2), largest),
        "margins": Margins(margins, np.int32(m)),
        "inputs": base["inputs"].replace(
            frobenius=np.linalg.norm(folded_x), norm_max=largest
        ),
    }
    found = evaluate(groups, CERTIFIED)
    error = np.mean(margins <= 0)
    assert error < found["long_2020_certified"].value < 0.25
    expected = loops.long_2020_certified(layers, folded_x, margins.tolist(), DELTA)
    assert found["long_2020_certified"].value == pytest.approx(expected, rel=1e-6)
    assert found["graf_2022_certified"].value > 1
