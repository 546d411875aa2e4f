"""Files changed at random: refused in one line that names them, or read as they are.

What a changed file holds is decided by plain decoders of this module, of the formats as they
are documented, which know nothing of ours. Seeds are fixed.
"""

import ast
import gzip
import io
import json
import math
import random
import resource
import struct
import subprocess
import sys
import tracemalloc
import warnings
import zipfile
import zlib

import numpy as np
import pytest
import safetensors as library
from PIL import Image

from experiments.lab.reading import cifar, data_files, idx, weights
from experiments.lab.refusals import Refusal
from tests.experiments import published
from tests.experiments.test_data_files import Pooled
from tests.experiments.test_idx import idx_bytes
from tests.experiments.tiny import ROOT

MUTATIONS = [150, pytest.param(100_000, marks=pytest.mark.slow)]
MOST_MEMORY = 32 * 2**20  # for files of some hundred bytes
RNG = np.random.default_rng(4)
TRACED = 100
POOLED = Pooled()
POOL = data_files.Pool(POOLED)
NUMBERS = [0, 1, 2, 127, 128, 255, 256, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**40,
           2**62, 2**63 - 1, 2**63, 2**64 - 1]  # fmt: skip


# Plain decoders: bytes -> {name: nested lists of numbers}, or an exception of any kind.


def plain_numbers(raw, code, shape, order):
    numbers = [n for (n,) in struct.iter_unpack(order + code, raw)]
    assert len(numbers) == math.prod(shape)
    return shape, numbers


def plain_npy(raw):
    """(shape, numbers, the first index running slowest) of an array of NumPy's format."""
    assert raw[:6] == b"\x93NUMPY"
    wide = raw[6] > 1
    (length,) = struct.unpack("<I" if wide else "<H", raw[8 : 12 if wide else 10])
    start = (12 if wide else 10) + length
    header = ast.literal_eval(raw[start - length : start].decode("latin1").strip())
    shape, kind = header["shape"], header["descr"]
    code = {"b1": "?", "i1": "b", "u1": "B", "i2": "h", "u2": "H", "i4": "i", "u4": "I",
            "i8": "q", "u8": "Q", "f2": "e", "f4": "f", "f8": "d"}[kind[1:]]  # fmt: skip
    order = ">" if kind[0] == ">" else "<"
    shape, numbers = plain_numbers(raw[start:], code, shape, order)
    if header["fortran_order"]:
        strides = [math.prod(shape[:k]) for k in range(len(shape))]
        numbers = [
            numbers[sum(i * s for i, s in zip(place, strides, strict=True))]
            for place in np.ndindex(*shape)
        ]
    return shape, numbers


def plain_npz(raw):
    with zipfile.ZipFile(io.BytesIO(raw)) as file:
        return {
            name.removesuffix(".npy"): plain_npy(file.read(name))
            for name in file.namelist()
        }


def plain_safetensors(raw):
    start = 8 + int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8:start].decode("utf-8"))
    codes = {"F16": "e", "F32": "f", "F64": "d"}
    found = {}
    for name, entry in header.items():
        if name != "__metadata__":
            begin, end = entry["data_offsets"]
            part = raw[start + begin : start + end]
            code = codes[entry["dtype"]]
            found[name] = plain_numbers(part, code, tuple(entry["shape"]), "<")
    for name, kept in header.get("__metadata__", {}).items():
        if name not in found and kept in found:
            found[name] = found[kept]
    return found


def plain_idx(raw):
    raw = gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw
    assert raw[:3] == b"\0\0\x08"
    shape = struct.unpack(f">{raw[3]}I", raw[4 : 4 + 4 * raw[3]])
    return plain_numbers(raw[4 + 4 * raw[3] :], "B", shape, ">")


def plain_cifar10(raw):
    """(labels, pixels [N, 32, 32, 3] as nested lists)."""
    assert raw and len(raw) % 3073 == 0
    records = [raw[k : k + 3073] for k in range(0, len(raw), 3073)]
    pixels = [
        [r[1 + 1024 * channel + 32 * row + column]
         for row in range(32) for column in range(32) for channel in range(3)]
        for r in records
    ]  # fmt: skip
    assert all(r[0] < 10 for r in records)
    return [r[0] for r in records], pixels


