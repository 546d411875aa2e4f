"""Sweeps in `bounds_vs_samples`: every variant, and what changes along them, by plain loops."""

import dataclasses
import json
import math
import types

import numpy as np
import pytest

from experiments.bounds_vs_samples import PROGRAM, summary
from experiments.lab.calls import of_problem, settings_of
from experiments.lab.refusals import Refusal
from experiments.lab.vary import along_training, variants
from tests import oracles
from tests.experiments.tiny import TINY, read, run


def swept(tmp_path, vary, **changes):
    config = dataclasses.replace(
        TINY,
        vary=vary,
        save_weights=False,
        draws=1,
        bounds=("bartlett_2017",),
        **changes,
    )
    folder = run(config, tmp_path / "a")
    return folder, json.loads((folder.path / "summary.json").read_text())


def by_seed(rows, name, column, **wanted):
    """The mean of a column over the rows of each seed."""
    own = [r for r in rows if all(str(r[k]) == str(v) for k, v in wanted.items())]
    return {
        seed: np.mean([float(r[column]) for r in own if r["seed"] == seed])
        for seed in sorted({r["seed"] for r in own})
    }


@pytest.mark.drawn
def test_a_number_is_swept_and_grows_with_an_exponent(tmp_path):
    folder, found = swept(tmp_path, "label_noise=0.2,0.6")
    results, bounds = read(folder.path, "results"), read(folder.path, "bounds")
    names = ["label_noise=0.2", "label_noise=0.6"]
    assert {(r["variant"], r["label_noise"]) for r in results} == {
        (names[0], "0.2"), (names[1], "0.6"),
    }  # fmt: skip
    assert len(results) == 2 * 2 * 2 and list(found["variants"]) == names
    along = found["along"]
    assert along["is_power"] and along["places"] == dict(
        zip(names, (0.2, 0.6), strict=True)
    )
    for row in along["rows"]:
        if row["quantity"] not in ("bartlett_2017/target", "distance_from_init"):
            continue
        ends = []
        for variant in names:
            if row["quantity"] == "distance_from_init":
                rows, column, more = results, "distance_from_init", {}
            else:
                rows, column, more = bounds, "excess", {"margin_rule": "target"}
            ends.append(by_seed(rows, "", column, variant=variant, m=row["m"], **more))
        slopes = [
            oracles.slope(
                list(np.log([0.2, 0.6])), list(np.log([ends[0][s], ends[1][s]]))
            )
            for s in ("0", "1")
        ]
        assert row["change"] == pytest.approx(np.mean(slopes))
        assert row["low"] < row["change"] < row["high"]
        assert row["first"] == pytest.approx(np.mean(list(ends[0].values())))
    assert (
        "From label_noise=0.2 to label_noise=0.6, at m=64"
        in (folder.path / "report.md").read_text()
    )


@pytest.mark.slow
def test_at_label_noise_0_there_is_no_exponent_but_a_difference(tmp_path):
    folder, found = swept(tmp_path, "label_noise=0,0.5", sizes=(32,))
    results = read(folder.path, "results")
    assert not found["along"]["is_power"]
    (row,) = [r for r in found["along"]["rows"] if r["quantity"] == "test_error"]
    ends = [
        by_seed(results, "", "test_error", variant=f"label_noise={v}")
        for v in ("0", "0.5")
    ]
    expected = [ends[1][s] - ends[0][s] for s in ("0", "1")]
    assert row["change"] == pytest.approx(np.mean(expected))  # of an error: itself
    # A bound speaks of labels as the training set's are: so does the error beside it.
    assert found["along"]["spoken_of"] == "test_error_noisy"
    assert found["variants"]["label_noise=0.5"]["spoken_of"] == "test_error_noisy"
    assert found["variants"]["label_noise=0"]["spoken_of"] == "test_error"
    (row,) = [r for r in found["along"]["rows"] if r["quantity"] == "test_error_noisy"]
    noisy = by_seed(results, "", "test_error_noisy", variant="label_noise=0.5")
    expected = [noisy[s] - ends[0][s] for s in ("0", "1")]
    assert row["change"] == pytest.approx(np.mean(expected))
    (row,) = [
        r for r in found["along"]["rows"] if r["quantity"] == "distance_from_init"
    ]
    ends = [
        by_seed(results, "", "distance_from_init", variant=f"label_noise={v}")
        for v in ("0", "0.5")
    ]
    expected = [np.log10(ends[1][s] / ends[0][s]) for s in ("0", "1")]
    assert row["change"] == pytest.approx(np.mean(expected))  # of all else: log10


