"""Networks given as arrays: what cannot be one is refused before it becomes a number."""

import math

import numpy as np
import pytest

import bounds

RNG = np.random.default_rng(0)
W = [RNG.standard_normal((4, 6)), RNG.standard_normal((6, 3))]
X, Y = RNG.standard_normal((20, 4)), RNG.integers(3, size=20)
B = [np.zeros(6), np.zeros(3)]

BAD = {
    "do not follow one another": {"weights": W[::-1]},
    "other shapes than the weights": {"init": [W[0], W[0]]},
    "numbers of rank 2": {"weights": [W[0], "no"]},
    "weights: not finite": {"weights": [W[0] * np.nan, W[1]]},
    "inputs: not finite": {"inputs": X * np.inf},
    "a whole number for each example": {"labels": Y[:10]},
    "labels float64": {"labels": Y + 0.7},
    "labels int64 of shape (20, 1)": {"labels": Y[:, None]},
    "they must be 0..2": {"labels": Y + 1},
    "biases: 1 for 2 layers": {"biases": B[:1]},
    "biases: (6,) for a layer (6, 3)": {"biases": [B[0], B[0]]},
    "init_biases: goes with init": {"init_biases": B},
    "must be a pair": {"holdout": X},
    "holdout (20, 4) with labels": {"holdout": (X, Y[:5])},
    "holdout: labels": {"holdout": (X, Y + 9)},
    "holdout has 3 inputs, not 4": {"holdout": (X[:, :3], Y)},
}


@pytest.mark.parametrize("message", BAD)
def test_what_is_no_network_is_refused(message):
    arrays = {"weights": W, "inputs": X, "labels": Y} | BAD[message]
    with pytest.raises(ValueError) as refusal:
        bounds.from_arrays(**arrays)
    assert message in str(refusal.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"names": ["foo"]}, "no bound is called 'foo'"),
        ({"delta": 2}, "delta=2"),
        ({"delta": math.nan}, "delta=nan"),
        ({"margin": -1.0}, "margin=-1.0"),
    ],
)
def test_options_that_cannot_be_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        bounds.values(bounds.from_arrays(W, X, Y), **options)


def test_bytes_and_lists_are_numbers():
    whole = np.abs(X).round().astype(np.uint8)
    of_bytes = bounds.from_arrays(W, whole, Y)
    of_lists = bounds.from_arrays([w.tolist() for w in W], whole.tolist(), Y.tolist())
    names = ["train_error", "path_norm"]
    assert bounds.values(of_bytes, names) == bounds.values(of_lists, names)


def test_one_name_alone_is_told_to_be_a_list():
    with pytest.raises(ValueError, match=r"say \['train_error'\]"):
        bounds.values(None, "train_error")
