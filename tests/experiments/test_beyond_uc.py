"""Tools beyond uniform convergence: coupled runs, closed forms, planted learners, bad input."""

import csv
import dataclasses
import math
from pathlib import Path

import jax
import numpy as np
import pytest
from scipy.integrate import trapezoid
from scipy.stats import norm

from bounds.beyond_uc import private_run, ratt
from bounds.beyond_uc.estimate import estimate
from bounds.uniform_convergence import uniform_convergence_lower_bound
from experiments.beyond_uc import PROGRAM, curves, figures, report, study, summary
from experiments.beyond_uc.cell import BASE, Seen, chosen
from experiments.beyond_uc.tools import TOOLS
from experiments.lab import calls, plugins, running
from experiments.lab.formats import read_json
from experiments.lab.refusals import Refusal
from experiments.problems.hypersphere import Hypersphere
from experiments.problems.linear import Expand
from nets.mlp import MLP
from nets.strided import StridedCNN
from tests.experiments.tiny import run, undrawn

SPHERES = {
    "dim": 10, "radii": (1.0, 2.0), "width": 12, "sizes": (32, 64), "seeds": 2,
    "n_test": 400, "max_epochs": 20, "replaced": 4, "models": 3, "masks": 4,
    "private_epochs": 3, "mu": (1.0,), "weight_noise": (0.5,), "margin": 1.0,
}  # fmt: skip
LINEAR = {
    "dim": 512, "sizes": (8,), "seeds": 2, "n_test": 300, "replaced": 3, "models": 3,
}  # fmt: skip


