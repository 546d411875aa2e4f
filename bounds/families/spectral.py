"""Bounds through the product of spectral norms, as Nagarajan & Kolter (2019) plot them.

`layers` are the norms of the weights W_l, `reference` those of W_l - A_l for a reference
A_l: the initial weights, the origin, or the weights learned from another draw. Biases are
left out, as in the companion notebook; the theorems speak of networks without.
"""

import chex
import jax
import jax.numpy as jnp
from jax.scipy.special import logsumexp

from bounds import arithmetic
from bounds.measures.examples import Margins
from bounds.measures.inputs import Task
from bounds.measures.layers import LayerNorms
from bounds.spec import HEURISTIC, UP_TO_CONSTANTS, BoundSpec, BoundValue, Convention


def log_input_norm(task: Task, convention: Convention) -> jax.Array:
    """ln B `[]`, or 0 where the convention leaves it out."""
    return arithmetic.log(task.input_norm_max) * (convention.input_norm == "included")


def log_spread(
    margins: Margins,
    layers: LayerNorms,
    norms: jax.Array,
    margin: jax.Array,
    power: float,
    log_weights: jax.Array | float = 0.0,
) -> jax.Array:
    """ln of prod_l s_l (sum_l w_l (norm_l / s_l)^p)^(1/p), of norms `[L]` of W - A."""
    chex.assert_rank([margins.sorted, layers.spectral, margin], [1, 1, 0])
    chex.assert_equal_shape([layers.spectral, norms])
    others = arithmetic.log_product_without_each(arithmetic.log(layers.spectral))
    terms = power * (others + arithmetic.log(norms)) + log_weights
    return logsumexp(terms) / power


def neyshabur_2018(
    task: Task,
    margins: Margins,
    layers: LayerNorms,
    reference: LayerNorms,
    *,
    margin: jax.Array,
    convention: Convention = Convention(),
) -> BoundValue:
    """R_S(gamma) + B d sqrt(h) prod s_l sqrt(sum ||W_l - A_l||_F^2/s_l^2) / (gamma sqrt(m)).

    The PAC-Bayesian spectrally-normalised margin bound, constants and logs dropped:

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
    matrices = layers.fan_out.shape[0]
    d = matrices if convention.depth_factor == "matrices" else max(matrices - 1, 1)
    h = jnp.max(layers.fan_out[:-1], initial=1)
    log_sum = log_spread(margins, layers, reference.frobenius, margin, 2)
    log_numerator = (
        log_input_norm(task, convention)
        + arithmetic.log(d)
        + arithmetic.log(h) / 2
        + log_sum
    )
    return arithmetic.margin_bound(log_numerator, task, margins, margin)


def neyshabur_2018_layer_widths(
    task: Task,
    margins: Margins,
    layers: LayerNorms,
    reference: LayerNorms,
    *,
    margin: jax.Array,
    convention: Convention = Convention(),
) -> BoundValue:
    """`neyshabur_2018` with each layer's own width h_l = fan-out instead of the largest.

    R_D <= R_S(gamma) + B L prod_l s_l sqrt(sum_l h_l ||W_l - A_l||_F^2 / s_l^2)
           / (gamma sqrt(m)). Up to constants.

    Args:
      task, margins, layers, reference, margin: as for `neyshabur_2018`.
      convention: whether B enters.

    Returns:
      A `BoundValue`.
    """
    log_widths = arithmetic.log(layers.fan_out)
    log_numerator = log_spread(
        margins, layers, reference.frobenius, margin, 2, log_widths
    )
    log_numerator += arithmetic.log(layers.fan_out.shape[0])
    log_numerator += log_input_norm(task, convention)
    return arithmetic.margin_bound(log_numerator, task, margins, margin)


def bartlett_2017(
    task: Task,
    margins: Margins,
    layers: LayerNorms,
    reference: LayerNorms,
    *,
    margin: jax.Array,
    convention: Convention = Convention(),
) -> BoundValue:
    """R_S(gamma) + B prod s_l (sum (||W_l - A_l||_{2,1}/s_l)^(2/3))^(3/2) / (gamma sqrt(m)).

    The spectrally-normalised covering-number bound, constants and logs dropped:

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
    transposed = convention.norm_21 == "transposed"
    distance = reference.norm_21_transposed if transposed else reference.norm_21
    log_sum = log_spread(margins, layers, distance, margin, 2 / 3)
    log_numerator = log_input_norm(task, convention) + log_sum
    return arithmetic.margin_bound(log_numerator, task, margins, margin)


