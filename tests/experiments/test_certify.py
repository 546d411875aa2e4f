"""`experiments.certify` on a small sample of MNIST."""

import dataclasses
import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from bounds import objectives
from bounds.measures import gibbs_posterior
from experiments.certify import PROGRAM, certificate_file, study, verification
from experiments.certify.kinds import KINDS, posterior
from experiments.certify.routes import ROUTES, sgd
from experiments.certify.routes.posterior import Posterior
from experiments.lab import formats
from experiments.lab import running as lab
from experiments.lab.calls import problem_of, settings_of
from experiments.lab.jobs import Trained
from experiments.lab.reading import weights
from experiments.lab.refusals import Refusal
from experiments.lab.run_folder import RunFolder
from nets import stochastic
from nets.mlp import MLP
from tests.conftest import MNIST_SAMPLE
from tests.experiments import tiny
from tests.experiments.tiny import read
from tests.oracles import pac_bayes

BOUNDS = "maurer_2004_kl_posterior", "maurer_2004_kl"
SMALL = {
    "data_dir": str(MNIST_SAMPLE), "size": 600, "width": 16, "depth": 1, "batch_size": 50,
    "seeds": 2, "prior_epochs": 8, "epochs": 2, "learning_rate": 0.1, "save_weights": True,
}  # fmt: skip
DRAWS, COUNTED = 2900, 3000  # as asked for, and as there are: each of 300 images alike
SHORT = {"seeds": 1, "prior_epochs": 1, "epochs": 1, "bounds": BOUNDS}


def config(preset, **changes):
    small = dict(SMALL)
    if preset == "perez_ortiz":
        small["draws"] = DRAWS
    if preset == "lotfi":
        del small["prior_epochs"]
    typed = {n: v for n, v in (small | changes).items() if v is not None}
    return settings_of(PROGRAM, typed.get("problem"), preset, typed)


def run(chosen, out, **options):
    return tiny.run(chosen, out, PROGRAM, **options)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "posterior"
    return run(config("perez_ortiz"), out).path


def test_the_tables_say_what_was_certified(folder):
    results, rows = read(folder, "results"), read(folder, "bounds")
    assert [row["run"] for row in results] == ["certified_seed0", "certified_seed1"]
    chosen = PROGRAM.resolved(config("perez_ortiz"))
    delta = chosen.delta / chosen.tried
    for row in results:
        assert (row["m"], row["prior_m"], row["epochs"]) == ("300", "300", "2")
        assert float(row["kl_over_m"]) == pytest.approx(float(row["kl"]) / 300)
        mine = {r["bound"]: r for r in rows if r["run"] == row["run"]}
        assert list(mine) == list(chosen.bounds)
        q = pac_bayes.gibbs_upper(
            float(row["stochastic_train_error"]), COUNTED, 0.2 * delta
        )
        expected = pac_bayes.pac_bayes_kl(float(row["kl"]), q, 300, 0.8 * delta)
        value = float(mine["maurer_2004_kl_posterior"]["value"])
        assert value == pytest.approx(expected, rel=1e-6)
        for name, one in mine.items():
            assert float(one["value"]) >= float(one["empirical"]), name
        own = float(mine["maurer_2004_kl_posterior"]["risk"])
        assert own == pytest.approx(float(row["stochastic_test_error"]))
    summary = json.loads((folder / "summary.json").read_text())
    headline = summary["certificates"]["certified_seed0"]
    assert headline["bound"] == "maurer_2004_kl_posterior"
    assert headline["is_non_vacuous"] == (headline["value"] < 0.9)
    text = (folder / "report.html").read_text()
    # The papers' numbers are of other sizes.
    assert "own test error" in text and "Perez-Ortiz" not in text
    assert summary["published"] is None


def test_a_posterior_is_a_file_that_verify_recounts(folder):
    """Of the second seed, whose images are others."""
    path = folder / "weights" / "certified_seed1_posterior.safetensors"
    typed = {"verify": str(path), "data_dir": str(MNIST_SAMPLE)}
    line, holds = verification.verified(typed)
    result = read(folder, "results")[1]
    wrong = round(float(result["stochastic_train_error"]) * COUNTED)
    assert holds and f"{wrong} errors among {COUNTED} predictions of 300" in line
    assert "its prior was learned on the other 300 examples" in line


