"""Speed from a history of losses, against sums and searches by hand."""

import dataclasses
import math

import numpy as np
import pytest

import bounds
from bounds.families import training_speed
from bounds.measures.speed import speed
from bounds.network import History
from tests.bounds.cases import network
from tests.oracles.sharpness import sotl, sotl_last, steps_to_loss

HISTORIES = {
    "long": [2.0, 0.7, 0.1, 0.2, 0.08, 0.05, 0.03, 0.02, 0.02, 0.02, 0.015, 0.009],
    "short": [2.3, 0.05, 0.01],
    "at once": [0.001],
    "not all the way": [1.0, 0.09, 0.02],
    "never": [2.3, 2.2, 0.11],
}


def with_history(losses, behind=(-5.0, np.nan)):
    """A network with a history whose entries from its end on mean nothing."""
    padded = np.array([*losses, *behind], np.float32)
    history = History(padded, np.int32(len(losses)), np.int32(47))
    return network(depth=1).replace(history=history)


@pytest.mark.parametrize("name", HISTORIES)
def test_speed(name):
    losses = [float(np.float32(v)) for v in HISTORIES[name]]
    found = speed(with_history(losses))
    value = {
        n: float(getattr(training_speed, n)(found).value)
        for n in ("sotl", "sotl_10", "steps_to_01", "steps_01_to_001")
    }
    assert value["sotl"] == pytest.approx(sotl(losses), rel=1e-6)
    assert value["sotl_10"] == pytest.approx(sotl_last(losses, 10), rel=1e-6)
    # The targets as float32 knows them.
    to_01, to_001 = (
        steps_to_loss(losses, 47, float(np.float32(t))) for t in (0.1, 0.01)
    )
    assert value["steps_to_01"] == to_01
    expected = to_001 - to_01 if math.isfinite(to_001) else math.inf
    assert value["steps_01_to_001"] == expected
    for field in dataclasses.fields(found):
        assert not np.isnan(getattr(found, field.name))


def test_infinite_measures_have_finite_logarithms():
    found = speed(with_history(HISTORIES["never"]))
    assert np.isfinite(training_speed.steps_to_01(found).log_complexity)


def test_without_a_history():
    _, missing = bounds.measure(network(depth=1).replace(history=None), ("speed",))
    assert missing == {"speed": "how its training went is not given"}