def bartlett_2017_with_logs(
    task: Task,
    margins: Margins,
    layers: LayerNorms,
    reference: LayerNorms,
    *,
    margin: jax.Array,
    convention: Convention = Convention(),
) -> BoundValue:
    """`bartlett_2017` times max(ln m, 1) ln(W_max), the logarithms that the plotted form drops.

    W_max is the largest number of units of a layer, the inputs being one. Up to constants.

    Args:
      task, margins, layers, reference, margin, convention: as for `bartlett_2017`.

    Returns:
      A `BoundValue`.
    """
    plain = bartlett_2017(
        task, margins, layers, reference, margin=margin, convention=convention
    )
    widest = jnp.maximum(jnp.max(layers.fan_in), jnp.max(layers.fan_out))
    # ln(m) of one example is 0, which is no constant.
    log_size = jnp.maximum(arithmetic.log(task.size), 1.0)
    logs = arithmetic.log(log_size) + arithmetic.log(arithmetic.log(widest))
    log_excess = plain.log_complexity + logs
    excess = jnp.exp(log_excess)
    return BoundValue(plain.empirical + excess, plain.empirical, excess, log_excess)


_NEYSHABUR_2018 = "Neyshabur, Bhojanapalli, Srebro 2018, arXiv 1707.09564, Thm 1"
_BARTLETT_2017 = "Bartlett, Foster, Telgarsky 2017, arXiv 1706.08498, Thm 1.1"
_GENERALIZATION_BOUNDS = "as in Neyshabur's code generalization-bounds, 2018"
BOUNDS = {
    "neyshabur_2018": BoundSpec(
        neyshabur_2018, _NEYSHABUR_2018, UP_TO_CONSTANTS, two_sided=True,
        bind={"reference": "from_init"}, also=("pac_spectral_init", "neyshabur18"),
    ),
    "neyshabur_2018_from_origin": BoundSpec(
        neyshabur_2018, _NEYSHABUR_2018, UP_TO_CONSTANTS, two_sided=True,
        bind={"reference": "from_origin"}, also=("pac_spectral_origin",),
    ),
    "neyshabur_2018_between_draws": BoundSpec(
        neyshabur_2018, _NEYSHABUR_2018, HEURISTIC, bind={"reference": "from_other"},
        also=("pac_spectral_pair",),
    ),
    "neyshabur_2018_layer_widths": BoundSpec(
        neyshabur_2018_layer_widths, f"{_NEYSHABUR_2018}, {_GENERALIZATION_BOUNDS}",
        UP_TO_CONSTANTS, two_sided=True, bind={"reference": "from_init"},
    ),
    "bartlett_2017": BoundSpec(
        bartlett_2017, _BARTLETT_2017, UP_TO_CONSTANTS, two_sided=True,
        bind={"reference": "from_init"}, also=("covering_spectral_init", "bartlett17"),
    ),
    "bartlett_2017_between_draws": BoundSpec(
        bartlett_2017, _BARTLETT_2017, HEURISTIC, bind={"reference": "from_other"},
        also=("covering_spectral_pair",),
    ),
    "bartlett_2017_with_logs": BoundSpec(
        bartlett_2017_with_logs, _BARTLETT_2017, UP_TO_CONSTANTS, two_sided=True,
        bind={"reference": "from_init"},
    ),
}  # fmt: skip
