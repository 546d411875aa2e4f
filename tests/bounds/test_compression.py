import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import bounds
from bounds.families import compression
from bounds.measures import code as code_module
from bounds.measures.code import (
    _PROJECTED,
    CANDIDATES,
    PROJECTIONS,
    Code,
    _keys,
    _signs,
    code_from_origin,
    coded,
    quantised,
)
from bounds.measures.code import code as way_from_init
from bounds.measures.inputs import Task
from bounds.measures.quantised_code import code_quantised
from bounds.numerics import coding
from nets import kernels, subspace, training
from nets import quantised as rounding
from nets.mlp import MLP
from nets.sample import pad_sample
from tests.bounds.cases import network, random_case
from tests.nets.test_training import FEATURES, data, plan, whole
from tests.oracles.counting import kl_inverse

DELTA = 0.05
EVERY, ONE = range(len(CANDIDATES)), [6]  # places among the candidates


@functools.cache
def trained(model=MLP(10, 1, 3, True), m=200):
    """A small network that SGD has brought to fit most of 200 examples."""
    p = plan(model=model, learning_rate=0.3, batch_size=4, max_epochs=20)
    params = training.init_params(p, jax.random.key(0), FEATURES)
    state = training.init_state(p, params, jax.random.key(1))
    sample = pad_sample(*data(m), 300)
    holdout = pad_sample(*data(150, seed=1), 0)
    learned = whole(p, sample, state)[0].params
    return bounds.Network(model, learned, sample, params, None, holdout)


@functools.cache
def compiled(function):
    # Compiling takes longer than measuring.
    return jax.jit(function, compiler_options={"xla_backend_optimization_level": 0})


def measured(function, net):
    with jax.enable_x64(True):
        return jax.device_get(compiled(function)(net))


def from_init(net):
    """(arrays to code, what a receiver makes of them), without JAX."""
    learned, tree = jax.tree.flatten(jax.device_get(net.params))
    initial = jax.tree.leaves(jax.device_get(net.init))
    moved = [w.astype(float) - z for w, z in zip(learned, initial, strict=True)]
    return moved, lambda found: tree.unflatten(
        [z + a for z, a in zip(initial, found, strict=True)]
    )


def from_origin(net):
    learned, tree = jax.tree.flatten(jax.device_get(net.params))
    return learned, tree.unflatten


def from_subspace(net):
    learned = jax.device_get(subspace.cores(net.params))
    return learned, lambda found: subspace.with_cores(net.init, found)


@jax.jit
def _quantised(arrays, candidate):
    return quantised(arrays, candidate)


def through_bytes(arrays, candidate):
    """Float32 arrays as a receiver has them, and how many bits it took."""
    with jax.enable_x64(True):
        symbols, exponents = jax.device_get(_quantised(arrays, candidate))
    bits = coding.encode(symbols, exponents)
    sent = np.packbits(bits).tobytes()
    received = np.unpackbits(np.frombuffer(sent, np.uint8))
    symbols, exponents, length = coding.decode(received, [np.shape(a) for a in arrays])
    assert length == len(bits)
    steps = [np.asarray(coding.step(k)) for k in exponents]
    return [
        s.astype(np.float32) * step for s, step in zip(symbols, steps, strict=True)
    ], length


def errors_of(model, params, sample):
    """Wrong answers over all, example by example."""
    size = int(sample.size)
    logits = np.asarray(model.apply({"params": params}, sample.inputs[:size]))
    labels = np.asarray(sample.labels)[:size]
    others = np.where(np.arange(logits.shape[1]) == labels[:, None], -np.inf, logits)
    return np.mean(logits[np.arange(size), labels] <= others.max(axis=1))


def in_subspace(net):
    return coded(
        subspace.cores(net.params),
        lambda arrays: subspace.with_cores(net.init, arrays),
        net.model,
        net.sample,
        net.holdout,
    )


