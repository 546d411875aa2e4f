"""`certify --verify` of a coded network: its bits are decoded, and all that is claimed recounted."""

import json
import math

import jax
import numpy as np
import pytest
from scipy import optimize

import bounds
from bounds.numerics import coding
from experiments.certify import certificate_file
from experiments.certify.kinds import coded_network, recounting
from experiments.certify.routes import sgd
from experiments.lab import chains
from experiments.lab.reading import frameworks
from experiments.lab.refusals import Refusal
from experiments.problems import Examples
from nets import quantised, subspace
from nets.kernels import layers
from nets.mlp import MLP
from nets.sample import pad_sample
from nets.strided import StridedCNN
from tests.experiments.test_verify import (
    _claim,
    _layer,
    _move,
    forged,
    others_slow,
    read,
    verified,
)

DELTA, TRIED, M, RANK = 0.04, 2, 400, 3
NAMES = {False: "lotfi_2022_subspace", True: "lotfi_2022_quantised"}
# (plain network, width, depth, rank of its subspace, whether it is quantised in training)
MADE = {
    "mlp": ("mlp", MLP(6, 1, 3), 6, 1, RANK, False),
    "strided_cnn": ("strided_cnn", StridedCNN((4, 5, 1), 2, 1, 3), 2, 1, RANK, True),
    "whole": ("mlp", MLP(6, 1, 3), 6, 1, 0, True),
}


class Run:
    seed = 1


class Config:
    seed = 5


def _with(params, rng):
    """Parameters of a network of few bits whose learned arrays are normal numbers."""
    return {
        name: {
            n: 2 * rng.standard_normal(a.shape).astype(np.float32)
            if n in quantised.LEARNED
            else a
            for n, a in layer.items()
        }
        for name, layer in params.items()
    }


# What is said of a changed file does not depend on its layers.
mlp_alone = pytest.mark.parametrize("made", others_slow(MADE, "mlp"), indirect=True)


@pytest.fixture(scope="module", params=MADE)
def made(tmp_path_factory, request):
    """A file, its data, and the weights that it was made from."""
    folder, rng = tmp_path_factory.mktemp("coded"), np.random.default_rng(0)
    architecture, plain, width, depth, rank, is_quantised = MADE[request.param]
    model = subspace.SubspaceNetwork(plain, rank) if rank else plain
    if is_quantised:
        model = quantised.QuantisedNetwork(model)
    x = rng.standard_normal((M, 20)).astype(np.float32)
    params = jax.jit(model.init)(sgd.initial_key(Config, Run), x[:1])["params"]
    params = _with(params, rng)
    logits = jax.jit(model.apply)({"params": params}, x)
    y = np.array(np.argmax(logits, axis=1), np.int32)
    y[::5] = (y[::5] + 1) % 3
    as_plain = jax.jit(lambda params: coded_network.plain_params(model, params))
    net = bounds.Network(
        plain, as_plain(params), pad_sample(x, y, 0),
        learned=bounds.Learned(model, params),
    )  # fmt: skip
    name = NAMES[is_quantised]
    measure = jax.jit(lambda net: bounds.measure(net, bounds.BOUNDS[name].groups)[0])
    with jax.enable_x64(True):
        groups = jax.device_get(measure(net))
    stacked = jax.tree.map(lambda leaf: np.asarray(leaf)[None], groups)
    value = bounds.evaluate(stacked, [name], delta=DELTA / TRIED)[name]
    group = groups[bounds.BOUNDS[name].groups[1]]
    best = int(np.argmin(np.abs(group.errors - value.empirical[0])))
    certificate = coded_network.Certificate(
        bound=name, value=float(value.value[0]), delta=DELTA, tried=TRIED,
        wrong=round(float(group.errors[best]) * M), certified_size=M, problem="mnist",
        problem_settings={"draw_rule": "without_replacement", "label_noise": 0.0},
        problem_sha256=None, size=M, seed=Config.seed, run_seed=Run.seed,
        data_sha256=certificate_file.digest_of_examples(Examples(x, y)),
        definition_sha256="0" * 64, network=chains.described(plain, net.params),
        bits=int(group.bits[best]), rank=rank, code_prior_share=0.0, architecture=architecture, width=width, depth=depth,
    )  # fmt: skip
    assert certificate.value < 0.9
    np.savez(folder / "data.npz", x=x, y=y)
    tensors = coded_network.tensors(net.learned, best)
    certificate_file.write(folder / "a.safetensors", tensors, certificate)
    return folder, model, params


