"""JAX functions read as graphs: against the functions, and against what their authors wrote."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import example, given, settings
from hypothesis import strategies as st

from nets.importing import expressions, jaxpr
from nets.mlp import MLP
from nets.operations import MAX, MEAN


@pytest.fixture(autouse=True)
def as_others_write():
    """Other people's functions promote ranks."""
    with jax.numpy_rank_promotion("allow"):
        yield


def variables_of(module, shape, seed=0):
    """Its variables, every one moved: running means are not 0, and variances not 1."""
    found = module.init(jax.random.key(seed), jnp.zeros((1, *shape)))
    leaves, structure = jax.tree.flatten(found)
    rng = np.random.default_rng(seed)
    moved = [a + 0.2 * rng.random(a.shape).astype(np.float32) for a in leaves]
    return structure.unflatten(moved)


def read(module, shape, **options):
    variables = variables_of(module, shape)
    found = jaxpr.read(module.apply, variables, shape, **options)
    return found, variables


def kinds(found):
    return [node.kind for node in found.graph.nodes]


class Residual(nn.Module):
    """Normalised convolutions with a max-pool, a skip connection and a mean."""

    preactivated: bool = False

    @nn.compact
    def __call__(self, x):
        def convolution(units, stride=1):
            return nn.Conv(units, (3, 3), (stride, stride), use_bias=False)

        def normalise(x):
            return nn.BatchNorm(use_running_average=True)(x)

        x = nn.relu(normalise(convolution(4)(x)))
        x = nn.max_pool(x, (3, 3), (2, 2), padding=((1, 1), (1, 1)))
        y = normalise(x) if self.preactivated else x
        y = nn.relu(normalise(convolution(4)(y)))
        y = normalise(convolution(4)(y))
        x = nn.relu(x + y)
        return nn.Dense(3)(x.mean((1, 2)))


def test_normalisation_is_folded_and_the_mean_is_part_of_the_last_layer():
    found, variables = read(Residual(), (8, 8, 2))
    assert kinds(found) == [
        "input", "linear", "relu", "window", "linear", "relu", "linear", "add", "relu", "linear",
    ]  # fmt: skip
    assert (
        found.graph.nodes[3].op.kind == MAX and found.graph.nodes[-1].op.positions == 16
    )
    assert not found.graph.no_paths and not found.notes
    parameters = sum(a.size for a in jax.tree.leaves(found.params))
    its = sum(a.size for a in jax.tree.leaves(variables["params"]))
    assert parameters == its - 3 * 4  # a scale is folded, a shift is a bias
    x = np.random.default_rng(1).normal(size=(5, 8, 8, 2)).astype(np.float32)
    np.testing.assert_allclose(
        jax.jit(found.graph.apply)({"params": found.params}, x),
        jax.jit(Residual().apply)(variables, x),
        rtol=1e-4,
        atol=1e-5,
    )


def test_what_stands_before_padded_zeros_is_a_diagonal_layer():
    """A shift before zero padding is not the shift of the padded zeros."""
    found, _ = read(Residual(preactivated=True), (8, 8, 2))
    layers = [n for n in found.graph.nodes if n.kind == "linear"]
    assert [getattr(n.op, "groups", 1) for n in layers] == [1, 4, 1, 1, 1]
    assert found.params["Layer_1"]["kernel"].shape == (1, 1, 1, 4)


@pytest.mark.parametrize("preactivated", [False, True])
def test_a_network_is_read_alike_before_its_training(preactivated):
    """When means and shifts are 0, variances and scales 1."""
    module, shape = Residual(preactivated), (8, 8, 2)
    fresh = module.init(jax.random.key(0), jnp.zeros((1, *shape)))
    start = jaxpr.read(module.apply, fresh, shape)
    assert start.is_alike(read(module, shape)[0])


def test_equal_networks_have_equal_graphs():
    one, _ = read(Residual(), (8, 8, 2))
    other = jaxpr.read(
        Residual().apply, variables_of(Residual(), (8, 8, 2), seed=1), (8, 8, 2)
    )
    assert one.graph == other.graph and hash(one.graph) == hash(other.graph)


