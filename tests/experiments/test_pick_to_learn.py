"""The route `pick_to_learn`, on a small sample of MNIST."""

import dataclasses
import json

import numpy as np
import pytest
from scipy import stats

from experiments.certify import PROGRAM, verification
from experiments.certify.picking import CHUNK, FIRST, WORST, chosen
from experiments.certify.routes import ROUTES
from experiments.lab import formats, training
from experiments.lab import running as lab
from experiments.lab.calls import problem_of, settings_of
from experiments.lab.refusals import Refusal
from experiments.problems import images
from tests.conftest import MNIST_SAMPLE
from tests.experiments import tiny
from tests.experiments.tiny import read
from tests.oracles import sample_compression as oracle

SMALL = {
    "data_dir": str(MNIST_SAMPLE), "route": "pick_to_learn", "size": 400, "width": 12,
    "depth": 1, "batch_size": 20, "seeds": 2, "budget": 60, "picks": 20, "epochs": 4,
    "learning_rate": 0.1, "architecture": "mlp", "tried": 1,
}  # fmt: skip
LAST = "certified_seed0"


def config(**changes):
    typed = SMALL | changes
    return settings_of(PROGRAM, typed.get("problem"), "perez_ortiz", typed)


def run(chosen_settings, out, **options):
    return tiny.run(chosen_settings, out, PROGRAM, **options).path


def weights(folder, name=LAST):
    return formats.read_tensors(folder / "weights" / f"{name}.safetensors")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    with tiny.undrawn():
        return run(config(), tmp_path_factory.mktemp("runs") / "picks")


def margins_by_hand(arrays, drawn):
    hidden = drawn.inputs.astype(float) @ arrays["final/0/kernel"]
    hidden = np.maximum(hidden + arrays["final/0/bias"], 0)
    logits = hidden @ arrays["final/1/kernel"] + arrays["final/1/bias"]
    rows = np.arange(len(logits))
    own = logits[rows, drawn.labels]
    logits[rows, drawn.labels] = -np.inf
    return own - logits.max(axis=1)


def test_the_certificate_is_that_of_its_picks_and_of_the_errors_left(folder):
    problem = problem_of(config())
    rows = read(folder, "bounds")
    for seed, result in enumerate(read(folder, "results")):
        arrays = weights(folder, result["run"])
        picked = arrays["notes/picked"]
        drawn = problem.draw(seed, 400, 0)
        others = np.delete(margins_by_hand(arrays, drawn), picked)
        assert len(set(picked)) == len(picked) == int(result["picked"]) <= 60
        assert int(result["left_wrong"]) == np.sum(others <= 0)
        mine = {r["bound"]: r for r in rows if r["run"] == result["run"]}
        kept = int(result["picked"]) + int(result["left_wrong"])
        expected = oracle.paccagnan_2023(kept, 400, 0.035)
        value = float(mine["paccagnan_2023_pick_to_learn"]["value"])
        assert value == pytest.approx(expected, rel=1e-6)
        expected = oracle.littlestone_1986(len(picked), kept - len(picked), 400, 0.035)
        value = float(mine["littlestone_1986_sample_compression"]["value"])
        assert value == pytest.approx(expected, rel=1e-6)
        # What is kept as its initial weights has seen nothing.
        assert abs(arrays["init/0/bias"]).max() > 0
        model_init = np.sqrt(6 / (784 + 12))
        assert abs(arrays["init/0/kernel"]).max() <= model_init
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["certificates"][LAST]["bound"] == "paccagnan_2023_pick_to_learn"


def test_its_file_is_recounted(folder):
    for result in read(folder, "results"):
        path = folder / "weights" / f"{result['run']}_picked.safetensors"
        typed = {"verify": str(path), "data_dir": str(MNIST_SAMPLE)}
        line, holds = verification.verified(typed)
        left = f"{result['left_wrong']} errors among the"
        assert holds and f"{result['picked']} picks of at most 60, {left}" in line
        picked = weights(folder, result["run"])["notes/picked"]
        stored = formats.read_tensors(path)["picks"]
        np.testing.assert_array_equal(stored, np.sort(picked))


