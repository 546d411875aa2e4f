"""Where numbers end: no certificate may come out of an overflow, a cancellation or a zero."""

import math

import numpy as np
import pytest

import bounds
from bounds.spec import CERTIFIED

NAMES = [
    name
    for name, spec in bounds.BOUNDS.items()
    if spec.status == CERTIFIED and name != "holdout_cp" and spec.speaks_of == "trained"
]
# Of networks made from the trained one; long to compile.
OTHERS = [
    name
    for name, spec in bounds.BOUNDS.items()
    if spec.status == CERTIFIED and spec.speaks_of != "trained"
]


# Of what was made in another way than these networks are.
NOT_GIVEN = {
    "littlestone_1986_sample_compression", "paccagnan_2023_pick_to_learn",
    "bazinet_2026_surrogate", "bazinet_2026_certified_surrogate", "bazinet_2026_code",
    "bazinet_2026_code_from_origin",
}  # fmt: skip


def without_a_number(found):
    return {name for name, value in found.items() if isinstance(value, str)}


def coins(m=600, d=1500, seed=0):
    """Unit inputs, random labels, and v that fits them: the risk of sign(v.x) is 1/2."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((m, d)) / math.sqrt(d)
    y = rng.integers(2, size=m)
    return x.astype(np.float32), y, (2 * y - 1) @ x


def columns(v):
    return np.stack([-v, v], axis=1)


def networks():
    """Networks that fit coins: (weights, biases) each, by what is extreme in them."""
    _, _, v = coins()
    pair = np.array([[1.0, -1.0], [-1.0, 1.0]])
    common = np.ones((1, 2)) * 1e8
    return {
        "plain": ([columns(v)], None),
        "logits overflow": ([1e25 * columns(v), 1e25 * pair], None),
        "hidden units overflow": (
            [1e20 * columns(v), 1e20 * np.eye(2), 1e-37 * pair],
            None,
        ),
        "a common part cancels": ([columns(1e-3 * v)], [common[0]]),
        "tiny": ([1e-30 * columns(v)], None),
        "tiny last layer": ([columns(v), 1e-30 * pair], None),
    }


SLOW = (
    "hidden units overflow", "logits overflow", "a common part cancels", "tiny last layer",
)  # fmt: skip


@pytest.mark.parametrize(
    "which",
    [pytest.param(n, marks=pytest.mark.slow if n in SLOW else ()) for n in networks()],
)
def test_fitted_coins_are_never_certified_below_their_risk(which):
    x, y, _ = coins()
    weights, biases = networks()[which]
    initial = [0.1 * np.random.default_rng(1).standard_normal(w.shape) for w in weights]
    network = bounds.from_arrays(weights, x, y, biases=biases, init=initial)
    names = [*NAMES, *OTHERS] if which == "logits overflow" else NAMES
    values = bounds.values(network, names, init_is_independent=True)
    for name, found in values.items():
        assert isinstance(found, str) or found.value >= 0.5, (name, found)
        assert isinstance(found, str) or math.isfinite(found.log_complexity), name
    # Where it overflows or cancels, others may say that they are no numbers.
    assert without_a_number(values) == NOT_GIVEN or which in SLOW


@pytest.mark.parametrize(
    "which",
    [
        "zeros",
        "equal columns",
        "nothing moved",
        pytest.param("two layers of zeros", marks=pytest.mark.slow),
        pytest.param("one example", marks=pytest.mark.slow),
    ],
)
def test_degenerate_networks_give_numbers(which):
    x, y, v = coins(**({"m": 1} if which == "one example" else {}))
    weights = {
        "zeros": [np.zeros((len(v), 2))],
        "two layers of zeros": [np.zeros((len(v), 2)), np.zeros((2, 2))],
        "equal columns": [np.stack([v, v], axis=1)],
    }.get(which, [columns(v)])
    initial = weights if which == "nothing moved" else [w + 0.1 for w in weights]
    network = bounds.from_arrays(weights, x, y, init=initial)
    values = bounds.values(network, NAMES, init_is_independent=True)
    assert without_a_number(values) == NOT_GIVEN
    for name, found in values.items():
        if isinstance(found, str):
            continue
        # Initial weights that know the data are no reference: then any number may come.
        least = 0.0 if which == "nothing moved" else 0.4
        assert not math.isnan(found.value) and found.value > least, (name, found)
        assert math.isfinite(found.log_complexity), name


def test_a_number_that_is_none_is_no_certificate():
    x, y, v = coins()
    network = bounds.from_arrays([columns(v)], x, y, init=[columns(v)])
    broken = np.full((len(v), 2), np.nan, np.float32)
    network = network.replace(init={"Dense_0": {"kernel": broken}})
    found = bounds.values(network, NAMES, init_is_independent=True)
    for name in ("neyshabur_2018_kl_certified", "bartlett_2017_certified"):
        assert found[name] == "its value is not a number"
    assert math.isnan(bounds.arithmetic.kl_inverse(0.2, math.nan))
