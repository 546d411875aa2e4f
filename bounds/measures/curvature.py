"""The group `curvature`: the Hessian of the training loss, never built.

H is the Hessian of the mean softmax cross-entropy over the first `loss.EXAMPLES` training
examples in all kernels at once; a product H v is the derivative of the gradient along v.
"""

import chex
import jax
import jax.numpy as jnp
from flax import struct
from jax.flatten_util import ravel_pytree

from bounds.measures.loss import (
    finite_or_inf,
    kernels_of,
    losses_at,
    size_of,
    visit_blocks,
)
from bounds.network import Measure, Network
from bounds.numerics import lanczos


@struct.dataclass
class Curvature:
    """The Hessian H of the mean softmax cross-entropy in all weights but the biases.

    Attributes:
      top_eigenvalue: `[]`, its largest eigenvalue, approached from below.
      top_eigenvalue_residual: `[]`, an eigenvalue of H is at most this far from it.
      trace: `[]`, an estimate.
      trace_standard_error: `[]`, of that estimate over its probes.
      examples: `[]`, training examples that the loss is the mean over.
      probes: `[]`, of the trace.
      steps: `[]`, of Lanczos.
    """

    top_eigenvalue: chex.Array
    top_eigenvalue_residual: chex.Array
    trace: chex.Array
    trace_standard_error: chex.Array
    examples: chex.Array
    probes: chex.Array
    steps: chex.Array


STEPS = 20  # of Lanczos
PROBES = 16  # of Hutchinson's estimator


def hessian_product(network: Network, direction: chex.ArrayTree) -> chex.ArrayTree:
    """H v, as the kernels, of v as the kernels."""
    kernels = kernels_of(network.params)

    def visit(total, inputs, labels, known):
        def loss(kernels):
            losses = losses_at(network, kernels, inputs, labels)
            return jnp.sum(jnp.where(known, losses, 0.0))

        _, product = jax.jvp(jax.grad(loss), (kernels,), (direction,))
        return jax.tree.map(jnp.add, total, product)

    total = visit_blocks(network, visit, jax.tree.map(jnp.zeros_like, kernels))
    return jax.tree.map(lambda leaf: leaf / size_of(network), total)


def _norm(vector):
    """The l2 norm `[]` of a vector whose squares may underflow."""
    largest = jnp.max(jnp.abs(vector))
    scale = jnp.where(largest > 0, largest, 1.0)
    return scale * jnp.linalg.norm(vector / scale)


def curvature(network: Network) -> Curvature:
    """The largest eigenvalue of H and its trace: `Curvature`.

    The trace is the mean of v'H v over `PROBES` vectors v of random signs, the same for every
    network (Hutchinson 1990).
    """
    flat, unravel = ravel_pytree(kernels_of(network.params))

    def product(v):
        return ravel_pytree(hessian_product(network, unravel(v)))[0]

    with jax.enable_x64(False):
        keys = jax.random.split(jax.random.key(0), PROBES)
        start = jax.random.normal(jax.random.key(1), flat.shape)

    def quadratic_form(key):
        with jax.enable_x64(False):
            v = jax.random.rademacher(key, flat.shape, jnp.float32)
        return v @ product(v)

    steps = min(STEPS, flat.shape[0])
    top = lanczos.largest(product, start, steps, _norm)
    drawn = jax.lax.map(quadratic_form, keys).astype(float)
    return Curvature(
        top_eigenvalue=finite_or_inf(top.value),
        top_eigenvalue_residual=finite_or_inf(top.residual),
        trace=finite_or_inf(jnp.mean(drawn)),
        trace_standard_error=finite_or_inf(jnp.std(drawn, ddof=1) / PROBES**0.5),
        examples=size_of(network),
        probes=jnp.asarray(PROBES),
        steps=jnp.asarray(steps),
    )


MEASURES = (Measure.one("curvature", Curvature, curvature),)