@pytest.mark.slow
@pytest.mark.parametrize(("order", "first"), [(WORST, 0), (FIRST, 0), (WORST, 60)])
def test_what_is_not_kept_is_no_matter(order, first, tmp_path, monkeypatch):
    """The same picks and, bit for bit, the same network without half of all the others.

    `first`: images that it starts from, which are none of the others.
    """
    asked = config(seeds=1, order=order, start_share=first / 400, start_epochs=3)
    whole = run(asked, tmp_path / "whole")
    found, problem = weights(whole), problem_of(config())
    drawn = problem.draw(0, 400, 0)
    wrong = margins_by_hand(found, drawn) <= 0
    is_kept = np.random.default_rng(0).random(400) < 0.5
    is_kept |= wrong
    is_kept[:first] = True
    is_kept[first + found["notes/picked"]] = True
    places = np.flatnonzero(is_kept)
    assert 60 < len(places) < 350

    def part(self, seed, size, draw=None):
        return images.Examples(drawn.inputs[places], drawn.labels[places], {})

    monkeypatch.setattr(images.Images, "draw", part)
    count = len(places)
    fewer = dataclasses.replace(asked, size=count, start_share=first / count)
    again = weights(run(fewer, tmp_path / "part"))
    np.testing.assert_array_equal(
        places[first + again["notes/picked"]], first + found["notes/picked"]
    )
    for name in found:
        if name.startswith("final/"):
            np.testing.assert_array_equal(again[name], found[name], err_msg=name)


@pytest.mark.slow
def test_interrupted_and_resumed_is_the_same(folder, tmp_path, monkeypatch, capsys):
    """In the second round; then drawn again, without training the rounds anew."""
    out, train_group, groups = tmp_path / "out", training._train_group, []

    def first_only(*args):
        groups.append(args)
        if len(groups) == 2:
            raise KeyboardInterrupt
        train_group(*args)

    with monkeypatch.context() as patch:
        patch.setattr(training, "_train_group", first_only)
        with pytest.raises(KeyboardInterrupt):
            run(config(), out)
    there = {p.stem for p in (out / "checkpoints" / "trained").iterdir()}
    assert there == {"round1_seed0", "round1_seed1"}
    lab.foresee(PROGRAM, config(), out, resume=True)
    assert "4 of 6 runs would be trained" in capsys.readouterr().out
    run(config(), out, resume=True)
    for name, array in weights(out).items():
        if name not in ("seconds", "notes/seconds"):
            np.testing.assert_array_equal(array, weights(folder)[name], err_msg=name)
    before = read(out, "bounds")
    assert before == read(folder, "bounds")
    seconds = [row["seconds"] for row in read(out, "results")]
    with monkeypatch.context() as patch:
        patch.setattr(training, "_train_group", None)
        lab.foresee(PROGRAM, config(), out, redraw=True)
        assert "0 of 6 runs would be trained" in capsys.readouterr().out
        run(config(), out, redraw=True)
    assert read(out, "bounds") == before
    assert [row["seconds"] for row in read(out, "results")] == seconds


@pytest.mark.slow
def test_once_nothing_is_wrong_nothing_is_picked_and_no_weight_moves(
    tmp_path, monkeypatch
):
    def easy(self, seed, size, draw=None):
        labels = np.arange(size, dtype=np.int32) % 2
        halves = np.repeat(np.eye(2, dtype=np.float32), 392, axis=1)
        return images.Examples(halves[labels], labels, {})

    monkeypatch.setattr(images.Images, "draw", easy)
    monkeypatch.setattr(lab.RunFolder, "forget_checkpoints", lambda _: None)
    folder = run(config(seeds=1, order=FIRST), tmp_path / "out")
    (result,) = read(folder, "results")
    assert 0 < int(result["picked"]) <= 20 and result["left_wrong"] == "0"
    first, second, last = (
        formats.read_tensors(folder / "checkpoints" / "trained" / f"{name}.safetensors")
        for name in ("round1_seed0", "round2_seed0", LAST)
    )
    for name, array in first.items():
        if name.startswith(("final/", "notes/picked")):
            np.testing.assert_array_equal(second[name], array, err_msg=name)
            np.testing.assert_array_equal(last[name], array, err_msg=name)


def nearest(places, x, y, points):
    """1-nearest-neighbour of the picked ones, 0 where there are none: labels of points."""
    if not len(places):
        return np.zeros(len(points), int)
    return y[places][np.argmin(np.abs(points[:, None] - x[places]), axis=1)]


