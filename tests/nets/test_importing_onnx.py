"""ONNX files against the reference evaluator, onnxruntime, and the framework they came from."""

import importlib.util
import sys
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

onnx = pytest.importorskip(
    "onnx", reason="needs the onnx package: pip install '.[onnx]'"
)

from onnx import TensorProto, helper, numpy_helper  # noqa: E402
from onnx.reference import ReferenceEvaluator  # noqa: E402

from nets.importing import onnx as reader  # noqa: E402
from tests.nets.traced import assert_real_arithmetic  # noqa: E402

FLOAT = TensorProto.FLOAT
OPSET = 21
BATCHES = (1, 2, 5)


def node(operator, inputs, outputs="y", **rest):
    return helper.make_node(operator, inputs.split(), outputs.split(), **rest)


def model(nodes, shape=(3, 6, 5), opset=OPSET, batch="batch", output="y", **rest):
    """A model of one input x and one output; the rest are its tensors."""
    functions = rest.pop("functions", [])
    domains = rest.pop("domains", [])
    tensors = [numpy_helper.from_array(np.asarray(v), k) for k, v in rest.items()]
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", FLOAT, [batch, *shape])],
        [helper.make_tensor_value_info(output, FLOAT, None)],
        tensors,
    )
    opsets = [
        helper.make_opsetid("", opset),
        *(helper.make_opsetid(d, 1) for d in domains),
    ]
    return helper.make_model(
        graph, opset_imports=opsets, functions=functions, ir_version=10,
        producer_name="test",
    )  # fmt: skip


def written(made, folder, **rest):
    path = folder / "network.onnx"
    onnx.save(made, path, **rest)
    return path


def examples(count, shape, seed=0):
    return np.random.default_rng(seed).normal(size=(count, *shape)).astype(np.float32)


def by_reference(path, x):
    return ReferenceEvaluator(str(path)).run(None, {"x": x})[0]


def by_runtime(path, x):
    runtime = pytest.importorskip("onnxruntime")
    options = runtime.SessionOptions()
    options.log_severity_level = 4
    session = runtime.InferenceSession(str(path), options)
    return session.run(None, {session.get_inputs()[0].name: x})[0]


def all_by_runtime(made, x):
    runtime = pytest.importorskip("onnxruntime")
    session = runtime.InferenceSession(made.SerializeToString())
    return session.run(None, {"x": x})


def assert_close(given, wanted):
    wanted = np.asarray(wanted, np.float64)
    given = np.asarray(given, np.float64)
    assert given.shape == wanted.shape
    np.testing.assert_allclose(given, wanted, rtol=0, atol=3e-6 * abs(wanted).max())


def assert_agrees(path, oracle=by_reference, batches=BATCHES):
    found = reader.read(path)
    for count in batches:
        x = examples(count, found.input_shape, count)
        assert_close(found.apply(found.params, x), oracle(path, x))
    return found


def draws(*shape, seed=1):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


KERNEL = {"w": draws(4, 3, 3, 2), "b": draws(4)}
CHANNELS = {
    "scale": draws(3), "shift": draws(3, seed=2), "mean": draws(3, seed=3),
    "variance": np.abs(draws(3, seed=4)) + 0.5,
}  # fmt: skip


def ints(*values):
    return np.asarray(values, np.int64)


def scalar(value):
    return np.asarray(value, np.float32)


