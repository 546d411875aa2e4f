"""The group `independence`: what the initial weights seem to know of the training set.

Codes, PAC-Bayesian bounds and distances speak of a reference that was fixed before the data was
seen. That cannot be proved from weights; that it is not so can sometimes be seen.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from bounds.measures.examples import margins_of
from bounds.network import Measure, Network
from bounds.passes import FORWARD, Counts, Sizes
from bounds.spec import HEURISTIC, BoundSpec
from nets.kernels import weight_matrices
from nets.sample import Sample, fold_blocks

CLOSE = 1e-3  # of the trained weights' norm: nearer ones are the trained ones
LEVEL = 1e-5  # of the test: so often initial weights that know nothing are suspected
KNOWS = 0.5  # of the error of guessing: below it, and without enough held-out examples, suspected


@struct.dataclass
class Independence:
    """How the initial weights do on the training set and on held-out examples.

    Attributes:
      distance: `[]`, of the trained kernels from the initial ones, over the norm of the trained
        ones. Biases are left out: one that was changed would hide that all else is the same.
      wrong: `[]`, errors of the network with the initial weights on the training set.
      size: `[]`, m.
      held_out_wrong: `[]`, errors on held-out examples; 0 without.
      held_out: `[]`, how many there are; 0 without.
      most_frequent: `[]`, training examples of the most frequent class.
    """

    distance: chex.Array
    wrong: chex.Array
    size: chex.Array
    held_out_wrong: chex.Array
    held_out: chex.Array
    most_frequent: chex.Array


def _errors(network, sample):
    return jnp.sum(margins_of(network.model, network.init, sample).sorted <= 0)


def _most_frequent(sample: Sample, classes: int):
    def visit(counts, block):
        return counts.at[block.labels].add(block.known.astype(jnp.int32))

    return jnp.max(fold_blocks(sample, visit, jnp.zeros((classes,), jnp.int32)))


def independence(network: Network) -> Independence:
    """Counts on all examples, and the distance: `Independence`."""
    trained, initial = network.params, network.init

    def norm(tree):
        kernels = [w.astype(float) for w in jax.tree.leaves(tree) if w.ndim > 1]
        return jnp.sqrt(sum(jnp.sum(jnp.square(w)) for w in kernels))

    apart = norm(jax.tree.map(lambda w, z: w - z, trained, initial))
    classes = weight_matrices(trained)[-1].shape[-1]
    held_out, none = network.holdout, jnp.zeros((), jnp.int32)
    return Independence(
        distance=apart / jnp.maximum(norm(trained), jnp.finfo(apart.dtype).tiny),
        wrong=_errors(network, network.sample),
        size=network.sample.size,
        held_out_wrong=none if held_out is None else _errors(network, held_out),
        held_out=none if held_out is None else held_out.size,
        most_frequent=_most_frequent(network.sample, classes),
    )


def as_few(wrong: int, size: int, held_out_wrong: int, held_out: int) -> float:
    """Fisher's exact test, one-sided: Pr of at most `wrong` errors among `size` examples.

    All `wrong + held_out_wrong` errors fall anywhere among all examples alike, as they do where
    the weights know neither set.
    """
    errors, everything = wrong + held_out_wrong, size + held_out
    k = np.arange(max(0, errors - held_out), wrong + 1)

    def log_choose(n, some):
        below = np.array([math.lgamma(x + 1) for x in some])
        above = np.array([math.lgamma(n - x + 1) for x in some])
        return math.lgamma(n + 1) - below - above

    logs = log_choose(size, k) + log_choose(held_out, errors - k)
    logs -= log_choose(everything, np.array([errors]))
    return float(min(1.0, np.sum(np.exp(logs))))


def doubt(one: Independence) -> str:
    """Why the initial weights are not taken to be independent of the data, or ''.

    Args:
      one: of one network, on the host.
    """
    distance, wrong, size = float(one.distance), int(one.wrong), int(one.size)
    if distance <= CLOSE:
        return f"the initial weights are the trained ones (apart by {distance:.2g} of their norm)"
    if int(one.held_out):
        others, held_out = int(one.held_out_wrong), int(one.held_out)
        p = as_few(wrong, size, others, held_out)
        if p < LEVEL:
            return (
                f"the initial weights have seen the data: they err on {wrong} of {size} "
                f"training examples and on {others} of {held_out} held-out ones (p = {p:.1g})"
            )
        if as_few(wrong, size, held_out, held_out) < LEVEL:
            return ""
        # So few that the test could not have told, whatever happened on them.
    guessing = size - int(one.most_frequent)
    if wrong < KNOWS * guessing:
        return (
            f"the initial weights may have seen the data: they err on {wrong} of {size} "
            f"training examples, guessing on {guessing}"
        )
    return ""


def rests_on_init(spec: BoundSpec, required: Sequence[str]) -> bool:
    """Whether a bound says something only if the initial weights are independent of the data.

    Args:
      spec: of the bound.
      required: the fields of a network that it cannot do without.
    """
    return "init" in required and spec.status != HEURISTIC


def of_arrays(arrays: Mapping[str, Any]) -> Independence | None:
    """The group among flat arrays `independence/<field>` of one network, if it is there."""
    names = {f: f"independence/{f}" for f in Independence.__dataclass_fields__}
    if not all(name in arrays for name in names.values()):
        return None
    return Independence(**{field: arrays[name] for field, name in names.items()})


def _passes(of: Sizes) -> Counts:
    return {FORWARD: of.blocks() + of.held_out_blocks}


MEASURES = [Measure.one("independence", Independence, independence, ("init",), _passes)]