@pytest.mark.slow
@pytest.mark.drawn
def test_a_word_is_swept(tmp_path):
    folder, found = swept(tmp_path, "loss=sigmoid,squared", sizes=(32,))
    results = read(folder.path, "results")
    assert {r["loss"] for r in results} == {"sigmoid", "squared"}
    assert found["along"]["places"] == {"loss=sigmoid": None, "loss=squared": None}
    assert (folder.path / "figures" / "along.png").exists()


@pytest.mark.slow
def test_a_variant_is_what_it_is_by_itself(tmp_path):
    folder, _ = swept(tmp_path, "width=20,40", sizes=(32,), seeds=1)
    alone = dataclasses.replace(
        TINY, width=40, save_weights=False, draws=1, bounds=("bartlett_2017",), sizes=(32,),
        seeds=1,
    )  # fmt: skip
    (one,) = read(run(alone, tmp_path / "b").path, "results")
    (beside,) = [r for r in read(folder.path, "results") if r["width"] == "40"]
    for name in ("test_error", "distance_from_init", "epochs", "spectral_product"):
        assert one[name] == beside[name]


def test_problems_are_swept_and_keep_what_they_share(mnist_sample):
    typed = {"data_dir": str(mnist_sample), "label_noise": 0.25, "width": 7}
    config = settings_of(
        PROGRAM, "mnist", "paper", typed | {"vary": "problem=mnist,binary_mnist"}
    )
    both = variants(config, lambda c, problem: of_problem(PROGRAM, c, problem))
    assert [c.problem for c in both.values()] == ["mnist", "binary_mnist"]
    for one in both.values():
        assert {n: getattr(one, n) for n in typed} == typed
    # Files of another kind are not looked for in the same folder.
    other = of_problem(PROGRAM, config, "fashion_mnist")
    assert other.data_dir is None and other.label_noise == 0.25
    with pytest.raises(Refusal, match="--problem=linear"):
        of_problem(PROGRAM, config, "linear")


@pytest.mark.parametrize(
    ("slope", "difference", "says"),
    [
        ((0.1, 0.2), (0.5, 0.7), "rises with m"),
        ((-0.2, 0.2), (0.3, 0.7), "falls less than the error, if at all"),
        ((-0.3, -0.2), (0.1, 0.3), "falls less than the error, if at all"),
        ((-0.6, -0.4), (-0.1, 0.1), "goes as the error does, as far as seen"),
        ((-0.9, -0.8), (-0.4, -0.3), "falls faster than the error"),
        ((0.1, 0.2), (None, None), summary.UNDECIDED),
        ((0.1, 0.2), (-0.5, 1.9), "rises with m (the error's growth is not decided)"),
        ((-0.6, -0.4), (0.2, 0.2), "not decided (seeds do not differ)"),
    ],
)
def test_the_verdict_rests_on_the_paired_difference(slope, difference, says):
    def ends(pair):
        return {"low": pair[0], "high": pair[1]}

    falls = ends((-0.5, -0.4)) | {"zeros_replaced": 0}
    assert summary.verdict(ends(slope), ends(difference), falls) == says
    # What stands for errors of 0 is above them: only a rise is a rise beside whatever they are.
    if difference[0] is not None:
        if says.startswith(
            "goes as"
        ):  # of an error whose growth is not decided nothing is told
            undecided = ends((-0.4, 0.3)) | {"zeros_replaced": 0}
            found = summary.verdict(ends(slope), ends(difference), undecided)
            assert found == "not decided (nor is the error's growth)"
        rises = says.startswith("rises")
        says = "rises with m" if rises else "not decided (errors of 0)"
        zeros = falls | {"zeros_replaced": 1}
        assert summary.verdict(ends(slope), ends(difference), zeros) == says


