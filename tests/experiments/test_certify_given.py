"""`certify` of a network that was given: by a surrogate, and by its compressed form."""

import dataclasses
import json

import numpy as np
import pytest
from scipy import stats

from bounds.numerics import coding
from experiments.certify import PROGRAM, study, verification
from experiments.certify.given import GivenNetwork
from experiments.lab import formats
from experiments.lab.calls import settings_of
from experiments.lab.reading import idx
from experiments.lab.refusals import Refusal
from experiments.lab.seeding import Purpose, host_generator, key_for
from tests.conftest import MNIST_SAMPLE
from tests.experiments import published, tiny
from tests.experiments.test_verify import _claim, _move, forged
from tests.experiments.tiny import read
from tests.oracles.counting import kl_inverse

HIDDEN, U, DELTA = 40, 250, 0.035


def digits():
    """Images `[n, 784]` and labels of the sample: training set and held-out ones."""
    found = idx.read_known("mnist", idx.find(str(MNIST_SAMPLE)), idx.FILES, 10)
    arrays = [np.asarray(found[name]) for name in idx.FILES]
    return [a.reshape(len(a), -1).squeeze() for a in arrays]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A network of random features that fits all training digits: its file, twice."""
    onnx = pytest.importorskip("onnx")
    found, rng = tmp_path_factory.mktemp("given"), np.random.default_rng(0)
    x, y, test, _ = digits()
    first = rng.normal(size=(784, HIDDEN)).astype(np.float32) / 14
    features = np.maximum(x / np.float32(255) @ first, 0)
    square = features.T @ features + np.eye(HIDDEN)
    last = np.linalg.solve(square, features.T @ np.eye(10)[y]).astype(np.float32)
    np.savez(found / "net.npz", w0=first, w1=last)
    np.savez(found / "net11.npz", w0=first, w1=np.pad(last, [(0, 0), (0, 1)]))
    np.savez(found / "first9.npz", w0=first, w1=last[:, :9])
    helper, numbers = onnx.helper, onnx.numpy_helper.from_array
    graph = helper.make_graph(
        [
            helper.make_node("Flatten", ["x"], ["0"]),
            helper.make_node("MatMul", ["0", "a"], ["1"]),
            helper.make_node("Relu", ["1"], ["2"]),
            helper.make_node("MatMul", ["2", "b"], ["3"]),
        ],
        "net",
        [helper.make_tensor_value_info("x", 1, ["n", 1, 28, 28])],
        [helper.make_tensor_value_info("3", 1, ["n", 10])],
        [numbers(first, "a"), numbers(last, "b")],
    )
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset), found / "net.onnx")
    np.savez(found / "points.npz", x=test[:U].reshape(-1, 28, 28))
    np.savez(found / "data.npz", x=x, y=y)
    return found


def config(place, **typed):
    """Of the surrogate's route by default, the network from its arrays."""
    typed = {
        "route": "surrogate", "weights": str(place / "net.npz"), "activation": "relu",
        "problem": "mnist", "data_dir": str(MNIST_SAMPLE), "unlabelled": str(U), "width": 16,
        "depth": 1, "epochs": 3, "batch_size": 50, "learning_rate": 0.2, "delta": DELTA,
        "tried": 2,
    } | typed  # fmt: skip
    typed = {name: value for name, value in typed.items() if value is not None}
    return settings_of(PROGRAM, typed.get("problem"), typed=typed)


