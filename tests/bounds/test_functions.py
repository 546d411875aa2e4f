"""One network given in four ways: a JAX function, a Flax module, an ONNX file, a PyTorch module."""

import functools
import warnings

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import bounds
from bounds import functions
from bounds.measures.layers import NORMS
from nets.importing import jaxpr

# What is deterministic and needs no ascent and no noise; `init` is given. Norms take a minute to
# compile: they are in `EVERY`.
GROUPS = (
    "architecture", "task", "margins", "inputs", "paths", "levels", "outputs",
)  # fmt: skip
EVERY = (
    *GROUPS,
    "spectra",
    *(n for n in NORMS if not n.startswith("folded") and n not in (*GROUPS, "from_other")),
)  # fmt: skip
CLASSES = 3


@pytest.fixture(autouse=True)
def as_others_write():
    """Other people's functions promote ranks."""
    with jax.numpy_rank_promotion("allow"):
        yield


@functools.partial(
    jax.jit,
    static_argnames="groups",
    compiler_options={"xla_backend_optimization_level": 0},
)
def measured(network, groups):
    return bounds.measure(network, groups)[0]


def values(network, groups=GROUPS):
    with jax.enable_x64(True):
        return jax.device_get(measured(network, groups))


def weights(seed):
    """Of a residual network with normalised convolutions and a max-pool, as PyTorch has them."""
    rng = np.random.default_rng(seed)
    found = {}
    for name, shape in (("a", (4, 2, 3, 3)), ("b", (4, 4, 3, 3)), ("c", (4, 4, 1, 1))):
        found[f"{name}.weight"] = rng.normal(size=shape) / 3
        found[f"{name}.scale"] = rng.uniform(0.5, 1.5, size=4)
        found[f"{name}.shift"] = rng.normal(size=4) / 5
        found[f"{name}.mean"] = rng.normal(size=4) / 5
        found[f"{name}.variance"] = rng.uniform(0.5, 2, size=4)
    found["last.weight"] = rng.normal(size=(CLASSES, 4)) / 2
    found["last.bias"] = rng.normal(size=CLASSES) / 5
    return {name: array.astype(np.float32) for name, array in found.items()}


TRAINED, START = weights(1), weights(0)


@pytest.fixture(scope="module")
def examples():
    """Images with channels first, and labels."""
    rng = np.random.default_rng(2)
    x = rng.normal(size=(40, 2, 8, 8)).astype(np.float32)
    return x, rng.integers(CLASSES, size=40)


def apply(p, x):
    """The network as a plain function, channels first."""

    def normalised(name, x, stride=1, padding=1):
        x = jax.lax.conv_general_dilated(
            x, p[f"{name}.weight"], (stride, stride), ((padding, padding),) * 2,
            dimension_numbers=("NCHW", "OIHW", "NCHW"),
        )  # fmt: skip
        at = (None, slice(None), None, None)
        x = (x - p[f"{name}.mean"][at]) / jnp.sqrt(p[f"{name}.variance"] + 1e-5)[at]
        return x * p[f"{name}.scale"][at] + p[f"{name}.shift"][at]

    x = jax.nn.relu(normalised("a", x))
    x = jax.lax.reduce_window(
        x, -np.inf, jax.lax.max, (1, 1, 3, 3), (1, 1, 2, 2),
        ((0, 0), (0, 0), (1, 1), (1, 1)),
    )  # fmt: skip
    y = normalised("b", x, stride=2)
    x = jax.nn.relu(y + normalised("c", x, stride=2, padding=0))
    return x.mean((2, 3)) @ p["last.weight"].T + p["last.bias"]


@pytest.fixture(scope="module")
def plain(examples):
    with jax.numpy_rank_promotion("allow"):
        return bounds.from_apply(apply, TRAINED, *examples, init=START)