@pytest.mark.drawn
def test_a_sweep_of_which_one_end_alone_reached_the_margin_is_shown(tmp_path):
    """The other trains for one epoch, to a margin that is out of reach."""
    folder, found = swept(
        tmp_path, "margin=1,1000", sizes=(32,), seeds=1, max_epochs=30
    )
    assert found["along"]["rows"] == [] and found["runs"]["used"] == 1
    text = (folder.path / "report.md").read_text()
    assert "Nothing can be told along margin: fewer than two of margin=1" in text


def changed(places, points, x=None, resolution=None):
    return summary._change(points, places, x, resolution)


def test_a_sweep_ends_where_its_networks_do():
    """A variant none of whose runs reached the margin is no end, and a seed without one no slope."""
    places = {"rate=0.1": 0.1, "rate=0.4": 0.4, "rate=300": 300.0}
    values = {("rate=0.1", 0): 0.2, ("rate=0.1", 1): 0.3, ("rate=0.4", 0): 0.1}
    points = [(v, seed, value) for (v, seed), value in values.items()]
    x = {(v, seed): places[v] for v, seed in values}
    found = changed(places, points, x)
    assert (found["from"], found["to"]) == ("rate=0.1", "rate=0.4")
    assert found["first"] == pytest.approx(0.25) and found["last"] == 0.1
    assert found["change"] == pytest.approx(np.log(0.1 / 0.2) / np.log(4))
    assert found["low"] is None  # one seed has both ends
    # An error of 0 has no logarithm, so there is no exponent; the ends stay.
    points.append(("rate=300", 0, 0.0))
    found = changed(places, points, x | {("rate=300", 0): 300.0}, 1e-3)
    assert found["to"] == "rate=300" and found["change"] is None


def test_along_training_each_network_stands_at_its_own_epochs():
    """Error = epochs^-1 at every one, whatever epochs those of a size and seed had."""
    of = [  # variant, m, seed, epochs, converged
        ("epoch=2", 64, 0, 2, False), ("epoch=200", 64, 0, 11, True), ("end", 64, 0, 11, True),
        ("epoch=2", 64, 1, 2, False), ("epoch=200", 64, 1, 17, True), ("end", 64, 1, 17, True),
        ("epoch=2", 512, 0, 2, False), ("epoch=200", 512, 0, 200, False), ("end", 512, 0, 411, True),
        ("epoch=2", 512, 1, 2, False), ("epoch=200", 512, 1, 200, False),
    ]  # fmt: skip
    rows = {}
    for variant, m, seed, epochs, converged in of:
        own = {
            "run": f"{variant}{m}{seed}", "m": m, "seed": seed, "epochs": epochs,
            "test_error": 1 / epochs, "converged": converged, "diverged": False, "variant": variant,
        }  # fmt: skip
        rows.setdefault(variant, {"results": [], "bounds": []})["results"].append(own)
    config = dataclasses.replace(
        TINY, measure_at=(2, 200), sizes=(64, 512), bounds=(), vary=None
    )
    study = types.SimpleNamespace(
        config=config,
        configs=along_training(config),
        problems={
            "": types.SimpleNamespace(
                test=lambda: types.SimpleNamespace(labels=np.zeros(1000))
            )
        },
    )
    found = {
        row["m"]: row
        for row in summary.along(study, rows)["rows"]
        if row["quantity"] == "test_error"
    }
    for size, ends in ((64, (11, 17)), (512, (411,))):
        assert found[size]["change"] == pytest.approx(-1)
        assert (found[size]["from"], found[size]["to"]) == ("epoch=2", "end")
        assert found[size]["last"] == pytest.approx(np.mean([1 / e for e in ends]))