@pytest.mark.slow
@pytest.mark.drawn
def test_a_run_that_diverged_has_no_number(tmp_path):
    out = tmp_path / "a"
    run(config("perez_ortiz", posterior_learning_rate=1e30, draws=1000, **SHORT), out)
    (row,) = read(out, "results")
    assert (row["outcome"], row["kl"], row["kl_over_m"]) == ("diverged", "", "")
    why = "not available: the run diverged"
    assert {r["status"] for r in read(out, "bounds")} == {why}
    for name in ("results.csv", "bounds.csv", "summary.json", "report.md"):
        text = (out / name).read_text().lower()
        assert "nan" not in text and "not a number" not in text, name
    assert f"no certificate to quote, {why}.**" in text and f"| {why} |" in text


def test_nothing_is_certified_on_what_the_prior_has_seen(folder):
    found = study.make(PROGRAM.resolved(config("perez_ortiz")))
    trained = Trained(RunFolder(folder), found.stages)
    priors, certified = (stage.runs for stage in found.stages)
    for first, second in zip(priors, certified, strict=True):
        seen = trained.job(first).examples().record["indices"]
        stored = formats.read_arrays(folder / "samples" / f"{second.name}.npz")
        assert not set(seen) & set(stored["indices"])
        assert len(set(stored["indices"])) == 300
        np.testing.assert_array_equal(
            stored["indices"], trained.job(second).examples().record["indices"]
        )
        # The prior's mean is what the first stage ended with, and did not move since.
        ended, final = trained.params(first), trained.params(second)
        for name in ("kernel", "bias"):
            np.testing.assert_array_equal(
                final["Dense_0"][f"prior_{name}"], ended["Dense_0"][name]
            )


@pytest.mark.slow
def test_a_second_call_shows_and_a_redraw_bounds_again(folder, capsys):
    before = read(folder, "bounds")
    run(config("perez_ortiz"), folder, resume=True)
    out = capsys.readouterr().out
    assert "certified_seed1: not the trained network but a stochastic one" in out
    assert read(folder, "bounds") == before
    # Those that are quoted stay, in their order.
    more = ("maurer_2004_kl", "gradient_noise_final")
    names = (*PROGRAM.resolved(config("perez_ortiz")).bounds, *more)
    run(config("perez_ortiz", bounds=names), folder, redraw=True)
    again = read(folder, "bounds")[: len(names)]
    assert [row["bound"] for row in again] == list(names)
    assert again[0]["value"] == before[0]["value"]
    # Of the plain network, around the prior that was learned.
    assert 0 < float(again[-2]["value"]) < 1
    # What a step descended was no mean loss of examples.
    assert again[-1]["value"] == "" and "the loss" in again[-1]["status"]
    run(config("perez_ortiz"), folder, redraw=True)


@pytest.mark.slow
def test_a_prior_of_another_run_gives_the_same_certificate(folder, tmp_path):
    """As the one that is trained in the same call, to the byte: the same images, steps and draws."""
    own = folder / "weights" / "prior_seed0.safetensors"
    found = run(config("perez_ortiz", seeds=1, prior=str(own)), tmp_path / "out").path
    name = "weights/certified_seed0_posterior.safetensors"
    tensors = [formats.read_tensors(place / name) for place in (folder, found)]
    assert tensors[0].keys() == tensors[1].keys()
    for key, array in tensors[0].items():
        np.testing.assert_array_equal(array, tensors[1][key])
    expected = [r for r in read(folder, "bounds") if r["run"] == "certified_seed0"]
    assert read(found, "bounds") == expected
    assert not (found / "weights" / "prior_seed0.safetensors").exists()
    # The file by itself does not say what it has seen: that is said.
    alone = tmp_path / "alone.safetensors"
    alone.write_bytes(own.read_bytes())
    report = (found / "report.md").read_text()
    assert f"The prior was given ({own})" in report and "taken as said" not in report
    again = config("perez_ortiz", seeds=1, prior=str(alone))
    run(again, tmp_path / "out", resume=True)  # the same network under another name
    elsewhere = run(again, tmp_path / "elsewhere").path
    assert "no others than the first 300" in (elsewhere / "report.md").read_text()
    # Nor does a folder that is none of ours, whatever is in it; what was put into one of ours is seen.
    (tmp_path / "weights").mkdir()
    (tmp_path / "config.json").write_text('["somebody else\'s"]')
    theirs = tmp_path / "weights" / "prior_seed0.safetensors"
    theirs.write_bytes(own.read_bytes())
    study.make(PROGRAM.resolved(config("perez_ortiz", seeds=1, prior=str(theirs))))
    other = formats.read_tensors(own)
    put_in = found / "weights" / "prior_seed0.safetensors"
    put_in.write_bytes((found / "weights" / "certified_seed0.safetensors").read_bytes())
    with pytest.raises(Refusal):
        study.make(PROGRAM.resolved(config("perez_ortiz", seeds=1, prior=str(put_in))))
    formats.write_tensors(alone, other | {"final/0/bias": other["final/0/bias"] + 1})
    with pytest.raises(Refusal, match="data"):
        run(again, tmp_path / "out", resume=True)


