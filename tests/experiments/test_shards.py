"""Shares of a study, each by a process of its own: together they are the whole."""

import dataclasses
import json
import shutil
from pathlib import Path

import pytest

from experiments.beyond_uc import PROGRAM as BEYOND_UC
from experiments.bounds_vs_samples import PROGRAM as BOUNDS_VS_SAMPLES
from experiments.certify import PROGRAM as CERTIFY
from experiments.lab import checksums, formats, running
from experiments.lab.calls import settings_of
from experiments.lab.refusals import Refusal
from experiments.lab.shards import Shard, shard_of
from experiments.uc_failure import PROGRAM as UC_FAILURE
from tests.conftest import MNIST_SAMPLE
from tests.experiments import tiny_failure
from tests.experiments.tiny import TINY, run

# Two draws of a seed and size are compared, and each is measured after its first epoch, too.
PAIRS = dataclasses.replace(
    TINY, seeds=3, width=12, max_epochs=4,
    bounds=("bartlett_2017_between_draws", "gradient_noise_epoch1"),
)  # fmt: skip
CASES = {
    "bounds_vs_samples": (BOUNDS_VS_SAMPLES, lambda: PAIRS, 2),
    "uc_failure": (UC_FAILURE, lambda: tiny_failure.tiny("linear"), 2),
    "certify": (
        CERTIFY,
        lambda: settings_of(CERTIFY, "mnist", "perez_ortiz", {
            "data_dir": str(MNIST_SAMPLE), "size": 600, "width": 16, "depth": 1,
            "batch_size": 50, "seeds": 2, "prior_epochs": 2, "epochs": 1,
            "bounds": ("blanchard_2007_single_draw",), "route": "single_draw",
        }), 2,
    ),
    "beyond_uc": (
        BEYOND_UC,
        lambda: BEYOND_UC.resolved(settings_of(BEYOND_UC, "linear", None, {
            "dim": 512, "sizes": (8, 16), "seeds": 2, "n_test": 300, "replaced": 3,
            "models": 3, "tool": ("stability", "disagreement"),
        })), 3,
    ),
}  # fmt: skip
SLOW = ("certify", "beyond_uc", "uc_failure")


def tables(folder):
    """name -> its rows, without seconds."""
    return {
        path.name: [
            {k: v for k, v in row.items() if "seconds" not in k}
            for row in formats.read_table(path)
        ]
        for path in sorted(folder.glob("*.csv"))
    }


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow) if n in SLOW else n for n in CASES]
)
def test_shards_together_are_one_process_s_tables(tmp_path, name, capsys):
    program, config, count = CASES[name]
    config, out = config(), tmp_path / "shared"
    run(config, tmp_path / "whole", program)
    for index in range(1, count + 1):
        shard = Shard(index, count)
        folder = run(config, out, program, shard=shard).path
        assert folder == tmp_path / f"shared.shard{index}of{count}"
        assert not list(folder.glob("*.csv")) and not (folder / "report.html").exists()
        # Its runs go on as those of any folder; what is done is not done again.
        before = {p: p.stat().st_mtime_ns for p in (folder / "measured").iterdir()}
        run(config, out, program, shard=shard, resume=True)
        assert before == {p: p.stat().st_mtime_ns for p in before}
    capsys.readouterr()
    run(config, out, program)
    shown = capsys.readouterr()
    assert f"{count} shards" in shown.out + shown.err
    assert tables(out) == tables(tmp_path / "whole") != {}
    summaries = [
        json.loads((tmp_path / place / "summary.json").read_text())
        for place in ("shared", "whole")
    ]
    if name == "bounds_vs_samples":
        assert summaries[0] == summaries[1]
    # The whole does not need them any more.
    for path in tmp_path.glob("shared.shard*"):
        shutil.rmtree(path)
    run(config, out, program, resume=True)


def test_every_run_is_in_one_share_and_those_of_a_group_are_together():
    study = BOUNDS_VS_SAMPLES.study(
        dataclasses.replace(PAIRS, sizes=(16, 32, 64, 128), seeds=5)
    )
    parts = [Shard(index, 4).part_of(study) for index in range(1, 5)]
    names = [s.name for part in parts for s in part.subjects]
    assert sorted(names) == sorted(s.name for s in study.subjects)
    for stage in range(len(study.stages)):
        runs = [run for part in parts for run in part.stages[stage].runs]
        assert len(runs) == len(set(runs)) == len(study.stages[stage].runs)
    places = {}
    for number, part in enumerate(parts):
        for stage in part.stages:
            for one in stage.runs:
                place = one.size, one.seed
                assert places.setdefault(place, number) == number
    work = [sum(r.size for stage in part.stages for r in stage.runs) for part in parts]
    # The least loaded takes the next, the largest first: nobody waits for more than the largest.
    assert max(work) - min(work) <= 4 * 128


