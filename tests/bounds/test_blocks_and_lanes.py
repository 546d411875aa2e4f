"""How a pass over the examples is cut up, and on how many lanes it runs, changes no number.

One thing is left to rounding. Weights of a few multiples of a step make outputs that are equal as
real numbers; floats decide then by their last bit who leads, and another order of a sum decides
otherwise. So errors of coded networks are compared up to the examples on which such a tie is.
"""

import importlib
import inspect

import jax
import numpy as np
import pytest

import bounds
from bounds.measures import code, noise_level, noisy, representation
from bounds.registry import GROUPS, MEASURES
from nets import runs, sample
from nets.kernels import layers
from nets.sample import Sample, pad_sample
from tests.bounds.cases import network

QUICK = ("task", "margins", "outputs", "inputs", "independence", "holdout")
LEVELS = [QUICK, pytest.param(tuple(GROUPS), marks=pytest.mark.slow)]
TOLERANCE = 1e-4  # float32 sums in another order, then a logarithm or two
TIE = (
    1e-6  # of the largest weights times inputs that a margin sums up: float32 has 6e-8
)


def draws_noise(group):
    """Whether its measure, or what that calls, has random draws: one a block."""
    module = importlib.import_module(inspect.unwrap(MEASURES[group].fn).__module__)
    return module in (noisy, noise_level) or "noisy" in inspect.getsource(module)


def padded_again(net):
    """The network with its samples padded to the block size of now."""

    def again(one: Sample):
        m = int(one.size)
        return pad_sample(np.asarray(one.inputs)[:m], np.asarray(one.labels)[:m], 0)

    return net.replace(sample=again(net.sample), holdout=again(net.holdout))


def groups_of(net, names):
    with jax.enable_x64(True):
        program = jax.jit(
            lambda n: bounds.measure(n, names)[0],
            compiler_options={"xla_backend_optimization_level": 0},
        )
        return jax.device_get(program(net))


@jax.jit
def as_received(params, candidate):
    symbols, exponents = code.quantised(params, candidate)
    return code.decoded(symbols, exponents)


def ties(net, sample):
    """How many examples each candidate of `code_from_origin` leaves to rounding: `[J]`.

    In float64, whose rounding is far below `TIE`. Nothing is rounded in sums of zeros only.
    """
    learned, tree = jax.tree.flatten(net.params)
    found, m = [], int(sample.size)
    inputs, labels = np.asarray(sample.inputs, float)[:m], np.asarray(sample.labels)[:m]
    for candidate in code.CANDIDATES:
        with jax.enable_x64(True):
            received = as_received(learned, np.asarray(candidate, float))
            params = tree.unflatten(received)
        out, size = inputs, np.abs(inputs)  # size: the same sums, without their signs
        for index, layer in enumerate(layers(params)):
            if index:
                out, size = np.maximum(out, 0), np.where(out > -TIE * size, size, 0)
            weights = np.asarray(layer["kernel"], float)
            out, size = out @ weights, size @ np.abs(weights)
        rows = np.arange(m)
        lead, size = out[rows, labels, None] - out, size[rows, labels, None] + size
        is_other = labels[:, None] != np.arange(out.shape[1])
        is_tied = is_other & (np.abs(lead) <= TIE * size) & (size > 0)
        is_lost = is_other & (lead < -TIE * size)
        found.append(np.sum(np.any(is_tied, axis=1) & ~np.any(is_lost, axis=1)))
    return np.array(found)


def but_for_ties(one, other, net):
    """`other`, with the errors of `one` where ties explain the difference."""
    if "code_from_origin" not in one:
        return other
    mine, theirs = one["code_from_origin"], other["code_from_origin"]
    np.testing.assert_array_equal(mine.bits, theirs.bits)
    errors = {}
    pairs = {"errors": net.sample, "holdout_errors": net.holdout}
    for field, examples in pairs.items():
        a, b = getattr(mine, field), getattr(theirs, field)
        is_tied = np.abs(a - b) * int(examples.size) <= ties(net, examples) + 0.5
        errors[field] = np.where(is_tied, a, b)
    return other | {"code_from_origin": theirs.replace(**errors)}


def apart(one, other, net):
    """Group -> the largest difference of its arrays, relative to their largest entry."""
    found, other = {}, but_for_ties(one, other, net)
    for name in one:
        gaps = [0.0]
        for a, b in zip(*map(jax.tree.leaves, (one[name], other[name])), strict=True):
            a, b = np.asarray(a, float), np.asarray(b, float)
            if a.ndim and a.shape != b.shape:  # margins: rows of padding at the end
                a, b = (x[: min(len(a), len(b))] for x in (a, b))
            finite = np.isfinite(a)
            np.testing.assert_array_equal(finite, np.isfinite(b), err_msg=name)
            scale = np.max(np.abs(a[finite]), initial=1e-30)
            gaps.append(np.max(np.abs(a[finite] - b[finite]), initial=0) / scale)
        found[name] = max(gaps)
    return found


def test_ties_are_few():
    """What is left to rounding would hide no fault: one or two of 150 examples, or none."""
    net = network()
    for examples in (net.sample, net.holdout):
        assert np.max(ties(net, examples)) <= 3


@pytest.mark.parametrize("names", LEVELS)
def test_the_size_of_a_block(names, monkeypatch):
    net = network()
    first = groups_of(padded_again(net), names)
    for module in (sample, noisy, noise_level, representation):
        monkeypatch.setattr(module, "BLOCK", 16)
    small = padded_again(net)
    assert small.sample.labels.shape[0] % 16 == 0
    assert small.sample.labels.shape != net.sample.labels.shape
    jax.clear_caches()
    second = groups_of(small, names)
    jax.clear_caches()
    gaps = {n: gap for n, gap in apart(first, second, net).items() if gap > TOLERANCE}
    assert {n for n in gaps if not draws_noise(n)} == set(), gaps


@pytest.mark.parametrize("names", LEVELS)
def test_lanes_side_by_side_and_one_after_another(names):
    nets = [network(seed=seed) for seed in range(3)]
    alone = [groups_of(net, names) for net in nets]
    for count, vectorized in ((2, True), (1, False)):
        devices = jax.devices()[: 3 - count]
        layout = runs.make_layout(devices, count, vectorized)
        with jax.enable_x64(True):
            program = runs.map_lanes(layout, lambda n: bounds.measure(n, names)[0])
            batch = nets[: layout.lanes]
            found = jax.device_get(program(runs.stack(batch, layout.lanes)))
        for lane in range(len(batch)):
            own = jax.tree.map(lambda leaf, lane=lane: leaf[lane], found)
            gaps = apart(alone[lane], own, nets[lane])
            assert max(gaps.values()) <= TOLERANCE, gaps