@pytest.mark.parametrize(
    ("file", "changes", "message"),
    [
        ("prior_seed0", {"width": 17}, "another architecture"),
        ("prior_seed0", {"seed": 1}, "was learned with --seed=0"),
        ("prior_seed0", {"prior_share": 0.4}, "was learned with --prior_share=0.5"),
        ("prior_seed0", {"size": 500}, "was learned with --size=600"),
        ("prior_seed0", {"label_noise": 0.1}, "was learned with --label_noise=0.0"),
        ("prior_seed0", {"seeds": 2}, "use --seeds=1"),
        ("prior_seed0", {"prior_share": 0.0}, "goes with --prior_share"),
        ("prior_seed1", {}, "is no prior of a run folder"),
        ("certified_seed0", {}, "is no prior of a run folder"),
        ("certified_seed0_posterior", {}, "holds a certificate"),
        ("nothing", {}, "no such file"),
    ],
)
def test_a_prior_that_may_have_seen_what_is_certified_is_refused(
    folder, tmp_path, file, changes, message
):
    path = folder / "weights" / f"{file}.safetensors"
    with pytest.raises(Refusal, match=message) as caught:
        run(
            config("perez_ortiz", **{"seeds": 1, "prior": str(path)} | changes),
            tmp_path / "out",
        )
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_evaluate_takes_a_posterior_s_mean_and_no_initial_weights(folder):
    """What the posterior began with has seen the prior's images: it is no reference."""
    path = folder / "weights" / "certified_seed0.safetensors"
    stored = weights.read(str(path))[0]
    arrays = formats.read_tensors(path)
    assert stored.init is None and len(stored.final) == 2
    for index, layer in enumerate(stored.final):
        np.testing.assert_array_equal(layer.kernel, arrays[f"final/{index}/kernel"])
        np.testing.assert_array_equal(layer.bias, arrays[f"final/{index}/bias"])


def test_beside_a_certificate_stands_what_its_data_would_say_as_a_hold_out_set(folder):
    """The exact binomial bound of the prior's mean, on the half that it has not seen."""
    chosen = PROGRAM.resolved(config("perez_ortiz"))
    found = study.make(chosen)
    trained = Trained(RunFolder(folder), found.stages)
    summary = json.loads((folder / "summary.json").read_text())
    for run_, row in zip(found.runs, read(folder, "results"), strict=True):
        arrays = formats.read_tensors(folder / "weights" / f"{run_.name}.safetensors")
        z = trained.job(run_).examples()
        x = z.inputs.astype(float)
        for n in (0, 1):
            x = np.maximum(x, 0) if n else x
            kernel, bias = (arrays[f"final/{n}/prior_{p}"] for p in ("kernel", "bias"))
            x = x @ kernel.astype(float) + bias
        wrong = int(np.sum(np.argmax(x, axis=1) != z.labels))
        upper = stats.beta.isf(chosen.delta / chosen.tried, wrong + 1, 300 - wrong)
        assert float(row["holdout_of_same_data"]) == pytest.approx(upper, rel=1e-9)
        low, high = summary["certificates"][run_.name]["own_test_error_interval"]
        assert low < float(row["stochastic_test_error"]) < high
    text = (folder / "report.md").read_text()
    for said in ("hold-out bound of the same data: 0", "300 for the prior, 300 certified",
                 "settings tried, and paid for: 16", " seconds of training."):  # fmt: skip
        assert said in text


