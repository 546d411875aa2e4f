"""`certify --data`: a network trained on a file of one's own, and its certificate."""

import dataclasses
import hashlib
import json

import numpy as np
import pytest
from scipy import stats

from experiments.certify import PROGRAM, study, verification
from experiments.lab import formats
from experiments.lab import running as lab
from experiments.lab.calls import settings_of
from experiments.lab.reading.data_files import Arrays, image_of
from experiments.lab.refusals import Refusal
from experiments.problems import Examples
from experiments.problems.own_data import Labelled
from tests.conftest import MNIST_SAMPLE
from tests.experiments import tiny
from tests.experiments.test_certify_given import digits
from tests.experiments.tiny import read

M, DELTA = 900, 0.035
SMALL = {
    "route": "single_draw", "width": 16, "depth": 1, "batch_size": 50, "prior_epochs": 4,
    "epochs": 1, "learning_rate": 0.2, "tried": 2,
    "bounds": ("blanchard_2007_single_draw", "holdout_cp"),
}  # fmt: skip


def config(**typed):
    typed = {n: v for n, v in (SMALL | typed).items() if v is not None}
    return settings_of(PROGRAM, typed.get("problem"), typed=typed)


def run(chosen, out, **options):
    with tiny.undrawn():
        return tiny.run(chosen, out, PROGRAM, **options).path


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Files of digits: in the order of their labels; the same, with images held out; shuffled."""
    found, rng = tmp_path_factory.mktemp("data"), np.random.default_rng(0)
    x, y, test, test_labels = digits()
    chosen = np.sort(rng.permutation(len(y))[:M])
    chosen = chosen[np.argsort(y[chosen], kind="stable")]
    x, y = x[chosen].reshape(-1, 28, 28), y[chosen]
    np.savez(found / "sorted.npz", x=x, y=y)
    np.savez(found / "held.npz", x=x, y=y, x_test=test[:200].reshape(-1, 28, 28), y_test=test_labels[:200])  # fmt: skip
    order = rng.permutation(M)
    np.savez(found / "shuffled.npz", x=x[order], y=y[order])
    return found


@pytest.fixture(scope="module")
def folder(place, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "own"
    return run(config(data=str(place / "sorted.npz"), seeds=2), out)


def certificate(folder, seed=0):
    return folder / "weights" / f"certified_seed{seed}_drawn.safetensors"


def places(folder, name):
    return formats.read_arrays(folder / "samples" / f"{name}.npz")["indices"]


@pytest.mark.slow
def test_data_that_are_a_problem_give_the_certificate_of_that_problem(tmp_path):
    """The same images by --data and by --problem: the same draws, networks, errors and bounds."""
    folders = [
        run(config(**whose, size=M), tmp_path / name)
        for name, whose in (
            ("data", {"data": str(MNIST_SAMPLE)}),
            ("problem", {"problem": "mnist", "data_dir": str(MNIST_SAMPLE)}),
        )
    ]
    for table in ("results", "bounds", "parts", "epochs"):
        ours, theirs = (
            [{n: v for n, v in row.items() if n != "seconds"} for row in read(f, table)]
            for f in folders
        )
        assert ours == theirs, table
    ours, theirs = (formats.read_tensors(certificate(f)) for f in folders)
    for name, array in theirs.items():
        np.testing.assert_array_equal(ours[name], array, err_msg=name)


def test_the_certificate_is_what_counting_by_hand_gives(place, folder):
    """Of a file that is sorted by labels: the parts are drawn, disjoint and all of it."""
    with np.load(place / "sorted.npz") as data:
        x, y = data["x"].reshape(M, -1) / 255.0, data["y"]
    results, bounds = read(folder, "results"), read(folder, "bounds")
    seen = {}
    for seed, row in enumerate(results):
        first, held = (
            places(folder, f"{name}_seed{seed}") for name in ("prior", "certified")
        )
        assert sorted([*first, *held]) == list(range(M)) and len(held) == M // 2
        assert set(y[first]) == set(y[held]) == set(range(10))
        seen[seed] = set(held)
        layers = formats.read_tensors(certificate(folder, seed))
        hidden, out = (
            (layers[f"final/{n}/kernel"], layers[f"final/{n}/bias"]) for n in (0, 1)
        )
        logits = np.maximum(x[held] @ hidden[0] + hidden[1], 0) @ out[0] + out[1]
        wrong = int(np.sum(np.argmax(logits, 1) != y[held]))
        assert float(row["drawn_train_error"]) == pytest.approx(2 * wrong / M)
        (own,) = [
            r
            for r in bounds
            if r["run"] == row["run"] and r["bound"] == "blanchard_2007_single_draw"
        ]
        # As a plain hold-out set: less than any certificate that pays for a posterior.
        plain = stats.beta.ppf(1 - DELTA / 2, wrong + 1, M // 2 - wrong)
        assert plain < float(own["value"]) < 1
    assert seen[0] != seen[1]


def test_the_report_says_what_the_data_are_and_what_there_is_not(place, folder):
    path = place / "sorted.npz"
    text = (folder / "report.md").read_text()
    assert str(path) in text
    assert hashlib.sha256(path.read_bytes()).hexdigest() in text
    for line in (
        "900 labelled examples, images of 28 x 28 x 1 (height, width, channels)",
        "10 classes (the largest label and 1",
        "There are no held-out examples, so its own error is not known",
        "hold-out bound of the same data: 0.",
        "are independent draws of the distribution",
    ):
        assert line in text, line
    summary = json.loads((folder / "summary.json").read_text())
    one = summary["certificates"]["certified_seed0"]
    assert one["own_test_error"] is None and len(summary["taken"]) == 2
    for name in ("results.csv", "bounds.csv", "summary.json"):
        assert "nan" not in (folder / name).read_text().lower(), name
    (row, _) = read(folder, "results")
    assert (row["m"], row["prior_m"], row["test_size"]) == ("450", "450", "0")
    stored = json.loads((folder / "config.json").read_text())["settings"]
    assert (stored["size"], stored["problem"]) == (M, None)


def test_held_out_examples_are_those_of_the_file_and_change_no_draw(place):
    whole, alone = (
        study.make(PROGRAM.resolved(config(data=str(place / f"{name}.npz")))).problem
        for name in ("held", "sorted")
    )
    with np.load(place / "held.npz") as data:
        x, y = data["x_test"].reshape(200, -1), data["y_test"]
    found = whole.test()
    np.testing.assert_allclose(found.inputs, x / 255.0, atol=1e-6)
    np.testing.assert_array_equal(found.labels, y)
    for seed in (0, 1):
        one, other = (its.draw(seed, M, 0) for its in (whole, alone))
        np.testing.assert_array_equal(one.inputs, other.inputs)
        np.testing.assert_array_equal(one.labels, other.labels)


@pytest.mark.slow
def test_held_out_examples_tell_its_own_error_and_change_nothing_else(
    place, folder, tmp_path
):
    other = run(config(data=str(place / "held.npz"), seeds=2), tmp_path / "out")
    summary = json.loads((other / "summary.json").read_text())
    one = summary["certificates"]["certified_seed1"]
    low, high = one["own_test_error_interval"]
    assert low < one["own_test_error"] < high
    assert f"{'held.npz'}: 900 labelled" in (other / "report.md").read_text()
    ours, theirs = (formats.read_tensors(certificate(f, 1)) for f in (folder, other))
    for name, array in theirs.items():
        np.testing.assert_array_equal(ours[name], array, err_msg=name)
    # The certificate knows nothing of them: either file verifies it.
    for name in ("held", "sorted"):
        typed = {
            "verify": str(certificate(other)),
            "data": str(place / f"{name}.npz"),
        }
        assert verification.verified(typed)[1]


def test_verify_draws_the_certified_ones_again_or_takes_them_alone(
    place, folder, tmp_path, capsys
):
    typed = {"verify": str(certificate(folder, 1))}
    line, holds = verification.verified(typed | {"data": str(place / "sorted.npz")})
    assert holds and "errors among 450" in line
    held = places(folder, "certified_seed1")
    with np.load(place / "sorted.npz") as data:
        x, y = data["x"], data["y"]
    alone = tmp_path / "alone.npz"
    np.savez(alone, x=x[held], y=y[held])
    assert verification.verified(typed | {"data": str(alone)})[1]
    said = capsys.readouterr().out
    assert "these are the 450 examples that were certified on" in said
    y[held[0]] ^= 1
    np.savez(tmp_path / "changed.npz", x=x, y=y)
    np.savez(tmp_path / "fewer.npz", x=x[:-1], y=y[:-1])
    remedy = "give the data that certify had"
    for more, what in (
        ({"data": str(tmp_path / "changed.npz")}, remedy),
        ({"data": str(tmp_path / "fewer.npz")}, remedy),
        (
            {"data": str(place / "shuffled.npz")},
            remedy,
        ),  # other places, so another draw
        ({}, "--data is missing"),
        ({"problem": "mnist"}, "--problem=mnist: the certificate in --verify is of a"),
        ({"data": str(tmp_path / "none.npz")}, "none.npz"),
    ):
        with pytest.raises(Refusal) as caught:
            verification.verified(typed | more)
        assert what in str(caught.value) and "\n" not in str(caught.value), more


def test_a_folder_goes_on_by_its_digest_wherever_the_file_is(
    place, folder, tmp_path, capsys
):
    before = read(folder, "bounds")
    moved = tmp_path / "moved.npz"
    moved.write_bytes((place / "sorted.npz").read_bytes())
    chosen = dataclasses.replace(config(data=str(moved), seeds=2), size=M)
    run(chosen, folder, resume=True)
    assert "errs on at most" in capsys.readouterr().out
    lab.foresee(PROGRAM, chosen, folder, redraw=True)
    assert "Nothing was written" in capsys.readouterr().out
    run(chosen, folder, redraw=True)
    assert read(folder, "bounds") == before
    other = dataclasses.replace(chosen, data=str(place / "shuffled.npz"))
    with pytest.raises(Refusal, match="made from other data"):
        run(other, folder, resume=True)


def test_other_routes_take_them(place, tmp_path, capsys):
    """Foreseen: what they train, of how many; nothing is written."""
    sizes = {
        "posterior": ({"bounds": None}, "m = 450"),
        "subspace": ({"prior_epochs": None, "bounds": None, "shift": 1, "architecture": "cnn"}, "m = 900"),
        "pick_to_learn": (
            {"prior_epochs": None, "bounds": None, "budget": 100, "start_share": 0.4}, "m = 540"
        ),
    }  # fmt: skip
    for route, (more, said) in sizes.items():
        chosen = config(data=str(place / "sorted.npz"), route=route, **more)
        lab.foresee(PROGRAM, chosen, tmp_path / "out")
        assert said in capsys.readouterr().out, route
    assert not (tmp_path / "out").exists()


def test_draws_are_without_replacement_whatever_the_order():
    """A draw is a uniform subset: each example is in it as often as another."""
    labels = np.arange(40, dtype=np.int32)
    problem = Labelled(Examples(labels[:, None].astype(np.float32), labels), None, 3)
    drawn = [problem.draw(seed, 10, 0).labels for seed in range(400)]
    assert all(len(set(one)) == 10 for one in drawn)
    counts = np.bincount(np.concatenate(drawn), minlength=40)
    # Hypergeometric: 400 draws, each with probability 1/4.
    expected = 100 * np.ones(40)
    chi = np.sum((counts - expected) ** 2 / (100 * 0.75)) * 39 / 40
    assert stats.chi2.sf(chi, 39) > 1e-4
    first, again, other = (problem.draw(0, 10, n).labels for n in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert list(first) != list(other)


@pytest.mark.parametrize(
    ("shape", "image"),
    [
        ((28, 28), (28, 28, 1)),
        ((32, 32, 3), (32, 32, 3)),
        ((3, 32, 32), None),  # channels first
        ((40,), None),
        ((2, 2, 2, 2), None),
    ],
)
def test_what_is_taken_to_be_an_image(shape, image):
    assert image_of(Arrays(None, None, None, shape)) == image


@pytest.fixture(scope="module")
def bad(tmp_path_factory):
    """name -> a file with something wrong in it."""
    found, rng = tmp_path_factory.mktemp("bad"), np.random.default_rng(0)
    x = rng.normal(size=(200, 6)).astype(np.float32)
    y, broken = (x[:, 0] > 0).astype(int), np.array(x)
    broken[3, 3] = np.inf
    for name, arrays in {
        "good": (x, y), "not_finite": (broken, y), "negative": (x, y - 1), "floats": (x, y + 0.5),
        "years": (x, y + 1990), "one_class": (x, 0 * y), "short": (x, y[:150]), "small": (x[:60], y[:60]),
        "copies": (np.concatenate([x[:100]] * 2), np.concatenate([y[:100]] * 2)),
        "channels_first": (rng.normal(size=(200, 3, 8, 8)), y),
    }.items():  # fmt: skip
        np.savez(found / f"{name}.npz", x=arrays[0], y=arrays[1])
    (found / "table.csv").write_text("1,2,0\n3,4,1\n")
    return found


@pytest.mark.parametrize(
    ("name", "changes", "says"),
    [
        ("none.npz", {}, "No such file"),
        ("table.csv", {}, "give an .npz with `x`"),
        ("not_finite.npz", {}, "`x`: is not finite"),
        ("negative.npz", {}, "`y`: -1 is not one of 0..999999"),
        ("floats.npz", {}, "not whole numbers"),
        ("years.npz", {}, "has a label 1991, and 200 labelled examples; labels of C"),
        ("one_class.npz", {}, "all labels are 0; two classes are needed"),
        ("short.npz", {}, "`y` [150]"),
        ("small.npz", {}, "--size: leaves 30 examples for one of the two parts"),
        ("small.npz", {"batch_size": 61}, "--size=60: fewer examples than --batch_size"),
        ("good.npz", {"size": 201}, "--size=201: more examples than there are, 200"),
        ("good.npz", {"classes": 1}, "--classes=1: must be a whole number from 2"),
        ("good.npz", {"architecture": "cnn"}, "--architecture=cnn: it needs images"),
        ("good.npz", {"shift": 2}, "has no images to move; use --shift=0"),
        ("channels_first.npz", {"architecture": "cnn"}, "--architecture=cnn"),
        ("copies.npz", {}, "examples that certify certified_seed0: "),
        ("good.npz", {"problem": "mnist"}, "--problem and --data: give one of them"),
        ("good.npz", {"image_order": "chw"}, "--image_order=chw: goes with --route="),
        ("good.npz", {"unlabelled": "5"}, "--unlabelled=5: goes with --route=surrogate"),
        ("good.npz", {"draw_rule": "authors"}, "--draw_rule=authors: a call without"),
        ("good.npz", {"label_noise": 0.1}, "--label_noise=0.1: a call without"),
        ("good.npz", {"route": "pick_to_learn", "prior_epochs": None, "bounds": None},
         "--budget=800: leaves none of the 200 examples"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_refused_in_one_line(bad, name, changes, says):
    with pytest.raises(Refusal) as caught:
        study.make(PROGRAM.resolved(config(data=str(bad / name), **changes)))
    message = str(caught.value)
    assert says in message and "\n" not in message
    if not changes:
        assert f"--data={bad / name}" in message or "--size" in message


def test_a_missing_file_is_one_line_and_nothing_is_written(tmp_path):
    out, path = tmp_path / "out", tmp_path / "none.npz"
    code, said, wrong = tiny.finish(
        tiny.program(f"--data={path}", f"--out={out}", name="certify")
    )
    assert (code, said, wrong.count("\n")) == (2, "", 1)
    assert f"--data={path}" in wrong and "give an .npz" in wrong
    assert not out.exists()


def test_inputs_in_both_parts_are_counted_where_there_are_two(bad, tmp_path):
    """One in a hundred is accepted, and said; without a prior there is nothing to be seen."""
    with np.load(bad / "good.npz") as data:
        x, y = np.array(data["x"]), data["y"]
    labelled = Examples(x, y.astype(np.int32))
    order = Labelled(labelled, None, 0).draw(0, 200, 0).record["indices"]
    x[order[-1]] = x[order[0]]
    np.savez(tmp_path / "once.npz", x=x, y=y)
    chosen = config(data=str(tmp_path / "once.npz"))
    *_, line = study.make(PROGRAM.resolved(chosen)).taken
    assert "1 of 100 held-out inputs are training inputs, too" in line
    whole = config(data=str(bad / "copies.npz"), prior_share=0.0)
    assert len(study.make(PROGRAM.resolved(whole)).taken) == 2


def test_settings_of_own_data_go_with_own_data_alone(place, bad):
    for typed, says in (
        ({"problem": "mnist", "classes": 12}, "--classes=12: goes with --data"),
        ({"problem": "mnist", "normalise": (0.1, 0.3)}, "goes with --data; leave it out"),
        ({"data": "a.npz", "route": "surrogate", "classes": 12, "prior_epochs": None},
         "--classes=12: goes with --route=posterior or"),
        ({"data": str(place / "sorted.npz"), "classes": 9}, "has a label 9; labels are 0 to 8"),
    ):  # fmt: skip
        with pytest.raises(Refusal) as caught:
            study.make(PROGRAM.resolved(config(**typed)))
        assert says in str(caught.value)
    with pytest.raises(Refusal, match="--preset=cnn: presets are of problems"):
        settings_of(PROGRAM, None, "cnn", {"data": "a.npz"})
    more = config(data=str(bad / "good.npz"), classes=5, normalise=(1.0, 2.0))
    found = study.make(PROGRAM.resolved(more)).problem
    assert (found.classes, found.image) == (5, None)
    plain = study.make(PROGRAM.resolved(config(data=str(bad / "good.npz")))).problem
    np.testing.assert_allclose(found.pool().inputs, (plain.pool().inputs - 1) / 2)
    assert found.sha256 != plain.sha256


@pytest.mark.slow
def test_a_normalised_certificate_is_recounted_from_raw_data(place, tmp_path):
    """How inputs were normalised is in its file; certified ones alone may be stored either way."""
    numbers = (0.25, 0.5)
    chosen = config(data=str(place / "sorted.npz"), normalise=numbers, size=600, prior_epochs=1)  # fmt: skip
    out = run(chosen, tmp_path / "out")
    text = (out / "report.md").read_text()
    assert (
        "--size=600: so many of the 900 examples are drawn, the others are not" in text
    )
    held = places(out, "certified_seed0")
    with np.load(place / "sorted.npz") as data:
        x, y = data["x"][held], data["y"][held]
    scaled = (x.astype(np.float32) / np.float32(255) - np.float32(0.25)) / np.float32(
        0.5
    )
    np.savez(tmp_path / "raw.npz", x=x, y=y)
    np.savez(tmp_path / "scaled.npz", x=scaled, y=y)
    for path in (place / "sorted.npz", tmp_path / "raw.npz", tmp_path / "scaled.npz"):
        typed = {"verify": str(certificate(out)), "data": str(path)}
        line, holds = verification.verified(typed)
        assert holds and "errors among 300" in line, path