# operator, inputs, tensors, attributes, opset
ONE = [
    *((name, "x", {}, {}, OPSET) for name in (
        "Abs", "Neg", "Exp", "Sigmoid", "Tanh", "Relu", "LeakyRelu", "Elu", "Selu", "Celu",
        "Softplus", "Softsign", "HardSigmoid", "HardSwish", "Mish", "Gelu", "Erf", "Identity",
        "GlobalAveragePool", "GlobalMaxPool", "Softmax", "LogSoftmax", "Dropout", "Reciprocal",
        "ThresholdedRelu", "Floor", "Ceil", "Sign", "Sin", "Cos", "Flatten",
    )),
    ("LeakyRelu", "x", {}, {"alpha": 0.3}, OPSET),
    ("Elu", "x", {}, {"alpha": 0.7}, OPSET),
    ("Selu", "x", {}, {"alpha": 1.2, "gamma": 0.7}, OPSET),
    ("Celu", "x", {}, {"alpha": 0.7}, OPSET),
    ("HardSigmoid", "x", {}, {"alpha": 0.3, "beta": 0.1}, OPSET),
    ("Gelu", "x", {}, {"approximate": "tanh"}, OPSET),
    ("ThresholdedRelu", "x", {}, {"alpha": 0.4}, OPSET),
    ("PRelu", "x s", {"s": draws(3, 1, 1)}, {}, OPSET),
    ("PRelu", "x s", {"s": draws(1)}, {}, OPSET),
    ("Clip", "x a b", {"a": scalar(-0.3), "b": scalar(0.6)}, {}, OPSET),
    ("Clip", "x a", {"a": scalar(0)}, {}, OPSET),
    ("Clip", "x", {}, {"min": -0.3, "max": 0.6}, 10),
    ("Clip", "x", {}, {"min": 0.0}, 7),
    *((name, "x s", {"s": draws(3, 1, 1)}, {}, OPSET) for name in ("Add", "Sub", "Mul", "Div")),
    *((name, "x s", {"s": draws(5)}, {}, OPSET) for name in ("Add", "Max", "Min", "Sum", "Mean")),
    ("Sub", "s x", {"s": scalar(2)}, {}, OPSET),
    ("Div", "s x", {"s": scalar(2)}, {}, OPSET),
    ("Pow", "x p", {"p": scalar(2)}, {}, OPSET),
    ("Pow", "x p", {"p": np.asarray([3], np.float32)}, {}, OPSET),
    ("Softmax", "x", {}, {"axis": 1}, OPSET),
    ("Softmax", "x", {}, {}, 11),
    ("LogSoftmax", "x", {}, {"axis": 2}, 11),
    ("Conv", "x w b", KERNEL, {}, OPSET),
    ("Conv", "x w", KERNEL, {"strides": [2, 1], "pads": [1, 0, 2, 1]}, OPSET),
    ("Conv", "x w b", KERNEL, {"dilations": [2, 2], "auto_pad": "VALID"}, OPSET),
    ("Conv", "x w b", KERNEL, {"strides": [2, 2], "auto_pad": "SAME_UPPER"}, OPSET),
    ("Conv", "x w b", KERNEL, {"strides": [2, 2], "auto_pad": "SAME_LOWER"}, OPSET),
    ("Conv", "x w", {"w": draws(6, 1, 2, 3)}, {"group": 3}, OPSET),
    ("ConvTranspose", "x w b", {"w": draws(3, 4, 3, 2), "b": draws(4)}, {}, OPSET),
    ("ConvTranspose", "x w", {"w": draws(3, 4, 3, 3)},
     {"strides": [2, 3], "pads": [1, 0, 0, 1], "output_padding": [1, 2]}, OPSET),
    ("ConvTranspose", "x w", {"w": draws(3, 2, 2, 3)},
     {"group": 3, "dilations": [2, 1], "strides": [1, 2]}, OPSET),
    ("ConvTranspose", "x w", {"w": draws(3, 2, 3, 3)},
     {"strides": [2, 2], "output_shape": [12, 11]}, OPSET),
    ("ConvTranspose", "x w", {"w": draws(3, 2, 3, 3)},
     {"strides": [2, 2], "auto_pad": "SAME_UPPER"}, OPSET),
    ("BatchNormalization", "x scale shift mean variance", CHANNELS, {"epsilon": 1e-2}, OPSET),
    ("BatchNormalization", "x scale shift mean variance", CHANNELS, {}, 9),
    ("InstanceNormalization", "x scale shift", CHANNELS, {"epsilon": 1e-2}, OPSET),
    ("GroupNormalization", "x s t", {"s": draws(3), "t": draws(3, seed=2)}, {"num_groups": 3},
     OPSET),
    ("GroupNormalization", "x s t", {"s": draws(1), "t": draws(1, seed=2)}, {"num_groups": 1},
     18),
    ("LayerNormalization", "x s t", {"s": draws(5), "t": draws(5, seed=2)}, {}, OPSET),
    ("LayerNormalization", "x s", {"s": draws(3, 6, 5)}, {"axis": 1, "epsilon": 1e-2}, OPSET),
    *((name, "x a", {"a": ints(2, -1)}, {"keepdims": k}, OPSET) for k in (0, 1) for name in (
        "ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1",
        "ReduceL2", "ReduceSumSquare", "ReduceLogSumExp")),
    ("ReduceMean", "x", {}, {"axes": [1, 2], "keepdims": 0}, 13),
    ("ReduceMax", "x", {}, {"axes": [-1]}, 13),
    ("Reshape", "x s", {"s": ints(0, -1, 5)}, {}, OPSET),
    ("Squeeze", "x1 a", {"a": ints(1)}, {}, OPSET),
    ("Transpose", "x", {}, {"perm": [0, 2, 3, 1]}, OPSET),
    ("Unsqueeze", "x a", {"a": ints(1, -1)}, {}, OPSET),
    ("Unsqueeze", "x", {}, {"axes": [1]}, 11),
    ("Expand", "x1 s", {"s": ints(1, 3, 1, 5)}, {}, OPSET),
    ("Tile", "x s", {"s": ints(1, 2, 1, 3)}, {}, OPSET),
    ("Concat", "x x1 x", {}, {"axis": 1}, OPSET),
    ("Pad", "x p", {"p": ints(0, 0, 1, 2, 0, 0, 2, 0)}, {}, OPSET),
    ("Pad", "x p v", {"p": ints(0, 1, -1, 2, 0, 0, 2, -2), "v": scalar(0.5)}, {}, OPSET),
    ("Pad", "x p v a", {"p": ints(1, 2), "v": scalar(0), "a": ints(-1)}, {}, OPSET),
    ("Pad", "x p", {"p": ints(0, 0, 1, 2, 0, 0, 2, 1)}, {"mode": "reflect"}, OPSET),
    ("Pad", "x p", {"p": ints(0, 0, 1, 2, 0, 0, 2, 1)}, {"mode": "edge"}, OPSET),
    ("Pad", "x", {}, {"pads": [0, 0, 1, 2, 0, 0, 2, 1], "value": 1.5}, 9),
    ("Slice", "x s e a t", {"s": ints(-1, 1), "e": ints(-100, 9), "a": ints(2, -1),
                            "t": ints(-2, 2)}, {}, OPSET),
    ("Slice", "x", {}, {"starts": [1], "ends": [-1], "axes": [2]}, 9),
    ("Gather", "x i", {"i": ints(2, 0, -1, 0)}, {"axis": 3}, OPSET),
    ("Gather", "x i", {"i": np.asarray(-1)}, {"axis": 2}, OPSET),
    ("Gather", "x i", {"i": ints(4, 2, 0)}, {"axis": 3}, OPSET),
    ("Cast", "x", {}, {"to": FLOAT}, OPSET),
    ("MatMul", "x w", {"w": draws(5, 4)}, {}, OPSET),
    ("Einsum", "x w", {"w": draws(3, 4)}, {"equation": "nchw,cd->nhwd"}, OPSET),
]  # fmt: skip
# The reference evaluator knows the newest opset's meaning only, and no negative padding.
BY_RUNTIME = (
    "ConvTranspose",
    "Pad",
    "Softmax",
    "LogSoftmax",
    "Conv",
    "BatchNormalization",
)


