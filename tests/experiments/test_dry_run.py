"""--dry_run: what it says is what the same call then does, and nothing is touched."""

import dataclasses
import hashlib
import shutil

import numpy as np
import pytest

from experiments.beyond_uc import PROGRAM as BEYOND_UC
from experiments.bounds_vs_samples import PROGRAM as BOUNDS_VS_SAMPLES
from experiments.certify import PROGRAM as CERTIFY
from experiments.evaluate import PROGRAM as EVALUATE
from experiments.lab import calls, checkpoints, formats
from experiments.lab import running as lab
from experiments.lab.foresight import pattern
from experiments.lab.jobs import Run
from experiments.lab.refusals import Refusal
from experiments.lab.report import shown_bytes
from experiments.lab.run_folder import RunFolder
from experiments.report_card.program import PROGRAM as REPORT_CARD
from experiments.uc_failure import PROGRAM as UC_FAILURE
from tests.experiments import tiny_failure
from tests.experiments.tiny import TINY, TINY_FLAGS, finish, program, read, run

NOTHING = "Nothing was written."


def foreseen(capsys, *args, **options):
    capsys.readouterr()
    lab.foresee(*args, **options)
    return capsys.readouterr().out


def state(folder):
    """Digest and time of every file, and every name."""
    return {
        path: (path.stat().st_mtime_ns, hashlib.sha256(path.read_bytes()).hexdigest())
        if path.is_file()
        else None
        for path in folder.rglob("*")
    }


def bytes_of_weights(folder):
    """Of the arrays in the weights that a run kept."""
    return sum(
        array.nbytes
        for path in (folder / "weights").glob("*.safetensors")
        for name, array in formats.read_tensors(path).items()
        if name.startswith(("init/", "final/"))
    )


def test_what_it_says_is_what_is_then_done(tmp_path, capsys, interrupted_after):
    out, config = tmp_path / "a", dataclasses.replace(TINY, bounds=("bartlett_2017",))
    before = foreseen(capsys, BOUNDS_VS_SAMPLES, config, out)
    assert not out.exists() and before.endswith(f"{NOTHING}\n")
    with interrupted_after(3) as stored:
        run(config, out)
    there = state(out)
    half_way = foreseen(capsys, BOUNDS_VS_SAMPLES, config, out, resume=True)
    assert state(out) == there
    assert "half-way" not in half_way.splitlines()[0]
    place = RunFolder(out).checkpoints
    waiting = next(
        f"m{m}_seed{s}_draw0"
        for m in config.sizes
        for s in range(config.seeds)
        if f"m{m}_seed{s}_draw0" not in {r.name for r in stored}
    )
    begun = {waiting: {"state": np.zeros(1)}, stored[0].name: {"state": np.zeros(1)}}
    checkpoints.save(place, begun)
    lines = foreseen(capsys, BOUNDS_VS_SAMPLES, config, out, resume=True).splitlines()
    assert "to train  half-way" in lines[0] and lines[1].split()[5] == "1"
    shutil.rmtree(place)
    run(config, out, resume=True)
    count, size = len(read(out, "results")), shown_bytes(bytes_of_weights(out))
    trains = "{} of {} runs would be trained, {} of {} measurements made."
    assert trains.format(count, count, count, count) in before
    assert trains.format(count - 3, count, count, count) in half_way
    assert f"initial and learned, take {size};" in before
    per_size = count // len(config.sizes)
    (row,) = [line.split() for line in before.splitlines() if line.startswith("m*")]
    assert row[:5] == ["m*_seed*_draw*", *[str(per_size)] * 2, *[str(count)] * 2]


def test_of_a_folder_that_is_there(tmp_path, capsys):
    config = dataclasses.replace(TINY, sizes=(32,), seeds=1, save_weights=False)
    out = tmp_path / "a"
    run(config, out)
    there = state(out)

    def said(config, **options):
        found = foreseen(capsys, BOUNDS_VS_SAMPLES, config, out, **options)
        assert state(out) == there
        return found

    assert f"{out}: finished; --resume shows it." in said(config, resume=True)
    again = said(config, redraw=True)
    assert "0 of 2 runs would be trained, 0 of 2 measurements made." in again
    with pytest.raises(Refusal, match="exists"):
        said(config)
    with pytest.raises(Refusal, match="--width=31 here, 30 there"):
        said(dataclasses.replace(config, width=31), resume=True)
    next((out / "measured").iterdir()).unlink()
    there = state(out)
    lost = said(config, resume=True)
    assert "2 of 2 runs would be trained, 1 of 2 measurements made." in lost
    (out / "report.html").unlink()
    broken = next((out / "measured").iterdir())
    broken.write_bytes(b"x" + broken.read_bytes()[1:])
    there = state(out)
    damaged = said(config, resume=True)
    assert "2 of 2 runs would be trained, 2 of 2 measurements made." in damaged
    assert "1 damaged files would be made again." in damaged


