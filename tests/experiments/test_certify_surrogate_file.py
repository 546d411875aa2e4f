"""`certify --surrogate_file`: a given network by a surrogate that has a certificate of its own."""

import dataclasses
import functools
import json

import jax
import numpy as np
import pytest

from experiments.certify import PROGRAM, certificate_file, study, verification
from experiments.certify.given import GivenNetwork
from experiments.certify.kinds import by_certificate, posterior, surrogate_file
from experiments.lab.calls import settings_of
from experiments.lab.refusals import Refusal
from tests.conftest import MNIST_SAMPLE
from tests.experiments import tiny
from tests.experiments.test_certify_given import classes_of, digits, drawn_points, limit
from tests.experiments.test_verify import _claim, _move, forged, read

HIDDEN, U, DELTA, FIRST = 200, 250, 0.1, 0.04
BOUND = "bazinet_2026_certified_surrogate"
TINY = {
    "data_dir": str(MNIST_SAMPLE), "problem": "mnist", "size": 1200, "width": 8, "depth": 1,
    "batch_size": 50, "epochs": 1, "learning_rate": 0.2, "delta": FIRST, "tried": 2,
}  # fmt: skip
_GAUSSIAN = {"prior_epochs": 10, "prior_noise": 0.0}
# Route -> its own settings, among them the one bound that is evaluated.
ROUTES = {
    "posterior": _GAUSSIAN | {"bounds": ("maurer_2004_kl_posterior",), "draws": 3000},
    "single_draw": _GAUSSIAN | {"bounds": ("blanchard_2007_single_draw",)},
    "subspace": {"rank": 2, "bounds": ("lotfi_2022_subspace",)},
}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Networks to be certified, and points."""
    found, rng = tmp_path_factory.mktemp("given"), np.random.default_rng(0)
    x, y, test, _ = digits()
    first = rng.normal(size=(784, HIDDEN)).astype(np.float32) / 14
    features = np.maximum(x / np.float32(255) @ first, 0)
    square = features.T @ features + np.eye(HIDDEN)
    last = np.linalg.solve(square, features.T @ np.eye(10)[y]).astype(np.float32)
    np.savez(found / "net.npz", w0=first, w1=last)
    np.savez(found / "other.npz", w0=first, w1=last * 2)
    np.savez(found / "points.npz", x=test[U : 2 * U].reshape(-1, 28, 28))
    return found


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """What makes the folder of a route, once, and gives the file of its certificate: of a seed."""
    out = tmp_path_factory.mktemp("surrogates")

    @functools.cache
    def made(route):
        typed = TINY | ROUTES[route] | {"route": route, "seeds": 2}
        with tiny.undrawn():
            chosen = settings_of(PROGRAM, "mnist", typed=typed)
            tiny.run(chosen, out / route, PROGRAM)
        return out / route / "weights"

    def file(route, seed=0):
        (found,) = made(route).glob(f"certified_seed{seed}_*.safetensors")
        return found

    return file


def config(place, file, **typed):
    typed = {
        "route": "surrogate", "weights": str(place / "net.npz"), "activation": "relu",
        "problem": "mnist", "data_dir": str(MNIST_SAMPLE), "unlabelled": str(U),
        "delta": DELTA, "tried": 2, "surrogate_file": str(file),
    } | typed  # fmt: skip
    typed = {name: value for name, value in typed.items() if value is not None}
    return settings_of(PROGRAM, typed.get("problem"), typed=typed)


@pytest.fixture(scope="module")
def folders(place, files, tmp_path_factory):
    """What makes the folder of a network that was certified by the file of a route, once."""
    out = tmp_path_factory.mktemp("runs")

    @functools.cache
    def made(route):
        with tiny.undrawn():
            return tiny.run(config(place, files(route)), out / route, PROGRAM).path

    return made


def certificate(folder):
    return folder / "weights" / "net_surrogate.safetensors"


def given(place, path, **more):
    """What is typed to recount a certificate."""
    return {
        "verify": str(path), "weights": str(place / "net.npz"),
        "data_dir": str(MNIST_SAMPLE),
    } | more  # fmt: skip


def drawn_classes(tensors, x):
    """Of points, each under its own weights, in float64: the normals are those of the fixed key."""
    found, block_size = [], 128
    for block in range(-(-len(x) // block_size)):
        key = jax.random.fold_in(jax.random.key(11), block)
        a = x[block * block_size : (block + 1) * block_size] / 255.0
        for n in (0, 1):
            w, b, sd_w, sd_b = (
                tensors[f"posterior/{n}/{name}"].astype(float)
                for name in ("kernel", "bias", "log_sd_kernel", "log_sd_bias")
            )
            own, shape = jax.random.fold_in(key, n), (block_size, len(b))
            noise = np.asarray(jax.random.normal(own, shape, "float32"), float)
            a = np.maximum(a, 0) if n else a
            deviation = np.sqrt(a**2 @ np.exp(2 * sd_w) + np.exp(2 * sd_b))
            a = a @ w + b + deviation * noise[: len(a)]
        found.append(a.argmax(1))
    return np.concatenate(found)


@pytest.mark.parametrize(
    "route",
    [
        "single_draw",
        pytest.param("posterior", marks=pytest.mark.slow),
        pytest.param("subspace", marks=pytest.mark.slow),
    ],
)
def test_the_certificate_is_what_counting_by_hand_gives(place, files, folders, route):
    tensors, notes = read(files(route))
    inner, folder = json.loads(notes["certificate"]), folders(route)
    _, _, test, labels = digits()
    with np.load(place / "net.npz") as net:
        own = classes_of(net["w0"], net["w1"], test)
    points = drawn_points()
    if route == "posterior":
        its = drawn_classes(tensors, test[points])
    else:
        layers = [[tensors[f"final/{n}/{p}"] for p in ("kernel", "bias")] for n in (0, 1)]  # fmt: skip
        its = classes_of(*layers, test[points])
    differ = int(np.sum(own[points] != its))
    assert 0 < differ < U and inner["delta"] == FIRST
    expected = inner["value"] + limit(differ, U, DELTA / 2 - FIRST)
    by_bound = {row["bound"]: row for row in tiny.read(folder, "bounds")}
    assert list(by_bound) == [BOUND, "holdout_cp"]
    assert float(by_bound[BOUND]["value"]) == pytest.approx(expected, rel=1e-6)
    (row,) = tiny.read(folder, "results")
    assert float(row["disagreement"]) == pytest.approx(differ / U)
    same = limit(int(np.sum(own[points] != labels[points])), U, DELTA)
    assert float(row["with_labels"]) == pytest.approx(same, rel=1e-6)
    if route != "subspace":  # that promises nothing
        made_of = {p["part"]: float(p["share"]) for p in tiny.read(folder, "parts")}
        assert set(made_of) == {"the surrogate's certificate", "disagreement"}
        assert sum(made_of.values()) == pytest.approx(expected, rel=1e-6)
    text = (folder / "report.md").read_text()
    assert "net: the trained network errs on at most" in text
    assert inner["bound"] in text and f"confidence {1 - FIRST:g}" in text
    assert "hold-out bound of the same data" in text or route == "subspace"
    line, holds = verification.verified(given(place, certificate(folder)))
    assert holds and "verified: the given network errs on at most" in line
    assert f"disagrees on {differ} of {U} points" in line and "\n" not in line
    assert line.endswith("are draws of one distribution")


def test_the_file_of_the_surrogate_is_within(files, folders):
    """Whoever has the new file needs the other no more: it is there, word by word."""
    inner, notes = read(files("single_draw"))
    outer, own = read(certificate(folders("single_draw")))
    assert {f"surrogate/{n}" for n in inner} == set(outer)
    assert all(np.array_equal(outer[f"surrogate/{n}"], a) for n, a in inner.items())
    claims = json.loads(own["certificate"])["of_surrogate"]
    assert claims == json.loads(notes["certificate"])


def _inner(**values):
    def change(tensors, claims):
        claims["of_surrogate"].update(values)

    return change


def _inner_tensor(name, by):
    """With the digest that the surrogate's own file would have."""

    def change(tensors, claims):
        _move(name, by)(tensors, claims)
        own = {n.removeprefix("surrogate/"): a for n, a in tensors.items()}
        digest = certificate_file.digest_of_tensors(own)
        claims["of_surrogate"]["tensors_sha256"] = digest

    return change