def groups():
    """Cases that one file can hold, by their opset and by what they are compared with."""
    found = {}
    for case in ONE:
        is_by_runtime = case[0] in BY_RUNTIME
        found.setdefault((case[4], is_by_runtime), []).append(case)
    return found


@pytest.mark.parametrize(
    "group", groups(), ids=lambda g: f"opset{g[0]}-{'runtime' * g[1]}"
)
def test_every_operator_is_what_the_specification_says(group, tmp_path):
    nodes, tensors, flat = [], {"one": ints(1)}, []
    if group[0] >= 13:
        nodes.append(node("Slice", "x zero one one", "x1"))
        tensors["zero"] = ints(0)
    cases = groups()[group]
    for count, (operator, inputs, own, attributes, _) in enumerate(cases):
        names = [f"{i}.{count}" if i in own else i for i in inputs.split()]
        tensors |= {f"{i}.{count}": own[i] for i in inputs.split() if i in own}
        nodes.append(node(operator, " ".join(names), f"z.{count}", **attributes))
        nodes.append(node("Flatten", f"z.{count}", f"y.{count}"))
        flat.append(f"y.{count}")
    nodes.append(node("Concat", " ".join(flat), "y", axis=1))
    path = written(model(nodes, opset=group[0], **tensors), tmp_path)
    oracle = by_runtime if group[1] else by_reference
    found = reader.read(path)
    x = examples(2, found.input_shape)
    given, wanted = jax.jit(found.apply)(found.params, x), oracle(path, x)
    assert given.shape == wanted.shape
    if group[1]:
        made = model(nodes, opset=group[0], **tensors)
        made.graph.output.extend(
            helper.make_tensor_value_info(f, FLOAT, None) for f in flat
        )
        widths = [f.shape[1] for f in all_by_runtime(made, x)[1:]]
    else:
        widths = [f.shape[1] for f in ReferenceEvaluator(str(path)).run(flat, {"x": x})]
    at = np.cumsum([0, *widths])
    assert at[-1] == wanted.shape[1]
    wrong = {}
    for case, start, end in zip(cases, at[:-1], at[1:], strict=True):
        mine, theirs = np.asarray(given)[:, start:end], wanted[:, start:end]
        if not abs(mine - theirs).max() <= 5e-6 * abs(theirs).max():
            wrong[case[0], str(case[3])] = abs(mine - theirs).max()
    assert not wrong


# Windows of any geometry.


@st.composite
def geometries(draw):
    axes = draw(st.sampled_from((1, 2)))
    few = st.integers(1, 3)
    window = [draw(few) for _ in range(axes)]
    auto = draw(st.sampled_from(("NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID")))
    # The runtime fails on strides that are longer than a window of the same size.
    most = window if auto.startswith("SAME") else [3] * axes
    found = {"strides": [draw(st.integers(1, k)) for k in most]}
    if auto == "NOTSET":
        found["dilations"] = [draw(st.integers(1, 2)) for _ in range(axes)]
        # Padding is smaller than a window: else a window would hold nothing.
        found["pads"] = [draw(st.integers(0, k - 1)) for k in window * 2]
    else:
        found["auto_pad"] = auto
    return window, found, [draw(st.integers(5, 8)) for _ in range(axes)]


FEW = settings(
    max_examples=12, deadline=None, derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)  # fmt: skip