def test_the_start_of_a_network_whose_exporter_left_out_what_is_zero():
    """Normalisation folded into layers: before training they have no biases yet."""
    from nets.importing.imported import Imported

    def convolution(p, x, name):
        return jax.lax.conv_general_dilated(
            x, p[f"{name}.weight"], (1, 1), "SAME", dimension_numbers=("NCHW", "OIHW", "NCHW")
        )  # fmt: skip

    def run(p, x):
        x = convolution(p, x, "a")
        x = jax.nn.relu(x + p["a.bias"][None, :, None, None] if "a.bias" in p else x)
        return x.mean((2, 3)) @ p["last.weight"].T + p["last.bias"]

    def imported(p):
        return Imported(run, p, (2, 8, 8), "net", ())

    names = "a.weight", "last.weight", "last.bias"
    start = {name: START[name] for name in names}
    trained = {name: TRAINED[name] for name in names} | {"a.bias": TRAINED["a.shift"]}
    read = jaxpr.read(run, trained, (2, 8, 8))
    found = functions.start_of(imported(start), imported(trained), read, "start")
    assert not np.any(found["Layer_0"]["bias"])
    kernel = START["a.weight"].transpose(2, 3, 1, 0)
    np.testing.assert_array_equal(found["Layer_0"]["kernel"], kernel)
    # Of another network it is none, nor does one that has more go with one that has less.
    with pytest.raises(ValueError, match=r"start: .* before its training"):
        functions.start_of(
            imported(trained), imported(start), jaxpr.read(run, start, (2, 8, 8)), "start"
        )  # fmt: skip


@pytest.fixture(scope="module")
def expected(plain):
    return plain, values(plain)


def stacked(groups):
    return jax.tree.map(lambda leaf: np.asarray(leaf)[None], groups)


