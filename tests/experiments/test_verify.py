"""`certify --verify`: a drawn network's certificate, recounted from its file and the data alone."""

import dataclasses
import hashlib
import json
import math

import jax
import numpy as np
import pytest
import safetensors.numpy

import bounds
from experiments.certify import certificate_file, verification
from experiments.certify.kinds import certified_data, drawn_network, recounting
from experiments.certify.routes.posterior import certified_part
from experiments.lab import chains
from experiments.lab.reading import frameworks
from experiments.lab.refusals import Refusal
from experiments.problems import Examples
from nets import stochastic
from nets.cnn import CNN
from nets.mlp import MLP
from nets.sample import pad_sample
from nets.strided import StridedCNN
from tests.conftest import MNIST_SAMPLE
from tests.experiments import tiny

BOUNDS = "blanchard_2007_single_draw", "rivasplata_2020_single_draw"
DELTA, TRIED = 0.04, 2


PLAIN = {  # and what settings call it: architecture, width, depth
    "dense": (MLP(6, 1, 3, True), "mlp", 6, 1),
    "convolutional": (StridedCNN((4, 5, 1), 2, 2, 3, True), "strided_cnn", 2, 2),
    "averaging": (CNN((5, 4, 1), 2, 1, 3, True), "cnn", 2, 1),
}


def others_slow(names, *quick):
    """Names as parameters: only those that are `quick` are always run."""
    return [n if n in quick else pytest.param(n, marks=pytest.mark.slow) for n in names]


NETWORKS = others_slow(PLAIN, "dense", "averaging")  # which has convolutions, too
# What is said of a changed file does not depend on its layers.
dense_alone = pytest.mark.parametrize(
    "made", others_slow(PLAIN, "dense"), indirect=True
)


@pytest.fixture(scope="module", params=NETWORKS)
def made(tmp_path_factory, request):
    """bound -> its file, and the data, of a posterior around a network of random weights."""
    folder, rng = tmp_path_factory.mktemp("drawn"), np.random.default_rng(0)
    plain, architecture, width, depth = PLAIN[request.param]
    model = stochastic.GaussianNetwork(plain)
    x = rng.standard_normal((200, 20)).astype(np.float32)
    y = (np.argmax(x[:, :3], axis=1)).astype(np.int32)
    mean = jax.jit(plain.init)(jax.random.key(0), x[:1])["params"]
    mean = jax.device_get(mean)
    prior = jax.tree.map(lambda leaf: leaf + np.float32(0.02), mean)
    params = stochastic.around(mean, prior, 0.05, 0.08)
    net = bounds.Network(
        plain, mean, pad_sample(x, y, 0), learned=bounds.Learned(model, params)
    )
    # As one program, as the command measures it: by hundreds of small ones it took longer.
    measure = jax.jit(lambda net: bounds.measure(net, ["single_draw"])[0])
    with jax.enable_x64(True):
        group = jax.device_get(measure(net)["single_draw"])
    stacked = jax.tree.map(lambda leaf: np.asarray(leaf)[None], group)
    values = bounds.evaluate({"single_draw": stacked}, BOUNDS, delta=DELTA / TRIED)
    np.savez(folder / "data.npz", x=x, y=y)
    np.savez(folder / "other.npz", x=x[::-1], y=y[::-1])
    for name in BOUNDS:
        certificate = drawn_network.Certificate(
            bound=name, value=float(values[name].value[0]), delta=DELTA, tried=TRIED,
            architecture=architecture, width=width, depth=depth, log_ratio=float(group.log_ratio), price=0.0, has_learned_prior=False,
            wrong=int(group.wrong), certified_size=200, problem="mnist",
            problem_settings={"draw_rule": "without_replacement", "label_noise": 0.0},
            problem_sha256=None, size=400, prior_share=0.5, seed=0, run_seed=0,
            data_sha256=certificate_file.digest_of_examples(Examples(x, y)),
            definition_sha256="0" * 64, network=chains.described(plain, mean),
        )  # fmt: skip
        certificate_file.write(
            folder / f"{name}.safetensors", drawn_network.tensors(params), certificate
        )
    return folder


def verified(path, data, **more):
    return verification.verified({"verify": str(path), "data": str(data), **more})


def read(path):
    raw = path.read_bytes()
    header = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])
    return safetensors.numpy.load(raw), header["__metadata__"]