@pytest.mark.slow
def test_the_drawn_network_is_a_file_that_evaluate_takes_and_verify_recounts(tmp_path):
    names = "blanchard_2007_single_draw", "rivasplata_2020_single_draw"
    chosen = config("single_draw", seeds=1, bounds=names)
    found = run(chosen, tmp_path / "out").path
    (result,), rows = read(found, "results"), read(found, "bounds")
    path = found / "weights" / "certified_seed0_drawn.safetensors"
    given = {"verify": str(path), "data_dir": str(MNIST_SAMPLE)}
    line, holds = verification.verified(given)
    assert holds and line.startswith(f"{path}: verified")
    stored = weights.read(str(path))[0]
    arrays = formats.read_tensors(path)
    assert stored.is_ours and stored.init is None and len(stored.final) == 2
    for index, layer in enumerate(stored.final):
        np.testing.assert_array_equal(layer.kernel, arrays[f"final/{index}/kernel"])
        np.testing.assert_array_equal(layer.bias, arrays[f"final/{index}/bias"])
    test = problem_of(chosen).test()
    hidden = np.maximum(test.inputs @ stored.final[0].kernel + stored.final[0].bias, 0)
    logits = hidden @ stored.final[1].kernel + stored.final[1].bias
    own = np.mean(np.argmax(logits, axis=1) != test.labels)
    assert float(result["drawn_test_error"]) == pytest.approx(own)
    for row in rows:
        assert float(row["risk"]) == pytest.approx(own)
    named = verification.verified(given | {"problem": "mnist"})
    assert named == (line, True)
    # Who has seen the tables cannot quote another; those that were there are written anew.
    with pytest.raises(Refusal, match="cannot choose another one afterwards"):
        run(dataclasses.replace(chosen, quote=names[1:]), found, redraw=True)
    run(dataclasses.replace(chosen, delta=0.1), found, redraw=True)
    kinds = [kind.Certificate for kind in KINDS]
    assert certificate_file.read(path, kinds)[0].bound == names[0]
    assert verification.verified(given)[1]


@pytest.mark.slow
def test_digits_in_halves_from_the_initial_weights(tmp_path):
    chosen = config("dziugaite_roy", seeds=1, epochs=6, label_noise=0.0)
    found = run(chosen, tmp_path / "out").path
    result = read(found, "results")[0]
    assert (result["m"], result["prior_m"]) == ("600", "0")
    rows = {row["bound"]: row for row in read(found, "bounds")}
    published = float(rows["dziugaite_roy_2017"]["value"])
    tighter = float(rows["maurer_2004_kl_posterior"]["value"])
    assert tighter <= published <= 1
    halves = problem_of(chosen)
    assert halves.classes == 2
    digits = problem_of(dataclasses.replace(chosen, problem="mnist"))
    np.testing.assert_array_equal(
        halves.draw(0, 600, 0).labels, digits.draw(0, 600, 0).labels >= 5
    )
    np.testing.assert_array_equal(halves.test().labels, digits.test().labels >= 5)


@pytest.mark.slow
def test_noisy_labels_are_those_that_are_certified(tmp_path):
    """Fair coins: no certificate is below what they allow, and the held-out error is theirs."""
    chosen = config("dziugaite_roy", seeds=1, label_noise=1.0)
    found = run(chosen, tmp_path / "out").path
    result = read(found, "results")[0]
    for name in ("test_error", "stochastic_test_error"):
        assert 0.4 < float(result[name]) < 0.6
    for row in read(found, "bounds"):
        assert float(row["value"]) > 0.5, row["bound"]


@pytest.mark.slow
def test_a_posterior_that_is_trained_on_all_is_certified_on_what_the_prior_left(
    tmp_path, folder
):
    """The same prior and the same certified examples; another posterior, and its own recount."""
    found = run(config("perez_ortiz", seeds=1, posterior_on="all"), tmp_path / "o").path
    one, other = read(folder, "results")[0], read(found, "results")[0]
    for name in ("m", "prior_m", "holdout_of_same_data"):
        assert one[name] == other[name]
    assert one["kl"] != other["kl"]
    name = "certified_seed0_posterior.safetensors"
    kinds = [kind.Certificate for kind in KINDS]
    here, there = (
        certificate_file.read(at / "weights" / name, kinds)[0] for at in (folder, found)
    )
    assert here.data_sha256 == there.data_sha256 and there.certified_size == 300
    line, holds = verification.verified(
        {"verify": str(found / "weights" / name), "data_dir": str(MNIST_SAMPLE)}
    )
    assert holds and "300" in line


