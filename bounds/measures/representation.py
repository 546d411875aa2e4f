"""The groups `hidden_margins`, `clusters` and `mixup`: what the layers make of the examples.

All of them look at the first `EXAMPLES` training examples only.
"""

import chex
import jax
import jax.numpy as jnp
from flax import struct

from bounds.network import Measure, Network, Unavailable
from bounds.passes import FORWARD, Counts, Sizes
from nets.graph import Graph, graph_of
from nets.kernels import layers, weight_matrices
from nets.margins import margin
from nets.sample import BLOCK
from nets.training import logits_of


@struct.dataclass
class HiddenMargins:
    """Margins at the input of each layer l = 1..L, on some training examples.

    That of an example is (f_y - f_j) / ||gradient of f_y - f_j in a||_2 / sqrt(v), j the
    largest other output (the first of several), a what arrives at the layer (the input, then
    what leaves a ReLU), v the sum of the variances of its entries over all of the examples.

    Attributes:
      five_numbers: `[L, 5]`, lower fence, quartiles and upper fence over the examples that are
        classified correctly by a finite lead, as its authors have it; 1e30 stands for infinite ones. Not
        a number where none is, nor where what arrives at the layer overflows on any example.
      examples: `[]`, how many were looked at.
    """

    five_numbers: chex.Array
    examples: chex.Array


@struct.dataclass
class Clusters:
    """The classes as clusters of what leaves the first hidden layer.

    Attributes:
      davies_bouldin: `[]`, their Davies-Bouldin index; infinite where two coincide, or
        there is one only.
      examples: `[]`, how many were looked at.
    """

    davies_bouldin: chex.Array
    examples: chex.Array


@struct.dataclass
class Mixup:
    """The network between training examples.

    Attributes:
      error: `[]`, the fraction of averages of two examples of a class that it gets wrong.
      examples: `[]`, how many were looked at, each averaged with one other.
    """

    error: chex.Array
    examples: chex.Array


EXAMPLES = 1024  # a whole number of blocks
_VAST = 1e30  # stands for an infinite distance, so that fences stay numbers


def _first(sample):
    """Inputs, labels, and which rows count, of the first examples."""
    rows = min(EXAMPLES, sample.labels.shape[0])
    inputs, labels = jax.tree.map(
        lambda leaf: leaf[:rows], (sample.inputs, sample.labels)
    )
    return inputs, labels, jnp.arange(rows) < sample.size


def _in_blocks(tree):
    """Arrays `[rows, ...]` as `[blocks, BLOCK, ...]`."""
    return jax.tree.map(lambda leaf: leaf.reshape(-1, BLOCK, *leaf.shape[1:]), tree)


def _chain(network: Network) -> Graph:
    """The network as a chain of layers.

    Raises:
      Unavailable: it is none, or has its weights in parts (`nets.linear`).
    """
    if any("kernel" not in layer for layer in layers(network.params)):
        raise Unavailable("no derivation for weights in parts")
    graph = graph_of(network.model, network.params)
    if graph.no_chain:
        raise Unavailable(graph.no_chain)
    return graph


def _leads(network, inputs, labels):
    """Of a block: what arrives at each layer, flat; leads over the runner-up; steepness.

    The lead is f_y - f_j `[N]`, its steepness the norm of its gradient in what arrives at
    each layer, `[N, L]`.
    """
    graph, params = _chain(network), network.params
    places = [node.inputs[0] for node in graph.linear_nodes().values()]

    def total_lead(shifts):
        shifts = dict(zip(places, shifts, strict=True))
        values = graph.values(params, inputs, shifts, by_patches=True)
        arriving = [values[place] for place in places]
        logits = values[-1].reshape(inputs.shape[0], -1)
        is_label = jnp.arange(logits.shape[1])[None] == labels[:, None]
        others = jnp.where(is_label, -jnp.inf, logits)
        # One of several that are equal: the mean of their gradients is no network's.
        runner_up = jnp.argmax(others, axis=1)[:, None]
        of_label = jnp.sum(jnp.where(is_label, logits, 0.0), axis=1)
        leads = of_label - jnp.take_along_axis(others, runner_up, axis=1)[:, 0]
        return jnp.sum(leads), (leads, arriving)

    shapes = jax.eval_shape(lambda: graph.values(params, inputs))
    shifts = [jnp.zeros(shapes[place].shape, shapes[place].dtype) for place in places]
    slopes, (leads, arriving) = jax.grad(total_lead, has_aux=True)(shifts)
    flat = [a.reshape(a.shape[0], -1) for a in arriving]
    norms = [jnp.linalg.norm(g.reshape(g.shape[0], -1), axis=1) for g in slopes]
    return flat, leads, jnp.stack(norms, axis=1)