def claimed(path):
    return certificate_file.read(path, [drawn_network.Certificate])[0]


def forged(path, to, change=lambda tensors, claims: None, is_told=True):
    """A file with other content; `is_told`: with the digests that it should have, too."""
    tensors, notes = read(path)
    claims = json.loads(notes["certificate"])
    change(tensors, claims)
    if is_told:
        claims["tensors_sha256"] = certificate_file.digest_of_tensors(tensors)
        if "network" in notes:
            notes["network"] = json.dumps(claims["network"], sort_keys=True)
    notes["certificate"] = json.dumps(claims, sort_keys=True)
    if is_told:
        digest = hashlib.sha256(notes["certificate"].encode()).hexdigest()
        notes["certificate_sha256"] = digest
    to.write_bytes(safetensors.numpy.save(tensors, notes))
    return to


@pytest.mark.parametrize("name", BOUNDS)
def test_a_file_is_recounted(made, name):
    path = made / f"{name}.safetensors"
    line, holds = verified(path, made / "data.npz")
    assert holds and "\n" not in line
    claims = json.loads(read(path)[1]["certificate"])
    assert f"verified: the network errs on at most {claims['value']:.4g}"[:40] in line
    assert "confidence 0.96" in line and name in line and "2 settings tried" in line


def test_the_value_is_the_binomial_limit_at_its_level(made):
    """By another way still: the roots of scipy's tail."""
    from scipy import optimize, stats

    claims = json.loads(read(made / f"{BOUNDS[0]}.safetensors")[1]["certificate"])
    r, k = max(claims["log_ratio"], 0), claims["wrong"]
    level = DELTA / TRIED / 2 * math.exp(-r) / (1 + r) ** 2
    root = optimize.brentq(
        lambda p: stats.binom.logcdf(k, 200, p) - math.log(level), k / 200, 1 - 1e-12
    )
    assert claims["value"] == pytest.approx(root, rel=1e-9)


def _move(name, by):
    def change(tensors, claims):
        tensors[name] = np.asarray(tensors[name] + np.float32(by))

    return change


def _claim(**values):
    return lambda tensors, claims: claims.update(values)


def _layer(place, **values):
    return lambda tensors, claims: claims["network"]["layers"][place].update(values)


def _no_number(tensors, claims):
    """A posterior without width, and the network its mean: the ratio of densities is 0/0."""
    for name in tensors:
        if "log_sd" in name:
            tensors[name] = np.full_like(tensors[name], -500)
    for part in ("0/kernel", "0/bias", "1/kernel", "1/bias"):
        tensors[f"final/{part}"] = tensors[f"posterior/{part}"]


@dense_alone
@pytest.mark.parametrize(
    ("change", "says"),
    [
        (_no_number, "ln ratio is nan"),
        (_move("final/1/bias", 0.01), "layer 1 is not what the fixed key draws"),
        (_move("posterior/0/kernel", 0.01), "layer 0 is not what the fixed key draws"),
        (_move("posterior/0/prior_kernel", 0.01), "ln ratio is"),
        (_claim(log_ratio=0.5), "ln ratio is"),
        (_claim(value=0.2), "the bound is"),
        (_claim(wrong=0), "it errs on"),
        (_claim(certified_size=400), "there are 200 examples, not 400"),
        (_claim(price=-5.0), "the price of the prior is 0, not -5"),
        (_claim(tried=1, delta=1e-4), "the bound is"),
        (_claim(has_learned_prior=True), "the price of the prior is"),
        (_claim(size=200), "the prior of layer 0 is not the initial kernel"),
    ],
)
def test_what_was_forged_is_refuted(made, tmp_path, change, says):
    path = forged(made / f"{BOUNDS[0]}.safetensors", tmp_path / "a.safetensors", change)
    line, holds = verified(path, made / "data.npz")
    assert not holds and f"{path}: refuted: " in line and says in line


@dense_alone
@pytest.mark.parametrize(
    ("change", "says"),
    [
        (_claim(value=0.2), "its certificate was altered"),
        (_claim(tried=1), "its certificate was altered"),
        (_move("final/0/kernel", 1e-6), "its tensors were changed"),
        (_move("posterior/1/log_sd_bias", 0.1), "its tensors were changed"),
    ],
)
def test_what_was_altered_is_refused(made, tmp_path, change, says):
    path = forged(
        made / f"{BOUNDS[0]}.safetensors", tmp_path / "a.safetensors", change, False
    )
    with pytest.raises(Refusal, match=says):
        verified(path, made / "data.npz")


