"""Imports run one way: nets -> bounds -> experiments."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FORBIDDEN = {
    "nets": {"bounds", "experiments", "tests"},
    "bounds": {"experiments", "tests"},
    "experiments": {"tests"},
}


def imported(path):
    return (name.split(".")[0] for name in imported_modules(path))


@pytest.mark.parametrize("room", FORBIDDEN)
def test_a_room_imports_only_from_rooms_before_it(room):
    files = sorted((ROOT / room).rglob("*.py"))
    assert files
    for path in files:
        assert not FORBIDDEN[room] & set(imported(path)), path


def test_nets_and_bounds_touch_no_files_and_no_flags():
    """But for ONNX: a network there is a file, and often several."""
    onnx = ROOT / "nets" / "importing" / "onnx.py"
    for room in ("nets", "bounds"):
        for path in (ROOT / room).rglob("*.py"):
            if path == onnx:
                continue
            assert not {"absl", "pathlib", "os", "csv", "json"} & set(imported(path)), (
                path
            )
            assert "open(" not in path.read_text(), path


def test_the_oracles_import_nothing_of_ours():
    for path in (ROOT / "tests" / "oracles").glob("*.py"):
        outside = {"math", "itertools", "numpy"}
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module.startswith("tests"):
                assert node.module.startswith("tests.oracles"), path
        assert set(imported(path)) <= outside | {"tests"}, path


def imported_modules(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "later":
            yield from (a.value for a in node.args if isinstance(a, ast.Constant))


def test_the_skeleton_and_the_problems_know_no_program():
    """Nor does a program know another, but for those that read run folders of another,
    or train the networks of `bounds_vs_samples`."""
    experiments = ROOT / "experiments"
    programs = {p.parent.name for p in experiments.glob("*/program.py")} - {"lab"}
    known = {
        "evaluate": {"bounds_vs_samples"},
        "report_card": {"bounds_vs_samples", "beyond_uc"},
        "tools": programs,
    }
    others = {"bounds_vs_samples", "uc_failure", "certify", "beyond_uc"}
    assert others | {"evaluate", "report_card"} == programs
    for room in (p for p in experiments.iterdir() if p.is_dir()):
        allowed = known.get(room.name, set()) | {room.name}
        for path in room.rglob("*.py"):
            names = {
                m.split(".")[1]
                for m in imported_modules(path)
                if m.startswith("experiments.")
            }
            assert not (names & programs) - allowed, path
