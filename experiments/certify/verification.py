"""`--verify`: a certificate recounted from its file and the data alone, by plain sums in numpy.

Nothing of what made the certificate is used but what is a matter of record: the standard normals of
a draw, the initial weights and subspaces that a receiver of a code makes from the seed, and the decoder.
The draw, the density ratio, the decoded weights, the errors and the bound are computed here again, in
float64 and another way.
"""

import dataclasses
import math
import types
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from scipy.special import gammaln, logsumexp

from bounds.measures import single_draw
from experiments.certify import PROGRAM, certificate_file, coded_network, drawn_network
from experiments.certify.certificate_file import Certificate
from experiments.certify.routes import sgd
from experiments.certify.routes.posterior import certified_part
from experiments.certify.study import check_size
from experiments.lab import calls, report, settings
from experiments.lab.chains import outputs
from experiments.lab.networks import network_of
from experiments.lab.reading import data_files
from experiments.lab.refusals import Refusal
from experiments.problems import PROBLEMS, Examples
from nets import stochastic, subspace
from nets.kernels import layers
from nets.registry import NETWORKS

_GOES_WITH = ("verify", "data", "problem", "data_dir", "plugin")
_ROWS = 1024  # examples at once
_TOO_CLOSE = 1e-5  # times the largest logit: where float32 may decide otherwise
_ROUNDING = 1e-9
_HALVINGS = 100


def verified(given: Mapping[str, Any]) -> tuple[str, bool]:
    """A line on the certificate in a file, and whether it is what the file and the data say.

    Args:
      given: what was typed: `verify`, the file, and the data, `data` or `problem` and `data_dir`.

    Raises:
      Refusal: the file was changed, is of another kind, or the data are others.
    """
    for name, value in given.items():
        if name not in _GOES_WITH:
            raise Refusal(
                f"--{name}={settings.shown(value)}: does not go with --verify; leave it out"
            )
    path = given["verify"]
    kinds = {
        drawn_network.Certificate: drawn_network,
        coded_network.Certificate: coded_network,
    }
    one, tensors = certificate_file.read(path, tuple(kinds))
    stored = kinds[type(one)].stored(path, tensors, one)
    if one.bound not in RECOUNTED[type(one)]:
        raise Refusal(
            f"--verify={path}: its certificate is by {one.bound}; recounted of such a file are "
            f"{', '.join(RECOUNTED[type(one)])}"
        )
    examples = _examples(given, one)
    if certificate_file.digest_of_examples(examples) != one.data_sha256:
        raise Refusal(
            f"{_data_flag(given, one)}: not the {one.certified_size} examples that the certificate "
            "in --verify was computed on, their digest is another; give those"
        )
    is_drawn = isinstance(stored, drawn_network.Stored)
    differs = (_differs_drawn if is_drawn else _differs_coded)(stored, examples)
    if differs:
        return f"{path}: refuted: {'; '.join(differs)}", False
    at_most = report.at_most(one.value)
    complexity = f"ln ratio {one.log_ratio:.6g}" if is_drawn else f"{one.bits} bits"
    return (
        f"{path}: verified: the network errs on at most {at_most} of new examples drawn like "
        f"these, with confidence {1 - one.delta:g} ({one.bound}; {one.wrong} errors among "
        f"{one.certified_size}, {complexity}, {one.tried} settings tried and paid for)"
    ), True


def _data_flag(given, one):
    if given.get("data"):
        return f"--data={given['data']}"
    return f"--problem={one.problem}"


