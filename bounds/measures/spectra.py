"""The group `spectra`: what needs all singular values of a matrix."""

import chex
import jax
import jax.numpy as jnp
from flax import struct

from bounds import arithmetic
from bounds.network import Measure, Network
from bounds.numerics.linear_maps import as_kernels


@struct.dataclass
class Spectra:
    """What the whole spectrum of each weight matrix says, kernels as `[kh * kw * in, out]`.

    Attributes:
      trace_norm: `[L]`, the sum of the singular values.
      schatten_15: `[L]`, (sum of their 1.5-th powers)^(1/1.5).
      alpha: `[L]`, exponent of the power law fitted to the eigenvalues of W'W; 0 where there
        is none to be fitted (`power_law`).
      log10_alpha_norm: `[L]`, log10 of the sum of their alpha-th powers.
    """

    trace_norm: chex.Array
    schatten_15: chex.Array
    alpha: chex.Array
    log10_alpha_norm: chex.Array


_RANK = 1e-12  # eigenvalues below this share of the largest are rounding
LEAST_POINTS = 5  # eigenvalues that a law is fitted to, at least
LEAST_SPREAD = 1e-6  # mean logarithm of them over the least: equal ones follow no law


def power_law(eigenvalues: jax.Array) -> jax.Array:
    """The exponent of the power law that fits the upper tail of a spectrum best.

    The tail starts at the eigenvalue for which the Kolmogorov-Smirnov distance between tail
    and fitted law is least; the exponent given the start is the maximum-likelihood one,
    1 + n / sum ln(x_i / x_min) (Clauset, Shalizi & Newman 2009).

    Args:
      eigenvalues: `[n]`, ascending, >= 0.

    Returns:
      alpha `[]`, or 0 where no tail of `LEAST_POINTS` eigenvalues is spread by
      `LEAST_SPREAD`: of small or orthogonal matrices, and those of low rank.
    """
    n = eigenvalues.shape[0]
    is_one = eigenvalues > _RANK * jnp.maximum(eigenvalues[-1], 0.0)
    logs = arithmetic.log(eigenvalues)
    count = n - jnp.arange(n)
    tail_sum = jnp.cumsum(logs[::-1])[::-1] - count * logs
    is_start = is_one & (count >= LEAST_POINTS) & (tail_sum > LEAST_SPREAD * count)
    is_start &= jnp.append(True, logs[1:] > logs[:-1])  # the first of equal ones
    alpha = 1 + count / jnp.where(is_start, tail_sum, 1.0)
    # Row i: the tail that starts at eigenvalue i.
    place = jnp.arange(n)
    observed = (place[None] - place[:, None]) / count[:, None]
    lead = logs[None] - logs[:, None]
    fitted = -jnp.expm1((1 - alpha)[:, None] * lead)
    distance = jnp.where(lead >= 0, jnp.abs(observed - fitted), 0.0)
    distance = jnp.where(place[None] >= place[:, None], distance, 0.0)
    worst = jnp.where(is_start, jnp.max(distance, axis=1), jnp.inf)
    return jnp.where(jnp.any(is_start), alpha[jnp.argmin(worst)], 0.0)


def _spectrum(matrix):
    gram = (
        matrix.T @ matrix if matrix.shape[0] >= matrix.shape[1] else matrix @ matrix.T
    )
    eigenvalues = jnp.maximum(jnp.linalg.eigvalsh(gram), 0.0)
    alpha = power_law(eigenvalues)
    log10_sum = jax.nn.logsumexp(alpha * arithmetic.log(eigenvalues)) / jnp.log(10.0)
    return Spectra(
        trace_norm=jnp.sum(jnp.sqrt(eigenvalues)),
        schatten_15=jnp.sum(eigenvalues**0.75) ** (1 / 1.5),
        alpha=alpha,
        log10_alpha_norm=log10_sum,
    )


def spectra(network: Network) -> Spectra:
    """Of each weight matrix, biases left out: `Spectra`."""
    matrices = [a.entries for a in as_kernels(network.model, network.params)]
    found = {}
    for shape in dict.fromkeys(a.shape for a in matrices):  # one loop a shape
        places = [i for i, a in enumerate(matrices) if a.shape == shape]
        stacked = jnp.stack([matrices[place] for place in places])
        with jax.default_matmul_precision("highest"):
            several = jax.lax.map(_spectrum, stacked)
        for index, place in enumerate(places):
            found[place] = jax.tree.map(lambda leaf, i=index: leaf[i], several)
    ordered = [found[place] for place in range(len(matrices))]
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *ordered)


MEASURES = (Measure.one("spectra", Spectra, spectra),)