def _ratio(above, below):
    """above / below, at most `_VAST` in size; 0 / 0 is 0."""
    found = above / jnp.where(below > 0, below, 1.0)
    found = jnp.where(below > 0, found, jnp.sign(above) * _VAST)
    return jnp.clip(found, -_VAST, _VAST)


def _five_numbers(values, known):
    """Lower fence, quartiles and upper fence `[5]` of the known ones of `[rows]` values.

    Quantiles are linear between values; fences are the outermost values within 1.5
    interquartile ranges of the quartiles.
    """
    values = jnp.sort(jnp.where(known, values, jnp.inf))
    last = jnp.sum(known, dtype=int) - 1
    known = jnp.arange(values.shape[0]) <= last

    def quantile(share):
        place = share * last
        low = jnp.floor(place).astype(int)
        high = jnp.minimum(low + 1, last)
        return values[low] + (place - low) * (values[high] - values[low])

    lower, median, upper = (quantile(share) for share in (0.25, 0.5, 0.75))
    reach = 1.5 * (upper - lower)
    is_above, is_below = values >= lower - reach, values <= upper + reach
    return jnp.stack([
        jnp.min(jnp.where(known & is_above, values, jnp.inf)),
        lower,
        median,
        upper,
        jnp.max(jnp.where(known & is_below, values, -jnp.inf)),
    ])  # fmt: skip


def hidden_margins(network: Network) -> HiddenMargins:
    """First-order distances to the decision boundary at every layer: `HiddenMargins`."""
    inputs, labels, known = _first(network.sample)

    def of_block(block):
        inputs, labels, known = block
        arriving, leads, steepness = _leads(network, inputs, labels)
        arriving = [jnp.where(known[:, None], a, 0.0) for a in arriving]
        sums = [jnp.sum(a, axis=0) for a in arriving]
        squares = jnp.stack([jnp.sum(jnp.square(a)) for a in arriving])
        is_right = (leads > 0) & jnp.isfinite(leads)
        return _ratio(leads[:, None], steepness), is_right, sums, squares

    with jax.default_matmul_precision("highest"):
        distances, is_right, sums, squares = jax.lax.map(
            of_block, _in_blocks((inputs, labels, known))
        )
    size = jnp.sum(known, dtype=int)
    means = [jnp.sum(s.astype(float), axis=0) / size for s in sums]
    variance = jnp.sum(squares.astype(float), axis=0) / size
    variance -= jnp.stack([jnp.sum(jnp.square(mean)) for mean in means])
    distances = distances.reshape(labels.shape[0], -1).astype(float)
    spread = jnp.sqrt(jnp.maximum(variance, 0.0))
    normalised = _ratio(distances, spread[None])
    is_right = known & is_right.reshape(-1)
    found = jax.vmap(_five_numbers, in_axes=(1, None))(normalised, is_right)
    # Without a variance no example has a margin, however it is classified.
    is_number = jnp.any(is_right) & jnp.isfinite(variance)[:, None]
    return HiddenMargins(
        five_numbers=jnp.where(is_number, found, jnp.nan),
        examples=size,
    )


