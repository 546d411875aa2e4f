"""Bounds that speak of networks with two weight matrices only."""

import chex
import jax
import jax.numpy as jnp

from bounds import arithmetic
from bounds.measures.examples import Margins
from bounds.measures.inputs import FirstLayer, Inputs, Task
from bounds.measures.layers import LayerNorms
from bounds.spec import (
    UNDER_ASSUMPTION,
    UP_TO_CONSTANTS,
    BoundSpec,
    BoundValue,
    Convention,
)


def neyshabur_2019(
    task: Task,
    margins: Margins,
    layers: LayerNorms,
    init: LayerNorms,
    from_init: LayerNorms,
    *,
    margin: jax.Array,
    convention: Convention = Convention(),
) -> BoundValue:
    """R_S(gamma) + B ||W_2||_F (||Z_1||_2 + ||W_1 - Z_1||_F) / (gamma sqrt(m)).

    The unit-capacity bound of two-layer networks, as Nagarajan & Kolter (2019) plot it, biases
    left out:

    R_D <= R_S(gamma) + B ||W_2||_F (||Z_1||_2 + ||W_1 - Z_1||_F) / (gamma sqrt(m))
    (Neyshabur et al. 2019, Theorem 2, its leading term; a term sqrt(h) / sqrt(m) and the
    constants are dropped). Up to constants: not a certificate.

    Args:
      task: a `Task`.
      margins: the training `Margins`.
      layers: `LayerNorms` of W, two layers.
      init: `LayerNorms` of the initial weights Z.
      from_init: `LayerNorms` of W - Z.
      margin: `[]`, gamma > 0.
      convention: whether B enters.

    Returns:
      A `BoundValue`. 1 x 1 layers Z = 1, 1 and W = 2, 3, B = 1, gamma = 1, m = 4:
      3 (1 + 1) / sqrt 4: excess 3.
    """
    chex.assert_shape([layers.frobenius, from_init.frobenius, init.spectral], (2,))
    chex.assert_rank([margins.sorted, margin], [1, 0])
    log_numerator = arithmetic.log(layers.frobenius[1]) + arithmetic.log(
        init.spectral[0] + from_init.frobenius[0]
    )
    if convention.input_norm == "included":
        log_numerator += arithmetic.log(task.input_norm_max)
    return arithmetic.margin_bound(log_numerator, task, margins, margin)


def neyshabur_2019_constants(
    task: Task,
    margins: Margins,
    folded: LayerNorms,
    folded_from_init: LayerNorms,
    first_layer: FirstLayer,
    inputs: Inputs,
    *,
    delta: jax.Array,
) -> BoundValue:
    """`neyshabur_2019` with the constants of its authors' code.

    R_D <= R_S(gamma) + (R + 3 sqrt(5h + ln(max(1, gamma sqrt(m))/delta')))/sqrt(m),
    R = 3 sqrt(2) (sqrt(2K) + 1) (||W_2||_F + 1) (N_0 + ||W_1 - Z_1||_F ||X||_F/sqrt(m) + 1)/gamma,
    N_0 = ||X Z_1||_F/sqrt(m), before the ReLU; gamma in a grid of powers of 2,
    delta' = delta p(k). Under the assumption that the theorem is as its authors' code has it:
    the constants are not derived. Biases are folded in.

    Args:
      task: a `Task`.
      margins: the training `Margins`.
      folded: `LayerNorms` of W with its biases, two layers.
      folded_from_init: `LayerNorms` of W - Z.
      first_layer: `FirstLayer`.
      inputs: `Inputs`.
      delta: failure probability.

    Returns:
      A `BoundValue`; `empirical` is at the best gamma.
    """
    chex.assert_shape([folded.frobenius, folded_from_init.frobenius], (2,))
    chex.assert_rank([margins.sorted, task.size], [1, 0])
    m, h = task.size.astype(float), folded.fan_out[0].astype(float)
    first = first_layer.frobenius + folded_from_init.frobenius[0] * inputs.frobenius
    r = 3 * jnp.sqrt(2.0) * (jnp.sqrt(2.0 * task.classes) + 1)
    log_r = jnp.log(r) + jnp.log1p(folded.frobenius[1]) + jnp.log1p(first / jnp.sqrt(m))

    def bound_of(gamma, k):
        log_delta = jnp.log(delta) + arithmetic.log_grid_weight(k)
        logs = jnp.maximum(jnp.log(gamma) + jnp.log(m) / 2, 0.0) - log_delta
        complexity = jnp.exp(log_r - jnp.log(gamma))
        return margins.error(gamma), (
            complexity + 3 * jnp.sqrt(5 * h + logs)
        ) / jnp.sqrt(m)

    median = arithmetic.log(arithmetic.median_margin(margins))
    log_complexity = log_r - median - jnp.log(m) / 2
    return arithmetic.least(bound_of, arithmetic.margin_cells(margins), log_complexity)


_NEYSHABUR_2019 = "Neyshabur et al. 2019, arXiv 1805.12076, Thm 2"
BOUNDS = {
    "neyshabur_2019": BoundSpec(
        neyshabur_2019, _NEYSHABUR_2019, UP_TO_CONSTANTS, two_sided=True, weight_matrices=2,
        fully_connected=True, also=("unilayer", "neyshabur19"),
    ),
    "neyshabur_2019_constants": BoundSpec(
        neyshabur_2019_constants, _NEYSHABUR_2019, UNDER_ASSUMPTION, two_sided=True,
        weight_matrices=2, fully_connected=True,
        assumption="the theorem's constants are those of its authors' code",
        also=("neyshabur19_const",),
    ),
}  # fmt: skip
