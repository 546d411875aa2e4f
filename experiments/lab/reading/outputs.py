"""A network proved to be the one that was meant: by the logits that its owner got from it.

What is rounding and what is another network is told by the network itself. A sum of n products in
floating point is the exact sum of products that are each off by some units u of rounding: a
random walk of n steps, about sqrt(n) of them. So a forward pass in another order, or by another framework, is
that of a network whose weights and inputs are off by so much; how far the outputs move if all of
these are moved at random, each by the same share of itself, is tried. Allowed is

  C u sqrt(n) (S + max |output|),

S the most by which an output moves, over the share; n the longest sum, u = 2^-24. Numbers that
half precision holds exactly (float16, bfloat16) were computed in it: u is 2^-11 or 2^-8 then, and n is
1, since accelerators sum its products in float32. Of many outputs the first `MOST` are looked at: each
costs a pass of the network and one for each try.
"""

import functools
import math
from pathlib import Path

import jax
import numpy as np

import bounds
from experiments.lab.reading import array_files
from experiments.lab.reading.flaws import Flaw
from experiments.lab.refusals import Refusal
from nets.importing.folding import FINAL
from nets.sample import BLOCK
from nets.training import logits_of

MOST = 256  # outputs that are compared
_ROUNDINGS = 2.0  # C
_SHARE = 2.0**-12  # far above rounding, and few ReLUs change their sign
_TRIES = 2
_FLOAT32, _FLOAT16, _BFLOAT16 = 2.0**-24, 2.0**-11, 2.0**-8


def check(path: Path, network: bounds.Network, final: str = "") -> None:
    """Compares logits in a file with the network's on the first of its training examples.

    Args:
      path: an .npy `[n, C]`, or an .npz with one such array.
      network: with its training set.
      final: a name in `nets.importing.folding.FINAL`, of what stands behind the logits in the
        network that the file is of, or ''.

    Raises:
      Refusal: it cannot be read, has another shape, or other logits.
    """
    flag = f"--outputs={path}"
    try:
        found = array_files.read(path, only="logits")
        given = found.get("logits", next(iter(found.values()), None))
    except Flaw as flaw:
        raise Refusal(
            f"{flag}: no .npy of plain numbers ({flaw}); write one by numpy.save"
        ) from None
    size = int(network.sample.size)
    if len(found) > 1 and "logits" not in found:
        raise Refusal(f"{flag}: holds {', '.join(found)}; call one of them logits")
    if (
        not isinstance(given, np.ndarray)
        or given.ndim != 2
        or given.dtype.kind not in "fiu"
    ):
        raise Refusal(f"{flag}: must be one array of numbers [n, classes]")
    least = min(2, size)  # one cannot tell whether examples are mixed
    if not least <= len(given) <= size:
        raise Refusal(
            f"{flag}: {len(given)} rows; give those of {least} to {size} training examples"
        )
    given = given[:MOST]
    own = _outputs(network, network.params, network.sample.inputs[: len(given)], final)
    if given.shape != own.shape:
        raise Refusal(
            f"{flag}: {given.shape[1]} columns, the network has {own.shape[1]} outputs"
        )
    apart = np.abs(given.astype(float) - own).max(axis=1)
    allowed, unit = _rounding(network, given, own, final)
    if not (apart <= allowed).all():
        worst = int(np.argmax(np.nan_to_num(apart, nan=np.inf)))
        raise Refusal(
            f"{flag}: example {worst} has logits {_shown(given[worst])} there, the network as it "
            f"was taken gives {_shown(own[worst])}, {apart[worst]:.2g} away where rounding explains "
            f"{allowed:.2g}: it is not the network that was meant (the order or layout of its "
            "layers, its activation, a constant such as the epsilon of normalisation, or how inputs "
            f"are scaled?){_in_half(apart, allowed, unit)}"
        )


def rounding(
    network: bounds.Network, given: np.ndarray, final: str = ""
) -> tuple[float, float]:
    """How far outputs may be from the network's own by rounding alone, and its unit.

    Args:
      network: with its training set.
      given: `[n, C]`, outputs on the first n training examples.
      final: as of `check`.
    """
    inputs = network.sample.inputs[: len(given)]
    own = _outputs(network, network.params, inputs, final)
    return _rounding(network, given, own, final)


def _rounding(network, given, own, final):
    """`rounding`, given the network's own outputs."""
    inputs = network.sample.inputs[: len(given)]
    rng, moved = np.random.default_rng(0), 0.0

    def off(leaf):
        leaf = np.asarray(leaf)
        if leaf.dtype.kind != "f":
            return leaf
        signs = rng.choice(np.float32([-1, 1]), leaf.shape)
        return leaf * (1 + np.float32(_SHARE) * signs).astype(leaf.dtype)

    for _ in range(_TRIES):
        params = jax.tree.map(off, network.params)
        its = _outputs(network, params, jax.tree.map(off, inputs), final)
        moved = max(moved, float(np.abs(its - own).max()) / _SHARE)
    unit = _unit_of(given)
    summed = _longest_sum(network.params) if unit == _FLOAT32 else 1
    scale = moved + float(np.abs(own).max())
    return _ROUNDINGS * unit * math.sqrt(summed) * scale, unit


def _outputs(network, params, inputs, final):
    """`[n, C]`, a block of examples at once: what nodes in between give takes memory."""
    n = len(jax.tree.leaves(inputs)[0])
    rows, found = min(n, BLOCK), []
    for start in range(0, n, rows):
        first = min(start, n - rows)  # of a whole block: all are of one program
        block = jax.tree.map(lambda leaf, i=first: leaf[i : i + rows], inputs)
        its = _of_block(network.model, params, block, final)
        found.append(np.asarray(its)[start - first :])
    return np.concatenate(found)


@functools.partial(jax.jit, static_argnames=("model", "final"))
def _of_block(model, params, inputs, final):
    found = logits_of(model, params, inputs)
    return FINAL[final](found, axis=-1) if final else found


def _unit_of(given):
    """The rounding of the coarsest kind of number that holds all of the outputs exactly."""
    if given.dtype.kind != "f":
        return _FLOAT32
    with np.errstate(over="ignore"):
        narrow = given.astype(np.float32)
        if not np.array_equal(narrow, given):
            return _FLOAT32
        if not (narrow.view(np.uint32) & 0xFFFF).any():
            return _BFLOAT16
        return (
            _FLOAT16 if np.array_equal(narrow.astype(np.float16), narrow) else _FLOAT32
        )


def _longest_sum(params):
    shapes = [np.shape(leaf) for leaf in jax.tree.leaves(params)]
    return max([math.prod(shape[:-1]) for shape in shapes if len(shape) > 1], default=1)


def _in_half(apart, allowed, unit):
    """What else it may be where outputs in single precision agree as half precision does."""
    coarser = allowed * _FLOAT16 / _FLOAT32
    if unit == _FLOAT32 and (apart <= coarser).all():
        return (
            "; if they were computed in half precision or TF32, compute them in full float32, or "
            "store them as float16"
        )
    return ""


def _shown(logits):
    some = ", ".join(f"{value:.4g}" for value in logits[:3])
    return f"[{some}{', ...' if len(logits) > 3 else ''}]"