@FEW
@given(
    geometries(),
    st.sampled_from(("MaxPool", "AveragePool", "Conv")),
    st.booleans(),
    st.booleans(),
)
def test_windows_of_any_geometry_are_the_runtimes(
    tmp_path, geometry, kind, ceil, counted
):
    window, attributes, sizes = geometry
    tensors = {}
    if kind == "Conv":
        tensors["w"] = draws(4, 2, *window)
    else:
        attributes = attributes | {"kernel_shape": window, "ceil_mode": int(ceil)}
    if kind == "AveragePool":
        attributes |= {"count_include_pad": int(counted)}
    nodes = [
        node(kind, "x w" if tensors else "x", "z", **attributes),
        node("Flatten", "z"),
    ]
    path = written(model(nodes, shape=(2, *sizes), **tensors), tmp_path)
    assert_agrees(path, by_runtime, batches=(2,))


def test_a_mean_counts_the_padding_if_told_to_and_never_what_is_behind_it(tmp_path):
    """Windows of 0 [1 2 3 4] 0: at 0..2, 2..4 and, of ceil, 4..6, of which 6 is behind it."""
    x = np.asarray([[[1, 2, 3, 4]]], np.float32)
    for counted, wanted in ((0, [1.5, 3, 4]), (1, [1, 3, 2])):
        nodes = [
            node("AveragePool", "x", "z", kernel_shape=[3], strides=[2], pads=[1, 1],
                 ceil_mode=1, count_include_pad=counted),
            node("Flatten", "z"),
        ]  # fmt: skip
        found = reader.read(written(model(nodes, shape=(1, 4)), tmp_path))
        np.testing.assert_allclose(found.apply(found.params, x), [wanted], rtol=1e-6)