def assert_one(network, other):
    """The same graph with the same numbers: whatever is measured of it is the same."""
    assert network.model == other.model
    for own, its in ((network.params, other.params), (network.init, other.init)):
        for a, b in zip(jax.tree.leaves(own), jax.tree.leaves(its), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def assert_same(found, expected):
    for group, its in expected.items():
        for name, a, b in zip(
            its.__dataclass_fields__, jax.tree.leaves(found[group]), jax.tree.leaves(its),
            strict=True,
        ):  # fmt: skip
            np.testing.assert_allclose(
                a, b, rtol=1e-5, atol=1e-6, err_msg=f"{group}.{name}"
            )


class Flax(nn.Module):
    """The same, channels last."""

    @nn.compact
    def __call__(self, x):
        def normalised(name, x, size, stride, padding):
            x = nn.Conv(
                4, (size, size), (stride, stride), padding, use_bias=False, name=name
            )(x)
            return nn.BatchNorm(use_running_average=True, name=f"{name}_norm")(x)

        x = nn.relu(normalised("a", x, 3, 1, 1))
        x = nn.max_pool(x, (3, 3), (2, 2), padding=((1, 1), (1, 1)))
        y = normalised("b", x, 3, 2, 1)
        x = nn.relu(y + normalised("c", x, 1, 2, 0))
        return nn.Dense(CLASSES, name="last")(x.mean((1, 2)))


def of_flax(p):
    params = {"last": {"kernel": p["last.weight"].T, "bias": p["last.bias"]}}
    statistics = {}
    for name in "abc":
        params[name] = {"kernel": p[f"{name}.weight"].transpose(2, 3, 1, 0)}
        params[f"{name}_norm"] = {
            "scale": p[f"{name}.scale"],
            "bias": p[f"{name}.shift"],
        }
        statistics[f"{name}_norm"] = {
            "mean": p[f"{name}.mean"],
            "var": p[f"{name}.variance"],
        }
    return {"params": params, "batch_stats": statistics}


@pytest.fixture(scope="module")
def of_a_flax_module(examples):
    x, y = examples
    return bounds.from_apply(
        Flax().apply, of_flax(TRAINED), x.transpose(0, 2, 3, 1), y, init=of_flax(START)
    )


def test_a_flax_module(of_a_flax_module, expected):
    assert_same(values(of_a_flax_module), expected[1])


@pytest.mark.slow
def test_every_norm_of_a_flax_module(of_a_flax_module, plain):
    expected = values(plain, EVERY)
    assert_same(values(of_a_flax_module, EVERY), expected)
    (name,) = names = ["log_prod_of_spec"]
    assert not isinstance(bounds.evaluate(stacked(expected), names)[name], str)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("is_whole", [True, False], ids=["vmapped", "layers vmapped"])
def test_an_equinox_module(examples, plain, is_whole):
    """Vmapped as a whole, or one that takes a batch and vmaps its layers itself."""
    eqx = pytest.importorskip("equinox", reason="needs equinox")

    class Net(eqx.Module):
        layers: dict
        norms: dict
        pool: eqx.Module
        last: eqx.Module

        def __init__(self):
            sizes = (("a", 2, 3, 1), ("b", 4, 3, 2), ("c", 4, 1, 2))
            self.layers = {
                name: eqx.nn.Conv2d(
                    channels, 4, size, stride, size // 2, use_bias=False, key=jax.random.key(0)
                )
                for name, channels, size, stride in sizes
            }  # fmt: skip
            self.norms = {
                n: eqx.nn.BatchNorm(4, axis_name="batch", mode="ema") for n in "abc"
            }
            self.pool = eqx.nn.MaxPool2d(3, 2, 1)
            self.last = eqx.nn.Linear(4, CLASSES, key=jax.random.key(0))

        def __call__(self, x, state):
            every = (lambda f: f) if is_whole else jax.vmap

            def normalised(name, x):
                x = every(self.layers[name])(x)
                return every(lambda one: self.norms[name](one, state)[0])(x)

            x = every(self.pool)(jax.nn.relu(normalised("a", x)))
            x = jax.nn.relu(normalised("b", x) + normalised("c", x))
            return every(self.last)(x.mean((-2, -1)))

    def of(p):
        net, state = eqx.nn.make_with_state(Net)()
        for n in "abc":
            net = eqx.tree_at(
                lambda m, n=n: (m.layers[n].weight, m.norms[n].weight, m.norms[n].bias),
                net,
                (p[f"{n}.weight"], p[f"{n}.scale"], p[f"{n}.shift"]),
            )
        net = eqx.tree_at(
            lambda m: (m.last.weight, m.last.bias), net, (p["last.weight"], p["last.bias"])
        )  # fmt: skip
        running = [
            leaf
            for n in "abc"
            for leaf in (np.array(False), p[f"{n}.mean"], p[f"{n}.variance"])
        ]
        state = jax.tree.unflatten(jax.tree.structure(state), running)
        whole = eqx.nn.inference_mode(net), state
        return eqx.partition(whole, eqx.is_array)

    (params, static), (start, _) = of(TRAINED), of(START)

    def run(params, x):
        model, state = eqx.combine(params, static)
        if is_whole:
            return jax.vmap(lambda one: model(one, state), axis_name="batch")(x)
        return model(x, state)

    assert_one(bounds.from_apply(run, params, *examples, init=start), plain)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_haiku_function(examples, of_a_flax_module):
    """As Flax's, channels last; it keeps its averages biased and debiases them when it is run."""
    hk = pytest.importorskip("haiku", reason="needs dm-haiku")

    def forward(x, is_training):
        def normalised(name, x, size, stride, padding):
            x = hk.Conv2D(
                4, size, stride, padding=[(padding, padding)] * 2, with_bias=False, name=name
            )(x)  # fmt: skip
            norm = hk.BatchNorm(True, True, 0.9, name=f"{name}_norm")
            return norm(x, is_training)

        x = jax.nn.relu(normalised("a", x, 3, 1, 1))
        x = jax.lax.reduce_window(
            x, -np.inf, jax.lax.max, (1, 3, 3, 1), (1, 2, 2, 1),
            ((0, 0), (1, 1), (1, 1), (0, 0)),
        )  # fmt: skip
        y = normalised("b", x, 3, 2, 1)
        x = jax.nn.relu(y + normalised("c", x, 1, 2, 0))
        return hk.Linear(CLASSES, name="last")(x.mean((1, 2)))

    x, y = examples
    x = x.transpose(0, 2, 3, 1)
    net = hk.without_apply_rng(hk.transform_with_state(forward))
    _, zeros = net.init(jax.random.key(0), x[:2], True)

    def of(p):
        params = {"last": {"w": p["last.weight"].T, "b": p["last.bias"]}}
        state = {name: dict(leaves) for name, leaves in zeros.items()}
        for name in "abc":
            params[name] = {"w": p[f"{name}.weight"].transpose(2, 3, 1, 0)}
            params[f"{name}_norm"] = {
                key: p[f"{name}.{part}"][None, None, None]
                for key, part in (("scale", "scale"), ("offset", "shift"))
            }
            for key, part in (("mean", "mean"), ("var", "variance")):
                own = state[f"{name}_norm/~/{key}_ema"]
                own["average"] = p[f"{name}.{part}"][None, None, None]
        return params, state

    def run(both, x):
        return net.apply(*both, x, False)[0]

    network = bounds.from_apply(run, of(TRAINED), x, y, init=of(START))
    assert_one(network, of_a_flax_module)


def test_an_onnx_file(tmp_path, examples, plain):
    onnx = pytest.importorskip("onnx")
    from onnx import TensorProto, helper, numpy_helper

    def saved(p, name):
        nodes = []

        def node(kind, *inputs, **attributes):
            nodes.append(
                helper.make_node(kind, inputs, [f"v{len(nodes)}"], **attributes)
            )
            return f"v{len(nodes) - 1}"

        def normalised(name, x, stride, padding):
            x = node(
                "Conv", x, f"{name}.weight", strides=[stride] * 2, pads=[padding] * 4
            )
            parts = (f"{name}.{n}" for n in ("scale", "shift", "mean", "variance"))
            return node("BatchNormalization", x, *parts, epsilon=1e-5)

        x = node("Relu", normalised("a", "x", 1, 1))
        x = node("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
        x = node(
            "Relu", node("Add", normalised("b", x, 2, 1), normalised("c", x, 2, 0))
        )
        x = node("Flatten", node("GlobalAveragePool", x))
        x = node("Gemm", x, "last.weight", "last.bias", transB=1)
        graph = helper.make_graph(
            nodes, "net",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 2, 8, 8])],
            [helper.make_tensor_value_info(x, TensorProto.FLOAT, ["n", CLASSES])],
            [numpy_helper.from_array(a, n) for n, a in p.items()],
        )  # fmt: skip
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
        onnx.checker.check_model(model)
        path = tmp_path / name
        onnx.save(model, path)
        return str(path)

    network = bounds.from_onnx(
        saved(TRAINED, "net.onnx"), *examples, init=saved(START, "start.onnx")
    )
    assert_one(network, plain)
    x, y = examples
    with pytest.raises(ValueError, match="channels come first there"):
        bounds.from_onnx(str(tmp_path / "net.onnx"), x.transpose(0, 2, 3, 1), y)


