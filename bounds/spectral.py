"""Bounds through the product of spectral norms, as Nagarajan & Kolter (2019) plot them.

`layers` are the norms of the weights W_l, `reference` those of W_l - A_l for a reference
A_l: the initial weights, the origin, or the weights learned from another draw. Biases are
left out, as in the companion notebook; the theorems speak of networks without.
"""

import chex
import jax.numpy as jnp
from jax.scipy.special import logsumexp

from bounds import arithmetic
from bounds.types import Convention


def _log_input_norm(task, convention):
    return arithmetic.log(task.input_norm_max) * (convention.input_norm == "included")


def neyshabur_2018(
    task, margins, layers, reference, *, margin, convention=Convention()
):
    """The PAC-Bayesian spectrally-normalised margin bound, constants and logs dropped.

    R_D <= R_S(gamma) + B d sqrt(h) prod_l s_l sqrt(sum_l ||W_l - A_l||_F^2 / s_l^2)
           / (gamma sqrt(m)),        s_l = ||W_l||_2
    (Neyshabur, Bhojanapalli, Srebro 2018, Theorem 1, for A_l = 0). The theorem's proof
    rescales the layers to one norm, which covers the reference 0 only; the init is what
    the authors of the 2019 paper plot. Up to constants: not a certificate.

    Args:
      task: a `Task`.
      margins: the training `Margins`.
      layers: `LayerNorms` of W, L layers.
      reference: `LayerNorms` of W - A.
      margin: `[]`, gamma > 0.
      convention: the factor d (L, or hidden layers) and whether B enters.

    Returns:
      A `BoundValue`. Two 1 x 1 layers W = 2, 3 with A = 0, B = 1, gamma = 1, m = 4:
      d sqrt(h) prod s sqrt(1 + 1) = 2 * 6 * sqrt 2, over sqrt m: excess 8.49.
    """
    chex.assert_rank(
        [margins.sorted, layers.frobenius, reference.frobenius, margin], [1, 1, 1, 0]
    )
    chex.assert_equal_shape([layers.spectral_upper, reference.frobenius])
    matrices = layers.fan_out.shape[0]
    d = matrices if convention.depth_factor == "matrices" else matrices - 1
    h = jnp.max(layers.fan_out[:-1], initial=1)
    others = arithmetic.log_product_without_each(arithmetic.log(layers.spectral_upper))
    log_sum = logsumexp(2 * (others + arithmetic.log(reference.frobenius))) / 2
    log_numerator = (
        _log_input_norm(task, convention)
        + arithmetic.log(d)
        + arithmetic.log(h) / 2
        + log_sum
    )
    return arithmetic.margin_bound(log_numerator, task, margins, margin)


def bartlett_2017(task, margins, layers, reference, *, margin, convention=Convention()):
    """The spectrally-normalised covering-number bound, constants and logs dropped.

    R_D <= R_S(gamma) + B prod_l s_l (sum_l (||W_l - A_l||_{2,1} / s_l)^{2/3})^{3/2}
           / (gamma sqrt(m)),        s_l = ||W_l||_2
    (Bartlett, Foster, Telgarsky 2017, Theorem 1.1; A_l fixed before the data, so that the
    weights of another draw are no reference the theorem allows). Up to constants: not a
    certificate.

    Args:
      task: a `Task`.
      margins: the training `Margins`.
      layers: `LayerNorms` of W, L layers.
      reference: `LayerNorms` of W - A.
      margin: `[]`, gamma > 0.
      convention: the orientation of the (2,1) norm and whether B enters.

    Returns:
      A `BoundValue`. Two 1 x 1 layers W = 2, 3 with A = 0, B = 1, gamma = 1, m = 4:
      6 (1 + 1)^{3/2} / sqrt m: excess 8.49.
    """
    chex.assert_rank(
        [margins.sorted, layers.frobenius, reference.norm_21, margin], [1, 1, 1, 0]
    )
    chex.assert_equal_shape([layers.spectral_upper, reference.norm_21])
    transposed = convention.norm_21 == "transposed"
    distance = reference.norm_21_transposed if transposed else reference.norm_21
    others = arithmetic.log_product_without_each(arithmetic.log(layers.spectral_upper))
    log_sum = logsumexp((others + arithmetic.log(distance)) * 2 / 3) * 3 / 2
    log_numerator = _log_input_norm(task, convention) + log_sum
    return arithmetic.margin_bound(log_numerator, task, margins, margin)
