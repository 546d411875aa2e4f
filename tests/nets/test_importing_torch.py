"""PyTorch modules as JAX functions, against PyTorch itself."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="needs PyTorch")

from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from nets.importing import torch as reader  # noqa: E402
from tests.nets.torch_networks import residual  # noqa: E402
from tests.nets.traced import assert_real_arithmetic  # noqa: E402

IMAGE = (4, 6, 8)


def examples(count, shape, seed=0):
    return np.random.default_rng(seed).normal(size=(count, *shape)).astype(np.float32)


def outputs(module, x):
    with torch.no_grad():
        return module(torch.from_numpy(x)).float().numpy()


def assert_close(given, wanted, share=3e-6):
    given, wanted = np.asarray(given, np.float64), np.asarray(wanted, np.float64)
    assert given.shape == wanted.shape
    np.testing.assert_allclose(given, wanted, rtol=0, atol=share * abs(wanted).max())


def assert_agrees(module, shape, batches=(2,)):
    module.eval()
    found = reader.read(module, np.zeros((1, *shape)))
    assert found.input_shape == shape
    apply = jax.jit(found.apply)
    for count in batches:
        x = examples(count, shape, count)
        assert_close(apply(found.params, x), outputs(module, x))
    return found


class Function(nn.Module):
    """A function as a module."""

    def __init__(self, function, **parts):
        super().__init__()
        self.function = function
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, x):
        return self.function(self, x)


@pytest.fixture(scope="module")
def network():
    return residual(torch)


@pytest.fixture(scope="module")
def found(network):
    """What is read of it, before it is compared: operation by operation that takes longer."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reader, "_compare", lambda *_: None)
        return reader.read(network, np.zeros((4, 3, 9, 8)))


def test_a_residual_network_gives_its_logits_of_any_batch(network, found):
    assert found.input_shape == (3, 9, 8)
    assert found.name == "Residual"
    assert found.notes == ()
    apply = jax.jit(found.apply)
    for count in (1, 2, 5):
        x = examples(count, found.input_shape, count)
        assert_close(apply(found.params, x), outputs(network, x))


def test_parameters_are_the_modules_in_its_order(network, found):
    wanted = {
        k: v.numpy() for k, v in network.state_dict().items() if v.is_floating_point()
    }
    assert list(found.params) == list(wanted)
    for name, array in wanted.items():
        np.testing.assert_array_equal(found.params[name], array)


def test_gradients_are_pytorchs(network, found):
    x, v = examples(3, found.input_shape), examples(3, (5,), 1)
    loss = lambda p: jnp.sum(v * found.apply(p, x))  # noqa: E731
    given = jax.jit(jax.grad(loss))(found.params)
    network.zero_grad()
    (network(torch.from_numpy(x)) * torch.from_numpy(v)).sum().backward()
    for name, parameter in network.named_parameters():
        assert_close(given[name], parameter.grad.numpy())


def test_a_traced_network_is_real_arithmetic_of_fixed_shapes(found):
    assert_real_arithmetic(found)


# One module for many operators: each is another column of its output.

