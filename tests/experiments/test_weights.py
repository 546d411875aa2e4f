"""Networks of any format read as the same layers; what is no network is refused."""

import itertools
import json
import pathlib
import pickle
import re
import time
import zipfile

import jax.numpy as jnp
import numpy as np
import pytest
import safetensors as library
from safetensors.numpy import save_file

from experiments.lab import checkpoints, formats
from experiments.lab.reading import tensors, weights
from experiments.lab.refusals import Refusal

WIDTHS = (7, 5, 4, 3)


def network(widths=WIDTHS, seed=0, dtype=np.float32):
    """Kernels `[in, out]` and biases of a network."""
    generator = np.random.default_rng(seed)
    return [
        (
            generator.normal(size=(a, b)).astype(dtype),
            generator.normal(size=b).astype(dtype),
        )
        for a, b in itertools.pairwise(widths)
    ]


NET = network()


def named(net, kernel, bias, numbers=None, transposed=False):
    """The tensors of a network under names with `{}` for the number of the layer."""
    arrays = {}
    for number, (k, b) in zip(numbers or range(len(net)), net, strict=True):
        arrays[kernel.format(number)] = np.ascontiguousarray(k.T if transposed else k)
        if bias:
            arrays[bias.format(number)] = b
    return arrays


def ours(net=NET, kind="final"):
    return named(net, kind + "/{}/kernel", kind + "/{}/bias")


def state_dict(net=NET, layer="fc{}", numbers=None):
    return named(net, f"{layer}.weight", f"{layer}.bias", numbers, transposed=True)


def in_file(path, arrays):
    """A file of the format that its suffix says."""
    if path.suffix == ".npz":
        np.savez(path, **arrays)
    else:
        save_file(arrays, path)
    return str(path)


def read(path, arrays, *args, **options):
    """The layers of the one network in a file with these arrays."""
    (stored,) = weights.read(in_file(path, arrays), *args, **options)
    return stored.final


def same(layers, net=NET):
    assert len(layers) == len(net)
    for layer, (kernel, bias) in zip(layers, net, strict=True):
        np.testing.assert_array_equal(layer.kernel, kernel)
        assert layer.kernel.dtype == kernel.dtype
        if layer.bias is not None:
            np.testing.assert_array_equal(layer.bias, bias)
    return True


def refused(match, *args, **options):
    with pytest.raises(Refusal, match=match) as caught:
        weights.read(*args, **options)
    assert "\n" not in str(caught.value)


TORCH = {
    "fc": ("fc{}", [1, 2, 3]),
    "sequential": ("{}", [0, 2, 4]),
    "numeric": ("net.layers.{}", [2, 9, 10]),
    "nested": ("block{}.fc", [1, 2, 3]),
}
FLAX = ("Dense_{}/kernel", "params/Dense_{}/kernel", "Dense_{}.kernel")
OTHERS = {
    "w": ("w{}", "b{}", [0, 1, 2]),
    "W": ("W{}", "b{}", [1, 2, 3]),
    "weight_": ("weight_{}", "bias_{}", [0, 1, 2]),
    "haiku": ("mlp/linear_{}/w", "mlp/linear_{}/b", [9, 10, 11]),
    "no bias": ("w{}", None, [0, 1, 2]),
}


@pytest.mark.parametrize("suffix", [".safetensors", ".npz"])
class TestFormats:
    @pytest.mark.parametrize("case", TORCH)
    def test_a_pytorch_state_dict(self, tmp_path, suffix, case):
        layer, numbers = TORCH[case]
        layers = read(tmp_path / f"a{suffix}", state_dict(NET, layer, numbers))
        assert same(layers)
        assert [one.name for one in layers] == [layer.format(n) for n in numbers]
        assert all(one.bias is not None for one in layers)

    @pytest.mark.parametrize("kernel", FLAX)
    def test_flattened_flax_parameters(self, tmp_path, suffix, kernel):
        arrays = named(NET, kernel, kernel.replace("kernel", "bias"), [0, 9, 10])
        assert same(read(tmp_path / f"a{suffix}", arrays))

    @pytest.mark.parametrize("case", OTHERS)
    @pytest.mark.parametrize("transposed", [False, True])
    def test_names_that_tell_no_layout(self, tmp_path, suffix, case, transposed):
        layers = read(
            tmp_path / f"a{suffix}", named(NET, *OTHERS[case], transposed=transposed)
        )
        assert same(layers)
        assert all((one.bias is None) == (case == "no bias") for one in layers)


