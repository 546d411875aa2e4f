"""The program as it is run: through `run`, and through `python -m`."""

import dataclasses
import json
import re

import jax
import numpy as np
import pytest

from experiments.bounds_vs_samples import PROGRAM, tables
from experiments.bounds_vs_samples import report as report_module
from experiments.bounds_vs_samples import summary as summary_module
from experiments.lab import calls, formats, vary, versions
from experiments.lab import running as lab
from experiments.problems.hypersphere import Hypersphere
from nets import training
from nets.runs import make_layout
from tests import oracles
from tests.experiments.tiny import (
    TABLES,
    TINY,
    TINY_FLAGS,
    content,
    finish,
    program,
    programs_of_bounds,
    read,
    run,
)

# Where bounds are not the subject: they take longer to compile than a run to train.
FEW = ("bartlett_2017", "neyshabur_2018")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "tiny"
    run(TINY, out)
    return out


def test_the_folder_holds_what_was_promised(folder):
    names = {p.name for p in folder.iterdir()}
    expected = {
        "config.json",
        "versions.json",
        "summary.json",
        "report.md",
        "report.html",
        "checksums.sha256",
        ".lock",
    }
    expected |= {f"{t}.csv" for t in TABLES} | {
        "figures",
        "samples",
        "weights",
        "measured",
    }
    assert names == expected
    # nothing half-written
    assert [p.name for p in folder.rglob(".*")] == [".lock"]
    runs = {f"m{m}_seed{s}_draw{d}" for m in (32, 64) for s in (0, 1) for d in (0, 1)}
    for place in ("samples", "weights", "measured"):
        assert {p.stem for p in (folder / place).iterdir()} == runs
    assert len(read(folder, "results")) == 8
    assert len(read(folder, "layers")) == 16
    assert len(read(folder, "bounds")) == 8 * len(TINY.bounds) * 2
    for name, columns in tables.COLUMNS.items():
        assert tuple(read(folder, name)[0])[: len(columns)] == columns
    swept = set(vary.variable(type(TINY))) - {"problem"}
    assert {"width", "radii", "label_noise", "loss"} <= swept
    assert set(read(folder, "results")[0]) == {
        *tables.COLUMNS["results"], "problem", *swept,
    }  # fmt: skip


def test_results_agree_with_the_saved_weights(folder):
    """Every number of a row, recomputed in float64 from weights and data."""
    problem = calls.problem_of(TINY)
    assert isinstance(problem, Hypersphere)
    row = read(folder, "results")[5]
    assert row["run"] == "m64_seed0_draw1"
    saved = formats.read_tensors(folder / "weights" / f"{row['run']}.safetensors")
    other = formats.read_tensors(folder / "weights" / "m64_seed0_draw0.safetensors")
    kernels = [f"{i}/kernel" for i in range(2)]
    w, z, o = (
        [tensors[f"{when}/{k}"].astype(float) for k in kernels]
        for tensors, when in ((saved, "final"), (saved, "init"), (other, "final"))
    )
    biases = [saved[f"final/{i}/bias"].astype(float) for i in range(2)]
    draw = problem.draw(0, 64, 1)

    def margins(inputs, labels):
        logits = [oracles.forward(w, biases, x) for x in inputs]
        return [oracles.margin(f, y) for f, y in zip(logits, labels, strict=True)]

    train = margins(draw.inputs, draw.labels)
    fresh = problem.test()
    test = margins(fresh.inputs, fresh.labels)
    expected = {
        "train_error": oracles.margin_error(train, 0),
        "train_margin_error": np.mean(np.array(train) < 1.0),
        "test_error": oracles.margin_error(test, 0),
        "margin_median": np.median(train),
        "margin_q10": sorted(train)[5],
        "input_norm_max": 2.0,
        "distance_from_init": oracles.frobenius(np.concatenate([np.ravel(a - b) for a, b in zip(w, z, strict=True)])),
        "distance_between_draws": oracles.frobenius(np.concatenate([np.ravel(a - b) for a, b in zip(w, o, strict=True)])),
        "spectral_product": np.prod([oracles.spectral(a) for a in w]),
        "frobenius_norm": oracles.frobenius(np.concatenate([np.ravel(a) for a in w])),
    }  # fmt: skip
    for name, value in expected.items():
        assert float(row[name]) == pytest.approx(value, rel=3e-4, abs=1e-9), name
    assert row["converged"] == "true" and row["diverged"] == "false"
    assert (
        float(row["test_error_low"])
        < float(row["test_error"])
        < float(row["test_error_high"])
    )
    assert int(row["steps"]) == 64 * int(row["epochs"])

    bound = next(
        b for b in read(folder, "bounds")
        if (b["run"], b["bound"], b["margin_rule"]) == (row["run"], "bartlett_2017", "median")
    )  # fmt: skip
    moved = [a - b for a, b in zip(w, z, strict=True)]
    excess = oracles.excess_bartlett_2017(w, moved, 1.0, np.median(train), 64)
    assert float(bound["excess"]) == pytest.approx(excess, rel=1e-3)
    assert float(bound["empirical"]) == pytest.approx(0.5)
    assert float(bound["value"]) == pytest.approx(excess + 0.5, rel=1e-3)