@pytest.mark.parametrize(
    ("model", "measure", "parts", "places"),
    [
        (MLP(10, 1, 3, True), way_from_init, from_init, ONE),
        pytest.param(
            MLP(10, 1, 3, True), way_from_init, from_init, EVERY, marks=pytest.mark.slow
        ),
        (MLP(10, 1, 3, True), code_from_origin, from_origin, EVERY),
        pytest.param(
            subspace.SubspaceNetwork(MLP(20, 1, 3, True), 4),
            in_subspace,
            from_subspace,
            EVERY,
            marks=pytest.mark.slow,
        ),
    ],
    ids=["one from init", "from init", "from the origin", "in a subspace"],
)
def test_the_decoded_network_is_the_one_whose_error_was_counted(
    model, measure, parts, places
):
    net = trained(model)
    found = measured(measure, net)
    arrays, rebuild = parts(net)
    for place in places:
        with jax.enable_x64(True):
            candidate = jnp.asarray(CANDIDATES[place], float)
        received, length = through_bytes(arrays, candidate)
        params = rebuild(received)
        assert all(leaf.dtype == np.float32 for leaf in jax.tree.leaves(params))
        assert length <= found.bits[place] <= 1.01 * length + 64
        error = errors_of(net.model, params, net.sample)
        assert found.errors[place] == pytest.approx(error, abs=1e-12)
        error = errors_of(net.model, params, net.holdout)
        assert found.holdout_errors[place] == pytest.approx(error, abs=1e-12)
    # The finest is the network itself, nearly; the coarsest costs next to nothing.
    own = errors_of(net.model, net.params, net.sample)
    assert abs(found.errors[-1] - own) < 0.02
    assert found.bits[0] < found.bits[-1] / 10
    assert found.errors[0] > found.errors[-1]


@pytest.mark.parametrize(
    "plain",
    [
        MLP(10, 1, 3, True),
        pytest.param(
            subspace.SubspaceNetwork(MLP(20, 1, 3, True), 4), marks=pytest.mark.slow
        ),
    ],
    ids=["whole", "in a subspace"],
)
def test_what_was_quantised_in_training_is_coded_as_it_is(plain):
    """Its bytes, sent and read, are the network that training saw, and the one that is counted."""
    model = rounding.QuantisedNetwork(plain, 0.5)
    net = trained(model)
    learned = bounds.Learned(model, net.params)
    found = measured(code_quantised, net.replace(model=plain, learned=learned))
    assert found.bits.shape == found.errors.shape == (1,)
    symbols, exponents = jax.device_get(rounding.symbols(net.params))
    bits = coding.encode(symbols, exponents)
    received, ks, length = coding.decode(bits, [s.shape for s in symbols])
    assert length <= found.bits[0] <= 1.01 * length + 64
    arrays = [
        s.astype(np.float32) * np.asarray(coding.step(k))
        for s, k in zip(received, ks, strict=True)
    ]
    params = rounding.with_arrays(net.params, arrays)
    # Steps of 2^(1/4) have 16 bits there.
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5),
        params, rounding.rounded(net.params),
    )  # fmt: skip
    for sample, error in (
        (net.sample, found.errors),
        (net.holdout, found.holdout_errors),
    ):
        assert error[0] == pytest.approx(errors_of(plain, params, sample), abs=1e-12)
    assert found.errors[0] < 0.5


def test_what_was_not_quantised_in_training_has_no_such_code():
    net = trained()
    for learned in (None, bounds.Learned(net.model, net.params)):
        _, missing = bounds.measure(net.replace(learned=learned), ("code_quantised",))
        assert set(missing) == {"code_quantised"}


@pytest.mark.slow
def test_a_subspace_of_few_dimensions_is_cheap_also_as_a_whole():
    """What did not move costs nothing from init; from the origin it must be written."""
    net = trained(subspace.SubspaceNetwork(MLP(20, 1, 3, True), 4))
    whole_way, cores = measured(way_from_init, net), measured(in_subspace, net)
    unmoved = 3 * len(kernels.layers(net.params))  # Z, A and B of each layer
    np.testing.assert_array_equal(whole_way.bits, cores.bits + 2 * unmoved)
    np.testing.assert_array_equal(whole_way.errors, cores.errors)
    assert measured(code_from_origin, net).bits[-1] > 3 * whole_way.bits[-1]


def test_what_is_not_given():
    net = trained()
    _, missing = bounds.measure(net.replace(init=None), ("code",))
    assert missing == {"code": "the initial weights are not given"}
    found = measured(code_from_origin, net.replace(init=None, holdout=None))
    assert np.isnan(found.holdout_errors).all() and np.isfinite(found.errors).all()


