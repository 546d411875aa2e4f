"""Bounds that speak of networks with two weight matrices only."""

import chex

from bounds import arithmetic
from bounds.types import Convention


def neyshabur_2019(
    task, margins, layers, init, from_init, *, margin, convention=Convention()
):
    """The unit-capacity bound of two-layer networks, as Nagarajan & Kolter (2019) plot it.

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
    chex.assert_shape(
        [layers.frobenius, from_init.frobenius, init.spectral_upper], (2,)
    )
    chex.assert_rank([margins.sorted, margin], [1, 0])
    log_numerator = arithmetic.log(layers.frobenius[1]) + arithmetic.log(
        init.spectral_upper[0] + from_init.frobenius[0]
    )
    if convention.input_norm == "included":
        log_numerator += arithmetic.log(task.input_norm_max)
    return arithmetic.margin_bound(log_numerator, task, margins, margin)