def test_an_mlp_is_a_chain_of_its_own_matrices():
    found, variables = read(MLP(5, 2, 3, True), (7,))
    assert not found.graph.no_chain
    for place in range(3):
        for name in ("kernel", "bias"):
            np.testing.assert_array_equal(
                found.params[f"Layer_{place}"][name],
                variables["params"][f"Dense_{place}"][name],
            )
    assert found.graph.names[1] == "params.Dense_1.kernel"


def test_nnx_modules():
    class Net(nnx.Module):
        def __init__(self, rngs):
            self.first = nnx.Conv(2, 4, (3, 3), rngs=rngs)
            self.norm = nnx.BatchNorm(4, use_running_average=True, rngs=rngs)
            self.last = nnx.Linear(4 * 36, 3, rngs=rngs)

        def __call__(self, x):
            x = nnx.relu(self.norm(self.first(x)))
            return self.last(x.reshape(x.shape[0], -1))

    graph, state = nnx.split(Net(nnx.Rngs(0)))
    found = jaxpr.read(lambda s, x: nnx.merge(graph, s)(x), state, (6, 6, 2))
    assert kinds(found) == ["input", "linear", "relu", "linear"]
    assert not found.graph.no_chain


def test_channels_first_becomes_channels_last():
    """As PyTorch has images; the kernel of the layer behind the flattening is reordered."""
    rng = np.random.default_rng(0)
    params = {
        "conv": rng.normal(size=(4, 2, 3, 3)).astype(np.float32),
        "bias": rng.normal(size=4).astype(np.float32),
        "last": rng.normal(size=(3, 4 * 30)).astype(np.float32),
    }

    def apply(p, x):
        x = jax.lax.conv_general_dilated(
            x, p["conv"], (1, 1), ((1, 1), (1, 1)),
            dimension_numbers=("NCHW", "OIHW", "NCHW"),
        )  # fmt: skip
        x = jax.nn.relu(x + p["bias"][None, :, None, None])
        return x.reshape(x.shape[0], -1) @ p["last"].T

    found = jaxpr.read(apply, params, (2, 5, 6))
    assert kinds(found) == ["input", "layout", "linear", "relu", "linear"]
    assert not found.graph.no_chain
    np.testing.assert_array_equal(
        found.params["Layer_0"]["kernel"], params["conv"].transpose(2, 3, 1, 0)
    )


def of_entries(function, expected):
    """The kinds between two layers around a function of single entries."""
    params = {"a": np.eye(4, 5, dtype=np.float32), "b": np.ones((5, 3), np.float32)}
    found = jaxpr.read(lambda p, x: function(x @ p["a"] + 0.5) @ p["b"], params, (4,))
    assert kinds(found)[2:-1] == expected
    return found


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (jax.nn.relu, ["relu"]),
        (lambda x: jnp.maximum(x, 0), ["relu"]),
        (lambda x: jnp.where(x > 0, x, 0), ["relu"]),
        (lambda x: jnp.where(x <= 0, 0.0, x), ["relu"]),
        (lambda x: jnp.where(x > 0, x, 0.1 * x), ["leaky"]),
        (jax.nn.leaky_relu, ["leaky"]),
        (lambda x: jnp.maximum(x, 0.2 * x), ["leaky"]),
        # What only looks like one: a threshold that is not 0, a larger slope below it, a cap.
        (lambda x: jnp.maximum(x, 1e-3), ["activation"]),
        (lambda x: jnp.where(x > 0.1, x, 0), ["activation"]),
        (lambda x: jnp.where(x > 0, x, 0.1 * x + 1), ["activation"]),
        (jax.nn.relu6, ["activation"]),
        (jax.nn.gelu, ["activation"]),
        (jnp.tanh, ["activation"]),
        (jnp.abs, ["activation"]),
        (lambda x: jax.nn.relu(-x) - jax.nn.relu(x), ["activation"]),
        # Others that do not look like one.
        *(
            pytest.param(function, ["activation"], marks=pytest.mark.slow)
            for function in (
                lambda x: jax.nn.gelu(x, approximate=False),
                jax.nn.silu,
                jax.nn.elu,
                jax.nn.softplus,
                jax.nn.hard_swish,
                lambda x: x**3,
            )
        ),
    ],
)
def test_activations_are_told_by_their_form(function, expected):
    found = of_entries(function, expected)
    assert bool(found.graph.no_paths) == (expected == ["activation"])


