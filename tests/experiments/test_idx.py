import functools
import gzip
import hashlib
import http.server
import struct
import threading
import tracemalloc

import numpy as np
import pytest

from experiments import bounds_vs_samples
from experiments.lab.calls import settings_of
from experiments.lab.reading import idx, memory
from experiments.lab.refusals import Refusal
from experiments.problems import images
from experiments.problems.digits import Digits
from experiments.problems.digits import Settings as DigitsSettings
from experiments.problems.images import FashionMnist, Mnist, Settings
from tests.experiments.tiny import run


def idx_bytes(array):
    header = (
        b"\0\0\x08" + bytes([array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    )
    return header + array.tobytes()


def in_folder(folder, train, test, size=2, shared=0):
    """Images of random bytes, of which the first test images may be training images."""
    generator = np.random.default_rng(8)
    kept = None
    for name, n in (("train", train), ("t10k", test)):
        images = generator.integers(256, size=(n, size, size)).astype(np.uint8)
        images[..., 0, 0] = name == "train"  # no image is in both by accident
        images[:shared] = images[:shared] if kept is None else kept
        kept = images[:shared].copy()
        labels = generator.integers(10, size=n).astype(np.uint8)
        (folder / f"{name}-images-idx3-ubyte").write_bytes(idx_bytes(images))
        (folder / f"{name}-labels-idx1-ubyte").write_bytes(idx_bytes(labels))


def pool(folder, rule="without_replacement", noise=0.0, seed=0):
    return Mnist(Settings(str(folder), rule, noise), seed)


@pytest.mark.parametrize("packed", [False, True])
def test_what_was_written_is_read(tmp_path, rng, packed):
    array = rng.integers(256, size=(7, 4, 3)).astype(np.uint8)
    raw = idx_bytes(array)
    path = tmp_path / "file"
    path.write_bytes(gzip.compress(raw) if packed else raw)
    np.testing.assert_array_equal(idx.read(path), array)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda raw: raw[:-1], "truncated"),
        (lambda raw: raw + b"x", "corrupt"),
        (lambda raw: raw[:6], "not an IDX"),
        (lambda raw: b"", "not an IDX"),
        (lambda raw: b"\0\0\x0a" + raw[3:], "not an IDX"),
        (lambda raw: gzip.compress(raw)[:-9], "cannot be read"),
        (lambda raw: gzip.compress(raw)[:30] + b"garbage", "cannot be read"),
    ],
)
def test_a_spoilt_file_is_refused_by_name(tmp_path, spoil, says):
    path = tmp_path / "file"
    path.write_bytes(spoil(idx_bytes(np.ones((5, 4, 4), np.uint8))))
    with pytest.raises(Refusal, match=says) as caught:
        idx.read(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_the_committed_digits_are_digits(mnist_sample):
    source = pool(mnist_sample)
    assert source.features == 784 and source.classes == 10
    draw = source.draw(0, 400, 0)
    assert draw.inputs.shape == (400, 784) and draw.inputs.dtype == np.float32
    assert draw.inputs.min() == 0 and draw.inputs.max() == 1
    assert set(draw.labels) == set(range(10)) == set(source.test().labels)
    images, labels = (
        idx.read(idx.find(mnist_sample)[f"train_{n}"]) for n in ("images", "labels")
    )
    np.testing.assert_array_equal(draw.labels, labels[draw.record["indices"]])
    expected = images[draw.record["indices"]].reshape(400, -1) / np.float32(255)
    np.testing.assert_array_equal(draw.inputs, expected)


def test_draw_rules(tmp_path, mnist_sample):
    apart = pool(mnist_sample, "without_replacement").draw(0, 400, 0).record["indices"]
    assert len(set(apart)) == 400
    source = pool(mnist_sample, "disjoint")
    assert source.largest_size(2) == 1200
    a, b = (set(source.draw(3, 400, d).record["indices"]) for d in (0, 1))
    assert len(a) == len(b) == 400 and not a & b

    in_folder(tmp_path, 5600, 20)
    drawn = pool(tmp_path, "authors").draw(0, 3000, 0).record["indices"]
    assert drawn.min() >= 5000 and drawn.max() < 5600
    assert len(set(drawn)) < 600 < len(drawn)  # with replacement


def test_the_authors_noise_sits_on_the_last_pixels_only(mnist_sample, monkeypatch):
    monkeypatch.setattr(images, "AUTHORS_FIRST", 1000)
    monkeypatch.setattr(images, "AUTHORS_NOISE_FROM", 100)
    source = pool(mnist_sample, "authors")
    draw = source.draw(0, 130, 0)
    clean = source._inputs(source._images[draw.record["indices"]])
    moved = np.abs(draw.inputs - clean)
    assert moved[:100].max() == 0
    assert (
        moved[100:] > 0
    ).mean() > 0.99 and moved.max() <= images.AUTHORS_NOISE + 1e-7


def test_a_draw_is_its_seed_size_and_number(mnist_sample):
    for rule in ("without_replacement", "disjoint"):
        a, b = pool(mnist_sample, rule), pool(mnist_sample, rule)
        first = a.draw(1, 200, 1)
        np.testing.assert_array_equal(first.inputs, b.draw(1, 200, 1).inputs)
        for other in ((2, 200, 1), (1, 200, 0), (1, 201, 1)):
            assert not np.array_equal(a.draw(*other).inputs[:200], first.inputs)


def test_label_noise_is_drawn_once_an_image(mnist_sample):
    clean = pool(mnist_sample)
    noisy = pool(mnist_sample, noise=0.5)
    changed = noisy._labels != clean._labels
    # Half are redrawn, a tenth of those land on their old label.
    assert 0.41 < changed.mean() < 0.49
    np.testing.assert_array_equal(noisy.test().labels, clean.test().labels)
    assert clean.test().noisy_labels is None
    assert 0.35 < (noisy.test().noisy_labels != clean.test().labels).mean() < 0.55
    a, b = noisy.draw(0, 400, 0), noisy.draw(1, 400, 0)
    for draw in (a, b):
        np.testing.assert_array_equal(
            draw.labels, noisy._labels[draw.record["indices"]]
        )


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"draw_rule": "authors"}, "draws from image 5000 on, and .* has 2400"),
        ({"sizes": (2401,), "draw_rule": "without_replacement"}, "there are 2400"),
        ({"sizes": (1201,), "draw_rule": "disjoint"}, "there are 1200"),
    ],
)
def test_more_than_there_is_is_refused(mnist_sample, tmp_path, changes, says):
    typed = {"data_dir": str(mnist_sample), "sizes": (10,), "draws": 2} | changes
    config = settings_of(bounds_vs_samples.PROGRAM, "mnist", "paper", typed)
    with pytest.raises(Refusal, match=says):
        run(config, tmp_path / "a")
    assert not (tmp_path / "a").exists()