ACTIVATIONS = {
    "relu": F.relu, "relu6": F.relu6, "hardtanh": lambda x: F.hardtanh(x, -0.3, 0.6),
    "leaky": lambda x: F.leaky_relu(x, 0.2), "elu": lambda x: F.elu(x, 0.7),
    "selu": F.selu, "celu": lambda x: F.celu(x, 0.7), "gelu": F.gelu,
    "gelu-tanh": lambda x: F.gelu(x, approximate="tanh"), "silu": F.silu,
    "sigmoid": torch.sigmoid, "tanh": torch.tanh, "softplus": F.softplus,
    "softplus-2": lambda x: F.softplus(x, 2.0, 1.0), "hardswish": F.hardswish,
    "hardsigmoid": F.hardsigmoid, "mish": F.mish, "softsign": F.softsign,
    "logsigmoid": F.logsigmoid, "softmax": lambda x: F.softmax(x, 1),
    "log_softmax": lambda x: F.log_softmax(x, -1), "prelu": lambda x: F.prelu(
        x, torch.tensor([0.1, 0.2, 0.3, 0.4])), "exp": torch.exp, "log1p": lambda x:
    torch.log1p(x * x), "sqrt": lambda x: torch.sqrt(x.abs() + 1), "rsqrt": lambda x:
    torch.rsqrt(x.abs() + 1), "square": lambda x: x**2, "power": lambda x:
    (x.abs() + 1) ** 1.5, "scaled": lambda x: 2 * x - 0.5 + x / 3 - (1 - x),
    "alpha": lambda x: torch.add(x, x, alpha=3), "clamp": lambda x: x.clamp(min=0.1),
    "where": lambda x: torch.where(x > 0, x, -2 * x), "larger": lambda x:
    torch.maximum(x, x.flip(-1)), "dropout": lambda x: F.dropout(x, 0.5, False),
    "erf": torch.erf, "half": lambda x: x.half().float(), "tensor": lambda x:
    x * torch.tensor(3.0) + torch.tensor([1.0, 2.0] * 4),
}  # fmt: skip
WINDOWS = {
    "max": lambda x: F.max_pool2d(x, 3, 2, 1), "max-dilated": lambda x: F.max_pool2d(
        x, (2, 3), 1, (1, 0), (2, 1)), "max-ceil": lambda x: F.max_pool2d(
        x, 3, 2, ceil_mode=True), "average": lambda x: F.avg_pool2d(x, 3, 2, 1),
    "average-uncounted": lambda x: F.avg_pool2d(x, 3, 2, 1, count_include_pad=False),
    "average-ceil": lambda x: F.avg_pool2d(x, (3, 3), 2, 1, ceil_mode=True),
    "average-divisor": lambda x: F.avg_pool2d(x, 2, divisor_override=3),
    "adaptive": lambda x: F.adaptive_avg_pool2d(x, 1), "adaptive-even": lambda x:
    F.adaptive_avg_pool2d(x, (3, 2)), "adaptive-uneven": lambda x: F.adaptive_avg_pool2d(
        x, (4, 3)), "adaptive-max": lambda x: F.adaptive_max_pool2d(x, (3, 2)),
    "max1d": lambda x: F.max_pool1d(x.flatten(2), 3), "average1d": lambda x: F.avg_pool1d(
        x.flatten(2), 4, 3), "mean": lambda x: x.mean((2, 3)), "sum": lambda x: x.sum(1),
    "amax": lambda x: x.amax(3), "max-of": lambda x: x.max(2)[0], "var": lambda x: x.var(
        (2, 3)), "norm": lambda x: F.normalize(x.flatten(1)), "logsumexp": lambda x:
    torch.logsumexp(x, 3),
}  # fmt: skip
PLACES = {
    "view": lambda x: x.view(x.size(0), 2, -1), "reshape": lambda x: x.reshape(x.shape[0], -1),
    "permute": lambda x: x.permute(0, 2, 3, 1), "transpose": lambda x: x.transpose(1, 3),
    "cat": lambda x: torch.cat([x, 2 * x], 1), "split": lambda x: x.split([1, 3], 1)[1],
    "chunk": lambda x: x.chunk(3, 2)[2], "slice": lambda x: x[:, 1:-1, ::2], "select":
    lambda x: x[:, -1], "flip": lambda x: x.flip(2), "stack": lambda x: torch.stack(
        [x, x + 1], 2), "index": lambda x: x[:, [2, 0, 0, 3]], "expand": lambda x: x[
        :, :1].expand(-1, 4, -1, -1), "repeat": lambda x: x.repeat(1, 2, 1, 1), "pad":
    lambda x: F.pad(x, (1, 2, 0, 1), value=0.5), "crop": lambda x: F.pad(x, (-1, 2)),
    "reflect": lambda x: F.pad(x, (1, 2, 0, 1), "reflect"), "edge": lambda x: F.pad(
        x, (1, 2, 0, 1), "replicate"), "squeeze": lambda x: x[:, :1].squeeze(1),
    "unbind": lambda x: x.unbind(1)[2], "shuffle": lambda x: F.channel_shuffle(x, 2),
    "ones": lambda x: x + torch.ones_like(x) + torch.zeros(8) + torch.arange(8),
    "matmul": lambda x: x @ x.transpose(2, 3), "einsum": lambda x: torch.einsum(
        "nchw,ncHw->nhH", x, x),
}  # fmt: skip
LAYERS = {
    "conv": nn.Conv2d(4, 3, 3, 2, 1), "conv-same": nn.Conv2d(4, 3, (2, 4), padding="same"),
    "conv-groups": nn.Conv2d(4, 6, 3, padding=(2, 0), dilation=2, groups=2),
    "conv-circular": nn.Conv2d(4, 3, 3, padding=1, padding_mode="circular"),
    "conv-reflect": nn.Conv2d(4, 3, 3, padding=1, padding_mode="reflect"),
    "transposed": nn.ConvTranspose2d(4, 6, 3, 2, 1, 1, groups=2), "conv1d": nn.Sequential(
        nn.Flatten(2), nn.Conv1d(4, 3, 5, 2, 1), nn.BatchNorm1d(3)), "batch": nn.BatchNorm2d(
        4), "batch-plain": nn.BatchNorm2d(4, affine=False), "layer": nn.LayerNorm((6, 8)),
    "group": nn.GroupNorm(2, 4), "instance": nn.InstanceNorm2d(4, affine=True),
    "instance-running": nn.InstanceNorm2d(4, track_running_stats=True), "linear": nn.Linear(
        8, 3), "bare": nn.Linear(8, 3, bias=False), "weight_norm":
    nn.utils.parametrizations.weight_norm(nn.Conv2d(4, 3, 2)), "spectral_norm":
    nn.utils.parametrizations.spectral_norm(nn.Linear(8, 3)), "dropout": nn.Sequential(
        nn.Dropout2d(0.5), nn.Linear(8, 2)),
}  # fmt: skip


