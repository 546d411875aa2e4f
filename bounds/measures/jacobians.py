"""The group `jacobians`: how noise in one layer arrives at later ones."""

import chex
import jax
import jax.numpy as jnp
from flax import struct

from bounds.network import Measure, Network, Unavailable
from nets.graph import is_dense
from nets.kernels import layers, weight_matrices
from nets.margins import margin


@struct.dataclass
class Jacobians:
    """How noise in one layer arrives at later ones, on some training examples.

    z_l are pre-activations, J_{l,j} the Jacobian of z_j in z_l; least over the examples.

    Attributes:
      layer_cushion: `[L]`, min ||z_l|| / (||W_l||_F ||a_{l-1}||), over the examples of which anything
        arrives there; infinite where there is none, 0 of a layer without weights.
      interlayer_cushion: `[L]`, min over j >= l of ||J_{l,j} z_l|| / (||J_{l,j}||_F ||z_l||), over those
        where this is no 0/0. ||J||_F of more than 64 units is estimated by 64 random signs, the same for
        every network.
      contraction: `[]`, max over hidden layers of ||z_l|| / ||relu(z_l)||.
      output_norm_max: `[]`, max ||f(x)||_2.
      noise_level: `[]`, the least over layers l <= j, units and examples of the magnitude
        that noise must not exceed (|z_j|, at the outputs the margin) over the size with
        which unit noise in W_l arrives there, ||a_{l-1}|| ||row of J_{l,j}||.
      examples: `[]`, how many were looked at.
    """

    layer_cushion: chex.Array
    interlayer_cushion: chex.Array
    contraction: chex.Array
    output_norm_max: chex.Array
    noise_level: chex.Array
    examples: chex.Array


EXAMPLES = 64  # the first training examples: a Jacobian of each pair of layers for each
_EXACT = 64  # units up to which Jacobians are exact; above, as many random probes


def _probes(units):
    """Rows v with mean of v v' = I, up to the factor that is returned with them."""
    if units <= _EXACT:
        return jnp.eye(units), 1.0
    key = jax.random.key(0)  # the same for every network: differences are not noise
    return jax.random.rademacher(key, (_EXACT, units), float), 1 / _EXACT


def _of_example(weights, biases, x, label):
    """Layer and interlayer cushions `[L]`, contraction, output norm and noise level."""
    depth = len(weights)
    before, pre = [x], []  # a_{l-1} and z_l
    for index, (w, b) in enumerate(zip(weights, biases, strict=True)):
        pre.append(before[-1] @ w + b)
        if index + 1 < depth:
            before.append(jax.nn.relu(pre[-1]))
    norm = jnp.linalg.norm

    def ratio(above, below, otherwise):
        return jnp.where(below > 0, above / jnp.where(below > 0, below, 1.0), otherwise)

    cushion = [
        ratio(norm(z), norm(w) * norm(a), jnp.where(norm(a) == 0, jnp.inf, 0.0))
        for z, w, a in zip(pre, weights, before, strict=True)
    ]
    contraction = [
        ratio(norm(z), norm(a), jnp.where(norm(z) > 0, jnp.inf, 1.0))
        for z, a in zip(pre[:-1], before[1:], strict=True)
    ]
    lead = margin(pre[-1], label)
    interlayer, noise = [], []
    for first in range(depth):
        probes, share = _probes(weights[first].shape[1])
        least, level = jnp.inf, jnp.inf
        image = pre[first]  # of z_l under the Jacobian
        rows = jnp.ones(pre[first].shape)  # squared norms of the rows of J: I at j = l
        for last in range(first, depth):
            if last > first:
                is_on = (pre[last - 1] > 0).astype(x.dtype)
                probes = (probes * is_on[None]) @ weights[last]
                image = (image * is_on) @ weights[last]
                rows = share * jnp.sum(jnp.square(probes), axis=0)
            total = jnp.sqrt(jnp.sum(rows)) * norm(pre[first])
            nothing = jnp.where(total == 0, jnp.inf, 0.0)
            least = jnp.minimum(least, ratio(norm(image), total, nothing))
            room = jnp.abs(pre[last])
            if last + 1 == depth:  # two logits may each move by half of the margin
                room = jnp.full_like(room, jnp.maximum(lead, 0.0) / 2)
            arriving = norm(before[first]) * jnp.sqrt(rows)
            level = jnp.minimum(
                level, jnp.min(jnp.where(arriving > 0, room / arriving, jnp.inf))
            )
        interlayer.append(least)
        noise.append(level)
    return (
        jnp.stack(cushion),
        jnp.stack(interlayer),
        jnp.max(jnp.stack([*contraction, jnp.ones(())])),
        norm(pre[-1]),
        jnp.min(jnp.stack(noise)),
    )


def jacobians(network: Network) -> Jacobians:
    """Over the first `EXAMPLES` training examples: `Jacobians`."""
    if not is_dense(network.model, network.params):
        raise Unavailable("speaks of chains of dense layers")
    weights = [w.astype(float) for w in weight_matrices(network.params)]
    biases = [
        layer.get("bias", jnp.zeros(w.shape[1])).astype(float)
        for layer, w in zip(layers(network.params), weights, strict=True)
    ]
    sample = network.sample
    rows = min(EXAMPLES, sample.labels.shape[0])
    with jax.default_matmul_precision("highest"):
        found = jax.lax.map(
            lambda one: _of_example(weights, biases, *one),
            (sample.inputs[:rows].astype(float), sample.labels[:rows]),
        )
    known = jnp.arange(rows) < sample.size

    def least(values):
        mask = known.reshape(-1, *(1,) * (values.ndim - 1))
        # A network that is no number has no cushion.
        values = jnp.where(jnp.isnan(values), 0.0, values)
        return jnp.min(jnp.where(mask, values, jnp.inf), axis=0)

    cushion, interlayer, contraction, output, noise = found
    return Jacobians(
        layer_cushion=least(cushion),
        interlayer_cushion=least(interlayer),
        contraction=jnp.max(jnp.where(known, contraction, 0.0)),
        output_norm_max=jnp.max(jnp.where(known, output, 0.0)),
        noise_level=least(noise),
        examples=jnp.minimum(sample.size, rows),
    )


MEASURES = (Measure.one("jacobians", Jacobians, jacobians),)