def test_an_objective_of_fewer_examples_is_the_bound_of_these():
    objective = objectives.PacBayes("quadratic", "bounded", 0.03)
    model = stochastic.GaussianNetwork(MLP(4, 1, 3, True))
    x, y = np.ones((5, 6), np.float32), np.zeros(5, np.int32)
    params = jax.device_get(jax.jit(model.init)(jax.random.key(0), x[:1])["params"])
    params["Dense_0"]["kernel"] = params["Dense_0"]["kernel"] + np.float32(0.1)

    @functools.partial(jax.jit, static_argnums=0)
    def value(objective, size):
        return objective(model, params, x, y, jnp.asarray(size), jax.random.key(1))

    assert float(value(sgd.OfSize(objective, 300), 600)) == pytest.approx(
        float(value(objective, 300)), rel=1e-6
    )
    assert float(value(objective, 600)) < float(value(objective, 300))


@pytest.mark.parametrize(
    "has_prior", [False, pytest.param(True, marks=pytest.mark.slow)]
)
def test_a_network_that_is_quantised_in_training(tmp_path, has_prior):
    """Of few bits; from a prior it is certified on what this has not seen."""
    changes = {"code_prior_share": 0.5, "code_prior_epochs": 8} if has_prior else {}
    chosen = config(
        "lotfi",
        seeds=1,
        rank=6,
        epochs=3,
        bits_price=2.0,
        learning_rate=0.03,
        **changes,
    )
    found = run(chosen, tmp_path / "out").path
    (result,), rows = read(found, "results"), read(found, "bounds")
    assert [r["bound"] for r in rows] == ["lotfi_2022_quantised", "holdout_cp"]
    left = 300 if has_prior else 600
    assert (int(result["m"]), int(result["prior_m"])) == (left, 600 - left)
    assert bool(result["holdout_of_same_data"]) == has_prior
    path = found / "weights" / "certified_seed0_coded.safetensors"
    typed = {"verify": str(path), "data_dir": str(MNIST_SAMPLE)}
    line, holds = verification.verified(typed)
    assert holds and f"{result['bits']} bits" in line and f"among {left}" in line
    assert ("its prior was learned on the other 300" in line) == has_prior
    if not has_prior:
        return
    # The code tells the way from the prior: its first kernel is what training left of it.
    arrays = formats.read_tensors(path)
    prior = formats.read_tensors(found / "weights" / "prior_seed0.safetensors")
    np.testing.assert_array_equal(arrays["prior/0/kernel"], prior["final/0/kernel"])
    kinds = [kind.Certificate for kind in KINDS]
    one, tensors = certificate_file.read(path, kinds)
    tensors["prior/0/kernel"] = tensors["prior/0/kernel"] * np.float32(1.1)
    certificate_file.write(tmp_path / "b.safetensors", tensors, one)
    line, holds = verification.verified(
        typed | {"verify": str(tmp_path / "b.safetensors")}
    )
    assert not holds and "layer 0 is not what its code says" in line
    # What is certified is what the prior leaves, also where it is said to be none.
    forged = dataclasses.replace(one, code_prior_share=0.0)
    for name in [n for n in tensors if n.startswith("prior/")]:
        del tensors[name]
    certificate_file.write(tmp_path / "c.safetensors", tensors, forged)
    with pytest.raises(Refusal, match="of 600 examples the prior leaves 600"):
        verification.verified(typed | {"verify": str(tmp_path / "c.safetensors")})


@pytest.mark.parametrize("draws", [pytest.param(None, marks=pytest.mark.slow), DRAWS])
def test_the_predictions_that_are_counted_are_as_many_as_is_said(
    folder, tmp_path, draws
):
    assert Posterior.Settings.draws == gibbs_posterior.DRAWS
    found = folder
    if draws is None:
        usual = config("perez_ortiz", draws=None, **SHORT)
        found = run(usual, tmp_path / "out").path
    path = found / "weights" / "certified_seed0_posterior.safetensors"
    one, _ = certificate_file.read(path, [kind.Certificate for kind in KINDS])
    assert one.draws == (150_000 if draws is None else COUNTED)
    row, *_ = read(found, "bounds")
    assert (row["run"], row["bound"]) == ("certified_seed0", BOUNDS[0])
    q = pac_bayes.gibbs_upper(one.wrong / one.draws, one.draws, 0.2 * one.delta / 16)
    expected = pac_bayes.pac_bayes_kl(one.kl, q, 300, 0.8 * one.delta / 16)
    assert float(row["value"]) == pytest.approx(expected, rel=1e-6)
    typed = {"verify": str(path), "data_dir": str(MNIST_SAMPLE)}
    line, holds = verification.verified(typed)
    was_fixed = "how many predictions are counted was fixed before any was made"
    assert holds and (was_fixed in line) == (draws is not None)
    said = "all examples equally often, was fixed before any was made"
    assert (said in (found / "report.html").read_text()) == (draws is not None)


