"""One file that brings a bound, a measure, a problem, a data set and a network, from the shell.

None of them is known to the package: the blocks are those of the READMEs.
"""

import re

import numpy as np
import pytest

from experiments.lab import formats
from tests.experiments.tiny import ROOT, finish, program, read

STRIPES = '''

@dataclasses.dataclass(frozen=True)
class StripesSettings:
    """Of `stripes`."""

    stored: int = setting(300, "how many examples are stored", positive)


class Stripes(Problem):
    """A data set: training sets are drawn from stored examples."""

    about = "Whether the sum of six numbers is positive."
    Settings = StripesSettings
    features = 6
    sha256 = "stripes"

    def __init__(self, settings, seed):
        rng = np.random.default_rng(seed)
        self._x = rng.standard_normal((settings.stored, 6)).astype(np.float32)
        self._y = (self._x.sum(1) > 0).astype(np.int32)
        test = rng.standard_normal((100, 6)).astype(np.float32)
        self._test = Examples(test, (test.sum(1) > 0).astype(np.int32))

    def largest_size(self, draws):
        return len(self._y)

    def pool(self, indices=None):
        indices = np.arange(len(self._y)) if indices is None else indices
        return Examples(self._x[indices], self._y[indices])

    def draw(self, seed, size, draw=None):
        rng = np.random.default_rng((seed, size, draw or 0))
        chosen = rng.permutation(len(self._y))[:size].astype(np.int32)
        return Examples(self._x[chosen], self._y[chosen], {"indices": chosen})

    def test(self, size=None):
        return self._test


PROBLEMS["stripes"] = Stripes
'''


def block(readme, first_line):
    """The Python block of a README that begins with a line."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / readme).read_text(), re.S)
    (found,) = [b for b in blocks if b.startswith(first_line)]
    return found


@pytest.fixture(scope="module")
def mine(tmp_path_factory):
    path = tmp_path_factory.mktemp("plugin") / "mine.py"
    path.write_text(
        block("bounds/README.md", "# largest.py")
        + block("experiments/problems/README.md", "# rings.py")
        + block("nets/README.md", "# narrow.py")
        + STRIPES
    )
    return path


def run(name, mine, out, *flags):
    code, printed, errors = finish(
        program(f"--plugin={mine}", f"--out={out}", "--devices=2", *flags, name=name)
    )
    assert code == 0 and not errors, errors
    return printed


@pytest.fixture(scope="module")
def trained(mine, tmp_path_factory):
    """Networks of the plugin on its data set, bounded by its bound."""
    out = tmp_path_factory.mktemp("plugin") / "trained"
    run(
        "bounds_vs_samples", mine, out, "--problem=stripes", "--stored=200",
        "--network=narrowing", "--width=8", "--depth=2", "--sizes=32,64", "--seeds=2",
        "--draws=1", "--margin=0.5", "--threshold=0.2", "--learning_rate=0.3",
        "--bounds=train_error", "--save_weights",
    )  # fmt: skip
    return out


def largest_2026(folder, run_name, m):
    """The bound in plain numpy, from the saved weights of a run with training error 0."""
    path = folder / "weights" / f"{run_name}.safetensors"
    arrays = formats.read_tensors(path)
    logs = [
        max(np.log(np.abs(a.astype(float)).max()), 0)
        for n, a in arrays.items()
        if n.startswith("final/")
    ]
    assert len(logs) == 3 and arrays["final/0/kernel"].shape == (6, 8)
    assert arrays["final/1/kernel"].shape == (8, 4)
    return np.sqrt((sum(logs) + np.log(1 / 0.05)) / m)


def test_a_network_on_a_data_set_and_its_bound(trained):
    results = {r["run"]: r for r in read(trained, "results")}
    assert len(results) == 4 and {r["converged"] for r in results.values()} == {"true"}
    rows = [r for r in read(trained, "bounds") if r["bound"] == "largest_2026"]
    assert len(rows) == 4  # a plugin's bounds are there to be evaluated
    for row in rows:
        expected = largest_2026(trained, row["run"], int(row["m"]))
        assert float(row["excess"]) == pytest.approx(expected, rel=1e-6)
        counted = float(results[row["run"]]["train_error"])
        assert float(row["empirical"]) == pytest.approx(counted)
    assert "largest_2026" in (trained / "report.html").read_text()


@pytest.mark.slow
def test_the_same_networks_evaluated_on_the_data_set(mine, trained, tmp_path):
    out, name = tmp_path / "out", "m64_seed0_draw0"
    run(
        "evaluate", mine, out, "--problem=stripes", "--stored=200",
        f"--weights={trained}/weights/{name}.safetensors",
        f"--train_indices={trained}/samples/{name}.npz", "--bounds=largest_2026,holdout_cp",
    )  # fmt: skip
    rows = {r["bound"]: r for r in read(out, "bounds")}
    expected = largest_2026(trained, name, 64)
    assert float(rows["largest_2026"]["excess"]) == pytest.approx(expected, rel=1e-6)
    (result,) = read(out, "results")
    theirs = next(r for r in read(trained, "results") if r["run"] == name)
    for column in ("m", "train_error", "test_error"):
        assert result[column] == theirs[column]


@pytest.mark.slow
def test_networks_swept_by_name(mine, tmp_path):
    out = tmp_path / "out"
    printed = run(
        "bounds_vs_samples", mine, out, "--problem=stripes", "--sizes=32", "--seeds=2",
        "--draws=1", "--margin=0.5", "--learning_rate=0.3", "--width=8", "--depth=2",
        "--bounds=largest_2026", "--vary=network=mlp,narrowing",
    )  # fmt: skip
    rows = read(out, "results")
    assert {r["network"] for r in rows} == {"mlp", "narrowing"} and len(rows) == 4
    assert "Along network" in printed


@pytest.mark.slow
def test_a_certificate_on_the_data_set(mine, tmp_path):
    run(
        "certify", mine, tmp_path / "out", "--problem=stripes", "--size=200", "--width=8",
        "--depth=1", "--batch_size=20", "--epochs=2", "--prior_epochs=3",
    )  # fmt: skip
    rows = {r["bound"]: r for r in read(tmp_path / "out", "bounds")}
    assert "largest_2026" in rows
    assert 0 < float(rows["maurer_2004_kl_posterior"]["value"]) < 1


@pytest.mark.slow
def test_a_problem_with_s_prime_and_settings_of_its_own(mine, tmp_path):
    code, printed, _ = finish(program(f"--plugin={mine}", "--help", name="uc_failure"))
    assert code == 0
    (line,) = [one for one in printed.splitlines() if one.startswith("  --gap")]
    assert "rings: distance of the two circles" in line and "[0.5]" in line
    out = tmp_path / "out"
    run("uc_failure", mine, out, "--problem=rings", "--gap=0.2", "--max_epochs=30")
    rows = read(out, "results")
    assert len(rows) == 3 and {r["gap"] for r in rows} == {"0.2"}
    for row in rows:
        stored = formats.read_arrays(out / "measured" / f"{row['run']}.npz")
        norms = np.sort(stored["sprime/norms"])
        np.testing.assert_allclose(np.unique(norms.round(4)), [1.0, 1.2])
    # without its file the folder cannot be read, and says so
    code, _, errors = finish(program(f"--out={out}", "--resume", name="uc_failure"))
    assert code == 2 and "--plugin" in errors and errors.count("\n") == 1
