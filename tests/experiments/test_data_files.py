"""Data sets and indices in anyone's files: read as they are, or refused by name in one line."""

import io
import os
import pickle
import struct
import time
import zipfile

import numpy as np
import pytest
import safetensors.numpy

from experiments.lab.reading import array_files, data_files, idx, memory
from experiments.lab.refusals import Refusal
from experiments.problems import Examples

RNG = np.random.default_rng(1)
X = RNG.standard_normal((30, 4)).astype(np.float32)
Y = RNG.integers(3, size=30)
X_TEST, Y_TEST = (
    RNG.standard_normal((10, 4)).astype(np.float32),
    RNG.integers(3, size=10),
)
WHOLE = {"x": X, "y": Y, "x_test": X_TEST, "y_test": Y_TEST}
IMAGES = 100

WRAPPING = [
    (np.int64, 2**32), (np.int64, 2**32 + 1), (np.int64, 2**40 + 2), (np.int64, -(2**32) + 1),
    (np.int64, 2**31), (np.int64, -1), (np.int64, 2**63 - 1), (np.uint64, 2**64 - 1),
    (np.uint64, 2**64 - 2**32 + 1), (np.uint32, 2**32 - 2), (np.int32, 2**31 - 1),
    (np.int64, 1_000_000),
]  # fmt: skip


class Pooled:
    """A problem with a pool, as far as `Pool` looks at one."""

    def __init__(self, test=None):
        generator = np.random.default_rng(2)
        self.inputs = generator.standard_normal((IMAGES, 3)).astype(np.float32)
        self.labels = generator.integers(10, size=IMAGES).astype(np.int32)
        fresh = generator.standard_normal((IMAGES, 3)).astype(np.float32)
        self.held_out = Examples(fresh if test is None else test, self.labels)

    def pool(self, indices=None):
        chosen = slice(None) if indices is None else indices
        return Examples(self.inputs[chosen], self.labels[chosen])

    def test(self):
        return self.held_out


def chosen(path, name="net"):
    return data_files.Pool(Pooled()).of(name, str(path))[0]


def refused(call, path, *says):
    with pytest.raises(Refusal) as caught:
        call(str(path))
    message = str(caught.value)
    assert str(path) in message and "\n" not in message
    for part in says:
        assert part in message, message


def saved(tmp_path, **arrays):
    np.savez(tmp_path / "set.npz", **arrays)
    return tmp_path / "set.npz"


@pytest.mark.parametrize("names", data_files.NAMES)
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_what_was_written_is_read(tmp_path, capsys, names, save):
    save(tmp_path / "a.npz", **dict(zip(names, WHOLE.values(), strict=True)))
    found = data_files.Arrays.read(str(tmp_path / "a.npz"))
    pairs = zip((found.train, found.test), ((X, Y), (X_TEST, Y_TEST)), strict=True)
    for examples, (x, y) in pairs:
        np.testing.assert_array_equal(examples.inputs, x)
        np.testing.assert_array_equal(examples.labels, y)
        assert examples.labels.dtype == np.int32
    printed = capsys.readouterr().out
    assert (
        "inputs are float32, taken as they are" in printed and printed.count("\n") == 1
    )


def test_safetensors_are_read(tmp_path):
    safetensors.numpy.save_file(WHOLE, tmp_path / "a.safetensors")
    found = data_files.Arrays.read(str(tmp_path / "a.safetensors"))
    np.testing.assert_array_equal(found.train.inputs, X)
    np.testing.assert_array_equal(found.test.labels, Y_TEST)


