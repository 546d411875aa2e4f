"""Killed at any moment: nothing is lost, and the tables come out the same."""

import dataclasses
import signal
import time
import types

import jax
import numpy as np
import pytest

from experiments.bounds_vs_samples import PROGRAM
from experiments.lab import calls, checkpoints, settings
from experiments.lab import running as lab
from experiments.lab.jobs import Trained
from experiments.lab.progress import Progress
from nets.runs import make_layout
from tests.experiments import tiny_failure
from tests.experiments.tiny import TINY, content, finish, program, read, run


def killed(out, when, *flags):
    """Starts the program and kills it as soon as `when()` holds."""
    process = program(f"--out={out}", "--checkpoint_seconds=0", *flags)
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline and not when():
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    finish(process)


@pytest.mark.parametrize(
    ("shuffle", "kills"),
    [
        (True, 1),
        pytest.param(True, 2, marks=pytest.mark.slow),
        pytest.param(False, 2, marks=pytest.mark.slow),
    ],
)
def test_killed_and_resumed_as_if_nothing_had_happened(tmp_path, shuffle, kills):
    """Killed when some runs are finished and two half-way; resumed on one device, where
    one of the two has to wait; if it is killed there again, resumed on two.

    What is not killed runs here: a process of its own costs seconds, and adds nothing.
    """
    typed = {
        "dim": 10, "width": 200, "n_test": 200, "draws": 1, "sizes": (32, 1500, 2048),
        "seeds": 2, "margin": 1000.0, "shuffle": shuffle, "bounds": ("bartlett_2017",),
        "max_epochs": 30 if kills == 1 else 600,  # slow tests are compiled to be fast
    }  # fmt: skip
    config = calls.settings_of(PROGRAM, "hypersphere", None, typed)
    flags = ["--problem=hypersphere"]
    flags += [f"--{n}={settings.shown(v)}" for n, v in typed.items()]
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    # The last to resume has as many devices as the whole, of whose programs it makes use.
    layout = make_layout(jax.devices()[:kills])
    run(config, whole, layout=layout)

    trained = broken / "checkpoints" / "trained"
    unfinished = broken / "checkpoints" / "unfinished"

    def number():
        """Of the newest whole checkpoint."""
        names = [p.name for p in unfinished.glob("*")]
        return max((int(name) for name in names if name.isdigit()), default=-1)

    def half_way():
        like = {"state": {}, "checks": 0, "seconds": 0}
        return set(checkpoints.restore(unfinished, lambda name: like))

    first = [trained / f"m2048_seed{s}_draw0.safetensors" for s in (0, 1)]
    second = {f"m1500_seed{s}_draw0" for s in (0, 1)}
    seen = []

    def second_pair_is_saved():
        if all(path.exists() for path in first):
            seen.append(number())
            return seen[-1] > seen[0]

    killed(broken, second_pair_is_saved, *flags, "--devices=2")
    assert {p.stem for p in trained.glob("*")} == {p.stem for p in first}
    assert half_way() == second and not (broken / "results.csv").exists()

    if kills == 2:
        last = number()
        killed(broken, lambda: number() > last, "--resume", "--devices=1")
        assert half_way() == second  # the one that waits is not forgotten

    run(config, broken, resume=True, layout=layout)
    assert content(broken) == content(whole)
    assert not (broken / "checkpoints").exists()


def test_killed_while_checkpoints_are_removed(tmp_path, monkeypatch):
    """All trained, and what is left of the checkpoint is not one any more."""
    config = dataclasses.replace(
        TINY, sizes=(32,), seeds=1, save_weights=False, bounds=("bartlett_2017",)
    )
    with monkeypatch.context() as patch:
        patch.setattr(lab.measuring, "measure", None)
        with pytest.raises(TypeError):
            run(config, tmp_path / "a")
    assert len(list((tmp_path / "a" / "checkpoints" / "trained").iterdir())) == 2
    (tmp_path / "a" / "checkpoints" / "unfinished" / "3").mkdir(parents=True)
    run(config, tmp_path / "a", resume=True)
    assert len(read(tmp_path / "a", "results")) == 2


def test_killed_while_it_is_drawn_again(tmp_path, monkeypatch):
    """The folder is unfinished then, and is brought to the new settings by --resume."""
    config = dataclasses.replace(
        TINY, sizes=(32,), seeds=1, save_weights=False,
        bounds=("bartlett_2017", "neyshabur_2018"),
    )  # fmt: skip
    run(config, tmp_path / "a")
    fewer = dataclasses.replace(config, bounds=("bartlett_2017",))
    with monkeypatch.context() as patch:
        patch.setattr(lab, "_write", None)
        with pytest.raises(TypeError):
            run(fewer, tmp_path / "a", redraw=True)
    assert not (tmp_path / "a" / "report.html").exists()
    monkeypatch.setattr(lab.training, "train_many", None)  # would raise
    run(fewer, tmp_path / "a", resume=True)
    assert {b["bound"] for b in read(tmp_path / "a", "bounds")} == {"bartlett_2017"}


