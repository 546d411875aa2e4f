"""`certify --verify` of a posterior: its KL, its errors under noise and its bounds, recounted."""

import json
import math

import jax
import numpy as np
import pytest
from scipy import optimize

import bounds
from bounds.measures import gibbs_posterior
from experiments.certify import certificate_file
from experiments.certify.kinds import gaussian, posterior
from experiments.certify.routes import ROUTES, sgd
from experiments.lab.reading import frameworks
from experiments.lab.refusals import Refusal
from experiments.problems import Examples
from nets import stochastic
from nets.sample import pad_sample
from tests.experiments.test_verify import (
    NETWORKS,
    PLAIN,
    _claim,
    _move,
    dense_alone,
    forged,
    read,
    verified,
)

DELTA, TRIED, M = 0.04, 2, 200
NAMES = tuple(n for n in ROUTES["posterior"].bounds if n != "holdout_cp")
QUOTED = "maurer_2004_kl_posterior"


class Run:
    seed = 1


class Config:
    seed = 5


@pytest.fixture(scope="module", params=NETWORKS)
def made(tmp_path_factory, request):
    """A file of each bound, and the data; the prior is what the seed draws."""
    folder, rng = tmp_path_factory.mktemp("posterior"), np.random.default_rng(0)
    plain, architecture, width, depth = PLAIN[request.param]
    # 150000 predictions take minutes where kernels are drawn for each.
    model = gibbs_posterior.Counted(plain, draws=2000)
    x = rng.standard_normal((M, 20)).astype(np.float32)
    prior = jax.jit(plain.init)(sgd.initial_key(Config, Run), x[:1])["params"]
    prior = jax.device_get(prior)
    mean = jax.tree.map(lambda leaf: leaf + np.float32(0.01), prior)
    y = (
        np.array(jax.jit(plain.apply)({"params": mean}, x))
        .argmax(axis=1)
        .astype(np.int32)
    )
    y[::7] = (y[::7] + 1) % 3
    params = stochastic.around(mean, prior, 0.07, 0.08)
    net = bounds.Network(
        plain, mean, pad_sample(x, y, 0), learned=bounds.Learned(model, params)
    )
    measure = jax.jit(lambda net: bounds.measure(net, ["task", "gibbs_posterior"])[0])
    with jax.enable_x64(True):
        groups = jax.device_get(measure(net))
    stacked = jax.tree.map(lambda leaf: np.asarray(leaf)[None], groups)
    values = bounds.evaluate(stacked, NAMES, delta=DELTA / TRIED)
    group = groups["gibbs_posterior"]
    np.savez(folder / "data.npz", x=x, y=y)
    np.savez(folder / "other.npz", x=x, y=(y + 1) % 3)
    config = type("Settings", (), {
        "prior_share": 0.5, "architecture": architecture, "width": width, "depth": depth,
    })  # fmt: skip
    for name in NAMES:
        certificate = posterior.Certificate(
            bound=name, value=float(values[name].value[0]), delta=DELTA, tried=TRIED,
            wrong=round(float(group.errors[0]) * int(group.draws)), draws=int(group.draws),
            kl=float(group.kl[0]), price=0.0, certified_size=M, problem="mnist",
            problem_settings={}, problem_sha256=None, size=2 * M, seed=Config.seed,
            run_seed=Run.seed, definition_sha256="0" * 64,
            data_sha256=certificate_file.digest_of_examples(Examples(x, y)),
            **gaussian.claims(config, model, params),
        )  # fmt: skip
        assert 0.1 < certificate.value < 1
        certificate_file.write(
            folder / f"{name}.safetensors", gaussian.tensors(params), certificate
        )
    return folder


def claims_of(path):
    return json.loads(read(path)[1]["certificate"])


@pytest.mark.parametrize("name", NAMES)
def test_each_bound_is_recounted_and_no_less_is_taken(made, tmp_path, name):
    path = made / f"{name}.safetensors"
    line, holds = verified(path, made / "data.npz")
    assert holds and "\n" not in line
    claims = claims_of(path)
    assert f"{claims['wrong']} errors among 2000 predictions of 200 examples" in line
    assert "drawn afresh for every prediction errs on at most" in line and name in line
    taken = (
        "its prior was learned on the other 200 examples; the deviation of its prior was fixed "
        "beforehand; how many predictions are counted was"
    )
    assert f"taken as said: {taken} fixed before any was made" in line
    change = _claim(value=claims["value"] - 1e-6)
    less = forged(path, tmp_path / "a.safetensors", change)
    line, holds = verified(less, made / "data.npz")
    assert not holds and "the bound is" in line