def test_bytes_are_divided_by_255_and_it_is_said(tmp_path, capsys):
    """As in `bounds.from_arrays`: see `test_arrays`."""
    x = RNG.integers(256, size=(30, 2, 2)).astype(np.uint8)
    x[0, 0, 0], x[0, 0, 1] = 0, 255
    x_test = x[:10] ^ np.uint8(1)
    path = saved(tmp_path, x=x, y=Y, x_test=x_test, y_test=Y_TEST)
    found = data_files.Arrays.read(str(path))
    expected = np.array([[n / 255 for n in row] for row in x.reshape(30, 4).tolist()])
    np.testing.assert_allclose(found.train.inputs, expected, rtol=2e-7)
    np.testing.assert_allclose(
        found.test.inputs, x_test.reshape(10, 4).astype(float) / 255, rtol=2e-7
    )
    assert "bytes, divided by 255: 0 to 1" in capsys.readouterr().out
    mixed = saved(tmp_path, x=x, y=Y, x_test=x_test / 255, y_test=Y_TEST)
    refused(data_files.Arrays.read, mixed, "`x` is of type uint8 and `x_test` float64")


@pytest.mark.parametrize("array", ["y", "y_test"])
@pytest.mark.parametrize(("kind", "number"), WRAPPING)
def test_labels_are_compared_before_they_are_cast(tmp_path, array, kind, number):
    labels = WHOLE[array].astype(kind)
    labels[3] = number
    path = saved(tmp_path, **WHOLE | {array: labels})
    refused(
        data_files.Arrays.read, path, f"`{array}`: {number} is not one of 0..999999"
    )


@pytest.mark.parametrize("suffix", [".npz", ".npy", ".txt"])
@pytest.mark.parametrize(("kind", "number"), [*WRAPPING, (np.int64, IMAGES)])
def test_indices_are_compared_before_they_are_cast(tmp_path, suffix, kind, number):
    indices = np.array([1, number, 2], kind)
    path = tmp_path / f"chosen{suffix}"
    if suffix == ".npz":
        np.savez(path, indices=indices)
    elif suffix == ".npy":
        np.save(path, indices)
    else:
        path.write_text("\n".join(map(str, indices.tolist())))
    shown = f"{number} is no" if abs(number) >= 10**18 and suffix == ".txt" else number
    refused(chosen, path, str(shown))


@pytest.mark.parametrize(("kind", "number"), WRAPPING)
def test_labels_of_indices_are_compared_before_they_are_cast(tmp_path, kind, number):
    labels = np.array([1, number, 0], kind)
    np.savez(tmp_path / "chosen.npz", indices=np.arange(3), labels=labels)
    refused(chosen, tmp_path / "chosen.npz", f"`labels`: {number} is not one of")


@pytest.mark.parametrize("kind", "bBhHiIlLqQ")
def test_indices_of_any_integer_type(tmp_path, kind):
    indices = np.array([5, 5, 99, 0], kind)
    labels = np.array([[3], [0], [7], [2]], kind)  # a column is a row
    np.savez(tmp_path / "net.npz", indices=indices, labels=labels)
    for given in (tmp_path / "net.npz", tmp_path):  # a folder: a file a network
        found = chosen(given)
        np.testing.assert_array_equal(found.inputs, Pooled().inputs[[5, 5, 99, 0]])
        assert found.labels.tolist() == [3, 0, 7, 2]
    np.save(tmp_path / "a.npy", indices)
    np.testing.assert_array_equal(
        chosen(tmp_path / "a.npy").labels, Pooled().labels[[5, 5, 99, 0]]
    )


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("5\n5\n9\n", [5, 5, 9]),
        ("5 5 9", [5, 5, 9]),
        ("# chosen\n\n 7 # the seventh\r\n+8\n", [7, 8]),
        ("7", [7]),
        ("", "must be some whole numbers"),
        ("1.5", "1.5 is no whole number"),
        ("1e3", "1e3 is no whole number"),
        ("1_0", "1_0 is no whole number"),
        ("٣", "ascii"),
        ("1 2\n3 4", "in one row, or one a line"),
        ("9" * 5000, "99... is no whole number"),
        ("1\0", "is no whole number"),
        ("-1", "-1 is not one of 0..99"),
    ],
)
def test_indices_in_text(tmp_path, text, read):
    path = tmp_path / "chosen.txt"
    path.write_bytes(text.encode())
    if isinstance(read, str):
        refused(chosen, path, read)
    else:
        np.testing.assert_array_equal(chosen(path).inputs, Pooled().inputs[read])