def test_a_folder_without_the_files_is_refused(tmp_path):
    with pytest.raises(Refusal, match="no such folder"):
        idx.find(tmp_path / "nowhere")
    with pytest.raises(Refusal, match="train-images-idx3-ubyte"):
        idx.find(tmp_path)


def in_three(folder, labels):
    in_folder(folder, 3, 1)
    (folder / idx.FILES["train_labels"]).write_bytes(idx_bytes(labels))
    return pool(folder)


def test_labels_that_do_not_fit_are_refused(tmp_path):
    in_three(tmp_path, np.array([0, 1, 9], np.uint8))
    with pytest.raises(Refusal, match="one image a label"):
        in_three(tmp_path, np.array([0, 1], np.uint8))
    with pytest.raises(Refusal, match=r"idx1-ubyte: label: 11 is not one of 0\.\.9"):
        in_three(tmp_path, np.array([0, 1, 11], np.uint8))
    with pytest.raises(Refusal, match="has 2 dimensions, not 1"):
        in_three(tmp_path, np.array([[0], [1], [2]], np.uint8))


def header(*shape):
    return b"\0\0\x08" + bytes([len(shape)]) + struct.pack(f">{len(shape)}I", *shape)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("shape", "says"),
    [
        ((), "has 0 dimensions, not 3"),
        ((2, 2), "has 2 dimensions, not 3"),
        ((1,) * 6, "has 6 dimensions, not 3"),
        ((1,) * 255, "has 255 dimensions, not 3"),
        ((0, 28, 28), r"says \[0, 28, 28\]: it is empty"),
        ((2**32 - 1, 2**32 - 1, 2**32 - 1), f"promises {(2**32 - 1) ** 3} bytes"),
        ((2**31, 2**31, 4), f"promises {2**64} bytes"),  # 0 in 64 bits
        ((2**32 - 1, 2**31, 2), f"promises {(2**32 - 1) * 2**32} bytes"),
        ((2**16, 2**16, 1), "promises 4294967296 bytes"),
    ],
)
def test_a_header_that_lies_is_refused(tmp_path, packed, shape, says):
    raw = header(*shape) + b"1234"
    (tmp_path / "file").write_bytes(gzip.compress(raw) if packed else raw)
    with pytest.raises(Refusal, match=says) as caught:
        idx.read(tmp_path / "file", 3)
    assert str(tmp_path / "file") in str(caught.value)


