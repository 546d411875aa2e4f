"""The least time of work: operations counted one by one, at made-up rates."""

import itertools

import jax
import numpy as np
import pytest

from experiments.tools import floors
from nets import runs
from nets.mlp import Layers

OF_PRODUCTS = floors.Rates(copy=np.inf, float32=1.0, float64=np.inf)
OF_NORMS = floors.Rates(copy=np.inf, float32=np.inf, float64=1.0)


def operations_of_gram(rows, columns):
    """Of the entries on and below the diagonal: a product and a sum for each row."""
    return sum(2 * rows for i in range(columns) for j in range(i + 1))


def test_enclosures_take_half_a_gram_matrix_and_a_factorisation():
    shapes = [(7, 3), (3, 7), (5, 5)]
    expected = sum(operations_of_gram(max(s), min(s)) + min(s) ** 3 / 3 for s in shapes)
    assert floors.of_enclosures(shapes, OF_NORMS) == pytest.approx(expected)


def test_measures_take_a_forward_pass_and_two_norms_a_layer():
    widths, m = (6, 5, 4, 3), 9
    model = Layers(widths[1:])
    inputs = np.ones((m, widths[0]), np.float32)
    params = model.init(jax.random.key(0), inputs)["params"]
    program = jax.jit(lambda p: model.apply({"params": p}, inputs)).lower(params)
    forward = floors.of_measures(widths, m, OF_PRODUCTS)
    relus = m * sum(widths[1:-1])
    assert forward == pytest.approx(program.cost_analysis()["flops"] - relus)
    shapes = list(itertools.pairwise(widths))
    twice = 2 * floors.of_enclosures(shapes, OF_NORMS)
    assert floors.of_measures(widths, m, OF_NORMS) == pytest.approx(twice)


def test_rates_are_of_all_devices_together():
    found = floors.rates(runs.make_layout(jax.devices()[:2]), 0.01, 2**12, 64)
    assert min(found.copy, found.float32, found.float64) > 0
