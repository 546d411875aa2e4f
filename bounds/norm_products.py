"""Bounds by peeling layers off a Rademacher average: certified, at any depth.

All of them have the form, for every gamma > 0 and all weights at once,

  R_D <= ramp_S(gamma) + A r / m + 3 sqrt(ln(2 / (delta p(k))) / (2 m)),

r = 2^k >= C(W) / gamma, p(k) = 2 / (3 (|k| + 1) (|k| + 2)): symmetrisation and McDiarmid
for a loss in [0, 1]; the ramp of the margin is sqrt(2)/gamma-Lipschitz in the logits (1/gamma
for two classes), which Maurer's (2016) vector contraction takes off; layers are peeled one
by one (Golowich, Rakhlin, Shamir 2018). C is homogeneous in the last layer, so that only
the ratio C / gamma has to be fixed beforehand: a grid of powers of 2, cell k with failure
probability delta p(k), covers all weights and margins.
"""

import chex
import jax.numpy as jnp

from bounds import arithmetic
from bounds.types import BoundValue

_CELLS = 64  # of the grid that are looked at; below them the ramp term is 1 anyway


def _over_all_margins(log_c, log_a, task, margins, delta):
    """The least value over the cells k of the grid, gamma = C / 2^k in each.

    `log_complexity` is that of A C / (gamma m) at gamma = the median training margin.
    """
    m = task.size.astype(float)
    largest = (
        jnp.ceil((jnp.log(m) - log_a) / jnp.log(2.0)) + 2
    )  # A r / m > 1 from there
    k = largest - jnp.arange(_CELLS)
    gamma = jnp.exp(jnp.minimum(log_c - k * jnp.log(2.0), 600.0))
    is_known = jnp.arange(margins.sorted.shape[0]) < margins.size
    lead = jnp.where(is_known, margins.sorted, 0.0)[None] / gamma[:, None]
    ramps = jnp.where(is_known[None], jnp.clip(1 - lead, 0.0, 1.0), 0.0)
    ramp = jnp.sum(ramps, axis=1) / m
    complexity = jnp.exp(log_a + k * jnp.log(2.0)) / m
    log_cell = arithmetic.log_grid_weight(k)
    deviation = 3 * jnp.sqrt((jnp.log(2 / delta) - log_cell) / (2 * m))
    excess = complexity + deviation
    best = jnp.argmin(ramp + excess)
    median = margins.sorted[(margins.size - 1) // 2]
    return BoundValue(
        value=(ramp + excess)[best],
        empirical=ramp[best],
        excess=excess[best],
        log_complexity=log_a + log_c - arithmetic.log(median) - jnp.log(m),
    )


def _check(task, margins, peeling, inputs):
    chex.assert_rank([margins.sorted, peeling.log_path, inputs.frobenius], [1, 0, 0])
    chex.assert_rank(task.size, 0)


def _log_factor(peeling):
    """ln of 2 sqrt(2) times the contraction's sqrt(2), or of 2 for two classes."""
    return jnp.log(jnp.where(peeling.outputs == 1, 2.0, 4.0))


def _log_a_l1(peeling, inputs):
    """ln A of the l1 forms: 4 X_inf sqrt(2 (L ln 2 + ln K + ln d)); 2 and no K if binary."""
    inner = peeling.matrices * jnp.log(2.0) + jnp.log(inputs.features)
    inner += jnp.log(peeling.outputs)  # 0 if binary
    norm = arithmetic.log(inputs.largest_feature)
    return _log_factor(peeling) + norm + jnp.log(2 * inner) / 2


def golowich_2018_l1(task, margins, peeling, inputs, *, delta):
    """Product of l1 norms: C = prod_{l<L} ||W_l||_{1,inf} ||W_L||_{1,1}.

    A = 4 X_inf sqrt(2 (L ln 2 + ln K + ln d)), X_inf^2 = max_j sum_i x_ij^2; two classes: the
    last layer is the difference of its columns and A = 2 X_inf sqrt(2 (L ln 2 + ln d))
    (Bartlett & Mendelson 2002; the depth by Golowich, Rakhlin, Shamir 2018, Theorem 2).
    Certified, every margin and norm chosen after seeing the data; the derivation is in
    BUILD_NOTES. Tested against its oracle: at most sizes the value is far above 1.

    Args:
      task: a `Task`.
      margins: the training `Margins`.
      peeling: a `Peeling`.
      inputs: `Inputs`.
      delta: failure probability.

    Returns:
      A `BoundValue`; `empirical` is the ramp loss at the best gamma.
    """
    _check(task, margins, peeling, inputs)
    log_a = _log_a_l1(peeling, inputs)
    return _over_all_margins(peeling.log_l1, log_a, task, margins, delta)


def golowich_2018_l1_path(task, margins, peeling, inputs, *, delta):
    """The l1 path norm in the place of `golowich_2018_l1`'s product, which it is below.

    Rescaling every hidden unit to incoming l1 norm 1 leaves a ReLU network as it is and
    turns the product into the sum over all paths of the product of |weights|. Certified;
    arguments and result as there.

    Args:
      task, margins, peeling, inputs, delta: as for `golowich_2018_l1`.

    Returns:
      A `BoundValue`.
    """
    _check(task, margins, peeling, inputs)
    log_a = _log_a_l1(peeling, inputs)
    return _over_all_margins(peeling.log_path, log_a, task, margins, delta)


def golowich_2018_frobenius(task, margins, peeling, inputs, *, delta):
    """Product of Frobenius norms: C = prod_{l<L} ||W_l||_F ||W_L||_{2,1}.

    A = 4 ||X||_F (1 + sqrt(2 ((L - 1) ln 2 + ln K))); two classes: the last layer is the
    difference w of its columns, ||w||_2, and A = 2 ||X||_F (1 + sqrt(2 (L - 1) ln 2))
    (Golowich, Rakhlin, Shamir 2018, Theorem 1). Certified; arguments as above.

    Args:
      task, margins, peeling, inputs, delta: as for `golowich_2018_l1`.

    Returns:
      A `BoundValue`.
    """
    _check(task, margins, peeling, inputs)
    inner = (peeling.matrices - 1) * jnp.log(2.0) + jnp.log(peeling.outputs)
    log_a = _log_factor(peeling) + arithmetic.log(inputs.frobenius)
    log_a += jnp.log1p(jnp.sqrt(2 * inner))
    return _over_all_margins(peeling.log_frobenius, log_a, task, margins, delta)
