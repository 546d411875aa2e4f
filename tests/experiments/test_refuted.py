"""Certificates that held-out examples contradict are marked; valid ones are not accused."""

import math

import numpy as np
import pytest

import bounds
from bounds.numerics import intervals
from experiments import evaluate
from experiments.lab import certificates, refuting
from experiments.lab.calls import settings_of
from nets.sample import BLOCK
from tests.experiments.tiny import read, run

PLUGIN = '''
import jax.numpy as jnp
from bounds import BoundSpec, BoundValue


def hoeffding(task, margins, *, delta):
    """R_S + sqrt(ln(1/delta) / (2 m)): as if the network had not seen the training set."""
    empirical = margins.error(jnp.zeros(()))
    excess = jnp.sqrt(jnp.log(1 / delta) / (2 * task.size))
    return BoundValue(empirical + excess, empirical, excess, jnp.log(excess))


BOUNDS = {"mine_hoeffding": BoundSpec(hoeffding, "nobody", "certified")}
'''


@pytest.fixture(scope="module")
def memorised(tmp_path_factory):
    """A network that knows 80 random labels by heart, and 400 held-out examples."""
    place = tmp_path_factory.mktemp("memorised")
    rng = np.random.default_rng(0)
    x = rng.standard_normal((480, 6)).astype(np.float32)
    y = rng.integers(4, size=480)
    first = rng.standard_normal((6, 300)).astype(np.float32)
    features = np.maximum(x[:80] @ first, 0)
    last, *_ = np.linalg.lstsq(features, 2.0 * np.eye(4)[y[:80]] - 1, rcond=None)
    np.savez(place / "net.npz", w0=first, w1=last.astype(np.float32))
    np.savez(place / "init.npz", w0=first, w1=last.astype(np.float32))
    np.savez(place / "data.npz", x=x[:80], y=y[:80], x_test=x[80:], y_test=y[80:])
    (place / "mine.py").write_text(PLUGIN)
    return place


def evaluated(place, out, **typed):
    typed |= {
        "weights": f"{place}/net.npz", "data": f"{place}/data.npz", "activation": "relu",
    }  # fmt: skip
    config = settings_of(evaluate.PROGRAM, None, typed=typed)
    return run(config, out, evaluate.PROGRAM).path


def test_hoeffding_on_a_trained_network_is_refuted(
    memorised, tmp_path, capsys, entered
):
    names = ("mine_hoeffding", "holdout_cp", "occam_float32")
    out = evaluated(
        memorised, tmp_path / "out", bounds=names, plugin=f"{memorised}/mine.py",
        quote=("mine_hoeffding", "holdout_cp"),
    )  # fmt: skip
    rows = {row["bound"]: row for row in read(out, "bounds")}
    assert rows["mine_hoeffding"]["status"].startswith("REFUTED")
    assert float(rows["mine_hoeffding"]["value"]) < 0.2
    assert "delta = 0.05 allows" in rows["mine_hoeffding"]["status"]
    for name in names[1:]:
        assert "REFUTED" not in rows[name]["status"]
    said = capsys.readouterr().out
    assert "REFUTED" in said.splitlines()[-2]  # the last is where the report is
    assert "(holdout_cp, fixed beforehand)" in said
    for file in ("report.md", "report.html"):
        assert "mine_hoeffding of net (at most" in (out / file).read_text()


def test_trained_weights_as_initial_ones_are_not_available(memorised, tmp_path, capsys):
    names = ("zhou_2019_code", "neyshabur_2018", "fro_dist")
    init = f"{memorised}/init.npz"
    out = evaluated(memorised, tmp_path / "out", bounds=names, init=init)
    rows = {row["bound"]: row for row in read(out, "bounds")}
    for name in names[:2]:
        assert "are the trained ones" in rows[name]["status"]
        assert (
            "--init_is_independent" in rows[name]["status"] and not rows[name]["value"]
        )
    assert float(rows["fro_dist"]["value"]) == 0
    capsys.readouterr()
    out = evaluated(
        memorised,
        tmp_path / "declared",
        bounds=names,
        init=init,
        init_is_independent=True,
    )
    rows = {row["bound"]: row for row in read(out, "bounds")}
    assert "REFUTED" in rows["zhou_2019_code"]["status"]  # by the held-out examples
    assert "as declared; but" in rows["neyshabur_2018"]["status"]
    assert "if the initial weights are as declared" in capsys.readouterr().out


@pytest.mark.parametrize(("n", "p"), [(50, 0.1), (200, 0.02), (30, 0.7)])
def test_the_binomial_tail_against_its_sum(n, p):
    for k in range(n + 1):
        tail = sum(math.comb(n, j) * p**j * (1 - p) ** (n - j) for j in range(k, n + 1))
        assert intervals.at_least(k, n, p) == pytest.approx(tail, rel=1e-9)


@pytest.mark.parametrize("is_counted", [True, False])
@pytest.mark.parametrize(("n", "p"), [(50, 0.1), (200, 0.02), (400, 0.6)])
def test_a_bound_that_is_just_right_is_accused_no_oftener_than_said(n, p, is_counted):
    accused = sum(
        math.comb(n, k) * p**k * (1 - p) ** (n - k)
        for k in range(n + 1)
        if refuting.chance(k / n, n, p, is_counted) < refuting.REFUTED_AT
    )
    assert 0 < accused <= refuting.REFUTED_AT


def test_a_refuted_certificate_is_neither_quoted_nor_marked():
    row = {"bound": "holdout_cp", "value": 0.1, "status": "REFUTED: ..."}
    assert certificates.quotable([row], ["holdout_cp"]) is None
    assert not certificates.is_non_vacuous(row, 10)
    assert certificates.shown_status([row]) == "REFUTED"


def test_a_draw_that_a_block_of_examples_shares_is_one_of_few():
    """A valid bound on the error of noisy convolutions: draws of the weights are right or wrong throughout."""
    rng, n = np.random.default_rng(0), 10_000
    arrays = {
        "architecture/is_chain": np.array(1),
        "architecture/convolutions": np.array(2),
    }
    spec = bounds.BOUNDS["maurer_2004_kl"]
    few = refuting.independent(spec, arrays, n)
    assert few == n / BLOCK
    blocks = np.repeat(np.arange(math.ceil(n / BLOCK)), BLOCK)[:n]
    weights = np.bincount(blocks) / n
    wrong = rng.integers(2, size=(20_000, len(weights)))
    errors = wrong @ weights
    accused = [refuting.chance(e, few, 0.5, False) < 0.01 for e in errors]
    assert np.mean(accused) <= 0.01
    as_examples = [refuting.chance(e, n, 0.5, False) < 0.01 for e in errors]
    assert np.mean(as_examples) > 0.1
    dense = arrays | {"architecture/convolutions": np.array(0)}
    for name, own in (("maurer_2004_kl", dense), ("maurer_2004_kl_posterior", arrays)):
        assert refuting.independent(bounds.BOUNDS[name], own, n) == n