@pytest.mark.parametrize("text", ["5,1,7", "5,1,7\n", "5\n1\n7\n", "5,\n1,\n7,\n"])
def test_indices_in_csv(tmp_path, text):
    path = tmp_path / "chosen.csv"
    path.write_text(text)
    np.testing.assert_array_equal(chosen(path).inputs, Pooled().inputs[[5, 1, 7]])
    path.write_text(f"index\n{text}")
    refused(chosen, path, "index is no whole number")


BAD = {
    "has no `x` and `y`; there are a, b": {"a": X, "b": Y},
    "no arrays": {},
    "`y_test` is missing": {"x": X, "y": Y, "x_test": X_TEST},
    "`x_test` is missing": {"x": X, "y": Y, "y_test": Y_TEST},
    "`y` [29]: must be 30 whole numbers": {"x": X, "y": Y[:29]},
    "`y`: of type float64, not whole numbers": {"x": X, "y": Y + 0.0},
    "`y`: of type bool, not whole numbers": {"x": X, "y": Y > 1},
    "`y` []: must be 30": {"x": X, "y": np.asarray(3)},
    "`x` [30] of type float32": {"x": X[:, 0], "y": Y},
    "`x` [0, 4] of type": {"x": X[:0], "y": Y[:0]},
    "of type complex64": {"x": X + 1j, "y": Y},
    "of type <U1": {"x": X.astype(str).astype("U1"), "y": Y},
    "not finite (as float32)": {"x": X.astype(float) * 1e300, "y": Y},
    "`x_test` has 3 features, `x` 4": WHOLE | {"x_test": X_TEST[:, :3]},
    "x: Python objects: a pickle, which is never opened": {
        "x": X.astype(object), "y": Y
    },
    "extra: Python objects: a pickle": {"x": X, "y": Y, "extra": np.array([{}, None])},
    "of type [('a', '<f4')]": {"x": np.zeros(3, [("a", "f4")]), "y": Y},
    "of type <M8[D]": {"x": X, "y": Y, "when": np.zeros(3, "M8[D]")},
    "'a\\nb' is no name".replace("a\\nb", "a\\nb.npy"): {"x": X, "y": Y, "a\nb": Y},
    "10 of 10 held-out inputs are training inputs": WHOLE | {"x_test": X[:10]},
    "1 of 10 held-out inputs are training inputs": (
        WHOLE | {"x_test": np.concatenate([X_TEST[:9], X[4:5]])}
    ),
}  # fmt: skip


@pytest.mark.parametrize("message", BAD)
def test_arrays_that_are_no_examples_are_refused(tmp_path, message):
    path = saved(tmp_path, **BAD[message])
    refused(data_files.Arrays.read, path, message, "--data=")


def test_words_beside_the_examples_are_not_looked_at(tmp_path):
    path = saved(
        tmp_path, **WHOLE, classes=np.array(["cat", "dog"]), codes=np.array([b"x"])
    )
    assert len(data_files.Arrays.read(str(path)).train.labels) == 30


def test_held_out_examples_in_common_are_counted(tmp_path, capsys):
    x_test = np.concatenate([RNG.standard_normal((199, 4)).astype(np.float32), X[:1]])
    path = saved(tmp_path, x=X, y=Y, x_test=x_test, y_test=np.zeros(200, int))
    data_files.Arrays.read(str(path))
    said = "`x_test`: 1 of 200 held-out inputs are training inputs, too (up to 1% are"
    assert said in capsys.readouterr().out
    problem = Pooled(test=Pooled().inputs)
    with pytest.raises(Refusal, match="--problem: 100 of 100 held-out inputs"):
        data_files.Pool(problem).of("net", None)


# Files that are not what they say.


def npy(descr="'<f4'", shape="(30, 4)", order="False", data=X.tobytes(), version=1):
    header = (
        f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}".encode()
    )
    length = struct.pack("<H" if version == 1 else "<I", len(header))
    return b"\x93NUMPY" + bytes([version, 0]) + length + header + data


