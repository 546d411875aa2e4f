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
from nets.margins import margin
from nets.sample import Sample, fold_blocks
from nets.training import logits_of

CLOSE = (
    1e-3  # of the norm of a layer's trained weights: nearer ones are the trained ones
)
LEVEL = 1e-5  # of the tests: so often initial weights that know nothing are suspected
KNOWS = 0.5  # of the error of guessing: below it, and without enough held-out examples, suspected
RELABELLINGS = 200_000  # of the outputs, at most: the least p that is told is 5e-6


@struct.dataclass
class Independence:
    """How the initial weights do on the training set and on held-out examples.

    Attributes:
      distances: `[L]`, of each layer's trained kernel from its initial one, over the norm of the
        trained one; infinite where that is 0. Biases are left out: one that was changed would hide
        that all else is the same.
      wrong: `[]`, errors of the network with the initial weights on the training set.
      answers: `[C, C]`, how many training examples of class y have their largest logit at class
        c: row y, column c. Examples whose largest logits are equal are in none.
      size: `[]`, m.
      held_out_wrong: `[]`, errors on held-out examples; 0 without.
      held_out: `[]`, how many there are; 0 without.
      most_frequent: `[]`, training examples of the most frequent class.
    """

    distances: chex.Array
    wrong: chex.Array
    answers: chex.Array
    size: chex.Array
    held_out_wrong: chex.Array
    held_out: chex.Array
    most_frequent: chex.Array


def _errors(network, sample):
    return jnp.sum(margins_of(network.model, network.init, sample).sorted <= 0)


def _answers(network, classes):
    """`[C, C]`: see `Independence`."""

    def visit(counts, block):
        logits = logits_of(network.model, network.init, block.inputs)
        own = jnp.argmax(logits, axis=1)
        alone = jax.vmap(margin)(logits, own) > 0
        one = (block.known & alone).astype(jnp.int32)
        return counts.at[block.labels, own].add(one)

    with jax.default_matmul_precision("highest"):
        return fold_blocks(
            network.sample, visit, jnp.zeros((classes, classes), jnp.int32)
        )


def _most_frequent(sample: Sample, classes: int):
    def visit(counts, block):
        return counts.at[block.labels].add(block.known.astype(jnp.int32))

    return jnp.max(fold_blocks(sample, visit, jnp.zeros((classes,), jnp.int32)))


def independence(network: Network) -> Independence:
    """Counts on all examples, and the distances: `Independence`."""
    trained, initial = weight_matrices(network.params), weight_matrices(network.init)

    def distance(w, z):
        w, z = w.astype(float), z.astype(float)
        norm = jnp.sqrt(jnp.sum(jnp.square(w)))
        return jnp.where(norm > 0, jnp.sqrt(jnp.sum(jnp.square(w - z))) / norm, jnp.inf)

    one = jax.tree.map(lambda x: x[:1], network.sample.inputs)
    logits = jax.eval_shape(lambda x: logits_of(network.model, network.init, x), one)
    classes = logits.shape[-1]
    held_out, none = network.holdout, jnp.zeros((), jnp.int32)
    return Independence(
        distances=jnp.stack(
            [distance(*pair) for pair in zip(trained, initial, strict=True)]
        ),
        wrong=_errors(network, network.sample),
        answers=_answers(network, classes),
        size=network.sample.size,
        held_out_wrong=none if held_out is None else _errors(network, held_out),
        held_out=none if held_out is None else held_out.size,
        most_frequent=_most_frequent(network.sample, classes),
    )


def as_right(answers: np.ndarray, most: int = RELABELLINGS) -> float:
    """A randomisation test: how often a relabelling of the outputs is right at least as often.

    The outputs of random initial weights have no order: whichever permutation names them, the
    network was as likely. So the number of right answers under the true names is one among
    exchangeable ones under all C! permutations, and p = (1 + those at least as right) / (1 + those
    tried) is below x with probability x at most (Phipson & Smyth 2010). Fewer than nine classes
    have too few permutations for `LEVEL`.

    Args:
      answers: `[C, C]`, of `Independence`.
      most: permutations tried; fewer once the answer is clearly "no rarer than 1 in 50".
    """
    answers = np.asarray(answers)
    classes = len(answers)
    right, rng = np.trace(answers), np.random.default_rng(0)
    tried = as_many = 0
    a_time = max(1, 200_000 // classes)
    while tried < most and (as_many < 100 or as_many < tried / 50):
        count = min(a_time, most - tried)
        names = rng.permuted(np.tile(np.arange(classes), (count, 1)), axis=1)
        found = answers[np.arange(classes), names].sum(axis=1)
        as_many, tried = as_many + int(np.sum(found >= right)), tried + count
    return (1 + as_many) / (1 + tried)


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
    distances, wrong, size = np.asarray(one.distances), int(one.wrong), int(one.size)
    same = np.flatnonzero(distances <= CLOSE)
    if len(same):
        apart = f"(apart by {np.max(distances[same]):.2g} of their norm)"
        if len(same) == len(distances):
            return f"the initial weights are the trained ones {apart}"
        layers = ", ".join(str(index + 1) for index in same)
        return f"the initial weights of layer {layers} of {len(distances)} are the trained ones {apart}"
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
    p = as_right(one.answers)
    if p < LEVEL or wrong < KNOWS * guessing:
        rare = f" (p = {p:.1g})" if p < LEVEL else ""
        return (
            f"the initial weights may have seen the data: they err on {wrong} of {size} "
            f"training examples, guessing on {guessing}{rare}"
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
    return {FORWARD: 2 * of.blocks() + of.held_out_blocks}


MEASURES = [Measure.one("independence", Independence, independence, ("init",), _passes)]
