"""Claims of tools beyond uniform convergence: rows of the card with planted answers."""

import csv
import dataclasses
import json

import numpy as np
import pytest

from experiments.beyond_uc import PROGRAM, study
from experiments.lab import calls
from experiments.lab.refusals import Refusal
from experiments.report_card import beyond, card
from experiments.report_card.claims import BEYOND
from experiments.report_card.suite import AXES, BASE
from tests.experiments.report_card import small
from tests.experiments.tiny import finish, program, run, undrawn

SIZES, SEEDS, N = (128, 512, 2048), 120, 10_000


def errors(source, seed):
    """A law: m^-1/2, every seed a little off it."""
    random = np.random.default_rng([seed, *source.encode()])
    return {
        m: float(min(0.4, 3 * m**-0.5 * np.exp(random.normal(0, 0.05)))) for m in SIZES
    }


def record(source="mnist", claims=None):
    """Networks with made-up errors, and what is claimed of each: name -> (changes, claim)."""
    networks = [
        {
            "network": f"{source}/m{m}_seed{seed}", "m": m, "seed": seed, **{n: BASE[n] for n in AXES},
            "is_factorial": False, "twin": "", "twin_of": "", "classes": 10, "converged": True,
            "diverged": False, "train_error": 0.0, "test_size": N,
            "test_error": errors(source, seed)[m], "test_wrong": round(N * errors(source, seed)[m]),
            "noisy_test_error": errors(source, seed)[m],
            "noisy_test_wrong": round(N * errors(source, seed)[m]), "source": source,
        }
        for m in SIZES for seed in range(SEEDS)
    ]  # fmt: skip
    found = []
    for name, (changes, claim) in (claims or PLANTED).items():
        values = [claim(n["test_error"], n["m"], n["seed"]) for n in networks]
        found.append({
            "claim": name, "status": "certified", "speaks_of": "trained", "in_expectation": False,
            "about": name, "paper": "Us", "costs": "16 more trainings (m = 2048)",
            "values": values, "errors": [n["test_error"] for n in networks],
            "reason": "" if values[0] is not None else "one number",
        } | changes)  # fmt: skip
    return beyond.Record(source, 0.05, networks, found)


# Each deserves the verdicts that are beside it below.
PLANTED = {
    "honest": ({}, lambda error, m, seed: 1.3 * error),
    "in_disguise": ({"two_sided": True}, lambda error, m, seed: 1.3 * error),
    "grows": ({"status": "estimate"}, lambda error, m, seed: m**0.5 / 100),
    "lies": ({}, lambda error, m, seed: 0.5 * error),
    # Below the error of every third seed, and above it in the mean.
    "in_the_mean": (
        {"in_expectation": True}, lambda error, m, seed: error * (0.95 if seed % 3 == 0 else 1.2)
    ),
    "below_the_mean": ({"in_expectation": True}, lambda error, m, seed: 0.9 * error),
    "pooled": ({}, lambda error, m, seed: None),
    "vacuous": ({}, lambda error, m, seed: 1.0),
    # Wrong wherever it says something, of 6 of 120 seeds, whichever network is taken: delta = .05 allows 6.
    "seldom_wrong": ({}, lambda error, m, seed: 0.2 * error if seed < 6 else 1.0),
}  # fmt: skip
DESERVED = {
    "honest": {"validity": "passes", "tightness": "passes", "training_set_size": "passes",
               "uniform_convergence": "passes"},
    "in_disguise": {"validity": "passes", "uniform_convergence": "fails"},
    "grows": {"validity": "makes no claim", "tightness": "makes no claim",
              "training_set_size": "fails", "uniform_convergence": "makes no claim"},
    "lies": {"validity": "fails"},
    "in_the_mean": {"validity": "passes", "training_set_size": "passes"},
    "below_the_mean": {"validity": "fails"},
    "vacuous": {"validity": "passes", "tightness": "fails", "training_set_size": "undecided"},
    "seldom_wrong": {"validity": "undecided", "tightness": "fails"},
    "pooled": {"validity": "undecided", "tightness": "undecided", "training_set_size": "undecided"},
}  # fmt: skip


