"""What measuring costs: how many passes the groups take, and one pass of each kind to be timed."""

from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp

from bounds import registry
from bounds.measures import curvature, noisy
from bounds.measures.examples import margins_of
from bounds.measures.loss import kernels_of, slope_at
from bounds.measures.pullback import pullback
from bounds.network import Network
from bounds.passes import FORWARD, GRADIENT, NOISY, PRODUCT, Counts, Sizes
from bounds.spec import HEURISTIC
from nets.kernels import layers
from nets.sample import BLOCK, Sample


def counts(group: str, of: Sizes) -> Counts:
    """Kind of pass -> how many, of a group and those that are measured with it."""
    passes = registry.MEASURES[group].passes
    return passes(of) if passes else {}


def may_be_of_fewer(groups: Iterable[str]) -> bool:
    """Whether groups that share their passes may look at a part of the training set.

    Only where no bound but heuristic measures asks for them: what is certified, or a term of a
    theorem, speaks of all m examples. And only where that makes them cheaper: some draw until they
    know.
    """
    groups = set(groups)
    askers = [s.status for s in registry.BOUNDS.values() if groups & set(s.groups)]
    return set(askers) == {HEURISTIC} and all(map(_is_cheaper_of_fewer, groups))


def _is_cheaper_of_fewer(group):
    """Whether a group takes at most half as many passes on one block as on a hundred."""
    few, many = (sum(counts(group, Sizes(n * BLOCK, 0, 2)).values()) for n in (1, 100))
    return few > 0 and 2 * few <= many


def first(sample: Sample, examples: int) -> Sample:
    """Its first examples, a whole number of blocks."""
    rows = min(BLOCK * -(-examples // BLOCK), sample.labels.shape[0])
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
