"""Modules that a user's file imports from its own folder: found, told apart, run as they were read."""

import dataclasses
import hashlib
import importlib
import py_compile
import sys

import pytest

import bounds
from experiments.lab import beside, definitions, plugins
from experiments.lab.refusals import Refusal
from nets.registry import NETWORKS
from tests.experiments.test_identity import PLUGIN as MEASURED
from tests.experiments.tiny import TINY, read, run

ALONE = "NETWORKS = {'mine_2026': dict}\n"
USES = f"import factors_2026\n{ALONE}"


@pytest.fixture
def loaded(entered):
    """Loads a file anew, whatever was loaded before."""
    before, paths = set(sys.modules), list(sys.path)

    def load(path):
        NETWORKS.pop("mine_2026", None)
        plugins.load.cache_clear()
        return plugins.load(str(path))

    yield load
    assert sys.path == paths
    for one in list(beside._ENTERED):
        one.leave()
    for name in set(sys.modules) - before:
        assert "_2026" not in name, name


def write(folder, **modules):
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in modules.items():
        (folder / f"{name}.py").write_text(text)
    return folder / "mine.py"


def factor():
    """What the file that was loaded last has of the module beside it."""
    return sys.modules["plugin_mine"].factors_2026.FACTOR


def test_a_file_alone_has_the_digest_of_its_bytes(tmp_path, loaded):
    path = write(tmp_path, mine=ALONE, factors_2026="FACTOR = 7.0\n")
    assert loaded(path).sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_module_beside_a_file_is_found_and_part_of_its_digest(tmp_path, loaded):
    path = write(tmp_path / "a", mine=USES, factors_2026="FACTOR = 3.0\n", other="x=1")
    first = loaded(path).sha256
    assert factor() == 3.0
    assert first != hashlib.sha256(path.read_bytes()).hexdigest()
    (tmp_path / "a" / "other.py").write_text("x = 2")  # nobody imports it
    assert loaded(path).sha256 == first
    moved = write(tmp_path / "b", mine=USES, factors_2026="FACTOR = 3.0\n")
    assert loaded(moved).sha256 == first
    # A changed one, and the same name in another folder: never the one loaded before.
    (tmp_path / "b" / "factors_2026.py").write_text("FACTOR = 5.0\n")
    assert loaded(moved).sha256 != first and factor() == 5.0
    assert loaded(path).sha256 == first and factor() == 3.0


def test_modules_of_modules_and_of_packages(tmp_path, loaded):
    """Relative, in a function, by a name at run time, of a folder without __init__.py."""
    path = write(tmp_path, mine=USES, factors_2026=(
        "from importlib import import_module\n"
        "from package_2026.part import A\nfrom folder_2026 import b\n"
        "def _later():\n    import late_2026\n"
        "FACTOR = A * b.B * import_module('named_2026').C\n"
    ), late_2026="", named_2026="C = 7.0\n")  # fmt: skip
    write(tmp_path / "package_2026", __init__="", part="from .deep import A\n")
    write(tmp_path / "package_2026", deep="A = 2.0\n")
    write(tmp_path / "folder_2026", b="B = 3.0\n")
    found = {loaded(path).sha256}
    assert factor() == 42.0
    for name in (
        "factors_2026", "late_2026", "named_2026", "package_2026/__init__",
        "package_2026/part", "package_2026/deep", "folder_2026/b",
    ):  # fmt: skip
        file = tmp_path / f"{name}.py"
        file.write_text(f"{file.read_text()}# changed\n")
        found.add(loaded(path).sha256)
    assert len(found) == 8


def test_what_is_compiled_beside_a_module_is_not_run(tmp_path, loaded):
    path = write(tmp_path, mine=USES, factors_2026="FACTOR = 9.0\n")
    file = tmp_path / "factors_2026.py"
    py_compile.compile(
        str(file), invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH
    )
    file.write_text("FACTOR = 4.0\n")
    loaded(path)
    assert factor() == 4.0


def test_what_is_imported_later_is_what_was_there_when_the_file_was_loaded(
    tmp_path, loaded
):
    late = USES + "\n\ndef late():\n    import late_2026\n    return late_2026.X\n"
    path = write(tmp_path, mine=late, factors_2026="FACTOR = 1.0\n", late_2026="X = 1")
    loaded(path)
    (tmp_path / "late_2026.py").write_text("X = 2")
    assert sys.modules["plugin_mine"].late() == 1
    (tmp_path / "unknown_2026.py").write_text("")
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("unknown_2026")