def test_activations_are_named():
    def name(function):
        return str(of_entries(function, ["activation"]).graph.nodes[2])

    assert name(jnp.tanh) == "tanh" and name(jax.nn.silu) == "silu"
    assert "gelu" in name(lambda x: jax.nn.gelu(x, approximate=False))
    assert name(jax.nn.relu6) == "relu6"


def test_equal_activations_make_equal_graphs():
    one, other = (of_entries(jax.nn.gelu, ["activation"]) for _ in range(2))
    assert one.graph == other.graph


def test_a_layer_used_twice_is_one_layer():
    params = {"a": np.eye(4, dtype=np.float32), "b": np.ones((4, 3), np.float32)}
    found = jaxpr.read(
        lambda p, x: jax.nn.relu(jax.nn.relu(x @ p["a"]) @ p["a"]) @ p["b"],
        params,
        (4,),
    )
    assert sorted(found.params) == ["Layer_0", "Layer_1"]
    assert [n.layer for n in found.graph.nodes if n.kind == "linear"] == [0, 0, 1]
    assert "more than once" in found.graph.no_chain


def test_two_layers_of_equal_weights_are_two():
    params = {name: np.eye(4, dtype=np.float32) for name in "ab"}
    found = jaxpr.read(lambda p, x: jax.nn.relu(x @ p["a"]) @ p["b"], params, (4,))
    assert sorted(found.params) == ["Layer_0", "Layer_1"] and not found.graph.no_chain


def test_what_depends_on_parameters_alone_is_computed():
    """Weight normalisation leaves a matrix."""
    rng = np.random.default_rng(0)
    params = {
        "v": rng.normal(size=(4, 3)).astype(np.float32),
        "g": np.ones(3, np.float32),
    }

    def apply(p, x):
        return x @ (p["v"] / jnp.linalg.norm(p["v"], axis=0) * p["g"])

    found = jaxpr.read(apply, params, (4,))
    assert kinds(found) == ["input", "linear"]
    np.testing.assert_allclose(
        found.params["Layer_0"]["kernel"],
        params["v"] / np.linalg.norm(params["v"], axis=0),
        rtol=1e-6,
    )


def with_final(final):
    params = {"a": np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)}
    return jaxpr.read(lambda p, x: final(x @ p["a"]), params, (4,))


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_a_softmax_at_the_end_is_taken_off_and_said(name):
    found = with_final(getattr(jax.nn, name))
    assert kinds(found) == ["input", "linear"]
    assert found.notes == (f"the {name} at its end was taken off",)


def test_what_is_no_softmax_stays():
    for final in (
        jax.nn.sigmoid,
        lambda z: jax.nn.softmax(z[:, :2]) * z[:, :1],
        jnp.exp,
    ):
        found = with_final(final)
        assert len(found.graph.nodes) > 2 and not found.notes
    # A temperature belongs to the logits.
    found = with_final(lambda z: jax.nn.softmax(2 * z))
    once = with_final(jax.nn.softmax).params["Layer_0"]["kernel"]
    np.testing.assert_allclose(found.params["Layer_0"]["kernel"], 2 * once, rtol=1e-6)


def windows(function):
    params = {"a": np.ones((8, 3), np.float32)}
    found = jaxpr.read(
        lambda p, x: function(x).mean((1, 2)) @ p["a"][: x.shape[-1]],
        params,
        (6, 6, 2),
    )
    return [n.op for n in found.graph.nodes if n.kind == "window"]


def test_largest_values():
    (found,) = windows(lambda x: nn.max_pool(x, (2, 2), (2, 2)))
    assert (found.kind, found.size, found.strides) == (MAX, (2, 2), (2, 2))


def test_a_largest_value_whose_start_is_among_the_parameters():
    """As equinox's pools have it where all that is a number is a parameter."""

    def apply(p, x):
        window = (1, 2, 2, 1), (1, 2, 2, 1), "VALID"
        x = jax.lax.reduce_window(x, p["start"], jax.lax.max, *window)
        return x.mean((1, 2)) @ p["a"]

    params = {
        "a": np.ones((2, 3), np.float32),
        "start": np.asarray(-np.inf, np.float32),
    }
    found = jaxpr.read(apply, params, (6, 6, 2))
    assert [n.op.kind for n in found.graph.nodes if n.kind == "window"] == [MAX]
    params["start"] = np.zeros((), np.float32)  # the larger of that and 0
    found = jaxpr.read(apply, params, (6, 6, 2))
    assert "opaque" in [n.kind for n in found.graph.nodes]