# Files of exporters.


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """The same network in files of several kinds, and PyTorch's outputs."""
    torch = pytest.importorskip("torch", reason="needs PyTorch")
    from tests.nets.torch_networks import residual

    module = residual(torch)
    folder = tmp_path_factory.mktemp("exported")
    paths = {}
    x = torch.zeros(1, 3, 9, 8)
    open_batch = {"input_names": ["x"], "dynamic_axes": {"x": {0: "batch"}}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for kind, how in {
            "older": open_batch,
            "older-unfolded": {**open_batch, "do_constant_folding": False},
            "older-opset11": {**open_batch, "opset_version": 11},
            "older-one": {},
            "older-training": {
                **open_batch, "training": torch.onnx.TrainingMode.PRESERVE,
                "do_constant_folding": False,
            },
        }.items():  # fmt: skip
            paths[kind] = folder / f"{kind}.onnx"
            torch.onnx.export(module, (x,), str(paths[kind]), dynamo=False, **how)
        if importlib.util.find_spec("onnxscript"):
            two, shapes = torch.zeros(2, 3, 9, 8), ({0: torch.export.Dim("batch")},)
            program = torch.onnx.export(
                module, (two,), dynamo=True, dynamic_shapes=shapes, optimize=False,
                verbose=False,
            )  # fmt: skip
            paths["newer-unoptimised"] = folder / "newer-unoptimised.onnx"
            program.save(str(paths["newer-unoptimised"]))
            program.optimize()
            paths["newer"] = folder / "newer.onnx"
            program.save(str(paths["newer"]), external_data=True)

    def outputs(x):
        with torch.no_grad():
            return module(torch.from_numpy(x)).numpy()

    return paths, outputs, module


def of_kind(paths, kind):
    if kind not in paths:
        pytest.skip("PyTorch's newer exporter needs onnxscript")
    return paths[kind]


KINDS = (
    "older", "older-unfolded", "older-opset11", "older-one", "older-training", "newer",
    "newer-unoptimised",
)  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_a_residual_network_of_any_exporter_gives_its_frameworks_logits(exported, kind):
    paths, outputs, _ = exported
    found = reader.read(of_kind(paths, kind))
    assert found.input_shape == (3, 9, 8)
    assert found.name == kind
    apply = jax.jit(found.apply)
    # Every batch is another compilation.
    for count in BATCHES if "un" in kind else (2,):
        x = examples(count, found.input_shape, count)
        assert_close(apply(found.params, x), outputs(x))


@pytest.mark.parametrize(
    "kind", ("older-unfolded", "older-training", "newer-unoptimised")
)
def test_parameters_are_all_real_tensors_and_no_others(exported, kind):
    paths, _, module = exported
    found = reader.read(of_kind(paths, kind))
    wanted = {
        k: v.numpy() for k, v in module.state_dict().items() if v.is_floating_point()
    }
    assert set(found.params) == set(wanted)
    for name, array in wanted.items():
        np.testing.assert_array_equal(found.params[name], array)
    # In the order in which they are read.
    names = [n for n in found.params if n.endswith("weight") and "norm" not in n]
    assert names[0] == "stem.weight" and names[-1] == "head.weight"


@pytest.mark.parametrize("kind", KINDS)
def test_a_traced_network_is_real_arithmetic_of_fixed_shapes(exported, kind):
    found = reader.read(of_kind(exported[0], kind))
    assert_real_arithmetic(found)


def test_gradients_are_the_frameworks(exported):
    torch = pytest.importorskip("torch", reason="needs PyTorch")
    paths, _, module = exported
    found = reader.read(paths["older-unfolded"])
    x, v = examples(3, found.input_shape), draws(3, 5)
    given = jax.jit(jax.grad(lambda p: jnp.sum(v * found.apply(p, x))))(found.params)
    module.zero_grad()
    (module(torch.from_numpy(x)) * torch.from_numpy(v)).sum().backward()
    wanted = {name: p.grad.numpy() for name, p in module.named_parameters()}
    # A single number's gradient is a sum in which much cancels: rounding goes with the largest.
    largest = max(abs(gradient).max() for gradient in wanted.values())
    for name, gradient in wanted.items():
        np.testing.assert_allclose(given[name], gradient, rtol=0, atol=3e-6 * largest)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_file_of_jax2onnx_gives_its_logits(tmp_path):
    jax2onnx = pytest.importorskip("jax2onnx", reason="needs jax2onnx")
    import flax.linen as nn

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            x = nn.Conv(4, (3, 3), strides=2)(x)
            x = nn.relu(nn.BatchNorm(use_running_average=True)(x))
            x = nn.max_pool(x, window_shape=(2, 2), strides=(2, 2))
            x = nn.gelu(nn.Conv(4, (3, 3))(x) + x)
            x = nn.LayerNorm()(x.reshape(x.shape[0], -1))
            return nn.log_softmax(nn.Dense(5)(x))

    net = Net()
    variables = net.init(jax.random.key(0), jnp.zeros((1, 8, 8, 3)))
    for batch in ("B", 1):
        with jax.numpy_rank_promotion("allow"):
            made = jax2onnx.to_onnx(
                lambda x: net.apply(variables, x), [(batch, 8, 8, 3)]
            )
        found = reader.read(written(made, tmp_path))
        assert found.input_shape == (8, 8, 3)
        assert bool(found.notes) == (batch == 1)
        for count in BATCHES:
            x = examples(count, found.input_shape, count)
            assert_close(found.apply(found.params, x), net.apply(variables, x))


# What a file means.


def mlp(**rest):
    tensors = {"w": draws(4, 6), "b": draws(4), "v": draws(4, 3, seed=2)}
    nodes = [
        node("Gemm", "x w b", "h", transB=1),
        node("Relu", "h", "a"),
        node("MatMul", "a v", "y"),
    ]
    return model(nodes, shape=(6,), **tensors, **rest)


def test_a_network_by_hand(tmp_path):
    found = assert_agrees(written(mlp(), tmp_path))
    assert list(found.params) == ["w", "b", "v"]
    x = examples(4, (6,))
    p = {k: v.astype(float) for k, v in found.params.items()}
    wanted = np.maximum(x @ p["w"].T + p["b"], 0) @ p["v"]
    assert_close(found.apply(found.params, x), wanted)
    assert found.notes == ()


def test_functions_of_a_model_are_expanded_and_share_what_they_hold(tmp_path):
    """As jax2onnx and PyTorch write them: weights inside, attributes by reference."""
    weight = numpy_helper.from_array(draws(6, 6), "")
    slope = helper.make_node("LeakyRelu", ["h"], ["o"])
    reference = onnx.AttributeProto(
        name="alpha", ref_attr_name="slope", type=onnx.AttributeProto.FLOAT
    )
    slope.attribute.append(reference)
    body = [
        helper.make_node("Constant", [], ["w"], value=weight),
        helper.make_node("MatMul", ["i", "w"], ["h"]),
        slope,
    ]
    inner = helper.make_function(
        "own", "Layer", ["i"], ["o"], body, [helper.make_opsetid("", OPSET)],
        attributes=["slope"],
    )  # fmt: skip
    outer = helper.make_function(
        "own", "Two", ["i"], ["o"],
        [
            helper.make_node("Layer", ["i"], ["h"], domain="own", slope=0.1),
            helper.make_node("Layer", ["h"], ["o"], domain="own", slope=0.5),
        ],
        [helper.make_opsetid("", OPSET), helper.make_opsetid("own", 1)],
    )  # fmt: skip
    nodes = [
        node("Two", "x", "t", domain="own"),
        node("Layer", "t", domain="own", slope=2.0),
    ]
    made = model(nodes, shape=(6,), functions=[inner, outer], domains=["own"])
    found = assert_agrees(written(made, tmp_path), by_runtime)
    assert [p.shape for p in found.params.values()] == [(6, 6)]


def test_operators_that_the_standard_defines_by_others_keep_their_own_settings(
    tmp_path,
):
    nodes = [
        node("ThresholdedRelu", "x", "a", alpha=0.2),
        node("ThresholdedRelu", "a", alpha=0.7),
    ]
    assert_agrees(written(model(nodes, shape=(30,)), tmp_path))


def test_a_layer_used_twice_is_one_parameter(tmp_path):
    nodes = [node("MatMul", "x w", "h"), node("Relu", "h", "a"), node("MatMul", "a w")]
    found = assert_agrees(written(model(nodes, shape=(4,), w=draws(4, 4)), tmp_path))
    assert list(found.params) == ["w"]


def test_tensors_that_an_exporter_merged_are_told_apart_where_equal_by_chance(tmp_path):
    nodes = [
        node("Identity", "w", "same"),
        node("Identity", "one", "other"),
        node("MatMul", "x w", "h"), node("Mul", "h one", "i"), node("MatMul", "i same", "j"),
        node("Mul", "j other"),
    ]  # fmt: skip
    made = model(nodes, shape=(4,), w=draws(4, 4), one=np.ones(4, np.float32))
    found = assert_agrees(written(made, tmp_path))
    assert list(found.params) == ["w", "one", "other"]
    assert "(other)" in found.notes[0]


def test_arithmetic_of_sizes_is_done_when_the_file_is_read(tmp_path):
    """x -> [N, 2, 3 * 5] by the sizes of x itself, and a shift made of zeros of its size."""
    nodes = [
        node("Shape", "x", "s"),
        node("Gather", "s first", "n", axis=0), node("Gather", "s last", "l", axis=0),
        node("Unsqueeze", "n first1", "n1"), node("Mul", "l three", "k"),
        node("Unsqueeze", "k first1", "k1"), node("Cast", "k1", "f", to=FLOAT),
        node("Div", "f two", "g"), node("Floor", "g", "e"), node("Cast", "e", "k2", to=7),
        node("Add", "k2 k2", "k3"), node("Sub", "k1 k3", "rest"), node("Add", "k3 rest", "k4"),
        node("Concat", "n1 k4 minus", "target", axis=0), node("Reshape", "x target", "z"),
        node("Shape", "z", "t"),
        node("Equal", "target minus", "is_open"), node("Where", "is_open t target", "sizes"),
        node("Expand", "shift sizes", "shifts"),
        node("CastLike", "shifts x", "like"), node("Add", "z like", "q"),
        node("Size", "q", "count"), node("Flatten", "q"),
    ]  # fmt: skip
    made = model(
        nodes, shape=(3, 2, 5), first=np.asarray(0), last=np.asarray(3), first1=ints(0),
        three=np.asarray(3), two=scalar(2), minus=ints(-1), shift=scalar(0.5),
    )  # fmt: skip
    found = assert_agrees(written(made, tmp_path))
    assert found.params == {}


def test_a_batch_of_one_runs_each_example_by_itself(tmp_path):
    nodes = [
        node("Reshape", "x s", "h"), node("ReduceMax", "h a", "m", keepdims=1),
        node("Sub", "h m", "d"), node("MatMul", "d w"),
    ]  # fmt: skip
    tensors = {"s": ints(1, 6), "a": ints(0), "w": draws(6, 4)}
    for batch in (1, "batch"):
        nodes_ = nodes if batch == 1 else [nodes[0], node("MatMul", "h w")]
        path = written(model(nodes_, shape=(2, 3), batch=batch, **tensors), tmp_path)
        found = reader.read(path)
        assert "by itself" in found.notes[0]
        x = examples(3, (2, 3))
        wanted = np.concatenate([by_reference(path, one[None]) for one in x])
        assert_close(found.apply(found.params, x), wanted)


def test_a_mean_over_the_batch_stays_one(tmp_path):
    """Of one example it reads as fine: only a batch shows it."""
    nodes = [
        node("ReduceMean", "x a", "m", keepdims=1), node("Sub", "x m", "d"), node("MatMul", "d w"),
    ]  # fmt: skip
    made = model(nodes, shape=(6,), a=ints(0), w=draws(6, 4))
    found = assert_agrees(written(made, tmp_path))
    x = examples(2, (6,))
    alone = np.concatenate([found.apply(found.params, one[None]) for one in x])
    assert abs(alone - found.apply(found.params, x)).max() > 0.1


def test_rounding_by_casts_is_kept(tmp_path):
    nodes = [
        node("Cast", "x", "r", to=TensorProto.BFLOAT16), node("Cast", "r", "f", to=FLOAT),
        node("MatMul", "f w"),
    ]  # fmt: skip
    w = draws(6, 4)
    found = reader.read(written(model(nodes, shape=(6,), w=w), tmp_path))
    x = examples(3, (6,))
    bits = x.view(np.uint32).astype(np.uint64)
    rounded = (
        (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16 << 16
    )  # to nearest, ties to even
    rounded = rounded.astype(np.uint32).view(np.float32)
    assert_close(found.apply(found.params, x), rounded @ w)
    assert abs(rounded @ w - x @ w).max() > 1e-3


def test_a_softmax_at_the_end_is_left_there(tmp_path):
    nodes = [node("MatMul", "x w", "z"), node("Softmax", "z")]
    found = assert_agrees(written(model(nodes, shape=(6,), w=draws(6, 4)), tmp_path))
    np.testing.assert_allclose(
        found.apply(found.params, examples(2, (6,))).sum(1), 1, rtol=1e-6
    )


def test_float64_is_run_as_float32_and_said(tmp_path):
    nodes = [
        node("Cast", "x", "d", to=TensorProto.DOUBLE), node("MatMul", "d w", "z"),
        node("Cast", "z", to=FLOAT),
    ]  # fmt: skip
    w = draws(6, 4).astype(np.float64)
    found = assert_agrees(written(model(nodes, shape=(6,), w=w), tmp_path))
    assert found.params["w"].dtype == np.float32


def test_what_nothing_needs_is_left_out(tmp_path):
    nodes = [node("MatMul", "x w"), node("NoSuchThing", "x unread", "z")]
    found = reader.read(
        written(model(nodes, shape=(6,), w=draws(6, 4), unread=draws(2)), tmp_path)
    )
    assert list(found.params) == ["w"]
    assert found.notes == ("nothing reads unread: left out",)


@FEW
@given(st.data())
def test_random_networks_are_the_runtimes(tmp_path, data):
    """Layers one after the other, some with a skip connection around them."""
    pick = lambda *values: data.draw(st.sampled_from(values))  # noqa: E731
    nodes, tensors, at, channels = [], {}, "x", 3
    for n in range(data.draw(st.integers(1, 4))):
        before, kind = at, pick("conv", "norm", "pool", "act", "group")
        at = f"h{n}"
        if kind == "conv":
            new = pick(3, 6)
            tensors |= {
                f"w{n}": draws(new, channels, 3, 3, seed=n),
                f"b{n}": draws(new, seed=n),
            }
            nodes.append(node("Conv", f"{before} w{n} b{n}", at, pads=[1, 1, 1, 1]))
            is_alike, channels = new == channels, new
        elif kind == "norm":
            for key in ("s", "t", "m", "v"):
                tensors[f"{key}{n}"] = np.abs(draws(channels, seed=n)) + 0.5
            nodes.append(
                node("BatchNormalization", f"{before} s{n} t{n} m{n} v{n}", at)
            )
            is_alike = True
        elif kind == "group":
            tensors |= {
                f"s{n}": draws(channels, seed=n),
                f"t{n}": draws(channels, seed=n + 9),
            }
            nodes.append(
                node("GroupNormalization", f"{before} s{n} t{n}", at, num_groups=3)
            )
            is_alike = True
        elif kind == "pool":
            pool = pick("MaxPool", "AveragePool")
            nodes.append(node(pool, before, at, kernel_shape=[3, 3], pads=[1, 1, 1, 1]))
            is_alike = True
        else:
            nodes.append(
                node(pick("Relu", "Sigmoid", "Elu", "LeakyRelu", "Gelu"), before, at)
            )
            is_alike = True
        if is_alike and data.draw(st.booleans()):
            nodes.append(node(pick("Add", "Mul"), f"{at} {before}", f"r{n}"))
            at = f"r{n}"
    nodes += [
        node("GlobalAveragePool", at, "p"),
        node("Flatten", "p", "f"),
        node("MatMul", "f w"),
    ]
    made = model(nodes, shape=(3, 5, 4), w=draws(channels, 4), **tensors)
    assert_agrees(written(made, tmp_path), by_runtime, batches=(2,))


# What is refused, each in one line.


def with_control_flow():
    branch = helper.make_graph(
        [node("Identity", "x", "b")], "branch", [],
        [helper.make_tensor_value_info("b", FLOAT, None)],
    )  # fmt: skip
    return model(
        [node("If", "c", then_branch=branch, else_branch=branch)],
        shape=(6,),
        c=np.asarray(True),
    )


def with_two(what):
    made = mlp()
    info = helper.make_tensor_value_info(
        "h" if what == "output" else "z", FLOAT, ["batch", 4]
    )
    getattr(made.graph, what).append(info)
    return made


def of_integers():
    made = mlp()
    made.graph.input[0].type.tensor_type.elem_type = TensorProto.UINT8
    return made


def without_shape():
    made = mlp()
    made.graph.input[0].type.tensor_type.ClearField("shape")
    return made


def calling_itself():
    body = [helper.make_node("Again", ["i"], ["o"], domain="own")]
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("own", 1)]
    function = helper.make_function("own", "Again", ["i"], ["o"], body, opsets)
    nodes = [node("Again", "x", domain="own")]
    return model(nodes, shape=(6,), functions=[function], domains=["own"])


def normalised(**how):
    return [node("BatchNormalization", "x scale shift mean variance", **how)]


REFUSED = {
    "operator": (
        lambda: model([node("NonMaxSuppression", "x x", name="boxes")], shape=(6,)),
        "node 'boxes' (NonMaxSuppression): the operator NonMaxSuppression is not known here",
    ),
    "domain": (
        lambda: model([node("FusedGemm", "x x", domain="com.microsoft")], shape=(6,)),
        "the operator com.microsoft.FusedGemm is not known here",
    ),
    "newer opset": (lambda: mlp(opset=99), "it has opset 99, and up to 28 is known here"),
    "older opset": (lambda: mlp(opset=6), "it has opset 6, older than 7"),
    "two inputs": (lambda: with_two("input"), "one input is needed, and it has 2 ('x', 'z')"),
    "two outputs": (lambda: with_two("output"), "several outputs ('y', 'h')"),
    "control flow": (with_control_flow, "control flow (If) is not read"),
    "open image": (
        lambda: model([node("Flatten", "x")], shape=(3, "height", 5)),
        "input 'x' is [batch, 3, height, 5]: all sizes but the batch's",
    ),
    "no batch": (lambda: model([node("Relu", "x")], shape=()), "input 'x' is [batch]"),
    "no shape": (without_shape, "the shape of its input 'x' is not in the file"),
    "integers": (of_integers, "is of uint8, not of real numbers"),
    "training normalisation": (
        lambda: model(normalised(training_mode=1), **CHANNELS),
        "(BatchNormalization): it is in training mode and normalises by the batch",
    ),
    "older training normalisation": (
        lambda: model(normalised(outputs="y m v s t"), opset=9, **CHANNELS),
        "(BatchNormalization): it is in training mode and normalises by the batch",
    ),
    "training dropout": (
        lambda: model(
            [node("Dropout", "x r t")], shape=(6,), r=scalar(0.5), t=np.asarray(True)
        ),
        "(Dropout): it is in training mode",
    ),
    "random": (
        lambda: model([node("RandomNormalLike", "x", "r"), node("Add", "x r")], shape=(6,)),
        "(RandomNormalLike): it draws random numbers",
    ),
    "values of the input": (
        lambda: model(
            [node("Cast", "x", "i", to=7), node("Flatten", "i", "j", axis=0),
             node("Squeeze", "j zero", "k"), node("Reshape", "x k")],
            shape=(6,), zero=ints(0),
        ),
        "(Reshape): its shape depends on the values of the input or of a parameter",
    ),
    "undefined": (
        lambda: model([node("Add", "x q")], shape=(6,)),
        "node 'y' (Add): it reads 'q', which is not given",
    ),
    "given twice": (
        lambda: model([node("Relu", "x", "w"), node("MatMul", "w w")], shape=(6,), w=draws(6, 6)),
        "it gives 'w', which is something else already",
    ),
    "shapes": (
        lambda: model([node("MatMul", "x w", name="fc")], shape=(6,), w=draws(5, 4)),
        "node 'fc' (MatMul): ",
    ),
    "batch of eight": (
        lambda: model([node("Reshape", "x s")], shape=(2, 3), batch=8, s=ints(8, 6)),
        "the batch in the file is of 8 and it runs on no other",
    ),
    "images": (
        lambda: model([node("Relu", "x")]),
        "of a batch of 1 it gives [1, 3, 6, 5], and logits [1, classes] are needed",
    ),
    "itself": (calling_itself, "its function own.Again calls itself"),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_read_is_refused_in_one_line(what, tmp_path):
    make, message = REFUSED[what]
    path = tmp_path / "network.onnx"
    path.write_bytes(make().SerializeToString())
    with pytest.raises(ValueError) as caught:
        reader.read(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", (b"", b"not a model", b"\x08", None))
def test_a_damaged_file_is_refused_in_one_line(content, tmp_path):
    path = written(mlp(), tmp_path)
    path.write_bytes(path.read_bytes()[:-150] if content is None else content)
    with pytest.raises(ValueError, match="no ONNX file, or damaged: ") as caught:
        reader.read(path)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"none.onnx: No such file"):
        reader.read(tmp_path / "none.onnx")


def test_the_remedy_is_named_where_the_package_is_missing(tmp_path, monkeypatch):
    path = written(mlp(), tmp_path)
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ValueError, match=r"pip install '\.\[onnx\]'"):
        reader.read(path)


# Tensors in files of their own.


def split(folder):
    return written(
        mlp(),
        folder,
        save_as_external_data=True,
        location="weights.bin",
        size_threshold=0,
    )


def test_tensors_of_another_file_are_read_and_hashed(tmp_path):
    path = split(tmp_path)
    found = assert_agrees(path)
    assert list(found.params) == ["w", "b", "v"]
    first = reader.digest(path)
    assert first == reader.digest(path) and len(first) == 64
    weights = tmp_path / "weights.bin"
    content = bytearray(weights.read_bytes())
    content[3] ^= 1
    weights.write_bytes(content)
    assert reader.digest(path) != first


def test_digests_of_single_files_tell_them_apart(tmp_path):
    first = reader.digest(written(mlp(), tmp_path))
    assert first == reader.digest(written(mlp(), tmp_path))
    assert first != reader.digest(written(mlp(opset=20), tmp_path))


def test_missing_and_shortened_tensors_are_refused(tmp_path):
    path = split(tmp_path)
    weights = tmp_path / "weights.bin"
    content = weights.read_bytes()
    weights.write_bytes(content[:-8])
    for read in (reader.read, reader.digest):
        with pytest.raises(
            ValueError, match=r"'weights.bin' is shorter than its tensors"
        ):
            read(path)
    weights.unlink()
    for read in (reader.read, reader.digest):
        with pytest.raises(
            ValueError, match=r"'weights.bin', which is not beside it: copy both"
        ):
            read(path)


@pytest.mark.parametrize("place", ("../weights.bin", "/weights.bin"))
def test_tensors_are_looked_for_beside_the_file_only(place, tmp_path):
    path = split(tmp_path)
    made = onnx.load(path, load_external_data=False)
    for tensor in made.graph.initializer:
        tensor.external_data[0].value = place
    path.write_bytes(made.SerializeToString())
    with pytest.raises(ValueError, match="not beside it"):
        reader.read(path)