def test_epochs_end_where_the_results_say(folder):
    epochs = read(folder, "epochs")
    for row in read(folder, "results"):
        own = [e for e in epochs if e["run"] == row["run"]]
        assert [int(e["epoch"]) for e in own] == list(range(1, int(row["epochs"]) + 1))
        errors = [float(e["train_margin_error"]) for e in own]
        assert (
            errors[-1]
            == float(row["train_margin_error"])
            <= 0.1
            < min(errors[:-1] + [1])
        )


def test_draws_share_the_initial_weights_and_sizes_too(folder):
    load = formats.read_tensors
    weights = {p.stem: load(p) for p in (folder / "weights").iterdir()}
    first = weights["m32_seed0_draw0"]
    for name in ("m32_seed0_draw1", "m64_seed0_draw0"):
        np.testing.assert_array_equal(
            weights[name]["init/0/kernel"], first["init/0/kernel"]
        )
        assert not np.array_equal(
            weights[name]["final/0/kernel"], first["final/0/kernel"]
        )
    other = weights["m32_seed1_draw0"]["init/0/kernel"]
    assert not np.array_equal(other, first["init/0/kernel"])


def test_a_run_is_the_same_whatever_runs_beside_it(folder, tmp_path):
    alone = tmp_path / "alone"
    run(
        dataclasses.replace(TINY, sizes=(32,), seeds=1),
        alone,
        layout=make_layout(jax.devices()[:1]),
    )
    for table, rows in content(alone).items():
        key = "run" if table == "epochs" else "m"
        among = [
            r for r in content(folder)[table] if r[key] in {row[key] for row in rows}
        ]
        among = [r for r in among if "seed0" in r["run"]]
        assert rows == among


def test_runs_and_measures_are_the_same_in_as_many_lanes_as_fit(folder, tmp_path):
    own = make_layout(jax.devices()[:1], 64, vectorized=True)
    small = dataclasses.replace(TINY, sizes=(32,), bounds=FEW)
    out = tmp_path / "out"
    run(small, out, layout=dataclasses.replace(own, memory=2**24))
    names = {row["run"] for row in read(out, "results")}
    expected = [row for row in read(folder, "results") if row["run"] in names]
    assert len(names) == len(expected) > 1
    columns = ("epochs", "test_error", "margin_median", "spectral_product")
    for found, other in zip(read(out, "results"), expected, strict=True):
        for column in columns:
            assert float(found[column]) == pytest.approx(float(other[column]), rel=1e-4)


def test_programs_of_bounds_are_compiled_while_measuring_is(tmp_path, monkeypatch):
    """Those that are run, at each of two margins; of runs of several sizes."""
    asked = programs_of_bounds(monkeypatch)
    bounds = *FEW, "path_norm"
    run(dataclasses.replace(TINY, bounds=bounds), tmp_path / "out")
    without, target, median = asked["call"]
    assert asked["compile_for_call"] == [without, target] and target == median


def test_summary_and_report(folder):
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["runs"] == {
        "total": 8,
        "used": 8,
        "not_converged": [],
        "diverged": [],
    }
    own = [r for r in read(folder, "results") if r["seed"] == "1"]
    means = [
        np.log(np.mean([float(r["distance_from_init"]) for r in own if r["m"] == m]))
        for m in ("32", "64")
    ]
    slopes = summary["variants"][""]["slopes"]["distance_from_init"]
    expected = oracles.slope(list(np.log([32, 64])), means)
    assert slopes["per_seed"][1] == pytest.approx(expected)
    html = (folder / "report.html").read_text()
    assert html.count("data:image/png;base64,") == 5 and "://" not in html
    for path in (folder / "figures").iterdir():
        assert path.read_bytes()[:4] == b"\x89PNG"
    for line in re.findall(r"\]\((.*?)\)", (folder / "report.md").read_text()):
        assert (folder / line).exists()