def zipped(path, members, **options):
    with zipfile.ZipFile(path, "w", **options) as file:
        for name, raw in members.items():
            file.writestr(name, raw)
    return path


LABELS = npy("'<i8'", "(30,)", data=Y.astype("<i8").tobytes())
LYING = {
    "says [1099511627776, 4]": npy(shape="(1099511627776, 4)"),
    "says [4611686018427387904, 4], which is more": npy(shape=f"({2**62}, 4)"),
    "says [4294967296, 4294967296, 4]": npy(shape="(4294967296, 4294967296, 4)"),
    "says [0, 9223372036854775808]": npy(shape=f"(0, {2**63})", data=b""),
    "header is corrupt": npy(shape="(-30, 4)"),
    "its header is corrupt": npy(shape="(True, 4)"),
    "x: its header is corrupt": npy(shape="(30.0, 4)"),
    "x: its header is": npy(shape=f"({'1, ' * 200})"),
    "x: its header": npy(order="1"),
    "x: its": npy(shape="(" * 3000),
    "x: it": npy(shape="-" * 6000 + "1"),
    "a header of 20": npy(shape=" " * 20000),
    "says [29, 4] of 4 bytes each, it holds 480": npy(shape="(29, 4)"),
    "says [30, 4] of 4 bytes each, it holds 479": npy(data=X.tobytes()[:-1]),
    "of type <f16": npy("'<f16'", "(30, 1)"),
    "of type |V2; save numbers, as float32": npy("'|V2'", "(60, 4)"),
    "of type <U0": npy("'<U0'", f"({2**50},)", data=b""),
    "Python objects: a pickle": npy("'|O'", data=pickle.dumps({})),
    "no array of NumPy's format": b"\x93NUMPY\x09\0" + bytes(200),
    "no array of NumPy's": b"",
}


@pytest.mark.parametrize("message", LYING)
def test_headers_that_lie(tmp_path, message):
    members = {"x.npy": LYING[message], "y.npy": LABELS}
    refused(data_files.Arrays.read, zipped(tmp_path / "a.npz", members), message)


@pytest.mark.parametrize("version", [1, 2, 3])
def test_versions_of_the_header(tmp_path, version):
    turned = npy(order="True", data=X.tobytes("F"), version=version)
    path = zipped(tmp_path / "a.npz", {"x.npy": turned, "y.npy": LABELS})
    np.testing.assert_array_equal(data_files.Arrays.read(str(path)).train.inputs, X)