def plain_mat(raw):
    """{name: (shape, numbers running as they are stored)} of arrays of bytes."""
    assert raw[:19] == b"MATLAB 5.0 MAT-file" and raw[124:126] == b"\0\1"
    assert raw[126:128] == b"IM"
    found, stream = {}, raw[128:]

    def element(raw):
        kind, size = struct.unpack("<2I", raw[:8])
        if kind > 0xFFFF:
            return kind & 0xFFFF, raw[4 : 4 + (kind >> 16)], raw[8:]
        assert size <= len(raw) - 8
        end = 8 + size if kind == 15 else 8 + size + -size % 8
        return kind, raw[8 : 8 + size], raw[end:]

    while stream:
        kind, body, stream = element(stream)
        if kind == 15:
            kind, body, _ = element(zlib.decompress(body))
        _, flags, body = element(body)
        _, shape, body = element(body)
        _, name, body = element(body)
        if flags[0] not in range(6, 16) or flags[1] & 8:
            continue
        kind, numbers, body = element(body)
        code = {1: "b", 2: "B", 3: "h", 4: "H", 5: "i", 6: "I", 7: "f", 9: "d", 12: "q",
                13: "Q"}[kind]  # fmt: skip
        sides = struct.unpack(f"<{len(shape) // 4}i", shape)
        found[name.decode()] = flags[0], *plain_numbers(numbers, code, sides, "<")
    return found


def plain_text(raw):
    return [
        int(w) for line in raw.decode().splitlines() for w in line.split("#")[0].split()
    ]


# What is read, and what it must be.


def equal(array, shape, numbers):
    assert array.shape == tuple(shape)
    np.testing.assert_array_equal(
        array.ravel(), np.array(numbers, array.dtype), strict=True
    )


def check_data(path, raw):
    found, plain = data_files.Arrays.read(str(path)), plain_npz(raw)
    names = next(n for n in data_files.NAMES if n[0] in plain and n[1] in plain)
    for examples, (x, y) in ((found.train, names[:2]), (found.test, names[2:])):
        if examples is None:
            assert x not in plain and y not in plain
            continue
        shape, numbers = plain[x]
        wide = (shape[0], math.prod(shape[1:]))
        equal(examples.inputs, wide, np.array(numbers, np.float32))
        assert all(0 <= n < 10**6 for n in plain[y][1])
        equal(examples.labels, (shape[0],), plain[y][1])


def check_indices(path, raw):
    found = POOL.of("net", str(path))[0]
    if path.suffix == ".txt":
        indices = plain_text(raw)
    elif path.suffix == ".npy":
        indices = plain_npy(raw)[1]
    else:
        indices = plain_npz(raw)["indices"][1]
    assert all(0 <= n < 100 for n in indices)
    np.testing.assert_array_equal(found.inputs, POOLED.inputs[indices])


def check_weights(path, raw):
    (stored,) = weights.read(str(path))
    if raw[:2] == b"PK":
        plain = plain_npz(raw)
    else:
        library.deserialize(raw)  # no hole, no overlap, nothing behind
        plain = plain_safetensors(raw)
    # Names are told apart whatever their case and separator: 0.weight, 0/Weight.
    alike = {name.lower().replace("/", "."): name for name in plain}
    taken = set()
    for layer in stored.final:
        for array, ending in ((layer.kernel, "weight"), (layer.bias, "bias")):
            if array is not None:
                given = layer.name.lower().replace("/", ".")
                tries = (
                    given,
                    f"{given}.{ending}",
                    given.removesuffix("weight") + ending,
                )
                # By its name, and as PyTorch stores it.
                name = alike[
                    next(n for n in tries if n in alike and n.endswith(ending))
                ]
                taken.add(name)
                equal(array.T, plain[name][0], plain[name][1])
    assert taken == set(plain)


def check_idx(path, raw):
    equal(idx.read(path), *plain_idx(raw))


