"""The group `evidence`: how probable the labels are before anything is learned.

P is the infinitely wide network at initialisation: given the inputs its outputs are independent
Gaussian processes of one covariance (Neal 1996; Lee et al. 2018). P(U) is the probability that
a draw labels the first n training examples as they are labelled.

Two classes are told apart by the sign of the difference of two outputs, a process of twice the
covariance, which no sign sees: P(U) is one orthant probability. For K > 2 the event "output k
is positive on the examples of class k and negative on all others, for every k" implies that
the label's output is the largest on every example. The outputs are independent, so that its
probability is a product of K orthant probabilities, and P(U) is at least that. (A coin for each
sign costs K ln 2 nats an example where guessing the label costs ln K: the price of the product.)

Orthant probabilities are found by expectation propagation, whose error has no sure sign:
constraints that say nearly the same make it too low (two inputs of correlation 1 - h by up
to 0.13 nats, 256 of them by 0.66: a class without examples, where biases make inputs alike),
negative correlations a little too high (by 0.005 nats at most for a pair).
"""

from collections.abc import Sequence

import chex
import jax
import jax.numpy as jnp
from flax import struct
from jax.scipy.linalg import solve_triangular
from jax.scipy.special import log_ndtr

from bounds.network import Measure, Network, Unavailable
from nets.graph import is_dense
from nets.kernels import layers, weight_matrices


@struct.dataclass
class Evidence:
    """How probable the labels of the first training examples are before learning.

    Attributes:
      log_evidence: `[]`, ln P(U), nats: the probability that the infinitely wide network at
        initialisation labels them as they are labelled; approximated, for more than two
        classes from below; -inf where it is 0 or next to it.
      examples: `[]`, n, how many were looked at.
      converged: `[]`, whether the approximation came to rest.
    """

    log_evidence: chex.Array
    examples: chex.Array
    converged: chex.Array


# The first training examples: a sweep costs O(EXAMPLES^3) for each class, where all of a large
# training set would cost days. A bound then speaks of what has learned from these alone.
EXAMPLES = 256
SWEEPS = 300  # at most; kernels of images need about 15
# Of the way to the new sites. All at once overshoot, the more the more of them say nearly the
# same: a step is shortened whenever ln P(U) changes by more than in the sweep before.
_STEP, _SHORTER, _SHORTEST = 0.8, 0.7, 0.1
_STILL = 1e-7  # converged: ln P(U) changes by less than this share in a sweep
_SAME = 256  # correlations within so many roundings of 1 are 1
_FAR = -4.0  # below it Mills' ratio is taken from its continued fraction
_TERMS = 40  # of the fraction: exact in float64 from |_FAR| on


def prior_covariance(
    inputs: jax.Array, shapes: Sequence[tuple[int, ...]], has_bias: bool
) -> jax.Array:
    """The covariance `[n, n]` of an output of the infinitely wide ReLU network at its inputs.

    K_1 = v_1 X X' + b_1 and K_{l+1} = d_l v_{l+1} E[relu(u) relu(u')'] + b_{l+1} for (u, u')
    Gaussian of covariance K_l, d_l the units of layer l: the arc-cosine kernel of Cho & Saul
    (2009). v_l = 2/(in + out) and b_l = 2/(1 + out) are the variances of Glorot uniform weights
    and of the biases of `nets.mlp`.

    Args:
      inputs: `[n, D]`.
      shapes: (in, out) of each layer, the input's first.
      has_bias: of each layer, whether it has one.
    """
    covariance = None
    for (fan_in, fan_out), bias in zip(shapes, has_bias, strict=True):
        variance = 2 / (fan_in + fan_out)
        if covariance is None:
            covariance = variance * inputs @ inputs.T
        else:
            scale, correlation = _correlation(covariance)
            angle = jnp.arccos(jnp.clip(correlation, -1.0, 1.0))
            shape = jnp.sin(angle) + (jnp.pi - angle) * jnp.cos(angle)
            gain = fan_in * variance / (2 * jnp.pi)
            covariance = gain * scale[:, None] * scale[None] * shape
        covariance += 2 / (1 + fan_out) if bias else 0.0
    return covariance


def _correlation(covariance):
    """Standard deviations `[n]` and correlations `[n, n]`; 0 with what does not vary."""
    scale = jnp.sqrt(jnp.maximum(jnp.diagonal(covariance), 0.0))
    inverse = jnp.where(scale > 0, 1 / jnp.where(scale > 0, scale, 1.0), 0.0)
    return scale, covariance * inverse[:, None] * inverse[None]


def _half_line(z):
    """Of a normal of mean z and variance 1, given that it is > 0.

    Returns:
      ln Phi(z), the mean less z (Mills' ratio r = phi(z)/Phi(z)) and the variance.
    """
    log_mass = log_ndtr(z)
    near = jnp.exp(-(z**2) / 2 - jnp.log(2 * jnp.pi) / 2 - log_mass)
    # Far below 0 both r + z and the variance are what cancellation leaves: there
    # r + z = h = 1/(a + g), g = 2/(a + 3/(a + ...)), a = -z, and the variance is h (g - h).
    a = jnp.maximum(-z, -_FAR)
    g = jnp.zeros_like(a)
    for k in range(_TERMS, 1, -1):
        g = k / (a + g)
    h = 1 / (a + g)
    ratio = jnp.where(z < _FAR, a + h, near)
    return log_mass, ratio, jnp.where(z < _FAR, h * (g - h), 1 - near * (near + z))


