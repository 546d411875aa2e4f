"""The groups `surrogate` and `coded_disagreement`: where another network says otherwise.

Of a network as it is, on points without labels that neither it nor the other has seen. A network
has such points where its `learned` is of `Unlabelled`. An example on which no logit is above all
others is an error of a network, and a disagreement with every other.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import struct

from bounds.measures import code, examples
from bounds.network import Measure, Network, Unavailable
from nets.margins import margin
from nets.sample import Sample, fold_blocks
from nets.training import logits_of


@dataclasses.dataclass(frozen=True)
class Unlabelled:
    """The `model` of a `bounds.Learned` that stands beside a network trained by anybody.

    Its `params` hold `unlabelled`, a `Sample` whose labels are never looked at. With a surrogate
    they hold its parameters `surrogate` and `certifying`, a `Sample` of labelled examples that it
    was not trained on; and `of_surrogate`, the unlabelled points as it takes them, if they are not
    as the network does.

    Attributes:
      surrogate: the other network, a Linen module, or None.
    """

    surrogate: nn.Module | None = None


@struct.dataclass
class Surrogate:
    """What a surrogate does on examples and points that it has not seen.

    Attributes:
      wrong: `[]`, its errors on the labelled examples that certify it.
      labelled: `[]`, how many there are.
      disagreements: `[]`, unlabelled points on which the network says otherwise.
      unlabelled: `[]`, how many there are; neither of the two has seen them.
    """

    wrong: chex.Array
    labelled: chex.Array
    disagreements: chex.Array
    unlabelled: chex.Array


@struct.dataclass
class CodedDisagreement:
    """Where networks C_1..C_J of a `Code` say otherwise than the network that they code.

    Attributes:
      disagreements: `[J]`, unlabelled points; in the order of the `Code`.
      unlabelled: `[]`, how many there are.
    """

    disagreements: chex.Array
    unlabelled: chex.Array


def predictions(model: Any, params: chex.ArrayTree, points: Sample) -> jax.Array:
    """The class of each point: int32 `[M]`; -1 where no logit is above all others."""

    def of_one(logits):
        best = jnp.argmax(logits)
        lead = margin(logits, best)
        return jnp.where(jnp.isfinite(lead) & (lead > 0), best, -1).astype(jnp.int32)

    def visit(found, block):
        own = jax.vmap(of_one)(logits_of(model, params, block.inputs))
        return jax.lax.dynamic_update_slice_in_dim(found, own, block.start, 0)

    with jax.default_matmul_precision("highest"):
        return fold_blocks(points, visit, jnp.full(points.labels.shape, -1, jnp.int32))


def differences(one: jax.Array, other: jax.Array, size: jax.Array) -> jax.Array:
    """How many of the first `size` `predictions` `[M]` differ, or are none: int32 `[]`."""
    differ = (one != other) | (one < 0) | (other < 0)
    return jnp.sum(differ & (jnp.arange(len(one)) < size), dtype=jnp.int32)


def _beside(network):
    learned = network.learned
    if not isinstance(learned.model, Unlabelled):
        raise Unavailable("no unlabelled points are given")
    return learned.model, learned.params


def surrogate(network: Network) -> Surrogate:
    """Errors of the surrogate, and its disagreements with the network: `Surrogate`."""
    beside, given = _beside(network)
    if beside.surrogate is None:
        raise Unavailable("there is no surrogate")
    other = beside.surrogate, given["surrogate"]
    points = given["unlabelled"]
    own = predictions(network.model, network.params, points)
    its = predictions(*other, given.get("of_surrogate", points))
    certified = examples.holdout(
        Network(*other, sample=given["certifying"], holdout=given["certifying"])
    )
    return Surrogate(
        wrong=certified.wrong,
        labelled=certified.size,
        disagreements=differences(own, its, points.size),
        unlabelled=points.size,
    )


def _coded(
    network: Network,
    arrays: Sequence[Any],
    rebuild: Callable[[list[Any]], chex.ArrayTree],
) -> CodedDisagreement:
    """Of the candidates that `code.coded` makes of the same arrays, decoded anew."""
    points = _beside(network)[1]["unlabelled"]
    own = predictions(network.model, network.params, points)

    def of_candidate(candidate):
        params = rebuild(code.decoded(*code.quantised(arrays, candidate)))
        its = predictions(network.model, params, points)
        return differences(own, its, points.size)

    candidates = jnp.asarray(code.CANDIDATES, float)
    return CodedDisagreement(
        disagreements=jax.lax.map(of_candidate, candidates), unlabelled=points.size
    )


def coded_disagreement(network: Network) -> CodedDisagreement:
    """Of the networks of the group `code`: `CodedDisagreement`."""
    learned, tree = jax.tree.flatten(network.params)
    initial = jax.tree.leaves(network.init)
    pairs = list(zip(learned, initial, strict=True))
    return _coded(
        network,
        [w.astype(float) - z.astype(float) for w, z in pairs],
        lambda moved: tree.unflatten(
            [z + d for (_, z), d in zip(pairs, moved, strict=True)]
        ),
    )


def coded_disagreement_from_origin(network: Network) -> CodedDisagreement:
    """Of the networks of the group `code_from_origin`: `CodedDisagreement`."""
    learned, tree = jax.tree.flatten(network.params)
    return _coded(network, learned, tree.unflatten)


MEASURES = (
    Measure.one("surrogate", Surrogate, surrogate, ("learned",)),
    Measure.one(
        "coded_disagreement",
        CodedDisagreement,
        coded_disagreement,
        ("learned", "init"),
    ),
    Measure.one(
        "coded_disagreement_from_origin",
        CodedDisagreement,
        coded_disagreement_from_origin,
        ("learned",),
    ),
)
