"""Bounds through spectral norms with every constant, for any weights and margins.

What a proof must fix before the data, the margin gamma, the norms s_l of the layers and the
largest input, is rounded up (gamma down) to a cell of a grid, and cell k has the failure
probability delta p(k), p(k) = 2 / (3 (|k| + 1) (|k| + 2)); the grids start at norms of the initial
weights Z_l, which are independent of the data. Biases are folded into the matrices. The
derivations are in BUILD_NOTES.

B is no bound on the domain but B >= the largest training input, in a grid of ratio 2^(1/8):
inputs beyond it count as errors, and with probability 1 - delta / 2 they are less than a share
ln(2 / delta) / m of the distribution, which is added. The other half of delta is the bound's.

Arguments, of every function here: `task` a `Task`, `margins` the training `Margins`, `folded`,
`folded_init` and `folded_from_init` `LayerNorms` of W, Z and W - Z with their biases, `inputs`
`Inputs`; `delta` the failure probability, `[]`. Returns: a `BoundValue`; `empirical` is at the best
gamma, `log_complexity` belongs to the median training margin and the norms as they are. Values take
the certified upper ends of spectral norms; `log_complexity` certifies nothing, it describes how a
bound grows, and takes the best estimates.

None of them gets below 1 on the networks tried but `neyshabur_2018_kl_certified`, on linear
models at large m; for the others the oracle is the guard.
"""

import chex
import jax
import jax.numpy as jnp
from jax.scipy.special import logsumexp

from bounds import arithmetic
from bounds.measures.examples import Margins
from bounds.measures.inputs import Inputs, Task
from bounds.measures.layers import LayerNorms
from bounds.spec import CERTIFIED, UNDER_ASSUMPTION, BoundSpec, BoundValue

_LN2 = 0.6931471805599453
_ETA = 0.05  # of the noise's probability that `neyshabur_2018_kl_certified` gives away
_LEAST_DISTANCE = 1e-9  # of its base; a layer that has not moved has no logarithm


def guard(margins: Margins, folded: LayerNorms) -> None:
    """Refuses a stack of networks in the place of one."""
    chex.assert_rank([margins.sorted, margins.size, folded.frobenius], [1, 0, 1])


def _spectral_cells(folded, base):
    """(ln s~ `[L]`, ln prod of p(k) `[]`): spectral norms rounded up; ratio 2^(1/L)."""
    log_ratio = _LN2 / folded.frobenius.shape[0]
    log_base = arithmetic.log(base.spectral_upper)
    k = arithmetic.cell(arithmetic.log(folded.spectral_upper), log_base, log_ratio)
    return log_base + k * log_ratio, jnp.sum(arithmetic.log_grid_weight(k))


def input_cell(inputs: Inputs) -> tuple[jax.Array, jax.Array]:
    """(ln B~ `[]`, ln p(k) `[]`): the largest input norm rounded up; ratio 2^(1/8)."""
    k = arithmetic.cell(arithmetic.log(inputs.norm_max), 0.0, _LN2 / 8)
    return k * _LN2 / 8, arithmetic.log_grid_weight(k)


def _widest(folded):
    """The largest dimension of all layers, the inputs' included."""
    return jnp.maximum(jnp.max(folded.fan_in), jnp.max(folded.fan_out)).astype(float)


def log_bartlett(log_s: jax.Array, log_b: jax.Array) -> jax.Array:
    """ln R_A = ln prod s (sum (b / s)^(2/3))^(3/2)."""
    others = arithmetic.log_product_without_each(log_s)
    return logsumexp((others + log_b) * 2 / 3) * 3 / 2