def test_a_bound_that_some_networks_lack_is_held_against_the_error_of_the_others():
    """Seven times the error, but for m = 128, of which it says nothing."""
    errors = {(128, 0): 0.25, (512, 0): 0.13, (2048, 0): 0.09, (8192, 0): 0.08,
              (128, 1): 0.24, (512, 1): 0.14, (2048, 1): 0.09, (8192, 1): 0.07}  # fmt: skip
    rows = {"results": [], "bounds": []}
    for (m, seed), error in errors.items():
        rows["results"].append({"m": m, "seed": seed, "test_error": error})
        rows["bounds"].append({
            "bound": "bartlett_2017", "margin_rule": "target", "m": m, "seed": seed,
            "log_complexity": None if m == 128 else math.log(7 * error),
        })  # fmt: skip
    problem = types.SimpleNamespace(
        test=lambda: types.SimpleNamespace(labels=np.zeros(1000))
    )
    study = types.SimpleNamespace(
        config=dataclasses.replace(TINY, bounds=("bartlett_2017",)),
        problems={"": problem},
    )
    found = summary._of_variant(study, "", rows)
    difference = found["growth"]["bartlett_2017/target"]["difference"]
    assert difference["mean"] == pytest.approx(0, abs=1e-12)
    assert found["slopes"]["bartlett_2017/target"]["left_out"] == 2


@pytest.mark.slow
def test_networks_are_measured_on_the_way(tmp_path):
    """At an epoch they are those of the whole training up to there, whose end stays what it is."""
    small = dataclasses.replace(
        TINY, draws=1, save_weights=False, bounds=("bartlett_2017",), max_epochs=200
    )
    whole = run(small, tmp_path / "whole").path
    folder = run(dataclasses.replace(small, measure_at=(1, 3)), tmp_path / "a").path
    results, found = (
        read(folder, "results"),
        json.loads((folder / "summary.json").read_text()),
    )
    assert list(found["variants"]) == ["epoch=1", "epoch=3", "end"]
    epochs = {}
    for row in read(folder, "epochs"):
        own = {k: v for k, v in row.items() if k != "run"}
        epochs.setdefault(row["run"], []).append(own)
    for row in results:
        end = f"m{row['m']}_end_seed{row['seed']}_draw0"
        steps = int(row["epochs"])
        assert epochs[row["run"]] == epochs[end][:steps]
        if row["variant"] != "end":
            assert steps == min(
                int(row["variant"].removeprefix("epoch=")), len(epochs[end])
            )
    kept = ("m", "seed", "epochs", "test_error", "frobenius_norm")
    ends = [[r[k] for k in kept] for r in results if r["variant"] == "end"]
    assert ends == [[r[k] for k in kept] for r in read(whole, "results")]
    # All of them enter the means, though none but those of the end reached the margin.
    points = found["variants"]["epoch=1"]["by_size"]["test_error"]
    for size, cell in points.items():
        own = by_seed(results, "", "test_error", variant="epoch=1", m=size)
        assert cell["mean"] == pytest.approx(np.mean(list(own.values())))
    assert found["runs"]["total"] == len(ends)
    assert (
        found["along"]["places"]["epoch=3"] == 3
        and (folder / "figures/along.png").exists()
    )
    for changes, word in (
        ({"measure_at": (3, 1)}, "rising"),
        ({"measure_at": (1, 200)}, "--measure_at=200: training ends after 200"),
        ({"measure_at": (1,), "vary": "width=4,8"}, "--measure_at and --vary"),
    ):
        with pytest.raises(Refusal, match=word):
            run(dataclasses.replace(small, **changes), tmp_path / "b")


def test_bounds_that_are_not_available_are_named_with_their_reason(tmp_path, capsys):
    """Also where they are asked for afterwards, and no weights were kept to measure."""
    config = dataclasses.replace(
        TINY,
        sizes=(32,),
        seeds=1,
        draws=1,
        save_weights=False,
        bounds=("bartlett_2017",),
    )
    folder = run(config, tmp_path / "a").path
    assert json.loads((folder / "summary.json").read_text())["missing"] == {}
    names = ("bartlett_2017", "holdout_cp", "path_norm")
    run(dataclasses.replace(config, bounds=names), tmp_path / "a", redraw=True)
    text = (folder / "report.md").read_text()
    assert "2 of 3 bounds are not available: holdout" in text
    assert "path\\_norm (" in text or "path_norm (" in text
    assert "weights, and they were not kept: a new --out" in text
