import functools

import jax
import numpy as np
import pytest

from nets import kernels, runs, training
from nets.cnn import CNN
from nets.mlp import MLP
from nets.sample import pad_sample
from nets.strided import StridedCNN
from nets.subspace import SubspaceNetwork, cores, materialized, with_cores
from tests.nets.test_training import FEATURES, data, plan

FIXED = ("fixed_kernel", "left", "right")
MODEL = SubspaceNetwork(MLP(12, 2, 3, True), 5)


@functools.partial(jax.jit, static_argnums=(0, 2))
def initial(model=MODEL, seed=0, features=FEATURES):
    return model.init(jax.random.key(seed), np.zeros((1, features)))["params"]


def drawn(params, seed=0):
    """Cores as if learned: standard normal numbers."""
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(a.shape).astype(np.float32) for a in cores(params)]


@functools.cache
def trained():
    """(parameters before, after, losses by epoch) of three runs."""
    p = plan(
        model=MODEL, loss="softmax", batch_size=4, learning_rate=0.3, margin=99.0,
        max_epochs=30,
    )  # fmt: skip

    def start(seed):
        params = training.init_params(p, jax.random.key(seed), FEATURES)
        state = training.init_state(p, params, jax.random.key(seed + 100))
        return state, pad_sample(*data(60, seed), 64)

    after, losses = {}, {}
    layout = runs.make_layout(jax.devices()[:1])
    for tick in runs.train_many(p, range(3), start, layout):
        for seed, checks in tick.checks.items():
            losses.setdefault(seed, []).extend(checks[:, 2])
        after |= {s: done.state["params"] for s, done in tick.finished.items()}
    return [(start(s)[0].params, after[s], losses[s]) for s in range(3)]


def test_training_lowers_the_loss_and_leaves_what_is_fixed():
    for before, after, losses in trained():
        assert len(losses) == 30 and losses[-1] < 0.65 * losses[0]
        pairs = zip(kernels.layers(before), kernels.layers(after), strict=True)
        for was, is_now in pairs:
            assert set(was) == {*FIXED, "core", "bias"}
            for name in FIXED:
                np.testing.assert_array_equal(was[name], is_now[name])
            assert not np.any(was["core"]) and np.any(is_now["core"])
            assert not np.any(was["bias"]) and np.any(is_now["bias"])


@pytest.mark.slow
def test_what_is_fixed_is_a_function_of_the_key():
    def begun(seed):
        return training.init_params(plan(model=MODEL), jax.random.key(seed), FEATURES)

    one, other, again = begun(0), begun(1), begun(0)
    with jax.enable_x64(True):
        in_float64 = begun(0)
    for same in (again, in_float64):
        jax.tree.map(np.testing.assert_array_equal, one, same)
        assert all(leaf.dtype == np.float32 for leaf in jax.tree.leaves(same))
    pairs = zip(kernels.layers(one), kernels.layers(other), strict=True)
    assert all(np.all(a[n] != b[n]) for a, b in pairs for n in FIXED)