@pytest.mark.parametrize("transposed", [False, True])
def test_positional_arrays(tmp_path, transposed):
    kernels = [k.T if transposed else k for k, _ in NET]
    pairs = zip(kernels, (bias for _, bias in NET), strict=True)
    np.savez(tmp_path / "with.npz", *itertools.chain.from_iterable(pairs))
    np.savez(tmp_path / "without.npz", *kernels)
    with_biases, without = weights.read(f"{tmp_path}/*.npz")
    assert same(with_biases.final) and same(without.final)
    assert with_biases.final[2].bias is not None and without.final[2].bias is None
    assert with_biases.final[1].name == "arr_2"


def test_a_single_layer_without_a_prefix(tmp_path):
    (layer,) = read(tmp_path / "a.npz", {"weight": NET[0][0].T, "bias": NET[0][1]})
    assert same([layer], NET[:1]) and layer.name == "weight"


def test_our_weights_have_what_they_began_with(tmp_path):
    begun = network(seed=1)
    path = in_file(tmp_path / "m8.safetensors", ours() | ours(begun, "init"))
    (stored,) = weights.read(path)
    assert same(stored.final) and same(stored.init, begun)
    assert (stored.name, str(stored.path)) == ("m8", path)


def test_our_trained_runs_have_a_history_that_is_no_layer(tmp_path):
    history = {
        "outcome": np.asarray(2),
        "epochs": np.asarray(4),
        "seconds": np.asarray(0.5),
        "checks": np.zeros((4, 3)),
    }
    formats.write_tensors(tmp_path / "a.safetensors", ours() | history)
    (stored,) = weights.read(str(tmp_path / "a.safetensors"))
    assert same(stored.final) and stored.init is None


def test_our_convolutions_lead_into_a_dense_layer(tmp_path):
    arrays = {
        "final/0/kernel": np.ones((3, 3, 1, 4), np.float32),
        "final/1/kernel": np.ones((36, 2), np.float32),
    }
    first, second = read(tmp_path / "a.safetensors", arrays)
    assert (first.kernel.ndim, second.kernel.ndim) == (4, 2)


def test_our_checkpoints_are_read_without_templates(tmp_path):
    def state(net):
        pairs = enumerate(net)
        layers = {f"Dense_{i}": {"kernel": k, "bias": b} for i, (k, b) in pairs}
        checks = np.zeros((0, 3), np.float32)
        return {"state": {"params": layers, "epoch": np.asarray(1)}, "checks": checks}

    nets = {"run10": network((6,) * 12, 1), "run9": NET}
    folder = tmp_path / "unfinished"
    checkpoints.save(folder, {name: state(net) for name, net in nets.items()})
    assert checkpoints.read_all(folder)["run9"]["['checks']"].shape == (0, 3)
    stored = weights.read(str(folder))
    assert [one.name for one in stored] == ["run9", "run10"]
    assert all(same(one.final, nets[one.name]) for one in stored)
    assert all(one.init is None and one.path == folder for one in stored)


def test_files_lists_globs_and_their_natural_order(tmp_path):
    for name in ("m2", "m10", "m1"):
        in_file(tmp_path / f"{name}.npz", state_dict())
    in_file(tmp_path / "a.safetensors", ours())
    patterns = f"{tmp_path}/m*.npz,{tmp_path}/a.safetensors"
    assert [one.name for one in weights.read(patterns)] == ["a", "m1", "m2", "m10"]


