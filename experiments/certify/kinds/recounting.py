"""Networks and bounds once more, in numpy's float64: the sums of a recount.

Nothing here is shared with what made a certificate. A margin within the rounding of float32 may be
an error or not; counts are given both ways. Rounding may decide on 2 examples or on 1e-4 of them,
whichever are more: a claim may be that many below what float64 counts, and no further below
(`within_rounding`). So a network made of ties gains at most that.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from scipy.special import betainc, betaincinv, gammaln, logsumexp

from experiments.lab.chains import outputs
from experiments.lab.refusals import Refusal
from experiments.problems import Examples

ROWS = 1024  # examples at once
_TOO_CLOSE = 1e-5  # times the largest logit: where float32 may decide otherwise
_DECIDED = 2  # examples on which rounding may decide, or 1e-4 of them
_HALVINGS = 100

Layers = Sequence[Mapping[str, np.ndarray]]


def convolved(op: Mapping[str, Any], kernel: np.ndarray, x: np.ndarray) -> np.ndarray:
    """`[N, H', W', out]` of `x` `[N, ...]`: a sum over the taps of the kernel.

    Args:
      op: of `experiments.lab.chains`.
      kernel: `[kh, kw, in, out]`, or `[N, kh, kw, in, out]`: each example's own.
      x: inputs.
    """
    own = kernel if kernel.ndim == 5 else kernel[None]  # one matrix product for all
    shape = own.shape[1:]
    x = x.reshape(len(x), *op["image"], shape[2])
    x = np.pad(x, [(0, 0), *op["zeros"], (0, 0)])
    (down, right), (height, width) = op["strides"], outputs(op, shape)
    rows, columns = (height - 1) * down + 1, (width - 1) * right + 1

    def tap(i, j):
        seen = x[:, i : i + rows : down, j : j + columns : right]
        return seen.reshape(len(own), -1, shape[2]) @ own[:, i, j]

    found = sum(tap(i, j) for i in range(shape[0]) for j in range(shape[1]))
    return found.reshape(len(x), height, width, -1)


def averaged(op: Mapping[str, Any], x: np.ndarray) -> np.ndarray:
    """`[N, in]`: what a dense layer takes, a mean over positions."""
    return x.reshape(len(x), op["positions"], -1).mean(axis=1)


def layer(
    op: Mapping[str, Any], parts: Mapping[str, np.ndarray], x: np.ndarray
) -> np.ndarray:
    """Pre-activations of a layer."""
    if op["kind"] == "convolution":
        return convolved(op, parts["kernel"], x) + parts["bias"]
    return averaged(op, x) @ parts["kernel"] + parts["bias"]


def logits(network: Mapping[str, Any], layers: Layers, x: np.ndarray) -> np.ndarray:
    """`[N, C]` of inputs `[N, D]`, float64.

    Args:
      network: what its layers are (`experiments.lab.chains`).
      layers: `kernel` and `bias` of each, float64.
      x: inputs.
    """
    for number, pair in enumerate(zip(network["layers"], layers, strict=True)):
        x = layer(*pair, np.maximum(x, 0) if number else x)
    return x


def wide(layers: Layers) -> list[dict[str, np.ndarray]]:
    """The same layers in float64."""
    return [{n: a.astype(np.float64) for n, a in one.items()} for one in layers]


def check_fits(network: Mapping[str, Any], classes: int, examples: Examples) -> None:
    """Raises a `Refusal` where a network cannot take examples, or has no output for a label."""
    takes, labels = math.prod(network["input"]), examples.labels
    if examples.inputs.shape[1:] != (takes,):
        raise Refusal(
            f"--data: inputs {list(examples.inputs.shape[1:])}, and the network of --verify takes "
            f"{takes}; give the examples that it was certified on"
        )
    if len(labels) and not 0 <= labels.min() <= labels.max() < classes:
        raise Refusal(
            f"--data: labels from {labels.min()} to {labels.max()}, and the "
            f"network of --verify has {classes} outputs; give the examples that it was certified on"
        )


def of_margins(
    z: np.ndarray, labels: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Which of the rows of logits `[N, C]` are errors: surely, as these logits say, perhaps: `[N]` each.

    One that is perhaps right may be an error too; a label whose logit is not above all others is one
    as these logits say.
    """
    rows, width = np.arange(len(z)), _TOO_CLOSE * np.max(np.abs(z), axis=1)
    others = np.array(z)
    others[rows, labels] = -np.inf
    margins = z[rows, labels] - np.max(others, axis=1)
    # What is not a number is an error.
    return ~(margins >= -width), ~(margins > 0), ~(margins > width)