@pytest.fixture(scope="module")
def carded_alone():
    """The card of the planted claims."""
    claims, networks = beyond.rows([record()])
    return card.make(claims, networks, {"suite": "quick"})


@pytest.fixture(scope="module")
def judged(carded_alone):
    return carded_alone["bounds"]


@pytest.mark.parametrize("name", DESERVED)
def test_planted_claims_get_the_verdicts_that_they_deserve(judged, name):
    found = {t: judged[name]["trials"][t]["verdict"] for t in DESERVED[name]}
    assert found == DESERVED[name]
    assert judged[name]["costs"] == "16 more trainings (m = 2048)"


def test_what_has_no_networks_is_not_judged(judged):
    """Width, depth, ranking, ... of networks that differ in m and in their seed alone."""
    for trial in (
        "width",
        "depth",
        "label_noise",
        "batch_and_rate",
        "ranking",
        "invariance",
    ):
        cell = judged["honest"]["trials"][trial]
        assert cell["verdict"] == "makes no claim", trial
        assert "no networks for this trial" in cell["sentence"]


def test_a_mean_is_judged_by_its_seeds(judged):
    """Against plain loops: the mean over sizes of value minus error, a number a seed."""
    _, claim = PLANTED["in_the_mean"]
    above = []
    for seed in range(SEEDS):
        own = errors("mnist", seed)
        above.append(np.mean([claim(own[m], m, seed) - own[m] for m in SIZES]))
    cell = judged["in_the_mean"]["trials"]["validity"]
    assert cell["score"] == pytest.approx(np.mean(np.array(above) >= 0), rel=1e-3)
    assert 0 < cell["score"] < 1
    shown = cell["numbers"]["above the error, mean"]
    assert float(shown) == pytest.approx(np.mean(above), rel=0.05)


def test_folders_are_lines_of_their_own():
    claims, networks = beyond.rows(
        [record(), record("spheres", {"other": PLANTED["honest"]})]
    )
    assert len(networks) == 2 * len(SIZES) * SEEDS
    first = networks["source"] == "mnist"
    assert np.isnan(claims["other"].value[first]).all()
    assert not np.isnan(claims["other"].value[~first]).any()
    assert claims["other"].reason == "no tool claims it there"
    other = dataclasses.replace(
        record("b"), claims=[record("b").claims[0] | {"status": "estimate"}]
    )
    claims, networks = beyond.rows([record(), other])
    assert "honest" not in claims
    assert claims["honest (mnist)"].status == "certified"
    assert claims["honest (b)"].status == "estimate"
    first = networks["source"] == "mnist"
    assert np.isnan(claims["honest (b)"].value[first]).all()
    assert not np.isnan(claims["honest (b)"].value[~first]).any()


def test_the_answer_speaks_of_them_apart(carded_alone, judged):
    (*_, last) = carded_alone["answer"]
    paced = [
        n
        for n, b in judged.items()
        if b["trials"]["training_set_size"]["verdict"] == "passes"
    ]
    assert f"Of {len(PLANTED)} claims beyond uniform convergence" in last
    assert f"{len(paced)} (" in last and all(name in last for name in paced[:4])
    assert {b["family"] for b in judged.values()} == {BEYOND}


def test_what_is_kept_is_read_again(tmp_path):
    path = tmp_path / "claims.json"
    beyond.keep([record()], path)
    assert beyond.kept(path) == [record()]
    for text, word in (
        ("{}", "version"),
        ('{"version": 9}', "version 9"),
        ("[", "make it again"),
    ):
        path.write_text(text)
        with pytest.raises(Refusal, match=word):
            beyond.kept(path)