def test_a_comma_may_be_part_of_a_name(tmp_path):
    for name in ("a", "a,b", "c", "d,e,f", "[x]*"):
        in_file(tmp_path / f"{name}.npz", state_dict())

    def names(*given):
        return [
            n.name for n in weights.read(",".join(f"{tmp_path}/{g}" for g in given))
        ]

    assert names("a,b.npz") == ["a,b"]
    assert names("a.npz", "c.npz") == ["a", "c"]
    assert names("c.npz", "d,e,f.npz", "a.npz") == ["a", "c", "d,e,f"]
    assert names("[x]*.npz") == ["[x]*"]
    refused("--weights=.*/d: no file matches", f"{tmp_path}/d,e.npz")
    refused("--weights=x+: no file matches", "x" * 300)
    refused(
        "--weights=x,x.*: no file matches|--weights=x: no file", ",".join("x" * 3000)
    )


def test_names_that_cannot_be_printed_are_written_so(tmp_path):
    names = [
        "a\nb",
        "a|b",
        "\u00e4\u4e2d",
        "[bold]a",
        "a\x1b[31m",
        "a\u2028b",
        "a\udc80",
    ]
    for name in names:
        in_file(tmp_path / f"{name}.npz", state_dict())
    found = {one.name for one in weights.read(f"{tmp_path}/*")}
    assert found == {
        "a\\nb", "a|b", "\u00e4\u4e2d", "[bold]a", "a\\x1b[31m", "a\\u2028b", "a\\udc80",
    }  # fmt: skip
    (tmp_path / "a\nb.npz").write_bytes(b"")
    refused("not a safetensors or npz file", f"{tmp_path}/a\nb.npz")


def test_names_are_unique(tmp_path):
    for place in ("one/weights", "two/weights", "three/trained"):
        (tmp_path / place).mkdir(parents=True)
        in_file(tmp_path / place / "m8.safetensors", ours())
    in_file(tmp_path / "three/trained/only.safetensors", ours())
    in_file(tmp_path / "three/trained/only.npz", state_dict())
    stored = weights.read(f"{tmp_path}/*/*/*")
    assert [one.name for one in stored] == [
        "one/weights/m8",
        "trained/m8",
        "only.npz",
        "only.safetensors",
        "two/weights/m8",
    ]


@pytest.mark.parametrize(
    ("given", "read_as"),
    [(np.float16, np.float32), (jnp.bfloat16, np.float32), (np.float64, np.float64)],
)
def test_types(tmp_path, given, read_as):
    net = network(dtype=given)
    layers = read(tmp_path / "a.safetensors", state_dict(net))
    assert same(layers, [(k.astype(read_as), b.astype(read_as)) for k, b in net])


def test_npz_of_another_byte_order(tmp_path):
    swapped = [(k.astype(">f4"), b.astype(">f4")) for k, b in NET]
    assert same(read(tmp_path / "a.npz", state_dict(swapped)))


# Order of layers.


def words(net=NET):
    names = ("stem", "body", "head")
    pairs = zip(names, net, strict=True)
    return {f"{name}.weight": np.ascontiguousarray(k.T) for name, (k, _) in pairs}


def test_names_without_numbers_are_ordered_by_shapes(tmp_path):
    layers = read(tmp_path / "a.safetensors", words())
    assert same(layers) and [one.name for one in layers] == ["stem", "body", "head"]


@pytest.mark.parametrize("widths", [(4, 4, 4, 4), (7, 5, 6, 3)])
def test_the_order_that_shapes_leave_open_is_given(tmp_path, widths):
    net = network(widths)
    if widths[2] == 6:  # one that fits into nothing
        net[1] = (net[1][0][:4], net[1][1])
    path = in_file(tmp_path / "a.safetensors", words(net))
    refused(r"order of its layers.*body \[\d, \d\].*--layers=\w+,\w+,\w+", path)
    if widths == (4, 4, 4, 4):
        (stored,) = weights.read(path, layers=("stem", "body", "head"))
        assert same(stored.final, net)
    else:
        chosen = ("stem", "body", "head")
        refused(r"stem \[7, 5\] does not lead into body \[4, 6\]", path, layers=chosen)