COMPRESSION = {
    "route": "compression", "width": None, "depth": None, "epochs": None, "batch_size": None,
    "learning_rate": None, "tried": 1,
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(place, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "surrogate"
    with tiny.undrawn():
        return tiny.run(config(place), out, PROGRAM).path


def drawn_points():
    """Which of the 600 held-out images are the points of a call that names their number."""
    random = host_generator(key_for(0, Purpose.POINTS))
    return np.sort(random.choice(600, U, replace=False))


def limit(k, size, failure):
    return float(stats.beta.ppf(1 - failure, k + 1, size - k))


def classes_of(first, last, x):
    """In float64, of bytes."""
    shifts = [0.0, 0.0] if isinstance(first, np.ndarray) else [first[1], last[1]]
    first, last = (a if isinstance(a, np.ndarray) else a[0] for a in (first, last))
    return (np.maximum(x / 255.0 @ first + shifts[0], 0) @ last + shifts[1]).argmax(1)


def test_the_certificate_is_what_counting_by_hand_gives(place, folder):
    (row,), rows = read(folder, "results"), read(folder, "bounds")
    x, y, test, test_labels = digits()
    with np.load(place / "net.npz") as net:
        given = classes_of(net["w0"], net["w1"], test)
    trained = formats.read_tensors(folder / "weights" / "surrogate_seed0.safetensors")
    layers = [
        [trained[f"final/{n}/{part}"] for part in ("kernel", "bias")] for n in (0, 1)
    ]
    seen = formats.read_arrays(folder / "samples" / "surrogate_seed0.npz")["indices"]
    held = np.setdiff1d(np.arange(2400), seen)
    assert len(seen) == len(set(seen)) == len(held) == 1200
    wrong = int(np.sum(classes_of(*layers, x[held]) != y[held]))
    points, rest = drawn_points(), np.setdiff1d(np.arange(600), drawn_points())
    differ = int(np.sum(classes_of(*layers, test[points]) != given[points]))
    assert 0 < wrong < 600 and 0 < differ < U
    share = DELTA / 2 / 2  # --tried, and the two halves
    expected = limit(wrong, 1200, share) + limit(differ, U, share)
    by_bound = {r["bound"]: r for r in rows}
    own = by_bound["bazinet_2026_surrogate"]
    assert float(own["value"]) == pytest.approx(expected, rel=1e-6)
    assert float(own["empirical"]) == pytest.approx(wrong / 1200 + differ / U)
    # The other held-out images tell its own error, and so does the bound that holds them out.
    errors = given != test_labels
    assert float(row["test_error"]) == pytest.approx(np.mean(errors[rest]))
    plain = limit(int(errors[rest].sum()), 600 - U, DELTA / 2)
    assert float(by_bound["holdout_cp"]["value"]) == pytest.approx(plain, rel=1e-6)
    # What the same data would have given with labels.
    same = limit(int(errors[points].sum()), U, DELTA)
    assert float(row["with_labels"]) == pytest.approx(same, rel=1e-6)
    others = limit(wrong, 1200, DELTA / 2)
    assert float(row["holdout_of_same_data"]) == pytest.approx(others, rel=1e-6)
    assert (row["m"], row["surrogate_m"], row["epochs"]) == ("2400", "1200", "3")
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["certificates"]["net"]["bound"] == "bazinet_2026_surrogate"
    text = (folder / "report.md").read_text()
    assert "net: the trained network errs on at most" in text
    assert f"Beside it: the same {U} points with their labels" in text


@pytest.mark.slow
def test_a_network_from_onnx_has_the_same_certificate(place, folder, tmp_path):
    changes = {"weights": None, "activation": None, "network": str(place / "net.onnx")}
    other = tiny.run(config(place, **changes), tmp_path / "out", PROGRAM).path
    typed = given(place, surrogate_file(other)) | {"network": changes["network"]}
    del typed["weights"]
    line, holds = verification.verified(typed)
    assert holds and "the given network errs on" in line
    for table in ("bounds", "results"):
        mine, its = read(folder, table), read(other, table)
        keys = {"bound", "value", "empirical", "with_labels", "disagreement"}
        for a, b in zip(mine, its, strict=True):
            assert {k: a[k] for k in keys & set(a)} == {k: b[k] for k in keys & set(b)}


@pytest.fixture(scope="module")
def compressed(place, tmp_path_factory):
    """A folder: points from a file."""
    out = tmp_path_factory.mktemp("runs") / "compressed"
    points = {"unlabelled": str(place / "points.npz")}
    with tiny.undrawn():
        return tiny.run(config(place, **COMPRESSION, **points), out, PROGRAM).path


@pytest.mark.slow
def test_its_compressed_form_from_the_shell(place, tmp_path):
    """Points from a file: all held-out images tell its own error, and nothing has labels."""
    out = tmp_path / "out"
    flags = [
        "--route=compression", f"--weights={place / 'net.npz'}", "--activation=relu",
        "--problem=mnist", f"--data_dir={MNIST_SAMPLE}", f"--delta={DELTA}", "--tried=1",
        f"--unlabelled={place / 'points.npz'}", f"--out={out}",
    ]  # fmt: skip
    code, printed, error = tiny.finish(tiny.program(*flags, name="certify"))
    assert code == 0, error
    assert f"{U} points, 0 to 1" in printed and "bits an example" in printed
    (row,), rows = read(out, "results"), read(out, "bounds")
    assert row["outcome"] == row.get("with_labels", "") == ""
    by_bound = {r["bound"]: r for r in rows}
    own = by_bound["bazinet_2026_code_from_origin"]
    parts = float(row["code_at_most"]), float(row["disagreement_at_most"])
    assert float(own["value"]) == pytest.approx(sum(parts), rel=1e-6)
    c, q = int(row["bits"]), float(row["compressed_train_error"])
    nats = c * np.log(2) + np.log(c) + np.log(c + 1) - np.log(DELTA / 2)
    assert parts[0] == pytest.approx(kl_inverse(q, nats / 2400), rel=1e-6)
    k = round(float(row["disagreement"]) * U)
    assert parts[1] == pytest.approx(limit(k, U, DELTA / 2 / 12), rel=1e-6)
    # It pays for what its copy does not: it speaks of the network itself.
    copy = by_bound["zhou_2019_code_from_origin"]
    assert float(copy["value"]) <= float(own["value"])
    assert float(row["test_error"]) == pytest.approx(
        float(by_bound["holdout_cp"]["empirical"])
    )
    assert "initial weights" in by_bound["bazinet_2026_code"]["status"]


def test_images_are_laid_out_as_each_network_takes_them(tmp_path):
    """Channels first for the given one, last for a surrogate of ours; constants for both."""
    (tmp_path / "cifar").mkdir()
    published.cifar10(tmp_path / "cifar", batches=5, each=8, test=10)
    np.savez(tmp_path / "net.npz", w0=np.eye(3072, 10, dtype=np.float32))
    typed = {
        "route": "surrogate", "weights": str(tmp_path / "net.npz"), "unlabelled": "4",
        "data": str(tmp_path / "cifar"), "image_order": "chw", "normalise": (0.5, 0.25),
        "layout": "in_out",
    }  # fmt: skip
    found = GivenNetwork(settings_of(PROGRAM, None, typed=typed))
    as_taken, own = (
        np.asarray(sample.inputs)[:4] for sample in (found.points, found.own_points)
    )
    turned = own.reshape(4, 32, 32, 3).transpose(0, 3, 1, 2).reshape(4, -1)
    np.testing.assert_array_equal(as_taken, turned)
    pixels = [(published.pixel(40 + n, 2, 5, 1) / 255 - 0.5) / 0.25 for n in range(10)]
    for shown in own.reshape(4, 32, 32, 3)[:, 2, 5, 1]:
        assert min(abs(shown - pixel) for pixel in pixels) < 1e-6
    np.testing.assert_array_equal(found.draw(0, 40).labels.shape, 40)
    assert found.image == (32, 32, 3) and len(found.test().labels) == 6


def test_a_number_of_points_is_drawn_whatever_the_order_of_the_file(tmp_path):
    """Held-out examples that are sorted by class, of which the first would be one class alone."""
    x, y, test, labels = digits()
    order = np.argsort(labels, kind="stable")
    np.savez(tmp_path / "net.npz", w0=np.eye(784, 10, dtype=np.float32))
    np.savez(tmp_path / "set.npz", x=x, y=y, x_test=test[order], y_test=labels[order])
    typed = {
        "route": "surrogate", "weights": str(tmp_path / "net.npz"), "unlabelled": "200",
        "data": str(tmp_path / "set.npz"), "layout": "in_out",
    }  # fmt: skip
    config = settings_of(PROGRAM, None, typed=typed)
    found, rest = GivenNetwork(config), GivenNetwork(config).test()
    assert len(np.unique(labels[order][:40])) == 1
    counts = np.bincount(found.with_labels.labels, minlength=10)
    whole = np.bincount(labels, minlength=10)
    # Each class is hypergeometric; five deviations.
    share = 200 / len(labels)
    spread = np.sqrt(whole * share * (1 - share))
    assert (np.abs(counts - whole * share) < 5 * spread).all()
    np.testing.assert_array_equal(
        counts + np.bincount(rest.labels, minlength=10), whole
    )
    both = np.concatenate([found.points.inputs[:200], rest.inputs])
    np.testing.assert_allclose(
        np.sort(both.sum(1)), np.sort(test.astype(np.float32).sum(1) / 255), rtol=1e-4
    )
    other = GivenNetwork(dataclasses.replace(config, seed=1)).with_labels
    assert not np.array_equal(other.inputs, found.with_labels.inputs)
    first = GivenNetwork(config, draws_points=False).with_labels
    np.testing.assert_array_equal(first.labels, labels[order][:200])


def files(place, tmp_path):
    """Bad ones: name -> path."""
    x, y, test, labels = digits()
    made = {
        "seen": {"x": np.concatenate([test[:40], x[:10]])},
        "narrow": {"x": test[:40, :700]},
        "numbers": {"x": test[:40] / 255.0},
        "nameless": {"points": test[:40]},
        "copies": {"x": np.tile(x[:600], (2, 1)), "y": np.tile(y[:600], 2),
                   "x_test": test, "y_test": labels},
    }  # fmt: skip
    for name, arrays in made.items():
        np.savez(tmp_path / f"{name}.npz", **arrays)
    return {name: str(tmp_path / f"{name}.npz") for name in made}


def test_what_cannot_be_certified_is_one_line(place, tmp_path):
    made = files(place, tmp_path)
    data = {"problem": None, "data_dir": None, "data": str(place / "data.npz")}
    for changes, said in (
        ({"unlabelled": None}, "--unlabelled is missing"),
        ({"unlabelled": made["seen"]}, "10 of 50 held-out inputs are training inputs"),
        ({"unlabelled": made["narrow"]}, "`x` has 700 features, the data have 784"),
        ({"unlabelled": made["nameless"]}, "has no `x`; there are points"),
        ({"unlabelled": "/nowhere.npz"}, "--unlabelled=/nowhere.npz"),
        ({"unlabelled": "601"}, "--unlabelled=601: the data have 600 held-out examples"),
        ({"unlabelled": "0"}, "give 1 to 600"),
        (data | {"unlabelled": "5"}, "the data have no held-out examples"),
        (data | {"unlabelled": made["numbers"]}, "the data of type uint8"),
        (data | {"data": made["copies"]}, "examples that certify"),
        ({"weights": str(place / "first9.npz")}, "has 9 outputs, a label is 9"),
        ({"weights": f"{place / 'net.npz'},{place / 'net11.npz'}"}, "2 networks"),
        ({"weights": str(place / "net11.npz")}, "has 10 classes, the network 11 outputs"),
        ({"weights": None}, "--network or --weights is missing"),
        ({"problem": None, "data_dir": None}, "goes with --problem or --data"),
        ({"problem": "hypersphere", "data_dir": None}, "drawn anew for every network"),
        ({"label_noise": 0.5}, "--label_noise=0.5"),
        ({"size": 500}, "--size=500: goes with --route=posterior or single_draw or subspace or pick_to_learn;"),
        ({"certified_share": 0.99}, "leaves 24 of 2400 examples to train"),
        ({"certified_share": 1.0}, "--certified_share=1.0: must be a number in (0, 1)"),
        (data | {"unlabelled": str(place / "points.npz"), "architecture": "cnn"},
         "--architecture=cnn: it needs images"),
        ({"route": "posterior"}, "goes with --route=surrogate or compression"),
        (COMPRESSION | {"width": 16}, "--width=16: goes with --route=posterior or"),
        (COMPRESSION | {"certified_share": 0.2}, "goes with --route=surrogate"),
    ):  # fmt: skip
        with pytest.raises(Refusal) as caught:
            study.make(PROGRAM.resolved(config(place, **changes)))
        message = str(caught.value)
        assert said in message and "\n" not in message, (changes, message)


@pytest.mark.slow
def test_what_is_taken_for_granted_is_said(place, tmp_path, capsys):
    """More outputs than labels; points of which a few were trained on, in the report too."""
    x, _, test, _ = digits()
    points = np.concatenate([test[:U], x[:1]])
    np.savez(tmp_path / "points.npz", x=points)
    data = {"problem": None, "data_dir": None, "data": str(place / "data.npz")}
    typed = COMPRESSION | data | {
        "weights": str(place / "net11.npz"), "unlabelled": str(tmp_path / "points.npz"),
    }  # fmt: skip
    with tiny.undrawn():
        out = tiny.run(config(place, **typed), tmp_path / "out", PROGRAM).path
    said = capsys.readouterr()
    assert "its labels name 10 of the network's 11 outputs" in said.out + said.err
    line = "1 of 251 held-out inputs are training inputs"
    assert line in said.out + said.err and line in (out / "report.md").read_text()


def given(place, found, **more):
    """What is typed to recount a certificate."""
    return {
        "verify": str(found), "weights": str(place / "net.npz"),
        "data_dir": str(MNIST_SAMPLE),
    } | more  # fmt: skip


def _a_little_less(tensors, claims):
    claims["value"] -= 1e-6


def slow(*case):
    """One that is seen where a case that is always run is seen."""
    return pytest.param(*case, marks=pytest.mark.slow)


def surrogate_file(folder):
    return folder / "weights" / "net_surrogate.safetensors"


def code_file(folder):
    return folder / "weights" / "net_compressed.safetensors"


def test_both_certificates_are_recounted_from_their_files(place, folder, compressed):
    """What the points are, one file says (a number); of the other they are given."""
    (row,) = read(folder, "results")
    line, holds = verification.verified(given(place, surrogate_file(folder)))
    assert holds and "the given network errs on at most" in line and "\n" not in line
    wrong = round(float(row["surrogate_error"]) * 1200)
    differ = round(float(row["disagreement"]) * U)
    assert (
        f"errs on {wrong} among 1200, and disagrees on {differ} of {U} points" in line
    )
    assert "trained on the other 1200 labelled examples alone; neither network" in line
    (row,) = read(compressed, "results")
    points = {"unlabelled": str(place / "points.npz")}
    line, holds = verification.verified(given(place, code_file(compressed), **points))
    assert holds and f"the network of {row['bits']} bits errs on" in line
    assert "taken as said: the network has not seen the points" in line


@pytest.mark.slow
def test_a_code_from_the_initial_weights_needs_them(place, tmp_path):
    """And is another network onto others."""
    with np.load(place / "net.npz") as net:
        arrays = dict(net)
    rng = np.random.default_rng(1)
    for name in ("init", "other"):
        first = {n: a + rng.normal(size=a.shape) / 50 for n, a in arrays.items()}
        np.savez(
            tmp_path / f"{name}.npz", **{n: a.astype("f4") for n, a in first.items()}
        )
    names = {"bounds": ("bazinet_2026_code",), "init": str(tmp_path / "init.npz")}
    chosen = config(place, **COMPRESSION, **names, init_is_independent=True)
    found = code_file(tiny.run(chosen, tmp_path / "out", PROGRAM).path)
    typed = given(place, found)
    line, holds = verification.verified(typed | {"init": names["init"]})
    assert holds and "its initial weights were chosen without the examples" in line
    with pytest.raises(Refusal, match="a code from the initial weights; give their"):
        verification.verified(typed)
    with pytest.raises(Refusal, match="not the initial weights of the certificate"):
        verification.verified(typed | {"init": str(tmp_path / "other.npz")})


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (_claim(wrong=1), "it errs on"),
        (_claim(disagreements=1), "the two networks disagree on"),
        (_claim(points=251), "there are 250 points, not 251"),
        (_claim(size=2401), "there are 2400 labelled examples, not 2401"),
        slow(_claim(value=0.2), "the bound is"),
        (_a_little_less, "the bound is"),
        (_claim(tried=4), "the bound is"),  # of a value that was paid for 2
        slow(_claim(delta=0.01), "the bound is"),
        (_move("surrogate/1/bias", np.arange(10) / 2), "it errs on"),
    ],
)
def test_a_surrogate_that_was_forged_is_refuted(place, folder, tmp_path, change, says):
    path = forged(surrogate_file(folder), tmp_path / "a.safetensors", change)
    line, holds = verification.verified(given(place, path))
    assert not holds and says in line and "\n" not in line