def test_what_comes_with_the_package_is_read():
    records = beyond.kept()
    claims, networks = beyond.rows(records)
    assert {"hypersphere", "mnist"} <= {
        n["problem"] for r in records for n in r.networks
    }
    assert len(claims) > 10 and networks.usable.any()
    assert all(own.about and own.costs for own in claims.values())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run folder of `beyond_uc`: one tool, three seeds."""
    typed = {
        "dim": 10, "radii": (1.0, 2.0), "width": 12, "sizes": (16, 32), "seeds": 3, "n_test": 200,
        "max_epochs": 20, "replaced": 3, "margin": 1.0, "tool": ("stability",),
    }  # fmt: skip
    out = tmp_path_factory.mktemp("beyond") / "spheres"
    config = PROGRAM.resolved(calls.settings_of(PROGRAM, "hypersphere", typed=typed))
    # Two-sided bounds beside the tools are no part of what is read.
    with pytest.MonkeyPatch.context() as patch, undrawn():
        patch.setattr(study, "uniform_bounds", lambda problem: ("occam_float32",))
        run(config, out, PROGRAM)
    return out


def test_a_run_folder_is_read_as_its_tables_say(folder):
    (found,) = beyond.read([str(folder)])
    with (folder / "per_seed.csv").open() as file:
        rows = list(csv.DictReader(file))
    with (folder / "errors.csv").open() as file:
        own = list(csv.DictReader(file))
    assert [(n["m"], n["seed"], n["test_error"]) for n in found.networks] == [
        (int(r["m"]), int(r["seed"]), float(r["test_error"])) for r in own
    ]
    places = {(n["m"], n["seed"]): i for i, n in enumerate(found.networks)}
    claims = {c["claim"]: c for c in found.claims}
    assert rows and {r["claim"] for r in rows} <= set(claims)
    for row in rows:
        place = places[int(row["m"]), int(row["seed"])]
        value, error = (
            claims[row["claim"]]["values"][place],
            claims[row["claim"]]["errors"][place],
        )
        assert value == (float(row["value"]) if row["value"] else None)
        assert error == (float(row["error"]) if row["error"] else None)
    assert "3 more trainings" in claims["replace_one"]["costs"]


def test_a_card_has_their_rows_and_the_page_their_costs(folder, made, tmp_path):
    out = small.card(tmp_path / "card", made, typed={"beyond": (str(folder),)})
    found = json.loads((out / "card.json").read_text())
    rows = {n: b for n, b in found["bounds"].items() if b["family"] == BEYOND}
    assert "replace_one" in rows and set(small.BOUNDS) <= set(found["bounds"])
    assert "claims beyond uniform convergence" in found["answer"][3]
    report = (out / "report.md").read_text()
    assert "## Claims beyond uniform convergence" in report
    assert "3 more trainings, 3 labelled points (m = 32)" in report
    page = (out / "report.html").read_text()
    assert "<th>costs</th>" in page


def test_a_claim_with_the_name_of_a_bound_is_refused_before_anything_is_written(
    made, tmp_path
):
    path = tmp_path / "claims.json"
    beyond.keep([record(claims={"params": PLANTED["honest"]})], path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(beyond, "FILE", path)
        patch.setattr(beyond, "kept", lambda path=path, read=beyond.kept: read(path))
        with pytest.raises(
            Refusal, match="claims params, which is the name of another row"
        ):
            small.card(tmp_path / "card", made, typed={"beyond": (beyond.KEPT,)})
    assert not (tmp_path / "card").exists()


def test_what_is_no_folder_of_tools_is_refused(made, folder, tmp_path):
    for given, word in (
        ((str(tmp_path / "none"),), "there is no run folder"),
        ((str(made),), "is of report_card.make_table"),
        ((str(folder), str(folder)), "two are called"),
    ):
        with pytest.raises(Refusal, match=word) as refusal:
            small.card(tmp_path / "card", made, typed={"beyond": given})
        assert "\n" not in str(refusal.value) and not (tmp_path / "card").exists()


def test_the_command_keeps_what_folders_claim(folder, tmp_path):
    to = tmp_path / "claims.json"
    code, printed, _ = finish(
        program(f"--folders={folder}", f"--to={to}", name="report_card.keep_claims")
    )
    assert code == 0 and "claims of 1 run folders" in printed
    assert beyond.kept(to) == beyond.read([str(folder)])
    code, _, errors = finish(program(f"--to={to}", name="report_card.keep_claims"))
    assert code == 2 and errors.startswith("keep_claims: --folders is missing")