def _propagated(covariance, is_active):
    """ln Pr[g_i > 0 for all active i] for g ~ N(0, covariance) by expectation propagation.

    Minka (2001); Rasmussen & Williams (2006), section 3.6, for the noiseless step, all sites
    renewed at once. Site i is a Gaussian of precision tau_i and of precision times mean nu_i.

    Returns:
      (the logarithm `[]`, whether the sweeps came to rest `[]`).
    """
    eye = jnp.eye(covariance.shape[0])
    prior = jnp.diagonal(covariance)

    def sweep(carry):
        tau, nu, before, last_change, count, step = carry
        root = jnp.sqrt(tau)
        lower = jnp.linalg.cholesky(
            eye + root[:, None] * covariance * root[None], symmetrize_input=False
        )
        half = solve_triangular(lower, root[:, None] * covariance, lower=True)
        variance = prior - jnp.sum(jnp.square(half), axis=0)
        mean = covariance @ nu - half.T @ (half @ nu)
        # The marginals without their own sites, their moments above 0, and new sites.
        cavity_tau, cavity_nu = 1 / variance - tau, mean / variance - nu
        z = cavity_nu / jnp.sqrt(cavity_tau)
        log_mass, ratio, shrunk = _half_line(z)
        new_tau = cavity_tau * (1 / shrunk - 1)
        new_nu = (z + ratio) / jnp.sqrt(cavity_tau) * (cavity_tau / shrunk) - cavity_nu
        # Stationary in the sites at rest: their error enters squared.
        each = log_mass + (z**2 - jnp.log(cavity_tau)) / 2
        each -= (mean**2 / variance + jnp.log(variance)) / 2
        log_mass = jnp.sum(jnp.where(is_active, each + nu * mean / 2, 0.0))
        log_mass -= jnp.sum(jnp.log(jnp.diagonal(lower)))
        change = jnp.abs(log_mass - before) / (1 + jnp.abs(log_mass))
        shorter = jnp.maximum(_SHORTER * step, _SHORTEST)
        step = jnp.where(change > last_change, shorter, step)
        tau = jnp.where(is_active, tau + step * (new_tau - tau), 0.0)
        nu = jnp.where(is_active, nu + step * (new_nu - nu), 0.0)
        return tau, nu, log_mass, change, count + 1, step

    info = jnp.finfo(prior.dtype)
    still = max(_STILL, _SAME * float(info.eps))

    def moves(carry):  # what is no number has stopped
        return (carry[3] > still) & (carry[4] < SWEEPS)

    zeros, far = jnp.zeros_like(prior), jnp.full_like(prior, info.max)[0]
    start = zeros, zeros, -far, far, 0, jnp.full_like(far, _STEP)
    _, _, found, change, _, _ = jax.lax.while_loop(moves, sweep, start)
    return found, change <= still


def log_orthant(
    correlation: jax.Array, signs: jax.Array, is_known: jax.Array
) -> jax.Array:
    """ln of the probability that Gaussian variables have given signs; never a nan.

    Args:
      correlation: `[n, n]`; 0 on the diagonal of a variable that is always 0.
      signs: `[n]`, -1 or 1.
      is_known: `[n]`, which variables count.

    Returns:
      (the logarithm `[]`, whether expectation propagation converged `[]`). It is -inf where
      two variables that are one by correlation contradict each other, where one is always 0,
      and where the sites left the range of floats, as they do for events that have no, or
      next to no, probability.
    """
    both = is_known[:, None] & is_known[None]
    eye = jnp.eye(correlation.shape[0])
    is_zero = is_known & ~(jnp.diagonal(correlation) > 0)
    signed = correlation * signs[:, None] * signs[None]
    signed = jnp.where(both & (eye == 0), signed, eye)
    limit = 1 - _SAME * jnp.finfo(signed.dtype).eps
    is_impossible = jnp.any(is_zero) | jnp.any(signed <= -limit)
    # The same constraint twice is one; propagation would count it twice.
    is_repeated = jnp.any(jnp.tril(signed, -1) >= limit, axis=1)
    found, converged = _propagated(signed, is_known & ~is_repeated & ~is_zero)
    found = jnp.where(is_impossible | jnp.isnan(found), -jnp.inf, found)
    return found, is_impossible | converged


def evidence(network: Network) -> Evidence:
    """ln P(U) of the first `EXAMPLES` training labels, a lower estimate for K > 2: `Evidence`."""
    if not is_dense(network.model, network.params):
        raise Unavailable("speaks of chains of dense layers")
    sample = network.sample
    rows = min(EXAMPLES, sample.labels.shape[0])
    is_known = jnp.arange(rows) < sample.size
    inputs = sample.inputs[:rows].astype(float)
    shapes = [w.shape for w in weight_matrices(network.params)]
    has_bias = ["bias" in layer for layer in layers(network.params)]
    classes = jnp.arange(shapes[-1][1])
    # Of two outputs one sign says it all.
    positive = classes[1:] if len(classes) == 2 else classes
    is_positive = sample.labels[:rows][None] == positive[:, None]
    with jax.default_matmul_precision("highest"):
        _, correlation = _correlation(prior_covariance(inputs, shapes, has_bias))
        signs = jnp.where(is_positive, 1.0, -1.0).astype(correlation.dtype)
        found, converged = jax.lax.map(
            lambda of_class: log_orthant(correlation, of_class, is_known), signs
        )
    return Evidence(
        log_evidence=jnp.sum(found),
        examples=jnp.minimum(sample.size, rows),
        converged=jnp.all(converged),
    )


MEASURES = (Measure.one("evidence", Evidence, evidence),)