def of_covering(
    task: Task,
    margins: Margins,
    folded: LayerNorms,
    folded_init: LayerNorms,
    inputs: Inputs,
    distances: jax.Array,
    units: jax.Array,
    log_entries: jax.Array,
    delta: jax.Array,
) -> BoundValue:
    """The certificate of `bartlett_2017_certified` for any layers that Maurey's lemma covers so.

    Args:
      task, margins, folded, folded_init, inputs: groups.
      distances: `[L]`, b_l: with inputs X of a layer, its image is within b_l ||X||_F times the
        convex hull of signed unit vectors that do not depend on the weights.
      units: `[L]`; the grid of b_l starts at sqrt(units) ||Z_l||.
      log_entries: `[]`, ln of how many such vectors a layer has at most, signs aside.
      delta: `[]`.

    Returns:
      A `BoundValue`.
    """
    m = task.size.astype(float)
    log_s, log_price = _spectral_cells(folded, folded_init)
    log_ratio = _LN2 / folded.frobenius.shape[0]
    log_base = arithmetic.log(folded_init.spectral_upper) + arithmetic.log(units) / 2
    log_b = arithmetic.log(distances)
    log_b = jnp.maximum(log_b, log_base + jnp.log(_LEAST_DISTANCE))
    k = arithmetic.cell(log_b, log_base, log_ratio)
    log_price += jnp.sum(arithmetic.log_grid_weight(k))
    log_rest = jnp.log(2.0) + arithmetic.log(inputs.frobenius)
    log_rest += jnp.log(jnp.log(2.0) + log_entries) / 2
    log_c = log_rest + log_bartlett(log_s, log_base + k * log_ratio)

    def bound_of(gamma, k_gamma):
        log_share = log_c - jnp.log(gamma) + jnp.log(3 / m)  # ln(3C/m)
        rho = 4 * jnp.exp(log_share) * (1 - jnp.minimum(log_share, 0.0))
        log_delta = jnp.log(delta) + log_price + arithmetic.log_grid_weight(k_gamma)
        deviation = 3 * jnp.sqrt((jnp.log(2.0) - log_delta) / (2 * m))
        return arithmetic.ramp(margins, gamma), 2 * rho + deviation

    exact = log_bartlett(arithmetic.log(folded.spectral), log_b)
    median = arithmetic.log(arithmetic.median_margin(margins))
    log_complexity = jnp.log(24 / m) + log_rest + exact - median
    return arithmetic.least(bound_of, arithmetic.margin_cells(margins), log_complexity)


def bartlett_2017_certified(
    task: Task,
    margins: Margins,
    folded: LayerNorms,
    folded_init: LayerNorms,
    folded_from_init: LayerNorms,
    inputs: Inputs,
    *,
    delta: jax.Array,
) -> BoundValue:
    """The covering-number bound (Bartlett, Foster, Telgarsky 2017) with small constants.

    R_D <= ramp_S(gamma) + 2 rho + 3 sqrt(ln(2/delta')/(2m)), rho = (12 C/m)(1 + ln(m/(3C))) for
    3C < m (12 C / m, which is above 1, beyond), C = 2 ||X||_F R_A sqrt(ln(2 W_max^2)) / gamma,
    R_A = prod s_l (sum_l (b_l/s_l)^(2/3))^(3/2), b_l >= ||W_l - Z_l||_{2,1}.
    delta' = delta p(k_gamma) prod_l p(k_s,l) p(k_b,l).
    """
    guard(margins, folded)
    return of_covering(
        task, margins, folded, folded_init, inputs, folded_from_init.norm_21,
        folded.fan_out, 2 * jnp.log(_widest(folded)), delta,
    )  # fmt: skip


def bartlett_2017_lemma_a8(
    task: Task,
    margins: Margins,
    folded: LayerNorms,
    folded_from_init: LayerNorms,
    inputs: Inputs,
    *,
    delta: jax.Array,
) -> BoundValue:
    """The published bound with its constants (Bartlett, Foster, Telgarsky 2017, Lemma A.8).

    R_D <= R_S(gamma) + 8/m + (144 ln(m) ln(2 W_max) / (gamma m)) (1 + ||X||_F)
           (sum_l [(1/L + b_l) prod_{j != l} (1/L + s_j)]^(2/3))^(3/2) + 3 / sqrt(2m)
           sqrt(ln(1/delta) + ln(2m/gamma) + 2 ln(2 + ||X||_F) + 2 sum_l ln(2 + L b_l)
           + 2 sum_l ln(2 + L s_l)),   b_l = ||W_l - Z_l||_{2,1}, uniform in gamma <= m: beyond,
    the price ln(2m/gamma) of the margin would be less than nothing.
    Under the assumption that the constants are the paper's: they are compared with two
    codes and with `bartlett_2017_certified`, not derived.
    """
    guard(margins, folded)
    m, depth = task.size.astype(float), folded.frobenius.shape[0]
    s, b = folded.spectral_upper, folded_from_init.norm_21
    log_b = jnp.log(1 / depth + b)
    log_rest = jnp.log(144 * jnp.log(2 * _widest(folded)) / m)
    log_rest += arithmetic.log(jnp.log(m)) + jnp.log1p(inputs.frobenius)
    log_main = log_rest + log_bartlett(jnp.log(1 / depth + s), log_b)
    logs = jnp.log(1 / delta) + 2 * jnp.log(2 + inputs.frobenius)
    logs += 2 * jnp.sum(jnp.log(2 + depth * b)) + 2 * jnp.sum(jnp.log(2 + depth * s))

    def bound_of(gamma, _):
        logs_and_margin = logs + jnp.log(2 * m) - jnp.log(gamma)
        deviation = 3 * jnp.sqrt(jnp.maximum(logs_and_margin, 0.0) / (2 * m))
        excess = 8 / m + jnp.exp(log_main - jnp.log(gamma)) + deviation
        return margins.error(gamma), jnp.where(gamma <= m, excess, jnp.inf)

    exact = log_rest + log_bartlett(jnp.log(1 / depth + folded.spectral), log_b)
    log_complexity = exact - arithmetic.log(arithmetic.median_margin(margins))
    return arithmetic.least(bound_of, arithmetic.margin_cells(margins), log_complexity)


