import functools
import gzip
import hashlib
import http.server
import struct
import threading

import numpy as np
import pytest

from experiments import bounds_vs_samples
from experiments.lab.program import settings_of
from experiments.lab.reading import idx
from experiments.lab.refusals import Refusal
from experiments.problems import images
from experiments.problems.images import Mnist, Settings
from tests.experiments.tiny import run


def idx_bytes(array):
    header = (
        b"\0\0\x08" + bytes([array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    )
    return header + array.tobytes()


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
        (lambda raw: b"\0\0\x0d" + raw[3:], "not an IDX"),
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

    big = {"train": 5600, "t10k": 20}
    for name, n in big.items():
        images = np.arange(n * 4, dtype=np.uint8).reshape(n, 2, 2)
        (tmp_path / f"{name}-images-idx3-ubyte").write_bytes(idx_bytes(images))
        (tmp_path / f"{name}-labels-idx1-ubyte").write_bytes(
            idx_bytes(images[:, 0, 0] % 10)
        )
    drawn = pool(tmp_path, "authors").draw(0, 3000, 0).record["indices"]
    assert drawn.min() >= 5000 and drawn.max() < 5600
    assert len(set(drawn)) < 600 < len(drawn)  # with replacement


def test_the_authors_noise_sits_on_the_last_pixels_only(mnist_sample, monkeypatch):
    monkeypatch.setattr(images, "AUTHORS_FIRST", 1000)
    monkeypatch.setattr(images, "AUTHORS_NOISE_FROM", 100)
    source = pool(mnist_sample, "authors")
    draw = source.draw(0, 130, 0)
    clean = source._scaled(source._images[draw.record["indices"]])
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


def test_labels_that_do_not_fit_are_refused(tmp_path):
    images, labels = np.zeros((4, 2, 2), np.uint8), np.array([0, 1, 2], np.uint8)
    for name, array in (("images", images), ("labels", labels)):
        (tmp_path / name).write_bytes(idx_bytes(array))
    with pytest.raises(Refusal, match="one image a label"):
        idx.pair(tmp_path / "images", tmp_path / "labels", 10)
    (tmp_path / "labels").write_bytes(idx_bytes(np.array([0, 1, 2, 11], np.uint8)))
    with pytest.raises(Refusal, match="11"):
        idx.pair(tmp_path / "images", tmp_path / "labels", 10)


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