@dense_alone
@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda t, c: t.pop("posterior/1/kernel"), "not those of a drawn network"),
        (_move("posterior/1/kernel", np.nan), "not those of a drawn network"),
        (_claim(bound="holdout_cp"), "its certificate is by holdout_cp"),
        (
            _claim(bound="lotfi_2022_subspace"),
            "by lotfi_2022_subspace; recounted of such",
        ),
        (_claim(value="0.2"), "not one of this version's"),
        (_claim(delta=float("nan")), "not one of this version's"),
        (_claim(delta=5.0), "not one of this version's"),
        (_claim(tried=0), "not one of this version's"),
        (_claim(tried=10**400), "not one of this version's"),
        (_claim(wrong=-1), "not one of this version's"),
        (_layer(-1, kind="convolution"), "not one of this version's"),
        (_layer(-1, kind=[]), "not one of this version's"),
        (_layer(-1, positions=0), "not one of this version's"),
        (_layer(-1, positions=7), "takes other inputs than there are"),
        (
            lambda t, c: t.update({"final/00/bias": t["final/0/bias"]}),
            "final/00/bias: is of none",
        ),
        (
            lambda t, c: t.update({"final/0/x": t["final/0/bias"]}),
            "final/0/x: is nothing",
        ),
        (
            lambda t, c: t.update({"final/9/bias": t["final/0/bias"]}),
            "final/9/bias: is of none",
        ),
        (lambda t, c: c.pop("seed"), "not one of this version's"),
    ],
)
def test_what_is_no_drawn_network_is_refused(made, tmp_path, change, says):
    path = forged(made / f"{BOUNDS[0]}.safetensors", tmp_path / "a.safetensors", change)
    with pytest.raises(Refusal, match=says):
        verified(path, made / "data.npz")


def test_what_its_layers_are_is_certified_too(made, tmp_path):
    """`evaluate --network` reads it from the note, which no digest of tensors covers."""
    tensors, notes = read(made / f"{BOUNDS[0]}.safetensors")
    network = json.loads(notes["network"])
    network["input"] = [2, 10, 1]
    path = tmp_path / "a.safetensors"
    path.write_bytes(
        safetensors.numpy.save(tensors, notes | {"network": json.dumps(network)})
    )
    with pytest.raises(Refusal, match="what it says of its layers is not what its"):
        verified(path, made / "data.npz")


def _constant(rows):
    """Layers 20-1-3 whose last row is `rows`, whatever the input."""
    first = {"kernel": np.zeros((20, 1)), "bias": np.ones(1)}
    return [first, {"kernel": np.array([rows]), "bias": np.zeros(3)}]


@pytest.mark.parametrize("rows", [[0.0, 0, 0], [1.0, 1, 1], [1e6 + 1, 1e6, 1e6]])
def test_a_network_of_ties_has_its_errors(rng, rows):
    """Rounding decides on a few examples, not on all: as many are errors as float64 says, less 2."""
    x, y = rng.standard_normal((90, 20)).astype(np.float32), np.arange(90) % 3
    layers = [{"kind": "dense", "positions": 1}] * 2
    network = {"input": [20], "layers": layers}
    wrong = 60 if rows[0] > rows[1] else 90  # where none leads all are
    least, most = recounting.errors(network, _constant(rows), Examples(x, y))
    assert (least, most) == (wrong - 2, 90)
    # Of 10^6 predictions they are a hundred.
    assert recounting.within_rounding((0, 900, 950), 10**6) == (800, 950)


def test_labels_that_no_output_has_are_refused(made, tmp_path):
    with np.load(made / "data.npz") as stored:
        data = dict(stored)
    np.savez(tmp_path / "more.npz", x=data["x"], y=data["y"] + 3)
    change = _claim(
        data_sha256=certificate_file.digest_of_examples(
            Examples(data["x"], data["y"] + 3)
        )
    )
    path = forged(made / f"{BOUNDS[0]}.safetensors", tmp_path / "a.safetensors", change)
    with pytest.raises(
        Refusal, match=r"labels from 3 to 5, and the network .* 3 outputs"
    ):
        verified(path, tmp_path / "more.npz")