def test_too_many_orders_to_try(tmp_path):
    net = network(range(3, 14))
    arrays = {f"{'abcdefghij'[i]}.kernel": k for i, (k, _) in enumerate(net)}
    path = in_file(tmp_path / "a.npz", arrays)
    refused("order of its layers.*--layers=a,b,c", path)
    assert same(weights.read(path, layers=tuple("abcdefghij"))[0].final, net)


def test_layers_are_selected(tmp_path):
    extra = {"steps": np.asarray(3), "conv.weight": np.ones((1, 1, 3, 3), np.float32)}
    path = in_file(tmp_path / "a.npz", state_dict() | extra)
    refused(r"steps \[\] is neither the matrix.*--ignore=steps", path)
    rest = ("fc0.*", "steps", "conv.*")
    (stored,) = weights.read(path, layers=("fc1", "fc2"), ignore=rest)
    assert same(stored.final, NET[1:])
    assert all(layer.bias is not None for layer in stored.final)
    missing = ("fc1", "head")
    refused("--layers=head: not in .*there are conv, fc0, fc1", path, layers=missing)
    refused("--layers=fc1,fc1", path, layers=("fc1", "fc1"))


def test_our_layers_are_selected_at_the_beginning_too(tmp_path):
    begun = network(seed=1)
    path = in_file(tmp_path / "a.safetensors", ours() | ours(begun, "init"))
    refused(
        r"0/bias, 0/kernel would not be used.*--ignore=\*/0/bias",
        path,
        layers=("1", "2"),
    )
    (stored,) = weights.read(path, layers=("1", "2"), ignore=("*/0/*",))
    assert same(stored.final, NET[1:]) and same(stored.init, begun[1:])


def test_layers_by_the_names_of_their_matrices_keep_their_biases(tmp_path):
    """Once they lost them without a word."""
    path = in_file(tmp_path / "a.npz", state_dict())
    names = ("fc0.weight", "fc1.weight", "fc2.weight")
    (stored,) = weights.read(path, layers=names)
    assert same(stored.final)
    assert all(layer.bias is not None for layer in stored.final)
    (stored,) = weights.read(path, layers=names, ignore=("*.bias",))
    assert [layer.bias for layer in stored.final] == [None] * 3
    refused(
        "fc0.weight: names a layer that is named twice",
        path,
        layers=("fc0.weight", "fc0"),
    )


def test_what_is_in_a_file_and_not_used_is_said(tmp_path):
    path = in_file(
        tmp_path / "a.npz", state_dict() | {"head": np.ones((3, 3), np.float32)}
    )
    refused("head would not be used.*--ignore=head", path, layers=("fc0", "fc1", "fc2"))
    refused("--ignore=tail: no tensor", path, ignore=("head", "tail"))
    assert same(weights.read(path, ignore=("head",))[0].final)


BETRAYED = {
    "blocks.0.attn.q_proj.weight": "attention",
    "layer1.query.kernel": "attention",
    "h.0.lora_A.weight": "attention",
    "fc0.weight_g": "a parametrisation",
    "fc0.parametrizations.weight.original0": "a parametrisation",
    "fc1.weight_orig": "a parametrisation",
    "bn1.weight": "a layer that normalises",
    "LayerNorm_0.scale": "a layer that normalises",
    "layer2.0.downsample.0.weight": "a residual block",
    "rnn.weight_hh_l0": "a recurrent layer",
    "ema.fc0.weight": "a running average",
    "model_ema.fc0.weight": "a running average",
    "tok_embedding.weight": "an embedding",
    "opt_state.0.mu": "the state of an optimizer",
}


@pytest.mark.parametrize("tensor", BETRAYED)
def test_names_that_betray_another_architecture(tmp_path, tensor):
    """Square matrices would make a chain of anything."""
    square = np.eye(4, dtype=np.float32)
    arrays = {"fc0.weight": square, "fc1.weight": square, tensor: square}
    path = in_file(tmp_path / "a.npz", arrays)
    refused(f"{BETRAYED[tensor]}.*--ignore=", path)
    assert len(weights.read(path, ignore=(tensor,))[0].final) == 2


# Layout.