def neyshabur_2018_certified(
    task: Task,
    margins: Margins,
    folded: LayerNorms,
    inputs: Inputs,
    *,
    delta: jax.Array,
) -> BoundValue:
    """The published PAC-Bayesian bound with its constants, from the origin.

    R_D <= R_S(gamma) + 4 sqrt((KL + ln(6m/delta'))/(m - 1)) + ln(2/delta)/m,
    KL = (42^2 e^2 / 2) L^2 B^2 h ln(4hL) prod_l s_l^2 sum_l ||W_l||_F^2/s_l^2 / gamma^2,
    delta' = (delta/2) p(k_gamma) p(k_B) / (L m^(1/(2L)))
    (Neyshabur, Bhojanapalli, Srebro 2018, Theorem 1 and its proof). Layers are rescaled to
    one norm beta, which is rounded in a grid of L m^(1/(2L)) points: the reference is 0. h is
    the largest of all dimensions, the inputs' included: the noise's norm depends on both sides
    of a matrix.
    """
    guard(margins, folded)
    m, depth = task.size.astype(float), folded.frobenius.shape[0]
    h = _widest(folded)
    log_b, log_price = input_cell(inputs)
    log_rest = jnp.log(42**2 / 2 * depth**2 * h * jnp.log(4 * h * depth)) + 2

    def log_norms(s):
        """ln prod s^2 sum ||W||_F^2 / s^2."""
        others = arithmetic.log_product_without_each(arithmetic.log(s))
        return logsumexp(2 * (others + arithmetic.log(folded.frobenius)))

    log_certified = log_rest + log_norms(folded.spectral_upper)
    log_beta_cells = jnp.log(depth) + jnp.log(m) / (2 * depth)

    def bound_of(gamma, k):
        log_kl = log_certified + 2 * log_b - 2 * jnp.log(gamma)
        kl = jnp.exp(jnp.minimum(log_kl, 600.0))
        log_delta = jnp.log(delta / 2) + log_price + arithmetic.log_grid_weight(k)
        inner = kl + jnp.log(6 * m) - log_delta + log_beta_cells
        beyond = jnp.log(2 / delta) / m
        deviation = 4 * jnp.sqrt(inner / jnp.maximum(m - 1, 1))
        return margins.error(gamma), deviation + beyond

    log_kl = log_rest + log_norms(folded.spectral)
    log_kl += 2 * arithmetic.log(inputs.norm_max)
    log_kl -= 2 * arithmetic.log(arithmetic.median_margin(margins))
    log_complexity = jnp.log(4.0) + (log_kl - jnp.log(jnp.maximum(m - 1, 1))) / 2
    return arithmetic.least(bound_of, arithmetic.margin_cells(margins), log_complexity)