def _both_delta_for_one(tensors, claims):
    """The limit of the surrogate at all of delta, not at its half."""
    share = claims["delta"] / claims["tried"]
    counts = claims["wrong"], claims["certified_size"]
    of_points = limit(claims["disagreements"], claims["points"], share / 2)
    claims["value"] = limit(*counts, share) + of_points


def _choice_untold(tensors, claims):
    """The disagreements of one candidate, as if it had not been chosen among 12 by these points."""
    share, size = claims["delta"] / claims["tried"], claims["certified_size"]
    c = claims["bits"]
    nats = c * np.log(2) + np.log(c) + np.log(c + 1) - np.log(share / 2)
    of_code = kl_inverse(claims["wrong"] / size, nats / size)
    claims["value"] = of_code + limit(
        claims["disagreements"], claims["points"], share / 2
    )


def test_shares_of_delta_are_those_of_the_theorem(place, folder, tmp_path):
    path = forged(
        surrogate_file(folder), tmp_path / "a.safetensors", _both_delta_for_one
    )
    line, holds = verification.verified(given(place, path))
    assert not holds and "refuted: the bound is" in line


def _flip(tensors, claims):
    tensors["code"] = tensors["code"].copy()
    tensors["code"][5] ^= 64


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (_choice_untold, "refuted: the bound is"),
        (_claim(bits=100), "its code has"),
        (_claim(wrong=1), "it errs on"),
        (_claim(disagreements=0), "the two networks disagree on"),
        slow(_claim(value=0.2), "the bound is"),
        (_a_little_less, "the bound is"),
        (_flip, "its code is none|it errs on|disagree on"),
        slow(lambda t, c: t.update(code=t["code"][:9]), "its code is none"),
    ],
)
def test_a_code_that_was_forged_is_refuted(place, compressed, tmp_path, change, says):
    path = forged(code_file(compressed), tmp_path / "a.safetensors", change)
    points = {"unlabelled": str(place / "points.npz")}
    line, holds = verification.verified(given(place, path, **points))
    assert not holds and any(one in line for one in says.split("|")), line