def test_the_layout_of_squares_is_given(tmp_path):
    net = network((4, 4, 4))
    path = in_file(tmp_path / "a.npz", named(net, "w{}", "b{}"))
    refused("--layout=in_out or --layout=out_in", path)
    assert same(weights.read(path, layout="in_out")[0].final, net)
    turned = weights.read(path, layout="out_in")[0].final
    np.testing.assert_array_equal(turned[0].kernel, net[0][0].T)
    assert same(read(tmp_path / "b.npz", state_dict(net)), net)  # its names tell


def test_layout_overrides_names(tmp_path):
    path = in_file(
        tmp_path / "a.npz", named(NET, "fc{}.weight", "fc{}.bias", [1, 2, 3])
    )
    refused(r"fc1 \[5, 7\] does not go with its bias \[5\].*--layout=in_out", path)
    assert same(weights.read(path, layout="in_out")[0].final)
    refused("--layout=rows: must be one of in_out, out_in", path, layout="rows")


def test_shapes_that_do_not_chain(tmp_path):
    arrays = named([NET[0], NET[2]], "Dense_{}/kernel", None)
    path = in_file(tmp_path / "a.npz", arrays)
    refused(
        r"Dense_0 \[7, 5\] does not lead into Dense_1 \[4, 3\].*--layout.*--layers",
        path,
    )
    path = in_file(tmp_path / "b.safetensors", ours([NET[0], NET[2]]))
    refused(r"0 \[7, 5\] does not lead into 1 \[4, 3\]; save it again", path)


def test_our_layout_is_known(tmp_path):
    path = in_file(tmp_path / "a.safetensors", ours())
    assert same(weights.read(path, layout="in_out")[0].final)
    refused("--layout=out_in: .*our own.*leave --layout out", path, layout="out_in")


# Initial weights.


def test_one_init_for_all_overrides_that_of_a_file(tmp_path):
    begun, other = network(seed=1), network(seed=2)
    paths = [
        in_file(tmp_path / "a.safetensors", ours() | ours(begun, "init")),
        in_file(tmp_path / "b.npz", state_dict()),
    ]
    init = in_file(tmp_path / "init.npz", named(other, "w{}", "b{}"))
    for stored in weights.read(",".join(paths), init):
        assert same(stored.init, other) and same(stored.final)
    (stored,) = weights.read(
        paths[1], init=paths[0]
    )  # what it learned is the beginning
    assert same(stored.init, NET)


def test_an_init_for_each_goes_with_it_as_typed(tmp_path):
    for seed, name in enumerate(("x", "y", "p", "q")):
        in_file(tmp_path / f"{name}.npz", state_dict(network(seed=seed)))

    def at(*names):
        return ",".join(f"{tmp_path}/{name}.npz" for name in names)

    first, second = weights.read(at("y", "x"), at("p", "q"))
    assert (first.name, second.name) == ("x", "y")
    assert same(first.init, network(seed=3)) and same(second.init, network(seed=2))
    refused(
        "--init=.*holds 2 networks and --weights 3", at("x", "y", "p"), at("p", "q")
    )


@pytest.mark.parametrize("widths", [(7, 5, 3), (7, 5, 6, 3)])
def test_an_init_of_another_shape(tmp_path, widths):
    path = in_file(tmp_path / "a.npz", state_dict())
    init = in_file(tmp_path / "init.npz", state_dict(network(widths)))
    refused("--init=.*init.npz: .*initial layers.*began with", path, init)
    mixed = ours() | ours(network(widths), "init")
    refused("initial layer", in_file(tmp_path / "b.safetensors", mixed))


# What is no network.


def test_no_such_file(tmp_path):
    refused("--weights=.*nowhere.*: no file matches", f"{tmp_path}/nowhere*")
    refused("--weights=: no file matches", "")
    path = in_file(tmp_path / "a.npz", state_dict())
    refused("--init=.*nowhere: no file matches", path, f"{tmp_path}/nowhere")
    refused("a.npz is in it twice", f"{path},{path}")