def check_cifar(path, raw):
    images, labels = cifar.read([path], cifar.FORMS["cifar10"])
    expected, pixels = plain_cifar10(raw)
    equal(labels, (len(expected),), expected)
    equal(images, (len(expected), 32, 32, 3), [n for one in pixels for n in one])


def check_svhn(path, raw):
    found, plain = data_files.Arrays.read(str(path)), plain_mat(raw)
    (kind, (height, width, channels, count), numbers), (_, _, labels) = (
        plain[name] for name in "Xy"
    )
    assert kind == 9 and all(0 <= n <= 10 for n in labels)
    np.testing.assert_array_equal(found.train.labels, [n % 10 for n in labels])
    numbers = np.array(numbers).astype(np.uint8)  # as MATLAB: a narrower type wraps
    expected = [
        numbers[r + height * (c + width * (channel + channels * n))] / 255
        for n in range(count) for r in range(height) for c in range(width)
        for channel in range(channels)
    ]  # fmt: skip
    np.testing.assert_allclose(found.train.inputs.ravel(), expected, rtol=1e-6)


def npz(save=np.savez, **arrays):
    buffer = io.BytesIO()
    save(buffer, **arrays)
    return buffer.getvalue()


def npy(array):
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def state_dict(*shapes):
    arrays = {}
    for i, (out, into) in enumerate(shapes):
        arrays[f"{i}.weight"] = RNG.standard_normal((out, into)).astype("f4")
        arrays[f"{i}.bias"] = RNG.standard_normal(out).astype("f4")
    return arrays


def safetensors(arrays, notes):
    header, data = {"__metadata__": notes}, b""
    for name, array in arrays.items():
        places = [len(data), len(data) + array.nbytes]
        header[name] = {"dtype": "F32", "shape": array.shape, "data_offsets": places}
        data += array.tobytes()
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


SET = {
    "x": RNG.standard_normal((6, 3)).astype("f4"), "y": RNG.integers(3, size=6),
    "x_test": RNG.standard_normal((4, 3)).astype("f4"), "y_test": RNG.integers(3, size=4),
}  # fmt: skip
IMAGES = idx_bytes(RNG.integers(256, size=(5, 3, 2)).astype(np.uint8))
TIED = state_dict((3, 3), (3, 3), (2, 3))
del TIED["1.weight"]
SMALL = {
    "X": published.images(3, 3, 2).transpose(1, 2, 3, 0),
    "y": np.array([[1], [10], [3]]),
}
RECORDS = b"".join(published.cifar_record([n], n) for n in (3, 0, 9))
# suffix, whole file, what is checked
READERS = {
    "data": (".npz", npz(**SET), check_data),
    "data, deflated": (".npz", npz(np.savez_compressed, **SET), check_data),
    "indices, npz": (".npz", npz(indices=RNG.integers(100, size=9)), check_indices),
    "indices, npy": (".npy", npy(RNG.integers(100, size=9)), check_indices),
    "indices, text": (".txt", b"# chosen\n5\n17\n99\n3\n", check_indices),
    "weights, npz": (".npz", npz(**state_dict((3, 4), (2, 3))), check_weights),
    "weights, safetensors": (
        ".safetensors",
        safetensors(TIED, {"format": "pt", "1.weight": "0.weight"}),
        check_weights,
    ),
    "idx": ("", IMAGES, check_idx),
    "idx, gzipped": (".gz", gzip.compress(IMAGES, mtime=0), check_idx),
    "cifar": (".bin", RECORDS, check_cifar),
    "svhn": (".mat", published.mat(SMALL), check_svhn),
    "svhn, deflated": (".mat", published.mat(SMALL, deflated=True), check_svhn),
}