def test_a_finished_folder_is_shown_not_run_again(folder, capsys, monkeypatch):
    before = {p: p.stat().st_mtime_ns for p in folder.rglob("*") if p.is_file()}
    monkeypatch.setattr(lab.training, "train", None)  # would raise
    run(TINY, folder, resume=True)
    assert {p: p.stat().st_mtime_ns for p in folder.rglob("*") if p.is_file()} == before
    assert "8 of 8 runs" in capsys.readouterr().out


@pytest.mark.slow
def test_a_bound_that_needs_what_was_not_measured_is_had_later(tmp_path, monkeypatch):
    """By default, without training: as if it had been asked for at first."""
    few = dataclasses.replace(
        TINY, sizes=(32,), seeds=1, bounds=("bartlett_2017",), save_weights=True
    )
    wanted = dataclasses.replace(
        few, bounds=("neyshabur_2015_path_l2", "bartlett_2017")
    )
    run(wanted, tmp_path / "at_once")
    run(few, tmp_path / "later")
    monkeypatch.setattr(lab.training, "train_many", None)  # would raise
    run(wanted, tmp_path / "later", redraw=True)
    found = {
        (r["run"], r["bound"]): r["value"] for r in read(tmp_path / "later", "bounds")
    }
    assert {bound for _, bound in found} == set(wanted.bounds) and all(found.values())
    assert content(tmp_path / "later") == content(tmp_path / "at_once")


def test_redraw_measures_the_saved_weights_again(folder, tmp_path):
    before = content(folder)
    (folder / "bounds.csv").write_text("spoilt")
    for path in (folder / "figures").iterdir():
        path.unlink()
    run(TINY, folder, redraw=True)
    assert content(folder) == before and len(list((folder / "figures").iterdir())) == 5


def test_redraw_without_weights_uses_what_was_measured(tmp_path):
    config = dataclasses.replace(
        TINY, save_weights=False, sizes=(32,), seeds=1, bounds=FEW
    )
    run(config, tmp_path / "a")
    assert not (tmp_path / "a" / "weights").exists()
    before = content(tmp_path / "a")
    fewer = dataclasses.replace(
        config, bounds=("bartlett_2017",), input_norm="included"
    )
    run(fewer, tmp_path / "a", redraw=True)
    after = content(tmp_path / "a")
    assert after["results"] == before["results"] and len(after["bounds"]) == 4
    kept = next(b for b in before["bounds"] if b["bound"] == "bartlett_2017")
    ratio = float(after["bounds"][0]["excess"]) / float(kept["excess"])
    assert ratio == pytest.approx(2.0)  # B = 2, the outer radius


@pytest.mark.drawn
def test_runs_that_do_not_converge_are_marked_and_left_out(tmp_path):
    config = dataclasses.replace(
        TINY, max_epochs=1, margin=50.0, save_weights=False, bounds=FEW
    )
    run(config, tmp_path / "a")
    rows = read(tmp_path / "a", "results")
    assert {r["converged"] for r in rows} == {r["diverged"] for r in rows} == {"false"}
    summary = json.loads((tmp_path / "a" / "summary.json").read_text())
    assert summary["runs"]["used"] == 0 and len(summary["runs"]["not_converged"]) == 8
    assert "8 ran into --max_epochs" in (tmp_path / "a" / "report.md").read_text()


@pytest.mark.drawn
def test_runs_that_diverge_are_marked_and_left_out(tmp_path):
    config = dataclasses.replace(
        TINY, loss="squared", learning_rate=1e6, sizes=(32,), bounds=FEW
    )
    run(config, tmp_path / "a")
    assert {r["diverged"] for r in read(tmp_path / "a", "results")} == {"true"}
    assert {b["status"] for b in read(tmp_path / "a", "bounds")} == {
        "not available: the run diverged"
    }
    summary = json.loads((tmp_path / "a" / "summary.json").read_text())
    assert len(summary["runs"]["diverged"]) == 4


def test_one_draw_has_no_distance_between_draws(tmp_path):
    names = ("bartlett_2017_between_draws", "bartlett_2017")
    config = dataclasses.replace(
        TINY, draws=1, sizes=(32,), label_noise=0.5, bounds=names
    )
    run(config, tmp_path / "a")
    rows = read(tmp_path / "a", "results")
    assert {r["distance_between_draws"] for r in rows} == {""}
    assert all(0.2 < float(r["test_error_noisy"]) < 0.8 for r in rows)
    status = {b["bound"]: b["status"] for b in read(tmp_path / "a", "bounds")}
    assert (
        status["bartlett_2017_between_draws"]
        == "not available: there is no second draw"
    )
    assert status["bartlett_2017"] == "up to constants"