def test_means():
    (found,) = windows(lambda x: nn.avg_pool(x, (3, 3), (1, 1), padding="SAME"))
    assert found.kind == MEAN and found.counts_padding
    (found,) = windows(
        lambda x: nn.avg_pool(
            x, (3, 3), (1, 1), padding="SAME", count_include_pad=False
        )
    )
    assert found.kind == MEAN and not found.counts_padding


def test_concatenations_splits_and_paddings():
    rng = np.random.default_rng(0)
    params = {
        "a": rng.normal(size=(3, 3, 2, 4)).astype(np.float32),
        "b": rng.normal(size=(3, 3, 6, 4)).astype(np.float32),
        "c": rng.normal(size=(4, 3)).astype(np.float32),
    }

    def convolve(x, k):
        return jax.lax.conv_general_dilated(
            x, k, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )

    def apply(p, x):
        y = jnp.concatenate([x, jax.nn.relu(convolve(x, p["a"]))], axis=-1)
        y = jax.nn.relu(convolve(jnp.pad(y, ((0, 0), (1, 0), (0, 2), (0, 0))), p["b"]))
        left, right = jnp.split(y, 2, axis=2)
        return (left - right).max((1, 2)) @ p["c"]

    found = jaxpr.read(apply, params, (4, 4, 2))
    assert {"concat", "layout", "add", "window"} <= set(kinds(found))
    assert not found.graph.no_paths


def test_zeros_that_were_put_between_are_entries_like_others():
    params = {"a": np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)}
    found = jaxpr.read(
        lambda p, x: jax.nn.relu(jnp.pad(x, ((0, 0), (1, 1))) - 1) @ p["a"],
        params,
        (4,),
    )
    assert kinds(found) == ["input", "layout", "affine", "relu", "linear"]


def test_layer_normalisation_runs_and_has_no_paths():
    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            return nn.Dense(3)(nn.relu(nn.LayerNorm()(nn.Dense(6)(x))))

    found, _ = read(Net(), (5,))
    assert "opaque" not in kinds(found) and "times" in kinds(found)
    assert found.graph.no_paths and not found.graph.unread


def test_what_has_no_rule_is_opaque_and_runs():
    params = {"a": np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)}
    found = jaxpr.read(lambda p, x: jnp.sort(x @ p["a"], axis=1), params, (4,))
    assert kinds(found) == ["input", "linear", "opaque"]
    assert "sort" in found.graph.no_paths and not found.graph.unread


def test_learned_numbers_in_what_is_not_read_are_counted():
    params = {
        "a": np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32),
        "b": np.ones((3, 3), np.float32),
    }

    def apply(p, x):
        x = x @ p["a"]
        return jnp.where(p["b"][0] > x, jnp.arctan2(x, p["b"][1]), x)

    assert jaxpr.read(apply, params, (4,)).graph.unread


def test_rounding_to_bfloat16_is_kept():
    params = {"a": np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)}
    found = jaxpr.read(
        lambda p, x: (x.astype(jnp.bfloat16)).astype(jnp.float32) @ p["a"], params, (4,)
    )
    assert "opaque" in kinds(found)
    x = np.random.default_rng(1).normal(size=(2, 4)).astype(np.float32)
    rounded = np.asarray(jnp.asarray(x).astype(jnp.bfloat16), np.float32)
    np.testing.assert_allclose(
        found.graph.apply({"params": found.params}, x), rounded @ params["a"], rtol=1e-5
    )


@pytest.mark.parametrize(
    ("apply", "said"),
    [
        (lambda p, x: x @ p["a"] - jnp.mean(x @ p["a"], axis=0), "must not be mixed"),
        (
            lambda p, x: (
                x * jax.random.bernoulli(jax.random.key(0), 0.5, x.shape) @ p["a"]
            ),
            "random",
        ),
        (
            lambda p, x: x @ p["a"] if x.sum() > 0 else x @ p["a"] * 2,
            "depends on the values",
        ),
        (lambda p, x: (x @ p["a"]).sum(1), "logits [1, classes] are needed"),
        (lambda p, x: jnp.ones((x.shape[0], 3)) * p["a"][0, 0], "does not depend"),
        (lambda p, x: jnp.tanh(x), "no linear layer"),
        (lambda p, x: (x @ p["a"])[:, :1].repeat(2, 0).reshape(1, -1), "logits"),
    ],
)
def test_what_cannot_be_read_is_named(apply, said):
    params = {"a": np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)}
    with pytest.raises(jaxpr.NotReadable, match=said.replace("[", r"\[")):
        jaxpr.read(apply, params, (4,))