def test_few_examples_are_found_again(made):
    """What would not do to be trained on, in batches of a hundred, can be certified."""
    one = dataclasses.replace(claimed(made / f"{BOUNDS[0]}.safetensors"), size=60)
    typed = {"verify": "a", "data_dir": str(MNIST_SAMPLE)}
    found = certified_data.read(typed, one, certified_part)
    assert found.inputs.shape == (30, 784)


def test_other_data_and_other_files_are_refused(made, tmp_path):
    path = made / f"{BOUNDS[0]}.safetensors"
    with pytest.raises(Refusal, match="not the 200 examples"):
        verified(path, made / "other.npz")
    with pytest.raises(Refusal, match=r"data\.npz: .*begins as no safetensors"):
        verified(made / "data.npz", made / "data.npz")
    with pytest.raises(Refusal, match="nowhere"):
        verified("/nowhere", made / "data.npz")
    plain = tmp_path / "plain.safetensors"
    plain.write_bytes(safetensors.numpy.save(read(path)[0]))
    with pytest.raises(Refusal, match="holds no certificate"):
        verified(plain, made / "data.npz")
    with pytest.raises(Refusal, match="--problem and --data"):
        verified(path, made / "data.npz", problem="mnist")
    with pytest.raises(Refusal, match="--width=5: does not go with --verify"):
        verified(path, made / "data.npz", width=5)
    with pytest.raises(Refusal, match="--problem=fashion_mnist: the certificate"):
        verification.verified({"verify": str(path), "problem": "fashion_mnist"})


@dense_alone
def test_the_command_has_an_exit_code(made, tmp_path):
    """1 where it is refuted; no folder is asked for. Before its line, what the data are."""
    change = _claim(value=0.2)
    path = forged(made / f"{BOUNDS[0]}.safetensors", tmp_path / "a.safetensors", change)
    flags = f"--verify={path}", f"--data={made / 'data.npz'}"
    code, said, error = tiny.finish(tiny.program(*flags, name="certify"))
    assert code == 1 and not error
    line = said.splitlines()[-1]
    assert line.startswith(f"{path}: refuted: the bound is")


def test_what_a_certificate_holds_is_written_as_it_was(made):
    path = made / f"{BOUNDS[1]}.safetensors"
    one = claimed(path)
    claims = json.loads(read(path)[1]["certificate"])
    del claims["tensors_sha256"]
    assert dataclasses.asdict(one) == claims


def test_evaluate_takes_the_drawn_network(made, tmp_path):
    """With `--network`: what its layers are is in the file; and it is the network that was drawn."""
    path = made / f"{BOUNDS[0]}.safetensors"
    (found,) = frameworks.read(str(path), None, None)
    described = claimed(path).network
    layers = chains.layers_of(described, read(path)[0], chains.FINAL)
    with np.load(made / "data.npz") as data:
        x = data["x"][:7]
    logits = jax.jit(found.read.graph.apply)({"params": found.read.params}, x)
    wanted = recounting.logits(described, layers, x.astype(float))
    np.testing.assert_allclose(logits, wanted, rtol=1e-5, atol=1e-5)
    assert found.classes == 3

    def other(change):
        tensors, notes = read(path)
        described = json.loads(notes["network"])
        change(tensors, described, notes)
        notes["network"] = notes.get("network") and json.dumps(described)
        to = tmp_path / "a.safetensors"
        to.write_bytes(
            safetensors.numpy.save(tensors, {k: v for k, v in notes.items() if v})
        )
        return str(to)

    for change, says in [
        (lambda t, d, n: n.pop("network"), "does not say what its layers are"),
        (lambda t, d, n: d["layers"].pop(), "not what its tensors are"),
        (lambda t, d, n: d["input"].append(2), "not what its tensors are"),
        (lambda t, d, n: t.pop("final/0/bias"), "not what its tensors are"),
        (lambda t, d, n: t["final/0/kernel"].fill(np.nan), "not finite"),
        (lambda t, d, n: t.update({"final/1/bias": np.zeros(1, "f4")}), "one for each"),
        (lambda t, d, n: d.update(input=[2**31 - 1, 5000, 1]), "other inputs"),
    ]:
        with pytest.raises(Refusal, match=says):
            frameworks.read(other(change), None, None)