def test_a_live_pytorch_module(examples, plain):
    torch = pytest.importorskip("torch")

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            for name, size, stride, channels in (
                ("a", 3, 1, 2), ("b", 3, 2, 4), ("c", 1, 2, 4),
            ):  # fmt: skip
                convolution = torch.nn.Conv2d(
                    channels, 4, size, stride, size // 2, bias=False
                )
                setattr(self, name, convolution)
                setattr(self, f"{name}_norm", torch.nn.BatchNorm2d(4))
            self.pool = torch.nn.MaxPool2d(3, 2, 1)
            self.last = torch.nn.Linear(4, CLASSES)

        def forward(self, x):
            x = self.pool(torch.relu(self.a_norm(self.a(x))))
            x = torch.relu(self.b_norm(self.b(x)) + self.c_norm(self.c(x)))
            return self.last(x.mean((2, 3)))

    def module(p):
        found = Net()
        names = {
            "scale": "weight", "shift": "bias", "mean": "running_mean",
            "variance": "running_var",
        }  # fmt: skip
        state = found.state_dict()
        for name, array in p.items():
            part, kind = name.split(".")
            if kind in names:
                name = f"{part}_norm.{names[kind]}"
            state[name] = torch.tensor(array)
        found.load_state_dict(state)
        return found

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        network = bounds.from_torch(module(TRAINED), *examples, init=module(START))
    assert_one(network, plain)


def test_what_can_be_had_of_a_residual_network_and_why_the_rest_cannot(expected):
    network, groups = expected
    lacking = [name for name in bounds.BOUNDS if "folded" in bounds.needs([name])]
    names = ["occam_float32", "gonon_2024_certified", "path_norm", *lacking]
    found = bounds.evaluate(stacked(groups), names)
    for name in names[:3]:
        assert not isinstance(found[name], str), name
    assert {found[n] for n in lacking} == {
        "speaks of chains of layers with a ReLU between any two"
    }
    parameters = sum(a.size for a in jax.tree.leaves(network.params))
    assert int(groups["architecture"].parameters.sum()) == parameters
    assert not groups["architecture"].is_chain


