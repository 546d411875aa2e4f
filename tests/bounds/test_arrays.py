"""Networks given as arrays: what cannot be one is refused before it becomes a number."""

import math

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import struct

import bounds
from bounds import arrays, checks, registry
from nets.mlp import MLP
from nets.stochastic import GaussianNetwork

RNG = np.random.default_rng(0)
W = [RNG.standard_normal((4, 6)), RNG.standard_normal((6, 3))]
X, Y = RNG.standard_normal((20, 4)), RNG.integers(3, size=20)
B = [np.zeros(6), np.zeros(3)]

BAD = {
    "do not follow one another": {"weights": W[::-1]},
    "other shapes than the weights": {"init": [W[0], W[0]]},
    "of rank 2, are needed": {"weights": [W[0], "no"]},
    "whole numbers or floats": {"weights": [w.astype(jnp.bfloat16) for w in W]},
    "one output": {"weights": [*W[:-1], W[-1][:, :1]]},
    "weights: not finite": {"weights": [W[0] * np.nan, W[1]]},
    "inputs: not finite": {"inputs": X * np.inf},
    "a whole number for each example": {"labels": Y[:10]},
    "labels float64": {"labels": Y + 0.7},
    "labels int64 of shape (20, 1)": {"labels": Y[:, None]},
    "3 is not one of 0..2": {"labels": Y + 1},
    "-1 is not one of 0..2": {"labels": Y - 1},
    "biases: 1 for 2 layers": {"biases": B[:1]},
    "biases: (6,) for a layer (6, 3)": {"biases": [B[0], B[0]]},
    "init_biases: goes with init": {"init_biases": B},
    "must be a pair": {"holdout": X},
    "holdout (20, 4) with labels": {"holdout": (X + 1, Y[:5])},
    "holdout: labels, one an output": {"holdout": (X + 1, Y + 9)},
    "weights: none": {"weights": []},
    "weights: empty, of shape (4, 0)": {"weights": [W[0][:, :0], W[1][:0]]},
    "loss='hinge': one of sigmoid, softmax, squared, linear": {"loss": "hinge"},
    "holdout: bytes are divided by 255": {"holdout": (np.ones((20, 4), np.uint8), Y)},
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


@pytest.mark.parametrize("place", ["labels", "holdout"])
@pytest.mark.parametrize(
    ("kind", "number"),
    [
        (np.int64, 2**32),  # 0 in int32
        (np.int64, 2**32 + 2),
        (np.int64, -(2**32) + 1),
        (np.int64, 2**63 - 1),
        (np.uint64, 2**64 - 1),  # -1 in int64
        (np.uint64, 2**63 + 1),
        (np.uint32, 2**32 - 1),
    ],
)
def test_labels_are_compared_before_they_are_cast(place, kind, number):
    labels = Y.astype(kind)
    labels[7] = number
    arrays = {"labels": labels} if place == "labels" else {"holdout": (X + 1, labels)}
    with pytest.raises(ValueError, match=f"{number} is not one of 0\\.\\.2") as refusal:
        bounds.from_arrays(**({"weights": W, "inputs": X, "labels": Y} | arrays))
    assert "\n" not in str(refusal.value)


def test_whole_numbers_are_those_of_python():
    rng = np.random.default_rng(3)
    for kind in "bBhHiIlLqQ":
        info = np.iinfo(kind)
        for _ in range(50):
            some = [0, 1, 2, 9, 10, 11, info.max, info.min, info.max - 1]
            numbers = np.array([some[i] for i in rng.integers(9, size=3)], kind)
            allowed = all(0 <= n <= 9 for n in numbers.tolist())
            try:
                found = checks.whole_numbers("n", numbers, 10)
            except ValueError:
                assert not allowed
            else:
                assert allowed and found.tolist() == numbers.tolist()
                assert found.dtype == np.int32
    for wrong in ([0.0], [True], [2**64], ["1"]):
        with pytest.raises(ValueError, match="n: of type"):
            checks.whole_numbers("n", np.asarray(wrong), 10)


def test_bytes_are_divided_by_255_and_other_numbers_are_not():
    """As in `evaluate --data`: see `test_data_files`."""
    whole = np.abs(60 * X).round().astype(np.uint8)
    held_out = whole[:5] + np.uint8(1)
    of_bytes = bounds.from_arrays(W, whole, Y, holdout=(held_out, Y[:5]))
    expected = np.array([[int(n) / 255 for n in row] for row in whole])
    np.testing.assert_allclose(of_bytes.sample.inputs[:20], expected, rtol=2e-7)
    np.testing.assert_allclose(
        of_bytes.holdout.inputs[:5], np.array(held_out.tolist()) / 255, rtol=2e-7
    )
    for other in (whole.tolist(), whole.astype(np.int64), whole.astype(np.uint16)):
        as_given = bounds.from_arrays([w.tolist() for w in W], other, Y.tolist())
        np.testing.assert_array_equal(as_given.sample.inputs[:20], whole)


@pytest.mark.parametrize("kind", [bool, np.int8, np.uint16, np.float16, np.float64])
def test_only_bytes_are_divided(kind):
    numbers = np.array([[0, 1], [1, 1]], kind)
    np.testing.assert_array_equal(checks.as_inputs(numbers), [[0, 1], [1, 1]])


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.uint8, np.int32])
def test_rows_in_common_are_those_that_loops_find(kind):
    rng = np.random.default_rng(5)
    for _ in range(20):
        train = rng.integers(3, size=(7, 3)).astype(kind)
        held_out = rng.integers(3, size=(9, 3)).astype(kind)
        common = sum(any((a == b).all() for b in train) for a in held_out)
        assert checks.shared_rows(train, held_out) == common
    zeros = np.zeros((1, 2))
    assert checks.shared_rows(zeros, -zeros) == 1


