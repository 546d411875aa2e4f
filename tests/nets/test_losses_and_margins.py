import jax
import numpy as np
import pytest

from nets.losses import LOSSES
from nets.margins import margin
from tests import oracles

ORACLES = {
    "sigmoid": oracles.sigmoid_loss,
    "softmax": oracles.softmax_loss,
    "squared": oracles.squared_loss,
    "linear": oracles.linear_loss,
}


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("classes", [2, 10])
def test_loss_is_its_definition(name, classes, rng):
    for label in range(classes):
        logits = 3 * rng.standard_normal(classes)
        found = LOSSES[name](logits.astype(np.float32), np.int32(label))
        np.testing.assert_allclose(found, ORACLES[name](logits, label), rtol=1e-5)


def test_sigmoid_loss_is_finite_for_large_logits():
    value, slope = jax.value_and_grad(LOSSES["sigmoid"])(np.float32([200, -200]), 1)
    assert np.isclose(value, 200) and np.isfinite(slope).all()


def test_margin_is_its_definition(rng):
    for label in range(5):
        logits = rng.standard_normal(5)
        found = margin(logits.astype(np.float32), np.int32(label))
        np.testing.assert_allclose(found, oracles.margin(logits, label), rtol=1e-5)


def test_a_tie_has_margin_zero_and_a_batch_is_refused():
    assert margin(np.float32([1, 1, 0]), 0) == 0
    with pytest.raises(AssertionError):
        margin(np.zeros((2, 3), np.float32), np.zeros(2, np.int32))