def test_a_code_that_is_no_candidate_is_refuted(place, compressed, tmp_path):
    """Of any number of codes one may be found that agrees on these very points."""
    with np.load(place / "net.npz") as net:
        shapes = [net[name].shape for name in ("w0", "w1")]

    def another(tensors, claims):
        bits = np.unpackbits(tensors["code"])
        symbols, exponents, length = coding.decode(bits, shapes)
        assert length <= claims["bits"]
        symbols = [np.array(own) for own in symbols]
        symbols[1][0, 0] += 1
        bits = coding.encode(symbols, exponents)
        tensors["code"], claims["bits"] = np.packbits(bits), claims["bits"] + 99

    path = forged(code_file(compressed), tmp_path / "a.safetensors", another)
    points = {"unlabelled": str(place / "points.npz")}
    line, holds = verification.verified(given(place, path, **points))
    assert not holds and "its code is none of the 12 candidates" in line


def test_what_is_not_what_was_certified_on_is_refused(
    place, folder, compressed, tmp_path
):
    x, y, test, _ = digits()
    with np.load(place / "net.npz") as net:
        np.savez(tmp_path / "moved.npz", w0=net["w0"], w1=net["w1"] * np.float32(1.001))
    np.savez(tmp_path / "others.npz", x=test[U : 2 * U])
    np.savez(tmp_path / "shuffled.npz", x=x[::-1], y=y[::-1])
    one, code_ = surrogate_file(folder), code_file(compressed)
    moved, others = (str(tmp_path / f"{n}.npz") for n in ("moved", "others"))
    points, data = str(place / "points.npz"), str(tmp_path / "shuffled.npz")
    for typed, says in (
        (given(place, one, weights=moved), "moved.npz: not the network that"),
        (given(place, one, weights=None), "--network or --weights is missing"),
        (given(place, one, unlabelled="251"), "--unlabelled=251: not the 250 points"),
        (given(place, one, problem="fashion_mnist"), "is of mnist; leave it out"),
        (given(place, one, width=5), "--width=5: does not go with --verify"),
        (given(place, code_), "--unlabelled is missing"),
        (given(place, code_, unlabelled=others), "not the 250 points that"),
        (given(place, code_, unlabelled=points, data=data, data_dir=None),
         "shuffled.npz: not the 2400 examples"),
    ):  # fmt: skip
        typed = {name: value for name, value in typed.items() if value is not None}
        with pytest.raises(Refusal) as caught:
            verification.verified(typed)
        assert says in str(caught.value) and "\n" not in str(caught.value), caught.value
    for change, says in (
        (lambda t, c: c["reading"].update(unlabelled="/etc/passwd"), "is no number"),
        (lambda t, c: c["reading"].update(data="a.npz"), "settings that there are not"),
        (lambda t, c: t.pop("surrogate/0/kernel"), "not those of a surrogate"),
        (
            lambda t, c: t.update({"final/0/kernel": t["surrogate/0/kernel"]}),
            "its tensor final/0/kernel is nothing",
        ),
        (_claim(disagreements=251), "more than there are points"),
        (_claim(certified_size=2401), "not the 2401 examples"),
        (_claim(bound="bazinet_2026_code"), "recounted of such a file are bazinet"),
    ):
        path = forged(one, tmp_path / "a.safetensors", change)
        with pytest.raises(Refusal, match=says):
            verification.verified(given(place, path))