@pytest.mark.slow
def test_padding_is_not_looked_at_and_nor_is_the_mapping():
    nets = [network(depth=1, biases=True, seed=seed) for seed in (0, 1)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *nets)
    spoiled = stacked.sample.inputs.at[:, 150:].set(jnp.nan)
    stacked = stacked.replace(
        sample=dataclasses.replace(stacked.sample, inputs=spoiled)
    )
    one_by_one = [measured(way_from_init, net) for net in nets]
    for mapped in (
        jax.vmap(way_from_init),
        lambda several: jax.lax.map(way_from_init, several),
    ):
        found = measured(mapped, stacked)
        for index, one in enumerate(one_by_one):
            own = jax.tree.map(lambda leaf, i=index: leaf[i], found)
            jax.tree.map(np.testing.assert_array_equal, own, one)


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0, 1e30, 1e-38])
def test_weights_of_any_size_have_a_code(value):
    net = trained()
    params = jax.tree.map(lambda w: jnp.full_like(w, value), net.params)
    found = measured(code_from_origin, net.replace(params=params))
    assert np.isfinite(found.bits).all() and (found.bits >= 2).all()
    # All weights of a layer are equal: no class leads.
    assert (found.errors == 1).all()
    net = net.replace(params=params, init=params)
    assert (measured(way_from_init, net).bits == 2 * 4).all()


_zhou_2019 = jax.jit(compression.zhou_2019)


def bound(bits, errors, m=1000, holdout_errors=None, delta=DELTA):
    """`zhou_2019` of lists of numbers."""
    task = Task(np.int32(m), np.int32(3), np.float64(1))
    held_out = errors if holdout_errors is None else holdout_errors
    code = Code(*(np.array(a, float) for a in (bits, errors, held_out)))
    with jax.enable_x64(True):
        found = _zhou_2019(task, code, delta=delta)
    return jax.tree.map(float, found)


def by_hand(bits, error, m, delta=DELTA):
    nats = bits * math.log(2) + math.log(bits) + math.log(bits + 1)
    return kl_inverse(error, (nats + math.log(1 / delta)) / m)


def test_zhou_2019_is_the_formula():
    rng = np.random.default_rng(0)
    for _ in range(50):
        m = int(rng.integers(20, 60000))
        bits = np.ceil(m * rng.uniform(0.001, 2, size=5))
        errors = np.round(rng.uniform(0, 1, size=5) * m) / m
        found = bound(bits, errors, m)
        each = [by_hand(c, q, m) for c, q in zip(bits, errors, strict=True)]
        assert found.value == pytest.approx(min(each), rel=1e-12)
        best = int(np.argmin(each))
        assert found.empirical == errors[best] and found.risk == errors[best]
        assert found.excess == pytest.approx(min(each) - errors[best], abs=1e-12)
        assert found.value >= found.empirical
        nats = bits[best] * math.log(2) + math.log(bits[best] * (bits[best] + 1))
        expected = math.log((nats + math.log(1 / DELTA)) / m)
        assert found.log_complexity == pytest.approx(expected, rel=1e-12)


def test_zhou_2019_at_a_point_worked_out():
    # kl(0 || p) = -ln(1 - p): no errors, 100 bits, 1000 examples.
    nats = 100 * math.log(2) + math.log(100 * 101 / 0.05)
    expected = 1 - math.exp(-nats / 1000)
    assert bound([100], [0.0]).value == pytest.approx(expected, rel=1e-12)
    assert expected == pytest.approx(0.0783, abs=1e-4)


def test_zhou_2019_moves_as_it_should():
    value = bound([500], [0.1]).value
    assert 0.1 < value < 1
    assert bound([501], [0.1]).value > value and bound([500], [0.11]).value > value
    assert bound([500], [0.1], m=2000).value < value
    assert bound([500], [0.1], delta=0.01).value > value
    # More networks to choose from cost nothing, and the worse ones are not chosen.
    assert bound([500, 800, 9], [0.1, 0.1, 0.9]).value == value
    chosen = bound([500, 800], [0.1, 0.1], holdout_errors=[0.15, 0.14])
    assert (chosen.empirical, chosen.risk) == (0.1, 0.15)
    assert math.isnan(bound([500], [0.1], holdout_errors=[np.nan]).risk)