def _examples(given: Mapping[str, Any], one: Certificate) -> Examples:
    """The examples that a certificate was computed on, from the data of a call."""
    if given.get("data"):
        for name in ("problem", "data_dir"):
            if given.get(name):
                raise Refusal(f"--{name} and --data: give one of them")
        return data_files.Arrays.read(given["data"]).train
    typed = given.get("problem")
    if typed not in (None, one.problem):
        raise Refusal(
            f"--problem={typed}: the certificate in --verify is of {one.problem}; leave it out"
        )
    there = calls.problems_of(PROGRAM)
    if one.problem not in there:
        raise Refusal(
            f"--verify={given['verify']}: of the problem {one.problem}, which is not here; give "
            "its --plugin, or the examples by --data"
        )
    own = one.problem_settings | {
        n: getattr(one, n)
        for n in ("problem", "size", "prior_share", "seed")
        if hasattr(one, n)
    }
    try:
        config = settings.from_json(calls.kind_of(PROGRAM, one.problem), own)
    except (TypeError, KeyError) as error:
        raise Refusal(
            f"--verify={given['verify']}: its problem has settings that {one.problem} has not "
            f"({error}); give the examples by --data"
        ) from error
    if given.get("data_dir"):
        if not hasattr(config, "data_dir"):
            raise Refusal(
                f"--data_dir={given['data_dir']}: problem {one.problem} has no such setting; leave "
                "it out"
            )
        config = dataclasses.replace(config, data_dir=given["data_dir"])
    settings.check(settings.part(config, PROBLEMS[one.problem].Settings))
    problem = calls.problem_of(config)
    check_size(config, problem)
    is_drawn = isinstance(one, drawn_network.Certificate)
    part = certified_part(config) if is_drawn else slice(0, None)
    return sgd.examples_of(config, problem, one.run_seed, part)


def _differs_drawn(stored: drawn_network.Stored, examples: Examples) -> list[str]:
    """What of a drawn network's certificate is not what its file and the data say."""
    one, found = stored.certificate, []
    log_prior, price = _prior(stored)
    layer = _misdrawn(stored)
    if layer is not None:
        found.append(
            f"layer {layer} is not what the fixed key draws from its posterior"
        )
    ratio = _log_ratio(stored, log_prior)
    if abs(ratio - one.log_ratio) > 1e-6 + 1e-9 * abs(ratio):
        found.append(f"ln ratio is {ratio:.9g}, not {one.log_ratio:.9g}")
    if abs(price - one.price) > _ROUNDING:
        found.append(f"the price of the prior is {price:.9g}, not {one.price:.9g}")
    return found + _differs_counted(stored, examples, ratio, price)


def _differs_coded(stored: coded_network.Stored, examples: Examples) -> list[str]:
    """What of a coded network's certificate is not what its file and the data say."""
    one, found = stored.certificate, []
    try:
        kernels, length = coded_network.decoded(stored.code, _known(stored))
    except ValueError as error:
        return [f"its code is none ({error})"]
    if length > one.bits:
        found.append(f"its code has {length} bits, not {one.bits}")
    for layer, (own, kernel) in enumerate(zip(stored.network, kernels, strict=True)):
        allowed = 1e-5 * np.max(np.abs(kernel))
        if own["kernel"].shape != kernel.shape or np.any(own["bias"]):
            found.append(f"layer {layer} is of another shape than the decoded one")
        elif np.max(np.abs(own["kernel"] - kernel)) > allowed:
            found.append(f"layer {layer} is not what its code says")
    return found or _differs_counted(stored, examples, one.bits, 0.0)


def _known(stored: coded_network.Stored) -> Any:
    """What a receiver knows beforehand: the initial parameters of the network in its subspace.

    Raises:
      Refusal: there is no such architecture here.
    """
    one, shape = stored.certificate, stored.certificate.network["input"]
    if one.architecture not in NETWORKS:
        raise Refusal(
            f"--verify: of the architecture {one.architecture}, which is not here; give its --plugin"
        )
    like = types.SimpleNamespace(
        features=math.prod(shape),
        image=tuple(shape) if len(shape) == 3 else None,
        classes=len(stored.network[-1]["bias"]),
    )
    example = np.zeros((1, like.features), np.float32)
    sizes, found = (one.rank, one.width, one.depth), []
    if min(sizes) > 0 and one.depth <= len(stored.network) and one.width < 2**20:
        plain = network_of("architecture", one, like, biases=False)
        params = jax.eval_shape(plain.init, jax.random.key(0), example)["params"]
        found = [layer["kernel"].shape for layer in layers(params)]
    if found != [layer["kernel"].shape for layer in stored.network]:
        raise Refusal(
            f"--verify: a network {one.architecture} of width {one.width} and depth {one.depth} "
            "has other layers than the file; get the file again"
        )
    model = subspace.SubspaceNetwork(plain, one.rank)
    key = sgd.initial_key(one, types.SimpleNamespace(seed=one.run_seed))
    return jax.jit(model.init)(key, example)["params"]


