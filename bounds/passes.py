"""How many passes over examples the groups take: what measuring costs, in no machine's seconds.

A pass is over one block of `nets.sample.BLOCK` examples. Groups that take none (norms, paths,
spectra) are not listed, nor are those of plugins. Where a search decides, the number is one that 9
of 10 networks of the report card's table stay below; ascent to a given accuracy may end earlier.
"""

import math
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from bounds.measures import (
    ascent,
    climb,
    code,
    curvature,
    gibbs,
    loss,
    noisy,
    representation,
    sharpness,
)
from bounds.measures.examples import margins_of
from bounds.measures.loss import kernels_of, slope_at
from bounds.measures.pullback import pullback
from bounds.network import Network
from bounds.registry import BOUNDS
from bounds.spec import HEURISTIC
from nets.kernels import layers
from nets.sample import BLOCK, Sample

# Forward; the gradient of the mean loss in all kernels; a product with its Hessian; the gradients of
# single examples; forward with other weights, drawn.
FORWARD, GRADIENT, PRODUCT, SINGLE, NOISY = (
    "forward", "gradient", "product", "single", "noisy",
)  # fmt: skip
Counts = dict[str, float]


class Sizes(NamedTuple):
    """Of a network's examples.

    Attributes:
      train, held_out: how many there are.
      classes: outputs.
    """

    train: int
    held_out: int
    classes: int

    def blocks(self, limit: int | None = None) -> int:
        """Of the training set, or of its first `limit` examples."""
        return _blocks(self.train if limit is None else min(self.train, limit))

    @property
    def held_out_blocks(self) -> int:
        """Of the held-out examples."""
        return _blocks(self.held_out)


def _blocks(examples):
    return -(-examples // BLOCK)


# Of searches, what 9 of 10 networks stay below.
_DRAWS_OF_NOISE = sharpness.MOST_DRAWS
_STEPS_IN_BALL, _STEPS_IN_BOX = 80, 160
_BLOCKS_OF_BRACKETS, _LAST_BLOCKS = 180, 62


def _margins(of):
    return {FORWARD: of.blocks()}


def _holdout(of):
    return {FORWARD: of.held_out_blocks}


def _both(of):
    return {FORWARD: of.blocks() + of.held_out_blocks}


def _code(of):
    return {FORWARD: len(code.CANDIDATES) * (of.blocks() + of.held_out_blocks)}


def _gibbs(of):
    """Two kinds of posteriors: a first look at all levels, then at those that are kept."""
    train, held_out = max(of.train, 1), max(of.held_out, 1)
    first = 2 * gibbs.LEVELS * math.ceil(gibbs.FIRST_LOOK / train) * of.blocks()
    kept = 2 * gibbs.KEPT
    then = kept * math.ceil(gibbs.EXAMPLES / train) * of.blocks()
    held = kept * math.ceil(gibbs.EXAMPLES / held_out) * of.held_out_blocks
    return {NOISY: first + then + held}


def _noise(of):
    return {FORWARD: of.blocks(), NOISY: _BLOCKS_OF_BRACKETS + 2 * _LAST_BLOCKS}


def _ascent(of):
    searches = 2 * (ascent.CELLS.bit_length() - 1) * climb.STEPS
    return {GRADIENT: (searches + 1) * of.blocks(loss.EXAMPLES)}


def _sharpness(of):
    some = of.blocks(loss.EXAMPLES)
    steps = 1 + _STEPS_IN_BALL + _STEPS_IN_BOX
    return {FORWARD: 2 * _DRAWS_OF_NOISE * some, GRADIENT: steps * some}


def _curvature(of):
    every = of.blocks()
    return {
        FORWARD: 2 * every,
        PRODUCT: curvature.STEPS * every,
        SINGLE: of.classes * every,
    }


def _gradients(of):
    return {GRADIENT: of.blocks(), SINGLE: of.blocks()}


def _mixup(of):
    return {FORWARD: of.blocks(representation.EXAMPLES)}


_COUNTS: dict[str, Callable[[Sizes], Counts]] = {
    "margins": _margins, "outputs": _margins, "holdout": _holdout, "independence": _both,
    "code": _code, "code_from_origin": _code, "gibbs": _gibbs, "gibbs_layers": _gibbs,
    "noise": _noise, "magnitude_noise": _noise, "magnitude_ratios": _noise,
    "ascent": _ascent, "ascent_sums": _ascent, "sharpness": _sharpness,
    "curvature": _curvature, "gradients": _gradients, "mixup": _mixup,
}  # fmt: skip
# Fewer examples make these no cheaper: they draw until they know.
_NOT_CHEAPER = {"noise", "magnitude_noise", "magnitude_ratios"}


def counts(group: str, of: Sizes) -> Counts:
    """Kind of pass -> how many, of a group and those that are measured with it."""
    return _COUNTS[group](of) if group in _COUNTS else {}


def may_be_of_fewer(groups: Iterable[str]) -> bool:
    """Whether groups that share their passes may look at a part of the training set.

    Only where no bound but heuristic measures asks for them: what is certified, or a term of a
    theorem, speaks of all m examples. And only where that makes them cheaper.
    """
    groups = set(groups)
    askers = [s.status for s in BOUNDS.values() if groups & set(s.groups)]
    return (
        bool(askers)
        and set(askers) == {HEURISTIC}
        and groups <= set(_COUNTS) - _NOT_CHEAPER
    )


def first(sample: Sample, examples: int) -> Sample:
    """Its first examples, a whole number of blocks."""
    rows = min(BLOCK * _blocks(examples), sample.labels.shape[0])
    inputs, labels = jax.tree.map(
        lambda leaf: leaf[:rows], (sample.inputs, sample.labels)
    )
    return sample.replace(
        inputs=inputs, labels=labels, size=jnp.minimum(sample.size, rows)
    )


def one(kind: str, network: Network) -> Any:
    """One pass of a kind over the first block, as measures make it: pure, to be compiled."""
    network = network.replace(sample=first(network.sample, BLOCK))
    sample, kernels = network.sample, kernels_of(network.params)
    if kind == FORWARD:
        return margins_of(network.model, network.params, sample)
    if kind == GRADIENT:
        return slope_at(network, kernels)
    if kind == PRODUCT:
        return curvature.hessian_product(network, kernels)
    if kind == NOISY:
        found = noisy.isotropic(network, with_biases=True)
        level = jnp.full((1, len(layers(network.params))), 1e-3)
        block = jnp.zeros((), jnp.int32)
        with jax.default_matmul_precision("highest"):
            return noisy.wrong(found, level, sample, block, jax.random.key(0))
    with jax.default_matmul_precision("highest"):
        back = pullback(network, sample.inputs)
        return back.squares(jnp.ones_like(back.logits))


def operations(network: Network) -> float:
    """Additions and multiplications of one example's forward pass."""
    example = jax.tree.map(lambda leaf: leaf[:1], network.sample.inputs)

    def forward(params, x):
        return network.model.apply({"params": params}, x)

    cost = jax.jit(forward).lower(network.params, example).cost_analysis()
    return float((cost or {}).get("flops", 0.0))