@pytest.mark.parametrize(
    "functions",
    (ACTIVATIONS, WINDOWS, PLACES, LAYERS),
    ids=("act", "windows", "places", "layers"),
)
def test_every_operator_is_pytorchs(functions, monkeypatch):
    """As one program; that `read` compares, operation by operation, is tested below."""
    monkeypatch.setattr(reader, "_compare", lambda *_: None)
    torch.manual_seed(0)
    parts = nn.ModuleList(f for f in functions.values() if isinstance(f, nn.Module))
    for part in parts.modules():
        if getattr(part, "running_mean", None) is not None:
            part.running_mean.normal_()
            part.running_var.uniform_(0.5, 2.0)

    def all_of_them(module, x):
        return torch.cat([f(x).flatten(1) for f in functions.values()], 1)

    module = Function(all_of_them, parts=parts).eval()
    found = reader.read(module, np.zeros((1, *IMAGE)))
    apply, wrong = jax.jit(found.apply), {}
    with torch.no_grad():
        one = torch.from_numpy(examples(1, IMAGE))
        widths = [f(one).flatten(1).shape[1] for f in functions.values()]
    at = np.cumsum([0, *widths])
    for count in (1, 3):
        x = examples(count, IMAGE)
        given, wanted = np.asarray(apply(found.params, x)), outputs(module, x)
        assert given.shape == wanted.shape
        for name, start, end in zip(functions, at[:-1], at[1:], strict=True):
            apart = abs(given[:, start:end] - wanted[:, start:end]).max()
            if not apart <= 5e-6 * abs(wanted[:, start:end]).max():
                wrong[name, count] = apart
    assert not wrong