def within_rounding(counts: Sequence[int | np.integer], among: int) -> tuple[int, int]:
    """How many there are, at least and at most.

    Args:
      counts: surely, as float64 says, perhaps: as of `of_margins`.
      among: of how many.
    """
    surely, own, perhaps = map(int, counts)
    return max(surely, own - max(_DECIDED, among // 10000)), perhaps


def slices(count: int) -> Iterator[slice]:
    """Parts of so many rows, few enough to be taken at once."""
    return (slice(start, start + ROWS) for start in range(0, count, ROWS))


def all_logits(
    network: Mapping[str, Any], layers: Layers, inputs: np.ndarray
) -> np.ndarray:
    """`logits` `[N, C]` of any number of inputs, a part at a time."""
    return np.concatenate([
        logits(network, layers, inputs[part].astype(np.float64))
        for part in slices(len(inputs))
    ])  # fmt: skip


def errors(
    network: Mapping[str, Any], layers: Layers, examples: Examples
) -> tuple[int, int]:
    """Errors of a network at least and at most.

    Args:
      network: what its layers are (`experiments.lab.chains`).
      layers: `kernel` and `bias` of each.
      examples: labelled ones.

    Raises:
      Refusal: the network cannot take them.
    """
    layers, counts = wide(layers), np.zeros(3, np.int64)
    check_fits(network, len(layers[-1]["bias"]), examples)
    for part in slices(len(examples.labels)):
        z = logits(network, layers, examples.inputs[part].astype(np.float64))
        counts += np.sum(of_margins(z, examples.labels[part]), axis=1)
    return within_rounding(counts, len(examples.labels))


def largest(holds: Callable[[float], bool], low: float) -> float:
    """The largest p in [low, 1] up to which a property holds, from above."""
    high = 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return high


def kl_inverse(q: float, c: float) -> float:
    """The largest p with kl(q || p) <= c."""

    def holds(p):
        first = q * math.log(q / p) if q > 0 else 0.0
        rest = (1 - q) * math.log((1 - q) / (1 - p)) if q < 1 and p < 1 else 0.0
        return p < 1 and first + rest <= c

    return largest(holds, q)


def log_choices(size: int, chosen: Any) -> Any:
    """ln C(n, k)."""
    return gammaln(size + 1) - gammaln(chosen + 1) - gammaln(size - chosen + 1)


def log_binomial(wrong: Any, size: int, p: float) -> Any:
    """ln Pr[Bin(n, p) = k], 0 < p < 1."""
    return (
        log_choices(size, wrong) + wrong * math.log(p) + (size - wrong) * math.log1p(-p)
    )


def tail_limit(wrong: int, size: int, log_level: float) -> float:
    """sup {p : ln Pr[Bin(m, p) <= k] >= a level}, the tail a sum in logarithms: of any level."""
    if wrong >= size:
        return 1.0
    i = np.arange(wrong + 1)

    def holds(p):
        return p < 1 and logsumexp(log_binomial(i, size, p)) >= log_level

    return largest(holds, wrong / size)


def binomial_limit(wrong: int, size: int, failure: float) -> float:
    """BetaInv(1 - failure; k + 1, n - k) (Clopper & Pearson 1934)."""
    if wrong >= size:
        return 1.0
    return float(betaincinv(wrong + 1, size - wrong, 1 - failure))


def log_more(wrong: int, size: int, p: float) -> float:
    """ln Pr[Bin(n, p) > k], k < n, where it is no rare event."""
    found = float(betainc(wrong + 1, size - wrong, p))
    return math.log(found) if found > 0 else -math.inf


def coded_limit(bits: int, wrong: int, size: int, delta: float) -> float:
    """sup {p : kl(k/m || p) <= (c ln 2 + ln(c (c + 1)/delta))/m}, c bits (Zhou et al. 2019)."""
    bits = max(bits, 1)
    nats = bits * math.log(2) + math.log(bits) + math.log(bits + 1) - math.log(delta)
    return kl_inverse(wrong / size, nats / size)