def _differs_counted(stored, examples, complexity, price):
    """What of the errors and the bound that they give is not as is claimed."""
    one, found = stored.certificate, []
    least, most = _wrong(stored, examples)
    size = len(examples.labels)
    if size != one.certified_size:
        found.append(f"there are {size} examples, not {one.certified_size}")
    if not least <= one.wrong <= most:
        counted = least if least == most else f"{least} to {most}"
        found.append(f"it errs on {counted} of them, not {one.wrong}")
    wrong = min(max(one.wrong, least), most)
    recounted = RECOUNTED[type(one)][one.bound]
    value = recounted(complexity, price, wrong, size, one.delta / one.tried)
    if value > one.value + _ROUNDING:
        found.append(f"the bound is {value:.9g}, not {one.value:.9g}")
    return found


def _prior(stored: drawn_network.Stored) -> tuple[float, float]:
    """ln of the prior's deviation and its price: on the grid .1 e^(-j/100) if it was learned."""
    log_prior = float(stored.posterior[0]["log_prior_sd"])
    if not stored.certificate.has_learned_prior:
        return log_prior, 0.0
    j = max(round(100 * (math.log(0.1) - 2 * log_prior)), 1)
    return (math.log(0.1) - j / 100) / 2, 2 * math.log(j) + math.log(math.pi**2 / 6)


def _arrays(stored: drawn_network.Stored) -> Any:
    """(layer, name, h, w, ln s, z), float64, of every array of the network."""
    pairs = zip(stored.network, stored.posterior, strict=True)
    for number, (own, layer) in enumerate(pairs):
        for name in stochastic.ARRAYS:
            parts = own[name], layer[name], layer[f"log_sd_{name}"]
            yield (
                number,
                name,
                *(np.asarray(a, np.float64) for a in (*parts, layer[f"prior_{name}"])),
            )


def _misdrawn(stored: drawn_network.Stored) -> int | None:
    """The first layer that is not what the fixed key draws, but for rounding; or None."""
    like = {f"Layer_{n}": layer for n, layer in enumerate(stored.posterior)}
    noise = single_draw.normals(like)
    for number, name, h, w, log_sd, _ in _arrays(stored):
        moved = np.exp(log_sd) * np.asarray(noise[number][name], np.float64)
        allowed = np.spacing(np.abs(h).astype(np.float32)) + 1e-6 * np.abs(moved)
        if np.any(np.abs(h - (w + moved)) > allowed):
            return number
    return None


def _log_ratio(stored: drawn_network.Stored, log_prior: float) -> float:
    """sum_i (h_i - z_i)^2/(2 l^2) - (h_i - w_i)^2/(2 s_i^2) + ln(l/s_i)."""
    total = 0.0
    for _, _, h, w, log_sd, z in _arrays(stored):
        of_prior = (h - z) ** 2 / (2 * math.exp(2 * log_prior))
        of_own = (h - w) ** 2 / (2 * np.exp(2 * log_sd))
        total += float(np.sum(of_prior - of_own + log_prior - log_sd))
    return total


def _convolved(op: Mapping[str, Any], kernel: np.ndarray, x: np.ndarray) -> np.ndarray:
    """`[N, H', W', out]` of `x` `[N, ...]`: a sum over the taps of the kernel."""
    x = x.reshape(len(x), *op["image"], kernel.shape[2])
    x = np.pad(x, [(0, 0), *op["zeros"], (0, 0)])
    (down, right), (height, width) = op["strides"], outputs(op, kernel.shape)
    rows, columns = (height - 1) * down + 1, (width - 1) * right + 1
    return sum(
        x[:, i : i + rows : down, j : j + columns : right] @ kernel[i, j]
        for i in range(kernel.shape[0])
        for j in range(kernel.shape[1])
    )