def test_what_a_small_file_unpacks_to_is_not_taken(tmp_path):
    """Some hundred kilobytes that unpack to 64 mebibytes: more than was promised, or more than there is."""
    path = tmp_path / "file"
    zeros = bytes(2**20)
    with gzip.open(path, "wb", 1) as file:
        file.write(header(1000, 32, 32))
        for _ in range(64):
            file.write(zeros)
    tracemalloc.start()
    with pytest.raises(Refusal, match="promises 1024000 bytes, it holds more"):
        idx.read(path)
    with gzip.open(path, "wb", 1) as file:
        file.write(header(64, 1024, 1024))
        for _ in range(64):
            file.write(zeros)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(memory, "available", lambda: 2**28)
        with pytest.raises(
            Refusal, match=f"take {5 * 2**26} bytes, of which {2**28} are"
        ):
            idx.read(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 16 * 2**20


@pytest.mark.parametrize("change", ["packed", "renamed"])
def test_another_known_data_set_is_refused_by_name(
    tmp_path, mnist_sample, monkeypatch, change
):
    """The digits that come with the tests play Fashion-MNIST."""
    for name, file in idx.FILES.items():
        raw = gzip.decompress((mnist_sample / f"{file}.gz").read_bytes())
        (tmp_path / file).write_bytes(
            raw if change == "renamed" else gzip.compress(raw, 1)
        )
        if change == "packed":
            digest = hashlib.sha256(raw).hexdigest()
            monkeypatch.setitem(idx.KNOWN, digest, ("fashion_mnist", name))
    if change == "renamed":  # the test images are the training images
        for part in ("images-idx3", "labels-idx1"):
            raw = (tmp_path / f"train-{part}-ubyte").read_bytes()
            (tmp_path / f"t10k-{part}-ubyte").write_bytes(raw)
        says = "is train_images of mnist, not test_images of mnist"
    else:
        says = "is train_images of fashion_mnist, not train_images of mnist.*--data_dir"
    with pytest.raises(Refusal, match=says):
        pool(tmp_path)
    if change == "packed":
        FashionMnist(Settings(str(tmp_path)), 0)
        with pytest.raises(Refusal, match="is train_images of fashion_mnist"):
            Digits(DigitsSettings(str(tmp_path)), 0)


def test_the_committed_digits_are_no_fashion(mnist_sample):
    with pytest.raises(
        Refusal, match=r"train_images of mnist, not .* of fashion_mnist"
    ):
        FashionMnist(Settings(str(mnist_sample)), 0)


def test_known_files_are_quiet_and_others_are_named_once(
    tmp_path, mnist_sample, capsys
):
    pool(mnist_sample)
    assert capsys.readouterr().out == ""
    in_folder(tmp_path, 30, 20)
    pool(tmp_path), pool(tmp_path)
    printed = capsys.readouterr().out
    assert printed.count("\n") == 1 and "not the published files of mnist" in printed
    assert all(str(tmp_path / file) in printed for file in idx.FILES.values())


def test_the_sums_are_those_of_the_published_files():
    """Those of MNIST that its many mirrors serve; packed and unpacked ones do not mix."""
    packed = {digest for sums in idx.SHA256.values() for digest in sums.values()}
    assert len(packed) == 8 and len(idx.KNOWN) == 12 and not packed & set(idx.KNOWN)
    for dataset in idx.URLS:
        assert {name for known, name in idx.KNOWN.values() if known == dataset} == set(
            idx.FILES
        )


def test_test_images_that_are_training_images(tmp_path, capsys):
    in_folder(tmp_path, 300, 200, shared=2)
    pool(tmp_path)
    assert "2 of 200 held-out inputs are training inputs" in capsys.readouterr().out
    in_folder(tmp_path, 300, 200, shared=3)
    with pytest.raises(
        Refusal, match=r"t10k-images.*3 of 200 held-out .* more than 1%"
    ):
        pool(tmp_path)


@pytest.fixture
def server(mnist_sample):
    """The committed digits, served on loopback."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    handler = functools.partial(Quiet, directory=mnist_sample)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


def test_fetching_checks_the_sum_and_keeps_the_files(
    server, tmp_path, mnist_sample, monkeypatch
):
    sums = {
        name: hashlib.sha256((mnist_sample / f"{file}.gz").read_bytes()).hexdigest()
        for name, file in idx.FILES.items()
    }
    monkeypatch.setitem(idx.SHA256, "mnist", sums)
    paths = idx.fetch("mnist", server, tmp_path)
    assert len(idx.read(paths["train_images"])) == 2400
    again = idx.fetch("mnist", "http://127.0.0.1:9/", tmp_path)  # nothing listens there
    assert again == paths


def test_a_wrong_sum_is_refused(server, tmp_path):
    with pytest.raises(
        Refusal, match="SHA-256"
    ):  # the sample is not the published file
        idx.fetch("mnist", server, tmp_path)
    assert not [
        p for p in (tmp_path / "mnist").glob("*") if not p.name.startswith("tmp")
    ]


def test_no_network_is_refused_with_the_way_out(tmp_path):
    with pytest.raises(Refusal, match="--data_dir"):
        idx.fetch("mnist", "http://127.0.0.1:9/", tmp_path)


@pytest.mark.parametrize(
    "code, what", [(9, "signed bytes"), (12, "int32"), (13, "float32")]
)
def test_other_numbers_than_bytes_are_named(tmp_path, code, what):
    path = tmp_path / "images"
    path.write_bytes(bytes([0, 0, code, 1]) + struct.pack(">I", 2) + bytes(16))
    with pytest.raises(
        Refusal, match=f"is an IDX file of {what}.*unsigned bytes"
    ) as caught:
        idx.read(path)
    assert "fetch" not in str(caught.value)
