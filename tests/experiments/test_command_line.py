"""What the programs owe to the shell: help, exit codes, pipes, poor terminals."""

import os
import re
import signal
import subprocess
import sys
import time

import pytest

from experiments.beyond_uc import PROGRAM as BEYOND_UC
from experiments.bounds_vs_samples import PROGRAM as BOUNDS_VS_SAMPLES
from experiments.certify import PROGRAM as CERTIFY
from experiments.evaluate import PROGRAM as EVALUATE
from experiments.lab import interrupts, settings
from experiments.lab.calls import kind_of, problems_of
from experiments.uc_failure import PROGRAM as UC_FAILURE
from tests.experiments.tiny import CACHE, ROOT, TINY_FLAGS, content, finish, program

PROGRAMS = (BOUNDS_VS_SAMPLES, UC_FAILURE, EVALUATE, CERTIFY, BEYOND_UC)
ENDLESS = (
    "--dim=50", "--radii=1,2", "--width=200", "--sizes=2048", "--seeds=2", "--draws=1",
    "--margin=1e6", "--max_epochs=100000", "--devices=2",
)  # fmt: skip


@pytest.mark.parametrize(
    "asked",
    [
        p
        if p in (BOUNDS_VS_SAMPLES, EVALUATE)
        else pytest.param(p, marks=pytest.mark.slow)
        for p in PROGRAMS
    ],
    ids=lambda p: p.name,
)
def test_help_shows_every_flag_once_in_groups(asked):
    code, printed, errors = finish(program("--help", name=asked.name))
    assert code == 0 and not errors
    shown = re.findall(r"^  --(\w+)", printed.partition("\n\nproblem\n")[2], re.M)
    assert len(shown) == len(set(shown))
    for problem in problems_of(asked):
        own = set(settings.names(kind_of(asked, problem))) - set(asked.without)
        assert own <= set(shown)
    for group in ("needed first", "problem", "network", "training", "run folder"):
        if group != "training" or asked is not EVALUATE:
            assert f"\n{group}\n" in printed
    first = printed.partition("needed first\n")[2].partition("\n\n")[0].splitlines()
    assert 4 <= len(first) <= 6 and any("--out" in line for line in first)


@pytest.mark.slow
def test_help_is_folded_in_a_terminal_and_only_there():
    command = [sys.executable, "-m", "experiments.evaluate", "--help"]
    whole = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert max(map(len, whole.stdout.splitlines())) > 80
    ours, theirs = os.openpty()
    with subprocess.Popen(
        command, cwd=ROOT, stdout=theirs, env=os.environ | {"COLUMNS": "80"}
    ):
        os.close(theirs)
        shown = b""
        while part := _read(ours):
            shown += part
    lines = shown.decode().splitlines()
    assert max(map(len, lines)) <= 80
    assert shown.decode().split() == whole.stdout.split()
    flag = next(n for n, line in enumerate(lines) if line.startswith("  --data "))
    assert lines[flag + 1].startswith(" " * 23)


def _read(terminal):
    try:
        return os.read(terminal, 65536)
    except OSError:  # the other side has ended
        return b""