@pytest.mark.slow
@settings(max_examples=4, deadline=None, derandomize=True)
@given(st.data())
def test_random_stacks_of_layers_are_pytorchs(data):
    pick = lambda *values: data.draw(st.sampled_from(values))  # noqa: E731
    layers, channels = [], 4
    for _ in range(data.draw(st.integers(1, 4))):
        new = pick(2, 4, 6)
        layer = pick(
            lambda: nn.Conv2d(channels, new, pick(1, 3), pick(1, 2), pick(0, 1)),  # noqa: B023
            lambda: nn.BatchNorm2d(channels),  # noqa: B023
            lambda: nn.GroupNorm(2, channels),  # noqa: B023
            lambda: nn.MaxPool2d(3, pick(1, 2), 1),
            lambda: nn.AvgPool2d(3, pick(1, 2), 1),
            lambda: pick(nn.ReLU, nn.ELU, nn.SiLU, nn.GELU)(),
        )()
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean.normal_()
            layer.running_var.uniform_(0.5, 2.0)
        channels = new if isinstance(layer, nn.Conv2d) else channels
        layers.append(layer)
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 3)]
    assert_agrees(nn.Sequential(*layers, *head), (4, 7, 7))


# What is a parameter, and what is left as it was.


def test_shared_tensors_are_one_parameter_and_unread_ones_none():
    module = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))
    module[2].weight = module[0].weight
    module.unread = nn.Parameter(torch.zeros(3))
    found = assert_agrees(module, (4,))
    assert list(found.params) == ["0.weight", "0.bias", "2.bias"]
    assert found.notes == ("nothing reads unread: left out",)


@pytest.mark.parametrize("fails", (False, True))
def test_the_module_is_put_back_as_it_was(fails):
    module = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5), nn.BatchNorm1d(4))
    if fails:
        module.append(Function(lambda self, x: x.no_such_method()))
    module.train()
    module[2].eval()
    before = {k: v.clone() for k, v in module.state_dict().items()}
    if fails:
        with pytest.raises(ValueError, match=r"torch\.export fails"):
            reader.read(module, np.zeros((2, 4)))
    else:
        found = reader.read(module, np.zeros((2, 4)))
        assert found.notes == ("it was in training mode and is read in inference mode",)
    assert [part.training for part in module.modules()][:4] == [True, True, True, False]
    for name, tensor in module.state_dict().items():
        assert torch.equal(tensor, before[name])


def test_a_mean_over_the_batch_stays_one():
    """Of one example it reads as fine: only a batch shows it."""
    module = Function(
        lambda self, x: self.f(x - x.mean(0, keepdim=True)), f=nn.Linear(4, 3)
    )
    found = assert_agrees(module, (4,), (1, 3))
    x = examples(2, (4,))
    alone = np.concatenate([found.apply(found.params, one[None]) for one in x])
    assert abs(alone - found.apply(found.params, x)).max() > 0.1


def test_numbers_of_less_precision_stay_so_and_of_more_are_float32():
    x = examples(3, (4,))
    half = nn.Sequential(nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, 3)).bfloat16()
    found = reader.read(half.eval(), x)
    assert found.params["0.weight"].dtype == jnp.bfloat16
    given = np.asarray(found.apply(found.params, x), np.float32)
    with torch.no_grad():
        wanted = half(torch.from_numpy(x).bfloat16()).float().numpy()
    assert_close(given, wanted, share=2**-7)
    wide = nn.Linear(4, 3).double().eval()
    found = reader.read(wide, x)
    assert found.params["weight"].dtype == np.float32
    assert found.notes == ("its numbers are float64 and are run as float32",)


def test_casts_within_a_module_are_kept():
    module = Function(lambda self, x: self.f(x.bfloat16().float()), f=nn.Linear(4, 3))
    found = assert_agrees(module, (4,))
    x = examples(2, (4,), 2)
    unrounded = outputs(module.f, x)
    assert abs(found.apply(found.params, x) - unrounded).max() > 1e-3


# What is refused, each in one line.