def _all_of_delta(tensors, claims):
    """The limit of the disagreements at all of delta: what the surrogate's takes is not paid for."""
    share = claims["delta"] / claims["tried"]
    of_points = limit(claims["disagreements"], claims["points"], share)
    claims["value"] = claims["of_surrogate"]["value"] + of_points


def _of_noisy_labels(tensors, claims):
    claims["of_surrogate"]["problem_settings"]["label_noise"] = 0.5


def _disagreement_left_out(tensors, claims):
    claims["value"] = claims["of_surrogate"]["value"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (_claim(disagreements=1), "the two networks disagree on"),
        (_claim(points=251), "there are 250 points, not 251"),
        (_claim(value=0.1), "the bound is"),
        (_claim(delta=0.09), "the bound is"),
        (_claim(delta=0.01), "the bound is"),  # less than the surrogate's
        (_claim(wrong=1), "its surrogate errs on"),
        (_all_of_delta, "the bound is"),
        (_disagreement_left_out, "the bound is"),
        (_inner(value=0.1), "of its surrogate: the bound is"),
        (_inner(delta=0.01), "of its surrogate: the bound is"),
        (_inner(delta=0.045), "the bound is"),  # it leaves less
        (_inner(wrong=1), "of its surrogate: it errs on"),
        (_inner(log_ratio=-3.0), "of its surrogate: ln ratio is"),
        (
            _inner_tensor("surrogate/final/1/bias", 0.2),
            "of its surrogate: layer 1 is not",
        ),
    ],
)
def test_what_was_forged_is_refuted(place, folders, tmp_path, change, says):
    path = forged(certificate(folders("single_draw")), tmp_path / "a", change)
    line, holds = verification.verified(given(place, path))
    assert not holds and says in line and "\n" not in line, line


