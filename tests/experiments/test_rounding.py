"""`--outputs` tells rounding from another network: other frameworks' sums pass, small faults do not."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import bounds
from experiments.lab.reading import outputs
from experiments.lab.refusals import Refusal
from nets.cnn import CNN
from tests.oracles import convolution

ROWS = 12


def dense(widths, seed=0):
    """(weights, biases, inputs) of a ReLU network, as He et al. initialise it."""
    rng = np.random.default_rng(seed)
    pairs = list(itertools.pairwise(widths))
    weights = [rng.standard_normal(p) * np.sqrt(2 / p[0]) for p in pairs]
    biases = [0.1 * rng.standard_normal(p[1]) for p in pairs]
    inputs = rng.random((ROWS, widths[0]))
    return *([np.float32(a) for a in part] for part in (weights, biases)), np.float32(
        inputs
    )


def one_by_one(x, w):
    """Products summed one after the other in float32, from the last on: the worst of orders."""
    total = np.zeros((len(x), w.shape[1]), np.float32)
    for k in reversed(range(w.shape[0])):
        total += x[:, k : k + 1] * w[k]
    return total


def forward(weights, biases, x, product=np.matmul):
    for layer, (w, b) in enumerate(zip(weights, biases, strict=True)):
        x = product(np.maximum(x, 0) if layer else x, w) + b
    return x


def double(*parts):
    return [
        [np.float64(a) for a in p] if isinstance(p, list) else np.float64(p)
        for p in parts
    ]


NETWORKS = {
    "shallow": (20, 30, 5), "wide": (784, 1024, 1024, 10), "deep": (50, *[64] * 20, 10),
    "two classes": (784, 300, 2),
}  # fmt: skip


def proved(network, logits, path):
    np.save(path, logits)
    outputs.check(path, network)


def share(network, logits):
    """How much of what is allowed logits are away."""
    apart = np.abs(
        logits
        - outputs._outputs(network, network.params, network.sample.inputs[:ROWS], "")
    )
    return apart.max() / outputs.rounding(network, logits)[0]


@pytest.mark.parametrize("name", NETWORKS)
def test_other_sums_pass_with_room_and_one_bias_does_not(name, tmp_path):
    weights, biases, x = dense(NETWORKS[name])
    network = bounds.from_arrays(weights, x, [0, 1] * (ROWS // 2), biases=biases)
    exact = forward(*double(weights, biases, x))
    for logits in (exact, np.float32(exact), forward(weights, biases, x, one_by_one)):
        proved(network, logits, tmp_path / "a.npy")
        assert share(network, logits) < 1 / 4
    # One bias of the last layer, off by a thousandth of itself.
    last = np.float64(biases[-1])
    last[np.argmax(np.abs(last))] *= 1.001
    off = forward(*double(weights, [*biases[:-1], last], x))
    with pytest.raises(Refusal, match="rounding explains"):
        proved(network, off, tmp_path / "b.npy")
    # Or one layer, by one per cent.
    with pytest.raises(Refusal, match=r"not the network that was meant"):
        proved(
            network,
            forward([1.01 * weights[0], *weights[1:]], biases, x),
            tmp_path / "c.npy",
        )


def test_half_precision_has_its_own_rounding(tmp_path):
    """Known by the numbers: every one of them is one of half precision."""
    weights, biases, x = dense(NETWORKS["deep"])
    network = bounds.from_arrays(weights, x, [0, 1] * (ROWS // 2), biases=biases)

    def in_half(kind):
        half = [[a.astype(kind) for a in p] for p in (weights, biases)]

        def product(a, b):  # as accelerators do: summed in float32, rounded then
            return np.float32(np.float32(a.astype(kind)) @ np.float32(b)).astype(kind)

        return forward(*half, x.astype(kind), product)

    for kind in (np.float16, jnp.bfloat16):
        logits = np.float32(in_half(kind))
        proved(network, logits, tmp_path / "a.npy")
        assert share(network, logits) < 1 / 2
        wrong = np.float32((1.2 * logits).astype(kind))
        with pytest.raises(Refusal, match="rounding explains"):
            proved(network, wrong, tmp_path / "b.npy")
    proved(network, in_half(np.float16), tmp_path / "c.npy")
    # Rounded to half on the way and not at the end: the remedy is said.
    logits = np.float32(in_half(np.float16)) * np.float32(1 + 2.0**-20)
    with pytest.raises(
        Refusal, match=r"half precision or TF32, .* store them as float16"
    ):
        proved(network, logits, tmp_path / "d.npy")


def convolved(layers, x, kind):
    """The CNN by the oracle's loops: taps one by one, positions averaged one by one."""
    *convolutions, last = layers
    found = []
    for image in x.reshape(ROWS, 8, 8, 2).astype(kind):
        for place, (kernel, bias) in enumerate(convolutions):
            strides = (1, 1) if place % 2 else (2, 2)
            image = convolution.zero_padded(kernel.astype(kind), image, strides)
            image = np.maximum(image + bias.astype(kind), 0)
        mean = sum(image.reshape(-1, image.shape[-1])) / kind(
            image.shape[0] * image.shape[1]
        )
        found.append(mean @ last[0].astype(kind) + last[1].astype(kind))
    return np.array(found, kind)


def test_convolutions(tmp_path):
    model = CNN((8, 8, 2), 8, 2, 3, True)
    x = np.float32(np.random.default_rng(1).random((ROWS, 128)))
    params = model.init(jax.random.key(0), x)["params"]
    network = bounds.from_apply(
        model.apply, {"params": params}, x, [0, 1, 2] * (ROWS // 3)
    )
    layers = [
        (np.asarray(one["kernel"]), np.asarray(one["bias"])) for one in params.values()
    ]
    assert [w.shape for w, _ in layers] == [
        (3, 3, 2, 8), (1, 1, 8, 8), (3, 3, 8, 8), (1, 1, 8, 8), (8, 3),
    ]  # fmt: skip
    for kind in (np.float64, np.float32):
        logits = convolved(layers, x, kind)
        proved(network, logits, tmp_path / "a.npy")
        assert share(network, logits) < 1 / 4
    off = logits + np.float32(1e-3) * np.abs(logits).max() * (np.arange(3) == 1)
    with pytest.raises(Refusal, match="rounding explains"):
        proved(network, off, tmp_path / "b.npy")


def double_tree(tree):
    return jax.tree.map(np.float64, jax.device_get(tree))


def test_another_epsilon_of_normalisation_is_refused(tmp_path):
    """1e-3, as some frameworks have it, where 1e-5 was read."""
    weights, biases, x = dense((30, 40, 40, 5))
    rng = np.random.default_rng(2)
    moments = [(rng.standard_normal(40), rng.uniform(0.3, 3, 40)) for _ in range(2)]
    moments = [[np.float32(a) for a in pair] for pair in moments]

    def normalised(p, x, epsilon=1e-5, xp=jnp):
        for w, b, (mean, variance) in zip(*p[:2], [*p[2], (None, None)], strict=True):
            x = x @ w + b[None]
            if mean is not None:
                x = xp.maximum((x - mean[None]) / xp.sqrt(variance + epsilon)[None], 0)
        return x

    params = (weights, biases, moments)
    network = bounds.from_apply(normalised, params, x, [0, 1] * (ROWS // 2))
    p, x = double_tree(params), np.float64(x)
    exact = normalised(p, x, xp=np)
    proved(network, exact, tmp_path / "a.npy")
    assert share(network, exact) < 1 / 4
    with pytest.raises(Refusal, match="epsilon of normalisation"):
        proved(network, normalised(p, x, 1e-3, np), tmp_path / "b.npy")