def test_it_is_said_where_other_than_the_usual_count_of_predictions_was_fixed(folder):
    path = folder / "weights" / "certified_seed0_posterior.safetensors"
    one, _ = certificate_file.read(path, [kind.Certificate for kind in KINDS])
    kind, route = posterior.PosteriorNetwork(), ROUTES["posterior"]
    usual = PROGRAM.resolved(config("perez_ortiz", draws=None))
    assert usual.draws == 150_000 and route.taken(usual) == []
    (line,) = route.taken(PROGRAM.resolved(config("perez_ortiz")))
    assert f"at least {DRAWS} predictions, all examples equally often, was" in line
    assert line in (folder / "report.md").read_text()
    for draws, says in ((150_000, False), (DRAWS, True), (149_999, True)):
        taken = kind.taken(dataclasses.replace(one, draws=draws))
        assert any("was fixed before any was made" in said for said in taken) == says


@pytest.mark.slow
def test_a_network_of_few_bits(tmp_path):
    chosen = config("lotfi", seeds=1, rank=6, epochs=8)
    found = run(chosen, tmp_path / "out").path
    result, row = read(found, "results")[0], read(found, "bounds")[0]
    assert row["bound"] == "lotfi_2022_subspace" and int(result["bits"]) > 0
    assert float(row["value"]) >= float(row["risk"])
    learned = formats.read_tensors(found / "weights" / "certified_seed0.safetensors")
    assert learned["final/0/core"].shape == (6, 6)
    np.testing.assert_array_equal(learned["final/0/left"], learned["init/0/left"])
    path = found / "weights" / "certified_seed0_coded.safetensors"
    line, holds = verification.verified(
        {"verify": str(path), "data_dir": str(MNIST_SAMPLE)}
    )
    assert holds and f"{result['bits']} bits" in line


@pytest.mark.slow
def test_interrupted_and_resumed_is_the_same(tmp_path, folder, monkeypatch):
    """Stopped between the stages: the prior is not trained again."""
    out = tmp_path / "out"
    train_group, groups = lab.training._train_group, []

    def first_only(*args):
        groups.append(args)
        if len(groups) == 2:
            raise KeyboardInterrupt
        train_group(*args)

    with monkeypatch.context() as patch:
        patch.setattr(lab.training, "_train_group", first_only)
        with pytest.raises(KeyboardInterrupt):
            run(config("perez_ortiz"), out)
    trained = {p.stem for p in (out / "checkpoints" / "trained").iterdir()}
    assert trained == {"prior_seed0", "prior_seed1"}
    resumed = run(config("perez_ortiz"), out, resume=True).path
    assert read(resumed, "bounds") == read(folder, "bounds")