def rows_of(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def settings(problem, **own):
    config = calls.settings_of(PROGRAM, problem, typed=own)
    return PROGRAM.resolved(config)


@pytest.fixture(scope="module")
def spheres(tmp_path_factory):
    out = tmp_path_factory.mktemp("beyond") / "spheres"
    run(settings("hypersphere", **SPHERES), out, PROGRAM)
    return out


@pytest.fixture(scope="module")
def linear(tmp_path_factory):
    out = tmp_path_factory.mktemp("beyond") / "linear"
    config = settings("linear", **LINEAR, tool=("stability", "disagreement"))
    with undrawn():
        run(config, out, PROGRAM)
    return study.make(config), out


# Two-sided bounds that need no norms of layers: those take longer to compile than all the rest.
FEW = ("bartlett_1998_vc", "occam_float32")


@pytest.fixture(autouse=True, scope="module")
def few_bounds():
    """Two of the two-sided bounds: all of them are measured once, in a slow test."""
    whole = study.uniform_bounds

    def few(problem):
        return tuple(name for name in whole(problem) if name in FEW)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(study, "uniform_bounds", few)
        yield whole


def quantity(out, tool, m, seed, name):
    found = [
        r["value"]
        for r in rows_of(out / "quantities.csv")
        if (r["tool"], r["m"], r["seed"], r["quantity"])
        == (tool, str(m), str(seed), name)
    ]
    assert len(found) == 1, (tool, m, seed, name)
    return float(found[0])


# Coupled runs


def jobs_of(config):
    made = study.make(config)
    stage, trained = made.stages[0], None
    return made, {run.name: stage.job(run, trained) for run in stage.runs}


def test_runs_are_coupled_in_all_but_what_they_differ_in():
    made, jobs = jobs_of(settings("hypersphere", **SPHERES))
    cell = made.cells[0]
    base = jobs[f"{cell.name}_{BASE}"]
    for look in made.looks[cell.name]:
        name = look.training.name
        job = jobs[f"{cell.name}_{name}"]
        mine, own = base.examples(), job.examples()
        if name.startswith("replaced"):
            place = int(name.removeprefix("replaced"))
            differs = np.any(mine.inputs != own.inputs, axis=1)
            assert list(np.flatnonzero(differs)) == [place]
            np.testing.assert_array_equal(own.inputs[place], cell.ghost.inputs[place])
            assert own.labels[place] == cell.ghost.labels[place]
        if name.startswith("without"):
            place = int(name.removeprefix("without"))
            np.testing.assert_array_equal(
                own.inputs, np.delete(mine.inputs, place, axis=0)
            )
        if name.startswith(("replaced", "without", "masked", "private", "with_")):
            jax.tree.map(np.testing.assert_array_equal, base.init(), job.init())
            keys = [jax.random.key_data(j.key()) for j in (base, job)]
            np.testing.assert_array_equal(*keys)


def test_regimes_of_disagreement_share_what_they_say():
    made, jobs = jobs_of(settings("hypersphere", **SPHERES))
    name = made.cells[0].name
    base = jobs[f"{name}_{BASE}"]
    init = jobs[f"{name}_data0_init1_order0"]
    order = jobs[f"{name}_data0_init0_order1"]
    data = jobs[f"{name}_data1_init0_order0"]
    np.testing.assert_array_equal(base.examples().inputs, init.examples().inputs)
    assert not np.array_equal(
        base.init()["Dense_0"]["kernel"], init.init()["Dense_0"]["kernel"]
    )
    mine, other = base.examples().inputs, order.examples().inputs
    assert not np.array_equal(mine, other)
    np.testing.assert_array_equal(np.sort(mine, axis=0), np.sort(other, axis=0))
    assert not np.isin(mine[:, 0], data.examples().inputs[:, 0]).any()
    jax.tree.map(np.testing.assert_array_equal, base.init(), data.init())


def test_a_run_that_several_tools_ask_for_is_one():
    made = study.make(settings("hypersphere", **SPHERES))
    names = [run.name for run in made.stages[0].runs]
    assert len(names) == len(set(names))
    alone = sum(
        len(study.make(settings("hypersphere", **SPHERES, tool=(t,))).stages[0].runs)
        for t in TOOLS
    )
    assert len(names) < alone


def test_surrogates_with_other_inputs_have_the_labels_of_s():
    made, jobs = jobs_of(settings("hypersphere", **SPHERES))
    for cell in made.cells:
        for number in range(2):
            own = jobs[f"{cell.name}_redrawn{number}"].examples()
            np.testing.assert_array_equal(own.labels, cell.train.labels)
            radii = np.linalg.norm(own.inputs, axis=1)
            np.testing.assert_allclose(radii, 1.0 + own.labels, rtol=1e-5)
            assert not np.isin(own.inputs[:, 0], cell.train.inputs[:, 0]).any()


def test_surrogates_that_lack_a_label_of_s_are_none():
    """Of ten examples a set some lack one of ten labels, in all draws of a surrogate."""
    own = {"data_dir": "tests/data/mnist", "sizes": (10,), "batch_size": 2, "seeds": 8}
    made = study.make(settings("mnist", **own, tool=("derandomization",)))
    tool, lacking = TOOLS["derandomization"], 0
    for cell in made.cells:
        drawn = [tool._redrawn(n)(cell).labels for n in range(2)]
        lacks = any(np.any(labels != cell.train.labels) for labels in drawn)
        q = tool.quantities(cell, seen_by(constant, cell, tool))
        assert (q["redrawn_value"] is None) == (q["redrawn_rest"] is None) == lacks
        lacking += lacks
    assert lacking


def test_the_record_of_a_run_reproduces_its_training_set():
    config = settings(
        "mnist", data_dir="tests/data/mnist", sizes=(16,), seeds=1, batch_size=4,
        replaced=2, models=2, masks=2, width=8, surrogate_draws=1,
    )  # fmt: skip
    made, jobs = jobs_of(config)
    pool = made.problem.pool()

    def inputs(record, prefix=""):
        if f"{prefix}indices" in record:
            found = pool.inputs[record[f"{prefix}indices"]]
        else:
            parts = [inputs(record, f"{prefix}{n}/") for n in ("first", "second")]
            mask = record.get(f"{prefix}mask")
            found = np.concatenate(parts)
            if mask is not None:
                found = np.where(mask[:, None], parts[1], parts[0])
        places = record.get(f"{prefix}places")
        return found if places is None else found[places]

    assert len(jobs) > 10
    for job in jobs.values():
        drawn = job.examples()
        np.testing.assert_array_equal(inputs(drawn.record), drawn.inputs)


# Against closed forms


def examples_of(points, dim):
    """x `[N, SIGNAL + D]` and y in {-1, 1}, float64."""
    parts = [Expand(dim)(jax.tree.map(lambda a, i=i: a[i], points.inputs))
             for i in range(len(points.labels))]  # fmt: skip
    x = np.array([np.concatenate(p) for p in parts], np.float64)
    return x, 2.0 * points.labels - 1


def test_stability_of_the_linear_example_is_that_of_its_formula(linear):
    made, out = linear
    for cell in made.cells:
        x, y = examples_of(cell.train, 512)
        new, new_y = examples_of(cell.ghost, 512)
        w = x.T @ y
        places = TOOLS["stability"]._places(cell)
        rises, moved, flips = [], [], []
        fresh = np.delete(np.arange(cell.size), places)
        for i in places:
            v = w - y[i] * x[i] + new_y[i] * new[i]
            rises.append(float(y[i] * (x[i] @ v) <= 0) - float(y[i] * (x[i] @ w) <= 0))
            moved.append(np.linalg.norm(v - w))
            flips.append(np.mean((new[fresh] @ v > 0) != (new[fresh] @ w > 0)))
        for name, value in (
            ("on_average_stability", np.mean(rises)),
            ("weight_change", np.mean(moved)),
            ("flips_on_fresh_points", np.mean(flips)),
        ):
            seen = quantity(out, "stability", cell.size, cell.seed, name)
            assert seen == pytest.approx(value, rel=1e-5), name


def test_sgd_on_the_linear_loss_is_as_stable_as_hardt_recht_and_singer_prove(linear):
    """L is the longest input, one epoch of m steps of rate 1: 2 L^2, and no change is larger."""
    made, out = linear
    for cell in made.cells:
        x, _ = examples_of(cell.train, 512)
        new, _ = examples_of(cell.ghost, 512)
        longest = np.linalg.norm(np.concatenate([x, new]), axis=1).max()

        def seen(name, cell=cell):
            return quantity(out, "stability", cell.size, cell.seed, name)

        assert seen("hardt_recht_singer") == pytest.approx(2 * longest**2, rel=1e-5)
        assert seen("loss_change_at_least") <= 2 * longest**2
        # y w.x is 36 on S and 4 on fresh points, but for chance
        assert 20 < seen("training_loss_gap") < 2 * longest**2
    assert f"the gap found is {31.57}" in (out / "report.md").read_text()


def test_what_theorems_on_uniform_stability_say_grows_from_the_largest_change_seen(
    cell,
):
    """One learner changes by 1 somewhere, the other never: with gamma = 1 and gamma = 0."""
    m, delta = cell.size, cell.config.delta
    deviation = np.sqrt(np.log(1 / delta) / (2 * m))
    for learner, gamma in ((memoriser, 1.0), (constant, 0.0)):
        q = found(learner, cell, "stability")
        assert q["ramp_change_at_least"] == gamma
        pooled = TOOLS["stability"].pooled(
            m, [q, q | {"ramp_train_loss": 1.0}], cell.config
        )
        train = (q["ramp_train_loss"] + 1) / 2
        value = train + gamma + (2 * m * gamma + 1) * deviation
        assert pooled["bousquet_elisseeff_at_least"] == pytest.approx(value)
        value = train + gamma * np.log(m) * np.log(m / delta) + np.sqrt(2) * deviation
        assert pooled["feldman_vondrak_order_at_least"] == pytest.approx(value)
    lacking = q | {"ramp_change_at_least": None}
    pooled = TOOLS["stability"].pooled(m, [q, lacking], cell.config)
    assert list(pooled) == ["pointwise_form"]


def test_a_theorem_that_does_not_hold_says_why(spheres):
    text = (spheres / "report.md").read_text()
    assert "| Hardt, Recht & Singer 2016" in text
    assert "not convex in its weights (Theorem 3.8)" in text
    assert "steps stay at 0.5 where Theorem 3.12 asks for c / t" in text
    assert "which no runs can limit" in text


def test_disagreement_of_the_linear_example_is_that_of_its_formula(linear):
    made, out = linear
    for cell in made.cells:
        test, y = examples_of(cell.test, 512)
        signs = []
        for number in range(3):
            x, own = examples_of(cell.draw(number), 512)
            signs.append(test @ (x.T @ own) > 0)
        pairs = [(0, 1), (0, 2), (1, 2)]
        expected = np.mean([np.mean(signs[a] != signs[b]) for a, b in pairs])
        seen = quantity(
            out, "disagreement", cell.size, cell.seed, "diff_data_disagreement"
        )
        assert seen == pytest.approx(expected, abs=1e-9)
        error = quantity(out, "disagreement", cell.size, cell.seed, "diff_data_error")
        wrong = np.mean([np.mean(s != (y > 0)) for s in signs])
        assert error == pytest.approx(wrong, abs=1e-9)


def test_orders_and_initial_weights_do_not_move_the_linear_example(linear):
    """One epoch of a linear loss from 0: no two networks differ, which says nothing."""
    _, out = linear
    rows = rows_of(out / "claims.csv")
    silent = [r for r in rows if r["claim"] == "disagreement_diff_init"]
    assert silent and all(r["value"] == "" for r in silent)


def test_leaving_one_out_speaks_of_networks_on_one_example_less(linear):
    made, out = linear
    for cell in made.cells:
        test, test_y = examples_of(cell.test, 512)
        x, y = examples_of(cell.train, 512)
        places = TOOLS["stability"]._places(cell)
        scores = [test @ ((x.T @ y) - y[i] * x[i]) for i in places]
        expected = np.mean([np.mean(test_y * s <= 0) for s in scores])
        seen = [
            r for r in rows_of(out / "per_seed.csv")
            if r["claim"] == "leave_one_out" and r["seed"] == str(cell.seed)
        ]  # fmt: skip
        assert float(seen[0]["error"]) == pytest.approx(expected, abs=1e-9)


# Learners planted


_FACTORS = np.random.default_rng(0).integers(2**63, size=16, dtype=np.uint64) | 1


def digest(points):
    """A number for every point: its coordinates' bits, times odd factors, modulo 2^64."""
    bits = np.ascontiguousarray(points.inputs).view(np.uint32).astype(np.uint64)
    return (bits * _FACTORS[: bits.shape[1]]).sum(axis=1)


def guess(points):
    """A fixed guess for every point: the highest bit of its digest."""
    return (digest(points) >> 63).astype(int)


def memoriser(examples, points):
    """The label of a point that it has seen, else a guess."""
    known, asked = digest(examples), digest(points)
    order = np.argsort(known)
    place = order[np.searchsorted(known, asked, sorter=order) % len(known)]
    return np.where(known[place] == asked, examples.labels[place], guess(points))


def constant(examples, points):
    return np.zeros(len(points.labels), int)


def seen_by(learner, cell, tool):
    """What a tool would see of a learner that is no network."""
    found = {}
    for look in tool.looks(cell):
        examples = look.training.examples(cell)
        arrays = {"outcome": 2, "epochs": 1, "distance": 0.0}
        arrays["checks"] = np.zeros((1, 6))
        for name in look.sets:
            points = cell.points(name)
            prediction = learner(examples, points)
            wrong = prediction != points.labels
            arrays |= {
                f"{name}/prediction": prediction, f"{name}/wrong": wrong,
                f"{name}/margin": 1.0 - 2.0 * wrong, f"{name}/loss": wrong * 1.0,
            }  # fmt: skip
        found[look.name] = Seen(arrays)
    return found


@pytest.fixture(scope="module")
def cell():
    own = SPHERES | {"sizes": (256,), "replaced": 64, "masks": 16, "n_test": 1000}
    return study.make(settings("hypersphere", **own)).cells[0]


def found(learner, cell, name):
    return TOOLS[name].quantities(cell, seen_by(learner, cell, TOOLS[name]))


def test_what_rests_on_an_expectation_is_taken_of_the_mean_over_training_sets(cell):
    """Of changes at 0, 0 and 1 of 16 places; the mean of three forms would be .94."""
    plain = {"train_error": 0.0, "ramp_change_at_least": None}
    cells = [plain | {"pointwise_hypothesis_stability": b} for b in (0, 0, 1 / 16)]
    found = TOOLS["stability"].pooled(8192, cells, cell.config)
    expected = math.sqrt((1 / (2 * 8192) + 6 / 48) / cell.config.delta)
    assert found["pointwise_form"] == pytest.approx(expected) and expected > 1.5
    cells[0]["pointwise_hypothesis_stability"] = None  # it diverged
    assert TOOLS["stability"].pooled(8192, cells, cell.config)["pointwise_form"] is None


def test_a_memoriser_is_reported_as_one(cell):
    q = found(memoriser, cell, "stability")
    assert q["train_error"] == 0 and abs(q["test_error"] - 0.5) < 0.07
    # 64 guesses: half of them wrong within five standard deviations.
    assert abs(q["replace_one"] - 0.5) < 0.32
    of_all = TOOLS["stability"].pooled(256, [q], cell.config)
    assert of_all["pointwise_form"] > 1
    assert q["flips_on_fresh_points"] == 0  # a guess at what nobody has seen stays
    assert found(memoriser, cell, "ratt")["bound"] == 1
    assert found(memoriser, cell, "surrogate")["bound"] > 0.5
    q = found(memoriser, cell, "supersample")
    assert q["fast_rate_value"] == pytest.approx(q["gap"], abs=1e-9)
    assert abs(q["gap"] - 0.5) < 0.12
    assert q["ld_cmi_value"] >= q["gap"]
    q = found(memoriser, cell, "disagreement")
    assert np.isnan(q["all_diff_disagreement"])  # all guess alike: it says nothing
    q = found(memoriser, cell, "derandomization")
    assert q["redrawn_value"] > 0.4  # it errs on S as on fresh points


def test_a_constant_classifier_is_reported_as_one(cell):
    q = found(constant, cell, "stability")
    assert q["on_average_stability"] == q["hypothesis_stability"] == 0
    assert q["replace_one"] == q["train_error"]
    assert np.isnan(found(constant, cell, "disagreement")["diff_init_disagreement"])
    q = found(constant, cell, "supersample")
    # All that the losses say of the coins is chance.
    assert q["information_nats"] < 0.01
    assert not q["f_cmi_p_value"] < 0.01
    q = found(constant, cell, "surrogate")
    assert q["disagreement"] == 0 and 0.5 < q["with_labels"] < q["bound"] < 0.75


@pytest.mark.slow
def test_the_expected_gap_is_the_expected_rise_at_the_replaced_example():
    """Over 60 training sets, a learner whose gap is neither 0 nor 1/2: the identity holds."""

    def half(examples, points):
        """Remembers what begins with a positive coordinate."""
        learned, first = memoriser(examples, points), points.inputs[:, 0] > 0
        return np.where(first, learned, guess(points))

    own = SPHERES | {"sizes": (32,), "replaced": 32, "seeds": 60, "n_test": 2000}
    made = study.make(settings("hypersphere", **own, tool=("stability",)))
    tool = TOOLS["stability"]
    differences, gaps = [], []
    for cell in made.cells:
        q = tool.quantities(cell, seen_by(half, cell, tool))
        differences.append(q["identity_difference"])
        gaps.append(q["gap"])
    found = estimate(differences, 0.999)
    assert found.low < 0 < found.high
    assert 0.15 < np.mean(gaps) < 0.35  # so that 0 would have been refuted


def test_ratt_is_withdrawn_where_its_assumption_is_refuted():
    """A learner that errs on mislabelled training points, and follows fresh ones' labels."""
    own = SPHERES | {"sizes": (256,), "random_share": 1.0, "n_test": 1000}
    cell = study.make(settings("hypersphere", **own, tool=("ratt",))).cells[0]
    tool = TOOLS["ratt"]

    def learner(examples, points):
        if points is cell.test:
            return tool._labels(cell)[1]
        return points.labels

    q = tool.quantities(cell, seen_by(learner, cell, tool))
    assert q["assumption_p_value"] < 0.05 and q["test_error"] == 1
    assert q["bound"] is None
    assert q["main_term"] < 0.5  # what would have been claimed


@pytest.mark.slow
def test_random_labels_that_are_all_true_leave_nothing_to_check(tmp_path):
    own = {"dim": 64, "sizes": (4,), "seeds": 6, "n_test": 300, "tool": ("ratt",)}
    running.run(PROGRAM, settings("linear", **own), tmp_path / "out")
    (row,) = rows_of(tmp_path / "out" / "claims.csv")
    assert row["check"] == "" and row["value"] == "1.0"


def test_ratt_counts_one_classifier_everywhere(cell):
    """Ties are wrong for every label elsewhere; here the prediction decides."""
    tool = TOOLS["ratt"]
    seen = seen_by(constant, cell, tool)
    for look in seen.values():
        for name in ("train", "ghost", "test"):
            look.arrays[f"{name}/wrong"] = np.ones(len(look[f"{name}/wrong"]), bool)
    q = tool.quantities(cell, seen)
    assert q["train_error"] == np.mean(cell.train.labels != 0)
    assert q["test_error"] == np.mean(cell.test.labels != 0)


# The program


def test_every_claim_has_its_numbers(spheres):
    claims, known = rows_of(spheres / "claims.csv"), rows_of(spheres / "quantities.csv")
    assert {r["tool"] for r in claims} == set(TOOLS)
    assert len({(r["claim"], r["m"]) for r in claims}) == len(claims)
    assert known
    for row in claims:
        assert row["status"] and row["speaks_of"]
        if row["value"] and row["empirical"]:
            total = float(row["empirical"]) + float(row["excess"])
            assert total == pytest.approx(float(row["value"]), abs=1e-12)


def growth_of(values, **own):
    """Of values by seed and size."""
    made = study.make(settings("hypersphere", **SPHERES | own, tool=("surrogate",)))
    rows = [
        {"m": m, "seed": seed, "value": v, "error": 0.1}
        for seed, line in enumerate(values)
        for m, v in zip((32, 64), line, strict=True)
    ]
    return report.direction(summary._growth(made, rows)["growth"])


def test_falls_is_said_of_what_falls():
    assert growth_of([(0.40, 0.20), (0.41, 0.20), (0.39, 0.20)]) == "falls"
    # A mean over few places that is 0 is not below what the test points could show.
    few = [(2 / 16, 0.0), (1 / 16, 0.0), (2 / 16, 0.0)]
    assert growth_of(few) == "not decided"
    # Of steps so coarse all seeds may say the same by chance.
    assert growth_of([(2 / 16, 1 / 16)] * 2) == "not decided"
    assert growth_of([(2 / 16, 1 / 16)] * 6) == "falls"
    assert growth_of([(1.0, 1.0)] * 6) == "not decided"


def test_one_size_has_one_error(linear):
    text = (linear[1] / "report.md").read_text()
    assert "On linear the test error is" in text and "goes from" not in text
    assert "uniform convergence bound on the 0-1 error is at least" in text


def test_what_lies_below_the_error_is_named(spheres):
    found = read_json(spheres / "summary.json")
    low, high = (dict(c) for c in found["claims"][:2])
    for claim, value in ((low, 0.1), (high, 0.3)):
        claim["points"] = [claim["points"][-1] | {"value": value, "error": 0.2}]
    said = report.answer(found | {"claims": [low, high]}).sentences
    assert any(s.endswith(f"; below the error found lie {low['claim']}.") for s in said)


def test_the_lower_bounds_of_all_sizes_hold_together(spheres):
    found = read_json(spheres / "summary.json")
    rows = rows_of(spheres / "errors.csv")
    for point in found["points"]:
        own = [r for r in rows if r["m"] == str(point["m"])]
        expected = uniform_convergence_lower_bound(
            [float(r["sprime_error"]) for r in own],
            [round(400 * float(r["test_error"])) for r in own],
            400, delta=0.05, confidence=0.975,
        )  # fmt: skip
        assert expected.bound is not None
        assert point["eps_unif_alg_lower_bound"] == pytest.approx(expected.bound)
    assert (
        "(confidence 0.95, for all m together)" in (spheres / "report.md").read_text()
    )


def test_costs_are_what_was_used(spheres):
    claims = [r for r in rows_of(spheres / "claims.csv") if r["tool"] == "disagreement"]
    assert {r["unlabelled"] for r in claims} == {"400"}
    point = {"more_trainings": 31, "labelled": 1, "unlabelled": 0}
    assert report.costs(point) == "31 more trainings, 1 labelled point"


@pytest.mark.parametrize(
    ("tools", "diverged"),
    [
        # S, a part, one with random labels: of 2 seeds
        (("surrogate", "ratt"), 6),
        # and 2 surrogates
        pytest.param(
            ("privacy", "derandomization", "surrogate", "ratt"), 10,
            marks=pytest.mark.slow,
        ),
    ],
)  # fmt: skip
@pytest.mark.drawn
def test_nothing_is_claimed_of_runs_that_diverged(tmp_path, tools, diverged):
    own = SPHERES | {"sizes": (32,), "learning_rate": 1e30, "plugin": None}
    out = tmp_path / "out"
    running.run(PROGRAM, settings("hypersphere", **own, tool=tools), out)
    for row in rows_of(out / "claims.csv"):
        assert (row["value"] != "") == (row["tool"] == "privacy"), row["claim"]
    summary = read_json(out / "summary.json")
    assert summary["diverged_runs"] == diverged
    assert "least_bound" not in summary["points"][0]
    assert f"{diverged} diverged: nothing is claimed" in (out / "report.md").read_text()


def one_run_limit(train, m, mu, delta, form):
    """The limit of one run, its supremum found on a grid, its last term by integration."""
    joint = np.hypot(mu, 1 / (m * form.width))
    p = norm.cdf(np.linspace(-12, 12, 200001))
    excess = np.max(norm.cdf(norm.ppf(p) + joint) - form.factor * p)
    z = np.linspace(form.reserve, 12, 100001)
    lost = trapezoid((z - form.reserve) * norm.pdf(z), z)
    added = (excess + form.factor * form.width * lost) / (delta * norm.cdf(form.margin))
    raised = train + form.width * (form.reserve + form.margin)
    return min(1.0, form.factor * raised + added)


@pytest.mark.slow
def test_one_private_run_is_certified_by_itself(tmp_path):
    """At a small mu and a form for its error the limit says something; the guess is a setting."""
    own = SPHERES | {"sizes": (2048,), "tool": ("privacy",), "mu": (0.02, 0.05),
                     "expected_error": 0.5, "n_test": 1000}  # fmt: skip
    config, out = settings("hypersphere", **own), tmp_path / "out"
    running.run(PROGRAM, config, out)
    claims = {r["claim"]: r for r in rows_of(out / "claims.csv")}
    for mu in own["mu"]:
        row = claims[f"privacy_mu{mu:g}_one_run"]
        assert (row["status"], row["speaks_of"], row["network"]) == (
            "certified", "trained", "private",
        )  # fmt: skip
        assert row["in_expectation"] == "false"
        form = private_run.form_for(2048, mu, config.delta, 0.5)
        per_seed = [
            r for r in rows_of(out / "per_seed.csv") if r["claim"] == row["claim"]
        ]
        assert len(per_seed) == 2
        for r in per_seed:
            train = quantity(out, "privacy", 2048, r["seed"], f"mu{mu:g}_train_error")
            limit = one_run_limit(train, 2048, mu, config.delta, form)
            assert float(r["value"]) == pytest.approx(limit, abs=1e-5)
            assert float(r["error"]) < float(r["value"]) < 1
        price, bound = (
            quantity(out, "privacy", 2048, "all", f"mu{mu:g}_{n}")
            for n in ("price", "at_the_mean")
        )
        trains = [
            quantity(out, "privacy", 2048, s, f"mu{mu:g}_train_error") for s in (0, 1)
        ]
        assert price + np.mean(trains) == pytest.approx(bound)
        assert price > 0


def test_a_private_run_has_the_noise_of_its_mu():
    """Every example is in the one batch of each of E epochs: mu = 2 sqrt(E) / sigma."""
    own = SPHERES | {"mu": (0.3, 1.0)}
    made, jobs = jobs_of(settings("hypersphere", **own, tool=("privacy",)))
    seen = 0
    for cell in made.cells:
        for mu in cell.config.mu:
            job = jobs[f"{cell.name}_private{mu:g}"]
            plan = job.plan
            assert mu == pytest.approx(
                2 * np.sqrt(plan.max_epochs) / plan.objective.noise
            )
            assert plan.max_epochs == SPHERES["private_epochs"]
            assert plan.batch_size == len(job.examples().labels) == cell.size
            np.testing.assert_array_equal(job.examples().inputs, cell.train.inputs)
            seen += 1
    assert seen == 8


def test_no_ensemble_differs_more_from_its_disagreement_than_cace_allows(
    spheres, linear
):
    """|E err - E Dis| <= q-weighted CACE <= CACE, pairs of a model with itself among the pairs."""
    checked = 0
    for out in (spheres, linear[1]):
        found = {}
        for r in rows_of(out / "quantities.csv"):
            if r["tool"] == "disagreement" and r["value"]:
                found[r["m"], r["seed"], r["quantity"]] = float(r["value"])
        for (m, seed, name), difference in found.items():
            if name.endswith("_theorem_difference"):
                regime = name.removesuffix("_theorem_difference")
                weighted, whole = (
                    found[m, seed, f"{regime}_{n}"] for n in ("weighted_cace", "cace")
                )
                assert abs(difference) <= weighted + 1e-12 and weighted <= whole + 1e-12
                checked += 1
    assert checked == 4 * (4 + 2)


def test_terms_of_the_gap_add_up(spheres):
    for kind in ("redrawn", "noise0.5"):
        for m in (32, 64):
            for seed in (0, 1):
                terms = [
                    quantity(spheres, "derandomization", m, seed, f"{kind}_{term}")
                    for term in ("estimation", "fitting", "rest")
                ]
                gap = quantity(spheres, "derandomization", m, seed, "gap")
                assert sum(terms) == pytest.approx(gap, abs=1e-9)


def test_ratt_along_training_ends_where_the_network_does(spheres):
    """What the engine saw at the last epoch is what is seen of the finished network."""
    made = study.make(settings("hypersphere", **SPHERES, tool=("ratt",)))
    for cell in made.cells:

        def seen(name, cell=cell):
            return quantity(spheres, "ratt", cell.size, cell.seed, name)

        assert seen("epoch4_main_term") == pytest.approx(seen("main_term"), abs=1e-6)
        count = round(0.25 * cell.size)
        expected = ratt.ratt(
            round(seen("train_error") * cell.size), cell.size,
            round(seen("random_label_error") * count), count, classes=2, delta=0.05 / 4,
        ).value  # fmt: skip
        assert seen("epoch4_bound") == pytest.approx(expected)
        assert seen("epoch4_test_error") == pytest.approx(seen("test_error"), abs=1e-6)
    rows = rows_of(spheres / "quantities.csv")
    epochs = {r["quantity"] for r in rows if r["quantity"].startswith("epoch")}
    assert len(epochs - {"epoch_of_least_main_term"}) == 4 * 3


def test_a_curve_is_the_means_of_what_is_known():
    rows = [
        {"quantity": q, "m": m, "value": v}
        for q, m, v in (
            ("a", 8, 1.0), ("a", 8, 2.0), ("a", 16, 9.0), ("b", 8, None), ("b", 8, 1.0),
            ("c", 8, 0.25),
        )
    ]  # fmt: skip
    named = {0.3: "c", 0.1: "a", 0.2: "b", 0.4: "d"}
    assert curves.along(rows, named, 8) == ([0.1, 0.3], [1.5, 0.25])


def test_claims_that_say_nothing_are_not_drawn_beside_those_that_do():
    def claim(name, *values):
        return {"claim": name, "points": [{"value": v} for v in values]}

    vacuous = [claim("a", 0.5, 0.9), claim("b", None, 1.0)]
    says = [claim("c", 0.6, 0.49), claim("d", None, 0.1)]
    assert figures._drawn(vacuous + says, 0.5) == says
    assert figures._drawn(vacuous, 0.5) == vacuous


@pytest.mark.slow
@pytest.mark.drawn
def test_what_depends_on_mu_is_drawn(tmp_path):
    own = SPHERES | {"sizes": (32,), "mu": (0.3, 1.0), "tool": ("privacy",)}
    run(settings("hypersphere", **own), tmp_path / "out", PROGRAM)
    text = (tmp_path / "out" / "report.md").read_text()
    assert "figures/privacy.png" in text and "The trade-off over mu" in text
    assert (tmp_path / "out" / "figures" / "privacy.png").stat().st_size > 10_000


def test_what_depends_on_epochs_is_drawn(spheres):
    text = (spheres / "report.md").read_text()
    for name, said in (
        ("ratt", "RATT along training"),
        ("derandomization", "The gap of the network on S in three terms"),
    ):
        assert f"figures/{name}.png" in text and said in text
        assert (spheres / "figures" / f"{name}.png").stat().st_size > 10_000


def test_what_is_certified_of_another_network_is_not_said_of_the_one_on_s(spheres):
    found = read_json(spheres / "summary.json")
    own = {c["claim"]: c["network"] for c in found["claims"]}
    assert own["privacy_mu1_one_run"] == "private" and own["surrogate"] == "on S"
    for claim in found["claims"]:
        if claim["claim"] in ("privacy_mu1_one_run", "surrogate"):
            claim["points"][-1] |= {"value": 0.3, "error": 0.2}
    said = report.answer(found).sentences
    assert any(
        "Certified of the network on S itself is surrogate: 0.3" in s for s in said
    )


def test_a_folder_that_does_not_say_which_network_is_still_shown():
    """The summary of a run made before claims said so."""
    found = read_json(Path("experiments/gallery/beyond_hypersphere.json"))
    assert all("network" not in c for c in found["claims"])
    answer, _, claims = report.overview(found)
    assert any("itself is surrogate: 0.4498 " in s for s in answer.sentences)
    assert claims.rows[0][4] == "trained"


def test_the_report_begins_with_its_answer(spheres):
    text = (spheres / "report.md").read_text()
    assert text.index("On hypersphere the test error goes from") < text.index("| claim")
    assert (spheres / "figures" / "beyond.png").stat().st_size > 10_000
    summary = read_json(spheres / "summary.json")
    assert [p["m"] for p in summary["points"]] == [32, 64]


@pytest.mark.slow
def test_a_run_that_was_ended_half_way_goes_on(spheres, tmp_path, interrupted_after):
    """Two tools, the runs of one of which are trained by a program of their own."""
    out = tmp_path / "again"
    config = settings("hypersphere", **SPHERES, tool=("stability", "privacy"))
    with interrupted_after(20):
        running.run(PROGRAM, config, out)
    running.run(PROGRAM, config, out, resume=True)
    for name in ("claims", "per_seed", "quantities", "errors"):
        first, second = (rows_of(f / f"{name}.csv") for f in (spheres, out))
        own = [r for r in first if r.get("tool", "privacy") in config.tool]
        assert own and own == second, name


@pytest.mark.slow
def test_all_two_sided_bounds_are_measured_beside_the_tools(
    tmp_path, few_bounds, monkeypatch
):
    """None of them says less than the gap's lower bound."""
    monkeypatch.setattr(study, "uniform_bounds", few_bounds)
    config, out = (
        settings("hypersphere", **SPHERES, tool=("surrogate",)),
        tmp_path / "a",
    )
    running.run(PROGRAM, config, out)
    points = read_json(out / "summary.json")["points"]
    assert [p["m"] for p in points] == [32, 64]
    for point in points:
        assert point["least_bound"] >= point["eps_unif_alg_lower_bound"]


def test_a_coin_decides_which_member_is_trained_on():
    made, jobs = jobs_of(settings("hypersphere", **SPHERES, tool=("supersample",)))
    cell = made.cells[0]
    for number, mask in enumerate(TOOLS["supersample"]._masks(cell)):
        own = jobs[f"{cell.name}_masked{number}"].examples()
        expected = np.where(mask[:, None], cell.ghost.inputs, cell.train.inputs)
        np.testing.assert_array_equal(own.inputs, expected)
    same = chosen(np.zeros(cell.size, bool), cell.train, cell.ghost)
    np.testing.assert_array_equal(same.inputs, cell.train.inputs)


@pytest.mark.parametrize(
    ("own", "said"),
    [
        ({"tool": ("magic",)}, "--tool=magic: must be all, or some of stability"),
        ({"batch_size": 64}, "--batch_size=64: larger than the smallest of --sizes"),
        ({"biases": False}, "--biases=false"),
        ({"tool": ("stability",), "sizes": (8,)}, "--sizes=8: m - 1 = 7 examples"),
        ({"tool": ("surrogate",), "certified_share": 0.99}, "--certified_share=0.99"),
    ],
)
def test_what_cannot_be_is_refused_in_a_line(own, said):
    config = settings("hypersphere", **SPHERES | own)
    with pytest.raises(Refusal, match=said) as refusal:
        PROGRAM.check(config)
        study.make(config)
    assert "\n" not in str(refusal.value)


def test_more_disjoint_training_sets_than_the_data_have_are_refused():
    config = settings(
        "mnist", data_dir="tests/data/mnist", sizes=(512,), models=9, batch_size=8
    )
    with pytest.raises(Refusal, match="disjoint training sets of m examples"):
        study.make(config)


def test_an_sprime_that_is_none_is_refused_before_training(monkeypatch):
    def halved(self, inputs, labels):
        return inputs[::2], labels[::2]

    monkeypatch.setattr(Hypersphere, "sprime", halved)
    with pytest.raises(
        Refusal, match=r"Hypersphere.sprime: its inputs are float\[16, 10\]"
    ):
        study.make(settings("hypersphere", **SPHERES | {"dim": 10, "seed": 7}))


@pytest.mark.slow
def test_an_sprime_of_another_law_says_nothing_of_uniform_convergence(
    tmp_path, monkeypatch
):
    """A map that moves every point outwards by a third, its label kept: no such training set."""

    def moved(self, inputs, labels):
        return inputs * np.float32(4 / 3), labels

    own = SPHERES | {"sizes": (256,), "tool": ("surrogate",), "n_test": 300, "seed": 11}
    config, first, second = (
        settings("hypersphere", **own),
        tmp_path / "a",
        tmp_path / "b",
    )
    running.run(PROGRAM, config, first)
    monkeypatch.setattr(Hypersphere, "sprime", moved)
    running.run(PROGRAM, dataclasses.replace(config, seed=12), second)
    for out, is_refuted in ((first, False), (second, True)):
        (row,) = rows_of(out / "same_distribution.csv")
        assert (float(row["all"]) < 0.001) == is_refuted
        point = read_json(out / "summary.json")["points"][0]
        assert (point["eps_unif_alg_lower_bound"] is None) == is_refuted
        text = (out / "report.md").read_text()
        assert ("is withdrawn at m = 256: S' is not distributed" in text) == is_refuted
        assert ("any two-sided bound |" in text) != is_refuted


def test_a_tool_that_cannot_speak_says_so_and_the_others_do(capsys):
    own = SPHERES | {"certified_share": 0.99, "tool": ("stability", "surrogate")}
    made = study.make(settings("hypersphere", **own))
    assert list(made.tools) == ["stability"] and "surrogate" in made.silent
    assert "surrogate does not speak of hypersphere" in capsys.readouterr().err


def test_a_claim_of_no_known_status_is_refused():
    claim = TOOLS["surrogate"].claims(None, settings("hypersphere", **SPHERES), 32)[0]
    with pytest.raises(ValueError, match="status"):
        dataclasses.replace(claim, status="true")
    with pytest.raises(ValueError, match="speaks_of"):
        dataclasses.replace(claim, speaks_of="me")


OWN_TOOL = """
from experiments.beyond_uc.cell import BASE, Look, base
from experiments.beyond_uc.tools.tool import Claim, Tool


class Twice(Tool):
    name, about, paper = "twice", "Twice the training error.", "Nobody 2026"
    two_sided = "No."

    def looks(self, cell):
        return [Look(base(cell))]

    def quantities(self, cell, seen):
        run = seen[BASE]
        return {"twice": 2 * run.error("train"), "test_error": run.error("test")}

    def claims(self, problem, config, size):
        return [Claim("twice", "twice", "test_error", "Wrong.", "heuristic", two_sided=True)]


TOOLS = {"twice": Twice()}
"""


def test_a_tool_of_ones_own_stands_beside_ours(tmp_path):
    file, out = tmp_path / "mine.py", tmp_path / "out"
    file.write_text(OWN_TOOL)
    try:
        assert plugins.load(str(file)).more == ("twice",)
        own = SPHERES | {"tool": ("twice", "surrogate"), "plugin": str(file)}
        running.run(PROGRAM, settings("hypersphere", **own), out)
        claims = {r["claim"] for r in rows_of(out / "claims.csv")}
        assert claims == {"twice", "surrogate", "holdout"}
        said = {
            c["claim"]: c["two_sided"]
            for c in read_json(out / "summary.json")["claims"]
        }
        assert said == {"twice": True, "surrogate": False, "holdout": False}
        assert plugins.decided_by(None, {"tool": ["twice"]}) == []
        del TOOLS["twice"]
        # Who does not give the file is told of it before anything is drawn again.
        assert plugins.decided_by(None, {"tool": ["twice"]}) == ["twice"]
    finally:
        TOOLS.pop("twice", None)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("TOOLS = {'mine': 3}", "mine: is no instance of a class of"),
        ("TOOLS = {'ratt': 3}", "the name ratt is taken"),
        ("TOOLS = [1]", "TOOLS is no dict of names"),
    ],
)
def test_a_tool_that_is_none_is_refused(tmp_path, content, said):
    file = tmp_path / "mine.py"
    file.write_text(content)
    with pytest.raises(Refusal, match=said):
        plugins.load(str(file))


def test_the_network_is_one_of_the_registry(mnist_sample, entered):
    """Any that learns from one example at a time; the problem's own where it has one."""
    found = {}
    for name in ("mlp", "strided_cnn"):
        config = settings("mnist", data_dir=str(mnist_sample), network=name, width=2)
        found[name] = study.plan_of(config, calls.problem_of(config)).model
    assert isinstance(found["mlp"], MLP) and isinstance(
        found["strided_cnn"], StridedCNN
    )
    for problem, own, why in (
        (
            "mnist",
            {"data_dir": str(mnist_sample), "network": "cnn_bn"},
            "normalisation",
        ),
        ("hypersphere", {"network": "strided_cnn"}, "has none; use --network=mlp"),
    ):
        config = settings(problem, **own)
        with pytest.raises(Refusal, match=why):
            study.plan_of(config, calls.problem_of(config))
    with pytest.raises(Refusal, match="problem linear decides it"):
        settings("linear", network="mlp")
    linear = settings("linear", **LINEAR)
    assert not isinstance(study.plan_of(linear, calls.problem_of(linear)).model, MLP)