@pytest.mark.slow
def test_real_digits_with_each_loss(tmp_path, mnist_sample):
    for loss in ("softmax", "squared"):
        config = dataclasses.replace(
            calls.settings_of(PROGRAM, "mnist", "paper"), data_dir=str(mnist_sample), width=40, depth=2,
            sizes=(100, 400), seeds=1, draws=2, draw_rule="disjoint", batch_size=10,
            loss=loss, margin=2.0, shuffle=True, learning_rate=0.1, loss_target=0.03,
        )  # fmt: skip
        out = tmp_path / loss
        run(config, out)
        rows = read(out, "results")
        assert all(r["converged"] == "true" for r in rows)
        errors = [float(r["test_error"]) for r in rows]
        assert np.mean(errors[2:]) < np.mean(errors[:2]) < 0.5
        if loss == "squared":
            ends = {e["run"]: float(e["loss"]) for e in read(out, "epochs")}
            assert max(ends.values()) <= 0.03
        status = {b["bound"]: b["status"] for b in read(out, "bounds")}
        assert status["neyshabur_2019"].startswith("not available: speaks of 2")
        indices = np.load(out / "samples" / "m400_seed0_draw0.npz")["indices"]
        assert len(set(indices)) == 400


@pytest.mark.slow
def test_through_the_command_line(folder, tmp_path):
    out = tmp_path / "cli"
    code, printed, errors = finish(
        program(*TINY_FLAGS, f"--out={out}", "--devices=2", drawn=True)
    )
    assert code == 0, errors
    assert errors == ""  # no progress, no warnings where there is no terminal
    assert "8 of 8 runs" in printed and "neyshabur_2018_between_draws" in printed
    assert content(out) == content(folder)
    for path in (out / "figures").iterdir():
        assert path.stat().st_size > 10_000


@pytest.mark.slow
@pytest.mark.drawn
def test_negative_margins_are_left_out_of_slopes_not_fatal(tmp_path):
    config = dataclasses.replace(
        TINY, threshold=1.0, label_noise=1.0, learning_rate=1e-4, sizes=(32, 64, 96),
        bounds=FEW,
    )  # fmt: skip
    run(config, tmp_path / "a")
    rows = read(tmp_path / "a", "results")
    negative = [r for r in rows if float(r["margin_median"]) <= 0]
    assert negative
    reasons = {
        b["status"]
        for b in read(tmp_path / "a", "bounds")
        if b["run"] == negative[0]["run"] and b["margin_rule"] == "median"
    }
    assert reasons == {"not available: the margin is not positive"}
    summary = json.loads((tmp_path / "a" / "summary.json").read_text())
    assert summary["variants"][""]["slopes"]["margin_median"]["left_out"] > 0


def test_without_git_the_commit_is_not_known(monkeypatch):
    def no_git(*args, **kwargs):
        raise FileNotFoundError("git")

    monkeypatch.setattr(versions.subprocess, "run", no_git)
    found = versions.versions.__wrapped__()  # asked anew
    assert found["commit"] is None and found["uncommitted_changes"] is None


def test_one_program_trains_all_sizes(tmp_path, monkeypatch):
    compiled = []
    original = training.advance
    monkeypatch.setattr(
        training, "advance", lambda *args: compiled.append(1) or original(*args)
    )
    # A plan that no other test trains by, whose program would be there already.
    run(dataclasses.replace(TINY, max_epochs=77, bounds=FEW), tmp_path / "a")
    assert len(compiled) == 1


@pytest.mark.slow
def test_slopes_of_a_certified_bound_are_of_its_complexity(tmp_path):
    """Its value stops near 1, and its excess there would fall with m whatever is learned."""
    name = "golowich_2018_frobenius_certified"
    config = dataclasses.replace(TINY, bounds=(name,), save_weights=False)
    run(config, tmp_path / "a")
    rows = [r for r in read(tmp_path / "a", "bounds") if r["margin_rule"] == "own"]
    summary = json.loads((tmp_path / "a" / "summary.json").read_text())
    for size, cell in summary["variants"][""]["by_size"][f"{name}/own"].items():
        logs = [float(r["log_complexity"]) for r in rows if r["m"] == size]
        assert cell["mean"] == pytest.approx(np.mean(np.exp(logs)))
    assert {r["status"] for r in rows} == {"certified"}