class Counted(nn.Module):
    """Trace by trace as good as the batch's size, and no function of one example."""

    def __init__(self, function):
        super().__init__()
        self.function = function
        self.linear = nn.Linear(4, 3)

    def forward(self, x):
        return self.linear(self.function(x))


REFUSED = {
    "statistics": (
        lambda: nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4, track_running_stats=False)),
        "Sequential: 1 (BatchNorm1d) holds no running statistics",
    ),
    "functional statistics": (
        lambda: Counted(lambda x: F.batch_norm(x, None, None, training=True)),
        "normalises by the batch it is given, in inference mode too",
    ),
    "dropout": (
        lambda: nn.Sequential(nn.Linear(4, 4), Counted(lambda x: F.dropout(x, 0.5, True))),
        "draws random numbers in inference mode too (dropout that is left on)",
    ),
    "noise": (lambda: Counted(lambda x: x + torch.randn_like(x)), "draws random numbers"),
    "operator": (
        lambda: nn.Sequential(nn.Linear(4, 4), Counted(lambda x: torch.cumsum(x, 1))),
        "the operator aten.cumsum.default (cumsum in 1) is not known here",
    ),
    "outputs": (lambda: Function(lambda self, x: (x, x)), "it gives 2 values"),
    "shape": (lambda: Function(lambda self, x: x.sum(1)), "of 2 examples it gives [2]"),
    "constant": (
        lambda: Function(lambda self, x: x.reshape(2, 4)), "torch.export fixes its batch",
    ),
    "number": (
        lambda: Counted(lambda x: x.reshape(2, 4) * 0 + x.sum(0) / 2), "torch.export fixes its batch",
    ),
    "choice": (lambda: Counted(lambda x: x if x.sum() > 0 else -x), "depends on values that it computes"),
    "channels": (lambda: nn.Conv2d(3, 4, 3), "(do channels come first?)"),
}  # fmt: skip


ALIKE = ("noise", "number")  # to dropout that is left on, and to a constant


@pytest.mark.parametrize(
    "what",
    [
        pytest.param(what, marks=pytest.mark.slow) if what in ALIKE else what
        for what in REFUSED
        if what != "channels"
    ],
)
def test_what_cannot_be_read_is_refused_in_one_line(what):
    make, message = REFUSED[what]
    with pytest.raises(ValueError) as caught:
        reader.read(make(), np.zeros((2, 4)))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("what", ["choice", "channels"])
def test_what_cannot_be_exported_is_one_line_alone(what, capfd):
    make, message = REFUSED[what]
    with pytest.raises(ValueError, match=re.escape(message)) as refused:
        reader.read(make(), np.zeros((2, 8, 8, 3) if what == "channels" else (2, 4)))
    assert "\n" not in str(refused.value)
    assert capfd.readouterr() == ("", "")