def test_our_packages_and_installed_ones_are_nobody_s_own(tmp_path, loaded):
    """As where a file lies in our own folder, or in site-packages."""
    write(tmp_path / "nets", __init__="raise SystemExit")
    write(tmp_path / "chex", setup="")  # a checkout of it: a folder without __init__.py
    path = write(tmp_path, mine=ALONE, queue="raise SystemExit")
    (tmp_path / "mine.py").write_text(f"import queue, nets.mlp\n{ALONE}")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert loaded(path).sha256 == digest
    installed = write(
        tmp_path / "site-packages", mine=ALONE, factors_2026="raise SystemExit"
    )
    installed.write_text(
        f"try:\n    import factors_2026\nexcept ImportError: pass\n{ALONE}"
    )
    digest = hashlib.sha256(installed.read_bytes()).hexdigest()
    assert loaded(installed).sha256 == digest
    ours = beside.Beside(str(beside._ROOT / "mine.py"), "plugin_mine", (
        b"import nets.mlp, bounds, experiments.lab.plugins, numpy, tests.oracles.counting\n"
    ))  # fmt: skip
    assert sorted(ours.sources) == ["tests.oracles", "tests.oracles.counting"]


def test_a_module_that_will_not_do_is_refused_in_one_line(tmp_path, loaded):
    path = write(tmp_path, mine=USES, factors_2026="FACTOR = (\n")
    with pytest.raises(Refusal, match=r"factors_2026\.py: line 1: SyntaxError"):
        loaded(path)
    write(tmp_path, factors_2026="\nFACTOR = 1 / 0\n")
    with pytest.raises(Refusal, match=r"factors_2026\.py, line 2: ZeroDivisionError"):
        loaded(path)
    assert "factors_2026" not in sys.modules and not beside._ENTERED
    # It would be taken for the one that everybody else means.
    write(tmp_path, chex="", mine=f"import chex\n{ALONE}")
    mine = sys.modules["chex"]
    with pytest.raises(Refusal, match=r"chex\.py: has the name .* in use .*rename it"):
        loaded(path)
    assert sys.modules["chex"] is mine


MEASURES = {
    "mine": "import factors_2026\n" + MEASURED.format(number="factors_2026.FACTOR"),
    "factors_2026": "FACTOR = 2.0\n",
}


def forget():
    bounds.registry.remove({"mine": None}, [bounds.registry.MEASURES["mine_group"]])


def test_a_changed_module_is_another_definition_of_what_it_measures(tmp_path, loaded):
    path = write(tmp_path, **MEASURES)
    before = loaded(path)
    first = definitions.of_groups(["mine_group", "layers"])
    write(tmp_path, factors_2026="FACTOR = 3.0\n")
    # What was loaded is what measures.
    assert definitions.of_groups(["mine_group", "layers"]) == first
    forget()
    now = loaded(path)
    second = definitions.of_groups(["mine_group", "layers"])
    assert second["mine_group"] != first["mine_group"]
    assert second["layers"] == first["layers"]
    stored = {"plugin_sha256": before.sha256, "settings": {}}
    state = {"redraw": False, "is_begun": True, "is_finished": False}
    with pytest.raises(Refusal, match=f"sha256 {before.sha256}; now {now.sha256}"):
        plugins.check_version("out", now, stored, **state)
    # A comment in it decides no number.
    write(tmp_path, factors_2026="FACTOR = 3.0  # three\n")
    forget()
    loaded(path)
    assert definitions.of_groups(["mine_group", "layers"]) == second
    # A measure that lies beside the file, and uses another module there.
    write(
        tmp_path,
        mine="from all_2026 import BOUNDS, MEASURES\n",
        all_2026=MEASURES["mine"],
    )
    found = set()
    for number in (4.0, 5.0):
        write(tmp_path, factors_2026=f"FACTOR = {number}\n")
        forget()
        loaded(path)
        found.add(definitions.of_groups(["mine_group"])["mine_group"])
    assert len(found | {first["mine_group"], second["mine_group"]}) == 4
    forget()


@pytest.mark.slow
def test_a_changed_module_is_a_changed_plugin(tmp_path, loaded):
    """Refused with --resume, measured again with --redraw: as for the file itself."""
    path = write(tmp_path, **MEASURES)
    config = dataclasses.replace(
        TINY, plugin=str(path), bounds=("mine",), sizes=(32,), seeds=1
    )
    out = run(config, tmp_path / "out").path
    assert {row["value"] for row in read(out, "bounds")} == {"2.0"}
    write(tmp_path, factors_2026="FACTOR = 3.0\n")
    forget()
    loaded(path)
    with pytest.raises(Refusal, match="another version of its plugin"):
        run(config, out, resume=True)
    run(config, out, redraw=True)
    assert {row["value"] for row in read(out, "bounds")} == {"3.0"}