def test_a_file_is_recounted_and_its_value_is_that_of_the_formula(made):
    folder, *_ = made
    line, holds = verified(folder / "a.safetensors", folder / "data.npz")
    assert holds and "verified: the network errs on at most" in line
    claims = json.loads(read(folder / "a.safetensors")[1]["certificate"])
    assert f"{claims['bits']} bits, 2 settings tried" in line
    q, c = claims["wrong"] / M, claims["bits"]
    nats = (c * math.log(2) + math.log(c * (c + 1) * TRIED / DELTA)) / M

    def excess(p):
        rest = q * math.log(q / p) if q else 0.0
        return rest + (1 - q) * math.log((1 - q) / (1 - p)) - nats

    root = optimize.brentq(excess, q + 1e-12, 1 - 1e-12)
    assert claims["value"] == pytest.approx(root, rel=1e-9)


def test_the_decoded_network_is_what_the_bits_say(made):
    """By loops over what `coding.decode` reads; and no bit more than is paid for."""
    folder, _, params = made
    tensors, notes = read(folder / "a.safetensors")
    claims = json.loads(notes["certificate"])
    bits = coded_network.bits_of(tensors)
    network = chains.layers_of(claims["network"], tensors, chains.FINAL)
    shapes = [array.shape for array in quantised.arrays(params)]
    symbols, exponents, length = coding.decode(bits, shapes)
    assert length <= claims["bits"]
    assert len(bits) < length + 8
    every = zip(layers(params), symbols, exponents, network, strict=True)
    for layer, own, exponent, found in every:
        if "core" not in layer:
            wanted = own * 2.0 ** (exponent / 4)
            np.testing.assert_allclose(found["kernel"], wanted, rtol=1e-4)
            continue
        left, right = (np.asarray(layer[n], float) for n in ("left", "right"))
        wanted = np.array(layer["fixed_kernel"], float).reshape(len(left), -1)
        for a in range(own.shape[0]):
            for b in range(own.shape[1]):
                unit = 2.0 ** (exponent / 4) * own[a, b]
                wanted += unit * np.outer(left[:, a], right[b])
        kernel = found["kernel"].reshape(wanted.shape)
        # Steps are powers of 2^(1/4) to 16 bits.
        np.testing.assert_allclose(kernel, wanted, atol=1e-4 * np.abs(wanted).max())


def test_an_honest_code_of_many_ties_is_not_refuted(rng):
    """Whole numbers on inputs of two levels tie often; rounding breaks ties as it likes."""
    levels = (rng.random((4000, 30)) < 0.5).astype(np.float32)
    x = (levels - np.float32(0.1307)) / np.float32(0.3081)
    y = rng.integers(0, 4, 4000).astype(np.int32)
    plain, model = MLP(1, 0, 4), quantised.QuantisedNetwork(MLP(1, 0, 4))
    ones = np.repeat(np.float32([-1, 0, 1]), 10)  # of equal sums, so that they tie
    kernel = np.stack([rng.permutation(ones) for _ in range(4)], axis=1)
    layer = {"kernel": kernel, "exponent_kernel": np.float32(-5)}
    learned = bounds.Learned(model, {"Dense_0": layer})
    params = coded_network.plain_params(model, learned.params)
    net = bounds.Network(plain, params, pad_sample(x, y, 0), learned=learned)
    measure = jax.jit(lambda net: bounds.measure(net, ["code_quantised"])[0])
    with jax.enable_x64(True):
        claimed = round(float(measure(net)["code_quantised"].errors[0]) * 4000)
    tensors = coded_network.tensors(learned, 0)
    said = {n: tensors[f"final/0/{n}"] for n in ("kernel", "bias")}
    network = chains.described(plain, params)
    least, most = recounting.errors(network, [said], Examples(x, y))
    assert least <= claimed <= most
    # Counted as float32 breaks its ties there would be too few.
    in_float32 = bounds.margins_of(plain, params, net.sample).error(0.0)
    assert round(float(in_float32) * 4000) < least


def _add(name):
    return lambda tensors, _: tensors.update({name: np.ones(3, np.float32)})


def _exponent_beyond(tensors, claims):
    """The first array's step is 2^(2147483648/4): Elias gamma of 2^32 + 1."""
    ahead = [0] * 32 + [1] + [0] * 31 + [1]
    tensors["code"] = np.packbits(np.array(ahead + [1] * 64, np.uint8))


