"""Bad input: one clear line, exit code 2, nothing half-written, nothing lost."""

import dataclasses
import json
import shutil
import subprocess
import sys

import pytest

from experiments.bounds_vs_samples import PROGRAM
from experiments.certify import PROGRAM as CERTIFY
from experiments.lab import checksums, command_line, formats
from experiments.lab.calls import settings_of
from experiments.lab.reading import idx
from experiments.lab.refusals import Refusal
from experiments.uc_failure import PROGRAM as UC_FAILURE
from tests.experiments.test_idx import idx_bytes
from tests.experiments.tiny import (
    ROOT,
    TINY,
    content,
    finish,
    flags_of_call,
    program,
    run,
    undrawn,
)

CONFIG = dataclasses.replace(
    TINY, sizes=(32,), seeds=1, draws=1, bounds=("params", "train_error")
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "tiny"
    with undrawn():
        run(CONFIG, out)
    return out


BAD_SETTINGS = [
    ({"problem": "cifar"}, "--problem=cifar", "hypersphere, mnist, fashion_mnist"),
    ({"bounds": ("rademacher",)}, "--bounds=rademacher", "--list"),
    ({"bounds": ()}, "--bounds=", "names of bounds"),
    ({"sizes": (0, 16)}, "--sizes=0,16", ">= 1"),
    ({"sizes": (16, 16)}, "--sizes=16,16", "each once"),
    ({"sizes": ()}, "--sizes=", ">= 1"),
    ({"margin": 0.0}, "--margin=0.0", "> 0"),
    ({"margin": float("inf")}, "--margin=inf", "finite"),
    ({"learning_rate": float("nan")}, "--learning_rate=nan", "finite"),
    ({"learning_rate": -1.0}, "--learning_rate=-1.0", "> 0"),
    ({"threshold": 1.5}, "--threshold=1.5", "[0, 1]"),
    ({"threshold": float("nan")}, "--threshold=nan", "[0, 1]"),
    ({"label_noise": -0.1}, "--label_noise=-0.1", "[0, 1]"),
    ({"width": 0}, "--width=0", ">= 1"),
    ({"depth": 0}, "--depth=0", ">= 1"),
    ({"seeds": 0}, "--seeds=0", ">= 1"),
    ({"draws": 0}, "--draws=0", ">= 1"),
    ({"batch_size": 0}, "--batch_size=0", ">= 1"),
    ({"batch_size": 64, "sizes": (32,)}, "--batch_size=64", "smallest of --sizes"),
    ({"radii": (1.0, 1.0)}, "--radii=1.0,1.0", "different"),
    ({"radii": (1.0, float("nan"))}, "--radii=1.0,nan", "finite"),
    ({"max_epochs": 2**31}, "--max_epochs=2147483648", "below 2^31"),
    ({"seed": 2**32}, "--seed=4294967296", "below 2^32"),
    ({"radii": (1.0,)}, "--radii=1.0", "two different"),
    ({"biases": False}, "--biases=false", "homogeneous"),
    ({"seed": -1}, "--seed=-1", ">= 0"),
    ({"loss": "hinge"}, "--loss=hinge", "sigmoid, softmax, squared"),
    ({"norm_21": "both"}, "--norm_21=both", "bartlett, transposed"),
    ({"optimizer": "lion"}, "--optimizer=lion", "sgd, adam"),
    ({"optimizer": "adam", "momentum": 0.9}, "--momentum=0.9", "--optimizer=sgd"),
    ({"network": "cnn"}, "--network=cnn", "--network=mlp"),
    ({"network": "transformer"}, "--network=transformer", "mlp, cnn"),
    ({"vary": "seeds=1,2"}, "--vary=seeds=1,2", "width"),
    ({"vary": "width=30,x"}, "'x'", "--width"),
    ({"vary": "batch_size=8,64", "sizes": (32,)}, "--batch_size=64", "--sizes"),
    ({"learning_rate": 1e300}, "--learning_rate=1e+300", "as float32 has them"),
    ({"margin": 1e-300}, "--margin=1e-300", "as float32 has them"),
    ({"radii": (1.0, 1e30)}, "--radii=1.0,1e+30", "1e-15 to 1e15"),
    ({"delta": 1e-300}, "--delta=1e-300", "at least 1e-30"),
    ({"seeds": 2**31 - 1}, "--seeds=2147483647", "at most 100000"),
    ({"draws": 2**31 - 1}, "--draws=2147483647", "at most 100000"),
    ({"sizes": (2**31,)}, "--sizes=2147483648", "below 2^31"),
    ({"vary": "learning_rate=0.1,1e300"}, "--learning_rate=1e+300", "float32"),
]


@pytest.mark.parametrize(("changes", "names", "remedy"), BAD_SETTINGS)
def test_a_bad_setting_is_refused_before_anything_is_made(
    tmp_path, changes, names, remedy
):
    with pytest.raises(Refusal) as caught:
        run(dataclasses.replace(TINY, **changes), tmp_path / "a")
    message = str(caught.value)
    assert names in message and remedy in message and "\n" not in message
    assert not list(tmp_path.iterdir())


def test_all_bad_settings_are_named_in_one_line(tmp_path):
    with pytest.raises(Refusal) as caught:
        run(dataclasses.replace(TINY, width=0, depth=0, margin=-1.0), tmp_path / "a")
    line = str(caught.value)
    assert "\n" not in line
    for named in ("--width=0: must be", "--depth=0: must be", "--margin=-1.0: must be"):
        assert named in line


@pytest.mark.parametrize(
    ("asked", "typed", "names"),
    [
        (PROGRAM, {"batch_size": 64, "sizes": (32,)}, "--batch_size=64"),
        (PROGRAM, {"optimizer": "adam", "momentum": 0.9}, "--momentum=0.9"),
        (PROGRAM, {"network": "transformer"}, "--network=transformer"),
        (
            UC_FAILURE,
            {"batch_size": 64, "sizes": (32,), "vary": None},
            "--batch_size=64",
        ),
        (CERTIFY, {"size": 150}, "--size: leaves 75 examples"),
        (CERTIFY, {"route": "subspace", "prior_share": 0.3}, "--prior_share=0.3"),
        (CERTIFY, {"route": "compression", "weights": "a"}, "--unlabelled is missing"),
        (CERTIFY, {"prior_epochs": 0}, "--prior_epochs=0"),
        (
            CERTIFY,
            {"architecture": "vgg"},
            "--architecture=vgg: must be one of mlp, cnn, strided",
        ),
        (CERTIFY, {"bounds": ("bartlett_2017",)}, "--bounds: none speaks of"),
    ],
)
def test_flags_are_checked_together_before_data_are_read(asked, typed, names, tmp_path):
    """They are nowhere: had they been asked for, that would be what is refused."""
    problem = "digits" if asked is UC_FAILURE else "mnist"
    config = settings_of(asked, problem, None, {"data_dir": "/nowhere"} | typed)
    with pytest.raises(Refusal, match=names):
        run(config, tmp_path / "a", asked)


WITHOUT_JAX = """
import importlib, sys
from experiments.lab import command_line
from experiments.lab.calls import settings_of
from experiments.lab.refusals import Refusal

for name, problem, typed in %r:
    asked = importlib.import_module(f"experiments.{name}.program").PROGRAM
    try:
        asked.check(settings_of(asked, problem, None, typed))
    except Refusal as refusal:
        print(refusal)
print(*({"jax", "numba", "scipy", "flax", "rich", "bounds", "matplotlib"} & set(sys.modules)))
"""


def test_what_does_not_go_together_is_named_at_once_and_before_jax_is_imported():
    """JAX takes a second or more to import; and that of a sweep is found in its variants."""
    calls = [
        ("bounds_vs_samples", "hypersphere",
         {"batch_size": 64, "sizes": (32,), "optimizer": "adam", "momentum": 0.9, "biases": False}),
        ("bounds_vs_samples", "mnist",
         {"vary": "problem=mnist,hypersphere", "draw_rule": "disjoint"}),
        ("uc_failure", "hypersphere", {"dim": 1, "vary": "batch_size=8,64", "sizes": (32,)}),
        ("evaluate", None, {"weights": "a", "network": "b", "loss": "softmax"}),
        ("report_card", None, {"data_dir": "a", "fashion_dir": "b"}),
        ("beyond_uc", "hypersphere", {"tool": ("luck",), "biases": False}),
        ("certify", "mnist", {"route": "subspace", "prior_share": 0.3, "batch_size": 90000}),
    ]  # fmt: skip
    found = subprocess.run(
        [sys.executable, "-c", WITHOUT_JAX % calls],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    *refused, slow = found.stdout.split("\n")[:-1]
    assert slow == ""
    wanted = [
        ["--batch_size=64", "--momentum=0.9", "--biases=false"],
        ["--biases=false"],
        ["--dim=1"],
        ["--weights and --network", "--network: goes with", "--loss=softmax"],
        ["--data_dir=a", "--fashion_dir=b"],
        ["--tool=luck", "--biases=false"],
        ["--prior_share=0.3", "--size=60000"],
    ]
    assert len(refused) == len(wanted)
    for line, flags in zip(refused, wanted, strict=True):
        assert all(flag in line for flag in flags), line


WRONG_TYPES = {
    "a word for a number": {"width": "abc"},
    "a fraction for a whole number": {"width": 30.5},
    "a number for several": {"sizes": 5},
    "a word among numbers": {"sizes": [32, "x"]},
    "several in an object": {"sizes": {"a": 1}},
    "a word for several words": {"bounds": "all"},
    "a number for true": {"shuffle": 1},
    "true for a number": {"width": True},
    "nothing for a number": {"width": None},
    "several for one": {"problem": ["hypersphere"]},
    "a problem there is not": {"problem": "../x"},
    "a number that is none": {"margin": "nan"},
    "a number that it must not be": {"depth": -1},
    "a setting there is not": {"colour": 1},
}


@pytest.mark.parametrize("what", WRONG_TYPES)
def test_a_config_of_wrong_types_is_one_line(folder, tmp_path, what, monkeypatch):
    """And what a folder says of itself is checked as what is typed is."""
    out = tmp_path / "a"
    shutil.copytree(folder, out)
    stored = json.loads((out / "config.json").read_text())
    stored["settings"] |= WRONG_TYPES[what]
    formats.write_json(out / "config.json", stored)
    parsed = flags_of_call(resume=True, out=str(out))
    monkeypatch.setattr(command_line.flags, "FLAGS", parsed)
    with pytest.raises(Refusal) as caught:
        run(command_line.settings_from_flags(PROGRAM, {}), out, resume=True)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    ["", "[]", "3", "{}", "null", "[" * 100000, '{"program": 1, "settings": {}, "data_sha256": null}',
     '{"program": "bounds_vs_samples", "settings": [], "data_sha256": null}'],
)  # fmt: skip
def test_a_config_that_is_none_is_one_line(folder, tmp_path, text):
    out = tmp_path / "a"
    shutil.copytree(folder, out)
    with checksums.whole(out / "config.json") as aside:
        aside.write_text(text)
    for what in ("resume", "redraw"):
        with pytest.raises(
            Refusal, match=r"its config\.json is no run's|another program"
        ):
            run(TINY, out, **{what: True})


def test_a_folder_without_the_data_is_refused_before_anything_is_made(tmp_path):
    config = settings_of(PROGRAM, "mnist", "paper", {"data_dir": "/nowhere"})
    with pytest.raises(Refusal, match="/nowhere: no such folder"):
        run(config, tmp_path / "a")
    assert not list(tmp_path.iterdir())


BAD_COMMANDS = [
    (["--sizes=16,x"], "--sizes=16,x", "whole numbers separated by commas"),
    (["--width=abc"], "width", "abc"),
    (["stray"], "stray", "--name=value"),
    (["--resume"], "--out", "no such folder"),
    (["--devices=9999999"], "--devices=9999999", "use at most"),
    (["--vary=width=8,9", "--vary=depth=1,2"], "--vary: is given more than", "once"),
]
# Found in the same places as the ones above, or as a `BAD_SETTING`.
MORE_BAD_COMMANDS = [
    (["--margin=-1"], "--margin=-1", "> 0"),
    (["--nonsense=1"], "nonsense", ""),
    (["--resume=maybe"], "--resume=maybe: Non-boolean", ""),
    (["--preset=large"], "preset", "demo"),
    (["--devices=0"], "--devices=0", ">= 1"),
]


@pytest.mark.parametrize(
    ("flags", "names", "remedy"),
    [
        *BAD_COMMANDS,
        *(pytest.param(*more, marks=pytest.mark.slow) for more in MORE_BAD_COMMANDS),
    ],
)
def test_a_bad_command_is_one_line_and_exit_code_2(tmp_path, flags, names, remedy):
    code, printed, errors = finish(program(*flags, f"--out={tmp_path / 'a'}"))
    assert code == 2, errors
    assert errors.count("\n") == 1 and "Traceback" not in errors, errors
    assert names in errors and remedy in errors, errors
    assert printed == "" and not list(tmp_path.iterdir())


def test_without_out_the_way_is_shown():
    code, _, errors = finish(program())
    assert code == 2 and "--out" in errors and errors.count("\n") == 1


def test_an_existing_folder_is_refused_and_untouched(folder):
    before = content(folder)
    with pytest.raises(Refusal, match="--resume"):
        run(TINY, folder)
    assert content(folder) == before


def test_resuming_with_other_settings_says_which(folder):
    process = program(f"--out={folder}", "--resume", "--width=31", "--margin=1")
    code, _, errors = finish(process)
    assert (
        code == 2 and "--width=31 here, 30 there" in errors and "margin" not in errors
    )
    config = dataclasses.replace(CONFIG, learning_rate=0.3)
    with pytest.raises(Refusal, match=r"--learning_rate=0\.3 here, 0\.2 there"):
        run(config, folder, resume=True)
    with pytest.raises(
        Refusal, match=r"--bounds.*; give these once it is finished, with"
    ):
        fewer = dataclasses.replace(CONFIG, bounds=("params",))
        run(fewer, folder, resume=True)
    with pytest.raises(Refusal, match=r"--learning_rate.*\); use another --out"):
        run(dataclasses.replace(fewer, learning_rate=0.3), folder, resume=True)


def test_a_folder_of_another_problem_is_named(folder):
    asked = program(f"--out={folder}", "--resume", "--problem=mnist1d")
    code, _, errors = finish(asked)
    assert code == 2 and errors.count("\n") == 1
    assert f"--problem=mnist1d: --out={folder} is of hypersphere; leave it" in errors


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    code, _, errors = finish(program(f"--out={tmp_path}", "--resume"))
    assert code == 2 and str(tmp_path) in errors and errors.count("\n") == 1


def test_other_data_are_refused(tmp_path, mnist_sample):
    config = dataclasses.replace(
        settings_of(PROGRAM, "mnist", "paper"), data_dir=str(mnist_sample), width=20, depth=1,
        sizes=(50,), seeds=1, draws=1, draw_rule="without_replacement", batch_size=10,
        margin=1.0, threshold=0.5, bounds=("params",),
    )  # fmt: skip
    with undrawn():
        run(config, tmp_path / "a")
    other = tmp_path / "other"
    other.mkdir()
    for path in mnist_sample.iterdir():
        (other / path.name).write_bytes(path.read_bytes())
    name = idx.FILES["test_labels"]
    labels = idx.read(other / f"{name}.gz").copy()
    (other / f"{name}.gz").unlink()
    labels[0] = (labels[0] + 1) % 10
    (other / name).write_bytes(idx_bytes(labels))
    with pytest.raises(Refusal, match="other data"):
        run(
            dataclasses.replace(config, data_dir=str(other)),
            tmp_path / "a",
            resume=True,
        )


def test_a_place_where_nothing_can_be_written_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(Refusal, match="cannot be made"):
        run(TINY, tmp_path / "file" / "out")


def test_a_setting_that_a_problem_has_not_names_the_problems_that_have_it():
    with pytest.raises(
        Refusal, match=r"--data_dir=here: .*--problem=mnist\|fashion_mnist"
    ):
        settings_of(CERTIFY, "hypersphere", None, {"data_dir": "here"})