def test_rows_that_only_add_up_to_the_same_are_not_in_common():
    rng = np.random.default_rng(8)
    train = rng.integers(2**64, size=(5, 2), dtype=np.uint64)
    first, second = checks._factors(2)
    held_out = np.stack([train[:, 0] - second, train[:, 1] + first], 1)  # modulo 2^64
    np.testing.assert_array_equal(checks._sums(train), checks._sums(held_out))
    assert checks.shared_rows(train, held_out) == 0
    assert checks.shared_rows(train, np.concatenate([held_out, train[1:3]])) == 2


def test_held_out_examples_that_are_training_examples():
    rng = np.random.default_rng(6)
    fresh, y = rng.standard_normal((200, 4)), np.zeros(200, int)
    bounds.from_arrays(W, X, Y, holdout=(fresh, y))
    mixed = np.concatenate([fresh[:-2], X[:2]])
    with pytest.warns(
        UserWarning, match="2 of 200 held-out inputs are training inputs"
    ):
        bounds.from_arrays(W, X, Y, holdout=(mixed, y))
    mixed = np.concatenate([fresh[:-3], X[:3]])
    with pytest.raises(ValueError, match=r"3 of 200 held-out .* more than 1%"):
        bounds.from_arrays(W, X, Y, holdout=(mixed, y))
    with pytest.raises(ValueError, match="20 of 20 held-out"):
        bounds.from_arrays(W, X, Y, holdout=(X, Y))
    with pytest.raises(ValueError, match="20 of 20 held-out"):  # once rounded the same
        bounds.from_arrays(W, X, Y, holdout=(X * (1 + 1e-12), Y))