@pytest.fixture
def two(tmp_path):
    """The folder of the whole, not made yet, with both its shards beside it."""
    config = tiny_failure.tiny("linear", sizes=(8,))
    for index in (1, 2):
        run(config, tmp_path / "out", UC_FAILURE, shard=Shard(index, 2))
    return config, tmp_path / "out"


@pytest.mark.slow
def test_a_shard_s_folder_is_not_that_of_a_whole(two):
    """Gone on with as one it would train all runs of the study."""
    config, out = two
    first = out.with_name("out.shard1of2")
    go_on = rf"--out={out} --shard=1/2 --resume"
    for how in ({}, {"resume": True}, {"redraw": True}):
        with pytest.raises(Refusal, match=f"is the folder of a shard; {go_on} goes on"):
            running.run(UC_FAILURE, config, first, **how)
    measured = next((first / "measured").iterdir())
    assert f"{go_on} makes it again" in str(checksums.damage(measured, first))
    assert "--out=a/b --resume" in str(checksums.damage(Path("a/b/c"), Path("a/b")))


def test_a_shard_that_lacks_something_again_is_not_done(two, monkeypatch):
    """Killed while it is made again, after an update of the code, say."""
    config, out = two
    second = out.with_name("out.shard2of2")
    for path in (second / "measured").iterdir():
        path.unlink()
    with monkeypatch.context() as patch, pytest.raises(TypeError):
        patch.setattr(running.measuring, "measure", None)
        run(config, out, UC_FAILURE, shard=Shard(2, 2), resume=True)
    assert not shard_of(second)
    with pytest.raises(Refusal, match="not done yet"):
        run(config, out, UC_FAILURE)
    run(config, out, UC_FAILURE, shard=Shard(2, 2), resume=True)
    assert shard_of(second) == "2/2" and run(config, out, UC_FAILURE).is_finished


def test_what_another_number_of_processes_has_measured_is_not_trained_again(
    tmp_path, monkeypatch
):
    config = dataclasses.replace(
        TINY, seeds=2, draws=1, save_weights=False, bounds=("bartlett_2017",)
    )
    for index in (1, 2):
        run(config, tmp_path / "a", shard=Shard(index, 3))
    there = {p.stem for p in tmp_path.glob("a.shard*of3/measured/*")}
    trained, train_many = [], running.training.train_many

    def seen(plan, jobs, *rest):
        trained.extend(one.name for one in jobs)
        return train_many(plan, jobs, *rest)

    monkeypatch.setattr(running.training, "train_many", seen)
    run(config, tmp_path / "a", shard=Shard(1, 2), processes=2)
    assert trained and not there & set(trained)


def test_shards_that_will_not_do_are_named_and_nothing_is_written(two):
    config, out = two
    second = out.with_name("out.shard2of2")

    def refused(*words, **changes):
        changed = dataclasses.replace(config, **changes)
        with pytest.raises(Refusal) as caught:
            running.run(UC_FAILURE, changed, out)
        assert all(word in str(caught.value) for word in words), caught.value
        assert not out.exists()

    refused("out.shard1of2", "other settings", "dim=", dim=401)
    aside = second.rename(out.with_name("aside"))
    refused("out.shard2of2 is not there", "--shard=2/2")
    aside.rename(second)
    third = shutil.copytree(second, out.with_name("out.shard3of3"))
    refused("shards of 2 and of 3")
    shutil.rmtree(third)
    done = second / "shard.json"
    kept = done.read_bytes()
    done.unlink()
    refused("not done yet", "--shard=2/2 --resume")
    done.write_bytes(kept)
    measured = next((second / "measured").iterdir())
    whole = measured.read_bytes()
    measured.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    refused(measured.name, "damaged")
    measured.write_bytes(whole)
    assert running.run(UC_FAILURE, config, out).is_finished


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "a/b", "1/2/3", "-1/2", "1/0", ""])
def test_what_is_no_share_is_refused(text):
    with pytest.raises(Refusal, match="must be i/n"):
        Shard.parse(text)


def test_more_shares_than_there_is_work():
    config = tiny_failure.tiny("linear", sizes=(8,))
    study = UC_FAILURE.study(config)
    with pytest.raises(Refusal, match="use at most 3 shards"):
        Shard(4, 4).part_of(study)
    with pytest.raises(
        Refusal, match=r"^--multihost, process 4/4: .* at most 3 processes"
    ):
        Shard(4, 4).part_of(study, together=True)
    nothing = dataclasses.replace(study, stages=(), subjects=())
    with pytest.raises(Refusal, match="nothing is trained or measured"):
        Shard(1, 2).part_of(nothing)