def test_zip_files_of_other_kinds(tmp_path):
    good = {"x.npy": npy(), "y.npy": LABELS}
    path = tmp_path / "a.npz"
    for method in (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        zipped(path, good, compression=method)
        refused(data_files.Arrays.read, path, "x.npy is compressed in a way")
    with (
        pytest.warns(UserWarning, match="Duplicate"),
        zipfile.ZipFile(path, "w") as file,
    ):
        for name, raw in [*good.items(), ("x.npy", npy())]:
            file.writestr(name, raw)
    refused(data_files.Arrays.read, path, "x.npy is in it twice")
    zipped(path, good | {"readme.txt": "hello"})
    refused(
        data_files.Arrays.read, path, "a zip file of something else, such as readme.txt"
    )
    zipped(path, {"net/data.pkl": "hello"})
    refused(data_files.Arrays.read, path, "a pickle, which is never opened")
    raw = zipped(path, good).read_bytes()
    at = raw.rindex(b"PK\x01\x02")  # y's entry of the directory: encrypted
    path.write_bytes(raw[: at + 8] + b"\x01" + raw[at + 9 :])
    refused(data_files.Arrays.read, path, "y.npy is encrypted")


def test_what_a_small_file_unpacks_to_is_not_taken(tmp_path, monkeypatch):
    path = tmp_path / "a.npz"
    zeros = npy(shape="(8192, 1024)", data=bytes(2**25))
    zipped(path, {"x.npy": zeros}, compression=zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 2**20
    monkeypatch.setattr(memory, "available", lambda: 2**25)
    refused(data_files.Arrays.read, path, "its arrays would take 67109", "available")
    # and one whose directory says that it is larger than deflated data can be
    raw = path.read_bytes()
    at = raw.rindex(b"PK\x01\x02") + 24
    path.write_bytes(raw[:at] + struct.pack("<I", 2**32 - 2) + raw[at + 4 :])
    refused(data_files.Arrays.read, path, "x.npy is said to have 4294967294 bytes")


def test_what_is_no_file_of_arrays(tmp_path):
    buffer = io.BytesIO()
    np.savez(buffer, **WHOLE)
    whole = buffer.getvalue()
    path = tmp_path / "a.npz"
    for raw in (b"", b"PK", b"PK\5\6" + bytes(18), whole[:-30], whole[:40], b"x" * 50):
        path.write_bytes(raw)
        refused(data_files.Arrays.read, path)
    refused(data_files.Arrays.read, tmp_path / "nowhere.npz", "No such file")
    refused(data_files.Arrays.read, tmp_path, "holds no data set that is known")
    refused(chosen, tmp_path, "net.npz cannot be read")  # a folder: a file a network
    os.mkfifo(tmp_path / "pipe")
    refused(data_files.Arrays.read, tmp_path / "pipe", "no regular file")
    path.write_bytes(pickle.dumps({"x": X}))
    refused(data_files.Arrays.read, path, "a pickle, which is never opened")


@pytest.mark.parametrize("path", ["x" * 5000, "a\0b", "a\udc80", ""])
@pytest.mark.parametrize("call", [data_files.Arrays.read, chosen, idx.read, idx.find])
def test_places_that_there_cannot_be(path, call):
    with pytest.raises(Refusal) as caught:
        call(path)
    assert path in str(caught.value) and "\n" not in str(caught.value)


def test_a_name_that_is_no_text_is_said_all_the_same(tmp_path, capfdbinary):
    np.savez(tmp_path / "a\udc80.npz", **WHOLE)
    data_files.Arrays.read(f"{tmp_path}/a\udc80.npz")
    assert b"a\\udc80.npz: inputs are float32" in capfdbinary.readouterr().out


def test_the_available_memory_is_a_number_of_this_machine():
    """Between a mebibyte and a pebibyte: no unit is mistaken."""
    assert 2**20 < memory.available() < 2**50


def test_images_of_two_layouts_do_not_go_together(tmp_path):
    """Channels first beside channels last: as many numbers, and other images."""
    rng, y = np.random.default_rng(0), np.arange(30) % 3
    last, first = rng.random((30, 4, 4, 3)), rng.random((30, 3, 4, 4))
    path = saved(tmp_path, x=last, y=y, x_test=first, y_test=y)
    refused(data_files.Arrays.read, path, "(3, 4, 4)", "(4, 4, 3)", "one layout")
    flat = rng.random((30, 48))  # may be anything's
    source = data_files.Arrays.read(
        str(saved(tmp_path, x=last, y=y, x_test=flat, y_test=y))
    )
    np.savez(tmp_path / "points.npz", x=first)
    refused(
        lambda path: data_files.unlabelled(path, source), tmp_path / "points.npz", "one layout"
    )  # fmt: skip
    np.savez(tmp_path / "points.npz", x=rng.random((30, 4, 4, 3)))
    assert data_files.unlabelled(str(tmp_path / "points.npz"), source).shape == (30, 48)


def test_very_many_arrays_take_a_time_that_grows_with_their_number(tmp_path):
    """Not with its square: that were ten times as much."""

    def seconds(count):
        path = tmp_path / f"{count}.npz"
        with zipfile.ZipFile(path, "w") as archive:
            for name in range(count):
                archive.writestr(f"a{name}.npy", npy())
        began = time.perf_counter()
        array_files.read(path)
        return time.perf_counter() - began

    assert seconds(2000) < 4 * sum(seconds(200) for _ in range(10))
