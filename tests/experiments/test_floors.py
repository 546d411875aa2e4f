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
    found = floors.at_rates(floors.enclosures(shapes), OF_NORMS)
    assert found == pytest.approx(expected)


def test_measures_take_a_forward_pass_and_two_norms_a_layer():
    widths, m = (6, 5, 4, 3), 9
    model = Layers(widths[1:])
    inputs = np.ones((m, widths[0]), np.float32)
    params = model.init(jax.random.key(0), inputs)["params"]
    program = jax.jit(lambda p: model.apply({"params": p}, inputs)).lower(params)
    forward = floors.at_rates(floors.measures(widths, m), OF_PRODUCTS)
    relus = m * sum(widths[1:-1])
    assert forward == pytest.approx(program.cost_analysis()["flops"] - relus)
    shapes = list(itertools.pairwise(widths))
    twice = 2 * floors.at_rates(floors.enclosures(shapes), OF_NORMS)
    found = floors.at_rates(floors.measures(widths, m), OF_NORMS)
    assert found == pytest.approx(twice)


def test_what_is_done_alone_is_each_kind_s_time_as_often_as_it_is_done():
    layout = runs.make_layout(jax.devices()[:2])
    product, half = floors.Product(4, 8, 4), floors.Product(4, 8, 4, False, 0.5)
    once = floors.alone({product: 1}, layout, 0.01)
    factorisation = floors.alone({floors.Factorisation(5): 3}, layout, 0.01)
    assert min(once, factorisation) > 0
    found = floors.alone(
        {product: 2, half: 4, floors.Factorisation(5): 3}, layout, 0.01
    )
    assert found == pytest.approx(4 * once + factorisation)


def test_a_step_has_the_products_of_its_forward_and_backward_pass():
    found = floors.step(3, 2, 7)
    assert sum(found.values()) == 3 * 3 - 1
    assert found[floors.Product(7, 784, 3)] == found[floors.Product(784, 7, 3)] == 1
    assert floors.Product(7, 3, 784) not in found
    assert found[floors.Product(7, 3, 3)] == 2


def test_rates_are_of_all_devices_together():
    found = floors.rates(runs.make_layout(jax.devices()[:2]), 0.01, 2**12, 64)
    assert min(found.copy, found.float32, found.float64) > 0