def mutated(raw, rng):
    """The bytes of a file with one to three changes."""
    raw = bytearray(raw)
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(raw) + 1)
        how = rng.randrange(8)
        if how == 0:
            del raw[at:]
        elif how == 1:
            raw[at:at] = rng.randbytes(rng.randint(1, 20))
        elif how == 2:
            raw += rng.choice([b"\0", b"\n", rng.randbytes(9), bytes(raw[at:])])
        elif how == 3:
            del raw[at : at + rng.randint(1, 20)]
        elif how == 4:  # a number of a header that is stored in bytes
            width = rng.choice([1, 2, 4, 8])
            number = rng.choice(NUMBERS) % 256**width
            raw[at : at + width] = number.to_bytes(width, rng.choice(["big", "little"]))
        elif how == 5 and (digits := [i for i, b in enumerate(raw) if 48 <= b < 58]):
            start = rng.choice(digits)  # or in digits
            text = str(rng.choice([*NUMBERS, -1, 1.5, 1e400])).encode()
            raw[start : start + rng.choice([1, len(text)])] = text
        elif raw:
            raw[at % len(raw)] ^= 1 << rng.randrange(8)
    return bytes(raw)


@pytest.mark.parametrize("mutations", MUTATIONS)
@pytest.mark.parametrize("reader", READERS)
def test_a_changed_file_is_refused_by_name_or_read_as_it_is(
    tmp_path, reader, mutations, capsys
):
    suffix, whole, check = READERS[reader]
    path, rng = tmp_path / f"file{suffix}", random.Random(7)
    path.write_bytes(whole)
    check(path, whole)
    refused, before = 0, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    tracemalloc.start()
    for number in range(mutations):
        raw = mutated(whole, rng)
        path.unlink()  # a file that is still mapped keeps its bytes
        path.write_bytes(raw)
        if number < TRACED:
            tracemalloc.reset_peak()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                check(path, raw)
        except Refusal as refusal:
            refused += 1
            message = str(refusal)
            assert str(path) in message and message.isprintable(), (number, message)
            assert len(message) < 2000, (number, message)
        except BaseException:
            (tmp_path / "culprit").write_bytes(raw)
            print(f"mutation {number}, kept in {tmp_path / 'culprit'}")
            raise
        if number < TRACED:
            assert tracemalloc.get_traced_memory()[1] < MOST_MEMORY, number
        else:  # which would take minutes; what the process has taken in all is looked at below
            tracemalloc.stop()
    tracemalloc.stop()
    taken = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert taken * 1024 < 8 * MOST_MEMORY
    assert refused > mutations / 2


def pictures():
    """name -> bytes of one picture in every format."""
    pixels, found = published.images(1, 12, 9)[0], {}
    for name in ("PNG", "JPEG", "BMP", "PPM", "WEBP"):
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, name)
        found[name] = buffer.getvalue()
    return found | {"plain PNG": published.png(pixels)}


@pytest.mark.parametrize("mutations", MUTATIONS)
@pytest.mark.parametrize("kind", pictures())
def test_a_changed_picture_is_refused_or_bytes_of_its_size(tmp_path, kind, mutations):
    """What a damaged picture shows is for its decoder; that it is one is for us."""
    whole, rng, refused = pictures()[kind], random.Random(7), 0
    path = tmp_path / "train" / "a" / "1"
    path.parent.mkdir(parents=True)
    for _ in range(mutations):
        path.write_bytes(mutated(whole, rng))
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                found = data_files.Arrays.read(str(tmp_path))
            assert found.train.inputs.shape == (1, math.prod(found.image))
            assert 0 <= found.train.inputs.min() <= found.train.inputs.max() <= 1
        except Refusal as refusal:
            refused += 1
            assert str(path) in str(refusal) and str(refusal).isprintable()
    assert mutations / 10 < refused < mutations


@pytest.mark.parametrize("mutations", MUTATIONS)
def test_a_changed_parquet_file_is_refused_by_name_or_read(tmp_path, mutations):
    arrow = pytest.importorskip("pyarrow", reason="pip install pyarrow")
    import pyarrow.parquet

    path, rng, refused = tmp_path / "train.parquet", random.Random(7), 0
    images = [
        {"bytes": published.png(i), "path": "a"} for i in published.images(3, 4, 5)
    ]
    pyarrow.parquet.write_table(
        arrow.table({"image": images, "label": [0, 1, 2]}), path
    )
    whole = path.read_bytes()
    for _ in range(mutations):
        path.write_bytes(mutated(whole, rng))
        try:
            found = data_files.Arrays.read(str(path))
            assert len(found.train.labels) == len(found.train.inputs)
        except Refusal as refusal:
            refused += 1
            assert str(path) in str(refusal) and str(refusal).isprintable()
    assert mutations / 2 < refused < mutations