def test_zhou_2019_where_it_says_nothing():
    found = bound([1e9, 1e8], [0.0, 0.2])
    assert (
        found.value == 1 and found.empirical == 0.2
    )  # the one that is nearer to a bound
    assert math.isfinite(found.log_complexity)
    found = bound([1e9, 50], [1.0, 1.0])
    assert found.value == 1 and found.excess == 0 and found.empirical == 1
    assert math.isfinite(found.log_complexity)


@pytest.mark.slow
def test_by_name():
    found = bounds.values(trained(), ["zhou_2019_code", "zhou_2019_code_from_origin"])
    for value in found.values():
        assert value.empirical <= value.value <= 1 and 0 <= value.risk <= 1
    lacking = bounds.values(trained().replace(init=None), ["zhou_2019_code"])
    assert lacking == {"zhou_2019_code": "the initial weights are not given"}
    spec = bounds.BOUNDS["zhou_2019_code"]
    assert spec.speaks_of == "compressed" and spec.also == ("compression",)


def signs_of(index, layer, shape):
    """A matrix that the receiver draws."""
    key = jax.random.fold_in(jax.random.fold_in(jax.random.key(4), layer), index)
    return np.asarray(jax.random.rademacher(key, shape, jnp.float32))


def assert_projected(values, net, projections, candidates):
    """W' = (1/k) sum_j <M_j, W> M_j, from the signs and the bits that a receiver has."""
    moved, rebuild = from_init(net)
    place = 0
    for most in projections:
        signs = [
            np.stack([signs_of(j, n, d.shape) for j in range(min(most, d.size))])
            for n, d in enumerate(moved)
        ]  # fmt: skip
        numbers = [
            np.einsum("kio,io->k", m, d) for m, d in zip(signs, moved, strict=True)
        ]
        for candidate in candidates:
            found, length = through_bytes(numbers, candidate)
            matrices = [
                np.einsum("k,kio->io", c, m) / len(c) for c, m in zip(found, signs, strict=True)
            ]  # fmt: skip
            params = rebuild([a.astype(np.float32) for a in matrices])
            assert length <= values.bits[place] <= 1.02 * length + 64
            for sample, errors in (
                (net.sample, values.errors),
                (net.holdout, values.holdout_errors),
            ):
                # An example between two roundings may go either way.
                apart = abs(errors_of(net.model, params, sample) - errors[place])
                assert apart <= 1.5 / int(sample.size)
            place += 1
    assert place == len(values.bits)


def test_a_random_projection_is_that_of_the_paper(monkeypatch):
    """With fewer numbers than the first layer has weights, and as many as the second."""
    monkeypatch.setattr(code_module, "PROJECTIONS", (48,))
    monkeypatch.setattr(code_module, "_PROJECTED", _PROJECTED[1:])
    case = random_case(0, [6, 12, 3], m=200)
    net = case.network()
    net = net.replace(
        holdout=pad_sample(case.x[:50].astype(np.float32), case.y[:50], 0)
    )
    # A function of its own: compiled ones are kept.
    values = measured(lambda net: code_module.code_projected(net), net)
    assert_projected(values, net, (48,), _PROJECTED[1:])


@pytest.mark.slow
def test_random_projections_are_those_of_the_paper():
    net = trained(MLP(10, 1, 3))
    with jax.enable_x64(True):
        values = jax.device_get(
            compiled(lambda net: bounds.measure(net, ("code_projected",))[0])(net)
        )["code_projected"]
    assert_projected(values, net, PROJECTIONS, _PROJECTED)
    # Without noise in the mean: <M, W> of many M give W back.
    signs = np.stack([np.asarray(_signs(key, (3, 2))) for key in _keys(2, 4000)[1]])
    assert set(np.unique(signs)) == {-1.0, 1.0}
    expected = [signs_of(j, 1, (3, 2)) for j in range(10)]
    np.testing.assert_array_equal(signs[:10], expected)
    w = np.arange(6.0).reshape(3, 2)
    back = np.einsum("k,kio->io", np.einsum("kio,io->k", signs, w), signs) / 4000
    np.testing.assert_allclose(back, w, atol=5 * np.linalg.norm(w) / math.sqrt(4000))