def _flip(place):
    def change(tensors, claims):
        tensors["code"] = tensors["code"].copy()
        tensors["code"][place] ^= 16

    return change


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (_move("final/0/kernel", 0.01), "layer 0 is not what its code says"),
        (_move("final/1/bias", 0.01), "layer 1 is of another shape"),
        (_flip(3), "its code|is not what its code says"),
        (lambda t, c: t.update(code=t["code"][:2]), "its code is none"),
        (_exponent_beyond, "is none that is written"),
        (_claim(bits=3), "its code has"),
        (_claim(value=0.2), "the bound is"),
        (_claim(wrong=0), "it errs on"),
        (_claim(certified_size=500, size=500), "there are 400 examples, not 500"),
        (_claim(tried=1, delta=1e-4), "the bound is"),
    ],
)
def test_what_was_forged_is_refuted(made, tmp_path, change, says):
    folder, *_ = made
    path = forged(folder / "a.safetensors", tmp_path / "b.safetensors", change)
    line, holds = verified(path, folder / "data.npz")
    assert not holds and any(one in line for one in says.split("|")), line


@pytest.mark.parametrize("change", [_claim(seed=6), _claim(run_seed=0)])
def test_another_seed_is_another_subspace(made, tmp_path, change):
    """Where there is none, the code says all of the network."""
    folder, *_ = made
    path = forged(folder / "a.safetensors", tmp_path / "b.safetensors", change)
    line, holds = verified(path, folder / "data.npz")
    rank = json.loads(read(path)[1]["certificate"])["rank"]
    assert holds == (rank == 0) and (holds or "is not what its code says" in line)


@mlp_alone
@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda t, c: t.pop("code"), "not those of a coded network"),
        (lambda t, c: t.update(code=t["code"].astype(np.int32)), "must be bytes"),
        (lambda t, c: t.pop("final/1/kernel"), "not those of a coded network"),
        (_claim(architecture="none_such"), "which is not here"),
        (_claim(width=7), "has other layers than the file"),
        (_claim(width=10**12), "has other layers than the file"),
        (_claim(depth=10**9), "has other layers than the file"),
        (_claim(rank=-1), "rank: must be a whole number"),
        (_claim(bits="9"), "not one of this version's"),
        (_claim(bits=10**400), "bits: must be a whole number"),
        (_claim(seed=-1), "seed: must be a whole number"),
        (
            _claim(bound="rivasplata_2020_single_draw"),
            "recounted of such a file are lotfi",
        ),
        (_layer(-1, positions=0), "not one of this version's"),
        (lambda t, c: c.pop("rank"), "not one of this version's"),
        (
            _claim(code_prior_share=0.5),
            "the prior leaves 200|no subspace around a prior",
        ),
        (
            _claim(code_prior_share=1e-9),
            "the prior leaves 400|no subspace around a prior",
        ),
        (_claim(size=1000), "of 1000 examples the prior leaves 1000"),
        (_add("final/0/evil"), "final/0/evil: is nothing that it has"),
        (_add("prior/0/kernel"), "prior/0/kernel: is nothing that it has"),
        (_add("codex"), "codex: is nothing that it has"),
    ],
)
def test_what_is_no_coded_network_is_refused(made, tmp_path, change, says):
    folder, *_ = made
    path = forged(folder / "a.safetensors", tmp_path / "b.safetensors", change)
    with pytest.raises(Refusal, match=says):
        verified(path, folder / "data.npz")


def test_evaluate_takes_the_coded_network(made):
    folder, model, params = made
    (found,) = frameworks.read(str(folder / "a.safetensors"), None, None)
    bits = coded_network.bits_of(read(folder / "a.safetensors")[0])
    shapes = [array.shape for array in quantised.arrays(params)]
    symbols, exponents, _ = coding.decode(bits, shapes)
    cores = [
        (s * np.asarray(coding.step(k))).astype(np.float32)
        for s, k in zip(symbols, exponents, strict=True)
    ]
    with np.load(folder / "data.npz") as data:
        x = data["x"][:7]
    wanted = jax.jit(getattr(model, "of", model).apply)(
        {"params": quantised.with_arrays(params, cores)}, x
    )
    logits = jax.jit(found.read.graph.apply)({"params": found.read.params}, x)
    np.testing.assert_allclose(logits, wanted, rtol=1e-4, atol=1e-4)