def onnx_network():
    """Bytes of a small network; one of its tensors is made of a shape in the file."""
    onnx = pytest.importorskip("onnx", reason="pip install '.[onnx]'")
    node, rng = onnx.helper.make_node, np.random.default_rng(0)
    shapes = {"a": (3, 2, 3, 3), "c": (3, 12), "d": (3,)}
    tensors = {k: rng.normal(size=s).astype("f4") for k, s in shapes.items()}
    tensors |= {"n": np.array([3]), "s": np.array([0, -1])}
    half = onnx.numpy_helper.from_array(np.array([0.5], "f4"))
    nodes = [
        node("Conv", ["x", "a"], ["1"], pads=[1] * 4), node("Relu", ["1"], ["2"]),
        node("MaxPool", ["2"], ["3"], kernel_shape=[2, 2], strides=[2, 2]),
        node("Reshape", ["3", "s"], ["4"]), node("Gemm", ["4", "c", "d"], ["5"], transB=1),
        node("ConstantOfShape", ["n"], ["6"], value=half), node("Mul", ["5", "6"], ["7"]),
    ]  # fmt: skip
    ends = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["n", *shape])
        for name, shape in (("x", (2, 4, 4)), ("7", (3,)))
    ]
    held = [onnx.numpy_helper.from_array(v, k) for k, v in tensors.items()]
    graph = onnx.helper.make_graph(nodes, "net", ends[:1], ends[1:], held)
    opsets = [onnx.helper.make_opsetid("", 17)]
    return onnx.helper.make_model(graph, opset_imports=opsets).SerializeToString()


@pytest.mark.parametrize("mutations", MUTATIONS)
def test_a_changed_onnx_file_is_refused_by_name_or_what_its_runtime_computes(
    tmp_path, mutations
):
    from nets.importing import onnx

    runtime = pytest.importorskip("onnxruntime", reason="pip install onnxruntime")
    options = runtime.SessionOptions()
    options.log_severity_level = 4
    whole, rng = onnx_network(), random.Random(7)
    path, x = tmp_path / "net.onnx", RNG.normal(size=(2, 2, 4, 4)).astype("f4")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused = compared = 0
    for number in range(mutations):
        raw = mutated(whole, rng)
        path.write_bytes(raw)
        try:
            found = onnx.read(path)
        except ValueError as error:
            refused += 1
            message = str(error)
            assert message.startswith(str(path)), (number, message)
            assert message.isprintable() and len(message) < 2000, (number, message)
            continue
        try:
            session = runtime.InferenceSession(raw, options)
            (wanted,) = session.run(None, {session.get_inputs()[0].name: x})
        except Exception:  # what its own runtime does not take has no right value
            continue
        # Near the largest number a sum overflows in one order and not in another.
        if found.input_shape == x.shape[1:] and np.abs(wanted).max() < 1e30:
            compared += 1
            np.testing.assert_allclose(
                found.apply(found.params, x), wanted, 1e-4, 1e-5, err_msg=f"{number}"
            )
    taken = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert taken * 1024 < 2**30  # the runtime is imported here
    assert refused > mutations / 2 and compared > mutations / 20