class Otherwise(nn.Module):
    """Another function while it is exported."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def forward(self, x):
        return self.layer(x) if torch.compiler.is_compiling() else self.layer(2 * x)


def test_what_is_exported_must_be_what_is_run():
    with pytest.raises(ValueError, match="Otherwise: gives other logits") as refused:
        reader.read(Otherwise().eval(), np.zeros((2, 4)))
    assert "\n" not in str(refused.value)


def test_a_literal_batch_that_fits_any_shape_is_found_by_its_values():
    """Traced with a batch of 2, `len` of a list is the number 2."""

    def divided(x):
        if x.shape[0] == 2:  # fixes the batch
            return x / 2
        return x / 3

    with pytest.raises(ValueError, match=r"torch\.export fixes its batch"):
        reader.read(Counted(divided), np.zeros((2, 4)))


@pytest.mark.parametrize("example", (np.zeros(4), np.zeros((0, 4)), np.zeros(())))
def test_an_example_is_a_batch(example):
    with pytest.raises(ValueError, match=r"inputs \[examples, \.\.\.\] are needed"):
        reader.read(nn.Linear(4, 3), example)


def exported_module():
    return torch.export.export(
        nn.Linear(4, 3), (torch.zeros(2, 4),), strict=False
    ).module()


def not_finite():
    module = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 3))
    module[1].weight.data[0, 0] = float("nan")
    return module


NO_MODULE = {
    "state": (lambda: nn.Linear(4, 3).state_dict(), "OrderedDict: is no module; give the module with"),
    "class": (lambda: nn.Linear, "the class Linear: is no module; give one that was trained"),
    "function": (lambda: lambda x: x, "function: is no module; give the torch.nn.Module itself"),
    "program": (
        lambda: torch.export.export(nn.Linear(4, 3), (torch.zeros(2, 4),), strict=False),
        "ExportedProgram: is no module; give the module that it was exported from",
    ),
    "exported": (exported_module, "cannot be switched to inference mode"),
    "meta": (lambda: nn.Linear(4, 3, device="meta"), "Linear: weight is on the device meta"),
    "nan": (not_finite, "Sequential: 1.weight is not all finite"),
    "dict": (
        lambda: Function(lambda self, x: {"logits": self.linear(x)}, linear=nn.Linear(4, 3)), "gives a dict, and logits alone",
    ),
    "tuple": (lambda: Function(lambda self, x: (self.linear(x),), linear=nn.Linear(4, 3)), "gives a tuple, and logits alone"),
    "no number": (
        lambda: Function(lambda self, x: self.linear(x) / 0 * 0, linear=nn.Linear(4, 3)), "not all finite on the inputs given",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", NO_MODULE)
def test_what_is_no_trained_module_is_refused_in_one_line(what):
    make, says = NO_MODULE[what]
    with pytest.raises(ValueError) as caught:
        reader.read(make(), np.zeros((2, 4), np.float32))
    assert says in str(caught.value) and "\n" not in str(caught.value), caught.value


class Chosen(nn.Module):
    """Of some of its inputs: which ones is a buffer."""

    def __init__(self, places):
        super().__init__()
        self.register_buffer("places", torch.tensor(places))
        self.linear = nn.Linear(len(places), 3)

    def forward(self, x):
        return self.linear(x[:, self.places])


def test_whole_numbers_that_are_kept_with_the_weights_are_named():
    """Were they chosen on the training data, a count of parameters would leave them out."""
    x = np.random.default_rng(0).normal(size=(3, 8)).astype(np.float32)
    (note,) = reader.read(Chosen([5, 1, 2]).eval(), x).notes
    assert (
        note.startswith("places: of whole numbers") and "no bound counts them" in note
    )
    assert not reader.read(
        nn.Sequential(nn.Linear(8, 4), nn.BatchNorm1d(4)).eval(), x
    ).notes


class OfAll(nn.Module):
    """Of as many inputs as there are."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 3)

    def forward(self, *inputs):
        return self.linear(inputs[0])


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of PyTorch's own modules
@pytest.mark.parametrize(
    "run", [lambda module: torch.compile(module, backend="eager"), nn.DataParallel]
)
def test_what_runs_a_module_is_no_part_of_it(run):
    module = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 3))
    x = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    found = reader.read(run(module), x)
    assert found.name == "Sequential"
    np.testing.assert_allclose(
        found.apply(found.params, x), module(torch.from_numpy(x)).detach(), rtol=1e-5
    )


def test_a_forward_of_any_number_of_inputs_is_read():
    x = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    module = OfAll()
    found = reader.read(module, x)
    np.testing.assert_allclose(
        found.apply(found.params, x), module(torch.from_numpy(x)).detach(), rtol=1e-5
    )


def test_a_function_of_positive_inputs_is_tried_on_those_given():
    module = Function(lambda self, x: self.linear(torch.log(x)), linear=nn.Linear(4, 3))
    x = np.random.default_rng(0).uniform(0.1, 1, size=(3, 4)).astype(np.float32)
    found = reader.read(module, x)
    np.testing.assert_allclose(
        found.apply(found.params, x), module(torch.from_numpy(x)).detach(), rtol=1e-4
    )