@pytest.mark.slow
def test_other_disagreements_with_a_coded_network_are_refuted(place, folders, tmp_path):
    change = _claim(disagreements=0)
    path = forged(certificate(folders("subspace")), tmp_path / "a", change)
    line, holds = verification.verified(given(place, path))
    assert not holds and "the two networks disagree on" in line


def test_a_surrogate_of_other_examples_is_refuted(place, folders):
    """Of noisy labels, or of another problem, whatever its digests say."""
    kind = by_certificate.ByCertificate()
    kinds = [one.Certificate for one in verification.KINDS]
    one, tensors = certificate_file.read(certificate(folders("single_draw")), kinds)
    typed = given(place, "a")
    data = kind.data(typed, one)
    inner = one.of_surrogate
    noisy = inner["problem_settings"] | {"label_noise": 0.5}
    for changes, says in (
        ({"problem_settings": noisy}, "was certified with --label_noise=0.5"),
        ({"problem": "fashion_mnist"}, "is of fashion_mnist, not of mnist"),
        ({}, None),
    ):
        other = dataclasses.replace(one, of_surrogate=inner | changes)
        lines = kind.differs(kind.stored("a", tensors, other), data)
        assert lines == [] if says is None else says in "; ".join(lines)


def test_what_is_not_its_own_is_refused(place, folders, tmp_path):
    whole = certificate(folders("single_draw"))
    for change, says in (
        (_move("surrogate/final/1/bias", 0.2), "tensors of its surrogate were changed"),
        (_inner(bound="holdout_cp"), "its certificate is by holdout_cp"),
        (_inner(delta=2.0), "of_surrogate: .*delta: must be between"),
        (lambda t, c: c.update(of_surrogate={}), "not one of this version's"),
        (lambda t, c: t.pop("surrogate/final/0/bias"), "were changed"),
        (lambda t, c: t.update({"final/0/bias": np.zeros(3)}), "is nothing that its"),
        (_inner(data_sha256="0" * 64), "not the 600 examples"),
        (_of_noisy_labels, "not the 600 examples"),
        (_claim(problem=None), "examples from a file, and --data is missing"),
    ):
        path = forged(whole, tmp_path / "a", change)
        with pytest.raises(Refusal, match=says):
            verification.verified(given(place, path))
    for more, says in (
        ({"weights": str(place / "other.npz")}, "not the network that the certificate"),
        ({"unlabelled": str(place / "points.npz")}, "not the 250 points"),
        ({"weights": None}, "--network or --weights is missing"),
    ):
        with pytest.raises(Refusal, match=says):
            verification.verified(given(place, whole, **more))