def test_loops_and_choices_inside_run_as_they_are():
    params = {"a": np.random.default_rng(0).normal(size=(4, 4)).astype(np.float32)}

    def apply(p, x):
        return jax.lax.fori_loop(0, 3, lambda _, z: jnp.tanh(z @ p["a"]), x) @ p["a"]

    found = jaxpr.read(apply, params, (4,))
    assert "opaque" in kinds(found) and found.graph.unread


def convolve(x, kernel, dimensions=("NHWC", "HWIO", "NHWC")):
    return jax.lax.conv_general_dilated(
        x, kernel, (1, 1), "SAME", dimension_numbers=dimensions
    )


def test_a_vector_and_an_image_of_one_value_go_together():
    rng = np.random.default_rng(0)
    params = {
        "a": rng.normal(size=(12, 12)).astype(np.float32),
        "k": rng.normal(size=(1, 1, 3, 3)).astype(np.float32),
        "b": rng.normal(size=(12, 4)).astype(np.float32),
    }

    def apply(p, x, turned):
        flat = (x.reshape(len(x), -1) @ p["a"]).reshape(x.shape)
        both = (flat, convolve(x, p["k"]))[:: -1 if turned else 1]
        return (both[0] + both[1]).reshape(len(x), -1) @ p["b"]

    for turned in (False, True):
        found = jaxpr.read(lambda p, x, t=turned: apply(p, x, t), params, (2, 2, 3))
        assert "add" in kinds(found)


def test_a_square_kernel_and_its_transpose_are_two_layers():
    params = {
        "k": np.random.default_rng(0).normal(size=(1, 1, 3, 3)).astype(np.float32)
    }

    def apply(p, x):
        x = jax.nn.relu(convolve(x, p["k"]))
        return convolve(x, p["k"], ("NHWC", "HWOI", "NHWC")).mean((1, 2))

    found = jaxpr.read(apply, params, (2, 2, 3))
    assert sorted(found.params) == ["Layer_0", "Layer_1"]


def test_where_entries_go_may_be_learned():
    params = {"a": np.eye(5, 3, dtype=np.float32), "place": np.int32(2)}
    found = jaxpr.read(
        lambda p, x: jax.lax.dynamic_slice(x, (0, p["place"]), (x.shape[0], 5)) @ p["a"],
        params, (9,),
    )  # fmt: skip
    assert found.graph.unread


def test_a_value_twice_is_a_scale_and_long_formulas_end():
    params = {"a": np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)}
    found = jaxpr.read(lambda p, x: (lambda h: h + h - 3 * h)(x @ p["a"]), params, (4,))
    np.testing.assert_allclose(
        found.params["Layer_0"]["kernel"], -params["a"], rtol=1e-6
    )

    def long(p, x):
        h = x @ p["a"]
        for _ in range(20):
            h = h * jax.nn.sigmoid(h)
        return h

    assert jaxpr.read(long, params, (4,)).graph.no_paths


def test_what_was_not_understood_is_not_blamed_on_the_batch():
    params = {"a": np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)}
    kernel = jnp.ones((1, 1, 1, 3), jnp.bfloat16)

    def in_half_precision(p, x):
        y = convolve(x.astype(jnp.bfloat16).reshape(-1, 2, 2, 1), kernel)
        return y.astype(jnp.float32).mean((1, 2)) + x @ p["a"]

    with pytest.raises(jaxpr.NotReadable) as error:
        jaxpr.read(in_half_precision, params, (4,))
    assert "batch" not in str(error.value)


LAYERS = st.sampled_from(
    ["dense", "conv", "group", "stride", "relu", "leaky", "bn", "max", "mean", "skip", "pad",
     "turn", "gelu", "scale"]
)  # fmt: skip