def clusters(network: Network) -> Clusters:
    """The classes in the first hidden layer: `Clusters`.

    The Davies-Bouldin index is the mean over classes c of max over d != c of (s_c + s_d) /
    ||mu_c - mu_d||, mu_c the mean of the class, s_c the mean distance from it.
    """
    graph = _chain(network)
    first = next((n for n, one in enumerate(graph.nodes) if one.kind == "relu"), None)
    if first is None:
        raise Unavailable("there is no hidden layer")
    inputs, labels, known = _first(network.sample)
    with jax.default_matmul_precision("highest"):
        points = graph.values(network.params, inputs, by_patches=True)[first]
        points = points.reshape(points.shape[0], -1)
        classes = weight_matrices(network.params)[-1].shape[-1]
        is_member = jnp.arange(classes)[:, None] == labels[None]
        is_member = (is_member & known[None]).astype(jnp.float32)
        count = jnp.sum(is_member, axis=1)
        share = is_member / jnp.maximum(count, 1.0)[:, None]
        centres = share @ points
        apart = jnp.linalg.norm(points - centres[labels], axis=1)
        spread = share @ apart

    def worst(c):
        distance = jnp.linalg.norm(centres - centres[c][None], axis=1)
        ratios = (spread + spread[c]) / distance  # infinite where two classes are one
        ratios = jnp.where(distance > 0, ratios, jnp.inf)
        is_other = (jnp.arange(classes) != c) & (count > 0)
        return jnp.max(jnp.where(is_other, ratios, 0.0))

    worst_ratios = jax.lax.map(worst, jnp.arange(classes)).astype(float)
    present = jnp.sum(count > 0, dtype=int)
    mean = jnp.sum(jnp.where(count > 0, worst_ratios, 0.0)) / present
    is_number = (present > 1) & ~jnp.isnan(mean)
    return Clusters(
        davies_bouldin=jnp.where(is_number, mean, jnp.inf),
        examples=jnp.sum(known, dtype=int),
    )


def _partners(labels, known):
    """For each row the next of its class `[rows]`, the first after the last."""
    labels = jnp.where(known, labels, jnp.iinfo(labels.dtype).max)
    order = jnp.argsort(labels, stable=True)
    ordered = labels[order]
    first = jnp.searchsorted(ordered, ordered, side="left")
    following = jnp.arange(1, labels.shape[0] + 1)
    goes_on = jnp.append(ordered[1:] == ordered[:-1], False)
    return (
        jnp.zeros_like(order).at[order].set(order[jnp.where(goes_on, following, first)])
    )


def mixup(network: Network) -> Mixup:
    """The error half-way between examples of one class: `Mixup`.

    Each example is averaged with the next of its class (Zhang et al. 2018, within classes
    as Natekar & Sharma 2020); the only one of a class is looked at as it is.
    """
    if getattr(network.model, "expand", None) is not None:
        raise Unavailable("the sample does not hold the inputs themselves")
    inputs, labels, known = _first(network.sample)
    partners = _partners(labels, known)
    mixed = jax.tree.map(
        lambda leaf: (
            0.5 * leaf.astype(jnp.float32) + 0.5 * leaf[partners].astype(jnp.float32)
        ),
        inputs,
    )

    def wrong(block):
        mixed, labels, known = block
        logits = logits_of(network.model, network.params, mixed)
        return jnp.sum(known & ~(jax.vmap(margin)(logits, labels) > 0), dtype=int)

    with jax.default_matmul_precision("highest"):
        found = jax.lax.map(wrong, _in_blocks((mixed, labels, known)))
    size = jnp.sum(known, dtype=int)
    return Mixup(error=jnp.sum(found) / size.astype(float), examples=size)


def _passes(of: Sizes) -> Counts:
    return {FORWARD: of.blocks(EXAMPLES)}


MEASURES = (
    Measure.one("hidden_margins", HiddenMargins, hidden_margins),
    Measure.one("clusters", Clusters, clusters),
    Measure.one("mixup", Mixup, mixup, passes=_passes),
)