def _layer(
    op: Mapping[str, Any], layer: Mapping[str, np.ndarray], x: np.ndarray
) -> np.ndarray:
    """Pre-activations of a layer."""
    if op["kind"] == "convolution":
        return _convolved(op, layer["kernel"], x) + layer["bias"]
    x = x.reshape(len(x), op["positions"], -1).mean(axis=1)
    return x @ layer["kernel"] + layer["bias"]


def _wrong(stored: Any, examples: Examples) -> tuple[int, int]:
    """Errors at least and at most: a margin within the rounding of float32 may be either."""
    least = most = 0
    network = stored.certificate.network
    takes = math.prod(network["input"])
    if examples.inputs.shape[1:] != (takes,):
        raise Refusal(
            f"--data: inputs {list(examples.inputs.shape[1:])}, and the network of --verify takes "
            f"{takes}; give the examples that it was certified on"
        )
    layers = [
        {n: a.astype(np.float64) for n, a in layer.items()} for layer in stored.network
    ]
    classes, labels = len(layers[-1]["bias"]), examples.labels
    if len(labels) and not 0 <= labels.min() <= labels.max() < classes:
        raise Refusal(
            f"--data: labels from {labels.min()} to {labels.max()}, and the "
            f"network of --verify has {classes} outputs; give the examples that it was certified on"
        )
    for start in range(0, len(examples.labels), _ROWS):
        z = examples.inputs[start : start + _ROWS].astype(np.float64)
        labels = examples.labels[start : start + _ROWS]
        for number, pair in enumerate(zip(network["layers"], layers, strict=True)):
            z = _layer(*pair, np.maximum(z, 0) if number else z)
        rows, width = np.arange(len(z)), _TOO_CLOSE * np.max(np.abs(z), axis=1)
        own = z[rows, labels]
        z[rows, labels] = -np.inf
        margins = own - np.max(z, axis=1)
        least += int(np.sum(margins < -width))
        most += int(np.sum(margins <= width))
    return least, most


def _largest(holds: Callable[[float], bool], low: float) -> float:
    """The largest p in [low, 1] up to which a property holds, from above."""
    high = 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return high


def _rivasplata_2020(ratio, price, wrong, size, delta):
    """sup {p : kl(k/m || p) <= (ratio + price + ln(2 sqrt(m)/delta))/m}."""
    nats = ratio + price + math.log(2 * math.sqrt(size) / delta)
    return _kl_inverse(wrong / size, max(nats, 0.0) / size)


def _zhou_2019(bits, price, wrong, size, delta):
    """sup {p : kl(k/m || p) <= (c ln 2 + ln(c (c + 1)/delta))/m}, c bits."""
    nats = bits * math.log(2) + math.log(bits * (bits + 1)) - math.log(delta) + price
    return _kl_inverse(wrong / size, nats / size)


def _kl_inverse(q, c):
    """The largest p with kl(q || p) <= c."""

    def holds(p):
        first = q * math.log(q / p) if q > 0 else 0.0
        rest = (1 - q) * math.log((1 - q) / (1 - p)) if q < 1 and p < 1 else 0.0
        return p < 1 and first + rest <= c

    return _largest(holds, q)


def _blanchard_2007(ratio, price, wrong, size, delta):
    """sup {p : Pr[Bin(m, p) <= k] >= delta e^-r/(2 (1 + r)^2)}, the tail a sum in logarithms."""
    ratio = max(ratio, 0.0)
    log_level = math.log(delta / 2) - price - ratio - 2 * math.log1p(ratio)
    if wrong >= size:
        return 1.0
    i = np.arange(wrong + 1)
    log_choose = gammaln(size + 1) - gammaln(i + 1) - gammaln(size - i + 1)

    def holds(p):
        if p >= 1:
            return False
        return logsumexp(log_choose + i * math.log(p) + (size - i) * math.log1p(-p)) >= log_level  # fmt: skip

    return _largest(holds, wrong / size)


# Kind of certificate -> bound -> its value: a density ratio must not be taken for a number of bits.
RECOUNTED = {
    drawn_network.Certificate: {
        "rivasplata_2020_single_draw": _rivasplata_2020,
        "blanchard_2007_single_draw": _blanchard_2007,
    },
    coded_network.Certificate: {"lotfi_2022_subspace": _zhou_2019},
}
