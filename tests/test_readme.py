"""The README's code does what it says."""

import re
import textwrap
from pathlib import Path

import numpy as np
import pytest

import bounds
from bounds.registry import GROUPS, MEASURES
from experiments import catalogue

README = (Path(__file__).parents[1] / "README.md").read_text()


def block(first_line):
    """The Python block that begins with a line."""
    found = re.findall(r"^( *)```python\n(.*?)^ *```", README, re.S | re.M)
    blocks = [textwrap.dedent((indent and body) or body) for indent, body in found]
    (only,) = [b for b in blocks if b.startswith(first_line)]
    return only


@pytest.mark.slow
def test_measured_and_bounded_in_five_lines(capsys):
    rng = np.random.default_rng(0)
    weights = [rng.standard_normal(s).astype(np.float32) for s in [(4, 6), (6, 3)]]
    code = block("import bounds  # in")
    assert len([line for line in code.splitlines() if line.strip()]) <= 5
    variables = {
        "weights": weights, "inputs": rng.standard_normal((20, 4)),
        "labels": rng.integers(3, size=20), "initial_weights": [w / 2 for w in weights],
    }  # fmt: skip
    exec(code, variables)
    printed = capsys.readouterr().out
    assert all(f"{name} " in printed for name in bounds.BOUNDS)


def test_a_bound_of_ones_own(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(block("# mine.py") + block("BOUNDS = {"))
    try:
        catalogue.load(str(path))
        rng = np.random.default_rng(0)
        weights = [rng.standard_normal((4, 3)).astype(np.float32)]
        data = rng.standard_normal((20, 4)), rng.integers(3, size=20)
        network = bounds.from_arrays(weights, *data)
        found = bounds.values(network, ["mine_2026"], margin=0.5)["mine_2026"]
        excess = np.linalg.norm(weights[0]) / (0.5 * np.sqrt(20))
        assert abs(found.excess / excess - 1) < 1e-6
    finally:
        bounds.BOUNDS.pop("mine_2026", None)


def test_a_bound_that_measures_something_of_its_own(tmp_path):
    path = tmp_path / "largest.py"
    path.write_text(block("# largest.py"))
    before = [dict(d) for d in (bounds.BOUNDS, GROUPS, MEASURES)]
    try:
        assert catalogue.load(str(path)) == ("largest_2026",)
        weights = [np.full((4, 3), 5.0)]
        network = bounds.from_arrays(weights, np.ones((20, 4)), np.zeros(20, int))
        found = bounds.values(network, ["largest_2026"])["largest_2026"]
        assert abs(found.excess**2 * 20 / (np.log(5) + np.log(20)) - 1) < 1e-6
    finally:
        for ours, kept in zip((bounds.BOUNDS, GROUPS, MEASURES), before, strict=True):
            ours.clear()
            ours.update(kept)


def test_every_bound_is_in_the_readme():
    """By its name, or by how it ends after the name it is a form of."""
    for name in bounds.BOUNDS:
        spec = bounds.BOUNDS[name]
        if "Jiang" not in spec.paper:
            ends = [name[i:] for i in range(len(name)) if name[i] == "_"]
            forms = [name, *ends]
            assert any(f"`{form}`" in README for form in forms) or (
                name.endswith("_certified") and "`..._certified`" in README
            ), name