@settings(max_examples=15, deadline=None)
@example(["leaky", "gelu", "leaky"], 0)  # longer than one formula may be
@given(st.lists(LAYERS, min_size=1, max_size=6), st.integers(0, 1000))
def test_random_compositions_are_read_as_they_run(names, seed):
    """`read` itself compares logits on a batch; here also with other inputs."""
    rng = np.random.default_rng(seed)
    params, channels, size, steps = {}, 4, 6, []

    def drawn(*shape):
        name = f"p{len(params)}"
        params[name] = (rng.normal(size=shape) / 2).astype(np.float32)
        return name

    def convolution(name, stride=1, groups=1):
        return lambda p, x: jax.lax.conv_general_dilated(
            x, p[name], (stride, stride), ((1, 1), (0, 1)), feature_group_count=groups,
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )  # fmt: skip

    for step in names:
        if step == "conv":
            steps.append(convolution(drawn(3, 2, channels, channels)))
        elif step == "group":
            steps.append(convolution(drawn(3, 2, channels // 2, channels), groups=2))
        elif step == "stride" and size > 3:
            steps.append(convolution(drawn(3, 2, channels, channels), stride=2))
            size = (size + 1) // 2
        elif step == "relu":
            steps.append(lambda p, x: jax.nn.relu(x))
        elif step == "leaky":
            steps.append(lambda p, x: jax.nn.leaky_relu(x, 0.3))
        elif step == "gelu":
            steps.append(lambda p, x: jax.nn.gelu(x))
        elif step == "scale":
            steps.append(lambda p, x: 1 - 2 * x)
        elif step == "bn":
            scale, shift = drawn(channels), drawn(channels)
            steps.append(lambda p, x, s=scale, t=shift: (x - p[t]) * p[s] + p[t])
        elif step == "max":
            steps.append(
                lambda p, x: nn.max_pool(x, (2, 2), (1, 1), padding=((1, 0), (0, 1)))
            )
        elif step == "mean":
            steps.append(lambda p, x: nn.avg_pool(x, (2, 2), (1, 1), padding="SAME"))
        elif step == "skip":
            inner = convolution(drawn(3, 2, channels, channels))
            steps.append(lambda p, x, f=inner: x + jax.nn.relu(f(p, x)))
        elif step == "pad":
            steps.append(
                lambda p, x: jnp.pad(x, ((0, 0), (1, 0), (0, 1), (0, 0)))[:, :-1, 1:]
            )
        elif step == "turn":
            steps.append(lambda p, x: x.transpose(0, 2, 1, 3))
        elif step == "dense":
            name = drawn(channels, channels)
            steps.append(lambda p, x, w=name: x @ p[w])

    def body(p, x):
        for step in steps:
            x = step(p, x)
        return x

    shape = (6, 6, channels)
    out = jax.eval_shape(body, params, jnp.zeros((1, *shape)))
    last = drawn(int(np.prod(out.shape[1:])), 3)

    def apply(p, x):
        x = body(p, x)
        return x.reshape(x.shape[0], -1) @ p[last]

    found = jaxpr.read(apply, params, shape)
    x = rng.normal(size=(2, *shape)).astype(np.float32)
    expected = np.asarray(apply(params, x))
    np.testing.assert_allclose(
        found.graph.apply({"params": found.params}, x.reshape(2, -1)),
        expected,
        rtol=1e-3,
        atol=1e-4 * np.abs(expected).max(),
    )
    assert "opaque" not in kinds(found)


def test_a_long_formula_is_one_of_another():
    x = ("x",)
    inner = ("tanh", (), ("mul", (), ("constant", 2.0), x))
    outer = ("select_n", (), ("ge", (), x, ("constant", 0.0)), ("neg", (), x), x)
    whole = expressions._with_x(
        expressions._with_x(outer, x, ("old",)), ("old",), inner
    )
    assert expressions.composed(whole) == (inner, outer)
    assert expressions.composed(("add", (), x, inner)) is None
    assert expressions.composed(inner) == (inner[2], ("tanh", (), x))


def test_expressions_are_simplified():
    assert expressions.recognised(("max", (), ("x",), ("constant", 0.0))) == [("relu",)]
    assert expressions.recognised(("mul", (), ("x",), ("x",))) is None
    assert expressions.affine(("sub", (), ("constant", 1.0), ("neg", (), ("x",)))) == (
        ("x",),
        1.0,
        1.0,
    )