def test_help_imports_nothing_heavy():
    code = (
        "import sys; sys.argv[1:] = ['--help']\n"
        "from experiments.certify.__main__ import main\n"
        "try: main()\n"
        "except SystemExit as end: assert end.code == 0\n"
        "heavy = {'matplotlib', 'orbax', 'pooch', 'scipy'}\n"
        "print(*sorted(heavy & set(sys.modules)), file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0 and done.stderr.strip() == ""


@pytest.mark.parametrize(
    ("sent", "code", "word"),
    [
        (signal.SIGINT, 130, "interrupted"),
        pytest.param(signal.SIGTERM, 143, "terminated", marks=pytest.mark.slow),
    ],
)
def test_stopped_in_one_line_that_says_how_to_go_on(tmp_path, sent, code, word):
    out = tmp_path / "a"
    process = program(*ENDLESS, f"--out={out}", "--checkpoint_seconds=0.1")
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not list(
        (out / "checkpoints" / "unfinished").glob("[0-9]*")
    ):
        time.sleep(0.05)
    process.send_signal(sent)
    found, printed, errors = finish(process)
    (size,) = printed.splitlines()  # of the weights, said beforehand
    assert found == code and "--save_weights=false" in size, errors
    assert errors.count("\n") == 1 and word in errors
    assert f"--out={out} --resume" in errors
    # and what it says is true: there is something to go on with
    assert list((out / "checkpoints" / "unfinished").glob("[0-9]*"))


@pytest.mark.parametrize(
    ("after", "sent"),
    [
        (0.7, signal.SIGINT),
        (1.6, signal.SIGTERM),
        pytest.param(0.7, signal.SIGTERM, marks=pytest.mark.slow),
        pytest.param(1.6, signal.SIGINT, marks=pytest.mark.slow),
    ],
)
def test_stopped_while_it_starts_it_ends_at_once(tmp_path, after, sent):
    """In one line, or silently as Python does before anything of ours runs; never in a crash."""
    out = tmp_path / "a"
    process = subprocess.Popen(
        [sys.executable, "-m", "experiments.bounds_vs_samples", *ENDLESS, f"--out={out}"],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | CACHE,
    )  # fmt: skip
    time.sleep(after)
    process.send_signal(sent)
    _, errors = process.communicate(timeout=60)
    if process.returncode == -sent:
        assert not out.exists()
        return
    assert process.returncode == interrupts.CODES[sent], errors
    assert errors.count("\n") == 1 and interrupts.WORDS[sent] in errors


@pytest.mark.parametrize(
    ("work", "code", "line"),
    [
        ("1 / 0 if flags.FLAGS.small else 1", 1, ""),
        ("fail(KeyboardInterrupt())", 130, "interrupted"),
        ("fail(Refusal('--small: no'))", 2, "--small: no"),
        ("fail(OSError(28, 'No space left on device', 'a'))", 2, "the disk is full"),
    ],
)
def test_a_command_that_is_no_program_ends_alike(work, code, line):
    """With flags of its own, among them neither --out nor --shard."""
    script = f"""
from absl import flags
from experiments.lab.command_line import tool
from experiments.lab.refusals import Refusal
flags.DEFINE_bool("small", False, "")
def fail(error):
    raise error
tool(lambda: {work})
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == code, done.stderr
    assert done.stderr.count("\n") == bool(line) and line in done.stderr


def test_a_reader_that_has_seen_enough_ends_it_quietly():
    done = subprocess.run(
        f"{sys.executable} -m experiments.evaluate --list | head -3",
        shell=True, cwd=ROOT, capture_output=True, text=True, env=os.environ | CACHE,
    )  # fmt: skip
    assert done.stderr == "" and len(done.stdout.splitlines()) == 3


@pytest.mark.slow
def test_a_poor_terminal_and_no_home(tmp_path):
    """ASCII only, a matplotlib backend that is not there, nowhere to keep settings."""
    kept = {k: v for k, v in os.environ.items() if k not in ("HOME", "LANG")}
    poor = {
        "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0",
        "PYTHONIOENCODING": "ascii", "MPLBACKEND": "none_such", "COLUMNS": "40",
    }  # fmt: skip
    out = tmp_path / "a"
    tiny = [flag for flag in TINY_FLAGS if "sizes" not in flag]
    done = subprocess.run(
        [sys.executable, "-m", "experiments.bounds_vs_samples", *tiny,
         "--sizes=32", "--bounds=neyshabur_2018", f"--out={out}", "--devices=2", "--figures=pdf,svg",
         "--verbose"],
        cwd=ROOT, capture_output=True, env=kept | CACHE | poor,
    )  # fmt: skip
    assert done.returncode == 0 and done.stderr == b"", done.stderr[-2000:]
    assert b"\nPrograms: " in done.stdout  # and compiled ones need no home
    names = {p.suffix for p in (out / "figures").iterdir()}
    assert names == {".png", ".pdf", ".svg"}
    assert content(out)["results"]
    stems = {p.stem for p in (out / "figures").iterdir()}
    for stem in stems:
        assert (out / "figures" / f"{stem}.pdf").read_bytes()[:5] == b"%PDF-"
        assert "<svg" in (out / "figures" / f"{stem}.svg").read_text()


def test_old_names_of_flags_still_mean_the_same(tmp_path):
    for flag in ("--dataset=cifar", "--example=cifar"):
        code, _, errors = finish(program(flag, f"--out={tmp_path / 'a'}"))
        assert code == 2 and "--problem=cifar: must be one of hypersphere" in errors


def test_of_a_flag_that_is_given_twice_the_last_counts_and_that_is_said(tmp_path):
    typed = "--problem=mnist", "--width=5", "--dataset=cifar", "--width=7"
    code, _, errors = finish(program(*typed, f"--out={tmp_path / 'a'}"))
    first, second, refused = errors.splitlines()
    assert code == 2 and refused.partition("--")[2].startswith("problem=cifar: must be")
    said = sorted(line.partition("--")[2] for line in (first, second))
    assert said == [
        "problem: is given more than once; the last counts, cifar",
        "width: is given more than once; the last counts, 7",
    ]