@pytest.mark.parametrize(
    ("rank", "biases"),
    [
        (1, False),
        (5, True),
        (100, False),
        pytest.param(1, True, marks=pytest.mark.slow),
        pytest.param(5, False, marks=pytest.mark.slow),
        pytest.param(100, True, marks=pytest.mark.slow),
    ],
)
def test_the_materialized_network_is_the_same(rng, biases, rank):
    model = SubspaceNetwork(MLP(12, 2, 3, biases), rank)
    params = initial(model)
    params = with_cores(params, drawn(params))
    x = rng.standard_normal((40, FEATURES)).astype(np.float32)
    plain, whole = MLP(12, 2, 3, biases), materialized(model, params)
    like = jax.eval_shape(plain.init, jax.random.key(0), x)["params"]
    assert jax.tree.map(np.shape, whole) == jax.tree.map(np.shape, like)
    run, apply = (jax.jit(one.apply) for one in (plain, model))
    expected = apply({"params": params}, x)
    np.testing.assert_allclose(run({"params": whole}, x), expected, atol=2e-5)
    # Any axes may stand before that of the features.
    several = apply({"params": params}, x.reshape(4, 10, FEATURES))
    np.testing.assert_allclose(several.reshape(40, 3), expected, atol=2e-5)
    for layer, w in zip(
        kernels.layers(params), kernels.weight_matrices(whole), strict=True
    ):
        move = [np.asarray(layer[n], float) for n in ("left", "core", "right")]
        by_hand = np.asarray(layer["fixed_kernel"], float) + np.linalg.multi_dot(move)
        np.testing.assert_allclose(w, by_hand, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("biases", [False, True])
@pytest.mark.parametrize("kind", [CNN, StridedCNN])
def test_convolutions_learn_in_a_subspace_of_their_kernels(rng, biases, kind):
    """The plain network of the kernels put together by hand, from matrices in float64."""
    plain = kind((6, 7, 2), 3, 2, 4, biases)
    model, features = SubspaceNetwork(plain, 4), 6 * 7 * 2
    params = initial(model, 0, features)
    params = with_cores(params, drawn(params))
    x = rng.standard_normal((5, features)).astype(np.float32)
    like = jax.eval_shape(plain.init, jax.random.key(0), x)["params"]
    by_hand = jax.tree.map(lambda a: np.zeros(a.shape, a.dtype), like)
    order = sorted(by_hand, key=lambda name: int(name.split("_")[1]))
    for name, layer in zip(order, kernels.layers(params), strict=True):
        move = [np.asarray(layer[n], float) for n in ("left", "core", "right")]
        fixed = np.asarray(layer["fixed_kernel"], float)
        kernel = fixed + np.linalg.multi_dot(move).reshape(fixed.shape)
        assert np.linalg.matrix_rank((kernel - fixed).reshape(-1, fixed.shape[-1])) <= 4
        by_hand[name]["kernel"] = kernel.astype(np.float32)
        if biases:
            by_hand[name]["bias"] = np.asarray(layer["bias"])
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5),
        jax.jit(materialized, static_argnums=0)(model, params), by_hand,
    )  # fmt: skip
    expected = jax.jit(plain.apply)({"params": by_hand}, x)
    found = jax.jit(model.apply)({"params": params}, x)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_at_the_start_it_is_the_network_that_is_fixed():
    params = initial()
    fixed = [layer["fixed_kernel"] for layer in kernels.layers(params)]
    weights = kernels.weight_matrices(materialized(MODEL, params))
    jax.tree.map(np.testing.assert_array_equal, weights, fixed)


def test_cores_are_what_is_learned_and_can_be_put_in():
    params = initial()
    shapes = [(5, 5), (12,), (5, 5), (12,), (5, 3), (3,)]
    assert [a.shape for a in cores(params)] == shapes
    arrays = drawn(params)
    found = with_cores(params, arrays)
    jax.tree.map(np.testing.assert_array_equal, cores(found), arrays)
    for was, is_now in zip(kernels.layers(params), kernels.layers(found), strict=True):
        assert all(is_now[name] is was[name] for name in FIXED)
    without = initial(SubspaceNetwork(MLP(12, 2, 3, False), 100))
    assert [a.shape for a in cores(without)] == [(6, 12), (12, 12), (12, 3)]


LARGE = SubspaceNetwork(MLP(200, 1, 50, False), 30)


@functools.cache
def large():
    """A network in a subspace, and the same one with cores as if learned."""
    params = initial(LARGE, 0, 300)
    return params, with_cores(params, drawn(params))


@pytest.mark.slow
def test_unit_cores_move_weights_by_the_size_they_have():
    params, moved = large()
    weights = kernels.weight_matrices(materialized(LARGE, moved))
    for layer, w in zip(kernels.layers(params), weights, strict=True):
        size = np.sqrt(2 / sum(w.shape))
        assert np.std(layer["fixed_kernel"]) == pytest.approx(size, rel=0.05)
        assert np.std(w - layer["fixed_kernel"]) == pytest.approx(size, rel=0.1)


def test_a_step_is_one_on_the_weights_as_far_as_the_subspace_allows():
    """A (A' G B') B is 2 in out / ((in + out) r r') times the projection of G."""
    for layer in kernels.layers(large()[0]):
        left, right = (np.asarray(layer[n], float) for n in ("left", "right"))
        size = left.shape[0], right.shape[1]
        gradient = np.random.default_rng(0).standard_normal(size)
        step = left @ left.T @ gradient @ right.T @ right
        projected = left @ np.linalg.pinv(left) @ gradient
        projected = projected @ np.linalg.pinv(right) @ right
        factor = 2 * size[0] * size[1] / (sum(size) * 30 * 30)
        np.testing.assert_allclose(step, factor * projected, atol=1e-4)