def test_the_value_is_that_of_the_formula(made):
    """By the roots of kl, with four fifths of delta for the bound and one for the draws."""
    claims = claims_of(made / f"{QUOTED}.safetensors")

    def inverse(q, c):
        def excess(p):
            return q * math.log(q / p) + (1 - q) * math.log((1 - q) / (1 - p)) - c

        return optimize.brentq(excess, q + 1e-12, 1 - 1e-12)

    delta = DELTA / TRIED
    q = inverse(claims["wrong"] / 2000, math.log(5 / delta) / 2000)
    nats = claims["kl"] + math.log(2 * math.sqrt(M) / (0.8 * delta))
    assert claims["value"] == pytest.approx(inverse(q, nats / M), rel=1e-9)


def test_a_prior_that_has_learned_nothing_is_made_again_from_the_seed(made, tmp_path):
    """Where all examples are certified on, the prior must be what nobody has trained."""
    path, whole = made / f"{QUOTED}.safetensors", _claim(size=M)
    found = forged(path, tmp_path / "a.safetensors", whole)
    line, holds = verified(found, made / "data.npz")
    assert holds and "its prior was learned" not in line
    for change in (_move("posterior/0/prior_kernel", 0.001), _claim(seed=6)):
        other = forged(
            path,
            tmp_path / "b.safetensors",
            lambda t, c, change=change: (whole(t, c), change(t, c)),
        )
        line, holds = verified(other, made / "data.npz")
        assert not holds and "the prior of layer 0 is not the initial kernel" in line


def _no_number(tensors, claims):
    """Deviations of 0 in float64, and one weight at its prior: its KL is 0/0."""
    for name in tensors:
        if "log_sd" in name or "log_prior_sd" in name:
            tensors[name] = np.full_like(tensors[name], -500)
    kernel = np.array(tensors["posterior/0/kernel"])
    kernel[0, 0] = tensors["posterior/0/prior_kernel"][0, 0]
    tensors["posterior/0/kernel"] = kernel


def _add(name, count):
    return lambda tensors, claims: claims.update({name: claims[name] + count})


@dense_alone
@pytest.mark.parametrize(
    ("change", "says"),
    [
        (_add("wrong", 2), "it errs on"),
        (_add("wrong", -2), "it errs on"),
        (_claim(kl=0.1), "KL is"),
        (_move("posterior/0/kernel", 0.01), "KL is"),
        (_no_number, "KL is nan"),
        (_move("posterior/0/log_prior_sd", 0.1), "KL is"),
        (_move("posterior/1/log_sd_bias", -0.5), "KL is"),
        (_claim(draws=2200), "it errs on"),
        (
            _claim(draws=2001),
            "of 2001 predictions, not as many of each of 200 examples",
        ),
        (_claim(value=0.2), "the bound is"),
        (_claim(tried=4), "the bound is"),  # of a value that was paid for 2
        (_claim(delta=1e-3), "the bound is"),
        (_claim(price=-5.0), "the price of the prior is 0, not -5"),
        (_claim(has_learned_prior=True), "the price of the prior is"),
        (_claim(certified_size=300), "there are 200 examples, not 300"),
    ],
)
def test_what_was_forged_is_refuted(made, tmp_path, change, says):
    path = forged(made / f"{QUOTED}.safetensors", tmp_path / "a.safetensors", change)
    line, holds = verified(path, made / "data.npz")
    assert not holds and says in line and "\n" not in line


@dense_alone
@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda t, c: t.pop("posterior/1/kernel"), "not those of a posterior"),
        (lambda t, c: t.pop("posterior/0/log_prior_sd"), "must be one number"),
        (_move("posterior/1/log_sd_kernel", np.nan), "must be finite numbers"),
        (
            lambda t, c: t.update({"posterior/0/prior_bias": np.zeros(1, "f4")}),
            "posterior/0/prior_bias: must be finite numbers",
        ),
        (
            lambda t, c: t.update({"final/0/kernel": np.ones((2, 2), "f4")}),
            "what it says of its layers|final/0/kernel is nothing that its certificate",
        ),
        (
            lambda t, c: t.update(other=np.ones(2, "f4")),
            "its tensor other is nothing that its certificate speaks of",
        ),
        (_claim(bound="holdout_cp"), "its certificate is by holdout_cp"),
        (_claim(bound="blanchard_2007_single_draw"), "recounted of such a file are"),
        (_claim(wrong=2001), "wrong: more than there are"),
        (_claim(prior_share=1.0), "prior_share: must be in"),
        (_claim(run_seed=-1), "run_seed: must be a whole number"),
        (lambda t, c: c.pop("kl"), "not one of this version's"),
    ],
)
def test_what_is_no_posterior_is_refused(made, tmp_path, change, says):
    path = forged(made / f"{QUOTED}.safetensors", tmp_path / "a.safetensors", change)
    with pytest.raises(Refusal, match=says):
        verified(path, made / "data.npz")


def test_other_examples_are_refused_and_evaluate_says_what_the_file_is(made):
    path = str(made / f"{QUOTED}.safetensors")
    with pytest.raises(Refusal, match="holds a certificate, and no network of fixed"):
        frameworks.read(path, None, None)
    with pytest.raises(Refusal, match="not the 200 examples"):
        verified(made / f"{QUOTED}.safetensors", made / "other.npz")