@pytest.mark.parametrize(
    "operator", ["ConstantOfShape", "Range", "Expand", "Tile", "Pad"]
)
def test_a_tensor_that_an_onnx_file_only_asks_for_is_not_made(tmp_path, operator):
    """Hundred bytes that would be 8 GiB."""
    onnx = pytest.importorskip("onnx", reason="pip install '.[onnx]'")
    from nets.importing import onnx as reader

    much, one = np.array([2**31]), np.ones(1, "f4")
    tensors = {
        "ConstantOfShape": {"n": much},
        "Range": {"a": np.float32(0), "b": np.float32(2**31), "c": np.float32(1)},
        "Expand": {"v": one, "n": much},
        "Tile": {"v": one, "n": much},
        "Pad": {"v": one, "n": np.array([0, 2**31])},
    }[operator]
    node = onnx.helper.make_node
    nodes = [
        node(operator, list(tensors), ["1"], name="large"),
        node("ReduceMax", ["1"], ["2"], keepdims=0), node("Mul", ["x", "2"], ["3"]),
    ]  # fmt: skip
    ends = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["n", 3])
        for name in "x3"
    ]
    held = [onnx.numpy_helper.from_array(np.asarray(v), k) for k, v in tensors.items()]
    graph = onnx.helper.make_graph(nodes, "net", ends[:1], ends[1:], held)
    path = tmp_path / "net.onnx"
    onnx.save(
        onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)]),
        path,
    )
    tracemalloc.start()
    with pytest.raises(
        ValueError, match=f"'large' .{operator}.: it asks for .*2147483"
    ) as caught:
        reader.read(path)
    assert tracemalloc.get_traced_memory()[1] < MOST_MEMORY
    tracemalloc.stop()
    assert str(caught.value).startswith(str(path))


BOMBS = """
import resource, sys
from experiments.lab.reading import data_files, idx, memory, weights
from experiments.lab.refusals import Refusal
from bounds import checks
used = memory._numbers("/proc/self/status", 1024)["VmSize:"]
resource.setrlimit(resource.RLIMIT_AS, (used + 2**28,) * 2)
calls = {"data": data_files.Arrays.read, "weights": weights.read, "idx": idx.read}
for call, path in zip(sys.argv[1::2], sys.argv[2::2]):
    try:
        calls[call](path)
    except Refusal as refusal:
        print(refusal)
try:
    bytearray(2**29)
except MemoryError:
    print("limited")
"""


def npy_header(kind, shape):
    text = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(text)) + text


def test_bombs_in_a_process_with_a_limit(tmp_path):
    """A quarter of a gibibyte more is all that it may take: each would take more."""
    zeros = bytes(2**20)
    images = b"\0\0\x08\x03" + struct.pack(">3I", 384, 1024, 1024)
    with gzip.open(tmp_path / "images.gz", "wb", 1) as file:
        file.write(images)
        for _ in range(384):
            file.write(zeros)
    start = npy_header("|u1", "(384, 1048576)")
    with (
        zipfile.ZipFile(
            tmp_path / "x.npz", "w", zipfile.ZIP_DEFLATED, compresslevel=1
        ) as file,
        file.open("x.npy", "w", force_zip64=True) as member,
    ):
        member.write(start)
        for _ in range(384):
            member.write(zeros)
    (tmp_path / "long.safetensors").write_bytes((2**26).to_bytes(8, "little") + b"{")
    with open(tmp_path / "long.safetensors", "r+b") as file:
        file.truncate(2**27)  # of which nothing is stored
    text = b'{"w":{"dtype":"F32","shape":[524288,1024],"data_offsets":[0,2147483648]}}'
    sparse = {
        "wide.safetensors": len(text).to_bytes(8, "little") + text,
        "wide.npy": npy_header("<f4", "(524288, 1024)"),
        "images": b"\0\0\x08\x03" + struct.pack(">3I", 2048, 1024, 1024),
    }
    for name, begins in sparse.items():
        (tmp_path / name).write_bytes(begins)
        with open(tmp_path / name, "r+b") as file:
            file.truncate(len(begins) + 2**31)
    files = {"images.gz": "idx", "x.npz": "data", "long.safetensors": "weights",
             "wide.safetensors": "weights", "wide.npy": "data", "images": "idx"}  # fmt: skip
    given = [part for name, call in files.items() for part in (call, tmp_path / name)]
    done = subprocess.run(
        [sys.executable, "-c", BOMBS, *map(str, given)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    *lines, limit = done.stdout.splitlines()
    assert limit == "limited"  # else the lines would show nothing
    assert len(lines) == len(files) and all(
        str(tmp_path / name) in line and "available" in line
        for name, line in zip(files, lines, strict=True)
    ), lines
