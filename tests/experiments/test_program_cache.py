"""Compiled programs are kept for the next command, and nothing stands or falls with them."""

import json
import os
import subprocess
import sys

import pytest

from experiments.lab import program_cache
from tests.experiments.tiny import ROOT

COMMAND = """
import json
from experiments.lab import program_cache
program_cache.LEAST_SECONDS = 0.0
tell = program_cache.keep()
import jax, jax.numpy as jnp
x = jax.jit(lambda x: jnp.sort(jnp.sin(x) @ x.T))(jnp.ones((50, 50)))
names = ("compilation_cache_dir", "compilation_cache_max_size")
print(json.dumps([tell(), float(x[0, 0])] + [getattr(jax.config, f"jax_{n}") for n in names]))
"""


def compile_in(home, **variables):
    """(what is told, a result, the folder, its limit) of a process of its own."""
    own = {k: v for k, v in os.environ.items() if k != "JAX_COMPILATION_CACHE_DIR"}
    done = subprocess.run(
        [sys.executable, "-c", COMMAND], cwd=ROOT, capture_output=True, text=True, check=True,
        env=own | {"XDG_CACHE_HOME": str(home)} | variables,
    )  # fmt: skip
    assert not done.stderr
    return json.loads(done.stdout)


def test_the_second_process_compiles_nothing(tmp_path):
    first, result, where, limit = compile_in(tmp_path)
    assert "Programs: 0 were kept" in first and " 0 were compiled" not in first
    assert where.startswith(str(tmp_path / "generalization-testbed"))
    assert limit == program_cache.LIMIT
    second, again, *_ = compile_in(tmp_path)
    assert ", 0 were compiled" in second and "Programs: 0 were kept" not in second
    assert again == result
    # What a killed process has left half-written is no program.
    (kept,) = {p.parent for p in tmp_path.rglob("*-cache")}
    for path in kept.glob("*-cache"):
        path.write_bytes(path.read_bytes()[:100])
        path.with_name(path.name.replace("-cache", "-atime")).unlink()
    third, again, *_ = compile_in(tmp_path)
    assert "Programs: 0 were kept" in third and again == result
    # Nor does one that is damaged do harm.
    for path in kept.glob("*-cache"):
        path.write_bytes(b"no program")
    _, again, *_ = compile_in(tmp_path)
    assert again == result


@pytest.mark.slow
@pytest.mark.parametrize("how", ["a file", "off", "elsewhere"])
def test_a_folder_that_cannot_be_written_or_is_not_wanted(how, tmp_path):
    home, variables = tmp_path / "home", {}
    if how == "a file":
        home.write_text("")
    elif how == "off":
        variables = {"JAX_ENABLE_COMPILATION_CACHE": "false"}
    else:
        variables = {"JAX_COMPILATION_CACHE_DIR": str(tmp_path / "other")}
    told, _, where, _ = compile_in(home, **variables)
    if how == "elsewhere":
        assert where == str(tmp_path / "other") and where in told
    else:
        assert where is None and "no folder keeps programs" in told
    assert not home.is_dir()


def test_folders_differ_by_processor(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    here = program_cache.folder()
    assert here.parents[1] == tmp_path
    monkeypatch.setattr(program_cache.platform, "machine", lambda: "another")
    assert program_cache.folder() != here
