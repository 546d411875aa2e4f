"""The group `curvature`: the Hessian of the loss, never built.

H is the Hessian of the mean softmax cross-entropy (whatever loss was trained on) over all training
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
    log_odds,
    logits_at,
    visit_blocks,
)
from bounds.measures.pullback import pullback
from bounds.network import Measure, Network
from bounds.numerics import lanczos
from bounds.passes import FORWARD, PRODUCT, SINGLE, Counts, Sizes


@struct.dataclass
class Curvature:
    """The Hessian H of the mean softmax cross-entropy in all weights but the biases.

    Over all training examples.

    Attributes:
      top_eigenvalue: `[]`, its largest eigenvalue, approached from below.
      top_eigenvalue_residual: `[]`, an eigenvalue of H is at most this far from it; never less
        than `ROUNDING` of it.
      trace: `[]`, of its Gauss-Newton part: of a ReLU network the whole (`trace`).
      steps: `[]`, of Lanczos.
    """

    top_eigenvalue: chex.Array
    top_eigenvalue_residual: chex.Array
    trace: chex.Array
    steps: chex.Array


STEPS = 20  # of Lanczos
ROUNDING = (
    1e-5  # of float32 products, relative; what is less in a residual means nothing
)


def _rows(network):
    """As many as there are: a limit that leaves no example out."""
    return network.sample.labels.shape[0]


def hessian_product(
    network: Network, direction: chex.ArrayTree, log_unit: chex.Numeric = 0.0
) -> chex.ArrayTree:
    """H v.

    Args:
      network: a `Network`.
      direction: v, as the kernels.
      log_unit: logarithm of the unit in which H is measured, so that it need not underflow where
        every margin is large.

    Returns:
      exp(-`log_unit`) H v, as the kernels.
    """
    kernels = kernels_of(network.params)

    def visit(total, inputs, labels, known):
        def slope(kernels):
            """The sum of (1 - p) grad ln((1 - p)/p), p an example's probability of its label."""

            def odds(kernels):
                logits = logits_at(network, kernels, inputs)
                return jax.vmap(log_odds)(logits, labels)

            found, coming_back = jax.vjp(odds, kernels)
            log_weights = jax.nn.log_sigmoid(found) - log_unit
            weights = jnp.exp(jnp.where(known, log_weights, -jnp.inf))
            return coming_back(weights)[0]

        _, product = jax.jvp(slope, (kernels,), (direction,))
        return jax.tree.map(jnp.add, total, product)

    start = jax.tree.map(jnp.zeros_like, kernels)
    total = visit_blocks(network, visit, start, limit=_rows(network))
    return jax.tree.map(lambda leaf: leaf / network.sample.size, total)


def largest_log_weight(network: Network) -> jax.Array:
    """The largest ln(1 - p) `[]` of the training examples, p the probability of the label."""

    def visit(largest, inputs, labels, known):
        logits = logits_at(network, kernels_of(network.params), inputs)
        found = jax.nn.log_sigmoid(jax.vmap(log_odds)(logits, labels))
        return jnp.maximum(largest, jnp.max(jnp.where(known, found, -jnp.inf)))

    lowest = jnp.full((), jnp.finfo(jnp.float32).min)
    return visit_blocks(network, visit, lowest, limit=_rows(network))


def trace(network: Network) -> jax.Array:
    """(1/m) sum_i sum_c p_ic ||grad l(x_i, c)||_2^2, c over all classes, `[]`: tr H of a ReLU network.

    l(x, c) = -ln p_c(x). H is J'(diag p - p p') J, averaged over examples (Gauss-Newton; J the
    Jacobian of the logits f), plus sum_c (p_c - y_c) hess f_c. The first is the second moment of
    the gradient under labels drawn from p (Fisher; Martens 2020, arXiv 1412.1193). The second has
    no trace where each f_c is linear in any one weight almost everywhere: of a network with piecewise linear
    nonlinearities that uses no layer twice. Of others it is left out.

    The gradient of l(x, c) is (1 - p_c) grad ln((1 - p_c)/p_c). Its length is found without the
    factor, and the logarithms of p_c and 1 - p_c as such, so that nothing cancels.
    """

    def visit(total, inputs, _, known):
        back = pullback(network, inputs)
        rows, classes = back.logits.shape

        def of_class(label):
            def odds(logits):
                return jax.vmap(log_odds)(logits, jnp.full((rows,), label))

            found, in_logits = jax.vjp(odds, back.logits)
            squares = back.squares(in_logits(jnp.ones_like(found))[0])
            log_p, log_rest = jax.nn.log_sigmoid(-found), jax.nn.log_sigmoid(found)
            weights = jnp.exp((log_p + 2 * log_rest).astype(float))
            return jnp.sum(jnp.where(known, weights * squares, 0.0))

        return total + jnp.sum(jax.lax.map(of_class, jnp.arange(classes)))

    start = jnp.zeros((), float)
    return (
        visit_blocks(network, visit, start, limit=_rows(network)) / network.sample.size
    )


def _norm(vector):
    """The l2 norm `[]` of a vector whose squares may underflow."""
    largest = jnp.max(jnp.abs(vector))
    scale = jnp.where(largest > 0, largest, 1.0)
    return scale * jnp.linalg.norm(vector / scale)


def curvature(network: Network) -> Curvature:
    """The largest eigenvalue of H and its trace: `Curvature`."""
    flat, unravel = ravel_pytree(kernels_of(network.params))
    log_unit = largest_log_weight(network)

    def product(v):
        found = hessian_product(network, unravel(v), log_unit)
        return ravel_pytree(found)[0]

    with jax.enable_x64(False):
        start = jax.random.normal(jax.random.key(1), flat.shape)

    steps, unit = min(STEPS, flat.shape[0]), jnp.exp(log_unit.astype(float))
    top = lanczos.largest(product, start, steps, _norm)
    value = finite_or_inf(unit * top.value)
    residual = finite_or_inf(unit * top.residual)
    return Curvature(
        top_eigenvalue=value,
        top_eigenvalue_residual=jnp.maximum(residual, ROUNDING * jnp.abs(value)),
        trace=finite_or_inf(trace(network)),
        steps=jnp.asarray(steps),
    )


def _passes(of: Sizes) -> Counts:
    every = of.blocks()
    return {FORWARD: 2 * every, PRODUCT: STEPS * every, SINGLE: of.classes * every}


MEASURES = (Measure.one("curvature", Curvature, curvature, passes=_passes),)