def test_folders_without_a_checkpoint(tmp_path):
    refused("without a checkpoint.*safetensors.*checkpoints/unfinished", str(tmp_path))
    (tmp_path / "run" / "weights").mkdir(parents=True)  # of a whole run folder
    in_file(tmp_path / "run" / "weights" / "a.safetensors", state_dict())
    remedy = r"give files, e.g. .*run/weights/\*\.safetensors"
    refused(remedy, str(tmp_path / "run"))
    (tmp_path / "3").mkdir()
    refused("checkpoint cannot be read", str(tmp_path))


def test_broken_files(tmp_path):
    for suffix in (".npz", ".safetensors"):
        path = tmp_path / f"a{suffix}"
        whole = in_file(path, state_dict()) and path.read_bytes()
        for raw in (whole[:-20], whole[:9], b"", b"nonsense", whole[:60] + whole[80:]):
            path.write_bytes(raw)
            refused(r"not a safetensors or npz file.*\(corrupt, truncated", str(path))
    with zipfile.ZipFile(tmp_path / "b.npz", "w") as file:
        file.writestr("readme.txt", "hello")
    refused("not a safetensors or npz file", f"{tmp_path}/b.npz")


class Trap:
    """Unpickling it fails the test."""

    def __reduce__(self):
        return pytest.fail, ("it was unpickled",)


def test_pickles_are_never_opened(tmp_path):
    (tmp_path / "old.pth").write_bytes(pickle.dumps(Trap()))
    (tmp_path / "no_suffix").write_bytes(pickle.dumps(Trap()))
    with zipfile.ZipFile(tmp_path / "net.pt", "w") as file:
        file.writestr("net/data.pkl", pickle.dumps(Trap()))
    np.savez(tmp_path / "object.npz", params=np.asarray({"w": Trap()}, object))
    for path in tmp_path.iterdir():
        refused(r"a pickle, which is never opened\).*save_file\(model", str(path))


def test_no_matrices(tmp_path):
    path = in_file(tmp_path / "a.npz", {"indices": np.arange(3), "b0": np.ones(2)})
    refused("no weight matrices in it .there are indices, b0", path)
    refused("no weight matrices in it .it is empty", in_file(tmp_path / "b.npz", {}))
    np.savez(tmp_path / "c.npz", np.ones(3))
    refused("no weight matrices in it", str(tmp_path / "c.npz"))
    many = {f"t{i}": np.ones(1) for i in range(50)}
    refused("and 38 more", in_file(tmp_path / "d.npz", many))


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("tensor", ["fc1.weight", "fc1.bias"])
def test_numbers_that_are_not_finite(tmp_path, tensor, value):
    arrays = state_dict([(k.copy(), b.copy()) for k, b in NET])
    arrays[tensor].flat[0] = value
    path = in_file(tmp_path / "a.safetensors", arrays)
    refused(rf"a\.safetensors: {tensor} is not finite", path)


@pytest.mark.parametrize("dtype", [np.int8, np.int64, np.complex64, bool])
@pytest.mark.parametrize("suffix", [".safetensors", ".npz"])
def test_numbers_that_are_no_floats(tmp_path, dtype, suffix):
    arrays = state_dict([(np.ones((3, 2), dtype), np.ones(2, dtype))])
    path = in_file(tmp_path / f"a{suffix}", arrays)
    refused(f"fc0.* is of type {np.dtype(dtype).name}; save it as float32", path)


def test_eight_bit_floats(tmp_path):
    header = b'{"0.weight":{"dtype":"F8_E4M3","shape":[2,2],"data_offsets":[0,4]}}'
    raw = len(header).to_bytes(8, "little") + header + bytes(4)
    (tmp_path / "a.safetensors").write_bytes(raw)
    unknown = raw.replace(b"F8_E4M3", b"F8_E9M9")
    (tmp_path / "b.safetensors").write_bytes(unknown)
    refused("0.weight is of type F8_E9M9; save it as", f"{tmp_path}/b.safetensors")
    refused(
        "0.weight is of type float8_e4m3fn; save it as", f"{tmp_path}/a.safetensors"
    )


# Tensors that share memory: `safetensors.torch.save_model` leaves them out and notes it.