@pytest.mark.parametrize(
    ("preset", "changes", "names"),
    [
        ("perez_ortiz", {"prior_share": 1.0}, "--prior_share=1.0"),
        ("perez_ortiz", {"prior_share": 0.01}, "--prior_share: leaves 6 examples"),
        ("perez_ortiz", {"prior_epochs": 0}, "--prior_epochs=0"),
        ("perez_ortiz", {"size": 5000}, "--size=5000"),
        ("perez_ortiz", {"tried": 0}, "--tried=0"),
        ("perez_ortiz", {"bounds": ("train_error",)}, "--bounds"),
        ("lotfi", {"bounds": ("maurer_2004_kl_posterior",)}, "--bounds"),
        ("perez_ortiz", {"rank": 3}, "--rank=3: goes with --route=subspace"),
        ("lotfi", {"prior_epochs": 5}, "--prior_epochs=5"),
        ("lotfi", {"rank": 0}, "--rank=0: goes with --bits_price"),
        (
            "lotfi",
            {"quantisation_step": 2.0},
            "--quantisation_step=2.0: goes with --bits_price",
        ),
        ("lotfi", {"bits_price": -1.0}, "--bits_price=-1.0"),
        (
            "lotfi",
            {"rank": 0, "bits_price": 1.0, "code_prior_share": 0.5},
            "--code_prior_share: goes with --rank",
        ),
        ("lotfi", {"code_prior_share": 0.05}, "--code_prior_share: leaves 30 examples"),
        ("lotfi", {"code_prior_share": 1e-9}, "--code_prior_share: leaves 0 examples"),
        ("lotfi", {"code_prior_share": 0.95}, "--size: leaves 30 examples"),
        ("lotfi", {"architecture": "strided_cnn", "depth": 0}, "--depth=0"),
        (
            "lotfi",
            {"architecture": "lenet5"},
            "has 2 convolutions, not 1; use --depth=2",
        ),
        ("perez_ortiz", {"posterior_on": "some"}, "--posterior_on=some"),
        (
            "perez_ortiz",
            {"posterior_on": "all", "prior_share": 0.0, "prior_epochs": 0},
            "--posterior_on=all: at --prior_share=0",
        ),
        ("perez_ortiz", {"objective": "vc"}, "--objective=vc"),
        ("perez_ortiz", {"deviation": 0.0}, "--deviation=0.0"),
        ("perez_ortiz", {"momentum": 1.0}, "--momentum=1.0"),
        ("perez_ortiz", {"prior_noise": -1.0}, "--prior_noise=-1.0"),
        ("perez_ortiz", {"problem": "linear"}, "--problem=linear"),
        (
            "lotfi",
            {"prior_share": 0.3},
            "--prior_share=0.3: goes with --route=posterior",
        ),
        ("lotfi", {"route": "magic"}, "--route=magic"),
        ("perez_ortiz", {"draw_rule": "authors"}, "an image may be drawn twice"),
        (
            "single_draw",
            {"problem": "mnist", "data": "set.npz"},
            "--problem and --data: give one",
        ),
    ],
)
def test_bad_settings_are_refused_before_anything_is_made(
    tmp_path, preset, changes, names
):
    with pytest.raises(Refusal) as caught:
        run(config(preset, **changes), tmp_path / "out")
    assert names in str(caught.value) and "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_the_program_says_in_one_line_what_is_wrong(tmp_path):
    typed = f"--out={tmp_path / 'out'}", "--preset=perez_ortiz", "--data_dir=/nowhere"
    code, _, error = tiny.finish(tiny.program(*typed, name="certify"))
    assert code == 2 and "/nowhere" in error
    assert error.strip().count("\n") == 0


def test_the_first_preset_is_meant_by_its_own_route_alone():
    """What it sets for a posterior goes with no other route, and nobody typed it."""
    chosen = settings_of(PROGRAM, "fashion_mnist", None, {"route": "subspace"})
    PROGRAM.check(chosen)
    assert (chosen.architecture, chosen.prior_epochs) == ("mlp", 20)
    chosen = settings_of(PROGRAM, "fashion_mnist", None, {"width": 8})
    assert (chosen.architecture, chosen.width) == ("strided_cnn", 8)
    with pytest.raises(Refusal, match="--preset=cnn: is of --route=posterior; leave"):
        settings_of(PROGRAM, "mnist", "cnn", {"route": "subspace"})


@pytest.mark.slow
@pytest.mark.parametrize("route", ["posterior", "subspace"])
def test_convolutional_networks_are_certified(route, tmp_path):
    """The certificate is at least what was counted, and of what it says."""
    own = (
        {"prior_epochs": 3, "prior_noise": 0.01}
        if route == "posterior"
        else {"rank": 4}
    )
    chosen = settings_of(PROGRAM, "mnist", None, {
        "data_dir": str(MNIST_SAMPLE), "route": route, "architecture": "strided_cnn", "width": 4,
        "depth": 2, "shift": 1, "size": 600, "batch_size": 50, "epochs": 2, **own,
    })  # fmt: skip
    place = run(chosen, tmp_path / route).path
    (result,) = read(place, "results")
    rows = {r["bound"]: r for r in read(place, "bounds") if r["value"]}
    name = PROGRAM.resolved(chosen).bounds[0]
    assert float(rows[name]["value"]) >= float(rows[name]["empirical"])
    if route == "posterior":
        kl, q = float(result["kl"]), float(result["stochastic_train_error"])
        delta = chosen.delta / chosen.tried
        upper = pac_bayes.gibbs_upper(q, 150_000, 0.2 * delta)
        expected = pac_bayes.pac_bayes_kl(kl, upper, 300, 0.8 * delta)
        assert float(rows[name]["value"]) == pytest.approx(expected, rel=1e-6)
    else:
        assert 0 < int(result["bits"]) < 10_000
