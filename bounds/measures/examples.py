"""The groups `margins`, `outputs` and `holdout`: what the network says of examples."""

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import struct

from bounds.measures.loss import log_odds
from bounds.network import Measure, Network
from bounds.numerics.ordering import ascending
from bounds.passes import FORWARD, Counts, Pass, Sizes, together
from nets.graph import Graph
from nets.kernels import map_last, weight_matrices
from nets.margins import margin
from nets.sample import Sample
from nets.training import logits_of


@struct.dataclass
class Margins:
    """The margins of a set of examples.

    Attributes:
      sorted: `[M]`, ascending; entries from `size` on are +inf.
      size: `[]`, examples.
    """

    sorted: chex.Array
    size: chex.Array

    def error(self, margin: jax.Array) -> jax.Array:
        """The fraction `[]` of examples whose margin is <= `margin` (finite), or not a number."""
        below = jnp.searchsorted(self.sorted.astype(float), margin, side="right")
        return jnp.minimum(below, self.size) / jnp.asarray(self.size, float)


@struct.dataclass
class Outputs:
    """The logits on the training set.

    Attributes:
      cross_entropy: `[]`, mean softmax cross-entropy, nats.
      negative_entropy: `[]`, mean of sum_k p_k ln p_k, nats, p the softmax.
    """

    cross_entropy: chex.Array
    negative_entropy: chex.Array


@struct.dataclass
class Holdout:
    """Examples that neither training nor any choice has seen.

    Attributes:
      wrong: `[]`, how many are misclassified.
      size: `[]`, how many there are.
    """

    wrong: chex.Array
    size: chex.Array


def pass_over(model: nn.Module, params: chex.ArrayTree, sample: Sample) -> Pass:
    """Margins, cross-entropy and entropy of any `Sample`: the groups `margins` and `outputs`.

    Margins `[M]` are sorted; one that is not finite (an overflow) counts as -inf.
    """
    rows = sample.labels.shape[0]

    def visit(totals, block):
        found, sums = totals
        logits = logits_of(model, params, block.inputs)
        values = jax.vmap(margin)(logits, block.labels)
        found = jax.lax.dynamic_update_slice_in_dim(found, values, block.start, 0)
        both = jax.vmap(_entropies)(logits, block.labels)
        both = jnp.where(block.known[:, None], both, 0.0)
        return found, sums + jnp.sum(both, axis=0)

    def end(totals):
        found, sums = totals
        found = jnp.where(jnp.isfinite(found), found, -jnp.inf)
        found = jnp.where(jnp.arange(rows) < sample.size, found, jnp.inf)
        cross_entropy, negative_entropy = sums / sample.size
        return {
            "margins": Margins(sorted=ascending(found), size=sample.size),
            "outputs": Outputs(
                cross_entropy=cross_entropy, negative_entropy=negative_entropy
            ),
        }

    start = jnp.full((rows,), jnp.inf, sample.inputs.dtype), jnp.zeros(2)
    return Pass(start, visit, end)


def _entropies(logits, label):
    """-ln p_y and sum_k p_k ln p_k, `[2]`, of logits `[C]`; an overflow is no number.

    As floats have it, ln p is 0 from p = 1 - 3e-8 on: of the most probable class, and of the label, it is taken
    from the odds.
    """
    log_p = jax.nn.log_softmax(logits)
    classes = jnp.arange(logits.shape[0])

    def exactly(k):
        # Not a number where log_p is none; so much as logits say elsewhere.
        return jnp.where(
            jnp.isnan(log_p[k]), log_p[k], -jax.nn.softplus(log_odds(logits, k))
        )

    top = jnp.argmax(logits)
    log_p = jnp.where(classes == top, exactly(top), log_p)
    p_log_p = jnp.where(log_p == -jnp.inf, 0.0, jnp.exp(log_p) * log_p)
    return jnp.stack([-exactly(label), jnp.sum(p_log_p)])


def _second_minus_first(leaf):
    """`[..., 2]` to 0 and the difference, taken in the widest float there is."""
    difference = leaf[..., 1].astype(float) - leaf[..., 0].astype(float)
    zeros = jnp.zeros_like(leaf[..., 0])
    return jnp.stack([zeros, difference.astype(leaf.dtype)], axis=-1)


def margins_of(model: nn.Module, params: chex.ArrayTree, sample: Sample) -> Margins:
    """The margins of any `Sample` under a network: `Margins`."""
    found = together(sample, [pass_over(model, params, sample)])
    return found[0]["margins"]


def _are_logits(network):
    """Whether the columns of the last layer are the logits themselves."""
    model, one = network.model, jax.tree.map(lambda x: x[:1], network.sample.inputs)
    logits = jax.eval_shape(lambda p: logits_of(model, p, one), network.params)
    is_last = not isinstance(model, Graph) or model.ends_with_layer
    return is_last and logits.shape[-1] == 2


def training_set(network: Network) -> Pass:
    """The groups `margins` and `outputs`, of the training set.

    Two classes are told by the difference of two columns, and so is their margin: what the
    columns have in common may be large, cancels in the norms that bounds charge for, and
    must not come back as rounding. Where other operations follow the last layer, it is told by
    the logits.
    """
    model, params = network.model, network.params
    if weight_matrices(params)[-1].shape[-1] == 2 and _are_logits(network):
        params = map_last(params, _second_minus_first)
    return pass_over(model, params, network.sample)


def holdout(network: Network) -> Holdout:
    """Errors on examples that no choice has seen: `Holdout`."""
    found = margins_of(network.model, network.params, network.holdout)
    right = jnp.sum(found.sorted > 0) - (found.sorted.shape[0] - found.size)
    return Holdout(wrong=found.size - right, size=found.size)


def _passes(of: Sizes) -> Counts:
    return {FORWARD: of.blocks()}


def _passes_held_out(of: Sizes) -> Counts:
    return {FORWARD: of.held_out_blocks}


MEASURES = (
    Measure.several(
        {"margins": Margins, "outputs": Outputs}, training_set, passes=_passes
    ),
    Measure.one("holdout", Holdout, holdout, ("holdout",), _passes_held_out),
)