def test_a_softmax_is_taken_off_with_a_warning(examples):
    with pytest.warns(UserWarning, match="softmax at its end"):
        bounds.from_apply(lambda p, x: jax.nn.softmax(apply(p, x)), TRAINED, *examples)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda x, y: (x[:, :, :, 0], y), "fails on an input of shape"),
        (lambda x, y: (x, y + 1), "not one of 0..2"),
        (lambda x, y: (x, y[:-1]), "a whole number for each example"),
        (lambda x, y: (x * np.inf, y), "not finite"),
        (lambda x, y: (x.astype(str), y), "numbers"),
    ],
)
def test_arrays_that_do_not_go_with_the_function(examples, change, said):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(ValueError, match=said):
            bounds.from_apply(apply, TRAINED, *change(*examples))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda p, x: apply(p, x)[:, :1], "an output for each class is needed"),
        (
            lambda p, x: apply(p, x) if x.max() > 0 else -apply(p, x),
            "depends on the values of its input",
        ),
        (
            lambda p, x: jax.lax.cond(x.max() > 0, apply, lambda p, x: -apply(p, x), p, x),
            "no linear layer in it but what may be inside cond",
        ),
        (lambda p, x: apply(p, x - x.mean(0)), "examples of a batch must not be mixed"),
        (
            lambda p, x: nn.BatchNorm(False).apply({"params": {}}, apply(p, x)),
            "in training mode",
        ),
    ],
)  # fmt: skip
def test_functions_that_are_no_network_that_can_be_read(examples, change, said):
    with pytest.raises(ValueError, match=said) as error:
        bounds.from_apply(change, TRAINED, *examples)
    assert "\n" not in str(error.value)


def test_held_out_examples_and_starts_that_do_not_go_with_it(examples):
    x, y = examples
    with pytest.raises(ValueError, match="held-out inputs are training inputs"):
        bounds.from_apply(apply, TRAINED, x, y, holdout=(x, y))
    with pytest.raises(ValueError, match="holdout has inputs"):
        bounds.from_apply(apply, TRAINED, x, y, holdout=(x[:, :, :4], y))
    with pytest.raises(ValueError, match="loss='hinge'"):
        bounds.from_apply(apply, TRAINED, x, y, loss="hinge")
    other = START | {"last.weight": np.ones((CLASSES, 4), np.float32) * 0}
    found = bounds.from_apply(apply, TRAINED, x, y, init=other)
    assert found.init is not None


def _convolved(p, x):
    """Two channels at every place, each a class: 2 x the places of them."""
    numbers = ("NHWC", "HWIO", "NHWC")
    y = jax.lax.conv_general_dilated(
        x, p["w"], (1, 1), "VALID", dimension_numbers=numbers
    )
    return y.reshape(len(x), -1)


TWO_COLUMNS = {
    "a channel for a class at each place": ((1, 1, 3, 2), (1, 2, 3), _convolved),
    "a layer that is used twice": (
        (2, 2), (2,), lambda p, x: jax.nn.relu(x @ p["w"]) @ p["w"],
    ),
    "operations behind the last layer": (
        (4, 2), (4,), lambda p, x: jnp.concatenate([x @ p["w"], x[:, :1]], axis=1),
    ),
    "a ReLU behind the last layer": (
        (4, 2), (4,), lambda p, x: jax.nn.relu(x @ p["w"] + 1),
    ),
    "two logits": ((4, 2), (4,), lambda p, x: x @ p["w"]),
}  # fmt: skip


@pytest.mark.parametrize("name", TWO_COLUMNS)
def test_margins_are_of_the_logits_whatever_has_two_columns(name):
    """Only where the two columns are the two logits may their difference stand for them."""
    weight, shape, apply = TWO_COLUMNS[name]
    rng = np.random.default_rng(0)
    params = {"w": rng.normal(size=weight).astype(np.float32)}
    x = rng.normal(size=(12, *shape)).astype(np.float32)
    logits = np.asarray(apply(params, x), float)
    labels = rng.integers(0, logits.shape[1], size=12).astype(np.int32)
    network = bounds.from_apply(apply, params, x, labels)
    found = bounds.measure(network, ("margins",))[0]["margins"]
    own = logits[np.arange(12), labels]
    logits[np.arange(12), labels] = -np.inf
    np.testing.assert_allclose(
        np.asarray(found.sorted)[:12],
        np.sort(own - logits.max(1)),
        rtol=1e-5,
        atol=1e-6,
    )