def by_hand(path, arrays, notes):
    """A safetensors file written by what its format says, with metadata."""
    header, data = {"__metadata__": notes}, b""
    for name, array in arrays.items():
        places = [len(data), len(data) + array.nbytes]
        header[name] = {"dtype": "F32", "shape": array.shape, "data_offsets": places}
        data += array.tobytes()
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return str(path)


def entry(shape=(3, 2), begin=0, end=24, dtype="F32"):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


LYING = {
    "w: [3, 1] does not take 24 bytes": {"w": entry((3, 1))},
    "w: [3, 2] does not take 24 bytes": {"w": entry(dtype="F16")},
    "w: [6442450944, 2] does not": {"w": entry((3 * 2**31, 2))},
    "w: [4294967296, 4294967296] is more": {"w": entry((2**32, 2**32))},
    "w begins at byte 4 of the data, not 0": {"w": entry((5, 1), 4)},
    "b begins at byte 20 of the data, not 24": {"w": entry(), "b": entry((1,), 20, 24)},
    "says 20 bytes of data, it holds 24": {"w": entry((5, 1), 0, 20)},
    "says 0 bytes of data, it holds 24": {},
    "says 48 bytes of data, it holds 24": {"w": entry((6, 2), 0, 48)},
    "w: its header is corrupt": {"w": entry((-3, -2))},
    "x: its header is corrupt": {"x": entry((3.0, 2))},
    "y: its header is corrupt": {"y": entry((True, 6))},
    "u: its header is corrupt": {"u": [3, 2]},
    "v is of type f4": {"v": entry(dtype="f4")},
    "type 3": {"v": entry(dtype=3)},
}


@pytest.mark.parametrize("message", LYING)
def test_headers_that_lie(tmp_path, message):
    text = json.dumps(LYING[message]).encode()
    raw = len(text).to_bytes(8, "little") + text + NET[0][0].tobytes()[:24]
    with pytest.raises(library.SafetensorError):
        library.deserialize(raw)
    (tmp_path / "a.safetensors").write_bytes(raw)
    refused(re.escape(message), f"{tmp_path}/a.safetensors")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"w": %s, "w": %s}', "a name is in its header twice"),
        ('{"w": {"scale": 2, "dtype": "F32", "x": %s, "y": %s}}', "w: its header is"),
    ],
)
def test_headers_that_the_library_lets_pass(tmp_path, text, says):
    text = (text % ((json.dumps(entry()),) * 2)).encode()
    raw = len(text).to_bytes(8, "little") + text + bytes(24)
    (tmp_path / "a.safetensors").write_bytes(raw)
    refused(says, f"{tmp_path}/a.safetensors")


SQUARE = network((4, 4, 4, 4, 3))


@pytest.mark.parametrize(
    "notes",
    [
        {"2.weight": "1.weight", "2.bias": "0.bias"},
        {"2.bias": "0.bias", "2.weight": "9.weight", "9.weight": "1.weight"},
        {"2.bias": "3.bias.old", "3.bias.old": "0.bias", "2.weight": "1.weight"},
    ],
)
def test_a_tensor_that_was_left_out_is_the_one_that_was_kept(tmp_path, notes):
    arrays = state_dict(SQUARE, "{}")
    del arrays["2.weight"], arrays["2.bias"]
    path = by_hand(tmp_path / "a.safetensors", arrays, {"format": "pt"} | notes)
    ignore = tuple({"9.weight", "3.bias.old"} & set(notes))
    (stored,) = weights.read(path, ignore=ignore)
    tied = (SQUARE[1][0], SQUARE[0][1])
    assert same(stored.final, [*SQUARE[:2], tied, SQUARE[3]])


