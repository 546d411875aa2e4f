"""`certify --verify` of a network of picked examples: picks, errors left and bounds, recounted."""

import json

import jax
import numpy as np
import pytest

import bounds
from bounds.measures.picks import PickToLearn
from experiments.certify import certificate_file
from experiments.certify.kinds import picked
from experiments.lab import chains
from experiments.lab.reading import frameworks
from experiments.lab.refusals import Refusal
from experiments.problems import Examples
from nets import kernels
from nets.mlp import MLP
from nets.sample import pad_sample
from tests.experiments.test_verify import _claim, _move, forged, read, verified
from tests.oracles import sample_compression as oracle

DELTA, TRIED, M, K = 0.04, 2, 400, 12
BOTH = "paccagnan_2023_pick_to_learn", "littlestone_1986_sample_compression"
QUOTED = BOTH[0]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A file of each bound, and the data: a network that errs on some of what was not picked."""
    folder, rng = tmp_path_factory.mktemp("picked"), np.random.default_rng(0)
    plain = MLP(6, 1, 3, True)
    x = rng.standard_normal((M, 20)).astype(np.float32)
    params = jax.jit(plain.init)(jax.random.key(0), x[:1])["params"]
    y = (
        np.array(jax.jit(plain.apply)({"params": params}, x))
        .argmax(axis=1)
        .astype(np.int32)
    )
    y[::9] = (y[::9] + 1) % 3
    others = rng.choice(np.arange(10, M), K - 2, replace=False)
    places = np.union1d([0, 9], others).astype(np.int32)  # 0 and 9 are wrong
    mask = np.zeros(pad_sample(x, y, 0).labels.shape, bool)
    mask[places] = True
    learned = bounds.Learned(PickToLearn(20), {"picked": mask})
    net = bounds.Network(plain, params, pad_sample(x, y, 0), learned=learned)
    with jax.enable_x64(True):
        measure = jax.jit(lambda net: bounds.measure(net, ["picks"])[0]["picks"])
        group = jax.device_get(measure(net))
    stacked = jax.tree.map(lambda leaf: np.asarray(leaf)[None], group)
    values = bounds.evaluate({"picks": stacked}, BOTH, delta=DELTA / TRIED)
    np.savez(folder / "data.npz", x=x, y=y)
    np.savez(folder / "other.npz", x=x[::-1], y=y[::-1])
    arrays = kernels.to_arrays(params).items()
    tensors = {f"final/{n}": np.asarray(a) for n, a in arrays} | {picked.PICKS: places}
    for name in BOTH:
        certificate = picked.Certificate(
            bound=name, value=float(values[name].value[0]), delta=DELTA, tried=TRIED,
            wrong=int(group.wrong), picked=K, budget=20, certified_size=M, problem="mnist",
            problem_settings={}, problem_sha256=None, size=M, seed=0, run_seed=0,
            data_sha256=certificate_file.digest_of_examples(Examples(x, y)),
            definition_sha256="0" * 64, network=chains.described(plain, params),
        )  # fmt: skip
        certificate_file.write(folder / f"{name}.safetensors", tensors, certificate)
    return folder


@pytest.mark.parametrize("name", BOTH)
def test_each_bound_is_recounted_and_no_less_is_taken(made, tmp_path, name):
    path = made / f"{name}.safetensors"
    line, holds = verified(path, made / "data.npz")
    assert holds and "\n" not in line
    claims = json.loads(read(path)[1]["certificate"])
    e, delta = claims["wrong"], DELTA / TRIED
    assert (
        f"12 picks of at most 20, {e} errors among the 388 others, 2 settings" in line
    )
    assert "taken as said: it is what training makes of its 12 picks alone" in line
    expected = {
        BOTH[0]: oracle.paccagnan_2023(K + e, M, delta),
        BOTH[1]: oracle.littlestone_1986(K, e, M, delta),
    }[name]
    assert claims["value"] == pytest.approx(expected, rel=1e-6)
    change = _claim(value=claims["value"] - 1e-6)
    less = forged(path, tmp_path / "a.safetensors", change)
    line, holds = verified(less, made / "data.npz")
    assert not holds and "the bound is" in line


def test_errors_on_picks_do_not_count(made):
    """By hand: some picks are wrong, too."""
    with np.load(made / "data.npz") as data:
        x, y = data["x"].astype(float), data["y"]
    tensors, notes = read(made / f"{QUOTED}.safetensors")
    z = np.maximum(x @ tensors["final/0/kernel"] + tensors["final/0/bias"], 0)
    z = z @ tensors["final/1/kernel"] + tensors["final/1/bias"]
    wrong = np.argmax(z, axis=1) != y
    left = np.delete(wrong, tensors["picks"])
    assert wrong.sum() > left.sum() == json.loads(notes["certificate"])["wrong"]


def _picks(change):
    def changed(tensors, claims):
        tensors["picks"] = change(tensors["picks"]).astype(np.int32)

    return changed


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (_claim(picked=3), "its picks are 12, not 3"),
        (_picks(lambda p: p[:-1]), "its picks are 11, not 12"),
        (_picks(lambda p: p[:0]), "its picks are 0, not 12"),
        (_claim(budget=5), "more than its budget, 5"),
        (_claim(wrong=1), "it errs on"),
        (_move("final/1/bias", np.array([0.5, 0, 0])), "it errs on"),
        (_claim(value=0.1), "the bound is"),
        (_claim(tried=8), "the bound is"),  # of a value that was paid for 2
        (_claim(delta=1e-4), "the bound is"),
        (_claim(certified_size=500), "there are 400 examples, not 500"),
    ],
)
def test_what_was_forged_is_refuted(made, tmp_path, change, says):
    path = forged(made / f"{QUOTED}.safetensors", tmp_path / "a.safetensors", change)
    line, holds = verified(path, made / "data.npz")
    assert not holds and says in line and "\n" not in line


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda t, c: t.pop("picks"), "picks: must be places"),
        (lambda t, c: t.update(picks=t["picks"].astype(np.int64)), "must be places"),
        (_picks(lambda p: p[::-1]), "each once"),
        (_picks(lambda p: np.append(p[:1], p)), "each once"),
        (_picks(lambda p: p + 400), "places below 400"),
        (_picks(lambda p: p - 400), "places below 400"),
        (lambda t, c: t.pop("final/0/kernel"), "not those of a network and its picks"),
        (_claim(bound="lotfi_2022_subspace"), "recounted of such a file are paccagnan"),
        (_claim(wrong=389), "wrong: more than there are"),
        (_claim(budget=-1), "budget: must be a whole number"),
    ],
)
def test_what_is_no_network_of_picks_is_refused(made, tmp_path, change, says):
    path = forged(made / f"{QUOTED}.safetensors", tmp_path / "a.safetensors", change)
    with pytest.raises(Refusal, match=says):
        verified(path, made / "data.npz")


def test_other_examples_are_refused_and_evaluate_takes_the_network(made):
    path = made / f"{QUOTED}.safetensors"
    with pytest.raises(Refusal, match="not the 400 examples"):
        verified(path, made / "other.npz")
    (found,) = frameworks.read(str(path), None, None)
    assert found.classes == 3