def settings_of(asked, problem, typed):
    return asked.resolved(calls.settings_of(asked, problem, typed=typed))


@pytest.mark.parametrize(
    ("asked", "config", "said"),
    [
        (
            BEYOND_UC,
            settings_of(BEYOND_UC, "hypersphere",
                        {"tool": ("ratt",), "seeds": 2, "sizes": (8, 16)}),
            # S and the one with random labels; networks on S are looked at on S', too, and
            # measured for bounds
            "8 of 8 runs would be trained, 16 of 16 measurements made.",
        ),
        (
            UC_FAILURE,
            tiny_failure.tiny("exponential"),
            "Nothing would be trained; 6 of 6 measurements would be made.",
        ),
        (
            CERTIFY,
            settings_of(CERTIFY, "mnist", {"data_dir": "tests/data/mnist", "size": 512}),
            "2 of 2 runs would be trained, 1 of 1 measurements made.",
        ),
        (
            REPORT_CARD,
            settings_of(REPORT_CARD, None, {"bounds": ("params",)}),
            "Nothing would be trained or measured: tables,",
        ),
    ],
    ids=lambda value: getattr(value, "name", None),
)  # fmt: skip
def test_every_program_says_it(tmp_path, capsys, asked, config, said):
    out = tmp_path / "a"
    found = foreseen(capsys, asked, config, out)
    assert said in found and found.endswith(f"{NOTHING}\n") and not out.exists()


def test_from_the_shell(tmp_path):
    out = tmp_path / "a"
    tiny = [flag for flag in TINY_FLAGS if "sizes" not in flag]
    flags = [*tiny, "--problem=hypersphere", "--sizes=32", "--draws=1"]
    code, printed, errors = finish(program(*flags, f"--out={out}", "--dry_run"))
    assert code == 0 and not errors and not out.exists()
    assert "2 of 2 runs would be trained, 2 of 2 measurements made." in printed
    code, printed, errors = finish(program(f"--out={tmp_path}", "--dry_run", *flags))
    assert code == 2 and "exists; use another" in errors and errors.count("\n") == 1


def test_networks_of_a_suite_that_would_be_trained_first(tmp_path, capsys):
    typed = {"suite": "quick", "retrain": True, "data_dir": "tests/data/mnist",
             "bounds": ("params",)}  # fmt: skip
    out = tmp_path / "a"
    found = foreseen(capsys, REPORT_CARD, settings_of(REPORT_CARD, None, typed), out)
    first, second = found.split(f"Before that, in {out / 'networks'}:")
    assert "Nothing would be trained" in first
    assert "runs would be trained, 69 of 69 measurements made." in second
    assert not out.exists()


def test_names_of_runs_that_differ_in_numbers_only_are_one_row():
    run = Run("m128_width=64_seed3_draw0", 128, 3, variant="width=64")
    assert pattern(run) == "m*_width=64_seed*_draw*"
    assert pattern(Run("m8_seed1_private0.3", 8, 1)) == "m*_seed*_private*"
    assert [shown_bytes(n) for n in (0, 999, 1000, 2.5e6, 4e12)] == [
        "0 bytes", "999 bytes", "1 kB", "2.5 MB", "4e+03 GB",
    ]  # fmt: skip


def test_networks_of_others_are_measured_and_not_trained(tmp_path, capsys):
    out = tmp_path / "net"
    run(dataclasses.replace(TINY, sizes=(32,), seeds=1), out)
    config = settings_of(EVALUATE, None, {"weights": f"{out}/weights/*"})
    found = foreseen(capsys, EVALUATE, config, tmp_path / "b")
    assert "Nothing would be trained; 2 of 2 measurements would be made." in found