@pytest.mark.parametrize("order", [WORST, pytest.param(FIRST, marks=pytest.mark.slow)])
def test_coverage_of_picks_of_nearest_neighbours(order):
    """On the line, labels x > 1/2 of which a tenth is flipped, so that errors are left."""
    rng, size, budget, delta = np.random.default_rng(0), 60, 12, 0.3
    grid = (np.arange(2000) + 0.5) / 2000
    bound = [oracle.paccagnan_2023(k, size, delta) for k in range(size + 1)]
    violations = 0
    for _ in range(1000):
        x = rng.random(size)
        y = ((x > 0.5) ^ (rng.random(size) < 0.1)).astype(int)
        places = np.zeros(0, int)
        for _ in range(budget // 2):
            right = nearest(places, x, y, x) == y
            middle = np.where(right, 1.0, -np.abs(x - 0.5))
            values = np.pad(middle, (0, CHUNK - size))
            new = chosen(lambda _, values=values: values, size, places, 2, order)
            places = np.concatenate([places, new])
        wrong = nearest(places, x, y, x) != y
        wrong[places] = False
        flipped = nearest(places, x, y, grid) != (grid > 0.5)
        risk = np.mean(np.where(flipped, 0.9, 0.1))
        violations += risk > bound[len(places) + wrong.sum()] + 1e-3
    assert stats.binom.sf(violations - 1, 1000, delta) > 1e-3


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"budget": 400}, "--budget=400: leaves none of the 400 examples"),
        ({"picks": 61}, "--picks=61: more in a round than --budget=60"),
        ({"batch_size": 61}, "--batch_size=61: larger than --budget=60"),
        (
            {"architecture": "perceptron"},
            "--architecture=perceptron: must be one of mlp, cnn",
        ),
        ({"order": "best"}, "--order=best"),
        ({"shift": -1}, "--shift=-1"),
        ({"budget": 0}, "--budget=0"),
        ({"prior_share": 0.2}, "--prior_share=0.2: goes with --route=posterior"),
        ({"route": "subspace"}, "goes with --route=pick_to_learn"),
        ({"bounds": ("train_error",)}, "--bounds: none speaks of"),
    ],
)
def test_bad_settings_are_refused_before_anything_is_made(tmp_path, changes, names):
    with pytest.raises(Refusal) as caught:
        run(config(**changes), tmp_path / "out")
    assert names in str(caught.value) and "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("changes", [{"architecture": "strided_cnn"}, {"shift": 2}])
def test_what_is_no_image_is_not_convolved_or_moved(changes):
    found = dataclasses.replace(config(), **changes)
    problem = problem_of(found)
    problem.image = None
    with pytest.raises(Refusal, match=f"--{next(iter(changes))}=.*image"):
        ROUTES["pick_to_learn"].course(found, problem)


@pytest.mark.slow
def test_after_a_start_it_picks_of_the_other_images_alone(tmp_path):
    """The start has seen none that is certified by, and its own hold-out bound stands beside.

    What it started from is trained on in every round.
    """
    chosen_settings = config(
        seeds=1, start_share=0.5, start_epochs=3, budget=30, picks=15
    )
    out = run(chosen_settings, tmp_path / "out")
    (result,) = read(out, "results")
    start, last = weights(out, "start_seed0"), weights(out)
    drawn = problem_of(config()).draw(0, 400, 0)
    rest = images.Examples(drawn.inputs[200:], drawn.labels[200:], {})
    picked = last["notes/picked"]
    assert 0 < len(picked) <= 30 and picked.max() < 200
    first = np.flatnonzero(margins_by_hand(start, rest) <= 0)
    assert set(picked[:15]) <= set(first)
    wrong = np.sum(np.delete(margins_by_hand(last, rest), picked) <= 0)
    assert int(result["left_wrong"]) == wrong and int(result["m"]) == 200
    expected = oracle.paccagnan_2023(len(picked) + wrong, 200, 0.035)
    row = next(r for r in read(out, "bounds") if "paccagnan" in r["bound"])
    assert float(row["value"]) == pytest.approx(expected, rel=1e-6)
    held_out = stats.beta.isf(0.035, len(first) + 1, 200 - len(first))
    assert float(result["holdout_of_same_data"]) == pytest.approx(held_out, rel=1e-6)
    assert int(result["prior_m"]) == 200


def test_a_start_that_fills_no_batch_is_refused(tmp_path):
    with pytest.raises(Refusal, match=r"--start_share=0.01: leaves 4 examples"):
        run(config(start_share=0.01), tmp_path / "out")