def test_what_cannot_be_certified_is_one_line(place, files, folders, tmp_path):
    drawn, x = files("single_draw"), digits()[0]
    np.savez(tmp_path / "seen.npz", x=x[:100])
    np.savez(tmp_path / "data.npz", x=x, y=digits()[1])
    wrong = forged(drawn, tmp_path / "wrong", _claim(wrong=1))
    settings = json.loads(read(drawn)[1]["certificate"])["problem_settings"]
    noisy = _claim(problem_settings=settings | {"label_noise": 0.5})
    noisy = forged(drawn, tmp_path / "noisy", noisy)
    altered = forged(drawn, tmp_path / "altered", _claim(wrong=1), is_told=False)
    for file, changes, said in (
        (drawn, {"tried": 3}, "--delta=0.1, --tried=3: 0.03333 is all that"),
        (drawn, {"tried": 3}, "or --tried=1 if nothing else was tried"),
        (drawn, {"delta": FIRST, "tried": 1}, "takes 0.04 already; make that file with less (--delta=0.02)"),
        (drawn, {"width": 16}, "--width=16: goes with a surrogate that is trained here"),
        (drawn, {"certified_share": 0.2, "epochs": 3}, "--certified_share=0.2: goes with"),
        (drawn, {"seeds": 2}, "--seeds=2: goes with a surrogate that is trained here"),
        (drawn, {"route": "compression"}, "goes with --route=surrogate; leave it out"),
        (drawn, {"problem": None, "data_dir": None, "data": str(tmp_path / "data.npz")},
         "was certified on examples of --problem=mnist, and this call is of --data"),
        (drawn, {"unlabelled": str(tmp_path / "seen.npz")}, "held-out inputs are training inputs"),
        (tmp_path / "nowhere", {}, "--surrogate_file="),
        (place / "net.npz", {}, "give a file that certify has written"),
        (certificate(folders("single_draw")), {}, "its certificate is of a given network; name one of"),
        (noisy, {}, "was certified with --label_noise=0.5, on examples that are drawn otherwise"),
        (wrong, {}, "its certificate is refuted: it errs on"),
        (altered, {}, "its certificate was altered, its digest is another"),
    ):  # fmt: skip
        with pytest.raises(Refusal) as caught:
            study.make(PROGRAM.resolved(config(place, file, **changes)))
        message = str(caught.value)
        assert said in message and "\n" not in message, (changes, message)
        assert "--verify" not in message, message


def test_points_that_the_surrogate_was_trained_on_are_refused(place, files, tmp_path):
    """Also where they are no examples of the given network: of those that the prior had, too."""
    one = surrogate_file.read(str(files("single_draw")), _kinds()).certificate
    typed = {"verify": "a", "problem": "mnist", "data_dir": str(MNIST_SAMPLE)}
    claimed = surrogate_file.read(str(files("single_draw")), _kinds())
    whole = surrogate_file.certified_data.read(
        typed, one, lambda config: slice(0, None)
    )
    assert len(whole.labels) == 1200 and one.certified_size == 600
    _, _, test, _ = digits()
    fresh = (test[:99] / 255.0).astype(np.float32)
    assert surrogate_file.shared(typed, claimed, "points", fresh) is None
    for first in (0, 600):
        mixed = np.concatenate([fresh, whole.inputs[first : first + 1]])
        line = surrogate_file.shared(typed, claimed, "points", mixed)
        assert "1 of 100" in line and "surrogate was not to have seen" in line
        with pytest.raises(Refusal, match="surrogate was not to have seen"):
            surrogate_file.shared(
                typed, claimed, "a", whole.inputs[first : first + 100]
            )


def _kinds():
    return tuple(one.Certificate for one in verification.KINDS)


def test_each_network_takes_inputs_as_it_was_trained_on(place):
    """Constants of the given network are not the surrogate's."""
    file = config(place, "a", surrogate_file=None, normalise=(0.5, 0.25))
    found = GivenNetwork(file, ())
    points, own = np.asarray(found.points.inputs)[:U], found.points_of_surrogate()
    np.testing.assert_allclose(points, (own - 0.5) / 0.25, atol=1e-6)
    assert own.min() >= 0 and own.max() <= 1
    assert found.draw(0, 9).inputs.min() == 0
    assert GivenNetwork(file).own_points is None


@pytest.mark.parametrize(
    "route", ["single_draw", pytest.param("posterior", marks=pytest.mark.slow)]
)
def test_a_posterior_is_run_as_it_is_measured(files, place, route):
    """Its logits of points in float64; the file of a drawn network has its posterior, too."""
    one = surrogate_file.read(str(files(route)), _kinds())
    kind, stored = one.kind, one.stored
    if route == "single_draw":
        kind = posterior.PosteriorNetwork()
        stored = posterior.Stored(stored.posterior, one.certificate)
    else:
        assert isinstance(one.certificate, posterior.Certificate)
    x = (digits()[2][:200] / 255.0).astype(np.float32)
    found = kind.logits(stored, x)
    expected = drawn_classes(one.tensors, digits()[2][:200])
    assert np.mean(found.argmax(1) == expected) > 0.99
    assert dataclasses.is_dataclass(one) and one.normalise == ()


def test_a_folder_goes_on_with_its_own_surrogate_alone(place, files, folders):
    other = config(place, files("single_draw", seed=1))
    with pytest.raises(Refusal, match="data"):
        tiny.run(other, folders("single_draw"), PROGRAM, resume=True)
