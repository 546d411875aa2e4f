"""A run folder that was received runs no code; a folder is one process's at a time; versions."""

import dataclasses
import errno
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading

import jax
import pytest

from experiments import evaluate
from experiments.bounds_vs_samples import PROGRAM
from experiments.certify import PROGRAM as CERTIFY
from experiments.lab import (
    command_line,
    endings,
    formats,
    plugins,
    run_folder,
    versions,
)
from experiments.lab.calls import presets_of, problems_of, settings_of
from experiments.lab.refusals import Refusal
from experiments.uc_failure import PROGRAM as UC_FAILURE
from tests.experiments.test_plugin_files import PLUGIN
from tests.experiments.tiny import (
    TINY,
    content,
    finish,
    flags_of_call,
    program,
    read,
    run,
    undrawn,
)

CONFIG = dataclasses.replace(
    TINY, sizes=(32,), seeds=1, draws=1, bounds=("bartlett_2017",)
)
NARROW = """

from nets.mlp import MLP


def narrow(*, features, image, classes, width, depth, biases):
    return MLP(width, depth=depth, classes=classes, biases=biases)


NETWORKS = {"narrow": narrow}
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    out = tmp_path_factory.mktemp("trust") / "finished"
    with undrawn():
        run(CONFIG, out)
    return out


@pytest.fixture
def folder(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / "a")


def rewritten(folder, **changes):
    """A folder as somebody may send it: his settings, and checksums that fit."""
    path = folder / "config.json"
    stored = json.loads(path.read_text())
    stored["settings"] |= changes.pop("settings", {})
    formats.write_json(path, stored | changes)


def call(folder, **flags):
    """What `--resume` or `--redraw` makes of a folder, up to its settings."""
    with pytest.MonkeyPatch.context() as patch:
        typed = {n: flags.pop(n) for n in ("plugin",) if n in flags}
        parsed = flags_of_call(out=str(folder), **flags)
        patch.setattr(command_line.flags, "FLAGS", parsed)
        return command_line.settings_from_flags(PROGRAM, typed)


def test_the_code_that_a_folder_names_is_not_run(folder, tmp_path, entered):
    mine, ran = tmp_path / "mine.py", tmp_path / "ran"
    mine.write_text(f"open({str(ran)!r}, 'w').close()\n{PLUGIN}")
    digest = hashlib.sha256(mine.read_bytes()).hexdigest()
    rewritten(folder, settings={"plugin": str(mine)}, plugin_sha256=digest)
    line = f"plugin {mine}, sha256 {digest}: give --plugin=FILE"
    for what in ("resume", "redraw"):
        with pytest.raises(Refusal, match=line):
            call(folder, **{what: True})
    code, printed, errors = finish(program(f"--out={folder}", "--resume"))
    assert code == 2 and not printed and errors.count("\n") == 1
    assert line in errors
    assert not ran.exists()
    assert call(folder, resume=True, plugin="other.py").plugin == "other.py"
    # of an older folder nothing more is known
    rewritten(folder, settings={"plugin": str(mine)}, plugin_sha256=None)
    with pytest.raises(Refusal, match=r"mine\.py \(of which it has no checksum\)"):
        call(folder, resume=True)


def test_a_name_from_a_folder_is_no_message_to_the_terminal(folder, capsys):
    name = "a.py\x1b[2J\nall is well"
    rewritten(folder, settings={"plugin": name}, plugin_sha256="\x07")
    with pytest.raises(Refusal) as caught:
        call(folder, resume=True)
    with pytest.raises(SystemExit):
        endings.refuse(str(caught.value))
    line = capsys.readouterr().err
    assert line.count("\n") == 1 and line.rstrip("\n").isprintable()
    assert r"a.py\x1b[2J all is well, sha256 \x07" in line


@pytest.mark.parametrize("asked", [PROGRAM, UC_FAILURE, CERTIFY], ids=lambda p: p.name)
def test_weights_are_kept_whatever_the_preset(asked):
    """So that another bound after hours of training is no training again."""
    for problem in problems_of(asked):
        for preset in presets_of(asked, problem):
            assert settings_of(asked, problem, preset).save_weights


def test_evaluate_runs_no_code_of_a_folder(folder, tmp_path, entered):
    mine, ran = tmp_path / "mine.py", tmp_path / "ran"
    mine.write_text(f"open({str(ran)!r}, 'w').close()\n{PLUGIN}{NARROW}")
    digest = hashlib.sha256(mine.read_bytes()).hexdigest()
    rewritten(
        folder, plugin_sha256=digest, settings={"plugin": str(mine), "network": "narrow"}
    )  # fmt: skip
    typed = {"weights": f"{folder}/weights/*", "bounds": ("bartlett_2017",)}

    def evaluated(out, **more):
        config = settings_of(evaluate.PROGRAM, None, typed=typed | more)
        return run(config, tmp_path / out, evaluate.PROGRAM)

    with pytest.raises(Refusal, match=f"sha256 {digest}: give --plugin=FILE"):
        evaluated("b")
    assert not ran.exists()
    changed = tmp_path / "changed.py"
    changed.write_text(f"{mine.read_text()}# changed\n")
    with pytest.raises(Refusal, match=r"another version of its plugin.*narrow"):
        evaluated("b", plugin=str(changed))
    assert ran.exists()  # it was named in this call
    assert not (tmp_path / "b").exists()


def test_a_changed_plugin_is_said_or_refused(tmp_path, entered, capsys):
    mine, out = tmp_path / "mine.py", tmp_path / "a"
    mine.write_text(PLUGIN + NARROW)
    config = dataclasses.replace(CONFIG, plugin=str(mine), bounds=("mine_2026",))
    run(config, out)
    stored = run_folder.stored(out)
    assert stored["plugin_sha256"] == hashlib.sha256(mine.read_bytes()).hexdigest()
    plugin = plugins.load(str(mine))
    changed = dataclasses.replace(plugin, sha256="f" * 64)
    state = {"redraw": False, "is_begun": True, "is_finished": True}

    def check(its=changed, stored=stored, **changes):
        plugins.check_version(str(out), its, stored, **state | changes)
        return capsys.readouterr().err

    capsys.readouterr()
    assert check(plugin) == ""
    with pytest.raises(Refusal, match="--redraw bounds it with the new one"):
        check()
    assert "ffff" in check(redraw=True) and "ffff" in check(is_finished=False)
    measures = dataclasses.replace(changed, measures=1)
    with pytest.raises(Refusal, match=f"delete {out}/measured"):
        check(measures, is_finished=False)
    assert check(measures, is_finished=False, is_begun=False)
    for used in ({"network": "narrow"}, {"vary": "network=mlp,narrow"}):
        own = stored | {"settings": stored["settings"] | used}
        for redraw in (False, True):
            with pytest.raises(Refusal, match=r"decides what is trained \(narrow\)"):
                check(stored=own, redraw=redraw)

    # and so from end to end: another formula under the same name
    twice = PLUGIN.replace("jnp.sum(jnp.log(", "2 * jnp.sum(jnp.log(")
    before = [float(r["excess"]) for r in read(out, "bounds")]
    mine.write_text(twice)
    plugins.load.cache_clear()
    from bounds import registry

    del registry.BOUNDS["mine_2026"]
    from nets.registry import NETWORKS

    NETWORKS.pop("narrow", None)
    with pytest.raises(Refusal, match="--redraw bounds it with the new one"):
        run(config, out, resume=True)
    run(config, out, redraw=True)
    assert "another version of its plugin" in capsys.readouterr().err
    after = [float(r["excess"]) for r in read(out, "bounds")]
    ratio = (
        30 * 2
    )  # the product of fan-outs, squared now: one hidden layer, two classes
    assert [b / a for a, b in zip(before, after, strict=True)] == pytest.approx(
        [ratio] * len(before)
    )
    digest = hashlib.sha256(twice.encode()).hexdigest()
    assert run_folder.stored(out)["plugin_sha256"] == digest


HOLD = """
import filelock, sys, time
lock = filelock.FileLock(sys.argv[1])
lock.acquire()
print(1, flush=True)
time.sleep(60)
"""


def test_two_processes_on_one_folder(folder, finished):
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, folder / ".lock"], stdout=subprocess.PIPE
    ) as other:
        try:
            assert other.stdout.readline() == b"1\n"
            before = {p: p.stat().st_mtime_ns for p in folder.rglob("*")}
            for what in ("resume", "redraw"):
                with pytest.raises(Refusal, match="another process is at work on it"):
                    run(CONFIG, folder, **{what: True})
            assert {p: p.stat().st_mtime_ns for p in folder.rglob("*")} == before
        finally:
            other.kill()
    run(CONFIG, folder, resume=True)  # a killed process leaves no lock behind
    assert content(folder) == content(finished)


def test_who_asks_for_a_moment_refuses_nobody(tmp_path):
    run_folder.RunFolder.create(tmp_path / "a", "x", CONFIG, None).close()
    with open(tmp_path / "a" / ".lock") as asked:
        fcntl.flock(asked, fcntl.LOCK_SH)
        threading.Timer(0.2, fcntl.flock, (asked, fcntl.LOCK_UN)).start()
        with run_folder.RunFolder.resume(tmp_path / "a", "x", CONFIG, None) as folder:
            assert folder.is_worked_on


def test_a_new_folder_is_locked_from_its_first_moment(tmp_path):
    made = run_folder.RunFolder.create(tmp_path / "a", "x", CONFIG, None)
    with pytest.raises(Refusal, match="another process"):
        run_folder.RunFolder.resume(tmp_path / "a", "x", CONFIG, None)
    made.close()
    with run_folder.RunFolder.resume(tmp_path / "a", "x", CONFIG, None):
        pass


@pytest.mark.parametrize("number", [errno.EOPNOTSUPP, errno.ENOSYS, errno.ENOLCK])
def test_a_file_system_without_locks_is_said(tmp_path, monkeypatch, capsys, number):
    """And leaves nothing behind that another process, or machine, would take for a lock."""

    def no_lock(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", no_lock)
    for open_one in (run_folder.RunFolder.create, run_folder.RunFolder.resume):
        with open_one(tmp_path / "a", "x", CONFIG, None) as folder:
            assert "this file system has no locks" in capsys.readouterr().err
            assert folder.is_worked_on is None
        assert (
            not (tmp_path / "a" / ".lock").exists()
            or not (tmp_path / "a" / ".lock").read_bytes()
        )


def test_other_versions_are_said_and_recorded_with_each_run(
    folder, monkeypatch, capsys
):
    """Half of it measured by one version of jax, half by another."""
    before = formats.made_with(folder / "measured" / "m32_seed0_draw0.npz")
    assert before["packages"]["jax"] == jax.__version__
    assert set(before) == set(versions.versions())
    now = before | {
        "packages": before["packages"] | {"jax": "99.0"}, "source_sha256": "c" * 64,
        "device": "4 x H100 (gpu)",
    }  # fmt: skip
    monkeypatch.setattr(versions, "versions", lambda: now)
    formats._made_here.cache_clear()
    run(CONFIG, folder, resume=True)  # shown only: nothing is made
    assert not capsys.readouterr().err
    (folder / "measured" / "m32_seed0_draw0.npz").unlink()
    try:
        run(CONFIG, folder, resume=True)
    finally:
        formats._made_here.cache_clear()
    (line,) = [
        one for one in capsys.readouterr().err.splitlines() if "other versions" in one
    ]
    jax_before = before["packages"]["jax"]
    assert f"jax 99.0 (before: {jax_before})" in line and "H100" in line
    assert "code sha256 cccccccccc" in line and "numpy" not in line
    assert formats.made_with(folder / "measured" / "m32_seed0_draw0.npz") == now
    weights = folder / "weights" / "m32_seed0_draw0.safetensors"
    assert formats.made_with(weights) == before
    recorded = json.loads((folder / "versions.json").read_text())
    assert recorded["commit"] == before["commit"] and recorded["later"] == [now]


def test_how_many_cpu_devices_there_are_is_no_other_version():
    one = {"device": "1 x cpu (cpu)", "packages": {"jax": "1"}, "commit": None}
    other = one | {"device": "8 x cpu (cpu)", "commit": "a" * 40}
    assert versions.changes_between(one, other) == ""
    assert versions.changes_between(one, one | {"packages": {"jax": "2"}})