@pytest.mark.slow
def test_measures_of_how_training_went(tmp_path):
    """Sums over epochs.csv; the first epoch trained again is the first epoch."""
    names = (
        "sotl",
        "sotl_10",
        "steps_to_01",
        "gradient_noise_epoch1",
        "gradient_noise_final",
    )
    small = dataclasses.replace(TINY, sizes=(32,), seeds=1, bounds=names)
    whole = run(small, tmp_path / "whole").path
    short = run(dataclasses.replace(small, max_epochs=1), tmp_path / "short").path

    def values(folder):
        rows = read(folder, "bounds")
        return {(row["run"], row["bound"]): row["value"] for row in rows}

    found, after_one = values(whole), values(short)
    for name in {row["run"] for row in read(whole, "results")}:
        losses = [float(r["loss"]) for r in read(whole, "epochs") if r["run"] == name]
        assert float(found[name, "sotl"]) == pytest.approx(sum(losses), rel=1e-5)
        assert float(found[name, "sotl_10"]) == pytest.approx(
            sum(losses[-10:]), rel=1e-5
        )
        below = [n for n, loss in enumerate(losses) if loss <= 0.1]
        steps = (below[0] + 1) * 32 // small.batch_size if below else float("inf")
        assert float(found[name, "steps_to_01"]) == steps
        first = float(found[name, "gradient_noise_epoch1"])
        assert first == pytest.approx(float(after_one[name, "gradient_noise_final"]))
        assert first != pytest.approx(float(found[name, "gradient_noise_final"]))


def test_a_network_with_a_preset_of_its_own_is_hinted_at_before_it_trains(
    mnist_sample, tmp_path, monkeypatch, capsys
):
    """By the paper's protocol no convolutional network reaches its margin."""

    def hints(preset, **typed):
        return PROGRAM.hints(calls.settings_of(PROGRAM, "mnist", preset, typed))

    (line,) = hints("paper", network="cnn")
    assert line.startswith("--network=cnn: ") and "--preset=cnn" in line
    assert "(loss sigmoid, batch size 1, margin 10.0)" in line
    assert hints("paper", vary="network=mlp,cnn") == [line]
    assert hints("cnn") == hints("paper") == hints("cnn", width=8) == []
    # Whoever has changed the protocol knows of it.
    assert hints("paper", network="cnn", loss="softmax") == []

    def trains(*_):
        raise InterruptedError(capsys.readouterr().err)

    monkeypatch.setattr(lab, "_train_and_measure", trains)
    typed = {
        "network": "cnn",
        "data_dir": str(mnist_sample),
        "sizes": (32,),
        "seeds": 1,
        "draw_rule": "without_replacement",
    }
    config = calls.settings_of(PROGRAM, "mnist", "paper", typed)
    with pytest.raises(InterruptedError) as said:
        run(config, tmp_path / "out")
    assert str(said.value).count(line) == 1


def test_the_answer_says_what_is_not_known_and_why():
    def answer(verdict, by_size=("1", "2"), mean=-0.5):
        slope = {"mean": mean, "low": -0.6, "high": -0.4}
        growth = {"difference": {"low": None}}
        found = {
            "by_size": {"test_error": dict.fromkeys(by_size)}, "spoken_of": "test_error", "slopes": {"test_error": slope},
            "verdicts": {}, "growth": {},
        }  # fmt: skip
        for name in ("bartlett_2017", "neyshabur_2018"):
            key = summary_module.at(name, "target")
            found["slopes"][key], found["growth"][key] = slope, growth
            found["verdicts"][key] = verdict
        whole = {
            "variants": {"": found}, "bounds": ["bartlett_2017", "neyshabur_2018"], "along": None,
            "runs": {"used": 1, "total": 1, "not_converged": [], "diverged": []}, "refuted": [],
        }  # fmt: skip
        return report_module._answer(whole)[0]

    assert answer("rises with m").endswith("each by its own 95% interval, 2 rise with m; none falls as the error does.")  # fmt: skip
    undecided = answer(summary_module.UNDECIDED)
    assert undecided.endswith(
        "each by its own 95% interval, 0 rise with m; 2 are not decided."
    )
    assert "; 2 fall less than the error, if at all; none" in answer("falls less than")
    assert "; 2 cannot be told from the error's fall" in answer("goes as the error")
    assert "no run has reached the margin; give" in answer("", (), None)
    assert "told: it needs two sizes." in answer("", ("1",), None)
    assert "two sizes with an error that is not 0." in answer("", ("1", "2"), None)