def test_networks_may_have_a_sample_in_common():
    sample = bounds.sample_of(X, Y, W[-1].shape[1])
    one, other = (
        bounds.from_arrays([s * w for w in W], sample, holdout=(X + 1, Y))
        for s in (1, 2)
    )
    assert one.sample is other.sample is sample
    names = ["train_error", "path_norm", "holdout_cp"]
    assert bounds.values(one, names) == bounds.values(
        bounds.from_arrays(W, X, Y, holdout=(X + 1, Y)), names
    )
    with pytest.raises(ValueError, match="has its own"):
        bounds.from_arrays(W, sample, Y)
    with pytest.raises(ValueError, match="a whole number for each example"):
        bounds.from_arrays(W, X)
    with pytest.raises(ValueError, match="labels, one an output"):
        bounds.from_arrays([W[0], W[1][:, :2]], sample)
    with pytest.raises(ValueError, match="are training inputs"):
        bounds.from_arrays(W, sample, holdout=(X, Y))


# One program for a shape


@struct.dataclass
class Mine:
    """What a measure of one's own returns."""

    number: chex.Array


@pytest.fixture
def traced(monkeypatch):
    """Groups, each time that they are traced."""
    found = []

    def measure(network, groups):
        found.append(groups)
        return bounds.measure(network, groups)

    monkeypatch.setattr(arrays, "measure", measure)
    arrays._program.cache_clear()
    yield found
    arrays._program.cache_clear()


class Scaled(nn.Module):
    """A network that looks at what is no field of it."""

    @nn.compact
    def __call__(self, x):
        return SCALES[-1] * MLP(5, 1, 3)(x)


SCALES = [1.0]


def test_a_network_of_ones_own_may_look_at_anything(traced):
    y = np.argmax(X @ RNG.standard_normal((4, 3)), axis=1)
    for model in (Scaled(), GaussianNetwork(Scaled())):
        assert not arrays._is_ours((model,))
    params = jax.jit(Scaled().init)(jax.random.key(0), X)["params"]
    network = bounds.Network(Scaled(), params, bounds.sample_of(X, y, 3))
    first = bounds.values(network, ["train_error"])["train_error"].value
    SCALES.append(-1.0)
    try:
        second = bounds.values(network, ["train_error"])["train_error"].value
    finally:
        SCALES.pop()
    z = np.asarray(MLP(5, 1, 3).apply({"params": params["MLP_0"]}, X))
    expected = [np.mean(np.argmax(sign * z, axis=1) != y) for sign in (1, -1)]
    assert [first, second] == pytest.approx(expected) and first != second


def test_a_second_network_of_a_shape_is_not_traced_again(traced):
    names = ["param_norm", "fro_dist"]
    squares = sum(np.sum(np.square(w)) for w in W)
    for scale in (1.0, 3.0):
        network = bounds.from_arrays([scale * w for w in W], X, Y)
        found, reason = bounds.values(network, names).values()
        assert found.value == pytest.approx(scale * math.sqrt(squares / len(Y)))
        assert reason == "the initial weights are not given"
    assert len(traced) == 1
    with_init = bounds.from_arrays(W, X, Y, init=[2 * w for w in W])
    found = bounds.values(with_init, names, init_is_independent=True)["fro_dist"]
    assert found.value == pytest.approx(math.sqrt(squares / len(Y)))
    assert len(traced) == 2


def test_a_measure_of_ones_own_may_look_at_anything(traced):
    """So it is traced at every call; a group that has become another's is another program."""
    numbers = [2.0]

    def own(network):
        return Mine(jnp.asarray(numbers[-1]))

    def value(mine):
        """The number."""
        return bounds.BoundValue(mine.number, 0.0, mine.number, jnp.log(mine.number))

    network = bounds.from_arrays(W, X, Y)
    entries = {"mine": bounds.BoundSpec(value, "Me 2026", "heuristic")}
    for new in (own, lambda network: Mine(jnp.asarray(7.0))):
        measures = (bounds.Measure.one("mine", Mine, new),)
        registry.add(entries, measures)
        try:
            found = []
            for number in (2.0, 3.0):
                numbers.append(number)
                found.append(bounds.values(network, ["mine"])["mine"].value)
        finally:
            registry.remove(entries, measures)
        assert found == ([2.0, 3.0] if new is own else [7.0, 7.0])
    assert len(traced) == 4