@pytest.mark.parametrize(
    "gone", ["measured", pytest.param("all", marks=pytest.mark.slow)]
)
def test_what_is_measured_is_not_trained_again_for_another_that_is_not(
    tmp_path, monkeypatch, gone
):
    """Without weights only the runs of a size and seed of which something is lacking."""
    config = dataclasses.replace(
        TINY, sizes=(32, 64), seeds=2, save_weights=False, bounds=("bartlett_2017",)
    )
    out, trained, train_many = tmp_path / "a", [], lab.training.train_many
    run(config, out)
    before = read(out, "results")
    lost = "m64_seed1_draw0"
    for path in (out / "measured").iterdir():
        if gone == "all" or path.stem == lost:
            path.unlink()

    def seen(plan, jobs, *rest):
        trained.extend(run.name for run in jobs)
        return train_many(plan, jobs, *rest)

    monkeypatch.setattr(lab.training, "train_many", seen)
    run(config, out, resume=True)
    expected = {row["run"] for row in before}
    if gone == "measured":  # draws of a size and seed may be compared
        expected = {name for name in expected if name.startswith("m64_seed1")}
        assert expected == {lost, "m64_seed1_draw1"}
    assert set(trained) == expected
    for row, other in zip(read(out, "results"), before, strict=True):
        assert row["test_error"] == other["test_error"]


@pytest.mark.parametrize(
    ("interval", "takes", "apart"), [(20, 5, 50), (20, 0.1, 20), (0, 5, 0)]
)
def test_checkpoints_take_a_tenth_of_the_time_at_most(
    interval, takes, apart, monkeypatch
):
    """By a clock of the test's; 0 is as often as can be."""
    now, began, ended = [100.0], [], [100.0]
    clock = types.SimpleNamespace(monotonic=lambda: now[0])
    monkeypatch.setattr(checkpoints, "time", clock)
    pace = checkpoints.Pace(interval)
    for _ in range(2000):
        now[0] += 0.25
        if pace.is_due():
            began.append(now[0])
            with pace.saving():
                now[0] += takes
            ended.append(now[0])
    waits = [start - end for start, end in zip(began, ended, strict=False)]
    assert waits[0] == pytest.approx(max(interval, 0.25), abs=0.5)
    assert len(waits) > 5 and waits[1:] == pytest.approx(
        [max(apart, 0.25)] * (len(waits) - 1), abs=0.5
    )


def test_a_checkpoint_before_the_first_epoch_can_be_stored(tmp_path):
    trees = {"a": {"checks": np.zeros((0, 3), np.float32), "x": np.arange(3.0)}}
    for _ in range(2):
        checkpoints.save(tmp_path / "c", trees)
    found = checkpoints.restore(tmp_path / "c", lambda name: {"checks": 0, "x": 0})
    jax.tree.map(np.testing.assert_array_equal, found, trees)
    assert [p.name for p in (tmp_path / "c").iterdir()] == ["1"]
    assert checkpoints.restore(tmp_path / "nowhere", None) == {}


class Interruption(Exception):
    """Stands for a kill between two ticks."""


@pytest.mark.slow
@pytest.mark.parametrize("vary", [None, "width=20,30"])
def test_uc_failure_is_interrupted_and_goes_on(tmp_path, monkeypatch, vary):
    """With one kind of runs, and with two: each has its own compiled program."""
    config = tiny_failure.tiny(
        "hypersphere", dim=20, width=30, sizes=(64, 512), seeds=2, n_test=100, watch=16,
        margin=50.0, max_epochs=60, vary=vary,
    )  # fmt: skip
    tiny_failure.run(config, tmp_path / "whole")

    ticks = []

    def interrupt(self, tick):
        ticks.append(tick)
        if len(ticks) == 2:
            raise Interruption

    for _ in range(2):
        with monkeypatch.context() as patched:
            patched.setattr(Progress, "trained", interrupt)
            ticks.clear()
            with pytest.raises(Interruption):
                tiny_failure.run(
                    config, tmp_path / "broken", checkpoint_seconds=0,
                    resume=(tmp_path / "broken").exists(),
                )  # fmt: skip
    assert not (tmp_path / "broken" / "results.csv").exists()
    tiny_failure.run(config, tmp_path / "broken", resume=True)
    for table in ("results", "epochs"):
        whole, broken = (
            [
                {k: v for k, v in row.items() if k != "seconds"}
                for row in read(tmp_path / name, table)
            ]
            for name in ("whole", "broken")
        )
        assert whole == broken
    assert not (tmp_path / "broken" / "checkpoints").exists()


@pytest.mark.slow
def test_what_first_epochs_learned_is_on_disk_and_resumed(
    tmp_path, interrupted_after, monkeypatch
):
    """No run's first epoch is trained again, whichever of them was stopped."""
    config = dataclasses.replace(
        TINY, draws=1, max_epochs=4, bounds=("gradient_noise_epoch1",)
    )
    whole, broken, later = tmp_path / "whole", tmp_path / "broken", []
    run(config, whole)
    with interrupted_after(6) as stored:
        run(config, broken)
    store = Trained.store
    monkeypatch.setattr(
        Trained, "store", lambda self, run, *rest: later.append(run) or store(self, run, *rest)
    )  # fmt: skip
    run(config, broken, resume=True)
    names = [one.name for one in (*stored, *later)]
    assert len(names) == len(set(names)) == 8
    assert sum(name.startswith("first_epoch_") for name in names) == 4
    assert [one.name.startswith("first_epoch_") for one in stored] == [False] * 4 + [
        True
    ] * 2
    assert content(broken) == content(whole)