def neyshabur_2018_kl_certified(
    task: Task,
    margins: Margins,
    folded: LayerNorms,
    folded_init: LayerNorms,
    folded_from_init: LayerNorms,
    inputs: Inputs,
    *,
    delta: jax.Array,
) -> BoundValue:
    """The same idea around the initial weights, by the kl bound, layer by layer.

    R_D <= kl^-1(R_S(gamma), (KL' + ln(2 sqrt(m)/delta'))/m) + ln(2/delta)/m,
    kappa = (1 + gamma/(2 sqrt(2) B prod_l s_l))^(1/L) - 1, sigma_l = kappa s_l / nu_l,
    nu_l = sqrt(d_{l-1}) + sqrt(d_l) + sqrt(2 ln(L/eta)), KL = sum_l ||W_l - Z_l||_F^2/(2 sigma_l^2),
    KL' = KL + ln(1/(1 - eta)), eta = 0.05,
    delta' = (delta/2) p(k_gamma) p(k_B) prod_l p(k_s,l).
    Gaussian noise of sigma_l in layer l, conditioned on norms below sigma_l nu_l, moves no margin
    by more than gamma / 2.
    """
    guard(margins, folded)
    m, depth = task.size.astype(float), folded.frobenius.shape[0]
    log_s, log_s_price = _spectral_cells(folded, folded_init)
    log_b, log_b_price = input_cell(inputs)
    # The root of an int32 would be float32's.
    nu = jnp.sqrt(folded.fan_in.astype(float)) + jnp.sqrt(folded.fan_out.astype(float))
    nu += jnp.sqrt(2 * jnp.log(depth / _ETA))

    def log_kl(log_gamma, log_s, log_b):
        """ln KL at a margin, layer norms and an input norm."""
        share = log_gamma - jnp.log(2 * jnp.sqrt(2.0)) - log_b - jnp.sum(log_s)
        kappa = jnp.expm1(jnp.log1p(jnp.exp(jnp.minimum(share, 600.0))) / depth)
        log_sigma = arithmetic.log(kappa) + log_s - jnp.log(nu)
        log_distance = arithmetic.log(folded_from_init.frobenius)
        return logsumexp(2 * (log_distance - log_sigma)) - jnp.log(2.0)

    def bound_of(gamma, k):
        kl = jnp.exp(jnp.minimum(log_kl(jnp.log(gamma), log_s, log_b), 600.0))
        log_delta = jnp.log(delta / 2) + log_s_price + log_b_price
        log_delta += arithmetic.log_grid_weight(k)
        total = kl - jnp.log1p(-_ETA) + jnp.log(2 * jnp.sqrt(m)) - log_delta
        empirical = margins.error(gamma)
        value = arithmetic.kl_inverse(empirical, total / m) + jnp.log(2 / delta) / m
        return empirical, value - empirical

    median = arithmetic.log(arithmetic.median_margin(margins))
    exact = arithmetic.log(folded.spectral)
    # Of sqrt(KL / (2 m)), which Pinsker's inequality makes of it.
    kl_over_m = log_kl(median, exact, arithmetic.log(inputs.norm_max)) - jnp.log(m)
    log_complexity = (kl_over_m - jnp.log(2.0)) / 2
    return arithmetic.least(bound_of, arithmetic.margin_cells(margins), log_complexity)


_NEYSHABUR_2018 = "Neyshabur, Bhojanapalli, Srebro 2018, arXiv 1707.09564, Thm 1"
_BARTLETT_2017 = "Bartlett, Foster, Telgarsky 2017, arXiv 1706.08498, Thm 1.1"
BOUNDS = {
    "neyshabur_2018_certified": BoundSpec(
        neyshabur_2018_certified, _NEYSHABUR_2018, CERTIFIED, two_sided=True,
        also=("neyshabur18_42",),
    ),
    "neyshabur_2018_kl_certified": BoundSpec(
        neyshabur_2018_kl_certified, f"after {_NEYSHABUR_2018}; Maurer 2004", CERTIFIED,
        two_sided=True, also=("pac_bayes_spectral_det",),
    ),
    "bartlett_2017_certified": BoundSpec(
        bartlett_2017_certified, f"after {_BARTLETT_2017}", CERTIFIED, two_sided=True,
        also=("bartlett17_certified",),
    ),
    "bartlett_2017_lemma_a8": BoundSpec(
        bartlett_2017_lemma_a8, "Bartlett, Foster, Telgarsky 2017, arXiv 1706.08498, Lemma A.8",
        UNDER_ASSUMPTION, two_sided=True, assumption="the lemma's constants are as recalled",
        also=("bartlett17_lemma_a8",),
    ),
}  # fmt: skip