@pytest.mark.parametrize(
    ("notes", "says"),
    [
        ({"2.weight": "2.weight"}, r"2\.weight shares .*2.weight -> 2.weight"),
        ({"2.weight": "x", "x": "2.weight"}, r"2\.weight -> x -> 2\.weight"),
        ({"2.weight": "x", "x": "y", "y": "x"}, r"2\.weight -> x -> y -> x"),
        ({"2.weight": "gone"}, r"2\.weight -> gone\), which is not in it"),
        ({"2.weight": "gone.weight"}, r"2\.weight -> gone\.weight\), which is not"),
        ({"w2": "w9"}, r"w2 -> w9\), which is not in it"),
        ({"3.weight": "1.weight"}, r"3\.weight is in it, .* says that it is 1\.weight"),
        ({"2.weight": 3}, "__metadata__ is corrupt"),
        ({"2\n.weight": "1.weight"}, r"2\\n\.weight' is no name"),
    ],
)
def test_a_note_that_leads_nowhere_is_refused(tmp_path, notes, says):
    """Without its third layer these squares are a network all the same: another one."""
    arrays = state_dict(SQUARE, "{}")
    del arrays["2.weight"], arrays["2.bias"]
    refused(says, by_hand(tmp_path / "a.safetensors", arrays, notes))


def test_other_metadata_are_no_tensors(tmp_path):
    notes = {"format": "pt", "epoch": "3", "0.weight": "0.weight", "title": "a net"}
    path = by_hand(tmp_path / "a.safetensors", state_dict(SQUARE, "{}"), notes)
    assert same(weights.read(path)[0].final, SQUARE)


@pytest.mark.parametrize("end", ["1.weight", "gone"])
def test_a_chain_of_very_many_notes(tmp_path, end):
    """In a time that grows with their number, not with its square: that were ten times as much."""

    def seconds(last):
        notes = {f"{i}.weight": f"{i + 1}.weight" for i in range(4, last)}
        notes[f"{last}.weight"] = end
        path = by_hand(tmp_path / "a.safetensors", state_dict(SQUARE, "{}"), notes)
        begun = time.perf_counter()
        if end == "gone":
            refused(r"4\.weight -> 5\.weight -> .* -> gone\), which is not in it", path)
        else:
            arrays = tensors.contents(pathlib.Path(path))["a"]
            np.testing.assert_array_equal(arrays["4.weight"], SQUARE[1][0].T)
            assert all(arrays[name] is arrays["4.weight"] for name in notes)
        return time.perf_counter() - begun

    assert seconds(20_000) < 4 * sum(seconds(2_000) for _ in range(10))


def test_empty_matrices(tmp_path):
    path = in_file(tmp_path / "a.npz", {"fc.weight": np.ones((0, 3))})
    refused("fc.weight is empty", path)


ONE = np.ones(5, np.float32)
NORMALISING = {
    "batch": {"1.weight": ONE, "1.bias": ONE, "1.running_mean": ONE},
    "counter": {"1.num_batches_tracked": np.asarray(3)},
    "layer": {"1.weight": ONE, "1.bias": ONE},
    "flax": {"LayerNorm_0/scale": ONE, "LayerNorm_0/bias": ONE},
    "flax_batch": {"batch_stats/BatchNorm_0/mean": ONE},
}


@pytest.mark.parametrize("case", NORMALISING)
def test_normalisation_layers(tmp_path, case):
    arrays = state_dict(NET, "{}", [0, 2, 4]) | NORMALISING[case]
    path = in_file(tmp_path / "a.safetensors", arrays)
    refused("batch normalisation can be folded into the layer before it", path)


@pytest.mark.parametrize("shape", [(4, 1, 3, 3), (4, 1, 3), ()])
def test_convolutions_of_others(tmp_path, shape):
    arrays = {"0.weight": np.ones(shape), "2.weight": np.ones((2, 4))}
    path = in_file(tmp_path / "a.safetensors", arrays)
    refused(r"0\.weight has shape \[.*no matrix .a convolution", path)


def test_tensors_that_are_no_layers(tmp_path):
    path = in_file(tmp_path / "a.npz", state_dict() | {"lstm.weight_ih_l0": ONE})
    refused(r"lstm.weight_ih_l0 \[5\] is named as a recurrent layer", path)
    path = in_file(tmp_path / "b.npz", state_dict() | {"w_1": ONE, "W1": ONE})
    refused("W1 .*neither the matrix", path)
    path = in_file(tmp_path / "c.npz", state_dict() | {"head.bias": ONE})
    refused(r"head.bias \[5\] is neither the matrix", path)
